/* A web server whose bytes can be checked, for bench/proxy.
 *
 *	web [ADDRESS:PORT]	GET /N answers N bytes of the pattern; a body that comes is compared with the pattern, and the
 *				answer is "N bytes, right" or "wrong at byte N"
 *	web --print N		writes N bytes of the pattern to standard output
 *
 * The pattern has a prime period, so that a byte lost or doubled shows. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <sconce/http.h>
#include <sconce/sconce.h>

#include "server.h"

enum { PERIOD = 251, BLOCK = PERIOD * 1024, FIELDS = 64 };

static char pattern[BLOCK + PERIOD];	/* from any place of the period, BLOCK bytes */

struct visit {
	struct sconce_sock sock;
	uint64_t left, at;		/* of the answer's body */
	bool body;			/* a request's is coming */
	struct sconce_http_body in;
	uint64_t got, wrong;		/* of the request's; wrong: 1 + place of the first */
};

static struct visit *
visit_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct visit, sock);
}

static void
pattern_fill(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)('!' + i % PERIOD % 90);
}

/* As much of the answer as is wanted now; event_drain and event_write ask for more. */
static void
send_more(struct visit *v)
{
	int result = SCONCE_SENT;

	while (v->left > 0 && result != SCONCE_QUEUED && result >= 0 && sconce_queued(&v->sock) < 2 * BLOCK) {
		size_t n = v->left < BLOCK ? (size_t)v->left : BLOCK;

		result = sconce_write_ref(&v->sock, pattern + v->at % PERIOD, n, NULL, NULL);
		v->left -= n;
		v->at += n;
	}
	sconce_watch_write(&v->sock, v->left > 0);
	if (v->left == 0)
		sconce_resume(&v->sock, SCONCE_PAUSE_APP);
}

static void
check(struct visit *v, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = len < BLOCK ? len : BLOCK;

		for (size_t i = 0; v->wrong == 0 && memcmp(data, pattern + v->got % PERIOD, n) != 0 && i < n; i++)
			if (data[i] != pattern[(v->got + i) % PERIOD])
				v->wrong = v->got + i + 1;
		v->got += n;
		data += n;
		len -= n;
	}
}

static void
answer_body(struct visit *v)
{
	char text[80];
	int n = v->wrong == 0 ? snprintf(text, sizeof(text), "%" PRIu64 " bytes, right\n", v->got) :
	    snprintf(text, sizeof(text), "wrong at byte %" PRIu64 "\n", v->wrong - 1);

	v->body = false;
	sconce_printf(&v->sock, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, text);
}

/* Bytes of a request's body.  Returns how many were of it, or -1. */
static ssize_t
take_body(struct visit *v, const char *data, size_t len)
{
	size_t used = 0, payload;

	while (used < len && !v->in.done) {
		ssize_t n = sconce_http_body_parse(&v->in, data + used, len - used, &payload);

		if (n < 0)
			return -1;
		check(v, data + used + n, payload);
		used += (size_t)n + payload;
		if (n == 0 && payload == 0)
			break;
	}
	if (v->in.done)
		answer_body(v);
	return (ssize_t)used;
}

/* A request's head, or nothing yet.  Returns its length, 0 or -1. */
static ssize_t
take_head(struct visit *v, const char *data, size_t len)
{
	struct sconce_http_field fields[FIELDS];
	struct sconce_http_head head;
	ssize_t n;

	sconce_http_request_init(&head, fields, FIELDS, 0);
	n = sconce_http_parse(&head, data, len);
	if (n <= 0)
		return n < 0 ? -1 : 0;
	if (head.body != SCONCE_HTTP_BODY_NONE) {
		v->body = true;
		v->got = v->wrong = 0;
		sconce_http_body_init(&v->in, head.body, head.content_length);
		if (head.expect_continue)
			sconce_printf(&v->sock, "HTTP/1.1 100 Continue\r\n\r\n");
		return n;
	}
	v->left = strtoull(sconce_http_at(data, head.path) + 1, NULL, 10);
	v->at = 0;
	sconce_printf(&v->sock, "HTTP/1.1 200 OK\r\nContent-Length: %" PRIu64 "\r\n\r\n", v->left);
	sconce_pause(&v->sock, SCONCE_PAUSE_APP);
	send_more(v);
	return n;
}

static void
visit_event_read(struct sconce_sock *s)
{
	struct visit *v = visit_of(s);
	const void *data;
	ssize_t n = sconce_read_shared(s, &data), used = 0, part;

	if (n == 0)
		sconce_close_flush(s, 5);
	while (used < n) {
		const char *p = (const char *)data + used;
		size_t len = (size_t)(n - used);

		if (sconce_paused(s) != 0)
			break;
		part = v->body ? take_body(v, p, len) : take_head(v, p, len);
		if (part < 0) {
			sconce_close(s, SCONCE_REASON_ERROR);
			return;
		}
		if (part == 0)
			break;
		used += part;
	}
	if (used < n)
		sconce_unread(s, (const char *)data + used, (size_t)(n - used));
}

static void
visit_event_more(struct sconce_sock *s)
{
	send_more(visit_of(s));
}

static void
visit_destroy(struct sconce_sock *s)
{
	free(visit_of(s));
}

static const struct sconce_sock_ops visit_ops = {
	.name = "visit", .event_read = visit_event_read, .event_write = visit_event_more, .event_drain = visit_event_more,
	.destroy = visit_destroy,
};

static int
visit_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct visit *v = calloc(1, sizeof(*v));
	int r = v == NULL ? -ENOMEM : sconce_sock_init(&v->sock, l->sock.loop, &visit_ops, fd);

	(void)peer;
	if (r < 0)
		free(v);
	return r;
}

static const struct sconce_listener_ops listener_ops = { .name = "web", .accept = visit_accept };

static int
print(uint64_t left)
{
	for (uint64_t at = 0; left > 0; at += BLOCK) {
		size_t n = left < BLOCK ? (size_t)left : BLOCK;

		if (fwrite(pattern + at % PERIOD, 1, n, stdout) != n)
			return 1;
		left -= n;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct sconce_loop *loop = NULL;
	struct sconce_listener listener;
	struct sconce_fail fail = { .text = "cannot make a loop" };
	char text[SCONCE_ADDR_TEXT];

	pattern_fill();
	if (argc == 3 && strcmp(argv[1], "--print") == 0)
		return print(strtoull(argv[2], NULL, 10));
	if (sconce_loop_new(NULL, &loop) < 0 ||
	    sconce_listen(&listener, loop, &listener_ops, server_endpoint(argc, argv), &fail) < 0) {
		fprintf(stderr, "web: %s\n", fail.text);
		return 1;
	}
	server_ready(sconce_addr_text(&listener.addr, text, sizeof(text)));
	sconce_loop_run(loop);
	return sconce_loop_free(loop);
}
