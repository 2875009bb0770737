/* SPDX-License-Identifier: GPL-2.0-only */
#include "scan_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* In the directory of the guard, and below it. */
#define FILE_NAME "report"
#define DIRECTORY "reports"
#define SUFFIX	  ".json"

static const char report_head[] = "{\"format\": 1, \"events\": [\n";

struct scan_report {
	int directory; /* the caller's */
	FILE *file;
	uint64_t end;
	int error; /* negative errno of the first write that failed */
};

static int report_position(struct scan_report *report, uint64_t end)
{
	if (ftruncate(fileno(report->file), (off_t)end) < 0 ||
	    fseeko(report->file, (off_t)end, SEEK_SET) < 0)
		return -errno;
	report->end = end;
	return 0;
}

static void report_write(struct scan_report *report, const char *text)
{
	if (fputs(text, report->file) == EOF && !report->error)
		report->error = -errno;
	report->end += strlen(text);
}

struct scan_report *scan_report_open(int directory, uint64_t end)
{
	int fd = openat(directory, FILE_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (end ? 0 : O_CREAT),
			0640);
	struct scan_report *report = calloc(1, sizeof(*report));
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r+e");
	int error = 0;

	if (!report || !file) {
		error = report ? errno : ENOMEM;
	} else {
		*report = (struct scan_report){.directory = directory, .file = file};
		/* One that is shorter than it was has lost what was found. */
		if (fseeko(file, 0, SEEK_END) < 0 || ftello(file) < (off_t)end)
			error = EBADMSG;
		else
			error = -report_position(report, end);
	}
	if (error) {
		if (file)
			(void)fclose(file);
		else if (fd >= 0)
			close(fd);
		free(report);
		errno = error;
		return NULL;
	}
	if (!end)
		report_write(report, report_head);
	return report;
}

struct scan_report *scan_report_free(struct scan_report *report)
{
	if (!report)
		return NULL;
	(void)fclose(report->file);
	free(report);
	return NULL;
}

void scan_report_add(struct scan_report *report, json_t *event)
{
	char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;

	if (text) {
		report_write(report, text);
		report_write(report, ",\n");
	} else if (!report->error) {
		report->error = -ENOMEM;
	}
	free(text);
	json_decref(event);
}

bool scan_report_has_room(const struct scan_report *report)
{
	return report->end < SCAN_REPORT_LIST_MAX;
}

int64_t scan_report_sync(struct scan_report *report)
{
	if (!report->error && (fflush(report->file) == EOF || fdatasync(fileno(report->file)) < 0))
		report->error = -errno;
	return report->error ? report->error : (int64_t)report->end;
}

static int report_visible(const struct dirent *entry)
{
	const char *suffix = strrchr(entry->d_name, '.');

	return *entry->d_name != '.' && suffix && !strcmp(suffix, SUFFIX);
}

static uint64_t report_size(int reports, const char *name)
{
	struct stat status;

	return fstatat(reports, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ? 0
									: (uint64_t)status.st_size;
}

/* Removes the oldest reports, but never the newest; their names sort by time. */
static void reports_prune(int directory)
{
	struct dirent **entries;
	int n = scandirat(directory, DIRECTORY, &entries, report_visible, alphasort);
	int reports = n < 0 ? -1 : openat(directory, DIRECTORY, O_PATH | O_DIRECTORY | O_CLOEXEC);
	uint64_t bytes = 0;

	for (int i = n; i-- > 0;) {
		bytes += report_size(reports, entries[i]->d_name);
		if (i < n - CONTROL_REPORTS_MAX || (i < n - 1 && bytes > CONTROL_REPORTS_BYTES_MAX))
			(void)unlinkat(reports, entries[i]->d_name, 0);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	if (reports >= 0)
		close(reports);
}

static int report_sync_directories(const struct scan_report *report)
{
	int reports = openat(report->directory, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (reports < 0)
		return -errno;
	r = fsync(reports) < 0 || fsync(report->directory) < 0 ? -errno : 0;
	close(reports);
	return r;
}

/* Two scans may begin within a second, or the clock be set back: nothing is written over. */
static int report_name(struct scan_report *report, int64_t began, char *name, size_t size)
{
	char path[64], when[32];
	time_t time = (time_t)began;
	struct tm utc;

	/* Not local time, which repeats an hour each autumn. */
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%SZ", gmtime_r(&time, &utc));
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(name, size, i ? "%s_%02u%s" : "%s%.0u%s", when, i, SUFFIX);
		(void)snprintf(path, sizeof(path), "%s/%s", DIRECTORY, name);
		if (renameat2(report->directory, FILE_NAME, report->directory, path,
			      RENAME_NOREPLACE) == 0)
			return report_sync_directories(report);
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

int scan_report_finish(struct scan_report *report, json_t *summary, int64_t began, char *ret_name,
		       size_t size)
{
	char *text = summary ? json_dumps(summary, JSON_COMPACT) : NULL;
	int64_t end;
	int r = 0;

	/* Each event ended with a comma. */
	report_write(report, "{}], \"summary\": ");
	report_write(report, text ? text : "null");
	report_write(report, "}\n");
	free(text);
	json_decref(summary);
	end = scan_report_sync(report);
	r = end < 0 ? (int)end : report_name(report, began, ret_name, size);
	if (r == 0)
		reports_prune(report->directory);
	scan_report_free(report);
	return r;
}
