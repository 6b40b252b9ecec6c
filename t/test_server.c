/* The server personality, as its program's users see it: a process with a log, and clients that come and go. */
#include "test_server.h"

/* ---- the flow ---- */

#define BEGINNING \
	"configure_hook configure post_configure post_configure_hook pre_bind bind post_bind_hook post_bind pre_loop_hook loop"
#define GUEST \
	" get_client_info post_accept_hook allow_deny allow_deny_hook mux_connection"
#define ENDING \
	" server_close pre_server_close_hook post_child_cleanup_hook shutdown_sockets"

static void
check_steps(struct served *v, const char *expected)
{
	char *steps = kit_steps(v->log, v->log + v->len);

	ck_assert_str_eq(steps, expected);
	free(steps);
}

/* A client that is let in, and the end by each of three signals: every step in Net::Server's order, once.
 *	NS-1 run, NS-18 exit status 0		NS-3 configure_hook
 *	NS-9 post_configure, NS-10 its hook	NS-11 pre_bind, NS-12 bind
 *	NS-13 post_bind_hook, NS-14 post_bind	NS-15 pre_loop_hook, NS-16 loop
 *	NS-25 get_client_info, NS-24 accept	NS-26 post_accept_hook
 *	NS-27 allow_deny, NS-28 its hook	NS-30 the client's own object
 *	NS-31 mux_connection			NS-34 post_process_request_hook
 *	NS-35 mux_close				NS-17 server_close and its hooks
 *	NS-74 INT, TERM, QUIT			NS-44 the client's lines in the log, NS-46 at level 4 */
START_TEST(test_server_flow_allowed)
{
	struct served v;
	int c;

	kit_start(&v, "--drain=0", NULL);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	kit_say(c, "one\n");
	ck_assert_str_eq(kit_line(c), "one");
	shutdown(c, SHUT_WR);
	ck_assert_str_eq(kit_line(c), "eof 0");
	ck_assert(kit_at_end(c));
	close(c);
	kit_log(&v, "mux_close\n");
	ck_assert_int_eq(kill(v.pid, _i == 0 ? SIGTERM : _i == 1 ? SIGINT : SIGQUIT), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	check_steps(&v, BEGINNING GUEST " mux_input mux_eof post_process_request_hook mux_close" ENDING);
	ck_assert(kit_logged(&v, "served 1 client in "));
	kit_free(&v);
}
END_TEST

/* One who is turned away, by the rules or the hook: the farewell arrives, the connection ends, what it says reaches no
 * hook; whether stdout is lent or not.  AC-11, NS-29. */
START_TEST(test_server_flow_denied)
{
	bool by_rule = _i & 1, lend = _i & 2;
	struct served v;
	int c;

	kit_start(&v, by_rule ? "--cidr_deny=127.0.0.0/8" : "--veto", lend ? "--lend" : NULL, NULL);
	c = kit_connect(&v);
	kit_say(c, "listen to me\n");
	ck_assert_str_eq(kit_line(c), "go away");
	ck_assert(kit_at_end(c));
	close(c);
	kit_log(&v, "mux_close\n");
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	check_steps(&v, by_rule ?
	    BEGINNING " get_client_info post_accept_hook allow_deny request_denied_hook post_process_request_hook mux_close" ENDING :
	    BEGINNING " get_client_info post_accept_hook allow_deny allow_deny_hook request_denied_hook"
	    " post_process_request_hook mux_close" ENDING);
	ck_assert(!kit_logged(&v, "mux_input"));
	kit_free(&v);
}
END_TEST

/* A hook of the start that refuses ends it, with a message and status 1; fatal_hook is told.  NS-19. */
START_TEST(test_server_hook_refuses)
{
	static const char *const hooks[] = { "post_configure_hook", "post_bind_hook", "pre_loop_hook" };
	char option[64], text[64];
	struct served v;

	snprintf(option, sizeof(option), "--refuse=%s", hooks[_i]);
	snprintf(text, sizeof(text), "%s refuses\n", hooks[_i]);
	kit_exec(&v, (const char *const[]){ "--port=127.0.0.1:0", option, NULL });
	ck_assert_int_eq(kit_wait(&v), 1);
	ck_assert_msg(kit_logged(&v, text), "%s", v.log);
	ck_assert(kit_logged(&v, "fatal_hook: "));
	kit_free(&v);
}
END_TEST

/* While it serves, fatal() ends it the ordinary way, with status 1. */
START_TEST(test_server_fatal_while_serving)
{
	struct served v;
	int c;

	kit_start(&v, NULL);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "fatal no more\n");
	ck_assert_int_eq(kit_wait(&v), 1);
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert(kit_logged(&v, "no more\n"));
	ck_assert(kit_logged(&v, "mux_close"));
	ck_assert(kit_logged(&v, "shutdown_sockets"));
	kit_free(&v);
}
END_TEST

/* ---- clients ---- */

/* What is not consumed comes again with more behind it, or is told at the end; clients have numbers.  NS-32, NS-33, NS-42 */
START_TEST(test_server_input_left_over)
{
	struct served v;
	int a, b;

	kit_start(&v, NULL);
	a = kit_connect(&v);
	kit_line(a);
	b = kit_connect(&v);
	kit_line(b);
	kit_say(a, "num");
	kit_say(b, "number\n");
	ck_assert_str_eq(kit_line(b), "2 of 2");
	kit_say(a, "ber\nrest");
	ck_assert_str_eq(kit_line(a), "1 of 2");
	shutdown(a, SHUT_WR);
	ck_assert_str_eq(kit_line(a), "eof 4");
	ck_assert(kit_at_end(a));
	kit_say(b, "quit\n");
	ck_assert(kit_at_end(b));
	close(a);
	close(b);
	kit_stop(&v);
}
END_TEST

/* A program may take records instead. */
START_TEST(test_server_records)
{
	struct served v;
	int c;

	kit_start(&v, "records", NULL);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "one\r\ntwo\nnum");
	ck_assert_str_eq(kit_line(c), "one");
	ck_assert_str_eq(kit_line(c), "two");
	kit_say(c, "ber\n");
	ck_assert_str_eq(kit_line(c), "1 of 1");
	close(c);
	kit_stop(&v);
}
END_TEST

/* What cannot go on is told to mux_fail, which may still say why: too much that nobody consumes, too long a record. */
START_TEST(test_server_input_fails)
{
	static char much[2 * 1024 * 1024];
	struct served v;
	int c;

	memset(much, 'x', sizeof(much));
	kit_start(&v, _i == 1 ? "records" : NULL, NULL);
	c = kit_connect(&v);
	kit_line(c);
	send(c, much, sizeof(much), MSG_NOSIGNAL);
	ck_assert_str_eq(kit_line(c), "failed: filter");
	kit_log(&v, "mux_close");
	close(c);
	kit_stop(&v);
}
END_TEST

/* One that post_accept_hook closes in order is not let in any more. */
START_TEST(test_server_closed_when_accepted)
{
	struct served v;
	int c;

	kit_start(&v, "--busy", NULL);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "later");
	ck_assert(kit_at_end(c));
	close(c);
	kit_log(&v, "mux_close");
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(!kit_logged(&v, "allow_deny") && !kit_logged(&v, "mux_connection"));
	kit_free(&v);
}
END_TEST

/* A client lives as long as `lifetime` says, whatever it does. */
START_TEST(test_server_lifetime)
{
	struct served v;
	int c;

	kit_start(&v, "--lifetime=0.1", NULL);
	c = kit_connect(&v);
	kit_line(c);
	ck_assert_str_eq(kit_line(c), "too slow");
	ck_assert(kit_at_end(c));
	close(c);
	kit_stop(&v);
}
END_TEST

/* Who was turned away keeps nobody out, however long it stays. */
START_TEST(test_server_denied_does_not_count)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = from;
	int c, denied = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct served v;

	kit_start(&v, "--max_clients=1", "--cidr_deny=127.0.0.9", "--cidr_allow=127.0.0.1", NULL);
	from.sin_addr.s_addr = htonl(0x7f000009);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)v.port);
	kit_bound(denied);
	ck_assert_int_eq(bind(denied, (struct sockaddr *)&from, sizeof(from)), 0);
	ck_assert_int_eq(connect(denied, (struct sockaddr *)&to, sizeof(to)), 0);
	ck_assert_str_eq(kit_line(denied), "go away");
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");	/* though the other one is still there */
	close(c);
	close(denied);
	kit_stop(&v);
}
END_TEST

/* A server that takes no input drops it. */
START_TEST(test_server_without_input)
{
	struct served v;
	int c;

	kit_start(&v, "mute", NULL);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "quit\n");
	shutdown(c, SHUT_WR);
	ck_assert_str_eq(kit_line(c), "eof 0");
	ck_assert(kit_at_end(c));
	close(c);
	kit_stop(&v);
}
END_TEST

/* All who are there can be told something; one who has gone is not there. */
START_TEST(test_server_each)
{
	struct served v;
	int c[3];

	kit_start(&v, NULL);
	for (int i = 0; i < 3; i++) {
		c[i] = kit_connect(&v);
		kit_line(c[i]);
	}
	close(c[1]);
	kit_log(&v, "mux_close");
	kit_say(c[0], "all hear this\n");
	ck_assert_str_eq(kit_line(c[0]), "hear this");
	ck_assert_str_eq(kit_line(c[2]), "hear this");
	close(c[0]);
	close(c[2]);
	kit_stop(&v);
}
END_TEST

/* A slow reader gets everything, and the hook is told when it has.  The rest of AC-8: it closes by itself after the end. */
START_TEST(test_server_slow_reader)
{
	enum { SIZE = 8 * 1024 * 1024 };
	char buf[65536];
	struct served v;
	size_t got = 0;
	ssize_t n;
	int c;

	kit_start(&v, NULL);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "big 8388608\n");
	shutdown(c, SHUT_WR);
	kit_log(&v, "mux_eof");
	while ((n = recv(c, buf, sizeof(buf), 0)) > 0)
		got += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, SIZE + strlen("eof 0\n"));
	close(c);
	kit_log(&v, "mux_close");
	kit_stop(&v);
}
END_TEST

/* printf() goes to the client whose hook runs, where the program wants that, and the operator does not forbid it. */
/* NS-38, NS-69, NS-70. */
START_TEST(test_server_stdout)
{
	bool lent = _i == 1;
	struct served v;
	int c;

	kit_start(&v, _i > 0 ? "--lend" : "--timeout=0", _i == 2 ? "--no_client_stdout" : NULL, NULL);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "print here\necho\n");
	if (lent)
		ck_assert_str_eq(kit_line(c), "here");
	ck_assert_str_eq(kit_line(c), "echo");
	close(c);
	kit_stop(&v);
}
END_TEST

/* The dequeue timer and the timeouts of clients go side by side; each alarm is the last that was set.  AC-13, NS-36, NS-37 */
START_TEST(test_server_dequeue_and_timeouts)
{
	struct served v;
	int c, idle;

	kit_start(&v, "--check_for_dequeue=0.02", "--timeout=0.3", NULL);
	idle = kit_connect(&v);
	kit_line(idle);
	c = kit_connect(&v);
	kit_line(c);
	kit_say(c, "alarm 9\nalarm 0.05\n");
	ck_assert_str_eq(kit_line(c), "alarm");
	kit_log(&v, "dequeue with ");
	kit_log(&v, "dequeue with ");
	ck_assert_str_eq(kit_line(idle), "too slow");
	ck_assert(kit_at_end(idle));
	kit_log(&v, "dequeue with ");
	close(c);
	close(idle);
	kit_stop(&v);
}
END_TEST

/* At most so many at a time: the others wait, and come in when there is room. */
START_TEST(test_server_max_clients)
{
	struct served v;
	int a, b;

	kit_start(&v, "--max_clients=1", NULL);
	a = kit_connect(&v);
	kit_line(a);
	b = kit_connect(&v);			/* in the backlog */
	kit_say(b, "number\n");
	kit_say(a, "number\n");
	ck_assert_str_eq(kit_line(a), "1 of 1");
	close(a);
	ck_assert_str_eq(kit_line(b), "hello");
	ck_assert_str_eq(kit_line(b), "2 of 1");
	close(b);
	kit_stop(&v);
}
END_TEST

/* Datagrams, as datagrams, and by the same rules.  NS-41. */
START_TEST(test_server_datagrams)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	bool denied = _i == 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char buf[16];
	struct served v;

	kit_exec(&v, (const char *const[]){ "--port=127.0.0.1:0/udp", "--log_level=4",
	    denied ? "--cidr_deny=127.0.0.1" : "--cidr_allow=127.0.0.1", NULL });
	a.sin_port = htons((uint16_t)atoi(kit_log(&v, "listening on 127.0.0.1:")));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	kit_bound(fd);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(send(fd, "", 0, 0), 0);
	ck_assert_int_eq(send(fd, "two", 3, 0), 3);
	if (denied) {
		kit_log(&v, "denied by cidr_deny 127.0.0.1");
		kit_log(&v, "denied by cidr_deny 127.0.0.1");
	} else {
		ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 0);
		ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 3);
	}
	close(fd);
	kit_stop(&v);
}
END_TEST

/* A unix socket: everybody who can open it may in, whatever the rules say; its path goes at the end.  NS-20. */
START_TEST(test_server_unix)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char port[128];
	struct served v;

	snprintf(port, sizeof(port), "--port=%s|unix", kit_path("s"));
	kit_start(&v, port, "--cidr_deny=0.0.0.0/0", NULL);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", kit_path("s"));
	kit_bound(fd);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_str_eq(kit_line(fd), "hello");
	close(fd);
	kit_stop(&v);
	ck_assert_int_eq(access(a.sun_path, F_OK), -1);
}
END_TEST

/* ---- the end ---- */

/* QUIT lets clients end what they have begun, within `drain` seconds; nobody new is served. */
START_TEST(test_server_quit_drains)
{
	struct served v;
	int c;

	kit_start(&v, "--drain=60", NULL);
	c = kit_connect(&v);
	kit_line(c);
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "server_close");
	kit_say(c, "still here\n");
	ck_assert_str_eq(kit_line(c), "still here");
	kit_say(c, "quit\n");
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(kit_logged(&v, "and 0 cut off"));
	kit_free(&v);
}
END_TEST

/* And when they do not, they are cut off: by the deadline, or by a TERM. */
START_TEST(test_server_quit_has_a_deadline)
{
	struct served v;
	int c;

	kit_start(&v, _i == 0 ? "--drain=0.1" : "--drain=60", NULL);
	c = kit_connect(&v);
	kit_line(c);
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "server_close");
	if (_i == 1)
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(kit_logged(&v, "mux_close"));
	ck_assert(kit_logged(&v, "and 1 cut off"));
	kit_free(&v);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("server");
	TCase *t = t_case(suite, "flow");

	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_server_flow_allowed, 0, 3);
	tcase_add_loop_test(t, test_server_flow_denied, 0, 4);
	tcase_add_loop_test(t, test_server_hook_refuses, 0, 3);
	tcase_add_test(t, test_server_fatal_while_serving);

	t = t_case(suite, "clients");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_server_input_left_over);
	tcase_add_test(t, test_server_records);
	tcase_add_loop_test(t, test_server_input_fails, 0, 2);
	tcase_add_test(t, test_server_without_input);
	tcase_add_test(t, test_server_closed_when_accepted);
	tcase_add_test(t, test_server_lifetime);
	tcase_add_test(t, test_server_denied_does_not_count);
	tcase_add_test(t, test_server_each);
	tcase_add_test(t, test_server_slow_reader);
	tcase_add_loop_test(t, test_server_stdout, 0, 3);
	tcase_add_test(t, test_server_dequeue_and_timeouts);
	tcase_add_test(t, test_server_max_clients);
	tcase_add_loop_test(t, test_server_datagrams, 0, 2);
	tcase_add_test(t, test_server_unix);

	t = t_case(suite, "end");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_server_quit_drains);
	tcase_add_loop_test(t, test_server_quit_has_a_deadline, 0, 2);
	suite_add_tcase(suite, t);
	return suite;
}
