/* SPDX-License-Identifier: GPL-2.0-only */
/* What a database costs, whom it is asked of, and what is believed. */
#include "../../../src/fetcher/database.h"
#include "fetch_fixture.h"

#include <sys/wait.h>

#define MIB (1024 * 1024)

static void update(void)
{
	part_update(database_update, "test");
}

static void assert_updated(unsigned before, unsigned after, unsigned patches)
{
	if (part.item.result != WIRE_UPDATE_UPDATED)
		fail_msg("%u: %s", part.item.result, part.item.text);
	assert_int_equal(part.item.version_before, before);
	assert_int_equal(part.item.version_after, after);
	assert_int_equal(part.item.signatures_before, 10 * before);
	assert_int_equal(part.item.signatures_after, 10 * after);
	assert_int_equal(part.item.patches, patches);
}

static void assert_up_to_date(unsigned version)
{
	assert_int_equal(part.item.result, WIRE_UPDATE_UP_TO_DATE);
	assert_int_equal(part.item.version_before, version);
	assert_int_equal(part.item.version_after, version);
}

static void assert_failed(const char *text)
{
	assert_int_equal(part.item.result, WIRE_UPDATE_FAILED);
	if (!strstr(part.item.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, part.item.text);
}

static void serve_spoiled(const char *host, unsigned version)
{
	char cvd[CVD_SIZE], what[256];

	make_cvd(cvd, version);
	memcpy(cvd + CVD_SIZE - 20, "spoiled", 7);
	(void)snprintf(what, sizeof(what), "%s/test.cvd", host);
	(void)serve(what, cvd, sizeof(cvd));
}

static void serve_whole_broken(const char *host, unsigned version, size_t cut)
{
	char cvd[CVD_SIZE], what[256];

	make_cvd(cvd, version);
	(void)snprintf(what, sizeof(what), "%s/test.cvd", host);
	(void)serve_broken(what, cvd, sizeof(cvd), cut);
}

/* --- what it costs --- */

static void test_nothing_new_is_one_request(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 5);
	serve_all("a", 5);
	update();
	assert_up_to_date(5);
	assert_asked("a/test.cvd head\n");
	assert_int_equal(part.item.bytes, 512);
	assert_string_equal(part.item.name, "test");
	assert_string_equal(part.item.source, "http://a");
	assert_string_equal(part.item.text, "");
	assert_string_equal(world.tried, "");
	assert_string_equal(in_force(), "test.cvd=5 ");
	assert_int_equal(source_of("http://a")->last_ok, NOW);
}

static void test_without_any_the_whole_file(void **state)
{
	add_mirror("http://a");
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd\n");
	assert_int_equal(part.item.bytes, 512 + CVD_SIZE);
	assert_string_equal(world.tried, "test.cvd as test signed\n");
	assert_string_equal(in_force(), "test.cvd=5 ");
	assert_string_equal(part.item.text, "");
	assert_string_equal(list_files("d/fetch/partial"), "");
}

static void test_what_is_newer_comes_by_cdiffs(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_all("a", 5);
	update();
	assert_updated(2, 5, 3);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\na/test-5.cdiff\n");
	assert_string_equal(world.patched, "test.cvd 2-5\n");
	/* It is no .cvd, so there is no signature of it as a whole. */
	assert_string_equal(world.tried, "test.cld signed\n");
	assert_string_equal(in_force(), "test.cld=5 ");
	assert_string_equal(part.item.text, "");
	/* And on from there. */
	forget();
	serve_all("a", 6);
	update();
	assert_updated(5, 6, 1);
	assert_string_equal(world.patched, "test.cld 5-6\n");
	assert_string_equal(in_force(), "test.cld=6 ");
}

static void test_without_the_first_cdiff_the_whole_file(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cld", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_cdiffs("a", 4, 5);
	update();
	assert_updated(2, 5, 0);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test.cvd\n");
	/* Both would be loaded. */
	assert_string_equal(in_force(), "test.cvd=5 ");
}

static void test_without_later_cdiffs_what_there_is(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_cdiffs("a", 3, 4);
	update();
	assert_updated(2, 4, 2);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\na/test-5.cdiff\n");
	assert_non_null(strstr(part.item.text, "version 5"));
	assert_non_null(strstr(part.item.text, "http://a"));
	assert_string_equal(in_force(), "test.cld=4 ");
	/* The next run goes on. */
	forget();
	serve_all("a", 5);
	update();
	assert_updated(4, 5, 1);
	assert_asked("a/test.cvd head\na/test-5.cdiff\n");
	assert_string_equal(part.item.text, "");
}

static void test_an_empty_cdiff_asks_for_the_whole_file(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	(void)serve_text("a/test-3.cdiff", "");
	update();
	assert_updated(2, 5, 0);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test.cvd\n");
}

static void test_so_does_one_behind_others(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_cdiffs("a", 3, 3);
	(void)serve_text("a/test-4.cdiff", "");
	serve_cdiffs("a", 5, 5);
	update();
	assert_updated(2, 5, 0);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\na/test.cvd\n");
	assert_string_equal(world.patched, "");
}

static void test_a_hundred_cdiffs_and_no_more(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 102);
	serve_cdiffs("a", 3, 102);
	update();
	assert_updated(2, 102, 100);
	forget();
	serve_head("a", 203);
	serve_whole("a", 203);
	serve_cdiffs("a", 103, 203);
	update();
	assert_updated(102, 203, 0);
	assert_asked("a/test.cvd head\na/test.cvd\n");
}

static void serve_cdiff_of(unsigned version, size_t size)
{
	char what[64], text[64];

	(void)snprintf(what, sizeof(what), "a/test-%u.cdiff", version);
	(void)snprintf(text, sizeof(text), "cdiff %u", version);
	serve_text(what, text)->padding = size - strlen(text);
}

static void test_cdiffs_of_a_megabyte_are_worth_it(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 4);
	serve_cdiff_of(3, MIB / 2);
	serve_cdiff_of(4, MIB / 2);
	update();
	assert_updated(2, 4, 2);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\n");
}

static void test_more_than_what_they_change_is_not(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 6);
	serve_whole("a", 6);
	serve_cdiff_of(3, MIB / 2);
	serve_cdiff_of(4, MIB / 2);
	serve_cdiffs("a", 5, 6);
	update();
	assert_updated(2, 6, 0);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\na/test-5.cdiff\n"
		     "a/test.cvd\n");
	assert_string_equal(world.patched, "");
	assert_string_equal(world.logged, "");
	assert_int_equal(source_of("http://a")->failures, 0);
}

static void test_for_a_large_one_they_may_be_larger(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	assert_int_equal(truncate("d/current/test.cvd", 3 * MIB), 0);
	serve_head("a", 3);
	serve_cdiff_of(3, 3 * MIB);
	update();
	assert_updated(2, 3, 1);
	forget();
	assert_int_equal(truncate("d/current/test.cld", 3 * MIB), 0);
	serve_head("a", 4);
	serve_cdiff_of(4, 3 * MIB + 1);
	serve_whole("a", 4);
	update();
	assert_updated(3, 4, 0);
	assert_asked("a/test.cvd head\na/test-4.cdiff\na/test.cvd\n");
}

static void test_cdiffs_that_are_at_fault(void **state)
{
	static const int faults[] = {-EBADMSG, -ENOENT, -EIO};

	add_mirror("http://a");
	for (unsigned i = 0; i < N_ELEMENTS(faults); i++) {
		install_cvd("test.cvd", 4);
		forget();
		serve_all("a", 5);
		world.patch_result = faults[i];
		update();
		assert_updated(4, 5, 0);
		assert_asked("a/test.cvd head\na/test-5.cdiff\na/test.cvd\n");
		assert_non_null(strstr(world.logged, "http://a"));
		assert_non_null(strstr(world.logged, "problem of the cdiffs"));
	}
}

static void test_a_fault_of_the_machine_is_no_reason_to_fetch_more(void **state)
{
	static const int faults[] = {-ENOSPC, -ENOMEM, -ETIMEDOUT, -EACCES, -EAGAIN};

	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 4);
	for (unsigned i = 0; i < N_ELEMENTS(faults); i++) {
		forget();
		serve_all("a", 5);
		serve_all("b", 5);
		world.patch_result = faults[i];
		update();
		assert_failed("problem of the cdiffs");
		assert_asked("a/test.cvd head\na/test-5.cdiff\n");
		assert_string_equal(in_force(), "test.cvd=4 ");
		assert_int_equal(source_of("http://a")->failures, 0);
	}
}

static void test_what_cdiffs_make_does_not_load(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 4);
	serve_all("a", 5);
	world.refused = "test.cld";
	world.refusal = -EBADMSG;
	update();
	assert_updated(4, 5, 0);
	assert_asked("a/test.cvd head\na/test-5.cdiff\na/test.cvd\n");
	assert_string_equal(world.tried, "test.cld signed\ntest.cvd as test signed\n");
	assert_non_null(strstr(world.logged, "problem of the trial"));
	assert_string_equal(in_force(), "test.cvd=5 ");
}

static void test_what_cannot_be_tried_is_nobodys_fault(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 4);
	serve_all("a", 5);
	serve_all("b", 5);
	world.refused = "test.cld";
	world.refusal = -ENOMEM;
	update();
	assert_failed("problem of the trial");
	assert_asked("a/test.cvd head\na/test-5.cdiff\n");
	assert_int_equal(part.item.patches, 0);
	/* Nor is it where the whole file came. */
	forget();
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_all("b", 5);
	world.refused = "test.cvd";
	update();
	assert_failed("problem of the trial");
	assert_asked("a/test.cvd head\na/test-5.cdiff\na/test.cvd\n");
	assert_int_equal(source_of("http://a")->failures, 0);
	assert_string_equal(in_force(), "test.cvd=4 ");
}

/* --- whole files that are not what the head says --- */

static void test_an_older_whole_file_is_not_taken(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 3);
	serve_head("b", 5);
	serve_whole("b", 5);
	update();
	assert_updated(4, 5, 0);
	assert_asked("a/test.cvd head\na/test-5.cdiff\na/test.cvd\n"
		     "b/test.cvd head\nb/test-5.cdiff\nb/test.cvd\n");
	assert_string_equal(world.tried, "test.cvd as test signed\n");
	assert_string_equal(part.item.source, "http://b");
	assert_int_equal(source_of("http://a")->failures, 1);
	assert_non_null(strstr(source_of("http://a")->problem, "version 3"));
	assert_int_equal(source_of("http://b")->failures, 0);
}

/* No more of it comes than is needed to see that. */
static void test_nor_is_it_fetched_to_its_end(void **state)
{
	char page[CVD_SIZE];

	add_mirror("http://a");
	install_cvd("test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 3);
	update();
	assert_failed("http://a: it sent version 3, but 4 is in use: an older one is not taken");
	assert_asked("a/test.cvd head\na/test-5.cdiff\na/test.cvd\n");
	assert_int_equal(part.item.bytes, 512 + 512);
	assert_string_equal(list_files("d/fetch/partial"), "");
	/* Nor is what is no database, not even as the first one. */
	forget();
	memset(page, '<', sizeof(page));
	assert_int_equal(unlink("d/current/test.cvd"), 0);
	serve_head("a", 6);
	(void)serve("a/test.cvd", page, sizeof(page));
	update();
	assert_failed("what came is no database");
	assert_asked("a/test.cvd head\na/test.cvd\n");
	assert_int_equal(part.item.bytes, 512 + 512);
	assert_string_equal(list_files("d/fetch/partial"), "");
}

static void test_nothing_is_left_of_what_is_refused(void **state)
{
	char cvd[CVD_SIZE];
	struct stat status;

	add_mirror("http://a");
	make_cvd(cvd, 5);
	serve_head("a", 5);
	serve("a/test.cvd", cvd, sizeof(cvd))->reply.result = TRANSFER_REFUSED;
	update();
	assert_asked("a/test.cvd head\na/test.cvd\n");
	assert_int_equal(part.item.bytes, 512 + CVD_SIZE);
	assert_int_equal(stat("d/fetch/partial/test.cvd", &status), 0);
	assert_int_equal(status.st_size, 0);
	forget();
	serve_all("a", 5);
	update();
	assert_asked("a/test.cvd head\na/test.cvd\n");
}

static void test_nor_is_the_same_once_more(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 4);
	serve_head("a", 6);
	serve_whole("a", 4);
	update();
	assert_int_equal(part.item.bytes, 512 + 512);
	assert_string_equal(list_files("d/fetch/partial"), "");
	assert_int_equal(source_of("http://a")->failures, 0);
	/* A mirror that is being filled: nothing is wrong, and nothing confirmed. */
	assert_int_equal(part.item.result, WIRE_UPDATE_UP_TO_DATE);
	assert_non_null(strstr(part.item.text, "http://a: it says that it has version 6"));
	assert_string_equal(world.tried, "");
	assert_string_equal(in_force(), "test.cvd=4 ");
	/* Another one may have it already. */
	forget();
	add_mirror("http://b");
	serve_head("a", 6);
	serve_whole("a", 4);
	serve_all("b", 6);
	update();
	assert_updated(4, 6, 2);
	assert_string_equal(part.item.source, "http://b");
	assert_string_equal(part.item.text, "");
}

static void test_a_whole_file_between_is_what_cdiffs_are_put_on(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 6);
	serve_whole("a", 4);
	serve_cdiffs("a", 5, 6);
	update();
	assert_updated(2, 6, 2);
	assert_asked(
		"a/test.cvd head\na/test-3.cdiff\na/test.cvd\na/test-5.cdiff\na/test-6.cdiff\n");
	assert_string_equal(world.patched, "test.cvd 4-6\n");
	assert_string_equal(in_force(), "test.cld=6 ");
	assert_string_equal(part.item.text, "");
}

static void test_a_whole_file_between_is_better_than_nothing(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 6);
	serve_whole("a", 4);
	(void)serve_broken("a/test-5.cdiff", "cdiff 5", 7, 3);
	update();
	assert_updated(2, 4, 0);
	assert_int_equal(part.item.bytes, 512 + CVD_SIZE + 3);
	assert_string_equal(part.item.text, "http://a says that it has version 6, but not how to "
					    "get there yet");
	assert_string_equal(in_force(), "test.cvd=4 ");
}

static void test_what_does_not_verify_is_not_taken(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	serve_head("a", 5);
	serve_spoiled("a", 5);
	serve_all("b", 5);
	update();
	assert_updated(0, 5, 0);
	/* Nothing of it is left for the other mirror's to be put behind, and it is not asked twice.
	 */
	assert_asked("a/test.cvd head\na/test.cvd\nb/test.cvd head\nb/test.cvd\n");
	assert_int_equal(source_of("http://a")->failures, 1);
	assert_string_equal(source_of("http://a")->problem, "problem of the trial");
}

static void test_a_source_of_bad_files_is_trusted_less_each_time(void **state)
{
	add_mirror("http://a");
	serve_head("a", 5);
	serve_spoiled("a", 5);
	update();
	assert_failed("http://a: problem of the trial");
	update();
	assert_int_equal(source_of("http://a")->failures, 2);
	assert_int_equal(source_of("http://a")->last_ok, 0);
	forget();
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_int_equal(source_of("http://a")->failures, 0);
}

static void test_what_is_no_database(void **state)
{
	char head[CONTAINER_HEAD_SIZE], page[CVD_SIZE];

	memset(page, '<', sizeof(page));
	make_head(head, 5);
	add_mirror("http://short");
	add_mirror("http://page");
	add_mirror("http://later");
	add_mirror("http://none");
	(void)serve("short/test.cvd head", head, 511);
	(void)serve("page/test.cvd head", page, 512);
	serve_head("later", 5);
	(void)serve("later/test.cvd", page, sizeof(page));
	update();
	assert_failed("http://short: ");
	assert_failed("; http://page: ");
	assert_failed("; http://later: ");
	assert_failed("; http://none: none/test.cvd head: no such file");
	assert_asked("short/test.cvd head\npage/test.cvd head\nlater/test.cvd head\n"
		     "later/test.cvd\nnone/test.cvd head\n");
	assert_string_equal(world.tried, "");
	assert_int_equal(source_of("http://short")->failures, 1);
	assert_int_equal(source_of("http://page")->failures, 1);
	assert_int_equal(source_of("http://later")->failures, 1);
	assert_int_equal(source_of("http://none")->failures, 0);
}

/* --- whom it is asked of --- */

static void test_mirrors_in_their_order(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	add_mirror("http://c");
	install_cvd("test.cvd", 5);
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	serve_all("b", 5);
	serve_all("c", 6);
	update();
	assert_up_to_date(5);
	assert_asked("a/test.cvd head\nb/test.cvd head\n");
	assert_string_equal(part.item.source, "http://b");
	assert_string_equal(part.item.text, "");
	/* The one that has failed goes last. */
	forget();
	(void)answer("b/test.cvd head", TRANSFER_REFUSED);
	(void)answer("c/test.cvd head", TRANSFER_BROKEN);
	serve_all("a", 5);
	update();
	assert_asked("b/test.cvd head\nc/test.cvd head\na/test.cvd head\n");
	assert_up_to_date(5);
	/* Until it has been left alone for a while. */
	forget();
	world.now += 2 * HOUR;
	serve_all("b", 5);
	update();
	assert_asked("a/test.cvd head\nb/test.cvd head\n");
}

static void test_each_is_asked_once(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	(void)answer("b/test.cvd head", TRANSFER_REFUSED);
	update();
	assert_failed("http://a: problem of a/test.cvd head; http://b: problem of b/test.cvd head");
	assert_asked("a/test.cvd head\nb/test.cvd head\n");
	forget();
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	(void)answer("b/test.cvd head", TRANSFER_REFUSED);
	update();
	assert_asked("a/test.cvd head\nb/test.cvd head\n");
}

static void test_one_that_is_behind(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 5);
	serve_all("a", 4);
	serve_all("b", 6);
	update();
	assert_updated(5, 6, 1);
	assert_asked("a/test.cvd head\nb/test.cvd head\nb/test-6.cdiff\n");
	assert_int_equal(source_of("http://a")->failures, 0);
	/* All of them: what we have stays, and that is well. */
	forget();
	serve_all("a", 4);
	serve_all("b", 5);
	update();
	assert_up_to_date(6);
	assert_non_null(strstr(part.item.text, "no mirror that answered has a newer one"));
	assert_string_equal(in_force(), "test.cld=6 ");
}

static void test_passwords_are_for_the_server(void **state)
{
	add_mirror("http://user:secret@a/dir");
	(void)answer("user:secret@a/dir/test.cvd head", TRANSFER_BROKEN);
	update();
	assert_asked("user:secret@a/dir/test.cvd head\n");
	assert_string_equal(part.item.source, "http://user@a/dir");
	assert_int_equal(source_of("http://user@a/dir")->failures, 1);
	assert_null(strstr(source_of("http://user@a/dir")->url, "secret"));
}

static void test_without_mirrors(void **state)
{
	update();
	assert_failed("no mirror");
}

/* --- how long it may take --- */

static struct answer *answer_to(const char *what)
{
	for (unsigned i = 0; i < world.n_answers; i++)
		if (!strcmp(world.answers[i].what, what))
			return &world.answers[i];
	fail_msg("%s", what);
	return NULL;
}

static void test_one_that_takes_an_hour_is_left_for_the_next(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 2);
	serve_all("a", 3);
	serve_all("b", 3);
	answer_to("a/test.cvd head")->takes = HOUR + 1;
	/* which has an hour of its own */
	answer_to("b/test.cvd head")->takes = HOUR;
	update();
	assert_updated(2, 3, 1);
	assert_asked("a/test.cvd head\nb/test.cvd head\nb/test-3.cdiff\n");
	forget();
	serve_head("a", 4);
	serve_head("b", 4);
	answer_to("a/test.cvd head")->takes = HOUR + 1;
	answer_to("b/test.cvd head")->takes = HOUR + 1;
	update();
	assert_failed("http://a: it takes too long; http://b: it takes too long");
}

static void test_what_came_in_that_hour_is_taken(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 2);
	serve_all("a", 5);
	serve_all("b", 5);
	answer_to("a/test-4.cdiff")->takes = HOUR + 1;
	update();
	assert_updated(2, 4, 2);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\n");
}

static void test_a_download_that_breaks_after_an_hour_goes_on_elsewhere(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 900);
	answer_to("a/test.cvd")->takes = HOUR + 1;
	serve_all("b", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd\nb/test.cvd head\nb/test.cvd 900-\n");
}

/* --- cool-downs --- */

static void test_who_wants_to_be_left_alone_is(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 5);
	(void)serve_cool_down("a/test.cvd head", 7200);
	serve_all("b", 5);
	update();
	assert_up_to_date(5);
	assert_asked("a/test.cvd head\nb/test.cvd head\n");
	assert_non_null(strstr(world.logged, "http://a is not asked any more for 7200 s: "
					     "problem of a/test.cvd head"));
	forget();
	serve_all("b", 5);
	world.now += 7199;
	update();
	assert_asked("b/test.cvd head\n");
	assert_string_equal(world.logged, "");
	forget();
	serve_all("a", 5);
	world.now += 1;
	update();
	assert_asked("a/test.cvd head\n");
}

static void test_all_want_to_be_left_alone(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	add_mirror("http://c");
	install_cvd("test.cvd", 5);
	(void)serve_cool_down("a/test.cvd head", 7200);
	(void)serve_cool_down("b/test.cvd head", 3600);
	(void)serve_cool_down("c/test.cvd head", 5000);
	update();
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
	assert_int_equal(part.item.until, NOW + 3600);
	assert_string_equal(part.item.source, "http://b");
	assert_string_equal(part.item.text, "problem of b/test.cvd head");
	assert_int_equal(part.item.version_after, 5);
	forget();
	update();
	assert_asked("");
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
	assert_int_equal(part.item.until, NOW + 3600);
}

static void test_one_that_may_be_asked_fails(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	(void)serve_cool_down("a/test.cvd head", 7200);
	(void)answer("b/test.cvd head", TRANSFER_BROKEN);
	update();
	assert_failed("http://b: problem of b/test.cvd head");
}

static void test_429_among_the_cdiffs(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_cdiffs("a", 3, 3);
	(void)serve_cool_down("a/test-4.cdiff", 7200);
	update();
	assert_updated(2, 3, 1);
	assert_asked("a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\n");
	assert_string_equal(in_force(), "test.cld=3 ");
	assert_int_equal(source_of("http://a")->cool_until, NOW + 7200);
	forget();
	update();
	assert_asked("");
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
}

static void test_429_is_not_followed_by_the_whole_file(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	serve_cdiffs("a", 3, 3);
	(void)serve_cool_down("a/test-4.cdiff", 7200);
	serve_all("b", 5);
	world.patch_result = -EBADMSG;
	update();
	assert_updated(2, 5, 0);
	assert_asked(
		"a/test.cvd head\na/test-3.cdiff\na/test-4.cdiff\n"
		"b/test.cvd head\nb/test-3.cdiff\nb/test-4.cdiff\nb/test-5.cdiff\nb/test.cvd\n");
}

static void test_429_for_the_first_cdiff(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 5);
	serve_whole("a", 5);
	(void)serve_cool_down("a/test-3.cdiff", 7200);
	update();
	assert_int_equal(part.item.result, WIRE_UPDATE_COOL_DOWN);
	assert_asked("a/test.cvd head\na/test-3.cdiff\n");
	assert_string_equal(in_force(), "test.cvd=2 ");
}

static void test_a_cdiff_that_breaks_is_no_reason_for_the_whole_file(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	serve_head("a", 3);
	serve_whole("a", 3);
	(void)serve_broken("a/test-3.cdiff", "cdiff 3", 7, 3);
	update();
	assert_failed("http://a: problem of a/test-3.cdiff");
	assert_asked("a/test.cvd head\na/test-3.cdiff\n");
	assert_int_equal(source_of("http://a")->failures, 1);
}

/* --- downloads that break --- */

static void test_a_broken_download_goes_on_in_the_next_run(void **state)
{
	char cvd[CVD_SIZE];

	add_mirror("http://a");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 900);
	serve_whole_broken("a", 5, 900);
	update();
	assert_failed("http://a: problem of a/test.cvd");
	assert_asked("a/test.cvd head\na/test.cvd\na/test.cvd 900-\n");
	forget();
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd 900-\n");
	assert_int_equal(part.item.bytes, 512 + CVD_SIZE - 900);
	make_cvd(cvd, 5);
	assert_file_is("d/current/test.cvd", cvd, sizeof(cvd));
}

static void test_it_goes_on_from_another_mirror(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 5);
	serve_head("a", 6);
	serve_whole_broken("a", 6, 900);
	serve_whole_broken("a", 6, 900);
	serve_all("b", 6);
	world.patch_result = -EBADMSG;
	update();
	assert_updated(5, 6, 0);
	assert_asked("a/test.cvd head\na/test-6.cdiff\na/test.cvd\na/test.cvd 900-\n"
		     "b/test.cvd head\nb/test-6.cdiff\nb/test.cvd 900-\n");
}

static void test_not_with_another_file(void **state)
{
	char cvd[CVD_SIZE];

	add_mirror("http://a");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 900);
	serve_whole_broken("a", 5, 900);
	update();
	forget();
	serve_all("a", 6);
	update();
	assert_updated(0, 6, 0);
	assert_asked("a/test.cvd head\na/test.cvd\n");
	make_cvd(cvd, 6);
	assert_file_is("d/current/test.cvd", cvd, sizeof(cvd));
}

static void test_not_where_there_is_no_more_than_the_head(void **state)
{
	add_mirror("http://a");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 512);
	serve_whole_broken("a", 5, 512);
	update();
	forget();
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd\n");
}

static void test_what_cannot_be_resumed_begins_again(void **state)
{
	char cvd[CVD_SIZE];

	add_mirror("http://a");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 900);
	(void)answer("a/test.cvd", TRANSFER_REFUSED);
	serve_whole("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd\na/test.cvd 900-\na/test.cvd\n");
	make_cvd(cvd, 5);
	assert_file_is("d/current/test.cvd", cvd, sizeof(cvd));
	assert_int_equal(source_of("http://a")->failures, 0);
}

static void test_a_refusal_is_no_reason_to_begin_again(void **state)
{
	add_mirror("http://a");
	serve_head("a", 5);
	(void)answer("a/test.cvd", TRANSFER_REFUSED);
	update();
	assert_failed("http://a: problem of a/test.cvd");
	assert_asked("a/test.cvd head\na/test.cvd\n");
}

static void test_a_download_is_taken_up_as_long_as_that_helps(void **state)
{
	add_mirror("http://a");
	serve_head("a", 5);
	for (size_t cut = 600; cut <= 1000; cut += 100)
		serve_whole_broken("a", 5, cut);
	update();
	assert_failed("http://a: problem of a/test.cvd");
	assert_asked("a/test.cvd head\na/test.cvd\na/test.cvd 600-\na/test.cvd 700-\n"
		     "a/test.cvd 800-\n");
	forget();
	serve_all("a", 5);
	update();
	assert_asked("a/test.cvd head\na/test.cvd 900-\n");
	assert_updated(0, 5, 0);
}

static void test_two_halves_of_different_files_are_nobodys_fault(void **state)
{
	char cvd[CVD_SIZE];

	add_mirror("http://a");
	make_cvd(cvd, 5);
	memcpy(cvd + 600, "spoiled", 7);
	serve_head("a", 5);
	(void)serve_broken("a/test.cvd", cvd, sizeof(cvd), 900);
	(void)serve_broken("a/test.cvd", cvd, sizeof(cvd), 900);
	update();
	assert_failed("http://a");
	forget();
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_asked("a/test.cvd head\na/test.cvd 900-\na/test.cvd\n");
	assert_int_equal(source_of("http://a")->failures, 0);
}

static void test_a_whole_file_that_is_bad_comes_once(void **state)
{
	add_mirror("http://a");
	serve_head("a", 5);
	serve_whole_broken("a", 5, 900);
	serve_whole_broken("a", 5, 900);
	update();
	/* What is left of the other one was not used. */
	forget();
	serve_head("a", 6);
	serve_spoiled("a", 6);
	update();
	assert_failed("problem of the trial");
	assert_asked("a/test.cvd head\na/test.cvd\n");
	/* And of this one nothing is left. */
	forget();
	serve_all("a", 6);
	update();
	assert_asked("a/test.cvd head\na/test.cvd\n");
	assert_updated(0, 6, 0);
}

/* --- what is here --- */

static void test_a_fault_of_ours_stops_everything(void **state)
{
	static const char *const places[] = {"a/test.cvd head", "a/test-5.cdiff", "a/test.cvd"};

	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 4);
	for (size_t i = 0; i < N_ELEMENTS(places); i++) {
		forget();
		(void)answer(places[i], TRANSFER_LOCAL);
		serve_head("a", 5);
		serve_whole("a", 5);
		if (i < 2)
			serve_cdiffs("a", 5, 5);
		serve_all("b", 5);
		update();
		assert_int_equal(part.item.result, WIRE_UPDATE_FAILED);
		assert_non_null(strstr(part.item.text, places[i]));
		assert_null(strstr(world.asked, "b/"));
		assert_int_equal(source_of("http://a")->failures, 0);
	}
	assert_string_equal(in_force(), "test.cvd=4 ");
}

static void test_what_cannot_be_staged(void **state)
{
	add_mirror("http://a");
	add_mirror("http://b");
	install_cvd("test.cvd", 4);
	serve_all("a", 5);
	serve_all("b", 5);
	world.put_result = -ENOSPC;
	update();
	assert_failed("problem of the store");
	assert_asked("a/test.cvd head\na/test-5.cdiff\n");
	assert_int_equal(part.item.version_after, 4);
	assert_int_equal(part.item.patches, 0);
	assert_string_equal(in_force(), "test.cvd=4 ");
}

static void test_what_an_administrator_has_put_there(void **state)
{
	add_mirror("http://a");
	write_cvd("d/test.cvd", 4);
	serve_all("a", 4);
	update();
	assert_up_to_date(4);
	assert_true(exists("d/test.cvd"));
	forget();
	serve_all("a", 5);
	update();
	assert_updated(4, 5, 1);
	assert_asked("a/test.cvd head\na/test-5.cdiff\n");
	assert_string_equal(in_force(), "test.cld=5 ");
	/* It would be loaded twice. */
	assert_false(exists("d/test.cvd"));
}

static void test_what_he_puts_beside_what_was_published_stays(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cld", 4);
	write_cvd("d/test.cvd", 6);
	serve_all("a", 6);
	update();
	assert_up_to_date(6);
	/* once is enough */
	assert_string_equal(in_force(), "");
	assert_true(exists("d/test.cvd"));
	serve_all("a", 7);
	update();
	assert_updated(6, 7, 1);
	assert_string_equal(in_force(), "test.cld=7 ");
	assert_false(exists("d/test.cvd"));
}

/* One that was there before, and one that was put there while an older one was in force. */
static void test_what_he_has_stays_until_what_is_newer_is_in_force(void **state)
{
	int status;
	pid_t pid;

	add_mirror("http://a");
	install_cvd("test.cvd", 4);
	write_cvd("d/test.cvd", 3);
	write_cvd("d/test.cld", 4);
	serve_all("a", 5);
	/* A run that fails, */
	part.run.store = open_store();
	database_update(&part.run, "test", &part.item);
	assert_updated(4, 5, 1);
	assert_string_equal(list_files("d"), "current fetch sets test.cld=4 test.cvd=3 ");
	part.run.store = store_close(part.run.store);
	assert_string_equal(list_files("d"), "current fetch sets test.cld=4 test.cvd=3 ");
	/* and one that is killed. */
	pid = fork();
	if (pid == 0) {
		part.run.store = open_store();
		database_update(&part.run, "test", &part.item);
		_exit(part.item.result == WIRE_UPDATE_UPDATED ? 9 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	(void)store_close(open_store());
	assert_string_equal(list_files("d"), "current fetch sets test.cld=4 test.cvd=3 ");
	assert_string_equal(in_force(), "test.cvd=4 ");
	update();
	assert_string_equal(list_files("d"), "current fetch sets ");
	assert_string_equal(in_force(), "test.cld=5 ");
}

static void put_a_newer_one_there(void)
{
	write_cvd("d/test.cvd", 7);
}

/* What is newer than the mirrors' is his. */
static void test_one_of_his_that_is_newer_than_what_came_stays(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cvd", 2);
	write_cvd("d/test.cvd", 3);
	serve_head("a", 5);
	serve_whole("a", 4);
	update();
	assert_updated(3, 4, 0);
	assert_false(exists("d/test.cvd"));
	/* also while something comes */
	forget();
	serve_all("a", 5);
	answer_to("a/test-5.cdiff")->before = put_a_newer_one_there;
	update();
	assert_updated(4, 5, 1);
	assert_true(exists("d/test.cvd"));
	update();
	assert_up_to_date(7);
	assert_true(exists("d/test.cvd"));
}

static void test_nobody_takes_it_away_while_there_is_an_older_one(void **state)
{
	add_mirror("http://a");
	install_cvd("test.cld", 4);
	write_cvd("d/test.cvd", 6);
	(void)answer("a/test.cvd head", TRANSFER_BROKEN);
	update();
	update();
	assert_true(exists("d/test.cvd"));
	assert_string_equal(in_force(), "test.cld=4 ");
}

static void test_the_newest_of_two_is_what_there_is(void **state)
{
	add_mirror("http://a");
	write_cvd("d/test.cld", 4);
	write_cvd("d/test.cvd", 5);
	serve_all("a", 6);
	update();
	assert_updated(5, 6, 1);
	assert_string_equal(world.patched, "test.cvd 5-6\n");
	assert_false(exists("d/test.cvd") || exists("d/test.cld"));
}

static void test_whichever_it_is(void **state)
{
	add_mirror("http://a");
	write_cvd("d/test.cld", 5);
	write_cvd("d/test.cvd", 4);
	serve_all("a", 6);
	update();
	assert_updated(5, 6, 1);
	assert_string_equal(world.patched, "test.cld 5-6\n");
}

static void test_a_file_that_is_no_database_counts_as_none(void **state)
{
	add_mirror("http://a");
	install("test.cvd", "nothing", 7);
	serve_all("a", 5);
	update();
	assert_updated(0, 5, 0);
	assert_string_equal(in_force(), "test.cvd=5 ");
}

static void test_what_this_library_cannot_use_is_said(void **state)
{
	char cvd[CVD_SIZE];

	add_mirror("http://a");
	make_cvd(cvd, 5);
	make_head_for(cvd, 5, 9999);
	(void)serve("a/test.cvd head", cvd, CONTAINER_HEAD_SIZE);
	(void)serve("a/test.cvd", cvd, sizeof(cvd));
	update();
	assert_updated(0, 5, 0);
	assert_non_null(strstr(part.item.text, "a newer libclamav"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PART_TEST(test_nothing_new_is_one_request),
		PART_TEST(test_without_any_the_whole_file),
		PART_TEST(test_what_is_newer_comes_by_cdiffs),
		PART_TEST(test_without_the_first_cdiff_the_whole_file),
		PART_TEST(test_without_later_cdiffs_what_there_is),
		PART_TEST(test_an_empty_cdiff_asks_for_the_whole_file),
		PART_TEST(test_so_does_one_behind_others),
		PART_TEST(test_a_hundred_cdiffs_and_no_more),
		PART_TEST(test_cdiffs_of_a_megabyte_are_worth_it),
		PART_TEST(test_more_than_what_they_change_is_not),
		PART_TEST(test_for_a_large_one_they_may_be_larger),
		PART_TEST(test_cdiffs_that_are_at_fault),
		PART_TEST(test_a_fault_of_the_machine_is_no_reason_to_fetch_more),
		PART_TEST(test_what_cdiffs_make_does_not_load),
		PART_TEST(test_what_cannot_be_tried_is_nobodys_fault),
		PART_TEST(test_an_older_whole_file_is_not_taken),
		PART_TEST(test_nor_is_it_fetched_to_its_end),
		PART_TEST(test_nothing_is_left_of_what_is_refused),
		PART_TEST(test_nor_is_the_same_once_more),
		PART_TEST(test_a_whole_file_between_is_what_cdiffs_are_put_on),
		PART_TEST(test_a_whole_file_between_is_better_than_nothing),
		PART_TEST(test_what_does_not_verify_is_not_taken),
		PART_TEST(test_a_source_of_bad_files_is_trusted_less_each_time),
		PART_TEST(test_what_is_no_database),
		PART_TEST(test_mirrors_in_their_order),
		PART_TEST(test_each_is_asked_once),
		PART_TEST(test_one_that_is_behind),
		PART_TEST(test_passwords_are_for_the_server),
		PART_TEST(test_without_mirrors),
		PART_TEST(test_one_that_takes_an_hour_is_left_for_the_next),
		PART_TEST(test_what_came_in_that_hour_is_taken),
		PART_TEST(test_a_download_that_breaks_after_an_hour_goes_on_elsewhere),
		PART_TEST(test_who_wants_to_be_left_alone_is),
		PART_TEST(test_all_want_to_be_left_alone),
		PART_TEST(test_one_that_may_be_asked_fails),
		PART_TEST(test_429_among_the_cdiffs),
		PART_TEST(test_429_is_not_followed_by_the_whole_file),
		PART_TEST(test_429_for_the_first_cdiff),
		PART_TEST(test_a_cdiff_that_breaks_is_no_reason_for_the_whole_file),
		PART_TEST(test_a_broken_download_goes_on_in_the_next_run),
		PART_TEST(test_it_goes_on_from_another_mirror),
		PART_TEST(test_not_with_another_file),
		PART_TEST(test_not_where_there_is_no_more_than_the_head),
		PART_TEST(test_what_cannot_be_resumed_begins_again),
		PART_TEST(test_a_refusal_is_no_reason_to_begin_again),
		PART_TEST(test_a_download_is_taken_up_as_long_as_that_helps),
		PART_TEST(test_two_halves_of_different_files_are_nobodys_fault),
		PART_TEST(test_a_whole_file_that_is_bad_comes_once),
		PART_TEST(test_a_fault_of_ours_stops_everything),
		PART_TEST(test_what_cannot_be_staged),
		PART_TEST(test_what_an_administrator_has_put_there),
		PART_TEST(test_what_he_puts_beside_what_was_published_stays),
		PART_TEST(test_what_he_has_stays_until_what_is_newer_is_in_force),
		PART_TEST(test_one_of_his_that_is_newer_than_what_came_stays),
		PART_TEST(test_nobody_takes_it_away_while_there_is_an_older_one),
		PART_TEST(test_the_newest_of_two_is_what_there_is),
		PART_TEST(test_whichever_it_is),
		PART_TEST(test_a_file_that_is_no_database_counts_as_none),
		PART_TEST(test_what_this_library_cannot_use_is_said),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
