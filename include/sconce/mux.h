/* The pull-style multiplexer: you ask for the next event, of any of its handles, and get one.
 *
 *	struct sconce_mux *mux;
 *	struct sconce_event ev;
 *
 *	sconce_mux_new(NULL, NULL, &mux);
 *	sconce_mux_listen(mux, "tcp://127.0.0.1:7", &(struct sconce_mux_options){ .filter = lines }, NULL, &fail);
 *	while (sconce_mux_next(mux, -1, &ev) == 1)
 *		if (ev.type == SCONCE_EVENT_READ)
 *			sconce_mux_send(ev.handle, ev.data, ev.len);
 *
 * It is an ordinary user of the loop, and push-style sockets may live on the same one: their hooks run inside
 * sconce_mux_next().
 *
 * The events of one handle come in this order:
 *	ACCEPTED, READY or nothing (READY is late where an fd that is added cannot be written to yet);
 *	any number of READ, SENT, CAN_READ, CAN_WRITE; of a listener and a datagram socket, ERROR;
 *	of what fails for good, at most once each: ERROR; of a stream, READ_LAST;
 *	CLOSING; perhaps one more SENT;
 *	CLOSED, after which the handle is gone.
 * CLOSED comes after all events that were queued, for whichever handle, before it was decided.
 *
 * A handle must not be used any more once sconce_mux_next() was called after its CLOSED, nor after sconce_mux_remove().
 * All functions are for the loop's thread; all but sconce_mux_next() and sconce_mux_free() may be called in hooks too,
 * and none but these two runs one. */
#ifndef SCONCE_MUX_H
#define SCONCE_MUX_H

#include <sconce/dgram.h>
#include <sconce/filter.h>
#include <sconce/stream.h>

SCONCE_BEGIN_DECLS

struct sconce_mux;
struct sconce_mux_handle;

enum sconce_event_type {
	/* The time given to sconce_mux_next() is over (it returns 0). */
	SCONCE_EVENT_TIMEOUT,
	/* Something failed: `fail`.  A stream's is followed by CLOSING and CLOSED; a listener's, and a datagram socket's
	 * unless its connect failed or a timeout has come, by nothing. */
	SCONCE_EVENT_ERROR,
	/* `handle` is a new connection of the listener `parent`, from `from`; unix: `cred`. */
	SCONCE_EVENT_ACCEPTED,
	/* A stream became writable for the first time: a connect succeeded, or the fd that was added can be written
	 * to.  Once; not for accepted connections, datagram sockets, and those with manual_write. */
	SCONCE_EVENT_READY,
	/* A listener with manual_accept is readable; repeated while it is. */
	SCONCE_EVENT_ACCEPTING,
	/* `data`, `len`: a record, or what was read, or one datagram (`from`). */
	SCONCE_EVENT_READ,
	/* What was left and made no record: at the end of input (filters that return it, see
	 * sconce_filter_returns_last(); for others it is READ), or when the filter could not go on. */
	SCONCE_EVENT_READ_LAST,
	/* The output queue has become empty, once each time; for each send of a stream that left at once too. */
	SCONCE_EVENT_SENT,
	/* No more input.  Addresses, `meta` and the fd are still there.  If it was the peer that ended, or the filter
	 * that failed, an answer may be sent now; it has the `linger` seconds of the options. */
	SCONCE_EVENT_CLOSING,
	/* The last: `missing`, `reason`.  The fd is closed.  The handle is valid until the next call. */
	SCONCE_EVENT_CLOSED,
	/* A handle with manual_read is readable, with manual_write writable; repeated while it is. */
	SCONCE_EVENT_CAN_READ,
	SCONCE_EVENT_CAN_WRITE,
	/* And above: yours, from sconce_mux_push(). */
	SCONCE_EVENT_USER = 64
};

/* What is not said to be of an event's type is 0 or NULL in it.  What pointers point to is borrowed until the next
 * call of sconce_mux_next(), whatever happens to the handle meanwhile. */
struct sconce_event {
	int type;				/* enum sconce_event_type */
	struct sconce_mux_handle *handle;	/* whose; NULL for TIMEOUT and, if you like, your own */
	struct sconce_mux_handle *parent;	/* ACCEPTED: the listener; NULL when that was removed meanwhile */
	const void *data;			/* READ, READ_LAST */
	size_t len;
	const struct sconce_record *record;	/* READ, READ_LAST through a filter: the record whole (groups, HTTP);
						 * NULL for what an error has left, and without a filter */
	const struct sconce_datagram *datagram;	/* READ of a datagram socket: all about it */
	const struct sconce_addr *from;		/* READ of a datagram socket: the sender; ACCEPTED: the peer */
	uint64_t session;			/* READ of a datagram socket: what the session function gave */
	struct sconce_fail fail;		/* ERROR */
	const struct sconce_dgram_error *error;	/* ERROR of a datagram socket: all about it */
	struct sconce_cred cred;		/* ACCEPTED on a unix socket; pid 0: not known */
	uint64_t missing;			/* CLOSING, CLOSED: bytes (datagrams) that have not reached the kernel */
	int reason;				/* CLOSING, CLOSED: enum sconce_reason, or that of sconce_mux_kill() */
	void *user;				/* of sconce_mux_push() */
};

/* How a handle behaves.  All zero is a good default: automatic accept, read and write, raw input.  What means nothing
 * for a kind of handle is ignored, but for a filter on a datagram socket.  References to the
 * filters are taken. */
struct sconce_mux_options {
	struct sconce_filter *filter;	/* one READ per record; each connection has its own state of it */
	struct sconce_filter *out_filter;	/* what sconce_mux_put() writes through; NULL: `filter` */
	bool listen;			/* it listens: -EINVAL if it does not */
	bool datagram, stream;		/* its type, where it cannot be found out */
	bool manual_accept, manual_read, manual_write;	/* tell, and do nothing */
	bool errors;			/* of datagram sockets: errors that the network sends back (the error queue) */
	size_t read_size;		/* bytes of one read; 0: 256 KiB, into memory that all share.  Of one datagram; 0: 65 535 */
	size_t max_buffer;		/* bytes of input that may wait; 0: see sconce/stream.h */
	double linger;			/* seconds that output may take after CLOSING; 0: 30 */
	void *meta;			/* yours: sconce_mux_meta() */
	/* Called once, when the handle is gone; it may remove and add others.  NULL: nothing.  Not inherited: accepted
	 * connections have the listener's `meta`, which the listener frees. */
	void (*free_meta)(void *meta);
	/* Which session a datagram is of; called before each READ.  NULL: 0. */
	uint64_t (*session)(struct sconce_mux_handle *h, const struct sconce_datagram *p);
};

/* Makes a multiplexer on `loop`, or on one of its own when that is NULL.  `defaults` are the options of handles that
 * are added without any; NULL: all zero; copied, with references to the filters.  A loop that is yours must outlive
 * it.
 * Returns 0 with *mux_out, which sconce_mux_free() frees; -ENOMEM, -EMFILE or another -errno. */
SCONCE_API int sconce_mux_new(struct sconce_loop *loop, const struct sconce_mux_options *defaults,
	struct sconce_mux **mux_out);

/* Closes its handles (no events; free_meta runs), and frees it; and the loop if it is its own (after one more turn of
 * it), otherwise what is left of the handles goes in that loop's next turns.
 * Returns 0; -EBUSY from a hook that runs within sconce_mux_next(), or in a loop of its own.  NULL is allowed. */
SCONCE_API int sconce_mux_free(struct sconce_mux *m);

/* Its loop: for timers, push-style sockets and the rest of the library. */
SCONCE_API struct sconce_loop *sconce_mux_loop(const struct sconce_mux *m);

/* What it returns besides 1, 0 and -errno. */
#define SCONCE_MUX_IDLE 2

/* Gives one event.  First those that are queued, then what handles have ready, one event of each in turn, then what
 * is to be done after them (closes), and only then the loop turns; after 256 events of handles it has a turn, without
 * sleeping, in any case.
 * `timeout` in seconds: negative for ever, 0 does not wait.  It is one deadline, however often the loop turns without
 * an event; the timeout of the loop (sconce_loop_set_timeout()) limits single turns.  What the event before borrowed
 * is no longer valid.
 * Nothing is read before it is asked for.  If others turn the loop meanwhile, what is readable soon is not watched until
 * this is called again: it costs them no time (and no input timeout fires).
 * Returns 1; 0 when the time is over (`type` is SCONCE_EVENT_TIMEOUT); SCONCE_MUX_IDLE when there is nothing to wait
 * for: no handle, nothing else on the loop, and no timeout was given; -ECANCELED when sconce_loop_stop() was called;
 * -EDEADLK within itself, and where it would have to turn the loop in a hook of that; another -errno when the wait
 * failed. */
SCONCE_API int sconce_mux_next(struct sconce_mux *m, double timeout, struct sconce_event *ev_out);

/* Events that are queued, and actions (closes) that wait for those to be taken. */
SCONCE_API size_t sconce_mux_has_events(const struct sconce_mux *m);

/* Queues an event of your own.  It is copied as it is; what its pointers point to must live until it is given.  If
 * `handle` is gone by then (removed; its CLOSED was given before), it is given with NULL.
 * Returns 0, -EINVAL (`type` below SCONCE_EVENT_USER; a handle of another multiplexer) or -ENOMEM. */
SCONCE_API int sconce_mux_push(struct sconce_mux *m, const struct sconce_event *ev);

/* ---- handles ---- */

/* Begins to manage an open fd, any that can be polled, and owns it.  Its kind is found out; O_NONBLOCK is set, unless
 * reads and writes are both manual and it does not listen.  A pipe goes the way it was opened.  A socket that is
 * still connecting is waited for; one that never was to connect is ERROR, CLOSING, CLOSED.
 * Returns 0 with *handle_out (may be NULL); -EEXIST (it is managed already), -EINVAL (options that contradict each
 * other or the fd: a filter on a datagram socket), -EPROTOTYPE (`datagram`, and it is none), -EBADF, -EPERM (a
 * regular file), -ENOMEM: the fd, and `meta`, are still yours. */
SCONCE_API int sconce_mux_add(struct sconce_mux *m, int fd, const struct sconce_mux_options *opts,
	struct sconce_mux_handle **handle_out);

/* Listens on an endpoint (tcp, unix), or binds one (udp, unix_dgram); the grammar is in sconce/endpoint.h.  Connects
 * to one: READY (streams), or ERROR, CLOSING, CLOSED follow.
 * Return 0; -EINVAL and other -errno with *fail_out (may be NULL) set; `meta` is then still yours. */
SCONCE_API int sconce_mux_listen(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *opts,
	struct sconce_mux_handle **handle_out, struct sconce_fail *fail_out);
SCONCE_API int sconce_mux_connect(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *opts,
	struct sconce_mux_handle **handle_out, struct sconce_fail *fail_out);

/* Gives the fd back, open; queued events of the handle are dropped, free_meta runs, the handle is gone.  Unread input
 * is lost, and so is output that the kernel has refused (wait for SENT to have it sent).
 * Returns the fd; or, with nothing changed, -EBADF: it has none, is closed, or is not connected yet. */
SCONCE_API int sconce_mux_remove(struct sconce_mux_handle *h);

/* Closes: no more input, output is dropped; CLOSING now, CLOSED when that has been taken.  Once it is closing,
 * whoever began, nothing. */
SCONCE_API void sconce_mux_close(struct sconce_mux_handle *h);

/* Closes when what was sent has gone: no more input; CLOSING now; when that has been taken, sconce_close_flush() with
 * `timeout` seconds (negative: the linger of the options); then CLOSED.  Until then more may be sent.  What cannot be
 * sent to a peer (listeners, datagram sockets) is closed.  Once it is closing, nothing.  If it is not connected yet
 * there is no READY; if the connect then fails, no ERROR: the reason is SCONCE_REASON_CONNECT. */
SCONCE_API void sconce_mux_close_flush(struct sconce_mux_handle *h, double timeout);
/* Closes without CLOSING and READ_LAST, also what is closing already, dropping queued events of the handle but
 * ACCEPTED, READY, CLOSED and yours; `reason` (SCONCE_REASON_USER and above, or 0) comes with CLOSED, whatever had
 * happened before.  The connection is not shut down: a process that shares the socket keeps it. */
SCONCE_API void sconce_mux_kill(struct sconce_mux_handle *h, int reason);

/* Takes no more input from a handle for now, so that it does not come faster than what it causes can be sent; goes
 * on.  What was read already waits too; events that are queued still come.  A listener accepts nothing meanwhile;
 * what is manual tells nothing, CAN_WRITE neither. */
SCONCE_API void sconce_mux_pause(struct sconce_mux_handle *h);
SCONCE_API void sconce_mux_resume(struct sconce_mux_handle *h);

/* Changes the filter, of input and output; input that waits is given to the new one at once.  NULL: raw.
 * Returns 0, -EINVAL (not a stream), -EBADF, -ENOMEM. */
SCONCE_API int sconce_mux_set_filter(struct sconce_mux_handle *h, struct sconce_filter *filter);

/* The filter's next record is to be the next `n` bytes; see sconce_framer_want().  Also -EINVAL when it is not a
 * stream. */
SCONCE_API int sconce_mux_want(struct sconce_mux_handle *h, uint64_t n);

/* Sends bytes (on a datagram socket: one datagram, to the connected peer); to an address (one datagram); a record
 * through the filter.  `data` is yours again on return.  Bytes leave at once if the kernel takes them, else they are
 * queued, as they are before a connect has succeeded. Datagrams leave with the others that are sent before the loop
 * turns.
 * Returns as sconce_write() and sconce_stream_put(), or for datagrams as sconce_dgram_send(): SCONCE_SENT,
 * SCONCE_GATHERED, SCONCE_QUEUED; -EPIPE (closed or killed, or a pipe that is read), -EINVAL (manual_write, a
 * listener, an address or a record for the wrong kind), -ENOMEM and others: then nothing was sent. */
SCONCE_API int sconce_mux_send(struct sconce_mux_handle *h, const void *data, size_t len);
SCONCE_API int sconce_mux_sendto(struct sconce_mux_handle *h, const struct sconce_addr *to, const void *data, size_t len);
SCONCE_API int sconce_mux_put(struct sconce_mux_handle *h, const struct sconce_record *rec);

/* Bytes (datagram sockets: datagrams) that wait to be sent. */
SCONCE_API uint64_t sconce_mux_buflen(const struct sconce_mux_handle *h);

/* The value of the options, or what was set since.  Setting does not free the old one. */
SCONCE_API void *sconce_mux_meta(const struct sconce_mux_handle *h);
SCONCE_API void sconce_mux_set_meta(struct sconce_mux_handle *h, void *meta, void (*free_meta)(void *meta));

/* What it is. */
enum sconce_mux_kind {
	SCONCE_MUX_STREAM,
	SCONCE_MUX_DGRAM,
	SCONCE_MUX_LISTENER
};
SCONCE_API enum sconce_mux_kind sconce_mux_kind(const struct sconce_mux_handle *h);
/* Whether the fd is a socket. */
SCONCE_API bool sconce_mux_is_socket(const struct sconce_mux_handle *h);
/* -1: none, not connected yet. */
SCONCE_API int sconce_mux_fd(const struct sconce_mux_handle *h);
SCONCE_API struct sconce_mux *sconce_mux_of(const struct sconce_mux_handle *h);
/* Its socket object: for timeouts (but for the alarm, ERROR with ETIMEDOUT, CLOSING, CLOSED), addresses, ids, marks.
 * It is not to be written to, watched, paused or closed past these functions. */
SCONCE_API struct sconce_sock *sconce_mux_sock(struct sconce_mux_handle *h);

/* How many handles there are, and each of them in the order they were added; NULL begins, NULL ends. */
SCONCE_API size_t sconce_mux_count(const struct sconce_mux *m);
SCONCE_API struct sconce_mux_handle *sconce_mux_each(const struct sconce_mux *m, const struct sconce_mux_handle *after);

SCONCE_END_DECLS

#endif
