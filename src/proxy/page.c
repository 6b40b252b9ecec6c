/* Error pages. */
#include "page.h"
#include "recode.h"

#include <stdio.h>

static const char *
general(int status)
{
	switch (status) {
	case 408:
		return "The request did not come in time";
	case 431:
		return "The head of the request is too large";
	case 501:
		return "What the request asks for is not done here";
	case 503:
		return "There is no memory for the request";
	default:
		return NULL;
	}
}

/* PB's shape: <h1>CODE - text</h1>, then a message. */
static size_t
make_body(char *buf, size_t size, int status, const char *why)
{
	int n = snprintf(buf, size, "<h1>%d - %s</h1>\n", status, sconce_http_reason(status));

	if (why == NULL)
		why = general(status);
	if (why != NULL)
		n += snprintf(buf + n, size - (size_t)n, "%s.\n", why);
	return (size_t)n;
}

static ssize_t
make_head(struct client *c, int status, size_t body_len, char *buf, size_t size)
{
	struct service *sv = c->service;
	struct sconce_http_writer w;

	sconce_http_writer_init(&w, buf, size);
	sconce_http_put_status(&w, status, NULL, 0);
	sconce_http_put(&w, "Date", proxy_date(sv->proxy));
	if (sv->conf.server_tokens)
		sconce_http_put(&w, "Server", "sconced");
	sconce_http_put(&w, "Content-Type", "text/html; charset=utf-8");
	sconce_http_put_uint(&w, "Content-Length", body_len);
	if (status == 503)
		sconce_http_put_uint(&w, "Retry-After", RETRY_SECONDS);
	sconce_http_put(&w, "Connection", c->keep ? "keep-alive" : "close");
	return sconce_http_end(&w);
}

int
page_write(struct client *c, int status, const char *why)
{
	char head[512], body[256];
	size_t body_len = make_body(body, sizeof(body), status, why);
	ssize_t head_len = make_head(c, status, body_len, head, sizeof(head));
	struct pieces pieces = { .count = 0 };

	if (head_len < 0)
		return (int)head_len;
	pieces_add(&pieces, head, (size_t)head_len);
	if (c->method != SCONCE_HTTP_HEAD)
		pieces_add(&pieces, body, body_len);
	return sconce_writev(&c->sock, pieces.iov, pieces.count);
}
