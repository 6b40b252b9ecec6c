/* Records that end where a regular expression matches: sconce_filter_regex().
 *
 * Two engines.  The C library's does not say where a match might begin: whenever more has come, all that waits is
 * searched.  PCRE2's does (a partial match), and tells also whether more input could change what it has found. */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#if HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

struct regex {
	struct sconce_filter base;
	const struct engine *engine;
	bool eager;
	bool group;			/* the record is what the first (...) matched */
	union {
		regex_t posix;
#if HAVE_PCRE2
		pcre2_code *perl;
#endif
	};
};

struct regex_state {
	size_t from;			/* no match begins before */
	void *memory;			/* the engine's, for matching */
};

/* Where a match was found. */
struct match {
	size_t begin, end;		/* all of it; at least a byte */
	size_t group_begin, group_end;	/* the first group; empty where that has no part in it */
	bool final;			/* more input changes nothing */
};

enum { NONE = 0, FOUND = 1 };

struct engine {
	/* 0 with x->group set, -EINVAL or -ENOMEM. */
	int (*compile)(struct regex *x, const char *pattern, unsigned flags);
	void (*free)(struct regex *x);
	/* Of a connection; may be NULL. */
	int (*init)(struct regex_state *st);
	void (*fini)(struct regex_state *st);
	/* Looks for the first match in `len` bytes; `more` may come.  FOUND, NONE or -errno. */
	int (*find)(const struct regex *x, struct regex_state *st, const char *data, size_t len, bool more,
		struct match *match_out);
};

/* ---- the C library's ---- */

#ifdef REG_STARTEND

/* In the C locale, whatever the program's: records are bytes, not characters. */
static int
posix_compile(struct regex *x, const char *pattern, unsigned flags)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before;
	int r;

	if (c == (locale_t)0)
		return -ENOMEM;
	before = uselocale(c);
	r = regcomp(&x->posix, pattern, REG_EXTENDED | (flags & SCONCE_REGEX_ICASE ? REG_ICASE : 0));
	uselocale(before);
	freelocale(c);
	if (r != 0)
		return r == REG_ESPACE ? -ENOMEM : -EINVAL;
	x->group = x->posix.re_nsub > 0;
	return 0;
}

static void
posix_free(struct regex *x)
{
	regfree(&x->posix);
}

static void
posix_match(const struct regex *x, const regmatch_t *m, struct match *match_out)
{
	*match_out = (struct match){ .begin = (size_t)m[0].rm_so, .end = (size_t)m[0].rm_eo };
	if (x->group && m[1].rm_so >= 0) {
		match_out->group_begin = (size_t)m[1].rm_so;
		match_out->group_end = (size_t)m[1].rm_eo;
	}
}

/* Defined where the program runs under AddressSanitizer, whose regexec() reads up to a NUL whatever REG_STARTEND
 * says. */
extern void __asan_init(void) __attribute__((weak));

/* regexec() of what m[0] says.  REG_STARTEND: the input is not terminated, and may hold NULs. */
static int
posix_exec(const struct regex *x, const char *data, regmatch_t *m)
{
	size_t len = (size_t)m[0].rm_eo;
	char *terminated;
	int r;

	if (__asan_init == NULL)
		return regexec(&x->posix, data, 2, m, REG_STARTEND);
	terminated = malloc(len + 1);
	if (terminated == NULL)
		return REG_ESPACE;
	memcpy(terminated, data, len);
	terminated[len] = '\0';
	r = regexec(&x->posix, terminated, 2, m, REG_STARTEND);
	free(terminated);
	return r;
}

/* A match of nothing does not count.  (glibc's regexec() says "no match" where it has no memory: the input waits then.) */
static int
posix_find(const struct regex *x, struct regex_state *st, const char *data, size_t len, bool more,
	struct match *match_out)
{
	regmatch_t m[2];

	(void)st;
	for (size_t from = 0; from < len; from = (size_t)m[0].rm_so + 1) {
		int r;

		m[0].rm_so = (regoff_t)from;
		m[0].rm_eo = (regoff_t)len;
		r = posix_exec(x, data, m);
		if (r != 0)
			return r == REG_ESPACE ? -ENOMEM : NONE;
		if (m[0].rm_so < m[0].rm_eo) {
			posix_match(x, m, match_out);
			match_out->final = x->eager || !more || match_out->end < len;
			return FOUND;
		}
	}
	return NONE;
}

static const struct engine posix_engine = { .compile = posix_compile, .free = posix_free, .find = posix_find };
#define POSIX (&posix_engine)
#else
#define POSIX NULL
#endif

/* ---- PCRE2 ---- */

#if HAVE_PCRE2

static int
perl_compile(struct regex *x, const char *pattern, unsigned flags)
{
	uint32_t groups = 0;
	PCRE2_SIZE where;
	int error;

	x->perl = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
		flags & SCONCE_REGEX_ICASE ? PCRE2_CASELESS : 0, &error, &where, NULL);
	if (x->perl == NULL)
		return error == PCRE2_ERROR_HEAP_FAILED ? -ENOMEM : -EINVAL;
	pcre2_pattern_info(x->perl, PCRE2_INFO_CAPTURECOUNT, &groups);
	x->group = groups > 0;
	return 0;
}

static void
perl_free(struct regex *x)
{
	pcre2_code_free(x->perl);
}

static int
perl_init(struct regex_state *st)
{
	st->memory = pcre2_match_data_create(2, NULL);
	return st->memory == NULL ? -ENOMEM : 0;
}

static void
perl_fini(struct regex_state *st)
{
	pcre2_match_data_free(st->memory);
}

static void
perl_match(const struct regex *x, const PCRE2_SIZE *at, struct match *match_out)
{
	*match_out = (struct match){ .begin = at[0], .end = at[1], .final = true };
	if (x->group && at[2] != PCRE2_UNSET) {
		match_out->group_begin = at[2];
		match_out->group_end = at[3];
	}
}

/* A hard partial match is one that more input could make another, even where there is a whole one; a soft one comes
 * only where there is none. */
static int
perl_find(const struct regex *x, struct regex_state *st, const char *data, size_t len, bool more,
	struct match *match_out)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(st->memory);
	size_t from = st->from <= len ? st->from : 0;
	uint32_t partial = x->eager ? PCRE2_PARTIAL_SOFT : PCRE2_PARTIAL_HARD;
	uint32_t options = PCRE2_NOTEMPTY | (more ? partial : 0);
	int r = pcre2_match(x->perl, (PCRE2_SPTR)data, len, from, options, st->memory, NULL);

	if (r == PCRE2_ERROR_PARTIAL || r == PCRE2_ERROR_NOMATCH) {
		st->from = r == PCRE2_ERROR_PARTIAL ? at[0] : len;
		return NONE;
	}
	if (r < 0)
		return r == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EBADMSG;
	if (at[0] >= at[1])
		return -EBADMSG;		/* \K in a look-ahead can turn a match around */
	perl_match(x, at, match_out);
	st->from = 0;
	return FOUND;
}

static const struct engine perl_engine = {
	.compile = perl_compile, .free = perl_free, .init = perl_init, .fini = perl_fini, .find = perl_find,
};
#define PERL (&perl_engine)
#else
#define PERL NULL
#endif

/* ---- the filter ---- */

static const struct sconce_filter_ops regex_ops;

static const struct regex *
regex_of(const struct sconce_filter *f)
{
	assert(f->ops == &regex_ops);
	return SCONCE_CONTAINER_OF(f, const struct regex, base);
}

static int
regex_init(const struct sconce_filter *f, void *state)
{
	const struct engine *engine = regex_of(f)->engine;

	return engine->init != NULL ? engine->init(state) : 0;
}

static void
regex_fini(const struct sconce_filter *f, void *state)
{
	const struct engine *engine = regex_of(f)->engine;

	if (engine->fini != NULL)
		engine->fini(state);
}

static int
give(const struct regex *x, const struct match *m, struct sconce_input *in, struct sconce_record *rec_out)
{
	if (!x->group)
		return sconce__filter_give(in, m->begin, m->end - m->begin, rec_out);
	*rec_out = sconce_record_of(in->data + m->group_begin, m->group_end - m->group_begin);
	sconce_input_take(in, m->end);
	return SCONCE_FILTER_RECORD;
}

/* A match must end within as many bytes as a record may have.  No more than those, and one that may make it final,
 * are looked at, so that the answer does not depend on how many have arrived. */
static int
regex_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct regex *x = regex_of(f);
	size_t max = sconce_filter_max_record(f), len = in->len <= max ? in->len : max + 1;
	bool more = !in->ended || in->len > max;
	struct match m = { .final = false };
	int r = len > 0 ? x->engine->find(x, state, in->data, len, more, &m) : NONE;

	if (r < 0)
		return sconce__filter_fail(in, r, r == -EBADMSG ? "the expression takes too long" : NULL);
	if (r == FOUND && m.final && m.end <= max)
		return give(x, &m, in, rec_out);
	return in->len > max ? sconce__filter_fail(in, -EMSGSIZE, "record too long") : SCONCE_FILTER_MORE;
}

static void
regex_free(struct sconce_filter *f)
{
	struct regex *x = SCONCE_CONTAINER_OF(f, struct regex, base);

	x->engine->free(x);
	free(x);
}

static const struct sconce_filter_ops regex_ops = {
	.name = "regex", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct regex_state),
	.init = regex_init, .fini = regex_fini, .get = regex_get, .free = regex_free,
};

int
sconce_filter_regex(const char *pattern, unsigned flags, struct sconce_filter **filter_out)
{
	const struct engine *engine = flags & SCONCE_REGEX_PERL ? PERL : POSIX;
	const unsigned all = SCONCE_REGEX_PERL | SCONCE_REGEX_ICASE | SCONCE_REGEX_EAGER;
	struct regex *x;
	int r;

	if (pattern == NULL || pattern[0] == '\0' || (flags & ~all))
		return -EINVAL;
	if (engine == NULL)
		return -ENOTSUP;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return -ENOMEM;
	sconce_filter_init(&x->base, &regex_ops);
	x->engine = engine;
	x->eager = flags & SCONCE_REGEX_EAGER;
	r = engine->compile(x, pattern, flags);
	if (r < 0)
		free(x);
	else
		*filter_out = &x->base;
	return r;
}
