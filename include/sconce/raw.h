/* For those who build socket types that do not carry a byte stream: datagrams (sconce/dgram.h is made with this), or
 * any other records.
 *
 * Such a type says so in its table (`records` of struct sconce_sock_ops) and reads and sends with the calls below.
 * The core then keeps its hands off what is not a stream:
 *   - sconce_write() and the rest of write.h give -EPIPE; sconce_close_flush() is sconce_close();
 *   - an error that is pending on the fd ends nothing: event_err is called whenever the kernel reports one, and may
 *     be called with 0 when all there is stands in the socket's error queue.  Missing: nothing happens.  (While
 *     reads are watched the fd is simply readable: the next sconce_raw_recvmmsg() gives the error.)
 * Timeouts, pauses, ids, holds, closing are as ever.  All calls are for the loop's thread; none runs a hook. */
#ifndef SCONCE_RAW_H
#define SCONCE_RAW_H

#include <sys/socket.h>
#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

struct mmsghdr;

/* The system calls of the same names on the fd of `s`, through the backend; EINTR is retried.  What the messages
 * point to is the caller's.  Receiving counts as activity for SCONCE_TIMEOUT_INPUT; after a recvmmsg that has filled
 * all `count` event_read is called again (up to 3 times a turn).  A closed socket may send until its event_close has
 * returned, and receives no more.
 * Returns what they return (messages; bytes), or -errno: -EAGAIN when there is nothing, or no room; -EBADF without
 * an fd. */
SCONCE_API int sconce_raw_recvmmsg(struct sconce_sock *s, struct mmsghdr *msgs, unsigned count, int flags);
SCONCE_API int sconce_raw_sendmmsg(struct sconce_sock *s, struct mmsghdr *msgs, unsigned count, int flags);
SCONCE_API ssize_t sconce_raw_recvmsg(struct sconce_sock *s, struct msghdr *msg, int flags);

/* The same for an fd, which need not be a socket object's yet.  Returns 0 or -errno. */
SCONCE_API int sconce_raw_getsockopt(struct sconce_loop *loop, int fd, int level, int name, void *val, socklen_t *len);
SCONCE_API int sconce_raw_setsockopt(struct sconce_loop *loop, int fd, int level, int name, const void *val, socklen_t len);
SCONCE_API int sconce_raw_bind(struct sconce_loop *loop, int fd, const struct sockaddr *addr, socklen_t len);

/* How output goes on; see sconce_raw_stuck(). */
enum sconce_raw_wait {
	SCONCE_RAW_MOVES,		/* nothing is refused, or something was taken */
	SCONCE_RAW_WAIT_FD,		/* when the fd is writable: event_drain tells */
	SCONCE_RAW_WAIT_SELF		/* by a timer of the type's own: the fd would not tell */
};

/* Tells the core that the kernel has refused a record (after which SCONCE_TIMEOUT_OUTPUT runs), or that it has taken
 * one.  After WAIT_FD event_drain comes once, when the fd is writable; what then is refused again must be told again.
 * On a socket without an fd, or one that is connecting or closed, nothing happens. */
SCONCE_API void sconce_raw_stuck(struct sconce_sock *s, enum sconce_raw_wait how);

/* Tells the core that `s` has input in memory of its own, taken from the kernel and not passed on, or has none any
 * more.  While it has, event_read is called without new input: once after each such call, in step 4 of this turn or
 * the next, as soon as reads are not paused.  Only for types with `records`. */
SCONCE_API void sconce_raw_more(struct sconce_sock *s, bool more);

/* ---- memory ---- */

/* The backend's allocator, in realloc's shape: NULL allocates, a size of 0 frees and gives NULL.  `loop` must still
 * exist when memory is freed. */
SCONCE_API void *sconce_realloc(struct sconce_loop *loop, void *ptr, size_t size);

/* Takes the loop's region of scratch memory, at least `size` bytes (aligned for anything, of no defined content),
 * which is the caller's until it gives it back.  The loop keeps one region from one user to the next, so that socket
 * types need no buffers of their own; while it is taken others get a fresh one.  Returns NULL without memory. */
SCONCE_API void *sconce_scratch_take(struct sconce_loop *loop, size_t size);
/* Gives it back: the loop keeps the larger of it and what it has, and frees the other.  NULL is allowed. */
SCONCE_API void sconce_scratch_give(struct sconce_loop *loop, void *scratch);

SCONCE_END_DECLS

#endif
