/* Transports: what stands between a socket object and its fd, for instance TLS.
 *
 * Without one, bytes go to the kernel as they are.  With one, the core asks it to read and write; the transport reads
 * and writes the fd with sconce_raw_readv() and sconce_raw_writev(). */
#ifndef SCONCE_TRANSPORT_H
#define SCONCE_TRANSPORT_H

#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

/* Results besides bytes, 0 and -errno: the operation can go on when the fd is readable, or writable, whichever it is
 * itself. */
enum {
	SCONCE_WANT_READ = -10001,
	SCONCE_WANT_WRITE = -10002
};

struct sconce_transport {
	const char *name;

	/* Does the next part of the handshake.  Called when the transport is set (on a connecting socket: when the
	 * connect is done) and again when what it wanted has come.  Until it returns 0 no byte of the application's
	 * is read or written; then, or on -errno, event_connect runs.  NULL: none needed. */
	int (*handshake)(struct sconce_sock *s, void *state);

	/* Reads as readv(2): bytes, 0 at the end, SCONCE_WANT_READ (nothing now), SCONCE_WANT_WRITE, or -errno. */
	ssize_t (*readv)(struct sconce_sock *s, void *state, const struct iovec *iov, int count);

	/* Takes bytes as writev(2), all or some; SCONCE_WANT_WRITE, SCONCE_WANT_READ or -errno.  After a WANT the same
	 * bytes, and perhaps more behind them, are offered again. */
	ssize_t (*writev)(struct sconce_sock *s, void *state, const struct iovec *iov, int count);

	/* Ends the sending direction after all bytes were taken: 0 when done, including shutdown(2) where wanted,
	 * SCONCE_WANT_... or -errno.  NULL: shutdown(fd, SHUT_WR). */
	int (*shutdown)(struct sconce_sock *s, void *state);

	/* Bytes that readv would give without the kernel; keeps the core from sleeping over them: event_read comes
	 * again after one that has read.  NULL: none, ever. */
	size_t (*pending)(const struct sconce_sock *s, const void *state);

	/* Frees `state`.  Called once, when the socket is closed (after event_close) or the transport replaced.  May
	 * be NULL. */
	void (*fini)(struct sconce_sock *s, void *state);
};

/* Sets the transport of `s`; `table` is kept by reference, `state` belongs to the socket until fini().  NULL is
 * plain.  Allowed before a connect, while connecting, or on an open socket with nothing queued or pushed back by the
 * kernel; pushed-back input stays in front.
 * Returns 0; -EBUSY (output is queued, a transfer or a handshake is on), -ENOMEM, -EBADF (closed), -EOPNOTSUPP (the
 * type carries records): then fini is not called and state stays the caller's. */
SCONCE_API int sconce_set_transport(struct sconce_sock *s, const struct sconce_transport *table, void *state);

/* The transport's state, or NULL when `table` is not the transport of `s`. */
SCONCE_API void *sconce_transport_state(const struct sconce_sock *s, const struct sconce_transport *table);

/* For transports only: the fd itself.  Bytes, 0 at the end, SCONCE_WANT_READ or SCONCE_WANT_WRITE, or -errno; EINTR
 * is retried. */
SCONCE_API ssize_t sconce_raw_readv(struct sconce_sock *s, const struct iovec *iov, int count);
SCONCE_API ssize_t sconce_raw_writev(struct sconce_sock *s, const struct iovec *iov, int count);

SCONCE_END_DECLS

#endif
