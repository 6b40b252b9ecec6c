/* The stream: a socket object that reads, and gives records or bytes to consume from the left.
 *
 *	kernel --fill--> framer's input --drain--> event_record, one at a time
 *	                                           event_input, all that waits
 *	                                --sconce_stream_next--> whoever pulls (event_ready)
 *
 * What the loop reads for hooks goes to scratch memory of the loop's and is lent to the framer; what the hooks leave of it is copied when they
 * are done, so that an idle stream owns no memory.  Records that wait for nothing but their turn (a budget is used up, reads were paused
 * between two, the filter was changed) are asked for again through sconce_offer(): ST_MORE says that an event_read is for them. */
#include "stream_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/inspect.h>
#include <sconce/raw.h>

enum { READS_DEFAULT = 10, RECORDS_DEFAULT = 256, RAW_BUFFER = 1 << 20 };
static const double linger_default = 30;

enum {
	ST_MORE = 1,			/* what waits is to be looked at again, without a read */
	ST_DRAINING = 2,		/* hooks are being given records: they go on by themselves */
	ST_SHORT = 4,			/* the kernel had no more than the last read */
	ST_END = 8,			/* the end of input, or an error, has been read */
	ST_OVER = 16			/* it has been told, or the input has failed: nothing is read any more */
};

static const struct sconce_sock_ops stream_sock_ops;

bool
sconce_stream_is(const struct sconce_sock *s)
{
	return s->ops == &stream_sock_ops;
}

struct sconce_stream *
sconce_stream_of(struct sconce_sock *s)
{
	assert(s->ops == &stream_sock_ops && "the base of a stream");
	return SCONCE_CONTAINER_OF(s, struct sconce_stream, sock);
}

/* ---- ends ---- */

/* The input cannot go on: r is the -errno. */
static void
give_up(struct sconce_stream *st, int r)
{
	const struct sconce_stream_ops *ops = st->ops;
	int errnum = -r;

	st->_state |= ST_OVER;
	st->_state &= ~ST_MORE;
	if (st->sock.closed || (sconce_paused(&st->sock) & SCONCE_PAUSE_ENDING))
		return;					/* a hook has ended it: no other follows */
	sconce_watch_read(&st->sock, false);
	sconce_set_failure(&st->sock, "filter", errnum, errnum == ENOBUFS ? "more input waits than may" : sconce_framer_error(&st->_framer));
	if (ops->event_ready != NULL) {
		st->_errnum = (uint16_t)errnum;		/* sconce_stream_next() tells */
		return;
	}
	if (ops->event_fail != NULL) {
		struct sconce_fail none = { .operation = "filter", .errnum = errnum };
		const struct sconce_fail *fail = sconce_failure(&st->sock);

		snprintf(none.text, sizeof(none.text), "filter: %s", sconce_strerror(errnum));
		ops->event_fail(st, fail != NULL ? fail : &none);
	} else {
		sconce_close_error(&st->sock, errnum == EMSGSIZE || errnum == ENOBUFS ? SCONCE_REASON_OVERFLOW : SCONCE_REASON_ERROR, errnum);
	}
}

static void
tell_err(struct sconce_stream *st)
{
	int errnum = st->_errnum;

	st->_errnum = 0;
	if (st->ops->event_err != NULL)
		st->ops->event_err(st, errnum);
	else
		sconce_close_error(&st->sock, SCONCE_REASON_ERROR, errnum);
}

/* All that came before the end has been taken. */
static void
finish(struct sconce_stream *st)
{
	struct sconce_sock *out = sconce_stream_out(st);

	st->_state |= ST_OVER;
	if (st->ops->event_eof != NULL)
		st->ops->event_eof(st, &st->_framer.in);
	if (st->sock.closed || ((sconce_paused(&st->sock) | sconce_paused(out)) & SCONCE_PAUSE_ENDING))
		return;					/* the hook has seen to it */
	if (st->_eof == SCONCE_EOF_CLOSE)
		sconce_close(&st->sock, SCONCE_REASON_EOF);
	else if (st->_eof == SCONCE_EOF_FLUSH_CLOSE)
		sconce_close_flush(out, st->_linger);	/* the other fd closes the stream when it has gone */
}

/* ---- input ---- */

static bool
is_stopped(const struct sconce_stream *st)
{
	return st->sock.closed || (sconce_paused(&st->sock) & ~(unsigned)SCONCE_PAUSE_END) != 0;
}

/* Asks that what waits be looked at though nothing new comes.  0 or -errno. */
static int
ask_again(struct sconce_stream *st)
{
	int r = sconce_offer(&st->sock);

	if (r == 0)
		st->_state |= ST_MORE;
	return r;
}

static void
later(struct sconce_stream *st)
{
	int r = ask_again(st);

	if (r < 0 && r != -EBADF)
		give_up(st, r);
}

static size_t
read_size(const struct sconce_stream *st)
{
	return st->_read_size > 0 ? st->_read_size : SCONCE_READ_SHARED;
}

/* Lends what a read has given.  The bytes; 0 at the end; -EAGAIN; -EINPROGRESS when the stream has given up; another -errno, which
 * event_err tells too. */
static ssize_t
filled(struct sconce_stream *st, const void *data, ssize_t n)
{
	int r = 0;

	if (n > 0)
		r = sconce_framer_lend(&st->_framer, data, (size_t)n);
	else if (n == -ENOMEM)
		r = -ENOMEM;
	if (r < 0) {
		give_up(st, r);
		return -EINPROGRESS;
	}
	if (n == 0)
		st->_state |= ST_END;
	if (n == 0 && st->_errnum == 0)
		sconce_framer_end(&st->_framer);	/* behind an error the rest is no last record: it was cut off */
	return n;
}

/* Gives records until there is none, they are not wanted now, or others are to have their turn. */
static void
drain_records(struct sconce_stream *st)
{
	struct sconce_record rec;
	int r = 0;

	for (uint32_t given = 0;; given++) {
		if (is_stopped(st) || given == st->_max_records) {
			later(st);
			return;
		}
		r = sconce_framer_next(&st->_framer, &rec);
		if (r != 1)
			break;
		st->ops->event_record(st, &rec);
		if (st->sock.closed)
			return;
	}
	if (r < 0)
		give_up(st, r);
}

static void
drain(struct sconce_stream *st)
{
	st->_state = (uint8_t)((st->_state & ~ST_MORE) | ST_DRAINING);
	if (st->ops->event_record != NULL)
		drain_records(st);
	else if (st->_framer.in.len > 0)
		st->ops->event_input(st, &st->_framer.in);
	st->_state &= ~ST_DRAINING;
}

/* What is lent goes back: keeps what the hooks have left. */
static void
keep(struct sconce_stream *st)
{
	if (sconce_framer_settle(&st->_framer) == 0)
		return;
	sconce_input_take(&st->_framer.in, st->_framer.in.len);
	if (!(st->_state & ST_OVER) && !st->sock.closed)
		give_up(st, -ENOMEM);
}

/* One read, and what comes of it.  The loop's scratch memory is taken for the time: whatever the hooks do, nobody else reads into it.
 * True: the read was full, there may be more. */
static bool
read_once(struct sconce_stream *st)
{
	struct sconce_loop *loop = st->sock.loop;
	size_t size = read_size(st);
	char *scratch = sconce_scratch_take(loop, size);
	ssize_t n = filled(st, scratch, scratch != NULL ? sconce_read(&st->sock, scratch, size) : -ENOMEM);

	/* raw input that was left has been offered; event_eof is next */
	if (n > 0 || (n == 0 && st->ops->event_record != NULL))
		drain(st);
	keep(st);
	sconce_scratch_give(loop, scratch);
	return n > 0 && (size_t)n == size;
}

/* Tells what came behind the input. */
static void
tell_end(struct sconce_stream *st)
{
	if (st->sock.closed || (st->_state & (ST_MORE | ST_OVER)) || is_stopped(st))
		return;
	if (st->_errnum != 0)
		tell_err(st);
	if ((st->_state & ST_END) && !st->sock.closed)
		finish(st);
}

static void
stream_event_read(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	st->_state &= ~ST_SHORT;
	if (st->_state & ST_OVER) {
		sconce_watch_read(s, false);		/* somebody has turned it on again */
		return;
	}
	if (st->ops->event_ready != NULL) {
		st->_state &= ~ST_MORE;
		st->ops->event_ready(st);
		return;
	}
	if (st->_state & ST_MORE) {
		drain(st);
		keep(st);
	} else {
		read_once(st);
	}
	tell_end(st);
}

/* ---- pulling ---- */

/* What is there without a read: 1, 0 or -errno. */
static int
take(struct sconce_stream *st, struct sconce_record *rec_out)
{
	struct sconce_framer *fr = &st->_framer;
	int r;

	if (fr->filter == NULL) {
		memset(rec_out, 0, sizeof(*rec_out));
		return sconce_input_record(&fr->in, rec_out);
	}
	r = sconce_framer_next(fr, rec_out);
	if (r < 0)
		give_up(st, r);
	return r;
}

/* Whether a read would find nothing, or is not to be made now. */
static bool
must_wait(struct sconce_stream *st, unsigned reads)
{
	/* after a failed send what the peer had said before is read whole, and then the error is told */
	if (((st->_state & ST_SHORT) && st->_errnum == 0) || is_stopped(st))
		return true;
	if (reads < st->_max_reads)
		return false;
	later(st);
	return true;
}

/* One read into memory of the stream's own. */
static ssize_t
read_limited(struct sconce_stream *st, const void **data_out)
{
	if (st->_room == NULL)
		st->_room = malloc(st->_read_size);
	if (st->_room == NULL)
		return -ENOMEM;
	*data_out = st->_room;
	return sconce_read(&st->sock, st->_room, st->_read_size);
}

/* One read for sconce_stream_next(). */
static void
pull(struct sconce_stream *st)
{
	const void *data = NULL;
	ssize_t n = st->_read_size == 0 ? sconce_read_shared(&st->sock, &data) : read_limited(st, &data);

	n = filled(st, data, n);
	if (n == -EAGAIN || (n > 0 && (size_t)n < read_size(st)))
		st->_state |= ST_SHORT;
	if (n == -EAGAIN && st->_errnum != 0)
		st->_state |= ST_OVER;			/* a send has failed, and what the peer had said before has been read */
	if (n < 0 && n != -EAGAIN && n != -EINPROGRESS) {
		st->_errnum = (uint16_t)-n;
		st->_state |= ST_END;
	}
}

int
sconce_stream_next(struct sconce_stream *st, struct sconce_record *rec_out)
{
	int r;

	assert(st->ops->event_ready != NULL && "only types with event_ready pull");
	if (st->sock.closed)
		return -EBADF;
	keep(st);					/* the record before is no longer borrowed */
	for (unsigned reads = 0; !(st->_state & ST_OVER); reads++) {
		r = take(st, rec_out);
		if (r == 1 && st->_framer.in.len > 0)
			keep(st);		/* the next read of anybody's overwrites what is lent */
		if (r != 0)
			return r;
		if (st->_state & ST_END) {
			st->_state |= ST_OVER;
			break;
		}
		keep(st);
		if (!(st->_state & ST_OVER) && must_wait(st, reads) && !(st->_state & ST_OVER))
			return 0;
		if (!(st->_state & ST_OVER))
			pull(st);
	}
	return st->_errnum != 0 ? -st->_errnum : -ENODATA;
}

/* ---- the other hooks ---- */

static void
stream_event_err(struct sconce_sock *s, int errnum)
{
	struct sconce_stream *st = sconce_stream_of(s);

	st->_errnum = (uint16_t)errnum;
	st->_state &= ~ST_SHORT;
	if (st->ops->event_ready != NULL) {
		st->ops->event_ready(st);
		return;
	}
	/* a send may have failed while there is more to read than fits in one read */
	for (unsigned reads = 0; reads < st->_max_reads && !(st->_state & (ST_MORE | ST_END | ST_OVER)) && !is_stopped(st); reads++)
		if (!read_once(st))
			break;
	if (s->closed || (sconce_paused(s) & SCONCE_PAUSE_ENDING))
		return;
	if (!(st->_state & ST_MORE) || is_stopped(st))
		tell_err(st);				/* else when the records before it have been given */
	tell_end(st);
}

static void
stream_event_hup(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_hup != NULL)
		st->ops->event_hup(st);
}

static void
stream_event_connect(struct sconce_sock *s, int errnum)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_connect != NULL)
		st->ops->event_connect(st, errnum);
	else if (errnum != 0)
		sconce_close_error(s, SCONCE_REASON_CONNECT, errnum);
}

static void
stream_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_timeout != NULL)
		st->ops->event_timeout(st, kind);
	else if (kind != SCONCE_TIMEOUT_ALARM)
		sconce_close_error(s, SCONCE_REASON_TIMEOUT, ETIMEDOUT);
}

static void
stream_event_low(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_low != NULL)
		st->ops->event_low(st);
}

static void
stream_event_high(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_high != NULL)
		st->ops->event_high(st);
}

static void
stream_event_drain(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	if (st->ops->event_drain != NULL)
		st->ops->event_drain(st);
}

static void
stream_event_close(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	sconce__stream_out_close(st);
	if (st->ops->event_close != NULL)
		st->ops->event_close(st);
}

static void
drop_out_filter(struct sconce_stream *st)
{
	if (st->_out == &st->_framer)
		return;
	sconce_framer_fini(st->_out);
	free(st->_out);
}

static void
stream_destroy(struct sconce_sock *s)
{
	struct sconce_stream *st = sconce_stream_of(s);

	sconce__stream_out_forget(st);
	drop_out_filter(st);
	sconce_framer_fini(&st->_framer);
	free(st->_room);
	if (st->ops->destroy != NULL)
		st->ops->destroy(st);
}

static int
stream_describe(const struct sconce_sock *s, char *buf, size_t size)
{
	const struct sconce_stream *st = SCONCE_CONTAINER_OF(s, const struct sconce_stream, sock);
	char line[256];

	if (st->ops->describe != NULL)
		return st->ops->describe(st, buf, size);
	sconce_describe_default(s, line, sizeof(line));
	return snprintf(buf, size, "%s %s unread %zu", st->ops->name, line, st->_framer.in.len);
}

static const struct sconce_sock_ops stream_sock_ops = {
	.name = "stream",
	.event_read = stream_event_read,
	.event_err = stream_event_err,
	.event_hup = stream_event_hup,
	.event_connect = stream_event_connect,
	.event_low = stream_event_low,
	.event_high = stream_event_high,
	.event_drain = stream_event_drain,
	.event_timeout = stream_event_timeout,
	.event_close = stream_event_close,
	.destroy = stream_destroy,
	.describe = stream_describe,
	.stream = true,			/* a datagram of no bytes would be taken for the end */
};

/* ---- making one ---- */

static bool
agree(const struct sconce_stream_ops *ops, const struct sconce_stream_options *opts)
{
	int ways = (ops->event_record != NULL) + (ops->event_input != NULL) + (ops->event_ready != NULL);

	if (ops->name == NULL || ways != 1)
		return false;
	if (ops->event_record != NULL)
		return opts->filter != NULL;
	return opts->filter == NULL || ops->event_ready != NULL;
}

static struct sconce_framer *
out_framer(struct sconce_stream *st, struct sconce_filter *out_filter)
{
	struct sconce_framer *fr;

	if (out_filter == NULL)
		return &st->_framer;
	fr = malloc(sizeof(*fr));
	if (fr == NULL || sconce_framer_init(fr, out_filter) == 0)
		return fr;
	free(fr);
	return NULL;
}

static void
set_options(struct sconce_stream *st, const struct sconce_stream_options *opts)
{
	st->_eof = (uint8_t)opts->eof;
	st->_linger = opts->linger > 0 ? opts->linger : linger_default;
	st->_read_size = opts->read_size < SCONCE_READ_SHARED ? (uint32_t)opts->read_size : 0;
	st->_max_reads = (uint16_t)(opts->max_reads == 0 ? READS_DEFAULT : opts->max_reads < UINT16_MAX ? opts->max_reads : UINT16_MAX);
	st->_max_records = opts->max_records > 0 ? opts->max_records : RECORDS_DEFAULT;
	st->_framer.max_buffer = opts->max_buffer > 0 ? opts->max_buffer : opts->filter == NULL ? RAW_BUFFER : 0;
}

int
sconce_stream_init(struct sconce_stream *st, struct sconce_loop *loop, const struct sconce_stream_ops *ops, int fd,
	const struct sconce_stream_options *opts)
{
	static const struct sconce_stream_options none;
	int r = -ENOMEM;

	if (opts == NULL)
		opts = &none;
	if (!agree(ops, opts))
		return -EINVAL;
	memset(st, 0, sizeof(*st));
	st->ops = ops;
	if (sconce_framer_init(&st->_framer, opts->filter) < 0)
		return r;
	set_options(st, opts);
	st->_out = out_framer(st, opts->out_filter);
	if (st->_out != NULL)
		r = sconce_sock_init(&st->sock, loop, &stream_sock_ops, fd);
	if (r < 0) {
		if (st->_out != NULL)
			drop_out_filter(st);
		sconce_framer_fini(&st->_framer);
	}
	return r;
}

/* ---- the calls ---- */

struct sconce_filter *
sconce_stream_filter(const struct sconce_stream *st)
{
	return st->_framer.filter;
}

struct sconce_input *
sconce_stream_input(struct sconce_stream *st)
{
	return &st->_framer.in;
}

/* As ask_again(), if there may be something to look at and nobody is about to. */
static int
rescan(struct sconce_stream *st)
{
	bool going_on = (st->_state & ST_DRAINING) && st->ops->event_record != NULL;
	bool something = st->_framer.in.len > 0 || st->_framer.filter != NULL || (st->_state & ST_END);

	return going_on || !something || (st->_state & (ST_MORE | ST_OVER)) ? 0 : ask_again(st);
}

int
sconce_stream_rescan(struct sconce_stream *st)
{
	return st->sock.closed ? -EBADF : rescan(st);
}

int
sconce_stream_set_filter(struct sconce_stream *st, struct sconce_filter *filter, struct sconce_filter *out_filter)
{
	struct sconce_framer *out;
	int r;

	if (st->sock.closed)
		return -EBADF;
	if (filter == NULL ? st->ops->event_record != NULL : st->ops->event_input != NULL)
		return -EINVAL;
	out = out_framer(st, out_filter);
	if (out == NULL)
		return -ENOMEM;
	r = rescan(st);
	if (r == 0)
		r = sconce_framer_set_filter(&st->_framer, filter);
	if (r < 0) {
		if (out != &st->_framer) {
			sconce_framer_fini(out);
			free(out);
		}
		return r;
	}
	drop_out_filter(st);
	st->_out = out;
	return 0;
}

int
sconce_stream_want(struct sconce_stream *st, uint64_t n)
{
	int r = st->sock.closed ? -EBADF : rescan(st);

	return r < 0 ? r : sconce_framer_want(&st->_framer, n);
}

int
sconce_stream_unread(struct sconce_stream *st, const void *data, size_t len)
{
	if (st->sock.closed)
		return -EBADF;
	return sconce_framer_unread(&st->_framer, data, len);
}
