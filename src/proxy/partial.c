/* Called by client.c for requests, by answer.c for responses. */
#include "partial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 2048 };

struct partial {
	struct sconce_http_head head;	/* where the parser stands */
	struct sconce_http_field fields[SCONCE_HTTP_FIELDS];
	char		*buf;
	size_t		len, size;
};

static bool
grow(struct partial *part, size_t size)
{
	char *buf = realloc(part->buf, size);

	if (buf == NULL)
		return false;
	part->buf = buf;
	part->size = size;
	return true;
}

/* The bytes so far, and the parser's state, move to memory of their own. */
static struct partial *
keep(const struct sconce_http_head *head, const char *buf, size_t len)
{
	struct partial *part = malloc(sizeof(*part));

	if (part == NULL)
		return NULL;
	part->buf = NULL;
	if (!grow(part, len * 2 > FIRST_SIZE ? len * 2 : FIRST_SIZE)) {
		free(part);
		return NULL;
	}
	memcpy(part->buf, buf, len);
	part->len = len;
	memcpy(part->fields, head->fields, sizeof(part->fields));
	part->head = *head;
	part->head.fields = part->fields;
	return part;
}

static ssize_t
read_more(struct partial *part, struct sconce_sock *s, struct sconce_http_head *head, char **buf_out,
    size_t *len_out)
{
	ssize_t n;

	if (part->len == part->size && !grow(part, part->size * 2))
		return -ENOMEM;
	n = sconce_read(s, part->buf + part->len, part->size - part->len);
	if (n <= 0)
		return n == 0 ? -ENODATA : n;
	part->len += (size_t)n;
	n = sconce_http_parse(&part->head, part->buf, part->len);
	*head = part->head;
	*buf_out = part->buf;
	*len_out = part->len;
	return n;
}

ssize_t
partial_read(struct partial **partial, struct proxy *p, struct sconce_sock *s, struct sconce_http_head *head,
    size_t most, char **buf_out, size_t *len_out)
{
	ssize_t n, parsed;

	if (*partial != NULL)
		return read_more(*partial, s, head, buf_out, len_out);
	n = sconce_read(s, p->io, most);
	if (n <= 0)
		return n == 0 ? -ENODATA : n;
	*buf_out = p->io;
	*len_out = (size_t)n;
	parsed = sconce_http_parse(head, p->io, (size_t)n);
	if (parsed == 0) {
		*partial = keep(head, p->io, (size_t)n);
		if (*partial == NULL)
			return -ENOMEM;
	}
	return parsed;
}

bool
partial_begun(const struct partial *partial)
{
	return partial->head.begun;
}

void
partial_free(struct partial **partial)
{
	if (*partial == NULL)
		return;
	free((*partial)->buf);
	free(*partial);
	*partial = NULL;
}
