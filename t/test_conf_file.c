/* Configuration files: the syntax, the errors with their places, and what is no file at all. */
#include "test_conf.h"

#include <sys/stat.h>

/* ---- the syntax ---- */

static const struct {
	const char *line, *name, *want;
} lines[] = {
	/* G.5 */
	{ "user foo   # note", "user", "foo" },
	{ "my_option = a%20b", "my_option", "a%20b" },
	{ "arr one", "arr", "one" },
	{ "arr: two words here", "arr", "two words here" },
	{ "--arr three", "arr", "three" },
	{ "group a\\#b", "group", "a#b" },
	{ "chroot \"/quoted path\"", "chroot", "/quoted path" },
	/* separators and blanks */
	{ "user=foo", "user", "foo" }, { "user:foo", "user", "foo" }, { "user = foo", "user", "foo" },
	{ "\tuser\t:\tfoo\t", "user", "foo" }, { "  --user=foo  ", "user", "foo" }, { "user == foo", "user", "= foo" },
	{ "user a=b:c", "user", "a=b:c" }, { "my-option x", "my_option", "x" }, { "user = :x", "user", ":x" },
	{ "user a b\t c", "user", "a b\t c" },
	/* comments */
	{ "user foo#bar", "user", "foo#bar" }, { "user foo \\# bar # x", "user", "foo # bar" },
	{ "user=#1", "user", "#1" }, { "user a\\b\\", "user", "a\\b\\" }, { "user foo\t#", "user", "foo" },
	{ "user \\#", "user", "#" }, { "user a\\#   ", "user", "a#" },
	{ "# user foo", "user", NULL }, { "   # user foo", "user", NULL }, { "#user foo", "user", NULL },
	/* quotes */
	{ "user ''", "user", "" }, { "user = \"\"  # none", "user", "" }, { "user \"  a  \"", "user", "  a  " },
	{ "user 'it \"is\" # \\# so'", "user", "it \"is\" # \\# so" }, { "user \"it's\"", "user", "it's" },
	{ "user a\"b\"", "user", "a\"b\"" }, { "user 'x'\t", "user", "x" },
	/* flags alone */
	{ "setsid", "setsid", "1" }, { "--setsid # yes", "setsid", "1" }, { "setsid no", "setsid", "no" },
	/* nothing is decoded, whatever it is */
	{ "user \xc3\xa4\xff\x1b", "user", "\xc3\xa4\xff\x1b" },
	{ "", "user", NULL }, { " \t ", "user", NULL },
};

/* NS-7: every form of a line, alone, and among others that end in CR LF. */
START_TEST(test_file_line_says_its_value)
{
	char text[200];

	ck_assert_msg(read_text(lines[_i].line) == 0, "%s", sconce_conf_errors(conf));
	assert_get(lines[_i].name, 0, lines[_i].want);
	snprintf(text, sizeof(text), "\xef\xbb\xbfport 1\r\n%s\r\nport 2\r\n", lines[_i].line);
	ck_assert_int_eq(read_text(text), 0);
	assert_get(lines[_i].name, 0, lines[_i].want);
	assert_get(lines[_i].name, 1, NULL);
	assert_get("port", 0, "2");
	ck_assert_int_eq(reload(text), 0);
}
END_TEST

/* NS-7, G.5: lists repeat, of all else the last counts. */
START_TEST(test_file_lists_repeat)
{
	ck_assert_int_eq(reload("arr one\nuser bling\narr: two words here\n--arr three\nuser foo\n"), 0);
	ck_assert_uint_eq(opts.arr.count, 3);
	ck_assert_str_eq(opts.arr.values[0], "one");
	ck_assert_str_eq(opts.arr.values[1], "two words here");
	ck_assert_str_eq(opts.arr.values[2], "three");
	ck_assert_str_eq(opts.user, "foo");
}
END_TEST

/* Two files are one source. */
START_TEST(test_file_second_file_goes_on)
{
	file_text("user a\narr 1\ngroup g\n");
	ck_assert_int_eq(sconce_conf_file(conf, "c", 0), 0);
	file_text("user b\narr 2\n");
	ck_assert_int_eq(sconce_conf_file(conf, "c", 0), 0);
	assert_apply();
	ck_assert_str_eq(opts.user, "b");
	ck_assert_str_eq(opts.group, "g");
	ck_assert_uint_eq(opts.arr.count, 2);
}
END_TEST

/* A list of many values is read whole. */
START_TEST(test_file_long_list)
{
	char *text = malloc(200000), *end = text;

	for (int i = 0; i < 10000; i++)
		end += sprintf(end, "arr value%d\n", i);
	ck_assert_int_eq(reload(text), 0);
	free(text);
	ck_assert_uint_eq(opts.arr.count, 10000);
	ck_assert_str_eq(opts.arr.values[9999], "value9999");
	ck_assert_str_eq(opts.arr.values[0], "value0");
}
END_TEST

/* ---- errors ---- */

static const struct {
	const char *text, *said;
} errors[] = {
	{ "\nuser a\nusr nobody\n", "c:3:1: there is no option 'usr'; did you mean 'user'?\n    usr nobody\n    ^~~\n" },
	{ "  --log-levle = 4", "c:1:5: there is no option 'log-levle'; did you mean 'log_level'?\n"
		"      --log-levle = 4\n        ^~~~~~~~~\n" },
	{ "nay 1", "c:1:1: there is no option 'nay'; did you mean 'any'?\n    nay 1\n    ^~~\n" },
	{ "xyzzy 1", "c:1:1: there is no option 'xyzzy'\n    xyzzy 1\n    ^~~~~\n" },
	{ "us\xc3\xa4r x", "c:1:1: there is no option 'us\xc3\xa4r'; did you mean 'user'?\n    us\xc3\xa4r x\n    ^~~~\n" },
	{ "= 1", "c:1:1: there is no option ''\n    = 1\n    ^\n" },
	{ "user", "c:1:1: user needs a value; an empty one is \"\"\n    user\n    ^~~~\n" },
	{ "user = # x", "c:1:1: user needs a value; an empty one is \"\"\n    user = # x\n    ^~~~\n" },
	{ "setsid =", "c:1:1: setsid needs a value; an empty one is \"\"\n    setsid =\n    ^~~~~~\n" },
	{ "user 'a", "c:1:6: the value begins with ' and does not end with it\n    user 'a\n         ^\n" },
	{ "user \"a\" b # c", "c:1:10: there is text behind the quotes: put them around the whole value\n"
		"    user \"a\" b # c\n             ^~~~~\n" },
	{ "user 'a'b", "c:1:9: there is text behind the quotes: put them around the whole value\n"
		"    user 'a'b\n            ^\n" },
	{ "user 'a'#b", "c:1:9: there is text behind the quotes: put them around the whole value\n"
		"    user 'a'#b\n            ^~\n" },
	/* what apply finds: a tab, letters outside ASCII, wide ones and bytes that are no text leave the mark in place */
	{ "port\tmany", "c:1:6: port: 'many' is not a whole number\n    port\tmany\n        \t^~~~\n" },
	{ "port = 70000 # \xc3\xa4", "c:1:8: port: 70000 is not between 1 and 65535\n"
		"    port = 70000 # \xc3\xa4\n           ^~~~~\n" },
	{ "user bad \xc3\xa4\xc3\xb6", "c:1:6: user: no such thing as 'bad \xc3\xa4\xc3\xb6'\n"
		"    user bad \xc3\xa4\xc3\xb6\n         ^~~~~~\n" },
	{ "--port \xe6\xbc\xa2z", "c:1:8: port: '\xe6\xbc\xa2z' is not a whole number\n"
		"    --port \xe6\xbc\xa2z\n           ^~~\n" },
	{ "port a\xcc\x81" "b", "c:1:6: port: 'a\xcc\x81" "b' is not a whole number\n    port a\xcc\x81" "b\n         ^~\n" },
	{ "port \x1b[2J\xff\xc2\x9b\xc0\xafx", "c:1:6: port: '%1B[2J%FF%C2%9B%C0%AFx' is not a whole number\n"
		"    port %1B[2J%FF%C2%9B%C0%AFx\n         ^~~~~~~~~~~~~~~~~~~~~~\n" },
	{ "\x01user\xf0\x9f 1\n", "c:1:1: there is no option '%01user%F0%9F'\n    %01user%F0%9F 1\n    ^~~~~~~~~~~~~\n" },
	{ "setsid 'may\\#be'", "c:1:8: setsid: 'may\\#be' is neither yes nor no\n    setsid 'may\\#be'\n"
		"           ^~~~~~~~~\n" },
	{ "setsid a\\#b # c", "c:1:8: setsid: 'a#b' is neither yes nor no\n    setsid a\\#b # c\n           ^~~~\n" },
};

/* Every error has its file, line and column, and the wrong word is marked. */
START_TEST(test_file_error_shows_the_place)
{
	ck_assert_int_eq(reload(errors[_i].text), -EINVAL);
	assert_errors(errors[_i].said);
}
END_TEST

/* NS-45, AC-12: all that is wrong is told at once, with the numbers of its lines. */
START_TEST(test_file_all_errors_are_told_at_once)
{
	ck_assert_int_eq(read_text("usr a\r\nport 1\r\n\r\nuser 'b\r\nallow bad net\r\nport x\r\n"), -EINVAL);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 2);
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 4);
	assert_errors("c:1:1: there is no option 'usr'; did you mean 'user'?\n    usr a\n    ^~~\n"
		"c:4:6: the value begins with ' and does not end with it\n    user 'b\n         ^\n"
		"c:5:7: allow: no such thing as 'bad net'\n    allow bad net\n          ^~~~~~~\n"
		"c:6:6: port: 'x' is not a whole number\n    port x\n         ^\n");
	ck_assert_int_eq(opts.port, 0);
}
END_TEST

/* So it is when the file is read again; what was in force does not come into it. */
START_TEST(test_file_all_errors_of_a_reload_are_told_at_once)
{
	ck_assert_int_eq(reload("port 1\nuser u\n"), 0);
	ck_assert_int_eq(reload("usr a\nallow bad net\nport x\n"), -EINVAL);
	assert_errors("c:1:1: there is no option 'usr'; did you mean 'user'?\n    usr a\n    ^~~\n"
		"c:2:7: allow: no such thing as 'bad net'\n    allow bad net\n          ^~~~~~~\n"
		"c:3:6: port: 'x' is not a whole number\n    port x\n         ^\n");
	ck_assert_int_eq(opts.port, 1);
}
END_TEST

/* NS-45, G.5: unknown keys are left to others when the program says so; the rest is still checked. */
START_TEST(test_file_keep_unknown_leaves_others_out)
{
	file_text("their 'thing\nuser a\nus$er = 1\n");
	ck_assert_int_eq(sconce_conf_file(conf, "c", SCONCE_CONF_KEEP_UNKNOWN), 0);
	assert_get("user", 0, "a");
	file_text("their thing\nuser 'a\n");
	ck_assert_int_eq(sconce_conf_file(conf, "c", SCONCE_CONF_KEEP_UNKNOWN), -EINVAL);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 1);
}
END_TEST

/* Of a long line what is near the wrong word is shown, whole characters only. */
START_TEST(test_file_error_in_a_long_line_is_cut)
{
	char text[900], *at = text, want[600];

	at += sprintf(at, "user ");
	for (int i = 0; i < 100; i++)
		at += sprintf(at, "\xc3\xa4");
	sprintf(at, "'x' ");
	ck_assert_int_eq(read_text(text), 0);
	at = text + sprintf(text, "user \"");
	for (int i = 0; i < 100; i++)
		at += sprintf(at, "\xc3\xa4");
	at += sprintf(at, "\" ");
	for (int i = 0; i < 60; i++)
		at += sprintf(at, "\xc3\xb6z");
	ck_assert_int_eq(read_text(text), -EINVAL);
	at = want + sprintf(want, "c:1:209: there is text behind the quotes: put them around the whole value\n    ...");
	for (int i = 0; i < 29; i++)
		at += sprintf(at, "\xc3\xa4");
	at += sprintf(at, "\" ");
	for (int i = 0; i < 33; i++)
		at += sprintf(at, "\xc3\xb6z");
	at += sprintf(at, "...\n       %31s^", "");
	memset(at, '~', 65);
	strcpy(at + 65, "\n");
	assert_errors(want);
}
END_TEST

/* A line may have 64 KiB; a longer one is told, and the next is read all the same. */
START_TEST(test_file_long_line_is_refused)
{
	enum { MOST = 65536, MEGABYTE = 1 << 20 };
	char *text = malloc(MEGABYTE + 100);
	const char *said;

	memset(text, 'x', MEGABYTE);
	memcpy(text, "user ", 5);
	strcpy(text + MOST, "\nport 1\n");
	ck_assert_int_eq(reload(text), 0);
	ck_assert_uint_eq(strlen(opts.user), MOST - 5);
	ck_assert_int_eq(opts.port, 1);
	strcpy(text + MOST, "y\nport 2\n");
	ck_assert_int_eq(read_text(text), -EINVAL);
	said = sconce_conf_errors(conf);
	ck_assert_msg(strncmp(said, "c:1:1: a line of 65537 bytes: at most 65536\n    user xxx", 54) == 0, "%s", said);
	ck_assert_uint_lt(strlen(said), 400);
	memset(text, 'x', MEGABYTE);
	strcpy(text + MEGABYTE, "\nusr 2\n");
	ck_assert_int_eq(read_text(text), -EINVAL);
	said = sconce_conf_errors(conf);
	ck_assert_ptr_nonnull(strstr(said, "c:1:1: a line of 1048576 bytes: at most 65536\n"));
	ck_assert_ptr_nonnull(strstr(said, "c:2:1: there is no option 'usr'"));
	free(text);
}
END_TEST

/* A NUL byte is told with its place, and hides nothing. */
START_TEST(test_file_nul_byte_is_refused)
{
	static const char text[] = "user a\0b\nusr x\nport \0";

	file_bytes(text, sizeof(text) - 1);
	ck_assert_int_eq(sconce_conf_file(conf, "c", SCONCE_CONF_KEEP_UNKNOWN), -EINVAL);
	assert_errors("c:1:7: a NUL byte: this is not a text file\n    user a%00b\n          ^~~\n"
		"c:3:6: a NUL byte: this is not a text file\n    port %00\n         ^~~\n");
	assert_get("user", 0, NULL);
}
END_TEST

/* ---- files ---- */

/* What cannot be read is an error that is told; a FIFO does not keep the program waiting. */
START_TEST(test_file_that_is_none_is_told)
{
	FILE *f;

	ck_assert_int_eq(sconce_conf_file(conf, "none", 0), -ENOENT);
	assert_errors("none: cannot be read: No such file or directory\n");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	sconce_conf_clear_errors(conf);
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(sconce_conf_file(conf, "d", 0), -EISDIR);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(sconce_conf_file(conf, "fifo", 0), -EINVAL);
	ck_assert_int_eq(sconce_conf_file(conf, "/dev/zero", 0), -EINVAL);
	f = fopen("c", "we");
	ck_assert_int_eq(ftruncate(fileno(f), 16 * 1024 * 1024 + 1), 0);
	fclose(f);
	ck_assert_int_eq(sconce_conf_file(conf, "c", 0), -EFBIG);
	ck_assert_int_eq(sconce_conf_file(conf, "", 0), -ENOENT);
	ck_assert_int_eq(sconce_conf_file(conf, "a\nb", 0), -ENOENT);
	assert_errors("d: cannot be read: it is a directory\n"
		"fifo: cannot be read: it is not a regular file\n"
		"/dev/zero: cannot be read: it is not a regular file\n"
		"c: cannot be read: it has more than 16 MiB\n"
		"cannot be read: No such file or directory\n"
		"a%0Ab: cannot be read: No such file or directory\n");
}
END_TEST

/* Nothing is a configuration, too. */
START_TEST(test_file_empty_and_dev_null_say_nothing)
{
	ck_assert_int_eq(read_text(""), 0);
	ck_assert_int_eq(read_text("\xef\xbb\xbf"), 0);
	ck_assert_int_eq(read_text("\r\n\r\n\n"), 0);
	ck_assert_int_eq(sconce_conf_file(conf, "/dev/null", 0), 0);
	ck_assert_int_eq(sconce_conf_file(conf, "/proc/self/limits", SCONCE_CONF_KEEP_UNKNOWN), 0);
	assert_apply();
}
END_TEST

/* A file that may not be read is told as such. */
START_TEST(test_file_without_permission_is_told)
{
	if (geteuid() == 0)
		return;				/* may read everything */
	file_text("user a\n");
	ck_assert_int_eq(chmod("c", 0), 0);
	ck_assert_int_eq(sconce_conf_file(conf, "c", 0), -EACCES);
	assert_errors("c: cannot be read: Permission denied\n");
}
END_TEST

/* ---- anything ---- */

/* Pieces that mean something, mixed with any bytes. */
static size_t
random_text(char *text, size_t size, unsigned *seed)
{
	static const char *const pieces[] = { "user", "arr", "port", "setsid", "--", "=", ":", " ", "\t", "#", "\\#", "\"", "'",
		"\n", "\r\n", "\n", "1", "no", "-", "\xef\xbb\xbf", "\xc3\xa4", "\xf0\x9f\x98\x80", "usre", "timeout 2.5", "\\" };
	size_t len = 0, most = (size_t)rand_r(seed) % size;

	while (len + 16 < most) {
		const char *piece = pieces[(size_t)rand_r(seed) % (sizeof(pieces) / sizeof(pieces[0]))];

		if (rand_r(seed) % 4 == 0)
			text[len++] = (char)rand_r(seed);
		else
			len += (size_t)sprintf(text + len, "%s", piece);
	}
	return len;
}

static bool
is_lines(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' && *text != '\n' && *text != '\t')
			return false;
	return true;
}

/* Random bytes as a file: every line is taken or told, errors stay lines of text, and a failed one changes nothing. */
START_TEST(test_file_random_bytes_are_taken_or_told)
{
	enum { ROUNDS = 1000 };
	unsigned seed = 4711;
	char text[600];
	int right = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct options before = opts;
		size_t len = random_text(text, sizeof(text) / (1 + (size_t)i % 9), &seed);
		int r;

		file_bytes(text, len);
		sconce_conf_clear_errors(conf);
		sconce_conf_unset(conf, SCONCE_CONF_FILE, NULL);
		r = sconce_conf_file(conf, "c", i % 2 == 0 ? SCONCE_CONF_KEEP_UNKNOWN : 0);
		ck_assert(r == 0 || r == -EINVAL);
		ck_assert_int_eq(r == 0, sconce_conf_error_count(conf) == 0);
		r = sconce_conf_apply(conf);
		ck_assert_int_eq(r == 0, sconce_conf_error_count(conf) == 0);
		right += r == 0;
		if (r < 0)
			ck_assert_mem_eq(&opts, &before, sizeof(opts));
		ck_assert(is_lines(sconce_conf_errors(conf)));
	}
	ck_assert_int_gt(right, ROUNDS / 20);
	ck_assert_int_lt(right, ROUNDS - ROUNDS / 20);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("conf_file");
	TCase *tc = t_case(s, "syntax");

	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_loop_test(tc, test_file_line_says_its_value, 0, sizeof(lines) / sizeof(lines[0]));
	tcase_add_test(tc, test_file_lists_repeat);
	tcase_add_test(tc, test_file_second_file_goes_on);
	tcase_add_test(tc, test_file_long_list);
	tc = t_case(s, "errors");
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_loop_test(tc, test_file_error_shows_the_place, 0, sizeof(errors) / sizeof(errors[0]));
	tcase_add_test(tc, test_file_all_errors_are_told_at_once);
	tcase_add_test(tc, test_file_all_errors_of_a_reload_are_told_at_once);
	tcase_add_test(tc, test_file_keep_unknown_leaves_others_out);
	tcase_add_test(tc, test_file_error_in_a_long_line_is_cut);
	tcase_add_test(tc, test_file_long_line_is_refused);
	tcase_add_test(tc, test_file_nul_byte_is_refused);
	tc = t_case(s, "files");
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_test(tc, test_file_that_is_none_is_told);
	tcase_add_test(tc, test_file_empty_and_dev_null_say_nothing);
	tcase_add_test(tc, test_file_without_permission_is_told);
	tc = t_case(s, "random");
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_test(tc, test_file_random_bytes_are_taken_or_told);
	return s;
}
