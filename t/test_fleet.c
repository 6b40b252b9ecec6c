/* Fleets: what a connection is told and in which order, and what a target says. */
#include "starve.h"

#include "test_fleet.h"

#include <sconce/inspect.h>

/* ---- the order ---- */

/* TM-4, TM-5, TM-8, TM-10, TM-26: init, connected, records, closed; one id from the call to the end. */
START_TEST(test_connection_life_is_told_in_order)
{
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	struct sconce_fleet_conn *c = fleet_begin(&fleet, text, "a");
	uint64_t id = sconce_fleet_id(c);

	ck_assert_str_eq(fleet_log, "");		/* nothing inside the call */
	ck_assert_int_eq(sconce_fleet_phase(c), SCONCE_FLEET_CONNECTING);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	plain_say(fd, "one\r\ntwo\n");
	NET_UNTIL(strstr(fleet_log, "two") != NULL);
	ck_assert_uint_eq(log_id, id);
	ck_assert_int_eq(sconce_fleet_phase(c), SCONCE_FLEET_OPEN);
	sconce_fleet_shutdown(c);
	ck_assert_ptr_null(strstr(fleet_log, "closed"));
	NET_UNTIL(fleet.count == 0);
	ck_assert_uint_eq(log_id, id);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.record(one) a.record(two) a.closed(local) ");
	close(fd);
	close(lfd);
}
END_TEST

/* TM-6: refused is operation connect with its errno; then closed. */
START_TEST(test_refused_is_failed_then_closed)
{
	char text[64], expected[128];

	plain_nobody(text, sizeof(text));
	fleet_begin(&fleet, text, "a");
	NET_UNTIL(fleet.count == 0);
	snprintf(expected, sizeof(expected), "a.init a.failed(connect %d) a.closed(connect) ", ECONNREFUSED);
	ck_assert_str_eq(fleet_log, expected);
	ck_assert_uint_eq(fleet.failed, 1);
}
END_TEST

static void
begin_two(struct sconce_fleet_conn *c)
{
	on.init = NULL;
	fleet_begin(c->fleet, "unix:///no/such/place", "b");
	fleet_begin(c->fleet, "unix:///no/such/place", "c");
}

/* TM-4: a connection that fails at once, begun in a hook or not, has its init first, too. */
START_TEST(test_failure_at_once_is_told_after_init)
{
	char expected[256];

	on.init = begin_two;
	fleet_begin(&fleet, "unix:///no/such/place", "a");
	NET_UNTIL(fleet.count == 0);
	for (const char *name = "a"; name != NULL; name = *name == 'a' ? "b" : *name == 'b' ? "c" : NULL) {
		const char *at = strstr(fleet_log, (snprintf(expected, sizeof(expected), "%s.init ", name), expected));

		ck_assert_ptr_nonnull(at);
		snprintf(expected, sizeof(expected), "%s.failed(connect %d) ", name, ENOENT);
		ck_assert_ptr_nonnull(strstr(at, expected));
	}
	ck_assert_uint_eq(fleet.failed, 3);
	ck_assert_uint_eq(fleet.closed, 3);
}
END_TEST

static void
close_it(struct sconce_fleet_conn *c)
{
	sconce_close(&c->stream.sock, SCONCE_REASON_USER);
}

/* TM-8: closed comes once and last, whichever hook closes; and init first, even of what was closed in the call's own turn. */
START_TEST(test_close_in_any_hook_is_told_once)
{
	char text[64];
	int lfd = plain_listen(8, text, sizeof(text));
	struct sconce_fleet_conn *c = fleet_begin(&fleet, text, "a");

	sconce_close(&c->stream.sock, SCONCE_REASON_USER);
	sconce_fleet_shutdown(c);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.closed(user) ");
	fleet_log[0] = '\0';
	on.init = close_it;
	fleet_begin(&fleet, text, "b");
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "b.init b.closed(user) ");
	fleet_log[0] = '\0';
	on.init = NULL;
	on.connected = close_it;
	fleet_begin(&fleet, text, "c");
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "c.init c.connected c.closed(user) ");
	close(lfd);
}
END_TEST

/* TM-7: the peer's end is errno 0, a reset its errno; closed follows. */
START_TEST(test_end_of_the_peer_is_an_error)
{
	struct linger hard = { .l_onoff = 1 };
	char expected[256];
	int fd;

	fleet_open(&fleet, "a", &fd);
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.error(recv 0) a.closed(eof) ");
	fleet_log[0] = '\0';
	fleet_open(&fleet, "b", &fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	NET_UNTIL(fleet.count == 0);
	snprintf(expected, sizeof(expected), "b.init b.connected b.error(recv %d) b.closed(error) ", ECONNRESET);
	ck_assert_str_eq(fleet_log, expected);
}
END_TEST

static char why[200];

static void
note_why(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	(void)c;
	snprintf(why, sizeof(why), "%s", fail->text);
}

/* The text of a reset names the endpoint, though the kernel has forgotten the peer. */
START_TEST(test_reset_text_names_the_endpoint)
{
	struct linger hard = { .l_onoff = 1 };
	struct sconce_fleet_conn *c;
	char expected[200];
	int fd;

	on.error = note_why;
	c = fleet_open(&fleet, "a", &fd);
	snprintf(expected, sizeof(expected), "recv %s: %s", sconce_fleet_endpoint(c), sconce_strerror(ECONNRESET));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(why, expected);
}
END_TEST

static void
say_bye(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	(void)fail;
	sconce_stream_put_bytes(&c->stream, "bye", 3);
}

/* TM-7: what the hook writes to a peer that has only half-closed is sent before the end. */
START_TEST(test_error_hook_may_answer)
{
	char buf[8] = "";
	int fd;

	on.error = say_bye;
	fleet_open(&fleet, "a", &fd);
	shutdown(fd, SHUT_WR);
	NET_UNTIL(fleet.count == 0);
	ck_assert_uint_eq(plain_read(fd, buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "bye\r\n");
	ck_assert_str_eq(fleet_log, "a.init a.connected a.error(recv 0) a.closed(local) ");
	close(fd);
}
END_TEST

/* PC-5: without a hook for it an error ends the connection by itself. */
START_TEST(test_error_without_hook_closes)
{
	static const struct sconce_fleet_ops bare = {
		.name = "bare", .size = sizeof(struct sconce_fleet_conn), .closed = NULL,
	};
	struct sconce_fleet other;
	char text[64];
	int fd;

	ck_assert_int_eq(sconce_fleet_init(&other, loop, &bare, NULL), 0);
	fleet_open(&other, NULL, &fd);
	plain_say(fd, "thrown away\n");
	close(fd);
	NET_UNTIL(other.count == 0);
	plain_nobody(text, sizeof(text));
	ck_assert_int_eq(sconce_fleet_connect(&other, text, NULL, NULL, NULL), 0);
	NET_UNTIL(other.count == 0);
	fleet_check_tally(&other);
	ck_assert_uint_eq(other.closed, 2);
	sconce_fleet_fini(&other);
}
END_TEST

static char again[64];

static void
once_more(struct sconce_fleet_conn *c)
{
	on.closed = NULL;
	fleet_begin(c->fleet, again, "b");
}

/* PC-4: connecting again, from closed, is a new connection with a new id. */
START_TEST(test_closed_may_connect_again)
{
	uint64_t id;
	int lfd, fd;

	lfd = plain_listen(4, again, sizeof(again));
	id = sconce_fleet_id(fleet_begin(&fleet, again, "a"));
	on.closed = once_more;
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	close(fd);
	NET_UNTIL(fleet.connected == 2);
	ck_assert_uint_ne(log_id, id);
	ck_assert_uint_eq(fleet.count, 1);
	close(lfd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_ptr_nonnull(strstr(fleet_log, "a.closed(eof) b.init b.connected "));
}
END_TEST

/* ---- records ---- */

static void
shut_down(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	(void)rec;
	sconce_fleet_shutdown(c);
}

/* TM-10, PC-4: input is not told any more once the connection is being shut down. */
START_TEST(test_input_after_shutdown_is_ignored)
{
	int fd;

	on.record = shut_down;
	fleet_open(&fleet, "a", &fd);
	plain_say(fd, "one\ntwo\n");
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.record(one) a.closed(local) ");
	close(fd);
}
END_TEST

static void
shut_down_without_memory(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	(void)rec;
	sconce_stream_put_bytes(&c->stream, "QUIT", 4);
	sconce_fleet_shutdown(c);
	starve_left = 1;
}

/* Nor is it an error then that there is no memory for the rest of the input. */
START_TEST(test_no_memory_after_shutdown_is_ignored)
{
	char buf[8] = "";
	int fd;

	starve_failed = 0;
	on.record = shut_down_without_memory;
	fleet_open(&fleet, "a", &fd);
	plain_say(fd, "one\ntwo\nthree");
	NET_UNTIL(strstr(fleet_log, "record") != NULL);
	starve_left = 0;
	if (STARVE_WORKS)
		ck_assert_int_eq(starve_failed, 1);
	ck_assert_uint_eq(plain_read(fd, buf, 6), 6);
	ck_assert_str_eq(buf, "QUIT\r\n");
	close(fd);
	NET_UNTIL(fleet.count == 0);
	ck_assert_str_eq(fleet_log, "a.init a.connected a.record(one) a.closed(local) ");
}
END_TEST

/* TM-15: the filter is that of the options, settings and all; each connection has a state of its own. */
START_TEST(test_filter_is_per_connection)
{
	struct sconce_line_options semicolon = { .in_end = ";" };
	struct sconce_fleet_options opts = { 0 };
	int fds[2];

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_filter_line(&semicolon, &opts.filter), 0);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	sconce_filter_unref(opts.filter);
	fleet_open(&fleet, "a", &fds[0]);
	fleet_open(&fleet, "b", &fds[1]);
	fleet_log[0] = '\0';
	plain_say(fds[0], "on");
	net_settle();
	plain_say(fds[1], "tw");
	net_settle();
	plain_say(fds[0], "e;");
	net_settle();
	plain_say(fds[1], "o;");
	net_settle();
	ck_assert_str_eq(fleet_log, "a.record(one) b.record(two) ");
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static struct sconce_filter *blocks;

static void
set_blocks(struct sconce_fleet_conn *c)
{
	ck_assert_int_eq(sconce_stream_set_filter(&c->stream, blocks, NULL), 0);
}

/* TM-28: filters may be set in init, and changed in connected and later. */
START_TEST(test_filter_may_be_changed_in_hooks)
{
	int fds[2];

	ck_assert_int_eq(sconce_filter_fixed(4, &blocks), 0);
	on.init = set_blocks;
	fleet_open(&fleet, "a", &fds[0]);
	on.init = NULL;
	on.connected = set_blocks;
	fleet_open(&fleet, "b", &fds[1]);
	fleet_log[0] = '\0';
	plain_say(fds[0], "12345678");
	net_settle();
	plain_say(fds[1], "abcd");
	net_settle();
	ck_assert_str_eq(fleet_log, "a.record(1234) a.record(5678) b.record(abcd) ");
	close(fds[0]);
	close(fds[1]);
	sconce_filter_unref(blocks);
}
END_TEST

static void
take_three(struct sconce_fleet_conn *c, struct sconce_input *in)
{
	say(c, "input(%.*s) ", (int)in->len, in->data);
	sconce_input_take(in, in->len < 3 ? 0 : 3);
}

/* TM-10: without a filter input is bytes, to be consumed from the left. */
START_TEST(test_raw_input_is_bytes)
{
	static const struct sconce_fleet_ops raw = { PROBE_OPS, .input = take_three };
	int fd;

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &raw, NULL), 0);
	fleet_open(&fleet, "a", &fd);
	fleet_log[0] = '\0';
	plain_say(fd, "abcde");
	net_settle();
	plain_say(fd, "f");
	net_settle();
	ck_assert_str_eq(fleet_log, "a.input(abcde) a.input(def) ");
	close(fd);
}
END_TEST

/* TM-7: a record that is too long is an error of the filter's. */
START_TEST(test_filter_error_is_told)
{
	char expected[128];
	int fd;
	struct sconce_fleet_conn *c = fleet_open(&fleet, "a", &fd);

	sconce_filter_set_max_record(sconce_stream_filter(&c->stream), 4);
	plain_say(fd, "abcdefgh\n");
	NET_UNTIL(fleet.count == 0);
	snprintf(expected, sizeof(expected), "a.init a.connected a.error(filter %d) a.closed(overflow) ", EMSGSIZE);
	ck_assert_str_eq(fleet_log, expected);
	close(fd);
}
END_TEST

/* TM-22: what is sent before the connection is open waits for it; ids of nobody, of the closed, of another fleet are -ENOENT. */
START_TEST(test_send_by_id)
{
	struct sconce_fleet other;
	struct sconce_fleet_conn *c;
	char text[64], buf[32] = "";
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	uint64_t id;

	ck_assert_int_eq(sconce_fleet_init(&other, loop, &probe_ops, NULL), 0);
	c = fleet_begin(&fleet, text, "a");
	id = sconce_fleet_id(c);
	ck_assert_int_eq(sconce_fleet_send(&fleet, id, "hello", 5), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_fleet_send(&other, id, "wrong", 5), -ENOENT);
	ck_assert_int_eq(sconce_fleet_send(&fleet, id + 1, "wrong", 5), -ENOENT);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	NET_UNTIL(fleet.connected == 1);
	ck_assert_int_eq(sconce_fleet_send(&fleet, id, "again", 5), SCONCE_GATHERED);
	net_settle();
	ck_assert_uint_eq(plain_read(fd, buf, 14), 14);
	ck_assert_str_eq(buf, "hello\r\nagain\r\n");
	sconce_fleet_shutdown(c);
	ck_assert_int_eq(sconce_fleet_send(&fleet, id, "wrong", 5), -ENOENT);
	NET_UNTIL(fleet.count == 0);
	ck_assert_int_eq(sconce_fleet_send(&fleet, id, "wrong", 5), -ENOENT);
	sconce_fleet_fini(&other);
	close(fd);
	close(lfd);
}
END_TEST

/* TM-11: drained is told when all has been sent after it had to wait, for the connection too. */
START_TEST(test_drained_is_told_after_waiting)
{
	static char big[1 << 20];
	char text[64], *got = malloc(sizeof(big));
	int lfd = plain_listen(4, text, sizeof(text)), fd;
	struct sconce_fleet_conn *c = fleet_begin(&fleet, text, "a");
	size_t len = 0;

	ck_assert_int_eq(sconce_fleet_send(&fleet, sconce_fleet_id(c), "x", 1), SCONCE_QUEUED);
	NET_UNTIL(strstr(fleet_log, "a.drained") != NULL);
	fleet_log[0] = '\0';
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	while (sconce_write(&c->stream.sock, big, sizeof(big)) != SCONCE_QUEUED)
		;
	net_settle();
	ck_assert_str_eq(fleet_log, "");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int turn = 0; turn < 4000 && fleet_log[0] == '\0'; turn++) {
		ssize_t n = recv(fd, got, sizeof(big), MSG_DONTWAIT);

		len += n > 0 ? (size_t)n : 0;
		sconce_loop_step(loop, 0);
	}
	ck_assert_str_eq(fleet_log, "a.drained ");
	ck_assert_uint_gt(len, 0);
	free(got);
	close(fd);
	close(lfd);
}
END_TEST

/* ---- who is who ---- */

static int seven = 7;

static void
check_heap(struct sconce_fleet_conn *c)
{
	struct probe *p = probe_of(c);

	ck_assert_ptr_eq(c->arg, &seven);
	ck_assert_int_eq(p->before[0] | p->before[23], 0);
	c->arg = NULL;
}

/* TM-19, TM-20, TM-25: the target's arg is there before anything happens; the struct around the connection is the program's. */
START_TEST(test_arg_is_there_in_init)
{
	struct sconce_fleet_target t = { .arg = &seven };
	struct sconce_fleet_conn *c;
	char text[64];
	int lfd = plain_listen(4, text, sizeof(text));

	sconce_fleet_fini(&fleet);
	{
		static struct sconce_fleet_ops ops;

		ops = probe_ops;
		ops.init = check_heap;
		ops.connected = NULL;
		ops.closed = NULL;
		ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &ops, NULL), 0);
	}
	t.endpoint = text;
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, &t, &c, NULL), 0);
	ck_assert_ptr_eq(c->arg, &seven);
	ck_assert_ptr_eq(c->fleet, &fleet);
	NET_UNTIL(fleet.connected == 1);
	ck_assert_ptr_null(c->arg);
	close(lfd);
}
END_TEST

/* TM-27: what was asked for is known to the end, and the address it came to be while it is open. */
START_TEST(test_endpoint_and_peer)
{
	struct sconce_fleet_target t = { .arg = NULL };
	struct sconce_fleet_conn *c;
	struct sconce_addr addr, peer;
	char text[64], full[96], buf[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(4, text, sizeof(text));

	snprintf(full, sizeof(full), "tcp://%s?nodelay=0", text);
	c = fleet_begin(&fleet, full, "a");
	ck_assert_str_eq(sconce_fleet_endpoint(c), full);
	ck_assert_int_eq(sconce_fleet_peer(c, &peer), -ENOTCONN);
	NET_UNTIL(fleet.connected == 1);
	ck_assert_int_eq(sconce_fleet_peer(c, &peer), 0);
	ck_assert_str_eq(sconce_addr_text(&peer, buf, sizeof(buf)), text);
	ck_assert_int_eq(sconce_addr_parse(text, &addr, NULL), 0);
	t.addr = &addr;
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, &t, &c, NULL), 0);
	memset(&addr, 0, sizeof(addr));			/* it was copied */
	ck_assert_str_eq(sconce_fleet_endpoint(c), text);
	NET_UNTIL(fleet.connected == 2);
	close(lfd);
}
END_TEST

static unsigned visits;

static void
visit(struct sconce_fleet_conn *c, void *arg)
{
	visits++;
	if (arg != NULL) {
		fleet_begin(c->fleet, arg, "new");
		sconce_fleet_shutdown(c);
	}
}

/* TM-2, TM-30: a fleet finds its own connections, from the call to the close, and no other's; each is called for those. */
START_TEST(test_find_and_each_know_their_own)
{
	struct sconce_fleet other;
	struct sconce_fleet_conn *a, *b;
	struct conn plain;
	char text[64];
	int lfd = plain_listen(8, text, sizeof(text));
	uint64_t id;

	ck_assert_int_eq(sconce_fleet_init(&other, loop, &probe_ops, NULL), 0);
	conn_init(&plain, &conn_ops, -1);
	a = fleet_begin(&fleet, text, "a");
	b = fleet_begin(&other, text, "b");
	id = sconce_fleet_id(a);
	ck_assert_ptr_eq(sconce_fleet_find(&fleet, id), a);
	ck_assert_ptr_null(sconce_fleet_find(&other, id));
	ck_assert_ptr_eq(sconce_fleet_find(&other, sconce_fleet_id(b)), b);
	ck_assert_ptr_null(sconce_fleet_find(&fleet, plain.sock.id));
	ck_assert_ptr_eq(sconce_fleet_conn_of(&a->stream), a);
	visits = 0;
	sconce_fleet_each(&fleet, visit, text);
	ck_assert_uint_eq(visits, 1);			/* not for what it began */
	ck_assert_uint_eq(fleet.count, 2);
	ck_assert_ptr_null(sconce_fleet_find(&fleet, id));
	visits = 0;
	sconce_fleet_each(&fleet, visit, NULL);
	ck_assert_uint_eq(visits, 1);			/* not for what is closed */
	NET_UNTIL(fleet.count == 1);
	sconce_fleet_abort(&fleet);
	ck_assert_ptr_eq(sconce_fleet_find(&other, sconce_fleet_id(b)), b);
	NET_UNTIL(fleet.count == 0 && other.connected == 1);
	sconce_fleet_shutdown(b);
	NET_UNTIL(other.count == 0);
	sconce_fleet_fini(&other);
	sconce_close(&plain.sock, SCONCE_REASON_LOCAL);
	net_settle();
	close(lfd);
}
END_TEST

static unsigned traced;

static void
count_trace(struct sconce_loop *l, const struct sconce_trace *event, void *arg)
{
	(void)l, (void)arg;
	traced += strcmp(event->what, "hook") == 0 && strcmp(event->name, "event_connect") == 0;
}

/* TM-32: the loop's trace shows a fleet's connections, and listings their type's name and endpoint. */
START_TEST(test_trace_and_listing)
{
	struct sconce_fleet_conn *c;
	char line[512];
	int fd;

	traced = 0;
	sconce_set_trace(loop, count_trace, NULL);
	c = fleet_open(&fleet, "a", &fd);
	sconce_set_trace(loop, NULL, NULL);
	ck_assert_uint_eq(traced, 1);
	sconce_describe(&c->stream.sock, line, sizeof(line));
	ck_assert_ptr_nonnull(strstr(line, "probe "));
	ck_assert_ptr_nonnull(strstr(line, sconce_fleet_endpoint(c)));
	close(fd);
}
END_TEST

/* ---- targets ---- */

/* The local address that the other end sees. */
static void
check_from(int lfd, const char *expected)
{
	struct sconce_addr a = { .len = sizeof(a.un) };
	char host[64];
	int fd = accept4(lfd, &a.any, &a.len, SOCK_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_str_eq(sconce_addr_host(&a, host, sizeof(host)), expected);
	close(fd);
}

/* TM-19: local addresses are taken in turn; a target's own and the endpoint's come before. */
START_TEST(test_bind_addresses_take_turns)
{
	static const char *const bind[] = { "127.0.0.2", "127.0.0.3:0" };
	struct sconce_fleet_options opts = { .bind = bind, .bind_count = 2 };
	struct sconce_fleet_target own = { .bind = "127.0.0.5" }, by_addr = { .arg = NULL };
	struct sconce_addr addr;
	char text[64], with[96];
	int lfd = plain_listen(16, text, sizeof(text));

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	snprintf(with, sizeof(with), "%s?bind=127.0.0.4", text);
	sconce_addr_parse(text, &addr, NULL);
	by_addr.addr = &addr;
	ck_assert_int_eq(sconce_fleet_connect(&fleet, text, NULL, NULL, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, with, NULL, NULL, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, &by_addr, NULL, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, with, &own, NULL, NULL), 0);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, text, NULL, NULL, NULL), 0);
	NET_UNTIL(fleet.connected == 5);
	check_from(lfd, "127.0.0.2");
	check_from(lfd, "127.0.0.4");
	check_from(lfd, "127.0.0.3");
	check_from(lfd, "127.0.0.5");
	check_from(lfd, "127.0.0.2");
	close(lfd);
}
END_TEST

/* TM-19: of local addresses of both families a target gets one of its own; a unix path none. */
START_TEST(test_bind_address_is_of_the_targets_family)
{
	static const char *const bind[] = { "::1", "127.0.0.2" };
	struct sconce_fleet_options opts = { .bind = bind, .bind_count = 2 };
	char text[64], name[64], expected[64];
	int lfd = plain_listen(16, text, sizeof(text));

	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sconce_fleet_connect(&fleet, text, NULL, NULL, NULL), 0);
	NET_UNTIL(fleet.connected == 3);
	for (int i = 0; i < 3; i++)
		check_from(lfd, "127.0.0.2");
	abstract_name(name, sizeof(name));
	fleet_log[0] = '\0';
	fleet_begin(&fleet, name, "u");
	NET_UNTIL(fleet.failed == 1);
	snprintf(expected, sizeof(expected), "u.failed(connect %d) ", ECONNREFUSED);
	ck_assert_msg(strstr(fleet_log, expected) != NULL, "%s", fleet_log);
	close(lfd);
}
END_TEST

/* TM-21, TM-19: what cannot be begun is told by the call, with a text, and runs no hook. */
START_TEST(test_connect_refuses_wrong_targets)
{
	struct sconce_fleet_target bad_bind = { .bind = "nowhere" }, empty = { .arg = NULL };
	struct sconce_addr port_0 = { .in = { .sin_family = AF_INET }, .len = sizeof(struct sockaddr_in) };
	struct sconce_fleet_target by_addr = { .addr = &port_0 };
	struct sconce_fail fail;

	ck_assert_int_eq(sconce_fleet_connect(&fleet, "no port", NULL, NULL, &fail), -EINVAL);
	ck_assert_str_eq(fail.operation, "parse");
	ck_assert_int_eq(sconce_fleet_connect(&fleet, "127.0.0.1:0", NULL, NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, "127.0.0.1:1", &bad_bind, NULL, &fail), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fail.text, "'nowhere'"));
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, &empty, NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, NULL, NULL, NULL), -EINVAL);
	ck_assert_int_eq(sconce_fleet_connect(&fleet, NULL, &by_addr, NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, "no port", NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, "127.0.0.1:1", &bad_bind, &fail), -EINVAL);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, NULL, NULL, NULL), -EINVAL);
	ck_assert_uint_eq(fleet.started, 0);
	net_settle();
	ck_assert_str_eq(fleet_log, "");
	ck_assert_uint_eq(sconce_count(loop), 0);
}
END_TEST

/* An endpoint that the kernel opens at once, or that is open, costs no more turns than others. */
START_TEST(test_connect_to_unix_path_and_fd)
{
	int sv[2], lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sconce_addr a;
	char name[64], text[32];

	abstract_name(name, sizeof(name));
	ck_assert_int_eq(sconce_addr_parse(name, &a, NULL), 0);
	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 4), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	snprintf(text, sizeof(text), "fd://%d", sv[0]);
	fleet_begin(&fleet, name, "u");
	fleet_begin(&fleet, text, "f");
	for (int i = 0; i < 3; i++)
		sconce_loop_step(loop, 0);
	ck_assert_uint_eq(fleet.connected, 2);
	close(sv[1]);
	close(lfd);
}
END_TEST

/* What does not fit together is refused before anything is allocated. */
START_TEST(test_init_refuses_wrong_tables)
{
	static const char *const binds[][1] = { { "somewhere" }, { "/path" }, { "127.0.0.1:http" }, { "127.0.0.1:70000" }, { "" } };
	struct sconce_fleet_ops ops = probe_ops;
	struct sconce_fleet_options opts = { .bind_count = 1 };
	struct sconce_fleet other;

	ops.name = NULL;
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &ops, NULL), -EINVAL);
	ops = probe_ops;
	ops.input = take_three;
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &ops, NULL), -EINVAL);
	ops = probe_ops;
	ops.offset += 1;
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &ops, NULL), -EINVAL);
	ops = probe_ops;
	ops.size = ops.offset + sizeof(struct sconce_fleet_conn) - 8;
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &ops, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(binds) / sizeof(binds[0]); i++) {
		opts.bind = binds[i];
		ck_assert_int_eq(sconce_fleet_init(&other, loop, &probe_ops, &opts), -EINVAL);
	}
}
END_TEST

/* One that init has refused may be released all the same, whatever was in its memory before. */
START_TEST(test_fini_after_refused_init_does_nothing)
{
	static const struct sconce_fleet_ops small = { .name = "small", .size = 3 };
	static const char *const bind[] = { "somewhere" };
	struct sconce_fleet_options opts = { .bind = bind, .bind_count = 1 };
	struct sconce_fleet other;

	memset(&other, 0xa5, sizeof(other));
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &small, NULL), -EINVAL);
	sconce_fleet_fini(&other);
	memset(&other, 0xa5, sizeof(other));
	ck_assert_int_eq(sconce_fleet_init(&other, loop, &probe_ops, &opts), -EINVAL);
	sconce_fleet_fini(&other);
}
END_TEST

START_TEST(test_conn_of_another_stream_aborts)
{
	struct sconce_stream st = { .ops = NULL };

	sconce_fleet_conn_of(&st);
}
END_TEST

START_TEST(test_fini_with_connections_aborts)
{
	char text[64];

	plain_nobody(text, sizeof(text));
	fleet_begin(&fleet, text, "a");
	sconce_fleet_fini(&fleet);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("fleet");
	TCase *tcase = fleet_case(suite, "order");

	tcase_add_test(tcase, test_connection_life_is_told_in_order);
	tcase_add_test(tcase, test_refused_is_failed_then_closed);
	tcase_add_test(tcase, test_failure_at_once_is_told_after_init);
	tcase_add_test(tcase, test_close_in_any_hook_is_told_once);
	tcase_add_test(tcase, test_end_of_the_peer_is_an_error);
	tcase_add_test(tcase, test_reset_text_names_the_endpoint);
	tcase_add_test(tcase, test_error_hook_may_answer);
	tcase_add_test(tcase, test_error_without_hook_closes);
	tcase_add_test(tcase, test_closed_may_connect_again);
	tcase = fleet_case(suite, "records");
	tcase_add_test(tcase, test_input_after_shutdown_is_ignored);
	tcase_add_test(tcase, test_no_memory_after_shutdown_is_ignored);
	tcase_add_test(tcase, test_filter_is_per_connection);
	tcase_add_test(tcase, test_filter_may_be_changed_in_hooks);
	tcase_add_test(tcase, test_raw_input_is_bytes);
	tcase_add_test(tcase, test_filter_error_is_told);
	tcase_add_test(tcase, test_send_by_id);
	tcase_add_test(tcase, test_drained_is_told_after_waiting);
	tcase = fleet_case(suite, "who");
	tcase_add_test(tcase, test_arg_is_there_in_init);
	tcase_add_test(tcase, test_endpoint_and_peer);
	tcase_add_test(tcase, test_find_and_each_know_their_own);
	tcase_add_test(tcase, test_trace_and_listing);
	tcase = fleet_case(suite, "targets");
	tcase_add_test(tcase, test_bind_addresses_take_turns);
	tcase_add_test(tcase, test_bind_address_is_of_the_targets_family);
	tcase_add_test(tcase, test_connect_refuses_wrong_targets);
	tcase_add_test(tcase, test_connect_to_unix_path_and_fd);
	tcase_add_test(tcase, test_init_refuses_wrong_tables);
	tcase_add_test(tcase, test_fini_after_refused_init_does_nothing);
	tcase = fleet_case(suite, "misuse");
	t_add_abort(tcase, test_conn_of_another_stream_aborts);
	t_add_abort(tcase, test_fini_with_connections_aborts);
	return suite;
}
