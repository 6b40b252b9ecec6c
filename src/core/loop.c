/* A loop's life, its turn, post-loop callbacks, deferred calls. */
#include "core.h"

#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	RUN_TURNS = 1000,		/* turns that freeing may take before it gives up on held sockets */
	NEAR_NS = 100 * 1000 * 1000	/* a deadline so near is told to the backend anew in every turn */
};

void *
sconce__zalloc(struct sconce_loop *l, size_t size)
{
	void *p = l_alloc(l, size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

/* ---- wanting turns ---- */

void
sconce__feed(struct sconce_loop *l)
{
	if (l->ending)
		return;			/* what the running steps leave is looked for at their end */
	l->end_wanted = true;
	if (l->depth == 0 && !l->end_fed && l->be->feed != NULL) {
		l->end_fed = true;
		l->be->feed(SCONCE_FEED_END, l->ctx);
	}
}

void
sconce__feed_turn(struct sconce_loop *l)
{
	if (l->turn_wanted)
		return;
	l->turn_wanted = true;
	if (l->be->feed != NULL)
		l->be->feed(SCONCE_FEED_TURN, l->ctx);
}

void
sconce__keep_changed(struct sconce_loop *l)
{
	l->kept = !l->kept;
	if (l->be->keep != NULL)
		l->be->keep(l->kept, l->ctx);
}

void
sconce__keep(struct sconce_loop *l, int change)
{
	l->refs += (size_t)change;
	keep_update(l);
}

static int64_t
next_deadline(const struct sconce_loop *l)
{
	int64_t timers = sconce__timers_next(l), timeouts = sconce__timeouts_next(l);

	return timers < timeouts ? timers : timeouts;
}

void
sconce__deadline_changed(struct sconce_loop *l)
{
	int64_t next;

	if (l->freeing)
		return;
	next = next_deadline(l);
	if (next != l->deadline) {
		l->deadline = next;
		if (l->be->timer != NULL)
			l->be->timer(next, l->ctx);
	}
}

/* ---- the steps ---- */

/* Sockets that used up their share in the turn before go on in this one. */
static void
take_later(struct sconce_loop *l)
{
	struct sconce_sock *s;

	while ((s = l->later.head) != NULL) {
		sconce__list_remove(l, s);
		sconce__list_push(&l->dirty, s);
	}
}

static inline void
set_clock(struct sconce_loop *l, int64_t now)
{
	l->now = now;
	l->now_ms = (now - l->start) / 1000000;
}

void
sconce__read_clock(struct sconce_loop *l)
{
	set_clock(l, l->be->now(l->ctx));
}

HOT void
sconce__begin(struct sconce_loop *l, int64_t now)
{
	l->turn++;
#ifdef SCONCE_DEBUG
	l->thread = pthread_self();		/* an application's loop is run by whoever runs it */
#endif
	set_clock(l, now);
	if (unlikely(l->depth > 0)) {
		l->deadline = INT64_MIN;	/* an application's nested run: timers and the next turn's work wait, */
		l->end_wanted = true;		/* and are asked for again when the outermost dispatch ends */
		return;
	}
	if (unlikely(l->turn_wanted || atomic_load(&l->has_posted))) {
		l->turn_wanted = false;
		take_later(l);
		sconce__feed(l);
	}
	if (likely(l->deadline >= l->now + NEAR_NS))
		return;
	if (sconce__timers_next(l) <= l->now)
		sconce__timers_run(l);
	if (sconce__timeouts_next(l) <= l->now)
		sconce__feed(l);		/* step 5 looks, after the input that waits has been read */
	l->deadline = INT64_MIN;		/* the backend's timer may have gone off, perhaps a little early */
	sconce__deadline_changed(l);
}

void
sconce_backend_begin(struct sconce_loop *l)
{
	sconce__begin(l, l->be->now(l->ctx));
}

/* Closed, or only waiting for its queue to go. */
static bool
is_ended(const struct sconce_sock *s)
{
	return s == NULL || (s->_flags & SCONCE_PAUSE_ENDING);
}

static void
run_calls(struct sconce_loop *l)
{
	struct call_list calls = l->calls;
	struct sconce__call *c;

	if (calls.head == NULL)
		return;
	l->calls.head = NULL;
	l->calls.tail = &l->calls.head;
	*calls.tail = NULL;
	while ((c = calls.head) != NULL) {
		calls.head = c->next;
		if (l->freeing || (c->sock_id != 0 && is_ended(sconce_find(l, c->sock_id))))
			c->status = -ECANCELED;
		sconce__enter(l, NULL);
		CALL_HOOK(l, NULL, "deferred", c->status, c->fn(l, c->arg, c->status));
		sconce__leave(l);
		l_free(l, c);
		sconce__keep(l, -1);
	}
}

static bool
work_left(const struct sconce_loop *l)
{
	return l->dirty.head != NULL || l->later.head != NULL || l->hups.head != NULL || l->closing.head != NULL ||
	    l->unread != NULL || l->calls.head != NULL || l->late != NULL || atomic_load(&l->has_posted);
}

void
sconce_backend_end(struct sconce_loop *l)
{
	l->end_fed = false;
	if (l->depth > 0 || l->ending)
		return;			/* the outermost dispatch feeds again when it ends */
	if (!l->end_wanted)
		return;			/* these steps have been: what is left waits for the next turn */
	l->end_wanted = false;
	l->ending = true;
	sconce__step4(l);
	run_calls(l);
	sconce__late_run(l);
	if (atomic_load(&l->has_posted))
		sconce__post_run(l, 0);
	if (sconce__timeouts_next(l) <= l->now)
		sconce__timeouts_run(l);
	sconce__flush_dirty(l);
	sconce__step6(l);
	l->ending = false;
	if (l->turn_wanted || work_left(l)) {
		l->turn_wanted = false;		/* a nested run may have used up what was fed before */
		sconce__feed_turn(l);
	}
	sconce__deadline_changed(l);
}

/* The sockets' post-loop callbacks, those that were set before this step. */
static bool
post_sockets(struct sconce_loop *l)
{
	bool go_on = true;
	struct sconce_sock *s = l->post_socks, *next;

	for (; s != NULL; s = next) {
		struct sconce__side *side = s->_side;
		bool r = true;

		sconce_hold(s);			/* it may be closed, but its memory stays */
		if (side->post_fn != NULL && side->post_turn != l->turn && !s->closed) {
			side->post_turn = l->turn;	/* once, even if the walk begins again */
			sconce__enter(l, NULL);
			CALL_HOOK(l, s, "post_loop", 0, r = side->post_fn(s, side->post_arg));
			sconce__leave(l);
		}
		next = side->post_prevp != NULL ? side->post_next : l->post_socks;
		sconce_release(s);
		if (!r)
			go_on = false;
	}
	return go_on;
}

static bool
post_loop(struct sconce_loop *l)
{
	size_t n = l->post_count;
	bool go_on = true;

	for (size_t i = 0; i < n && i < l->post_count; i++) {
		struct post_loop p = l->post[i];
		bool r = true;

		if (p.fn == NULL)
			continue;
		sconce__enter(l, NULL);
		CALL_HOOK(l, NULL, "post_loop", 0, r = p.fn(l, p.arg));
		sconce__leave(l);
		if (!r)
			go_on = false;
	}
	return go_on;
}

/* Closes the gaps that removals during step 7 left. */
static void
post_compact(struct sconce_loop *l)
{
	size_t to = 0;

	for (size_t i = 0; i < l->post_count; i++)
		if (l->post[i].fn != NULL)
			l->post[to++] = l->post[i];
	l->post_count = to;
}

static bool
has_post_loops(const struct sconce_loop *l)
{
	return l->post_count > 0 || l->post_socks != NULL;
}

static void
each_turn_update(struct sconce_loop *l)
{
	if (l->be->each_turn != NULL)
		l->be->each_turn(has_post_loops(l), l->ctx);
}

static bool
step7(struct sconce_loop *l)
{
	bool go_on;

	l->step7 = true;
	go_on = post_sockets(l);
	if (!post_loop(l))
		go_on = false;
	l->step7 = false;
	post_compact(l);
	each_turn_update(l);
	return go_on;
}

void
sconce_backend_post(struct sconce_loop *l)
{
	if (!l->running && l->depth == 0 && !l->step7 && has_post_loops(l))
		step7(l);
}

/* ---- running ---- */

static int64_t
seconds_from(int64_t now, double secs)
{
	double ns = ceil(secs * 1e9);

	if (!(ns > 0))
		return now;
	return ns < 9e18 - (double)now ? now + (int64_t)ns : INT64_MAX;
}

static int64_t
turn_deadline(struct sconce_loop *l, double limit)
{
	int64_t deadline, at;

	if (l->turn_wanted || l->end_wanted || atomic_load(&l->has_posted))
		return 0;			/* whoever makes work says so */
	deadline = next_deadline(l);
	if (l->timeout >= 0 && (limit < 0 || l->timeout < limit))
		limit = l->timeout;
	if (limit >= 0) {
		sconce__read_clock(l);
		at = limit > 0 ? seconds_from(l->now, limit) : 0;
		if (at < deadline) {
			deadline = at;
			l->deadline = INT64_MIN;	/* the backend's timer will be set for this: it is told the other anew */
		}
	}
	return deadline;
}

/* What was wished outside of hooks is watched in this wait already; what was written waits for step 5. */
static void
arm_dirty(struct sconce_loop *l)
{
	for (struct sconce_sock *s = l->dirty.head; s != NULL; s = s->_next)
		if (s->_flags & FL_INTEREST)
			sconce__arm(s);
}

/* Steps 4 to 7. */
static inline void
end_turn(struct sconce_loop *l)
{
	if (unlikely(l->end_wanted))
		sconce_backend_end(l);
	l->go_on = has_post_loops(l) ? step7(l) : true;
}

/* One turn.  0 or -errno. */
static int
turn(struct sconce_loop *l, double limit)
{
	uint64_t before = l->turn;
	int r;

	arm_dirty(l);
	r = l->be->run(turn_deadline(l, limit), l->ctx);
	if (l->turn == before)
		sconce_backend_begin(l);	/* nothing of ours happened in this wait; timers may be due now */
	end_turn(l);
	return r;
}

/* Whether the next turn is one like most: there is something to wait for, nothing else to do, and nobody has set a limit. */
static inline bool
is_plain(const struct sconce_loop *l)
{
	return l->kept && l->timeout < 0 && !l->turn_wanted && !l->end_wanted && !l->stop && l->be->run == sconce__libev.run &&
	    !atomic_load(&l->has_posted);
}

HOT bool
sconce__turn_over(struct sconce_loop *l)
{
	end_turn(l);
	return l->go_on && is_plain(l);
}

/* One turn or, if they are plain, many. */
static int
turns(struct sconce_loop *l)
{
	uint64_t before = l->turn;

	if (!is_plain(l) || l->be->init != sconce__libev.init || !sconce__libev_turns(l->ctx))
		return turn(l, -1);
	if (l->turn == before) {		/* an application's ev_break came before the wait */
		sconce_backend_begin(l);
		end_turn(l);
	}
	return 0;
}

/* To wait would be for ever. */
static bool
nothing_left(const struct sconce_loop *l)
{
	return !l->kept && l->timeout < 0 && !work_left(l) && !l->end_wanted;
}

static int
enter_run(struct sconce_loop *l)
{
	if (l->depth > 0 || l->running || l->ending || l->step7)
		return -EDEADLK;
	l->running = true;
	l->thread = pthread_self();
	return 0;
}

int
sconce_loop_run(struct sconce_loop *l)
{
	int r = enter_run(l);

	if (r < 0)
		return r;
	for (;;) {
		if (l->stop) {
			r = SCONCE_LOOP_STOPPED;
			break;
		}
		if (nothing_left(l)) {
			r = SCONCE_LOOP_IDLE;
			break;
		}
		r = turns(l);
		if (r < 0)
			break;
		if (!l->go_on && !l->stop) {
			r = SCONCE_LOOP_POST;
			break;
		}
	}
	l->stop = false;
	l->running = false;
	return r;
}

int
sconce_loop_step(struct sconce_loop *l, double timeout)
{
	uint64_t before = l->hooks, ran;
	int r = enter_run(l);

	if (r < 0)
		return r;
	r = turn(l, timeout >= 0 ? timeout : nothing_left(l) ? 0 : -1);
	l->running = false;
	ran = l->hooks - before;
	return r < 0 ? r : ran > INT_MAX ? INT_MAX : (int)ran;
}

void
sconce_loop_stop(struct sconce_loop *l)
{
	l->stop = true;
	if (l->running)
		sconce__feed_turn(l);		/* so that a wait which is about to begin does not sleep */
}

void
sconce_loop_ref(struct sconce_loop *l)
{
	sconce__keep(l, 1);
}

void
sconce_loop_unref(struct sconce_loop *l)
{
	assert(l->refs > 0 && "as many unrefs as refs");
	sconce__keep(l, -1);
}

void
sconce_loop_set_timeout(struct sconce_loop *l, double secs)
{
	l->timeout = secs >= 0 ? secs : -1;
}

double
sconce_loop_timeout(const struct sconce_loop *l)
{
	return l->timeout;
}

double
sconce_now(const struct sconce_loop *l)
{
	int64_t now = sconce__in_hook(l) ? l->now : l->be->now(l->ctx);

	return (double)now * 1e-9;
}

/* ---- callbacks and calls ---- */

int
sconce_post_loop_add(struct sconce_loop *l, sconce_post_loop_fn *fn, void *arg)
{
	if (fn == NULL)
		return -EINVAL;
	if (l->post_count == l->post_cap) {
		size_t cap = l->post_cap > 0 ? l->post_cap * 2 : 4;
		struct post_loop *p = l_realloc(l, l->post, cap * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		l->post = p;
		l->post_cap = cap;
	}
	l->post[l->post_count++] = (struct post_loop){ .fn = fn, .arg = arg };
	each_turn_update(l);
	return 0;
}

int
sconce_post_loop_remove(struct sconce_loop *l, sconce_post_loop_fn *fn, void *arg)
{
	for (size_t i = 0; i < l->post_count; i++) {
		if (l->post[i].fn != fn || l->post[i].arg != arg || fn == NULL)
			continue;
		l->post[i].fn = NULL;
		if (!l->step7)
			post_compact(l);
		each_turn_update(l);
		return 0;
	}
	return -ENOENT;
}

/* Takes the socket off the list of those with a post-loop callback. */
void
sconce__post_loop_drop(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;
	struct sconce_loop *l = s->loop;

	side->post_fn = NULL;
	if (side->post_prevp == NULL)
		return;
	*side->post_prevp = side->post_next;
	if (side->post_next != NULL)
		side->post_next->_side->post_prevp = side->post_prevp;
	else
		l->post_socks_tail = side->post_prevp;
	side->post_prevp = NULL;
	each_turn_update(l);
}

int
sconce_set_post_loop(struct sconce_sock *s, sconce_sock_post_loop_fn *fn, void *arg)
{
	struct sconce_loop *l = s->loop;
	struct sconce__side *side;

	if (s->closed)
		return -EBADF;
	if (fn == NULL) {
		if (s->_side != NULL)
			sconce__post_loop_drop(s);
		return 0;
	}
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	side->post_fn = fn;
	side->post_arg = arg;
	if (side->post_prevp == NULL) {
		side->post_turn = l->step7 ? l->turn : l->turn - 1;
		side->post_next = NULL;
		side->post_prevp = l->post_socks_tail;
		*l->post_socks_tail = s;
		l->post_socks_tail = &side->post_next;
		each_turn_update(l);
	}
	return 0;
}

void
sconce__call_push(struct sconce_loop *l, struct sconce__call *c)
{
	c->next = NULL;
	*l->calls.tail = c;
	l->calls.tail = &c->next;
	sconce__keep(l, 1);
	sconce__feed(l);
}

int
sconce_defer(struct sconce_loop *l, struct sconce_sock *s, sconce_call_fn *fn, void *arg)
{
	struct sconce__call *c = l_alloc(l, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	*c = (struct sconce__call){ .fn = fn, .arg = arg, .sock_id = s != NULL ? s->id : 0 };
	sconce__call_push(l, c);
	return 0;
}

/* ---- life ---- */

/* The one disposition of the process that the library touches. */
static void
ignore_sigpipe(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

/* A table ends with its last entry, the optional ones at its end apart. */
static bool
size_fits(size_t size)
{
	size_t least = offsetof(struct sconce_backend, recvmmsg);

	return size >= least && size <= sizeof(struct sconce_backend) && (size - least) % sizeof(void (*)(void)) == 0;
}

static bool
table_complete(const struct sconce_backend *be)
{
	return size_fits(be->size) && be->init != NULL && be->fini != NULL && be->add != NULL &&
	    be->arm != NULL && be->watch_hup != NULL && be->del != NULL && be->run != NULL &&
	    be->wake != NULL && be->now != NULL && be->alloc != NULL && be->prepare != NULL &&
	    be->recv != NULL && be->send != NULL && be->sendmsg != NULL && be->readv != NULL &&
	    be->writev != NULL && be->pread != NULL && be->sendfile != NULL && be->splice != NULL &&
	    be->pipe2 != NULL && be->accept4 != NULL && be->socket != NULL && be->bind != NULL &&
	    be->listen != NULL && be->connect != NULL && be->getsockopt != NULL &&
	    be->setsockopt != NULL && be->getsockname != NULL && be->getpeername != NULL &&
	    be->shutdown != NULL && be->close != NULL;
}

static void
set_options(struct sconce_loop *l, const struct sconce_loop_options *o)
{
	l->flags = o->flags;
	l->backend_flags = o->backend_flags;
	l->high = o->high != 0 ? o->high : 1024 * 1024;
	l->low = o->low != 0 ? o->low : l->high / 4;
	l->cap = o->cap != 0 ? o->cap : 64 * 1024 * 1024;
	l->observed = l->cap < GATHER_SIZE;
}

static void
set_lists(struct sconce_loop *l)
{
	list_init(&l->dirty);
	list_init(&l->later);
	list_init(&l->hups);
	list_init(&l->closing);
	l->calls.tail = &l->calls.head;
	l->posted.tail = &l->posted.head;
	l->late_tail = &l->late;
	l->post_socks_tail = &l->post_socks;
}

static void
free_memory(struct sconce_loop *l)
{
	sconce__queue_fini(l);
	sconce__timeouts_fini(l);
	sconce__transfer_fini(l);
	sconce__inspect_fini(l);
	sconce__table_fini(l);
	l_free(l, l->post);
	l_free(l, l->read_buf);
	l_free(l, l->scratch);
}

int
sconce_loop_new(const struct sconce_loop_options *opts, struct sconce_loop **loop_out)
{
	struct sconce_loop_options none = { 0 };
	const struct sconce_loop_options *o = opts != NULL ? opts : &none;
	const struct sconce_backend *be = o->backend != NULL ? o->backend : &sconce__libev;
	struct sconce_loop *l;
	int r;

	if (!table_complete(be))
		return -EINVAL;
	l = be->alloc(NULL, sizeof(*l), NULL);
	if (l == NULL)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	l->be = be;
	l->timeout = -1;
	l->fresh_fd = l->accepting_fd = -1;
	l->deadline = INT64_MAX;
	l->thread = pthread_self();
	set_options(l, o);
	if (l->low > l->high) {
		r = -EINVAL;
		goto free_l;
	}
	set_lists(l);
	r = be->init(l, o->backend_arg, &l->ctx);
	if (r < 0)
		goto free_l;
	l->start = l->now = be->now(l->ctx);
	r = sconce__post_init(l);
	if (r < 0)
		goto fini_backend;
	r = sconce__timeouts_init(l);
	if (r == 0)
		r = sconce__gather_ready(l) ? 0 : -ENOMEM;
	if (r < 0)
		goto fini_memory;
	if (!(l->flags & SCONCE_LOOP_KEEP_SIGPIPE))
		ignore_sigpipe();
	*loop_out = l;
	return 0;
fini_memory:
	free_memory(l);
	sconce__post_fini(l);
fini_backend:
	be->fini(l->ctx);
free_l:
	be->alloc(l, 0, NULL);
	return r;
}

/* Sockets, listeners and foreign watches. */
static void
close_all(struct sconce_loop *l)
{
	for (uint32_t slot = 0; slot < l->slot_used; slot++) {
		struct sconce_sock *s = sconce__table_at(l, slot);

		if (s != NULL && !(s->_flags & FL_INTERNAL))
			sconce_close(s, SCONCE_REASON_LOOP);
	}
}

/* Steps 4 to 6 until nothing is left; holds are void now. */
static void
drain(struct sconce_loop *l)
{
	struct sconce_sock *s;

	for (int i = 0; i < RUN_TURNS && (l->count > 0 || work_left(l)); i++) {
		close_all(l);
		l->turn++;
		l->end_wanted = true;
		sconce_backend_end(l);
		if (l->closing.head != NULL || work_left(l))
			continue;
		for (uint32_t slot = 0; slot < l->slot_used; slot++) {
			s = sconce__table_at(l, slot);
			if (s != NULL && s->closed) {
				sconce__sock_unhold(s);
			}
		}
	}
}

/* Deferred calls that are left learn that they will not run. */
static void
cancel_calls(struct sconce_loop *l)
{
	for (struct sconce__call *c = l->calls.head; c != NULL; c = c->next)
		c->status = -ECANCELED;
	run_calls(l);
}

int
sconce_loop_free(struct sconce_loop *l)
{
	const struct sconce_backend *be;

	if (l == NULL)
		return 0;
	if (l->depth > 0 || l->running || l->ending || l->step7)
		return -EBUSY;
	l->freeing = true;
	sconce__timers_cancel_all(l);
	sconce__children_fini(l);
	sconce__signals_fini(l);
	sconce__work_cancel(l);
	sconce__cares_fini(l);
	sconce__post_run(l, -ECANCELED);
	cancel_calls(l);
	drain(l);
	sconce__post_run(l, -ECANCELED);
	cancel_calls(l);
	drain(l);
	sconce_set_trace(l, NULL, NULL);
	free_memory(l);
	sconce__post_fini(l);
	be = l->be;
	be->fini(l->ctx);
	be->alloc(l, 0, NULL);
	return 0;
}

/* Tells the backend's new kernel objects what the old ones knew. */
static void
rewatch_hups(struct sconce_loop *l)
{
	for (uint32_t slot = 0; slot < l->slot_used; slot++) {
		struct sconce_sock *s = sconce__table_at(l, slot);

		if (s != NULL && (s->_flags & FL_HUP_WATCHED) && s->fd >= 0)
			l->be->watch_hup(s, l->ctx);
	}
}

int
sconce_loop_fork(struct sconce_loop *l)
{
	int r;

	if (l->depth > 0 || l->ending || l->step7)
		return -EBUSY;
	l->running = false;		/* the run went on in the parent */
	l->thread = pthread_self();
	sconce__post_fork(l);
	r = sconce__signals_fork(l);
	if (r == 0 && l->be->fork != NULL)
		r = l->be->fork(l->ctx);
	if (r < 0)
		return r;
	rewatch_hups(l);
	sconce__transfer_fini(l);	/* idle pipes: the parent has them too */
	sconce__work_fork(l);
	sconce__cares_fork(l);
	sconce__children_fork(l);
	return 0;
}

void *
sconce_backend_ctx(const struct sconce_loop *l)
{
	return l->real_be != NULL ? l->real_ctx : l->ctx;
}

struct sconce_backend_slot *
sconce_backend_slot_of(struct sconce_sock *s)
{
	return &s->_slot;
}
