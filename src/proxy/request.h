/* Requests on their way to a backend. */
#ifndef PROXY_REQUEST_H
#define PROXY_REQUEST_H

#include "client.h"

/* A request as it is written to a backend: its head, then the payload that was there when it was sent.  Made for
 * every request; freed when the backend begins to answer, or at once if it may not be sent twice. */
struct request {
	size_t		head_len;
	size_t		len;		/* head and payload */
	size_t		size;		/* bytes of data */
	char		data[];
};

/* Writes the head as it goes to the backend (D.5, RFC 9110 7.6) into a new c->request.  `room` is for payload behind it.
 * Returns 0, or the status that refuses the request. */
int request_make(struct client *c, struct sconce_http_head *head, const char *buf, size_t head_len, size_t room);
/* Appends payload.  Returns false without memory. */
bool request_add(struct client *c, const char *payload, size_t len);
/* Writes it to the backend.  Returns what sconce_writev() does. */
int request_send(struct client *c, struct sconce_sock *to);
/* Whether it may be sent again (RFC 9110 9.2.2): nothing but the whole request has been sent. */
bool request_repeatable(const struct client *c);
void request_free(struct client *c);

/* ---- upload.c: the body ---- */

/* The head has been read; `len` bytes at `buf` came with it.  What belongs to the body goes to the request, what
 * follows it back to the socket.  Then a backend is asked for, or more of the body waited for. */
void upload_begin(struct client *c, char *buf, size_t len);
/* event_read, in COLLECT. */
void upload_collect(struct client *c);
/* The backend has the request so far: the rest of the body follows. */
void upload_continue(struct client *c);
/* event_read, while c->uploading. */
void upload_read(struct client *c);
/* Nobody wants the rest of the body any more. */
void upload_stop(struct client *c);

#endif
