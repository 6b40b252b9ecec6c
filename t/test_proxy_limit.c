/* sconced's limits: time, memory, descriptors; and how it stops. */
#include "harness.h"
#include "proxy_kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum { RSS_LIMIT = 16 * 1024, BIG = 64 << 20 };

static struct kit k;

static void
setup(void)
{
	kit_start(&k, 1, "");
}

static void
setup_impatient(void)
{
	kit_start(&k, 1, "SET idle_timeout = 1\nSET persist_client_idle_timeout = 1\nSET queue_timeout = 1\n"
	    "SET nodes.node_max_connections = 1\n");
}

static void
teardown(void)
{
	kit_stop(&k);
}

static void
exchange_one(int client, int *backend)
{
	kit_exchange(&k, client, backend, GET, OK_2);
	kit_head(client);
	kit_bytes(client, 2);
}

/* ---- time ---- */

/* A head that is not complete in time is a 408, also if bytes keep coming. */
START_TEST(test_slow_head_is_408)
{
	int client = kit_client(&k), trickle = kit_client(&k);
	int bytes = 0;

	kit_send(client, "GET / HTTP/1.1\r\nHo");
	kit_send(trickle, "GET / HTTP/1.1\r\nX: ");
	while (!kit_readable(trickle, 50) && bytes++ < 100)
		kit_send(trickle, "x");
	kit_assert_begins(kit_head(trickle), "HTTP/1.1 408 Request Timeout\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 408 Request Timeout\r\n");
	ck_assert_ptr_nonnull(strstr(kit_rest(client, NULL), "did not come in time"));
	ck_assert_int_lt(bytes, 60);
	close(client);
	close(trickle);
}
END_TEST

/* PB-54: a connection without a request is closed without a word. */
START_TEST(test_idle_client_closed)
{
	int client = kit_client(&k), kept = kit_client(&k), backend = -1;

	exchange_one(kept, &backend);
	kit_end(client);
	kit_end(kept);
	close(client);
	close(kept);
	close(backend);
}
END_TEST

/* PB-55: an upload that stops is a 408, before and after a backend has part of it. */
START_TEST(test_stalled_upload_is_408)
{
	static char kilobytes[200 * 1024];
	int client = kit_client(&k), backend;

	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
	kit_assert_begins(kit_head(client), "HTTP/1.1 408 Request Timeout\r\n");
	close(client);
	client = kit_client(&k);
	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
	kit_send_bytes(client, kilobytes, sizeof(kilobytes));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_skip(backend, sizeof(kilobytes));
	kit_assert_begins(kit_head(client), "HTTP/1.1 408 Request Timeout\r\n");
	kit_gone(backend);
	close(client);
	close(backend);
}
END_TEST

/* A backend that says nothing is a 504, and is not used again. */
START_TEST(test_silent_backend_is_504)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_assert_begins(kit_head(client), "HTTP/1.1 504 Gateway Timeout\r\n");
	kit_end(backend);
	kit_log(&k, "no answer for 1 s");
	close(client);
	close(backend);
}
END_TEST

/* One that stops within its answer: the answer is cut. */
START_TEST(test_backend_stalls_within_answer_cut)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	kit_head(client);
	ck_assert_str_eq(kit_rest(client, NULL), "half");
	kit_end(backend);
	close(client);
	close(backend);
}
END_TEST

/* A client that does not read its answer is given up, and with it the backend. */
START_TEST(test_client_that_never_reads_given_up)
{
	static char kilobytes[1 << 20];
	int client = kit_client(&k), backend = -1;
	pid_t sender;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
	for (int i = 0; i < 95; i++) {
		sender = kit_sender(backend, "", kilobytes, sizeof(kilobytes));
		if (waitpid(sender, NULL, 0) != sender)
			break;
		if (kit_readable(backend, 0))
			break;
	}
	kit_gone(backend);
	close(client);
	close(backend);
}
END_TEST

/* The queue has a deadline: 503, with the time to come back. */
START_TEST(test_queue_deadline_is_503)
{
	int busy = kit_client(&k), waiting = kit_client(&k), backend;
	const char *head;

	kit_send(busy, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
	for (int i = 0; i < 11; i++) {
		static char kilobytes[10 * 1024];

		kit_send_bytes(busy, kilobytes, sizeof(kilobytes));
	}
	backend = kit_accept(&k, 0);
	kit_send(waiting, GET);
	for (int i = 0; i < 40 && !kit_readable(waiting, 50); i++)
		kit_send(busy, "more");			/* it is busy, not stalled */
	head = kit_head(waiting);
	kit_assert_begins(head, "HTTP/1.1 503 Service Unavailable\r\n");
	kit_assert_line(head, "Retry-After: 1");
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(busy);
	close(waiting);
	close(backend);
}
END_TEST

/* PB-146: who waits gets the connection that another one leaves, first come first. */
START_TEST(test_queue_first_come_first_served)
{
	int clients[4], backend = -1;
	char target[64];

	for (int i = 0; i < 4; i++) {
		clients[i] = kit_client(&k);
		snprintf(target, sizeof(target), "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
		kit_send(clients[i], target);
		if (i == 0)
			backend = kit_accept(&k, 0);
		ck_assert(!kit_readable(clients[i], 20));
	}
	for (int i = 0; i < 4; i++) {
		snprintf(target, sizeof(target), "GET /%d ", i);
		kit_assert_begins(kit_head(backend), target);
		kit_send(backend, OK_2);
		kit_head(clients[i]);
		close(clients[i]);
	}
	close(backend);
}
END_TEST

/* ---- memory, processor, descriptors ---- */

static void
check_memory(void)
{
	if (!kit_sanitized())
		ck_assert_int_lt(kit_rss(&k), RSS_LIMIT);
}

/* HZ-8: a backend at full speed and a client that reads now and then. */
START_TEST(test_slow_reader_memory_bounded)
{
	char *data = calloc(1, BIG);
	int client = kit_client(&k), backend;
	char head[128];
	pid_t sender;

	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	if (_i == 0)
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
	else
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", BIG);
	sender = kit_sender(backend, head, data, BIG);
	kit_head(client);
	for (int i = 0; i < 30; i++) {
		kit_skip(client, 10 * 1024);
		kit_readable(k.log, 10);		/* nothing is logged: it is 10 ms */
		check_memory();
	}
	kit_skip(client, BIG - 512 * 1024);
	check_memory();
	close(client);
	kit_wait(sender);
	close(backend);
	free(data);
}
END_TEST

/* HZ-8: an upload at full speed and a backend that does not read. */
START_TEST(test_stalled_backend_memory_bounded)
{
	char *data = calloc(1, BIG);
	int client = kit_client(&k), backend;
	char head[128];
	pid_t sender;

	if (_i == 0)
		snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", BIG);
	else
		snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", BIG);
	sender = kit_sender(client, head, data, BIG);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	for (int i = 0; i < 20; i++) {
		kit_skip(backend, 1024);
		kit_readable(k.log, 10);
		check_memory();
	}
	kit_skip(backend, BIG - 512 * 1024);
	check_memory();
	close(backend);
	close(client);
	kit_wait(sender);
	free(data);
}
END_TEST

static const struct {
	const char	*begin;
	const char	*again;
} endless[] = {
	{ "GET / HTTP/1.1\r\nHost: h\r\n", "X-Endless: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n" },
	{ "", "\r\n" },
	{ "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-Trailer: xxxxxxxxxxxxxxxxxxxx\r\n" },
	{ "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3", ";extension=xxxxxxxxxxxxxxxxxxxxxx" },
};

/* HZ-8: what never ends is refused before it is large. */
START_TEST(test_endless_input_refused)
{
	int client = kit_client(&k);
	size_t sent = 0, len = strlen(endless[_i].again);

	kit_send(client, endless[_i].begin);
	while (!kit_readable(client, 0) && sent < 1 << 20) {
		if (send(client, endless[_i].again, len, MSG_NOSIGNAL) < 0)
			break;
		sent += len;
	}
	ck_assert_uint_lt(sent, 1 << 20);
	kit_assert_begins(kit_head(client), _i == 0 ? "HTTP/1.1 431 " : "HTTP/1.1 4");
	check_memory();
	close(client);
}
END_TEST

/* HZ-8: a flood of pipelined requests whose answers nobody reads. */
START_TEST(test_pipelined_flood_memory_bounded)
{
	size_t count = 200000, len = strlen(GET);
	char *data = malloc(count * len + 1), *p = data;
	int client = kit_client(&k);
	pid_t sender, server;

	for (size_t i = 0; i < count; i++)
		p = stpcpy(p, GET);
	server = fork();
	if (server == 0) {
		int backend = kit_accept(&k, 0);

		for (;;) {
			kit_head(backend);
			kit_send(backend, OK_2);
		}
	}
	sender = kit_sender(client, "", data, count * len);
	for (int i = 0; i < 50; i++) {
		kit_readable(k.log, 10);
		check_memory();
	}
	kill(sender, SIGKILL);
	kill(server, SIGKILL);
	kit_wait(sender);
	kit_wait(server);
	close(client);
	free(data);
}
END_TEST

/* HZ-10: idle, half-closed, half a request, a paused upload, a response nobody reads: none of it costs time. */
START_TEST(test_waiting_costs_no_time)
{
	static char megabyte[1 << 20];
	int idle = kit_client(&k), half = kit_client(&k), part = kit_client(&k), answered = kit_client(&k),
	    paused = kit_client(&k), reader = kit_client(&k), backends[4];
	pid_t senders[2];
	long before;

	kit_send(half, GET);
	shutdown(half, SHUT_WR);
	backends[0] = kit_accept(&k, 0);
	kit_send(part, "GET / HTTP");
	kit_send(answered, GET "GET /2 HTTP/1.1\r\nHo");
	backends[1] = kit_accept(&k, 0);
	kit_head(backends[1]);
	kit_send(backends[1], OK_2);
	senders[0] = kit_sender(paused, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n", megabyte,
	    sizeof(megabyte));
	kit_readable(k.log, 50);
	backends[2] = kit_readable(backends[1], 0) ? backends[1] : kit_accept(&k, 0);
	kit_send(reader, GET);
	backends[3] = kit_accept(&k, 0);
	kit_head(backends[3]);
	senders[1] = kit_sender(backends[3], "HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n", megabyte, sizeof(megabyte));
	kit_readable(k.log, 200);
	before = kit_cpu(&k);
	kit_readable(k.log, 2000);
	ck_assert_int_le(kit_cpu(&k) - before, 4);	/* of 200 ticks */
	kill(senders[0], SIGKILL);
	kill(senders[1], SIGKILL);
	kit_wait(senders[0]);
	kit_wait(senders[1]);
	close(idle);
	close(half);
	close(part);
	close(answered);
	close(paused);
	close(reader);
	close(backends[0]);
	close(backends[1]);
	close(backends[3]);
}
END_TEST

static void
setup_few_fds(void)
{
	kit_start_limited(&k, 1, "", 40);
}

/* HZ-9: clients take no more than their share of the descriptors: said once, no time lost, those who are in are served, and
 * on it goes when some leave. */
START_TEST(test_clients_leave_descriptors_for_backends)
{
	int clients[60], backend = -1;
	long before;

	for (int i = 0; i < 60; i++)
		clients[i] = kit_client(&k);
	kit_log(&k, "service web: 11 clients, and no descriptors for more (limit 40): raise ulimit -n");
	before = kit_cpu(&k);
	ck_assert_msg(!kit_readable(k.log, 1000), "logged again: %s", kit_log(&k, ""));
	ck_assert_int_le(kit_cpu(&k) - before, 5);
	exchange_one(clients[0], &backend);
	for (int i = 0; i < 59; i++)
		close(clients[i]);
	exchange_one(clients[59], &backend);
	close(clients[59]);
	close(backend);
}
END_TEST

/* HZ-9: none left to accept with: said once, and on it goes when there are some. */
START_TEST(test_accept_without_descriptors_goes_on)
{
	int client, backend = -1;

	kit_limit(&k, 3);
	client = kit_client(&k);
	kit_log(&k, "no descriptors left (limit 3): raise ulimit -n");
	ck_assert(!kit_readable(k.log, 500));
	kit_limit(&k, 0);
	exchange_one(client, &backend);
	close(client);
	close(backend);
}
END_TEST

static void
setup_queue(void)
{
	kit_start(&k, 1, "SET queue_timeout = 2\n");
}

/* None left to connect with: the node is not to blame, and the client waits, for as long as queue_timeout allows. */
START_TEST(test_connect_without_descriptors_waits)
{
	int client = kit_client(&k), backend = -1;

	exchange_one(client, &backend);
	kit_limit(&k, 3);
	close(backend);
	backend = -1;
	kit_send(client, GET);
	kit_assert_no(kit_log(&k, "no descriptors left (limit 3): raise ulimit -n"), "is down");
	ck_assert(!kit_readable(client, 700));
	if (_i == 0) {
		kit_limit(&k, 0);
		backend = kit_accept(&k, 0);
		kit_head(backend);
		kit_send(backend, OK_2);
		kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
		close(backend);
	} else {
		kit_assert_begins(kit_head(client), "HTTP/1.1 503 ");
		kit_limit(&k, 0);		/* a sanitizer's last look needs some */
	}
	ck_assert_msg(!kit_readable(k.log, 0), "logged more: %s", kit_log(&k, ""));
	close(client);
}
END_TEST

/* ---- signals ---- */

/* PB-153: SIGTERM lets what is busy end, closes what is idle, and takes nothing new. */
START_TEST(test_stop_is_graceful)
{
	int idle = kit_client(&k), busy = kit_client(&k), backend, status;

	kit_send(busy, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kill(k.pid, SIGTERM);
	kit_end(idle);
	kit_log(&k, "stopping: 1 connection busy, up to 30 s; again ends now");
	ck_assert_int_eq(waitpid(k.pid, &status, WNOHANG), 0);
	kit_send(backend, OK_2);
	kit_assert_line(kit_head(busy), "Connection: close");
	ck_assert_str_eq(kit_rest(busy, NULL), "ok");
	close(busy);
	ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
	ck_assert_int_eq(status, 0);
	close(idle);
	close(backend);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

/* A second signal does not wait, and is told by the exit status. */
START_TEST(test_stop_twice_is_at_once)
{
	int idle = kit_client(&k), busy = kit_client(&k), backend, status;

	kit_send(busy, GET);
	backend = kit_accept(&k, 0);
	kill(k.pid, SIGTERM);
	kit_end(idle);
	kill(k.pid, SIGTERM);
	ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%#x", (unsigned)status);
	kit_gone(busy);
	close(idle);
	close(busy);
	close(backend);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy_limit");
	TCase *tc = t_case(suite, "time");

	tcase_add_checked_fixture(tc, setup_impatient, teardown);
	tcase_add_test(tc, test_slow_head_is_408);
	tcase_add_test(tc, test_idle_client_closed);
	tcase_add_test(tc, test_stalled_upload_is_408);
	tcase_add_test(tc, test_silent_backend_is_504);
	tcase_add_test(tc, test_backend_stalls_within_answer_cut);
	tcase_add_test(tc, test_client_that_never_reads_given_up);
	tcase_add_test(tc, test_queue_deadline_is_503);
	tcase_add_test(tc, test_queue_first_come_first_served);
	tc = t_case(suite, "level");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_slow_reader_memory_bounded, 0, 2);
	tcase_add_loop_test(tc, test_stalled_backend_memory_bounded, 0, 2);
	tcase_add_loop_test(tc, test_endless_input_refused, 0, (int)(sizeof(endless) / sizeof(endless[0])));
	tcase_add_test(tc, test_pipelined_flood_memory_bounded);
	tcase_add_test(tc, test_waiting_costs_no_time);
	tc = t_case(suite, "descriptors");
	tcase_add_checked_fixture(tc, setup_few_fds, teardown);
	tcase_add_test(tc, test_clients_leave_descriptors_for_backends);
	tc = t_case(suite, "few descriptors");
	tcase_add_checked_fixture(tc, setup_queue, teardown);
	tcase_add_test(tc, test_accept_without_descriptors_goes_on);
	tcase_add_loop_test(tc, test_connect_without_descriptors_waits, 0, 2);
	tc = t_case(suite, "stop");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_stop_is_graceful);
	tcase_add_test(tc, test_stop_twice_is_at_once);
	return suite;
}
