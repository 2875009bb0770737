/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * url: what an administrator writes where signatures come from. Only so much as the configuration
 * needs to refuse what can never work; the fetcher's library takes them apart.
 */
#include <stdbool.h>
#include <stddef.h>

/* Schemes that make sense in a place: http and https; file; those of SOCKS proxies. */
#define URL_HTTP  1u
#define URL_FILE  2u
#define URL_SOCKS 4u

/*
 * url_normalize() checks a URL and copies it without slashes at its end. Returns a string to free;
 * NULL with *problem pointing to what is wrong with it, or untouched: out of memory.
 */
char *url_normalize(const char *url, unsigned schemes, const char **problem);

/* url_file_name() returns the last component of a normalized URL's path, without a query, in a
 * buffer that the next call overwrites; "" where there is none. Not for threads. */
const char *url_file_name(const char *url);

/* url_same_server() says whether two URLs have scheme, host and port in common, whoever the user
 * is and whether a port that is the usual one is written. */
bool url_same_server(const char *a, const char *b);

/* url_is_of_domain() says whether a URL's host is a domain, or in it. */
bool url_is_of_domain(const char *url, const char *domain);

/* url_display() writes a URL to buffer without what may be secret in it, a password and all that
 * follows a question mark or a #: for logs. Returns buffer. */
char *url_display(const char *url, char *buffer, size_t size);
