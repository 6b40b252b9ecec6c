/* Looks for a literal end in input that arrives in pieces, for lines, splits and heads.
 *
 * Knuth, Morris and Pratt: no byte is looked at twice, whatever the needle and however the input is cut.  Between two
 * tries memchr() leaps to the next first byte. */
#include "filter_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
fill_borders(size_t *borders, const char *bytes, size_t len)
{
	size_t matched = 0;

	borders[0] = 0;
	for (size_t i = 1; i < len; i++) {
		while (matched > 0 && bytes[i] != bytes[matched])
			matched = borders[matched - 1];
		if (bytes[i] == bytes[matched])
			matched++;
		borders[i] = matched;
	}
}

int
sconce__needle_init(struct sconce__needle *n, const void *bytes, size_t len)
{
	size_t *borders;
	char *copy;

	if (bytes == NULL || len == 0)
		return -EINVAL;
	if (len > SIZE_MAX / (sizeof(*borders) + 1))
		return -ENOMEM;
	borders = malloc(len * (sizeof(*borders) + 1));		/* and the bytes behind them */
	if (borders == NULL)
		return -ENOMEM;
	copy = memcpy(borders + len, bytes, len);
	fill_borders(borders, copy, len);
	*n = (struct sconce__needle){ copy, len, borders };
	return 0;
}

void
sconce__needle_fini(struct sconce__needle *n)
{
	free((void *)(uintptr_t)n->borders);
	*n = (struct sconce__needle){ NULL, 0, NULL };
}

bool
sconce__needle_find(const struct sconce__needle *n, struct sconce__scan *scan, const struct sconce_input *in,
	size_t *before_out)
{
	size_t at = scan->at, matched = scan->matched;

	if (at > in->len)
		at = matched = 0;		/* somebody else has taken bytes */
	while (at < in->len) {
		if (matched == 0) {
			const char *p = memchr(in->data + at, n->bytes[0], in->len - at);

			at = p == NULL ? in->len : (size_t)(p - in->data) + 1;
			matched = p != NULL;
		} else if (in->data[at] == n->bytes[matched]) {
			at++;
			matched++;
		} else {
			matched = n->borders[matched - 1];
			continue;
		}
		if (matched == n->len) {
			*before_out = at - n->len;
			*scan = (struct sconce__scan){ 0, 0 };
			return true;
		}
	}
	*scan = (struct sconce__scan){ at, matched };
	return false;
}
