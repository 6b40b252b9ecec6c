/* The queue of events: a ring of small records.
 *
 * Hooks cannot fail, so what they queue must have its room before: for each handle there is always room for the events that it may
 * come to queue without being asked, once each (see OWED).  An event of a handle that is purged stays as a hole. */
#include "mux_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* ACCEPTED or READY; SENT, when its queue drains; ERROR; READ_LAST; CLOSING; CLOSED. */
enum { OWED = 6, FIRST_CAP = 64 };

static struct queued *
at(const struct sconce_mux *m, size_t i)
{
	return &m->ring[(m->head + i) & (m->cap - 1)];
}

int
sconce__mux_reserve(struct sconce_mux *m, size_t handles, size_t events)
{
	size_t need = m->len + (m->objects + handles) * OWED + events, cap = m->cap > 0 ? m->cap : FIRST_CAP;
	struct queued *ring;

	if (need <= m->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	ring = malloc(cap * sizeof(*ring));
	if (ring == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->len; i++)
		ring[i] = *at(m, i);
	free(m->ring);
	m->ring = ring;
	m->cap = cap;
	m->head = 0;
	return 0;
}

void
sconce__mux_queue(struct sconce_mux *m, int type, struct sconce_mux_handle *h, void *detail)
{
	assert(m->len < m->cap && "room for what a handle owes is kept");
	*at(m, m->len++) = (struct queued){ .type = type, .handle = h, .detail = detail };
	if (h != NULL)
		h->queued++;
}

bool
sconce__mux_take(struct sconce_mux *m, struct queued *out)
{
	while (m->len > 0) {
		*out = *at(m, 0);
		m->head = (m->head + 1) & (m->cap - 1);
		m->len--;
		if (!out->dropped) {
			if (out->handle != NULL)
				out->handle->queued--;
			return true;
		}
		m->dropped--;
	}
	return false;
}

static void
drop(struct sconce_mux *m, struct queued *q)
{
	free(q->detail);
	*q = (struct queued){ .dropped = true };
	m->dropped++;
}

/* What is still right of an event of `h`.  The application's own stay; what they say of the handle does only while it is
 * there. */
static void
purge_one(struct sconce_mux_handle *h, struct queued *q, bool keep_ends)
{
	bool end = q->type == SCONCE_EVENT_ACCEPTED || q->type == SCONCE_EVENT_READY || q->type == SCONCE_EVENT_CLOSED;

	if (keep_ends && (end || q->type >= SCONCE_EVENT_USER))
		return;
	h->queued--;
	if (q->type >= SCONCE_EVENT_USER)
		q->handle = NULL;
	else
		drop(h->mux, q);
}

void
sconce__mux_purge(struct sconce_mux_handle *h, bool keep_ends)
{
	struct sconce_mux *m = h->mux;

	for (size_t i = 0; i < m->len && h->queued > 0; i++)
		if (at(m, i)->handle == h)
			purge_one(h, at(m, i), keep_ends);
}

void
sconce__mux_orphan(const struct sconce_mux_handle *parent)
{
	struct sconce_mux *m = parent->mux;

	for (size_t i = 0; i < m->len; i++) {
		struct accepted_detail *d = at(m, i)->detail;

		if (at(m, i)->type == SCONCE_EVENT_ACCEPTED && d->parent == parent)
			d->parent = NULL;
	}
}
