#include "test_http.h"

#define FIELDS 16

static struct sconce_http_field fields[FIELDS];
static struct sconce_http_head head;
static struct sconce_http_writer w;
static char out[1024];

static void
setup(void)
{
	sconce_http_writer_init(&w, out, sizeof(out));
}

static void
written(const char *wanted)
{
	ck_assert_uint_eq(w.len, strlen(wanted));
	ck_assert_msg(memcmp(out, wanted, w.len) == 0, "%.*s", (int)w.len, out);
}

static void
parse(const char *text)
{
	sconce_http_request_init(&head, fields, FIELDS, 0);
	ck_assert_int_eq(sconce_http_parse(&head, text, strlen(text)), (ssize_t)strlen(text));
}

/* A head is what its lines say, and its length comes back. */
START_TEST(test_put_lines_make_a_head)
{
	static const char wanted[] = "HTTP/1.1 404 Not Found\r\nServer: sconced\r\nContent-Length: 18446744073709551615\r\n"
	    "Age: 0\r\nVia: 1.0 a, 1.1 b\r\nVia: 1.1 b\r\nEmpty: \r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

	ck_assert_int_eq(sconce_http_put_status(&w, 404, NULL, 0), 0);
	ck_assert_int_eq(sconce_http_put(&w, "Server", "sconced"), 0);
	ck_assert_int_eq(sconce_http_put_uint(&w, "Content-Length", UINT64_MAX), 0);
	ck_assert_int_eq(sconce_http_put_uint(&w, "Age", 0), 0);
	ck_assert_int_eq(sconce_http_put_appended(&w, "Via", "1.0 a", 5, "1.1 b", 5), 0);
	ck_assert_int_eq(sconce_http_put_appended(&w, "Via", NULL, 0, "1.1 b", 5), 0);
	ck_assert_int_eq(sconce_http_put_bytes(&w, "Emptyx", 5, NULL, 0), 0);
	ck_assert_int_eq(sconce_http_put_date(&w, 784111777), 0);
	ck_assert_int_eq(sconce_http_end(&w), sizeof(wanted) - 1);
	written(wanted);
}
END_TEST

/* Start lines of our own: any known status, a reason of the caller's, a request. */
START_TEST(test_put_start_lines)
{
	ck_assert_int_eq(sconce_http_put_status(&w, 299, NULL, 0), 0);
	ck_assert_int_eq(sconce_http_put_status(&w, 200, "Fine!", 4), 0);
	ck_assert_int_eq(sconce_http_put_request(&w, "OPTIONS", "*"), 0);
	written("HTTP/1.1 299 \r\nHTTP/1.1 200 Fine\r\nOPTIONS * HTTP/1.1\r\n");
	ck_assert_int_eq(sconce_http_put_status(&w, 99, NULL, 0), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_status(&w, 600, NULL, 0), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_request(&w, "", "/"), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_request(&w, "GET", ""), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_date(&w, (time_t)INT64_MAX), -EINVAL);
	ck_assert_uint_eq(w.len, 0);
}
END_TEST

/* Whatever form a target came in, it leaves in origin form and as HTTP/1.1. */
/* HZ-4 */
START_TEST(test_put_request_of_origin_form)
{
	static const struct { const char *line, *wanted; } table[] = {
		{ "GET /x?y HTTP/1.0\r\n\r\n", "GET /x?y HTTP/1.1\r\n" },
		{ "GET http://a/x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\n" },
		{ "GET http://a HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n" },
		{ "GET http://a?q HTTP/1.0\r\n\r\n", "GET /?q HTTP/1.1\r\n" },
		{ "OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\n" },
		{ "OPTIONS http://a HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\n" },
		{ "OPTIONS http://a?q HTTP/1.0\r\n\r\n", "OPTIONS /?q HTTP/1.1\r\n" },
		{ "OPTIONS http://a/ HTTP/1.0\r\n\r\n", "OPTIONS / HTTP/1.1\r\n" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		setup();
		parse(table[i].line);
		ck_assert_int_eq(sconce_http_put_request_of(&w, &head, table[i].line), 0);
		written(table[i].wanted);
	}
}
END_TEST

/* Fields are forwarded in order, each in the one normal form, without those of the connection. */
/* HZ-4 */
START_TEST(test_put_fields_end_to_end_only)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nX-One:1 \r\nConnection: x-two\r\nX-Two: 2\r\n"
	    "Content-Length: 0004\r\nx-three:\t\tthree 3\r\nExpect: 100-continue\r\n\r\n";

	parse(text);
	fields[6].drop = true;		/* the caller may add */
	ck_assert_int_eq(sconce_http_put_fields(&w, &head, text), 0);
	ck_assert_int_eq(sconce_http_put_framing(&w, &head), 0);
	written("X-One: 1\r\nx-three: three 3\r\nContent-Length: 4\r\n");
	setup();
	parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
	ck_assert_int_eq(sconce_http_put_framing(&w, &head), 0);
	written("Transfer-Encoding: chunked\r\n");
	setup();
	parse("GET / HTTP/1.0\r\n\r\n");
	ck_assert_int_eq(sconce_http_put_framing(&w, &head), 0);
	written("");
}
END_TEST

/* A response keeps the length it told, but for 1xx and 204, which may tell none. */
START_TEST(test_put_framing_response_by_status)
{
	static const struct { const char *text, *wanted; } table[] = {
		{ "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "" },
		{ "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n", "" },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "Content-Length: 7\r\n" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0\r\n" },
		{ "HTTP/1.1 200 OK\r\n\r\n", "" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		setup();
		sconce_http_response_init(&head, fields, FIELDS, 0, SCONCE_HTTP_GET);
		ck_assert_int_gt(sconce_http_parse(&head, table[i].text, strlen(table[i].text)), 0);
		ck_assert_int_eq(sconce_http_put_framing(&w, &head), 0);
		written(table[i].wanted);
	}
}
END_TEST

/* Of all byte values none that could end a line or a name gets out, in any place. */
/* HZ-6 */
START_TEST(test_put_each_byte_in_each_part_judged)
{
	for (int c = 1; c < 256; c++) {
		char part[] = { 'a', (char)c, 'z', 0 };
		bool tchar = sconce_http_is_token(part, 3);
		bool target = c > 0x20 && c < 0x7f && c != '#';
		bool value = c == '\t' || (c >= 0x20 && c != 0x7f);

		setup();
		ck_assert_int_eq(sconce_http_put_request(&w, part, "/"), tchar ? 0 : -EINVAL);
		setup();
		ck_assert_int_eq(sconce_http_put_request(&w, "GET", part), target ? 0 : -EINVAL);
		setup();
		ck_assert_int_eq(sconce_http_put(&w, part, "v"), tchar ? 0 : -EINVAL);
		setup();
		ck_assert_int_eq(sconce_http_put(&w, "n", part), value ? 0 : -EINVAL);
		setup();
		ck_assert_int_eq(sconce_http_put_appended(&w, "n", part, 3, "v", 1), value ? 0 : -EINVAL);
		setup();
		ck_assert_int_eq(sconce_http_put_status(&w, 200, part, 3), value ? 0 : -EINVAL);
		ck_assert_uint_eq(w.len > 0, value);
	}
	setup();
	ck_assert_int_eq(sconce_http_put_bytes(&w, "a\0b", 3, "v", 1), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_bytes(&w, "n", 1, "a\0b", 3), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put_status(&w, 200, "a\0b", 3), -EINVAL);
	setup();
	ck_assert_int_eq(sconce_http_put(&w, "", "v"), -EINVAL);
	ck_assert_uint_eq(w.len, 0);
}
END_TEST

/* Writes one of everything. */
static ssize_t
write_all(const char *text)
{
	sconce_http_put_request_of(&w, &head, text);
	sconce_http_put_request(&w, "GET", "/");
	sconce_http_put_status(&w, 200, NULL, 0);
	sconce_http_put(&w, "Name", "value");
	sconce_http_put_uint(&w, "Number", 12345);
	sconce_http_put_date(&w, 0);
	sconce_http_put_fields(&w, &head, text);
	sconce_http_put_framing(&w, &head);
	return sconce_http_end(&w);
}

/* In a buffer of any size too small the end says so and nothing is written past it. */
START_TEST(test_end_every_small_buffer_enobufs)
{
	static const char text[] = "POST /x HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nContent-Length: 4\r\n\r\n";
	struct guarded g = guarded_new(sizeof(out));
	ssize_t need;

	parse(text);
	need = write_all(text);
	ck_assert_int_gt(need, 100);
	for (ssize_t size = 0; size <= need; size++) {
		char *buf = g.pages + g.size - size;

		sconce_http_writer_init(&w, buf, (size_t)size);
		ck_assert_int_eq(write_all(text), size < need ? -ENOBUFS : need);
		ck_assert_uint_le(w.len, (size_t)size);
		ck_assert_mem_eq(buf, out, w.len);
	}
	guarded_free(&g);
}
END_TEST

/* The first error stays, whatever is put after it. */
START_TEST(test_end_after_error_first_error_stays)
{
	ck_assert_int_eq(sconce_http_put(&w, "a b", "v"), -EINVAL);
	ck_assert_int_eq(sconce_http_put(&w, "a", "v"), -EINVAL);
	ck_assert_int_eq(sconce_http_put_framing(&w, &head), -EINVAL);
	ck_assert_int_eq(sconce_http_end(&w), -EINVAL);
	ck_assert_uint_eq(w.len, 0);
	sconce_http_writer_init(&w, out, 3);
	ck_assert_int_eq(sconce_http_put(&w, "a", "v"), -ENOBUFS);
	ck_assert_int_eq(sconce_http_put(&w, "a b", "v"), -ENOBUFS);
	ck_assert_int_eq(sconce_http_end(&w), -ENOBUFS);
}
END_TEST

/* What is forwarded reads back as the same message, and forwarding that changes no byte. */
/* HZ-4 */
START_TEST(test_put_forwarded_reads_back_the_same)
{
	static const char text[] = "PUT http://b:8080?q HTTP/1.1\r\nHost: a\r\nX: \xff 1\r\nContent-Length: 007\r\n\r\n";
	static const char wanted[] = "PUT /?q HTTP/1.1\r\nHost: b:8080\r\nX: \xff 1\r\nContent-Length: 7\r\n\r\n";
	char first[1024];

	for (int round = 0; round < 2; round++) {
		const char *from = round == 0 ? text : first;

		setup();
		sconce_http_request_init(&head, fields, FIELDS, 0);
		ck_assert_int_gt(sconce_http_parse(&head, from, strlen(from)), 0);
		sconce_http_put_request_of(&w, &head, from);
		sconce_http_put_bytes(&w, "Host", 4, sconce_http_at(from, head.authority), head.authority.length);
		sconce_http_put_fields(&w, &head, from);
		sconce_http_put_framing(&w, &head);
		ck_assert_int_eq(sconce_http_end(&w), sizeof(wanted) - 1);
		written(wanted);
		memcpy(first, out, w.len);
		first[w.len] = '\0';
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("write");
	TCase *tc = t_case(s, "put");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_put_lines_make_a_head);
	tcase_add_test(tc, test_put_start_lines);
	tcase_add_test(tc, test_put_request_of_origin_form);
	tcase_add_test(tc, test_put_fields_end_to_end_only);
	tcase_add_test(tc, test_put_framing_response_by_status);
	tcase_add_test(tc, test_put_each_byte_in_each_part_judged);
	tcase_add_test(tc, test_put_forwarded_reads_back_the_same);
	tc = t_case(s, "end");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_end_every_small_buffer_enobufs);
	tcase_add_test(tc, test_end_after_error_first_error_stays);
	return s;
}
