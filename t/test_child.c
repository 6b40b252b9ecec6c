/* Children. */
#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

/* What was told of a child. */
struct note {
	int told, status;
	pid_t pid;
};

static void
note_child(struct sconce_loop *l, pid_t pid, int status, void *arg)
{
	struct note *n = arg;

	ck_assert_ptr_eq(l, loop);
	n->told++;
	n->pid = pid;
	n->status = status;
}

static pid_t
exiting(int code)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(code);
	ck_assert_int_gt(pid, 0);
	return pid;
}

/* A child that lives until it is killed. */
static pid_t
sleeping(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 20; i++)
			sleep(1);
		_exit(0);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void
await_zombie(pid_t pid)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void
end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* Its end is told with its status, it is reaped, and the run waits for it. DS-100 */
START_TEST(test_child_exit_told_with_status)
{
	struct note n = { .told = 0 };
	pid_t pid = exiting(7);

	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(n.pid, pid);
	ck_assert(WIFEXITED(n.status));
	ck_assert_int_eq(WEXITSTATUS(n.status), 7);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
	ck_assert_int_eq(sconce_child_cancel(loop, pid), -ENOENT);
}
END_TEST

/* One that is dead already, and one that is killed while the loop sleeps. DS-100 */
START_TEST(test_child_dead_or_killed_told)
{
	struct note n = { .told = 0 }, m = { .told = 0 };
	pid_t dead = exiting(0), alive = sleeping();

	await_zombie(dead);
	ck_assert_int_eq(sconce_child(loop, dead, note_child, &n), 0);
	ck_assert_int_eq(sconce_child(loop, alive, note_child, &m), 0);
	ck_assert_int_eq(sconce_loop_step(loop, 10), 1);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(m.told, 0);
	kill(alive, SIGUSR1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert(WIFSIGNALED(m.status));
	ck_assert_int_eq(WTERMSIG(m.status), SIGUSR1);
}
END_TEST

/* Only the one that was asked for is reaped, and SIGCHLD is not touched. */
START_TEST(test_child_others_are_left_alone)
{
	struct note n = { .told = 0 };
	struct sigaction action;
	pid_t ours = exiting(1), other = exiting(2);
	int status;

	await_zombie(other);
	ck_assert_int_eq(sconce_child(loop, ours, note_child, &n), 0);
	sigaction(SIGCHLD, NULL, &action);
	ck_assert(action.sa_handler == SIG_DFL);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(waitpid(other, &status, WNOHANG), other);
	ck_assert_int_eq(WEXITSTATUS(status), 2);
}
END_TEST

/* Strangers are refused: no process, not ours, ourselves; so is one that is watched already. */
START_TEST(test_child_not_ours_refused)
{
	struct note n = { .told = 0 };
	pid_t pid = sleeping(), bad[] = { 0, -1, 1, getpid(), getppid(), 1 << 30 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(sconce_child(loop, bad[i], note_child, &n), -ECHILD);
	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), -EEXIST);
	ck_assert_int_eq(sconce_child_cancel(loop, pid), 0);
	end_child(pid);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* A cancelled one is neither told nor reaped. */
START_TEST(test_child_cancel_leaves_it)
{
	struct note n = { .told = 0 };
	pid_t pid = exiting(3);
	int status;

	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	await_zombie(pid);
	ck_assert_int_eq(sconce_child_cancel(loop, pid), 0);
	ck_assert_int_eq(sconce_child_cancel(loop, pid), -ENOENT);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WEXITSTATUS(status), 3);
	ck_assert_int_eq(n.told, 0);
}
END_TEST

static struct note nested;

static void
start_another(struct sconce_loop *l, pid_t pid, int status, void *arg)
{
	note_child(l, pid, status, arg);
	ck_assert_int_eq(sconce_child(l, exiting(9), note_child, &nested), 0);
}

/* The callback may watch another, or cancel others that are due. HZ-1 */
START_TEST(test_child_new_one_in_callback)
{
	struct note n = { .told = 0 };

	nested.told = 0;
	ck_assert_int_eq(sconce_child(loop, exiting(0), start_another, &n), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(nested.told, 1);
	ck_assert_int_eq(WEXITSTATUS(nested.status), 9);
}
END_TEST

static pid_t pair[2];

static void
cancel_pair(struct sconce_loop *l, pid_t pid, int status, void *arg)
{
	note_child(l, pid, status, arg);
	ck_assert_int_eq(sconce_child_cancel(l, pair[pid == pair[0]]), 0);
}

/* Two that are due: the first cancels the second. HZ-1 */
START_TEST(test_child_cancelled_by_other_of_batch)
{
	struct note n = { .told = 0 };
	int reaped = 0;

	for (int i = 0; i < 2; i++) {
		pair[i] = exiting(0);
		await_zombie(pair[i]);
		ck_assert_int_eq(sconce_child(loop, pair[i], cancel_pair, &n), 0);
	}
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	for (int i = 0; i < 2; i++)
		reaped += waitpid(pair[i], NULL, WNOHANG) == pair[i];
	ck_assert_int_eq(reaped, 1);
}
END_TEST

/* Somebody else reaps it: that it has ended is told all the same. */
START_TEST(test_child_reaped_by_somebody_else_told)
{
	struct note n = { .told = 0 };
	pid_t pid = sleeping();

	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	end_child(pid);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(n.status, -ECHILD);
}
END_TEST

enum { MANY = 100 };

/* A hundred at once are all told, each once. */
START_TEST(test_child_many)
{
	static struct note n[MANY];

	memset(n, 0, sizeof(n));
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(sconce_child(loop, exiting(i), note_child, &n[i]), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(n[i].told, 1);
		ck_assert_int_eq(WEXITSTATUS(n[i].status), i);
	}
}
END_TEST

/* Freeing the loop tells that nothing will come; the child lives on. */
START_TEST(test_child_loop_free_cancels)
{
	struct note n = { .told = 0 };
	pid_t pid = sleeping();
	struct sconce_loop *mine = loop;

	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(n.status, -ECANCELED);
	end_child(pid);
}
END_TEST

struct runner {
	pthread_t thread;
	int result;
};

static void
runner_told(struct sconce_loop *l, pid_t pid, int status, void *arg)
{
	(void)l;
	(void)pid;
	*(int *)arg = WEXITSTATUS(status);
}

static void *
runner_main(void *arg)
{
	struct runner *r = arg;
	struct sconce_loop *l;

	for (int i = 1; i <= 20; i++) {
		int code = 0;

		if (sconce_loop_new(NULL, &l) != 0 || sconce_child(l, exiting(i), runner_told, &code) != 0)
			return NULL;
		sconce_loop_run(l);
		sconce_loop_free(l);
		r->result += code == i;
	}
	return NULL;
}

/* Any loop of the process may do it, at the same time. DS-104 */
START_TEST(test_child_loops_of_several_threads)
{
	struct runner r[3] = { { .result = 0 } };

	for (int i = 0; i < 3; i++)
		pthread_create(&r[i].thread, NULL, runner_main, &r[i]);
	for (int i = 0; i < 3; i++) {
		pthread_join(r[i].thread, NULL);
		ck_assert_int_eq(r[i].result, 20);
	}
}
END_TEST

/* No descriptor left: refused, with nothing left behind. */
START_TEST(test_child_no_descriptors_reported)
{
	struct note n = { .told = 0 };
	struct rlimit old, low;
	pid_t pid = sleeping();

	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), -EMFILE);
	ck_assert_int_eq(sconce_signal(loop, SIGUSR1, NULL, NULL), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	end_child(pid);
}
END_TEST

/* Whichever allocation fails: refused, and nothing is told. HZ-22 */
START_TEST(test_child_no_memory_reported)
{
	struct sconce_backend backend = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &backend };
	struct sconce_loop *mine = loop;
	struct note n = { .told = 0 };
	pid_t pid = exiting(4);
	int r, count = 0;

	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	backend.alloc = few_allocs;
	do {
		allocs_left = count;
		r = sconce_child(loop, pid, note_child, &n);
		ck_assert(r == 0 || r == -ENOMEM);
	} while (r != 0 && count++ < 20);
	allocs_left = 1000;
	ck_assert_int_eq(r, 0);
	ck_assert_int_ge(count, 2);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(WEXITSTATUS(n.status), 4);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
}
END_TEST

/* ---- fork ---- */

static int
forked_child(struct note *n)
{
	int code = 0;

	if (sconce_loop_fork(loop) != 0)
		return 1;
	if (n->told != 0)
		return 2;			/* not inside that call */
	if (sconce_loop_run(loop) != SCONCE_LOOP_IDLE)
		return 3;
	if (n->told != 1 || n->status != -ECANCELED)
		return 4;
	if (sconce_child(loop, exiting(5), runner_told, &code) != 0)
		return 5;
	if (sconce_loop_run(loop) != SCONCE_LOOP_IDLE || code != 5)
		return 6;
	return sconce_loop_free(loop) == 0 ? 0 : 7;
}

/* The children of the parent are not the child's: told once, cancelled, there; the parent's go on. HZ-14 */
START_TEST(test_child_fork_parent_keeps_them)
{
	struct note n = { .told = 0 };
	pid_t pid = sleeping(), fork_pid;
	int status;

	ck_assert_int_eq(sconce_child(loop, pid, note_child, &n), 0);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
	fork_pid = fork();
	if (fork_pid == 0)
		_exit(forked_child(&n));
	ck_assert_int_eq(waitpid(fork_pid, &status, 0), fork_pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.told, 1);
	ck_assert_int_eq(WTERMSIG(n.status), SIGKILL);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("child");
	TCase *t;

	t = t_case(suite, "child");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_child_exit_told_with_status);
	tcase_add_test(t, test_child_dead_or_killed_told);
	tcase_add_test(t, test_child_others_are_left_alone);
	tcase_add_test(t, test_child_not_ours_refused);
	tcase_add_test(t, test_child_cancel_leaves_it);
	tcase_add_test(t, test_child_new_one_in_callback);
	tcase_add_test(t, test_child_cancelled_by_other_of_batch);
	tcase_add_test(t, test_child_reaped_by_somebody_else_told);
	tcase_add_test(t, test_child_many);
	tcase_add_test(t, test_child_loop_free_cancels);
	tcase_add_test(t, test_child_loops_of_several_threads);
	tcase_add_test(t, test_child_no_descriptors_reported);
	tcase_add_test(t, test_child_no_memory_reported);

	t = t_case(suite, "fork");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_child_fork_parent_keeps_them);
	return suite;
}
