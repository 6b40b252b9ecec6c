/* From the queue to the kernel.  No hook and no completion runs here. */
#include "core.h"

/* ---- what the kernel says ---- */

void
sconce__set_stuck(struct sconce_sock *s)
{
	if (s->_flags & FL_STUCK)
		return;
	s->_flags |= FL_STUCK | FL_DRAIN;
	if (s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	sconce__interest(s);
	if (s->_side != NULL)
		sconce__output_stuck(s);
}

void
sconce__note_high(struct sconce_sock *s)
{
	if (!(s->_flags & FL_HIGH) && s->_queue != NULL && s->_queue->bytes > high_mark(s))
		sconce__sock_dirty(s);
}

void
sconce__send_failed(struct sconce_sock *s, int errnum)
{
	struct sconce_loop *l = s->loop;

	TRACE_STATE(l, s, "output end", errnum);
	s->_flags = (s->_flags | FL_WR_END) & ~(uint32_t)(FL_STUCK | FL_WR_SHUT | FL_DRAIN | FL_HIGH);
	sconce__count_lost(s, sconce__gather_drop(s));
	sconce__cancel(s, -errnum);
	if (s->_side != NULL)
		sconce__output_moved(s);
	sconce__interest(s);
	sconce__sock_error(s, errnum);
}

void
sconce__sock_error(struct sconce_sock *s, int errnum)
{
	if (s->closed)
		return;
	if (s->errnum == 0)
		s->errnum = (uint16_t)errnum;
	if (!(s->_flags & FL_ERR_TOLD))
		s->_flags |= FL_ERR_PENDING;
	if (s->_flags & SCONCE_PAUSE_END)
		s->_flags |= FL_HUP_PENDING;
	sconce__sock_dirty(s);
}

static ssize_t
plain_send(struct sconce_sock *s, const struct iovec *iov, int count, int flags)
{
	struct sconce_loop *l = s->loop;
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	if (s->_flags & FL_NOTSOCK)
		return l->be->writev(s->fd, iov, count, l->ctx);
	if (count == 1)
		n = l->be->send(s->fd, iov->iov_base, iov->iov_len, flags, l->ctx);
	else
		n = l->be->sendmsg(s->fd, &msg, flags, l->ctx);
	if (n < 0 && errno == ENOTSOCK) {
		s->_flags |= FL_NOTSOCK;
		return l->be->writev(s->fd, iov, count, l->ctx);
	}
	return n;
}

/* Bytes, or -errno; EINTR is retried. */
ssize_t
sconce__kernel_send(struct sconce_sock *s, const struct iovec *iov, int count, bool more)
{
	int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
	ssize_t n;

	if (has_transport(s))
		return sconce__transport_writev(s, iov, count);
	do
		n = plain_send(s, iov, count, flags);
	while (n < 0 && errno == EINTR);
	return n >= 0 ? n : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* ---- bytes that were accepted ---- */

char *
sconce__keep_room(struct sconce_sock *s, size_t n, bool front)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q = sconce__queue_sure(s);
	struct sconce__item *it = sconce__bytes(l, n);

	if (it == NULL) {
		it = l->spare;
		assert(it != NULL && it->bytes.cap >= n && "room was reserved before the first byte was offered");
		l->spare = NULL;
		it->bytes.off = 0;
	}
	it->len = n;
	if (!front || q->head == NULL) {
		sconce__queue_append(q, it);
		return item_payload(it);
	}
	it->next = q->head;
	q->head = it;
	q->items++;
	q->bytes += n;
	q->held += n;
	return item_payload(it);
}

void
sconce__keep_bytes(struct sconce_sock *s, const char *data, size_t n, bool front)
{
	memcpy(sconce__keep_room(s, n, front), data, n);
}

/* ---- sending ---- */

/* The gathered bytes.  False: the kernel refused some (they are items now), or the send failed. */
static bool
send_gathered(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct iovec iov = { .iov_base = item_payload(l->gather), .iov_len = l->gather_len };
	ssize_t n = iov.iov_len > 0 ? sconce__kernel_send(s, &iov, 1, false) : 0;

	if (n < 0 && n != -EAGAIN) {
		sconce__send_failed(s, (int)-n);
		return false;
	}
	sconce__gather_sent(l, n > 0 ? (size_t)n : 0);
	if (n == (ssize_t)iov.iov_len)
		return true;
	sconce__set_stuck(s);
	sconce__gather_spill(l);
	return false;
}

/* Up to IOV_COUNT pieces of what is at the head, over completions, up to a file or transfer. */
static int
collect(struct sconce__queue *q, struct iovec *iov, size_t budget, size_t *total_out, bool *more_out)
{
	int n = 0;

	*total_out = 0;
	*more_out = false;
	for (struct sconce__item *it = q->head; it != NULL && n < IOV_COUNT && *total_out < budget; it = it->next) {
		char *p;

		if (it->kind == ITEM_CB)
			continue;
		if (it->kind == ITEM_FILE || it->kind == ITEM_TRANSFER) {
			*more_out = it->kind == ITEM_FILE;
			break;
		}
		p = it->kind == ITEM_BYTES ? item_payload(it) + it->bytes.off : (char *)(uintptr_t)it->ref;
		iov[n].iov_base = p;
		iov[n].iov_len = it->len;
		if (iov[n].iov_len > budget - *total_out)
			iov[n].iov_len = budget - *total_out;
		*total_out += iov[n++].iov_len;
	}
	return n;
}

/* `n` bytes at the head are in the kernel. */
static void
consume(struct sconce_sock *s, size_t n)
{
	struct sconce__queue *q = s->_queue;
	struct sconce__item *it;

	while ((it = q->head) != NULL) {
		size_t part;

		if (it->kind == ITEM_CB) {
			sconce__finish_head(s, 0);
			continue;
		}
		if (n == 0)
			return;
		part = it->len < n ? (size_t)it->len : n;
		n -= part;
		it->len -= part;
		q->bytes -= part;
		if (it->kind == ITEM_BYTES) {
			it->bytes.off += (uint32_t)part;
			q->held -= part;
		} else {
			it->ref += part;
		}
		if (it->len > 0)
			return;
		sconce__finish_head(s, 0);
	}
}

/* What the run at the head comes to in the kernel.  One item alone, which most queues are, needs no list. */
static ssize_t
offer_run(struct sconce_sock *s, size_t budget, size_t *total_out)
{
	struct sconce__item *it = s->_queue->head;
	struct iovec iov[IOV_COUNT];
	bool more = false;
	int count = 1;

	if (it->next == NULL && it->kind == ITEM_BYTES && it->len <= budget) {
		*total_out = it->len;
		iov[0] = (struct iovec){ .iov_base = item_payload(it) + it->bytes.off, .iov_len = it->len };
	} else {
		count = collect(s->_queue, iov, budget, total_out, &more);
	}
	return count > 0 ? sconce__kernel_send(s, iov, count, more) : 0;
}

/* A run of bytes and references.  False: nothing more goes now. */
static bool
send_run(struct sconce_sock *s, size_t *budget)
{
	size_t total;
	ssize_t n = offer_run(s, *budget, &total);

	if (total == 0) {
		consume(s, 0);
		return true;
	}
	if (n < 0 && n != -EAGAIN) {
		sconce__send_failed(s, (int)-n);
		return false;
	}
	consume(s, n > 0 ? (size_t)n : 0);	/* of none too: a completion may be the first item */
	if (n > 0) {
		*budget -= (size_t)n;
		took_some(s);
	}
	if (n == (ssize_t)total)
		return true;
	if (n > 0 && has_transport(s))
		return true;			/* a transport takes as much as it likes */
	sconce__set_stuck(s);
	return false;
}

/* A source that only reads in order: what was read and not taken becomes an item in front of the file. */
static ssize_t
copy_pipe(struct sconce_sock *s, struct sconce__item *it, struct iovec *iov)
{
	struct sconce_loop *l = s->loop;
	ssize_t n, sent;

	if (!sconce__reserve_spare(l, iov->iov_len))
		return -ENOMEM;
	do
		n = l->be->readv(it->file.fd, iov, 1, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -EIO : 0;
	iov->iov_len = (size_t)n;
	sent = sconce__kernel_send(s, iov, 1, (uint64_t)n < it->len);
	if (sent < 0 && sent != -EAGAIN)
		return sent;
	if (sent < 0)
		sent = 0;
	if (sent < n)
		sconce__keep_bytes(s, (char *)iov->iov_base + sent, (size_t)(n - sent), true);
	return n;
}

/* A file that sendfile cannot send, or a destination that it cannot send to. */
static ssize_t
copy_file(struct sconce_sock *s, struct sconce__item *it, size_t step)
{
	struct sconce_loop *l = s->loop;
	char buf[16 * 1024];
	struct iovec iov = { .iov_base = buf };
	ssize_t n, sent;

	if (step > sizeof(buf))
		step = sizeof(buf);
	iov.iov_len = step;
	do
		n = l->be->pread(it->file.fd, buf, step, it->file.offset, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == ESPIPE)
		return copy_pipe(s, it, &iov);
	if (n <= 0)
		return n < 0 ? -EIO : 0;
	iov.iov_len = (size_t)n;
	sent = sconce__kernel_send(s, &iov, 1, (uint64_t)n < it->len);
	if (sent > 0)
		it->file.offset += sent;
	return sent;
}

/* Bytes of the file at the head, 0 at its early end, -EAGAIN, -EIO (the file), or the send's -errno. */
static ssize_t
file_step(struct sconce_sock *s, struct sconce__item *it)
{
	struct sconce_loop *l = s->loop;
	size_t step = it->len < FILE_STEP ? (size_t)it->len : FILE_STEP;
	off_t offset = it->file.offset;
	ssize_t n;

	if (has_transport(s))
		return copy_file(s, it, step);
	do
		n = l->be->sendfile(s->fd, it->file.fd, &offset, step, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EINVAL || errno == ENOSYS || errno == ESPIPE))
		return copy_file(s, it, step);
	if (n < 0)
		return errno == EBADF || errno == EIO ? -EIO : -errno;
	it->file.offset = offset;
	return n;
}

static bool
send_file(struct sconce_sock *s, size_t *budget)
{
	struct sconce__queue *q = s->_queue;
	struct sconce__item *it = q->head;
	ssize_t n;

	if (it->len == 0) {			/* its last bytes went in front of it */
		sconce__finish_head(s, 0);
		return true;
	}
	n = file_step(s, it);
	if (n > 0) {
		it->len -= (uint64_t)n;
		q->bytes -= (uint64_t)n;
		spend(budget, (size_t)n);
		took_some(s);
		if (it->len == 0 && q->head == it)
			sconce__finish_head(s, 0);
		return true;
	}
	if (n == -EAGAIN) {
		sconce__set_stuck(s);
		return false;
	}
	if (n == 0 || n == -EIO) {
		if (it->done == NULL) {
			sconce__send_failed(s, EIO);	/* nobody would notice the hole */
			return false;
		}
		q->wait_done = 1;
		sconce__finish_head(s, -EIO);
		return false;
	}
	sconce__send_failed(s, (int)-n);
	return false;
}

static bool
send_head(struct sconce_sock *s, bool from_loop, size_t *budget)
{
	struct sconce__item *it = s->_queue->head;

	if (it->kind == ITEM_FILE)
		return send_file(s, budget);
	if (it->kind != ITEM_TRANSFER)
		return send_run(s, budget);
	if (!from_loop)
		return false;			/* it needs the shared buffer, which a hook may be using */
	switch (sconce__pump(s, it->transfer, budget)) {
	case PUMP_DONE:
		return true;
	case PUMP_BUDGET:
		sconce__sock_later(s);
		return false;
	default:
		return false;
	}
}

/* What makes more of a flush than a send. */
#define FL_NOT_LONE (FL_CONNECT_TOLD | FL_STUCK | FL_DRAIN | FL_HIGH | FL_WR_END | FL_WR_SHUT | FL_NOTSOCK | FL_SIDE_HOT | \
	FL_ERR_PENDING | FL_HUP_PENDING | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT | SCONCE_PAUSE_ENDING)

bool
sconce__flush_lone(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__queue *q = s->_queue;
	struct sconce__item *it;
	ssize_t n;

	if (q == NULL || (it = q->head) == NULL || it->next != NULL || it->pool != POOL_SMALL || q->done != NULL || q->lost > 0 ||
	    q->wait_done || (s->_flags & FL_NOT_LONE) || s->fd < 0)
		return false;
	n = l->be->send(s->fd, item_payload(it) + it->bytes.off, it->len, MSG_NOSIGNAL, l->ctx);
	if (unlikely(n != (ssize_t)it->len)) {
		if (n > 0)
			consume(s, (size_t)n);
		else if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTSOCK)
			sconce__send_failed(s, errno);	/* the kernel tells it only once */
		return false;
	}
	q->head = q->tail = NULL;
	sconce__item_free(l, it);
	sconce__queue_trim(s);
	return true;
}

bool
sconce__flush(struct sconce_sock *s, bool from_loop)
{
	size_t budget = FLUSH_BYTES;

	if (s->_flags & (FL_STUCK | FL_WR_END | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT))
		return sconce_queued(s) == 0;
	if (has_gathered(s) && !send_gathered(s))
		return false;
	while (has_items(s) && !s->_queue->wait_done && budget > 0)
		if (!send_head(s, from_loop, &budget))
			break;
	if (has_items(s)) {
		/* A transfer that waits for its source, or was stopped by its own budget, comes back by itself. */
		if (from_loop && !(s->_flags & FL_STUCK) && !s->_queue->wait_done &&
		    (budget == 0 || s->_queue->head->kind != ITEM_TRANSFER))
			sconce__sock_later(s);	/* it has had its share of this turn */
		return false;
	}
	sconce__queue_trim(s);
	return true;
}

void
sconce__try_shutdown(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	int r;

	if (!(s->_flags & FL_WR_SHUT) || has_items(s) || s->fd < 0 ||
	    (s->_flags & (FL_STUCK | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)) ||
	    has_gathered(s))
		return;
	if (has_transport(s)) {
		r = sconce__transport_shutdown(s);
		if (r == -EAGAIN)
			return;
	} else {
		r = l->be->shutdown(s->fd, SHUT_WR, l->ctx) < 0 ? -errno : 0;
	}
	s->_flags = (s->_flags | FL_WR_END) & ~(uint32_t)FL_WR_SHUT;
	if (r == -ENOTSOCK)
		s->_flags |= FL_NOTSOCK;		/* nothing to linger for */
	if (s->_flags & FL_WISH_WRITE)
		sconce__interest(s);
	TRACE_STATE(l, s, "output end", r);
	if (s->_flags & SCONCE_PAUSE_END) {
		s->_flags |= FL_HUP_PENDING;
		sconce__sock_dirty(s);
	}
}
