/* Bodies whose framing changes on the way: chunked to chunked (in our own pieces), to plain, and the reverse. */
#ifndef PROXY_RECODE_H
#define PROXY_RECODE_H

#include <sys/uio.h>
#include "proxy.h"

/* Takes the framing out of the next `len` bytes of a body, in place: *payload_out and *payload_len_out tell where the
 * payload now stands in one piece.  Stops at the end of the body.
 * Returns how many of the bytes belonged to the body, or -EBADMSG (body->error). */
ssize_t recode_payload(struct sconce_http_body *body, char *buf, size_t len, char **payload_out,
	size_t *payload_len_out);

/* The pieces of one write: at most a head, and a chunk of payload with its framing, or the plain payload. */
struct pieces {
	struct iovec	iov[5];
	int		count;
	char		size_line[SCONCE_HTTP_CHUNK_HEAD_BYTES];
};

void pieces_add(struct pieces *pieces, const void *data, size_t len);
/* Adds a chunk of `len` bytes (nothing if 0) and, when `last`, the end of the body. */
void pieces_add_chunk(struct pieces *pieces, const void *data, size_t len, bool last);

#endif
