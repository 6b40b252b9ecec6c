/* Records of one size: sconce_filter_fixed(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct fixed {
	struct sconce_filter base;
	size_t size;			/* bytes */
};

static const struct sconce_filter_ops fixed_ops;

static int
fixed_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	size_t size = SCONCE_CONTAINER_OF(f, const struct fixed, base)->size;

	assert(f->ops == &fixed_ops);
	(void)state;
	if (size > sconce_filter_max_record(f))
		return sconce__filter_fail(in, -EMSGSIZE, "record too long");
	return in->len < size ? SCONCE_FILTER_MORE : sconce__filter_give(in, size, 0, rec_out);
}

static void
fixed_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct fixed, base));
}

static const struct sconce_filter_ops fixed_ops = {
	.name = "fixed", .flags = SCONCE_FILTER_RETURNS_LAST, .get = fixed_get, .free = fixed_free,
};

int
sconce_filter_fixed(size_t size, struct sconce_filter **filter_out)
{
	struct fixed *x;

	if (size == 0)
		return -EINVAL;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return -ENOMEM;
	sconce_filter_init(&x->base, &fixed_ops);
	if (size > sconce_filter_max_record(&x->base))
		sconce_filter_set_max_record(&x->base, size);	/* whoever asks for such records wants them */
	x->size = size;
	*filter_out = &x->base;
	return 0;
}
