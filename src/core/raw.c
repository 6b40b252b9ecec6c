/* What socket types that carry records need of the core: see sconce/raw.h.  Called by src/stream/dgram*.c and whoever
 * builds another such type. */
#include "core.h"

#include <poll.h>
#include <stddef.h>
#include <stdio.h>

/* ---- system calls ---- */

/* An optional entry of the backend's table, which may be older than it. */
#define HAS_ENTRY(be, entry) \
	((be)->size >= offsetof(struct sconce_backend, entry) + sizeof((be)->entry) && (be)->entry != NULL)

int
sconce__be_recvmmsg(const struct sconce_backend *be, int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	return HAS_ENTRY(be, recvmmsg) ? be->recvmmsg(fd, msgs, count, flags, ctx) : recvmmsg(fd, msgs, count, flags, NULL);
}

int
sconce__be_sendmmsg(const struct sconce_backend *be, int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	return HAS_ENTRY(be, sendmmsg) ? be->sendmmsg(fd, msgs, count, flags, ctx) : sendmmsg(fd, msgs, count, flags);
}

ssize_t
sconce__be_recvmsg(const struct sconce_backend *be, int fd, struct msghdr *msg, int flags, void *ctx)
{
	return HAS_ENTRY(be, recvmsg) ? be->recvmsg(fd, msg, flags, ctx) : recvmsg(fd, msg, flags);
}

/* The fd was readable, and there is nothing.  Perhaps the application has shut it down for reading, by itself: then it
 * stays readable for ever, and is not watched any more. */
static void
check_end(struct sconce_sock *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLRDHUP };

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP))
		sconce__pause_set(s, SCONCE_PAUSE_END, true);
}

int
sconce_raw_recvmmsg(struct sconce_sock *s, struct mmsghdr *msgs, unsigned count, int flags)
{
	struct sconce_loop *l = s->loop;
	bool first = !(s->_flags & FL_READ_TRIED);	/* since the fd was readable */
	int n;

	if (s->closed || s->fd < 0)
		return -EBADF;
	s->_flags |= FL_READ_TRIED;
	do
		n = sconce__be_recvmmsg(l->be, s->fd, msgs, count, flags, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN && first) {
		check_end(s);
		return -EAGAIN;
	}
	if (n < 0)
		return -errno;
	if (n > 0)
		sconce__read_active(s, (size_t)n, count);
	return n;
}

int
sconce_raw_sendmmsg(struct sconce_sock *s, struct mmsghdr *msgs, unsigned count, int flags)
{
	struct sconce_loop *l = s->loop;
	int n;

	if (s->fd < 0)
		return -EBADF;
	do
		n = sconce__be_sendmmsg(l->be, s->fd, msgs, count, flags | MSG_NOSIGNAL, l->ctx);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t
sconce_raw_recvmsg(struct sconce_sock *s, struct msghdr *msg, int flags)
{
	struct sconce_loop *l = s->loop;
	ssize_t n;

	if (s->closed || s->fd < 0)
		return -EBADF;
	s->_flags |= FL_READ_TRIED;
	do
		n = sconce__be_recvmsg(l->be, s->fd, msg, flags, l->ctx);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!(flags & MSG_ERRQUEUE))
		sconce__read_active(s, 0, 1);
	return n;
}

int
sconce_raw_getsockopt(struct sconce_loop *l, int fd, int level, int name, void *val, socklen_t *len)
{
	return l->be->getsockopt(fd, level, name, val, len, l->ctx) < 0 ? -errno : 0;
}

int
sconce_raw_setsockopt(struct sconce_loop *l, int fd, int level, int name, const void *val, socklen_t len)
{
	return l->be->setsockopt(fd, level, name, val, len, l->ctx) < 0 ? -errno : 0;
}

int
sconce__prepare_fd(struct sconce_sock *s, int fd, const struct sconce_addr *a, struct sconce_fail *fail)
{
	int r = s != NULL && s->ops->open != NULL ? s->ops->open(s, fd) : 0;
	char what[SCONCE_ADDR_TEXT];

	if (r >= 0)
		return 0;
	if (a != NULL)
		sconce_addr_text(a, what, sizeof(what));
	else
		snprintf(what, sizeof(what), "fd %d", fd);
	sconce__fail_fill(fail, r == -EPROTOTYPE ? "socktype" : "setsockopt", -r, what);
	return r;
}

/* ---- states ---- */

void
sconce_raw_stuck(struct sconce_sock *s, enum sconce_raw_wait how)
{
	struct sconce__side *side = s->_side;
	bool blind = how == SCONCE_RAW_WAIT_SELF;

	assert(s->ops->records && "for types with records");
	if (s->closed || s->fd < 0 || (s->_flags & SCONCE_PAUSE_CONNECTING))
		return;
	if (how != SCONCE_RAW_MOVES) {
		if (side->blind != blind)
			sconce__interest(s);
		side->blind = blind;
		sconce__set_stuck(s);
	} else if (s->_flags & FL_STUCK) {
		s->_flags &= ~(uint32_t)(FL_STUCK | FL_DRAIN);
		side->blind = false;
		sconce__output_moved(s);
		sconce__interest(s);
	}
}

/* ---- memory ---- */

void *
sconce_realloc(struct sconce_loop *l, void *ptr, size_t size)
{
	return l->be->alloc(ptr, size, l->ctx);
}

/* What stands before a region. */
struct scratch {
	_Alignas(max_align_t) size_t size;	/* bytes behind this */
};

void *
sconce_scratch_take(struct sconce_loop *l, size_t size)
{
	struct scratch *kept = l->scratch;

	if (size > SIZE_MAX - sizeof(*kept))
		return NULL;
	if (kept == NULL || kept->size < size) {
		kept = l_alloc(l, sizeof(*kept) + size);
		if (kept == NULL)
			return NULL;
		kept->size = size;
		return kept + 1;
	}
	l->scratch = NULL;
	return kept + 1;
}

void
sconce_scratch_give(struct sconce_loop *l, void *scratch)
{
	struct scratch *given = scratch, *kept = l->scratch;

	if (given == NULL)
		return;
	given--;
	if (kept == NULL || kept->size < given->size) {
		l->scratch = given;
		given = kept;
	}
	l_free(l, given);
}
