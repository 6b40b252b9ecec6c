/* The write calls: what is gathered, what is sent at once, what is queued. */
#include "core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Writes wait: for the kernel, a connect, a handshake. */
#define FL_BLOCKED (FL_STUCK | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)

static bool
can_send(const struct sconce_sock *s)
{
	return !s->closed && !(s->_flags & (FL_WR_END | FL_WR_SHUT | SCONCE_PAUSE_ENDING)) && !s->ops->records;
}

/* What is written now goes behind something: items, or one that failed, whose completion decides how it goes on. */
static bool
must_queue(const struct sconce_sock *s)
{
	return s->_queue != NULL && (s->_queue->head != NULL || s->_queue->wait_done);
}

static int
state(const struct sconce_sock *s)
{
	if (s->_flags & FL_WR_END)
		return -EPIPE;
	if (s->_flags & FL_BLOCKED)
		return SCONCE_QUEUED;
	return has_items(s) || has_gathered(s) ? SCONCE_GATHERED : SCONCE_SENT;
}

static bool
over_cap(const struct sconce_sock *s, size_t len)
{
	uint64_t cap = cap_of(s);
	uint64_t held = (s->_queue != NULL ? s->_queue->held : 0) + (has_gathered(s) ? s->loop->gather_len : 0);

	return len > cap || held > cap - len;
}

static void
copy_in(char *to, const struct iovec *iov, int count)
{
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > 0)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

/* The caller's bytes behind everything queued, as copies. */
static int
append_bytes(struct sconce_sock *s, const struct iovec *iov, int count, size_t total)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q;
	struct sconce__item *it;
	size_t room, cap = total;

	if (has_gathered(s) && !sconce__gather_commit(l))
		return -ENOMEM;
	q = sconce__queue(s);
	if (q == NULL)
		return -ENOMEM;
	it = q->tail;
	if (it != NULL && it->kind == ITEM_BYTES) {
		room = it->bytes.cap - it->bytes.off - it->len;
		if (room >= total) {
			copy_in(item_payload(it) + it->bytes.off + it->len, iov, count);
			it->len += total;
			q->bytes += total;
			q->held += total;
			return 0;
		}
		cap = it->bytes.cap * 2u;	/* a queue that grows gets larger items */
		if (cap > GATHER_SIZE)
			cap = GATHER_SIZE;
		if (cap < total)
			cap = total;
	}
	it = sconce__bytes(l, cap);
	if (it == NULL) {
		sconce__queue_trim(s);
		return -ENOMEM;
	}
	copy_in(item_payload(it), iov, count);
	it->len = total;
	sconce__queue_append(q, it);
	return 0;
}

/* What the kernel has not taken of the caller's pieces, in one item: the spare has room for all. */
static void
keep_rest(struct sconce_sock *s, const struct iovec *iov, int count, size_t skip, size_t rest)
{
	char *to = sconce__keep_room(s, rest, false);

	for (int i = 0; i < count; i++) {
		size_t part = iov[i].iov_len > skip ? iov[i].iov_len - skip : 0;

		if (part > 0)
			memcpy(to, (const char *)iov[i].iov_base + skip, part);
		to += part;
		skip -= iov[i].iov_len - part;
	}
}

/* A write that leaves at once, with what is gathered in front of it and without a copy. */
static int
send_now(struct sconce_sock *s, const struct iovec *iov, int count, size_t total)
{
	struct sconce_loop *l = s->loop;
	struct iovec all[IOV_COUNT + 1];
	size_t gathered = has_gathered(s) ? l->gather_len : 0, skip;
	int n = 0;
	ssize_t r;

	all[n++] = (struct iovec){ .iov_base = item_payload(l->gather), .iov_len = gathered };
	if (gathered == 0)
		n = 0;
	for (int i = 0; i < count; i++)
		all[n++] = iov[i];
	r = sconce__kernel_send(s, all, n, false);
	if (r < 0 && r != -EAGAIN) {
		sconce__send_failed(s, (int)-r);
		return -EPIPE;
	}
	skip = r > 0 ? (size_t)r : 0;
	if (skip > 0)
		took_some(s);
	if (has_gathered(s))
		sconce__gather_sent(l, skip < gathered ? skip : gathered);
	if (skip == gathered + total) {
		sconce__queue_trim(s);
		return SCONCE_SENT;
	}
	sconce__set_stuck(s);
	if (has_gathered(s))
		sconce__gather_spill(l);
	skip -= skip < gathered ? skip : gathered;
	keep_rest(s, iov, count, skip, total - skip);
	sconce__note_high(s);
	return SCONCE_QUEUED;
}

static bool
may_send_now(struct sconce_sock *s, int count, size_t total)
{
	struct sconce_loop *l = s->loop;

	if (has_items(s) && !(s->_queue->wait_done))
		sconce__flush(s, false);
	return !must_queue(s) && !(s->_flags & (FL_BLOCKED | FL_WR_END)) && count <= IOV_COUNT && sconce__gather_ready(l) &&
	    sconce__reserve_spare(l, total) && sconce__queue(s) != NULL;
}

/* Appends to the gather buffer, if that is possible. */
static bool
gather(struct sconce_sock *s, const struct iovec *iov, int count, size_t total)
{
	struct sconce_loop *l = s->loop;

	if (s != l->current || must_queue(s) || (s->_flags & FL_NO_FAST_WRITE) || !sconce__gather_ready(l) || !cap_is_wide(s))
		return false;
	if (l->gather_len + total > GATHER_SIZE)
		sconce__flush(s, false);
	if ((s->_flags & FL_NO_FAST_WRITE) || must_queue(s) || l->gather_len + total > GATHER_SIZE)
		return false;
	if (l->gather_len == 0 && l->dirty.head != NULL)
		sconce__sock_dirty(s);		/* others were written to before */
	copy_in(item_payload(l->gather) + l->gather_len, iov, count);
	l->gather_len += total;
	l->gather_owner = s;
	l->gather_for = s;
	return true;
}

static int
write_pieces(struct sconce_sock *s, const struct iovec *iov, int count, size_t total)
{
	int r;

	if (!can_send(s))
		return -EPIPE;
	if (total == 0)
		return state(s);
	if (over_cap(s, total))
		return -ENOBUFS;
	if (!(s->_flags & FL_BLOCKED)) {
		if (total < SEND_NOW && gather(s, iov, count, total))
			return SCONCE_GATHERED;
		if ((total >= SEND_NOW || (s->_flags & FL_NO_GATHER)) && may_send_now(s, count, total))
			return send_now(s, iov, count, total);
		if (s->_flags & FL_WR_END)
			return -EPIPE;
	}
	r = append_bytes(s, iov, count, total);
	if (r < 0)
		return r;
	if (s->_flags & FL_BLOCKED) {
		sconce__note_high(s);
		return SCONCE_QUEUED;
	}
	sconce__sock_dirty(s);
	return SCONCE_GATHERED;
}

static COLD int
write_one(struct sconce_sock *s, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return write_pieces(s, &iov, 1, len);
}

/* A few bytes to a socket that is not being dispatched and has nothing queued: one of many receivers. */
static __attribute__((noinline)) int
write_aside(struct sconce_sock *s, const void *buf, size_t len)
{
	struct sconce_loop *l = s->loop;
	struct sconce__item *it = l->free_small;

	if (s == l->current || s == l->gather_owner || s->_queue != NULL || s->closed || (s->_flags & FL_NO_FAST_WRITE) ||
	    it == NULL || len - 1 >= SMALL_ITEM - sizeof(*it) || !cap_is_wide(s) || sconce__queue(s) == NULL)
		return write_one(s, buf, len);
	it = sconce__bytes(l, len);
	memcpy(item_payload(it), buf, len);
	it->len = len;
	sconce__queue_append(s->_queue, it);
	sconce__sock_dirty(s);
	return SCONCE_GATHERED;
}

HOT int
sconce_write(struct sconce_sock *s, const void *buf, size_t len)
{
	struct sconce_loop *l = s->loop;
	size_t at = l->gather_len;

	if (unlikely(l->gather_for != s || len - 1 >= SEND_NOW - 1 || at + len > GATHER_SIZE))
		return write_aside(s, buf, len);
	l->gather_len = at + len;
	l->gather_owner = s;
	memcpy(item_payload(l->gather) + at, buf, len);
	return SCONCE_GATHERED;
}

int
sconce_writev(struct sconce_sock *s, const struct iovec *iov, int count)
{
	struct sconce_loop *l = s->loop;
	size_t total = 0, at = l->gather_len;

	if (count < 0)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > SIZE_MAX / 2 - total)
			return -EINVAL;
		total += iov[i].iov_len;
	}
	if (unlikely(l->gather_for != s || total - 1 >= SEND_NOW - 1 || at + total > GATHER_SIZE))
		return write_pieces(s, iov, count, total);
	l->gather_len = at + total;		/* as in sconce_write() */
	l->gather_owner = s;
	copy_in(item_payload(l->gather) + at, iov, count);
	return SCONCE_GATHERED;
}

int
sconce_printf(struct sconce_sock *s, const char *format, ...)
{
	struct sconce_loop *l = s->loop;
	char small[1024], *text = small;
	va_list ap;
	int n, r;

	va_start(ap, format);
	n = vsnprintf(small, sizeof(small), format, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	if ((size_t)n >= sizeof(small)) {
		text = l_alloc(l, (size_t)n + 1);
		if (text == NULL)
			return -ENOMEM;
		va_start(ap, format);
		vsnprintf(text, (size_t)n + 1, format, ap);
		va_end(ap);
	}
	r = sconce_write(s, text, (size_t)n);
	if (text != small)
		l_free(l, text);
	return r;
}

/* ---- items other than bytes ---- */

/* A record for an item that goes behind everything written; NULL with *error_out set. */
static struct sconce__item *
new_item(struct sconce_sock *s, enum item_kind kind, int *error_out)
{
	struct sconce_loop *l = s->loop;
	struct sconce__item *it;

	if (!can_send(s)) {
		*error_out = -EPIPE;
		return NULL;
	}
	*error_out = -ENOMEM;
	if (has_gathered(s) && !sconce__gather_commit(l))
		return NULL;
	if (l->gather_for == s)
		l->gather_for = NULL;
	if (sconce__queue(s) == NULL)
		return NULL;
	it = sconce__record(l);
	if (it == NULL) {
		sconce__queue_trim(s);
		return NULL;
	}
	it->kind = (uint8_t)kind;
	return it;
}

/* Queues it.  Much that is waiting leaves at once, and so does everything when gathering is off. */
static int
put_item(struct sconce_sock *s, struct sconce__item *it)
{
	bool now = (it->kind != ITEM_TRANSFER && it->len >= SEND_NOW) || (s->_flags & FL_NO_GATHER);

	sconce__queue_append(s->_queue, it);
	if (s->_flags & FL_BLOCKED) {
		sconce__note_high(s);
		return SCONCE_QUEUED;
	}
	sconce__sock_dirty(s);
	if (now)
		sconce__flush(s, false);
	return s->_flags & FL_WR_END ? SCONCE_GATHERED : state(s);	/* it was accepted: its completion tells of the failure */
}

/* A completion behind the bytes that are gathered for `s`, which has nothing queued; `it` is a fresh record. */
static inline int
mark(struct sconce_sock *s, struct sconce__item *it, sconce_done_fn *done, void *arg)
{
	struct sconce_loop *l = s->loop;

	*it = (struct sconce__item){ .kind = ITEM_CB, .pool = POOL_RECORD, .done = done, .arg = arg,
		.mark = (uint32_t)l->gather_len };
	if (l->marks == NULL)
		l->marks = it;
	else
		l->marks_tail->next = it;
	l->marks_tail = it;
	l->gather_owner = s;
	return SCONCE_GATHERED;
}

static COLD int
write_cb(struct sconce_sock *s, sconce_done_fn *done, void *arg)
{
	struct sconce__item *it;
	int error;

	if (done == NULL)
		return -EINVAL;
	if (s->loop->gather_for == s && s->_queue == NULL && (it = sconce__record(s->loop)) != NULL)
		return mark(s, it, done, arg);
	it = new_item(s, ITEM_CB, &error);
	if (it == NULL) {
		sconce__fail_call(s, done, arg, error);
		return error;
	}
	it->done = done;
	it->arg = arg;
	return put_item(s, it);
}

int
sconce_write_cb(struct sconce_sock *s, sconce_done_fn *done, void *arg)
{
	struct sconce_loop *l = s->loop;
	struct sconce__item *it = l->free_records;

	if (unlikely(l->gather_for != s || s->_queue != NULL || it == NULL || done == NULL))
		return write_cb(s, done, arg);
	l->free_records = it->next;
	l->free_record_count--;
	return mark(s, it, done, arg);
}

int
sconce_write_ref(struct sconce_sock *s, const void *buf, size_t len, sconce_done_fn *done, void *arg)
{
	struct sconce__item *it;
	int error;

	if (len == 0)
		return done != NULL ? sconce_write_cb(s, done, arg) : sconce_write(s, buf, 0);
	it = new_item(s, ITEM_REF, &error);
	if (it == NULL) {
		sconce__fail_call(s, done, arg, error);
		return error;
	}
	it->done = done;
	it->arg = arg;
	it->len = len;
	it->ref = buf;
	return put_item(s, it);
}

int
sconce_write_file(struct sconce_sock *s, int fd, off_t offset, uint64_t len, sconce_done_fn *done, void *arg)
{
	struct sconce__item *it;
	int error;

	if (len == 0 && offset >= 0)
		return done != NULL ? sconce_write_cb(s, done, arg) : sconce_write(s, "", 0);
	it = offset >= 0 ? new_item(s, ITEM_FILE, &error) : NULL;
	if (it == NULL) {
		error = offset >= 0 ? error : -EINVAL;
		sconce__fail_call(s, done, arg, error);
		return error;
	}
	it->done = done;
	it->arg = arg;
	it->len = len;
	it->file.fd = fd;
	it->file.offset = offset;
	return put_item(s, it);
}

/* An item for sconce_transfer(); the rest is in transfer.c. */
struct sconce__item *
sconce__transfer_item(struct sconce_sock *dst, int *error_out)
{
	return new_item(dst, ITEM_TRANSFER, error_out);
}

int
sconce__transfer_put(struct sconce_sock *dst, struct sconce__item *it)
{
	return put_item(dst, it);
}

/* ---- settings and state ---- */

int
sconce_flush(struct sconce_sock *s)
{
	if (s->closed || (s->_flags & FL_WR_END))
		return -EPIPE;
	if (!(s->_flags & FL_BLOCKED) && (has_items(s) || has_gathered(s))) {
		sconce__flush(s, false);
		sconce__sock_dirty(s);		/* completions, marks */
	}
	return state(s);
}

void
sconce_set_gather(struct sconce_sock *s, bool on)
{
	s->_flags = on ? s->_flags & ~(uint32_t)FL_NO_GATHER : s->_flags | FL_NO_GATHER;
	if (!on && s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	if (!on && has_gathered(s))
		sconce_flush(s);
}

uint64_t
sconce_queued(const struct sconce_sock *s)
{
	const struct sconce__queue *q = s->_queue;
	uint64_t n = has_gathered(s) ? s->loop->gather_len : 0;

	if (q == NULL)
		return n;
	if (q->head != NULL && q->head->kind == ITEM_TRANSFER)
		n += sconce__transfer_stuck_bytes(q->head->transfer);
	return n + q->bytes;
}

size_t
sconce_queued_items(const struct sconce_sock *s)
{
	size_t n = s->_queue != NULL ? s->_queue->items : 0;

	if (!has_gathered(s))
		return n;
	for (const struct sconce__item *it = s->loop->marks; it != NULL; it = it->next)
		n++;
	return n + (s->loop->gather_len > 0);
}

uint64_t
sconce_discard(struct sconce_sock *s)
{
	uint64_t bytes = s->closed ? 0 : sconce_queued(s);

	if (s->closed || sconce_queued_items(s) == 0)
		return 0;
	sconce__count_lost(s, sconce__gather_drop(s));
	sconce__cancel(s, -ECANCELED);
	if (s->fd >= 0 && !(s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)) && !has_transport(s))
		s->_flags &= ~(uint32_t)FL_STUCK;	/* nothing waits for room any more: the next write asks again */
	if (s->_side != NULL)
		sconce__output_moved(s);
	sconce__interest(s);
	sconce__sock_dirty(s);
	return bytes;
}

int
sconce_set_marks(struct sconce_sock *s, uint64_t low, uint64_t high)
{
	struct sconce__side *side;

	if (s->closed)
		return -EBADF;
	if (low > high)
		return -EINVAL;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	side->low = low;
	side->high = high;
	side->marks_set = true;
	return 0;
}

int
sconce_set_cap(struct sconce_sock *s, uint64_t cap)
{
	struct sconce__side *side;

	if (s->closed)
		return -EBADF;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	side->cap = cap;
	side->cap_set = true;
	sconce__side_hot(s);
	if (s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	return 0;
}
