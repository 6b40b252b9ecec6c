/* Fleets that keep so many connections in flight: what waits, what is fed, and storms of failures. */
#include "test_fleet.h"

#include <sys/resource.h>

enum { ROOM = 10 };

static char open_text[64], closed_text[64], full_text[64];

/* What next() gives. */
static struct {
	unsigned left, calls, most;	/* targets; calls; the most connections that it has seen */
	const char *(*which)(unsigned n);
} feed;

static bool
give(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	ck_assert_ptr_eq(arg, &feed);
	feed.calls++;
	if (f->count > feed.most)
		feed.most = (unsigned)f->count;
	if (feed.left == 0)
		return false;
	target_out->endpoint = feed.which(--feed.left);
	return true;
}

static const char *
opened(unsigned n)
{
	(void)n;
	return open_text;
}

static void
end_it(struct sconce_fleet_conn *c)
{
	sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);
}

static void
end_each(struct sconce_fleet_conn *c, void *arg)
{
	(void)arg;
	end_it(c);
}

static void
feed_setup(void)
{
	struct sconce_fleet_options opts = { .max_in_flight = ROOM };

	fleet_setup_with(&opts);
	memset(&feed, 0, sizeof(feed));
	feed.which = opened;
}

/* TM-33: what waits is begun in its order, when there is room; a connection asked for at once is begun at once. */
START_TEST(test_queue_waits_for_room_in_order)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	int lfd = plain_listen(16, open_text, sizeof(open_text));
	char *a, *b, *c, *d;

	sconce_fleet_set_max(&fleet, 1);
	on.connected = end_it;
	for (int i = 0; i < 4; i++) {
		struct sconce_fleet_target t = { .endpoint = open_text, .arg = (void *)(uintptr_t)names[i] };

		ck_assert_int_eq(sconce_fleet_queue(&fleet, NULL, &t, NULL), 0);
	}
	ck_assert_uint_eq(fleet.count, 0);
	ck_assert_uint_eq(fleet.waiting, 4);
	sconce_loop_step(loop, 0);
	ck_assert_uint_eq(fleet.count, 1);
	ck_assert_uint_eq(fleet.waiting, 3);
	NET_UNTIL(fleet.closed == 4);
	ck_assert_uint_eq(fleet.waiting, 0);
	a = strstr(fleet_log, "a.closed"), b = strstr(fleet_log, "b.init"), c = strstr(fleet_log, "c.init");
	d = strstr(fleet_log, "d.init");
	ck_assert(a != NULL && b != NULL && c != NULL && d != NULL && a < b && b < c && c < d);
	close(lfd);
}
END_TEST

/* What waits, endpoint, address and local address, is a copy; what turns out wrong then is told to failed. */
START_TEST(test_queue_copies_targets)
{
	struct sconce_addr addr, from = { .len = sizeof(from.un) };
	struct sconce_addr port_0 = { .in = { .sin_family = AF_INET }, .len = sizeof(struct sockaddr_in) };
	struct sconce_fleet_target t = { .addr = &addr }, wrong = { .addr = &port_0 };
	char bind[32] = "127.0.0.9", text[64], host[64];
	int lfd = plain_listen(16, text, sizeof(text)), fd;

	sconce_addr_parse(text, &addr, NULL);
	t.bind = bind;
	ck_assert_int_eq(sconce_fleet_queue(&fleet, NULL, &t, NULL), 0);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, text, NULL, NULL), 0);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, NULL, &wrong, NULL), 0);
	memset(&addr, 0xee, sizeof(addr));
	memset(bind, 'x', sizeof(bind) - 1);
	memset(text, 'x', sizeof(text) - 1);
	NET_UNTIL(fleet.connected == 2 && fleet.failed == 1);
	fd = accept4(lfd, &from.any, &from.len, SOCK_CLOEXEC);
	ck_assert_str_eq(sconce_addr_host(&from, host, sizeof(host)), "127.0.0.9");
	close(fd);
	close(lfd);
}
END_TEST

/* TM-33: the room is kept full and never more than that; what has nothing is asked again after a close, or a call. */
START_TEST(test_feed_keeps_the_room_full)
{
	int lfd = plain_listen(1024, open_text, sizeof(open_text));
	unsigned calls;

	feed.left = 200;
	on.connected = end_it;
	ck_assert_int_eq(sconce_fleet_feed(&fleet, give, &feed), 0);
	ck_assert_uint_eq(feed.calls, 0);
	NET_UNTIL(fleet.closed == 200 && fleet.count == 0);
	ck_assert_uint_eq(feed.most, ROOM - 1);
	ck_assert_uint_eq(fleet.connected, 200);
	net_settle();
	calls = feed.calls;
	ck_assert_uint_le(calls, 200 + ROOM + 1);
	net_pass(5);
	ck_assert_uint_eq(feed.calls, calls);		/* nobody asks in vain */
	feed.left = 3;
	ck_assert_int_eq(sconce_fleet_feed(&fleet, give, &feed), 0);
	NET_UNTIL(fleet.closed == 203);
	feed.left = 1;
	ck_assert_int_eq(sconce_fleet_connect(&fleet, open_text, NULL, NULL, NULL), 0);
	NET_UNTIL(fleet.closed == 205);			/* a close asks */
	ck_assert_int_eq(sconce_fleet_feed(&fleet, NULL, NULL), 0);
	close(lfd);
}
END_TEST

/* Without a limit there is no room to keep full. */
START_TEST(test_feed_needs_a_limit)
{
	sconce_fleet_set_max(&fleet, 0);
	ck_assert_int_eq(sconce_fleet_feed(&fleet, give, &feed), -EINVAL);
	net_settle();
	ck_assert_uint_eq(feed.calls, 0);
}
END_TEST

/* TM-33: at most 64 are begun in a turn, so that a large room does not starve what is open. */
START_TEST(test_feed_begins_64_a_turn)
{
	int lfd = plain_listen(1024, open_text, sizeof(open_text));

	sconce_fleet_set_max(&fleet, 150);
	feed.left = 1000;
	sconce_fleet_feed(&fleet, give, &feed);
	sconce_loop_step(loop, 0);
	ck_assert_uint_eq(fleet.count, 64);
	sconce_loop_step(loop, 0);
	ck_assert_uint_eq(fleet.count, 128);
	sconce_loop_step(loop, 0);
	ck_assert_uint_eq(fleet.count, 150);
	net_settle();
	sconce_fleet_set_max(&fleet, 20);
	net_settle();
	ck_assert_uint_eq(fleet.count, 150);		/* those that there are stay */
	ck_assert_uint_eq(fleet.connected, 150);
	sconce_fleet_abort(&fleet);
	net_settle();
	ck_assert_uint_eq(fleet.count, 0);		/* and nobody feeds it any more */
	close(lfd);
}
END_TEST

/* Without a limit feeding rests, whoever is in flight; what waits is begun, and with a limit the feed goes on. */
START_TEST(test_feed_rests_while_there_is_no_limit)
{
	int lfd = plain_listen(1024, open_text, sizeof(open_text));

	feed.left = 1000;
	sconce_fleet_feed(&fleet, give, &feed);
	net_settle();
	ck_assert_uint_eq(fleet.connected, ROOM);
	sconce_fleet_set_max(&fleet, 0);
	ck_assert_int_eq(sconce_fleet_queue(&fleet, open_text, NULL, NULL), 0);
	net_settle();
	ck_assert_uint_eq(fleet.connected, ROOM + 1);
	ck_assert_uint_eq(feed.calls, ROOM);
	sconce_fleet_each(&fleet, end_each, NULL);
	net_settle();
	ck_assert_uint_eq(feed.calls, ROOM);
	sconce_fleet_set_max(&fleet, 5);
	net_settle();
	ck_assert_uint_eq(fleet.count, 5);
	ck_assert_uint_eq(feed.calls, ROOM + 5);
	close(lfd);
}
END_TEST

enum { STOPS, ABORTS, FEEDS_AND_GIVES, FEEDS, NEXT_CALLS };
static unsigned stop_dones, first_calls;

static void
count_stop(struct sconce_fleet *f, void *arg)
{
	(void)f;
	(void)arg;
	stop_dones++;
}

static bool
give_and_call(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	int what = *(int *)arg;

	first_calls++;
	if (what == STOPS)
		sconce_fleet_stop(f, 30, count_stop, NULL);
	else if (what == ABORTS)
		sconce_fleet_abort(f);
	else
		ck_assert_int_eq(sconce_fleet_feed(f, give, &feed), 0);
	target_out->endpoint = open_text;
	target_out->arg = (void *)(uintptr_t)"first";
	return what != FEEDS;
}

/* TM-33: next() may stop or abort the fleet: what it gives then is not begun; or have it fed by another, which is asked next. */
START_TEST(test_next_may_call_the_fleet)
{
	int lfd = plain_listen(16, open_text, sizeof(open_text)), what = _i;
	unsigned feeds = what == FEEDS || what == FEEDS_AND_GIVES ? 3 : 0, own = what == FEEDS_AND_GIVES ? 1 : 0;

	stop_dones = first_calls = 0;
	feed.left = 3;
	sconce_fleet_feed(&fleet, give_and_call, &what);
	net_settle();
	ck_assert_uint_eq(first_calls, 1);
	ck_assert_uint_eq(fleet.started, own + feeds);
	ck_assert_uint_eq(fleet.connected, own + feeds);
	ck_assert_uint_eq(feed.calls, feeds > 0 ? feeds + 1 : 0);
	ck_assert_uint_eq(stop_dones, what == STOPS ? 1 : 0);
	ck_assert(own == (strstr(fleet_log, "first.connected") != NULL));
	close(lfd);
}
END_TEST

static const char *
some_wrong(unsigned n)
{
	return n % 3 == 0 ? open_text : n % 3 == 1 ? "no port" : NULL;
}

/* A target that cannot be begun is told as a failure of its own, and the others go on. */
START_TEST(test_feed_tells_wrong_targets)
{
	int lfd = plain_listen(64, open_text, sizeof(open_text));

	feed.left = 30;
	feed.which = some_wrong;
	on.connected = end_it;
	sconce_fleet_feed(&fleet, give, &feed);
	NET_UNTIL(fleet.closed == 30);
	ck_assert_uint_eq(fleet.connected, 10);
	ck_assert_uint_eq(fleet.failed, 20);
	ck_assert_ptr_nonnull(strstr(fleet_log, ".init .failed(parse 22) .closed(connect) "));
	close(lfd);
}
END_TEST

static unsigned reports;

static void
count_emfile(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	(void)c;
	ck_assert_int_eq(fail->errnum, EMFILE);
	reports++;
}

/* HZ-9, HZ-21: without fds a connection fails, the feed rests and does not spin, and goes on when one is freed. */
START_TEST(test_feed_rests_without_fds)
{
	struct rlimit before, few;
	int lfd = plain_listen(1024, open_text, sizeof(open_text));
	unsigned open, calls;

	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &few);
	sconce_fleet_set_max(&fleet, 200);
	feed.left = 100000;
	reports = 0;
	on.failed = count_emfile;
	sconce_fleet_feed(&fleet, give, &feed);
	for (int i = 0; i < 50; i++)
		sconce_loop_step(loop, 0);
	open = (unsigned)fleet.connected;
	ck_assert_uint_gt(open, 20);
	ck_assert_uint_eq(reports, 1);
	calls = feed.calls;
	for (int i = 0; i < 10; i++)
		net_pass(0.11);
	ck_assert_uint_le(feed.calls, calls + 10);	/* one try in 0.1 s */
	ck_assert_uint_gt(feed.calls, calls + 5);
	ck_assert_uint_eq(fleet.count, open);
	calls = reports;
	sconce_fleet_each(&fleet, end_each, NULL);
	NET_UNTIL(fleet.connected == 2 * open);		/* not waiting for the 0.1 s */
	ck_assert_uint_le(reports, calls + 1);
	sconce_fleet_feed(&fleet, NULL, NULL);
	setrlimit(RLIMIT_NOFILE, &before);
	close(lfd);
}
END_TEST

static int64_t still;			/* for a clock that only the test moves */

static int64_t
still_now(void *ctx)
{
	(void)ctx;
	return still + skew;
}

static void
expect_eagain(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	(void)c;
	ck_assert_int_eq(fail->errnum, EAGAIN);
	reports++;
}

/* HZ-21: a unix listener's full backlog is a shortage, too: the list is not burnt, but goes on when there is a place. */
START_TEST(test_feed_rests_with_a_full_backlog)
{
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fds[3];
	struct sconce_addr a;
	unsigned open;

	abstract_name(open_text, sizeof(open_text));
	ck_assert_int_eq(sconce_addr_parse(open_text, &a, NULL), 0);
	ck_assert_int_eq(bind(lfd, &a.any, a.len), 0);
	ck_assert_int_eq(listen(lfd, 5), 0);
	still = net_now(NULL) - skew;
	backend.now = still_now;
	sconce_fleet_set_max(&fleet, 100);
	feed.left = 1000;
	reports = 0;
	on.failed = expect_eagain;
	sconce_fleet_feed(&fleet, give, &feed);
	net_settle();
	open = (unsigned)fleet.connected;
	ck_assert_uint_ge(open, 5);
	ck_assert_uint_eq(reports, 1);
	ck_assert_uint_eq(feed.calls, open + 1);
	net_pass(0.11);
	ck_assert_uint_eq(feed.calls, open + 2);	/* one try in 0.1 s */
	for (int i = 0; i < 3; i++)
		fds[i] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	net_pass(0.11);
	net_settle();
	ck_assert_uint_eq(fleet.connected, open + 3);
	ck_assert_uint_eq(reports, 3);
	sconce_fleet_feed(&fleet, NULL, NULL);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(lfd);
}
END_TEST

/* HZ-21: one local port for all: one connects, every other is told EADDRNOTAVAIL or EADDRINUSE; not all at once, since the
 * port might come back. */
START_TEST(test_local_ports_run_out)
{
	static const char *bind[1];
	struct sconce_fleet_options opts = { .max_in_flight = ROOM, .bind = bind, .bind_count = 1 };
	int lfd = plain_listen(64, open_text, sizeof(open_text)), hold = plain_listen(1, closed_text, sizeof(closed_text));

	close(hold);					/* a port that is free */
	bind[0] = closed_text;
	sconce_fleet_fini(&fleet);
	ck_assert_int_eq(sconce_fleet_init(&fleet, loop, &probe_ops, &opts), 0);
	feed.left = 100;
	sconce_fleet_feed(&fleet, give, &feed);
	for (int i = 0; i < 200 && fleet.failed < 99; i++)
		net_pass(0.11);
	ck_assert_uint_eq(fleet.started, 100);
	ck_assert_uint_eq(fleet.failed, 99);
	ck_assert_uint_eq(fleet.connected, 1);
	ck_assert_uint_eq(fleet.count, 1);
	ck_assert(strstr(fleet_log, "failed(connect 99)") != NULL || strstr(fleet_log, "failed(bind 98)") != NULL);
	close(lfd);
}
END_TEST

enum { STORM = 1000 };

static const char *
of_three(unsigned n)
{
	return n % 10 < 3 ? closed_text : n % 10 < 6 ? full_text : open_text;
}

/* HZ-21: of 1000 connects 30 % are refused, 30 % never answered: the tally is exact, and nothing is left. */
START_TEST(test_storm_is_tallied)
{
	int guests[2], lfd = plain_listen(4096, open_text, sizeof(open_text)), full = plain_full(full_text, sizeof(full_text), guests);
	int before = t_fd_count();

	plain_nobody(closed_text, sizeof(closed_text));
	sconce_fleet_set_max(&fleet, 300);
	feed.left = STORM;
	feed.which = of_three;
	on.connected = end_it;
	sconce_fleet_feed(&fleet, give, &feed);
	for (int turn = 0; turn < 200 && fleet.closed < STORM; turn++) {
		for (int i = 0; i < 20; i++)
			sconce_loop_step(loop, 0);
		if (fleet.count == 300 || feed.left == 0)
			net_pass(31);
	}
	ck_assert_uint_eq(fleet.started, STORM);
	ck_assert_uint_eq(fleet.connected, STORM * 4 / 10);
	ck_assert_uint_eq(fleet.failed, STORM * 3 / 10);
	ck_assert_uint_eq(fleet.timed_out, STORM * 3 / 10);
	ck_assert_uint_eq(fleet.closed, STORM);
	ck_assert_uint_eq(fleet.count, 0);
	ck_assert_uint_eq(feed.most, 299);
	ck_assert_int_eq(t_fd_count(), before);
	plain_full_close(full, guests);
	close(lfd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("fleet_feed");
	TCase *tcase = t_case(suite, "feed");

	tcase_add_checked_fixture(tcase, feed_setup, fleet_teardown);
	tcase_add_test(tcase, test_queue_waits_for_room_in_order);
	tcase_add_test(tcase, test_queue_copies_targets);
	tcase_add_test(tcase, test_feed_keeps_the_room_full);
	tcase_add_test(tcase, test_feed_needs_a_limit);
	tcase_add_test(tcase, test_feed_begins_64_a_turn);
	tcase_add_test(tcase, test_feed_rests_while_there_is_no_limit);
	tcase_add_loop_test(tcase, test_next_may_call_the_fleet, 0, NEXT_CALLS);
	tcase_add_test(tcase, test_feed_tells_wrong_targets);
	tcase_add_test(tcase, test_feed_rests_without_fds);
	tcase_add_test(tcase, test_feed_rests_with_a_full_backlog);
	tcase_add_test(tcase, test_local_ports_run_out);
	tcase_add_test(tcase, test_storm_is_tallied);
	return suite;
}
