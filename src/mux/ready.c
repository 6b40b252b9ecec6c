/* What handles have ready: the lists they stand on, what is watched besides their sockets, and one event of what there is.
 *
 *	hook, watch --sconce__mux_told--> on the ready list --sconce__mux_pull--> READ, CAN_READ ...
 *
 * Nothing is read before it is asked for, so what is readable stays so.  As long as somebody asks that costs nothing.  When others turn the
 * loop (another multiplexer on it, the application) and a handle is told of again and again, it rests: it is not watched until it is asked,
 * or it would end every wait of theirs. */
#include "mux_private.h"

#include <errno.h>
#include <stdlib.h>

enum { TOLD_MOST = 3 };				/* two turns of others are no reason to unwatch it */
static const double retry_seconds = 0.05;	/* when there was no memory to receive into */

/* ---- lists ---- */

void
sconce__mux_ready(struct sconce_mux_handle *h)
{
	if (h->flags & (H_READY | H_CLOSING | H_KILLED | H_CLOSED | H_GONE))
		return;
	h->flags |= H_READY;
	TAILQ_INSERT_TAIL(&h->mux->ready, h, ready);
}

void
sconce__mux_unready(struct sconce_mux_handle *h)
{
	if (h->flags & H_READY)
		TAILQ_REMOVE(&h->mux->ready, h, ready);
	h->flags &= ~(unsigned)(H_READY | H_CAN_READ | H_CAN_WRITE);
}

void
sconce__mux_work(struct sconce_mux_handle *h, unsigned why)
{
	if (!(h->flags & H_WORK))
		TAILQ_INSERT_TAIL(&h->mux->work, h, work);
	h->flags |= H_WORK | why;
}

void
sconce__mux_quiet(struct sconce_mux_handle *h)
{
	sconce__mux_unready(h);
	if (h->flags & H_WORK)
		TAILQ_REMOVE(&h->mux->work, h, work);
	h->flags &= ~(unsigned)(H_WORK | H_FLUSH | H_FINISH | H_BEGIN);
	sconce__mux_unwatch(h);
	if (h->kind == SCONCE_MUX_DGRAM)
		sconce_timer_stop(&SCONCE_CONTAINER_OF(h, struct dgram_handle, h)->retry);
}

/* ---- watches ---- */

/* What the handle's watch is to tell of. */
static unsigned
wanted(const struct sconce_mux_handle *h)
{
	unsigned events = h->flags & H_LATE ? SCONCE_WRITE : 0;

	if (h->flags & (H_PAUSED | H_RESTS))
		return events;
	return events | (h->flags & H_MANUAL_READ ? SCONCE_READ : 0u) | (h->flags & H_MANUAL_WRITE ? SCONCE_WRITE : 0u);
}

void
sconce__mux_rewatch(struct sconce_mux_handle *h)
{
	if (h->flags & H_WATCHED)
		sconce_watch_set(h->watch, wanted(h));
}

void
sconce__mux_unwatch(struct sconce_mux_handle *h)
{
	if (h->watch != NULL)
		sconce_watch_stop(h->watch);
	h->flags &= ~(unsigned)(H_WATCHED | H_LATE);
}

/* The kernel takes something: READY. */
static void
late_begin(struct sconce_mux_handle *h)
{
	sconce__mux_begin(h);
	h->flags &= ~(unsigned)H_LATE;
	if (h->flags & H_MANUAL_READ)
		sconce__mux_rewatch(h);
	else
		sconce__mux_unwatch(h);
}

static void
watch_ready(struct sconce_watch *w, unsigned events, void *arg)
{
	struct sconce_mux_handle *h = arg;

	(void)w;
	if ((h->flags & H_LATE) && (events & (SCONCE_WRITE | SCONCE_HUP)))
		late_begin(h);
	if (h->flags & H_PAUSED)
		return;				/* hang-ups are told all the same */
	if ((h->flags & H_MANUAL_READ) && (events & (SCONCE_READ | SCONCE_HUP)))
		h->flags |= H_CAN_READ;
	if ((h->flags & H_MANUAL_WRITE) && (events & SCONCE_WRITE))
		h->flags |= H_CAN_WRITE;
	if (h->flags & (H_CAN_READ | H_CAN_WRITE))
		sconce__mux_told(h);
}

int
sconce__mux_watch(struct sconce_mux_handle *h)
{
	int r;

	if (!(h->flags & (H_MANUAL_READ | H_MANUAL_WRITE | H_LATE)) || (sconce_paused(h->sock) & SCONCE_PAUSE_CONNECTING))
		return 0;
	if (h->watch == NULL)
		h->watch = calloc(1, sizeof(*h->watch));
	if (h->watch == NULL)
		return -ENOMEM;
	r = sconce_watch_start(h->watch, h->mux->loop, sconce_fd(h->sock), wanted(h), watch_ready, h);
	if (r == 0)
		h->flags |= H_WATCHED;
	return r;
}

/* ---- resting ---- */

static void
rest(struct sconce_mux_handle *h)
{
	h->flags |= H_RESTS;
	sconce__mux_rewatch(h);
	if (!(h->flags & H_NO_INPUT))
		sconce_pause(h->sock, SCONCE_PAUSE_APP);
}

void
sconce__mux_wake(struct sconce_mux_handle *h)
{
	bool rests = h->flags & H_RESTS;

	h->told = 0;
	if (!rests)
		return;
	h->flags &= ~(unsigned)H_RESTS;
	sconce__mux_rewatch(h);
	if (!(h->flags & (H_NO_INPUT | H_CLOSING)))
		sconce_resume(h->sock, SCONCE_PAUSE_APP);
}

void
sconce__mux_told(struct sconce_mux_handle *h)
{
	h->told++;
	if (h->told >= TOLD_MOST && !h->mux->running)
		rest(h);
	sconce__mux_ready(h);
}

/* ---- one event ---- */

static void
give_record(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	struct sconce_mux *m = h->mux;
	const struct sconce_filter *f = sconce_stream_filter(sconce__mux_stream(h));
	bool last = (m->record.flags & SCONCE_RECORD_LAST) && sconce_filter_returns_last(f);

	ev->type = last ? SCONCE_EVENT_READ_LAST : SCONCE_EVENT_READ;
	ev->data = m->record.data;
	ev->len = m->record.len;
	ev->record = f != NULL ? &m->record : NULL;
}

static bool
pull_record(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	int r = sconce_stream_next(sconce__mux_stream(h), &h->mux->record);

	if (r == 1)
		give_record(h, ev);
	else
		sconce__mux_no_more(h, r);
	return r == 1;
}

static void
retry(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce__mux_ready(arg);
}

/* There is no memory to receive into: told once, and tried again by the clock, for the fd stays readable. */
static void
starved(struct sconce_mux_handle *h)
{
	sconce__mux_starved(h);
	rest(h);
	sconce_timer_start(&SCONCE_CONTAINER_OF(h, struct dgram_handle, h)->retry, retry_seconds);
}

void
sconce__mux_prepare_retry(struct sconce_mux_handle *h)
{
	sconce_timer_init(&SCONCE_CONTAINER_OF(h, struct dgram_handle, h)->retry, h->mux->loop, retry, h);
}

static bool
pull_datagram(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	struct sconce_datagram *p = &h->mux->datagram;
	int r = sconce_dgram_next(sconce__mux_dgram(h), p);

	if (r == -ENOMEM)
		starved(h);
	else
		h->flags &= ~(unsigned)H_STARVED;
	if (r != 1)
		return false;
	ev->type = SCONCE_EVENT_READ;
	ev->data = p->data;
	ev->len = p->len;
	ev->datagram = p;
	ev->from = &p->from;
	ev->session = p->session;
	return true;
}

bool
sconce__mux_pull(struct sconce_mux_handle *h, struct sconce_event *ev)
{
	if (h->flags & H_PAUSED)
		return false;			/* sconce_mux_resume() asks again */
	sconce__mux_wake(h);
	if (h->flags & H_CAN_READ) {
		h->flags &= ~(unsigned)H_CAN_READ;
		ev->type = h->kind == SCONCE_MUX_LISTENER ? SCONCE_EVENT_ACCEPTING : SCONCE_EVENT_CAN_READ;
		return true;
	}
	if (h->flags & H_CAN_WRITE) {
		h->flags &= ~(unsigned)H_CAN_WRITE;
		ev->type = SCONCE_EVENT_CAN_WRITE;
		return true;
	}
	if (h->flags & H_NO_INPUT)
		return false;
	return h->kind == SCONCE_MUX_DGRAM ? pull_datagram(h, ev) : pull_record(h, ev);
}
