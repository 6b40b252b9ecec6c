#include "test_http.h"

static const char token_chars[] =
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* A token is made of tchar and nothing else, and is not empty. */
START_TEST(test_is_token_each_byte_is_tchar_or_refused)
{
	for (int c = 0; c < 256; c++) {
		char text[] = { 'a', (char)c, 'z' };
		bool allowed = c != 0 && strchr(token_chars, c) != NULL;

		ck_assert_msg(sconce_http_is_token(text, 3) == allowed, "byte %d", c);
	}
	ck_assert(!sconce_http_is_token("", 0));
}
END_TEST

/* Case matters for no ASCII letter and for every other byte. */
START_TEST(test_equal_each_pair_of_bytes_only_letters_fold)
{
	for (int a = 0; a < 256; a++)
		for (int b = 0; b < 256; b++) {
			char x = (char)a, y = (char)b;
			int la = a >= 'A' && a <= 'Z' ? a + 32 : a, lb = b >= 'A' && b <= 'Z' ? b + 32 : b;

			ck_assert_msg(sconce_http_equal(&x, 1, &y, 1) == (la == lb), "%d %d", a, b);
		}
	ck_assert(sconce_http_equal("", 0, "", 0));
	ck_assert(!sconce_http_equal("ab", 2, "abc", 3));
}
END_TEST

/* A list gives its elements without white space and passes over empty ones. */
START_TEST(test_list_next_blanks_and_empty_elements_are_passed_over)
{
	static const struct { const char *list, *items; } lists[] = {
		{ "", "" }, { ",", "" }, { " \t, ,,", "" }, { "a", "a|" }, { " a ", "a|" },
		{ "a,b", "a|b|" }, { "a , b\t,\tc", "a|b|c|" }, { ",a,,b,", "a|b|" },
		{ "keep-alive, X y , z", "keep-alive|X y|z|" },
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct guarded g = guarded_new(1);
		const char *list = guarded_put(&g, lists[i].list, strlen(lists[i].list));
		struct sconce_http_slice item;
		char items[64] = "";
		size_t pos = 0;

		while (sconce_http_list_next(list, strlen(lists[i].list), &pos, &item)) {
			strncat(items, list + item.offset, item.length);
			strcat(items, "|");
		}
		ck_assert_str_eq(items, lists[i].items);
		guarded_free(&g);
	}
}
END_TEST

/* An element is found whole, in any case, and nowhere else. */
START_TEST(test_list_has_whole_elements_only)
{
	ck_assert(sconce_http_list_has("Keep-Alive, CLOSE", 17, "close"));
	ck_assert(sconce_http_list_has("close", 5, "close"));
	ck_assert(!sconce_http_list_has("closed, disclose, clos", 22, "close"));
	ck_assert(!sconce_http_list_has("", 0, "close"));
	ck_assert(!sconce_http_list_has("close", 4, "close"));
}
END_TEST

/* A host and port are what RFC 3986 says, less what could be read in two ways. */
START_TEST(test_is_authority_table_judged)
{
	static const struct { const char *text; bool good; } table[] = {
		{ "a", true }, { "example.com", true }, { "example.com:80", true }, { "EXAMPLE.com:", true },
		{ "127.0.0.1:8080", true }, { "a_b-c~d.e", true }, { "a:65535", true }, { "a:0", true },
		{ "%41.com", true }, { "x!$&'()*+;=", true }, { "[::1]", true }, { "[::1]:80", true },
		{ "[2001:db8::1]", true }, { "[::ffff:1.2.3.4]:1", true },
		{ "[2001:db8:1111:2222:3333:4444:5555:6666]:443", true },
		{ "", false }, { ":80", false }, { "a:65536", false }, { "a:99999999999999999999", false },
		{ "a:8x", false }, { "a:-1", false }, { "a:+1", false }, { "a: 1", false }, { "a:1:2", false },
		{ "user@a", false }, { "a/b", false }, { "a?b", false }, { "a#b", false }, { "a b", false },
		{ "a,b", false }, { "a\\b", false }, { "a<b", false }, { "a\"b", false }, { "%4", false },
		{ "%", false }, { "%zz", false }, { "a%4g", false }, { "[::1", false }, { "[]", false },
		{ "[", false }, { "::1", false }, { "[::1]x", false }, { "[::1%25eth0]", false },
		{ "[1.2.3.4]", false }, { "[v1.x]", false }, { "[::g]", false }, { "]", false },
		{ "[00000000000000000000000000000000000000000000000000::1]", false },
		{ "a[b]", false }, { "\xc3\xa9.com", false }, { "a\x7f", false }, { "a\t", false },
	};
	static const char nul[] = "[::1\0junk]";

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		ck_assert_msg(sconce_http_is_authority(table[i].text, strlen(table[i].text)) == table[i].good,
		    "%s", table[i].text);
	ck_assert(!sconce_http_is_authority(nul, sizeof(nul) - 1));
	ck_assert(!sconce_http_is_authority("a\0b", 3));
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("token");
	TCase *tc = t_case(s, "token");

	tcase_add_test(tc, test_is_token_each_byte_is_tchar_or_refused);
	tcase_add_test(tc, test_equal_each_pair_of_bytes_only_letters_fold);
	tc = t_case(s, "list");
	tcase_add_test(tc, test_list_next_blanks_and_empty_elements_are_passed_over);
	tcase_add_test(tc, test_list_has_whole_elements_only);
	tc = t_case(s, "authority");
	tcase_add_test(tc, test_is_authority_table_judged);
	return s;
}
