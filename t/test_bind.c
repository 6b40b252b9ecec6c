/* Datagram sockets: bound and connected ones, their unix paths. */
#include "test_net.h"

#include <sys/un.h>

#include "core.h"

static struct conn c, d;

static void
bind_to(struct conn *conn, const char *endpoint)
{
	struct sconce_fail fail;

	conn_init(conn, &conn_ops, -1);
	ck_assert_msg(sconce_bind(&conn->sock, endpoint, &fail) == 0, "%s", fail.text);
	ck_assert_int_ge(conn->sock.fd, 0);
}

static void
finish(struct conn *conn)
{
	sconce_close(&conn->sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_ptr_nonnull(strchr(conn->log, 'Z'));
}

static int
option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* Sends one datagram from an unbound plain socket. */
static void
plain_send(const struct sconce_addr *to, const char *data)
{
	int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(sendto(fd, data, strlen(data), 0, &to->any, to->len), (ssize_t)strlen(data));
	close(fd);
}

/* ---- bound ---- */

/* A bound udp socket is there when the call returns, with its real port, and receives; SF-1, SF-18, EM-38. */
START_TEST(test_bind_udp_receives)
{
	static const char *const endpoints[] = { "udp://127.0.0.1:0", "udp4://127.0.0.1:0", "udp6://[::1]:0" };
	struct sconce_addr a;

	for (size_t i = 0; i < (net_has_v6() ? 3 : 2); i++) {
		bind_to(&c, endpoints[i]);
		ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
		ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_REUSEADDR), 0);
		ck_assert_int_eq(fcntl(c.sock.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
		ck_assert_int_eq(fcntl(c.sock.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
		ck_assert_int_gt(sconce_addr_port(&a), 0);
		plain_send(&a, "hello");
		NET_UNTIL(c.in_len == 5);
		ck_assert_str_eq(c.log, "R");
		finish(&c);
	}
}
END_TEST

/* Options are set, and v6only is always said: every address is both families, [::] is IPv6 alone; NS-61. */
START_TEST(test_bind_udp_options_are_set)
{
	struct sconce_addr a, v4;
	char text[64];

	bind_to(&c, "udp://127.0.0.1:0?reuse=1&reuseport=1&rcvbuf=20000&tos=16");
	ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_REUSEADDR), 1);
	ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_REUSEPORT), 1);
	ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_RCVBUF), 40000);
	ck_assert_int_eq(option_of(c.sock.fd, IPPROTO_IP, IP_TOS), 16);
	finish(&c);
	if (!net_has_v6())
		return;
	bind_to(&c, "udp://[::]:0?tos=8");
	ck_assert_int_eq(option_of(c.sock.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	ck_assert_int_eq(option_of(c.sock.fd, IPPROTO_IPV6, IPV6_TCLASS), 8);
	finish(&c);
	bind_to(&c, "udp://[::]:0?v6only=0");
	ck_assert_int_eq(option_of(c.sock.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%d", sconce_addr_port(&a));
	ck_assert_int_eq(sconce_addr_parse(text, &v4, NULL), 0);
	plain_send(&v4, "x");
	NET_UNTIL(c.in_len == 1);
	finish(&c);
}
END_TEST

/* What is no datagram endpoint is refused, as is a socket that has an fd; nothing changes; SF-4, SF-13. */
START_TEST(test_bind_wrong_is_refused)
{
	static const struct { const char *text, *operation; int errnum; } cases[] = {
		{ "tcp://127.0.0.1:0", "socktype", EPROTOTYPE }, { "/run/x", "socktype", EPROTOTYPE },
		{ "udp://192.0.2.1:0", "bind", EADDRNOTAVAIL }, { "udp://127.0.0.1", "parse", EINVAL },
		{ "unix_dgram:///no/such/dir/s", "bind", ENOENT }, { "fd://999", "fcntl", EBADF },
	};
	struct sconce_fail fail;
	char text[64];
	int before, lfd = plain_listen(1, text, sizeof(text));

	conn_init(&c, &conn_ops, -1);
	before = t_fd_count();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(sconce_bind(&c.sock, cases[i].text, &fail), -cases[i].errnum);
		ck_assert_str_eq(fail.operation, cases[i].operation);
		ck_assert_int_eq(fail.errnum, cases[i].errnum);
		ck_assert_int_eq(sconce_bind(&c.sock, cases[i].text, NULL), -cases[i].errnum);
		ck_assert_int_eq(c.sock.fd, -1);
		ck_assert_int_eq(t_fd_count(), before);
	}
	snprintf(text, sizeof(text), "fd://%d", lfd);
	ck_assert_int_eq(sconce_bind(&c.sock, text, &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.operation, "socktype");
	ck_assert_ptr_nonnull(strstr(fail.text, ": a stream socket, not a datagram one"));
	ck_assert_int_eq(sconce_bind(&c.sock, "udp://127.0.0.1:0", NULL), 0);	/* it is as before */
	ck_assert_int_eq(sconce_bind(&c.sock, "udp://127.0.0.1:0", &fail), -EISCONN);
	finish(&c);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, "udp://127.0.0.1:9"), 0);
	ck_assert_int_eq(sconce_bind(&c.sock, "udp://127.0.0.1:0", NULL), -EALREADY);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_bind(&c.sock, "udp://127.0.0.1:0", NULL), -EBADF);
	close(lfd);
}
END_TEST

/* An endpoint made by hand is checked before it is used: family, type, protocol, texts; SF-3, SF-5, SF-23, EM-40. */
START_TEST(test_bind_endpoint_by_hand_is_checked)
{
	struct sconce_endpoint ep, good;
	struct sconce_fail fail;

	sconce_endpoint_init(&good);
	good.type = SOCK_DGRAM;
	strcpy(good.proto, "udp");
	strcpy(good.host, "127.0.0.1");
	strcpy(good.service, "0");
	conn_init(&c, &conn_ops, -1);
	ep = good;
	ep.family = AF_PACKET;
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EAFNOSUPPORT);
	ck_assert_str_eq(fail.operation, "domain");
	ck_assert_str_eq(fail.text, "domain 127.0.0.1:0: Address family not supported by protocol");
	ep = good;
	ep.type = SOCK_RAW;
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -ESOCKTNOSUPPORT);
	ck_assert_str_eq(fail.operation, "socktype");
	ep = good;
	strcpy(ep.proto, "icmp");
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EPROTONOSUPPORT);
	ck_assert_str_eq(fail.operation, "protocol");
	ep = good;
	ep.host[0] = '\0';
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EINVAL);
	ck_assert_str_eq(fail.operation, "parse");
	ep = good;
	memset(ep.host, 'x', sizeof(ep.host));
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EINVAL);
	ep = good;
	strcpy(ep.service, "70000");
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EINVAL);
	ep = good;
	ep.fd = 999;
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EBADF);
	ck_assert_str_eq(fail.text, "fcntl fd 999: Bad file descriptor");
	ep = good;
	ep.family = AF_UNIX;
	ep.type = SOCK_STREAM;
	strcpy(ep.path, "/x");
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &ep, &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.text, "socktype /x: a stream endpoint: say unix_dgram:///x");
	ck_assert_int_eq(sconce_bind(&c.sock, "1.2.3.4:5555", &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.text, "socktype 1.2.3.4:5555: a stream endpoint: say udp://1.2.3.4:5555");
	ck_assert_int_eq(sconce_bind(&c.sock, "tcp6://[::1]:53?nodelay=1", &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.text, "socktype tcp6://[::1]:53?nodelay=1: a stream endpoint: say udp://[::1]:53");
	ck_assert_int_eq(sconce_bind(&c.sock, "tcp6://*:53", &fail), -EPROTOTYPE);
	ck_assert_str_eq(fail.text, "socktype tcp6://*:53: a stream endpoint: say udp6://*:53");
	ck_assert_int_eq(sconce_bind_endpoint(&c.sock, &good, &fail), 0);
}
END_TEST

/* An open fd is taken over as it is, and stays the caller's when that fails. */
START_TEST(test_bind_fd_is_adopted)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sv[2];
	char text[32];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	snprintf(text, sizeof(text), "fd://%d", fd);
	bind_to(&c, text);
	ck_assert_int_eq(c.sock.fd, fd);
	snprintf(text, sizeof(text), "fd://%d", sv[0]);
	bind_to(&d, text);
	ck_assert_int_eq(write(sv[1], "abc", 3), 3);
	NET_UNTIL(d.in_len == 3);
	finish(&c);
	finish(&d);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	close(sv[1]);
}
END_TEST

/* ---- paths ---- */

static void
make_stale(const char *path, int type)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* A path whose socket is dead is replaced, ours goes at close; also of datagram sockets; HZ-20, NS-66. */
START_TEST(test_bind_unix_stale_path_is_replaced)
{
	static const int types[] = { SOCK_DGRAM, SOCK_STREAM };
	char path[128], endpoint[160];
	struct sconce_addr a;

	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s", path);
	for (int i = 0; i < 2; i++) {
		make_stale(path, types[i]);
		bind_to(&c, endpoint);
		ck_assert_int_eq(sconce_addr_parse(path, &a, NULL), 0);
		plain_send(&a, "abc");
		NET_UNTIL(c.in_len == 3);
		ck_assert(exists(path));
		finish(&c);
		ck_assert(!exists(path));
	}
	dir_remove(path);
}
END_TEST

/* A path that somebody has is not ours to take, whatever its type; nor is what is no socket; HZ-20. */
START_TEST(test_bind_unix_live_path_is_eaddrinuse)
{
	static const int types[] = { SOCK_DGRAM, SOCK_STREAM };
	char path[128], endpoint[160], why[192];
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sconce_fail fail;
	int fd;

	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s", path);
	snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", path);
	conn_init(&c, &conn_ops, -1);
	for (int i = 0; i < 2; i++) {
		fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		if (types[i] == SOCK_STREAM)
			ck_assert_int_eq(listen(fd, 1), 0);
		ck_assert_int_eq(sconce_bind(&c.sock, endpoint, &fail), -EADDRINUSE);
		snprintf(why, sizeof(why), "bind %s: Address already in use", path);
		ck_assert_str_eq(fail.text, why);
		ck_assert(exists(path));
		close(fd);
		unlink(path);
	}
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(sconce_bind(&c.sock, endpoint, &fail), -EADDRINUSE);
	snprintf(why, sizeof(why), "bind %s: exists and is no socket", path);
	ck_assert_str_eq(fail.text, why);
	ck_assert(exists(path));
	dir_remove(path);
}
END_TEST

/* mode= is exact, owner= and group= are set before anybody can know, unknown ones are told, and then there is no path. */
START_TEST(test_bind_unix_mode_and_owner)
{
	char path[128], endpoint[256], why[192];
	struct sconce_fail fail;
	struct stat st;
	mode_t old = umask(0077);

	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?mode=666&owner=%d&group=%d", path, (int)geteuid(), (int)getegid());
	bind_to(&c, endpoint);
	ck_assert_int_eq(lstat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0666);
	ck_assert_uint_eq(st.st_uid, geteuid());
	finish(&c);
	if (geteuid() == 0) {
		snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?owner=daemon&group=daemon", path);
		bind_to(&c, endpoint);
		ck_assert_int_eq(lstat(path, &st), 0);
		ck_assert_uint_eq(st.st_uid, 1);
		ck_assert_uint_eq(st.st_gid, 1);
		finish(&c);
	}
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?owner=no-such-user-here", path);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_bind(&c.sock, endpoint, &fail), -ENOENT);
	snprintf(why, sizeof(why), "bind %s: no user 'no-such-user-here'", path);
	ck_assert_str_eq(fail.text, why);
	ck_assert_str_eq(fail.operation, "bind");
	ck_assert(!exists(path));
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?group=no-such-group-here", path);
	ck_assert_int_eq(sconce_bind(&c.sock, endpoint, &fail), -ENOENT);
	snprintf(why, sizeof(why), "bind %s: no group 'no-such-group-here'", path);
	ck_assert_str_eq(fail.text, why);
	ck_assert(!exists(path));
	umask(old);
	dir_remove(path);
}
END_TEST

/* Somebody who may write the directory too: right after bind(2), or after the path was looked at, he puts something else
 * at `swap_path`, which `swap_how` says. */
static char swap_path[128], victim[160];
static enum { SWAP_NOTHING, SWAP_SYMLINK, SWAP_SOCKET, SWAP_LINK } swap_how;
static bool swap_early, no_proc;

static void
swap(void)
{
	int how = swap_how;

	if (how == SWAP_NOTHING)
		return;
	swap_how = SWAP_NOTHING;
	unlink(swap_path);
	if (how == SWAP_SYMLINK)
		ck_assert_int_eq(symlink(victim, swap_path), 0);
	else if (how == SWAP_SOCKET)
		make_stale(swap_path, SOCK_DGRAM);
	else
		ck_assert_int_eq(link(victim, swap_path), 0);
}

static int
swapping_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	int r = sconce_backend_libev()->bind(fd, addr, len, ctx);

	if (r == 0 && swap_early)
		swap();
	return r;
}

/* Instead of the C library's. */
int
lstat(const char *path, struct stat *st)
{
	int r = fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);

	if (r == 0 && strcmp(path, swap_path) == 0 && !swap_early)
		swap();
	return r;
}

int
chmod(const char *path, mode_t mode)
{
	if (no_proc && strncmp(path, "/proc/", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	return fchmodat(AT_FDCWD, path, mode, 0);
}

/* HZ-20: mode and owner are those of what was made, not of what somebody has put in its place. */
START_TEST(test_bind_unix_replaced_is_not_dressed)
{
	static const char *const query[] = { "mode=666", "owner=54321&group=54322", "mode=600&group=54322" };
	char endpoint[256], why[192];
	struct sconce_fail fail;
	struct stat st;
	int fds;

	dir_make(swap_path, sizeof(swap_path), "s");
	snprintf(victim, sizeof(victim), "%s.victim", swap_path);
	make_stale(victim, SOCK_DGRAM);
	backend.bind = swapping_bind;
	conn_init(&c, &conn_ops, -1);
	fds = t_fd_count();
	for (int i = 0; i < 18; i++) {
		int how = SWAP_SYMLINK + i % 3;

		swap_early = i / 9 == 1;
		if (swap_early && how == SWAP_SOCKET)
			continue;		/* nothing tells it from ours */
		unlink(swap_path);
		ck_assert_int_eq(fchmodat(AT_FDCWD, victim, 0640, 0), 0);
		snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?%s", swap_path, query[i / 3 % 3]);
		swap_how = how;
		ck_assert_msg(sconce_bind(&c.sock, endpoint, &fail) == -EPERM, "%d: %s", i, fail.text);
		snprintf(why, sizeof(why), "bind %s: it was replaced as soon as it was made", swap_path);
		ck_assert_str_eq(fail.text, why);
		ck_assert_int_eq(t_fd_count(), fds);
		ck_assert_int_eq(stat(victim, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, 0640);
		ck_assert_uint_eq(st.st_uid, geteuid());
		ck_assert_uint_eq(st.st_gid, getegid());
	}
	unlink(victim);
	dir_remove(swap_path);
}
END_TEST

/* Without a /proc the mode is set all the same. */
START_TEST(test_bind_unix_mode_without_proc)
{
	char path[128], endpoint[256];
	struct stat st;
	mode_t old = umask(0077);

	dir_make(path, sizeof(path), "s");
	for (int i = 0; i < 2; i++) {
		no_proc = i == 1;
		snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s?mode=666", path);
		bind_to(&c, endpoint);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, 0666);
		finish(&c);
	}
	umask(old);
	dir_remove(path);
}
END_TEST

/* A path whose fd was given away stays; one of an abstract name or relative is bound where it says. */
START_TEST(test_bind_unix_other_places)
{
	char path[128], endpoint[160], cwd[256], text[SCONCE_ADDR_TEXT];
	struct sconce_addr a;
	int fd;

	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s", path);
	bind_to(&c, endpoint);
	fd = sconce_detach(&c.sock, NULL, 0, NULL);
	ck_assert_int_ge(fd, 0);
	net_settle();
	ck_assert(exists(path));
	close(fd);
	unlink(path);
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(chdir(net_dir), 0);
	bind_to(&c, "unix_dgram://s");
	ck_assert(exists(path));
	finish(&c);
	ck_assert(!exists(path));
	ck_assert_int_eq(chdir(cwd), 0);
	snprintf(endpoint, sizeof(endpoint), "unix_dgram:///@sconce-bind-%d", (int)getpid());
	bind_to(&c, endpoint);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&a, text, sizeof(text)), strchr(endpoint, '@'));
	finish(&c);
	dir_remove(path);
}
END_TEST

/* ---- connected ---- */

/* udp:// connects a datagram socket: event_connect tells that the fd is there, and writes are datagrams; SF-1, EM-39. */
START_TEST(test_connect_udp_sends_and_receives)
{
	struct sconce_addr a;
	char endpoint[128], text[SCONCE_ADDR_TEXT];

	bind_to(&d, "udp://127.0.0.1:0");
	ck_assert_int_eq(sconce_local(&d.sock, &a), 0);
	snprintf(endpoint, sizeof(endpoint), "udp://%s?bind=127.0.0.3&sndbuf=30000", sconce_addr_text(&a, text, sizeof(text)));
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
	ck_assert_str_eq(c.log, "");
	net_settle();
	ck_assert_str_eq(c.log, "C");
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	ck_assert_int_eq(option_of(c.sock.fd, SOL_SOCKET, SO_SNDBUF), 60000);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_host(&a, text, sizeof(text)), "127.0.0.3");
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_int_eq(send(c.sock.fd, "ping", 4, 0), 4);
	NET_UNTIL(d.in_len == 4);
}
END_TEST

/* A unix datagram client has a path, or a name the kernel finds, to be answered at; the path goes with it, and when
 * nobody is there; SF-6. */
START_TEST(test_connect_unix_dgram_is_answered)
{
	char path[128], server[160], endpoint[400], own[150];
	struct sconce_addr a;

	dir_make(path, sizeof(path), "s");
	snprintf(server, sizeof(server), "unix_dgram://%s", path);
	snprintf(own, sizeof(own), "%s.client", path);
	bind_to(&d, server);
	for (int i = 0; i < 2; i++) {
		snprintf(endpoint, sizeof(endpoint), "%s?bind=%s", server, i == 0 ? own : "@");
		conn_init(&c, &conn_ops, -1);
		ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
		net_settle();
		ck_assert_msg(strcmp(c.log, "C") == 0 && c.connect_errnum == 0, "%s", c.fail);
		ck_assert_int_eq(exists(own), i == 0);
		ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
		ck_assert_uint_gt(a.len, sizeof(sa_family_t) + 1);
		ck_assert_int_eq(sendto(d.sock.fd, "answer", 6, 0, &a.any, a.len), 6);
		NET_UNTIL(c.in_len == 6);
		finish(&c);
		ck_assert(!exists(own));
	}
	finish(&d);
	snprintf(endpoint, sizeof(endpoint), "%s?bind=%s", server, own);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
	net_settle();
	ck_assert_int_eq(c.connect_errnum, ENOENT);
	ck_assert(!exists(own));
	dir_remove(path);
}
END_TEST

/* ---- memory ---- */

/* Without memory a bind fails and leaves nothing behind, not even the path; HZ-22. */
START_TEST(test_bind_no_memory_leaves_nothing)
{
	char path[128], endpoint[160];
	int before, r = -ENOMEM, failures = 0;

	alloc_left = -1;
	backend.alloc = failing_alloc;
	dir_make(path, sizeof(path), "s");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram://%s", path);
	conn_init(&c, &conn_ops, -1);
	before = t_fd_count();
	for (int n = 0; n < 20 && r < 0; n++, failures++) {
		alloc_left = n;
		r = sconce_bind(&c.sock, endpoint, NULL);
		alloc_left = -1;
		if (r < 0) {
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_int_eq(t_fd_count(), before);
			ck_assert(!exists(path));
			ck_assert_int_eq(c.sock.fd, -1);
		}
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_ge(failures, 2);
	finish(&c);
	dir_remove(path);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("bind");
	TCase *bound = net_case(suite, "bound"), *paths = net_case(suite, "paths"), *connected = net_case(suite, "connected");

	tcase_add_test(bound, test_bind_udp_receives);
	tcase_add_test(bound, test_bind_udp_options_are_set);
	tcase_add_test(bound, test_bind_wrong_is_refused);
	tcase_add_test(bound, test_bind_endpoint_by_hand_is_checked);
	tcase_add_test(bound, test_bind_fd_is_adopted);
	tcase_add_test(paths, test_bind_unix_stale_path_is_replaced);
	tcase_add_test(paths, test_bind_unix_live_path_is_eaddrinuse);
	tcase_add_test(paths, test_bind_unix_mode_and_owner);
	tcase_add_test(paths, test_bind_unix_replaced_is_not_dressed);
	tcase_add_test(paths, test_bind_unix_mode_without_proc);
	tcase_add_test(paths, test_bind_unix_other_places);
	tcase_add_test(paths, test_bind_no_memory_leaves_nothing);
	tcase_add_test(connected, test_connect_udp_sends_and_receives);
	tcase_add_test(connected, test_connect_unix_dgram_is_answered);
	return suite;
}
