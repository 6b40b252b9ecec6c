/* Posts from other threads, and deferred calls that never end. */
#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/sconce.h>

/* What the calls of a test note. */
struct note {
	int ran, status;
	pthread_t thread;
};

static void
note_call(struct sconce_loop *l, void *arg, int status)
{
	struct note *n = arg;

	ck_assert_ptr_eq(l, loop);
	n->ran++;
	n->status = status;
	n->thread = pthread_self();
}

/* ---- one at a time ---- */

/* It runs once, in the loop's thread and never inside the call. */
START_TEST(test_post_same_thread_runs_later)
{
	struct note n = { .status = 1 };

	ck_assert_int_eq(sconce_post(loop, note_call, &n), 0);
	ck_assert_int_eq(n.ran, 0);
	ck_assert_int_eq(sconce_loop_step(loop, 10), 1);
	ck_assert_int_eq(n.ran, 1);
	ck_assert_int_eq(n.status, 0);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
	ck_assert_int_eq(n.ran, 1);
}
END_TEST

static void *
post_thread(void *arg)
{
	ck_assert_int_eq(sconce_post(loop, note_call, arg), 0);
	return NULL;
}

/* A loop that sleeps without limit is woken. HZ-12 */
START_TEST(test_post_other_thread_wakes_loop)
{
	struct note n = { .ran = 0 };
	pthread_t thread;
	double begin = t_seconds();

	sconce_loop_ref(loop);
	pthread_create(&thread, NULL, post_thread, &n);
	for (int i = 0; i < 10 && n.ran == 0; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 15), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(n.ran, 1);
	ck_assert(pthread_equal(n.thread, pthread_self()));
	ck_assert_double_lt(t_seconds() - begin, 10);
	sconce_loop_unref(loop);
}
END_TEST

/* A post that was made before the run is work: the run does not end before it. HZ-12 */
START_TEST(test_post_before_run_is_run)
{
	struct note n = { .ran = 0 };

	ck_assert_int_eq(sconce_post(loop, note_call, &n), 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(n.ran, 1);
}
END_TEST

/* Freeing the loop runs what is left, cancelled. */
START_TEST(test_post_loop_free_cancels)
{
	struct sconce_loop *mine = loop;
	struct note n[3] = { { .ran = 0 } };

	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sconce_post(loop, note_call, &n[i]), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(n[i].ran, 1);
		ck_assert_int_eq(n[i].status, -ECANCELED);
	}
}
END_TEST

static void
post_again(struct sconce_loop *l, void *arg, int status)
{
	int *ran = arg;

	(void)status;
	++*ran;
	ck_assert_int_eq(sconce_post(l, post_again, arg), 0);
}

/* One that posts itself for ever, also when it is cancelled, does not keep the loop from being freed. HZ-12 */
START_TEST(test_post_for_ever_loop_is_freed)
{
	struct sconce_loop *mine = loop;
	int ran = 0;

	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	post_again(loop, &ran, 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	ck_assert_int_ge(ran, 2);
}
END_TEST

/* ---- starving ---- */

struct starved {
	struct sconce_watch watch;
	struct sconce_timer timer;
	int fds[2], reads, timers;
};

static void
starved_read(struct sconce_watch *w, unsigned events, void *arg)
{
	struct starved *s = arg;
	char byte;

	(void)w;
	(void)events;
	ck_assert_int_eq(read(s->fds[0], &byte, 1), 1);
	s->reads++;
}

static void
starved_timer(struct sconce_timer *t, void *arg)
{
	struct starved *s = arg;

	(void)t;
	s->timers++;
}

static void
starved_init(struct starved *s)
{
	memset(s, 0, sizeof(*s));
	ck_assert_int_eq(pipe(s->fds), 0);
	ck_assert_int_eq(sconce_watch_start(&s->watch, loop, s->fds[0], SCONCE_READ, starved_read, s), 0);
	ck_assert_int_eq(write(s->fds[1], "abcde", 5), 5);
	sconce_timer_init(&s->timer, loop, starved_timer, s);
	sconce_timer_start(&s->timer, 0.001);
}

/* Turns until input and timer have had their due; each turn runs the endless call once. */
static void
starved_run(struct starved *s, const int *ran)
{
	double begin = t_seconds();
	int before = *ran, turns = 0;

	while ((s->reads < 5 || s->timers < 1) && t_seconds() - begin < 5) {
		ck_assert_int_ge(sconce_loop_step(loop, -1), 1);
		turns++;
	}
	ck_assert_int_eq(s->reads, 5);
	ck_assert_int_eq(s->timers, 1);
	ck_assert_int_ge(*ran - before, turns - 1);
	ck_assert_int_le(*ran - before, turns + 1);
	sconce_watch_stop(&s->watch);
	close(s->fds[0]);
	close(s->fds[1]);
}

static bool stop_it;

static void
post_until_stopped(struct sconce_loop *l, void *arg, int status)
{
	(void)status;
	++*(int *)arg;
	if (!stop_it)
		ck_assert_int_eq(sconce_post(l, post_until_stopped, arg), 0);
}

/* A call that posts itself runs once a turn, and I/O and timers have theirs. HZ-12 */
START_TEST(test_post_for_ever_starves_nobody)
{
	static struct starved s;
	int ran = 0;

	stop_it = false;
	starved_init(&s);
	post_until_stopped(loop, &ran, 0);
	starved_run(&s, &ran);
	stop_it = true;
	sconce_loop_step(loop, 0);
	sconce_loop_step(loop, 0);
}
END_TEST

static void
defer_until_stopped(struct sconce_loop *l, void *arg, int status)
{
	(void)status;
	++*(int *)arg;
	if (!stop_it)
		ck_assert_int_eq(sconce_defer(l, NULL, defer_until_stopped, arg), 0);
}

/* The same for a deferred call. HZ-12 DS-101 */
START_TEST(test_defer_for_ever_starves_nobody)
{
	static struct starved s;
	int ran = 0;

	stop_it = false;
	starved_init(&s);
	defer_until_stopped(loop, &ran, 0);
	starved_run(&s, &ran);
	stop_it = true;
	sconce_loop_step(loop, 0);
	sconce_loop_step(loop, 0);
}
END_TEST

/* ---- many threads ---- */

enum { THREADS = 8, POSTS = 5000 };

struct poster {
	pthread_t thread;
	int expected;			/* the next number */
	struct numbered {
		struct poster *poster;
		int number;
	} call[POSTS];
};

static int arrived;

static void
numbered_call(struct sconce_loop *l, void *arg, int status)
{
	struct numbered *n = arg;

	(void)l;
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(n->number, n->poster->expected);
	n->poster->expected++;
	arrived++;
}

static void *
poster_thread(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++) {
		p->call[i] = (struct numbered){ .poster = p, .number = i };
		if (sconce_post(loop, numbered_call, &p->call[i]) != 0)
			return p;
	}
	return NULL;
}

/* Posts of eight threads: each arrives exactly once, those of a thread in its order, and none lies there asleep. HZ-12 */
START_TEST(test_post_eight_threads_in_order)
{
	struct poster *p = calloc(THREADS, sizeof(*p));
	double begin = t_seconds();

	arrived = 0;
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&p[i].thread, NULL, poster_thread, &p[i]), 0);
	while (arrived < THREADS * POSTS && t_seconds() - begin < 15)
		ck_assert_int_ge(sconce_loop_step(loop, 15), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(p[i].thread, &failed);
		ck_assert_ptr_eq(failed, NULL);
		ck_assert_int_eq(p[i].expected, POSTS);
	}
	ck_assert_int_eq(arrived, THREADS * POSTS);
	ck_assert_double_lt(t_seconds() - begin, 14);
	free(p);
}
END_TEST

/* ---- loops on several threads ---- */

enum { ROUNDS = 300 };

/* Two loops, each in its thread, throw a ball to each other. */
struct player {
	struct sconce_loop *loop;
	struct player *other;
	int caught;
	pthread_t thread;
};

static void
player_catch(struct sconce_loop *l, void *arg, int status)
{
	struct player *p = arg;

	ck_assert_ptr_eq(l, p->loop);
	ck_assert_int_eq(status, 0);
	p->caught++;
	if (p->caught + p->other->caught < 2 * ROUNDS)	/* only the one with the ball looks */
		sconce_post(p->other->loop, player_catch, p->other);
}

static void *
player_thread(void *arg)
{
	struct player *p = arg;

	for (int i = 0; i < 10 * ROUNDS && p->caught < ROUNDS; i++)
		sconce_loop_step(p->loop, 5);
	return NULL;
}

/* One loop per thread just works. DS-104 */
START_TEST(test_post_between_loops_of_two_threads)
{
	struct player p[2] = { { .other = &p[1] }, { .other = &p[0] } };

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(sconce_loop_new(NULL, &p[i].loop), 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&p[i].thread, NULL, player_thread, &p[i]);
	ck_assert_int_eq(sconce_post(p[0].loop, player_catch, &p[0]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(p[i].thread, NULL);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(p[i].caught, ROUNDS);
		ck_assert_int_eq(sconce_loop_free(p[i].loop), 0);
	}
}
END_TEST

/* ---- texts ---- */

/* Errors have a text whatever their sign, and what is none has one too. */
START_TEST(test_strerror_any_number)
{
	ck_assert_str_eq(sconce_strerror(ENOENT), "No such file or directory");
	ck_assert_str_eq(sconce_strerror(-ENOENT), "No such file or directory");
	ck_assert_str_eq(sconce_strerror(0), "Success");
	ck_assert_str_eq(sconce_strerror(100000), "unknown error");
	ck_assert_str_eq(sconce_strerror(-2147483647 - 1), "unknown error");
	ck_assert_str_eq(sconce_version(), SCONCE_VERSION);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("post");
	TCase *t;

	t = t_case(suite, "post");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_post_same_thread_runs_later);
	tcase_add_test(t, test_post_other_thread_wakes_loop);
	tcase_add_test(t, test_post_before_run_is_run);
	tcase_add_test(t, test_post_loop_free_cancels);
	tcase_add_test(t, test_post_for_ever_loop_is_freed);

	t = t_case(suite, "starving");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_post_for_ever_starves_nobody);
	tcase_add_test(t, test_defer_for_ever_starves_nobody);

	t = t_case(suite, "threads");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_post_eight_threads_in_order);
	tcase_add_test(t, test_post_between_loops_of_two_threads);

	t = t_case(suite, "texts");
	tcase_add_test(t, test_strerror_any_number);
	return suite;
}
