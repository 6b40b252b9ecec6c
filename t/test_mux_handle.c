/* Handles of the multiplexer: sending, filters, meta, giving back, ends that hurt.  How they begin is in test_mux_open.c. */
#include "test_mux.h"

enum { MUCH = 8 << 20 };		/* more than the kernel takes */

static int peer;
static char much[MUCH];

/* ---- sending ---- */

/* EM-16, EM-50: what goes out at once is SENT once each; no bytes are nothing. */
START_TEST(test_send_at_once_is_sent_once)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	char buf[8];

	ck_assert_int_eq(sconce_mux_send(h, "abc", 3), SCONCE_SENT);
	ck_assert_int_eq(recv(peer, buf, sizeof(buf), MSG_DONTWAIT), 3);	/* it is not there later, it is there now */
	ck_assert_int_eq(sconce_mux_send(h, "", 0), SCONCE_SENT);
	ck_assert_uint_eq(sconce_mux_buflen(h), 0);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready sent ");
	close(peer);
}
END_TEST

/* EM-48, EM-50: what the kernel does not take is counted, and SENT once, when it has gone. */
START_TEST(test_send_queued_is_sent_when_it_has_gone)
{
	static char data[1 << 20], got[1 << 20];
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	size_t len = 0;

	bytes_fill(data, sizeof(data), 3);
	ck_assert_int_eq(sconce_mux_send(h, data, sizeof(data) / 2), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_mux_send(h, data + sizeof(data) / 2, sizeof(data) / 2), SCONCE_QUEUED);
	ck_assert_uint_gt(sconce_mux_buflen(h), sizeof(data) / 2);
	ck_assert_uint_lt(sconce_mux_buflen(h), sizeof(data));
	mux_expect(SCONCE_EVENT_READY);
	while (len < sizeof(got)) {
		ssize_t n = recv(peer, got + len, sizeof(got) - len, MSG_DONTWAIT);
		struct sconce_event ev;

		len += n > 0 ? (size_t)n : 0;
		if (sconce_mux_next(m, 0.001, &ev) == 1)
			mux_event(&ev);
	}
	mux_settle();
	ck_assert(bytes_are(got, len, 3));
	ck_assert_str_eq(tracks[0].log, "ready sent ");
	ck_assert_uint_eq(sconce_mux_buflen(h), 0);
	close(peer);
}
END_TEST

/* EM-59: a record is written through the filter, or through another one for output. */
START_TEST(test_put_writes_through_filter)
{
	struct sconce_filter *f = lines(), *out = split("$");
	struct sconce_record rec = sconce_record_of("rec", 3);
	int other;
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f }, &peer),
		*h2 = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f, .out_filter = out }, &other);
	char buf[8];

	sconce_filter_unref(f);
	sconce_filter_unref(out);
	ck_assert_int_eq(sconce_mux_put(h, &rec), SCONCE_SENT);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 4);
	ck_assert_mem_eq(buf, "rec\n", 4);
	ck_assert_int_eq(sconce_mux_put(h2, &rec), SCONCE_SENT);
	ck_assert_int_eq(read(other, buf, sizeof(buf)), 4);
	ck_assert_mem_eq(buf, "rec$", 4);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready sent ");
	close(peer);
	close(other);
}
END_TEST

/* A listener sends nothing, and a stream not to an address. */
START_TEST(test_send_to_what_does_not_send_is_refused)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL), *h = mux_pair(WIRE_UNIX, NULL, &peer);
	struct sconce_record rec = sconce_record_of("rec", 3);
	struct sconce_addr a;

	sconce_local(sconce_mux_sock(l), &a);
	ck_assert_int_eq(sconce_mux_send(l, "x", 1), -EINVAL);
	ck_assert_int_eq(sconce_mux_put(l, &rec), -EINVAL);
	ck_assert_int_eq(sconce_mux_sendto(h, &a, "x", 1), -EINVAL);
	ck_assert_int_eq(sconce_mux_set_filter(l, NULL), -EINVAL);
	ck_assert_int_eq(sconce_mux_want(l, 1), -EINVAL);
	close(peer);
}
END_TEST

/* ---- filters ---- */

/* EM-41: what waits is the new filter's at once, without new input; none at all makes it raw. */
START_TEST(test_set_filter_rescans_at_once)
{
	struct sconce_filter *f = lines(), *four = fixed(4);
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f }, &peer);

	mux_expect(SCONCE_EVENT_READY);
	say(peer, "head\nbodyrest");
	mux_expect(SCONCE_EVENT_READ);
	mux_settle();
	ck_assert_int_eq(sconce_mux_set_filter(h, four), 0);
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "head|body|rest|");
	say(peer, "xy");
	mux_settle();
	ck_assert_int_eq(sconce_mux_set_filter(h, NULL), 0);
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "head|body|rest|xy|");
	sconce_filter_unref(f);
	sconce_filter_unref(four);
	close(peer);
}
END_TEST

/* EM-49, IB-9: the body of a message is asked for when its head has said how long it is, and comes though nothing new arrives. */
START_TEST(test_want_fetches_body)
{
	struct sconce_http_options o = { .mode = SCONCE_HTTP_HEAD_ONLY };
	struct sconce_filter *f;
	struct sconce_mux_handle *h;
	struct sconce_event ev;

	ck_assert_int_eq(sconce_filter_http(&o, &f), 0);
	h = mux_pair(WIRE_UNIX, &(struct sconce_mux_options){ .filter = f }, &peer);
	sconce_filter_unref(f);
	mux_expect(SCONCE_EVENT_READY);
	say(peer, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_ne(ev.record->flags & SCONCE_RECORD_HEAD, 0);
	ck_assert_int_eq(sconce_mux_want(h, 4), 0);
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 4);
	ck_assert_mem_eq(ev.data, "body", 4);
	ck_assert_int_eq(sconce_mux_set_filter(h, NULL), 0);
	ck_assert_int_eq(sconce_mux_want(h, 4), -EINVAL);
	close(peer);
}
END_TEST

/* ---- meta ---- */

static int freed;

static void
free_meta(void *meta)
{
	ck_assert_ptr_eq(meta, &freed);
	freed++;
}

/* EM-34, EM-44, EM-18: the meta is there until CLOSED, and then freed, once; also when it is killed, removed, or the multiplexer goes. */
START_TEST(test_meta_lives_until_closed)
{
	struct sconce_mux_options o = { .meta = &freed, .free_meta = free_meta };
	struct sconce_mux_handle *h;
	struct sconce_event ev;
	int peers[4];

	freed = 0;
	h = mux_pair(WIRE_UNIX, &o, &peers[0]);
	sconce_mux_next(m, 0, &ev);
	sconce_mux_close(h);
	ck_assert_int_eq(sconce_mux_next(m, 1, &ev), 1);
	ck_assert_int_eq(sconce_mux_next(m, 1, &ev), 1);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_CLOSED);
	ck_assert_ptr_eq(sconce_mux_meta(h), &freed);
	ck_assert_int_eq(freed, 0);
	sconce_mux_next(m, 0, &ev);
	ck_assert_int_eq(freed, 1);
	h = mux_pair(WIRE_UNIX, &o, &peers[1]);
	ck_assert_int_ge(close(sconce_mux_remove(h)), 0);
	ck_assert_int_eq(freed, 2);
	h = mux_pair(WIRE_UNIX, &o, &peers[2]);
	sconce_mux_kill(h, 0);
	while (sconce_mux_next(m, 0, &ev) == 1)
		;
	ck_assert_int_eq(freed, 3);
	h = mux_pair(WIRE_UNIX, NULL, &peers[3]);
	ck_assert_ptr_null(sconce_mux_meta(h));
	sconce_mux_set_meta(h, &freed, free_meta);
	ck_assert_ptr_eq(sconce_mux_meta(h), &freed);
	ck_assert_int_eq(sconce_mux_free(m), 0);
	m = NULL;
	ck_assert_int_eq(freed, 4);
	for (int i = 0; i < 4; i++)
		close(peers[i]);
}
END_TEST

/* ---- ends ---- */

/* EM-45: the fd comes back open, its events are gone, and it can be added again. */
START_TEST(test_remove_gives_fd_back_and_purges)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	struct sconce_event ev, own = { .type = SCONCE_EVENT_USER, .handle = h };
	int fd = sconce_mux_fd(h);

	sconce_mux_send(h, "x", 1);
	sconce_mux_push(m, &own);
	ck_assert_uint_eq(sconce_mux_has_events(m), 3);
	ck_assert_int_eq(sconce_mux_remove(h), fd);
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	ck_assert_int_eq(sconce_mux_next(m, 0, &ev), 1);	/* what is the application's own stays */
	ck_assert_int_eq(ev.type, SCONCE_EVENT_USER);
	ck_assert_ptr_null(ev.handle);
	ck_assert_int_eq(sconce_mux_next(m, 0, &ev), 0);
	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &h), 0);
	say(peer, "y");
	mux_expect(SCONCE_EVENT_READY);
	mux_expect(SCONCE_EVENT_READ);
	close(peer);
}
END_TEST

/* EM-45: with output that the peer does not take too: what it has got stays got, the rest is lost. */
START_TEST(test_remove_with_output_stuck_gives_fd_back)
{
	static char big[4 * 1024 * 1024];
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	int fd = sconce_mux_fd(h);

	ck_assert_int_eq(sconce_mux_send(h, big, sizeof(big)), SCONCE_QUEUED);
	ck_assert_uint_gt(sconce_mux_buflen(h), 0);
	ck_assert_int_eq(sconce_mux_remove(h), fd);
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	close(fd);
	close(peer);
}
END_TEST

/* A handle that is paused takes nothing, neither from the kernel nor of what it has read; then all of it comes. */
START_TEST(test_pause_holds_input_until_resume)
{
	struct sconce_mux_options o = { .filter = NULL };
	struct sconce_mux_handle *h;
	struct sconce_event ev;

	ck_assert_int_eq(sconce_filter_line(NULL, &o.filter), 0);
	h = mux_pair(WIRE_UNIX, &o, &peer);
	sconce_filter_unref(o.filter);
	mux_settle();
	say(peer, "one\r\ntwo\r\n");
	mux_expect(SCONCE_EVENT_READ);
	sconce_mux_pause(h);
	say(peer, "three\r\n");
	ck_assert_int_eq(sconce_mux_next(m, 0, &ev), 0);
	ck_assert_int_eq(sconce_mux_next(m, 0.01, &ev), 0);
	sconce_mux_resume(h);
	mux_expect(SCONCE_EVENT_READ);
	mux_expect(SCONCE_EVENT_READ);
	ck_assert_str_eq(track_of(h)->data, "one|two|three|");
	sconce_mux_pause(h);
	close(peer);
	peer = -1;
	for (int i = 0; i < 3; i++)			/* a half-close is no reason to turn and turn */
		ck_assert_int_ge(sconce_mux_next(m, 0.005, &ev), 0);
	sconce_mux_close(h);
}
END_TEST

/* A listener that is paused accepts nothing. */
START_TEST(test_pause_listener_accepts_later)
{
	struct sconce_mux_handle *l;
	struct sconce_addr a;
	struct sconce_event ev;
	int fd;

	ck_assert_int_eq(sconce_mux_listen(m, "127.0.0.1:0", NULL, &l, NULL), 0);
	ck_assert_int_eq(sconce_local(sconce_mux_sock(l), &a), 0);
	sconce_mux_pause(l);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, &a.any, a.len), 0);
	ck_assert_int_eq(sconce_mux_next(m, 0.01, &ev), 0);
	sconce_mux_resume(l);
	mux_expect(SCONCE_EVENT_ACCEPTED);
	close(fd);
}
END_TEST

/* What has no fd to give says so. */
START_TEST(test_remove_connecting_or_closed_is_refused)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL), *h;
	struct sconce_addr a;
	char url[64], text[SCONCE_ADDR_TEXT];

	sconce_local(sconce_mux_sock(l), &a);
	snprintf(url, sizeof(url), "tcp://%s", sconce_addr_text(&a, text, sizeof(text)));
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	ck_assert_int_eq(sconce_mux_remove(h), -EBADF);
	sconce_mux_close(h);
	ck_assert_int_eq(sconce_mux_remove(h), -EBADF);
}
END_TEST

/* EM-46: closing again is nothing, nor is it for one that the peer has ended. */
START_TEST(test_close_again_does_nothing)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	sconce_mux_close(h);
	sconce_mux_close(h);
	mux_expect(SCONCE_EVENT_READY);
	mux_expect(SCONCE_EVENT_CLOSING);
	sconce_mux_close(h);
	mux_expect(SCONCE_EVENT_CLOSED);
	sconce_mux_close(h);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready closing closed ");
	close(peer);
	mux_forget();
	h = mux_pair(WIRE_UNIX, NULL, &peer);
	close(peer);
	mux_expect(SCONCE_EVENT_READY);
	mux_expect(SCONCE_EVENT_CLOSING);
	sconce_mux_close(h);
	mux_expect(SCONCE_EVENT_CLOSED);
	mux_settle();
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_EOF);
}
END_TEST

/* EM-17: during CLOSING the fd is open, and the peer's address known. */
START_TEST(test_closing_fd_is_still_open)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", NULL);
	struct sconce_addr a;
	struct sconce_event ev;

	peer = plain_connect(l);
	ev = mux_expect(SCONCE_EVENT_ACCEPTED);
	sconce_mux_close(ev.handle);
	ev = mux_expect(SCONCE_EVENT_CLOSING);
	ck_assert_int_ge(fcntl(sconce_mux_fd(ev.handle), F_GETFD), 0);
	ck_assert_int_eq(sconce_peer(sconce_mux_sock(ev.handle), &a), 0);
	ev = mux_expect(SCONCE_EVENT_CLOSED);
	close(peer);
}
END_TEST

/* EM-47: what is queued goes with a kill, but not that it began. */
START_TEST(test_kill_drops_events_but_the_first)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	sconce_mux_send(h, "x", 1);
	sconce_mux_close(h);
	sconce_mux_kill(h, 0);
	sconce_mux_kill(h, SCONCE_REASON_USER);
	mux_settle();
	ck_assert_str_eq(tracks[0].log, "ready closed ");
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_LOCAL);
	close(peer);
}
END_TEST

/* Sends on a socket whose peer has reset. */
static void
break_peer(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* AC-5, EM-10: the peer goes while output is queued: one error, closing, closed with what was left. */
START_TEST(test_peer_gone_with_output_queued_is_one_error)
{
	struct sconce_mux_handle *h = mux_pair((enum wire)_i, NULL, &peer);
	uint64_t left;

	ck_assert_int_eq(sconce_mux_send(h, much, sizeof(much)), SCONCE_QUEUED);
	left = sconce_mux_buflen(h);
	break_peer(peer);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready error closing closed ");
	ck_assert_uint_eq(tracks[0].missing, left);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_ERROR);
	ck_assert_int_ne(tracks[0].fail.errnum, 0);
}
END_TEST

/* What the peer had said before it went is read before the error is told. */
START_TEST(test_send_fails_what_came_before_is_read)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	static char big[1 << 20];

	mux_expect(SCONCE_EVENT_READY);
	say(peer, "last words");
	shutdown(peer, SHUT_RD);
	ck_assert_int_lt(sconce_mux_send(h, big, sizeof(big)), 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready read error closing closed ");
	ck_assert_int_eq(tracks[0].fail.errnum, EPIPE);
	close(peer);
}
END_TEST

/* AC-25, EM-47: a process that has a copy of the socket is not cut off by a close or a kill of ours. */
START_TEST(test_close_leaves_forked_copy_connected)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, NULL, &peer);
	int go[2], status;
	char buf[8];
	pid_t pid;

	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	mux_expect(SCONCE_EVENT_READY);
	pid = fork();
	if (pid == 0) {
		if (read(go[0], buf, 1) != 1 || write(sconce_mux_fd(h), "alive", 5) != 5)
			_exit(1);
		_exit(0);
	}
	if (_i == 0)
		sconce_mux_close(h);
	else
		sconce_mux_kill(h, 0);
	MUX_UNTIL(tracks[0].closed);
	mux_settle();
	say(go[1], "g");
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 5);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(go[0]);
	close(go[1]);
	close(peer);
}
END_TEST

/* HZ-10: a handle that waits for its CLOSING to be taken, or whose peer has gone, costs no time. */
START_TEST(test_closing_handles_do_not_spin)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, &(struct sconce_mux_options){ .linger = 5 }, &peer),
		*manual;
	int fds[2], other;
	struct sconce_event ev;
	double cpu;

	ck_assert_int_eq(sconce_mux_send(h, much, sizeof(much)), SCONCE_QUEUED);
	shutdown(peer, SHUT_WR);			/* it ends, and does not read: our output lingers */
	manual = mux_pair(WIRE_UNIX, NULL, &other);
	sconce_mux_close(manual);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[1], NULL, NULL), 0);
	mux_settle();
	cpu = t_cpu_seconds();
	ck_assert_int_eq(sconce_mux_next(m, 0.1, &ev), 0);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.02, "%g s", t_cpu_seconds() - cpu);
	ck_assert_str_eq(tracks[0].log, "ready closing ");
	close(peer);
	close(other);
	close(fds[0]);
}
END_TEST

/* EM-17, EM-16: output that waits when the peer ends still goes, SENT before CLOSED; when it may not linger any longer it is missing. */
START_TEST(test_peer_ends_output_still_goes)
{
	static char got[1 << 16];
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, &(struct sconce_mux_options){ .linger = _i == 0 ? 20 : 0.02 }, &peer);
	size_t len = 0;

	ck_assert_int_eq(sconce_mux_send(h, much, sizeof(much)), SCONCE_QUEUED);
	shutdown(peer, SHUT_WR);
	while (_i == 0 && len < MUCH) {
		ssize_t n = recv(peer, got, sizeof(got), MSG_DONTWAIT);
		struct sconce_event ev;

		len += n > 0 ? (size_t)n : 0;
		if (sconce_mux_next(m, 0.001, &ev) == 1)
			mux_event(&ev);
	}
	MUX_UNTIL(tracks[0].closed);
	if (_i == 0) {
		ck_assert_str_eq(tracks[0].log, "ready closing sent closed ");
		ck_assert_uint_eq(tracks[0].missing, 0);
		ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_EOF);
	} else {
		ck_assert_str_eq(tracks[0].log, "ready closing closed ");
		ck_assert_uint_gt(tracks[0].missing, 0);
		ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_TIMEOUT);
	}
	close(peer);
}
END_TEST

/* After a record that is too long the peer can be told so, though it goes on talking. */
START_TEST(test_overflow_can_be_answered)
{
	struct sconce_filter *f = lines();
	struct sconce_mux_handle *h;
	struct sconce_event ev;
	static char flood[100000];
	char buf[32];

	sconce_filter_set_max_record(f, 100);
	h = mux_pair(WIRE_TCP, &(struct sconce_mux_options){ .filter = f }, &peer);
	sconce_filter_unref(f);
	ck_assert_int_eq(write(peer, flood, sizeof(flood)), sizeof(flood));
	do
		ev = mux_get();
	while (ev.type != SCONCE_EVENT_CLOSING);
	ck_assert_int_eq(tracks[0].fail.errnum, EMSGSIZE);
	ck_assert_int_eq(sconce_mux_send(h, "too long", 8), SCONCE_SENT);
	mux_settle();
	shutdown(peer, SHUT_WR);
	ck_assert_uint_eq(hear_all(peer, buf, 8), 8);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 0);	/* an end, and no reset, though not all was read */
	MUX_UNTIL(tracks[0].closed);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_OVERFLOW);
	close(peer);
}
END_TEST

/* All that was sent gets there, though much of it is still queued and there is input that nobody reads; then the end. */
START_TEST(test_close_flush_sends_all)
{
	static char big[600 * 1000], got[sizeof(big) + 1];
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, NULL, &peer);
	struct sconce_event ev;
	size_t n = 0;

	mux_expect(SCONCE_EVENT_READY);
	memset(big, 'b', sizeof(big));
	ck_assert_int_eq(write(peer, "unread", 6), 6);
	ck_assert_int_ge(sconce_mux_send(h, big, sizeof(big)), 0);
	sconce_mux_close_flush(h, 5);
	sconce_mux_close_flush(h, 5);
	fcntl(peer, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 100000 && !tracks[0].closed; i++) {
		ssize_t r = read(peer, got + n, sizeof(got) - n);

		n += r > 0 ? (size_t)r : 0;
		if (r == 0)
			shutdown(peer, SHUT_WR);
		if (sconce_mux_next(m, 0.001, &ev) == 1)
			mux_event(&ev);
	}
	ck_assert_uint_eq(n, sizeof(big));
	ck_assert_uint_eq(tracks[0].missing, 0);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(tracks[0].closing, 1);
	close(peer);
}
END_TEST

/* What a reset has cut off is no record, whatever the filter: it comes behind the error, as what is left. */
START_TEST(test_reset_does_not_complete_records)
{
	static const char *const said[] = { "transfer 100;transfer 1", "half a line", "HTTP/1.0 200 OK\r\n\r\nhalf of it",
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it", "everything" };
	static const char *const reads[] = { "transfer 100|transfer 1|", "half a line|", "HTTP/1.0 200 OK\r\n\r\n|half of it|",
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n|half of it|", "everything|" };
	static const char *const logs[] = { "ready read error read_last closing closed ", "ready error read_last closing closed ",
		"ready read read error closing closed ", "ready read read error closing closed ", "ready error read_last closing closed " };
	struct sconce_http_options http = { .mode = SCONCE_HTTP_STREAMING, .responses = true };
	struct linger hard = { 1, 0 };
	struct sconce_mux_options o = { .filter = NULL };
	struct sconce_event ev;

	ck_assert_int_eq(_i == 0 ? sconce_filter_split(";", 1, &o.filter) : _i == 1 ? sconce_filter_line(NULL, &o.filter) :
	    _i == 4 ? sconce_filter_last(&o.filter) : sconce_filter_http(&http, &o.filter), 0);
	mux_pair(WIRE_TCP, &o, &peer);
	sconce_filter_unref(o.filter);
	mux_expect(SCONCE_EVENT_READY);
	ck_assert_int_eq(write(peer, said[_i], strlen(said[_i])), (ssize_t)strlen(said[_i]));
	while (sconce_mux_next(m, 0.02, &ev) == 1) {
		mux_event(&ev);
		ck_assert(ev.record == NULL || !(ev.record->flags & SCONCE_RECORD_END));
	}
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, logs[_i]);
	ck_assert_str_eq(tracks[0].data, reads[_i]);
	ck_assert_int_eq(tracks[0].fail.errnum, ECONNRESET);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_ERROR);
}
END_TEST

/* EM-59: a timeout of the socket is an error and an end. */
START_TEST(test_timeout_is_error_and_end)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	sconce_set_timeout(sconce_mux_sock(h), SCONCE_TIMEOUT_INPUT, 0.02);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready error closing closed ");
	ck_assert_int_eq(tracks[0].fail.errnum, ETIMEDOUT);
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_TIMEOUT);
	close(peer);
}
END_TEST

/* A socket that is closed past the multiplexer's functions has its ends all the same. */
START_TEST(test_sock_closed_by_others_is_told)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);

	mux_expect(SCONCE_EVENT_READY);
	sconce_close(sconce_mux_sock(h), SCONCE_REASON_USER + 1);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, "ready closing closed ");
	ck_assert_int_eq(tracks[0].reason, SCONCE_REASON_USER + 1);
	close(peer);
}
END_TEST

/* What is borrowed is good until the next call, though the handle is closed, killed or removed meanwhile. */
START_TEST(test_read_data_outlives_its_handle)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	struct sconce_event ev;

	mux_expect(SCONCE_EVENT_READY);
	say(peer, "precious");
	ev = mux_expect(SCONCE_EVENT_READ);
	if (_i == 0)
		sconce_mux_close(h);
	else if (_i == 1)
		sconce_mux_kill(h, 0);
	else
		close(sconce_mux_remove(h));
	ck_assert_mem_eq(ev.data, "precious", 8);
	mux_settle();
	close(peer);
}
END_TEST

/* EM-56: the loop's trace sees what the multiplexer's handles do. */
static void
trace(struct sconce_loop *loop, const struct sconce_trace *event, void *arg)
{
	(void)loop;
	*(int *)arg += strcmp(event->name, "send") == 0 && event->result == 5;
}

START_TEST(test_trace_sees_sends)
{
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, NULL, &peer);
	int sends = 0;

	sconce_set_trace(sconce_mux_loop(m), trace, &sends);
	sconce_mux_send(h, "trace", 5);
	ck_assert_int_eq(sends, 1);
	sconce_set_trace(sconce_mux_loop(m), NULL, NULL);
	close(peer);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_handle");
	TCase *c = mux_case(s, "send");

	tcase_add_test(c, test_send_at_once_is_sent_once);
	tcase_add_test(c, test_send_queued_is_sent_when_it_has_gone);
	tcase_add_test(c, test_put_writes_through_filter);
	tcase_add_test(c, test_send_to_what_does_not_send_is_refused);
	c = mux_case(s, "filter");
	tcase_add_test(c, test_set_filter_rescans_at_once);
	tcase_add_test(c, test_want_fetches_body);
	c = mux_case(s, "meta");
	tcase_add_test(c, test_meta_lives_until_closed);
	c = mux_case(s, "end");
	tcase_add_test(c, test_remove_gives_fd_back_and_purges);
	tcase_add_test(c, test_remove_with_output_stuck_gives_fd_back);
	tcase_add_test(c, test_pause_holds_input_until_resume);
	tcase_add_test(c, test_pause_listener_accepts_later);
	tcase_add_test(c, test_remove_connecting_or_closed_is_refused);
	tcase_add_test(c, test_close_again_does_nothing);
	tcase_add_test(c, test_closing_fd_is_still_open);
	tcase_add_test(c, test_kill_drops_events_but_the_first);
	tcase_add_loop_test(c, test_peer_gone_with_output_queued_is_one_error, 0, WIRES);
	tcase_add_test(c, test_send_fails_what_came_before_is_read);
	tcase_add_test(c, test_close_flush_sends_all);
	tcase_add_loop_test(c, test_reset_does_not_complete_records, 0, 5);
	tcase_add_loop_test(c, test_close_leaves_forked_copy_connected, 0, 2);
	tcase_add_test(c, test_closing_handles_do_not_spin);
	tcase_add_loop_test(c, test_peer_ends_output_still_goes, 0, 2);
	tcase_add_test(c, test_overflow_can_be_answered);
	tcase_add_test(c, test_timeout_is_error_and_end);
	tcase_add_test(c, test_sock_closed_by_others_is_told);
	tcase_add_loop_test(c, test_read_data_outlives_its_handle, 0, 3);
	tcase_add_test(c, test_trace_sees_sends);
	return s;
}
