/* What the tests of datagram sockets share: a loop whose backend is libev's with entries of the test's own, a socket that
 * notes what happens to it, and plain sockets for the other end. */
#ifndef TEST_DGRAM_H
#define TEST_DGRAM_H

#include "harness.h"
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/dgram.h>
#include <sconce/ev.h>
#include <sconce/sconce.h>

#define KIT_UNUSED __attribute__((unused))

static struct sconce_loop *loop;
static struct sconce_backend backend;	/* the loop's: a test may replace entries */
static int64_t skew;			/* ns that the loop's clock is ahead */

/* What the wrapped calls saw, and do. */
static struct {
	unsigned sendmmsg, recvmmsg, recvmsg;	/* calls */
	unsigned sent_in_one, asked_in_one;	/* of the last */
	int send_errno;			/* the next send fails so, once */
	int send_fail_at;		/* so many datagrams of it work before */
	int recv_errno;
	int send_again;			/* so many calls give EAGAIN; -1: all */
} calls;

static int64_t
kit_now(void *ctx)
{
	return sconce_backend_libev()->now(ctx) + skew;
}

static int
kit_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	int failure = calls.send_errno;

	(void)ctx;
	calls.sendmmsg++;
	calls.sent_in_one = count;
	if (calls.send_again != 0) {
		calls.send_again -= calls.send_again > 0;
		errno = EAGAIN;
		return -1;
	}
	if (failure != 0 && calls.send_fail_at == 0) {
		calls.send_errno = 0;
		errno = failure;
		return -1;
	}
	if (failure != 0 && (unsigned)calls.send_fail_at < count)
		count = (unsigned)calls.send_fail_at;
	if (failure != 0)
		calls.send_fail_at = 0;
	return sendmmsg(fd, msgs, count, flags);
}

static int
kit_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	(void)ctx;
	calls.recvmmsg++;
	calls.asked_in_one = count;
	if (calls.recv_errno != 0) {
		errno = calls.recv_errno;
		calls.recv_errno = 0;
		return -1;
	}
	return recvmmsg(fd, msgs, count, flags, NULL);
}

static ssize_t
kit_recvmsg(int fd, struct msghdr *msg, int flags, void *ctx)
{
	(void)ctx;
	calls.recvmsg++;
	return recvmsg(fd, msg, flags);
}

static KIT_UNUSED void
kit_setup(void)
{
	struct sconce_loop_options opts = { .backend = &backend };

	skew = 0;
	memset(&calls, 0, sizeof(calls));
	backend = *fault_backend();
	backend.now = kit_now;
	backend.sendmmsg = kit_sendmmsg;
	backend.recvmmsg = kit_recvmmsg;
	backend.recvmsg = kit_recvmsg;
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
}

static KIT_UNUSED void
kit_teardown(void)
{
	sconce_verify(loop);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert_int_eq(fault.live, 0);
}

static KIT_UNUSED TCase *
kit_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, kit_setup, kit_teardown);
	return tcase;
}

/* Turns the loop until `cond` holds, for at most some seconds. */
#define KIT_UNTIL(cond) do { \
		for (int turn_ = 0; turn_ < 1000 && !(cond); turn_++) \
			ck_assert_int_ge(sconce_loop_step(loop, 0.005), 0); \
		ck_assert_msg(cond, "still not so: %s", #cond); \
	} while (0)

/* Turns it until nothing more happens. */
static KIT_UNUSED void
kit_settle(void)
{
	for (int quiet = 0, turn = 0; quiet < 3 && turn < 1000; turn++)
		quiet = sconce_loop_step(loop, 0.001) == 0 ? quiet + 1 : 0;
	sconce_verify(loop);
}

static KIT_UNUSED void
kit_pass(double secs)
{
	skew += (int64_t)(secs * 1e9);
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
}

/* ---- a datagram socket that notes what happens ---- */

enum { GOT_MOST = 1024, ERRS_MOST = 64 };

struct got {
	char data[64];			/* the beginning */
	size_t len, full_len;
	bool truncated, group;
	struct sconce_addr from, local;
	unsigned ifindex;
	uint64_t session;
};

struct err {
	char operation[16], data[64];
	int errnum;
	size_t len;
	struct sconce_addr to, from;
	uint8_t icmp_type, icmp_code;
	uint32_t mtu;
};

struct peer {
	struct sconce_dgram dg;
	char log[512];			/* a letter per hook; see peer_ops; several D in a row are one */
	struct got got[GOT_MOST];
	unsigned got_count;
	struct err errs[ERRS_MOST];
	unsigned err_count;
	int connect_errnum, reason, errnum;
	uint64_t lost;			/* during event_close */
	void (*on_datagram)(struct peer *p, const struct sconce_datagram *g);
	void (*on_ready)(struct peer *p);
	void (*on_error)(struct peer *p, const struct sconce_dgram_error *e);
	void (*on_drain)(struct peer *p), (*on_low)(struct peer *p), (*on_high)(struct peer *p);
	void (*on_connect)(struct peer *p, int errnum);
	void *arg;
	int n;
};

static struct peer *
peer_of(struct sconce_dgram *d)
{
	return SCONCE_CONTAINER_OF(d, struct peer, dg);
}

static void
peer_note(struct peer *p, char letter)
{
	size_t n = strlen(p->log);

	ck_assert_msg(letter == 'X' || letter == 'Z' || !p->dg.sock.closed, "%c after close", letter);
	if (n > 0 && letter == 'D' && p->log[n - 1] == 'D')
		return;
	if (n + 1 < sizeof(p->log))
		p->log[n] = letter;
}

static void
peer_keep(struct peer *p, const struct sconce_datagram *g)
{
	struct got *to = &p->got[p->got_count];

	ck_assert_uint_lt(p->got_count, GOT_MOST);
	p->got_count++;
	memcpy(to->data, g->data, g->len < sizeof(to->data) ? g->len : sizeof(to->data));
	to->len = g->len;
	to->full_len = g->full_len;
	to->truncated = g->truncated;
	to->group = g->group;
	to->from = g->from;
	to->local = g->local;
	to->ifindex = g->ifindex;
	to->session = g->session;
}

static void
peer_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *g)
{
	struct peer *p = peer_of(d);

	peer_note(p, 'D');
	peer_keep(p, g);
	if (p->on_datagram != NULL)
		p->on_datagram(p, g);
}

static void
peer_event_ready(struct sconce_dgram *d)
{
	struct peer *p = peer_of(d);

	peer_note(p, 'R');
	if (p->on_ready != NULL)
		p->on_ready(p);
}

static void
peer_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	struct peer *p = peer_of(d);
	struct err *to = &p->errs[p->err_count];

	peer_note(p, 'E');
	ck_assert_uint_lt(p->err_count, ERRS_MOST);
	p->err_count++;
	snprintf(to->operation, sizeof(to->operation), "%s", e->operation);
	to->errnum = e->errnum;
	to->len = e->len;
	if (e->data != NULL)
		memcpy(to->data, e->data, e->len < sizeof(to->data) ? e->len : sizeof(to->data));
	to->to = e->to;
	to->from = e->from;
	to->icmp_type = e->icmp_type;
	to->icmp_code = e->icmp_code;
	to->mtu = e->mtu;
	if (p->on_error != NULL)
		p->on_error(p, e);
}

static void
peer_event_low(struct sconce_dgram *d)
{
	peer_note(peer_of(d), 'L');
	if (peer_of(d)->on_low != NULL)
		peer_of(d)->on_low(peer_of(d));
}

static void
peer_event_high(struct sconce_dgram *d)
{
	peer_note(peer_of(d), 'G');
	if (peer_of(d)->on_high != NULL)
		peer_of(d)->on_high(peer_of(d));
}

static void
peer_event_drain(struct sconce_dgram *d)
{
	peer_note(peer_of(d), 'F');
	if (peer_of(d)->on_drain != NULL)
		peer_of(d)->on_drain(peer_of(d));
}

static void
peer_event_connect(struct sconce_dgram *d, int errnum)
{
	peer_note(peer_of(d), 'C');
	peer_of(d)->connect_errnum = errnum;
	if (peer_of(d)->on_connect != NULL)
		peer_of(d)->on_connect(peer_of(d), errnum);
}

static void
peer_event_timeout(struct sconce_dgram *d, enum sconce_timeout_kind kind)
{
	(void)kind;
	peer_note(peer_of(d), 'T');
}

static void
peer_event_close(struct sconce_dgram *d)
{
	struct peer *p = peer_of(d);

	peer_note(p, 'X');
	p->reason = d->sock.reason;
	p->errnum = d->sock.errnum;
	p->lost = d->lost;
}

static void
peer_destroy(struct sconce_dgram *d)
{
	peer_note(peer_of(d), 'Z');
}

/* D datagram, R ready, E error, L low, G high, F drain, C connect, T timeout, X close, Z destroy. */
static const struct sconce_dgram_ops peer_ops KIT_UNUSED = {
	.name = "peer", .event_datagram = peer_event_datagram, .event_error = peer_event_error, .event_low = peer_event_low,
	.event_high = peer_event_high, .event_drain = peer_event_drain, .event_connect = peer_event_connect,
	.event_timeout = peer_event_timeout, .event_close = peer_event_close, .destroy = peer_destroy,
};

static const struct sconce_dgram_ops pull_ops KIT_UNUSED = {
	.name = "pull", .event_ready = peer_event_ready, .event_error = peer_event_error, .event_close = peer_event_close,
	.destroy = peer_destroy,
};

static KIT_UNUSED void
peer_init(struct peer *p, const struct sconce_dgram_ops *ops, int fd, const struct sconce_dgram_options *opts)
{
	memset(p, 0, sizeof(*p));
	ck_assert_int_eq(sconce_dgram_init(&p->dg, loop, ops, fd, opts), 0);
}

static KIT_UNUSED void
peer_close(struct peer *p)
{
	sconce_close(&p->dg.sock, SCONCE_REASON_LOCAL);
	kit_settle();
	ck_assert_ptr_nonnull(strstr(p->log, "XZ"));
}

static KIT_UNUSED int
peer_text(struct peer *p, const char *text)
{
	return sconce_dgram_send(&p->dg, text, strlen(text));
}

static KIT_UNUSED bool
got_is(const struct got *g, const char *text)
{
	return g->len == strlen(text) && memcmp(g->data, text, g->len) == 0;
}

/* ---- plain sockets ---- */

/* A blocking datagram socket bound to a port of an address of the host's own; *addr_out (may be NULL) is where. */
static KIT_UNUSED int
plain_bound(const char *host, struct sconce_addr *addr_out)
{
	struct sconce_addr a;
	int fd;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		a.len = sizeof(a.in);
	} else {
		ck_assert_int_eq(inet_pton(AF_INET6, host, &a.in6.sin6_addr), 1);
		a.in6.sin6_family = AF_INET6;
		a.len = sizeof(a.in6);
	}
	fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_msg(bind(fd, &a.any, a.len) == 0, "bind %s: %s", host, strerror(errno));
	ck_assert_int_eq(getsockname(fd, &a.any, &a.len), 0);
	if (addr_out != NULL)
		*addr_out = a;
	return fd;
}

/* The same, connected to an address. */
static KIT_UNUSED int
plain_connected(const struct sconce_addr *to)
{
	int fd = plain_bound(to->any.sa_family == AF_INET ? "127.0.0.1" : "::1", NULL);

	ck_assert_int_eq(connect(fd, &to->any, to->len), 0);
	return fd;
}

/* An address of loopback where nobody is. */
static KIT_UNUSED struct sconce_addr
plain_nobody(const char *host)
{
	struct sconce_addr a;

	close(plain_bound(host, &a));
	return a;
}

static KIT_UNUSED void
plain_send(int fd, const struct sconce_addr *to, const void *data, size_t len)
{
	ck_assert_int_eq(sendto(fd, data, len, 0, to != NULL ? &to->any : NULL, to != NULL ? to->len : 0), (ssize_t)len);
}

/* The next datagram, waiting for it at most two seconds; -1: none came. */
static KIT_UNUSED ssize_t
plain_recv(int fd, void *buf, size_t size, struct sconce_addr *from_out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sconce_addr from = { .len = sizeof(from.un) };
	ssize_t n;

	if (poll(&p, 1, 2000) != 1)
		return -1;
	n = recvfrom(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC, &from.any, &from.len);
	if (from_out != NULL)
		*from_out = from;
	return n;
}

static KIT_UNUSED bool
plain_gets(int fd, const char *text)
{
	char buf[256];
	ssize_t n = plain_recv(fd, buf, sizeof(buf), NULL);

	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

/* Whether nothing is there. */
static KIT_UNUSED bool
plain_empty(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static KIT_UNUSED bool
addr_same(const struct sconce_addr *a, const struct sconce_addr *b)
{
	char x[SCONCE_ADDR_TEXT], y[SCONCE_ADDR_TEXT];

	return strcmp(sconce_addr_text(a, x, sizeof(x)), sconce_addr_text(b, y, sizeof(y))) == 0;
}

/* An abstract unix address of this test's own. */
static KIT_UNUSED struct sconce_addr
unix_name(void)
{
	static int count;
	struct sconce_addr a;
	int n;

	memset(&a, 0, sizeof(a));
	a.un.sun_family = AF_UNIX;
	n = snprintf(a.un.sun_path + 1, sizeof(a.un.sun_path) - 1, "sconce-dgram-%d-%d", (int)getpid(), count++);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	return a;
}

static KIT_UNUSED int
unix_bound(const struct sconce_addr *a)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	if (a != NULL)
		ck_assert_int_eq(bind(fd, &a->any, a->len), 0);
	return fd;
}

/* Takes whatever is there; how many. */
static KIT_UNUSED int
plain_drain(int fd)
{
	char buf[1024];
	int n = 0;

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		n++;
	return n;
}

#endif
