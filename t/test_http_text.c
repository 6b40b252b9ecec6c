#include "test_http.h"

#include <stdio.h>

/* A date is what gmtime and strftime say in the C locale, over leap years, centuries and both ends. */
START_TEST(test_date_many_days_as_strftime)
{
	for (int64_t t = INT64_C(-62167219200); t <= INT64_C(253402300799); t += 86399 * 3 + 1) {
		char ours[SCONCE_HTTP_DATE_BYTES], theirs[64];
		time_t when = (time_t)t;
		struct tm tm;

		gmtime_r(&when, &tm);
		strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		if (tm.tm_year < -900)		/* strftime does not pad every year to four digits */
			snprintf(theirs + 12, sizeof(theirs) - 12, "%04d %02d:%02d:%02d GMT", tm.tm_year + 1900,
			    tm.tm_hour, tm.tm_min, tm.tm_sec);
		ck_assert_uint_eq(sconce_http_date(ours, when), 29);
		if (strcmp(ours, theirs) != 0)
			ck_abort_msg("%s, not %s", ours, theirs);
	}
}
END_TEST

/* The example of RFC 9110 5.6.7, the two ends, and what lies beyond them. */
START_TEST(test_date_beyond_four_digits_refused)
{
	char out[SCONCE_HTTP_DATE_BYTES] = "as it was";

	ck_assert_uint_eq(sconce_http_date(out, (time_t)INT64_C(253402300800)), 0);
	ck_assert_uint_eq(sconce_http_date(out, (time_t)INT64_C(-62167219201)), 0);
	ck_assert_uint_eq(sconce_http_date(out, (time_t)INT64_MAX), 0);
	ck_assert_uint_eq(sconce_http_date(out, (time_t)INT64_MIN), 0);
	ck_assert_str_eq(out, "as it was");
	sconce_http_date(out, 784111777);
	ck_assert_str_eq(out, "Sun, 06 Nov 1994 08:49:37 GMT");
	sconce_http_date(out, (time_t)INT64_C(253402300799));
	ck_assert_str_eq(out, "Fri, 31 Dec 9999 23:59:59 GMT");
	sconce_http_date(out, (time_t)INT64_C(-62167219200));
	ck_assert_str_eq(out, "Sat, 01 Jan 0000 00:00:00 GMT");
}
END_TEST

/* Each error has a text of its own and a status with a reason. */
START_TEST(test_error_text_each_error_has_its_own)
{
	for (int a = 0; a < SCONCE_HTTP_E_COUNT; a++) {
		enum sconce_http_error error = (enum sconce_http_error)a;

		ck_assert_uint_gt(strlen(sconce_http_error_text(error)), 3);
		ck_assert_str_ne(sconce_http_reason(sconce_http_error_status(error)), "");
		for (int b = 0; b < a; b++)
			ck_assert_str_ne(sconce_http_error_text(error),
			    sconce_http_error_text((enum sconce_http_error)b));
	}
	ck_assert_int_eq(sconce_http_error_status(SCONCE_HTTP_E_COUNT), 400);
	ck_assert_str_eq(sconce_http_error_text(SCONCE_HTTP_E_COUNT), "unknown error");
}
END_TEST

/* Usual statuses have the reason of RFC 9110, unknown ones an empty text. */
START_TEST(test_reason_unknown_is_empty)
{
	ck_assert_str_eq(sconce_http_reason(200), "OK");
	ck_assert_str_eq(sconce_http_reason(404), "Not Found");
	ck_assert_str_eq(sconce_http_reason(511), "Network Authentication Required");
	ck_assert_str_eq(sconce_http_reason(299), "");
	ck_assert_str_eq(sconce_http_reason(-1), "");
	ck_assert_str_eq(sconce_http_reason(1 << 30), "");
}
END_TEST

/* Only methods whose repetition changes nothing may be retried. */
START_TEST(test_is_idempotent_as_rfc_9110)
{
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_GET));
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_HEAD));
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_PUT));
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_DELETE));
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_OPTIONS));
	ck_assert(sconce_http_is_idempotent(SCONCE_HTTP_TRACE));
	ck_assert(!sconce_http_is_idempotent(SCONCE_HTTP_POST));
	ck_assert(!sconce_http_is_idempotent(SCONCE_HTTP_PATCH));
	ck_assert(!sconce_http_is_idempotent(SCONCE_HTTP_CONNECT));
	ck_assert(!sconce_http_is_idempotent(SCONCE_HTTP_OTHER));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("text");
	TCase *tc = t_case(s, "date");

	tcase_add_test(tc, test_date_many_days_as_strftime);
	tcase_add_test(tc, test_date_beyond_four_digits_refused);
	tc = t_case(s, "texts");
	tcase_add_test(tc, test_error_text_each_error_has_its_own);
	tcase_add_test(tc, test_reason_unknown_is_empty);
	tcase_add_test(tc, test_is_idempotent_as_rfc_9110);
	return s;
}
