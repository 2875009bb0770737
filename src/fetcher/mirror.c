/* SPDX-License-Identifier: GPL-2.0-only */
#include "mirror.h"

#include "../signatures/container.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX "index.json"

char *mirror_path(const struct run *run, const char *name, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%s/%s", run->mirror_to, name);
	return buffer;
}

/* Brings a file, or the names in a directory, to the disk for good. */
static int mirror_sync(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int mirror_put(const struct run *run, const char *path, const char *name, char *problem,
	       size_t problem_size)
{
	char target[PATH_MAX];
	int r;

	(void)mirror_path(run, name, target, sizeof(target));
	r = chmod(path, 0644) < 0 ? -errno : mirror_sync(path, O_RDONLY);
	if (r == 0 && rename(path, target) < 0)
		r = -errno;
	if (r == 0)
		r = mirror_sync(run->mirror_to, O_RDONLY | O_DIRECTORY);
	if (r < 0)
		(void)snprintf(problem, problem_size, "cannot write %s: %s", target, strerror(-r));
	return r;
}

/* Reads NAME-VERSION.cdiff, as it is written here: without a sign, or zeros in front. */
static bool mirror_parse_cdiff(const char *file, char *name, uint32_t *ret_version)
{
	char again[SIGNATURE_DATABASE_MAX + 24];
	uint32_t version;

	if (sscanf(file, "%40[A-Za-z0-9_]-%u", name, &version) != 2)
		return false;
	(void)snprintf(again, sizeof(again), "%s-%u.cdiff", name, version);
	if (strcmp(again, file) != 0)
		return false;
	*ret_version = version;
	return true;
}

/* The version of a database that the mirror has; 0: none. */
static uint32_t mirror_version(const struct run *run, const char *name)
{
	char file[SIGNATURE_DATABASE_MAX + 8], path[PATH_MAX];
	struct container_head head;

	(void)snprintf(file, sizeof(file), "%s.cvd", name);
	return container_read(mirror_path(run, file, path, sizeof(path)), &head) == 0 ? head.version
										      : 0;
}

static bool mirror_is_outdated(const struct run *run, const char *file)
{
	char name[SIGNATURE_DATABASE_MAX + 1];
	uint32_t version;

	return mirror_parse_cdiff(file, name, &version) &&
	       (uint64_t)version + MIRROR_CDIFFS_MAX <= mirror_version(run, name);
}

static json_t *mirror_describe(const struct run *run, const char *file)
{
	char path[PATH_MAX], name[SIGNATURE_DATABASE_MAX + 1];
	struct container_head head;
	struct stat status;
	uint32_t version = 0;
	json_t *entry;

	(void)mirror_path(run, file, path, sizeof(path));
	if (stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return NULL;
	if (signature_is_container(file) && container_read(path, &head) == 0)
		version = head.version;
	else if (!mirror_parse_cdiff(file, name, &version) && !signature_is_file(file))
		return NULL;
	entry = json_pack("{s:s, s:I}", "name", file, "size", (json_int_t)status.st_size);
	if (version)
		(void)json_object_set_new(entry, "version", json_integer(version));
	return entry;
}

/* Describes what there is, in the order of names, and removes what nobody needs any more. */
static json_t *mirror_list(const struct run *run)
{
	json_t *files = json_array();
	struct dirent **entries;
	int n = scandir(run->mirror_to, &entries, NULL, versionsort);

	for (int i = 0; i < n; i++) {
		const char *file = entries[i]->d_name;
		char path[PATH_MAX];

		if (mirror_is_outdated(run, file))
			(void)unlink(mirror_path(run, file, path, sizeof(path)));
		else
			(void)json_array_append_new(files, mirror_describe(run, file));
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return files;
}

int mirror_finish(const struct run *run, char *problem, size_t problem_size)
{
	char path[PATH_MAX];
	json_t *index = json_pack("{s:I, s:o}", "updated", (json_int_t)run_now(), "files",
				  mirror_list(run));
	int r = -ENOMEM;

	(void)store_path(run->store, "work/" INDEX, path, sizeof(path));
	if (index)
		r = json_dump_file(index, path, JSON_INDENT(2)) < 0 ? -EIO : 0;
	json_decref(index);
	if (r < 0) {
		(void)snprintf(problem, problem_size, "cannot write %s: %s", path, strerror(-r));
		return r;
	}
	return mirror_put(run, path, INDEX, problem, problem_size);
}
