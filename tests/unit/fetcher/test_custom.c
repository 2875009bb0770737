/* SPDX-License-Identifier: GPL-2.0-only */
/* Custom files: what is asked for, what is taken, and what is remembered of it. */
#include "../../../src/fetcher/custom.h"
#include "fetch_fixture.h"

#define URL  "http://a/local.ndb"
#define DATE "Wed, 21 Oct 2015 07:28:00 GMT"

static const char first[] = "First:0:*:61\n", second[] = "First:0:*:61\nSecond:0:*:62\n";

static void update(const char *url)
{
	part_update(custom_update, url);
}

static struct answer *serve_tagged(const char *what, const char *text, const char *etag)
{
	struct answer *new = serve_text(what, text);

	(void)snprintf(new->reply.etag, sizeof(new->reply.etag), "%s", etag);
	return new;
}

static void assert_updated(void)
{
	if (part.item.result != WIRE_UPDATE_UPDATED)
		fail_msg("%u: %s", part.item.result, part.item.text);
}

static void assert_failed(const char *text)
{
	assert_int_equal(part.item.result, WIRE_UPDATE_FAILED);
	if (!strstr(part.item.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, part.item.text);
}

static struct state_item *known(const char *name)
{
	return state_item(part.run.state, name, true);
}

static void assert_is_in_force(const char *text)
{
	assert_file_is("d/current/local.ndb", text, strlen(text));
	assert_string_equal(list_files("d/fetch/partial"), "");
}

static void test_a_file_is_fetched_tried_and_staged(void **state)
{
	struct answer *new = serve_tagged("a/local.ndb", first, "\"1\"");

	(void)snprintf(new->reply.last_modified, sizeof(new->reply.last_modified), DATE);
	update(URL);
	assert_updated();
	assert_asked("a/local.ndb\n");
	assert_string_equal(world.tried, "local.ndb\n");
	assert_is_in_force(first);
	assert_string_equal(part.item.name, "local.ndb");
	assert_string_equal(part.item.source, URL);
	assert_int_equal(part.item.signatures_before, 0);
	assert_int_equal(part.item.signatures_after, 7);
	assert_int_equal(part.item.version_after, 0);
	assert_int_equal(part.item.bytes, strlen(first));
	assert_string_equal(known("local.ndb")->etag, "\"1\"");
	assert_string_equal(known("local.ndb")->last_modified, DATE);
	assert_int_equal(source_of(URL)->last_ok, NOW);
	assert_int_equal(world.max_size, part.conf->custom_max_size);
}

static void test_what_has_not_changed_does_not_come_again(void **state)
{
	test_a_file_is_fetched_tried_and_staged(state);
	known("local.ndb")->signatures = 7; /* as after the run */
	forget();
	(void)answer("a/local.ndb", TRANSFER_NOT_MODIFIED);
	update(URL);
	assert_asked("a/local.ndb if-none-match=\"1\" if-modified-since=" DATE "\n");
	assert_int_equal(part.item.result, WIRE_UPDATE_UP_TO_DATE);
	assert_int_equal(part.item.signatures_before, 7);
	assert_int_equal(part.item.signatures_after, 7);
	assert_string_equal(world.tried, "");
	assert_is_in_force(first);
	/* And when it has, what is newer takes its place. */
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	update(URL);
	assert_updated();
	assert_is_in_force(second);
	assert_string_equal(known("local.ndb")->etag, "\"2\"");
	assert_string_equal(known("local.ndb")->last_modified, "");
}

static void test_a_file_that_is_gone_here_comes_again(void **state)
{
	test_a_file_is_fetched_tried_and_staged(state);
	assert_int_equal(unlink("d/current/local.ndb"), 0);
	forget();
	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	assert_asked("a/local.ndb\n");
	assert_updated();
	assert_is_in_force(first);
}

static void test_what_another_server_said_is_not_asked_of_this_one(void **state)
{
	test_a_file_is_fetched_tried_and_staged(state);
	forget();
	(void)serve_tagged("b/local.ndb", second, "\"b\"");
	update("http://b/local.ndb");
	assert_asked("b/local.ndb\n");
	assert_is_in_force(second);
	forget();
	(void)answer("b/local.ndb", TRANSFER_NOT_MODIFIED);
	update("http://b/local.ndb");
	assert_asked("b/local.ndb if-none-match=\"b\"\n");
}

static void test_the_same_again_is_up_to_date(void **state)
{
	(void)serve_text("a/local.ndb", second);
	update(URL);
	assert_updated();
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"1\"");
	update(URL);
	assert_asked("a/local.ndb\n");
	assert_int_equal(part.item.result, WIRE_UPDATE_UP_TO_DATE);
	assert_string_equal(world.tried, "");
	assert_string_equal(list_files("d/fetch/partial"), "");
	/* Now it can be asked about. */
	forget();
	(void)answer("a/local.ndb", TRANSFER_NOT_MODIFIED);
	update(URL);
	assert_asked("a/local.ndb if-none-match=\"1\"\n");
	/* What differs in length, or in a byte far behind, is another. */
	forget();
	(void)serve_text("a/local.ndb", first);
	update(URL);
	assert_updated();
	assert_is_in_force(first);
}

static void test_a_byte_far_behind(void **state)
{
	char text[BODY_MAX];

	memset(text, 'a', sizeof(text));
	(void)serve("a/local.ndb", text, sizeof(text));
	update(URL);
	forget();
	text[sizeof(text) - 1] = 'b';
	(void)serve("a/local.ndb", text, sizeof(text));
	update(URL);
	assert_updated();
	assert_file_is("d/current/local.ndb", text, sizeof(text));
}

static void test_what_does_not_load_is_not_taken(void **state)
{
	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	forget();
	(void)serve_tagged("a/local.ndb", "spoiled", "\"2\"");
	update(URL);
	assert_failed(URL ": problem of the trial");
	assert_is_in_force(first);
	assert_string_equal(known("local.ndb")->etag, "\"1\"");
	assert_int_equal(part.item.signatures_after, part.item.signatures_before);
	assert_int_equal(source_of(URL)->failures, 1);
	update(URL);
	assert_int_equal(source_of(URL)->failures, 2);
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	update(URL);
	assert_int_equal(source_of(URL)->failures, 0);
}

static void test_what_cannot_be_tried_is_nobodys_fault(void **state)
{
	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	world.refused = "local.ndb";
	world.refusal = -ENOMEM;
	update(URL);
	assert_failed("problem of the trial");
	assert_int_equal(source_of(URL)->failures, 0);
	assert_string_equal(known("local.ndb")->etag, "");
	assert_string_equal(list_files("d/fetch/partial"), "");
}

static void test_what_is_not_staged_is_not_remembered(void **state)
{
	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	known("local.ndb")->signatures = 3;
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	world.put_result = -ENOSPC;
	update(URL);
	assert_failed("problem of the store");
	assert_int_equal(part.item.signatures_after, 3);
	assert_is_in_force(first);
	world.put_result = 0;
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	update(URL);
	assert_asked("a/local.ndb if-none-match=\"1\"\n");
	assert_updated();
	assert_is_in_force(second);
}

static void test_answers_without_a_file(void **state)
{
	static const enum transfer_result results[] = {TRANSFER_NOT_FOUND, TRANSFER_REFUSED,
						       TRANSFER_BROKEN};

	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	for (size_t i = 0; i < N_ELEMENTS(results); i++) {
		forget();
		(void)answer("a/local.ndb", results[i]);
		update(URL);
		assert_failed(URL ": problem of a/local.ndb");
		assert_int_equal(source_of(URL)->failures, i);
		assert_is_in_force(first);
		assert_string_equal(known("local.ndb")->etag, "\"1\"");
		assert_asked("a/local.ndb if-none-match=\"1\"\n");
	}
	forget();
	(void)answer("a/local.ndb", TRANSFER_LOCAL);
	update(URL);
	assert_int_equal(part.item.result, WIRE_UPDATE_FAILED);
	/* No source is blamed where it is us. */
	assert_string_equal(part.item.text, "problem of a/local.ndb, in d/fetch/");
}

static void test_who_wants_to_be_left_alone_is(void **state)
{
	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	forget();
	(void)serve_cool_down("a/local.ndb", 7200);
	update(URL);
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
	assert_int_equal(part.item.until, NOW + 7200);
	assert_string_equal(part.item.text, "problem of a/local.ndb");
	assert_is_in_force(first);
	forget();
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	world.now += 7199;
	update(URL);
	assert_asked("");
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
	assert_int_equal(part.item.until, NOW + 7200);
	assert_string_equal(part.item.text, "problem of a/local.ndb");
	world.now += 1;
	update(URL);
	assert_updated();
}

static void test_a_broken_download_goes_on(void **state)
{
	struct answer *broken;

	(void)serve_tagged("a/local.ndb", first, "\"1\"");
	update(URL);
	forget();
	broken = serve_broken("a/local.ndb", second, strlen(second), 5);
	(void)snprintf(broken->reply.etag, sizeof(broken->reply.etag), "\"2\"");
	(void)serve_tagged("a/local.ndb", second, "\"2\"");
	update(URL);
	assert_asked("a/local.ndb if-none-match=\"1\"\na/local.ndb 5- if-range=\"2\"\n");
	assert_updated();
	assert_is_in_force(second);
	assert_string_equal(known("local.ndb")->etag, "\"2\"");
	assert_int_equal(source_of(URL)->failures, 0);
}

static void test_not_where_nobody_knows_whether_it_is_the_same(void **state)
{
	(void)serve_broken("a/local.ndb", second, strlen(second), 5);
	(void)serve_text("a/local.ndb", second);
	update(URL);
	assert_asked("a/local.ndb\n");
	assert_failed("problem of a/local.ndb");
	/* Nor in the next run, which begins with nothing. */
	update(URL);
	assert_asked("a/local.ndb\na/local.ndb\n");
	assert_updated();
	assert_is_in_force(second);
}

static void test_what_a_killed_run_has_left_is_no_part_of_it(void **state)
{
	(void)store_close(open_store());
	scratch_write("d/fetch/partial/local.ndb", "left over", 9);
	(void)serve_text("a/local.ndb", "");
	update(URL);
	assert_asked("a/local.ndb\n");
	assert_updated();
	assert_is_in_force("");
}

static void test_not_for_ever(void **state)
{
	for (size_t cut = 1; cut <= 8; cut++) {
		struct answer *broken = serve_broken("a/local.ndb", second, strlen(second), cut);

		(void)snprintf(broken->reply.etag, sizeof(broken->reply.etag), "\"2\"");
	}
	update(URL);
	assert_failed("problem of a/local.ndb");
	assert_asked("a/local.ndb\na/local.ndb 1- if-range=\"2\"\n"
		     "a/local.ndb 2- if-range=\"2\"\na/local.ndb 3- if-range=\"2\"\n");
}

static void test_not_where_nothing_more_came(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct answer *broken = serve_broken("a/local.ndb", second, strlen(second), 5);

		(void)snprintf(broken->reply.etag, sizeof(broken->reply.etag), "\"2\"");
	}
	update(URL);
	assert_asked("a/local.ndb\na/local.ndb 5- if-range=\"2\"\n");
	assert_failed("problem of a/local.ndb");
}

static void test_passwords_are_for_the_server(void **state)
{
	(void)serve_tagged("user:secret@a/local.ndb", first, "\"1\"");
	update("http://user:secret@a/local.ndb");
	assert_asked("user:secret@a/local.ndb\n");
	assert_string_equal(part.item.source, "http://user@a/local.ndb");
	assert_is_in_force(first);
	update("http://user:secret@a/local.ndb");
	assert_non_null(strstr(world.asked, "if-none-match=\"1\""));
}

/* --- a signed container --- */

static void serve_container(unsigned version)
{
	char cvd[CVD_SIZE];

	make_cvd(cvd, version);
	(void)serve("a/own.cvd", cvd, sizeof(cvd));
}

static void test_a_container(void **state)
{
	serve_container(5);
	update("http://a/own.cvd");
	assert_updated();
	assert_int_equal(part.item.version_before, 0);
	assert_int_equal(part.item.version_after, 5);
	/* Signed, and no other database. */
	assert_string_equal(world.tried, "own.cvd as own signed\n");
	forget();
	serve_container(6);
	update("http://a/own.cvd");
	assert_updated();
	assert_int_equal(part.item.version_before, 5);
	assert_int_equal(part.item.version_after, 6);
	assert_string_equal(in_force(), "own.cvd=6 ");
	/* Its version is known where nothing comes, too. */
	forget();
	(void)answer("a/own.cvd", TRANSFER_NOT_MODIFIED);
	update("http://a/own.cvd");
	assert_int_equal(part.item.result, WIRE_UPDATE_UP_TO_DATE);
	assert_int_equal(part.item.version_after, 6);
}

static void test_an_older_container_is_not_taken(void **state)
{
	install_cvd("own.cvd", 5);
	serve_container(4);
	update("http://a/own.cvd");
	assert_failed("http://a/own.cvd: it sent version 4, but 5 is in use");
	assert_int_equal(part.item.version_before, 5);
	assert_int_equal(part.item.version_after, 5);
	assert_string_equal(world.tried, "");
	assert_string_equal(in_force(), "own.cvd=5 ");
	assert_int_equal(source_of("http://a/own.cvd")->failures, 1);
}

static void test_a_container_may_be_made_again(void **state)
{
	char cvd[CVD_SIZE];

	make_cvd(cvd, 5);
	cvd[CVD_SIZE - 1] = 'x';
	install("own.cvd", cvd, sizeof(cvd));
	serve_container(5);
	update("http://a/own.cvd");
	assert_updated();
}

static void test_what_is_no_container(void **state)
{
	install_cvd("own.cvd", 5);
	(void)serve_text("a/own.cvd", "<html>");
	update("http://a/own.cvd");
	assert_failed("http://a/own.cvd: what came is no database");
	assert_string_equal(world.tried, "");
	assert_string_equal(in_force(), "own.cvd=5 ");
}

static void test_a_container_that_does_not_verify(void **state)
{
	install_cvd("own.cvd", 5);
	serve_container(6);
	world.refused = "own.cvd";
	world.refusal = -EBADMSG;
	update("http://a/own.cvd");
	assert_failed("http://a/own.cvd: problem of the trial");
	assert_int_equal(part.item.version_after, 5);
	assert_string_equal(in_force(), "own.cvd=5 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PART_TEST(test_a_file_is_fetched_tried_and_staged),
		PART_TEST(test_what_has_not_changed_does_not_come_again),
		PART_TEST(test_a_file_that_is_gone_here_comes_again),
		PART_TEST(test_what_another_server_said_is_not_asked_of_this_one),
		PART_TEST(test_the_same_again_is_up_to_date),
		PART_TEST(test_a_byte_far_behind),
		PART_TEST(test_what_does_not_load_is_not_taken),
		PART_TEST(test_what_cannot_be_tried_is_nobodys_fault),
		PART_TEST(test_what_is_not_staged_is_not_remembered),
		PART_TEST(test_answers_without_a_file),
		PART_TEST(test_who_wants_to_be_left_alone_is),
		PART_TEST(test_a_broken_download_goes_on),
		PART_TEST(test_not_where_nobody_knows_whether_it_is_the_same),
		PART_TEST(test_what_a_killed_run_has_left_is_no_part_of_it),
		PART_TEST(test_not_for_ever),
		PART_TEST(test_not_where_nothing_more_came),
		PART_TEST(test_passwords_are_for_the_server),
		PART_TEST(test_a_container),
		PART_TEST(test_an_older_container_is_not_taken),
		PART_TEST(test_a_container_may_be_made_again),
		PART_TEST(test_what_is_no_container),
		PART_TEST(test_a_container_that_does_not_verify),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
