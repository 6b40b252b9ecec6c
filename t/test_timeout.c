/* Timeouts of sockets.  The clock is the real one plus `skew`, which the test moves; sockets without an fd do where
 * no bytes are needed. */
#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

/* ---- a socket that notes what happens ---- */

struct probe {
	struct sconce_sock sock;
	int fired, reads, closes, destroyed;
	enum sconce_timeout_kind kind;
	double at;			/* when it last fired */
	double again;			/* > 0: the hook sets it to this; < 0: cancels it */
	bool close;			/* the hook closes */
	struct probe *victim;		/* the hook closes this one */
	struct probe *hurried;		/* event_close gives this one a short timeout */
	const char *text;		/* the hook writes this */
};

static const struct sconce_sock_ops probe_ops, plain_ops;

static struct probe *
probe_of(struct sconce_sock *s)
{
	ck_assert(s->ops == &probe_ops || s->ops == &plain_ops);
	return SCONCE_CONTAINER_OF(s, struct probe, sock);
}

static void
probe_event_read(struct sconce_sock *s)
{
	const void *data;

	probe_of(s)->reads++;
	if (sconce_read_shared(s, &data) == 0)
		sconce_close(s, SCONCE_REASON_EOF);
}

static void
probe_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct probe *p = probe_of(s);

	p->fired++;
	p->kind = kind;
	p->at = sconce_now(loop);
	if (p->again != 0)
		ck_assert_int_eq(sconce_set_timeout(s, kind, p->again), 0);
	if (p->text != NULL)
		ck_assert_int_ge(sconce_write(s, p->text, strlen(p->text)), 0);
	if (p->victim != NULL)
		sconce_close(&p->victim->sock, SCONCE_REASON_LOCAL);
	if (p->close)
		sconce_close(s, SCONCE_REASON_LOCAL);
}

static void
probe_event_close(struct sconce_sock *s)
{
	struct probe *p = probe_of(s);

	p->closes++;
	if (p->hurried != NULL)
		ck_assert_int_eq(sconce_set_timeout(&p->hurried->sock, SCONCE_TIMEOUT_INPUT, 0.01), 0);
}

static void
probe_destroy(struct sconce_sock *s)
{
	probe_of(s)->destroyed++;
}

static const struct sconce_sock_ops probe_ops = {
	.name = "probe", .event_read = probe_event_read, .event_timeout = probe_event_timeout,
	.event_close = probe_event_close, .destroy = probe_destroy,
};

static const struct sconce_sock_ops plain_ops = {
	.name = "plain", .event_read = probe_event_read, .event_close = probe_event_close, .destroy = probe_destroy,
};

static void
probe_init(struct probe *p, const struct sconce_sock_ops *ops, int fd)
{
	memset(p, 0, sizeof(*p));
	ck_assert_int_eq(sconce_sock_init(&p->sock, loop, ops, fd), 0);
}

static void
make_pair(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void
set(struct probe *p, enum sconce_timeout_kind kind, double secs)
{
	ck_assert_int_eq(sconce_set_timeout(&p->sock, kind, secs), 0);
}

static void
set_input(struct probe *p, double secs)
{
	set(p, SCONCE_TIMEOUT_INPUT, secs);
}

/* How late the wheel may be, with what the machine needs for a turn. */
static double
slack(double secs)
{
	double part = secs / 63;

	return (part > 0.016 ? part : 0.016) + 0.002;
}

/* ---- input idle ---- */

/* Of any length, from any moment: never early, late by at most 16 ms or a 64th. DS-99 */
START_TEST(test_input_any_length_never_early_hardly_late)
{
	static const double lengths[] = {
		1e-9, 0.001, 0.005, 0.015, 0.016, 0.017, 0.1, 2.03, 2.048, 2.05, 4.1, 30, 60, 300, 3600, 86400, 23 * 86400.0,
	};
	unsigned seed = 5;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) * 20; i++) {
		double secs = lengths[i / 20], begin;
		struct probe p;

		skew += rand_r(&seed) % 100000000;
		ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
		probe_init(&p, &probe_ops, -1);
		begin = sconce_now(loop);
		set_input(&p, secs);
		if (secs > 0.01) {
			pass(secs - 0.006);
			ck_assert_msg(p.fired == 0 || sconce_now(loop) >= begin + secs, "%f s: early", secs);
		}
		pass(slack(secs) + 0.006);
		ck_assert_msg(p.fired == 1, "%f s: late", secs);
		ck_assert_double_ge(p.at, begin + secs - 1e-6);
		sconce_close(&p.sock, SCONCE_REASON_LOCAL);
		pass(0);
	}
}
END_TEST

/* The loop sleeps until then, on the real clock. DS-99 */
START_TEST(test_input_idle_wakes_loop)
{
	static struct probe p;
	int fds[2];
	double begin;

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	p.close = true;
	begin = sconce_now(loop);
	set_input(&p, 0.03);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(p.kind, SCONCE_TIMEOUT_INPUT);
	ck_assert_double_ge(p.at - begin, 0.03 - 1e-6);
	ck_assert_double_lt(p.at - begin, 1);
	close(fds[1]);
}
END_TEST

/* What is read starts it anew; what does not come does not. DS-99 */
START_TEST(test_input_activity_restarts)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	set_input(&p, 10);
	for (int i = 1; i <= 20; i++) {
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		pass(9);
		ck_assert_int_eq(p.reads, i);
	}
	ck_assert_int_eq(p.fired, 0);
	pass(9);
	ck_assert_int_eq(p.fired, 0);
	pass(1 + slack(10));
	ck_assert_int_eq(p.fired, 1);
	close(fds[1]);
}
END_TEST

/* It fires once; output is no activity; input, or setting it, arms it again. */
START_TEST(test_input_fires_once_until_armed_again)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	p.text = "still there?";
	set_input(&p, 5);
	pass(6);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_double_eq(sconce_timeout(&p.sock, SCONCE_TIMEOUT_INPUT), 5);
	for (int i = 0; i < 5; i++)
		pass(100);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(write(fds[1], "yes", 3), 3);
	pass(1);
	ck_assert_int_eq(p.reads, 1);
	pass(6);
	ck_assert_int_eq(p.fired, 2);
	pass(100);
	set_input(&p, 5);
	pass(6);
	ck_assert_int_eq(p.fired, 3);
	close(fds[1]);
}
END_TEST

/* It does not run while reads are not watched, and begins anew when they are. DS-99 */
START_TEST(test_input_paused_does_not_run)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	sconce_pause(&p.sock, SCONCE_PAUSE_APP);
	set_input(&p, 10);
	pass(1000);
	sconce_resume(&p.sock, SCONCE_PAUSE_APP);
	pass(0);
	pass(9);
	sconce_watch_read(&p.sock, false);
	for (int i = 0; i < 20; i++)
		pass(9);
	sconce_watch_read(&p.sock, true);
	pass(0);
	pass(9);
	ck_assert_int_eq(p.fired, 0);
	pass(1 + slack(10));
	ck_assert_int_eq(p.fired, 1);
	sconce_pause(&p.sock, SCONCE_PAUSE_APP);	/* having fired: again from here */
	pass(50);
	sconce_resume(&p.sock, SCONCE_PAUSE_APP);
	pass(0);
	pass(9);
	ck_assert_int_eq(p.fired, 1);
	pass(1 + slack(10));
	ck_assert_int_eq(p.fired, 2);
	close(fds[1]);
}
END_TEST

/* 0 cancels, a smaller value comes sooner, a larger one later. */
START_TEST(test_input_changed_value_counts)
{
	static struct probe p;

	probe_init(&p, &probe_ops, -1);
	set_input(&p, 10);
	set_input(&p, 0);
	ck_assert_double_eq(sconce_timeout(&p.sock, SCONCE_TIMEOUT_INPUT), 0);
	pass(20);
	ck_assert_int_eq(p.fired, 0);
	set_input(&p, 3600);
	set_input(&p, 1);
	pass(1.05);
	ck_assert_int_eq(p.fired, 1);
	set_input(&p, 1);
	set_input(&p, 3600);
	pass(3599);
	ck_assert_int_eq(p.fired, 1);
	pass(1 + slack(3600));
	ck_assert_int_eq(p.fired, 2);
	set_input(&p, -5);
	pass(10000);
	ck_assert_int_eq(p.fired, 2);
}
END_TEST

/* The hook may set it again, or cancel it. HZ-13 */
START_TEST(test_input_set_in_own_hook)
{
	static struct probe p;

	probe_init(&p, &probe_ops, -1);
	p.again = 0.001;
	set_input(&p, 5);
	pass(6);
	ck_assert_int_eq(p.fired, 1);
	pass(0);				/* not again in the same sweep, however short */
	pass(0.02);
	ck_assert_int_eq(p.fired, 2);
	p.again = -1;
	pass(0.02);
	ck_assert_int_eq(p.fired, 3);
	ck_assert_double_eq(sconce_timeout(&p.sock, SCONCE_TIMEOUT_INPUT), 0);
	pass(100);
	ck_assert_int_eq(p.fired, 3);
}
END_TEST

/* The hook may close its socket, and others that are due in the same sweep. HZ-1 */
START_TEST(test_input_closes_in_hook)
{
	static struct probe p[4];

	for (int i = 0; i < 4; i++) {
		probe_init(&p[i], &probe_ops, -1);
		set_input(&p[i], 5);
		p[i].close = true;
	}
	p[0].victim = &p[1];
	p[1].victim = &p[0];
	p[2].victim = &p[3];
	p[3].victim = &p[2];
	pass(6);
	ck_assert_int_eq(p[0].fired + p[1].fired, 1);
	ck_assert_int_eq(p[2].fired + p[3].fired, 1);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(p[i].destroyed, 1);
		memset(&p[i], 0xff, sizeof(p[i]));
	}
	pass(100);
}
END_TEST

/* A type without the hook is closed, with the reason. DS-99 */
START_TEST(test_input_no_hook_closes)
{
	static struct probe p;

	probe_init(&p, &plain_ops, -1);
	set_input(&p, 1);
	pass(1.1);
	ck_assert_int_eq(p.closes, 1);
	ck_assert_int_eq(p.destroyed, 1);
	ck_assert_int_eq(p.sock.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_int_eq(p.sock.errnum, ETIMEDOUT);
}
END_TEST

/* After a long stop, input that waits is read first, and then nothing is idle. HZ-13 */
START_TEST(test_input_waiting_is_read_before_expiry)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	set_input(&p, 5);
	pass(1);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	pass(1000);
	ck_assert_int_eq(p.reads, 1);
	ck_assert_int_eq(p.fired, 0);
	pass(6);
	ck_assert_int_eq(p.fired, 1);
	close(fds[1]);
}
END_TEST

/* In an application's own ev_loop, where we do not choose how long to wait. DS-104 */
START_TEST(test_input_idle_in_application_loop)
{
	struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
	struct sconce_loop *mine = loop;
	static struct probe p;
	int fds[2];
	double begin;

	ck_assert_int_eq(sconce_loop_new_ev(ev, NULL, &loop), 0);
	make_pair(fds);
	probe_init(&p, &plain_ops, fds[0]);
	begin = sconce_now(loop);
	set_input(&p, 0.02);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ev_run(ev, 0);
	ck_assert_int_eq(p.reads, 1);
	ck_assert_int_eq(p.destroyed, 1);
	ck_assert_int_eq(p.sock.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_double_ge(sconce_now(loop) - begin, 0.02);
	ck_assert_double_lt(sconce_now(loop) - begin, 1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ev_loop_destroy(ev);
	loop = mine;
	close(fds[1]);
}
END_TEST

enum { MANY = 3000 };

struct due {
	struct probe probe;
	double begin, secs;
};

/* Many at once, of all lengths, set, moved, cancelled and closed at random: each fires in its window. */
START_TEST(test_input_many_random)
{
	struct due *d = calloc(MANY, sizeof(*d));
	unsigned seed = 11;
	int fired = 0;

	for (int i = 0; i < MANY; i++)
		probe_init(&d[i].probe, &probe_ops, -1);
	for (int round = 0; round < 400; round++) {
		for (int k = 0; k < 60; k++) {
			struct due *x = &d[rand_r(&seed) % MANY];

			if (x->probe.fired > 0)
				continue;
			x->secs = rand_r(&seed) % 8 == 0 ? 0 :
			    (1 + rand_r(&seed) % 1000) * 0.001 * (rand_r(&seed) % 3 == 0 ? 100 : 1);
			x->begin = sconce_now(loop);
			set_input(&x->probe, x->secs);
		}
		pass(rand_r(&seed) % 40 == 0 ? 20 : 0.01);
		for (int i = 0; i < MANY; i++) {
			struct due *x = &d[i];
			double now = sconce_now(loop);

			if (x->probe.fired > 0 || x->secs == 0)
				continue;
			/* After a stall of 20 s slots may be as coarse as for 20 s. */
			ck_assert_msg(now < x->begin + x->secs + slack(x->secs + 20) + 0.05, "%f s: late", x->secs);
		}
	}
	pass(300);
	for (int i = 0; i < MANY; i++) {
		struct due *x = &d[i];

		ck_assert_int_eq(x->probe.fired, x->secs > 0);
		fired += x->probe.fired;
		if (x->probe.fired > 0)
			ck_assert_double_ge(x->probe.at, x->begin + x->secs - 1e-6);
		sconce_close(&x->probe.sock, SCONCE_REASON_LOCAL);
	}
	ck_assert_int_gt(fired, MANY / 2);
	pass(0);
	free(d);
}
END_TEST

/* The wheel turns for more than the 49 days that 32 bits of milliseconds last. */
START_TEST(test_input_months_pass)
{
	static struct probe p;
	int fds[2], reads = 0;

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	for (int day = 0; day < 120; day++) {
		double begin = sconce_now(loop);

		set_input(&p, 86400);
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		pass(40000);
		ck_assert_int_eq(p.reads, ++reads);
		pass(86300);
		ck_assert_int_eq(p.fired, day);
		pass(100 + slack(86400));
		ck_assert_int_eq(p.fired, day + 1);
		ck_assert_double_ge(p.at, begin + 86400 + 40000 - 1e-3);
	}
	close(fds[1]);
}
END_TEST

static void *
no_memory(void *ptr, size_t size, void *ctx)
{
	return size == 0 ? sconce_backend_libev()->alloc(ptr, 0, ctx) : NULL;
}

/* Setting it needs no memory, nor does any cancel; the other kinds say so. HZ-22 */
START_TEST(test_set_no_memory)
{
	static struct probe p, q;

	probe_init(&p, &probe_ops, -1);
	probe_init(&q, &probe_ops, -1);
	set(&q, SCONCE_TIMEOUT_ALARM, 1);
	skewed.alloc = no_memory;
	set_input(&p, 1);
	ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_ALARM, 1), -ENOMEM);
	ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_ALARM, 0), 0);
	ck_assert_int_eq(sconce_set_timeout(&q.sock, SCONCE_TIMEOUT_LIFETIME, 1), -ENOMEM);
	set(&q, SCONCE_TIMEOUT_ALARM, 2);
	set(&q, SCONCE_TIMEOUT_ALARM, 0);
	pass(3);
	skewed.alloc = sconce_backend_libev()->alloc;
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(q.fired, 0);
}
END_TEST

/* Nonsense is refused, and a closed socket has no timeouts. */
START_TEST(test_set_bad_arguments_refused)
{
	static struct probe p;

	probe_init(&p, &probe_ops, -1);
	ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_KINDS, 1), -EINVAL);
	ck_assert_int_eq(sconce_set_timeout(&p.sock, (enum sconce_timeout_kind)-1, 1), -EINVAL);
	ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_INPUT, (double)NAN), -EINVAL);
	for (int kind = 0; kind < SCONCE_TIMEOUT_KINDS; kind++) {
		ck_assert_int_eq(sconce_set_timeout(&p.sock, kind, 24 * 86400 + 1), -EINVAL);
		ck_assert_int_eq(sconce_set_timeout(&p.sock, kind, 0.07), 0);
		ck_assert_double_eq_tol(sconce_timeout(&p.sock, kind), 0.07, 1e-9);
	}
	ck_assert_double_eq(sconce_timeout(&p.sock, SCONCE_TIMEOUT_KINDS), 0);
	sconce_close(&p.sock, SCONCE_REASON_LOCAL);
	for (int kind = 0; kind < SCONCE_TIMEOUT_KINDS; kind++) {
		ck_assert_int_eq(sconce_set_timeout(&p.sock, kind, 1), -EBADF);
		ck_assert_double_eq(sconce_timeout(&p.sock, kind), 0);
	}
	pass(10);
	ck_assert_int_eq(p.fired, 0);
}
END_TEST

/* ---- lifetime and alarm ---- */

/* The lifetime counts from when it was set, whatever is read meanwhile. DS-99 */
START_TEST(test_lifetime_ignores_activity)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &plain_ops, fds[0]);
	set(&p, SCONCE_TIMEOUT_LIFETIME, 10);
	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		pass(1.1);
	}
	ck_assert(!p.sock.closed);
	pass(0.11);
	ck_assert_int_eq(p.destroyed, 1);
	ck_assert_int_eq(p.sock.reason, SCONCE_REASON_TIMEOUT);
	close(fds[1]);
}
END_TEST

/* The alarm is told once, precisely; without a hook nothing happens. */
START_TEST(test_alarm_once_and_harmless)
{
	static struct probe p, q;
	double begin;

	probe_init(&p, &probe_ops, -1);
	probe_init(&q, &plain_ops, -1);
	begin = sconce_now(loop);
	set(&p, SCONCE_TIMEOUT_ALARM, 100);
	set(&q, SCONCE_TIMEOUT_ALARM, 1);
	pass(99.9);
	ck_assert_int_eq(p.fired, 0);
	pass(0.1);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(p.kind, SCONCE_TIMEOUT_ALARM);
	ck_assert_double_ge(p.at - begin, 100 - 1e-6);
	pass(1000);
	ck_assert_int_eq(p.fired, 1);
	ck_assert(!q.sock.closed);
}
END_TEST

/* Set again, cancelled, or closed in its own hook. HZ-1 HZ-13 */
START_TEST(test_alarm_changed_in_own_hook)
{
	static struct probe p;

	probe_init(&p, &probe_ops, -1);
	p.again = 1;
	set(&p, SCONCE_TIMEOUT_ALARM, 1);
	pass(1);
	pass(1);
	ck_assert_int_eq(p.fired, 2);
	p.again = -1;
	pass(1);
	pass(10);
	ck_assert_int_eq(p.fired, 3);
	p.again = 0;
	p.close = true;
	set(&p, SCONCE_TIMEOUT_ALARM, 1);
	set(&p, SCONCE_TIMEOUT_LIFETIME, 1);
	set_input(&p, 0.9);
	pass(2);
	ck_assert_int_eq(p.fired, 4);
	ck_assert_int_eq(p.destroyed, 1);
	memset(&p, 0xff, sizeof(p));
	pass(10);
}
END_TEST

/* ---- output stalled ---- */

static void
fill(struct probe *p)
{
	static char block[64 * 1024];

	for (int i = 0; i < 100; i++)
		if (sconce_write(&p->sock, block, sizeof(block)) == SCONCE_QUEUED)
			return;
	ck_abort_msg("the kernel takes everything");
}

static size_t
drain(int fd)
{
	static char block[256 * 1024];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		total += (size_t)n;
	return total;
}

/* It runs while the kernel refuses bytes, and starts again when it takes some. DS-80 DS-99 */
START_TEST(test_output_stalled_fires)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &probe_ops, fds[0]);
	set(&p, SCONCE_TIMEOUT_OUTPUT, 10);
	pass(100);
	ck_assert_int_eq(p.fired, 0);		/* nothing waits */
	for (int i = 0; i < 40; i++)
		fill(&p);
	pass(9);
	ck_assert_int_eq(p.fired, 0);
	for (int i = 0; i < 5; i++) {
		ck_assert_uint_gt(drain(fds[1]), 0);
		pass(0);			/* the kernel takes some */
		pass(9);
		ck_assert_int_eq(p.fired, 0);
	}
	ck_assert_uint_gt(sconce_queued(&p.sock), 0);
	pass(1.1);
	ck_assert_int_eq(p.fired, 1);
	ck_assert_int_eq(p.kind, SCONCE_TIMEOUT_OUTPUT);
	pass(100);
	ck_assert_int_eq(p.fired, 1);		/* once */
	drain(fds[1]);
	pass(0);
	pass(10.1);				/* but activity has armed it again */
	ck_assert_int_eq(p.fired, 2);
	for (int i = 0; i < 100 && sconce_queued(&p.sock) > 0; i++) {
		drain(fds[1]);
		pass(0);
	}
	ck_assert_uint_eq(sconce_queued(&p.sock), 0);
	pass(100);				/* all has gone */
	ck_assert_int_eq(p.fired, 2);
	close(fds[1]);
}
END_TEST

static struct probe resumed, closed, hurried;

/* A hook that takes five seconds of its turn. */
static void
slow_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)arg;
	ck_assert_int_eq(status, 0);
	skew += 5000000000;
	sconce_watch_read(&resumed.sock, true);
	sconce_close(&closed.sock, 0);
}

/* Behind a slow hook the wheel learns the real time, from a socket that is read again, and then the turn's, from a hook:
 * a timeout that seems to end in the past is not put where no slot is. */
START_TEST(test_input_set_behind_the_wheel)
{
	int fds[2];

	make_pair(fds);
	probe_init(&resumed, &probe_ops, fds[0]);
	probe_init(&closed, &probe_ops, -1);
	probe_init(&hurried, &probe_ops, -1);
	sconce_watch_read(&resumed.sock, false);
	pass(0);
	set_input(&resumed, 60);
	closed.hurried = &hurried;
	ck_assert_int_eq(sconce_defer(loop, NULL, slow_call, NULL), 0);
	pass(0);
	ck_assert_int_eq(closed.closes, 1);
	pass(0.04);
	ck_assert_int_eq(hurried.fired, 1);
	close(fds[1]);
}
END_TEST

/* Nothing is stalled where nothing is connected. */
START_TEST(test_output_without_fd_waits)
{
	static struct probe p;

	probe_init(&p, &plain_ops, -1);
	set(&p, SCONCE_TIMEOUT_OUTPUT, 10);
	ck_assert_int_eq(sconce_write(&p.sock, "queued", 6), SCONCE_QUEUED);
	pass(100);
	ck_assert(!p.sock.closed);
}
END_TEST

/* Set while the kernel refuses bytes, it runs from then; 0 cancels it. */
START_TEST(test_output_set_while_stuck)
{
	static struct probe p;
	int fds[2];

	make_pair(fds);
	probe_init(&p, &plain_ops, fds[0]);
	fill(&p);
	pass(100);
	set(&p, SCONCE_TIMEOUT_OUTPUT, 10);
	pass(9);
	set(&p, SCONCE_TIMEOUT_OUTPUT, 0);
	pass(100);
	ck_assert(!p.sock.closed);
	set(&p, SCONCE_TIMEOUT_OUTPUT, 10);
	pass(10.1);
	ck_assert_int_eq(p.destroyed, 1);
	ck_assert_int_eq(p.sock.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_uint_gt(p.sock.unsent, 0);
	close(fds[1]);
}
END_TEST

/* ---- close_flush ---- */

/* The deadline of a close that waits is neither early nor late, and no hook is called; other timeouts are off. */
START_TEST(test_close_flush_deadline_closes)
{
	double deadlines[] = { 0.05, 0.5, 2, 30, 600 };

	for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
		struct probe p;
		int fds[2];
		double secs = deadlines[i];

		make_pair(fds);
		probe_init(&p, &probe_ops, fds[0]);
		set_input(&p, secs / 2);
		set(&p, SCONCE_TIMEOUT_LIFETIME, secs / 2);
		fill(&p);
		sconce_close_flush(&p.sock, secs);
		ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_INPUT, secs / 4), 0);
		ck_assert_int_eq(sconce_set_timeout(&p.sock, SCONCE_TIMEOUT_ALARM, secs / 4), 0);
		ck_assert_double_eq(sconce_timeout(&p.sock, SCONCE_TIMEOUT_INPUT), 0);
		pass(secs - 0.02);
		ck_assert(!p.sock.closed);
		pass(0.02 + slack(secs));
		ck_assert_int_eq(p.destroyed, 1);
		ck_assert_int_eq(p.fired, 0);
		ck_assert_int_eq(p.sock.reason, SCONCE_REASON_TIMEOUT);
		close(fds[1]);
	}
}
END_TEST

/* ---- connect ---- */

struct caller {
	struct sconce_sock sock;
	int connects, errnum;
};

static void
caller_event_connect(struct sconce_sock *s, int errnum)
{
	struct caller *c = SCONCE_CONTAINER_OF(s, struct caller, sock);

	c->connects++;
	c->errnum = errnum;
	if (errnum != 0)
		sconce_close(s, SCONCE_REASON_CONNECT);
}

static const struct sconce_sock_ops caller_ops = { .name = "caller", .event_connect = caller_event_connect };

/* A listener whose backlog is full: the kernel drops what else comes. */
static int
full_listener(int *fillers, int count, char *endpoint, size_t size)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	for (int i = 0; i < count; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(fillers[i], (struct sockaddr *)&sin, sizeof(sin));
	}
	snprintf(endpoint, size, "127.0.0.1:%d", ntohs(sin.sin_port));
	return fd;
}

/* A connect that takes too long is reported as one that failed with ETIMEDOUT. DS-99 */
START_TEST(test_connect_expired_reported)
{
	static struct caller c;
	int fillers[4], fd;
	char endpoint[64];

	fd = full_listener(fillers, 4, endpoint, sizeof(endpoint));
	ck_assert_int_eq(sconce_sock_init(&c.sock, loop, &caller_ops, -1), 0);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 10), 0);
	for (int i = 0; i < 5; i++)
		pass(1.9);
	ck_assert_int_eq(c.connects, 0);
	pass(0.51);
	pass(0);
	ck_assert_int_eq(c.connects, 1);
	ck_assert_int_eq(c.errnum, ETIMEDOUT);
	for (int i = 0; i < 4; i++)
		close(fillers[i]);
	close(fd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("timeout");
	TCase *t;

	t = t_case(suite, "input");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_input_any_length_never_early_hardly_late);
	tcase_add_test(t, test_input_idle_wakes_loop);
	tcase_add_test(t, test_input_activity_restarts);
	tcase_add_test(t, test_input_fires_once_until_armed_again);
	tcase_add_test(t, test_input_paused_does_not_run);
	tcase_add_test(t, test_input_changed_value_counts);
	tcase_add_test(t, test_input_set_in_own_hook);
	tcase_add_test(t, test_input_closes_in_hook);
	tcase_add_test(t, test_input_no_hook_closes);
	tcase_add_test(t, test_input_waiting_is_read_before_expiry);
	tcase_add_test(t, test_input_idle_in_application_loop);
	tcase_add_test(t, test_input_many_random);
	tcase_add_test(t, test_input_months_pass);

	t = t_case(suite, "set");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_set_no_memory);
	tcase_add_test(t, test_set_bad_arguments_refused);

	t = t_case(suite, "alarm");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_lifetime_ignores_activity);
	tcase_add_test(t, test_alarm_once_and_harmless);
	tcase_add_test(t, test_alarm_changed_in_own_hook);

	t = t_case(suite, "output");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_output_stalled_fires);
	tcase_add_test(t, test_output_without_fd_waits);
	tcase_add_test(t, test_input_set_behind_the_wheel);
	tcase_add_test(t, test_output_set_while_stuck);

	t = t_case(suite, "close_flush");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_close_flush_deadline_closes);

	t = t_case(suite, "connect");
	tcase_add_checked_fixture(t, setup_skewed, teardown);
	tcase_add_test(t, test_connect_expired_reported);
	return suite;
}
