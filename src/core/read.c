/* Reading and pushing back. */
#include "core.h"

/* Why a read cannot go straight to recv(2). */
#define FL_SLOW_READ (FL_SIDE_HOT | FL_NOTSOCK | FL_IDLE_OFF | SCONCE_PAUSE_END | SCONCE_PAUSE_FLOW | \
	SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_ENDING | SCONCE_PAUSE_TRANSPORT)

void
sconce__input_end(struct sconce_sock *s, int errnum)
{
	uint32_t before = s->_flags;

	s->_flags |= SCONCE_PAUSE_END;
	if (!(before & FL_PAUSED))
		sconce__interest(s);
	TRACE_STATE(s->loop, s, "input end", errnum);
	if (errnum != 0) {
		sconce__fail_unsent(s);
		sconce__send_failed(s, errnum);		/* an error on a stream ends both directions */
		s->_flags |= FL_HUP_PENDING;
		return;
	}
	if (s->_flags & FL_WR_END) {
		s->_flags |= FL_HUP_PENDING;
		sconce__sock_dirty(s);
	}
}

/* What a read's result means.  `n` is the system call's, errno with it. */
static ssize_t
result(struct sconce_sock *s, ssize_t n)
{
	struct sconce_addr peer;
	int e;

	if (n == 0) {
		if (s->ops->event_close != NULL)
			sconce_peer(s, &peer);	/* once both ends are shut the kernel no longer knows it */
		sconce__input_end(s, 0);
		return 0;
	}
	e = errno;
	if (e == EAGAIN || e == EWOULDBLOCK || s->fd < 0)
		return -EAGAIN;
	sconce__input_end(s, e);
	return -e;
}

void
sconce__read_active(struct sconce_sock *s, size_t n, size_t len)
{
	if (s->loop->depth == 0)
		sconce__read_clock(s->loop);	/* the time of the last wait is not the time */
	s->_clock[0] = (uint32_t)s->loop->now_ms;
	if (n == len)
		s->_flags |= FL_READ_FULL;
	if (unlikely(s->_flags & FL_IDLE_OFF))
		sconce__idle_resume(s);
}

ssize_t
sconce__kernel_read(struct sconce_sock *s, void *buf, size_t len)
{
	struct sconce_loop *l = s->loop;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	ssize_t n;

	if (has_transport(s)) {
		n = sconce__transport_readv(s, &iov, 1);
		if (n < 0) {
			errno = (int)-n;
			n = -1;
		}
	} else {
		for (;;) {
			n = s->_flags & FL_NOTSOCK ? l->be->readv(s->fd, &iov, 1, l->ctx) :
			    l->be->recv(s->fd, buf, len, 0, l->ctx);
			if (n < 0 && errno == ENOTSOCK && !(s->_flags & FL_NOTSOCK))
				s->_flags |= FL_NOTSOCK;
			else if (n >= 0 || errno != EINTR)
				break;
		}
		if (n < 0 && errno == EIO && (s->_flags & FL_NOTSOCK))
			n = 0;			/* a terminal whose other side is gone */
	}
	if (n <= 0)
		return result(s, n);
	sconce__read_active(s, (size_t)n, len);
	return n;
}

/* ---- pushed-back bytes ---- */

void
sconce__unread_drop(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;

	if (side->unread_prevp != NULL) {
		*side->unread_prevp = side->unread_next;
		if (side->unread_next != NULL)
			side->unread_next->_side->unread_prevp = side->unread_prevp;
		side->unread_prevp = NULL;
	}
	l_free(s->loop, side->unread);
	side->unread = NULL;
	side->unread_len = side->unread_off = side->unread_cap = 0;
	side->offer = false;
	sconce__side_hot(s);
}

bool
sconce__offerable(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;
	uint32_t paused = s->_flags & FL_PAUSED;

	if (s->closed || side == NULL)
		return false;
	if (side->offer && !(paused & ~(uint32_t)SCONCE_PAUSE_END))
		return true;
	return paused == 0 && (side->unread_len > 0 || sconce__transport_pending(s));
}

void
sconce__unread_wake(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side = s->_side;

	if (side == NULL || side->unread_prevp != NULL || !sconce__offerable(s))
		return;
	side->unread_next = l->unread;
	if (l->unread != NULL)
		l->unread->_side->unread_prevp = &side->unread_next;
	side->unread_prevp = &l->unread;
	l->unread = s;
	sconce__feed(l);
}

int
sconce_offer(struct sconce_sock *s)
{
	struct sconce__side *side;

	if (s->ops->event_read == NULL)
		return -EINVAL;
	if (s->closed)
		return -EBADF;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	side->offer = true;
	sconce__side_hot(s);
	sconce__unread_wake(s);
	return 0;
}

/* Room for `len` bytes in front of those pushed back. */
static bool
make_front(struct sconce_loop *l, struct sconce__side *side, size_t len)
{
	size_t cap = side->unread_len + len, off;
	char *p;

	if (side->unread_off >= len)
		return true;
	cap += cap / 2 + 64;			/* repeated pushing back stays linear */
	p = l_alloc(l, cap);
	if (p == NULL)
		return false;
	off = cap - side->unread_len;
	if (side->unread_len > 0)
		memcpy(p + off, side->unread + side->unread_off, side->unread_len);
	l_free(l, side->unread);
	side->unread = p;
	side->unread_cap = cap;
	side->unread_off = off;
	return true;
}

int
sconce_unread(struct sconce_sock *s, const void *buf, size_t len)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side;

	if (s->closed)
		return -EBADF;
	if (len == 0)
		return 0;
	side = sconce__side(s);
	if (side == NULL || !make_front(l, side, len))
		return -ENOMEM;
	side->unread_off -= len;
	side->unread_len += len;
	memcpy(side->unread + side->unread_off, buf, len);
	sconce__side_hot(s);
	s->_flags &= ~(uint32_t)FL_READ_FULL;	/* what made event_read come again was these bytes */
	if (side->transfer != NULL)
		sconce__transfer_source_ready(s);
	else if (l->unread_offering != s)
		sconce__unread_wake(s);
	return 0;
}

size_t
sconce_unread_bytes(const struct sconce_sock *s)
{
	return s->_side != NULL ? s->_side->unread_len : 0;
}

size_t
sconce__unread_take(struct sconce_sock *s, void *buf, size_t len)
{
	struct sconce__side *side = s->_side;
	size_t n = side->unread_len < len ? side->unread_len : len;

	memcpy(buf, side->unread + side->unread_off, n);
	side->unread_off += n;
	side->unread_len -= n;
	if (side->unread_len == 0) {
		l_free(s->loop, side->unread);
		side->unread = NULL;
		side->unread_off = side->unread_cap = 0;
		sconce__side_hot(s);
	}
	return n;
}

/* The end has been met behind pushed-back bytes, and offering those again brought nothing. */
static bool
end_is_next(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;

	return side != NULL && side->end_seen && side->unread_len >= side->end_len;
}

static ssize_t
read_end(struct sconce_sock *s)
{
	s->_side->end_seen = false;
	sconce__side_hot(s);
	sconce__input_end(s, 0);
	return 0;
}

/* Pushed-back bytes, for the application.  With the end behind them: how many there were, see end_is_next(). */
static size_t
take(struct sconce_sock *s, void *buf, size_t len)
{
	s->_side->end_len = s->_side->unread_len;
	return sconce__unread_take(s, buf, len);
}

/* Room for `len` bytes behind those pushed back. */
static char *
make_tail(struct sconce_loop *l, struct sconce__side *side, size_t len)
{
	size_t used = side->unread_off + side->unread_len, cap = used + len;
	char *p;

	if (side->unread_cap < cap) {
		cap += cap / 2;
		p = l_realloc(l, side->unread, cap);
		if (p == NULL)
			return NULL;
		side->unread = p;
		side->unread_cap = cap;
	}
	return side->unread + used;
}

/* Reads the kernel behind pushed-back bytes.  An end found now must not come before these: it is kept. */
static ssize_t
read_behind(struct sconce_sock *s, char *buf, size_t len)
{
	struct sconce__side *side = s->_side;
	ssize_t r;

	s->_flags |= SCONCE_PAUSE_END;
	r = sconce__kernel_read(s, buf, len);
	if (r >= 0 || r == -EAGAIN)
		s->_flags &= ~(uint32_t)SCONCE_PAUSE_END;
	else
		sconce__interest(s);
	if (r > 0)
		sconce__unread_wake(s);		/* it was paused when the transport had more */
	if (r == 0) {
		side->end_seen = true;
		sconce__side_hot(s);
	}
	return r;
}

void
sconce__unread_grow(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side = s->_side;
	char *tail;
	ssize_t n;

	if (side->end_seen || (s->_flags & FL_PAUSED))
		return;
	if (side->unread_len >= UNREAD_MAX) {
		sconce__input_end(s, ENOBUFS);
		return;
	}
	tail = make_tail(l, side, UNREAD_STEP);
	if (tail == NULL)
		return;				/* the fd stays readable: in the next turn */
	n = read_behind(s, tail, UNREAD_STEP);
	if (n > 0)
		side->unread_len += (size_t)n;
	else
		side->end_len = side->unread_len;
	if (n >= 0)
		sconce__unread_wake(s);
}

/* ---- the calls ---- */

static ssize_t
not_readable(const struct sconce_sock *s)
{
	if (s->closed)
		return -EBADF;
	if (s->fd < 0 || (s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT | SCONCE_PAUSE_FLOW)))
		return -EAGAIN;
	if (s->_flags & SCONCE_PAUSE_ENDING)
		return -EBADF;
	return 1;
}

static COLD ssize_t
read_slow(struct sconce_sock *s, void *buf, size_t len)
{
	ssize_t r = not_readable(s);

	s->_flags |= FL_READ_TRIED;
	if (r <= 0)
		return r;
	if (end_is_next(s))
		return read_end(s);
	if (s->_side != NULL && s->_side->unread_len > 0)
		return (ssize_t)take(s, buf, len);
	if (s->_flags & SCONCE_PAUSE_END)
		return 0;
	if (s->_side != NULL && s->_side->end_seen)
		return read_end(s);
	return sconce__kernel_read(s, buf, len);
}

/* The kernel gave nothing. */
static COLD ssize_t
read_failed(struct sconce_sock *s, void *buf, size_t len, ssize_t n)
{
	s->_flags |= FL_READ_TRIED;
	if (n < 0 && (errno == EINTR || errno == ENOTSOCK))
		return sconce__kernel_read(s, buf, len);
	return result(s, n);
}

static ssize_t
read_nothing(struct sconce_sock *s, void *buf, size_t len, ssize_t n)
{
	struct sconce_loop *l = s->loop;

	if (n < 0 || s != l->current || s->ops->event_close != NULL || (s->_flags & FL_WR_END) || l->observed)
		return read_failed(s, buf, len, n);
	s->_flags |= FL_READ_TRIED | SCONCE_PAUSE_END | FL_INTEREST;	/* the usual end, in short */
	return 0;
}

/* All of the buffer: there may be more. */
static COLD ssize_t
read_full(struct sconce_sock *s, ssize_t n)
{
	s->_flags |= FL_READ_FULL;
	return n;
}

/* The plain path has read `n` of `len` bytes. */
static inline ssize_t
read_some(struct sconce_sock *s, ssize_t n, size_t len)
{
	s->_clock[0] = (uint32_t)s->loop->now_ms;
	s->_flags |= FL_READ_TRIED;
	return likely((size_t)n < len) ? n : read_full(s, n);
}

/* The plain case, which nearly every read is: in a hook, and open (a closed socket has PAUSE_END). */
static inline bool
is_plain(const struct sconce_loop *l, const struct sconce_sock *s)
{
	return likely(!(s->_flags & FL_SLOW_READ) && l->depth > 0);
}

HOT ssize_t
sconce_read(struct sconce_sock *s, void *buf, size_t len)
{
	struct sconce_loop *l = s->loop;
	ssize_t n;

	if (unlikely(len == 0))
		return -EINVAL;
	if (!is_plain(l, s))
		return read_slow(s, buf, len);
	n = l->be->recv(s->fd, buf, len, 0, l->ctx);
	if (unlikely(n <= 0))
		return read_nothing(s, buf, len, n);
	return read_some(s, n, len);
}

/* Pushed-back bytes, and behind them, in the same buffer, what the kernel has: a record that was incomplete grows. */
static COLD ssize_t
read_shared_slow(struct sconce_sock *s)
{
	struct sconce_loop *l = s->loop;
	ssize_t r = not_readable(s);
	size_t have;

	s->_flags |= FL_READ_TRIED;
	if (r <= 0)
		return r;
	if (end_is_next(s))
		return read_end(s);
	if (s->_side == NULL || s->_side->unread_len == 0)
		return read_slow(s, l->read_buf, SCONCE_READ_SHARED);
	have = take(s, l->read_buf, SCONCE_READ_SHARED);
	if (l->unread_offering == s || have == SCONCE_READ_SHARED || s->_side->end_seen || (s->_flags & SCONCE_PAUSE_END))
		return (ssize_t)have;
	r = read_behind(s, l->read_buf + have, SCONCE_READ_SHARED - have);
	return (ssize_t)have + (r > 0 ? r : 0);
}

/* The loop's first read of this kind. */
static COLD ssize_t
read_shared_first(struct sconce_sock *s, const void **data_out)
{
	struct sconce_loop *l = s->loop;

	s->_flags |= FL_READ_TRIED;
	l->read_buf = l_alloc(l, SCONCE_READ_SHARED);
	return l->read_buf == NULL ? -ENOMEM : sconce_read_shared(s, data_out);
}

HOT ssize_t
sconce_read_shared(struct sconce_sock *s, const void **data_out)
{
	struct sconce_loop *l = s->loop;
	ssize_t n;

	if (unlikely(l->read_buf == NULL))
		return read_shared_first(s, data_out);
	*data_out = l->read_buf;
	if (!is_plain(l, s))
		return read_shared_slow(s);
	n = l->be->recv(s->fd, l->read_buf, SCONCE_READ_SHARED, 0, l->ctx);
	if (unlikely(n <= 0))
		return read_nothing(s, s->loop->read_buf, SCONCE_READ_SHARED, n);
	return read_some(s, n, SCONCE_READ_SHARED);
}
