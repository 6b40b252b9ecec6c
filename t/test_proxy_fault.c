/* sconced when the others fail: backends that die, clients that leave. */
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
setup(void)
{
	kit_start(&k, 1, "");
}

static void
setup_two_nodes(void)
{
	kit_start(&k, 2, "");
}

static void
teardown(void)
{
	kit_stop(&k);
}

/* ---- backends that die ---- */

/* PB-2: a response that is cut short closes the client, who sees that it is short. */
START_TEST(test_backend_dies_within_length_client_closed)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
	close(backend);
	kit_head(client);
	ck_assert_str_eq(kit_rest(client, NULL), "0123456789");
	close(client);
}
END_TEST

/* The same chunked: the last chunk never comes. */
START_TEST(test_backend_dies_within_chunks_client_closed)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	kit_head(client);
	ck_assert_str_eq(kit_bytes(client, 10), "5\r\nhello\r\n");
	kit_reset(backend);
	ck_assert_str_eq(kit_rest(client, NULL), "");
	close(client);
}
END_TEST

/* Where the end of the connection is the end of the body, a cut is a reset. */
START_TEST(test_backend_dies_within_chunks_http10_reset)
{
	int client = kit_client(&k), backend = -1;
	bool reset;

	kit_exchange(&k, client, &backend, "GET / HTTP/1.0\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	kit_head(client);
	kit_bytes(client, 5);
	close(backend);
	kit_rest(client, &reset);
	ck_assert(reset);
	close(client);
}
END_TEST

/* A bad chunk deep in a response cuts it. */
START_TEST(test_bad_chunk_within_response_cuts)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	kit_head(client);
	kit_bytes(client, 10);
	kit_send(backend, "zz\r\n");
	ck_assert_str_eq(kit_rest(client, NULL), "");
	kit_gone(backend);
	close(client);
	close(backend);
}
END_TEST

/* A large response, spliced, that is cut. */
START_TEST(test_backend_dies_within_splice_client_closed)
{
	static char megabyte[1 << 20];
	int client = kit_client(&k), backend = -1;
	pid_t sender;

	memset(megabyte, 'x', sizeof(megabyte));
	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
	sender = kit_sender(backend, "", megabyte, sizeof(megabyte));
	kit_head(client);
	kit_skip(client, sizeof(megabyte));
	kit_wait(sender);
	close(backend);
	ck_assert_str_eq(kit_rest(client, NULL), "");
	close(client);
}
END_TEST

/* PB-16: before the first byte of an answer it is a 502, and the client may stay. */
START_TEST(test_backend_dies_before_answer_is_502)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	close(backend);
	kit_assert_begins(kit_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
	kit_log(&k, "closed before it answered");
	close(client);
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, "HTTP/1.1 200 OK\r\nContent-");
	close(backend);
	kit_assert_begins(kit_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
	close(client);
}
END_TEST

static void
exchange_one(int client, int *backend)
{
	kit_exchange(&k, client, backend, GET, OK_2);
	kit_head(client);
	kit_bytes(client, 2);
}

/* RFC 9112 9.3.1: a kept connection that ends just then says nothing: the request goes out again, once. */
START_TEST(test_kept_backend_dies_idempotent_repeated_once)
{
	int client = kit_client(&k), first = -1, second;

	exchange_one(client, &first);
	kit_send(client, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	kit_head(first);
	kit_bytes(first, 4);
	close(first);
	second = kit_accept(&k, 0);
	kit_assert_begins(kit_head(second), "PUT /x HTTP/1.1\r\n");
	ck_assert_str_eq(kit_bytes(second, 4), "body");
	close(second);
	kit_assert_begins(kit_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(client);
}
END_TEST

/* RFC 9110 9.2.2: a POST is never sent twice. */
START_TEST(test_kept_backend_dies_post_is_502)
{
	int client = kit_client(&k), backend = -1;

	exchange_one(client, &backend);
	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	kit_head(backend);
	close(backend);
	kit_assert_begins(kit_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(client);
}
END_TEST

/* An idle connection that the backend closes is forgotten, and the next request gets a new one. */
START_TEST(test_idle_backend_closed_replaced)
{
	int client = kit_client(&k), backend = -1;

	exchange_one(client, &backend);
	close(backend);
	backend = -1;
	exchange_one(client, &backend);
	close(client);
	close(backend);
}
END_TEST

/* PB-27: a node that refuses is left alone and the other one serves; it is said once. */
START_TEST(test_node_down_other_serves)
{
	int client = kit_client(&k), backend = -1;

	kit_node_down(&k, 1);
	for (int i = 0; i < 4; i++) {
		exchange_one(client, &backend);
		close(backend);
		backend = -1;
	}
	kit_log(&k, "is down: Connection refused");
	close(client);
}
END_TEST

/* PB-10: a dead pool is a 503 at once, not silence. */
START_TEST(test_pool_dead_is_503)
{
	int client = kit_client(&k);
	const char *head;

	kit_node_down(&k, 0);
	for (int i = 0; i < 3; i++) {
		kit_send(client, GET);
		head = kit_head(client);
		kit_assert_begins(head, "HTTP/1.1 503 Service Unavailable\r\n");
		kit_assert_line(head, "Retry-After: 1");
		kit_assert_line(head, "Connection: keep-alive");
		kit_bytes(client, (size_t)atoi(strstr(head, "Content-Length: ") + 16));
	}
	close(client);
}
END_TEST

/* ---- clients that leave ---- */

/* Half an upload is worth nothing: the backend's connection goes with it. */
START_TEST(test_client_leaves_within_upload_backend_closed)
{
	static char kilobytes[300 * 1024];
	int client = kit_client(&k), backend;

	memset(kilobytes, 'x', sizeof(kilobytes));
	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
	kit_send_bytes(client, kilobytes, sizeof(kilobytes));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	close(client);
	kit_rest(backend, NULL);
	close(backend);
	client = kit_client(&k);
	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n");
	kit_send_bytes(client, kilobytes, 200 * 1024);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_reset(client);
	kit_rest(backend, NULL);
	close(backend);
}
END_TEST

/* Half a response: the backend's connection is not used again. */
START_TEST(test_client_leaves_within_response_backend_closed)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nsome");
	kit_head(client);
	kit_reset(client);
	kit_gone(backend);
	close(backend);
}
END_TEST

/* Whoever leaves while the backend thinks is noticed, though a closing and a half-closing client look the same. */
START_TEST(test_client_leaves_while_waiting_backend_closed)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	close(client);
	kit_gone(backend);
	close(backend);
}
END_TEST

/* ... and one that only half-closed is still answered. */
START_TEST(test_client_half_closes_while_waiting_answered)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	shutdown(client, SHUT_WR);
	ck_assert(!kit_readable(backend, 1600));
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(client), "HTTP/1.1 100 Continue\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
	ck_assert_str_eq(kit_rest(client, NULL), "ok");
	close(client);
	close(backend);
}
END_TEST

/* PB-17: an answer before the upload's end is passed on, and then both are closed. */
START_TEST(test_early_answer_closes)
{
	static char megabyte[1 << 20];
	int client = kit_client(&k), backend;
	pid_t sender;
	const char *head;

	sender = kit_sender(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n", megabyte,
	    sizeof(megabyte));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, "HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nstop");
	head = kit_head(client);
	kit_assert_begins(head, "HTTP/1.1 413 Too Much\r\n");
	kit_assert_line(head, "Connection: close");
	ck_assert_str_eq(kit_rest(client, NULL), "stop");
	kit_wait(sender);
	close(client);
	close(backend);
}
END_TEST

/* A backend that answers an upload and closes at once: its answer comes through, whatever our sends met. */
START_TEST(test_early_answer_and_reset_still_read)
{
	static char megabyte[1 << 20];
	int client = kit_client(&k), backend;
	pid_t sender;

	sender = kit_sender(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n", megabyte,
	    sizeof(megabyte));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
	shutdown(backend, SHUT_WR);
	kit_assert_begins(kit_head(client), "HTTP/1.1 403 No\r\n");
	ck_assert_str_eq(kit_bytes(client, 2), "no");
	close(client);
	close(backend);
	kit_wait(sender);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy_fault");
	TCase *tc = t_case(suite, "backend");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_backend_dies_within_length_client_closed);
	tcase_add_test(tc, test_backend_dies_within_chunks_client_closed);
	tcase_add_test(tc, test_backend_dies_within_chunks_http10_reset);
	tcase_add_test(tc, test_bad_chunk_within_response_cuts);
	tcase_add_test(tc, test_backend_dies_within_splice_client_closed);
	tcase_add_test(tc, test_backend_dies_before_answer_is_502);
	tcase_add_test(tc, test_kept_backend_dies_idempotent_repeated_once);
	tcase_add_test(tc, test_kept_backend_dies_post_is_502);
	tcase_add_test(tc, test_idle_backend_closed_replaced);
	tcase_add_test(tc, test_pool_dead_is_503);
	tc = t_case(suite, "nodes");
	tcase_add_checked_fixture(tc, setup_two_nodes, teardown);
	tcase_add_test(tc, test_node_down_other_serves);
	tc = t_case(suite, "client");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_client_leaves_within_upload_backend_closed);
	tcase_add_test(tc, test_client_leaves_within_response_backend_closed);
	tcase_add_test(tc, test_client_leaves_while_waiting_backend_closed);
	tcase_add_test(tc, test_client_half_closes_while_waiting_answered);
	tcase_add_test(tc, test_early_answer_closes);
	tcase_add_test(tc, test_early_answer_and_reset_still_read);
	return suite;
}
