/* Reading heads, most of which come in one piece.  One that does not waits in memory of its own until it is
 * complete, so that idle connections own no buffer. */
#ifndef PROXY_PARTIAL_H
#define PROXY_PARTIAL_H

#include "proxy.h"

struct partial;

/* Results of partial_read() besides the length of the head and -errno. */
enum {
	PARTIAL_MORE = 0		/* not complete: there will be another event_read */
};

/* Reads from `s` and parses.  `*partial` is what has come before (NULL: nothing); it is made, grown and, on success,
 * kept: call partial_free() when the head has been used.  `head` was made by sconce_http_request_init() or
 * _response_init() with p->fields.  One read takes at most `most` bytes.
 * Returns the length of the head: then it stands at *buf_out, with *len_out bytes in all; PARTIAL_MORE;
 * -EAGAIN (nothing came), -EBADMSG (head->error), -ENODATA (the peer's end), or another -errno. */
ssize_t partial_read(struct partial **partial, struct proxy *p, struct sconce_sock *s,
	struct sconce_http_head *head, size_t most, char **buf_out, size_t *len_out);

/* Whether the start line of what waits has begun. */
bool partial_begun(const struct partial *partial);

/* Forgets it; NULL is allowed. */
void partial_free(struct partial **partial);

#endif
