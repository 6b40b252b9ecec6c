/* The pool of threads. */
#include "harness.h"
#include "one_loop.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

static int
thread_count(void)
{
	DIR *dir = opendir("/proc/self/task");
	int count = -2;			/* . and .. */

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* A thread that was joined leaves /proc a moment later. */
static bool
threads_become(int count)
{
	for (int i = 0; i < 100000 && thread_count() != count; i++)
		sched_yield();
	return thread_count() == count;
}

/* ---- a job that waits until it is let go ---- */

/* Shared by the threads of a test. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int entered, inside, peak;
	bool open;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void
gate_reset(bool open)
{
	gate.entered = gate.inside = gate.peak = 0;
	gate.open = open;
}

static void
gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void
gate_pass(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.entered++;
	if (++gate.inside > gate.peak)
		gate.peak = gate.inside;
	pthread_cond_broadcast(&gate.changed);
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.inside--;
	pthread_mutex_unlock(&gate.lock);
}

/* Until so many jobs have entered, which cannot be fewer for ever. */
static void
gate_await(int entered)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.entered < entered)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

struct job {
	int worked, done, status, order;
	pthread_t worker, finisher;
	sigset_t mask;
};

static atomic_int order;

static void
job_work(void *arg)
{
	struct job *j = arg;

	j->order = atomic_fetch_add(&order, 1);
	j->worker = pthread_self();
	pthread_sigmask(SIG_BLOCK, NULL, &j->mask);
	gate_pass();
	j->worked++;
}

static void
job_done(struct sconce_loop *l, void *arg, int status)
{
	struct job *j = arg;

	(void)l;
	j->done++;
	j->status = status;
	j->finisher = pthread_self();
}

static void
job_start(struct sconce_loop *l, struct job *j)
{
	*j = (struct job){ .status = 1 };
	ck_assert_int_eq(sconce_work(l, job_work, job_done, j), 0);
}

/* ---- work ---- */

/* The work is done elsewhere, the result is told here, and the run waits for it. */
START_TEST(test_work_done_in_loops_thread)
{
	struct job j;

	gate_reset(true);
	job_start(loop, &j);
	ck_assert_int_eq(j.done, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(j.worked, 1);
	ck_assert_int_eq(j.done, 1);
	ck_assert_int_eq(j.status, 0);
	ck_assert(!pthread_equal(j.worker, pthread_self()));
	ck_assert(pthread_equal(j.finisher, pthread_self()));
}
END_TEST

/* Signals are for the application's threads. */
START_TEST(test_work_threads_block_signals)
{
	struct job j;
	sigset_t mine;

	gate_reset(true);
	job_start(loop, &j);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(sigismember(&j.mask, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&j.mask, SIGUSR1), 1);
	pthread_sigmask(SIG_BLOCK, NULL, &mine);
	ck_assert_int_eq(sigismember(&mine, SIGUSR1), 0);
}
END_TEST

/* Four at a time and no more, begun in the order given. */
START_TEST(test_work_four_at_a_time_in_order)
{
	struct job j[12];

	gate_reset(false);
	atomic_store(&order, 0);
	for (int i = 0; i < 12; i++)
		job_start(loop, &j[i]);
	gate_await(4);
	gate_open();
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(gate.peak, 4);
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(j[i].done, 1);
		if (i < 4)
			ck_assert_int_lt(j[i].order, 4);
	}
}
END_TEST

static struct job second;

static void
start_second(struct sconce_loop *l, void *arg, int status)
{
	job_done(l, arg, status);
	job_start(l, &second);
}

/* A finished job may give another one. */
START_TEST(test_work_from_done)
{
	struct job j = { .status = 1 };

	gate_reset(true);
	ck_assert_int_eq(sconce_work(loop, job_work, start_second, &j), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(second.done, 1);
	ck_assert_int_eq(second.status, 0);
}
END_TEST

/* The first job that is cancelled wakes the loop: only then may those that run go on. */
static void
wake_and_open(void *ctx)
{
	gate_open();
	sconce_backend_libev()->wake(ctx);
}

/* Freeing the loop waits for what runs; what has not begun is cancelled; all are told once. */
START_TEST(test_work_loop_free_waits_and_cancels)
{
	struct sconce_backend be = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &be };
	struct job j[10];
	struct sconce_loop *other;
	int cancelled = 0;

	gate_reset(false);
	be.wake = wake_and_open;
	ck_assert_int_eq(sconce_loop_new(&opts, &other), 0);
	for (int i = 0; i < 10; i++)
		job_start(other, &j[i]);
	gate_await(4);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(j[i].done, 1);
		ck_assert_int_eq(j[i].status, -ECANCELED);
		cancelled += j[i].worked == 0;
	}
	ck_assert_int_eq(cancelled, 6);
}
END_TEST

/* The threads are shared, and end with the last loop that used them. */
START_TEST(test_work_threads_end_with_last_loop)
{
	struct sconce_loop *other;
	struct job j[6], k[6];
	int before = thread_count();

	gate_reset(true);
	ck_assert_int_eq(sconce_loop_new(NULL, &other), 0);
	for (int i = 0; i < 6; i++) {
		job_start(loop, &j[i]);
		job_start(other, &k[i]);
	}
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(sconce_loop_run(other), SCONCE_LOOP_IDLE);
	ck_assert_int_gt(thread_count(), before);
	ck_assert_int_le(thread_count(), before + 4);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	ck_assert_int_gt(thread_count(), before);
	job_start(loop, &j[0]);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert(threads_become(before));
	setup();
	job_start(loop, &j[0]);			/* and are made anew */
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(j[0].done, 1);
}
END_TEST

/* A thread with a loop of its own, made and freed again and again. */
static void *
busy_thread(void *arg)
{
	(void)arg;
	for (int round = 0; round < 30; round++) {
		struct sconce_loop *l;
		struct job j[5];

		if (sconce_loop_new(NULL, &l) != 0)
			return arg;
		for (int i = 0; i < 5; i++)
			job_start(l, &j[i]);
		if (round % 3 != 0 && sconce_loop_run(l) != SCONCE_LOOP_IDLE)
			return arg;
		if (sconce_loop_free(l) != 0)
			return arg;
		for (int i = 0; i < 5; i++)
			if (j[i].done != 1 || (round % 3 != 0 && j[i].status != 0))
				return arg;
	}
	return NULL;
}

/* Loops of several threads share the pool, while it ends and begins. DS-104 */
START_TEST(test_work_loops_of_several_threads)
{
	pthread_t threads[4];
	void *failed;

	gate_reset(true);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, busy_thread, &gate);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_eq(failed, NULL);
	}
}
END_TEST

/* ---- fork ---- */

static int
reap(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* The child of a fork while four jobs run and two wait: 0 when all is as it should be. */
static int
forked_child(struct job *j)
{
	double begin = t_seconds();
	int worked = 0, cancelled = 0;

	gate_reset(true);
	pthread_mutex_init(&gate.lock, NULL);
	pthread_cond_init(&gate.changed, NULL);
	if (sconce_loop_fork(loop) != 0)
		return 1;
	while (sconce_loop_step(loop, 1) >= 0 && t_seconds() - begin < 10) {
		int done = 0;

		for (int i = 0; i < 6; i++)
			done += j[i].done;
		if (done == 6)
			break;
	}
	for (int i = 0; i < 6; i++) {
		if (j[i].done != 1)
			return 2;
		worked += j[i].worked;
		cancelled += j[i].status == -ECANCELED;
	}
	if (worked != 2 || cancelled != 4)
		return 3;
	job_start(loop, &j[0]);			/* the pool works here */
	if (sconce_loop_run(loop) != SCONCE_LOOP_IDLE || j[0].status != 0)
		return 4;
	return sconce_loop_free(loop) == 0 ? 0 : 5;
}

/* A forked child has no threads: what ran is cancelled there, what waited is done; the parent notices nothing. HZ-14 */
START_TEST(test_work_fork_child_goes_on)
{
	struct job j[6];
	pid_t pid;

	gate_reset(false);
	for (int i = 0; i < 6; i++)
		job_start(loop, &j[i]);
	gate_await(4);
	pid = fork();
	if (pid == 0)
		_exit(forked_child(j));
	ck_assert_int_eq(reap(pid), 0);
	gate_open();
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(j[i].worked, 1);
		ck_assert_int_eq(j[i].done, 1);
		ck_assert_int_eq(j[i].status, 0);
	}
}
END_TEST

/* A child that makes a loop of its own has a pool of its own. HZ-14 */
START_TEST(test_work_fork_new_loop_in_child)
{
	struct job j;
	pid_t pid;

	gate_reset(true);
	job_start(loop, &j);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	pid = fork();
	if (pid == 0) {
		struct sconce_loop *mine;

		if (sconce_loop_new(NULL, &mine) != 0)
			_exit(1);
		job_start(mine, &j);
		if (sconce_loop_run(mine) != SCONCE_LOOP_IDLE || j.done != 1)
			_exit(2);
		_exit(sconce_loop_free(mine) == 0 ? 0 : 3);
	}
	ck_assert_int_eq(reap(pid), 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("work");
	TCase *t;

	t = t_case(suite, "work");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_work_done_in_loops_thread);
	tcase_add_test(t, test_work_threads_block_signals);
	tcase_add_test(t, test_work_four_at_a_time_in_order);
	tcase_add_test(t, test_work_from_done);
	tcase_add_test(t, test_work_loop_free_waits_and_cancels);
	tcase_add_test(t, test_work_threads_end_with_last_loop);
	tcase_add_test(t, test_work_loops_of_several_threads);

	t = t_case(suite, "fork");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_work_fork_child_goes_on);
	tcase_add_test(t, test_work_fork_new_loop_in_child);
	return suite;
}
