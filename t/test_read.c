/* Reading, pushing back, interest, ends and hang-ups. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pair p;
static char big[2 * 1024 * 1024];

static void
setup(void)
{
	pair_open_counted(&p, WIRE_UNIX, 0, 0);
}

static void
setup_tcp(void)
{
	pair_open_counted(&p, WIRE_TCP, 0, 0);
}

static void
teardown(void)
{
	pair_free(&p);
}

static void
send_to_a(const char *text)
{
	ck_assert_int_ge(sconce_write(&p.b.sock, text, strlen(text)), 0);
	ck_assert_int_eq(sconce_flush(&p.b.sock), SCONCE_SENT);
}

/* ---- read ---- */

/* DS-74, DS-75, DS-88: bytes, nothing now, and the end are three different answers; the end stays. */
START_TEST(test_read_is_three_way)
{
	char buf[16];
	const void *data;

	sconce_watch_read(&p.a.sock, false);
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), -EAGAIN);
	send_to_a("hello");
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, 2), 2);
	ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), 3);
	ck_assert_mem_eq(data, "llo", 3);
	ck_assert_int_eq(sconce_shutdown(&p.b.sock, SHUT_WR), 0);
	errno = EAGAIN;					/* DS-77: a stale errno means nothing */
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, sizeof(buf)), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(sconce_read(&p.a.sock, buf, sizeof(buf)), 0);
		ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), 0);
	}
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 0);
}
END_TEST

/* DS-76: a length of 0 is no end. */
START_TEST(test_read_of_no_length_is_einval)
{
	ck_assert_int_eq(sconce_read(&p.a.sock, NULL, 0), -EINVAL);
	send_to_a("x");
	PAIR_UNTIL(&p, p.a.in_len == 1);
}
END_TEST

/* DS-71: on a closed socket. */
START_TEST(test_read_closed_is_ebadf)
{
	const void *data;
	char c;

	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_read(&p.a.sock, &c, 1), -EBADF);
	ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), -EBADF);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "x", 1), -EBADF);
}
END_TEST

/* DS-74: EINTR is retried, not an end; another error is told by the read, then by event_err, once. */
START_TEST(test_read_error_is_told_once)
{
	fault.eintr = true;
	fault.fd = p.a.sock.fd;
	send_to_a("x");
	PAIR_UNTIL(&p, p.a.in_len == 1);
	fault.recv_errno = ETIMEDOUT;
	send_to_a("y");
	PAIR_UNTIL(&p, p.a.errs == 1);
	ck_assert_int_eq(p.a.last, -ETIMEDOUT);
	ck_assert_int_eq(p.a.errnum, ETIMEDOUT);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
}
END_TEST

/* A hook that closes at its read error gets no event_err. DS-22 */
START_TEST(test_read_error_closed_in_hook_is_silent)
{
	p.a.close_at_end = true;
	fault.fd = p.a.sock.fd;
	fault.recv_errno = ECONNRESET;
	send_to_a("y");
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_str_eq(p.log, "a.read a.close a.destroy ");
	ck_assert_int_eq(p.a.close_errnum, ECONNRESET);
}
END_TEST

/* DS-73: a read may ask for more than a mebibyte. */
START_TEST(test_read_large_buffer)
{
	static char buf[2 * 1024 * 1024];
	int size = 4 * 1024 * 1024;

	sconce_watch_read(&p.a.sock, false);
	setsockopt(p.b.sock.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	sconce_write(&p.b.sock, big, sizeof(big));
	pair_turn(&p, 1);
	ck_assert_int_gt(sconce_read(&p.a.sock, buf, sizeof(buf)), 100000);
}
END_TEST

/* event_read comes again, up to 4 times in all, while the last read filled its buffer. */
START_TEST(test_read_full_buffer_comes_again)
{
	p.a.reading = READ_ONCE;
	p.a.read_size = 10;
	send_to_a("0123456789""0123456789""0123456789""0123456789""0123456789""01234");
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.reads, 4);
	ck_assert_uint_eq(p.a.in_len, 40);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.reads, 6);
	ck_assert_uint_eq(p.a.in_len, 55);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.reads, 6);
}
END_TEST

static const void *shared_a, *shared_b;

static void
read_shared_a(struct end *e)
{
	e->last = sconce_read_shared(&e->sock, e->tag[0] == 'a' ? &shared_a : &shared_b);
}

/* All sockets of a loop share one buffer; none owns one. */
START_TEST(test_read_shared_is_shared)
{
	p.a.on.read = p.b.on.read = read_shared_a;
	send_to_a("to a");
	sconce_write(&p.a.sock, "to b", 4);
	PAIR_UNTIL(&p, shared_a != NULL && shared_b != NULL);
	ck_assert_ptr_eq(shared_a, shared_b);
	ck_assert_ptr_null(p.a.sock._side);
	ck_assert_ptr_null(p.a.sock._queue);
}
END_TEST

/* ---- interest ---- */

static const struct sconce_sock_ops no_read_ops = {
	.name = "no read", .event_err = end_event_err, .event_hup = end_event_hup, .event_close = end_event_close,
	.destroy = end_destroy,
};

/* DS-46, DS-9: reads are watched if and only if the type has event_read; reasons against it are bits. */
START_TEST(test_watch_read_and_pause_are_bits)
{
	int fds[2];
	struct end *c;

	ck_assert_uint_eq(sconce_paused(&p.a.sock), 0);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ);
	sconce_pause(&p.a.sock, SCONCE_PAUSE_APP | SCONCE_PAUSE_RATE | SCONCE_PAUSE_FLOW);
	ck_assert_uint_eq(sconce_paused(&p.a.sock), SCONCE_PAUSE_APP | SCONCE_PAUSE_RATE);
	sconce_watch_read(&p.a.sock, false);
	send_to_a("x");
	sconce_resume(&p.a.sock, SCONCE_PAUSE_RATE);
	pair_quiet(&p);
	sconce_watch_read(&p.a.sock, true);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.reads, 0);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), 0);
	sconce_resume(&p.a.sock, SCONCE_PAUSE_APP);
	PAIR_UNTIL(&p, p.a.reads == 1);
	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", &no_read_ops, fds[0]);
	ck_assert_uint_eq(sconce_paused(&c->sock), SCONCE_PAUSE_WISH);
	ck_assert_int_eq(sconce_watch_read(&c->sock, true), -EINVAL);
	close(fds[1]);
}
END_TEST

static void
pause_in_hook(struct end *e)
{
	char c;

	ck_assert_int_eq(sconce_read(&e->sock, &c, 1), 1);	/* a full buffer, but paused */
	sconce_watch_read(&e->sock, false);
}

/* Pausing takes effect at once: no further event_read, not even of the same readiness. */
START_TEST(test_watch_read_off_in_hook_stops_at_once)
{
	p.a.on.read = pause_in_hook;
	send_to_a("xyz");
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.reads, 1);
}
END_TEST

/* Interest that comes and goes within a turn costs no call to the backend's kernel. */
START_TEST(test_watch_read_flapping_arms_at_the_end)
{
	for (int i = 0; i < 100; i++) {
		sconce_watch_read(&p.a.sock, false);
		sconce_watch_read(&p.a.sock, true);
	}
	pair_turn(&p, 1);
	ck_assert_uint_le(fault.arm, 2);
}
END_TEST

/* ---- unread ---- */

/* DS-6, DS-50, DS-72: in front of everything, never joined with the kernel's by sconce_read(). */
START_TEST(test_unread_is_in_front)
{
	char buf[100];

	sconce_watch_read(&p.a.sock, false);
	send_to_a("kernel");
	ck_assert_int_eq(sconce_unread(&p.a.sock, "BB", 2), 0);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "AAAA", 4), 0);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "", 0), 0);
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 6);
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, 3), 3);
	ck_assert_mem_eq(buf, "AAA", 3);
	ck_assert_int_eq(sconce_unread(&p.a.sock, "aaa", 3), 0);
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, 100), 6);
	ck_assert_mem_eq(buf, "aaaABB", 6);
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, 100), 6);
	ck_assert_mem_eq(buf, "kernel", 6);
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 0);
}
END_TEST

/* DS-72: sconce_read_shared() joins them with what the kernel has behind them: a record that was incomplete grows. */
START_TEST(test_unread_read_shared_joins)
{
	const void *data;

	sconce_watch_read(&p.a.sock, false);
	send_to_a("kernel");
	sconce_unread(&p.a.sock, "half", 4);
	ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), 10);
	ck_assert_mem_eq(data, "halfkernel", 10);
	sconce_unread(&p.a.sock, "half", 4);
	ck_assert_int_eq(sconce_read_shared(&p.a.sock, &data), 4);
}
END_TEST

/* Much, pushed back piece by piece: order kept. */
START_TEST(test_unread_many_pieces)
{
	static char buf[200000];
	size_t at = sizeof(buf);

	sconce_watch_read(&p.a.sock, false);
	while (at > 0) {
		size_t n = at < 777 ? at : 777;

		at -= n;
		ck_assert_int_eq(sconce_unread(&p.a.sock, big + at, n), 0);
	}
	while (at < sizeof(buf)) {
		ssize_t n = sconce_read(&p.a.sock, buf + at, 5000);

		ck_assert_int_gt(n, 0);
		at += (size_t)n;
	}
	ck_assert(bytes_are(buf, sizeof(buf), 0));
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, 1), -EAGAIN);
}
END_TEST

/* From outside a hook they are offered without new input, in the next turn; not while paused. */
START_TEST(test_unread_outside_hook_is_offered)
{
	sconce_unread(&p.a.sock, "x", 1);
	ck_assert_uint_eq(p.a.reads, 0);
	ck_assert_int_ge(sconce_loop_step(p.loop, 10), 1);	/* does not sleep */
	ck_assert_uint_eq(p.a.in_len, 1);
	sconce_watch_read(&p.a.sock, false);
	sconce_unread(&p.a.sock, "y", 1);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.in_len, 1);
	sconce_watch_read(&p.a.sock, true);
	ck_assert_int_ge(sconce_loop_step(p.loop, 10), 1);
	ck_assert_uint_eq(p.a.in_len, 2);
}
END_TEST

static void
half_record(struct end *e)
{
	const void *data;

	if (e->reading == READ_SHARED_ONCE) {
		e->last = sconce_read_shared(&e->sock, &data);
		if (e->last > 0)
			sconce_unread(&e->sock, data, (size_t)e->last);
	} else {
		char buf[100];

		e->last = sconce_read(&e->sock, buf, sizeof(buf));
		if (e->last > 0)
			sconce_unread(&e->sock, buf, (size_t)e->last);
	}
	if (e->last == 0)
		e->ended = true;
}

/* DS-89: half a record pushed back does not spin: it waits for new input. */
START_TEST(test_unread_half_record_does_not_spin)
{
	p.a.reading = _i == 0 ? READ_ONCE : READ_SHARED_ONCE;
	p.a.on.read = half_record;
	send_to_a("half");
	pair_turn(&p, 100);
	ck_assert_uint_le(p.a.reads, 2);
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 4);
	send_to_a(" and");
	pair_turn(&p, 100);
	ck_assert_uint_le(p.a.reads, 5);	/* what came behind it is reached, also by one read a hook */
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 8);
	ck_assert(!p.a.ended);
}
END_TEST

/* The end behind pushed-back bytes is offered once they make no progress, by either call; then it is quiet. I-10 */
START_TEST(test_unread_end_behind_half_record)
{
	p.a.reading = _i == 0 ? READ_ONCE : READ_SHARED_ONCE;
	p.a.on.read = half_record;
	send_to_a("half");
	pair_quiet(&p);
	sconce_shutdown(&p.b.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.a.ended);
	pair_quiet(&p);
	ck_assert_uint_le(p.a.reads, 6);
	ck_assert_uint_eq(sconce_unread_bytes(&p.a.sock), 4);
}
END_TEST

/* The same on a pipe, whose end cannot be peeked at. */
START_TEST(test_unread_pipe_end_behind_half_record)
{
	int fds[2];
	struct end *e;

	ck_assert_int_eq(pipe(fds), 0);
	e = end_open(&p, "pipe", &end_ops, fds[0]);
	e->reading = _i == 0 ? READ_ONCE : READ_SHARED_ONCE;
	e->on.read = half_record;
	ck_assert_int_eq(write(fds[1], "half", 4), 4);
	pair_quiet(&p);
	close(fds[1]);
	PAIR_UNTIL(&p, e->ended);
	pair_quiet(&p);
	ck_assert_uint_le(e->reads, 6);
	ck_assert_uint_eq(sconce_unread_bytes(&e->sock), 4);
}
END_TEST

/* HZ-8: a record that never ends is not collected for ever: past 1 MiB the input fails. */
START_TEST(test_unread_endless_record_is_enobufs)
{
	static char line[64 * 1024];

	p.a.reading = READ_ONCE;
	p.a.on.read = half_record;
	for (int i = 0; i < 4000 && p.a.errs == 0; i++) {
		if (sconce_queued(&p.b.sock) == 0)
			sconce_write(&p.b.sock, line, sizeof(line));
		sconce_loop_step(p.loop, 0);
	}
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_int_eq(p.a.errnum, ENOBUFS);
	ck_assert_uint_le(sconce_unread_bytes(&p.a.sock), 1024 * 1024 + 16 * 1024);
}
END_TEST

/* Takes one record ("xx;") a call and pushes the rest back. */
static void
one_record(struct end *e)
{
	const void *data;
	const char *end;
	char buf[100];

	if (e->reading == READ_SHARED_ONCE) {
		e->last = sconce_read_shared(&e->sock, &data);
	} else {
		e->last = sconce_read(&e->sock, buf, sizeof(buf));
		data = buf;
	}
	if (e->last == 0)
		e->ended = true;
	if (e->last <= 0)
		return;
	end = memchr(data, ';', (size_t)e->last);
	if (end == NULL) {
		sconce_unread(&e->sock, data, (size_t)e->last);
		return;
	}
	e->n++;
	pair_log(e->pair, "%.*s ", (int)(end + 1 - (const char *)data), (const char *)data);
	sconce_unread(&e->sock, end + 1, (size_t)e->last - (size_t)(end + 1 - (const char *)data));
}

/* Records one by one, an end behind half of one: all of them, then the end, no spinning. */
START_TEST(test_unread_records_then_end)
{
	p.a.reading = _i == 0 ? READ_ONCE : READ_SHARED_ONCE;
	p.a.on.read = one_record;
	send_to_a("r1;r2;r3;r4;half");
	sconce_shutdown(&p.b.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_int_eq(p.a.n, 4);
	pair_quiet(&p);
	ck_assert_uint_le(p.a.reads, 12);
}
END_TEST

/* The same, the end coming after the first record has been taken. */
START_TEST(test_unread_records_end_comes_later)
{
	p.a.reading = _i == 0 ? READ_ONCE : READ_SHARED_ONCE;
	p.a.on.read = one_record;
	send_to_a("r1;r2;r3;r4;half");
	pair_turn(&p, 1);
	sconce_shutdown(&p.b.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_int_eq(p.a.n, 4);
	pair_quiet(&p);
	ck_assert_uint_le(p.a.reads, 12);
}
END_TEST

/* Offering pushed-back bytes is one event_read a turn: others get theirs. DS-15 */
START_TEST(test_unread_offers_once_a_turn)
{
	p.a.reading = READ_ONCE;
	p.a.read_size = 1;
	sconce_unread(&p.a.sock, "0123456789", 10);
	for (unsigned i = 1; i <= 10; i++) {
		pair_turn(&p, 1);
		ck_assert_uint_eq(p.a.reads, i);
	}
	ck_assert_uint_eq(p.a.in_len, 10);
	pair_turn(&p, 3);
	ck_assert_uint_eq(p.a.reads, 10);
}
END_TEST

static void
close_b(struct end *e)
{
	if (e->n++ == 0)
		sconce_close(&p.b.sock, 0);
}

/* One object closes another that has pushed-back bytes, in the same round. */
START_TEST(test_unread_closed_in_the_same_round)
{
	p.a.on.read = close_b;
	sconce_unread(&p.b.sock, "b", 1);
	sconce_unread(&p.a.sock, "a", 1);
	pair_turn(&p, 3);
	ck_assert_uint_eq(p.b.destroys, 1);
}
END_TEST

/* ---- ends and hang-ups ---- */

/* DS-24, DS-26: the peer's half-close is an end, told once; it still gets its answer. */
START_TEST(test_end_is_told_once_and_answered)
{
	sconce_shutdown(&p.b.sock, SHUT_WR);
	PAIR_UNTIL(&p, p.a.ended);
	pair_turn(&p, 20);
	ck_assert_uint_eq(p.a.reads, 1);
	ck_assert_uint_eq(sconce_paused(&p.a.sock), SCONCE_PAUSE_END);
	ck_assert_uint_eq(p.a.hups + p.a.errs, 0);
	sconce_write(&p.a.sock, "answer", 6);
	PAIR_UNTIL(&p, p.b.in_len == 6);
}
END_TEST

/* A peer that goes away altogether, with input left: all of it is read, then the end. */
START_TEST(test_end_after_all_input)
{
	p.a.reading = READ_ONCE;
	p.a.read_size = 1;
	send_to_a("0123456789");
	sconce_close(&p.b.sock, 0);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_uint_eq(p.a.in_len, 10);
	pair_quiet(&p);
	ck_assert_uint_le(p.a.hups, 1);
}
END_TEST

/* A paused socket: a reset is told within a turn or two, its unread data stay as they are, nothing spins. DS-23 */
START_TEST(test_paused_reset_is_err_and_hup)
{
	send_to_a("");
	sconce_watch_read(&p.a.sock, false);
	send_to_a("data");
	pair_turn(&p, 2);
	fault_reset();
	sconce_write(&p.a.sock, "unread by b", 11);	/* so that b's close resets */
	sconce_watch_read(&p.b.sock, false);
	pair_turn(&p, 1);
	sconce_abort(&p.b.sock);
	PAIR_UNTIL(&p, p.a.hups == 1);
	pair_turn(&p, 20);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_uint_eq(p.a.reads, 0);
	ck_assert_uint_eq(fault.recv, 0);
	sconce_watch_read(&p.a.sock, true);
	PAIR_UNTIL(&p, p.a.in_len == 4 || p.a.reads > 0);
}
END_TEST

/* A paused socket is not told of a half-close; nor does it spin. */
START_TEST(test_paused_half_close_is_not_told)
{
	sconce_watch_read(&p.a.sock, false);
	pair_turn(&p, 1);
	send_to_a("data");
	sconce_shutdown(&p.b.sock, SHUT_WR);
	pair_turn(&p, 20);
	ck_assert_uint_eq(p.a.reads + p.a.hups + p.a.errs, 0);
	sconce_watch_read(&p.a.sock, true);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_uint_eq(p.a.in_len, 4);
}
END_TEST

/* A paused socket whose peer has gone cleanly (unix: both directions): hang-up, and the data stay readable. */
START_TEST(test_paused_close_is_hup_with_data_left)
{
	sconce_watch_read(&p.a.sock, false);
	pair_turn(&p, 1);
	send_to_a("data");
	sconce_close(&p.b.sock, 0);
	PAIR_UNTIL(&p, p.a.hups == 1);
	pair_turn(&p, 20);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_uint_eq(p.a.reads, 0);
	sconce_watch_read(&p.a.sock, true);
	PAIR_UNTIL(&p, p.a.ended);
	ck_assert_uint_eq(p.a.in_len, 4);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.hups, 1);
}
END_TEST

/* The same for a type without event_read, and for one that never had anything watched. */
START_TEST(test_no_event_read_is_told_of_hup)
{
	int fds[2];
	struct end *c;

	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", &no_read_ops, fds[0]);
	close(fds[1]);
	PAIR_UNTIL(&p, c->hups == 1);
	pair_turn(&p, 10);
	ck_assert_uint_eq(c->hups, 1);
	ck_assert_uint_eq(fault.watch_hup, 1);
}
END_TEST

/* Data in flight, then a reset, while reads are watched: DS-19's order: read, err, hup, each told once. */
START_TEST(test_reset_watching_read)
{
	sconce_abort(&p.b.sock);
	PAIR_UNTIL(&p, p.a.hups == 1);
	ck_assert_str_eq(p.log, "b.close b.destroy a.read a.err(104) a.hup ");
	pair_turn(&p, 10);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.hups, 1);
}
END_TEST

/* DS-20: watching write alone. */
START_TEST(test_reset_watching_write)
{
	sconce_watch_read(&p.a.sock, false);
	sconce_watch_write(&p.a.sock, true);
	pair_turn(&p, 2);
	sconce_abort(&p.b.sock);
	PAIR_UNTIL(&p, p.a.hups == 1);
	pair_turn(&p, 2);
	pair_log_clear(&p);
	pair_turn(&p, 10);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_str_eq(p.log, "");
}
END_TEST

/* A hook that does not read does not hide the reset from its socket. DS-21 */
START_TEST(test_reset_hook_that_does_not_read)
{
	p.a.reading = READ_NOTHING;
	send_to_a("x");
	pair_turn(&p, 3);
	sconce_abort(&p.b.sock);
	PAIR_UNTIL(&p, p.a.errs == 1 && p.a.hups == 1);
	sconce_close(&p.a.sock, 0);
}
END_TEST

/* ---- offers ---- */

/* A type that keeps input of its own asks for an event_read without new input: once, however often it asks, and never inside the call. */
START_TEST(test_offer_comes_once_without_input)
{
	p.a.reading = READ_NOTHING;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sconce_offer(&p.a.sock), 0);
	ck_assert_str_eq(p.log, "");
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "a.read ");
	ck_assert_uint_eq(fault.recv, 0);
}
END_TEST

static void
offer_again(struct end *e)
{
	sconce_offer(&e->sock);
}

/* Asked for in its own hook it comes in the next turn, which does not sleep, after the others had theirs. */
START_TEST(test_offer_in_hook_is_for_the_next_turn)
{
	p.a.on.read = offer_again;
	ck_assert_int_eq(sconce_offer(&p.a.sock), 0);
	for (int i = 1; i <= 4; i++) {
		ck_assert_int_ge(sconce_loop_step(p.loop, -1), 1);
		ck_assert_uint_eq(strlen(p.log), (size_t)i * 7);	/* "a.read " */
	}
	p.a.on.read = NULL;
	pair_quiet(&p);
}
END_TEST

/* Paused it waits for the resume, whatever the reason was. */
START_TEST(test_offer_waits_while_paused)
{
	sconce_watch_read(&p.a.sock, false);
	sconce_pause(&p.a.sock, SCONCE_PAUSE_APP);
	ck_assert_int_eq(sconce_offer(&p.a.sock), 0);
	pair_quiet(&p);
	sconce_watch_read(&p.a.sock, true);
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "");
	sconce_resume(&p.a.sock, SCONCE_PAUSE_APP);
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "a.read ");
}
END_TEST

/* After the end too, also over a pause; then the end is still the end. */
START_TEST(test_offer_after_the_end_comes)
{
	char buf[8];

	ck_assert_int_eq(sconce_shutdown(&p.b.sock, SHUT_WR), 0);
	pair_quiet(&p);
	pair_log_clear(&p);
	sconce_watch_read(&p.a.sock, false);
	ck_assert_int_eq(sconce_offer(&p.a.sock), 0);
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "");
	sconce_watch_read(&p.a.sock, true);
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "a.read ");
	ck_assert_int_eq(sconce_read(&p.a.sock, buf, sizeof(buf)), 0);
}
END_TEST

/* A closed socket is not offered anything; one that was offered and is closed before stays silent. */
START_TEST(test_offer_of_a_closed_socket_is_nothing)
{
	ck_assert_int_eq(sconce_offer(&p.a.sock), 0);
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_offer(&p.a.sock), -EBADF);
	pair_quiet(&p);
	ck_assert_ptr_null(strstr(p.log, "a.read"));
}
END_TEST

/* The error that a type has found itself is the socket's, unless one was met before; the record is what it says. */
START_TEST(test_close_error_keeps_the_first)
{
	sconce_set_failure(&p.a.sock, "filter", EBADMSG, "half a block");
	ck_assert_str_eq(sconce_failure(&p.a.sock)->operation, "filter");
	ck_assert_int_eq(sconce_failure(&p.a.sock)->errnum, EBADMSG);
	ck_assert_str_eq(sconce_failure(&p.a.sock)->text, "filter half a block: Bad message");
	sconce_close_error(&p.a.sock, SCONCE_REASON_OVERFLOW, EBADMSG);
	sconce_close_error(&p.a.sock, SCONCE_REASON_ERROR, EIO);
	ck_assert_int_eq(p.a.sock.errnum, EBADMSG);
	ck_assert_int_eq(p.a.sock.reason, SCONCE_REASON_OVERFLOW);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("read");
	TCase *c;

	bytes_fill(big, sizeof(big), 0);	/* once: the tests are forked from here */
	c = t_case(s, "read");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_read_is_three_way);
	tcase_add_test(c, test_read_of_no_length_is_einval);
	tcase_add_test(c, test_read_closed_is_ebadf);
	tcase_add_test(c, test_read_error_is_told_once);
	tcase_add_test(c, test_read_error_closed_in_hook_is_silent);
	tcase_add_test(c, test_read_large_buffer);
	tcase_add_test(c, test_read_full_buffer_comes_again);
	tcase_add_test(c, test_read_shared_is_shared);

	c = t_case(s, "interest");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_watch_read_and_pause_are_bits);
	tcase_add_test(c, test_watch_read_off_in_hook_stops_at_once);
	tcase_add_test(c, test_watch_read_flapping_arms_at_the_end);

	c = t_case(s, "unread");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_unread_is_in_front);
	tcase_add_test(c, test_unread_read_shared_joins);
	tcase_add_test(c, test_unread_many_pieces);
	tcase_add_test(c, test_unread_outside_hook_is_offered);
	tcase_add_loop_test(c, test_unread_half_record_does_not_spin, 0, 2);
	tcase_add_loop_test(c, test_unread_end_behind_half_record, 0, 2);
	tcase_add_loop_test(c, test_unread_pipe_end_behind_half_record, 0, 2);
	tcase_add_test(c, test_unread_endless_record_is_enobufs);
	tcase_add_loop_test(c, test_unread_records_then_end, 0, 2);
	tcase_add_loop_test(c, test_unread_records_end_comes_later, 0, 2);
	tcase_add_test(c, test_unread_offers_once_a_turn);
	tcase_add_test(c, test_unread_closed_in_the_same_round);

	c = t_case(s, "offer");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_offer_comes_once_without_input);
	tcase_add_test(c, test_offer_in_hook_is_for_the_next_turn);
	tcase_add_test(c, test_offer_waits_while_paused);
	tcase_add_test(c, test_offer_after_the_end_comes);
	tcase_add_test(c, test_offer_of_a_closed_socket_is_nothing);
	tcase_add_test(c, test_close_error_keeps_the_first);

	c = t_case(s, "ends");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_end_is_told_once_and_answered);
	tcase_add_test(c, test_end_after_all_input);
	tcase_add_test(c, test_paused_half_close_is_not_told);
	tcase_add_test(c, test_paused_close_is_hup_with_data_left);
	tcase_add_test(c, test_no_event_read_is_told_of_hup);

	c = t_case(s, "ends_tcp");
	tcase_add_checked_fixture(c, setup_tcp, teardown);
	tcase_add_test(c, test_end_is_told_once_and_answered);
	tcase_add_test(c, test_end_after_all_input);
	tcase_add_test(c, test_paused_half_close_is_not_told);
	tcase_add_test(c, test_paused_reset_is_err_and_hup);
	tcase_add_test(c, test_reset_watching_read);
	tcase_add_test(c, test_reset_watching_write);
	tcase_add_test(c, test_reset_hook_that_does_not_read);
	return s;
}
