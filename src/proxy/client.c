/* A connection from a client: reads a request, sees it through, reads the next. */
#include "backend.h"
#include "page.h"
#include "partial.h"
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { AHEAD_READ = 4096 };
#define PROBE_SECONDS 1.0

static const struct sconce_sock_ops client_ops;

struct client *
client_of(struct sconce_sock *s)
{
	assert(s->ops == &client_ops);
	return SCONCE_CONTAINER_OF(s, struct client, sock);
}

static void
input_timeout(struct client *c, int64_t seconds)
{
	/* It cannot fail for this kind. */
	sconce_set_timeout(&c->sock, SCONCE_TIMEOUT_INPUT, (double)seconds);
}

/* A limit of 0 is none. */
static bool
expired(double waited, int64_t limit)
{
	return limit > 0 && waited >= (double)limit;
}

/* ---- life ---- */

int
client_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct service *sv = SCONCE_CONTAINER_OF(l, struct service, listener);
	struct client *c = calloc(1, sizeof(*c));
	int error;

	if (c == NULL)
		return -ENOMEM;
	error = sconce_sock_init(&c->sock, sv->proxy->loop, &client_ops, fd);
	if (error < 0) {
		free(c);
		return error;
	}
	c->service = sv;
	sv->proxy->client_count++;
	sconce_listener_count(l, &c->sock);	/* without memory it does not count */
	if (sconce_listener_paused(l) & SCONCE_LISTENER_LIMIT)
		proxy_full(sv);
	if (peer->any.sa_family == AF_UNIX)
		memcpy(c->peer, "unknown", sizeof("unknown"));
	else
		sconce_addr_host(peer, c->peer, sizeof(c->peer));
	sconce_set_gather(&c->sock, false);	/* a message leaves in one write, from where it stands */
	input_timeout(c, sv->conf.idle_timeout);
	return 0;
}

/* It no longer wants a backend.  One that it has goes, with half a request or half a response. */
static void
leave_backend(struct client *c)
{
	struct backend *b = c->backend;

	service_unwant(c->service, c);
	if (b == NULL)
		return;
	c->backend = NULL;
	b->client = NULL;
	backend_close(b, SCONCE_REASON_LOCAL);
}

/* Takes it out of everything that knows it. */
static void
client_unlink(struct client *c)
{
	list_remove(&c->busy);
	leave_backend(c);
}

void
client_close(struct client *c, int reason)
{
	client_unlink(c);
	sconce_close(&c->sock, reason);
}

static void
client_event_close(struct sconce_sock *s)
{
	client_unlink(client_of(s));
}

static void
client_destroy(struct sconce_sock *s)
{
	struct client *c = client_of(s);
	struct proxy *p = c->service->proxy;

	request_free(c);
	partial_free(&c->partial);
	free(c);
	p->client_count--;
	proxy_check_stopped(p);
}

/* What is queued still goes out.  Who may have more to say is listened to for a while, or its answer might be lost in a
 * reset (RFC 9112 9.6). */
static void
client_end(struct client *c)
{
	bool silent = c->ended || (c->body.done && !c->asked_keep && sconce_unread_bytes(&c->sock) == 0);

	client_unlink(c);
	c->state = CLIENT_ENDING;
	sconce_set_no_linger(&c->sock, silent);
	sconce_close_flush(&c->sock, LINGER_SECONDS);
}

/* ---- the end of a request ---- */

static void
next_request(struct client *c)
{
	const struct proxy *p = c->service->proxy;

	/* one that was told that it may stay, before we began to stop, may have sent more */
	if (!c->keep || ((c->ended || (p->stopping && !p->draining)) && sconce_unread_bytes(&c->sock) == 0)) {
		client_end(c);
		return;
	}
	list_remove(&c->busy);
	c->state = CLIENT_IDLE;
	input_timeout(c, p->draining ? DRAIN_IDLE_SECONDS : c->service->conf.persist_client_idle_timeout);
	sconce_resume(&c->sock, SCONCE_PAUSE_APP);
}

void
client_answered(struct client *c)
{
	request_free(c);
	if (sconce_queued(&c->sock) == 0) {
		next_request(c);
		return;
	}
	/* HZ-8: whoever does not read gets nothing more to read. */
	c->state = CLIENT_DRAIN;
	sconce_pause(&c->sock, SCONCE_PAUSE_APP);
}

bool
client_wrote(struct client *c, int result)
{
	c->state = CLIENT_ANSWER;
	if (result >= 0)
		return true;
	client_close(c, SCONCE_REASON_ERROR);
	return false;
}

/* Part of an answer has gone and no more will come: it must not look complete (PB-2). */
static void
cut(struct client *c)
{
	client_unlink(c);
	if (c->until_close) {
		sconce_abort(&c->sock);
		return;
	}
	c->state = CLIENT_ENDING;
	sconce_set_no_linger(&c->sock, true);
	sconce_close_flush(&c->sock, LINGER_SECONDS);
}

void
client_fail(struct client *c, int status, const char *why)
{
	const struct service *sv = c->service;

	if (c->state == CLIENT_ANSWER) {
		cut(c);
		return;
	}
	leave_backend(c);
	c->keep = status >= 500 && sv->conf.persist_client && c->asked_keep && c->body.done && !sv->proxy->stopping;
	c->uploading = false;
	if (client_wrote(c, page_write(c, status, why)))
		client_answered(c);
}

void
client_retry(struct client *c)
{
	c->fresh = true;
	service_want(c->service, c);
}

/* ---- the beginning of a request ---- */

/* What came is no request. */
static void
refuse(struct client *c, int status, const char *why)
{
	partial_free(&c->partial);
	c->method = SCONCE_HTTP_OTHER;
	c->asked_keep = false;
	c->body.done = false;			/* and what may follow is no request either */
	client_fail(c, status, why);
}

static void
begin(struct client *c, struct sconce_http_head *head, char *buf, size_t head_len, size_t len)
{
	struct proxy *p = c->service->proxy;
	int status;

	list_push_tail(&p->busy, &c->busy);
	proxy_tick(p);
	c->since = sconce_now(p->loop);
	c->moved++;
	c->method = (uint8_t)head->method_id;
	c->minor = head->minor;
	c->asked_keep = head->keep_alive;
	c->chunked = head->body == SCONCE_HTTP_BODY_CHUNKED;
	c->expects = head->expect_continue;
	c->uploading = c->fresh = c->probed = c->until_close = false;
	sconce_http_body_init(&c->body, head->body, head->content_length);
	status = request_make(c, head, buf, head_len, len - head_len);
	if (status == 0) {
		upload_begin(c, buf + head_len, len - head_len);
	} else {
		c->asked_keep = false;		/* what came behind is lost */
		client_fail(c, status, NULL);
	}
}

/* A head that comes in pieces must be complete within idle_timeout, however many there are. */
static void
head_incomplete(struct client *c)
{
	double now = sconce_now(c->sock.loop);
	int64_t limit = c->service->conf.idle_timeout;

	if (c->ended) {
		client_close(c, SCONCE_REASON_EOF);
	} else if (c->state == CLIENT_IDLE && partial_begun(c->partial)) {
		c->state = CLIENT_HEAD;
		c->since = now;
		input_timeout(c, limit);
	} else if (c->state == CLIENT_HEAD && expired(now - c->since, limit)) {
		refuse(c, 408, NULL);
	}
}

static void
read_head(struct client *c)
{
	struct proxy *p = c->service->proxy;
	struct sconce_http_head head;
	struct partial *partial;
	char *buf;
	size_t len;
	ssize_t n;

	sconce_http_request_init(&head, p->fields, SCONCE_HTTP_FIELDS, 0);
	n = partial_read(&c->partial, p, &c->sock, &head, FIRST_READ, &buf, &len);
	if (n == -EAGAIN)
		return;
	if (n == PARTIAL_MORE) {
		head_incomplete(c);
	} else if (n > 0) {
		partial = c->partial;
		c->partial = NULL;
		begin(c, &head, buf, (size_t)n, len);
		partial_free(&partial);
	} else if (n == -EBADMSG) {
		refuse(c, sconce_http_error_status(head.error), sconce_http_error_text(head.error));
	} else {
		client_close(c, n == -ENODATA ? SCONCE_REASON_EOF : SCONCE_REASON_ERROR);
	}
}

/* Input while a request is under way: the next one, which waits, or the end.  Who only half-closed still gets its
 * answer. */
static void
read_ahead(struct client *c)
{
	char *buf = c->service->proxy->io;
	ssize_t n = sconce_read(&c->sock, buf, AHEAD_READ);

	if (n > 0) {
		sconce_pause(&c->sock, SCONCE_PAUSE_APP);
		if (sconce_unread(&c->sock, buf, (size_t)n) < 0)
			client_close(c, SCONCE_REASON_LOCAL);
	} else if (n == 0) {
		c->ended = true;
	} else if (n != -EAGAIN) {
		client_close(c, SCONCE_REASON_ERROR);
	}
}

/* ---- hooks ---- */

static void
client_event_read(struct sconce_sock *s)
{
	struct client *c = client_of(s);

	if (c->state <= CLIENT_HEAD)
		read_head(c);
	else if (c->state == CLIENT_COLLECT)
		upload_collect(c);
	else if (c->uploading)
		upload_read(c);
	else
		read_ahead(c);
}

static void
client_event_err(struct sconce_sock *s, int errnum)
{
	(void)errnum;
	client_close(client_of(s), SCONCE_REASON_ERROR);
}

static void
client_event_hup(struct sconce_sock *s)
{
	client_close(client_of(s), SCONCE_REASON_HUP);
}

static void
client_event_drain(struct sconce_sock *s)
{
	struct client *c = client_of(s);

	if (c->state == CLIENT_DRAIN)
		next_request(c);
	else if (c->state == CLIENT_ANSWER && c->backend != NULL)
		answer_resume(c->backend);
}

static void
client_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct client *c = client_of(s);

	(void)kind;				/* input is the only one */
	if (c->state == CLIENT_IDLE)
		client_close(c, SCONCE_REASON_TIMEOUT);
	else if (c->state == CLIENT_HEAD)
		refuse(c, 408, NULL);		/* else the tick takes care */
}

/* ---- the tick ---- */

/* Bytes that have got through for the present exchange; changes whenever something moves. */
static uint64_t
progress(const struct client *c)
{
	const struct backend *b = c->backend;
	uint64_t sum = c->moved + sconce_transferred(&c->sock) - sconce_queued(&c->sock);

	if (b != NULL)
		sum += sconce_transferred(&b->sock) - sconce_queued(&b->sock);
	return sum;
}

/* The end of its input may mean that it only half-closed, or that it is gone.  A 100, which every HTTP/1.1 client has
 * to bear (RFC 9110 15.2), finds out: who is gone answers with a reset. */
static void
probe(struct client *c)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	c->probed = true;
	if (c->minor > 0 && sconce_write(&c->sock, line, sizeof(line) - 1) < 0)
		client_close(c, SCONCE_REASON_ERROR);
}

static void
log_silence(const struct client *c, const char *what)
{
	sconce_log_line(c->service->proxy->log, SCONCE_LOG_WARNING, "service %s: node %s: %s for %d s", c->service->name,
	    c->backend->node->text, what, (int)c->service->conf.idle_timeout);
}

/* A backend that has the request does not answer, or takes no more of it, or the client sends no more. */
static void
sent_stalled(struct client *c)
{
	if (!c->body.done && !c->expects && sconce_queued(&c->backend->sock) == 0) {
		client_fail(c, 408, NULL);
		return;
	}
	log_silence(c, "no answer");
	client_fail(c, 504, "The backend did not answer in time");
}

/* A client that does not read is its own affair; a backend that stops is the operator's. */
static void
answer_stalled(struct client *c)
{
	if (sconce_queued(&c->sock) == 0)
		log_silence(c, "no more of its answer");
	cut(c);
}

static void
stalled(struct client *c)
{
	switch (c->state) {
	case CLIENT_COLLECT:
		client_fail(c, 408, NULL);
		break;
	case CLIENT_SENT:
		sent_stalled(c);
		break;
	case CLIENT_ANSWER:
		answer_stalled(c);
		break;
	default:
		client_close(c, SCONCE_REASON_TIMEOUT);
	}
}

void
client_check(struct client *c, double now)
{
	const struct service_conf *conf = &c->service->conf;
	uint64_t seen = progress(c);
	double waited;

	if (c->state != CLIENT_WAIT && seen != c->progress) {
		c->progress = seen;
		c->since = now;
		return;
	}
	waited = now - c->since;
	if (c->state == CLIENT_WAIT && expired(waited, conf->queue_timeout))
		client_fail(c, 503, "All backends are busy");
	else if (c->state != CLIENT_WAIT && expired(waited, conf->idle_timeout))
		stalled(c);
	else if (c->ended && !c->probed && c->state <= CLIENT_SENT && waited >= PROBE_SECONDS)
		probe(c);
}

/* Whether its next request has come, though it has not been read yet. */
static bool
request_there(const struct client *c)
{
	char byte;

	return sconce_unread_bytes(&c->sock) > 0 || recv(sconce_fd(&c->sock), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void
close_idle(struct client *c, size_t *left)
{
	if (c->state == CLIENT_IDLE && !c->service->proxy->draining && !request_there(c)) {
		client_close(c, SCONCE_REASON_LOCAL);
		return;
	}
	if (c->state == CLIENT_IDLE)
		input_timeout(c, DRAIN_IDLE_SECONDS);
	++*left;
}

bool
client_close_idle(struct sconce_sock *s, void *left)
{
	if (s->closed)
		return true;
	if (s->ops == &client_ops)
		close_idle(client_of(s), left);
	else if (backend_is(s) && backend_of(s)->state == BACKEND_IDLE)
		backend_close(backend_of(s), SCONCE_REASON_LOCAL);
	return true;
}

static const struct sconce_sock_ops client_ops = {
	.name = "client",
	.event_read = client_event_read,
	.event_err = client_event_err,
	.event_hup = client_event_hup,
	.event_drain = client_event_drain,
	.event_timeout = client_event_timeout,
	.event_close = client_event_close,
	.destroy = client_destroy,
};
