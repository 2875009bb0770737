/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/mounts.h"
#include "../support/mount_fixture.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* A line of mountinfo of which only this matters. */
#define LINE(id, parent, device, root, point)                                                      \
#id " " #parent " " device " " root " " point " rw,relatime - ext4 /dev/sda rw\n"

static struct mounts read_text(const char *text)
{
	struct mounts mounts = {0};

	assert_int_equal(mount_fixture_add(&mounts, text), 0);
	return mounts;
}

/* --- reading --- */

static void each_line_is_a_mount(void **state)
{
	struct mounts mounts =
		read_text("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
			  /* tags between; an id that needs 64 bits; no newline at the end */
			  "8589934592 27 0:1048575 /sub /srv rw shared:7 master:2 - btrfs /dev/sdb "
			  "rw,subvol=/");

	assert_int_equal(mounts.n, 2);
	assert_int_equal(mounts.mounts[0].id, 27);
	assert_int_equal(mounts.mounts[0].parent, 1);
	assert_int_equal(mounts.mounts[0].device, makedev(254, 0));
	assert_string_equal(mounts.mounts[0].root, "/");
	assert_string_equal(mounts.mounts[0].point, "/");
	assert_string_equal(mounts.mounts[0].type, "ext4");
	assert_string_equal(mounts.mounts[0].options, "rw,discard");
	assert_false(mounts.mounts[0].is_lower);

	assert_int_equal(mounts.mounts[1].id, UINT64_C(8589934592));
	assert_int_equal(mounts.mounts[1].parent, 27);
	assert_int_equal(mounts.mounts[1].device, makedev(0, 1048575));
	assert_string_equal(mounts.mounts[1].root, "/sub");
	assert_string_equal(mounts.mounts[1].point, "/srv");
	assert_string_equal(mounts.mounts[1].type, "btrfs");
	assert_string_equal(mounts.mounts[1].options, "rw,subvol=/");
	assert_false(mounts.mounts[1].is_lower);
	mounts_free(&mounts);
	assert_int_equal(mounts.n, 0);
	assert_null(mounts.mounts);
}

static void what_the_kernel_escapes_is_read_as_it_is_called(void **state)
{
	struct mounts mounts = read_text(
		"2 1 8:1 /a\\040-\\040b /s\\011t\\012n\\134b rw - fuse.x y\\040z rw,x=a\\054b\n");

	assert_int_equal(mounts.n, 1);
	assert_string_equal(mounts.mounts[0].root, "/a - b");
	assert_string_equal(mounts.mounts[0].point, "/s\tt\nn\\b");
	assert_string_equal(mounts.mounts[0].type, "fuse.x");
	/* options are taken apart first */
	assert_string_equal(mounts.mounts[0].options, "rw,x=a\\054b");
	mounts_free(&mounts);
}

/* What separates the parts of a line is a dash alone. */
static void names_may_begin_and_end_with_dashes(void **state)
{
	struct mounts mounts = read_text("2 1 8:1 /a- /- rw- shared:1- - ext4 - rw-\n"
					 "3 1 8:1 /- /srv- rw - ext4 /dev/sda- -\n");

	assert_int_equal(mounts.n, 2);
	assert_string_equal(mounts.mounts[0].root, "/a-");
	assert_string_equal(mounts.mounts[0].point, "/-");
	assert_string_equal(mounts.mounts[0].type, "ext4");
	assert_string_equal(mounts.mounts[0].options, "rw-");
	assert_string_equal(mounts.mounts[1].root, "/-");
	assert_string_equal(mounts.mounts[1].point, "/srv-");
	assert_string_equal(mounts.mounts[1].type, "ext4");
	assert_string_equal(mounts.mounts[1].options, "-");
	mounts_free(&mounts);
}

static void lines_that_are_no_mount_of_a_directory_are_passed_over(void **state)
{
	static const char *const lines[] = {
		"",
		"\n",
		/* a namespace, mounted where it does not go away */
		"9 1 0:4 net:[4026531840] /run/netns/x rw shared:3 - nsfs nsfs rw\n",
		/* a place that is no path */
		"9 1 8:1 / srv rw - ext4 /dev/sda rw\n",
		/* too little */
		"9 1 8:1 / /srv rw\n",
		"9 1 8:1 / /srv rw shared:1 ext4 /dev/sda rw\n",
		"9 1 8:1 / - ext4 /dev/sda rw\n",
		"9 1 8:1 / /srv rw - \n",
		"9 1 8 / /srv rw - ext4 /dev/sda rw\n",
		"9 x 8:1 / /srv rw - ext4 /dev/sda rw\n",
		"x 1 8:1 / /srv rw - ext4 /dev/sda rw\n",
		" - \n",
		" - ext4 /dev/sda rw\n",
	};

	for (size_t i = 0; i < N_ELEMENTS(lines); i++) {
		char text[256];
		struct mounts mounts;

		/* the ones around it are read */
		(void)snprintf(text, sizeof(text), "%s%s%s", LINE(1, 0, "8:1", "/", "/"), lines[i],
			       LINE(2, 1, "8:1", "/", "/home"));
		mounts = read_text(text);
		if (mounts.n != 2)
			fail_msg("%zu mounts with line %zu", mounts.n, i);
		assert_string_equal(mounts.mounts[0].point, "/");
		assert_string_equal(mounts.mounts[1].point, "/home");
		mounts_free(&mounts);
	}
}

static void mounts_that_show_other_owners_are_told(void **state)
{
	struct mounts mounts =
		read_text("2 1 8:1 / / rw,relatime,idmapped - ext4 /dev/sda rw\n"
			  "3 1 8:1 / /idmapped rw,relatime shared:1 - ext4 /dev/sda rw,idmapped\n"
			  "4 1 8:1 / /srv idmapped shared:1 - ext4 /dev/sda rw\n");

	assert_int_equal(mounts.n, 3);
	assert_true(mounts.mounts[0].is_idmapped);
	assert_false(mounts.mounts[1].is_idmapped);
	assert_true(mounts.mounts[2].is_idmapped);
	mounts_free(&mounts);
}

static void options_of_the_superblock_may_be_missing(void **state)
{
	struct mounts mounts = read_text("2 1 8:1 / /srv rw - ext4 /dev/sda\n"
					 "3 1 8:1 / /opt rw - ext4\n"
					 "4 1 8:1 / /usr - tmpfs none\n");

	assert_int_equal(mounts.n, 3);
	for (size_t i = 0; i < mounts.n; i++)
		assert_string_equal(mounts.mounts[i].options, "");
	assert_string_equal(mounts.mounts[1].type, "ext4");
	assert_string_equal(mounts.mounts[2].type, "tmpfs");
	mounts_free(&mounts);
}

/* mount("", ...): two spaces in the line. */
static void the_source_may_be_empty(void **state)
{
	struct mounts mounts = read_text("2 1 0:9 / /m rw - overlay  ro,lowerdir=/a:/b\n");

	assert_int_equal(mounts.n, 1);
	assert_string_equal(mounts.mounts[0].options, "ro,lowerdir=/a:/b");
	mounts_free(&mounts);
}

static void lines_may_have_any_length(void **state)
{
	enum { LONG = 300000 };
	char *text = malloc(3 * LONG + 256), *name = malloc(LONG + 1);
	struct mounts mounts;

	assert_non_null(text);
	assert_non_null(name);
	memset(name, 'x', LONG);
	name[LONG] = '\0';
	(void)snprintf(text, 3 * LONG + 256,
		       "2 1 8:1 /%s /%s rw - overlay overlay rw,lowerdir=%s\n"
		       "3 1 8:1 / /opt rw - ext4 /dev/sda rw\n",
		       name, name, name);
	mounts = read_text(text);
	assert_int_equal(mounts.n, 2);
	assert_string_equal(mounts.mounts[0].root + 1, name);
	assert_string_equal(mounts.mounts[0].point + 1, name);
	assert_string_equal(mounts.mounts[0].options + strlen("rw,lowerdir="), name);
	assert_string_equal(mounts.mounts[1].point, "/opt");
	mounts_free(&mounts);
	free(text);
	free(name);
}

static void there_may_be_any_number_of_mounts(void **state)
{
	struct mounts mounts = {0};
	char line[128];

	for (unsigned i = 1; i <= 1000; i++) {
		(void)snprintf(line, sizeof(line), "%u 0 8:1 / /%u rw - ext4 /dev/sda rw\n", i, i);
		assert_int_equal(mount_fixture_add(&mounts, line), 0);
	}
	assert_int_equal(mounts.n, 1000);
	for (unsigned i = 1; i <= 1000; i++) {
		(void)snprintf(line, sizeof(line), "/%u", i);
		assert_int_equal(mounts.mounts[i - 1].id, i);
		assert_string_equal(mounts.mounts[i - 1].point, line);
	}
	mounts_free(&mounts);
}

static void a_table_that_cannot_be_read_is_an_error(void **state)
{
	struct mounts mounts = {0};
	FILE *directory = fopen("/", "re");

	assert_non_null(directory);
	assert_int_equal(mounts_read(&mounts, directory), -EISDIR);
	assert_int_equal(mounts.n, 0);
	(void)fclose(directory);
}

static void the_table_of_this_machine_can_be_read(void **state)
{
	struct mounts mounts = {0};
	const struct mount *root;

	if (access("/proc/self/mountinfo", R_OK) < 0) {
		print_message("skipped: /proc is not mounted\n");
		skip();
	}
	assert_int_equal(mount_fixture_read(&mounts), 0);
	root = mounts_of_path(&mounts, "/");
	assert_non_null(root);
	assert_ptr_equal(root, &mounts.mounts[mount_fixture_index(&mounts, "/")]);
	assert_ptr_equal(mounts_of_path(&mounts, "/proc/self"),
			 &mounts.mounts[mount_fixture_index(&mounts, "/proc/self/")]);
	mounts_free(&mounts);
}

static void escapes_are_a_backslash_and_three_octal_digits(void **state)
{
	static const struct {
		const char *text, *plain;
	} cases[] = {
		{"", ""},
		{"/srv", "/srv"},
		{"\\040", " "},
		{"a\\040b\\011c\\012d\\134e", "a b\tc\nd\\e"},
		{"\\134040", "\\040"}, /* once only */
		{"\\134\\134", "\\\\"},
		{"\\303\\244", "\xc3\xa4"},
		{"\\377", "\xff"},
		{"\\0401", " 1"},
		/* no escapes */
		{"\\", "\\"},
		{"\\0", "\\0"},
		{"\\04", "\\04"},
		{"\\04x", "\\04x"},
		{"\\048", "\\048"},
		{"\\n\\:", "\\n\\:"},
		{"\\\\040", "\\ "},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char *plain = mounts_unescape(cases[i].text);

		assert_non_null(plain);
		assert_string_equal(plain, cases[i].plain);
		free(plain);
	}
}

/* --- which mount a path leads to --- */

static void mounts_are_found_by_id(void **state)
{
	struct mounts mounts =
		read_text(LINE(1, 0, "8:1", "/", "/") LINE(20, 1, "8:2", "/", "/srv"));

	/* a layer has no id, and is not found by none */
	assert_int_equal(mounts_add_layer(&mounts, 1, &mounts.mounts[0], "/l", false), 0);
	assert_ptr_equal(mounts_find(&mounts, 1), &mounts.mounts[0]);
	assert_ptr_equal(mounts_find(&mounts, 20), &mounts.mounts[1]);
	assert_null(mounts_find(&mounts, 2));
	assert_null(mounts_find(&mounts, 0));
	mounts_free(&mounts);
	assert_null(mounts_find(&mounts, 1));
}

/* The same mounts listed in the opposite order. */
static struct mounts reversed(const struct mounts *mounts)
{
	struct mounts copy = {.n = mounts->n};

	copy.mounts = calloc(mounts->n, sizeof(*copy.mounts));
	assert_non_null(copy.mounts);
	for (size_t i = 0; i < mounts->n; i++)
		copy.mounts[i] = mounts->mounts[mounts->n - 1 - i];
	return copy;
}

struct way {
	const char *path;
	uint64_t id;
};

static void assert_ways(const struct mounts *mounts, const struct way *ways, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct mount *mount = mounts_of_path(mounts, ways[i].path);

		assert_non_null(mount);
		if (mount->id != ways[i].id)
			fail_msg("%s leads to %d, not %d", ways[i].path, (int)mount->id,
				 (int)ways[i].id);
	}
}

/* The order of the lines must not matter. */
static void assert_leads(const char *text, const struct way *ways, size_t n)
{
	struct mounts mounts = read_text(text), backwards = reversed(&mounts);

	assert_ways(&mounts, ways, n);
	assert_ways(&backwards, ways, n);
	free(backwards.mounts);
	mounts_free(&mounts);
}

static void a_path_leads_to_the_innermost_mount(void **state)
{
	static const struct way ways[] = {
		{"/", 10},
		{"/srv2", 10},
		{"/etc/passwd", 10},
		{"/srv", 20},
		{"/srv/x", 20},
		{"/srv/www", 30},
		{"/srv/www/x/y", 30},
		{"/srv/www2", 20},
		{"/srv/not/yet", 20},
		{"/home", 10},
		{"/home/u/m", 40},
		{"/home/u/m/x", 40},
		{"/home/u", 10},
	};

	assert_leads(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "8:2", "/", "/srv")
			     LINE(30, 20, "8:3", "/", "/srv/www")
				     LINE(40, 10, "8:4", "/", "/home/u/m"),
		     ways, N_ELEMENTS(ways));
}

static void of_mounts_on_one_point_the_last_counts(void **state)
{
	static const struct way ways[] = {{"/", 10}, {"/srv", 40}, {"/srv/x", 40}};

	assert_leads(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "8:2", "/", "/srv")
			     LINE(30, 20, "8:3", "/", "/srv") LINE(40, 30, "8:4", "/", "/srv"),
		     ways, N_ELEMENTS(ways));
}

/* What is mounted on /srv/www stays there, but no path leads to it. */
static void a_mount_at_a_shorter_path_hides_those_below(void **state)
{
	static const struct way ways[] = {
		{"/srv", 40}, {"/srv/www", 40}, {"/srv/www/x", 40}, {"/srv/new", 50}};

	assert_leads(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "8:2", "/", "/srv")
			     LINE(30, 20, "8:3", "/", "/srv/www") LINE(40, 20, "8:4", "/", "/srv")
				     LINE(50, 40, "8:5", "/", "/srv/new"),
		     ways, N_ELEMENTS(ways));
}

static void the_root_may_be_stacked(void **state)
{
	static const struct way ways[] = {{"/", 20}, {"/srv", 30}, {"/home", 20}, {"/home/x", 20}};

	/* what was mounted before, on the one below, is hidden */
	assert_leads(LINE(10, 1, "8:1", "/", "/") LINE(15, 10, "8:9", "/", "/home")
			     LINE(20, 10, "8:2", "/", "/") LINE(30, 20, "8:3", "/", "/srv"),
		     ways, N_ELEMENTS(ways));
}

static void the_root_may_be_its_own_parent(void **state)
{
	static const struct way ways[] = {{"/", 20}, {"/srv", 30}, {"/x", 20}};

	assert_leads(LINE(10, 10, "0:1", "/", "/") LINE(20, 10, "8:2", "/", "/")
			     LINE(30, 20, "8:3", "/", "/srv"),
		     ways, N_ELEMENTS(ways));
}

static void without_a_root_no_path_leads_anywhere(void **state)
{
	struct mounts none = {0}, mounts = read_text(LINE(20, 10, "8:2", "/", "/srv"));

	assert_null(mounts_of_path(&none, "/"));
	assert_null(mounts_of_path(&mounts, "/"));
	assert_null(mounts_of_path(&mounts, "/srv"));
	assert_false(mounts.mounts[0].is_reachable);
	mounts_free(&mounts);
}

/* A layer of an overlay is none that the kernel knows by a path. */
static void no_path_leads_to_a_layer(void **state)
{
	struct mounts mounts =
		read_text(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "0:9", "/", "/srv"));

	assert_int_equal(mounts_add_layer(&mounts, 1, &mounts.mounts[0], "/l", false), 0);
	/* on an overlay at the root as well */
	assert_int_equal(mounts_add_layer(&mounts, 0, &mounts.mounts[1], "/l", false), 0);
	assert_int_equal(mounts_of_path(&mounts, "/srv/x")->id, 20);
	assert_int_equal(mounts_of_path(&mounts, "/")->id, 10);
	mounts_free(&mounts);
}

static void what_is_hidden_cannot_be_reached(void **state)
{
	static const bool reachable[] = {false, false, true, false, false, true, true};
	struct mounts mounts = read_text(
		/* 10 and what is on it is below 20 */
		LINE(10, 1, "8:1", "/", "/") LINE(11, 10, "8:1", "/", "/home")
			LINE(20, 10, "8:1", "/", "/") LINE(30, 20, "8:3", "/", "/srv")
				LINE(31, 30, "8:4", "/", "/srv/www")
					LINE(40, 30, "8:3", "/", "/srv")
						LINE(41, 40, "8:5", "/", "/srv/mail"));

	assert_int_equal(mounts.n, N_ELEMENTS(reachable));
	for (size_t i = 0; i < mounts.n; i++)
		if (mounts.mounts[i].is_reachable != reachable[i])
			fail_msg("mount %d %s be reached", (int)mounts.mounts[i].id,
				 reachable[i] ? "cannot" : "can");

	/* a superblock is shown by the mount that can be */
	assert_int_equal(mounts_showing(&mounts, makedev(8, 1))->id, 20);
	assert_int_equal(mounts_showing(&mounts, makedev(8, 3))->id, 40);
	assert_int_equal(mounts_showing(&mounts, makedev(8, 5))->id, 41);
	/* or by none */
	assert_null(mounts_showing(&mounts, makedev(8, 4)));
	assert_null(mounts_showing(&mounts, makedev(8, 7)));
	mounts_free(&mounts);
}

static void what_comes_to_a_table_later_may_hide_what_was_there(void **state)
{
	struct mounts mounts =
		read_text(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "8:2", "/", "/srv/www"));

	assert_true(mounts.mounts[1].is_reachable);
	assert_int_equal(mount_fixture_add(&mounts, LINE(30, 10, "8:3", "/", "/srv")), 0);
	assert_false(mounts.mounts[1].is_reachable);
	assert_true(mounts.mounts[2].is_reachable);
	mounts_free(&mounts);
}

static void a_layer_does_not_show_a_superblock(void **state)
{
	struct mounts mounts =
		read_text(LINE(10, 1, "8:1", "/", "/") LINE(20, 10, "0:9", "/", "/srv"));
	const struct mount hidden = {
		.device = makedev(8, 2), .type = (char[]){"ext4"}, .options = (char[]){""}};

	assert_int_equal(mounts_add_layer(&mounts, 1, &hidden, "/l", false), 0);
	assert_null(mounts_showing(&mounts, makedev(8, 2)));
	mounts_free(&mounts);
}

/* --- names --- */

static void a_file_is_called_by_what_a_mount_shows(void **state)
{
	static const struct {
		const char *root, *point, *inside, *name; /* NULL: the mount does not show it */
	} cases[] = {
		/* all of a filesystem */
		{"/", "/", "/", "/"},
		{"/", "/", "/a/b", "/a/b"},
		{"/", "/srv", "/", "/srv"},
		{"/", "/srv", "/a", "/srv/a"},
		/* a directory of it, by a bind mount or as a subvolume */
		{"/data", "/srv", "/data", "/srv"},
		{"/data", "/srv", "/data/a/b", "/srv/a/b"},
		{"/data", "/srv", "/data2/a", NULL},
		{"/data", "/srv", "/", NULL},
		{"/data", "/srv", "/a", NULL},
		{"/@", "/", "/@/etc/passwd", "/etc/passwd"},
		{"/@", "/", "/@", "/"},
		{"/@", "/", "/@home/u", NULL},
		{"/@home", "/home", "/@home/u", "/home/u"},
		/* a single file */
		{"/data/file", "/srv/name", "/data/file", "/srv/name"},
		{"/data/file", "/srv/name", "/data/file2", NULL},
		{"/data/file", "/srv/name", "/data", NULL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const struct mount mount = {
			.root = strdup(cases[i].root),
			.point = strdup(cases[i].point),
		};
		char buffer[64];

		if (mount_name(&mount, cases[i].inside, buffer, sizeof(buffer)) != !!cases[i].name)
			fail_msg("%s on %s: %s %s", cases[i].root, cases[i].point, cases[i].inside,
				 cases[i].name ? "is not shown" : "is shown");
		if (cases[i].name) {
			assert_string_equal(buffer, cases[i].name);
			/* and back */
			assert_true(mount_inside(&mount, cases[i].name, buffer, sizeof(buffer)));
			assert_string_equal(buffer, cases[i].inside);
		}
		free(mount.root);
		free(mount.point);
	}
}

static void a_path_beside_a_mount_is_not_inside_it(void **state)
{
	struct mounts mounts = read_text(LINE(1, 0, "8:1", "/data", "/srv")
						 LINE(2, 0, "8:1", "/d/file", "/srv/f"));
	char buffer[64];

	assert_false(mount_inside(&mounts.mounts[0], "/srv2", buffer, sizeof(buffer)));
	assert_false(mount_inside(&mounts.mounts[0], "/", buffer, sizeof(buffer)));
	assert_false(mount_inside(&mounts.mounts[0], "/data/a", buffer, sizeof(buffer)));
	assert_false(mount_inside(&mounts.mounts[1], "/srv/f2", buffer, sizeof(buffer)));
	assert_false(mount_inside(&mounts.mounts[1], "/srv", buffer, sizeof(buffer)));
	mounts_free(&mounts);
}

static void a_name_that_does_not_fit_is_none(void **state)
{
	struct mounts mounts = read_text(LINE(1, 0, "8:1", "/data", "/srv"));
	char buffer[16];

	assert_true(mount_inside(&mounts.mounts[0], "/srv/a", buffer, sizeof("/data/a")));
	assert_false(mount_inside(&mounts.mounts[0], "/srv/a", buffer, sizeof("/data/a") - 1));
	assert_true(mount_name(&mounts.mounts[0], "/data/a", buffer, sizeof("/srv/a")));
	assert_false(mount_name(&mounts.mounts[0], "/data/a", buffer, sizeof("/srv/a") - 1));
	mounts_free(&mounts);
}

/* --- layers --- */

static void a_layer_is_called_as_the_overlay_is(void **state)
{
	struct mounts mounts =
		read_text("1 0 8:1 / / rw - ext4 /dev/sda rw,errors\n"
			  "2 1 0:9 / /merged rw - overlay overlay rw,lowerdir=/l\n"
			  "3 1 0:9 /sub /bound rw - overlay overlay rw,lowerdir=/l\n"
			  "4 1 0:9 /sub/file /file rw - overlay overlay rw,lowerdir=/l\n");
	static const struct {
		size_t overlay;
		const char *inside, *root, *point;
	} cases[] = {
		{1, "/layer", "/layer", "/merged"},
		/* the layer is a whole filesystem */
		{1, "/", "/", "/merged"},
		/* a mount of a part of the overlay shows a part of the layer */
		{2, "/layer", "/layer/sub", "/bound"},
		{2, "/", "/sub", "/bound"},
		{3, "/layer", "/layer/sub/file", "/file"},
	};
	char buffer[64];

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const struct mount *layer;
		bool is_lower = i % 2;

		assert_int_equal(mounts_add_layer(&mounts, cases[i].overlay, &mounts.mounts[0],
						  cases[i].inside, is_lower),
				 0);
		layer = &mounts.mounts[mounts.n - 1];
		assert_int_equal(layer->id, 0);
		assert_int_equal(layer->device, makedev(8, 1));
		assert_string_equal(layer->root, cases[i].root);
		assert_string_equal(layer->point, cases[i].point);
		/* of what the layer is on */
		assert_string_equal(layer->type, "ext4");
		assert_string_equal(layer->options, "rw,errors");
		assert_int_equal(layer->is_lower, is_lower);
	}
	assert_int_equal(mounts.n, 4 + N_ELEMENTS(cases));

	/* what it is for */
	assert_true(mount_name(&mounts.mounts[4], "/layer/sub/x", buffer, sizeof(buffer)));
	assert_string_equal(buffer, "/merged/sub/x");
	assert_true(mount_name(&mounts.mounts[6], "/layer/sub/x", buffer, sizeof(buffer)));
	assert_string_equal(buffer, "/bound/x");
	assert_false(mount_name(&mounts.mounts[6], "/layer/x", buffer, sizeof(buffer)));
	mounts_free(&mounts);
}

static void a_layer_can_be_reached_as_its_overlay_can(void **state)
{
	struct mounts mounts = read_text(LINE(10, 1, "8:1", "/", "/") LINE(
		20, 10, "0:9", "/", "/hidden") LINE(30, 20, "0:8", "/", "/hidden"));

	assert_int_equal(mounts_add_layer(&mounts, 1, &mounts.mounts[0], "/l", false), 0);
	assert_int_equal(mounts_add_layer(&mounts, 2, &mounts.mounts[0], "/l", false), 0);
	assert_false(mounts.mounts[3].is_reachable);
	assert_true(mounts.mounts[4].is_reachable);
	mounts_free(&mounts);
}

static void below_a_layer_that_is_only_read_all_are(void **state)
{
	struct mounts mounts = read_text(LINE(1, 0, "8:1", "/", "/"));

	assert_int_equal(mounts_add_layer(&mounts, 0, &mounts.mounts[0], "/l", true), 0);
	assert_int_equal(mounts_add_layer(&mounts, 1, &mounts.mounts[0], "/u", false), 0);
	assert_true(mounts.mounts[2].is_lower);
	mounts_free(&mounts);
}

/* --- whether names have changed --- */

static uint64_t hash_of(const char *text, unsigned device)
{
	struct mounts mounts = read_text(text);
	uint64_t hash = mounts_names_hash(&mounts, makedev(8, device));

	mounts_free(&mounts);
	return hash;
}

static void the_hash_of_names_changes_with_them(void **state)
{
	static const char *const tables[] = {
		"1 0 8:9 / / rw - ext4 /dev/sda rw\n",
		LINE(1, 0, "8:1", "/", "/"),
		LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:1", "/", "/srv"),
		/* twice */
		LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:1", "/", "/srv")
			LINE(3, 2, "8:1", "/", "/srv"),
		/* another directory, another place */
		LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:1", "/", "/srv2"),
		LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:1", "/a", "/srv"),
		LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:1", "/srv", "/"),
		/* the same characters, divided otherwise */
		LINE(1, 0, "8:1", "/a", "/b/c") LINE(2, 1, "8:1", "/", "/srv"),
		LINE(1, 0, "8:1", "/a/b", "/c") LINE(2, 1, "8:1", "/", "/srv"),
	};

	for (size_t i = 0; i < N_ELEMENTS(tables); i++)
		for (size_t j = 0; j < N_ELEMENTS(tables); j++)
			if ((hash_of(tables[i], 1) == hash_of(tables[j], 1)) != (i == j))
				fail_msg("tables %zu and %zu", i, j);
}

static void the_hash_of_names_is_of_one_superblock(void **state)
{
	static const char before[] = LINE(1, 0, "8:1", "/", "/"),
			  after[] = LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "8:2", "/", "/srv");

	assert_int_equal(hash_of(before, 1), hash_of(after, 1));
	assert_int_not_equal(hash_of(before, 2), hash_of(after, 2));
}

static void a_layer_is_a_name_too(void **state)
{
	struct mounts mounts = read_text(LINE(1, 0, "8:1", "/", "/") LINE(2, 1, "0:9", "/", "/m"));
	uint64_t before = mounts_names_hash(&mounts, makedev(8, 1));

	assert_int_equal(mounts_add_layer(&mounts, 1, &mounts.mounts[0], "/l", true), 0);
	assert_int_not_equal(mounts_names_hash(&mounts, makedev(8, 1)), before);
	mounts_free(&mounts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_is_a_mount),
		cmocka_unit_test(what_the_kernel_escapes_is_read_as_it_is_called),
		cmocka_unit_test(names_may_begin_and_end_with_dashes),
		cmocka_unit_test(lines_that_are_no_mount_of_a_directory_are_passed_over),
		cmocka_unit_test(mounts_that_show_other_owners_are_told),
		cmocka_unit_test(options_of_the_superblock_may_be_missing),
		cmocka_unit_test(the_source_may_be_empty),
		cmocka_unit_test(lines_may_have_any_length),
		cmocka_unit_test(there_may_be_any_number_of_mounts),
		cmocka_unit_test(a_table_that_cannot_be_read_is_an_error),
		cmocka_unit_test(the_table_of_this_machine_can_be_read),
		cmocka_unit_test(escapes_are_a_backslash_and_three_octal_digits),
		cmocka_unit_test(mounts_are_found_by_id),
		cmocka_unit_test(a_path_leads_to_the_innermost_mount),
		cmocka_unit_test(of_mounts_on_one_point_the_last_counts),
		cmocka_unit_test(a_mount_at_a_shorter_path_hides_those_below),
		cmocka_unit_test(the_root_may_be_stacked),
		cmocka_unit_test(the_root_may_be_its_own_parent),
		cmocka_unit_test(without_a_root_no_path_leads_anywhere),
		cmocka_unit_test(no_path_leads_to_a_layer),
		cmocka_unit_test(what_is_hidden_cannot_be_reached),
		cmocka_unit_test(what_comes_to_a_table_later_may_hide_what_was_there),
		cmocka_unit_test(a_layer_does_not_show_a_superblock),
		cmocka_unit_test(a_file_is_called_by_what_a_mount_shows),
		cmocka_unit_test(a_path_beside_a_mount_is_not_inside_it),
		cmocka_unit_test(a_name_that_does_not_fit_is_none),
		cmocka_unit_test(a_layer_is_called_as_the_overlay_is),
		cmocka_unit_test(a_layer_can_be_reached_as_its_overlay_can),
		cmocka_unit_test(below_a_layer_that_is_only_read_all_are),
		cmocka_unit_test(the_hash_of_names_changes_with_them),
		cmocka_unit_test(the_hash_of_names_is_of_one_superblock),
		cmocka_unit_test(a_layer_is_a_name_too),
	};

	return cmocka_run_group_tests_name("mounts", tests, NULL, NULL);
}
