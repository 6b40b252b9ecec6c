/* Options on the command line, and the list of them that --help prints. */
#include "test_conf.h"

enum { MOST = 16 };

static char words[1000];
static char *argv[MOST + 2];
static int argc;

/* argv of the words of a text; argv[0] is added. */
static void
make_argv(const char *text)
{
	ck_assert_uint_lt(strlen(text), sizeof(words));
	strcpy(words, text);
	argv[0] = (char[]){ "prog" };
	argc = 1;
	for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
		ck_assert_int_le(argc, MOST);
		argv[argc++] = word;
	}
	argv[argc] = NULL;
}

/* What is left of argv, as one text. */
static const char *
left(void)
{
	static char text[1000];

	ck_assert_str_eq(argv[0], "prog");
	ck_assert_ptr_null(argv[argc]);
	text[0] = '\0';
	for (int i = 1; i < argc; i++) {
		strcat(text, i > 1 ? " " : "");
		strcat(text, argv[i]);
	}
	return text;
}

static int
take(const char *text, unsigned flags)
{
	make_argv(text);
	argv[0] = (char *)(uintptr_t)"prog";
	return sconce_conf_argv(conf, &argc, argv, flags);
}

/* ---- what is taken ---- */

static const struct {
	const char *args, *name, *want, *left;
} forms[] = {
	{ "--user=x", "user", "x", "" }, { "--user x", "user", "x", "" }, { "user=x", "user", "x", "" },
	{ "user x", "user", "x", "" }, { "--user=", "user", "", "" }, { "--user=a=b", "user", "a=b", "" },
	{ "--log-level 3", "log_level", "3", "" }, { "log-level=3", "log_level", "3", "" },
	{ "--umask -1", "umask", "-1", "" }, { "--user=--x", "user", "--x", "" }, { "--user -", "user", "-", "" },
	{ "--user a --user b", "user", "b", "" },
	/* flags take a value only behind "=" */
	{ "--background foo", "background", "1", "foo" },	/* G.5 */
	{ "--background 0", "background", "1", "0" }, { "--background=0", "background", "0", "" },
	{ "background=off", "background", "off", "" }, { "background x", "background", "1", "x" },
	{ "--no-background", "background", "0", "" }, { "--no_background", "background", "0", "" },
	{ "--background --no-background", "background", "0", "" },
	{ "--no-client-stdout", "no_client_stdout", "1", "" },
	{ "--no-no-client-stdout", "no_client_stdout", "0", "" },
	{ "no-background", "background", NULL, "no-background" },
	/* what is no option stays */
	{ "-h --user x -v file", "user", "x", "-h -v file" }, { "- a=b x", "user", NULL, "- a=b x" },
	{ "a --user x b user y c", "user", "y", "a b c" }, { "userx=1 use=r", "user", NULL, "userx=1 use=r" },
	/* "--" ends them */
	{ "--user x -- --user y port 1", "user", "x", "--user y port 1" }, { "--", "user", NULL, "" },
	{ "a -- -- b", "user", NULL, "a -- b" }, { "", "user", NULL, "" },
};

/* NS-6: every form of an option, and what stays in argv. */
START_TEST(test_argv_takes_options_and_leaves_the_rest)
{
	ck_assert_msg(take(forms[_i].args, 0) == 0, "%s", sconce_conf_errors(conf));
	assert_get(forms[_i].name, 0, forms[_i].want);
	ck_assert_str_eq(left(), forms[_i].left);
}
END_TEST

/* NS-5, G.5: the vector of Net::Server's own tests; what is undeclared stays for the program. */
START_TEST(test_argv_vector_with_run_arguments)
{
	assert_set(RUN, "port", "7");
	assert_set(RUN, "arr", "r");
	ck_assert_int_eq(take("--setsid --log_level 4 extra --foo=1 port=99 --user=x", SCONCE_CONF_KEEP_UNKNOWN), 0);
	assert_apply();
	ck_assert(opts.setsid);
	ck_assert_int_eq(opts.log_level, 4);
	ck_assert_int_eq(opts.port, 99);
	ck_assert_str_eq(opts.user, "x");
	ck_assert_uint_eq(opts.arr.count, 1);
	ck_assert_str_eq(opts.arr.values[0], "r");
	ck_assert_str_eq(left(), "extra --foo=1");
}
END_TEST

/* The texts are copied: argv may go away. */
START_TEST(test_argv_texts_are_copied)
{
	ck_assert_int_eq(take("--user me --arr a arr=b", 0), 0);
	memset(words, 'z', sizeof(words));
	assert_apply();
	ck_assert_str_eq(opts.user, "me");
	ck_assert_uint_eq(opts.arr.count, 2);
	ck_assert_str_eq(opts.arr.values[1], "b");
}
END_TEST

static const struct {
	const char *args, *left;
} kept[] = {
	{ "--foo", "--foo" }, { "--foo bar --user x", "--foo bar" }, { "--foo user x", "--foo user x" },
	{ "--foo --user x", "--foo" }, { "--foo=1 user x", "--foo=1" }, { "--foo -- --user x", "--foo -- --user x" },
	{ "a -- b", "a -- b" }, { "--no-foo port", "--no-foo port" }, { "--=x y", "--=x y" },
};

/* Options of others stay where they are, each with what may be its value, and so does the end of options. */
START_TEST(test_argv_keep_unknown_leaves_others)
{
	ck_assert_int_eq(take(kept[_i].args, SCONCE_CONF_KEEP_UNKNOWN), 0);
	ck_assert_str_eq(left(), kept[_i].left);
	ck_assert_uint_eq(sconce_conf_error_count(conf), 0);
}
END_TEST

static const struct {
	const char *args, *user, *left;
} dashed[] = {
	{ "user x", NULL, "user x" }, { "user=x", NULL, "user=x" }, { "background", NULL, "background" },
	{ "--user=x user=y user z", "x", "user=y user z" }, { "--user user port 1", "user", "port 1" },
	{ "-c user --user x", "x", "-c user" }, { "port -- --user x", NULL, "port --user x" },
	{ "--no-background user x", NULL, "user x" },
};

/* Only words with dashes are options when the program has arguments, which may be called like one. */
START_TEST(test_argv_dashes_leaves_words)
{
	ck_assert_int_eq(take(dashed[_i].args, SCONCE_CONF_DASHES), 0);
	assert_get("user", 0, dashed[_i].user);
	assert_get("port", 0, NULL);
	ck_assert_str_eq(left(), dashed[_i].left);
}
END_TEST

/* What is wrong behind dashes is so with that flag too, and with the other one it stays. */
START_TEST(test_argv_dashes_unknown_is_wrong_or_kept)
{
	ck_assert_int_eq(take("usr --usr user", SCONCE_CONF_DASHES), -EINVAL);
	assert_errors("the command line: there is no option '--usr'; did you mean '--user'?\n");
	ck_assert_str_eq(left(), "usr user");
	sconce_conf_clear_errors(conf);
	ck_assert_int_eq(take("--usr user x --user=y -- z", SCONCE_CONF_DASHES | SCONCE_CONF_KEEP_UNKNOWN), 0);
	ck_assert_str_eq(left(), "--usr user x -- z");
	assert_get("user", 0, "y");
}
END_TEST

/* ---- errors ---- */

static const struct {
	const char *args, *said;
} errors[] = {
	{ "--usr x", "the command line: there is no option '--usr'; did you mean '--user'?\n" },
	{ "--log-levle=3", "the command line: there is no option '--log-levle'; did you mean '--log_level'?\n" },
	{ "--no-client-stdot", "the command line: there is no option '--no-client-stdot'; did you mean '--no_client_stdout'?\n" },
	{ "--xyzzy=1", "the command line: there is no option '--xyzzy'\n" },
	{ "--=1", "the command line: there is no option '--'\n" },
	{ "--noxsetsid", "the command line: there is no option '--noxsetsid'; did you mean '--setsid'?\n" },
	{ "--no", "the command line: there is no option '--no'\n" },
	{ "--no-", "the command line: there is no option '--no-'\n" },
	{ "--no-user", "the command line: there is no option '--no-user'\n" },
	{ "--user", "the command line: --user needs a value\n" },
	{ "user", "the command line: user needs a value\n" },
	{ "--user --setsid",
		"the command line: --user needs a value; one that begins with -- is said by --user=\n" },
	{ "--user --", "the command line: --user needs a value; one that begins with -- is said by --user=\n" },
	{ "--no-setsid=1", "the command line: --no-setsid takes no value: say --setsid=no\n" },
	{ "--port=x", "the command line: port: 'x' is not a whole number\n" },
	{ "--background=foo", "the command line: background: 'foo' is neither yes nor no\n" },
	{ "--\x1b[2J", "the command line: there is no option '--%1B[2J'\n" },
	{ "--one --user --two", "the command line: there is no option '--one'\n"
		"the command line: --user needs a value; one that begins with -- is said by --user=\n"
		"the command line: there is no option '--two'\n" },
};

/* Every error says what was wrong and what is right, all at once. */
START_TEST(test_argv_error_is_told)
{
	int r = take(errors[_i].args, 0);

	ck_assert_int_eq(r, sconce_conf_error_count(conf) > 0 ? -EINVAL : 0);
	ck_assert_int_eq(sconce_conf_apply(conf), -EINVAL);
	assert_errors(errors[_i].said);
}
END_TEST

/* No arguments at all, not even a name. */
START_TEST(test_argv_empty_is_nothing)
{
	char *none[] = { NULL };
	int count = 0;

	ck_assert_int_eq(sconce_conf_argv(conf, &count, none, 0), 0);
	ck_assert_int_eq(count, 0);
	ck_assert_ptr_null(none[0]);
}
END_TEST

/* Random arguments: none is lost or made up, and what is wrong is told. */
START_TEST(test_argv_random_words_are_taken_or_left)
{
	static const char *const pieces[] = { "--", "-", "=", "user", "port", "setsid", "arr", "no-", "x", "1", "\xff", "\xc3\xa4",
		"--user", "--setsid", "--no-setsid", "--arr=", "_" };
	unsigned seed = 42;

	for (int i = 0; i < 5000; i++) {
		char pool[MOST][64], *args[MOST + 1], *before[MOST];
		int n = rand_r(&seed) % MOST, count = n, at = 0, r;

		for (int k = 0; k < n; k++) {
			pool[k][0] = '\0';
			for (int parts = rand_r(&seed) % 4; parts > 0; parts--)
				strcat(pool[k], pieces[(size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]))]);
			args[k] = before[k] = pool[k];
		}
		args[n] = NULL;
		sconce_conf_clear_errors(conf);
		sconce_conf_unset(conf, SCONCE_CONF_ARGV, NULL);
		r = sconce_conf_argv(conf, &count, args, (unsigned)rand_r(&seed) % 4);
		ck_assert_int_eq(r, sconce_conf_error_count(conf) > 0 ? -EINVAL : 0);
		ck_assert_int_le(count, n);
		ck_assert_ptr_null(args[count]);
		for (int k = 0; k < count; k++, at++)		/* what is left is in its order */
			while (args[k] != before[at])
				ck_assert_int_lt(++at, n);
		sconce_conf_apply(conf);
	}
}
END_TEST

/* ---- help ---- */

static const char *
help(const struct sconce_conf *of)
{
	static char text[2000];
	FILE *f = fmemopen(text, sizeof(text), "w");

	text[0] = '\0';
	sconce_conf_help(of, f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

/* Options that have a help are listed in columns, in at most 80 of them. */
START_TEST(test_help_is_aligned)
{
	static const struct sconce_conf_option more[] = {
		{ .name = "quiet", .kind = SCONCE_CONF_FLAG, .help = "say nothing" },
		{ .name = "a_very_long_name_of_an_option", .kind = SCONCE_CONF_TEXT, .value = "VALUE", .help = "stands above" },
		{ .name = "wordy", .kind = SCONCE_CONF_TEXT, .value = "X",
			.help = "goes on and on, so that it does not fit into one line of eighty columns, and not into two "
				"either, for it does not come to its end" },
		{ .name = "hidden", .kind = SCONCE_CONF_TEXT, .value = "X" },
		{ .name = "solid", .kind = SCONCE_CONF_TEXT, .value = "X",
			.help = "12345678901234567890123456789012345678901234567890123456789012345678901234567890 and more" },
		{ .name = "last", .kind = SCONCE_CONF_FLAG,
			.help = "1234567890123456789012345678901234567890123456789012345678901234567890" },
	};

	ck_assert_int_eq(sconce_conf_add(conf, more, 6, &opts), 0);
	ck_assert_str_eq(help(conf),
		"  --user=NAME   become this user after binding\n"
		"  --group=NAME  and this group\n"
		"  --quiet       say nothing\n"
		"  --a_very_long_name_of_an_option=VALUE\n"
		"                stands above\n"
		"  --wordy=X     goes on and on, so that it does not fit into one line of eighty\n"
		"                columns, and not into two either, for it does not come to its\n"
		"                end\n"
		"  --solid=X     "
		"12345678901234567890123456789012345678901234567890123456789012345678901234567890\n"
		"                and more\n"
		"  --last        1234567890123456789012345678901234567890123456789012345678901234567890\n");
}
END_TEST

/* Without options there is nothing to list. */
START_TEST(test_help_of_nothing_is_empty)
{
	struct sconce_conf *other;

	ck_assert_int_eq(sconce_conf_new(&other), 0);
	ck_assert_str_eq(help(other), "");
	sconce_conf_free(other);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("conf_argv");
	TCase *tc = t_case(s, "taken");

	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_loop_test(tc, test_argv_takes_options_and_leaves_the_rest, 0, sizeof(forms) / sizeof(forms[0]));
	tcase_add_loop_test(tc, test_argv_keep_unknown_leaves_others, 0, sizeof(kept) / sizeof(kept[0]));
	tcase_add_loop_test(tc, test_argv_dashes_leaves_words, 0, sizeof(dashed) / sizeof(dashed[0]));
	tcase_add_test(tc, test_argv_dashes_unknown_is_wrong_or_kept);
	tcase_add_test(tc, test_argv_vector_with_run_arguments);
	tcase_add_test(tc, test_argv_texts_are_copied);
	tcase_add_test(tc, test_argv_empty_is_nothing);
	tcase_add_test(tc, test_argv_random_words_are_taken_or_left);
	tc = t_case(s, "errors");
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_loop_test(tc, test_argv_error_is_told, 0, sizeof(errors) / sizeof(errors[0]));
	tc = t_case(s, "help");
	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_test(tc, test_help_is_aligned);
	tcase_add_test(tc, test_help_of_nothing_is_empty);
	return s;
}
