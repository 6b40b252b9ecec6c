/* A connection of a fleet: a stream whose hooks tell the fleet's, in the order that sconce/fleet.h promises, and the calls on
 * one. */
#include "fleet_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <sconce/inspect.h>

static const struct sconce_stream_ops record_ops, input_ops;

struct sconce_fleet_conn *
sconce_fleet_conn_of(struct sconce_stream *st)
{
	assert((st->ops == &record_ops || st->ops == &input_ops) && "the stream of a fleet's connection");
	return SCONCE_CONTAINER_OF(st, struct sconce_fleet_conn, stream);
}

static const struct sconce_fleet_ops *
ops_of(const struct sconce_fleet_conn *c)
{
	return c->fleet->ops;
}

static bool
is_ending(const struct sconce_fleet_conn *c)
{
	return c->stream.sock.closed || (sconce_paused(&c->stream.sock) & SCONCE_PAUSE_ENDING);
}

/* ---- ends ---- */

/* Whether all that was written has arrived: closing while some is on its way would let a word of the peer's reset it. */
static bool
all_sent(struct sconce_sock *s)
{
	int n = 0;

	return sconce_queued_items(s) == 0 && (s->fd < 0 || ioctl(s->fd, SIOCOUTQ, &n) < 0 || n == 0);
}

/* What was written still goes out.  With nothing to send there is nothing to wait for. */
static void
close_in_order(struct sconce_fleet_conn *c, int reason, int errnum)
{
	struct sconce_sock *s = &c->stream.sock;

	if (is_ending(c))
		return;
	if (all_sent(s))
		sconce_close_error(s, reason, errnum);
	else
		sconce_close_flush(s, c->fleet->_f->stream.linger);
}

void
sconce__fleet_conn_tell(struct sconce_fleet_conn *c)
{
	if (c->_state & CONN_TOLD)
		return;
	c->_state |= CONN_TOLD;
	if (ops_of(c)->init != NULL)
		ops_of(c)->init(c);
}

/* What may be there again in a moment.  Local ports come back only when one of our connections ends; a local address that
 * cannot be bound to never does. */
static bool
is_shortage(const struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	switch (fail->errnum) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:				/* a unix listener's backlog is full */
		return true;
	case EADDRNOTAVAIL:
		return fail->operation != NULL && strcmp(fail->operation, "connect") == 0 &&
		    c->fleet->connected + c->fleet->failed > c->fleet->closed;
	default:
		return false;
	}
}

bool
sconce__fleet_is_short(const struct sconce_fleet_conn *c)
{
	const struct sconce_fail *fail = sconce_failure(&c->stream.sock);

	return fail != NULL && is_shortage(c, fail);
}

void
sconce__fleet_conn_fail(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	int errnum = fail->errnum;

	sconce__fleet_conn_tell(c);
	if (is_ending(c))
		return;
	c->_state |= CONN_OVER;
	c->fleet->failed++;
	if (is_shortage(c, fail)) {
		c->_state |= CONN_SHORT;
		sconce__fleet_rest(c->fleet->_f);
	}
	if (ops_of(c)->failed != NULL)
		ops_of(c)->failed(c, fail);
	sconce_close_error(&c->stream.sock, SCONCE_REASON_CONNECT, errnum);
}

static void
tell_error(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	if ((c->_state & CONN_OVER) || is_ending(c))
		return;
	c->_state |= CONN_OVER;
	if (ops_of(c)->error != NULL)
		ops_of(c)->error(c, fail);
}

/* ---- the stream's hooks ---- */

static void
conn_event_connect(struct sconce_stream *st, int errnum)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);
	struct sconce_fail fail;

	if (errnum != 0) {
		sconce__fleet_failure(c, "connect", errnum, &fail);
		sconce__fleet_conn_fail(c, &fail);
		return;
	}
	sconce__fleet_conn_tell(c);
	if (is_ending(c))
		return;
	sconce_set_timeout(&st->sock, SCONCE_TIMEOUT_ALARM, 0);
	c->_state |= CONN_OPEN;
	c->fleet->connected++;
	if (ops_of(c)->connected != NULL)
		ops_of(c)->connected(c);
}

static void
conn_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);

	ops_of(c)->record(c, rec);
}

static void
conn_event_input(struct sconce_stream *st, struct sconce_input *in)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);

	if (ops_of(c)->input != NULL)
		ops_of(c)->input(c, in);
	else
		sconce_input_take(in, in->len);
}

static void
conn_event_eof(struct sconce_stream *st, struct sconce_input *left)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);
	struct sconce_fail fail = { .operation = "recv" };

	(void)left;				/* it has been offered */
	snprintf(fail.text, sizeof(fail.text), "recv %.100s: the peer has ended the connection", sconce_fleet_endpoint(c));
	tell_error(c, &fail);
	close_in_order(c, SCONCE_REASON_EOF, 0);
}

/* A reset, or a failed send: there is nobody left to send to. */
static void
conn_event_err(struct sconce_stream *st, int errnum)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);
	struct sconce_fail fail;

	sconce__fleet_failure(c, "recv", errnum, &fail);
	snprintf(fail.text, sizeof(fail.text), "%s %.100s: %s", fail.operation, sconce_fleet_endpoint(c),
	    sconce_strerror(errnum));	/* the kernel may have forgotten the peer */
	tell_error(c, &fail);
	sconce_close_error(&st->sock, SCONCE_REASON_ERROR, errnum);
}

/* The filter cannot go on; sending still works. */
static void
conn_event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);
	struct sconce_fail own = *fail;
	bool too_much = own.errnum == EMSGSIZE || own.errnum == ENOBUFS;

	tell_error(c, &own);
	close_in_order(c, too_much ? SCONCE_REASON_OVERFLOW : SCONCE_REASON_ERROR, own.errnum);
}

static void
conn_event_drain(struct sconce_stream *st)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);

	if (ops_of(c)->drained != NULL)
		ops_of(c)->drained(c);
}

static void
conn_event_timeout(struct sconce_stream *st, enum sconce_timeout_kind kind)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);

	sconce__fleet_conn_tell(c);
	if (is_ending(c) || ((c->_state & CONN_OPEN) && kind == SCONCE_TIMEOUT_ALARM))
		return;				/* an alarm of the program's own has no hook */
	c->_state &= (uint8_t)~CONN_SET;
	c->fleet->timed_out++;
	if (ops_of(c)->timeout != NULL)
		ops_of(c)->timeout(c, sconce_fleet_phase(c));
	if ((c->_state & CONN_SET) && !is_ending(c))
		c->fleet->timed_out--;		/* it has been given more time */
	else if (!is_ending(c))
		sconce_close_error(&st->sock, SCONCE_REASON_TIMEOUT, ETIMEDOUT);
}

static void
conn_event_close(struct sconce_stream *st)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);

	if (c->fleet == NULL)
		return;
	sconce__fleet_conn_tell(c);
	c->fleet->closed++;
	if (ops_of(c)->closed != NULL)
		ops_of(c)->closed(c);
}

/* Takes it off the fleet's list. */
static void
leave(struct sconce__fleet *f, struct sconce_fleet_conn *c)
{
	if (f->untold == c)
		f->untold = c->_next;
	*c->_prevp = c->_next;
	if (c->_next != NULL)
		c->_next->_prevp = c->_prevp;
	else
		f->tail = c->_prevp;
	f->fleet->count--;
}

static void
conn_destroy(struct sconce_stream *st)
{
	struct sconce_fleet_conn *c = sconce_fleet_conn_of(st);
	bool had_fd = !(c->_state & CONN_SHORT);
	struct sconce__fleet *f;

	free(c->_endpoint);
	if (c->fleet == NULL) {			/* nobody's: it never began */
		free(c->arg);
		return;
	}
	f = c->fleet->_f;
	leave(f, c);
	free((char *)c - ops_of(c)->offset);
	sconce__fleet_left(f, had_fd);
}

static int
conn_describe(const struct sconce_stream *st, char *buf, size_t size)
{
	const struct sconce_fleet_conn *c = SCONCE_CONTAINER_OF(st, const struct sconce_fleet_conn, stream);
	char line[256];

	sconce_describe_default(&st->sock, line, sizeof(line));
	return snprintf(buf, size, "%s %s to %s", c->fleet != NULL ? ops_of(c)->name : "fleet", line, sconce_fleet_endpoint(c));
}

#define CONN_OPS \
	.name = "fleet connection", \
	.event_eof = conn_event_eof, \
	.event_fail = conn_event_fail, \
	.event_connect = conn_event_connect, \
	.event_err = conn_event_err, \
	.event_drain = conn_event_drain, \
	.event_timeout = conn_event_timeout, \
	.event_close = conn_event_close, \
	.destroy = conn_destroy, \
	.describe = conn_describe

static const struct sconce_stream_ops record_ops = { CONN_OPS, .event_record = conn_event_record };
static const struct sconce_stream_ops input_ops = { CONN_OPS, .event_input = conn_event_input };

/* ---- making one ---- */

int
sconce__fleet_conn_new(struct sconce__fleet *f, struct sconce_fleet_conn **conn_out)
{
	const struct sconce_fleet_ops *ops = f->fleet->ops;
	char *memory = calloc(1, ops->size);
	struct sconce_fleet_conn *c;
	int r;

	if (memory == NULL)
		return -ENOMEM;
	c = (struct sconce_fleet_conn *)(void *)(memory + ops->offset);
	r = sconce_stream_init(&c->stream, f->fleet->loop, ops->record != NULL ? &record_ops : &input_ops, -1, &f->stream);
	if (r < 0) {
		free(memory);
		return r;
	}
	c->arg = memory;			/* for destroy, while it is nobody's */
	*conn_out = c;
	return 0;
}

void
sconce__fleet_conn_join(struct sconce__fleet *f, struct sconce_fleet_conn *c)
{
	c->fleet = f->fleet;
	c->_prevp = f->tail;
	*f->tail = c;
	f->tail = &c->_next;
	if (f->untold == NULL)
		f->untold = c;
	f->fleet->count++;
	f->fleet->started++;
}

/* ---- the calls ---- */

void
sconce_fleet_shutdown(struct sconce_fleet_conn *c)
{
	close_in_order(c, SCONCE_REASON_LOCAL, 0);
}

uint64_t
sconce_fleet_id(const struct sconce_fleet_conn *c)
{
	return c->stream.sock.id;
}

enum sconce_fleet_phase
sconce_fleet_phase(const struct sconce_fleet_conn *c)
{
	if (is_ending(c) || (c->_state & CONN_OVER))
		return SCONCE_FLEET_ENDING;
	return c->_state & CONN_OPEN ? SCONCE_FLEET_OPEN : SCONCE_FLEET_CONNECTING;
}

const char *
sconce_fleet_endpoint(const struct sconce_fleet_conn *c)
{
	return c->_endpoint != NULL ? c->_endpoint : "";
}

int
sconce_fleet_peer(struct sconce_fleet_conn *c, struct sconce_addr *addr_out)
{
	return c->_state & CONN_OPEN ? sconce_peer(&c->stream.sock, addr_out) : -ENOTCONN;
}

static enum sconce_timeout_kind
kind_of(const struct sconce_fleet_conn *c)
{
	return c->_state & CONN_OPEN ? SCONCE_TIMEOUT_INPUT : SCONCE_TIMEOUT_ALARM;
}

int
sconce_fleet_set_timeout(struct sconce_fleet_conn *c, double secs)
{
	int r = sconce_fleet_phase(c) == SCONCE_FLEET_ENDING ? -EBADF : sconce_set_timeout(&c->stream.sock, kind_of(c), secs);

	if (r == 0)
		c->_state |= CONN_SET;
	return r;
}

double
sconce_fleet_timeout(const struct sconce_fleet_conn *c)
{
	return sconce_fleet_phase(c) == SCONCE_FLEET_ENDING ? 0 : sconce_timeout(&c->stream.sock, kind_of(c));
}

struct sconce_fleet_conn *
sconce_fleet_find(struct sconce_fleet *fleet, uint64_t id)
{
	struct sconce_sock *s = sconce_find(fleet->loop, id);
	struct sconce_stream *st = s != NULL && sconce_stream_is(s) ? sconce_stream_of(s) : NULL;
	struct sconce_fleet_conn *c;

	if (st == NULL || (st->ops != &record_ops && st->ops != &input_ops))
		return NULL;
	c = sconce_fleet_conn_of(st);
	return c->fleet == fleet ? c : NULL;
}

int
sconce_fleet_send(struct sconce_fleet *fleet, uint64_t id, const void *data, size_t len)
{
	struct sconce_fleet_conn *c = sconce_fleet_find(fleet, id);

	return c != NULL ? sconce_stream_put_bytes(&c->stream, data, len) : -ENOENT;
}
