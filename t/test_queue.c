/* What waits: water marks, cap, drain, accounting, fairness; and a run in which every allocation fails once. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pair p;
static char big[8 * 1024 * 1024];

static void
setup_with(uint64_t low, uint64_t high, uint64_t cap)
{
	struct sconce_loop_options opts = { .backend = fault_backend(), .low = low, .high = high, .cap = cap };

	pair_open_with(&p, WIRE_UNIX, NULL, NULL, &opts);
	pair_quiet(&p);
	fault_reset();
}

static void
setup(void)
{
	setup_with(0, 0, 0);
}

static void
teardown(void)
{
	pair_free(&p);
}

/* The kernel refuses everything of a from now on. */
static void
refuse(void)
{
	fault.fd = p.a.sock.fd;
	fault.send_again = -1;
	sconce_write(&p.a.sock, "0", 1);
	pair_turn(&p, 1);
	ck_assert_int_eq(sconce_write(&p.a.sock, NULL, 0), SCONCE_QUEUED);
}

/* The kernel takes `n` bytes of a, then refuses again. */
static void
take(size_t n)
{
	size_t before = (size_t)sconce_queued(&p.a.sock);

	fault.send_again = 0;
	fault.max_send = n;
	sconce_loop_step(p.loop, 0);
	fault.send_again = -1;
	ck_assert_uint_eq(sconce_queued(&p.a.sock), before - n);
}

static void
refuse_no_more(void)
{
	fault.send_again = 0;
	fault.max_send = 0;
}

/* ---- accounting ---- */

/* DS-3, DS-4, RW-13: bytes and items are counted apart, and a callback is no byte. */
START_TEST(test_queued_counts_bytes_and_items)
{
	static struct counted c;

	refuse();
	sconce_write(&p.a.sock, big, 9);		/* joins the bytes before it */
	sconce_write_cb(&p.a.sock, count_done, &c);
	sconce_write_ref(&p.a.sock, big, 100, NULL, NULL);
	sconce_write_file(&p.a.sock, 0, 0, 1000, count_done, &c);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 1110);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), 4);
	take(4);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 1106);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), 4);
	take(6);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), 2);
	ck_assert_int_eq(c.calls, 1);
	sconce_verify(p.loop);
}
END_TEST

/* What was accepted and never sent is counted at the farewell. */
START_TEST(test_close_stuck_counts_unsent)
{
	refuse();
	sconce_write(&p.a.sock, big, 5000);
	sconce_write_ref(&p.a.sock, big, 100, NULL, NULL);
	take(1001);
	sconce_close(&p.a.sock, SCONCE_REASON_USER);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.unsent, 4100);
	ck_assert_int_eq(p.a.reason, SCONCE_REASON_USER);
}
END_TEST

/* An idle socket owns no queue: what was needed once is given back. */
START_TEST(test_queue_memory_is_given_back)
{
	long live;

	for (int i = 0; i < 2; i++) {
		refuse();
		for (int n = 0; n < 100; n++)
			sconce_write(&p.a.sock, big, 2000);
		refuse_no_more();
		pair_quiet(&p);
		ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
		if (i == 0)
			live = fault.live;
	}
	ck_assert_int_eq(fault.live, live);
}
END_TEST

/* ---- marks ---- */

static void
setup_marks(void)
{
	setup_with(1000, 10000, 0);
}

/* DS-80: high once when the queue has grown above the mark, low once when it has fallen to the other; then drain. */
START_TEST(test_marks_hysteresis)
{
	refuse();
	sconce_write(&p.a.sock, big, 9999);		/* exactly at the mark: not above */
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.highs, 0);
	sconce_write(&p.a.sock, big, 1);
	ck_assert_uint_eq(p.a.highs, 0);		/* never inside the call */
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.highs, 1);
	sconce_write(&p.a.sock, big, 10000);
	pair_turn(&p, 2);
	take(15000);
	sconce_write(&p.a.sock, big, 10000);
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.highs, 1);		/* it has not been low meanwhile */
	ck_assert_uint_eq(p.a.lows, 0);
	take((size_t)sconce_queued(&p.a.sock) - 1001);
	ck_assert_uint_eq(p.a.lows, 0);
	take(1);
	ck_assert_uint_eq(p.a.lows, 1);
	take(1);
	ck_assert_uint_eq(p.a.lows, 1);
	sconce_write(&p.a.sock, big, 20000);
	pair_turn(&p, 2);
	ck_assert_uint_eq(p.a.highs, 2);
	ck_assert_uint_eq(p.a.drains, 0);
	pair_log_clear(&p);
	refuse_no_more();
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.lows, 2);
	ck_assert_uint_eq(p.a.drains, 1);
	ck_assert_ptr_nonnull(strstr(p.log, "a.low a.drain "));
}
END_TEST

/* A partial drain, a small write, the rest: low fires once. */
START_TEST(test_marks_partial_drain_and_small_write_is_one_low)
{
	refuse();
	sconce_write(&p.a.sock, big, 20000);
	pair_turn(&p, 1);
	take(19500);
	ck_assert_uint_eq(p.a.lows, 1);
	sconce_write(&p.a.sock, big, 300);
	pair_turn(&p, 1);
	refuse_no_more();
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.lows, 1);
	ck_assert_uint_eq(p.a.highs, 1);
	ck_assert_uint_eq(p.a.drains, 1);
}
END_TEST

static void
write_large(struct end *e)
{
	char c;

	ck_assert_int_eq(sconce_read(&e->sock, &c, 1), 1);
	e->on.read = NULL;
	ck_assert_int_eq(sconce_write(&e->sock, big, 4 * 1024 * 1024), SCONCE_QUEUED);
}

/* A single write of a hook that crosses the mark fires high in its turn. */
START_TEST(test_marks_single_write_in_hook_fires_high)
{
	p.a.on.read = write_large;
	sconce_watch_read(&p.b.sock, false);
	sconce_write(&p.b.sock, "!", 1);
	PAIR_UNTIL(&p, p.a.on.read == NULL);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.highs, 1);
}
END_TEST

static void
write_pieces(struct end *e)
{
	char c;

	ck_assert_int_eq(sconce_read(&e->sock, &c, 1), 1);
	e->on.read = NULL;
	fault.fd = e->sock.fd;
	fault.send_again = -1;
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(sconce_write(&e->sock, big, 1000), SCONCE_GATHERED);
}

/* The same for what was gathered and then refused. */
START_TEST(test_marks_gathered_and_refused_fires_high)
{
	p.a.on.read = write_pieces;
	sconce_write(&p.b.sock, "!", 1);
	PAIR_UNTIL(&p, p.a.on.read == NULL);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.highs, 1);
	refuse_no_more();
	PAIR_UNTIL(&p, p.b.in_len == 20000);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.lows, 1);
	ck_assert_uint_eq(p.a.drains, 1);
}
END_TEST

/* What the kernel takes at once crosses no mark: sizes count after a flush. */
START_TEST(test_marks_sent_at_once_fires_nothing)
{
	for (int i = 0; i < 15; i++)
		sconce_write(&p.a.sock, big, 1000);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.highs + p.a.lows + p.a.drains, 0);
}
END_TEST

static void
write_again(struct end *e)
{
	if (e->n++ < 1)
		sconce_write(&e->sock, big, 20000);
}

/* A hook of the marks may write; each crossing is told once. */
START_TEST(test_marks_hook_may_write)
{
	p.a.on.low = write_again;
	refuse();
	sconce_write(&p.a.sock, big, 20000);
	pair_turn(&p, 1);
	refuse_no_more();
	pair_quiet(&p);
	PAIR_UNTIL(&p, p.b.in_len == 40001);
	pair_quiet(&p);
	ck_assert_uint_eq(p.a.highs, p.a.lows);
}
END_TEST

/* A socket's own marks replace the loop's. */
START_TEST(test_set_marks_own)
{
	ck_assert_int_eq(sconce_set_marks(&p.a.sock, 11, 10), -EINVAL);
	ck_assert_int_eq(sconce_set_marks(&p.a.sock, 0, 10), 0);
	refuse();
	sconce_write(&p.a.sock, big, 10);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.highs, 1);
	take(10);
	ck_assert_uint_eq(p.a.lows, 0);
	take(1);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.lows, 1);
	ck_assert_uint_eq(p.a.drains, 1);
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_set_marks(&p.a.sock, 0, 10), -EBADF);
}
END_TEST

/* ---- cap ---- */

/* DS-80: over the cap a write is refused whole and nothing of it is kept; references are not copies. */
START_TEST(test_cap_refuses_whole_writes)
{
	struct iovec iov[2] = { { big, 600 }, { big, 600 } };
	struct counted c = { 0 };

	ck_assert_int_eq(sconce_set_cap(&p.a.sock, 1000), 0);
	refuse();
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 1000), -ENOBUFS);
	ck_assert_int_eq(sconce_writev(&p.a.sock, iov, 2), -ENOBUFS);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 999), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 1), -ENOBUFS);
	ck_assert_int_eq(sconce_write_ref(&p.a.sock, big, 100000, count_done, &c), SCONCE_QUEUED);
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 101000);
	take(500);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 501), -ENOBUFS);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, 500), SCONCE_QUEUED);
	refuse_no_more();
	PAIR_UNTIL(&p, p.b.in_len == 101500);
	pair_quiet(&p);
	ck_assert_int_eq(c.calls, 1);
	ck_assert_int_eq(sconce_set_cap(&p.a.sock, UINT64_MAX), 0);
	ck_assert_int_ge(sconce_write(&p.a.sock, big, 5000), 0);
	sconce_close(&p.a.sock, 0);
	ck_assert_int_eq(sconce_set_cap(&p.a.sock, 1000), -EBADF);
}
END_TEST

static void
write_to_cap(struct end *e)
{
	char c;

	ck_assert_int_eq(sconce_read(&e->sock, &c, 1), 1);
	e->on.read = NULL;
	ck_assert_int_eq(sconce_write(&e->sock, big, 600), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_write(&e->sock, big, 600), -ENOBUFS);
	ck_assert_int_eq(sconce_write(&e->sock, big, 400), SCONCE_GATHERED);
}

/* Inside a hook, too, where writes are gathered. */
START_TEST(test_cap_holds_for_gathered)
{
	sconce_set_cap(&p.a.sock, 1000);
	p.a.on.read = write_to_cap;
	sconce_write(&p.b.sock, "!", 1);
	PAIR_UNTIL(&p, p.b.in_len == 1000);
}
END_TEST

/* ---- fairness ---- */

/* A flush hands the kernel at most 1 MiB a turn, and goes on in the next without an event. */
START_TEST(test_flush_bytes_are_bounded_per_turn)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	struct counted c = { 0 };

	ck_assert_int_eq(write(fd, big, sizeof(big)), (ssize_t)sizeof(big));
	sconce_watch_read(&p.b.sock, false);
	sconce_write_file(&p.a.sock, fd, 0, sizeof(big), count_done, &c);
	pair_turn(&p, 1);
	ck_assert_uint_le(sizeof(big) - sconce_queued(&p.a.sock), 1024 * 1024);
	sconce_watch_read(&p.b.sock, true);
	PAIR_UNTIL(&p, p.b.in_len == sizeof(big));
	ck_assert(bytes_are(p.b.in, sizeof(big), 0));
	close(fd);
}
END_TEST

/* HZ-12: completions, too: 32 of a socket a turn. */
START_TEST(test_flush_completions_are_bounded_per_turn)
{
	struct counted c = { 0 };
	int turns = 0;

	for (int i = 0; i < 1000; i++)
		sconce_write_cb(&p.a.sock, count_done, &c);
	pair_turn(&p, 1);
	ck_assert_int_eq(c.calls, 32);
	for (; c.calls < 1000 && turns < 100; turns++) {
		int before = c.calls;

		pair_turn(&p, 1);
		ck_assert_int_le(c.calls - before, 32);
	}
	ck_assert_int_le(turns, 32);
}
END_TEST

/* ---- memory (HZ-22) ---- */

static int file;

static void
done_alloc(struct sconce_sock *s, void *arg, int status)
{
	int *calls = arg;

	(void)s;
	(void)status;
	++*calls;
}

/* A short life of three sockets; every call may fail, every completion must come. */
static void
scripted_run(long fail, bool all)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	struct iovec iov[3] = { { big, 20000 }, { big, 20000 }, { big, 20000 } };
	int fds[2], more[2], expected = 0, calls = 0, r;

	wire_make(WIRE_UNIX, fds);
	wire_make(WIRE_UNIX, more);
	pair_clear(&p);
	fault.alloc_fail = fail;
	fault.alloc_fail_all = all;
	r = sconce_loop_new(&opts, &p.loop);
	if (r < 0) {
		ck_assert_int_eq(r, -ENOMEM);
		ck_assert_int_eq(fault.live, 0);
		goto close_all;
	}
	p.a.pair = p.b.pair = p.others[0].pair = &p;
	r = sconce_sock_init(&p.a.sock, p.loop, &end_ops, fds[0]);
	ck_assert(r == 0 || r == -ENOMEM);
	if (r == 0) {
		fds[0] = -1;
		p.a.used = true;
	}
	r = sconce_sock_init(&p.b.sock, p.loop, &end_ops, fds[1]);
	if (r == 0) {
		fds[1] = -1;
		p.b.used = true;
	}
	r = sconce_sock_init(&p.others[0].sock, p.loop, &end_ops, more[0]);
	if (r == 0) {
		more[0] = -1;
		p.others[0].used = true;
		p.other_count = 1;
	}
	if (!p.a.used || !p.b.used || !p.others[0].used)
		goto free_loop;
	sconce_set_cap(&p.b.sock, 1000000);
	sconce_set_marks(&p.b.sock, 0, 100);
	sconce_write(&p.a.sock, big, 100);
	sconce_write_cb(&p.a.sock, done_alloc, &calls), expected++;
	sconce_write_ref(&p.a.sock, big, 100, done_alloc, &calls), expected++;
	sconce_write_file(&p.a.sock, file, 0, 100, done_alloc, &calls), expected++;
	sconce_write(&p.a.sock, big, 500000);
	sconce_writev(&p.a.sock, iov, 3);
	sconce_unread(&p.b.sock, "half", 4);
	pair_turn(&p, 3);
	p.b.reading = READ_SHARED_ONCE;
	fault.max_send = 5000;
	sconce_writev(&p.a.sock, iov, 3);
	sconce_printf(&p.a.sock, "%5000d", 1);
	pair_turn(&p, 3);
	fault.max_send = 0;
	sconce_transfer(&p.b.sock, &p.others[0].sock, 70000, done_alloc, &calls), expected++;
	sconce_write(&p.others[0].sock, "behind", 6);
	sconce_write(&p.a.sock, big, 60000);
	pair_turn(&p, 3);
	sconce_relay(&p.a.sock, &p.b.sock, done_alloc, &calls), expected++;
	pair_turn(&p, 3);
	sconce_write_cb(&p.others[0].sock, done_alloc, &calls), expected++;
	sconce_verify(p.loop);
	sconce_close(&p.b.sock, 0);
	sconce_close_flush(&p.a.sock, 0.001);
	pair_turn(&p, 2);
free_loop:
	ck_assert_int_eq(sconce_loop_free(p.loop), 0);
	ck_assert_int_eq(calls, expected);
	ck_assert_int_eq(fault.live, 0);
	ck_assert_uint_eq(p.a.destroys, p.a.used);
	ck_assert_uint_eq(p.b.destroys, p.b.used);
	ck_assert_uint_eq(p.others[0].destroys, p.others[0].used);
	free(p.a.in);
	free(p.b.in);
	free(p.others[0].in);
close_all:
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		if (more[i] >= 0)
			close(more[i]);
	}
}

/* HZ-22: the n-th allocation fails, for every n: an error to the caller, nothing leaked, completions exactly once. */
START_TEST(test_every_allocation_fails_once)
{
	long n;

	file = memfd_create("t", MFD_CLOEXEC);
	ck_assert_int_eq(write(file, big, 1000), 1000);
	for (n = 1; n < 1000; n++) {
		scripted_run(n, _i);
		if (fault.failed == 0)
			break;			/* the run has fewer */
	}
	ck_assert_int_gt(n, 15);
	ck_assert_int_lt(n, 1000);
	close(file);
}
END_TEST

/* IM-7: what waits is dropped and counted, its completions are told, the marks follow, and the socket goes on. */
START_TEST(test_discard_drops_and_goes_on)
{
	struct counted first = { 0, 0 }, second = { 0, 0 };
	uint64_t waiting;

	ck_assert_int_eq(sconce_set_marks(&p.a.sock, 1000, 100 * 1000), 0);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	sconce_write_cb(&p.a.sock, count_done, &first);
	sconce_write_ref(&p.a.sock, big, 1000, count_done, &second);
	pair_turn(&p, 2);
	waiting = sconce_queued(&p.a.sock);
	ck_assert_uint_gt(waiting, 100 * 1000);
	pair_log_clear(&p);
	ck_assert_uint_eq(sconce_discard(&p.a.sock), waiting);
	ck_assert_int_eq(first.calls + second.calls, 0);	/* not inside the call */
	ck_assert_uint_eq(sconce_queued(&p.a.sock), 0);
	ck_assert_uint_eq(sconce_queued_items(&p.a.sock), 0);
	pair_turn(&p, 2);
	ck_assert_int_eq(first.calls, 1);
	ck_assert_int_eq(first.status, -ECANCELED);
	ck_assert_int_eq(second.calls, 1);
	ck_assert_int_eq(second.status, -ECANCELED);
	ck_assert_ptr_nonnull(strstr(p.log, "a.low"));
	ck_assert_ptr_nonnull(strstr(p.log, "a.drain"));
	ck_assert(!(sconce_watching(&p.a.sock) & SCONCE_WRITE));
	ck_assert_uint_eq(sconce_discard(&p.a.sock), 0);
	p.b.in_len = 0;
	pair_quiet(&p);
	ck_assert_int_ge(sconce_write(&p.a.sock, "after", 5), 0);
	pair_quiet(&p);
	ck_assert_mem_eq(p.b.in + p.b.in_len - 5, "after", 5);
	sconce_close(&p.a.sock, 0);
	ck_assert_uint_eq(p.a.sock.unsent, waiting);
	ck_assert_uint_eq(sconce_discard(&p.a.sock), 0);
}
END_TEST

/* With nothing left to send the output timeout does not run, and runs again for what is written next. */
START_TEST(test_discard_ends_the_output_timeout)
{
	ck_assert_int_eq(sconce_set_timeout(&p.a.sock, SCONCE_TIMEOUT_OUTPUT, 0.02), 0);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	sconce_watch_read(&p.b.sock, false);
	ck_assert_uint_gt(sconce_discard(&p.a.sock), 0);
	for (int i = 0; i < 20; i++)
		sconce_loop_step(p.loop, 0.004);
	ck_assert_uint_eq(p.a.timeouts, 0);
	ck_assert_int_eq(sconce_write(&p.a.sock, big, sizeof(big)), SCONCE_QUEUED);
	PAIR_UNTIL(&p, p.a.timeouts == 1);
}
END_TEST

static void
write_and_discard(struct end *e)
{
	char buf[16];

	sconce_read(&e->sock, buf, sizeof(buf));
	sconce_write(&e->sock, "never", 5);
	sconce_write_cb(&e->sock, log_done, "D");
	ck_assert_uint_eq(sconce_discard(&e->sock), 5);
	sconce_write(&e->sock, "sent", 4);
}

/* What was only gathered too. */
START_TEST(test_discard_of_gathered_bytes)
{
	p.a.on.read = write_and_discard;
	ck_assert_int_ge(sconce_write(&p.b.sock, "x", 1), 0);
	pair_quiet(&p);
	ck_assert_uint_eq(p.b.in_len, 4);
	ck_assert_mem_eq(p.b.in, "sent", 4);
	ck_assert_ptr_nonnull(strstr(p.log, "D=-125 "));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("queue");
	TCase *c;

	bytes_fill(big, sizeof(big), 0);	/* once: the tests are forked from here */
	c = t_case(s, "accounting");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_queued_counts_bytes_and_items);
	tcase_add_test(c, test_close_stuck_counts_unsent);
	tcase_add_test(c, test_queue_memory_is_given_back);

	c = t_case(s, "discard");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_discard_drops_and_goes_on);
	tcase_add_test(c, test_discard_of_gathered_bytes);
	tcase_add_test(c, test_discard_ends_the_output_timeout);

	c = t_case(s, "marks");
	tcase_add_checked_fixture(c, setup_marks, teardown);
	tcase_add_test(c, test_marks_hysteresis);
	tcase_add_test(c, test_marks_partial_drain_and_small_write_is_one_low);
	tcase_add_test(c, test_marks_single_write_in_hook_fires_high);
	tcase_add_test(c, test_marks_gathered_and_refused_fires_high);
	tcase_add_test(c, test_marks_sent_at_once_fires_nothing);
	tcase_add_test(c, test_marks_hook_may_write);
	tcase_add_test(c, test_set_marks_own);

	c = t_case(s, "cap");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_cap_refuses_whole_writes);
	tcase_add_test(c, test_cap_holds_for_gathered);

	c = t_case(s, "fairness");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_flush_bytes_are_bounded_per_turn);
	tcase_add_test(c, test_flush_completions_are_bounded_per_turn);

	c = t_case(s, "memory");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, test_every_allocation_fails_once, 0, 2);
	return s;
}
