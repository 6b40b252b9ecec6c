/* What the core does for a type that carries records: waiting for room by the fd and by itself, errors, offers, fds
 * that are prepared, and what it refuses. */
#include "test_dgram.h"

#include <sconce/raw.h>

#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

/* Sends and receives one record at a time, and notes what happens to it. */
struct note {
	struct sconce_sock sock;
	unsigned reads, errs, drains, writes, hups, timeouts, opens;
	int last;			/* result of the last receive */
	int errnum, connect_errnum;	/* of the last event_err, event_connect; -1: none */
	char data[16];			/* the last record */
	size_t len;
	int open_result;
	bool open_bound;		/* the fd had an address when it was shown */
	int reading;			/* how many event_reads receive; -1: all */
	void (*on_read)(struct note *n);
	bool closed, destroyed;
};
static const struct sconce_sock_ops note_ops;

static struct note a;
static struct sconce_addr a_addr;
static int far;				/* plain; connected to `a`, or its peer */

static struct note *
note_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct note, sock);
}

static int
note_recv(struct note *n)
{
	struct iovec iov = { .iov_base = n->data, .iov_len = sizeof(n->data) };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };

	n->last = sconce_raw_recvmmsg(&n->sock, &m, 1, 0);
	if (n->last == 1)
		n->len = m.msg_len;
	return n->last;
}

static int
note_send(struct note *n, const char *text)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };

	return sconce_raw_sendmmsg(&n->sock, &m, 1, 0);
}

static void
note_event_read(struct sconce_sock *s)
{
	struct note *n = note_of(s);

	n->reads++;
	if (n->reading != 0)
		note_recv(n);
	n->reading -= n->reading > 0;
	if (n->on_read != NULL)
		n->on_read(n);
}

static void
note_event_write(struct sconce_sock *s)
{
	note_of(s)->writes++;
}

static void
note_event_err(struct sconce_sock *s, int errnum)
{
	note_of(s)->errs++;
	note_of(s)->errnum = errnum;
}

static void
note_event_hup(struct sconce_sock *s)
{
	note_of(s)->hups++;
}

static void
note_event_drain(struct sconce_sock *s)
{
	note_of(s)->drains++;
}

static void
note_event_connect(struct sconce_sock *s, int errnum)
{
	note_of(s)->connect_errnum = errnum;
}

static void
note_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	(void)kind;
	note_of(s)->timeouts++;
}

static void
note_event_close(struct sconce_sock *s)
{
	note_of(s)->closed = true;
}

static void
note_destroy(struct sconce_sock *s)
{
	note_of(s)->destroyed = true;
}

static int
note_open(struct sconce_sock *s, int fd)
{
	struct note *n = note_of(s);
	struct sconce_addr own = { .len = sizeof(own.un) };

	n->opens++;
	ck_assert_int_eq(n->sock.fd, -1);
	ck_assert_int_eq(getsockname(fd, &own.any, &own.len), 0);
	n->open_bound = own.any.sa_family == AF_UNIX ? own.len > sizeof(sa_family_t) : sconce_addr_port(&own) != 0;
	return n->open_result;
}

static const struct sconce_sock_ops note_ops = {
	.name = "note", .event_read = note_event_read, .event_write = note_event_write, .event_err = note_event_err,
	.event_hup = note_event_hup, .event_drain = note_event_drain, .event_connect = note_event_connect,
	.event_timeout = note_event_timeout, .event_close = note_event_close, .destroy = note_destroy, .records = true,
	.open = note_open,
};

/* The same without event_err. */
static const struct sconce_sock_ops deaf_ops = {
	.name = "deaf", .event_read = note_event_read, .event_close = note_event_close, .destroy = note_destroy, .records = true,
};

static void
note_init(struct note *n, const struct sconce_sock_ops *ops, int fd)
{
	memset(n, 0, sizeof(*n));
	n->reading = -1;
	n->errnum = n->connect_errnum = -1;
	ck_assert_int_eq(sconce_sock_init(&n->sock, loop, ops, fd), 0);
}

static void
note_close(struct note *n)
{
	sconce_close(&n->sock, SCONCE_REASON_LOCAL);
	kit_settle();
	ck_assert(n->closed && n->destroyed);
}

/* `a` on a port, and `far` connected to it. */
static void
open_udp(const struct sconce_sock_ops *ops)
{
	note_init(&a, ops, plain_bound("127.0.0.1", &a_addr));
	far = plain_connected(&a_addr);
	kit_settle();
}

/* `a` connected to where nobody is. */
static void
open_to_nobody(const struct sconce_sock_ops *ops)
{
	struct sconce_addr nobody = plain_nobody("127.0.0.1");

	note_init(&a, ops, plain_connected(&nobody));
	kit_settle();
}

/* `a` and `far` are a pair. */
static void
open_pair(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	far = fds[1];
	note_init(&a, &note_ops, fds[0]);
	kit_settle();
}

static void
close_both(void)
{
	note_close(&a);
	close(far);
}

/* Fails if the loop does not sleep. */
static void
sleeps(void)
{
	double cpu = t_cpu_seconds();
	int turns = 0;

	for (int i = 0; i < 5; i++)
		turns += sconce_loop_step(loop, 0.02);
	ck_assert_int_le(turns, 3);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.06, "%f s of CPU", t_cpu_seconds() - cpu);
}

/* ---- receiving ---- */

/* A record comes; a receive that has filled its array has event_read called again, up to 3 times. */
START_TEST(test_recvmmsg_full_array_is_read_again)
{
	open_udp(&note_ops);
	for (int i = 0; i < 6; i++)
		plain_send(far, NULL, "abc", 3);
	KIT_UNTIL(a.reads > 0);
	ck_assert_uint_eq(a.reads, 4);
	ck_assert_uint_eq(a.len, 3);
	KIT_UNTIL(a.last == -EAGAIN);
	ck_assert_uint_eq(a.reads, 7);
	close_both();
}
END_TEST

/* Without an fd, and when it is closed, there is nothing to call. */
START_TEST(test_raw_calls_without_an_fd_are_refused)
{
	struct msghdr msg = { .msg_iovlen = 0 };
	socklen_t len = sizeof(int);
	int value = 0;

	note_init(&a, &note_ops, -1);
	ck_assert_int_eq(note_recv(&a), -EBADF);
	ck_assert_int_eq(note_send(&a, "x"), -EBADF);
	ck_assert_int_eq(sconce_raw_recvmsg(&a.sock, &msg, 0), -EBADF);
	ck_assert_int_eq(sconce_raw_getsockopt(loop, -1, SOL_SOCKET, SO_TYPE, &value, &len), -EBADF);
	ck_assert_int_eq(sconce_raw_setsockopt(loop, -1, SOL_SOCKET, SO_SNDBUF, &value, len), -EBADF);
	sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_FD);
	note_close(&a);
	open_pair();
	sconce_close(&a.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(note_recv(&a), -EBADF);
	ck_assert_int_eq(sconce_raw_recvmsg(&a.sock, &msg, 0), -EBADF);
	ck_assert_int_eq(note_send(&a, "last"), 1);	/* until event_close has run */
	sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_FD);
	kit_settle();
	ck_assert(plain_gets(far, "last"));
	close(far);
}
END_TEST

/* ---- offers ---- */

/* Input that the type keeps is offered once for each call, without a sleep, and never by itself. */
START_TEST(test_offer_comes_once)
{
	open_udp(&note_ops);
	a.reading = 0;
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(sconce_offer(&a.sock), 0);
		ck_assert_int_eq(sconce_offer(&a.sock), 0);
		kit_settle();
		ck_assert_uint_eq(a.reads, i);
	}
	sleeps();
	ck_assert_uint_eq(a.reads, 3);
	close_both();
}
END_TEST

static void
offer_until_5(struct note *n)
{
	if (n->reads < 5)
		sconce_offer(&n->sock);
}

/* Made in the hook itself it is for the next turn; while reads are paused it waits, also for a connect. */
START_TEST(test_offer_paused_waits)
{
	open_udp(&note_ops);
	a.reading = 0;
	a.on_read = offer_until_5;
	sconce_pause(&a.sock, SCONCE_PAUSE_APP);
	sconce_offer(&a.sock);
	sleeps();
	ck_assert_uint_eq(a.reads, 0);
	sconce_resume(&a.sock, SCONCE_PAUSE_APP);
	ck_assert_int_ge(sconce_loop_step(loop, 1), 0);
	ck_assert_uint_eq(a.reads, 1);
	ck_assert_int_ge(sconce_loop_step(loop, 1), 0);
	ck_assert_uint_eq(a.reads, 2);
	kit_settle();
	ck_assert_uint_eq(a.reads, 5);
	close_both();
	note_init(&a, &note_ops, -1);
	a.reading = 0;
	sconce_offer(&a.sock);
	ck_assert_int_eq(sconce_connect(&a.sock, "udp://127.0.0.1:9"), 0);
	ck_assert_uint_eq(a.reads, 0);
	KIT_UNTIL(a.reads == 1);
	ck_assert_int_eq(a.connect_errnum, 0);
	note_close(&a);
}
END_TEST

/* ---- output that is refused ---- */

static void
fill(struct note *n)
{
	int r;

	while ((r = note_send(n, "full")) == 1)
		;
	ck_assert_int_eq(r, -EAGAIN);
}

/* WAIT_FD: event_drain comes once, when there is room; what is refused again is told again. */
START_TEST(test_stuck_wait_fd_drains_once)
{
	open_pair();
	fill(&a);
	for (unsigned i = 1; i <= 2; i++) {
		sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_FD);
		ck_assert_int_eq(sconce_watching(&a.sock), SCONCE_READ | SCONCE_WRITE);
		sleeps();
		ck_assert_uint_eq(a.drains, i - 1);
		plain_drain(far);
		KIT_UNTIL(a.drains == i);
		kit_settle();
		ck_assert_uint_eq(a.drains, i);
		ck_assert_int_eq(sconce_watching(&a.sock), SCONCE_READ);
		fill(&a);
	}
	close_both();
}
END_TEST

/* WAIT_SELF: the fd, which is writable all the time, is not asked, and there is no event_drain. */
START_TEST(test_stuck_wait_self_does_not_ask_the_fd)
{
	open_pair();
	sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_SELF);
	sleeps();
	sconce_raw_stuck(&a.sock, SCONCE_RAW_MOVES);
	sleeps();
	ck_assert_uint_eq(a.drains, 0);
	sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_SELF);
	kit_settle();
	sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_FD);	/* now it may be */
	KIT_UNTIL(a.drains == 1);
	close_both();
}
END_TEST

/* Both kinds of waiting are what the output timeout is for; moving on restarts and ends it. */
START_TEST(test_stuck_output_timeout_runs)
{
	enum sconce_raw_wait how = _i == 0 ? SCONCE_RAW_WAIT_FD : SCONCE_RAW_WAIT_SELF;

	open_pair();
	fill(&a);
	ck_assert_int_eq(sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_OUTPUT, 10), 0);
	sconce_raw_stuck(&a.sock, how);
	kit_pass(9);
	sconce_raw_stuck(&a.sock, SCONCE_RAW_MOVES);
	sconce_raw_stuck(&a.sock, how);
	kit_pass(9);
	ck_assert_uint_eq(a.timeouts, 0);
	kit_pass(2);
	ck_assert_uint_eq(a.timeouts, 1);
	sconce_set_timeout(&a.sock, SCONCE_TIMEOUT_OUTPUT, 10);
	sconce_raw_stuck(&a.sock, SCONCE_RAW_MOVES);
	kit_pass(20);
	ck_assert_uint_eq(a.timeouts, 1);
	close_both();
}
END_TEST

/* ---- errors ---- */

/* An error is told while reads are paused, each time there is one, whether output waits or not, and by what; it ends
 * nothing and leaves nothing behind that keeps the loop awake (HZ-10). */
START_TEST(test_error_is_told_while_paused)
{
	open_to_nobody(&note_ops);
	sconce_watch_read(&a.sock, false);	/* nothing tells of a hang-up yet */
	if (_i == 1)
		sconce_raw_stuck(&a.sock, SCONCE_RAW_WAIT_SELF);
	kit_settle();
	for (unsigned i = 1; i <= 3; i++) {
		a.errnum = -1;
		ck_assert_int_eq(note_send(&a, "anybody?"), 1);
		KIT_UNTIL(a.errs == i);
		ck_assert_int_eq(a.errnum, ECONNREFUSED);
	}
	sleeps();
	if (_i == 1)
		sconce_raw_stuck(&a.sock, SCONCE_RAW_MOVES);
	sleeps();
	ck_assert_uint_eq(a.errs, 3);
	ck_assert_uint_eq(a.reads, 0);
	ck_assert(!a.sock.closed);
	note_close(&a);
}
END_TEST

/* While reads are watched the next receive gives it. */
START_TEST(test_error_is_received_while_watched)
{
	open_to_nobody(_i == 0 ? &note_ops : &deaf_ops);
	a.reading = 1;
	ck_assert_int_eq(note_send(&a, "anybody?"), 1);
	KIT_UNTIL(a.reads == 1);
	ck_assert_int_eq(a.last, -ECONNREFUSED);
	a.reading = -1;
	sleeps();
	ck_assert(!a.sock.closed);
	ck_assert_uint_eq(a.errs, 0);
	note_close(&a);
}
END_TEST

/* A type without event_err is left alone: nothing is closed, and nothing spins. */
START_TEST(test_error_without_a_hook_is_nothing)
{
	open_to_nobody(&deaf_ops);
	sconce_watch_read(&a.sock, false);
	kit_settle();
	for (int i = 0; i < 2; i++) {
		note_send(&a, "anybody?");
		kit_settle();
	}
	sleeps();
	ck_assert(!a.sock.closed);
	ck_assert_uint_eq(a.reads, 0);
	note_close(&a);
}
END_TEST

/* HZ-10: an fd that the application has shut down for reading is not read any more, whoever has asked, and sends on. */
START_TEST(test_shutdown_of_the_fd_ends_reads)
{
	int how = _i % 2 == 0 ? SHUT_RD : SHUT_RDWR;

	if (_i < 2)
		open_udp(&note_ops);
	else
		open_pair();
	if (_i < 2)
		ck_assert_int_eq(connect(a.sock.fd, &a_addr.any, a_addr.len), 0);
	ck_assert_int_eq(shutdown(a.sock.fd, how), 0);
	kit_settle();
	sleeps();
	ck_assert_uint_eq(sconce_paused(&a.sock), SCONCE_PAUSE_END);
	ck_assert(!a.sock.closed);
	ck_assert_uint_le(a.reads, 2);
	ck_assert_int_eq(note_send(&a, "x"), how == SHUT_RD ? 1 : -EPIPE);
	sleeps();
	close_both();
}
END_TEST

/* Nothing of the kind is taken for the end: an fd that was readable for no record. */
START_TEST(test_nothing_to_read_is_no_end)
{
	int one = 1;

	open_to_nobody(&note_ops);
	ck_assert_int_eq(setsockopt(a.sock.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)), 0);
	ck_assert_int_eq(note_send(&a, "anybody?"), 1);
	KIT_UNTIL(a.last == -EAGAIN);		/* it stands in the error queue */
	ck_assert_uint_eq(sconce_paused(&a.sock), 0);
	note_close(&a);
}
END_TEST

/* ---- fds that are prepared ---- */

/* A bound unix datagram socket, and its endpoint. */
static int
unix_server(char *endpoint, size_t size)
{
	struct sconce_addr at = unix_name();
	char text[SCONCE_ADDR_TEXT];

	snprintf(endpoint, size, "unix_dgram:///%s", sconce_addr_text(&at, text, sizeof(text)));
	return unix_bound(&at);
}

/* `open` sees a new fd before it is bound. */
START_TEST(test_open_comes_before_bind)
{
	struct sconce_fail fail;

	note_init(&a, &note_ops, -1);
	ck_assert_msg(sconce_bind(&a.sock, "udp://127.0.0.1:0", &fail) == 0, "%s", fail.text);
	ck_assert_uint_eq(a.opens, 1);
	ck_assert(!a.open_bound);
	ck_assert_int_eq(sconce_local(&a.sock, &a_addr), 0);
	ck_assert_int_gt(sconce_addr_port(&a_addr), 0);
	note_close(&a);
}
END_TEST

/* And before it is bound and connected; one that the object was made with is the application's own matter. */
START_TEST(test_open_comes_before_connect)
{
	char endpoint[SCONCE_ADDR_TEXT + 32] = "udp://127.0.0.1:9";

	far = _i == 2 ? unix_server(endpoint, sizeof(endpoint)) : -1;
	note_init(&a, &note_ops, -1);
	ck_assert_int_eq(sconce_connect(&a.sock, _i == 1 ? "udp://127.0.0.1:9?bind=127.0.0.1" : endpoint), 0);
	ck_assert_uint_eq(a.opens, 1);
	ck_assert(!a.open_bound);
	KIT_UNTIL(a.connect_errnum == 0);
	ck_assert_int_eq(sconce_local(&a.sock, &a_addr), 0);
	ck_assert_uint_gt(a_addr.len, sizeof(sa_family_t));	/* a unix one can be answered */
	note_close(&a);
	if (far >= 0)
		close(far);
	open_udp(&note_ops);
	ck_assert_uint_eq(a.opens, 0);
	close_both();
}
END_TEST

/* What `open` refuses is not opened: sconce_bind() says so, and the socket is as before. */
START_TEST(test_open_refuses_a_bind)
{
	struct sconce_fail fail;
	char endpoint[32];

	far = plain_bound("127.0.0.1", NULL);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", far);
	note_init(&a, &note_ops, -1);
	a.open_result = -EPERM;
	ck_assert_int_eq(sconce_bind(&a.sock, "udp://127.0.0.1:53999", &fail), -EPERM);
	ck_assert_str_eq(fail.operation, "setsockopt");
	ck_assert_int_eq(fail.errnum, EPERM);
	ck_assert_str_eq(fail.text, "setsockopt 127.0.0.1:53999: Operation not permitted");
	a.open_result = -EPROTOTYPE;
	ck_assert_int_eq(sconce_bind(&a.sock, endpoint, &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.operation, "socktype");
	ck_assert_int_eq(a.sock.fd, -1);
	a.open_result = 0;
	ck_assert_int_eq(sconce_bind(&a.sock, endpoint, NULL), 0);	/* it is still ours to give */
	ck_assert_int_eq(a.sock.fd, far);
	ck_assert_uint_eq(a.opens, 3);
	note_close(&a);
}
END_TEST

/* A connect fails by event_connect, after all addresses; of fd://N at once. */
START_TEST(test_open_refuses_a_connect)
{
	char endpoint[32];

	note_init(&a, &note_ops, -1);
	a.open_result = -EPERM;
	ck_assert_int_eq(sconce_connect(&a.sock, "udp://127.0.0.1:9"), 0);
	KIT_UNTIL(a.connect_errnum == EPERM);
	ck_assert_str_eq(sconce_failure(&a.sock)->text, "setsockopt 127.0.0.1:9: Operation not permitted");
	ck_assert_int_eq(a.sock.fd, -1);
	far = plain_bound("127.0.0.1", NULL);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", far);
	ck_assert_int_eq(sconce_connect(&a.sock, endpoint), -EPERM);
	ck_assert_str_eq(sconce_failure(&a.sock)->operation, "setsockopt");
	ck_assert_int_eq(close(far), 0);
	a.open_result = 0;
	ck_assert_int_eq(sconce_connect(&a.sock, "udp://127.0.0.1:9"), 0);
	KIT_UNTIL(a.connect_errnum == 0);
	ck_assert_uint_eq(a.opens, 3);
	note_close(&a);
}
END_TEST

static int
two_addresses(void *arg, const char *host, const char *service, int family, int type, unsigned flags,
	struct sconce_addr *addrs_out, size_t max)
{
	(void)arg, (void)host, (void)service, (void)family, (void)type, (void)flags, (void)max;
	for (int i = 0; i < 2; i++) {
		addrs_out[i] = (struct sconce_addr){ .len = sizeof(addrs_out[i].in) };
		addrs_out[i].in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(9),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i) };
	}
	return 2;
}

/* Each address of a name has an fd of its own, which is shown. */
START_TEST(test_open_is_asked_for_each_address)
{
	sconce_set_resolver(loop, two_addresses, NULL);
	note_init(&a, &note_ops, -1);
	a.open_result = -EPERM;
	ck_assert_int_eq(sconce_connect(&a.sock, "udp://somebody:9"), 0);
	KIT_UNTIL(a.connect_errnum == EPERM);
	ck_assert_uint_eq(a.opens, 2);
	ck_assert_str_eq(sconce_failure(&a.sock)->text, "setsockopt 127.0.0.2:9: Operation not permitted");
	note_close(&a);
}
END_TEST

/* ---- what is refused ---- */

static void
done_status(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	*(int *)arg = status;
}

static const struct sconce_sock_ops stream_ops = { .name = "stream", .event_read = note_event_read };

/* Bytes are neither moved from it nor to it, and nothing has begun. */
START_TEST(test_transfer_of_records_is_refused)
{
	int fds[2], status[3] = { 0, 0, 0 };
	struct note stream;

	open_udp(&note_ops);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	memset(&stream, 0, sizeof(stream));
	ck_assert_int_eq(sconce_sock_init(&stream.sock, loop, &stream_ops, fds[0]), 0);
	ck_assert_int_eq(sconce_transfer(&a.sock, &stream.sock, SCONCE_TO_END, done_status, &status[0]), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_transfer(&stream.sock, &a.sock, 10, done_status, &status[1]), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_relay(&stream.sock, &a.sock, done_status, &status[2]), -EOPNOTSUPP);
	ck_assert_uint_eq(sconce_paused(&a.sock) | sconce_paused(&stream.sock), 0);
	kit_settle();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(status[i], -EOPNOTSUPP);
	plain_send(far, NULL, "mine", 4);
	KIT_UNTIL(a.len == 4);
	sconce_close(&stream.sock, SCONCE_REASON_LOCAL);
	close_both();
	close(fds[1]);
}
END_TEST

/* Wishes that could not be granted are refused. */
START_TEST(test_wishes_for_streams_are_refused)
{
	static const struct sconce_transport transport = { .name = "none" };

	open_udp(&note_ops);
	ck_assert_int_eq(sconce_watch_write(&a.sock, true), -EINVAL);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_WR), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_RD), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_shutdown(&a.sock, SHUT_RDWR), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_set_transport(&a.sock, &transport, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(sconce_write(&a.sock, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_printf(&a.sock, "%d", 1), -EPIPE);
	ck_assert_int_eq(sconce_watching(&a.sock), SCONCE_READ);
	plain_send(far, NULL, "still", 5);
	KIT_UNTIL(a.len == 5);
	kit_settle();
	ck_assert_uint_eq(a.writes, 0);
	sconce_close_flush(&a.sock, 10);
	ck_assert(a.sock.closed);
	close_both();
}
END_TEST

/* A stream endpoint is refused before anything is opened; the record says what to write. */
START_TEST(test_connect_to_a_stream_is_refused)
{
	note_init(&a, &note_ops, -1);
	ck_assert_int_eq(sconce_connect(&a.sock, "127.0.0.1:7045"), -EPROTOTYPE);
	ck_assert_str_eq(sconce_failure(&a.sock)->text, "socktype 127.0.0.1:7045: a stream endpoint: say udp://127.0.0.1:7045");
	ck_assert_int_eq(sconce_connect(&a.sock, "unix:///@x"), -EPROTOTYPE);
	ck_assert_uint_eq(a.opens, 0);
	kit_settle();
	ck_assert_int_eq(a.connect_errnum, -1);
	note_close(&a);
}
END_TEST

/* An address alone is connected to with datagrams. */
START_TEST(test_connect_addr_makes_a_datagram_socket)
{
	struct sconce_addr at = unix_name(), own;
	int type = 0;
	socklen_t len = sizeof(type);

	far = _i == 0 ? plain_bound("127.0.0.1", &at) : unix_bound(&at);
	note_init(&a, &note_ops, -1);
	ck_assert_int_eq(sconce_connect_addr(&a.sock, &at), 0);
	KIT_UNTIL(a.connect_errnum == 0);
	ck_assert_int_eq(sconce_raw_getsockopt(loop, a.sock.fd, SOL_SOCKET, SO_TYPE, &type, &len), 0);
	ck_assert_int_eq(type, SOCK_DGRAM);
	ck_assert_int_eq(note_send(&a, "hello"), 1);
	ck_assert(plain_gets(far, "hello"));
	ck_assert_int_eq(sconce_local(&a.sock, &own), 0);
	ck_assert_int_eq(sendto(far, "answer", 6, 0, &own.any, own.len), 6);
	KIT_UNTIL(a.len == 6);
	close_both();
}
END_TEST

/* ---- memory ---- */

/* Scratch memory is aligned for anything, whatever the size. */
START_TEST(test_scratch_is_aligned)
{
	for (size_t size = 0; size < 5000; size = size * 3 + 1) {
		void *p = sconce_scratch_take(loop, size);

		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		memset(p, 1, size);
		sconce_scratch_give(loop, p);
	}
	ck_assert_ptr_null(sconce_scratch_take(loop, SIZE_MAX));
	ck_assert_ptr_null(sconce_scratch_take(loop, SIZE_MAX - 8));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("raw");
	TCase *t;

	t = kit_case(suite, "calls");
	tcase_add_test(t, test_recvmmsg_full_array_is_read_again);
	tcase_add_test(t, test_raw_calls_without_an_fd_are_refused);

	t = kit_case(suite, "offer");
	tcase_add_test(t, test_offer_comes_once);
	tcase_add_test(t, test_offer_paused_waits);

	t = kit_case(suite, "stuck");
	tcase_add_test(t, test_stuck_wait_fd_drains_once);
	tcase_add_test(t, test_stuck_wait_self_does_not_ask_the_fd);
	tcase_add_loop_test(t, test_stuck_output_timeout_runs, 0, 2);

	t = kit_case(suite, "errors");
	tcase_add_loop_test(t, test_error_is_told_while_paused, 0, 2);
	tcase_add_loop_test(t, test_error_is_received_while_watched, 0, 2);
	tcase_add_test(t, test_error_without_a_hook_is_nothing);
	tcase_add_loop_test(t, test_shutdown_of_the_fd_ends_reads, 0, 4);
	tcase_add_test(t, test_nothing_to_read_is_no_end);

	t = kit_case(suite, "open");
	tcase_add_test(t, test_open_comes_before_bind);
	tcase_add_loop_test(t, test_open_comes_before_connect, 0, 3);
	tcase_add_test(t, test_open_refuses_a_bind);
	tcase_add_test(t, test_open_refuses_a_connect);
	tcase_add_test(t, test_open_is_asked_for_each_address);

	t = kit_case(suite, "refused");
	tcase_add_test(t, test_transfer_of_records_is_refused);
	tcase_add_test(t, test_wishes_for_streams_are_refused);
	tcase_add_test(t, test_connect_to_a_stream_is_refused);
	tcase_add_loop_test(t, test_connect_addr_makes_a_datagram_socket, 0, 2);

	t = kit_case(suite, "scratch");
	tcase_add_test(t, test_scratch_is_aligned);
	return suite;
}
