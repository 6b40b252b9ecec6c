/* A chat: each line that somebody types goes to everybody else.
 *
 *	chat [ENDPOINT]			by default 127.0.0.1:7070; join with the client example, or nc
 *
 * The interesting part is who does not read.  Bytes for a slow member pile up in its queue, and only there: one
 * slow member must neither hold up the others nor fill the memory.
 *   - Above the high mark a member is given no more messages; they are counted.
 *   - When it has caught up (low mark) it is told how many it has missed.
 *   - Who has missed MISSED_MAX, or has read nothing for STALL_SECONDS, is closed.
 * A message is stored once, however many read it, and freed by the last completion.
 *
 * A member is a stream: the line filter gives its lines, one at a time, whatever pieces they came in. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <sconce/sconce.h>

enum {
	LINE_MAX_BYTES = 1024,		/* who sends a longer one has to go */
	MARK_LOW = 16 * 1024,		/* bytes queued for one member */
	MARK_HIGH = 64 * 1024,
	MISSED_MAX = 1000,		/* messages */
	STALL_SECONDS = 60,
	FAREWELL_SECONDS = 5
};

struct room {
	struct sconce_listener listener;
	struct sconce_filter *lines;
	LIST_HEAD(, member) members;
	unsigned joined;		/* so far: gives names */
};

struct member {
	struct sconce_stream stream;
	LIST_ENTRY(member) link;	/* in the room, from accept to event_close */
	struct room *room;
	unsigned number;
	unsigned missed;		/* messages since it fell behind; 0 while it keeps up */
	bool behind;			/* above the high mark and not yet down to the low one */
};

/* A text that several queues point to. */
struct message {
	unsigned refs;
	size_t len;
	char text[];
};
static const struct sconce_stream_ops member_ops;

static struct member *
member_of(struct sconce_stream *st)
{
	assert(st->ops == &member_ops);
	return SCONCE_CONTAINER_OF(st, struct member, stream);
}

static void
message_unref(struct message *msg)
{
	if (--msg->refs == 0)
		free(msg);
}

/* One member has it, or will never get it: called once for each sconce_write_ref(). */
static void
message_left(struct sconce_sock *s, void *arg, int status)
{
	(void)s, (void)status;
	message_unref(arg);
}

/* The policy: gives a message to one member, unless it is behind. */
static void
member_tell(struct member *m, struct message *msg)
{
	if (m->behind) {
		m->missed++;
		if (m->missed >= MISSED_MAX)
			sconce_close(&m->stream.sock, SCONCE_REASON_OVERFLOW);
		return;
	}
	msg->refs++;			/* message_left() runs whatever the call returns */
	sconce_write_ref(&m->stream.sock, msg->text, msg->len, message_left, msg);
}

/* A line for all but `except` (who may be NULL). */
static void SCONCE_PRINTF(3, 4)
room_say(struct room *room, const struct member *except, const char *format, ...)
{
	enum { SIZE = LINE_MAX_BYTES + 64 };
	struct message *msg = malloc(sizeof(*msg) + SIZE);
	struct member *m;
	va_list args;
	int len;

	if (msg == NULL)
		return;
	va_start(args, format);
	len = vsnprintf(msg->text, SIZE, format, args);
	va_end(args);
	msg->len = len < SIZE ? (size_t)len : SIZE - 1;
	msg->refs = 1;			/* ours, while we hand it out */
	/* No hook runs inside our calls, so nobody leaves the list meanwhile, not even who is closed. */
	LIST_FOREACH(m, &room->members, link)
		if (m != except)
			member_tell(m, msg);
	message_unref(msg);
}

static void
member_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	struct member *m = member_of(st);
	char line[LINE_MAX_BYTES];

	memcpy(line, rec->data, rec->len);	/* the filter gives no longer ones */
	for (size_t i = 0; i < rec->len; i++)
		if (iscntrl((unsigned char)line[i]))
			line[i] = '?';	/* nobody writes to the others' terminals */
	if (rec->len > 0)
		room_say(m->room, m, "guest%u: %.*s\n", m->number, (int)rec->len, line);
}

static void
member_event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	if (fail->errnum == EMSGSIZE)
		sconce_printf(&st->sock, "* a line has at most %d bytes\n", LINE_MAX_BYTES);
	sconce_close_flush(&st->sock, FAREWELL_SECONDS);
}

static void
member_event_high(struct sconce_stream *st)
{
	member_of(st)->behind = true;
}

static void
member_event_low(struct sconce_stream *st)
{
	struct member *m = member_of(st);

	if (m->missed > 0)
		sconce_printf(&st->sock, "* you were too slow and missed %u messages\n", m->missed);
	m->behind = false;
	m->missed = 0;
}

static void
member_event_close(struct sconce_stream *st)
{
	struct member *m = member_of(st);
	int reason = st->sock.reason;

	LIST_REMOVE(m, link);
	printf("guest%u left%s\n", m->number, reason == SCONCE_REASON_OVERFLOW || reason == SCONCE_REASON_TIMEOUT ?
		", closed for being slow" : "");
	fflush(stdout);
	room_say(m->room, NULL, "* guest%u left\n", m->number);
}

static void
member_destroy(struct sconce_stream *st)
{
	free(member_of(st));
}

static const struct sconce_stream_ops member_ops = {
	.name = "member",
	.event_record = member_event_record,
	.event_fail = member_event_fail,
	.event_high = member_event_high,
	.event_low = member_event_low,
	.event_close = member_event_close,
	.destroy = member_destroy,
};

static int
room_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct room *room = SCONCE_CONTAINER_OF(l, struct room, listener);
	struct sconce_stream_options opts = {.filter = room->lines, .linger = FAREWELL_SECONDS};
	struct member *m = calloc(1, sizeof(*m));
	int result = m == NULL ? -ENOMEM : sconce_stream_init(&m->stream, l->sock.loop, &member_ops, fd, &opts);
	char text[SCONCE_ADDR_TEXT];

	if (result < 0) {
		free(m);
		return result;
	}
	m->room = room;
	m->number = ++room->joined;
	LIST_INSERT_HEAD(&room->members, m, link);
	if (sconce_set_marks(&m->stream.sock, MARK_LOW, MARK_HIGH) < 0 ||
	    sconce_set_timeout(&m->stream.sock, SCONCE_TIMEOUT_OUTPUT, STALL_SECONDS) < 0) {
		sconce_close(&m->stream.sock, SCONCE_REASON_LOCAL);	/* without the policy it may not stay */
		return 0;
	}
	printf("guest%u joined from %s\n", m->number, sconce_addr_text(peer, text, sizeof(text)));
	fflush(stdout);
	sconce_printf(&m->stream.sock, "* you are guest%u\n", m->number);
	room_say(room, m, "* guest%u joined\n", m->number);
	return 0;
}

static const struct sconce_listener_ops room_listener_ops = {.name = "room", .accept = room_accept};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	(void)signo;
	room_say(arg, NULL, "* the chat ends\n");	/* leaves with this turn, the last one */
	sconce_loop_stop(loop);
}

int
main(int argc, char **argv)
{
	const char *endpoint = argc > 1 ? argv[1] : "127.0.0.1:7070";
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct room room = {.joined = 0};
	struct sconce_loop *loop = NULL;
	char text[SCONCE_ADDR_TEXT];

	if (argc > 2 || endpoint[0] == '-') {
		fprintf(stderr, "usage: chat [ENDPOINT]\n");
		return 2;
	}
	LIST_INIT(&room.members);
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_filter_line(NULL, &room.lines) < 0 ||
	    sconce_listen(&room.listener, loop, &room_listener_ops, endpoint, &fail) < 0) {
		fprintf(stderr, "chat: %s\n", fail.text);
		sconce_loop_free(loop);
		sconce_filter_unref(room.lines);
		return 1;
	}
	sconce_filter_set_max_record(room.lines, LINE_MAX_BYTES);
	sconce_signal(loop, SIGINT, interrupted, &room);
	sconce_signal(loop, SIGTERM, interrupted, &room);
	printf("listening on %s\n", sconce_addr_text(&room.listener.addr, text, sizeof(text)));
	fflush(stdout);
	sconce_loop_run(loop);
	sconce_loop_free(loop);
	sconce_filter_unref(room.lines);
	return 0;
}
