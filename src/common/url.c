/* SPDX-License-Identifier: GPL-2.0-only */
#include "url.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct url_scheme {
	const char *name;
	unsigned kind;
} url_schemes[] = {{"http://", URL_HTTP},    {"https://", URL_HTTP},	{"file://", URL_FILE},
		   {"socks4://", URL_SOCKS}, {"socks4a://", URL_SOCKS}, {"socks5://", URL_SOCKS},
		   {"socks5h://", URL_SOCKS}};

static const struct url_scheme *url_find_scheme(const char *url, unsigned schemes)
{
	for (size_t i = 0; i < sizeof(url_schemes) / sizeof(url_schemes[0]); i++)
		if ((url_schemes[i].kind & schemes) &&
		    !strncasecmp(url, url_schemes[i].name, strlen(url_schemes[i].name)))
			return &url_schemes[i];
	return NULL;
}

/* Where the host begins, behind user and password, of which the last @ is the end. */
static const char *url_host(const char *url)
{
	const char *authority = strstr(url, "://"), *at;

	authority = authority ? authority + 3 : url;
	at = memrchr(authority, '@', strcspn(authority, "/?#"));
	return at ? at + 1 : authority;
}

static const char *url_authority_problem(const char *authority)
{
	const char *host = url_host(authority);
	/* The colons of an IPv6 address are in brackets. */
	size_t length = *host == '[' ? strcspn(host, "]/?#") : strcspn(host, ":/?#");

	if (memchr(authority, '@', (size_t)(host - authority)) &&
	    memchr(authority, '@', (size_t)(host - authority)) != host - 1)
		return "write an @ of a user or password as %40";
	if (!length)
		return "there is no host in this URL";
	if (*host == '[' && host[length] != ']')
		return "an IPv6 address ends with ]";
	host += length + (*host == '[');
	if (*host == ':' && strspn(host + 1, "0123456789") != strcspn(host + 1, "/?#"))
		return "behind host and : is the number of a port; write a / of a password as %2F";
	return NULL;
}

char *url_normalize(const char *url, unsigned schemes, const char **problem)
{
	const struct url_scheme *scheme = url_find_scheme(url, schemes);
	size_t length = strlen(url);
	char *copy;

	if (!scheme)
		*problem = schemes & URL_FILE ? "a URL begins with http://, https:// or file://"
			   : schemes & URL_SOCKS
				   ? "a URL begins with http://, https:// or socks5://"
				   : "a URL begins with http:// or https://";
	else if (scheme->kind == URL_FILE && url[strlen(scheme->name)] != '/')
		*problem = "a file: URL names an absolute path: file:///srv/local.ndb";
	else if (scheme->kind != URL_FILE)
		*problem = url_authority_problem(url + strlen(scheme->name));
	for (const char *c = url; scheme && *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}", *c))
			*problem = "this character does not belong into a URL: write it as %XX";
	if (*problem)
		return NULL;
	while (length > strlen(scheme->name) + 1 && url[length - 1] == '/')
		length--;
	copy = strndup(url, length);
	if (copy) /* who compares it need not care */
		memcpy(copy, scheme->name, strlen(scheme->name));
	return copy;
}

const char *url_file_name(const char *url)
{
	static char name[NAME_MAX + 1];
	const char *path = url_host(url);
	size_t length;

	path += strcspn(path, "/?#");
	length = strcspn(path, "?#");
	while (memchr(path, '/', length)) {
		const char *slash = (const char *)memchr(path, '/', length) + 1;

		length -= (size_t)(slash - path);
		path = slash;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)length, path);
	return name;
}

char *url_display(const char *url, char *buffer, size_t size)
{
	const char *authority = strstr(url, "://"), *host = url_host(url), *colon;
	int length;

	authority = authority ? authority + 3 : url;
	colon = memchr(authority, ':', (size_t)(host - authority));
	length = (int)strcspn(host, "?#");
	if (colon)
		(void)snprintf(buffer, size, "%.*s@%.*s", (int)(colon - url), url, length, host);
	else
		(void)snprintf(buffer, size, "%.*s%.*s", (int)(host - url), url, length, host);
	return buffer;
}

/* How much of host, as url_host() returns it, is the host; its port goes to ret_port. */
static size_t url_host_length(const char *url, const char *host, unsigned long *ret_port)
{
	size_t length = *host == '[' ? strcspn(host, "]/?#") : strcspn(host, ":/?#");

	length += host[length] == ']';
	*ret_port = host[length] == ':' ? strtoul(host + length + 1, NULL, 10) : 0;
	if (!*ret_port)
		*ret_port = strncasecmp(url, "https:", 6) ? 80 : 443;
	return length;
}

bool url_same_server(const char *a, const char *b)
{
	const char *host_a = url_host(a), *host_b = url_host(b);
	size_t scheme = strcspn(a, ":");
	unsigned long port_a, port_b;
	size_t length = url_host_length(a, host_a, &port_a);

	return scheme == strcspn(b, ":") && !strncasecmp(a, b, scheme) &&
	       length == url_host_length(b, host_b, &port_b) && port_a == port_b &&
	       !strncasecmp(host_a, host_b, length);
}

bool url_is_of_domain(const char *url, const char *domain)
{
	const char *host = url_host(url);
	size_t length = strcspn(host, ":/?#"), tail = strlen(domain);

	return length >= tail && !strncasecmp(host + length - tail, domain, tail) &&
	       (length == tail || host[length - tail - 1] == '.');
}
