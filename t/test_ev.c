/* The libev backend: our turn's end on an application's ev_loop, which goes on doing whatever it did. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sconce/ev.h>

static struct pair p;
static struct ev_loop *ev;
static int ticks;

static void
open_app(enum wire wire)
{
	int fds[2];

	ticks = 0;
	memset(&p, 0, sizeof(p));
	ev = ev_loop_new(EVFLAG_NOENV);
	ck_assert_ptr_nonnull(ev);
	ck_assert_int_eq(sconce_loop_new_ev(ev, NULL, &p.loop), 0);
	ck_assert_ptr_eq(sconce_loop_ev(p.loop), ev);
	wire_make(wire, fds);
	p.a = (struct end){ .pair = &p, .tag = "a", .used = true };
	p.b = (struct end){ .pair = &p, .tag = "b", .used = true };
	ck_assert_int_eq(sconce_sock_init(&p.a.sock, p.loop, &end_ops, fds[0]), 0);
	ck_assert_int_eq(sconce_sock_init(&p.b.sock, p.loop, &end_ops, fds[1]), 0);
}

static void
close_app(void)
{
	pair_free(&p);
	/* Nothing of ours is left: a run of the application's ends at once. */
	ck_assert_int_eq(ev_run(ev, 0), 0);
	ev_loop_destroy(ev);
}

static void
run_now(int times)
{
	for (int i = 0; i < times; i++)
		ev_run(ev, EVRUN_NOWAIT);
}

static void
break_soon(EV_P_ ev_timer *w, int revents)
{
	(void)w;
	(void)revents;
	ticks++;
	ev_break(EV_A_ EVBREAK_ALL);
}

/* Runs the application's loop until it ends, but not for longer than five seconds. */
static void
run_app(void)
{
	ev_timer guard;

	ev_timer_init(&guard, break_soon, 5, 0);
	ev_timer_start(ev, &guard);
	ev_unref(ev);
	ev_run(ev, 0);
	ck_assert_msg(ev_is_active(&guard), "the run did not end by itself");
	ev_ref(ev);
	ev_timer_stop(ev, &guard);
}

/* ---- the ten situations in which a turn must still be ended ---- */

static void
close_a(struct end *e)
{
	(void)e;
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
}

static void
close_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	close_a(NULL);
}

static void
close_and_break(struct end *e)
{
	close_a(e);
	ev_break(ev, EVBREAK_ALL);
}

/* Close in an I/O hook: farewell and close(2) come before the next wait. */
START_TEST(test_ev_close_in_read_same_iteration)
{
	open_app(WIRE_TCP);
	p.a.on.read = close_a;
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	run_now(1);
	ck_assert_uint_eq(p.a.destroys, 1);
	close_app();
}
END_TEST

/* Close in a timer: the peer sees it at once, not at the next wake-up. */
START_TEST(test_ev_close_in_timer_same_iteration)
{
	struct sconce_timer t;

	open_app(WIRE_TCP);
	sconce_timer_init(&t, p.loop, close_timer, NULL);
	sconce_timer_start(&t, 0.001);
	run_now(2);
	while (sconce_timer_active(&t))
		ev_run(ev, EVRUN_ONCE);
	ck_assert_uint_eq(p.a.destroys, 1);
	run_now(1);
	ck_assert(p.b.ended);
	close_app();
}
END_TEST

static void
timer_noted(struct sconce_timer *t, void *arg)
{
	(void)t;
	*(bool *)arg = true;
}

/* A step with a limit sets libev's timer for that limit; in the application's own run the loop's timers still fire. */
START_TEST(test_timer_fires_in_ev_run_after_limited_step)
{
	struct sconce_timer t;
	bool fired = false;
	ev_timer guard;

	open_app(WIRE_UNIX);
	sconce_timer_init(&t, p.loop, timer_noted, &fired);
	sconce_timer_start(&t, 0.2);
	ck_assert_int_ge(sconce_loop_step(p.loop, 0.001), 0);
	ev_timer_init(&guard, break_soon, 5, 0);
	ev_timer_start(ev, &guard);
	for (int i = 0; i < 100 && !fired && ticks == 0; i++)
		ev_run(ev, EVRUN_ONCE);
	ck_assert(fired);
	ev_timer_stop(ev, &guard);
	close_app();
}
END_TEST

/* Close before ev_run: done before its first wait. */
START_TEST(test_ev_close_before_run)
{
	open_app(WIRE_TCP);
	p.b.close_at_end = true;
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
	run_app();				/* ends by itself: a is destroyed, b sees the end and closes */
	ck_assert_uint_eq(p.a.destroys, 1);
	ck_assert_uint_eq(p.b.destroys, 1);
	close_app();
}
END_TEST

/* Close, then ev_break in the same callback. */
START_TEST(test_ev_close_then_break)
{
	open_app(WIRE_UNIX);
	p.a.on.read = close_and_break;
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	ev_run(ev, 0);
	ck_assert_uint_eq(p.a.destroys, 1);
	close_app();
}
END_TEST

/* EVRUN_ONCE. */
START_TEST(test_ev_close_run_once)
{
	open_app(WIRE_UNIX);
	p.a.on.read = close_a;
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	ev_run(ev, EVRUN_ONCE);
	ck_assert_uint_eq(p.a.destroys, 1);
	close_app();
}
END_TEST

static void
app_close(EV_P_ ev_watcher *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
	ticks++;
	close_a(NULL);
}

static void app_close_io(EV_P_ ev_io *w, int r) { app_close(EV_A_ (ev_watcher *)(void *)w, r); }
static void app_close_prepare(EV_P_ ev_prepare *w, int r) { app_close(EV_A_ (ev_watcher *)(void *)w, r); }
static void app_close_check(EV_P_ ev_check *w, int r) { app_close(EV_A_ (ev_watcher *)(void *)w, r); }

/* Close in an application's watcher at EV_MINPRI, which runs after our turn's end: finished before the next wait.
 * DS-90 */
START_TEST(test_ev_close_in_application_watcher_at_minpri)
{
	int fds[2];
	ev_io io;

	open_app(WIRE_UNIX);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ev_io_init(&io, app_close_io, fds[0], EV_READ);
	ev_set_priority(&io, EV_MINPRI);
	ev_io_start(ev, &io);
	run_now(1);
	ck_assert_int_eq(ticks, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
	ev_io_stop(ev, &io);
	close(fds[0]);
	close(fds[1]);
	close_app();
}
END_TEST

/* Close in an application's check watcher at EV_MINPRI. */
START_TEST(test_ev_close_in_application_check_at_minpri)
{
	ev_check check;

	open_app(WIRE_UNIX);
	ev_check_init(&check, app_close_check);
	ev_set_priority(&check, EV_MINPRI);
	ev_check_start(ev, &check);
	run_now(1);
	ck_assert_uint_eq(p.a.destroys, 1);
	ev_check_stop(ev, &check);
	close_app();
}
END_TEST

/* Close in an application's prepare watcher, right before the wait. */
START_TEST(test_ev_close_in_application_prepare)
{
	ev_prepare prepare;

	open_app(WIRE_UNIX);
	run_now(2);
	ev_prepare_init(&prepare, app_close_prepare);
	ev_prepare_start(ev, &prepare);
	run_now(1);
	ck_assert_uint_eq(p.a.destroys, 1);
	ev_prepare_stop(ev, &prepare);
	close_app();
}
END_TEST

static void
nested_close(struct end *e)
{
	close_a(e);
	e->n = 1;
	run_now(2);
	ck_assert_uint_eq(p.a.closes, 0);	/* not while a hook of this loop is on the stack */
	ck_assert_uint_eq(p.a.destroys, 0);
	e->n = 2;
}

/* Close in a hook that runs the loop itself: steps 4 to 7 wait until the outermost hook has ended, and then come before the next
 * wait.  HZ-1 */
START_TEST(test_ev_close_in_nested_run_waits_for_the_hook)
{
	open_app(WIRE_UNIX);
	p.a.on.read = nested_close;
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	run_now(1);
	ck_assert_int_eq(p.a.n, 2);
	ck_assert_uint_eq(p.a.destroys, 1);
	close_app();
}
END_TEST

static bool
count_post(struct sconce_loop *l, void *arg)
{
	(void)l;
	++*(int *)arg;
	return false;				/* ends a run of ours; an application's is none of our business */
}

/* Post-loop callbacks are called after every wait of an application's loop, and do not end its run or keep it.
 * DS-38, DS-17 */
START_TEST(test_ev_post_loop_on_application_loop)
{
	int calls = 0;
	struct sconce_timer t;

	open_app(WIRE_UNIX);
	sconce_post_loop_add(p.loop, count_post, &calls);
	run_now(5);
	ck_assert_int_eq(calls, 5);
	sconce_timer_init(&t, p.loop, close_timer, NULL);
	sconce_timer_start(&t, 0.002);
	p.b.close_at_end = true;
	run_app();
	ck_assert_uint_eq(p.b.destroys, 1);
	ck_assert_int_ge(calls, 6);
	calls = 0;
	ck_assert_int_eq(sconce_post_loop_remove(p.loop, count_post, &calls), 0);
	run_now(3);
	ck_assert_int_eq(calls, 0);
	close_app();
}
END_TEST

/* ---- the application keeps what is its own ---- */

static void
app_idle(EV_P_ ev_idle *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
	ticks++;
}

static int chain;

static void
defer_again(struct sconce_loop *l, void *arg, int status)
{
	chain++;
	if (status == 0 && chain < 1000)
		sconce_defer(l, NULL, defer_again, arg);
}

/* Work for the next turn leaves the application's idle watchers running, and is not silenced by them.  HZ-12 */
START_TEST(test_ev_next_turn_and_application_idle_share)
{
	ev_idle idle;

	for (int priority = EV_MINPRI; priority <= EV_MAXPRI; priority++) {
		open_app(WIRE_UNIX);
		ev_idle_init(&idle, app_idle);
		ev_set_priority(&idle, priority);
		ev_idle_start(ev, &idle);
		chain = 0;
		sconce_defer(p.loop, NULL, defer_again, NULL);
		run_now(20);
		ck_assert_int_ge(ticks, 15);
		ck_assert_int_ge(chain, 15);
		chain = 1000;
		run_now(2);
		ev_idle_stop(ev, &idle);
		close_app();
	}
}
END_TEST

static void
app_busy(EV_P_ ev_io *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
	ticks++;
}

/* Nor by an fd of the application's that is always ready. */
START_TEST(test_ev_next_turn_with_busy_application)
{
	int fds[2];
	ev_io io;

	open_app(WIRE_UNIX);
	ck_assert_int_eq(pipe(fds), 0);
	ev_io_init(&io, app_busy, fds[1], EV_WRITE);
	ev_io_start(ev, &io);
	chain = 0;
	sconce_defer(p.loop, NULL, defer_again, NULL);
	run_now(20);
	ck_assert_int_ge(ticks, 20);
	ck_assert_int_ge(chain, 15);
	chain = 1000;
	run_now(2);
	ev_io_stop(ev, &io);
	close(fds[0]);
	close(fds[1]);
	close_app();
}
END_TEST

static void
stop_ours(struct end *e)
{
	sconce_loop_stop(e->sock.loop);
	sconce_watch_read(&e->sock, false);
}

/* sconce_loop_stop() does not end a run that the application started, nor do our calls take its ev_break() away. */
START_TEST(test_ev_stop_leaves_application_run_alone)
{
	ev_timer later;

	open_app(WIRE_UNIX);
	p.a.on.read = stop_ours;
	sconce_write(&p.b.sock, "x", 1);
	ev_timer_init(&later, break_soon, 0.01, 0);
	ev_timer_start(ev, &later);
	ev_run(ev, 0);
	ck_assert_uint_eq(p.a.reads, 1);
	ck_assert_int_eq(ticks, 1);		/* it went on until the application's own break */
	close_app();
}
END_TEST

static void
app_tick(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
	ticks++;
}

/* sconce_loop_run() works on a shared loop and serves the application's watchers; the application's ev_break does not end it
 * for good. */
START_TEST(test_ev_our_run_serves_application)
{
	ev_timer tick;
	struct sconce_timer t;

	open_app(WIRE_UNIX);
	p.a.close_at_end = p.b.close_at_end = true;
	ev_timer_init(&tick, app_tick, 0.001, 0.001);
	ev_timer_start(ev, &tick);
	sconce_timer_init(&t, p.loop, close_timer, NULL);
	sconce_timer_start(&t, 0.01);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);	/* the tick is not ours */
	ck_assert_int_ge(ticks, 3);
	ev_timer_stop(ev, &tick);
	close_app();
}
END_TEST

/* Our watchers do not keep ev_run: it ends when we have nothing to wait for, and not while a paused socket exists. */
START_TEST(test_ev_run_ends_when_nothing_is_left)
{
	ev_timer later;
	int ran;

	open_app(WIRE_UNIX);
	sconce_watch_read(&p.a.sock, false);
	sconce_watch_read(&p.b.sock, false);
	ev_timer_init(&later, break_soon, 0.01, 0);
	ev_timer_start(ev, &later);
	ran = ev_run(ev, 0);
	ck_assert_int_eq(ticks, 1);
	ck_assert_int_ne(ran, 0);		/* something still kept it */
	sconce_close(&p.a.sock, SCONCE_REASON_LOCAL);
	sconce_close(&p.b.sock, SCONCE_REASON_LOCAL);
	run_app();
	ck_assert_uint_eq(sconce_count(p.loop), 0);
	close_app();
}
END_TEST

/* ---- nested runs ---- */

static struct sconce_timer inner_timer;
static int inner_fired;

static void
inner_fire(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	inner_fired++;
}

static void
nested_wait(struct end *e)
{
	char buf[16];

	sconce_read(&e->sock, buf, sizeof(buf));
	sconce_timer_start(&inner_timer, 0);
	sconce_defer(e->sock.loop, NULL, defer_again, NULL);
	for (int i = 0; i < 3; i++)
		ev_run(ev, EVRUN_NOWAIT);
	ck_assert_int_eq(chain, 0);
	e->n++;
}

/* A timer and a call that fall due in a nested run are not lost: they come when the hook has ended, though nothing else wakes the loop.
 * HZ-12 */
START_TEST(test_ev_nested_run_loses_no_timer)
{
	open_app(WIRE_UNIX);
	inner_fired = 0;
	chain = 0;
	sconce_timer_init(&inner_timer, p.loop, inner_fire, NULL);
	p.a.on.read = nested_wait;
	sconce_write(&p.b.sock, "x", 1);
	for (int i = 0; i < 6; i++)
		ev_run(ev, EVRUN_NOWAIT);
	ck_assert_int_eq(p.a.n, 1);
	ck_assert_int_eq(inner_fired, 1);
	ck_assert_int_ge(chain, 2);		/* the chain goes on turn by turn */
	chain = 1000;
	run_now(2);
	close_app();
}
END_TEST

static void
nested_with_next_turn(struct end *e)
{
	char buf[16];

	sconce_read(&e->sock, buf, sizeof(buf));
	for (int i = 0; i < 3; i++)
		ev_run(ev, EVRUN_NOWAIT);	/* uses up the wake-up that was fed for the next turn */
	e->n++;
}

/* Work that waits for the next turn survives a nested run. */
START_TEST(test_ev_nested_run_loses_no_next_turn)
{
	open_app(WIRE_UNIX);
	chain = 0;
	p.a.on.read = nested_with_next_turn;
	sconce_defer(p.loop, NULL, defer_again, NULL);
	run_now(2);				/* the chain is running: the next link waits */
	sconce_write(&p.b.sock, "x", 1);
	sconce_flush(&p.b.sock);
	run_now(1);
	ck_assert_int_eq(p.a.n, 1);
	chain = 0;
	run_now(5);
	ck_assert_int_ge(chain, 3);
	chain = 1000;
	run_now(2);
	close_app();
}
END_TEST

static void
nested_talk(struct end *e)
{
	char buf[16];
	ssize_t n = sconce_read(&e->sock, buf, sizeof(buf));

	if (n <= 0)
		return;
	sconce_write(&e->sock, "outer", 5);		/* gathered; the nested run takes the buffer over */
	if (e->n++ == 0)
		run_now(3);
	sconce_write(&e->sock, "!", 1);
}

/* What a hook had gathered when it ran the loop itself is neither lost nor put out of order, and other sockets are served in the nested
 * run. */
START_TEST(test_ev_nested_run_keeps_gathered_bytes)
{
	int fds[2];
	struct end *c;

	open_app(WIRE_UNIX);
	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", NULL, fds[0]);
	run_now(2);
	p.a.on.read = nested_talk;
	ck_assert_int_eq(send(sconce_fd(&p.b.sock), "x", 1, 0), 1);
	ck_assert_int_eq(send(fds[1], "y", 1, 0), 1);
	run_now(4);
	ck_assert_uint_eq(p.b.in_len, 6);
	ck_assert_mem_eq(p.b.in, "outer!", 6);
	ck_assert_uint_eq(c->in_len, 1);
	close(fds[1]);
	close_app();
}
END_TEST

static double called_at, fired_at;

static void
fire_late(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	fired_at = t_seconds();
}

static void
start_late(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	(void)status;
	called_at = t_seconds();
	sconce_timer_start(&inner_timer, 0.004);
}

/* A timer started in a call that runs before the first wait of an ev_run is not early, however long ago the last wait was. */
START_TEST(test_ev_timer_started_before_wait_is_not_early)
{
	open_app(WIRE_UNIX);
	run_now(2);
	fired_at = 0;
	for (double until = t_seconds() + 0.01; t_seconds() < until;)
		;
	sconce_timer_init(&inner_timer, p.loop, fire_late, NULL);
	sconce_defer(p.loop, NULL, start_late, NULL);
	for (int i = 0; i < 100 && fired_at == 0; i++)
		ev_run(ev, EVRUN_ONCE);
	ck_assert_double_ge(fired_at - called_at, 0.004 - 1e-6);
	close_app();
}
END_TEST

static void
resume_late(struct end *e, enum sconce_timeout_kind kind)
{
	(void)kind;
	e->n++;
}

/* Nor is an input timeout that begins anew when a socket is resumed long after the last wait. */
START_TEST(test_ev_resume_after_long_pause_is_not_early)
{
	pair_open(&p, WIRE_UNIX);
	p.a.on.timeout = resume_late;
	sconce_set_timeout(&p.a.sock, SCONCE_TIMEOUT_INPUT, 0.03);
	sconce_pause(&p.a.sock, SCONCE_PAUSE_APP);
	pair_turn(&p, 2);
	for (double until = t_seconds() + 0.06; t_seconds() < until;)
		;
	called_at = t_seconds();
	sconce_resume(&p.a.sock, SCONCE_PAUSE_APP);
	for (int i = 0; i < 100 && p.a.n == 0; i++)
		sconce_loop_step(p.loop, 0.01);
	ck_assert_int_eq(p.a.n, 1);
	ck_assert_double_ge(t_seconds() - called_at, 0.03 - 0.0011);
	pair_free(&p);
}
END_TEST

static void
free_ours(EV_P_ ev_timer *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
	ticks++;
	ck_assert_int_eq(sconce_loop_free(p.loop), 0);
	p.loop = NULL;
}

/* An application's callback may free our loop in the middle of a batch: what libev has fetched for us reaches nobody.  HZ-1 */
START_TEST(test_ev_free_in_application_callback)
{
	ev_timer t;

	open_app(WIRE_UNIX);
	run_now(2);
	sconce_defer(p.loop, NULL, defer_again, NULL);
	chain = 0;
	sconce_timer_init(&inner_timer, p.loop, inner_fire, NULL);
	sconce_timer_start(&inner_timer, 10);
	ck_assert_int_eq(send(sconce_fd(&p.a.sock), "x", 1, 0), 1);
	ck_assert_int_eq(send(sconce_fd(&p.b.sock), "x", 1, 0), 1);
	ev_timer_init(&t, free_ours, 0, 0);
	ev_set_priority(&t, EV_MAXPRI);
	ev_timer_start(ev, &t);
	run_now(2);
	ck_assert_int_eq(ticks, 1);
	ck_assert_uint_eq(p.a.reads + p.b.reads, 0);
	ck_assert_uint_eq(p.a.destroys + p.b.destroys, 2);
	ck_assert_int_eq(ev_run(ev, 0), 0);
	ev_loop_destroy(ev);
}
END_TEST

static void
try_run(struct end *e)
{
	ck_assert_int_eq(sconce_loop_run(e->sock.loop), -EDEADLK);
	ck_assert_int_eq(sconce_loop_step(e->sock.loop, 0), -EDEADLK);
	ck_assert_int_eq(sconce_loop_free(e->sock.loop), -EBUSY);
	sconce_close(&e->sock, SCONCE_REASON_LOCAL);
}

/* Our own calls are refused in hooks that an application's run has called. */
START_TEST(test_ev_our_run_inside_hook_is_refused)
{
	open_app(WIRE_UNIX);
	p.a.on.read = try_run;
	ck_assert_int_eq(send(sconce_fd(&p.b.sock), "x", 1, 0), 1);
	run_now(2);
	ck_assert_uint_eq(p.a.destroys, 1);
	close_app();
}
END_TEST

/* ---- trouble in libev ---- */

/* The kernel's answer to the next so many ADDs. */
static int no_space;

/* libev's calls come here. */
__attribute__((visibility("default"))) int
epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD && no_space > 0) {
		no_space--;
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
}

static void
close_next(struct end *e, int errnum)
{
	ck_assert_int_eq(errnum, ENOSPC);
	sconce_close(e == &p.others[0] ? &p.others[1].sock : &p.others[0].sock, SCONCE_REASON_LOCAL);
	sconce_close(&e->sock, SCONCE_REASON_LOCAL);
}

/* An fd that the kernel will not watch (no more watches) gives event_err, also when another failed one is closed meanwhile; and the
 * references that we hold of the ev_loop still add up. */
START_TEST(test_ev_unwatchable_becomes_event_err)
{
	struct sconce_timer t;
	int fds[2];

	open_app(WIRE_UNIX);
	run_now(2);
	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", NULL, fds[0])->on.err = close_next;
	end_open(&p, "d", NULL, fds[1])->on.err = close_next;
	no_space = 2;
	run_now(3);
	ck_assert_int_eq(no_space, 0);
	ck_assert_uint_eq(p.others[0].errs + p.others[1].errs, 1);
	ck_assert_uint_eq(p.others[0].destroys + p.others[1].destroys, 2);
	p.b.close_at_end = true;
	sconce_timer_init(&t, p.loop, close_timer, NULL);
	sconce_timer_start(&t, 0.005);
	run_app();				/* would end too early, or never, if a reference were wrong */
	ck_assert_uint_eq(p.b.destroys, 1);
	close_app();
}
END_TEST

/* Our own two watchers are tried again, so a post still arrives. */
START_TEST(test_ev_unwatchable_wake_up_is_tried_again)
{
	open_app(WIRE_UNIX);
	no_space = 3;
	chain = 999;
	sconce_post(p.loop, defer_again, NULL);
	for (int i = 0; i < 100 && chain < 1000; i++)
		ev_run(ev, EVRUN_NOWAIT);
	ck_assert_int_eq(chain, 1000);
	close_app();
}
END_TEST

/* The same for a foreign fd: it is told as a hang-up. */
static void
watch_failed(struct sconce_watch *w, unsigned events, void *arg)
{
	ck_assert_uint_eq(events, SCONCE_HUP);
	++*(int *)arg;
	sconce_watch_stop(w);
}

START_TEST(test_ev_unwatchable_foreign_fd_is_told)
{
	struct sconce_watch w = { 0 };
	int fds[2], told = 0;

	pair_open_loop(&p, NULL);
	pair_turn(&p, 2);
	ck_assert_int_eq(pipe(fds), 0);
	no_space = 1;
	ck_assert_int_eq(sconce_watch_start(&w, p.loop, fds[0], SCONCE_READ, watch_failed, &told), 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(told, 1);
	close(fds[0]);
	close(fds[1]);
	pair_free(&p);
}
END_TEST

/* ---- two of ours on one ev_loop ---- */

/* Two loops of ours share an application's loop, and each ends its own turn. */
START_TEST(test_ev_two_loops_share_one)
{
	static struct pair q;
	int fds[2];

	open_app(WIRE_UNIX);
	memset(&q, 0, sizeof(q));
	ck_assert_int_eq(sconce_loop_new_ev(ev, NULL, &q.loop), 0);
	wire_make(WIRE_UNIX, fds);
	end_open(&q, "c", NULL, fds[0]);
	end_open(&q, "d", NULL, fds[1]);
	sconce_write(&p.a.sock, "one", 3);
	sconce_write(&q.others[0].sock, "two", 3);
	run_now(3);
	ck_assert_uint_eq(p.b.in_len, 3);
	ck_assert_uint_eq(q.others[1].in_len, 3);
	pair_free(&q);
	sconce_write(&p.a.sock, "one", 3);
	run_now(3);
	ck_assert_uint_eq(p.b.in_len, 6);
	close_app();
}
END_TEST

/* Posts from a thread arrive on an application's loop. */
static void *
post_thread(void *arg)
{
	ck_assert_int_eq(sconce_post(arg, defer_again, NULL), 0);
	return NULL;
}

START_TEST(test_ev_post_reaches_application_loop)
{
	pthread_t thread;

	open_app(WIRE_UNIX);
	run_now(2);
	chain = 999;
	ck_assert_int_eq(pthread_create(&thread, NULL, post_thread, p.loop), 0);
	for (int i = 0; i < 100 && chain < 1000; i++)
		ev_run(ev, EVRUN_ONCE);
	ck_assert_int_eq(chain, 1000);
	pthread_join(thread, NULL);
	close_app();
}
END_TEST

/* A hang-up of a paused socket is told on an application's loop too.  HZ-10 */
START_TEST(test_ev_hup_while_paused)
{
	open_app(WIRE_TCP);
	sconce_watch_read(&p.a.sock, false);
	run_now(2);
	sconce_abort(&p.b.sock);
	run_now(1);
	for (int i = 0; i < 100 && p.a.hups == 0; i++)
		ev_run(ev, EVRUN_ONCE);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_int_eq(p.a.errnum, ECONNRESET);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_uint_eq(p.a.reads, 0);
	close_app();
}
END_TEST

/* LIBEV_FLAGS in the environment does not reach us. */
START_TEST(test_ev_environment_is_ignored)
{
	ck_assert_int_eq(setenv("LIBEV_FLAGS", "1", 1), 0);	/* select */
	pair_open(&p, WIRE_UNIX);
	ck_assert_uint_eq(ev_backend(sconce_loop_ev(p.loop)), EVBACKEND_EPOLL);
	pair_free(&p);
	unsetenv("LIBEV_FLAGS");
}
END_TEST

/* libev's other backends serve as well.  DS-30, DS-43 */
START_TEST(test_ev_poll_and_select_backends)
{
	static const unsigned flags[] = { EVBACKEND_POLL, EVBACKEND_SELECT };
	struct sconce_loop_options opts = { .backend_flags = flags[_i] };

	pair_open_with(&p, WIRE_TCP, NULL, NULL, &opts);
	ck_assert_uint_eq(ev_backend(sconce_loop_ev(p.loop)), flags[_i]);
	sconce_write(&p.a.sock, "hello", 5);
	PAIR_UNTIL(&p, p.b.in_len == 5);
	sconce_watch_read(&p.b.sock, false);
	pair_turn(&p, 2);
	sconce_abort(&p.a.sock);
	PAIR_UNTIL(&p, p.b.hups == 1);
	pair_free(&p);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("ev");
	TCase *end = t_case(s, "end"), *app = t_case(s, "application"), *nested = t_case(s, "nested"), *misc = t_case(s, "misc");

	tcase_add_test(end, test_timer_fires_in_ev_run_after_limited_step);
	tcase_add_test(end, test_ev_close_in_read_same_iteration);
	tcase_add_test(end, test_ev_close_in_timer_same_iteration);
	tcase_add_test(end, test_ev_close_before_run);
	tcase_add_test(end, test_ev_close_then_break);
	tcase_add_test(end, test_ev_close_run_once);
	tcase_add_test(end, test_ev_close_in_application_watcher_at_minpri);
	tcase_add_test(end, test_ev_close_in_application_check_at_minpri);
	tcase_add_test(end, test_ev_close_in_application_prepare);
	tcase_add_test(end, test_ev_close_in_nested_run_waits_for_the_hook);
	tcase_add_test(end, test_ev_post_loop_on_application_loop);
	tcase_add_test(app, test_ev_next_turn_and_application_idle_share);
	tcase_add_test(app, test_ev_next_turn_with_busy_application);
	tcase_add_test(app, test_ev_stop_leaves_application_run_alone);
	tcase_add_test(app, test_ev_our_run_serves_application);
	tcase_add_test(app, test_ev_run_ends_when_nothing_is_left);
	tcase_add_test(nested, test_ev_nested_run_loses_no_timer);
	tcase_add_test(nested, test_ev_nested_run_loses_no_next_turn);
	tcase_add_test(nested, test_ev_nested_run_keeps_gathered_bytes);
	tcase_add_test(nested, test_ev_timer_started_before_wait_is_not_early);
	tcase_add_test(nested, test_ev_resume_after_long_pause_is_not_early);
	tcase_add_test(app, test_ev_free_in_application_callback);
	tcase_add_test(app, test_ev_our_run_inside_hook_is_refused);
	tcase_add_test(misc, test_ev_unwatchable_becomes_event_err);
	tcase_add_test(misc, test_ev_unwatchable_wake_up_is_tried_again);
	tcase_add_test(misc, test_ev_unwatchable_foreign_fd_is_told);
	tcase_add_test(misc, test_ev_two_loops_share_one);
	tcase_add_test(misc, test_ev_post_reaches_application_loop);
	tcase_add_test(misc, test_ev_hup_while_paused);
	tcase_add_test(misc, test_ev_environment_is_ignored);
	tcase_add_loop_test(misc, test_ev_poll_and_select_backends, 0, 2);
	return s;
}
