/* What the tests of filters share: a framer that is fed pieces, and what comes out of it as one line of text.
 *
 *	struct reader r;
 *
 *	reader_open(&r, filter);			takes the caller's reference
 *	reader_feed(&r, "one\ntw", 6);			and takes all records that there are
 *	reader_end(&r);
 *	ck_assert_str_eq(r.text, "<one>|<tw>~");
 *	reader_close(&r);
 *
 * A record is <its bytes>, followed by ~ for SCONCE_RECORD_LAST, ? for _ERROR, ^ for _HEAD, # for _BODY and . for
 * _END; a group is (its records). "|" stands where a piece of input ended, "!text" where the input failed.  Bytes
 * that cannot be seen are \r, \n, \0 and \xNN. */
#ifndef TEST_FILTER_H
#define TEST_FILTER_H

#include "test_http.h"

#include <stdio.h>

#include <sconce/filter.h>
#include <sconce/sock.h>

/* Text that grows. */
struct text {
	char *bytes;			/* terminated */
	size_t len, cap;
};

static inline void
text_add(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len + 1 > t->cap) {
		t->cap = 2 * (t->len + len + 1);
		t->bytes = realloc(t->bytes, t->cap);
		if (t->bytes == NULL)
			abort();		/* check's own calls are dear */
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

static inline void
text_add_visible(struct text *t, const char *bytes, size_t len)
{
	char code[8];

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c >= ' ' && c < 0x7f) {
			text_add(t, &bytes[i], 1);
			continue;
		}
		snprintf(code, sizeof(code), c == '\r' ? "\\r" : c == '\n' ? "\\n" : c == 0 ? "\\0" : "\\x%02x", c);
		text_add(t, code, strlen(code));
	}
}

static inline void
text_add_record(struct text *t, const struct sconce_record *rec)
{
	static const char marks[] = "~?^#.";

	if (rec->items != NULL) {
		text_add(t, "(", 1);
		for (size_t i = 0; i < rec->count; i++)
			text_add_record(t, &rec->items[i]);
		text_add(t, ")", 1);
	} else {
		text_add(t, "<", 1);
		text_add_visible(t, rec->data, rec->len);
		text_add(t, ">", 1);
	}
	for (unsigned i = 0; i < 5; i++)
		if (rec->flags & 1u << i)
			text_add(t, &marks[i], 1);
}

/* A sink that joins all bytes. */
struct paper {
	struct sconce_sink sink;
	struct text wire;
	int refuse;			/* what is returned instead, behind so many calls */
	unsigned calls;
};

static inline int
paper_add(struct sconce_sink *to, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	struct paper *p = SCONCE_CONTAINER_OF(to, struct paper, sink);

	(void)rec;
	if (p->refuse < 0 && p->calls-- == 0)
		return p->refuse;
	for (int i = 0; i < count; i++)
		if (iov[i].iov_len > 0)
			text_add(&p->wire, iov[i].iov_base, iov[i].iov_len);
	return 1;
}

static inline struct paper
paper_new(void)
{
	struct paper p = { .sink = { paper_add } };

	text_add(&p.wire, "", 0);
	return p;
}

struct reader {
	struct sconce_framer framer;
	struct text out;		/* what has come */
	const char *text;		/* out.bytes */
	int result;			/* of the last sconce_framer_next() */
	struct paper *paper;		/* records are put to it; NULL: they are not */
	void (*each)(struct reader *r, const struct sconce_record *rec);	/* or NULL */
};

static inline void
reader_open(struct reader *r, struct sconce_filter *f)
{
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(sconce_framer_init(&r->framer, f), 0);
	sconce_filter_unref(f);
	text_add(&r->out, "", 0);
	r->text = r->out.bytes;
}

static inline void
reader_take(struct reader *r, const struct sconce_record *rec)
{
	text_add_record(&r->out, rec);
	if (r->paper != NULL)
		ck_assert_int_ge(sconce_framer_put(&r->framer, rec, &r->paper->sink), 0);
	if (r->each != NULL)
		r->each(r, rec);
}

/* Takes all records that there are. */
static inline void
reader_all(struct reader *r)
{
	struct sconce_record rec;
	bool failed = r->result < 0;

	while ((r->result = sconce_framer_next(&r->framer, &rec)) == 1)
		reader_take(r, &rec);
	if (r->result < 0 && !failed) {
		text_add(&r->out, "!", 1);
		text_add(&r->out, sconce_framer_error(&r->framer), strlen(sconce_framer_error(&r->framer)));
	}
	r->text = r->out.bytes;
}

static inline void
reader_feed(struct reader *r, const void *data, size_t len)
{
	ck_assert_int_eq(sconce_framer_feed(&r->framer, data, len), 0);
	reader_all(r);
	text_add(&r->out, "|", 1);
	r->text = r->out.bytes;
}

static inline void
reader_end(struct reader *r)
{
	sconce_framer_end(&r->framer);
	reader_all(r);
}

static inline void
reader_close(struct reader *r)
{
	sconce_framer_fini(&r->framer);
	free(r->out.bytes);
}

/* What comes of a whole input, with its end. */
static inline struct text
read_all(struct sconce_filter *f, const void *data, size_t len)
{
	struct reader r;

	reader_open(&r, sconce_filter_ref(f));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, data, len), 0);
	reader_end(&r);
	sconce_framer_fini(&r.framer);
	return r.out;
}

/* Whether that is what `wanted` says; drops the caller's reference. */
#define READS(filter, data, wanted) do { \
	struct sconce_filter *f_ = (filter); \
	struct text t_ = read_all(f_, data, sizeof(data) - 1); \
	ck_assert_str_eq(t_.bytes, wanted); \
	free(t_.bytes); \
	sconce_filter_unref(f_); \
} while (0)

/* What the filter writes for bytes. */
#define WRITES(filter, data, wanted) do { \
	struct paper p_ = paper_new(); \
	struct text t_ = { NULL, 0, 0 }; \
	struct sconce_record rec_ = sconce_record_of(data, sizeof(data) - 1); \
	struct reader r_; \
	reader_open(&r_, filter); \
	ck_assert_int_ge(sconce_framer_put(&r_.framer, &rec_, &p_.sink), 0); \
	text_add_visible(&t_, p_.wire.bytes, p_.wire.len); \
	text_add(&t_, "", 0); \
	ck_assert_str_eq(t_.bytes, wanted); \
	free(t_.bytes); \
	free(p_.wire.bytes); \
	reader_close(&r_); \
} while (0)

/* ---- filters, made without failing ---- */

/* MADE(line, &options): what sconce_filter_line() gives. */
#define MADE(name, ...) made(sconce_filter_##name(__VA_ARGS__, &made_filter))

static struct sconce_filter *made_filter;

static inline struct sconce_filter *
made(int result)
{
	ck_assert_int_eq(result, 0);
	return made_filter;
}

static inline struct sconce_filter *
limited(struct sconce_filter *f, size_t max)
{
	sconce_filter_set_max_record(f, max);
	return f;
}

/* The filters one behind the other; takes the references. */
#define STACK(...) stack_of((struct sconce_filter *[]){ __VA_ARGS__ }, \
	sizeof((struct sconce_filter *[]){ __VA_ARGS__ }) / sizeof(struct sconce_filter *))

static inline struct sconce_filter *
stack_of(struct sconce_filter **filters, size_t count)
{
	struct sconce_filter *stack;

	ck_assert_int_eq(sconce_filter_stack(filters, count, &stack), 0);
	while (count-- > 0)
		sconce_filter_unref(filters[count]);
	return stack;
}

static inline struct sconce_filter *
line_any(void)
{
	return MADE(line, NULL);
}

static inline struct sconce_filter *
line_to(const char *in_end, const char *out_end)
{
	struct sconce_line_options o = { .in_end = in_end, .out_end = out_end };

	return MADE(line, &o);
}

static inline struct sconce_filter *
line_mode(bool detect, bool compat)
{
	struct sconce_line_options o = { .detect = detect, .compat = compat };

	return MADE(line, &o);
}

static inline struct sconce_filter *
http(struct sconce_http_options o)
{
	return MADE(http, &o);
}

static inline struct sconce_filter *
stream(void)
{
	return made(sconce_filter_stream(&made_filter));
}

static inline struct sconce_filter *
last(void)
{
	return made(sconce_filter_last(&made_filter));
}

#endif
