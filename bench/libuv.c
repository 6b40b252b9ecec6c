/* The servers on libuv, in three habits: uv_write for every answer; uv_try_write first ("-try") and uv_write
 * for what it refuses; for frames also one uv_write of all answers of a read ("frames-16").  All read into one
 * buffer and give each write a copy of its bytes: the malloc of 64 KiB for every read that many examples have
 * is slower for small messages. */
#include <uv.h>

#include "plain.h"

struct conn {
	uv_tcp_t tcp;
	uv_timer_t idle;		/* only in "timeout" */
	int handles;			/* that are not closed yet */
	bool stuck;			/* a write waits; nothing (broadcast: of the sender) is read then */
	size_t part_len;		/* frames: length of a message's beginning, */
	char part[PLAIN_FRAME];		/* and the bytes */
	struct plain_seat seat;		/* broadcast only */
};

/* A write with its bytes, which several may share. */
struct bytes {
	size_t users;
	char data[];
};

struct out {
	uv_write_t req;
	struct bytes *bytes;
};

struct workload {
	const char *name;
	void (*received)(struct conn *c, char *data, size_t len);
	bool tries;			/* uv_try_write first */
	bool timed;			/* closes idle connections */
	bool broadcasts;
	bool frames;			/* `received` gets whole messages */
};

static const struct workload *workload;
static uv_loop_t *loop;
static char buffer[PLAIN_FRAME + PLAIN_BUFFER];	/* the beginning of a message goes in front */
static struct plain_seat all = {.prev = &all, .next = &all};
static struct conn *sender;		/* broadcast: who spoke last; not read while `stuck` is not 0 */
static size_t stuck;			/* broadcast: how many are stuck */

static void conn_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* ---- connections ---- */

static void
conn_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->handles == 0)
		free(c);
}

static void
give(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(buffer + c->part_len, PLAIN_BUFFER);
}

static void
conn_read_on(struct conn *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		uv_read_start((uv_stream_t *)&c->tcp, give, conn_read);
}

static void
conn_unstick(struct conn *c)
{
	c->stuck = false;
	if (!workload->broadcasts)
		conn_read_on(c);
	else if (--stuck == 0 && sender != NULL)
		conn_read_on(sender);
}

static void
conn_close(struct conn *c)
{
	if (uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	uv_close((uv_handle_t *)&c->tcp, conn_closed);
	if (workload->timed)
		uv_close((uv_handle_t *)&c->idle, conn_closed);
	if (!workload->broadcasts)
		return;
	plain_leave(&c->seat);
	if (sender == c)
		sender = NULL;
	if (c->stuck)
		conn_unstick(c);
}

/* ---- writing ---- */

static struct bytes *
bytes_new(const char *data, size_t len)
{
	struct bytes *b = malloc(sizeof(*b) + len);

	if (b == NULL)
		server_die("malloc");
	b->users = 1;
	memcpy(b->data, data, len);
	return b;
}

static void
bytes_drop(struct bytes *b)
{
	if (--b->users == 0)
		free(b);
}

static void
written(uv_write_t *req, int status)
{
	struct out *o = PLAIN_CONTAINER_OF(req, struct out, req);
	struct conn *c = req->handle->data;

	bytes_drop(o->bytes);
	free(o);
	if (status < 0)
		conn_close(c);
	else if (c->stuck && uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) == 0)
		conn_unstick(c);
}

/* uv_write tries at once; what the kernel refuses is in the queue then. */
static void
conn_write(struct conn *c, struct bytes *bytes, const uv_buf_t *bufs, unsigned count)
{
	struct out *o = malloc(sizeof(*o));

	if (o == NULL)
		server_die("malloc");
	o->bytes = bytes;
	if (uv_write(&o->req, (uv_stream_t *)&c->tcp, bufs, count, written) < 0) {
		bytes_drop(bytes);
		free(o);
		conn_close(c);
		return;
	}
	if (c->stuck || uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) == 0)
		return;
	c->stuck = true;
	if (workload->broadcasts)
		stuck++;
	else
		uv_read_stop((uv_stream_t *)&c->tcp);
}

static void
send_copy(struct conn *c, const char *data, size_t len)
{
	struct bytes *bytes = bytes_new(data, len);
	uv_buf_t buf = uv_buf_init(bytes->data, (unsigned)len);

	conn_write(c, bytes, &buf, 1);
}

static void
answer(struct conn *c, char *data, size_t len)
{
	uv_buf_t buf = uv_buf_init(data, (unsigned)len);
	int n;

	if (!workload->tries) {
		send_copy(c, data, len);
		return;
	}
	n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	if (n < 0 && n != UV_EAGAIN)
		conn_close(c);
	else if (n < 0 || (size_t)n < len)
		send_copy(c, data + (n < 0 ? 0 : n), len - (size_t)(n < 0 ? 0 : n));
}

/* ---- what to do with what has come ---- */

static void
frames(struct conn *c, char *data, size_t len)
{
	for (size_t at = 0; at < len && !uv_is_closing((uv_handle_t *)&c->tcp); at += PLAIN_FRAME)
		answer(c, data + at, PLAIN_FRAME);
}

/* One write of many buffers, each of which is an answer. */
static void
frames_together(struct conn *c, char *data, size_t len)
{
	uv_buf_t bufs[(PLAIN_FRAME + PLAIN_BUFFER) / PLAIN_FRAME];
	struct bytes *bytes;
	unsigned count = 0;

	if (len == 0)
		return;
	bytes = bytes_new(data, len);
	for (size_t at = 0; at < len; at += PLAIN_FRAME)
		bufs[count++] = uv_buf_init(bytes->data + at, PLAIN_FRAME);
	conn_write(c, bytes, bufs, count);
}

/* With uv_write all share the bytes. */
static void
broadcast(struct conn *from, char *data, size_t len)
{
	struct bytes *bytes = workload->tries ? NULL : bytes_new(data, len);
	struct plain_seat *next;

	sender = from;
	for (struct plain_seat *seat = all.next; seat != &all; seat = next) {
		struct conn *to = PLAIN_CONTAINER_OF(seat, struct conn, seat);
		uv_buf_t buf;

		next = seat->next;	/* it may close */
		if (to == from)
			continue;
		if (workload->tries) {
			answer(to, data, len);
			continue;
		}
		bytes->users++;
		buf = uv_buf_init(bytes->data, (unsigned)len);
		conn_write(to, bytes, &buf, 1);
	}
	if (bytes != NULL)
		bytes_drop(bytes);
	if (stuck > 0)
		uv_read_stop((uv_stream_t *)&from->tcp);
}

/* Whole messages go on, the beginning of another is kept. */
static void
frames_received(struct conn *c, size_t n)
{
	size_t len, rest;

	memcpy(buffer, c->part, c->part_len);
	len = c->part_len + n;
	rest = len % PLAIN_FRAME;
	memcpy(c->part, buffer + len - rest, rest);
	c->part_len = rest;
	workload->received(c, buffer, len - rest);
}

static void
conn_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (n < 0) {
		conn_close(c);
		return;
	}
	if (n == 0)
		return;
	if (workload->timed)
		uv_timer_again(&c->idle);
	if (workload->frames)
		frames_received(c, (size_t)n);
	else
		workload->received(c, buf->base, (size_t)n);
}

static void
conn_idle(uv_timer_t *timer)
{
	conn_close(timer->data);
}

/* ---- the server ---- */

static void
accepted(uv_stream_t *listener, int status)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		server_die("calloc");
	uv_tcp_init(loop, &c->tcp);
	c->tcp.data = c->idle.data = c;
	c->handles = 1;
	if (workload->timed) {
		uv_timer_init(loop, &c->idle);
		uv_timer_start(&c->idle, conn_idle, PLAIN_IDLE_SECONDS * 1000, PLAIN_IDLE_SECONDS * 1000);
		c->handles++;
	}
	if (workload->broadcasts)
		plain_join(&all, &c->seat);
	if (status < 0 || uv_accept(listener, (uv_stream_t *)&c->tcp) < 0)
		conn_close(c);
	else
		conn_read_on(c);
}

static const struct workload workloads[] = {
	{"echo", answer, .tries = false},
	{"echo-try", answer, .tries = true},
	{"frames", frames, .frames = true},
	{"frames-try", frames, .frames = true, .tries = true},
	{"frames-16", frames_together, .frames = true},
	{"broadcast", broadcast, .broadcasts = true},
	{"broadcast-try", broadcast, .broadcasts = true, .tries = true},
	{"timeout", answer, .timed = true, .tries = true},
};

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	uv_tcp_t listener;
	int fd;

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	fd = plain_listen(args.endpoint);
	loop = uv_default_loop();
	if (loop == NULL || uv_tcp_init(loop, &listener) < 0 || uv_tcp_open(&listener, fd) < 0 ||
	    uv_listen((uv_stream_t *)&listener, PLAIN_BACKLOG, accepted) < 0)
		server_die("libuv");
	plain_ready(fd);
	uv_run(loop, UV_RUN_DEFAULT);
	return 1;
}
