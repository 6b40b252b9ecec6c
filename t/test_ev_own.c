/* sconce_loop_run() on a loop of our own, which makes many turns of one ev_run: what ends that, and what an application that
 * runs the ev_loop inside it still gets. */
#include "harness.h"
#include "pair.h"

#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>

#include "core.h"

static struct pair p;
static struct ev_loop *ev;
static int ticks, inner_ticks, calls;

static void
count_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l, (void)arg, (void)status;
	calls++;
}

/* Leaves work for the next turn, so that this one is not a plain one. */
static void
count_twice(struct sconce_loop *l, void *arg, int status)
{
	count_call(l, arg, status);
	sconce_defer(l, NULL, count_call, NULL);
}

static void
open_own(void)
{
	pair_open(&p, WIRE_UNIX);
	ev = sconce_loop_ev(p.loop);
	ck_assert_ptr_nonnull(ev);
	ticks = inner_ticks = calls = 0;
}

static void
close_both(void)
{
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
}

static void
send_byte(struct end *from)
{
	ck_assert_int_eq(send(sconce_fd(&from->sock), "x", 1, 0), 1);
}

static void
read_some(struct end *e)
{
	char buf[16];

	e->last = sconce_read(&e->sock, buf, sizeof(buf));
}

static void
echo(struct end *e)
{
	char buf[16];
	ssize_t n = sconce_read(&e->sock, buf, sizeof(buf));

	if (n > 0)
		sconce_write(&e->sock, buf, (size_t)n);
	if (++e->n % 3 == 0)
		sconce_defer(p.loop, NULL, count_twice, NULL);
	if (n == 0)
		sconce_close(&e->sock, SCONCE_REASON_EOF);
}

/* ---- turns ---- */

static uint64_t turn_before;

static void
pass_on(struct end *e)
{
	read_some(e);
	ck_assert_uint_gt(p.loop->turn, turn_before);
	turn_before = p.loop->turn;
	if (++e->n == 100)
		close_both();
	else
		sconce_write(&e->sock, "x", 1);
}

/* Each wait is a turn of its own, with its own time and its end, and the run is over when nothing is left. */
START_TEST(test_own_each_wait_is_a_turn)
{
	open_own();
	p.a.on.read = p.b.on.read = pass_on;
	turn_before = p.loop->turn;
	send_byte(&p.a);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_ge(p.a.n, 99);
	ck_assert_uint_eq(p.a.destroys + p.b.destroys, 2);
	pair_free(&p);
}
END_TEST

/* Another clock than libev's: an hour ahead. */
static int64_t
clock_ahead(void *ctx)
{
	return sconce_backend_libev()->now(ctx) + (int64_t)3600 * 1000000000;
}

static double
clock_of(const struct sconce_loop *l)
{
	return (double)l->be->now(l->ctx) * 1e-9;
}

enum { DEADLINE_NONE, DEADLINE_ONE, DEADLINE_CHANGES, DEADLINE_OTHER_CLOCK, DEADLINE_KINDS };
static struct sconce_timer far;
static double earliest;			/* the clock before the wait */
static int deadlines;			/* DEADLINE_... */

static void
never(struct sconce_timer *t, void *arg)
{
	(void)t, (void)arg;
	ck_abort_msg("a timer of hours went off");
}

static void
look_at_clock(struct end *e)
{
	double now = sconce_now(p.loop);

	ck_assert(now >= earliest - 1e-6);
	ck_assert(now <= clock_of(p.loop) + 1e-6);
	if (deadlines == DEADLINE_CHANGES)
		sconce_timer_start(&far, 10000 + e->n % 3 * 1000);
	pass_on(e);
	earliest = clock_of(p.loop);
}

/* A turn's time is that behind its wait, whether libev's idea of it is asked for (there is a deadline) or the clock. */
START_TEST(test_own_turns_time)
{
	struct sconce_backend other = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &other };

	deadlines = _i;
	if (deadlines == DEADLINE_OTHER_CLOCK)
		other.now = clock_ahead;
	pair_open_with(&p, WIRE_UNIX, NULL, NULL, &opts);
	sconce_timer_init(&far, p.loop, never, NULL);
	if (deadlines != DEADLINE_NONE)
		sconce_timer_start(&far, 10000);
	p.a.on.read = p.b.on.read = look_at_clock;
	turn_before = p.loop->turn;
	earliest = clock_of(p.loop);
	send_byte(&p.a);
	for (int i = 0; i < 1000 && p.b.n < 100; i++)
		sconce_loop_step(p.loop, -1);
	ck_assert_int_eq(p.b.n, 100);
	sconce_timer_stop(&far);
	pair_free(&p);
}
END_TEST

static bool
post_counts(struct sconce_loop *l, void *arg)
{
	(void)l, (void)arg;
	return ++ticks < 3;
}

static void
add_post(struct end *e)
{
	read_some(e);
	if (e->n++ == 0)
		ck_assert_int_eq(sconce_post_loop_add(p.loop, post_counts, NULL), 0);
	send_byte(&p.b);
}

/* A post-loop callback that is added in a hook runs at the end of that very turn, and its false ends the run.  DS-27 */
START_TEST(test_own_post_loop_added_on_the_way)
{
	open_own();
	p.a.on.read = add_post;
	send_byte(&p.b);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(ticks, 3);
	ck_assert_int_eq(p.a.n, 3);
	sconce_post_loop_remove(p.loop, post_counts, NULL);
	pair_free(&p);
}
END_TEST

static void
trace_count(struct sconce_loop *l, const struct sconce_trace *event, void *arg)
{
	(void)l, (void)arg;
	ticks += strcmp(event->what, "call") == 0 && strcmp(event->name, "recv") == 0;
}

static void
trace_on(struct end *e)
{
	read_some(e);
	if (e->n++ == 0)
		sconce_set_trace(p.loop, trace_count, NULL);
	if (e->n == 3)
		sconce_set_trace(p.loop, NULL, NULL);
	if (e->n == 5)
		sconce_loop_stop(p.loop);
	send_byte(&p.b);
}

/* A trace that is turned on and off in hooks sees what is between. */
START_TEST(test_own_trace_turned_on_and_off_on_the_way)
{
	open_own();
	p.a.on.read = trace_on;
	send_byte(&p.b);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_eq(p.a.n, 5);
	ck_assert_int_eq(ticks, 2);
	pair_free(&p);
}
END_TEST

static void
limit_on(struct end *e)
{
	read_some(e);
	sconce_loop_set_timeout(p.loop, 0.001);
	sconce_post_loop_add(p.loop, post_counts, NULL);
}

/* A limit for waits that is set in a hook holds from the next wait on. */
START_TEST(test_own_loop_timeout_set_on_the_way)
{
	open_own();
	p.a.on.read = limit_on;
	send_byte(&p.b);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);	/* it would wait for ever */
	ck_assert_int_eq(ticks, 3);
	sconce_post_loop_remove(p.loop, post_counts, NULL);
	pair_free(&p);
}
END_TEST

static void
break_all(EV_P_ ev_timer *w, int revents)
{
	(void)w, (void)revents;
	ticks++;
	ev_break(EV_A_ EVBREAK_ALL);
}

static void
stop_timer(struct sconce_timer *t, void *arg)
{
	(void)t, (void)arg;
	sconce_loop_stop(p.loop);
}

/* An application's ev_break ends a turn and not the run. */
START_TEST(test_own_application_breaks)
{
	struct sconce_timer t;
	ev_timer w;

	open_own();
	ev_timer_init(&w, break_all, 0.001, 0.001);
	ev_timer_start(ev, &w);
	sconce_timer_init(&t, p.loop, stop_timer, NULL);
	sconce_timer_start(&t, 0.01);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_ge(ticks, 3);
	ev_timer_stop(ev, &w);
	pair_free(&p);
}
END_TEST

static int breaks_left;

static void
break_before_wait(EV_P_ ev_prepare *w, int revents)
{
	(void)w, (void)revents;
	ticks++;
	if (breaks_left > 0) {
		breaks_left--;
		ev_break(EV_A_ EVBREAK_ONE);
	}
}

/* One that comes before the wait takes neither the timers nor the run with it: once, or every time. */
START_TEST(test_own_application_breaks_before_the_wait)
{
	struct sconce_timer t;
	ev_prepare w;

	open_own();
	breaks_left = _i == 0 ? 1 : INT_MAX;
	ev_prepare_init(&w, break_before_wait);
	ev_prepare_start(ev, &w);
	sconce_timer_init(&t, p.loop, stop_timer, NULL);
	sconce_timer_start(&t, 0.005);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_ge(ticks, 2);
	ev_prepare_stop(ev, &w);
	pair_free(&p);
}
END_TEST

static void
stop_and_break_all(EV_P_ ev_timer *w, int revents)
{
	sconce_loop_stop(p.loop);
	break_all(EV_A_ w, revents);
}

static void
run_in_watcher(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A, (void)w, (void)revents;
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	inner_ticks++;
}

/* Our run inside an ev_run of the application's: its ev_break for all gets past ours. */
START_TEST(test_own_run_inside_ev_run_breaks_with_it)
{
	ev_timer outer, inner, late;

	open_own();
	ev_timer_init(&outer, run_in_watcher, 0.001, 0);
	ev_timer_start(ev, &outer);
	ev_timer_init(&inner, stop_and_break_all, 0.005, 0);
	ev_timer_start(ev, &inner);
	ev_timer_init(&late, break_all, 2, 0);		/* were it not broken */
	ev_timer_start(ev, &late);
	ev_run(ev, 0);
	ck_assert_int_eq(inner_ticks, 1);
	ck_assert_int_eq(ticks, 1);
	ev_timer_stop(ev, &late);
	pair_free(&p);
}
END_TEST

static void
read_and_stop(struct end *e)
{
	read_some(e);
	sconce_loop_stop(p.loop);
}

static struct sconce_timer child_timer;

/* The child goes on with the loop in a run of its own. */
static void
fork_in_watcher(EV_P_ ev_timer *w, int revents)
{
	int status;
	pid_t pid;

	(void)EV_A, (void)w, (void)revents;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(3);
		if (sconce_loop_fork(p.loop) != 0)
			_exit(1);
		p.a.on.read = echo;
		p.b.on.read = read_and_stop;
		sconce_timer_start(&child_timer, 2);	/* were it not echoed */
		sconce_write(&p.b.sock, "x", 1);
		_exit(sconce_loop_run(p.loop) == SCONCE_LOOP_STOPPED && p.b.last == 1 ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	sconce_loop_stop(p.loop);
}

/* A child that forked in a watcher of the application's, so below a run that is the parent's, runs the loop afresh. */
START_TEST(test_own_fork_in_a_watcher)
{
	ev_timer w;

	open_own();
	sconce_timer_init(&child_timer, p.loop, stop_timer, NULL);
	ev_timer_init(&w, fork_in_watcher, 0.001, 0);
	ev_timer_start(ev, &w);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	pair_free(&p);
}
END_TEST

/* ---- the ev_loop run inside the run ---- */

static void
echo_in_time(struct end *e)
{
	ck_assert(sconce_now(p.loop) >= earliest - 1e-6);
	e->n = 0;				/* nothing deferred */
	echo(e);
}

/* Each message wakes another nested run, and then the rest of the outer one. */
static void
nested_in_time(EV_P_ ev_timer *w, int revents)
{
	(void)revents;
	ev_timer_stop(EV_A_ w);
	for (int i = 0; i < 20; i++) {
		sconce_write(&p.b.sock, "x", 1);
		ev_run(EV_A_ EVRUN_NOWAIT);		/* which sends it */
		earliest = clock_of(p.loop);
		ev_run(EV_A_ EVRUN_NOWAIT);
		ev_run(EV_A_ EVRUN_NOWAIT);
	}
	earliest = clock_of(p.loop);
	sconce_timer_start(w->data, 0.001);
}

/* Runs the loop with a watcher of the application's, which starts the timer in its data when it is done. */
static void
run_with_watcher(void (*fn)(EV_P_ ev_timer *w, int revents))
{
	struct sconce_timer t;
	ev_timer w;

	ev_timer_init(&w, fn, 0.001, 0);
	w.data = &t;
	ev_timer_start(ev, &w);
	sconce_timer_init(&t, p.loop, stop_timer, NULL);	/* nothing but the conversation wakes the nested run */
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
}

/* The time of hooks in a nested run is that behind its own wait. */
START_TEST(test_own_nested_run_has_its_own_time)
{
	open_own();
	p.a.on.read = echo_in_time;
	earliest = 0;
	run_with_watcher(nested_in_time);
	ck_assert_uint_eq(p.b.in_len, 20);
	pair_free(&p);
}
END_TEST

static uint64_t turn_seen;		/* 0: nothing to compare */
static int early;			/* turns that had begun before the wait */

static void
look_before_wait(EV_P_ ev_prepare *w, int revents)
{
	(void)EV_A, (void)w, (void)revents;
	if (turn_seen != 0 && p.loop->turn != turn_seen)
		early++;
	turn_seen = 0;
}

/* Then the watcher comes again, twice. */
static void
run_nested(struct sconce_loop *l, void *arg, int status)
{
	(void)status;
	ev_run(ev, EVRUN_NOWAIT);
	turn_seen = l->turn;
	if (++ticks < 3)
		ev_timer_start(ev, arg);
	else
		sconce_loop_stop(l);
}

static void
run_nested_now(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A, (void)revents;
	run_nested(p.loop, w, 0);
}

static void
run_nested_later(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A, (void)revents;
	sconce_defer(p.loop, NULL, run_nested, w);	/* at the turn's end */
}

/* A nested run in which nothing of ours happens, in the middle of a turn or at its end, does not make the next one begin
 * before its wait, which a prepare watcher would see. */
START_TEST(test_own_nested_run_of_others_begins_no_turn)
{
	ev_prepare look;
	ev_timer w;

	open_own();
	turn_seen = 0;
	early = 0;
	ev_prepare_init(&look, look_before_wait);
	ev_prepare_start(ev, &look);
	ev_timer_init(&w, _i == 0 ? run_nested_now : run_nested_later, 0.001, 0);
	ev_timer_start(ev, &w);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_eq(ticks, 3);
	ck_assert_int_eq(early, 0);
	ev_prepare_stop(ev, &look);
	pair_free(&p);
}
END_TEST

static int completions;

static void
count_completion(struct sconce_sock *s, void *arg, int status)
{
	(void)s, (void)arg, (void)status;
	completions++;
}

/* More than a turn's share of completions. */
static void
nested_for_many(EV_P_ ev_timer *w, int revents)
{
	(void)revents;
	for (int i = 0; i < 100; i++)
		sconce_write_cb(&p.a.sock, count_completion, NULL);
	for (int runs = 0; runs < 10; runs++)
		ev_run(EV_A_ EVRUN_NOWAIT);
	ck_assert_int_eq(completions, 100);
	sconce_timer_start(w->data, 0.001);
}

/* What waits for the next turn goes on in a nested run's. */
START_TEST(test_own_nested_run_has_turns)
{
	open_own();
	completions = 0;
	run_with_watcher(nested_for_many);
	ck_assert_int_eq(completions, 100);
	pair_free(&p);
}
END_TEST

/* Sends to b's peer and runs the ev_loop until all has come back. */
static void
nested_from_watcher(EV_P_ ev_timer *w, int revents)
{
	size_t want = p.b.in_len;
	int runs = 0;

	(void)revents;
	sconce_defer(p.loop, NULL, count_call, NULL);	/* work of the outer turn's end */
	ev_timer_stop(EV_A_ w);
	while (p.b.in_len < want + 20) {
		sconce_write(&p.b.sock, "x", 1);
		ck_assert_int_lt(runs++, 1000);
		ev_run(EV_A_ EVRUN_ONCE);
	}
	ck_assert_int_ge(calls, 3);
	calls = 0;
	sconce_defer(p.loop, NULL, count_call, NULL);	/* made outside of hooks, and nothing else to wake it */
	ev_run(EV_A_ EVRUN_NOWAIT);
	ck_assert_int_ge(calls, 1);
	inner_ticks++;
	sconce_timer_start(w->data, 0.001);
}

/* An application's watcher runs the ev_loop: our sockets are served there, turns end there, and the run goes on afterwards. */
START_TEST(test_own_nested_run_in_a_watcher)
{
	open_own();
	p.a.on.read = echo;
	run_with_watcher(nested_from_watcher);
	ck_assert_int_eq(inner_ticks, 1);
	ck_assert_uint_ge(p.b.in_len, 20);
	pair_free(&p);
}
END_TEST

static void
nested_until_break(EV_P_ ev_timer *w, int revents)
{
	(void)revents;
	ev_timer_stop(EV_A_ w);
	sconce_write(&p.b.sock, "x", 1);
	ck_assert_int_ne(ev_run(EV_A_ 0), 0);
	inner_ticks = ticks;
}

/* That nested run ends when the application says so, and not because a turn of ours was not a plain one. */
START_TEST(test_own_nested_run_is_not_broken_by_us)
{
	ev_timer w, end;
	struct sconce_timer t;

	open_own();
	p.a.on.read = p.b.on.read = echo;		/* for ever */
	ev_timer_init(&w, nested_until_break, 0.001, 0);
	ev_timer_start(ev, &w);
	ev_timer_init(&end, break_all, 0.02, 0);
	ev_timer_start(ev, &end);
	sconce_timer_init(&t, p.loop, stop_timer, NULL);
	sconce_timer_start(&t, 0.04);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_eq(inner_ticks, 1);
	ck_assert_int_ge(p.a.n, 10);
	ck_assert_int_ge(calls, 3);
	pair_free(&p);
}
END_TEST

static struct sconce_timer inner_timer;

static void
inner_fire(struct sconce_timer *t, void *arg)
{
	(void)t, (void)arg;
	inner_ticks++;
}

static void
nested_from_hook(struct end *e)
{
	read_some(e);
	sconce_close(&e->sock, SCONCE_REASON_LOCAL);
	sconce_defer(p.loop, NULL, count_call, NULL);
	sconce_timer_start(&inner_timer, 0);
	for (int i = 0; i < 3; i++)
		ev_run(ev, EVRUN_NOWAIT);
	ck_assert_uint_eq(e->destroys, 0);
	ck_assert_int_eq(calls + inner_ticks, 0);
}

/* A hook runs the ev_loop: what it left for the turn's end, and what fell due meanwhile, is done when it has ended.  HZ-12 */
START_TEST(test_own_nested_run_in_a_hook)
{
	open_own();
	p.b.close_at_end = true;
	p.a.on.read = nested_from_hook;
	sconce_timer_init(&inner_timer, p.loop, inner_fire, NULL);
	send_byte(&p.b);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_uint_eq(p.a.destroys + p.b.destroys, 2);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(inner_ticks, 1);
	pair_free(&p);
}
END_TEST

/* ---- two loops in one thread ---- */

static struct pair q;

static void
inner_pass(struct end *e)
{
	read_some(e);
	sconce_write(&e->sock, "x", 1);
	if (++e->n == 10)
		sconce_loop_stop(q.loop);
}

static void
run_other(struct end *e)
{
	read_some(e);
	q.a.n = q.b.n = 0;
	send_byte(&q.a);
	ck_assert_int_eq(sconce_loop_run(q.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_ge(q.b.n + q.a.n, 10);
	if (++e->n == 3)
		sconce_loop_stop(p.loop);
	send_byte(&p.b);
}

static void
run_outer_ev(struct end *e)
{
	int before = ticks;
	ev_timer now;

	inner_pass(e);
	ev_timer_init(&now, break_all, 0, 0);
	ev_timer_start(ev, &now);
	ev_run(ev, EVRUN_NOWAIT);		/* of the loop whose hook is on the stack */
	ck_assert_int_eq(ticks, before + 1);
}

/* A hook of one loop runs another, whose hook runs the ev_loop of the first. */
START_TEST(test_own_two_loops)
{
	open_own();
	pair_open(&q, WIRE_UNIX);
	q.a.on.read = inner_pass;
	q.b.on.read = run_outer_ev;
	p.a.on.read = run_other;
	send_byte(&p.b);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_STOPPED);
	ck_assert_int_eq(p.a.n, 3);
	pair_free(&q);
	pair_free(&p);
}
END_TEST

/* ---- the one timer ---- */

static void
spin(double secs)
{
	for (double until = t_seconds() + secs; t_seconds() < until;)
		;
}

static void
rearm_before(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A, (void)w, (void)revents;
	ticks++;
	for (int i = 0; i < 3; i++) {
		sconce_timer_stop(&inner_timer);
		sconce_timer_start(&inner_timer, 0.002 + 0.001 * i);
	}
}

/* Whoever changes the next deadline while libev's timer has gone off, but has not been heard of yet, breaks no reference count:
 * an ev_run with nothing but a socket to wait for does not end. */
START_TEST(test_own_deadline_changed_while_it_is_due)
{
	ev_timer w, end;

	open_own();
	sconce_timer_init(&inner_timer, p.loop, inner_fire, NULL);
	sconce_timer_start(&inner_timer, 0.002);
	ev_timer_init(&w, rearm_before, _i == 0 ? 0.001 : 0.003, 0);
	ev_set_priority(&w, EV_MAXPRI);
	ev_timer_start(ev, &w);
	spin(0.006);				/* both are due in one wait */
	for (int i = 0; i < 100 && inner_ticks == 0; i++)
		ev_run(ev, EVRUN_ONCE);
	ck_assert_int_eq(ticks, 1);
	ck_assert_int_eq(inner_ticks, 1);
	ev_timer_init(&end, break_all, 0.005, 0);
	ev_timer_start(ev, &end);
	ev_unref(ev);
	ev_run(ev, 0);
	ck_assert_int_eq(ticks, 2);			/* it lasted until that */
	ev_ref(ev);
	pair_free(&p);
}
END_TEST

static void
free_loop(EV_P_ ev_timer *w, int revents)
{
	struct sconce_loop *l = w->data;

	(void)EV_A, (void)revents;
	w->data = NULL;
	if (l != NULL)
		ck_assert_int_eq(sconce_loop_free(l), 0);
	else
		ticks++;
}

/* A loop on an application's ev_loop is freed while libev's timer of ours has gone off and has not been heard of yet. */
START_TEST(test_own_freed_while_the_timer_is_due)
{
	struct ev_loop *app = ev_loop_new(EVFLAG_NOENV);
	ev_timer frees, last;
	struct sconce_loop *l;

	ticks = inner_ticks = 0;
	ck_assert_ptr_nonnull(app);
	ev_timer_init(&frees, free_loop, 0.001, 0);
	ev_set_priority(&frees, EV_MAXPRI);
	ck_assert_int_eq(sconce_loop_new_ev(app, NULL, &l), 0);
	frees.data = l;
	sconce_timer_init(&inner_timer, l, inner_fire, NULL);
	sconce_timer_start(&inner_timer, 0.002);
	ev_timer_start(app, &frees);
	spin(0.004);				/* both are due in one wait */
	ev_timer_init(&last, free_loop, 0.005, 0);
	last.data = NULL;
	ev_timer_start(app, &last);
	ev_run(app, 0);
	ck_assert_int_eq(ticks, 1);		/* it lasted until that */
	ck_assert_int_eq(inner_ticks, 0);
	ev_loop_destroy(app);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("ev_own");
	TCase *turns = t_case(s, "turns"), *nested = t_case(s, "nested");

	tcase_add_test(turns, test_own_each_wait_is_a_turn);
	tcase_add_loop_test(turns, test_own_turns_time, 0, DEADLINE_KINDS);
	tcase_add_test(turns, test_own_post_loop_added_on_the_way);
	tcase_add_test(turns, test_own_trace_turned_on_and_off_on_the_way);
	tcase_add_test(turns, test_own_loop_timeout_set_on_the_way);
	tcase_add_test(turns, test_own_application_breaks);
	tcase_add_loop_test(turns, test_own_application_breaks_before_the_wait, 0, 2);
	tcase_add_test(nested, test_own_run_inside_ev_run_breaks_with_it);
	tcase_add_test(nested, test_own_fork_in_a_watcher);
	tcase_add_test(nested, test_own_nested_run_has_its_own_time);
	tcase_add_loop_test(nested, test_own_nested_run_of_others_begins_no_turn, 0, 2);
	tcase_add_test(nested, test_own_nested_run_has_turns);
	tcase_add_test(nested, test_own_nested_run_in_a_watcher);
	tcase_add_test(nested, test_own_nested_run_is_not_broken_by_us);
	tcase_add_test(nested, test_own_nested_run_in_a_hook);
	tcase_add_test(nested, test_own_two_loops);
	tcase_add_loop_test(turns, test_own_deadline_changed_while_it_is_due, 0, 2);
	tcase_add_test(turns, test_own_freed_while_the_timer_is_due);
	return s;
}
