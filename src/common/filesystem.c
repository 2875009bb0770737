/* SPDX-License-Identifier: GPL-2.0-only */
#include "filesystem.h"

#include <stddef.h>
#include <string.h>

/* Types that are not here are local: what is new is rather watched than overlooked. */
static const struct {
	const char *type;
	enum filesystem_kind kind;
} kinds[] = {
	{"overlay", FILESYSTEM_OVERLAY},   {"ecryptfs", FILESYSTEM_STACKED},
	{"aufs", FILESYSTEM_STACKED},	   {"shiftfs", FILESYSTEM_STACKED},
	{"autofs", FILESYSTEM_AUTOMOUNT},

	{"9p", FILESYSTEM_REMOTE},	   {"afs", FILESYSTEM_REMOTE},
	{"beegfs", FILESYSTEM_REMOTE},	   {"ceph", FILESYSTEM_REMOTE},
	{"cifs", FILESYSTEM_REMOTE},	   {"coda", FILESYSTEM_REMOTE},
	{"fuse", FILESYSTEM_REMOTE},	   {"fuseblk", FILESYSTEM_REMOTE},
	{"gfs2", FILESYSTEM_REMOTE},	   {"glusterfs", FILESYSTEM_REMOTE},
	{"gpfs", FILESYSTEM_REMOTE},	   {"lustre", FILESYSTEM_REMOTE},
	{"nfs", FILESYSTEM_REMOTE},	   {"nfs4", FILESYSTEM_REMOTE},
	{"ocfs2", FILESYSTEM_REMOTE},	   {"pvfs2", FILESYSTEM_REMOTE},
	{"panfs", FILESYSTEM_REMOTE},	   {"prl_fs", FILESYSTEM_REMOTE},
	{"vboxsf", FILESYSTEM_REMOTE},	   {"smb3", FILESYSTEM_REMOTE},
	{"smbfs", FILESYSTEM_REMOTE},	   {"virtiofs", FILESYSTEM_REMOTE},

	{"binder", FILESYSTEM_KERNEL},	   {"binfmt_misc", FILESYSTEM_KERNEL},
	{"bpf", FILESYSTEM_KERNEL},	   {"cgroup", FILESYSTEM_KERNEL},
	{"cgroup2", FILESYSTEM_KERNEL},	   {"configfs", FILESYSTEM_KERNEL},
	{"debugfs", FILESYSTEM_KERNEL},	   {"devpts", FILESYSTEM_KERNEL},
	{"devtmpfs", FILESYSTEM_KERNEL},   {"efivarfs", FILESYSTEM_KERNEL},
	{"fusectl", FILESYSTEM_KERNEL},	   {"hugetlbfs", FILESYSTEM_KERNEL},
	{"mqueue", FILESYSTEM_KERNEL},	   {"nfsd", FILESYSTEM_KERNEL},
	{"nsfs", FILESYSTEM_KERNEL},	   {"proc", FILESYSTEM_KERNEL},
	{"pstore", FILESYSTEM_KERNEL},	   {"resctrl", FILESYSTEM_KERNEL},
	{"rpc_pipefs", FILESYSTEM_KERNEL}, {"securityfs", FILESYSTEM_KERNEL},
	{"selinuxfs", FILESYSTEM_KERNEL},  {"smackfs", FILESYSTEM_KERNEL},
	{"sysfs", FILESYSTEM_KERNEL},	   {"tracefs", FILESYSTEM_KERNEL},
};

enum filesystem_kind filesystem_kind(const char *type)
{
	/* What a FUSE filesystem calls itself stands behind a dot. */
	size_t length = strncmp(type, "fuse.", 5) && strncmp(type, "fuseblk.", 8)
				? strlen(type)
				: strcspn(type, ".");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i].type) == length && !strncmp(kinds[i].type, type, length))
			return kinds[i].kind;
	return FILESYSTEM_LOCAL;
}

const char *filesystem_problem(const char *type, bool remote)
{
	switch (filesystem_kind(type)) {
	case FILESYSTEM_REMOTE:
		return remote ? NULL
			      : "a network, cluster or FUSE filesystem, which only "
				"remote-filesystems = yes protects";
	case FILESYSTEM_STACKED:
		return "a filesystem stacked on another, which the kernel cannot hold opens of "
		       "safely";
	case FILESYSTEM_AUTOMOUNT:
		return "an automounter's directory; what gets mounted there is protected";
	case FILESYSTEM_KERNEL:
		return "the kernel's own filesystem, which holds no files to scan";
	case FILESYSTEM_LOCAL:
	case FILESYSTEM_OVERLAY:
	default:
		return NULL;
	}
}

bool filesystem_keeps_times(const char *type)
{
	static const char *const types[] = {"ext2",	"ext3", "ext4",	    "xfs",
					    "btrfs",	"f2fs", "jfs",	    "nilfs2",
					    "bcachefs", "zfs",	"squashfs", "erofs"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}
