#include "test_http.h"

#include <inttypes.h>
#include <stdio.h>

#define FIELDS 40

static struct sconce_http_field fields[FIELDS];
static struct sconce_http_head head;
static char text[65536];

/* Reads a request made of a first line and fields. */
static ssize_t
request(const char *line, const char *rest)
{
	snprintf(text, sizeof(text), "%s\r\n%s\r\n", line, rest);
	sconce_http_request_init(&head, fields, FIELDS, 0);
	return sconce_http_parse(&head, text, strlen(text));
}

static ssize_t
response(const char *line, const char *rest, enum sconce_http_method answers)
{
	snprintf(text, sizeof(text), "%s\r\n%s\r\n", line, rest);
	sconce_http_response_init(&head, fields, FIELDS, 0, answers);
	return sconce_http_parse(&head, text, strlen(text));
}

static bool
is(struct sconce_http_slice s, const char *wanted)
{
	return s.length == strlen(wanted) && memcmp(sconce_http_at(text, s), wanted, s.length) == 0;
}

#define NONE	SCONCE_HTTP_BODY_NONE
#define LENGTH	SCONCE_HTTP_BODY_LENGTH
#define CHUNKED	SCONCE_HTTP_BODY_CHUNKED
#define CLOSE	SCONCE_HTTP_BODY_UNTIL_CLOSE
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define POST11	"POST / HTTP/1.1"
#define POST10	"POST / HTTP/1.0"
#define H	"Host: a\r\n"

static const struct {
	const char	*line, *fields;
	enum sconce_http_error error;
	int		status;
	enum sconce_http_body_kind body;
	uint64_t	length;
} requests[] = {
	/* one reading */
	{ POST11, H, SCONCE_HTTP_OK, 200, NONE, 0 },
	{ POST11, H "Content-Length: 0\r\n", SCONCE_HTTP_OK, 200, NONE, 0 },
	{ POST11, H "Content-Length: 5\r\n", SCONCE_HTTP_OK, 200, LENGTH, 5 },
	{ POST11, H "content-LENGTH:\t5 \t\r\n", SCONCE_HTTP_OK, 200, LENGTH, 5 },
	{ POST11, H "Content-Length: 00000000000000000000000005\r\n", SCONCE_HTTP_OK, 200, LENGTH, 5 },
	{ POST10, "Content-Length: 5\r\n", SCONCE_HTTP_OK, 200, LENGTH, 5 },
	{ POST11, H "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_OK, 200, CHUNKED, 0 },
	{ POST11, H "TRANSFER-encoding:Chunked\r\n", SCONCE_HTTP_OK, 200, CHUNKED, 0 },
	{ "GET / HTTP/1.1", H "Content-Length: 7\r\n", SCONCE_HTTP_OK, 200, LENGTH, 7 },
	{ POST11, H "X-Content-Length: 5\r\nContent-Lengths: 4\r\n", SCONCE_HTTP_OK, 200, NONE, 0 },
	/* Content-Length that is not one number */
	{ POST11, H "Content-Length:\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: +5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: -5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: -0\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 0x5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5.0\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 1e3\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 1_0\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: \"5\"\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5 5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5, 5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5,\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5;a\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: \xd9\xa5\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: five\r\n", SCONCE_HTTP_E_LENGTH, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5\r\nContent-Length: 5\r\n", SCONCE_HTTP_E_TWO_LENGTHS, 400, NONE, 0 },
	{ POST11, H "Content-Length: 5\r\ncontent-length: 6\r\n", SCONCE_HTTP_E_TWO_LENGTHS, 400, NONE, 0 },
	{ POST11, H "Content-Length: 0\r\nX: y\r\nContent-Length: 0\r\n", SCONCE_HTTP_E_TWO_LENGTHS, 400, NONE, 0 },
	{ POST11, H "Content-Length: 9223372036854775808\r\n", SCONCE_HTTP_E_LENGTH_TOO_LARGE, 413, NONE, 0 },
	{ POST11, H "Content-Length: 18446744073709551621\r\n", SCONCE_HTTP_E_LENGTH_TOO_LARGE, 413, NONE, 0 },
	{ POST11, H "Content-Length: 99999999999999999999999999\r\n", SCONCE_HTTP_E_LENGTH_TOO_LARGE, 413, NONE, 0 },
	{ POST11, H "Content_Length: 5\r\n", SCONCE_HTTP_E_NAME, 400, NONE, 0 },
	{ POST11, H "Content-Length: 0\r\nCONTENT_LENGTH: 5\r\n", SCONCE_HTTP_E_NAME, 400, NONE, 0 },
	{ POST11, H "Transfer_Encoding: chunked\r\n", SCONCE_HTTP_E_NAME, 400, NONE, 0 },
	/* both */
	{ POST11, H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", SCONCE_HTTP_E_LENGTH_AND_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", SCONCE_HTTP_E_LENGTH_AND_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", SCONCE_HTTP_E_LENGTH_AND_CODING, 400, NONE, 0 },
	/* Transfer-Encoding that is not one chunked */
	{ POST11, H "Transfer-Encoding:\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: identity\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: gzip\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: xchunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunkedx\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: \"chunked\"\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked;q=1\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked,\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: , chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked, chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked, identity\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked, gzip\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: gzip, chunked\r\n", SCONCE_HTTP_E_CODING_UNKNOWN, 501, NONE, 0 },
	{ POST11, H "Transfer-Encoding: identity, chunked\r\n", SCONCE_HTTP_E_CODING_UNKNOWN, 501, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: \xa0" "chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST10, "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_E_CODING_VERSION, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding : chunked\r\n", SCONCE_HTTP_E_SPACE_BEFORE_COLON, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding:\r\n chunked\r\n", SCONCE_HTTP_E_CODING, 400, NONE, 0 },
	{ POST11, H "X: y\r\n Transfer-Encoding: chunked\r\n", SCONCE_HTTP_E_FOLD, 400, NONE, 0 },
	{ POST11, H "X: y\nTransfer-Encoding: chunked\r\n", SCONCE_HTTP_E_BARE_LF, 400, NONE, 0 },
	{ POST11, H "X: y\rTransfer-Encoding: chunked\r\n", SCONCE_HTTP_E_BARE_CR, 400, NONE, 0 },
	{ POST11, H "Transfer-Encoding: \x0b" "chunked\r\n", SCONCE_HTTP_E_VALUE, 400, NONE, 0 },
	/* Host */
	{ POST11, "", SCONCE_HTTP_E_NO_HOST, 400, NONE, 0 },
	{ POST11, H H, SCONCE_HTTP_E_TWO_HOSTS, 400, NONE, 0 },
	{ POST11, H "hOST: b\r\n", SCONCE_HTTP_E_TWO_HOSTS, 400, NONE, 0 },
	{ POST10, H "Host: b\r\n", SCONCE_HTTP_E_TWO_HOSTS, 400, NONE, 0 },
	{ POST11, "Host:\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a, b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a,b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: u@a\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a/b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: http://a\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a:b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST11, "Host: a?b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ POST10, "Host: a b\r\n", SCONCE_HTTP_E_HOST, 400, NONE, 0 },
	{ "GET http://b/ HTTP/1.1", "", SCONCE_HTTP_E_NO_HOST, 400, NONE, 0 },
	/* Connection */
	{ POST11, H "Connection: a b\r\n", SCONCE_HTTP_E_CONNECTION, 400, NONE, 0 },
	{ POST11, H "Connection: close;x\r\n", SCONCE_HTTP_E_CONNECTION, 400, NONE, 0 },
	{ POST11, H "Connection: Content-Length\r\nContent-Length: 5\r\n", SCONCE_HTTP_E_CONNECTION, 400, NONE, 0 },
	{ POST11, H "Connection: close, host\r\n", SCONCE_HTTP_E_CONNECTION, 400, NONE, 0 },
	{ POST11, H "Connection:\r\nConnection: ,,close,\r\n", SCONCE_HTTP_OK, 200, NONE, 0 },
	/* Expect */
	{ POST11, H "Expect: 100-Continue\r\nContent-Length: 5\r\n", SCONCE_HTTP_OK, 200, LENGTH, 5 },
	{ POST11, H "Expect: 200-ok\r\n", SCONCE_HTTP_E_EXPECT, 417, NONE, 0 },
	{ POST11, H "Expect:\r\n", SCONCE_HTTP_E_EXPECT, 417, NONE, 0 },
	{ POST11, H "Expect: y 100-continue\r\n", SCONCE_HTTP_E_EXPECT, 417, NONE, 0 },
	{ POST11, H "Expect: 100-continue, 100-continue\r\n", SCONCE_HTTP_E_EXPECT, 417, NONE, 0 },
	{ POST11, H "Expect: 100-continue\r\nExpect: 100-continue\r\n", SCONCE_HTTP_E_EXPECT, 417, NONE, 0 },
	{ POST10, "Expect: whatever\r\nExpect: x\r\n", SCONCE_HTTP_OK, 200, NONE, 0 },
	/* target */
	{ "CONNECT a:443 HTTP/1.1", H, SCONCE_HTTP_E_CONNECT, 501, NONE, 0 },
	{ "CONNECT / HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "CONNECT http://a/ HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET a:443 HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET * HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "OPTIONS ** HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "OPTIONS * HTTP/1.1", H, SCONCE_HTTP_OK, 200, NONE, 0 },
	{ "options * HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET index.html HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET ?q HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http:/a HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http:// HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http:///x HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http://u@a/ HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http://a:x/ HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET http://a\\b/ HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET ftp://a/ HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
	{ "GET file:///etc/passwd HTTP/1.1", H, SCONCE_HTTP_E_TARGET, 400, NONE, 0 },
};

/* A request has one reading of where its body ends and whom it is for, or is refused with its status. */
/* HZ-4 */
START_TEST(test_request_framing_table_one_reading_or_refused)
{
	ssize_t n = request(requests[_i].line, requests[_i].fields);

	ck_assert_msg(head.error == requests[_i].error, "%s: %s", text, sconce_http_error_text(head.error));
	ck_assert_int_eq(sconce_http_error_status(head.error), requests[_i].status);
	if (requests[_i].error != SCONCE_HTTP_OK) {
		ck_assert_int_eq(n, -EBADMSG);
		return;
	}
	ck_assert_int_eq(n, (ssize_t)strlen(text));
	ck_assert_int_eq(head.body, requests[_i].body);
	ck_assert_uint_eq(head.content_length, requests[_i].length);
}
END_TEST

/* Every power of two, and one more and less, is the length it says or is refused; never another. */
/* HZ-3 */
START_TEST(test_content_length_powers_of_two_exact_or_refused)
{
	for (int k = 0; k <= 64; k++)
		for (int d = -1; d <= 1; d++) {
			unsigned __int128 wide = ((unsigned __int128)1 << k) + (unsigned __int128)(__int128)d;
			uint64_t low = (uint64_t)(wide % 10000000000u), high = (uint64_t)(wide / 10000000000u);
			char field[80];

			snprintf(field, sizeof(field), H "Content-Length: %" PRIu64 "%010" PRIu64 "\r\n", high, low);
			request(POST11, field);
			if (wide > SCONCE_HTTP_LENGTH_MAX) {
				ck_assert_int_eq(head.error, SCONCE_HTTP_E_LENGTH_TOO_LARGE);
				continue;
			}
			ck_assert_int_eq(head.error, SCONCE_HTTP_OK);
			ck_assert(head.content_length == wide);
			ck_assert(head.has_length);
			ck_assert_int_eq(head.body, wide == 0 ? NONE : LENGTH);
		}
	ck_assert_int_eq(SCONCE_HTTP_LENGTH_MAX, INT64_MAX);
}
END_TEST

static const struct {
	const char	*line, *fields;
	enum sconce_http_method answers;
	enum sconce_http_error error;
	enum sconce_http_body_kind body;
	bool		keep_alive;
} responses[] = {
	{ "HTTP/1.1 200 OK", "Content-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, LENGTH, true },
	{ "HTTP/1.1 200 OK", "Content-Length: 0\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, CHUNKED, true },
	{ "HTTP/1.1 200 OK", "", SCONCE_HTTP_GET, SCONCE_HTTP_OK, CLOSE, false },
	{ "HTTP/1.0 200 OK", "", SCONCE_HTTP_GET, SCONCE_HTTP_OK, CLOSE, false },
	{ "HTTP/1.0 200 OK", "Connection: keep-alive\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, CLOSE, false },
	{ "HTTP/1.0 200 OK", "Connection: keep-alive\r\nContent-Length: 1\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, LENGTH, true },
	{ "HTTP/1.0 200 OK", "Content-Length: 1\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, LENGTH, false },
	{ "HTTP/1.1 200 OK", "Connection: close\r\nContent-Length: 1\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, LENGTH, false },
	/* no body whatever the fields say */
	{ "HTTP/1.1 200 OK", "Content-Length: 5\r\n", SCONCE_HTTP_HEAD, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_HEAD, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 200 OK", "", SCONCE_HTTP_HEAD, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 304 Not Modified", "Content-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 304 Not Modified", "", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 204 No Content", "", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 204 No Content", "Content-Length: 0\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 100 Continue", "", SCONCE_HTTP_POST, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 103 Early Hints", "Link: x\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
	{ "HTTP/1.1 101 S", "Upgrade: x\r\nConnection: upgrade\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, false },
	/* conflicts */
	{ "HTTP/1.1 204 No Content", "Content-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_BODY_FORBIDDEN, NONE, false },
	{ "HTTP/1.1 204 No Content", "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_BODY_FORBIDDEN, NONE, false },
	{ "HTTP/1.1 204 No Content", "Content-Length: 5\r\n", SCONCE_HTTP_HEAD, SCONCE_HTTP_E_BODY_FORBIDDEN, NONE, false },
	{ "HTTP/1.1 100 Continue", "Content-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_BODY_FORBIDDEN, NONE, false },
	{ "HTTP/1.1 101 S", "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_BODY_FORBIDDEN, NONE, false },
	{ "HTTP/1.1 200 OK", "Content-Length: 5\r\nContent-Length: 6\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_TWO_LENGTHS, NONE, false },
	{ "HTTP/1.1 200 OK", "Content-Length: 5\r\nContent-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_TWO_LENGTHS, NONE, false },
	{ "HTTP/1.1 200 OK", "Content-Length: 5, 6\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_LENGTH, NONE, false },
	{ "HTTP/1.1 200 OK", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_LENGTH_AND_CODING, NONE, false },
	{ "HTTP/1.1 304 X", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_LENGTH_AND_CODING, NONE, false },
	{ "HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_CODING_VERSION, NONE, false },
	{ "HTTP/1.1 200 OK", "Transfer-Encoding: gzip\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_CODING, NONE, false },
	{ "HTTP/1.1 200 OK", "Connection: content-length\r\nContent-Length: 5\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_E_CONNECTION, NONE, false },
	/* fields that only requests have mean nothing here */
	{ "HTTP/1.1 200 OK", "Host: a b\r\nHost: c\r\nExpect: x\r\nContent-Length: 0\r\n", SCONCE_HTTP_GET, SCONCE_HTTP_OK, NONE, true },
};

/* A response has one reading of where its body ends, or is refused: no byte of it can be taken for the next. */
/* HZ-5 */
START_TEST(test_response_framing_table_one_reading_or_refused)
{
	response(responses[_i].line, responses[_i].fields, responses[_i].answers);
	ck_assert_msg(head.error == responses[_i].error, "%s: %s", text, sconce_http_error_text(head.error));
	if (responses[_i].error != SCONCE_HTTP_OK)
		return;
	ck_assert_int_eq(head.body, responses[_i].body);
	ck_assert_int_eq(head.keep_alive, responses[_i].keep_alive);
}
END_TEST

/* A length that frames nothing is still told: answers to HEAD and 304 carry it on. */
START_TEST(test_response_head_length_is_told)
{
	response("HTTP/1.1 200 OK", "Content-Length: 5\r\n", SCONCE_HTTP_HEAD);
	ck_assert(head.has_length);
	ck_assert_uint_eq(head.content_length, 5);
	response("HTTP/1.1 200 OK", "", SCONCE_HTTP_HEAD);
	ck_assert(!head.has_length);
}
END_TEST

/* The wish to stay connected follows the version and the options, and close wins. */
START_TEST(test_request_keep_alive_by_version_and_options)
{
	static const struct { const char *line, *fields; bool wish; } table[] = {
		{ POST11, H, true },
		{ POST11, H "Connection: Close\r\n", false },
		{ POST11, H "Connection: x, close\r\n", false },
		{ POST11, H "Connection: x\r\nConnection: close\r\n", false },
		{ POST11, H "Connection: keep-alive\r\n", true },
		{ POST11, H "Connection: closed\r\n", true },
		{ POST11, H "Proxy-Connection: close\r\n", true },
		{ POST10, "", false },
		{ POST10, "Connection: Keep-Alive\r\n", true },
		{ POST10, "Connection: keep-alive, close\r\n", false },
		{ POST10, "Keep-Alive: timeout=5\r\n", false },
	};

	for (int i = 0; i < COUNT(table); i++) {
		ck_assert_int_gt(request(table[i].line, table[i].fields), 0);
		ck_assert_msg(head.keep_alive == table[i].wish, "%s", text);
	}
}
END_TEST

/* A client waits for 100 only with a body in sight, and never in HTTP/1.0, where the field must not travel on. */
START_TEST(test_request_expect_only_with_body_in_1_1)
{
	request(POST11, H "Expect: 100-continue\r\nContent-Length: 1\r\n");
	ck_assert(head.expect_continue);
	ck_assert(!fields[1].drop);
	request(POST11, H "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n");
	ck_assert(head.expect_continue);
	request(POST11, H "Expect: 100-continue\r\nContent-Length: 0\r\n");
	ck_assert(!head.expect_continue);
	request(POST10, "Expect: 100-continue\r\nContent-Length: 1\r\n");
	ck_assert(!head.expect_continue);
	ck_assert(fields[0].drop);
}
END_TEST

/* An upgrade needs the field, the option and HTTP/1.1; in a response, 101 as well. */
START_TEST(test_upgrade_needs_field_and_option)
{
	request(POST11, H "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	ck_assert(head.upgrade);
	request(POST11, H "Upgrade: websocket\r\n");
	ck_assert(!head.upgrade);
	request(POST11, H "Connection: upgrade\r\n");
	ck_assert(!head.upgrade);
	request(POST10, "Connection: upgrade\r\nUpgrade: x\r\n");
	ck_assert(!head.upgrade);
	response("HTTP/1.1 101 S", "Connection: upgrade\r\nUpgrade: x\r\n", SCONCE_HTTP_GET);
	ck_assert(head.upgrade);
	response("HTTP/1.1 200 S", "Connection: upgrade\r\nUpgrade: x\r\n", SCONCE_HTTP_GET);
	ck_assert(!head.upgrade);
	response("HTTP/1.1 101 S", "", SCONCE_HTTP_GET);
	ck_assert(!head.upgrade);
}
END_TEST

/* What belongs to one connection, or is named as such, is marked; the rest is not. */
/* HZ-4 */
START_TEST(test_request_hop_by_hop_fields_marked)
{
	static const bool drop[] = { true, false, true, true, true, true, true, true, true, true, true, false,
	    true, true, true, false };

	ck_assert_int_gt(request(POST11, H "Accept: x\r\nX-A: 1\r\nConnection: x-a, Keep-Alive\r\n"
	    "Keep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nProxy-Connection: x\r\n"
	    "Proxy-Authorization: x\r\nProxy-Authenticate: x\r\nX-AB: 2\r\nx-A: 3\r\nConnection: ,X-Late,\r\n"
	    "X-Late: 1\r\nX-Lat: 1\r\n"), 0);
	ck_assert_uint_eq(head.field_count, COUNT(drop));
	for (int i = 0; i < COUNT(drop); i++)
		ck_assert_msg(fields[i].drop == drop[i], "field %d", i);
	request(POST11, H "Transfer-Encoding: chunked\r\n");
	ck_assert(fields[1].drop);
	request(POST11, H "Content-Length: 1\r\n");
	ck_assert(fields[1].drop);
	request(POST11, H "Connection: expect\r\nExpect: 100-continue\r\n");
	ck_assert(fields[2].drop);
}
END_TEST

/* Connection options are bounded, over all Connection fields of a message. */
/* HZ-3 */
START_TEST(test_connection_option_count_exact)
{
	for (unsigned count = 31; count <= 33; count++) {
		char options[512] = H "Connection: a, b\r\nConnection: ";

		for (unsigned i = 2; i < count; i++)
			strcat(options, "x,,");
		strcat(options, "\r\n");
		request(POST11, options);
		ck_assert_int_eq(head.error, count > SCONCE_HTTP_CONNECTION_OPTIONS ?
		    SCONCE_HTTP_E_CONNECTION : SCONCE_HTTP_OK);
	}
}
END_TEST

/* The authority of an absolute target replaces Host, and the path is what stands behind it. */
/* HZ-4 */
START_TEST(test_request_absolute_form_split)
{
	static const struct { const char *target, *authority, *path; } table[] = {
		{ "http://b.example:80/x?y", "b.example:80", "/x?y" },
		{ "HTTP://b/", "b", "/" },
		{ "https://[::1]:443/a", "[::1]:443", "/a" },
		{ "http://b", "b", "" },
		{ "http://b?q=/", "b", "?q=/" },
		{ "/x", "a", "/x" },
		{ "/http://c/", "a", "/http://c/" },
	};

	for (int i = 0; i < COUNT(table); i++) {
		char line[80];

		snprintf(line, sizeof(line), "GET %s HTTP/1.1", table[i].target);
		ck_assert_int_gt(request(line, H), 0);
		ck_assert(is(head.target, table[i].target));
		ck_assert(is(head.authority, table[i].authority));
		ck_assert(is(head.path, table[i].path));
	}
	ck_assert_int_gt(request("GET / HTTP/1.0", ""), 0);
	ck_assert_uint_eq(head.authority.length, 0);
	ck_assert_int_gt(request("GET http://b/ HTTP/1.0", ""), 0);
	ck_assert(is(head.authority, "b"));
}
END_TEST

/* Methods are known by their exact text. */
START_TEST(test_request_method_known_by_exact_text)
{
	static const struct { const char *name; enum sconce_http_method id; } table[] = {
		{ "GET", SCONCE_HTTP_GET }, { "HEAD", SCONCE_HTTP_HEAD }, { "POST", SCONCE_HTTP_POST },
		{ "PUT", SCONCE_HTTP_PUT }, { "DELETE", SCONCE_HTTP_DELETE }, { "TRACE", SCONCE_HTTP_TRACE },
		{ "OPTIONS", SCONCE_HTTP_OPTIONS }, { "PATCH", SCONCE_HTTP_PATCH },
		{ "get", SCONCE_HTTP_OTHER }, { "GETS", SCONCE_HTTP_OTHER }, { "GE", SCONCE_HTTP_OTHER },
		{ "HEAd", SCONCE_HTTP_OTHER }, { "PROPFIND", SCONCE_HTTP_OTHER }, { "P", SCONCE_HTTP_OTHER },
	};

	for (int i = 0; i < COUNT(table); i++) {
		char line[80];

		snprintf(line, sizeof(line), "%s / HTTP/1.1", table[i].name);
		ck_assert_int_gt(request(line, H), 0);
		ck_assert_int_eq(head.method_id, table[i].id);
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("frame");
	TCase *tc = t_case(s, "request");

	tcase_add_loop_test(tc, test_request_framing_table_one_reading_or_refused, 0, COUNT(requests));
	tcase_add_test(tc, test_content_length_powers_of_two_exact_or_refused);
	tcase_add_test(tc, test_request_keep_alive_by_version_and_options);
	tcase_add_test(tc, test_request_expect_only_with_body_in_1_1);
	tcase_add_test(tc, test_upgrade_needs_field_and_option);
	tcase_add_test(tc, test_request_hop_by_hop_fields_marked);
	tcase_add_test(tc, test_connection_option_count_exact);
	tcase_add_test(tc, test_request_absolute_form_split);
	tcase_add_test(tc, test_request_method_known_by_exact_text);
	tc = t_case(s, "response");
	tcase_add_loop_test(tc, test_response_framing_table_one_reading_or_refused, 0, COUNT(responses));
	tcase_add_test(tc, test_response_head_length_is_told);
	return s;
}
