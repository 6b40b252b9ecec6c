/* The output of a stream: records through the filter, another fd to write to, and stdio. */
#include "stream_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* The other fd, where output goes. */
struct sconce__stream_out {
	struct sconce_sock sock;
	struct sconce_stream *st;	/* NULL once the stream is destroyed */
	bool told;			/* of its error, or of its reader's going */
};

static const struct sconce_sock_ops out_sock_ops;

static struct sconce__stream_out *
out_of(struct sconce_sock *s)
{
	assert(s->ops == &out_sock_ops && "the base of a stream's output");
	return SCONCE_CONTAINER_OF(s, struct sconce__stream_out, sock);
}

struct sconce_sock *
sconce_stream_out(struct sconce_stream *st)
{
	return st->_other != NULL ? &st->_other->sock : &st->sock;
}

/* ---- the other fd ---- */

static void
out_event_err(struct sconce_sock *s, int errnum)
{
	struct sconce__stream_out *out = out_of(s);
	struct sconce_stream *st = out->st;

	if (out->told)
		return;
	out->told = true;
	if (st != NULL && !st->sock.closed)
		sconce_set_failure(&st->sock, "send", errnum, "output");
	if (st != NULL && !st->sock.closed && st->ops->event_err != NULL)
		st->ops->event_err(st, errnum);
	else
		sconce_close_error(s, SCONCE_REASON_ERROR, errnum);
}

/* Its reader has gone, perhaps long before the next write finds out. */
static void
out_event_hup(struct sconce_sock *s)
{
	out_event_err(s, EPIPE);
}

static void
out_event_low(struct sconce_sock *s)
{
	struct sconce_stream *st = out_of(s)->st;

	if (st != NULL && !st->sock.closed)
		st->sock.ops->event_low(&st->sock);
}

static void
out_event_high(struct sconce_sock *s)
{
	struct sconce_stream *st = out_of(s)->st;

	if (st != NULL && !st->sock.closed)
		st->sock.ops->event_high(&st->sock);
}

static void
out_event_drain(struct sconce_sock *s)
{
	struct sconce_stream *st = out_of(s)->st;

	if (st != NULL && !st->sock.closed)
		st->sock.ops->event_drain(&st->sock);
}

/* Without its output a stream is over. */
static void
out_event_close(struct sconce_sock *s)
{
	struct sconce_stream *st = out_of(s)->st;

	if (st != NULL)
		sconce_close_error(&st->sock, s->reason, s->errnum);
}

static void
out_destroy(struct sconce_sock *s)
{
	struct sconce__stream_out *out = out_of(s);

	if (out->st != NULL)
		out->st->_other = NULL;
	free(out);
}

static const struct sconce_sock_ops out_sock_ops = {
	.name = "stream output",
	.event_err = out_event_err,
	.event_hup = out_event_hup,
	.event_low = out_event_low,
	.event_high = out_event_high,
	.event_drain = out_event_drain,
	.event_close = out_event_close,
	.destroy = out_destroy,
};

int
sconce_stream_set_out_fd(struct sconce_stream *st, int fd)
{
	struct sconce__stream_out *out;
	int r;

	if (st->_other != NULL)
		return -EALREADY;
	if (st->sock.closed)
		return -EBADF;
	out = calloc(1, sizeof(*out));
	if (out == NULL)
		return -ENOMEM;
	r = sconce_sock_init(&out->sock, st->sock.loop, &out_sock_ops, fd);
	if (r < 0) {
		free(out);
		return r;
	}
	out->st = st;
	st->_other = out;
	return 0;
}

void
sconce__stream_out_close(struct sconce_stream *st)
{
	if (st->_other != NULL)
		sconce_close(&st->_other->sock, st->sock.reason);
}

void
sconce__stream_out_forget(struct sconce_stream *st)
{
	if (st->_other != NULL)
		st->_other->st = NULL;
	if (st->_file != NULL)
		fclose(st->_file);
}

/* ---- records ---- */

struct to_sock {
	struct sconce_sink sink;
	struct sconce_sock *sock;
	int result;
};

static int
to_sock_add(struct sconce_sink *sink, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	struct to_sock *to = SCONCE_CONTAINER_OF(sink, struct to_sock, sink);

	(void)rec;
	to->result = count == 1 ? sconce_write(to->sock, iov->iov_base, iov->iov_len) : sconce_writev(to->sock, iov, count);
	return to->result;
}

int
sconce_stream_put(struct sconce_stream *st, const struct sconce_record *rec)
{
	struct to_sock to = { { to_sock_add }, sconce_stream_out(st), SCONCE_GATHERED };
	int r = to.sock->closed ? -EPIPE : sconce_framer_put(st->_out, rec, &to.sink);

	return r < 0 ? r : to.result;
}

int
sconce_stream_put_bytes(struct sconce_stream *st, const void *data, size_t len)
{
	struct sconce_record rec = sconce_record_of(data, len);

	return sconce_stream_put(st, &rec);
}

/* ---- stdio ---- */

static ssize_t
file_write(void *cookie, const char *buf, size_t size)
{
	struct sconce_stream *st = cookie;
	int r = sconce_write(sconce_stream_out(st), buf, size);

	if (r >= 0)
		return (ssize_t)size;
	errno = -r;
	return 0;
}

static int
file_close(void *cookie)
{
	struct sconce_stream *st = cookie;

	st->_file = NULL;
	if (!st->sock.closed)
		sconce_close_flush(sconce_stream_out(st), st->_linger);
	return 0;
}

FILE *
sconce_stream_file(struct sconce_stream *st)
{
	cookie_io_functions_t io = { .write = file_write, .close = file_close };

	if (st->_file != NULL)
		return st->_file;
	st->_file = fopencookie(st, "w", io);
	if (st->_file == NULL)
		errno = ENOMEM;
	else
		setvbuf(st->_file, NULL, _IONBF, 0);
	return st->_file;
}
