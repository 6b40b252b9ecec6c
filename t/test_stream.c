/* Streams: records and raw input, ends, budgets, filters changed on the way, the other fd, stdio, pulling. */
#include "starve.h"

#include "harness.h"
#include "one_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- two filters of the test's own: lines that end in LF or ';', and pairs of bytes ---- */

static int
lines_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const char *end = NULL;

	(void)state;
	for (size_t i = 0; i < in->len && end == NULL; i++)
		if (in->data[i] == '\n')
			end = in->data + i;
	if ((end == NULL ? in->len : (size_t)(end - in->data)) > sconce_filter_max_record(f)) {
		in->error = "line too long";
		return -EMSGSIZE;
	}
	if (end == NULL)
		return SCONCE_FILTER_MORE;
	*rec_out = sconce_record_of(in->data, (size_t)(end - in->data));
	sconce_input_take(in, rec_out->len + 1);
	return SCONCE_FILTER_RECORD;
}

static int
lines_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)rec->data, rec->len }, { "\n", 1 } };

	(void)f;
	(void)state;
	return sconce_sink_pieces(to, iov, 2);
}

static const struct sconce_filter_ops lines_ops = { .name = "lines", .get = lines_get, .put = lines_put };

/* A record of two bytes, copied to the state: borrowed from it. */
static int
pairs_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	(void)f;
	if (in->len < 2)
		return SCONCE_FILTER_MORE;
	memcpy(state, in->data, 2);
	sconce_input_take(in, 2);
	*rec_out = sconce_record_of(state, 2);
	return SCONCE_FILTER_RECORD;
}

static const struct sconce_filter_ops pairs_ops = { .name = "pairs", .state_size = 2, .get = pairs_get };

static struct sconce_filter lines, pairs;

/* ---- a stream that writes down what happens to it ---- */

struct guest {
	struct sconce_stream stream;
	int peer;			/* the other end, plain */
	char log[8192];			/* "[record] eof(left) " */
	size_t log_len;
	int records, closed, destroyed;
	/* settable */
	void (*on_record)(struct guest *g, const struct sconce_record *rec);
	void (*on_input)(struct guest *g, struct sconce_input *in);
	void (*on_eof)(struct guest *g);
	bool keep_on_fail;
};

static struct guest g;

static struct guest *
guest_of(struct sconce_stream *st)
{
	return SCONCE_CONTAINER_OF(st, struct guest, stream);
}

static void __attribute__((format(printf, 2, 3)))
note(struct guest *x, const char *format, ...)
{
	size_t room = sizeof(x->log) - x->log_len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(x->log + x->log_len, room, format, args);
	va_end(args);
	x->log_len += (size_t)n < room ? (size_t)n : room - 1;
}

static void
guest_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	struct guest *x = guest_of(st);

	x->records++;
	note(x, rec->flags & SCONCE_RECORD_LAST ? "last[%.*s] " : "[%.*s] ", (int)rec->len, (const char *)rec->data);
	if (x->on_record != NULL)
		x->on_record(x, rec);
}

static void
guest_event_input(struct sconce_stream *st, struct sconce_input *in)
{
	struct guest *x = guest_of(st);

	note(x, "<%.*s> ", (int)(in->len < 40 ? in->len : 40), in->data);
	if (x->on_input != NULL)
		x->on_input(x, in);
}

static void
guest_event_eof(struct sconce_stream *st, struct sconce_input *left)
{
	struct guest *x = guest_of(st);

	note(x, "eof(%.*s) ", (int)left->len, left->len > 0 ? left->data : "");
	if (x->on_eof != NULL)
		x->on_eof(x);
}

static void
guest_event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	note(guest_of(st), "fail(%s %s) ", fail->operation, fail->text);
	if (!guest_of(st)->keep_on_fail)
		sconce_close(&st->sock, SCONCE_REASON_OVERFLOW);
}

static void
guest_event_err(struct sconce_stream *st, int errnum)
{
	note(guest_of(st), "err(%s) ", strerrorname_np(errnum));
	sconce_close(&st->sock, SCONCE_REASON_ERROR);
}

static void
guest_event_connect(struct sconce_stream *st, int errnum)
{
	note(guest_of(st), "connect(%d) ", errnum);
}

static void
guest_event_low(struct sconce_stream *st)
{
	note(guest_of(st), "low ");
}

static void
guest_event_high(struct sconce_stream *st)
{
	note(guest_of(st), "high ");
}

static void
guest_event_drain(struct sconce_stream *st)
{
	note(guest_of(st), "drain ");
}

static void
guest_event_timeout(struct sconce_stream *st, enum sconce_timeout_kind kind)
{
	(void)kind;
	note(guest_of(st), "timeout ");
}

static void
guest_event_close(struct sconce_stream *st)
{
	guest_of(st)->closed++;
}

static void
guest_destroy(struct sconce_stream *st)
{
	guest_of(st)->destroyed++;
}

#define GUEST_HOOKS .event_eof = guest_event_eof, .event_fail = guest_event_fail, .event_err = guest_event_err, \
	.event_connect = guest_event_connect, .event_low = guest_event_low, .event_high = guest_event_high, \
	.event_drain = guest_event_drain, .event_timeout = guest_event_timeout, .event_close = guest_event_close, \
	.destroy = guest_destroy

static const struct sconce_stream_ops framed_ops = { .name = "framed", .event_record = guest_event_record, GUEST_HOOKS };
static const struct sconce_stream_ops raw_ops = { .name = "raw", .event_input = guest_event_input, GUEST_HOOKS };
static const struct sconce_stream_ops bare_ops = {		/* only what it must have */
	.name = "bare", .event_record = guest_event_record, .event_close = guest_event_close, .destroy = guest_destroy,
};

static void
guest_ready(struct sconce_stream *st)
{
	note(guest_of(st), "ready ");
}

static const struct sconce_stream_ops pull_ops = {
	.name = "pull", .event_ready = guest_ready, .event_close = guest_event_close, .destroy = guest_destroy,
};

/* ---- fixtures ---- */

static void
begin_loop(void)
{
	setup_skewed();
	sconce_filter_init(&lines, &lines_ops);
	sconce_filter_init(&pairs, &pairs_ops);
	memset(&g, 0, sizeof(g));
	g.peer = -1;
}

static void
open_guest(const struct sconce_stream_ops *ops, const struct sconce_stream_options *opts)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, ops, fds[0], opts), 0);
	g.peer = fds[1];
}

static void
open_framed(void)
{
	struct sconce_stream_options opts = { .filter = &lines };

	open_guest(&framed_ops, &opts);
}

static void
end_loop(void)
{
	int refs = lines._refs + pairs._refs;

	ck_assert_int_ge(refs, 2);
	if (g.peer >= 0)
		close(g.peer);
	sconce_verify(loop);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = NULL;
	if (g.stream.ops != NULL) {
		ck_assert_int_eq(g.closed, 1);
		ck_assert_int_eq(g.destroyed, 1);
	}
	ck_assert_int_eq(lines._refs, 1);
	ck_assert_int_eq(pairs._refs, 1);
}

static void
turn(void)
{
	for (int quiet = 0, i = 0; quiet < 3 && i < 1000; i++)
		quiet = sconce_loop_step(loop, 0) == 0 ? quiet + 1 : 0;
}

static void
say(const char *text)
{
	ck_assert_int_eq(send(g.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

/* What the peer can read now; "" at the end. */
static const char *
hear(void)
{
	static char buf[65536];
	ssize_t n = recv(g.peer, buf, sizeof(buf) - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	return n < 0 ? "(nothing)" : buf;
}

#define LOG(text) ck_assert_str_eq(g.log, text)

/* ---- records ---- */

/* RW-3, RW-15: one hook per record, whole, however it arrives; empty ones too. */
START_TEST(test_record_split_over_reads_is_whole)
{
	open_framed();
	say("one\ntw");
	LOG("[one] ");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 2);
	say("o");
	say("\n\nthree\n");
	LOG("[one] [two] [] [three] ");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 0);
	ck_assert_ptr_null(g.stream._framer.in._own);	/* an idle stream owns no buffer */
}
END_TEST

/* AC-4, EM-58: half a record and then nothing is no reason to close. */
START_TEST(test_partial_record_then_silence_stays_open)
{
	open_framed();
	say("half");
	turn();
	LOG("");
	ck_assert(!g.stream.sock.closed);
	say(" a line\n");
	LOG("[half a line] ");
}
END_TEST

/* A record of a megabyte that comes in small pieces. */
START_TEST(test_record_long_arrives)
{
	static char piece[8192];
	size_t sent = 0;

	open_framed();
	memset(piece, 'x', sizeof(piece));
	while (sent < 1000 * 1000) {
		ssize_t n = send(g.peer, piece, sizeof(piece), MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		sconce_loop_step(loop, 0);
	}
	g.log_len = 0;
	say("\n");
	ck_assert_int_eq(g.records, 1);
}
END_TEST

static void
echo(struct guest *x, const struct sconce_record *rec)
{
	ck_assert_int_gt(sconce_stream_put(&x->stream, rec), 0);
}

/* RW-7: a record goes out through the filter; what is written in one dispatch leaves together. */
START_TEST(test_put_frames_and_gathers)
{
	open_framed();
	g.on_record = echo;
	say("a\nb\nc\n");
	ck_assert_str_eq(hear(), "a\nb\nc\n");
	ck_assert_int_gt(sconce_stream_put_bytes(&g.stream, "d", 1), 0);
	turn();
	ck_assert_str_eq(hear(), "d\n");
}
END_TEST

/* RW-2: the two directions may have different filters. */
START_TEST(test_put_uses_the_out_filter)
{
	struct sconce_stream_options opts = { .filter = &pairs, .out_filter = &lines };

	open_guest(&framed_ops, &opts);
	g.on_record = echo;
	say("abcde");
	LOG("[ab] [cd] ");
	ck_assert_str_eq(hear(), "ab\ncd\n");
}
END_TEST

static void
switch_to_pairs(struct guest *x, const struct sconce_record *rec)
{
	if (rec->len == 6 && memcmp(rec->data, "switch", 6) == 0) {
		ck_assert_int_eq(sconce_stream_set_filter(&x->stream, &pairs, NULL), 0);
		ck_assert_mem_eq(rec->data, "switch", 6);	/* still valid */
	} else if (rec->len == 2 && memcmp(rec->data, "go", 2) == 0) {
		ck_assert_int_eq(sconce_stream_set_filter(&x->stream, &lines, NULL), 0);
		ck_assert_int_eq(sconce_stream_set_filter(&x->stream, &pairs, NULL), 0);
		ck_assert_int_eq(sconce_stream_set_filter(&x->stream, &lines, NULL), 0);
		ck_assert_mem_eq(rec->data, "go", 2);		/* though it lies in the state of the filter before */
	}
}

/* Bytes put back in front of half a record that the filter has looked at are the next record's. */
START_TEST(test_unread_under_half_a_record)
{
	struct sconce_stream_options opts;

	memset(&opts, 0, sizeof(opts));
	ck_assert_int_eq(sconce_filter_line(NULL, &opts.filter), 0);
	open_guest(&framed_ops, &opts);
	sconce_filter_unref(opts.filter);
	say("ab");
	ck_assert_int_eq(sconce_stream_unread(&g.stream, "x\ny", 3), 0);
	sconce_stream_rescan(&g.stream);
	turn();
	LOG("[x] ");
	say("c\r\n");
	LOG("[x] [yabc] ");
}
END_TEST

/* RW-3, RW-9, EM-41: a hook changes the filter, and the bytes behind its record belong to the new one at once. */
START_TEST(test_set_filter_in_hook_rules_the_bytes_behind)
{
	open_framed();
	g.on_record = switch_to_pairs;
	say("one\nswitch\nabcdgotwo\nthr");
	LOG("[one] [switch] [ab] [cd] [go] [two] ");
	ck_assert_ptr_eq(sconce_stream_filter(&g.stream), &lines);
	say("ee\n");
	LOG("[one] [switch] [ab] [cd] [go] [two] [three] ");
}
END_TEST

/* RW-9, EM-41: changed outside hooks, what was left over is parsed without new input. */
START_TEST(test_set_filter_outside_rescans)
{
	open_framed();
	say("abcde");
	LOG("");
	ck_assert_int_eq(sconce_stream_set_filter(&g.stream, &pairs, NULL), 0);
	LOG("");					/* never inside the call */
	turn();
	LOG("[ab] [cd] ");
	ck_assert_int_eq(sconce_stream_set_filter(&g.stream, NULL, NULL), -EINVAL);
}
END_TEST

static void
pause_input(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	sconce_watch_read(&x->stream.sock, false);
}

/* RW-11: paused between two records the next one waits, without a byte from the peer, for the resume. */
START_TEST(test_pause_between_records_keeps_the_rest)
{
	open_framed();
	g.on_record = pause_input;
	say("a\nb\nc\nd");
	LOG("[a] ");
	sconce_watch_read(&g.stream.sock, true);
	LOG("[a] ");
	turn();
	LOG("[a] [b] ");
	g.on_record = NULL;
	sconce_watch_read(&g.stream.sock, true);
	turn();
	LOG("[a] [b] [c] ");
	say("\n");
	LOG("[a] [b] [c] [d] ");
}
END_TEST

/* The end that was read while records waited is told after them. */
START_TEST(test_pause_before_the_end_tells_it_last)
{
	open_framed();
	g.on_record = pause_input;
	ck_assert_int_eq(send(g.peer, "a\nb\nc", 5, 0), 5);
	shutdown(g.peer, SHUT_WR);
	turn();
	LOG("[a] ");
	for (int i = 0; i < 5; i++) {
		sconce_watch_read(&g.stream.sock, true);
		turn();
	}
	LOG("[a] [b] last[c] eof() ");
	ck_assert(g.stream.sock.closed || (sconce_paused(&g.stream.sock) & SCONCE_PAUSE_ENDING));
}
END_TEST

/* EM-22: a flood of records from one does not keep the others waiting. */
START_TEST(test_budget_leaves_room_for_others)
{
	struct sconce_stream_options opts = { .filter = &lines, .max_records = 4 };
	int most = 0;

	open_guest(&framed_ops, &opts);
	ck_assert_int_eq(send(g.peer, "1\n2\n3\n4\n5\n6\n7\n8\n9\n", 18, 0), 18);
	for (int i = 0; i < 10; i++) {
		int before = g.records;

		sconce_loop_step(loop, 0);
		most = g.records - before > most ? g.records - before : most;
	}
	ck_assert_int_eq(g.records, 9);
	ck_assert_int_le(most, 8);			/* the dispatch, and step 4 */
	LOG("[1] [2] [3] [4] [5] [6] [7] [8] [9] ");
}
END_TEST

/* RW-15: block size. */
START_TEST(test_read_size_limits_one_read)
{
	struct sconce_stream_options opts = { .read_size = 4 };

	open_guest(&raw_ops, &opts);
	say("abcdefghij");
	LOG("<abcd> <abcdefgh> <abcdefghij> ");
}
END_TEST

/* ---- limits ---- */

/* IB-2, PF-1: a record that would be too long ends the input; what was not parsed can be seen. */
START_TEST(test_record_too_long_fails)
{
	sconce_filter_set_max_record(&lines, 8);
	open_framed();
	g.keep_on_fail = true;
	say("short\nmuch too long\n");
	LOG("[short] fail(filter filter line too long: Message too long) ");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 14);
	say("more\n");
	sconce_watch_read(&g.stream.sock, true);
	turn();
	LOG("[short] fail(filter filter line too long: Message too long) ");
	ck_assert_int_gt(sconce_stream_put_bytes(&g.stream, "sorry", 5), 0);	/* output goes on */
	turn();
	ck_assert_str_eq(hear(), "sorry\n");
}
END_TEST

/* The same without a hook for it: closed, and the reason says why. */
START_TEST(test_record_too_long_without_hook_closes)
{
	struct sconce_stream_options opts = { .filter = &lines };

	sconce_filter_set_max_record(&lines, 8);
	open_guest(&bare_ops, &opts);
	say("much too long\n");
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.reason, SCONCE_REASON_OVERFLOW);
	ck_assert_int_eq(g.stream.sock.errnum, EMSGSIZE);
}
END_TEST

/* IB-2: the limit on what waits is asked when it arrives, though it holds whole records. */
START_TEST(test_max_buffer_refuses_the_chunk)
{
	struct sconce_stream_options opts = { .filter = &lines, .max_buffer = 16 };

	open_guest(&framed_ops, &opts);
	say("1234567\n1234567\n");
	say("abcdefg\nabcdefgh\n");
	LOG("[1234567] [1234567] fail(filter filter more input waits than may: No buffer space available) ");
}
END_TEST

/* HZ-8: raw input that nobody consumes is not kept without end. */
START_TEST(test_raw_unconsumed_is_bounded)
{
	static char piece[65536];

	open_guest(&raw_ops, NULL);
	for (int i = 0; i < 200 && !g.stream.sock.closed; i++) {
		send(g.peer, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
		sconce_loop_step(loop, 0);
		ck_assert_uint_le(sconce_stream_input(&g.stream)->len, 1 << 20);
	}
	ck_assert(g.stream.sock.closed);
	ck_assert_ptr_nonnull(strstr(g.log, "fail(filter"));
	turn();
}
END_TEST

/* ---- raw input ---- */

static void
consume_three(struct guest *x, struct sconce_input *in)
{
	(void)x;
	while (in->len >= 3)
		sconce_input_take(in, 3);
}

/* NS-32, IM-12, IM-22: what is consumed goes from the left, the rest is offered again with more behind it. */
START_TEST(test_input_is_consumed_from_the_left)
{
	open_guest(&raw_ops, NULL);
	g.on_input = consume_three;
	say("abcd");
	turn();
	LOG("<abcd> ");					/* C-10: not again until something comes */
	say("ef");
	LOG("<abcd> <def> ");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 0);
	say("gh");
	sconce_stream_rescan(&g.stream);
	turn();
	LOG("<abcd> <def> <gh> <gh> ");
	ck_assert_int_eq(sconce_stream_unread(&g.stream, "xyz", 3), 0);
	say("i");
	LOG("<abcd> <def> <gh> <gh> <xyzghi> ");
}
END_TEST

/* NS-33, IM-13: the end offers what is left once; what the hook writes is sent; then the stream closes by itself. */
START_TEST(test_eof_answer_is_flushed_and_closed)
{
	open_guest(&raw_ops, NULL);
	say("question");
	ck_assert_int_gt(sconce_write(&g.stream.sock, "answer", 6), 0);
	shutdown(g.peer, SHUT_WR);
	turn();
	LOG("<question> eof(question) ");
	ck_assert_str_eq(hear(), "answer");
	ck_assert_str_eq(hear(), "");			/* and the end */
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

static void
write_at_eof(struct guest *x)
{
	fprintf(sconce_stream_file(&x->stream), "bye %d", 42);
}

/* NS-33: output of the end's hook reaches a client that has half-closed. */
START_TEST(test_eof_hook_may_write)
{
	open_framed();
	g.on_eof = write_at_eof;
	shutdown(g.peer, SHUT_WR);
	turn();
	ck_assert_str_eq(hear(), "bye 42");
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

/* AC-8, IM-13: the end of input with 600 kB still to send and a slow reader: all arrives, then it closes without help. */
START_TEST(test_eof_with_much_queued_sends_all)
{
	static char big[600 * 1000];
	struct sconce_stream_options opts = { .filter = &lines };
	size_t got = 0;

	open_guest(&bare_ops, &opts);
	memset(big, 'b', sizeof(big));
	ck_assert_int_ge(sconce_write(&g.stream.sock, big, sizeof(big)), 0);
	shutdown(g.peer, SHUT_WR);
	turn();
	ck_assert_int_eq(g.destroyed, 0);
	for (int i = 0; i < 100000 && g.destroyed == 0; i++) {
		char buf[4000];
		ssize_t n = recv(g.peer, buf, sizeof(buf), 0);

		if (n > 0)
			got += (size_t)n;
		sconce_loop_step(loop, 0);
	}
	got += strlen(hear());
	ck_assert_uint_eq(got, sizeof(big));
	ck_assert_uint_eq(g.stream.sock.unsent, 0);
}
END_TEST

/* RW-5: with the manual policy the end stops reading only. */
START_TEST(test_eof_manual_goes_on_writing)
{
	struct sconce_stream_options opts = { .filter = &lines, .eof = SCONCE_EOF_MANUAL };

	open_guest(&framed_ops, &opts);
	say("a\nrest");
	shutdown(g.peer, SHUT_WR);
	turn();
	LOG("[a] last[rest] eof() ");
	ck_assert(!g.stream.sock.closed);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_gt(sconce_stream_put_bytes(&g.stream, "still", 5), 0);
		turn();
		ck_assert_str_eq(hear(), "still\n");
	}
	sconce_close(&g.stream.sock, 0);
	turn();
}
END_TEST

/* The third policy. */
START_TEST(test_eof_close_closes)
{
	struct sconce_stream_options opts = { .filter = &lines, .eof = SCONCE_EOF_CLOSE };

	open_guest(&framed_ops, &opts);
	shutdown(g.peer, SHUT_WR);
	turn();
	LOG("eof() ");
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.reason, SCONCE_REASON_EOF);
}
END_TEST

/* IM-17, RW-5: a reset is an error, told after the records that came before it. */
START_TEST(test_reset_is_told_after_records)
{
	struct sconce_stream_options opts = { .filter = &lines, .max_records = 2 };
	struct linger hard = { 1, 0 };
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);

	ck_assert_int_eq(bind(lfd, (struct sockaddr *)&in, sizeof(in)), 0);
	ck_assert_int_eq(listen(lfd, 1), 0);
	ck_assert_int_eq(getsockname(lfd, (struct sockaddr *)&in, &len), 0);
	g.peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(g.peer, (struct sockaddr *)&in, sizeof(in)), 0);
	fd = accept(lfd, NULL, NULL);
	close(lfd);
	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &framed_ops, fd, &opts), 0);
	ck_assert_int_eq(send(g.peer, "1\n2\n3\n4\n5\n", 10, 0), 10);
	sconce_loop_step(loop, 0);			/* has read all, and given two or four */
	setsockopt(g.peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(g.peer);
	g.peer = -1;
	turn();
	LOG("[1] [2] [3] [4] [5] err(ECONNRESET) ");
	ck_assert_int_eq(g.stream.sock.errnum, ECONNRESET);
}
END_TEST

/* ---- half-closes and closes ---- */

/* AC-9, IM-8: with nothing queued a half-close is one: the peer still sends and is read. */
START_TEST(test_shutdown_write_still_reads)
{
	open_framed();
	ck_assert_int_eq(sconce_shutdown(&g.stream.sock, SHUT_WR), 0);
	turn();
	ck_assert_str_eq(hear(), "");
	say("still here\n");
	LOG("[still here] ");
	ck_assert(!g.stream.sock.closed);
}
END_TEST

/* RW-12: a half-close waits for what is queued. */
START_TEST(test_shutdown_write_sends_the_queue_first)
{
	static char big[300 * 1000];
	size_t got = 0;
	ssize_t n = 1;

	open_framed();
	ck_assert_int_ge(sconce_write(&g.stream.sock, big, sizeof(big)), 0);
	ck_assert_int_eq(sconce_shutdown(&g.stream.sock, SHUT_WR), 0);
	for (int i = 0; i < 10000 && n != 0; i++) {
		char buf[16384];

		n = recv(g.peer, buf, sizeof(buf), 0);
		if (n > 0)
			got += (size_t)n;
		sconce_loop_step(loop, 0);
	}
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, sizeof(big));
}
END_TEST

/* AC-10, IM-9, RW-14: written and flush-closed is delivered; written and closed counts what is missing, and nothing else happens. */
START_TEST(test_close_flush_delivers_close_counts)
{
	static char big[5 * 1000 * 1000];
	size_t got = 0;

	open_framed();
	ck_assert_int_ge(sconce_write(&g.stream.sock, big, sizeof(big)), 0);
	if (_i == 0) {
		sconce_close_flush(&g.stream.sock, 30);
		for (int i = 0; i < 100000 && g.destroyed == 0; i++) {
			static char buf[65536];
			ssize_t n = recv(g.peer, buf, sizeof(buf), 0);

			if (n > 0)
				got += (size_t)n;
			if (n == 0)
				break;
			sconce_loop_step(loop, 0);
		}
		close(g.peer);				/* what the linger waits for */
		g.peer = -1;
		turn();
		ck_assert_uint_eq(got, sizeof(big));
		ck_assert_uint_eq(g.stream.sock.unsent, 0);
	} else {
		sconce_close(&g.stream.sock, 0);
		turn();
		ck_assert_uint_gt(g.stream.sock.unsent, 0);
		for (const char *text = hear(); strcmp(text, "(nothing)") != 0 && recv(g.peer, big, 1, MSG_PEEK) > 0; text = hear())
			;
	}
	LOG("");
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

/* RW-4, RW-6, RW-10, AC-21, C-9: a single write above the mark fires high; a partial drain and a small write do not lose the low; drained once. */
START_TEST(test_marks_have_hysteresis)
{
	static char big[1000 * 1000];
	char buf[65536];

	open_framed();
	ck_assert_int_eq(sconce_set_marks(&g.stream.sock, 1000, 100 * 1000), 0);
	ck_assert_int_eq(sconce_write(&g.stream.sock, big, sizeof(big)), SCONCE_QUEUED);
	turn();
	LOG("high ");
	while (sconce_queued(&g.stream.sock) > 90 * 1000) {
		ck_assert_int_gt(recv(g.peer, buf, 30000, 0), 0);
		sconce_loop_step(loop, 0);
	}
	LOG("high ");
	ck_assert_int_eq(sconce_write(&g.stream.sock, big, 10), SCONCE_QUEUED);	/* below the high mark */
	turn();
	LOG("high ");
	while (recv(g.peer, buf, sizeof(buf), 0) > 0)
		turn();
	LOG("high low drain ");
}
END_TEST

/* NS-36, IM-14: the timeouts of the base are the stream's. */
START_TEST(test_timeout_hook_runs)
{
	open_framed();
	ck_assert_int_eq(sconce_set_timeout(&g.stream.sock, SCONCE_TIMEOUT_ALARM, 0.3), 0);
	ck_assert_int_eq(sconce_set_timeout(&g.stream.sock, SCONCE_TIMEOUT_ALARM, 1), 0);	/* AC-7: replaces it */
	pass(0.5);
	LOG("");
	pass(0.6);
	LOG("timeout ");
	pass(2);
	LOG("timeout ");
}
END_TEST

/* AC-7: closing cancels the timer, and who gets the fd next does not inherit it. */
START_TEST(test_timeout_dies_with_the_stream)
{
	struct sconce_stream_options opts = { .filter = &lines };
	static struct guest second;
	int fds[2], old;

	open_framed();
	old = g.stream.sock.fd;
	ck_assert_int_eq(sconce_set_timeout(&g.stream.sock, SCONCE_TIMEOUT_ALARM, 0.3), 0);
	sconce_close(&g.stream.sock, 0);
	turn();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(fds[0], old);
	memset(&second, 0, sizeof(second));
	ck_assert_int_eq(sconce_stream_init(&second.stream, loop, &framed_ops, fds[0], &opts), 0);
	pass(2);
	LOG("");
	ck_assert_str_eq(second.log, "");
	sconce_close(&second.stream.sock, 0);
	turn();
	ck_assert_int_eq(second.destroyed, 1);
	close(fds[1]);
}
END_TEST

/* The default of a timeout without a hook. */
START_TEST(test_timeout_without_hook_closes)
{
	struct sconce_stream_options opts = { .filter = &lines };

	open_guest(&bare_ops, &opts);
	ck_assert_int_eq(sconce_set_timeout(&g.stream.sock, SCONCE_TIMEOUT_INPUT, 1), 0);
	pass(2);
	turn();
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_int_eq(g.stream.sock.errnum, ETIMEDOUT);
}
END_TEST

/* ---- another fd for output; stdio ---- */

/* RW-1: input from one pipe, output to another. */
START_TEST(test_out_fd_takes_the_output)
{
	struct sconce_stream_options opts = { .filter = &lines };
	int in[2], out[2];
	char buf[100];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &framed_ops, in[0], &opts), 0);
	ck_assert_int_eq(sconce_stream_set_out_fd(&g.stream, out[1]), 0);
	ck_assert_int_eq(sconce_stream_set_out_fd(&g.stream, out[1]), -EALREADY);
	g.on_record = echo;
	ck_assert_int_eq(write(in[1], "hello\n", 6), 6);
	turn();
	ck_assert_int_eq(read(out[0], buf, sizeof(buf)), 6);
	ck_assert_mem_eq(buf, "hello\n", 6);
	ck_assert_int_eq(write(in[1], "bye\n", 4), 4);
	close(in[1]);
	turn();
	LOG("[hello] [bye] eof() ");
	ck_assert_int_eq(read(out[0], buf, sizeof(buf)), 4);
	ck_assert_int_eq(read(out[0], buf, sizeof(buf)), 0);	/* sent, then closed with the stream */
	ck_assert_int_eq(g.destroyed, 1);
	close(out[0]);
}
END_TEST

/* RW-1: closing the stream closes its output; without a reader of the output the stream is told. */
START_TEST(test_out_fd_and_stream_end_together)
{
	struct sconce_stream_options opts = { .filter = &lines };
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &framed_ops, in[0], &opts), 0);
	ck_assert_int_eq(sconce_stream_set_out_fd(&g.stream, out[1]), 0);
	if (_i == 0)
		sconce_close(&g.stream.sock, 0);
	else
		close(out[0]);
	turn();
	LOG(_i == 0 ? "" : "err(EPIPE) ");
	ck_assert_int_eq(g.destroyed, 1);
	if (_i == 0)
		close(out[0]);
	close(in[1]);
}
END_TEST

/* NS-38, IM-19: what is printed to the FILE goes to the client, in order with other writes; closing it is a flush-close. */
START_TEST(test_file_prints_and_closes)
{
	FILE *f;

	open_framed();
	f = sconce_stream_file(&g.stream);
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_eq(sconce_stream_file(&g.stream), f);
	ck_assert_int_eq(fprintf(f, "one %d ", 1), 6);
	sconce_stream_put_bytes(&g.stream, "two", 3);
	ck_assert_int_eq(fputs("three\n", f) >= 0, 1);
	turn();
	ck_assert_str_eq(hear(), "one 1 two\nthree\n");
	fputs("last words", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(sconce_stream_put_bytes(&g.stream, "too late", 8), -EPIPE);
	turn();
	ck_assert_str_eq(hear(), "last words");
	ck_assert_str_eq(hear(), "");
}
END_TEST

/* A FILE of a stream that is closed refuses, and dies with it. */
START_TEST(test_file_after_close_refuses)
{
	FILE *f;

	open_framed();
	f = sconce_stream_file(&g.stream);
	sconce_close(&g.stream.sock, 0);
	errno = 0;
	ck_assert_int_lt(fprintf(f, "x"), 0);
	ck_assert_int_eq(errno, EPIPE);
	turn();
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

/* ---- connecting ---- */

/* A stream that has yet to be connected keeps what is written. */
START_TEST(test_connect_then_talk)
{
	struct sconce_stream_options opts = { .filter = &lines };
	struct sconce_addr a = { .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, .len = sizeof(a.in) };
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 1), 0);
	ck_assert_int_eq(getsockname(lfd, &a.any, &a.len), 0);
	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &framed_ops, -1, &opts), 0);
	ck_assert_int_eq(sconce_connect_addr(&g.stream.sock, &a), 0);
	ck_assert_int_ge(sconce_stream_put_bytes(&g.stream, "early", 5), 0);
	for (int i = 0; i < 100 && g.log_len == 0; i++)
		sconce_loop_step(loop, 0.1);
	LOG(strstr(g.log, "drain") != NULL ? "connect(0) drain " : "connect(0) ");
	g.peer = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	close(lfd);
	turn();
	ck_assert_str_eq(hear(), "early\n");
	g.log_len = 0;
	say("hi\n");
	for (int i = 0; i < 100 && g.records == 0; i++)
		sconce_loop_step(loop, 0.1);
	LOG("[hi] ");
}
END_TEST

/* Datagrams are no stream. */
START_TEST(test_connect_to_datagrams_is_refused)
{
	struct sconce_stream_options opts = { .filter = &lines };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[32];

	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &bare_ops, -1, &opts), 0);
	ck_assert_int_eq(sconce_connect(&g.stream.sock, "udp://127.0.0.1:9"), -EPROTOTYPE);
	ck_assert_str_eq(sconce_failure(&g.stream.sock)->operation, "socktype");
	ck_assert_int_eq(sconce_bind(&g.stream.sock, "udp://127.0.0.1:0", NULL), -EPROTOTYPE);
	snprintf(text, sizeof(text), "fd://%d", fd);
	ck_assert_int_eq(sconce_connect(&g.stream.sock, text), -EPROTOTYPE);
	ck_assert_str_eq(sconce_failure(&g.stream.sock)->operation, "socktype");
	close(fd);				/* still ours */
	ck_assert_int_eq(sconce_connect(&g.stream.sock, "tcp://127.0.0.1:1"), 0);
	turn();
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.errnum, ECONNREFUSED);
}
END_TEST

/* Without a hook a failed connect closes, with the errno. */
START_TEST(test_connect_failed_without_hook_closes)
{
	struct sconce_stream_options opts = { .filter = &lines };

	ck_assert_int_eq(sconce_stream_init(&g.stream, loop, &bare_ops, -1, &opts), 0);
	ck_assert_int_eq(sconce_connect(&g.stream.sock, "unix:///nonexistent/socket"), 0);
	turn();
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.reason, SCONCE_REASON_CONNECT);
	ck_assert_int_eq(g.stream.sock.errnum, ENOENT);
}
END_TEST

/* ---- pulling ---- */

#define NEXT(text) do { \
		ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 1); \
		ck_assert_uint_eq(rec.len, strlen(text)); \
		ck_assert_mem_eq(rec.data, text, rec.len); \
	} while (0)

/* A type that pulls is told once, and takes record after record, outside hooks. */
START_TEST(test_next_gives_records)
{
	struct sconce_stream_options opts = { .filter = &lines };
	struct sconce_record rec;

	open_guest(&pull_ops, &opts);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
	ck_assert_int_eq(send(g.peer, "a\nb\nhalf", 8, 0), 8);
	sconce_loop_step(loop, 0);
	LOG("ready ");
	NEXT("a");
	NEXT("b");
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
	ck_assert_int_eq(send(g.peer, " done\nc\n", 8, 0), 8);
	sconce_loop_step(loop, 0);
	NEXT("half done");
	NEXT("c");
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
	ck_assert_int_eq(send(g.peer, "end", 3, 0), 3);
	shutdown(g.peer, SHUT_WR);
	sconce_loop_step(loop, 0);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
	sconce_loop_step(loop, 0);
	NEXT("end");
	ck_assert_int_eq((int)rec.flags, SCONCE_RECORD_LAST);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), -ENODATA);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), -ENODATA);
	ck_assert(!g.stream.sock.closed);
	ck_assert_int_gt(sconce_stream_put_bytes(&g.stream, "x", 1), 0);
	turn();
	ck_assert_str_eq(hear(), "x\n");
}
END_TEST

/* Raw: what one read gave; and two streams do not get each other's bytes though the buffer is one. */
START_TEST(test_next_raw_keeps_streams_apart)
{
	struct sconce_stream_options opts = { .filter = &lines };
	static struct guest other;
	struct sconce_record rec, rec2;
	int fds[2];

	open_guest(&pull_ops, &opts);
	memset(&other, 0, sizeof(other));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(sconce_stream_init(&other.stream, loop, &pull_ops, fds[0], NULL), 0);
	ck_assert_int_eq(send(g.peer, "first\nsecond\n", 13, 0), 13);
	ck_assert_int_eq(send(fds[1], "############", 12, 0), 12);
	sconce_loop_step(loop, 0);
	NEXT("first");
	ck_assert_int_eq(sconce_stream_next(&other.stream, &rec2), 1);
	ck_assert_uint_eq(rec2.len, 12);
	NEXT("second");
	ck_assert_int_eq(sconce_stream_next(&other.stream, &rec2), 0);
	sconce_close(&other.stream.sock, 0);
	turn();
	ck_assert_int_eq(other.destroyed, 1);
	close(fds[1]);
}
END_TEST

/* What was read before an error is given before it. */
START_TEST(test_next_error_comes_last)
{
	struct sconce_stream_options opts = { .filter = &lines };
	struct sconce_record rec;

	sconce_filter_set_max_record(&lines, 4);
	open_guest(&pull_ops, &opts);
	ck_assert_int_eq(send(g.peer, "a\nmuch too long\n", 16, 0), 16);
	sconce_loop_step(loop, 0);
	NEXT("a");
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), -EMSGSIZE);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), -EMSGSIZE);
	ck_assert_str_eq(sconce_failure(&g.stream.sock)->operation, "filter");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 14);
	sconce_close(&g.stream.sock, 0);
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), -EBADF);
}
END_TEST

/* A send that fails: what the peer said before it went is given, then the errno. */
START_TEST(test_next_after_failed_send_gives_input_first)
{
	struct sconce_stream_options opts = { .filter = &lines };
	struct sconce_record rec;
	int r = 0;

	open_guest(&pull_ops, &opts);
	ck_assert_int_eq(send(g.peer, "a\nb\n", 4, 0), 4);
	close(g.peer);
	g.peer = -1;
	ck_assert_int_gt(sconce_write(&g.stream.sock, "x", 1), 0);
	turn();
	NEXT("a");
	NEXT("b");
	for (int i = 0; i < 5 && r == 0; i++) {
		r = sconce_stream_next(&g.stream, &rec);
		sconce_loop_step(loop, 0);
	}
	ck_assert_int_eq(r, -EPIPE);
	ck_assert(!g.stream.sock.closed);
}
END_TEST

/* ---- chunks and pauses at random ---- */

static unsigned rnd_state;

static unsigned
rnd(unsigned below)
{
	rnd_state = rnd_state * 1103515245 + 12345;
	return (rnd_state >> 16) % below;
}

static void
sometimes_pause(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	if (rnd(4) == 0)
		sconce_watch_read(&x->stream.sock, false);
	if (rnd(8) == 0)
		ck_assert_int_eq(sconce_stream_rescan(&x->stream), 0);
	if (rnd(8) == 0)
		ck_assert_int_eq(sconce_stream_set_filter(&x->stream, &lines, NULL), 0);
}

/* However the bytes arrive and whenever the reader pauses: the same records in the same order, then the end. */
START_TEST(test_records_are_the_same_however_they_arrive)
{
	struct sconce_stream_options opts = { .filter = &lines, .max_records = 1 + (unsigned)_i % 5, .read_size = _i % 3 == 0 ? 7 : 0 };
	char text[600], want[2000];
	size_t len = 0, want_len = 0, sent = 0;

	rnd_state = (unsigned)_i + 1;
	for (int i = 0; i < 40; i++) {
		size_t n = rnd(12);

		want_len += (size_t)sprintf(want + want_len, i == 39 && n > 0 ? "last[%.*s] " : i == 39 ? "" : "[%.*s] ", (int)n, "abcdefghijkl");
		memcpy(text + len, "abcdefghijkl", n);
		len += n;
		if (i < 39)
			text[len++] = '\n';
	}
	strcpy(want + want_len, "eof() ");
	open_guest(&framed_ops, &opts);
	g.on_record = sometimes_pause;
	for (int i = 0; i < 3000 && !g.stream.sock.closed; i++) {
		size_t n = 1 + rnd(30);

		n = n < len - sent ? n : len - sent;
		if (n > 0)
			ck_assert_int_eq(send(g.peer, text + sent, n, MSG_NOSIGNAL), (ssize_t)n);
		sent += n;
		if (sent == len)
			shutdown(g.peer, SHUT_WR);
		if (rnd(2))
			sconce_watch_read(&g.stream.sock, true);
		sconce_loop_step(loop, 0);
		if (strstr(g.log, "eof") != NULL)
			break;
	}
	LOG(want);
	turn();
}
END_TEST

/* A record longer than one read is whole, with small reads, with 256 KiB ones, and behind a piece that was left. */
START_TEST(test_next_long_record_is_whole)
{
	static char text[600 * 1000 + 1];
	struct sconce_stream_options opts = { .filter = &lines, .read_size = _i == 0 ? 4 : _i == 1 ? 1000 : 0 };
	struct sconce_record rec;
	size_t len = _i == 0 ? 10 : sizeof(text) - 1, sent = 0;
	int r = 0;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i % 23);
	text[len] = '\n';
	open_guest(&pull_ops, &opts);
	for (int i = 0; i < 20000 && r == 0; i++) {
		ssize_t n = sent <= len ? send(g.peer, text + sent, len + 1 - sent, MSG_NOSIGNAL) : 0;

		sent += n > 0 ? (size_t)n : 0;
		sconce_loop_step(loop, 0);
		r = sconce_stream_next(&g.stream, &rec);
	}
	ck_assert_int_eq(r, 1);
	ck_assert_uint_eq(rec.len, len);
	ck_assert_mem_eq(rec.data, text, len);
}
END_TEST

/* RW-15: one read for a record is enough of a budget; an idle stream sleeps. */
START_TEST(test_next_budget_of_one_read_does_not_spin)
{
	struct sconce_stream_options opts = { .filter = &lines, .max_reads = 1 };
	struct sconce_record rec;

	open_guest(&pull_ops, &opts);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(send(g.peer, "a\nb", 3, 0), 3);
		sconce_loop_step(loop, 0);
		ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 1);
		ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
		g.log_len = 0;
		g.log[0] = '\0';
		turn();
		LOG("");
	}
}
END_TEST

static int
twice(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	(void)arg;
	sconce_sink_record(to, rec);
	return sconce_sink_record(to, rec);
}

/* A record that waits in the filter alone is promised again by a rescan. */
START_TEST(test_rescan_finds_what_the_filter_holds)
{
	struct sconce_filter *stages[2] = { &lines, NULL };
	struct sconce_stream_options opts = { .filter = NULL };
	struct sconce_record rec;

	ck_assert_int_eq(sconce_filter_map(twice, NULL, NULL, &stages[1]), 0);
	ck_assert_int_eq(sconce_filter_stack(stages, 2, &opts.filter), 0);
	sconce_filter_unref(stages[1]);
	open_guest(&pull_ops, &opts);
	sconce_filter_unref(opts.filter);
	ck_assert_int_eq(send(g.peer, "one\n", 4, 0), 4);
	sconce_loop_step(loop, 0);
	NEXT("one");
	ck_assert_int_eq(sconce_stream_rescan(&g.stream), 0);
	turn();
	LOG("ready ready ");
	NEXT("one");
	ck_assert_int_eq(sconce_stream_next(&g.stream, &rec), 0);
}
END_TEST

/* ---- others' reads ---- */

static struct guest reader;

static void
read_another(struct guest *x, const struct sconce_record *rec)
{
	static char was[16];
	struct sconce_record other;
	const void *data;

	if (x->records > 1)
		return;
	memcpy(was, rec->data, rec->len);
	ck_assert_int_eq(sconce_stream_next(&reader.stream, &other), 1);
	ck_assert_int_eq(sconce_read_shared(&x->stream.sock, &data), -EAGAIN);
	ck_assert_mem_eq(rec->data, was, rec->len);
}

/* What a hook does with other sockets does not touch its record, nor those behind it. */
START_TEST(test_hook_reads_another_stream)
{
	int fds[2];

	open_framed();
	memset(&reader, 0, sizeof(reader));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(sconce_stream_init(&reader.stream, loop, &pull_ops, fds[0], NULL), 0);
	ck_assert_int_eq(send(fds[1], "############################", 28, 0), 28);
	g.on_record = read_another;
	say("one\ntwo\nthree\n");
	LOG("[one] [two] [three] ");
	sconce_close(&reader.stream.sock, 0);
	turn();
	close(fds[1]);
}
END_TEST

static void
close_with_more(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	sconce_close(&x->stream.sock, 0);
}

static char left_at_close[64];

static void
left_event_close(struct sconce_stream *st)
{
	const struct sconce_input *in = sconce_stream_input(st);

	snprintf(left_at_close, sizeof(left_at_close), "%.*s", (int)in->len, in->data);
	guest_event_close(st);
}

/* The farewell of a stream that was closed in its hook finds its own bytes, though others have been read since. */
START_TEST(test_closed_in_hook_keeps_its_own_rest)
{
	static const struct sconce_stream_ops ops = { .name = "left", .event_record = guest_event_record,
		.event_close = left_event_close, .destroy = guest_destroy };
	struct sconce_stream_options opts = { .filter = &lines };
	static struct guest other;
	int fds[2];

	open_guest(&ops, &opts);
	memset(&other, 0, sizeof(other));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(sconce_stream_init(&other.stream, loop, &framed_ops, fds[0], &opts), 0);
	g.on_record = close_with_more;
	ck_assert_int_eq(send(g.peer, "go\nmine\n", 8, 0), 8);
	ck_assert_int_eq(send(fds[1], "##########\n", 11, 0), 11);
	turn();
	ck_assert_str_eq(left_at_close, "mine\n");
	sconce_close(&other.stream.sock, 0);
	turn();
	close(fds[1]);
}
END_TEST

static void
take_all_and_unread(struct guest *x, struct sconce_input *in)
{
	static int calls;

	(void)x;
	sconce_input_take(in, in->len);
	if (calls++ == 1)
		ck_assert_int_eq(sconce_stream_unread(&x->stream, "0123456789", 10), 0);
}

/* Bytes put back when all that was lent has been taken. */
START_TEST(test_unread_behind_a_loan)
{
	open_guest(&raw_ops, NULL);
	say("first");
	sconce_input_take(sconce_stream_input(&g.stream), sconce_stream_input(&g.stream)->len);
	g.on_input = take_all_and_unread;
	say("second");
	say("third");
	LOG("<first> <second> <third> ");
	ck_assert_uint_eq(sconce_stream_input(&g.stream)->len, 10);
	say("!");
	LOG("<first> <second> <third> <0123456789!> ");
}
END_TEST

static void
put_back_once(struct guest *x, const struct sconce_record *rec)
{
	struct sconce_filter *f;

	if (x->records != 2)
		return;
	ck_assert_int_eq(sconce_filter_line(NULL, &f), 0);
	ck_assert_int_eq(sconce_stream_set_filter(&x->stream, f, NULL), 0);
	sconce_filter_unref(f);
	ck_assert_int_eq(sconce_stream_unread(&x->stream, "\n", 1), 0);
	ck_assert_int_eq(sconce_stream_unread(&x->stream, rec->data, rec->len), 0);
}

/* A record put back from its own hook, with a filter that only the stream knows by then. */
START_TEST(test_unread_of_the_record_itself)
{
	open_framed();
	g.on_record = put_back_once;
	say("one\ntw");
	say("o\nthree\n");
	LOG("[one] [two] [two] [three] ");
}
END_TEST

/* ---- ends that hooks see to ---- */

static void
close_flush_short(struct guest *x)
{
	sconce_close_flush(&x->stream.sock, 0.2);
}

/* What the hook of the end has begun is not begun again. */
START_TEST(test_eof_hook_may_close_by_itself)
{
	static char big[4 * 1000 * 1000];
	struct sconce_stream_options opts = { .filter = &lines, .eof = _i == 0 ? SCONCE_EOF_FLUSH_CLOSE : SCONCE_EOF_CLOSE, .linger = 5 };

	open_guest(&framed_ops, &opts);
	g.on_eof = close_flush_short;
	ck_assert_int_eq(sconce_write(&g.stream.sock, big, sizeof(big)), SCONCE_QUEUED);
	shutdown(g.peer, SHUT_WR);
	turn();
	ck_assert_int_eq(g.destroyed, 0);
	pass(1);
	turn();
	ck_assert_int_eq(g.destroyed, 1);
	ck_assert_int_eq(g.stream.sock.reason, SCONCE_REASON_TIMEOUT);
}
END_TEST

static void
answer_in_vain(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	sconce_stream_put_bytes(&x->stream, "answer", 6);
}

static void
note_err(struct sconce_stream *st, int errnum)
{
	note(guest_of(st), "err(%s) ", strerrorname_np(errnum));
}

/* A peer that sends, ends and is gone: records, the error of the answer, and the end too, for a hook that leaves closing to it. */
START_TEST(test_error_and_end_are_both_told)
{
	static const struct sconce_stream_ops ops = { .name = "both", .event_record = guest_event_record, .event_eof = guest_event_eof,
		.event_err = note_err, .event_close = guest_event_close, .destroy = guest_destroy };
	struct sconce_stream_options opts = { .filter = &lines, .max_records = 1, .eof = SCONCE_EOF_CLOSE };

	open_guest(&ops, &opts);
	g.on_record = answer_in_vain;
	ck_assert_int_eq(send(g.peer, "one\ntwo\nrest", 12, 0), 12);
	close(g.peer);
	g.peer = -1;
	turn();
	ck_assert_ptr_nonnull(strstr(g.log, "[one] [two] "));
	ck_assert_ptr_nonnull(strstr(g.log, "err(EPIPE)"));
	ck_assert_ptr_nonnull(strstr(g.log, "eof("));
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

/* A send that failed does not cut off what the peer said, however small the reads. */
START_TEST(test_failed_send_with_small_reads_gives_all)
{
	struct sconce_stream_options opts = { .filter = &lines, .read_size = 16, .max_reads = 100 };

	open_guest(&framed_ops, &opts);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(send(g.peer, "record\n", 7, 0), 7);
	close(g.peer);
	g.peer = -1;
	sconce_stream_put_bytes(&g.stream, "x", 1);
	turn();
	ck_assert_int_eq(g.records, 100);
	ck_assert_ptr_nonnull(strstr(g.log, "err(EPIPE)"));
}
END_TEST

static void
end_in_order_once_failed(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	if (sconce_failure(&x->stream.sock) == NULL)
		return;
	note(x, "ends ");
	sconce_close_flush(&x->stream.sock, 5);
}

/* A record hook that ends the stream in order while a failed send is being told has the last word: no record, no error follows. */
START_TEST(test_failed_send_is_not_told_after_close_flush)
{
	struct sconce_stream_options opts = { .filter = &lines, .read_size = 16, .max_reads = 100 };

	open_guest(&framed_ops, &opts);
	g.on_record = end_in_order_once_failed;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(send(g.peer, "record\n", 7, 0), 7);
	close(g.peer);
	g.peer = -1;
	sconce_stream_put_bytes(&g.stream, "x", 1);
	turn();
	ck_assert_ptr_nonnull(strstr(g.log, "[record] ends "));
	ck_assert_str_eq(strstr(g.log, "ends "), "ends ");
	ck_assert_int_eq(g.destroyed, 1);
}
END_TEST

static void
end_without_memory(struct guest *x, const struct sconce_record *rec)
{
	(void)rec;
	sconce_stream_put_bytes(&x->stream, "bye", 3);
	sconce_close_flush(&x->stream.sock, 5);
	starve_left = 1;
}

/* Nor does a failure of the filter: that there is no memory for what stands behind the last record concerns nobody any more. */
START_TEST(test_no_memory_is_not_told_after_close_flush)
{
	starve_failed = 0;
	open_framed();
	g.on_record = end_without_memory;
	say("one\ntwo\nthree");
	starve_left = 0;
	if (STARVE_WORKS)
		ck_assert_int_eq(starve_failed, 1);
	LOG("[one] ");
	ck_assert_str_eq(hear(), "bye\n");
}
END_TEST

/* ---- making one ---- */

/* Tables and options that do not agree are refused, and the fd stays the caller's. */
START_TEST(test_init_refuses_what_does_not_agree)
{
	static const struct sconce_stream_ops none = { .name = "none" }, two = { .name = "two", .event_record = guest_event_record,
		.event_input = guest_event_input }, nameless = { .event_input = guest_event_input };
	struct sconce_stream_options filtered = { .filter = &lines };
	struct sconce_stream st;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &none, fds[0], &filtered), -EINVAL);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &two, fds[0], &filtered), -EINVAL);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &nameless, fds[0], NULL), -EINVAL);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &framed_ops, fds[0], NULL), -EINVAL);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &raw_ops, fds[0], &filtered), -EINVAL);
	ck_assert_int_eq(sconce_stream_init(&st, loop, &framed_ops, 12345, &filtered), -EBADF);
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* Listings show the type, the socket and what waits. */
START_TEST(test_describe_names_the_type)
{
	char line[300];

	open_framed();
	say("abc");
	sconce_describe(&g.stream.sock, line, sizeof(line));
	ck_assert_ptr_nonnull(strstr(line, "framed stream#"));
	ck_assert_ptr_nonnull(strstr(line, "unread 3"));
	ck_assert(sconce_stream_is(&g.stream.sock));
	ck_assert_ptr_eq(sconce_stream_of(&g.stream.sock), &g.stream);
}
END_TEST

static void
add_tests(Suite *s, const char *name, const TTest *const *tests, size_t count)
{
	TCase *tc = t_case(s, name);

	tcase_add_checked_fixture(tc, begin_loop, end_loop);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, tests[i]);
}
#define ADD(s, name, ...) do { \
		const TTest *const tests_[] = { __VA_ARGS__ }; \
		add_tests(s, name, tests_, sizeof(tests_) / sizeof(tests_[0])); \
	} while (0)

Suite *
t_suite(void)
{
	Suite *s = suite_create("stream");
	TCase *tc = t_case(s, "variants");

	tcase_add_checked_fixture(tc, begin_loop, end_loop);
	tcase_add_loop_test(tc, test_close_flush_delivers_close_counts, 0, 2);
	tcase_add_loop_test(tc, test_next_long_record_is_whole, 0, 3);
	tcase_add_loop_test(tc, test_eof_hook_may_close_by_itself, 0, 2);
	tcase_add_loop_test(tc, test_records_are_the_same_however_they_arrive, 0, 60);
	tcase_add_loop_test(tc, test_out_fd_and_stream_end_together, 0, 2);
	ADD(s, "records", test_record_split_over_reads_is_whole, test_partial_record_then_silence_stays_open,
		test_record_long_arrives, test_put_frames_and_gathers, test_put_uses_the_out_filter, test_unread_under_half_a_record,
		test_set_filter_in_hook_rules_the_bytes_behind, test_set_filter_outside_rescans,
		test_pause_between_records_keeps_the_rest, test_pause_before_the_end_tells_it_last,
		test_budget_leaves_room_for_others, test_read_size_limits_one_read);
	ADD(s, "limits", test_record_too_long_fails, test_record_too_long_without_hook_closes,
		test_max_buffer_refuses_the_chunk, test_raw_unconsumed_is_bounded);
	ADD(s, "ends", test_input_is_consumed_from_the_left, test_eof_answer_is_flushed_and_closed, test_eof_hook_may_write,
		test_eof_with_much_queued_sends_all, test_eof_manual_goes_on_writing, test_eof_close_closes,
		test_reset_is_told_after_records, test_shutdown_write_still_reads, test_shutdown_write_sends_the_queue_first,
		test_marks_have_hysteresis, test_timeout_hook_runs, test_timeout_dies_with_the_stream,
		test_timeout_without_hook_closes);
	ADD(s, "output", test_out_fd_takes_the_output, test_file_prints_and_closes, test_file_after_close_refuses,
		test_connect_then_talk, test_connect_to_datagrams_is_refused, test_connect_failed_without_hook_closes);
	ADD(s, "pull", test_next_gives_records, test_next_raw_keeps_streams_apart, test_next_error_comes_last,
		test_next_after_failed_send_gives_input_first, test_next_budget_of_one_read_does_not_spin,
		test_rescan_finds_what_the_filter_holds);
	ADD(s, "hooks", test_hook_reads_another_stream, test_closed_in_hook_keeps_its_own_rest, test_unread_behind_a_loan,
		test_unread_of_the_record_itself, test_error_and_end_are_both_told, test_failed_send_with_small_reads_gives_all,
		test_failed_send_is_not_told_after_close_flush, test_no_memory_is_not_told_after_close_flush);
	ADD(s, "init", test_init_refuses_what_does_not_agree, test_describe_names_the_type);
	return s;
}
