/* The soak's model: which bytes each direction of each wire carries, what a wait may not leave undone, how a failure
 * is told.
 *
 * Every byte that is written comes from one table of random bytes, so a received piece is checked by comparing
 * memory.  A direction is a list of segments: pieces of the table, and pieces of what another end received
 * (transfers). */
#include "soak.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

const char *const soak_places[SOAK_PLACES] = {
	"event_read", "event_write", "event_err", "event_hup", "event_connect", "event_low", "event_high",
	"event_drain", "event_timeout", "event_close", "destroy", "accept", "completion", "timer", "deferred", "post",
	"post-loop", "outside"
};
const char *const soak_whats[SOAK_WHATS] = {
	"close self", "close peer", "close third", "write", "pause", "shutdown", "detach", "hold", "no memory"
};

unsigned char soak_table[SOAK_TABLE];

/* Never 0, so that printf can write it. */
void
soak_table_fill(void)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < SOAK_TABLE; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		soak_table[i] = (unsigned char)(1 + (x >> 32) % 255);
	}
}

unsigned
soak_random(struct soak_world *w, unsigned n)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(w->random >> 33) % n;
}

bool
soak_chance(struct soak_world *w, unsigned percent)
{
	return soak_random(w, 100) < percent;
}

void
soak_fail(struct soak_world *w, const char *format, ...)
{
	va_list ap;

	printf("seed %llu, turn %llu, in %s: ", (unsigned long long)w->seed, (unsigned long long)w->turn,
		soak_places[w->place]);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\nreplay: %s --seed %llu --trace\n", program_invocation_name, (unsigned long long)w->seed);
	printf("soak: 0 passed, 1 failed\n");
	fflush(stdout);
	exit(1);
}

void
soak_trace(struct soak_world *w, const char *format, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	printf("%6llu %-13s ", (unsigned long long)w->turn, soak_places[w->place]);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

/* ---- directions ---- */

static struct soak_end *
end_new(struct soak_world *w, bool tcp)
{
	struct soak_end *e = calloc(1, sizeof(*e));

	soak_must(w, e != NULL, "no memory for the soak itself");
	e->index = w->end_count;
	e->fd = -1;
	e->tcp = tcp;
	e->own = soak_random(w, SOAK_TABLE - SOAK_SHARE);
	e->own_end = e->own + SOAK_SHARE;
	e->level = (int)soak_random(w, 4);
	w->ends[w->end_count++] = e;
	return e;
}

struct soak_end *
soak_wire(struct soak_world *w, bool tcp)
{
	struct soak_end *a, *b;

	if (w->end_count + 2 > SOAK_ENDS)
		return NULL;
	a = end_new(w, tcp);
	b = end_new(w, tcp);
	a->other = b;
	b->other = a;
	return a;
}

struct soak_seg *
soak_sent(struct soak_end *e, const struct soak_end *from, uint64_t at, uint64_t len, bool open)
{
	struct soak_seg *last = e->seg_count > 0 ? &e->segs[e->seg_count - 1] : NULL;

	if (!open)
		e->known += len;
	if (last != NULL && from == NULL && last->from == NULL && !open && !last->open && last->at + last->len == at) {
		last->len += len;
		return last;
	}
	if (e->seg_count == SOAK_SEGS)
		return NULL;
	e->segs[e->seg_count] = (struct soak_seg){ .from = from, .at = at, .len = open ? UINT64_MAX / 2 : len,
		.open = open };
	return &e->segs[e->seg_count++];
}

/* How much of `len` bytes is right, within one segment. */
static size_t
seg_is(const struct soak_seg *g, uint64_t off, const unsigned char *data, size_t len)
{
	size_t part = g->len - off < len ? (size_t)(g->len - off) : len;

	if (g->unknown)
		return part;
	if (g->from != NULL)
		return soak_is(g->from->other, g->at + off, data, part) ? part : 0;
	return memcmp(soak_table + g->at + off, data, part) == 0 ? part : 0;
}

bool
soak_is(const struct soak_end *e, uint64_t pos, const unsigned char *data, size_t len)
{
	for (int i = 0; i < e->seg_count && len > 0; i++) {
		const struct soak_seg *g = &e->segs[i];
		size_t part;

		if (pos >= g->len) {
			pos -= g->len;
			continue;
		}
		if (g->open && e->vague)
			return true;		/* a transfer ended somewhere in here: what follows has no place */
		part = seg_is(g, pos, data, len);
		if (part == 0)
			return false;
		pos = 0;
		data += part;
		len -= part;
	}
	return len == 0;
}

void
soak_received(struct soak_world *w, struct soak_end *e, const void *data, size_t len, const char *how)
{
	soak_must(w, !e->end_met || e->shut_rd, "end %d: bytes behind the end of input, by %s", e->index, how);
	if (!e->got_vague)
		soak_must(w, soak_is(e->other, e->got, data, len),
			"end %d: %zu bytes by %s, at %llu, are not what was written", e->index, len, how,
			(unsigned long long)e->got);
	e->got += len;
}

uint64_t
soak_taken(const struct soak_world *w, const struct soak_end *e)
{
	if (e->gone)
		return e->taken;
	if (e->conn != NULL)
		return e->conn->sock.fd >= 0 ? sim_taken(w->sim, e->conn->sock.fd) - e->extra : e->taken;
	return e->fd >= 0 ? sim_taken(w->sim, e->fd) : e->taken;
}

uint64_t
soak_given(const struct soak_world *w, const struct soak_end *e)
{
	return e->conn != NULL && e->conn->sock.fd >= 0 ? sim_given(w->sim, e->conn->sock.fd) : e->given;
}

/* Offered, and not wanted: pushed back, or left in the transport by a hook that did not read. */
static size_t
pushed_back(const struct soak_end *e)
{
	return e->conn != NULL ? sconce_unread_bytes(&e->conn->sock) + soak_veil_pending(e->conn) : 0;
}

/* The end is where the other one stopped, and nothing on the way is missing. */
void
soak_end_met(struct soak_world *w, struct soak_end *e, bool error_told)
{
	/* Bytes that were pushed back in vain are behind the end that was told, and can still be read. */
	size_t left = pushed_back(e);

	e->end_met = left == 0;
	if (e->shut_rd || error_told)
		return;
	soak_must(w, e->other->ended || e->other->gone, "end %d: an end of input that nobody sent", e->index);
	if (!e->got_vague)
		soak_must(w, e->got + left == soak_taken(w, e->other),
			"end %d: %llu bytes before the end of input, the kernel had %llu",
			e->index, (unsigned long long)e->got, (unsigned long long)soak_taken(w, e->other));
}

/* ---- before a wait ---- */

static bool
is_open(const struct soak_conn *c)
{
	return c->connect == NOT_CONNECTING && c->sock.fd >= 0;
}

/* Whether a transfer waits in its queue: its bytes are not there yet, and need not be. */
static bool
has_transfer(const struct soak_conn *c)
{
	for (const struct soak_pend *p = c->waiting.head; p != NULL; p = p->next)
		if (p->relay || (p->seg != NULL && p->seg->open))
			return true;
	return c->relayed;
}

static void
check_closed(struct soak_world *w, const struct soak_conn *c)
{
	if (c->closes == 0)
		soak_must(w, c->fd_holds > 0, "conn %d: a turn sleeps with its close pending", c->number);
	else
		soak_must(w, c->holds + c->fd_holds + c->late_fd_holds + c->relays > 0,
			"conn %d: a turn sleeps with its destroy pending", c->number);
}

/* What the fd is watched for, of that which its reads or writes wait for. */
static unsigned
watched_for(const struct soak_conn *c, bool reads)
{
	unsigned events = reads ? SCONCE_READ : SCONCE_WRITE;

	if (soak_veil_waits(c, reads))
		events = SCONCE_READ | SCONCE_WRITE;
	return sim_armed(c->w->sim, c->sock.fd) & events;
}

static void
check_output(struct soak_world *w, const struct soak_conn *c)
{
	const struct sconce_sock *s = &c->sock;
	unsigned armed = watched_for(c, false);
	const struct soak_pend *p = c->waiting.head;

	if (has_transfer(c))
		return;
	if (sconce_queued(s) > 0)
		soak_must(w, armed, "conn %d: %llu bytes are queued and nobody watches", c->number,
			(unsigned long long)sconce_queued(s));
	else if (sconce_queued_items(s) == 0 && !c->wish_write && !c->transport)
		soak_must(w, !armed, "conn %d: the write watch is on and nothing is queued", c->number);
	if (c->high && !c->ending && s->errnum == 0)
		soak_must(w, sconce_queued(s) > c->low_mark,
			"conn %d: below the low mark, and no event_low", c->number);
	/* With too little memory it may wait for what is behind it. */
	if (p != NULL && p->seg == NULL && !c->end->vague)
		soak_must(w, soak_taken(w, c->end) < (sim_failed(w->sim) > p->failed ? c->end->known : p->need),
			"conn %d: a turn sleeps with a completion due", c->number);
}

static void
check_input(struct soak_world *w, const struct soak_conn *c)
{
	const struct sconce_sock *s = &c->sock;

	if (sconce_watching(s) & SCONCE_READ)
		soak_must(w, watched_for(c, true), "conn %d: reads are wished and not watched", c->number);
	/* As with pushed-back bytes: a hook that did not even read is not asked again. */
	soak_must(w, soak_veil_pending(c) == 0 || sconce_paused(s) != 0 || !c->has_read,
		"conn %d: a turn sleeps with bytes in the transport",
		c->number);
	if (c->owed_unread && sconce_paused(s) == 0 && sconce_unread_bytes(s) > 0)
		soak_fail(w, "conn %d: a turn sleeps with pushed-back input to offer", c->number);
}

/* Nobody else sets or lifts the application's reasons, and a source is one until its completion has run. */
static void
check_paused(struct soak_world *w, const struct soak_conn *c)
{
	enum { OURS = SCONCE_PAUSE_WISH | SCONCE_PAUSE_APP | SCONCE_PAUSE_RATE };
	unsigned why = sconce_paused(&c->sock);

	soak_must(w, (why & OURS) == c->paused, "conn %d: paused for %#x, asked for %#x", c->number, why, c->paused);
	soak_must(w, c->relayed || c->ending || !(why & SCONCE_PAUSE_FLOW) == !c->source,
		"conn %d: paused for %#x, %sa source", c->number,
		why, c->source ? "" : "not ");
}

/* Called in every wait, also one that does not sleep. */
static void
check_starved(struct soak_world *w, struct soak_conn *c)
{
	const struct sconce_sock *s = &c->sock;
	/* A wait for the other direction ends with an event_read, also with one that does not read. */
	unsigned events = soak_veil_waits(c, true) ? SCONCE_READ | SCONCE_WRITE : SCONCE_READ;

	if (!is_open(c) || s->closed || sconce_paused(s) != 0 || (sim_ready(w->sim, s->fd) & events) != events) {
		c->ready_waits = 0;
		return;
	}
	soak_must(w, ++c->ready_waits < 8, "conn %d: readable, watched, and not called in 8 turns", c->number);
}

static void
check_times(struct soak_world *w, const struct soak_conn *c, int64_t deadline)
{
	enum { SLACK = 2000 };		/* seconds in a double */

	if (c->timer_due != 0)
		soak_must(w, deadline <= c->timer_due + SLACK, "conn %d: a wait longer than its timer", c->number);
	for (int kind = SCONCE_TIMEOUT_LIFETIME; kind <= SCONCE_TIMEOUT_ALARM; kind++)
		if (c->timeout_set[kind] != 0 && !c->sock.closed && !c->ending && !c->plain_table)
			soak_must(w, deadline <= c->timeout_set[kind] + SLACK,
				"conn %d: a wait longer than its timeout %d",
				c->number, kind);
	if (c->idle_for != 0 && !c->relayed && !c->plain_table && !c->sock.closed && !c->ending &&
	    sconce_paused(&c->sock) == 0 && is_open(c)) {
		int64_t bound = c->idle_for / 64 > 16000000 ? c->idle_for / 64 : 16000000;

		soak_must(w, deadline <= c->idle_from + c->idle_for + bound + 2000000,
			"conn %d: a wait %lld ns longer than its input timeout",
			c->number, (long long)(deadline - c->idle_from - c->idle_for));
	}
}

void
soak_on_wait(int64_t deadline, int64_t now, void *arg)
{
	struct soak_world *w = arg;
	bool sleeps = deadline > now;

	w->turn++;
	if (sim_violations(w->sim) > 0)
		soak_fail(w, "%s", sim_violation(w->sim));
	for (struct soak_conn *c = w->conns.next; c != &w->conns; c = c->next) {
		if (sleeps && c->sock.closed)
			check_closed(w, c);
		check_starved(w, c);
		if (!c->sock.closed)
			check_paused(w, c);
		if (!sleeps || c->sock.closed)
			continue;
		check_times(w, c, deadline);
		if (c->connect == CONNECTING && !c->ending && c->sock.fd >= 0)
			soak_must(w, sim_armed(w->sim, c->sock.fd),
				"conn %d: it connects, and nobody watches", c->number);
		if (!is_open(c))
			continue;
		check_output(w, c);
		if (!c->ending)
			check_input(w, c);
	}
	if (!sleeps)
		return;
	w->sleeps++;
	soak_must(w, w->defer_order == w->defer_told, "a turn sleeps with deferred calls pending");
	soak_must(w, w->post_order == w->post_told, "a turn sleeps with posted calls pending");
}

/* ---- after the calm ---- */

static bool
reads_all(const struct soak_end *e)
{
	const struct soak_conn *c = e->conn;

	if (c == NULL)
		return e->fd >= 0;
	/* A transport whose reads wait for the fd to be writable does so until somebody reads at the other end. */
	return is_open(c) && soak_is_live(c) && sconce_paused(&c->sock) == 0 && !soak_veil_waits(c, true);
}

/* Whether a transfer's or relay's length is not known. */
static bool
has_open(const struct soak_end *e)
{
	for (int i = 0; i < e->seg_count; i++)
		if (e->segs[i].open)
			return true;
	return false;
}

static void
check_arrived(struct soak_world *w, struct soak_conn *c)
{
	struct soak_end *e = c->end;
	const struct sconce_sock *s = &c->sock;

	if (s->closed || !is_open(c) || c->send_failed || s->errnum != 0 || has_transfer(c) || !reads_all(e->other))
		return;
	soak_must(w, sconce_queued(s) == 0 && c->waiting.head == NULL,
		"conn %d: %llu bytes still wait though the peer reads",
		c->number, (unsigned long long)sconce_queued(s));
	soak_must(w, !c->owed_drain || c->ending, "conn %d: no event_drain after SCONCE_QUEUED", c->number);
	soak_must(w, !c->high || c->ending, "conn %d: no event_low after event_high", c->number);
	if (e->vague || has_open(e))
		return;
	soak_must(w, soak_taken(w, e) == e->known, "conn %d: %llu bytes were accepted, the kernel has %llu", c->number,
		(unsigned long long)e->known, (unsigned long long)soak_taken(w, e));
	if (!e->other->got_vague && !e->other->shut_rd)
		soak_must(w, e->other->got + pushed_back(e->other) == e->known,
			 "conn %d: %llu bytes went, %llu were read", c->number,
			(unsigned long long)e->known, (unsigned long long)e->other->got);
}

void
soak_all_arrived(struct soak_world *w)
{
	for (struct soak_conn *c = w->conns.next; c != &w->conns; c = c->next) {
		check_arrived(w, c);
		soak_must(w, !c->accepted || c->connect != CONNECTING || !soak_is_live(c) ||
			c->end->other->conn == NULL,
			"conn %d: its handshake has no end", c->number);
		soak_must(w, c->refused.head == NULL,
			"conn %d: the completion of a refused call did not come", c->number);
	}
}
