/* The soak's bytes: every way of writing, reading and passing on, by objects and by far ends without one. */
#include "soak.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- calls ---- */

void
soak_call(struct soak_world *w)
{
	w->in_call++;
	w->ops++;
}

int
soak_back(struct soak_world *w, int r)
{
	w->in_call--;
	return r;
}

/* -ENOMEM is an answer only when an allocation has failed. */
void
soak_check_error(struct soak_world *w, const struct soak_conn *c, int r, unsigned long failed, const char *what)
{
	if (r == -ENOMEM)
		soak_must(w, sim_failed(w->sim) > failed,
			"conn %d: %s gives -ENOMEM, and no allocation failed", c->number, what);
}

bool
soak_is_live(const struct soak_conn *c)
{
	return c != NULL && !c->sock.closed && !c->ending;
}

/* ---- writing ---- */

static size_t
some_size(struct soak_world *w)
{
	static const unsigned sizes[] = { 1, 20, 20, 300, 300, 300, 3000, 9000, 40000, 70000 };

	return 1 + soak_random(w, sizes[soak_random(w, sizeof(sizes) / sizeof(sizes[0]))]);
}

static struct soak_pend *
new_pend(struct soak_world *w)
{
	struct soak_pend *p = calloc(1, sizeof(*p));

	soak_must(w, p != NULL, "no memory for the soak itself");
	return p;
}

/* Why a write may have been refused. */
static void
check_refused(struct soak_world *w, const struct soak_conn *c, int r)
{
	if (r == -EPIPE)
		soak_must(w, c->sock.closed || c->ending || c->end->ended || c->sock.errnum != 0,
			"conn %d: -EPIPE without reason",
			c->number);
	else
		soak_must(w, r == -ENOMEM || (r == -ENOBUFS && (c->own_cap || w->capped)),
			"conn %d: a write gives %d", c->number, r);
}

/* A call that wrote has returned: `at` is where its bytes are in the table. */
static void
wrote(struct soak_conn *c, int r, uint64_t at, size_t n, struct soak_pend *p)
{
	struct soak_world *w = c->w;
	struct soak_end *e = c->end;

	if (r >= 0) {
		if (n > 0)
			soak_must(w, soak_sent(e, NULL, at, n, false) != NULL, "too many segments");
		if (at == e->own)
			e->own += n;
		if (r == SCONCE_QUEUED && n > 0)
			c->owed_drain = true;
	} else {
		check_refused(w, c, r);
	}
	if (p != NULL) {
		p->need = e->known;
		soak_pend_add(c, p, r);
	}
}

static void
write_vector(struct soak_conn *c, const unsigned char *from, size_t n, uint64_t at)
{
	struct soak_world *w = c->w;
	size_t a = soak_random(w, (unsigned)n + 1), b = a + soak_random(w, (unsigned)(n - a) + 1);
	struct iovec iov[3] = { { (void *)(uintptr_t)from, a }, { (void *)(uintptr_t)(from + a), b - a },
		{ (void *)(uintptr_t)(from + b), n - b } };

	soak_call(w);
	wrote(c, soak_back(w, sconce_writev(&c->sock, iov, 3)), at, n, NULL);
}

/* Bytes, a callback, bytes: the kernel may stop at the callback. */
static void
write_burst(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	struct soak_end *e = c->end;
	size_t room = c->sock.fd >= 0 ? sim_room(w->sim, c->sock.fd) : 0, queued = (size_t)sconce_queued(&c->sock);
	size_t first = room > queued && room - queued < 30000 ? room - queued : 1 + soak_random(w, 300);

	for (int i = 0; i < 2 && e->own + first <= e->own_end; i++) {
		struct soak_pend *p = new_pend(w);

		soak_call(w);
		wrote(c, soak_back(w, sconce_write(&c->sock, soak_table + e->own, first)), e->own, first, NULL);
		soak_call(w);
		wrote(c, soak_back(w, sconce_write_cb(&c->sock, soak_done, p)), e->own, 0, p);
		first = 1 + soak_random(w, 300);
	}
}

/* Of a file that has less than is asked for. */
static void
write_short_file(struct soak_conn *c, size_t n)
{
	struct soak_world *w = c->w;
	uint64_t has = 1 + soak_random(w, 5000), at = 10000 - has;
	struct soak_pend *p;
	struct soak_end *e = c->end;
	int r;

	if (e->seg_count + 4 > SOAK_SEGS)
		return;
	p = new_pend(w);
	soak_call(w);
	r = soak_back(w, sconce_write_file(&c->sock, w->short_file, (off_t)at, has + n, soak_done, p));
	if (r >= 0) {
		e->segs[e->seg_count] = (struct soak_seg){ .at = at, .len = has + n };
		p->seg = &e->segs[e->seg_count++];
		p->max = has;
		e->known += has + n;
	} else {
		check_refused(w, c, r);
	}
	p->need = e->known;
	soak_pend_add(c, p, r);
}

bool
soak_write(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	struct sconce_sock *s = &c->sock;
	struct soak_end *e = c->end;
	size_t n = some_size(w);
	const unsigned char *from = soak_table + e->own;
	uint64_t at = e->own;
	unsigned kind = soak_random(w, 16);
	struct soak_pend *p;

	if (c->relayed || e->own + n > e->own_end || e->seg_count + 4 > SOAK_SEGS)
		return false;
	soak_trace(w, "write %zu bytes of conn %d, kind %u", n, c->number, kind);
	switch (kind) {
	default:
		soak_call(w);
		wrote(c, soak_back(w, sconce_write(s, from, n)), at, n, NULL);
		break;
	case 0: case 1:
		write_vector(c, from, n, at);
		break;
	case 2:
		soak_call(w);
		wrote(c, soak_back(w, sconce_printf(s, "%.*s", (int)n, (const char *)from)), at, n, NULL);
		break;
	case 3: case 4: case 5:
		p = new_pend(w);
		soak_call(w);
		wrote(c, soak_back(w, sconce_write_ref(s, from, n, soak_done, p)), at, n, p);
		break;
	case 6:
		soak_call(w);
		wrote(c, soak_back(w, sconce_write_ref(s, from, n, NULL, NULL)), at, n, NULL);
		break;
	case 7: case 8:
		p = new_pend(w);
		soak_call(w);
		wrote(c, soak_back(w, sconce_write_file(s, w->file, (off_t)at, n, soak_done, p)), at, n, p);
		break;
	case 9: case 10:
		p = new_pend(w);
		soak_call(w);
		wrote(c, soak_back(w, sconce_write_cb(s, soak_done, p)), at, 0, p);
		break;
	case 11:
		write_short_file(c, n);
		break;
	case 12:
		write_burst(c);
		break;
	}
	return true;
}

/* ---- reading ---- */

static void
unread_some(struct soak_conn *c, const unsigned char *data, size_t n)
{
	struct soak_world *w = c->w;
	size_t keep = 1 + soak_random(w, (unsigned)n);
	unsigned long failed = sim_failed(w->sim);
	int r;

	soak_call(w);
	r = soak_back(w, sconce_unread(&c->sock, data + n - keep, keep));
	if (r == 0) {
		c->end->got -= keep;
		c->owed_unread = w->place != AT_READ;
		soak_trace(w, "conn %d pushes back %zu bytes", c->number, keep);
	}
	soak_check_error(w, c, r, failed, "sconce_unread");
}

/* One read; false: nothing more now. */
static bool
read_once(struct soak_conn *c, bool all)
{
	struct soak_world *w = c->w;
	unsigned char buf[8192];
	size_t size = all ? sizeof(buf) : 1 + soak_random(w, soak_chance(w, 50) ? 200 : sizeof(buf));
	const void *data = buf;
	bool shared = soak_chance(w, 40);
	size_t held = soak_veil_pending(c);
	ssize_t n;

	soak_call(w);
	n = shared ? sconce_read_shared(&c->sock, &data) : sconce_read(&c->sock, buf, size);
	soak_back(w, 0);
	if (w->reading == c || soak_veil_pending(c) != held)
		c->has_read = true;
	soak_trace(w, "conn %d reads %zd%s", c->number, n, shared ? ", shared" : "");
	if (n > 0) {
		soak_received(w, c->end, data, (size_t)n, shared ? "sconce_read_shared" : "sconce_read");
		c->idle_from = sim_now(w->sim);	/* pushed-back bytes are no activity: idle_since stays */
		if (!all && soak_chance(w, 10))
			unread_some(c, (const unsigned char *)data, (size_t)n);
		return true;
	}
	if (n == 0)
		soak_end_met(w, c->end, c->sock.errnum != 0);
	else
		soak_must(w, n == -EAGAIN || n == -EBADF || n == -ENOMEM || n == -ECONNRESET || n == -EPIPE ||
			n == -ENOBUFS,
			"conn %d: a read gives %zd", c->number, n);
	return false;
}

void
soak_read(struct soak_conn *c, bool all)
{
	struct soak_world *w = c->w;
	int times = all ? 64 : (int)soak_random(w, 4);

	while (times-- > 0 && read_once(c, all))
		;
}

/* ---- transfers ---- */

/* Its own bytes that are not there yet would make the place of what follows unknown for ever. */
static bool
may_transfer(const struct soak_conn *src, const struct soak_conn *dst)
{
	return src != dst && soak_is_live(src) && soak_is_live(dst) && !src->relayed && !dst->relayed && !src->source &&
	    src->end->other->level < dst->end->level && dst->end->seg_count + 4 < SOAK_SEGS &&
	    src->connect == NOT_CONNECTING;
}

void
soak_transfer(struct soak_conn *src, struct soak_conn *dst)
{
	struct soak_world *w = src->w;
	struct soak_end *e = dst->end;
	unsigned long failed = sim_failed(w->sim);
	uint64_t max = soak_chance(w, 20) ? SCONCE_TO_END : some_size(w) + (soak_chance(w, 60) ? 60000 : 0);
	uint64_t at = src->end->got;
	struct soak_pend *p;
	int r;

	if (!may_transfer(src, dst))
		return;
	p = new_pend(w);
	p->need = e->known;
	p->src_id = src->sock.id;
	p->src = src->end;
	p->max = max;
	p->exact = !src->transport && sconce_unread_bytes(&src->sock) == 0;
	soak_trace(w, "transfer %llu bytes from conn %d to conn %d", (unsigned long long)max, src->number, dst->number);
	soak_call(w);
	r = soak_back(w, sconce_transfer(&src->sock, &dst->sock, max, soak_done, p));
	if (r >= 0) {
		p->seg = soak_sent(e, src->end, at, 0, true);
		p->seg->unknown = src->end->got_vague || src->end->other->vague;
		src->source = true;
		src->owed_unread = false;
		dst->owed_drain |= r == SCONCE_QUEUED && sconce_queued(&dst->sock) > 0;
	} else if (r != -EBUSY && r != -EBADF) {
		check_refused(w, dst, r);
		soak_check_error(w, dst, r, failed, "sconce_transfer");
	}
	soak_pend_add(dst, p, r);
}

void
soak_relay(struct soak_conn *a, struct soak_conn *b)
{
	struct soak_world *w = a->w;
	struct soak_pend *p;
	int r;

	if (!may_transfer(a, b) || !may_transfer(b, a) || a->end->ended || b->end->ended)
		return;
	p = new_pend(w);
	p->relay = true;
	p->conn = a;
	soak_trace(w, "relay of conn %d and conn %d", a->number, b->number);
	w->relays++;
	a->relays++;
	soak_call(w);
	r = soak_back(w, sconce_relay(&a->sock, &b->sock, soak_done, p));
	p->result = r;
	soak_must(w, r == 0 || r == -EBUSY || r == -EBADF || r == -EPIPE || r == -ENOMEM || r == -ENODATA,
		"sconce_relay: %d", r);
	a->relayed = b->relayed = true;
	soak_sent(a->end, b->end, b->end->got, 0, true)->unknown = b->end->got_vague || b->end->other->vague;
	soak_sent(b->end, a->end, a->end->got, 0, true)->unknown = a->end->got_vague || a->end->other->vague;
	a->end->got_vague = b->end->got_vague = true;
	a->end->ended = b->end->ended = true;
	a->owed_unread = b->owed_unread = false;
}

/* ---- the far end ---- */

static bool
raw_read(struct soak_world *w, struct soak_end *e)
{
	unsigned char buf[8192];
	ssize_t n = sim_recv(w->sim, e->fd, buf, 1 + soak_random(w, sizeof(buf)));

	if (n > 0)
		soak_received(w, e, buf, (size_t)n, "the far end");
	else if (n == 0)
		soak_end_met(w, e, false);
	return n > 0;
}

static void
raw_gone(struct soak_world *w, struct soak_end *e, bool reset)
{
	e->taken = sim_taken(w->sim, e->fd);
	soak_trace(w, "end %d %s", e->index, reset ? "resets" : "closes");
	if (reset)
		sim_reset(w->sim, e->fd);
	else
		sim_close(w->sim, e->fd);
	e->fd = -1;
	e->gone = e->ended = true;
}

static void
raw_write(struct soak_world *w, struct soak_end *e)
{
	size_t n = some_size(w);
	ssize_t r;

	if (e->own + n > e->own_end || e->seg_count + 2 > SOAK_SEGS)
		return;
	r = sim_send(w->sim, e->fd, soak_table + e->own, n);
	if (r <= 0)
		return;
	soak_sent(e, NULL, e->own, (uint64_t)r, false);
	e->own += (uint64_t)r;
	soak_trace(w, "end %d sends %zd bytes", e->index, r);
}

void
soak_raw_act(struct soak_world *w)
{
	struct soak_end *e = w->ends[soak_random(w, (unsigned)w->end_count)];

	w->ops++;
	if (e->fd < 0)
		return;
	switch (soak_random(w, 20)) {
	default:
		raw_write(w, e);
		break;
	case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7:
		raw_read(w, e);
		break;
	case 8:
		e->ended = true;
		sim_shutdown(w->sim, e->fd, SHUT_WR);
		break;
	case 9:
		raw_gone(w, e, false);
		break;
	case 10:
		raw_gone(w, e, true);
		break;
	}
}

/* The far ends read everything too. */
bool
soak_calm_turn(struct soak_world *w)
{
	bool some = false;

	for (int i = 0; i < w->end_count; i++) {
		struct soak_end *e = w->ends[i];

		for (int n = 0; n < 8 && e->fd >= 0 && !e->end_met; n++)
			some |= raw_read(w, e);
	}
	return some;
}
