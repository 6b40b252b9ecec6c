/* The regular expressions of access rules: Perl's with PCRE2, else the C library's.  Called by acl.c.
 *
 * A pattern stands for whole texts.  PCRE2 is told so; the C library finds the longest of the first matches, and a pattern
 * that can match all of a text does so from its first byte on.  Neither is by putting something around the pattern, which
 * "a|b" or "a)|(b" would get out of.
 *
 * No text may take long: PCRE2 has limits, and the C library is not given what makes it search by trial (\1). */
#include "acl_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if HAVE_PCRE2

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Some milliseconds at most: an ordinary rule needs less than a hundredth of it. */
enum { STEPS_MAX = 100000, DEPTH_MAX = 10000, HEAP_KIB_MAX = 1024 };

struct acl_regex {
	pcre2_code *code;
	pcre2_match_context *limits;
};

static int
compile(struct acl_regex *re, const char *pattern, char *why, size_t size)
{
	uint32_t options = PCRE2_CASELESS | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C;
	PCRE2_UCHAR text[120];
	PCRE2_SIZE where;
	int error;

	re->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error, &where, NULL);
	if (re->code != NULL)
		return 0;
	if (error == PCRE2_ERROR_HEAP_FAILED)
		return -ENOMEM;
	if (pcre2_get_error_message(error, text, sizeof(text)) < 0)
		text[0] = '\0';
	snprintf(why, size, "%s (at byte %zu)", (const char *)text, where + 1);
	return -EINVAL;
}

int
sconce__acl_regex_new(const char *pattern, struct acl_regex **re_out, char *why, size_t size)
{
	struct acl_regex *re = calloc(1, sizeof(*re));
	int r;

	if (re == NULL)
		return -ENOMEM;
	r = compile(re, pattern, why, size);
	if (r == 0) {
		re->limits = pcre2_match_context_create(NULL);
		r = re->limits != NULL ? 0 : -ENOMEM;
	}
	if (r < 0) {
		sconce__acl_regex_free(re);
		return r;
	}
	pcre2_set_match_limit(re->limits, STEPS_MAX);
	pcre2_set_depth_limit(re->limits, DEPTH_MAX);
	pcre2_set_heap_limit(re->limits, HEAP_KIB_MAX);
	*re_out = re;
	return 0;
}

void
sconce__acl_regex_free(struct acl_regex *re)
{
	if (re == NULL)
		return;
	pcre2_match_context_free(re->limits);
	pcre2_code_free(re->code);
	free(re);
}

enum acl_match
sconce__acl_regex_match(const struct acl_regex *re, const char *text)
{
	pcre2_match_data *memory = pcre2_match_data_create(1, NULL);
	int r;

	if (memory == NULL)
		return ACL_UNKNOWN;
	r = pcre2_match(re->code, (PCRE2_SPTR)text, strlen(text), 0, 0, memory, re->limits);
	pcre2_match_data_free(memory);
	if (r == PCRE2_ERROR_NOMATCH)
		return ACL_NO;
	return r >= 0 ? ACL_YES : ACL_UNKNOWN;
}

#else

#include <locale.h>
#include <regex.h>

/* The C library writes repeats out when it compiles: so many times at most, all of a pattern's together. */
enum { REPEATS_MAX = 65536 };

struct acl_regex {
	regex_t posix;
};

#define NEEDS_PCRE2 "that is Perl's, and this library was built without PCRE2"

/* Behind '[': goes behind its ']'.  There a backslash is no escape for POSIX, but for Perl. */
static int
check_set(const char **p, char *why, size_t size)
{
	const char *s = *p;

	s += *s == '^';
	s += *s == ']';
	while (*s != '\0' && *s != ']') {
		if (*s == '\\') {
			snprintf(why, size, "a backslash in [...]: %s; write [0-9] for [\\d], and no backslash before a dot",
			    NEEDS_PCRE2);
			return -EINVAL;
		}
		if (s[0] == '[' && s[1] != '\0' && strchr(".:=", s[1]) != NULL) {	/* a class's own ']' */
			const char ends[] = { s[1], ']', '\0' }, *end = strstr(s + 2, ends);

			s = end != NULL ? end + 1 : s;
		}
		s++;
	}
	*p = *s == ']' ? s + 1 : s;
	return 0;
}

/* Behind a backslash: refuses what POSIX leaves open and Perl gives a meaning. */
static int
check_escape(char c, char *why, size_t size)
{
	if (c == '\0') {
		snprintf(why, size, "a backslash at the end; write \\\\ for one");
		return -EINVAL;
	}
	if (strchr(".-:/^$|()[]{}*+?\\@,;=~!#%&_ ", c) != NULL)
		return 0;
	snprintf(why, size, "\\%c: %s; write [0-9] for \\d, [A-Za-z0-9_] for \\w", c, NEEDS_PCRE2);
	return -EINVAL;
}

/* A repeat `c` has something before it, and behind it no other one, which Perl takes for lazy or possessive. */
static int
check_repeat(char before, char c, const char *behind, char *why, size_t size)
{
	if (strchr("(|^", before) != NULL)
		snprintf(why, size, "'%c' has nothing to repeat; write .* for any text, \\%c for itself", c, c);
	else if (*behind != '\0' && strchr("*+?{", *behind) != NULL)
		snprintf(why, size, "'%c' behind a repeat: %s", *behind, NEEDS_PCRE2);
	else
		return 0;
	return -EINVAL;
}

/* Behind '{': goes behind its '}'. */
static int
check_braces(const char **p, unsigned long *repeats, char *why, size_t size)
{
	const char *comma;
	unsigned long least, most;
	size_t len = strspn(*p, "0123456789,");

	if (**p < '0' || **p > '9' || (*p)[len] != '}') {
		snprintf(why, size, "'{' without a number and '}'; write \\{ for the brace itself");
		return -EINVAL;
	}
	comma = memchr(*p, ',', len);
	least = most = strtoul(*p, NULL, 10);
	if (comma != NULL)
		most = strtoul(comma + 1, NULL, 10);
	if (most < least)
		most = least;
	*p += len + 1;
	*repeats = most > REPEATS_MAX ? REPEATS_MAX + 1 : *repeats * (most > 1 ? most : 1);
	if (*repeats <= REPEATS_MAX)
		return 0;
	snprintf(why, size, "it repeats too often: at most %d times, all {...} multiplied", REPEATS_MAX);
	return -EINVAL;
}

/* Refuses what the C library would take for something else than Perl does.  0 or -EINVAL. */
static int
check_posix(const char *p, char *why, size_t size)
{
	unsigned long repeats = 1, groups = 0;
	char before = '(', c;
	int r = 0;

	for (; r == 0 && *p != '\0'; before = c) {
		c = *p++;
		if (c == '\\') {
			r = check_escape(*p, why, size);
			p += r == 0;
		} else if (c == '[') {
			r = check_set(&p, why, size);
		} else if (strchr("*+?{", c) != NULL) {
			r = c == '{' ? check_braces(&p, &repeats, why, size) : 0;
			if (r == 0)
				r = check_repeat(before, c, p, why, size);
		} else if (c == '(' && (*p == '?' || *p == '*')) {
			snprintf(why, size, "(%c: %s; write (...) for (?:...)", *p, NEEDS_PCRE2);
			r = -EINVAL;
		} else if (c == '(') {
			groups++;
		} else if (c == ')' && groups-- == 0) {
			snprintf(why, size, "')' without its '('; write \\) for one itself");
			r = -EINVAL;
		}
	}
	return r;
}

/* In the C locale, whatever the program's. */
static int
compile(regex_t *posix, const char *pattern, char *why, size_t size)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before;
	int r;

	if (c == (locale_t)0)
		return -ENOMEM;
	before = uselocale(c);
	r = regcomp(posix, pattern, REG_EXTENDED | REG_ICASE);
	if (r != 0)
		regerror(r, posix, why, size);
	uselocale(before);
	freelocale(c);
	return r == 0 ? 0 : r == REG_ESPACE ? -ENOMEM : -EINVAL;
}

int
sconce__acl_regex_new(const char *pattern, struct acl_regex **re_out, char *why, size_t size)
{
	struct acl_regex *re;
	int r = check_posix(pattern, why, size);

	if (r < 0)
		return r;
	re = calloc(1, sizeof(*re));
	if (re == NULL)
		return -ENOMEM;
	r = compile(&re->posix, pattern, why, size);
	if (r < 0) {
		free(re);
		return r;
	}
	*re_out = re;
	return 0;
}

void
sconce__acl_regex_free(struct acl_regex *re)
{
	if (re == NULL)
		return;
	regfree(&re->posix);
	free(re);
}

/* glibc's regexec() says "no match" where it has no memory, but its malloc() sets errno. */
enum acl_match
sconce__acl_regex_match(const struct acl_regex *re, const char *text)
{
	regmatch_t m;
	int r;

	errno = 0;
	r = regexec(&re->posix, text, 1, &m, 0);
	if (r == 0)
		return m.rm_so == 0 && text[m.rm_eo] == '\0' ? ACL_YES : ACL_NO;
	return r == REG_NOMATCH && errno != ENOMEM ? ACL_NO : ACL_UNKNOWN;
}

#endif
