/* Records between literal delimiters: sconce_filter_split(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct split {
	struct sconce_filter base;
	struct sconce__needle delimiter;
};

static const struct sconce_filter_ops split_ops;

static const struct split *
split_of(const struct sconce_filter *f)
{
	assert(f->ops == &split_ops);
	return SCONCE_CONTAINER_OF(f, const struct split, base);
}

static int
split_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct split *s = split_of(f);
	struct sconce__scan *scan = state;
	size_t len = in->len, end = 0;

	if (sconce__needle_find(&s->delimiter, scan, in, &len))
		end = s->delimiter.len;
	else if (!in->ended)
		len = scan->at - scan->matched;		/* what the record has at the least */
	if (len > sconce_filter_max_record(f))
		return sconce__filter_fail(in, -EMSGSIZE, "record too long");
	if (end > 0 || (in->ended && len > 0))
		return sconce__filter_give(in, len, end, rec_out);
	return SCONCE_FILTER_MORE;
}

static int
split_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct sconce__needle *d = &split_of(f)->delimiter;
	struct iovec iov[2] = { { (void *)(uintptr_t)rec->data, rec->len }, { (void *)(uintptr_t)d->bytes, d->len } };

	(void)state;
	return sconce_sink_pieces(to, iov, 2);
}

static void
split_free(struct sconce_filter *f)
{
	struct split *s = SCONCE_CONTAINER_OF(f, struct split, base);

	sconce__needle_fini(&s->delimiter);
	free(s);
}

static const struct sconce_filter_ops split_ops = {
	.name = "split", .state_size = sizeof(struct sconce__scan),
	.get = split_get, .put = split_put, .free = split_free,
};

int
sconce_filter_split(const void *delimiter, size_t len, struct sconce_filter **filter_out)
{
	struct split *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return -ENOMEM;
	sconce_filter_init(&s->base, &split_ops);
	r = sconce__needle_init(&s->delimiter, delimiter, len);
	if (r < 0)
		free(s);
	else
		*filter_out = &s->base;
	return r;
}
