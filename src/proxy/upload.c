/* The body of a request: collected until it is worth a backend (PB-75), then passed on as it comes. */
#include "request.h"
#include "backend.h"
#include "recode.h"

#include <errno.h>

enum { COLLECT_READ = 64 * 1024 };

/* A backend is wanted for what has been collected.  The rest waits in the kernel until there is one. */
static void
want_backend(struct client *c)
{
	if (!c->body.done)
		sconce_pause(&c->sock, SCONCE_PAUSE_APP);
	service_want(c->service, c);
}

/* What stands behind the body is the next request, for later. */
static bool
put_back(struct client *c, const char *rest, size_t len)
{
	if (len == 0)
		return true;
	sconce_pause(&c->sock, SCONCE_PAUSE_APP);
	return sconce_unread(&c->sock, rest, len) == 0;
}

/* Takes `len` bytes of the body into the request.  Returns false if the client was refused or closed. */
static bool
collect(struct client *c, char *buf, size_t len)
{
	char *payload;
	size_t payload_len;
	ssize_t taken = recode_payload(&c->body, buf, len, &payload, &payload_len);

	if (taken < 0) {
		client_fail(c, sconce_http_error_status(c->body.error), sconce_http_error_text(c->body.error));
		return false;
	}
	if ((payload_len > 0 && !request_add(c, payload, payload_len)) ||
	    !put_back(c, buf + taken, len - (size_t)taken)) {
		client_fail(c, 503, "Out of memory");
		return false;
	}
	return true;
}

static bool
collected(const struct client *c)
{
	return c->body.done || c->expects ||
	    c->request->len - c->request->head_len >= (uint64_t)c->service->conf.buffer_backend_connect;
}

void
upload_begin(struct client *c, char *buf, size_t len)
{
	if (len > 0 && !collect(c, buf, len))
		return;
	if (collected(c))
		want_backend(c);
	else
		c->state = CLIENT_COLLECT;
}

/* Bytes of the body into the proxy's buffer; 0 for none, also when the client is gone and has been closed. */
static ssize_t
read_body(struct client *c, size_t size)
{
	ssize_t n = sconce_read(&c->sock, c->service->proxy->io, size);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		client_close(c, n == 0 ? SCONCE_REASON_EOF : SCONCE_REASON_ERROR);
		return 0;
	}
	c->moved++;
	return n;
}

void
upload_collect(struct client *c)
{
	struct proxy *p = c->service->proxy;
	ssize_t n = read_body(c, COLLECT_READ);

	if (n > 0 && collect(c, p->io, (size_t)n) && collected(c))
		want_backend(c);
}

/* ---- passing on ---- */

/* All of a body with a length has gone, or one of the two did not last. */
static void
uploaded(struct sconce_sock *s, void *arg, int status)
{
	struct backend *b = backend_of(s);
	struct client *c = b->client;

	(void)arg;
	if (c == NULL || !c->uploading || status == -ECANCELED)
		return;				/* parted meanwhile */
	c->uploading = false;
	if (status == 0) {
		sconce_http_body_skip(&c->body, c->body.left);
		c->moved++;
	} else if (status == -ENODATA || c->sock.errnum != 0) {
		client_close(c, SCONCE_REASON_EOF);
	} else {
		upload_stop(c);			/* the backend took no more: it may have said why */
	}
}

void
upload_continue(struct client *c)
{
	if (c->body.done)
		return;
	c->uploading = true;
	sconce_resume(&c->sock, SCONCE_PAUSE_APP);
	if (c->body.kind == SCONCE_HTTP_BODY_LENGTH)
		sconce_transfer(&c->sock, &c->backend->sock, c->body.left, uploaded, NULL);
}

void
upload_stop(struct client *c)
{
	c->uploading = false;
	sconce_pause(&c->sock, SCONCE_PAUSE_APP);
}

/* Bytes of a chunked body: to the backend in chunks of our own. */
static void
pass(struct client *c, char *buf, size_t len)
{
	struct pieces pieces = { .count = 0 };
	char *payload;
	size_t payload_len;
	ssize_t taken = recode_payload(&c->body, buf, len, &payload, &payload_len);
	int result = SCONCE_SENT;

	if (taken < 0) {
		client_fail(c, sconce_http_error_status(c->body.error), sconce_http_error_text(c->body.error));
		return;
	}
	pieces_add_chunk(&pieces, payload, payload_len, c->body.done);
	if (pieces.count > 0)
		result = sconce_writev(&c->backend->sock, pieces.iov, pieces.count);
	if (c->body.done)
		c->uploading = false;
	if (!put_back(c, buf + taken, len - (size_t)taken))
		client_close(c, SCONCE_REASON_LOCAL);
	else if (result < 0)
		upload_stop(c);
	else if (result == SCONCE_QUEUED && !c->body.done)
		sconce_pause(&c->sock, SCONCE_PAUSE_APP);
}

void
upload_read(struct client *c)
{
	struct proxy *p = c->service->proxy;
	ssize_t n = read_body(c, IO_BYTES);

	if (n > 0)
		pass(c, p->io, (size_t)n);
}
