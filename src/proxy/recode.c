/* Called by upload.c, answer.c and request.c. */
#include "recode.h"

#include <string.h>

ssize_t
recode_payload(struct sconce_http_body *body, char *buf, size_t len, char **payload_out, size_t *payload_len_out)
{
	char *payload = NULL;
	size_t at = 0, total = 0, n;

	while (at < len && !body->done) {
		ssize_t framing = sconce_http_body_parse(body, buf + at, len - at, &n);

		if (framing < 0)
			return framing;
		at += (size_t)framing;
		if (n > 0 && payload == NULL)
			payload = buf + at;
		else if (n > 0)
			memmove(payload + total, buf + at, n);
		at += n;
		total += n;
	}
	*payload_out = payload;
	*payload_len_out = total;
	return (ssize_t)at;
}

void
pieces_add(struct pieces *p, const void *data, size_t len)
{
	if (len == 0)
		return;
	p->iov[p->count].iov_base = (void *)(uintptr_t)data;
	p->iov[p->count++].iov_len = len;
}

void
pieces_add_chunk(struct pieces *p, const void *data, size_t len, bool last)
{
	static const char end_and_last[] = SCONCE_HTTP_CHUNK_END SCONCE_HTTP_LAST_CHUNK;
	size_t end = sizeof(SCONCE_HTTP_CHUNK_END) - 1;

	if (len > 0) {
		pieces_add(p, p->size_line, sconce_http_chunk_head(p->size_line, len));
		pieces_add(p, data, len);
		pieces_add(p, end_and_last, last ? sizeof(end_and_last) - 1 : end);
	} else if (last) {
		pieces_add(p, end_and_last + end, sizeof(SCONCE_HTTP_LAST_CHUNK) - 1);
	}
}
