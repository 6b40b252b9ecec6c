/* Promises that hold for every filter: how the input was cut does not matter, nothing behind it is read, and the work
 * is linear. */
#include "test_filter.h"

enum { SEEDS = 300, INPUT_MAX = 400, MEGABYTE = 1 << 20 };

static bool
no_perl(void)
{
	struct sconce_filter *f;
	int r = sconce_filter_regex("a", SCONCE_REGEX_PERL, &f);

	if (r == 0)
		sconce_filter_unref(f);
	return r == -ENOTSUP;
}

static bool
no_zlib(void)
{
	struct sconce_frozen_options o = { .compress = true };
	struct sconce_filter *f;
	int r = sconce_filter_frozen(&o, &f);

	if (r == 0)
		sconce_filter_unref(f);
	return r == -ENOTSUP;
}

static bool
never(void)
{
	return false;
}

/* ---- the filters ---- */

static struct sconce_filter *
line_detect(void)
{
	return line_mode(true, false);
}

static struct sconce_filter *
line_abab(void)
{
	return line_to("abab", "abab");
}

static struct sconce_filter *
line_short(void)
{
	return limited(line_any(), 7);
}

static struct sconce_filter *
split_aba(void)
{
	return MADE(split, "aba", 3);
}

static struct sconce_filter *
split_short(void)
{
	return limited(split_aba(), 7);
}

static struct sconce_filter *
regex_ends(void)
{
	return MADE(regex, "a|b", 0);
}

static struct sconce_filter *
regex_run(void)
{
	return MADE(regex, "\r+", 0);
}

static struct sconce_filter *
regex_short(void)
{
	return limited(MADE(regex, "\r", 0), 7);
}

static struct sconce_filter *
perl_run(void)
{
	return MADE(regex, "(?:\r\n?|\n)+", SCONCE_REGEX_PERL);
}

static struct sconce_filter *
perl_group(void)
{
	return MADE(regex, "a([^\n]*?)(?:\n|b\r)", SCONCE_REGEX_PERL);
}

static struct sconce_filter *
perl_far(void)
{
	return MADE(regex, "a.*?\r|b\n", SCONCE_REGEX_PERL);
}

static struct sconce_filter *
perl_behind(void)
{
	return limited(MADE(regex, "(?<=a)\r|(?<!b)\n(?=a)", SCONCE_REGEX_PERL), 30);
}

static struct sconce_filter *
fixed(void)
{
	return MADE(fixed, 5);
}

static struct sconce_filter *
size_c(void)
{
	return limited(MADE(size, "C", -2), 100);
}

static struct sconce_filter *
size_w(void)
{
	return limited(MADE(size, "w", 0), 12000);
}

static struct sconce_filter *
block(void)
{
	return MADE(block, NULL);
}

static struct sconce_filter *
block_strict(void)
{
	struct sconce_block_options o = { .strict = true };

	return limited(MADE(block, &o), 30);
}

static int
twice(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)rec->data, rec->len }, { (void *)(uintptr_t)rec->data, rec->len } };
	int r = sconce_sink_record(to, rec);

	(void)arg;
	return r < 0 ? r : sconce_sink_pieces(to, iov, 2);
}

static bool
has_bytes(const struct sconce_record *rec, void *arg)
{
	(void)arg;
	return rec->len > 0;
}

static struct sconce_filter *
records(void)
{
	return STACK(line_any(), MADE(map, twice, NULL, NULL), MADE(grep, has_bytes, NULL, NULL), MADE(group, 3, false));
}

/* Lines that hold parts of a stream of other records. */
static struct sconce_filter *
bytes_in_lines(void)
{
	return STACK(line_any(), split_aba(), STACK(MADE(map, twice, NULL, NULL), MADE(fixed, 3)));
}

static struct sconce_filter *
frozen(void)
{
	struct sconce_frozen_options o = { .thaw = twice, .no_fatals = true };

	return MADE(frozen, &o);
}

static struct sconce_filter *
inflated(void)
{
	struct sconce_frozen_options o = { .compress = true, .no_fatals = true };

	return MADE(frozen, &o);
}

static struct sconce_filter *
http_requests(void)
{
	return http((struct sconce_http_options){ .max_body = 40, .http09 = true, .unfold = true });
}

static struct sconce_filter *
http_answers(void)
{
	return http((struct sconce_http_options){ .responses = true });
}

static struct sconce_filter *
http_heads(void)
{
	return http((struct sconce_http_options){ .mode = SCONCE_HTTP_HEAD_ONLY, .unfold = true });
}

static struct sconce_filter *
http_pieces(void)
{
	return http((struct sconce_http_options){ .mode = SCONCE_HTTP_STREAMING });
}

/* ---- inputs ---- */

struct input {
	char bytes[INPUT_MAX];
	size_t len;
};

static void
add(struct input *in, const char *bytes, size_t len)
{
	if (len > sizeof(in->bytes) - in->len)
		len = sizeof(in->bytes) - in->len;
	memcpy(in->bytes + in->len, bytes, len);
	in->len += len;
}

static void
letters(struct input *in, uint64_t *seed)
{
	for (size_t n = rnd(seed) % INPUT_MAX; n > 0; n--)
		add(in, &"aabbab\r\n\r\nx"[rnd(seed) % 11], 1);
}

static void
small_numbers(struct input *in, uint64_t *seed)
{
	for (size_t n = rnd(seed) % INPUT_MAX; n > 0; n--) {
		char c = (char)(rnd(seed) % 10 + (rnd(seed) % 20 == 0 ? 0x80 : 0) + (rnd(seed) % 3 == 0 ? 2 : 0));

		add(in, &c, 1);
	}
}

static void
blocks(struct input *in, uint64_t *seed)
{
	static const char junk[] = "xyz-\0\0";
	char text[48];

	for (size_t n = rnd(seed) % 12; n > 0; n--) {
		size_t len = rnd(seed) % 25;
		int digits = snprintf(text, sizeof(text), "%zu", len);

		if (rnd(seed) % 6 == 0)
			add(in, junk, rnd(seed) % sizeof(junk));
		memset(text + digits + 1, 'a' + (int)(rnd(seed) % 20), len);
		add(in, text, (size_t)digits + 1 + len - (rnd(seed) % 30 == 0 && len > 0));
	}
}

/* The deflated forms of "hello" and of a hundred a's, and others that are none. */
static void
deflated(struct input *in, uint64_t *seed)
{
	static const struct { const char *bytes; size_t len; } parts[] = {
		{ "13\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15", 16 },
		{ "12\0\x78\x9c\x4b\x4c\xa4\x3d\x00\x00\xcd\x9c\x25", 15 },
		{ "3\0abc", 5 }, { "0\0", 2 }, { "12\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02", 15 },
	};

	for (size_t n = rnd(seed) % 12; n > 0; n--) {
		size_t i = rnd(seed) % (sizeof(parts) / sizeof(parts[0]));

		add(in, parts[i].bytes, parts[i].len);
	}
}

static const char *const request_parts[] = {
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "POST /p HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\nA;e\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET /old\r\n", "PUT /\r\n",
	"GET / HTTP/1.1\r\nX: a\r\n\t b \r\n  c\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "GET / HTTP/1.1\r\n X: y\r\n\r\n", "\r",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "x",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n0123456789abcdef0123456789abcdef\r\n0\r\n\r\n",
};

static const char *const answer_parts[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\n", "all that is left", "\r\n",
};

static void
requests(struct input *in, uint64_t *seed)
{
	for (size_t n = rnd(seed) % 8; n > 0; n--) {
		const char *part = request_parts[rnd(seed) % (sizeof(request_parts) / sizeof(request_parts[0]))];

		add(in, part, strlen(part));
	}
}

static void
answers(struct input *in, uint64_t *seed)
{
	for (size_t n = rnd(seed) % 8; n > 0; n--) {
		const char *part = answer_parts[rnd(seed) % (sizeof(answer_parts) / sizeof(answer_parts[0]))];

		add(in, part, strlen(part));
	}
}

/* ---- the table ---- */

static const struct kind {
	const char *name;
	struct sconce_filter *(*make)(void);
	void (*fill)(struct input *in, uint64_t *seed);
	bool (*lacks)(void);		/* it is not there in this build */
} kinds[] = {
	{ "line", line_any, letters, never }, { "line, detect", line_detect, letters, never },
	{ "line, literal", line_abab, letters, never }, { "line, short", line_short, letters, never },
	{ "split", split_aba, letters, never }, { "split, short", split_short, letters, never },
	{ "regex", regex_ends, letters, never }, { "regex, run", regex_run, letters, never },
	{ "regex, short", regex_short, letters, never }, { "perl, run", perl_run, letters, no_perl }, { "perl, group", perl_group, letters, no_perl },
	{ "perl, far", perl_far, letters, no_perl }, { "perl, behind", perl_behind, letters, no_perl },
	{ "fixed", fixed, letters, never }, { "last", last, letters, never },
	{ "size C", size_c, small_numbers, never }, { "size w", size_w, small_numbers, never },
	{ "block", block, blocks, never }, { "block, strict", block_strict, blocks, never },
	{ "records", records, letters, never }, { "bytes in lines", bytes_in_lines, letters, never },
	{ "frozen", frozen, blocks, never }, { "inflated", inflated, deflated, no_zlib },
	{ "http requests", http_requests, requests, never }, { "http answers", http_answers, answers, never },
	{ "http heads", http_heads, requests, never }, { "http pieces", http_pieces, requests, never },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Pieces of one body are one record, whatever their number. */
static void
join_pieces(struct text *t)
{
	char *to = t->bytes, *p;

	for (p = t->bytes; *p != '\0'; p++) {
		if (p[0] == '#' && p[1] == '<')
			p++;			/* behind a piece: another; its ">" is still there */
		else if (p[0] == '>' && p[1] == '#' && (p[2] == '<' || p[2] == '.'))
			continue;
		else
			*to++ = *p;
	}
	*to = '\0';
}

/* The bytes at the end of the memory. */
static const char *
put_last(struct guarded *guard, const char *bytes, size_t len)
{
	return memcpy(guard->pages + guard->size - len, bytes, len);
}

/* The input in pieces as `seed` has them: fed, or lent from memory that ends where they do; records taken behind
 * each, or later. */
static void
read_in_pieces(struct reader *r, const struct input *in, uint64_t *seed, struct guarded *guard)
{
	size_t at = 0, most = 1 + rnd(seed) % 20;
	int failed = 0;			/* check's own calls are dear */

	while (at < in->len) {
		size_t n = 1 + rnd(seed) % most;

		if (n > in->len - at)
			n = in->len - at;
		if (rnd(seed) % 2 == 0)
			failed |= sconce_framer_feed(&r->framer, in->bytes + at, n);
		else
			failed |= sconce_framer_lend(&r->framer, put_last(guard, in->bytes + at, n), n);
		if (rnd(seed) % 4 != 0)
			reader_all(r);
		failed |= sconce_framer_settle(&r->framer);
		memset(guard->pages, 'a', guard->size);
		at += n;
	}
	ck_assert_int_eq(failed, 0);
	reader_end(r);
}

/* The same input makes the same records, and the same error, however it is cut. */
START_TEST(test_get_random_pieces_give_the_same_records)
{
	const struct kind *k = &kinds[_i];
	struct guarded guard = guarded_new(INPUT_MAX);

	for (uint64_t n = 1; n <= SEEDS && !k->lacks(); n++) {
		uint64_t seed = n * 0x9e3779b97f4a7c15;
		struct sconce_filter *f = k->make();
		struct input in = { .len = 0 };
		struct text whole;
		struct reader r;

		k->fill(&in, &seed);
		whole = read_all(f, guarded_put(&guard, in.bytes, in.len), in.len);
		for (int i = 0; i < 4; i++) {
			reader_open(&r, sconce_filter_ref(f));
			read_in_pieces(&r, &in, &seed, &guard);
			join_pieces(&r.out);
			if (i == 0)
				join_pieces(&whole);
			ck_assert_msg(strcmp(r.text, whole.bytes) == 0, "%s, seed %u: %s in pieces, %s whole", k->name, (unsigned)n,
				r.text, whole.bytes);
			reader_close(&r);
		}
		free(whole.bytes);
		sconce_filter_unref(f);
	}
	guarded_free(&guard);
}
END_TEST

/* ---- linear work ---- */

static struct sconce_filter *
line_crlf(void)
{
	return line_to("\r\n", NULL);
}

static struct sconce_filter *
split_long(void)
{
	char bytes[1000];

	memset(bytes, 'x', sizeof(bytes));
	bytes[0] = 'y';
	return MADE(split, bytes, sizeof(bytes));
}

static struct sconce_filter *
split_late(void)
{
	char bytes[1000];

	memset(bytes, 'x', sizeof(bytes));
	bytes[999] = 'y';
	return MADE(split, bytes, sizeof(bytes));
}

static struct sconce_filter *
perl_lf(void)
{
	return MADE(regex, "\r?\n", SCONCE_REGEX_PERL);
}

static struct sconce_filter *
lines_in_lines(void)
{
	return STACK(MADE(fixed, 4), line_any(), MADE(map, NULL, NULL, NULL));
}

static struct sconce_filter *
http_whole(void)
{
	return http((struct sconce_http_options){ .mode = SCONCE_HTTP_WHOLE });
}

#define LENGTH_HEAD "POST / HTTP/1.0\r\nContent-Length: 1048500\r\n\r\n"
#define CHUNKED_HEAD "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff00\r\n"
#define FOLDED_HEAD "GET / HTTP/1.1\r\nX:\r\n "

static struct sconce_filter *
http_folded(void)
{
	return http((struct sconce_http_options){ .unfold = true });
}

static const struct long_one {
	const char *name;
	struct sconce_filter *(*make)(void);
	const char *head;		/* before a megabyte of x */
	size_t head_len;
	bool (*lacks)(void);
} long_ones[] = {
	{ "line", line_any, "", 0, never }, { "line, literal", line_crlf, "", 0, never },
	{ "line, detect", line_detect, "a\n", 2, never }, { "split, long", split_long, "", 0, never },
	{ "split, late", split_late, "", 0, never }, { "perl", perl_lf, "", 0, no_perl },
	{ "size", size_w, "\xdd\x00", 2, never }, { "last", last, "", 0, never },
	{ "block", block, "1048000\0", 8, never }, { "stack", lines_in_lines, "", 0, never },
	{ "http, length", http_whole, LENGTH_HEAD, sizeof(LENGTH_HEAD) - 1, never },
	{ "http, chunked", http_whole, CHUNKED_HEAD, sizeof(CHUNKED_HEAD) - 1, never },
	{ "http, folded", http_folded, FOLDED_HEAD, sizeof(FOLDED_HEAD) - 1, never },
};

/* Asks a filter again and again while the input grows, by a byte at the beginning of each page and then to its end.
 * What it has seen before, up to the page it is in, cannot be read. */
static void
ask_without_the_past(struct sconce_filter *f, void *state, struct guarded *g)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), seen = 0, next;
	struct sconce_input in = { .data = g->pages };
	struct sconce_record rec;
	int r = 0;

	for (; seen < g->size; seen = next) {
		ck_assert_int_eq(mprotect(g->pages, (seen > 0 ? seen - 1 : 0) / page * page, PROT_NONE), 0);
		next = seen % page < 10 ? seen + 1 : (seen / page + 1) * page;
		in.len += next - seen;
		do
			r = f->ops->get(f, state, &in, &rec);
		while (r > 0);
		ck_assert_int_ge(r, f->ops->name[0] == 'h' ? -EMSGSIZE : 0);
	}
}

/* What was looked at is not looked at again when more has come. */
START_TEST(test_get_long_record_never_looks_back)
{
	const struct long_one *k = &long_ones[_i];
	struct sconce_filter *f;
	struct guarded g;
	void *state;

	if (k->lacks())
		return;
	f = k->make();
	g = guarded_new(MEGABYTE);
	memset(g.pages, 'x', g.size);
	memcpy(g.pages, k->head, k->head_len);
	state = calloc(1, f->ops->state_size + 1);
	ck_assert_int_eq(f->ops->init != NULL ? f->ops->init(f, state) : 0, 0);
	ask_without_the_past(f, state, &g);
	if (f->ops->fini != NULL)
		f->ops->fini(f, state);
	free(state);
	sconce_filter_unref(f);
	guarded_free(&g);
}
END_TEST

/* The same with a framer: a record of a megabyte that comes byte by byte is done at once. */
START_TEST(test_get_byte_by_byte_is_done_at_once)
{
	const struct long_one *k = &long_ones[_i];
	struct reader r;
	int failed = 0;

	if (k->lacks())
		return;
	reader_open(&r, k->make());
	for (size_t i = 0; i < MEGABYTE; i++) {
		failed |= sconce_framer_feed(&r.framer, i < k->head_len ? &k->head[i] : "x", 1);
		reader_all(&r);
	}
	ck_assert_int_eq(failed, 0);
	reader_end(&r);
	ck_assert_uint_gt(r.out.len, 0);
	reader_close(&r);
}
END_TEST

/* Short records in one large piece cost what they have bytes too, though the end that is looked for first never
 * comes. */
START_TEST(test_get_short_lines_of_a_large_piece_are_found_at_once)
{
	char *bytes = malloc(16 * MEGABYTE);
	struct sconce_record rec;
	struct reader r;
	size_t n = 0;

	for (size_t i = 0; i < 16 * MEGABYTE; i++)
		bytes[i] = i % 2 == 0 ? 'x' : '\r';
	reader_open(&r, line_any());
	ck_assert_int_eq(sconce_framer_lend(&r.framer, bytes, 16 * MEGABYTE), 0);
	while (sconce_framer_next(&r.framer, &rec) == 1)
		n++;
	ck_assert_uint_eq(n, 8 * MEGABYTE - 1);		/* the last CR waits */
	reader_close(&r);
	free(bytes);
}
END_TEST

/* ---- there and back ---- */

static struct sconce_filter *
size_of(const char *template, int offset)
{
	return MADE(size, template, offset);
}

/* A byte of a record that a line or a split may have. */
static void
random_record(char *bytes, size_t len, uint64_t *seed, bool any)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = any ? (char)rnd(seed) : (char)('a' + rnd(seed) % 26);
}

/* What is written to a filter is read from it again. */
static void
goes_there_and_back(struct sconce_filter *f, bool any, size_t least)
{
	for (uint64_t n = 1; n <= 200; n++) {
		uint64_t seed = n * 0x9e3779b97f4a7c15;
		struct paper paper = paper_new();
		struct text sent = { NULL, 0, 0 }, got;
		struct reader r;

		text_add(&sent, "", 0);
		reader_open(&r, sconce_filter_ref(f));
		for (size_t i = rnd(&seed) % 6; i > 0; i--) {
			char bytes[300];
			struct sconce_record rec = sconce_record_of(bytes, least + rnd(&seed) % 250);

			random_record(bytes, rec.len, &seed, any);
			text_add_record(&sent, &rec);
			ck_assert_int_ge(sconce_framer_put(&r.framer, &rec, &paper.sink), 0);
		}
		got = read_all(f, paper.wire.bytes, paper.wire.len);
		ck_assert_str_eq(got.bytes, sent.bytes);
		free(got.bytes);
		free(sent.bytes);
		free(paper.wire.bytes);
		reader_close(&r);
	}
	sconce_filter_unref(f);
}

START_TEST(test_put_then_get_gives_the_records_back)
{
	struct sconce_frozen_options compressed = { .compress = true };

	goes_there_and_back(line_any(), false, 0);
	goes_there_and_back(line_to("END", NULL), false, 0);
	goes_there_and_back(MADE(split, "\0\0", 2), false, 0);
	goes_there_and_back(MADE(block, NULL), true, 0);
	goes_there_and_back(size_of("C", 0), true, 0);
	goes_there_and_back(size_of("n", 4), true, 4);
	goes_there_and_back(size_of("N", -4), true, 0);
	goes_there_and_back(size_of("Q>", 1), true, 1);
	goes_there_and_back(size_of("v", -1000), true, 0);
	goes_there_and_back(size_of("V", 0), true, 0);
	goes_there_and_back(size_of("Q<", INT32_MIN), true, 0);
	goes_there_and_back(size_of("w", -100), true, 0);
	goes_there_and_back(MADE(frozen, NULL), true, 0);
	goes_there_and_back(STACK(line_any(), MADE(map, NULL, NULL, NULL), STACK(MADE(grep, NULL, NULL, NULL))), false, 0);
	goes_there_and_back(STACK(MADE(size, "N", 0), STACK(MADE(block, NULL), MADE(size, "w", 0))), true, 0);
	if (!no_zlib())
		goes_there_and_back(MADE(frozen, &compressed), true, 0);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("filters");
	TCase *c;

	if (no_perl())
		puts("skip Perl expressions: built without PCRE2");
	if (no_zlib())
		puts("skip compression: built without zlib");
	c = t_case(s, "pieces");
	tcase_add_loop_test(c, test_get_random_pieces_give_the_same_records, 0, KINDS);

	c = t_case(s, "linear");
	tcase_add_loop_test(c, test_get_long_record_never_looks_back, 0, sizeof(long_ones) / sizeof(long_ones[0]));
	tcase_add_loop_test(c, test_get_byte_by_byte_is_done_at_once, 0, sizeof(long_ones) / sizeof(long_ones[0]));
	tcase_add_test(c, test_get_short_lines_of_a_large_piece_are_found_at_once);

	c = t_case(s, "there and back");
	tcase_add_test(c, test_put_then_get_gives_the_records_back);
	return s;
}
