/* Danga::Socket's 12-closerace, all of its 7 assertions: of two sockets that are always ready, the first closes the other, whose
 * events, fetched in the same batch, reach nobody. */
#include "harness.h"
#include "pair.h"

#include <stdlib.h>

static struct pair p;

enum { EVENTS = 12 };

static uint64_t record[EVENTS + 2];
static int recorded;

static void
close_other(struct end *e)
{
	struct end *other = e == &p.a ? &p.b : &p.a;

	if (recorded < EVENTS)
		record[recorded++] = e->sock.id;
	if (other->destroys == 0)
		sconce_close(&other->sock, SCONCE_REASON_LOCAL);
}

static bool
until_ten(struct sconce_loop *l, void *arg)
{
	(void)l;
	(void)arg;
	return recorded <= 10;
}

/* After more than ten events only one socket has recorded itself; the other was closed and destroyed once, and told nothing.
 * (DS-14, DS-16, DS-28, HZ-2) */
START_TEST(test_closerace_only_one_ever_fires)
{
	struct end *winner, *loser;

	recorded = 0;
	pair_open(&p, WIRE_TCP);
	p.a.on.write = p.b.on.write = close_other;
	ck_assert_int_eq(sconce_watch_write(&p.a.sock, true), 0);
	ck_assert_int_eq(sconce_watch_write(&p.b.sock, true), 0);
	sconce_post_loop_add(p.loop, until_ten, NULL);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_gt(recorded, 10);
	for (int i = 1; i < recorded; i++)
		ck_assert_uint_eq(record[i], record[0]);
	winner = record[0] == p.a.sock.id ? &p.a : &p.b;
	loser = winner == &p.a ? &p.b : &p.a;
	ck_assert_uint_eq(loser->writes + loser->reads + loser->errs + loser->hups, 0);
	ck_assert_uint_eq(loser->closes, 1);
	ck_assert_uint_eq(loser->destroys, 1);
	ck_assert_uint_eq(winner->closes, 0);
	ck_assert(winner->ended);
	pair_free(&p);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("closerace");

	tcase_add_test(t_case(s, "closerace"), test_closerace_only_one_ever_fires);
	return s;
}
