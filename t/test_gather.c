/* The gather buffer: bytes and completions of one dispatch, together in one send, and what becomes of them when it is refused. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct pair p;
static int results[3];

static void
setup(void)
{
	pair_open_counted(&p, WIRE_UNIX, 0, 0);
}

static void
teardown(void)
{
	pair_free(&p);
}

/* `hook` runs as a's event_read, with faults as they are then; b's input is what a wrote. */
static void
in_hook(void (*hook)(struct end *e))
{
	p.a.on.read = hook;
	ck_assert_int_eq(sconce_write(&p.b.sock, "go", 2), SCONCE_GATHERED);
	PAIR_UNTIL(&p, p.a.reads > 0);
}

static void
swallow(struct end *e)
{
	char buf[16];

	while (sconce_read(&e->sock, buf, sizeof(buf)) > 0)
		;
}

static void
write_cb(struct end *e, const char *name)
{
	ck_assert_int_eq(sconce_write_cb(&e->sock, log_done, (void *)(uintptr_t)name), SCONCE_GATHERED);
}

/* Six bytes, a completion behind each two. */
static void
three(struct end *e)
{
	swallow(e);
	if (e->reads > 1)
		return;
	sconce_write(&e->sock, "aa", 2);
	write_cb(e, "A");
	sconce_write(&e->sock, "bb", 2);
	write_cb(e, "B");
	sconce_write(&e->sock, "cc", 2);
	write_cb(e, "C");
	ck_assert_ptr_null(strstr(p.log, "A=0"));	/* none runs inside the call */
}

static void
expect(const char *bytes)
{
	PAIR_UNTIL(&p, p.b.in_len >= strlen(bytes));
	ck_assert_uint_eq(p.b.in_len, strlen(bytes));
	ck_assert_mem_eq(p.b.in, bytes, strlen(bytes));
}

/* All in one send, then all completions, in order. */
START_TEST(test_marks_leave_in_one_send)
{
	in_hook(three);
	ck_assert_str_eq(p.log, "a.read A=0 B=0 C=0 ");
	ck_assert_uint_eq(fault.send, 2);		/* b's "go" is one */
	ck_assert_uint_eq(fault.sendmsg, 0);
	expect("aabbcc");
}
END_TEST

static void
count_items(struct end *e)
{
	three(e);
	results[0] = (int)sconce_queued(&e->sock);
	results[1] = (int)sconce_queued_items(&e->sock);
}

/* Gathered bytes are one item, each completion is another. */
START_TEST(test_marks_are_counted)
{
	in_hook(count_items);
	ck_assert_int_eq(results[0], 6);
	ck_assert_int_eq(results[1], 4);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), 0);
}
END_TEST

static void
three_short(struct end *e)
{
	three(e);
	fault.fd = e->sock.fd;
	fault.max_send = 3;
}

/* The kernel takes three of the six bytes: one completion is due, the others when theirs have gone. */
START_TEST(test_marks_short_send_parts_them)
{
	in_hook(three_short);
	ck_assert_str_eq(p.log, "a.read A=0 ");
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 3);
	fault.max_send = 1;
	PAIR_UNTIL(&p, sconce_queued(&p.a.sock) < 3);
	ck_assert_ptr_nonnull(strstr(p.log, "B=0 "));
	ck_assert_ptr_null(strstr(p.log, "C=0"));
	fault.max_send = 0;
	expect("aabbcc");
	ck_assert_ptr_nonnull(strstr(p.log, "C=0 "));
}
END_TEST

static void
three_interrupted(struct end *e)
{
	three(e);
	fault.fd = e->sock.fd;
	fault.eintr = true;
}

/* A signal comes in between: the send is made again, and nobody is told. */
START_TEST(test_marks_interrupted_send_is_made_again)
{
	in_hook(three_interrupted);
	expect("aabbcc");
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 B=0 C=0 "));
	ck_assert_uint_eq(p.a.errs, 0);
}
END_TEST

static void
three_refused(struct end *e)
{
	three(e);
	fault.fd = e->sock.fd;
	fault.send_again = -1;
}

static void
three_refused_without_memory(struct end *e)
{
	three_refused(e);
	fault.alloc_fail = 1;
	fault.alloc_fail_all = true;
}

/* Nothing is taken: nothing is due.  Later all is, in order; also if there is no memory to part them (HZ-22). */
START_TEST(test_marks_refused_wait)
{
	void (*const hooks[])(struct end *e) = { three_refused, three_refused_without_memory };

	in_hook(hooks[_i]);
	ck_assert_str_eq(p.log, "a.read ");
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 6);
	fault.alloc_fail = 0;
	fault.alloc_fail_all = false;
	fault.send_again = 0;
	expect("aabbcc");
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 B=0 C=0 "));
}
END_TEST

static void
three_broken(struct end *e)
{
	three(e);
	fault.fd = e->sock.fd;
	fault.send_errno = EPIPE;
}

/* The send fails: all are told, in order, before the error is. */
START_TEST(test_marks_failed_send_cancels_them)
{
	in_hook(three_broken);
	ck_assert_str_eq(p.log, "a.read A=-32 B=-32 C=-32 a.read a.err(32) ");
}
END_TEST

static void
three_and_close(struct end *e)
{
	three(e);
	sconce_close(&e->sock, 0);
}

static void
three_stuck_and_close(struct end *e)
{
	three_short(e);
	sconce_close(&e->sock, 0);
}

/* A close offers what was gathered: what has left is a success, the rest is cancelled. */
START_TEST(test_marks_close_sends_then_cancels)
{
	in_hook(_i == 0 ? three_and_close : three_stuck_and_close);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_ptr_nonnull(strstr(p.log, _i == 0 ? "A=0 B=0 C=0 " : "A=0 B=-125 C=-125 "));
	ck_assert_uint_eq(p.a.unsent, _i == 0 ? 0 : 3);
	expect(_i == 0 ? "aabbcc" : "aab");
}
END_TEST

static void
cb_alone(struct end *e)
{
	swallow(e);
	write_cb(e, "A");
	write_cb(e, "B");
}

/* Without a byte before it a completion is due at once, with this dispatch. */
START_TEST(test_marks_alone)
{
	in_hook(cb_alone);
	ck_assert_str_eq(p.log, "a.read A=0 B=0 ");
	ck_assert_uint_eq(fault_sends(), 1);
}
END_TEST

static void
cb_before_refused(struct end *e)
{
	fault.fd = e->sock.fd;
	fault.send_again = -1;
	swallow(e);
	if (e->reads > 1)
		return;
	write_cb(e, "A");
	sconce_write(&e->sock, "a", 1);
}

/* A completion waits for what is before it, not for what is behind: not when the kernel refuses that.  Outside of hooks too,
 * where it is a queue item. */
START_TEST(test_marks_before_refused_bytes_are_due)
{
	if (_i == 0)
		in_hook(cb_before_refused);
	else
		cb_before_refused(&p.a);
	pair_turn(&p, 5);
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 "));
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 1);
}
END_TEST

static int file;

static void
three_and_file(struct end *e)
{
	three(e);
	sconce_write_file(&e->sock, file, 0, 4, log_done, (void *)(uintptr_t)"F");
	sconce_write(&e->sock, "dd", 2);
	sconce_write_cb(&e->sock, log_done, (void *)(uintptr_t)"D");
}

/* What is not bytes goes behind them, and so does what follows. */
START_TEST(test_marks_before_file)
{
	file = memfd_create("f", MFD_CLOEXEC);
	ck_assert_int_eq(write(file, "file", 4), 4);
	in_hook(three_and_file);
	expect("aabbccfiledd");
	PAIR_UNTIL(&p, strstr(p.log, "D=0 ") != NULL);
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 B=0 C=0 F=0 D=0 "));
	close(file);
}
END_TEST

static void
write_more(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	sconce_write(s, "X", 1);
	sconce_write_cb(s, log_done, (void *)(uintptr_t)"X");
}

static void
chain(struct end *e)
{
	swallow(e);
	sconce_write(&e->sock, "a", 1);
	sconce_write_cb(&e->sock, write_more, (void *)(uintptr_t)"A");
	sconce_write(&e->sock, "b", 1);
	sconce_write_cb(&e->sock, log_done, (void *)(uintptr_t)"B");
}

/* DS A.5: what a completion writes goes behind what is there, its own completion behind the others. */
START_TEST(test_marks_write_in_completion_goes_behind)
{
	in_hook(chain);
	expect("abX");
	PAIR_UNTIL(&p, strstr(p.log, "X=0 ") != NULL);
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 B=0 X=0 "));
}
END_TEST

enum { MANY = 100 };
static int order[MANY], ran;

static void
note(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	ck_assert_int_eq(status, 0);
	order[ran++] = (int)(uintptr_t)arg;
}

static void
many(struct end *e)
{
	swallow(e);
	for (int i = 0; i < MANY; i++) {
		sconce_write(&e->sock, "x", 1);
		sconce_write_cb(&e->sock, note, (void *)(uintptr_t)i);
	}
}

/* A turn runs 32 of a socket's completions; order is kept. */
START_TEST(test_marks_are_bounded_per_turn)
{
	in_hook(many);
	ck_assert_int_eq(ran, 32);
	PAIR_UNTIL(&p, ran == MANY);
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(order[i], i);
}
END_TEST

static void
to_other(struct end *e)
{
	swallow(e);
	sconce_write(&e->sock, "1", 1);
	write_cb(e, "A");
	sconce_write(&p.b.sock, "2", 1);
	sconce_write(&e->sock, "3", 1);
	write_cb(e, "C");
}

/* A write to another socket in between changes nothing. */
START_TEST(test_marks_with_other_socket_between)
{
	in_hook(to_other);
	expect("13");
	ck_assert_ptr_nonnull(strstr(p.log, "A=0 "));
	ck_assert(strstr(p.log, "A=0 ") < strstr(p.log, "C=0 "));
}
END_TEST

static void
three_and_flush(struct end *e)
{
	three(e);
	results[0] = sconce_flush(&e->sock);
	ck_assert_ptr_null(strstr(p.log, "A=0"));
	write_cb(e, "D");
}

/* A flush sends at once; the completions still wait for the hook to end. */
START_TEST(test_marks_flush)
{
	in_hook(three_and_flush);
	ck_assert_int_eq(results[0], SCONCE_SENT);
	ck_assert_str_eq(p.log, "a.read A=0 B=0 C=0 D=0 ");
	expect("aabbcc");
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("gather");
	TCase *c = t_case(s, "marks");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_marks_leave_in_one_send);
	tcase_add_test(c, test_marks_are_counted);
	tcase_add_test(c, test_marks_short_send_parts_them);
	tcase_add_test(c, test_marks_interrupted_send_is_made_again);
	tcase_add_loop_test(c, test_marks_refused_wait, 0, 2);
	tcase_add_test(c, test_marks_failed_send_cancels_them);
	tcase_add_loop_test(c, test_marks_close_sends_then_cancels, 0, 2);
	tcase_add_test(c, test_marks_alone);
	tcase_add_loop_test(c, test_marks_before_refused_bytes_are_due, 0, 2);
	tcase_add_test(c, test_marks_before_file);
	tcase_add_test(c, test_marks_write_in_completion_goes_behind);
	tcase_add_test(c, test_marks_are_bounded_per_turn);
	tcase_add_test(c, test_marks_with_other_socket_between);
	tcase_add_test(c, test_marks_flush);
	return s;
}
