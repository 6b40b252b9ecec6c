/* The datagram socket: its life, the hooks of its base, the calls that send.  See sconce/dgram.h.
 *
 * Its table of hooks is made for each one, in private memory, so that listings, traces and accounts have the name of
 * the application's type, and a hook that the type lacks is really missing. */
#include "dgram_private.h"

#include <sconce/inspect.h>

#include <netinet/in.h>
#include <stdio.h>

enum {
	MAX_SIZE = 65535, MAX_SIZE_MOST = 1024 * 1024,
	MAX_IN = 65507, MAX_IN6 = 65527,	/* bytes of UDP over IPv4, IPv6 */
	HIGH = 1024 * 1024, CAP = 16 * 1024 * 1024
};

/* ---- the fd ---- */

/* Its family; -EPROTOTYPE when it is no datagram socket, or -errno. */
static int
family_of(struct sconce_loop *l, int fd)
{
	int type = 0, family = 0, r;
	socklen_t len = sizeof(int);

	r = sconce_raw_getsockopt(l, fd, SOL_SOCKET, SO_TYPE, &type, &len);
	if (r == -ENOTSOCK || (r == 0 && type != SOCK_DGRAM && type != SOCK_RAW))
		return -EPROTOTYPE;
	if (r == 0)
		r = sconce_raw_getsockopt(l, fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
	return r < 0 ? r : family;
}

static int
turn_on(struct sconce_loop *l, int fd, int level, int name)
{
	int one = 1;

	return sconce_raw_setsockopt(l, fd, level, name, &one, sizeof(one));
}

static int
set_options(struct sconce_loop *l, int fd, int family, const struct sconce_dgram_options *o)
{
	bool v6 = family == AF_INET6;
	int r = 0;

	if (family != AF_INET && !v6)
		return 0;
	if (o->broadcast)
		r = turn_on(l, fd, SOL_SOCKET, SO_BROADCAST);
	if (r == 0 && o->errors)
		r = v6 ? turn_on(l, fd, IPPROTO_IPV6, IPV6_RECVERR) : turn_on(l, fd, IPPROTO_IP, IP_RECVERR);
	if (r == 0 && o->errors && v6)
		turn_on(l, fd, IPPROTO_IP, IP_RECVERR);		/* for IPv4 over it; refused if it has none */
	if (r == 0 && o->local)
		r = v6 ? turn_on(l, fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) : turn_on(l, fd, IPPROTO_IP, IP_PKTINFO);
	return r;
}

/* Looks at a new fd, and sets its options. */
static int
prepare(struct sconce_loop *loop, int fd, const struct sconce_dgram_options *o)
{
	int family = family_of(loop, fd);

	return family < 0 ? family : set_options(loop, fd, family, o);
}

bool
sconce__dgram_ready(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	struct sconce_addr peer;
	int family;

	if (x->fd == d->sock.fd)
		return x->fd >= 0;
	if (d->sock.fd < 0 || (sconce_paused(&d->sock) & SCONCE_PAUSE_CONNECTING))
		return false;
	family = family_of(d->sock.loop, d->sock.fd);
	x->fd = d->sock.fd;
	x->family = family > 0 ? family : AF_UNSPEC;	/* prepare() has seen that it is right */
	x->connected = sconce_peer(&d->sock, &peer) == 0;
	return true;
}

/* ---- errors ---- */

void
sconce__dgram_tell(struct sconce_dgram *d, const char *operation, int errnum)
{
	struct sconce_dgram_error e = { .operation = operation, .errnum = errnum };

	if (d->_d->connected && sconce_peer(&d->sock, &e.to) < 0)
		e.to.len = 0;
	if (d->ops->event_error != NULL)
		d->ops->event_error(d, &e);
}

void
sconce__dgram_tell_late(struct sconce_dgram *d)
{
	int errnum = d->_d->late_errnum;

	d->_d->late_errnum = 0;
	if (errnum != 0 && sconce__dgram_errors(d) == 0 && !d->sock.closed)
		sconce__dgram_tell(d, "recv", errnum);
}

/* ---- hooks of the base ---- */

/* For event_ready: it takes what it likes.  When it got nothing, the fd may have been readable for the sake of its
 * error queue. */
static void
offer_ready(struct sconce_dgram *d)
{
	uint64_t before = d->received;

	d->ops->event_ready(d);
	if (!d->sock.closed && d->received == before)
		sconce__dgram_errors(d);
}

static void
dgram_event_read(struct sconce_sock *s)
{
	struct sconce_dgram *d = sconce_dgram_of(s);
	struct sconce__dgram *x = d->_d;

	if (x->busy || !sconce__dgram_ready(d))
		return;				/* busy: the application runs the loop in one of our hooks */
	x->busy = true;				/* what is sent from here on leaves at the end */
	if (d->ops->event_datagram != NULL)
		sconce__dgram_read(d);
	else
		offer_ready(d);
	if (!s->closed && (x->count > 0 || x->waited || x->high_told || x->late_errnum != 0))
		sconce__dgram_settle(d);
	x->busy = false;
}

/* The kernel has an error: of an earlier datagram, pending on the socket (told here alone) or in the error queue. */
static void
dgram_event_err(struct sconce_sock *s, int errnum)
{
	struct sconce_dgram *d = sconce_dgram_of(s);

	if (sconce__dgram_ready(d) && sconce__dgram_errors(d) == 0 && errnum != 0 && !s->closed)
		sconce__dgram_tell(d, "recv", errnum);
}

static void
dgram_event_connect(struct sconce_sock *s, int errnum)
{
	struct sconce_dgram *d = sconce_dgram_of(s);
	struct sconce__dgram *x = d->_d;

	sconce__dgram_forget_refusal(d);
	if (errnum != 0) {
		x->fd = -1;
		x->family = AF_UNSPEC;
		x->connected = false;
		sconce__dgram_drop(d);		/* settle() tells those who wait that nothing is queued */
	}
	x->busy = true;
	if (d->ops->event_connect != NULL)
		d->ops->event_connect(d, errnum);
	else if (errnum != 0)
		sconce_close(s, SCONCE_REASON_CONNECT);
	x->busy = false;
	if (!s->closed)
		sconce__dgram_settle(d);
}

static int
dgram_open(struct sconce_sock *s, int fd)
{
	return prepare(s->loop, fd, &sconce_dgram_of(s)->_d->opts);
}

static void
dgram_event_drain(struct sconce_sock *s)
{
	struct sconce_dgram *d = sconce_dgram_of(s);

	d->_d->core_stuck = false;
	if (d->_d->wait == SCONCE_RAW_WAIT_FD)
		sconce__dgram_wake(d);
}

static void
dgram_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct sconce_dgram *d = sconce_dgram_of(s);

	d->ops->event_timeout(d, kind);
}

static void
dgram_event_close(struct sconce_sock *s)
{
	struct sconce_dgram *d = sconce_dgram_of(s);

	sconce__dgram_last_offer(d);
	sconce__dgram_drop(d);
	sconce__dgram_queue_free(d);
	sconce__dgram_batch_free(d);
	sconce_timer_stop(&d->_d->timer);
	if (d->ops->event_close != NULL)
		d->ops->event_close(d);
}

static void
dgram_destroy(struct sconce_sock *s)
{
	struct sconce_dgram *d = sconce_dgram_of(s);

	sconce_realloc(s->loop, d->_d, 0);
	d->_d = NULL;
	s->ops = NULL;				/* the table has gone too */
	if (d->ops->destroy != NULL)
		d->ops->destroy(d);
}

static int
dgram_describe(const struct sconce_sock *s, char *buf, size_t size)
{
	const struct sconce_dgram *d = SCONCE_CONTAINER_OF(s, const struct sconce_dgram, sock);
	size_t at;
	int n;

	if (d->ops->describe != NULL)
		return d->ops->describe(d, buf, size);
	n = sconce_describe_default(s, buf, size);
	at = (size_t)n < size ? (size_t)n : size;
	return n + snprintf(buf + at, size - at, " datagrams %zu", d->_d->count);
}

bool
sconce_dgram_is(const struct sconce_sock *s)
{
	return s->ops != NULL && s->ops->event_read == dgram_event_read;
}

struct sconce_dgram *
sconce_dgram_of(struct sconce_sock *s)
{
	assert(sconce_dgram_is(s) && "the base of a datagram socket");
	return SCONCE_CONTAINER_OF(s, struct sconce_dgram, sock);
}

/* ---- beginnings ---- */

static bool
take_options(struct sconce_dgram_options *o)
{
	if (o->max_size == 0)
		o->max_size = MAX_SIZE;
	if (o->batch == 0)
		o->batch = DGRAM_BATCH;
	if (o->high == 0)
		o->high = HIGH;
	if (o->low == 0)
		o->low = o->high / 4;
	if (o->cap == 0)
		o->cap = CAP;
	return o->max_size <= MAX_SIZE_MOST && o->batch <= DGRAM_BATCH && o->low <= o->high && o->cap <= UINT32_MAX;
}

static bool
ops_complete(const struct sconce_dgram_ops *ops)
{
	return ops != NULL && ops->name != NULL && (ops->event_datagram != NULL) != (ops->event_ready != NULL);
}

static void
make_table(struct sconce_sock_ops *table, const struct sconce_dgram_ops *ops)
{
	*table = (struct sconce_sock_ops){
		.name = ops->name,
		.event_read = dgram_event_read,
		.event_err = dgram_event_err,
		.event_connect = dgram_event_connect,
		.event_drain = dgram_event_drain,
		.event_timeout = ops->event_timeout != NULL ? dgram_event_timeout : NULL,
		.event_close = dgram_event_close,
		.destroy = dgram_destroy,
		.describe = dgram_describe,
		.records = true,
		.open = dgram_open,
	};
}

int
sconce_dgram_init(struct sconce_dgram *d, struct sconce_loop *loop, const struct sconce_dgram_ops *ops, int fd,
    const struct sconce_dgram_options *opts)
{
	struct sconce_dgram_options o = { 0 };
	struct sconce__dgram *x;
	int r;

	if (opts != NULL)
		o = *opts;
	if (!ops_complete(ops) || !take_options(&o))
		return -EINVAL;
	r = fd >= 0 ? prepare(loop, fd, &o) : 0;
	if (r < 0)
		return r;
	x = sconce_realloc(loop, NULL, sizeof(*x));
	if (x == NULL)
		return -ENOMEM;
	memset(x, 0, sizeof(*x));
	make_table(&x->table, ops);
	x->opts = o;
	x->fd = -1;
	x->ask = 8;
	memset(d, 0, sizeof(*d));
	d->ops = ops;
	d->_d = x;
	sconce_timer_init(&x->timer, loop, sconce__dgram_timer, d);
	r = sconce_sock_init(&d->sock, loop, &x->table, fd);
	if (r < 0) {
		sconce_realloc(loop, x, 0);
		d->_d = NULL;
		d->sock.ops = NULL;
	}
	return r;
}

/* ---- sending ---- */

/* Whether it cannot be sent in any case. */
static int
check(struct sconce_dgram *d, const struct sconce_addr *to, size_t len)
{
	struct sconce__dgram *x = d->_d;
	int family = x->family;
	struct sconce_addr peer;

	if (to != NULL && (to->len < sizeof(sa_family_t) || to->len > sizeof(to->un)))
		return -EINVAL;
	if (to != NULL)
		family = to->any.sa_family;
	else if (x->fd >= 0 && !x->connected && !(x->connected = sconce_peer(&d->sock, &peer) == 0))
		return -EDESTADDRREQ;
	if ((family == AF_INET && len > MAX_IN) || (family == AF_INET6 && len > MAX_IN6))
		return -EMSGSIZE;
	return len > x->opts.cap ? -ENOBUFS : 0;
}

static int
send_one(struct sconce_dgram *d, const struct sconce_addr *to, const void *control, size_t control_len,
    const void *data, size_t len)
{
	struct sconce__dgram *x;
	int r;

	if (d->_d == NULL || d->sock.closed)
		return -EPIPE;
	x = d->_d;
	if (x->fd != d->sock.fd)
		sconce__dgram_ready(d);
	r = check(d, to, len);
	if (r == 0)
		r = sconce__dgram_put(d, to, control, control_len, data, len);
	if (r < 0)
		return r;
	if (sconce__dgram_can_offer(d)) {
		sconce__dgram_arm(d);
		return SCONCE_GATHERED;
	}
	x->waited = true;
	if (x->bytes > x->opts.high && !x->high_told)
		sconce__dgram_arm(d);		/* for event_high */
	return SCONCE_QUEUED;
}

int
sconce_dgram_send(struct sconce_dgram *d, const void *data, size_t len)
{
	return send_one(d, NULL, NULL, 0, data, len);
}

int
sconce_dgram_sendto(struct sconce_dgram *d, const struct sconce_addr *to, const void *data, size_t len)
{
	return send_one(d, to, NULL, 0, data, len);
}

/* Room for the control message that says which address a datagram leaves from. */
union source {
	struct cmsghdr align;
	char in[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char in6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Returns its length; 0 where the kernel is to choose. */
static size_t
put_source(union source *source, const struct sconce_datagram *p)
{
	struct in_pktinfo in = { .ipi_spec_dst = p->local.in.sin_addr };
	struct in6_pktinfo in6 = { .ipi6_addr = p->local.in6.sin6_addr };
	bool v4 = p->local.len > 0 && p->local.any.sa_family == AF_INET;
	size_t len = v4 ? sizeof(in) : sizeof(in6);

	if (p->local.len == 0 || (!v4 && p->local.any.sa_family != AF_INET6))
		return 0;
	if (!v4 && IN6_IS_ADDR_LINKLOCAL(&in6.ipi6_addr))
		in6.ipi6_ifindex = p->ifindex;
	memset(source, 0, sizeof(*source));
	source->align.cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	source->align.cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
	source->align.cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(&source->align), v4 ? (void *)&in : (void *)&in6, len);
	return CMSG_SPACE(len);
}

int
sconce_dgram_reply(struct sconce_dgram *d, const struct sconce_datagram *p, const void *data, size_t len)
{
	union source source;
	size_t control_len = 0;

	if (p->local.len > 0)
		control_len = put_source(&source, p);
	return send_one(d, p->from.len > 0 ? &p->from : NULL, &source, control_len, data, len);
}

int
sconce_dgram_flush(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;

	if (x == NULL || d->sock.closed)
		return -EPIPE;
	if (sconce__dgram_ready(d))
		sconce__dgram_offer(d);
	if (x->count == 0)
		return SCONCE_SENT;
	return sconce__dgram_can_offer(d) ? SCONCE_GATHERED : SCONCE_QUEUED;
}

size_t
sconce_dgram_queued(const struct sconce_dgram *d)
{
	return d->_d != NULL ? d->_d->count : 0;
}

size_t
sconce_dgram_queued_bytes(const struct sconce_dgram *d)
{
	return d->_d != NULL ? d->_d->bytes : 0;
}
