/* What the network sends back: ICMP errors on the next call and in the error queue, and that none of it ends or spins. */
#include "test_dgram.h"

#include <linux/errqueue.h>
#include <netinet/ip_icmp.h>
#include <netinet/icmp6.h>

static struct peer b;
static struct sconce_addr nobody, far_addr;
static int far;				/* plain, at far_addr */

static void
open_to_nobody(const struct sconce_dgram_ops *ops, const struct sconce_dgram_options *opts)
{
	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, ops, plain_connected(&nobody), opts);
	kit_settle();
}

/* HZ-19: without the error queue a refusal comes with the next call, is told, and ends nothing. */
START_TEST(test_dgram_refused_is_told_and_ends_nothing)
{
	open_to_nobody(&peer_ops, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(peer_text(&b, "anybody?"), SCONCE_GATHERED);
		KIT_UNTIL(b.err_count == i);
		ck_assert_str_eq(b.errs[i - 1].operation, "recv");
		ck_assert_int_eq(b.errs[i - 1].errnum, ECONNREFUSED);
		ck_assert(addr_same(&b.errs[i - 1].to, &nobody));
	}
	kit_settle();
	ck_assert_uint_eq(b.dg.sent, 3);
	ck_assert_uint_eq(b.dg.lost, 0);
	ck_assert(!b.dg.sock.closed);
	ck_assert_int_eq(sconce_watching(&b.dg.sock), SCONCE_READ);
	peer_close(&b);
}
END_TEST

/* While reads are paused too; and afterwards data still comes. */
START_TEST(test_dgram_refused_is_told_while_paused)
{
	struct sconce_dgram_options opts = { .errors = _i == 1 };
	int late;

	open_to_nobody(&peer_ops, &opts);
	sconce_watch_read(&b.dg.sock, false);
	kit_settle();
	for (unsigned i = 1; i <= 3; i++) {
		peer_text(&b, "anybody?");
		KIT_UNTIL(b.err_count == i);
		ck_assert_str_eq(b.errs[i - 1].operation, _i == 1 ? "icmp" : "recv");
		ck_assert_int_eq(b.errs[i - 1].errnum, ECONNREFUSED);
	}
	kit_settle();
	ck_assert_uint_eq(b.err_count, 3);
	ck_assert(!b.dg.sock.closed);
	late = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(late, &nobody.any, nobody.len), 0);
	sconce_local(&b.dg.sock, &far_addr);
	plain_send(late, &far_addr, "here I am", 9);
	kit_settle();
	ck_assert_uint_eq(b.got_count, 0);
	sconce_watch_read(&b.dg.sock, true);
	KIT_UNTIL(b.got_count == 1);
	close(late);
	peer_close(&b);
}
END_TEST

/* EM-33: with `errors` an unconnected socket learns what came back: the payload, where it went, who says so, the errno. */
START_TEST(test_dgram_errqueue_keys)
{
	struct sconce_dgram_options opts = { .errors = true };
	const char *host = _i == 0 ? "127.0.0.1" : "::1";
	const struct err *e = &b.errs[0];
	int fd = socket(_i == 0 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
	char text[64];

	if (fd < 0)
		return;				/* no IPv6 here */
	close(fd);
	nobody = plain_nobody(host);
	peer_init(&b, &peer_ops, plain_bound(host, NULL), &opts);
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &nobody, "payload", 7), SCONCE_GATHERED);
	KIT_UNTIL(b.err_count == 1);
	kit_settle();
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_str_eq(e->operation, "icmp");
	ck_assert_int_eq(e->errnum, ECONNREFUSED);
	ck_assert_uint_eq(e->len, 7);
	ck_assert_mem_eq(e->data, "payload", 7);
	ck_assert(addr_same(&e->to, &nobody));
	ck_assert_str_eq(sconce_addr_host(&e->from, text, sizeof(text)), host);
	ck_assert_int_eq(sconce_addr_port(&e->from), 0);
	ck_assert_uint_eq(e->icmp_type, _i == 0 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH);
	ck_assert_uint_eq(e->icmp_code, _i == 0 ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT);
	ck_assert_uint_eq(e->mtu, 0);
	ck_assert(!b.dg.sock.closed);
	ck_assert_str_eq(b.log, "E");
	peer_close(&b);
}
END_TEST

/* EM-33: off by default: an unconnected socket hears nothing. */
START_TEST(test_dgram_errqueue_off_by_default)
{
	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, &peer_ops, plain_bound("127.0.0.1", NULL), NULL);
	sconce_dgram_sendto(&b.dg, &nobody, "payload", 7);
	KIT_UNTIL(b.dg.sent == 1);
	kit_settle();
	ck_assert_uint_eq(b.err_count, 0);
	peer_close(&b);
}
END_TEST

/* Over a dual socket the addresses are IPv4's. */
START_TEST(test_dgram_errqueue_dual)
{
	struct sconce_dgram_options opts = { .errors = true };
	int zero = 0, fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };

	if (fd < 0)
		return;				/* no IPv6 here */
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, &peer_ops, fd, &opts);
	sconce_dgram_sendto(&b.dg, &nobody, "dual", 4);
	KIT_UNTIL(b.err_count == 1);
	ck_assert_str_eq(b.errs[0].operation, "icmp");
	ck_assert(addr_same(&b.errs[0].to, &nobody));
	ck_assert_int_eq(b.errs[0].from.any.sa_family, AF_INET);
	ck_assert_mem_eq(b.errs[0].data, "dual", 4);
	peer_close(&b);
}
END_TEST

/* Many errors at once: each datagram's is told, one for one, while the socket goes on sending and receiving. */
START_TEST(test_dgram_errqueue_many)
{
	struct sconce_dgram_options opts = { .errors = true };
	unsigned lost;

	far = plain_bound("127.0.0.1", &far_addr);
	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, _i == 0 ? &peer_ops : &pull_ops, plain_bound("127.0.0.1", NULL), &opts);
	for (int i = 0; i < 10; i++) {
		sconce_dgram_sendto(&b.dg, &nobody, "bad", 3);
		sconce_dgram_sendto(&b.dg, &far_addr, "good", 4);
	}
	KIT_UNTIL(b.dg.sent == 20);
	kit_settle();
	lost = (unsigned)b.dg.lost;
	ck_assert_uint_eq(lost, 0);
	ck_assert_int_eq(plain_drain(far), 10);
	ck_assert_uint_ge(b.err_count, 5);	/* the kernel limits the rate of ICMP */
	ck_assert_uint_le(b.err_count, 10);
	for (unsigned i = 0; i < b.err_count; i++) {
		ck_assert_str_eq(b.errs[i].operation, "icmp");
		ck_assert_mem_eq(b.errs[i].data, "bad", 3);
	}
	close(far);
	peer_close(&b);
}
END_TEST

static void
close_in_error(struct peer *p, const struct sconce_dgram_error *e)
{
	(void)e;
	sconce_close(&p->dg.sock, SCONCE_REASON_LOCAL);
}

static void
flush_in_error(struct peer *p, const struct sconce_dgram_error *e)
{
	(void)e;
	ck_assert_int_eq(sconce_dgram_flush(&p->dg), SCONCE_SENT);
}

/* The hook may flush: the datagram whose send met the error leaves in that call, and the error is told once. */
START_TEST(test_dgram_errqueue_hook_flushes)
{
	struct sconce_dgram_options opts = { .errors = true, .batch = 1 };

	nobody = plain_nobody("127.0.0.1");
	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, plain_bound("127.0.0.1", NULL), &opts);
	b.on_error = flush_in_error;
	sconce_dgram_sendto(&b.dg, &nobody, "bad", 3);
	sconce_dgram_sendto(&b.dg, &far_addr, "good", 4);	/* the next call: what came back fails it */
	KIT_UNTIL(b.err_count == 1 && b.dg.sent == 2);
	kit_settle();
	ck_assert_str_eq(b.log, "E");
	ck_assert_str_eq(b.errs[0].operation, "icmp");
	ck_assert_uint_eq(b.dg.lost, 0);
	ck_assert(plain_gets(far, "good") && plain_empty(far));
	close(far);
	peer_close(&b);
}
END_TEST

/* HZ-1: the hook may close in the midst of the queue. */
START_TEST(test_dgram_errqueue_hook_closes)
{
	struct sconce_dgram_options opts = { .errors = true };

	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, &peer_ops, plain_bound("127.0.0.1", NULL), &opts);
	b.on_error = close_in_error;
	for (int i = 0; i < 4; i++)
		sconce_dgram_sendto(&b.dg, &nobody, "bad", 3);
	KIT_UNTIL(strchr(b.log, 'Z') != NULL);
	ck_assert_str_eq(b.log, "EXZ");
}
END_TEST

/* HZ-10: an error leaves nothing behind that keeps the loop awake: reads watched, paused, output waiting, an error queue that the
 * application has turned on by itself, a type without event_error. */
static const struct sconce_dgram_ops silent_ops = {
	.name = "silent", .event_datagram = peer_event_datagram, .event_close = peer_event_close, .destroy = peer_destroy,
};

START_TEST(test_dgram_errors_do_not_spin)
{
	struct sconce_dgram_options opts = { .errors = _i != 3 };
	int one = 1, turns = 0;
	double cpu;

	nobody = plain_nobody("127.0.0.1");
	peer_init(&b, _i == 4 ? &silent_ops : &peer_ops, plain_bound("127.0.0.1", NULL), &opts);
	if (_i == 3)
		ck_assert_int_eq(setsockopt(b.dg.sock.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)), 0);
	if (_i == 1)
		sconce_watch_read(&b.dg.sock, false);
	for (int i = 0; i < 4; i++)
		sconce_dgram_sendto(&b.dg, &nobody, "bad", 3);
	kit_settle();
	if (_i == 2) {
		calls.send_again = -1;
		sconce_watch_read(&b.dg.sock, false);
		plain_send(b.dg.sock.fd, &nobody, "bad", 3);
		sconce_dgram_sendto(&b.dg, &nobody, "bad", 3);
		kit_settle();
	}
	ck_assert_uint_ge(b.err_count, _i == 4 ? 0 : 3);
	cpu = t_cpu_seconds();
	for (int i = 0; i < 10; i++)
		turns += sconce_loop_step(loop, 0.02);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.06, "%f s of CPU", t_cpu_seconds() - cpu);
	ck_assert_int_le(turns, 20);
	calls.send_again = 0;
	peer_close(&b);
}
END_TEST

/* An error queue of the test's own: one entry, in a control message that may end early, then nothing. */
static struct {
	int entries;
	struct sock_extended_err ee;
	size_t cut;			/* bytes that the control message lacks */
	unsigned offender;		/* family */
} fake;

static ssize_t
fake_recvmsg(int fd, struct msghdr *msg, int flags, void *ctx)
{
	struct cmsghdr *c = msg->msg_control;
	struct sockaddr_in in = { .sin_family = (sa_family_t)fake.offender, .sin_addr.s_addr = htonl(0x0a000001) };

	(void)fd;
	(void)ctx;
	ck_assert_int_eq(flags & MSG_ERRQUEUE, MSG_ERRQUEUE);
	if (fake.entries == 0) {
		errno = EAGAIN;
		return -1;
	}
	fake.entries--;
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_RECVERR;
	c->cmsg_len = CMSG_LEN(sizeof(fake.ee) + sizeof(in)) - fake.cut;
	memcpy(CMSG_DATA(c), &fake.ee, sizeof(fake.ee));
	memcpy(CMSG_DATA(c) + sizeof(fake.ee), &in, sizeof(in));
	msg->msg_controllen = CMSG_SPACE(sizeof(fake.ee) + sizeof(in)) - fake.cut;
	msg->msg_namelen = 0;
	memcpy(msg->msg_iov->iov_base, "back", 4);
	return 4;
}

static void
open_fake(void)
{
	struct sconce_dgram_options opts = { .errors = true };

	memset(&fake, 0, sizeof(fake));
	fake.offender = AF_INET;
	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, &peer_ops, plain_connected(&far_addr), &opts);
	kit_settle();
	backend.recvmsg = fake_recvmsg;
}

static void
close_fake(void)
{
	close(far);
	peer_close(&b);
}

static int
fail_first(int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx)
{
	if (msgs[0].msg_hdr.msg_iov->iov_len != 3)
		return kit_sendmmsg(fd, msgs, count, flags, ctx);
	fake.entries = 1;
	errno = EMSGSIZE;
	return -1;
}

/* A datagram that is too long for the path and may not be cut: EMSGSIZE, told once, with the MTU that the host's own entry in the error
 * queue has. */
START_TEST(test_dgram_emsgsize_told_once_with_mtu)
{
	open_fake();
	fake.ee = (struct sock_extended_err){ .ee_errno = EMSGSIZE, .ee_origin = SO_EE_ORIGIN_LOCAL, .ee_info = 1400 };
	backend.sendmmsg = fail_first;
	peer_text(&b, "big");
	peer_text(&b, "small");
	KIT_UNTIL(b.dg.sent == 1);
	kit_settle();
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_str_eq(b.errs[0].operation, "send");
	ck_assert_int_eq(b.errs[0].errnum, EMSGSIZE);
	ck_assert_uint_eq(b.errs[0].mtu, 1400);
	ck_assert(addr_same(&b.errs[0].to, &far_addr));
	ck_assert_uint_eq(b.dg.lost, 1);
	ck_assert(plain_gets(far, "small"));
	close_fake();
}
END_TEST

/* A router says that the path is narrower: its address, the MTU, what came back. */
START_TEST(test_dgram_errqueue_router_tells_mtu)
{
	struct sconce_addr own;
	char host[64];

	open_fake();
	fake.ee = (struct sock_extended_err){ .ee_errno = EMSGSIZE, .ee_origin = SO_EE_ORIGIN_ICMP, .ee_info = 1280,
		.ee_type = ICMP_DEST_UNREACH, .ee_code = ICMP_FRAG_NEEDED };
	fake.entries = 1;
	calls.recv_errno = EMSGSIZE;
	sconce_local(&b.dg.sock, &own);
	plain_send(far, &own, "x", 1);
	KIT_UNTIL(b.got_count == 1);
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_str_eq(b.errs[0].operation, "icmp");
	ck_assert_uint_eq(b.errs[0].mtu, 1280);
	ck_assert_uint_eq(b.errs[0].icmp_code, ICMP_FRAG_NEEDED);
	ck_assert_str_eq(sconce_addr_host(&b.errs[0].from, host, sizeof(host)), "10.0.0.1");
	ck_assert_mem_eq(b.errs[0].data, "back", 4);
	ck_assert_uint_eq(b.errs[0].to.len, 0);
	close_fake();
}
END_TEST

/* Entries that are none of the network's (time stamps) or broken are passed over, and the pending error is told by itself. */
START_TEST(test_dgram_errqueue_other_entries_are_passed_over)
{
	struct sconce_addr own;

	open_fake();
	fake.ee = (struct sock_extended_err){ .ee_errno = ENOMSG, .ee_origin = SO_EE_ORIGIN_TIMESTAMPING };
	if (_i == 1)
		fake.cut = sizeof(struct sockaddr_in) + 4;	/* less than the record */
	if (_i == 2) {
		fake.ee = (struct sock_extended_err){ .ee_errno = EHOSTUNREACH, .ee_origin = SO_EE_ORIGIN_ICMP };
		fake.cut = sizeof(struct sockaddr_in);	/* no room for who reports it */
	}
	fake.entries = 3;
	calls.recv_errno = EHOSTUNREACH;
	sconce_local(&b.dg.sock, &own);
	plain_send(far, &own, "x", 1);
	KIT_UNTIL(b.got_count == 1);
	ck_assert_int_eq(fake.entries, 0);
	ck_assert_uint_eq(b.err_count, _i == 2 ? 3 : 1);
	ck_assert_str_eq(b.errs[0].operation, _i == 2 ? "icmp" : "recv");
	ck_assert_int_eq(b.errs[0].errnum, EHOSTUNREACH);
	if (_i == 2)
		ck_assert_uint_eq(b.errs[0].from.len, 0);
	close_fake();
}
END_TEST

/* The kernel's own limit for a unix socket is told likewise. */
START_TEST(test_dgram_unix_emsgsize)
{
	static char big[2 * 1024 * 1024];
	struct sconce_addr to = unix_name();

	far = unix_bound(&to);
	peer_init(&b, &peer_ops, unix_bound(NULL), NULL);
	ck_assert_int_eq(sconce_dgram_sendto(&b.dg, &to, big, sizeof(big)), SCONCE_GATHERED);
	sconce_dgram_sendto(&b.dg, &to, "small", 5);
	KIT_UNTIL(b.dg.sent == 1);
	ck_assert_uint_eq(b.err_count, 1);
	ck_assert_int_eq(b.errs[0].errnum, EMSGSIZE);
	ck_assert_uint_eq(b.errs[0].len, sizeof(big));
	ck_assert(plain_gets(far, "small"));
	close(far);
	peer_close(&b);
}
END_TEST

/* Receiving that fails is told, and what is there still comes. */
START_TEST(test_dgram_receive_error_is_got_past)
{
	peer_init(&b, &peer_ops, plain_bound("127.0.0.1", &far_addr), NULL);
	far = plain_connected(&far_addr);
	calls.recv_errno = EHOSTUNREACH;
	plain_send(far, NULL, "x", 1);
	KIT_UNTIL(b.got_count == 1);
	ck_assert_str_eq(b.log, "ED");
	ck_assert_int_eq(b.errs[0].errnum, EHOSTUNREACH);
	ck_assert_uint_eq(b.errs[0].to.len, 0);
	close(far);
	peer_close(&b);
}
END_TEST

static void
pause_in_error(struct peer *p, const struct sconce_dgram_error *e)
{
	(void)e;
	sconce_watch_read(&p->dg.sock, false);
}

/* event_error may pause: the batch received behind the error waits, all of it, and comes when reading goes on. */
START_TEST(test_dgram_receive_error_hook_pauses)
{
	peer_init(&b, &peer_ops, plain_bound("127.0.0.1", &far_addr), NULL);
	b.on_error = pause_in_error;
	far = plain_connected(&far_addr);
	calls.recv_errno = EHOSTUNREACH;
	for (int i = 0; i < 3; i++)
		plain_send(far, NULL, "012" + i, 1);
	KIT_UNTIL(b.err_count == 1);
	kit_settle();
	ck_assert_uint_eq(b.got_count, 0);
	sconce_watch_read(&b.dg.sock, true);
	KIT_UNTIL(b.got_count == 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(b.got[i].data[0], '0' + i);
	ck_assert_str_eq(b.log, "ED");
	close(far);
	peer_close(&b);
}
END_TEST

static void
pull_all(struct peer *p)
{
	struct sconce_datagram g;

	ck_assert_uint_eq(p->err_count, 0);
	while (sconce_dgram_next(&p->dg, &g) == 1)
		peer_keep(p, &g);
	ck_assert_uint_eq(p->err_count, 0);	/* no hook within a call */
}

/* In pull mode the error is told after the hook, not within sconce_dgram_next(). */
START_TEST(test_dgram_next_error_is_told_from_loop)
{
	peer_init(&b, &pull_ops, plain_bound("127.0.0.1", &far_addr), NULL);
	b.on_ready = pull_all;
	far = plain_connected(&far_addr);
	calls.recv_errno = EHOSTUNREACH;
	plain_send(far, NULL, "x", 1);
	KIT_UNTIL(b.err_count == 1);
	ck_assert_uint_eq(b.got_count, 1);
	ck_assert_str_eq(b.log, "RE");
	ck_assert_int_eq(b.errs[0].errnum, EHOSTUNREACH);
	close(far);
	peer_close(&b);
}
END_TEST

/* HZ-10: an fd that the application has shut down by itself is readable for ever; it is not read any more, and sends
 * on while that direction is open. */
START_TEST(test_dgram_shutdown_of_the_fd_does_not_spin)
{
	bool both = _i % 2 == 1;
	int turns = 0;
	double cpu;

	far = plain_bound("127.0.0.1", &far_addr);
	peer_init(&b, _i < 2 ? &peer_ops : &pull_ops, plain_connected(&far_addr), NULL);
	b.on_ready = pull_all;
	kit_settle();
	ck_assert_int_eq(shutdown(b.dg.sock.fd, both ? SHUT_RDWR : SHUT_RD), 0);
	kit_settle();
	cpu = t_cpu_seconds();
	for (int i = 0; i < 10; i++)
		turns += sconce_loop_step(loop, 0.02);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.06, "%f s of CPU", t_cpu_seconds() - cpu);
	ck_assert_int_le(turns, 5);
	ck_assert_uint_eq(sconce_paused(&b.dg.sock), SCONCE_PAUSE_END);
	ck_assert_int_eq(peer_text(&b, "still"), SCONCE_GATHERED);
	KIT_UNTIL(b.dg.sent + b.dg.lost == 1);
	ck_assert_uint_eq(b.dg.lost, both);
	if (both)
		ck_assert_int_eq(b.errs[0].errnum, EPIPE);
	else
		ck_assert(plain_gets(far, "still"));
	close(far);
	peer_close(&b);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("dgram_error");
	TCase *t;

	t = kit_case(suite, "refused");
	tcase_add_test(t, test_dgram_refused_is_told_and_ends_nothing);
	tcase_add_loop_test(t, test_dgram_refused_is_told_while_paused, 0, 2);

	t = kit_case(suite, "errqueue");
	tcase_add_loop_test(t, test_dgram_errqueue_keys, 0, 2);
	tcase_add_test(t, test_dgram_errqueue_off_by_default);
	tcase_add_test(t, test_dgram_errqueue_dual);
	tcase_add_loop_test(t, test_dgram_errqueue_many, 0, 2);
	tcase_add_test(t, test_dgram_errqueue_hook_closes);
	tcase_add_test(t, test_dgram_errqueue_hook_flushes);
	tcase_add_loop_test(t, test_dgram_errors_do_not_spin, 0, 5);

	t = kit_case(suite, "others");
	tcase_add_test(t, test_dgram_emsgsize_told_once_with_mtu);
	tcase_add_test(t, test_dgram_errqueue_router_tells_mtu);
	tcase_add_loop_test(t, test_dgram_errqueue_other_entries_are_passed_over, 0, 3);
	tcase_add_test(t, test_dgram_unix_emsgsize);
	tcase_add_test(t, test_dgram_receive_error_is_got_past);
	tcase_add_test(t, test_dgram_receive_error_hook_pauses);
	tcase_add_test(t, test_dgram_next_error_is_told_from_loop);
	tcase_add_loop_test(t, test_dgram_shutdown_of_the_fd_does_not_spin, 0, 4);
	return suite;
}
