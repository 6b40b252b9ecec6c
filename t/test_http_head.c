#include "test_http.h"

#include <stdio.h>

#define FIELDS 8

static struct sconce_http_field fields[FIELDS], fields_cut[FIELDS];
static struct sconce_http_head head, head_cut;

static ssize_t
request(const char *text)
{
	sconce_http_request_init(&head, fields, FIELDS, 0);
	return sconce_http_parse(&head, text, strlen(text));
}

static ssize_t
response(const char *text)
{
	sconce_http_response_init(&head, fields, FIELDS, 0, SCONCE_HTTP_GET);
	return sconce_http_parse(&head, text, strlen(text));
}

static bool
is(const char *buf, struct sconce_http_slice s, const char *wanted)
{
	return s.length == strlen(wanted) && memcmp(sconce_http_at(buf, s), wanted, s.length) == 0;
}

#define REST "Host: a\r\n\r\n"

static const char plain[] =
    "GET /index.html?q=1 HTTP/1.1\r\nHost: example.com\r\nX-Empty:\r\nX-Pad: \t one two \t\r\n"
    "X-Tab: a\tb\r\n\r\n";

/* Each part of a request is where its slice says, without the white space around it. */
START_TEST(test_parse_request_slices_point_at_parts)
{
	static const char *const names[] = { "Host", "X-Empty", "X-Pad", "X-Tab" };
	static const char *const values[] = { "example.com", "", "one two", "a\tb" };

	ck_assert_int_eq(request(plain), sizeof(plain) - 1);
	ck_assert(is(plain, head.method, "GET"));
	ck_assert(is(plain, head.target, "/index.html?q=1"));
	ck_assert_uint_eq(head.minor, 1);
	ck_assert(!head.response);
	ck_assert_uint_eq(head.field_count, 4);
	for (int i = 0; i < 4; i++) {
		ck_assert(is(plain, fields[i].name, names[i]));
		ck_assert(is(plain, fields[i].value, values[i]));
	}
}
END_TEST

/* Each part of a response is where its slice says; the reason may be empty. */
START_TEST(test_parse_response_slices_point_at_parts)
{
	static const char text[] = "HTTP/1.0 404 Not \xe9 Found\r\nServer: x\r\n\r\nbody";
	static const char bare[] = "HTTP/1.1 599 \r\n\r\n";

	ck_assert_int_eq(response(text), sizeof(text) - 1 - 4);
	ck_assert_uint_eq(head.status, 404);
	ck_assert_uint_eq(head.minor, 0);
	ck_assert(head.response);
	ck_assert(is(text, head.reason, "Not \xe9 Found"));
	ck_assert(is(text, fields[0].value, "x"));
	ck_assert_int_eq(response(bare), sizeof(bare) - 1);
	ck_assert_uint_eq(head.reason.length, 0);
}
END_TEST

static const struct verdict {
	const char	*text;
	enum sconce_http_error error;
	int		status;
} requests[] = {
	/* accepted */
	{ "GET / HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	{ "GET / HTTP/1.0\r\n\r\n", SCONCE_HTTP_OK, 200 },
	{ "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	{ "get /~!$&'()*+,;=:@%20\"<>\\^`{|} HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	{ "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456 / HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	{ "GET // HTTP/1.1\r\n" REST, SCONCE_HTTP_OK, 200 },
	/* empty lines */
	{ "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_EMPTY_LINES, 400 },
	{ "\nGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_BARE_LF, 400 },
	{ "\r\n\nGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_BARE_LF, 400 },
	{ "\rGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_BARE_CR, 400 },
	{ "\r\r\nGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_BARE_CR, 400 },
	/* method */
	{ " GET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_METHOD, 400 },
	{ "\tGET / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_METHOD, 400 },
	{ "GET\t/ HTTP/1.1\r\n" REST, SCONCE_HTTP_E_METHOD, 400 },
	{ "G@T / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_METHOD, 400 },
	{ "GET\r\n\r\n", SCONCE_HTTP_E_METHOD, 400 },
	{ "GET\n\n", SCONCE_HTTP_E_METHOD, 400 },
	{ "\x16\x03\x01\x02", SCONCE_HTTP_E_METHOD, 400 },
	{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567 / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_METHOD_TOO_LONG, 501 },
	/* target */
	{ "GET  / HTTP/1.1\r\n" REST, SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /\t HTTP/1.1\r\n" REST, SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /\tHTTP/1.1\r\n" REST, SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /\r\n\r\n", SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /\n", SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /a#b HTTP/1.1\r\n" REST, SCONCE_HTTP_E_TARGET, 400 },
	{ "GET /\xc3\xa9 HTTP/1.1\r\n" REST, SCONCE_HTTP_E_TARGET, 400 },
	/* version */
	{ "GET / \r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET /  HTTP/1.1\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / a HTTP/1.1\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / http/1.1\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/1.1 \r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/1.1\t\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/1.10\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/11\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/01.1\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/1.\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/+1.1\r\n" REST, SCONCE_HTTP_E_VERSION_SYNTAX, 400 },
	{ "GET / HTTP/1.1\n" REST, SCONCE_HTTP_E_BARE_LF, 400 },
	{ "GET / HTTP/1.1\rHost: a\r\n\r\n", SCONCE_HTTP_E_BARE_CR, 400 },
	{ "GET / HTTP/1.1\r\r\n" REST, SCONCE_HTTP_E_BARE_CR, 400 },
	{ "GET / HTTP/1.2\r\n" REST, SCONCE_HTTP_E_VERSION, 505 },
	{ "GET / HTTP/1.9\n" REST, SCONCE_HTTP_E_VERSION, 505 },
	{ "GET / HTTP/0.9\r\n" REST, SCONCE_HTTP_E_VERSION, 505 },
	{ "GET / HTTP/2.0\r\n" REST, SCONCE_HTTP_E_VERSION, 505 },
	{ "GET / HTTP/3.1\r\n" REST, SCONCE_HTTP_E_VERSION, 505 },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SCONCE_HTTP_E_VERSION, 505 },
	/* field names */
	{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", SCONCE_HTTP_E_SPACE_BEFORE_COLON, 400 },
	{ "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", SCONCE_HTTP_E_SPACE_BEFORE_COLON, 400 },
	{ "GET / HTTP/1.1\r\nHost a\r\n\r\n", SCONCE_HTTP_E_SPACE_BEFORE_COLON, 400 },
	{ "GET / HTTP/1.1\r\n: a\r\n" REST, SCONCE_HTTP_E_NAME, 400 },
	{ "GET / HTTP/1.1\r\nHost\r\n\r\n", SCONCE_HTTP_E_NAME, 400 },
	{ "GET / HTTP/1.1\r\nHost\n\r\n", SCONCE_HTTP_E_BARE_LF, 400 },
	{ "GET / HTTP/1.1\r\nHo(st: a\r\n\r\n", SCONCE_HTTP_E_NAME, 400 },
	{ "GET / HTTP/1.1\r\n\"Host\": a\r\n\r\n", SCONCE_HTTP_E_NAME, 400 },
	{ "GET / HTTP/1.1\r\nH\xf6st: a\r\n\r\n", SCONCE_HTTP_E_NAME, 400 },
	{ "GET / HTTP/1.1\r\n\x0bHost: a\r\n\r\n", SCONCE_HTTP_E_NAME, 400 },
	/* folding */
	{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", SCONCE_HTTP_E_FOLD, 400 },
	{ "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", SCONCE_HTTP_E_FOLD, 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", SCONCE_HTTP_E_FOLD, 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\t\r\n\r\n", SCONCE_HTTP_E_FOLD, 400 },
	/* values */
	{ "GET / HTTP/1.1\r\nX: a\x01\r\n" REST, SCONCE_HTTP_E_VALUE, 400 },
	{ "GET / HTTP/1.1\r\nX: \x7f\r\n" REST, SCONCE_HTTP_E_VALUE, 400 },
	{ "GET / HTTP/1.1\r\nX: a\x0b\r\n" REST, SCONCE_HTTP_E_VALUE, 400 },
	{ "GET / HTTP/1.1\r\nX: a\x0c\r\n" REST, SCONCE_HTTP_E_VALUE, 400 },
	{ "GET / HTTP/1.1\r\nX: a\n" REST, SCONCE_HTTP_E_BARE_LF, 400 },
	{ "GET / HTTP/1.1\r\nX: a\rb\r\n" REST, SCONCE_HTTP_E_BARE_CR, 400 },
	{ "GET / HTTP/1.1\r\nX: a\r\r\n" REST, SCONCE_HTTP_E_BARE_CR, 400 },
	{ "GET / HTTP/1.1\r\nX:\n" REST, SCONCE_HTTP_E_BARE_LF, 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\rX", SCONCE_HTTP_E_BARE_CR, 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\n", SCONCE_HTTP_E_BARE_LF, 400 },
	{ "GET / HTTP/1.1\n\n", SCONCE_HTTP_E_BARE_LF, 400 },
	/* too many fields: 8 fit */
	{ "GET / HTTP/1.0\r\na:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\na:8\r\n\r\n", SCONCE_HTTP_OK, 200 },
	{ "GET / HTTP/1.0\r\na:1\r\na:2\r\na:3\r\na:4\r\na:5\r\na:6\r\na:7\r\na:8\r\na:9\r\n\r\n",
	    SCONCE_HTTP_E_TOO_MANY_FIELDS, 431 },
};

static const struct verdict responses[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", SCONCE_HTTP_OK, 200 },
	{ "HTTP/1.0 100 \r\n\r\n", SCONCE_HTTP_OK, 200 },
	{ "HTTP/1.1 599 a\tb \xff\r\n\r\n", SCONCE_HTTP_OK, 200 },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ " HTTP/1.1 200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1  200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 200\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 20 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 2000 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 099 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 600 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 999 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 2x0 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1 -20 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.1\t200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "http/1.1 200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "ICY 200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "<html>", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/1.10 200 OK\r\n\r\n", SCONCE_HTTP_E_STATUS_LINE, 502 },
	{ "HTTP/2.0 200 OK\r\n\r\n", SCONCE_HTTP_E_VERSION, 505 },
	{ "HTTP/0.9 200 OK\r\n\r\n", SCONCE_HTTP_E_VERSION, 505 },
	{ "HTTP/1.1 200 O\nK\r\n\r\n", SCONCE_HTTP_E_BARE_LF, 400 },
	{ "HTTP/1.1 200 OK\n\n", SCONCE_HTTP_E_BARE_LF, 400 },
	{ "HTTP/1.1 200 O\rK\r\n\r\n", SCONCE_HTTP_E_BARE_CR, 400 },
	{ "HTTP/1.1 200 O\x08K\r\n\r\n", SCONCE_HTTP_E_VALUE, 400 },
	{ "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SCONCE_HTTP_E_SPACE_BEFORE_COLON, 400 },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", SCONCE_HTTP_E_FOLD, 400 },
	{ "HTTP/1.1 200 OK\r\n\n", SCONCE_HTTP_E_BARE_LF, 400 },
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A request with any ambiguity of syntax is refused, with the status that says so. */
/* HZ-4 */
START_TEST(test_parse_request_table_accepted_or_refused)
{
	const struct verdict *v = &requests[_i];
	ssize_t n = request(v->text);

	ck_assert_msg(head.error == v->error, "%s: %s", v->text, sconce_http_error_text(head.error));
	ck_assert_int_eq(n, v->error == SCONCE_HTTP_OK ? (ssize_t)strlen(v->text) : -EBADMSG);
	ck_assert_int_eq(sconce_http_error_status(head.error), v->status);
}
END_TEST

/* So is a response. */
START_TEST(test_parse_response_table_accepted_or_refused)
{
	const struct verdict *v = &responses[_i];
	ssize_t n = response(v->text);

	ck_assert_msg(head.error == v->error, "%s: %s", v->text, sconce_http_error_text(head.error));
	ck_assert_int_eq(n, v->error == SCONCE_HTTP_OK ? (ssize_t)strlen(v->text) : -EBADMSG);
	ck_assert_int_eq(sconce_http_error_status(head.error), v->status);
}
END_TEST

/* Everything public of two heads, and their fields, is the same. */
static void
same_heads(const struct sconce_http_head *a, const struct sconce_http_head *b)
{
	ck_assert_int_eq(a->error, b->error);
	ck_assert_int_eq(a->begun, b->begun);
	if (a->error != SCONCE_HTTP_OK)
		return;
	ck_assert_int_eq(a->minor, b->minor);
	ck_assert_int_eq(a->keep_alive, b->keep_alive);
	ck_assert_int_eq(a->has_length, b->has_length);
	ck_assert_int_eq(a->expect_continue, b->expect_continue);
	ck_assert_int_eq(a->upgrade, b->upgrade);
	ck_assert_int_eq(a->status, b->status);
	ck_assert_int_eq(a->method_id, b->method_id);
	ck_assert_int_eq(a->body, b->body);
	ck_assert_uint_eq(a->content_length, b->content_length);
	ck_assert_mem_eq(&a->method, &b->method, sizeof(a->method));
	ck_assert_mem_eq(&a->target, &b->target, sizeof(a->target));
	ck_assert_mem_eq(&a->path, &b->path, sizeof(a->path));
	ck_assert_mem_eq(&a->authority, &b->authority, sizeof(a->authority));
	ck_assert_mem_eq(&a->reason, &b->reason, sizeof(a->reason));
	ck_assert_uint_eq(a->field_count, b->field_count);
	for (int i = 0; i < a->field_count; i++) {
		ck_assert_mem_eq(&a->fields[i].name, &b->fields[i].name, sizeof(a->fields[i].name));
		ck_assert_mem_eq(&a->fields[i].value, &b->fields[i].value, sizeof(a->fields[i].value));
		ck_assert_uint_eq(a->fields[i].id, b->fields[i].id);
		ck_assert_int_eq(a->fields[i].drop, b->fields[i].drop);
	}
}

static void
init(struct sconce_http_head *h, struct sconce_http_field *f, bool answer)
{
	if (answer)
		sconce_http_response_init(h, f, FIELDS, 0, SCONCE_HTTP_GET);
	else
		sconce_http_request_init(h, f, FIELDS, 0);
}

/* After `first` bytes and then each `step` more, the result is that of all at once, always at the first byte
 * that decides.  Each piece ends at an unmapped page, and the bytes move between calls. */
static void
same_in_pieces(const char *text, size_t len, bool answer, size_t first, size_t step)
{
	struct guarded g = guarded_new(len + 1);
	ssize_t n, whole;

	init(&head, fields, answer);
	whole = sconce_http_parse(&head, guarded_put(&g, text, len), len);
	init(&head_cut, fields_cut, answer);
	for (size_t at = first;; at += step) {
		at = at < len ? at : len;
		n = sconce_http_parse(&head_cut, guarded_put(&g, text, at), at);
		if (n != 0 || at == len)
			break;
	}
	ck_assert_int_eq(n, whole);
	same_heads(&head, &head_cut);
	guarded_free(&g);
}

static void
same_at_every_cut(const char *text, bool answer)
{
	size_t len = strlen(text);

	for (size_t first = 0; first <= len; first++)
		same_in_pieces(text, len, answer, first, len);
	same_in_pieces(text, len, answer, 0, 1);
	same_in_pieces(text, len, answer, 1, 2);
	for (size_t shorter = 0; shorter < len; shorter++)
		same_in_pieces(text, shorter, answer, 0, 1);
}

/* Wherever a request is cut, the result and the byte that decides are the same. */
START_TEST(test_parse_request_any_cut_same_result)
{
	same_at_every_cut(requests[_i].text, false);
}
END_TEST

/* The same with fields of all shapes, in every later piece too. */
START_TEST(test_parse_plain_request_any_two_cuts_same_result)
{
	same_at_every_cut(plain, false);
	for (size_t first = 0; first < sizeof(plain); first++)
		for (size_t step = 1; step < 9; step++)
			same_in_pieces(plain, sizeof(plain) - 1, false, first, step);
}
END_TEST

/* The same for a response. */
START_TEST(test_parse_response_any_cut_same_result)
{
	same_at_every_cut(responses[_i].text, true);
}
END_TEST

/* Puts the byte `c` at the '@' of a request. */
static ssize_t
with_byte(const char *shape, int c)
{
	char text[128];
	char *at;

	strcpy(text, shape);
	at = strchr(text, '@');
	*at = (char)c;
	sconce_http_request_init(&head, fields, FIELDS, 0);
	return sconce_http_parse(&head, text, strlen(shape));
}

/* Each of 256 byte values in each part of a request is taken as that part's grammar says, or refused. */
/* HZ-6 */
START_TEST(test_parse_each_byte_in_each_part_judged)
{
	for (int c = 0; c < 256; c++) {
		char token[] = { (char)c };
		bool tchar = sconce_http_is_token(token, 1);
		bool target = c > 0x20 && c < 0x7f && c != '#';
		bool value = c == '\t' || (c >= 0x20 && c != 0x7f);

		ck_assert_msg((with_byte("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", c) > 0) == (tchar), "method %d", c);
		ck_assert_msg((with_byte("GET /x@y HTTP/1.1\r\nHost: a\r\n\r\n", c) > 0) == target, "target %d", c);
		ck_assert_msg((with_byte("GET / HTTP/1.1\r\nHost: a\r\nX@Y: b\r\n\r\n", c) > 0) ==
		    (tchar || c == ':'), "name %d", c);
		ck_assert_msg((with_byte("GET / HTTP/1.1\r\nHost: a\r\nX: b@c\r\n\r\n", c) > 0) == value,
		    "value %d", c);
		ck_assert_msg((with_byte("GET / HTTP/1.1\r\nHost: a\r\nX: 12345678@12345678\r\n\r\n", c) > 0) == value,
		    "long value %d", c);
	}
}
END_TEST

/* A control character is found in each of eight places, behind any byte. */
/* HZ-6 */
START_TEST(test_parse_value_control_character_found_anywhere)
{
	static const char front[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
	char text[128];

	for (int before = 0; before < 256; before++)
		for (size_t at = 0; at < 17; at++) {
			size_t len = sizeof(front) - 1;

			if (before != '\t' && (before < 0x20 || before == 0x7f))
				continue;
			memcpy(text, front, len);
			memset(text + len, before, 20);
			text[len + at] = (char)(at % 2 ? 0x1f : 0x7f);
			memcpy(text + len + 20, "\r\n\r\n", 4);
			sconce_http_request_init(&head, fields, FIELDS, 0);
			ck_assert_int_eq(sconce_http_parse(&head, text, len + 24), -EBADMSG);
			ck_assert_int_eq(head.error, SCONCE_HTTP_E_VALUE);
		}
}
END_TEST

/* The limit of a head is kept to the byte, however it arrives. */
/* HZ-3 */
START_TEST(test_parse_head_limit_exact)
{
	for (size_t step = 1; step <= sizeof(plain); step += sizeof(plain) - 1)
		for (size_t limit = 1; limit < sizeof(plain) + 2; limit++) {
			ssize_t n = 0;

			sconce_http_request_init(&head, fields, FIELDS, limit);
			for (size_t at = step; n == 0 && at < sizeof(plain); at += step)
				n = sconce_http_parse(&head, plain, at);
			if (step > 1)
				n = sconce_http_parse(&head, plain, sizeof(plain) - 1);
			if (limit >= sizeof(plain) - 1) {
				ck_assert_int_eq(n, sizeof(plain) - 1);
				continue;
			}
			ck_assert_int_eq(n, -EBADMSG);
			ck_assert_int_eq(head.error, limit < 20 ? SCONCE_HTTP_E_TARGET_TOO_LONG :
			    SCONCE_HTTP_E_HEAD_TOO_LARGE);
		}
}
END_TEST

/* The default limit is 64 KiB; a target that reaches it gets 414, a field 431. */
/* HZ-3 */
START_TEST(test_parse_head_default_limit_64k)
{
	static char text[70000];

	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	sconce_http_request_init(&head, fields, FIELDS, 0);
	ck_assert_int_eq(sconce_http_parse(&head, text, 65535), 0);
	ck_assert_int_eq(sconce_http_parse(&head, text, 65536), -EBADMSG);
	ck_assert_int_eq(head.error, SCONCE_HTTP_E_TARGET_TOO_LONG);
	memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
	sconce_http_request_init(&head, fields, FIELDS, 0);
	ck_assert_int_eq(sconce_http_parse(&head, text, 70000), -EBADMSG);
	ck_assert_int_eq(head.error, SCONCE_HTTP_E_HEAD_TOO_LARGE);
	ck_assert_int_eq(sconce_http_error_status(head.error), 431);
	sconce_http_request_init(&head, fields, FIELDS, SIZE_MAX);
	ck_assert_int_eq(sconce_http_parse(&head, text, 70000), 0);
}
END_TEST

/* Any number of fields up to the limit is accepted, one more never, and nothing is stored beyond. */
/* HZ-3 */
START_TEST(test_parse_field_count_powers_of_two_exact)
{
	static struct sconce_http_field many[65536];
	static char text[1 << 19];
	static const size_t limits[] = { 1, 2, 127, 128, 129, 255, 256, 257, 32767, 32768, 65535 };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		for (size_t count = limits[i] - 1; count <= limits[i] + 1; count++) {
			size_t len = (size_t)sprintf(text, "GET / HTTP/1.0\r\n");

			for (size_t k = 0; k < count; k++, len += 4)
				memcpy(text + len, "a:\r\n", 4);
			memcpy(text + len, "\r\n", 2);
			memset(&many[limits[i]], 0xa5, sizeof(many[0]));
			sconce_http_request_init(&head, many, limits[i], 1 << 20);
			if (count <= limits[i]) {
				ck_assert_int_eq(sconce_http_parse(&head, text, len + 2), (ssize_t)len + 2);
				ck_assert_uint_eq(head.field_count, count);
			} else {
				ck_assert_int_eq(sconce_http_parse(&head, text, len + 2), -EBADMSG);
				ck_assert_int_eq(head.error, SCONCE_HTTP_E_TOO_MANY_FIELDS);
			}
			ck_assert_uint_eq(many[limits[i]].id, 0xa5);
		}
}
END_TEST

/* A head that trickles in costs time in its length, not in its square: 4 MiB byte by byte would never end. */
START_TEST(test_parse_trickled_value_linear_time)
{
	size_t len = 4 << 20;
	char *text = malloc(len);

	memset(text, ' ', len);
	memcpy(text, "GET / HTTP/1.1\r\nX: a", 20);
	sconce_http_request_init(&head, fields, FIELDS, 8 << 20);
	for (size_t at = 0; at < len; at++)
		if (sconce_http_parse(&head, text, at) != 0)
			ck_abort();
	free(text);
}
END_TEST

/* What follows a head is left alone, and asking again gives the same. */
START_TEST(test_parse_pipelined_heads_one_at_a_time)
{
	static const char two[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n";
	ssize_t n = request(two);

	ck_assert_int_eq(n, (sizeof(two) - 1) / 2);
	ck_assert_int_eq(sconce_http_parse(&head, two, sizeof(two) - 1), n);
	ck_assert(is(two, head.target, "/1"));
	ck_assert_int_eq(request(two + n), n);
	ck_assert(is(two + n, head.target, "/2"));
}
END_TEST

/* An error stays. */
START_TEST(test_parse_after_error_refused_again)
{
	ck_assert_int_eq(request("GET  / HTTP/1.1\r\n" REST), -EBADMSG);
	ck_assert_int_eq(sconce_http_parse(&head, "GET / HTTP/1.1\r\n" REST, 27), -EBADMSG);
	ck_assert_int_eq(head.error, SCONCE_HTTP_E_TARGET);
}
END_TEST

/* `begun` tells a connection that idles from one that is slow. */
START_TEST(test_parse_empty_lines_have_not_begun)
{
	ck_assert_int_eq(request(""), 0);
	ck_assert(!head.begun);
	ck_assert_int_eq(request("\r"), 0);
	ck_assert(!head.begun);
	ck_assert_int_eq(request("\r\n\r\n"), 0);
	ck_assert(!head.begun);
	ck_assert_int_eq(request("\r\nG"), 0);
	ck_assert(head.begun);
	ck_assert_int_eq(response(""), 0);
	ck_assert(!head.begun);
	ck_assert_int_eq(response("H"), 0);
	ck_assert(head.begun);
}
END_TEST

/* Giving fewer bytes than before is misuse. */
START_TEST(test_parse_shrunken_input_asserts)
{
	sconce_http_request_init(&head, fields, FIELDS, 0);
	sconce_http_parse(&head, "GET /abc", 8);
	sconce_http_parse(&head, "GET", 3);
}
END_TEST

/* No room for a single field is misuse. */
START_TEST(test_init_without_fields_asserts)
{
	sconce_http_request_init(&head, fields, 0, 0);
}
END_TEST

/* Changes a few bytes: replaced, removed, repeated, swapped with another place's. */
static size_t
mutate(char *text, size_t len, uint64_t *seed)
{
	static const char bytes[] = "\r\n \t:,;/@*?#[]%\0\x7f\x80\xff" "0179aAHh-_.";

	for (uint64_t n = rnd(seed) % 4 + 1; n > 0; n--) {
		size_t at = rnd(seed) % len;

		switch (rnd(seed) % 4) {
		case 0:
			text[at] = bytes[rnd(seed) % (sizeof(bytes) - 1)];
			break;
		case 1:
			text[at] = (char)rnd(seed);
			break;
		case 2:
			if (len > 1)
				memmove(text + at, text + at + 1, --len - at);
			break;
		default:
			memmove(text + at + 1, text + at, len - at);
			len++;
		}
	}
	return len;
}

static const char *const seeds[] = {
	plain,
	"POST http://h:80?q HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
	"PUT /x HTTP/1.1\r\nHost: [::1]:1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
	"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
	"HTTP/1.0 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
};

/* Mutated heads: never a crash, and the same result whole and byte by byte. */
START_TEST(test_parse_mutated_same_whole_and_bytewise)
{
	uint64_t seed = 0x5c0ce5eed + (uint64_t)_i;
	char text[512];
	int accepted = 0;

	for (int round = 0; round < 2000; round++) {
		int pick = (int)(rnd(&seed) % COUNT(seeds));
		size_t len = strlen(seeds[pick]);

		memcpy(text, seeds[pick], len);
		len = mutate(text, len, &seed);
		same_in_pieces(text, len, pick >= 4, rnd(&seed) % 3, 1);
		accepted += head.error == SCONCE_HTTP_OK;
	}
	ck_assert_int_gt(accepted, 20);		/* or nothing was compared */
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("head");
	TCase *tc = t_case(s, "parse");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_parse_request_slices_point_at_parts);
	tcase_add_test(tc, test_parse_response_slices_point_at_parts);
	tcase_add_loop_test(tc, test_parse_request_table_accepted_or_refused, 0, COUNT(requests));
	tcase_add_loop_test(tc, test_parse_response_table_accepted_or_refused, 0, COUNT(responses));
	tcase_add_loop_test(tc, test_parse_request_any_cut_same_result, 0, COUNT(requests));
	tcase_add_test(tc, test_parse_plain_request_any_two_cuts_same_result);
	tcase_add_loop_test(tc, test_parse_response_any_cut_same_result, 0, COUNT(responses));
	tcase_add_test(tc, test_parse_each_byte_in_each_part_judged);
	tcase_add_test(tc, test_parse_value_control_character_found_anywhere);
	tcase_add_test(tc, test_parse_head_limit_exact);
	tcase_add_test(tc, test_parse_head_default_limit_64k);
	tcase_add_test(tc, test_parse_field_count_powers_of_two_exact);
	tcase_add_test(tc, test_parse_trickled_value_linear_time);
	tcase_add_test(tc, test_parse_pipelined_heads_one_at_a_time);
	tcase_add_test(tc, test_parse_after_error_refused_again);
	tcase_add_test(tc, test_parse_empty_lines_have_not_begun);
	tcase_add_loop_test(tc, test_parse_mutated_same_whole_and_bytewise, 0, 8);
	t_add_abort(tc, test_parse_shrunken_input_asserts);
	tc = t_case(s, "init");
	t_add_abort(tc, test_init_without_fields_asserts);
	return s;
}
