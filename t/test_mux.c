/* The pull-style multiplexer: which event comes when.  Handles are in test_mux_open.c and
 * test_mux_handle.c, datagrams in test_mux_dgram.c. */
#include "test_mux.h"
#include "backend_select.h"

/* ---- the sequences of one handle ---- */

enum { MANY = 4 << 20 };

static int peer;

static struct track *
the_track(void)
{
	ck_assert_int_ge(track_count, 1);
	return &tracks[0];
}

static void
until_closed(void)
{
	MUX_UNTIL(track_count > 0 && tracks[track_count - 1].closed);
}

/* A connection to a listener with `f`; its own handle's events are all that is tracked. */
static struct sconce_mux_handle *
accept_one(struct sconce_filter *f, size_t max_buffer)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .filter = f, .max_buffer = max_buffer });
	struct sconce_event ev;

	sconce_filter_unref(f);
	peer = plain_connect(l);
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	ck_assert_ptr_eq(ev.parent, l);
	return ev.handle;
}

static void
talker_sends_and_closes(void)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL), *h;
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT], url[SCONCE_ADDR_TEXT + 8];

	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	ck_assert_int_eq(sconce_mux_send(h, "hello", 5), SCONCE_QUEUED);
	track_of(h);
	sconce_mux_kill(l, 0);			/* the connect is in its backlog already, which is enough */
	MUX_UNTIL(strstr(tracks[0].log, "sent") != NULL);
	sconce_mux_close(h);
	MUX_UNTIL(tracks[0].closed);
	peer = -1;
}

static void
last_record_unterminated(void)
{
	accept_one(fixed(6), 0);
	say(peer, "Data10Data11Data1");
	shutdown(peer, SHUT_WR);
	until_closed();
	ck_assert_str_eq(the_track()->data, "Data10|Data11|Data1|");
}

static void
last_record_unterminated_split(void)
{
	accept_one(split(";"), 0);
	say(peer, "a;b;c");
	shutdown(peer, SHUT_WR);
	until_closed();
	ck_assert_str_eq(the_track()->data, "a|b|c|");
}

static void
filter_overflows(void)
{
	accept_one(split("\n"), 16);
	say(peer, "12345678\n1234567\n");		/* 17 bytes, though both lines are whole: IB-2 */
	until_closed();
	ck_assert_int_eq(the_track()->fail.errnum, ENOBUFS);
	ck_assert_str_eq(the_track()->fail.operation, "filter");
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_OVERFLOW);
}

static void
filter_overflows_with_something_left(void)
{
	accept_one(split("\n"), 16);
	say(peer, "1234567890");
	mux_settle();
	say(peer, "1234567890");
	until_closed();
	ck_assert_str_eq(the_track()->data, "1234567890|");
}

static void
connect_is_refused(void)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL), *h;
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT], url[SCONCE_ADDR_TEXT + 8];

	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	close(sconce_mux_remove(l));
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	ck_assert_int_eq(sconce_mux_send(h, "12345", 5), SCONCE_QUEUED);
	until_closed();
	ck_assert_int_eq(the_track()->fail.errnum, ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(the_track()->fail.text, text));
	ck_assert_str_eq(the_track()->fail.operation, "connect");
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_CONNECT);
	ck_assert_uint_eq(the_track()->missing, 5);
	peer = -1;
}

static void
closed_with_much_unsent(void)
{
	static char much[MANY];
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, NULL, &peer);
	int drained = 0;
	char buf[65536];
	ssize_t n;

	mux_expect(SCONCE_EVENT_READY);
	mux_forget();
	ck_assert_int_eq(sconce_mux_send(h, much, sizeof(much)), SCONCE_QUEUED);
	sconce_mux_close(h);
	ck_assert_int_eq(sconce_mux_send(h, "x", 1), -EPIPE);
	until_closed();
	while ((n = read(peer, buf, sizeof(buf))) > 0)
		drained += (int)n;
	ck_assert_uint_gt(the_track()->missing, 0);
	ck_assert_uint_eq(the_track()->missing, MANY - (uint64_t)drained);
	ck_assert_uint_eq(the_track()->missing_closing, the_track()->missing);
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_LOCAL);
}

static void
killed(void)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	mux_expect(SCONCE_EVENT_READY);
	mux_forget();
	ck_assert_int_eq(sconce_mux_send(h, "x", 1), SCONCE_SENT);
	sconce_mux_kill(h, SCONCE_REASON_USER + 7);
	until_closed();
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_USER + 7);
}

static void
answered_while_closing(void)
{
	struct sconce_mux_handle *h;
	struct sconce_event ev;
	char buf[16];

	h = mux_pair(WIRE_TCP, NULL, &peer);
	say(peer, "question");
	shutdown(peer, SHUT_WR);
	do
		ev = mux_get();
	while (ev.type != SCONCE_EVENT_CLOSING);
	ck_assert_int_eq(sconce_mux_send(h, "answer", 6), SCONCE_SENT);
	until_closed();
	ck_assert_uint_eq(hear_all(peer, buf, sizeof(buf)), 6);
	ck_assert_mem_eq(buf, "answer", 6);
	ck_assert_uint_eq(the_track()->missing, 0);
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_EOF);
}

static void
over_a_pipe(void)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	say(fds[1], "GET / HTTP/1.0\r\n\r\n");
	close(fds[1]);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, NULL), 0);
	until_closed();
	peer = -1;
}

static void
peer_resets(void)
{
	struct linger hard = { .l_onoff = 1 };

	mux_pair(WIRE_TCP, NULL, &peer);
	mux_expect(SCONCE_EVENT_READY);
	mux_forget();
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	peer = -1;
	until_closed();
	ck_assert_int_eq(the_track()->fail.errnum, ECONNRESET);
	ck_assert_int_eq(the_track()->reason, SCONCE_REASON_ERROR);
}

/* All sequences of G.6, and some more. */
static const struct sequence {
	const char *what;
	void (*run)(void);
	const char *log;
} sequences[] = {
	{ "a connecting talker sends, then closes", talker_sends_and_closes, "ready sent closing closed " },
	{ "fixed records, the last one cut", last_record_unterminated, "accepted read read read_last closing closed " },
	{ "split records, the last one cut", last_record_unterminated_split, "accepted read read read closing closed " },
	{ "overflow", filter_overflows, "accepted error closing closed " },
	{ "overflow, with something left", filter_overflows_with_something_left, "accepted error read_last closing closed " },
	{ "refused connect", connect_is_refused, "error closing closed " },
	{ "close with 4 MiB unsent", closed_with_much_unsent, "closing closed " },
	{ "kill", killed, "closed " },
	{ "the peer half-closes, and is answered", answered_while_closing, "ready read closing sent closed " },
	{ "a pipe", over_a_pipe, "read closing closed " },
	{ "the peer resets", peer_resets, "error closing closed " },
};

/* EM-10, EM-12, EM-15, EM-16, EM-17, EM-18, EM-21, EM-46, EM-47, IB-10: every situation has its sequence. */
START_TEST(test_next_sequence_of_each_situation)
{
	const struct sequence *s = &sequences[_i];

	s->run();
	ck_assert_msg(strcmp(the_track()->log, s->log) == 0, "%s:\n%s instead of\n%s", s->what, the_track()->log, s->log);
	if (peer >= 0)
		close(peer);
}
END_TEST

/* ---- what comes first ---- */

/* EM-5, EM-8: what is queued comes first, in order, without the loop being asked, and says whose it is; a timeout of 0 does not wait. */
START_TEST(test_next_queued_events_first_in_order)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .meta = "a" }, &peer);
	struct sconce_event ev = { .type = SCONCE_EVENT_USER + 1, .handle = h };

	say(peer, "x");
	sconce_mux_send(h, "1", 1);
	ck_assert_int_eq(sconce_mux_push(m, &ev), 0);
	sconce_mux_send(h, "2", 1);
	ck_assert_uint_eq(sconce_mux_has_events(m), 4);
	for (int i = 0; i < 5; i++)
		mux_get();
	ck_assert_str_eq(order, "a.ready a.sent a.user a.sent a.read ");
	ck_assert_int_eq(sconce_mux_next(m, 0, &ev), 0);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_TIMEOUT);
	ck_assert_ptr_null(ev.handle);
	close(peer);
}
END_TEST

/* EM-9: when the time is over the event says so, not before, and fractions count. */
START_TEST(test_next_timeout_takes_its_time)
{
	struct sconce_event ev = { .type = 99 };
	double before = t_seconds();

	mux_pair(WIRE_UNIX, NULL, &peer);
	mux_get();
	ck_assert_int_eq(sconce_mux_next(m, 0.03, &ev), 0);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_TIMEOUT);
	ck_assert(t_seconds() - before >= 0.03);
	ck_assert(t_seconds() - before < 1);
	close(peer);
}
END_TEST

static void
trickle(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	say(peer, "x");
}

/* AC-2, EM-5: a trickle of bytes that make no record does not prolong the wait. */
START_TEST(test_next_trickle_without_records_keeps_deadline)
{
	struct sconce_filter *f = lines();
	struct sconce_event ev;
	struct sconce_timer t;
	double before;

	mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f }, &peer);
	sconce_filter_unref(f);
	mux_get();
	sconce_timer_init(&t, sconce_mux_loop(m), trickle, NULL);
	sconce_timer_start_every(&t, 0.02, 0.02);
	before = t_seconds();
	ck_assert_int_eq(sconce_mux_next(m, 0.1, &ev), 0);
	ck_assert(t_seconds() - before >= 0.1);
	ck_assert_msg(t_seconds() - before < 0.15, "%g s", t_seconds() - before);
	sconce_timer_stop(&t);
	close(peer);
}
END_TEST

/* AC-4, EM-58: silence behind half a record is no end. */
START_TEST(test_next_partial_record_then_silence_stays_open)
{
	struct sconce_filter *f = lines();
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, &(struct sconce_mux_options){ .filter = f }, &peer);
	struct sconce_event ev;

	sconce_filter_unref(f);
	mux_get();
	say(peer, "half");
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready ");
	say(peer, " and half\n");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_ptr_eq(ev.handle, h);
	ck_assert_uint_eq(ev.len, 13);
	ck_assert_mem_eq(ev.data, "half and half", 13);
	close(peer);
}
END_TEST

/* ---- nothing to wait for, the loop ---- */

/* EM-7: without handles, timers and a timeout there is nothing to wait for, and that is said. */
START_TEST(test_next_nothing_to_wait_for_is_idle)
{
	struct sconce_event ev;
	double before = t_seconds();

	ck_assert_int_eq(sconce_mux_next(m, -1, &ev), SCONCE_MUX_IDLE);
	ck_assert_int_eq(sconce_mux_next(m, 0.01, &ev), 0);
	ck_assert(t_seconds() - before >= 0.01);
	mux_pair(WIRE_UNIX, NULL, &peer);
	mux_expect(SCONCE_EVENT_READY);
	close(peer);
	mux_expect(SCONCE_EVENT_CLOSING);
	mux_expect(SCONCE_EVENT_CLOSED);
	ck_assert_int_eq(sconce_mux_next(m, -1, &ev), SCONCE_MUX_IDLE);
	ck_assert_uint_eq(sconce_mux_count(m), 0);
}
END_TEST

static int seen;

static void
stop_loop(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce_loop_stop(arg);
}

/* sconce_loop_stop() ends the wait; the next one goes on. */
START_TEST(test_next_stopped_loop_is_canceled)
{
	struct sconce_event ev;
	struct sconce_timer t;

	mux_pair(WIRE_UNIX, NULL, &peer);
	mux_get();
	sconce_timer_init(&t, sconce_mux_loop(m), stop_loop, sconce_mux_loop(m));
	sconce_timer_start(&t, 0);
	ck_assert_int_eq(sconce_mux_next(m, -1, &ev), -ECANCELED);
	say(peer, "x");
	mux_expect(SCONCE_EVENT_READ);
	close(peer);
}
END_TEST

static void
ask_within(struct sconce_timer *t, void *arg)
{
	struct sconce_event ev;

	(void)t;
	(void)arg;
	seen = sconce_mux_next(m, 0, &ev);
	ck_assert_int_eq(sconce_mux_free(m), -EBUSY);
}

/* A hook of the loop that the multiplexer turns may neither ask it nor free it. */
START_TEST(test_next_and_free_from_hook_are_refused)
{
	struct sconce_event ev;
	struct sconce_timer t;

	seen = 0;
	mux_pair(WIRE_UNIX, NULL, &peer);
	mux_get();
	sconce_timer_init(&t, sconce_mux_loop(m), ask_within, NULL);
	sconce_timer_start(&t, 0);
	ck_assert_int_eq(sconce_mux_next(m, 0.01, &ev), 0);
	ck_assert_int_eq(seen, -EDEADLK);
	close(peer);
}
END_TEST

/* The application's own limit of a wait holds for its loop, and is the same afterwards. */
START_TEST(test_next_leaves_loop_timeout_alone)
{
	struct sconce_loop *loop = sconce_mux_loop(m);
	struct sconce_event ev;

	sconce_loop_set_timeout(loop, 0.004);
	ck_assert_int_eq(sconce_mux_next(m, 0.02, &ev), 0);
	ck_assert(sconce_loop_timeout(loop) == 0.004);
	sconce_loop_set_timeout(loop, -1);
	ck_assert_int_eq(sconce_mux_next(m, 0.02, &ev), 0);
	ck_assert(sconce_loop_timeout(loop) < 0);
}
END_TEST

/* A push-style socket and two multiplexers live on one loop; freeing one leaves the others alone. */
START_TEST(test_new_on_loop_of_others)
{
	struct sconce_mux *second;
	struct sconce_mux_handle *h;
	struct sconce_event ev;
	struct pair p;
	int fds[2];

	pair_open(&p, WIRE_UNIX);
	ck_assert_int_eq(sconce_mux_free(m), 0);
	ck_assert_int_eq(sconce_mux_new(p.loop, NULL, &m), 0);
	ck_assert_ptr_eq(sconce_mux_loop(m), p.loop);
	ck_assert_int_eq(sconce_mux_new(p.loop, NULL, &second), 0);
	wire_make(WIRE_UNIX, fds);
	ck_assert_int_eq(sconce_mux_add(second, fds[0], NULL, &h), 0);
	ck_assert_int_eq(sconce_mux_next(second, 0, &ev), 1);
	sconce_mux_close(h);
	h = mux_pair(WIRE_UNIX, NULL, &peer);
	mux_get();
	sconce_write(&p.a.sock, "push", 4);
	mux_settle();
	ck_assert_uint_eq(p.b.in_len, 4);
	ck_assert_int_eq(sconce_mux_free(second), 0);
	say(peer, "pull");
	mux_expect(SCONCE_EVENT_READ);
	ck_assert_int_eq(sconce_mux_free(m), 0);
	m = NULL;
	pair_quiet(&p);
	pair_free(&p);
	ck_assert_int_eq(read(peer, fds, 1), 0);
	close(peer);
	close(fds[1]);
}
END_TEST

/* EM-3, EM-4: two multiplexers in one process may have different backends, and one may be the application's own. */
START_TEST(test_new_two_backends_side_by_side)
{
	struct sconce_loop_options opts = { .backend_flags = 1, .backend = _i == 0 ? NULL : backend_select() };	/* EVBACKEND_SELECT */
	struct sconce_mux *second;
	struct sconce_loop *loop;
	struct sconce_event ev;
	int fds[2];

	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	ck_assert_int_eq(sconce_mux_new(loop, NULL, &second), 0);
	wire_make(WIRE_UNIX, fds);
	ck_assert_int_eq(sconce_mux_add(second, fds[0], NULL, NULL), 0);
	mux_pair(WIRE_UNIX, NULL, &peer);
	say(peer, "one");
	say(fds[1], "two");
	mux_expect(SCONCE_EVENT_READY);
	mux_expect(SCONCE_EVENT_READ);
	ck_assert_int_eq(sconce_mux_next(second, 1, &ev), 1);
	ck_assert_int_eq(sconce_mux_next(second, 1, &ev), 1);
	ck_assert_uint_eq(ev.len, 3);
	ck_assert_mem_eq(ev.data, "two", 3);
	close(peer);
	close(fds[1]);
	ck_assert_int_eq(sconce_mux_free(second), 0);
	sconce_loop_free(loop);
}
END_TEST

/* ---- fairness ---- */

/* EM-22: of handles that all have input, none is read twice before each was read once. */
START_TEST(test_next_ready_handles_take_turns)
{
	enum { HANDLES = 3, RECORDS = 5 };
	struct sconce_filter *f = fixed(4);
	static char *const names[HANDLES] = { "a", "b", "c" };
	struct sconce_mux_handle *last = NULL;
	int peers[HANDLES];

	for (int i = 0; i < HANDLES; i++) {
		mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f, .meta = names[i] }, &peers[i]);
		mux_expect(SCONCE_EVENT_READY);
		say(peers[i], "aaaabbbbccccddddeeee");
	}
	sconce_filter_unref(f);
	for (int i = 0; i < HANDLES * RECORDS; i++) {
		struct sconce_event ev = mux_expect(SCONCE_EVENT_READ);

		ck_assert_ptr_ne(ev.handle, last);
		ck_assert_uint_eq(ev.len, 4);
		ck_assert_int_eq(*(const char *)ev.data, 'a' + i / HANDLES);
		last = ev.handle;
	}
	for (int i = 0; i < HANDLES; i++)
		close(peers[i]);
}
END_TEST

static void
note_reads(struct sconce_timer *t, void *arg)
{
	(void)t;
	*(int *)arg = tracks[0].reads;
}

/* EM-22: thousands of records that wait do not keep the loop from its timers. */
START_TEST(test_next_flood_does_not_starve_the_loop)
{
	struct sconce_filter *f = fixed(1);
	static char flood[4000];
	struct sconce_timer t;
	int fired = -1;

	mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f }, &peer);
	sconce_filter_unref(f);
	mux_expect(SCONCE_EVENT_READY);
	memset(flood, 'f', sizeof(flood));
	ck_assert_int_eq(write(peer, flood, sizeof(flood)), sizeof(flood));
	mux_expect(SCONCE_EVENT_READ);
	sconce_timer_init(&t, sconce_mux_loop(m), note_reads, &fired);
	sconce_timer_start(&t, 0);
	MUX_UNTIL(tracks[0].reads == sizeof(flood));
	ck_assert_int_ge(fired, 1);
	ck_assert_int_lt(fired, 1000);
	close(peer);
}
END_TEST

/* AC-1, EM-35: halves of records of two clients, in between each other: no byte crosses.  The filter is the listener's. */
START_TEST(test_next_interleaved_halves_of_two_clients_do_not_mix)
{
	struct sconce_filter *f = lines();
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .filter = f });
	int a = plain_connect(l), b = plain_connect(l);

	sconce_filter_unref(f);
	mux_expect(SCONCE_EVENT_ACCEPTED);
	mux_expect(SCONCE_EVENT_ACCEPTED);
	for (int i = 0; i < 20; i++) {
		say(a, i % 2 == 0 ? "alp" : "ha\nal");
		mux_settle();
		say(b, i % 2 == 0 ? "be" : "ta\n");
		mux_settle();
		if (i % 2 == 1)
			say(a, "pha\n");
	}
	mux_settle();
	ck_assert_int_eq(tracks[0].reads + tracks[1].reads, 30);
	for (int i = 0; i < 2; i++) {
		const char *word = tracks[i].data[0] == 'a' ? "alpha|" : "beta|";

		for (size_t at = 0; at < tracks[i].len; at += strlen(word))
			ck_assert_int_eq(strncmp(tracks[i].data + at, word, strlen(word)), 0);
	}
	close(a);
	close(b);
}
END_TEST

/* ---- signals ---- */

static volatile sig_atomic_t alarms;

static void
on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

/* AC-3, EM-2: signals all the time, without SA_RESTART, have no effect on any wait or call. */
START_TEST(test_next_signals_all_the_time_have_no_effect)
{
	struct sigaction act = { .sa_handler = on_alarm }, old;
	struct itimerval every = { { 0, 200 }, { 0, 200 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sconce_filter *f = lines();
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, &(struct sconce_mux_options){ .filter = f }, &peer);
	char buf[8];

	sconce_filter_unref(f);
	mux_get();
	alarms = 0;
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &every, NULL);
	for (int i = 0; i < 200 || alarms < 20; i++) {
		struct sconce_event ev;

		while (write(peer, "ping\n", 5) < 0)
			ck_assert_int_eq(errno, EINTR);
		ev = mux_expect(SCONCE_EVENT_READ);
		ck_assert_uint_eq(ev.len, 4);
		ck_assert_int_eq(sconce_mux_send(h, "pong", 4), SCONCE_SENT);
		mux_expect(SCONCE_EVENT_SENT);
		while (read(peer, buf, 4) < 0)
			ck_assert_int_eq(errno, EINTR);
		ck_assert_int_eq(sconce_mux_next(m, 0.0005, &ev), 0);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	ck_assert_int_eq(tracks[0].errors, 0);
	close(peer);
}
END_TEST

/* ---- events of one's own ---- */

/* EM-23: they come in order, as they were given. */
START_TEST(test_push_events_come_back_in_order)
{
	struct sconce_event ev = { .type = SCONCE_EVENT_USER, .user = &seen, .data = "data", .len = 4, .reason = 5 }, got;

	for (int i = 0; i < 300; i++) {
		ev.session = (uint64_t)i;
		ck_assert_int_eq(sconce_mux_push(m, &ev), 0);
	}
	ck_assert_uint_eq(sconce_mux_has_events(m), 300);
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(sconce_mux_next(m, 0, &got), 1);
		ck_assert_int_eq(got.type, SCONCE_EVENT_USER);
		ck_assert_uint_eq(got.session, (uint64_t)i);
		ck_assert_ptr_eq(got.user, &seen);
		ck_assert_mem_eq(got.data, "data", 4);
	}
	ev.type = SCONCE_EVENT_READ;
	ck_assert_int_eq(sconce_mux_push(m, &ev), -EINVAL);
	ck_assert_int_eq(sconce_mux_next(m, 0, &got), 0);
}
END_TEST

/* EM-24: what is queued is counted, and so is a close that is still to be done. */
START_TEST(test_has_events_counts_events_and_actions)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	ck_assert_uint_eq(sconce_mux_has_events(m), 1);	/* READY */
	mux_get();
	ck_assert_uint_eq(sconce_mux_has_events(m), 0);
	sconce_mux_close(h);
	ck_assert_uint_eq(sconce_mux_has_events(m), 1);	/* CLOSING */
	mux_expect(SCONCE_EVENT_CLOSING);
	ck_assert_uint_eq(sconce_mux_has_events(m), 1);	/* the close */
	mux_expect(SCONCE_EVENT_CLOSED);
	ck_assert_uint_eq(sconce_mux_has_events(m), 0);
	close(peer);
}
END_TEST

/* EM-21: CLOSED comes after what was queued before, for whichever handle. */
START_TEST(test_next_closed_comes_after_all_that_was_queued)
{
	struct sconce_mux_handle *a = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .meta = "a" }, &peer);
	int other;
	struct sconce_mux_handle *b = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .meta = "b" }, &other);

	mux_get();
	mux_get();
	mux_forget();
	sconce_mux_kill(a, 0);
	for (int i = 0; i < 3; i++)
		sconce_mux_send(b, "x", 1);
	sconce_mux_close(b);
	for (int i = 0; i < 6; i++)
		mux_get();
	ck_assert_str_eq(order, "b.sent b.sent b.sent b.closing a.closed b.closed ");
	close(peer);
	close(other);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux");
	TCase *c = mux_case(s, "sequence");

	tcase_add_loop_test(c, test_next_sequence_of_each_situation, 0, sizeof(sequences) / sizeof(sequences[0]));
	c = mux_case(s, "next");
	tcase_add_test(c, test_next_queued_events_first_in_order);
	tcase_add_test(c, test_next_timeout_takes_its_time);
	tcase_add_test(c, test_next_trickle_without_records_keeps_deadline);
	tcase_add_test(c, test_next_partial_record_then_silence_stays_open);
	tcase_add_test(c, test_next_nothing_to_wait_for_is_idle);
	tcase_add_test(c, test_next_stopped_loop_is_canceled);
	tcase_add_test(c, test_next_and_free_from_hook_are_refused);
	tcase_add_test(c, test_next_leaves_loop_timeout_alone);
	tcase_add_test(c, test_new_on_loop_of_others);
	tcase_add_loop_test(c, test_new_two_backends_side_by_side, 0, 2);
	c = mux_case(s, "fairness");
	tcase_add_test(c, test_next_ready_handles_take_turns);
	tcase_add_test(c, test_next_flood_does_not_starve_the_loop);
	tcase_add_test(c, test_next_interleaved_halves_of_two_clients_do_not_mix);
	c = mux_case(s, "signals");
	tcase_add_test(c, test_next_signals_all_the_time_have_no_effect);
	c = mux_case(s, "own");
	tcase_add_test(c, test_push_events_come_back_in_order);
	tcase_add_test(c, test_has_events_counts_events_and_actions);
	tcase_add_test(c, test_next_closed_comes_after_all_that_was_queued);
	return s;
}
