/* Foreign fds.  A watch is a socket object without hooks (FL_WATCH): the fd is not prepared, read, written or closed, and the
 * object is the caller's again at once when it stops. */
#include "core.h"

#include <sys/stat.h>

static const unsigned known_events = SCONCE_READ | SCONCE_WRITE;

const struct sconce_sock_ops sconce__watch_ops = { .name = "watch" };

static struct sconce_watch *
watch_of(struct sconce_sock *s)
{
	assert(s->ops == &sconce__watch_ops);
	return SCONCE_CONTAINER_OF(s, struct sconce_watch, sock);
}

static bool
is_stopped(const struct sconce_watch *w)
{
	return w->sock.ops == NULL || w->sock.closed;
}

/* What epoll(7) would refuse only later. */
static int
check_fd(struct sconce_loop *l, int fd)
{
	struct stat st;
	int type;
	socklen_t len = sizeof(type);

	if (l->be->getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len, l->ctx) == 0)
		return 0;
	if (errno != ENOTSOCK || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? -EPERM : 0;
}

static void
set_interest(struct sconce_sock *s, unsigned events)
{
	s->_flags &= ~(uint32_t)(SCONCE_PAUSE_WISH | FL_WISH_WRITE);
	if (!(events & SCONCE_READ))
		s->_flags |= SCONCE_PAUSE_WISH;
	if (events & SCONCE_WRITE)
		s->_flags |= FL_WISH_WRITE;
}

static int
start(struct sconce_watch *w, struct sconce_loop *l, int fd, unsigned events, sconce_watch_fn *fn, void *arg,
    uint32_t flags)
{
	int r = sconce__sock_init(&w->sock, l, &sconce__watch_ops, fd, FL_WATCH | flags);

	if (r < 0) {
		w->sock.ops = NULL;		/* so that stopping it is harmless */
		return r;
	}
	w->_fn = fn;
	w->_arg = arg;
	w->_events = events;
	set_interest(&w->sock, events);
	return 0;
}

int
sconce_watch_start(struct sconce_watch *w, struct sconce_loop *l, int fd, unsigned events, sconce_watch_fn *fn, void *arg)
{
	int r;

	w->sock.ops = NULL;
	if ((events & ~known_events) != 0 || fn == NULL)
		return -EINVAL;
	if (fd < 0)
		return -EBADF;
	r = check_fd(l, fd);
	if (r < 0)
		return r;
	return start(w, l, fd, events, fn, arg, 0);
}

int
sconce__watch_start_internal(struct sconce_watch *w, struct sconce_loop *l, int fd, unsigned events, sconce_watch_fn *fn,
    void *arg)
{
	int r = start(w, l, fd, events, fn, arg, FL_INTERNAL);

	if (r == 0)
		sconce__arm(&w->sock);
	return r;
}

void
sconce_watch_set(struct sconce_watch *w, unsigned events)
{
	events &= known_events;
	if (is_stopped(w) || events == w->_events)
		return;
	w->_events = events;
	set_interest(&w->sock, events);
	sconce__interest(&w->sock);
}

void
sconce_watch_stop(struct sconce_watch *w)
{
	if (!is_stopped(w))
		sconce__sock_remove_now(&w->sock);
}

/* The function may stop the watch and free it: nothing of it is touched afterwards. */
void
sconce__watch_dispatch(struct sconce_sock *s, unsigned events)
{
	struct sconce_watch *w = watch_of(s);
	struct sconce_loop *l = s->loop;
	unsigned told = events & w->_events;

	if (events & (SCONCE_HUP | SCONCE_ERR))
		told |= SCONCE_HUP;
	if (told == 0)
		return;				/* no longer wished */
	sconce__enter(l, NULL);
	if (s->_flags & FL_INTERNAL)
		w->_fn(w, told, w->_arg);
	else
		CALL_HOOK(l, NULL, "watch", told, w->_fn(w, told, w->_arg));
	sconce__leave(l);
}
