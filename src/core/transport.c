/* Transports: the handshake, and which direction of the fd each direction of the socket waits for.
 *
 *	what the core wants      what the fd is watched for
 *	reads                    READ, or WRITE after the transport's readv said WANT_WRITE
 *	writes (FL_STUCK)        WRITE, or READ after its writev (or shutdown) said WANT_READ
 *	the handshake            what it said last
 *
 * A socket with a transport has FL_SIDE_HOT, so that its dispatches and its arming come by here. */
#include "core.h"

/* A transport's result as the core has it, with errno as from the system call that it stands for. */
static ssize_t
wants_to_again(ssize_t n)
{
	if (n == SCONCE_WANT_READ || n == SCONCE_WANT_WRITE)
		n = -EAGAIN;
	if (n < 0)
		errno = (int)-n;
	return n;
}

/* ---- the handshake ---- */

void
sconce__handshake_begin(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;

	side->handshaking = true;
	side->handshake_want = 0;
	if (s->loop->gather_for == s)
		s->loop->gather_for = NULL;
	s->_flags = (s->_flags & ~(uint32_t)SCONCE_PAUSE_CONNECTING) | SCONCE_PAUSE_TRANSPORT | FL_STUCK;
	sconce__interest(s);
	sconce__handshake(s);
}

void
sconce__handshake(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;
	int r = side->transport->handshake(s, side->transport_state);

	if (s->closed || !side->handshaking)
		return;
	if (r == SCONCE_WANT_READ || r == SCONCE_WANT_WRITE) {
		uint8_t want = r == SCONCE_WANT_READ ? SCONCE_READ : SCONCE_WRITE;

		if (want != side->handshake_want)
			sconce__interest(s);
		side->handshake_want = want;
		return;
	}
	side->handshaking = false;
	if (r < 0)
		sconce__fail_set(s, "handshake", -r, side->transport->name);
	sconce__connect_decide(s, r < 0 ? -r : 0);
}

/* ---- directions ---- */

unsigned
sconce__transport_wants(const struct sconce_sock *s, unsigned wants)
{
	const struct sconce__side *side = s->_side;
	unsigned events = 0;

	if (s->_flags & SCONCE_PAUSE_TRANSPORT)
		return side->handshaking ? side->handshake_want : 0;
	if (side->transport == NULL)
		return wants;
	if (wants & SCONCE_READ)
		events |= side->read_wants_write ? SCONCE_WRITE : SCONCE_READ;
	if (wants & SCONCE_WRITE)
		events |= side->write_wants_read ? SCONCE_READ : SCONCE_WRITE;
	return events;
}

unsigned
sconce__transport_ready(struct sconce_sock *s, unsigned events)
{
	struct sconce__side *side = s->_side;
	unsigned for_core = events & ~(unsigned)(SCONCE_READ | SCONCE_WRITE);
	bool read_swapped = side->read_wants_write, write_swapped = side->write_wants_read;

	if (s->_flags & SCONCE_PAUSE_TRANSPORT) {
		if (side->handshaking)
			sconce__handshake(s);	/* an error or a hang-up is found by its next read or write */
		return 0;
	}
	if (side->transport == NULL)
		return events;
	if (events & (read_swapped ? SCONCE_WRITE : SCONCE_READ))
		for_core |= SCONCE_READ;
	if (events & (write_swapped ? SCONCE_READ : SCONCE_WRITE))
		for_core |= SCONCE_WRITE;
	if (read_swapped && (for_core & SCONCE_READ)) {
		side->read_wants_write = false;
		sconce__interest(s);
	}
	if (write_swapped && (for_core & SCONCE_WRITE)) {
		side->write_wants_read = false;
		sconce__interest(s);
	}
	return for_core;
}

/* Notes that an operation waits, or no longer waits, for the other direction. */
static void
set_swapped(struct sconce_sock *s, bool *swapped, bool on)
{
	if (*swapped == on)
		return;
	*swapped = on;
	sconce__interest(s);
}

ssize_t
sconce__transport_readv(struct sconce_sock *s, const struct iovec *iov, int count)
{
	struct sconce__side *side = s->_side;
	ssize_t n = side->transport->readv(s, side->transport_state, iov, count);

	set_swapped(s, &side->read_wants_write, n == SCONCE_WANT_WRITE);
	set_swapped(s, &side->write_wants_read, false);	/* this may have been the input that a write waits for: it is tried again */
	if (n > 0 && sconce__transport_pending(s))
		sconce__unread_wake(s);		/* the kernel will not tell of these */
	return wants_to_again(n);
}

ssize_t
sconce__transport_writev(struct sconce_sock *s, const struct iovec *iov, int count)
{
	struct sconce__side *side = s->_side;
	ssize_t n = side->transport->writev(s, side->transport_state, iov, count);

	set_swapped(s, &side->write_wants_read, n == SCONCE_WANT_READ);
	return wants_to_again(n);
}

int
sconce__transport_shutdown(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;
	struct sconce_loop *l = s->loop;
	int r;

	if (side->transport->shutdown == NULL)
		return l->be->shutdown(s->fd, SHUT_WR, l->ctx) < 0 ? -errno : 0;
	r = side->transport->shutdown(s, side->transport_state);
	set_swapped(s, &side->write_wants_read, r == SCONCE_WANT_READ);
	r = (int)wants_to_again(r);
	if (r == -EAGAIN) {
		s->_flags |= FL_STUCK;		/* tried again when its direction is ready */
		sconce__interest(s);
	}
	return r;
}

bool
sconce__transport_pending(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;
	const struct sconce_transport *t = side != NULL ? side->transport : NULL;

	if (t == NULL || t->pending == NULL || (s->_flags & (SCONCE_PAUSE_TRANSPORT | SCONCE_PAUSE_CONNECTING)))
		return false;
	return t->pending(s, side->transport_state) > 0;
}

/* ---- setting one ---- */

void
sconce__transport_fini(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;
	const struct sconce_transport *t = side->transport;
	void *state = side->transport_state;

	if (t == NULL)
		return;
	side->transport = NULL;
	side->transport_state = NULL;
	side->handshaking = side->read_wants_write = side->write_wants_read = false;
	sconce__side_hot(s);
	if (t->fini != NULL)
		t->fini(s, state);
}

/* What has been written and not offered yet went out in another form.  Before a connect nothing has. */
static bool
busy(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;

	if (side != NULL && side->transfer != NULL)
		return true;
	if (s->_flags & SCONCE_PAUSE_TRANSPORT)
		return true;
	if (s->fd < 0 || (s->_flags & SCONCE_PAUSE_CONNECTING))
		return false;
	return sconce_queued(s) > 0 || sconce_queued_items(s) > 0;
}

int
sconce_set_transport(struct sconce_sock *s, const struct sconce_transport *table, void *state)
{
	bool open = s->fd >= 0 && !(s->_flags & SCONCE_PAUSE_CONNECTING);
	struct sconce__side *side;

	if (s->closed)
		return -EBADF;
	if (s->ops->records)
		return -EOPNOTSUPP;
	if (busy(s))
		return -EBUSY;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	if (open && table != NULL && table->handshake != NULL && sconce__connect_handshake(s) < 0)
		return -ENOMEM;
	sconce__transport_fini(s);
	side->transport = table;
	side->transport_state = state;
	sconce__side_hot(s);
	sconce__interest(s);
	if (table == NULL || table->handshake == NULL)
		return 0;
	if (open || sconce__connect_untold(s))
		sconce__handshake_begin(s);
	return 0;
}

void *
sconce_transport_state(const struct sconce_sock *s, const struct sconce_transport *table)
{
	const struct sconce__side *side = s->_side;

	return side != NULL && side->transport == table ? side->transport_state : NULL;
}

/* ---- the fd itself ---- */

ssize_t
sconce_raw_readv(struct sconce_sock *s, const struct iovec *iov, int count)
{
	struct sconce_loop *l = s->loop;
	ssize_t n;

	if (s->fd < 0)
		return -EBADF;
	do
		n = l->be->readv(s->fd, iov, count, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? SCONCE_WANT_READ : -errno;
}

ssize_t
sconce_raw_writev(struct sconce_sock *s, const struct iovec *iov, int count)
{
	struct sconce_loop *l = s->loop;
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	if (s->fd < 0)
		return -EBADF;
	do {
		n = s->_flags & FL_NOTSOCK ? l->be->writev(s->fd, iov, count, l->ctx) :
		    l->be->sendmsg(s->fd, &msg, MSG_NOSIGNAL, l->ctx);
		if (n < 0 && errno == ENOTSOCK && !(s->_flags & FL_NOTSOCK)) {
			s->_flags |= FL_NOTSOCK;
			errno = EINTR;		/* once more, as a file */
		}
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? SCONCE_WANT_WRITE : -errno;
}
