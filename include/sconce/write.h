/* Writing: bytes, references, files, callbacks and other sockets' input, in strict order.
 *
 * What a hook writes is gathered and leaves in one system call per socket when the hook's dispatch ends; what the
 * kernel will not take waits in a queue and goes as the peer reads.  Nothing here blocks, runs a hook or a
 * completion, or closes the socket.
 *
 *   +----------------------------------------------------------------------------------------+
 *   | A completion (`done`) always runs, exactly once, from the loop, also when the call     |
 *   | that it was given to returns an error.  Never free the buffer after the call: free it  |
 *   | in the completion.                                                                     |
 *   +----------------------------------------------------------------------------------------+
 *
 * (One exception, when there is no memory at all, not even the 256 records that each loop keeps for this: then it
 * runs inside the call that returns -ENOMEM.)
 *
 * A completion runs when all that was queued before it is in the kernel; bytes behind it may have left in the same
 * system call.  What it writes goes behind what is queued already.  (Without memory to part what a hook has written
 * and the kernel refuses, up to 64 KiB stay in one piece, and their completions wait for all of it.) */
#ifndef SCONCE_WRITE_H
#define SCONCE_WRITE_H

#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

/* What a write returns when it does not fail.  Above 0 nothing is stuck. */
enum sconce_write_result {
	SCONCE_QUEUED = 0,	/* the kernel has refused bytes: produce no more until event_low or event_drain */
	SCONCE_GATHERED = 1,	/* accepted; leaves with this dispatch, nothing is stuck */
	SCONCE_SENT = 2		/* nothing of this socket is queued */
};

/* The end of a queued item: `status` is 0 (in the kernel), -ECANCELED (the socket was closed first) or the error of
 * the send or the call.  Called from the loop; may call anything a hook may. */
typedef void sconce_done_fn(struct sconce_sock *s, void *arg, int status);

/* Sends `len` bytes from `buf` after everything already written to `s`.  They leave when the current
 * dispatch ends, or now when much is waiting (32 KiB and more); what the kernel will not take is copied and
 * waits.  `buf` is the caller's again on return.  To avoid the copy use sconce_write_ref(), for a file range
 * sconce_write_file(); to learn when all has left, sconce_write_cb().
 * Write interest is raised while bytes wait and dropped when none do; the caller's own sconce_watch_write() is a
 * separate wish and is left alone.
 * May be called from any hook, and outside hooks, in the loop's thread; before a connect has ended it
 * queues.  A `len` of 0 is allowed and tells the state.
 * Returns an enum sconce_write_result; -EPIPE when `s` no longer sends, -ENOBUFS over the cap, -ENOMEM:
 * then nothing of `buf` was sent or queued. */
SCONCE_API int sconce_write(struct sconce_sock *s, const void *buf, size_t len);

/* The same from `count` pieces, as one write: all or, on an error, nothing.  The vector and the bytes are the caller's
 * again on return.  Also -EINVAL for a negative count or a sum that overflows. */
SCONCE_API int sconce_writev(struct sconce_sock *s, const struct iovec *iov, int count);

/* The same, formatted as printf does.  Returns as sconce_write(), or -EINVAL for a bad format. */
SCONCE_API int sconce_printf(struct sconce_sock *s, const char *format, ...) SCONCE_PRINTF(2, 3);

/* Sends `len` bytes without copying: `buf` is borrowed, and must not change, until done(s, arg, status) runs. `done`
 * may be NULL for bytes that live for ever.  Results as sconce_write(); when the bytes are accepted and a send then
 * fails, even in this call, the result is not an error: the completion and event_err tell. */
SCONCE_API int sconce_write_ref(struct sconce_sock *s, const void *buf, size_t len, sconce_done_fn *done, void *arg);

/* Sends `len` bytes of a file from `offset` with sendfile(2); the file position of `fd` is neither used nor moved,
 * except that `fd` may also be something that only reads in order: a pipe that already holds the bytes (one that does
 * not counts as a file that ends early; a blocking one would block).  `fd` is borrowed until done(); it is not
 * closed.  A file that ends early is -EIO: completions first, then what is behind it goes on; without `done` the
 * sending direction fails with EIO.
 * Results as sconce_write(), and -EINVAL for a negative offset. */
SCONCE_API int sconce_write_file(struct sconce_sock *s, int fd, off_t offset, uint64_t len,
	sconce_done_fn *done, void *arg);

/* Runs done(s, arg, 0) when all that was written before is in the kernel, at the earliest when the current dispatch
 * ends.  Results as sconce_write(), and -EINVAL without `done`. */
SCONCE_API int sconce_write_cb(struct sconce_sock *s, sconce_done_fn *done, void *arg);

/* No limit, for sconce_transfer(). */
#define SCONCE_TO_END UINT64_MAX

/* Puts up to `max_bytes` of src's input into dst's queue, as one item of it: what was written to dst before goes
 * before, what is written later waits.  Reads of src pause (SCONCE_PAUSE_FLOW) from now until done(dst, arg, status)
 * runs; only as much is read as dst takes.  Large transfers between plain sockets are spliced through a pipe of the
 * loop's.
 * status: 0 (max_bytes have gone, or src ended and max_bytes is SCONCE_TO_END); -ENODATA (src ended before;
 * `arg` knows how many were expected, sconce_transferred() how many went); src's read error; -ECANCELED (either was
 * closed); dst's send error.  After a status other than 0 what is behind it in the queue waits until the completion
 * has run; without `done` an early end fails the sending direction of dst instead.
 * Returns as sconce_write(), and -EBUSY when src is in a transfer that is not over (when it is, the next one may
 * begin at once), -EINVAL for two loops or src == dst, -EBADF when src is closed or has no fd, -EOPNOTSUPP when one
 * of them carries records.  A source that is still connecting, or in a handshake, is waited for; if its connect
 * fails, the transfer waits for the next one, or for its close. */
SCONCE_API int sconce_transfer(struct sconce_sock *src, struct sconce_sock *dst, uint64_t max_bytes,
	sconce_done_fn *done, void *arg);

/* Bytes that the transfer from `src`, the present one or the last, has passed on to its destination. */
SCONCE_API uint64_t sconce_transferred(const struct sconce_sock *src);

/* Two transfers, one each way, each followed by a half-close of its destination.  done(a, arg, status), once, when
 * both directions have ended (0) or either has failed; `a` is held until then, `b` may be closed by then and, unless you
 * hold it, destroyed.  Neither socket is closed.
 * Returns 0, or -errno as sconce_transfer(): then nothing has begun and done(a, arg, -errno) runs from the loop. */
SCONCE_API int sconce_relay(struct sconce_sock *a, struct sconce_sock *b, sconce_done_fn *done, void *arg);

/* Sends now what is gathered or queued, as far as the kernel takes it and unless it has refused before; completions
 * that fall due run later, from the loop.  Returns an enum sconce_write_result, or -EPIPE. */
SCONCE_API int sconce_flush(struct sconce_sock *s);

/* Drops what was written and is not in the kernel yet; nothing is offered first.  The completions run, from the loop,
 * with -ECANCELED; event_low and event_drain follow as after a flush.  Of an item that had begun to leave the peer
 * has only the beginning.  The socket goes on.  Returns the bytes dropped, which s->unsent will count. */
SCONCE_API uint64_t sconce_discard(struct sconce_sock *s);

/* With `on` false every write is offered to the kernel at once, as Danga::Socket does.  Default true. */
SCONCE_API void sconce_set_gather(struct sconce_sock *s, bool on);

/* Bytes written and not yet in the kernel, of every kind but the unknown rest of transfers.  Gathered bytes count
 * too, though no event_drain follows for them: whether to wait is told by the result of a write, not by this.  And
 * items: a run of bytes, a reference, a file, a callback, a transfer each count one. */
SCONCE_API uint64_t sconce_queued(const struct sconce_sock *s);
SCONCE_API size_t sconce_queued_items(const struct sconce_sock *s);

/* Sets this socket's water marks: event_high when the queue, after a flush, is above `high` bytes, event_low when it
 * is then at or below `low`.  Returns 0, -EINVAL (low > high), -EBADF or -ENOMEM. */
SCONCE_API int sconce_set_marks(struct sconce_sock *s, uint64_t low, uint64_t high);

/* Sets how many bytes the library may hold as copies for this socket; a write beyond gives -ENOBUFS.  Returns 0,
 * -EBADF or -ENOMEM. */
SCONCE_API int sconce_set_cap(struct sconce_sock *s, uint64_t cap);

SCONCE_END_DECLS

#endif
