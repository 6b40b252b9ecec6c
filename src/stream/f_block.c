/* Blocks with a length in front, as POE's or with a codec of the application's: sconce_filter_block(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct block {
	struct sconce__prefix prefix;
	struct sconce_block_options codec;
};

static const struct sconce_filter_ops block_ops;

static const struct sconce_block_options *
codec_of(const struct sconce__prefix *p)
{
	assert(p->base.ops == &block_ops);
	return &SCONCE_CONTAINER_OF(p, const struct block, prefix)->codec;
}

static ssize_t
codec_decode(const struct sconce__prefix *p, const void *data, size_t len, uint64_t *size_out)
{
	return codec_of(p)->decode(data, len, size_out);
}

static ssize_t
codec_encode(const struct sconce__prefix *p, uint64_t size, void *buf)
{
	return codec_of(p)->encode(size, buf);
}

static int
block_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	return sconce__prefix_get(SCONCE_CONTAINER_OF(f, const struct sconce__prefix, base), state, in, rec_out);
}

static int
block_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	(void)state;
	return sconce__prefix_put(SCONCE_CONTAINER_OF(f, const struct sconce__prefix, base), rec, to);
}

static void
block_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct block, prefix.base));
}

static const struct sconce_filter_ops block_ops = {
	.name = "block", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct sconce__prefix_state),
	.get = block_get, .put = block_put, .free = block_free,
};

int
sconce_filter_block(const struct sconce_block_options *opts, struct sconce_filter **filter_out)
{
	struct sconce_block_options o = { NULL, NULL, false };
	struct block *b;

	if (opts != NULL)
		o = *opts;
	if ((o.decode == NULL) != (o.encode == NULL))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	sconce_filter_init(&b->prefix.base, &block_ops);
	b->codec = o;
	b->prefix.decode = o.decode != NULL ? codec_decode : sconce__decimal_decode;
	b->prefix.encode = o.encode != NULL ? codec_encode : sconce__decimal_encode;
	b->prefix.skip_junk = o.decode == NULL && !o.strict;
	b->prefix.too_big = "block too big";
	*filter_out = &b->prefix.base;
	return 0;
}
