/* How connections of a fleet end: timeouts, shutdown, stop, abort, the loop's end. */
#include "test_fleet.h"

/* ---- timeouts ---- */

/* AC-19, TM-17: a peer that says nothing for the input timeout: timeout of the right connection, then closed, nothing left. */
START_TEST(test_silent_peer_times_out)
{
	struct sconce_fleet_options opts = { .input_timeout = 1 };
	int fds[2];

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	fleet_open(&fleet, "a", &fds[0]);
	net_pass(0.5);
	fleet_open(&fleet, "b", &fds[1]);
	fleet_log[0] = '\0';
	net_pass(0.6);
	ck_assert_str_eq(fleet_log, "a.timeout(open) a.closed(timeout) ");
	ck_assert_uint_eq(fleet.count, 1);
	net_pass(0.5);
	ck_assert_str_eq(fleet_log, "a.timeout(open) a.closed(timeout) b.timeout(open) b.closed(timeout) ");
	ck_assert_uint_eq(fleet.count, 0);
	ck_assert_uint_eq(fleet.timed_out, 2);
	ck_assert_uint_eq(sconce_count(loop), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* TM-17: input starts the input timeout again, output does not. */
START_TEST(test_input_restarts_the_timeout_output_does_not)
{
	struct sconce_fleet_options opts = { .input_timeout = 1 };
	struct sconce_fleet_conn *c;
	int fd;

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	c = fleet_open(&fleet, "a", &fd);
	net_pass(0.7);
	plain_say(fd, "x\n");
	net_settle();
	net_pass(0.7);
	ck_assert_uint_eq(fleet.timed_out, 0);
	ck_assert_int_ge(sconce_stream_put_bytes(&c->stream, "y", 1), 0);
	net_settle();
	net_pass(0.5);
	ck_assert_uint_eq(fleet.timed_out, 1);
	close(fd);
}
END_TEST

/* TM-9, TM-16: a connect that gets no answer times out, which is not `failed`; closed follows. */
START_TEST(test_unanswered_connect_times_out)
{
	struct sconce_fleet_options opts = { .connect_timeout = 2 };
	char text[64];
	int guests[2], lfd = plain_full(text, sizeof(text), guests);

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	fleet_begin(&fleet, text, "a");
	net_settle();
	net_pass(1.9);
	ck_assert_str_eq(fleet_log, "a.init ");
	net_pass(0.2);
	ck_assert_str_eq(fleet_log, "a.init a.timeout(connecting) a.closed(timeout) ");
	ck_assert_uint_eq(fleet.timed_out, 1);
	ck_assert_uint_eq(fleet.failed, 0);
	plain_full_close(lfd, guests);
}
END_TEST

/* TM-16, TM-18, TM-19: a target's timeouts count before the endpoint's, that before the fleet's; the default is 30 and 300;
 * negative is none. */
START_TEST(test_timeouts_of_targets)
{
	struct sconce_fleet_target t = { .connect_timeout = 7, .input_timeout = 8 }, off = { .connect_timeout = -1, .input_timeout = -1 };
	struct sconce_fleet_conn *standard, *own, *texts, *none;
	char text[64], with[96];
	int lfd = plain_listen(8, text, sizeof(text));

	snprintf(with, sizeof(with), "%s?timeout=2.5", text);
	standard = fleet_begin(&fleet, text, "a");
	ck_assert_int_eq(sconce_fleet_connect(&fleet, with, &t, &own, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, with, NULL, &texts, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, text, &off, &none, NULL), 0);
	ck_assert_double_eq_tol(sconce_fleet_timeout(standard), 30, 1e-6);
	ck_assert_double_eq_tol(sconce_fleet_timeout(own), 7, 1e-6);
	ck_assert_double_eq_tol(sconce_fleet_timeout(texts), 2.5, 1e-6);
	ck_assert_double_eq(sconce_fleet_timeout(none), 0);
	NET_UNTIL(fleet.connected == 4);
	ck_assert_double_eq_tol(sconce_fleet_timeout(standard), 300, 1e-6);
	ck_assert_double_eq_tol(sconce_fleet_timeout(own), 8, 1e-6);
	ck_assert_double_eq_tol(sconce_fleet_timeout(texts), 300, 1e-6);
	ck_assert_double_eq(sconce_fleet_timeout(none), 0);
	net_pass(10);
	ck_assert_uint_eq(fleet.timed_out, 1);		/* only that of 8: the connect's are over */
	close(lfd);
}
END_TEST

static void
set_two(struct sconce_fleet_conn *c)
{
	ck_assert_int_eq(sconce_fleet_set_timeout(c, 2), 0);
}

/* TM-4, TM-29: set in init it is that of the connect, in connected that of input; 0 is none; the getter changes nothing. */
START_TEST(test_set_timeout_is_of_the_phase)
{
	char text[64];
	int guests[2], lfd = plain_full(text, sizeof(text), guests), fd;
	struct sconce_fleet_conn *c;

	on.init = set_two;
	c = fleet_begin(&fleet, text, "a");
	net_settle();
	ck_assert_double_eq_tol(sconce_fleet_timeout(c), 2, 1e-6);
	net_pass(2.1);
	ck_assert_uint_eq(fleet.timed_out, 1);
	NET_UNTIL(fleet.count == 0);
	on.init = NULL;
	on.connected = set_two;
	c = fleet_open(&fleet, "b", &fd);
	ck_assert_double_eq_tol(sconce_fleet_timeout(c), 2, 1e-6);
	ck_assert_int_eq(sconce_fleet_set_timeout(c, 0), 0);
	net_pass(400);
	ck_assert_uint_eq(fleet.timed_out, 1);
	ck_assert_int_eq(sconce_fleet_set_timeout(c, 25 * 86400.0), -EINVAL);
	sconce_fleet_shutdown(c);
	ck_assert_int_eq(sconce_fleet_set_timeout(c, 2), -EBADF);
	ck_assert_double_eq(sconce_fleet_timeout(c), 0);
	plain_full_close(lfd, guests);
	close(fd);
}
END_TEST

/* AC-20: asking for the timeout does not touch it. */
START_TEST(test_getter_does_not_touch_the_timer)
{
	struct sconce_fleet_conn *c;
	int fd;

	c = fleet_open(&fleet, "a", &fd);
	sconce_fleet_set_timeout(c, 1);
	for (int i = 0; i < 9; i++) {
		net_pass(0.1);
		ck_assert_double_eq_tol(sconce_fleet_timeout(c), 1, 1e-6);
	}
	ck_assert_uint_eq(fleet.timed_out, 0);
	net_pass(0.2);
	ck_assert_uint_eq(fleet.timed_out, 1);
	close(fd);
}
END_TEST

static unsigned more;

static void
give_more(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase)
{
	ck_assert_int_eq(phase, sconce_fleet_phase(c));
	if (more-- > 0)
		ck_assert_int_eq(sconce_fleet_set_timeout(c, 1), 0);
}

/* TM-9: the hook may give more time, in either phase; what it gave is not counted as timed out. */
START_TEST(test_timeout_hook_may_give_more_time)
{
	char text[64];
	int guests[2], lfd = plain_full(text, sizeof(text), guests), fd;
	struct sconce_fleet_conn *c = fleet_begin(&fleet, text, "a");

	on.timeout = give_more;
	more = 2;
	net_settle();
	sconce_fleet_set_timeout(c, 1);
	net_pass(1.1);
	net_pass(1.1);
	ck_assert_uint_eq(fleet.timed_out, 0);
	net_pass(1.1);
	ck_assert_uint_eq(fleet.timed_out, 1);
	ck_assert_str_eq(fleet_log, "a.init a.timeout(connecting) a.timeout(connecting) a.timeout(connecting) a.closed(timeout) ");
	c = fleet_open(&fleet, "b", &fd);
	sconce_fleet_set_timeout(c, 1);
	fleet_log[0] = '\0';
	more = 1;
	net_pass(1.1);
	ck_assert_str_eq(fleet_log, "b.timeout(open) ");
	net_pass(1.1);
	ck_assert_str_eq(fleet_log, "b.timeout(open) b.timeout(open) b.closed(timeout) ");
	plain_full_close(lfd, guests);
	close(fd);
}
END_TEST

/* ---- shutdown ---- */

enum { BIG = 5 * 1000 * 1000 };

/* Reads all that comes while the loop turns; how much. */
static size_t
read_all(int fd)
{
	static char buf[256 * 1024];
	size_t len = 0;

	for (int turn = 0; turn < 20000; turn++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		len += n > 0 ? (size_t)n : 0;
		sconce_loop_step(loop, n > 0 ? 0 : 0.001);
	}
	return len;
}

static void
never(struct sconce_fleet_conn *c)
{
	ck_abort_msg("%s: not while it is being shut down", sconce_fleet_endpoint(c));
}

/* TM-23: what is queued arrives, all 5 MB of it, and then comes the end; shutting down again does nothing; no hook but closed. */
START_TEST(test_shutdown_sends_what_is_queued)
{
	char *big = calloc(1, BIG);
	struct sconce_fleet_conn *c;
	int fd;

	c = fleet_open(&fleet, "a", &fd);
	ck_assert_int_eq(sconce_write(&c->stream.sock, big, BIG), SCONCE_QUEUED);
	free(big);
	on.drained = never;
	sconce_fleet_shutdown(c);
	sconce_fleet_shutdown(c);
	ck_assert_int_eq(sconce_fleet_phase(c), SCONCE_FLEET_ENDING);
	ck_assert_int_eq(sconce_write(&c->stream.sock, "x", 1), -EPIPE);
	ck_assert_uint_eq(read_all(fd), BIG);
	ck_assert_uint_eq(fleet.count, 1);		/* the peer's end is awaited */
	sconce_fleet_shutdown(c);
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(local) ");
}
END_TEST

static void
note_unsent(struct sconce_fleet_conn *c)
{
	ck_assert_uint_gt(c->stream.sock.unsent, 0);
}

/* TM-23: a peer that does not read is waited for as long as `linger` says, and what it did not get is counted. */
START_TEST(test_shutdown_lingers_no_longer_than_it_may)
{
	struct sconce_fleet_options opts = { .linger = 3 };
	char *big = calloc(1, 4 * BIG);
	struct sconce_fleet_conn *c;
	int fd;

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	c = fleet_open(&fleet, "a", &fd);
	ck_assert_int_eq(sconce_write(&c->stream.sock, big, 4 * BIG), SCONCE_QUEUED);
	free(big);
	sconce_fleet_shutdown(c);
	net_settle();
	net_pass(2.9);
	ck_assert_uint_eq(fleet.count, 1);
	on.closed = note_unsent;
	net_pass(0.2);
	ck_assert_uint_eq(fleet.count, 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(timeout) ");
	close(fd);
}
END_TEST

/* TM-22, TM-23: one that is still connecting ends at once, unless something waits to be sent. */
START_TEST(test_shutdown_while_connecting)
{
	char text[64], buf[8] = "";
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	struct sconce_fleet_conn *a = fleet_begin(&fleet, text, "a"), *b = fleet_begin(&fleet, text, "b");

	sconce_fleet_send(&fleet, sconce_fleet_id(b), "late", 4);
	sconce_fleet_shutdown(a);
	sconce_fleet_shutdown(b);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	close(fd);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	NET_UNTIL(fleet.count == 1);
	net_settle();
	ck_assert_uint_eq(plain_read(fd, buf, 6), 6);
	ck_assert_str_eq(buf, "late\r\n");
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_ptr_nonnull(strstr(fleet_log, "a.closed(local) "));
	ck_assert_ptr_nonnull(strstr(fleet_log, "b.closed(local) "));
	ck_assert_uint_eq(fleet.connected, 0);
	close(lfd);
}
END_TEST

enum { BY_STOP = 1, SPEAKS_AFTER = 2, WAYS = 4, IN_KERNEL = 150 * 1000 };

static void
end_in_order(struct sconce_fleet_conn *c, bool by_stop)
{
	if (by_stop)
		sconce_fleet_stop(c->fleet, 30, NULL, NULL);
	else
		sconce_fleet_shutdown(c);
}

/* TM-23, TM-24: what the kernel has and the peer has not arrives, though the peer spoke before and was not read, or speaks
 * behind it: a close at once would answer that with a reset. */
START_TEST(test_shutdown_awaits_what_the_kernel_has)
{
	static char big[IN_KERNEL];
	int small = 4096, large = 200 * 1000, lfd, fd;
	struct sconce_fleet_conn *c;
	char text[64];

	lfd = plain_listen(4, text, sizeof(text));
	setsockopt(lfd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	c = fleet_begin(&fleet, text, "a");
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	NET_UNTIL(fleet.connected == 1);
	setsockopt(c->stream.sock.fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
	sconce_watch_read(&c->stream.sock, false);
	if (!(_i & SPEAKS_AFTER))
		plain_say(fd, "250 ok\n");
	ck_assert_int_ge(sconce_write(&c->stream.sock, big, sizeof(big)), 0);
	net_settle();
	ck_assert_uint_eq(sconce_queued(&c->stream.sock), 0);	/* the kernel has it all */
	end_in_order(c, _i & BY_STOP);
	net_settle();
	if (_i & SPEAKS_AFTER)
		plain_say(fd, "250 ok\n");
	ck_assert_uint_eq(read_all(fd), sizeof(big));
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(local) ");
	close(lfd);
}
END_TEST

/* TM-23, TM-24: a transfer that has not given a byte yet is waited for as any other item. */
START_TEST(test_shutdown_awaits_a_transfer)
{
	char bytes[100] = "";
	struct sconce_fleet_conn *c;
	struct conn source;
	int sv[2], fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	conn_init(&source, &conn_ops, sv[0]);
	c = fleet_open(&fleet, "a", &fd);
	ck_assert_int_ge(sconce_transfer(&source.sock, &c->stream.sock, sizeof(bytes), NULL, NULL), 0);
	net_settle();
	end_in_order(c, _i & BY_STOP);
	net_settle();
	ck_assert_str_eq(fleet_log, "a.init a.connected ");
	ck_assert_int_eq(send(sv[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	ck_assert_uint_eq(read_all(fd), sizeof(bytes));
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(local) ");
	sconce_close(&source.sock, 0);
	net_settle();
	close(sv[1]);
}
END_TEST

/* ---- all of a fleet ---- */

static unsigned dones;
static void *done_arg;

static void
note_done(struct sconce_fleet *f, void *arg)
{
	dones++;
	done_arg = arg;
	ck_assert_uint_eq(f->count, 0);
	ck_assert_uint_eq(f->started, f->closed);
}

/* TM-24, AC-20: a stop ends all of its fleet in order, drops what waits, and leaves another fleet alone; done comes once. */
START_TEST(test_stop_ends_its_own_fleet_only)
{
	static const struct sconce_fleet_ops other_ops = { PROBE_OPS, .record = probe_record };
	struct sconce_fleet other;
	char text[64];
	int lfd = plain_listen(16, text, sizeof(text)), fds[3];

	dones = 0;
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &other_ops, NULL), 0);
	fleet_open(&fleet, "a", &fds[0]);
	fleet_open(&fleet, "b", &fds[1]);
	fleet_open(&other, "c", &fds[2]);
	fleet_begin(&fleet, text, "d");
	ck_assert_int_eq(sconce_fleet_queue(&fleet, text, NULL, NULL), 0);
	ck_assert_uint_eq(fleet.waiting, 1);
	sconce_fleet_stop(&fleet, 5, note_done, &lfd);
	ck_assert_uint_eq(dones, 0);
	ck_assert_uint_eq(fleet.waiting, 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, text, NULL, NULL, NULL), -EPIPE);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, text, NULL, NULL), -EPIPE);
	ck_assert_int_eq(sconce_fleet_feed(&fleet, NULL, NULL), -EPIPE);
	NET_UNTIL(dones == 1);
	ck_assert_ptr_eq(done_arg, &lfd);
	ck_assert_uint_eq(fleet.closed, 3);
	plain_say(fds[2], "still here\n");
	NET_UNTIL(strstr(fleet_log, "c.record(still here)") != NULL);
	ck_assert_uint_eq(other.count, 1);
	net_pass(10);
	ck_assert_uint_eq(dones, 1);
	sconce_fleet_abort(&other);
	net_settle();
	sconce_fleet_fini(&other);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* TM-24: what does not end by the deadline is closed then; a second stop may only shorten it. */
START_TEST(test_stop_has_a_deadline)
{
	char *big = calloc(1, 4 * BIG);
	struct sconce_fleet_conn *c;
	int fd;

	dones = 0;
	c = fleet_open(&fleet, "a", &fd);
	ck_assert_int_eq(sconce_write(&c->stream.sock, big, 4 * BIG), SCONCE_QUEUED);
	free(big);
	sconce_fleet_stop(&fleet, 5, note_done, NULL);
	sconce_fleet_stop(&fleet, 2, note_done, &fd);
	sconce_fleet_stop(&fleet, 9, note_done, &fd);
	net_settle();
	net_pass(1.9);
	ck_assert_uint_eq(dones, 0);
	net_pass(0.2);
	ck_assert_uint_eq(dones, 1);
	ck_assert_ptr_eq(done_arg, &fd);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(timeout) ");
	close(fd);
}
END_TEST

static void
fini_it(struct sconce_fleet *f, void *arg)
{
	dones++;
	sconce_fleet_fini(f);
	memset(f, 0xee, sizeof(*f));
	free(arg);
}

/* TM-24: with nobody there done comes in the next turn; it may release the fleet, here and behind the last connection. */
START_TEST(test_done_may_release_the_fleet)
{
	struct sconce_fleet *f;
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));

	dones = 0;
	for (unsigned i = 0; i < 2; i++) {
		f = malloc(sizeof(*f));
		ck_assert_int_eq(sconce_fleet_init(f, loop, &probe_ops, NULL), 0);
		if (i == 1)
			fleet_begin(f, text, "a");
		sconce_fleet_stop(f, 0, fini_it, f);
		ck_assert_uint_eq(dones, i);
		NET_UNTIL(dones == i + 1);
	}
	net_settle();
	close(lfd);
}
END_TEST

static void
stop_it(struct sconce_fleet_conn *c)
{
	sconce_fleet_stop(c->fleet, 0, note_done, NULL);
}

/* A stop from the last connection's closed is told all the same. */
START_TEST(test_stop_from_closed)
{
	int fd;

	dones = 0;
	on.closed = stop_it;
	fleet_open(&fleet, "a", &fd);
	close(fd);
	NET_UNTIL(dones == 1);
}
END_TEST

/* Aborting resets what is open, forgets what waits, and the fleet goes on. */
START_TEST(test_abort_resets_all)
{
	char text[64], c;
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	struct sconce_fleet_conn *a = fleet_open(&fleet, "a", &fd);

	fleet_begin(&fleet, text, "b");
	sconce_fleet_queue(&fleet, text, NULL, NULL);
	sconce_fleet_abort(&fleet);
	ck_assert_ptr_null(sconce_fleet_find(&fleet, sconce_fleet_id(a)));
	ck_assert_uint_eq(fleet.waiting, 0);
	net_settle();
	ck_assert_str_eq(fleet_log, "a.init a.connected b.init a.closed(abort) b.closed(abort) ");
	ck_assert_int_eq(recv(fd, &c, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	close(fd);
	fleet_open(&fleet, "c", &fd);
	close(fd);
	close(lfd);
}
END_TEST

static void
refuse_more(struct sconce_fleet_conn *c)
{
	ck_assert_int_eq(sconce_fleet_connect(c->fleet, "127.0.0.1:1", NULL, NULL, NULL), -ESHUTDOWN);
	sconce_fleet_queue(c->fleet, "127.0.0.1:1", NULL, NULL);
}

/* TM-8: the loop's end is told to each connection once, in whichever phase it is; init before it. */
START_TEST(test_loop_free_is_told)
{
	char text[64];
	int lfd = plain_listen(8, text, sizeof(text)), fd;

	fleet_open(&fleet, "a", &fd);
	fleet_begin(&fleet, text, "b");
	net_settle();
	fleet_begin(&fleet, text, "c");
	fleet_log[0] = '\0';
	on.closed = refuse_more;
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_str_eq(fleet_log, "a.closed(loop) b.closed(loop) c.init c.closed(loop) ");
	ck_assert_uint_eq(fleet.count, 0);
	close(fd);
	close(lfd);
}
END_TEST

/* TM-24: a stop that the loop's end overtakes is done all the same, once. */
START_TEST(test_loop_free_ends_a_stop)
{
	char *big = calloc(1, 4 * BIG);
	struct sconce_fleet_conn *c;
	int fd;

	dones = 0;
	c = fleet_open(&fleet, "a", &fd);
	ck_assert_int_eq(sconce_write(&c->stream.sock, big, 4 * BIG), SCONCE_QUEUED);
	free(big);
	sconce_fleet_stop(&fleet, 5, note_done, NULL);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	ck_assert_uint_eq(dones, 1);
	close(fd);
}
END_TEST

/* The memory of a connection that is held stays after closed, and count tells so. */
START_TEST(test_hold_keeps_the_memory)
{
	struct sconce_fleet_conn *c;
	int fd;

	c = fleet_open(&fleet, "a", &fd);
	sconce_hold(&c->stream.sock);
	sconce_fleet_shutdown(c);
	net_settle();
	ck_assert_str_eq(fleet_log, "a.init a.connected a.closed(local) ");
	ck_assert_uint_eq(fleet.count, 1);
	ck_assert_str_eq((char *)c->arg, "a");
	sconce_release(&c->stream.sock);
	net_settle();
	ck_assert_uint_eq(fleet.count, 0);
	close(fd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("fleet_end");
	TCase *tcase = fleet_case(suite, "timeouts");

	tcase_add_test(tcase, test_silent_peer_times_out);
	tcase_add_test(tcase, test_input_restarts_the_timeout_output_does_not);
	tcase_add_test(tcase, test_unanswered_connect_times_out);
	tcase_add_test(tcase, test_timeouts_of_targets);
	tcase_add_test(tcase, test_set_timeout_is_of_the_phase);
	tcase_add_test(tcase, test_getter_does_not_touch_the_timer);
	tcase_add_test(tcase, test_timeout_hook_may_give_more_time);
	tcase = fleet_case(suite, "shutdown");
	tcase_add_test(tcase, test_shutdown_sends_what_is_queued);
	tcase_add_test(tcase, test_shutdown_lingers_no_longer_than_it_may);
	tcase_add_test(tcase, test_shutdown_while_connecting);
	tcase_add_loop_test(tcase, test_shutdown_awaits_what_the_kernel_has, 0, WAYS);
	tcase_add_loop_test(tcase, test_shutdown_awaits_a_transfer, 0, 2);
	tcase = fleet_case(suite, "all");
	tcase_add_test(tcase, test_stop_ends_its_own_fleet_only);
	tcase_add_test(tcase, test_stop_has_a_deadline);
	tcase_add_test(tcase, test_done_may_release_the_fleet);
	tcase_add_test(tcase, test_stop_from_closed);
	tcase_add_test(tcase, test_abort_resets_all);
	tcase_add_test(tcase, test_loop_free_is_told);
	tcase_add_test(tcase, test_loop_free_ends_a_stop);
	tcase_add_test(tcase, test_hold_keeps_the_memory);
	return suite;
}
