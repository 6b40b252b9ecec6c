/* The handles: what their hooks make of what happens, what they have ready, and their ends.
 *
 *	hook --> on the ready list --sconce__mux_pull--> READ, CAN_READ ...          nothing is read before it is asked for
 *	     --> queued: READY, SENT, ERROR
 *
 * Ends.  When the input of a stream has ended, the socket stays open for output until CLOSING has been taken; in all other cases it is
 * closed first, and its fd held.  What is left then runs in the loop, and its event_close queues CLOSED:
 *
 *	end of input --------> CLOSING ..taken..> sconce_close(), or sconce_close_flush() ----------+
 *	failed, close -------> sconce_close(), held; CLOSING ..taken..> sconce_release_fd() --------+--> event_close: CLOSED ..taken..> destroy
 *	kill ----------------> sconce_close() ------------------------------------------------------+
 */
#include "mux_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sconce_mux_handle *
of_stream(struct sconce_stream *st)
{
	return &SCONCE_CONTAINER_OF(st, struct stream_handle, stream)->h;
}

static struct sconce_mux_handle *
of_dgram(struct sconce_dgram *d)
{
	return &SCONCE_CONTAINER_OF(d, struct dgram_handle, dgram)->h;
}

static struct listener_handle *
of_listener(struct sconce_listener *l)
{
	return SCONCE_CONTAINER_OF(l, struct listener_handle, listener);
}

struct sconce_stream *
sconce__mux_stream(struct sconce_mux_handle *h)
{
	return sconce_stream_of(h->sock);
}

struct sconce_dgram *
sconce__mux_dgram(struct sconce_mux_handle *h)
{
	return sconce_dgram_of(h->sock);
}

/* ---- lists ---- */

void
sconce__mux_ready(struct sconce_mux_handle *h)
{
	if (h->flags & (H_READY | H_CLOSING | H_KILLED | H_CLOSED | H_GONE))
		return;
	h->flags |= H_READY;
	TAILQ_INSERT_TAIL(&h->mux->ready, h, ready);
}

static void
unready(struct sconce_mux_handle *h)
{
	if (h->flags & H_READY)
		TAILQ_REMOVE(&h->mux->ready, h, ready);
	h->flags &= ~(unsigned)(H_READY | H_CAN_READ | H_CAN_WRITE);
}

void
sconce__mux_work(struct sconce_mux_handle *h, unsigned why)
{
	if (!(h->flags & H_WORK))
		TAILQ_INSERT_TAIL(&h->mux->work, h, work);
	h->flags |= H_WORK | why;
}

void
sconce__mux_quiet(struct sconce_mux_handle *h)
{
	unready(h);
	if (h->flags & H_WORK)
		TAILQ_REMOVE(&h->mux->work, h, work);
	h->flags &= ~(unsigned)(H_WORK | H_FLUSH | H_FINISH | H_BEGIN);
	if (h->watch != NULL)
		sconce_watch_stop(h->watch);
}

/* ---- events ---- */

void
sconce__mux_begin(struct sconce_mux_handle *h)
{
	if (!(h->flags & H_BEGIN))
		return;
	h->flags &= ~(unsigned)H_BEGIN;
	sconce__mux_queue(h->mux, SCONCE_EVENT_READY, h, NULL);
}

void
sconce__mux_sent(struct sconce_mux_handle *h)
{
	if (h->flags & (H_SHUT | H_KILLED | H_CLOSED | H_GONE))
		return;
	sconce__mux_begin(h);
	sconce__mux_queue(h->mux, SCONCE_EVENT_SENT, h, NULL);
}

/* ERROR, with a copy of what is known; without memory the socket's record has to do. */
static void
queue_error(struct sconce_mux_handle *h, const struct sconce_fail *fail, const struct sconce_dgram_error *error)
{
	size_t len = error != NULL ? error->len : 0;
	struct error_detail *d = malloc(sizeof(*d) + len);

	if (d != NULL) {
		d->fail = *fail;
		d->error = error != NULL ? *error : (struct sconce_dgram_error){ .operation = NULL };
		if (len > 0)
			memcpy(d->data, error->data, len);
		d->error.data = len > 0 ? d->data : NULL;
	}
	sconce__mux_queue(h->mux, SCONCE_EVENT_ERROR, h, d);
}

/* The record of what has happened to the socket, or one that is made of the errno. */
static struct sconce_fail
failure(const struct sconce_mux_handle *h, const char *operation, int errnum)
{
	const struct sconce_fail *known = sconce_failure(h->sock);
	struct sconce_fail fail = { .operation = operation, .errnum = errnum };

	if (known != NULL && known->errnum == errnum)
		return *known;
	snprintf(fail.text, sizeof(fail.text), "%s fd %d: %s", operation, sconce_fd(h->sock), sconce_strerror(errnum));
	return fail;
}

/* ---- ends ---- */

void
sconce__mux_flush(struct sconce_mux_handle *h)
{
	h->flags &= ~(unsigned)H_FLUSH;
	if (sconce_dgram_flush(sconce__mux_dgram(h)) == SCONCE_SENT)
		sconce__mux_sent(h);
}

void
sconce__mux_unhold(struct sconce_mux_handle *h)
{
	if (h->flags & H_HELD)
		sconce_release_fd(h->sock);
	h->flags &= ~(unsigned)H_HELD;
}

void
sconce__mux_shut(struct sconce_mux_handle *h, int reason)
{
	if (h->flags & H_FLUSH)
		sconce__mux_flush(h);
	sconce__mux_quiet(h);
	if (h->kind == SCONCE_MUX_DGRAM)
		h->missing = sconce_dgram_queued(sconce__mux_dgram(h));
	sconce_hold_fd(h->sock);
	sconce_close(h->sock, reason);
	if (h->kind == SCONCE_MUX_STREAM)
		h->missing = h->sock->unsent;
	h->reason = reason;
	h->flags |= H_CLOSING | H_SHUT | H_HELD;
	sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSING, h, NULL);
}

void
sconce__mux_end(struct sconce_mux_handle *h, int reason)
{
	unready(h);
	h->reason = reason;
	h->flags |= H_CLOSING;
	sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSING, h, NULL);
}

/* What the filter has not made a record of. */
static void
queue_left(struct sconce_mux_handle *h)
{
	if (h->kind == SCONCE_MUX_STREAM && sconce_stream_input(sconce__mux_stream(h))->len > 0)
		sconce__mux_queue(h->mux, SCONCE_EVENT_READ_LAST, h, NULL);
}

/* A stream is broken: ERROR, what was cut off, CLOSING, CLOSED. */
static void
broken(struct sconce_mux_handle *h, const char *operation, int errnum, int reason)
{
	struct sconce_fail fail = failure(h, operation, errnum);

	queue_error(h, &fail, NULL);
	queue_left(h);
	sconce__mux_shut(h, reason);
}

/* The filter has given up: what it has left, and the peer may still be told why. */
static void
unreadable(struct sconce_mux_handle *h, int errnum)
{
	struct sconce_fail fail = failure(h, "filter", errnum);

	queue_error(h, &fail, NULL);
	queue_left(h);
	sconce__mux_end(h, errnum == EMSGSIZE || errnum == ENOBUFS ? SCONCE_REASON_OVERFLOW : SCONCE_REASON_ERROR);
}

/* What sconce_stream_next() has returned when it was no record. */
static void
no_more(struct sconce_mux_handle *h, int r)
{
	if (r == 0 || r == -EBADF)
		return;
	if (r != -ENODATA && h->sock->errnum != 0) {
		broken(h, "recv", -r, SCONCE_REASON_ERROR);
	} else if (r != -ENODATA) {
		unreadable(h, -r);
	} else {
		sconce__mux_end(h, SCONCE_REASON_EOF);
	}
}

/* What was written while it was closing has gone. */
static void
last_sent(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	if (status == 0)
		sconce__mux_sent(arg);
}

void
sconce__mux_finish(struct sconce_mux_handle *h)
{
	h->flags &= ~(unsigned)H_FINISH;
	if (h->flags & H_SHUT) {
		sconce__mux_unhold(h);
	} else if (sconce_queued(h->sock) > 0) {
		sconce_write_cb(h->sock, last_sent, h);
		sconce_close_flush(h->sock, h->linger);
	} else if (h->flags & H_ANSWERED) {
		sconce_close_flush(h->sock, h->linger);	/* with input unread, a close would be a reset */
	} else {
		sconce_close(h->sock, h->reason);
	}
}

/* Every handle ends here. */
static void
closed(struct sconce_mux_handle *h, uint64_t missing)
{
	if (h->flags & (H_GONE | H_CLOSED))
		return;
	sconce__mux_quiet(h);
	if (h->kind != SCONCE_MUX_DGRAM)
		h->missing = missing;
	if (h->reason == 0 || h->sock->reason == SCONCE_REASON_TIMEOUT || h->sock->reason == SCONCE_REASON_ERROR)
		h->reason = h->sock->reason;
	if (!(h->flags & (H_CLOSING | H_KILLED)))	/* not by us: a listener that cannot go on, a timeout, the loop's end */
		sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSING, h, NULL);
	h->flags |= H_CLOSING | H_CLOSED;
	sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSED, h, NULL);
}

void
sconce__mux_let_go(struct sconce_mux_handle *h)
{
	struct sconce_mux *m = h->mux;

	sconce__mux_quiet(h);
	h->flags |= H_GONE;
	TAILQ_REMOVE(&m->all, h, all);
	m->count--;
	if (h->free_meta != NULL)
		h->free_meta(h->meta);
	h->free_meta = NULL;
	sconce__mux_unhold(h);
	sconce_close(h->sock, SCONCE_REASON_LOCAL);
	sconce_release(h->sock);
}

static void
destroyed(struct sconce_mux_handle *h)
{
	struct sconce_mux *m = h->mux;

	if (!(h->flags & H_GONE)) {		/* the loop goes */
		TAILQ_REMOVE(&m->all, h, all);
		m->count--;
		if (h->free_meta != NULL)
			h->free_meta(h->meta);
	}
	free(h->watch);
	free(h);
	sconce__mux_destroyed(m);
}

/* ---- hooks of streams ---- */

static void
stream_event_ready(struct sconce_stream *st)
{
	struct sconce_mux_handle *h = of_stream(st);

	if (!(h->flags & H_NO_INPUT))
		sconce__mux_ready(h);
	else if (st->sock.errnum != 0 && !(h->flags & H_CLOSING))
		broken(h, "send", st->sock.errnum, SCONCE_REASON_ERROR);
}

static void
stream_event_hup(struct sconce_stream *st)
{
	struct sconce_mux_handle *h = of_stream(st);

	if ((h->flags & (H_NO_INPUT | H_MANUAL_READ | H_CLOSING)) == H_NO_INPUT)
		sconce__mux_shut(h, SCONCE_REASON_HUP);
}

static void
stream_event_connect(struct sconce_stream *st, int errnum)
{
	struct sconce_mux_handle *h = of_stream(st);

	if (errnum == 0)
		errnum = -sconce__mux_watch(h);
	if (errnum == 0)
		sconce__mux_begin(h);
	else
		broken(h, "connect", errnum, SCONCE_REASON_CONNECT);
}

static void
stream_event_timeout(struct sconce_stream *st, enum sconce_timeout_kind kind)
{
	struct sconce_mux_handle *h = of_stream(st);

	if (kind == SCONCE_TIMEOUT_ALARM || (h->flags & H_CLOSING))
		return;
	broken(h, kind == SCONCE_TIMEOUT_OUTPUT ? "send" : "recv", ETIMEDOUT, SCONCE_REASON_TIMEOUT);
}

static void
stream_event_drain(struct sconce_stream *st)
{
	sconce__mux_sent(of_stream(st));
}

static void
stream_event_close(struct sconce_stream *st)
{
	closed(of_stream(st), st->sock.unsent);
}

static void
stream_destroy(struct sconce_stream *st)
{
	destroyed(of_stream(st));
}

const struct sconce_stream_ops sconce__mux_stream_ops = {
	.name = "mux stream",
	.event_ready = stream_event_ready,
	.event_hup = stream_event_hup,
	.event_connect = stream_event_connect,
	.event_timeout = stream_event_timeout,
	.event_drain = stream_event_drain,
	.event_close = stream_event_close,
	.destroy = stream_destroy,
};

/* ---- hooks of datagram sockets ---- */

static void
dgram_event_ready(struct sconce_dgram *d)
{
	struct sconce_mux_handle *h = of_dgram(d);

	if (!(h->flags & H_NO_INPUT))
		sconce__mux_ready(h);
}

static void
dgram_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	struct sconce_mux_handle *h = of_dgram(d);
	struct sconce_fail fail = failure(h, e->operation, e->errnum);

	if (!(h->flags & (H_CLOSING | H_KILLED | H_GONE)) && sconce__mux_reserve(h->mux, 0, 1) == 0)
		queue_error(h, &fail, e);
}

static uint64_t
dgram_session(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	struct sconce_mux_handle *h = of_dgram(d);

	return h->session != NULL ? h->session(h, p) : 0;
}

static void
dgram_event_connect(struct sconce_dgram *d, int errnum)
{
	struct sconce_mux_handle *h = of_dgram(d);

	if (errnum == 0)
		errnum = -sconce__mux_watch(h);
	if (errnum != 0)
		broken(h, "connect", errnum, SCONCE_REASON_CONNECT);
}

static void
dgram_event_drain(struct sconce_dgram *d)
{
	sconce__mux_sent(of_dgram(d));
}

static void
dgram_event_close(struct sconce_dgram *d)
{
	closed(of_dgram(d), 0);
}

static void
dgram_destroy(struct sconce_dgram *d)
{
	destroyed(of_dgram(d));
}

const struct sconce_dgram_ops sconce__mux_dgram_ops = {
	.name = "mux datagrams",
	.event_ready = dgram_event_ready,
	.event_error = dgram_event_error,
	.session = dgram_session,
	.event_connect = dgram_event_connect,
	.event_drain = dgram_event_drain,
	.event_close = dgram_event_close,
	.destroy = dgram_destroy,
};

/* ---- hooks of listeners ---- */

static int
listener_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	return sconce__mux_accept(of_listener(l), fd, peer);
}

static void
listener_event_fail(struct sconce_listener *l, const struct sconce_fail *fail)
{
	struct sconce_mux_handle *h = &of_listener(l)->h;

	if (sconce__mux_reserve(h->mux, 0, 1) == 0)
		queue_error(h, fail, NULL);
}

static void
listener_event_close(struct sconce_listener *l)
{
	closed(&of_listener(l)->h, 0);
}

static void
listener_destroy(struct sconce_listener *l)
{
	struct listener_handle *lh = of_listener(l);

	sconce_filter_unref(lh->children.filter);
	sconce_filter_unref(lh->children.out_filter);
	destroyed(&lh->h);
}

const struct sconce_listener_ops sconce__mux_listener_ops = {
	.name = "mux listener",
	.accept = listener_accept,
	.event_fail = listener_event_fail,
	.event_close = listener_event_close,
	.destroy = listener_destroy,
};

/* ---- what is ready ---- */

static void
give_record(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	struct sconce_mux *m = h->mux;
	const struct sconce_filter *f = sconce_stream_filter(sconce__mux_stream(h));
	bool last = (m->record.flags & SCONCE_RECORD_LAST) && sconce_filter_returns_last(f);

	ev->type = last ? SCONCE_EVENT_READ_LAST : SCONCE_EVENT_READ;
	ev->data = m->record.data;
	ev->len = m->record.len;
	ev->record = f != NULL ? &m->record : NULL;
}

static bool
pull_record(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	int r = sconce_stream_next(sconce__mux_stream(h), &h->mux->record);

	if (r == 1)
		give_record(h, ev);
	else
		no_more(h, r);
	return r == 1;
}

static bool
pull_datagram(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	struct sconce_datagram *p = &h->mux->datagram;

	if (sconce_dgram_next(sconce__mux_dgram(h), p) != 1)
		return false;
	ev->type = SCONCE_EVENT_READ;
	ev->data = p->data;
	ev->len = p->len;
	ev->datagram = p;
	ev->from = &p->from;
	ev->session = p->session;
	return true;
}

bool
sconce__mux_pull(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	if (h->flags & H_CAN_READ) {
		h->flags &= ~(unsigned)H_CAN_READ;
		ev->type = h->kind == SCONCE_MUX_LISTENER ? SCONCE_EVENT_ACCEPTING : SCONCE_EVENT_CAN_READ;
		return true;
	}
	if (h->flags & H_CAN_WRITE) {
		h->flags &= ~(unsigned)H_CAN_WRITE;
		ev->type = SCONCE_EVENT_CAN_WRITE;
		return true;
	}
	if (h->flags & (H_NO_INPUT | H_PAUSED))
		return false;
	return h->kind == SCONCE_MUX_DGRAM ? pull_datagram(h, ev) : pull_record(h, ev);
}
