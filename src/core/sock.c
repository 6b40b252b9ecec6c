/* A socket object's life: init, interest, the ways to end, holds, detach. */
#include "core.h"

#include <math.h>

enum {
	FAREWELL = UINT16_MAX,		/* _fd_holds: event_close has run and the fd is closed */
	LINGER_BYTES = 64 * 1024	/* what close_flush reads and discards (RFC 9112 section 9.6) */
};
static const double linger_default = 30;

static_assert(sizeof(struct sconce_sock) <= 160, "the promise of sconce/sock.h");

/* ---- work lists ---- */

void
sconce__list_push(struct sock_list *list, struct sconce_sock *s)
{
	s->_next = NULL;
	s->_prevp = list->tail;
	*list->tail = s;
	list->tail = &s->_next;
}

void
sconce__list_remove(struct sconce_loop *l, struct sconce_sock *s)
{
	struct sock_list *lists[] = { &l->dirty, &l->later, &l->hups, &l->closing };

	*s->_prevp = s->_next;
	if (s->_next != NULL) {
		s->_next->_prevp = s->_prevp;
	} else {
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			if (lists[i]->tail == &s->_next)
				lists[i]->tail = s->_prevp;
	}
	s->_prevp = NULL;
	s->_next = NULL;
}

static bool
listed(const struct sconce_sock *s)
{
	return s->_prevp != NULL;
}

void
sconce__sock_dirty(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	CHECK_THREAD(l);
	if ((s->_flags & FL_DIRTY) || s->closed)
		return;
	if (listed(s))			/* on hups */
		sconce__list_remove(l, s);
	if (l->gather_len == 0)
		l->gather_for = NULL;	/* it was written to first: it is flushed before the current socket */
	s->_flags |= FL_DIRTY;
	sconce__list_push(&l->dirty, s);
	sconce__feed(l);
}

void
sconce__sock_later(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (s->closed)
		return;
	if (listed(s))			/* on dirty too: it has had its share of this turn */
		sconce__list_remove(l, s);
	s->_flags |= FL_DIRTY;
	sconce__list_push(&l->later, s);
	sconce__feed_turn(l);
}

/* ---- interest ---- */

void
sconce__interest(struct sconce_sock *s)
{
	s->_flags |= FL_INTEREST;
	if (s != s->loop->current)
		sconce__sock_dirty(s);
}

/* Whether nothing that is watched would tell of a hang-up.  What waits to be sent would, unless the fd is not asked. */
static bool
needs_hup(const struct sconce_sock *s, unsigned wants)
{
	bool sends = (s->_flags & FL_STUCK) && (wants & SCONCE_WRITE);

	return !(wants & SCONCE_READ) && !sends && !(s->_flags & (FL_HUP_WATCHED | FL_HUP_TOLD | SCONCE_PAUSE_CONNECTING));
}

void
sconce__arm(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	unsigned wants = sock_wants(s);
	bool reads = wants & SCONCE_READ;

	s->_flags &= ~(uint32_t)FL_INTEREST;
	if (s->fd < 0 || s->closed)
		return;
	if (!(s->_flags & FL_STUCK) && has_items(s))
		wants &= ~(unsigned)SCONCE_WRITE;	/* event_write waits for an empty queue */
	if (s->_flags & FL_SIDE_HOT)
		wants = sconce__transport_wants(s, wants);
	if (s->ops->records && s->_side->blind)
		wants &= ~(unsigned)SCONCE_WRITE;	/* it would be told at once, and in vain */
	l->be->arm(s, wants, l->ctx);
	if ((s->_flags & FL_IDLE_OFF) && reads)		/* though a transport may read when the fd is writable */
		sconce__idle_resume(s);
	if (!needs_hup(s, wants))
		return;
	if (l->ending) {
		s->_flags |= FL_HUP_WATCHED;
		l->be->watch_hup(s, l->ctx);
	} else if (!listed(s)) {
		sconce__list_push(&l->hups, s);
		sconce__feed(l);
	}
}

void
sconce__arm_new(struct sconce_sock *s)
{
	if (just_reads(s))
		s->loop->be->arm(s, SCONCE_READ, s->loop->ctx);
	else
		sconce__arm(s);
}

void
sconce__pause_set(struct sconce_sock *s, unsigned why, bool on)
{
	uint32_t old = s->_flags & FL_PAUSED, now = on ? old | why : old & ~why;

	if (now == old || s->closed)
		return;
	s->_flags = (s->_flags & ~(uint32_t)FL_PAUSED) | now;
	if (s->_flags & FL_SIDE_HOT)
		sconce__unread_wake(s);
	if ((old == 0) == (now == 0))
		return;
	if (now == 0) {
		if (!(old & SCONCE_PAUSE_ENDING))
			s->_clock[0] = (uint32_t)((sconce__clock(s->loop) - s->loop->start) / 1000000);	/* idle time begins anew */
		sconce__unread_wake(s);
	}
	sconce__interest(s);
}

int
sconce_watch_read(struct sconce_sock *s, bool on)
{
	if (s->ops->event_read == NULL)
		return -EINVAL;
	sconce__pause_set(s, SCONCE_PAUSE_WISH, !on);
	return 0;
}

int
sconce_watch_write(struct sconce_sock *s, bool on)
{
	uint32_t old = s->_flags;

	if (s->ops->event_write == NULL || s->ops->records)
		return -EINVAL;
	if (s->closed || (old & SCONCE_PAUSE_ENDING))
		return 0;
	s->_flags = on ? old | FL_WISH_WRITE : old & ~(uint32_t)FL_WISH_WRITE;
	if (s->_flags != old)
		sconce__interest(s);
	return 0;
}

void
sconce_pause(struct sconce_sock *s, unsigned why)
{
	sconce__pause_set(s, why & (SCONCE_PAUSE_RATE | SCONCE_PAUSE_APP), true);
}

void
sconce_resume(struct sconce_sock *s, unsigned why)
{
	sconce__pause_set(s, why & (SCONCE_PAUSE_RATE | SCONCE_PAUSE_APP), false);
}

unsigned
sconce_paused(const struct sconce_sock *s)
{
	return s->_flags & FL_PAUSED;
}

unsigned
sconce_watching(const struct sconce_sock *s)
{
	return s->closed ? 0 : sock_wants(s);
}

int
sconce_fd(const struct sconce_sock *s)
{
	return s->fd;
}

/* ---- beginnings ---- */

struct sconce__side *
sconce__side(struct sconce_sock *s)
{
	if (s->_side == NULL) {
		s->_side = sconce__zalloc(s->loop, sizeof(*s->_side));
		if (s->_side != NULL)
			s->_side->sock = s;
	}
	return s->_side;
}

void
sconce__side_trim(struct sconce_sock *s)
{
	static const struct sconce__side none;
	struct sconce__side *side = s->_side;

	if (side == NULL || s->ops->records || (s->_flags & SCONCE_PAUSE_FLOW) || (side->fail != NULL && side->fail->errnum != 0))
		return;				/* a transfer's completion looks at it */
	l_free(s->loop, side->fail);
	side->fail = NULL;
	side->sock = NULL;
	if (memcmp(side, &none, sizeof(none)) == 0) {
		l_free(s->loop, side);
		s->_side = NULL;
		s->_flags &= ~(uint32_t)FL_SIDE_HOT;
	} else {
		side->sock = s;
	}
}

void
sconce__side_hot(struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;
	bool hot = side != NULL && (side->unread_len > 0 || side->transport != NULL || side->transfer != NULL ||
	    side->end_seen || side->offer || (side->cap_set && side->cap < GATHER_SIZE));

	s->_flags = hot ? s->_flags | FL_SIDE_HOT : s->_flags & ~(uint32_t)FL_SIDE_HOT;
}

/* Another one may come: the backend's slot is new then. */
static void
forget_fd(struct sconce_sock *s)
{
	memset(&s->_slot, 0, sizeof(s->_slot));
	s->fd = -1;
}

static inline int
attach_fd(struct sconce_sock *s, int fd)
{
	struct sconce_loop *l = s->loop;
	int r;

	if (fd != l->fresh_fd && !(s->_flags & FL_WATCH) && l->be->prepare(fd, l->ctx) < 0)
		return -errno;
	s->fd = fd;
	r = l->be->add(s, l->ctx);
	if (r < 0)
		forget_fd(s);
	else if (s->ops->records)
		s->_flags |= FL_WR_END;		/* as a stream */
	return r;
}

int
sconce__attach_fd(struct sconce_sock *s, int fd)
{
	return attach_fd(s, fd);
}

void
sconce__drop_fd(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (s->fd < 0)
		return;
	l->be->del(s, false, l->ctx);
	l->be->close(s->fd, l->ctx);
	forget_fd(s);
	s->_flags &= ~(uint32_t)(FL_HUP_WATCHED | FL_HUP_TOLD | FL_NOTSOCK);
}

/* A beginning that failed. */
static COLD void
drop_side(struct sconce_sock *s)
{
	l_free(s->loop, s->_side);
	s->_side = NULL;
}

int
sconce__sock_init(struct sconce_sock *s, struct sconce_loop *l, const struct sconce_sock_ops *ops, int fd, uint32_t flags)
{
	const size_t half = sizeof(*s) / 2;
	int r;

	CHECK_THREAD(l);
	if (l->freeing)
		return -ESHUTDOWN;
	memset(s, 0, half);		/* in halves, which compilers do with few wide stores */
	memset((char *)s + half, 0, sizeof(*s) - half);
	s->ops = ops;
	s->loop = l;
	s->fd = -1;
	s->_flags = flags | (ops->event_read == NULL ? SCONCE_PAUSE_WISH : 0) | (fd < 0 ? FL_STUCK : 0);
	s->_clock[0] = (uint32_t)l->now_ms;
	if (ops->records && sconce__side(s) == NULL)
		return -ENOMEM;
	r = sconce__table_add(l, s);
	if (r < 0) {
		drop_side(s);
		return r;
	}
	if (fd >= 0) {
		r = attach_fd(s, fd);
		if (r < 0) {
			sconce__table_remove(l, s);
			drop_side(s);
			return r;
		}
		if (flags & FL_INTERNAL)
			l->be->arm(s, sock_wants(s), l->ctx);
		else if (fd == l->accepting_fd && !(flags & FL_WATCH))
			s->_flags |= FL_INTEREST;	/* listen.c arms it */
		else
			sconce__interest(s);
	}
	l->all_count++;
	if (!(flags & FL_INTERNAL)) {
		l->watches += (flags & FL_WATCH) != 0;
		count_sock(l, 1);
	}
	if (fd >= 0 && fd == l->accepting_fd)
		l->newest = s->id;
	TRACE_STATE(l, s, "open", fd);
	return 0;
}

int
sconce_sock_init_sized(struct sconce_sock *s, struct sconce_loop *loop, const struct sconce_sock_ops *ops,
    int fd, size_t sock_size, size_t ops_size)
{
	if (sock_size != sizeof(*s) || ops_size != sizeof(*ops) || ops == NULL || ops->name == NULL)
		return -EINVAL;
	if (fd < -1)
		return -EBADF;
	return sconce__sock_init(s, loop, ops, fd, 0);
}

/* ---- ends ---- */

/* Drops what waits to be sent; completions will be told.  Returns how many bytes were accepted for nothing, all told. */
static uint64_t
drop_output(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	uint64_t unsent;

	if (l->gather_for == s)
		l->gather_for = NULL;
	if (s->_queue == NULL && !has_gathered(s)) {	/* as a rule */
		if (l->gather_owner == s)
			l->gather_owner = NULL;
		return 0;
	}
	unsent = (s->_queue != NULL ? s->_queue->lost : 0) + sconce_queued(s);
	sconce__gather_drop(s);
	sconce__cancel(s, -ECANCELED);
	return unsent;
}

/* Everything that must be silent at once.  Allocates nothing and runs no hook. */
static void
end(struct sconce_sock *s, int reason)
{
	struct sconce_loop *l = s->loop;

	TRACE_STATE(l, s, "closed", reason);
	sconce__timeouts_cancel(s);
	if (s->_side != NULL) {
		sconce__timers_unbind(s);
		sconce__unread_drop(s);
		sconce__post_loop_drop(s);
		sconce__connect_fini(s);
		sconce__transfer_source_closed(s);
	}
	s->unsent = drop_output(s);
	s->closed = true;
	s->reason = (uint8_t)reason;
	if (listed(s))
		sconce__list_remove(l, s);
	s->_flags &= ~(uint32_t)(FL_DIRTY | FL_INTEREST | FL_SOURCE);
	s->_flags |= SCONCE_PAUSE_END;		/* so that the plain paths need not look at `closed` too */
	if (s->fd >= 0)
		l->be->del(s, false, l->ctx);
	sconce__list_push(&l->closing, s);
	sconce__feed(l);
}

/* What the kernel has not refused yet is offered once. */
static void
offer(struct sconce_sock *s)
{
	if (!(s->_flags & FL_STUCK) && s->fd >= 0)
		sconce__flush(s, false);
}

void
sconce_close(struct sconce_sock *s, int reason)
{
	if (s->closed)
		return;
	if (s->_queue != NULL || gather_in_use(s->loop))
		offer(s);
	end(s, reason > 0 && reason <= UINT8_MAX ? reason : SCONCE_REASON_LOCAL);
}

void
sconce_close_error(struct sconce_sock *s, int reason, int errnum)
{
	if (s->closed)
		return;
	if (s->errnum == 0)
		s->errnum = (uint16_t)errnum;
	sconce_close(s, reason);
}

void
sconce_set_failure(struct sconce_sock *s, const char *operation, int errnum, const char *what)
{
	sconce__fail_set(s, operation, errnum, what);
}

void
sconce_abort(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	if (s->closed)
		return;
	if (s->fd >= 0)
		l->be->setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard), l->ctx);
	end(s, SCONCE_REASON_ABORT);
}

void
sconce_set_no_linger(struct sconce_sock *s, bool on)
{
	s->_flags = on ? s->_flags | FL_NO_LINGER : s->_flags & ~(uint32_t)FL_NO_LINGER;
}

void
sconce_close_flush(struct sconce_sock *s, double timeout)
{
	uint32_t ms;

	if (s->closed)
		return;
	if (s->ops->records || (s->fd < 0 && !(s->_flags & SCONCE_PAUSE_CONNECTING))) {
		sconce_close(s, SCONCE_REASON_LOCAL);
		return;
	}
	if (!(timeout >= 0))
		timeout = linger_default;
	ms = timeout < 2000000 ? (uint32_t)ceil(timeout * 1000) : 2000000000;
	sconce__timeouts_cancel(s);
	if (s->_side != NULL) {
		sconce__timers_unbind(s);
		sconce__unread_drop(s);
		sconce__post_loop_drop(s);
		sconce__transfer_source_closed(s);
	}
	s->_flags &= ~(uint32_t)(FL_WISH_WRITE | FL_IDLE_OFF | FL_SOURCE);
	s->_flags |= SCONCE_PAUSE_ENDING | FL_WR_SHUT;
	if (s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	sconce__idle_set(s, ms > 0 ? ms : 1);
	s->_clock[0] = 0;		/* counts what is discarded from here on */
	TRACE_STATE(s->loop, s, "ending", 0);
	sconce__sock_dirty(s);
	sconce__interest(s);
}

/* The deadline of close_flush. */
void
sconce__ending_expired(struct sconce_sock *s)
{
	sconce_close(s, sconce_queued(s) > 0 ? SCONCE_REASON_TIMEOUT : SCONCE_REASON_LOCAL);
}

/* A closing socket's queue has gone: shut down, then wait for the peer's end. */
void
sconce__ending_step(struct sconce_sock *s)
{
	const struct sconce__queue *q = s->_queue;

	if ((q != NULL && (q->head != NULL || q->done != NULL)) || (s->_flags & (FL_STUCK | SCONCE_PAUSE_CONNECTING)))
		return;
	if (!(s->_flags & FL_WR_END)) {
		sconce__try_shutdown(s);
		if (s->_flags & FL_WR_SHUT)
			return;			/* a transport's shutdown goes on */
	}
	if ((s->_flags & (FL_NO_LINGER | SCONCE_PAUSE_END | FL_NOTSOCK | FL_ERR_PENDING)) || s->errnum != 0)
		sconce_close(s, s->errnum != 0 ? SCONCE_REASON_ERROR : SCONCE_REASON_LOCAL);
	else if (!(s->_flags & FL_SOURCE)) {
		s->_flags |= FL_SOURCE;		/* reads are watched in spite of ENDING */
		sconce__interest(s);
	}
}

/* Discards input of a socket that waits for its peer's end.  Returns whether there is more at once. */
static bool
discard(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	char waste[16 * 1024];
	struct iovec iov = { .iov_base = waste, .iov_len = sizeof(waste) };
	ssize_t n;

	if (has_transport(s))
		n = sconce__transport_readv(s, &iov, 1);
	else if ((n = l->be->recv(s->fd, waste, sizeof(waste), 0, l->ctx)) < 0)
		n = -errno;
	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n > 0)
		s->_clock[0] += (uint32_t)n;
	if (n <= 0 || s->_clock[0] >= LINGER_BYTES)
		sconce_close(s, SCONCE_REASON_LOCAL);
	return !s->closed && sconce__transport_pending(s);
}

void
sconce__ending_read(struct sconce_sock *s)
{
	while (discard(s))
		;			/* a transport holds more, which the kernel will not tell of */
}

int
sconce_shutdown(struct sconce_sock *s, int how)
{
	struct sconce_loop *l = s->loop;

	if (s->closed || (s->fd < 0 && !(s->_flags & SCONCE_PAUSE_CONNECTING)))
		return -EBADF;
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (s->ops->records)
		return -EOPNOTSUPP;
	if (how != SHUT_WR) {
		if (s->_side != NULL)
			sconce__unread_drop(s);
		if (!(s->_flags & SCONCE_PAUSE_END)) {
			if (!(s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)))	/* else when that has ended */
				l->be->shutdown(s->fd, SHUT_RD, l->ctx);
			sconce__input_end(s, 0);
		}
	}
	if (how != SHUT_RD && !(s->_flags & (FL_WR_SHUT | FL_WR_END))) {
		s->_flags |= FL_WR_SHUT;
		if (!(s->_flags & (FL_STUCK | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)))
			sconce__flush(s, false);
		if (l->gather_for == s)
			l->gather_for = NULL;
		sconce__try_shutdown(s);
		sconce__sock_dirty(s);
	}
	return 0;
}

int
sconce_detach(struct sconce_sock *s, void *buf, size_t size, size_t *len_out)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side = s->_side;
	size_t unread = side != NULL ? side->unread_len : 0;
	int fd = s->fd;

	if (s->closed || fd < 0)
		return -EBADF;
	if (s->_flags & SCONCE_PAUSE_CONNECTING)
		return -EINPROGRESS;
	if ((s->_flags & SCONCE_PAUSE_FLOW) || (side != NULL && side->transport != NULL))
		return -EBUSY;
	if (unread > size)
		return -ENOBUFS;
	offer(s);
	if (sconce_queued(s) > 0 || has_items(s))
		return -EBUSY;
	if (unread > 0)
		memcpy(buf, side->unread + side->unread_off, unread);
	if (len_out != NULL)
		*len_out = unread;
	l->be->del(s, true, l->ctx);
	s->fd = -1;
	end(s, SCONCE_REASON_DETACH);
	return fd;
}

/* ---- step 6 ---- */

static void
run_done(struct sconce_sock *s)
{
	if (s->_queue != NULL)
		sconce__run_done(s, INT32_MAX);
}

static void
say_farewell(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (s->ops->event_close != NULL)
		CALL_HOOK(l, s, "event_close", s->reason, s->ops->event_close(s));
	run_done(s);
	if (s->_side != NULL) {
		sconce__transport_fini(s);
		sconce__path_gone(s);
	}
	if (s->fd >= 0 && !(s->_flags & FL_WATCH)) {
		l->be->close(s->fd, l->ctx);
		if (l->starved_count > 0)
			sconce__listeners_wake(l);
	}
	s->fd = -1;
	s->_fd_holds = FAREWELL;
}

/* What the library holds for `s`; the object is nobody's afterwards. */
static void
let_go(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side = s->_side;

	if (s->_queue != NULL) {
		s->_queue->lost = 0;
		sconce__queue_trim(s);
	}
	sconce__table_remove(l, s);
	if (side != NULL) {
		if (side->listener != NULL)
			sconce__listener_uncount(s);
		l_free(l, side->unread);
		l_free(l, side->peer);
		l_free(l, side->fail);
		l_free(l, side->path);
		l_free(l, side);
		s->_side = NULL;
	}
	l->all_count--;
	if (!(s->_flags & FL_INTERNAL)) {
		l->watches -= (s->_flags & FL_WATCH) != 0;
		count_sock(l, -1);
	}
}

static void
finish(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	void (*destroy)(struct sconce_sock *) = s->ops->destroy;

	run_done(s);
	if (s->_fd_holds == 0)
		say_farewell(s);
	if (s->_fd_holds == FAREWELL && s->_holds == 0 && s->_prevp == NULL) {
		let_go(s);
		if (destroy != NULL)
			CALL_HOOK(l, s, "destroy", 0, destroy(s));
	}
}

void
sconce__step6(struct sconce_loop *l)
{
	struct sconce_sock *s;
	struct sock_list batch;

	if (l->closing.head == NULL)
		return;
	batch.head = l->closing.head;
	batch.tail = l->closing.tail;
	batch.head->_prevp = &batch.head;
	list_init(&l->closing);
	sconce__enter(l, NULL);
	while ((s = list_pop(&batch)) != NULL)
		finish(s);
	sconce__leave(l);
}

void
sconce__sock_remove_now(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (listed(s))
		sconce__list_remove(l, s);
	if (l->current == s)
		l->current = NULL;
	s->closed = true;
	l->be->del(s, true, l->ctx);
	s->fd = -1;
	let_go(s);
}

/* ---- holds ---- */

static void
hold_up(uint16_t *count)
{
	assert(*count < UINT16_MAX - 1 && "at most 65 534 holds at a time");
	++*count;
}

/* A closed socket that may be finished now. */
void
sconce__sock_relist(struct sconce_sock *s)
{
	if (s->closed && !listed(s)) {
		sconce__list_push(&s->loop->closing, s);
		sconce__feed(s->loop);
	}
}

void
sconce_hold(struct sconce_sock *s)
{
	hold_up(&s->_holds);
}

void
sconce_release(struct sconce_sock *s)
{
	assert(s->_holds > 0 && "as many releases as holds");
	if (--s->_holds == 0)
		sconce__sock_relist(s);
}

void
sconce_hold_fd(struct sconce_sock *s)
{
	hold_up(&s->_holds);
	if (s->_fd_holds != FAREWELL)
		hold_up(&s->_fd_holds);
}

void
sconce_release_fd(struct sconce_sock *s)
{
	assert(s->_holds > 0 && "as many releases as holds");
	s->_holds--;
	if (s->_fd_holds != FAREWELL) {
		assert(s->_fd_holds > 0 && "as many releases as holds");
		s->_fd_holds--;
	}
	if (s->_fd_holds == 0 || s->_holds == 0)
		sconce__sock_relist(s);
}

void
sconce__sock_unhold(struct sconce_sock *s)
{
	s->_holds = 0;
	if (s->_fd_holds != FAREWELL)
		s->_fd_holds = 0;
	sconce__sock_relist(s);
}
