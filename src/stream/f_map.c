/* Records that a function changes or chooses: sconce_filter_map(), sconce_filter_grep(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ---- map ---- */

struct map {
	struct sconce_filter base;
	sconce_map_fn *in, *out;
	void *arg;
};

static const struct sconce_filter_ops map_ops;

static const struct map *
map_of(const struct sconce_filter *f)
{
	assert(f->ops == &map_ops);
	return SCONCE_CONTAINER_OF(f, const struct map, base);
}

static void
map_fini(const struct sconce_filter *f, void *state)
{
	(void)f;
	sconce__copies_fini(state);
}

/* What the function makes of one record goes to the state. */
static int
change(const struct map *m, struct sconce__copies *made, const struct sconce_record *rec, struct sconce_input *in)
{
	struct sconce__collector to = sconce__collector_of(&m->base, made, rec);
	int r = m->in(rec, &to.sink, m->arg);

	if (r >= 0)
		r = to.error;
	return r < 0 ? sconce__filter_fail(in, r, r == -EMSGSIZE ? "record too long" : NULL) : 0;
}

static int
map_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct map *m = map_of(f);
	struct sconce_record rec;
	int r;

	if (sconce__copies_give(state, rec_out))
		return SCONCE_FILTER_RECORD;
	if (!sconce_input_record(in, &rec))
		return SCONCE_FILTER_MORE;
	if (m->in == NULL) {
		*rec_out = rec;
		return SCONCE_FILTER_RECORD;
	}
	r = change(m, state, &rec, in);
	return r < 0 ? r : SCONCE_FILTER_SKIP;
}

static int
map_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct map *m = map_of(f);

	(void)state;
	return m->out != NULL ? m->out(rec, to, m->arg) : sconce_sink_record(to, rec);
}

static void
map_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct map, base));
}

static const struct sconce_filter_ops map_ops = {
	.name = "map", .flags = SCONCE_FILTER_RECORDS, .state_size = sizeof(struct sconce__copies),
	.fini = map_fini, .get = map_get, .put = map_put, .free = map_free,
};

int
sconce_filter_map(sconce_map_fn *map_in, sconce_map_fn *map_out, void *arg, struct sconce_filter **filter_out)
{
	struct map *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	sconce_filter_init(&m->base, &map_ops);
	m->in = map_in;
	m->out = map_out;
	m->arg = arg;
	*filter_out = &m->base;
	return 0;
}

/* ---- grep ---- */

struct grep {
	struct sconce_filter base;
	sconce_grep_fn *in, *out;
	void *arg;
};

static const struct sconce_filter_ops grep_ops;

static const struct grep *
grep_of(const struct sconce_filter *f)
{
	assert(f->ops == &grep_ops);
	return SCONCE_CONTAINER_OF(f, const struct grep, base);
}

static int
grep_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct grep *g = grep_of(f);

	(void)state;
	if (!sconce_input_record(in, rec_out))
		return SCONCE_FILTER_MORE;
	return g->in == NULL || g->in(rec_out, g->arg) ? SCONCE_FILTER_RECORD : SCONCE_FILTER_SKIP;
}

static int
grep_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct grep *g = grep_of(f);

	(void)state;
	return g->out == NULL || g->out(rec, g->arg) ? sconce_sink_record(to, rec) : 0;
}

static void
grep_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct grep, base));
}

static const struct sconce_filter_ops grep_ops = {
	.name = "grep", .flags = SCONCE_FILTER_RECORDS, .get = grep_get, .put = grep_put, .free = grep_free,
};

int
sconce_filter_grep(sconce_grep_fn *keep_in, sconce_grep_fn *keep_out, void *arg, struct sconce_filter **filter_out)
{
	struct grep *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return -ENOMEM;
	sconce_filter_init(&g->base, &grep_ops);
	g->in = keep_in;
	g->out = keep_out;
	g->arg = arg;
	*filter_out = &g->base;
	return 0;
}
