#include "test_http.h"

#include <inttypes.h>
#include <stdio.h>

/* What a body turned out to be. */
struct reading {
	char		payload[65536];
	size_t		len;
	size_t		taken;		/* bytes of input */
	bool		done;
	enum sconce_http_error error;
};

/* Takes one piece of a body; false when it is refused or done. */
static bool
take(struct sconce_http_body *b, const char *piece, size_t len, struct reading *r)
{
	while (len > 0 && !b->done) {
		size_t data = 12345;
		ssize_t n = sconce_http_body_parse(b, piece, len, &data);

		if (n < 0) {
			ck_assert_int_eq(n, -EBADMSG);
			ck_assert_uint_eq(data, 12345);
			r->error = b->error;
			return false;
		}
		ck_assert_uint_gt((size_t)n + data, 0);
		ck_assert_uint_le((size_t)n + data, len);
		memcpy(r->payload + r->len, piece + n, data);
		r->len += data;
		r->taken += (size_t)n + data;
		piece += (size_t)n + data;
		len -= (size_t)n + data;
	}
	r->done = b->done;
	return !b->done;
}

/* Reads a body cut into pieces of `step` bytes after a first one of `first`. */
static void
read_body(struct sconce_http_body *b, const char *text, size_t len, size_t first, size_t step,
    struct reading *r)
{
	struct guarded g = guarded_new(len);
	size_t at = 0, n = first;

	memset(r, 0, sizeof(*r));
	while (at < len) {
		n = n < len - at ? n : len - at;
		if (!take(b, guarded_put(&g, text + at, n), n, r))
			break;
		at += n;
		n = step;
	}
	guarded_free(&g);
}

static void
read_chunked(const char *text, size_t len, size_t first, size_t step, struct reading *r)
{
	struct sconce_http_body b;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
	read_body(&b, text, len, first, step, r);
}

static struct reading whole, cut;

#define CHUNKED(text) read_chunked((text), sizeof(text) - 1, sizeof(text) - 1, 1, &whole)

static const char *const good[] = {
	"0\r\n\r\n",
	"000\r\n\r\n",
	"5\r\nhello\r\n0\r\n\r\n",
	"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
	"A\r\n0123456789\r\n0\r\n\r\n",
	"a\r\n0123456789\r\n0\r\n\r\n",
	"0000000000000001\r\nx\r\n0\r\n\r\n",
	"5;a=b\r\nhello\r\n0;last\r\n\r\n",
	"5;a=\"quoted; \xff\"\t\r\nhello\r\n0\r\n\r\n",
	"2\r\n\r\n\r\n0\r\n\r\n",
	"0\r\nTrailer: x\r\nOther:\r\n\r\n",
	"1\r\nx\r\n0\r\nA: b\tc\xe9\r\n\r\n",
	"3\r\n0\r\n\r\n0\r\n\r\n",
};

/* Chunks come out joined, whatever stands between them. */
START_TEST(test_body_parse_chunked_gives_payload)
{
	static const char *const payload[] = {
		"", "", "hello", "hello world", "0123456789", "0123456789", "x", "hello", "hello", "\r\n", "",
		"x", "0\r\n",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		read_chunked(good[i], strlen(good[i]), strlen(good[i]), 1, &whole);
		ck_assert_int_eq(whole.error, SCONCE_HTTP_OK);
		ck_assert(whole.done);
		ck_assert_uint_eq(whole.taken, strlen(good[i]));
		ck_assert_str_eq(whole.payload, payload[i]);
	}
}
END_TEST

struct refused {
	const char	*text;
	enum sconce_http_error error;
};

static const struct refused bad[] = {
	{ "\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ " 5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "\t5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "5 \r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "5 ;a\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "+5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "-5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "0x5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "g\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ ";a\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "5_0\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "5,5\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "00000000000000001\r\nx\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "8000000000000000\r\n", SCONCE_HTTP_E_CHUNK_TOO_LARGE },
	{ "ffffffffffffffff\r\n", SCONCE_HTTP_E_CHUNK_TOO_LARGE },
	{ "10000000000000005\r\nhello", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "5\nhello\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "5\rhello\r\n", SCONCE_HTTP_E_BARE_CR },
	{ "5\r\r\nhello\r\n", SCONCE_HTTP_E_BARE_CR },
	{ "5;\r\nhello\r\n", SCONCE_HTTP_E_CHUNK_EXTENSION },
	{ "5;\nhello\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "5;a\nhello\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "5;a\rb\r\nhello\r\n", SCONCE_HTTP_E_BARE_CR },
	{ "5;a=\"\n\"\r\nhello\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "5;a=\x01\r\nhello\r\n", SCONCE_HTTP_E_CHUNK_EXTENSION },
	{ "5;a=\x7f\r\nhello\r\n", SCONCE_HTTP_E_CHUNK_EXTENSION },
	{ "5\r\nhelloX\n", SCONCE_HTTP_E_CHUNK_END },
	{ "5\r\nhello\n", SCONCE_HTTP_E_CHUNK_END },
	{ "5\r\nhello\rX", SCONCE_HTTP_E_BARE_CR },
	{ "5\r\nhello0\r\n\r\n", SCONCE_HTTP_E_CHUNK_END },
	{ "1\r\nhello\r\n0\r\n\r\n", SCONCE_HTTP_E_CHUNK_END },
	{ "5\r\nhello\r\n\r\n0\r\n\r\n", SCONCE_HTTP_E_CHUNK_SIZE },
	{ "0\r\n\n", SCONCE_HTTP_E_BARE_LF },
	{ "0\r\n\rX", SCONCE_HTTP_E_BARE_CR },
	{ "0\n\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "0\r\n a: b\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\n: b\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\na : b\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\na\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\na: b\n\r\n", SCONCE_HTTP_E_BARE_LF },
	{ "0\r\na: b\rc\r\n", SCONCE_HTTP_E_BARE_CR },
	{ "0\r\na: b\r\n c\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\na: \x08\r\n\r\n", SCONCE_HTTP_E_TRAILER },
	{ "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", SCONCE_HTTP_E_TRAILER },
};

/* Chunked framing that two readers could read in two ways is refused, not repaired. */
/* HZ-4 */
START_TEST(test_body_parse_ambiguous_chunk_refused)
{
	const struct refused *t = &bad[_i];

	read_chunked(t->text, strlen(t->text), strlen(t->text), 1, &whole);
	ck_assert_msg(whole.error == t->error, "%s: %s", t->text, sconce_http_error_text(whole.error));
	ck_assert(sconce_http_error_status(whole.error) >= 400);
}
END_TEST

static void
same_at_every_cut(const char *text)
{
	size_t len = strlen(text);

	read_chunked(text, len, len, 1, &whole);
	for (size_t first = 1; first <= len; first++)
		for (size_t step = 1; step <= len; step += step == 1 ? len : 1) {
			read_chunked(text, len, first, step == 1 ? 1 : len, &cut);
			ck_assert_int_eq(cut.error, whole.error);
			ck_assert_int_eq(cut.done, whole.done);
			ck_assert_uint_eq(cut.len, whole.len);
			ck_assert_mem_eq(cut.payload, whole.payload, whole.len);
			if (whole.done)
				ck_assert_uint_eq(cut.taken, whole.taken);
		}
}

/* Wherever the input is cut, the payload and the verdict are the same. */
START_TEST(test_body_parse_any_cut_same_result)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		same_at_every_cut(good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		same_at_every_cut(bad[i].text);
}
END_TEST

static void
check_size(uint64_t size, bool carried)
{
	char text[64];
	struct sconce_http_body b;
	size_t data = 0;
	ssize_t n;

	snprintf(text, sizeof(text), "%s%" PRIx64 "\r\nx", carried ? "1" : "", size);
	if (carried)		/* 2^64 + size: 17 digits */
		snprintf(text, sizeof(text), "1%016" PRIx64 "\r\nx", size);
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
	n = sconce_http_body_parse(&b, text, strlen(text), &data);
	if (carried || size > SCONCE_HTTP_LENGTH_MAX) {
		ck_assert_int_eq(n, -EBADMSG);
		ck_assert_int_eq(b.error, carried ? SCONCE_HTTP_E_CHUNK_SIZE : SCONCE_HTTP_E_CHUNK_TOO_LARGE);
	} else if (size == 0) {
		ck_assert(!b.done);
	} else {
		ck_assert_int_eq(n, (ssize_t)strlen(text) - 1);
		ck_assert_uint_eq(data, 1);
		ck_assert_uint_eq(b.left, size - 1);
	}
}

/* Every power of two, and one more and less, is either the size it says or refused; never another. */
/* HZ-3 */
START_TEST(test_body_parse_chunk_size_powers_of_two_exact_or_refused)
{
	for (int k = 0; k < 64; k++)
		for (int d = -1; d <= 1; d++) {
			check_size((UINT64_C(1) << k) + (uint64_t)(int64_t)d, false);
			check_size((UINT64_C(1) << k) + (uint64_t)(int64_t)d, true);
		}
	check_size(UINT64_MAX, false);
	check_size(0, true);
}
END_TEST

/* A chunk of the largest size can be passed in steps without its count going wrong. */
/* HZ-3 */
START_TEST(test_body_skip_largest_chunk_counts_down)
{
	static const char line[] = "7fffffffffffffff\r\n";
	struct sconce_http_body b;
	size_t data;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
	ck_assert_int_eq(sconce_http_body_parse(&b, line, sizeof(line) - 1, &data), sizeof(line) - 1);
	ck_assert_uint_eq(data, 0);
	ck_assert_uint_eq(b.left, SCONCE_HTTP_LENGTH_MAX);
	sconce_http_body_skip(&b, SCONCE_HTTP_LENGTH_MAX - 3);
	ck_assert_uint_eq(b.left, 3);
	ck_assert_int_eq(sconce_http_body_parse(&b, "abc\r\n0\r\n\r\n", 10, &data), 0);
	ck_assert_uint_eq(data, 3);
	ck_assert_int_eq(sconce_http_body_parse(&b, "\r\n0\r\n\r\nGET", 10, &data), 7);
	ck_assert_uint_eq(data, 0);
	ck_assert(b.done);
}
END_TEST

/* Payload that went by another way may end the chunk. */
START_TEST(test_body_skip_rest_of_chunk_then_framing)
{
	struct sconce_http_body b;
	size_t data;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
	sconce_http_body_parse(&b, "5\r\nhe", 5, &data);
	ck_assert_uint_eq(b.left, 3);
	sconce_http_body_skip(&b, 3);
	sconce_http_body_skip(&b, 0);
	ck_assert_int_eq(sconce_http_body_parse(&b, "\r\n0\r\n\r\n", 7, &data), 7);
	ck_assert(b.done);
}
END_TEST

/* Skipping what is not payload is misuse. */
START_TEST(test_body_skip_too_much_asserts)
{
	struct sconce_http_body b;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, 5);
	sconce_http_body_skip(&b, 6);
}
END_TEST

/* A limit is kept to the byte: what fits passes, one more is refused. */
static void
check_limit(const char *front, const char *back, size_t limit, enum sconce_http_error error)
{
	static char text[20000];

	for (size_t n = limit - 1; n <= limit + 1; n++) {
		size_t len = strlen(front);

		memcpy(text, front, len);
		memset(text + len, 'x', n);
		strcpy(text + len + n, back);
		read_chunked(text, len + n + strlen(back), 1, 1000, &whole);
		ck_assert_int_eq(whole.error, n > limit ? error : SCONCE_HTTP_OK);
		ck_assert_int_eq(whole.done, n <= limit);
	}
}

/* Extensions and trailers are bounded, to the byte. */
/* HZ-3 */
START_TEST(test_body_parse_extension_and_trailer_limits_exact)
{
	check_limit("0;", "\r\n\r\n", SCONCE_HTTP_EXTENSION_BYTES, SCONCE_HTTP_E_CHUNK_EXTENSION);
	/* ": v", CRLF twice, and the last LF is not counted: the body ends there */
	check_limit("0\r\n", ":v\r\n\r\n", SCONCE_HTTP_TRAILER_BYTES - 4, SCONCE_HTTP_E_TRAILER_TOO_LARGE);
}
END_TEST

/* Each chunk has an allowance of its own for extensions. */
START_TEST(test_body_parse_extension_limit_is_per_chunk)
{
	static char text[20000];
	char ext[1001];

	memset(ext, 'e', 1000);
	ext[1000] = '\0';
	text[0] = '\0';
	for (int i = 0; i < 10; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "1;%s\r\nx\r\n", ext);
	strcat(text, "0\r\n\r\n");
	read_chunked(text, strlen(text), 7, 13, &whole);
	ck_assert(whole.done);
	ck_assert_str_eq(whole.payload, "xxxxxxxxxx");
}
END_TEST

/* Nothing is taken behind the end of a body: it is the next message. */
/* HZ-5 */
START_TEST(test_body_parse_next_message_left_alone)
{
	struct sconce_http_body b;
	size_t data;

	CHUNKED("1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
	ck_assert_uint_eq(whole.taken, 11);
	ck_assert(whole.done);
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, 3);
	read_body(&b, "abcHTTP/1.1", 11, 11, 1, &whole);
	ck_assert_uint_eq(whole.taken, 3);
	ck_assert_str_eq(whole.payload, "abc");
	ck_assert_int_eq(sconce_http_body_parse(&b, "HTTP", 4, &data), 0);
	ck_assert_uint_eq(data, 0);
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_NONE, 77);
	ck_assert(b.done);
	ck_assert_int_eq(sconce_http_body_parse(&b, "HTTP", 4, &data), 0);
	ck_assert_uint_eq(data, 0);
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, 0);
	ck_assert(b.done);
}
END_TEST

/* A body of a known length counts down, in pieces or by skipping. */
START_TEST(test_body_parse_length_counts_down)
{
	struct sconce_http_body b;

	for (size_t step = 1; step < 12; step++) {
		sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, 10);
		read_body(&b, "0123456789X", 11, step, step, &whole);
		ck_assert_str_eq(whole.payload, "0123456789");
		ck_assert(whole.done);
	}
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, SCONCE_HTTP_LENGTH_MAX);
	sconce_http_body_skip(&b, SCONCE_HTTP_LENGTH_MAX);
	ck_assert(b.done);
}
END_TEST

/* An end of the connection completes only a body that lasts until then. */
/* HZ-5 */
START_TEST(test_body_eof_inside_body_is_truncated)
{
	struct sconce_http_body b;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_LENGTH, 5);
	read_body(&b, "abc", 3, 3, 1, &whole);
	ck_assert_int_eq(sconce_http_body_eof(&b), -EBADMSG);
	ck_assert_int_eq(b.error, SCONCE_HTTP_E_TRUNCATED);
	ck_assert_int_eq(sconce_http_body_eof(&b), -EBADMSG);
	for (size_t n = 0; n < strlen(good[10]); n++) {
		sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
		read_body(&b, good[10], n, 1, 1, &whole);
		ck_assert_int_eq(sconce_http_body_eof(&b), -EBADMSG);
	}
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_UNTIL_CLOSE, 0);
	ck_assert_uint_eq(b.left, UINT64_MAX);
	read_body(&b, "abc", 3, 1, 2, &whole);
	sconce_http_body_skip(&b, 1 << 20);
	ck_assert(!b.done);
	ck_assert_uint_eq(b.left, UINT64_MAX);
	ck_assert_str_eq(whole.payload, "abc");
	ck_assert_int_eq(sconce_http_body_eof(&b), 0);
	ck_assert(b.done);
	sconce_http_body_init(&b, SCONCE_HTTP_BODY_NONE, 0);
	ck_assert_int_eq(sconce_http_body_eof(&b), 0);
}
END_TEST

/* A refused body stays refused, with its first error. */
START_TEST(test_body_parse_after_error_refused)
{
	struct sconce_http_body b;
	size_t data = 7;

	sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
	ck_assert_int_eq(sconce_http_body_parse(&b, "x", 1, &data), -EBADMSG);
	ck_assert_int_eq(sconce_http_body_parse(&b, "0\r\n\r\n", 5, &data), -EBADMSG);
	ck_assert_int_eq(b.error, SCONCE_HTTP_E_CHUNK_SIZE);
	ck_assert_uint_eq(data, 7);
	ck_assert_int_eq(sconce_http_body_eof(&b), -EBADMSG);
	ck_assert_int_eq(b.error, SCONCE_HTTP_E_CHUNK_SIZE);
}
END_TEST

/* What the chunk writer writes, the reader reads: every power of two, and one more and less. */
START_TEST(test_chunk_head_powers_of_two_read_back)
{
	for (int k = 0; k < 63; k++)
		for (int d = -1; d <= 1; d++) {
			uint64_t size = (UINT64_C(1) << k) + (uint64_t)(int64_t)d;
			char head[SCONCE_HTTP_CHUNK_HEAD_BYTES], text[32];
			struct sconce_http_body b;
			size_t n, data;

			if (size == 0)
				continue;
			n = sconce_http_chunk_head(head, size);
			ck_assert_int_eq(snprintf(text, sizeof(text), "%" PRIx64 "\r\n", size), (int)n);
			ck_assert_mem_eq(head, text, n);
			sconce_http_body_init(&b, SCONCE_HTTP_BODY_CHUNKED, 0);
			ck_assert_int_eq(sconce_http_body_parse(&b, head, n, &data), (ssize_t)n);
			ck_assert_uint_eq(b.left, size);
		}
	CHUNKED(SCONCE_HTTP_LAST_CHUNK);
	ck_assert(whole.done);
	char head[SCONCE_HTTP_CHUNK_HEAD_BYTES];
	ck_assert_uint_eq(sconce_http_chunk_head(head, UINT64_MAX), sizeof(head));
}
END_TEST

/* A chunk of no bytes would end the body: it cannot be written by mistake. */
START_TEST(test_chunk_head_of_nothing_asserts)
{
	char head[SCONCE_HTTP_CHUNK_HEAD_BYTES];

	sconce_http_chunk_head(head, 0);
}
END_TEST

/* Mutated bodies: never a crash, and the same verdict and payload whole and byte by byte. */
START_TEST(test_body_parse_mutated_same_whole_and_bytewise)
{
	static const char bytes[] = "\r\n\r\n01afFg;:= \t\"\0\x7f\x80-+x";
	uint64_t seed = 0x5c0ce + (uint64_t)_i;
	char text[256];

	for (int round = 0; round < 3000; round++) {
		const char *from = good[rnd(&seed) % (sizeof(good) / sizeof(good[0]))];
		size_t len = strlen(from);

		memcpy(text, from, len);
		for (uint64_t n = rnd(&seed) % 4 + 1; n > 0; n--) {
			size_t at = rnd(&seed) % len;

			if (rnd(&seed) % 3 == 0 && len > 1)
				memmove(text + at, text + at + 1, --len - at);
			else
				text[at] = bytes[rnd(&seed) % (sizeof(bytes) - 1)];
		}
		read_chunked(text, len, len, 1, &whole);
		read_chunked(text, len, 1, 1, &cut);
		ck_assert_int_eq(cut.error, whole.error);
		ck_assert_int_eq(cut.done, whole.done);
		ck_assert_uint_eq(cut.len, whole.len);
		ck_assert_mem_eq(cut.payload, whole.payload, whole.len);
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("body");
	TCase *tc = t_case(s, "parse");

	tcase_add_test(tc, test_body_parse_chunked_gives_payload);
	tcase_add_loop_test(tc, test_body_parse_ambiguous_chunk_refused, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tc, test_body_parse_any_cut_same_result);
	tcase_add_test(tc, test_body_parse_chunk_size_powers_of_two_exact_or_refused);
	tcase_add_test(tc, test_body_parse_extension_and_trailer_limits_exact);
	tcase_add_test(tc, test_body_parse_extension_limit_is_per_chunk);
	tcase_add_test(tc, test_body_parse_next_message_left_alone);
	tcase_add_test(tc, test_body_parse_length_counts_down);
	tcase_add_test(tc, test_body_parse_after_error_refused);
	tcase_add_loop_test(tc, test_body_parse_mutated_same_whole_and_bytewise, 0, 4);
	tc = t_case(s, "skip");
	tcase_add_test(tc, test_body_skip_largest_chunk_counts_down);
	tcase_add_test(tc, test_body_skip_rest_of_chunk_then_framing);
	t_add_abort(tc, test_body_skip_too_much_asserts);
	tc = t_case(s, "eof");
	tcase_add_test(tc, test_body_eof_inside_body_is_truncated);
	tc = t_case(s, "chunk_head");
	tcase_add_test(tc, test_chunk_head_powers_of_two_read_back);
	t_add_abort(tc, test_chunk_head_of_nothing_asserts);
	return s;
}
