/* Fleets: very many outbound connections from one object; POE::Component::Client::TCPMulti for C.
 *
 *	struct probe {
 *		struct sconce_fleet_conn conn;		a member by value
 *		unsigned answers;
 *	};
 *	static const struct sconce_fleet_ops probe_ops = {
 *		.name = "probe", .size = sizeof(struct probe), .offset = offsetof(struct probe, conn),
 *		.connected = probe_connected, .record = probe_record, .closed = probe_closed,
 *	};
 *	sconce_fleet_init(&fleet, loop, &probe_ops, NULL);
 *	sconce_fleet_connect(&fleet, "192.0.2.1:25", NULL, &conn);
 *
 * Of each connection the program is told, in this order: init, always; at most one of connected and failed; at most
 * one of error and a timeout that ends it; and exactly once, last, closed, the one place to clean up (TM-8).  Its id is
 * the same from beginning to end.  Fleets share nothing: what one does never touches the connections of another. */
#ifndef SCONCE_FLEET_H
#define SCONCE_FLEET_H

#include <sconce/endpoint.h>
#include <sconce/filter.h>
#include <sconce/stream.h>

SCONCE_BEGIN_DECLS

struct sconce_fleet;
struct sconce_fleet_conn;

/* In which phase a connection timed out, or is. */
enum sconce_fleet_phase {
	SCONCE_FLEET_CONNECTING,	/* name look-up and connect (and handshake) */
	SCONCE_FLEET_OPEN,		/* idle: no input */
	SCONCE_FLEET_ENDING		/* it is being shut down, or its end has come: no more hooks but closed */
};

/* The hooks.  All may be missing.  None runs inside a call of yours; each may do anything to any connection. */
struct sconce_fleet_ops {
	const char *name;		/* of the type, for listings; not NULL */
	/* Of the struct that has a struct sconce_fleet_conn at `offset`.  The fleet allocates it zeroed, and frees
	 * it after closed (and the last sconce_release()). */
	size_t size, offset;

	/* The connection has been begun, and nothing has been told of it yet: timeouts, filters, output may be set
	 * here (TM-4). It runs of every connection, also of one that has failed, or was closed, at once: what is
	 * set then has no effect. */
	void (*init)(struct sconce_fleet_conn *c);
	/* It is open (TM-5). */
	void (*connected)(struct sconce_fleet_conn *c);
	/* It could not be opened (TM-6): operation, errno, text.  closed follows.  After EMFILE and the like the target may be
	 * given to sconce_fleet_queue() again. */
	void (*failed)(struct sconce_fleet_conn *c, const struct sconce_fail *fail);
	/* Input (TM-10), with a filter and without: one or the other.  Not once the connection is being shut down.
	 * With neither, what comes is thrown away. */
	void (*record)(struct sconce_fleet_conn *c, const struct sconce_record *rec);
	void (*input)(struct sconce_fleet_conn *c, struct sconce_input *in);
	/* All that was written has been sent (TM-11), after it had to wait. */
	void (*drained)(struct sconce_fleet_conn *c);
	/* An open connection ended otherwise than by us (TM-7): `fail->errnum` 0 and operation "recv" when the peer
	 * ended it in order; "recv" or "send" and the errno; or "filter" and EMSGSIZE, EBADMSG, ENOBUFS, ENOMEM.
	 * closed follows, unless it is broken when what was written, here too, has been sent.  A connection whose reads
	 * are paused is told when it reads again. */
	void (*error)(struct sconce_fleet_conn *c, const struct sconce_fail *fail);
	/* It took too long (TM-9): in SCONCE_FLEET_CONNECTING to be opened, in SCONCE_FLEET_OPEN without input, or by a
	 * lifetime or output timeout that the program has set on the socket (its alarm has no hook here).  closed follows, unless the hook gives it more time with sconce_fleet_set_timeout(). */
	void (*timeout)(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase);
	/* The end, once, whatever came before (TM-8); c->stream.sock.reason, .errnum and .unsent tell more:
	 * REASON_LOCAL (shut down), _EOF (the peer's end; LOCAL when there was something left to send), _ERROR,
	 * _OVERFLOW, _CONNECT (failed, unless that hook has shut it down), _TIMEOUT (also of a shut-down or stop), _ABORT, _LOOP, or what
	 * sconce_close() was given. */
	void (*closed)(struct sconce_fleet_conn *c);
};

struct sconce_fleet_options {
	/* Of input (where there is the hook `record`) and output; references are taken.  NULL: lines, and for a
	 * type without `record` none. */
	struct sconce_filter *filter;
	struct sconce_filter *out_filter;	/* of output; NULL: `filter` */
	double connect_timeout;		/* seconds; 0: 30; negative: none */
	double input_timeout;		/* seconds without input once open; 0: 300; negative: none */
	double linger;			/* seconds for what is queued when a connection is shut down; 0: 30 */
	size_t max_in_flight;		/* connections at a time, for sconce_fleet_feed() and what waits; 0: no limit */
	/* Numeric local addresses ("192.0.2.7", "2001:db8::7"; "192.0.2.7:5000", "[2001:db8::7]:5000" with a port),
	 * taken in turn (TM-19), of those of the target's family if there are any; for targets that are
	 * names give those of one family.  Not for unix paths.  Copied. */
	const char *const *bind;
	size_t bind_count;
};

/* A place to connect to. */
struct sconce_fleet_target {
	const char *endpoint;		/* as for sconce_connect(), with its options; copied */
	/* Instead of it: an address, which costs no parsing; copied.  `endpoint`, if given too, is then only what
	 * sconce_fleet_endpoint() gives. */
	const struct sconce_addr *addr;
	const char *bind;		/* local address; NULL: that of the endpoint's options, or the fleet's next */
	/* Seconds; 0: the endpoint's timeout= (of the first), or the fleet's; negative: none.  At most 24 days. */
	double connect_timeout, input_timeout;
	void *arg;			/* c->arg: the Heap of TM-20 */
};

struct sconce_fleet {
	/* read-only */
	struct sconce_loop *loop;
	const struct sconce_fleet_ops *ops;
	size_t count;			/* connections there are, of any phase, until after closed; those in flight */
	size_t waiting;			/* targets that wait for room */
	/* Since the beginning: connections, and to how many of them each was told. */
	uint64_t started, connected, failed, timed_out, closed;
	/* private */
	struct sconce__fleet *_f;
};

struct sconce_fleet_conn {
	struct sconce_stream stream;	/* base: sconce_write(&c->stream.sock, ...), sconce_find()'s id */
	/* read-only */
	struct sconce_fleet *fleet;
	/* settable */
	void *arg;
	/* private */
	struct sconce_fleet_conn *_next, **_prevp;
	char *_endpoint;
	uint8_t _state;
};
/* sizeof(struct sconce_fleet_conn) counts for the 512 bytes a connection may take: see sconce_fleet(3). */

/* Makes a fleet.  `ops` is kept by reference, `opts` (may be NULL) copied; `fleet` must not move.
 * Returns 0; -EINVAL (no name, both record and input, size and offset do not fit, a bind address is none), -ENOMEM. */
SCONCE_API int sconce_fleet_init(struct sconce_fleet *fleet, struct sconce_loop *loop,
	const struct sconce_fleet_ops *ops, const struct sconce_fleet_options *opts);
/* Closes every connection at once, with a reset, and forgets what waits and whoever feeds it.  closed is told at
 * the end of the turn; the fleet can be used again. */
SCONCE_API void sconce_fleet_abort(struct sconce_fleet *fleet);
/* Releases what the fleet holds.  Only when count is 0 (asserted): after sconce_fleet_stop(), in its `done` too, or
 * after the loop's end. */
SCONCE_API void sconce_fleet_fini(struct sconce_fleet *fleet);

/* Begins a connection, whatever max_in_flight says.  A result comes by hooks, never inside the call, init included.
 * `target` may be NULL where `endpoint` says all; otherwise `endpoint` may be NULL.
 * Returns 0 with *conn_out (may be NULL), valid until closed; or, with *fail_out (may be NULL) set, -EINVAL (the
 * endpoint, the bind address), -ENOMEM, -EPIPE (the fleet is being stopped), -ESHUTDOWN (the loop is being freed),
 * or another -errno of sconce_connect(): then no hook runs. */
SCONCE_API int sconce_fleet_connect(struct sconce_fleet *fleet, const char *endpoint,
	const struct sconce_fleet_target *target, struct sconce_fleet_conn **conn_out, struct sconce_fail *fail_out);
/* The same when there is room (max_in_flight), in the order of the calls.
 * Returns 0; or, with *fail_out (may be NULL) set, -EINVAL, -ENOMEM or -EPIPE.  What goes wrong later is told to
 * `failed`. */
SCONCE_API int sconce_fleet_queue(struct sconce_fleet *fleet, const char *endpoint,
	const struct sconce_fleet_target *target, struct sconce_fail *fail_out);

/* Fills the room that max_in_flight and what waits leave (TM-33): `next` is called from the loop whenever there is
 * some, at most 64 times a turn; it fills in *target_out, which is zeroed, and returns true, or false when there is
 * nothing now: then it is asked again when a connection has closed, or sconce_fleet_feed() is called.  A target
 * that cannot be begun is told to `failed` and closed like any other.  When one failed for want of fds, memory, local
 * ports or a place in a unix listener's backlog,
 * the next is begun after 0.1 s, or when a connection that was open has closed.  `next` may call anything but
 * sconce_fleet_fini(); what the target points to must be good until the next call.  NULL: no more.
 * Returns 0; -EINVAL (max_in_flight is 0) or -EPIPE (the fleet is being stopped). */
typedef bool sconce_fleet_next_fn(struct sconce_fleet *fleet, void *arg, struct sconce_fleet_target *target_out);
SCONCE_API int sconce_fleet_feed(struct sconce_fleet *fleet, sconce_fleet_next_fn *next, void *arg);

/* Changes max_in_flight; connections that there are stay.  0: what waits is begun without a limit, and sconce_fleet_feed()
 * rests until there is one again. */
SCONCE_API void sconce_fleet_set_max(struct sconce_fleet *fleet, size_t max_in_flight);

/* Sends a record through the output filter, to the connection with this id; what is sent before it is open waits
 * (TM-22).
 * Returns as sconce_stream_put_bytes(), and -ENOENT: there is none of this fleet. */
SCONCE_API int sconce_fleet_send(struct sconce_fleet *fleet, uint64_t id, const void *data, size_t len);

/* Ends a connection in order (TM-23): closes it at once when nothing is queued and the peer has everything (while it
 * connects, too); else what is queued is sent and the peer's end awaited, as by sconce_close_flush(), for at most `linger` seconds.  Then
 * closed.  Any number of times. */
SCONCE_API void sconce_fleet_shutdown(struct sconce_fleet_conn *c);
/* Ends all of this fleet in order, as sconce_fleet_shutdown(), those that are left after `deadline` seconds (0 or
 * less: in the next turn) at once; drops what waits and whoever feeds it.  (The `arg` of targets that waited is not told to anybody: keep
 * track of it if it is to be freed.)  `done` (may be NULL) is called from the
 * loop, once, when none is left (TM-24); it may call sconce_fleet_fini().  (It is not called if none was there and
 * the loop is freed before its next turn.)  New connections are refused from now on.  Again: the shorter deadline
 * and the last `done` count. */
SCONCE_API void sconce_fleet_stop(struct sconce_fleet *fleet, double deadline,
	void (*done)(struct sconce_fleet *fleet, void *arg), void *arg);

/* The connection with this id, of this fleet, until it is closed; or NULL (TM-30). */
SCONCE_API struct sconce_fleet_conn *sconce_fleet_find(struct sconce_fleet *fleet, uint64_t id);
/* Calls fn for every connection that is not closed, inside the call, in the order begun; it may shut down or close
 * any, and begin others, for which it is not called. */
SCONCE_API void sconce_fleet_each(struct sconce_fleet *fleet, void (*fn)(struct sconce_fleet_conn *c, void *arg),
	void *arg);
/* The connection whose stream `st` is; asserts that it is one. */
SCONCE_API struct sconce_fleet_conn *sconce_fleet_conn_of(struct sconce_stream *st);

SCONCE_API uint64_t sconce_fleet_id(const struct sconce_fleet_conn *c);
SCONCE_API enum sconce_fleet_phase sconce_fleet_phase(const struct sconce_fleet_conn *c);
/* What was asked for (TM-27), as a text that lives as long as the connection. */
SCONCE_API const char *sconce_fleet_endpoint(const struct sconce_fleet_conn *c);
/* The address that it came to be.  Returns as sconce_peer(); -ENOTCONN before it was connected, and after a reset if it
 * was not asked for before. */
SCONCE_API int sconce_fleet_peer(struct sconce_fleet_conn *c, struct sconce_addr *addr_out);

/* Sets the timeout of the phase it is in, in seconds from now; 0 or less: none (TM-29).  While it connects that is its
 * SCONCE_TIMEOUT_ALARM, then SCONCE_TIMEOUT_INPUT, which every input restarts and output does not.
 * Returns 0, -EINVAL (more than 24 days), -ENOMEM, -EBADF (it is ending). */
SCONCE_API int sconce_fleet_set_timeout(struct sconce_fleet_conn *c, double secs);
/* The value set; 0: none, or it is ending.  Changes nothing. */
SCONCE_API double sconce_fleet_timeout(const struct sconce_fleet_conn *c);

SCONCE_END_DECLS

#endif
