/* Connecting: one state machine over a list of addresses, and the error record of a socket.
 *
 *	sconce_connect --> (connect_name.c: look-ups)
 *	                     |
 *	                     v
 *	                  try_next --> start: socket, options, bind, connect        (or race.c: several at a time)
 *	                     ^            | failed            | in progress       | at once
 *	                     +------------+                   v                   |
 *	                     +--- failed --- sconce__connect_ready                |
 *	                     |                                | connected  <------+
 *	            no address left                           v
 *	                     |                 sconce__handshake_begin, if there is a transport
 *	                     v                                v
 *	                  decide(errnum)                  decide(0)
 *
 * What was decided is told by sconce__connect_report(), from the loop, never inside a call.  Until then the
 * socket has SCONCE_PAUSE_CONNECTING (or _TRANSPORT, in the handshake) and FL_STUCK: it is not read, writes wait. */
#include "connect.h"

#include <netinet/ip.h>
#include <stdio.h>

/* ---- the record of a failure ---- */

void
sconce__text_clean(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

void
sconce__fail_why(struct sconce_fail *f, const char *operation, int errnum, const char *what, const char *why)
{
	if (f == NULL)
		return;
	*f = (struct sconce_fail){ .operation = operation, .errnum = errnum };
	snprintf(f->text, sizeof(f->text), "%s%s%s: %s", operation, what[0] != '\0' ? " " : "", what, why);
	sconce__text_clean(f->text);
}

void
sconce__fail_fill(struct sconce_fail *f, const char *operation, int errnum, const char *what)
{
	sconce__fail_why(f, operation, errnum, what, sconce_strerror(errnum));
}

int
sconce__fail_addr(struct sconce_fail *f, const char *operation, int r, const struct sconce_addr *a)
{
	char what[SCONCE_ADDR_TEXT];

	sconce__fail_fill(f, operation, -r, sconce_addr_text(a, what, sizeof(what)));
	return r;
}

/* Without memory for one the failure is told without it. */
struct sconce_fail *
sconce__fail_record(struct sconce_sock *s)
{
	struct sconce__side *side = sconce__side(s);

	if (side == NULL)
		return NULL;
	if (side->fail == NULL)
		side->fail = sconce__zalloc(s->loop, sizeof(*side->fail));
	return side->fail;
}

void
sconce__fail_set(struct sconce_sock *s, const char *operation, int errnum, const char *what)
{
	sconce__fail_fill(sconce__fail_record(s), operation, errnum, what);
}

void
sconce__fail_unsent(struct sconce_sock *s)
{
	if (s->errnum == 0 && sconce__side(s) != NULL)
		s->_side->fail_unsent = true;
}

/* The peer, while it is known: after a reset the kernel has forgotten it.  One without a name says less than the fd. */
static bool
peer_text(struct sconce_sock *s, char *buf, size_t size)
{
	struct sconce_addr a;

	if (sconce_peer(s, &a) < 0 || a.len <= sizeof(sa_family_t))
		return false;
	sconce_addr_text(&a, buf, size);
	return true;
}

void
sconce__fail_told(struct sconce_sock *s, int errnum)
{
	char what[SCONCE_ADDR_TEXT];

	if (!peer_text(s, what, sizeof(what)))
		snprintf(what, sizeof(what), "fd %d", s->fd);
	sconce__fail_set(s, s->_side != NULL && s->_side->fail_unsent ? "recv" : "send", errnum, what);
}

void
sconce__fail_copy(struct sconce_sock *s, const struct sconce_fail *fail)
{
	struct sconce_fail *own = sconce__fail_record(s);

	if (own != NULL)
		*own = *fail;
}

const struct sconce_fail *
sconce_failure(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;

	return side != NULL && side->fail != NULL && side->fail->errnum != 0 ? side->fail : NULL;
}

/* ---- the state of a connect ---- */

static struct sconce__connect *
state_new(struct sconce_sock *s, enum connect_kind kind, size_t count)
{
	struct sconce__side *side = sconce__side(s);
	struct sconce__connect *c;

	if (side == NULL)
		return NULL;
	assert(side->connect == NULL && "one connect at a time");
	c = sconce__zalloc(s->loop, sizeof(*c) + count * sizeof(c->one[0]));
	if (c == NULL)
		return NULL;
	c->kind = kind;
	c->type = SOCK_STREAM;
	c->addrs = c->one;
	c->count = count;
	side->connect = c;
	return c;
}

/* Ends look-ups, and all attempts but the one whose fd is the socket's. */
static void
end_attempts(struct sconce_sock *s)
{
	struct sconce__connect *c = s->_side->connect;

	sconce_resolve_cancel(c->lookup);
	c->lookup = NULL;
	sconce__race_free(s->loop, c->race);
	c->race = NULL;
}

void
sconce__connect_fini(struct sconce_sock *s)
{
	struct sconce__connect *c;

	if (s->_side == NULL || s->_side->connect == NULL)
		return;
	c = s->_side->connect;
	end_attempts(s);
	if (c->addrs != c->one)
		l_free(s->loop, c->addrs);
	l_free(s->loop, c->names);
	l_free(s->loop, c);
	s->_side->connect = NULL;
}

/* The address being tried, or the fd, for the record. */
static const char *
what_of(const struct sconce_sock *s, char *buf, size_t size)
{
	const struct sconce__connect *c = s->_side->connect;

	if (c->kind != CONNECT_ADDRS)
		snprintf(buf, size, "fd %d", s->fd);
	else if (c->addr.len > 0 || c->names == NULL)
		sconce_addr_text(&c->addr, buf, size);
	else
		snprintf(buf, size, "%.80s:%.40s", c->names->host, c->names->service);
	return buf;
}

bool
sconce__connect_target(const struct sconce_sock *s, struct sconce_addr *out)
{
	const struct sconce__connect *c = s->_side != NULL ? s->_side->connect : NULL;

	if (c == NULL || c->kind != CONNECT_ADDRS || c->addr.len == 0)
		return false;
	*out = c->addr;
	return true;
}

void
sconce__connect_failed(struct sconce_sock *s, const char *operation, int errnum)
{
	char what[SCONCE_ADDR_TEXT];

	sconce__fail_set(s, operation, errnum, what_of(s, what, sizeof(what)));
}

/* ---- the result ---- */

void
sconce__connect_decide(struct sconce_sock *s, int errnum)
{
	end_attempts(s);
	s->_side->connect->errnum = errnum;
	s->_flags |= FL_CONNECT_TOLD;
	sconce__sock_dirty(s);
}

static void
succeed(struct sconce_sock *s)
{
	s->errnum = 0;			/* of an earlier attempt, as is the record */
	if (s->_side->fail != NULL)
		s->_side->fail->errnum = 0;
	s->_side->fail_unsent = false;
	if (s->_flags & SCONCE_PAUSE_END)	/* sconce_shutdown() while it connected, which would have ended that */
		s->loop->be->shutdown(s->fd, SHUT_RD, s->loop->ctx);
	s->_flags &= ~(uint32_t)(SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT | FL_STUCK);
	if (has_items(s))
		s->_flags |= FL_DRAIN;	/* who wrote was told to wait */
	sconce__interest(s);
	sconce__unread_wake(s);		/* what the handshake has read along */
	sconce__transfer_source_ready(s);
	if (s->ops->event_connect != NULL && !(s->_flags & SCONCE_PAUSE_ENDING))
		CALL_HOOK(s->loop, s, "event_connect", 0, s->ops->event_connect(s, 0));
}

/* The state of a socket made with fd -1 again.  FL_STUCK stays: without a connection writes wait. */
static void
disconnect(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	s->_flags &= ~(uint32_t)(SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT | SCONCE_PAUSE_END | FL_WR_END |
		FL_WR_SHUT | FL_HIGH | FL_DRAIN | FL_ERR_PENDING | FL_ERR_TOLD | FL_HUP_PENDING);
	l_free(l, s->_side->peer);
	s->_side->peer = NULL;
	s->_side->read_wants_write = s->_side->write_wants_read = false;
	sconce__drop_fd(s);
	if (l->starved_count > 0)
		sconce__listeners_wake(l);
}

static void
fail(struct sconce_sock *s, int errnum, enum connect_kind kind)
{
	bool hook = s->ops->event_connect != NULL && !(s->_flags & SCONCE_PAUSE_ENDING);

	if (s->errnum == 0)
		s->errnum = (uint16_t)errnum;
	sconce__cancel(s, -errnum);
	if (kind != CONNECT_HANDSHAKE)
		disconnect(s);
	if (hook)
		CALL_HOOK(s->loop, s, "event_connect", errnum, s->ops->event_connect(s, errnum));
	/* what was accepted and could not be talked to cannot be connected again */
	if (!hook || kind == CONNECT_HANDSHAKE)
		sconce_close(s, SCONCE_REASON_CONNECT);
}

void
sconce__connect_report(struct sconce_sock *s)
{
	struct sconce__connect *c = s->_side->connect;
	enum connect_kind kind;
	int errnum;

	s->_flags &= ~(uint32_t)FL_CONNECT_TOLD;
	if (s->closed || c == NULL)
		return;
	kind = c->kind;
	errnum = c->errnum;
	sconce__connect_fini(s);
	sconce_set_timeout(s, SCONCE_TIMEOUT_CONNECT, 0);
	if (errnum == 0) {
		TRACE_STATE(s->loop, s, "connected", 0);
		succeed(s);
		if (!s->closed)
			sconce__side_trim(s);	/* most have no use for it any more */
	} else {
		TRACE_STATE(s->loop, s, "connect_failed", errnum);
		fail(s, errnum, kind);
	}
}

void
sconce__connect_expired(struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;

	if (s->closed || (s->_flags & FL_CONNECT_TOLD) || side == NULL || side->connect == NULL)
		return;
	sconce__connect_failed(s, side->handshaking ? "handshake" : side->connect->lookup != NULL ? "getaddrinfo" : "connect",
		ETIMEDOUT);
	s->_side->handshaking = false;
	sconce__connect_decide(s, ETIMEDOUT);
}

bool
sconce__connect_untold(struct sconce_sock *s)
{
	if (s->fd < 0 || !(s->_flags & FL_CONNECT_TOLD) || s->_side->connect->errnum != 0)
		return false;
	s->_flags &= ~(uint32_t)FL_CONNECT_TOLD;
	return true;
}

void
sconce__connect_connected(struct sconce_sock *s)
{
	const struct sconce_transport *t = s->_side->transport;

	if (t != NULL && t->handshake != NULL)
		sconce__handshake_begin(s);
	else
		sconce__connect_decide(s, 0);
}

/* ---- one address after the other ---- */

/* Binds to the local address that was asked for. */
static int
bind_local(struct sconce_sock *s, int fd)
{
	struct sconce_loop *l = s->loop;
	struct sconce__connect *c = s->_side->connect;
	const struct sconce_addr *a = &c->bind[c->addr.any.sa_family == AF_INET6];
	struct sconce__path path;
	struct sconce_fail why;
	int one = 1, r;

	if (a->len == 0) {
		sconce__connect_failed(s, "bind", EADDRNOTAVAIL);
		return -EADDRNOTAVAIL;
	}
	if (sconce_addr_port(a) != 0) {		/* a port that an earlier connection still lingers on */
		if (c->type == SOCK_STREAM ? c->options.reuse != 0 : c->options.reuse == 1)
			l->be->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one), l->ctx);
	} else if (c->type == SOCK_STREAM) {	/* the kernel chooses the port when it knows the peer: far more of them */
		l->be->setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one), l->ctx);
	}
	r = sconce__bind_addr(l, fd, a, c->type, &c->options, &path, &why);
	if (r < 0) {
		sconce__fail_copy(s, &why);
		return r;
	}
	r = sconce__path_keep(s, &path);
	if (r < 0) {
		sconce__path_unlink(&path);
		sconce__fail_addr(sconce__fail_record(s), "bind", r, a);
	}
	return r;
}

int
sconce__connect_begin(struct sconce_sock *s, bool *again_out)
{
	struct sconce_loop *l = s->loop;
	const struct sconce__connect *c = s->_side->connect;
	struct sconce_fail why;
	int fd, r;

	fd = l->be->socket(c->addr.any.sa_family, c->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->ctx);
	if (fd < 0) {
		r = -errno;
		sconce__connect_failed(s, "socket", -r);
		return r;
	}
	r = sconce__socket_options(l, fd, &c->addr, &c->options, c->type == SOCK_DGRAM ? HOW_DGRAM : 0, &why);
	if (r == 0)
		r = sconce__prepare_fd(s, fd, &c->addr, &why);
	if (r < 0)
		sconce__fail_copy(s, &why);
	if (r == 0 && c->bound)
		r = bind_local(s, fd);
	if (r < 0)
		goto close_fd;
	*again_out = false;
	if (l->be->connect(fd, &c->addr.any, c->addr.len, l->ctx) == 0)
		return fd;
	if (errno == EINPROGRESS || errno == EINTR) {
		*again_out = true;
		return fd;
	}
	r = -errno;
	sconce__connect_failed(s, "connect", -r);
close_fd:
	sconce__path_gone(s);
	l->be->close(fd, l->ctx);
	return r;
}

int
sconce__connect_open(struct sconce_sock *s, int fd)
{
	struct sconce_loop *l = s->loop;
	int r;

	l->fresh_fd = fd;
	r = sconce__attach_fd(s, fd);	/* only now: an fd that is not connecting would be reported as hung up */
	l->fresh_fd = -1;
	if (r < 0) {
		sconce__connect_failed(s, "connect", -r);
		sconce__path_gone(s);
		l->be->close(fd, l->ctx);
		return r;
	}
	sconce__interest(s);
	TRACE_STATE(l, s, "connecting", 0);
	return 0;
}

/* Tries what is left of the list; `errnum` is why the one before failed. */
static void
try_next(struct sconce_sock *s, int errnum)
{
	struct sconce__connect *c = s->_side->connect;
	bool again = false;

	while (c->next < c->count) {
		int r;

		c->addr = c->addrs[c->next++];
		r = sconce__connect_begin(s, &again);
		if (r >= 0)
			r = sconce__connect_open(s, r);
		if (r == 0) {
			if (!again)
				sconce__connect_connected(s);
			return;
		}
		errnum = -r;
	}
	sconce__connect_decide(s, errnum);
}

void
sconce__connect_try(struct sconce_sock *s)
{
	struct sconce__connect *c = s->_side->connect;

	if (c->options.happy_ms <= 0 || c->count < 2 || !sconce__race_start(s))
		try_next(s, EADDRNOTAVAIL);
}

void
sconce__connect_ready(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__connect *c = s->_side->connect;
	struct sconce_addr peer;
	const char *operation = "connect";
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (s->_flags & FL_CONNECT_TOLD)
		return;
	if (l->be->getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &errnum, &len, l->ctx) < 0)
		errnum = errno;
	if (errnum == 0 && c->kind == CONNECT_OWN) {	/* perhaps it was never begun */
		errnum = -sconce__addr_ask(s, true, &peer);
		operation = "getpeername";
	}
	if (errnum == 0) {
		sconce__connect_connected(s);
		return;
	}
	sconce__connect_failed(s, operation, errnum);
	if (c->next < c->count)
		sconce__drop_fd(s);
	try_next(s, errnum);
}

/* ---- the calls ---- */

int
sconce__may_connect(const struct sconce_sock *s)
{
	if (s->closed)
		return -EBADF;
	if (s->_side != NULL && s->_side->connect != NULL)
		return -EALREADY;
	return s->fd >= 0 ? -EISCONN : 0;
}

/* What there is before addresses are known: `count` places for them. */
static struct sconce__connect *
prepare(struct sconce_sock *s, const struct sconce_endpoint *ep, enum connect_kind kind, size_t count)
{
	struct sconce__connect *c = state_new(s, kind, count);

	if (c == NULL)
		return NULL;
	c->type = ep->type;
	c->options = ep->options;
	if (ep->options.timeout_ms <= 0 || sconce_timeout(s, SCONCE_TIMEOUT_CONNECT) > 0)
		return c;
	if (sconce_set_timeout(s, SCONCE_TIMEOUT_CONNECT, ep->options.timeout_ms * 1e-3) == 0) {
		c->timed = true;
		return c;
	}
	sconce__connect_fini(s);
	return NULL;
}

/* It has not begun: what prepare() did. */
static void
unprepare(struct sconce_sock *s)
{
	if (s->_side->connect->timed)
		sconce_set_timeout(s, SCONCE_TIMEOUT_CONNECT, 0);
	sconce__connect_fini(s);
}

/* It has begun: until its end the socket is not read, and writes wait. */
static void
set_connecting(struct sconce_sock *s)
{
	s->_flags |= SCONCE_PAUSE_CONNECTING | FL_STUCK;
	if (s->_side != NULL)
		s->_side->blind = false;	/* the fd tells when it is connected */
}

int
sconce__connect_list(struct sconce_sock *s, const struct sconce_endpoint *ep, const struct sconce_addr *addrs, size_t count)
{
	struct sconce__connect *c;
	int r = sconce__may_connect(s);

	if (r < 0)
		return r;
	c = prepare(s, ep, CONNECT_ADDRS, count);
	if (c == NULL)
		return -ENOMEM;
	r = sconce__connect_bind_literal(c, ep);
	if (r < 0) {
		unprepare(s);
		return r;
	}
	memcpy(c->addrs, addrs, count * sizeof(*addrs));
	set_connecting(s);
	sconce__connect_try(s);
	return 0;
}

/* The fd of an endpoint fd://N, which is connected or connecting. */
static bool
is_datagram(struct sconce_loop *l, int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return l->be->getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len, l->ctx) == 0 && type == SOCK_DGRAM;
}

static int
connect_fd(struct sconce_sock *s, const struct sconce_endpoint *ep)
{
	struct sconce_loop *l = s->loop;
	int listening = 0, r;
	socklen_t len = sizeof(listening);
	bool is_socket = l->be->getsockopt(ep->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len, l->ctx) == 0;
	char what[32];

	snprintf(what, sizeof(what), "fd %d", ep->fd);
	if (is_socket && listening) {		/* it would never become writable */
		sconce__fail_why(sconce__fail_record(s), "connect", EINVAL, what, "a listening socket");
		return -EINVAL;
	}
	if (is_socket && s->ops->stream && is_datagram(l, ep->fd)) {
		sconce__fail_why(sconce__fail_record(s), "socktype", EPROTOTYPE, what, "a datagram socket, not a stream");
		return -EPROTOTYPE;
	}
	r = sconce__prepare_fd(s, ep->fd, NULL, sconce__fail_record(s));
	if (r < 0)
		return r;
	if (prepare(s, ep, CONNECT_OWN, 0) == NULL)
		return -ENOMEM;
	set_connecting(s);
	r = sconce__attach_fd(s, ep->fd);
	if (r < 0) {
		sconce__fail_set(s, "fcntl", -r, what);
		s->_flags &= ~(uint32_t)SCONCE_PAUSE_CONNECTING;
		unprepare(s);
		return r;
	}
	if (is_socket)
		sconce__interest(s);
	else
		sconce__connect_connected(s);	/* a pipe, a terminal: there is nothing to wait for */
	return 0;
}

/* A port that only listening gives a meaning. */
static int
refuse_port_0(struct sconce_sock *s, const char *what)
{
	sconce__fail_why(sconce__fail_record(s), "parse", EINVAL, what, "port 0 cannot be connected to");
	return -EINVAL;
}

static int
check_endpoint(struct sconce_sock *s, const struct sconce_endpoint *ep)
{
	int r = sconce__may_connect(s), type = s->ops->records ? SOCK_DGRAM : s->ops->stream ? SOCK_STREAM : 0;

	if (r == 0)
		r = sconce__endpoint_check(ep, type, sconce__fail_record(s));
	if (r < 0 || ep->fd >= 0 || ep->family == AF_UNIX)
		return r;
	return ep->service[strspn(ep->service, "0")] == '\0' ? refuse_port_0(s, "endpoint") : 0;
}

int
sconce_connect_endpoint(struct sconce_sock *s, const struct sconce_endpoint *ep)
{
	struct sconce__connect *c;
	struct sconce_addr addr;
	int r = check_endpoint(s, ep);

	if (r < 0)
		return r;
	if (ep->fd >= 0)
		return connect_fd(s, ep);
	c = prepare(s, ep, CONNECT_ADDRS, 1);
	if (c == NULL)
		return -ENOMEM;
	r = sconce__connect_bind_literal(c, ep);
	if (r == 0)
		r = sconce__endpoint_addr(ep, &addr);
	if (r == 0) {
		c->addrs[0] = addr;
		set_connecting(s);
		sconce__connect_try(s);
		return 0;
	}
	if (r == -EAGAIN)
		r = sconce__connect_lookup(s, ep);
	else
		sconce__fail_set(s, "parse", -r, "endpoint");
	if (r < 0)
		unprepare(s);
	else
		set_connecting(s);
	return r;
}

int
sconce_connect(struct sconce_sock *s, const char *endpoint)
{
	struct sconce_endpoint ep;
	int r = sconce__may_connect(s);

	if (r == 0)
		r = sconce_endpoint_parse(endpoint, SCONCE_ENDPOINT_CONNECT, NULL, &ep, sconce__fail_record(s));
	return r < 0 ? r : sconce_connect_endpoint(s, &ep);
}

int
sconce_connect_addr(struct sconce_sock *s, const struct sconce_addr *addr)
{
	struct sconce_endpoint ep;
	bool any_port = addr->any.sa_family == AF_INET || addr->any.sa_family == AF_INET6;

	if (addr->len < sizeof(sa_family_t) || addr->len > sizeof(addr->un)) {
		sconce__fail_set(s, "parse", EINVAL, "address");
		return -EINVAL;
	}
	if (any_port && sconce_addr_port(addr) == 0)
		return refuse_port_0(s, "address");
	sconce_endpoint_init(&ep);
	ep.family = addr->any.sa_family;
	if (s->ops->records)
		ep.type = SOCK_DGRAM;
	return sconce__connect_list(s, &ep, addr, 1);
}

int
sconce_connecting(struct sconce_sock *s)
{
	if (s->closed || s->fd < 0)
		return -EBADF;
	if (s->_side != NULL && s->_side->connect != NULL)
		return 0;
	if (state_new(s, CONNECT_OWN, 0) == NULL)
		return -ENOMEM;
	set_connecting(s);
	if (s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	sconce__interest(s);
	return 0;
}

int
sconce__connect_handshake(struct sconce_sock *s)
{
	if (state_new(s, CONNECT_HANDSHAKE, 0) == NULL)
		return -ENOMEM;
	return 0;
}
