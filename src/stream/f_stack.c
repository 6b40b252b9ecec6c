/* Filters one behind the other: sconce_filter_stack().
 *
 *	input    bytes -> [0] -> records -> [1] -> records -> [2] ->        output goes the other way
 *
 * Each stage is a framer.  The first works on the connection's input itself, which changes hands for the time of the
 * call.  One behind it gets each record of the stage before as that, or, if it parses bytes, as a piece of a stream
 * of bytes of its own.  The last stage is asked first, and asks the one before when it has nothing: so a stage that
 * still holds data is emptied before more is made. */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct stack {
	struct sconce_filter base;
	struct sconce_filter_ops ops;	/* its own: flags and the state's size depend on the filters */
	size_t count;
	struct sconce_filter *filters[];
};

struct stage {
	struct sconce_framer framer;
	struct sconce_record rec;	/* what framer.in.record points to */
	struct sconce_input joined;	/* output that comes in several pieces */
};

static const struct stack *
stack_of(const struct sconce_filter *f)
{
	const struct stack *s = SCONCE_CONTAINER_OF(f, const struct stack, base);

	assert(f->ops == &s->ops);
	return s;
}

/* ---- states ---- */

static void
stages_fini(struct stage *stages, size_t count)
{
	while (count-- > 0) {
		sconce_framer_fini(&stages[count].framer);
		sconce_input_fini(&stages[count].joined);
	}
}

static int
stack_init(const struct sconce_filter *f, void *state)
{
	const struct stack *s = stack_of(f);
	struct stage *stages = state;

	for (size_t i = 0; i < s->count; i++) {
		int r = sconce_framer_init(&stages[i].framer, s->filters[i]);

		if (r < 0) {
			stages_fini(stages, i);
			return r;
		}
	}
	return 0;
}

static void
stack_fini(const struct sconce_filter *f, void *state)
{
	stages_fini(state, stack_of(f)->count);
}

/* ---- input ---- */

static bool
takes_records(const struct stage *stage)
{
	return stage->framer.filter->ops->flags & SCONCE_FILTER_RECORDS;
}

/* Asks a stage for its next record; `in` is the connection's input for the first, NULL for the others.  Returns as
 * sconce_framer_next(). */
static int
ask(struct stage *stage, struct sconce_input *in, struct sconce_record *rec_out)
{
	int r;

	if (in != NULL)
		stage->framer.in = *in;
	r = sconce_framer_next(&stage->framer, rec_out);
	if (in == NULL && r == 0)
		sconce_framer_settle(&stage->framer);	/* it owns nothing while it has nothing */
	if (in != NULL) {
		*in = stage->framer.in;
		stage->framer.in = (struct sconce_input){ .ended = in->ended };
	}
	return r;
}

/* Gives a stage what the one before it has made. */
static int
hand_on(struct stage *stage, const struct sconce_record *rec)
{
	if (!takes_records(stage))
		return sconce_framer_feed(&stage->framer, rec->data, rec->len);
	stage->rec = *rec;
	stage->framer.in.record = &stage->rec;
	return 0;
}

static int
stack_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	struct stage *stages = state;
	size_t last = stack_of(f)->count - 1, i = last;

	for (;;) {
		int r = ask(&stages[i], i == 0 ? in : NULL, rec_out);

		if (r < 0 && i > 0)
			in->error = sconce_framer_error(&stages[i].framer);
		if (r < 0)
			return r;
		if (r == 1 && i == last)
			return SCONCE_FILTER_RECORD;
		if (r == 1) {
			r = hand_on(&stages[++i], rec_out);
			if (r < 0)
				return r;
		} else if (i > 0 && !stages[i].framer.in.ended) {
			i--;
		} else if (i < last && in->ended) {
			sconce_framer_end(&stages[++i].framer);		/* nothing more will come from before it */
		} else {
			return SCONCE_FILTER_MORE;
		}
	}
}

/* To the first stage that has a use for it. */
static int
stack_want(const struct sconce_filter *f, void *state, uint64_t n)
{
	struct stage *stages = state;
	int r = -EINVAL;

	for (size_t i = 0; i < stack_of(f)->count && r == -EINVAL; i++)
		r = sconce_framer_want(&stages[i].framer, n);
	return r;
}

/* ---- output ---- */

/* Where the stage behind writes to. */
struct link {
	struct sconce_sink sink;
	struct stage *stages;
	size_t stage;			/* the one that gets it */
	struct sconce_sink *to;		/* where the first stage writes to */
};

/* The pieces in one, which the next stage needs; in `joined` until the next call. */
static int
join(struct sconce_input *joined, const struct iovec *iov, int count, struct sconce_record *rec_out)
{
	int r = 0;

	sconce_input_take(joined, joined->len);
	for (int i = 0; i < count && r == 0; i++)
		r = sconce_input_append(joined, iov[i].iov_base, iov[i].iov_len);
	*rec_out = sconce_record_of(joined->data, joined->len);
	return r;
}

static int
link_add(struct sconce_sink *sink, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	struct link *link = SCONCE_CONTAINER_OF(sink, struct link, sink);
	struct link next = { { link_add }, link->stages, link->stage - 1, link->to };
	struct stage *stage = &link->stages[link->stage];
	struct sconce_sink *to = link->stage == 0 ? link->to : &next.sink;
	struct sconce_record whole;
	int r = 0;

	if (rec == NULL)
		r = join(&stage->joined, iov, count, &whole);
	if (r == 0)
		r = sconce_framer_put(&stage->framer, rec != NULL ? rec : &whole, to);
	sconce_input_fini(&stage->joined);
	return r;
}

static int
stack_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	struct link last = { { link_add }, state, stack_of(f)->count - 1, to };

	return sconce_sink_record(&last.sink, rec);
}

static size_t
stack_held(const struct sconce_filter *f, const void *state)
{
	const struct stage *stages = state;
	size_t held = 0;

	for (size_t i = 0; i < stack_of(f)->count; i++)
		held += sconce_framer_held(&stages[i].framer);
	return held;
}

/* ---- the filter ---- */

static void
stack_free(struct sconce_filter *f)
{
	struct stack *s = SCONCE_CONTAINER_OF(f, struct stack, base);

	for (size_t i = 0; i < s->count; i++)
		sconce_filter_unref(s->filters[i]);
	free(s);
}

/* It works on records if its first does, and tells what is left apart if one of them does. */
static unsigned
flags_of(const struct stack *s)
{
	unsigned flags = s->filters[0]->ops->flags & SCONCE_FILTER_RECORDS;

	for (size_t i = 0; i < s->count; i++)
		flags |= s->filters[i]->ops->flags & SCONCE_FILTER_RETURNS_LAST;
	return flags;
}

int
sconce_filter_stack(struct sconce_filter *const *filters, size_t count, struct sconce_filter **filter_out)
{
	struct stack *s;

	if (count == 0 || count > SIZE_MAX / sizeof(struct stage) / 2)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (filters[i] == NULL)
			return -EINVAL;
	s = calloc(1, sizeof(*s) + count * sizeof(s->filters[0]));
	if (s == NULL)
		return -ENOMEM;
	s->count = count;
	for (size_t i = 0; i < count; i++)
		s->filters[i] = sconce_filter_ref(filters[i]);
	s->ops = (struct sconce_filter_ops){
		.name = "stack", .flags = flags_of(s), .state_size = count * sizeof(struct stage),
		.init = stack_init, .fini = stack_fini, .get = stack_get, .put = stack_put, .want = stack_want,
		.held = stack_held, .free = stack_free,
	};
	sconce_filter_init(&s->base, &s->ops);
	*filter_out = &s->base;
	return 0;
}
