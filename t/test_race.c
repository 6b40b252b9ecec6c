/* Overlapping attempts (happy=): who wins, what becomes of the others, what is told. */
#include "names.h"

#include "core.h"

static struct conn c;

static bool
told(const struct conn *conn)
{
	return strchr(conn->log, 'C') != NULL;
}

/* A listener that answers no more: its backlog is full.  Its address in `text`; the fds that fill it in `fds`. */
static int
full_listener(char *text, size_t size, int fds[4])
{
	int lfd = plain_listen(0, text, size);
	struct sconce_addr a;

	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	for (int i = 0; i < 4; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], &a.any, a.len);
	}
	return lfd;
}

static void
close_full(int lfd, const int fds[4])
{
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(lfd);
}

static void
connect_to(const char *endpoint)
{
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
	while (names.calls == 0)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	net_settle();
}

static void
peer_is(const char *text)
{
	char buf[SCONCE_ADDR_TEXT];
	struct sconce_addr a;

	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&a, buf, sizeof(buf)), text);
}

/* One that does not answer in time gets a companion, which wins; the loser is closed, and there is one event_connect. */
START_TEST(test_race_second_address_wins)
{
	char text[64], slow[64];
	int fds[4], slow_fd = full_listener(slow, sizeof(slow), fds), lfd = plain_listen(4, text, sizeof(text)), before, fd;
	char buf[4];

	names_add("name", slow);
	names_add("name", text);
	before = t_fd_count();
	connect_to("name:1?happy=250");
	ck_assert_str_eq(c.log, "");
	ck_assert_int_eq(t_fd_count(), before + 1);
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	net_pass(0.2);
	net_settle();
	ck_assert_str_eq(c.log, "");
	ck_assert_int_eq(t_fd_count(), before + 1);
	net_pass(0.1);
	NET_UNTIL(told(&c));
	net_settle();
	ck_assert_str_eq(c.log, "CD");
	ck_assert_int_eq(c.connect_errnum, 0);
	peer_is(text);
	ck_assert_int_eq(t_fd_count(), before + 1);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	close(fd);
	close(lfd);
	close_full(slow_fd, fds);
}
END_TEST

/* One that fails at once does not keep the next waiting; the first that answers wins. */
START_TEST(test_race_failure_begins_next_at_once)
{
	char text[64], nobody[64];
	int lfd = plain_listen(4, text, sizeof(text)), before;

	plain_nobody(nobody, sizeof(nobody));
	names_add("name", nobody);
	names_add("name", "/no/such/path");
	names_add("name", text);
	before = t_fd_count();
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, "name:1?happy=60000"), 0);
	NET_UNTIL(told(&c));			/* no time passes */
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_str_eq(c.fail, "");		/* of those that failed nothing is told */
	ck_assert_ptr_null(sconce_failure(&c.sock));
	peer_is(text);
	net_settle();
	ck_assert_str_eq(c.log, "C");
	ck_assert_int_eq(t_fd_count(), before + 1);
	close(lfd);
}
END_TEST

/* When all have failed the last failure is told, once. */
START_TEST(test_race_all_failing_tells_once)
{
	char nobody[64], why[128];
	int before = t_fd_count();

	plain_nobody(nobody, sizeof(nobody));
	names_add("name", "/no/such/path");
	names_add("name", nobody);
	connect_to("name:1?happy=250");
	NET_UNTIL(told(&c));
	net_settle();
	ck_assert_str_eq(c.log, "C");
	ck_assert_int_eq(c.connect_errnum, ECONNREFUSED);
	snprintf(why, sizeof(why), "connect %s: Connection refused", nobody);
	ck_assert_str_eq(c.fail, why);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

/* The timeout ends all attempts; so does a close, silently; SF-21. */
START_TEST(test_race_timeout_or_close_ends_all)
{
	char one[64], two[64];
	int fds1[4], fds2[4], lfd1 = full_listener(one, sizeof(one), fds1), lfd2 = full_listener(two, sizeof(two), fds2);
	int before = t_fd_count();

	names_add("name", one);
	names_add("name", two);
	connect_to("name:1?happy=100&timeout=2");
	net_pass(0.2);
	net_settle();
	ck_assert_int_eq(t_fd_count(), before + 2);
	net_pass(2.2);
	net_settle();
	ck_assert_str_eq(c.log, "C");
	ck_assert_int_eq(c.connect_errnum, ETIMEDOUT);
	ck_assert_int_eq(t_fd_count(), before);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	connect_to("name:1?happy=100");
	net_pass(0.2);
	net_settle();
	ck_assert_int_eq(t_fd_count(), before + 2);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(t_fd_count(), before);
	net_settle();
	ck_assert_str_eq(c.log, "XZ");
	close_full(lfd1, fds1);
	close_full(lfd2, fds2);
}
END_TEST

/* One that is connected at once wins at once, whoever else is under way. */
START_TEST(test_race_connected_at_once_wins)
{
	char slow[64], name[64];
	int fds[4], slow_fd = full_listener(slow, sizeof(slow), fds), before, lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sconce_addr a;

	abstract_name(name, sizeof(name));
	ck_assert_int_eq(sconce_addr_parse(name, &a, NULL), 0);
	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 4), 0);
	names_add("name", slow);
	names_add("name", name);
	before = t_fd_count();
	connect_to("name:1?happy=250");
	net_pass(0.3);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_int_eq(a.any.sa_family, AF_UNIX);
	ck_assert_int_eq(t_fd_count(), before + 1);
	close(lfd);
	close_full(slow_fd, fds);
}
END_TEST

static int
failing_getsockopt(int fd, int level, int name, void *val, socklen_t *len, void *ctx)
{
	if (name == SO_ERROR) {
		errno = ENOBUFS;
		return -1;
	}
	return sconce_backend_libev()->getsockopt(fd, level, name, val, len, ctx);
}

/* What cannot be asked has failed. */
START_TEST(test_race_getsockopt_failing_is_told)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text)), before;

	backend.getsockopt = failing_getsockopt;
	names_add("name", text);
	names_add("name", text);
	before = t_fd_count();
	connect_to("name:1?happy=250");
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, ENOBUFS);
	ck_assert_int_eq(t_fd_count(), before);
	close(lfd);
}
END_TEST

static int tried[8], tries;

static int
noting_connect(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	(void)fd;
	(void)len;
	(void)ctx;
	if (tries < 8)
		tried[tries++] = addr->sa_family == AF_INET6 ? 6 : 4;
	errno = ECONNREFUSED;
	return -1;
}

static int
any_socket(int domain, int type, int protocol, void *ctx)
{
	(void)domain;			/* so that it works without IPv6 */
	return sconce_backend_libev()->socket(AF_INET, type, protocol, ctx);
}

/* Families take turns, the first address's first (RFC 8305, 4); without happy= the resolver's order is kept. */
START_TEST(test_race_families_take_turns)
{
	static const int turns[] = { 6, 4, 6, 4, 6 }, order[] = { 6, 6, 6, 4, 4 };

	for (int i = 0; i < 3; i++)
		names_add("name", "[::1]:1");
	names_add("name", "127.0.0.1:1");
	names_add("name", "127.0.0.2:1");
	backend.connect = noting_connect;
	backend.socket = any_socket;
	for (int i = 0; i < 2; i++) {
		tries = 0;
		conn_init(&c, &conn_ops, -1);
		ck_assert_int_eq(sconce_connect(&c.sock, i == 0 ? "name:1?happy=250&nodelay=0" : "name:1?nodelay=0"), 0);
		NET_UNTIL(told(&c));
		ck_assert_int_eq(tries, 5);
		ck_assert_int_eq(memcmp(tried, i == 0 ? turns : order, sizeof(turns)), 0);
		sconce_close(&c.sock, SCONCE_REASON_LOCAL);
		net_settle();
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("race");
	TCase *race = names_case(suite, "race");

	tcase_add_test(race, test_race_second_address_wins);
	tcase_add_test(race, test_race_failure_begins_next_at_once);
	tcase_add_test(race, test_race_all_failing_tells_once);
	tcase_add_test(race, test_race_timeout_or_close_ends_all);
	tcase_add_test(race, test_race_connected_at_once_wins);
	tcase_add_test(race, test_race_getsockopt_failing_is_told);
	tcase_add_test(race, test_race_families_take_turns);
	return suite;
}
