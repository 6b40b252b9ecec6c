/* The timeouts of sockets.
 *
 * Input idle is the common one: every connection of a server has it, and restarts it with every message.  It
 * lives in a wheel, and a restart is a store (s->_clock[0], the time of the last activity).  Level g of the wheel has 128
 * slots of 16 << g ms; a socket is put where its time still falls within 128 slots, rounded up to the next
 * slot, so it is never early, and late by at most 16 ms or a 64th.  When a slot's time has come its sockets are looked
 * at: those that were active meanwhile are put further on, those that do not read leave until they do
 * (FL_IDLE_OFF), the others fire.  Nothing cascades.
 *
 * A node is the socket's _idle: [0] the next node, [1] the place that points to this one (a slot, or the node before);
 * [1] is NULL when it is not in the wheel.
 *
 * While a socket is ENDING the same node is the deadline of sconce_close_flush().
 *
 * The other kinds are rare: a quiet timer in the heap, in the side record. */
#include "core.h"

enum {
	TICK_MS = 16,
	NS_PER_MS = 1000000,
	SWEEP = WHEEL_LEVELS * WHEEL_SLOTS,	/* one more slot: the list being looked at */
	MAX_DAYS = 24			/* so that differences of 32-bit milliseconds have a sign */
};

/* ---- the wheel ---- */

static void **
wheel_slot(const struct wheel *w, int level, int64_t n)
{
	return &w->slots[level * WHEEL_SLOTS + (n & (WHEEL_SLOTS - 1))];
}

/* The first slot of a level that is not before `tick`, by number; slot n is due at tick n << level. */
static int64_t
slot_from(int64_t tick, int level)
{
	return (tick + ((int64_t)1 << level) - 1) >> level;
}

/* The present as a number of ms since the loop's start: in hooks that of the turn. */
static int64_t
ms_now(const struct sconce_loop *l)
{
	return likely(sconce__in_hook(l)) ? l->now_ms : (l->be->now(l->ctx) - l->start) / NS_PER_MS;
}

/* The tick before which no slot is due; INT64_MAX: none ever is. */
static void
set_next(struct sconce_loop *l, int64_t tick)
{
	l->wheel.next_tick = tick;
	l->wheel.next = tick == INT64_MAX ? INT64_MAX : l->start + tick * TICK_MS * NS_PER_MS;
}

/* Bits of one level's map, by slot number. */
static void
map_set(uint64_t map[WHEEL_SLOTS / 64], int64_t n)
{
	map[n >> 6 & 1] |= (uint64_t)1 << (n & 63);
}

static void
map_clear(uint64_t map[WHEEL_SLOTS / 64], int64_t n)
{
	map[n >> 6 & 1] &= ~((uint64_t)1 << (n & 63));
}

static void
node_link(void **slot, void **node)
{
	void **next = *slot;

	node[0] = next;
	node[1] = slot;
	if (next != NULL)
		next[1] = node;
	*slot = node;
}

/* May be in a slot, or in the list of a sweep. */
static inline void
node_unlink(struct sconce_loop *l, void **node)
{
	struct wheel *w = &l->wheel;
	void **prev = node[1], **next = node[0];
	uintptr_t slot = ((uintptr_t)prev - (uintptr_t)w->slots) / sizeof(void *);

	*prev = next;
	if (next != NULL)
		next[1] = prev;
	else if (slot < SWEEP)		/* that was the last of a slot */
		map_clear(w->map[slot / WHEEL_SLOTS], (int64_t)slot);
	node[0] = node[1] = NULL;
	if (--w->count == 0)
		set_next(l, INT64_MAX);
}

/* How many slots after number `from` the first one in use is; WHEEL_SLOTS: none is. */
static int
map_find(const uint64_t map[WHEEL_SLOTS / 64], int64_t from)
{
	int at = (int)(from & (WHEEL_SLOTS - 1)), bit = at % 64;
	uint64_t here = map[at / 64], other = map[at / 64 ^ 1];

	if (here >> bit != 0)
		return __builtin_ctzll(here >> bit);
	if (other != 0)
		return 64 - bit + __builtin_ctzll(other);
	if (here != 0)
		return WHEEL_SLOTS - bit + __builtin_ctzll(here);
	return WHEEL_SLOTS;
}

static void
find_next(struct sconce_loop *l)
{
	struct wheel *w = &l->wheel;
	int64_t next = INT64_MAX;

	for (int g = 0; w->count > 0 && g < WHEEL_LEVELS; g++) {
		int64_t from = slot_from(w->tick, g);
		int ahead = map_find(w->map[g], from);

		if (ahead < WHEEL_SLOTS && (from + ahead) << g < next)
			next = (from + ahead) << g;
	}
	set_next(l, next);
}

/* Moves the wheel on as far as is known to be empty. */
static void
wheel_advance(struct wheel *w, int64_t tick)
{
	if (w->next_tick < tick)
		tick = w->next_tick;
	if (w->tick < tick)
		w->tick = tick;
}

/* The finest level whose 128 slots from `from` on reach as far as `due`. */
static int
level_for(int64_t from, int64_t due)
{
	uint64_t ahead = (uint64_t)(due - from);
	int g = ahead < WHEEL_SLOTS ? 0 : 64 - __builtin_clzll(ahead / WHEEL_SLOTS);

	return g + (ahead > (uint64_t)(WHEEL_SLOTS - 1) << g);	/* both ends are rounded up to slots of the level */
}

/* Puts `s`, which is not in the wheel, where its timeout ends.  All slots in use are among the 128 of their level from
 * w->tick on, so none is looked at early; when the wheel lags behind `now` that may take a coarser level. */
static void
wheel_insert(struct sconce_loop *l, struct sconce_sock *s, int64_t now_ms)
{
	struct wheel *w = &l->wheel;
	int64_t first = (int64_t)((uint64_t)now_ms / TICK_MS) + 1, due, n;
	int32_t ago = (int32_t)((uint32_t)now_ms - s->_clock[0]);
	int g;

	wheel_advance(w, first);
	/* One more, since both times are rounded down. */
	due = (int64_t)((uint64_t)(now_ms - ago + s->_clock[1] + 1 + TICK_MS - 1) / TICK_MS);
	if (due < first)
		due = first;
	if (due < w->tick)
		due = w->tick;		/* a hook's time is its turn's, which may be before what the wheel was told outside of one */
	g = level_for(w->tick, due);
	assert(g < WHEEL_LEVELS && "timeouts are shorter than the wheel");
	n = slot_from(due, g);
	node_link(wheel_slot(w, g, n), s->_idle);
	map_set(w->map[g], n);
	w->count++;
	if (n << g < w->next_tick) {
		set_next(l, n << g);
		sconce__deadline_changed(l);
	}
}

static void
wheel_remove(struct sconce_sock *s)
{
	if (s->_idle[1] != NULL)
		node_unlink(s->loop, s->_idle);
}

/* ---- input idle ---- */

static bool
reads(const struct sconce_sock *s)
{
	return (s->_flags & FL_PAUSED) == 0 || (s->_flags & FL_SOURCE) != 0;
}

static bool
is_ending(const struct sconce_sock *s)
{
	return (s->_flags & SCONCE_PAUSE_ENDING) != 0;
}

/* After it has fired nothing starts it again but activity, or being set: _idle[0] of a node outside of the wheel. */
static void
set_fired(struct sconce_sock *s, bool fired)
{
	s->_idle[0] = fired ? s : NULL;
}

static bool
has_fired(const struct sconce_sock *s)
{
	return s->_idle[1] == NULL && s->_idle[0] != NULL;
}

void
sconce__idle_set(struct sconce_sock *s, uint32_t ms)
{
	struct sconce_loop *l = s->loop;
	int64_t now_ms = ms_now(l);
	uint32_t before = s->_clock[1];

	s->_flags &= ~(uint32_t)FL_IDLE_OFF;
	s->_clock[0] = (uint32_t)now_ms;
	s->_clock[1] = ms;
	if (ms != 0 && ms >= before && s->_idle[1] != NULL && !is_ending(s))
		return;			/* it will be looked at early enough where it is */
	wheel_remove(s);
	set_fired(s, false);
	if (ms == 0)
		return;
	if (is_ending(s) || reads(s))
		wheel_insert(l, s, now_ms);
	else
		s->_flags |= FL_IDLE_OFF;
}

/* Whether the timeout has passed since the last activity. */
static bool
is_idle(const struct sconce_sock *s, int64_t now_ms)
{
	return (int32_t)((uint32_t)now_ms - s->_clock[0]) > (int32_t)s->_clock[1];
}

void
sconce__idle_resume(struct sconce_sock *s)
{
	if (!(s->_flags & FL_IDLE_OFF) || (has_fired(s) && is_idle(s, ms_now(s->loop))))
		return;
	sconce__idle_set(s, s->_clock[1]);
}

/* The time of a slot with `s` has come; `s` has left the wheel. */
static void
idle_look(struct sconce_loop *l, struct sconce_sock *s)
{
	if (is_ending(s)) {
		sconce__ending_expired(s);	/* its clock counts bytes meanwhile */
	} else if (!reads(s)) {
		s->_flags |= FL_IDLE_OFF;
	} else if (!is_idle(s, l->now_ms)) {
		wheel_insert(l, s, l->now_ms);
	} else {
		s->_flags |= FL_IDLE_OFF;
		set_fired(s, true);
		sconce__fire_timeout(s, SCONCE_TIMEOUT_INPUT);
	}
}

/* Looks at all of a slot, on a list of its own: hooks may take others off it, and put any into the wheel again. */
static void
slot_run(struct sconce_loop *l, void **slot)
{
	struct wheel *w = &l->wheel;
	void **list = &w->slots[SWEEP], **node = *slot;

	if (node == NULL)
		return;
	*slot = NULL;
	*list = node;
	node[1] = list;
	while ((node = *list) != NULL) {
		node_unlink(l, node);
		idle_look(l, SCONCE_CONTAINER_OF(node, struct sconce_sock, _idle));
	}
}

void
sconce__timeouts_run(struct sconce_loop *l)
{
	struct wheel *w = &l->wheel;
	int64_t end = l->now_ms / TICK_MS;

	if (w->next > l->now)
		return;
	for (int g = 0; g < WHEEL_LEVELS; g++) {
		int64_t from = slot_from(w->tick, g), to = end >> g, n;

		if (to - from >= WHEEL_SLOTS)
			to = from + WHEEL_SLOTS - 1;	/* all of them */
		for (n = from + map_find(w->map[g], from); n <= to; n += 1 + map_find(w->map[g], n + 1)) {
			map_clear(w->map[g], n);
			slot_run(l, wheel_slot(w, g, n));
		}
	}
	if (w->tick <= end)
		w->tick = end + 1;
	find_next(l);
	sconce__deadline_changed(l);
}

int64_t
sconce__timeouts_next(const struct sconce_loop *l)
{
	return l->wheel.next;
}

int
sconce__timeouts_init(struct sconce_loop *l)
{
	set_next(l, INT64_MAX);
	l->wheel.slots = sconce__zalloc(l, (SWEEP + 1) * sizeof(void *));
	return l->wheel.slots != NULL ? 0 : -ENOMEM;
}

void
sconce__timeouts_fini(struct sconce_loop *l)
{
	l_free(l, l->wheel.slots);
	l->wheel.slots = NULL;
}

/* ---- the other kinds ---- */

static bool
has_hook(const struct sconce_sock *s)
{
	return s->ops->event_timeout != NULL;
}

void
sconce__fire_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct sconce_loop *l = s->loop;

	if (kind == SCONCE_TIMEOUT_CONNECT) {
		sconce__connect_expired(s);
	} else if (has_hook(s)) {
		sconce__enter(l, s);
		CALL_HOOK(l, s, "event_timeout", kind, s->ops->event_timeout(s, kind));
		sconce__leave(l);
	} else if (kind != SCONCE_TIMEOUT_ALARM) {
		sconce_close_error(s, SCONCE_REASON_TIMEOUT, ETIMEDOUT);
	}
}

static struct sconce__timeout *
timeout_of(const struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	return s->_side != NULL ? s->_side->timeout[kind] : NULL;
}

/* The kernel refuses bytes.  Connects and handshakes have their own kind. */
static bool
output_waits(const struct sconce_sock *s)
{
	return (s->_flags & FL_STUCK) && s->fd >= 0 && !(s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT));
}

/* An ENDING socket has its own deadline and gets no hook. */
static void
expired(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	if (!is_ending(s))
		sconce__fire_timeout(s, kind);
}

static void
connect_due(struct sconce_timer *t, void *arg)
{
	struct sconce_sock *s = arg;

	(void)t;
	if (s->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT))
		sconce__fire_timeout(s, SCONCE_TIMEOUT_CONNECT);
}

static void
lifetime_due(struct sconce_timer *t, void *arg)
{
	(void)t;
	expired(arg, SCONCE_TIMEOUT_LIFETIME);
}

static void
alarm_due(struct sconce_timer *t, void *arg)
{
	(void)t;
	expired(arg, SCONCE_TIMEOUT_ALARM);
}

/* Left running when output moves again: it looks, and goes on or rests. */
static void
output_due(struct sconce_timer *t, void *arg)
{
	struct sconce_sock *s = arg;
	struct sconce__timeout *to = timeout_of(s, SCONCE_TIMEOUT_OUTPUT);

	if (!output_waits(s))
		return;
	if (to->last + to->value > s->loop->now)
		sconce__timer_set(t, to->last + to->value);
	else
		expired(s, SCONCE_TIMEOUT_OUTPUT);
}

void
sconce__output_stuck(struct sconce_sock *s)
{
	struct sconce__timeout *to = timeout_of(s, SCONCE_TIMEOUT_OUTPUT);

	if (to == NULL || !output_waits(s))
		return;
	to->last = sconce__clock(s->loop);
	if (!sconce_timer_active(&to->timer))
		sconce__timer_set(&to->timer, to->last + to->value);
}

void
sconce__output_moved(struct sconce_sock *s)
{
	struct sconce__timeout *to = timeout_of(s, SCONCE_TIMEOUT_OUTPUT);

	if (to == NULL)
		return;
	to->last = sconce__clock(s->loop);
	if (output_waits(s) && !sconce_timer_active(&to->timer))
		sconce__timer_set(&to->timer, to->last + to->value);	/* activity arms it again */
}

static void
timeout_drop(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct sconce__timeout *to = timeout_of(s, kind);

	if (to == NULL)
		return;
	sconce_timer_stop(&to->timer);
	l_free(s->loop, to);
	s->_side->timeout[kind] = NULL;
}

static struct sconce__timeout *
timeout_make(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	static sconce_timer_fn *const due[SCONCE_TIMEOUT_KINDS] = {
		[SCONCE_TIMEOUT_CONNECT] = connect_due,
		[SCONCE_TIMEOUT_OUTPUT] = output_due,
		[SCONCE_TIMEOUT_LIFETIME] = lifetime_due,
		[SCONCE_TIMEOUT_ALARM] = alarm_due,
	};
	struct sconce__side *side = sconce__side(s);
	struct sconce__timeout *to;

	if (side == NULL)
		return NULL;
	to = side->timeout[kind];
	if (to != NULL)
		return to;
	to = sconce__zalloc(s->loop, sizeof(*to));
	if (to == NULL)
		return NULL;
	to->sock = s;
	sconce_timer_init(&to->timer, s->loop, due[kind], s);
	sconce__timer_quiet(&to->timer, true);
	side->timeout[kind] = to;
	return to;
}

static int
timeout_start(struct sconce_sock *s, enum sconce_timeout_kind kind, double secs)
{
	struct sconce__timeout *to = timeout_make(s, kind);

	if (to == NULL)
		return -ENOMEM;
	to->value = sconce__ns(secs);
	to->last = sconce__clock(s->loop);
	if (kind != SCONCE_TIMEOUT_OUTPUT || output_waits(s))
		sconce__timer_set(&to->timer, to->last + to->value);
	else
		sconce_timer_stop(&to->timer);
	return 0;
}

/* ---- for all kinds ---- */

/* Rounded up, but 0.07 s is 70 ms, not 71. */
static uint32_t
ms_of(double secs)
{
	double ms = secs < 1e-6 ? 1 : secs * 1000 - 1e-6;
	uint32_t whole = (uint32_t)ms;

	return secs > 0 ? whole + (whole < ms) : 0;
}

static COLD int
set_rare(struct sconce_sock *s, enum sconce_timeout_kind kind, double secs)
{
	if (secs > 0)
		return timeout_start(s, kind, secs);
	timeout_drop(s, kind);
	return 0;
}

int
sconce_set_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind, double secs)
{
	if ((unsigned)kind >= SCONCE_TIMEOUT_KINDS || !(secs <= MAX_DAYS * 86400.0))
		return -EINVAL;
	if (s->closed)
		return -EBADF;
	if (kind == SCONCE_TIMEOUT_INPUT) {
		if (!is_ending(s))		/* then the wheel has another deadline of it, and no hook would run */
			sconce__idle_set(s, ms_of(secs));
		return 0;
	}
	return set_rare(s, kind, secs);
}

double
sconce_timeout(const struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	const struct sconce__timeout *to;

	if ((unsigned)kind >= SCONCE_TIMEOUT_KINDS || s->closed)
		return 0;
	if (kind == SCONCE_TIMEOUT_INPUT)
		return is_ending(s) ? 0 : s->_clock[1] / 1000.0;
	to = timeout_of(s, kind);
	return to != NULL ? (double)to->value * 1e-9 : 0;
}

void
sconce__timeouts_cancel(struct sconce_sock *s)
{
	wheel_remove(s);
	set_fired(s, false);
	s->_flags &= ~(uint32_t)FL_IDLE_OFF;
	s->_clock[1] = 0;
	for (int kind = 0; s->_side != NULL && kind < SCONCE_TIMEOUT_KINDS; kind++)
		timeout_drop(s, (enum sconce_timeout_kind)kind);
}
