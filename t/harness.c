/* main() of the test programs, and the little that they share. */
#include "harness.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int
t_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count - 3;		/* ".", ".." and the directory itself */
}

bool
t_forks(void)
{
	const char *fork = getenv("CK_FORK");

	return fork == NULL || strcmp(fork, "no") != 0;
}

static double
clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double
t_seconds(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

double
t_cpu_seconds(void)
{
	return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

void
t_add_abort(TCase *tcase, const TTest *test)
{
	if (t_forks())
		tcase_add_test_raise_signal(tcase, test, SIGABRT);
}

/* Of the test that runs: check runs one at a time in a process. */
static int fds_before;

static void
count_fds(void)
{
	fds_before = t_fd_count();
}

static void
compare_fds(void)
{
	ck_assert_msg(t_fd_count() == fds_before, "%d file descriptors before, %d after",
		fds_before, t_fd_count());
}

TCase *
t_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, count_fds, compare_fds);
	suite_add_tcase(suite, tcase);
	return tcase;
}

/* Weak, both: a test may bring a main() and no suite, and still use the functions above. */
#pragma weak t_suite
#pragma weak main

int
main(void)
{
	SRunner *runner = srunner_create(t_suite());
	int before = t_fd_count(), after, failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	after = t_fd_count();
	if (after != before) {
		printf("%d file descriptors before the tests, %d after\n", before, after);
		failed++;
	}
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
