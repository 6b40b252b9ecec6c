/* Signals. */
#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

/* How often each signal was told, and in which thread. */
static int told[NSIG];
static pthread_t told_in;

static void
setup_signals(void)
{
	memset(told, 0, sizeof(told));
	setup();
}

static void
note_signal(struct sconce_loop *l, int signo, void *arg)
{
	ck_assert_ptr_eq(l, loop);
	ck_assert_ptr_eq(arg, told);
	told[signo]++;
	told_in = pthread_self();
}

static void
want(int signo)
{
	ck_assert_int_eq(sconce_signal(loop, signo, note_signal, told), 0);
}

static void
drop(int signo)
{
	ck_assert_int_eq(sconce_signal(loop, signo, NULL, NULL), 0);
}

static void
turn(void)
{
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
}

/* Told by the loop, not in the handler; many before a turn are told once. DS-100 */
START_TEST(test_signal_told_once_from_loop)
{
	want(SIGUSR1);
	want(SIGUSR2);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	raise(SIGUSR2);
	ck_assert_int_eq(told[SIGUSR1], 0);
	ck_assert_int_eq(sconce_loop_step(loop, 10), 2);
	turn();
	ck_assert_int_eq(told[SIGUSR1], 1);
	ck_assert_int_eq(told[SIGUSR2], 1);
	raise(SIGUSR1);
	turn();
	ck_assert_int_eq(told[SIGUSR1], 2);
}
END_TEST

static void *
kill_thread(void *arg)
{
	(void)arg;
	kill(getpid(), SIGUSR1);
	return NULL;
}

/* A loop that sleeps without limit is woken, whichever thread gets the signal. DS-100 HZ-12 */
START_TEST(test_signal_wakes_sleeping_loop)
{
	pthread_t thread;
	double begin = t_seconds();

	want(SIGUSR1);
	pthread_create(&thread, NULL, kill_thread, NULL);
	for (int i = 0; i < 10 && told[SIGUSR1] == 0; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 15), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(told[SIGUSR1], 1);
	ck_assert(pthread_equal(told_in, pthread_self()));
	ck_assert_double_lt(t_seconds() - begin, 10);
}
END_TEST

static atomic_bool storm;

static void *
storm_thread(void *arg)
{
	while (atomic_load(&storm)) {
		kill(getpid(), SIGUSR1);
		kill(getpid(), SIGUSR2);
	}
	return arg;
}

static void
count_read(struct sconce_watch *w, unsigned events, void *arg)
{
	char byte;

	(void)events;
	ck_assert_int_eq(read(sconce_fd(&w->sock), &byte, 1), 1);
	++*(int *)arg;
}

/* A storm of signals loses none of the last, overflows nothing and lets input and timers through. HZ-12 */
START_TEST(test_signal_storm_lets_input_through)
{
	struct sconce_watch w;
	pthread_t thread;
	int fds[2], reads = 0, before;
	double begin = t_seconds();

	want(SIGUSR1);
	want(SIGUSR2);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(sconce_watch_start(&w, loop, fds[0], SCONCE_READ, count_read, &reads), 0);
	ck_assert_int_eq(write(fds[1], "0123456789", 10), 10);
	atomic_store(&storm, true);
	pthread_create(&thread, NULL, storm_thread, NULL);
	while ((reads < 10 || told[SIGUSR1] < 50 || told[SIGUSR2] < 50) && t_seconds() - begin < 10)
		ck_assert_int_ge(sconce_loop_step(loop, 1), 0);
	atomic_store(&storm, false);
	pthread_join(thread, NULL);
	ck_assert_int_eq(reads, 10);
	ck_assert_int_ge(told[SIGUSR2], 50);
	for (int i = 0; i < 3; i++)
		turn();
	before = told[SIGUSR1];
	kill(getpid(), SIGUSR1);
	turn();
	turn();
	ck_assert_int_eq(told[SIGUSR1], before + 1);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
	sconce_watch_stop(&w);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int old_handler_ran;

static void
old_handler(int signo)
{
	(void)signo;
	old_handler_ran++;
}

/* What was set before comes back, mask and flags included. */
START_TEST(test_signal_end_restores_disposition)
{
	struct sigaction old = { .sa_handler = old_handler, .sa_flags = SA_NODEFER }, now;

	old_handler_ran = 0;
	sigaddset(&old.sa_mask, SIGHUP);
	sigaction(SIGUSR1, &old, NULL);
	want(SIGUSR1);
	want(SIGUSR1);				/* again changes nothing of that */
	raise(SIGUSR1);
	ck_assert_int_eq(old_handler_ran, 0);
	drop(SIGUSR1);
	sigaction(SIGUSR1, NULL, &now);
	ck_assert(now.sa_handler == old_handler);
	ck_assert_int_eq(now.sa_flags & SA_NODEFER, SA_NODEFER);
	ck_assert_int_eq(sigismember(&now.sa_mask, SIGHUP), 1);
	raise(SIGUSR1);
	ck_assert_int_eq(old_handler_ran, 1);
	turn();
	ck_assert_int_eq(told[SIGUSR1], 0);	/* nobody asks any more */
	drop(SIGUSR1);
	signal(SIGUSR1, SIG_DFL);
}
END_TEST

/* So does freeing the loop; and another loop may have it then. DS-104 */
START_TEST(test_signal_belongs_to_one_loop)
{
	struct sconce_loop *other;
	struct sigaction now;

	ck_assert_int_eq(sconce_loop_new(NULL, &other), 0);
	ck_assert_int_eq(sconce_signal(other, SIGUSR1, note_signal, told), 0);
	ck_assert_int_eq(sconce_signal(loop, SIGUSR1, note_signal, told), -EBUSY);
	ck_assert_int_eq(sconce_signal(loop, SIGUSR1, NULL, NULL), -EBUSY);
	want(SIGUSR2);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	sigaction(SIGUSR1, NULL, &now);
	ck_assert(now.sa_handler == SIG_DFL);
	want(SIGUSR1);
	raise(SIGUSR1);
	turn();
	ck_assert_int_eq(told[SIGUSR1], 1);
}
END_TEST

/* It is something to wait for, until it is dropped. */
START_TEST(test_signal_keeps_run)
{
	want(SIGUSR1);
	ck_assert_int_eq(sconce_loop_step(loop, 0.001), 0);
	raise(SIGUSR1);
	sconce_loop_stop(loop);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_STOPPED);
	drop(SIGUSR1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* What is no signal, or cannot be caught, is refused; what is not set can be dropped. */
START_TEST(test_signal_refusals)
{
	int bad[] = { 0, -1, NSIG, 1000, SIGKILL, SIGSTOP, 32 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(sconce_signal(loop, bad[i], note_signal, told), -EINVAL);
	drop(SIGUSR1);
	for (int signo = 1; signo < NSIG; signo++)	/* nothing of the refusals is left */
		if (sconce_signal(loop, signo, note_signal, told) == 0)
			drop(signo);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

static void
drop_all(struct sconce_loop *l, int signo, void *arg)
{
	note_signal(l, signo, arg);
	drop(SIGUSR1);
	drop(SIGUSR2);
	want(SIGHUP);
}

/* The callback may change any registration, its own too. HZ-12 */
START_TEST(test_signal_dropped_in_callback)
{
	ck_assert_int_eq(sconce_signal(loop, SIGUSR1, drop_all, told), 0);
	ck_assert_int_eq(sconce_signal(loop, SIGUSR2, drop_all, told), 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	turn();
	turn();
	ck_assert_int_eq(told[SIGUSR1] + told[SIGUSR2], 1);
	raise(SIGHUP);
	turn();
	ck_assert_int_eq(told[SIGHUP], 1);
}
END_TEST

/* The handler leaves errno alone. */
START_TEST(test_signal_handler_keeps_errno)
{
	want(SIGUSR1);
	errno = EXDEV;
	raise(SIGUSR1);
	ck_assert_int_eq(errno, EXDEV);
	turn();
}
END_TEST

/* Whichever allocation fails, or without descriptors: refused, and the disposition is as before. HZ-22 */
START_TEST(test_signal_no_memory_reported)
{
	struct sconce_backend backend = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &backend };
	struct sconce_loop *mine = loop;
	struct sigaction now;
	struct rlimit old, low;
	int r, n = 0;

	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(sconce_signal(loop, SIGUSR1, note_signal, told), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	backend.alloc = few_allocs;
	do {
		sigaction(SIGUSR1, NULL, &now);
		ck_assert(now.sa_handler == SIG_DFL);
		allocs_left = n;
		r = sconce_signal(loop, SIGUSR1, note_signal, told);
		ck_assert(r == 0 || r == -ENOMEM);
	} while (r != 0 && n++ < 20);
	ck_assert_int_eq(r, 0);
	ck_assert_int_ge(n, 2);
	allocs_left = 1000;
	raise(SIGUSR1);
	turn();
	ck_assert_int_eq(told[SIGUSR1], 1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
}
END_TEST

/* ---- fork ---- */

/* In the child: the parent's note is not the child's, the child's own is; 0 when all is right. */
static int
forked_child(void)
{
	raise(SIGUSR2);				/* before the loop knows that it is in a child */
	if (sconce_loop_fork(loop) != 0)
		return 1;
	sconce_loop_step(loop, 0);
	sconce_loop_step(loop, 0);
	if (told[SIGUSR1] != 0)
		return 2;
	if (told[SIGUSR2] != 1)
		return 3;
	raise(SIGUSR1);
	sconce_loop_step(loop, 0);
	if (told[SIGUSR1] != 1)
		return 4;
	return sconce_loop_free(loop) == 0 ? 0 : 5;
}

/* After a fork each process has its own signals. HZ-14 */
START_TEST(test_signal_fork_parent_and_child_apart)
{
	int status;
	pid_t pid;

	want(SIGUSR1);
	want(SIGUSR2);
	turn();
	raise(SIGUSR1);				/* the parent's, not told yet */
	pid = fork();
	if (pid == 0)
		_exit(forked_child());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_int_eq(told[SIGUSR1], 1);
	ck_assert_int_eq(told[SIGUSR2], 0);
	raise(SIGUSR2);
	turn();
	ck_assert_int_eq(told[SIGUSR2], 1);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("signal");
	TCase *t;

	t = t_case(suite, "signal");
	tcase_add_checked_fixture(t, setup_signals, teardown);
	tcase_add_test(t, test_signal_told_once_from_loop);
	tcase_add_test(t, test_signal_wakes_sleeping_loop);
	tcase_add_test(t, test_signal_storm_lets_input_through);
	tcase_add_test(t, test_signal_end_restores_disposition);
	tcase_add_test(t, test_signal_belongs_to_one_loop);
	tcase_add_test(t, test_signal_keeps_run);
	tcase_add_test(t, test_signal_refusals);
	tcase_add_test(t, test_signal_dropped_in_callback);
	tcase_add_test(t, test_signal_handler_keeps_errno);
	tcase_add_test(t, test_signal_no_memory_reported);

	t = t_case(suite, "fork");
	tcase_add_checked_fixture(t, setup_signals, teardown);
	tcase_add_test(t, test_signal_fork_parent_and_child_apart);
	return suite;
}
