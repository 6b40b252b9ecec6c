/* sconced against messages that can be read in two ways: refused and closed, or passed on in the one normal form. */
#include "harness.h"
#include "proxy_kit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

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

/* ---- requests ---- */

static const struct {
	int		status;
	const char	*bytes;
	size_t		len;
} refused[] = {
#define REFUSED(status, literal) { status, literal, sizeof(literal) - 1 }
	/* two lengths, or a length and a coding */
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" SMUGGLED),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n" SMUGGLED),
	REFUSED(400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
	/* lengths that are no number */
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x4\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4 4\r\n\r\nabcd"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nabcd"),
	REFUSED(413, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551620\r\n\r\nabcd"),
	/* codings */
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"),
	REFUSED(501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
	/* names */
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n"),
	/* HZ-6: line ends and control characters */
	REFUSED(400, "GET / HTTP/1.1\nHost: h\n\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rContent-Length: 9\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n"),
	REFUSED(400, "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n"),
	REFUSED(400, "GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n"),
	REFUSED(400, "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"),
	REFUSED(400, "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
	REFUSED(400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
	/* request line and Host */
	REFUSED(400, "GET / http/1.1\r\nHost: h\r\n\r\n"),
	REFUSED(400, "GET /\r\n\r\n"),
	REFUSED(505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
	REFUSED(505, "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
	REFUSED(501, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
	REFUSED(400, "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
	/* a connection option that would change the message at the next hop */
	REFUSED(400, "POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length\r\nContent-Length: 4\r\n\r\nabcd"),
	REFUSED(400, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Host\r\n\r\n"),
	REFUSED(417, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd"),
	/* chunks */
#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	REFUSED(400, CHUNKED "3\nabc\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "3;a\nabc\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "3\r\nabcd\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "3\r\nabc0\r\n\r\n"),
	REFUSED(400, CHUNKED " 3\r\nabc\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "-3\r\nabc\r\n0\r\n\r\n"),
	REFUSED(413, CHUNKED "ffffffffffffffff\r\nabc"),
	REFUSED(400, CHUNKED "10000000000000003\r\nabc"),
	REFUSED(400, CHUNKED "\r\nabc\r\n0\r\n\r\n"),
	REFUSED(400, CHUNKED "0\r\nX : y\r\n\r\n"),
	REFUSED(400, CHUNKED "0\r\nX: y\n\r\n"),
};

/* HZ-4, HZ-6: what is ambiguous is answered with the error and closed, and no backend hears of it. */
START_TEST(test_ambiguous_request_refused)
{
	char status[32];
	int client = kit_client(&k);
	const char *said;

	snprintf(status, sizeof(status), "HTTP/1.1 %d ", refused[_i].status);
	kit_send_bytes(client, refused[_i].bytes, refused[_i].len);
	said = kit_rest(client, NULL);
	kit_assert_begins(said, status);
	kit_assert_line(said, "Connection: close");
	kit_assert_line(said, "Server: sconced");
	snprintf(status, sizeof(status), "<h1>%d - ", refused[_i].status);
	ck_assert_msg(strstr(said, status) != NULL, "%s", said);
	ck_assert_msg(strstr(said + 1, "HTTP/1.1 ") == NULL, "two answers: %s", said);
	ck_assert(!kit_accept_pending(&k, 0, 0));
	close(client);
}
END_TEST

static const struct {
	const char	*request;
	const char	*head;			/* as the backend must get it, up to X-Forwarded-For */
	const char	*framing;
	const char	*body;
} normal[] = {
	{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 004\r\n\r\nabcd",
	    "POST / HTTP/1.1\r\nHost: h\r\n", "Content-Length: 4", "abcd" },
	{ "POST / HTTP/1.1\r\nHost: h\r\ncontent-length:\t4 \r\n\r\nabcd",
	    "POST / HTTP/1.1\r\nHost: h\r\n", "Content-Length: 4", "abcd" },
	{ "POST / HTTP/1.1\r\nHost: h\r\nTRANSFER-ENCODING: Chunked\r\n\r\n004;x=y\r\nabcd\r\n000\r\nT: u\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: h\r\n", "Transfer-Encoding: chunked", NULL },
	{ "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: h\r\n", "Content-Length: 0", "" },
	{ "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n", NULL, "" },
	{ "GET /%0d%0aX:%20y%00 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /%0d%0aX:%20y%00 HTTP/1.1\r\nHost: h\r\n", NULL, "" },
	{ "GET HTTP://H:80?q HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: H:80\r\n", NULL, "" },
	{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: Transfer-Encoding\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n", NULL, "" },
};

/* HZ-4: what can be read in one way only goes on in one form, and the next request on the connection is the next. */
START_TEST(test_odd_request_passed_in_normal_form)
{
	int client = kit_client(&k), backend;
	const char *head;

	kit_send(client, normal[_i].request);
	kit_send(client, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
	backend = kit_accept(&k, 0);
	head = kit_head(backend);
	kit_assert_begins(head, normal[_i].head);
	kit_assert_begins(head + strlen(normal[_i].head), "X-Forwarded-For: 127.0.0.1\r\nVia: 1.1 sconced\r\nConnection: ");
	if (normal[_i].framing != NULL)
		kit_assert_line(head, normal[_i].framing);
	if (normal[_i].body == NULL)
		ck_assert_str_eq(kit_chunked(backend), "abcd");
	else
		ck_assert_str_eq(kit_bytes(backend, strlen(normal[_i].body)), normal[_i].body);
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(backend), "GET /next HTTP/1.1\r\n");
	kit_send(backend, OK_2);
	for (int i = 0; i < 2; i++) {
		kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
		kit_bytes(client, 2);
	}
	close(client);
	close(backend);
}
END_TEST

/* A bad chunk deep in an upload that is already on its way: 400, and the backend's connection goes. */
START_TEST(test_bad_chunk_after_backend_has_begun)
{
	int client = kit_client(&k), backend;
	static char kilobytes[200 * 1024];

	memset(kilobytes, 'x', sizeof(kilobytes));
	kit_send(client, CHUNKED "32000\r\n");
	kit_send_bytes(client, kilobytes, sizeof(kilobytes));
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(client, "\r\nzz\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 400 Bad Request\r\n");
	kit_rest(backend, NULL);			/* ends, without the last chunk */
	close(client);
	close(backend);
}
END_TEST

/* PB-20, HZ-8: a head without an end is refused at 64 KiB; so is a target, and one with too many fields. */
START_TEST(test_head_too_large_refused)
{
	static char big[70000];
	int client = kit_client(&k);

	memset(big, 'x', sizeof(big) - 1);
	kit_send(client, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
	kit_send(client, big);
	kit_assert_begins(kit_rest(client, NULL), "HTTP/1.1 431 ");
	close(client);
	client = kit_client(&k);
	kit_send(client, "GET /");
	kit_send(client, big);
	kit_assert_begins(kit_rest(client, NULL), "HTTP/1.1 414 ");
	close(client);
	client = kit_client(&k);
	kit_send(client, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 200; i++)
		kit_send(client, "a: b\r\n");
	kit_assert_begins(kit_rest(client, NULL), "HTTP/1.1 431 ");
	close(client);
}
END_TEST

/* ---- responses ---- */

static const char *const bad_responses[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	"HTTP/2 200 OK\r\n\r\n",
	"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
	"hello there, this is no HTTP at all\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
};

/* HZ-5: a response that is not clear becomes a 502, and its connection is not used again. */
START_TEST(test_bad_response_is_502)
{
	int client = kit_client(&k), backend = -1;

	kit_exchange(&k, client, &backend, GET, bad_responses[_i]);
	kit_assert_begins(kit_head(client), "HTTP/1.1 502 Bad Gateway\r\n");
	kit_gone(backend);
	close(client);
	close(backend);
}
END_TEST

/* What follows a response that has no body, or more body than was announced, reaches nobody. */
static const struct {
	const char	*request;
	const char	*response;
	size_t		body;			/* bytes of it that are the client's */
} splits[] = {
	{ "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!", 0 },
	{ GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nEVIL!", 0 },
	{ GET, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", 0 },
	{ GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEVIL", 2 },
	{ GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", 2 },
};

/* HZ-5: the next request gets a connection of its own, and its own answer.  Where one answer was longer than it said, the
 * next may be: for a while no connection to the node is used twice. */
START_TEST(test_bytes_behind_response_reach_nobody)
{
	int client = kit_client(&k), poisoned = -1, backend = -1;

	kit_exchange(&k, client, &poisoned, splits[_i].request, splits[_i].response);
	kit_assert_no(kit_head(client), "EVIL");
	kit_assert_no(kit_bytes(client, splits[_i].body), "EVIL");
	kit_gone(poisoned);
	kit_log(&k, "sends more than its answers");
	kit_exchange(&k, client, &backend, GET, OK_2);
	kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
	ck_assert_str_eq(kit_bytes(client, 2), "ok");
	kit_gone(backend);
	close(client);
	close(poisoned);
	close(backend);
}
END_TEST

/* HZ-5: bytes on an idle connection, long after the response or just before the next request. */
START_TEST(test_unsolicited_bytes_close_idle_backend)
{
	int client = kit_client(&k), poisoned = -1, backend = -1;

	kit_exchange(&k, client, &poisoned, GET, OK_2);
	kit_head(client);
	kit_bytes(client, 2);
	kit_send(poisoned, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL");
	kit_exchange(&k, client, &backend, GET, OK_2);
	kit_head(client);
	ck_assert_str_eq(kit_bytes(client, 2), "ok");
	kit_gone(poisoned);
	close(client);
	close(poisoned);
	close(backend);
}
END_TEST

/* HZ-18: what a backend says wrong is logged on one line, without its control characters. */
START_TEST(test_bad_response_logged_on_one_line)
{
	int client = kit_client(&k), backend = -1;
	const char *said;

	kit_exchange(&k, client, &backend, GET, "HTTP/1.1 200 \x1b[31mred\nsconced: forged\r\n\r\n");
	kit_head(client);
	said = kit_log(&k, "bad answer");
	kit_assert_no(said, "forged");
	kit_assert_no(said, "\x1b");
	ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
	close(client);
	close(backend);
}
END_TEST

/* A request that goes no further says so in words. */
START_TEST(test_last_hop_is_501_with_a_sentence)
{
	int client = kit_client(&k);

	kit_send(client, "OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
	kit_assert_begins(kit_head(client), "HTTP/1.1 501 Not Implemented\r\n");
	ck_assert_str_eq(kit_rest(client, NULL), "<h1>501 - Not Implemented</h1>\nWhat the request asks for is not done here.\n");
	close(client);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy_refuse");
	TCase *tc = t_case(suite, "request");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_ambiguous_request_refused, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_loop_test(tc, test_odd_request_passed_in_normal_form, 0, (int)(sizeof(normal) / sizeof(normal[0])));
	tcase_add_test(tc, test_bad_chunk_after_backend_has_begun);
	tcase_add_test(tc, test_head_too_large_refused);
	tc = t_case(suite, "response");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_bad_response_is_502, 0, (int)(sizeof(bad_responses) / sizeof(bad_responses[0])));
	tcase_add_loop_test(tc, test_bytes_behind_response_reach_nobody, 0, (int)(sizeof(splits) / sizeof(splits[0])));
	tcase_add_test(tc, test_unsolicited_bytes_close_idle_backend);
	tcase_add_test(tc, test_bad_response_logged_on_one_line);
	tcase_add_test(tc, test_last_hop_is_501_with_a_sentence);
	return suite;
}
