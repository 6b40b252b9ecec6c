/* What the tests of endpoints share: a loop whose backend is libev's with entries of the test's own and a clock that the
 * test moves, a socket that notes its hooks, and plain sockets for the other end. */
#ifndef TEST_NET_H
#define TEST_NET_H

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

#define NET_UNUSED __attribute__((unused))

static struct sconce_loop *loop;
static struct sconce_backend backend;	/* the loop's: a test may replace entries */
static int64_t skew;			/* ns that the loop's clock is ahead */

static int64_t
net_now(void *ctx)
{
	return sconce_backend_libev()->now(ctx) + skew;
}

static NET_UNUSED void
net_setup(void)
{
	struct sconce_loop_options opts = { .backend = &backend };

	skew = 0;
	backend = *sconce_backend_libev();
	backend.now = net_now;
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
}

static NET_UNUSED void
net_teardown(void)
{
	if (loop == NULL)
		return;
	sconce_verify(loop);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
}

/* For backend.alloc: gives memory `alloc_left` times, then none; negative: always. */
static NET_UNUSED int alloc_left = -1;

static NET_UNUSED void *
failing_alloc(void *ptr, size_t size, void *ctx)
{
	if (size != 0 && alloc_left >= 0 && alloc_left-- == 0) {
		alloc_left = 0;
		return NULL;
	}
	return sconce_backend_libev()->alloc(ptr, size, ctx);
}

static NET_UNUSED TCase *
net_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, net_setup, net_teardown);
	return tcase;
}

/* Turns the loop until `cond` holds, for at most some seconds. */
#define NET_UNTIL(cond) do { \
		for (int turn_ = 0; turn_ < 400 && !(cond); turn_++) \
			ck_assert_int_ge(sconce_loop_step(loop, 0.02), 0); \
		ck_assert_msg(cond, "still not so: %s", #cond); \
	} while (0)

/* Turns it until nothing more happens. */
static NET_UNUSED void
net_settle(void)
{
	for (int quiet = 0, turn = 0; quiet < 3 && turn < 1000; turn++) {
		int hooks = sconce_loop_step(loop, 0.001);

		ck_assert_int_ge(hooks, 0);
		quiet = hooks == 0 ? quiet + 1 : 0;
	}
	sconce_verify(loop);
}

/* Lets time pass, as far as the loop knows. */
static NET_UNUSED void
net_pass(double secs)
{
	skew += (int64_t)(secs * 1e9);
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
}

/* ---- a socket that notes its hooks ---- */

struct conn {
	struct sconce_sock sock;
	char log[128];			/* a letter per hook; see conn_ops; several R, or W, in a row are one */
	int connect_errnum, err, reason, errnum;
	int done_status;
	char fail[160];			/* sconce_failure()'s text during event_connect, event_err or event_close */
	char peer[SCONCE_ADDR_TEXT];	/* during event_close */
	char *in;			/* what it has read */
	size_t in_len;
	bool end;
	ssize_t read_error;
	void (*on_connect)(struct conn *c, int errnum);
	void (*on_read)(struct conn *c);
};

static struct conn *
conn_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct conn, sock);
}

static void
note(struct conn *c, char letter)
{
	size_t n = strlen(c->log);

	if (n > 0 && letter == c->log[n - 1] && (letter == 'R' || letter == 'W'))
		return;
	if (n + 1 < sizeof(c->log))
		c->log[n] = letter;
}

static void
note_fail(struct conn *c)
{
	const struct sconce_fail *fail = sconce_failure(&c->sock);

	if (fail != NULL)
		snprintf(c->fail, sizeof(c->fail), "%s", fail->text);
}

static void
conn_event_connect(struct sconce_sock *s, int errnum)
{
	struct conn *c = conn_of(s);

	note(c, 'C');
	c->connect_errnum = errnum;
	note_fail(c);
	if (c->on_connect != NULL)
		c->on_connect(c, errnum);
}

static void
conn_event_read(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);
	char buf[16 * 1024];
	ssize_t n;

	note(c, 'R');
	if (c->on_read != NULL) {
		c->on_read(c);
		return;
	}
	n = sconce_read(s, buf, sizeof(buf));
	if (n > 0) {
		c->in = realloc(c->in, c->in_len + (size_t)n);
		memcpy(c->in + c->in_len, buf, (size_t)n);
		c->in_len += (size_t)n;
	} else if (n == 0) {
		c->end = true;
	} else if (n != -EAGAIN) {
		c->read_error = n;
	}
}

static void
conn_event_write(struct sconce_sock *s)
{
	note(conn_of(s), 'W');
}

static void
conn_event_err(struct sconce_sock *s, int errnum)
{
	struct conn *c = conn_of(s);

	note(c, 'E');
	c->err = errnum;
	note_fail(c);
}

static void
conn_event_hup(struct sconce_sock *s)
{
	note(conn_of(s), 'H');
}

static void
conn_event_low(struct sconce_sock *s)
{
	note(conn_of(s), 'L');
}

static void
conn_event_high(struct sconce_sock *s)
{
	note(conn_of(s), 'G');
}

static void
conn_event_drain(struct sconce_sock *s)
{
	note(conn_of(s), 'D');
}

static void
conn_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	(void)kind;
	note(conn_of(s), 'T');
}

static void
conn_event_close(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);
	struct sconce_addr a;

	note(c, 'X');
	c->reason = s->reason;
	c->errnum = s->errnum;
	note_fail(c);
	if (sconce_peer(s, &a) == 0)
		sconce_addr_text(&a, c->peer, sizeof(c->peer));
}

static void
conn_destroy(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);

	note(c, 'Z');
	free(c->in);
	c->in = NULL;
}

/* C connect, R read, W write, E err, H hup, L low, G high, D drain, T timeout, X close, Z destroy; d: conn_done(). */
static const struct sconce_sock_ops conn_ops NET_UNUSED = {
	.name = "conn", .event_read = conn_event_read, .event_write = conn_event_write,
	.event_err = conn_event_err, .event_hup = conn_event_hup, .event_connect = conn_event_connect,
	.event_low = conn_event_low, .event_high = conn_event_high, .event_drain = conn_event_drain,
	.event_timeout = conn_event_timeout, .event_close = conn_event_close, .destroy = conn_destroy,
};

/* Without event_connect, event_err and event_hup. */
static const struct sconce_sock_ops bare_ops NET_UNUSED = {
	.name = "bare", .event_read = conn_event_read, .event_close = conn_event_close, .destroy = conn_destroy,
};

static NET_UNUSED void
conn_done(struct sconce_sock *s, void *arg, int status)
{
	struct conn *c = conn_of(s);

	(void)arg;
	note(c, 'd');
	c->done_status = status;
}

static NET_UNUSED void
conn_init(struct conn *c, const struct sconce_sock_ops *ops, int fd)
{
	memset(c, 0, sizeof(*c));
	ck_assert_int_eq(sconce_sock_init(&c->sock, loop, ops, fd), 0);
}

/* ---- plain sockets ---- */

/* A plain listener on 127.0.0.1; its endpoint's text in `text`. */
static NET_UNUSED int
plain_listen(int backlog, char *text, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(text, size, "127.0.0.1:%d", ntohs(in.sin_port));
	return fd;
}

/* Whether this host has the address ::1. */
static NET_UNUSED bool
net_has_v6(void)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&in6, sizeof(in6)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

/* The text of an endpoint of 127.0.0.1 where nobody listens. */
static NET_UNUSED void
plain_nobody(char *text, size_t size)
{
	close(plain_listen(1, text, size));
}

/* A blocking connection to an address. */
static NET_UNUSED int
plain_connect(const struct sconce_addr *a)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(connect(fd, &a->any, a->len) == 0, "connect: %s", strerror(errno));
	return fd;
}

/* Reads exactly `len` bytes, or to the end; gives the count. */
static NET_UNUSED size_t
plain_read(int fd, char *buf, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = read(fd, buf + at, len - at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	return at;
}

/* Whether the other side has ended, waiting for it at most a second. */
static NET_UNUSED bool
plain_ended(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 1000) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

/* An abstract unix address of this test's own. */
static NET_UNUSED void
abstract_name(char *text, size_t size)
{
	static int count;

	snprintf(text, size, "unix:///@sconce-test-%d-%d", (int)getpid(), count++);
}

/* A directory of this test's own, and a path in it. */
static char net_dir[64];

static NET_UNUSED void
dir_make(char *path, size_t size, const char *name)
{
	snprintf(net_dir, sizeof(net_dir), "/tmp/sconce-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(net_dir));
	snprintf(path, size, "%s/%s", net_dir, name);
}

static NET_UNUSED void
dir_remove(const char *path)
{
	unlink(path);
	rmdir(net_dir);
}

#endif
