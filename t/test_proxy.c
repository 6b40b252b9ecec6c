/* sconced as a black box: what clients and backends see of ordinary traffic. */
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
teardown(void)
{
	kit_stop(&k);
}

/* ---- heads ---- */

/* The request that a backend gets is HTTP/1.1 in origin form, says whom it is for, and where it came by. */
START_TEST(test_request_head_rewritten)
{
	int client = kit_client(&k), backend = -1;
	const char *head = kit_exchange(&k, client, &backend,
	    "GET /a?b=%20c HTTP/1.1\r\nhOST: Example:81\r\nX-Own:  two  words \r\nCookie: a=1\r\nCookie: b=2\r\n\r\n", OK_2);

	kit_assert_begins(head, "GET /a?b=%20c HTTP/1.1\r\nHost: Example:81\r\n");
	kit_assert_line(head, "X-Own: two  words");
	kit_assert_line(head, "Cookie: a=1");
	kit_assert_line(head, "Cookie: b=2");
	kit_assert_line(head, "X-Forwarded-For: 127.0.0.1");
	kit_assert_line(head, "Via: 1.1 sconced");
	kit_assert_line(head, "Connection: keep-alive");
	close(client);
	close(backend);
}
END_TEST

/* A request of HTTP/1.0 without Host is for the address that the client came to. */
START_TEST(test_request_http10_without_host_gets_one)
{
	int client = kit_client(&k), backend = -1;
	char host[64];
	const char *head = kit_exchange(&k, client, &backend, "GET / HTTP/1.0\r\n\r\n", OK_2);

	snprintf(host, sizeof(host), "Host: 127.0.0.1:%d", k.port);
	kit_assert_begins(head, "GET / HTTP/1.1\r\n");
	kit_assert_line(head, host);
	kit_assert_line(head, "Via: 1.0 sconced");
	kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
	kit_bytes(client, 2);
	kit_end(client);
	close(client);
	close(backend);
}
END_TEST

/* D.5: the absolute form becomes a path, and its authority the Host. */
START_TEST(test_request_absolute_form_replaces_host)
{
	int client = kit_client(&k), backend = -1;
	const char *head = kit_exchange(&k, client, &backend,
	    "GET http://real.example/x HTTP/1.1\r\nHost: other\r\n\r\n", OK_2);

	kit_assert_begins(head, "GET /x HTTP/1.1\r\nHost: real.example\r\n");
	kit_assert_no(head, "other");
	close(client);
	close(backend);
}
END_TEST

/* RFC 9110 7.6.1: what concerns one connection only goes no further, named or known. */
START_TEST(test_request_hop_by_hop_dropped)
{
	int client = kit_client(&k), backend = -1;
	const char *head = kit_exchange(&k, client, &backend,
	    "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n"
	    "TE: trailers\r\nUpgrade: websocket\r\nProxy-Authorization: Basic eA==\r\nX-Public: 2\r\n\r\n", OK_2);

	kit_assert_no(head, "Secret");
	kit_assert_no(head, "Keep-Alive");
	kit_assert_no(head, "TE:");
	kit_assert_no(head, "Upgrade");
	kit_assert_no(head, "Proxy-Auth");
	kit_assert_line(head, "X-Public: 2");
	close(client);
	close(backend);
}
END_TEST

/* HZ-15: nobody is believed who says for whom he asks. */
START_TEST(test_request_forwarded_for_replaced)
{
	int client = kit_client(&k), backend = -1;
	const char *head = kit_exchange(&k, client, &backend,
	    "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\nX-Host: a\r\n"
	    "X-Forwarded-Host: b\r\n\r\n", OK_2);

	kit_assert_no(head, "6.6.6.6");
	kit_assert_no(head, "7.7.7.7");
	kit_assert_no(head, "X-Host");
	kit_assert_no(head, "X-Forwarded-Host");
	kit_assert_line(head, "X-Forwarded-For: 127.0.0.1");
	close(client);
	close(backend);
}
END_TEST

/* RFC 9110 7.6.2: an OPTIONS that has come far enough is not sent on, another one goes a step. */
START_TEST(test_request_max_forwards_counted)
{
	int client = kit_client(&k), backend = -1;
	const char *head = kit_exchange(&k, client, &backend, "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n", OK_2);

	kit_assert_begins(head, "OPTIONS * HTTP/1.1\r\n");
	kit_assert_line(head, "Max-Forwards: 2");
	kit_head(client);
	kit_bytes(client, 2);
	kit_send(client, "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 501 ");
	close(client);
	close(backend);
}
END_TEST

/* The response keeps its status text and fields, gets a Date, and loses what was between us and the backend. */
START_TEST(test_response_head_rewritten)
{
	int client = kit_client(&k), backend = -1;
	const char *head;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 207 So and so\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
	    "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nContent-Length: 0\r\n\r\n");
	head = kit_head(client);
	kit_assert_begins(head, "HTTP/1.1 207 So and so\r\n");
	kit_assert_line(head, "Server: x");
	kit_assert_line(head, "Set-Cookie: a");
	kit_assert_line(head, "Set-Cookie: b");
	kit_assert_line(head, "Content-Length: 0");
	kit_assert_line(head, "Connection: keep-alive");
	kit_assert_line(head, "Keep-Alive: timeout=30");
	kit_assert_no(head, "X-Hop");
	ck_assert_ptr_nonnull(strstr(head, "\r\nDate: "));
	close(client);
	close(backend);
}
END_TEST

/* A head that comes byte by byte, on either side, is the same head. */
START_TEST(test_heads_byte_by_byte_understood)
{
	static const char request[] = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n";
	static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	int client = kit_client(&k), backend;

	for (size_t i = 0; i < sizeof(request) - 1; i++)
		kit_send_bytes(client, &request[i], 1);
	backend = kit_accept(&k, 0);
	kit_assert_begins(kit_head(backend), "GET /slow HTTP/1.1\r\n");
	for (size_t i = 0; i < sizeof(response) - 1; i++)
		kit_send_bytes(backend, &response[i], 1);
	kit_assert_line(kit_head(client), "Content-Length: 2");
	ck_assert_str_eq(kit_bytes(client, 2), "ok");
	close(client);
	close(backend);
}
END_TEST

/* A head of nearly 64 KiB goes through, in both directions. */
START_TEST(test_heads_large_pass)
{
	static char big[64000], request[66000], response[66000];
	int client = kit_client(&k), backend;

	memset(big, 'x', sizeof(big) - 1);
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\nX-Big: %s\r\n\r\n", big);
	snprintf(response, sizeof(response), "HTTP/1.1 200 OK\r\nX-Big: %s\r\nContent-Length: 0\r\n\r\n", big);
	kit_send(client, request);
	backend = kit_accept(&k, 0);
	ck_assert_ptr_nonnull(strstr(kit_head(backend), big));
	kit_send(backend, response);
	ck_assert_ptr_nonnull(strstr(kit_head(client), big));
	close(client);
	close(backend);
}
END_TEST

/* ---- connections ---- */

/* PB-53, PB-67: many requests, one connection each side. */
START_TEST(test_keep_alive_both_sides)
{
	int client = kit_client(&k), backend = -1;

	for (int i = 0; i < 20; i++) {
		kit_exchange(&k, client, &backend, GET, OK_2);
		kit_assert_line(kit_head(client), "Connection: keep-alive");
		ck_assert_str_eq(kit_bytes(client, 2), "ok");
	}
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(client);
	close(backend);
}
END_TEST

/* The connection to a backend outlives the client's and serves the next. */
START_TEST(test_backend_kept_for_next_client)
{
	int first = kit_client(&k), second, backend = -1;

	kit_exchange(&k, first, &backend, GET, OK_2);
	kit_head(first);
	kit_bytes(first, 2);
	close(first);
	second = kit_client(&k);
	kit_exchange(&k, second, &backend, GET, OK_2);
	kit_head(second);
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(second);
	close(backend);
}
END_TEST

/* A client that says close is answered and closed. */
START_TEST(test_client_close_obeyed)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", OK_2);
	kit_assert_line(kit_head(client), "Connection: close");
	ck_assert_str_eq(kit_rest(client, NULL), "ok");
	close(client);
	close(backend);
}
END_TEST

/* HTTP/1.0 is kept alive when it asks for it. */
START_TEST(test_http10_keep_alive_on_request)
{
	int client = kit_client(&k), backend = -1;

	for (int i = 0; i < 2; i++) {
		kit_exchange(&k, client, &backend, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK_2);
		kit_assert_line(kit_head(client), "Connection: keep-alive");
		kit_bytes(client, 2);
	}
	close(client);
	close(backend);
}
END_TEST

/* PB-3: requests sent at once are answered one after the other, in order, whatever the cut. */
START_TEST(test_pipelining_answered_in_order)
{
	int client = kit_client(&k), backend = -1;
	char requests[8192] = "", target[64], reply[128];

	for (int i = 0; i < 50; i++)
		snprintf(requests + strlen(requests), 64, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
	kit_send(client, requests);
	backend = kit_accept(&k, 0);
	for (int i = 0; i < 50; i++) {
		snprintf(target, sizeof(target), "GET /%d HTTP/1.1\r\n", i);
		kit_assert_begins(kit_head(backend), target);
		ck_assert(!kit_readable(backend, 0));	/* the next one waits for the answer */
		snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%04d", i);
		kit_send(backend, reply);
	}
	for (int i = 0; i < 50; i++) {
		kit_head(client);
		ck_assert_int_eq(atoi(kit_bytes(client, 4)), i);
	}
	close(client);
	close(backend);
}
END_TEST

/* A POST between pipelined GETs: its body is its own, to the byte. */
START_TEST(test_pipelining_bodies_kept_apart)
{
	int client = kit_client(&k), backend;

	kit_send(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /"
	    "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	    "GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
	backend = kit_accept(&k, 0);
	kit_assert_begins(kit_head(backend), "POST /a ");
	ck_assert_str_eq(kit_bytes(backend, 5), "GET /");
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "POST /b ");
	ck_assert_str_eq(kit_chunked(backend), "abc");
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "GET /c ");
	kit_send(backend, OK_2);
	for (int i = 0; i < 3; i++) {
		kit_head(client);
		kit_bytes(client, 2);
	}
	close(client);
	close(backend);
}
END_TEST

/* A client that half-closes still gets its answer. */
START_TEST(test_half_closed_client_answered)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	shutdown(client, SHUT_WR);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, OK_2);
	kit_head(client);
	ck_assert_str_eq(kit_rest(client, NULL), "ok");
	close(client);
	close(backend);
}
END_TEST

/* ---- bodies ---- */

/* A chunked upload reaches the backend chunked, without extensions and trailers. */
START_TEST(test_upload_chunked_passes)
{
	int client = kit_client(&k), backend;
	const char *head;

	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5;ext=\"a\"\r\nhello\r\n1\r\n \r\n");
	kit_send(client, "5\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n");
	backend = kit_accept(&k, 0);
	head = kit_head(backend);
	kit_assert_line(head, "Transfer-Encoding: chunked");
	kit_assert_no(head, "Content-Length");
	ck_assert_str_eq(kit_chunked(backend), "hello world");
	kit_send(backend, OK_2);
	kit_assert_line(kit_head(client), "Connection: keep-alive");
	close(client);
	close(backend);
}
END_TEST

/* PB-75: an upload that is not complete takes no backend until there is enough of it. */
START_TEST(test_upload_collected_before_connect)
{
	int client = kit_client(&k), backend;

	kit_send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
	ck_assert(!kit_accept_pending(&k, 0, 100));
	kit_send(client, "67890");
	backend = kit_accept(&k, 0);
	kit_assert_line(kit_head(backend), "Content-Length: 10");
	ck_assert_str_eq(kit_bytes(backend, 10), "1234567890");
	close(client);
	close(backend);
}
END_TEST

static char *
pattern(size_t len)
{
	char *data = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		data[i] = (char)('a' + i * 7 % 26);
	data[len] = '\0';
	return data;
}

/* A body of 3 MiB, with a length, up and down. */
START_TEST(test_bodies_with_length_whole)
{
	size_t len = 3 << 20;
	char *data = pattern(len), head[128];
	int client = kit_client(&k), backend;
	pid_t sender;

	snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", len);
	sender = kit_sender(client, head, data, len);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	ck_assert(memcmp(kit_bytes(backend, len), data, len) == 0);
	kit_wait(sender);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	sender = kit_sender(backend, head, data, len);
	kit_head(client);
	ck_assert(memcmp(kit_bytes(client, len), data, len) == 0);
	kit_wait(sender);
	kit_send(client, GET);
	kit_assert_begins(kit_head(backend), "GET / ");	/* both are still in step */
	free(data);
	close(client);
	close(backend);
}
END_TEST

/* Bytes of a chunked body of 2 MiB, in chunks of many sizes, up and down. */
START_TEST(test_bodies_chunked_whole)
{
	size_t len = 2 << 20, at = 0, n = 1;
	char *data = pattern(len), *framed = malloc(len * 2), *p = framed;
	int client = kit_client(&k), backend;
	pid_t sender;

	for (; at < len; at += n, n = n * 3 % 70001 + 1) {
		n = n < len - at ? n : len - at;
		p += sprintf(p, "%zx\r\n", n);
		memcpy(p, data + at, n);
		p += n;
		p = stpcpy(p, "\r\n");
	}
	p = stpcpy(p, "0\r\n\r\n");
	sender = kit_sender(client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", framed,
	    (size_t)(p - framed));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	ck_assert(memcmp(kit_chunked(backend), data, len) == 0);
	kit_wait(sender);
	sender = kit_sender(backend, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", framed,
	    (size_t)(p - framed));
	kit_assert_line(kit_head(client), "Transfer-Encoding: chunked");
	ck_assert(memcmp(kit_chunked(client), data, len) == 0);
	kit_wait(sender);
	kit_send(client, GET);
	kit_assert_begins(kit_head(backend), "GET / ");
	free(data);
	free(framed);
	close(client);
	close(backend);
}
END_TEST

/* PB-4: a chunked answer to HTTP/1.0 is plain, and ends with the connection. */
START_TEST(test_response_chunked_to_http10_plain)
{
	int client = kit_client(&k), backend = -1;
	const char *head;

	kit_exchange(&k, client, &backend, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	head = kit_head(client);
	kit_assert_no(head, "Transfer-Encoding");
	kit_assert_line(head, "Connection: close");
	ck_assert_str_eq(kit_rest(client, NULL), "abcde");
	close(client);
	close(backend);
}
END_TEST

/* An answer that lasts until the backend closes: chunked for HTTP/1.1, which is kept; until close for HTTP/1.0. */
START_TEST(test_response_until_close_framed)
{
	int client = kit_client(&k), old = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 OK\r\n\r\nsome ");
	kit_send(backend, "text");
	close(backend);
	kit_assert_line(kit_head(client), "Transfer-Encoding: chunked");
	ck_assert_str_eq(kit_chunked(client), "some text");
	backend = -1;
	kit_exchange(&k, client, &backend, GET, OK_2);
	kit_head(client);
	close(backend);
	backend = -1;
	kit_exchange(&k, old, &backend, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nsome text");
	close(backend);
	kit_assert_no(kit_head(old), "Transfer-Encoding");
	ck_assert_str_eq(kit_rest(old, NULL), "some text");
	close(client);
	close(old);
}
END_TEST

/* HEAD, 204 and 304 have no body, whatever they announce; the connection goes on. */
START_TEST(test_responses_without_body)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	kit_assert_line(kit_head(client), "Content-Length: 1000");
	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 204 No Content\r\n\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 204 No Content\r\n");
	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n");
	kit_assert_line(kit_head(client), "ETag: \"x\"");
	kit_exchange(&k, client, &backend, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	kit_assert_no(kit_head(client), "Content-Length");
	kit_exchange(&k, client, &backend, GET, OK_2);
	kit_head(client);
	ck_assert_str_eq(kit_bytes(client, 2), "ok");
	close(client);
	close(backend);
}
END_TEST

/* ---- 1xx ---- */

/* PB-7: the expectation goes to the backend, its 100 comes back, then the body goes. */
START_TEST(test_expect_continue_end_to_end)
{
	int client = kit_client(&k), backend;

	kit_send(client, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	backend = kit_accept(&k, 0);
	kit_assert_line(kit_head(backend), "Expect: 100-continue");
	kit_send(backend, "HTTP/1.1 100 Continue\r\n\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 100 Continue\r\n");
	kit_send(client, "body");
	ck_assert_str_eq(kit_bytes(backend, 4), "body");
	kit_send(backend, OK_2);
	kit_assert_line(kit_head(client), "Connection: keep-alive");
	close(client);
	close(backend);
}
END_TEST

/* The backend may refuse instead: the client is told, and closed, for its body may be under way. */
START_TEST(test_expect_refused_by_backend_closes)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend,
	    "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
	    "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	kit_assert_line(kit_head(client), "Connection: close");
	kit_end(client);
	kit_gone(backend);
	close(client);
	close(backend);
}
END_TEST

/* Several 1xx come before the answer, in one packet with it; HTTP/1.0 is spared them. */
START_TEST(test_interim_responses_forwarded_to_http11)
{
	static const char reply[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
	    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	int client = kit_client(&k), old = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, reply);
	kit_assert_line(kit_head(client), "Link: </a>");
	kit_assert_begins(kit_head(client), "HTTP/1.1 100 Continue\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
	kit_bytes(client, 2);
	kit_exchange(&k, old, &backend, "GET / HTTP/1.0\r\n\r\n", reply);
	kit_assert_begins(kit_head(old), "HTTP/1.1 200 OK\r\n");
	close(client);
	close(old);
	close(backend);
}
END_TEST

/* ---- a service without persistence ---- */

static void
setup_closing(void)
{
	kit_start(&k, 2, "SET persist_client = 0\nSET persist_backend = 0\n");
}

/* The defaults of PB-53 and PB-67: one request a connection, on both sides; the nodes take turns. */
START_TEST(test_no_persistence_closes_both)
{
	int uses[2] = { 0, 0 };

	for (int i = 0; i < 4; i++) {
		int client = kit_client(&k), backend, node = 0;

		kit_send(client, GET);
		while (!kit_accept_pending(&k, node, 5))
			node = !node;
		uses[node]++;
		backend = kit_accept(&k, node);
		kit_assert_line(kit_head(backend), "Connection: close");
		kit_send(backend, OK_2);
		kit_assert_line(kit_head(client), "Connection: close");
		ck_assert_str_eq(kit_rest(client, NULL), "ok");
		kit_end(backend);
		close(client);
		close(backend);
	}
	ck_assert_int_eq(uses[0], 2);
	ck_assert_int_eq(uses[1], 2);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy");
	TCase *tc = t_case(suite, "head");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_request_head_rewritten);
	tcase_add_test(tc, test_request_http10_without_host_gets_one);
	tcase_add_test(tc, test_request_absolute_form_replaces_host);
	tcase_add_test(tc, test_request_hop_by_hop_dropped);
	tcase_add_test(tc, test_request_forwarded_for_replaced);
	tcase_add_test(tc, test_request_max_forwards_counted);
	tcase_add_test(tc, test_response_head_rewritten);
	tcase_add_test(tc, test_heads_byte_by_byte_understood);
	tcase_add_test(tc, test_heads_large_pass);
	tc = t_case(suite, "connection");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_keep_alive_both_sides);
	tcase_add_test(tc, test_backend_kept_for_next_client);
	tcase_add_test(tc, test_client_close_obeyed);
	tcase_add_test(tc, test_http10_keep_alive_on_request);
	tcase_add_test(tc, test_pipelining_answered_in_order);
	tcase_add_test(tc, test_pipelining_bodies_kept_apart);
	tcase_add_test(tc, test_half_closed_client_answered);
	tc = t_case(suite, "body");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_upload_chunked_passes);
	tcase_add_test(tc, test_upload_collected_before_connect);
	tcase_add_test(tc, test_bodies_with_length_whole);
	tcase_add_test(tc, test_bodies_chunked_whole);
	tcase_add_test(tc, test_response_chunked_to_http10_plain);
	tcase_add_test(tc, test_response_until_close_framed);
	tcase_add_test(tc, test_responses_without_body);
	tc = t_case(suite, "interim");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_expect_continue_end_to_end);
	tcase_add_test(tc, test_expect_refused_by_backend_closes);
	tcase_add_test(tc, test_interim_responses_forwarded_to_http11);
	tc = t_case(suite, "closing");
	tcase_add_checked_fixture(tc, setup_closing, teardown);
	tcase_add_test(tc, test_no_persistence_closes_both);
	return suite;
}
