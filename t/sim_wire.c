/* The simulator's wires: two directions, each a bounded ring whose bytes may still be on their way, and what Linux does
 * at their ends.  Behaviour that is easily got wrong, all of it compared with the kernel in t/test_sim.c:
 *
 *   - what was received before a reset can still be read; then the error is told once, then comes the end
 *   - TCP after a FIN: reads give 0 even when an error is pending; the first write to a peer that is gone works, and is
 *     answered by a reset
 *   - AF_UNIX: a close is known to the other end at once, a shutdown for reading ends the other's writing */
#include "sim_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- rings ---- */

bool
sim__flow_init(struct flow *flow, size_t cap)
{
	*flow = (struct flow){ .ring = malloc(cap), .cap = cap, .due = INT64_MAX };
	return flow->ring != NULL;
}

/* Puts as much as there is room for. */
size_t
sim__flow_put(struct flow *flow, const unsigned char *from, size_t n)
{
	size_t at = (flow->head + flow->len) % flow->cap, first = flow->cap - at;

	if (n > flow->cap - flow->len)
		n = flow->cap - flow->len;
	if (first > n)
		first = n;
	memcpy(flow->ring + at, from, first);
	memcpy(flow->ring, from + first, n - first);
	flow->len += n;
	flow->taken += n;
	return n;
}

/* Takes what has arrived. */
size_t
sim__flow_get(struct flow *flow, unsigned char *to, size_t n)
{
	size_t first = flow->cap - flow->head;

	if (n > flow->ready)
		n = flow->ready;
	if (first > n)
		first = n;
	memcpy(to, flow->ring + flow->head, first);
	memcpy(to + first, flow->ring, n - first);
	flow->head = (flow->head + n) % flow->cap;
	flow->len -= n;
	flow->ready -= n;
	flow->given += n;
	return n;
}

/* ---- ends ---- */

struct half *
sim__half(const struct sim_fd *f)
{
	return &f->wire->half[f->side];
}

struct half *
sim__peer(const struct sim_fd *f)
{
	return &f->wire->half[1 - f->side];
}

static size_t
room(const struct flow *flow)
{
	return flow->cap - flow->len;
}

static bool
connecting(const struct sim_fd *f)
{
	return f->side == 0 && f->wire->state == CONN_GOING;
}

static unsigned
stream_state(const struct sim_fd *f)
{
	const struct half *h = sim__half(f), *peer = sim__peer(f);
	unsigned events = 0;

	if (connecting(f))
		return 0;
	if (peer->out.ready > 0 || h->rd_shut)
		events |= SCONCE_READ;
	if (h->wr_shut || !peer->open || room(&h->out) >= h->out.cap / 3)
		events |= SCONCE_WRITE;
	if (h->rd_shut && h->wr_shut)
		events |= SCONCE_HUP;
	if (h->err != 0)
		events |= SCONCE_ERR;
	return events;
}

unsigned
sim__state(const struct sim_fd *f)
{
	switch (f->kind) {
	case FD_STREAM:
		return stream_state(f);
	case FD_LISTEN:
		return f->backlog_count > 0 ? SCONCE_READ : 0;
	case FD_FRESH:
		return SCONCE_WRITE | SCONCE_HUP;
	case FD_PIPE_IN:
		return (f->pipe->flow.ready > 0 ? SCONCE_READ : 0) | (f->pipe->ends < 2 ? SCONCE_HUP : 0);
	case FD_PIPE_OUT:
		return (room(&f->pipe->flow) > 0 ? SCONCE_WRITE : 0) | (f->pipe->ends < 2 ? SCONCE_ERR : 0);
	default:
		return SCONCE_READ | SCONCE_WRITE;
	}
}

/* ---- arrival ---- */

/* The end of what `h` receives has arrived. */
static void
tell_end(const struct wire *w, struct half *h, enum flow_end end)
{
	bool closed = h->was_shut && h->wr_shut;

	if (end == FLOW_RESET && !(w->tcp && closed))
		h->err = w->tcp && h->was_shut ? EPIPE : ECONNRESET;
	if (end != FLOW_SHUT)
		h->wr_shut = true;
	if (end != FLOW_RESET || !w->tcp)
		h->was_shut = true;
	h->rd_shut = true;
}

static void
arrive(struct sim *sim, struct wire *w, int side, bool all)
{
	struct flow *flow = &w->half[side].out;
	struct half *to = &w->half[1 - side];
	size_t coming = flow->len - flow->ready;

	if (coming > 1 && !all && sim_random(sim, 2) == 0)
		coming = 1 + sim_random(sim, (unsigned)coming - 1);
	flow->ready += coming;
	to->edge++;
	flow->due = INT64_MAX;
	if (flow->ready < flow->len) {
		flow->due = sim->now + 1 + sim_random(sim, 1000000);
	} else if (flow->end != FLOW_OPEN && !flow->end_told) {
		flow->end_told = true;
		tell_end(w, to, flow->end);
	}
}

void
sim__wire_send(struct sim *sim, struct wire *w, int side)
{
	struct flow *flow = &w->half[side].out;

	if (flow->due != INT64_MAX)
		return;				/* comes behind what is on its way */
	if (sim__chance(sim, sim->o.delay))
		flow->due = sim->now + 1 + sim_random(sim, 3000000);
	else
		arrive(sim, w, side, true);
}

void
sim__wire_end(struct sim *sim, struct wire *w, int side, enum flow_end end)
{
	struct flow *flow = &w->half[side].out;

	if (flow->end >= end)
		return;
	if (end == FLOW_RESET && w->tcp)
		flow->len = flow->ready;	/* a reset overtakes what is on its way */
	flow->end = end;
	flow->end_told = false;
	sim__wire_send(sim, w, side);
}

/* ---- connects ---- */

static struct sim_fd *
find_listener(struct sim *sim, int port)
{
	for (int i = 0; i < SIM_FDS; i++)
		if (sim->fds[i].kind == FD_LISTEN && sim->fds[i].port == port)
			return &sim->fds[i];
	return NULL;
}

static void
connect_fails(struct wire *w, int errnum)
{
	struct half *h = &w->half[0];

	w->state = CONN_FAILED;
	h->err = errnum;
	h->rd_shut = h->wr_shut = true;
}

static void
connect_decides(struct sim *sim, struct wire *w)
{
	struct sim_fd *l = find_listener(sim, w->port);

	w->due = INT64_MAX;
	w->half[0].edge++;
	if (w->verdict != 0 || l == NULL) {
		connect_fails(w, w->verdict != 0 ? w->verdict : ECONNREFUSED);
		return;
	}
	if (l->backlog_count == SIM_BACKLOG) {
		w->due = sim->now + 1000000;	/* the kernel would send its SYN again */
		return;
	}
	w->state = CONN_DONE;
	w->half[1].open = true;
	l->backlog[l->backlog_count++] = w;
}

int64_t
sim__wires_next(const struct sim *sim)
{
	int64_t next = INT64_MAX;

	for (const struct wire *w = sim->wires; w != NULL; w = w->next) {
		if (w->due < next)
			next = w->due;
		for (int side = 0; side < 2; side++)
			if (w->half[side].out.due < next)
				next = w->half[side].out.due;
	}
	return next;
}

void
sim__wires_advance(struct sim *sim)
{
	for (struct wire *w = sim->wires; w != NULL; w = w->next) {
		if (w->due <= sim->now)
			connect_decides(sim, w);
		for (int side = 0; side < 2; side++)
			if (w->half[side].out.due <= sim->now)
				arrive(sim, w, side, false);
	}
}

/* ---- life ---- */

struct wire *
sim__wire_new(struct sim *sim, bool tcp)
{
	struct wire *w = calloc(1, sizeof(*w));
	size_t cap = sim->o.buffer / 2 + sim_random(sim, (unsigned)(sim->o.buffer / 2) + 1);

	if (w == NULL)
		return NULL;
	w->tcp = tcp;
	w->due = INT64_MAX;
	if (!sim__flow_init(&w->half[0].out, cap) || !sim__flow_init(&w->half[1].out, cap)) {
		free(w->half[0].out.ring);
		free(w);
		errno = ENOMEM;
		return NULL;
	}
	w->next = sim->wires;
	sim->wires = w;
	return w;
}

static void
wire_free(struct wire *w)
{
	free(w->half[0].out.ring);
	free(w->half[1].out.ring);
	free(w);
}

static void
wire_unlink(struct sim *sim, struct wire *w)
{
	struct wire **at = &sim->wires;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	wire_free(w);
}

void
sim__wire_close(struct sim *sim, struct sim_fd *f)
{
	struct wire *w = f->wire;
	struct half *h = sim__half(f), *peer = sim__peer(f);
	bool unread = peer->out.len > 0;

	h->open = false;
	peer->out.len = peer->out.ready = 0;
	peer->out.due = INT64_MAX;
	if (!peer->open) {
		wire_unlink(sim, w);
		return;
	}
	if (unread || (f->hard && w->tcp))
		sim__wire_end(sim, w, f->side, FLOW_RESET);
	else
		sim__wire_end(sim, w, f->side, w->tcp ? FLOW_SHUT : FLOW_CLOSED);
}

void
sim__wires_free(struct sim *sim)
{
	struct wire *w, *next;

	for (w = sim->wires; w != NULL; w = next) {
		next = w->next;
		wire_free(w);
	}
	sim->wires = NULL;
}
