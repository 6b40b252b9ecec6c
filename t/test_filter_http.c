/* The filter of HTTP messages: what is a record in each mode, and what is refused. */
#include "test_filter.h"

static struct sconce_filter *none;		/* what a constructor that fails leaves alone */

static struct sconce_filter *
requests(enum sconce_http_filter_mode mode)
{
	return http((struct sconce_http_options){ .mode = mode });
}

static struct sconce_filter *
answers(enum sconce_http_filter_mode mode)
{
	return http((struct sconce_http_options){ .mode = mode, .responses = true });
}

#define HEAD(fields) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define SHOWN(fields, body) "<POST / HTTP/1.1\\r\\nHost: a\\r\\n" fields "\\r\\n" body ">"

static const struct framing {
	const char *wire, *read;
} framings[] = {
	/* the name is the whole name */
	{ HEAD("X-Content-Length: 5\r\n") "GET / HTTP/1.0\r\n\r\n",
		SHOWN("X-Content-Length: 5\\r\\n", "") "^.<GET / HTTP/1.0\\r\\n\\r\\n>^." },
	/* no white space is needed behind the colon, and any case will do */
	{ HEAD("content-LENGTH:2\r\n") "ab", SHOWN("content-LENGTH:2\\r\\n", "ab") "^." },
	/* chunks, with what belongs to them */
	{ HEAD("Transfer-Encoding: chunked\r\n") "2;e=1\r\nab\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		SHOWN("Transfer-Encoding: chunked\\r\\n", "2;e=1\\r\\nab\\r\\n0\\r\\nT: v\\r\\n\\r\\n")
		"^.<GET / HTTP/1.0\\r\\n\\r\\n>^." },
	/* two lengths, or a length and chunks */
	{ HEAD("Content-Length: 2\r\nContent-Length: 2\r\n") "ab", "!more than one Content-Length" },
	{ HEAD("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") "ab",
		"!both Content-Length and Transfer-Encoding" },
	{ HEAD("Transfer-Encoding: gzip\r\n") "ab", "!Transfer-Encoding is not one final chunked" },
	{ HEAD("Content-Length: +2\r\n") "ab", "!malformed Content-Length" },
	{ HEAD("Transfer-Encoding: chunked\r\n") "2\r\nabc\r\n0\r\n\r\n", "!chunk data not followed by CRLF" },
	/* empty lines in front are nobody's, but there may not be many */
	{ "\r\n\r\nGET / HTTP/1.0\r\n\r\n", "<GET / HTTP/1.0\\r\\n\\r\\n>^." },
	{ "\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\n",
		"<GET / HTTP/1.0\\r\\n\\r\\n>^.<GET / HTTP/1.0\\r\\n\\r\\n>^." },
	{ "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", "!too many empty lines before the request" },
	{ "\r\n\r\n", "" },
	/* folded lines are refused unless asked for, and HTTP/0.9 is */
	{ HEAD("X: a\r\n b\r\n"), "!header line begins with white space" },
	{ "GET /\r\n", "!malformed request target" },
	/* and what is not whole at the end is told apart */
	{ HEAD("Content-Length: 3\r\n") "ab", SHOWN("Content-Length: 3\\r\\n", "ab") "~" },
	{ HEAD("Transfer-Encoding: chunked\r\n") "2\r\na", SHOWN("Transfer-Encoding: chunked\\r\\n", "2\\r\\na") "~" },
	{ "GET / HT", "<GET / HT>~" },
};

/* A body ends where RFC 9112 says, or the message is refused. */
/* AC-23, IB-8, PF-12 */
START_TEST(test_whole_framing_is_that_of_the_rfc)
{
	const struct framing *v = &framings[_i];
	struct sconce_filter *f = requests(SCONCE_HTTP_WHOLE);
	struct text t = read_all(f, v->wire, strlen(v->wire));

	ck_assert_str_eq(t.bytes, v->read);
	free(t.bytes);
	sconce_filter_unref(f);
}
END_TEST

/* The detail of a record is the parsed head; the body begins behind it. */
/* PF-12 */
START_TEST(test_whole_detail_is_the_head)
{
	static const char wire[] = "\r\n" HEAD("Content-Length: 2\r\n") "ab";
	const struct sconce_http_record *detail;
	struct sconce_record rec;
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_WHOLE));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, wire, sizeof(wire) - 1), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	detail = rec.detail;
	ck_assert_uint_eq(detail->head->content_length, 2);
	ck_assert_mem_eq(sconce_http_at(rec.data, detail->head->method), "POST", 4);
	ck_assert_mem_eq((const char *)rec.data + detail->head_len, "ab", 2);
	ck_assert(!detail->http09);
	reader_close(&r);
}
END_TEST

/* A connection between two messages keeps no memory. */
/* HZ-8 */
START_TEST(test_whole_idle_connection_owns_nothing)
{
	struct sconce_record rec;
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_WHOLE));
	ck_assert_int_eq(sconce_framer_lend(&r.framer, "GET / HTTP/1.0\r\n\r\n", 18), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_ptr_nonnull(*(void **)r.framer._state);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
	ck_assert_ptr_null(*(void **)r.framer._state);		/* the state's first member is the message */
	ck_assert_int_eq(sconce_framer_settle(&r.framer), 0);
	ck_assert_ptr_null(r.framer.in._own);
	reader_close(&r);
}
END_TEST

/* A body over the limit is refused before it arrives where its length is known, else with the first byte too much. */
/* PF-12, HZ-8 */
START_TEST(test_whole_body_limit_is_exact)
{
	struct sconce_http_options four = { .max_body = 4 }, pieces = { .mode = SCONCE_HTTP_STREAMING, .max_body = 4 };

	READS(http(four), HEAD("Content-Length: 4\r\n") "abcd", SHOWN("Content-Length: 4\\r\\n", "abcd") "^.");
	READS(http(four), HEAD("Content-Length: 5\r\n"), "!content too large");
	READS(http(four), HEAD("Transfer-Encoding: chunked\r\n") "9\r\nabc", "!content too large");
	READS(http(pieces), HEAD("Content-Length: 5\r\n"), "!content too large");
	READS(http(pieces), HEAD("Transfer-Encoding: chunked\r\n") "5\r\nabcde",
		SHOWN("Transfer-Encoding: chunked\\r\\n", "") "^<a>#<bcd>#!content too large");	/* what is within it is given */
	READS(limited(requests(SCONCE_HTTP_WHOLE), 100), HEAD("Content-Length: 101\r\n"), "!content too large");
	READS(http((struct sconce_http_options){ .max_body = 4, .responses = true }), "HTTP/1.0 200 OK\r\n\r\nabcde",
		"!content too large");
}
END_TEST

/* A head has the limit of a record, if that is less than what a head may have. */
START_TEST(test_head_limit_is_the_records)
{
	struct sconce_filter *f = limited(requests(SCONCE_HTTP_WHOLE), 30);
	struct reader r;

	reader_open(&r, f);
	reader_feed(&r, "GET / HTTP/1.0\r\nX: 1\r\n\r\n", 24);
	reader_feed(&r, "GET / HTTP/1.0\r\nX: 1234567890\r\n\r\n", 33);
	ck_assert_int_eq(r.result, -EMSGSIZE);
	reader_close(&r);
}
END_TEST

/* ---- answers ---- */

/* The answers that have no body have none; one without a length lasts until the end. */
/* AC-23 */
START_TEST(test_answers_bodies_are_those_of_the_rfc)
{
	struct sconce_http_options to_head = { .responses = true, .answers_head = true };

	READS(answers(SCONCE_HTTP_WHOLE), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\nHTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"
		"HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\na",
		"<HTTP/1.1 100 Continue\\r\\n\\r\\n>^.<HTTP/1.1 204 x\\r\\n\\r\\n>^."
		"<HTTP/1.1 304 x\\r\\nContent-Length: 5\\r\\n\\r\\n>^.<HTTP/1.1 200 x\\r\\nContent-Length: 1\\r\\n\\r\\na>^.");
	READS(http(to_head), "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 x\r\n\r\n",
		"<HTTP/1.1 200 x\\r\\nContent-Length: 5\\r\\n\\r\\n>^.<HTTP/1.1 200 x\\r\\n\\r\\n>^.");
	READS(answers(SCONCE_HTTP_WHOLE), "HTTP/1.0 200 x\r\n\r\nall of it", "<HTTP/1.0 200 x\\r\\n\\r\\nall of it>^.");
	READS(answers(SCONCE_HTTP_STREAMING), "HTTP/1.0 200 x\r\n\r\nall", "<HTTP/1.0 200 x\\r\\n\\r\\n>^<all>#<>#.");
	READS(answers(SCONCE_HTTP_WHOLE), "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"!a body where the status allows none");
}
END_TEST

/* ---- modes ---- */

/* Pieces come as they arrive, without the framing of chunks; the last says so, and is empty where only then it is
 * known. */
/* PF-12 */
START_TEST(test_streaming_pieces_come_as_they_arrive)
{
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_STREAMING));
	reader_feed(&r, HEAD("Content-Length: 5\r\n") "ab", sizeof(HEAD("Content-Length: 5\r\n")) + 1);
	reader_feed(&r, "cd", 2);
	reader_feed(&r, "e" "GET / HTTP/1.0\r\n\r\n", 19);
	ck_assert_str_eq(r.text, SHOWN("Content-Length: 5\\r\\n", "") "^<ab>#|<cd>#|<e>#.<GET / HTTP/1.0\\r\\n\\r\\n>^.|");
	reader_close(&r);
	READS(requests(SCONCE_HTTP_STREAMING), HEAD("Transfer-Encoding: chunked\r\n") "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
		SHOWN("Transfer-Encoding: chunked\\r\\n", "") "^<ab>#<c>#<>#.");
	READS(limited(requests(SCONCE_HTTP_STREAMING), 50), HEAD("Content-Length: 60\r\n")
		"123456789012345678901234567890123456789012345678901234567890", SHOWN("Content-Length: 60\\r\\n", "")
		"^<12345678901234567890123456789012345678901234567890>#<1234567890>#.");
}
END_TEST

/* A body that is cut off is an error: what was given must not look whole. */
START_TEST(test_streaming_cut_off_body_is_an_error)
{
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_STREAMING));
	reader_feed(&r, HEAD("Content-Length: 5\r\n") "ab", sizeof(HEAD("Content-Length: 5\r\n")) + 1);
	reader_end(&r);
	ck_assert_int_eq(r.result, -EBADMSG);
	reader_close(&r);
}
END_TEST

/* Of a body as much is given as is asked for, as it stands on the wire; nothing asked for, or more than may be, is
 * said. */
/* EM-49, IB-9 */
START_TEST(test_want_asks_for_parts_of_a_body)
{
	static const char wire[] = HEAD("Content-Length: 5\r\n") "abcdeGET / HTTP/1.0\r\n\r\n";
	struct reader r;

	reader_open(&r, limited(requests(SCONCE_HTTP_HEAD_ONLY), 1000));
	ck_assert_int_eq(sconce_framer_want(&r.framer, 0), 0);
	reader_feed(&r, wire, sizeof(wire) - 1);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 1001), -EMSGSIZE);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 2), 0);
	reader_all(&r);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 3), 0);
	reader_all(&r);
	ck_assert_str_eq(r.text, SHOWN("Content-Length: 5\\r\\n", "") "^|<ab>#<cde>#.<GET / HTTP/1.0\\r\\n\\r\\n>^.");
	ck_assert_int_eq(sconce_framer_want(&r.framer, 4), 0);
	reader_feed(&r, "spam", 4);				/* whatever they are */
	reader_feed(&r, "GET / HT", 8);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 1), -EBUSY);
	ck_assert_str_eq(r.text + strlen(r.text) - 11, ".<spam>#.||");
	reader_close(&r);
}
END_TEST

/* Of chunks nobody but the application knows the end; it says so with 0.  The other modes have no use for it. */
/* EM-49 */
START_TEST(test_want_nothing_goes_on_with_the_next_head)
{
	static const char wire[] = HEAD("Transfer-Encoding: chunked\r\n") "0\r\n\r\nGET / HTTP/1.0\r\n\r\n";
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_HEAD_ONLY));
	reader_feed(&r, wire, sizeof(wire) - 1);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 5), 0);
	reader_all(&r);
	ck_assert_int_eq(r.result, 0);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 0), 0);
	reader_all(&r);
	ck_assert_str_eq(r.text, SHOWN("Transfer-Encoding: chunked\\r\\n", "")
		"^|<0\\r\\n\\r\\n>#<GET / HTTP/1.0\\r\\n\\r\\n>^.");
	reader_close(&r);
	reader_open(&r, requests(SCONCE_HTTP_WHOLE));
	ck_assert_int_eq(sconce_framer_want(&r.framer, 1), -EINVAL);
	reader_close(&r);
}
END_TEST

/* ---- what may be allowed ---- */

/* "GET /path" without a version is a request of HTTP/0.9; other methods, and what is no path, are not. */
/* PF-12 */
START_TEST(test_http09_is_a_get_of_a_path)
{
	struct sconce_http_options o = { .http09 = true };
	const struct sconce_http_record *detail;
	struct sconce_record rec;
	struct reader r;

	reader_open(&r, http(o));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "GET /a?b\r", 9), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "\n", 1), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_uint_eq(rec.len, 10);
	detail = rec.detail;
	ck_assert(detail->http09);
	ck_assert(!detail->head->keep_alive);
	ck_assert_uint_eq(detail->head->target.length, 4);
	ck_assert_mem_eq(sconce_http_at(rec.data, detail->head->target), "/a?b", 4);
	reader_close(&r);
	READS(http(o), "PUT /\r\n", "!malformed request target");
	READS(http(o), "GET x\r\n", "!malformed request target");
	READS(http(o), "GET /\x01\r\n", "!malformed request target");
	READS(http(o), "GET /\r\r\n", "!malformed request target");
	READS(http(o), "GET / HTTP/1.0\r\n\r\n", "<GET / HTTP/1.0\\r\\n\\r\\n>^.");
}
END_TEST

/* Lines that are folded are one with a space between; the first line is no field, and what the lines make is judged
 * as ever. */
/* PF-12 */
START_TEST(test_unfold_joins_lines_of_a_field)
{
	struct sconce_http_options o = { .unfold = true };
	struct reader r;

	READS(http(o), HEAD("X: a \t\r\n\t  b\r\n c\r\nContent-Length: 2\r\n") "hi",
		SHOWN("X: a b c\\r\\nContent-Length: 2\\r\\n", "hi") "^.");
	READS(http(o), HEAD("X: a\r\n \r\n"), SHOWN("X: a \\r\\n", "") "^.");
	READS(http(o), HEAD("Content-Length: 1\r\n 2\r\n") "hi", "!malformed Content-Length");
	READS(http(o), "GET / HTTP/1.0\r\n X: y\r\n\r\n", "!header line begins with white space");
	reader_open(&r, limited(http(o), 40));
	reader_feed(&r, "GET / HTTP/1.0\r\nX: y\r\n z", 24);
	reader_feed(&r, "1234567890123456789012345", 25);
	ck_assert_int_eq(r.result, -EMSGSIZE);
	reader_close(&r);
}
END_TEST

/* The answer to a refused request is whole: with its length, and the connection's end. */
/* PF-12, HZ-6 */
START_TEST(test_error_record_is_a_whole_answer)
{
	struct sconce_filter *parser = answers(SCONCE_HTTP_WHOLE);
	struct sconce_http_options o = { .error_records = true };
	const struct sconce_http_record *detail;
	struct sconce_record rec;
	struct reader r;
	struct text t;

	reader_open(&r, http(o));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "GET / HTTP/1.0\nHost: <a>\n\n", 26), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	t = read_all(parser, rec.data, rec.len);
	ck_assert_ptr_nonnull(strstr(t.bytes, "\\r\\nConnection: close\\r\\n"));
	ck_assert_str_eq(t.bytes + t.len - 3, ">^.");
	detail = rec.detail;
	ck_assert_int_eq(detail->status, 400);
	ck_assert_ptr_null(detail->head);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), -EBADMSG);
	ck_assert_str_ne(sconce_framer_error(&r.framer), "");
	free(t.bytes);
	reader_close(&r);
	sconce_filter_unref(parser);
}
END_TEST

/* Every reason that there is makes an answer that fits. */
START_TEST(test_error_record_fits_for_every_reason)
{
	static const char *const wrong[] = {
		"\n", "GET\r", "GE\x01T", "GET / HTTP/1.2\r\n", "GET / HTTP/1.1\r\n\r\n", HEAD("Host: b\r\n"), HEAD("Expect: x\r\n"),
		HEAD("Content-Length: 99999999999999999999\r\n"), "CONNECT a:1 HTTP/1.1\r\n", HEAD("a b: c\r\n"), HEAD("Connection: host\r\n"),
		"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN / HTTP/1.0\r\n", HEAD("Transfer-Encoding: x, chunked\r\n"),
	};
	struct sconce_http_options o = { .error_records = true };
	struct sconce_record rec;
	struct reader r;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		reader_open(&r, http(o));
		ck_assert_int_eq(sconce_framer_feed(&r.framer, wrong[i], strlen(wrong[i])), 0);
		ck_assert_msg(sconce_framer_next(&r.framer, &rec) == 1, "%s", wrong[i]);
		ck_assert_uint_eq(rec.flags, SCONCE_RECORD_ERROR);
		ck_assert_int_lt(sconce_framer_next(&r.framer, &rec), 0);
		reader_close(&r);
	}
}
END_TEST

/* Settings that mean nothing are refused; what is written goes as it is. */
START_TEST(test_http_settings_and_put)
{
	const struct sconce_http_options odd[] = {
		{ .mode = (enum sconce_http_filter_mode)3 }, { .responses = true, .http09 = true }, { .answers_head = true },
		{ .responses = true, .error_records = true },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		ck_assert_int_eq(sconce_filter_http(&odd[i], &none), -EINVAL);
	ck_assert_ptr_null(none);
	WRITES(MADE(http, NULL), "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\\r\\n\\r\\n");
}
END_TEST

/* Somebody takes bytes of half a message away: what is left begins another, and nothing is read that is not there. */
START_TEST(test_get_bytes_taken_away_begin_another)
{
	static const char half[] = HEAD("Content-Length: 9\r\n") "abc";
	struct reader r;

	reader_open(&r, requests(SCONCE_HTTP_WHOLE));
	reader_feed(&r, half, sizeof(half) - 1);
	sconce_input_take(&r.framer.in, r.framer.in.len);
	reader_feed(&r, "GET / HT", 8);
	sconce_input_take(&r.framer.in, 8);
	reader_feed(&r, "PUT", 3);
	reader_feed(&r, " / HTTP/1.0\r\n\r\n", 15);
	ck_assert_str_eq(r.text, "|||<PUT / HTTP/1.0\\r\\n\\r\\n>^.|");
	reader_close(&r);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("http filter");
	TCase *c;

	c = t_case(s, "whole");
	tcase_add_loop_test(c, test_whole_framing_is_that_of_the_rfc, 0, sizeof(framings) / sizeof(framings[0]));
	tcase_add_test(c, test_whole_detail_is_the_head);
	tcase_add_test(c, test_whole_idle_connection_owns_nothing);
	tcase_add_test(c, test_whole_body_limit_is_exact);
	tcase_add_test(c, test_head_limit_is_the_records);
	tcase_add_test(c, test_answers_bodies_are_those_of_the_rfc);

	c = t_case(s, "modes");
	tcase_add_test(c, test_streaming_pieces_come_as_they_arrive);
	tcase_add_test(c, test_streaming_cut_off_body_is_an_error);
	tcase_add_test(c, test_want_asks_for_parts_of_a_body);
	tcase_add_test(c, test_want_nothing_goes_on_with_the_next_head);

	c = t_case(s, "leniency");
	tcase_add_test(c, test_http09_is_a_get_of_a_path);
	tcase_add_test(c, test_unfold_joins_lines_of_a_field);
	tcase_add_test(c, test_error_record_is_a_whole_answer);
	tcase_add_test(c, test_error_record_fits_for_every_reason);
	tcase_add_test(c, test_http_settings_and_put);
	tcase_add_test(c, test_get_bytes_taken_away_begin_another);
	return s;
}
