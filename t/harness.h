/* What every test program shares.  A test file t/test_<x>.c defines t_suite() and nothing else that is global;
 * main() is in harness.c.  (A test with a main() of its own keeps it: the harness is linked from an archive.)
 * CK_FORK=no and CK_RUN_CASE=<case> work as check documents them. */
#ifndef HARNESS_H
#define HARNESS_H

#include <check.h>
#include <stdbool.h>

/* The suite of this program, defined by the test file.  Called once; check frees it. */
Suite *t_suite(void);

/* Makes a case of `suite` whose every test fails if it leaves more or fewer file descriptors than it found.
 * The count is taken around the fixtures that are added to the case afterwards. */
TCase *t_case(Suite *suite, const char *name);

/* The monotonic clock; and the CPU time of this process. */
double t_seconds(void);
double t_cpu_seconds(void);

/* Adds a test that must end in SIGABRT: misuse that the library asserts.  Left out when tests do not run in
 * processes of their own (CK_FORK=no, valgrind), since it would take the others with it. */
void t_add_abort(TCase *tcase, const TTest *test);

/* How many file descriptors this process has open. */
int t_fd_count(void);

/* Whether each test runs in a process of its own. */
bool t_forks(void);

#endif
