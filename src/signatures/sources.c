/* SPDX-License-Identifier: GPL-2.0-only */
#include "sources.h"

#include <clamav.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHA256_SIZE 32

/* So many hexadecimal digits tell files apart for people. */
#define SHOWN_DIGITS 12

struct sources {
	FILE *text; /* all that makes the set */
	struct wire_engine_info *info;
	size_t shown; /* bytes of info->versions in use */
};

static void sources_show(struct sources *sources, const char *name, const char *version)
{
	static const char more[] = ", ...";
	char *at = sources->info->versions + sources->shown;
	size_t left = sizeof(sources->info->versions) - sources->shown;
	int n = snprintf(at, left, "%s%s %s", sources->shown ? ", " : "", name, version);

	if (n < 0 || (size_t)n + sizeof(more) > left) {
		(void)snprintf(at, left, "%s", left >= sizeof(more) ? more : "");
		sources->shown = sizeof(sources->info->versions) - 1;
	} else {
		sources->shown += (size_t)n;
	}
}

/* The version that a signed file says of itself. Returns false where it is none. */
static bool source_version(const char *path, char *buffer, size_t size)
{
	const char *suffix = strrchr(path, '.');
	struct cl_cvd *head = NULL;

	if (suffix && (!strcmp(suffix, ".cvd") || !strcmp(suffix, ".cld")))
		head = cl_cvdhead(path);
	if (!head)
		return false;
	(void)snprintf(buffer, size, "%u", head->version);
	cl_cvdfree(head);
	return true;
}

static int source_digest(const char *path, char *digits)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char *digest;
	unsigned length = 0;

	if (fd < 0)
		return -errno;
	digest = cl_hash_file_fd(fd, "sha256", &length);
	close(fd);
	if (!digest || length != SHA256_SIZE) {
		free(digest);
		return -EIO;
	}
	for (unsigned i = 0; i < length; i++)
		(void)snprintf(digits + 2 * i, 3, "%02x", digest[i]);
	free(digest);
	return 0;
}

/* Returns whether it is a file, or a negative errno. */
static int sources_add(struct sources *sources, const char *directory, const char *name)
{
	char path[PATH_MAX], digits[2 * SHA256_SIZE + 1], version[32];
	struct stat status;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (stat(path, &status) < 0)
		return 0;
	/* A directory or a FIFO that is called like a file of signatures would keep libclamav busy
	 * for ever. What has no suffix is not loaded. */
	if (!S_ISREG(status.st_mode))
		return strchr(name + 1, '.') && strcmp(name, "..") != 0 ? -EISDIR : 0;
	r = source_digest(path, digits);
	if (r < 0)
		return r;
	(void)fprintf(sources->text, "%s %s\n", name, digits);
	if (!source_version(path, version, sizeof(version)))
		(void)snprintf(version, sizeof(version), "%.*s", SHOWN_DIGITS, digits);
	sources_show(sources, name, version);
	return 1;
}

/* Adds all files, in the order of their names, the hidden ones too: they are loaded. Returns how
 * many. */
static int sources_add_all(struct sources *sources, const char *directory)
{
	struct dirent **entries;
	int n = scandir(directory, &entries, NULL, alphasort), n_files = 0, r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (r >= 0)
			r = sources_add(sources, directory, entries[i]->d_name);
		n_files += r > 0;
		free(entries[i]);
	}
	free(entries);
	return r < 0 ? r : n_files;
}

int sources_read(const char *directory, const struct conf *conf, struct wire_engine_info *info)
{
	unsigned char digest[SHA256_SIZE];
	char *text = NULL;
	size_t size = 0;
	struct sources sources = {.text = open_memstream(&text, &size), .info = info};
	int n;

	if (!sources.text)
		return -errno;
	*info->versions = '\0';
	(void)snprintf(info->engine, sizeof(info->engine), "%s", cl_retver());
	(void)fprintf(
		sources.text, "%s %u %llu %llu %llu %d %d\n", cl_retver(), cl_retflevel(),
		(unsigned long long)conf->max_file_size, (unsigned long long)conf->max_scan_size,
		(unsigned long long)conf->max_scan_time_ms, conf->detect_pua, conf->heuristics);
	n = sources_add_all(&sources, directory);
	if (fclose(sources.text) != 0 && n >= 0)
		n = -ENOMEM;
	if (n >= 0 && !cl_hash_data("sha256", text, size, digest, NULL))
		n = -EIO;
	if (n >= 0)
		memcpy(&info->set, digest, sizeof(info->set));
	free(text);
	return n;
}
