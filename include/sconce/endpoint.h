/* Endpoints: addresses, listening, connecting.
 *
 * The grammar so far (names and services follow):
 *	tcp://1.2.3.4:80   tcp4://...   tcp6://[::1]:80   tcp://[fe80::1%eth0]:80   tcp://0:80 (or * for 0)
 *	unix:///path       unix:///@abstract
 *	1.2.3.4:80         [::1]:80     *:80     80 (listening: every address)     /path     @abstract
 * then options: ?name=value&name=value
 *	listening: backlog=N reuse=0|1 reuseport=0|1 v6only=0|1 deferaccept=SECONDS mode=OCTAL
 *	both:      nodelay=0|1 rcvbuf=BYTES sndbuf=BYTES keepalive=0|1
 *	connecting: bind=ADDRESS bindport=PORT */
#ifndef SCONCE_ENDPOINT_H
#define SCONCE_ENDPOINT_H

#include <netinet/in.h>
#include <sys/un.h>
#include <sconce/sock.h>
#include <sconce/timer.h>

SCONCE_BEGIN_DECLS

/* An address of any family. */
struct sconce_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
	socklen_t len;
};

/* Longest text of an address with its port, and the final NUL; a unix path fits. */
#define SCONCE_ADDR_TEXT 128

/* Writes "1.2.3.4:80", "[::1]:80", a path, "@abstract", "unix" (unnamed) or "?" into `buf`, always terminated; returns `buf`. */
SCONCE_API char *sconce_addr_text(const struct sconce_addr *addr, char *buf, size_t size);
/* The same without port and brackets. */
SCONCE_API char *sconce_addr_host(const struct sconce_addr *addr, char *buf, size_t size);
/* The port, 0 where there is none. */
SCONCE_API int sconce_addr_port(const struct sconce_addr *addr);

/* The addresses of a socket's two ends.  The peer's is kept after the first call; types with event_close have it kept when the
 * end of input is read.  After a reset, or when the own end was shut down first, the kernel may no longer know it: call it before, for
 * instance in accept().  Returns 0; -ENOTCONN, -EBADF (no fd) or another -errno. */
SCONCE_API int sconce_peer(struct sconce_sock *s, struct sconce_addr *addr_out);
SCONCE_API int sconce_local(struct sconce_sock *s, struct sconce_addr *addr_out);

/* What failed: the one error record of all modules. */
struct sconce_fail {
	const char *operation;		/* parse, socket, setsockopt, bind, listen, accept, connect, handshake, send, recv, getaddrinfo, fcntl ... (a closed set; static) */
	int errnum;			/* positive */
	int gai;			/* getaddrinfo's error, or 0 */
	char text[160];			/* one line for people: which endpoint, what happened */
};

/* ---- listening ---- */

struct sconce_listener;

struct sconce_listener_ops {
	/* The type's name for listings. */
	const char *name;
	/* A connection: make its object with sconce_sock_init() and return 0; or return -errno: the library then closes `fd`.  `peer` is valid
	 * during the call.  `fd` is non-blocking, close-on-exec.  Called from the loop up to 64 times a turn.  Must not be missing. */
	int (*accept)(struct sconce_listener *l, int fd, const struct sconce_addr *peer);
	/* Accepting failed in a way that lasts (EMFILE, ENFILE, ENOBUFS, ENOMEM): once per spell; it goes on by itself when an fd is freed, or after 0.1 s doubling
	 * to 1 s.  May be missing. */
	void (*event_fail)(struct sconce_listener *l, const struct sconce_fail *fail);
	/* As for sockets; `event_close` may be missing. */
	void (*event_close)(struct sconce_listener *l);
	void (*destroy)(struct sconce_listener *l);
};

/* Why a listener does not accept. */
enum {
	SCONCE_LISTENER_USER = 1,	/* sconce_listener_pause() */
	SCONCE_LISTENER_LIMIT = 2,	/* as many connections as sconce_listener_set_limit() allows */
	SCONCE_LISTENER_EMFILE = 4	/* no fd or memory; tried again */
};

struct sconce_listener {
	struct sconce_sock sock;	/* base: sconce_close(&l->sock, ...) ends it; the fd, the id */
	/* read-only */
	const struct sconce_listener_ops *ops;
	struct sconce_addr addr;	/* where it listens; the real port when 0 was asked */
	uint64_t accepted;		/* connections since it was made */
	uint32_t connections;		/* those alive that sconce_listener_count() tied to it */
	/* private */
	uint32_t _limit;
	uint8_t _paused;		/* SCONCE_LISTENER_... */
	bool _defer;			/* deferaccept: data is there when a connection is */
	bool _owns_path;		/* unlink the unix path at close */
	uint8_t _batch, _full;		/* connections accepted in one event, less 1; full batches in a row */
	int _owner;			/* the process that made it */
	uint64_t _path_dev, _path_ino;	/* the path is still ours while these match */
	double _backoff;
	struct sconce_timer _retry;
};

/* Listens on an endpoint.  Synchronous: when it returns 0, connections are being accepted from the next turn on.  A unix path that is a socket nobody answers on is
 * replaced, ours is unlinked at close by the process that made it.  TCP_NODELAY is on unless nodelay=0; reuse is on unless reuse=0.
 * `l` is the caller's memory, unmoved until its destroy; `ops` is kept by reference; `endpoint` is not kept.
 * `*fail_out` (may be NULL) is set on failure.  Returns 0 or -errno: -EINVAL (the text), -EADDRINUSE, -EACCES ... ; then no hook runs. */
SCONCE_API int sconce_listen(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops,
	const char *endpoint, struct sconce_fail *fail_out);

/* Listens on an fd that listens already (inherited, or from a service manager).  On success it is the listener's.  Returns as
 * sconce_listen(), and -EINVAL when the fd does not listen. */
SCONCE_API int sconce_listen_fd(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops,
	int fd, struct sconce_fail *fail_out);

/* The listener whose base `s` is; asserts that it is one. */
SCONCE_API struct sconce_listener *sconce_listener_of(struct sconce_sock *s);

/* Stops accepting, goes on.  Reasons are bits (SCONCE_LISTENER_...): it accepts when none is left.  These two set and clear the user's. */
SCONCE_API void sconce_listener_pause(struct sconce_listener *l);
SCONCE_API void sconce_listener_resume(struct sconce_listener *l);
SCONCE_API unsigned sconce_listener_paused(const struct sconce_listener *l);

/* At most `limit` counted connections at a time (0: no limit); beyond, nothing is accepted until one is destroyed. */
SCONCE_API void sconce_listener_set_limit(struct sconce_listener *l, uint32_t limit);
/* Counts `s` among the listener's connections until it is destroyed; call it in accept().  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_listener_count(struct sconce_listener *l, struct sconce_sock *s);

/* ---- connecting ---- */

/* Connects `s`, which was made with fd -1, to an endpoint.  Reports through event_connect, never inside the call; the socket may be written to and given timeouts
 * at once (what is written waits).  SCONCE_TIMEOUT_CONNECT bounds it.  On failure event_connect gets the errno, sconce_failure(s) the whole record; the
 * socket is then not connected and may be closed or connected again.  `endpoint` is not kept.
 * Returns 0; -EINVAL for a wrong endpoint (sconce_failure() says what), -EISCONN, -EALREADY, -EBADF (closed), -ENOMEM. */
SCONCE_API int sconce_connect(struct sconce_sock *s, const char *endpoint);

/* The same to an address. */
SCONCE_API int sconce_connect_addr(struct sconce_sock *s, const struct sconce_addr *addr);

/* Tells that the application itself has begun to connect the fd of `s`: the result is reported as for sconce_connect().
 * Returns 0, -EBADF or -ENOMEM. */
SCONCE_API int sconce_connecting(struct sconce_sock *s);

/* The record of the last failure of `s`, valid during event_connect, event_err and event_close and until the next; NULL when there was none. */
SCONCE_API const struct sconce_fail *sconce_failure(const struct sconce_sock *s);

/* Parses an endpoint text with a numeric address.  Returns 0, or -EINVAL with *fail_out (may be NULL) set. */
SCONCE_API int sconce_addr_parse(const char *endpoint, struct sconce_addr *addr_out, struct sconce_fail *fail_out);

SCONCE_END_DECLS

#endif
