/* Danga::Socket's 05-postloop, with its seconds scaled to `UNIT`.  Of its 17 assertions each has a counterpart here. */
#include "harness.h"
#include "pair.h"

#include <stdlib.h>

static struct pair p;
static const double UNIT = 0.025;

static bool
count_to_four(struct sconce_loop *l, void *arg)
{
	(void)l;
	return ++*(int *)arg < 4;
}

/* No sockets, a loop timeout, a callback that says no at the fourth call: exactly four calls, four timeouts long.
 * (DS-105, DS-36, DS-38) */
START_TEST(test_postloop_timeout_four_calls)
{
	int calls = 0;
	double begin = t_seconds(), took;

	pair_open_loop(&p, NULL);
	sconce_loop_set_timeout(p.loop, UNIT);
	ck_assert_int_eq(sconce_post_loop_add(p.loop, count_to_four, &calls), 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	took = t_seconds() - begin;
	ck_assert_int_eq(calls, 4);
	ck_assert_double_ge(took, 4 * UNIT - 1e-4);
	ck_assert_double_lt(took, 40 * UNIT);
	pair_free(&p);
}
END_TEST

struct alarm {
	struct sconce_timer timer;
	int n;
	double at;
};

static struct alarm alarms[6];
static int left;

static void
note_time(struct sconce_timer *t, void *arg)
{
	struct alarm *a = SCONCE_CONTAINER_OF(t, struct alarm, timer);

	(void)arg;
	a->at = t_seconds();
	left--;
}

static bool
any_left(struct sconce_loop *l, void *arg)
{
	(void)l;
	(void)arg;
	return left > 0;
}

/* Six timers, started in any order, beside a loop timeout that is shorter than most: each fires when it is due, the callback ends the run
 * after the last.  (DS-106, DS-37) */
START_TEST(test_postloop_timers_in_any_order)
{
	static const int order[6] = { 3, 0, 5, 1, 4, 2 };
	double begin;

	left = 6;
	pair_open_loop(&p, NULL);
	sconce_loop_set_timeout(p.loop, UNIT);
	sconce_post_loop_add(p.loop, any_left, NULL);
	begin = t_seconds();
	for (int i = 0; i < 6; i++) {
		struct alarm *a = &alarms[order[i]];

		a->n = order[i];
		sconce_timer_init(&a->timer, p.loop, note_time, NULL);
		sconce_timer_start(&a->timer, a->n * UNIT);
	}
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(left, 0);
	for (int i = 0; i < 6; i++) {
		ck_assert_double_ge(alarms[i].at - begin, i * UNIT);
		ck_assert_double_lt(alarms[i].at - begin, i * UNIT + 40 * UNIT);
		if (i > 0)
			ck_assert_double_ge(alarms[i].at, alarms[i - 1].at);
	}
	pair_free(&p);
}
END_TEST

static bool
both_fired(struct sconce_sock *s, void *arg)
{
	(void)arg;
	end_of(s)->n++;
	return p.a.n == 0 || p.b.n == 0;
}

/* Two connected objects with nothing watched, each with a callback of its own: each is called exactly once, in the same turn, and the
 * run ends.  (DS-107, DS-59) */
START_TEST(test_postloop_of_two_sockets_once_each)
{
	pair_open(&p, WIRE_UNIX);
	sconce_watch_read(&p.a.sock, false);
	sconce_watch_read(&p.b.sock, false);
	sconce_loop_set_timeout(p.loop, UNIT);
	ck_assert_int_eq(sconce_set_post_loop(&p.a.sock, both_fired, NULL), 0);
	ck_assert_int_eq(sconce_set_post_loop(&p.b.sock, both_fired, NULL), 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(p.a.n, 1);
	ck_assert_int_eq(p.b.n, 1);
	pair_free(&p);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("postloop");
	TCase *c = t_case(s, "postloop");

	tcase_add_test(c, test_postloop_timeout_four_calls);
	tcase_add_test(c, test_postloop_timers_in_any_order);
	tcase_add_test(c, test_postloop_of_two_sockets_once_each);
	return s;
}
