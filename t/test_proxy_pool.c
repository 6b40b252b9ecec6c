/* sconced's pool of connections: how many, how long, and to whom. */
#include "harness.h"
#include "proxy_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct kit k;

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

/* PB-70: of the connections that nobody needs, backend_persist_cache are kept. */
START_TEST(test_needless_backends_closed)
{
	int clients[4], backends[4], open = 0;

	kit_start(&k, 1, "SET backend_persist_cache = 1\n");
	for (int i = 0; i < 4; i++) {
		clients[i] = kit_client(&k);
		kit_send(clients[i], GET);
		backends[i] = kit_accept(&k, 0);
	}
	for (int i = 0; i < 4; i++) {
		kit_head(backends[i]);
		kit_send(backends[i], OK_2);
		kit_head(clients[i]);
	}
	for (int i = 0; i < 4; i++)
		open += !kit_readable(backends[i], i == 0 ? 2500 : 200);
	ck_assert_int_eq(open, 1);
	for (int i = 0; i < 4; i++) {
		close(clients[i]);
		close(backends[i]);
	}
}
END_TEST

/* PB-72: a connection is used so often and no more. */
START_TEST(test_max_backend_uses_obeyed)
{
	int client, backend = -1;

	kit_start(&k, 1, "SET max_backend_uses = 2\n");
	client = kit_client(&k);
	exchange_one(client, &backend);
	exchange_one(client, &backend);
	kit_end(backend);
	close(backend);
	backend = -1;
	exchange_one(client, &backend);
	close(client);
	close(backend);
}
END_TEST

/* PB-71: spare connections are there before a client is, and are replaced when they are used. */
START_TEST(test_connect_ahead_keeps_spares)
{
	int client, spares[3];

	kit_start(&k, 1, "SET connect_ahead = 2\n");
	spares[0] = kit_accept(&k, 0);
	spares[1] = kit_accept(&k, 0);
	ck_assert(!kit_accept_pending(&k, 0, 50));
	client = kit_client(&k);
	kit_send(client, GET);
	kit_head(kit_readable(spares[0], 200) ? spares[0] : spares[1]);
	spares[2] = kit_accept(&k, 0);
	for (int i = 0; i < 3; i++)
		close(spares[i]);
	close(client);
}
END_TEST

/* PB-27, PB-31: a node that was down is tried again after a second, and then it is up. */
START_TEST(test_node_up_again)
{
	int client, backend = -1;
	const char *head;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_node_down(&k, 0);
	kit_send(client, GET);
	head = kit_head(client);
	kit_assert_begins(head, "HTTP/1.1 503 ");
	kit_bytes(client, (size_t)atoi(strstr(head, "Content-Length: ") + 16));
	kit_log(&k, "is down: Connection refused");
	kit_node_up(&k, 0);
	ck_assert(!kit_accept_pending(&k, 0, 1100));
	exchange_one(client, &backend);
	kit_log(&k, "is up again");
	close(client);
	close(backend);
}
END_TEST

/* PB-73, PB-148: a slow reader's backend is free as soon as the rest fits in buffer_size. */
START_TEST(test_buffer_size_frees_backend)
{
	size_t len = 20 << 20;
	char *data = calloc(1, len);
	int slow, other, backend;
	char head[128];
	pid_t sender;

	kit_start(&k, 1, "SET buffer_size = 20m\nSET nodes.node_max_connections = 1\n");
	slow = kit_client(&k);
	other = kit_client(&k);
	kit_send(slow, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	sender = kit_sender(backend, head, data, len);
	kit_send(other, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
	kit_assert_begins(kit_head(backend), "GET /other ");
	kit_wait(sender);
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(other), "HTTP/1.1 200 OK\r\n");
	kit_head(slow);
	kit_skip(slow, len);
	close(slow);
	close(other);
	close(backend);
	free(data);
}
END_TEST

/* ... and if it takes nothing at all, it is given up after idle_timeout. */
START_TEST(test_buffered_answer_given_up)
{
	size_t len = 20 << 20;
	char *data = calloc(1, len);
	int client, backend;
	char head[128];
	bool reset;
	pid_t sender;

	kit_start(&k, 1, "SET buffer_size = 20m\nSET idle_timeout = 1\n");
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	sender = kit_sender(backend, head, data, len);
	kit_wait(sender);
	ck_assert(!kit_readable(backend, 2000));	/* long done, and kept */
	kit_head(client);
	for (size_t got = 0; ; got += 4096) {
		char page[4096];
		ssize_t n = recv(client, page, sizeof(page), 0);

		reset = n < 0;
		if (n <= 0)
			break;
		ck_assert_uint_lt(got, len);
	}
	(void)reset;
	close(client);
	close(backend);
	free(data);
}
END_TEST

/* One that leaves the queue leaves no trace in it. */
START_TEST(test_client_leaves_queue)
{
	int busy, gone, next, backend;

	kit_start(&k, 1, "SET nodes.node_max_connections = 1\n");
	busy = kit_client(&k);
	gone = kit_client(&k);
	next = kit_client(&k);
	kit_send(busy, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(gone, "GET /gone HTTP/1.1\r\nHost: h\r\n\r\n");
	kit_send(next, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
	ck_assert(!kit_readable(next, 100));
	kit_reset(gone);
	ck_assert(!kit_readable(next, 100));
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "GET /next ");
	kit_send(backend, OK_2);
	kit_head(busy);
	kit_head(next);
	close(busy);
	close(next);
	close(backend);
}
END_TEST

/* Requests that come one by one while an answer is awaited wait for their turn. */
START_TEST(test_requests_during_answer_wait)
{
	int client, backend;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(client, "GET /2 HTTP/1.1\r\n");
	ck_assert(!kit_readable(backend, 20));
	kit_send(client, "Host: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
	ck_assert(!kit_readable(backend, 20));
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "GET /2 ");
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "GET /3 ");
	close(client);
	close(backend);
}
END_TEST

/* A client that has sent ahead, and is therefore not read, is still noticed when it goes. */
START_TEST(test_client_sent_ahead_leaves)
{
	int client, backend;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(client, GET);
	ck_assert(!kit_readable(backend, 20));
	kit_reset(client);
	kit_gone(backend);
	close(backend);
}
END_TEST

/* A backend that resets within an upload: 502; if it has answered before, its answer. */
START_TEST(test_backend_resets_within_upload)
{
	static char kilobytes[150 * 1024];
	int client, backend;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
	kit_send_bytes(client, kilobytes, sizeof(kilobytes));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	if (_i == 1)
		kit_send(backend, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
	kit_reset(backend);
	kit_assert_begins(kit_head(client), _i == 1 ? "HTTP/1.1 403 No\r\n" : "HTTP/1.1 502 ");
	close(client);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy_pool");
	TCase *tc = t_case(suite, "pool");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, test_needless_backends_closed);
	tcase_add_test(tc, test_max_backend_uses_obeyed);
	tcase_add_test(tc, test_connect_ahead_keeps_spares);
	tcase_add_test(tc, test_node_up_again);
	tcase_add_test(tc, test_buffer_size_frees_backend);
	tcase_add_test(tc, test_buffered_answer_given_up);
	tcase_add_test(tc, test_client_leaves_queue);
	tcase_add_test(tc, test_requests_during_answer_wait);
	tcase_add_test(tc, test_client_sent_ahead_leaves);
	tcase_add_loop_test(tc, test_backend_resets_within_upload, 0, 2);
	return suite;
}
