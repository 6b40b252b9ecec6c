/* Lines: sconce_filter_line().
 *
 * A literal end is looked for as it is (f_needle.c).  Otherwise CR and LF both are ends, and two of them may be one;
 * where the second would stand behind what has arrived, `compat` and the rest of us differ (end_at). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct line {
	struct sconce_filter base;
	struct sconce__needle end;	/* bytes NULL: none given */
	bool detect, compat;
	size_t out_len;
	char out[];			/* what is written behind each line */
};

/* What is known of the end of all lines. */
enum choice { OPEN, MAYBE_LF_CR, CR_LF, LF_CR, LF, CR };

struct line_state {
	struct sconce__scan scan;	/* of a literal end */
	size_t at;			/* else: this many bytes are no end */
	enum choice choice;		/* with `detect` */
};

static const size_t no_borders[2] = { 0, 0 };
static const struct sconce__needle chosen[] = {
	[CR_LF] = { "\r\n", 2, no_borders }, [LF_CR] = { "\n\r", 2, no_borders }, [LF] = { "\n", 1, no_borders },
	[CR] = { "\r", 1, no_borders },
};

static const struct sconce_filter_ops line_ops;

static const struct line *
line_of(const struct sconce_filter *f)
{
	assert(f->ops == &line_ops);
	return SCONCE_CONTAINER_OF(f, const struct line, base);
}

static int
too_long(struct sconce_input *in)
{
	return sconce__filter_fail(in, -EMSGSIZE, "line too long");
}

/* ---- a literal end ---- */

static int
get_literal(const struct line *l, const struct sconce__needle *end, struct line_state *st, struct sconce_input *in,
	struct sconce_record *rec_out)
{
	size_t max = sconce_filter_max_record(&l->base), before;

	if (sconce__needle_find(end, &st->scan, in, &before))
		return before > max ? too_long(in) : sconce__filter_give(in, before, end->len, rec_out);
	if (st->scan.at - st->scan.matched > max || (in->ended && in->len > max))
		return too_long(in);
	return SCONCE_FILTER_MORE;
}

/* ---- CR and LF ---- */

/* The first CR or LF at or behind `from`; in->len: there is none.  The windows see to it that a line costs what it
 * has bytes, also where no LF comes for long. */
static size_t
find_end(const struct sconce_input *in, size_t from)
{
	size_t window = 256;

	for (size_t at = from; at < in->len; at += window, window *= 2) {
		size_t n = in->len - at < window ? in->len - at : window;
		const char *lf = memchr(in->data + at, '\n', n);
		const char *cr = memchr(in->data + at, '\r', lf == NULL ? n : (size_t)(lf - in->data) - at);

		if (cr != NULL || lf != NULL)
			return (size_t)((cr != NULL ? cr : lf) - in->data);
	}
	return in->len;
}

/* How many bytes the end that begins at `at` has; 0: that depends on what comes next. */
static size_t
end_at(const struct line *l, const struct sconce_input *in, size_t at)
{
	const char *p = in->data + at;

	if (at + 1 == in->len)
		return *p == '\r' && !l->compat && !in->ended ? 0 : 1;
	if (*p == '\r')
		return p[1] == '\n' ? 2 : 1;
	return (l->compat || l->detect) && p[1] == '\r' ? 2 : 1;
}

/* Decides by the end of the first line.  An LF that comes last ends it at once, since the peer may wait for an
 * answer; whether a CR belongs to it is seen later. */
static void
choose(struct line_state *st, const struct sconce_input *in, size_t at, size_t end)
{
	if (in->data[at] == '\r')
		st->choice = end == 2 ? CR_LF : CR;
	else if (end == 2)
		st->choice = LF_CR;
	else
		st->choice = at + 1 == in->len ? MAYBE_LF_CR : LF;
}

static int
get_any(const struct line *l, struct line_state *st, struct sconce_input *in, struct sconce_record *rec_out)
{
	size_t at = find_end(in, st->at <= in->len ? st->at : 0), end;

	if (at > sconce_filter_max_record(&l->base))
		return too_long(in);
	st->at = at;
	if (at == in->len)
		return SCONCE_FILTER_MORE;
	end = end_at(l, in, at);
	if (end == 0)
		return SCONCE_FILTER_MORE;
	st->at = 0;
	if (l->detect)
		choose(st, in, at, end);
	return sconce__filter_give(in, at, end, rec_out);
}

static int
get_detected(const struct line *l, struct line_state *st, struct sconce_input *in, struct sconce_record *rec_out)
{
	if (st->choice == OPEN)
		return get_any(l, st, in, rec_out);
	if (st->choice == MAYBE_LF_CR) {
		if (in->len == 0)
			return SCONCE_FILTER_MORE;
		st->choice = in->data[0] == '\r' ? LF_CR : LF;
		if (st->choice == LF_CR)
			sconce_input_take(in, 1);
	}
	return get_literal(l, &chosen[st->choice], st, in, rec_out);
}

static int
line_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct line *l = line_of(f);

	if (l->end.bytes != NULL)
		return get_literal(l, &l->end, state, in, rec_out);
	return l->detect ? get_detected(l, state, in, rec_out) : get_any(l, state, in, rec_out);
}

/* ---- the filter ---- */

static int
line_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct line *l = line_of(f);
	struct iovec iov[2] = { { (void *)(uintptr_t)rec->data, rec->len }, { (void *)(uintptr_t)l->out, l->out_len } };

	(void)state;
	return sconce_sink_pieces(to, iov, 2);
}

static void
line_free(struct sconce_filter *f)
{
	struct line *l = SCONCE_CONTAINER_OF(f, struct line, base);

	sconce__needle_fini(&l->end);
	free(l);
}

static const struct sconce_filter_ops line_ops = {
	.name = "line", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct line_state),
	.get = line_get, .put = line_put, .free = line_free,
};

static size_t
length_of(const char *end, size_t len)
{
	return end != NULL && len == 0 ? strlen(end) : len;
}

static int
line_new(const struct sconce_line_options *o, const char *out, size_t out_len, struct line **line_out)
{
	struct line *l = out_len < SIZE_MAX - sizeof(*l) ? calloc(1, sizeof(*l) + out_len) : NULL;
	int r = 0;

	if (l == NULL)
		return -ENOMEM;
	sconce_filter_init(&l->base, &line_ops);
	if (o->in_end != NULL)
		r = sconce__needle_init(&l->end, o->in_end, length_of(o->in_end, o->in_end_len));
	if (r < 0) {
		free(l);
		return r;
	}
	l->detect = o->detect;
	l->compat = o->compat;
	l->out_len = out_len;
	memcpy(l->out, out, out_len);
	*line_out = l;
	return 0;
}

int
sconce_filter_line(const struct sconce_line_options *opts, struct sconce_filter **filter_out)
{
	struct sconce_line_options o = { NULL, 0, NULL, 0, false, false };
	const char *out = "\r\n";
	size_t out_len = 2;
	struct line *l;
	int r;

	if (opts != NULL)
		o = *opts;
	if ((o.in_end != NULL) + o.detect + o.compat > 1)
		return -EINVAL;
	if (o.out_end != NULL || o.in_end != NULL) {
		out = o.out_end != NULL ? o.out_end : o.in_end;
		out_len = o.out_end != NULL ? length_of(o.out_end, o.out_end_len) : length_of(o.in_end, o.in_end_len);
	}
	if (out_len == 0)
		return -EINVAL;
	r = line_new(&o, out, out_len, &l);
	if (r == 0)
		*filter_out = &l->base;
	return r;
}
