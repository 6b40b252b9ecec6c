/* The fleet itself: an object that knows its connections and what waits, and does from a timer, never inside a call, what is
 * due: init of new connections, filling the room, the end of a stop.
 *
 *	sconce_fleet_queue --> wait list --+
 *	                                   +--> fill (room, at most 64 a turn) --> connections --> left
 *	sconce_fleet_feed ----> next() ----+                                          ^             | room
 *	sconce_fleet_connect ---------------------------------------------------------+             +--> fill
 */
#include "fleet_private.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BEGIN_MAX = 64 };			/* connections begun in a turn: others are not to be starved */
static const double connect_default = 30, input_default = 300, linger_default = 30;
static const double rest_seconds = 0.1;		/* as a listener that had no fd */

/* ---- waking ---- */

void
sconce__fleet_wake(struct sconce__fleet *f)
{
	if (!sconce_timer_active(&f->turn) || sconce_timer_left(&f->turn) > 0)
		sconce_timer_start(&f->turn, 0);
}

void
sconce__fleet_rest(struct sconce__fleet *f)
{
	f->rest_until = sconce_now(f->fleet->loop) + rest_seconds;
}

static bool
has_work(const struct sconce__fleet *f)
{
	return f->wait_head != NULL || (f->next != NULL && !f->dry && f->max_in_flight > 0);
}

/* The last one of a fleet that is being stopped has gone.  `done` may release the fleet. */
static void
stopped(struct sconce__fleet *f)
{
	sconce_timer_stop(&f->turn);
	sconce_timer_stop(&f->deadline);
	f->stopped = true;
	if (f->done != NULL)
		f->done(f->fleet, f->done_arg);
}

void
sconce__fleet_left(struct sconce__fleet *f, bool had_fd)
{
	f->dry = false;
	if (had_fd)
		f->rest_until = 0;
	if (f->stopping && f->fleet->count == 0 && !f->stopped)
		stopped(f);
	else if (has_work(f))
		sconce__fleet_wake(f);
}

/* ---- filling the room ---- */

static bool
has_room(const struct sconce__fleet *f)
{
	return f->max_in_flight == 0 || f->fleet->count < f->max_in_flight;
}

/* Begins `c`, which was made for the target: what cannot be begun is told as any other failure. */
static void
begin(struct sconce__fleet *f, struct sconce_fleet_conn *c, const struct sconce_fleet_target *t)
{
	struct sconce_fail fail;
	int r;

	sconce__fleet_conn_join(f, c);
	r = sconce__fleet_start(f, c, t, &fail);
	if (r < 0) {
		sconce__fleet_conn_fail(c, &fail);
		return;
	}
	if (sconce__fleet_is_short(c))
		sconce__fleet_rest(f);		/* which is told soon, but the next would fail as well */
	sconce__fleet_conn_tell(c);
}

static void
begin_waiting(struct sconce__fleet *f, struct sconce_fleet_conn *c)
{
	struct sconce__fleet_wait *w = f->wait_head;

	f->wait_head = w->next;
	if (f->wait_head == NULL)
		f->wait_tail = &f->wait_head;
	f->fleet->waiting--;
	begin(f, c, &w->target);
	free(w);
}

/* Asks for a target. */
static void
begin_next(struct sconce__fleet *f, struct sconce_fleet_conn *c)
{
	struct sconce_fleet_target t = { .endpoint = NULL };

	f->dry = f->asking = true;		/* next() may call sconce_fleet_feed(), _stop(), _abort() */
	if (f->next(f->fleet, f->next_arg, &t) && f->asking) {
		f->dry = f->asking = false;
		begin(f, c, &t);
		return;
	}
	f->asking = false;
	sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);
}

/* One connection more.  It is made before a target is taken or asked for, so that none is lost for want of memory. */
static bool
fill_one(struct sconce__fleet *f)
{
	struct sconce_fleet_conn *c;
	int r = sconce__fleet_conn_new(f, &c);

	if (r < 0) {
		if (r == -ENOMEM)
			sconce__fleet_rest(f);
		return false;
	}
	if (f->wait_head != NULL)
		begin_waiting(f, c);
	else
		begin_next(f, c);
	return true;
}

/* Seconds that it is to rest. */
static double
rest_left(const struct sconce__fleet *f)
{
	return f->rest_until > 0 ? f->rest_until - sconce_now(f->fleet->loop) : 0;
}

static void
fill(struct sconce__fleet *f)
{
	int begun = 0;

	while (begun < BEGIN_MAX && rest_left(f) <= 0 && has_work(f) && has_room(f) && fill_one(f))
		begun++;
	if (has_work(f) && has_room(f) && !sconce_timer_active(&f->turn))
		sconce_timer_start(&f->turn, rest_left(f));
}

/* ---- the turn ---- */

/* Those that are there now; the hooks may add others, which come in the next turn. */
static void
tell_new(struct sconce__fleet *f)
{
	struct sconce_fleet_conn **end = f->tail;

	while (f->untold != NULL) {
		struct sconce_fleet_conn *c = f->untold;

		f->untold = c->_next;
		sconce__fleet_conn_tell(c);
		if (&c->_next == end)
			break;
	}
	if (f->untold != NULL)
		sconce__fleet_wake(f);
}

static void
turn(struct sconce_timer *t, void *arg)
{
	struct sconce__fleet *f = arg;

	(void)t;
	tell_new(f);
	if (f->stopping && f->fleet->count == 0 && !f->stopped)
		stopped(f);
	else
		fill(f);
}

/* ---- the object ---- */

static bool
agree(const struct sconce_fleet_ops *ops)
{
	size_t need = sizeof(struct sconce_fleet_conn);

	return ops->name != NULL && (ops->record == NULL || ops->input == NULL) && ops->size >= need &&
	    ops->offset <= ops->size - need && ops->offset % alignof(struct sconce_fleet_conn) == 0;
}

static double
or_default(double secs, double standard)
{
	return secs == 0 ? standard : secs;
}

static int
set_binds(struct sconce__fleet *f, const struct sconce_fleet_options *opts)
{
	if (opts->bind_count == 0)
		return 0;
	f->binds = calloc(opts->bind_count, sizeof(*f->binds));
	if (f->binds == NULL)
		return -ENOMEM;
	for (f->bind_count = 0; f->bind_count < opts->bind_count; f->bind_count++)
		if (sconce__fleet_bind_parse(opts->bind[f->bind_count], &f->binds[f->bind_count], NULL) < 0)
			return -EINVAL;
	return 0;
}

/* Without records input is raw, and `filter` is the output's. */
static int
set_filters(struct sconce__fleet *f, const struct sconce_fleet_options *opts, bool records)
{
	struct sconce_filter *out = opts->out_filter;

	if (!records) {
		f->stream.out_filter = sconce_filter_ref(out != NULL ? out : opts->filter);
		return 0;
	}
	f->stream.out_filter = sconce_filter_ref(out);
	f->stream.filter = sconce_filter_ref(opts->filter);
	return opts->filter != NULL ? 0 : sconce_filter_line(NULL, &f->stream.filter);
}

static void
release(struct sconce__fleet *f)
{
	sconce_filter_unref(f->stream.filter);
	sconce_filter_unref(f->stream.out_filter);
	free(f->binds);
	free(f);
}

static int
private_new(struct sconce_fleet *fleet, const struct sconce_fleet_options *opts, struct sconce__fleet **f_out)
{
	struct sconce__fleet *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return -ENOMEM;
	f->fleet = fleet;
	f->tail = &f->head;
	f->wait_tail = &f->wait_head;
	f->stream.eof = SCONCE_EOF_MANUAL;
	f->stream.linger = opts->linger > 0 ? opts->linger : linger_default;
	f->connect_timeout = or_default(opts->connect_timeout, connect_default);
	f->input_timeout = or_default(opts->input_timeout, input_default);
	f->max_in_flight = opts->max_in_flight;
	r = set_binds(f, opts);
	if (r == 0)
		r = set_filters(f, opts, fleet->ops->record != NULL);
	if (r < 0)
		release(f);
	else
		*f_out = f;
	return r;
}

int
sconce_fleet_init(struct sconce_fleet *fleet, struct sconce_loop *loop, const struct sconce_fleet_ops *ops,
	const struct sconce_fleet_options *opts)
{
	static const struct sconce_fleet_options none;
	struct sconce__fleet *f;
	int r;

	*fleet = (struct sconce_fleet){ .loop = loop, .ops = ops };
	if (!agree(ops))
		return -EINVAL;
	r = private_new(fleet, opts != NULL ? opts : &none, &f);
	if (r < 0)
		return r;
	sconce_timer_init(&f->turn, loop, turn, f);
	fleet->_f = f;
	return 0;
}

static void
drop_waiting(struct sconce__fleet *f)
{
	struct sconce__fleet_wait *w, *next;

	for (w = f->wait_head; w != NULL; w = next) {
		next = w->next;
		free(w);
	}
	f->wait_head = NULL;
	f->wait_tail = &f->wait_head;
	f->fleet->waiting = 0;
	f->next = NULL;
	f->asking = false;
}

void
sconce_fleet_fini(struct sconce_fleet *fleet)
{
	struct sconce__fleet *f = fleet->_f;

	if (f == NULL)
		return;
	assert(fleet->count == 0 && "a fleet is released when its last connection has gone");
	sconce_timer_stop(&f->turn);
	sconce_timer_stop(&f->deadline);
	drop_waiting(f);
	release(f);
	fleet->_f = NULL;
}

/* ---- beginning connections ---- */

static struct sconce_fleet_target
target_of(const char *endpoint, const struct sconce_fleet_target *target)
{
	struct sconce_fleet_target t = { .endpoint = NULL };

	if (target != NULL)
		t = *target;
	if (endpoint != NULL)
		t.endpoint = endpoint;
	return t;
}

int
sconce_fleet_connect(struct sconce_fleet *fleet, const char *endpoint, const struct sconce_fleet_target *target,
	struct sconce_fleet_conn **conn_out, struct sconce_fail *fail_out)
{
	struct sconce__fleet *f = fleet->_f;
	struct sconce_fleet_target t = target_of(endpoint, target);
	struct sconce_fleet_conn *c;
	struct sconce_fail fail;
	int r = f->stopping ? -EPIPE : sconce__fleet_conn_new(f, &c);

	if (r < 0) {
		sconce__fleet_fail(fail_out, "connect", -r, t.endpoint != NULL ? t.endpoint : "");
		return r;
	}
	r = sconce__fleet_start(f, c, &t, &fail);
	if (r < 0) {
		if (fail_out != NULL)
			*fail_out = fail;
		c->arg = (char *)c - fleet->ops->offset;
		sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);
		return r;
	}
	sconce__fleet_conn_join(f, c);
	sconce__fleet_wake(f);
	if (conn_out != NULL)
		*conn_out = c;
	return 0;
}

int
sconce_fleet_queue(struct sconce_fleet *fleet, const char *endpoint, const struct sconce_fleet_target *target,
	struct sconce_fail *fail_out)
{
	struct sconce__fleet *f = fleet->_f;
	struct sconce_fleet_target t = target_of(endpoint, target);
	struct sconce__fleet_wait *w = NULL;
	int r = f->stopping ? -EPIPE : 0;

	if (r < 0)
		sconce__fleet_fail(fail_out, "connect", -r, t.endpoint != NULL ? t.endpoint : "");
	else
		r = sconce__fleet_target_check(&t, fail_out);
	if (r < 0)
		return r;
	w = sconce__fleet_wait_new(&t);
	if (w == NULL) {
		sconce__fleet_fail(fail_out, "connect", ENOMEM, t.endpoint != NULL ? t.endpoint : "");
		return -ENOMEM;
	}
	*f->wait_tail = w;
	f->wait_tail = &w->next;
	fleet->waiting++;
	if (has_room(f))
		sconce__fleet_wake(f);
	return 0;
}

int
sconce_fleet_feed(struct sconce_fleet *fleet, sconce_fleet_next_fn *next, void *arg)
{
	struct sconce__fleet *f = fleet->_f;

	if (f->stopping)
		return -EPIPE;
	if (f->max_in_flight == 0)
		return -EINVAL;
	f->next = next;
	f->next_arg = arg;
	f->dry = false;
	if (has_work(f) && has_room(f))
		sconce__fleet_wake(f);
	return 0;
}

void
sconce_fleet_set_max(struct sconce_fleet *fleet, size_t max_in_flight)
{
	struct sconce__fleet *f = fleet->_f;

	f->max_in_flight = max_in_flight;
	if (has_work(f) && has_room(f))
		sconce__fleet_wake(f);
}

/* ---- all of them ---- */

void
sconce_fleet_each(struct sconce_fleet *fleet, void (*fn)(struct sconce_fleet_conn *c, void *arg), void *arg)
{
	struct sconce__fleet *f = fleet->_f;
	struct sconce_fleet_conn **end = f->tail;

	/* nothing leaves the list inside a call; what is added meanwhile is not for fn */
	for (struct sconce_fleet_conn **at = &f->head; at != end; at = &(*at)->_next)
		if (!(*at)->stream.sock.closed)
			fn(*at, arg);
}

static void
abort_one(struct sconce_fleet_conn *c, void *arg)
{
	(void)arg;
	sconce_abort(&c->stream.sock);
}

void
sconce_fleet_abort(struct sconce_fleet *fleet)
{
	drop_waiting(fleet->_f);
	sconce_fleet_each(fleet, abort_one, NULL);
}

static void
shut_down_one(struct sconce_fleet_conn *c, void *arg)
{
	(void)arg;
	sconce_fleet_shutdown(c);
}

static void
expire_one(struct sconce_fleet_conn *c, void *arg)
{
	(void)arg;
	sconce_close_error(&c->stream.sock, SCONCE_REASON_TIMEOUT, ETIMEDOUT);
}

static void
expire(struct sconce_timer *t, void *arg)
{
	struct sconce__fleet *f = arg;

	(void)t;
	sconce_fleet_each(f->fleet, expire_one, NULL);
}

void
sconce_fleet_stop(struct sconce_fleet *fleet, double deadline, void (*done)(struct sconce_fleet *fleet, void *arg), void *arg)
{
	struct sconce__fleet *f = fleet->_f;

	if (!f->stopping)
		sconce_timer_init(&f->deadline, fleet->loop, expire, f);
	if (!sconce_timer_active(&f->deadline) || deadline < sconce_timer_left(&f->deadline))
		sconce_timer_start(&f->deadline, deadline);
	f->stopping = true;
	f->stopped = false;
	f->done = done;
	f->done_arg = arg;
	drop_waiting(f);
	sconce_fleet_each(fleet, shut_down_one, NULL);
	if (fleet->count == 0)
		sconce__fleet_wake(f);
}
