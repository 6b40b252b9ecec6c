/* Timers.  Most tests turn a loop whose clock the test moves: the real one plus `skew`. */
#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

/* ---- what the tests' timers do ---- */

struct probe {
	struct sconce_timer timer;
	int fired;
	double at;			/* sconce_now() of the last call */
	int order;			/* of the last call, among all */
	struct sconce_timer *victim;	/* stopped by the callback */
	struct sconce_timer *other;	/* started by the callback, with `secs` */
	double secs;
	bool free_self;
};

static int order;

static void
probe_fired(struct sconce_timer *t, void *arg)
{
	struct probe *p = arg;

	ck_assert_ptr_eq(t, &p->timer);
	p->fired++;
	p->at = sconce_now(loop);
	p->order = ++order;
	if (p->victim != NULL)
		sconce_timer_stop(p->victim);
	if (p->other != NULL)
		sconce_timer_start(p->other, p->secs);
	if (p->free_self)
		free(p);
}

static void
probe_init(struct probe *p)
{
	memset(p, 0, sizeof(*p));
	sconce_timer_init(&p->timer, loop, probe_fired, p);
}

/* ---- start ---- */

/* A timer sleeps until its time has come, on the real clock, and is not early. DS-37 */
START_TEST(test_start_fraction_fires_after_it)
{
	struct probe p;
	double begin = t_seconds();

	probe_init(&p);
	sconce_timer_start(&p.timer, 0.0125);
	ck_assert(sconce_timer_active(&p.timer));
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(p.fired, 1);
	ck_assert(!sconce_timer_active(&p.timer));
	ck_assert_double_ge(p.at - begin, 0.0125);
	ck_assert_double_lt(p.at - begin, 1);
}
END_TEST

/* A timer that is less than a millisecond away is not early because another is due. */
START_TEST(test_start_nearly_due_is_not_early)
{
	struct probe p[2];
	double begin;

	for (int i = 0; i < 20; i++) {	/* on a busy machine both may be due */
		probe_init(&p[0]);
		probe_init(&p[1]);
		begin = sconce_now(loop);
		sconce_timer_start(&p[0].timer, 5);
		sconce_timer_start(&p[1].timer, 5.0009);
		pass(5);
		ck_assert_int_eq(p[0].fired, 1);
		if (p[1].fired > 0)
			ck_assert_double_ge(p[1].at - begin, 5.0009);
		sconce_timer_stop(&p[1].timer);
	}
}
END_TEST

/* Timers that are due run in the order of their times, on a clock that is read once. DS-12 */
START_TEST(test_start_several_due_fire_in_time_order)
{
	struct probe p[3];
	double secs[] = { 3, 1, 2 };

	for (int i = 0; i < 3; i++) {
		probe_init(&p[i]);
		sconce_timer_start(&p[i].timer, secs[i]);
	}
	pass(1.5);
	ck_assert_int_eq(p[0].fired + p[2].fired, 0);
	ck_assert_int_eq(p[1].fired, 1);
	pass(10);
	ck_assert_int_lt(p[2].order, p[0].order);
	ck_assert_double_eq(p[2].at, p[0].at);
}
END_TEST

static struct probe equal[5];

static void
start_equal(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	for (int i = 0; i < 5; i++)
		sconce_timer_start(&equal[i].timer, 1);		/* in a hook the time stands still */
	sconce_timer_start(&equal[1].timer, 1);
}

/* Equal times fire in the order they were started. DS-37 */
START_TEST(test_start_equal_times_fire_in_order)
{
	struct sconce_timer t;

	for (int i = 0; i < 5; i++)
		probe_init(&equal[i]);
	sconce_timer_init(&t, loop, start_equal, NULL);
	sconce_timer_start(&t, 0);
	pass(0);
	pass(2);
	ck_assert_int_lt(equal[0].order, equal[2].order);
	ck_assert_int_lt(equal[2].order, equal[3].order);
	ck_assert_int_lt(equal[3].order, equal[4].order);
	ck_assert_int_lt(equal[4].order, equal[1].order);
}
END_TEST

/* 0, less and not-a-number mean the next turn, which does not sleep. HZ-13 */
START_TEST(test_start_zero_or_negative_next_turn)
{
	double secs[] = { 0, -1, -1e300, (double)NAN, -(double)INFINITY };

	for (size_t i = 0; i < sizeof(secs) / sizeof(secs[0]); i++) {
		struct probe p;
		double begin = t_seconds();

		probe_init(&p);
		sconce_timer_start(&p.timer, secs[i]);
		ck_assert_double_eq(sconce_timer_left(&p.timer), 0);
		ck_assert_int_eq(sconce_loop_step(loop, 10), 1);
		ck_assert_int_eq(p.fired, 1);
		ck_assert_double_lt(t_seconds() - begin, 5);
	}
}
END_TEST

/* A time beyond all reason is cut, and does not overflow into the past. */
START_TEST(test_start_endless_does_not_fire)
{
	struct probe p;

	probe_init(&p);
	sconce_timer_start(&p.timer, (double)INFINITY);
	pass(1e9);
	ck_assert_int_eq(p.fired, 0);
	ck_assert_double_gt(sconce_timer_left(&p.timer), 1e8);
	sconce_timer_stop(&p.timer);
}
END_TEST

/* A chain of zero timers runs once a turn, at the loop's full speed. DS-78 */
START_TEST(test_start_zero_in_own_callback_once_a_turn)
{
	struct probe p;
	double begin = t_seconds();

	probe_init(&p);
	p.other = &p.timer;
	sconce_timer_start(&p.timer, 0);
	for (int i = 1; i <= 2000; i++) {
		ck_assert_int_eq(sconce_loop_step(loop, -1), 1);
		ck_assert_int_eq(p.fired, i);
	}
	ck_assert_double_lt(t_seconds() - begin, 1.5);	/* 900 a second would take 2.2 */
	sconce_timer_stop(&p.timer);
}
END_TEST

static void
count_read(struct sconce_watch *w, unsigned events, void *arg)
{
	char byte;

	(void)events;
	ck_assert_int_eq(read(sconce_fd(&w->sock), &byte, 1), 1);
	++*(int *)arg;
}

/* A chain of zero timers does not keep the loop from its I/O. HZ-12 DS-78 */
START_TEST(test_start_zero_chain_lets_input_through)
{
	struct sconce_watch w;
	struct probe p;
	int fds[2], count = 0;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(sconce_watch_start(&w, loop, fds[0], SCONCE_READ, count_read, &count), 0);
	probe_init(&p);
	p.other = &p.timer;
	sconce_timer_start(&p.timer, 0);
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	for (int i = 0; i < 10 && count < 3; i++)
		ck_assert_int_ge(sconce_loop_step(loop, -1), 1);
	ck_assert_int_eq(count, 3);
	sconce_timer_stop(&p.timer);
	sconce_watch_stop(&w);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Starting a running timer moves it, to later and to earlier. HZ-13 */
START_TEST(test_start_running_moves_it)
{
	struct probe p, q;

	probe_init(&p);
	probe_init(&q);
	sconce_timer_start(&p.timer, 1);
	sconce_timer_start(&q.timer, 5);
	sconce_timer_start(&p.timer, 10);
	pass(2);
	ck_assert_int_eq(p.fired, 0);
	sconce_timer_start(&q.timer, 1);
	pass(1);
	ck_assert_int_eq(q.fired, 1);
	pass(7);
	ck_assert_int_eq(p.fired, 1);
}
END_TEST

/* A timer may be re-armed by its own callback. HZ-13 */
START_TEST(test_start_in_own_callback_fires_again)
{
	struct probe p;

	probe_init(&p);
	p.other = &p.timer;
	p.secs = 1;
	sconce_timer_start(&p.timer, 1);
	for (int i = 1; i <= 5; i++) {
		pass(1.5);
		ck_assert_int_eq(p.fired, i);
		ck_assert(sconce_timer_active(&p.timer));
	}
	sconce_timer_stop(&p.timer);
}
END_TEST

/* A due timer that another one moves does not fire in this turn. HZ-13 */
START_TEST(test_start_moved_while_due_waits)
{
	struct probe p, q;

	probe_init(&p);
	probe_init(&q);
	p.other = &q.timer;
	sconce_timer_start(&p.timer, 1);
	sconce_timer_start(&q.timer, 2);
	pass(3);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(q.fired, 0);
	pass(0);
	ck_assert_int_eq(q.fired, 1);
}
END_TEST

/* A callback may free the timer. HZ-1 HZ-13 */
START_TEST(test_start_freed_in_own_callback)
{
	struct probe *p = malloc(sizeof(*p));

	probe_init(p);
	p->free_self = true;
	sconce_timer_start(&p->timer, 0);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 1);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
}
END_TEST

/* A jump of the clock (a stopped process) fires what it skipped, each once. HZ-13 */
START_TEST(test_start_clock_jump_fires_each_once)
{
	struct probe p[50];

	for (int i = 0; i < 50; i++) {
		probe_init(&p[i]);
		sconce_timer_start(&p[i].timer, i * 60);
	}
	pass(1e6);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(p[i].fired, 1);
	ck_assert_int_eq(sconce_loop_step(loop, 0), 0);
}
END_TEST

/* The clock is the monotonic one: a step of the wall clock is nothing. DS-95 */
START_TEST(test_now_is_monotonic_clock)
{
	double before = t_seconds(), now = sconce_now(loop);

	ck_assert_double_ge(now, before - 1e-6);
	ck_assert_double_le(now, t_seconds() + 1e-6);
}
END_TEST

/* ---- start_every ---- */

static void
stop_third(struct sconce_timer *t, void *arg)
{
	int *count = arg;

	if (++*count == 3)
		sconce_timer_stop(t);
}

/* A beat goes on until it is stopped, which its own callback may do. HZ-13 */
START_TEST(test_start_every_until_stopped_in_callback)
{
	struct sconce_timer t;
	int count = 0;

	sconce_timer_init(&t, loop, stop_third, &count);
	sconce_timer_start_every(&t, 0.001, 0.002);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(count, 3);
	ck_assert(!sconce_timer_active(&t));
}
END_TEST

/* Missed beats are left out, and the next one is in step with those before. */
START_TEST(test_start_every_missed_beats_left_out)
{
	struct probe p;
	double left;

	probe_init(&p);
	sconce_timer_start_every(&p.timer, 10, 10);
	pass(95);				/* 10, 20 ... 90 have passed */
	ck_assert_int_eq(p.fired, 1);
	left = sconce_timer_left(&p.timer);
	ck_assert_double_gt(left, 4);
	ck_assert_double_le(left, 5);
	pass(4);
	ck_assert_int_eq(p.fired, 1);
	pass(1);
	ck_assert_int_eq(p.fired, 2);
	sconce_timer_stop(&p.timer);
}
END_TEST

/* A beat of 0 is one of 1 ms, and does not spin. */
START_TEST(test_start_every_zero_is_a_millisecond)
{
	struct probe p;

	probe_init(&p);
	sconce_timer_start_every(&p.timer, 0, 0);
	pass(0);
	ck_assert_int_eq(p.fired, 1);
	pass(0.001);
	ck_assert_int_eq(p.fired, 2);
	ck_assert_double_gt(sconce_timer_left(&p.timer), 0);
	sconce_timer_start(&p.timer, 0);	/* and once again only once */
	pass(0);
	ck_assert_int_eq(p.fired, 3);
	ck_assert(!sconce_timer_active(&p.timer));
}
END_TEST

static void
free_beat(struct sconce_timer *t, void *arg)
{
	(void)arg;
	sconce_timer_stop(t);
	free(t);
}

/* The callback of a beat may stop and free it. HZ-1 */
START_TEST(test_start_every_freed_in_own_callback)
{
	struct sconce_timer *t = malloc(sizeof(*t));

	sconce_timer_init(t, loop, free_beat, NULL);
	sconce_timer_start_every(t, 0, 1);
	pass(0);
	pass(5);
}
END_TEST

/* ---- stop ---- */

/* A stopped timer neither fires nor wakes the loop; stopping again, or after firing, is harmless. DS-37 DS-95 */
START_TEST(test_stop_neither_fires_nor_wakes)
{
	struct probe p;
	double begin;

	probe_init(&p);
	sconce_timer_stop(&p.timer);
	sconce_timer_start(&p.timer, 0.002);
	sconce_timer_stop(&p.timer);
	sconce_timer_stop(&p.timer);
	ck_assert(!sconce_timer_active(&p.timer));
	ck_assert_double_eq(sconce_timer_left(&p.timer), 0);
	begin = t_seconds();
	ck_assert_int_eq(sconce_loop_step(loop, 0.02), 0);
	ck_assert_double_ge(t_seconds() - begin, 0.0195);
	ck_assert_int_eq(p.fired, 0);
	sconce_timer_start(&p.timer, 0);
	pass(0);
	sconce_timer_stop(&p.timer);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* One due timer may stop another, and its memory may go. HZ-13 */
START_TEST(test_stop_due_one_in_callback)
{
	struct probe p, *q = malloc(sizeof(*q)), r;

	probe_init(&p);
	probe_init(q);
	probe_init(&r);
	p.victim = &q->timer;
	sconce_timer_start(&p.timer, 1);
	sconce_timer_start(&q->timer, 2);
	sconce_timer_start(&r.timer, 3);
	pass(5);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(q->fired, 0);
	ck_assert_int_eq(r.fired, 1);
	free(q);
	pass(5);
}
END_TEST

/* ---- many ---- */

enum { MANY = 2000 };

/* Any order of starts, stops and moves gives the order of the times. DS-95 */
START_TEST(test_heap_random_changes_keep_order)
{
	struct probe *p = calloc(MANY, sizeof(*p));
	int count = 0, expected = 0;
	unsigned seed = 7;

	for (int i = 0; i < MANY; i++)
		probe_init(&p[i]);
	for (int i = 0; i < MANY * 5; i++) {
		struct probe *q = &p[rand_r(&seed) % MANY];

		if (rand_r(&seed) % 4 == 0)
			sconce_timer_stop(&q->timer);
		else
			sconce_timer_start(&q->timer, 1 + rand_r(&seed) % 1000);
	}
	for (int i = 0; i < MANY; i++)
		expected += sconce_timer_active(&p[i].timer);
	for (int i = 0; i < 1100; i++)
		pass(1);
	for (int i = 0; i < MANY; i++) {
		ck_assert(!sconce_timer_active(&p[i].timer));
		count += p[i].fired;
	}
	ck_assert_int_eq(count, expected);
	free(p);
}
END_TEST

struct stamp {
	struct sconce_timer timer;
	double earliest, latest;	/* when it is due: the clock before it was started and after, and its time */
};
static double latest_begun;		/* the latest `earliest` of those that fired */
static int stamps;

static void
stamp_fired(struct sconce_timer *t, void *arg)
{
	struct stamp *s = arg;

	(void)t;
	ck_assert_double_ge(s->latest, latest_begun - 1e-6);
	latest_begun = fmax(latest_begun, s->earliest);
	stamps++;
}

/* 50 000 timers that fall due together fire in the order of their times; insertion is not linear. DS-12 DS-95 */
START_TEST(test_heap_many_due_fire_sorted)
{
	enum { COUNT = 50000 };
	struct stamp *s = calloc(COUNT, sizeof(*s));
	unsigned seed = 3;
	double begin = t_seconds();

	latest_begun = 0;
	stamps = 0;
	for (int i = 0; i < COUNT; i++) {
		double secs = rand_r(&seed) % 100000 * 0.01;

		sconce_timer_init(&s[i].timer, loop, stamp_fired, &s[i]);
		s[i].earliest = sconce_now(loop) + secs;
		sconce_timer_start(&s[i].timer, secs);
		s[i].latest = sconce_now(loop) + secs;
	}
	for (int i = 0; i < COUNT; i += 2)
		sconce_timer_stop(&s[i].timer);
	pass(2000);
	ck_assert_int_eq(stamps, COUNT / 2);
	ck_assert_double_lt(t_seconds() - begin, 5);
	free(s);
}
END_TEST

/* ---- keeping the loop, and its end ---- */

/* A running timer is something to wait for; when it has fired or stopped the run ends. */
START_TEST(test_run_ends_when_last_timer_has_gone)
{
	struct probe p, q;

	probe_init(&p);
	probe_init(&q);
	p.victim = &q.timer;
	sconce_timer_start(&p.timer, 0.002);
	sconce_timer_start_every(&q.timer, 100, 100);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(p.fired, 1);
}
END_TEST

/* Freeing the loop stops timers without firing them; stopping them afterwards is harmless. */
START_TEST(test_loop_free_stops_timers)
{
	struct probe p, q;
	struct sconce_loop *other, *mine = loop;

	ck_assert_int_eq(sconce_loop_new(NULL, &other), 0);
	loop = other;
	probe_init(&p);
	probe_init(&q);
	loop = mine;
	sconce_timer_start(&p.timer, 0);
	sconce_timer_start_every(&q.timer, 1, 1);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	ck_assert(!sconce_timer_active(&p.timer));
	sconce_timer_stop(&p.timer);
	sconce_timer_stop(&q.timer);
	ck_assert_int_eq(p.fired + q.fired, 0);
}
END_TEST

/* In an application's own ev_loop, which ends when there is nothing left. DS-104 */
START_TEST(test_start_in_application_loop)
{
	struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
	struct sconce_loop *mine = loop;
	struct probe p, q;
	double begin = t_seconds();

	ck_assert_int_eq(sconce_loop_new_ev(ev, NULL, &loop), 0);
	probe_init(&p);
	probe_init(&q);
	p.other = &q.timer;
	p.secs = 0.004;
	sconce_timer_start(&p.timer, 0.003);
	ev_run(ev, 0);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(q.fired, 1);
	ck_assert_double_ge(q.at - begin, 0.007);
	ck_assert_double_lt(q.at - begin, 1);
	p.other = &p.timer;
	p.secs = 0;
	sconce_timer_start(&p.timer, 0);
	for (int i = 0; i < 100; i++)		/* zero timers do not sleep here either */
		ev_run(ev, EVRUN_ONCE);
	ck_assert_int_ge(p.fired, 50);
	ck_assert_double_lt(t_seconds() - begin, 1);
	sconce_timer_stop(&p.timer);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ev_loop_destroy(ev);
	loop = mine;
}
END_TEST

/* ---- bind ---- */

static int destroyed;

static void
plain_destroy(struct sconce_sock *s)
{
	(void)s;
	destroyed++;
}

static const struct sconce_sock_ops plain_ops = { .name = "plain", .destroy = plain_destroy };

static void
plain_init(struct sconce_sock *s)
{
	ck_assert_int_eq(sconce_sock_init(s, loop, &plain_ops, -1), 0);
}

/* Closing the socket stops its timers at once. */
START_TEST(test_bind_close_stops_timer)
{
	struct sconce_sock s;
	struct probe p, q, r;

	plain_init(&s);
	probe_init(&p);
	probe_init(&q);
	probe_init(&r);
	ck_assert_int_eq(sconce_timer_bind(&p.timer, &s), 0);
	ck_assert_int_eq(sconce_timer_bind(&q.timer, &s), 0);
	ck_assert_int_eq(sconce_timer_bind(&r.timer, &s), 0);
	sconce_timer_start(&p.timer, 1);
	sconce_timer_start_every(&q.timer, 1, 1);
	sconce_close(&s, SCONCE_REASON_LOCAL);
	ck_assert(!sconce_timer_active(&p.timer));
	ck_assert(!sconce_timer_active(&q.timer));
	pass(5);
	ck_assert_int_eq(p.fired + q.fired + r.fired, 0);
	ck_assert_int_eq(sconce_timer_bind(&p.timer, NULL), 0);
	sconce_timer_start(&p.timer, 0);	/* of its own again */
	pass(0);
	ck_assert_int_eq(p.fired, 1);
}
END_TEST

/* Untied, or tied to another socket, it does not mind. */
START_TEST(test_bind_moved_or_untied_survives_close)
{
	struct sconce_sock s, t;
	struct probe p, q;

	plain_init(&s);
	plain_init(&t);
	probe_init(&p);
	probe_init(&q);
	sconce_timer_bind(&p.timer, &s);
	sconce_timer_bind(&q.timer, &s);
	sconce_timer_bind(&q.timer, &t);
	sconce_timer_bind(&p.timer, NULL);
	sconce_timer_start(&p.timer, 1);
	sconce_timer_start(&q.timer, 1);
	sconce_close(&s, SCONCE_REASON_LOCAL);
	ck_assert(sconce_timer_active(&p.timer));
	ck_assert(sconce_timer_active(&q.timer));
	sconce_close(&t, SCONCE_REASON_LOCAL);
	ck_assert(!sconce_timer_active(&q.timer));
	ck_assert_int_eq(sconce_timer_bind(&p.timer, &t), -EBADF);
	pass(1);
	ck_assert_int_eq(p.fired, 1);
}
END_TEST

static void
close_socket(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce_close(arg, SCONCE_REASON_LOCAL);
}

/* A timer in the object that its callback closes goes with it. HZ-1 */
START_TEST(test_bind_callback_closes_its_socket)
{
	struct owner {
		struct sconce_timer timer;
		struct sconce_sock sock;
	} o;

	destroyed = 0;
	plain_init(&o.sock);
	sconce_timer_init(&o.timer, loop, close_socket, &o.sock);
	sconce_timer_bind(&o.timer, &o.sock);
	sconce_timer_start_every(&o.timer, 1, 1);
	pass(1);
	ck_assert_int_eq(destroyed, 1);
	memset(&o, 0xff, sizeof(o));
	pass(5);
}
END_TEST

static void *
no_memory(void *ptr, size_t size, void *ctx)
{
	return size == 0 ? sconce_backend_libev()->alloc(ptr, 0, ctx) : NULL;
}

/* Without memory the timer stays as it was. HZ-22 */
START_TEST(test_bind_no_memory_reported)
{
	struct sconce_sock s;
	struct probe p;

	plain_init(&s);
	probe_init(&p);
	sconce_timer_start(&p.timer, 1);
	skewed.alloc = no_memory;
	ck_assert_int_eq(sconce_timer_bind(&p.timer, &s), -ENOMEM);
	sconce_close(&s, SCONCE_REASON_LOCAL);
	skewed.alloc = sconce_backend_libev()->alloc;
	pass(1);
	ck_assert_int_eq(p.fired, 1);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("timer");
	TCase *t;

	t = t_case(suite, "start");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_start_fraction_fires_after_it);
	tcase_add_test(t, test_start_nearly_due_is_not_early);
	tcase_add_test(t, test_start_several_due_fire_in_time_order);
	tcase_add_test(t, test_start_equal_times_fire_in_order);
	tcase_add_test(t, test_start_zero_or_negative_next_turn);
	tcase_add_test(t, test_start_endless_does_not_fire);
	tcase_add_test(t, test_start_zero_in_own_callback_once_a_turn);
	tcase_add_test(t, test_start_zero_chain_lets_input_through);
	tcase_add_test(t, test_start_running_moves_it);
	tcase_add_test(t, test_start_in_own_callback_fires_again);
	tcase_add_test(t, test_start_moved_while_due_waits);
	tcase_add_test(t, test_start_freed_in_own_callback);
	tcase_add_test(t, test_start_clock_jump_fires_each_once);
	tcase_add_test(t, test_now_is_monotonic_clock);

	t = t_case(suite, "start_every");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_start_every_until_stopped_in_callback);
	tcase_add_test(t, test_start_every_missed_beats_left_out);
	tcase_add_test(t, test_start_every_zero_is_a_millisecond);
	tcase_add_test(t, test_start_every_freed_in_own_callback);

	t = t_case(suite, "stop");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_stop_neither_fires_nor_wakes);
	tcase_add_test(t, test_stop_due_one_in_callback);

	t = t_case(suite, "heap");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_heap_random_changes_keep_order);
	tcase_add_test(t, test_heap_many_due_fire_sorted);

	t = t_case(suite, "loop");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_run_ends_when_last_timer_has_gone);
	tcase_add_test(t, test_loop_free_stops_timers);
	tcase_add_test(t, test_start_in_application_loop);

	t = t_case(suite, "bind");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_bind_close_stops_timer);
	tcase_add_test(t, test_bind_moved_or_untied_survives_close);
	tcase_add_test(t, test_bind_callback_closes_its_socket);
	tcase_add_test(t, test_bind_no_memory_reported);
	return suite;
}
