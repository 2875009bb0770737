/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/filesystem.h"
#include "../support/unit.h"

#include <string.h>

static void a_type_is_of_the_kind_that_it_works_like(void **state)
{
	static const struct {
		const char *type;
		enum filesystem_kind kind;
	} cases[] = {
		/* on disks and in memory */
		{"ext4", FILESYSTEM_LOCAL},
		{"xfs", FILESYSTEM_LOCAL},
		{"btrfs", FILESYSTEM_LOCAL},
		{"tmpfs", FILESYSTEM_LOCAL},
		{"vfat", FILESYSTEM_LOCAL},
		{"squashfs", FILESYSTEM_LOCAL},
		/* what nobody has heard of is watched */
		{"newfs", FILESYSTEM_LOCAL},
		{"", FILESYSTEM_LOCAL},
		/* of layers, or on top of others */
		{"overlay", FILESYSTEM_OVERLAY},
		{"ecryptfs", FILESYSTEM_STACKED},
		{"aufs", FILESYSTEM_STACKED},
		{"shiftfs", FILESYSTEM_STACKED},
		{"autofs", FILESYSTEM_AUTOMOUNT},
		/* answered by somebody else */
		{"nfs", FILESYSTEM_REMOTE},
		{"nfs4", FILESYSTEM_REMOTE},
		{"cifs", FILESYSTEM_REMOTE},
		{"smb3", FILESYSTEM_REMOTE},
		{"9p", FILESYSTEM_REMOTE},
		{"ceph", FILESYSTEM_REMOTE},
		{"virtiofs", FILESYSTEM_REMOTE},
		{"pvfs2", FILESYSTEM_REMOTE}, /* which is what OrangeFS calls itself */
		{"ocfs2", FILESYSTEM_REMOTE},
		{"vboxsf", FILESYSTEM_REMOTE},
		/* the kernel's */
		{"proc", FILESYSTEM_KERNEL},
		{"sysfs", FILESYSTEM_KERNEL},
		{"cgroup2", FILESYSTEM_KERNEL},
		{"cgroup", FILESYSTEM_KERNEL},
		{"devpts", FILESYSTEM_KERNEL},
		{"nsfs", FILESYSTEM_KERNEL},
		{"fusectl", FILESYSTEM_KERNEL},
		{"nfsd", FILESYSTEM_KERNEL},
		/* whatever a FUSE filesystem calls itself */
		{"fuse", FILESYSTEM_REMOTE},
		{"fuseblk", FILESYSTEM_REMOTE},
		{"fuse.sshfs", FILESYSTEM_REMOTE},
		{"fuse.", FILESYSTEM_REMOTE},
		{"fuse.proc", FILESYSTEM_REMOTE},
		{"fuse.a.b", FILESYSTEM_REMOTE},
		{"fuseblk.ntfs-3g", FILESYSTEM_REMOTE},
		/* only for FUSE is there something behind a dot */
		{"nfs.x", FILESYSTEM_LOCAL},
		{"proc.x", FILESYSTEM_LOCAL},
		{"overlay.x", FILESYSTEM_LOCAL},
		/* whole names, and as they are written */
		{"nf", FILESYSTEM_LOCAL},
		{"nfs5", FILESYSTEM_LOCAL},
		{"fusefs", FILESYSTEM_LOCAL},
		{"fuseblks", FILESYSTEM_LOCAL},
		{"Overlay", FILESYSTEM_LOCAL},
		{"overlayfs", FILESYSTEM_LOCAL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		enum filesystem_kind kind = filesystem_kind(cases[i].type);

		if (kind != cases[i].kind)
			fail_msg("%s: %d, not %d", cases[i].type, kind, cases[i].kind);
	}
}

static void what_can_be_protected_has_no_problem(void **state)
{
	static const char *const types[] = {"ext4", "tmpfs", "overlay", "newfs"};

	for (size_t i = 0; i < N_ELEMENTS(types); i++) {
		assert_null(filesystem_problem(types[i], false));
		assert_null(filesystem_problem(types[i], true));
	}
}

static void what_cannot_has_a_reason_that_fits_it(void **state)
{
	static const struct {
		const char *type, *words;
	} cases[] = {
		{"ecryptfs", "stacked on another"},
		{"autofs", "an automounter's directory"},
		{"proc", "the kernel's own filesystem"},
		{"cgroup2", "the kernel's own filesystem"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const char *problem = filesystem_problem(cases[i].type, false);

		if (!problem || !strstr(problem, cases[i].words))
			fail_msg("%s: %s", cases[i].type, problem ? problem : "no problem");
		/* that remote ones are wanted changes nothing */
		assert_ptr_equal(filesystem_problem(cases[i].type, true), problem);
	}
}

static void remote_ones_are_protected_where_that_is_wanted(void **state)
{
	static const char *const types[] = {"nfs4", "cifs", "fuse", "fuse.sshfs", "fuseblk"};

	for (size_t i = 0; i < N_ELEMENTS(types); i++) {
		const char *problem = filesystem_problem(types[i], false);

		assert_non_null(problem);
		/* says what to do about it */
		assert_non_null(strstr(problem, "remote-filesystems = yes"));
		assert_null(filesystem_problem(types[i], true));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_type_is_of_the_kind_that_it_works_like),
		cmocka_unit_test(what_can_be_protected_has_no_problem),
		cmocka_unit_test(what_cannot_has_a_reason_that_fits_it),
		cmocka_unit_test(remote_ones_are_protected_where_that_is_wanted),
	};

	return cmocka_run_group_tests_name("filesystem", tests, NULL, NULL);
}
