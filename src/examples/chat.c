/* A chat: each line that somebody types goes to everybody else.
 *
 *	chat [ENDPOINT]			by default 127.0.0.1:7070; join with the client example, or nc
 *
 * The interesting part is who does not read.  Bytes for a slow member pile up in its queue, and only there: one
 * slow member must neither hold up the others nor fill the memory.
 *   - Above the high mark a member is given no more messages; they are counted.
 *   - When it has caught up (low mark) it is told how many it has missed.
 *   - Who has missed MISSED_MAX, or has read nothing for STALL_SECONDS, is closed.
 * A message is stored once, however many read it, and freed by the last completion. */
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
	LINE_MAX_BYTES = 1024,		/* longer ones are cut into pieces of this */
	MARK_LOW = 16 * 1024,		/* bytes queued for one member */
	MARK_HIGH = 64 * 1024,
	MISSED_MAX = 1000,		/* messages */
	STALL_SECONDS = 60,
	FAREWELL_SECONDS = 5
};

struct room {
	struct sconce_listener listener;
	LIST_HEAD(, member) members;
	unsigned joined;		/* so far: gives names */
};

struct member {
	struct sconce_sock sock;
	LIST_ENTRY(member) link;	/* in the room, from accept to event_close */
	struct room *room;
	unsigned number;
	unsigned missed;		/* messages since it fell behind; 0 while it keeps up */
	bool behind;			/* above the high mark and not yet down to the low one */
	size_t used;			/* bytes of line: what came of the next line */
	char line[LINE_MAX_BYTES];
};

/* A text that several queues point to. */
struct message {
	unsigned refs;
	size_t len;
	char text[];
};
static const struct sconce_sock_ops member_ops;

static struct member *
member_of(struct sconce_sock *s)
{
	assert(s->ops == &member_ops);
	return SCONCE_CONTAINER_OF(s, struct member, sock);
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
			sconce_close(&m->sock, SCONCE_REASON_OVERFLOW);
		return;
	}
	msg->refs++;			/* message_left() runs whatever the call returns */
	sconce_write_ref(&m->sock, msg->text, msg->len, message_left, msg);
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
member_line(struct member *m, char *line, size_t len)
{
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)line[i]))
			line[i] = '?';	/* nobody writes to the others' terminals */
	if (len > 0)
		room_say(m->room, m, "guest%u: %.*s\n", m->number, (int)len, line);
}

/* Says all complete lines and keeps the rest; at the end, or when a line is too long, the rest is said too. */
static void
member_lines(struct member *m, bool all)
{
	char *start = m->line, *end = m->line + m->used, *newline;

	while ((newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
		member_line(m, start, (size_t)(newline + 1 - start));
		start = newline + 1;
	}
	if (all || (start == m->line && m->used == sizeof(m->line))) {
		member_line(m, start, (size_t)(end - start));
		start = end;
	}
	m->used = (size_t)(end - start);
	memmove(m->line, start, m->used);
}

static void
member_event_read(struct sconce_sock *s)
{
	struct member *m = member_of(s);
	ssize_t n = sconce_read(s, m->line + m->used, sizeof(m->line) - m->used);

	if (n > 0)
		m->used += (size_t)n;
	if (n >= 0)
		member_lines(m, n == 0);
	if (n == 0)
		sconce_close_flush(s, FAREWELL_SECONDS);
}

static void
member_event_high(struct sconce_sock *s)
{
	member_of(s)->behind = true;
}

static void
member_event_low(struct sconce_sock *s)
{
	struct member *m = member_of(s);

	if (m->missed > 0)
		sconce_printf(s, "* you were too slow and missed %u messages\n", m->missed);
	m->behind = false;
	m->missed = 0;
}

static void
member_event_close(struct sconce_sock *s)
{
	struct member *m = member_of(s);

	LIST_REMOVE(m, link);
	printf("guest%u left%s\n", m->number, s->reason == SCONCE_REASON_OVERFLOW ||
		s->reason == SCONCE_REASON_TIMEOUT ? ", closed for being slow" : "");
	fflush(stdout);
	room_say(m->room, NULL, "* guest%u left\n", m->number);
}

static void
member_destroy(struct sconce_sock *s)
{
	free(member_of(s));
}

static const struct sconce_sock_ops member_ops = {
	.name = "member",
	.event_read = member_event_read,
	.event_high = member_event_high,
	.event_low = member_event_low,
	.event_close = member_event_close,
	.destroy = member_destroy,
};

static int
room_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct room *room = SCONCE_CONTAINER_OF(l, struct room, listener);
	struct member *m = calloc(1, sizeof(*m));
	int result = m == NULL ? -ENOMEM : sconce_sock_init(&m->sock, l->sock.loop, &member_ops, fd);
	char text[SCONCE_ADDR_TEXT];

	if (result < 0) {
		free(m);
		return result;
	}
	m->room = room;
	m->number = ++room->joined;
	LIST_INSERT_HEAD(&room->members, m, link);
	if (sconce_set_marks(&m->sock, MARK_LOW, MARK_HIGH) < 0 ||
	    sconce_set_timeout(&m->sock, SCONCE_TIMEOUT_OUTPUT, STALL_SECONDS) < 0) {
		sconce_close(&m->sock, SCONCE_REASON_LOCAL);	/* without the policy it may not stay */
		return 0;
	}
	printf("guest%u joined from %s\n", m->number, sconce_addr_text(peer, text, sizeof(text)));
	fflush(stdout);
	sconce_printf(&m->sock, "* you are guest%u\n", m->number);
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
	if (sconce_loop_new(NULL, &loop) < 0 ||
	    sconce_listen(&room.listener, loop, &room_listener_ops, endpoint, &fail) < 0) {
		fprintf(stderr, "chat: %s\n", fail.text);
		sconce_loop_free(loop);
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, &room);
	printf("listening on %s\n", sconce_addr_text(&room.listener.addr, text, sizeof(text)));
	fflush(stdout);
	sconce_loop_run(loop);
	return sconce_loop_free(loop);
}
