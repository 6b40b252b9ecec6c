/* The simulator's loop: the table of struct sconce_backend, and waits that cost no time.
 *
 * A wait collects the sockets that are ready into a batch, as epoll does, and then tells of them in any order: one
 * that was deleted in between is passed over, and so is a new one under the same fd number: places carry serials. */
#include "sim_private.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum { TICK_NS = 20000 };		/* what a turn costs: a loop that never sleeps still gets older */

/* ---- who is watched ---- */

static int
loop_init(struct sconce_loop *loop, void *arg, void **ctx_out)
{
	struct sim *sim = arg;

	sim->loop = loop;
	sim->shared = false;
	*ctx_out = sim;
	return 0;
}

static int
shared_init(struct sconce_loop *loop, void *arg, void **ctx_out)
{
	struct sim *sim = arg;

	sim->loop = loop;
	sim->shared = true;
	*ctx_out = sim;
	return 0;
}

static void
loop_fini(void *ctx)
{
	struct sim *sim = ctx;

	for (size_t i = 0; i < sim->entry_count; i++)
		if (sim->entries[i].s != NULL)
			sim__violate(sim, "fd %d is still added when the loop goes", sim->entries[i].fd);
	sim->entry_count = 0;
	sim->loop = NULL;
	sim->fed_end = sim->fed_turn = sim->each_turn = false;
}

static struct entry *
entry_of(struct sim *sim, struct sconce_sock *s, const char *call)
{
	size_t place = (size_t)(uintptr_t)sconce_backend_slot_of(s)->opaque[0];

	if (place >= 1 && place <= sim->entry_count && sim->entries[place - 1].s == s)
		return &sim->entries[place - 1];
	sim__violate(sim, "%s of a socket that is not added", call);
	return NULL;
}

static int
loop_add(struct sconce_sock *s, void *ctx)
{
	struct sim *sim = ctx;
	size_t i = 0;
	int fd = sconce_fd(s);

	if (sim__chance(sim, sim->o.alloc_fail) || sim->fail_next) {
		sim->fail_next = false;
		sim->failed++;
		return -ENOMEM;
	}
	if (sim__fd(sim, fd, "add") == NULL)
		return -EBADF;
	while (i < sim->entry_count && sim->entries[i].s != NULL)
		i++;
	if (i == SIM_FDS)
		return -ENOMEM;
	if (i == sim->entry_count)
		sim->entry_count++;
	sim->entries[i] = (struct entry){ .s = s, .fd = fd, .serial = ++sim->serial };
	sconce_backend_slot_of(s)->opaque[0] = (void *)(uintptr_t)(i + 1);
	return 0;
}

static void
loop_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	struct entry *e = entry_of(ctx, s, "arm");

	if (e != NULL)
		e->want = events;
}

static void
loop_watch_hup(struct sconce_sock *s, void *ctx)
{
	struct entry *e = entry_of(ctx, s, "watch_hup");

	if (e == NULL)
		return;
	if (e->hup)
		sim__violate(ctx, "watch_hup twice for fd %d", e->fd);
	e->hup = true;
}

static void
loop_del(struct sconce_sock *s, bool handed_on, void *ctx)
{
	struct sim *sim = ctx;
	struct entry *e = entry_of(sim, s, "del");

	if (e == NULL)
		return;
	if (s->closed && !handed_on && sim->in_batch)
		sim->fds[e->fd - SIM_FD_BASE].in_batch = true;
	e->s = NULL;
}

/* ---- what is ready ---- */

/* The edges of hang-ups and errors: what came to hold, or held when something else happened to the socket. */
static unsigned
edges(struct sim *sim, struct entry *e, const struct sim_fd *f, unsigned state)
{
	unsigned holds = state & (SCONCE_HUP | SCONCE_ERR), fresh = holds & ~e->held;
	unsigned edge = f->kind == FD_STREAM ? sim__half(f)->edge : 0;

	if (!e->hup)
		return 0;
	if (edge != e->edge_told || sim__chance(sim, sim->o.hup_again))
		fresh = holds;
	e->held = holds;
	e->edge_told = edge;
	return fresh;
}

static unsigned
events_of(struct sim *sim, struct entry *e)
{
	const struct sim_fd *f = &sim->fds[e->fd - SIM_FD_BASE];
	unsigned state = sim__state(f), events;

	if (state & (SCONCE_HUP | SCONCE_ERR))
		state |= SCONCE_READ | SCONCE_WRITE;	/* as epoll and poll say it */
	if (sim__chance(sim, sim->o.spurious) && f->kind != FD_LISTEN &&
	    !(f->kind == FD_STREAM && f->side == 0 && f->wire->state == CONN_GOING))
		state |= SCONCE_READ | SCONCE_WRITE;
	events = state & e->want;
	if ((events != 0) && !e->left_out && sim__chance(sim, sim->o.cut)) {
		e->left_out = true;
		return 0;
	}
	e->left_out = false;
	return events | edges(sim, e, f, state);
}

static void
shuffle(struct sim *sim, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = sim_random(sim, (unsigned)i);
		struct event t = sim->batch[j];

		sim->batch[j] = sim->batch[i - 1];
		sim->batch[i - 1] = t;
	}
}

static size_t
collect(struct sim *sim)
{
	size_t count = 0;

	sim__wires_advance(sim);
	for (size_t i = 0; i < sim->entry_count; i++) {
		struct entry *e = &sim->entries[i];
		unsigned events = e->s != NULL ? events_of(sim, e) : 0;

		if (events != 0)
			sim->batch[count++] = (struct event){ i, e->serial, events };
	}
	shuffle(sim, count);
	return count;
}

static void
deliver(struct sim *sim, size_t count)
{
	sim->in_batch = true;
	sconce_backend_begin(sim->loop);
	for (size_t i = 0; i < count; i++) {
		struct event v = sim->batch[i];
		struct entry *e = &sim->entries[v.place];

		if (e->s != NULL && e->serial == v.serial)
			sconce_backend_ready(e->s, v.events);
	}
	sim->in_batch = false;
	for (int i = 0; i < SIM_FDS; i++)
		sim->fds[i].in_batch = false;
}

/* ---- a wait ---- */

/* Nothing is ready: the clock jumps. */
static size_t
sleep_until(struct sim *sim, int64_t deadline)
{
	int64_t next = sim__wires_next(sim);

	if (deadline < next)
		next = deadline;
	for (size_t i = 0; i < sim->entry_count; i++)
		if (sim->entries[i].s != NULL && sim->entries[i].left_out)
			next = sim->now;		/* it is ready after all */
	if (next == INT64_MAX)
		sim->stuck++;
	else if (next > sim->now)
		sim->now = next;
	return collect(sim);
}

static size_t
wait_for(struct sim *sim, int64_t deadline)
{
	size_t count;

	sim->waits++;
	if (sim->on_wait != NULL)
		sim->on_wait(deadline, sim->now, sim->on_wait_arg);
	sim->now += TICK_NS;
	count = collect(sim);
	if (count == 0 && !sim->woken && deadline > sim->now)
		count = sleep_until(sim, deadline);
	sim->woken = false;
	return count;
}

static int
loop_run(int64_t deadline, void *ctx)
{
	struct sim *sim = ctx;

	deliver(sim, wait_for(sim, deadline));
	sim->fed_end = sim->fed_turn = false;
	sconce_backend_end(sim->loop);
	return 0;
}

static void
loop_wake(void *ctx)
{
	struct sim *sim = ctx;

	sim->woken = true;
}

static int64_t
loop_now(void *ctx)
{
	struct sim *sim = ctx;

	return sim->now;
}

/* ---- as a loop of the application's ---- */

static void
shared_timer(int64_t deadline, void *ctx)
{
	struct sim *sim = ctx;

	sim->timer = deadline;
}

static void
shared_feed(enum sconce_feed when, void *ctx)
{
	struct sim *sim = ctx;

	if (when == SCONCE_FEED_END)
		sim->fed_end = true;
	else
		sim->fed_turn = true;
}

static void
shared_keep(bool alive, void *ctx)
{
	(void)alive;
	(void)ctx;
}

static void
shared_each_turn(bool on, void *ctx)
{
	struct sim *sim = ctx;

	sim->each_turn = on;
}

/* What was fed before the wait is done before it, as libev does with pending watchers. */
void
sim_app_turn(struct sim *sim)
{
	if (sim->fed_end) {
		sim->fed_end = false;
		sconce_backend_begin(sim->loop);
		sconce_backend_end(sim->loop);
	}
	deliver(sim, wait_for(sim, sim->fed_turn || sim->woken ? sim->now : sim->timer));
	sim->fed_end = sim->fed_turn = false;
	sconce_backend_end(sim->loop);
	if (sim->each_turn)
		sconce_backend_post(sim->loop);
}

/* ---- the tables ---- */

static const struct sconce_backend *
table(bool shared)
{
	static struct sconce_backend tables[2];
	struct sconce_backend *t = &tables[shared];

	if (t->size != 0)
		return t;
	*t = (struct sconce_backend){
		.size = sizeof(*t), .name = "sim", .init = shared ? shared_init : loop_init, .fini = loop_fini,
		.add = loop_add, .arm = loop_arm, .watch_hup = loop_watch_hup, .del = loop_del,
		.run = loop_run, .wake = loop_wake, .now = loop_now,
	};
	if (shared) {
		t->timer = shared_timer;
		t->feed = shared_feed;
		t->keep = shared_keep;
		t->each_turn = shared_each_turn;
	}
	sim__calls(t);
	return t;
}

const struct sconce_backend *
sim_backend(void)
{
	return table(false);
}

const struct sconce_backend *
sim__shared_backend(void)
{
	return table(true);
}
