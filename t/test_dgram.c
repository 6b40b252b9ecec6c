/* Datagram sockets: what comes, what is sent, batches, pauses, pull mode, ends. */
#include "test_dgram.h"

static struct peer a, b;
static struct sconce_addr a_addr;
static int plain;			/* connected to `a` */

/* `a` on 127.0.0.1, and somebody who talks to it. */
static void
open_a(const struct sconce_dgram_ops *ops, const struct sconce_dgram_options *opts)
{
	peer_init(&a, ops, plain_bound("127.0.0.1", &a_addr), opts);
	plain = plain_connected(&a_addr);
}

static void
close_a(void)
{
	close(plain);
	if (!a.dg.sock.closed)
		peer_close(&a);
}

static void
answer(struct peer *p, const struct sconce_datagram *g)
{
	ck_assert_int_eq(sconce_dgram_reply(&p->dg, g, g->data, g->len), SCONCE_GATHERED);
}

/* ---- receiving ---- */

/* EM-14, C-19, IM-12, NS-41: each datagram is one event, whole, in order, with its sender; what is sent together is not joined. */
START_TEST(test_dgram_receive_keeps_boundaries_and_senders)
{
	int other;
	struct sconce_addr from;

	open_a(&peer_ops, NULL);
	other = plain_bound("127.0.0.1", &from);
	plain_send(plain, NULL, "one", 3);
	plain_send(other, &a_addr, "two!", 4);
	plain_send(plain, NULL, "three", 5);
	KIT_UNTIL(a.got_count == 3);
	ck_assert(got_is(&a.got[0], "one") && got_is(&a.got[1], "two!") && got_is(&a.got[2], "three"));
	ck_assert(addr_same(&a.got[1].from, &from));
	ck_assert(!addr_same(&a.got[0].from, &from));
	ck_assert(addr_same(&a.got[0].from, &a.got[2].from));
	ck_assert_uint_eq(a.dg.received, 3);
	close(other);
	close_a();
}
END_TEST

/* EM-14, C-19: a datagram of no bytes is data, and ends nothing. */
START_TEST(test_dgram_receive_empty_is_data)
{
	open_a(&peer_ops, NULL);
	plain_send(plain, NULL, "", 0);
	plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.got_count == 2);
	ck_assert_uint_eq(a.got[0].len, 0);
	ck_assert(!a.got[0].truncated);
	ck_assert(got_is(&a.got[1], "x"));
	ck_assert(!a.dg.sock.closed);
	ck_assert_uint_eq(sconce_paused(&a.dg.sock), 0);
	close_a();
}
END_TEST

/* NS-67, HZ-19: max_size cuts, and says so with the whole length; what fits exactly is not cut. */
START_TEST(test_dgram_receive_max_size_truncates_and_tells)
{
	struct sconce_dgram_options opts = { .max_size = 8 };

	open_a(&peer_ops, &opts);
	plain_send(plain, NULL, "12345678", 8);
	plain_send(plain, NULL, "123456789", 9);
	plain_send(plain, NULL, "after", 5);
	KIT_UNTIL(a.got_count == 3);
	ck_assert(got_is(&a.got[0], "12345678") && !a.got[0].truncated);
	ck_assert(got_is(&a.got[1], "12345678") && a.got[1].truncated);
	ck_assert_uint_eq(a.got[1].full_len, 9);
	ck_assert(got_is(&a.got[2], "after") && !a.got[2].truncated);
	close_a();
}
END_TEST

/* HZ-19: the largest datagram that IPv4 has arrives whole by default; one byte more is refused at once. */
START_TEST(test_dgram_send_largest_goes_one_more_is_refused)
{
	static char big[65508];
	int size = 4 * 1024 * 1024;

	open_a(&peer_ops, NULL);
	setsockopt(a.dg.sock.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	peer_init(&b, &peer_ops, plain_connected(&a_addr), NULL);
	bytes_fill(big, sizeof(big), 7);
	ck_assert_int_eq(sconce_dgram_send(&b.dg, big, 65507), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_dgram_send(&b.dg, big, 65508), -EMSGSIZE);
	KIT_UNTIL(a.got_count == 1);
	ck_assert_uint_eq(a.got[0].len, 65507);
	ck_assert(!a.got[0].truncated);
	ck_assert_uint_eq(b.err_count, 0);
	peer_close(&b);
	close_a();
}
END_TEST

/* The batch is received in few calls, however many wait, and the answers leave in as few. */
START_TEST(test_dgram_batch_few_calls)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = answer;
	for (int i = 0; i < 100; i++)
		plain_send(plain, NULL, &i, sizeof(i));
	KIT_UNTIL(a.dg.sent == 100);
	ck_assert_uint_le(calls.recvmmsg, 5);
	ck_assert_uint_le(calls.sendmmsg, 5);
	for (int i = 0, n; i < 100; i++) {
		ck_assert_int_eq(plain_recv(plain, &n, sizeof(n), NULL), sizeof(n));
		ck_assert_int_eq(n, i);
	}
	close_a();
}
END_TEST

/* A batch of one datagram is allowed. */
START_TEST(test_dgram_batch_option_limits_calls)
{
	struct sconce_dgram_options opts = { .batch = 1 };

	open_a(&peer_ops, &opts);
	a.on_datagram = answer;
	for (int i = 0; i < 10; i++)
		plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.dg.sent == 10);
	ck_assert_uint_eq(calls.asked_in_one, 1);
	ck_assert_uint_eq(calls.sent_in_one, 1);
	close_a();
}
END_TEST

static void
close_own(struct peer *p, const struct sconce_datagram *g)
{
	(void)g;
	sconce_close(&p->dg.sock, SCONCE_REASON_LOCAL);
}

/* HZ-1: a hook that closes its socket is the last but the farewell; the rest of the batch goes with it. */
START_TEST(test_dgram_close_in_hook_ends_batch)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = close_own;
	for (int i = 0; i < 5; i++)
		plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.dg.sock.closed);
	kit_settle();
	ck_assert_str_eq(a.log, "DXZ");
	ck_assert_uint_eq(a.got_count, 1);
	close_a();
}
END_TEST

static void
reply_and_close(struct peer *p, const struct sconce_datagram *g)
{
	answer(p, g);
	sconce_close(&p->dg.sock, SCONCE_REASON_LOCAL);
}

/* An answer that was gathered before a close still goes. */
START_TEST(test_dgram_close_in_hook_sends_what_was_gathered)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = reply_and_close;
	plain_send(plain, NULL, "bye", 3);
	KIT_UNTIL(strchr(a.log, 'Z') != NULL);
	ck_assert(plain_gets(plain, "bye"));
	ck_assert_uint_eq(a.lost, 0);
	close_a();
}
END_TEST

static void
pause_third(struct peer *p, const struct sconce_datagram *g)
{
	(void)g;
	if (p->got_count == 3)
		sconce_watch_read(&p->dg.sock, false);
}

/* A pause takes effect within a batch; what was received already waits, and comes first when reading goes on. */
START_TEST(test_dgram_pause_keeps_rest_of_batch)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = pause_third;
	for (int i = 0; i < 6; i++)
		plain_send(plain, NULL, "012345" + i, 1);
	KIT_UNTIL(a.got_count == 3);
	kit_settle();
	ck_assert_uint_eq(a.got_count, 3);
	plain_send(plain, NULL, "6", 1);
	kit_settle();
	ck_assert_uint_eq(a.got_count, 3);
	sconce_watch_read(&a.dg.sock, true);
	KIT_UNTIL(a.got_count == 7);
	for (int i = 0; i < 7; i++)
		ck_assert_int_eq(a.got[i].data[0], '0' + i);
	close_a();
}
END_TEST

static void
pause_own(struct peer *p, const struct sconce_datagram *g)
{
	(void)g;
	sconce_watch_read(&p->dg.sock, false);
}

/* One at a time: a batch that a single recvmmsg brought is handed on as slowly as the application likes, in order. */
START_TEST(test_dgram_pause_at_each_of_batch)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = pause_own;
	for (int i = 0; i < 6; i++)
		plain_send(plain, NULL, "012345" + i, 1);
	for (unsigned i = 0; i < 6; i++) {
		KIT_UNTIL(a.got_count == i + 1);
		kit_settle();
		ck_assert_uint_eq(a.got_count, i + 1);
		ck_assert_int_eq(a.got[i].data[0], '0' + (int)i);
		ck_assert_uint_eq(calls.recvmmsg, 1);
		sconce_watch_read(&a.dg.sock, true);
	}
	kit_settle();
	ck_assert_uint_eq(a.dg.received, 6);
	close_a();
}
END_TEST

/* The same when nothing new ever comes: what waits in memory makes the event itself. */
START_TEST(test_dgram_resume_without_new_input_gives_rest)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = pause_third;
	for (int i = 0; i < 5; i++)
		plain_send(plain, NULL, "01234" + i, 1);
	KIT_UNTIL(a.got_count == 3);
	sconce_pause(&a.dg.sock, SCONCE_PAUSE_APP);
	sconce_watch_read(&a.dg.sock, true);
	kit_settle();
	ck_assert_uint_eq(a.got_count, 3);
	sconce_resume(&a.dg.sock, SCONCE_PAUSE_APP);
	KIT_UNTIL(a.got_count == 5);
	close_a();
}
END_TEST

/* A socket that is closed with a batch half handed on leaks nothing. */
START_TEST(test_dgram_close_while_rest_waits)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = pause_third;
	for (int i = 0; i < 5; i++)
		plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.got_count == 3);
	close_a();
	ck_assert_uint_eq(a.got_count, 3);
}
END_TEST

static uint64_t
session_of(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	(void)d;
	return p->len > 0 ? (uint64_t)*(const unsigned char *)p->data + (uint64_t)sconce_addr_port(&p->from) * 256 : 1;
}

static const struct sconce_dgram_ops session_ops = {
	.name = "session", .event_datagram = peer_event_datagram, .session = session_of, .event_close = peer_event_close,
	.destroy = peer_destroy,
};
static const struct sconce_dgram_ops session_pull_ops = {
	.name = "session", .event_ready = peer_event_ready, .session = session_of, .event_close = peer_event_close,
	.destroy = peer_destroy,
};

static void
pull_all(struct peer *p)
{
	struct sconce_datagram g;

	while (sconce_dgram_next(&p->dg, &g) == 1)
		peer_keep(p, &g);
}

/* EM-36: the session hook's key, found by sender and content, comes with each datagram, pushed or pulled. */
START_TEST(test_dgram_session_key_comes_along)
{
	uint64_t port;

	open_a(_i == 0 ? &session_ops : &session_pull_ops, NULL);
	a.on_ready = pull_all;
	plain_send(plain, NULL, "A", 1);
	plain_send(plain, NULL, "B", 1);
	plain_send(plain, NULL, "A", 1);
	KIT_UNTIL(a.got_count == 3);
	port = (uint64_t)sconce_addr_port(&a.got[0].from) * 256;
	ck_assert_uint_eq(a.got[0].session, port + 'A');
	ck_assert_uint_eq(a.got[1].session, port + 'B');
	ck_assert_uint_eq(a.got[2].session, a.got[0].session);
	close_a();
}
END_TEST

/* ---- pull mode ---- */

/* event_ready, and then as many as there are. */
START_TEST(test_dgram_next_gives_all_then_zero)
{
	struct sconce_datagram g;

	open_a(&pull_ops, NULL);
	a.on_ready = pull_all;
	for (int i = 0; i < 70; i++)
		plain_send(plain, NULL, &i, sizeof(i));
	KIT_UNTIL(a.got_count == 70);
	kit_settle();
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), 0);
	for (int i = 0; i < 70; i++)
		ck_assert_mem_eq(a.got[i].data, &i, sizeof(i));
	close_a();
}
END_TEST

static void
pull_one(struct peer *p)
{
	struct sconce_datagram g;

	if (p->got_count == 0 && sconce_dgram_next(&p->dg, &g) == 1)
		peer_keep(p, &g);
	sconce_watch_read(&p->dg.sock, false);
}

/* Whoever stops before 0 goes on later, from outside of hooks, paused or not; and may close in between. */
START_TEST(test_dgram_next_from_outside_goes_on)
{
	struct sconce_datagram g;

	open_a(&pull_ops, NULL);
	a.on_ready = pull_one;
	for (int i = 0; i < 5; i++)
		plain_send(plain, NULL, "01234" + i, 1);
	KIT_UNTIL(a.got_count == 1);
	kit_settle();
	ck_assert_uint_eq(a.got_count, 1);
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), 1);
	ck_assert_mem_eq(g.data, "1", 1);
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), 1);
	ck_assert_mem_eq(g.data, "2", 1);
	sconce_close(&a.dg.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), -EBADF);
	kit_settle();
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), -EBADF);
	close_a();
}
END_TEST

/* It is for types with event_ready alone. */
START_TEST(test_dgram_next_of_pushed_type_is_refused)
{
	struct sconce_datagram g;

	open_a(&peer_ops, NULL);
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), -EINVAL);
	close_a();
}
END_TEST

/* ---- sending ---- */

/* EM-52, IM-6, IM-11: to an address, to the connected peer, to the last sender. */
START_TEST(test_dgram_send_three_ways)
{
	struct sconce_addr other_addr;
	int other = plain_bound("127.0.0.1", &other_addr);

	open_a(&peer_ops, NULL);
	a.on_datagram = answer;
	ck_assert_int_eq(sconce_dgram_sendto(&a.dg, &other_addr, "to you", 6), SCONCE_GATHERED);
	ck_assert_int_eq(peer_text(&a, "nobody"), -EDESTADDRREQ);
	kit_settle();
	ck_assert(plain_gets(other, "to you"));
	plain_send(plain, NULL, "me?", 3);
	KIT_UNTIL(a.got_count == 1);
	ck_assert(plain_gets(plain, "me?"));
	ck_assert(plain_empty(other));
	peer_init(&b, &peer_ops, plain_connected(&other_addr), NULL);
	ck_assert_int_eq(peer_text(&b, "peer"), SCONCE_GATHERED);
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &a_addr, "stranger", 8), SCONCE_GATHERED);
	kit_settle();
	ck_assert(plain_gets(other, "peer"));
	KIT_UNTIL(a.got_count == 2);
	ck_assert(got_is(&a.got[1], "stranger"));
	peer_close(&b);
	close(other);
	close_a();
}
END_TEST

/* EM-51: each send is one packet, in order; outside of hooks they leave together in the next turn, which does not sleep. */
START_TEST(test_dgram_send_outside_leaves_together_in_order)
{
	char text[8];
	double before;

	open_a(&peer_ops, NULL);
	peer_init(&b, &peer_ops, plain_connected(&a_addr), NULL);
	kit_settle();
	calls.sendmmsg = 0;
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		ck_assert_int_eq(peer_text(&b, text), SCONCE_GATHERED);
	}
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 20);
	ck_assert_uint_eq(sconce_dgram_queued_bytes(&b.dg), 10 * 2 + 10 * 3);
	ck_assert_uint_eq(calls.sendmmsg, 0);
	before = t_seconds();
	sconce_loop_step(loop, 5);
	ck_assert_double_le(t_seconds() - before, 2.5);
	KIT_UNTIL(a.got_count == 20);
	ck_assert_uint_eq(calls.sendmmsg, 1);
	ck_assert_uint_eq(calls.sent_in_one, 20);
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		ck_assert(got_is(&a.got[i], text));
	}
	ck_assert_uint_eq(sconce_dgram_queued(&b.dg), 0);
	ck_assert_uint_eq(b.dg.sent, 20);
	peer_close(&b);
	close_a();
}
END_TEST

static void
forward(struct peer *p, const struct sconce_datagram *g)
{
	struct peer *to = p->arg;

	ck_assert_int_eq(sconce_dgram_send(&to->dg, g->data, g->len), SCONCE_GATHERED);
}

/* From another socket's hooks too: one call for the batch, in the same turn. */
START_TEST(test_dgram_send_from_another_hook_leaves_in_turn)
{
	struct sconce_addr to;
	int far = plain_bound("127.0.0.1", &to);

	open_a(&peer_ops, NULL);
	peer_init(&b, &peer_ops, plain_connected(&to), NULL);
	a.on_datagram = forward;
	a.arg = &b;
	kit_settle();
	calls.sendmmsg = 0;
	for (int i = 0; i < 4; i++)
		plain_send(plain, NULL, "0123" + i, 1);
	sconce_loop_step(loop, 1);
	ck_assert_uint_eq(a.got_count, 4);
	ck_assert_uint_eq(calls.sendmmsg, 1);
	ck_assert(plain_gets(far, "0") && plain_gets(far, "1") && plain_gets(far, "2") && plain_gets(far, "3"));
	peer_close(&b);
	close(far);
	close_a();
}
END_TEST

/* sconce_dgram_flush() sends now, and says how it stands. */
START_TEST(test_dgram_flush_sends_now)
{
	open_a(&peer_ops, NULL);
	peer_init(&b, &peer_ops, plain_connected(&a_addr), NULL);
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_SENT);
	peer_text(&b, "now");
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), SCONCE_SENT);
	ck_assert_uint_eq(b.dg.sent, 1);
	ck_assert_int_eq(sconce_dgram_queued(&b.dg), 0);
	KIT_UNTIL(a.got_count == 1);
	sconce_close(&b.dg.sock, SCONCE_REASON_LOCAL);
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), -EPIPE);
	ck_assert_int_eq(peer_text(&b, "late"), -EPIPE);
	kit_settle();
	ck_assert_int_eq(sconce_dgram_flush(&b.dg), -EPIPE);
	ck_assert_int_eq(peer_text(&b, "later"), -EPIPE);
	close_a();
}
END_TEST

static void
reply_flush(struct peer *p, const struct sconce_datagram *g)
{
	answer(p, g);
	ck_assert_int_eq(sconce_dgram_flush(&p->dg), SCONCE_SENT);
	ck_assert_uint_eq(p->dg.sent, p->got_count);
	p->n += plain_gets(plain, "ask");
}

/* In the socket's own hook too, where it would leave at the end of the batch. */
START_TEST(test_dgram_flush_in_hook_sends_now)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = reply_flush;
	for (int i = 0; i < 3; i++)
		plain_send(plain, NULL, "ask", 3);
	KIT_UNTIL(a.got_count == 3);
	ck_assert_int_eq(a.n, 3);
	ck_assert_uint_eq(calls.sendmmsg, 3);
	kit_settle();
	ck_assert_str_eq(a.log, "D");
	close_a();
}
END_TEST

/* It is no byte stream: write.h is refused, close_flush is a close. */
START_TEST(test_dgram_stream_calls_are_refused)
{
	open_a(&peer_ops, NULL);
	ck_assert_int_eq(sconce_write(&a.dg.sock, "x", 1), -EPIPE);
	ck_assert_int_eq(sconce_printf(&a.dg.sock, "x"), -EPIPE);
	kit_settle();
	ck_assert_int_eq(sconce_write(&a.dg.sock, "x", 1), -EPIPE);
	ck_assert_str_eq(a.log, "");
	sconce_close_flush(&a.dg.sock, 30);
	kit_settle();
	ck_assert_str_eq(a.log, "XZ");
	close_a();
}
END_TEST

static void
write_own(struct peer *p, const struct sconce_datagram *g)
{
	(void)g;
	p->n = sconce_write(&p->dg.sock, "x", 1);
}

/* In the hook too, where a stream's bytes would be gathered. */
START_TEST(test_dgram_stream_calls_are_refused_in_hook)
{
	open_a(&peer_ops, NULL);
	a.on_datagram = write_own;
	plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.got_count == 1);
	ck_assert_int_eq(a.n, -EPIPE);
	ck_assert(plain_empty(plain));
	close_a();
}
END_TEST

/* HZ-19: each answer leaves from the address that the question was sent to. */
START_TEST(test_dgram_reply_leaves_from_where_it_came)
{
	struct sconce_dgram_options opts = { .local = true };
	struct sconce_addr any, to, from;
	const char *hosts[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1" };
	char buf[8];
	int fd = plain_bound("0.0.0.0", &any);

	peer_init(&a, &peer_ops, fd, &opts);
	a.on_datagram = answer;
	plain = plain_bound("127.0.0.1", NULL);
	for (int i = 0; i < 3; i++) {
		to = any;
		inet_pton(AF_INET, hosts[i], &to.in.sin_addr);
		plain_send(plain, &to, "who", 3);
		KIT_UNTIL(a.got_count == (unsigned)i + 1);
		ck_assert_int_eq(plain_recv(plain, buf, sizeof(buf), &from), 3);
		ck_assert(addr_same(&from, &to));
		ck_assert_str_eq(sconce_addr_host(&a.got[i].local, (char[64]){ 0 }, 64), hosts[i]);
		ck_assert_uint_ne(a.got[i].ifindex, 0);
		ck_assert(!a.got[i].group);
	}
	close_a();
}
END_TEST

/* The same over IPv6, and over a dual socket, where IPv4 addresses are IPv4 addresses. */
START_TEST(test_dgram_reply_v6_and_dual)
{
	struct sconce_dgram_options opts = { .local = true };
	struct sconce_addr any, to, from;
	char buf[8];
	int zero = 0, fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;				/* this host has no IPv6 */
	close(fd);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)), 0);
	any = (struct sconce_addr){ .in6 = { .sin6_family = AF_INET6 }, .len = sizeof(any.in6) };
	ck_assert_int_eq(bind(fd, &any.any, any.len), 0);
	ck_assert_int_eq(getsockname(fd, &any.any, &any.len), 0);
	peer_init(&a, &peer_ops, fd, &opts);
	a.on_datagram = answer;

	plain = plain_bound("::1", NULL);
	to = any;
	to.in6.sin6_addr = in6addr_loopback;
	plain_send(plain, &to, "six", 3);
	KIT_UNTIL(a.got_count == 1);
	ck_assert_int_eq(plain_recv(plain, buf, sizeof(buf), &from), 3);
	ck_assert(addr_same(&from, &to));
	ck_assert_int_eq(a.got[0].from.any.sa_family, AF_INET6);
	ck_assert_str_eq(sconce_addr_host(&a.got[0].local, (char[64]){ 0 }, 64), "::1");
	close(plain);

	plain = plain_bound("127.0.0.1", NULL);
	to = (struct sconce_addr){ .in = { .sin_family = AF_INET, .sin_port = any.in6.sin6_port }, .len = sizeof(to.in) };
	inet_pton(AF_INET, "127.0.0.2", &to.in.sin_addr);
	plain_send(plain, &to, "four", 4);
	KIT_UNTIL(a.got_count == 2);
	ck_assert_int_eq(plain_recv(plain, buf, sizeof(buf), &from), 4);
	ck_assert(addr_same(&from, &to));
	ck_assert_int_eq(a.got[1].from.any.sa_family, AF_INET);
	ck_assert_str_eq(sconce_addr_host(&a.got[1].local, (char[64]){ 0 }, 64), "127.0.0.2");
	close_a();
}
END_TEST

/* NS-67: without `broadcast` the kernel refuses a broadcast address, and that is told; with it the datagram goes. */
START_TEST(test_dgram_broadcast_needs_option)
{
	struct sconce_dgram_options opts = { .broadcast = _i == 1 };
	struct sconce_addr to = { .in = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x7fffffff) },
		.len = sizeof(to.in) };

	open_a(&peer_ops, &opts);
	ck_assert_int_eq(sconce_dgram_sendto(&a.dg, &to, "all", 3), SCONCE_GATHERED);
	KIT_UNTIL(a.err_count + a.dg.sent == 1);
	ck_assert_uint_eq(a.dg.sent, _i);
	if (_i == 0) {
		ck_assert_str_eq(a.errs[0].operation, "send");
		ck_assert_int_eq(a.errs[0].errnum, EACCES);
		ck_assert(addr_same(&a.errs[0].to, &to));
		ck_assert_mem_eq(a.errs[0].data, "all", 3);
	}
	close_a();
}
END_TEST

/* A datagram to a broadcast address of the host is marked, and its answer leaves from the host's own. */
START_TEST(test_dgram_broadcast_received_is_marked)
{
	struct sconce_dgram_options opts = { .local = true, .broadcast = true };
	struct sconce_addr any, to;
	int one = 1, fd = plain_bound("0.0.0.0", &any);
	char host[64];

	peer_init(&a, &peer_ops, fd, &opts);
	a.on_datagram = answer;
	plain = plain_bound("127.0.0.1", NULL);
	setsockopt(plain, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	to = any;
	to.in.sin_addr.s_addr = htonl(0x7fffffff);
	plain_send(plain, &to, "all", 3);
	KIT_UNTIL(a.got_count == 1);
	ck_assert(a.got[0].group);
	sconce_addr_host(&a.got[0].local, host, sizeof(host));
	ck_assert_msg(strcmp(host, "127.0.0.1") == 0, "local %s", host);
	ck_assert(plain_gets(plain, "all"));
	close_a();
}
END_TEST

static int
option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* The options of a socket that sconce_bind() opens are on before it is bound: the first datagram, sent before the loop
 * has turned, has its local address, and the answer leaves from there (HZ-19). */
START_TEST(test_dgram_bind_has_options_from_the_first)
{
	struct sconce_dgram_options opts = { .local = true, .broadcast = true, .errors = true };
	struct sconce_addr to, from;
	struct sconce_fail fail;
	int one = 1;
	char buf[8];

	peer_init(&a, &peer_ops, -1, &opts);
	a.on_datagram = answer;
	ck_assert_msg(sconce_bind(&a.dg.sock, "udp://0:0", &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(option_of(a.dg.sock.fd, SOL_SOCKET, SO_BROADCAST), 1);
	ck_assert_int_eq(option_of(a.dg.sock.fd, IPPROTO_IP, IP_RECVERR), 1);
	ck_assert_int_eq(sconce_local(&a.dg.sock, &to), 0);
	plain = plain_bound("127.0.0.1", NULL);
	setsockopt(plain, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	inet_pton(AF_INET, _i == 0 ? "127.0.0.2" : "127.255.255.255", &to.in.sin_addr);
	plain_send(plain, &to, "first", 5);
	KIT_UNTIL(a.got_count == 1);
	ck_assert_uint_ne(a.got[0].ifindex, 0);
	ck_assert_int_eq(a.got[0].group, _i == 1);
	ck_assert_str_eq(sconce_addr_host(&a.got[0].local, (char[64]){ 0 }, 64), _i == 0 ? "127.0.0.2" : "127.0.0.1");
	ck_assert_int_eq(plain_recv(plain, buf, sizeof(buf), &from), 5);
	if (_i == 0)
		ck_assert(addr_same(&from, &to));
	ck_assert_uint_eq(a.err_count, 0);
	close_a();
}
END_TEST

static int
refuse_pktinfo(int fd, int level, int name, const void *val, socklen_t len, void *ctx)
{
	if (level == IPPROTO_IP && name == IP_PKTINFO) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return fault_backend()->setsockopt(fd, level, name, val, len, ctx);
}

/* An option that the kernel refuses is told: by init, by sconce_bind(), by event_connect. */
START_TEST(test_dgram_refused_option_is_told)
{
	struct sconce_dgram_options opts = { .local = true };
	struct sconce_fail fail;
	int fd = plain_bound("127.0.0.1", NULL);

	backend.setsockopt = refuse_pktinfo;
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, fd, &opts), -ENOPROTOOPT);
	ck_assert_int_eq(close(fd), 0);
	peer_init(&a, &peer_ops, -1, &opts);
	ck_assert_int_eq(sconce_bind(&a.dg.sock, "udp://127.0.0.1:0", &fail), -ENOPROTOOPT);
	ck_assert_str_eq(fail.text, "setsockopt 127.0.0.1:0: Protocol not available");
	ck_assert_int_eq(a.dg.sock.fd, -1);
	ck_assert_int_eq(sconce_connect(&a.dg.sock, "udp://127.0.0.1:9"), 0);
	KIT_UNTIL(a.log[0] != '\0');
	ck_assert_str_eq(a.log, "C");
	ck_assert_int_eq(a.connect_errnum, ENOPROTOOPT);
	ck_assert_str_eq(sconce_failure(&a.dg.sock)->text, "setsockopt 127.0.0.1:9: Protocol not available");
	peer_close(&a);
}
END_TEST

/* ---- init, timeouts, ends ---- */

static const struct sconce_dgram_ops both_ops = {
	.name = "both", .event_datagram = peer_event_datagram, .event_ready = peer_event_ready,
};
static const struct sconce_dgram_ops neither_ops = { .name = "neither" };
static const struct sconce_dgram_ops nameless_ops = { .event_datagram = peer_event_datagram };

/* What is wrong is refused, and the fd is still the caller's. */
START_TEST(test_dgram_init_refusals)
{
	const struct sconce_dgram_options wrong[] = {
		{ .batch = 65 }, { .max_size = 1024 * 1024 + 1 }, { .high = 10, .low = 11 },
	};
	int udp = plain_bound("127.0.0.1", NULL), tcp = socket(AF_INET, SOCK_STREAM, 0), pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &both_ops, udp, NULL), -EINVAL);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &neither_ops, udp, NULL), -EINVAL);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &nameless_ops, udp, NULL), -EINVAL);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, NULL, udp, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, udp, &wrong[i]), -EINVAL);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, tcp, NULL), -EPROTOTYPE);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, pipes[0], NULL), -EPROTOTYPE);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, 999, NULL), -EBADF);
	ck_assert_int_eq(sconce_dgram_init(&a.dg, loop, &peer_ops, -2, NULL), -EBADF);
	ck_assert_int_eq(close(udp) | close(tcp) | close(pipes[0]) | close(pipes[1]), 0);
}
END_TEST

/* The base and the datagram socket know each other; listings have the type's name. */
START_TEST(test_dgram_of_and_describe)
{
	char line[256];
	struct sconce_sock stream;
	static const struct sconce_sock_ops stream_ops = { .name = "stream" };

	open_a(&peer_ops, NULL);
	ck_assert(sconce_dgram_is(&a.dg.sock));
	ck_assert_ptr_eq(sconce_dgram_of(&a.dg.sock), &a.dg);
	ck_assert_int_eq(sconce_sock_init(&stream, loop, &stream_ops, -1), 0);
	ck_assert(!sconce_dgram_is(&stream));
	sconce_close(&stream, SCONCE_REASON_LOCAL);
	sconce_dgram_sendto(&a.dg, &a_addr, "x", 1);
	sconce_describe(&a.dg.sock, line, sizeof(line));
	ck_assert_ptr_eq(strstr(line, "peer#"), line);
	ck_assert_ptr_nonnull(strstr(line, "datagrams 1"));
	sconce_describe(&a.dg.sock, line, 10);
	ck_assert_uint_eq(strlen(line), 9);
	close_a();
}
END_TEST

/* The idle timeout runs while nothing comes, and each datagram restarts it. */
START_TEST(test_dgram_input_timeout_restarts)
{
	open_a(&peer_ops, NULL);
	ck_assert_int_eq(sconce_set_timeout(&a.dg.sock, SCONCE_TIMEOUT_INPUT, 10), 0);
	kit_pass(9);
	plain_send(plain, NULL, "x", 1);
	KIT_UNTIL(a.got_count == 1);
	kit_pass(9);
	ck_assert_str_eq(a.log, "D");
	kit_pass(2);
	ck_assert_str_eq(a.log, "DT");
	close_a();
}
END_TEST

static const struct sconce_dgram_ops bare_ops = {
	.name = "bare", .event_datagram = peer_event_datagram, .event_close = peer_event_close, .destroy = peer_destroy,
};

/* Without event_timeout it closes, as with any socket. */
START_TEST(test_dgram_timeout_without_hook_closes)
{
	open_a(&bare_ops, NULL);
	sconce_set_timeout(&a.dg.sock, SCONCE_TIMEOUT_INPUT, 10);
	kit_pass(11);
	kit_settle();
	ck_assert_str_eq(a.log, "XZ");
	ck_assert_int_eq(a.reason, SCONCE_REASON_TIMEOUT);
	ck_assert_int_eq(a.errnum, ETIMEDOUT);
	close_a();
}
END_TEST

/* A detached fd is the caller's, works on, and is watched no more. */
START_TEST(test_dgram_detach_gives_fd)
{
	int fd;

	open_a(&peer_ops, NULL);
	kit_settle();
	fd = sconce_detach(&a.dg.sock, NULL, 0, NULL);
	ck_assert_int_ge(fd, 0);
	kit_settle();
	ck_assert_str_eq(a.log, "XZ");
	plain_send(plain, NULL, "still", 5);
	kit_settle();
	ck_assert(plain_gets(fd, "still"));
	close(fd);
	close_a();
}
END_TEST

static unsigned traced;

static void
trace(struct sconce_loop *l, const struct sconce_trace *event, void *arg)
{
	(void)l;
	(void)arg;
	if (strcmp(event->what, "call") == 0 && strcmp(event->name, "recvmmsg") == 0 && event->result == 2)
		traced |= 1;
	if (strcmp(event->what, "call") == 0 && strcmp(event->name, "sendmmsg") == 0 && event->result == 2)
		traced |= 2;
	if (strcmp(event->what, "call") == 0 && strcmp(event->name, "recvmsg") == 0 && event->result == -EAGAIN)
		traced |= 4;
}

/* A trace sees the calls, with their results, also when the backend's table is older than they are. */
START_TEST(test_dgram_trace_sees_calls)
{
	if (_i == 1)
		backend.size = offsetof(struct sconce_backend, recvmmsg);
	traced = 0;
	open_a(&peer_ops, NULL);
	a.on_datagram = answer;
	sconce_set_trace(loop, trace, NULL);
	plain_send(plain, NULL, "1", 1);
	plain_send(plain, NULL, "2", 1);
	KIT_UNTIL(a.dg.sent == 2);
	calls.recv_errno = EAGAIN;
	plain_send(plain, NULL, "3", 1);
	KIT_UNTIL(a.dg.sent == 3);
	ck_assert_uint_eq(traced, _i == 0 ? 7 : 3);
	ck_assert_uint_eq(calls.recvmmsg > 0, _i == 0);
	sconce_set_trace(loop, NULL, NULL);
	close_a();
}
END_TEST

/* EINTR is nobody's business. */
static int
interrupted_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	static int n;

	if (n++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return kit_recvmmsg(fd, msgs, count, flags, ctx);
}

static int
interrupted_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	static int n;

	if (n++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return kit_sendmmsg(fd, msgs, count, flags, ctx);
}

/* HZ-11: interrupted calls are made again, and nothing is told. */
START_TEST(test_dgram_calls_interrupted_are_repeated)
{
	backend.recvmmsg = interrupted_recvmmsg;
	backend.sendmmsg = interrupted_sendmmsg;
	open_a(&peer_ops, NULL);
	a.on_datagram = answer;
	plain_send(plain, NULL, "1", 1);
	KIT_UNTIL(a.dg.sent == 1);
	ck_assert(plain_gets(plain, "1"));
	ck_assert_uint_eq(a.err_count, 0);
	close_a();
}
END_TEST

/* The loop ends with datagrams queued, a batch half taken, and a timer running. */
START_TEST(test_dgram_loop_free_frees_all)
{
	struct sconce_datagram g;

	open_a(&pull_ops, NULL);
	plain_send(plain, NULL, "1", 1);
	plain_send(plain, NULL, "2", 1);
	ck_assert_int_eq(sconce_dgram_next(&a.dg, &g), 1);
	sconce_dgram_sendto(&a.dg, &a_addr, "x", 1);
	close(plain);
	kit_teardown();
	ck_assert_str_eq(a.log, "XZ");
	kit_setup();
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("dgram");
	TCase *t;

	t = kit_case(suite, "receive");
	tcase_add_test(t, test_dgram_receive_keeps_boundaries_and_senders);
	tcase_add_test(t, test_dgram_receive_empty_is_data);
	tcase_add_test(t, test_dgram_receive_max_size_truncates_and_tells);
	tcase_add_test(t, test_dgram_batch_few_calls);
	tcase_add_test(t, test_dgram_batch_option_limits_calls);
	tcase_add_test(t, test_dgram_close_in_hook_ends_batch);
	tcase_add_test(t, test_dgram_close_in_hook_sends_what_was_gathered);
	tcase_add_test(t, test_dgram_pause_keeps_rest_of_batch);
	tcase_add_test(t, test_dgram_pause_at_each_of_batch);
	tcase_add_test(t, test_dgram_resume_without_new_input_gives_rest);
	tcase_add_test(t, test_dgram_close_while_rest_waits);
	tcase_add_loop_test(t, test_dgram_session_key_comes_along, 0, 2);

	t = kit_case(suite, "next");
	tcase_add_test(t, test_dgram_next_gives_all_then_zero);
	tcase_add_test(t, test_dgram_next_from_outside_goes_on);
	tcase_add_test(t, test_dgram_next_of_pushed_type_is_refused);

	t = kit_case(suite, "send");
	tcase_add_test(t, test_dgram_send_three_ways);
	tcase_add_test(t, test_dgram_send_largest_goes_one_more_is_refused);
	tcase_add_test(t, test_dgram_send_outside_leaves_together_in_order);
	tcase_add_test(t, test_dgram_send_from_another_hook_leaves_in_turn);
	tcase_add_test(t, test_dgram_flush_sends_now);
	tcase_add_test(t, test_dgram_flush_in_hook_sends_now);
	tcase_add_test(t, test_dgram_stream_calls_are_refused);
	tcase_add_test(t, test_dgram_stream_calls_are_refused_in_hook);
	tcase_add_test(t, test_dgram_reply_leaves_from_where_it_came);
	tcase_add_test(t, test_dgram_reply_v6_and_dual);
	tcase_add_loop_test(t, test_dgram_broadcast_needs_option, 0, 2);
	tcase_add_test(t, test_dgram_broadcast_received_is_marked);
	tcase_add_loop_test(t, test_dgram_bind_has_options_from_the_first, 0, 2);
	tcase_add_test(t, test_dgram_refused_option_is_told);

	t = kit_case(suite, "life");
	tcase_add_test(t, test_dgram_init_refusals);
	tcase_add_test(t, test_dgram_of_and_describe);
	tcase_add_test(t, test_dgram_input_timeout_restarts);
	tcase_add_test(t, test_dgram_timeout_without_hook_closes);
	tcase_add_test(t, test_dgram_detach_gives_fd);
	tcase_add_loop_test(t, test_dgram_trace_sees_calls, 0, 2);
	tcase_add_test(t, test_dgram_calls_interrupted_are_repeated);
	tcase_add_test(t, test_dgram_loop_free_frees_all);
	return suite;
}
