/* The soak's new sockets: pairs, connects, what the listener accepts; some with a transport. */
#include "soak.h"

#include <errno.h>

void
soak_listen(struct soak_world *w)
{
	struct sconce_fail fail;
	int r;

	if (w->listener_used)
		return;
	soak_call(w);
	r = soak_back(w, sconce_listen(&w->listener, w->loop, &soak_listener_ops, "tcp://127.0.0.1:0", &fail));
	if (r == 0) {
		w->listening = w->listener_used = true;
		sconce_addr_text(&w->listener.addr, w->endpoint, sizeof(w->endpoint));
		soak_trace(w, "listens on %s", w->endpoint);
	} else {
		soak_must(w, r == -EMFILE || r == -ENOMEM, "sconce_listen: %s", fail.text);
	}
}

/* Both or none: with one alone neither would understand the other. */
static void
veil_pair(struct soak_conn *a, struct soak_conn *b, bool shakes)
{
	if (soak_veil(a, shakes) && soak_veil(b, shakes))
		return;
	soak_close(a);
	soak_close(b);
}

static void
open_pair(struct soak_world *w)
{
	struct soak_end *e = soak_wire(w, false);
	bool both = soak_chance(w, 75);
	int fds[2];

	if (e == NULL)
		return;
	if (sim_pair(w->sim, fds) < 0) {
		e->gone = e->other->gone = true;
		return;
	}
	e->fd = fds[0];
	e->other->fd = fds[1];
	e->veiled = e->other->veiled = both && soak_chance(w, 15);
	soak_conn_new(w, e, fds[0], NULL);
	if (both)
		soak_conn_new(w, e->other, fds[1], NULL);
	if (e->conn != NULL && e->other->conn != NULL && (e->veiled || soak_chance(w, 12)))
		veil_pair(e->conn, e->other->conn, e->veiled);
}

void
soak_connect(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	unsigned long failed = sim_failed(w->sim);
	int r;

	if (c->transport && c->sock.fd < 0 && !soak_veil(c, true))
		return;				/* that of the last attempt is in the middle of a handshake */
	soak_call(w);
	r = soak_back(w, sconce_connect(&c->sock, w->endpoint));
	soak_trace(w, "conn %d connects: %d", c->number, r);
	soak_must(w, r == 0 || r == -ENOMEM || r == -EISCONN || r == -EALREADY, "sconce_connect: %d", r);
	soak_check_error(w, c, r, failed, "sconce_connect");
	if (r == 0)
		c->connect = CONNECTING;
}

static void
open_connect(struct soak_world *w)
{
	struct soak_end *e = w->endpoint[0] != '\0' ? soak_wire(w, true) : NULL;
	struct soak_conn *c = e != NULL ? soak_conn_new(w, e, -1, NULL) : NULL;

	if (c == NULL) {
		if (e != NULL)
			e->gone = e->other->gone = true;
		return;
	}
	c->connect = CONNECT_FAILED;		/* so far */
	if (soak_chance(w, 12))
		e->veiled = e->other->veiled = soak_veil(c, true);
	soak_connect(c);
	if (!c->transport && c->connect == CONNECTING && soak_chance(w, 12))
		e->veiled = e->other->veiled = soak_veil(c, true);
}

void
soak_open(struct soak_world *w)
{
	if (w->conn_count + 2 > SOAK_CONNS)
		return;
	if (!w->listener_used && soak_chance(w, 50))
		soak_listen(w);
	if (w->listening && soak_chance(w, 50))
		open_connect(w);
	else
		open_pair(w);
}
