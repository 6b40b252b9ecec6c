/* Datagram sockets in the multiplexer: one READ each, errors that end nothing, sessions. */
#include "test_mux.h"

#include <sconce/ev.h>

#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/un.h>

static struct sconce_mux_handle *
udp_listening(const struct sconce_mux_options *o, struct sconce_addr *addr_out)
{
	struct sconce_mux_handle *h = mux_listening("udp://127.0.0.1:0", o);

	ck_assert_int_eq(sconce_local(sconce_mux_sock(h), addr_out), 0);
	return h;
}

static int
plain_udp(const struct sconce_addr *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, &to->any, to->len), 0);
	return fd;
}

/* EM-14, EM-38, EM-39: each datagram is one READ with its sender, and one of no bytes is data, not an end. */
START_TEST(test_dgram_read_is_one_datagram)
{
	struct sconce_addr a, sender;
	struct sconce_mux_handle *h = udp_listening(NULL, &a);
	socklen_t len = sizeof(sender.un);
	struct sconce_event ev;
	int peer = plain_udp(&a);

	ck_assert_int_eq(sconce_mux_kind(h), SCONCE_MUX_DGRAM);
	getsockname(peer, &sender.any, &len);
	say(peer, "one");
	ck_assert_int_eq(send(peer, "", 0, 0), 0);
	say(peer, "two");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_ptr_eq(ev.handle, h);
	ck_assert_uint_eq(ev.len, 3);
	ck_assert_mem_eq(ev.data, "one", 3);
	ck_assert_int_eq(sconce_addr_port(ev.from), ntohs(sender.in.sin_port));
	ck_assert_ptr_eq(&ev.datagram->from, ev.from);
	ck_assert_ptr_null(ev.record);
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 0);
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_mem_eq(ev.data, "two", 3);
	close(peer);
}
END_TEST

/* EM-32: what is longer than read_size is cut, and says so. */
START_TEST(test_dgram_longer_than_read_size_is_cut)
{
	struct sconce_addr a;
	struct sconce_event ev;
	int peer;

	udp_listening(&(struct sconce_mux_options){ .read_size = 4 }, &a);
	peer = plain_udp(&a);
	say(peer, "123456");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.len, 4);
	ck_assert(ev.datagram->truncated);
	close(peer);
}
END_TEST

/* EM-51, EM-52, EM-50: each send is one datagram, in order, to the peer or to an address; one SENT when all have left. */
START_TEST(test_dgram_send_keeps_packets_and_order)
{
	struct sconce_addr a;
	struct sconce_mux_handle *h = udp_listening(&(struct sconce_mux_options){ .meta = "s" }, &a), *c;
	char url[64], text[SCONCE_ADDR_TEXT];

	snprintf(url, sizeof(url), "udp://%s", sconce_addr_text(&a, text, sizeof(text)));
	ck_assert_int_eq(sconce_mux_connect(m, url, &(struct sconce_mux_options){ .meta = "c" }, &c, NULL), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(sconce_mux_send(c, &"abcde"[i], 1), 0);
	MUX_UNTIL(track_of(h)->reads == 5);
	ck_assert_str_eq(track_of(h)->data, "a|b|c|d|e|");
	mux_settle();
	ck_assert_str_eq(track_of(c)->log, "sent ");
	ck_assert_int_eq(sconce_local(sconce_mux_sock(c), &a), 0);
	ck_assert_int_ge(sconce_mux_sendto(h, &a, "answer", 6), 0);
	MUX_UNTIL(track_of(c)->reads == 1);
	ck_assert_str_eq(track_of(c)->data, "answer|");
}
END_TEST

/* EM-51, EM-10: one that is too long is refused or an error, and those around it go; without an address it is refused. */
START_TEST(test_dgram_send_fails_others_go)
{
	static char large[70000];
	struct sconce_addr a;
	struct sconce_mux_handle *h = udp_listening(NULL, &a), *c;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &c), 0);
	ck_assert_int_eq(sconce_mux_send(c, "x", 1), -EDESTADDRREQ);
	ck_assert_int_ge(sconce_mux_sendto(c, &a, "1", 1), 0);
	ck_assert_int_eq(sconce_mux_sendto(c, &a, large, sizeof(large)), -EMSGSIZE);
	ck_assert_int_ge(sconce_mux_sendto(c, &a, "2", 1), 0);
	MUX_UNTIL(track_of(h)->reads == 2);
	ck_assert_str_eq(track_of(h)->data, "1|2|");
	mux_settle();
	ck_assert_int_eq(track_of(c)->closing, 0);
}
END_TEST

/* EM-33, EM-10: a refusal that the network sends back is an ERROR that tells all about it, and the socket goes on. */
START_TEST(test_dgram_refusal_is_error_and_ends_nothing)
{
	struct sconce_addr a, nobody;
	struct sconce_mux_handle *h = udp_listening(&(struct sconce_mux_options){ .errors = true }, &a), *gone = udp_listening(NULL, &nobody);
	struct sconce_event ev;

	close(sconce_mux_remove(gone));
	ck_assert_int_ge(sconce_mux_sendto(h, &nobody, "lost", 4), 0);
	do
		ev = mux_get();
	while (ev.type != SCONCE_EVENT_ERROR);
	ck_assert_ptr_eq(ev.handle, h);
	ck_assert_int_eq(ev.fail.errnum, ECONNREFUSED);
	ck_assert_str_eq(ev.fail.operation, "icmp");
	ck_assert_ptr_nonnull(ev.error);
	ck_assert_int_eq(ev.error->errnum, ECONNREFUSED);
	ck_assert_int_eq(sconce_addr_port(&ev.error->to), sconce_addr_port(&nobody));
	ck_assert_uint_eq(ev.error->len, 4);
	ck_assert_mem_eq(ev.error->data, "lost", 4);
	ck_assert_int_ge(sconce_mux_sendto(h, &a, "me", 2), 0);
	MUX_UNTIL(track_of(h)->reads == 1);
	ck_assert_int_eq(track_of(h)->closing, 0);
}
END_TEST

static uint64_t
first_byte(struct sconce_mux_handle *h, const struct sconce_datagram *p)
{
	ck_assert_int_eq(sconce_mux_kind(h), SCONCE_MUX_DGRAM);
	return p->len > 0 ? *(const unsigned char *)p->data : 0;
}

/* EM-36: a function says which session a datagram is of. */
START_TEST(test_dgram_session_comes_with_read)
{
	struct sconce_addr a;
	struct sconce_event ev;
	int peer;

	udp_listening(&(struct sconce_mux_options){ .session = first_byte }, &a);
	peer = plain_udp(&a);
	say(peer, "A1");
	say(peer, "B2");
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.session, 'A');
	ev = mux_expect(SCONCE_EVENT_READ);
	ck_assert_uint_eq(ev.session, 'B');
	close(peer);
}
END_TEST

/* EM-18, EM-48: what waits is counted in datagrams, and so is what was missing at the end. */
START_TEST(test_dgram_close_missing_counts_datagrams)
{
	struct sconce_mux_handle *h;
	uint64_t waiting;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	for (int i = 0; i < 2000; i++)
		ck_assert_int_ge(sconce_mux_send(h, "packet", 6), 0);
	mux_settle();
	waiting = sconce_mux_buflen(h);
	ck_assert_uint_gt(waiting, 0);
	ck_assert_uint_lt(waiting, 2000);
	ck_assert_str_eq(order, "");			/* nothing was SENT: some is left */
	if (_i == 0)
		sconce_mux_close(h);
	else
		sconce_mux_kill(h, 0);
	MUX_UNTIL(tracks[0].closed);
	ck_assert_str_eq(tracks[0].log, _i == 0 ? "closing closed " : "closed ");
	ck_assert_uint_eq(tracks[0].missing, waiting);
	close(fds[1]);
}
END_TEST

/* EM-16: SENT comes when what had to wait has gone. */
START_TEST(test_dgram_sent_when_queue_has_gone)
{
	struct sconce_mux_handle *h;
	char buf[8];
	int fds[2], got = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, &h), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_ge(sconce_mux_send(h, "packet", 6), 0);
	while (got < 1000) {
		struct sconce_event ev;

		got += recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT) == 6;
		if (sconce_mux_next(m, 0, &ev) == 1)
			mux_event(&ev);
	}
	mux_settle();
	ck_assert_str_eq(order, "?.sent ");
	close(fds[1]);
}
END_TEST

static void
push_own(struct sconce_timer *t, void *arg)
{
	struct sconce_event ev = { .type = SCONCE_EVENT_USER };

	(void)arg;
	ck_assert_int_eq(sconce_mux_push(m, &ev), 0);
	sconce_timer_start(t, 0);
}

/* Sends so many large datagrams before it is connected, and one more when the first turn has left some.  How many that were; *sent_out is
 * how often SENT came. */
static uint64_t
send_large(const char *url, int count, int *sent_out)
{
	static char large[60000];
	struct sconce_mux_handle *h;
	struct sconce_timer t;
	uint64_t left = 0;

	*sent_out = 0;
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &h, NULL), 0);
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(sconce_mux_send(h, large, sizeof(large)), SCONCE_QUEUED);
	sconce_timer_init(&t, sconce_mux_loop(m), push_own, NULL);
	sconce_timer_start(&t, 0);
	for (int turns = 0; turns < 100; turns++) {
		struct sconce_event ev;

		ck_assert_int_eq(sconce_mux_next(m, 5, &ev), 1);
		*sent_out += ev.type == SCONCE_EVENT_SENT && ev.handle == h;
		if (ev.type == SCONCE_EVENT_USER && left == 0 && sconce_mux_buflen(h) > 0) {
			left = sconce_mux_buflen(h);
			ck_assert_int_eq(sconce_mux_send(h, "more", 4), SCONCE_GATHERED);
		}
	}
	sconce_timer_stop(&t);
	ck_assert_uint_eq(sconce_mux_buflen(h), 0);
	ck_assert_int_eq(close(sconce_mux_remove(h)), 0);
	return left;
}

/* EM-16: SENT comes once for each time the queue has become empty, also when the last of what had waited left with something new. */
START_TEST(test_dgram_sent_once_for_each_emptying)
{
	struct sconce_mux_handle *h;
	struct sconce_addr a;
	char url[64], text[SCONCE_ADDR_TEXT];
	uint64_t left;
	int sent;

	h = udp_listening(NULL, &a);
	sconce_mux_pause(h);
	snprintf(url, sizeof(url), "udp://%s", sconce_addr_text(&a, text, sizeof(text)));
	left = send_large(url, 230, &sent);
	ck_assert_uint_gt(left, 5);
	ck_assert_int_eq(sent, 1);
	ck_assert_uint_eq(send_large(url, 230 - (int)left + 5, &sent), 5);	/* few enough to leave at once */
	ck_assert_int_eq(sent, 1);
}
END_TEST

/* EM-27: a raw socket is one of datagrams. */
START_TEST(test_dgram_raw_socket_is_one)
{
	struct nlmsghdr ask = { .nlmsg_len = sizeof(ask), .nlmsg_type = NLMSG_NOOP, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK, .nlmsg_seq = 7 };
	struct nlmsghdr answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct sconce_mux_handle *h;
	struct sconce_event ev;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &h), 0);
	ck_assert_int_eq(sconce_mux_kind(h), SCONCE_MUX_DGRAM);
	ck_assert_int_ge(sconce_mux_send(h, &ask, sizeof(ask)), 0);
	do
		ev = mux_get();
	while (ev.type == SCONCE_EVENT_SENT);
	ck_assert_int_eq(ev.type, SCONCE_EVENT_READ);
	ck_assert_uint_ge(ev.len, sizeof(answer));
	memcpy(&answer, ev.data, sizeof(answer));
	ck_assert_int_eq(answer.nlmsg_type, NLMSG_ERROR);	/* the acknowledgement */
	ck_assert_uint_eq(answer.nlmsg_seq, 7);
	ck_assert_int_eq(ev.from->any.sa_family, AF_NETLINK);
}
END_TEST

static bool no_memory;

static void *
alloc_little(void *ptr, size_t size, void *ctx)
{
	return no_memory && size > 32768 ? NULL : sconce_backend_libev()->alloc(ptr, size, ctx);
}

/* HZ-22, HZ-10: without memory to receive into that is said once, it costs no time, and the datagram comes when there is some. */
START_TEST(test_dgram_without_memory_waits_for_some)
{
	struct sconce_backend little = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &little };
	struct sconce_loop *loop;
	struct sconce_event ev;
	double cpu;
	int fds[2];

	little.alloc = alloc_little;
	ck_assert_int_eq(sconce_mux_free(m), 0);
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	ck_assert_int_eq(sconce_mux_new(loop, NULL, &m), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], NULL, NULL), 0);
	for (int round = 1; round <= 2; round++) {
		say(fds[1], "patient");
		if (round == 1) {
			no_memory = true;
			mux_expect(SCONCE_EVENT_ERROR);
			ck_assert_int_eq(tracks[0].fail.errnum, ENOMEM);
			ck_assert_str_eq(tracks[0].fail.operation, "recv");
			cpu = t_cpu_seconds();
			ck_assert_int_eq(sconce_mux_next(m, 0.12, &ev), 0);
			ck_assert_msg(t_cpu_seconds() - cpu < 0.03, "%g s", t_cpu_seconds() - cpu);
		}
		no_memory = false;
		mux_expect(SCONCE_EVENT_READ);
	}
	ck_assert_str_eq(tracks[0].data, "patient|patient|");
	ck_assert_int_eq(tracks[0].errors, 1);
	ck_assert_int_eq(sconce_mux_free(m), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	m = NULL;
	close(fds[1]);
}
END_TEST

/* EM-39: unix datagrams have endpoints too. */
START_TEST(test_dgram_unix_endpoint)
{
	char url[80];
	struct sconce_mux_handle *h, *c;

	snprintf(url, sizeof(url), "unix_dgram:///@test_mux.%d", (int)getpid());
	h = mux_listening(url, NULL);
	ck_assert_int_eq(sconce_mux_connect(m, url, NULL, &c, NULL), 0);
	ck_assert_int_ge(sconce_mux_send(c, "hello", 5), 0);
	MUX_UNTIL(track_of(h)->reads == 1);
	ck_assert_str_eq(track_of(h)->data, "hello|");
}
END_TEST

/* EM-30: a datagram socket may be read by hand. */
START_TEST(test_dgram_manual_read)
{
	struct sconce_addr a;
	struct sconce_mux_handle *h = udp_listening(&(struct sconce_mux_options){ .manual_read = true }, &a);
	struct sconce_event ev;
	int peer = plain_udp(&a);
	char buf[8];

	say(peer, "x");
	mux_expect(SCONCE_EVENT_CAN_READ);
	mux_expect(SCONCE_EVENT_CAN_READ);
	ck_assert_int_eq(recv(sconce_mux_fd(h), buf, sizeof(buf), 0), 1);
	ck_assert_int_eq(sconce_mux_next(m, 0.005, &ev), 0);
	close(peer);
}
END_TEST

/* A filter means nothing for datagrams; listening without a place neither. */
START_TEST(test_dgram_filter_is_refused)
{
	struct sconce_filter *f = lines();
	struct sconce_fail fail;

	ck_assert_int_eq(sconce_mux_listen(m, "udp://127.0.0.1:0", &(struct sconce_mux_options){ .filter = f }, NULL, &fail), -EINVAL);
	ck_assert_int_eq(sconce_mux_connect(m, "udp://127.0.0.1:9", &(struct sconce_mux_options){ .filter = f }, NULL, &fail), -EINVAL);
	ck_assert_int_lt(sconce_mux_listen(m, "udp://192.0.2.1:9", NULL, NULL, &fail), 0);
	ck_assert_str_eq(fail.operation, "bind");
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	sconce_filter_unref(f);
}
END_TEST

/* Nor does an endpoint of streams make a datagram socket, whoever asks for one: that is said, and nothing is left. */
START_TEST(test_dgram_stream_endpoint_is_refused)
{
	static const struct {
		const char *endpoint, *says;
	} wrong[] = {
		{ "tcp://127.0.0.1:9", "a stream endpoint: say udp://127.0.0.1:9" },
		{ "unix:///@sconce-mux-dgram", "a stream endpoint: say unix_dgram://@sconce-mux-dgram" },
	};
	struct sconce_mux_options o = { .datagram = true, .meta = &order };
	struct sconce_fail fail;

	for (size_t i = 0; i < 2 * sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *e = wrong[i / 2].endpoint;

		fail.text[0] = '\0';
		ck_assert_int_eq(i % 2 ? sconce_mux_listen(m, e, &o, NULL, &fail) :
		    sconce_mux_connect(m, e, &o, NULL, &fail), -EPROTOTYPE);
		ck_assert_str_eq(fail.operation, "socktype");
		ck_assert_int_eq(fail.errnum, EPROTOTYPE);
		ck_assert_msg(strstr(fail.text, wrong[i / 2].says) != NULL, "%s", fail.text);
	}
	ck_assert_uint_eq(sconce_mux_count(m), 0);
	mux_settle();
	ck_assert_str_eq(order, "");		/* no event of it */
}
END_TEST

/* EM-45: what was sent before has left when the fd comes back. */
START_TEST(test_dgram_remove_flushes)
{
	struct sconce_addr a;
	struct sconce_mux_handle *c;
	int peer, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), got;
	char buf[8];

	peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	a.len = sizeof(a.in);
	a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_eq(bind(peer, &a.any, a.len), 0);
	getsockname(peer, &a.any, &a.len);
	ck_assert_int_eq(sconce_mux_add(m, fd, NULL, &c), 0);
	ck_assert_int_ge(sconce_mux_sendto(c, &a, "bye", 3), 0);
	got = sconce_mux_remove(c);
	ck_assert_int_eq(got, fd);
	ck_assert_int_eq(recv(peer, buf, sizeof(buf), MSG_DONTWAIT), 3);
	mux_settle();
	ck_assert_str_eq(order, "");
	close(fd);
	close(peer);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_dgram");
	TCase *c = mux_case(s, "dgram");

	tcase_add_test(c, test_dgram_read_is_one_datagram);
	tcase_add_test(c, test_dgram_longer_than_read_size_is_cut);
	tcase_add_test(c, test_dgram_send_keeps_packets_and_order);
	tcase_add_test(c, test_dgram_send_fails_others_go);
	tcase_add_test(c, test_dgram_refusal_is_error_and_ends_nothing);
	tcase_add_test(c, test_dgram_session_comes_with_read);
	tcase_add_loop_test(c, test_dgram_close_missing_counts_datagrams, 0, 2);
	tcase_add_test(c, test_dgram_sent_when_queue_has_gone);
	tcase_add_test(c, test_dgram_sent_once_for_each_emptying);
	tcase_add_test(c, test_dgram_raw_socket_is_one);
	tcase_add_test(c, test_dgram_without_memory_waits_for_some);
	tcase_add_test(c, test_dgram_unix_endpoint);
	tcase_add_test(c, test_dgram_manual_read);
	tcase_add_test(c, test_dgram_filter_is_refused);
	tcase_add_test(c, test_dgram_stream_endpoint_is_refused);
	tcase_add_test(c, test_dgram_remove_flushes);
	return s;
}
