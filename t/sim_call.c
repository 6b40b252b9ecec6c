/* The simulator's system calls, with the results and errno of Linux. */
#include "sim_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int
fail(int errnum)
{
	errno = errnum;
	return -1;
}

static struct sim_fd *
stream_of(struct sim *sim, int fd, const char *call)
{
	struct sim_fd *f = sim__fd(sim, fd, call);

	if (f == NULL)
		return NULL;
	if (f->kind == FD_STREAM)
		return f;
	errno = f->kind == FD_FRESH || f->kind == FD_LISTEN ? ENOTCONN : ENOTSOCK;
	return NULL;
}

/* A failure that only chance decides: EINTR, or EAGAIN though there is something. */
static bool
interrupted(struct sim *sim)
{
	if (sim__chance(sim, sim->o.eintr)) {
		errno = EINTR;
		return true;
	}
	if (sim__chance(sim, sim->o.again)) {
		errno = EAGAIN;
		return true;
	}
	return false;
}

/* How much of `n` bytes one call takes. */
static size_t
some_of(struct sim *sim, size_t n)
{
	return n > 1 && sim__chance(sim, sim->o.short_io) ? 1 + sim_random(sim, (unsigned)n - 1) : n;
}

/* ---- sending ---- */

/* Whether bytes can go at all; errno if not. */
static bool
may_send(struct sim_fd *f)
{
	struct half *h = sim__half(f), *peer = sim__peer(f);
	bool broken = h->wr_shut || (!f->wire->tcp && (!peer->open || peer->rd_shut));

	if (f->side == 0 && f->wire->state == CONN_GOING)
		errno = EAGAIN;
	else if (f->wire->tcp && h->err != 0) {
		errno = h->err;
		h->err = 0;
	} else if (broken)
		errno = EPIPE;
	else
		return true;
	return false;
}

/* To a peer of TCP that is gone: taken, and answered by a reset once its FIN has arrived. */
static ssize_t
send_to_nobody(struct sim *sim, struct sim_fd *f, size_t n)
{
	sim__half(f)->out.taken += n;
	if (sim__peer(f)->out.end_told)
		sim__wire_end(sim, f->wire, 1 - f->side, FLOW_RESET);
	return (ssize_t)n;
}

static ssize_t
send_pieces(struct sim *sim, struct sim_fd *f, const struct iovec *iov, size_t count)
{
	struct flow *out = &sim__half(f)->out;
	size_t total = 0, room, done = 0;

	for (size_t i = 0; i < count; i++)
		total += iov[i].iov_len;
	if (!may_send(f) || (total > 0 && interrupted(sim)))
		return -1;
	if (!sim__peer(f)->open)
		return send_to_nobody(sim, f, total);
	room = out->cap - out->len;
	if (room == 0 && total > 0)
		return fail(EAGAIN);
	if (total > room)
		total = room;
	total = some_of(sim, total);
	for (size_t i = 0; done < total; i++) {
		size_t part = iov[i].iov_len < total - done ? iov[i].iov_len : total - done;

		done += sim__flow_put(out, iov[i].iov_base, part);
	}
	if (done > 0)
		sim__wire_send(sim, f->wire, f->side);
	return (ssize_t)done;
}

static ssize_t
call_send(int fd, const void *buf, size_t len, int flags, void *ctx)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct sim_fd *f = stream_of(ctx, fd, "send");

	(void)flags;
	return f != NULL ? send_pieces(ctx, f, &iov, 1) : -1;
}

static ssize_t
call_sendmsg(int fd, const struct msghdr *msg, int flags, void *ctx)
{
	struct sim_fd *f = stream_of(ctx, fd, "sendmsg");

	(void)flags;
	return f != NULL ? send_pieces(ctx, f, msg->msg_iov, msg->msg_iovlen) : -1;
}

static ssize_t
call_writev(int fd, const struct iovec *iov, int count, void *ctx)
{
	struct sim_fd *f = stream_of(ctx, fd, "writev");

	return f != NULL ? send_pieces(ctx, f, iov, (size_t)count) : -1;
}

/* ---- receiving ---- */

/* Nothing has arrived: -EAGAIN, the end, or the error. */
static ssize_t
recv_nothing(struct sim_fd *f)
{
	struct half *h = sim__half(f);
	int errnum = h->err;

	if (f->side == 0 && f->wire->state == CONN_GOING)
		return fail(EAGAIN);
	if (f->wire->tcp && h->was_shut)
		return 0;
	if (errnum != 0) {
		h->err = 0;
		return fail(errnum);
	}
	return h->rd_shut ? 0 : fail(EAGAIN);
}

static ssize_t
recv_some(struct sim *sim, struct sim_fd *f, unsigned char *to, size_t len)
{
	struct flow *in = &sim__peer(f)->out;

	if (in->ready == 0)
		return recv_nothing(f);
	if (interrupted(sim))
		return -1;
	return (ssize_t)sim__flow_get(in, to, some_of(sim, len < in->ready ? len : in->ready));
}

static ssize_t
call_recv(int fd, void *buf, size_t len, int flags, void *ctx)
{
	struct sim_fd *f = stream_of(ctx, fd, "recv");

	if (flags != 0)
		sim__violate(ctx, "recv with flags %d, which this simulator does not know", flags);
	return f != NULL ? recv_some(ctx, f, buf, len) : -1;
}

static ssize_t
pipe_read(struct sim_fd *f, unsigned char *to, size_t len)
{
	size_t n = sim__flow_get(&f->pipe->flow, to, len);

	if (n > 0 || f->pipe->ends < 2)
		return (ssize_t)n;
	return fail(EAGAIN);
}

/* One piece: the callers give no more, and Linux may stop after one. */
static ssize_t
call_readv(int fd, const struct iovec *iov, int count, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "readv");

	(void)count;
	if (f == NULL)
		return -1;
	if (f->kind == FD_PIPE_IN)
		return pipe_read(f, iov->iov_base, iov->iov_len);
	f = stream_of(ctx, fd, "readv");
	return f != NULL ? recv_some(ctx, f, iov->iov_base, iov->iov_len) : -1;
}

/* ---- files and pipes ---- */

static size_t
file_read(const struct sim_fd *f, void *to, size_t len, off_t offset)
{
	if ((size_t)offset >= f->size)
		return 0;
	if (len > f->size - (size_t)offset)
		len = f->size - (size_t)offset;
	memcpy(to, f->bytes + offset, len);
	return len;
}

static ssize_t
call_pread(int fd, void *buf, size_t len, off_t offset, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "pread");

	if (f == NULL)
		return -1;
	if (f->kind != FD_FILE)
		return fail(ESPIPE);
	return (ssize_t)file_read(f, buf, len, offset);
}

static ssize_t
call_sendfile(int out, int in, off_t *offset, size_t count, void *ctx)
{
	struct sim_fd *from = sim__fd(ctx, in, "sendfile"), *to = stream_of(ctx, out, "sendfile");
	struct iovec iov;
	ssize_t n;

	if (from == NULL || to == NULL)
		return -1;
	if (from->kind != FD_FILE)
		return fail(EINVAL);
	if ((size_t)*offset >= from->size)
		return 0;
	iov.iov_base = (void *)(uintptr_t)(from->bytes + *offset);
	iov.iov_len = count < from->size - (size_t)*offset ? count : from->size - (size_t)*offset;
	n = send_pieces(ctx, to, &iov, 1);
	if (n > 0)
		*offset += n;
	return n;
}

static int
call_pipe2(int fds[2], int flags, void *ctx)
{
	struct sim *sim = ctx;
	struct pipe *p;

	(void)flags;
	fds[0] = sim__fd_new(sim, FD_PIPE_IN);
	if (fds[0] < 0)
		return -1;
	fds[1] = sim__fd_new(sim, FD_PIPE_OUT);
	p = fds[1] >= 0 ? calloc(1, sizeof(*p)) : NULL;
	if (p == NULL || !sim__flow_init(&p->flow, SIM_PIPE)) {
		for (int i = 0; i < 2; i++)
			if (fds[i] >= 0) {
				sim->fds[fds[i] - SIM_FD_BASE].kind = FD_FREE;
				sim->open_fds--;
			}
		free(p);
		return fail(EMFILE);
	}
	p->ends = 2;
	for (int i = 0; i < 2; i++)
		sim->fds[fds[i] - SIM_FD_BASE].pipe = p;
	return 0;
}

/* Socket to pipe. */
static ssize_t
splice_in(struct sim *sim, struct sim_fd *from, struct sim_fd *to, size_t len)
{
	unsigned char buf[16 * 1024];
	struct flow *out = &to->pipe->flow;
	size_t room = out->cap - out->len;
	ssize_t n;

	if (room == 0)
		return fail(EAGAIN);
	if (len > room)
		len = room;
	n = recv_some(sim, from, buf, len < sizeof(buf) ? len : sizeof(buf));
	if (n > 0) {
		sim__flow_put(out, buf, (size_t)n);
		out->ready = out->len;
	}
	return n;
}

/* Pipe to socket.  What the socket does not take stays in front. */
static ssize_t
splice_out(struct sim *sim, struct sim_fd *from, struct sim_fd *to, size_t len)
{
	struct flow *in = &from->pipe->flow;
	size_t first = in->cap - in->head;
	struct iovec iov = { .iov_base = in->ring + in->head };
	ssize_t n;

	if (in->ready == 0)
		return from->pipe->ends < 2 ? 0 : fail(EAGAIN);
	iov.iov_len = len < in->ready ? len : in->ready;
	if (iov.iov_len > first)
		iov.iov_len = first;
	n = send_pieces(sim, to, &iov, 1);
	if (n > 0) {
		in->head = (in->head + (size_t)n) % in->cap;
		in->len -= (size_t)n;
		in->ready -= (size_t)n;
	}
	return n;
}

static ssize_t
call_splice(int in, int out, size_t len, unsigned flags, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *from = sim__fd(sim, in, "splice"), *to = sim__fd(sim, out, "splice");

	(void)flags;
	if (from == NULL || to == NULL)
		return -1;
	if (sim->o.no_splice)
		return fail(EINVAL);
	if (from->kind == FD_STREAM && to->kind == FD_PIPE_OUT)
		return splice_in(sim, from, to, len);
	if (from->kind == FD_PIPE_IN && to->kind == FD_STREAM)
		return splice_out(sim, from, to, len);
	return fail(EINVAL);
}

/* ---- sockets ---- */

static int
call_socket(int domain, int type, int protocol, void *ctx)
{
	(void)type;
	(void)protocol;
	if (domain != AF_INET)
		return fail(EAFNOSUPPORT);
	return sim__fd_new(ctx, FD_FRESH);
}

static int
call_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *f = sim__fd(sim, fd, "bind");
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

	if (f == NULL)
		return -1;
	if (f->kind != FD_FRESH || len < sizeof(*in))
		return fail(EINVAL);
	f->port = ntohs(in->sin_port) != 0 ? ntohs(in->sin_port) : sim->next_port++;
	return 0;
}

static int
call_listen(int fd, int backlog, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "listen");

	(void)backlog;
	if (f == NULL)
		return -1;
	if (f->kind != FD_FRESH)
		return fail(EINVAL);
	f->kind = FD_LISTEN;
	return 0;
}

static void
set_inet(struct sockaddr *addr, socklen_t *len, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(addr, &in, *len < sizeof(in) ? *len : sizeof(in));
	*len = sizeof(in);
}

static int
call_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *l = sim__fd(sim, fd, "accept4");
	int got;

	(void)flags;
	if (l == NULL)
		return -1;
	if (l->kind != FD_LISTEN)
		return fail(EINVAL);
	if (l->backlog_count == 0)
		return fail(EAGAIN);
	if (interrupted(sim))
		return -1;
	if (sim__chance(sim, sim->o.accept_fail))
		return fail(ECONNABORTED);
	got = sim__fd_new(sim, FD_STREAM);
	if (got < 0)
		return -1;
	sim->fds[got - SIM_FD_BASE].wire = l->backlog[0];
	sim->fds[got - SIM_FD_BASE].side = 1;
	memmove(l->backlog, l->backlog + 1, (size_t)--l->backlog_count * sizeof(l->backlog[0]));
	if (addr != NULL)
		set_inet(addr, len, 30000 + got - SIM_FD_BASE);
	return got;
}

/* What becomes of a connect, and when. */
static void
choose_verdict(struct sim *sim, struct wire *w)
{
	w->due = sim->now;
	if (sim__chance(sim, sim->o.connect_slow))
		w->due += 1 + sim_random(sim, 20000000);
	if (sim__chance(sim, sim->o.connect_refuse)) {
		w->verdict = ECONNREFUSED;
	} else if (sim__chance(sim, sim->o.connect_lost)) {
		w->verdict = ETIMEDOUT;
		w->due = sim->now + 2000000000;
	}
}

static int
call_connect(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *f = sim__fd(sim, fd, "connect");
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
	struct wire *w;

	if (f == NULL)
		return -1;
	if (f->kind == FD_STREAM)
		return fail(f->wire->state == CONN_GOING ? EALREADY : EISCONN);
	if (f->kind != FD_FRESH || len < sizeof(*in))
		return fail(EINVAL);
	w = sim__wire_new(sim, true);
	if (w == NULL)
		return -1;
	f->kind = FD_STREAM;
	f->wire = w;
	f->side = 0;
	w->half[0].open = true;
	w->port = ntohs(in->sin_port);
	w->state = CONN_GOING;
	choose_verdict(sim, w);
	if (w->due == sim->now)
		sim__wires_advance(sim);	/* as on loopback: it has happened when the call returns */
	if (w->state == CONN_DONE && sim__chance(sim, sim->o.connect_now))
		return 0;
	return fail(sim__chance(sim, sim->o.eintr) ? EINTR : EINPROGRESS);
}

/* ---- the rest ---- */

static int
get_option(struct sim_fd *f, int name)
{
	int value = 0;

	if (name == SO_ACCEPTCONN)
		value = f->kind == FD_LISTEN;
	if (name == SO_TYPE)
		value = SOCK_STREAM;
	if (name == SO_ERROR && f->kind == FD_STREAM) {
		value = sim__half(f)->err;
		sim__half(f)->err = 0;
	}
	return value;
}

static bool
is_socket(const struct sim_fd *f)
{
	return f->kind == FD_STREAM || f->kind == FD_LISTEN || f->kind == FD_FRESH;
}

static int
call_getsockopt(int fd, int level, int name, void *val, socklen_t *len, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "getsockopt");
	int value;

	if (f == NULL)
		return -1;
	if (!is_socket(f))
		return fail(ENOTSOCK);
	if (level != SOL_SOCKET || *len < sizeof(value))
		return fail(ENOPROTOOPT);
	value = get_option(f, name);
	memcpy(val, &value, sizeof(value));
	*len = sizeof(value);
	return 0;
}

static int
call_setsockopt(int fd, int level, int name, const void *val, socklen_t len, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "setsockopt");
	struct linger l;

	if (f == NULL)
		return -1;
	if (!is_socket(f))
		return fail(ENOTSOCK);
	if (level == SOL_SOCKET && name == SO_LINGER && len == sizeof(l)) {
		memcpy(&l, val, sizeof(l));
		f->hard = l.l_onoff != 0 && l.l_linger == 0;
	}
	return 0;
}

/* Both ends are shut: TCP forgets who the other one was. */
static bool
is_connected(const struct sim_fd *f)
{
	const struct half *h;

	if (f->kind != FD_STREAM)
		return false;
	h = sim__half(f);
	return !(f->wire->tcp && ((h->rd_shut && h->wr_shut) || (f->side == 0 && f->wire->state != CONN_DONE)));
}

static int
set_name(const struct sim_fd *f, struct sockaddr *addr, socklen_t *len, int port)
{
	sa_family_t family = AF_UNIX;

	if (f->kind != FD_STREAM || f->wire->tcp) {
		set_inet(addr, len, port);
		return 0;
	}
	memcpy(addr, &family, *len < sizeof(family) ? *len : sizeof(family));
	*len = sizeof(family);
	return 0;
}

static int
call_getsockname(int fd, struct sockaddr *addr, socklen_t *len, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "getsockname");

	if (f == NULL)
		return -1;
	return is_socket(f) ? set_name(f, addr, len, f->port) : fail(ENOTSOCK);
}

static int
call_getpeername(int fd, struct sockaddr *addr, socklen_t *len, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "getpeername");

	if (f == NULL)
		return -1;
	if (!is_socket(f))
		return fail(ENOTSOCK);
	return is_connected(f) ? set_name(f, addr, len, f->wire->port) : fail(ENOTCONN);
}

static void
shut_reading(struct sim_fd *f)
{
	struct half *peer = sim__peer(f);

	sim__half(f)->rd_shut = true;
	if (!f->wire->tcp) {
		peer->wr_shut = true;
		peer->edge++;
	}
}

static int
call_shutdown(int fd, int how, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *f = sim__fd(sim, fd, "shutdown");
	struct half *h;

	if (f == NULL)
		return -1;
	if (f->kind == FD_STREAM && !is_connected(f))
		return fail(ENOTCONN);
	if (f->kind != FD_STREAM)
		return fail(is_socket(f) ? ENOTCONN : ENOTSOCK);
	h = sim__half(f);
	if (how != SHUT_WR)
		shut_reading(f);
	if (how != SHUT_RD && !h->wr_shut) {
		h->wr_shut = true;
		if (sim__peer(f)->open)
			sim__wire_end(sim, f->wire, f->side, FLOW_SHUT);
	}
	h->edge++;
	return 0;
}

static void
close_listener(struct sim *sim, struct sim_fd *f)
{
	for (int i = 0; i < f->backlog_count; i++) {
		struct sim_fd half = { .kind = FD_STREAM, .wire = f->backlog[i], .side = 1, .hard = true };

		sim__wire_close(sim, &half);
	}
}

static int
call_close(int fd, void *ctx)
{
	struct sim *sim = ctx;
	struct sim_fd *f = sim__fd(sim, fd, "close");

	if (f == NULL)
		return -1;
	if (f->in_batch)
		sim__violate(sim, "fd %d is closed inside the batch that closed its socket", fd);
	if (f->kind == FD_STREAM)
		sim__wire_close(sim, f);
	if (f->kind == FD_LISTEN)
		close_listener(sim, f);
	if ((f->kind == FD_PIPE_IN || f->kind == FD_PIPE_OUT) && --f->pipe->ends == 0) {
		free(f->pipe->flow.ring);
		free(f->pipe);
	}
	f->kind = FD_FREE;
	sim->open_fds--;
	return 0;
}

static int
call_prepare(int fd, void *ctx)
{
	struct sim_fd *f = sim__fd(ctx, fd, "prepare");

	if (f == NULL)
		return -1;
	return f->kind == FD_FILE ? fail(EPERM) : 0;
}

void
sim__calls(struct sconce_backend *t)
{
	t->prepare = call_prepare;
	t->recv = call_recv;
	t->send = call_send;
	t->sendmsg = call_sendmsg;
	t->readv = call_readv;
	t->writev = call_writev;
	t->pread = call_pread;
	t->sendfile = call_sendfile;
	t->splice = call_splice;
	t->pipe2 = call_pipe2;
	t->accept4 = call_accept4;
	t->socket = call_socket;
	t->bind = call_bind;
	t->listen = call_listen;
	t->connect = call_connect;
	t->getsockopt = call_getsockopt;
	t->setsockopt = call_setsockopt;
	t->getsockname = call_getsockname;
	t->getpeername = call_getpeername;
	t->shutdown = call_shutdown;
	t->close = call_close;
	t->alloc = sim__alloc;
}
