/* Filters that cut bytes: line, split, regex, fixed, size, block, stream, last.  What the table of
 * test_filter_vectors.c does not say: settings, limits, ends of input. */
#include "test_filter.h"

#include <limits.h>

static struct sconce_filter *none;		/* what a constructor that fails leaves alone */

/* ---- lines ---- */

/* CR LF, LF and CR end a line; one that is cut in two is one; a CR that comes last waits for what is next, or for the
 * end. */
/* AC-22, PF-1 */
START_TEST(test_line_default_ends_are_whole)
{
	struct reader r;

	READS(line_any(), "a\r\nb\nc\rd", "<a><b><c><d>~");
	READS(line_any(), "a\n\rb\r\n", "<a><><b>");
	READS(line_any(), "a\r", "<a>");
	READS(line_any(), "\r\r\n\n", "<><><>");
	reader_open(&r, line_any());
	reader_feed(&r, "a\r", 2);
	reader_feed(&r, "\n", 1);
	reader_feed(&r, "b\r", 2);
	reader_end(&r);
	ck_assert_str_eq(r.text, "|<a>||<b>");
	reader_close(&r);
}
END_TEST

/* In the mode of POE a line ends at once, and a pair that is cut gives an empty one. */
/* PF-1 */
START_TEST(test_line_compat_ends_at_once)
{
	struct reader r;

	READS(line_mode(false, true), "a\n\rb\r\nc\r\rd\n\n", "<a><b><c><><d><>");
	reader_open(&r, line_mode(false, true));
	reader_feed(&r, "a\n", 2);
	reader_feed(&r, "\rb\r", 3);
	reader_feed(&r, "\n", 1);
	ck_assert_str_eq(r.text, "<a>|<><b>|<>|");
	reader_close(&r);
}
END_TEST

/* The first line's end is that of all; others are data then.  One that comes last in what has arrived is completed by
 * the next byte. */
/* PF-3 */
START_TEST(test_line_detect_first_end_decides)
{
	struct reader r;

	READS(line_mode(true, false), "a\rb\nc\r\nd", "<a><b\\nc><\\nd>~");
	READS(line_mode(true, false), "a\nb\rc\n\rd\n", "<a><b\\rc><\\rd>");
	READS(line_mode(true, false), "a\r\nb\rc\nd\r\n", "<a><b\\rc\\nd>");
	READS(line_mode(true, false), "a\n\rb\nc\n\r", "<a><b\\nc>");
	READS(line_mode(true, false), "\n\r\n\r", "<><>");
	reader_open(&r, line_mode(true, false));
	reader_feed(&r, "a\n", 2);		/* somebody may wait for the answer to it */
	reader_feed(&r, "\r", 1);
	reader_feed(&r, "b\n\r", 3);
	ck_assert_str_eq(r.text, "<a>||<b>|");
	reader_close(&r);
}
END_TEST

/* A literal end may have NULs and may repeat itself; output has the end of input unless told. */
/* PF-2 */
START_TEST(test_line_literal_is_found_wherever_it_is)
{
	struct sconce_line_options nul = { .in_end = "\0", .in_end_len = 1, .out_end = "\0\n", .out_end_len = 2 };

	READS(line_to("aab", NULL), "aaabaab" "aaab", "<a><><a>");
	READS(line_to("abab", NULL), "ababab", "<><ab>~");
	READS(MADE(line, &nul), "one\0\0two", "<one><><two>~");
	WRITES(MADE(line, &nul), "x", "x\\0\\n");
	WRITES(line_to("END", NULL), "x", "xEND");
	WRITES(line_to("END", "!"), "x", "x!");
	WRITES(line_any(), "", "\\r\\n");
}
END_TEST

/* Settings that exclude each other, or mean nothing, are refused. */
/* PF-2 */
START_TEST(test_line_odd_settings_are_refused)
{
	const struct sconce_line_options odd[] = {
		{ .in_end = "x", .detect = true }, { .in_end = "x", .compat = true }, { .detect = true, .compat = true },
		{ .in_end = "" }, { .in_end = "", .out_end = "x" }, { .out_end = "" },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		ck_assert_int_eq(sconce_filter_line(&odd[i], &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

/* A line as long as it may be is read, one byte more is refused as soon as it is sure, and stays in the input. */
START_TEST(test_line_limit_is_exact)
{
	struct reader r;

	READS(limited(line_any(), 4), "1234\r\n5678\n1234\r1234", "<1234><5678><1234><1234>~");
	READS(limited(line_any(), 4), "1\n12345", "<1>!line too long");
	READS(limited(line_any(), 4), "12345\r\n", "!line too long");
	READS(limited(line_to("END", NULL), 4), "1234END1234EN", "<1234>!line too long");
	READS(limited(line_to("END", NULL), 4), "12ENEND", "<12EN>");
	READS(limited(line_to("END", NULL), 4), "12345END", "!line too long");
	reader_open(&r, limited(line_to("END", NULL), 4));
	reader_feed(&r, "1234E", 5);
	ck_assert_int_eq(r.result, 0);
	reader_feed(&r, "x", 1);
	ck_assert_int_eq(r.result, -EMSGSIZE);
	ck_assert_uint_eq(r.framer.in.len, 6);
	reader_feed(&r, "END", 3);
	ck_assert_int_eq(r.result, -EMSGSIZE);		/* and from then on */
	reader_close(&r);
}
END_TEST

/* ---- splits ---- */

/* An empty record is one; the delimiter is literal, and may be in a record's bytes nowhere. */
/* AC-6, IB-3 */
START_TEST(test_split_empty_records_are_records)
{
	READS(MADE(split, "\n", 1), "a\n\nb\n", "<a><><b>");
	READS(MADE(split, "\n", 1), "\n\n", "<><>");
	READS(MADE(split, ".", 1), "a.b\n.c", "<a><b\\n><c>");
	WRITES(MADE(split, "\0-", 2), "a", "a\\0-");
	ck_assert_int_eq(sconce_filter_split("", 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_split(NULL, 3, &none), -EINVAL);
	READS(limited(MADE(split, "--", 2), 3), "abc--abc-", "<abc>!record too long");
	READS(limited(MADE(split, "--", 2), 3), "abc--abc", "<abc><abc>");
}
END_TEST

/* ---- expressions ---- */

static struct sconce_filter *
regex(const char *pattern, unsigned flags)
{
	return MADE(regex, pattern, flags);
}

/* The record is what stands before a match, or what the first group matched; then the match is gone, wherever it was. */
/* IB-4 */
START_TEST(test_regex_record_is_before_or_group)
{
	READS(regex("[;,]+", 0), "a;,b,;c", "<a><b><c>~");
	READS(regex("<([^>]*)>", 0), "xx<a>yy<>zz", "<a><><zz>~");
	READS(regex("a(x)?b", 0), "ab..axb", "<><x>");
	READS(regex("x*", 0), "aaxxbx", "<aa><b>");
	READS(regex("^a", 0), "aba", "<><ba>~");
	READS(regex("end", SCONCE_REGEX_ICASE), "aENDbeNd", "<a><b>");
	READS(regex("\xff", 0), "a\xff" "b\0c\xff", "<a><b\\0c>");
	WRITES(regex("x", 0), "abc", "abc");
}
END_TEST

/* A match at the end of what has arrived might become longer, so it waits for the next byte or the end; eagerly it
 * does not. */
/* IB-4 */
START_TEST(test_regex_match_at_the_end_waits_unless_eager)
{
	struct reader r;

	reader_open(&r, regex("\n+", 0));
	reader_feed(&r, "a\n", 2);
	reader_feed(&r, "\nb\n", 3);
	reader_end(&r);
	ck_assert_str_eq(r.text, "|<a>|<b>");
	reader_close(&r);
	reader_open(&r, regex("\n+", SCONCE_REGEX_EAGER));
	reader_feed(&r, "a\n", 2);
	reader_feed(&r, "\nb\n", 3);
	ck_assert_str_eq(r.text, "<a>|<><b>|");
	reader_close(&r);
}
END_TEST

/* An expression that nothing ends is refused, as is a match behind more bytes than a record may have. */
START_TEST(test_regex_limits_and_refusals)
{
	READS(limited(regex("x", 0), 4), "123x1234", "<123><1234>~");
	READS(limited(regex("x", 0), 4), "1234x", "!record too long");
	READS(limited(regex("x", 0), 4), "123x", "<123>");
	ck_assert_int_eq(sconce_filter_regex("(", 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_regex("", 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_regex(NULL, 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_regex("a", 8, &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

static bool
no_perl(void)
{
	struct sconce_filter *f = NULL;
	int r = sconce_filter_regex("a", SCONCE_REGEX_PERL, &f);

	sconce_filter_unref(f);
	return r == -ENOTSUP;
}

/* Perl's expressions know whether more could change a match: one that nothing could does not wait. */
/* IB-4, PF-2 */
START_TEST(test_regex_perl_waits_only_where_it_must)
{
	struct reader r;

	if (no_perl())
		return;
	ck_assert_int_eq(sconce_filter_regex("(", SCONCE_REGEX_PERL, &none), -EINVAL);
	reader_open(&r, regex("\r?\n", SCONCE_REGEX_PERL));
	reader_feed(&r, "a\n", 2);
	reader_feed(&r, "b\r", 2);
	reader_feed(&r, "\nc", 2);
	reader_end(&r);
	ck_assert_str_eq(r.text, "<a>||<b>|<c>~");
	reader_close(&r);
	reader_open(&r, regex("ab(?:.*z)?", SCONCE_REGEX_PERL));
	reader_feed(&r, "1ab", 3);
	reader_feed(&r, "2", 1);
	reader_feed(&r, "z\n", 2);
	ck_assert_str_eq(r.text, "||<1>|");
	reader_close(&r);
	reader_open(&r, regex("ab(?:.*z)?", SCONCE_REGEX_PERL | SCONCE_REGEX_EAGER));
	reader_feed(&r, "1ab", 3);
	ck_assert_str_eq(r.text, "<1>|");
	reader_close(&r);
	READS(regex("(?i)END(?=\n)", SCONCE_REGEX_PERL), "aend\nb", "<a><\\nb>~");
	READS(limited(regex("(a+)+$", SCONCE_REGEX_PERL), 64), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
		"!the expression takes too long");
}
END_TEST

/* ---- sizes ---- */

/* A size is at least a byte; one above the default limit is its own limit. */
/* IB-6, PF-4 */
START_TEST(test_fixed_size_is_at_least_one)
{
	struct sconce_filter *f;

	ck_assert_int_eq(sconce_filter_fixed(0, &none), -EINVAL);
	READS(MADE(fixed, 1), "abc", "<a><b><c>");
	READS(MADE(fixed, 4), "12345678ab", "<1234><5678><ab>~");
	f = MADE(fixed, (size_t)1 << 21);
	ck_assert_uint_eq(sconce_filter_max_record(f), (size_t)1 << 21);
	sconce_filter_unref(f);
	READS(limited(MADE(fixed, 4), 3), "1234", "!record too long");
	WRITES(MADE(fixed, 4), "12345678", "12345678");
}
END_TEST

static struct sconce_filter *
size_of(const char *template, int offset)
{
	return MADE(size, template, offset);
}

/* Each template is read and written in its order of bytes. */
/* IB-5 */
START_TEST(test_size_templates_have_their_bytes)
{
	WRITES(size_of("C", 0), "abc", "\\x03abc");
	WRITES(size_of("n", 0), "abc", "\\0\\x03abc");
	WRITES(size_of("N", 0), "abc", "\\0\\0\\0\\x03abc");
	WRITES(size_of("Q>", 0), "abc", "\\0\\0\\0\\0\\0\\0\\0\\x03abc");
	WRITES(size_of("v", 0), "abc", "\\x03\\0abc");
	WRITES(size_of("V", 0), "abc", "\\x03\\0\\0\\0abc");
	WRITES(size_of("Q<", 0), "abc", "\\x03\\0\\0\\0\\0\\0\\0\\0abc");
	WRITES(size_of("w", 0), "abc", "\\x03abc");
	WRITES(size_of("w", -200), "abc", "\\x81Kabc");
	READS(size_of("Q>", 0), "\0\0\0\0\0\0\0\2ab", "<ab>");
	READS(size_of("v", 0), "\2\0ab", "<ab>");
	READS(size_of("w", -200), "\x81\x4a" "ab", "<ab>");
	for (const char *const *t = (const char *const[]){ "", "x", "n*", "C2", "N/a*", "1", "nn", NULL }; *t != NULL; t++)
		ck_assert_int_eq(sconce_filter_size(*t, 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_size(NULL, 0, &none), -EINVAL);
}
END_TEST

/* The offset is added to what was sent; less than nothing is no length. */
/* IB-5 */
START_TEST(test_size_offset_is_added_and_checked)
{
	struct sconce_record rec = sconce_record_of("ab", 2);
	struct paper paper = paper_new();
	struct reader r;

	READS(size_of("n", -2), "\0\4ab\0\2\0\3c", "<ab><><c>");
	READS(size_of("n", -2), "\0\1x", "!malformed length");
	READS(size_of("C", 3), "\0abc", "<abc>");
	READS(size_of("C", INT_MIN), "\xff", "!malformed length");
	reader_open(&r, size_of("C", 3));
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec, &paper.sink), -EINVAL);	/* it would be -1 */
	reader_close(&r);
	reader_open(&r, size_of("C", -254));
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec, &paper.sink), -EMSGSIZE);
	ck_assert_str_eq(paper.wire.bytes, "");
	reader_close(&r);
	free(paper.wire.bytes);
}
END_TEST

/* What sconce_framer_next() says to the prefix of `size` alone. */
static int
asks_of(struct sconce_filter *f, const void *prefix, size_t len)
{
	struct sconce_record rec;
	struct reader r;
	int result;

	reader_open(&r, f);
	ck_assert_int_eq(sconce_framer_feed(&r.framer, prefix, len), 0);
	result = sconce_framer_next(&r.framer, &rec);
	ck_assert_uint_le(result < 0 ? 0 : r.framer.in._cap, 4096);	/* nothing is reserved for what was only announced */
	reader_close(&r);
	return result;
}

static size_t
ber(uint64_t n, unsigned char *buf)
{
	unsigned char digits[10];
	size_t len = 0;

	do
		digits[len++] = (unsigned char)(n & 0x7f);
	while ((n >>= 7) > 0);
	for (size_t i = 0; i < len; i++)
		buf[i] = digits[len - 1 - i] | (i + 1 < len ? 0x80 : 0);
	return len;
}

static void
check_length(uint64_t n)
{
	const size_t max = 1 << 20;
	int wanted = n > max ? -EMSGSIZE : n > 0 ? 0 : 1;
	unsigned char be[8], le[8], buf[10];
	char text[32];

	for (int i = 0; i < 8; i++)
		be[7 - i] = le[i] = (unsigned char)(n >> (8 * i));
	ck_assert_int_eq(asks_of(size_of("Q>", 0), be, 8), wanted);
	ck_assert_int_eq(asks_of(size_of("Q<", 0), le, 8), wanted);
	ck_assert_int_eq(asks_of(size_of("w", 0), buf, ber(n, buf)), wanted);
	ck_assert_int_eq(asks_of(MADE(block, NULL), text, (size_t)sprintf(text, "%llu", (unsigned long long)n) + 1), wanted);
	ck_assert_int_eq(asks_of(MADE(frozen, NULL), text, strlen(text) + 1), wanted);
	if (n <= UINT32_MAX) {
		ck_assert_int_eq(asks_of(size_of("N", 0), be + 4, 4), wanted);
		ck_assert_int_eq(asks_of(size_of("V", 0), le, 4), wanted);
	}
	if (n > INT_MAX)
		ck_assert_int_eq(asks_of(size_of("Q>", INT_MAX), be, 8), -EMSGSIZE);
	ck_assert_int_eq(asks_of(size_of("Q>", INT_MIN), be, 8),
		n < (uint64_t)INT_MAX + 1 ? -EBADMSG : n - INT_MAX - 1 > max ? -EMSGSIZE : n == (uint64_t)INT_MAX + 1 ? 1 : 0);
}

/* Every power of two as a length, and its neighbours, is waited for or refused; none becomes another. */
/* HZ-3 */
START_TEST(test_size_every_power_of_two_is_taken_for_what_it_is)
{
	for (int k = 0; k < 64; k++) {
		check_length((UINT64_C(1) << k) - 1);
		check_length(UINT64_C(1) << k);
		check_length((UINT64_C(1) << k) + 1);
	}
	check_length(UINT64_MAX);
	check_length(UINT64_MAX - INT_MAX + 1);		/* and the largest offset would be 2^64 */
}
END_TEST

/* Numbers that no 64 bits hold, or that are written longer than need be, are refused. */
/* HZ-3 */
START_TEST(test_size_numbers_that_overflow_are_refused)
{
	READS(size_of("w", 0), "\x80\x01" "a", "!malformed length");
	READS(size_of("w", 0), "\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00", "!record too long");
	READS(size_of("w", 0), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "!record too long");
	READS(MADE(block, NULL), "18446744073709551616\0a", "!block too big");
	READS(MADE(block, NULL), "99999999999999999999999999\0a", "!block too big");
	READS(MADE(block, NULL), "0000000000000000000000000000000001\0a", "!malformed length");
	READS(MADE(block, NULL), "0000000000000000000000000000001\0a", "<a>");
}
END_TEST

/* ---- blocks ---- */

static ssize_t odd_result;

static ssize_t
odd_decode(const void *data, size_t len, uint64_t *size_out)
{
	(void)data;
	ck_assert_uint_le(len, 32);
	*size_out = 1;
	return odd_result;
}

static ssize_t
odd_encode(uint64_t size, void *buf)
{
	(void)size, (void)buf;
	return odd_result;
}

static struct sconce_filter *
block_odd(ssize_t result)
{
	struct sconce_block_options o = { .decode = odd_decode, .encode = odd_encode };

	odd_result = result;
	return MADE(block, &o);
}

/* What is no digit before a length is passed over, or, strictly, refused; within one it always is. */
/* PF-5 */
START_TEST(test_block_stray_bytes_are_skipped_unless_strict)
{
	struct sconce_block_options strict = { .strict = true };

	READS(MADE(block, NULL), "--3\0abc\0\0x1\0z", "<abc><z>");
	READS(MADE(block, &strict), "3\0abc-1\0z", "<abc>!malformed length");
	READS(MADE(block, NULL), "1x\0abc", "!malformed length");
	READS(MADE(block, NULL), "5\0abc", "<abc>~");
	READS(MADE(block, NULL), "1", "<1>~");
}
END_TEST

/* A codec's errors are the input's, and what it must not say is one. */
/* PF-6 */
START_TEST(test_block_codec_is_not_believed)
{
	struct sconce_block_options half = { .decode = odd_decode }, other = { .encode = odd_encode };
	struct sconce_record rec = sconce_record_of("x", 1);
	struct paper paper = paper_new();
	struct reader r;

	ck_assert_int_eq(sconce_filter_block(&half, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_block(&other, &none), -EINVAL);
	READS(block_odd(1), "#a#b", "<a><b>");
	READS(block_odd(-EBADMSG), "#a", "!malformed length");
	READS(block_odd(-EMSGSIZE), "#a", "!block too big");
	READS(block_odd(-EPROTO), "#a", "!the filter failed");
	READS(block_odd(9), "#a", "!malformed length");
	READS(block_odd(0), "#a", "<#a>~");
	READS(block_odd(0), "01234567890123456789012345678901", "!malformed length");
	for (odd_result = -EPROTO; odd_result <= 33; odd_result = odd_result < 0 ? 0 : odd_result + 33) {
		ssize_t now = odd_result;

		reader_open(&r, block_odd(now));
		ck_assert_int_eq(sconce_framer_put(&r.framer, &rec, &paper.sink), now < 0 ? -EPROTO : -EINVAL);
		reader_close(&r);
	}
	ck_assert_str_eq(paper.wire.bytes, "");
	free(paper.wire.bytes);
}
END_TEST

/* ---- no records ---- */

/* What has arrived is a record, in parts where it is more than one may be. */
/* PF-7 */
START_TEST(test_stream_gives_what_has_arrived)
{
	struct reader r;

	reader_open(&r, limited(stream(), 4));
	reader_feed(&r, "ab", 2);
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "c", 1), 0);
	reader_feed(&r, "defg", 4);
	reader_end(&r);
	ck_assert_str_eq(r.text, "<ab>|<cdef><g>|");
	reader_close(&r);
	WRITES(stream(), "abc", "abc");
}
END_TEST

/* Nothing comes before the end, then all; nothing at all is no record. */
/* IB-7 */
START_TEST(test_last_gives_all_at_the_end)
{
	struct reader r;

	reader_open(&r, limited(last(), 4));
	reader_feed(&r, "ab", 2);
	reader_feed(&r, "cd", 2);
	reader_end(&r);
	ck_assert_str_eq(r.text, "||<abcd>");
	reader_close(&r);
	READS(last(), "", "");
	READS(limited(last(), 4), "abcde", "!input too long");
}
END_TEST

/* ---- what is common ---- */

static struct sconce_filter *
end_split(void)
{
	return MADE(split, ".", 1);
}

static struct sconce_filter *
end_regex(void)
{
	return MADE(regex, "[.]", 0);
}

static struct sconce_filter *
end_size(void)
{
	return MADE(size, "C", 0);
}

static struct sconce_filter *
end_fixed(void)
{
	return MADE(fixed, 9);
}

static struct sconce_filter *
end_http(void)
{
	return MADE(http, NULL);
}

static const struct ending {
	struct sconce_filter *(*make)(void);
	const char *bytes;		/* of which "left" is not a whole record */
	bool told_apart;
} endings[7] = {
	{ end_split, "left", false }, { end_regex, "left", true }, { end_size, "\x09left", true }, { end_fixed, "left", true },
	{ last, "left", false }, { end_http, "left", true }, { line_any, "left", true },
};

/* What is left at the end is told apart by the filters that say so, and is an ordinary record of the others; nothing
 * is no record. */
/* EM-15, IB-1, IB-10 */
START_TEST(test_end_leftover_is_told_apart_or_not)
{
	const struct ending *e = &endings[_i];
	struct sconce_filter *f = e->make();
	struct reader r;

	ck_assert(sconce_filter_returns_last(f) == e->told_apart);
	reader_open(&r, f);
	reader_feed(&r, e->bytes, strlen(e->bytes));
	reader_end(&r);
	ck_assert_str_eq(r.text, e->told_apart ? "|<left>~" : "|<left>");
	ck_assert_uint_eq(r.framer.in.len, 0);		/* and is gone */
	reader_all(&r);
	ck_assert_str_eq(r.text, e->told_apart ? "|<left>~" : "|<left>");
	reader_close(&r);
	READS(e->make(), "", "");
}
END_TEST

/* Part of a record, and then silence, is neither a record nor an error, however often one asks. */
/* EM-58 */
START_TEST(test_next_part_of_a_record_waits)
{
	struct sconce_record rec;
	struct reader r;

	for (size_t i = 0; i < 7; i++) {
		reader_open(&r, endings[i].make());
		reader_feed(&r, endings[i].bytes, strlen(endings[i].bytes));
		for (int n = 0; n < 3; n++)
			ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
		ck_assert_str_eq(sconce_framer_error(&r.framer), "");
		reader_close(&r);
	}
}
END_TEST

static void
to_fixed(struct reader *r, const struct sconce_record *rec)
{
	struct sconce_filter *f;

	if (rec->len != 6)
		return;
	f = MADE(fixed, 3);
	ck_assert_int_eq(sconce_framer_set_filter(&r->framer, f), 0);
	sconce_filter_unref(f);
}

/* Records are parsed one by one: what is behind one that changes the filter belongs to the new filter, at once. */
/* RW-3, RW-9 */
START_TEST(test_set_filter_between_records_takes_what_is_behind)
{
	struct reader r;

	reader_open(&r, line_any());
	r.each = to_fixed;
	reader_feed(&r, "one\nswitch\nabc\nef", 17);
	ck_assert_str_eq(r.text, "<one><switch><abc><\\nef>|");
	reader_close(&r);
}
END_TEST

/* One filter serves any number of connections, which know nothing of each other. */
/* I-11 */
START_TEST(test_framer_two_of_one_filter_share_nothing)
{
	struct sconce_filter *f = MADE(size, "n", 0);
	struct reader a, b;

	reader_open(&a, sconce_filter_ref(f));
	reader_open(&b, f);
	reader_feed(&a, "\0\3a", 3);
	reader_feed(&b, "\0\2b", 3);
	reader_feed(&a, "aa", 2);
	reader_feed(&b, "b", 1);
	ck_assert_str_eq(a.text, "|<aaa>|");
	ck_assert_str_eq(b.text, "|<bb>|");
	reader_close(&a);
	reader_close(&b);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("filters of bytes");
	TCase *c;

	if (no_perl())
		puts("skip Perl expressions: built without PCRE2");
	c = t_case(s, "line");
	tcase_add_test(c, test_line_default_ends_are_whole);
	tcase_add_test(c, test_line_compat_ends_at_once);
	tcase_add_test(c, test_line_detect_first_end_decides);
	tcase_add_test(c, test_line_literal_is_found_wherever_it_is);
	tcase_add_test(c, test_line_odd_settings_are_refused);
	tcase_add_test(c, test_line_limit_is_exact);

	c = t_case(s, "split");
	tcase_add_test(c, test_split_empty_records_are_records);

	c = t_case(s, "regex");
	tcase_add_test(c, test_regex_record_is_before_or_group);
	tcase_add_test(c, test_regex_match_at_the_end_waits_unless_eager);
	tcase_add_test(c, test_regex_limits_and_refusals);
	tcase_add_test(c, test_regex_perl_waits_only_where_it_must);

	c = t_case(s, "size");
	tcase_add_test(c, test_fixed_size_is_at_least_one);
	tcase_add_test(c, test_size_templates_have_their_bytes);
	tcase_add_test(c, test_size_offset_is_added_and_checked);
	tcase_add_test(c, test_size_every_power_of_two_is_taken_for_what_it_is);
	tcase_add_test(c, test_size_numbers_that_overflow_are_refused);

	c = t_case(s, "block");
	tcase_add_test(c, test_block_stray_bytes_are_skipped_unless_strict);
	tcase_add_test(c, test_block_codec_is_not_believed);

	c = t_case(s, "no records");
	tcase_add_test(c, test_stream_gives_what_has_arrived);
	tcase_add_test(c, test_last_gives_all_at_the_end);

	c = t_case(s, "common");
	tcase_add_loop_test(c, test_end_leftover_is_told_apart_or_not, 0, 7);
	tcase_add_test(c, test_next_part_of_a_record_waits);
	tcase_add_test(c, test_set_filter_between_records_takes_what_is_behind);
	tcase_add_test(c, test_framer_two_of_one_filter_share_nothing);
	return s;
}
