/* Allocation number n fails, for every n of ours: a filter is not made, or the call says -ENOMEM, and nothing leaks.  (Those of the C
 * library, zlib and PCRE2 are their own: this program's symbols are hidden from them.)  HZ-22 */
#include "starve.h"

#include "test_filter.h"

#include <malloc.h>

enum { MAX_N = 200, SWEEPS = 100, LEAST = 16 };

static int
pass_on(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)rec->data, rec->len }, { "+", 1 } };

	(void)arg;
	return sconce_sink_pieces(to, iov, 2);
}

static int
make_line(struct sconce_filter **out)
{
	struct sconce_line_options o = { .in_end = "\n" };

	return sconce_filter_line(&o, out);
}

static int
make_split(struct sconce_filter **out)
{
	return sconce_filter_split("\n", 1, out);
}

static int
make_regex(struct sconce_filter **out)
{
	return sconce_filter_regex("\n", SCONCE_REGEX_EAGER, out);
}

static int
make_perl(struct sconce_filter **out)
{
	int r = sconce_filter_regex("\n", SCONCE_REGEX_PERL, out);

	return r == -ENOTSUP ? make_split(out) : r;
}

static int
make_size(struct sconce_filter **out)
{
	return sconce_filter_size("C", -46, out);	/* '1' is 49 */
}

static int
make_frozen(struct sconce_filter **out)
{
	struct sconce_frozen_options o = { pass_on, pass_on, NULL, false, false };

	return sconce_filter_frozen(&o, out);
}

static int
make_inflated(struct sconce_filter **out)
{
	struct sconce_frozen_options o = { .compress = true, .no_fatals = false };
	int r = sconce_filter_frozen(&o, out);

	return r == -ENOTSUP ? make_frozen(out) : r;
}

static int
make_http(struct sconce_filter **out)
{
	struct sconce_http_options o = { .http09 = true, .unfold = true };

	return sconce_filter_http(&o, out);
}

/* line -> map -> group, whose parts may fail too. */
static int
make_stack(struct sconce_filter **out)
{
	struct sconce_filter *f[3] = { NULL, NULL, NULL };
	int r = make_line(&f[0]);

	if (r == 0)
		r = sconce_filter_map(pass_on, pass_on, NULL, &f[1]);
	if (r == 0)
		r = sconce_filter_group(2, true, &f[2]);
	if (r == 0)
		r = sconce_filter_stack(f, 3, out);
	for (int i = 0; i < 3; i++)
		sconce_filter_unref(f[i]);
	return r;
}

#define REQUESTS "GET /\r\nGET / HTTP/1.0\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\nx"
#define DEFLATED "13\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"

static const struct kind {
	int (*make)(struct sconce_filter **out);
	const char *bytes;
	size_t len;
	int records;			/* in them */
} kinds[] = {
	{ make_line, "a\nb\n", 4, 2 }, { make_split, "a\nb\n", 4, 2 },
	{ make_regex, "a\nb\n", 4, 2 }, { make_perl, "a\nb\n", 4, 2 },
	{ make_size, "1abc", 4, 1 }, { make_frozen, "1\0a1\0b", 6, 2 },
	{ make_inflated, DEFLATED, sizeof(DEFLATED) - 1, 1 }, { make_http, REQUESTS, sizeof(REQUESTS) - 1, 2 },
	{ make_stack, "a\nb\nc\nd\n", 8, 2 },
};

/* Reads all, and puts each record twice.  Returns the first error, or how many there were. */
static int
use(struct sconce_framer *fr, const struct kind *k, struct paper *paper)
{
	struct sconce_record rec;
	int n = 0, r = sconce_framer_feed(fr, k->bytes, k->len);

	while (r == 0) {
		r = sconce_framer_next(fr, &rec);
		if (r <= 0)
			return r < 0 ? r : n;
		n++;
		r = sconce_framer_put(fr, &rec, &paper->sink);
		if (r >= 0)
			r = sconce_framer_put(fr, &rec, &paper->sink);
		r = r < 0 ? r : 0;
	}
	return r;
}

static int
run(const struct kind *k, struct paper *paper)
{
	struct sconce_filter *f = NULL;
	struct sconce_framer fr;
	int r = k->make(&f);

	if (r < 0) {
		ck_assert_ptr_null(f);
		return r;
	}
	r = sconce_framer_init(&fr, f);
	if (r == 0) {
		r = use(&fr, k, paper);
		sconce_framer_fini(&fr);
	}
	sconce_filter_unref(f);
	return r;
}

/* Memory for what is written comes before: it is not the filter's. */
static struct paper
roomy_paper(void)
{
	struct paper p = { .sink = { paper_add } };

	p.wire.cap = 4096;
	p.wire.bytes = malloc(p.wire.cap);
	return p;
}

/* Fails each allocation of a run in turn.  Returns how many there are. */
static long
fail_each(const struct kind *k, struct paper *paper)
{
	long n;
	int r;

	for (n = 1; n < MAX_N; n++) {
		paper->wire.len = 0;
		starve_failed = 0;
		starve_left = n;
		r = run(k, paper);
		starve_left = 0;
		if (starve_failed == 0)
			break;
		if (r != -ENOMEM)
			ck_abort_msg("allocation %ld: %d", n, r);
	}
	return n - 1;
}

/* Bytes that are allocated. */
static size_t
in_use(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
	return mallinfo2().uordblks;
#else
	return 0;
#endif
}

/* Every allocation that fails is told as what it is, the run in which none does is as ever, and nothing is left of a
 * hundred such runs (what malloc() keeps for itself varies, but does not grow). */
START_TEST(test_filter_failed_allocation_is_told)
{
	const struct kind *k = &kinds[_i];
	struct paper paper = roomy_paper();
	size_t before;
	long n;

	ck_assert_int_eq(run(k, &paper), k->records);
	if (STARVE_WORKS) {
		n = fail_each(k, &paper);
		ck_assert_int_gt(n, 2);
		ck_assert_int_lt(n, MAX_N - 1);
		for (int i = 0; i < 10; i++)
			fail_each(k, &paper);
		before = in_use();
		for (int i = 0; i < SWEEPS; i++)
			fail_each(k, &paper);
		ck_assert_uint_lt(in_use(), before + SWEEPS * LEAST);
	}
	free(paper.wire.bytes);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("filters without memory");
	TCase *c = t_case(s, "each allocation");

	tcase_add_loop_test(c, test_filter_failed_allocation_is_told, 0, sizeof(kinds) / sizeof(kinds[0]));
	return s;
}
