/* Messages that come back: each connection has DEPTH of them in flight. */
#include "load.h"

struct conn {
	int fd;
	uint32_t watched;		/* events */
	size_t sent_at, got_at;		/* place in the pattern of the next byte to send, to get */
	size_t to_send;			/* bytes owed */
	size_t got;			/* bytes that came, of what is in flight */
};

static uint64_t bytes;			/* that came back, on all connections */

static void
conn_send(struct load *l, struct conn *c)
{
	load_send(l, c->fd, &c->sent_at, &c->to_send);
	c->watched = load_watch(l, c->fd, c, c->watched, c->to_send > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Counts bytes, not whole messages, of which there are none for long when a server works on a part of each of
 * many in turn. */
static void
conn_read(struct load *l, struct conn *c)
{
	size_t size = l->opts.size, unit = l->opts.batch ? size * l->opts.depth : size, whole;
	size_t n = load_receive(l, c->fd, &c->got_at);

	c->got += n;
	bytes += n;
	l->done = bytes / size;
	whole = c->got / unit * unit;		/* as much goes out again */
	if (whole == 0)
		return;
	c->got -= whole;
	c->to_send += whole;
	conn_send(l, c);
}

static void
echo_event(struct load *l, void *arg, uint32_t events)
{
	if (events & EPOLLOUT)
		conn_send(l, arg);
	if (events & ~(uint32_t)EPOLLOUT)
		conn_read(l, arg);
}

void
load_echo(struct load *l)
{
	struct conn *conns = calloc(l->opts.conns, sizeof(*conns));

	if (conns == NULL)
		die("no memory");
	for (size_t i = 0; i < l->opts.conns; i++)
		conns[i].fd = load_connect(l);
	l->state = conns;
	l->event = echo_event;
	for (size_t i = 0; i < l->opts.conns; i++) {
		conns[i].sent_at = conns[i].got_at = load_place(l, i);
		conns[i].to_send = l->opts.depth * l->opts.size;
		conn_send(l, &conns[i]);
	}
}
