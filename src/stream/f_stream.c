/* No records: what has arrived (sconce_filter_stream()), or all there was (sconce_filter_last()).  They have no
 * settings. */
#include "filter_private.h"

#include <errno.h>
#include <stdlib.h>

static int
stream_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	size_t max = sconce_filter_max_record(f);

	(void)state;
	return in->len == 0 ? SCONCE_FILTER_MORE : sconce__filter_give(in, in->len < max ? in->len : max, 0, rec_out);
}

static int
last_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	(void)state;
	if (in->len > sconce_filter_max_record(f))
		return sconce__filter_fail(in, -EMSGSIZE, "input too long");
	return in->ended && in->len > 0 ? sconce__filter_give(in, in->len, 0, rec_out) : SCONCE_FILTER_MORE;
}

static void
plain_free(struct sconce_filter *f)
{
	free(f);
}

static const struct sconce_filter_ops stream_ops = { .name = "stream", .get = stream_get, .free = plain_free };
static const struct sconce_filter_ops last_ops = { .name = "last", .get = last_get, .free = plain_free };

static int
plain_new(const struct sconce_filter_ops *ops, struct sconce_filter **filter_out)
{
	struct sconce_filter *f = malloc(sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	sconce_filter_init(f, ops);
	*filter_out = f;
	return 0;
}

int
sconce_filter_stream(struct sconce_filter **filter_out)
{
	return plain_new(&stream_ops, filter_out);
}

int
sconce_filter_last(struct sconce_filter **filter_out)
{
	return plain_new(&last_ops, filter_out);
}
