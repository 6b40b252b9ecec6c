/* The configuration without memory: allocation number n fails, for every n of a short life.  What fails says so and has
 * changed nothing, and nothing leaks.  HZ-22 */
#include "starve.h"

#include "test_conf.h"

#include <malloc.h>

enum { MAX_N = 400, ARGS = 6, ERRORS = 12 };

static const char *const words[ARGS] = { "prog", "--user", "argv", "rest", "arr=1", "--arr=2" };

/* check allocates when it asserts, so what the run has seen waits until memory is back. */
static struct {
	bool failed, wrong;		/* a call has said -ENOMEM; something was not as promised */
} v;

/* Whether a call has worked; it may fail for want of memory alone. */
static bool
ok(int r)
{
	v.failed |= r == -ENOMEM;
	v.wrong |= r != 0 && r != -ENOMEM;
	return r == 0;
}

static void
expect(bool right)
{
	v.wrong |= !right;
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The command line: all of it is taken, or nothing. */
static void
live_argv(struct sconce_conf *c)
{
	char *argv[ARGS + 1];
	int argc = ARGS;

	for (int i = 0; i < ARGS; i++)
		argv[i] = (char *)(uintptr_t)words[i];
	argv[ARGS] = NULL;
	if (ok(sconce_conf_argv(c, &argc, argv, 0))) {
		expect(argc == 2 && same(argv[1], "rest") && argv[2] == NULL);
		expect(same(sconce_conf_get(c, "user", 0), "argv") && same(sconce_conf_get(c, "arr", 1), "2"));
		return;
	}
	expect(argc == ARGS && argv[ARGS] == NULL);
	for (int i = 0; i < ARGS; i++)
		expect(argv[i] == words[i]);
	expect(sconce_conf_get(c, "user", 0) == NULL && sconce_conf_get(c, "arr", 0) == NULL);
}

/* A file: all of it is said, or nothing, and then there is an error, with which an apply fails. */
static void
live_file(struct sconce_conf *c, struct options *o)
{
	struct options before = *o;

	sconce_conf_clear_errors(c);
	sconce_conf_unset(c, SCONCE_CONF_FILE, NULL);
	if (ok(sconce_conf_file(c, "c", 0))) {
		expect(sconce_conf_error_count(c) == 0);
		expect(ok(sconce_conf_apply(c)));
		expect(o->port == 80 && same(o->group, "file") && o->allow.count == 3 && same(o->allow.values[2], "c"));
		return;
	}
	expect(sconce_conf_error_count(c) == 1);
	expect(sconce_conf_apply(c) == -EINVAL);
	expect(memcmp(o, &before, sizeof(before)) == 0);
	expect(before.group == NULL || same(sconce_conf_get(c, "group", 0), before.group));
	expect(before.group != NULL || !same(sconce_conf_get(c, "group", 0), "file"));
}

/* Errors that find no room are counted all the same, and that is said. */
static void
live_errors(struct sconce_conf *c)
{
	const char *said;

	sconce_conf_clear_errors(c);
	for (int i = 0; i < ERRORS; i++)
		sconce_conf_error(c, "group", 0, "%0100d", i);
	said = sconce_conf_errors(c);
	expect(sconce_conf_error_count(c) == ERRORS);
	expect(strncmp(said, "group: 000", 10) == 0 || strncmp(said, "c:2:7: group: 000", 17) == 0);
	expect(said[strlen(said) - 1] == '\n');
	if (strstr(said, "00011\n") == NULL) {
		expect(strstr(said, " more: there is no memory to tell them\n") != NULL);
		v.failed = true;
	}
}

static void
live(struct options *o)
{
	struct sconce_conf *c = NULL;

	memset(o, 0, sizeof(*o));
	if (!ok(sconce_conf_new(&c))) {
		expect(c == NULL);
		return;
	}
	if (ok(sconce_conf_add(c, table, TABLE - 1, o))) {
		ok(sconce_conf_add(c, table + TABLE - 1, 1, o));
		ok(sconce_conf_set(c, SCONCE_CONF_DEFAULT, "group", "default"));
		live_argv(c);
		live_file(c, o);
		live_file(c, o);
		sconce_conf_revert(c);
		live_file(c, o);
		live_errors(c);
	}
	sconce_conf_free(c);
}

/* Every allocation fails once. */
static int
sweep(void)
{
	struct options o;

	for (int n = 1; n <= MAX_N; n++) {
		long failed = starve_failed;

		v.failed = v.wrong = false;
		starve_left = n;
		live(&o);
		starve_left = 0;
		ck_assert_msg(!v.wrong, "allocation %d", n);
		ck_assert_msg(v.failed == (starve_failed > failed), "allocation %d failed, and nobody has said so", n);
		if (starve_failed == failed)
			return n;
	}
	ck_abort_msg("more than %d allocations", MAX_N);
	return 0;
}

/* Each allocation fails once, and memory is level afterwards. */
START_TEST(test_conf_each_allocation_fails_once)
{
	enum { SWEEPS = 30 };
	size_t used;

	file_text("port 80\ngroup file\nallow a\nallow b\nallow c\n");
	if (!STARVE_WORKS)
		return;
	for (int i = 0; i < SWEEPS; i++)	/* malloc() fills its caches */
		ck_assert_int_gt(sweep(), 20);
	used = mallinfo2().uordblks;
	for (int i = 0; i < SWEEPS; i++)
		sweep();
	ck_assert_uint_le(mallinfo2().uordblks, used + 256);
}
END_TEST

/* The same with all the memory there is: this is what the sweep expects. */
START_TEST(test_conf_with_memory_nothing_fails)
{
	struct options o;

	file_text("port 80\ngroup file\nallow a\nallow b\nallow c\n");
	live(&o);
	ck_assert(!v.failed);
	ck_assert(!v.wrong);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("conf_oom");
	TCase *tc = t_case(s, "memory");

	tcase_add_checked_fixture(tc, conf_setup, conf_teardown);
	tcase_add_test(tc, test_conf_with_memory_nothing_fails);
	tcase_add_test(tc, test_conf_each_allocation_fails_once);
	return s;
}
