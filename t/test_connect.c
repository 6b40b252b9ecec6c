/* Connecting: success, refusal, lists of addresses, time-outs; what is written before; what ends it. */
#include "test_net.h"

#include "core.h"

static struct conn c, d;

/* The hooks that `c` got so far are exactly these. */
#define CK_LOG(conn, letters) ck_assert_str_eq((conn).log, letters)

static bool
told(const struct conn *conn)
{
	return strchr(conn->log, 'C') != NULL;
}

/* ---- success ---- */

/* A connect is told once, with 0, from the loop, before anything else; DS-99. */
START_TEST(test_connect_tcp_is_told_from_the_loop)
{
	char text[64], buf[8];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	CK_LOG(c, "");
	ck_assert_int_ge(sconce_fd(&c.sock), 0);
	ck_assert_uint_ne(sconce_paused(&c.sock) & SCONCE_PAUSE_CONNECTING, 0);
	NET_UNTIL(told(&c));
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_ptr_null(sconce_failure(&c.sock));
	ck_assert_uint_eq(sconce_paused(&c.sock), 0);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(sconce_write(&c.sock, "hello", 5), SCONCE_GATHERED);
	net_settle();
	ck_assert_uint_eq(plain_read(fd, buf, 5), 5);
	ck_assert_int_eq(memcmp(buf, "hello", 5), 0);
	ck_assert_int_eq(write(fd, "you", 3), 3);
	NET_UNTIL(c.in_len == 3);
	CK_LOG(c, "CR");
	ck_assert_int_eq(fcntl(sconce_fd(&c.sock), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(fcntl(sconce_fd(&c.sock), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(fd);
	close(lfd);
}
END_TEST

static void
check_kind(const char *text)
{
	struct sconce_addr a;
	int lfd, fd;
	char buf[4];

	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	lfd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (lfd < 0 || bind(lfd, &a.any, a.len) < 0) {	/* no such family here */
		close(lfd);
		return;
	}
	ck_assert_int_eq(listen(lfd, 4), 0);
	a.len = sizeof(a.un);
	ck_assert_int_eq(getsockname(lfd, &a.any, &a.len), 0);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_addr(&c.sock, &a), 0);
	CK_LOG(c, "");			/* also when it succeeded at once */
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(fd);
	close(lfd);
}

/* Paths, abstract names and v6 connect alike. */
START_TEST(test_connect_other_families_succeed)
{
	char name[64], path[128];

	check_kind("[::1]:0");
	abstract_name(name, sizeof(name));
	check_kind(name);
	dir_make(path, sizeof(path), "s");
	check_kind(path);
	dir_remove(path);
}
END_TEST

/* What is written before the connect, and during it, waits and then goes, in order, with its completions; DS-87. */
START_TEST(test_connect_written_before_goes_after)
{
	char text[64], buf[16];
	int lfd = plain_listen(4, text, sizeof(text)), fd;

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_write(&c.sock, "one", 3), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "two", 3), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_read(&c.sock, buf, sizeof(buf)), -EAGAIN);
	NET_UNTIL(strchr(c.log, 'd') != NULL);
	ck_assert_int_eq(c.log[0], 'C');
	ck_assert_int_eq(c.done_status, 0);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 6), 6);
	ck_assert_int_eq(memcmp(buf, "onetwo", 6), 0);
	ck_assert_uint_eq(sconce_queued(&c.sock), 0);
	close(fd);
	close(lfd);
}
END_TEST

/* bind= and bindport= decide the near end. */
START_TEST(test_connect_bind_option_decides_local_address)
{
	char text[64], endpoint[128], buf[SCONCE_ADDR_TEXT], free_port[64];
	int lfd = plain_listen(4, text, sizeof(text)), port;
	struct sconce_addr a;

	conn_init(&c, &conn_ops, -1);
	snprintf(endpoint, sizeof(endpoint), "%s?bind=127.0.0.2", text);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), 0);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	ck_assert_str_eq(sconce_addr_host(&a, buf, sizeof(buf)), "127.0.0.2");
	plain_nobody(free_port, sizeof(free_port));
	port = atoi(strchr(free_port, ':') + 1);
	conn_init(&d, &conn_ops, -1);
	snprintf(endpoint, sizeof(endpoint), "%s?bindport=%d", text, port);
	ck_assert_int_eq(sconce_connect(&d.sock, endpoint), 0);
	NET_UNTIL(told(&d));
	ck_assert_int_eq(d.connect_errnum, 0);
	ck_assert_int_eq(sconce_local(&d.sock, &a), 0);
	ck_assert_int_eq(sconce_addr_port(&a), port);
	close(lfd);
}
END_TEST

/* An address that is not ours cannot be bound to: told as such. */
START_TEST(test_connect_bind_option_refused_is_told)
{
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, "127.0.0.1:1?bind=192.0.2.1"), 0);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, EADDRNOTAVAIL);
	ck_assert_str_eq(c.fail, "bind 192.0.2.1:0: Cannot assign requested address");
}
END_TEST

/* ---- refusal ---- */

/* Refused: event_connect first, then the completions of what waited, and nothing else; DS-27. */
START_TEST(test_connect_refused_is_told_before_anything_else)
{
	char text[64], why[128];

	plain_nobody(text, sizeof(text));
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_watch_write(&c.sock, true), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "x", 1), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	net_settle();
	CK_LOG(c, "Cd");
	ck_assert_int_eq(c.connect_errnum, ECONNREFUSED);
	ck_assert_int_eq(c.done_status, -ECONNREFUSED);
	snprintf(why, sizeof(why), "connect %s: Connection refused", text);
	ck_assert_str_eq(c.fail, why);
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "connect");
	ck_assert_int_eq(sconce_failure(&c.sock)->errnum, ECONNREFUSED);
	ck_assert_int_eq(sconce_fd(&c.sock), -1);
	ck_assert_uint_eq(sconce_queued(&c.sock), 0);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	CK_LOG(c, "CdXZ");
}
END_TEST

/* The same for an fd that the application connects itself, whatever it watches; DS-27. */
START_TEST(test_connecting_own_fd_refused_is_told)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sconce_addr a;
	char text[64];

	plain_nobody(text, sizeof(text));
	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	ck_assert_int_eq(connect(fd, &a.any, a.len), -1);
	ck_assert_int_eq(errno, EINPROGRESS);
	conn_init(&c, &conn_ops, fd);
	ck_assert_int_eq(sconce_connecting(&c.sock), 0);
	ck_assert_int_eq(sconce_connecting(&c.sock), 0);
	ck_assert_int_eq(sconce_watch_write(&c.sock, true), 0);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, ECONNREFUSED);
	ck_assert_int_eq(sconce_fd(&c.sock), -1);
	ck_assert_int_eq(sconce_connecting(&c.sock), -EBADF);
}
END_TEST

/* An own fd that connects is told too, and then is like any other. */
START_TEST(test_connecting_own_fd_success_is_told)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), lfd;
	struct sconce_addr a;
	char text[64];

	lfd = plain_listen(1, text, sizeof(text));
	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	connect(fd, &a.any, a.len);
	conn_init(&c, &conn_ops, fd);
	ck_assert_int_eq(sconce_connecting(&c.sock), 0);
	ck_assert_int_eq(sconce_detach(&c.sock, NULL, 0, NULL), -EINPROGRESS);
	ck_assert_int_eq(sconce_connect(&c.sock, text), -EALREADY);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_int_eq(sconce_connect(&c.sock, text), -EISCONN);
	close(lfd);
}
END_TEST

/* An own fd that nobody has begun to connect does not count as connected. */
START_TEST(test_connecting_never_begun_is_enotconn)
{
	conn_init(&c, &conn_ops, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	ck_assert_int_eq(sconce_connecting(&c.sock), 0);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, ENOTCONN);
}
END_TEST

/* Without event_connect a failure closes the socket, with reason and errno. */
START_TEST(test_connect_refused_without_hook_closes)
{
	char text[64];

	plain_nobody(text, sizeof(text));
	conn_init(&c, &bare_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	net_settle();
	ck_assert_ptr_nonnull(strstr(c.log, "XZ"));
	ck_assert_int_eq(c.reason, SCONCE_REASON_CONNECT);
	ck_assert_int_eq(c.errnum, ECONNREFUSED);
	ck_assert_int_eq(c.done_status, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(c.fail, "Connection refused"));
}
END_TEST

/* An fd that only listens would never be told of: refused at once, and still the caller's. */
START_TEST(test_connect_fd_listening_is_einval)
{
	char text[64], endpoint[32], why[64];
	int lfd = plain_listen(1, text, sizeof(text));

	conn_init(&c, &conn_ops, -1);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", lfd);
	ck_assert_int_eq(sconce_connect(&c.sock, endpoint), -EINVAL);
	snprintf(why, sizeof(why), "connect fd %d: a listening socket", lfd);
	ck_assert_str_eq(sconce_failure(&c.sock)->text, why);
	ck_assert_int_eq(c.sock.fd, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);	/* as it was before */
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	close(lfd);
}
END_TEST

/* Port 0 is an address to listen on only; SF-16. */
START_TEST(test_connect_port_0_is_einval)
{
	struct sconce_endpoint ep;
	struct sconce_addr a;

	sconce_endpoint_init(&ep);
	strcpy(ep.host, "127.0.0.1");
	strcpy(ep.service, "0");
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_endpoint(&c.sock, &ep), -EINVAL);
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "parse");
	ck_assert_str_eq(sconce_failure(&c.sock)->text, "parse endpoint: port 0 cannot be connected to");
	strcpy(ep.host, "name");
	strcpy(ep.service, "00");
	ck_assert_int_eq(sconce_connect_endpoint(&c.sock, &ep), -EINVAL);
	ck_assert_int_eq(sconce_connect(&c.sock, "127.0.0.1:0"), -EINVAL);
	ck_assert_int_eq(sconce_addr_parse("127.0.0.1:0", &a, NULL), 0);
	ck_assert_int_eq(sconce_connect_addr(&c.sock, &a), -EINVAL);
	ck_assert_str_eq(sconce_failure(&c.sock)->text, "parse address: port 0 cannot be connected to");
	net_settle();
	CK_LOG(c, "");
	ck_assert_uint_eq(sconce_paused(&c.sock), 0);
}
END_TEST

/* A unix socket whose backlog is full is a failure, and so is a path that nobody has. */
START_TEST(test_connect_unix_failures_are_told)
{
	char name[64], why[128];
	struct sconce_addr a;
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	abstract_name(name, sizeof(name));
	ck_assert_int_eq(sconce_addr_parse(name, &a, NULL), 0);
	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 0), 0);
	fd = plain_connect(&a);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, name), 0);
	CK_LOG(c, "");
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, EAGAIN);
	conn_init(&d, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&d.sock, "unix:///no/such/path"), 0);
	net_settle();
	ck_assert_int_eq(d.connect_errnum, ENOENT);
	snprintf(why, sizeof(why), "connect /no/such/path: No such file or directory");
	ck_assert_str_eq(d.fail, why);
	close(fd);
	close(lfd);
}
END_TEST

static int lists_tried;

static int
counting_connect(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	lists_tried++;
	return sconce_backend_libev()->connect(fd, addr, len, ctx);
}

/* Addresses are tried in order until one answers. */
START_TEST(test_connect_list_next_address_is_tried)
{
	struct sconce_addr addrs[3];
	struct sconce_endpoint ep;
	char text[64], nobody[64], buf[4];
	int lfd = plain_listen(1, text, sizeof(text)), fd, before = t_fd_count();

	plain_nobody(nobody, sizeof(nobody));
	ck_assert_int_eq(sconce_addr_parse(nobody, &addrs[0], NULL), 0);
	ck_assert_int_eq(sconce_addr_parse("/no/such/path", &addrs[1], NULL), 0);
	ck_assert_int_eq(sconce_addr_parse(text, &addrs[2], NULL), 0);
	sconce_endpoint_init(&ep);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce__connect_list(&c.sock, &ep, addrs, 3), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	net_settle();
	CK_LOG(c, "CD");
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_str_eq(c.fail, "");			/* of the addresses before nothing is told */
	ck_assert_ptr_null(sconce_failure(&c.sock));
	ck_assert_int_eq(t_fd_count(), before + 1);	/* the ones that failed are closed */
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	close(fd);
	close(lfd);
}
END_TEST

/* When all have failed, the last one's reason is told, once. */
START_TEST(test_connect_list_all_failing_tells_the_last)
{
	struct sconce_addr addrs[3];
	struct sconce_endpoint ep;
	char nobody[64];

	backend.connect = counting_connect;
	lists_tried = 0;
	plain_nobody(nobody, sizeof(nobody));
	ck_assert_int_eq(sconce_addr_parse("/no/such/path", &addrs[0], NULL), 0);
	ck_assert_int_eq(sconce_addr_parse(nobody, &addrs[1], NULL), 0);
	ck_assert_int_eq(sconce_addr_parse(nobody, &addrs[2], NULL), 0);
	sconce_endpoint_init(&ep);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce__connect_list(&c.sock, &ep, addrs, 3), 0);
	CK_LOG(c, "");
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, ECONNREFUSED);
	ck_assert_int_eq(lists_tried, 3);
	conn_init(&d, &conn_ops, -1);		/* an empty list is no address */
	ck_assert_int_eq(sconce__connect_list(&d.sock, &ep, addrs, 0), 0);
	net_settle();
	ck_assert_int_eq(d.connect_errnum, EADDRNOTAVAIL);
}
END_TEST

static char again_text[64];

static void
connect_again(struct conn *conn, int errnum)
{
	if (errnum == 0)
		return;
	ck_assert_int_eq(sconce_connect(&conn->sock, again_text), 0);
	ck_assert_int_eq(sconce_write(&conn->sock, "again", 5), SCONCE_QUEUED);
}

/* After a failure the socket may be connected again, in the hook itself; it begins anew. */
START_TEST(test_connect_again_in_hook_succeeds)
{
	int lfd = plain_listen(1, again_text, sizeof(again_text)), fd;
	char nobody[64], buf[8];
	struct sconce_addr a;

	plain_nobody(nobody, sizeof(nobody));
	conn_init(&c, &conn_ops, -1);
	c.on_connect = connect_again;
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 5), 0);
	ck_assert_int_eq(sconce_connect(&c.sock, nobody), 0);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	net_settle();
	CK_LOG(c, "CdCD");
	ck_assert_int_eq(c.done_status, -ECONNREFUSED);
	ck_assert_int_eq(c.connect_errnum, 0);
	ck_assert_uint_eq(c.sock.errnum, 0);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, 5), 5);
	ck_assert_int_eq(memcmp(buf, "again", 5), 0);
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	close(fd);
	close(lfd);
}
END_TEST

static int again_left;

static void
connect_nobody_again(struct conn *conn, int errnum)
{
	ck_assert_int_ne(errnum, 0);
	if (again_left-- > 0)
		ck_assert_int_eq(sconce_connect(&conn->sock, "/no/such/path"), 0);
}

/* A hook that connects again and again, each failing at once, is called once per failure and never inside the call. */
START_TEST(test_connect_again_at_once_failing_does_not_recurse)
{
	conn_init(&c, &conn_ops, -1);
	c.on_connect = connect_nobody_again;
	again_left = 50;
	ck_assert_int_eq(sconce_connect(&c.sock, "/no/such/path"), 0);
	net_settle();
	ck_assert_int_eq(again_left, -1);
	ck_assert_uint_eq(strlen(c.log), 51);
}
END_TEST

/* ---- wrong calls ---- */

/* A wrong endpoint is told at once, by the call, and the record says what is wrong. */
START_TEST(test_connect_wrong_endpoint_is_einval)
{
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, "local host:80"), -EINVAL);
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "parse");
	ck_assert_str_eq(sconce_failure(&c.sock)->text,
		"endpoint 'local host:80': 'local host' is not an address or a name");
	ck_assert_int_eq(sconce_connect_addr(&c.sock, &(struct sconce_addr){ .len = 0 }), -EINVAL);
	net_settle();
	CK_LOG(c, "");
}
END_TEST

/* Only a socket without an fd can be connected, once at a time, and not when closed. */
START_TEST(test_connect_wrong_state_is_refused)
{
	char text[64];
	int sv[2], lfd = plain_listen(1, text, sizeof(text));

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&c, &conn_ops, sv[0]);
	ck_assert_int_eq(sconce_connect(&c.sock, text), -EISCONN);
	conn_init(&d, &conn_ops, -1);
	ck_assert_int_eq(sconce_connecting(&d.sock), -EBADF);
	ck_assert_int_eq(sconce_connect(&d.sock, text), 0);
	ck_assert_int_eq(sconce_connect(&d.sock, text), -EALREADY);
	sconce_close(&d.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_connect(&d.sock, text), -EBADF);
	ck_assert_int_eq(sconce_connecting(&d.sock), -EBADF);
	close(sv[1]);
	close(lfd);
}
END_TEST

/* ---- time ---- */

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

/* A connect that nobody answers ends when SCONCE_TIMEOUT_CONNECT does, with ETIMEDOUT; SF-22. */
START_TEST(test_connect_unanswered_is_etimedout)
{
	char text[64], why[128];
	int fds[4], lfd = full_listener(text, sizeof(text), fds);

	conn_init(&c, &conn_ops, -1);
	conn_init(&d, &bare_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_connect(&d.sock, text), 0);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 3), 0);
	ck_assert_int_eq(sconce_set_timeout(&d.sock, SCONCE_TIMEOUT_CONNECT, 3), 0);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	net_settle();
	net_pass(2.5);
	CK_LOG(c, "");
	net_pass(1);
	net_settle();
	CK_LOG(c, "Cd");
	ck_assert_int_eq(c.connect_errnum, ETIMEDOUT);
	ck_assert_int_eq(c.done_status, -ETIMEDOUT);
	snprintf(why, sizeof(why), "connect %s: Connection timed out", text);
	ck_assert_str_eq(c.fail, why);
	ck_assert_int_eq(sconce_fd(&c.sock), -1);
	ck_assert_double_eq(sconce_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT), 0);
	CK_LOG(d, "XZ");
	ck_assert_int_eq(d.errnum, ETIMEDOUT);
	ck_assert_int_eq(d.reason, SCONCE_REASON_CONNECT);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* The time is for all addresses together. */
START_TEST(test_connect_list_time_is_for_all)
{
	struct sconce_addr addrs[2];
	struct sconce_endpoint ep;
	char text[64], other[64];
	int fds[4], lfd = full_listener(text, sizeof(text), fds), lfd2 = plain_listen(1, other, sizeof(other));

	ck_assert_int_eq(sconce_addr_parse(text, &addrs[0], NULL), 0);
	ck_assert_int_eq(sconce_addr_parse(other, &addrs[1], NULL), 0);
	sconce_endpoint_init(&ep);
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce__connect_list(&c.sock, &ep, addrs, 2), 0);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 1), 0);
	net_settle();
	net_pass(1.5);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, ETIMEDOUT);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(lfd);
	close(lfd2);
}
END_TEST

/* An endpoint's own time holds for the fd that it names, too. */
START_TEST(test_connect_fd_time_is_the_endpoints)
{
	struct sconce_endpoint ep;
	char text[64];
	int fds[4], lfd = full_listener(text, sizeof(text), fds);

	sconce_endpoint_init(&ep);
	ep.options.timeout_ms = 1500;
	ep.fd = 999;
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect_endpoint(&c.sock, &ep), -EBADF);
	ck_assert_double_eq(sconce_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT), 0);
	ep.fd = fds[3];				/* which nobody answers */
	ck_assert_int_eq(sconce_connect_endpoint(&c.sock, &ep), 0);
	net_settle();
	net_pass(1);
	CK_LOG(c, "");
	net_pass(1);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(c.connect_errnum, ETIMEDOUT);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* A connect that ends in time is not timed any more; a time set on one that is connected means nothing. */
START_TEST(test_connect_in_time_timeout_is_cancelled)
{
	char text[64];
	int lfd = plain_listen(1, text, sizeof(text));

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 1), 0);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	NET_UNTIL(told(&c));
	ck_assert_double_eq(sconce_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT), 0);
	net_pass(2);
	net_settle();
	CK_LOG(c, "C");
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 1), 0);
	net_pass(2);
	net_settle();
	CK_LOG(c, "C");
	close(lfd);
}
END_TEST

/* ---- ends ---- */

/* A close while connecting tells nothing of the connect; what waited is cancelled; SF-21. */
START_TEST(test_close_connecting_is_silent)
{
	char text[64];
	int fds[4], lfd = full_listener(text, sizeof(text), fds);

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, 1), 0);
	ck_assert_int_eq(sconce_write_cb(&c.sock, conn_done, NULL), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_write(&c.sock, "abc", 3), SCONCE_QUEUED);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_pass(2);
	net_settle();
	ck_assert_ptr_null(strchr(c.log, 'C'));
	ck_assert_ptr_nonnull(strstr(c.log, "XZ"));
	ck_assert_int_eq(c.done_status, -ECANCELED);
	ck_assert_uint_eq(c.sock.unsent, 3);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* The same when the connect has been decided and not yet told. */
START_TEST(test_close_connect_decided_is_silent)
{
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, "/no/such/path"), 0);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	CK_LOG(c, "XZ");
	ck_assert_int_eq(c.reason, SCONCE_REASON_LOCAL);
}
END_TEST

static void
close_it(struct conn *conn, int errnum)
{
	(void)errnum;
	sconce_close(&conn->sock, SCONCE_REASON_LOCAL);
}

/* event_connect may close. */
START_TEST(test_connect_hook_closes_nothing_follows)
{
	char text[64];
	int lfd = plain_listen(2, text, sizeof(text));

	conn_init(&c, &conn_ops, -1);
	conn_init(&d, &conn_ops, -1);
	c.on_connect = d.on_connect = close_it;
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_connect(&d.sock, "/no/such/path"), 0);
	net_settle();
	CK_LOG(c, "CXZ");
	CK_LOG(d, "CXZ");
	ck_assert_int_eq(d.errnum, ENOENT);
	close(lfd);
}
END_TEST

/* close_flush while connecting still delivers what was written, and no hook but the farewell runs. */
START_TEST(test_close_flush_connecting_delivers)
{
	char text[64], buf[8];
	int lfd = plain_listen(1, text, sizeof(text)), fd;

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_write(&c.sock, "bye", 3), SCONCE_QUEUED);
	sconce_close_flush(&c.sock, 5);
	net_settle();
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_uint_eq(plain_read(fd, buf, sizeof(buf)), 3);	/* and the end */
	close(fd);
	net_settle();
	CK_LOG(c, "XZ");
	ck_assert_uint_eq(c.sock.unsent, 0);
	close(lfd);
}
END_TEST

/* close_flush of one that cannot be connected ends, with what was written counted. */
START_TEST(test_close_flush_refused_ends)
{
	char text[64];

	plain_nobody(text, sizeof(text));
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	ck_assert_int_eq(sconce_write_ref(&c.sock, "bye", 3, conn_done, NULL), SCONCE_QUEUED);
	sconce_close_flush(&c.sock, 5);
	net_settle();
	ck_assert_ptr_nonnull(strstr(c.log, "XZ"));
	ck_assert_ptr_null(strchr(c.log, 'C'));
	ck_assert_int_eq(c.done_status, -ECONNREFUSED);
	ck_assert_int_eq(c.errnum, ECONNREFUSED);
}
END_TEST

/* ---- what is told of a connection that breaks ---- */

/* The other end of c, whose peer is 127.0.0.1. */
static int
peer_of(int lfd, const char *text)
{
	int fd;

	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	NET_UNTIL(told(&c));
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void
reset(int fd)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* The record of a reset names the peer, if it is known, and is no send's when nothing was being sent. */
START_TEST(test_failure_reset_names_the_peer)
{
	char text[64], why[128];
	struct sconce_addr a;
	int lfd = plain_listen(2, text, sizeof(text)), fd;

	for (int i = 0; i < 4; i++) {
		fd = peer_of(lfd, text);
		if (i & 1)
			ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
		if (i & 2)
			sconce_watch_read(&c.sock, false);	/* else a read tells */
		net_settle();
		reset(fd);
		NET_UNTIL(c.err != 0);
		if (i & 1)
			snprintf(why, sizeof(why), "recv %s: Connection reset by peer", text);
		else
			snprintf(why, sizeof(why), "recv fd %d: Connection reset by peer", c.sock.fd);
		ck_assert_str_eq(c.fail, why);
		ck_assert_str_eq(sconce_failure(&c.sock)->operation, "recv");
		ck_assert_int_eq(sconce_failure(&c.sock)->errnum, ECONNRESET);
		sconce_close(&c.sock, SCONCE_REASON_LOCAL);
		net_settle();
	}
	close(lfd);
}
END_TEST

/* A send that fails is a send's failure, also when the peer's end has been read before; one without a name is its fd. */
START_TEST(test_failure_send_is_a_sends)
{
	char why[64];
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&c, &conn_ops, sv[0]);
	ck_assert_int_eq(shutdown(sv[1], SHUT_WR), 0);
	NET_UNTIL(c.end);
	close(sv[1]);
	ck_assert_int_ge(sconce_write(&c.sock, "x", 1), 0);
	NET_UNTIL(c.err != 0);
	ck_assert_int_eq(c.err, EPIPE);
	snprintf(why, sizeof(why), "send fd %d: Broken pipe", sv[0]);
	ck_assert_str_eq(c.fail, why);
	ck_assert_str_eq(sconce_failure(&c.sock)->operation, "send");
}
END_TEST

/* The same while the kernel has refused bytes: a reset then is what keeps them from being sent. */
START_TEST(test_failure_reset_of_a_stuck_send)
{
	static char big[8 * 1024 * 1024];
	char text[64], why[128];
	struct sconce_addr a;
	int lfd = plain_listen(2, text, sizeof(text)), fd = peer_of(lfd, text);

	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	sconce_watch_read(&c.sock, false);
	ck_assert_int_eq(sconce_write(&c.sock, big, sizeof(big)), SCONCE_QUEUED);
	net_settle();
	reset(fd);
	NET_UNTIL(c.err != 0);
	ck_assert_int_eq(c.err, ECONNRESET);
	snprintf(why, sizeof(why), "send %s: Connection reset by peer", text);
	ck_assert_str_eq(c.fail, why);
	close(lfd);
}
END_TEST

/* ---- what the kernel may answer ---- */

static int errno_once;
static const char *fail_call;

static int
failing_socket(int domain, int type, int protocol, void *ctx)
{
	if (strcmp(fail_call, "socket") == 0) {
		errno = errno_once;
		return -1;
	}
	return sconce_backend_libev()->socket(domain, type, protocol, ctx);
}

static int
failing_connect(int fd, const struct sockaddr *addr, socklen_t len, void *ctx)
{
	int r = sconce_backend_libev()->connect(fd, addr, len, ctx);

	if (strcmp(fail_call, "connect") == 0) {
		errno = errno_once;
		return -1;
	}
	return r;
}

static int
failing_getsockopt(int fd, int level, int name, void *val, socklen_t *len, void *ctx)
{
	if (strcmp(fail_call, "getsockopt") == 0) {
		errno = errno_once;
		return -1;
	}
	return sconce_backend_libev()->getsockopt(fd, level, name, val, len, ctx);
}

/* A call that fails is told through the hook, never by the call, and leaves no fd. */
START_TEST(test_connect_failing_calls_are_told)
{
	static const struct { const char *call, *operation; int errnum; } cases[] = {
		{ "socket", "socket", EMFILE }, { "socket", "socket", ENOBUFS }, { "connect", "connect", EADDRNOTAVAIL },
		{ "connect", "connect", ENETUNREACH }, { "connect", "connect", EACCES }, { "getsockopt", "connect", EBADF },
	};
	int before = t_fd_count(), lfd;
	char text[64];

	lfd = plain_listen(16, text, sizeof(text));
	backend.socket = failing_socket;
	backend.connect = failing_connect;
	backend.getsockopt = failing_getsockopt;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fail_call = cases[i].call;
		errno_once = cases[i].errnum;
		conn_init(&c, &conn_ops, -1);
		ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
		CK_LOG(c, "");
		NET_UNTIL(told(&c));
		ck_assert_int_eq(c.connect_errnum, cases[i].errnum);
		ck_assert_str_eq(sconce_failure(&c.sock)->operation, cases[i].operation);
		ck_assert_int_eq(t_fd_count(), before + 1);
		sconce_close(&c.sock, SCONCE_REASON_LOCAL);
		net_settle();
	}
	fail_call = "connect";			/* an interrupted connect goes on */
	errno_once = EINTR;
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
	NET_UNTIL(told(&c));
	ck_assert_int_eq(c.connect_errnum, 0);
	close(lfd);
}
END_TEST

/* ---- memory ---- */

/* Without memory a connect is refused or told, nothing leaks and the socket can be closed; HZ-22. */
START_TEST(test_connect_no_memory_is_told_or_refused)
{
	char text[64];
	int lfd = plain_listen(64, text, sizeof(text)), before, successes = 0;

	alloc_left = -1;
	backend.alloc = failing_alloc;
	before = t_fd_count();
	for (int n = 0; n < 12; n++) {
		int r;

		conn_init(&c, &conn_ops, -1);
		alloc_left = n;
		r = sconce_connect(&c.sock, text);
		ck_assert(r == 0 || r == -ENOMEM);
		for (int i = 0; i < 20 && r == 0 && !told(&c); i++)
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
	close(lfd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("connect");
	TCase *success = net_case(suite, "success"), *refused = net_case(suite, "refused"), *ends = net_case(suite, "ends");

	tcase_add_test(success, test_connect_tcp_is_told_from_the_loop);
	tcase_add_test(success, test_connect_other_families_succeed);
	tcase_add_test(success, test_connect_written_before_goes_after);
	tcase_add_test(success, test_connect_bind_option_decides_local_address);
	tcase_add_test(success, test_connect_bind_option_refused_is_told);
	tcase_add_test(success, test_connecting_own_fd_success_is_told);
	tcase_add_test(success, test_connect_list_next_address_is_tried);
	tcase_add_test(success, test_connect_again_in_hook_succeeds);
	tcase_add_test(refused, test_connect_refused_is_told_before_anything_else);
	tcase_add_test(refused, test_connecting_own_fd_refused_is_told);
	tcase_add_test(refused, test_connecting_never_begun_is_enotconn);
	tcase_add_test(refused, test_connect_refused_without_hook_closes);
	tcase_add_test(refused, test_connect_fd_listening_is_einval);
	tcase_add_test(refused, test_connect_port_0_is_einval);
	tcase_add_test(refused, test_connect_unix_failures_are_told);
	tcase_add_test(refused, test_connect_list_all_failing_tells_the_last);
	tcase_add_test(refused, test_connect_again_at_once_failing_does_not_recurse);
	tcase_add_test(refused, test_connect_wrong_endpoint_is_einval);
	tcase_add_test(refused, test_connect_wrong_state_is_refused);
	tcase_add_test(refused, test_connect_failing_calls_are_told);
	tcase_add_test(refused, test_connect_no_memory_is_told_or_refused);
	tcase_add_test(ends, test_connect_unanswered_is_etimedout);
	tcase_add_test(ends, test_connect_list_time_is_for_all);
	tcase_add_test(ends, test_connect_fd_time_is_the_endpoints);
	tcase_add_test(ends, test_connect_in_time_timeout_is_cancelled);
	tcase_add_test(ends, test_close_connecting_is_silent);
	tcase_add_test(ends, test_close_connect_decided_is_silent);
	tcase_add_test(ends, test_connect_hook_closes_nothing_follows);
	tcase_add_test(ends, test_close_flush_connecting_delivers);
	tcase_add_test(ends, test_close_flush_refused_ends);
	tcase_add_test(ends, test_failure_reset_names_the_peer);
	tcase_add_test(ends, test_failure_send_is_a_sends);
	tcase_add_test(ends, test_failure_reset_of_a_stuck_send);
	return suite;
}
