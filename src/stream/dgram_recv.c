/* What has come: batches of datagrams, in the loop's scratch memory.
 *
 *	batch | msgs, iovs | datagrams | control | slot 0 | slot 1 | ... up to 64
 *
 * A batch lives until its last datagram has been handed on; one whose socket is paused, or whose application takes
 * datagrams when it likes, keeps its memory meanwhile.  Slots are not a power of two apart, so that they do not fight
 * for the same lines of the cache, and only as far touched as datagrams are long. */
#include "dgram_private.h"

#include <netinet/in.h>

enum {
	STAGGER = 64,
	CONTROL = 64,			/* room for a PKTINFO of either family */
	REGION = 8 * 1024 * 1024,	/* slots are fewer than 64 when they would need more */
	ASK_LEAST = 4,
	ERRORS = 4			/* pending errors that one read gets past */
};

struct sconce__dgram_batch {
	unsigned slots, count, next;
	size_t stride;
	struct mmsghdr *msgs;
	struct iovec *iovs;
	struct sconce_datagram *datagrams;
	char *control, *data;
};

static size_t
round_up(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static unsigned
slots_of(const struct sconce__dgram *x, size_t stride)
{
	return x->opts.batch * stride <= REGION ? x->opts.batch : (unsigned)(REGION / stride);
}

/* Lays a batch of so many slots out in memory of its own.  NULL: there is none. */
static struct sconce__dgram_batch *
lay_out(struct sconce_dgram *d, unsigned slots, size_t stride)
{
	size_t msgs = round_up(sizeof(struct sconce__dgram_batch));
	size_t iovs = msgs + round_up(slots * sizeof(struct mmsghdr));
	size_t datagrams = iovs + round_up(slots * sizeof(struct iovec));
	size_t control = datagrams + round_up(slots * sizeof(struct sconce_datagram));
	size_t data = control + slots * CONTROL;
	char *at = sconce_scratch_take(d->sock.loop, data + slots * stride);
	struct sconce__dgram_batch *b = (void *)at;

	if (at == NULL)
		return NULL;
	b->slots = slots;
	b->stride = stride;
	b->count = b->next = 0;
	b->msgs = (void *)(at + msgs);
	b->iovs = (void *)(at + iovs);
	b->datagrams = (void *)(at + datagrams);
	b->control = at + control;
	b->data = at + data;
	return b;
}

/* Without memory for all slots one will do. */
static struct sconce__dgram_batch *
batch_of(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	size_t stride = round_up(x->opts.max_size) + STAGGER;

	if (x->batch == NULL)
		x->batch = lay_out(d, slots_of(x, stride), stride);
	if (x->batch == NULL)
		x->batch = lay_out(d, 1, stride);
	return x->batch;
}

void
sconce__dgram_batch_free(struct sconce_dgram *d)
{
	sconce_scratch_give(d->sock.loop, d->_d->batch);
	d->_d->batch = NULL;
}

/* ---- receiving ---- */

static void
prepare(const struct sconce__dgram *x, struct sconce__dgram_batch *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct msghdr *h = &b->msgs[i].msg_hdr;

		b->iovs[i].iov_base = b->data + i * b->stride;
		b->iovs[i].iov_len = x->opts.max_size;
		h->msg_name = &b->datagrams[i].from.any;
		h->msg_namelen = sizeof(b->datagrams[i].from.un);
		h->msg_iov = &b->iovs[i];
		h->msg_iovlen = 1;
		h->msg_control = x->opts.local ? b->control + i * CONTROL : NULL;
		h->msg_controllen = x->opts.local ? CONTROL : 0;
	}
}

/* Asks for about as many as came lately: what is not received need not be prepared. */
static void
adapt(struct sconce__dgram *x, unsigned asked, unsigned slots, unsigned came)
{
	x->full = came == asked;
	if (x->full)
		x->ask = asked * 4 < slots ? asked * 4 : slots;
	else if (came * 4 < asked && asked > ASK_LEAST)
		x->ask = asked / 2;
}

/* Pending errors are told, those of the error queue in all detail.  Inside a call of the application's they wait. */
static void
meet_error(struct sconce_dgram *d, int errnum, bool from_loop)
{
	if (!from_loop) {
		d->_d->late_errnum = errnum;
		sconce__dgram_arm(d);
		return;
	}
	if (sconce__dgram_errors(d) == 0 && !d->sock.closed)
		sconce__dgram_tell(d, "recv", errnum);
}

/* Nothing has come.  If nothing was to be expected either, the fd was readable for the sake of its error queue. */
static void
meet_nothing(struct sconce_dgram *d, bool from_loop)
{
	struct sconce__dgram *x = d->_d;

	if (x->full)
		x->full = false;
	else if (from_loop)
		sconce__dgram_errors(d);
}

/* Fills a batch.  Datagrams, 0 for none, -ENOMEM. */
static int
fill(struct sconce_dgram *d, bool from_loop)
{
	struct sconce__dgram *x = d->_d;
	struct sconce__dgram_batch *b = batch_of(d);

	if (b == NULL)
		return -ENOMEM;
	for (int i = 0; i < ERRORS && !d->sock.closed; i++) {
		unsigned ask = x->ask < b->slots ? x->ask : b->slots;
		int n;

		prepare(x, b, ask);
		n = sconce_raw_recvmmsg(&d->sock, b->msgs, ask, MSG_TRUNC);
		if (n > 0) {
			adapt(x, ask, b->slots, (unsigned)n);
			b->count = (unsigned)n;
			b->next = 0;
			return n;
		}
		if (n == -EAGAIN) {
			meet_nothing(d, from_loop);
			break;
		}
		meet_error(d, n < 0 ? -n : EIO, from_loop);
	}
	sconce__dgram_batch_free(d);
	return 0;
}

/* ---- one datagram ---- */

/* IPv4: the address of this host is ipi_spec_dst; the one in the packet differs when it was for a group.  An option
 * that was set after the packet came leaves the former empty: on an fd that was bound before it was given to us. */
static void
local_in(struct sconce_datagram *p, const struct in_pktinfo *info)
{
	struct in_addr own = info->ipi_spec_dst.s_addr != 0 ? info->ipi_spec_dst : info->ipi_addr;

	p->ifindex = (unsigned)info->ipi_ifindex;
	p->group = IN_MULTICAST(ntohl(info->ipi_addr.s_addr)) || own.s_addr != info->ipi_addr.s_addr ||
	    info->ipi_addr.s_addr == INADDR_BROADCAST;
	if (p->group && info->ipi_spec_dst.s_addr == 0)
		return;
	p->local.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = own };
	p->local.len = sizeof(p->local.in);
}

static void
local_in6(struct sconce_datagram *p, const struct in6_pktinfo *info)
{
	p->ifindex = info->ipi6_ifindex;
	p->group = IN6_IS_ADDR_MULTICAST(&info->ipi6_addr);
	if (p->group)
		return;
	p->local.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = info->ipi6_addr };
	if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
		p->local.in6.sin6_scope_id = info->ipi6_ifindex;
	p->local.len = sizeof(p->local.in6);
	sconce_addr_unmap(&p->local);
}

static void
read_control(struct sconce_datagram *p, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		struct in_pktinfo in;
		struct in6_pktinfo in6;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&in, CMSG_DATA(c), sizeof(in));
			local_in(p, &in);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&in6, CMSG_DATA(c), sizeof(in6));
			local_in6(p, &in6);
		}
	}
}

/* The next of the batch, made ready for the application. */
static struct sconce_datagram *
take(struct sconce_dgram *d, struct sconce__dgram_batch *b)
{
	unsigned i = b->next++;
	struct sconce_datagram *p = &b->datagrams[i];
	struct msghdr *h = &b->msgs[i].msg_hdr;
	size_t room = d->_d->opts.max_size;

	p->data = b->data + i * b->stride;
	p->full_len = b->msgs[i].msg_len;
	p->len = p->full_len < room ? p->full_len : room;
	p->truncated = p->full_len > room;
	p->from.len = h->msg_namelen;
	if (p->from.len > sizeof(p->from.un))
		p->from.len = sizeof(p->from.un);
	if (d->_d->family == AF_INET6)
		sconce_addr_unmap(&p->from);
	p->group = false;
	p->local.len = 0;
	p->ifindex = 0;
	p->session = 0;
	if (h->msg_controllen > 0)
		read_control(p, h);
	if (d->ops->session != NULL)
		p->session = d->ops->session(d, p);
	d->received++;
	return p;
}

static void
hand_on(struct sconce_dgram *d)
{
	struct sconce__dgram_batch *b = d->_d->batch;

	while (b->next < b->count && sconce_paused(&d->sock) == 0) {	/* at first too: event_error may pause */
		d->ops->event_datagram(d, take(d, b));
		if (d->sock.closed)
			return;			/* what is left goes with it */
	}
	if (b->next == b->count)
		sconce__dgram_batch_free(d);
}

void
sconce__dgram_read(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	int n = x->batch != NULL ? 1 : fill(d, true);

	if (n == -ENOMEM && !x->starved)
		sconce__dgram_tell(d, "recv", ENOMEM);	/* once; the fd stays readable: in the next turn */
	x->starved = n == -ENOMEM;
	if (n <= 0 || d->sock.closed)
		return;
	hand_on(d);
	if (x->batch != NULL)
		sconce_offer(&d->sock);		/* the kernel does not know of these */
}

int
sconce_dgram_next(struct sconce_dgram *d, struct sconce_datagram *p_out)
{
	struct sconce__dgram *x = d->_d;
	int n;

	if (d->ops->event_ready == NULL)
		return -EINVAL;
	if (d->sock.closed)
		return -EBADF;
	if (!sconce__dgram_ready(d))
		return 0;
	if (x->batch == NULL || x->batch->next == x->batch->count) {
		n = fill(d, false);
		if (n <= 0)
			return n;
	}
	*p_out = *take(d, x->batch);
	return 1;
}
