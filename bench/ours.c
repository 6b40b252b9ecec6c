/* The servers on sconce.  What an honest server has is on in all of them: back pressure, and an input-idle timeout on
 * every connection (`echo-untimed` is without, to tell what it costs). */
#include <sconce/sconce.h>

#include "server.h"

enum { FRAME = 64, IDLE_SECONDS = 60, SPARE_MAX = 64 };

struct conn {
	struct sconce_sock sock;
	struct conn *next;		/* while it is spare; the eight bytes that a server has of its own */
};

struct workload {
	const char *name;
	const struct sconce_sock_ops *ops;
	bool untimed;
	int (*accept)(struct sconce_loop *loop, int fd);
	const struct sconce_line_options *ends;	/* of lines */
};

static const struct workload *workload;
static const char *target;
static struct sconce_filter *lines;	/* NULL: the workload has none */

/* Connections that were destroyed, a few, to be used again: what server of many short connections would not
 * keep them. */
static struct conn *spare;
static size_t spare_count;

static struct conn *
conn_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct conn, sock);
}

static void
conn_destroy(struct sconce_sock *s)
{
	struct conn *c = conn_of(s);

	if (spare_count == SPARE_MAX) {
		free(c);
		return;
	}
	c->next = spare;
	spare = c;
	spare_count++;
}

static struct conn *
conn_take(void)
{
	struct conn *c = spare;

	if (c == NULL)
		return malloc(sizeof(*c));
	spare = c->next;
	spare_count--;
	return c;
}

static int
conn_new(struct sconce_loop *loop, int fd)
{
	struct conn *c = conn_take();
	int result = c == NULL ? -ENOMEM : sconce_sock_init(&c->sock, loop, workload->ops, fd);

	if (result < 0)
		free(c);
	else if (!workload->untimed)
		sconce_set_timeout(&c->sock, SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	return result;
}

/* ---- echo ---- */

static void
echo_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	else if (n > 0 && sconce_write(s, data, (size_t)n) == SCONCE_QUEUED)
		sconce_watch_read(s, false);
}

static void
echo_event_drain(struct sconce_sock *s)
{
	sconce_watch_read(s, true);
}

static const struct sconce_sock_ops echo_ops = {
	.name = "echo", .event_read = echo_event_read, .event_drain = echo_event_drain, .destroy = conn_destroy,
};

/* ---- frames: messages of 64 bytes, each answered by a write ---- */

/* Each answer is written by `answer`; the beginning of a message waits for its rest. */
static inline void
frames_read(struct sconce_sock *s, int (*answer)(struct sconce_sock *s, const char *frame))
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data), at = 0;
	int result = SCONCE_SENT;

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	for (; n - at >= FRAME; at += FRAME)
		result = answer(s, (const char *)data + at);
	if (n > at)
		sconce_unread(s, (const char *)data + at, (size_t)(n - at));
	if (result == SCONCE_QUEUED)
		sconce_watch_read(s, false);
}

static int
answer_write(struct sconce_sock *s, const char *frame)
{
	return sconce_write(s, frame, FRAME);
}

static void
frames_event_read(struct sconce_sock *s)
{
	frames_read(s, answer_write);
}

static const struct sconce_sock_ops frames_ops = {
	.name = "frames", .event_read = frames_event_read, .event_drain = echo_event_drain, .destroy = conn_destroy,
};

static unsigned long long answered;	/* completions that ran */

static void
answer_done(struct sconce_sock *s, void *arg, int status)
{
	(void)s, (void)arg, (void)status;
	answered++;
}

static int
answer_write_cb(struct sconce_sock *s, const char *frame)
{
	sconce_write(s, frame, FRAME);
	return sconce_write_cb(s, answer_done, NULL);
}

static void
frames_cb_event_read(struct sconce_sock *s)
{
	frames_read(s, answer_write_cb);
}

static const struct sconce_sock_ops frames_cb_ops = {
	.name = "frames-cb", .event_read = frames_cb_event_read, .event_drain = echo_event_drain,
		.destroy = conn_destroy,
};

/* ---- broadcast: what one says goes to all others ---- */

struct member {
	struct sconce_sock sock;
	struct member *prev, *next;	/* all of them, in a ring */
	bool stuck;			/* a write was queued, and the queue has not drained yet */
};

static struct member ring = {.prev = &ring, .next = &ring};
static struct sconce_sock *sender;	/* who spoke last; not read while `stuck` is not 0 */
static size_t stuck;			/* how many are stuck */

static struct member *
member_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct member, sock);
}

static void
member_destroy(struct sconce_sock *s)
{
	free(member_of(s));
}

/* What a write to `c` told.  While one does not keep up, nobody hears more. */
static void
broadcast_wrote(struct member *c, int result)
{
	if (result != SCONCE_QUEUED || c->stuck)
		return;
	c->stuck = true;
	stuck++;
	sconce_watch_read(sender, false);
}

static void
broadcast_unstick(struct member *c)
{
	if (!c->stuck)
		return;
	c->stuck = false;
	if (--stuck == 0 && sender != NULL)
		sconce_watch_read(sender, true);
}

static void
broadcast_event_drain(struct sconce_sock *s)
{
	broadcast_unstick(member_of(s));
}

static void
broadcast_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	if (n <= 0)
		return;
	sender = s;
	for (struct member *c = ring.next; c != &ring; c = c->next)
		if (&c->sock != s)
			broadcast_wrote(c, sconce_write(&c->sock, data, (size_t)n));
}

/* A message that all receivers share; freed when the last has it. */
struct message {
	size_t users;
	char bytes[];
};

static void
message_done(struct sconce_sock *s, void *arg, int status)
{
	struct message *m = arg;

	(void)s, (void)status;
	if (--m->users == 0)
		free(m);
}

static void
broadcast_ref_event_read(struct sconce_sock *s)
{
	struct message *m;
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	if (n <= 0)
		return;
	m = malloc(sizeof(*m) + (size_t)n);
	if (m == NULL)
		server_die("malloc");
	memcpy(m->bytes, data, (size_t)n);
	m->users = 1;
	sender = s;
	for (struct member *c = ring.next; c != &ring; c = c->next) {
		if (&c->sock == s)
			continue;
		m->users++;
		broadcast_wrote(c, sconce_write_ref(&c->sock, m->bytes, (size_t)n, message_done, m));
	}
	message_done(s, m, 0);
}

static void
broadcast_event_close(struct sconce_sock *s)
{
	struct member *c = member_of(s);

	c->prev->next = c->next;
	c->next->prev = c->prev;
	if (sender == s)
		sender = NULL;
	broadcast_unstick(c);
}

static const struct sconce_sock_ops broadcast_ops = {
	.name = "broadcast", .event_read = broadcast_event_read, .event_drain = broadcast_event_drain,
	.event_close = broadcast_event_close, .destroy = member_destroy,
};
static const struct sconce_sock_ops broadcast_ref_ops = {
	.name = "broadcast-ref", .event_read = broadcast_ref_event_read, .event_drain = broadcast_event_drain,
	.event_close = broadcast_event_close, .destroy = member_destroy,
};

static int
broadcast_new(struct sconce_loop *loop, int fd)
{
	struct member *c = malloc(sizeof(*c));
	int result = c == NULL ? -ENOMEM : sconce_sock_init(&c->sock, loop, workload->ops, fd);

	if (result < 0) {
		free(c);
		return result;
	}
	sconce_set_timeout(&c->sock, SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	c->stuck = false;
	c->next = &ring;
	c->prev = ring.prev;
	c->prev->next = ring.prev = c;
	return 0;
}

/* ---- relay: whoever connects talks to the target ---- */

/* A client and its connection to the target; freed when both are. */
struct pair {
	struct sconce_sock client, target;
	int alive;			/* how many of the two are not destroyed */
};
static const struct sconce_sock_ops client_ops, target_ops;

static struct pair *
pair_of(struct sconce_sock *s)
{
	return s->ops == &client_ops ? SCONCE_CONTAINER_OF(s, struct pair, client) :
		SCONCE_CONTAINER_OF(s, struct pair, target);
}

static void
pair_close(struct pair *p, int reason)
{
	sconce_close(&p->client, reason);
	sconce_close(&p->target, reason);
}

static void
pair_done(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	pair_close(arg, status < 0 ? SCONCE_REASON_ERROR : SCONCE_REASON_EOF);
}

static void
target_event_connect(struct sconce_sock *s, int errnum)
{
	struct pair *p = pair_of(s);

	if (errnum != 0) {
		sconce_close(s, SCONCE_REASON_CONNECT);
		return;
	}
	sconce_set_timeout(&p->client, SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	sconce_set_timeout(&p->target, SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	sconce_relay(&p->client, &p->target, pair_done, p);
}

/* Nothing to do: what has arrived is still passed on, and pair_done closes. */
static void
pair_event_hup(struct sconce_sock *s)
{
	(void)s;
}

static void
pair_event_close(struct sconce_sock *s)
{
	pair_close(pair_of(s), s->reason);
}

static void
pair_destroy(struct sconce_sock *s)
{
	struct pair *p = pair_of(s);

	if (--p->alive == 0)
		free(p);
}

static const struct sconce_sock_ops client_ops = {
	.name = "client", .event_hup = pair_event_hup, .event_close = pair_event_close, .destroy = pair_destroy,
};
static const struct sconce_sock_ops target_ops = {
	.name = "target", .event_connect = target_event_connect, .event_hup = pair_event_hup,
	.event_close = pair_event_close, .destroy = pair_destroy,
};

static int
pair_new(struct sconce_loop *loop, int fd)
{
	struct pair *p = malloc(sizeof(*p));
	int result = p == NULL ? -ENOMEM : sconce_sock_init(&p->target, loop, &target_ops, -1);

	if (result < 0) {
		free(p);
		return result;
	}
	p->alive = 1;
	result = sconce_sock_init(&p->client, loop, &client_ops, fd);
	if (result < 0) {
		sconce_close(&p->target, SCONCE_REASON_LOCAL);
		return result;
	}
	p->alive = 2;
	if (sconce_connect(&p->target, target) < 0)
		pair_close(p, SCONCE_REASON_CONNECT);
	return 0;
}

/* ---- lines: each is answered ---- */

static void
talker_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	if (sconce_stream_put(st, rec) == SCONCE_QUEUED)
		sconce_watch_read(&st->sock, false);
}

static void
talker_event_drain(struct sconce_stream *st)
{
	sconce_watch_read(&st->sock, true);
}

static void
talker_destroy(struct sconce_stream *st)
{
	free(st);
}

static const struct sconce_stream_ops talker_ops = {
	.name = "talker", .event_record = talker_event_record, .event_drain = talker_event_drain, .destroy = talker_destroy,
};

static int
talker_new(struct sconce_loop *loop, int fd)
{
	struct sconce_stream_options options = {.filter = lines};
	struct sconce_stream *st = malloc(sizeof(*st));
	int result = st == NULL ? -ENOMEM : sconce_stream_init(st, loop, &talker_ops, fd, &options);

	if (result < 0)
		free(st);
	else
		sconce_set_timeout(&st->sock, SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	return result;
}

/* ---- the server ---- */

static const struct sconce_line_options lf = {.in_end = "\n"}, any_end = {.out_end = "\n"};

static const struct workload workloads[] = {
	{"echo", &echo_ops, .accept = conn_new},
	{"echo-untimed", &echo_ops, .untimed = true, .accept = conn_new},
	{"frames", &frames_ops, .accept = conn_new},
	{"frames-cb", &frames_cb_ops, .accept = conn_new},
	{"broadcast", &broadcast_ops, .accept = broadcast_new},
	{"broadcast-ref", &broadcast_ref_ops, .accept = broadcast_new},
	{"relay", NULL, .accept = pair_new},
	{"lines", NULL, .accept = talker_new, .ends = &lf},
	{"lines-any", NULL, .accept = talker_new, .ends = &any_end},
};

static int
ours_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)peer;
	return workload->accept(l->sock.loop, fd);
}

static const struct sconce_listener_ops listener_ops = {.name = "listener", .accept = ours_accept, .no_peer = true};

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct sconce_listener listener;
	struct sconce_loop *loop;
	char text[SCONCE_ADDR_TEXT];

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	target = args.target;
	if (workload->accept == pair_new && target == NULL) {
		fprintf(stderr, "bench/ours: a relay needs a target\n");
		return 2;
	}
	if (workload->ends != NULL && sconce_filter_line(workload->ends, &lines) < 0)
		server_die("sconce_filter_line");
	if (sconce_loop_new(NULL, &loop) < 0 ||
	    sconce_listen(&listener, loop, &listener_ops, args.endpoint, &fail) < 0) {
		fprintf(stderr, "bench/ours: %s\n", fail.text);
		return 1;
	}
	server_ready(sconce_addr_text(&listener.addr, text, sizeof(text)));
	sconce_loop_run(loop);
	return 1;
}
