/* The handles: what their hooks make of what happens, and their ends.  What they have ready is in ready.c.
 *
 *	hook --> told of: READ, CAN_READ ...
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
	if (h->kind == SCONCE_MUX_DGRAM && !(h->flags & H_UNSENT))
		return;				/* told: a flush and the drain of what had waited may both have found it empty */
	h->flags &= ~(unsigned)H_UNSENT;
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

/* Names who is at the other end, as far as that is known. */
static void
put_peer(const struct sconce_mux_handle *h, const struct sconce_addr *to, char *buf, size_t size)
{
	struct sconce_addr a = { .len = 0 };

	if (to != NULL && to->len > 0)
		a = *to;
	else if (sconce_peer(h->sock, &a) < 0)
		a.len = 0;
	if (a.len > sizeof(sa_family_t))
		sconce_addr_text(&a, buf, size);
	else
		snprintf(buf, size, "fd %d", sconce_fd(h->sock));
}

static struct sconce_fail
fail_of(const struct sconce_mux_handle *h, const char *operation, int errnum, const struct sconce_addr *to,
	const char *what)
{
	struct sconce_fail fail = { .operation = operation, .errnum = errnum };
	char peer[SCONCE_ADDR_TEXT];
	size_t at;

	put_peer(h, to, peer, sizeof(peer));
	snprintf(fail.text, sizeof(fail.text), "%s %s", operation, peer);
	at = strlen(fail.text);
	snprintf(fail.text + at, sizeof(fail.text) - at, ": %s", what);
	return fail;
}

/* The record of what has happened to the socket, or one that is made of the errno. */
static struct sconce_fail
failure(const struct sconce_mux_handle *h, const char *operation, int errnum, const struct sconce_addr *to)
{
	const struct sconce_fail *known = sconce_failure(h->sock);

	if (known != NULL && known->errnum == errnum)
		return *known;
	return fail_of(h, operation, errnum, to, sconce_strerror(errnum));
}

static struct sconce_fail
timeout_failure(const struct sconce_mux_handle *h, enum sconce_timeout_kind kind)
{
	const char *what = kind == SCONCE_TIMEOUT_INPUT ? "no input for" : kind == SCONCE_TIMEOUT_OUTPUT ?
	    "no output was taken for" : "still open after";
	char text[64];

	snprintf(text, sizeof(text), "%s %g s", what, sconce_timeout(h->sock, kind));
	return fail_of(h, kind == SCONCE_TIMEOUT_OUTPUT ? "send" : "recv", ETIMEDOUT, NULL, text);
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

/* Datagrams that were accepted, did not leave, and no ERROR was of. */
static uint64_t
dgram_missing(const struct sconce_mux_handle *h)
{
	const struct dgram_handle *d = SCONCE_CONTAINER_OF(h, const struct dgram_handle, h);

	return sconce_dgram_queued(&d->dgram) + d->dgram.lost - d->told;
}

/* Closed, but for the fd, which waits until CLOSING has been taken. */
static void
close_held(struct sconce_mux_handle *h, int reason)
{
	if (h->kind == SCONCE_MUX_DGRAM)
		h->missing = dgram_missing(h);
	sconce_hold_fd(h->sock);
	sconce_close(h->sock, reason);
	if (h->kind == SCONCE_MUX_STREAM)
		h->missing = h->sock->unsent;
	h->reason = reason;
	h->flags |= H_CLOSING | H_SHUT | H_HELD;
}

void
sconce__mux_shut(struct sconce_mux_handle *h, int reason)
{
	if (h->flags & H_FLUSH)
		sconce__mux_flush(h);
	sconce__mux_quiet(h);
	close_held(h, reason);
	sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSING, h, NULL);
}

void
sconce__mux_end(struct sconce_mux_handle *h, int reason)
{
	sconce__mux_unready(h);
	sconce__mux_unwatch(h);
	sconce_pause(h->sock, SCONCE_PAUSE_APP);	/* nobody will ask for more */
	h->reason = reason;
	h->flags = (h->flags | H_CLOSING) & ~(unsigned)H_BEGIN;
	sconce__mux_queue(h->mux, SCONCE_EVENT_CLOSING, h, NULL);
}

/* What the filter has not made a record of. */
static void
queue_left(struct sconce_mux_handle *h)
{
	if (h->kind == SCONCE_MUX_STREAM && sconce_stream_input(sconce__mux_stream(h))->len > 0)
		sconce__mux_queue(h->mux, SCONCE_EVENT_READ_LAST, h, NULL);
}

/* It is broken: ERROR, what was cut off of a stream, CLOSING, CLOSED. */
static void
broken(struct sconce_mux_handle *h, const struct sconce_fail *fail, int reason)
{
	queue_error(h, fail, NULL);
	queue_left(h);
	sconce__mux_shut(h, reason);
}

static void
failed(struct sconce_mux_handle *h, const char *operation, int errnum, int reason)
{
	struct sconce_fail fail = failure(h, operation, errnum, NULL);

	broken(h, &fail, reason);
}

/* The filter has given up: what it has left, and the peer may still be told why. */
static void
unreadable(struct sconce_mux_handle *h, int errnum)
{
	struct sconce_fail fail = failure(h, "filter", errnum, NULL);

	queue_error(h, &fail, NULL);
	queue_left(h);
	sconce__mux_end(h, errnum == EMSGSIZE || errnum == ENOBUFS ? SCONCE_REASON_OVERFLOW : SCONCE_REASON_ERROR);
}

void
sconce__mux_no_more(struct sconce_mux_handle *h, int r)
{
	if (r == 0 || r == -EBADF)
		return;
	if (r != -ENODATA && h->sock->errnum != 0) {
		failed(h, "recv", -r, SCONCE_REASON_ERROR);
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

/* What may happen while output lingers, and then is the reason. */
static bool
is_failure(int reason)
{
	return reason == SCONCE_REASON_TIMEOUT || reason == SCONCE_REASON_ERROR || reason == SCONCE_REASON_CONNECT;
}

/* Every handle ends here. */
static void
closed(struct sconce_mux_handle *h, uint64_t missing)
{
	if (h->flags & (H_GONE | H_CLOSED))
		return;
	sconce__mux_quiet(h);
	h->missing = missing;
	if (h->reason == 0 || (!(h->flags & H_KILLED) && is_failure(h->sock->reason)))
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
	h->flags |= H_GONE | H_KILLED;
	TAILQ_REMOVE(&m->all, h, all);
	m->count--;
	sconce__mux_unhold(h);
	sconce_close(h->sock, SCONCE_REASON_LOCAL);
	if (h->free_meta != NULL)
		h->free_meta(h->meta);
	h->free_meta = NULL;
	sconce__mux_purge(h, false);
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
		sconce__mux_told(h);
	else if (st->sock.errnum != 0 && !(h->flags & H_CLOSING))
		failed(h, "send", st->sock.errnum, SCONCE_REASON_ERROR);
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

	if (h->flags & H_CLOSING) {		/* it was to be closed: nothing more to tell but the reason */
		if (errnum != 0)
			close_held(h, SCONCE_REASON_CONNECT);
		return;
	}
	if (errnum == 0)
		errnum = -sconce__mux_watch(h);
	if (errnum == 0)
		sconce__mux_begin(h);
	else
		failed(h, "connect", errnum, SCONCE_REASON_CONNECT);
}

/* But for the alarm, a timeout is an end. */
static void
timed_out(struct sconce_mux_handle *h, enum sconce_timeout_kind kind)
{
	struct sconce_fail fail;

	if (kind == SCONCE_TIMEOUT_ALARM || (h->flags & H_CLOSING))
		return;
	fail = timeout_failure(h, kind);
	broken(h, &fail, SCONCE_REASON_TIMEOUT);
}

static void
stream_event_timeout(struct sconce_stream *st, enum sconce_timeout_kind kind)
{
	timed_out(of_stream(st), kind);
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
		sconce__mux_told(h);
}

static void
dgram_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	struct sconce_mux_handle *h = of_dgram(d);
	struct sconce_fail fail = failure(h, e->operation, e->errnum, &e->to);

	if ((h->flags & (H_CLOSING | H_KILLED | H_GONE)) || sconce__mux_reserve(h->mux, 0, 1) < 0)
		return;
	queue_error(h, &fail, e);
	SCONCE_CONTAINER_OF(d, struct dgram_handle, dgram)->told = d->lost;
}

void
sconce__mux_starved(struct sconce_mux_handle *h)
{
	struct sconce_fail fail = fail_of(h, "recv", ENOMEM, NULL, sconce_strerror(ENOMEM));

	if ((h->flags & H_STARVED) || sconce__mux_reserve(h->mux, 0, 1) < 0)
		return;
	queue_error(h, &fail, NULL);
	h->flags |= H_STARVED;
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
		failed(h, "connect", errnum, SCONCE_REASON_CONNECT);
}

static void
dgram_event_timeout(struct sconce_dgram *d, enum sconce_timeout_kind kind)
{
	timed_out(of_dgram(d), kind);
}

static void
dgram_event_drain(struct sconce_dgram *d)
{
	sconce__mux_sent(of_dgram(d));
}

static void
dgram_event_close(struct sconce_dgram *d)
{
	struct sconce_mux_handle *h = of_dgram(d);

	closed(h, dgram_missing(h));
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
	.event_timeout = dgram_event_timeout,
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
