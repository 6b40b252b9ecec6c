/* What programs that read files of another form share with the configuration: a place in a line shown, and how near a
 * name is to another. */
#include "harness.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/conf.h>

/* ---- a place ---- */

static const struct {
	const char *line;
	size_t at, count;
	const char *want;
} places[] = {
	{ "usr nobody", 0, 3, "    usr nobody\n    ^~~\n" },
	{ "usr nobody", 4, 6, "    usr nobody\n        ^~~~~~\n" },
	{ "usr nobody", 4, 1, "    usr nobody\n        ^\n" },
	{ "usr nobody", 4, 0, "    usr nobody\n        ^\n" },
	{ "", 0, 0, "    \n    ^\n" },
	/* a place at the end, behind it, or longer than the line */
	{ "usr", 3, 0, "    usr\n       ^\n" }, { "usr", 3, 5, "    usr\n       ^\n" }, { "usr", 99, 5, "    usr\n       ^\n" },
	{ "usr", SIZE_MAX, SIZE_MAX, "    usr\n       ^\n" }, { "usr", 1, SIZE_MAX, "    usr\n     ^~\n" },
	/* tabs stay, so that the mark stands right */
	{ "\ta\tb", 3, 1, "    \ta\tb\n    \t \t^\n" },
	/* text stays text, as wide as it is shown */
	{ "\xc3\xa4 x", 0, 2, "    \xc3\xa4 x\n    ^\n" }, { "\xc3\xa4 x", 3, 1, "    \xc3\xa4 x\n      ^\n" },
	{ "\xe6\xbc\xa2 x", 0, 3, "    \xe6\xbc\xa2 x\n    ^~\n" }, { "\xe6\xbc\xa2 x", 4, 1, "    \xe6\xbc\xa2 x\n       ^\n" },
	{ "a\xcc\x88 x", 4, 1, "    a\xcc\x88 x\n      ^\n" },
	/* a place within a character is the character */
	{ "\xc3\xa4 x", 1, 1, "    \xc3\xa4 x\n    ^\n" }, { "\xe6\xbc\xa2 x", 2, 1, "    \xe6\xbc\xa2 x\n    ^~\n" },
	{ "\xe6\xbc\xa2 x", 1, 0, "    \xe6\xbc\xa2 x\n    ^\n" },
	/* what is no text */
	{ "a\x1b[m b", 1, 3, "    a%1B[m b\n     ^~~~~\n" }, { "\xff b", 2, 1, "    %FF b\n        ^\n" },
	{ "\xc3 \x7f\n\r", 2, 3, "    %C3 %7F%0A%0D\n        ^~~~~~~~~\n" }, { "\xc2\x9b", 0, 2, "    %C2%9B\n    ^~~~~~\n" },
	{ "\xe6\xbc", 0, 2, "    %E6%BC\n    ^~~~~~\n" }, { "\xc0\xaf", 1, 1, "    %C0%AF\n       ^~~\n" },
};

/* Two lines, and the mark under what is meant, whatever is in the line.  It needs no NUL. */
START_TEST(test_show_marks_the_place)
{
	size_t len = strlen(places[_i].line);
	char *line = malloc(len + 1), buf[SCONCE_CONF_SHOWN];

	memcpy(line, places[_i].line, len);
	line[len] = 'X';
	ck_assert_ptr_eq(sconce_conf_show(line, len, places[_i].at, places[_i].count, buf, sizeof(buf)), buf);
	ck_assert_str_eq(buf, places[_i].want);
	free(line);
}
END_TEST

/* A NUL is a byte as others are. */
START_TEST(test_show_nul_is_shown)
{
	char buf[SCONCE_CONF_SHOWN];

	ck_assert_str_eq(sconce_conf_show("a\0b", 3, 1, 1, buf, sizeof(buf)), "    a%00b\n     ^~~\n");
}
END_TEST

/* Of a long line what is near the place is shown, with dots where something is left out. */
START_TEST(test_show_long_line_is_cut)
{
	char line[400], buf[SCONCE_CONF_SHOWN], want[SCONCE_CONF_SHOWN];

	for (size_t i = 0; i < sizeof(line); i++)
		line[i] = (char)('a' + i % 26);
	snprintf(want, sizeof(want), "    %.160s...\n    %60s^~\n", line, "");
	ck_assert_str_eq(sconce_conf_show(line, 400, 60, 2, buf, sizeof(buf)), want);
	snprintf(want, sizeof(want), "    ...%.160s...\n       %60s^~\n", line + 1, "");
	ck_assert_str_eq(sconce_conf_show(line, 400, 61, 2, buf, sizeof(buf)), want);
	snprintf(want, sizeof(want), "    ...%.60s\n       %60s^\n", line + 340, "");
	ck_assert_str_eq(sconce_conf_show(line, 400, 400, 0, buf, sizeof(buf)), want);
	snprintf(want, sizeof(want), "    %.160s\n    %159s^\n", line, "");
	ck_assert_str_eq(sconce_conf_show(line, 160, 159, 1, buf, sizeof(buf)), want);
}
END_TEST

/* What does not fit is cut, and nothing is written behind it. */
START_TEST(test_show_is_cut_to_fit)
{
	static const char whole[] = "    usr nobody\n    ^~~\n";
	char buf[sizeof(whole) + 1], want[sizeof(whole)];

	for (size_t size = 0; size <= sizeof(whole); size++) {
		memset(buf, 'X', sizeof(buf));
		ck_assert_ptr_eq(sconce_conf_show("usr nobody", 10, 0, 3, buf, size), buf);
		ck_assert_int_eq(buf[size], 'X');
		if (size == 0)
			continue;
		snprintf(want, size, "%s", whole);
		ck_assert_str_eq(buf, want);
	}
}
END_TEST

/* Whatever the line and the place, it is two lines, and they fit. */
START_TEST(test_show_random_lines_fit)
{
	static const char *const pieces[] = { "a", "\t", " ", "\xff", "\xc3\xa4", "\xe6\xbc\xa2", "\xf0\x9f\x98\x80", "\x80", "\n", "\xcc\x88" };
	char buf[SCONCE_CONF_SHOWN], *line, *end;
	unsigned seed = 7;

	for (int i = 0; i < 20000; i++) {
		size_t most = (size_t)rand_r(&seed) % 500, len = 0, n, same = (size_t)rand_r(&seed) % 20;

		line = malloc(most + 1);		/* of its very size, so that the sanitizer sees what is read behind it */
		for (; len < most; len += n) {
			const char *piece = pieces[same < 10 ? same : (size_t)rand_r(&seed) % 10];

			n = strlen(piece) < most - len ? strlen(piece) : most - len;
			memcpy(line + len, piece, n);
		}
		line = realloc(line, most > 0 ? most : 1);
		sconce_conf_show(line, len, (size_t)rand_r(&seed) % 520, (size_t)rand_r(&seed) % 520, buf, sizeof(buf));
		free(line);
		end = strchr(buf, '\n');
		ck_assert(strncmp(buf, "    ", 4) == 0 && end != NULL && strncmp(end + 1, "    ", 4) == 0);
		end = strchr(end + 1, '\n');
		ck_assert(end != NULL && end[1] == '\0' && (end[-1] == '^' || end[-1] == '~'));
	}
}
END_TEST

/* The longest of all: every byte as %XX, cut on both sides, and all of it marked or all of it before the mark. */
START_TEST(test_show_longest_fits)
{
	char line[1000], buf[SCONCE_CONF_SHOWN];

	memset(line, '\xff', sizeof(line));
	for (size_t at = 0; at <= sizeof(line); at++) {
		sconce_conf_show(line, sizeof(line), at, sizeof(line), buf, sizeof(buf));
		ck_assert_int_eq(buf[strlen(buf) - 1], '\n');
	}
}
END_TEST

/* ---- names ---- */

static const struct {
	const char *a, *b;
	unsigned want;
} names[] = {
	{ "", "", 0 }, { "listen", "listen", 0 }, { "", "abc", 3 },
	{ "lisen", "listen", 1 }, { "listten", "listen", 1 }, { "lizten", "listen", 1 },	/* added, left out, changed */
	{ "lisetn", "listen", 1 }, { "ilstne", "listen", 2 }, { "ba", "ab", 1 },	/* swapped */
	{ "abc", "cab", 2 }, { "user", "port", 4 }, { "kitten", "sitting", 3 },
	{ "log-level", "log_level", 1 }, { "User", "user", 1 }, { "\xc3\xa4", "a", 2 },
};

/* Letters changed, added, left out and swapped are counted, from either side. */
START_TEST(test_distance_counts_letters)
{
	const char *a = names[_i].a, *b = names[_i].b;

	ck_assert_uint_eq(sconce_conf_distance(a, strlen(a), b, strlen(b)), names[_i].want);
	ck_assert_uint_eq(sconce_conf_distance(b, strlen(b), a, strlen(a)), names[_i].want);
}
END_TEST

/* Only the bytes that are given count: they need no NUL. */
START_TEST(test_distance_of_parts)
{
	ck_assert_uint_eq(sconce_conf_distance("portX", 4, "port=1", 4), 0);
}
END_TEST

/* Names of 60 bytes are compared; longer ones are as far as can be, from themselves too. */
START_TEST(test_distance_of_long_names)
{
	char name[61];

	memset(name, 'a', sizeof(name));
	ck_assert_uint_eq(sconce_conf_distance(name, 60, name, 60), 0);
	ck_assert_uint_eq(sconce_conf_distance(name, 60, "b", 1), 60);
	ck_assert_uint_eq(sconce_conf_distance(name, 61, name, 61), UINT_MAX);
	ck_assert_uint_eq(sconce_conf_distance(name, 61, "", 0), UINT_MAX);
	ck_assert_uint_eq(sconce_conf_distance("", 0, name, 61), UINT_MAX);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("conf_show");
	TCase *tc = t_case(s, "places");

	tcase_add_loop_test(tc, test_show_marks_the_place, 0, sizeof(places) / sizeof(places[0]));
	tcase_add_test(tc, test_show_nul_is_shown);
	tcase_add_test(tc, test_show_long_line_is_cut);
	tcase_add_test(tc, test_show_is_cut_to_fit);
	tcase_add_test(tc, test_show_random_lines_fit);
	tcase_add_test(tc, test_show_longest_fits);
	tc = t_case(s, "names");
	tcase_add_loop_test(tc, test_distance_counts_letters, 0, sizeof(names) / sizeof(names[0]));
	tcase_add_test(tc, test_distance_of_parts);
	tcase_add_test(tc, test_distance_of_long_names);
	return s;
}
