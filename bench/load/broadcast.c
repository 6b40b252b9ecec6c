/* One sender, many receivers: DEPTH messages are in flight, and each must reach them all. */
#include "load.h"

struct receiver {
	int fd;
	size_t got_at;			/* place in the pattern */
	uint64_t got;			/* bytes that came */
};

struct room {
	int sender;
	uint32_t watched;		/* the sender's events */
	size_t sent_at, to_send;
	uint64_t lines;			/* messages that have begun to leave */
	size_t *missing;		/* receivers without it, of each message by its number modulo DEPTH */
	struct receiver *receivers;
};

static void
room_send(struct load *l, struct room *r)
{
	load_send(l, r->sender, &r->sent_at, &r->to_send);
	r->watched = load_watch(l, r->sender, NULL, r->watched, r->to_send > 0 ? EPOLLOUT | EPOLLRDHUP : EPOLLRDHUP);
}

static void
room_say(struct load *l, struct room *r)
{
	r->missing[r->lines++ % l->opts.depth] = l->opts.conns;
	r->to_send += l->opts.size;
	room_send(l, r);
}

static void
receiver_read(struct load *l, struct room *r, struct receiver *to)
{
	uint64_t line = to->got / l->opts.size;

	to->got += load_receive(l, to->fd, &to->got_at);
	for (; line < to->got / l->opts.size; line++) {
		l->done++;
		if (--r->missing[line % l->opts.depth] == 0)
			room_say(l, r);
	}
}

static void
broadcast_event(struct load *l, void *arg, uint32_t events)
{
	struct room *r = l->state;

	if (arg != NULL)
		receiver_read(l, r, arg);
	else if (events & ~(uint32_t)EPOLLOUT)
		die("the server closed the sender's connection");
	else
		room_send(l, r);
}

/* The sender comes last: a server accepts in the order of arrival, so that all others are there when it speaks. */
void
load_broadcast(struct load *l)
{
	struct room *r = calloc(1, sizeof(*r));

	if (r == NULL || (r->receivers = calloc(l->opts.conns, sizeof(*r->receivers))) == NULL ||
	    (r->missing = calloc(l->opts.depth, sizeof(*r->missing))) == NULL)
		die("no memory");
	l->state = r;
	l->event = broadcast_event;
	for (size_t i = 0; i < l->opts.conns; i++) {
		r->receivers[i].fd = load_connect(l);
		load_watch(l, r->receivers[i].fd, &r->receivers[i], 0, EPOLLIN);
	}
	r->sender = load_connect(l);
	for (size_t i = 0; i < l->opts.depth; i++)
		room_say(l, r);
}
