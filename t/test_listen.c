/* Listening: what is accepted and how many at a time, limits, what happens without fds, unix paths. */
#include "test_net.h"

#include <sys/resource.h>
#include <sys/un.h>

#include "core.h"

enum { CONNS = 256 };

static struct server {
	struct sconce_listener listener;
	int accepts, fails, closes, destroys;
	int fail_errnum;
	char fail[160];
	char peer[SCONCE_ADDR_TEXT];	/* of the last connection */
	int refuse;			/* -errno that accept gives */
	int close_after, pause_after;	/* that many accepts: closes, pauses itself; 0: never */
	bool count;			/* counts its connections */
	bool close_in_fail;
	struct conn *conns[CONNS];
	int conn_count;
} server, server2;

static struct server *
server_of(struct sconce_listener *l)
{
	return SCONCE_CONTAINER_OF(l, struct server, listener);
}

static void
free_conn(struct sconce_sock *s)
{
	conn_destroy(s);
	free(conn_of(s));
}

static const struct sconce_sock_ops heap_ops = {
	.name = "heap", .event_read = conn_event_read, .event_err = conn_event_err, .event_close = conn_event_close,
	.destroy = free_conn,
};

static int
server_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct server *sv = server_of(l);
	struct conn *c;

	sv->accepts++;
	sconce_addr_text(peer, sv->peer, sizeof(sv->peer));
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	if (sv->close_after > 0 && sv->accepts == sv->close_after)
		sconce_close(&l->sock, SCONCE_REASON_LOCAL);
	if (sv->pause_after > 0 && sv->accepts == sv->pause_after)
		sconce_listener_pause(l);
	if (sv->refuse < 0)
		return sv->refuse;
	c = calloc(1, sizeof(*c));
	ck_assert_int_eq(sconce_sock_init(&c->sock, loop, &heap_ops, fd), 0);
	if (sv->count)
		ck_assert_int_eq(sconce_listener_count(l, &c->sock), 0);
	if (sv->conn_count < CONNS)
		sv->conns[sv->conn_count++] = c;
	return 0;
}

static void
server_event_fail(struct sconce_listener *l, const struct sconce_fail *fail)
{
	struct server *sv = server_of(l);

	sv->fails++;
	sv->fail_errnum = fail->errnum;
	snprintf(sv->fail, sizeof(sv->fail), "%s", fail->text);
	if (sv->close_in_fail)
		sconce_close(&l->sock, SCONCE_REASON_LOCAL);
}

static void
server_event_close(struct sconce_listener *l)
{
	server_of(l)->closes++;
}

static void
server_destroy(struct sconce_listener *l)
{
	server_of(l)->destroys++;
}

static const struct sconce_listener_ops server_ops = {
	.name = "server", .accept = server_accept, .event_fail = server_event_fail, .event_close = server_event_close,
	.destroy = server_destroy,
};

static void
server_start(struct server *sv, const char *endpoint)
{
	struct sconce_fail fail;

	memset(sv, 0, sizeof(*sv));
	ck_assert_msg(sconce_listen(&sv->listener, loop, &server_ops, endpoint, &fail) == 0, "%s", fail.text);
}

static void
server_stop(struct server *sv)
{
	sconce_close(&sv->listener.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(sv->destroys, 1);
}

/* Reaps all connections of a server. */
static void
server_drop(struct server *sv)
{
	for (int i = 0; i < sv->conn_count; i++)
		sconce_close(&sv->conns[i]->sock, SCONCE_REASON_LOCAL);
	sv->conn_count = 0;
	net_settle();
}

/* Non-blocking connections that a backlog takes. */
static void
connect_many(const struct sconce_addr *a, int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		fds[i] = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		ck_assert_int_ge(fds[i], 0);
		ck_assert(connect(fds[i], &a->any, a->len) == 0 || errno == EINPROGRESS);
	}
}

static void
close_many(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* ---- accepting ---- */

/* A listener accepts, knows its real port, and tells who called; SF-12, SF-18, PC-6. */
START_TEST(test_listen_tcp_accepts_and_tells_peer)
{
	char text[SCONCE_ADDR_TEXT], near_text[SCONCE_ADDR_TEXT], line[256];
	struct sconce_addr near;
	int fd;

	server_start(&server, "tcp://127.0.0.1:0");
	ck_assert_int_gt(sconce_addr_port(&server.listener.addr), 0);
	ck_assert_ptr_eq(sconce_listener_of(&server.listener.sock), &server.listener);
	fd = plain_connect(&server.listener.addr);
	near.len = sizeof(near.un);
	ck_assert_int_eq(getsockname(fd, &near.any, &near.len), 0);
	NET_UNTIL(server.accepts == 1);
	ck_assert_str_eq(server.peer, sconce_addr_text(&near, near_text, sizeof(near_text)));
	ck_assert_uint_eq(server.listener.accepted, 1);
	ck_assert_int_eq(write(fd, "hi", 2), 2);
	NET_UNTIL(server.conns[0]->in_len == 2);
	sconce_describe(&server.listener.sock, line, sizeof(line));
	sconce_addr_text(&server.listener.addr, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(line, text));
	ck_assert_int_eq(strncmp(line, "server#", 7), 0);
	server_stop(&server);
	ck_assert_int_eq(server.closes, 1);
	close(fd);
}
END_TEST

/* A type that does not look at the peer is not told, and can ask for it. */
START_TEST(test_listen_no_peer_is_asked_for_later)
{
	struct sconce_listener_ops ops = server_ops;
	char text[SCONCE_ADDR_TEXT];
	struct sconce_addr near, peer;
	int fd;

	server_start(&server, "tcp://127.0.0.1:0");
	ops.no_peer = true;
	ck_assert_int_eq(sconce_listener_set_ops(&server.listener, &ops), 0);
	fd = plain_connect(&server.listener.addr);
	near.len = sizeof(near.un);
	ck_assert_int_eq(getsockname(fd, &near.any, &near.len), 0);
	NET_UNTIL(server.accepts == 1);
	ck_assert_str_eq(server.peer, "?");
	ck_assert_int_eq(sconce_peer(&server.conns[0]->sock, &peer), 0);
	ck_assert_str_eq(sconce_addr_text(&peer, server.peer, sizeof(server.peer)), sconce_addr_text(&near, text, sizeof(text)));
	server_stop(&server);
	close(fd);
}
END_TEST

static void
check_family(const char *endpoint, const char *peer)
{
	struct sconce_fail fail;
	int fd, r;

	memset(&server, 0, sizeof(server));
	r = sconce_listen(&server.listener, loop, &server_ops, endpoint, &fail);
	if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)	/* no v6 here */
		return;
	ck_assert_msg(r == 0, "%s", fail.text);
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(server.accepts == 1);
	ck_assert_int_eq(strncmp(server.peer, peer, strlen(peer)), 0);
	server_drop(&server);
	server_stop(&server);
	close(fd);
}

/* The other families do as well. */
START_TEST(test_listen_other_families_accept)
{
	char name[64], path[128];

	check_family("tcp6://[::1]:0", "[::1]:");
	abstract_name(name, sizeof(name));
	check_family(name, "unix");
	dir_make(path, sizeof(path), "s");
	check_family(path, "unix");
	dir_remove(path);
}
END_TEST

/* A port alone is every address, and a v4 peer of it looks like a v4 peer. */
START_TEST(test_listen_port_alone_v4_peer_is_v4)
{
	struct sconce_addr a, peer, local;
	char text[SCONCE_ADDR_TEXT];
	int fd;

	server_start(&server, "0");
	snprintf(text, sizeof(text), "127.0.0.1:%d", sconce_addr_port(&server.listener.addr));
	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	fd = plain_connect(&a);
	NET_UNTIL(server.accepts == 1);
	ck_assert_int_eq(strncmp(server.peer, "127.0.0.1:", 10), 0);
	ck_assert_int_eq(sconce_peer(&server.conns[0]->sock, &peer), 0);
	ck_assert_int_eq(peer.any.sa_family, AF_INET);
	ck_assert_int_eq(sconce_local(&server.conns[0]->sock, &local), 0);
	ck_assert_str_eq(sconce_addr_text(&local, text, sizeof(text)), text);
	ck_assert_int_eq(local.any.sa_family, AF_INET);
	server_drop(&server);
	close(fd);
}
END_TEST

static int
no_v6_socket(int domain, int type, int protocol, void *ctx)
{
	if (domain == AF_INET6) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return sconce_backend_libev()->socket(domain, type, protocol, ctx);
}

/* Where there is no v6 a port alone is every v4 address. */
START_TEST(test_listen_port_alone_without_v6_is_v4)
{
	struct sconce_fail fail;

	backend.socket = no_v6_socket;
	server_start(&server, "0");
	ck_assert_int_eq(server.listener.addr.any.sa_family, AF_INET);
	ck_assert_int_eq(sconce_listen(&server2.listener, loop, &server_ops, "[::1]:0", &fail), -EAFNOSUPPORT);
	ck_assert_str_eq(fail.operation, "socket");
	server_stop(&server);
}
END_TEST

/* At most 64 are accepted a turn; nobody else starves; SF-15. */
START_TEST(test_listen_many_are_accepted_in_batches)
{
	int fds[200], turns = 0;

	server_start(&server, "127.0.0.1:0?backlog=300");
	connect_many(&server.listener.addr, fds, 200);
	for (int last = 0; server.accepts < 200 && turns < 1000; turns++) {
		ck_assert_int_ge(sconce_loop_step(loop, 0.01), 0);
		ck_assert_int_le(server.accepts - last, 64);
		last = server.accepts;
	}
	ck_assert_int_eq(server.accepts, 200);
	ck_assert_int_ge(turns, 4);
	close_many(fds, 200);
	server_drop(&server);
}
END_TEST

/* What accept() will not have is closed by the library. */
START_TEST(test_listen_accept_refuses_fd_is_closed)
{
	int fd, before;

	server_start(&server, "127.0.0.1:0");
	server.refuse = -EPERM;
	before = t_fd_count();
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(server.accepts == 1);
	ck_assert(plain_ended(fd));
	ck_assert_int_eq(t_fd_count(), before + 1);
	ck_assert_uint_eq(server.listener.accepted, 0);
	close(fd);
}
END_TEST

static int accepted_fd, accepted_fd_closes;

static int
counting_close(int fd, void *ctx)
{
	accepted_fd_closes += fd == accepted_fd;
	return sconce_backend_libev()->close(fd, ctx);
}

static int
accept_two_and_refuse(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	static struct conn one, two;
	int r;

	(void)l;
	(void)peer;
	accepted_fd = fd;
	conn_init(&one, &conn_ops, fd);
	conn_init(&two, &conn_ops, -1);
	r = sconce_connect(&two.sock, "no endpoint");
	ck_assert_int_lt(r, 0);
	sconce_close(&one.sock, SCONCE_REASON_LOCAL);
	sconce_close(&two.sock, SCONCE_REASON_LOCAL);
	return r;
}

/* An fd that accept() made a socket of, and of another one, before it refused, is closed with its socket and not again. */
START_TEST(test_listen_accept_makes_two_and_refuses_fd_is_closed_once)
{
	static const struct sconce_listener_ops ops = { .name = "two", .accept = accept_two_and_refuse };
	static struct sconce_listener l;
	int fd;

	backend.close = counting_close;
	accepted_fd = -1;
	accepted_fd_closes = 0;
	ck_assert_int_eq(sconce_listen(&l, loop, &ops, "127.0.0.1:0", NULL), 0);
	fd = plain_connect(&l.addr);
	NET_UNTIL(accepted_fd >= 0);
	ck_assert(plain_ended(fd));
	net_settle();
	ck_assert_int_eq(accepted_fd_closes, 1);
	close(fd);
}
END_TEST

/* A close or a pause in accept() ends the batch. */
START_TEST(test_listen_closed_or_paused_in_accept_stops_batch)
{
	int fds[20];

	server_start(&server, "127.0.0.1:0");
	server.pause_after = 5;
	connect_many(&server.listener.addr, fds, 20);
	net_settle();
	ck_assert_int_eq(server.accepts, 5);
	ck_assert_uint_eq(sconce_listener_paused(&server.listener), SCONCE_LISTENER_USER);
	server.pause_after = 0;
	server.close_after = 12;
	sconce_listener_resume(&server.listener);
	NET_UNTIL(server.destroys == 1);
	ck_assert_int_eq(server.accepts, 12);
	ck_assert_int_eq(server.conn_count, 12);
	close_many(fds, 20);
	server_drop(&server);
}
END_TEST

/* Paused, the kernel keeps the callers; resumed, they are accepted; SF-20. */
START_TEST(test_listener_pause_keeps_callers_waiting)
{
	int fd;

	server_start(&server, "127.0.0.1:0");
	sconce_listener_pause(&server.listener);
	sconce_listener_pause(&server.listener);
	fd = plain_connect(&server.listener.addr);
	net_settle();
	ck_assert_int_eq(server.accepts, 0);
	sconce_listener_resume(&server.listener);
	NET_UNTIL(server.accepts == 1);
	sconce_listener_resume(&server.listener);
	close(fd);
}
END_TEST

/* No more than the limit are alive; each that goes makes room; it may be changed; the reasons are bits; PC-1. */
START_TEST(test_listener_limit_holds_and_lets_on)
{
	struct sconce_listener *l = &server.listener;
	char line[256];
	int fds[6];

	server_start(&server, "127.0.0.1:0");
	server.count = true;
	sconce_listener_set_limit(l, 2);
	connect_many(&l->addr, fds, 6);
	net_settle();
	ck_assert_int_eq(server.accepts, 2);
	ck_assert_uint_eq(l->connections, 2);
	ck_assert_uint_eq(sconce_listener_paused(l), SCONCE_LISTENER_LIMIT);
	sconce_listener_pause(l);
	ck_assert_uint_eq(sconce_listener_paused(l), SCONCE_LISTENER_LIMIT | SCONCE_LISTENER_USER);
	sconce_describe(&l->sock, line, sizeof(line));
	ck_assert_ptr_nonnull(strstr(line, "connections 2 paused at its limit"));
	sconce_close(&server.conns[0]->sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(server.accepts, 2);
	sconce_listener_resume(l);
	net_settle();
	ck_assert_int_eq(server.accepts, 3);
	sconce_listener_set_limit(l, 4);
	net_settle();
	ck_assert_int_eq(server.accepts, 5);
	sconce_listener_set_limit(l, 0);
	net_settle();
	ck_assert_int_eq(server.accepts, 6);
	ck_assert_uint_eq(l->connections, 5);
	/* counted once, by whom it was counted last */
	ck_assert_int_eq(sconce_listener_count(l, &server.conns[1]->sock), 0);
	ck_assert_uint_eq(l->connections, 5);
	close_many(fds, 6);
}
END_TEST

/* A listener may go before the connections that it counts. */
START_TEST(test_listener_gone_connections_live_on)
{
	int fds[3];

	server_start(&server, "127.0.0.1:0");
	server.count = true;
	connect_many(&server.listener.addr, fds, 3);
	NET_UNTIL(server.accepts == 3);
	server_stop(&server);
	memset(&server.listener, '#', sizeof(server.listener));	/* whoever touches it now would show */
	server_drop(&server);
	ck_assert_uint_eq(sconce_count(loop), 0);
	close_many(fds, 3);
}
END_TEST

/* With deferaccept what is there with the connection is read in the turn of its accept. */
START_TEST(test_listen_deferaccept_reads_in_same_turn)
{
	int fd;

	server_start(&server, "127.0.0.1:0?deferaccept=2");
	fd = plain_connect(&server.listener.addr);
	ck_assert_int_eq(write(fd, "GET", 3), 3);
	for (int i = 0; i < 200 && server.accepts == 0; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0.02), 0);
	ck_assert_int_eq(server.accepts, 1);
	ck_assert_uint_eq(server.conns[0]->in_len, 3);
	close(fd);
}
END_TEST

static int
accept_and_close(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	int r = server_accept(l, fd, peer);

	sconce_close(&server.conns[server.conn_count - 1]->sock, SCONCE_REASON_LOCAL);
	return r;
}

/* Nothing is read of a connection that accept() closed again. */
START_TEST(test_listen_deferaccept_closed_is_not_read)
{
	static const struct sconce_listener_ops ops = { .name = "closing", .accept = accept_and_close };
	int fd;

	memset(&server, 0, sizeof(server));
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &ops, "127.0.0.1:0?deferaccept=2", NULL), 0);
	fd = plain_connect(&server.listener.addr);
	ck_assert_int_eq(write(fd, "GET", 3), 3);
	NET_UNTIL(server.accepts == 1);
	net_settle();
	ck_assert_uint_eq(sconce_count(loop), 1);
	close(fd);
}
END_TEST

static int
nodelay_of(int fd)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	return value != 0;
}

static int setsockopts;

static int
counting_setsockopt(int fd, int level, int name, const void *val, socklen_t len, void *ctx)
{
	setsockopts++;
	return sconce_backend_libev()->setsockopt(fd, level, name, val, len, ctx);
}

/* TCP_NODELAY is set once, on the listener: each connection has it without a call of its own. */
START_TEST(test_listen_nodelay_is_inherited)
{
	int fds[3];

	backend.setsockopt = counting_setsockopt;
	server_start(&server, "127.0.0.1:0");
	setsockopts = 0;
	connect_many(&server.listener.addr, fds, 3);
	NET_UNTIL(server.accepts == 3);
	ck_assert_int_eq(nodelay_of(sconce_fd(&server.conns[2]->sock)), 1);
	ck_assert_int_eq(setsockopts, 0);
	close_many(fds, 3);
	server_drop(&server);
	server_stop(&server);
	server_start(&server, "127.0.0.1:0?nodelay=0");
	connect_many(&server.listener.addr, fds, 1);
	NET_UNTIL(server.accepts == 1);
	ck_assert_int_eq(nodelay_of(sconce_fd(&server.conns[0]->sock)), 0);
	close(fds[0]);
}
END_TEST

/* ---- failing to listen ---- */

/* What cannot be listened on is told at once, in one line, and leaves nothing behind. */
START_TEST(test_listen_failures_are_told_at_once)
{
	char text[64], why[160], many[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(1, text, sizeof(text)), before = t_fd_count();
	struct sconce_fail fail;

	memset(&server, 0, sizeof(server));
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, text, &fail), -EADDRINUSE);
	snprintf(why, sizeof(why), "bind %s: Address already in use", text);
	ck_assert_str_eq(fail.text, why);
	ck_assert_str_eq(fail.operation, "bind");
	ck_assert_int_eq(fail.errnum, EADDRINUSE);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, text, NULL), -EADDRINUSE);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, "192.0.2.1:0", &fail), -EADDRNOTAVAIL);
	ck_assert_str_eq(fail.text, "bind 192.0.2.1:0: Cannot assign requested address");
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, "local host:80", &fail), -EINVAL);
	ck_assert_str_eq(fail.operation, "parse");
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, "/no/such/dir/s", &fail), -ENOENT);
	ck_assert_str_eq(fail.text, "bind /no/such/dir/s: No such file or directory");
	ck_assert_int_eq(sconce_listen(&server.listener, loop, NULL, text, &fail), -EINVAL);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &(struct sconce_listener_ops){ .name = "x" }, text, &fail),
		-EINVAL);
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert_uint_eq(sconce_count(loop), 0);
	/* reuse: a port of which connections linger can be taken again at once */
	server_start(&server, "127.0.0.1:0");
	sconce_addr_text(&server.listener.addr, many, sizeof(many));
	close(plain_connect(&server.listener.addr));
	NET_UNTIL(server.accepts == 1);
	server_drop(&server);
	server_stop(&server);
	server_start(&server, many);
	close(lfd);
}
END_TEST

/* Without memory listening fails and leaves nothing behind, not even the path; HZ-22. */
START_TEST(test_listen_no_memory_leaves_nothing)
{
	int before = t_fd_count(), r = -ENOMEM;
	struct stat st;
	char path[128];

	alloc_left = -1;
	backend.alloc = failing_alloc;
	dir_make(path, sizeof(path), "s");
	for (int n = 0; n < 20 && r < 0; n++) {
		memset(&server, 0, sizeof(server));
		alloc_left = n;
		r = sconce_listen(&server.listener, loop, &server_ops, path, NULL);
		alloc_left = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_int_eq(t_fd_count(), before);
			ck_assert_int_eq(lstat(path, &st), -1);
		}
	}
	ck_assert_int_eq(r, 0);
	server_stop(&server);
	dir_remove(path);
}
END_TEST

/* ---- an fd that listens already ---- */

/* It is taken over with its address; what does not listen stays the caller's. */
START_TEST(test_listen_fd_inherited_accepts)
{
	char text[64], got[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(4, text, sizeof(text)), fd, sv[2];
	struct sconce_fail fail;

	memset(&server, 0, sizeof(server));
	ck_assert_int_eq(sconce_listen_fd(&server.listener, loop, &server_ops, lfd, &fail), 0);
	ck_assert_str_eq(sconce_addr_text(&server.listener.addr, got, sizeof(got)), text);
	ck_assert_int_eq(fcntl(lfd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(server.accepts == 1);
	ck_assert_int_eq(nodelay_of(sconce_fd(&server.conns[0]->sock)), 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(sconce_listen_fd(&server2.listener, loop, &server_ops, sv[0], &fail), -EINVAL);
	snprintf(got, sizeof(got), "listen on fd %d: Invalid argument", sv[0]);
	ck_assert_str_eq(fail.text, got);
	ck_assert_int_ge(fcntl(sv[0], F_GETFD), 0);
	ck_assert_int_eq(sconce_listen_fd(&server2.listener, loop, &server_ops, 999, NULL), -EBADF);
	ck_assert_int_eq(sconce_listen_fd(&server2.listener, loop, NULL, sv[0], NULL), -EINVAL);
	close(sv[0]);
	close(sv[1]);
	close(fd);
}
END_TEST

/* ---- unix paths ---- */

/* Whoever is there: a socket file that nobody serves. */
static void
make_stale(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
}

/* A path that a dead process left is replaced; ours goes when we close; HZ-20, SF-21. */
START_TEST(test_listen_unix_stale_path_is_replaced)
{
	struct sconce_addr a;
	struct stat st;
	char path[128];
	int fd;

	dir_make(path, sizeof(path), "s");
	make_stale(path);
	server_start(&server, path);
	ck_assert_int_eq(sconce_addr_parse(path, &a, NULL), 0);
	fd = plain_connect(&a);
	NET_UNTIL(server.accepts == 1);
	server_drop(&server);
	server_stop(&server);
	ck_assert_int_eq(lstat(path, &st), -1);
	ck_assert_int_eq(errno, ENOENT);
	close(fd);
	dir_remove(path);
}
END_TEST

/* A path that somebody answers on is not ours to take, even when the backlog is full; HZ-20. */
START_TEST(test_listen_unix_live_path_is_eaddrinuse)
{
	struct sconce_addr a;
	struct sconce_fail fail;
	char path[128], why[256];
	struct stat st;
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	dir_make(path, sizeof(path), "s");
	ck_assert_int_eq(sconce_addr_parse(path, &a, NULL), 0);
	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 0), 0);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, path, &fail), -EADDRINUSE);
	snprintf(why, sizeof(why), "bind %s: Address already in use", path);
	ck_assert_str_eq(fail.text, why);
	/* that try has filled the backlog */
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, path, &fail), -EADDRINUSE);
	ck_assert_int_eq(lstat(path, &st), 0);
	close(lfd);
	dir_remove(path);
}
END_TEST

/* What is not a socket is never touched, nor what a link points to; HZ-20. */
START_TEST(test_listen_unix_other_files_are_untouched)
{
	struct sconce_fail fail;
	char path[128], other[140];
	struct stat st;
	int fd;

	dir_make(path, sizeof(path), "s");
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, "keep", 4), 4);
	close(fd);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, path, &fail), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(fail.text, ": exists and is no socket"));
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISREG(st.st_mode) && st.st_size == 4);
	snprintf(other, sizeof(other), "%s2", path);
	unlink(path);
	make_stale(other);
	ck_assert_int_eq(symlink(other, path), 0);
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &server_ops, path, &fail), -EADDRINUSE);
	ck_assert_int_eq(lstat(other, &st), 0);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	unlink(other);
	dir_remove(path);
}
END_TEST

static mode_t mode_at_listen;
static char listen_path[128];

static int
looking_listen(int fd, int backlog, void *ctx)
{
	struct stat st;

	ck_assert_int_eq(lstat(listen_path, &st), 0);
	mode_at_listen = st.st_mode & 0777;
	return sconce_backend_libev()->listen(fd, backlog, ctx);
}

static int
looking_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	int r = sconce_backend_libev()->bind(fd, addr, len, ctx);
	struct stat st;

	if (addr->sa_family == AF_UNIX && r == 0) {
		ck_assert_int_eq(lstat(listen_path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777 & ~(mode_t)0600, 0);
	}
	return r;
}

/* mode= is exact whatever the umask, and never more is allowed for a moment, nor after listen(2); HZ-20. */
START_TEST(test_listen_unix_mode_is_exact_from_the_beginning)
{
	char endpoint[160];
	mode_t old = umask(0);

	backend.listen = looking_listen;
	backend.bind = looking_bind;
	dir_make(listen_path, sizeof(listen_path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix://%s?mode=600", listen_path);
	server_start(&server, endpoint);
	ck_assert_uint_eq(mode_at_listen, 0600);
	server_stop(&server);
	umask(0077);
	snprintf(endpoint, sizeof(endpoint), "unix://%s?mode=666", listen_path);
	server_start(&server, endpoint);
	ck_assert_uint_eq(mode_at_listen, 0666);	/* also above the umask */
	server_stop(&server);
	umask(old);
	dir_remove(listen_path);
}
END_TEST

/* A path that is no longer ours stays, and so does one whose fd was given away. */
START_TEST(test_listen_unix_path_of_others_is_not_unlinked)
{
	struct stat st;
	char path[128];
	int fd;

	dir_make(path, sizeof(path), "s");
	server_start(&server, path);
	unlink(path);
	make_stale(path);
	server_stop(&server);
	ck_assert_int_eq(lstat(path, &st), 0);
	server_start(&server, path);
	fd = sconce_detach(&server.listener.sock, NULL, 0, NULL);
	ck_assert_int_ge(fd, 0);
	net_settle();
	ck_assert_int_eq(server.destroys, 1);
	ck_assert_int_eq(lstat(path, &st), 0);
	close(fd);
	dir_remove(path);
}
END_TEST

/* A child does not unlink what its parent made. */
START_TEST(test_listen_unix_child_does_not_unlink)
{
	struct stat st;
	char path[128];
	int status;
	pid_t pid;

	dir_make(path, sizeof(path), "s");
	server_start(&server, path);
	pid = fork();
	if (pid == 0) {
		if (sconce_loop_fork(loop) != 0)
			_exit(2);
		sconce_close(&server.listener.sock, SCONCE_REASON_LOCAL);
		for (int i = 0; i < 10; i++)
			sconce_loop_step(loop, 0);
		_exit(server.destroys == 1 ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(lstat(path, &st), 0);
	server_stop(&server);
	ck_assert_int_eq(lstat(path, &st), -1);
	dir_remove(path);
}
END_TEST

static bool
send_fds(int to, int fd, int count)
{
	char byte = 'x', control[CMSG_SPACE(253 * sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)) };
	struct cmsghdr *c;

	memset(control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	for (int i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd, sizeof(fd));
	return sendmsg(to, &msg, 0) == 1;
}

/* Descriptors that a peer sends along are dropped with the bytes that are read, and with those that are not; HZ-20. */
START_TEST(test_listen_unix_scm_rights_do_not_leak)
{
	char path[128];
	int fd, before, rd[2];
	struct sconce_addr a;

	dir_make(path, sizeof(path), "s");
	server_start(&server, path);
	ck_assert_int_eq(sconce_addr_parse(path, &a, NULL), 0);
	ck_assert_int_eq(pipe2(rd, O_CLOEXEC | O_NONBLOCK), 0);
	fd = plain_connect(&a);
	NET_UNTIL(server.accepts == 1);
	before = t_fd_count();
	ck_assert(send_fds(fd, rd[1], 253));
	NET_UNTIL(server.conns[0]->in_len == 1);
	ck_assert_int_eq(t_fd_count(), before);
	sconce_watch_read(&server.conns[0]->sock, false);
	ck_assert(send_fds(fd, rd[1], 253));	/* stays unread */
	net_settle();
	close(rd[1]);
	server_drop(&server);
	/* nobody holds the writing end any more: the kernel may need a moment to let go */
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = rd[0], .events = POLLIN }, 1, 2000), 1);
	ck_assert_int_eq(t_fd_count(), before - 2);
	close(rd[0]);
	close(fd);
	server_stop(&server);
	dir_remove(path);
}
END_TEST

/* ---- errors of accept ---- */

static int accept_errnum, accept_errors, accept_calls;

static int
failing_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx)
{
	accept_calls++;
	if (accept_errors > 0) {
		accept_errors--;
		errno = accept_errnum;
		return -1;
	}
	return sconce_backend_libev()->accept4(fd, addr, len, flags, ctx);
}

/* A connection that has gone again is passed over, whatever the kernel calls it; SF-14. */
START_TEST(test_listen_transient_errors_are_passed_over)
{
	static const int transient[] = { EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EPERM,
		ENOPROTOOPT, EHOSTDOWN, ENONET, EOPNOTSUPP };
	int fd;

	backend.accept4 = failing_accept4;
	server_start(&server, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof(transient) / sizeof(transient[0]); i++) {
		accept_errnum = transient[i];
		accept_errors = 3;
		accept_calls = 0;
		fd = plain_connect(&server.listener.addr);
		for (int turn = 0; turn < 200 && accept_calls == 0; turn++)
			ck_assert_int_ge(sconce_loop_step(loop, 0.02), 0);
		ck_assert_int_eq(server.accepts, (int)i + 1);	/* in the very batch */
		close(fd);
	}
	ck_assert_int_eq(server.fails, 0);
}
END_TEST

/* Without fds: one report a spell, and tries after 0.1 s doubling to 1 s; the spell ends when the backlog is empty; DS-98. */
START_TEST(test_listen_starved_backs_off_and_reports_once)
{
	static const int lasting[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };
	static const double waits[] = { 0.1, 0.2, 0.4, 0.8, 1, 1 };
	char why[256], text[SCONCE_ADDR_TEXT];
	int fd;

	backend.accept4 = failing_accept4;
	for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++) {
		server_start(&server, "127.0.0.1:0");
		accept_errnum = lasting[i];
		accept_errors = 1000000;
		accept_calls = 0;
		fd = plain_connect(&server.listener.addr);
		NET_UNTIL(accept_calls > 0);
		ck_assert_int_eq(accept_calls, 1);
		ck_assert_uint_eq(sconce_listener_paused(&server.listener), SCONCE_LISTENER_EMFILE);
		for (size_t j = 0; j < sizeof(waits) / sizeof(waits[0]); j++) {
			net_pass(waits[j] - 0.05);
			sconce_loop_step(loop, 0);
			ck_assert_int_eq(accept_calls, (int)j + 1);
			net_pass(0.1);
			for (int turn = 0; turn < 100 && accept_calls == (int)j + 1; turn++)
				sconce_loop_step(loop, 0.001);
			ck_assert_int_eq(accept_calls, (int)j + 2);
		}
		ck_assert_int_eq(server.fails, 1);
		ck_assert_int_eq(server.fail_errnum, lasting[i]);
		snprintf(why, sizeof(why), "accept on %s: %s", sconce_addr_text(&server.listener.addr, text, sizeof(text)),
			sconce_strerror(lasting[i]));
		ck_assert_str_eq(server.fail, why);
		accept_errors = 0;
		net_pass(1.1);
		NET_UNTIL(server.accepts == 1);
		ck_assert_uint_eq(sconce_listener_paused(&server.listener), 0);
		net_settle();
		accept_errors = 1;		/* a new spell: reported anew, and waits anew */
		close(fd);
		fd = plain_connect(&server.listener.addr);
		NET_UNTIL(server.fails == 2);
		net_pass(0.15);
		NET_UNTIL(server.accepts == 2);
		close(fd);
		server_drop(&server);
		server_stop(&server);
	}
}
END_TEST

/* The first fd that the loop closes lets every starved listener try at once; what pauses it otherwise stays. */
START_TEST(test_listen_starved_resumes_when_fd_is_closed)
{
	int fds[2], sv[2];
	static struct conn c;
	char text[64];

	backend.accept4 = failing_accept4;
	server_start(&server, "127.0.0.1:0");
	server_start(&server2, "127.0.0.1:0");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&c, &conn_ops, sv[0]);
	accept_errnum = EMFILE;
	accept_errors = 2;
	fds[0] = plain_connect(&server.listener.addr);
	fds[1] = plain_connect(&server2.listener.addr);
	NET_UNTIL(server.fails == 1 && server2.fails == 1);
	sconce_verify(loop);
	sconce_listener_pause(&server2.listener);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();				/* no time passes */
	ck_assert_int_eq(server.accepts, 1);
	ck_assert_int_eq(server2.accepts, 0);
	ck_assert_uint_eq(sconce_listener_paused(&server2.listener), SCONCE_LISTENER_USER);
	sconce_listener_resume(&server2.listener);
	net_settle();
	ck_assert_int_eq(server2.accepts, 1);
	/* a connect that fails frees an fd, too */
	accept_errors = 1;
	close(fds[0]);
	fds[0] = plain_connect(&server.listener.addr);
	NET_UNTIL(server.fails == 2);
	plain_nobody(text, sizeof(text));
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	net_settle();
	ck_assert_int_eq(server.accepts, 2);
	/* one that is closed while it starves leaves no trace */
	accept_errors = 1;
	close(fds[0]);
	fds[0] = plain_connect(&server.listener.addr);
	NET_UNTIL(server.fails == 3);
	server_stop(&server);
	close_many(fds, 2);
	close(sv[1]);
}
END_TEST

/* A listener that can never accept again, because somebody has shut it down, is closed: it does not spin. */
START_TEST(test_listen_shut_down_by_others_closes)
{
	server_start(&server, "127.0.0.1:0");
	ck_assert_int_eq(shutdown(sconce_fd(&server.listener.sock), SHUT_RDWR), 0);
	NET_UNTIL(server.destroys == 1);
	ck_assert_int_le(server.fails, 1);
	ck_assert_int_eq(server.closes, 1);
	ck_assert_uint_eq(sconce_count(loop), 0);
}
END_TEST

/* An error that never ends is treated as one that lasts, whatever it is called. */
START_TEST(test_listen_endless_error_does_not_spin)
{
	int fd, calls;

	backend.accept4 = failing_accept4;
	server_start(&server, "127.0.0.1:0");
	accept_errnum = EPERM;
	accept_errors = 1000000;
	accept_calls = 0;
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(server.fails == 1);
	calls = accept_calls;
	for (int i = 0; i < 20; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	ck_assert_int_eq(accept_calls, calls);
	ck_assert_int_eq(server.fail_errnum, EPERM);
	close(fd);
}
END_TEST

/* event_fail may close the listener, and may be missing. */
START_TEST(test_listen_event_fail_closes_or_is_missing)
{
	static const struct sconce_listener_ops quiet_ops = { .name = "quiet", .accept = server_accept };
	int fd;

	backend.accept4 = failing_accept4;
	server_start(&server, "127.0.0.1:0");
	server.close_in_fail = true;
	accept_errnum = EMFILE;
	accept_errors = 1;
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(server.destroys == 1);
	close(fd);
	memset(&server, 0, sizeof(server));
	ck_assert_int_eq(sconce_listen(&server.listener, loop, &quiet_ops, "127.0.0.1:0", NULL), 0);
	accept_errors = 1;
	fd = plain_connect(&server.listener.addr);
	NET_UNTIL(sconce_listener_paused(&server.listener) == SCONCE_LISTENER_EMFILE);
	sconce_close(&server.listener.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_uint_eq(sconce_count(loop), 0);
	close(fd);
}
END_TEST

/* In a process that may open 64 fds: more callers than that. */
static void
child_of_64_fds(void)
{
	struct rlimit limit = { 64, 64 };
	int fds[64], count = 0;
	double cpu, until;
	pid_t pid;

	skew = 0;
	server_start(&server, "127.0.0.1:0?backlog=200");
	pid = fork();
	if (pid == 0) {			/* the callers, who have fds enough */
		int callers[100];

		for (int i = 0; i < 100; i++) {
			callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (connect(callers[i], &server.listener.addr.any, server.listener.addr.len) < 0)
				_exit(1);
		}
		for (int i = 0; i < 100; i++) {
			char byte;

			if (read(callers[i], &byte, 1) != 0)	/* each is served, and closed */
				_exit(2);
		}
		_exit(0);
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (count < 30) {		/* others in this process hold some */
		fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fds[count++], 0);
	}
	NET_UNTIL(server.fails == 1);
	ck_assert_int_eq(server.fail_errnum, EMFILE);
	ck_assert_int_gt(server.accepts, 5);
	ck_assert_int_lt(server.accepts, 64);
	cpu = t_cpu_seconds();
	until = sconce_now(loop) + 1;
	for (int turns = 0; sconce_now(loop) < until; turns++) {
		ck_assert_int_ge(sconce_loop_step(loop, 0.5), 0);
		ck_assert_int_lt(turns, 50);	/* a loop that spun would turn a million times */
	}
	ck_assert(t_cpu_seconds() - cpu < 0.3);
	ck_assert_int_eq(server.fails, 1);
	for (int i = 0; i < 10; i++)	/* freed behind the loop's back: the next try finds them */
		close(fds[--count]);
	count = server.accepts;
	NET_UNTIL(server.accepts > count);
	for (int i = 0; i < 2000 && server.accepts < 100; i++) {
		for (int j = 0; j < server.conn_count; j++)
			sconce_close(&server.conns[j]->sock, SCONCE_REASON_LOCAL);
		server.conn_count = 0;
		ck_assert_int_ge(sconce_loop_step(loop, 0.05), 0);
	}
	ck_assert_int_eq(server.accepts, 100);
	server_drop(&server);
	ck_assert_int_eq(server.fails, 1);	/* it was one spell */
	ck_assert_int_eq(waitpid(pid, &count, 0), pid);
	ck_assert_int_eq(count, 0);
	_exit(0);
}

/* At the fd limit CPU stays low, one report is made, and everybody is accepted as fds come back; HZ-9, DS-98, AC-18. */
START_TEST(test_listen_64_fds_cpu_low_one_report_recovery)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		child_of_64_fds();
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- misuse ---- */

/* The base of something else is no listener. */
START_TEST(test_listener_of_other_type_aborts)
{
	static struct conn c;

	conn_init(&c, &conn_ops, -1);
	sconce_listener_of(&c.sock);
}
END_TEST

/* A mapped address is told as IPv4, by the listener as by its socket. */
START_TEST(test_listen_mapped_address_is_v4)
{
	struct sconce_addr a;
	struct sconce_fail fail;
	char text[SCONCE_ADDR_TEXT], own[SCONCE_ADDR_TEXT];
	int r;

	if (!net_has_v6())
		return;
	r = sconce_listen(&server.listener, loop, &server_ops, "[::ffff:127.0.0.1]:0?v6only=0", &fail);
	ck_assert_msg(r == 0, "%s", fail.text);
	ck_assert_int_eq(server.listener.addr.any.sa_family, AF_INET);
	ck_assert_int_eq(sconce_local(&server.listener.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&server.listener.addr, text, sizeof(text)), sconce_addr_text(&a, own, sizeof(own)));
	ck_assert_int_gt(sconce_addr_port(&a), 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("listen");
	TCase *accepting = net_case(suite, "accept"), *opening = net_case(suite, "open"), *path = net_case(suite, "path"),
	    *errors = net_case(suite, "errors");

	tcase_set_timeout(errors, 20);
	tcase_add_test(accepting, test_listen_tcp_accepts_and_tells_peer);
	tcase_add_test(accepting, test_listen_no_peer_is_asked_for_later);
	tcase_add_test(accepting, test_listen_other_families_accept);
	tcase_add_test(accepting, test_listen_port_alone_v4_peer_is_v4);
	tcase_add_test(accepting, test_listen_many_are_accepted_in_batches);
	tcase_add_test(accepting, test_listen_accept_refuses_fd_is_closed);
	tcase_add_test(accepting, test_listen_accept_makes_two_and_refuses_fd_is_closed_once);
	tcase_add_test(accepting, test_listen_closed_or_paused_in_accept_stops_batch);
	tcase_add_test(accepting, test_listener_pause_keeps_callers_waiting);
	tcase_add_test(accepting, test_listener_limit_holds_and_lets_on);
	tcase_add_test(accepting, test_listener_gone_connections_live_on);
	tcase_add_test(accepting, test_listen_deferaccept_reads_in_same_turn);
	tcase_add_test(accepting, test_listen_deferaccept_closed_is_not_read);
	tcase_add_test(accepting, test_listen_nodelay_is_inherited);
	tcase_add_test(opening, test_listen_port_alone_without_v6_is_v4);
	tcase_add_test(opening, test_listen_failures_are_told_at_once);
	tcase_add_test(opening, test_listen_no_memory_leaves_nothing);
	tcase_add_test(opening, test_listen_fd_inherited_accepts);
	tcase_add_test(opening, test_listen_mapped_address_is_v4);
	tcase_add_test(path, test_listen_unix_stale_path_is_replaced);
	tcase_add_test(path, test_listen_unix_live_path_is_eaddrinuse);
	tcase_add_test(path, test_listen_unix_other_files_are_untouched);
	tcase_add_test(path, test_listen_unix_mode_is_exact_from_the_beginning);
	tcase_add_test(path, test_listen_unix_path_of_others_is_not_unlinked);
	tcase_add_test(path, test_listen_unix_child_does_not_unlink);
	tcase_add_test(path, test_listen_unix_scm_rights_do_not_leak);
	tcase_add_test(errors, test_listen_transient_errors_are_passed_over);
	tcase_add_test(errors, test_listen_starved_backs_off_and_reports_once);
	tcase_add_test(errors, test_listen_starved_resumes_when_fd_is_closed);
	tcase_add_test(errors, test_listen_shut_down_by_others_closes);
	tcase_add_test(errors, test_listen_endless_error_does_not_spin);
	tcase_add_test(errors, test_listen_event_fail_closes_or_is_missing);
	tcase_add_test(errors, test_listen_64_fds_cpu_low_one_report_recovery);
	t_add_abort(errors, test_listener_of_other_type_aborts);
	return suite;
}
