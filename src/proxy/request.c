/* The head of a request as a backend gets it: HTTP/1.1, origin form, one normal framing (D.5, RFC 9110 7.6). */
#include "request.h"
#include "backend.h"
#include "put.h"
#include "recode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ADDED_BYTES = 384 };		/* the most that the head grows: X-Forwarded-For, Via, Connection, Host, framing */

/* ---- memory ---- */

static bool
reserve(struct client *c, size_t size)
{
	struct request *r = realloc(c->request, sizeof(*r) + size);

	if (r == NULL)
		return false;
	r->size = size;
	c->request = r;
	return true;
}

bool
request_add(struct client *c, const char *payload, size_t len)
{
	struct request *r = c->request;

	if (len > r->size - r->len && !reserve(c, (r->len + len) * 2))
		return false;
	r = c->request;
	memcpy(r->data + r->len, payload, len);
	r->len += len;
	return true;
}

void
request_free(struct client *c)
{
	free(c->request);
	c->request = NULL;
}

bool
request_repeatable(const struct client *c)
{
	return c->body.done && sconce_http_is_idempotent(c->method);
}

/* ---- the head ---- */

static bool
named(const struct sconce_http_field *f, const char *buf, const char *name)
{
	return sconce_http_equal(sconce_http_at(buf, f->name), f->name.length, name, f->name.length);
}

/* RFC 9110 7.6.2: OPTIONS and TRACE go so many steps and no further.  Returns false if this was the last; else
 * *hops_out is what to send on, -1 for nothing. */
static bool
count_hops(const struct sconce_http_head *head, const char *buf, struct sconce_http_field *f, int *hops_out)
{
	const char *digits = sconce_http_at(buf, f->value);
	int hops = 0;

	if (head->method_id != SCONCE_HTTP_OPTIONS && head->method_id != SCONCE_HTTP_TRACE)
		return true;
	for (unsigned i = 0; i < f->value.length; i++) {
		if (digits[i] < '0' || digits[i] > '9' || hops > 99999)
			return true;		/* not a number: not for us */
		hops = hops * 10 + (digits[i] - '0');
	}
	f->drop = true;
	*hops_out = hops - 1;
	return hops > 0;
}

/* What an untrusted client says of those before it is not believed: X-Forwarded-For is replaced, X-Host and
 * X-Forwarded-Host go (D.5, HZ-15).  Returns false for a request that may not go on. */
static bool
scan_fields(struct sconce_http_head *head, const char *buf, int *hops_out)
{
	*hops_out = -1;
	for (unsigned i = 0; i < head->field_count; i++) {
		struct sconce_http_field *f = &head->fields[i];

		switch (f->name.length) {
		case 6:
			f->drop |= named(f, buf, "X-Host");
			break;
		case 12:
			if (named(f, buf, "Max-Forwards") && !count_hops(head, buf, f, hops_out))
				return false;
			break;
		case 15:
			f->drop |= named(f, buf, "X-Forwarded-For");
			break;
		case 16:
			f->drop |= named(f, buf, "X-Forwarded-Host");
			break;
		}
	}
	return true;
}

/* HTTP/1.0 may do without Host; HTTP/1.1 may not, so the address that the client came to stands in. */
static void
put_host(struct sconce_http_writer *w, struct client *c, const struct sconce_http_head *head, const char *buf)
{
	char text[SCONCE_ADDR_TEXT];
	struct sconce_addr local;

	if (head->authority.length > 0) {
		put_line(w, "Host: ", sconce_http_at(buf, head->authority), head->authority.length);
		return;
	}
	if (sconce_local(&c->sock, &local) < 0 || local.any.sa_family == AF_UNIX)
		sconce_http_put(w, "Host", "");
	else
		sconce_http_put(w, "Host", sconce_addr_text(&local, text, sizeof(text)));
}

int
request_make(struct client *c, struct sconce_http_head *head, const char *buf, size_t head_len, size_t room)
{
	struct sconce_http_writer w;
	int hops;

	if (!scan_fields(head, buf, &hops))
		return 501;
	if (!reserve(c, head_len + ADDED_BYTES + room))
		return 503;
	sconce_http_writer_init(&w, c->request->data, head_len + ADDED_BYTES);
	sconce_http_put_request_of(&w, head, buf);
	put_host(&w, c, head, buf);
	sconce_http_put_fields(&w, head, buf);
	put_line(&w, "X-Forwarded-For: ", c->peer, strlen(c->peer));
	put_lines(&w, c->service->request_lines[head->minor]);
	if (hops >= 0)
		sconce_http_put_uint(&w, "Max-Forwards", (uint64_t)hops);
	sconce_http_put_framing(&w, head);
	if (sconce_http_end(&w) < 0) {
		request_free(c);
		return 431;
	}
	c->request->head_len = c->request->len = w.len;
	return 0;
}

/* ---- sending ---- */

int
request_send(struct client *c, struct sconce_sock *to)
{
	const struct request *r = c->request;
	struct pieces pieces = { .count = 0 };

	if (!c->chunked)
		return sconce_write(to, r->data, r->len);
	pieces_add(&pieces, r->data, r->head_len);
	pieces_add_chunk(&pieces, r->data + r->head_len, r->len - r->head_len, c->body.done);
	return sconce_writev(to, pieces.iov, pieces.count);
}
