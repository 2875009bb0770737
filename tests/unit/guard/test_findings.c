/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/guard/findings.h"
#include "../support/unit.h"

#include <stdlib.h>
#include <string.h>

#define SET UINT64_C(42)

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct findings));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* The file of this inode, as it is. */
static struct finding_key key(uint64_t inode)
{
	return (struct finding_key){{1, inode}, {100, 200, 300}, SET};
}

static bool add(struct findings *findings, uint64_t inode, enum finding_kind kind)
{
	const struct finding_key of = key(inode);
	char path[32];

	(void)snprintf(path, sizeof(path), "/srv/%llu", (unsigned long long)inode);
	return findings_add(findings, &of, kind, true, "reason", path);
}

static bool has(struct findings *findings, uint64_t inode)
{
	const struct finding_key of = key(inode);

	return findings_find(findings, &of) != NULL;
}

static void what_was_put_in_is_found(void **state)
{
	struct findings *findings = *state;
	const struct finding_key of = key(7);
	const struct finding *finding;

	assert_null(findings_find(findings, &of));
	assert_null(findings_meet(findings, &of));
	assert_true(findings_add(findings, &of, FINDING_POISON, true, "it crashed", "/srv/a"));
	finding = findings_find(findings, &of);
	assert_non_null(finding);
	assert_int_equal(finding->kind, FINDING_POISON);
	assert_string_equal(finding->reason, "it crashed");
	assert_string_equal(finding->path, "/srv/a");
	assert_int_equal(finding->met, 0);
	assert_ptr_equal(findings_meet(findings, &of), finding);
	assert_ptr_equal(findings_meet(findings, &of), finding);
	assert_int_equal(finding->met, 2);

	findings_remove(findings, &of);
	assert_false(has(findings, 7));
	findings_remove(findings, &of);
}

static void any_other_file_state_or_set_is_not_found(void **state)
{
	struct findings *findings = *state;
	struct finding_key others[7];

	add(findings, 7, FINDING_INFECTED);
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		others[i] = key(7);
	others[0].id.inode++;
	others[1].id.device++;
	others[2].state.size++;
	others[3].state.mtime_ns++;
	others[4].state.ctime_ns++;
	others[5].signatures++;
	others[6].id = (struct file_id){7, 1};
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		assert_null(findings_find(findings, &others[i]));
	assert_true(has(findings, 7));
}

static void a_file_is_of_one_kind_and_news_only_once(void **state)
{
	struct findings *findings = *state;
	const struct finding_key of = key(7);

	assert_true(add(findings, 7, FINDING_POISON));
	assert_false(add(findings, 7, FINDING_POISON));
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), 1);
	assert_true(add(findings, 7, FINDING_INFECTED));
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), 0);
	assert_int_equal(findings_count(findings, FINDING_INFECTED, SET), 1);
	assert_int_equal(findings_find(findings, &of)->kind, FINDING_INFECTED);
	assert_true(add(findings, 7, FINDING_POISON));
	assert_int_equal(findings_count(findings, FINDING_INFECTED, SET), 0);
}

static void the_least_recently_met_makes_room(void **state)
{
	struct findings *findings = *state;
	const struct finding_key first = key(0);

	for (uint64_t i = 0; i < FINDINGS_MAX; i++)
		add(findings, i, FINDING_POISON);
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), FINDINGS_MAX);
	(void)findings_meet(findings, &first);
	/* looking is not meeting */
	assert_true(has(findings, 1));
	add(findings, FINDINGS_MAX, FINDING_POISON);
	assert_true(has(findings, 0));
	assert_false(has(findings, 1));
	assert_true(has(findings, 2));
	assert_true(has(findings, FINDINGS_MAX));
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), FINDINGS_MAX);
}

static void one_kind_leaves_the_other_its_room(void **state)
{
	struct findings *findings = *state;

	add(findings, 1000000, FINDING_INFECTED);
	for (uint64_t i = 0; i < 2 * FINDINGS_MAX; i++)
		add(findings, i, FINDING_POISON);
	assert_true(has(findings, 1000000));
	assert_int_equal(findings_count(findings, FINDING_INFECTED, SET), 1);
	for (uint64_t i = 0; i < 2 * FINDINGS_MAX; i++)
		add(findings, 2000000 + i, FINDING_INFECTED);
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), FINDINGS_MAX);
	assert_true(has(findings, FINDINGS_MAX));
}

static void what_was_taken_out_makes_room_first(void **state)
{
	struct findings *findings = *state;
	const struct finding_key gone = key(500);

	for (uint64_t i = 0; i < FINDINGS_MAX; i++)
		add(findings, i, FINDING_POISON);
	findings_remove(findings, &gone);
	add(findings, FINDINGS_MAX, FINDING_POISON);
	assert_true(has(findings, 0));
	assert_true(has(findings, FINDINGS_MAX));

	/* as long as the table is not full, too: looking goes through all places in use */
	memset(findings, 0, sizeof(*findings));
	for (unsigned i = 0; i < 10; i++) {
		add(findings, 500, FINDING_INFECTED);
		findings_remove(findings, &gone);
	}
	assert_int_equal(findings->tables[FINDING_INFECTED].n_used, 1);
}

static void other_states_of_a_file_can_be_forgotten(void **state)
{
	struct findings *findings = *state;
	struct finding_key now = key(7), before = key(7), other_set = key(7);

	before.state.ctime_ns--;
	other_set.signatures++;
	add(findings, 7, FINDING_INFECTED);
	add(findings, 8, FINDING_INFECTED);
	findings_add(findings, &before, FINDING_POISON, true, "", "");
	findings_add(findings, &other_set, FINDING_POISON, true, "", "");
	findings_forget(findings, now.id, &now.state);
	assert_null(findings_find(findings, &before));
	assert_non_null(findings_find(findings, &now));
	assert_non_null(findings_find(findings, &other_set));
	assert_true(has(findings, 8));
	findings_forget(findings, now.id, &before.state);
	assert_null(findings_find(findings, &now));
	assert_null(findings_find(findings, &other_set));
	assert_true(has(findings, 8));
}

static void what_is_not_sure_is_forgotten_in_its_own_state_too(void **state)
{
	struct findings *findings = *state;
	const struct finding_key of = key(7);

	findings_add(findings, &of, FINDING_INFECTED, false, "", "");
	assert_true(has(findings, 7));
	findings_forget(findings, of.id, &of.state);
	assert_false(has(findings, 7));
}

static void they_are_listed_the_last_met_first(void **state)
{
	struct findings *findings = *state;
	const struct finding_key first = key(1);
	struct finding_key other_set = key(4);

	other_set.signatures++;
	for (uint64_t i = 1; i <= 3; i++)
		add(findings, i, FINDING_POISON);
	add(findings, 9, FINDING_INFECTED);
	findings_add(findings, &other_set, FINDING_POISON, true, "", "/srv/4");
	(void)findings_meet(findings, &first);
	assert_int_equal(findings_count(findings, FINDING_POISON, SET), 3);
	assert_string_equal(findings_at(findings, FINDING_POISON, SET, 0)->path, "/srv/1");
	assert_string_equal(findings_at(findings, FINDING_POISON, SET, 1)->path, "/srv/3");
	assert_string_equal(findings_at(findings, FINDING_POISON, SET, 2)->path, "/srv/2");
	assert_null(findings_at(findings, FINDING_POISON, SET, 3));
	assert_null(findings_at(findings, FINDING_POISON, SET, 4));
	assert_string_equal(findings_at(findings, FINDING_POISON, SET + 1, 0)->path, "/srv/4");
	assert_null(findings_at(findings, FINDING_INFECTED, SET + 1, 0));
}

static void texts_that_are_too_long_are_cut(void **state)
{
	struct findings *findings = *state;
	const struct finding_key of = key(7);
	char reason[2 * WIRE_SIGNATURE_MAX], path[2 * FINDINGS_PATH_MAX];
	const struct finding *finding;

	memset(reason, 'r', sizeof(reason) - 1);
	memset(path, 'p', sizeof(path) - 1);
	reason[sizeof(reason) - 1] = path[sizeof(path) - 1] = '\0';
	memcpy(path, "/begin", 6);
	memcpy(path + sizeof(path) - 5, "/end", 4);
	findings_add(findings, &of, FINDING_POISON, true, reason, path);
	finding = findings_find(findings, &of);
	assert_int_equal(strlen(finding->reason), WIRE_SIGNATURE_MAX - 1);
	assert_int_equal(strlen(finding->path), FINDINGS_PATH_MAX - 1);
	assert_memory_equal(finding->path, "/begin", 6);
	assert_string_equal(finding->path + FINDINGS_PATH_MAX - 5, "/end");
	assert_non_null(strstr(finding->path, "[...]"));
}

/* Another process goes on with the memory as it is, wherever it is mapped. */
static void a_copy_of_the_memory_is_as_good(void **state)
{
	struct findings *findings = *state, *copy = malloc(sizeof(*copy));
	const struct finding_key of = key(7);

	assert_non_null(copy);
	add(findings, 7, FINDING_INFECTED);
	memcpy(copy, findings, sizeof(*copy));
	memset(findings, 0xff, sizeof(*findings));
	assert_string_equal(findings_meet(copy, &of)->path, "/srv/7");
	assert_true(add(copy, 8, FINDING_POISON));
	assert_true(has(copy, 8));
	free(copy);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_put_in_is_found),
		TEST(any_other_file_state_or_set_is_not_found),
		TEST(a_file_is_of_one_kind_and_news_only_once),
		TEST(the_least_recently_met_makes_room),
		TEST(one_kind_leaves_the_other_its_room),
		TEST(what_was_taken_out_makes_room_first),
		TEST(other_states_of_a_file_can_be_forgotten),
		TEST(what_is_not_sure_is_forgotten_in_its_own_state_too),
		TEST(they_are_listed_the_last_met_first),
		TEST(texts_that_are_too_long_are_cut),
		TEST(a_copy_of_the_memory_is_as_good),
	};

	return cmocka_run_group_tests_name("findings", tests, NULL, NULL);
}
