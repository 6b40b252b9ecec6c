/* The backend table: everything the core asks of the world below it, for those who replace it.
 *
 * The core makes every readiness, clock, memory and socket call through one constant table that
 * whoever implements it fills.  The library brings libev's (sconce_backend_libev() in sconce/ev.h);
 * a simulator or another event library is a table of one's own, given in struct sconce_loop_options.
 * A table may also be a copy of libev's with some entries replaced (a test does that to make the
 * third allocation or every second send fail).
 *
 * What happens in a turn, seen from here: the core calls run(); the backend waits, calls
 * sconce_backend_begin() once after the wait, sconce_backend_ready() for each ready socket, and
 * sconce_backend_end() after each batch.  A backend that sits on a loop which others run too does
 * the same three calls from its own callbacks.
 *
 * `ctx` is what init() gave, and is always the last argument, so that an entry that only passes a
 * system call on is a single jump. */
#ifndef SCONCE_BACKEND_H
#define SCONCE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

struct mmsghdr;
struct sconce_loop;
struct sconce_sock;

/* Interest and events.  READ and WRITE are watched for; HUP (both directions are gone) and ERR (an error
 * is pending) are only ever reported, for sockets that watch_hup() was called for. */
enum {
	SCONCE_READ = 1,
	SCONCE_WRITE = 2,
	SCONCE_HUP = 4,
	SCONCE_ERR = 8
};

/* When the core wants sconce_backend_end() called; see `feed`. */
enum sconce_feed {
	SCONCE_FEED_END = 1,		/* before the next wait, in this turn */
	SCONCE_FEED_TURN = 2		/* in the next turn, whose wait must not sleep */
};

/* The backend's own 48 bytes inside every socket object. */
struct sconce_backend_slot {
	void *opaque[6];
};

struct sconce_backend {
	size_t size;			/* sizeof(struct sconce_backend) of whoever filled it */
	const char *name;		/* for dumps: "libev" */

	/* Makes the context of one loop.  `arg` is the options' backend_arg.  Returns 0 with *ctx_out
	 * set, or -errno with nothing left behind. */
	int (*init)(struct sconce_loop *loop, void *arg, void **ctx_out);
	/* Frees the context; every socket has been removed before. */
	void (*fini)(void *ctx);
	/* After fork(), in the child: new kernel objects, every added fd known again with the interest
	 * it had.  Returns 0 or -errno. */
	int (*fork)(void *ctx);

	/* Begins to know `s`, whose fd is sconce_fd(s); nothing is watched yet.  Reserves all that arm()
	 * may need.  Returns 0 or -errno (-ENOMEM, -EPERM for what cannot be polled). */
	int (*add)(struct sconce_sock *s, void *ctx);
	/* Watches exactly `events` (SCONCE_READ | SCONCE_WRITE, or 0), level-triggered.  Cannot fail: what
	 * the kernel refuses here is reported as an event.  Called when interest changed, at most once
	 * a dispatch. */
	void (*arm)(struct sconce_sock *s, unsigned events, void *ctx);
	/* From now on reports SCONCE_HUP and SCONCE_ERR of `s`, each at least once after it came to hold, whatever
	 * arm() watches.  Called at most once for each add(). */
	void (*watch_hup)(struct sconce_sock *s, void *ctx);
	/* Forgets `s`; the fd is still open and is closed or handed on next.  `handed_on` is true when it
	 * stays open, so that every trace of it in kernel tables must go. */
	void (*del)(struct sconce_sock *s, bool handed_on, void *ctx);

	/* One wait and its events, at most until `deadline` (in now()'s time; one that has passed means
	 * not to sleep, INT64_MAX for ever).  Returns 0 or -errno. */
	int (*run)(int64_t deadline, void *ctx);
	/* Ends a running wait, or the next one.  The only entry called from other threads. */
	void (*wake)(void *ctx);
	/* The clock: monotonic nanoseconds. */
	int64_t (*now)(void *ctx);
	/* The next deadline changed (INT64_MAX: none).  For backends whose waits are not all made by
	 * run(); NULL otherwise. */
	void (*timer)(int64_t deadline, void *ctx);
	/* Work for the end of the turn exists.  For backends whose waits are not all made by run();
	 * NULL otherwise (run() is then called with a deadline that has passed). */
	void (*feed)(enum sconce_feed when, void *ctx);
	/* The loop has (true) or no longer has (false) something to wait for.  May be NULL. */
	void (*keep)(bool alive, void *ctx);

	/* Post-loop callbacks exist (true) or no longer.  For backends whose waits are not all made by run(), which
	 * then call sconce_backend_post() at the end of every turn; NULL otherwise. */
	void (*each_turn)(bool on, void *ctx);

	/* Makes an fd non-blocking and close-on-exec; -1 with errno EPERM for a regular file. */
	int (*prepare)(int fd, void *ctx);

	/* The system calls, with the results and errno of the real ones.  pipe2() may enlarge the pipe; accept4() may get
	 * NULL for addr and len. */
	ssize_t (*recv)(int fd, void *buf, size_t len, int flags, void *ctx);
	ssize_t (*send)(int fd, const void *buf, size_t len, int flags, void *ctx);
	ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags, void *ctx);
	ssize_t (*readv)(int fd, const struct iovec *iov, int count, void *ctx);
	ssize_t (*writev)(int fd, const struct iovec *iov, int count, void *ctx);
	ssize_t (*pread)(int fd, void *buf, size_t len, off_t offset, void *ctx);
	ssize_t (*sendfile)(int out, int in, off_t *offset, size_t count, void *ctx);
	ssize_t (*splice)(int in, int out, size_t len, unsigned flags, void *ctx);
	int (*pipe2)(int fds[2], int flags, void *ctx);
	int (*accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx);
	int (*socket)(int domain, int type, int protocol, void *ctx);
	int (*bind)(int fd, const struct sockaddr *addr, socklen_t len, void *ctx);
	int (*listen)(int fd, int backlog, void *ctx);
	int (*connect)(int fd, const struct sockaddr *addr, socklen_t len, void *ctx);
	int (*getsockopt)(int fd, int level, int name, void *val, socklen_t *len, void *ctx);
	int (*setsockopt)(int fd, int level, int name, const void *val, socklen_t len, void *ctx);
	int (*getsockname)(int fd, struct sockaddr *addr, socklen_t *len, void *ctx);
	int (*getpeername)(int fd, struct sockaddr *addr, socklen_t *len, void *ctx);
	int (*shutdown)(int fd, int how, void *ctx);
	int (*close)(int fd, void *ctx);

	/* realloc's shape: alloc(NULL, n) allocates, alloc(p, n) resizes, alloc(p, 0) frees and gives
	 * NULL.  `ctx` is NULL for the loop object itself, which exists before the context. */
	void *(*alloc)(void *ptr, size_t size, void *ctx);

	/* More system calls, for types that carry records (sconce/raw.h).  Optional: where `size` says that the table
	 * ends before them, or the entry is NULL, the real ones are made. */
	int (*recvmmsg)(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx);
	int (*sendmmsg)(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx);
	ssize_t (*recvmsg)(int fd, struct msghdr *msg, int flags, void *ctx);
};

/* Called by a backend once after each wait, before anything else: reads the clock and runs the
 * timers that are due (step 2 of the turn; hooks run). */
SCONCE_API void sconce_backend_begin(struct sconce_loop *loop);

/* Called by a backend for each ready socket that it was armed for: step 3 of the turn; hooks run.
 * `events` are those of SCONCE_READ, SCONCE_WRITE, SCONCE_HUP and SCONCE_ERR that hold.  Events that `s` does not
 * wish (any more) are ignored, so a stale one is harmless while `s` is added. */
SCONCE_API void sconce_backend_ready(struct sconce_sock *s, unsigned events);

/* Called by a backend after each batch of events, and whenever feed() asked for it: steps 4 to 6 of
 * the turn; hooks run.  Does nothing while a hook of this loop is on the stack. */
SCONCE_API void sconce_backend_end(struct sconce_loop *loop);

/* Called at the end of every turn, while each_turn() is on: step 7, unless sconce_loop_run() or _step() is going to
 * do it. */
SCONCE_API void sconce_backend_post(struct sconce_loop *loop);

/* The backend's bytes in `s`; they are zero when add() is called. */
SCONCE_API struct sconce_backend_slot *sconce_backend_slot_of(struct sconce_sock *s);

/* The context that init() gave for this loop. */
SCONCE_API void *sconce_backend_ctx(const struct sconce_loop *loop);

SCONCE_END_DECLS

#endif
