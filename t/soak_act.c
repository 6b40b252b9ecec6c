/* The soak's random operations: what an application may do, from anywhere, to any socket. */
#include "soak.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- whom ---- */

struct soak_conn *
soak_some_conn(struct soak_world *w)
{
	struct soak_conn *c = w->conns.next;

	for (unsigned skip = soak_random(w, (unsigned)w->conn_count + 1); skip > 0; skip--)
		c = c->next;
	return c;
}

/* Any other object that is not closed. */
static struct soak_conn *
third(struct soak_world *w, const struct soak_conn *a, const struct soak_conn *b)
{
	struct soak_conn *c = soak_some_conn(w);

	for (int i = 0; i <= w->conn_count; i++, c = c->next)
		if (c != &w->conns && c != a && c != b && soak_is_live(c))
			return c;
	return NULL;
}

/* ---- ends ---- */

/* With no random failures and nothing refused before, what was written is offered by a close. */
static void
close_offers(struct soak_conn *c, int reason)
{
	struct soak_world *w = c->w;
	uint64_t queued = sconce_queued(&c->sock), before = sim_taken(w->sim, c->sock.fd), went;
	size_t room = sim_room(w->sim, c->sock.fd);
	int other = sim_other(w->sim, c->sock.fd);

	sim_quiet(w->sim, true);
	soak_call(w);
	sconce_close(&c->sock, reason);
	soak_back(w, 0);
	sim_quiet(w->sim, false);
	went = sim_taken(w->sim, c->sock.fd) - before;
	soak_must(w, went >= (queued < room ? queued : room) || other < 0,
		"conn %d: %llu bytes gathered, %zu fit, close sent %llu",
		c->number, (unsigned long long)queued, room, (unsigned long long)went);
}

/* Whether what is queued has never been refused by the kernel, and is bytes only. */
static bool
is_fresh(const struct soak_conn *c)
{
	for (const struct soak_pend *p = c->waiting.head; p != NULL; p = p->next)
		if (p->seg != NULL)
			return false;
	if (c->w->place == AT_COMPLETION)
		return false;			/* of an item that failed: what is behind it waits for its end */
	return c->connect == NOT_CONNECTING && c->sock.fd >= 0 && !c->wish_write && !c->ending && !c->relayed &&
		!c->transport &&
	    !(sconce_watching(&c->sock) & SCONCE_WRITE) && c->sock.errnum == 0;
}

static void
note_close(struct soak_conn *c, const char *how)
{
	soak_trace(c->w, "conn %d %s", c->number, how);
	if (c->sock.fd >= 0)
		c->end->taken = soak_taken(c->w, c->end);
	c->end->ended = true;
	c->close_order = ++c->w->close_order;
	c->timer_due = 0;
}

void
soak_close(struct soak_conn *c)
{
	soak_call(c->w);
	sconce_close(&c->sock, SCONCE_REASON_USER + (int)soak_random(c->w, 20));
	soak_back(c->w, 0);
	note_close(c, "closed");
}

static bool
act_close(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	bool closed = c->sock.closed;

	if (c->closes > 0 && w->place != AT_CLOSE)
		return false;
	if (closed) {
		soak_call(w);
		sconce_close(&c->sock, SCONCE_REASON_USER);
		soak_back(w, 0);
		return true;
	}
	switch (soak_random(w, 6)) {
	case 0:
		soak_call(w);
		sconce_abort(&c->sock);
		soak_back(w, 0);
		note_close(c, "aborted");
		break;
	case 1: case 2:
		if (c->ending)
			return false;
		soak_trace(w, "conn %d close_flush", c->number);
		soak_call(w);
		sconce_set_no_linger(&c->sock, soak_chance(w, 30));
		sconce_close_flush(&c->sock, soak_chance(w, 50) ? 0.01 : 3);
		soak_back(w, 0);
		if (!c->sock.closed) {
			c->ending = c->end->ended = true;
			c->end->got_vague = true;	/* input is discarded from here on */
			c->timer_due = 0;
			c->owed_unread = false;
		} else {
			note_close(c, "closed by close_flush");
		}
		break;
	default:
		if (is_fresh(c) && w->place != AT_CLOSE && soak_chance(w, 50))
			soak_write(c);
		if (is_fresh(c) && soak_chance(w, 70)) {
			close_offers(c, SCONCE_REASON_USER);
			note_close(c, "closed");
		} else {
			soak_close(c);
		}
		break;
	}
	return true;
}

static bool
act_shutdown(struct soak_conn *c)
{
	static const int hows[] = { SHUT_WR, SHUT_WR, SHUT_WR, SHUT_RD, SHUT_RDWR };
	struct soak_world *w = c->w;
	int how = hows[soak_random(w, 5)], r;
	/* between two addresses of a connect there is no fd */
	bool usable = !c->sock.closed && (c->sock.fd >= 0 || (sconce_paused(&c->sock) & SCONCE_PAUSE_CONNECTING));

	soak_trace(w, "conn %d shutdown %d", c->number, how);
	soak_call(w);
	r = soak_back(w, sconce_shutdown(&c->sock, how));
	soak_must(w, r == (usable ? 0 : -EBADF), "conn %d: sconce_shutdown gives %d", c->number, r);
	if (r == 0 && how != SHUT_RD)
		c->end->ended = true;
	if (r == 0 && how != SHUT_WR) {
		c->end->shut_rd = true;
		c->end->got_vague = true;		/* what was pushed back is dropped */
		c->owed_unread = false;
		if (!c->end->tcp)
			c->end->other->ended = true;	/* AF_UNIX: it cannot send any more */
	}
	return true;
}

/* The fd is ours now: an object takes it over, or it is closed. */
static void
adopt(struct soak_world *w, struct soak_end *e, int fd, const unsigned char *bytes, size_t n)
{
	struct soak_conn *c = soak_chance(w, 50) && w->conn_count < SOAK_CONNS ? soak_conn_new(w, e, fd, NULL) : NULL;
	int r;

	if (c == NULL) {
		e->taken = sim_taken(w->sim, fd);
		e->gone = e->ended = true;
		sim_close(w->sim, fd);
		return;
	}
	if (n == 0)
		return;
	soak_call(w);
	r = soak_back(w, sconce_unread(&c->sock, bytes, n));
	if (r == 0)
		c->owed_unread = true;
	else
		e->got += n;
}

static bool
act_detach(struct soak_conn *c)
{
	static unsigned char buf[SOAK_SHARE];
	struct soak_world *w = c->w;
	struct soak_end *e = c->end;
	size_t n = 0, size = soak_chance(w, 10) ? 0 : sizeof(buf);
	bool was_closed = c->sock.closed, lost_place = c->relayed;
	int fd;

	soak_call(w);
	fd = soak_back(w, sconce_detach(&c->sock, buf, size, &n));
	soak_trace(w, "conn %d detach: %d, %zu bytes", c->number, fd, n);
	if (fd < 0) {
		soak_must(w, fd == -EBUSY || fd == -ENOBUFS || fd == -EBADF || fd == -EINPROGRESS,
			"conn %d: detach gives %d",
			c->number, fd);
		soak_must(w, c->sock.closed == was_closed, "conn %d: a detach that failed closes", c->number);
		return fd != -EBADF || was_closed;
	}
	soak_must(w, c->sock.closed && c->sock.fd == -1, "conn %d: open after detach", c->number);
	c->close_order = ++w->close_order;
	c->timer_due = 0;
	if (!e->got_vague && !lost_place)
		soak_must(w, soak_is(e->other, e->got, buf, n),
			"conn %d: other bytes are pushed back than were", c->number);
	e->taken = sim_taken(w->sim, fd);
	e->got_vague = e->got_vague || c->sock.errnum != 0 ||
		c->source;	/* of that the new object will not hear */
	e->lost -= c->sock.unsent;		/* what a failed send had dropped is counted there, and only there */
	e->vague = e->vague || c->sock.unsent > 0 || lost_place;
	for (const struct soak_pend *p = c->waiting.head; p != NULL; p = p->next)
		if (p->seg != NULL) {			/* its length will be told to the old object */
			p->seg->len = UINT64_MAX / 2;
			e->vague = p->seg->open = true;
		}
	e->conn = NULL;
	adopt(w, e, fd, buf, n);
	return true;
}

/* ---- holds, pauses ---- */

static bool
act_hold(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	bool fd = soak_chance(w, 40);

	if (c->holds + c->fd_holds > 5)
		return false;
	soak_trace(w, "conn %d hold%s", c->number, fd ? "_fd" : "");
	soak_call(w);
	if (fd)
		sconce_hold_fd(&c->sock);
	else
		sconce_hold(&c->sock);
	soak_back(w, 0);
	if (fd && c->closes == 0)
		c->fd_holds++;
	else if (fd)
		c->late_fd_holds++;
	else
		c->holds++;
	c->ever_held = true;
	return true;
}

static void
release_one(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	bool memory;

	if (c->holds + c->fd_holds + c->late_fd_holds == 0)
		return;
	memory = c->fd_holds + c->late_fd_holds == 0 || (c->holds > 0 && soak_chance(w, 50));
	soak_trace(w, "conn %d release%s", c->number, memory ? "" : "_fd");
	soak_call(w);
	if (memory) {
		c->holds--;
		sconce_release(&c->sock);
	} else {
		if (c->late_fd_holds > 0)
			c->late_fd_holds--;
		else
			c->fd_holds--;
		sconce_release_fd(&c->sock);
	}
	soak_back(w, 0);
}

/* Of any object, also of one that is closed. */
static void
release_some(struct soak_world *w)
{
	struct soak_conn *c = soak_some_conn(w);

	if (c != &w->conns && soak_chance(w, 50))
		release_one(c);
}

static void
set_pause(struct soak_conn *c, bool on)
{
	struct soak_world *w = c->w;
	unsigned why = SCONCE_PAUSE_WISH;

	soak_call(w);
	if (soak_chance(w, 50)) {
		sconce_watch_read(&c->sock, !on);
	} else if (on) {
		why = soak_chance(w, 50) ? SCONCE_PAUSE_APP : SCONCE_PAUSE_RATE;
		sconce_pause(&c->sock, why);
	} else {
		why = SCONCE_PAUSE_APP | SCONCE_PAUSE_RATE;
		sconce_resume(&c->sock, why);
	}
	soak_back(w, 0);
	c->paused = on ? c->paused | why : c->paused & ~why;
	c->idle_from = sim_now(w->sim);
}

static bool
act_pause(struct soak_conn *c)
{
	soak_trace(c->w, "conn %d pause", c->number);
	set_pause(c, true);
	return true;
}

/* ---- timers, calls ---- */

static int64_t
due_in(struct soak_world *w, double secs)
{
	return (int64_t)(sconce_now(w->loop) * 1e9 + 0.5) + (int64_t)(secs * 1e9);
}

static void
act_timer(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	double secs = soak_chance(w, 30) ? 0 : soak_random(w, 50) / 1000.0, every = 0.001 * (1 + soak_random(w, 30));

	soak_call(w);
	if (sconce_timer_bind(&c->timer, &c->sock) < 0) {
		soak_back(w, 0);
		return;
	}
	if (soak_chance(w, 15)) {
		sconce_timer_stop(&c->timer);
		c->timer_due = c->timer_every = 0;
	} else if (soak_chance(w, 10)) {
		sconce_timer_start_every(&c->timer, secs, every);
		c->timer_due = due_in(w, secs);
		c->timer_every = (int64_t)(every * 1e9);
	} else {
		sconce_timer_start(&c->timer, secs);
		c->timer_due = due_in(w, secs);
		c->timer_every = 0;
	}
	soak_back(w, 0);
}

static void
act_timeout(struct soak_conn *c)
{
	static const enum sconce_timeout_kind kinds[] = { SCONCE_TIMEOUT_INPUT, SCONCE_TIMEOUT_OUTPUT,
		SCONCE_TIMEOUT_ALARM,
		SCONCE_TIMEOUT_ALARM, SCONCE_TIMEOUT_LIFETIME, SCONCE_TIMEOUT_CONNECT };
	struct soak_world *w = c->w;
	enum sconce_timeout_kind kind = kinds[soak_random(w, 6)];
	double secs = soak_chance(w, 20) ? 0 : (1 + soak_random(w, 80)) / 1000.0;
	unsigned long failed = sim_failed(w->sim);
	int r;

	if (kind == SCONCE_TIMEOUT_LIFETIME && soak_chance(w, 60))
		return;
	soak_call(w);
	r = soak_back(w, sconce_set_timeout(&c->sock, kind, secs));
	soak_must(w, r == 0 || r == -ENOMEM, "conn %d: sconce_set_timeout gives %d", c->number, r);
	soak_check_error(w, c, r, failed, "sconce_set_timeout");
	if (r < 0)
		return;
	soak_trace(w, "conn %d timeout %d in %g s", c->number, kind, secs);
	c->timeout_set[kind] = secs > 0 ? due_in(w, secs) : 0;
	if (kind == SCONCE_TIMEOUT_INPUT) {
		c->idle_from = c->idle_since = (int64_t)(sconce_now(w->loop) * 1e9 + 0.5);
		c->idle_for = (int64_t)(secs * 1e9);
	}
}

static void
act_defer(struct soak_world *w, struct soak_conn *c)
{
	struct soak_later *x = calloc(1, sizeof(*x));
	bool bound = c != NULL && soak_chance(w, 50);
	int r;

	soak_must(w, x != NULL, "no memory for the soak itself");
	*x = (struct soak_later){ .w = w, .id = c != NULL ? c->sock.id : 0, .bound = bound,
		.order = w->defer_order + 1 };
	soak_call(w);
	r = soak_back(w, sconce_defer(w->loop, bound ? &c->sock : NULL, soak_deferred, x));
	if (r == 0)
		w->defer_order++;
	else
		free(x);
}

static void
act_post(struct soak_world *w, struct soak_conn *c)
{
	struct soak_later *x = calloc(1, sizeof(*x));

	soak_must(w, x != NULL, "no memory for the soak itself");
	*x = (struct soak_later){ .w = w, .id = c != NULL ? c->sock.id : 0, .order = ++w->post_order };
	soak_call(w);
	soak_must(w, soak_back(w, sconce_post(w->loop, soak_posted, x)) == 0, "sconce_post failed");
}

static void
act_post_loop(struct soak_conn *c)
{
	soak_call(c->w);
	sconce_set_post_loop(&c->sock, soak_chance(c->w, 50) ? soak_sock_post_loop : NULL, NULL);
	soak_back(c->w, 0);
}

/* ---- settings ---- */

/* Often 0, or exactly what is queued: at a mark is not above it. */
static void
set_marks(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	uint64_t queued = sconce_queued(&c->sock), low = soak_random(w, 4000), high = low + soak_random(w, 20000);

	if (soak_chance(w, 30))
		low = 0;
	else if (soak_chance(w, 30))
		low = high = queued;
	else if (soak_chance(w, 30) && queued >= low)
		high = queued;
	if (sconce_set_marks(&c->sock, low, high) < 0)
		return;
	c->low_set = low;
	c->high_set = high;
	c->low_mark = 0;		/* one that came above what is queued is judged after the next flush */
}

static void
act_setting(struct soak_conn *c)
{
	struct soak_world *w = c->w;
	struct sconce_sock *s = &c->sock;
	bool wish;

	soak_call(w);
	switch (soak_random(w, 6)) {
	case 0:
		wish = soak_chance(w, 75);
		if (sconce_watch_write(s, wish) == 0)
			c->wish_write = wish;
		break;
	case 1:
		sconce_set_gather(s, soak_chance(w, 60));
		break;
	case 2: case 3:
		set_marks(c);
		break;
	case 4:
		if (sconce_set_cap(s, soak_chance(w, 50) ? 20000 : 10000000) == 0)
			c->own_cap = true;
		break;
	default:
		sconce_flush(s);
		break;
	}
	soak_back(w, 0);
}

/* ---- too little memory ---- */

/* Something that allocates, while that fails. */
static bool
act_no_memory(struct soak_world *w, struct soak_conn *c)
{
	unsigned long failed = sim_failed(w->sim);

	sim_fail_next(w->sim, true);
	if (soak_is_live(c))
		switch (soak_random(w, 6)) {
		case 0:
			soak_write(c);
			break;
		case 1:
			act_timeout(c);
			break;
		case 2:
			act_setting(c);
			break;
		case 3: {
			struct soak_conn *dst = third(w, c, NULL);

			if (dst != NULL)
				soak_transfer(c, dst);
			break;
		}
		default:
			break;
		}
	if (sim_failed(w->sim) == failed)
		act_defer(w, c);
	sim_fail_next(w->sim, false);
	return sim_failed(w->sim) > failed;
}

/* ---- all together ---- */

/* A source whose transfer has taken more from it than the destination has. */
static struct soak_conn *
halfway(struct soak_world *w)
{
	for (struct soak_conn *c = w->conns.next; c != &w->conns; c = c->next)
		if (c->source && soak_is_live(c) && !c->transport && !c->end->got_vague &&
		    soak_given(w, c->end) > c->end->got + sconce_transferred(&c->sock))
			return c;
	return NULL;
}

static void
act_other(struct soak_world *w, struct soak_conn *c)
{
	struct soak_conn *other = third(w, c, NULL), *source = halfway(w);

	release_some(w);
	if (source != NULL && soak_chance(w, 30))
		soak_close(source);
	if (c == NULL)
		c = other;
	if (c == NULL)
		return;
	if (!soak_is_live(c))
		return;
	if (c->source && soak_chance(w, 10)) {
		act_close(c);
		return;
	}
	switch (soak_random(w, 16)) {
	case 0: case 1:
		set_pause(c, false);
		break;
	case 2: case 3:
		act_setting(c);
		break;
	case 4:
		act_timer(c);
		break;
	case 5: case 6:
		act_timeout(c);
		break;
	case 7:
		act_post_loop(c);
		break;
	case 8: case 9: case 10:
		if (other != NULL)
			soak_transfer(c, other);
		if (c->source && soak_chance(w, 30))
			set_pause(c, true);
		break;
	case 11:
		if (other != NULL)
			soak_relay(c, other);
		break;
	case 12:
		soak_read(c, false);
		break;
	case 13:
		if (c->connect == CONNECT_FAILED && !c->last_connect)
			soak_connect(c);
		break;
	case 14:
		act_defer(w, c);
		break;
	default:
		act_post(w, c);
		break;
	}
}

static bool
act_on(struct soak_world *w, enum soak_what what, struct soak_conn *c)
{
	switch (what) {
	case DO_WRITE:
		return soak_write(c);
	case DO_PAUSE:
		return act_pause(c);
	case DO_SHUTDOWN:
		return act_shutdown(c);
	case DO_DETACH:
		return act_detach(c);
	case DO_HOLD:
		return act_hold(c);
	case DO_NO_MEMORY:
		return act_no_memory(w, c);
	default:
		return act_close(c);
	}
}

/* One operation; `peer` is the object at the wire's other end. */
static void
act_once(struct soak_world *w, enum soak_place place, struct soak_conn *self, struct soak_conn *peer)
{
	static const unsigned char weights[SOAK_WHATS] = { 4, 4, 3, 40, 6, 4, 3, 6, 6 };
	unsigned roll = soak_random(w, 130), at = 0;
	struct soak_conn *target;

	for (unsigned i = 0; i < SOAK_WHATS; i++) {
		at += weights[i];
		if (roll >= at)
			continue;
		target = i == DO_CLOSE_SELF ? self : i == DO_CLOSE_PEER ? peer : i == DO_CLOSE_THIRD ? third(w, self,
			peer) :
		    self != NULL && soak_chance(w, 70) ? self : third(w, self, NULL);
		if (target == NULL || (target->sock.closed && target != self))
			return;
		if (act_on(w, (enum soak_what)i, target))
			w->matrix[place][i]++;
		return;
	}
	if (roll < at + 12)
		soak_raw_act(w);
	else
		act_other(w, self);
}

void
soak_act(struct soak_world *w, enum soak_place place, struct soak_conn *self, struct soak_end *e)
{
	static const unsigned char times[SOAK_PLACES] = { [AT_READ] = 40, [AT_WRITE] = 40, [AT_ERR] = 90, [AT_HUP] = 90,
		[AT_CONNECT] = 80, [AT_LOW] = 95, [AT_HIGH] = 80, [AT_DRAIN] = 50, [AT_TIMEOUT] = 90, [AT_CLOSE] = 60,
		[AT_DESTROY] = 60, [AT_ACCEPT] = 90, [AT_COMPLETION] = 30, [AT_TIMER] = 60, [AT_DEFERRED] = 70,
		[AT_POST] = 70,
		[AT_POST_LOOP] = 40, [AT_OUTSIDE] = 100 };
	uint64_t id = self != NULL ? self->sock.id : 0;

	if (w->calm || w->freeing)
		return;
	while (soak_chance(w, times[place])) {
		struct soak_conn *peer = e != NULL && e->other->conn != NULL &&
			soak_is_live(e->other->conn) ? e->other->conn : NULL;

		if (place != AT_CLOSE && place != AT_COMPLETION && self != NULL)
			self = soak_find(w, id);	/* not that it were gone, but closed */
		act_once(w, place, self, peer);
		if (place == AT_OUTSIDE || soak_chance(w, 40))
			break;
	}
}

/* ---- the calm ---- */

void
soak_make_calm(struct soak_world *w)
{
	static const struct sim_options none;
	struct soak_conn *c, *next;

	w->calm = true;
	sim_set_options(w->sim, &none);
	for (c = w->conns.next; c != &w->conns; c = next) {
		next = c->next;
		while (c->holds + c->fd_holds + c->late_fd_holds > 0)
			release_one(c);
		if (!soak_is_live(c))
			continue;
		soak_call(w);
		sconce_resume(&c->sock, SCONCE_PAUSE_APP | SCONCE_PAUSE_RATE);
		sconce_watch_read(&c->sock, true);
		if (!c->plain_table)
			sconce_watch_write(&c->sock, false);
		c->wish_write = false;
		c->paused = 0;
		sconce_set_post_loop(&c->sock, NULL, NULL);
		sconce_timer_stop(&c->timer);
		c->timer_due = 0;
		soak_back(w, 0);
		c->idle_from = sim_now(w->sim);
	}
}
