/* Looking inside: listings, sconce_verify(), the trace, accounting. */
#include "core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- listings ---- */

size_t
sconce_count(const struct sconce_loop *l)
{
	return l->count - l->watches;
}

size_t
sconce_each(struct sconce_loop *l, sconce_each_fn *fn, void *arg)
{
	uint32_t end = l->slot_used;
	size_t calls = 0;

	for (uint32_t slot = 0; slot < end; slot++) {
		struct sconce_sock *s = sconce__table_at(l, slot);

		if (s == NULL || (s->_flags & (FL_INTERNAL | FL_WATCH)))
			continue;
		calls++;
		if (!fn(s, arg))
			break;
	}
	return calls;
}

/* snprintf behind what is there; counts on when the room is used up. */
static void SCONCE_PRINTF(4, 5)
add(char *buf, size_t size, int *at, const char *format, ...)
{
	size_t used = (size_t)*at < size ? (size_t)*at : size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(size > used ? buf + used : NULL, size - used, format, args);
	va_end(args);
	if (n > 0)
		*at += n;
}

static const char *
state_name(const struct sconce_sock *s)
{
	if (s->closed)
		return "closed";
	if (s->_flags & SCONCE_PAUSE_ENDING)
		return "ending";
	if (s->_flags & SCONCE_PAUSE_CONNECTING)
		return "connecting";
	if (s->_flags & SCONCE_PAUSE_TRANSPORT)
		return "handshake";
	return s->fd < 0 ? "unconnected" : "open";
}

/* " local <- peer", or as much as is known. */
static void
add_addrs(const struct sconce_sock *s, char *buf, size_t size, int *at)
{
	const struct sconce_addr *known = s->_side != NULL ? s->_side->peer : NULL;
	struct sconce_addr a;
	char text[SCONCE_ADDR_TEXT];

	if (s->fd < 0)
		return;
	if (s->_flags & SCONCE_PAUSE_CONNECTING) {
		if (sconce__connect_target(s, &a))
			add(buf, size, at, " -> %s", sconce_addr_text(&a, text, sizeof(text)));
		return;
	}
	if (sconce__addr_ask(s, false, &a) == 0)
		add(buf, size, at, " %s", sconce_addr_text(&a, text, sizeof(text)));
	if (known != NULL || sconce__addr_ask(s, true, &a) == 0)
		add(buf, size, at, " <- %s", sconce_addr_text(known != NULL ? known : &a, text, sizeof(text)));
}

/* Why it is not read, besides the application's wish and what the state says. */
static void
add_pauses(const struct sconce_sock *s, char *buf, size_t size, int *at)
{
	static const struct { unsigned bit; const char *name; } names[] = {
		{ SCONCE_PAUSE_FLOW, "flow" }, { SCONCE_PAUSE_END, "end" }, { SCONCE_PAUSE_RATE, "rate" },
		{ SCONCE_PAUSE_APP, "app" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (s->_flags & names[i].bit)
			add(buf, size, at, " paused:%s", names[i].name);
}

int
sconce_describe_default(const struct sconce_sock *s, char *buf, size_t size)
{
	unsigned wants = sconce_watching(s);
	int at = 0;

	if (size > 0)
		buf[0] = '\0';
	add(buf, size, &at, "%s#%" PRIu64 " fd %d %s%s%s %s", s->ops->name, s->id >> SLOT_BITS, s->fd,
		wants & SCONCE_READ ? "R" : "", wants & SCONCE_WRITE ? "W" : "", wants == 0 ? "-" : "", state_name(s));
	add_addrs(s, buf, size, &at);
	if (s->closed) {
		add(buf, size, &at, " reason %d errno %d unsent %" PRIu64, s->reason, s->errnum, s->unsent);
	} else {
		add(buf, size, &at, " queued %" PRIu64, sconce_queued(s));
		add_pauses(s, buf, size, &at);
	}
	return at;
}

int
sconce_describe(const struct sconce_sock *s, char *buf, size_t size)
{
	int n;

	if (s->ops->describe == NULL)
		return sconce_describe_default(s, buf, size);
	if (size > 0)
		buf[0] = '\0';
	n = s->ops->describe(s, buf, size);
	if (size > 0)
		buf[size - 1] = '\0';
	return n;
}

static bool
dump_one(struct sconce_sock *s, void *arg)
{
	char line[512];

	sconce_describe(s, line, sizeof(line));
	sconce__text_clean(line);
	fprintf(arg, "%s\n", line);
	return true;
}

static const char *
yes(bool is)
{
	return is ? "yes" : "no";
}

static size_t
length(const struct sock_list *list)
{
	size_t n = 0;

	for (const struct sconce_sock *s = list->head; s != NULL; s = s->_next)
		n++;
	return n;
}

void
sconce_dump(struct sconce_loop *l, FILE *out)
{
	const struct sconce_backend *be = l->real_be != NULL ? l->real_be : l->be;
	int64_t timer = sconce__timers_next(l);

	sconce_each(l, dump_one, out);
	fprintf(out, "loop: %zu sockets, backend %s, turn %" PRIu64 ", hooks %" PRIu64 ", %s\n", l->count, be->name,
		l->turn, l->hooks, l->kept ? "something to wait for" : "nothing to wait for");
	if (timer == INT64_MAX)
		fprintf(out, "timers: none, idle timeouts %zu\n", l->wheel.count);
	else
		fprintf(out, "timers: next in %.3f s, idle timeouts %zu\n", (double)(timer - l->now) * 1e-9,
			l->wheel.count);
	fprintf(out, "work: %zu to flush, %zu later, %zu closing, input pushed back: %s, calls: %s\n",
		length(&l->dirty), length(&l->later), length(&l->closing), yes(l->unread != NULL),
		yes(l->calls.head != NULL));
	fprintf(out, "marks: low %" PRIu64 " high %" PRIu64 " cap %" PRIu64 ", trace: %s, accounting: %s\n", l->low,
		l->high, l->cap, yes(l->trace_fn != NULL), yes(l->accounting));
}

/* ---- sconce_verify ---- */

/* Like assert, whatever NDEBUG says: whoever calls sconce_verify() wants it checked. */
static void
require(bool holds, const char *sentence)
{
	if (holds)
		return;
	fprintf(stderr, "sconce_verify: not so: %s\n", sentence);
	abort();
}

static void
verify_queue(const struct sconce_sock *s)
{
	const struct sconce__queue *q = s->_queue;
	const struct sconce__item *it, *last = NULL;
	uint64_t bytes = 0;
	uint32_t items = 0;

	if (q == NULL)
		return;
	for (it = q->head; it != NULL; it = it->next) {
		if (it->kind != ITEM_TRANSFER)
			bytes += it->len;
		items++;
		last = it;
	}
	require(q->head == NULL || q->tail == last, "a queue's tail is its last item");
	require(q->bytes == bytes, "a queue's bytes are those of its items");
	require(q->items == items, "a queue's count is that of its items");
	require(q->held <= q->bytes, "copies are part of a queue");
	require(q->done == NULL || *q->done_tail == NULL, "the list of due completions ends");
}

static void
verify_side(const struct sconce_sock *s)
{
	const struct sconce__side *side = s->_side;
	bool hot = s->_flags & FL_SIDE_HOT;

	require(side != NULL || !hot, "what is rare is in the side record");
	if (side == NULL)
		return;
	require(side->sock == s, "a side record knows its socket");
	require(side->unread_off + side->unread_len <= side->unread_cap, "pushed-back bytes are in their buffer");
	require(hot || s->closed || (side->unread_len == 0 && side->transport == NULL && side->transfer == NULL),
		"what is rare is marked");
	require(side->unread_prevp == NULL || *side->unread_prevp == s, "a list's links agree");
	require(side->post_prevp == NULL || *side->post_prevp == s, "a list's links agree");
	require(!side->handshaking || (s->_flags & SCONCE_PAUSE_TRANSPORT), "a handshake pauses its socket");
}

static void
verify_sock(const struct sconce_loop *l, const struct sconce_sock *s)
{
	uint32_t f = s->_flags;

	require(s->loop == l && s->ops != NULL, "a socket in the table belongs to its loop");
	require(sconce__table_get(l, s->id) == s, "an id finds its socket");
	require(s->_prevp == NULL || *s->_prevp == s, "a list's links agree");
	require(s->_prevp != NULL || !(f & FL_DIRTY), "a dirty socket is on a list");
	require(!s->closed || !(f & FL_DIRTY), "a closed socket is not dirty");
	require(s->closed || s->fd >= 0 || (f & FL_STUCK), "without an fd writes wait");
	require(s->closed || !(f & SCONCE_PAUSE_CONNECTING) || (s->_side != NULL && s->_side->connect != NULL),
		"a connecting socket has its state");
	verify_queue(s);
	verify_side(s);
}

/* The number of sockets on a list. */
static size_t
verify_list(const struct sock_list *list)
{
	struct sconce_sock *const *prevp = &list->head;
	size_t n = 0;

	for (struct sconce_sock *s = list->head; s != NULL; s = s->_next) {
		require(s->_prevp == prevp, "a list's links agree");
		prevp = &s->_next;
		n++;
	}
	require(list->tail == prevp, "a list's tail is its end");
	return n;
}

static void
verify_table(const struct sconce_loop *l, size_t *listed_out, size_t *idle_out)
{
	size_t count = 0, all = 0, listed = 0, idle = 0;

	for (uint32_t slot = 0; slot < l->slot_used; slot++) {
		const struct sconce_sock *s = sconce__table_at(l, slot);

		if (s == NULL)
			continue;
		verify_sock(l, s);
		all++;
		count += (s->_flags & FL_INTERNAL) == 0;
		listed += s->_prevp != NULL;
		idle += s->_idle[1] != NULL;
	}
	require(l->count == count && l->all_count == all, "the counts are those of the table");
	*listed_out = listed;
	*idle_out = idle;
}

/* The timer after `t` in the heap: its first child, or whoever is next to it or to one of its parents. */
static const struct sconce_timer *
timer_after(const struct sconce_timer *t)
{
	if (t->_child != NULL)
		return t->_child;
	for (;;) {
		if (t->_next != NULL)
			return t->_next;
		while (t->_prev != NULL && t->_prev->_child != t)
			t = t->_prev;
		if (t->_prev == NULL)
			return NULL;
		t = t->_prev;
	}
}

static void
verify_timers(const struct sconce_loop *l)
{
	require(l->heap == NULL || (l->heap->_prev == NULL && l->heap->_next == NULL),
		"the first timer stands alone");
	for (const struct sconce_timer *t = l->heap; t != NULL; t = timer_after(t)) {
		require(t->_order != 0, "a timer in the heap is running");
		require(t->_loop == l, "a timer in the heap is the loop's");
		for (const struct sconce_timer *c = t->_child; c != NULL; c = c->_next)
			require(c->_due >= t->_due, "a timer is not due before its parent");
	}
}

void
sconce_verify(struct sconce_loop *l)
{
	size_t listed, idle, on_lists;

	verify_table(l, &listed, &idle);
	on_lists = verify_list(&l->dirty) + verify_list(&l->later) + verify_list(&l->hups) + verify_list(&l->closing);
	if (l->depth == 0 && !l->ending) {	/* else some are in a batch that is being worked on */
		require(on_lists == listed, "every socket is on one list at most");
		require(l->wheel.count == idle, "the wheel's count is that of its sockets");
		require(!gather_in_use(l), "nothing stays gathered");
		require(l->current == NULL, "nobody is being dispatched");
	}
	require(l->gather_len <= GATHER_SIZE, "what is gathered fits");
	require(!gather_in_use(l) || !l->gather_owner->closed, "a closed socket has nothing gathered");
	require(l->kept == (l->count > 0 || l->refs > 0), "the backend knows whether there is anything to wait for");
	verify_timers(l);
	require(sconce__listeners_agree(l), "listeners and the loop count alike");
}

/* ---- trace ---- */

/* While a trace is on, loop->be is a copy of the backend's table whose entries report, and loop->ctx is this.  It
 * stays for as long as the loop: a wait that began under the trace comes back to it when a hook has ended it. */
struct tracer {
	struct sconce_backend table;
	const struct sconce_backend *be;
	void *ctx;
	struct sconce_loop *loop;
	bool busy;			/* in the trace function, which may describe sockets */
};

static struct tracer *
tracer_of(struct sconce_loop *l)
{
	return (struct tracer *)(void *)l->trace_be;
}

static void
emit(struct sconce_loop *l, const char *what, const char *name, const struct sconce_sock *s, int fd, int64_t result)
{
	struct tracer *t = tracer_of(l);
	struct sconce_trace event = { .what = what, .name = name, .sock = s, .fd = fd, .result = result };
	int saved = errno;

	if (l->trace_fn == NULL || t->busy)
		return;
	t->busy = true;
	l->trace_fn(l, &event, l->trace_arg);
	t->busy = false;
	errno = saved;
}

static void
emit_call(struct tracer *t, const char *name, int fd, int64_t result)
{
	struct sconce_loop *l = t->loop;
	const struct sconce_sock *s = l->current;

	emit(l, "call", name, s != NULL && fd >= 0 && s->fd == fd ? s : NULL, fd, result < 0 ? -errno : result);
}

/* An entry that reports: `name params` passes `args` on, about `fdarg`. */
#define TRACED(type, name, fdarg, params, args) \
	static type \
	trace_##name params \
	{ \
		struct tracer *t = ctx; \
		type r = t->be->name args; \
		\
		emit_call(t, #name, fdarg, r); \
		return r; \
	}
/* The same, passed on in silence. */
#define PASSED(type, name, params, args) \
	static type \
	trace_##name params \
	{ \
		struct tracer *t = ctx; \
		\
		return t->be->name args; \
	}

TRACED(ssize_t, recv, fd, (int fd, void *buf, size_t len, int flags, void *ctx), (fd, buf, len, flags, t->ctx))
TRACED(ssize_t, send, fd, (int fd, const void *buf, size_t len, int flags, void *ctx), (fd, buf, len, flags, t->ctx))
TRACED(ssize_t, sendmsg, fd, (int fd, const struct msghdr *msg, int flags, void *ctx), (fd, msg, flags, t->ctx))
TRACED(ssize_t, readv, fd, (int fd, const struct iovec *iov, int count, void *ctx), (fd, iov, count, t->ctx))
TRACED(ssize_t, writev, fd, (int fd, const struct iovec *iov, int count, void *ctx), (fd, iov, count, t->ctx))
TRACED(ssize_t, pread, fd, (int fd, void *buf, size_t len, off_t offset, void *ctx), (fd, buf, len, offset, t->ctx))
TRACED(ssize_t, sendfile, out, (int out, int in, off_t *offset, size_t count, void *ctx), (out, in, offset, count, t->ctx))
TRACED(ssize_t, splice, in, (int in, int out, size_t len, unsigned flags, void *ctx), (in, out, len, flags, t->ctx))
TRACED(int, pipe2, -1, (int fds[2], int flags, void *ctx), (fds, flags, t->ctx))
TRACED(int, accept4, fd, (int fd, struct sockaddr *addr, socklen_t *len, int flags, void *ctx), (fd, addr, len, flags, t->ctx))
TRACED(int, socket, -1, (int domain, int type, int protocol, void *ctx), (domain, type, protocol, t->ctx))
TRACED(int, bind, fd, (int fd, const struct sockaddr *addr, socklen_t len, void *ctx), (fd, addr, len, t->ctx))
TRACED(int, listen, fd, (int fd, int backlog, void *ctx), (fd, backlog, t->ctx))
TRACED(int, connect, fd, (int fd, const struct sockaddr *addr, socklen_t len, void *ctx), (fd, addr, len, t->ctx))
TRACED(int, getsockopt, fd, (int fd, int level, int name, void *val, socklen_t *len, void *ctx), (fd, level, name, val, len, t->ctx))
TRACED(int, setsockopt, fd, (int fd, int level, int name, const void *val, socklen_t len, void *ctx), (fd, level, name, val, len, t->ctx))
TRACED(int, getsockname, fd, (int fd, struct sockaddr *addr, socklen_t *len, void *ctx), (fd, addr, len, t->ctx))
TRACED(int, getpeername, fd, (int fd, struct sockaddr *addr, socklen_t *len, void *ctx), (fd, addr, len, t->ctx))
TRACED(int, shutdown, fd, (int fd, int how, void *ctx), (fd, how, t->ctx))
TRACED(int, close, fd, (int fd, void *ctx), (fd, t->ctx))
TRACED(int, prepare, fd, (int fd, void *ctx), (fd, t->ctx))

/* Those that the table may lack. */
#define TRACED_OPTIONAL(type, name, params, args) \
	static type \
	trace_##name params \
	{ \
		struct tracer *t = ctx; \
		type r = sconce__be_##name args; \
		\
		emit_call(t, #name, fd, r); \
		return r; \
	}

TRACED_OPTIONAL(int, recvmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx),
    (t->be, fd, msgs, count, flags, t->ctx))
TRACED_OPTIONAL(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx),
    (t->be, fd, msgs, count, flags, t->ctx))
TRACED_OPTIONAL(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags, void *ctx), (t->be, fd, msg, flags, t->ctx))

PASSED(void, fini, (void *ctx), (t->ctx))
PASSED(int, fork, (void *ctx), (t->ctx))
PASSED(int, add, (struct sconce_sock *s, void *ctx), (s, t->ctx))
PASSED(void, watch_hup, (struct sconce_sock *s, void *ctx), (s, t->ctx))
PASSED(void, del, (struct sconce_sock *s, bool handed_on, void *ctx), (s, handed_on, t->ctx))
PASSED(int, run, (int64_t deadline, void *ctx), (deadline, t->ctx))
PASSED(void, wake, (void *ctx), (t->ctx))
PASSED(int64_t, now, (void *ctx), (t->ctx))
PASSED(void, timer, (int64_t deadline, void *ctx), (deadline, t->ctx))
PASSED(void, feed, (enum sconce_feed when, void *ctx), (when, t->ctx))
PASSED(void, each_turn, (bool on, void *ctx), (on, t->ctx))
PASSED(void, keep, (bool alive, void *ctx), (alive, t->ctx))
PASSED(void *, alloc, (void *ptr, size_t size, void *ctx), (ptr, size, t->ctx))

static void
trace_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	struct tracer *t = ctx;

	t->be->arm(s, events, t->ctx);
	emit(t->loop, "call", "arm", s, s->fd, events);
}

static struct tracer *
tracer_new(struct sconce_loop *l)
{
	struct tracer *t = sconce__zalloc(l, sizeof(*t));
	const struct sconce_backend *be = l->be;

	if (t == NULL)
		return NULL;
	t->be = be;
	t->ctx = l->ctx;
	t->loop = l;
	t->table = (struct sconce_backend){
		.size = sizeof(t->table), .name = be->name,
		.init = be->init, .fini = trace_fini, .fork = be->fork != NULL ? trace_fork : NULL,
		.add = trace_add, .arm = trace_arm, .watch_hup = trace_watch_hup, .del = trace_del,
		.run = trace_run, .wake = trace_wake, .now = trace_now,
		.timer = be->timer != NULL ? trace_timer : NULL,
		.feed = be->feed != NULL ? trace_feed : NULL,
		.each_turn = be->each_turn != NULL ? trace_each_turn : NULL,
		.keep = be->keep != NULL ? trace_keep : NULL,
		.prepare = trace_prepare,
		.recv = trace_recv, .send = trace_send, .sendmsg = trace_sendmsg, .readv = trace_readv,
		.writev = trace_writev, .pread = trace_pread, .sendfile = trace_sendfile, .splice = trace_splice,
		.pipe2 = trace_pipe2, .accept4 = trace_accept4, .socket = trace_socket, .bind = trace_bind,
		.listen = trace_listen, .connect = trace_connect, .getsockopt = trace_getsockopt,
		.setsockopt = trace_setsockopt, .getsockname = trace_getsockname, .getpeername = trace_getpeername,
		.shutdown = trace_shutdown, .close = trace_close, .alloc = trace_alloc,
		.recvmmsg = trace_recvmmsg, .sendmmsg = trace_sendmmsg, .recvmsg = trace_recvmsg,
	};
	return t;
}

static void
observe(struct sconce_loop *l)
{
	l->observed = l->trace_fn != NULL || l->accounting || l->cap < GATHER_SIZE;
}

void
sconce_set_trace(struct sconce_loop *l, sconce_trace_fn *fn, void *arg)
{
	struct tracer *t = tracer_of(l);

	if (fn != NULL && t == NULL) {
		t = tracer_new(l);
		if (t == NULL)
			return;
		l->trace_be = &t->table;
	}
	l->trace_fn = fn;
	l->trace_arg = arg;
	observe(l);
	if (fn != NULL && l->real_be == NULL) {
		l->real_be = t->be;
		l->real_ctx = t->ctx;
		l->be = &t->table;
		l->ctx = t;
	} else if (fn == NULL && l->real_be != NULL) {
		l->be = t->be;
		l->ctx = t->ctx;
		l->real_be = NULL;
		l->real_ctx = NULL;
	}
}

void
sconce__trace_state(struct sconce_loop *l, const struct sconce_sock *s, const char *name, int64_t arg)
{
	if (l->trace_fn != NULL)
		emit(l, "state", name, s, s != NULL ? s->fd : -1, arg);
}

/* ---- accounting ---- */

struct account {
	const char *type, *hook;
	uint64_t calls;
	int64_t cpu;			/* ns */
};

static int64_t
cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool
same(const char *a, const char *b)
{
	return a == b || strcmp(a, b) == 0;
}

/* The account of a hook of a type; NULL: there is no memory for another. */
static struct account *
account_of(struct sconce_loop *l, const char *type, const char *hook)
{
	struct account *a;

	for (size_t i = 0; i < l->account_count; i++) {
		a = &l->accounts[i];
		if (same(a->hook, hook) && same(a->type, type))
			return a;
	}
	if (l->account_count == l->account_cap) {
		size_t cap = l->account_cap * 2;

		a = l_realloc(l, l->accounts, cap * sizeof(*a));
		if (a == NULL)
			return NULL;
		l->accounts = a;
		l->account_cap = cap;
	}
	a = &l->accounts[l->account_count++];
	*a = (struct account){ .type = type, .hook = hook };
	return a;
}

int
sconce_set_accounting(struct sconce_loop *l, bool on)
{
	if (on && l->accounts == NULL) {
		l->accounts = l_alloc(l, 32 * sizeof(*l->accounts));
		if (l->accounts == NULL)
			return -ENOMEM;
		l->account_cap = 32;
	}
	if (on)
		l->account_count = 0;
	l->accounting = on;
	observe(l);
	return 0;
}

size_t
sconce_accounting(const struct sconce_loop *l, struct sconce_account *out, size_t max)
{
	for (size_t i = 0; i < l->account_count && i < max; i++) {
		const struct account *a = &l->accounts[i];

		out[i] = (struct sconce_account){ .type = a->type, .hook = a->hook, .calls = a->calls,
			.seconds = (double)a->cpu * 1e-9 };
	}
	return l->account_count;
}

/* ---- around every hook, when observed ---- */

void
sconce__hook_begin(struct sconce_loop *l, const struct sconce_sock *s, const char *name, int64_t arg, void *mark)
{
	struct hook_mark *m = mark;

	m->type = s != NULL ? s->ops->name : "loop";
	if (l->trace_fn != NULL)
		emit(l, "hook", name, s, s != NULL ? s->fd : -1, arg);
	m->cpu = l->accounting ? cpu_now() : -1;
}

/* `s` may have been freed. */
void
sconce__hook_end(struct sconce_loop *l, const struct sconce_sock *s, const char *name, void *mark)
{
	const struct hook_mark *m = mark;
	struct account *a;

	(void)s;
	if (m->cpu < 0 || !l->accounting)
		return;
	a = account_of(l, m->type, name);
	if (a == NULL)
		return;
	a->calls++;
	a->cpu += cpu_now() - m->cpu;
}

void
sconce__inspect_fini(struct sconce_loop *l)
{
	l_free(l, l->accounts);
	l_free(l, l->trace_be);
	l->accounts = NULL;
	l->trace_be = NULL;
}
