/* Records behind a binary length, with an offset: sconce_filter_size().  The formats are some of Perl's pack(). */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct format {
	const char *name;
	unsigned bytes;			/* 0: BER, seven bits a byte, the last without the eighth */
	bool little;			/* the least significant byte comes first */
} formats[] = {
	{ "C", 1, false }, { "n", 2, false }, { "N", 4, false }, { "Q>", 8, false }, { "v", 2, true }, { "V", 4, true },
	{ "Q<", 8, true }, { "w", 0, false },
};

struct size {
	struct sconce__prefix prefix;
	const struct format *format;
	int offset;
};

static const struct sconce_filter_ops size_ops;

static const struct size *
size_of(const struct sconce__prefix *p)
{
	assert(p->base.ops == &size_ops);
	return SCONCE_CONTAINER_OF(p, const struct size, prefix);
}

/* ---- numbers ---- */

/* A first byte of 0x80 would be a leading zero: the same number has a shorter form, and is written in that. */
static ssize_t
decode_ber(const unsigned char *data, size_t len, uint64_t *number_out)
{
	uint64_t number = 0;

	for (size_t i = 0; i < len; i++) {
		if (i == 0 && data[i] == 0x80)
			return -EBADMSG;
		if (number > UINT64_MAX >> 7)
			return -EMSGSIZE;
		number = number << 7 | (data[i] & 0x7f);
		if (data[i] < 0x80) {
			*number_out = number;
			return (ssize_t)i + 1;
		}
	}
	return 0;
}

static ssize_t
decode_number(const struct format *f, const unsigned char *data, size_t len, uint64_t *number_out)
{
	uint64_t number = 0;

	if (f->bytes == 0)
		return decode_ber(data, len, number_out);
	if (len < f->bytes)
		return 0;
	for (unsigned i = 0; i < f->bytes; i++)
		number = number << 8 | data[f->little ? f->bytes - 1 - i : i];
	*number_out = number;
	return (ssize_t)f->bytes;
}

static ssize_t
encode_ber(uint64_t number, unsigned char *buf)
{
	unsigned n = 1;

	while (n < 10 && number >> (7 * n) > 0)
		n++;
	for (unsigned i = 0; i < n; i++)
		buf[i] = (unsigned char)((number >> (7 * (n - 1 - i)) & 0x7f) | (i + 1 < n ? 0x80 : 0));
	return (ssize_t)n;
}

static ssize_t
encode_number(const struct format *f, uint64_t number, unsigned char *buf)
{
	if (f->bytes == 0)
		return encode_ber(number, buf);
	if (f->bytes < 8 && number >> (8 * f->bytes) > 0)
		return -EMSGSIZE;
	for (unsigned i = 0; i < f->bytes; i++)
		buf[f->little ? i : f->bytes - 1 - i] = (unsigned char)(number >> (8 * i));
	return (ssize_t)f->bytes;
}

/* ---- lengths ---- */

/* *number + by, or what is wrong: `below` when that is less than nothing. */
static int
shift(uint64_t *number, int64_t by, int below)
{
	uint64_t magnitude = by < 0 ? (uint64_t)-by : (uint64_t)by;

	if (by < 0 && *number < magnitude)
		return below;
	if (by > 0 && *number > UINT64_MAX - magnitude)
		return -EMSGSIZE;
	*number = by < 0 ? *number - magnitude : *number + magnitude;
	return 0;
}

static ssize_t
size_decode(const struct sconce__prefix *p, const void *data, size_t len, uint64_t *size_out)
{
	const struct size *s = size_of(p);
	uint64_t number;
	ssize_t n = decode_number(s->format, data, len, &number);
	int r = n > 0 ? shift(&number, s->offset, -EBADMSG) : 0;

	if (r < 0)
		return r;
	if (n > 0)
		*size_out = number;
	return n;
}

static ssize_t
size_encode(const struct sconce__prefix *p, uint64_t size, void *buf)
{
	const struct size *s = size_of(p);
	int r = shift(&size, -(int64_t)s->offset, -EINVAL);

	return r < 0 ? r : encode_number(s->format, size, buf);
}

/* ---- the filter ---- */

static int
size_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	return sconce__prefix_get(SCONCE_CONTAINER_OF(f, const struct sconce__prefix, base), state, in, rec_out);
}

static int
size_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	(void)state;
	return sconce__prefix_put(SCONCE_CONTAINER_OF(f, const struct sconce__prefix, base), rec, to);
}

static void
size_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct size, prefix.base));
}

static const struct sconce_filter_ops size_ops = {
	.name = "size", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct sconce__prefix_state),
	.get = size_get, .put = size_put, .free = size_free,
};

static const struct format *
format_of(const char *name)
{
	for (size_t i = 0; name != NULL && i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

int
sconce_filter_size(const char *format, int offset, struct sconce_filter **filter_out)
{
	const struct format *known = format_of(format);
	struct size *s;

	if (known == NULL)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	sconce_filter_init(&s->prefix.base, &size_ops);
	s->prefix.decode = size_decode;
	s->prefix.encode = size_encode;
	s->prefix.too_big = "record too long";
	s->format = known;
	s->offset = offset;
	*filter_out = &s->prefix.base;
	return 0;
}
