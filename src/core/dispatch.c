/* What happens when a socket is ready, and when its dispatch ends. */
#include "core.h"

/* ---- frames ---- */

/* Whether what `s` writes may be gathered in the loop's buffer. */
static inline bool
may_gather(struct sconce_sock *s)
{
	const struct sconce__queue *q = s->_queue;

	return !(s->_flags & FL_NO_FAST_WRITE) && (q == NULL || (q->head == NULL && q->done == NULL)) && s->fd >= 0 &&
	    !s->closed && cap_is_wide(s) && sconce__gather_ready(s->loop);
}

/* An application runs the loop inside a hook: what the outer socket has gathered becomes an item. */
static COLD void
suspend(struct sconce_loop *l)
{
	struct sconce_sock *outer = l->current;

	if (gather_in_use(l))
		sconce__gather_spill(l);
	l->gather_for = NULL;
	l->current = NULL;
	if (outer != NULL)
		sconce__sock_dirty(outer);
	sconce__listener_suspend(l);
}

void
sconce__enter(struct sconce_loop *l, struct sconce_sock *s)
{
	if (unlikely(l->current != NULL))
		suspend(l);
	l->depth++;
	l->current = s;
	l->gather_for = s != NULL && likely(may_gather(s)) ? s : NULL;
}

/* The kernel has taken `n` of the gathered bytes (-1: none, errno), not all. */
static COLD void
flush_refused(struct sconce_loop *l, struct sconce_sock *s, ssize_t n)
{
	if (n < 0 && errno != EAGAIN) {
		if (errno == EINTR || errno == ENOTSOCK)
			sconce__sock_dirty(s);	/* settled with the others: it is tried again */
		else
			sconce__send_failed(s, errno);	/* the kernel tells it only once */
		return;
	}
	sconce__gather_sent(l, n > 0 ? (size_t)n : 0);
	sconce__set_stuck(s);
	sconce__gather_spill(l);
	sconce__note_high(s);
}

/* What the current socket has gathered, in the plain case. */
static void
flush_own(struct sconce_loop *l, struct sconce_sock *s)
{
	ssize_t n;

	if (unlikely(s->_flags & (FL_SIDE_HOT | FL_NOTSOCK | FL_DIRTY))) {
		sconce__sock_dirty(s);
		return;
	}
	n = l->gather_len > 0 ? l->be->send(s->fd, item_payload(l->gather), l->gather_len, MSG_NOSIGNAL, l->ctx) : 0;
	if (likely(n == (ssize_t)l->gather_len))
		sconce__gather_sent(l, (size_t)n);
	else
		flush_refused(l, s, n);
}

/* Ends the hooks of the current socket: what it gathered leaves, or waits for its place among the others. */
static void
close_frame(struct sconce_loop *l, struct sconce_sock *s)
{
	if (gather_in_use(l)) {
		if (l->gather_owner == s)
			flush_own(l, s);
		if (gather_in_use(l))
			sconce__gather_spill(l);
	}
	l->gather_for = NULL;
	l->current = NULL;
}

void
sconce__leave(struct sconce_loop *l)
{
	struct sconce_sock *s = l->current;

	if (s != NULL) {
		close_frame(l, s);
		if (unlikely(l->dirty.head != NULL) && !l->ending)
			sconce__flush_dirty(l);
		if (unlikely(s->_flags & FL_INTEREST) && !s->closed)
			sconce__arm(s);
	}
	l->depth--;
	if (unlikely(l->end_wanted) && l->depth == 0)
		sconce__feed(l);
}

/* ---- settling: what follows a flush ---- */

/* Ends what sconce__enter() began, without settling: that is what goes on. */
static void
end_frame(struct sconce_loop *l, struct sconce_sock *s)
{
	if (l->current == s)
		close_frame(l, s);
	l->depth--;
}

static void
frame(struct sconce_loop *l, struct sconce_sock *s, void (*hook)(struct sconce_sock *), const char *label)
{
	sconce__enter(l, s);
	CALL_HOOK(l, s, label, 0, hook(s));
	end_frame(l, s);
}

static void
run_completions(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	bool waited;

	if (s->_queue == NULL || s->_queue->done == NULL)
		return;
	waited = s->_queue->wait_done;
	sconce__enter(l, s);
	if (sconce__run_done(s, FLUSH_COMPLETIONS))
		sconce__sock_later(s);
	end_frame(l, s);
	if (waited && !s->closed)
		sconce__sock_dirty(s);		/* what waited for the completion goes on */
}

/* A hook has closed it, at once or when all has been sent: no other follows. */
static bool
is_over(const struct sconce_sock *s)
{
	return s->closed || (s->_flags & SCONCE_PAUSE_ENDING);
}

static void
tell_marks(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if ((s->_flags & FL_HIGH) && sconce_queued(s) <= low_mark(s)) {
		s->_flags &= ~(uint32_t)FL_HIGH;
		if (s->ops->event_low != NULL)
			frame(l, s, s->ops->event_low, "event_low");
	}
	if (!is_over(s) && (s->_flags & FL_DRAIN) && !(s->_flags & FL_STUCK) && !has_items(s)) {
		s->_flags &= ~(uint32_t)FL_DRAIN;
		sconce__output_moved(s);
		if (s->ops->event_drain != NULL)
			frame(l, s, s->ops->event_drain, "event_drain");
	}
	if (!is_over(s) && !(s->_flags & FL_HIGH) && s->_queue != NULL && s->_queue->bytes > high_mark(s)) {
		s->_flags |= FL_HIGH;
		if (s->ops->event_high != NULL)
			frame(l, s, s->ops->event_high, "event_high");
	}
}

/* The hook has read: the kernel will not tell of what a transport still holds. */
static void
wake_transport(struct sconce_sock *s)
{
	if (!s->closed && (s->_flags & FL_READ_TRIED) && sconce__transport_pending(s))
		sconce__unread_wake(s);
}

/* Input that waits is offered before the socket is told that it is broken. */
static void
offer_input(struct sconce_sock *s)
{
	if ((s->_flags & FL_PAUSED) || s->ops->event_read == NULL)
		return;
	frame(s->loop, s, s->ops->event_read, "event_read");
	wake_transport(s);
}

/* A transfer reads on, and its completion is told how that ended. */
static bool
is_source(const struct sconce_sock *s)
{
	return s->_side != NULL && s->_side->transfer != NULL;
}

static void
tell_err(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	int errnum = s->errnum;

	s->_flags &= ~(uint32_t)FL_ERR_PENDING;
	if (s->_flags & FL_ERR_TOLD)
		return;
	offer_input(s);
	if (is_over(s))
		return;
	s->_flags |= FL_ERR_TOLD;
	sconce__fail_told(s, errnum);
	if (s->ops->event_err == NULL) {
		if (!is_source(s))
			sconce_close(s, SCONCE_REASON_ERROR);
		return;
	}
	sconce__enter(l, s);
	CALL_HOOK(l, s, "event_err", errnum, s->ops->event_err(s, errnum));
	end_frame(l, s);
}

static void
tell_hup(struct sconce_sock *s)
{
	s->_flags &= ~(uint32_t)FL_HUP_PENDING;
	if (s->_flags & FL_HUP_TOLD)
		return;
	offer_input(s);
	if (is_over(s))
		return;
	s->_flags |= FL_HUP_TOLD;
	if (s->ops->event_hup != NULL)
		frame(s->loop, s, s->ops->event_hup, "event_hup");
	else if (s->ops->event_read == NULL && !is_source(s))
		sconce_close(s, SCONCE_REASON_HUP);
}

/* Offers the queue to the kernel and tells all that follows from it. */
static void
settle_queue(struct sconce_sock *s)
{
	sconce__flush(s, true);
	run_completions(s);
	if (s->closed)
		return;
	if (s->_flags & SCONCE_PAUSE_ENDING) {
		sconce__ending_step(s);
		return;
	}
	tell_marks(s);
	if (!s->closed && (s->_flags & FL_WR_SHUT))
		sconce__try_shutdown(s);
}

static void
settle(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;

	if (s->_flags & FL_CONNECT_TOLD) {
		sconce__enter(l, s);
		sconce__connect_report(s);
		end_frame(l, s);
		if (s->closed)
			return;
	}
	if (s->fd >= 0 && !(s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)))
		settle_queue(s);
	else
		run_completions(s);		/* a failed connect has cancelled them */
	if (!s->closed && (s->_flags & FL_ERR_PENDING) && !(s->_flags & SCONCE_PAUSE_ENDING))
		tell_err(s);
	if (!s->closed && (s->_flags & FL_HUP_PENDING) && !(s->_flags & SCONCE_PAUSE_ENDING))
		tell_hup(s);
	if (!s->closed && !just_reads(s))
		sconce__arm(s);
}

static void
flush_round(struct sconce_loop *l)
{
	struct sock_list batch = { .head = l->dirty.head };
	struct sconce_sock *s;

	batch.head->_prevp = &batch.head;
	list_init(&l->dirty);
	while ((s = list_pop(&batch)) != NULL) {
		s->_flags &= ~(uint32_t)FL_DIRTY;
		if (!sconce__flush_lone(s))
			settle(s);
		else if (!just_reads(s))
			sconce__arm(s);
	}
}

void
sconce__flush_dirty(struct sconce_loop *l)
{
	struct sconce_sock *s;

	for (int i = 0; i < FLUSH_ROUNDS && l->dirty.head != NULL; i++)
		flush_round(l);
	while ((s = l->dirty.head) != NULL) {	/* sockets that keep each other busy go on in the next turn */
		sconce__list_remove(l, s);
		s->_flags &= ~(uint32_t)FL_DIRTY;
		sconce__sock_later(s);
	}
	if (!l->ending)
		return;
	while ((s = l->hups.head) != NULL) {
		sconce__list_remove(l, s);
		sconce__arm(s);
	}
}

/* ---- readiness ---- */

/* After an event_read: again while it fills its buffer. */
static void
read_again(struct sconce_loop *l, struct sconce_sock *s)
{
	for (int i = 1; i < READ_TIMES && (s->_flags & FL_READ_FULL) && !(s->_flags & FL_PAUSED); i++) {
		s->_flags &= ~(uint32_t)(FL_READ_FULL | FL_READ_TRIED);
		CALL_HOOK(l, s, "event_read", 0, s->ops->event_read(s));
		if (s->closed)
			return;
	}
	/* A hook that does not read with our calls would hide an error or hang-up: have those told separately. */
	if (!(s->_flags & (FL_READ_TRIED | FL_HUP_WATCHED)) && s->fd >= 0 && l->current == s) {
		s->_flags |= FL_HUP_WATCHED;
		l->be->watch_hup(s, l->ctx);
	}
}

static void
read_hooks(struct sconce_loop *l, struct sconce_sock *s)
{
	s->_flags &= ~(uint32_t)(FL_READ_FULL | FL_READ_TRIED);
	CALL_HOOK(l, s, "event_read", 0, s->ops->event_read(s));
	if (!s->closed)
		read_again(l, s);
}

/* The error that is pending, 0 for none; the kernel tells it only once. */
static int
take_error(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (l->be->getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &errnum, &len, l->ctx) < 0)
		errnum = errno == ENOTSOCK ? EPIPE : errno;
	return errnum;
}

static void
kernel_error(struct sconce_sock *s)
{
	int errnum = take_error(s);

	if (s->ops->records) {
		if (s->ops->event_err != NULL)	/* of 0 too: the error queue may have it */
			CALL_HOOK(s->loop, s, "event_err", errnum, s->ops->event_err(s, errnum));
	} else if (errnum != 0) {
		if (!(s->_flags & (FL_STUCK | FL_NOTSOCK)))	/* nothing was being sent */
			sconce__fail_unsent(s);
		sconce__send_failed(s, errnum);
	}
}

static void
write_ready(struct sconce_loop *l, struct sconce_sock *s)
{
	if (s->_flags & FL_STUCK) {
		s->_flags = (s->_flags & ~(uint32_t)FL_STUCK) | FL_INTEREST;
		l->current = NULL;
		settle_queue(s);
		if (s->closed)
			return;
		l->current = s;
		l->gather_for = may_gather(s) ? s : NULL;
	}
	if ((s->_flags & (FL_WISH_WRITE | FL_STUCK | FL_WR_END)) == FL_WISH_WRITE && !has_items(s) && !gather_in_use(l))
		CALL_HOOK(l, s, "event_write", 0, s->ops->event_write(s));
}

static void
ready_ending(struct sconce_sock *s, unsigned events)
{
	bool gone = events & (SCONCE_ERR | SCONCE_HUP);

	if (gone && has_items(s) && s->_queue->head->kind == ITEM_TRANSFER) {	/* it may wait for its source: no send would tell */
		if (events & SCONCE_ERR)
			kernel_error(s);
		if (!(s->_flags & FL_WR_END))
			sconce__send_failed(s, EPIPE);
		return;
	}
	if ((events & SCONCE_WRITE) || (gone && has_items(s))) {	/* gone: the send tells why */
		s->_flags = (s->_flags & ~(uint32_t)FL_STUCK) | FL_INTEREST;
		sconce__sock_dirty(s);
	}
	if ((events & SCONCE_READ) && (s->_flags & FL_SOURCE))
		sconce__ending_read(s);
	if (gone && !has_items(s) && !s->closed)
		sconce_close(s, SCONCE_REASON_LOCAL);
}

/* Readable input of a socket that may have pushed-back bytes. */
static void
read_past(struct sconce_loop *l, struct sconce_sock *s)
{
	size_t before = sconce_unread_bytes(s);

	read_hooks(l, s);
	if (before > 0 && !s->closed && sconce_unread_bytes(s) == before && (s->_flags & FL_READ_TRIED))
		sconce__unread_grow(s);
	wake_transport(s);
}

static void
ready_open(struct sconce_sock *s, unsigned events)
{
	struct sconce_loop *l = s->loop;

	if (events & SCONCE_READ) {
		if (s->_flags & FL_SOURCE)
			sconce__transfer_source_ready(s);
		else if (!(s->_flags & FL_PAUSED))
			read_past(l, s);
	}
	if (s->closed || l->current != s)
		return;
	if (events & SCONCE_WRITE)
		write_ready(l, s);
	if (s->closed || !(events & (SCONCE_ERR | SCONCE_HUP)))
		return;
	if (events & SCONCE_ERR)
		kernel_error(s);
	if (s->closed)
		return;
	if (events & SCONCE_HUP)
		s->_flags |= FL_HUP_PENDING;
	sconce__sock_dirty(s);
}

/* Everything but plain readable input on a plain socket. */
static __attribute__((noinline)) void
ready_slow(struct sconce_sock *s, unsigned events)
{
	struct sconce_loop *l = s->loop;

	if (s->closed)
		return;
	if (s->_flags & FL_WATCH) {
		sconce__watch_dispatch(s, events);
		return;
	}
	sconce__enter(l, s);
	if (s->_flags & SCONCE_PAUSE_CONNECTING) {
		sconce__connect_ready(s);
		sconce__sock_dirty(s);
	} else {
		if (s->_flags & FL_SIDE_HOT)
			events = sconce__transport_ready(s, events);
		if (s->_flags & SCONCE_PAUSE_ENDING)
			ready_ending(s, events);
		else if (events != 0)
			ready_open(s, events);
	}
	if (l->current == NULL && !s->closed)
		l->current = s;			/* settled, or an application's nested run came between */
	sconce__leave(l);
}

/* Readable input that the fast path has offered once, and is not done with. */
static COLD void
ready_rest(struct sconce_loop *l, struct sconce_sock *s)
{
	if (!s->closed && l->current == s)
		read_again(l, s);
	if (s->closed && l->current == s && !gather_in_use(l) && l->dirty.head == NULL) {
		leave_quiet(l);
		return;
	}
	if (l->current == NULL && !s->closed)
		l->current = s;			/* an application's nested run came between */
	sconce__leave(l);
}

/* What keeps readable input from being a plain matter, before and after the hook. */
#define FL_NOT_PLAIN (FL_PAUSED | FL_SIDE_HOT | FL_WATCH | FL_NO_FAST_WRITE)
#define FL_NOT_DONE (FL_PAUSED | FL_READ_FULL | FL_INTEREST | FL_SIDE_HOT | FL_NOTSOCK | FL_DIRTY)

/* Whether `s` may read, and gather what it writes, without another look.  (A closed socket is paused.) */
static inline bool
is_plain(const struct sconce_loop *l, const struct sconce_sock *s)
{
	return !(s->_flags & FL_NOT_PLAIN) && s->_queue == NULL && l->depth == 0 && l->reserve_queue != NULL &&
	    !l->observed;
}

/* A transfer's source has input, and moving it is all there is to do. */
static inline bool
transfer_ready(const struct sconce_loop *l, struct sconce_sock *s, unsigned events)
{
	return events == SCONCE_READ && (s->_flags & (FL_SOURCE | SCONCE_PAUSE_ENDING)) == FL_SOURCE && l->depth == 0 &&
	    sconce__transfer_flow(s);
}

/* The gathered bytes of the current socket could not all be sent. */
static COLD void
leave_refused(struct sconce_loop *l, struct sconce_sock *s, ssize_t n)
{
	flush_refused(l, s, n);
	sconce__leave(l);
}

HOT void
sconce_backend_ready(struct sconce_sock *s, unsigned events)
{
	struct sconce_loop *l = s->loop;
	ssize_t n;

	if (unlikely(events != SCONCE_READ || !is_plain(l, s))) {
		if (!transfer_ready(l, s, events))
			ready_slow(s, events);
		return;
	}
	l->depth = 1;
	l->current = l->gather_for = s;
	s->_flags &= ~(uint32_t)(FL_READ_FULL | FL_READ_TRIED);
	l->hooks++;
	s->ops->event_read(s);
	if (unlikely(l->current != s || l->dirty.head != NULL || l->marks != NULL ||
	    (s->_flags & (FL_NOT_DONE | FL_READ_TRIED)) != FL_READ_TRIED)) {
		ready_rest(l, s);
		return;
	}
	/* It has read all there was, and what it wrote is its own: sconce__leave() in one breath. */
	if (l->gather_len > 0) {
		n = l->be->send(s->fd, item_payload(l->gather), l->gather_len, MSG_NOSIGNAL, l->ctx);
		if (unlikely(n != (ssize_t)l->gather_len)) {
			leave_refused(l, s, n);
			return;
		}
		l->gather_len = 0;
	}
	leave_quiet(l);
}

void
sconce__ready_within(struct sconce_sock *outer, struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	bool flat = l->depth == 1 && l->current == outer && !gather_in_use(l);

	if (flat) {
		l->depth = 0;
		l->current = NULL;
	}
	sconce_backend_ready(s, SCONCE_READ);
	if (flat) {
		l->depth = 1;
		l->current = outer;
	}
}

/* ---- step 4 ---- */

/* Offers what was pushed back (or what a transport holds).  Again in the next turn if that made progress. */
static void
offer(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	size_t before = s->_side->unread_len;

	s->_side->offer = false;
	sconce__side_hot(s);
	sconce__enter(l, s);
	l->unread_offering = s;
	s->_flags &= ~(uint32_t)(FL_READ_FULL | FL_READ_TRIED);
	CALL_HOOK(l, s, "event_read", 0, s->ops->event_read(s));
	l->unread_offering = NULL;
	if (!s->closed && s->_side->unread_len > 0 && s->_side->unread_len < before)
		sconce__unread_wake(s);
	wake_transport(s);
	if (l->current == NULL && !s->closed)
		l->current = s;
	sconce__leave(l);
}

void
sconce__step4(struct sconce_loop *l)
{
	struct sconce_sock *batch = l->unread, *s;

	if (batch == NULL)
		return;
	l->unread = NULL;
	batch->_side->unread_prevp = &batch;
	while ((s = batch) != NULL) {
		struct sconce__side *side = s->_side;

		batch = side->unread_next;
		if (batch != NULL)
			batch->_side->unread_prevp = &batch;
		side->unread_prevp = NULL;
		if (sconce__offerable(s))
			offer(s);
	}
}
