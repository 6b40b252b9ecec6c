/* Endpoints: addresses, names, listening, connecting.
 *
 * An endpoint is a text that says where to listen or to connect, and how:
 *	tcp://www.example.com:http   tcp4://1.2.3.4:80   tcp6://[::1]:80   tcp://[fe80::1%eth0]:80
 *	tcp://0:80 (or * for 0)
 *	udp://1.2.3.4:53   udp4://...   udp6://...
 *	unix:///path   unix://relative/path   unix:///@abstract   unix_dgram://...
 *	fd://3   (inherited; its family and type are found out)
 *	www.example.com:80   1.2.3.4:80   [::1]:80   *:80   80   /path   @abstract
 * To listen on every address, say
 *	80                             IPv6 and IPv4, as one socket (IPv4 alone where there is no IPv6); tcp only
 *	*:80  tcp://0:80  udp://0:53   every IPv4 address, as 0.0.0.0 (or * for 0)
 *	[::]:80  tcp://[::]:80         every IPv6 address
 *	udp://[::]:53?v6only=0         both, for datagrams (or for tcp; it fails where there is no IPv6)
 * In struct sconce_endpoint the host "*" is both with AF_UNSPEC, as "80", else every address of the family.
 * Then options: ?name=value&name=value
 *	both:       nodelay=0|1 rcvbuf=BYTES sndbuf=BYTES tos=0-255 dev=INTERFACE reuse=0|1 reuseport=0|1 v6only=0|1
 *	            keepalive=0|1 keepidle=SECONDS keepinterval=SECONDS keepcount=N user_timeout=MS
 *	listening:  backlog=N deferaccept=SECONDS fastopen=N mode=OCTAL owner=USER group=GROUP
 *	connecting: bind=ADDRESS bindport=PORT timeout=SECONDS (decimals; rounded up to ms, 0: none) happy=MS
 * sconce_endpoint_parse() also knows the port specs of Net::Server ("localhost:20203/tcp/IPv6"). */
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

/* Writes "1.2.3.4:80", "[::1]:80", a path, "@abstract", "unix" (unnamed) or "?" into `buf`, always terminated;
 * returns `buf`. */
SCONCE_API char *sconce_addr_text(const struct sconce_addr *addr, char *buf, size_t size);
/* The same without port and brackets. */
SCONCE_API char *sconce_addr_host(const struct sconce_addr *addr, char *buf, size_t size);
/* The port, 0 where there is none. */
SCONCE_API int sconce_addr_port(const struct sconce_addr *addr);

/* ::ffff:1.2.3.4 becomes 1.2.3.4, any other address stays as it is.  What this library tells is so already. */
SCONCE_API void sconce_addr_unmap(struct sconce_addr *addr);

/* The addresses of a socket's two ends.  The peer's is kept after the first call; types with event_close have it
 * kept when the end of input is read.  After a reset, or when the own end was shut down first, the kernel may no
 * longer know it: call it before, for instance in accept().  Returns 0; -ENOTCONN, -EBADF (no fd) or another -errno. */
SCONCE_API int sconce_peer(struct sconce_sock *s, struct sconce_addr *addr_out);
SCONCE_API int sconce_local(struct sconce_sock *s, struct sconce_addr *addr_out);

/* What failed: the one error record of all modules. */
struct sconce_fail {
	/* Static, one of: parse, domain, socktype, protocol, socket, setsockopt, bind, listen, accept, connect,
	 * getpeername, getsockname, getaddrinfo, getnameinfo, getservbyname, fcntl, handshake, send, recv, filter. */
	const char *operation;
	int errnum;			/* positive; EADDRNOTAVAIL when a name has no address, an address no name */
	int gai;			/* the error of getaddrinfo or getnameinfo (EAI_...), or 0 */
	char text[160];			/* one line for people: which endpoint, what happened */
};

/* Who is at the other end of a unix socket (SO_PEERCRED): as it was when it connected. */
struct sconce_cred {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
/* Returns 0; -EOPNOTSUPP when `s` is no unix socket, -ENOTCONN, -EBADF (no fd). */
SCONCE_API int sconce_peer_cred(const struct sconce_sock *s, struct sconce_cred *cred_out);

/* What an open fd is. */
struct sconce_fd_info {
	bool is_socket;			/* the rest is 0 unless it is */
	int family, type, protocol;	/* AF_..., SOCK_..., IPPROTO_... */
	bool listening;
};
/* Asks the kernel; any thread may.  Returns 0, or -EBADF. */
SCONCE_API int sconce_fd_info(int fd, struct sconce_fd_info *info_out);

/* ---- endpoints, parsed ---- */

/* How a socket is made.  A member is -1, or an empty text, where nothing was said. */
struct sconce_socket_options {
	int backlog;			/* connections that may wait to be accepted; -1: the system's maximum */
	int reuse;			/* SO_REUSEADDR; -1: on for tcp listeners and local ports, else off */
	int reuseport;			/* SO_REUSEPORT */
	int v6only;			/* always said to the kernel; -1: off for every address of both, else on */
	int nodelay;			/* tcp; -1: on */
	int keepalive;			/* -1: on when one of the next three is said */
	int keepidle, keepinterval, keepcount;	/* seconds, seconds, probes */
	int user_timeout;		/* ms that sent data may go unacknowledged */
	int deferaccept, fastopen;	/* seconds; length of its queue */
	int tos;			/* of IPv4, and the traffic class of IPv6 */
	int rcvbuf, sndbuf;		/* bytes; the kernel's limits hold and are never changed (EM-57) */
	int mode;			/* of a unix path: exact whatever the umask, and never more */
	int timeout_ms;			/* SCONCE_TIMEOUT_CONNECT, unless one is set: look-up and connects together */
	int happy_ms;			/* how long an address is tried alone; -1, 0: one after the other */
	char dev[16];			/* SO_BINDTODEVICE */
	char owner[32], group[32];	/* of a unix path: names or numbers */
};

/* The most bytes of an endpoint's text, with the final NUL. */
#define SCONCE_ENDPOINT_TEXT 1025

/* An endpoint, parsed or made by hand: sconce_endpoint_init() and then what is wanted. */
struct sconce_endpoint {
	int family;			/* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: every address of the host, or an fd */
	int type;			/* SOCK_STREAM, SOCK_DGRAM; 0: an fd's own */
	int fd;				/* of fd://N, else -1 */
	char proto[12];			/* "tcp", "udp", "unix", "unix_dgram", "fd"; others ("ssl") cannot be opened */
	char host[256];			/* a name, a numeric address without brackets, or "*": every address */
	char service[64];		/* a number or a name */
	char path[108];			/* AF_UNIX: a path, or '@' and an abstract name */
	char bind_host[256];		/* connecting: the local address, or path ("@": any); "": none */
	char bind_service[64];		/* its port; "": any */
	struct sconce_socket_options options;
	char text[SCONCE_ENDPOINT_TEXT];	/* where it came from, for logs and restarts; "": made by hand */
};

/* What a text leaves open, for sconce_endpoint_parse(). */
struct sconce_endpoint_defaults {
	const char *host;		/* NULL: "*" */
	const char *service;		/* for an empty text; NULL: refused */
	const char *proto;		/* "tcp", "udp", "unix", "unix_dgram"; NULL: "tcp" */
	const char *ipv;		/* "4", "6", "*" (both, as one socket if possible), "v4v6" (two); NULL: "*" */
};

/* What an endpoint may be for. */
enum { SCONCE_ENDPOINT_LISTEN = 1, SCONCE_ENDPOINT_CONNECT = 2 };

/* So many endpoints one text may mean. */
#define SCONCE_ENDPOINTS 2

/* Parses a text into `list_out`, an array of SCONCE_ENDPOINTS; nothing is looked up.  `roles` says what it must be
 * good for (SCONCE_ENDPOINT_..., one or both: either); listening includes binding a datagram socket.
 * Without `defaults` it is what sconce_listen() and sconce_connect() take, and means one endpoint.  With them, port
 * specs are understood as well: host, port, protocol and IP version, in this order but for the version, separated by
 * colons, commas, bars, slashes and blanks, all but the port optional ("20203", "http", "localhost, 20203, tcp,
 * IPv4", "[::1]:80/udp", "20203/IPv4/IPv6": two endpoints, IPv6 first), or a path and "|unix", "|unixdgram" or
 * "|sock_dgram|unix".
 * Returns how many there are, or -EINVAL with *fail_out (may be NULL) set and the list untouched. */
SCONCE_API int sconce_endpoint_parse(const char *text, unsigned roles, const struct sconce_endpoint_defaults *defaults,
	struct sconce_endpoint *list_out, struct sconce_fail *fail_out);

/* An endpoint where nothing is said yet: a stream to nowhere, tcp. */
SCONCE_API void sconce_endpoint_init(struct sconce_endpoint *ep);

/* ---- names ---- */

/* Looks addresses up.  Called in a thread of the pool (from sconce_listen() and sconce_bind(): in the loop's), at most
 * as many at a time as sconce_work() has threads, so it may block and must be safe in any thread.  `host` is a name, a
 * numeric address or "*"; `service` a name or a number; `family` AF_UNSPEC, AF_INET or AF_INET6; `type` SOCK_...;
 * `flags` SCONCE_RESOLVE_...  Writes at most `max` addresses, with their ports, in the order they are to be tried.
 * Returns how many, or one of getaddrinfo's negative EAI_... */
typedef int sconce_resolver_fn(void *arg, const char *host, const char *service, int family, int type, unsigned flags,
	struct sconce_addr *addrs_out, size_t max);
/* getaddrinfo(3), to be called from one's own, and the default where a thread is used; `arg` is not looked at. */
SCONCE_API int sconce_resolver_default(void *arg, const char *host, const char *service, int family, int type,
	unsigned flags, struct sconce_addr *addrs_out, size_t max);

/* Replaces it for a loop; NULL: the default again.  Look-ups that have begun are not changed.  `arg` must be good
 * until the loop is freed. */
SCONCE_API void sconce_set_resolver(struct sconce_loop *loop, sconce_resolver_fn *fn, void *arg);

/* Without a resolver of the application's, a library that was built with c-ares asks the nameservers itself, from the
 * loop, with no thread and any number of look-ups at a time.  /etc/hosts comes first, and is read in the loop's thread;
 * a service that is not a number is looked up in the pool's.  localhost and what is below it is never asked for.  It
 * does so where the system's names come from files and dns alone (nsswitch.conf), and follows changes of resolv.conf.
 * Otherwise, and for sconce_listen() and sconce_bind(), it is getaddrinfo(3).
 *
 * Names the nameservers to be asked instead of the system's: "127.0.0.1:5353,[::1]:53,192.0.2.1", at most 16, with port
 * 53 where none is said; they are tried in this order.  c-ares is then used whatever nsswitch.conf says.  NULL: the
 * system's again.  Look-ups that nameservers have been asked for are begun again with the new ones.  The text is
 * copied.  May be called in any hook; runs none.
 * Returns 0; -EINVAL (the text), -ENOTSUP (built without c-ares), -ENOMEM, -EAGAIN (the loop is being freed) or -EIO
 * (c-ares cannot start): then nothing has changed. */
SCONCE_API int sconce_set_nameservers(struct sconce_loop *loop, const char *nameservers);

enum {
	SCONCE_RESOLVE_PASSIVE = 1,	/* to bind to: "*" is every address */
	/* Leave out families that this host has no address of (AI_ADDRCONFIG), unless the name is one of this host's
	 * own. */
	SCONCE_RESOLVE_CONFIGURED = 2
};

/* The end of a look-up, from the loop: `addrs` (borrowed during the call) and their `count`, at least 1, at most 32;
 * or none and `fail`:
 * operation getaddrinfo or getservbyname; errnum EADDRNOTAVAIL with `gai`, ETIMEDOUT, ECANCELED (the loop is being
 * freed), ENOMEM, EAGAIN (no thread). */
typedef void sconce_resolve_fn(struct sconce_loop *loop, void *arg, const struct sconce_addr *addrs, size_t count,
	const struct sconce_fail *fail);

struct sconce_resolve;

/* Looks up a host and a service.  Numeric ones never block and need no thread; names are looked up by c-ares (see
 * above) or in the pool of sconce_work(), equal ones that are under way only once.  `host` is a name, a numeric address
 * or, with SCONCE_RESOLVE_PASSIVE, "*"; `service` a name or number.
 * `family` AF_UNSPEC, AF_INET or AF_INET6; `type` SOCK_STREAM or SOCK_DGRAM; `timeout` in seconds, 0 or less: none.
 * `done` is called once, from the loop, never inside the call, unless sconce_resolve_cancel() comes first.  The
 * texts are copied.
 * A pending look-up keeps the loop running.  An answer that comes after the time is dropped.  Freeing the loop waits
 * for what runs in threads.
 * Returns 0 with *resolve_out (may be NULL), which is valid until `done` is called; -EINVAL (no host, a text too
 * long), -ENOMEM, -EAGAIN (the loop is being freed). */
SCONCE_API int sconce_resolve(struct sconce_loop *loop, const char *host, const char *service, int family, int type,
	unsigned flags, double timeout, sconce_resolve_fn *done, void *arg, struct sconce_resolve **resolve_out);

/* `done` will not be called.  Not from `done` itself.  NULL is allowed. */
SCONCE_API void sconce_resolve_cancel(struct sconce_resolve *r);

/* Finds the name of an address (AF_INET or AF_INET6, its port 0).  Called in a thread of the pool, so it may block and
 * must be safe in any thread.  Writes the name, with its final NUL, into the `size` bytes of `name_out`.
 * Returns 0, or one of getaddrinfo's negative EAI_... */
typedef int sconce_addr_resolver_fn(void *arg, const struct sconce_addr *addr, char *name_out, size_t size);
/* getnameinfo(3) with NI_NAMEREQD, to be called from one's own, and the default where a thread is used; `arg` is not
 * looked at. */
SCONCE_API int sconce_addr_resolver_default(void *arg, const struct sconce_addr *addr, char *name_out, size_t size);

/* As sconce_set_resolver(), which says nothing about names of addresses. */
SCONCE_API void sconce_set_addr_resolver(struct sconce_loop *loop, sconce_addr_resolver_fn *fn, void *arg);

/* The end of a look-up, from the loop: `name`, valid during the call, at most 253 bytes, without a final dot; or NULL
 * and `fail`: operation getnameinfo, the rest as for sconce_resolve_fn. */
typedef void sconce_resolve_addr_fn(struct sconce_loop *loop, void *arg, const char *name,
	const struct sconce_fail *fail);

/* Looks up the name of an address; its port does not matter, and ::ffff:1.2.3.4 is 1.2.3.4.  It is what the owner of
 * the address says, and no proof: look the name up again to see whether it leads back.  What cannot be a host's name
 * counts as none: other bytes than letters, digits, "-", "_" and single dots, or an address ("10.0.0.1", "127.1").
 * c-ares, threads, equal look-ups, `timeout`, `done`, cancelling and freeing the loop are as for sconce_resolve().
 * Returns 0 with *resolve_out (may be NULL), which is valid until `done` is called; -EINVAL (no address of IPv4 or
 * IPv6), -ENOMEM, -EAGAIN (the loop is being freed). */
SCONCE_API int sconce_resolve_addr(struct sconce_loop *loop, const struct sconce_addr *addr, double timeout,
	sconce_resolve_addr_fn *done, void *arg, struct sconce_resolve **resolve_out);

/* ---- listening ---- */

struct sconce_listener;

struct sconce_listener_ops {
	/* The type's name for listings. */
	const char *name;
	/* A connection: make its object with sconce_sock_init(), or give `fd` to somebody else, and return 0; or
	 * return -errno: the library then closes `fd`.  The hook must not close it itself and go on: an fd that it
	 * opens after that may get the same number, and would be taken for this one.  `peer` is valid during the
	 * call.  `fd` is non-blocking, close-on-exec.  Called from the loop up to 64 times a turn.  Must not be
	 * missing. */
	int (*accept)(struct sconce_listener *l, int fd, const struct sconce_addr *peer);
	/* Accepting failed in a way that lasts (EMFILE, ENFILE, ENOBUFS, ENOMEM): once per spell; it goes on by
	 * itself when an fd is freed, or after 0.1 s doubling to 1 s.  May be missing. */
	void (*event_fail)(struct sconce_listener *l, const struct sconce_fail *fail);
	/* As for sockets; `event_close` may be missing. */
	void (*event_close)(struct sconce_listener *l);
	void (*destroy)(struct sconce_listener *l);
	/* accept() does not look at `peer`, which is then empty (its len is 0): to be told it costs some 0.1 us a
	 * connection.  sconce_peer() asks for it later all the same. */
	bool no_peer;
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
	struct sconce_addr addr;	/* where it listens; the real port when 0 was asked; as sconce_local() */
	uint64_t accepted;		/* connections since it was made */
	uint32_t connections;		/* those alive that sconce_listener_count() tied to it */
	bool v4_only;			/* every address was asked for, and there is no IPv6 here */
	/* private */
	bool _defer;			/* deferaccept: data is there when a connection is */
	uint8_t _paused;		/* SCONCE_LISTENER_... */
	uint8_t _batch, _full;		/* connections accepted in one event, less 1; full batches in a row */
	uint8_t _batch_max;		/* of _batch */
	uint32_t _limit;
	double _backoff;
	struct sconce_timer _retry;
};

/* Listens on a stream endpoint.  Synchronous: when it returns 0, connections are being accepted from the next turn
 * on.  A name, or a service's name, is looked up at once, which may block: start-up is the time for it; of several
 * addresses the first that can be bound is taken.
 * A unix path that is a socket nobody answers on is replaced, ours is unlinked at close by the process that made
 * it.  fd://N adopts an fd that listens, as sconce_listen_fd().  "80" and AF_UNSPEC with "*" are one socket for IPv6
 * and IPv4, or for IPv4 where there is no IPv6 (`v4_only`).
 * `l` is the caller's memory, unmoved until its destroy; `ops` is kept by reference; `endpoint` is not kept.
 * `*fail_out` (may be NULL) is set on failure.  Returns 0 or -errno: -EINVAL (the text), -EADDRINUSE, -EACCES,
 * -EADDRNOTAVAIL (also: no such name), -EPROTOTYPE (a datagram endpoint), -EPROTONOSUPPORT ("ssl"), -ENOENT (no such
 * directory, owner or group) ... ; then no hook runs. */
SCONCE_API int sconce_listen(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops,
	const char *endpoint, struct sconce_fail *fail_out);
SCONCE_API int sconce_listen_endpoint(struct sconce_listener *l, struct sconce_loop *loop,
	const struct sconce_listener_ops *ops, const struct sconce_endpoint *ep, struct sconce_fail *fail_out);

/* Listens on all of `count` endpoints, and on every address of their names, or on nothing.  `listeners` are `max`
 * pointers to the caller's listeners, taken in order.  Port 0 is one number for all addresses that came from one
 * text.  Of a name's addresses (AF_UNSPEC), those of a family that this host does not have are left out if others
 * work.
 * Returns how many listeners are in use; or -errno as sconce_listen(), -ENOBUFS when `max` is too small: then none
 * is and no hook runs. */
SCONCE_API int sconce_listen_all(struct sconce_listener *const *listeners, size_t max, struct sconce_loop *loop,
	const struct sconce_listener_ops *ops, const struct sconce_endpoint *eps, size_t count,
	struct sconce_fail *fail_out);

/* Listens on an fd that listens already (inherited, or from a service manager); its family is found out.  On success
 * it is the listener's.
 * Returns as sconce_listen(), and -EINVAL when the fd does not listen. */
SCONCE_API int sconce_listen_fd(struct sconce_listener *l, struct sconce_loop *loop,
	const struct sconce_listener_ops *ops, int fd, struct sconce_fail *fail_out);

/* The listener whose base `s` is; asserts that it is one. */
SCONCE_API struct sconce_listener *sconce_listener_of(struct sconce_sock *s);

/* Stops accepting, goes on.  Reasons are bits (SCONCE_LISTENER_...): it accepts when none is left.  These two set
 * and clear the user's. */
SCONCE_API void sconce_listener_pause(struct sconce_listener *l);
SCONCE_API void sconce_listener_resume(struct sconce_listener *l);
SCONCE_API unsigned sconce_listener_paused(const struct sconce_listener *l);

/* At most `limit` counted connections at a time (0: no limit); beyond, nothing is accepted until one is destroyed. */
SCONCE_API void sconce_listener_set_limit(struct sconce_listener *l, uint32_t limit);
/* Counts `s` among the listener's connections until it is destroyed; call it in accept().  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_listener_count(struct sconce_listener *l, struct sconce_sock *s);

/* Accepts at most `max` connections in one turn: 1 to 64, which is the default. */
SCONCE_API void sconce_listener_set_batch(struct sconce_listener *l, unsigned max);

/* Gives the listener other hooks (the table is kept by reference), from the next one on.  What is paused stays
 * paused.  Returns 0, or -EINVAL (no name or accept). */
SCONCE_API int sconce_listener_set_ops(struct sconce_listener *l, const struct sconce_listener_ops *ops);

/* ---- datagram sockets ---- */

/* Opens `s`, which was made with fd -1, as a datagram socket that is bound to an endpoint (udp, unix_dgram, fd):
 * synchronous, as sconce_listen(), with the same care for unix paths and names.  SO_REUSEADDR is off unless
 * reuse=1.  On success s->fd is open, and s has fd://N's fd for its own.
 * May be called from hooks; runs none.
 * Returns 0 or -errno with *fail_out (may be NULL) set: -EPROTOTYPE (a stream endpoint or fd, or `s` is a stream),
 * -EISCONN, -EALREADY,
 * -EBADF (closed) and as sconce_listen(); `s` is then as before. */
SCONCE_API int sconce_bind(struct sconce_sock *s, const char *endpoint, struct sconce_fail *fail_out);
SCONCE_API int sconce_bind_endpoint(struct sconce_sock *s, const struct sconce_endpoint *ep,
	struct sconce_fail *fail_out);

/* ---- connecting ---- */

/* Connects `s`, which was made with fd -1, to an endpoint.  Reports through event_connect, never inside the call;
 * the socket may be written to and given timeouts at once (what is written waits).  s->fd may be -1 until
 * event_connect.  Names are looked up in other threads and all their addresses tried, one after the other, or with
 * happy=MS overlapping (RFC 8305): the first that answers wins.  SCONCE_TIMEOUT_CONNECT, or timeout=SECONDS, bounds
 * look-up and connects together.
 * Meanwhile it may also be half-closed with sconce_shutdown() or be an end of a transfer or relay: that waits, too.
 * A datagram endpoint (udp, unix_dgram) gives a connected datagram socket; a unix one without bind= gets a name of
 * the kernel's choice, so that it can be answered.  fd://N takes an fd that is connected, or connecting, but not one
 * that listens; on failure of this call it stays the caller's.
 * On failure event_connect gets the errno, sconce_failure(s) the whole record; the socket is then not connected and
 * may be closed or connected again.  A unix socket whose listener has its backlog full fails with EAGAIN: the
 * kernel does not tell when there is room, so try again later.
 * sconce_close() before that cancels everything without event_connect.
 * `endpoint` is not kept.
 * Returns 0; -EINVAL for a wrong endpoint (sconce_failure() says what; also: port 0, and an fd that listens),
 * -EPROTONOSUPPORT ("ssl"), -EPROTOTYPE (a stream endpoint, and the type of `s` carries records, or a datagram one, and
 * it is a stream), -EISCONN,
 * -EALREADY, -EBADF (closed, or fd://N is not open), -EPERM (fd://N is a file), -ENOMEM; for fd://N also what the
 * hook `open` of the type gives. */
SCONCE_API int sconce_connect(struct sconce_sock *s, const char *endpoint);
SCONCE_API int sconce_connect_endpoint(struct sconce_sock *s, const struct sconce_endpoint *ep);

/* The same to an address; its port must not be 0.  A type that carries records gets a datagram socket, of a unix
 * address one with a name as above, any other type a stream. */
SCONCE_API int sconce_connect_addr(struct sconce_sock *s, const struct sconce_addr *addr);

/* Tells that the application itself has begun to connect the fd of `s`: the result is reported as for sconce_connect().
 * Returns 0, -EBADF or -ENOMEM. */
SCONCE_API int sconce_connecting(struct sconce_sock *s);

/* The record of the last failure of `s`, valid during event_connect, event_err and event_close and until the next or
 * until a connect succeeds; NULL when there was none, or no memory for it.  Of a connection that breaks it says
 * "send" or "recv" (a reset while nothing waited to be sent, too) and the peer, if sconce_peer() knows it still. */
SCONCE_API const struct sconce_fail *sconce_failure(const struct sconce_sock *s);

/* Connects and hands over a bare fd.  `done` is called once, from the loop: with the fd (non-blocking,
 * close-on-exec, now its owner's) and the peer's address, or with -1, NULL and `fail`. */
typedef void sconce_connector_fn(void *arg, int fd, const struct sconce_addr *peer, const struct sconce_fail *fail);

struct sconce_connector;

/* Begins to connect to an endpoint, as sconce_connect().  A wrong endpoint is told at once.  When the loop is freed
 * before the end, `done` gets ECANCELED.
 * Returns 0 with *connector_out (may be NULL), valid until `done` is called; or, with *fail_out (may be NULL) set,
 * -EINVAL, -EPROTONOSUPPORT, -EBADF or -EPERM (fd://N is not open, is a file), -ENOMEM, -ESHUTDOWN (the loop is being
 * freed): then an fd://N stays the caller's. */
SCONCE_API int sconce_connector_start(struct sconce_loop *loop, const char *endpoint, sconce_connector_fn *done,
	void *arg, struct sconce_connector **connector_out, struct sconce_fail *fail_out);

/* Ends it: `done` will not be called, what is open is closed.  Not from `done` itself.  NULL is allowed. */
SCONCE_API void sconce_connector_cancel(struct sconce_connector *c);

/* Parses a stream endpoint's text with a numeric address and port.  Returns 0, or -EINVAL with *fail_out (may be
 * NULL) set. */
SCONCE_API int sconce_addr_parse(const char *endpoint, struct sconce_addr *addr_out, struct sconce_fail *fail_out);

SCONCE_END_DECLS

#endif
