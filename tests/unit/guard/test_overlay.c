/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of mounts is the real one, with a line added for an overlay that does not exist: its
 * layers are directories that do. The last test mounts overlays and needs root.
 */
#include "../../../src/guard/file.h"
#include "../../../src/guard/overlay.h"
#include "../support/mount_fixture.h"
#include "../support/scratch.h"

#include <errno.h>

/* Both must be freed. */
struct fixture {
	struct mounts mounts;
	size_t overlay; /* the index of the one that does not exist */
};

static int group_setup(void **state)
{
	static const char *const directories[] = {"a",	 "b",	"c",	"up",  "x:y",
						  "x,y", "p q", "s\\t", "e=f", "a/sub"};

	if (scratch_setup(state) < 0)
		return -1;
	for (size_t i = 0; i < N_ELEMENTS(directories); i++)
		if (mkdir(directories[i], 0755) < 0)
			return -1;
	scratch_write("file", "", 0);
	return symlink("a/sub", "link");
}

/* In options each @ stands for the scratch directory. */
static void set_options(struct mount *mount, const char *options)
{
	char *to = calloc(strlen(options) + 1, strlen(scratch) + 1);

	assert_non_null(to);
	free(mount->options);
	mount->options = to;
	for (; *options; options++)
		if (*options == '@')
			to = stpcpy(to, scratch);
		else
			*to++ = *options;
}

/* Adds an overlay at /merged. Returns its index. */
static size_t add_overlay(struct mounts *mounts, const char *root, const char *options)
{
	char line[256];

	(void)snprintf(line, sizeof(line),
		       "999999999 1 0:1048575 %s /merged rw - overlay overlay rw\n", root);
	assert_int_equal(mount_fixture_add(mounts, line), 0);
	set_options(&mounts->mounts[mounts->n - 1], options);
	return mounts->n - 1;
}

/* In a container the scratch directory itself may be on an overlay; the table says otherwise. */
static void read_mounts(struct mounts *mounts)
{
	struct mount *mount;

	assert_int_equal(mount_fixture_read(mounts), 0);
	mount = &mounts->mounts[mount_fixture_index(mounts, ".")];
	free(mount->type);
	mount->type = strdup("ext4");
}

static struct fixture overlay_of(const char *options)
{
	struct fixture fixture = {0};

	read_mounts(&fixture.mounts);
	fixture.overlay = add_overlay(&fixture.mounts, "/", options);
	return fixture;
}

struct layer {
	const char *name; /* in the scratch directory */
	bool is_lower;
};

/* This mount of the table is a layer of /merged, and stands for this directory. */
static void assert_layer(const struct mounts *mounts, size_t index, const struct layer *layer)
{
	const struct mount *on = &mounts->mounts[mount_fixture_index(mounts, layer->name)],
			   *mount = &mounts->mounts[index];
	char path[PATH_MAX + 64], inside[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch, layer->name);
	assert_true(mount_inside(on, path, inside, sizeof(inside)));
	assert_int_equal(mount->id, 0);
	assert_int_equal(mount->device, on->device);
	assert_string_equal(mount->root, inside);
	assert_string_equal(mount->point, "/merged");
	assert_string_equal(mount->type, on->type);
	if (mount->is_lower != layer->is_lower)
		fail_msg("%s is%s only read", layer->name, mount->is_lower ? "" : " not");
}

static void the_options_name_the_layers(void **state)
{
	static const struct {
		const char *options;
		struct layer layers[5];
	} cases[] = {
		{"rw,lowerdir=@/a,upperdir=@/up,workdir=@/missing", {{"a", true}, {"up", false}}},
		{"lowerdir=@/a:@/b:@/c", {{"a", true}, {"b", true}, {"c", true}}},
		{"ro,lowerdir=@/a:@/b,redirect_dir=on,xino=off", {{"a", true}, {"b", true}}},
		/* one in each option */
		{"lowerdir+=@/b,lowerdir+=@/a,datadir+=@/c,upperdir=@/up",
		 {{"b", true}, {"a", true}, {"c", true}, {"up", false}}},
		/* two colons before those that hold data only */
		{"lowerdir=@/a::@/b::@/c", {{"a", true}, {"b", true}, {"c", true}}},
		/* characters with a meaning: of the list, of the options, of the table */
		{"lowerdir=@/x\\134:y:@/a", {{"x:y", true}, {"a", true}}},
		{"lowerdir=@/x\\:y:@/a", {{"x:y", true}, {"a", true}}},
		{"lowerdir=@/x\\054y:@/a", {{"x,y", true}, {"a", true}}},
		{"lowerdir=@/x\\134\\054y,upperdir=@/x\\054y", {{"x,y", true}, {"x,y", false}}},
		{"lowerdir=@/p\\040q,upperdir=@/p\\040q", {{"p q", true}, {"p q", false}}},
		{"lowerdir=@/s\\134\\134t:@/a", {{"s\\t", true}, {"a", true}}},
		{"lowerdir=@/e\\075f", {{"e=f", true}}},
		{"lowerdir=@/e=f", {{"e=f", true}}},
		/* only in lowerdir= have colons and backslashes a meaning */
		{"lowerdir=@/a,upperdir=@/x:y", {{"a", true}, {"x:y", false}}},
		{"lowerdir+=@/x:y,lowerdir+=@/a", {{"x:y", true}, {"a", true}}},
		{"lowerdir+=@/s\\134t,lowerdir+=@/a", {{"s\\t", true}, {"a", true}}},
		/* by another name */
		{"lowerdir=@/a/../b/.", {{"b", true}}},
		{"lowerdir=@/link", {{"a/sub", true}}},
		/* options that name no layer */
		{"", {{NULL}}},
		{"rw,index=off,nfs_export=off", {{NULL}}},
		{"lowerdir,upperdir,lowerdir=,upperdir=", {{NULL}}},
		{"xlowerdir=@/a,lowerdirs=@/a,lower=@/a,upperdir+=@/a,workdir=@/a", {{NULL}}},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct fixture fixture = overlay_of(cases[i].options);
		size_t n = fixture.mounts.n;
		int r = overlay_add_layers(&fixture.mounts, fixture.overlay);

		/* one that has none is not understood, and must not count as watched */
		if ((r < 0) != !cases[i].layers[0].name)
			fail_msg("%s: %s", cases[i].options, strerror(-r));
		for (const struct layer *layer = cases[i].layers; layer->name; layer++) {
			if (n == fixture.mounts.n)
				fail_msg("%s: no %s", cases[i].options, layer->name);
			assert_layer(&fixture.mounts, n++, layer);
		}
		if (n < fixture.mounts.n)
			fail_msg("%s: and %s", cases[i].options, fixture.mounts.mounts[n].root);
		mounts_free(&fixture.mounts);
	}
}

static void there_may_be_hundreds_of_layers(void **state)
{
	char options[4096] = "lowerdir=@/a";
	const struct layer layer = {"a", true};
	struct fixture fixture;
	size_t n;

	for (unsigned i = 1; i < 500; i++)
		strcat(options, ":@/a");
	fixture = overlay_of(options);
	n = fixture.mounts.n;
	assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), 0);
	assert_int_equal(fixture.mounts.n, n + 500);
	for (; n < fixture.mounts.n; n++)
		assert_layer(&fixture.mounts, n, &layer);
	mounts_free(&fixture.mounts);
}

static void layers_that_cannot_be_found_are_an_error(void **state)
{
	static const struct {
		const char *options;
		int error;
	} cases[] = {
		/* relative to a directory that nobody knows any more */
		{"lowerdir=a", -EINVAL},
		{"lowerdir=@/a:b", -EINVAL},
		{"lowerdir=@/a,upperdir=up", -EINVAL},
		{"lowerdir+=a", -EINVAL},
		/* removed, or of another mount namespace */
		{"lowerdir=@/missing", -ENOENT},
		{"lowerdir=@/a:@/missing:@/b", -ENOENT},
		{"lowerdir=@/a,upperdir=@/missing", -ENOENT},
		{"lowerdir=@/a::@/missing", -ENOENT},
		{"datadir+=@/missing", -ENOENT},
		/* an escape that is none of the table's: as it is written */
		{"lowerdir=@/p\\04q", -ENOENT},
		/* no directory */
		{"lowerdir=@/file", -ENOTDIR},
		{"lowerdir=@/a,upperdir=@/file", -ENOTDIR},
	};
	unsigned fds = unit_count_fds();

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct fixture fixture = overlay_of(cases[i].options);
		int r = overlay_add_layers(&fixture.mounts, fixture.overlay);

		if (r != cases[i].error)
			fail_msg("%s: %s, not %s", cases[i].options, strerror(-r),
				 strerror(-cases[i].error));
		mounts_free(&fixture.mounts);
	}
	assert_int_equal(unit_count_fds(), fds);
}

/* Mounted since the table was read, or it is of another namespace. */
static void a_layer_on_an_unknown_mount_is_an_error(void **state)
{
	struct fixture fixture = {0};

	fixture.overlay = add_overlay(&fixture.mounts, "/", "lowerdir=@/a");
	assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), -ENOENT);
	assert_int_equal(fixture.mounts.n, 1);
	mounts_free(&fixture.mounts);
}

/* The table says that the mount is elsewhere than the kernel does. */
static void a_layer_beside_its_mount_is_an_error(void **state)
{
	struct fixture fixture = overlay_of("lowerdir=@/a");
	struct mount *on = &fixture.mounts.mounts[mount_fixture_index(&fixture.mounts, "a")];

	free(on->point);
	on->point = strdup("/elsewhere");
	assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), -ENOENT);
	mounts_free(&fixture.mounts);
}

static void a_mount_of_a_part_of_an_overlay_has_parts_of_layers(void **state)
{
	const struct layer layer = {"a/sub", true};
	struct mounts mounts = {0};
	size_t overlay;

	read_mounts(&mounts);
	overlay = add_overlay(&mounts, "/sub", "lowerdir=@/a");
	assert_int_equal(overlay_add_layers(&mounts, overlay), 0);
	assert_int_equal(mounts.n, overlay + 2);
	assert_layer(&mounts, overlay + 1, &layer);
	mounts_free(&mounts);
}

/* Makes an overlay of the mount that the scratch directory is on. */
static void stack(struct mounts *mounts, const char *options)
{
	struct mount *mount = &mounts->mounts[mount_fixture_index(mounts, ".")];

	free(mount->type);
	mount->type = strdup("overlay");
	set_options(mount, options);
}

static void the_layers_of_a_layer_are_layers_too(void **state)
{
	static const struct {
		const char *outer, *inner;
		bool is_lower[2];
	} cases[] = {
		{"lowerdir=@/a/sub", "upperdir=/proc", {true, true}},
		{"upperdir=@/a/sub", "upperdir=/proc", {false, false}},
		{"upperdir=@/a/sub", "lowerdir=/proc", {false, true}},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct fixture fixture = overlay_of(cases[i].outer);
		const struct mount *proc =
			&fixture.mounts.mounts[mount_fixture_index(&fixture.mounts, "/proc")];
		uint64_t device = proc->device;
		const struct layer first = {"a/sub", cases[i].is_lower[0]};
		const struct mount *second;
		size_t n = fixture.mounts.n;

		stack(&fixture.mounts, cases[i].inner);
		assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), 0);
		assert_int_equal(fixture.mounts.n, n + 2);
		assert_layer(&fixture.mounts, n, &first);
		second = &fixture.mounts.mounts[n + 1];
		assert_int_equal(second->device, device);
		assert_string_equal(second->type, "proc");
		/* what the first layer is of the overlay below, the second is of the layer there */
		assert_string_equal(second->root, fixture.mounts.mounts[n].root);
		assert_string_equal(second->point, "/merged");
		assert_int_equal(second->is_lower, cases[i].is_lower[1]);
		mounts_free(&fixture.mounts);
	}
}

static void what_goes_round_in_circles_ends(void **state)
{
	struct fixture fixture = overlay_of("lowerdir=@/a");

	stack(&fixture.mounts, "lowerdir=@/a");
	assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), -ELOOP);
	mounts_free(&fixture.mounts);
}

static void a_missing_layer_of_a_layer_is_an_error(void **state)
{
	struct fixture fixture = overlay_of("lowerdir=@/a");

	stack(&fixture.mounts, "lowerdir=@/missing");
	assert_int_equal(overlay_add_layers(&fixture.mounts, fixture.overlay), -ENOENT);
	mounts_free(&fixture.mounts);
}

/* --- overlays that do exist --- */

static int real_setup(void **state)
{
	if (mkdir("fs", 0755) < 0 || !mount_fixture_unshare() ||
	    mount("tmpfs", "fs", "tmpfs", 0, "size=1m") < 0) {
		*state = NULL;
		return 0;
	}
	*state = scratch;
	return mkdir("fs/l:1", 0755) < 0 || mkdir("fs/l,2", 0755) < 0 ||
			       mkdir("fs/l 3", 0755) < 0 || mkdir("fs/l=4", 0755) < 0 ||
			       mkdir("fs/l\\5", 0755) < 0 || mkdir("fs/up", 0755) < 0 ||
			       mkdir("fs/up/sub", 0755) < 0 || mkdir("fs/work", 0755) < 0 ||
			       mkdir("fs/merged", 0755) < 0 || mkdir("fs/bound", 0755) < 0
		       ? -1
		       : 0;
}

static int real_teardown(void **state)
{
	(void)umount2("fs/bound", MNT_DETACH);
	(void)umount2("fs/merged", MNT_DETACH);
	(void)umount2("fs", MNT_DETACH);
	return rmdir("fs");
}

static void what_the_kernel_says_of_an_overlay_is_understood(void **state)
{
	static const char *const roots[] = {"/l:1", "/l,2", "/l 3", "/l=4", "/l\\5", "/up"};
	struct mounts mounts = {0};
	char options[8 * PATH_MAX];
	size_t overlay, bound, n;

	(void)snprintf(options, sizeof(options),
		       "lowerdir=%s/fs/l\\:1:%s/fs/l\\,2:%s/fs/l 3:%s/fs/l=4:%s/fs/l\\\\5,"
		       "upperdir=%s/fs/up,workdir=%s/fs/work",
		       scratch, scratch, scratch, scratch, scratch, scratch, scratch);
	if (!*state || mount("overlay", "fs/merged", "overlay", 0, options) < 0 ||
	    mount("fs/merged/sub", "fs/bound", NULL, MS_BIND, NULL) < 0) {
		print_message("skipped: an overlay cannot be mounted (not root?)\n");
		skip();
	}
	assert_int_equal(mount_fixture_read(&mounts), 0);
	overlay = mount_fixture_index(&mounts, "fs/merged");
	bound = mount_fixture_index(&mounts, "fs/bound");
	n = mounts.n;
	assert_int_equal(overlay_add_layers(&mounts, overlay), 0);
	assert_int_equal(overlay_add_layers(&mounts, bound), 0);
	assert_int_equal(mounts.n, n + 2 * N_ELEMENTS(roots));
	for (size_t i = 0; i < N_ELEMENTS(roots); i++) {
		const struct mount *whole = &mounts.mounts[n + i],
				   *part = &mounts.mounts[n + N_ELEMENTS(roots) + i];
		char root[32];

		assert_string_equal(whole->root, roots[i]);
		assert_string_equal(whole->point, mounts.mounts[overlay].point);
		assert_int_equal(whole->is_lower, i < N_ELEMENTS(roots) - 1);
		(void)snprintf(root, sizeof(root), "%s/sub", roots[i]);
		assert_string_equal(part->root, root);
		assert_string_equal(part->point, mounts.mounts[bound].point);
	}
	mounts_free(&mounts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_options_name_the_layers),
		cmocka_unit_test(there_may_be_hundreds_of_layers),
		cmocka_unit_test(layers_that_cannot_be_found_are_an_error),
		cmocka_unit_test(a_layer_on_an_unknown_mount_is_an_error),
		cmocka_unit_test(a_layer_beside_its_mount_is_an_error),
		cmocka_unit_test(a_mount_of_a_part_of_an_overlay_has_parts_of_layers),
		cmocka_unit_test(the_layers_of_a_layer_are_layers_too),
		cmocka_unit_test(what_goes_round_in_circles_ends),
		cmocka_unit_test(a_missing_layer_of_a_layer_is_an_error),
		cmocka_unit_test_setup_teardown(what_the_kernel_says_of_an_overlay_is_understood,
						real_setup, real_teardown),
	};

	if (file_init() < 0) {
		print_message("skipped: /proc is not mounted\n");
		return UNIT_SKIPPED;
	}
	return cmocka_run_group_tests_name("overlay", tests, group_setup, scratch_teardown);
}
