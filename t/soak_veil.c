/* The soak's transport.  Every byte is another one on the wire, and reads take more from the kernel than was asked for.
 * One kind also shakes hands, and says now and then that a read or a write has to wait for the other direction, as TLS
 * does when it changes keys.  Used by the soak's other files. */
#include "soak.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { VEIL_KEY = 0x5a, ROUND = 40, ROUNDS = 3, HELLO = ROUND * ROUNDS, HELLO_BYTE = 0xc3 };

struct veil {
	struct soak_conn *c;
	unsigned char buf[300];		/* as received */
	size_t off, len;
	size_t hello_out, hello_in;	/* bytes of the handshake that went, and came */
	bool shakes;
	bool read_waits, write_waits;	/* for the other direction: its last answer */
	bool end_waited;		/* shutdown has made the core wait, once */
};

static size_t
held(const struct veil *v)
{
	return v->shakes && v->hello_in < HELLO ? 0 : v->len - v->off;
}

static ssize_t
fill(struct sconce_sock *s, struct veil *v)
{
	struct iovec own = { .iov_base = v->buf, .iov_len = sizeof(v->buf) };
	ssize_t r = sconce_raw_readv(s, &own, 1);

	v->off = v->len = 0;
	if (r > 0)
		v->len = (size_t)r;
	return r;
}

/* ---- the handshake: three rounds, in each of which both send and then wait for the other ---- */

static int
hello_send(struct sconce_sock *s, struct veil *v, size_t until)
{
	unsigned char hello[HELLO];
	struct iovec own = { .iov_base = hello, .iov_len = until - v->hello_out };
	ssize_t r;

	memset(hello, HELLO_BYTE, sizeof(hello));
	r = sconce_raw_writev(s, &own, 1);
	if (r <= 0)
		return (int)r;
	v->hello_out += (size_t)r;
	v->c->end->extra += (uint64_t)r;
	return 0;
}

static int
hello_receive(struct sconce_sock *s, struct veil *v)
{
	ssize_t r = v->off == v->len ? fill(s, v) : 1;

	if (r <= 0)
		return r == 0 ? -ECONNRESET : (int)r;
	for (; v->off < v->len && v->hello_in < HELLO; v->off++, v->hello_in++)
		soak_must(v->c->w, v->buf[v->off] == HELLO_BYTE,
			"conn %d: byte %zu of the handshake is %#x", v->c->number,
			v->hello_in, v->buf[v->off]);
	return 0;
}

static int
veil_handshake(struct sconce_sock *s, void *state)
{
	struct veil *v = state;
	int r = 0;

	soak_must(v->c->w, v->hello_out < HELLO || v->hello_in < HELLO, "conn %d: a second handshake", v->c->number);
	while (r == 0 && (v->hello_out < HELLO || v->hello_in < HELLO)) {
		size_t until = (v->hello_in / ROUND + 1) * ROUND;

		if (until > HELLO)
			until = HELLO;
		r = v->hello_out < until ? hello_send(s, v, until) : hello_receive(s, v);
	}
	soak_trace(v->c->w, "conn %d handshake: %d", v->c->number, r);
	return r;
}

/* ---- bytes ---- */

/* Whether it says, this time, that it must wait for the other direction.  Were both ends to wait so with their reads,
 * neither would ever make room for the other; so one does that, and the other only with writes. */
static bool
makes_wait(const struct sconce_sock *s, const struct veil *v, bool reads)
{
	struct soak_world *w = v->c->w;

	if (!v->shakes || w->calm || w->freeing || (v->c->end->index % 2 == 0) != reads || !soak_chance(w, 15))
		return false;
	return reads || (sim_ready(w->sim, s->fd) & SCONCE_READ);
}

static void
check_shaken(const struct veil *v, const char *what)
{
	soak_must(v->c->w, !v->shakes || (v->hello_out == HELLO && v->hello_in == HELLO),
		"conn %d: %s before the handshake is done",
		v->c->number, what);
}

static ssize_t
veil_readv(struct sconce_sock *s, void *state, const struct iovec *iov, int count)
{
	struct veil *v = state;
	unsigned char *to = iov->iov_base;
	size_t n;

	(void)count;
	check_shaken(v, "read");
	if (v->off == v->len) {
		ssize_t r;

		v->read_waits = !v->read_waits && makes_wait(s, v, true);
		if (v->read_waits)
			return SCONCE_WANT_WRITE;
		r = fill(s, v);
		if (r <= 0)
			return r;
	}
	n = held(v) < iov->iov_len ? held(v) : iov->iov_len;
	for (size_t i = 0; i < n; i++)
		to[i] = v->buf[v->off + i] ^ VEIL_KEY;
	v->off += n;
	return (ssize_t)n;
}

static ssize_t
veil_writev(struct sconce_sock *s, void *state, const struct iovec *iov, int count)
{
	unsigned char buf[2000];
	struct iovec own = { .iov_base = buf };
	struct veil *v = state;

	check_shaken(v, "written");
	v->write_waits = !v->write_waits && makes_wait(s, v, false);
	if (v->write_waits)
		return SCONCE_WANT_READ;
	for (int i = 0; i < count && own.iov_len < sizeof(buf); i++) {
		size_t n = iov[i].iov_len < sizeof(buf) - own.iov_len ? iov[i].iov_len : sizeof(buf) - own.iov_len;

		memcpy(buf + own.iov_len, iov[i].iov_base, n);
		own.iov_len += n;
	}
	for (size_t i = 0; i < own.iov_len; i++)
		buf[i] ^= VEIL_KEY;
	return sconce_raw_writev(s, &own, 1);
}

static int
veil_shutdown(struct sconce_sock *s, void *state)
{
	struct veil *v = state;

	v->write_waits = false;
	if (!v->end_waited && soak_chance(v->c->w, 30)) {
		v->end_waited = true;
		v->write_waits = makes_wait(s, v, false);
		return v->write_waits ? SCONCE_WANT_READ : SCONCE_WANT_WRITE;
	}
	return sim_shutdown(v->c->w->sim, s->fd, SHUT_WR) < 0 ? -errno : 0;
}

static size_t
veil_pending(const struct sconce_sock *s, const void *state)
{
	(void)s;
	return held(state);
}

static void
veil_fini(struct sconce_sock *s, void *state)
{
	(void)s;
	free(state);
}

/* ---- what the soak asks ---- */

static const struct sconce_transport veil = { .name = "veil", .readv = veil_readv, .writev = veil_writev,
	.pending = veil_pending, .fini = veil_fini };
static const struct sconce_transport shaking_veil = { .name = "shaking-veil", .handshake = veil_handshake,
	.readv = veil_readv, .writev = veil_writev, .shutdown = veil_shutdown, .pending = veil_pending,
	.fini = veil_fini };

bool
soak_veil(struct soak_conn *c, bool shakes)
{
	struct veil *v = calloc(1, sizeof(*v));
	bool is_open = c->connect == NOT_CONNECTING;
	int r;

	soak_must(c->w, v != NULL, "no memory for the soak itself");
	*v = (struct veil){ .c = c, .shakes = shakes };
	soak_call(c->w);
	r = soak_back(c->w, sconce_set_transport(&c->sock, shakes ? &shaking_veil : &veil, v));
	soak_trace(c->w, "conn %d gets a transport: %d", c->number, r);
	if (r < 0)
		free(v);
	soak_must(c->w, r == 0 || r == -ENOMEM, "conn %d: sconce_set_transport gives %d", c->number, r);
	if (r < 0)
		return false;
	c->transport = true;
	if (shakes && is_open) {
		c->connect = CONNECTING;
		c->accepted = true;
	}
	return true;
}

static const struct veil *
veil_of(const struct soak_conn *c)
{
	const struct veil *v = c->transport ? sconce_transport_state(&c->sock, &veil) : NULL;

	return v == NULL && c->transport ? sconce_transport_state(&c->sock, &shaking_veil) : v;
}

size_t
soak_veil_pending(const struct soak_conn *c)
{
	const struct veil *v = veil_of(c);

	return v != NULL ? held(v) : 0;
}

bool
soak_veil_waits(const struct soak_conn *c, bool reads)
{
	const struct veil *v = veil_of(c);

	return v != NULL && (reads ? v->read_waits : v->write_waits);
}
