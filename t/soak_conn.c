/* The soak's socket type: hooks that check what the contract says about themselves, and then do something at random. */
#include "soak.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const struct sconce_sock_ops full_ops, plain_ops;

struct soak_conn *
soak_conn_of(struct sconce_sock *s)
{
	assert(s->ops == &full_ops || s->ops == &plain_ops);
	return SCONCE_CONTAINER_OF(s, struct soak_conn, sock);
}

struct soak_conn *
soak_find(struct soak_world *w, uint64_t id)
{
	struct sconce_sock *s = id != 0 ? sconce_find(w->loop, id) : NULL;

	return s != NULL && (s->ops == &full_ops || s->ops == &plain_ops) ? soak_conn_of(s) : NULL;
}

/* ---- around every hook ---- */

static void
enter(struct soak_world *w, enum soak_place place)
{
	soak_must(w, w->in_call == 0, "%s ran inside a call", soak_places[place]);
	soak_must(w, w->place == AT_OUTSIDE, "%s ran inside a hook", soak_places[place]);
	w->place = place;
	w->hooks++;
}

static void
leave(struct soak_world *w)
{
	w->place = AT_OUTSIDE;
}

/* An event hook. */
static struct soak_conn *
begin(struct sconce_sock *s, enum soak_place place)
{
	struct soak_conn *c = soak_conn_of(s);

	enter(c->w, place);
	soak_trace(c->w, "conn %d fd %d", c->number, s->fd);
	soak_must(c->w, !s->closed, "conn %d: a hook after close", c->number);
	soak_must(c->w, c->closes == 0, "conn %d: a hook after event_close", c->number);
	soak_must(c->w, !c->ending, "conn %d: a hook after sconce_close_flush", c->number);
	soak_must(c->w, c->connect != CONNECTING || place == AT_CONNECT || place == AT_TIMEOUT,
		"conn %d: a hook before event_connect", c->number);
	return c;
}

static void
act_and_leave(struct soak_conn *c)
{
	soak_act(c->w, c->w->place, c, c->end);
	leave(c->w);
}

static void
event_read(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_READ);

	soak_must(c->w, sconce_paused(s) == 0, "conn %d: event_read though reads are paused", c->number);
	soak_must(c->w, !c->source, "conn %d: event_read before the completion of its transfer", c->number);
	c->owed_unread = c->has_read = false;
	c->ready_waits = 0;
	c->w->reading = c;
	soak_read(c, c->w->calm);
	act_and_leave(c);
	c->w->reading = NULL;
}

static void
event_write(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_WRITE);

	soak_must(c->w, c->wish_write, "conn %d: event_write that nobody wished", c->number);
	soak_must(c->w, sconce_queued(s) == 0, "conn %d: event_write with bytes queued", c->number);
	act_and_leave(c);
}

static void
event_err(struct sconce_sock *s, int errnum)
{
	struct soak_conn *c = begin(s, AT_ERR);

	soak_must(c->w, !c->err_told, "conn %d: event_err twice", c->number);
	soak_must(c->w, errnum == EPIPE || errnum == ECONNRESET || errnum == EIO || errnum == ENODATA ||
		errnum == ENOBUFS ||
		errnum == ECANCELED, "conn %d: event_err(%d)", c->number, errnum);
	soak_must(c->w, errnum == s->errnum, "conn %d: event_err(%d), errnum %d", c->number, errnum, s->errnum);
	c->err_told = true;
	c->send_failed = true;
	c->high = c->owed_drain = false;
	act_and_leave(c);
}

static void
event_hup(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_HUP);

	soak_must(c->w, !c->hup_told, "conn %d: event_hup twice", c->number);
	c->hup_told = true;
	act_and_leave(c);
}

/* Its queue was cancelled.  Who connects again does so over another wire: somebody may have accepted this one. */
static void
connect_failed(struct soak_conn *c)
{
	struct soak_end *old = c->end, *e = soak_wire(c->w, true);

	soak_must(c->w, c->sock.fd == -1, "conn %d: a failed connect keeps its fd", c->number);
	c->high = c->owed_drain = false;
	c->last_connect = e == NULL;
	if (e == NULL) {
		old->lost += old->known;
		old->known = 0;
		old->seg_count = 0;
		return;
	}
	e->lost = old->lost + old->known;
	e->veiled = e->other->veiled = c->transport;
	e->conn = c;
	c->end = e;
	old->conn = NULL;
	old->gone = old->ended = old->other->got_vague = true;
}

static void
event_connect(struct sconce_sock *s, int errnum)
{
	struct soak_conn *c = begin(s, AT_CONNECT);

	soak_must(c->w, c->connect == CONNECTING, "conn %d: event_connect without a connect", c->number);
	c->connect = errnum == 0 ? NOT_CONNECTING : CONNECT_FAILED;
	c->connect_errnum = errnum;
	c->idle_from = sim_now(c->w->sim);	/* reads begin */
	if (errnum != 0 && c->accepted)
		c->high = c->owed_drain = false;	/* it is closed next */
	else if (errnum != 0)
		connect_failed(c);
	act_and_leave(c);
}

static void
event_low(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_LOW);

	soak_must(c->w, c->high, "conn %d: event_low without event_high", c->number);
	soak_must(c->w, sconce_queued(s) <= c->low_set, "conn %d: event_low above the low mark", c->number);
	c->high = false;
	act_and_leave(c);
}

static void
event_high(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_HIGH);

	soak_must(c->w, !c->high, "conn %d: event_high twice", c->number);
	soak_must(c->w, sconce_queued(s) > c->high_set,
		"conn %d: event_high with %llu bytes queued, its mark is %llu", c->number,
		(unsigned long long)sconce_queued(s), (unsigned long long)c->high_set);
	c->high = true;
	c->low_mark = c->low_set;
	act_and_leave(c);
}

static void
event_drain(struct sconce_sock *s)
{
	struct soak_conn *c = begin(s, AT_DRAIN);

	soak_must(c->w, sconce_queued(s) == 0, "conn %d: event_drain with bytes queued", c->number);
	c->owed_drain = false;
	act_and_leave(c);
}

static void
event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind)
{
	struct soak_conn *c = begin(s, AT_TIMEOUT);
	int64_t now = sim_now(c->w->sim);

	if (kind == SCONCE_TIMEOUT_INPUT) {
		soak_must(c->w, c->idle_for != 0 && (sconce_watching(s) & SCONCE_READ) &&
			now - c->idle_since >= c->idle_for,
			"conn %d: its input timeout is early", c->number);
		c->idle_for = 0;
		sconce_set_timeout(s, kind, 0);
	} else if (kind == SCONCE_TIMEOUT_LIFETIME || kind == SCONCE_TIMEOUT_ALARM) {
		soak_must(c->w, c->timeout_set[kind] != 0 && now >= c->timeout_set[kind] - 2000,
			"conn %d: its timeout %d is early or was not set", c->number, kind);
		c->timeout_set[kind] = 0;
	} else {
		/* What a transport has to say at the end of sending is output too. */
		soak_must(c->w, kind == SCONCE_TIMEOUT_OUTPUT &&
			(sconce_queued(s) > 0 || (c->transport && c->end->ended)),
			"conn %d: timeout %d", c->number, kind);
	}
	act_and_leave(c);
}

/* ---- the end ---- */

/* What was accepted went, or is counted. */
static void
check_unsent(struct soak_conn *c)
{
	const struct soak_end *e = c->end;
	uint64_t taken = e->taken, sum = taken + c->sock.unsent;

	if (e->vague || c->relayed)
		return;
	for (int i = 0; i < e->seg_count; i++)
		if (e->segs[i].open) {		/* its bytes are in neither or both, its rest in none */
			soak_must(c->w, sum >= e->known + e->lost,
				"conn %d: %llu accepted, %llu sent, %llu unsent", c->number,
				(unsigned long long)(e->known + e->lost), (unsigned long long)taken,
				(unsigned long long)c->sock.unsent);
			return;
		}
	soak_must(c->w, sum == e->known + e->lost, "conn %d: %llu accepted, %llu sent, %llu unsent", c->number,
		(unsigned long long)(e->known + e->lost), (unsigned long long)taken,
		(unsigned long long)c->sock.unsent);
	if (c->ending && c->sock.reason == SCONCE_REASON_LOCAL && c->sock.errnum == 0)
		soak_must(c->w, c->sock.unsent == e->lost, "conn %d: sconce_close_flush lost %llu bytes", c->number,
			(unsigned long long)c->sock.unsent);
}

static void
event_close(struct sconce_sock *s)
{
	struct soak_conn *c = soak_conn_of(s);
	struct soak_world *w = c->w;

	enter(w, AT_CLOSE);
	soak_trace(w, "conn %d fd %d reason %d errnum %d unsent %llu", c->number, s->fd, s->reason, s->errnum,
		(unsigned long long)s->unsent);
	soak_must(w, s->closed && s->reason != SCONCE_REASON_NONE, "conn %d: event_close while open", c->number);
	soak_must(w, ++c->closes == 1, "conn %d: event_close twice", c->number);
	soak_must(w, c->fd_holds == 0 || w->freeing, "conn %d: event_close in spite of sconce_hold_fd", c->number);
	if (c->close_order != 0 && !c->ever_held) {
		soak_must(w, c->close_order > w->close_told,
			"conn %d: closes are not said in the order they were made", c->number);
		w->close_told = c->close_order;
	}
	if (s->fd >= 0) {
		c->end->taken = soak_taken(w, c->end);
		c->end->given = sim_given(w->sim, s->fd);
	}
	if (s->reason != SCONCE_REASON_DETACH) {
		check_unsent(c);
		c->end->ended = true;
	}
	c->timer_due = 0;
	act_and_leave(c);
}

static void
destroy(struct sconce_sock *s)
{
	struct soak_conn *c = soak_conn_of(s);
	struct soak_world *w = c->w;
	struct soak_end *e = c->end;

	enter(w, AT_DESTROY);
	soak_trace(w, "conn %d", c->number);
	soak_must(w, c->closes == 1, "conn %d: destroy before event_close", c->number);
	soak_must(w, c->holds + c->fd_holds + c->late_fd_holds == 0 || w->freeing,
		"conn %d: destroy in spite of a hold", c->number);
	soak_must(w, c->waiting.head == NULL && c->refused.head == NULL,
		"conn %d: destroy before its completions", c->number);
	if (e->conn == c) {
		e->conn = NULL;
		e->gone = true;
	}
	c->next->prev = c->prev;
	c->prev->next = c->next;
	w->conn_count--;
	memset(c, 0xee, sizeof(*c));
	free(c);
	soak_act(w, AT_DESTROY, NULL, e);
	leave(w);
}

static const struct sconce_sock_ops full_ops = {
	.name = "soak", .event_read = event_read, .event_write = event_write, .event_err = event_err,
	.event_hup = event_hup,
	.event_connect = event_connect, .event_low = event_low, .event_high = event_high, .event_drain = event_drain,
	.event_timeout = event_timeout, .event_close = event_close, .destroy = destroy,
};

/* One that relies on the defaults. */
static const struct sconce_sock_ops plain_ops = {
	.name = "plain", .event_read = event_read, .event_low = event_low, .event_high = event_high,
	.event_drain = event_drain,
	.event_close = event_close, .destroy = destroy,
};

/* ---- completions ---- */

void
soak_pend_add(struct soak_conn *c, struct soak_pend *p, int r)
{
	struct soak_pends *list = r >= 0 ? &c->waiting : &c->refused;

	p->conn = c;
	p->result = r;
	p->failed = sim_failed(c->w->sim);
	p->next = NULL;
	*list->tail = p;
	list->tail = &p->next;
}

/* The length of a direction has changed by that of a segment. */
static void
seg_closed(struct soak_conn *c, struct soak_pend *p, uint64_t more, uint64_t less)
{
	c->end->known += more - less;
	for (struct soak_pend *later = p->next; later != NULL; later = later->next)
		later->need += more - less;
}

/* A transfer has brought `n` bytes. */
static void
seg_has(struct soak_conn *c, struct soak_pend *p, uint64_t n)
{
	p->seg->open = false;
	p->seg->len = n;
	seg_closed(c, p, n, 0);
	p->need += n;
}

/* Its source was closed: what that had received goes on to where it was for. */
static void
transfer_closed(struct soak_conn *c, struct soak_pend *p)
{
	struct soak_end *from = p->src;
	uint64_t n = soak_given(c->w, from) - p->seg->at;

	soak_trace(c->w, "conn %d: %llu bytes came of a source that was closed", c->number, (unsigned long long)n);
	from->got += n;
	seg_has(c, p, n);
}

/* A transfer is over: how much went is known, or never will be. */
static void
transfer_over(struct soak_conn *c, struct soak_pend *p, int status)
{
	struct soak_conn *src = soak_find(c->w, p->src_id);
	struct soak_end *from = p->src;
	bool over = status == 0 || status == -ENODATA;
	uint64_t n;

	if (src != NULL) {
		src->source = false;
		src->idle_from = sim_now(c->w->sim);
	}
	if (src == NULL && !over && p->exact && !from->got_vague && !c->sock.closed && c->sock.errnum == 0) {
		transfer_closed(c, p);
		return;
	}
	if (src == NULL || !over) {
		c->end->vague = from->got_vague = true;
		return;
	}
	n = sconce_transferred(&src->sock);
	soak_must(c->w, status != 0 || p->max == SCONCE_TO_END || n == p->max,
		"conn %d: a transfer of %llu told %llu", c->number,
		(unsigned long long)p->max, (unsigned long long)n);
	seg_has(c, p, n);
	if (!from->got_vague)
		from->got += n;
	if ((status == -ENODATA || p->max == SCONCE_TO_END) && !from->end_met)
		soak_end_met(c->w, from, src->sock.errnum != 0);
}

/* A file that ended early. */
static void
file_over(struct soak_conn *c, struct soak_pend *p, int status)
{
	uint64_t less = p->seg->len - p->max;

	if (status != -EIO || p->seg->open)
		return;
	p->seg->len = p->max;
	p->need -= less;
	seg_closed(c, p, 0, less);
}

static void
check_status(struct soak_world *w, const struct soak_conn *c, const struct soak_pend *p, int status)
{
	bool early = p->seg != NULL && p->src == NULL;

	if (p->relay && p->result >= 0)
		return;				/* it may come from either socket */
	if (p->result < 0) {
		soak_must(w, status == p->result,
			"conn %d: a call gave %d, its completion %d", c->number, p->result, status);
		return;
	}
	if (status == 0)
		soak_must(w, !early, "conn %d: a file that ends early was told 0", c->number);
	else if (status == -ECANCELED)
		soak_must(w, c->sock.closed || p->src != NULL || c->sock.errnum == ECANCELED,
			"conn %d: -ECANCELED while open",
			c->number);
	else
		soak_must(w, p->src != NULL || (early && status == -EIO) || c->sock.errnum == -status ||
			c->connect_errnum == -status || (c->ending && c->connect == CONNECTING),
			"conn %d: completion with status %d", c->number, status);
}

/* Calls that were refused are told in any order: with too little memory they wait in another list. */
static bool
pend_remove(struct soak_pends *list, struct soak_pend *p)
{
	struct soak_pend **at = &list->head;

	while (*at != NULL && *at != p)
		at = &(*at)->next;
	if (*at == NULL)
		return false;
	*at = p->next;
	if (*at == NULL)
		list->tail = at;
	return true;
}

void
soak_done(struct sconce_sock *s, void *arg, int status)
{
	struct soak_pend *p = arg;
	struct soak_conn *c = soak_conn_of(s);
	struct soak_world *w = c->w;

	enter(w, AT_COMPLETION);
	soak_trace(w, "conn %d status %d", c->number, status);
	soak_must(w, p->conn == c, "conn %d: a completion of another socket, or told twice", c->number);
	soak_must(w, p->relay || p->result < 0 || c->waiting.head == p,
		"conn %d: completions are not in order", c->number);
	check_status(w, c, p, status);
	if (p->relay) {
		w->relays--;
		c->relays--;
		c->relayed = true;
	} else if (p->src != NULL && p->result >= 0) {
		transfer_over(c, p, status);
	} else if (p->seg != NULL && p->result >= 0) {
		file_over(c, p, status);
	}
	if (status == 0 && p->result >= 0 && !c->end->vague && !c->relayed && s->fd >= 0)
		soak_must(w, soak_taken(w, c->end) >= p->need,
			"conn %d: a completion says %llu bytes went, the kernel has %llu",
			c->number, (unsigned long long)p->need, (unsigned long long)soak_taken(w, c->end));
	if (!p->relay)
		soak_must(w, pend_remove(p->result >= 0 ? &c->waiting : &c->refused, p),
			"conn %d: a completion twice", c->number);
	p->conn = NULL;
	free(p);
	w->completions++;
	soak_act(w, AT_COMPLETION, c, c->end);
	leave(w);
}

/* ---- objects ---- */

struct soak_conn *
soak_conn_new(struct soak_world *w, struct soak_end *e, int fd, int *error_out)
{
	struct soak_conn *c = calloc(1, sizeof(*c));
	int r;

	soak_must(w, c != NULL, "no memory for the soak itself");
	c->w = w;
	c->end = e;
	c->number = w->next_number++;
	c->waiting.tail = &c->waiting.head;
	c->refused.tail = &c->refused.head;
	c->low_set = w->low_mark;
	c->high_set = w->high_mark;
	c->plain_table = fd >= 0 && !e->veiled && soak_chance(w, 15);	/* nobody would tell it of its connect */
	w->in_call++;
	r = sconce_sock_init(&c->sock, w->loop, c->plain_table ? &plain_ops : &full_ops, fd);
	w->in_call--;
	if (error_out != NULL)
		*error_out = r;
	if (r < 0) {
		soak_must(w, r == -ENOMEM, "sconce_sock_init: %d", r);
		free(c);
		return NULL;
	}
	soak_trace(w, "new conn %d fd %d, end %d", c->number, fd, e->index);
	sconce_timer_init(&c->timer, w->loop, soak_timer_fired, c);
	c->next = w->conns.next;
	c->prev = &w->conns;
	c->next->prev = c;
	w->conns.next = c;
	w->conn_count++;
	w->sockets++;
	e->conn = c;
	e->fd = -1;
	return c;
}

/* ---- listening ---- */

/* The end that the connection is for: its other one has connected, or is gone already. */
static struct soak_end *
end_for(struct soak_world *w, int fd)
{
	int other = sim_other(w->sim, fd);
	struct soak_end *e;

	for (int i = 0; i < w->end_count; i++) {
		e = w->ends[i];
		if (other >= 0 && ((e->conn != NULL && e->conn->sock.fd == other) || e->fd == other))
			return e->other;
	}
	return NULL;
}

static int
listener_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct soak_world *w = SCONCE_CONTAINER_OF(l, struct soak_world, listener);
	struct soak_end *e = end_for(w, fd);
	struct soak_conn *c;
	int r = -ECONNREFUSED;

	enter(w, AT_ACCEPT);
	soak_trace(w, "fd %d, end %d", fd, e != NULL ? e->index : -1);
	soak_must(w, peer->len > 0, "accept without an address");
	c = e != NULL && w->conn_count < SOAK_CONNS && !soak_chance(w, 5) ? soak_conn_new(w, e, fd, &r) : NULL;
	if (c == NULL && e != NULL)
		e->gone = e->ended = true;
	if (c != NULL) {
		r = 0;
		if (soak_chance(w, 30)) {
			w->in_call++;
			sconce_listener_count(l, &c->sock);
			w->in_call--;
		}
		if (e->veiled && !soak_veil(c, true))
			soak_close(c);
	}
	soak_act(w, AT_ACCEPT, c, e);
	leave(w);
	return r;
}

static void
listener_fail(struct sconce_listener *l, const struct sconce_fail *fail)
{
	struct soak_world *w = SCONCE_CONTAINER_OF(l, struct soak_world, listener);

	soak_must(w, w->in_call == 0, "event_fail ran inside a call");
	soak_must(w, fail->errnum == EMFILE || fail->errnum == ENOMEM || fail->errnum == ECONNABORTED ||
		fail->errnum == EINTR,
		"event_fail: %s", fail->text);
}

static void
listener_close(struct sconce_listener *l)
{
	struct soak_world *w = SCONCE_CONTAINER_OF(l, struct soak_world, listener);

	soak_must(w, w->listening, "the listener's event_close twice");
	w->listening = false;
	soak_trace(w, "listener closes");
}

static void
listener_destroy(struct sconce_listener *l)
{
	struct soak_world *w = SCONCE_CONTAINER_OF(l, struct soak_world, listener);

	soak_must(w, !w->listening && w->listener_used, "the listener's destroy before its event_close");
	w->listener_used = false;
}

const struct sconce_listener_ops soak_listener_ops = {
	.name = "soak-listener", .accept = listener_accept, .event_fail = listener_fail, .event_close = listener_close,
	.destroy = listener_destroy,
};

/* ---- calls that are not a socket's ---- */

void
soak_timer_fired(struct sconce_timer *t, void *arg)
{
	struct soak_conn *c = arg;
	struct soak_world *w = c->w;

	(void)t;
	enter(w, AT_TIMER);
	soak_trace(w, "of conn %d", c->number);
	soak_must(w, !c->sock.closed && c->closes == 0, "conn %d: its bound timer fires after close", c->number);
	soak_must(w, c->timer_due != 0 && sim_now(w->sim) >= c->timer_due - 2000,
		"conn %d: its timer is early, or stopped",
		c->number);
	c->timer_due = c->timer_every != 0 ? c->timer_due + c->timer_every : 0;
	while (c->timer_every != 0 && c->timer_due <= sim_now(w->sim))
		c->timer_due += c->timer_every;
	soak_act(w, AT_TIMER, c->ending ? NULL : c, c->end);
	leave(w);
}

static void
later_run(struct soak_later *x, enum soak_place place, int status, uint64_t *told)
{
	struct soak_world *w = x->w;
	struct soak_conn *c = soak_find(w, x->id);
	bool gone = x->bound && (c == NULL || c->ending);

	enter(w, place);
	soak_must(w, x->order == ++*told, "calls do not run in the order they were made");
	soak_must(w, status == (gone || w->freeing ? -ECANCELED : 0), "a call was told %d", status);
	free(x);
	soak_act(w, place, c, c != NULL ? c->end : NULL);
	leave(w);
}

void
soak_deferred(struct sconce_loop *loop, void *arg, int status)
{
	struct soak_later *x = arg;

	(void)loop;
	later_run(x, AT_DEFERRED, status, &x->w->defer_told);
}

void
soak_posted(struct sconce_loop *loop, void *arg, int status)
{
	struct soak_later *x = arg;

	(void)loop;
	later_run(x, AT_POST, status, &x->w->post_told);
}

/* ---- post-loop callbacks ---- */

bool
soak_post_loop(struct sconce_loop *loop, void *arg)
{
	struct soak_world *w = arg;
	struct soak_conn *c = soak_some_conn(w);

	(void)loop;
	enter(w, AT_POST_LOOP);
	if (c == &w->conns)
		soak_act(w, AT_POST_LOOP, NULL, NULL);
	else
		soak_act(w, AT_POST_LOOP, soak_is_live(c) ? c : NULL, c->end);
	leave(w);
	return !soak_chance(w, 10);
}

bool
soak_sock_post_loop(struct sconce_sock *s, void *arg)
{
	struct soak_conn *c = soak_conn_of(s);

	(void)arg;
	enter(c->w, AT_POST_LOOP);
	soak_must(c->w, !s->closed && !c->ending, "conn %d: its post-loop callback after close", c->number);
	soak_act(c->w, AT_POST_LOOP, c, c->end);
	leave(c->w);
	return !soak_chance(c->w, 10);
}
