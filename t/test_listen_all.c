/* Listening on names, on several addresses at once, by hand-made endpoints and inherited fds. */
#include "names.h"

#include "core.h"

enum { MANY = 6 };

static struct server {
	struct sconce_listener listener;
	int accepts, destroys;
	char peer[SCONCE_ADDR_TEXT];
} servers[MANY];
static struct sconce_listener *listeners[MANY];

static int
server_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct server *sv = SCONCE_CONTAINER_OF(l, struct server, listener);

	(void)fd;
	sv->accepts++;
	sconce_addr_text(peer, sv->peer, sizeof(sv->peer));
	return -EPERM;			/* the library closes it */
}

static void
server_destroy(struct sconce_listener *l)
{
	SCONCE_CONTAINER_OF(l, struct server, listener)->destroys++;
}

static const struct sconce_listener_ops ops = { .name = "server", .accept = server_accept, .destroy = server_destroy };

static void
servers_setup(void)
{
	names_setup();
	memset(servers, 0, sizeof(servers));
	for (int i = 0; i < MANY; i++)
		listeners[i] = &servers[i].listener;
}

static TCase *
servers_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, servers_setup, names_teardown);
	return tcase;
}

/* Parses `text` as a server does and listens on all of it. */
static int
listen_text(const char *text, const char *ipv, size_t max, struct sconce_fail *fail)
{
	struct sconce_endpoint_defaults defaults = { .ipv = ipv };
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	int count = sconce_endpoint_parse(text, SCONCE_ENDPOINT_LISTEN, &defaults, list, fail);

	ck_assert_msg(count > 0, "%s", fail->text);
	return sconce_listen_all(listeners, max, loop, &ops, list, (size_t)count, fail);
}

static void
check_accepts(int i, const char *text)
{
	struct sconce_addr a;
	int fd, before = servers[i].accepts;

	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	fd = plain_connect(&a);
	NET_UNTIL(servers[i].accepts == before + 1);
	close(fd);
}

static void
stop(int count)
{
	for (int i = 0; i < count; i++)
		sconce_close(&servers[i].listener.sock, SCONCE_REASON_LOCAL);
	net_settle();
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(servers[i].destroys, 1);
	memset(servers, 0, sizeof(servers));
}

static int
option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* ---- names ---- */

/* One listener on a name: the first address that can be had, and the look-up is not for connecting; NS-65, SF-6. */
START_TEST(test_listen_name_takes_first_address)
{
	struct sconce_fail fail;
	char text[SCONCE_ADDR_TEXT];

	names_add("own", "192.0.2.1:0");
	names_add("own", "127.0.0.2:0");
	names_add("own", "127.0.0.3:0");
	ck_assert_msg(sconce_listen(listeners[0], loop, &ops, "own:0", &fail) == 0, "%s", fail.text);
	ck_assert_str_eq(sconce_addr_host(&listeners[0]->addr, text, sizeof(text)), "127.0.0.2");
	ck_assert_int_gt(sconce_addr_port(&listeners[0]->addr), 0);
	ck_assert_uint_eq(names.flags, SCONCE_RESOLVE_PASSIVE);		/* NS-61: never AI_ADDRCONFIG */
	check_accepts(0, sconce_addr_text(&listeners[0]->addr, text, sizeof(text)));
	stop(1);
}
END_TEST

/* What has no address, or no service, is told at once: EADDRNOTAVAIL with gai and text; SF-7, SF-13. */
START_TEST(test_listen_name_unknown_is_told)
{
	struct sconce_fail fail;

	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "no.name:80", &fail), -EADDRNOTAVAIL);
	ck_assert_str_eq(fail.operation, "getaddrinfo");
	ck_assert_int_eq(fail.gai, EAI_NONAME);
	ck_assert_str_eq(fail.text, "getaddrinfo no.name:80: Name or service not known");
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "127.0.0.1:nothing", &fail), -EADDRNOTAVAIL);
	ck_assert_str_eq(fail.operation, "getservbyname");
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "no.name:80", NULL), -EADDRNOTAVAIL);
	ck_assert_uint_eq(sconce_count(loop), 0);
}
END_TEST

static int busy_calls;

static int
busy_resolver(void *arg, const char *host, const char *service, int family, int type, unsigned flags,
	struct sconce_addr *addrs, size_t max)
{
	(void)arg, (void)host, (void)service, (void)family, (void)type, (void)flags, (void)addrs, (void)max;
	busy_calls++;
	errno = EAGAIN;
	return EAI_SYSTEM;
}

/* A look-up that fails with EAGAIN is no port that is taken: it is told, and tried once. */
START_TEST(test_listen_look_up_eagain_is_told)
{
	struct sconce_fail fail;

	busy_calls = 0;
	sconce_set_resolver(loop, busy_resolver, NULL);
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "name:80", &fail), -EAGAIN);
	ck_assert_int_eq(busy_calls, 1);
	ck_assert_int_eq(fail.errnum, EAGAIN);
	ck_assert_str_eq(fail.operation, "getaddrinfo");
}
END_TEST

/* localhost, by the system's own resolver, works without any other address; AC-24, NS-61. */
START_TEST(test_listen_localhost_works)
{
	struct sconce_fail fail;

	sconce_set_resolver(loop, NULL, NULL);
	ck_assert_msg(sconce_listen(listeners[0], loop, &ops, "tcp://localhost:0", &fail) == 0, "%s", fail.text);
	stop(1);
}
END_TEST

/* ---- several ---- */

/* All addresses of a name, each once, with one number for port 0, each of its own family alone; NS-61, NS-65. */
START_TEST(test_listen_all_addresses_of_a_name)
{
	bool v6 = net_has_v6();
	struct sconce_fail fail;
	int count = v6 ? 3 : 2, port, r;
	char text[SCONCE_ADDR_TEXT];

	names_add("own", "127.0.0.2:0");
	names_add("own", "127.0.0.3:0");
	names_add("own", "127.0.0.2:0");
	if (v6)
		names_add("own", "[::1]:0");
	r = listen_text("own:0", "*", MANY, &fail);
	ck_assert_msg(r == count, "%d %s", r, fail.text);
	port = sconce_addr_port(&listeners[0]->addr);
	ck_assert_int_gt(port, 0);
	for (int i = 0; i < count; i++) {
		ck_assert_int_eq(sconce_addr_port(&listeners[i]->addr), port);
		check_accepts(i, sconce_addr_text(&listeners[i]->addr, text, sizeof(text)));
	}
	if (v6)
		ck_assert_int_eq(option_of(listeners[2]->sock.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	stop(count);
}
END_TEST

/* "v4v6" is two sockets with one number, IPv6 alone and IPv4; a v4 caller comes to the v4 one; NS-61. */
START_TEST(test_listen_all_v4v6_is_two_sockets)
{
	static const struct { const char *text, *ipv; } cases[] = { { "0", "v4v6" }, { "0/IPv4/IPv6", "*" } };
	struct sconce_fail fail;
	char text[64];

	if (!net_has_v6())
		return;
	for (int i = 0; i < 2; i++) {
		ck_assert_msg(listen_text(cases[i].text, cases[i].ipv, MANY, &fail) == 2, "%s", fail.text);
		ck_assert_int_eq(listeners[0]->addr.any.sa_family, AF_INET6);
		ck_assert_int_eq(option_of(listeners[0]->sock.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
		ck_assert_int_eq(listeners[1]->addr.any.sa_family, AF_INET);
		ck_assert_int_eq(sconce_addr_port(&listeners[0]->addr), sconce_addr_port(&listeners[1]->addr));
		ck_assert(!listeners[0]->v4_only && !listeners[1]->v4_only);
		snprintf(text, sizeof(text), "127.0.0.1:%d", sconce_addr_port(&listeners[1]->addr));
		check_accepts(1, text);
		snprintf(text, sizeof(text), "[::1]:%d", sconce_addr_port(&listeners[1]->addr));
		check_accepts(0, text);
		stop(2);
	}
}
END_TEST

/* Every address, "*", is one socket for both; NS-61. */
START_TEST(test_listen_all_star_is_one_socket)
{
	struct sconce_fail fail;
	char text[64];

	if (!net_has_v6())
		return;
	ck_assert_msg(listen_text("*:0", "*", MANY, &fail) == 1, "%s", fail.text);
	ck_assert_int_eq(option_of(listeners[0]->sock.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	ck_assert(!listeners[0]->v4_only);
	snprintf(text, sizeof(text), "127.0.0.1:%d", sconce_addr_port(&listeners[0]->addr));
	check_accepts(0, text);
	ck_assert_int_eq(strncmp(servers[0].peer, "127.0.0.1:", 10), 0);
	stop(1);
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

static int
no_v6_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	if (addr->sa_family == AF_INET6) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	return sconce_backend_libev()->bind(fd, addr, len, ctx);
}

/* Without IPv6, or without an address of it: "*" is IPv4 and says so, "v4v6" fails clearly and leaves nothing, a name's
 * other addresses work; AC-24. */
START_TEST(test_listen_all_without_v6)
{
	struct sconce_fail fail;
	int before = t_fd_count();

	names_add("own", "[::1]:0");
	names_add("own", "127.0.0.2:0");
	for (int i = 0; i < (net_has_v6() ? 2 : 1); i++) {
		int errnum = i == 0 ? EAFNOSUPPORT : EADDRNOTAVAIL;

		if (i == 0)
			backend.socket = no_v6_socket;
		else
			backend.bind = no_v6_bind;
		ck_assert_msg(listen_text("*:0", "*", MANY, &fail) == 1, "%s", fail.text);
		ck_assert_int_eq(listeners[0]->addr.any.sa_family, AF_INET);
		ck_assert(listeners[0]->v4_only);
		stop(1);
		ck_assert_int_eq(listen_text("0", "v4v6", MANY, &fail), -errnum);
		ck_assert_str_eq(fail.operation, i == 0 ? "socket" : "bind");
		ck_assert_ptr_nonnull(strstr(fail.text, "[::]:0"));
		ck_assert_int_eq(listen_text("0", "4", MANY, &fail), 1);
		ck_assert(!listeners[0]->v4_only);	/* which is what was asked for */
		stop(1);
		ck_assert_int_eq(listen_text("own:0", "*", MANY, &fail), 1);
		ck_assert_int_eq(listeners[0]->addr.any.sa_family, AF_INET);
		stop(1);
		ck_assert_int_eq(listen_text("own:0", "6", MANY, &fail), -errnum);
		ck_assert_int_eq(t_fd_count(), before);
		backend = *sconce_backend_libev();
		backend.now = net_now;
	}
}
END_TEST

/* All or nothing: one that fails undoes those before, paths too, and no hook runs; NS-61, HZ-20. */
START_TEST(test_listen_all_one_failing_leaves_nothing)
{
	char text[64], path[128], endpoint[160];
	int lfd = plain_listen(1, text, sizeof(text)), before;
	struct sconce_endpoint eps[3];
	struct sconce_fail fail;
	struct stat st;

	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix://%s", path);
	ck_assert_int_eq(sconce_endpoint_parse("127.0.0.1:0", SCONCE_ENDPOINT_LISTEN, NULL, &eps[0], &fail), 1);
	ck_assert_int_eq(sconce_endpoint_parse(endpoint, SCONCE_ENDPOINT_LISTEN, NULL, &eps[1], &fail), 1);
	ck_assert_int_eq(sconce_endpoint_parse(text, SCONCE_ENDPOINT_LISTEN, NULL, &eps[2], &fail), 1);
	before = t_fd_count();
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, &ops, eps, 3, &fail), -EADDRINUSE);
	ck_assert_str_eq(fail.operation, "bind");
	ck_assert_ptr_nonnull(strstr(fail.text, text));
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert_int_lt(lstat(path, &st), 0);
	ck_assert_int_eq(sconce_listen_all(listeners, 1, loop, &ops, eps, 2, &fail), -ENOBUFS);
	ck_assert_int_eq(sconce_listen_all(listeners, 0, loop, &ops, eps, 1, NULL), -ENOBUFS);
	eps[2].type = SOCK_DGRAM;
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, &ops, eps, 3, &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.operation, "socktype");
	ck_assert_int_lt(lstat(path, &st), 0);
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, NULL, eps, 2, &fail), -EINVAL);
	net_settle();
	ck_assert_int_eq(servers[0].destroys, 0);
	ck_assert_uint_eq(sconce_count(loop), 0);
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, &ops, eps, 2, &fail), 2);
	stop(2);
	ck_assert_int_lt(lstat(path, &st), 0);
	close(lfd);
	dir_remove(path);
}
END_TEST

static int busy_left, busy_port;

/* The number that the kernel chose for another address is taken, some times. */
static int
busy_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

	if (addr->sa_family == AF_INET && in->sin_port != 0 && busy_left > 0) {
		busy_left--;
		busy_port = ntohs(in->sin_port);
		errno = EADDRINUSE;
		return -1;
	}
	return sconce_backend_libev()->bind(fd, addr, len, ctx);
}

/* A number that is free for one address and taken for the other is given up for another; not for ever; NS-61. */
START_TEST(test_listen_all_port_taken_tries_another)
{
	struct sconce_fail fail;
	int before = t_fd_count();

	backend.bind = busy_bind;
	names_add("own", "127.0.0.2:0");
	names_add("own", "127.0.0.3:0");
	busy_left = 3;
	ck_assert_msg(listen_text("own:0", "*", MANY, &fail) == 2, "%s", fail.text);
	ck_assert_int_eq(busy_left, 0);
	ck_assert_int_eq(sconce_addr_port(&listeners[0]->addr), sconce_addr_port(&listeners[1]->addr));
	stop(2);
	busy_left = 1000;
	ck_assert_int_eq(listen_text("own:0", "*", MANY, &fail), -EADDRINUSE);
	ck_assert_int_gt(busy_left, 900);
	ck_assert_int_eq(fail.errnum, EADDRINUSE);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

/* Two that are equal, port 0 each, are two numbers. */
START_TEST(test_listen_all_equal_texts_get_numbers_of_their_own)
{
	struct sconce_endpoint eps[2];
	struct sconce_fail fail;

	ck_assert_int_eq(sconce_endpoint_parse("127.0.0.1:0", SCONCE_ENDPOINT_LISTEN, NULL, &eps[0], &fail), 1);
	eps[1] = eps[0];
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, &ops, eps, 2, &fail), 2);
	ck_assert_int_ne(sconce_addr_port(&listeners[0]->addr), sconce_addr_port(&listeners[1]->addr));
	stop(2);
}
END_TEST

/* Without memory it fails and leaves nothing; HZ-22. */
START_TEST(test_listen_all_no_memory_leaves_nothing)
{
	struct sconce_endpoint eps[2];
	char path[128];
	int before, r = -ENOMEM, failures = 0;
	struct stat st;

	dir_make(path, sizeof(path), "s");
	ck_assert_int_eq(sconce_endpoint_parse("127.0.0.1:0", SCONCE_ENDPOINT_LISTEN, NULL, &eps[0], NULL), 1);
	ck_assert_int_eq(sconce_endpoint_parse(path, SCONCE_ENDPOINT_LISTEN, NULL, &eps[1], NULL), 1);
	ck_assert_int_eq(sconce_listen_all(listeners, MANY, loop, &ops, eps, 2, NULL), 2);
	stop(2);				/* so that what only the first ones need is there */
	before = t_fd_count();
	alloc_left = -1;
	backend.alloc = failing_alloc;
	for (int n = 0; n < 30 && r < 0; n++, failures++) {
		alloc_left = n;
		r = sconce_listen_all(listeners, MANY, loop, &ops, eps, 2, NULL);
		alloc_left = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_int_eq(t_fd_count(), before);
			ck_assert_int_lt(lstat(path, &st), 0);
			ck_assert_uint_eq(sconce_count(loop), 0);
		}
	}
	ck_assert_int_eq(r, 2);
	ck_assert_int_ge(failures, 3);		/* the list; the side record and the path of the second */
	stop(2);
	dir_remove(path);
}
END_TEST

/* ---- by hand, and other ways ---- */

/* An endpoint by hand: options, the address that was given, what cannot be listened on; SF-4, SF-8, EM-40. */
START_TEST(test_listen_endpoint_by_hand)
{
	struct sconce_endpoint ep;
	struct sconce_fail fail;

	sconce_endpoint_init(&ep);
	strcpy(ep.host, "127.0.0.1");
	strcpy(ep.service, "0");
	ep.options.backlog = 3;
	ep.options.reuse = 0;
	ep.options.fastopen = 5;
	ck_assert_msg(sconce_listen_endpoint(listeners[0], loop, &ops, &ep, &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(option_of(listeners[0]->sock.fd, SOL_SOCKET, SO_REUSEADDR), 0);
	stop(1);
	ep.family = AF_INET6;			/* and the host is not */
	ck_assert_int_lt(sconce_listen_endpoint(listeners[0], loop, &ops, &ep, &fail), 0);
	ep.family = 77;
	ck_assert_int_eq(sconce_listen_endpoint(listeners[0], loop, &ops, &ep, &fail), -EAFNOSUPPORT);
	ck_assert_str_eq(fail.operation, "domain");
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "udp://127.0.0.1:0", &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.operation, "socktype");
	ck_assert_str_eq(fail.text, "socktype udp://127.0.0.1:0: a datagram endpoint: say tcp://127.0.0.1:0");
	ck_assert_int_eq(listen_text("127.0.0.1:0/ssl", "*", MANY, &fail), -EPROTONOSUPPORT);
	ck_assert_str_eq(fail.operation, "protocol");
}
END_TEST

static int last_backlog;

static int
noting_listen(int fd, int backlog, void *ctx)
{
	last_backlog = backlog;
	return sconce_backend_libev()->listen(fd, backlog, ctx);
}

/* The backlog is what is said, never clipped, and else the system's; SF-10, NS-64, EM-38. */
START_TEST(test_listen_backlog_is_passed_on)
{
	backend.listen = noting_listen;
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "127.0.0.1:0?backlog=100000", NULL), 0);
	ck_assert_int_eq(last_backlog, 100000);
	ck_assert_int_eq(sconce_listen(listeners[1], loop, &ops, "127.0.0.1:0", NULL), 0);
	ck_assert_int_eq(last_backlog, SOMAXCONN);
	stop(2);
}
END_TEST

static int
failing_listen(int fd, int backlog, void *ctx)
{
	(void)fd;
	(void)backlog;
	(void)ctx;
	errno = EADDRINUSE;
	return -1;
}

/* A listen(2) that fails is told as such, and the path that was bound before is gone. */
START_TEST(test_listen_refused_by_kernel_leaves_nothing)
{
	char path[128];
	struct sconce_fail fail;
	struct stat st;
	int before = t_fd_count();

	backend.listen = failing_listen;
	dir_make(path, sizeof(path), "s");
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, path, &fail), -EADDRINUSE);
	ck_assert_str_eq(fail.operation, "listen");
	ck_assert_int_lt(lstat(path, &st), 0);
	ck_assert_int_eq(t_fd_count(), before);
	dir_remove(path);
}
END_TEST

static int late_result;

static void
listen_late(struct sconce_loop *l, void *arg, int status)
{
	(void)arg;
	ck_assert_int_eq(status, -ECANCELED);
	late_result = sconce_listen(listeners[0], l, &ops, "127.0.0.1:0", NULL);
}

/* While the loop is being freed nothing begins to listen. */
START_TEST(test_listen_loop_freed_is_eshutdown)
{
	late_result = 0;
	ck_assert_int_eq(sconce_defer(loop, NULL, listen_late, NULL), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(late_result, -ESHUTDOWN);
}
END_TEST

/* fd://N adopts a listener, with the family that the fd has, also of a unix one; on failure it stays the caller's. */
START_TEST(test_listen_fd_url_takes_family_from_fd)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sconce_fail fail;
	char text[64];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sv[2], peer;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	snprintf(text, sizeof(text), "fd://%d", fd);
	ck_assert_msg(sconce_listen(listeners[0], loop, &ops, text, &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(listeners[0]->addr.any.sa_family, AF_UNIX);
	peer = plain_connect(&listeners[0]->addr);
	NET_UNTIL(servers[0].accepts == 1);
	close(peer);
	stop(1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	snprintf(text, sizeof(text), "fd://%d", sv[0]);
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, text, &fail), -EINVAL);
	ck_assert_str_eq(fail.operation, "listen");
	ck_assert_int_ge(fcntl(sv[0], F_GETFD), 0);
	ck_assert_int_eq(sconce_listen_fd(listeners[0], loop, &ops, -1, &fail), -EBADF);
	close(sv[0]);
	close(sv[1]);
}
END_TEST

/* SO_REUSEPORT: two listeners of one number. */
START_TEST(test_listen_reuseport_shares_number)
{
	struct sconce_fail fail;
	char text[64];

	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "127.0.0.1:0?reuseport=1", &fail), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%d?reuseport=1", sconce_addr_port(&listeners[0]->addr));
	ck_assert_msg(sconce_listen(listeners[1], loop, &ops, text, &fail) == 0, "%s", fail.text);
	*strchr(text, '?') = '\0';
	ck_assert_int_eq(sconce_listen(listeners[2], loop, &ops, text, &fail), -EADDRINUSE);
	stop(2);
}
END_TEST

/* A relative path is relative, and an empty place does not exist; EM-39. */
START_TEST(test_listen_unix_relative_path)
{
	char path[128], cwd[256];
	struct sconce_fail fail;
	struct stat st;

	dir_make(path, sizeof(path), "s");
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(chdir(net_dir), 0);
	ck_assert_msg(sconce_listen(listeners[0], loop, &ops, "unix://s?mode=600", &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(lstat(path, &st), 0);
	stop(1);
	ck_assert_int_eq(lstat(path, &st), -1);
	ck_assert_int_eq(chdir(cwd), 0);
	dir_remove(path);
}
END_TEST

static int other_accepts;

static int
other_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)l;
	(void)fd;
	(void)peer;
	other_accepts++;
	return -EPERM;
}

/* Hooks may be changed while it runs, and a paused listener stays paused; SF-17. */
START_TEST(test_listener_set_ops_does_not_unpause)
{
	static const struct sconce_listener_ops other = { .name = "other", .accept = other_accept, .destroy = server_destroy };
	int fd;

	other_accepts = 0;
	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "127.0.0.1:0", NULL), 0);
	sconce_listener_pause(listeners[0]);
	fd = plain_connect(&listeners[0]->addr);
	ck_assert_int_eq(sconce_listener_set_ops(listeners[0], &other), 0);
	ck_assert_int_eq(sconce_listener_set_ops(listeners[0], NULL), -EINVAL);
	ck_assert_int_eq(sconce_listener_set_ops(listeners[0], &(struct sconce_listener_ops){ .name = "x" }), -EINVAL);
	net_settle();
	ck_assert_int_eq(other_accepts, 0);
	sconce_listener_resume(listeners[0]);
	NET_UNTIL(other_accepts == 1);
	ck_assert_int_eq(servers[0].accepts, 0);
	close(fd);
	stop(1);
}
END_TEST

/* No more than the batch are accepted in one turn; 0 is 1 and the most is 64. */
START_TEST(test_listener_set_batch_bounds_a_turn)
{
	int fds[20], last = 0;

	ck_assert_int_eq(sconce_listen(listeners[0], loop, &ops, "127.0.0.1:0", NULL), 0);
	sconce_listener_set_batch(listeners[0], 1000);
	ck_assert_uint_eq(listeners[0]->_batch_max, 63);
	listeners[0]->_batch = 31;		/* it has been busy */
	sconce_listener_set_batch(listeners[0], 0);
	for (int i = 0; i < 20; i++)
		fds[i] = plain_connect(&listeners[0]->addr);
	for (int turn = 0; turn < 200 && servers[0].accepts < 20; turn++) {
		ck_assert_int_ge(sconce_loop_step(loop, 0.01), 0);
		ck_assert_int_le(servers[0].accepts - last, 1);
		last = servers[0].accepts;
	}
	ck_assert_int_eq(servers[0].accepts, 20);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	stop(1);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("listen_all");
	TCase *name = servers_case(suite, "names"), *several = servers_case(suite, "several"), *other = servers_case(suite, "other");

	tcase_add_test(name, test_listen_name_takes_first_address);
	tcase_add_test(name, test_listen_name_unknown_is_told);
	tcase_add_test(name, test_listen_look_up_eagain_is_told);
	tcase_add_test(name, test_listen_localhost_works);
	tcase_add_test(several, test_listen_all_addresses_of_a_name);
	tcase_add_test(several, test_listen_all_v4v6_is_two_sockets);
	tcase_add_test(several, test_listen_all_star_is_one_socket);
	tcase_add_test(several, test_listen_all_without_v6);
	tcase_add_test(several, test_listen_all_one_failing_leaves_nothing);
	tcase_add_test(several, test_listen_all_port_taken_tries_another);
	tcase_add_test(several, test_listen_all_equal_texts_get_numbers_of_their_own);
	tcase_add_test(several, test_listen_all_no_memory_leaves_nothing);
	tcase_add_test(other, test_listen_endpoint_by_hand);
	tcase_add_test(other, test_listen_backlog_is_passed_on);
	tcase_add_test(other, test_listen_refused_by_kernel_leaves_nothing);
	tcase_add_test(other, test_listen_loop_freed_is_eshutdown);
	tcase_add_test(other, test_listen_fd_url_takes_family_from_fd);
	tcase_add_test(other, test_listen_reuseport_shares_number);
	tcase_add_test(other, test_listen_unix_relative_path);
	tcase_add_test(other, test_listener_set_ops_does_not_unpause);
	tcase_add_test(other, test_listener_set_batch_bounds_a_turn);
	return suite;
}
