/* A connect that hands over a bare fd, for those who have no socket object (POE's SocketFactory): a socket of its own
 * that is connected, and detached when it is.  An ordinary user of the public library. */
#include "core.h"

struct sconce_connector {
	struct sconce_sock sock;
	sconce_connector_fn *done;		/* NULL: it has been called */
	void *arg;
};

static const struct sconce_sock_ops connector_ops;

static struct sconce_connector *
connector_of(struct sconce_sock *s)
{
	assert(s->ops == &connector_ops);
	return SCONCE_CONTAINER_OF(s, struct sconce_connector, sock);
}

/* `fail` NULL: there was no memory for a record, or it is of something else. */
static void
tell_failure(struct sconce_connector *c, const struct sconce_fail *fail, int errnum)
{
	sconce_connector_fn *done = c->done;
	struct sconce_fail own;

	if (done == NULL)
		return;
	if (fail == NULL) {
		sconce__fail_fill(&own, "connect", errnum, "");
		fail = &own;
	}
	c->done = NULL;
	done(c->arg, -1, NULL, fail);
}

static void
connector_event_connect(struct sconce_sock *s, int errnum)
{
	struct sconce_connector *c = connector_of(s);
	sconce_connector_fn *done = c->done;
	struct sconce_addr peer;
	int fd;

	if (errnum == 0 && sconce_peer(s, &peer) < 0)
		peer.len = 0;			/* a pipe of fd://N, or it has gone again: whoever uses it will see */
	fd = errnum == 0 ? sconce_detach(s, NULL, 0, NULL) : -errnum;
	if (fd < 0) {
		tell_failure(c, sconce_failure(s), -fd);
		sconce_close(s, SCONCE_REASON_CONNECT);
		return;
	}
	c->done = NULL;
	done(c->arg, fd, &peer, NULL);
}

/* The loop is being freed: why an address before the last had failed does not matter any more. */
static void
connector_event_close(struct sconce_sock *s)
{
	if (s->reason == SCONCE_REASON_LOOP)
		tell_failure(connector_of(s), NULL, ECANCELED);
}

static void
connector_destroy(struct sconce_sock *s)
{
	l_free(s->loop, connector_of(s));
}

static const struct sconce_sock_ops connector_ops = {
	.name = "connector",
	.event_connect = connector_event_connect,
	.event_close = connector_event_close,
	.destroy = connector_destroy,
};

int
sconce_connector_start(struct sconce_loop *loop, const char *endpoint, sconce_connector_fn *done, void *arg,
	struct sconce_connector **connector_out, struct sconce_fail *fail_out)
{
	struct sconce_connector *c = sconce__zalloc(loop, sizeof(*c));
	const struct sconce_fail *fail;
	int r = c == NULL ? -ENOMEM : sconce_sock_init(&c->sock, loop, &connector_ops, -1);

	if (r < 0) {
		sconce__fail_fill(fail_out, "connect", -r, "");
		l_free(loop, c);
		return r;
	}
	r = sconce_connect(&c->sock, endpoint);
	if (r < 0) {
		fail = sconce_failure(&c->sock);
		sconce__fail_fill(fail_out, "connect", -r, "");
		if (fail_out != NULL && fail != NULL)
			*fail_out = *fail;
		sconce_close(&c->sock, SCONCE_REASON_CONNECT);
		return r;
	}
	c->done = done;
	c->arg = arg;
	if (connector_out != NULL)
		*connector_out = c;
	return 0;
}

void
sconce_connector_cancel(struct sconce_connector *c)
{
	if (c != NULL)
		sconce_close(&c->sock, SCONCE_REASON_LOCAL);
}
