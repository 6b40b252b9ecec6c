/* Connecting to names: what is looked up, in which order addresses are tried, what ends it; and sockets' options. */
#include "names.h"

#include "core.h"

static struct conn c, d;

static bool
told(const struct conn *conn)
{
	return strchr(conn->log, 'C') != NULL;
}

static void
connect_to(struct conn *conn, const char *endpoint)
{
	conn_init(conn, &conn_ops, -1);
	ck_assert_msg(sconce_connect(&conn->sock, endpoint) == 0, "%s", sconce_failure(&conn->sock)->text);
	ck_assert_str_eq(conn->log, "");
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

/* A name is looked up off the loop, then connected; what was written before goes out then; EM-39, SF-9. */
START_TEST(test_connect_name_succeeds)
{
	char text[64], endpoint[64], buf[4];
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	struct sconce_addr a;

	names_add("some.name", "127.0.0.1:0");
	names_hold(true);
	snprintf(endpoint, sizeof(endpoint), "tcp://some.name%s", strchr(text, ':'));
	connect_to(&c, endpoint);
	ck_assert_uint_ne(sconce_paused(&c.sock) & SCONCE_PAUSE_CONNECTING, 0);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), -EALREADY);
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	net_settle();
	ck_assert_str_eq(c.log, "");
	ck_assert_int_eq(c.sock.fd, -1);
	names_hold(false);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_uint_eq(names.flags, SCONCE_RESOLVE_CONFIGURED);	/* NS-61: only for connects */
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&a, endpoint, sizeof(endpoint)), text);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	close(fd);
	close(lfd);
}
END_TEST

/* A family that is named is the only one that is asked for; TM-14, SF-3. */
START_TEST(test_connect_name_of_a_family)
{
	char text[64], endpoint[64];
	int lfd = plain_listen(4, text, sizeof(text));

	names_add("both", "[::1]:1");
	names_add("both", "127.0.0.1:0");
	snprintf(endpoint, sizeof(endpoint), "tcp4://both%s", strchr(text, ':'));
	connect_to(&c, endpoint);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	names.count = 0;
	names_add("four", "127.0.0.1:0");
	connect_to(&d, "tcp6://four:80");
	NET_UNTIL(told(&d));
	ck_assert_int_eq(d.connect_errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(sconce_failure(&d.sock)->gai, EAI_NONAME);
	close(lfd);
}
END_TEST

/* Every address is tried, in the resolver's order, and the last failure is told when none answers; SF-9. */
START_TEST(test_connect_name_every_address_is_tried)
{
	char text[64], nobody[64], why[128];
	int lfd = plain_listen(4, text, sizeof(text));
	struct sconce_addr a;

	plain_nobody(nobody, sizeof(nobody));
	names_add("three", nobody);
	names_add("three", "192.0.2.1:0?nodelay=1");
	names_add("three", text);
	connect_to(&c, "three:9?bind=127.0.0.1");	/* from which 192.0.2.1 cannot be reached */
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_ptr_null(sconce_failure(&c.sock));
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&a, why, sizeof(why)), text);
	names.count = 0;
	names_add("none", "192.0.2.1:0");
	names_add("none", nobody);
	connect_to(&d, "none:9?bind=127.0.0.1");
	NET_UNTIL(told(&d));
	ck_assert_int_eq(d.connect_errnum, ECONNREFUSED);
	snprintf(why, sizeof(why), "connect %s: Connection refused", nobody);
	ck_assert_str_eq(d.fail, why);
	close(lfd);
}
END_TEST

/* No such name, no such service: told through the hook, with operation, gai and text, never by the call; SF-2, SF-7, SF-13. */
START_TEST(test_connect_name_unknown_is_told)
{
	connect_to(&c, "no.such.name:80");
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, EADDRNOTAVAIL);
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "getaddrinfo");
	ck_assert_int_eq(sconce_failure(&c.sock)->gai, EAI_NONAME);
	ck_assert_str_eq(c.fail, "getaddrinfo no.such.name:80: Name or service not known");
	connect_to(&d, "127.0.0.1:nothing");
	NET_UNTIL(told(&d));
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "getservbyname");
	ck_assert_int_eq(sconce_failure(&d.sock)->gai, EAI_SERVICE);
	/* and it may be connected again */
	names_add("name", "127.0.0.1:1");
	ck_assert_int_eq(sconce_connect(&d.sock, "name:1"), 0);
	NET_UNTIL(d.connect_errnum == ECONNREFUSED);
}
END_TEST

/* The local address may be a name; of its addresses each family's first is used; SF-6. */
START_TEST(test_connect_bind_name_is_looked_up)
{
	char text[64], endpoint[128], buf[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(4, text, sizeof(text));
	struct sconce_addr a;

	names_add("own", "127.0.0.4:0");
	names_add("own", "127.0.0.5:0");
	snprintf(endpoint, sizeof(endpoint), "%s?bind=own", text);
	connect_to(&c, endpoint);
	NET_UNTIL(told(&c));
	ck_assert_msg(c.connect_errnum == 0, "%s", c.fail);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_host(&a, buf, sizeof(buf)), "127.0.0.4");
	snprintf(endpoint, sizeof(endpoint), "%s?bind=nobody", text);
	connect_to(&d, endpoint);
	NET_UNTIL(told(&d));
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "getaddrinfo");
	sconce_close(&d.sock, SCONCE_REASON_LOCAL);
	net_settle();
	/* no local address of the family */
	names_add("six", "[::1]:0");
	names_add("four", text);
	connect_to(&d, "four:1?bind=six");
	NET_UNTIL(told(&d));
	ck_assert_int_eq(d.connect_errnum, EADDRNOTAVAIL);
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "bind");
	close(lfd);
}
END_TEST

/* The local port may be a service, of any address or of a name's; it is the same for both families; SF-7. */
START_TEST(test_connect_bind_service_is_of_both_families)
{
	char text[64], nobody[64], endpoint[128], any[64], own[64], buf[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(4, text, sizeof(text)), port;
	struct sconce_addr a;

	plain_nobody(nobody, sizeof(nobody));
	port = atoi(strchr(nobody, ':') + 1);
	snprintf(any, sizeof(any), "[::]:%d", port);	/* as the system's resolver has it: one family */
	snprintf(own, sizeof(own), "127.0.0.4:%d", port);
	names_add("*", any);
	names_add("own", own);
	names_add("name", text);
	connect_to(&c, "name:1?bindport=some-service");
	NET_UNTIL(told(&c));
	ck_assert_msg(c.connect_errnum == 0, "%s", c.fail);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
	ck_assert_str_eq(sconce_addr_text(&a, buf, sizeof(buf)), endpoint);
	snprintf(endpoint, sizeof(endpoint), "%s?bind=own&bindport=some-service", text);
	connect_to(&d, endpoint);
	NET_UNTIL(told(&d));
	ck_assert_msg(d.connect_errnum == 0, "%s", d.fail);
	ck_assert_int_eq(sconce_local(&d.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_text(&a, buf, sizeof(buf)), own);
	sconce_close(&d.sock, SCONCE_REASON_LOCAL);
	net_settle();
	names.count = 0;
	connect_to(&d, "127.0.0.1:1?bindport=nothing");
	NET_UNTIL(told(&d));
	ck_assert_int_eq(d.connect_errnum, EADDRNOTAVAIL);
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "getservbyname");
	close(lfd);
}
END_TEST

/* ---- what may be done meanwhile, with an fd or without ---- */

enum { NUMERIC, NAME, RACE, WAYS };

/* c connects to `text`: at once, by a name that is not looked up before names_hold(false), or in a race. */
static void
connect_way(int way, const char *text)
{
	char nobody[64];

	plain_nobody(nobody, sizeof(nobody));
	names_add("name", nobody);
	names_add("name", text);
	names_hold(true);
	connect_to(&c, way == NUMERIC ? text : way == NAME ? "name:1" : "name:1?happy=60000");
	ck_assert_int_eq(c.sock.fd < 0, way != NUMERIC);
}

static int
accept_one(int lfd)
{
	int fd;

	names_hold(false);
	NET_UNTIL(told(&c));
	ck_assert_msg(c.connect_errnum == 0, "%s", c.fail);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A half-close waits, like what was written before it, and the other direction goes on. */
START_TEST(test_shutdown_write_connecting_goes_behind_what_waits)
{
	char text[64], buf[8];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	connect_way(_i, text);
	ck_assert_int_eq(sconce_write(&c.sock, "req", 3), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_WR), 0);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_WR), 0);
	ck_assert_int_eq(sconce_shutdown(&c.sock, 77), -EINVAL);
	ck_assert_int_eq(sconce_write(&c.sock, "x", 1), -EPIPE);
	fd = accept_one(lfd);
	net_settle();
	ck_assert_uint_eq(plain_read(fd, buf, sizeof(buf)), 3);	/* and the end */
	ck_assert_int_eq(memcmp(buf, "req", 3), 0);
	ck_assert_int_eq(write(fd, "answer", 6), 6);
	NET_UNTIL(c.in_len == 6);
	ck_assert_ptr_null(strchr(c.log, 'H'));
	close(fd);
	NET_UNTIL(strchr(c.log, 'H') != NULL);
	close(lfd);
}
END_TEST

static int shutdowns;

static int
count_shutdown(int fd, int how, void *ctx)
{
	shutdowns++;
	return sconce_backend_libev()->shutdown(fd, how, ctx);
}

/* The end of reading waits for the connect, which the kernel would break off, and does not end it. */
START_TEST(test_shutdown_read_connecting_does_not_end_it)
{
	char text[64], buf[8];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	backend.shutdown = count_shutdown;
	shutdowns = 0;
	connect_way(_i, text);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_RD), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "req", 3), SCONCE_QUEUED);
	ck_assert_int_eq(shutdowns, 0);
	fd = accept_one(lfd);
	net_settle();
	ck_assert_int_eq(shutdowns, 1);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	ck_assert_int_eq(sconce_read(&c.sock, buf, sizeof(buf)), 0);
	ck_assert_int_eq(recv(c.sock.fd, buf, sizeof(buf), MSG_DONTWAIT), 0);	/* the kernel knows */
	ck_assert_ptr_null(strchr(c.log, 'R'));
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_RDWR), 0);
	net_settle();
	ck_assert_int_eq(shutdowns, 2);
	ck_assert(plain_ended(fd));
	close(fd);
	close(lfd);
}
END_TEST

/* Both ends, and then it cannot be connected: the next connect begins anew. */
START_TEST(test_shutdown_connecting_refused_begins_anew)
{
	char text[64], nobody[64], buf[8];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	plain_nobody(nobody, sizeof(nobody));
	connect_way(_i, nobody);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_RDWR), 0);
	names_hold(false);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, ECONNREFUSED);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_WR), -EBADF);	/* it is not connecting any more */
	c.log[0] = '\0';
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	fd = accept_one(lfd);
	ck_assert_int_eq(write(fd, "you", 3), 3);
	NET_UNTIL(c.in_len == 3);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	close(fd);
	close(lfd);
}
END_TEST

/* A datagram socket has no half to close, also while it has no fd, and sends afterwards. */
START_TEST(test_shutdown_connecting_records_is_refused)
{
	struct sconce_sock_ops records = conn_ops;
	char text[64], buf[8];
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(text, sizeof(text), "udp://name:%d", ntohs(in.sin_port));
	names_add("name", "127.0.0.1:0");
	records.records = true;
	conn_init(&c, &records, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_WR), -EOPNOTSUPP);
	NET_UNTIL(told(&c));
	net_settle();
	ck_assert_int_eq(sconce_shutdown(&c.sock, SHUT_WR), -EOPNOTSUPP);
	ck_assert_int_eq(send(c.sock.fd, "abc", 3, MSG_NOSIGNAL), 3);
	ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 3);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(fd);
}
END_TEST

/* A relay may begin before its target is there, and passes on what the client has sent and ended. */
START_TEST(test_relay_connecting_waits)
{
	char text[64], buf[16];
	int lfd = plain_listen(4, text, sizeof(text)), sv[2], fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(write(sv[1], "request", 7), 7);
	ck_assert_int_eq(shutdown(sv[1], SHUT_WR), 0);
	conn_init(&d, &conn_ops, sv[0]);
	connect_way(_i, text);
	ck_assert_int_eq(sconce_relay(&d.sock, &c.sock, conn_done, NULL), 0);
	fd = accept_one(lfd);
	net_settle();
	ck_assert_uint_eq(plain_read(fd, buf, sizeof(buf)), 7);	/* and the end */
	ck_assert_int_eq(write(fd, "answer", 6), 6);
	close(fd);
	NET_UNTIL(strchr(d.log, 'd') != NULL);
	ck_assert_int_eq(d.done_status, 0);
	net_settle();
	ck_assert_uint_eq(plain_read(sv[1], buf, sizeof(buf)), 6);
	close(sv[1]);
	close(lfd);
}
END_TEST

/* ---- time ---- */

/* The connect timeout covers the look-up: set by the call, or by timeout= in the endpoint; SF-22. */
START_TEST(test_connect_timeout_covers_look_up)
{
	names_add("slow", "127.0.0.1:1");
	names_hold(true);
	connect_to(&c, "slow:80");
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 3), 0);
	connect_to(&d, "slow:80?timeout=1.5");
	ck_assert_double_eq_tol(sconce_timeout(&d.sock, SCONCE_TIMEOUT_CONNECT), 1.5, 0.001);
	net_settle();
	net_pass(2);
	net_settle();
	ck_assert_str_eq(c.log, "");
	ck_assert_str_eq(d.log, "C");
	ck_assert_int_eq(d.connect_errnum, ETIMEDOUT);
	ck_assert_str_eq(d.fail, "getaddrinfo slow:80: Connection timed out");
	net_pass(2);
	net_settle();
	ck_assert_int_eq(c.connect_errnum, ETIMEDOUT);
	names_hold(false);
	net_settle();
	ck_assert_str_eq(c.log, "C");		/* the late answer is dropped */
	ck_assert_int_eq(c.sock.fd, -1);
}
END_TEST

/* A timeout that is set already is kept. */
START_TEST(test_connect_timeout_option_does_not_replace)
{
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 9), 0);
	names_hold(true);
	ck_assert_int_eq(sconce_connect(&c.sock, "slow:80?timeout=1"), 0);
	ck_assert_double_eq_tol(sconce_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT), 9, 0.001);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
}
END_TEST

/* Closed during the look-up: event_close and destroy, nothing else, and the loop has nothing to wait for; SF-21. */
START_TEST(test_close_during_look_up_is_silent)
{
	names_add("slow", "127.0.0.1:1");
	names_hold(true);
	connect_to(&c, "slow:80");
	connect_to(&d, "slow:80?bind=slower");
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	sconce_abort(&d.sock);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_ptr_null(strchr(c.log, 'C'));
	ck_assert_ptr_nonnull(strstr(c.log, "XZ"));
	ck_assert_str_eq(d.log, "XZ");
	ck_assert_int_eq(c.done_status, -ECANCELED);
	names_hold(false);
	net_settle();
}
END_TEST

/* The loop may be freed during look-ups: sockets get their farewell. */
START_TEST(test_loop_free_during_look_up_is_clean)
{
	names_add("slow", "127.0.0.1:1");
	connect_to(&c, "slow:80");
	connect_to(&d, "slow:80");
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_ptr_nonnull(strstr(c.log, "XZ"));
	ck_assert_ptr_nonnull(strstr(d.log, "XZ"));
}
END_TEST

/* ---- fds ---- */

/* fd:// takes what is connected, or still connecting, or needs no connecting; what is neither is told. */
START_TEST(test_connect_fd_is_adopted)
{
	char endpoint[32], text[64];
	struct sconce_addr a;
	int sv[2], fds[2], lfd = plain_listen(1, text, sizeof(text)), fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", sv[0]);
	connect_to(&c, endpoint);
	ck_assert_int_eq(c.sock.fd, sv[0]);
	net_settle();
	ck_assert_str_eq(c.log, "C");
	ck_assert_int_eq(c.connect_errnum, 0);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", fds[0]);
	connect_to(&c, endpoint);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	NET_UNTIL(c.in_len == 1);
	ck_assert_str_eq(c.log, "CR");
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	connect(fd, &a.any, a.len);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", fd);
	connect_to(&c, endpoint);
	net_settle();
	ck_assert_int_eq(c.connect_errnum, 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", fd);
	connect_to(&d, endpoint);
	net_settle();
	ck_assert_int_eq(d.connect_errnum, ENOTCONN);
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "getpeername");
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);	/* it was the socket's */
	ck_assert_int_eq(sconce_connect(&d.sock, "fd://999"), -EBADF);
	ck_assert_str_eq(sconce_failure(&d.sock)->text, "fcntl fd 999: Bad file descriptor");
	ck_assert_int_eq(sconce_connect(&d.sock, text), 0);	/* as it was before */
	close(sv[1]);
	close(fds[1]);
	close(lfd);
}
END_TEST

/* ---- options ---- */

/* What the endpoint says of the socket is set before it connects; SF-8, SF-11, EM-57. */
START_TEST(test_connect_options_are_set)
{
	char text[64], endpoint[256];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	snprintf(endpoint, sizeof(endpoint), "%s?keepidle=7&keepinterval=8&keepcount=3&user_timeout=9000&tos=16&nodelay=0&"
		"rcvbuf=30000&sndbuf=40000&dev=lo", text);
	connect_to(&c, endpoint);
	NET_UNTIL(told(&c));
	ck_assert_msg(c.connect_errnum == 0 || c.connect_errnum == EPERM, "%s", c.fail);	/* dev= may need a right */
	if (c.connect_errnum == EPERM) {
		*strstr(endpoint, "&dev=lo") = '\0';
		connect_to(&d, endpoint);
		NET_UNTIL(told(&d));
		ck_assert_int_eq(d.connect_errnum, 0);
	}
	fd = c.connect_errnum == 0 ? c.sock.fd : d.sock.fd;
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 7);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 8);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 9000);
	ck_assert_int_eq(option_of(fd, IPPROTO_IP, IP_TOS), 16);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_RCVBUF), 60000);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_SNDBUF), 80000);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(lfd);
}
END_TEST

/* A device that is not there is told by its option. */
START_TEST(test_connect_option_refused_is_told)
{
	connect_to(&c, "127.0.0.1:1?dev=no-such-dev");
	NET_UNTIL(told(&c));
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "setsockopt");
	ck_assert_ptr_nonnull(strstr(c.fail, "SO_BINDTODEVICE for 127.0.0.1:1"));
}
END_TEST

/* The same by hand: an endpoint that was never a text; EM-40. */
START_TEST(test_connect_endpoint_by_hand_connects)
{
	struct sconce_endpoint ep;
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));

	sconce_endpoint_init(&ep);
	strcpy(ep.host, "127.0.0.1");
	strcpy(ep.service, strchr(text, ':') + 1);
	ep.options.nodelay = 0;
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_endpoint(&c.sock, &ep), 0);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_int_eq(option_of(c.sock.fd, IPPROTO_TCP, TCP_NODELAY), 0);
	strcpy(ep.service, "70000");
	conn_init(&d, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_endpoint(&d.sock, &ep), -EINVAL);
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "parse");
	sconce_close(&d.sock, SCONCE_REASON_LOCAL);
	net_settle();
	strcpy(ep.service, "80");
	strcpy(ep.proto, "ssl");
	conn_init(&d, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_endpoint(&d.sock, &ep), -EPROTONOSUPPORT);
	ck_assert_str_eq(sconce_failure(&d.sock)->operation, "protocol");
	close(lfd);
}
END_TEST

static int sockets, setsockopts, connects, binds, others;

static int
count_socket(int domain, int type, int protocol, void *ctx)
{
	sockets++;
	return sconce_backend_libev()->socket(domain, type, protocol, ctx);
}

static int
count_setsockopt(int fd, int level, int name, const void *val, socklen_t len, void *ctx)
{
	setsockopts++;
	return sconce_backend_libev()->setsockopt(fd, level, name, val, len, ctx);
}

static int
count_connect(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	connects++;
	return sconce_backend_libev()->connect(fd, addr, len, ctx);
}

static int
count_bind(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	binds++;
	return sconce_backend_libev()->bind(fd, addr, len, ctx);
}

static int
count_prepare(int fd, void *ctx)
{
	others++;
	return sconce_backend_libev()->prepare(fd, ctx);
}

/* A plain numeric connect is one socket(), one setsockopt() and one connect(), and asks no thread. */
START_TEST(test_connect_numeric_costs_three_calls)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));

	backend.socket = count_socket;
	backend.setsockopt = count_setsockopt;
	backend.connect = count_connect;
	backend.bind = count_bind;
	backend.prepare = count_prepare;
	sockets = setsockopts = connects = binds = others = 0;
	connect_to(&c, text);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(sockets, 1);
	ck_assert_int_eq(setsockopts, 1);
	ck_assert_int_eq(connects, 1);
	ck_assert_int_eq(binds + others, 0);
	ck_assert_int_eq(names.calls, 0);
	close(lfd);
}
END_TEST

/* ---- memory ---- */

/* Without memory a connect to a name is refused or told, nothing leaks; HZ-22. */
START_TEST(test_connect_name_no_memory_is_told_or_refused)
{
	char text[64], endpoint[128];
	int lfd = plain_listen(64, text, sizeof(text)), before, successes = 0, refused = 0;

	names_add("own", "127.0.0.1:0");
	names_add("name", "127.0.0.1:0");
	names_add("name", text);
	snprintf(endpoint, sizeof(endpoint), "name%s?bind=own&timeout=5&happy=250", strchr(text, ':'));
	alloc_left = -1;
	backend.alloc = failing_alloc;
	before = t_fd_count();
	for (int n = 0; n < 24; n++) {
		int r;

		conn_init(&c, &conn_ops, -1);
		alloc_left = n;
		r = sconce_connect(&c.sock, endpoint);
		ck_assert(r == 0 || r == -ENOMEM);
		refused += r < 0;
		if (r < 0)
			ck_assert_double_eq(sconce_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT), 0);
		for (int i = 0; i < 200 && r == 0 && !told(&c); i++)
			sconce_loop_step(loop, 0.01);
		alloc_left = -1;
		if (r == 0) {
			ck_assert(told(&c));
			successes += c.connect_errnum == 0;
		}
		sconce_close(&c.sock, SCONCE_REASON_LOCAL);
		net_settle();
		ck_assert_int_eq(t_fd_count(), before);
	}
	ck_assert_int_gt(successes, 0);
	ck_assert_int_gt(refused, 2);
	close(lfd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("connect_name");
	TCase *look = names_case(suite, "names"), *ends = names_case(suite, "ends"), *options = names_case(suite, "options");

	tcase_add_test(look, test_connect_name_succeeds);
	tcase_add_test(look, test_connect_name_of_a_family);
	tcase_add_test(look, test_connect_name_every_address_is_tried);
	tcase_add_test(look, test_connect_name_unknown_is_told);
	tcase_add_test(look, test_connect_bind_name_is_looked_up);
	tcase_add_test(look, test_connect_bind_service_is_of_both_families);
	tcase_add_loop_test(ends, test_shutdown_write_connecting_goes_behind_what_waits, 0, WAYS);
	tcase_add_loop_test(ends, test_shutdown_read_connecting_does_not_end_it, 0, WAYS);
	tcase_add_loop_test(ends, test_shutdown_connecting_refused_begins_anew, 0, WAYS);
	tcase_add_test(ends, test_shutdown_connecting_records_is_refused);
	tcase_add_loop_test(ends, test_relay_connecting_waits, 0, WAYS);
	tcase_add_test(ends, test_connect_timeout_covers_look_up);
	tcase_add_test(ends, test_connect_timeout_option_does_not_replace);
	tcase_add_test(ends, test_close_during_look_up_is_silent);
	tcase_add_test(ends, test_loop_free_during_look_up_is_clean);
	tcase_add_test(ends, test_connect_name_no_memory_is_told_or_refused);
	tcase_add_test(options, test_connect_fd_is_adopted);
	tcase_add_test(options, test_connect_options_are_set);
	tcase_add_test(options, test_connect_option_refused_is_told);
	tcase_add_test(options, test_connect_endpoint_by_hand_connects);
	tcase_add_test(options, test_connect_numeric_costs_three_calls);
	return suite;
}
