/* Attempts that overlap (RFC 8305, "Happy Eyeballs"): when one has not answered within happy_ms the next address is tried
 * beside it, when one fails at once.  The first that is connected wins, and the others are closed.  Called by connect.c.
 * An attempt's fd is a watch's until it wins; only then it is the socket's. */
#include "connect.h"

struct attempt {
	struct sconce_watch watch;
	struct sconce_sock *s;
	struct sconce_addr addr;
	int fd;				/* -1: not begun, or over */
};

struct race {
	struct sconce_timer timer;
	size_t live, count;
	struct attempt attempts[];	/* one for each address, in their order */
};

static void
attempt_end(struct sconce_loop *l, struct attempt *a)
{
	sconce_watch_stop(&a->watch);
	l->be->close(a->fd, l->ctx);
	a->fd = -1;
}

void
sconce__race_free(struct sconce_loop *l, struct race *race)
{
	if (race == NULL)
		return;
	sconce_timer_stop(&race->timer);
	for (size_t i = 0; i < race->count; i++)
		if (race->attempts[i].fd >= 0)
			attempt_end(l, &race->attempts[i]);
	l_free(l, race);
}

/* `fd` is connected to c->addr. */
static void
win(struct sconce_sock *s, int fd)
{
	struct sconce__connect *c = s->_side->connect;
	int r;

	sconce__race_free(s->loop, c->race);
	c->race = NULL;
	r = sconce__connect_open(s, fd);
	if (r < 0)
		sconce__connect_decide(s, -r);
	else
		sconce__connect_connected(s);
}

static void attempt_ready(struct sconce_watch *w, unsigned events, void *arg);

/* Begins attempts until one is under way; `errnum` is why the last one failed. */
static void
race_next(struct sconce_sock *s, int errnum)
{
	struct sconce_loop *l = s->loop;
	struct sconce__connect *c = s->_side->connect;
	struct race *race = c->race;

	while (c->next < c->count) {
		struct attempt *a = &race->attempts[c->next];
		bool again = false;
		int fd, r;

		c->addr = a->addr = c->addrs[c->next++];
		fd = sconce__connect_begin(s, &again);
		if (fd >= 0 && !again) {
			win(s, fd);
			return;
		}
		errnum = -fd;
		if (fd < 0)
			continue;
		r = sconce__watch_start_internal(&a->watch, l, fd, SCONCE_WRITE, attempt_ready, a);
		if (r < 0) {
			l->be->close(fd, l->ctx);
			sconce__connect_failed(s, "connect", -r);
			errnum = -r;
			continue;
		}
		a->fd = fd;
		race->live++;
		TRACE_STATE(l, s, "connecting", 0);
		if (c->next < c->count)
			sconce_timer_start(&race->timer, c->options.happy_ms * 1e-3);
		return;
	}
	if (race->live == 0)
		sconce__connect_decide(s, errnum);
}

static void
attempt_ready(struct sconce_watch *w, unsigned events, void *arg)
{
	struct attempt *a = arg;
	struct sconce_sock *s = a->s;
	struct sconce_loop *l = s->loop;
	struct sconce__connect *c = s->_side->connect;
	int errnum = 0, fd = a->fd;
	socklen_t len = sizeof(errnum);

	(void)w;
	(void)events;
	if (l->be->getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len, l->ctx) < 0)
		errnum = errno;
	c->addr = a->addr;
	if (errnum == 0) {
		sconce_watch_stop(&a->watch);
		a->fd = -1;
		win(s, fd);
		return;
	}
	sconce__connect_failed(s, "connect", errnum);
	attempt_end(l, a);
	c->race->live--;
	race_next(s, errnum);
}

static void
overdue(struct sconce_timer *t, void *arg)
{
	(void)t;
	race_next(arg, ETIMEDOUT);
}

bool
sconce__race_start(struct sconce_sock *s)
{
	struct sconce__connect *c = s->_side->connect;
	struct race *race = sconce__zalloc(s->loop, sizeof(*race) + c->count * sizeof(race->attempts[0]));

	if (race == NULL)
		return false;
	race->count = c->count;
	for (size_t i = 0; i < race->count; i++) {
		race->attempts[i].s = s;
		race->attempts[i].fd = -1;
	}
	sconce_timer_init(&race->timer, s->loop, overdue, s);
	c->race = race;
	race_next(s, EADDRNOTAVAIL);
	return true;
}
