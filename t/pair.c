/* See pair.h. */
#include "pair.h"
#include "backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) memset((p), 0xa5, (n))
#define UNPOISON(p, n) ((void)(p))
#endif

/* ---- the log ---- */

void
pair_log(struct pair *p, const char *format, ...)
{
	size_t room = sizeof(p->log) - p->log_len;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(p->log + p->log_len, room, format, ap);
	va_end(ap);
	if (n > 0)
		p->log_len += (size_t)n < room ? (size_t)n : room - 1;
}

void
pair_log_clear(struct pair *p)
{
	p->log_len = 0;
	p->log[0] = '\0';
}

void
log_done(struct sconce_sock *s, void *arg, int status)
{
	pair_log(end_of(s)->pair, "%s=%d ", (const char *)arg, status);
}

void
count_done(struct sconce_sock *s, void *arg, int status)
{
	struct counted *c = arg;

	(void)s;
	c->calls++;
	c->status = status;
}

/* ---- the hooks ---- */

struct end *
end_of(const struct sconce_sock *s)
{
	ck_assert_msg(s->ops->destroy == end_destroy, "not the table of an end");
	return SCONCE_CONTAINER_OF(s, struct end, sock);
}

/* After the farewell nothing but destroy may run. */
static struct end *
enter(const struct sconce_sock *s, const char *hook)
{
	struct end *e = end_of(s);

	ck_assert_msg(!s->closed, "%s.%s after close", e->tag, hook);
	ck_assert_uint_eq(e->destroys, 0);
	pair_log(e->pair, "%s.%s ", e->tag, hook);
	return e;
}

static void
keep(struct end *e, const void *data, size_t len)
{
	if (e->in_len + len > e->in_cap) {
		e->in_cap = (e->in_len + len) * 2;
		e->in = realloc(e->in, e->in_cap);
		ck_assert_ptr_nonnull(e->in);
	}
	memcpy(e->in + e->in_len, data, len);
	e->in_len += len;
}

static bool
read_once(struct end *e)
{
	char buf[16 * 1024];
	const void *data = buf;
	size_t size = e->read_size != 0 && e->read_size < sizeof(buf) ? e->read_size : sizeof(buf);

	if (e->reading == READ_SHARED_ONCE)
		e->last = sconce_read_shared(&e->sock, &data);
	else
		e->last = sconce_read(&e->sock, buf, size);
	if (e->last > 0)
		keep(e, data, (size_t)e->last);
	if (e->last == 0)
		e->ended = true;
	return e->last > 0;
}

static void
read_default(struct end *e)
{
	if (e->reading == READ_NOTHING)
		return;
	while (read_once(e) && e->reading == READ_ALL)
		;
	if (e->close_at_end && e->last <= 0 && e->last != -EAGAIN)
		sconce_close(&e->sock, e->last == 0 ? SCONCE_REASON_EOF : SCONCE_REASON_ERROR);
}

void
end_event_read(struct sconce_sock *s)
{
	struct end *e = enter(s, "read");

	e->reads++;
	if (e->on.read != NULL)
		e->on.read(e);
	else
		read_default(e);
}

void
end_event_write(struct sconce_sock *s)
{
	struct end *e = enter(s, "write");

	e->writes++;
	if (e->on.write != NULL)
		e->on.write(e);
}

void
end_event_err(struct sconce_sock *s, int errnum)
{
	struct end *e = end_of(s);
	char hook[32];

	snprintf(hook, sizeof(hook), "err(%d)", errnum);
	enter(s, hook);
	ck_assert_int_gt(errnum, 0);
	e->errs++;
	e->errnum = errnum;
	if (e->on.err != NULL)
		e->on.err(e, errnum);
}

void
end_event_hup(struct sconce_sock *s)
{
	struct end *e = enter(s, "hup");

	e->hups++;
	if (e->on.hup != NULL)
		e->on.hup(e);
}

void
end_event_connect(struct sconce_sock *s, int errnum)
{
	struct end *e = end_of(s);
	char hook[32];

	snprintf(hook, sizeof(hook), "connect(%d)", errnum);
	enter(s, hook);
	e->connects++;
	e->errnum = errnum;
	if (e->on.connect != NULL)
		e->on.connect(e, errnum);
}

void
end_event_low(struct sconce_sock *s)
{
	struct end *e = enter(s, "low");

	e->lows++;
	if (e->on.low != NULL)
		e->on.low(e);
}

void
end_event_high(struct sconce_sock *s)
{
	struct end *e = enter(s, "high");

	e->highs++;
	if (e->on.high != NULL)
		e->on.high(e);
}

void
end_event_drain(struct sconce_sock *s)
{
	struct end *e = enter(s, "drain");

	e->drains++;
	if (e->on.drain != NULL)
		e->on.drain(e);
}

void
end_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct end *e = enter(s, "timeout");

	e->timeouts++;
	if (e->on.timeout != NULL)
		e->on.timeout(e, kind);
}

void
end_event_close(struct sconce_sock *s)
{
	struct end *e = end_of(s);

	ck_assert(s->closed);
	ck_assert_uint_eq(e->closes, 0);
	e->closes++;
	e->reason = s->reason;
	e->close_errnum = s->errnum;
	e->close_fd = s->fd;
	e->unsent = s->unsent;
	if (s->fd >= 0)
		ck_assert_msg(fcntl(s->fd, F_GETFD) >= 0, "the fd is open at the farewell");
	pair_log(e->pair, "%s.close ", e->tag);
	if (e->on.close != NULL)
		e->on.close(e);
}

void
end_destroy(struct sconce_sock *s)
{
	struct end *e = end_of(s);

	ck_assert(s->closed);
	ck_assert_uint_eq(e->destroys, 0);
	if (s->ops->event_close != NULL)
		ck_assert_uint_eq(e->closes, 1);
	e->destroys++;
	pair_log(e->pair, "%s.destroy ", e->tag);
	if (e->on.destroy != NULL)
		e->on.destroy(e);
	POISON(&e->sock, sizeof(e->sock));
}

const struct sconce_sock_ops end_ops = {
	.name = "end",
	.event_read = end_event_read,
	.event_write = end_event_write,
	.event_err = end_event_err,
	.event_hup = end_event_hup,
	.event_connect = end_event_connect,
	.event_low = end_event_low,
	.event_high = end_event_high,
	.event_drain = end_event_drain,
	.event_timeout = end_event_timeout,
	.event_close = end_event_close,
	.destroy = end_destroy,
};

/* ---- wires ---- */

static void
make_tcp(int fds[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fds[0], 0);
	ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&sin, sizeof(sin)), 0);
	fds[1] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fds[1], 0);
	close(fd);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
}

void
wire_make(enum wire wire, int fds[2])
{
	if (wire == WIRE_TCP)
		make_tcp(fds);
	else
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

void
wire_narrow(int fd)
{
	int one = 1;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &one, sizeof(one)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)), 0);
}

/* ---- pairs ---- */

static void
start_end(struct pair *p, struct end *e, const char *tag, const struct sconce_sock_ops *ops, int fd)
{
	e->pair = p;
	e->used = true;
	snprintf(e->tag, sizeof(e->tag), "%s", tag);
	ck_assert_int_eq(sconce_sock_init(&e->sock, p->loop, ops != NULL ? ops : &end_ops, fd), 0);
}

void
pair_clear(struct pair *p)
{
	UNPOISON(p, sizeof(*p));
	memset(p, 0, sizeof(*p));
}

void
pair_open_loop(struct pair *p, const struct sconce_loop_options *opts)
{
	struct sconce_loop_options own = { .backend = NULL };

	pair_clear(p);
	if (opts != NULL)
		own = *opts;
	if (own.backend == NULL)
		own.backend = t_backend();
	ck_assert_int_eq(sconce_loop_new(&own, &p->loop), 0);
}

struct end *
end_open(struct pair *p, const char *tag, const struct sconce_sock_ops *ops, int fd)
{
	struct end *e = &p->others[p->other_count];

	ck_assert_uint_lt((size_t)p->other_count, sizeof(p->others) / sizeof(p->others[0]));
	p->other_count++;
	start_end(p, e, tag, ops, fd);
	return e;
}

void
pair_open_with(struct pair *p, enum wire wire, const struct sconce_sock_ops *a, const struct sconce_sock_ops *b,
    const struct sconce_loop_options *opts)
{
	int fds[2];

	pair_open_loop(p, opts);
	wire_make(wire, fds);
	start_end(p, &p->a, "a", a, fds[0]);
	start_end(p, &p->b, "b", b, fds[1]);
}

void
pair_open(struct pair *p, enum wire wire)
{
	pair_open_with(p, wire, NULL, NULL, NULL);
}

static void
finish_end(struct end *e)
{
	if (!e->used)
		return;
	UNPOISON(&e->sock, sizeof(e->sock));
	ck_assert_msg(e->destroys == 1, "%s destroyed %u times", e->tag, e->destroys);
	free(e->in);
}

void
pair_free(struct pair *p)
{
	sconce_verify(p->loop);
	ck_assert_int_eq(sconce_loop_free(p->loop), 0);
	finish_end(&p->a);
	finish_end(&p->b);
	for (int i = 0; i < p->other_count; i++)
		finish_end(&p->others[i]);
}

void
pair_turn(struct pair *p, int turns)
{
	for (int i = 0; i < turns; i++)
		ck_assert_int_ge(sconce_loop_step(p->loop, 0), 0);
}

void
pair_quiet(struct pair *p)
{
	int quiet = 0;

	for (int i = 0; i < PAIR_TURNS && quiet < 3; i++)
		quiet = sconce_loop_step(p->loop, 0) > 0 ? 0 : quiet + 1;
	ck_assert_msg(quiet == 3, "never quiet; log: %.600s", p->log);
}

/* ---- bytes ---- */

static unsigned char
byte_at(uint64_t n)
{
	return (unsigned char)(n * 131 ^ n >> 8 ^ n >> 16);
}

void
bytes_fill(void *buf, size_t len, uint64_t from)
{
	unsigned char *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = byte_at(from + i);
}

bool
bytes_are(const void *buf, size_t len, uint64_t from)
{
	const unsigned char *p = buf;

	for (size_t i = 0; i < len; i++)
		if (p[i] != byte_at(from + i))
			return false;
	return true;
}

/* ---- the backend that counts and fails ---- */

struct fault fault;
static struct sconce_backend table;

static bool
concerns(int fd)
{
	return fault.fd == 0 || fault.fd == fd;
}

/* Whether this call is to be interrupted: every other one is. */
static bool
interrupted(void)
{
	static bool odd;

	if (!fault.eintr)
		return false;
	odd = !odd;
	if (odd)
		errno = EINTR;
	return odd;
}

static bool
refused_by(int fd, long *again, int *errnum)
{
	if (!concerns(fd))
		return false;
	if (*errnum != 0) {
		errno = *errnum;
		*errnum = 0;
		return true;
	}
	if (*again == 0)
		return false;
	if (*again > 0)
		--*again;
	errno = EAGAIN;
	return true;
}

static bool
refused(int fd, long *again, int *errnum)
{
	return interrupted() || refused_by(fd, again, errnum);
}

static void
note_send(int fd, int flags, int iovs)
{
	size_t n = strlen(fault.order);

	snprintf(fault.order + n, sizeof(fault.order) - n, "%d ", fd);
	fault.flags = flags;
	fault.iovs = iovs;
}

static ssize_t
note_sent(ssize_t n)
{
	if (n > 0)
		fault.sent += (size_t)n;
	return n;
}

static size_t
limited(int fd, size_t len, size_t max)
{
	return max > 0 && concerns(fd) && len > max ? max : len;
}

static ssize_t
fault_send(int fd, const void *buf, size_t len, int flags, void *ctx)
{
	fault.send++;
	note_send(fd, flags, 1);
	if (refused(fd, &fault.send_again, &fault.send_errno))
		return -1;
	return note_sent(sconce_backend_libev()->send(fd, buf, limited(fd, len, fault.max_send), flags, ctx));
}

/* The vector cut to `max` bytes. */
static int
cut(const struct iovec *iov, int count, size_t max, struct iovec *out)
{
	int n = 0;

	for (; n < count && n < 128; n++) {
		out[n] = iov[n];
		if (max > 0 && out[n].iov_len >= max) {
			out[n].iov_len = max;
			return n + 1;
		}
		if (max > 0)
			max -= out[n].iov_len;
	}
	return n;
}

static ssize_t
fault_sendmsg(int fd, const struct msghdr *msg, int flags, void *ctx)
{
	struct iovec iov[128];
	struct msghdr m = *msg;

	fault.sendmsg++;
	note_send(fd, flags, (int)msg->msg_iovlen);
	if (refused(fd, &fault.send_again, &fault.send_errno))
		return -1;
	ck_assert_uint_le(msg->msg_iovlen, 128);
	m.msg_iov = iov;
	m.msg_iovlen = (size_t)cut(msg->msg_iov, (int)msg->msg_iovlen, concerns(fd) ? fault.max_send : 0, iov);
	return note_sent(sconce_backend_libev()->sendmsg(fd, &m, flags, ctx));
}

static ssize_t
fault_writev(int fd, const struct iovec *iov, int count, void *ctx)
{
	struct iovec part[128];

	fault.writev++;
	note_send(fd, 0, count);
	if (refused(fd, &fault.send_again, &fault.send_errno))
		return -1;
	count = cut(iov, count, concerns(fd) ? fault.max_send : 0, part);
	return note_sent(sconce_backend_libev()->writev(fd, part, count, ctx));
}

static ssize_t
fault_recv(int fd, void *buf, size_t len, int flags, void *ctx)
{
	fault.recv++;
	if (refused(fd, &fault.recv_again, &fault.recv_errno))
		return -1;
	return sconce_backend_libev()->recv(fd, buf, limited(fd, len, fault.max_recv), flags, ctx);
}

static ssize_t
fault_readv(int fd, const struct iovec *iov, int count, void *ctx)
{
	struct iovec part[128];

	fault.readv++;
	if (refused(fd, &fault.recv_again, &fault.recv_errno))
		return -1;
	count = cut(iov, count, concerns(fd) ? fault.max_recv : 0, part);
	return sconce_backend_libev()->readv(fd, part, count, ctx);
}

static ssize_t
fault_pread(int fd, void *buf, size_t len, off_t offset, void *ctx)
{
	fault.pread++;
	if (interrupted())
		return -1;
	return sconce_backend_libev()->pread(fd, buf, len, offset, ctx);
}

static ssize_t
fault_sendfile(int out, int in, off_t *offset, size_t count, void *ctx)
{
	fault.sendfile++;
	note_send(out, 0, 0);
	if (refused(out, &fault.send_again, &fault.send_errno))
		return -1;
	return sconce_backend_libev()->sendfile(out, in, offset, limited(out, count, fault.max_send), ctx);
}

static ssize_t
fault_splice(int in, int out, size_t len, unsigned flags, void *ctx)
{
	fault.splice++;
	if (fault.no_splice) {
		errno = EINVAL;
		return -1;
	}
	if (interrupted())
		return -1;
	if (fault.fd == out && refused_by(out, &fault.send_again, &fault.send_errno))
		return -1;
	if (fault.fd == in && refused_by(in, &fault.recv_again, &fault.recv_errno))
		return -1;
	return sconce_backend_libev()->splice(in, out, limited(out, len, fault.max_send), flags, ctx);
}

static int
fault_pipe2(int fds[2], int flags, void *ctx)
{
	fault.pipe2++;
	return fault.small_pipes ? pipe2(fds, flags) : sconce_backend_libev()->pipe2(fds, flags, ctx);
}

static int
fault_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx)
{
	fault.accept4++;
	if (interrupted())
		return -1;
	return sconce_backend_libev()->accept4(fd, addr, len, flags, ctx);
}

static void
fault_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	fault.arm++;
	t_backend()->arm(s, events, ctx);
}

static void
fault_watch_hup(struct sconce_sock *s, void *ctx)
{
	fault.watch_hup++;
	t_backend()->watch_hup(s, ctx);
}

static int
fault_shutdown(int fd, int how, void *ctx)
{
	fault.shutdown++;
	return sconce_backend_libev()->shutdown(fd, how, ctx);
}

static int
fault_close(int fd, void *ctx)
{
	fault.close++;
	return sconce_backend_libev()->close(fd, ctx);
}

static int
fault_getsockopt(int fd, int level, int name, void *val, socklen_t *len, void *ctx)
{
	fault.getsockopt++;
	return sconce_backend_libev()->getsockopt(fd, level, name, val, len, ctx);
}

static int
fault_setsockopt(int fd, int level, int name, const void *val, socklen_t len, void *ctx)
{
	fault.setsockopt++;
	return sconce_backend_libev()->setsockopt(fd, level, name, val, len, ctx);
}

/* realloc's shape; see backend.h. */
static void *
fault_alloc(void *ptr, size_t size, void *ctx)
{
	void *p;

	(void)ctx;
	if (size == 0) {
		if (ptr != NULL)
			fault.live--;
		free(ptr);
		return NULL;
	}
	fault.allocs++;
	if (fault.alloc_fail > 0 && --fault.alloc_fail == 0) {
		fault.failed++;
		if (fault.alloc_fail_all)
			fault.alloc_fail = 1;
		return NULL;
	}
	p = realloc(ptr, size);
	ck_assert_ptr_nonnull(p);
	if (ptr == NULL)
		fault.live++;
	return p;
}

const struct sconce_backend *
fault_backend(void)
{
	memset(&fault, 0, sizeof(fault));
	table = *t_backend();
	table.arm = fault_arm;
	table.watch_hup = fault_watch_hup;
	table.recv = fault_recv;
	table.send = fault_send;
	table.sendmsg = fault_sendmsg;
	table.readv = fault_readv;
	table.writev = fault_writev;
	table.pread = fault_pread;
	table.sendfile = fault_sendfile;
	table.splice = fault_splice;
	table.pipe2 = fault_pipe2;
	table.accept4 = fault_accept4;
	table.shutdown = fault_shutdown;
	table.close = fault_close;
	table.getsockopt = fault_getsockopt;
	table.setsockopt = fault_setsockopt;
	table.alloc = fault_alloc;
	return &table;
}

void
fault_reset(void)
{
	struct fault old = fault;

	memset(&fault, 0, sizeof(fault));
	fault.eintr = old.eintr;
	fault.fd = old.fd;
	fault.max_send = old.max_send;
	fault.max_recv = old.max_recv;
	fault.send_again = old.send_again;
	fault.recv_again = old.recv_again;
	fault.send_errno = old.send_errno;
	fault.recv_errno = old.recv_errno;
	fault.alloc_fail = old.alloc_fail;
	fault.alloc_fail_all = old.alloc_fail_all;
	fault.no_splice = old.no_splice;
	fault.live = old.live;
}

unsigned
fault_sends(void)
{
	return fault.send + fault.sendmsg + fault.writev + fault.sendfile;
}

void
pair_open_counted(struct pair *p, enum wire wire, uint64_t low, uint64_t high)
{
	struct sconce_loop_options opts = { .backend = fault_backend(), .low = low, .high = high };

	pair_open_with(p, wire, NULL, NULL, &opts);
	pair_quiet(p);
	fault_reset();
}
