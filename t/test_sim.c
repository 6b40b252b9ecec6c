/* The simulator itself: it behaves as Linux does where the core can see it, and it notices what it promises to notice.
 *
 * The first suite runs little scripts on simulated and on real wires, through the same entries of a backend table (the
 * simulator's and libev's), and compares every result and errno. */
#include "harness.h"
#include "pair.h"
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>

/* ---- scripts ---- */

struct world {
	const struct sconce_backend *be;
	void *ctx;			/* the sim; NULL: real */
	int fds[2];			/* a, b */
	char log[600];
};

static void
note(struct world *w, const char *what, long result)
{
	size_t n = strlen(w->log);

	if (result < 0)
		snprintf(w->log + n, sizeof(w->log) - n, "%s %s; ", what, sconce_strerror(errno));
	else
		snprintf(w->log + n, sizeof(w->log) - n, "%s %ld; ", what, result);
}

static long
ready(struct world *w, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	long events = 0;

	if (w->ctx != NULL)
		return (long)sim_ready(w->ctx, fd);
	poll(&p, 1, 0);
	events |= p.revents & POLLIN ? SCONCE_READ : 0;
	events |= p.revents & POLLOUT ? SCONCE_WRITE : 0;
	events |= p.revents & POLLHUP ? SCONCE_HUP : 0;
	events |= p.revents & POLLERR ? SCONCE_ERR : 0;
	return events;
}

/* Sends until the kernel takes no more: what counts is how that ends. */
static long
fill(struct world *w, int fd)
{
	static const char zeros[65536];

	for (int i = 0; i < 1000; i++)
		if (w->be->send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL, w->ctx) < 0)
			return -1;
	return 0;
}

static long
pending_error(struct world *w, int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return w->be->getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len, w->ctx) < 0 ? -1 : value;
}

static long
reset(struct world *w, int fd)
{
	struct linger hard = { .l_onoff = 1 };

	w->be->setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard), w->ctx);
	return w->be->close(fd, w->ctx);
}

static long
peer_known(struct world *w, int fd)
{
	struct sockaddr_storage any;
	socklen_t len = sizeof(any);

	return w->be->getpeername(fd, (struct sockaddr *)&any, &len, w->ctx);
}

static long
do_one(struct world *w, int fd, const char *op, int arg)
{
	char buf[4096] = { 0 };
	struct iovec iov[2] = { { buf, (size_t)arg / 2 }, { buf, (size_t)(arg - arg / 2) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (strcmp(op, "send") == 0)
		return w->be->send(fd, buf, (size_t)arg, MSG_NOSIGNAL, w->ctx);
	if (strcmp(op, "sendmsg") == 0)
		return w->be->sendmsg(fd, &msg, MSG_NOSIGNAL, w->ctx);
	if (strcmp(op, "recv") == 0)
		return w->be->recv(fd, buf, (size_t)arg, 0, w->ctx);
	if (strcmp(op, "shut") == 0)
		return w->be->shutdown(fd, arg, w->ctx);
	if (strcmp(op, "close") == 0)
		return w->be->close(fd, w->ctx);
	if (strcmp(op, "reset") == 0)
		return reset(w, fd);
	if (strcmp(op, "poll") == 0)
		return ready(w, fd);
	if (strcmp(op, "error") == 0)
		return pending_error(w, fd);
	if (strcmp(op, "peer") == 0)
		return peer_known(w, fd);
	ck_assert_str_eq(op, "fill");
	return fill(w, fd);
}

/* "a send 5, b recv 10" */
static void
play(struct world *w, const char *script)
{
	char end, op[16], what[40];
	int arg, n;

	for (const char *at = script; *at != '\0'; at += n) {
		bool closes;

		arg = 0;
		ck_assert_int_ge(sscanf(at, " %c %15[a-z]%n %d%n", &end, op, &n, &arg, &n), 2);
		closes = strcmp(op, "close") == 0 || strcmp(op, "reset") == 0;
		snprintf(what, sizeof(what), "%c %s", end, op);
		note(w, what, do_one(w, w->fds[end - 'a'], op, arg));
		if (closes)
			w->fds[end - 'a'] = -1;
		n += at[n] == ',';
	}
	for (int i = 0; i < 2; i++)
		if (w->fds[i] >= 0)
			w->be->close(w->fds[i], w->ctx);
}

static void
connect_tcp(struct world *w)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, listener = w->be->socket(AF_INET, type, 0, w->ctx);

	ck_assert_int_eq(w->be->bind(listener, (struct sockaddr *)&in, sizeof(in), w->ctx), 0);
	ck_assert_int_eq(w->be->listen(listener, 5, w->ctx), 0);
	ck_assert_int_eq(w->be->getsockname(listener, (struct sockaddr *)&in, &len, w->ctx), 0);
	w->fds[0] = w->be->socket(AF_INET, type, 0, w->ctx);
	note(w, "fresh poll", ready(w, w->fds[0]));
	note(w, "fresh peer", peer_known(w, w->fds[0]));
	note(w, "connect", w->be->connect(w->fds[0], (struct sockaddr *)&in, sizeof(in), w->ctx));
	note(w, "listener poll", ready(w, listener));
	w->fds[1] = w->be->accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC, w->ctx);
	ck_assert_int_ge(w->fds[1], 0);
	note(w, "again", w->be->accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC, w->ctx));
	w->be->close(listener, w->ctx);
}

static void
play_on(struct world *w, bool tcp, bool simulated, const char *script)
{
	static const struct sim_options narrow = { .buffer = 100000 };

	*w = (struct world){ .be = simulated ? sim_backend() : sconce_backend_libev(),
		.ctx = simulated ? sim_new(1, &narrow) : NULL };
	if (tcp)
		connect_tcp(w);
	else if (simulated)
		ck_assert_int_eq(sim_pair(w->ctx, w->fds), 0);
	else
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->fds), 0);
	play(w, script);
	if (simulated)
		ck_assert_msg(sim_free(w->ctx, stderr), "%s", script);
}

static const char *const scripts[] = {
	"a send 5, b poll, b recv 10, b recv 10, b poll, a poll",
	"a send 5, b recv 2, b recv 2, b recv 2, b recv 2",
	"a sendmsg 9, b recv 20",
	"a send 5, a shut 1, b poll, b recv 10, b recv 10, b recv 10, b send 3, a recv 9, a send 1, a poll",
	"a shut 1, b shut 1, a poll, b poll, a peer, b peer, a recv 1, b recv 1, a send 1",
	"a send 5, a close, b poll, b recv 10, b recv 10, b peer",
	"a close, b poll, b recv 1, b send 4, b poll, b recv 1, b send 4, b recv 1, b error, b poll",
	"a close, b send 4, b send 4, b error, b recv 1, b poll",
	"b send 7, a close, b poll, b recv 1, b recv 1, b send 2, b send 2, b poll",
	"b send 7, a send 3, a close, b poll, b recv 9, b recv 9, b recv 9, b send 1",
	"b send 7, a close, b error, b error, b recv 1, b poll, b shut 1",
	"a send 4, a reset, b poll, b recv 9, b recv 9, b recv 9, b send 1",
	"a reset, b send 1, b send 1, b recv 1, b poll, b peer",
	"a shut 0, a poll, a recv 1, b send 3, a recv 9, a recv 9",
	"b send 3, a shut 0, a recv 9, a recv 9, a poll",
	"a shut 2, a poll, b poll, b recv 1, a recv 1, a send 1",
	"a fill, a poll, b poll",
	"a shut 1, a shut 1, a poll, b poll, b send 2, a recv 5, b close, a poll, a recv 5",
	"a shut 1, b recv 1, b send 4, b close, a poll, a recv 9, a recv 9",
	"a send 1, b shut 1, b close, a poll, a recv 5, a recv 5, a send 1, a send 1",
};
enum { SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

/* Every call gives what the kernel gives. */
START_TEST(test_calls_compared_with_linux_agree)
{
	bool tcp = _i % 2;
	const char *script = scripts[_i / 2];
	struct world sim, real;

	play_on(&sim, tcp, true, script);
	play_on(&real, tcp, false, script);
	ck_assert_msg(strcmp(sim.log, real.log) == 0, "%s: %s\n  sim:  %s\n  real: %s", tcp ? "tcp" : "unix", script,
		sim.log,
		real.log);
}
END_TEST

/* ---- fds and memory ---- */

/* The lowest free number is used at once. */
START_TEST(test_fds_closed_are_reused_at_once)
{
	struct sim *sim = sim_new(1, NULL);
	int a[2], b[2];

	ck_assert_int_eq(sim_pair(sim, a), 0);
	ck_assert_int_eq(a[0], SIM_FD_BASE);
	sim_close(sim, a[0]);
	ck_assert_int_eq(sim_pair(sim, b), 0);
	ck_assert_int_eq(b[0], a[0]);
	ck_assert(!sim_free(sim, NULL));		/* three fds are left */
}
END_TEST

/* A second close, or a use after it, is not allowed. */
START_TEST(test_fd_closed_twice_is_a_violation)
{
	struct sim *sim = sim_new(1, NULL);
	int a[2];

	ck_assert_int_eq(sim_pair(sim, a), 0);
	sim_close(sim, a[0]);
	sim_close(sim, a[1]);
	ck_assert_uint_eq(sim_violations(sim), 0);
	ck_assert_int_eq(sim_close(sim, a[1]), -1);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_uint_eq(sim_violations(sim), 1);
	ck_assert(!sim_free(sim, NULL));
}
END_TEST

/* Beyond the limit there is EMFILE. */
START_TEST(test_fds_limited_give_emfile)
{
	struct sim_options o = { .fd_limit = 3 };
	struct sim *sim = sim_new(1, &o);
	int a[2], b[2];

	ck_assert_int_eq(sim_pair(sim, a), 0);
	ck_assert_int_eq(sim_pair(sim, b), -1);
	ck_assert_int_eq(errno, EMFILE);
	ck_assert_int_eq(sim_fds(sim), 2);
	sim_close(sim, a[0]);
	sim_close(sim, a[1]);
	ck_assert(sim_free(sim, stderr));
}
END_TEST

/* Memory is counted, failures can be ordered, a free of something else is noticed. */
START_TEST(test_memory_counted_and_failing)
{
	struct sim *sim = sim_new(1, NULL);
	const struct sconce_backend *be = sim_backend();
	_Alignas(16) char wrong[256] = { 0 };
	char *p = be->alloc(NULL, 10, sim);

	ck_assert_uint_eq(sim_live_bytes(sim), 10);
	strcpy(p, "kept");
	p = be->alloc(p, 100, sim);
	ck_assert_str_eq(p, "kept");
	sim_fail_next(sim, true);
	ck_assert_ptr_null(be->alloc(p, 200, sim));
	ck_assert_uint_eq(sim_failed(sim), 1);
	be->alloc(p, 0, sim);
	ck_assert_uint_eq(sim_live_bytes(sim), 0);
	be->alloc(wrong + 128, 0, sim);
	ck_assert_uint_eq(sim_violations(sim), 1);
	ck_assert(!sim_free(sim, NULL));
}
END_TEST

/* ---- the loop ---- */

struct seen {
	struct sconce_sock sock;
	struct seen *other;		/* closed by event_read, if any */
	struct sim *sim;
	int reads, destroys;
	int next[2];			/* a pair to be opened then; [0] has the number that was closed */
};

static void
seen_event_read(struct sconce_sock *s)
{
	struct seen *e = SCONCE_CONTAINER_OF(s, struct seen, sock);
	char buf[100];

	e->reads++;
	while (sconce_read(s, buf, sizeof(buf)) > 0)
		;
	if (e->other != NULL)
		sconce_close(&e->other->sock, SCONCE_REASON_USER);
}

static void
seen_destroy(struct sconce_sock *s)
{
	SCONCE_CONTAINER_OF(s, struct seen, sock)->destroys++;
}

static const struct sconce_sock_ops seen_ops = { .name = "seen", .event_read = seen_event_read,
	.destroy = seen_destroy };

/* Of a batch with both, one closes the other: whichever comes first, the other is not told any more. */
START_TEST(test_batch_with_a_socket_closed_drops_its_event)
{
	struct sim *sim = sim_new((uint64_t)_i, NULL);
	struct sconce_loop *loop = sim_loop(sim, NULL);
	struct seen x = { .sim = sim }, y = { .other = &x };
	int a[2], b[2];

	x.other = &y;
	sim_pair(sim, a);
	sim_pair(sim, b);
	ck_assert_int_eq(sconce_sock_init(&x.sock, loop, &seen_ops, a[0]), 0);
	ck_assert_int_eq(sconce_sock_init(&y.sock, loop, &seen_ops, b[0]), 0);
	sconce_loop_step(loop, 0);
	sim_send(sim, a[1], "x", 1);
	sim_send(sim, b[1], "y", 1);
	sconce_loop_step(loop, 0);
	ck_assert_int_eq(x.reads + y.reads, 1);
	ck_assert_int_eq(x.destroys + y.destroys, 1);
	sconce_loop_free(loop);
	sim_close(sim, a[1]);
	sim_close(sim, b[1]);
	ck_assert(sim_free(sim, stderr));
}
END_TEST

static void
timer_fired(struct sconce_timer *t, void *arg)
{
	(void)t;
	++*(int *)arg;
}

/* The clock jumps to what comes next, and a wait that nothing could end is counted. */
START_TEST(test_clock_without_events_jumps_to_the_deadline)
{
	struct sim *sim = sim_new(1, NULL);
	struct sconce_loop *loop = _i == 0 ? sim_loop(sim, NULL) : sim_loop_shared(sim, NULL);
	struct sconce_timer timer;
	int64_t begin = sim_now(sim);
	int fired = 0;

	sconce_timer_init(&timer, loop, timer_fired, &fired);
	sconce_timer_start(&timer, 3600);
	if (_i == 0)
		sconce_loop_step(loop, -1);
	else
		sim_app_turn(sim);
	ck_assert_int_eq(fired, 1);
	ck_assert_int_eq(sim_now(sim) - begin, 3600000000000);
	ck_assert_uint_eq(sim_stuck(sim), 0);
	sconce_loop_step(loop, -1);			/* nothing left: it does not wait */
	ck_assert_uint_eq(sim_stuck(sim), 0);
	sconce_loop_ref(loop);
	sconce_loop_step(loop, -1);
	ck_assert_uint_eq(sim_stuck(sim), 1);
	sconce_loop_unref(loop);
	sconce_loop_free(loop);
	ck_assert(sim_free(sim, stderr));
}
END_TEST

/* What is said to arrive later does, in pieces, and nothing is lost. */
START_TEST(test_bytes_delayed_arrive_in_order)
{
	struct sim_options o = { .delay = 1000, .short_io = 500, .again = 300, .eintr = 300 };
	struct sim *sim = sim_new((uint64_t)_i, &o);
	struct sconce_loop *loop = sim_loop(sim, NULL);
	struct seen x = { .sim = sim };
	char sent[5000], got[5000];
	size_t have = 0;
	int a[2];

	bytes_fill(sent, sizeof(sent), 7);
	sim_pair(sim, a);
	ck_assert_int_eq(sconce_sock_init(&x.sock, loop, &seen_ops, a[0]), 0);
	ck_assert_int_ge(sconce_write(&x.sock, sent, sizeof(sent)), 0);
	for (int i = 0; i < 1000 && have < sizeof(got); i++) {
		ssize_t n;

		sconce_loop_step(loop, 0.001);
		n = sim_recv(sim, a[1], got + have, sizeof(got) - have);
		have += n > 0 ? (size_t)n : 0;
	}
	ck_assert_uint_eq(have, sizeof(got));
	ck_assert(bytes_are(got, sizeof(got), 7));
	sconce_loop_free(loop);
	sim_close(sim, a[1]);
	ck_assert(sim_free(sim, stderr));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("sim");
	TCase *c = t_case(s, "linux");

	tcase_add_loop_test(c, test_calls_compared_with_linux_agree, 0, 2 * SCRIPTS);
	c = t_case(s, "world");
	tcase_add_test(c, test_fds_closed_are_reused_at_once);
	tcase_add_test(c, test_fd_closed_twice_is_a_violation);
	tcase_add_test(c, test_fds_limited_give_emfile);
	tcase_add_test(c, test_memory_counted_and_failing);
	c = t_case(s, "loop");
	tcase_add_loop_test(c, test_batch_with_a_socket_closed_drops_its_event, 0, 8);
	tcase_add_loop_test(c, test_clock_without_events_jumps_to_the_deadline, 0, 2);
	tcase_add_loop_test(c, test_bytes_delayed_arrive_in_order, 0, 20);
	return s;
}
