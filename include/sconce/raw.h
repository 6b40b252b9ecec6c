/* For those who build socket types that do not carry a byte stream: datagrams (sconce/dgram.h is made with this), or
 * any other records.
 *
 * Such a type says so in its table (`records` of struct sconce_sock_ops) and reads and sends with the calls below.
 * The core then keeps its hands off what is not a stream:
 *   - sconce_write() and the rest of write.h give -EPIPE, transfers from or to it -EOPNOTSUPP, as do sconce_shutdown()
 *     and sconce_set_transport(); sconce_watch_write() gives -EINVAL; sconce_close_flush() is sconce_close();
 *   - sconce_connect() takes endpoints of datagrams alone (-EPROTOTYPE), and sconce_connect_addr() makes a datagram
 *     socket.  Options that must be on before the socket is bound or connected are set in the hook `open`;
 *   - an error that is pending on the fd ends nothing.  While reads are watched the fd is simply readable, and the
 *     next sconce_raw_recvmmsg() gives the error.  Else event_err is called whenever the kernel reports one, with 0
 *     when all there is stands in the socket's error queue.  Missing: nothing happens.
 *     A socket that has an error queue (IP_RECVERR and the like) stays readable while something is in it.  So a type
 *     that turns one on empties it, with sconce_raw_recvmsg() and MSG_ERRQUEUE, in event_err and whenever
 *     sconce_raw_recvmmsg() gives -EAGAIN, else it is called in every turn;
 *   - an fd that was shut down for reading, with shutdown(2), is readable for ever: when sconce_raw_recvmmsg() finds
 *     it so, reads end (SCONCE_PAUSE_END), and no hook is told.  On a SEQPACKET socket the peer's end is a record of
 *     no bytes, received again and again: the type closes.
 * A type that has taken input from the kernel and not passed it on calls sconce_offer().
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
SCONCE_API int sconce_raw_setsockopt(struct sconce_loop *loop, int fd, int level, int name, const void *val,
	socklen_t len);

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
