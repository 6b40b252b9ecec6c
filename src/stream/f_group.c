/* Groups of records: sconce_filter_group(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct group {
	struct sconce_filter base;
	size_t size;			/* records in a group */
	bool check_put;
};

struct group_state {
	struct sconce__copies in, out;	/* what does not make a group yet */
};

static const struct sconce_filter_ops group_ops;

static const struct group *
group_of(const struct sconce_filter *f)
{
	assert(f->ops == &group_ops);
	return SCONCE_CONTAINER_OF(f, const struct group, base);
}

static void
group_fini(const struct sconce_filter *f, void *state)
{
	struct group_state *st = state;

	(void)f;
	sconce__copies_fini(&st->in);
	sconce__copies_fini(&st->out);
}

static int
give(struct group_state *st, size_t n, unsigned flags, struct sconce_record *rec_out)
{
	int r = sconce__copies_group(&st->in, n, rec_out);

	rec_out->flags = flags;
	return r < 0 ? r : SCONCE_FILTER_RECORD;
}

static int
group_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct group *g = group_of(f);
	struct group_state *st = state;
	struct sconce_record rec;
	int r;

	if (!sconce_input_record(in, &rec)) {
		if (!in->ended || st->in.count == 0)
			return SCONCE_FILTER_MORE;
		return give(st, st->in.count, SCONCE_RECORD_LAST, rec_out);
	}
	if (rec.len > sconce_filter_max_record(f) - st->in.bytes)
		return sconce__filter_fail(in, -EMSGSIZE, "group too long");
	r = sconce__copies_add(&st->in, &rec);
	if (r < 0)
		return r;
	return st->in.count < g->size ? SCONCE_FILTER_SKIP : give(st, g->size, 0, rec_out);
}

/* Writes out `n` of what is held back. */
static int
let_go(struct group_state *st, size_t n, struct sconce_sink *to)
{
	struct sconce_record rec;
	int r = 0;

	while (n-- > 0 && r >= 0 && sconce__copies_give(&st->out, &rec))
		r = sconce_sink_record(to, &rec);
	return r;
}

static int
put_one(const struct group *g, struct group_state *st, const struct sconce_record *rec, struct sconce_sink *to)
{
	int r;

	if (!g->check_put)
		return sconce_sink_record(to, rec);
	r = sconce__copies_add(&st->out, rec);
	return r == 0 && st->out.count >= g->size ? let_go(st, g->size, to) : r;
}

static int
group_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct group *g = group_of(f);
	int r = 0;

	if (rec->items == NULL)
		return put_one(g, state, rec, to);
	for (size_t i = 0; i < rec->count && r >= 0; i++)
		r = put_one(g, state, &rec->items[i], to);
	return r;
}

static size_t
group_held(const struct sconce_filter *f, const void *state)
{
	(void)f;
	return ((const struct group_state *)state)->out.count;
}

static void
group_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct group, base));
}

static const struct sconce_filter_ops group_ops = {
	.name = "group", .flags = SCONCE_FILTER_RECORDS | SCONCE_FILTER_RETURNS_LAST,
	.state_size = sizeof(struct group_state), .fini = group_fini, .get = group_get, .put = group_put, .held = group_held, .free = group_free,
};

int
sconce_filter_group(size_t size, bool check_put, struct sconce_filter **filter_out)
{
	struct group *g;

	if (size == 0)
		return -EINVAL;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	sconce_filter_init(&g->base, &group_ops);
	g->size = size;
	g->check_put = check_put;
	*filter_out = &g->base;
	return 0;
}
