/* SPDX-License-Identifier: GPL-2.0-only */
#include "match.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A component: the characters between two slashes. */
struct component {
	const char *start;
	size_t length;
};

/* Steps over slashes to the next component. Its length is 0 at the end of the path. */
static struct component component_next(const char *at)
{
	at += strspn(at, "/");
	return (struct component){at, strcspn(at, "/")};
}

static bool component_is(struct component component, const char *text)
{
	return component.length == strlen(text) && !memcmp(component.start, text, component.length);
}

static const char *component_problem(struct component component)
{
	if (component_is(component, ".") || component_is(component, ".."))
		return "a path must not contain . or .. as a component";
	if (component.length > 2 && memmem(component.start, component.length, "**", 2))
		return "** must stand alone between two slashes";
	return NULL;
}

char *match_normalize(const char *rule, const char **ret_problem)
{
	struct component component;
	char *normal, *end;

	if (*rule != '/') {
		*ret_problem = "a path must be absolute: begin with /; /**/NAME stands for that "
			       "name anywhere";
		return NULL;
	}

	*ret_problem = NULL;
	normal = end = malloc(strlen(rule) + 2);
	if (!normal)
		return NULL;

	for (component = component_next(rule); component.length;
	     component = component_next(component.start + component.length)) {
		*ret_problem = component_problem(component);
		if (*ret_problem) {
			free(normal);
			return NULL;
		}
		*end++ = '/';
		memcpy(end, component.start, component.length);
		end += component.length;
	}
	if (end == normal)
		*end++ = '/';
	*end = '\0';
	return normal;
}

/* One component against one pattern. Only the last * needs to be tried again: it can take over what
 * an earlier one would have taken. */
static bool component_match(struct component pattern, struct component name)
{
	const size_t none = (size_t)-1;
	size_t p = 0, n = 0, star = none, star_n = 0;

	while (n < name.length) {
		if (p < pattern.length && pattern.start[p] == '*') {
			star = p++;
			star_n = n;
		} else if (p < pattern.length && pattern.start[p] == name.start[n]) {
			p++;
			n++;
		} else if (star != none) {
			p = star + 1;
			n = ++star_n;
		} else {
			return false;
		}
	}
	while (p < pattern.length && pattern.start[p] == '*')
		p++;
	return p == pattern.length;
}

bool match_path(const char *rule, const char *path)
{
	struct component pattern = component_next(rule), name = component_next(path);
	struct component after_stars = {0}, retry = {0};

	/* The same walk one level up: components for characters, ** for *. The rule may end before
	 * the path does, as a rule means all that is below it. */
	while (pattern.length) {
		if (component_is(pattern, "**")) {
			after_stars = component_next(pattern.start + pattern.length);
			if (!after_stars.length)
				return name.length > 0;
			pattern = after_stars;
			retry = name;
		} else if (name.length && component_match(pattern, name)) {
			pattern = component_next(pattern.start + pattern.length);
			name = component_next(name.start + name.length);
		} else if (after_stars.length && retry.length) {
			retry = component_next(retry.start + retry.length);
			pattern = after_stars;
			name = retry;
		} else {
			return false;
		}
	}
	return true;
}

bool match_child(const char *rule, const char *directory)
{
	char child[2 * PATH_MAX];

	/* If the rule means any name there, then one that reads like its own last component. */
	return snprintf(child, sizeof(child), "%s/%s", directory, strrchr(rule, '/') + 1) >=
		       (int)sizeof(child) ||
	       match_path(rule, child);
}

unsigned match_literal_length(const char *rule)
{
	const char *star = strchr(rule, '*');
	size_t length = strlen(rule);

	if (!star)
		return (unsigned)length;

	length = (size_t)(star - rule);
	while (length > 1 && rule[length - 1] != '/')
		length--;
	/* Without the slash, unless it is the root. */
	return (unsigned)(length > 1 ? length - 1 : 1);
}
