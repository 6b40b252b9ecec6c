/* Listening: accepting in batches, what to do when there is no fd left, limits; listen_open.c opens listeners.
 *
 * A listener is a socket whose event_read accepts.  While it has a reason not to (l->_paused) its base is
 * paused with SCONCE_PAUSE_APP.  A spell without fds (EMFILE and its kin) begins with one event_fail and ends when
 * the backlog has been accepted whole; meanwhile one try is made whenever the loop closes an fd, and
 * after 0.1 s doubling to 1 s, since others may free one too. */
#include "core.h"

#include <inttypes.h>
#include <stdio.h>

/* A batch begins with one connection: asking for a second that is not there costs more than another turn.  It doubles while
 * connections keep coming faster than that. */
enum { ACCEPT_BATCH = 64, ACCEPT_PATIENCE = 8 };
static const double backoff_first = 0.1, backoff_max = 1;

static const struct sconce_sock_ops listener_ops;

struct sconce_listener *
sconce_listener_of(struct sconce_sock *s)
{
	assert(s->ops == &listener_ops && "the base of a listener");
	return SCONCE_CONTAINER_OF(s, struct sconce_listener, sock);
}

static const struct sconce_listener *
listener_of_const(const struct sconce_sock *s)
{
	assert(s->ops == &listener_ops && "the base of a listener");
	return SCONCE_CONTAINER_OF(s, const struct sconce_listener, sock);
}

/* ---- reasons ---- */

/* The only listener in an EMFILE spell is loop->starved; of several, one of them or NULL. */
static void
count_starved(struct sconce_listener *l, bool on)
{
	struct sconce_loop *loop = l->sock.loop;

	if (on) {
		loop->starved = loop->starved_count == 0 ? l : NULL;
		loop->starved_count++;
	} else {
		loop->starved_count--;
		if (loop->starved == l)
			loop->starved = NULL;
	}
}

static void
set_paused(struct sconce_listener *l, unsigned why, bool on)
{
	unsigned before = l->_paused, now = on ? before | why : before & ~why;

	if (now == before)
		return;
	l->_paused = (uint8_t)now;
	if ((before ^ now) & SCONCE_LISTENER_EMFILE)
		count_starved(l, on);
	if (now == 0)
		sconce_resume(&l->sock, SCONCE_PAUSE_APP);
	else
		sconce_pause(&l->sock, SCONCE_PAUSE_APP);
}

void
sconce_listener_pause(struct sconce_listener *l)
{
	set_paused(l, SCONCE_LISTENER_USER, true);
}

void
sconce_listener_resume(struct sconce_listener *l)
{
	set_paused(l, SCONCE_LISTENER_USER, false);
}

unsigned
sconce_listener_paused(const struct sconce_listener *l)
{
	return l->_paused;
}

/* ---- limits ---- */

void
sconce_listener_set_batch(struct sconce_listener *l, unsigned max)
{
	l->_batch_max = (uint8_t)(max < 1 ? 0 : max > ACCEPT_BATCH ? ACCEPT_BATCH - 1 : max - 1);
	if (l->_batch > l->_batch_max)
		l->_batch = l->_batch_max;
}

static void
judge_limit(struct sconce_listener *l)
{
	set_paused(l, SCONCE_LISTENER_LIMIT, l->_limit != 0 && l->connections >= l->_limit);
}

void
sconce_listener_set_limit(struct sconce_listener *l, uint32_t limit)
{
	l->_limit = limit;
	judge_limit(l);
}

void
sconce__listener_uncount(struct sconce_sock *s)
{
	struct sconce_listener *l = s->_side->listener;

	if (l == NULL)
		return;
	s->_side->listener = NULL;
	l->connections--;
	judge_limit(l);
}

int
sconce_listener_count(struct sconce_listener *l, struct sconce_sock *s)
{
	struct sconce__side *side = sconce__side(s);

	if (side == NULL)
		return -ENOMEM;
	if (side->listener != NULL)
		sconce__listener_uncount(s);
	side->listener = l;
	l->connections++;
	judge_limit(l);
	return 0;
}

void
sconce__listener_gone(struct sconce_listener *l)
{
	struct sconce_loop *loop = l->sock.loop;

	for (uint32_t slot = 0; slot < loop->slot_used && l->connections > 0; slot++) {
		struct sconce_sock *s = sconce__table_at(loop, slot);

		if (s != NULL && s->_side != NULL && s->_side->listener == l) {
			s->_side->listener = NULL;
			l->connections--;
		}
	}
}

/* ---- without fds ---- */

static void
wake(struct sconce_listener *l)
{
	sconce_timer_stop(&l->_retry);
	set_paused(l, SCONCE_LISTENER_EMFILE, false);
}

static void
retry_due(struct sconce_timer *t, void *arg)
{
	(void)t;
	wake(arg);
}

void
sconce__listeners_wake(struct sconce_loop *loop)
{
	if (loop->starved != NULL)
		wake(loop->starved);
	for (uint32_t slot = 0; slot < loop->slot_used && loop->starved_count > 0; slot++) {
		struct sconce_sock *s = sconce__table_at(loop, slot);

		if (s != NULL && s->ops == &listener_ops && (sconce_listener_of(s)->_paused & SCONCE_LISTENER_EMFILE))
			wake(sconce_listener_of(s));
	}
}

bool
sconce__listeners_agree(struct sconce_loop *loop)
{
	size_t starved = 0, counted = 0, connections = 0;

	for (uint32_t slot = 0; slot < loop->slot_used; slot++) {
		struct sconce_sock *s = sconce__table_at(loop, slot);

		if (s == NULL)
			continue;
		counted += s->_side != NULL && s->_side->listener != NULL;
		if (s->ops != &listener_ops)
			continue;
		connections += sconce_listener_of(s)->connections;
		starved += (sconce_listener_of(s)->_paused & SCONCE_LISTENER_EMFILE) != 0;
	}
	return counted == connections && starved == loop->starved_count;
}

static void
tell_fail(struct sconce_listener *l, int errnum)
{
	struct sconce_fail fail;
	char what[SCONCE_ADDR_TEXT + 4];

	if (l->ops->event_fail == NULL)
		return;
	memcpy(what, "on ", 3);
	sconce_addr_text(&l->addr, what + 3, sizeof(what) - 3);
	sconce__fail_fill(&fail, "accept", errnum, what);
	CALL_HOOK(l->sock.loop, &l->sock, "event_fail", errnum, l->ops->event_fail(l, &fail));
}

static void
starve(struct sconce_listener *l, int errnum)
{
	bool first = l->_backoff == 0;

	l->_backoff = first ? backoff_first : l->_backoff * 2;
	if (l->_backoff > backoff_max)
		l->_backoff = backoff_max;
	set_paused(l, SCONCE_LISTENER_EMFILE, true);
	sconce_timer_start(&l->_retry, l->_backoff);
	if (first)
		tell_fail(l, errnum);
}

/* It will never accept again. */
static void
give_up(struct sconce_listener *l, int errnum)
{
	if (l->sock.errnum == 0)
		l->sock.errnum = (uint16_t)errnum;
	tell_fail(l, errnum);
	sconce_close(&l->sock, SCONCE_REASON_ERROR);
}

/* ---- accepting ---- */

/* What an error of accept(2) is: that of a connection that has gone again, or of the listener. */
static bool
accept_failed(struct sconce_listener *l, int errnum)
{
	switch (errnum) {
	case EAGAIN:
		l->_backoff = 0;
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		starve(l, errnum);
		return false;
	case EBADF:
	case EFAULT:
	case EINVAL:			/* somebody else has shut it down */
	case ENOTSOCK:
		give_up(l, errnum);
		return false;
	default:			/* ECONNABORTED, EPROTO, EPERM, ENETDOWN ...: the next one, please */
		return true;
	}
}

/* An application runs the loop inside an accept hook: what that has made is watched like any other. */
void
sconce__listener_suspend(struct sconce_loop *loop)
{
	struct sconce_sock *s = sconce__table_get(loop, loop->newest);

	if (s != NULL && (s->_flags & FL_INTEREST))
		sconce__sock_dirty(s);
}

/* What the hook made of the fd begins to be watched.  With deferaccept its first data is there, and reading it before that
 * spares a turn. */
static void
begin_watching(struct sconce_listener *l, struct sconce_sock *s)
{
	if (s->_flags & FL_WATCH)
		return;				/* not a connection; it may go at any time */
	s->_flags &= ~(uint32_t)FL_INTEREST;
	if (l->_defer && !(s->_flags & FL_PAUSED))
		sconce__ready_within(&l->sock, s);
	if (!s->closed)
		sconce__arm_new(s);
}

static void
accepted(struct sconce_listener *l, int fd, struct sconce_addr *peer)
{
	struct sconce_loop *loop = l->sock.loop;
	int fresh = loop->fresh_fd, accepting = loop->accepting_fd, r;
	uint64_t newest = loop->newest;		/* of an outer accept hook that runs the loop */
	struct sconce_sock *s;
	bool made;

	sconce_addr_unmap(peer);
	loop->fresh_fd = loop->accepting_fd = fd;
	loop->newest = 0;
	CALL_HOOK(loop, &l->sock, "accept", fd, r = l->ops->accept(l, fd, peer));
	made = loop->newest != 0;
	s = sconce__table_get(loop, loop->newest);
	loop->fresh_fd = fresh;
	loop->accepting_fd = accepting;
	loop->newest = newest;
	if (s != NULL)
		begin_watching(l, s);
	else if (r < 0 && !made)
		loop->be->close(fd, loop->ctx);
	if (r >= 0)
		l->accepted++;
}

/* Behind a spell without fds it goes on until there is nothing more, which is what ends the spell. */
static int
batch_of(const struct sconce_listener *l)
{
	return (l->_backoff > 0 ? l->_batch_max : l->_batch) + 1;
}

static void
listener_event_read(struct sconce_sock *s)
{
	struct sconce_listener *l = sconce_listener_of(s);
	struct sconce_loop *loop = s->loop;
	int taken = 0, failures = 0, errnum = 0;

	s->_flags |= FL_READ_TRIED;	/* it did: accept(2) tells of every error there is */
	while (taken < batch_of(l) && failures < ACCEPT_BATCH && !s->closed && !(s->_flags & FL_PAUSED)) {
		struct sconce_addr peer;
		bool tell = !l->ops->no_peer;
		int fd;

		peer.any.sa_family = AF_UNSPEC;
		peer.len = tell ? sizeof(peer.un) : 0;
		fd = loop->be->accept4(s->fd, tell ? &peer.any : NULL, tell ? &peer.len : NULL, SOCK_NONBLOCK | SOCK_CLOEXEC,
			loop->ctx);
		if (fd >= 0) {
			if (l->_backoff > 0)
				l->_backoff = backoff_first / 2;	/* the spell goes on, its waits begin anew */
			accepted(l, fd, &peer);
			taken++;
			continue;
		}
		errnum = errno;
		if (!accept_failed(l, errnum)) {
			l->_batch = l->_full = 0;
			return;
		}
		failures++;
	}
	if (++l->_full >= ACCEPT_PATIENCE && l->_batch < l->_batch_max) {
		l->_batch = (uint8_t)(l->_batch * 2 + 1);
		if (l->_batch > l->_batch_max)
			l->_batch = l->_batch_max;
		l->_full = 0;
	}
	if (failures == ACCEPT_BATCH)
		starve(l, errnum);	/* something that lasts, whatever it calls itself */
}

/* ---- ends ---- */

static void
listener_event_close(struct sconce_sock *s)
{
	struct sconce_listener *l = sconce_listener_of(s);

	wake(l);
	if (l->ops->event_close != NULL)
		l->ops->event_close(l);
}

static void
listener_destroy(struct sconce_sock *s)
{
	struct sconce_listener *l = sconce_listener_of(s);

	sconce__listener_gone(l);
	if (l->ops->destroy != NULL)
		l->ops->destroy(l);
}

static int
listener_describe(const struct sconce_sock *s, char *buf, size_t size)
{
	const struct sconce_listener *l = listener_of_const(s);
	char addr[SCONCE_ADDR_TEXT];
	unsigned p = l->_paused;

	return snprintf(buf, size, "%s#%" PRIu64 " fd %d %s %s accepted %" PRIu64 " connections %" PRIu32 "%s%s%s",
		l->ops->name, s->id >> SLOT_BITS, s->fd, s->closed ? "closed" : "listening",
		sconce_addr_text(&l->addr, addr, sizeof(addr)), l->accepted, l->connections,
		p & SCONCE_LISTENER_USER ? " paused" : "", p & SCONCE_LISTENER_LIMIT ? " at its limit" : "",
		p & SCONCE_LISTENER_EMFILE ? " without fds" : "");
}

static const struct sconce_sock_ops listener_ops = {
	.name = "listener",
	.event_read = listener_event_read,
	.event_close = listener_event_close,
	.destroy = listener_destroy,
	.describe = listener_describe,
};

/* ---- beginnings ---- */

bool
sconce__listener_complete(const struct sconce_listener_ops *ops)
{
	return ops != NULL && ops->name != NULL && ops->accept != NULL;
}

int
sconce_listener_set_ops(struct sconce_listener *l, const struct sconce_listener_ops *ops)
{
	if (!sconce__listener_complete(ops))
		return -EINVAL;
	l->ops = ops;
	return 0;
}

int
sconce__listener_begin(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops, int fd,
	const struct sconce__path *path)
{
	struct sconce_addr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.len = sizeof(a.un);
	if (loop->be->getsockname(fd, &a.any, &a.len, loop->ctx) == 0 && a.len <= sizeof(a.un))
		l->addr = a;			/* with the port that the kernel chose */
	sconce_addr_unmap(&l->addr);
	l->ops = ops;
	r = sconce_sock_init(&l->sock, loop, &listener_ops, fd);
	if (r < 0)
		return r;
	r = sconce__path_keep(&l->sock, path);
	if (r < 0) {
		sconce__sock_remove_now(&l->sock);
		return r;
	}
	sconce_listener_set_batch(l, ACCEPT_BATCH);
	sconce_timer_init(&l->_retry, loop, retry_due, l);
	sconce__timer_quiet(&l->_retry, true);
	return 0;
}
