/* The configuration: who wins, what is right, when it is stored, and what is told. */
#include "test_conf.h"

#include <malloc.h>

/* ---- precedence ---- */

static const struct {
	enum sconce_conf_source source;
	const char *text;
} ladder[] = {
	{ SCONCE_CONF_DEFAULT, "default" }, { SCONCE_CONF_FILE, "file" }, { SCONCE_CONF_RUN, "run" },
	{ SCONCE_CONF_ARGV, "argv" }, { SCONCE_CONF_CODE, "code" },
};
enum { LADDER = sizeof(ladder) / sizeof(ladder[0]) };

/* NS-4, NS-8: every set of sources that say a key: the strongest of them wins, whatever the order in which they speak. */
START_TEST(test_apply_strongest_source_wins)
{
	for (unsigned set = 1; set < 1u << LADDER; set++) {
		const char *want = NULL;

		for (int i = LADDER - 1; i >= 0; i--) {
			int at = set % 2 == 0 ? i : LADDER - 1 - i;	/* upwards and downwards */

			sconce_conf_unset(conf, ladder[at].source, NULL);
			if (set & 1u << at)
				ck_assert_int_eq(sconce_conf_set(conf, ladder[at].source, "group", ladder[at].text), 0);
		}
		for (int i = 0; i < LADDER; i++)
			if (set & 1u << i)
				want = ladder[i].text;
		assert_apply();
		ck_assert_str_eq(opts.group, want);
		assert_get("group", 0, want);
	}
}
END_TEST

/* NS-4: lists of two sources are not joined; within one source they add up. */
START_TEST(test_apply_lists_of_sources_are_not_merged)
{
	assert_set(DEFAULT, "arr", "d");
	assert_set(RUN, "arr", "r1");
	assert_set(RUN, "arr", "r2");
	assert_apply();
	ck_assert_uint_eq(opts.arr.count, 2);
	ck_assert_str_eq(opts.arr.values[0], "r1");
	ck_assert_str_eq(opts.arr.values[1], "r2");
	assert_set(CODE, "arr", "c");
	assert_apply();
	ck_assert_uint_eq(opts.arr.count, 1);
	ck_assert_str_eq(opts.arr.values[0], "c");
	sconce_conf_unset(conf, SCONCE_CONF_CODE, "arr");
	sconce_conf_unset(conf, SCONCE_CONF_RUN, "arr");
	assert_apply();
	ck_assert_uint_eq(opts.arr.count, 1);
	ck_assert_str_eq(opts.arr.values[0], "d");
}
END_TEST

/* NS-4: of what is no list the last value of a source counts. */
START_TEST(test_set_scalar_twice_last_counts)
{
	assert_set(RUN, "user", "bling");
	assert_set(RUN, "user", "foo");
	assert_apply();
	ck_assert_str_eq(opts.user, "foo");
	assert_get("user", 1, NULL);
}
END_TEST

/* ---- tables ---- */

/* NS-5: a program adds tables of its own, into structs of its own; a name is there once. */
START_TEST(test_add_second_table_and_same_name)
{
	struct { int n; const char *motd; } mine = { 5, NULL };
	const struct sconce_conf_option more[] = {
		{ .name = "n", .kind = SCONCE_CONF_INT, .offset = offsetof(__typeof__(mine), n) },
		{ .name = "motd", .kind = SCONCE_CONF_TEXT, .offset = offsetof(__typeof__(mine), motd) },
	};
	const struct sconce_conf_option twice[] = { { .name = "new" }, { .name = "log-level" } };
	const struct sconce_conf_option itself[] = { { .name = "new" }, { .name = "new" } };

	ck_assert_int_eq(sconce_conf_add(conf, more, 2, &mine), 0);
	ck_assert_int_eq(sconce_conf_add(conf, more, 0, &mine), 0);
	ck_assert_int_eq(sconce_conf_add(conf, twice, 2, &mine), -EEXIST);
	ck_assert_int_eq(sconce_conf_add(conf, itself, 2, &mine), -EEXIST);
	ck_assert_int_eq(sconce_conf_set(conf, SCONCE_CONF_RUN, "new", "1"), -ENOENT);
	assert_set(RUN, "motd", "hello");
	assert_set(RUN, "log-level", "3");
	assert_apply();
	ck_assert_int_eq(mine.n, 5);
	ck_assert_str_eq(mine.motd, "hello");
	ck_assert_int_eq(opts.log_level, 3);
}
END_TEST

/* ---- kinds ---- */

static const struct right {
	const char *name, *text;
	double want;
} rights[] = {
	{ "setsid", "1", 1 }, { "setsid", "0", 0 }, { "setsid", "yes", 1 }, { "setsid", "No", 0 },
	{ "setsid", "ON", 1 }, { "setsid", "off", 0 }, { "setsid", "true", 1 }, { "setsid", "False", 0 },
	{ "any", "0", 0 }, { "any", "-0", 0 }, { "any", "+7", 7 }, { "any", "0x1F", 31 }, { "any", "-0xa", -10 },
	{ "any", "022", 18 }, { "any", "00", 0 }, { "any", "2147483647", 2147483647.0 },
	{ "any", "-2147483648", -2147483648.0 }, { "any", "0x7fffffff", 2147483647.0 },
	{ "umask", "-1", -1 }, { "umask", "0777", 511 }, { "log_level", "0", 0 }, { "log_level", "4", 4 },
	{ "ratio", "2.5", 2.5 }, { "ratio", "-.5", -0.5 }, { "ratio", "3.", 3 }, { "ratio", "010", 10 },
	{ "ratio", "0.1", 0.1 }, { "timeout", "0", 0 }, { "timeout", "1000000000000", 1e12 },
};

/* Values that are right for their kind come to what they say. */
START_TEST(test_apply_right_value_is_stored)
{
	const struct right *r = &rights[_i];
	bool number = strcmp(r->name, "ratio") == 0 || strcmp(r->name, "timeout") == 0;
	const char *at = NULL;
	double got;

	for (int i = 0; i < TABLE; i++)
		if (strcmp(table[i].name, r->name) == 0)
			at = (const char *)&opts + table[i].offset;
	ck_assert_ptr_nonnull(at);
	assert_set(RUN, r->name, r->text);
	assert_apply();
	got = number ? *(const double *)(const void *)at : *r->name == 's' ? *(const bool *)at :
		*(const int *)(const void *)at;
	ck_assert_msg(got == r->want, "%s=%s: %g", r->name, r->text, got);
}
END_TEST

static const struct wrong {
	const char *name, *text, *why;
} wrongs[] = {
	{ "setsid", "maybe", "'maybe' is neither yes nor no" },
	{ "setsid", "", "'' is neither yes nor no" },
	{ "setsid", "2", "'2' is neither yes nor no" },
	{ "any", "", "'' is not a whole number" },
	{ "any", "-", "'-' is not a whole number" },
	{ "any", "0x", "'0x' is not a whole number" },
	{ "any", "12x", "'12x' is not a whole number" },
	{ "any", " 1", "' 1' is not a whole number" },
	{ "any", "1 ", "'1 ' is not a whole number" },
	{ "any", "--1", "'--1' is not a whole number" },
	{ "any", "1.5", "'1.5' is not a whole number" },
	{ "any", "0b1", "'0b1' is not a whole number" },
	{ "any", "089", "'089' is not an octal number, which is what begins with 0" },
	{ "any", "2147483648", "2147483648 is not between -2147483648 and 2147483647" },
	{ "any", "-2147483649", "-2147483649 is not between -2147483648 and 2147483647" },
	{ "any", "99999999999999999999999999", "99999999999999999999999999 is not between -2147483648 and 2147483647" },
	{ "log_level", "5", "5 is not between 0 and 4" },
	{ "log_level", "-1", "-1 is not between 0 and 4" },
	{ "port", "99999999999", "99999999999 is not between 1 and 65535" },
	{ "port", "0", "0 is not between 1 and 65535" },
	{ "timeout", "-0.5", "-0.5 is less than 0" },
	{ "timeout", "-1", "-1 is less than 0" },
	{ "ratio", "nan", "'nan' is not a number" },
	{ "ratio", "inf", "'inf' is not a number" },
	{ "ratio", "-infinity", "'-infinity' is not a number" },
	{ "ratio", "0x10", "'0x10' is not a number" },
	{ "ratio", "1e3", "'1e3' is not a number" },
	{ "ratio", ".", "'.' is not a number" },
	{ "ratio", "1,5", "'1,5' is not a number" },
	{ "ratio", "1.2.3", "'1.2.3' is not a number" },
	{ "user", "bad1", "no such thing as 'bad1'" },
	{ "allow", "bad2", "no such thing as 'bad2'" },
	{ "any", "1234567890123456789012345678901234567890123456789012345678901234567890x",
		"'123456789012345678901234567890123456789012345678901234567890...' is not a whole number" },
};

/* Values that are wrong are told with what is right, and nothing is stored. */
START_TEST(test_apply_wrong_value_is_told)
{
	const struct wrong *w = &wrongs[_i];
	struct options before = opts;
	char want[300];

	assert_set(RUN, "group", "other");
	assert_set(RUN, w->name, w->text);
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	snprintf(want, sizeof(want), "the program: %s: %s\n", w->name, w->why);
	assert_errors(want);
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
}
END_TEST

/* A range may have one bound; the bounds themselves are right. */
START_TEST(test_apply_range_of_one_bound)
{
	double n = 0;
	const struct sconce_conf_option most = { .name = "most", .kind = SCONCE_CONF_NUMBER, .min = -INFINITY, .max = 2.5 };

	ck_assert_int_eq(sconce_conf_add(conf, &most, 1, &n), 0);
	assert_set(RUN, "most", "2.5");
	assert_set(RUN, "log_level", "4");
	assert_apply();
	ck_assert(n == 2.5);
	assert_set(RUN, "most", "2.6");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	assert_errors("the program: most: 2.6 is more than 2.5\n");
}
END_TEST

/* A number that no double holds is refused too. */
START_TEST(test_apply_number_overflow_is_told)
{
	char digits[400];

	memset(digits, '9', sizeof(digits) - 1);
	digits[sizeof(digits) - 1] = '\0';
	assert_set(RUN, "ratio", digits);
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	ck_assert_ptr_nonnull(strstr(sconce_conf_errors(conf), "999...' is too large a number"));
}
END_TEST

/* What did not win must be right in itself, but need not suit this machine: it is not given to `check`. */
START_TEST(test_apply_loser_is_checked_for_kind_alone)
{
	assert_set(DEFAULT, "user", "bad default");
	assert_set(ARGV, "user", "good");
	assert_apply();
	ck_assert_str_eq(opts.user, "good");
	assert_set(DEFAULT, "port", "many");
	assert_set(ARGV, "port", "1");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	assert_errors("the default: port: 'many' is not a whole number\n");
}
END_TEST

/* ---- storing ---- */

/* Members of keys that nobody said are left alone. */
START_TEST(test_apply_unsaid_member_is_left_alone)
{
	opts.port = 7;
	opts.user = "mine";
	assert_set(RUN, "group", "g");
	assert_apply();
	ck_assert_int_eq(opts.port, 7);
	ck_assert_str_eq(opts.user, "mine");
	opts.port = 8;
	assert_apply();
	ck_assert_int_eq(opts.port, 8);
}
END_TEST

/* NS-21: options are read and written while the program runs; a wrong value changes nothing, now and later. */
START_TEST(test_set_at_run_time_reads_and_writes)
{
	assert_set(ARGV, "port", "80");
	assert_apply();
	assert_set(CODE, "port", "81");
	assert_get("port", 0, "81");
	ck_assert_int_eq(opts.port, 80);
	assert_apply();
	ck_assert_int_eq(opts.port, 81);
	assert_set(CODE, "port", "x");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	ck_assert_int_eq(opts.port, 81);
	assert_get("port", 0, "81");
	sconce_conf_clear_errors(conf);
	assert_apply();
	ck_assert_int_eq(opts.port, 81);
	sconce_conf_unset(conf, SCONCE_CONF_CODE, "port");
	assert_apply();
	ck_assert_int_eq(opts.port, 80);
}
END_TEST

/* A value added to a list that is in force is gone again when it is wrong. */
START_TEST(test_set_list_at_run_time_is_undone)
{
	assert_set(CODE, "allow", "a");
	assert_set(CODE, "allow", "b");
	assert_set(CODE, "allow", "c");		/* there is room for a fourth */
	assert_apply();
	assert_set(CODE, "allow", "bad");
	assert_get("allow", 3, "bad");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	assert_get("allow", 2, "c");
	assert_get("allow", 3, NULL);
	sconce_conf_clear_errors(conf);
	assert_set(CODE, "allow", "d");
	assert_apply();
	ck_assert_uint_eq(opts.allow.count, 4);
	ck_assert_str_eq(opts.allow.values[3], "d");
}
END_TEST

/* A failed first apply keeps what was said, for there is nothing to go back to. */
START_TEST(test_apply_first_failure_keeps_what_was_said)
{
	assert_set(RUN, "user", "me");
	assert_set(RUN, "port", "x");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	ck_assert_ptr_null(opts.user);
	sconce_conf_clear_errors(conf);
	assert_set(RUN, "port", "1");
	assert_apply();
	ck_assert_str_eq(opts.user, "me");
	ck_assert_int_eq(opts.port, 1);
}
END_TEST

/* NS-45: a file read again replaces what it said; what is gone from it gets back what the member held at first. */
START_TEST(test_reload_replaces_and_takes_away)
{
	opts.group = "mine";
	opts.timeout = 1.5;
	ck_assert_int_eq(reload("user a\ngroup b\narr 1\narr 2\ntimeout 3\n"), 0);
	ck_assert_str_eq(opts.group, "b");
	ck_assert_int_eq(reload("user c\narr 3\n"), 0);
	ck_assert_str_eq(opts.user, "c");
	ck_assert_str_eq(opts.group, "mine");
	ck_assert(opts.timeout == 1.5);
	ck_assert_uint_eq(opts.arr.count, 1);
	ck_assert_str_eq(opts.arr.values[0], "3");
	ck_assert_int_eq(reload(""), 0);
	ck_assert_ptr_null(opts.user);
	ck_assert_uint_eq(opts.arr.count, 0);
}
END_TEST

static const char *const broken[] = { "user c\nport x\n", "usr c\n", "user 'c\n", "user bad\n" };
enum { BROKEN = sizeof(broken) / sizeof(broken[0]) };

/* After a reload that fails, all is as before: the structs, what is asked, and the next apply. */
START_TEST(test_reload_failure_leaves_everything)
{
	struct options before;
	char where[32];

	ck_assert_int_eq(reload("user a\narr 1\narr 2\nport 80\n"), 0);
	before = opts;
	for (size_t i = 0; i < BROKEN; i++) {
		ck_assert_int_eq(reload(broken[i]), -EINVAL);
		ck_assert_mem_eq(&opts, &before, sizeof(opts));
		assert_get("user", 0, "a");
		assert_get("arr", 1, "2");
		ck_assert_str_eq(sconce_conf_where(conf, "port", 0, where, sizeof(where)), "c:4");
	}
	unlink("c");
	sconce_conf_clear_errors(conf);
	sconce_conf_unset(conf, SCONCE_CONF_FILE, NULL);
	assert_get("user", 0, NULL);
	ck_assert_int_eq(sconce_conf_file(conf, "c", 0), -ENOENT);
	assert_get("user", 0, "a");
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
	sconce_conf_clear_errors(conf);
	assert_apply();
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
	ck_assert_str_eq(opts.arr.values[1], "2");
}
END_TEST

/* What a reload replaced can be looked at until the next one. */
START_TEST(test_apply_replaced_texts_stay_for_one_more)
{
	const char *first, *second;

	ck_assert_int_eq(reload("user first\n"), 0);
	first = opts.user;
	ck_assert_int_eq(reload("user second\n"), 0);
	second = opts.user;
	ck_assert_str_eq(first, "first");
	ck_assert_int_eq(reload("user bad\n"), -EINVAL);
	ck_assert_str_eq(first, "first");
	ck_assert_int_eq(reload("user third\n"), 0);
	ck_assert_str_eq(second, "second");
}
END_TEST

/* A value that is stored once stays, with its text, whatever is said later; a wrong one is still told. */
START_TEST(test_apply_once_is_stored_by_the_first)
{
	const char *stored;

	ck_assert_int_eq(reload("pid_file /run/a\nuser u\n"), 0);
	stored = opts.pid_file;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(reload(i % 2 == 0 ? "pid_file /run/b\nuser v\n" : "user w\n"), 0);
	ck_assert_ptr_eq(opts.pid_file, stored);
	ck_assert_str_eq(stored, "/run/a");
	ck_assert_str_eq(opts.user, "w");
}
END_TEST

/* One that nobody said at first is settled as well. */
START_TEST(test_apply_once_unsaid_stays_unsaid)
{
	opts.pid_file = "mine";
	assert_apply();
	ck_assert_int_eq(reload("pid_file /run/b\n"), 0);
	ck_assert_str_eq(opts.pid_file, "mine");
}
END_TEST

/* An apply is taken back as if it had failed; once. */
START_TEST(test_revert_restores_the_apply_before)
{
	struct options before;

	ck_assert_int_eq(reload("user a\narr 1\n"), 0);
	before = opts;
	ck_assert_int_eq(reload("user b\nport 7\narr 2\narr 3\npid_file x\n"), 0);
	ck_assert_int_eq(opts.port, 7);
	sconce_conf_revert(conf);
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
	assert_get("user", 0, "a");
	assert_get("port", 0, NULL);
	sconce_conf_revert(conf);
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
	ck_assert_int_eq(reload("user bad\n"), -EINVAL);
	ck_assert_mem_eq(&opts, &before, sizeof(opts));
	ck_assert_str_eq(opts.arr.values[0], "1");
}
END_TEST

/* What is stored once is not taken back with a later apply. */
START_TEST(test_revert_leaves_what_is_stored_once)
{
	const char *stored;

	ck_assert_int_eq(reload("pid_file /run/a\n"), 0);
	stored = opts.pid_file;
	ck_assert_int_eq(reload("pid_file /run/b\n"), 0);
	ck_assert_int_eq(reload("pid_file /run/c\n"), 0);
	sconce_conf_revert(conf);
	ck_assert_int_eq(reload("pid_file /run/d\n"), 0);
	ck_assert_ptr_eq(opts.pid_file, stored);
	ck_assert_str_eq(stored, "/run/a");
}
END_TEST

/* The first apply taken back leaves the structs as the program made them, and what was said, said. */
START_TEST(test_revert_first_apply_keeps_what_was_said)
{
	opts.port = 5;
	sconce_conf_revert(conf);
	assert_set(RUN, "port", "6");
	assert_set(RUN, "pid_file", "p");
	assert_apply();
	ck_assert_str_eq(opts.pid_file, "p");
	sconce_conf_revert(conf);
	ck_assert_int_eq(opts.port, 5);
	ck_assert_ptr_null(opts.pid_file);
	assert_set(RUN, "port", "7");
	assert_apply();
	ck_assert_int_eq(opts.port, 7);
	ck_assert_str_eq(opts.pid_file, "p");
}
END_TEST

/* A thousand reloads, good and bad, keep memory level. */
START_TEST(test_reload_thousand_times_memory_is_level)
{
	char text[400];
	size_t after_some = 0;

	for (int i = 0; i < 1100; i++) {
		snprintf(text, sizeof(text), "user u%04d\narr %04d\narr x\npid_file p%04d\nport %s\n", i, i, i,
			i % 3 == 2 ? "no" : "99");
		ck_assert_int_eq(reload(text), i % 3 == 2 ? -EINVAL : 0);
		if (i % 5 == 4)
			sconce_conf_revert(conf);
		if (i == 99)
			after_some = mallinfo2().uordblks;
	}
#ifndef __SANITIZE_ADDRESS__
	ck_assert_uint_le(mallinfo2().uordblks, after_some + 4096);
#else
	(void)after_some;
#endif
}
END_TEST

/* ---- what is told ---- */

/* Where a value was said, for every source. */
START_TEST(test_where_names_the_source)
{
	char buf[64];

	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "");
	ck_assert_str_eq(sconce_conf_where(conf, "nobody", 0, buf, sizeof(buf)), "");
	assert_set(DEFAULT, "user", "x");
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "the default");
	assert_set(FILE, "user", "x");
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "the configuration file");
	ck_assert_int_eq(read_text("\n\nuser y\narr 1\narr 2\n"), 0);
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "c:3");
	ck_assert_str_eq(sconce_conf_where(conf, "arr", 1, buf, sizeof(buf)), "c:5");
	ck_assert_str_eq(sconce_conf_where(conf, "arr", 2, buf, sizeof(buf)), "");
	ck_assert_str_eq(sconce_conf_where(conf, "arr", 1, buf, 3), "c:");
	assert_set(RUN, "user", "x");
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "the program");
	assert_set(ARGV, "user", "x");
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "the command line");
	assert_set(CODE, "user", "x");
	ck_assert_str_eq(sconce_conf_where(conf, "user", 0, buf, sizeof(buf)), "the program");
}
END_TEST

/* AC-12: what the program itself finds wrong is told with file, line and the wrong word, and stops the next apply. */
START_TEST(test_error_of_the_program_has_the_place)
{
	ck_assert_int_eq(reload("user nobody\nallow 10.0.0.0/8\n  allow = 10.0.0.0/99 # all\n"), 0);
	sconce_conf_error(conf, "allow", 1, "a prefix of %d bits: at most 32", 99);
	sconce_conf_error(conf, "group", 0, "say one");
	sconce_conf_error(conf, "what", 0, "say it");
	assert_errors("c:3:11: allow: a prefix of 99 bits: at most 32\n"
		"      allow = 10.0.0.0/99 # all\n"
		"              ^~~~~~~~~~~\n"
		"group: say one\n"
		"what: say it\n");
	ck_assert_uint_eq(sconce_conf_error_count(conf), 3);
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	sconce_conf_clear_errors(conf);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 0);
	assert_errors("");
	assert_apply();
}
END_TEST

/* Bytes that are no text cannot get into an error's line. */
START_TEST(test_error_of_control_bytes_stays_one_line)
{
	char all[256];

	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	for (int i = 0; i < 255; i += 40) {
		char piece[64];
		const char *said;

		snprintf(piece, sizeof(piece), "%.40s", all + i);
		sconce_conf_clear_errors(conf);
		assert_set(RUN, "any", piece);
		sconce_conf_apply(conf);
		said = sconce_conf_errors(conf);
		ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
		for (const char *p = said; p[1] != '\0'; p++)
			if (*p < ' ' || *p > '~')
				ck_abort_msg("byte %d is shown as %s", i, said);
	}
}
END_TEST

/* A flood of errors is told in part, and counted in full. */
START_TEST(test_errors_beyond_a_hundred_are_counted)
{
	const char *said;

	for (int i = 0; i < 150; i++)
		sconce_conf_error(conf, "user", 0, "error %d", i);
	said = sconce_conf_errors(conf);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 150);
	ck_assert_ptr_nonnull(strstr(said, "user: error 99\nand 50 more\n"));
	ck_assert_ptr_null(strstr(said, "error 100\n"));
}
END_TEST

/* Nothing of NULL, and nothing of what was never used. */
START_TEST(test_free_of_nothing_is_allowed)
{
	struct sconce_conf *other;

	sconce_conf_free(NULL);
	ck_assert_int_eq(sconce_conf_new(&other), 0);
	ck_assert_int_eq(sconce_conf_apply(other), 0);
	ck_assert_ptr_null(sconce_conf_get(other, "user", 0));
	sconce_conf_free(other);
}
END_TEST

static void
add(TCase *tc, const TTest *const *tests, size_t count)
{
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, tests[i]);
}
#define ADD(tc, ...) do { \
		const TTest *const tests_[] = { __VA_ARGS__ }; \
		add(tc, tests_, sizeof(tests_) / sizeof(tests_[0])); \
	} while (0)

Suite *
t_suite(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = t_case(s, "sources");

	ADD(tc, test_apply_strongest_source_wins, test_apply_lists_of_sources_are_not_merged,
		test_set_scalar_twice_last_counts, test_add_second_table_and_same_name);
	tc = t_case(s, "kinds");
	ADD(tc, test_apply_range_of_one_bound, test_apply_number_overflow_is_told,
		test_apply_loser_is_checked_for_kind_alone);
	tcase_add_loop_test(tc, test_apply_right_value_is_stored, 0, sizeof(rights) / sizeof(rights[0]));
	tcase_add_loop_test(tc, test_apply_wrong_value_is_told, 0, sizeof(wrongs) / sizeof(wrongs[0]));
	tc = t_case(s, "apply");
	ADD(tc, test_apply_unsaid_member_is_left_alone, test_set_at_run_time_reads_and_writes,
		test_set_list_at_run_time_is_undone,
		test_apply_first_failure_keeps_what_was_said, test_apply_once_is_stored_by_the_first,
		test_apply_once_unsaid_stays_unsaid, test_revert_restores_the_apply_before,
		test_revert_leaves_what_is_stored_once, test_revert_first_apply_keeps_what_was_said);
	tc = t_case(s, "reload");
	ADD(tc, test_reload_replaces_and_takes_away, test_reload_failure_leaves_everything,
		test_apply_replaced_texts_stay_for_one_more, test_reload_thousand_times_memory_is_level);
	tc = t_case(s, "errors");
	ADD(tc, test_where_names_the_source, test_error_of_the_program_has_the_place,
		test_error_of_control_bytes_stays_one_line, test_errors_beyond_a_hundred_are_counted,
		test_free_of_nothing_is_allowed);
	return s;
}
