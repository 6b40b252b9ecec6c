/* A connection to a node: connected for a service's queue, then used by one client after the other. */
#include "backend.h"
#include "request.h"
#include "partial.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FAREWELL_SECONDS 1.0

static const struct sconce_sock_ops backend_ops;

bool
backend_is(const struct sconce_sock *s)
{
	return s->ops == &backend_ops;
}

struct backend *
backend_of(struct sconce_sock *s)
{
	assert(backend_is(s));
	return SCONCE_CONTAINER_OF(s, struct backend, sock);
}

/* ---- life ---- */

int
backend_connect(struct service *sv, struct node *node)
{
	struct backend *b = calloc(1, sizeof(*b));
	int error;

	if (b == NULL)
		return -ENOMEM;
	error = sconce_sock_init(&b->sock, sv->proxy->loop, &backend_ops, -1);
	if (error < 0) {
		free(b);
		return error;
	}
	b->service = sv;
	b->node = node;
	sv->open++;
	sv->connecting++;
	node_open(node);
	error = sconce_connect_addr(&b->sock, &node->addr);
	if (error == 0)
		error = sconce_set_timeout(&b->sock, SCONCE_TIMEOUT_CONNECT, (double)sv->conf.connect_timeout);
	if (error < 0) {
		node_starved(node);	/* before the close, which looks for another node */
		backend_close(b, SCONCE_REASON_CONNECT);
	}
	/* A message leaves in one write, from where it stands: nothing to gather. */
	sconce_set_gather(&b->sock, false);
	return error;
}

/* Takes it out of everything that knows it. */
static void
backend_unlink(struct backend *b)
{
	struct service *sv = b->service;

	if (b->state == BACKEND_CLOSED)
		return;
	if (b->client != NULL)
		b->client->backend = NULL;
	b->client = NULL;
	service_unidle(sv, b);
	sv->open--;
	if (b->state == BACKEND_CONNECTING) {
		sv->connecting--;
		b->node->connecting--;
	}
	node_close(b->node);
	b->node = NULL;
	b->state = BACKEND_CLOSED;
}

void
backend_close(struct backend *b, int reason)
{
	struct service *sv = b->service;

	backend_unlink(b);
	sconce_close(&b->sock, reason);
	if (sv->waiting_count > 0)
		service_spawn(sv);		/* there is room for another */
}

static void
backend_event_close(struct sconce_sock *s)
{
	backend_unlink(backend_of(s));		/* the loop may close, too */
}

static void
backend_destroy(struct sconce_sock *s)
{
	struct backend *b = backend_of(s);

	partial_free(&b->partial);
	free(b);
}

/* ---- a client's request ---- */

/* Bytes right behind a response are a fault; long after it, a server's good-bye. */
bool
backend_fresh(struct backend *b)
{
	char byte;
	ssize_t n = sconce_read(&b->sock, &byte, 1);

	if (n == -EAGAIN)
		return !node_distrusted(b->node) || b->uses == 0;
	if (n > 0 && b->uses > 0 && sconce_now(b->sock.loop) - b->free_since < FAREWELL_SECONDS)
		node_distrust(b->node);
	return false;
}

void
backend_use(struct backend *b, struct client *c)
{
	int result;

	b->client = c;
	b->state = BACKEND_SENT;
	b->uses++;
	b->begun = false;
	c->backend = b;
	c->state = CLIENT_SENT;
	c->since = sconce_now(b->sock.loop);
	result = request_send(c, &b->sock);
	if (result < 0) {
		backend_lost(b, -result);
		return;
	}
	if (b->uses == 1 || !request_repeatable(c))
		request_free(c);		/* it is not sent twice */
	upload_continue(c);
}

static bool
reuse_allowed(const struct backend *b)
{
	const struct service *sv = b->service;

	return b->keep && !b->node->removed && !node_distrusted(b->node) && !sv->proxy->stopping &&
	    (sv->conf.max_backend_uses == 0 || b->uses < sv->conf.max_backend_uses);
}

void
backend_done(struct backend *b, bool reusable)
{
	struct service *sv = b->service;

	b->client->backend = NULL;
	b->client = NULL;
	b->free_since = sconce_now(b->sock.loop);
	if (reusable && reuse_allowed(b))
		service_offer(sv, b);
	else
		backend_close(b, SCONCE_REASON_LOCAL);
}

void
backend_lost(struct backend *b, int errnum)
{
	struct client *c = b->client;
	bool repeat = c != NULL && b->state == BACKEND_SENT && !b->begun && c->request != NULL && !c->fresh;

	if (c == NULL) {
		backend_close(b, errnum == 0 ? SCONCE_REASON_EOF : SCONCE_REASON_ERROR);
		return;
	}
	c->backend = NULL;
	b->client = NULL;
	/* One that ended while it was kept says nothing about the request (RFC 9112 9.3.1). */
	if (repeat) {
		backend_close(b, SCONCE_REASON_EOF);
		client_retry(c);
		return;
	}
	sconce_log_line(b->service->proxy->log, SCONCE_LOG_WARNING, "service %s: node %s: %s %s", b->service->name,
	    b->node->text, errnum == 0 ? "closed" : sconce_strerror(errnum),
	    b->state == BACKEND_SENT ? "before it answered" : "within its answer");
	backend_close(b, SCONCE_REASON_ERROR);
	client_fail(c, 502, "The backend ended the connection");
}

/* ---- hooks ---- */

static void
backend_event_connect(struct sconce_sock *s, int errnum)
{
	struct backend *b = backend_of(s);
	struct service *sv = b->service;

	if (errnum != 0) {
		if (proxy_shortage(sv->proxy, errnum))
			node_starved(b->node);	/* it is not to blame, and its clients wait */
		else
			node_failed(b->node, sconce_strerror(errnum));
		backend_close(b, SCONCE_REASON_CONNECT);
		return;
	}
	sv->connecting--;
	b->node->connecting--;
	b->state = BACKEND_IDLE;
	node_answers(b->node);
	service_offer(sv, b);
}

static void
backend_event_read(struct sconce_sock *s)
{
	struct backend *b = backend_of(s);

	if (b->state == BACKEND_SENT)
		answer_read_head(b);
	else if (b->state == BACKEND_BODY)
		answer_read_body(b);
	else if (!backend_fresh(b))
		backend_close(b, SCONCE_REASON_EOF);
}

/* A send failed, or the connection did.  Input has been offered before, so there is no early answer; unless reads are
 * paused for the client's sake: then what they find decides. */
static void
backend_event_err(struct sconce_sock *s, int errnum)
{
	struct backend *b = backend_of(s);

	if (b->client != NULL && (sconce_paused(s) & (SCONCE_PAUSE_APP | SCONCE_PAUSE_FLOW)))
		return;
	backend_lost(b, errnum);
}

/* It takes bytes again: so may the client send. */
static void
backend_event_drain(struct sconce_sock *s)
{
	struct client *c = backend_of(s)->client;

	if (c != NULL && c->uploading)
		sconce_resume(&c->sock, SCONCE_PAUSE_APP);
}

static const struct sconce_sock_ops backend_ops = {
	.name = "backend",
	.event_read = backend_event_read,
	.event_err = backend_event_err,
	.event_connect = backend_event_connect,
	.event_drain = backend_event_drain,
	.event_close = backend_event_close,
	.destroy = backend_destroy,
};
