/* The response on its way to the client: head rewritten, body streamed.
 *
 * What is copied may be up to buffer_size ahead of the client, so that a slow reader costs memory here and not a
 * process there (PB-73, PB-148).  Of a longer body all but that much at the end is spliced. */
#include "backend.h"
#include "request.h"
#include "partial.h"
#include "put.h"
#include "recode.h"

#include <errno.h>
#include <string.h>

enum { LEAST_READ = 4096 };

static size_t
read_size(const struct backend *b)
{
	int64_t size = b->service->conf.buffer_size;

	return size < LEAST_READ ? LEAST_READ : size > IO_BYTES ? IO_BYTES : (size_t)size;
}

/* The response is not HTTP, or says two things at once: nobody shall read the one or the other (HZ-4, HZ-5). */
static void
refuse(struct backend *b, const char *what)
{
	struct client *c = b->client;

	sconce_log_line(b->service->proxy->log, SCONCE_LOG_WARNING, "service %s: node %s: bad answer: %s", b->service->name,
	    b->node->text, what);
	backend_done(b, false);
	client_fail(c, 502, "The backend's answer is not valid");
}

/* ---- the body ---- */

static void finish(struct backend *b, bool clean);

/* How much of the body to splice, if any. */
static uint64_t
splice_bytes(const struct backend *b)
{
	uint64_t ahead = (uint64_t)b->service->conf.buffer_size;

	if (b->framing == FRAMING_CLOSE && b->body.kind == SCONCE_HTTP_BODY_UNTIL_CLOSE)
		return SCONCE_TO_END;
	if (b->framing != FRAMING_LENGTH || b->body.left < ahead + SPLICE_BYTES)
		return 0;
	return b->body.left - ahead;
}

static void
transferred(struct sconce_sock *s, void *arg, int status)
{
	struct client *c = client_of(s);
	struct backend *b = c->backend;
	uint64_t bytes;

	(void)arg;
	if (b == NULL || b->transferring == 0 || status == -ECANCELED)
		return;				/* parted meanwhile */
	bytes = b->transferring;
	b->transferring = 0;
	if (status == 0 && bytes == SCONCE_TO_END) {
		finish(b, true);
	} else if (status == 0) {
		sconce_http_body_skip(&b->body, bytes);
		if (b->body.done)
			finish(b, true);
	} else if (status == -ENODATA) {
		backend_lost(b, 0);
	} else if (c->sock.errnum != 0) {
		client_close(c, SCONCE_REASON_ERROR);
	} else {
		backend_lost(b, -status);
	}
}

/* The response is complete.  `clean`: and nothing stands behind it. */
static void
finish(struct backend *b, bool clean)
{
	struct client *c = b->client;

	if (!clean)
		node_distrust(b->node);
	backend_done(b, clean && c->body.done);
	client_answered(c);
}

/* Writes what there is of head (in p->out) and payload, and sees how it goes on. */
static void
pass(struct backend *b, size_t head_len, char *payload, size_t len, bool clean)
{
	struct client *c = b->client;
	struct pieces pieces = { .count = 0 };
	uint64_t splice;

	pieces_add(&pieces, b->service->proxy->out, head_len);
	if (b->framing == FRAMING_CHUNKED)
		pieces_add_chunk(&pieces, payload, len, b->body.done);
	else
		pieces_add(&pieces, payload, len);
	if (pieces.count > 0 && !client_wrote(c, sconce_writev(&c->sock, pieces.iov, pieces.count)))
		return;
	if (b->body.done) {
		finish(b, clean);
		return;
	}
	splice = splice_bytes(b);
	if (splice > 0) {
		b->transferring = splice;
		sconce_transfer(&b->sock, &c->sock, splice, transferred, NULL);
	} else if (sconce_queued(&c->sock) > 0 && sconce_queued(&c->sock) >= (uint64_t)b->service->conf.buffer_size) {
		sconce_pause(&b->sock, SCONCE_PAUSE_APP);
	}
}

/* What came behind `head_len` bytes of rewritten head. */
static void
take_body(struct backend *b, size_t head_len, char *buf, size_t len)
{
	char *payload;
	size_t payload_len;
	ssize_t taken = recode_payload(&b->body, buf, len, &payload, &payload_len);

	if (taken < 0)
		refuse(b, sconce_http_error_text(b->body.error));
	else
		pass(b, head_len, payload, payload_len, (size_t)taken == len);
}

/* The backend ended: that ends a body that lasts until close, and cuts any other. */
static void
end_of_input(struct backend *b)
{
	if (sconce_http_body_eof(&b->body) == 0)
		pass(b, 0, NULL, 0, true);
	else
		backend_lost(b, 0);
}

void
answer_read_body(struct backend *b)
{
	struct proxy *p = b->service->proxy;
	ssize_t n = sconce_read(&b->sock, p->io, read_size(b));

	if (n == -EAGAIN)
		return;
	if (n == 0) {
		end_of_input(b);
	} else if (n < 0) {
		backend_lost(b, (int)-n);
	} else {
		b->client->moved++;
		take_body(b, 0, p->io, (size_t)n);
	}
}

void
answer_resume(struct backend *b)
{
	sconce_resume(&b->sock, SCONCE_PAUSE_APP);
}

/* ---- the head ---- */

/* RFC 9110 6.6.1: who passes a response on without a Date adds one. */
static void
put_date(struct sconce_http_writer *w, struct proxy *p, const struct sconce_http_head *head, const char *buf)
{
	for (unsigned i = 0; i < head->field_count; i++) {
		const struct sconce_http_field *f = &head->fields[i];

		if (f->name.length == 4 && !f->drop && sconce_http_equal(sconce_http_at(buf, f->name), 4, "Date", 4))
			return;
	}
	sconce_http_put(w, "Date", proxy_date(p));
}

/* Rewrites the head for the client into p->out.  Returns its length or -errno. */
static ssize_t
make_head(struct backend *b, const struct sconce_http_head *head, const char *buf)
{
	struct service *sv = b->service;
	struct sconce_http_writer w;

	sconce_http_writer_init(&w, sv->proxy->out, OUT_BYTES);
	sconce_http_put_status(&w, head->status, sconce_http_at(buf, head->reason), head->reason.length);
	sconce_http_put_fields(&w, head, buf);
	if (b->framing == FRAMING_CHUNKED)
		put_lines(&w, "Transfer-Encoding: chunked\r\n");
	else if (head->has_length)
		put_length(&w, head->content_length);
	put_date(&w, sv->proxy, head, buf);
	put_lines(&w, b->client->keep ? sv->persist_lines : "Connection: close\r\n");
	return sconce_http_end(&w);
}

/* What the response's framing becomes, and whether the client is kept (RFC 9112 6.3, 9.3; PB-2, PB-4). */
static void
decide(struct backend *b, const struct sconce_http_head *head)
{
	const struct service_conf *conf = &b->service->conf;
	struct client *c = b->client;

	b->framing = FRAMING_LENGTH;
	if (head->body == SCONCE_HTTP_BODY_CHUNKED || head->body == SCONCE_HTTP_BODY_UNTIL_CLOSE)
		b->framing = c->minor == 0 ? FRAMING_CLOSE : FRAMING_CHUNKED;
	b->keep = conf->persist_backend && head->keep_alive;
	c->until_close = b->framing == FRAMING_CLOSE;
	/* PB-17: what is left of the request's body would be read as the next request. */
	c->keep = conf->persist_client && c->asked_keep && c->body.done && !c->until_close &&
	    !b->service->proxy->stopping;
}

static void
begin(struct backend *b, const struct sconce_http_head *head, const char *buf, char *rest, size_t len)
{
	ssize_t n;

	decide(b, head);
	n = make_head(b, head, buf);
	if (n < 0) {
		refuse(b, "too large");
		return;
	}
	b->state = BACKEND_BODY;
	sconce_http_body_init(&b->body, head->body, head->content_length);
	take_body(b, (size_t)n, rest, len);
}

/* 1xx goes to clients that know it (RFC 9110 15.2); the response is still to come. */
static void
interim(struct backend *b, const struct sconce_http_head *head, const char *buf, const char *rest, size_t len)
{
	struct client *c = b->client;
	struct proxy *p = b->service->proxy;
	struct sconce_http_writer w;

	if (head->status == 101) {
		refuse(b, "101, which nobody asked for");
		return;
	}
	sconce_http_writer_init(&w, p->out, OUT_BYTES);
	sconce_http_put_status(&w, head->status, sconce_http_at(buf, head->reason), head->reason.length);
	sconce_http_put_fields(&w, head, buf);
	if (sconce_http_end(&w) > 0 && c->minor > 0 && sconce_write(&c->sock, w.buf, w.len) < 0) {
		client_close(c, SCONCE_REASON_ERROR);
		return;
	}
	if (len > 0 && sconce_unread(&b->sock, rest, len) < 0)
		backend_lost(b, ENOMEM);
}

void
answer_read_head(struct backend *b)
{
	struct proxy *p = b->service->proxy;
	struct client *c = b->client;
	struct sconce_http_head head;
	struct partial *partial;
	char *buf;
	size_t len;
	ssize_t n;

	sconce_http_response_init(&head, p->fields, SCONCE_HTTP_FIELDS, 0, c->method);
	n = partial_read(&b->partial, p, &b->sock, &head, read_size(b), &buf, &len);
	if (n == -EAGAIN)
		return;
	if (n == -EBADMSG) {
		refuse(b, sconce_http_error_text(head.error));
		return;
	}
	if (n < 0) {
		backend_lost(b, n == -ENODATA ? 0 : (int)-n);
		return;
	}
	b->begun = true;
	request_free(c);
	c->moved++;
	if (n == PARTIAL_MORE)
		return;
	partial = b->partial;			/* b may be in use again before we return */
	b->partial = NULL;
	if (head.status < 200)
		interim(b, &head, buf, buf + n, len - (size_t)n);
	else
		begin(b, &head, buf, buf + n, len - (size_t)n);
	partial_free(&partial);
}
