/* SPDX-License-Identifier: GPL-2.0-only */
#include "url.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
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

char *url_normalize(const char *url, unsigned schemes, const char **problem)
{
	const struct url_scheme *scheme = url_find_scheme(url, schemes);
	size_t length = strlen(url);

	if (!scheme)
		*problem = schemes & URL_FILE ? "a URL begins with http://, https:// or file://"
			   : schemes & URL_SOCKS
				   ? "a URL begins with http://, https:// or socks5://"
				   : "a URL begins with http:// or https://";
	else if (scheme->kind == URL_FILE && url[strlen(scheme->name)] != '/')
		*problem = "a file: URL names an absolute path: file:///srv/local.ndb";
	else if (scheme->kind != URL_FILE && strchr("/:@?#", url[strlen(scheme->name)]))
		*problem = "there is no host in this URL"; /* the NUL at its end too */
	for (const char *c = url; scheme && *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}", *c))
			*problem = "this character does not belong into a URL: write it as %XX";
	if (*problem)
		return NULL;
	while (length > strlen(scheme->name) + 1 && url[length - 1] == '/')
		length--;
	return strndup(url, length);
}

const char *url_file_name(const char *url)
{
	static char name[NAME_MAX + 1];
	const char *path = strstr(url, "://");
	size_t length;

	path = path ? strchr(path + 3, '/') : NULL;
	if (!path)
		return "";
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
	const char *host = strstr(url, "://"), *at, *colon;

	host = host ? host + 3 : url;
	at = memchr(host, '@', strcspn(host, "/?#"));
	colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
	if (colon)
		(void)snprintf(buffer, size, "%.*s%s", (int)(colon - url), url, at);
	else
		(void)snprintf(buffer, size, "%s", url);
	return buffer;
}
