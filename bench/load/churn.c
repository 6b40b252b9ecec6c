/* Connections that live for one message.  The load ends each, with a FIN, and waits for nothing. */
#include "load.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct visit {
	int fd;
	size_t got_at;			/* place in the pattern */
	size_t got;			/* bytes that came */
};

/* The message goes as soon as the connection stands, which over loopback is at once. */
static void
visit_begin(struct load *l, struct visit *v)
{
	size_t at, owed = l->opts.size;
	int on = 1;

	v->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd < 0)
		die_errno("socket");
	setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(v->fd, (const struct sockaddr *)&l->opts.addr, sizeof(l->opts.addr)) < 0)
		die_errno("connect");
	v->got_at = at = load_place(l, l->done);
	v->got = 0;
	load_send(l, v->fd, &at, &owed);
	if (owed > 0)
		die("churn: the message is larger than the socket's buffer");
	load_watch(l, v->fd, v, 0, EPOLLIN);
}

static void
churn_event(struct load *l, void *arg, uint32_t events)
{
	struct visit *v = arg;

	(void)events;
	v->got += load_receive(l, v->fd, &v->got_at);
	if (v->got < l->opts.size)
		return;
	close(v->fd);
	l->done++;
	visit_begin(l, v);
}

void
load_churn(struct load *l)
{
	struct visit *visits = calloc(l->opts.conns, sizeof(*visits));

	if (visits == NULL)
		die("no memory");
	l->state = visits;
	l->event = churn_event;
	for (size_t i = 0; i < l->opts.conns; i++)
		visit_begin(l, &visits[i]);
}
