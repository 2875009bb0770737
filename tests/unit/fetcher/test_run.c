/* SPDX-License-Identifier: GPL-2.0-only */
/* A run from beginning to end: what is published, told and remembered, and when the next one is. */
#include "../../../src/common/chan.h"
#include "fetch_fixture.h"

#include <sys/socket.h>
#include <sys/wait.h>

#define LOCAL "http://b/local.ndb"
#define EVERY (2 * HOUR)

static struct conf *conf;
static struct audience audience;
static struct run_result result;
static int client;
static unsigned n_heard;

/* Whoever joins while something is fetched is told of what came before. */
static void hear(void *context)
{
	int ends[2];

	if (n_heard++)
		return;
	assert_int_equal(chan_pair(ends), 0);
	audience_add(&audience, ends[0]);
	client = ends[1];
}

static void configure(const char *key, const char *value)
{
	conf_fixture_set(conf, "signatures", key, value);
}

/* The configuration of a fleet: the databases of a, and a file of b. */
static int setup(void **state)
{
	char directory[PATH_MAX + 8];

	if (world_setup(state) < 0)
		return -1;
	conf = conf_new();
	audience = (struct audience){.channel = -1, .hear = hear};
	client = -1;
	n_heard = 0;
	(void)snprintf(directory, sizeof(directory), "%s/d", scratch);
	conf_fixture_set(conf, "engine", "signatures", directory);
	configure("check-every", "2h");
	configure("random-delay", "10m");
	configure("database", "test");
	return 0;
}

static int teardown(void **state)
{
	audience_dismiss(&audience);
	if (client >= 0)
		close(client);
	conf_free(conf);
	return world_teardown(state);
}

static void run_if(bool is_due_only)
{
	*world.asked = '\0';
	run_all(conf, &audience, NULL, is_due_only, &result);
	assert_int_equal(result.fetched.header.type, WIRE_FETCHED);
	assert_int_equal(result.done.header.type, WIRE_UPDATE_DONE);
	assert_int_equal(result.fetched.result, result.done.result);
	assert_int_equal(result.fetched.published, result.done.published);
}

static void run(void)
{
	run_if(false);
}

static void assert_result(enum wire_update_result expected, bool published)
{
	if (result.done.result != expected)
		fail_msg("%u, not %u: %s\n%s", result.done.result, expected, result.done.text,
			 world.logged);
	assert_int_equal(result.done.published, published);
}

static void assert_next(int64_t seconds)
{
	assert_int_equal(result.fetched.next, world.now + seconds);
}

/* What the client was told next. */
static const struct wire_update_item *told(void)
{
	static struct wire_update_item item;

	assert_int_equal(recv(client, &item, sizeof(item), MSG_DONTWAIT), sizeof(item));
	assert_int_equal(item.header.type, WIRE_UPDATE_ITEM);
	return &item;
}

static void assert_told_nothing_more(void)
{
	char byte;

	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
}

static struct state *read_state(void)
{
	char problem[512];
	struct state *state = state_new("d/fetch/state.json", problem, sizeof(problem));

	assert_non_null(state);
	assert_string_equal(problem, "");
	return state;
}

/* What is remembered of a database or file. */
static struct state_item remembered(const char *name, bool custom)
{
	struct state *state = read_state();
	struct state_item item = *state_item(state, name, custom);

	state_free(state);
	return item;
}

static struct source remembered_source(const char *url)
{
	struct state *state = read_state();
	struct source source = *state_source(state, url);

	state_free(state);
	return source;
}

/* --- what comes of it --- */

static void test_everything_is_published_told_and_remembered(void **state)
{
	const struct wire_update_item *item;
	struct state_item known;

	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)snprintf(serve_text("b/local.ndb", "one")->reply.etag, 8, "\"1\"");
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_asked("a/test.cvd head\na/test.cvd\nb/local.ndb\n");
	assert_int_equal(result.done.requests, 3);
	assert_int_equal(result.done.bytes, 512 + CVD_SIZE + 3);
	assert_string_equal(result.done.text, "");
	assert_string_equal(in_force(), "local.ndb test.cvd=5 ");
	assert_next(EVERY);
	item = told();
	assert_string_equal(item->name, "test");
	assert_int_equal(item->result, WIRE_UPDATE_UPDATED);
	assert_int_equal(item->version_after, 5);
	item = told();
	assert_string_equal(item->name, "local.ndb");
	assert_int_equal(item->result, WIRE_UPDATE_UPDATED);
	assert_told_nothing_more();
	known = remembered("test", false);
	assert_int_equal(known.checked, NOW);
	assert_int_equal(known.changed, NOW);
	assert_int_equal(known.version, 5);
	assert_int_equal(known.signatures, 50);
	assert_string_equal(known.source, "http://a");
	assert_string_equal(known.problem, "");
	known = remembered("local.ndb", true);
	assert_int_equal(known.checked, NOW);
	assert_int_equal(known.signatures, 7);
	assert_string_equal(known.source, LOCAL);
	assert_string_equal(known.etag, "\"1\"");
	assert_non_null(strstr(world.logged, "5 signatures: test 0 -> 5 from http://a\n"));
	assert_non_null(strstr(world.logged, "5 signatures: local.ndb from " LOCAL "\n"));
}

static void test_nothing_new(void **state)
{
	struct state_item known;

	test_everything_is_published_told_and_remembered(state);
	forget();
	world.now += EVERY;
	serve_all("a", 5);
	(void)answer("b/local.ndb", TRANSFER_NOT_MODIFIED);
	/* There is nothing that could fail. */
	world.publish_result = -ENOSPC;
	run();
	assert_result(WIRE_UPDATE_UP_TO_DATE, false);
	assert_asked("a/test.cvd head\nb/local.ndb if-none-match=\"1\"\n");
	assert_string_equal(world.logged, "");
	assert_next(EVERY);
	known = remembered("test", false);
	assert_int_equal(known.checked, NOW + EVERY);
	assert_int_equal(known.changed, NOW);
	assert_int_equal(known.version, 5);
	known = remembered("local.ndb", true);
	assert_int_equal(known.checked, NOW + EVERY);
	assert_int_equal(known.changed, NOW);
	assert_int_equal(known.signatures, 7);
}

static void test_the_result_is_the_worst(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	configure("custom", "http://c/other.ndb");
	serve_all("a", 5);
	(void)serve_cool_down("b/local.ndb", 7200);
	(void)answer("c/other.ndb", TRANSFER_NOT_FOUND);
	run();
	assert_result(WIRE_UPDATE_FAILED, true);
	assert_string_equal(in_force(), "test.cvd=5 ");
	assert_int_equal(told()->result, WIRE_UPDATE_UPDATED);
	assert_int_equal(told()->result, WIRE_UPDATE_COOL_DOWN);
	assert_int_equal(told()->result, WIRE_UPDATE_FAILED);
	/* That one of them may not be asked is worse than that another is new. */
	forget();
	serve_all("a", 6);
	(void)serve_text("c/other.ndb", "one");
	run();
	assert_result(WIRE_UPDATE_COOL_DOWN, true);
	assert_string_equal(in_force(), "other.ndb test.cld=6 ");
	assert_asked("a/test.cvd head\na/test-6.cdiff\nc/other.ndb\n");
}

static void test_why_it_failed_is_remembered_beside_what_there_is(void **state)
{
	struct state_item known;

	test_everything_is_published_told_and_remembered(state);
	forget();
	world.now += EVERY;
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	(void)answer("b/local.ndb", TRANSFER_NOT_FOUND);
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	known = remembered("test", false);
	assert_string_equal(known.problem, "http://a: problem of a/test.cvd head");
	assert_int_equal(known.checked, NOW);
	assert_int_equal(known.version, 5);
	assert_string_equal(known.source, "http://a");
	assert_string_equal(remembered("local.ndb", true).etag, "\"1\"");
	assert_non_null(strstr(world.logged, "4 signatures: test was not refreshed: http://a: "
					     "problem of a/test.cvd head\n"));
	forget();
	serve_all("a", 5);
	(void)answer("b/local.ndb", TRANSFER_NOT_MODIFIED);
	run();
	assert_string_equal(remembered("test", false).problem, "");
}

static void test_what_else_there_is_to_say_is_no_problem(void **state)
{
	install_cvd("test.cvd", 4);
	configure("mirror", "http://a");
	serve_head("a", 6);
	serve_cdiffs("a", 5, 5);
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_not_equal(told()->text, "");
	assert_string_equal(remembered("test", false).problem, "");
	assert_non_null(strstr(world.logged, "test 4 -> 5 from http://a; http://a says"));
}

static void test_what_a_server_says_stays_on_its_line(void **state)
{
	configure("custom", LOCAL);
	(void)snprintf(answer("b/local.ndb", TRANSFER_REFUSED)->reply.problem, 32, "one\ntwo");
	run();
	assert_null(strstr(world.logged, "one\ntwo"));
	assert_non_null(strstr(world.logged, "one"));
}

static void test_what_is_not_wanted_any_more_goes(void **state)
{
	install("old.ndb", "old", 3);
	install_cvd("other.cvd", 3);
	install_cvd("test.cvd", 5);
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)answer("b/local.ndb", TRANSFER_NOT_FOUND);
	/* Only when what is wanted is there. */
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_string_equal(in_force(), "old.ndb other.cvd=3 test.cvd=5 ");
	forget();
	serve_all("a", 5);
	(void)serve_cool_down("b/local.ndb", 60);
	run();
	assert_result(WIRE_UPDATE_COOL_DOWN, false);
	assert_string_equal(in_force(), "old.ndb other.cvd=3 test.cvd=5 ");
	forget();
	world.now += 60;
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_equal(in_force(), "local.ndb test.cvd=5 ");
}

static void test_that_alone_is_other_signatures(void **state)
{
	install("old.ndb", "old", 3);
	install_cvd("test.cld", 5);
	install_cvd("tes.cld", 5);
	configure("mirror", "http://a");
	serve_all("a", 5);
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_equal(in_force(), "test.cld=5 ");
}

static void test_what_should_go_and_cannot(void **state)
{
	install("old.ndb", "old", 3);
	install_cvd("test.cld", 5);
	configure("mirror", "http://a");
	serve_all("a", 5);
	world.publish_result = -ENOSPC;
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_string_equal(result.done.text, "problem of the store");
	assert_string_equal(in_force(), "old.ndb test.cld=5 ");
}

static void test_without_mirrors_their_databases_stay(void **state)
{
	install("old.ndb", "old", 3);
	install_cvd("other.cld", 3);
	install_cvd("test.cvd", 5);
	configure("custom", LOCAL);
	(void)serve_text("b/local.ndb", "one");
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_asked("b/local.ndb\n");
	assert_string_equal(in_force(), "local.ndb other.cld=3 test.cvd=5 ");
}

static void test_a_set_that_cannot_be_published(void **state)
{
	const struct wire_update_item *item;

	test_everything_is_published_told_and_remembered(state);
	forget();
	world.now += EVERY;
	serve_all("a", 6);
	(void)snprintf(serve_text("b/local.ndb", "other")->reply.etag, 8, "\"2\"");
	world.publish_result = -ENOSPC;
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_string_equal(result.done.text, "problem of the store");
	assert_non_null(strstr(world.logged, "3 signatures: problem of the store\n"));
	assert_null(strstr(world.logged, "->"));
	item = told();
	assert_int_equal(item->result, WIRE_UPDATE_FAILED);
	assert_string_equal(item->text, "problem of the store");
	assert_int_equal(item->version_after, 5);
	assert_int_equal(item->signatures_after, 50);
	assert_int_equal(item->patches, 0);
	assert_int_equal(told()->result, WIRE_UPDATE_FAILED);
	assert_string_equal(in_force(), "local.ndb test.cvd=5 ");
	assert_int_equal(remembered("test", false).version, 5);
	assert_int_equal(remembered("test", false).changed, NOW);
	assert_string_equal(remembered("local.ndb", true).etag, "\"1\"");
	/* It all comes again. */
	world.publish_result = 0;
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_asked("a/test.cvd head\na/test-6.cdiff\nb/local.ndb if-none-match=\"1\"\n");
	assert_file_is("d/current/local.ndb", "other", 5);
}

static void test_up_to_date_stays_so_where_publishing_fails(void **state)
{
	install_cvd("test.cvd", 5);
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	world.publish_result = -EROFS;
	n_heard = 0;
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_int_equal(told()->result, WIRE_UPDATE_UP_TO_DATE);
	assert_int_equal(told()->result, WIRE_UPDATE_FAILED);
}

static void test_all_have_older_ones(void **state)
{
	struct state_item known;

	test_everything_is_published_told_and_remembered(state);
	forget();
	world.now += EVERY;
	serve_all("a", 4);
	(void)answer("b/local.ndb", TRANSFER_NOT_MODIFIED);
	run();
	assert_result(WIRE_UPDATE_UP_TO_DATE, false);
	/* That confirms nothing. */
	known = remembered("test", false);
	assert_int_equal(known.checked, NOW);
	assert_int_equal(known.version, 5);
	assert_string_equal(known.problem, "no mirror that answered has a newer one");
	assert_int_equal(remembered("local.ndb", true).checked, NOW + EVERY);
	forget();
	serve_all("a", 5);
	(void)answer("b/local.ndb", TRANSFER_NOT_MODIFIED);
	run();
	known = remembered("test", false);
	assert_int_equal(known.checked, NOW + EVERY);
	assert_string_equal(known.problem, "");
}

static void test_a_mirror_that_is_being_filled_confirms_nothing(void **state)
{
	install_cvd("test.cvd", 4);
	configure("mirror", "http://a");
	serve_head("a", 6);
	serve_whole("a", 4);
	run();
	assert_result(WIRE_UPDATE_UP_TO_DATE, false);
	assert_int_equal(remembered("test", false).checked, 0);
	assert_non_null(strstr(remembered("test", false).problem, "version 6"));
	assert_int_equal(remembered_source("http://a").failures, 0);
}

static void test_what_an_administrator_has_put_there_takes_the_place(void **state)
{
	install_cvd("test.cvd", 4);
	write_cvd("d/test.cvd", 6);
	configure("mirror", "http://a");
	serve_all("a", 6);
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_equal(in_force(), "");
	assert_true(exists("d/test.cvd"));
	/* and is not replaced by what cannot be published */
	forget();
	serve_all("a", 7);
	world.publish_result = -ENOSPC;
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_true(exists("d/test.cvd"));
	world.publish_result = 0;
	(void)store_close(open_store());
	assert_true(exists("d/test.cvd"));
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_equal(in_force(), "test.cld=7 ");
	assert_false(exists("d/test.cvd"));
}

/* --- databases are in force before custom files are asked for --- */

static void assert_database_is_in_force(void)
{
	assert_string_equal(in_force(), "test.cvd=5 ");
}

static void test_custom_files_keep_no_database_waiting(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	answer("b/local.ndb", TRANSFER_BROKEN)->before = assert_database_is_in_force;
	run();
	assert_result(WIRE_UPDATE_FAILED, true);
	assert_asked("a/test.cvd head\na/test.cvd\nb/local.ndb\n");
	assert_int_equal(told()->result, WIRE_UPDATE_UPDATED);
	assert_int_equal(told()->result, WIRE_UPDATE_FAILED);
	assert_int_equal(remembered("test", false).changed, NOW);
}

static void fill_the_disk(void)
{
	assert_database_is_in_force();
	world.publish_result = -ENOSPC;
}

static void test_custom_files_that_cannot_be_published(void **state)
{
	const struct wire_update_item *item;
	struct answer *local;

	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	local = serve_text("b/local.ndb", "one");
	local->before = fill_the_disk;
	(void)snprintf(local->reply.etag, 8, "\"1\"");
	run();
	assert_result(WIRE_UPDATE_FAILED, true);
	assert_string_equal(result.done.text, "problem of the store");
	assert_string_equal(in_force(), "test.cvd=5 ");
	item = told();
	assert_int_equal(item->result, WIRE_UPDATE_UPDATED);
	assert_int_equal(item->version_after, 5);
	item = told();
	assert_int_equal(item->result, WIRE_UPDATE_FAILED);
	assert_string_equal(item->text, "problem of the store");
	assert_int_equal(remembered("test", false).version, 5);
	assert_int_equal(remembered("test", false).changed, NOW);
	assert_int_equal(remembered("local.ndb", true).changed, 0);
	assert_string_equal(remembered("local.ndb", true).etag, "");
}

/* --- what broken downloads leave --- */

static void leave_partial(const char *name, unsigned version)
{
	char path[PATH_MAX];

	(void)store_close(open_store());
	(void)snprintf(path, sizeof(path), "d/fetch/partial/%s", name);
	write_cvd(path, version);
}

static void test_broken_downloads_that_are_of_no_use_any_more_go(void **state)
{
	install_cvd("test.cvd", 4);
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	leave_partial("test.cvd", 5);
	leave_partial("old.cvd", 3);
	leave_partial("old.ndb", 3);
	leave_partial("local.ndb", 3);
	leave_partial("local.ndb.cvd", 3);
	/* It came by cdiffs, */
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_string_equal(list_files("d/fetch/partial"), "");
	/* or somebody else has put it there. */
	leave_partial("test.cvd", 5);
	run();
	assert_result(WIRE_UPDATE_UP_TO_DATE, false);
	assert_string_equal(list_files("d/fetch/partial"), "");
}

static void test_those_that_are_wanted_stay(void **state)
{
	char cvd[CVD_SIZE];

	configure("mirror", "http://a");
	leave_partial("old.cvd", 3);
	make_cvd(cvd, 5);
	serve_head("a", 5);
	(void)serve_broken("a/test.cvd", cvd, sizeof(cvd), 900);
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_string_equal(list_files("d/fetch/partial"), "test.cvd=5 ");
	forget();
	world.now += EVERY;
	(void)serve_cool_down("a/test.cvd head", 60);
	run();
	assert_result(WIRE_UPDATE_COOL_DOWN, false);
	assert_string_equal(list_files("d/fetch/partial"), "test.cvd=5 ");
	forget();
	world.now += 60;
	serve_all("a", 5);
	run();
	assert_asked("a/test.cvd head\na/test.cvd 900-\n");
	assert_string_equal(list_files("d/fetch/partial"), "");
}

/* --- what keeps it from beginning --- */

static void test_there_is_nowhere_to_fetch_from(void **state)
{
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_non_null(strstr(result.done.text, "neither mirror nor custom"));
	assert_int_equal(result.fetched.next, 0);
	assert_false(exists("d/fetch"));
}

static void test_another_run_is_under_way(void **state)
{
	struct store *store = open_store();

	configure("mirror", "http://a");
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_non_null(strstr(result.done.text, "another update"));
	assert_non_null(strstr(world.logged, "another update"));
	assert_asked("");
	(void)store_close(store);
}

static void test_a_state_that_cannot_be_read_begins_anew(void **state)
{
	configure("mirror", "http://a");
	(void)store_close(open_store());
	scratch_write("d/fetch/state.json", "{", 1);
	serve_all("a", 5);
	run_if(true);
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_non_null(strstr(world.logged, "4 signatures: what was known of mirrors is lost"));
}

static void test_a_state_that_cannot_be_written_is_said(void **state)
{
	configure("mirror", "http://a");
	(void)store_close(open_store());
	assert_int_equal(mkdir("d/fetch/state.json.new", 0700), 0);
	serve_all("a", 5);
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_non_null(strstr(world.logged, "state.json"));
	assert_non_null(strstr(world.logged, "cool-downs are forgotten"));
}

static void test_what_is_not_configured_any_more_takes_no_room(void **state)
{
	char problem[512], text[64];
	struct state *full = state_new("d/none", problem, sizeof(problem));

	for (unsigned i = 0; i < SOURCES_MAX; i++) {
		(void)snprintf(text, sizeof(text), "http://old%u", i);
		assert_non_null(state_source(full, text));
	}
	for (unsigned i = 0; i < STATE_ITEMS_MAX; i++) {
		(void)snprintf(text, sizeof(text), "old%u.ndb", i);
		assert_non_null(state_item(full, text, true));
	}
	(void)store_close(open_store());
	assert_int_equal(state_save(full, "d/fetch/state.json"), 0);
	state_free(full);
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	run();
	assert_result(WIRE_UPDATE_UPDATED, true);
	assert_int_equal(remembered("test", false).version, 5);
	full = read_state();
	assert_int_equal(full->n_sources, 2);
	assert_int_equal(full->n_items, 2);
	state_free(full);
}

/* --- when the next one is --- */

static void test_a_fleet_does_not_come_at_once(void **state)
{
	configure("mirror", "http://a");
	serve_all("a", 5);
	world.random = UINT32_C(0x80000000);
	run();
	assert_next(EVERY + 300);
	world.random = UINT32_MAX;
	run();
	assert_next(EVERY + 599);
}

static void test_only_when_asked(void **state)
{
	configure("mirror", "http://a");
	configure("check-every", "0");
	serve_all("a", 5);
	run();
	assert_int_equal(result.fetched.next, 0);
}

static void test_where_nobody_answers_it_is_tried_again(void **state)
{
	static const int64_t waits[] = {600, 1200, 2400, 4800, EVERY, EVERY};

	configure("mirror", "http://a");
	configure("mirror", "http://b");
	configure("database", "main");
	configure("database", "daily");
	configure("custom", "http://b/local.ndb");
	for (size_t i = 0; i < N_ELEMENTS(waits); i++) {
		forget();
		for (size_t j = 0; j < conf->database.n_entries; j++) {
			char what[256];
			const char *name = conf->database.entries[j].text;

			(void)snprintf(what, sizeof(what), "a/%s.cvd head", name);
			(void)answer(what, TRANSFER_BROKEN);
			(void)snprintf(what, sizeof(what), "b/%s.cvd head", name);
			(void)answer(what, TRANSFER_BROKEN);
		}
		(void)answer("b/local.ndb", TRANSFER_BROKEN);
		run();
		assert_result(WIRE_UPDATE_FAILED, false);
		assert_int_equal(remembered_source("http://a").failures, i + 1);
		assert_next(waits[i]);
		world.now = result.fetched.next;
	}
	/* Once more from the beginning. */
	forget();
	serve_all("a", 5);
	run();
	assert_next(EVERY);
}

static void test_its_share_of_the_delay_is_no_longer_than_the_wait(void **state)
{
	configure("mirror", "http://a");
	configure("random-delay", "1h");
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	world.random = UINT32_C(0x80000000);
	run();
	assert_next(600 + 300);
}

static void test_one_that_answers_is_enough(void **state)
{
	configure("mirror", "http://a");
	configure("mirror", "http://b");
	configure("database", "main");
	serve_all("a", 5);
	(void)answer("a/main.cvd head", TRANSFER_BROKEN);
	(void)answer("b/main.cvd head", TRANSFER_BROKEN);
	run();
	assert_result(WIRE_UPDATE_FAILED, true);
	assert_next(EVERY);
}

static void test_the_one_that_has_failed_least_counts(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)answer("b/local.ndb", TRANSFER_BROKEN);
	for (unsigned i = 0; i < 3; i++) {
		run();
		assert_next(EVERY);
		world.now += EVERY;
	}
	forget();
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	(void)answer("b/local.ndb", TRANSFER_BROKEN);
	run();
	assert_int_equal(remembered_source(LOCAL).failures, 4);
	assert_next(600);
}

static void test_a_file_that_is_not_there_is_no_reason_to_hurry(void **state)
{
	configure("mirror", "http://a");
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_next(EVERY);
}

static void test_bad_files_do_not_come_every_ten_minutes(void **state)
{
	static const int64_t waits[] = {600, 1200, 2400, 4800, EVERY};

	configure("mirror", "http://a");
	serve_all("a", 5);
	world.refused = "test.cvd";
	world.refusal = -EBADMSG;
	for (size_t i = 0; i < N_ELEMENTS(waits); i++) {
		run();
		assert_result(WIRE_UPDATE_FAILED, false);
		assert_next(waits[i]);
		world.now = result.fetched.next;
	}
}

static void test_one_failure_of_a_run_however_often_it_was_asked(void **state)
{
	configure("mirror", "http://a");
	serve_head("a", 5);
	for (size_t cut = 600; cut <= 900; cut += 100) {
		char cvd[CVD_SIZE];

		make_cvd(cvd, 5);
		(void)serve_broken("a/test.cvd", cvd, sizeof(cvd), cut);
	}
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_int_equal(remembered_source("http://a").failures, 1);
	assert_int_equal(remembered_source("http://a").retry_at, NOW + SOURCE_RETRY_S);
	assert_string_equal(remembered_source("http://a").problem, "problem of a/test.cvd");
	assert_next(600);
}

static void test_all_want_to_be_left_alone(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	(void)serve_cool_down("a/test.cvd head", 5 * HOUR);
	(void)serve_cool_down("b/local.ndb", 4 * HOUR);
	run();
	assert_result(WIRE_UPDATE_COOL_DOWN, false);
	assert_next(4 * HOUR);
	/* Across restarts. */
	forget();
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	world.now += HOUR;
	run();
	assert_asked("");
	assert_result(WIRE_UPDATE_COOL_DOWN, false);
	assert_next(3 * HOUR);
	world.now += 3 * HOUR;
	run();
	assert_asked("b/local.ndb\n");
	assert_next(EVERY);
}

static void serve_forbidden(const char *what)
{
	serve_cool_down(what, -1)->reply.status = 403;
}

/* Whatever it serves, and under whichever name. */
static void test_a_server_that_wants_to_be_left_alone_is(void **state)
{
	static const char *const same[] = {"http://a/one", "http://A:80/x.ndb",
					   "http://user@a/y.ndb"};
	static const char *const others[] = {"https://a/z.ndb", "http://a:8080/v.ndb",
					     "http://aa/w.ndb"};

	configure("mirror", "http://a/one");
	configure("custom", same[1]);
	configure("custom", "http://user:secret@a/y.ndb");
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		configure("custom", others[i]);
	(void)serve_cool_down("a/one/test.cvd head", HOUR);
	run();
	assert_asked("a/one/test.cvd head\nhttps://a/z.ndb\na:8080/v.ndb\naa/w.ndb\n");
	for (size_t i = 0; i < N_ELEMENTS(same); i++) {
		assert_int_equal(remembered_source(same[i]).cool_until, NOW + HOUR);
		assert_int_equal(remembered_source(same[i]).cool_since, NOW);
		assert_string_equal(remembered_source(same[i]).problem,
				    "problem of a/one/test.cvd head");
		assert_int_equal(told()->result, WIRE_UPDATE_COOL_DOWN);
	}
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		assert_int_equal(remembered_source(others[i]).cool_until, 0);
	/* So is one that is out of service. */
	forget();
	world.now += HOUR;
	serve_cool_down("a/one/test.cvd head", HOUR)->reply.status = 503;
	run();
	assert_asked("a/one/test.cvd head\nhttps://a/z.ndb\na:8080/v.ndb\naa/w.ndb\n");
}

static void test_what_is_forbidden_is_one_file(void **state)
{
	configure("mirror", "http://a");
	configure("custom", "http://a/x.ndb");
	configure("custom", "http://a/y.ndb");
	configure("custom", "http://a/z.ndb");
	serve_all("a", 5);
	serve_forbidden("a/x.ndb");
	(void)serve_text("a/y.ndb", "one");
	(void)serve_cool_down("a/z.ndb", 60);
	run();
	assert_asked("a/test.cvd head\na/test.cvd\na/x.ndb\na/y.ndb\na/z.ndb\n");
	/* What was to be left alone for longer is. */
	assert_int_equal(remembered_source("http://a/x.ndb").cool_until, NOW + SOURCE_FORBIDDEN_S);
	assert_string_equal(remembered_source("http://a/x.ndb").problem, "problem of a/x.ndb");
	assert_int_equal(remembered_source("http://a/y.ndb").cool_until, NOW + 60);
	assert_int_equal(remembered_source("http://a").cool_until, NOW + 60);
}

static void end_here(void)
{
	_exit(9);
}

/* A run that is killed where a test says. */
static void run_killed(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 9);
}

static void test_that_outlives_a_kill(void **state)
{
	configure("mirror", "http://a");
	configure("mirror", "http://b");
	configure("database", "main");
	serve_all("a", 5);
	(void)serve_cool_down("a/main.cvd head", HOUR);
	answer("b/main.cvd head", TRANSFER_BROKEN)->before = end_here;
	run_killed();
	assert_string_equal(in_force(), "");
	assert_int_equal(remembered_source("http://a").cool_until, NOW + HOUR);
	assert_int_equal(remembered_source("http://a").cool_since, NOW);
	assert_string_equal(remembered_source("http://a").problem, "problem of a/main.cvd head");
	/* What came is not in force, nor told as if it were. */
	assert_int_equal(remembered("test", false).version, 0);
	assert_int_equal(remembered("test", false).changed, 0);
	assert_string_equal(remembered("test", false).source, "");
	forget();
	serve_all("b", 5);
	run_if(true);
	assert_asked("b/test.cvd head\nb/test.cvd\nb/main.cvd head\n");
}

static void test_as_does_what_was_in_force_before(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	configure("custom", "http://c/other.ndb");
	configure("custom", "http://d/last.ndb");
	serve_all("a", 5);
	(void)snprintf(serve_text("b/local.ndb", "one")->reply.etag, 8, "\"1\"");
	(void)serve_cool_down("c/other.ndb", HOUR);
	answer("d/last.ndb", TRANSFER_BROKEN)->before = end_here;
	run_killed();
	assert_string_equal(in_force(), "test.cvd=5 ");
	assert_int_equal(remembered("test", false).version, 5);
	assert_int_equal(remembered_source("http://c/other.ndb").cool_until, NOW + HOUR);
	/* It is asked for as if it had not come. */
	forget();
	serve_all("a", 5);
	(void)serve_text("b/local.ndb", "one");
	run();
	assert_asked("a/test.cvd head\nb/local.ndb\nd/last.ndb\n");
	assert_string_equal(in_force(), "local.ndb test.cvd=5 ");
}

/* What another server wants has nothing to do with it. */
static void test_failures_are_counted_once_beside_a_cool_down(void **state)
{
	char cvd[CVD_SIZE];

	configure("mirror", "http://a");
	configure("mirror", "http://b");
	make_cvd(cvd, 5);
	serve_head("a", 5);
	for (size_t cut = 600; cut <= 900; cut += 100)
		(void)serve_broken("a/test.cvd", cvd, sizeof(cvd), cut);
	serve_head("b", 5);
	(void)serve_broken("b/test.cvd", cvd, sizeof(cvd), 1000);
	(void)serve_broken("b/test.cvd", cvd, sizeof(cvd), 1100);
	(void)serve_cool_down("b/test.cvd", 60);
	run();
	assert_result(WIRE_UPDATE_FAILED, false);
	assert_int_equal(remembered_source("http://a").failures, 1);
	assert_int_equal(remembered_source("http://a").retry_at, NOW + SOURCE_RETRY_S);
	assert_int_equal(remembered_source("http://b").failures, 1);
	assert_int_equal(remembered_source("http://b").cool_until, NOW + 60);
}

static void test_one_that_does_keeps_nothing_else_waiting(void **state)
{
	configure("mirror", "http://a");
	configure("custom", LOCAL);
	serve_all("a", 5);
	(void)serve_cool_down("b/local.ndb", SOURCE_COOL_DOWN_MAX_S);
	run();
	assert_result(WIRE_UPDATE_COOL_DOWN, true);
	assert_next(EVERY);
}

static void test_a_short_cool_down_is_no_reason_to_come_sooner(void **state)
{
	configure("mirror", "http://a");
	(void)serve_cool_down("a/test.cvd head", 60);
	run();
	assert_next(EVERY);
}

static void test_nothing_is_asked_before_it_is_due(void **state)
{
	configure("mirror", "http://a");
	serve_all("a", 5);
	run_if(true); /* the first is due at once */
	assert_asked("a/test.cvd head\na/test.cvd\n");
	world.now += EVERY - 1;
	run_if(true);
	assert_asked("");
	assert_result(WIRE_UPDATE_UP_TO_DATE, false);
	assert_next(1);
	/* But by who asks by hand. */
	run_if(false);
	assert_asked("a/test.cvd head\n");
	world.now += EVERY;
	run_if(true);
	assert_asked("a/test.cvd head\n");
}

static void test_a_clock_that_was_set_back(void **state)
{
	configure("mirror", "http://a");
	serve_all("a", 5);
	run();
	world.now -=
		SOURCE_COOL_DOWN_MAX_S + 601; /* check-every and the longest delay and cool-down */
	run_if(true);
	assert_asked("a/test.cvd head\n");
	assert_next(EVERY);
	world.now -= SOURCE_COOL_DOWN_MAX_S + 600;
	run_if(true);
	assert_asked("");
}

/* --- what databases and custom files need --- */

static void get(struct run *of, const char *url, struct transfer_request *request,
		struct wire_update_item *item)
{
	struct transfer_reply reply;

	request->url = url;
	request->fd = open("d/body", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	request->max_size = BODY_MAX;
	run_get(of, state_source(of->state, url), request, &reply, item, "daily.cvd");
	close(request->fd);
}

static void test_official_servers_are_told_who_we_are(void **state)
{
	static const struct {
		const char *url;
		bool is_official;
	} cases[] = {
		{"https://database.clamav.net/daily.cvd", true},
		{"https://DataBase.ClamAV.Net/daily.cvd", true},
		{"http://clamav.net/daily.cvd", true},
		{"http://database.clamav.net:8080/daily.cvd", true},
		{"https://user:password@database.clamav.net/daily.cvd", true},
		{"https://mirror.example@database.clamav.net/daily.cvd", true},
		{"http://notclamav.net/daily.cvd", false},
		{"http://clamav.net.example/daily.cvd", false},
		{"http://net/daily.cvd", false},
		{"http://mirror.example/clamav.net", false},
		{"http://mirror.example/x@database.clamav.net", false},
		{"http://mirror.example?database.clamav.net", false},
		{"http://database.clamav.net@mirror.example/daily.cvd", false},
		{"http://x:database.clamav.net@mirror.example:80/daily.cvd", false},
		{"file:///srv/clamav.net", false},
	};
	struct wire_update_item item = {0};
	char problem[512];
	struct run of = {
		.conf = conf,
		.audience = &audience,
		.state = state_new("d/none", problem, sizeof(problem)),
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct transfer_request request = {0};

		get(&of, cases[i].url, &request, &item);
		if ((*world.agent != '\0') != cases[i].is_official)
			fail_msg("%s: \"%s\"", cases[i].url, world.agent);
		if (!*world.agent)
			continue;
		(void)snprintf(problem, sizeof(problem), "ClamAV/%s (OS: ", container_library());
		assert_int_equal(strncmp(world.agent, problem, strlen(problem)), 0);
		(void)snprintf(problem, sizeof(problem), "UUID: %s)", of.state->uuid);
		assert_non_null(strstr(world.agent, problem));
	}
	state_free(of.state);
}

static void test_what_a_request_costs_and_says(void **state)
{
	struct transfer_request request = {0};
	struct wire_update_item item = {.bytes = 100};
	char problem[512];
	struct run of = {
		.conf = conf,
		.audience = &audience,
		.state = state_new("d/none", problem, sizeof(problem)),
		.before = state_new("d/none", problem, sizeof(problem)),
		.store = open_store(),
	};
	struct source *source = state_source(of.state, "http://a");
	struct state *saved;

	(void)serve_text("a", "four");
	source->failures = 1;
	get(&of, "http://a", &request, &item);
	assert_int_equal(item.bytes, 104);
	assert_string_equal(audience.file, "daily.cvd");
	/* Whether what came is right is not known yet. */
	assert_int_equal(source->failures, 1);
	run_was_right(source);
	assert_int_equal(source->failures, 0);
	assert_int_equal(source->last_ok, NOW);
	/* Heads are not worth telling of. */
	request = (struct transfer_request){.first = CONTAINER_HEAD_SIZE};
	get(&of, "http://a", &request, &item);
	assert_string_equal(audience.file, "");
	/* A source that wants to be left alone is, whatever it gave before. */
	forget();
	(void)serve_cool_down("a", 60);
	request = (struct transfer_request){0};
	get(&of, "http://a", &request, &item);
	run_was_right(source);
	assert_int_equal(source->cool_until, NOW + 60);
	/* That much is known from here on, whatever becomes of the run. */
	saved = read_state();
	assert_int_equal(state_source(saved, "http://a")->cool_until, NOW + 60);
	state_free(saved);
	state_free(of.state);
	state_free(of.before);
	store_close(of.store);
}

static void test_what_cannot_be_written_here(void **state)
{
	struct wire_update_item item = {0};
	struct run of = {.conf = conf, .store = open_store()};
	char path[PATH_MAX], problem[WIRE_TEXT_MAX];
	uint32_t signatures;

	assert_int_equal(rmdir("d/fetch/partial"), 0);
	assert_int_equal(rmdir("d/fetch/work"), 0);
	assert_int_equal(run_open_partial(&of, "x", path, sizeof(path), &item), -ENOENT);
	assert_int_equal(item.result, WIRE_UPDATE_FAILED);
	assert_non_null(strstr(item.text, "d/fetch/partial/x: No such file"));
	item = (struct wire_update_item){0};
	assert_int_equal(run_empty_work(&of, "x", path, sizeof(path), &item), -ENOENT);
	assert_int_equal(item.result, WIRE_UPDATE_FAILED);
	assert_non_null(strstr(item.text, "d/fetch/work/x: No such file"));
	assert_int_equal(run_trial(&of, "d/x", NULL, false, &signatures, problem, sizeof(problem)),
			 -ENOENT);
	assert_non_null(strstr(problem, "d/fetch/work/trial: No such file"));
	(void)store_close(of.store);
}

static void test_a_directory_to_work_in_is_empty(void **state)
{
	struct wire_update_item item = {0};
	struct run of = {.conf = conf, .store = open_store()};
	char path[PATH_MAX];

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(run_empty_work(&of, "x", path, sizeof(path), &item), 0);
		assert_string_equal(list_files("d/fetch/work/x"), "");
		scratch_write("d/fetch/work/x/left", "over", 4);
	}
	(void)store_close(of.store);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_everything_is_published_told_and_remembered),
		TEST(test_nothing_new),
		TEST(test_the_result_is_the_worst),
		TEST(test_why_it_failed_is_remembered_beside_what_there_is),
		TEST(test_what_else_there_is_to_say_is_no_problem),
		TEST(test_what_a_server_says_stays_on_its_line),
		TEST(test_what_is_not_wanted_any_more_goes),
		TEST(test_that_alone_is_other_signatures),
		TEST(test_what_should_go_and_cannot),
		TEST(test_without_mirrors_their_databases_stay),
		TEST(test_a_set_that_cannot_be_published),
		TEST(test_up_to_date_stays_so_where_publishing_fails),
		TEST(test_all_have_older_ones),
		TEST(test_a_mirror_that_is_being_filled_confirms_nothing),
		TEST(test_what_an_administrator_has_put_there_takes_the_place),
		TEST(test_custom_files_keep_no_database_waiting),
		TEST(test_custom_files_that_cannot_be_published),
		TEST(test_broken_downloads_that_are_of_no_use_any_more_go),
		TEST(test_those_that_are_wanted_stay),
		TEST(test_there_is_nowhere_to_fetch_from),
		TEST(test_another_run_is_under_way),
		TEST(test_a_state_that_cannot_be_read_begins_anew),
		TEST(test_a_state_that_cannot_be_written_is_said),
		TEST(test_what_is_not_configured_any_more_takes_no_room),
		TEST(test_a_fleet_does_not_come_at_once),
		TEST(test_only_when_asked),
		TEST(test_where_nobody_answers_it_is_tried_again),
		TEST(test_its_share_of_the_delay_is_no_longer_than_the_wait),
		TEST(test_one_that_answers_is_enough),
		TEST(test_the_one_that_has_failed_least_counts),
		TEST(test_a_file_that_is_not_there_is_no_reason_to_hurry),
		TEST(test_bad_files_do_not_come_every_ten_minutes),
		TEST(test_one_failure_of_a_run_however_often_it_was_asked),
		TEST(test_all_want_to_be_left_alone),
		TEST(test_a_server_that_wants_to_be_left_alone_is),
		TEST(test_what_is_forbidden_is_one_file),
		TEST(test_that_outlives_a_kill),
		TEST(test_as_does_what_was_in_force_before),
		TEST(test_failures_are_counted_once_beside_a_cool_down),
		TEST(test_one_that_does_keeps_nothing_else_waiting),
		TEST(test_a_short_cool_down_is_no_reason_to_come_sooner),
		TEST(test_nothing_is_asked_before_it_is_due),
		TEST(test_a_clock_that_was_set_back),
		TEST(test_official_servers_are_told_who_we_are),
		TEST(test_what_a_request_costs_and_says),
		TEST(test_what_cannot_be_written_here),
		TEST(test_a_directory_to_work_in_is_empty),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
