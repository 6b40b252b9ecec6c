/* What waits to be sent: marks, the cap, refusals, failures in the middle, connects, unix sockets, no memory. */
#include "test_dgram.h"

static struct peer a, b;
static struct sconce_addr a_addr, far_addr;
static int far;				/* plain; `b` is connected to it */

static void
open_b(const struct sconce_dgram_options *opts)
{
	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, plain_connected(&far_addr), opts);
	kit_settle();
	memset(&calls, 0, sizeof(calls));
}

/* `b` has no fd yet; it is to be connected to `far`. */
static void
open_b_unconnected(const struct sconce_dgram_options *opts)
{
	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, -1, opts);
}

static void
close_b(void)
{
	close(far);
	if (!b.dg.sock.closed)
		peer_close(&b);
}

/* ---- refusals ---- */

/* What the kernel refuses waits, is sent when the fd is writable, and event_drain tells. */
START_TEST(test_dgram_queue_waits_until_kernel_takes)
{
	open_b(NULL);
	calls.send_again = 1;
	ck_assert_int_eq(peer_text(&b, "one"), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_QUEUED);
	ck_assert_int_eq(peer_text(&b, "two"), SCONCE_QUEUED);
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 2);
	ck_assert(sconce_watching(&b.dg.sock) & SCONCE_WRITE);
	KIT_UNTIL(strcmp(b.log, "F") == 0);
	ck_assert(plain_gets(far, "one") && plain_gets(far, "two"));
	kit_settle();
	ck_assert_str_eq(b.log, "F");
	ck_assert(!(sconce_watching(&b.dg.sock) & SCONCE_WRITE));
	ck_assert_int_eq(peer_text(&b, "three"), SCONCE_GATHERED);
	close_b();
}
END_TEST

/* HZ-10: an fd that says it is writable and refuses all the same is tried by the clock, ever more seldom, not all the time. */
START_TEST(test_dgram_queue_refusal_that_lasts_does_not_spin)
{
	double cpu;

	open_b(NULL);
	calls.send_again = -1;
	peer_text(&b, "one");
	kit_settle();
	calls.sendmmsg = 0;
	cpu = t_cpu_seconds();
	for (int i = 0; i < 30; i++)
		sconce_loop_step(loop, 0.01);
	ck_assert_uint_le(calls.sendmmsg, 40);
	ck_assert(t_cpu_seconds() - cpu < 0.15);
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 1);
	calls.send_again = 0;
	KIT_UNTIL(sconce_dgram_queued(&b.dg) == 0);
	kit_settle();
	ck_assert_str_eq(b.log, "F");
	ck_assert(plain_gets(far, "one"));
	close_b();
}
END_TEST

/* ENOBUFS is a lack, not a failure: the datagram waits for a while. */
START_TEST(test_dgram_queue_no_buffers_tries_again)
{
	open_b(NULL);
	calls.send_errno = ENOBUFS;
	peer_text(&b, "one");
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert(plain_gets(far, "one"));
	ck_assert_uint_eq(b.err_count, 0);
	kit_settle();
	ck_assert_str_eq(b.log, "F");
	close_b();
}
END_TEST

/* SCONCE_TIMEOUT_OUTPUT runs while the kernel refuses, whoever tries again. */
START_TEST(test_dgram_queue_output_timeout)
{
	open_b(NULL);
	ck_assert_int_eq(sconce_set_timeout(&b.dg.sock, SCONCE_TIMEOUT_OUTPUT, 5), 0);
	kit_pass(6);
	ck_assert_str_eq(b.log, "");
	calls.send_again = -1;
	peer_text(&b, "one");
	kit_settle();
	kit_pass(4);
	kit_settle();
	ck_assert_str_eq(b.log, "");
	kit_pass(2);
	kit_settle();
	ck_assert_str_eq(b.log, "T");
	close_b();
}
END_TEST

/* ---- marks and the cap ---- */

/* Above the high mark event_high, once; at or below the low one event_low, once; then event_drain. */
START_TEST(test_dgram_marks_with_hysteresis)
{
	struct sconce_dgram_options opts = { .high = 100, .low = 30 };
	char ten[10] = "0123456789";

	open_b(&opts);
	calls.send_again = -1;
	for (int i = 0; i < 10; i++)
		sconce_dgram_send(&b.dg, ten, 10);
	kit_settle();
	ck_assert_str_eq(b.log, "");		/* at the mark is not above it */
	sconce_dgram_send(&b.dg, ten, 10);
	kit_settle();
	ck_assert_str_eq(b.log, "G");
	sconce_dgram_send(&b.dg, ten, 10);
	kit_settle();
	ck_assert_str_eq(b.log, "G");
	calls.send_again = 0;
	KIT_UNTIL(sconce_dgram_queued(&b.dg) == 0);
	kit_settle();
	ck_assert_str_eq(b.log, "GLF");
	close_b();
}
END_TEST

static void
refill(struct peer *p)
{
	if (p->n++ < 3)
		peer_text(p, "more");
}

/* What event_drain sends leaves too, without anything from outside. */
START_TEST(test_dgram_drain_hook_sends_more)
{
	open_b(NULL);
	b.on_drain = refill;
	calls.send_again = 1;
	peer_text(&b, "one");
	KIT_UNTIL(b.dg.sent == 2);
	ck_assert(plain_gets(far, "one") && plain_gets(far, "more"));
	close_b();
}
END_TEST

/* The cap: what does not fit is refused, all of it, and the rest goes on.  Empty datagrams count too. */
START_TEST(test_dgram_cap_refuses)
{
	struct sconce_dgram_options opts = { .cap = 4096 };
	static char kilo[1000];
	unsigned n = 0;

	open_b(&opts);
	calls.send_again = -1;
	kit_settle();
	for (int i = 0; i < 4; i++)
		ck_assert_int_ge(sconce_dgram_send(&b.dg, kilo, 1000), 0);
	ck_assert_int_eq(sconce_dgram_send(&b.dg, kilo, 1000), -ENOBUFS);
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 4);
	while (sconce_dgram_send(&b.dg, "", 0) >= 0)
		ck_assert_uint_lt(n++, 4096);
	calls.send_again = 0;
	KIT_UNTIL(sconce_dgram_queued(&b.dg) == 0);
	ck_assert_uint_eq(b.dg.sent, 4 + n);
	ck_assert_int_eq(sconce_dgram_send(&b.dg, kilo, 1000), SCONCE_GATHERED);
	close_b();
}
END_TEST

/* Many, of all sizes, through all chunks of the queue: each arrives as it was, in order. */
START_TEST(test_dgram_queue_many_of_all_sizes)
{
	static char buf[60000], back[60000];
	size_t size = 0;
	int large = 8 * 1024 * 1024;
	uint64_t sum = 0;

	open_b(NULL);
	setsockopt(far, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
	for (int round = 0; round < 4; round++) {
		calls.send_again = -1;
		for (int i = 0; i < 12; i++) {
			size = (size_t)(i * i * i * 31 + round * 7) % 9000;
			bytes_fill(buf, size, sum + (uint64_t)i);
			ck_assert_int_ge(sconce_dgram_send(&b.dg, buf, size), 0);
		}
		kit_settle();
		calls.send_again = 0;
		for (int i = 0; i < 12; i++) {
			size = (size_t)(i * i * i * 31 + round * 7) % 9000;
			KIT_UNTIL(!plain_empty(far));
			ck_assert_int_eq(plain_recv(far, back, sizeof(back), NULL), size);
			ck_assert(bytes_are(back, size, sum + (uint64_t)i));
		}
		sum += 1000;
	}
	ck_assert_uint_eq(b.dg.sent, 48);
	close_b();
}
END_TEST

/* More than one turn may send: the rest follows by itself. */
START_TEST(test_dgram_queue_more_than_a_turn)
{
	static char buf[30000];

	open_b(NULL);
	calls.send_again = -1;
	for (int i = 0; i < 100; i++)
		ck_assert_int_ge(sconce_dgram_send(&b.dg, buf, sizeof(buf)), 0);
	kit_settle();
	calls.send_again = 0;
	for (int i = 0; i < 1000 && b.dg.sent < 100; i++) {
		uint64_t before = b.dg.sent;

		plain_drain(far);
		sconce_loop_step(loop, 0.1);
		ck_assert_uint_le(b.dg.sent - before, 128);	/* 1 MiB, rounded up to what a call takes */
	}
	ck_assert_uint_eq(b.dg.sent, 100);
	close_b();
}
END_TEST

/* ---- failures ---- */

/* EM-51: one that fails in the middle of a batch is told and dropped; those around it arrive. */
START_TEST(test_dgram_failure_in_the_middle_drops_one)
{
	char text[8];
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	open_b(NULL);
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		if (i == 2)
			sconce_dgram_sendto(&b.dg, &wrong, text, 2);	/* broadcast, without the option */
		else
			peer_text(&b, text);
	}
	KIT_UNTIL(b.dg.sent == 4);
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_str_eq(b.errs[0].operation, "send");
	ck_assert_int_eq(b.errs[0].errnum, EACCES);
	ck_assert_mem_eq(b.errs[0].data, "n2", 2);
	ck_assert_uint_eq(b.errs[0].len, 2);
	ck_assert(addr_same(&b.errs[0].to, &wrong));
	ck_assert_uint_eq(b.dg.lost, 1);
	ck_assert(plain_gets(far, "n0") && plain_gets(far, "n1") && plain_gets(far, "n3") && plain_gets(far, "n4"));
	ck_assert(!b.dg.sock.closed);
	close_b();
}
END_TEST

/* A partial sendmmsg whose next datagram is refused: no loss, no duplicate, no other order. */
START_TEST(test_dgram_partial_result_goes_on)
{
	char text[8];

	open_b(NULL);
	calls.send_errno = EAGAIN;
	calls.send_fail_at = 3;
	for (int i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		peer_text(&b, text);
	}
	KIT_UNTIL(b.dg.sent == 6);
	for (int i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		ck_assert(plain_gets(far, text));
	}
	ck_assert(plain_empty(far));
	ck_assert_uint_eq(b.err_count, 0);
	close_b();
}
END_TEST

/* HZ-19: a send fails for the sake of an earlier datagram's ICMP error: that is told, and this one is sent all the same. */
START_TEST(test_dgram_error_of_an_earlier_one_costs_nothing)
{
	open_b(NULL);
	calls.send_errno = ECONNREFUSED;
	peer_text(&b, "mine");
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert(plain_gets(far, "mine"));
	kit_settle();
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_str_eq(b.errs[0].operation, "recv");
	ck_assert_int_eq(b.errs[0].errnum, ECONNREFUSED);
	ck_assert(addr_same(&b.errs[0].to, &far_addr));
	ck_assert_uint_eq(b.dg.lost, 0);
	close_b();
}
END_TEST

/* The same within sconce_dgram_flush(), which runs no hook: the error waits for the loop. */
START_TEST(test_dgram_flush_tells_errors_from_loop)
{
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	open_b(NULL);
	calls.send_errno = ECONNREFUSED;
	peer_text(&b, "mine");
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_SENT);
	ck_assert_uint_eq(b.err_count, 0);
	kit_settle();
	ck_assert_uint_eq(b.err_count, 1);
	sconce_dgram_sendto(&b.dg, &wrong, "bad", 3);
	peer_text(&b, "good");
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_GATHERED);
	ck_assert_uint_eq(b.err_count, 1);
	kit_settle();
	ck_assert_uint_eq(b.err_count, 2);
	ck_assert_int_eq(b.errs[1].errnum, EACCES);
	ck_assert(plain_gets(far, "mine") && plain_gets(far, "good"));
	close_b();
}
END_TEST

static void
close_in_error(struct peer *p, const struct sconce_dgram_error *e)
{
	(void)e;
	sconce_close(&p->dg.sock, SCONCE_REASON_LOCAL);
}

/* HZ-1: event_error may close; the failed one is lost, those behind it are offered once more and sent. */
START_TEST(test_dgram_error_hook_closes)
{
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	open_b(NULL);
	b.on_error = close_in_error;
	sconce_dgram_sendto(&b.dg, &wrong, "bad", 3);
	peer_text(&b, "good");
	KIT_UNTIL(strcmp(b.log, "EXZ") == 0);
	ck_assert_uint_eq(b.lost, 1);
	ck_assert(plain_gets(far, "good"));
	close_b();
}
END_TEST

static void
send_in_error(struct peer *p, const struct sconce_dgram_error *e)
{
	ck_assert_int_eq(peer_text(p, "instead"), SCONCE_GATHERED);
	if (p->n == 0)
		return;
	ck_assert_int_eq(sconce_dgram_flush(&p->dg), SCONCE_SENT);
	ck_assert_uint_eq(p->dg.sent, p->n == 1 ? 2 : 1);
	ck_assert_int_eq(peer_text(p, "more"), SCONCE_GATHERED);	/* not where e->data is */
	ck_assert_uint_eq(e->len, 3);
	ck_assert_mem_eq(e->data, "bad", 3);
}

/* event_error may send: it goes behind the rest.  And flush (1), also with nothing queued behind the failed one (2). */
START_TEST(test_dgram_error_hook_sends)
{
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	open_b(NULL);
	b.on_error = send_in_error;
	b.n = _i;
	sconce_dgram_sendto(&b.dg, &wrong, "bad", 3);
	if (_i != 2)
		peer_text(&b, "good");
	kit_settle();
	ck_assert(_i == 2 || plain_gets(far, "good"));
	ck_assert(plain_gets(far, "instead"));
	ck_assert(_i == 0 || plain_gets(far, "more"));
	ck_assert(plain_empty(far));
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_uint_eq(b.dg.lost, 1);
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 0);
	close_b();
}
END_TEST

static void
flush_bad(struct peer *p, const struct sconce_datagram *g)
{
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	(void)g;
	peer_text(p, "before");
	sconce_dgram_sendto(&p->dg, &wrong, "bad", 3);
	peer_text(p, "behind");
	ck_assert_int_eq(sconce_dgram_flush(&p->dg), SCONCE_GATHERED);
	ck_assert_uint_eq(p->err_count, 0);
	ck_assert_uint_eq(p->dg.sent, 1);
	ck_assert_uint_eq(sconce_dgram_queued(&p->dg), 2);
}

/* A flush in a hook runs no other: one that fails stays at the front, and is told when the hook has returned. */
START_TEST(test_dgram_flush_in_hook_tells_errors_from_loop)
{
	struct sconce_addr own;

	open_b(NULL);
	b.on_datagram = flush_bad;
	ck_assert_int_eq(sconce_local(&b.dg.sock, &own), 0);
	plain_send(far, &own, "go", 2);
	KIT_UNTIL(b.err_count == 1);
	kit_settle();
	ck_assert_str_eq(b.log, "DE");
	ck_assert_mem_eq(b.errs[0].data, "bad", 3);
	ck_assert(plain_gets(far, "before") && plain_gets(far, "behind"));
	ck_assert_uint_eq(b.dg.lost, 1);
	close_b();
}
END_TEST

static void
flush_all(struct peer *p)
{
	while (sconce_dgram_flush(&p->dg) == SCONCE_GATHERED)
		plain_drain(far);
	p->n += sconce_dgram_queued(&p->dg) == 0;
}

/* A queue that event_high flushes is below the low mark: that is told, later. */
START_TEST(test_dgram_flush_in_high_hook_is_followed_by_low)
{
	static char buf[30000];

	open_b(&(struct sconce_dgram_options){ .high = 100000 });
	b.on_high = flush_all;
	for (int i = 0; i < 100; i++)		/* more than leaves in one turn */
		ck_assert_int_eq(sconce_dgram_send(&b.dg, buf, sizeof(buf)), SCONCE_GATHERED);
	KIT_UNTIL(b.n == 1);
	kit_settle();
	ck_assert_str_eq(b.log, "GL");
	ck_assert_uint_eq(b.dg.sent, 100);
	close_b();
}
END_TEST

/* Closing counts what the kernel would not take; the hooks see it. */
START_TEST(test_dgram_close_counts_lost)
{
	open_b(NULL);
	calls.send_again = -1;
	for (int i = 0; i < 3; i++)
		peer_text(&b, "x");
	kit_settle();
	peer_close(&b);
	ck_assert_uint_eq(b.lost, 3);
	ck_assert_uint_eq(b.dg.lost, 3);
	ck_assert(plain_empty(far));
	close_b();
}
END_TEST

/* What was not refused yet is offered at close, past what fails. */
START_TEST(test_dgram_close_offers_the_rest)
{
	struct sconce_addr wrong = { .in = { .sin_family = AF_INET, .sin_port = htons(9),
		.sin_addr.s_addr = htonl(0x7fffffff) }, .len = sizeof(wrong.in) };

	open_b(NULL);
	peer_text(&b, "one");
	sconce_dgram_sendto(&b.dg, &wrong, "bad", 3);
	peer_text(&b, "two");
	peer_close(&b);
	ck_assert(plain_gets(far, "one") && plain_gets(far, "two"));
	ck_assert_uint_eq(b.lost, 1);
	ck_assert_uint_eq(b.err_count, 0);
	close_b();
}
END_TEST

/* ---- before there is an fd ---- */

/* What is sent before a connect has ended goes out then. */
START_TEST(test_dgram_connect_sends_what_waited)
{
	int fd;

	far = plain_bound("127.0.0.1", &far_addr);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	peer_init(&b, &peer_ops, fd, NULL);
	ck_assert_int_eq(connect(fd, &far_addr.any, far_addr.len), 0);
	ck_assert_int_eq(sconce_connecting(&b.dg.sock), 0);
	ck_assert_int_eq(peer_text(&b, "early"), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_QUEUED);
	ck_assert(plain_empty(far));
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert(plain_gets(far, "early"));
	kit_settle();
	ck_assert_str_eq(b.log, "CF");
	close_b();
}
END_TEST

static void
far_endpoint(char *text, size_t size, const char *scheme, const struct sconce_addr *addr)
{
	char host[SCONCE_ADDR_TEXT];

	snprintf(text, size, "%s%s", scheme, sconce_addr_text(addr, host, sizeof(host)));
}

/* The same with an fd that sconce_connect() opens; the options are set on it. */
START_TEST(test_dgram_connect_endpoint)
{
	struct sconce_dgram_options opts = { .errors = true, .local = true };
	char endpoint[SCONCE_ADDR_TEXT + 16], buf[16];
	struct sconce_addr from;
	int on = 0;
	socklen_t len = sizeof(on);

	far = plain_bound("127.0.0.1", &far_addr);
	far_endpoint(endpoint, sizeof(endpoint), "udp://", &far_addr);
	peer_init(&b, &peer_ops, -1, &opts);
	ck_assert_int_eq(peer_text(&b, "before"), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_connect(&b.dg.sock, endpoint), 0);
	ck_assert_int_eq(peer_text(&b, "while"), SCONCE_QUEUED);
	KIT_UNTIL(b.dg.sent == 2);
	ck_assert_int_eq(plain_recv(far, buf, sizeof(buf), &from), 6);
	ck_assert(plain_gets(far, "while"));
	plain_send(far, &from, "back", 4);
	KIT_UNTIL(b.got_count == 1);
	ck_assert(got_is(&b.got[0], "back"));
	ck_assert_str_eq(b.log, "CFD");
	ck_assert_int_eq(getsockopt(b.dg.sock.fd, IPPROTO_IP, IP_RECVERR, &on, &len), 0);
	ck_assert_int_eq(on, 1);
	close_b();
}
END_TEST

/* A connect that fails loses what waited, and says so; the socket may be connected again. */
START_TEST(test_dgram_connect_failure_loses)
{
	char endpoint[SCONCE_ADDR_TEXT + 16];

	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, -1, NULL);
	peer_text(&b, "one");
	ck_assert_int_eq(sconce_connect(&b.dg.sock, "udp://255.255.255.255:9"), 0);	/* EACCES */
	KIT_UNTIL(b.log[0] != '\0');
	kit_settle();
	ck_assert_int_eq(b.connect_errnum, EACCES);
	ck_assert_uint_eq(b.dg.lost, 1);
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 0);
	ck_assert_int_eq(sconce_write(&b.dg.sock, "x", 1), -EPIPE);
	far_endpoint(endpoint, sizeof(endpoint), "udp://", &far_addr);
	peer_text(&b, "two");
	ck_assert_int_eq(sconce_connect(&b.dg.sock, endpoint), 0);
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert(plain_gets(far, "two"));
	close_b();
}
END_TEST

static void
flush_in_connect(struct peer *p, int errnum)
{
	ck_assert_int_eq(errnum, 0);
	ck_assert_int_eq(peer_text(p, "while"), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_dgram_flush(&p->dg), SCONCE_SENT);
	ck_assert_uint_eq(p->dg.sent, 2);
}

/* event_connect may flush what waited for it; event_drain follows all the same. */
START_TEST(test_dgram_flush_in_connect_hook)
{
	open_b_unconnected(NULL);
	b.on_connect = flush_in_connect;
	ck_assert_int_eq(peer_text(&b, "early"), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_connect_addr(&b.dg.sock, &far_addr), 0);
	KIT_UNTIL(b.dg.sent == 2);
	kit_settle();
	ck_assert(plain_gets(far, "early") && plain_gets(far, "while"));
	ck_assert_str_eq(b.log, "CF");
	close_b();
}
END_TEST

static void
produce(struct peer *p)
{
	if (p->n > 0)
		return;
	p->n = peer_text(p, "two") == SCONCE_QUEUED ? 1 : 2;
}

static void
connect_again(struct peer *p, int errnum)
{
	if (errnum == 0)
		return;
	ck_assert_int_eq(sconce_connect_addr(&p->dg.sock, &far_addr), 0);
	if (p->arg != NULL)
		produce(p);
}

/* Whoever produces by event_drain alone is not left waiting by a connect that fails: what was queued is dropped, the
 * marks and event_drain follow event_connect, and when it connects again (later; in the hook; in the hook, sending
 * there) all is as at first. */
START_TEST(test_dgram_connect_failure_drains)
{
	open_b_unconnected(&(struct sconce_dgram_options){ .high = 4, .low = 3 });
	b.on_drain = produce;
	b.on_connect = _i == 0 ? NULL : connect_again;
	b.arg = _i == 2 ? &b : NULL;
	ck_assert_int_eq(peer_text(&b, "lost one"), SCONCE_QUEUED);
	ck_assert_int_eq(sconce_connect(&b.dg.sock, "udp://255.255.255.255:9"), 0);	/* EACCES */
	KIT_UNTIL(strchr(b.log, 'C') != NULL);
	if (_i == 0) {
		kit_settle();
		ck_assert_str_eq(b.log, "GCLF");
		ck_assert_int_eq(b.n, 1);
		ck_assert_int_eq(sconce_connect_addr(&b.dg.sock, &far_addr), 0);
	}
	KIT_UNTIL(b.dg.sent == 1);
	kit_settle();
	ck_assert_str_eq(b.log, _i == 2 ? "GCLCF" : "GCLFCF");
	ck_assert_int_eq(b.n, 1);
	ck_assert_uint_eq(b.dg.lost, 1);
	ck_assert(plain_gets(far, "two") && plain_empty(far));
	close_b();
}
END_TEST

/* What the kernel has refused is no matter of the next connection. */
START_TEST(test_dgram_connect_failure_forgets_refusal)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	open_b(NULL);
	calls.send_again = _i == 0 ? -1 : 0;
	calls.send_errno = _i == 0 ? 0 : ENOBUFS;	/* a refusal whose end no fd tells */
	peer_text(&b, "lost");
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_QUEUED);
	ck_assert_int_eq(connect(b.dg.sock.fd, &none, sizeof(none)), 0);	/* it has no peer any more */
	ck_assert_int_eq(sconce_connecting(&b.dg.sock), 0);
	KIT_UNTIL(b.connect_errnum == ENOTCONN);
	calls.send_again = 0;
	kit_settle();
	ck_assert_str_eq(b.log, "CF");
	ck_assert_int_eq(sconce_connect_addr(&b.dg.sock, &far_addr), 0);
	peer_text(&b, "two");
	KIT_UNTIL(b.dg.sent == 1);
	kit_settle();
	ck_assert(plain_gets(far, "two") && plain_empty(far));
	ck_assert_str_eq(b.log, "CFCF");
	ck_assert_uint_eq(b.dg.lost, 1);
	close_b();
}
END_TEST

/* A stream is no datagram socket: a wrong endpoint or fd is refused, and says so; a right one will do afterwards. */
START_TEST(test_dgram_connect_to_stream_is_refused)
{
	int fds[2];
	char endpoint[64];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer_init(&b, &peer_ops, -1, NULL);
	peer_text(&b, "x");
	ck_assert_int_eq(sconce_connect(&b.dg.sock, "127.0.0.1:7045"), -EPROTOTYPE);
	ck_assert_str_eq(sconce_failure(&b.dg.sock)->text, "socktype 127.0.0.1:7045: a stream endpoint: say udp://127.0.0.1:7045");
	snprintf(endpoint, sizeof(endpoint), "fd://%d", fds[0]);
	ck_assert_int_eq(sconce_connect(&b.dg.sock, endpoint), -EPROTOTYPE);
	ck_assert_str_eq(sconce_failure(&b.dg.sock)->operation, "socktype");
	ck_assert_int_eq(sconce_bind(&b.dg.sock, endpoint, NULL), -EPROTOTYPE);
	kit_settle();
	ck_assert_str_eq(b.log, "");
	ck_assert_int_eq(close(fds[0]) | close(fds[1]), 0);
	far = plain_bound("127.0.0.1", &far_addr);
	far_endpoint(endpoint, sizeof(endpoint), "udp://", &far_addr);
	ck_assert_int_eq(sconce_connect(&b.dg.sock, endpoint), 0);
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert(plain_gets(far, "x"));
	close_b();
}
END_TEST

/* Bound by an endpoint: receives, answers, and what was sent before goes out. */
START_TEST(test_dgram_bind_endpoint)
{
	struct sconce_fail fail;
	struct sconce_addr own;

	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, -1, &(struct sconce_dgram_options){ .local = true });
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &far_addr, "early", 5), SCONCE_QUEUED);
	ck_assert_msg(sconce_bind(&b.dg.sock, "udp://127.0.0.1:0", &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &far_addr, "later", 5), SCONCE_GATHERED);
	ck_assert_int_eq(peer_text(&b, "nobody"), -EDESTADDRREQ);
	ck_assert_int_eq(sconce_local(&b.dg.sock, &own), 0);
	KIT_UNTIL(b.dg.sent == 2);
	ck_assert(plain_gets(far, "early") && plain_gets(far, "later"));
	plain_send(far, &own, "in", 2);
	KIT_UNTIL(b.got_count == 1);
	ck_assert(got_is(&b.got[0], "in"));
	ck_assert_uint_ne(b.got[0].local.len, 0);
	close_b();
}
END_TEST

/* EM-57: the endpoint's buffer sizes are the socket's (the kernel doubles them). */
START_TEST(test_dgram_bind_buffer_sizes)
{
	struct sconce_fail fail;
	int size = 0;
	socklen_t len = sizeof(size);

	peer_init(&b, &peer_ops, -1, NULL);
	ck_assert_msg(sconce_bind(&b.dg.sock, "udp://127.0.0.1:0?rcvbuf=50000&sndbuf=40000", &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(getsockopt(b.dg.sock.fd, SOL_SOCKET, SO_RCVBUF, &size, &len), 0);
	ck_assert_int_eq(size, 100000);
	ck_assert_int_eq(getsockopt(b.dg.sock.fd, SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
	ck_assert_int_eq(size, 80000);
	peer_close(&b);
}
END_TEST

/* ---- unix ---- */

static int
unix_open(struct peer *p, struct sconce_addr *addr)
{
	int fd;

	*addr = unix_name();
	fd = unix_bound(addr);
	peer_init(p, &peer_ops, fd, NULL);
	return fd;
}

/* Between two unix sockets: sizes beyond those of UDP, senders with and without a name. */
START_TEST(test_dgram_unix_names_and_sizes)
{
	static char big[100 * 1000];
	int size = 1024 * 1024, nameless = unix_bound(NULL);
	struct sconce_addr b_addr;

	unix_open(&a, &a_addr);
	sconce_close(&a.dg.sock, SCONCE_REASON_LOCAL);
	kit_settle();
	a_addr = unix_name();
	peer_init(&a, &peer_ops, unix_bound(&a_addr), &(struct sconce_dgram_options){ .max_size = 200 * 1000 });
	unix_open(&b, &b_addr);
	setsockopt(b.dg.sock.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	bytes_fill(big, sizeof(big), 3);
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &a_addr, big, sizeof(big)), SCONCE_GATHERED);
	plain_send(nameless, &a_addr, "who", 3);
	KIT_UNTIL(a.got_count == 2);
	for (int i = 0; i < 2; i++) {
		bool named = a.got[i].len == sizeof(big);

		ck_assert(named || got_is(&a.got[i], "who"));
		ck_assert_uint_eq(a.got[i].from.len, named ? b_addr.len : 0);
		if (named)
			ck_assert_mem_eq(&a.got[i].from.any, &b_addr.any, b_addr.len);
	}
	close(nameless);
	peer_close(&b);
	peer_close(&a);
}
END_TEST

/* A receiver that is full holds its sender up without spinning, whether that is connected or not; nothing is lost. */
START_TEST(test_dgram_unix_receiver_full)
{
	int rcv, fd, total = 200, got = 0;
	double cpu;

	a_addr = unix_name();
	rcv = unix_bound(&a_addr);
	fd = unix_bound(NULL);
	if (_i == 1)
		ck_assert_int_eq(connect(fd, &a_addr.any, a_addr.len), 0);
	peer_init(&b, &peer_ops, fd, NULL);
	for (int i = 0; i < total; i++)
		ck_assert_int_ge(sconce_dgram_sendto(&b.dg, &a_addr, &i, sizeof(i)), 0);
	kit_settle();
	ck_assert_uint_gt(sconce_dgram_queued(&b.dg), 0);
	ck_assert_uint_lt(sconce_dgram_queued(&b.dg), (size_t)total);
	calls.sendmmsg = 0;
	cpu = t_cpu_seconds();
	for (int i = 0; i < 20; i++)
		sconce_loop_step(loop, 0.01);
	ck_assert_uint_le(calls.sendmmsg, 30);
	ck_assert(t_cpu_seconds() - cpu < 0.1);
	for (int turn = 0; turn < 2000 && got < total; turn++) {
		got += plain_drain(rcv);
		sconce_loop_step(loop, 0.005);
	}
	ck_assert_int_eq(got, total);
	ck_assert_uint_eq(b.err_count, 0);
	kit_settle();
	ck_assert_str_eq(b.log, "F");
	close(rcv);
	peer_close(&b);
}
END_TEST

/* A receiver that has gone is an error of each datagram to it; others are served. */
START_TEST(test_dgram_unix_dead_receiver)
{
	struct sconce_addr dead, none;
	int rcv;

	a_addr = unix_name();
	rcv = unix_bound(&a_addr);
	none = unix_name();
	snprintf(dead.un.sun_path, sizeof(dead.un.sun_path), "/tmp/sconce-dgram-%d", (int)getpid());
	dead.un.sun_family = AF_UNIX;
	dead.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(dead.un.sun_path) + 1);
	close(unix_bound(&dead));		/* the path stays */
	peer_init(&b, &peer_ops, unix_bound(NULL), NULL);
	sconce_dgram_sendto(&b.dg, &dead, "1", 1);
	sconce_dgram_sendto(&b.dg, &a_addr, "2", 1);
	sconce_dgram_sendto(&b.dg, &none, "3", 1);
	sconce_dgram_sendto(&b.dg, &a_addr, "4", 1);
	KIT_UNTIL(b.dg.sent == 2);
	kit_settle();
	ck_assert(plain_gets(rcv, "2") && plain_gets(rcv, "4"));
	ck_assert_uint_eq(b.err_count, 2);
	ck_assert_int_eq(b.errs[0].errnum, ECONNREFUSED);
	ck_assert_str_eq(b.errs[0].operation, "send");
	ck_assert(addr_same(&b.errs[0].to, &dead));
	ck_assert_int_eq(b.errs[1].errnum, ECONNREFUSED);
	ck_assert_mem_eq(b.errs[1].data, "3", 1);
	unlink(dead.un.sun_path);
	close(rcv);
	peer_close(&b);
}
END_TEST

static void
answer(struct peer *p, const struct sconce_datagram *g)
{
	sconce_dgram_reply(&p->dg, g, g->data, g->len);
}

/* A client that sconce_connect() has opened has a name, so it can be answered. */
START_TEST(test_dgram_unix_client_is_answered)
{
	char endpoint[SCONCE_ADDR_TEXT + 32], text[SCONCE_ADDR_TEXT];

	unix_open(&a, &a_addr);
	a.on_datagram = answer;
	peer_init(&b, &peer_ops, -1, NULL);
	peer_text(&b, "hello");
	snprintf(endpoint, sizeof(endpoint), "unix_dgram:///%s", sconce_addr_text(&a_addr, text, sizeof(text)));
	ck_assert_int_eq(sconce_connect(&b.dg.sock, endpoint), 0);
	KIT_UNTIL(b.got_count == 1);
	ck_assert(got_is(&b.got[0], "hello"));
	ck_assert_uint_gt(a.got[0].from.len, sizeof(sa_family_t));
	peer_close(&b);
	peer_close(&a);
}
END_TEST

/* A sender without a name cannot be answered by an unconnected socket: that is said. */
START_TEST(test_dgram_unix_nameless_cannot_be_answered)
{
	int fd = unix_bound(NULL);
	struct sconce_datagram g = { .len = 0 };

	unix_open(&a, &a_addr);
	plain_send(fd, &a_addr, "x", 1);
	KIT_UNTIL(a.got_count == 1);
	g.from = a.got[0].from;
	ck_assert_int_eq(sconce_dgram_reply(&a.dg, &g, "y", 1), -EDESTADDRREQ);
	close(fd);
	peer_close(&a);
}
END_TEST

/* A pair of sockets without names is connected; file descriptors that come along are not kept (HZ-20). */
START_TEST(test_dgram_unix_pair_and_descriptors)
{
	int fds[2], before;
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "fd", .iov_len = 2 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	peer_init(&a, &peer_ops, fds[0], NULL);
	ck_assert_int_eq(peer_text(&a, "out"), SCONCE_GATHERED);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fds[1], sizeof(int));
	before = t_fd_count();
	ck_assert_int_eq(sendmsg(fds[1], &msg, 0), 2);
	KIT_UNTIL(a.got_count == 1 && a.dg.sent == 1);
	ck_assert(got_is(&a.got[0], "fd"));
	ck_assert_int_eq(t_fd_count(), before);
	ck_assert(plain_gets(fds[1], "out"));
	close(fds[1]);
	peer_close(&a);
}
END_TEST

/* ---- no memory ---- */

/* One run of an echo and its client, in which any allocation may fail.  Returns whether all went well. */
static bool
act(const struct sconce_loop_options *opts)
{
	struct sconce_dgram_options small = { .cap = 100 * 1000, .max_size = 2000 };
	static char data[1500];
	int fd = plain_bound("127.0.0.1", &a_addr), sent = 0;
	bool good = false;

	if (sconce_loop_new(opts, &loop) < 0) {
		close(fd);
		return false;
	}
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	if (sconce_dgram_init(&a.dg, loop, &peer_ops, fd, &small) < 0) {
		close(fd);
		goto out;
	}
	a.on_datagram = answer;
	fd = plain_connected(&a_addr);
	if (sconce_dgram_init(&b.dg, loop, &peer_ops, fd, &small) < 0) {
		close(fd);
		goto out;
	}
	for (int i = 0; i < 20; i++) {
		int r = sconce_dgram_send(&b.dg, data, sizeof(data));

		ck_assert(r >= 0 || r == -ENOMEM);
		sent += r >= 0;
	}
	for (int i = 0; i < 200 && b.dg.received < (uint64_t)sent; i++)
		sconce_loop_step(loop, 0.001);
	good = sent == 20 && b.dg.received == 20 && a.dg.received == 20;
out:
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	return good;
}

/* HZ-22: whichever allocation fails, nothing leaks, and what was accepted arrives when memory is there again. */
START_TEST(test_dgram_every_allocation)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };
	int fds = t_fd_count();
	bool whole = false;
	long n;

	for (n = 1; n < 200; n++) {
		fault_reset();
		fault.alloc_fail = n;
		fault.alloc_fail_all = _i == 1;
		whole = act(&opts);
		ck_assert_msg(fault.live == 0, "n %ld: %ld allocations leaked", n, fault.live);
		ck_assert_msg(t_fd_count() == fds, "n %ld: fds leaked", n);
		if (fault.failed == 0)
			break;
	}
	ck_assert(whole);
	ck_assert_int_gt(n, 8);
	ck_assert_int_lt(n, 200);
}
END_TEST

/* Receiving without memory is told, and goes on when there is some. */
START_TEST(test_dgram_receive_without_memory_goes_on)
{
	int plain;

	peer_init(&a, &peer_ops, plain_bound("127.0.0.1", &a_addr), NULL);
	plain = plain_connected(&a_addr);
	plain_send(plain, NULL, "x", 1);
	kit_settle();
	a.got_count = 0;
	sconce_scratch_give(loop, NULL);
	{
		void *kept = sconce_scratch_take(loop, 1);	/* the region that the loop has */

		plain_send(plain, NULL, "y", 1);
		fault.alloc_fail = 1;
		fault.alloc_fail_all = true;
		sconce_loop_step(loop, 1);
		ck_assert_uint_eq(a.got_count, 0);
		ck_assert_uint_eq(a.err_count, 1);
		ck_assert_int_eq(a.errs[0].errnum, ENOMEM);
		fault.alloc_fail = 0;
		fault.alloc_fail_all = false;
		KIT_UNTIL(a.got_count == 1);
		sconce_scratch_give(loop, kept);
	}
	close(plain);
	peer_close(&a);
}
END_TEST

/* The loop's scratch memory: one region from user to user, another while it is taken, the larger is kept. */
START_TEST(test_scratch_take_and_give)
{
	void *p, *q;
	long live;

	p = sconce_scratch_take(loop, 1000);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq((uintptr_t)p % 16, 0);
	memset(p, 1, 1000);
	sconce_scratch_give(loop, p);
	live = fault.live;
	ck_assert_ptr_eq(sconce_scratch_take(loop, 10), p);
	q = sconce_scratch_take(loop, 2000);
	ck_assert_ptr_ne(q, p);
	memset(q, 2, 2000);
	ck_assert_int_eq(fault.live, live + 1);
	sconce_scratch_give(loop, p);
	sconce_scratch_give(loop, q);
	ck_assert_int_eq(fault.live, live);
	ck_assert_ptr_eq(sconce_scratch_take(loop, 1500), q);
	ck_assert_ptr_null(sconce_scratch_take(loop, SIZE_MAX));
	sconce_scratch_give(loop, q);
	sconce_scratch_give(loop, NULL);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("dgram_queue");
	TCase *t;

	t = kit_case(suite, "refused");
	tcase_add_test(t, test_dgram_queue_waits_until_kernel_takes);
	tcase_add_test(t, test_dgram_queue_refusal_that_lasts_does_not_spin);
	tcase_add_test(t, test_dgram_queue_no_buffers_tries_again);
	tcase_add_test(t, test_dgram_queue_output_timeout);

	t = kit_case(suite, "marks");
	tcase_add_test(t, test_dgram_marks_with_hysteresis);
	tcase_add_test(t, test_dgram_drain_hook_sends_more);
	tcase_add_test(t, test_dgram_cap_refuses);
	tcase_add_test(t, test_dgram_queue_many_of_all_sizes);
	tcase_add_test(t, test_dgram_queue_more_than_a_turn);

	t = kit_case(suite, "failures");
	tcase_add_test(t, test_dgram_failure_in_the_middle_drops_one);
	tcase_add_test(t, test_dgram_partial_result_goes_on);
	tcase_add_test(t, test_dgram_error_of_an_earlier_one_costs_nothing);
	tcase_add_test(t, test_dgram_flush_tells_errors_from_loop);
	tcase_add_test(t, test_dgram_error_hook_closes);
	tcase_add_loop_test(t, test_dgram_error_hook_sends, 0, 3);
	tcase_add_test(t, test_dgram_flush_in_hook_tells_errors_from_loop);
	tcase_add_test(t, test_dgram_flush_in_high_hook_is_followed_by_low);
	tcase_add_test(t, test_dgram_close_counts_lost);
	tcase_add_test(t, test_dgram_close_offers_the_rest);

	t = kit_case(suite, "connect");
	tcase_add_test(t, test_dgram_connect_sends_what_waited);
	tcase_add_test(t, test_dgram_connect_endpoint);
	tcase_add_test(t, test_dgram_connect_failure_loses);
	tcase_add_test(t, test_dgram_flush_in_connect_hook);
	tcase_add_loop_test(t, test_dgram_connect_failure_drains, 0, 3);
	tcase_add_loop_test(t, test_dgram_connect_failure_forgets_refusal, 0, 2);
	tcase_add_test(t, test_dgram_connect_to_stream_is_refused);
	tcase_add_test(t, test_dgram_bind_endpoint);
	tcase_add_test(t, test_dgram_bind_buffer_sizes);

	t = kit_case(suite, "unix");
	tcase_add_test(t, test_dgram_unix_names_and_sizes);
	tcase_add_loop_test(t, test_dgram_unix_receiver_full, 0, 2);
	tcase_add_test(t, test_dgram_unix_dead_receiver);
	tcase_add_test(t, test_dgram_unix_client_is_answered);
	tcase_add_test(t, test_dgram_unix_nameless_cannot_be_answered);
	tcase_add_test(t, test_dgram_unix_pair_and_descriptors);

	t = t_case(suite, "memory");
	tcase_add_loop_test(t, test_dgram_every_allocation, 0, 2);
	t = kit_case(suite, "scratch");
	tcase_add_test(t, test_dgram_receive_without_memory_goes_on);
	tcase_add_test(t, test_scratch_take_and_give);
	return suite;
}
