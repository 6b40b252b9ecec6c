/* Timers: a pairing heap of embedded nodes, ordered by time and then by the order of starting.
 *
 * Starting and stopping never allocate.  A node's _prev is its left sibling or, for the first child, its
 * parent; the root has none.  _order is 0 while a timer is not running.
 *
 * The library's own timers are quiet (_every is QUIET): they do not keep the loop running, and what they call is no hook. */
#include "core.h"

#include <math.h>

enum { QUIET = -1 };

static const int64_t min_every = 1000000;	/* 1 ms */

int64_t
sconce__clock(const struct sconce_loop *l)
{
	return sconce__in_hook(l) ? l->now : l->be->now(l->ctx);
}

int64_t
sconce__ns(double secs)
{
	const double max = 60.0 * 366 * 86400;

	if (!(secs > 0))
		return 0;
	return (int64_t)ceil((secs < max ? secs : max) * 1e9);
}

/* ---- the heap ---- */

static bool
before(const struct sconce_timer *a, const struct sconce_timer *b)
{
	return a->_due < b->_due || (a->_due == b->_due && a->_order < b->_order);
}

/* Makes one of two roots the other's first child. */
static struct sconce_timer *
meld(struct sconce_timer *a, struct sconce_timer *b)
{
	if (before(b, a)) {
		struct sconce_timer *t = a;

		a = b;
		b = t;
	}
	b->_prev = a;
	b->_next = a->_child;
	if (b->_next != NULL)
		b->_next->_prev = b;
	a->_child = b;
	return a;
}

/* Melds a list of siblings: in pairs from the left, then the pairs from the right. */
static struct sconce_timer *
meld_siblings(struct sconce_timer *first)
{
	struct sconce_timer *pairs = NULL, *root = NULL, *a, *b, *rest;

	for (a = first; a != NULL; a = rest) {
		b = a->_next;
		rest = b != NULL ? b->_next : NULL;
		if (b != NULL)
			a = meld(a, b);
		a->_next = pairs;
		pairs = a;
	}
	for (a = pairs; a != NULL; a = rest) {
		rest = a->_next;
		root = root != NULL ? meld(root, a) : a;
	}
	if (root != NULL)
		root->_next = root->_prev = NULL;
	return root;
}

static void
heap_insert(struct sconce_loop *l, struct sconce_timer *t)
{
	t->_child = t->_next = t->_prev = NULL;
	t->_order = ++l->timer_order;
	l->heap = l->heap != NULL ? meld(l->heap, t) : t;
}

static void
heap_remove(struct sconce_loop *l, struct sconce_timer *t)
{
	struct sconce_timer *orphans = meld_siblings(t->_child);

	if (t->_prev == NULL) {
		l->heap = orphans;
	} else {
		if (t->_prev->_child == t)
			t->_prev->_child = t->_next;
		else
			t->_prev->_next = t->_next;
		if (t->_next != NULL)
			t->_next->_prev = t->_prev;
		if (orphans != NULL)
			l->heap = meld(l->heap, orphans);
	}
	t->_child = t->_next = t->_prev = NULL;
	t->_order = 0;
}

/* ---- starting and stopping ---- */

static bool
is_quiet(const struct sconce_timer *t)
{
	return t->_every == QUIET;
}

void
sconce_timer_init(struct sconce_timer *t, struct sconce_loop *l, sconce_timer_fn *fn, void *arg)
{
	*t = (struct sconce_timer){ ._loop = l, ._fn = fn, ._arg = arg };
}

void
sconce__timer_quiet(struct sconce_timer *t, bool quiet)
{
	assert(t->_order == 0 && "a running timer does not change its kind");
	t->_every = quiet ? QUIET : 0;
}

void
sconce__timer_set(struct sconce_timer *t, int64_t due)
{
	struct sconce_loop *l = t->_loop;
	const struct sconce_timer *first = l->heap;
	bool active = t->_order != 0;

	if (l->freeing)
		return;			/* there is no next turn */
	if (active)
		heap_remove(l, t);
	else if (!is_quiet(t))
		sconce__keep(l, 1);
	/* Never before now: in a step, what is started has its place behind all that are due. */
	t->_due = due > l->now ? due : l->now;
	heap_insert(l, t);
	if (l->heap != first || l->heap == t)
		sconce__deadline_changed(l);
}

static void
start(struct sconce_timer *t, double secs, int64_t every)
{
	assert(t->_loop != NULL && "a timer is initialised before it is started");
	if (!is_quiet(t))
		t->_every = every;
	sconce__timer_set(t, sconce__clock(t->_loop) + sconce__ns(secs));
}

void
sconce_timer_start(struct sconce_timer *t, double secs)
{
	start(t, secs, 0);
}

void
sconce_timer_start_every(struct sconce_timer *t, double secs, double every)
{
	int64_t ns = sconce__ns(every);

	start(t, secs, ns > min_every ? ns : min_every);
}

void
sconce_timer_stop(struct sconce_timer *t)
{
	struct sconce_loop *l = t->_loop;
	bool was_first;

	if (t->_order == 0)
		return;
	was_first = l->heap == t;
	heap_remove(l, t);
	if (!is_quiet(t))
		sconce__keep(l, -1);
	if (was_first)
		sconce__deadline_changed(l);
}

bool
sconce_timer_active(const struct sconce_timer *t)
{
	return t->_order != 0;
}

double
sconce_timer_left(const struct sconce_timer *t)
{
	int64_t left = t->_order != 0 ? t->_due - sconce__clock(t->_loop) : 0;

	return left > 0 ? (double)left * 1e-9 : 0;
}

/* ---- firing ---- */

/* The first beat after `now`, in step with those before. */
static void
set_next_beat(struct sconce_loop *l, struct sconce_timer *t)
{
	t->_due += ((l->now - t->_due) / t->_every + 1) * t->_every;
	heap_insert(l, t);
}

/* The timer is out of the heap, or in it with its next beat, before its function runs, which may free it. */
static void
fire(struct sconce_loop *l, struct sconce_timer *t)
{
	bool quiet = is_quiet(t), once = t->_every == 0;

	heap_remove(l, t);
	if (quiet) {
		t->_fn(t, t->_arg);
		return;
	}
	if (!once)
		set_next_beat(l, t);
	sconce__enter(l, NULL);
	CALL_HOOK(l, NULL, "timer", 0, t->_fn(t, t->_arg));
	sconce__leave(l);
	if (once)
		sconce__keep(l, -1);
}

void
sconce__timers_run(struct sconce_loop *l)
{
	uint64_t last = l->timer_order;

	/* Those that are started meanwhile come after `last`, and behind all others that are due. */
	while (l->heap != NULL && l->heap->_due <= l->now && l->heap->_order <= last)
		fire(l, l->heap);
}

int64_t
sconce__timers_next(const struct sconce_loop *l)
{
	return l->heap != NULL ? l->heap->_due : INT64_MAX;
}

void
sconce__timers_cancel_all(struct sconce_loop *l)
{
	while (l->heap != NULL)
		sconce_timer_stop(l->heap);
}

/* ---- bound timers ---- */

static void
untie(struct sconce_timer *t)
{
	if (t->_bound_prevp == NULL)
		return;
	*t->_bound_prevp = t->_bound_next;
	if (t->_bound_next != NULL)
		t->_bound_next->_bound_prevp = t->_bound_prevp;
	t->_bound_next = NULL;
	t->_bound_prevp = NULL;
}

int
sconce_timer_bind(struct sconce_timer *t, struct sconce_sock *s)
{
	struct sconce__side *side;

	if (s == NULL) {
		untie(t);
		return 0;
	}
	assert(s->loop == t->_loop && "a timer and its socket are of one loop");
	if (s->closed)
		return -EBADF;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	untie(t);
	t->_bound_next = side->bound;
	t->_bound_prevp = &side->bound;
	if (side->bound != NULL)
		side->bound->_bound_prevp = &t->_bound_next;
	side->bound = t;
	return 0;
}

void
sconce__timers_unbind(struct sconce_sock *s)
{
	struct sconce_timer *t;

	if (s->_side == NULL)
		return;
	while ((t = s->_side->bound) != NULL) {
		sconce_timer_stop(t);
		untie(t);
	}
}
