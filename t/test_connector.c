/* The connector: a bare fd handed over, failures, cancelling; and what a unix peer is. */
#include "names.h"

static struct result {
	int calls, fd, errnum;
	char peer[SCONCE_ADDR_TEXT], operation[32];
	struct sconce_connector *cancels;	/* done() cancels that one */
} one, two;

static void
done(void *arg, int fd, const struct sconce_addr *peer, const struct sconce_fail *fail)
{
	struct result *r = arg;

	r->calls++;
	r->fd = fd;
	ck_assert_int_eq(fd >= 0, fail == NULL);
	ck_assert_int_eq(fd >= 0, peer != NULL);
	if (peer != NULL)
		sconce_addr_text(peer, r->peer, sizeof(r->peer));
	if (fail != NULL) {
		r->errnum = fail->errnum;
		snprintf(r->operation, sizeof(r->operation), "%s", fail->operation);
	}
	sconce_connector_cancel(r->cancels);
}

static void
results_clear(void)
{
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
}

/* The fd is handed over once, open and nobody else's, with the peer's address; SF-12, SF-16. */
START_TEST(test_connector_hands_over_fd)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text)), before = t_fd_count(), fd;
	char buf[4];

	results_clear();
	ck_assert_int_eq(sconce_connector_start(loop, text, done, &one, NULL, NULL), 0);
	ck_assert_int_eq(one.calls, 0);
	NET_UNTIL(one.calls == 1);
	net_settle();
	ck_assert_int_eq(one.calls, 1);
	ck_assert_str_eq(one.peer, text);
	ck_assert_int_eq(fcntl(one.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	ck_assert_int_eq(fcntl(one.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_uint_eq(sconce_count(loop), 0);
	ck_assert_int_eq(t_fd_count(), before + 1);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(write(one.fd, "abc", 3), 3);
	ck_assert_uint_eq(plain_read(fd, buf, 3), 3);
	close(one.fd);
	close(fd);
	close(lfd);
}
END_TEST

/* A failure comes with operation and errno, once; a wrong endpoint at once, by the call; SF-2, SF-13. */
START_TEST(test_connector_failure_is_told)
{
	struct sconce_fail fail;
	char text[64];
	int before = t_fd_count(), fd;

	results_clear();
	plain_nobody(text, sizeof(text));
	ck_assert_int_eq(sconce_connector_start(loop, text, done, &one, NULL, NULL), 0);
	ck_assert_int_eq(sconce_connector_start(loop, "no.name:80", done, &two, NULL, NULL), 0);
	NET_UNTIL(one.calls == 1 && two.calls == 1);
	net_settle();
	ck_assert_int_eq(one.fd, -1);
	ck_assert_int_eq(one.errnum, ECONNREFUSED);
	ck_assert_str_eq(one.operation, "connect");
	ck_assert_int_eq(two.errnum, EADDRNOTAVAIL);
	ck_assert_str_eq(two.operation, "getaddrinfo");
	results_clear();
	ck_assert_int_eq(sconce_connector_start(loop, "80", done, &one, NULL, &fail), -EINVAL);
	ck_assert_str_eq(fail.operation, "parse");
	ck_assert_int_eq(sconce_connector_start(loop, "80", done, &one, NULL, NULL), -EINVAL);
	ck_assert_int_eq(sconce_connector_start(loop, "fd://999", done, &one, NULL, &fail), -EBADF);
	ck_assert_str_eq(fail.text, "fcntl fd 999: Bad file descriptor");
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	snprintf(text, sizeof(text), "fd://%d", fd);
	ck_assert_int_eq(sconce_connector_start(loop, text, done, &one, NULL, &fail), -EPERM);
	ck_assert_int_eq(fail.errnum, EPERM);
	ck_assert_int_eq(close(fd), 0);		/* it is still ours */
	net_settle();
	ck_assert_int_eq(one.calls, 0);
	ck_assert_uint_eq(sconce_count(loop), 0);
	ck_assert_int_eq(t_fd_count(), before);
}
END_TEST

/* What has no peer's address is handed over without. */
START_TEST(test_connector_pipe_has_no_peer)
{
	char endpoint[32];
	int fds[2];

	results_clear();
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	snprintf(endpoint, sizeof(endpoint), "fd://%d", fds[0]);
	ck_assert_int_eq(sconce_connector_start(loop, endpoint, done, &one, NULL, NULL), 0);
	NET_UNTIL(one.calls == 1);
	ck_assert_int_eq(one.fd, fds[0]);
	ck_assert_str_eq(one.peer, "?");
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Cancelled, during the look-up, the connect, or by another's done(), nothing is told and nothing stays open; SF-21. */
START_TEST(test_connector_cancel_is_silent)
{
	struct sconce_connector *first, *second;
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text)), before = t_fd_count();

	results_clear();
	ck_assert_int_eq(sconce_connector_start(loop, "some.name:80", done, &one, &first, NULL), 0);
	ck_assert_int_eq(sconce_connector_start(loop, text, done, &two, &second, NULL), 0);
	sconce_connector_cancel(first);
	sconce_connector_cancel(second);
	sconce_connector_cancel(NULL);
	net_settle();
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert_int_eq(sconce_connector_start(loop, text, done, &one, NULL, NULL), 0);
	ck_assert_int_eq(sconce_connector_start(loop, "fd://999", done, &two, NULL, NULL), -EBADF);
	ck_assert_int_eq(sconce_connector_start(loop, "slow:80", done, &two, &one.cancels, NULL), 0);
	NET_UNTIL(one.calls == 1);
	net_settle();
	ck_assert_int_eq(two.calls, 0);
	close(one.fd);
	close(lfd);
}
END_TEST

/* Freed with connectors under way the loop tells them so. */
START_TEST(test_connector_loop_freed_is_ecanceled)
{
	results_clear();
	ck_assert_int_eq(sconce_connector_start(loop, "some.name:80", done, &one, NULL, NULL), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(one.calls, 1);
	ck_assert_int_eq(one.errnum, ECANCELED);
}
END_TEST

/* The same when an address has failed already: what is told is why it ended, not why that did. */
START_TEST(test_connector_loop_freed_after_a_failure_is_ecanceled)
{
	char nobody[64], slow[64];
	struct sconce_addr a;
	int lfd = plain_listen(0, slow, sizeof(slow)), fds[4];

	ck_assert_int_eq(sconce_addr_parse(slow, &a, NULL), 0);
	for (int i = 0; i < 4; i++) {		/* its backlog is full: it answers no more */
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], &a.any, a.len);
	}
	results_clear();
	plain_nobody(nobody, sizeof(nobody));
	names_add("name", nobody);
	names_add("name", slow);
	ck_assert_int_eq(sconce_connector_start(loop, "name:1", done, &one, NULL, NULL), 0);
	while (names.calls == 0)
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	net_settle();
	ck_assert_int_eq(one.calls, 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_int_eq(one.calls, 1);
	ck_assert_int_eq(one.errnum, ECANCELED);
	ck_assert_str_eq(one.operation, "connect");
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* The id of a connection is not given to another, though its place is; who asks for it finds nobody; SF-19. */
START_TEST(test_connect_id_never_comes_again)
{
	static struct conn c;
	char text[64];
	int lfd = plain_listen(8, text, sizeof(text));
	uint64_t ids[8];

	for (int i = 0; i < 8; i++) {
		conn_init(&c, &conn_ops, -1);
		ck_assert_int_eq(sconce_connect(&c.sock, text), 0);
		ids[i] = c.sock.id;
		ck_assert_ptr_eq(sconce_find(loop, ids[i]), &c.sock);
		NET_UNTIL(c.log[0] == 'C');
		ck_assert_uint_eq(c.sock.id, ids[i]);
		sconce_close(&c.sock, SCONCE_REASON_LOCAL);
		net_settle();
		for (int j = 0; j <= i; j++) {
			ck_assert_ptr_null(sconce_find(loop, ids[j]));
			ck_assert(j == i || ids[j] != ids[i]);
		}
	}
	close(lfd);
}
END_TEST

/* ---- what is at the other end ---- */

/* A unix peer has credentials, others have none; EM-11, EM-53. */
START_TEST(test_peer_cred_only_of_unix)
{
	static struct conn c;
	struct sconce_cred cred;
	int sv[2], fd, lfd;
	struct sconce_addr a;
	char text[64];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&c, &conn_ops, sv[0]);
	ck_assert_int_eq(sconce_peer_cred(&c.sock, &cred), 0);
	ck_assert_int_eq(cred.pid, getpid());
	ck_assert_uint_eq(cred.uid, geteuid());
	ck_assert_uint_eq(cred.gid, getegid());
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_int_eq(sconce_peer_cred(&c.sock, &cred), -EBADF);
	lfd = plain_listen(1, text, sizeof(text));
	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	fd = plain_connect(&a);
	conn_init(&c, &conn_ops, fd);
	ck_assert_int_eq(sconce_peer_cred(&c.sock, &cred), -EOPNOTSUPP);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	conn_init(&c, &conn_ops, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	ck_assert_int_eq(sconce_peer_cred(&c.sock, &cred), -ENOTCONN);
	close(sv[1]);
	close(lfd);
}
END_TEST

/* What an fd is can be asked: socket or not, family, type, whether it listens; EM-53. */
START_TEST(test_fd_info_tells_kind)
{
	struct sconce_fd_info info;
	char text[64];
	int lfd = plain_listen(1, text, sizeof(text)), sv[2], fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_fd_info(lfd, &info), 0);
	ck_assert(info.is_socket && info.listening);
	ck_assert_int_eq(info.family, AF_INET);
	ck_assert_int_eq(info.type, SOCK_STREAM);
	ck_assert_int_eq(info.protocol, IPPROTO_TCP);
	ck_assert_int_eq(sconce_fd_info(sv[0], &info), 0);
	ck_assert(info.is_socket && !info.listening);
	ck_assert_int_eq(info.family, AF_UNIX);
	ck_assert_int_eq(info.type, SOCK_DGRAM);
	ck_assert_int_eq(sconce_fd_info(fds[0], &info), 0);
	ck_assert(!info.is_socket && !info.listening && info.type == 0);
	ck_assert_int_eq(sconce_fd_info(999, &info), -EBADF);
	close(sv[0]);
	close(sv[1]);
	close(fds[0]);
	close(fds[1]);
	close(lfd);
}
END_TEST

/* Without memory it is refused, or told even without a record; HZ-22. */
START_TEST(test_connector_no_memory_is_told_or_refused)
{
	int before = t_fd_count(), refused = 0, failed = 0;
	char text[64];

	plain_nobody(text, sizeof(text));
	alloc_left = -1;
	backend.alloc = failing_alloc;
	for (int n = 0; n < 14; n++) {
		struct sconce_fail fail = { .errnum = 0 };
		int r;

		results_clear();
		alloc_left = n;
		r = sconce_connector_start(loop, text, done, &one, NULL, &fail);
		ck_assert(r == 0 || r == -ENOMEM);
		ck_assert_int_eq(fail.errnum, -r);
		refused += r < 0;
		for (int i = 0; i < 100 && r == 0 && one.calls == 0; i++)
			sconce_loop_step(loop, 0.01);
		alloc_left = -1;
		failed += r == 0 && one.calls == 1 && one.errnum > 0;
		ck_assert_int_eq(one.calls, r == 0);
		net_settle();
		ck_assert_int_eq(t_fd_count(), before);
	}
	ck_assert_int_gt(refused, 1);
	ck_assert_int_gt(failed, 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("connector");
	TCase *connector = names_case(suite, "connector"), *kinds = names_case(suite, "kinds");

	tcase_add_test(connector, test_connector_hands_over_fd);
	tcase_add_test(connector, test_connector_failure_is_told);
	tcase_add_test(connector, test_connector_pipe_has_no_peer);
	tcase_add_test(connector, test_connector_cancel_is_silent);
	tcase_add_test(connector, test_connector_loop_freed_is_ecanceled);
	tcase_add_test(connector, test_connector_loop_freed_after_a_failure_is_ecanceled);
	tcase_add_test(connector, test_connect_id_never_comes_again);
	tcase_add_test(connector, test_connector_no_memory_is_told_or_refused);
	tcase_add_test(kinds, test_peer_cred_only_of_unix);
	tcase_add_test(kinds, test_fd_info_tells_kind);
	return suite;
}
