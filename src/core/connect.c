/* Connecting: one state machine over a list of addresses, and the error record of a socket.
 *
 *	sconce_connect --> try_next --> start: socket, options, bind, connect
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
#include "core.h"

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
sconce__fail_fill(struct sconce_fail *f, const char *operation, int errnum, const char *what)
{
	if (f == NULL)
		return;
	*f = (struct sconce_fail){ .operation = operation, .errnum = errnum };
	snprintf(f->text, sizeof(f->text), "%s%s%s: %s", operation, what[0] != '\0' ? " " : "", what,
		sconce_strerror(errnum));
	sconce__text_clean(f->text);
}

/* The socket's record, or NULL when there is no memory: then the failure is told without it. */
static struct sconce_fail *
record(struct sconce_sock *s)
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
	sconce__fail_fill(record(s), operation, errnum, what);
}

const struct sconce_fail *
sconce_failure(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;

	return side != NULL && side->fail != NULL && side->fail->errnum != 0 ? side->fail : NULL;
}

/* ---- the state of a connect ---- */

enum connect_kind {
	CONNECT_ADDRS,			/* to each of addrs, until one answers */
	CONNECT_OWN,			/* the application has begun it */
	CONNECT_HANDSHAKE		/* only the handshake, on a socket that was open */
};

struct sconce__connect {
	enum connect_kind kind;
	int errnum;			/* what was decided */
	struct endpoint ep;		/* options; ep.addr is the address being tried */
	size_t next, count;
	struct sconce_addr addrs[];
};

static struct sconce__connect *
state_new(struct sconce_sock *s, enum connect_kind kind, size_t count)
{
	struct sconce__side *side = sconce__side(s);
	struct sconce__connect *c;

	if (side == NULL)
		return NULL;
	assert(side->connect == NULL && "one connect at a time");
	c = sconce__zalloc(s->loop, sizeof(*c) + count * sizeof(c->addrs[0]));
	if (c == NULL)
		return NULL;
	c->kind = kind;
	c->count = count;
	side->connect = c;
	return c;
}

void
sconce__connect_fini(struct sconce_sock *s)
{
	if (s->_side == NULL)
		return;
	l_free(s->loop, s->_side->connect);
	s->_side->connect = NULL;
}

/* The address being tried, or the fd, for the record. */
static const char *
what_of(const struct sconce_sock *s, char *buf, size_t size)
{
	const struct sconce__connect *c = s->_side->connect;

	if (c->kind == CONNECT_ADDRS)
		sconce_addr_text(&c->ep.addr, buf, size);
	else
		snprintf(buf, size, "fd %d", s->fd);
	return buf;
}

bool
sconce__connect_target(const struct sconce_sock *s, struct sconce_addr *out)
{
	const struct sconce__connect *c = s->_side != NULL ? s->_side->connect : NULL;

	if (c == NULL || c->kind != CONNECT_ADDRS)
		return false;
	*out = c->ep.addr;
	return true;
}

static void
failed(struct sconce_sock *s, const char *operation, int errnum)
{
	char what[SCONCE_ADDR_TEXT];

	sconce__fail_set(s, operation, errnum, what_of(s, what, sizeof(what)));
}

/* ---- the result ---- */

void
sconce__connect_decide(struct sconce_sock *s, int errnum)
{
	s->_side->connect->errnum = errnum;
	s->_flags |= FL_CONNECT_TOLD;
	sconce__sock_dirty(s);
}

static void
succeed(struct sconce_sock *s)
{
	s->errnum = 0;			/* of an earlier attempt */
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
	} else {
		TRACE_STATE(s->loop, s, "connect_failed", errnum);
		fail(s, errnum, kind);
	}
}

void
sconce__connect_expired(struct sconce_sock *s)
{
	if (s->closed || (s->_flags & FL_CONNECT_TOLD) || s->_side == NULL || s->_side->connect == NULL)
		return;
	failed(s, s->_side->handshaking ? "handshake" : "connect", ETIMEDOUT);
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

static void
connected(struct sconce_sock *s)
{
	const struct sconce_transport *t = s->_side->transport;

	if (t != NULL && t->handshake != NULL)
		sconce__handshake_begin(s);
	else
		sconce__connect_decide(s, 0);
}

/* ---- one address after the other ---- */

/* The options bind= and bindport=. */
static int
bind_local(struct sconce_sock *s, int fd, const struct endpoint *ep)
{
	struct sconce_loop *l = s->loop;
	int one = 1, errnum;
	char what[SCONCE_ADDR_TEXT];

	if (sconce_addr_port(&ep->bind) != 0)	/* a port that an earlier connection still lingers on */
		l->be->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one), l->ctx);
	else				/* the kernel chooses the port when it knows the peer: far more of them */
		l->be->setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one), l->ctx);
	if (l->be->bind(fd, &ep->bind.any, ep->bind.len, l->ctx) == 0)
		return 0;
	errnum = errno;
	sconce__fail_set(s, "bind", errnum, sconce_addr_text(&ep->bind, what, sizeof(what)));
	return -errnum;
}

/* A socket with its options that has begun to connect; *again_out tells that it goes on.  The fd or -errno. */
static int
begin(struct sconce_sock *s, bool *again_out)
{
	struct sconce_loop *l = s->loop;
	const struct endpoint *ep = &s->_side->connect->ep;
	int fd, r;

	fd = l->be->socket(ep->addr.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->ctx);
	if (fd < 0) {
		r = -errno;
		failed(s, "socket", -r);
		return r;
	}
	r = sconce__endpoint_options(l, fd, ep, false, record(s));
	if (r == 0 && ep->has_bind)
		r = bind_local(s, fd, ep);
	if (r < 0)
		goto close_fd;
	*again_out = false;
	if (l->be->connect(fd, &ep->addr.any, ep->addr.len, l->ctx) == 0)
		return fd;
	if (errno == EINPROGRESS || errno == EINTR) {
		*again_out = true;
		return fd;
	}
	r = -errno;
	failed(s, "connect", -r);
close_fd:
	l->be->close(fd, l->ctx);
	return r;
}

/* The address in ep.addr.  0: connected, or (*again_out) it will tell; or -errno. */
static int
start(struct sconce_sock *s, bool *again_out)
{
	struct sconce_loop *l = s->loop;
	int fd = begin(s, again_out), r;

	if (fd < 0)
		return fd;
	l->fresh_fd = fd;
	r = sconce__attach_fd(s, fd);	/* only now: an fd that is not connecting would be reported as hung up */
	l->fresh_fd = -1;
	if (r < 0) {
		failed(s, "connect", -r);
		l->be->close(fd, l->ctx);
		return r;
	}
	sconce__interest(s);
	return 0;
}

/* Tries what is left of the list; `errnum` is why the one before failed. */
static void
try_next(struct sconce_sock *s, int errnum)
{
	struct sconce__connect *c = s->_side->connect;
	bool again = false;
	int r;

	while (c->next < c->count) {
		c->ep.addr = c->addrs[c->next++];
		r = start(s, &again);
		if (r == 0) {
			TRACE_STATE(s->loop, s, "connecting", 0);
			if (!again)
				connected(s);
			return;
		}
		errnum = -r;
	}
	sconce__connect_decide(s, errnum);
}

void
sconce__connect_ready(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__connect *c = s->_side->connect;
	struct sconce_addr peer;
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (s->_flags & FL_CONNECT_TOLD)
		return;
	if (l->be->getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &errnum, &len, l->ctx) < 0)
		errnum = errno;
	if (errnum == 0 && c->kind == CONNECT_OWN)	/* perhaps it was never begun */
		errnum = -sconce__addr_ask(s, true, &peer);
	if (errnum == 0) {
		connected(s);
		return;
	}
	failed(s, "connect", errnum);
	if (c->next < c->count)
		sconce__drop_fd(s);
	try_next(s, errnum);
}

/* ---- the calls ---- */

static int
may_connect(const struct sconce_sock *s)
{
	if (s->closed)
		return -EBADF;
	if (s->_side != NULL && s->_side->connect != NULL)
		return -EALREADY;
	return s->fd >= 0 ? -EISCONN : 0;
}

int
sconce__connect_list(struct sconce_sock *s, const struct endpoint *ep, const struct sconce_addr *addrs, size_t count)
{
	struct sconce__connect *c;
	int r = may_connect(s);

	if (r < 0)
		return r;
	c = state_new(s, CONNECT_ADDRS, count);
	if (c == NULL)
		return -ENOMEM;
	c->ep = *ep;
	memcpy(c->addrs, addrs, count * sizeof(*addrs));
	s->_flags |= SCONCE_PAUSE_CONNECTING | FL_STUCK;
	try_next(s, EADDRNOTAVAIL);
	return 0;
}

int
sconce_connect(struct sconce_sock *s, const char *endpoint)
{
	struct endpoint ep;
	int r = may_connect(s);

	if (r == 0)
		r = sconce__endpoint_parse(endpoint, false, &ep, record(s));
	return r < 0 ? r : sconce__connect_list(s, &ep, &ep.addr, 1);
}

int
sconce_connect_addr(struct sconce_sock *s, const struct sconce_addr *addr)
{
	struct endpoint ep;

	if (addr->len < sizeof(sa_family_t) || addr->len > sizeof(addr->un)) {
		sconce__fail_set(s, "parse", EINVAL, "address");
		return -EINVAL;
	}
	sconce__endpoint_none(&ep);
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
	s->_flags |= SCONCE_PAUSE_CONNECTING | FL_STUCK;
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
