/* Datagrams: UDP and unix datagram sockets that receive and send in batches.
 *
 *	struct responder {
 *		struct sconce_dgram dgram;		a member by value, as a socket object is
 *		...
 *	};
 *	static void
 *	responder_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
 *	{
 *		sconce_dgram_reply(d, p, p->data, p->len);
 *	}
 *
 * A datagram is one record: whole, in the order the kernel had them, and one of no bytes is data, not an end.  What
 * is sent within the socket's own hooks leaves in one sendmmsg(2) when the batch that they belong to ends; what the
 * kernel will not take waits in the socket's own queue, in order.  A datagram that cannot be sent, or an error that
 * the network sends back, is told and ends nothing.
 *
 * The base is a socket object: sconce_close(), timeouts, watch_read, pause, hold, ids, sconce_local() and
 * sconce_peer() are as ever.  sconce_write() and the rest of write.h are not for it (-EPIPE; transfers and
 * sconce_shutdown(): -EOPNOTSUPP), sconce_close_flush() is sconce_close(), and sconce_detach() drops what is queued
 * (sconce_dgram_flush() first) and what was received and not handed on.  Closing offers what the kernel has not
 * refused yet once more and counts the rest in `lost`. */
#ifndef SCONCE_DGRAM_H
#define SCONCE_DGRAM_H

#include <sconce/endpoint.h>
#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

struct sconce_dgram;

/* A datagram that has come. */
struct sconce_datagram {
	const void *data;		/* borrowed, as all: during the hook, or until the next sconce_dgram_next() */
	size_t len;			/* bytes of `data`; may be 0 */
	size_t full_len;		/* bytes that were sent: above `len` when it was cut at max_size (MSG_TRUNC) */
	bool truncated;			/* it was */
	bool group;			/* with `local`: it was sent to a broadcast or multicast address */
	struct sconce_addr from;	/* the sender; len 0: it has no name (unix) */
	struct sconce_addr local;	/* with `local` in the options: the address of this host that it was sent to, or
					 * for a group the one that answers come from, with port 0; len 0: not known */
	unsigned ifindex;		/* the interface it came in on, with `local`; 0: not known */
	uint64_t session;		/* what the session hook gave; 0 without one */
};

/* An error of one datagram; the socket goes on. */
struct sconce_dgram_error {
	const char *operation;		/* "send"; "recv": of an earlier one, of receiving; "icmp": the error queue */
	int errnum;			/* positive: EMSGSIZE, ECONNREFUSED, EHOSTUNREACH ... */
	struct sconce_addr to;		/* where the datagram was going; len 0: not known */
	struct sconce_addr from;	/* icmp: who reports it (a router, the host itself), port 0; len 0: this host */
	const void *data;		/* icmp: the beginning of what came back; send: the datagram; else NULL */
	size_t len;			/* of `data`, bytes */
	uint8_t icmp_type, icmp_code;	/* as on the wire */
	uint32_t mtu;			/* with EMSGSIZE and `errors`: the path's, bytes; else 0 */
};

struct sconce_dgram_ops {
	/* The type's name for listings; not NULL. */
	const char *name;

	/* One of these two says how datagrams are taken.  A datagram came; up to 64 times a batch, up to 4 batches a
	 * turn. After a pause or sconce_watch_read(false) no other follows: those that were received already wait. */
	void (*event_datagram)(struct sconce_dgram *d, const struct sconce_datagram *p);
	/* There is something to take with sconce_dgram_next(); called in every turn while the kernel has datagrams. */
	void (*event_ready)(struct sconce_dgram *d);

	/* A datagram could not be sent (EMSGSIZE ...), receiving failed, an earlier one was refused (ECONNREFUSED on
	 * a connected socket), or, with `errors` in the options, the network reports one.  What is queued behind it
	 * goes on. Missing: ignored. */
	void (*event_error)(struct sconce_dgram *d, const struct sconce_dgram_error *e);
	/* Says which session a datagram belongs to: any number of yours, found by sender and content; it comes back
	 * in p->session.  Called before event_datagram, and by sconce_dgram_next(): it answers and does nothing
	 * else. Missing: 0. */
	uint64_t (*session)(struct sconce_dgram *d, const struct sconce_datagram *p);

	/* The queue, after it was offered to the kernel, or dropped by a connect that failed: at or below the low
	 * mark, having been above the high one; above the high one; empty, having waited.  Once per crossing.
	 * Missing: nothing. */
	void (*event_low)(struct sconce_dgram *d);
	void (*event_high)(struct sconce_dgram *d);
	void (*event_drain)(struct sconce_dgram *d);

	/* As for sockets, see struct sconce_sock_ops; all may be missing.  event_connect: for
	 * sconce_connect(&d->sock, "udp://..."); what was sent before goes out behind it, or after an error is
	 * dropped before it and counted in `lost`; event_low and event_drain, as far as they are due, follow. */
	void (*event_connect)(struct sconce_dgram *d, int errnum);
	void (*event_timeout)(struct sconce_dgram *d, enum sconce_timeout_kind kind);
	void (*event_close)(struct sconce_dgram *d);
	void (*destroy)(struct sconce_dgram *d);
	int (*describe)(const struct sconce_dgram *d, char *buf, size_t size);
};

/* All zero is a good default. */
struct sconce_dgram_options {
	size_t max_size;		/* bytes of a datagram that are received, at most 1 MiB; 0: 65 535 */
	unsigned batch;			/* datagrams of one system call, at most 64; 0: 64 */
	bool errors;			/* the error queue: IP_RECVERR; inet only */
	bool local;			/* tell each one's local address, and answer from it: IP_PKTINFO; inet only */
	bool broadcast;			/* SO_BROADCAST */
	size_t high, low;		/* water marks of the queue, bytes; 0: 1 MiB, and a quarter of `high` */
	size_t cap;			/* bytes it may hold, some 40 for each datagram's address included; 0: 16 MiB */
};

struct sconce_dgram {
	struct sconce_sock sock;	/* base */
	/* read-only */
	const struct sconce_dgram_ops *ops;
	uint64_t received, sent;	/* datagrams that were handed to you; that the kernel has taken */
	uint64_t lost;			/* accepted, but never in the kernel: failed, or dropped (close, connect) */
	/* private */
	struct sconce__dgram *_d;
};

/* Attaches a datagram socket to a loop and an fd, as sconce_sock_init() does; `fd` may be -1 for one that
 * sconce_bind(&d->sock, ...) or sconce_connect(&d->sock, ...) will open (udp://, unix_dgram://, fd://).  The options
 * are on before the fd is bound or connected; one that the kernel refuses fails the bind or connect, with the record
 * of it.  An endpoint or fd of streams gives -EPROTOTYPE there.  `d` must stay where it is until destroy; `ops` is
 * kept by reference; `opts` may be NULL and is copied.  On failure the fd is still the caller's.
 * Returns as sconce_sock_init(), -EINVAL (neither or both of event_datagram and event_ready; options out of range),
 * -EPROTOTYPE when the fd is no datagram socket, or what setting an option gave. */
SCONCE_API int sconce_dgram_init(struct sconce_dgram *d, struct sconce_loop *loop, const struct sconce_dgram_ops *ops,
	int fd, const struct sconce_dgram_options *opts);

/* The datagram socket whose base `s` is; asserts that it is one.  sconce_dgram_is() asks. */
SCONCE_API struct sconce_dgram *sconce_dgram_of(struct sconce_sock *s);
SCONCE_API bool sconce_dgram_is(const struct sconce_sock *s);

/* Sends one datagram to the peer it is connected to; to an address.  `data` is copied.  May be called from any hook
 * and outside, also before a connect or sconce_bind(): it waits.  Runs no hook.  It leaves at the end of the batch
 * when sent from one of the socket's own hooks, else in step 5 of this turn or the next, which does not sleep.
 * Returns SCONCE_GATHERED (accepted), SCONCE_QUEUED (accepted; the kernel has refused some, or there is no fd yet:
 * produce no more until event_low or event_drain); or -errno, and it was not accepted: -EDESTADDRREQ (no address,
 * and not connected), -EMSGSIZE (above 65 507 bytes to an IPv4 address, 65 527 to others of inet), -EINVAL (an
 * address of an impossible length), -ENOBUFS (over the cap), -EPIPE (closed), -ENOMEM.  What the kernel says later
 * is told by event_error. */
SCONCE_API int sconce_dgram_send(struct sconce_dgram *d, const void *data, size_t len);
SCONCE_API int sconce_dgram_sendto(struct sconce_dgram *d, const struct sconce_addr *to, const void *data, size_t len);
/* To the sender of `p`, and, where p->local is known, from the address it was sent to.  Only `from`, `local` and
 * `ifindex` are looked at, so that a copy of `p` will do for an answer later. */
SCONCE_API int sconce_dgram_reply(struct sconce_dgram *d, const struct sconce_datagram *p, const void *data,
	size_t len);

/* Gives the kernel what waits, now, up to 1 MiB, unless it has refused before.  May be called from any hook, the
 * socket's own too, and outside.  Runs no hook: a datagram that fails stays at the front, with those behind it, and
 * is told from the loop, or when the hook has returned.
 * Returns SCONCE_SENT when nothing is left; SCONCE_GATHERED: the rest follows by itself; SCONCE_QUEUED: the kernel
 * has refused, or there is no fd yet: wait for event_low or event_drain; -EPIPE (closed). */
SCONCE_API int sconce_dgram_flush(struct sconce_dgram *d);

/* Datagrams that wait, and their bytes. */
SCONCE_API size_t sconce_dgram_queued(const struct sconce_dgram *d);
SCONCE_API size_t sconce_dgram_queued_bytes(const struct sconce_dgram *d);

/* For types with event_ready: the next datagram, borrowed until the next call.  May be called from anywhere; takes
 * even while reads are paused.  Returns 1; 0 when there is none now; -EBADF when closed, -ENOMEM, -EINVAL for types
 * with event_datagram.  Whoever stops before 0 must call again: what was received already makes no event. */
SCONCE_API int sconce_dgram_next(struct sconce_dgram *d, struct sconce_datagram *p_out);

SCONCE_END_DECLS

#endif
