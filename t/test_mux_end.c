/* How handles of the multiplexer end where things come together: kills behind queued ends, closes before a connect has ended, timeouts,
 * memory that goes with a handle. */
#include "test_mux.h"

static int peer;

/* Where nobody listens. */
static void
nowhere(char *url, size_t size)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL);
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT];

	ck_assert_int_eq(sconce_local(sconce_mux_sock(l), &a), 0);
	snprintf(url, size, "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	close(sconce_mux_remove(l));
}

static void
turn_loop(int turns)
{
	for (int i = 0; i < turns; i++)
		ck_assert_int_ge(sconce_loop_step(sconce_mux_loop(m), 0.002), 0);
}

static void
reset_peer(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* ---- events of one's own ---- */

/* EM-23: behind CLOSED, or pushed after it, an event of one's own comes with no handle: that has gone. */
START_TEST(test_push_behind_closed_has_no_handle)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	struct sconce_event own = { .type = SCONCE_EVENT_USER, .handle = h, .user = &peer }, ev;

	mux_expect(SCONCE_EVENT_READY);
	sconce_mux_kill(h, 0);
	if (_i == 0) {
		turn_loop(3);				/* CLOSED is queued */
		ck_assert_int_eq(sconce_mux_push(m, &own), 0);
		mux_expect(SCONCE_EVENT_CLOSED);
	} else {
		mux_expect(SCONCE_EVENT_CLOSED);
		ck_assert_int_eq(sconce_mux_push(m, &own), 0);
	}
	ck_assert_int_eq(sconce_mux_next(m, 0, &ev), 1);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_USER);
	ck_assert_ptr_eq(ev.user, &peer);
	ck_assert_ptr_null(ev.handle);
	close(peer);
}
END_TEST

/* A handle of another multiplexer could not be watched over: it is refused. */
START_TEST(test_push_handle_of_another_is_refused)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	struct sconce_event own = { .type = SCONCE_EVENT_USER, .handle = h };
	struct sconce_mux *other;

	ck_assert_int_eq(sconce_mux_new(NULL, NULL, &other), 0);
	ck_assert_int_eq(sconce_mux_push(other, &own), -EINVAL);
	ck_assert_uint_eq(sconce_mux_has_events(other), 0);
	ck_assert_int_eq(sconce_mux_free(other), 0);
	close(peer);
}
END_TEST

/* ---- memory ---- */

static struct sconce_mux_handle *partner;
static int freed;

static void
free_with_partner(void *meta)
{
	struct sconce_event own = { .type = SCONCE_EVENT_USER, .handle = meta };
	struct sconce_mux_handle *p = partner;

	partner = NULL;
	freed++;
	ck_assert_int_eq(sconce_mux_remove(meta), -EBADF);	/* it is going already: all these are nothing */
	sconce_mux_kill(meta, 0);
	sconce_mux_close(meta);
	ck_assert_int_eq(sconce_mux_push(m, &own), 0);
	if (p != NULL)
		ck_assert_int_ge(close(sconce_mux_remove(p)), 0);
}

/* free_meta may remove others, those next in line too, and push; what it says of its own handle is said of none. */
START_TEST(test_free_meta_may_remove_others)
{
	struct sconce_mux_options o = { .free_meta = free_with_partner };
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &o, &peer);
	struct sconce_event ev;
	int second;

	freed = 0;
	sconce_mux_set_meta(h, h, free_with_partner);
	partner = mux_pair(WIRE_UNIX, NULL, &second);
	sconce_mux_set_meta(partner, partner, free_with_partner);
	if (_i == 0) {
		ck_assert_int_eq(sconce_mux_free(m), 0);
		m = NULL;
	} else {
		sconce_mux_kill(h, 0);
		while (sconce_mux_next(m, 0, &ev) == 1)
			ck_assert(ev.type < SCONCE_EVENT_USER || ev.handle == NULL);
	}
	ck_assert_int_eq(freed, 2);
	close(peer);
	close(second);
}
END_TEST

/* ---- kills ---- */

/* EM-47: the reason of a kill is what CLOSED says, whatever had happened to the socket before. */
START_TEST(test_kill_after_error_has_its_own_reason)
{
	struct sconce_mux_handle *h;
	char url[64];

	if (_i == 0) {
		h = mux_pair(WIRE_TCP, NULL, &peer);
		mux_expect(SCONCE_EVENT_READY);
		reset_peer(peer);
	} else if (_i == 1) {
		nowhere(url, sizeof(url));
		ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	} else {
		h = mux_pair(WIRE_TCP, NULL, &peer);
		mux_expect(SCONCE_EVENT_READY);
		sconce_set_timeout(sconce_mux_sock(h), SCONCE_TIMEOUT_LIFETIME, 0.001);
	}
	mux_expect(SCONCE_EVENT_ERROR);
	sconce_mux_kill(h, SCONCE_REASON_USER + 7);
	mux_settle();
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_USER + 7);
	ck_assert_int_eq(tracks[0].closing, 0);
	ck_assert_int_eq(tracks[0].closed, 1);
	if (_i == 2)
		close(peer);
}
END_TEST

/* EM-47: when CLOSING and CLOSED are both queued, the one goes and the other says why. */
START_TEST(test_kill_with_closed_queued_drops_closing)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	mux_expect(SCONCE_EVENT_READY);
	sconce_close(sconce_mux_sock(h), SCONCE_REASON_USER);
	turn_loop(3);
	ck_assert_uint_eq(sconce_mux_has_events(m), 2);
	sconce_mux_kill(h, SCONCE_REASON_USER + 7);
	ck_assert_uint_eq(sconce_mux_has_events(m), 1);
	mux_expect(SCONCE_EVENT_CLOSED);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_USER + 7);
	sconce_mux_kill(h, SCONCE_REASON_USER + 8);	/* it has ended: nothing */
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready closed ");
	close(peer);
}
END_TEST

/* ---- closes before it is connected ---- */

/* EM-46, EM-17: a connect that fails when it was to be closed is an end like others: no ERROR, one CLOSING, and the reason. */
START_TEST(test_close_flush_connect_fails_is_one_end)
{
	struct sconce_mux_handle *h;
	char url[64];

	nowhere(url, sizeof(url));
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	ck_assert_int_eq(sconce_mux_send(h, "lost", 4), SCONCE_QUEUED);
	sconce_mux_close_flush(h, 1);
	if (_i == 0)
		turn_loop(10);				/* it fails before CLOSING was taken */
	MUX_UNTIL(tracks[0].closed);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "closing closed ");
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_CONNECT);
	ck_assert_uint_eq(tracks[0].missing, 4);
	ck_assert_uint_eq(tracks[0].missing_closing, 4);
}
END_TEST

/* EM-46, EM-12: one that succeeds sends what was sent, and is not READY any more. */
START_TEST(test_close_flush_connect_succeeds_sends)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .meta = "l" }), *h;
	struct sconce_addr a;
	char url[64], text[SCONCE_ADDR_TEXT];

	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	ck_assert_int_eq(sconce_mux_connect(m, url, &(struct sconce_mux_options){ .meta = "c" }, &h, NULL), 0);
	ck_assert_int_eq(sconce_mux_send(h, "bye", 3), SCONCE_QUEUED);
	track_of(h);
	sconce_mux_close_flush(h, 5);
	if (_i == 0)
		turn_loop(10);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "closing sent closed ");
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_LOCAL);
	ck_assert_uint_eq(tracks[0].missing, 0);
	MUX_UNTIL(track_count > 1 && tracks[1].closed);
	ck_assert_str_eq(tracks[1].data, "bye|");
}
END_TEST

/* EM-12: nor does one become READY that could not be written to before. */
START_TEST(test_close_flush_late_ready_does_not_come)
{
	static char fill[1 << 16];
	struct sconce_mux_handle *h;
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (write(fds[0], fill, sizeof(fill)) > 0)
		;
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	sconce_mux_close_flush(h, 5);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (read(fds[1], fill, sizeof(fill)) > 0)
		;
	turn_loop(5);
	close(fds[1]);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "closing closed ");
}
END_TEST

/* ---- timeouts ---- */

/* The text of a timeout of ours says whose it was, and what did not happen for how long. */
START_TEST(test_timeout_says_what_did_not_happen)
{
	static char much[8 << 20];
	static const enum sconce_timeout_kind kinds[] = { SCONCE_TIMEOUT_INPUT, SCONCE_TIMEOUT_OUTPUT, SCONCE_TIMEOUT_LIFETIME };
	static const char *const says[] = { "recv %s: no input for 0.02 s", "send %s: no output was taken for 0.02 s",
		"recv %s: still open after 0.02 s" };
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, NULL, &peer);
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT], want[200];

	ck_assert_int_eq(sconce_peer(sconce_mux_sock(h), &a), 0);
	snprintf(want, sizeof(want), says[_i], sconce_addr_text(&a, text, sizeof(text)));
	if (_i == 1)
		ck_assert_int_eq(sconce_mux_send(h, much, sizeof(much)), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_set_timeout(sconce_mux_sock(h), kinds[_i], 0.02), 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready error closing closed ");
	ck_assert_str_eq(tracks[0].fail.text, want);
	ck_assert_str_eq(tracks[0].fail.operation, _i == 1 ? "send" : "recv");
	ck_assert_int_eq(tracks[0].fail.errnum, ETIMEDOUT);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_TIMEOUT);
	close(peer);
}
END_TEST

/* EM-18: a datagram socket that sends nothing for too long ends with an ERROR too, and all that waited is missing. */
START_TEST(test_timeout_of_datagrams_is_error_and_end)
{
	struct sconce_mux_handle *h;
	uint64_t waiting;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	ck_assert_int_eq(sconce_set_timeout(sconce_mux_sock(h), SCONCE_TIMEOUT_ALARM, 0.001), 0);	/* means nothing */
	for (int i = 0; i < 1000; i++)
		ck_assert_int_ge(sconce_mux_send(h, "packet", 6), 0);
	mux_settle();
	waiting = sconce_mux_buflen(h);
	ck_assert_uint_gt(waiting, 0);
	ck_assert_int_eq(sconce_set_timeout(sconce_mux_sock(h), SCONCE_TIMEOUT_OUTPUT, 0.02), 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "error closing closed ");
	ck_assert_int_eq(tracks[0].fail.errnum, ETIMEDOUT);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_TIMEOUT);
	ck_assert_uint_eq(tracks[0].missing_closing, waiting);
	ck_assert_uint_eq(tracks[0].missing, waiting);
	close(fds[1]);
}
END_TEST

/* EM-18: what an ERROR was of is not missing once more, and what has left after all is not missing. */
START_TEST(test_missing_datagrams_are_those_nobody_was_told_of)
{
	struct sconce_mux_handle *h;
	struct sconce_addr a = { .len = sizeof(a.in) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = 0 };
	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &h), 0);
	ck_assert_int_ge(sconce_mux_sendto(h, &a, "to port 0", 9), 0);
	MUX_UNTIL(strstr(order, "error") != NULL);
	ck_assert_int_eq(tracks[0].fail.errnum, EINVAL);
	ck_assert_ptr_nonnull(strstr(tracks[0].fail.text, "send 127.0.0.1:0: "));
	a.in.sin_port = htons(9);
	ck_assert_int_ge(sconce_mux_sendto(h, &a, "leaves", 6), 0);
	if (_i == 0)
		sconce_mux_close(h);
	else
		sconce_mux_kill(h, 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_uint_eq(tracks[0].missing, 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_end");
	TCase *c = mux_case(s, "own");

	tcase_add_loop_test(c, test_push_behind_closed_has_no_handle, 0, 2);
	tcase_add_test(c, test_push_handle_of_another_is_refused);
	c = mux_case(s, "memory");
	tcase_add_loop_test(c, test_free_meta_may_remove_others, 0, 2);
	c = mux_case(s, "kill");
	tcase_add_loop_test(c, test_kill_after_error_has_its_own_reason, 0, 3);
	tcase_add_test(c, test_kill_with_closed_queued_drops_closing);
	c = mux_case(s, "flush");
	tcase_add_loop_test(c, test_close_flush_connect_fails_is_one_end, 0, 2);
	tcase_add_loop_test(c, test_close_flush_connect_succeeds_sends, 0, 2);
	tcase_add_test(c, test_close_flush_late_ready_does_not_come);
	c = mux_case(s, "timeout");
	tcase_add_loop_test(c, test_timeout_says_what_did_not_happen, 0, 3);
	tcase_add_test(c, test_timeout_of_datagrams_is_error_and_end);
	tcase_add_loop_test(c, test_missing_datagrams_are_those_nobody_was_told_of, 0, 2);
	return s;
}
