/* The default backend: libev.
 *
 * One ev_io per socket, changed by ev_io_modify between stop and start (never ev_io_set, which would
 * cost an epoll_ctl for nothing).  One ev_timer at EV_MAXPRI for the core's next deadline, so that
 * timers precede I/O.  The end of a turn is a watcher at EV_MINPRI that is never started, only fed:
 * a turn without work pays nothing for it, it runs before the next wait wherever the work came from,
 * also after ev_break.  Work for the next turn is an ev_check at EV_MINPRI, and an ev_idle so that the
 * wait does not sleep, both started only then (an ev_idle alone would not run while the application's
 * fds or idle watchers are busy).
 * All our watchers are unref'd; one ev_ref is held while the core has something to wait for.
 *
 * That is for an application's ev_loop, and for what it runs itself.  When we run a loop that we made, libev calls invoke()
 * behind each wait, which begins and ends the turn around libev's pending events: nothing needs to be fed then, and many turns
 * are one ev_run.
 *
 * libev has no event for hang-ups and forgets an fd that nobody reads or writes.  Those fds go, once,
 * into a second epoll set with EPOLLET alone (errors and hang-ups are implied), which is one more fd
 * of the loop; close(2) takes them out again. */
#include "core.h"

#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sconce/ev.h>

enum { PIPE_SIZE = 1024 * 1024, HUP_BATCH = 64, SECOND = 1000 * 1000 * 1000 };

struct libev {
	struct ev_loop *ev;
	struct sconce_loop *loop;
	bool own;			/* we made `ev` and destroy it */
	bool running;			/* in run_shared(): the next wait is no earlier than its end */
	bool many;			/* in sconce__libev_turns() */
	bool invoking;			/* in run_own(), libev's pending events */
	bool in_turn;			/* and these behind a wait: the turn's end comes without being fed */
	bool nested;			/* and in them, or in the turn's end, the application has run the loop */
	bool same_clock;		/* libev's time is our backend's */
	bool kept;			/* an ev_ref is held */
	int wake_fd, hup_fd;
	int fd_max;			/* memory for fds up to this was asked for */
	unsigned iteration;		/* of the wait that begin() was called for */
	bool begun;			/* and it is still that one, unless a hook runs the loop: no need to ask libev */
	int64_t armed;			/* the deadline the timer is set for */
	ev_io wake, hup;
	ev_timer timer;
	ev_idle idle;			/* keeps the wait from sleeping */
	ev_check next;			/* does the next turn's work */
	ev_check end;			/* fed, never started */
	ev_check post;			/* started only while there are post-loop callbacks */
};

/* A run_own() on the stack, and the one below.  Mostly that is of another loop; of the same in a child that forked in a watcher
 * of the application's, where the run is the parent's. */
struct run {
	struct libev *b;
	struct run *outer;
};

static _Thread_local struct run *runs;	/* of this thread: the innermost */

static_assert(sizeof(ev_io) <= sizeof(struct sconce_backend_slot), "libev's watcher fits in the slot");

static ev_io *
slot_io(struct sconce_sock *s)
{
	return (ev_io *)(void *)&s->_slot;
}

static HOT int64_t
libev_now(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* The first of our callbacks after a wait reads the clock and runs the timers that are due. */
static void
begin_once(struct libev *b)
{
	unsigned iteration = ev_iteration(b->ev);

	if (iteration != b->iteration) {
		b->iteration = iteration;
		sconce_backend_begin(b->loop);
	}
	b->begun = b->running || b->in_turn;
}

/* libev could not watch the fd: it is bad, or the kernel is out of memory or watches.  It has stopped the watcher. */
static void
io_failed(struct libev *b, struct sconce_sock *s)
{
	int fl = fcntl(s->fd, F_GETFD);
	int errnum = fl < 0 ? errno : ENOSPC;

	ev_ref(b->ev);
	if (s->_flags & FL_WATCH) {
		sconce_backend_ready(s, SCONCE_ERR);
		return;
	}
	s->_flags |= FL_INTEREST;		/* unless a hook closes it, it is tried again */
	sconce__sock_error(s, errnum);
}

static_assert((int)EV_READ == (int)SCONCE_READ && (int)EV_WRITE == (int)SCONCE_WRITE, "libev's events are ours");

/* The first event of a wait, writability, a failure. */
static __attribute__((noinline)) void
io_other(struct libev *b, struct sconce_sock *s, int revents)
{
	uint64_t watch_id = s->_flags & FL_WATCH ? s->id : 0;

	if (!b->begun || b->loop->depth > 0) {
		begin_once(b);
		if (watch_id != 0 && sconce__table_get(b->loop, watch_id) != s)
			return;			/* a timer stopped a foreign watch: its memory may have gone */
	}
	if (revents & EV_ERROR)
		io_failed(b, s);
	else
		sconce_backend_ready(s, (unsigned)revents & (SCONCE_READ | SCONCE_WRITE));
}

static HOT void
io_ready(EV_P_ ev_io *w, int revents)
{
	struct sconce_sock *s = SCONCE_CONTAINER_OF(w, struct sconce_sock, _slot);
	struct libev *b = w->data;

	(void)EV_A;
	if (likely(revents == EV_READ && b->begun && b->loop->depth == 0))
		sconce_backend_ready(s, SCONCE_READ);
	else
		io_other(b, s, revents);
}

/* One of our own that libev could not watch is tried again: better to spin than to be deaf. */
static void
restart_failed(EV_P_ ev_io *w, int revents)
{
	if (unlikely(revents & EV_ERROR))
		ev_io_start(EV_A_ w);		/* the reference that libev took in stopping it is given back */
}

static void
hup_ready(EV_P_ ev_io *w, int revents)
{
	struct libev *b = w->data;
	struct epoll_event ready[HUP_BATCH];
	int n;

	begin_once(b);
	restart_failed(EV_A_ w, revents);
	n = epoll_wait(b->hup_fd, ready, HUP_BATCH, 0);
	for (int i = 0; i < n; i++) {
		struct sconce_sock *s = sconce__table_get(b->loop, ready[i].data.u64);
		unsigned events = 0;

		if (ready[i].events & EPOLLHUP)
			events |= SCONCE_HUP;
		if (ready[i].events & EPOLLERR)
			events |= SCONCE_ERR;
		if (s != NULL && !s->closed && events != 0)
			sconce_backend_ready(s, events);
	}
}

static void
wake_ready(EV_P_ ev_io *w, int revents)
{
	struct libev *b = w->data;
	uint64_t count;

	begin_once(b);
	restart_failed(EV_A_ w, revents);
	if (read(b->wake_fd, &count, sizeof(count)) > 0)
		sconce__feed(b->loop);
}

static void
timer_ready(EV_P_ ev_timer *w, int revents)
{
	struct libev *b = w->data;

	(void)EV_A;
	(void)revents;
	ev_ref(b->ev);				/* libev has stopped it */
	b->armed = INT64_MAX;
	b->iteration = ev_iteration(b->ev);
	sconce_backend_begin(b->loop);
}

static void
end_ready(EV_P_ ev_check *w, int revents)
{
	struct libev *b = w->data;

	(void)EV_A;
	(void)revents;
	begin_once(b);
	if (!b->loop->running)
		sconce__read_clock(b->loop);	/* libev may be before its wait: the last one was long ago */
	sconce_backend_end(b->loop);
}

static void
post_ready(EV_P_ ev_check *w, int revents)
{
	struct libev *b = w->data;

	(void)EV_A;
	(void)revents;
	begin_once(b);
	sconce_backend_end(b->loop);
	sconce_backend_post(b->loop);
}

static void
idle_ready(EV_P_ ev_idle *w, int revents)
{
	(void)EV_A;
	(void)w;
	(void)revents;
}

static void
next_stop(struct libev *b)
{
	if (!ev_is_active(&b->idle))
		return;
	ev_ref(b->ev);
	ev_ref(b->ev);
	ev_idle_stop(b->ev, &b->idle);
	ev_check_stop(b->ev, &b->next);
}

/* In an application's nested run it is only stopped: the core feeds it again when the outermost hook ends. */
static void
next_ready(EV_P_ ev_check *w, int revents)
{
	struct libev *b = w->data;

	(void)EV_A;
	(void)revents;
	next_stop(b);
	begin_once(b);
	sconce_backend_end(b->loop);
}

static void
watchers_init(struct libev *b)
{
	ev_io_init(&b->wake, wake_ready, b->wake_fd, EV_READ);
	ev_io_init(&b->hup, hup_ready, b->hup_fd, EV_READ);
	ev_init(&b->timer, timer_ready);
	ev_init(&b->idle, idle_ready);
	ev_init(&b->next, next_ready);
	ev_init(&b->end, end_ready);
	ev_init(&b->post, post_ready);
	ev_set_priority(&b->timer, EV_MAXPRI);
	ev_set_priority(&b->idle, EV_MINPRI);
	ev_set_priority(&b->next, EV_MINPRI);
	ev_set_priority(&b->end, EV_MINPRI);
	ev_set_priority(&b->post, EV_MINPRI);
	b->post.data = b->wake.data = b->hup.data = b->timer.data = b->next.data = b->end.data = b;
}

/* The two kernel objects of our own. */
static int
open_fds(struct libev *b)
{
	b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (b->wake_fd < 0)
		return -errno;
	b->hup_fd = epoll_create1(EPOLL_CLOEXEC);
	if (b->hup_fd < 0) {
		int r = -errno;

		close(b->wake_fd);
		return r;
	}
	return 0;
}

static void
watchers_start(struct libev *b)
{
	ev_io_start(b->ev, &b->wake);
	ev_io_start(b->ev, &b->hup);
	ev_unref(b->ev);
	ev_unref(b->ev);
}

static void
watchers_stop(struct libev *b)
{
	ev_ref(b->ev);
	ev_ref(b->ev);
	ev_io_stop(b->ev, &b->wake);
	ev_io_stop(b->ev, &b->hup);
}

/* What libev takes for the time, while the timer runs.  (It has no call for that: ev_now() is the wall clock.) */
static inline int64_t
shown_time(struct libev *b)
{
	return (int64_t)((b->timer.at - ev_timer_remaining(b->ev, &b->timer)) * 1e9);
}

/* Not so in a table with a clock of its own, and in a libev that was built without the monotonic clock. */
static bool
has_same_clock(struct libev *b)
{
	int64_t off;

	if (b->loop->be->now != libev_now)
		return false;
	ev_timer_set(&b->timer, 1, 0);
	ev_timer_start(b->ev, &b->timer);
	ev_now_update(b->ev);
	off = libev_now(NULL) - shown_time(b);
	ev_timer_stop(b->ev, &b->timer);
	return off >= -SECOND && off <= SECOND;
}

static int
libev_init(struct sconce_loop *loop, void *arg, void **ctx_out)
{
	struct libev *b = sconce__zalloc(loop, sizeof(*b));
	int r;

	if (b == NULL)
		return -ENOMEM;
	b->loop = loop;
	b->armed = INT64_MAX;
	r = open_fds(b);
	if (r < 0)
		goto free_b;
	b->ev = arg;
	if (b->ev == NULL) {
		b->own = true;
		b->ev = ev_loop_new(EVFLAG_NOENV | EVFLAG_NOSIGMASK | loop->backend_flags);
		if (b->ev == NULL) {
			r = -ENOSYS;
			goto close_fds;
		}
	}
	b->iteration = ev_iteration(b->ev);
	watchers_init(b);
	b->same_clock = b->own && has_same_clock(b);
	watchers_start(b);
	*ctx_out = b;
	return 0;
close_fds:
	close(b->wake_fd);
	close(b->hup_fd);
free_b:
	l_free(loop, b);
	return r;
}

static void
libev_each_turn(bool on, void *ctx)
{
	struct libev *b = ctx;

	if (on == (bool)ev_is_active(&b->post))
		return;
	if (on) {
		ev_check_start(b->ev, &b->post);
		ev_unref(b->ev);
	} else {
		ev_ref(b->ev);
		ev_check_stop(b->ev, &b->post);
	}
}

static void
stop_timer(struct libev *b)
{
	if (ev_is_active(&b->timer)) {
		ev_ref(b->ev);
		ev_timer_stop(b->ev, &b->timer);
	} else if (ev_clear_pending(b->ev, &b->timer)) {
		ev_ref(b->ev);			/* libev has stopped it, and timer_ready() will not hear of it */
	}
}

static void
libev_fini(void *ctx)
{
	struct libev *b = ctx;

	watchers_stop(b);
	stop_timer(b);
	next_stop(b);
	libev_each_turn(false, b);
	ev_clear_pending(b->ev, &b->end);
	if (b->kept)
		ev_unref(b->ev);
	if (b->own)
		ev_loop_destroy(b->ev);
	close(b->wake_fd);
	close(b->hup_fd);
	l_free(b->loop, b);
}

static int
libev_fork(void *ctx)
{
	struct libev *b = ctx;
	int old_wake = b->wake_fd, old_hup = b->hup_fd, r;

	r = open_fds(b);
	if (r < 0)
		return r;
	watchers_stop(b);
	ev_io_set(&b->wake, b->wake_fd, EV_READ);
	ev_io_set(&b->hup, b->hup_fd, EV_READ);
	watchers_start(b);
	close(old_wake);
	close(old_hup);
	ev_loop_fork(b->ev);
	return 0;
}

/* libev keeps an array indexed by fd and aborts when it cannot grow it: ask before it does. */
static int
probe_memory(struct libev *b, int fd)
{
	void *probe;
	size_t fds = 64;

	if (fd <= b->fd_max)
		return 0;
	while (fds <= (size_t)fd)
		fds *= 2;
	probe = l_alloc(b->loop, fds * 3 * sizeof(void *));
	if (probe == NULL)
		return -ENOMEM;
	l_free(b->loop, probe);
	b->fd_max = (int)fds - 1;
	return 0;
}

static int
libev_add(struct sconce_sock *s, void *ctx)
{
	struct libev *b = ctx;
	ev_io *w = slot_io(s);
	int r = probe_memory(b, s->fd);

	if (r < 0)
		return r;
	ev_io_init(w, io_ready, s->fd, 0);
	w->data = b;
	return 0;
}

static void
libev_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	struct libev *b = ctx;
	ev_io *w = slot_io(s);
	int want = (int)events & (EV_READ | EV_WRITE);

	if (ev_is_active(w)) {
		if ((w->events & (EV_READ | EV_WRITE)) == want)
			return;
		ev_ref(b->ev);
		ev_io_stop(b->ev, w);
	}
	if (want == 0)
		return;
	ev_io_modify(w, want);
	ev_io_start(b->ev, w);
	ev_unref(b->ev);
}

static void
libev_watch_hup(struct sconce_sock *s, void *ctx)
{
	struct libev *b = ctx;
	struct epoll_event ev = { .events = EPOLLET, .data.u64 = s->id };

	epoll_ctl(b->hup_fd, EPOLL_CTL_ADD, s->fd, &ev);	/* EPERM and the like: it has no such state */
}

static void
libev_del(struct sconce_sock *s, bool handed_on, void *ctx)
{
	struct libev *b = ctx;
	ev_io *w = slot_io(s);

	if (ev_is_active(w)) {
		ev_ref(b->ev);
		ev_io_stop(b->ev, w);
	} else if (unlikely(ev_clear_pending(b->ev, w) & EV_ERROR)) {
		ev_ref(b->ev);			/* libev has stopped it, and io_failed() will not hear of it */
	}
	if (handed_on && (s->_flags & FL_HUP_WATCHED))
		epoll_ctl(b->hup_fd, EPOLL_CTL_DEL, s->fd, NULL);
}

static void
libev_timer(int64_t deadline, void *ctx)
{
	struct libev *b = ctx;
	double after;

	if (deadline == b->armed && !ev_is_pending(&b->timer))
		return;
	b->armed = deadline;
	stop_timer(b);
	if (deadline == INT64_MAX)
		return;
	ev_now_update(b->ev);			/* libev counts from its own idea of now */
	after = (double)(deadline - b->loop->be->now(b->loop->ctx)) * 1e-9;
	ev_timer_set(&b->timer, after > 0 ? after : 0, 0);
	ev_timer_start(b->ev, &b->timer);
	ev_unref(b->ev);
}

/* The time behind a wait: libev has just read the clock too, and a timer that runs shows it. */
static inline int64_t
turn_now(struct libev *b)
{
	if (likely(b->same_clock && ev_is_active(&b->timer)))
		return shown_time(b);
	return b->loop->be->now(b->loop->ctx);
}

/* libev's pending events behind a wait: the middle of a turn. */
static inline void
invoke_turn(struct libev *b)
{
	b->in_turn = b->begun = true;
	sconce__begin(b->loop, turn_now(b));
	ev_invoke_pending(b->ev);
	b->in_turn = b->begun = false;
	if (b->many && !sconce__turn_over(b->loop))
		ev_break(b->ev, EVBREAK_ONE);
	if (unlikely(b->nested))
		b->iteration = ev_iteration(b->ev);	/* it may have waited */
	b->nested = false;
}

/* The same in an application's nested run: the end of our turn does not follow, and what counted on that is fed. */
static COLD void
invoke_nested(struct libev *b)
{
	b->begun = false;
	if (b->in_turn && b->loop->end_fed)
		ev_feed_event(b->ev, &b->end, EV_CUSTOM);
	b->in_turn = false;
	b->nested = true;
	ev_invoke_pending(b->ev);
}

/* libev calls this before its first wait and behind each, and around other things. */
static HOT void
invoke(EV_P)
{
	unsigned iteration = ev_iteration(EV_A);
	struct run *r = runs;
	struct libev *b;

	while (r->b->ev != EV_A)
		r = r->outer;
	b = r->b;
	if (b->invoking) {
		invoke_nested(b);
		return;
	}
	b->invoking = true;
	if (iteration != b->iteration) {
		b->iteration = iteration;
		invoke_turn(b);
	} else {
		ev_invoke_pending(EV_A);
	}
	b->invoking = false;
}

/* ev_run on a loop of our own, where libev's pending events are ours to invoke. */
static void
run_own(struct libev *b, int flags, bool many)
{
	bool outer_many = b->many, invoking = b->invoking, in_turn = b->in_turn;
	struct run r = { .b = b, .outer = runs };

	b->many = many;
	b->invoking = b->in_turn = b->begun = false;
	b->iteration = ev_iteration(b->ev);
	runs = &r;
	ev_set_invoke_pending_cb(b->ev, invoke);
	ev_run(b->ev, flags);
	if (!invoking)
		ev_set_invoke_pending_cb(b->ev, ev_invoke_pending);
	runs = r.outer;
	b->many = outer_many;
	b->invoking = invoking;
	b->in_turn = in_turn;
}

/* ev_run on an application's loop: the first event after the wait begins the turn.  Nothing of ours can meet a second wait in
 * it, except in a hook that runs the loop. */
static void
run_shared(struct libev *b, int flags)
{
	bool outer = b->running;

	b->running = true;
	b->begun = false;
	ev_run(b->ev, flags);
	b->running = outer;
	b->begun = false;
	b->iteration = ev_iteration(b->ev);	/* what is fed from here on is of this turn still */
}

static void
run_ev(struct libev *b, int flags)
{
	if (b->own)
		run_own(b, flags, false);
	else
		run_shared(b, flags);
}

static int
libev_run(int64_t deadline, void *ctx)
{
	struct libev *b = ctx;

	/* libev would do what was fed outside before its wait; a turn of ours does it behind the I/O. */
	if (b->loop->end_fed)
		ev_clear_pending(b->ev, &b->end);
	b->loop->end_fed = false;
	if (deadline <= b->loop->now) {
		run_ev(b, EVRUN_NOWAIT);
		return 0;
	}
	libev_timer(deadline, b);
	if (deadline != INT64_MAX && !b->kept) {
		ev_ref(b->ev);			/* with nothing to wait for libev would not wait at all */
		run_ev(b, EVRUN_ONCE);
		ev_unref(b->ev);
	} else {
		run_ev(b, EVRUN_ONCE);
	}
	return 0;
}

/* One ev_run for many turns: entering it for each is a third of what the library adds to a turn with one event.  Not inside a run
 * of the application's, whose ev_break would not get past ours. */
bool
sconce__libev_turns(void *ctx)
{
	struct libev *b = ctx;

	if (!b->own || ev_depth(b->ev) > 0)
		return false;
	run_own(b, 0, true);
	return true;
}

static void
libev_wake(void *ctx)
{
	struct libev *b = ctx;
	uint64_t one = 1;
	ssize_t n = write(b->wake_fd, &one, sizeof(one));

	(void)n;				/* EAGAIN: it is awake as can be */
}

static void
libev_feed(enum sconce_feed when, void *ctx)
{
	struct libev *b = ctx;

	if (when == SCONCE_FEED_END) {
		if (!b->in_turn)
			ev_feed_event(b->ev, &b->end, EV_CUSTOM);
	} else if (!ev_is_active(&b->idle)) {
		ev_idle_start(b->ev, &b->idle);
		ev_check_start(b->ev, &b->next);
		ev_unref(b->ev);
		ev_unref(b->ev);
	}
}

static void
libev_keep(bool alive, void *ctx)
{
	struct libev *b = ctx;

	if (alive == b->kept)
		return;
	b->kept = alive;
	if (alive)
		ev_ref(b->ev);
	else
		ev_unref(b->ev);
}

static int
libev_prepare(int fd, void *ctx)
{
	struct stat st;
	int fl;

	(void)ctx;
	if (fstat(fd, &st) < 0)
		return -1;
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		errno = EPERM;
		return -1;
	}
	fl = fcntl(fd, F_GETFL);
	if (fl < 0 || (!(fl & O_NONBLOCK) && fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0))
		return -1;
	fl = fcntl(fd, F_GETFD);
	if (fl < 0 || (!(fl & FD_CLOEXEC) && fcntl(fd, F_SETFD, fl | FD_CLOEXEC) < 0))
		return -1;
	return 0;
}

/* The system calls: a jump each. */
#define PASS(type, name, params, args) \
	static type libev_##name params { (void)ctx; return name args; }

PASS(HOT ssize_t, recv, (int fd, void *buf, size_t len, int flags, void *ctx), (fd, buf, len, flags))
PASS(HOT ssize_t, send, (int fd, const void *buf, size_t len, int flags, void *ctx), (fd, buf, len, flags))
PASS(HOT ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags, void *ctx), (fd, msg, flags))
PASS(ssize_t, readv, (int fd, const struct iovec *iov, int count, void *ctx), (fd, iov, count))
PASS(ssize_t, writev, (int fd, const struct iovec *iov, int count, void *ctx), (fd, iov, count))
PASS(ssize_t, pread, (int fd, void *buf, size_t len, off_t offset, void *ctx), (fd, buf, len, offset))
PASS(ssize_t, sendfile, (int out, int in, off_t *offset, size_t count, void *ctx), (out, in, offset, count))
PASS(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx), (fd, addr, len, flags))
PASS(int, socket, (int domain, int type, int protocol, void *ctx), (domain, type, protocol))
PASS(int, bind, (int fd, const struct sockaddr *addr, socklen_t len, void *ctx), (fd, addr, len))
PASS(int, listen, (int fd, int backlog, void *ctx), (fd, backlog))
PASS(int, connect, (int fd, const struct sockaddr *addr, socklen_t len, void *ctx), (fd, addr, len))
PASS(int, getsockopt, (int fd, int level, int name, void *val, socklen_t *len, void *ctx), (fd, level, name, val, len))
PASS(int, setsockopt, (int fd, int level, int name, const void *val, socklen_t len, void *ctx), (fd, level, name, val, len))
PASS(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len, void *ctx), (fd, addr, len))
PASS(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len, void *ctx), (fd, addr, len))
PASS(int, shutdown, (int fd, int how, void *ctx), (fd, how))
PASS(int, close, (int fd, void *ctx), (fd))
PASS(int, recvmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx), (fd, msgs, count, flags, NULL))
PASS(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx), (fd, msgs, count, flags))
PASS(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags, void *ctx), (fd, msg, flags))

static HOT ssize_t
libev_splice(int in, int out, size_t len, unsigned flags, void *ctx)
{
	(void)ctx;
	return splice(in, NULL, out, NULL, len, flags);
}

static int
libev_pipe2(int fds[2], int flags, void *ctx)
{
	(void)ctx;
	if (pipe2(fds, flags) < 0)
		return -1;
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);	/* refused over the user's limit: then it stays small */
	return 0;
}

static void *
libev_alloc(void *ptr, size_t size, void *ctx)
{
	(void)ctx;
	if (size == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, size);
}

const struct sconce_backend sconce__libev = {
	.size = sizeof(struct sconce_backend), .name = "libev",
	.init = libev_init, .fini = libev_fini, .fork = libev_fork,
	.add = libev_add, .arm = libev_arm, .watch_hup = libev_watch_hup, .del = libev_del,
	.run = libev_run, .wake = libev_wake, .now = libev_now, .timer = libev_timer,
	.feed = libev_feed, .keep = libev_keep, .each_turn = libev_each_turn,
	.prepare = libev_prepare,
	.recv = libev_recv, .send = libev_send, .sendmsg = libev_sendmsg, .readv = libev_readv,
	.writev = libev_writev, .pread = libev_pread, .sendfile = libev_sendfile, .splice = libev_splice,
	.pipe2 = libev_pipe2, .accept4 = libev_accept4, .socket = libev_socket, .bind = libev_bind,
	.listen = libev_listen, .connect = libev_connect, .getsockopt = libev_getsockopt,
	.setsockopt = libev_setsockopt, .getsockname = libev_getsockname, .getpeername = libev_getpeername,
	.shutdown = libev_shutdown, .close = libev_close, .alloc = libev_alloc,
	.recvmmsg = libev_recvmmsg, .sendmmsg = libev_sendmmsg, .recvmsg = libev_recvmsg,
};

const struct sconce_backend *
sconce_backend_libev(void)
{
	return &sconce__libev;
}

int
sconce_loop_new_ev(struct ev_loop *ev, const struct sconce_loop_options *opts, struct sconce_loop **loop_out)
{
	struct sconce_loop_options o = { 0 };

	if (ev == NULL)
		return -EINVAL;
	if (opts != NULL)
		o = *opts;
	o.backend_arg = ev;
	return sconce_loop_new(&o, loop_out);
}

struct ev_loop *
sconce_loop_ev(const struct sconce_loop *loop)
{
	const struct sconce_backend *be = loop->real_be != NULL ? loop->real_be : loop->be;

	if (be->init != libev_init)
		return NULL;
	return ((struct libev *)(loop->real_be != NULL ? loop->real_ctx : loop->ctx))->ev;
}
