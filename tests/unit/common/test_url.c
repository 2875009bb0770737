/* SPDX-License-Identifier: GPL-2.0-only */
#include "../../../src/common/url.h"
#include "../support/unit.h"

#include <stdlib.h>
#include <string.h>

static void good_urls_are_taken(void **state)
{
	static const struct {
		const char *url;
		unsigned schemes;
		const char *expected; /* NULL: as it is */
	} cases[] = {
		{"http://mirror", URL_HTTP, NULL},
		{"http://mirror/", URL_HTTP, "http://mirror"},
		{"https://mirror.example:8443/clamav//", URL_HTTP,
		 "https://mirror.example:8443/clamav"},
		{"HTTPS://Mirror/A", URL_HTTP, "https://Mirror/A"},
		{"http://[::1]:80/x", URL_HTTP, NULL},
		{"http://[fe80::1]", URL_HTTP, NULL},
		{"http://mirror:/x", URL_HTTP, NULL},
		{"http://user:p%40ss@mirror/x", URL_HTTP, NULL},
		{"https://mirror/x.ndb?key=a@b:c/d", URL_HTTP | URL_FILE, NULL},
		{"file:///srv/local.ndb", URL_HTTP | URL_FILE, NULL},
		{"File:///srv/local.ndb", URL_FILE, "file:///srv/local.ndb"},
		{"file:///srv/a@b:c", URL_FILE, NULL},
		{"socks5h://proxy:1080", URL_HTTP | URL_SOCKS, NULL},
		{"http://proxy:3128", URL_HTTP | URL_SOCKS, NULL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const char *problem = NULL;
		char *url = url_normalize(cases[i].url, cases[i].schemes, &problem);

		if (!url)
			fail_msg("%s: %s", cases[i].url, problem);
		assert_string_equal(url, cases[i].expected ? cases[i].expected : cases[i].url);
		assert_null(problem);
		free(url);
	}
}

static void bad_urls_are_refused_with_a_reason(void **state)
{
#define HTTP "a URL begins with http:// or https://"
#define HOST "there is no host in this URL"
#define CHAR "this character does not belong into a URL: write it as %XX"
#define PORT "behind host and : is the number of a port; write a / of a password as %2F"
#define AT   "write an @ of a user or password as %40"
	static const struct {
		const char *url;
		unsigned schemes;
		const char *problem;
	} cases[] = {
		{"mirror.example", URL_HTTP, HTTP},
		{"mirror.example:80", URL_HTTP, HTTP},
		{"ftp://mirror/x", URL_HTTP, HTTP},
		{"http:/mirror", URL_HTTP, HTTP},
		{"file:///srv/x", URL_HTTP, HTTP},
		{"socks5://proxy", URL_HTTP, HTTP},
		{"/srv/local.ndb", URL_HTTP | URL_FILE,
		 "a URL begins with http://, https:// or file://"},
		{"file:///srv/x", URL_HTTP | URL_SOCKS,
		 "a URL begins with http://, https:// or socks5://"},
		{"file://srv/local.ndb", URL_HTTP | URL_FILE,
		 "a file: URL names an absolute path: file:///srv/local.ndb"},
		{"http://", URL_HTTP, HOST},
		{"http:///x", URL_HTTP, HOST},
		{"http://:80/x", URL_HTTP, HOST},
		{"http://?x", URL_HTTP, HOST},
		{"http://user@", URL_HTTP, HOST},
		{"http://user:password@/x", URL_HTTP, HOST},
		{"http://[::1/x", URL_HTTP, "an IPv6 address ends with ]"},
		{"http://::1/x", URL_HTTP, HOST},
		{"http://mirror:http/x", URL_HTTP, PORT},
		{"http://user:pass/word@mirror/x", URL_HTTP, PORT},
		{"http://user:pass@word@mirror/x", URL_HTTP, AT},
		{"http://mirror/a b", URL_HTTP, CHAR},
		{"http://mirror/\xc3\xa4", URL_HTTP, CHAR},
		{"http://mirror/\n", URL_HTTP, CHAR},
		{"http://mirror/\\x", URL_HTTP, CHAR},
		{"http://mirror/{a,b}", URL_HTTP, CHAR},
	};
#undef HTTP
#undef HOST
#undef CHAR
#undef PORT
#undef AT

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const char *problem = NULL;
		char *url = url_normalize(cases[i].url, cases[i].schemes, &problem);

		if (url)
			fail_msg("%s was taken as %s", cases[i].url, url);
		if (!problem || strcmp(problem, cases[i].problem) != 0)
			fail_msg("%s: %s", cases[i].url, problem ? problem : "no reason");
	}
}

static void the_name_of_the_file_is_the_end_of_the_path(void **state)
{
	static const char *const cases[][2] = {
		{"http://mirror/local.ndb", "local.ndb"},
		{"http://mirror/a/b/local.ndb?key=/other.ndb", "local.ndb"},
		{"http://mirror/local.ndb#/x", "local.ndb"},
		{"file:///srv/local.ndb", "local.ndb"},
		{"http://user:p@mirror/local.ndb", "local.ndb"},
		{"http://mirror.ndb", ""},
		{"http://mirror.ndb?x=/local.ndb", ""},
		{"http://mirror/?file=local.ndb", ""},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		assert_string_equal(url_file_name(cases[i][0]), cases[i][1]);
}

static void passwords_are_not_shown(void **state)
{
	static const char *const cases[][2] = {
		{"http://user:secret@mirror/x", "http://user@mirror/x"},
		{"http://user:sec@ret@mirror/x", "http://user@mirror/x"},
		{"http://user:a:b@mirror:80/x", "http://user@mirror:80/x"},
		{"http://:secret@mirror", "http://@mirror"},
		{"http://user@mirror/x", "http://user@mirror/x"},
		{"http://mirror:8080/a:b@c", "http://mirror:8080/a:b@c"},
		{"http://mirror?a:b@c", "http://mirror"},
		{"http://mirror/x#a:b@c?d", "http://mirror/x"},
		{"http://user@mirror?key=secret", "http://user@mirror"},
		{"http://user:secret@mirror#secret", "http://user@mirror"},
		{"http://user:secret@[::1]:80/x?y", "http://user@[::1]:80/x"},
		{"file:///srv/x?y", "file:///srv/x"},
		{"http://user:secret@mirror/x?key=1#y", "http://user@mirror/x"},
		{"https://mirror/a/b.ndb?key=secret", "https://mirror/a/b.ndb"},
		{"file:///srv/a:b@c", "file:///srv/a:b@c"},
	};
	char buffer[64], small[8];

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		assert_ptr_equal(url_display(cases[i][0], buffer, sizeof(buffer)), buffer);
		assert_string_equal(buffer, cases[i][1]);
	}
	assert_string_equal(url_display("http://user:secret@mirror", small, sizeof(small)),
			    "http://");
}

static void a_server_is_scheme_host_and_port(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} cases[] = {
		{"http://mirror", "http://mirror", true},
		{"http://mirror", "http://mirror/a/b.ndb?key=1", true},
		{"http://mirror?x", "http://mirror#y", true},
		{"http://mirror/a", "http://MIRROR/b", true},
		{"HTTP://mirror", "http://mirror", true},
		{"http://mirror", "https://mirror", false},
		{"http://mirror", "http://mirror2", false},
		{"http://mirror", "http://mirror.example", false},
		{"http://a.example", "http://b.example", false},
		/* ports, of which the usual one need not be written */
		{"http://mirror:8080/a", "http://mirror:8080/b", true},
		{"http://mirror:8080", "http://mirror:8081", false},
		{"http://mirror:8080", "http://mirror", false},
		{"http://mirror:80/a", "http://mirror/a", true},
		{"http://mirror:/a", "http://mirror/a", true},
		{"http://mirror:080/a", "http://mirror:80/a", true},
		{"https://mirror:443", "https://mirror", true},
		{"http://mirror:443", "http://mirror", false},
		{"https://mirror:80", "https://mirror", false},
		/* users and their passwords */
		{"http://joe@mirror/x", "http://mirror/x", true},
		{"http://joe:secret@mirror/x", "http://ann@mirror/x", true},
		{"http://joe:8080@mirror/x", "http://mirror/x", true},
		{"http://mirror@a/x", "http://mirror@b/x", false},
		{"http://a/x@b", "http://b/x@b", false},
		/* IPv6 */
		{"http://[fe80::1]/x", "http://[FE80::1]", true},
		{"http://[::1]:80/x", "http://[::1]/x", true},
		{"http://joe@[::1]:8080/x", "http://[::1]:8080", true},
		{"http://[::1]:8080", "http://[::1]", false},
		{"http://[::1]", "http://[::2]", false},
		{"http://[::1:80]", "http://[::1]:80", false},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		if (url_same_server(cases[i].a, cases[i].b) != cases[i].is_same ||
		    url_same_server(cases[i].b, cases[i].a) != cases[i].is_same)
			fail_msg("%s %s", cases[i].a, cases[i].b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls_are_taken),
		cmocka_unit_test(bad_urls_are_refused_with_a_reason),
		cmocka_unit_test(the_name_of_the_file_is_the_end_of_the_path),
		cmocka_unit_test(passwords_are_not_shown),
		cmocka_unit_test(a_server_is_scheme_host_and_port),
	};

	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
