/* A multiplexer that is not asked while others turn its loop, and handles that are paused: what is readable costs no time, and nothing of it
 * is lost. */
#include "test_mux.h"

#include <sconce/ev.h>

static struct sconce_loop *loop;
static struct sconce_mux *other;		/* the one that is asked instead of m */
static int peer;

static void
rest_setup(void)
{
	mux_forget();
	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	ck_assert_int_eq(sconce_mux_new(loop, NULL, &m), 0);
	ck_assert_int_eq(sconce_mux_new(loop, NULL, &other), 0);
}

static void
rest_teardown(void)
{
	sconce_verify(loop);
	ck_assert_int_eq(sconce_mux_free(other), 0);
	ck_assert_int_eq(sconce_mux_free(m), 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	m = NULL;
}

/* What an application that runs the loop itself does, or the other multiplexer: for a twentieth of a second. */
static void
others_turn(int how)
{
	struct sconce_event ev;
	double end = t_seconds() + 0.05;

	if (how == 0) {
		ck_assert_int_eq(sconce_mux_next(other, 0.05, &ev), 0);
		return;
	}
	while (t_seconds() < end)
		ck_assert_int_ge(sconce_loop_step(loop, end - t_seconds()), 0);
}

static void
others_turn_in_peace(int how)
{
	double cpu = t_cpu_seconds();

	others_turn(how);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.02, "%g s", t_cpu_seconds() - cpu);
}

static struct sconce_mux_handle *
datagram_pair(const struct sconce_mux_options *o)
{
	struct sconce_mux_handle *h;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], o, &h), 0);
	peer = fds[1];
	return h;
}

/* HZ-10: input that nobody asks for ends no wait of others, and comes whole when somebody does. */
START_TEST(test_rest_unread_stream_costs_nothing)
{
	mux_pair(WIRE_TCP, NULL, &peer);
	mux_expect(SCONCE_EVENT_READY);
	say(peer, "first");
	others_turn_in_peace(_i);
	say(peer, "second");
	others_turn_in_peace(_i);
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "firstsecond|");
	say(peer, "third");				/* it is watched again */
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "firstsecond|third|");
	say(peer, "last");
	close(peer);
	others_turn_in_peace(_i);
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "firstsecond|third|last|");
	ck_assert_str_eq(tracks[0].log, "ready read read read closing closed ");
}
END_TEST

/* HZ-10: the same of datagrams. */
START_TEST(test_rest_unread_datagrams_cost_nothing)
{
	datagram_pair(NULL);
	for (int i = 0; i < 3; i++) {
		say(peer, "one");
		say(peer, "two");
		others_turn_in_peace(_i);
		mux_settle();
		ck_assert_int_eq(tracks[0].reads, 2 * i + 2);
	}
	close(peer);
}
END_TEST

static const struct sconce_mux_options manuals[] = {
	{ .manual_read = true }, { .manual_write = true }, { .manual_read = true, .manual_write = true },
};
enum { MANUALS = sizeof(manuals) / sizeof(manuals[0]) };

/* HZ-10: and of handles that are read and written by hand, also when the peer has gone. */
START_TEST(test_rest_manual_handle_costs_nothing)
{
	const struct sconce_mux_options *o = &manuals[_i];
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, o, &peer);
	bool can_read = false, can_write = false;

	say(peer, "x");
	others_turn_in_peace(0);
	others_turn_in_peace(1);
	for (int i = 0; i < 10; i++) {
		int type = mux_get().type;

		can_read |= type == SCONCE_EVENT_CAN_READ;
		can_write |= type == SCONCE_EVENT_CAN_WRITE;
	}
	ck_assert_int_eq(can_read, o->manual_read);
	ck_assert_int_eq(can_write, o->manual_write);
	close(peer);
	others_turn_in_peace(0);
	sconce_mux_close(h);
	others_turn_in_peace(0);			/* CLOSING waits to be taken */
	MUX_UNTIL(tracks[0].closed);
}
END_TEST

/* HZ-10: a listener that is accepted from by hand. */
START_TEST(test_rest_manual_listener_costs_nothing)
{
	struct sconce_mux_handle *l = mux_listening("tcp://127.0.0.1:0", &(struct sconce_mux_options){ .manual_accept = true });

	peer = plain_connect(l);
	others_turn_in_peace(0);
	mux_expect(SCONCE_EVENT_ACCEPTING);
	mux_expect(SCONCE_EVENT_ACCEPTING);
	close(peer);
}
END_TEST

/* HZ-10: what closes when its output has gone, with input that nobody will read, or with a writing end that is free. */
START_TEST(test_rest_closing_handle_costs_nothing)
{
	struct sconce_mux_options o = { .manual_write = _i == 1 };
	struct sconce_mux_handle *h = mux_pair(WIRE_TCP, &o, &peer);
	struct sconce_event ev;
	double cpu;

	mux_get();
	say(peer, "unread");
	sconce_mux_close_flush(h, 5);
	others_turn_in_peace(0);
	mux_expect(SCONCE_EVENT_CLOSING);
	cpu = t_cpu_seconds();
	ck_assert_int_eq(sconce_mux_next(m, 0.05, &ev), 0);	/* it waits for the peer to end */
	ck_assert_msg(t_cpu_seconds() - cpu < 0.02, "%g s", t_cpu_seconds() - cpu);
	close(peer);
	mux_expect(SCONCE_EVENT_CLOSED);
}
END_TEST

static unsigned long unwatched;

static void
note_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	unwatched += !(events & SCONCE_READ);
	sconce_backend_libev()->arm(s, events, ctx);
}

/* As long as each is asked in its turn, nothing is unwatched: a message costs its recv and its send. */
START_TEST(test_rest_muxes_in_turn_are_not_unwatched)
{
	struct sconce_backend noting = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &noting };
	struct sconce_mux *muxes[2];
	struct sconce_mux_handle *h;
	struct sconce_loop *l;
	struct sconce_event ev;
	int fds[2], peers[2];

	noting.arm = note_arm;
	ck_assert_int_eq(sconce_loop_new(&opts, &l), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sconce_mux_new(l, NULL, &muxes[i]), 0);
		wire_make(WIRE_UNIX, fds);
		ck_assert_int_eq(sconce_mux_add(muxes[i], fds[0], NULL, &h), 0);
		ck_assert_int_eq(sconce_mux_next(muxes[i], 0, &ev), 1);
		peers[i] = fds[1];
	}
	unwatched = 0;
	for (int round = 0; round < 20; round++) {
		say(peers[0], "one");
		say(peers[1], "two");
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(sconce_mux_next(muxes[i], 1, &ev), 1);
			ck_assert_int_eq(ev.type, SCONCE_EVENT_READ);
			ck_assert_int_eq(sconce_mux_next(muxes[i], 0, &ev), 0);
		}
	}
	ck_assert_uint_eq(unwatched, 0);
	for (int i = 0; i < 2; i++) {
		close(peers[i]);
		ck_assert_int_eq(sconce_mux_free(muxes[i]), 0);
	}
	ck_assert_int_eq(sconce_loop_free(l), 0);
}
END_TEST

/* ---- pauses ---- */

/* A handle that is paused tells nothing, also when it rested before, and tells it afterwards. */
START_TEST(test_pause_resting_handle_waits_for_resume)
{
	struct sconce_mux_handle *h = _i == 0 ? mux_pair(WIRE_TCP, NULL, &peer) : datagram_pair(NULL);
	struct sconce_event ev;

	mux_settle();
	say(peer, "data");
	others_turn(0);
	sconce_mux_pause(h);
	ck_assert_int_eq(sconce_mux_next(m, 0.01, &ev), 0);
	others_turn_in_peace(0);
	sconce_mux_resume(h);
	others_turn_in_peace(0);
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "data|");
	say(peer, "more");
	mux_settle();
	ck_assert_str_eq(tracks[0].data, "data|more|");
	close(peer);
}
END_TEST

/* EM-19, HZ-10: one that is read or written by hand too: no CAN_READ, no CAN_WRITE, and the wait sleeps. */
START_TEST(test_pause_manual_handle_tells_nothing)
{
	const struct sconce_mux_options *o = &manuals[_i];
	struct sconce_mux_handle *h = mux_pair(WIRE_UNIX, o, &peer);
	struct sconce_event ev;
	double cpu;

	say(peer, "x");
	mux_get();
	sconce_loop_step(loop, 0);			/* it is ready */
	sconce_mux_pause(h);
	mux_settle();
	mux_forget();
	cpu = t_cpu_seconds();
	ck_assert_int_eq(sconce_mux_next(m, 0.05, &ev), 0);
	ck_assert_msg(t_cpu_seconds() - cpu < 0.02, "%g s", t_cpu_seconds() - cpu);
	sconce_mux_resume(h);
	MUX_UNTIL(strstr(order, o->manual_read ? "can_read" : "can_write") != NULL);
	close(peer);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("mux_rest");
	TCase *c = t_case(s, "rest");

	tcase_add_checked_fixture(c, rest_setup, rest_teardown);
	tcase_add_loop_test(c, test_rest_unread_stream_costs_nothing, 0, 2);
	tcase_add_loop_test(c, test_rest_unread_datagrams_cost_nothing, 0, 2);
	tcase_add_loop_test(c, test_rest_manual_handle_costs_nothing, 0, MANUALS);
	tcase_add_test(c, test_rest_manual_listener_costs_nothing);
	tcase_add_loop_test(c, test_rest_closing_handle_costs_nothing, 0, 2);
	tcase_add_test(c, test_rest_muxes_in_turn_are_not_unwatched);
	c = t_case(s, "pause");
	tcase_add_checked_fixture(c, rest_setup, rest_teardown);
	tcase_add_loop_test(c, test_pause_resting_handle_waits_for_resume, 0, 2);
	tcase_add_loop_test(c, test_pause_manual_handle_tells_nothing, 0, MANUALS);
	return s;
}
