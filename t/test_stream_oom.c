/* Streams without memory: allocation number n fails, for every n of a short run, and the stream either works, or says why not and closes;
 * nothing leaks and no record comes twice or out of order.  HZ-22 */
#include "starve.h"

#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/sconce.h>

enum { MAX_N = 400 };

static const char *const want[] = { "first", "second", "a longer one that comes in two pieces", "third", "rest" };

static struct sconce_filter *lines;
static struct {
	struct sconce_stream stream;
	int got;			/* records, the right ones in their order */
	bool failed, eof, destroyed, wrong;
} v;

static void
event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	if (v.got == 5 || rec->len != strlen(want[v.got]) || memcmp(rec->data, want[v.got], rec->len) != 0) {
		v.wrong = true;			/* check allocates when it asserts: not now */
		return;
	}
	v.got++;
	sconce_stream_put(st, rec);
	if (v.got == 2 || v.got == 4)
		sconce_watch_read(&st->sock, false);
	if (v.got == 3)
		sconce_stream_set_filter(st, lines, lines);
}

static void
event_eof(struct sconce_stream *st, struct sconce_input *left)
{
	(void)left;
	v.eof = true;
	if (sconce_stream_file(st) != NULL)
		fputs("bye", sconce_stream_file(st));
}

static void
event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	v.wrong |= fail->errnum != ENOMEM;
	v.failed = true;
	sconce_close(&st->sock, SCONCE_REASON_ERROR);
}

static void
destroy(struct sconce_stream *st)
{
	(void)st;
	v.destroyed = true;
}

static const struct sconce_stream_ops ops = {
	.name = "starving", .event_record = event_record, .event_eof = event_eof, .event_fail = event_fail, .destroy = destroy,
};

static void
turns(struct sconce_loop *loop)
{
	for (int i = 0; i < 6; i++) {
		sconce_loop_step(loop, 0);
		if (!v.destroyed)
			sconce_watch_read(&v.stream.sock, true);
	}
}

/* One run; allocation `n` of it fails (0: none). */
static void
run(long n)
{
	struct sconce_stream_options opts = { .max_records = 2 };
	struct sconce_loop *loop;
	int fds[2], r;

	memset(&v, 0, sizeof(v));
	starve_failed = 0;
	starve_left = n;
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
	if (sconce_loop_new(NULL, &loop) < 0) {
		starve_left = 0;
		ck_assert_int_gt(starve_failed, 0);
		close(fds[0]);
		close(fds[1]);
		return;
	}
	r = sconce_filter_line(NULL, &lines);
	if (r == 0) {
		opts.filter = lines;
		r = sconce_stream_init(&v.stream, loop, &ops, fds[0], &opts);
	}
	if (r < 0) {
		v.wrong |= r != -ENOMEM;
		close(fds[0]);
		v.destroyed = true;
	}
	send(fds[1], "first\nsecond\na longer one that ", 31, MSG_NOSIGNAL);
	turns(loop);
	send(fds[1], "comes in two pieces\nthird\nrest", 30, MSG_NOSIGNAL);
	turns(loop);
	shutdown(fds[1], SHUT_WR);
	turns(loop);
	starve_left = 0;
	turns(loop);
	ck_assert(!v.wrong);
	ck_assert_msg(v.got == 5 || starve_failed > 0, "allocation %ld: %d records", n, v.got);
	ck_assert(v.eof || v.failed || v.destroyed);
	close(fds[1]);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert(v.destroyed);
	if (r == 0 || opts.filter != NULL)
		sconce_filter_unref(lines);
}

START_TEST(test_stream_without_memory_says_so)
{
	long n = 1;

	run(0);
	ck_assert_int_eq(v.got, 5);
	ck_assert(v.eof);
	if (!STARVE_WORKS)
		return;
	do
		run(n);
	while (starve_failed > 0 && ++n < MAX_N);
	ck_assert_int_gt(n, 10);
	ck_assert_int_lt(n, MAX_N);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("stream_oom");
	TCase *c = t_case(s, "sweep");

	tcase_add_test(c, test_stream_without_memory_says_so);
	return s;
}
