/* The socket object: a struct to embed in your own, and a constant table of hooks.
 *
 *	struct conn {
 *		struct sconce_sock sock;	a member by value, anywhere, never moved while in use
 *		...
 *	};
 *	static const struct sconce_sock_ops conn_ops = {
 *		.name = "conn", .event_read = conn_event_read, .destroy = conn_destroy,
 *	};
 *
 * Three rules:
 *   - No hook and no completion ever runs inside a call that you make; they run from the loop.
 *   - sconce_close() is legal anywhere, any number of times, on any socket.  When it returns, only
 *     pending completions (with -ECANCELED), event_close and destroy still run, at the end of the turn.
 *   - You free your struct in destroy, and never before. */
#ifndef SCONCE_SOCK_H
#define SCONCE_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sconce/backend.h>
#include <sconce/export.h>
#include <sconce/loop.h>

SCONCE_BEGIN_DECLS

/* The struct that contains `member`, for the one checked <type>_of() of each type. */
#define SCONCE_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Why a socket was closed.  Applications may use numbers of their own from SCONCE_REASON_USER to 255. */
enum sconce_reason {
	SCONCE_REASON_NONE = 0,		/* it is not closed */
	SCONCE_REASON_LOCAL,		/* the application's wish */
	SCONCE_REASON_EOF,		/* the peer ended */
	SCONCE_REASON_ERROR,		/* a system call failed: errnum */
	SCONCE_REASON_TIMEOUT,		/* a timeout without a hook for it, or close_flush's deadline */
	SCONCE_REASON_CONNECT,		/* the connect failed: errnum */
	SCONCE_REASON_HUP,		/* both directions are gone */
	SCONCE_REASON_ABORT,		/* sconce_abort() */
	SCONCE_REASON_OVERFLOW,		/* more than a limit allows */
	SCONCE_REASON_DETACH,		/* sconce_detach(): the fd lives on */
	SCONCE_REASON_LOOP,		/* the loop is being freed */
	SCONCE_REASON_USER = 32
};

/* The kinds of timeout of a socket; see sconce_set_timeout(). */
enum sconce_timeout_kind {
	SCONCE_TIMEOUT_CONNECT,		/* connect and handshake take longer; event_connect(ETIMEDOUT) */
	SCONCE_TIMEOUT_INPUT,		/* nothing was read, while reads are watched */
	SCONCE_TIMEOUT_OUTPUT,		/* the kernel has taken nothing, while it refuses bytes or a transport's shutdown() waits */
	SCONCE_TIMEOUT_LIFETIME,	/* since it was set */
	SCONCE_TIMEOUT_ALARM,		/* since it was set; the application's own */
	SCONCE_TIMEOUT_KINDS		/* (how many there are) */
};

struct sconce_sock;

/* The hooks.  All are called by the loop, in its thread, never inside a call of the application's.  Each may
 * call anything but sconce_loop_run/_step/_free/_fork of its own loop, on any socket, its own included; after a
 * hook has closed its socket none but event_close and destroy follows. */
struct sconce_sock_ops {
	/* The type's name for listings, traces and accounting; not NULL. */
	const char *name;

	/* There is something to read: data, the end (sconce_read() gives 0), an error, or pushed-back data.
	 * Called once per readiness, and up to 3 times more while the last read filled its buffer: -EAGAIN is an
	 * ordinary answer.  Missing: reads are not watched. */
	void (*event_read)(struct sconce_sock *s);

	/* The kernel would take bytes, nothing is queued, and sconce_watch_write(s, true) asked for it.  Called in
	 * every turn while that holds.  Missing: the wish is refused. */
	void (*event_write)(struct sconce_sock *s);

	/* Once: a send failed, a read failed and its event_read did not close, or the kernel has an error pending;
	 * readable input has been offered before unless reads are paused.  `errnum` is positive.  After a failed send
	 * the other direction still works: an answer that came early can be read.  Missing: close with that errno,
	 * SCONCE_REASON_ERROR; a transfer's source is left to the transfer, whose completion is told. */
	void (*event_err)(struct sconce_sock *s, int errnum);

	/* Once: both directions are gone; also told to a socket whose reads are paused, whose unread input
	 * stays readable.  Missing: nothing if the type has event_read (its next reads find data and
	 * end) or is a transfer's source, else close with SCONCE_REASON_HUP. */
	void (*event_hup)(struct sconce_sock *s);

	/* A connect (with its handshake), or the handshake of a transport, ended: 0 or the errno.  The first hook
	 * that a connecting socket gets.  Missing: on error close with SCONCE_REASON_CONNECT. */
	void (*event_connect)(struct sconce_sock *s, int errnum);

	/* After a flush the queue had crossed a water mark: it is at or below the low one, having been
	 * above the high one before; it is above the high one.  Once per crossing.  Missing: nothing. */
	void (*event_low)(struct sconce_sock *s);
	void (*event_high)(struct sconce_sock *s);

	/* A flush has emptied a queue that had to wait for the kernel (a write had given SCONCE_QUEUED, or
	 * would have).  Missing: nothing. */
	void (*event_drain)(struct sconce_sock *s);

	/* A timeout fired (once; activity or setting it again arms it again).  Missing: close with ETIMEDOUT,
	 * SCONCE_REASON_TIMEOUT; for the alarm: nothing. */
	void (*event_timeout)(struct sconce_sock *s, enum sconce_timeout_kind kind);

	/* The farewell, once: the fd is still open (unless detached), addresses are readable, s->reason, s->errnum
	 * and s->unsent are set.  Missing: nothing. */
	void (*event_close)(struct sconce_sock *s);

	/* Once, last: the memory is yours to free.  `s` may not be used in any call any more.  Missing: nothing. */
	void (*destroy)(struct sconce_sock *s);

	/* Writes one line without newline, as snprintf does, for logs and listings.  Missing: name, fd, addresses,
	 * state as sconce_describe_default() prints them. */
	int (*describe)(const struct sconce_sock *s, char *buf, size_t size);

	/* The type carries records, datagrams for instance, and reads and sends them with the calls of sconce/raw.h,
	 * which says what is different then.  Missing: a byte stream. */
	bool records;

	/* No event: prepares an fd that sconce_connect() or sconce_bind() is about to give to `s`, before it is bound
	 * or connected; sets options that must be on by then.  Called for each fd that is tried, several of which may
	 * exist at a time, and for that of fd://N; inside those calls, or from the loop.  It may use the fd with
	 * sconce_raw_getsockopt() and sconce_raw_setsockopt(), and does nothing else.
	 * Returns 0; or -errno, which refuses the fd: the endpoint, or the address that is being tried, has then failed
	 * ("setsockopt", or "socktype" for -EPROTOTYPE).  Missing: there is nothing to prepare. */
	int (*open)(struct sconce_sock *s, int fd);

	/* The type is a byte stream and nothing else: sconce_connect() and sconce_bind() refuse endpoints and fds of
	 * datagrams, with -EPROTOTYPE.  Missing: either will do. */
	bool stream;
};

/* The base of every socket type.  Its size is a promise: at most 160 bytes. */
struct sconce_sock {
	/* read-only */
	const struct sconce_sock_ops *ops;	/* the type; NULL before init */
	struct sconce_loop *loop;		/* whose hooks it gets */
	uint64_t id;				/* unique per loop, never reused, never 0 */
	union {
		uint64_t unsent;		/* once closed: bytes that were accepted and never reached the kernel */
		uint32_t _clock[2];		/* private, before: last activity, idle timeout; ms */
	};
	int fd;					/* -1: none (not connected yet, detached) */
	uint32_t _flags;			/* private */
	uint16_t _holds;			/* private */
	uint16_t _fd_holds;			/* private */
	uint16_t errnum;			/* the first error met, 0: none; positive */
	uint8_t reason;				/* enum sconce_reason or the application's number */
	bool closed;				/* no event hook runs any more */

	/* private */
	struct sconce_sock *_next, **_prevp;	/* one work list of the loop */
	struct sconce__queue *_queue;		/* what waits to be sent; NULL when nothing does */
	struct sconce__side *_side;		/* what few sockets need; NULL for most */
	void *_idle[2];				/* place in the loop's timeout wheel */
	struct sconce_backend_slot _slot;
};

/* Attaches a socket object to a loop and an open fd, sets O_NONBLOCK and FD_CLOEXEC, and gives it an id.  Reads
 * are watched if and only if the type has event_read.  Any fd that can be polled will do (pipes, terminals,
 * pidfds); a regular file is -EPERM.  `fd` may be -1 for a socket that sconce_connect() will open.
 * `s` must stay where it is until destroy; what it held before is overwritten.  `ops` is kept by reference.
 * On success the object owns the fd; on failure the fd is still the caller's, unwatched, and no hook runs.
 * May be called from hooks.  Returns 0; -EBADF, -EPERM, -ENOMEM, -EINVAL (no ops, no name, or objects compiled
 * for a newer library), -ESHUTDOWN (the loop is being freed). */
#define sconce_sock_init(s, loop, ops, fd) \
	sconce_sock_init_sized((s), (loop), (ops), (fd), sizeof(struct sconce_sock), sizeof(struct sconce_sock_ops))
SCONCE_API int sconce_sock_init_sized(struct sconce_sock *s, struct sconce_loop *loop,
	const struct sconce_sock_ops *ops, int fd, size_t sock_size, size_t ops_size);

/* The fd, -1 for none.  It stays the object's. */
SCONCE_API int sconce_fd(const struct sconce_sock *s);

/* The socket with this id, or NULL when it is closed or never was. */
SCONCE_API struct sconce_sock *sconce_find(const struct sconce_loop *loop, uint64_t id);

/* ---- interest ---- */

/* Reasons that keep a socket from being read besides the application's own wish; see sconce_paused(). */
enum {
	SCONCE_PAUSE_WISH = 1 << 0,		/* sconce_watch_read(s, false), or the type has no event_read */
	SCONCE_PAUSE_FLOW = 1 << 1,		/* a transfer takes its input */
	SCONCE_PAUSE_END = 1 << 2,		/* its end, or an error, has been read */
	SCONCE_PAUSE_CONNECTING = 1 << 3,
	SCONCE_PAUSE_ENDING = 1 << 4,		/* sconce_close_flush() */
	SCONCE_PAUSE_TRANSPORT = 1 << 5,	/* a handshake is going on */
	SCONCE_PAUSE_RATE = 1 << 6,		/* for the application: a rate limit */
	SCONCE_PAUSE_APP = 1 << 7		/* for the application: any other reason */
};

/* Wishes, or no longer wishes, to be told of input.  Takes effect at once as far as hooks are concerned.
 * Returns 0, or -EINVAL when the type has no event_read; on a closed socket nothing happens. */
SCONCE_API int sconce_watch_read(struct sconce_sock *s, bool on);

/* Wishes event_write in every turn in which the kernel would take bytes and nothing is queued.  Independent of
 * the library's own write watch.  Returns 0, or -EINVAL when the type has no event_write, or carries records. */
SCONCE_API int sconce_watch_write(struct sconce_sock *s, bool on);

/* Adds, removes reasons against reading; `why` is SCONCE_PAUSE_RATE, SCONCE_PAUSE_APP or both.  A socket is read
 * when no reason at all is left. */
SCONCE_API void sconce_pause(struct sconce_sock *s, unsigned why);
SCONCE_API void sconce_resume(struct sconce_sock *s, unsigned why);

/* The reasons in force, SCONCE_PAUSE_... ; 0 when input is watched. */
SCONCE_API unsigned sconce_paused(const struct sconce_sock *s);

/* What is watched now: SCONCE_READ, SCONCE_WRITE (the wish or the library's need). */
SCONCE_API unsigned sconce_watching(const struct sconce_sock *s);

/* ---- reading ---- */

/* Reads at most `len` bytes: pushed-back bytes first, never joined with the kernel's.  A `len` of 0 reads nothing and
 * returns -EINVAL, since 0 means the end.
 * Returns the count; 0 at the end of input, and for ever after (except that bytes which were pushed back and left
 * behind, see sconce_unread(), can still be read); -EAGAIN when there is nothing now; another -errno: input is over,
 * event_err follows if the hook does not close.  EINTR is retried.  A closed or connecting socket gives -EBADF or
 * -EAGAIN. */
SCONCE_API ssize_t sconce_read(struct sconce_sock *s, void *buf, size_t len);

/* Bytes of the buffer of sconce_read_shared(). */
enum { SCONCE_READ_SHARED = 256 * 1024 };

/* Reads into the loop's one large buffer (256 KiB), so that an idle connection owns none: *data_out points to the
 * bytes, which are valid until the next call of it on this loop or the end of the hook.  Unlike sconce_read() it
 * joins: pushed-back bytes come first and, behind them in the buffer, what the kernel has, so that a record that was
 * incomplete grows (in an event_read for pushed-back bytes alone the kernel is not asked).  When the end of input has
 * been met behind pushed-back bytes and offering them again brought nothing, the result is 0, and
 * sconce_unread_bytes() tells how many are left.
 * Results as sconce_read(), and -ENOMEM the first time. */
SCONCE_API ssize_t sconce_read_shared(struct sconce_sock *s, const void **data_out);

/* Pushes `len` bytes back in front of everything unread; they are copied.  They are offered again without new input
 * only while that makes progress: if an event_read that they alone caused leaves at least as many, they wait for new
 * input, the end, or an unread made outside that hook.  A hook that pushes back an incomplete record should have read
 * until -EAGAIN before, or use sconce_read_shared().  One that does neither, and only ever reads its own bytes again
 * though the fd is readable, finds what the kernel has behind them the next time (up to 1 MiB of them, then the input
 * fails with ENOBUFS), and 0 when that is the end.
 * Returns 0, -ENOMEM, or -EBADF on a closed socket. */
SCONCE_API int sconce_unread(struct sconce_sock *s, const void *buf, size_t len);

/* Bytes that wait pushed back. */
SCONCE_API size_t sconce_unread_bytes(const struct sconce_sock *s);

/* For types that keep input of their own: calls event_read once more though nothing new has come, in step 4 of this
 * turn or, when called there or later, the next, which then does not sleep; while reads are paused, as soon as they
 * are not; after the end of input too.  Asking again before changes nothing.
 * Returns 0, -EINVAL (the type has no event_read), -EBADF (closed) or -ENOMEM. */
SCONCE_API int sconce_offer(struct sconce_sock *s);

/* ---- ends ---- */

/* Closes `s`: bytes that were gathered and never yet refused by the kernel are offered once, the rest is dropped and
 * counted in s->unsent.  When it returns, of `s` only these still run, at the end of the turn: pending completions
 * with -ECANCELED, event_close, close(2), destroy.  Legal anywhere and any number of times; the first reason wins. */
SCONCE_API void sconce_close(struct sconce_sock *s, int reason);

/* The same, and says with which error: s->errnum, unless one was met before.  `errnum` is positive. */
SCONCE_API void sconce_close_error(struct sconce_sock *s, int reason, int errnum);

/* Sets the record that sconce_failure() gives: `operation` is static, `errnum` positive, `what` goes into the text
 * and is copied.  For socket types and transports that find an error of their own; without memory nothing is set. */
SCONCE_API void sconce_set_failure(struct sconce_sock *s, const char *operation, int errnum, const char *what);

/* Sends what is queued, then shuts down writing, then discards input until the peer's end, 64 KiB, or `timeout`
 * seconds from now (RFC 9112 section 9.6), then closes.  From now on writes give -EPIPE and, besides completions, only
 * event_close and destroy run.  Never fails; sconce_close() and sconce_abort() end it at once.  A negative
 * timeout is 30 seconds. */
SCONCE_API void sconce_close_flush(struct sconce_sock *s, double timeout);

/* With `on`, sconce_close_flush() closes as soon as the queue has gone and does not wait for the peer. */
SCONCE_API void sconce_set_no_linger(struct sconce_sock *s, bool on);

/* Closes with a reset (RST) where the protocol has one; nothing more is offered to the kernel. */
SCONCE_API void sconce_abort(struct sconce_sock *s);

/* Half-closes: SHUT_WR after what is queued has gone (further writes give -EPIPE), SHUT_RD at once (pushed-back
 * bytes are dropped, reads give 0), SHUT_RDWR both.  While it is connecting both wait for the end of that.
 * Returns 0, -EINVAL, -EBADF on a closed socket, or -EOPNOTSUPP when the type carries records. */
SCONCE_API int sconce_shutdown(struct sconce_sock *s, int how);

/* Gives up the fd: what is gathered is sent, pushed-back bytes are copied to `buf`, `s` is closed with
 * SCONCE_REASON_DETACH (event_close and destroy run at the end of the turn, s->fd is -1), and the open fd, no longer
 * watched anywhere, is the caller's.  *len_out is the number of bytes in `buf`; it may be NULL when `size` is 0.
 * Returns the fd; or, with nothing changed except that gathered bytes may have been sent: -EBUSY (output is stuck, a
 * transport is set, or `s` is in a transfer whose completion is still to run), -ENOBUFS (more bytes are pushed back
 * than `size`), -EBADF (closed, or no fd), -EINPROGRESS (connecting). */
SCONCE_API int sconce_detach(struct sconce_sock *s, void *buf, size_t size, size_t *len_out);

/* Keeps the memory of `s`: destroy waits for as many releases, and runs at the end of a turn.  At most 65 534
 * holds at a time. */
SCONCE_API void sconce_hold(struct sconce_sock *s);
SCONCE_API void sconce_release(struct sconce_sock *s);

/* The same, and event_close and close(2) wait too: the fd stays open. */
SCONCE_API void sconce_hold_fd(struct sconce_sock *s);
SCONCE_API void sconce_release_fd(struct sconce_sock *s);

/* ---- timeouts and callbacks of a socket ---- */

/* Sets a timeout of a kind, in seconds, from now; 0 or less cancels it.  Never early, late by at most 16 ms or 1/64
 * of it; at most 24 days.  Activity of its kind restarts it and costs a store.  Closing cancels all.
 * Returns 0, -EINVAL, -EBADF (closed), or -ENOMEM (never for SCONCE_TIMEOUT_INPUT nor a cancel). */
SCONCE_API int sconce_set_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind, double secs);

/* The value set, in seconds; 0 for none. */
SCONCE_API double sconce_timeout(const struct sconce_sock *s, enum sconce_timeout_kind kind);

/* The post-loop callback of one socket: called at the end of every turn, before the loop-wide ones; false ends the
 * run.  NULL removes it; so does closing.  Returns 0, -ENOMEM or -EBADF. */
typedef bool sconce_sock_post_loop_fn(struct sconce_sock *s, void *arg);
SCONCE_API int sconce_set_post_loop(struct sconce_sock *s, sconce_sock_post_loop_fn *fn, void *arg);

SCONCE_END_DECLS

#endif
