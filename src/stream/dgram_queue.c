/* What waits to be sent.
 *
 *	chunk |record|record|record|      |  -->  chunk |record|record|    |
 *	           ^head_off         ^used
 *	record: struct record | address | control | data, each rounded up to 8
 *
 * All that a batch sends is copied here and leaves in one sendmmsg(2) for up to 64 datagrams; the last chunk stays for
 * the next batch, so that a datagram costs no allocation.
 *
 * A send that fails may have failed for the sake of an earlier datagram, whose ICMP error the kernel kept for the next
 * call.  So it is done once more; only the second failure is this datagram's own. */
#include "dgram_private.h"

enum {
	CHUNK_LEAST = 4096,
	CHUNK_MOST = 64 * 1024,		/* but for a single record that is larger */
	OFFER_BYTES = 1024 * 1024,	/* of one settling; the rest follows in the next turn */
};
static const double retry_least = 0.001, retry_most = 0.064;

struct record {
	uint32_t size;			/* of all, this included */
	uint32_t len;
	uint32_t addr_len, control_len;
};

static size_t
round_up(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static char *
record_addr(struct record *r)
{
	return (char *)(r + 1);
}

static char *
record_control(struct record *r)
{
	return record_addr(r) + round_up(r->addr_len);
}

static char *
record_data(struct record *r)
{
	return record_control(r) + round_up(r->control_len);
}

static struct record *
record_at(struct sconce__dgram_chunk *c, size_t off)
{
	return (struct record *)(void *)(c->data + off);
}

/* ---- appending ---- */

static struct sconce__dgram_chunk *
chunk_new(struct sconce_dgram *d, size_t need)
{
	struct sconce__dgram *x = d->_d;
	size_t size = x->tail != NULL ? x->tail->size * 4 : CHUNK_LEAST;
	struct sconce__dgram_chunk *c;

	if (size > CHUNK_MOST)
		size = CHUNK_MOST;
	if (size < need)
		size = need;
	c = sconce_realloc(d->sock.loop, NULL, sizeof(*c) + size);
	if (c == NULL)
		return NULL;
	c->next = NULL;
	c->size = size;
	c->used = 0;
	c->pins = 0;
	c->off_queue = false;
	return c;
}

static void
chunk_free(struct sconce_dgram *d, struct sconce__dgram_chunk *c)
{
	sconce_realloc(d->sock.loop, c, 0);
}

/* The chunk with room for `need` bytes at the end. */
static struct sconce__dgram_chunk *
chunk_for(struct sconce_dgram *d, size_t need)
{
	struct sconce__dgram *x = d->_d;
	struct sconce__dgram_chunk *c = x->tail;

	if (c != NULL && c->size - c->used >= need)
		return c;
	c = chunk_new(d, need);
	if (c == NULL)
		return NULL;
	if (x->tail == NULL) {
		x->head = c;
	} else if (x->count == 0) {	/* an empty one, too small */
		chunk_free(d, x->tail);
		x->head = c;
	} else {
		x->tail->next = c;
	}
	x->tail = c;
	return c;
}

int
sconce__dgram_put(struct sconce_dgram *d, const struct sconce_addr *to, const void *control, size_t control_len,
    const void *data, size_t len)
{
	struct sconce__dgram *x = d->_d;
	size_t addr_len = to != NULL ? to->len : 0;
	size_t need = sizeof(struct record) + round_up(addr_len) + round_up(control_len) + round_up(len);
	struct sconce__dgram_chunk *c;
	struct record *r;

	if (need > x->opts.cap || x->held > x->opts.cap - need)
		return -ENOBUFS;
	c = chunk_for(d, need);
	if (c == NULL)
		return -ENOMEM;
	r = record_at(c, c->used);
	*r = (struct record){ .size = (uint32_t)need, .len = (uint32_t)len, .addr_len = (uint32_t)addr_len,
		.control_len = (uint32_t)control_len };
	if (addr_len > 0)
		memcpy(record_addr(r), &to->any, addr_len);
	if (control_len > 0)
		memcpy(record_control(r), control, control_len);
	if (len > 0)
		memcpy(record_data(r), data, len);
	c->used += need;
	x->count++;
	x->bytes += len;
	x->held += need;
	return 0;
}

/* ---- taking off ---- */

/* Behind the last record of the head chunk: the next chunk, or the beginning of the only one. */
static void
next_chunk(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	struct sconce__dgram_chunk *c = x->head;

	x->head_off = 0;
	if (c->next == NULL && c->size <= CHUNK_MOST && c->pins == 0) {
		c->used = 0;
		return;
	}
	x->head = c->next;
	if (x->head == NULL)
		x->tail = NULL;
	c->off_queue = true;
	if (c->pins == 0)
		chunk_free(d, c);
}

/* The hook that a record was lent to has returned. */
static void
unpin(struct sconce_dgram *d, struct sconce__dgram_chunk *c)
{
	c->pins--;
	if (c->pins == 0 && c->off_queue)
		chunk_free(d, c);
}

static void
pop(struct sconce_dgram *d, unsigned count)
{
	struct sconce__dgram *x = d->_d;

	for (; count > 0; count--) {
		const struct record *r = record_at(x->head, x->head_off);

		x->count--;
		x->bytes -= r->len;
		x->held -= r->size;
		x->head_off += r->size;
		if (x->head_off == x->head->used)
			next_chunk(d);
	}
	x->head_errnum = 0;
	x->head_told = false;
}

void
sconce__dgram_drop(struct sconce_dgram *d)
{
	d->lost += d->_d->count;
	while (d->_d->count > 0)
		pop(d, 1);
}

void
sconce__dgram_queue_free(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	struct sconce__dgram_chunk *c;

	while ((c = x->head) != NULL) {
		x->head = c->next;
		chunk_free(d, c);
	}
	x->tail = NULL;
}

/* ---- to the kernel ---- */

static void
fill_header(struct msghdr *h, struct iovec *iov, struct record *r)
{
	iov->iov_base = record_data(r);
	iov->iov_len = r->len;
	h->msg_name = r->addr_len > 0 ? record_addr(r) : NULL;
	h->msg_namelen = r->addr_len;
	h->msg_iov = iov;
	h->msg_iovlen = 1;
	h->msg_control = r->control_len > 0 ? record_control(r) : NULL;
	h->msg_controllen = r->control_len;
	h->msg_flags = 0;
}

/* Offers the first datagrams in one call.  Returns how many the kernel took, or -errno of the first. */
static int
send_first(struct sconce_dgram *d, size_t *bytes_out)
{
	struct sconce__dgram *x = d->_d;
	struct mmsghdr msgs[DGRAM_BATCH];
	struct iovec iovs[DGRAM_BATCH];
	struct sconce__dgram_chunk *c = x->head;
	size_t off = x->head_off;
	unsigned count = 0;
	int n;

	while (c != NULL && count < x->opts.batch) {
		struct record *r;

		if (off == c->used) {
			c = c->next;
			off = 0;
			continue;
		}
		r = record_at(c, off);
		fill_header(&msgs[count].msg_hdr, &iovs[count], r);
		off += r->size;
		count++;
	}
	n = sconce_raw_sendmmsg(&d->sock, msgs, count, 0);
	*bytes_out = 0;
	for (int i = 0; i < n; i++)
		*bytes_out += iovs[i].iov_len;
	return n;
}

bool
sconce__dgram_can_offer(const struct sconce_dgram *d)
{
	return d->_d->fd >= 0 && d->_d->wait == SCONCE_RAW_MOVES && d->_d->fd == d->sock.fd &&
	    !(sconce_paused(&d->sock) & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT));
}

/* The kernel has taken some. */
static void
took(struct sconce_dgram *d, unsigned count)
{
	struct sconce__dgram *x = d->_d;

	if (x->head_errnum != 0 && !x->head_told)
		x->late_errnum = x->head_errnum;	/* it was an earlier one's */
	pop(d, count);
	d->sent += count;
	x->woken = false;
	x->retry = 0;
	if (x->core_stuck)
		sconce_raw_stuck(&d->sock, SCONCE_RAW_MOVES);
	x->core_stuck = false;
}

/* The kernel takes no more now.  An fd that says it is writable and refuses all the same (an unconnected unix socket,
 * whose receiver is full; a lack of buffers) is tried again by the clock. */
static void
refused(struct sconce_dgram *d, int errnum)
{
	struct sconce__dgram *x = d->_d;

	x->waited = true;
	x->core_stuck = true;
	if (errnum == EAGAIN && !x->woken) {
		x->wait = SCONCE_RAW_WAIT_FD;
	} else {
		x->wait = SCONCE_RAW_WAIT_SELF;
		x->retry = x->retry > 0 ? x->retry * 2 : retry_least;
		if (x->retry > retry_most)
			x->retry = retry_most;
		sconce_timer_start(&x->timer, x->retry);
	}
	sconce_raw_stuck(&d->sock, x->wait);
}

void
sconce__dgram_forget_refusal(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;

	x->wait = SCONCE_RAW_MOVES;
	x->core_stuck = x->woken = false;
	x->retry = 0;
	sconce_timer_stop(&x->timer);
}

static bool
is_refusal(int errnum)
{
	return errnum == EAGAIN || errnum == ENOBUFS || errnum == ENOMEM;
}

/* Drops the first datagram, and tells that it cannot be sent.  In this order: the hooks may flush what is behind it. */
static void
tell_failed(struct sconce_dgram *d, int errnum)
{
	struct sconce__dgram *x = d->_d;
	struct sconce__dgram_chunk *c = x->head;
	struct record *r = record_at(c, x->head_off);
	struct sconce_dgram_error e = { .operation = "send", .errnum = errnum, .data = record_data(r), .len = r->len };
	bool told = x->head_told;

	memcpy(&e.to.any, record_addr(r), r->addr_len);
	e.to.len = r->addr_len;
	if (e.to.len == 0 && x->connected)
		sconce_peer(&d->sock, &e.to);
	c->pins++;
	pop(d, 1);
	d->lost++;
	x->mtu = 0;
	if (x->opts.errors && !told)
		sconce__dgram_errors(d);
	if (errnum == EMSGSIZE)
		e.mtu = x->mtu;
	if (!d->sock.closed && d->ops->event_error != NULL)
		d->ops->event_error(d, &e);
	unpin(d, c);
}

/* The first datagram has failed.  Returns whether to go on. */
static bool
failed(struct sconce_dgram *d, int errnum, bool from_loop)
{
	struct sconce__dgram *x = d->_d;

	if (x->head_errnum == 0) {
		x->head_errnum = errnum;
		if (from_loop && x->opts.errors) {
			x->head_told = true;	/* already: a hook of this may flush */
			if (sconce__dgram_errors(d) == 0)
				x->head_told = false;
		}
	} else if (from_loop) {
		tell_failed(d, errnum);
	} else {
		sconce__dgram_arm(d);
		return false;
	}
	return !d->sock.closed;
}

static void
offer(struct sconce_dgram *d, bool from_loop)
{
	struct sconce__dgram *x = d->_d;
	size_t budget = OFFER_BYTES, bytes;

	while (x->count > 0 && sconce__dgram_can_offer(d)) {
		int n = send_first(d, &bytes);

		if (n > 0) {
			took(d, (unsigned)n);
			if (bytes >= budget)
				break;
			budget -= bytes;
		} else if (is_refusal(-n)) {
			refused(d, -n);
		} else if (!failed(d, -n, from_loop)) {
			break;
		}
	}
}

void
sconce__dgram_offer(struct sconce_dgram *d)
{
	const struct sconce__dgram *x = d->_d;

	offer(d, false);
	if (x->late_errnum != 0 || x->waited || x->high_told)
		sconce__dgram_arm(d);		/* in a hook settle() follows in any case */
}

void
sconce__dgram_last_offer(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;
	size_t bytes;

	while (x->count > 0 && x->wait == SCONCE_RAW_MOVES && x->fd >= 0 && x->fd == d->sock.fd) {
		int n = send_first(d, &bytes);

		if (n > 0) {
			pop(d, (unsigned)n);
			d->sent += (unsigned)n;
		} else if (is_refusal(-n)) {
			break;
		} else if (x->head_errnum == 0) {
			x->head_errnum = -n;
		} else {
			pop(d, 1);
			d->lost++;
		}
	}
}

/* ---- from the loop ---- */

/* Tells what has become of the queue. */
static void
judge(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;

	if (x->high_told && x->bytes <= x->opts.low) {
		x->high_told = false;
		if (d->ops->event_low != NULL)
			d->ops->event_low(d);
	}
	if (!d->sock.closed && x->waited && x->count == 0) {
		x->waited = false;
		if (d->ops->event_drain != NULL)
			d->ops->event_drain(d);
	}
	if (!d->sock.closed && !x->high_told && x->bytes > x->opts.high) {
		x->high_told = true;
		if (d->ops->event_high != NULL)
			d->ops->event_high(d);
	}
}

/* What settle() has left: what was too much for one turn, and what its hooks have sent or flushed. */
static bool
is_unsettled(const struct sconce_dgram *d)
{
	const struct sconce__dgram *x = d->_d;

	if (x->count > 0 ? sconce__dgram_can_offer(d) : x->waited)
		return true;
	return x->late_errnum != 0 || (x->high_told && x->bytes <= x->opts.low);
}

void
sconce__dgram_settle(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;

	x->busy = true;
	if (sconce__dgram_ready(d))
		offer(d, true);
	if (!d->sock.closed)
		sconce__dgram_tell_late(d);
	if (!d->sock.closed)
		judge(d);
	x->busy = false;
	if (!d->sock.closed && is_unsettled(d))
		sconce__dgram_arm(d);
}

/* Not touched when the call was cancelled: the socket has been closed, and its memory may have gone. */
static void
settle_call(struct sconce_loop *loop, void *arg, int status)
{
	struct sconce_dgram *d = arg;

	(void)loop;
	if (status < 0)
		return;
	d->_d->armed = false;
	sconce__dgram_settle(d);
}

void
sconce__dgram_arm(struct sconce_dgram *d)
{
	struct sconce__dgram *x = d->_d;

	if (x->busy || x->armed)
		return;
	if (sconce_defer(d->sock.loop, &d->sock, settle_call, d) == 0)
		x->armed = true;
	else if (!sconce_timer_active(&x->timer))
		sconce_timer_start(&x->timer, 0);	/* without memory: in the next turn */
}

void
sconce__dgram_wake(struct sconce_dgram *d)
{
	d->_d->woken = d->_d->wait != SCONCE_RAW_MOVES;
	d->_d->wait = SCONCE_RAW_MOVES;
	sconce__dgram_settle(d);
}

void
sconce__dgram_timer(struct sconce_timer *t, void *arg)
{
	struct sconce_dgram *d = arg;

	(void)t;
	if (d->sock.closed)
		return;
	if (d->_d->wait == SCONCE_RAW_WAIT_SELF)
		sconce__dgram_wake(d);
	else
		sconce__dgram_settle(d);
}
