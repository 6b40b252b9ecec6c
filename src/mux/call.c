/* What may be done to a handle: sending, settings, ending it. */
#include "mux_private.h"

#include <errno.h>

/* ---- ends ---- */

int
sconce_mux_remove(struct sconce_mux_handle *h)
{
	int fd;

	if (h->flags & H_FLUSH)
		sconce__mux_flush(h);
	fd = sconce_detach(h->sock, NULL, 0, NULL);
	if (fd == -EBUSY && sconce_discard(h->sock) > 0)
		fd = sconce_detach(h->sock, NULL, 0, NULL);
	if (fd < 0)
		return fd == -EINPROGRESS ? -EBADF : fd;
	if (h->kind == SCONCE_MUX_LISTENER)
		sconce__mux_orphan(h);
	sconce__mux_let_go(h);
	return fd;
}

void
sconce_mux_close(struct sconce_mux_handle *h)
{
	if (!(h->flags & (H_CLOSING | H_KILLED)))
		sconce__mux_shut(h, SCONCE_REASON_LOCAL);
}

void
sconce_mux_close_flush(struct sconce_mux_handle *h, double timeout)
{
	if (h->kind != SCONCE_MUX_STREAM || (h->flags & H_NO_OUTPUT)) {
		sconce_mux_close(h);
		return;
	}
	if (h->flags & (H_CLOSING | H_KILLED))
		return;
	if (timeout >= 0)
		h->linger = timeout;
	h->flags |= H_ANSWERED;
	sconce__mux_end(h, SCONCE_REASON_LOCAL);
}

void
sconce_mux_kill(struct sconce_mux_handle *h, int reason)
{
	if ((h->flags & H_KILLED) || h->mux->last == h)
		return;				/* CLOSED will come without more, or has */
	sconce__mux_quiet(h);
	sconce__mux_purge(h, true);
	h->flags |= H_KILLED;
	h->reason = reason != 0 ? reason : SCONCE_REASON_LOCAL;
	sconce_close(h->sock, h->reason);
	sconce__mux_unhold(h);
}

/* ---- sending ---- */

/* Whether something may be sent, and will be told of.  0 or -errno. */
static int
may_send(struct sconce_mux_handle *h)
{
	if (h->flags & H_MANUAL_WRITE || h->kind == SCONCE_MUX_LISTENER)
		return -EINVAL;
	if ((h->flags & H_NO_OUTPUT) || h->sock->closed)
		return -EPIPE;
	return sconce__mux_reserve(h->mux, 0, 1);
}

/* What follows from a write to a stream: all that can leaves now. */
static int
written(struct sconce_mux_handle *h, int r)
{
	if (r == SCONCE_GATHERED && sconce_queued(h->sock) > 0)
		r = sconce_flush(h->sock);
	if (r == SCONCE_SENT)
		sconce__mux_sent(h);
	if (r >= 0 && (h->flags & H_CLOSING) && h->reason != SCONCE_REASON_EOF)
		h->flags |= H_ANSWERED;
	return r;
}

/* What follows from a send of a datagram: it leaves with the others that are sent before the loop turns. */
static int
gathered(struct sconce_mux_handle *h, int r)
{
	if (r >= 0)
		h->flags |= H_UNSENT;
	if (r == SCONCE_GATHERED)
		sconce__mux_work(h, H_FLUSH);
	else if (r == SCONCE_SENT)
		sconce__mux_sent(h);
	return r;
}

int
sconce_mux_send(struct sconce_mux_handle *h, const void *data, size_t len)
{
	int r = may_send(h);

	if (r < 0)
		return r;
	if (h->kind == SCONCE_MUX_DGRAM)
		return gathered(h, sconce_dgram_send(sconce__mux_dgram(h), data, len));
	r = sconce_write(h->sock, data, len);
	return len > 0 ? written(h, r) : r;
}

int
sconce_mux_sendto(struct sconce_mux_handle *h, const struct sconce_addr *to, const void *data, size_t len)
{
	int r = h->kind == SCONCE_MUX_DGRAM ? may_send(h) : -EINVAL;

	return r < 0 ? r : gathered(h, sconce_dgram_sendto(sconce__mux_dgram(h), to, data, len));
}

int
sconce_mux_put(struct sconce_mux_handle *h, const struct sconce_record *rec)
{
	int r = h->kind == SCONCE_MUX_STREAM ? may_send(h) : -EINVAL;

	return r < 0 ? r : written(h, sconce_stream_put(sconce__mux_stream(h), rec));
}

uint64_t
sconce_mux_buflen(const struct sconce_mux_handle *h)
{
	if (h->kind == SCONCE_MUX_DGRAM)
		return sconce_dgram_queued(sconce_dgram_of(h->sock));
	return sconce_queued(h->sock);
}

/* ---- input ---- */

void
sconce_mux_pause(struct sconce_mux_handle *h)
{
	h->flags = (h->flags | H_PAUSED) & ~(unsigned)(H_CAN_READ | H_CAN_WRITE);
	sconce__mux_rewatch(h);
	if (h->kind == SCONCE_MUX_LISTENER && !(h->flags & H_NO_INPUT))
		sconce_listener_pause(sconce_listener_of(h->sock));
	else
		sconce_pause(h->sock, SCONCE_PAUSE_RATE);
}

void
sconce_mux_resume(struct sconce_mux_handle *h)
{
	bool paused = h->flags & H_PAUSED;

	h->flags &= ~(unsigned)H_PAUSED;
	sconce__mux_rewatch(h);
	sconce__mux_wake(h);
	if (h->kind == SCONCE_MUX_LISTENER && !(h->flags & H_NO_INPUT)) {
		sconce_listener_resume(sconce_listener_of(h->sock));
		return;
	}
	sconce_resume(h->sock, SCONCE_PAUSE_RATE);
	if (paused && !(h->flags & H_NO_INPUT) && !h->sock->closed)
		sconce__mux_ready(h);		/* perhaps there is something that was read before */
}

/* ---- filters ---- */

int
sconce_mux_set_filter(struct sconce_mux_handle *h, struct sconce_filter *filter)
{
	int r = h->kind == SCONCE_MUX_STREAM ? sconce_stream_set_filter(sconce__mux_stream(h), filter, NULL) : -EINVAL;

	if (r == 0 && !(h->flags & H_NO_INPUT))
		sconce__mux_ready(h);		/* what waits is the new one's */
	return r;
}

int
sconce_mux_want(struct sconce_mux_handle *h, uint64_t n)
{
	int r = h->kind == SCONCE_MUX_STREAM ? sconce_stream_want(sconce__mux_stream(h), n) : -EINVAL;

	if (r == 0 && !(h->flags & H_NO_INPUT))
		sconce__mux_ready(h);
	return r;
}

/* ---- what it is ---- */

void *
sconce_mux_meta(const struct sconce_mux_handle *h)
{
	return h->meta;
}

void
sconce_mux_set_meta(struct sconce_mux_handle *h, void *meta, void (*free_meta)(void *meta))
{
	h->meta = meta;
	h->free_meta = free_meta;
}

enum sconce_mux_kind
sconce_mux_kind(const struct sconce_mux_handle *h)
{
	return h->kind;
}

bool
sconce_mux_is_socket(const struct sconce_mux_handle *h)
{
	return !(h->flags & H_NOTSOCK);
}

int
sconce_mux_fd(const struct sconce_mux_handle *h)
{
	return sconce_fd(h->sock);
}

struct sconce_mux *
sconce_mux_of(const struct sconce_mux_handle *h)
{
	return h->mux;
}

struct sconce_sock *
sconce_mux_sock(struct sconce_mux_handle *h)
{
	return h->sock;
}
