/* The multiplexer: hands out events, one at a time, and turns its loop when there is none.
 *
 * The order of things, each only when there is nothing of what stands before it:
 *	1. events that are queued;
 *	2. handles that have something ready: one event of each in turn;
 *	3. work that was put off: datagrams that were gathered, closes;
 *	4. one turn of the loop.
 * After TURN_EVENTS events of ready handles the loop has its turn all the same, without sleeping: a peer that never pauses keeps neither
 * timers nor other peers from being noticed. */
#include "mux_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_EVENTS = 256 };

/* ---- life ---- */

/* The end of every turn that sconce_mux_next() has made; others' runs are not ended. */
static bool
turn_over(struct sconce_loop *loop, void *arg)
{
	const struct sconce_mux *m = arg;

	(void)loop;
	return !m->running;
}

int
sconce_mux_new(struct sconce_loop *loop, const struct sconce_mux_options *defaults, struct sconce_mux **mux_out)
{
	struct sconce_mux *m = calloc(1, sizeof(*m));
	int r = 0;

	if (m == NULL)
		return -ENOMEM;
	m->own_loop = loop == NULL;
	m->loop = loop;
	if (m->own_loop)
		r = sconce_loop_new(NULL, &m->loop);
	if (r < 0)
		goto free_m;
	r = sconce_post_loop_add(m->loop, turn_over, m);
	if (r < 0)
		goto free_loop;
	if (defaults != NULL)
		m->defaults = *defaults;
	sconce_filter_ref(m->defaults.filter);
	sconce_filter_ref(m->defaults.out_filter);
	TAILQ_INIT(&m->all);
	TAILQ_INIT(&m->ready);
	TAILQ_INIT(&m->work);
	*mux_out = m;
	return 0;
free_loop:
	if (m->own_loop)
		sconce_loop_free(m->loop);
free_m:
	free(m);
	return r;
}

static void
mux_free(struct sconce_mux *m)
{
	sconce_filter_unref(m->defaults.filter);
	sconce_filter_unref(m->defaults.out_filter);
	free(m->detail);
	free(m->ring);
	free(m);
}

void
sconce__mux_destroyed(struct sconce_mux *m)
{
	m->objects--;
	if (m->objects == 0 && m->freeing)
		mux_free(m);
}

/* What is queued is nobody's any more. */
static void
empty_queue(struct sconce_mux *m)
{
	struct queued q;

	while (sconce__mux_take(m, &q))
		free(q.detail);
}

int
sconce_mux_free(struct sconce_mux *m)
{
	struct sconce_mux_handle *h;
	struct sconce_loop *loop;

	if (m == NULL)
		return 0;
	if (m->running || (m->own_loop && sconce_loop_step(m->loop, 0) == -EDEADLK))
		return -EBUSY;
	loop = m->own_loop ? m->loop : NULL;
	empty_queue(m);
	while ((h = TAILQ_FIRST(&m->all)) != NULL)
		sconce__mux_let_go(h);		/* free_meta may end others, and push events */
	empty_queue(m);
	sconce_post_loop_remove(m->loop, turn_over, m);
	m->freeing = true;
	if (m->objects == 0)
		mux_free(m);		/* else the last handle does, when the loop has let go of it */
	return sconce_loop_free(loop);
}

struct sconce_loop *
sconce_mux_loop(const struct sconce_mux *m)
{
	return m->loop;
}

/* ---- what an event says ---- */

static void
tell_accepted(const struct accepted_detail *d, struct sconce_event *ev)
{
	ev->parent = d->parent;
	ev->from = &d->from;
	ev->cred = d->cred;
}

static void
tell_error(const struct sconce_mux_handle *h, const struct error_detail *d, struct sconce_event *ev)
{
	const struct sconce_fail *fail = d != NULL ? &d->fail : sconce_failure(h->sock);

	ev->fail = fail != NULL ? *fail : (struct sconce_fail){ .operation = "malloc", .errnum = ENOMEM };
	if (d != NULL && d->error.operation != NULL)
		ev->error = &d->error;
}

static void
tell_left(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	const struct sconce_input *in = sconce_stream_input(sconce__mux_stream(h));

	ev->data = in->data;
	ev->len = in->len;
}

static void
tell_end(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	ev->reason = h->reason;
	ev->missing = h->flags & (H_SHUT | H_CLOSED) ? h->missing : sconce_mux_buflen(h);
	if (ev->type == SCONCE_EVENT_CLOSED)
		h->mux->last = h;
	else if (!(h->flags & H_CLOSED))
		sconce__mux_work(h, H_FINISH);
}

static void
tell(struct sconce_mux *m, const struct queued *q, struct sconce_event *ev)
{
	ev->type = q->type;
	ev->handle = q->handle;
	m->detail = q->detail;
	switch (q->type) {
	case SCONCE_EVENT_ACCEPTED:
		tell_accepted(q->detail, ev);
		break;
	case SCONCE_EVENT_ERROR:
		tell_error(q->handle, q->detail, ev);
		break;
	case SCONCE_EVENT_READ_LAST:
		tell_left(q->handle, ev);
		break;
	case SCONCE_EVENT_CLOSING:
	case SCONCE_EVENT_CLOSED:
		tell_end(q->handle, ev);
		break;
	default:
		if (q->type < SCONCE_EVENT_USER)
			break;
		*ev = *(struct sconce_event *)q->detail;
		ev->handle = q->handle;
	}
}

/* ---- the next one ---- */

/* What the event before has borrowed. */
static void
give_back(struct sconce_mux *m)
{
	free(m->detail);
	m->detail = NULL;
	if (m->last != NULL)
		sconce__mux_let_go(m->last);
	m->last = NULL;
}

static bool
give_ready(struct sconce_mux *m, struct sconce_event *ev)
{
	struct sconce_mux_handle *h;

	while (m->len == 0 && m->given < TURN_EVENTS && (h = TAILQ_FIRST(&m->ready)) != NULL) {
		TAILQ_REMOVE(&m->ready, h, ready);
		h->flags &= ~(unsigned)H_READY;
		if (!sconce__mux_pull(h, ev))
			continue;
		ev->handle = h;
		sconce__mux_ready(h);
		m->given++;
		return true;
	}
	return false;
}

static bool
give(struct sconce_mux *m, struct sconce_event *ev)
{
	struct queued q;

	for (;;) {
		if (sconce__mux_take(m, &q)) {
			tell(m, &q, ev);
			return true;
		}
		if (give_ready(m, ev))
			return true;
		if (m->len == 0)
			return false;
	}
}

static void
do_work(struct sconce_mux *m)
{
	struct sconce_mux_handle *h;

	while ((h = TAILQ_FIRST(&m->work)) != NULL) {
		TAILQ_REMOVE(&m->work, h, work);
		h->flags &= ~(unsigned)H_WORK;
		if (h->flags & H_FLUSH)
			sconce__mux_flush(h);
		if (h->flags & H_FINISH)
			sconce__mux_finish(h);
	}
}

/* One turn that lasts at most `limit` seconds (negative: no limit).  Returns as sconce_loop_run(). */
static int
turn(struct sconce_mux *m, double limit)
{
	double user = sconce_loop_timeout(m->loop);
	int r;

	if (user >= 0 && (limit < 0 || user < limit))
		limit = user;
	m->given = 0;
	m->running = true;
	sconce_loop_set_timeout(m->loop, limit);
	r = sconce_loop_run(m->loop);
	sconce_loop_set_timeout(m->loop, user);
	m->running = false;
	return r;
}

/* Turns until there is an event. */
static int
wait(struct sconce_mux *m, double timeout, struct sconce_event *ev)
{
	double deadline = timeout > 0 ? sconce_now(m->loop) + timeout : 0, left = timeout;
	int r;

	for (;;) {
		do_work(m);
		if (m->len == m->dropped) {
			r = turn(m, TAILQ_EMPTY(&m->ready) ? left : 0);
			if (r != SCONCE_LOOP_POST)
				return r == SCONCE_LOOP_IDLE ? SCONCE_MUX_IDLE : r == SCONCE_LOOP_STOPPED ? -ECANCELED : r;
		}
		if (give(m, ev))
			return 1;
		if (timeout > 0)
			left = deadline - sconce_now(m->loop);
		if (timeout >= 0 && left <= 0 && TAILQ_EMPTY(&m->ready))
			return 0;
	}
}

int
sconce_mux_next(struct sconce_mux *m, double timeout, struct sconce_event *ev_out)
{
	if (m->running)
		return -EDEADLK;
	give_back(m);
	memset(ev_out, 0, sizeof(*ev_out));
	return give(m, ev_out) ? 1 : wait(m, timeout, ev_out);
}

size_t
sconce_mux_has_events(const struct sconce_mux *m)
{
	const struct sconce_mux_handle *h;
	size_t n = m->len - m->dropped;

	TAILQ_FOREACH(h, &m->work, work)
		n++;
	return n;
}

int
sconce_mux_push(struct sconce_mux *m, const struct sconce_event *ev)
{
	struct sconce_event *copy;

	if (ev->type < SCONCE_EVENT_USER || (ev->handle != NULL && ev->handle->mux != m))
		return -EINVAL;
	if (sconce__mux_reserve(m, 0, 1) < 0)
		return -ENOMEM;
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return -ENOMEM;
	*copy = *ev;
	sconce__mux_queue(m, ev->type, ev->handle, copy);
	return 0;
}

size_t
sconce_mux_count(const struct sconce_mux *m)
{
	return m->count;
}

struct sconce_mux_handle *
sconce_mux_each(const struct sconce_mux *m, const struct sconce_mux_handle *after)
{
	return after == NULL ? TAILQ_FIRST(&m->all) : TAILQ_NEXT(after, all);
}
