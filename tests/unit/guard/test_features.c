/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/log.h"
#include "../../../src/guard/features.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

static void each_feature_has_a_name_of_its_own(void **state)
{
	static const char *const names[] = {"filesystem-marks", "evictable-marks",
					    "ignore-marks",	"rename-watch",
					    "overlay-events",	"unique-mount-ids"};

	assert_int_equal(N_ELEMENTS(names), FEATURE_COUNT);
	for (enum feature feature = 0; feature < FEATURE_COUNT; feature++)
		assert_string_equal(feature_name(feature), names[feature]);
	assert_string_equal(feature_name(FEATURE_COUNT), "unknown");
	assert_string_equal(feature_name((enum feature) - 1), "unknown");
}

/* --- names that there are not --- */

struct lines {
	unsigned n;
	char last[1024];
};

static void count_line(void *context, int priority, const char *text)
{
	struct lines *lines = context;

	assert_int_equal(priority, LOG_WARNING);
	lines->n++;
	(void)snprintf(lines->last, sizeof(lines->last), "%s", text);
}

static void a_name_that_there_is_not_is_logged(void **state)
{
	static const struct {
		const char *without;
		unsigned lines;
	} cases[] = {
		{NULL, 0},
		{"", 0},
		{"ignore-marks", 0},
		{"filesystem-marks,evictable-marks,ignore-marks,rename-watch,overlay-events,"
		 "unique-mount-ids",
		 0},
		{"ignore-marks,", 0},
		{"ignore-marks,,rename-watch", 0},
		/* whole names, as they are written */
		{"ignore", 1},
		{"ignore-marksx", 1},
		{"Ignore-Marks", 1},
		{" ignore-marks", 1},
		{"unknown", 1},
		/* one line, whichever it is and however many */
		{"ignore-marks,typo", 1},
		{"typo,ignore-marks", 1},
		{"typo,typo", 1},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct lines lines = {0};
		struct features features;

		log_set_sink(count_line, &lines);
		/* without a group there are no features, but names */
		features_probe(&features, -1, cases[i].without);
		log_set_sink(NULL, NULL);
		if (lines.n != cases[i].lines)
			fail_msg("%s: %u lines", cases[i].without, lines.n);
		/* says where it stands */
		if (lines.n && (!strstr(lines.last, "HOLDFAST_WITHOUT") ||
				!strstr(lines.last, cases[i].without)))
			fail_msg("%s", lines.last);
	}
}

static void without_a_group_nothing_can_be_done(void **state)
{
	struct features features;

	memset(&features, 1, sizeof(features));
	features_probe(&features, -1, NULL);
	assert_false(features.has[FEATURE_FILESYSTEM_MARKS]);
	assert_false(features.has[FEATURE_EVICTABLE_MARKS]);
	assert_false(features.has[FEATURE_IGNORE_MARKS]);
	assert_false(features.has[FEATURE_OVERLAY_EVENTS]);
}

/* --- with a kernel --- */

static int setup(void **state)
{
	static int group;

	group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
				      FAN_UNLIMITED_MARKS,
			      O_RDONLY | O_CLOEXEC);
	*state = &group;
	return 0;
}

static int teardown(void **state)
{
	int group = *(int *)*state;

	if (group >= 0)
		close(group);
	return 0;
}

static int group_of(void **state)
{
	int group = *(int *)*state;

	if (group < 0) {
		print_message("skipped: no fanotify group can be had (not root?)\n");
		skip();
	}
	return group;
}

static void each_name_takes_exactly_its_feature_away(void **state)
{
	struct features all, features;
	int group = group_of(state);

	features_probe(&all, group, NULL);
	assert_false(all.has[FEATURE_OVERLAY_EVENTS]);
	for (enum feature without = 0; without < FEATURE_COUNT; without++) {
		if (!all.has[without] && without != FEATURE_OVERLAY_EVENTS)
			print_message("%s: not of this kernel\n", feature_name(without));
		memset(&features, 1, sizeof(features));
		features_probe(&features, group, feature_name(without));
		for (enum feature feature = 0; feature < FEATURE_COUNT; feature++)
			if (features.has[feature] != (all.has[feature] && feature != without))
				fail_msg("without %s: %s is %d", feature_name(without),
					 feature_name(feature), features.has[feature]);
	}
}

static void a_list_takes_all_of_its_features_away(void **state)
{
	struct features all, features;
	int group = group_of(state);

	features_probe(&all, group, "");
	features_probe(&features, group, "rename-watch,,filesystem-marks,");
	assert_false(features.has[FEATURE_RENAME_WATCH]);
	assert_false(features.has[FEATURE_FILESYSTEM_MARKS]);
	assert_int_equal(features.has[FEATURE_IGNORE_MARKS], all.has[FEATURE_IGNORE_MARKS]);
	assert_int_equal(features.has[FEATURE_EVICTABLE_MARKS], all.has[FEATURE_EVICTABLE_MARKS]);
}

/* What the kernel lists of a group behind its flags: its marks. */
static unsigned count_marks(int group)
{
	char name[64], line[512];
	unsigned n = 0;
	FILE *info;

	(void)snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", group);
	info = fopen(name, "re");
	assert_non_null(info);
	while (fgets(line, sizeof(line), info))
		n += !strncmp(line, "fanotify ", strlen("fanotify ")) &&
		     strncmp(line, "fanotify flags:", strlen("fanotify flags:")) != 0;
	(void)fclose(info);
	return n;
}

/* The kernel of the tests knows what it is for: 4.20, 5.19, 6.0 and 5.1. */
static void what_a_mark_can_do_is_what_the_kernel_takes(void **state)
{
	static const unsigned flags[] = {
		[FEATURE_EVICTABLE_MARKS] = FAN_MARK_EVICTABLE | FAN_MARK_IGNORED_MASK,
		[FEATURE_IGNORE_MARKS] = FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY,
	};
	int group = group_of(state), file;
	struct features features;

	scratch_write("file", "", 0);
	file = open("file", O_RDONLY | O_CLOEXEC);
	assert_true(file >= 0);
	features_probe(&features, group, NULL);
	for (enum feature feature = FEATURE_EVICTABLE_MARKS; feature <= FEATURE_IGNORE_MARKS;
	     feature++)
		/* an ignore mark makes the kernel ask about nothing */
		assert_int_equal(fanotify_mark(group, FAN_MARK_ADD | flags[feature], FAN_OPEN_PERM,
					       file, NULL) == 0,
				 features.has[feature]);
	close(file);
}

static void the_group_is_left_as_it_was(void **state)
{
	int group = group_of(state);
	unsigned fds = unit_count_fds();
	struct features features;

	assert_int_equal(count_marks(group), 0);
	features_probe(&features, group, NULL);
	assert_int_equal(count_marks(group), 0);
	assert_int_equal(unit_count_fds(), fds);
}

/* Mounts an overlay in the scratch directory, on a filesystem made for it. */
static bool mount_overlay(void)
{
	char options[2 * PATH_MAX + 64];

	(void)snprintf(options, sizeof(options), "lowerdir=%s/fs/upper:%s/fs/lower", scratch,
		       scratch);
	if (mkdir("fs", 0755) < 0 || !mount_fixture_unshare() ||
	    mount("tmpfs", "fs", "tmpfs", 0, "size=64k") < 0 || mkdir("fs/upper", 0755) < 0 ||
	    mkdir("fs/lower", 0755) < 0 || mkdir("fs/merged", 0755) < 0)
		return false;
	scratch_write("fs/lower/file", "", 0);
	return mount("overlay", "fs/merged", "overlay", 0, options) == 0;
}

/* The same question asked otherwise: by a group that holds nobody. */
static int kernel_sees_layers(void)
{
	int group = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY), fd;
	struct fanotify_event_metadata metadata;
	int r = -1;

	if (mount_overlay() && fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN,
					     AT_FDCWD, "fs/lower") == 0) {
		fd = open("fs/merged/file", O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		close(fd);
		r = read(group, &metadata, sizeof(metadata)) == sizeof(metadata);
		if (r)
			close(metadata.fd);
	}
	if (group >= 0)
		close(group);
	(void)umount2("fs/merged", MNT_DETACH);
	(void)umount2("fs", MNT_DETACH);
	(void)rmdir("fs");
	return r;
}

/* With an overlay on a filesystem that it makes itself, in a mount namespace of its own. */
static void overlay_events_are_probed_by_themselves(void **state)
{
	unsigned fds;
	int r;

	(void)group_of(state);
	r = kernel_sees_layers();
	if (r < 0) {
		print_message("skipped: an overlay cannot be mounted\n");
		skip();
	}
	fds = unit_count_fds();
	assert_int_equal(features_probe_overlay(NULL), r);
	assert_int_equal(features_probe_overlay("ignore-marks,rename-watch"), r);
	assert_int_equal(features_probe_overlay("overlay-events"), 0);
	assert_int_equal(features_probe_overlay("ignore-marks,overlay-events"), 0);
	assert_int_equal(unit_count_fds(), fds);
	/* nobody else sees what it mounted */
	assert_int_equal(access("/proc/self/status", R_OK), 0);
}

/* --- mounts --- */

static uint64_t unique_id(const char *path)
{
	struct statx status;

	assert_int_equal(statx(AT_FDCWD, path, 0, STATX_MNT_ID_UNIQUE, &status), 0);
	return status.stx_mask & STATX_MNT_ID_UNIQUE ? status.stx_mnt_id : 0;
}

/* Whether a mount that takes the place of another has an id of its own. */
static void unique_mount_ids_are_never_used_again(void **state)
{
	struct features features;
	uint64_t ids[3];

	features_probe(&features, -1, NULL);
	if (mkdir("mount", 0755) < 0 || !mount_fixture_unshare()) {
		print_message("skipped: nothing can be mounted\n");
		skip();
	}
	for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
		assert_int_equal(mount("tmpfs", "mount", "tmpfs", 0, "size=64k"), 0);
		ids[i] = unique_id("mount");
		assert_int_equal(umount("mount"), 0);
	}
	assert_int_equal(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
			 features.has[FEATURE_UNIQUE_MOUNT_IDS]);
	features_probe(&features, -1, "unique-mount-ids");
	assert_false(features.has[FEATURE_UNIQUE_MOUNT_IDS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_feature_has_a_name_of_its_own),
		cmocka_unit_test(a_name_that_there_is_not_is_logged),
		cmocka_unit_test(without_a_group_nothing_can_be_done),
		cmocka_unit_test_setup_teardown(each_name_takes_exactly_its_feature_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_list_takes_all_of_its_features_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_a_mark_can_do_is_what_the_kernel_takes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_group_is_left_as_it_was, setup, teardown),
		cmocka_unit_test(unique_mount_ids_are_never_used_again),
		cmocka_unit_test_setup_teardown(overlay_events_are_probed_by_themselves, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("features", tests, scratch_setup, scratch_teardown);
}
