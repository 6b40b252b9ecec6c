/* The write calls: what they answer, what they send, in which order, and when completions run. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>

static struct pair p;
static char big[4 * 1024 * 1024];

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

static void (*script)(struct end *e);

static void
run_script(struct end *e)
{
	char c;

	ck_assert_int_eq(sconce_read(&e->sock, &c, 1), 1);
	fault_reset();
	e->on.read = NULL;
	script(e);
}

/* Runs fn(a) inside an event_read of a. */
static void
in_hook(void (*fn)(struct end *a))
{
	script = fn;
	p.a.on.read = run_script;
	ck_assert_int_ge(sconce_write(&p.b.sock, "!", 1), 0);
	PAIR_UNTIL(&p, p.a.on.read == NULL);
}

static void
b_got(const char *text)
{
	PAIR_UNTIL(&p, p.b.in_len >= strlen(text));
	pair_quiet(&p);
	ck_assert_uint_eq(p.b.in_len, strlen(text));
	ck_assert_mem_eq(p.b.in, text, strlen(text));
}

/* Writes more than the kernel takes while b does not read; returns how much was written in all. */
static size_t
stick(void)
{
	sconce_watch_read(&p.b.sock, false);
	pair_quiet(&p);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	pair_quiet(&p);
	ck_assert_uint_gt(sconce_queued(&p.a.sock), 0);
	return sizeof(big);
}

/* b reads again until all has come. */
static void
unstick(size_t total)
{
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.in_len == total);
	pair_quiet(&p);
}

/* ---- results and gathering ---- */

static void
write_16(struct end *a)
{
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(sconce_write(&a->sock, "0123456789abcdef" + i, 1), SCONCE_GATHERED);
	ck_assert_uint_eq(sconce_queued(&a->sock), 16);
	ck_assert_uint_eq(sconce_queued_items(&a->sock), 1);
	ck_assert_uint_eq(fault_sends(), 0);
}

/* DS-82: sixteen writes of a hook leave in one system call. */
START_TEST(test_write_16_times_in_hook_is_one_send)
{
	in_hook(write_16);
	ck_assert_uint_eq(fault_sends(), 1);
	ck_assert_uint_eq(fault.sent, 16);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	b_got("0123456789abcdef");
}
END_TEST

static void
write_16_off(struct end *a)
{
	sconce_set_gather(&a->sock, false);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(sconce_write(&a->sock, "0123456789abcdef" + i, 1), SCONCE_SENT);
	ck_assert_uint_eq(fault_sends(), 16);
}

/* DS-62: with gathering off a write into an empty queue is offered at once. */
START_TEST(test_write_gather_off_is_a_send_each)
{
	in_hook(write_16_off);
	b_got("0123456789abcdef");
}
END_TEST

static void
write_then_off(struct end *a)
{
	ck_assert_int_eq(sconce_write(&a->sock, "one", 3), SCONCE_GATHERED);
	sconce_set_gather(&a->sock, false);
	ck_assert_uint_eq(fault_sends(), 1);
	ck_assert_int_eq(sconce_write(&a->sock, "two", 3), SCONCE_SENT);
	sconce_set_gather(&a->sock, true);
	ck_assert_int_eq(sconce_write(&a->sock, "three", 5), SCONCE_GATHERED);
}

/* Switching gathering off sends what was gathered. */
START_TEST(test_set_gather_off_sends_what_is_gathered)
{
	in_hook(write_then_off);
	b_got("onetwothree");
}
END_TEST

static void
write_small_and_large(struct end *a)
{
	ck_assert_int_eq(sconce_write(&a->sock, big, 100), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_write(&a->sock, big + 100, 32 * 1024), SCONCE_SENT);
	ck_assert_uint_eq(fault_sends(), 1);
	ck_assert_uint_eq(fault.sendmsg, 1);
	ck_assert_int_eq(fault.iovs, 2);
	ck_assert_uint_eq(fault.sent, 100 + 32 * 1024);
	ck_assert_uint_eq(sconce_queued(&a->sock), 0);
}

/* A write of 32 KiB leaves at once, with what is gathered, in one sendmsg. */
START_TEST(test_write_32k_leaves_at_once_with_gathered)
{
	in_hook(write_small_and_large);
	PAIR_UNTIL(&p, p.b.in_len == 100 + 32 * 1024);
	ck_assert(bytes_are(p.b.in, p.b.in_len, 0));
}
END_TEST

/* Nothing waits: SENT; gathered: GATHERED; refused: QUEUED; and a length of 0 only asks. DS-64 */
START_TEST(test_write_empty_tells_the_state)
{
	ck_assert_int_eq(sconce_write(&p.a.sock, "", 0), SCONCE_SENT);
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), SCONCE_SENT);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), SCONCE_GATHERED);
	pair_quiet(&p);
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), SCONCE_SENT);
	stick();
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), SCONCE_QUEUED);
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), -EPIPE);
}
END_TEST

static void
write_nothing(struct end *a)
{
	ck_assert_int_eq(sconce_write(&a->sock, NULL, 0), SCONCE_SENT);
	ck_assert_int_eq(sconce_writev(&a->sock, NULL, 0), SCONCE_SENT);
	ck_assert_int_eq(sconce_write(&a->sock, "x", 1), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_write(&a->sock, NULL, 0), SCONCE_GATHERED);
}

/* The same inside a hook; no system call is made for nothing. DS-64 */
START_TEST(test_write_empty_in_hook_tells_the_state)
{
	in_hook(write_nothing);
	ck_assert_uint_eq(fault_sends(), 1);
	b_got("x");
}
END_TEST

/* DS-61: while the kernel refuses, writes append; no call is tried. */
START_TEST(test_write_stuck_appends_without_a_call)
{
	size_t total = stick();

	fault_reset();
	for (int i = 0; i < 1000; i++, total++)
		ck_assert_int_eq(sconce_write(&p.a.sock, &big[total % sizeof(big)], 1), SCONCE_QUEUED);
	ck_assert_uint_eq(fault_sends(), 0);
	ck_assert_int_eq(sconce_flush(&p.a.sock), SCONCE_QUEUED);
	pair_turn(&p, 5);
	ck_assert_uint_eq(fault_sends(), 0);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.in_len == total);
	ck_assert(bytes_are(p.b.in, sizeof(big), 0));
	ck_assert_mem_eq(p.b.in + sizeof(big), big, 1000);
}
END_TEST

/* DS-66, DS-67, DS-86, IM-15: refused in part or in whole, what is left arms the watch by itself until it has gone. */
START_TEST(test_write_partial_arms_watch_until_drained)
{
	size_t total = stick();

	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ | SCONCE_WRITE);
	unstick(total);
	ck_assert(bytes_are(p.b.in, total, 0));
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	ck_assert_uint_eq(p.a.drains, 1);
	pair_log_clear(&p);
	fault.fd = p.a.sock.fd;
	fault.send_again = 1;
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 64 * 1024), SCONCE_QUEUED);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ | SCONCE_WRITE);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 64 * 1024);
	PAIR_UNTIL(&p, p.b.in_len == total + 64 * 1024);
	pair_quiet(&p);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ);
	ck_assert_uint_eq(p.a.drains, 2);
}
END_TEST

/* DS-81: a drain of many items changes the watch twice: on, off. */
START_TEST(test_write_drain_of_many_items_arms_twice)
{
	size_t total = stick();

	for (int i = 0; i < 300; i++)
		sconce_write_ref(&p.a.sock, big, 100, NULL, NULL);
	total += 300 * 100;
	pair_quiet(&p);
	sconce_watch_read(&p.b.sock, true);
	pair_turn(&p, 1);
	fault_reset();
	PAIR_UNTIL(&p, p.b.in_len == total);
	pair_quiet(&p);
	ck_assert_uint_le(fault.arm, 40);	/* a pair for every time the kernel refused, not for every item */
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ);
}
END_TEST

static int
turns_with_write(int turns)
{
	unsigned before = p.a.writes;

	pair_turn(&p, turns);
	return (int)(p.a.writes - before);
}

/* DS-5, DS-46: two owners of the write watch; draining ends the library's wish and leaves the application's alone. */
START_TEST(test_watch_write_survives_a_drain)
{
	size_t total = stick();

	ck_assert_int_eq(sconce_watch_write(&p.a.sock, true), 0);
	ck_assert_int_eq(turns_with_write(5), 0);	/* nothing before the queue is empty */
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.in_len == total);
	pair_turn(&p, 2);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ | SCONCE_WRITE);
	ck_assert_int_eq(turns_with_write(5), 5);
	sconce_watch_write(&p.a.sock, false);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ);
	pair_turn(&p, 1);
	ck_assert_int_eq(turns_with_write(5), 0);
}
END_TEST

/* DS-84: the application's watch_write(false) cannot stall the queue. */
START_TEST(test_watch_write_off_does_not_stall_the_queue)
{
	size_t total = stick();

	sconce_watch_write(&p.a.sock, true);
	sconce_watch_write(&p.a.sock, false);
	ck_assert_uint_eq(sconce_watching(&p.a.sock), SCONCE_READ | SCONCE_WRITE);
	unstick(total);
}
END_TEST

/* DS-65: sconce_flush() kicks: sends what waits without being refused. */
START_TEST(test_flush_sends_now)
{
	ck_assert_int_eq(sconce_flush(&p.a.sock), SCONCE_SENT);
	ck_assert_int_eq(sconce_write(&p.a.sock, "kick", 4), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_flush(&p.a.sock), SCONCE_SENT);
	ck_assert_uint_eq(fault_sends(), 1);
	b_got("kick");
	stick();
	ck_assert_int_eq(sconce_flush(&p.a.sock), SCONCE_QUEUED);
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_flush(&p.a.sock), -EPIPE);
}
END_TEST

/* The order in which sockets are sent is that in which they were first written. */
static void
write_b_c_a(struct end *a)
{
	sconce_write(&p.others[0].sock, "c", 1);
	sconce_write(&a->sock, "a", 1);
	sconce_write(&p.b.sock, "b", 1);
	sconce_write(&p.others[0].sock, "c", 1);
}

START_TEST(test_write_order_across_sockets_is_first_written)
{
	int fds[2];
	char expect[64];

	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", NULL, fds[0]);
	end_open(&p, "d", NULL, fds[1]);
	pair_quiet(&p);
	in_hook(write_b_c_a);
	snprintf(expect, sizeof(expect), "%d %d %d ", fds[0], p.a.sock.fd, p.b.sock.fd);
	ck_assert_str_eq(fault.order, expect);
	PAIR_UNTIL(&p, p.others[1].in_len == 2);
}
END_TEST

static void
write_a_c_a(struct end *a)
{
	sconce_write(&a->sock, "a", 1);
	sconce_write(&p.others[0].sock, "c", 1);
	sconce_write(&a->sock, "A", 1);
}

/* The same when the dispatched socket was the first. */
START_TEST(test_write_order_own_first_stays_first)
{
	int fds[2];
	char expect[64];

	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", NULL, fds[0]);
	end_open(&p, "d", NULL, fds[1]);
	pair_quiet(&p);
	in_hook(write_a_c_a);
	snprintf(expect, sizeof(expect), "%d %d ", p.a.sock.fd, fds[0]);
	ck_assert_str_eq(fault.order, expect);
	b_got("aA");
}
END_TEST

/* ---- forms of writing ---- */

static void
write_forms(struct end *a)
{
	struct iovec iov[] = { { (void *)(uintptr_t)"one ", 4 }, { NULL, 0 }, { (void *)(uintptr_t)"two ", 4 } };

	ck_assert_int_eq(sconce_writev(&a->sock, iov, 3), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_writev(&a->sock, iov, -1), -EINVAL);
	ck_assert_int_eq(sconce_printf(&a->sock, "%d%s", 3, " "), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_printf(&a->sock, "%s", ""), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_printf(&a->sock, "%2000d", 4), SCONCE_GATHERED);
}

/* Vectors and formats are gathered like bytes. */
START_TEST(test_writev_and_printf_gather)
{
	in_hook(write_forms);
	ck_assert_uint_eq(fault_sends(), 1);
	PAIR_UNTIL(&p, p.b.in_len == 10 + 2000);
	ck_assert_mem_eq(p.b.in, "one two 3 ", 10);
	ck_assert_int_eq(p.b.in[2009], '4');
}
END_TEST

/* HZ-11: more pieces than one system call takes, in one vector and as items. */
START_TEST(test_writev_more_than_iov_limit)
{
	static struct iovec iov[1500];
	size_t total = 0;

	for (int i = 0; i < 1500; i++) {
		iov[i] = (struct iovec){ .iov_base = big + total, .iov_len = (size_t)(i % 7) * 10 };
		total += iov[i].iov_len;
	}
	ck_assert_int_ge(sconce_writev(&p.a.sock, iov, 1500), 0);
	for (int i = 0; i < 65; i++, total += 3)
		sconce_write_ref(&p.a.sock, big + total, 3, NULL, NULL);
	PAIR_UNTIL(&p, p.b.in_len == total);
	ck_assert(bytes_are(p.b.in, total, 0));
}
END_TEST

/* HZ-11: a kernel that takes one byte a call, interrupted each time. */
START_TEST(test_write_one_byte_sends_and_eintr)
{
	struct iovec iov[3] = { { big, 5 }, { big + 5, 1 }, { big + 6, 44 } };
	struct counted c = { 0 };

	fault.eintr = true;
	fault.max_send = 1;
	fault.max_recv = 1;
	ck_assert_int_ge(sconce_writev(&p.a.sock, iov, 3), 0);
	ck_assert_int_ge(sconce_write_ref(&p.a.sock, big + 50, 50, count_done, &c), 0);
	ck_assert_int_ge(sconce_write_cb(&p.a.sock, count_done, &c), 0);
	ck_assert_int_ge(sconce_write(&p.a.sock, big + 100, 40 * 1024), 0);
	PAIR_UNTIL(&p, p.b.in_len == 100);
	fault.max_send = 1000;
	fault.max_recv = 777;
	PAIR_UNTIL(&p, p.b.in_len == 100 + 40 * 1024);
	ck_assert(bytes_are(p.b.in, p.b.in_len, 0));
	ck_assert_int_eq(c.calls, 2);
	ck_assert_int_eq(c.status, 0);
	ck_assert_uint_eq(p.a.errs, 0);		/* DS-69: EINTR is no error */
}
END_TEST

/* HZ-11: the smallest send buffer the kernel knows. */
START_TEST(test_write_smallest_send_buffer)
{
	wire_narrow(p.a.sock.fd);
	wire_narrow(p.b.sock.fd);
	ck_assert_int_ge(sconce_write(&p.a.sock, big, 300000), 0);
	PAIR_UNTIL(&p, p.b.in_len == 300000);
	ck_assert(bytes_are(p.b.in, 300000, 0));
}
END_TEST

/* ---- completions ---- */

/* DS-63: code does not run inside the call, not even with an empty queue. */
START_TEST(test_write_cb_never_runs_inside_the_call)
{
	struct counted c = { 0 };

	ck_assert_int_ge(sconce_write_cb(&p.a.sock, count_done, &c), 1);
	ck_assert_int_eq(c.calls, 0);
	ck_assert_int_ge(sconce_flush(&p.a.sock), 1);
	ck_assert_int_eq(c.calls, 0);
	sconce_set_gather(&p.a.sock, false);
	ck_assert_int_ge(sconce_write_cb(&p.a.sock, count_done, &c), 1);
	ck_assert_int_ge(sconce_write_ref(&p.a.sock, big, 100000, count_done, &c), 0);
	ck_assert_int_eq(c.calls, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 3);
	ck_assert_int_eq(c.status, 0);
}
END_TEST

static void
write_x1(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	ck_assert_int_ge(sconce_write(s, "X1", 2), 0);
}

static void
write_x2(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	ck_assert_int_ge(sconce_write(s, "X2", 2), 0);
}

static void
queue_a_b1(struct end *a)
{
	sconce_write(&a->sock, "A", 1);
	sconce_write_cb(&a->sock, write_x1, (void *)(uintptr_t)"C1");
	sconce_write(&a->sock, "B1", 2);
	sconce_write_cb(&a->sock, write_x2, (void *)(uintptr_t)"C2");
	sconce_write_cb(&a->sock, log_done, (void *)(uintptr_t)"C3");
}

/* DS-70: the wire order of the original: A B1 X1 X2, and C3 ran before X2 went out. */
START_TEST(test_write_cb_output_goes_behind_what_is_queued)
{
	in_hook(queue_a_b1);
	b_got("AB1X1X2");
	ck_assert_ptr_nonnull(strstr(p.log, "C1=0 C2=0 C3=0 "));
}
END_TEST

/* The same when the kernel refused everything meanwhile. */
START_TEST(test_write_cb_output_goes_behind_what_is_stuck)
{
	size_t total = stick();

	queue_a_b1(&p.a);
	unstick(total + 7);
	ck_assert_mem_eq(p.b.in + total, "AB1X1X2", 7);
}
END_TEST

static void
only_cb(struct end *a)
{
	sconce_write_cb(&a->sock, write_x1, (void *)(uintptr_t)"C1");
}

/* What a completion writes with nothing behind it leaves by itself, and to its own peer. */
START_TEST(test_write_cb_output_alone_leaves)
{
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", NULL, fds[0]);
	end_open(&p, "d", NULL, fds[1]);
	pair_quiet(&p);
	in_hook(only_cb);
	sconce_write(&p.others[0].sock, "for d", 5);
	b_got("X1");
	PAIR_UNTIL(&p, p.others[1].in_len == 5);
	ck_assert_mem_eq(p.others[1].in, "for d", 5);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
}
END_TEST

static void
write_until_again(struct sconce_sock *s, void *arg, int status)
{
	struct counted *c = arg;

	count_done(s, arg, status);
	if (c->calls == 1) {
		fault.fd = s->fd;
		fault.send_again = 1;
		ck_assert_int_ge(sconce_write(s, big, 5), 0);
	}
}

/* The historic bug: what code queued and the kernel refused must not be queued twice. DS-83 */
START_TEST(test_write_cb_output_refused_is_sent_once)
{
	struct counted c = { 0 };

	sconce_write_cb(&p.a.sock, write_until_again, &c);
	sconce_write_cb(&p.a.sock, write_until_again, &c);
	pair_quiet(&p);
	PAIR_UNTIL(&p, p.b.in_len >= 5);
	pair_quiet(&p);
	ck_assert_uint_eq(p.b.in_len, 5);
	ck_assert_int_eq(c.calls, 2);		/* one-shot */
}
END_TEST

static void
again(struct sconce_sock *s, void *arg, int status)
{
	int *left = arg;

	ck_assert_int_eq(status, 0);
	if (--*left > 0) {
		sconce_write(s, "x", 1);
		sconce_write_cb(s, again, arg);
	}
}

/* DS-101: write, code, write, code ... does not recurse, and does not starve the others. */
START_TEST(test_write_cb_chain_does_not_recurse_nor_starve)
{
	int left = 20000;

	sconce_set_gather(&p.a.sock, false);
	sconce_write_cb(&p.a.sock, again, &left);
	pair_turn(&p, 2);
	ck_assert_int_gt(left, 15000);
	PAIR_UNTIL(&p, left == 0);
	PAIR_UNTIL(&p, p.b.in_len == 19999);
}
END_TEST

static char borrowed[8];

static void
clobber(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	memset(borrowed, '!', sizeof(borrowed));
}

/* DS-2, DS-102: bytes by reference are not copied, and are the caller's again in the completion. */
START_TEST(test_write_ref_borrows_until_done)
{
	memcpy(borrowed, "12345678", 8);
	sconce_write(&p.a.sock, "<", 1);
	ck_assert_int_eq(sconce_write_ref(&p.a.sock, borrowed, 8, clobber, (void *)(uintptr_t)"R"), SCONCE_GATHERED);
	sconce_write(&p.a.sock, ">", 1);
	borrowed[0] = '0';			/* seen, since it was not copied */
	b_got("<02345678>");
	ck_assert_ptr_nonnull(strstr(p.log, "R=0 "));
}
END_TEST

static int big_result;

static void
big_ref_fails(struct end *a)
{
	fault.fd = a->sock.fd;
	fault.send_errno = EPIPE;
	big_result = sconce_write_ref(&a->sock, big, 40000, log_done, (void *)(uintptr_t)"R");
}

/* So large that it is offered in the call, which fails: it was accepted, so its completion tells, and it counts as unsent. */
START_TEST(test_write_ref_failing_at_once_was_accepted)
{
	in_hook(big_ref_fails);
	ck_assert_int_eq(big_result, SCONCE_GATHERED);
	PAIR_UNTIL(&p, p.a.errs == 1);
	ck_assert_ptr_nonnull(strstr(p.log, "R=-32 "));
	sconce_close(&p.a.sock, 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.unsent, 40000);
}
END_TEST

static int short_file;

static void
cut(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	sconce_abort(s);
}

static void
short_file_and_more(struct end *a)
{
	sconce_set_gather(&a->sock, false);
	sconce_write_file(&a->sock, short_file, 0, 10, cut, (void *)(uintptr_t)"F");
	sconce_write(&a->sock, big, (size_t)big_result);
	ck_assert_ptr_null(strstr(p.log, "F="));
}

/* A file that ends early: what is written behind it, however large, stays until the completion has decided. */
START_TEST(test_write_behind_failed_file_waits)
{
	short_file = memfd_create("f", MFD_CLOEXEC);
	ck_assert_int_eq(write(short_file, "file", 4), 4);
	big_result = _i == 0 ? 4 : 100000;
	in_hook(short_file_and_more);
	PAIR_UNTIL(&p, p.a.destroys == 1);
	ck_assert_ptr_nonnull(strstr(p.log, "F=-5 "));
	pair_quiet(&p);
	ck_assert_uint_eq(p.b.in_len, 4);
	close(short_file);
}
END_TEST

/* A completion told of 0 bytes still runs. */
START_TEST(test_write_ref_empty_completes)
{
	ck_assert_int_ge(sconce_write_ref(&p.a.sock, NULL, 0, log_done, (void *)(uintptr_t)"R"), 1);
	ck_assert_int_ge(sconce_write_file(&p.a.sock, 0, 0, 0, log_done, (void *)(uintptr_t)"F"), 1);
	ck_assert_int_eq(sconce_write_ref(&p.a.sock, NULL, 0, NULL, NULL), SCONCE_GATHERED);
	ck_assert_str_eq(p.log, "");
	pair_quiet(&p);
	ck_assert_str_eq(p.log, "R=0 F=0 ");
	ck_assert_int_eq(sconce_write_cb(&p.a.sock, NULL, NULL), -EINVAL);
}
END_TEST

/* Accepted and then closed over: -ECANCELED, in order, from the loop. */
START_TEST(test_write_cb_closed_first_is_cancelled)
{
	stick();
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"1");
	sconce_write_ref(&p.a.sock, big, 10, log_done, (void *)(uintptr_t)"2");
	sconce_write_file(&p.a.sock, 0, 0, 10, log_done, (void *)(uintptr_t)"3");
	pair_log_clear(&p);
	sconce_close(&p.a.sock, 0);
	ck_assert_str_eq(p.log, "");
	pair_turn(&p, 1);
	ck_assert_str_eq(p.log, "1=-125 2=-125 3=-125 a.close a.destroy ");
}
END_TEST

/* DS-60, DS-1: on a closed socket a write is refused, and its completion runs all the same. */
START_TEST(test_write_closed_is_epipe_and_completes)
{
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_writev(&p.a.sock, NULL, 0), -EPIPE);
	ck_assert_int_eq(sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"1"), -EPIPE);
	ck_assert_int_eq(sconce_write_ref(&p.a.sock, big, 10, log_done, (void *)(uintptr_t)"2"), -EPIPE);
	ck_assert_int_eq(sconce_write_file(&p.a.sock, 0, 0, 10, log_done, (void *)(uintptr_t)"3"), -EPIPE);
	ck_assert_str_eq(p.log, "");
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "1=-32 2=-32 3=-32 "));
	ck_assert_ptr_nonnull(strstr(p.log, "a.destroy "));
	ck_assert_uint_eq(p.b.in_len, 0);
}
END_TEST

static void
close_it(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	sconce_close(s, 0);
}

/* Code that closes: the rest is dropped, and its completions cancelled. */
START_TEST(test_write_cb_that_closes_cancels_the_rest)
{
	stick();
	sconce_write_cb(&p.a.sock, close_it, (void *)(uintptr_t)"C1");
	sconce_write_ref(&p.a.sock, big, sizeof(big), log_done, (void *)(uintptr_t)"C2");
	pair_log_clear(&p);
	p.b.read_size = 1000;			/* so that a fills the wire again with what is behind C1 */
	sconce_watch_read(&p.b.sock, true);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "C1=0 "));
	ck_assert_ptr_nonnull(strstr(p.log, "C2=-125 a.close a.destroy "));
}
END_TEST

/* ---- one message, many receivers ---- */

enum { RECEIVERS = 100, MESSAGE = 50000 };

struct receiver {
	struct sconce_sock sock;
	int peer;
	size_t before, got;		/* bytes written to fill it; bytes that arrived */
};
static struct receiver receivers[RECEIVERS];
static size_t asked;			/* bytes of memory that the library asked for */
static void *(*real_alloc)(void *ptr, size_t size, void *ctx);
static int told;

static void *
count_alloc(void *ptr, size_t size, void *ctx)
{
	asked += size;
	return real_alloc(ptr, size, ctx);
}

static void
tell(struct sconce_sock *s, void *arg, int status)
{
	(void)s;
	ck_assert_ptr_eq(arg, big);
	ck_assert_int_eq(status, 0);
	told++;
}

static const struct sconce_sock_ops receiver_ops = {.name = "receiver"};

/* What its peer has not read yet, as long as there is something. */
static void
receive(struct receiver *r)
{
	static char buf[MESSAGE];
	ssize_t n;

	while ((n = read(r->peer, buf, r->got < r->before ? r->before - r->got : sizeof(buf))) > 0) {
		if (r->got >= r->before)
			ck_assert_mem_eq(buf, big + r->got - r->before, (size_t)n);
		r->got += (size_t)n;
	}
}

/* A message queued by reference to many receivers that do not read is stored once, with the sender: each costs a record. */
START_TEST(test_write_ref_to_many_is_stored_once)
{
	struct sconce_backend counting = *sconce_backend_libev();
	struct sconce_loop_options opts = {.backend = &counting};
	struct sconce_loop *loop;
	int fds[2], left = RECEIVERS;

	real_alloc = counting.alloc;
	counting.alloc = count_alloc;
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	for (int i = 0; i < RECEIVERS; i++) {
		struct receiver *r = &receivers[i];

		wire_make(WIRE_UNIX, fds);
		wire_narrow(fds[0]);
		r->peer = fds[1];
		fcntl(r->peer, F_SETFL, O_NONBLOCK);
		ck_assert_int_eq(sconce_sock_init(&r->sock, loop, &receiver_ops, fds[0]), 0);
		for (int result = SCONCE_SENT; result != SCONCE_QUEUED; r->before++) {
			sconce_write(&r->sock, "x", 1);
			result = sconce_flush(&r->sock);
		}
	}
	asked = 0;
	for (int i = 0; i < RECEIVERS; i++)
		ck_assert_int_eq(sconce_write_ref(&receivers[i].sock, big, MESSAGE, tell, big), SCONCE_QUEUED);
	ck_assert_uint_le(asked, RECEIVERS * 300);
	ck_assert_int_eq(told, 0);
	for (int turns = 0; left > 0 && turns < PAIR_TURNS; turns++) {
		left = 0;
		for (int i = 0; i < RECEIVERS; i++) {
			receive(&receivers[i]);
			left += receivers[i].got < receivers[i].before + MESSAGE;
		}
		sconce_loop_step(loop, 0);
	}
	ck_assert_int_eq(left, 0);
	ck_assert_int_eq(told, RECEIVERS);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	for (int i = 0; i < RECEIVERS; i++)
		close(receivers[i].peer);
}
END_TEST

/* ---- failed sends ---- */

static void
fails_with(int errnum)
{
	fault.fd = p.a.sock.fd;
	fault.send_errno = errnum;
	sconce_write(&p.a.sock, "lost", 4);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_int_eq(p.a.errnum, errnum);
	ck_assert(!p.a.sock.closed);
	ck_assert_int_eq(p.a.sock.errnum, errnum);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_write(&p.a.sock, "", 0), -EPIPE);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.drains + p.a.lows, 0);
	ck_assert_uint_eq(fault_sends(), 1);
}

/* DS-68, DS-69: a failed send ends the sending direction only: completions get the errno, event_err runs once. */
START_TEST(test_write_failed_send_tells_err_once)
{
	static const int errnums[] = { EPIPE, ECONNRESET, EIO, ENOBUFS };
	char expect[64];

	fails_with(errnums[_i]);
	snprintf(expect, sizeof(expect), "C=%d a.read a.err(%d) ", -errnums[_i], errnums[_i]);
	ck_assert_str_eq(p.log, expect);
}
END_TEST

static void
write_into_failure(struct end *a)
{
	fault.fd = a->sock.fd;
	fault.send_errno = ECONNRESET;
	ck_assert_int_eq(sconce_write(&a->sock, "lost", 4), SCONCE_GATHERED);
}

/* The errno told is that of the send that failed, also when it was the dispatch's own. */
START_TEST(test_write_failed_send_of_dispatch_keeps_its_errno)
{
	in_hook(write_into_failure);
	pair_quiet(&p);
	ck_assert_int_eq(p.a.errnum, ECONNRESET);
	ck_assert_uint_eq(fault_sends(), 1);
}
END_TEST

static void
write_large_into_failure(struct end *a)
{
	fault.fd = a->sock.fd;
	fault.send_errno = EPIPE;
	ck_assert_int_eq(sconce_write(&a->sock, "lost", 4), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_write(&a->sock, big, 40000), -EPIPE);
	ck_assert_int_eq(sconce_write_ref(&a->sock, big, 40000, log_done, (void *)(uintptr_t)"R"), -EPIPE);
	ck_assert_uint_eq(p.a.errs, 0);
}

/* A send that fails inside a call answers -EPIPE, and the rest is told from the loop. */
START_TEST(test_write_failed_send_inside_the_call_is_epipe)
{
	in_hook(write_large_into_failure);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_ptr_nonnull(strstr(p.log, "R=-32 "));
}
END_TEST

/* The peer answered early and closed: the answer is read before the failure is told. */
START_TEST(test_write_failed_send_early_answer_is_still_read)
{
	stick();
	sconce_write(&p.b.sock, "413 too large", 13);
	sconce_watch_read(&p.a.sock, false);
	pair_quiet(&p);
	sconce_watch_read(&p.a.sock, true);
	pair_log_clear(&p);
	sconce_close(&p.b.sock, 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.in_len, 13);
	ck_assert_mem_eq(p.a.in, "413 too large", 13);
	ck_assert(p.a.ended || p.a.errs == 1);
	ck_assert_uint_eq(p.a.drains, 0);
}
END_TEST

/* A closed peer: EPIPE or ECONNRESET from a real kernel, told once, then the hang-up. DS-68 */
START_TEST(test_write_to_closed_peer_is_err_then_hup)
{
	sconce_watch_read(&p.a.sock, false);
	sconce_abort(&p.b.sock);
	for (int i = 0; i < 50; i++) {
		sconce_write(&p.a.sock, big, 1000);
		sconce_loop_step(p.loop, 0.001);
	}
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_uint_eq(p.a.hups, 1);
	ck_assert_int_eq(sconce_write(&p.a.sock, "x", 1), -EPIPE);
}
END_TEST

/* event_write is not called when nothing can be sent any more. DS-85 */
START_TEST(test_watch_write_after_failed_send_does_not_spin)
{
	sconce_watch_write(&p.a.sock, true);
	pair_turn(&p, 1);			/* the wish takes effect at the end of a turn */
	ck_assert_int_eq(turns_with_write(3), 3);
	fault.send_errno = EPIPE;
	sconce_write(&p.a.sock, "x", 1);
	pair_turn(&p, 3);
	ck_assert_int_eq(turns_with_write(10), 0);
}
END_TEST

static const struct sconce_sock_ops no_write_ops = {
	.name = "no write", .event_read = end_event_read, .event_close = end_event_close, .destroy = end_destroy,
};

/* DS-85: without event_write the wish is refused. */
START_TEST(test_watch_write_without_hook_is_refused)
{
	int fds[2];

	wire_make(WIRE_UNIX, fds);
	end_open(&p, "c", &no_write_ops, fds[0]);
	close(fds[1]);
	ck_assert_int_eq(sconce_watch_write(&p.others[0].sock, true), -EINVAL);
	ck_assert_uint_eq(sconce_watching(&p.others[0].sock), SCONCE_READ);
}
END_TEST

/* ---- files ---- */

static int
make_file(size_t len)
{
	int fd = memfd_create("t", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, big, len), (ssize_t)len);
	return fd;
}

/* Header, a file from an offset, trailer: in order, the file's position untouched; the header waits for the file (MSG_MORE). */
START_TEST(test_write_file_between_bytes_keeps_order)
{
	int fd = make_file(1000000);
	struct counted c = { 0 };

	sconce_write(&p.a.sock, "head", 4);
	ck_assert_int_ge(sconce_write_file(&p.a.sock, fd, 1000, 900000, count_done, &c), 0);
	sconce_write(&p.a.sock, "tail", 4);
	ck_assert_int_eq(c.calls, 0);
	PAIR_UNTIL(&p, p.b.in_len == 900008);
	pair_quiet(&p);
	ck_assert_mem_eq(p.b.in, "head", 4);
	ck_assert(bytes_are(p.b.in + 4, 900000, 1000));
	ck_assert_mem_eq(p.b.in + 900004, "tail", 4);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(c.status, 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 1000000);
	ck_assert_uint_ge(fault.sendfile, 4);	/* in steps of 256 KiB at most */
	close(fd);
}
END_TEST

static int file;

static void
write_head_and_file(struct end *a)
{
	sconce_write(&a->sock, "head", 4);
	sconce_write_file(&a->sock, file, 0, 1000, NULL, NULL);
	ck_assert_uint_eq(fault_sends(), 0);
}

/* The bytes before a file leave with MSG_MORE, one call each. */
START_TEST(test_write_file_header_leaves_with_more)
{
	file = make_file(1000);
	in_hook(write_head_and_file);
	ck_assert_uint_eq(fault.send, 1);
	ck_assert_uint_eq(fault.sendfile, 1);
	PAIR_UNTIL(&p, p.b.in_len == 1004);
	close(file);
}
END_TEST

/* DS-53: there is no cork; MSG_MORE is set exactly on what a file follows. */
START_TEST(test_write_file_more_flag)
{
	file = make_file(1000);
	sconce_write(&p.a.sock, "head", 4);
	fault.fd = p.a.sock.fd;
	pair_turn(&p, 1);
	ck_assert_int_eq(fault.flags, MSG_NOSIGNAL);
	sconce_write(&p.a.sock, "head", 4);
	fault.send_again = 1;			/* of these two calls only the first is made */
	sconce_write_file(&p.a.sock, file, 0, 1000, NULL, NULL);
	pair_turn(&p, 1);
	ck_assert_int_eq(fault.flags, MSG_NOSIGNAL | MSG_MORE);
	PAIR_UNTIL(&p, p.b.in_len == 1008);
	close(file);
}
END_TEST

/* A file that ends early: -EIO to the completion, then what is behind it goes on. */
START_TEST(test_write_file_truncated_is_eio_and_goes_on)
{
	int fd = make_file(1000);

	sconce_write_file(&p.a.sock, fd, 0, 5000, log_done, (void *)(uintptr_t)"F");
	sconce_write(&p.a.sock, "behind", 6);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	PAIR_UNTIL(&p, p.b.in_len == 1006);
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "F=-5 "));
	ck_assert_ptr_nonnull(strstr(p.log, "C=0 "));
	ck_assert_uint_eq(p.a.errs, 0);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	close(fd);
}
END_TEST

static void
close_on_error(struct sconce_sock *s, void *arg, int status)
{
	log_done(s, arg, status);
	if (status < 0)
		sconce_abort(s);
}

/* Nothing behind a failed file leaves before its completion has run: it may close first. */
START_TEST(test_write_file_truncated_waits_for_completion)
{
	int fd = make_file(1000);

	sconce_write_file(&p.a.sock, fd, 0, 5000, close_on_error, (void *)(uintptr_t)"F");
	sconce_write(&p.a.sock, "behind", 6);
	pair_quiet(&p);
	ck_assert_uint_le(p.b.in_len, 1000);
	ck_assert_uint_eq(p.a.closes, 1);
	ck_assert_uint_eq(p.a.unsent, 6);
	close(fd);
}
END_TEST

/* Without a completion nobody would notice the hole: sending fails with EIO. */
START_TEST(test_write_file_truncated_without_done_fails_the_direction)
{
	int fd = make_file(1000);

	sconce_write_file(&p.a.sock, fd, 0, 5000, NULL, NULL);
	sconce_write(&p.a.sock, "behind", 6);
	pair_quiet(&p);
	ck_assert_uint_eq(p.b.in_len, 1000);
	ck_assert_uint_eq(p.a.errs, 1);
	ck_assert_int_eq(p.a.errnum, EIO);
	close(fd);
}
END_TEST

/* What cannot be sent as a file at all is -EIO, too; a negative offset is -EINVAL. */
START_TEST(test_write_file_bad_sources)
{
	int dir = open("/", O_RDONLY | O_CLOEXEC), fd = make_file(10);

	ck_assert_int_eq(sconce_write_file(&p.a.sock, fd, -1, 5, log_done, (void *)(uintptr_t)"neg"), -EINVAL);
	sconce_write_file(&p.a.sock, dir, 0, 5, log_done, (void *)(uintptr_t)"dir");
	sconce_write_file(&p.a.sock, 9999, 0, 5, log_done, (void *)(uintptr_t)"bad");
	sconce_write_file(&p.a.sock, fd, 2, 5, log_done, (void *)(uintptr_t)"ok");
	PAIR_UNTIL(&p, p.b.in_len == 5);
	pair_quiet(&p);
	ck_assert(bytes_are(p.b.in, 5, 2));
	ck_assert_ptr_nonnull(strstr(p.log, "neg=-22 "));
	ck_assert_ptr_nonnull(strstr(p.log, "dir=-5 "));
	ck_assert_ptr_nonnull(strstr(p.log, "bad=-5 "));
	ck_assert_ptr_nonnull(strstr(p.log, "ok=0 "));
	close(dir);
	close(fd);
}
END_TEST

/* A pipe as source: what can only be read in order is sent all the same. */
START_TEST(test_write_file_from_pipe)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], big, 50000), 50000);
	close(fds[1]);
	sconce_write(&p.a.sock, "<", 1);
	sconce_write_file(&p.a.sock, fds[0], 0, 50000, log_done, (void *)(uintptr_t)"P");
	sconce_write(&p.a.sock, ">", 1);
	PAIR_UNTIL(&p, p.b.in_len == 50002);
	pair_quiet(&p);
	ck_assert(bytes_are(p.b.in + 1, 50000, 0));
	ck_assert_ptr_nonnull(strstr(p.log, "P=0 "));
	close(fds[0]);
}
END_TEST

/* The same, refused half-way: no byte is lost. */
START_TEST(test_write_file_from_pipe_refused_loses_nothing)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], big, 50000), 50000);
	close(fds[1]);
	fault.fd = p.a.sock.fd;
	fault.max_send = 333;
	sconce_write_file(&p.a.sock, fds[0], 0, 60000, log_done, (void *)(uintptr_t)"P");
	sconce_write(&p.a.sock, ">", 1);
	PAIR_UNTIL(&p, p.b.in_len == 50001);
	pair_quiet(&p);
	ck_assert(bytes_are(p.b.in, 50000, 0));
	ck_assert_ptr_nonnull(strstr(p.log, "P=-5 "));
	close(fds[0]);
}
END_TEST

/* A pipe as destination: writev, sendfile and completions work there, too. */
START_TEST(test_write_to_pipe_bytes_and_file)
{
	static char got[300000];
	int fds[2], fd = make_file(200000);
	size_t n = 0;
	ssize_t r;
	struct end *w;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	w = end_open(&p, "w", NULL, fds[1]);
	sconce_watch_read(&w->sock, false);
	sconce_write(&w->sock, "head", 4);
	sconce_write_file(&w->sock, fd, 0, 200000, log_done, (void *)(uintptr_t)"F");
	sconce_write(&w->sock, "tail", 4);
	for (int i = 0; i < PAIR_TURNS && n < 200008; i++) {
		sconce_loop_step(p.loop, 0);
		r = read(fds[0], got + n, 5000);
		n += r > 0 ? (size_t)r : 0;
	}
	ck_assert_uint_eq(n, 200008);
	ck_assert(bytes_are(got + 4, 200000, 0));
	pair_quiet(&p);
	ck_assert_ptr_nonnull(strstr(p.log, "F=0 "));
	close(fds[0]);
	pair_quiet(&p);
	ck_assert_uint_eq(w->errs, 1);		/* nobody reads any more: told though nothing is written */
	sconce_close(&w->sock, 0);
	close(fd);
}
END_TEST

/* A file over small sends, interrupted: nothing twice, nothing missing. */
START_TEST(test_write_file_small_steps)
{
	int fd = make_file(200000);

	fault.eintr = true;
	fault.max_send = 7777;
	sconce_write_file(&p.a.sock, fd, 10, 150000, log_done, (void *)(uintptr_t)"F");
	sconce_write(&p.a.sock, "tail", 4);
	PAIR_UNTIL(&p, p.b.in_len == 150004);
	ck_assert(bytes_are(p.b.in, 150000, 10));
	close(fd);
}
END_TEST

static void
write_to_the_cap(struct end *a)
{
	for (int i = 0; i < 10; i++)
		ck_assert_int_ge(sconce_write(&a->sock, big, 100), 0);
	ck_assert_int_eq(sconce_write(&a->sock, big, 1), -ENOBUFS);
	ck_assert_uint_eq(sconce_queued(&a->sock), 1000);
}

/* A loop's cap counts in hooks, too, where writes are gathered. */
START_TEST(test_write_small_loop_cap_holds_in_hook)
{
	struct sconce_loop_options opts = { .backend = fault_backend(), .cap = 1000 };

	pair_open_with(&p, WIRE_UNIX, NULL, NULL, &opts);
	in_hook(write_to_the_cap);
	PAIR_UNTIL(&p, p.b.in_len == 1000);
}
END_TEST

/* As many calls as one likes may fail in a turn: each completes, once. */
START_TEST(test_write_cb_70000_failing_calls_complete_once)
{
	struct counted c = { 0 };

	ck_assert_int_eq(sconce_shutdown(&p.a.sock, SHUT_WR), 0);
	if (_i == 1)
		sconce_close(&p.a.sock, 0);
	for (int i = 0; i < 70000; i++)
		ck_assert(sconce_write_cb(&p.a.sock, count_done, &c) == -EPIPE);
	ck_assert_int_eq(c.calls, 0);
	for (int i = 0; i < 70000 && c.calls < 70000; i++)
		sconce_loop_step(p.loop, 0);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 70000);
	ck_assert_int_eq(c.status, -EPIPE);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("write");
	TCase *c;

	bytes_fill(big, sizeof(big), 0);	/* once: the tests are forked from here */
	c = t_case(s, "broadcast");
	tcase_add_test(c, test_write_ref_to_many_is_stored_once);

	c = t_case(s, "results");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_write_16_times_in_hook_is_one_send);
	tcase_add_test(c, test_write_gather_off_is_a_send_each);
	tcase_add_test(c, test_set_gather_off_sends_what_is_gathered);
	tcase_add_test(c, test_write_32k_leaves_at_once_with_gathered);
	tcase_add_test(c, test_write_empty_tells_the_state);
	tcase_add_test(c, test_write_empty_in_hook_tells_the_state);
	tcase_add_test(c, test_write_stuck_appends_without_a_call);
	tcase_add_test(c, test_write_partial_arms_watch_until_drained);
	tcase_add_test(c, test_write_drain_of_many_items_arms_twice);
	tcase_add_test(c, test_watch_write_survives_a_drain);
	tcase_add_test(c, test_watch_write_off_does_not_stall_the_queue);
	tcase_add_test(c, test_watch_write_without_hook_is_refused);
	tcase_add_test(c, test_flush_sends_now);
	tcase_add_test(c, test_write_order_across_sockets_is_first_written);
	tcase_add_test(c, test_write_order_own_first_stays_first);

	c = t_case(s, "forms");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_writev_and_printf_gather);
	tcase_add_test(c, test_writev_more_than_iov_limit);
	tcase_add_test(c, test_write_one_byte_sends_and_eintr);
	tcase_add_test(c, test_write_smallest_send_buffer);

	c = t_case(s, "completions");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_write_cb_never_runs_inside_the_call);
	tcase_add_test(c, test_write_cb_output_goes_behind_what_is_queued);
	tcase_add_test(c, test_write_cb_output_goes_behind_what_is_stuck);
	tcase_add_test(c, test_write_cb_output_alone_leaves);
	tcase_add_test(c, test_write_cb_output_refused_is_sent_once);
	tcase_add_test(c, test_write_cb_chain_does_not_recurse_nor_starve);
	tcase_add_test(c, test_write_ref_borrows_until_done);
	tcase_add_test(c, test_write_ref_failing_at_once_was_accepted);
	tcase_add_loop_test(c, test_write_behind_failed_file_waits, 0, 2);
	tcase_add_test(c, test_write_ref_empty_completes);
	tcase_add_test(c, test_write_cb_closed_first_is_cancelled);
	tcase_add_test(c, test_write_closed_is_epipe_and_completes);
	tcase_add_test(c, test_write_cb_that_closes_cancels_the_rest);

	c = t_case(s, "cap");
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, test_write_small_loop_cap_holds_in_hook);

	c = t_case(s, "failures");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, test_write_failed_send_tells_err_once, 0, 4);
	tcase_add_test(c, test_write_failed_send_of_dispatch_keeps_its_errno);
	tcase_add_test(c, test_write_failed_send_inside_the_call_is_epipe);
	tcase_add_test(c, test_write_failed_send_early_answer_is_still_read);
	tcase_add_test(c, test_write_to_closed_peer_is_err_then_hup);
	tcase_add_test(c, test_watch_write_after_failed_send_does_not_spin);
	tcase_add_loop_test(c, test_write_cb_70000_failing_calls_complete_once, 0, 2);

	c = t_case(s, "failures_tcp");
	tcase_add_checked_fixture(c, setup_tcp, teardown);
	tcase_add_test(c, test_write_failed_send_early_answer_is_still_read);
	tcase_add_test(c, test_write_to_closed_peer_is_err_then_hup);

	c = t_case(s, "write_file");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_write_file_between_bytes_keeps_order);
	tcase_add_test(c, test_write_file_header_leaves_with_more);
	tcase_add_test(c, test_write_file_more_flag);
	tcase_add_test(c, test_write_file_truncated_is_eio_and_goes_on);
	tcase_add_test(c, test_write_file_truncated_waits_for_completion);
	tcase_add_test(c, test_write_file_truncated_without_done_fails_the_direction);
	tcase_add_test(c, test_write_file_bad_sources);
	tcase_add_test(c, test_write_file_from_pipe);
	tcase_add_test(c, test_write_file_from_pipe_refused_loses_nothing);
	tcase_add_test(c, test_write_to_pipe_bytes_and_file);
	tcase_add_test(c, test_write_file_small_steps);
	return s;
}
