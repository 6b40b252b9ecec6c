/* A loop's life: new, run, step, stop, free; why a run ends; what it never sleeps over. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>

static struct pair p;

static void
close_loop(void)
{
	pair_free(&p);
}

static void
count_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	ck_assert_int_eq(status, 0);
	++*(int *)arg;
}

static void
count_status(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	ck_assert_int_eq(status, -ECANCELED);
	++*(int *)arg;
}

static void
stop_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce_loop_stop(arg);
}

static void
count_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	++*(int *)arg;
}

/* ---- life ---- */

/* The library loads: a loop can be made and freed, and needs no more than that.  (00-use, DS-104) */
START_TEST(test_loop_new_default_works)
{
	struct sconce_loop *l;

	ck_assert_str_eq(sconce_version(), SCONCE_VERSION);
	ck_assert_int_eq(sconce_loop_new(NULL, &l), 0);
	ck_assert_uint_eq(sconce_count(l), 0);
	ck_assert_ptr_nonnull(sconce_loop_ev(l));
	ck_assert_int_eq(sconce_loop_free(l), 0);
	ck_assert_int_eq(sconce_loop_free(NULL), 0);
}
END_TEST

/* Options that make no sense are refused, and nothing is left behind. */
START_TEST(test_loop_new_bad_options_refused)
{
	struct sconce_loop *l = (void *)&p;
	struct sconce_backend half = *sconce_backend_libev();
	struct sconce_loop_options marks = { .high = 10, .low = 20 }, table = { .backend = &half };

	ck_assert_int_eq(sconce_loop_new(&marks, &l), -EINVAL);
	half.recv = NULL;
	ck_assert_int_eq(sconce_loop_new(&table, &l), -EINVAL);
	half = *sconce_backend_libev();
	half.size--;
	ck_assert_int_eq(sconce_loop_new(&table, &l), -EINVAL);
	ck_assert_ptr_eq(l, (void *)&p);
	ck_assert_int_eq(sconce_loop_new_ev(NULL, NULL, &l), -EINVAL);
}
END_TEST

/* Freeing closes what is left, reason LOOP, and runs what waits with -ECANCELED; nothing leaks. */
START_TEST(test_loop_free_everything_open_ends_all)
{
	static struct counted done;
	int calls = 0, before = t_fd_count(), lost = 0;
	struct sconce_timer timer;
	struct sconce_watch watch = { 0 };

	pair_open(&p, WIRE_TCP);
	sconce_write(&p.a.sock, "x", 1);
	sconce_write_cb(&p.a.sock, count_done, &done);
	sconce_hold(&p.b.sock);				/* held: destroyed all the same */
	sconce_unread(&p.b.sock, "abc", 3);
	ck_assert_int_eq(sconce_defer(p.loop, NULL, count_status, &calls), 0);
	ck_assert_int_eq(sconce_defer(p.loop, &p.a.sock, count_status, &calls), 0);
	ck_assert_int_eq(sconce_post(p.loop, count_status, &calls), 0);
	ck_assert_int_eq(sconce_watch_start(&watch, p.loop, 0, SCONCE_READ, NULL, NULL), -EINVAL);
	sconce_timer_init(&timer, p.loop, count_timer, &lost);
	sconce_timer_start(&timer, 0);
	pair_free(&p);
	ck_assert_int_eq(calls, 3);
	ck_assert_int_eq(lost, 0);
	ck_assert_int_eq(done.calls, 1);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_LOOP);
	ck_assert_int_eq(p.b.reason, SCONCE_REASON_LOOP);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

static void
call_again(struct sconce_loop *l, void *arg, int status)
{
	int *n = arg;

	(void)status;
	if (++*n < 3)
		ck_assert_int_eq(sconce_defer(l, NULL, call_again, arg), 0);
}

static void
close_makes_work(struct end *e)
{
	struct sconce_sock s;

	ck_assert_int_eq(sconce_sock_init(&s, e->sock.loop, &end_ops, -1), -ESHUTDOWN);
	ck_assert_int_eq(sconce_defer(e->sock.loop, NULL, call_again, &e->n), 0);
}

/* Farewells during the freeing may make calls, which run, but no sockets. */
START_TEST(test_loop_free_work_in_farewell_runs)
{
	pair_open(&p, WIRE_UNIX);
	p.a.on.close = close_makes_work;
	pair_free(&p);
	ck_assert_int_ge(p.a.n, 1);
}
END_TEST

/* ---- why a run ends ---- */

/* With nothing to wait for a run ends at once, as often as it is asked.  (DS-39, IM-1) */
START_TEST(test_loop_run_nothing_left_ends_idle)
{
	pair_open_loop(&p, NULL);
	ck_assert_int_eq(sconce_post_loop_add(p.loop, NULL, NULL), -EINVAL);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(sconce_loop_step(p.loop, 0), 0);
	ck_assert_int_eq(sconce_loop_step(p.loop, -1), 0);
	close_loop();
}
END_TEST

/* A run ends by itself after the last socket, timer and call; what persists is there in the next one. */
START_TEST(test_loop_run_until_all_is_done_ends_idle)
{
	int calls = 0, fired = 0;
	struct sconce_timer t;

	pair_open(&p, WIRE_UNIX);
	p.a.close_at_end = true;
	sconce_timer_init(&t, p.loop, count_timer, &fired);
	sconce_timer_start(&t, 0.002);
	sconce_defer(p.loop, NULL, count_call, &calls);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(fired, 1);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(p.a.destroys, 1);
	ck_assert_uint_eq(sconce_count(p.loop), 0);
	sconce_timer_start(&t, 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(fired, 2);
	close_loop();
}
END_TEST

static void
alarm_stops(struct end *e, enum sconce_timeout_kind kind)
{
	ck_assert_int_eq(kind, SCONCE_TIMEOUT_ALARM);
	sconce_loop_stop(e->sock.loop);
}

/* A paused socket is something to wait for, and so is a half-closed one. */
START_TEST(test_loop_run_paused_or_half_closed_goes_on)
{
	pair_open(&p, WIRE_UNIX);
	ck_assert_int_eq(sconce_watch_read(&p.a.sock, false), 0);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	p.a.on.timeout = alarm_stops;
	sconce_set_timeout(&p.a.sock, SCONCE_TIMEOUT_ALARM, 0.005);	/* does not itself keep the loop */
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_eq(sconce_watch_read(&p.a.sock, true), 0);
	sconce_set_timeout(&p.a.sock, SCONCE_TIMEOUT_ALARM, 0.005);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert(p.a.ended);
	ck_assert_uint_eq(p.a.closes, 0);
	close_loop();
}
END_TEST

/* Stop ends the run in progress after its turn, or else the next one, once. */
START_TEST(test_loop_stop_outside_and_inside_ends_one_run)
{
	struct sconce_timer t;

	pair_open(&p, WIRE_UNIX);
	sconce_loop_stop(p.loop);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	sconce_timer_init(&t, p.loop, stop_timer, p.loop);
	for (int i = 0; i < 3; i++) {
		sconce_timer_start(&t, 0.001);
		ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
		ck_assert(!sconce_timer_active(&t));
	}
	close_loop();
}
END_TEST

static bool
say_no(struct sconce_loop *l, void *arg)
{
	(void)l;
	++*(int *)arg;
	return false;
}

/* A post-loop callback that says no ends the run, which can be taken up again.  (DS-18, DS-38, DS-79, DS-96) */
START_TEST(test_loop_run_post_loop_false_ends)
{
	int asked = 0, fired = 0;
	struct sconce_timer t;

	pair_open(&p, WIRE_UNIX);
	ck_assert_int_eq(sconce_post_loop_add(p.loop, say_no, &asked), 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(asked, 1);
	/* The last timer fires and nothing else would wake the loop: it is asked in that very turn. */
	sconce_timer_init(&t, p.loop, count_timer, &fired);
	sconce_timer_start(&t, 0.001);
	for (int i = 0; i < 10 && fired == 0; i++)
		ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(fired, 1);
	ck_assert_int_eq(sconce_post_loop_remove(p.loop, say_no, &asked), 0);
	ck_assert_int_eq(sconce_post_loop_remove(p.loop, say_no, &asked), -ENOENT);
	close_loop();
}
END_TEST

/* References keep the run; the last unref lets it end. */
START_TEST(test_loop_ref_keeps_run)
{
	struct sconce_timer t;

	pair_open_loop(&p, NULL);
	sconce_loop_ref(p.loop);
	sconce_timer_init(&t, p.loop, stop_timer, p.loop);
	sconce_timer_start(&t, 0.001);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	sconce_loop_unref(p.loop);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	close_loop();
}
END_TEST

/* More unrefs than refs are a mistake of the program's. */
START_TEST(test_loop_unref_too_often_aborts)
{
	pair_open_loop(&p, NULL);
	sconce_loop_unref(p.loop);
}
END_TEST

/* ---- not from inside ---- */

static int refused;

static void
try_all(struct sconce_loop *l)
{
	ck_assert_int_eq(sconce_loop_run(l), -EDEADLK);
	ck_assert_int_eq(sconce_loop_step(l, 0), -EDEADLK);
	ck_assert_int_eq(sconce_loop_free(l), -EBUSY);
	ck_assert_int_eq(sconce_loop_fork(l), -EBUSY);
	refused++;
}

static void try_end(struct end *e) { try_all(p.loop); (void)e; }
static void try_call(struct sconce_loop *l, void *arg, int status) { (void)arg; (void)status; try_all(l); }
static void try_done(struct sconce_sock *s, void *arg, int status) { (void)arg; (void)status; try_all(s->loop); }
static void try_timer(struct sconce_timer *t, void *arg) { (void)t; try_all(arg); }
static bool try_post(struct sconce_loop *l, void *arg) { (void)arg; try_all(l); return true; }
static bool try_sock_post(struct sconce_sock *s, void *arg) { (void)arg; try_all(s->loop); return true; }

/* From every kind of hook and callback a nested run or step is -EDEADLK, a free or fork -EBUSY; nothing happens.  (DS-39) */
START_TEST(test_loop_run_inside_any_hook_is_refused)
{
	struct sconce_timer t;

	refused = 0;
	pair_open(&p, WIRE_UNIX);
	p.a.on.read = p.a.on.write = p.a.on.close = p.b.on.close = try_end;
	p.a.on.destroy = try_end;
	sconce_watch_write(&p.a.sock, true);
	sconce_write(&p.b.sock, "x", 1);
	sconce_write_cb(&p.b.sock, try_done, NULL);
	sconce_defer(p.loop, NULL, try_call, NULL);
	sconce_post(p.loop, try_call, NULL);
	sconce_timer_init(&t, p.loop, try_timer, p.loop);
	sconce_timer_start(&t, 0);
	sconce_post_loop_add(p.loop, try_post, NULL);
	sconce_set_post_loop(&p.a.sock, try_sock_post, NULL);
	PAIR_UNTIL(&p, p.a.reads > 0 && p.a.writes > 0);
	ck_assert_int_ge(refused, 8);
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	pair_turn(&p, 1);
	ck_assert_int_eq(p.a.destroys + p.b.destroys, 2);
	ck_assert_int_eq(sconce_post_loop_remove(p.loop, try_post, NULL), 0);
	close_loop();
}
END_TEST

static void
run_other(struct end *e)
{
	struct sconce_loop *other = e->arg;

	ck_assert_int_eq(sconce_loop_step(other, 0), 1);
	ck_assert_int_eq(sconce_loop_free(other), 0);
	e->n++;
}

/* Another loop may be run, and freed, in a hook.  (DS-104) */
START_TEST(test_loop_run_other_inside_hook_works)
{
	struct sconce_loop *other;
	int calls = 0;

	pair_open(&p, WIRE_UNIX);
	ck_assert_int_eq(sconce_loop_new(NULL, &other), 0);
	sconce_defer(other, NULL, count_call, &calls);
	p.a.on.read = run_other;
	p.a.arg = other;
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	sconce_loop_step(p.loop, 0);
	sconce_watch_read(&p.a.sock, false);
	ck_assert_int_eq(p.a.n, 1);
	ck_assert_int_eq(calls, 1);
	close_loop();
}
END_TEST

/* ---- how long a turn waits ---- */

/* A step waits for its limit, no longer and no shorter, and counts hooks. */
START_TEST(test_loop_step_limit_is_the_wait)
{
	double begin;

	pair_open(&p, WIRE_UNIX);
	pair_turn(&p, 3);
	begin = t_seconds();
	ck_assert_int_eq(sconce_loop_step(p.loop, 0.02), 0);
	ck_assert_double_ge(t_seconds() - begin, 0.0199);
	ck_assert_int_eq(send(sconce_fd(&p.b.sock), "x", 1, 0), 1);
	ck_assert_int_eq(sconce_loop_step(p.loop, 10), 1);		/* a.read */
	ck_assert_uint_eq(p.a.in_len, 1);
	ck_assert_double_lt(t_seconds() - begin, 5);
	close_loop();
}
END_TEST

/* The loop timeout bounds each wait; 0 does not wait; negative is no limit.  (DS-36, DS-103) */
START_TEST(test_loop_set_timeout_bounds_waits)
{
	double begin;

	pair_open(&p, WIRE_UNIX);
	ck_assert_double_lt(sconce_loop_timeout(p.loop), 0);
	pair_turn(&p, 3);
	sconce_loop_set_timeout(p.loop, 0.01);
	ck_assert_double_eq(sconce_loop_timeout(p.loop), 0.01);
	begin = t_seconds();
	ck_assert_int_eq(sconce_loop_step(p.loop, -1), 0);
	ck_assert_double_ge(t_seconds() - begin, 0.0099);
	ck_assert_int_eq(sconce_loop_step(p.loop, 100), 0);		/* the shorter counts */
	ck_assert_double_lt(t_seconds() - begin, 5);
	sconce_loop_set_timeout(p.loop, 0);
	begin = t_seconds();
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(sconce_loop_step(p.loop, -1), 0);
	ck_assert_double_lt(t_seconds() - begin, 1);
	sconce_loop_set_timeout(p.loop, -5);
	ck_assert_double_lt(sconce_loop_timeout(p.loop), 0);
	close_loop();
}
END_TEST

static double in_hook[2];

static void
ask_time(struct end *e)
{
	in_hook[0] = sconce_now(e->sock.loop);
	for (double until = t_seconds() + 0.002; t_seconds() < until;)
		;
	in_hook[1] = sconce_now(e->sock.loop);
}

/* Inside a hook the time stands still; outside it is the clock's. */
START_TEST(test_now_in_hook_is_the_turns)
{
	double now;

	pair_open(&p, WIRE_UNIX);
	p.a.on.read = ask_time;
	now = sconce_now(p.loop);
	ck_assert_double_le(now, t_seconds());
	ck_assert_double_ge(now, t_seconds() - 1);
	sconce_write(&p.b.sock, "x", 1);
	sconce_loop_step(p.loop, 0);
	ck_assert_double_eq(in_hook[0], in_hook[1]);
	ck_assert_double_gt(sconce_now(p.loop), in_hook[1]);
	sconce_watch_read(&p.a.sock, false);
	close_loop();
}
END_TEST

/* ---- nothing sleeps over work ---- */

enum work { WORK_CLOSE, WORK_DEFER, WORK_WRITE, WORK_POST, WORK_TIMER, WORK_UNREAD, WORK_SHUTDOWN, WORK_CB, WORK_ABORT, WORKS };

static int done_work;

static void
make_work(enum work w)
{
	static struct sconce_timer t;
	static struct counted done;

	switch (w) {
	case WORK_CLOSE: sconce_close(&p.a.sock, SCONCE_REASON_LOCAL); break;
	case WORK_DEFER: sconce_defer(p.loop, NULL, count_call, &done_work); break;
	case WORK_WRITE: sconce_write(&p.a.sock, "x", 1); break;
	case WORK_POST: sconce_post(p.loop, count_call, &done_work); break;
	case WORK_TIMER:
		sconce_timer_init(&t, p.loop, count_timer, &done_work);
		sconce_timer_start(&t, 0);
		break;
	case WORK_UNREAD: sconce_unread(&p.b.sock, "abc", 3); break;
	case WORK_SHUTDOWN: sconce_shutdown(&p.a.sock, SHUT_WR); break;
	case WORK_CB: sconce_write_cb(&p.a.sock, count_done, &done); break;
	case WORK_ABORT: sconce_abort(&p.a.sock); break;
	case WORKS: break;
	}
}

/* Work made outside of hooks is done without a wait: a close is seen by the peer, a write arrives, a call runs.
 * (DS-16, DS-33, DS-90) */
START_TEST(test_loop_step_work_made_outside_does_not_sleep)
{
	double begin;
	int hooks = 0;

	done_work = 0;
	pair_open(&p, WIRE_TCP);
	pair_turn(&p, 3);
	begin = t_seconds();
	make_work((enum work)_i);
	for (int i = 0; i < 3 && hooks == 0; i++)
		hooks += sconce_loop_step(p.loop, 10);
	ck_assert_int_gt(hooks, 0);
	if (_i == WORK_CLOSE || _i == WORK_WRITE || _i == WORK_UNREAD || _i == WORK_SHUTDOWN || _i == WORK_ABORT)
		PAIR_UNTIL(&p, p.b.reads > 0);
	ck_assert_double_lt(t_seconds() - begin, 5);
	close_loop();
}
END_TEST

static enum work inner;

static void
work_in_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	if (status == 0)
		make_work(inner);
}

static void
work_in_timer(struct sconce_timer *t, void *arg)
{
	work_in_call(t->_loop, arg, 0);
}

static bool
work_in_post(struct sconce_loop *l, void *arg)
{
	int *n = arg;

	if (++*n == 1)
		work_in_call(l, NULL, 0);
	return true;
}

static void
work_from(int where, int *n)
{
	static struct sconce_timer t;

	if (where == 0) {
		sconce_timer_init(&t, p.loop, work_in_timer, NULL);
		sconce_timer_start(&t, 0.001);
	} else if (where == 1) {
		sconce_defer(p.loop, NULL, work_in_call, NULL);
	} else {
		sconce_post_loop_add(p.loop, work_in_post, n);
	}
}

/* The same made in a timer, a deferred call (step 5) and a post-loop callback (step 7).  (DS-79, DS-90) */
START_TEST(test_loop_run_work_made_in_late_steps_does_not_sleep)
{
	double begin = t_seconds();

	for (int where = 0; where < 3; where++) {
		int n = 0, hooks = 0;

		inner = (enum work)_i;
		done_work = 0;
		pair_open(&p, WIRE_TCP);
		pair_turn(&p, 3);
		work_from(where, &n);
		hooks += sconce_loop_step(p.loop, where == 2 ? 0 : 10);
		for (int i = 0; i < 2 && hooks < 2; i++)
			hooks += sconce_loop_step(p.loop, 10);
		ck_assert_int_ge(hooks, 2);
		if (_i == WORK_CLOSE || _i == WORK_WRITE || _i == WORK_UNREAD || _i == WORK_SHUTDOWN || _i == WORK_ABORT)
			PAIR_UNTIL(&p, p.b.reads > 0);
		close_loop();
	}
	ck_assert_double_lt(t_seconds() - begin, 5);
}
END_TEST

static void
stop_call(struct sconce_loop *l, void *arg, int status)
{
	(void)arg;
	ck_assert_int_eq(status, 0);
	sconce_loop_stop(l);
}

static void *
post_soon(void *arg)
{
	struct timespec t = { .tv_nsec = 5000000 };

	nanosleep(&t, NULL);				/* the other thread is in its wait by then, or it does not matter */
	ck_assert_int_eq(sconce_post(arg, stop_call, NULL), 0);
	return NULL;
}

/* A post from another thread ends a wait that has no limit. */
START_TEST(test_post_during_wait_wakes)
{
	pthread_t thread;

	pair_open(&p, WIRE_UNIX);
	pair_turn(&p, 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, post_soon, p.loop), 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	pthread_join(thread, NULL);
	close_loop();
}
END_TEST

/* ---- deferred calls ---- */

struct order {
	int n, seen[8];
};

static void
note_order(struct sconce_loop *l, void *arg, int status)
{
	struct order *o = arg;

	(void)l;
	o->seen[o->n++] = status;
}

/* A call bound to a socket that is closed first runs with -ECANCELED, in its place. */
START_TEST(test_defer_bound_to_closed_is_cancelled)
{
	struct order o = { 0 };

	pair_open(&p, WIRE_UNIX);
	sconce_defer(p.loop, &p.a.sock, note_order, &o);
	sconce_defer(p.loop, &p.b.sock, note_order, &o);
	sconce_defer(p.loop, NULL, note_order, &o);
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
	pair_turn(&p, 1);
	ck_assert_int_eq(o.n, 3);
	ck_assert_int_eq(o.seen[0], -ECANCELED);
	ck_assert_int_eq(o.seen[1], 0);
	ck_assert_int_eq(o.seen[2], 0);
	close_loop();
}
END_TEST

/* ---- fork ---- */

/* What the child sends over the pair that it inherited comes back to it: 0 on success. */
static int
child_works(void)
{
	int before;

	if (sconce_loop_fork(p.loop) != 0)
		return 1;
	before = (int)p.b.in_len;
	if (sconce_write(&p.a.sock, "child", 5) < 0)
		return 2;
	for (int i = 0; i < 1000 && p.b.in_len < (size_t)before + 5; i++)
		sconce_loop_step(p.loop, 0.01);
	if (p.b.in_len != (size_t)before + 5)
		return 3;
	if (sconce_post(p.loop, count_call, &done_work) != 0 || sconce_loop_step(p.loop, 10) != 1)
		return 4;
	if (sconce_loop_free(p.loop) != 0)
		return 5;
	return 0;
}

static int
wait_child(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* In a child the loop goes on with its sockets after sconce_loop_fork(), wake-ups included, and the parent's is not
 * disturbed by that.  (DS-29, HZ-14) */
START_TEST(test_loop_fork_child_goes_on_parent_unaffected)
{
	pid_t pid;

	pair_open(&p, WIRE_UNIX);
	sconce_watch_read(&p.a.sock, false);		/* so that its hang-up set is in use too */
	pair_turn(&p, 3);
	pid = fork();
	if (pid == 0)
		_exit(child_works());
	ck_assert_int_eq(wait_child(pid), 0);
	/* The child has closed its copies; the parent's are as they were. */
	ck_assert_uint_eq(p.b.in_len, 0);
	sconce_write(&p.a.sock, "parent", 6);
	PAIR_UNTIL(&p, p.b.in_len == 6);
	sconce_post(p.loop, count_call, &done_work);
	ck_assert_int_eq(sconce_loop_step(p.loop, 10), 1);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	PAIR_UNTIL(&p, p.a.hups == 1);			/* a is paused */
	close_loop();
}
END_TEST

static int
child_hup(void)
{
	if (sconce_loop_fork(p.loop) != 0)
		return 1;
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	for (int i = 0; i < 100; i++)
		sconce_loop_step(p.loop, 0.001);
	return 0;
}

/* Freeing the loop in a child that did not go on with it leaves the parent's connections alone. */
START_TEST(test_loop_free_in_child_parent_unaffected)
{
	pid_t pid;

	pair_open(&p, WIRE_TCP);
	pair_turn(&p, 3);
	pid = fork();
	if (pid == 0)
		_exit(child_hup() || sconce_loop_free(p.loop) != 0);
	ck_assert_int_eq(wait_child(pid), 0);
	sconce_write(&p.a.sock, "parent", 6);
	PAIR_UNTIL(&p, p.b.in_len == 6);
	ck_assert(!p.b.ended);
	close_loop();
}
END_TEST

/* Puts bytes into a transfer between two new sockets and gives how many of its `byte` came out; with `stuck` nobody takes
 * them, and what is left in the pipe is counted. */
static size_t
splice_bytes(char byte, bool stuck)
{
	static char buf[1024 * 1024], got[1024 * 1024];
	struct end *from, *to;
	int one[2], two[2];
	size_t sent = 0, same = 0;
	ssize_t n = 0;

	wire_make(WIRE_UNIX, one);
	wire_make(WIRE_UNIX, two);
	from = end_open(&p, "from", NULL, one[0]);
	to = end_open(&p, "to", NULL, two[0]);
	memset(buf, byte, sizeof(buf));
	sconce_transfer(&from->sock, &to->sock, sizeof(buf), NULL, NULL);
	for (int i = 0; i < 200 && same < sizeof(buf) && n >= 0; i++) {
		n = send(one[1], buf, sizeof(buf) - sent, MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		sconce_loop_step(p.loop, 0);
		if (stuck)
			continue;
		n = recv(two[1], got, sizeof(got), MSG_DONTWAIT);
		for (ssize_t at = 0; at < n; at++)
			same += got[at] == byte;
		n = 0;
	}
	close(one[1]);
	close(two[1]);
	return stuck ? sconce_queued(&to->sock) : same;
}

/* Bytes that a child has in a splice pipe do not come out of the parent's, although both had the same idle one. */
START_TEST(test_loop_fork_splice_pipes_are_not_shared)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	pid_t pid;

	pair_open_loop(&p, &opts);
	ck_assert_uint_eq(splice_bytes('p', false), 1024 * 1024);
	ck_assert_uint_gt(fault.splice, 0);
	pid = fork();
	if (pid == 0)
		_exit(sconce_loop_fork(p.loop) != 0 || splice_bytes('c', true) == 0);
	ck_assert_int_eq(wait_child(pid), 0);
	ck_assert_uint_eq(splice_bytes('p', false), 1024 * 1024);
	close_loop();
}
END_TEST

/* ---- SIGPIPE ---- */

static int
sigpipe_is(void (*handler)(int))
{
	struct sigaction now;

	ck_assert_int_eq(sigaction(SIGPIPE, NULL, &now), 0);
	return now.sa_handler == handler;
}

/* The first loop ignores SIGPIPE if nobody has said otherwise, and can be told not to.  (HZ-11, IM-20) */
START_TEST(test_loop_new_sigpipe_default_is_ignored)
{
	struct sconce_loop_options keep = { .flags = SCONCE_LOOP_KEEP_SIGPIPE };

	signal(SIGPIPE, SIG_DFL);
	pair_open_loop(&p, &keep);
	ck_assert(sigpipe_is(SIG_DFL));
	close_loop();
	pair_open_loop(&p, NULL);
	ck_assert(sigpipe_is(SIG_IGN));
	close_loop();
	signal(SIGPIPE, (void (*)(int))abort);
	pair_open_loop(&p, NULL);
	ck_assert(sigpipe_is((void (*)(int))abort));
	close_loop();
	signal(SIGPIPE, SIG_DFL);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("loop");
	TCase *life = t_case(s, "life"), *run = t_case(s, "run"), *wait = t_case(s, "wait"), *forks = t_case(s, "fork");

	tcase_add_test(life, test_loop_new_default_works);
	tcase_add_test(life, test_loop_new_bad_options_refused);
	tcase_add_test(life, test_loop_free_everything_open_ends_all);
	tcase_add_test(life, test_loop_free_work_in_farewell_runs);
	tcase_add_test(life, test_loop_new_sigpipe_default_is_ignored);
	tcase_add_test(run, test_loop_run_nothing_left_ends_idle);
	tcase_add_test(run, test_loop_run_until_all_is_done_ends_idle);
	tcase_add_test(run, test_loop_run_paused_or_half_closed_goes_on);
	tcase_add_test(run, test_loop_stop_outside_and_inside_ends_one_run);
	tcase_add_test(run, test_loop_run_post_loop_false_ends);
	tcase_add_test(run, test_loop_ref_keeps_run);
	t_add_abort(run, test_loop_unref_too_often_aborts);
	tcase_add_test(run, test_loop_run_inside_any_hook_is_refused);
	tcase_add_test(run, test_loop_run_other_inside_hook_works);
	tcase_add_test(wait, test_loop_step_limit_is_the_wait);
	tcase_add_test(wait, test_loop_set_timeout_bounds_waits);
	tcase_add_test(wait, test_now_in_hook_is_the_turns);
	tcase_add_loop_test(wait, test_loop_step_work_made_outside_does_not_sleep, 0, WORKS);
	tcase_add_loop_test(wait, test_loop_run_work_made_in_late_steps_does_not_sleep, 0, WORKS);
	tcase_add_test(wait, test_post_during_wait_wakes);
	tcase_add_test(wait, test_defer_bound_to_closed_is_cancelled);
	tcase_add_test(forks, test_loop_fork_child_goes_on_parent_unaffected);
	tcase_add_test(forks, test_loop_free_in_child_parent_unaffected);
	tcase_add_test(forks, test_loop_fork_splice_pipes_are_not_shared);
	return s;
}
