#include "test_http.h"

#define FIELDS 16

static struct sconce_http_field fields[FIELDS];
static struct sconce_http_head head;

static const char text[] =
    "GET / HTTP/1.1\r\nHost: a\r\nCookie: 1\r\nX: 1\r\ncookie: 2\r\nConnection: X-Hop, y\r\nTE: a\r\nX-Hop: z\r\n\r\n";

static void
setup(void)
{
	sconce_http_request_init(&head, fields, FIELDS, 0);
	ck_assert_int_eq(sconce_http_parse(&head, text, sizeof(text) - 1), sizeof(text) - 1);
}

/* Repeated fields are found one after another, in any case, then no more. */
START_TEST(test_find_repeated_name_in_order)
{
	ck_assert_int_eq(sconce_http_find(&head, text, "COOKIE", 0), 1);
	ck_assert_int_eq(sconce_http_find(&head, text, "COOKIE", 2), 3);
	ck_assert_int_eq(sconce_http_find(&head, text, "COOKIE", 4), -1);
	ck_assert_int_eq(sconce_http_find(&head, text, "Cooki", 0), -1);
	ck_assert_int_eq(sconce_http_find(&head, text, "", 0), -1);
}
END_TEST

/* Known fields are found by id. */
START_TEST(test_find_id_known_fields)
{
	ck_assert_int_eq(sconce_http_find_id(&head, SCONCE_HTTP_ID_HOST), 0);
	ck_assert_int_eq(sconce_http_find_id(&head, SCONCE_HTTP_ID_CONNECTION), 4);
	ck_assert_int_eq(sconce_http_find_id(&head, SCONCE_HTTP_ID_TE), 5);
	ck_assert_int_eq(sconce_http_find_id(&head, SCONCE_HTTP_ID_UPGRADE), -1);
	ck_assert_int_eq(sconce_http_find_id(&head, SCONCE_HTTP_ID_OTHER), -1);
}
END_TEST

static bool
hop(const struct sconce_http_head *h, const char *name)
{
	return sconce_http_is_hop_by_hop(h, text, name, strlen(name));
}

/* Names of one connection are known without a message, others by its Connection field. */
START_TEST(test_is_hop_by_hop_standard_and_named)
{
	static const char *const always[] = {
		"Connection", "keep-alive", "Proxy-Authenticate", "PROXY-AUTHORIZATION", "Proxy-Connection", "TE",
		"Trailer", "Transfer-Encoding", "Upgrade",
	};
	static const char *const never[] = {
		"Host", "Content-Length", "Expect", "Cookie", "X-Ho", "X-Hop-", "", "Transfer-EncodinG2",
		"a-name-longer-than-all-that-are-known",
	};

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		ck_assert(hop(NULL, always[i]));
		ck_assert(hop(&head, always[i]));
	}
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		ck_assert(!hop(NULL, never[i]));
		ck_assert(!hop(&head, never[i]));
	}
	ck_assert(!hop(NULL, "x-hop"));
	ck_assert(hop(&head, "x-hop"));
	ck_assert(hop(&head, "Y"));
	sconce_http_request_init(&head, fields, FIELDS, 0);
	ck_assert_int_gt(sconce_http_parse(&head, "GET / HTTP/1.0\r\n\r\n", 18), 0);
	ck_assert(!hop(&head, "y"));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("fields");
	TCase *tc = t_case(s, "find");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_find_repeated_name_in_order);
	tcase_add_test(tc, test_find_id_known_fields);
	tc = t_case(s, "is_hop_by_hop");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_is_hop_by_hop_standard_and_named);
	return s;
}
