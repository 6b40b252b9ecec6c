/* Records behind their length: what sconce_filter_block(), _size() and _frozen() have in common, and the decimal
 * prefix of POE.
 *
 * A prefix is taken as soon as it is whole, so that it is read once and what is left at the end of input is the bytes
 * behind it. */
#include "filter_private.h"

#include <errno.h>
#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
pass_over_junk(struct sconce_input *in)
{
	size_t n = 0;

	while (n < in->len && !is_digit(in->data[n]))
		n++;
	sconce_input_take(in, n);
}

static int
fail(const struct sconce__prefix *p, struct sconce_input *in, ssize_t result)
{
	if (result == -EMSGSIZE)
		return sconce__filter_fail(in, -EMSGSIZE, p->too_big);
	return sconce__filter_fail(in, (int)result, result == -EBADMSG ? "malformed length" : NULL);
}

/* Returns SCONCE_FILTER_RECORD when the length is known. */
static int
read_prefix(const struct sconce__prefix *p, struct sconce__prefix_state *st, struct sconce_input *in)
{
	size_t len;
	ssize_t n;

	if (p->skip_junk)
		pass_over_junk(in);
	len = in->len < SCONCE__PREFIX_MAX ? in->len : SCONCE__PREFIX_MAX;
	n = len > 0 ? p->decode(p, in->data, len, &st->size) : 0;
	if (n == 0 && len < SCONCE__PREFIX_MAX)
		return SCONCE_FILTER_MORE;
	if (n < 0)
		return fail(p, in, n);
	if (n == 0 || (size_t)n > len)
		return fail(p, in, -EBADMSG);
	if (st->size > sconce_filter_max_record(&p->base))
		return fail(p, in, -EMSGSIZE);
	sconce_input_take(in, (size_t)n);
	st->known = true;
	return SCONCE_FILTER_RECORD;
}

int
sconce__prefix_get(const struct sconce__prefix *p, struct sconce__prefix_state *st, struct sconce_input *in,
	struct sconce_record *rec_out)
{
	int r = st->known ? SCONCE_FILTER_RECORD : read_prefix(p, st, in);

	if (r != SCONCE_FILTER_RECORD)
		return r;
	if (in->len < st->size)
		return SCONCE_FILTER_MORE;
	st->known = false;
	return sconce__filter_give(in, (size_t)st->size, 0, rec_out);
}

int
sconce__prefix_put(const struct sconce__prefix *p, const struct sconce_record *rec, struct sconce_sink *to)
{
	char prefix[SCONCE__PREFIX_MAX];
	ssize_t n = p->encode(p, rec->len, prefix);
	struct iovec iov[2] = { { prefix, (size_t)n }, { (void *)(uintptr_t)rec->data, rec->len } };

	if (n <= 0 || n > SCONCE__PREFIX_MAX)
		return n < 0 ? (int)n : -EINVAL;
	return sconce_sink_pieces(to, iov, 2);
}

/* ---- decimal digits and a NUL ---- */

ssize_t
sconce__decimal_decode(const struct sconce__prefix *p, const void *data, size_t len, uint64_t *size_out)
{
	const char *text = data;
	uint64_t size = 0;
	size_t n = 0;

	(void)p;
	for (; n < len && is_digit(text[n]); n++) {
		unsigned digit = (unsigned)(text[n] - '0');

		if (size > (UINT64_MAX - digit) / 10)
			return -EMSGSIZE;
		size = size * 10 + digit;
	}
	if (n == len)
		return 0;
	if (n == 0 || text[n] != '\0')
		return -EBADMSG;
	*size_out = size;
	return (ssize_t)n + 1;
}

ssize_t
sconce__decimal_encode(const struct sconce__prefix *p, uint64_t size, void *buf)
{
	char digits[20], *to = buf;
	size_t n = 0;

	(void)p;
	do
		digits[n++] = (char)('0' + size % 10);
	while ((size /= 10) > 0);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	to[n] = '\0';
	return (ssize_t)n + 1;
}
