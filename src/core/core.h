/* Private to the core: the loop, the side record, the queue, and the calls between the core's files.
 *
 *   loop.c      a loop's life, the turn, post-loop callbacks, deferred calls
 *   table.c     ids: one slot table
 *   sock.c      a socket's life: init, interest, close, holds, detach
 *   dispatch.c  what happens when a socket is ready, and when a dispatch ends
 *   read.c      reading and pushing back
 *   write.c     the write calls: what is gathered, sent, queued
 *   queue.c     items and their memory, completions
 *   gather.c    the buffer for what the socket being dispatched writes
 *   flush.c     queue -> kernel
 *   transfer.c  one socket's input as an item of another's queue
 *   timer.c     a pairing heap; timeout.c: the wheel of idle timeouts, the kinds
 *   post.c, work.c   other threads
 *   raw.c       what socket types that carry records need
 *   addr.c, resolve.c, resolve_addr.c, resolve_cares.c
 *                                               addresses, names
 *   endpoint.c, spec.c, sockopt.c               parsing endpoints, applying their options
 *   bind.c, listen_open.c, listen.c             bound sockets and their paths, listeners
 *   connect.c, connect_name.c, race.c, connector.c
 *   transport.c, watch.c, signal.c, child.c, inspect.c */
#ifndef SCONCE_CORE_H
#define SCONCE_CORE_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <sconce/sconce.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* A rare path, kept out of line: inlined, it would make the common one save and restore registers for it. */
#define COLD __attribute__((noinline, cold))
#define HOT __attribute__((hot))		/* run by every turn or by most events: these are put side by side */

/* Limits; each is named in the manual. */
enum {
	GATHER_SIZE = 64 * 1024,	/* the loop's gather buffer */
	SEND_NOW = 32 * 1024,		/* a write of this size leaves at once, without a copy */
	READ_TIMES = 4,			/* event_reads per readiness */
	FLUSH_BYTES = 1024 * 1024,	/* what one flush hands to the kernel */
	FLUSH_COMPLETIONS = 32,		/* completions per socket and flush */
	FLUSH_ROUNDS = 32,		/* passes over what hooks and completions of a flush wrote */
	FILE_STEP = 256 * 1024,
	SPLICE_MIN = 32 * 1024,		/* below it a transfer copies */
	COPY_STEP = 64 * 1024,
	UNREAD_STEP = 16 * 1024,	/* read behind pushed-back bytes that a hook does not get past */
	UNREAD_MAX = 1024 * 1024,	/* of those; then ENOBUFS */
	IOV_COUNT = 64,
	SMALL_ITEM = 256,		/* bytes of a small item, header included */
	RECORDS = 256			/* completion records each loop keeps for bad times */
};

/* _flags.  The low byte holds the reasons against reading (SCONCE_PAUSE_...). */
enum {
	FL_PAUSED = 0xff,
	FL_WISH_WRITE = 1 << 8,		/* the application wants event_write */
	FL_STUCK = 1 << 9,		/* the kernel's last answer was EAGAIN; or connecting: writes wait */
	FL_DIRTY = 1 << 10,		/* on loop->dirty or loop->later */
	FL_INTEREST = 1 << 11,		/* interest changed; arm before the next wait */
	FL_HUP_WATCHED = 1 << 12,	/* watch_hup() was called */
	FL_HUP_TOLD = 1 << 13,
	FL_ERR_TOLD = 1 << 14,
	FL_ERR_PENDING = 1 << 15,	/* event_err is due */
	FL_HUP_PENDING = 1 << 16,	/* event_hup is due */
	FL_WR_END = 1 << 17,		/* nothing can be sent any more */
	FL_WR_SHUT = 1 << 18,		/* SHUT_WR when the queue has gone */
	FL_HIGH = 1 << 19,		/* above the high mark, told */
	FL_DRAIN = 1 << 20,		/* the kernel has refused bytes since the queue was empty */
	FL_READ_FULL = 1 << 21,		/* the last read filled its buffer */
	FL_READ_TRIED = 1 << 22,	/* the hook has read */
	FL_NO_GATHER = 1 << 23,
	FL_NO_LINGER = 1 << 24,
	FL_NOTSOCK = 1 << 25,		/* readv/writev, not recv/send */
	FL_WATCH = 1 << 26,		/* a struct sconce_watch; the fd is not ours */
	FL_INTERNAL = 1 << 27,		/* the library's own: not counted, does not keep the loop */
	FL_SOURCE = 1 << 28,		/* a transfer wants this socket's input */
	FL_SIDE_HOT = 1 << 29,		/* pushed-back input, a transport, a transfer, a small cap: take the slow path */
	FL_IDLE_OFF = 1 << 30,		/* input-idle timeout set but not in the wheel */
	FL_CONNECT_TOLD = (int)(1u << 31)	/* event_connect is due: the connect (or handshake) is decided */
};

/* What keeps a write from being gathered. */
#define FL_NO_FAST_WRITE (FL_STUCK | FL_WR_END | FL_WR_SHUT | FL_NO_GATHER | \
	SCONCE_PAUSE_ENDING | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)

/* ---- queue ---- */

enum item_kind { ITEM_BYTES, ITEM_REF, ITEM_FILE, ITEM_CB, ITEM_TRANSFER };
enum item_pool { POOL_RECORD, POOL_RESERVE, POOL_SMALL, POOL_HEAP, POOL_GATHER };

struct sconce__item {
	struct sconce__item *next;
	uint8_t kind, pool;
	int32_t status;			/* once finished: what done() gets */
	uint64_t len;			/* bytes left */
	sconce_done_fn *done;
	void *arg;
	union {
		struct { uint32_t off, cap; } bytes;	/* in the payload behind this header */
		const char *ref;
		uint32_t mark;				/* of a completion in the gather buffer: bytes before it */
		struct { int64_t offset; int fd; } file;
		struct sconce__transfer *transfer;
		uint64_t src_id;			/* of a finished transfer */
		struct sconce_sock *sock;		/* of a failed call: whose done() this is */
	};
};

static inline char *
item_payload(struct sconce__item *it)
{
	return (char *)(it + 1);
}

/* What waits to be sent, and completions that are due.  Exists only while there is one of them, or bytes were lost. */
struct sconce__queue {
	struct sconce__item *head, *tail;	/* in order */
	struct sconce__item *done, **done_tail;	/* finished, done() not yet run */
	uint64_t bytes;				/* left in head..tail */
	uint64_t held;				/* of these: copies */
	uint32_t items;
	uint32_t wait_done;			/* an item failed: nothing leaves until its done() has run */
	uint64_t lost;				/* dropped by a failed send or connect: part of `unsent`, keeps the queue */
};

/* ---- side record ---- */

struct sconce__timeout {
	struct sconce_timer timer;
	struct sconce_sock *sock;
	int64_t last;				/* OUTPUT: when the kernel last took something */
	int64_t value;				/* ns */
};

struct sconce__side {
	const struct sconce_transport *transport;
	struct sconce__transfer *transfer;	/* this socket is its source */
	uint64_t transferred;
	size_t unread_len;			/* pushed-back bytes, at unread + unread_off */
	size_t unread_off, unread_cap;
	char *unread;
	bool end_seen;				/* the kernel's end has been met behind pushed-back bytes */
	size_t end_len;				/* how many there were before they were last read: no progress since means the end */
	struct sconce_sock *unread_next, **unread_prevp;	/* loop->unread */
	bool offer;				/* sconce_offer() */

	uint64_t high, low, cap;		/* marks_set, cap_set */
	bool marks_set, cap_set;

	struct sconce__timeout *timeout[SCONCE_TIMEOUT_KINDS];	/* INPUT unused: it is in the base */

	void *transport_state;
	bool read_wants_write, write_wants_read, handshaking;
	uint8_t handshake_want;			/* SCONCE_READ or SCONCE_WRITE */

	sconce_sock_post_loop_fn *post_fn;
	void *post_arg;
	uint64_t post_turn;			/* set in this turn's step 7: not before the next */
	bool blind;				/* `records`: FL_STUCK, but the fd would not tell */
	struct sconce_sock *post_next, **post_prevp;	/* loop->post_socks, in order set */

	struct sconce_addr *peer;
	struct sconce__connect *connect;
	struct sconce_fail *fail;
	bool fail_unsent;			/* the socket's error was met without sending */
	struct sconce_timer *bound;		/* timers tied to this socket */
	struct sconce_listener *listener;	/* counted there */
	struct sconce__path *path;		/* that we made, to be unlinked at close */
	struct sconce_sock *sock;
};

/* Whether something waits to be sent; gathered bytes apart. */
static inline bool
has_items(const struct sconce_sock *s)
{
	return s->_queue != NULL && s->_queue->head != NULL;
}

static inline bool
has_transport(const struct sconce_sock *s)
{
	return (s->_flags & FL_SIDE_HOT) && s->_side->transport != NULL;
}

/* ---- loop ---- */

struct sconce__call {
	struct sconce__call *next;
	sconce_call_fn *fn;
	void *arg;
	uint64_t sock_id;			/* 0: not bound; CALL_WORK: posted, the end of a sconce_work() */
	int status;
};

#define CALL_WORK UINT64_MAX

struct call_list {
	struct sconce__call *head, **tail;
};

struct sock_list {
	struct sconce_sock *head, **tail;	/* linked by _next, _prevp */
};

enum { PIPES_KEPT = 16 };

struct post_loop {
	sconce_post_loop_fn *fn;
	void *arg;
};

#define WHEEL_LEVELS 22
#define WHEEL_SLOTS 128

struct wheel {
	void **slots;				/* [WHEEL_LEVELS][WHEEL_SLOTS] of nodes; NULL until used */
	uint64_t map[WHEEL_LEVELS][WHEEL_SLOTS / 64];	/* slots that may hold something */
	int64_t tick;				/* the next 16 ms tick to look at */
	int64_t next_tick;			/* no slot is due before; INT64_MAX: empty */
	int64_t next;				/* the same in ns */
	size_t count;
};

struct sconce_loop {
	/* what every turn and most events touch, in as few cache lines as will hold it: between two waits the kernel uses them */
	const struct sconce_backend *be;
	void *ctx;
	unsigned depth;				/* dispatches and callbacks on the stack */
	bool observed;				/* trace or accounting is on; or the cap is so small that each write must ask */
	bool end_wanted, end_fed;		/* work for this turn's end exists; feed() has been called for it */
	bool turn_wanted;			/* work for the next turn exists */
	bool kept;				/* what keep() was last told */
	bool stop;				/* sconce_loop_stop() was called */
	bool go_on;				/* the last turn's post-loop callbacks let the run go on */
	atomic_bool has_posted;
	int pipe_count;				/* of `pipes` */
	uint64_t turn;
	int64_t now, start;			/* ns */
	int64_t now_ms;				/* of now, since start */
	int64_t deadline;			/* as told to be->timer() */
	double timeout;				/* loop timeout, seconds; negative: none */
	struct sconce_sock *current;		/* being dispatched */
	struct sconce_sock *gather_for;		/* may append to the gather buffer; NULL: nobody */
	struct sconce__item *gather;		/* POOL_GATHER, GATHER_SIZE of payload; NULL: no memory */
	size_t gather_len;
	struct sconce__item *marks, *marks_tail;	/* completions among the gathered bytes */
	struct sconce__queue *reserve_queue;	/* for what the kernel refuses of them; not NULL: gather is not either */
	struct sconce_sock *gather_owner;	/* whose bytes or marks there are, when there are any */
	struct sock_list dirty;			/* to be flushed at the end of the dispatch, or in step 5 */
	uint64_t hooks;				/* run so far */
	struct sconce_sock *post_socks, **post_socks_tail;	/* with a post-loop callback */
	size_t post_count, post_cap;
	struct post_loop *post;
	int pipes[PIPES_KEPT][2];		/* idle ones, for transfers */
	char *read_buf;				/* SCONCE_READ_SHARED; NULL until used */
	void *scratch;				/* sconce_scratch_take(); NULL: taken, or not used yet */
	bool ending;				/* in steps 4 to 6 */
	bool step7;				/* in post-loop callbacks */

	/* work lists */
	struct sock_list later;			/* dirty, but in the next turn */
	struct sock_list hups;			/* to be watched for hang-ups, if still paused at the turn's end */
	struct sock_list closing;		/* step 6, in the order closed */
	struct sconce_sock *unread_offering;	/* its event_read runs for pushed-back bytes alone */
	struct sconce_sock *unread;		/* with pushed-back input that may be offered; by side->unread_next */
	struct call_list calls;			/* step 5 */

	/* the slot table */
	struct sconce_sock ***chunks;
	uint32_t chunk_count, slot_free, slot_used;	/* slot_free: first free slot + 1, 0 none */
	uint64_t serial;
	size_t count, all_count;		/* application's sockets and watches; with the library's own */
	size_t watches;				/* of count */
	size_t refs;				/* what else keeps the loop running: timers, calls, refs, signals, children, work */

	/* memory */
	struct sconce__item *free_records, *free_small, *reserve;
	struct sconce__item *reserve_block;	/* RECORDS of them */
	unsigned free_small_count, free_record_count;
	struct sconce__item *late, **late_tail;	/* done() of calls that failed without memory for a queue; step 5 */
	struct sconce__queue *free_queues;
	struct sconce__item *spare;		/* POOL_HEAP, reserved before large sends */

	/* time */
	struct sconce_timer *heap;
	uint64_t timer_order;
	struct wheel wheel;

	/* other threads */
	pthread_mutex_t post_lock;
	void (*wake)(void *ctx);		/* the backend's own, which a trace does not change under their feet */
	void *wake_ctx;
	struct call_list posted;
	size_t works;				/* sconce_work() under way */
	bool work_user;				/* counted among the pool's users */
	pthread_t thread;

	/* endpoints, watches */
	struct sconce_listener *starved;	/* listeners in EMFILE pause: any of them; see listen.c */
	size_t starved_count;
	int fresh_fd;				/* just made by us: needs no prepare(); -1 none */
	int accepting_fd;			/* offered to an accept hook; -1 none */
	uint64_t newest;			/* id of what that hook made of it, 0: nothing; armed when the hook returns */
	struct sconce__signals *signals;
	struct sconce__child *children;
	struct sconce__lookup *lookups;		/* under way, or late */
	sconce_resolver_fn *resolver;		/* NULL: the default */
	void *resolver_arg;
	sconce_addr_resolver_fn *addr_resolver;	/* the same for names of addresses */
	void *addr_resolver_arg;
	struct sconce__cares *cares;		/* names that nameservers are asked for; NULL until used */
	char *nameservers;			/* sconce_set_nameservers(); NULL: the system's */

	/* options and state */
	uint64_t high, low, cap;
	unsigned flags, backend_flags;
	bool running, freeing;
	const struct sconce_backend *real_be;	/* under a trace */
	void *real_ctx;
	struct sconce_backend *trace_be;
	sconce_trace_fn *trace_fn;
	void *trace_arg;
	struct account *accounts;
	size_t account_count, account_cap;
	bool accounting;
};

static inline bool
gather_in_use(const struct sconce_loop *l)
{
	return l->gather_len > 0 || l->marks != NULL;
}

static inline bool
has_gathered(const struct sconce_sock *s)
{
	return s->loop->gather_owner == s && gather_in_use(s->loop);
}

/* Debug builds (-DSCONCE_DEBUG) find uses from a thread that is not the loop's. */
#ifdef SCONCE_DEBUG
#define CHECK_THREAD(l) \
	assert(pthread_equal((l)->thread, pthread_self()) && "a loop and its sockets are used in the loop's thread")
#else
#define CHECK_THREAD(l) ((void)0)
#endif

/* memory (loop.c) */
static inline void *
l_alloc(struct sconce_loop *l, size_t size)
{
	return l->be->alloc(NULL, size, l->ctx);
}
static inline void *
l_realloc(struct sconce_loop *l, void *ptr, size_t size)
{
	return l->be->alloc(ptr, size, l->ctx);
}
static inline void
l_free(struct sconce_loop *l, void *ptr)
{
	if (ptr != NULL)
		l->be->alloc(ptr, 0, l->ctx);
}
void *sconce__zalloc(struct sconce_loop *l, size_t size);

/* loop.c */
/* Work for steps 4 to 6 of this turn (or, made in them, of the next) exists. */
void sconce__feed(struct sconce_loop *l);
/* Work that must wait for the next turn exists. */
void sconce__feed_turn(struct sconce_loop *l);
/* Something to wait for came (+1) or went (-1); the same for a socket. */
void sconce__keep_changed(struct sconce_loop *l);
static inline void
keep_update(struct sconce_loop *l)
{
	if (unlikely(((l->count | l->refs) != 0) != l->kept))
		sconce__keep_changed(l);
}
void sconce__keep(struct sconce_loop *l, int change);
static inline void
count_sock(struct sconce_loop *l, int change)
{
	l->count += (size_t)change;
	keep_update(l);
}
void sconce__post_loop_drop(struct sconce_sock *s);	/* with a side record only */
/* Queues a prepared call record for step 5; cannot fail. */
void sconce__call_push(struct sconce_loop *l, struct sconce__call *c);
/* The earliest deadline changed. */
void sconce__deadline_changed(struct sconce_loop *l);
/* Ends a turn of sconce__libev_turns(): steps 4 to 7.  False: sconce_loop_run() wants to look around. */
bool sconce__turn_over(struct sconce_loop *l);
/* Sets the loop's idea of now. */
void sconce__read_clock(struct sconce_loop *l);
/* sconce_backend_begin() of a backend that knows the time. */
void sconce__begin(struct sconce_loop *l, int64_t now);
static inline bool
sconce__in_hook(const struct sconce_loop *l)
{
	return l->depth > 0;
}

/* lists */
static inline void
list_init(struct sock_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}
void sconce__list_push(struct sock_list *list, struct sconce_sock *s);
/* Takes the first off a list that nothing is appended to: one that was taken over to be worked through. */
static inline struct sconce_sock *
list_pop(struct sock_list *batch)
{
	struct sconce_sock *s = batch->head;

	if (s == NULL)
		return NULL;
	batch->head = s->_next;
	if (batch->head != NULL)
		batch->head->_prevp = &batch->head;
	s->_next = NULL;
	s->_prevp = NULL;
	return s;
}
/* Takes `s` off the list that it is on. */
void sconce__list_remove(struct sconce_loop *l, struct sconce_sock *s);

/* table.c */
enum { SLOT_BITS = 24 };				/* of an id; the serial is above them */
int sconce__table_add(struct sconce_loop *l, struct sconce_sock *s);	/* gives s->id; 0 or -ENOMEM */
void sconce__table_remove(struct sconce_loop *l, struct sconce_sock *s);
struct sconce_sock *sconce__table_get(const struct sconce_loop *l, uint64_t id);	/* closed ones too */
struct sconce_sock *sconce__table_at(const struct sconce_loop *l, uint32_t slot);	/* NULL: empty */
void sconce__table_fini(struct sconce_loop *l);

/* sock.c */
int sconce__sock_init(struct sconce_sock *s, struct sconce_loop *l, const struct sconce_sock_ops *ops, int fd, uint32_t flags);
struct sconce__side *sconce__side(struct sconce_sock *s);		/* makes it; NULL: no memory */
void sconce__side_trim(struct sconce_sock *s);				/* frees it if nothing is in it any more; it must not be in use */
void sconce__sock_dirty(struct sconce_sock *s);			/* to be settled at the end of the dispatch or in step 5 */
void sconce__sock_later(struct sconce_sock *s);			/* to be settled in the next turn */
void sconce__interest(struct sconce_sock *s);			/* flags that decide interest have changed */
void sconce__arm(struct sconce_sock *s);				/* applies it */
void sconce__arm_new(struct sconce_sock *s);			/* the same, of one that most likely just reads */
int sconce__attach_fd(struct sconce_sock *s, int fd);			/* gives an fd to a socket without one */
void sconce__drop_fd(struct sconce_sock *s);			/* takes it away again and closes it (connect tries the next address) */
void sconce__sock_remove_now(struct sconce_sock *s);		/* FL_WATCH: off every list, be->del(handed on), table and counts; no hook */
void sconce__step6(struct sconce_loop *l);				/* closes */
void sconce__sock_error(struct sconce_sock *s, int errnum);		/* event_err is due */
void sconce__side_hot(struct sconce_sock *s);			/* recomputes FL_SIDE_HOT */
void sconce__pause_set(struct sconce_sock *s, unsigned why, bool on);	/* SCONCE_PAUSE_... bits, with all that follows */
void sconce__sock_relist(struct sconce_sock *s);			/* a closed socket has something for step 6 */
void sconce__sock_unhold(struct sconce_sock *s);			/* loop_free: a closed socket's holds are void */

static inline uint64_t
high_mark(const struct sconce_sock *s)
{
	return s->_side != NULL && s->_side->marks_set ? s->_side->high : s->loop->high;
}

static inline uint64_t
low_mark(const struct sconce_sock *s)
{
	return s->_side != NULL && s->_side->marks_set ? s->_side->low : s->loop->low;
}

static inline uint64_t
cap_of(const struct sconce_sock *s)
{
	return s->_side != NULL && s->_side->cap_set ? s->_side->cap : s->loop->cap;
}

/* The gather buffer is filled without asking for the cap. */
static inline bool
cap_is_wide(const struct sconce_sock *s)
{
	return cap_of(s) >= GATHER_SIZE;
}

/* Whether `s` just reads, and nothing about that has changed. */
static inline bool
just_reads(const struct sconce_sock *s)
{
	return !(s->_flags & (FL_PAUSED | FL_WISH_WRITE | FL_STUCK | FL_INTEREST | FL_SOURCE | FL_SIDE_HOT | FL_IDLE_OFF));
}

static inline unsigned
sock_wants(const struct sconce_sock *s)
{
	uint32_t f = s->_flags;
	unsigned events = 0;

	if ((f & FL_PAUSED) == 0 || (f & FL_SOURCE))
		events |= SCONCE_READ;
	if ((f & FL_STUCK) || (f & (FL_WISH_WRITE | FL_WR_END)) == FL_WISH_WRITE)
		events |= SCONCE_WRITE;
	return events;
}

/* dispatch.c */
void sconce__enter(struct sconce_loop *l, struct sconce_sock *s);	/* hooks of `s` follow; NULL: other callbacks */
void sconce__leave(struct sconce_loop *l);				/* flushes all that they wrote */
/* The same of the outermost dispatch, which has written nothing that still waits. */
static inline void
leave_quiet(struct sconce_loop *l)
{
	l->gather_for = NULL;
	l->current = NULL;
	l->depth = 0;
	if (unlikely(l->end_wanted) && !l->end_fed)
		sconce__feed(l);
}
void sconce__flush_dirty(struct sconce_loop *l);
/* `s` is readable, and it is a hook of `outer` that knows: its dispatch, as plain as if the backend had said so. */
void sconce__ready_within(struct sconce_sock *outer, struct sconce_sock *s);
void sconce__step4(struct sconce_loop *l);				/* pushed-back input */
void sconce__hook_begin(struct sconce_loop *l, const struct sconce_sock *s, const char *name, int64_t arg, void *mark);
void sconce__hook_end(struct sconce_loop *l, const struct sconce_sock *s, const char *name, void *mark);
struct hook_mark {
	int64_t cpu;
	const char *type;
};
/* Calls a hook (or completion) that exists, with trace and accounting when on. */
#define CALL_HOOK(l, s, label, argvalue, call) do { \
		(l)->hooks++; \
		if (unlikely((l)->observed)) { \
			struct hook_mark mark_; \
			sconce__hook_begin((l), (s), (label), (argvalue), &mark_); \
			call; \
			sconce__hook_end((l), (s), (label), &mark_); \
		} else { \
			call; \
		} \
	} while (0)

/* queue.c */
struct sconce__item *sconce__record(struct sconce_loop *l);		/* NULL: no memory at all */
struct sconce__item *sconce__bytes(struct sconce_loop *l, size_t cap);	/* an item with room for cap bytes, or NULL */
void sconce__item_free(struct sconce_loop *l, struct sconce__item *it);
struct sconce__queue *sconce__queue(struct sconce_sock *s);		/* makes it; NULL: no memory */
struct sconce__queue *sconce__queue_sure(struct sconce_sock *s);	/* the same, from the reserve at worst */
void sconce__queue_append(struct sconce__queue *q, struct sconce__item *it);
void sconce__queue_trim(struct sconce_sock *s);			/* frees it when nothing is left in it */
void sconce__finish_head(struct sconce_sock *s, int status);		/* head item is finished: to the done list */
void sconce__count_lost(struct sconce_sock *s, uint64_t bytes);
void sconce__cancel(struct sconce_sock *s, int status);		/* every item: to the done list */
bool sconce__run_done(struct sconce_sock *s, int max);		/* runs due completions; true: some are left */
void sconce__late_run(struct sconce_loop *l);			/* step 5: those */
void sconce__fail_call(struct sconce_sock *s, sconce_done_fn *done, void *arg, int status);	/* done(status) from the loop */
bool sconce__reserve_spare(struct sconce_loop *l, size_t len);
void sconce__queue_fini(struct sconce_loop *l);
bool sconce__gather_ready(struct sconce_loop *l);			/* the gather buffer and its reserves exist */
void sconce__gather_gone(struct sconce_loop *l);			/* the gather buffer is an item now */

/* gather.c */
/* `n` of the gathered bytes are in the kernel; completions may be due. */
void sconce__gather_sent(struct sconce_loop *l, size_t n);
/* All that is gathered goes into its owner's queue.  Returns false when there is no memory (nothing changed). */
bool sconce__gather_commit(struct sconce_loop *l);
/* The same, which cannot fail: at worst the gather buffer itself becomes an item. */
void sconce__gather_spill(struct sconce_loop *l);
/* `s` gathers no more.  Returns how many bytes are dropped; completions go into the queue, to be cancelled with it. */
size_t sconce__gather_drop(struct sconce_sock *s);

/* flush.c */
/* Offers gathered bytes and queue to the kernel.  No hook runs.  from_loop: transfers and files may use
 * the shared buffer.  Returns true when all has gone. */
bool sconce__flush(struct sconce_sock *s, bool from_loop);
/* The same for a queue of one small item, which nothing else is to follow.  False: there is more to do. */
bool sconce__flush_lone(struct sconce_sock *s);
/* A step may move more than was left of the flush's share. */
static inline void
spend(size_t *budget, size_t n)
{
	*budget -= n < *budget ? n : *budget;
}
/* Puts `n` bytes that the kernel refused at the front (or behind what is queued); never fails after sconce__reserve_spare(). */
void sconce__keep_bytes(struct sconce_sock *s, const char *data, size_t n, bool front);
/* The same for bytes that the caller puts there. */
char *sconce__keep_room(struct sconce_sock *s, size_t n, bool front);
void sconce__set_stuck(struct sconce_sock *s);			/* the kernel has refused bytes */
void sconce__note_high(struct sconce_sock *s);			/* a queue that waits has grown: event_high may be due */
void sconce__send_failed(struct sconce_sock *s, int errnum);
ssize_t sconce__kernel_send(struct sconce_sock *s, const struct iovec *iov, int count, bool more);
void sconce__try_shutdown(struct sconce_sock *s);			/* SHUT_WR when wanted and the queue has gone */

/* raw.c: entries of the backend that it may lack */
int sconce__be_recvmmsg(const struct sconce_backend *be, int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx);
int sconce__be_sendmmsg(const struct sconce_backend *be, int fd, struct mmsghdr *msgs, unsigned count, int flags, void *ctx);
ssize_t sconce__be_recvmsg(const struct sconce_backend *be, int fd, struct msghdr *msg, int flags, void *ctx);
/* A new fd for `s` (NULL: it is a listener's), on which the endpoint's options are set: the type's hook `open`.  The record
 * names *a, or the fd.  0 or -errno with *fail (may be NULL). */
int sconce__prepare_fd(struct sconce_sock *s, int fd, const struct sconce_addr *a, struct sconce_fail *fail);

/* read.c */
/* `n` of the `len` that were asked for have been read: activity, and perhaps there is more. */
void sconce__read_active(struct sconce_sock *s, size_t n, size_t len);
ssize_t sconce__kernel_read(struct sconce_sock *s, void *buf, size_t len);
void sconce__input_end(struct sconce_sock *s, int errnum);
void sconce__unread_drop(struct sconce_sock *s);			/* frees pushed-back bytes, off the list */
size_t sconce__unread_take(struct sconce_sock *s, void *buf, size_t len);
bool sconce__offerable(const struct sconce_sock *s);			/* there is input that the kernel will not tell of */
void sconce__unread_wake(struct sconce_sock *s);			/* offer it in step 4 */
/* The fd is readable, and the hook has read pushed-back bytes alone and pushed them back: it would be called for ever.  What
 * the kernel has goes behind them. */
void sconce__unread_grow(struct sconce_sock *s);

/* write.c, for transfer.c */
struct sconce__item *sconce__transfer_item(struct sconce_sock *dst, int *error_out);	/* NULL: -EPIPE or -ENOMEM */
int sconce__transfer_put(struct sconce_sock *dst, struct sconce__item *it);		/* what the call returns */

/* transfer.c */
enum pump { PUMP_DONE, PUMP_SOURCE, PUMP_STUCK, PUMP_BUDGET, PUMP_FAILED };
enum pump sconce__pump(struct sconce_sock *dst, struct sconce__transfer *t, size_t *budget);
/* The item is finished or cancelled.  Frees `t`; returns the source's id, 0 when that is closed. */
uint64_t sconce__transfer_end(struct sconce__transfer *t);
/* The completion of a transfer from that source runs next, or there is none: the source reads again. */
void sconce__transfer_told(struct sconce_loop *l, uint64_t src_id);
void sconce__transfer_source_closed(struct sconce_sock *src);
void sconce__transfer_source_ready(struct sconce_sock *src);
/* The same outside of any dispatch: moves what there is, if that needs nothing but a read and a write.  False: it does. */
bool sconce__transfer_flow(struct sconce_sock *src);
uint64_t sconce__transfer_stuck_bytes(const struct sconce__transfer *t);
void sconce__transfer_fini(struct sconce_loop *l);

/* timer.c */
int64_t sconce__clock(const struct sconce_loop *l);		/* ns; in hooks the turn's time, elsewhere read now */
int64_t sconce__ns(double secs);				/* rounded up; less than 0 and NaN: 0; at most 60 years */
void sconce__timers_run(struct sconce_loop *l);			/* step 2 */
int64_t sconce__timers_next(const struct sconce_loop *l);		/* ns, INT64_MAX none */
void sconce__timers_unbind(struct sconce_sock *s);			/* close: stops and unties all bound timers */
void sconce__timers_cancel_all(struct sconce_loop *l);		/* loop_free */
void sconce__timer_set(struct sconce_timer *t, int64_t due);		/* starts at an absolute time, ns */
void sconce__timer_quiet(struct sconce_timer *t, bool quiet);		/* a quiet timer does not keep the loop running; its fn is no hook and is called outside of any */

/* timeout.c */
int sconce__timeouts_init(struct sconce_loop *l);			/* loop_new: 0 or -ENOMEM */
void sconce__timeouts_run(struct sconce_loop *l);			/* step 5: idle timeouts that are due */
int64_t sconce__timeouts_next(const struct sconce_loop *l);
void sconce__timeouts_cancel(struct sconce_sock *s);		/* close */
void sconce__idle_resume(struct sconce_sock *s);			/* reads are watched again, or activity after it fired */
void sconce__idle_set(struct sconce_sock *s, uint32_t ms);		/* close_flush's deadline uses it too; 0 cancels */
void sconce__output_stuck(struct sconce_sock *s);			/* the kernel began to refuse: starts OUTPUT */
void sconce__output_moved(struct sconce_sock *s);			/* it took something: restarts; queue empty: stops */
/* The kernel accepted bytes: output-stall restarts. */
static inline void
took_some(struct sconce_sock *s)
{
	if (unlikely(s->_flags & FL_DRAIN) && s->_side != NULL)
		sconce__output_moved(s);
}
void sconce__ending_expired(struct sconce_sock *s);		/* sock.c: called by the wheel for an ENDING socket */
void sconce__ending_step(struct sconce_sock *s);			/* sock.c: its queue may have gone */
void sconce__ending_read(struct sconce_sock *s);			/* sock.c: its input is discarded */
void sconce__fire_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind);	/* hook or close; from the loop */
void sconce__connect_expired(struct sconce_sock *s);		/* connect.c: SCONCE_TIMEOUT_CONNECT fired */
void sconce__timeouts_fini(struct sconce_loop *l);

/* post.c */
int sconce__post_init(struct sconce_loop *l);
void sconce__post_run(struct sconce_loop *l, int status);		/* step 5 */
void sconce__post_fini(struct sconce_loop *l);			/* frees what is still posted then, without running it */
void sconce__post_push(struct sconce_loop *l, struct sconce__call *c);	/* any thread; `c` is malloc()'s and now the list's */
void sconce__post_fork(struct sconce_loop *l);			/* child, first of all: the lock may be held by nobody */

/* work.c */
void sconce__work_cancel(struct sconce_loop *l);			/* loop_free: waits for what runs; the rest is posted with -ECANCELED */
void sconce__work_fork(struct sconce_loop *l);			/* child, after be->fork(): the threads are gone */

/* transport.c */
/* Drives the handshake; sets FL_CONNECT_TOLD when decided. */
void sconce__handshake(struct sconce_sock *s);
void sconce__handshake_begin(struct sconce_sock *s);		/* the fd is connected, the transport has a handshake */
/* What the fd must be watched for when the core wants `wants`. */
unsigned sconce__transport_wants(const struct sconce_sock *s, unsigned wants);
/* The fd is ready: what the core is to treat as ready (0: the event was the handshake's). */
unsigned sconce__transport_ready(struct sconce_sock *s, unsigned events);
ssize_t sconce__transport_readv(struct sconce_sock *s, const struct iovec *iov, int count);	/* -EAGAIN for WANT_* */
ssize_t sconce__transport_writev(struct sconce_sock *s, const struct iovec *iov, int count);
int sconce__transport_shutdown(struct sconce_sock *s);		/* 0, -EAGAIN, -errno */
bool sconce__transport_pending(const struct sconce_sock *s);
void sconce__transport_fini(struct sconce_sock *s);

/* connect.c */
void sconce__connect_ready(struct sconce_sock *s);			/* a connecting socket is writable, or in error */
void sconce__connect_fini(struct sconce_sock *s);
void sconce__connect_report(struct sconce_sock *s);		/* FL_CONNECT_TOLD: runs event_connect */
void sconce__fail_set(struct sconce_sock *s, const char *operation, int errnum, const char *what);
void sconce__fail_fill(struct sconce_fail *f, const char *operation, int errnum, const char *what);	/* `f` may be NULL */
void sconce__text_clean(char *text);				/* control characters become '?' */
void sconce__connect_decide(struct sconce_sock *s, int errnum);	/* the connect or handshake has ended */
void sconce__fail_why(struct sconce_fail *f, const char *operation, int errnum, const char *what, const char *why);	/* in other words */
int sconce__fail_addr(struct sconce_fail *f, const char *operation, int r, const struct sconce_addr *a);	/* returns `r`, a -errno */
struct sconce_fail *sconce__fail_record(struct sconce_sock *s);	/* the socket's own; NULL: no memory */
void sconce__fail_told(struct sconce_sock *s, int errnum);		/* event_err is due: which operation, and with whom */
void sconce__fail_unsent(struct sconce_sock *s);			/* the error that follows is no send's */
/* A connect has worked, and event_connect has not run: it is put off until a handshake has ended.  False: there is none. */
bool sconce__connect_untold(struct sconce_sock *s);
bool sconce__connect_target(const struct sconce_sock *s, struct sconce_addr *out);	/* the address being tried, if known */
int sconce__connect_handshake(struct sconce_sock *s);		/* prepares for one on an open socket; 0 or -ENOMEM */

void sconce__fail_copy(struct sconce_sock *s, const struct sconce_fail *fail);	/* as the socket's record */
int sconce__may_connect(const struct sconce_sock *s);		/* 0; -EBADF, -EALREADY, -EISCONN */
/* The same as sconce_connect_endpoint(), to the first of `count` addresses that answers. */
int sconce__connect_list(struct sconce_sock *s, const struct sconce_endpoint *ep, const struct sconce_addr *addrs, size_t count);

/* addr.c */
int sconce__addr_ask(const struct sconce_sock *s, bool peer, struct sconce_addr *out);	/* the kernel; 0 or -errno */
/* A numeric host, or "*", of a family (AF_UNSPEC: what it looks like), with port 0.  0; -EINVAL, -ENODEV (no such interface). */
int sconce__addr_literal(const char *host, int family, struct sconce_addr *out);
int sconce__addr_unix(const char *path, struct sconce_addr *out);	/* a path, or "@name"; 0 or -EINVAL */
void sconce__addr_set_port(struct sconce_addr *a, int port);
bool sconce__addr_is_path(const struct sconce_addr *a);

/* endpoint.c */
/* The address of one that needs no look-up.  0; -EAGAIN: it needs one; -EINVAL. */
int sconce__endpoint_addr(const struct sconce_endpoint *ep, struct sconce_addr *out);

/* sockopt.c */
enum { HOW_PASSIVE = 1, HOW_DGRAM = 2, HOW_ANY = 4 };		/* to be bound to an endpoint; to every address of both families */
/* Sets the options that concern a socket before bind or connect.  0 or -errno with *fail. */
int sconce__socket_options(struct sconce_loop *l, int fd, const struct sconce_addr *a, const struct sconce_socket_options *o,
	unsigned how, struct sconce_fail *fail);

/* resolve.c */
/* A blocking look-up of addresses to bind to.  How many, or -errno with *fail (may be NULL). */
int sconce__resolve_now(struct sconce_loop *l, const char *host, const char *service, int family, int type,
	struct sconce_addr *addrs, size_t max, struct sconce_fail *fail);

/* resolve_cares.c */
void sconce__cares_fork(struct sconce_loop *l);			/* child, after be->fork(): what is under way begins again */
void sconce__cares_fini(struct sconce_loop *l);			/* loop_free: what is under way is cancelled, in deferred calls */

/* bind.c */
struct sconce__path {
	int owner;				/* the process that made it; 0: there is none */
	uint64_t dev, ino;			/* it is still ours while these match */
	char name[108];
};
/* Binds; a path is replaced when it is stale, and noted in *path, whose owner is 0 otherwise.  0 or -errno with *fail. */
int sconce__bind_addr(struct sconce_loop *l, int fd, const struct sconce_addr *a, int type,
	const struct sconce_socket_options *o, struct sconce__path *path, struct sconce_fail *fail);
void sconce__path_unlink(struct sconce__path *path);			/* if it is still ours */
int sconce__path_keep(struct sconce_sock *s, const struct sconce__path *path);	/* until close; 0 or -ENOMEM */
void sconce__path_gone(struct sconce_sock *s);			/* close: unlinks, unless detached; with a side record only */
/* An fd for `s` (NULL: a listener's) that is bound to *a, and *a as it was bound.  Or -errno with *fail. */
int sconce__open_bound(struct sconce_loop *l, struct sconce_sock *s, const struct sconce_endpoint *ep, struct sconce_addr *a,
	struct sconce__path *path, struct sconce_fail *fail);
bool sconce__endpoint_any(const struct sconce_endpoint *ep);		/* every address of both families */
int sconce__endpoint_check(const struct sconce_endpoint *ep, int type, struct sconce_fail *fail);	/* `type` 0: any; 0 or -errno */
/* Its addresses to bind to; blocks for a name.  How many, or -errno with *fail. */
int sconce__endpoint_addrs(struct sconce_loop *l, const struct sconce_endpoint *ep, struct sconce_addr *addrs, size_t max,
	struct sconce_fail *fail);

/* listen.c */
bool sconce__listener_complete(const struct sconce_listener_ops *ops);
/* The base, on an fd that listens; l->addr, l->_defer and l->v4_only are set.  0 or -errno; then the fd is still the caller's. */
int sconce__listener_begin(struct sconce_listener *l, struct sconce_loop *loop, const struct sconce_listener_ops *ops, int fd,
	const struct sconce__path *path);
void sconce__listeners_wake(struct sconce_loop *l);		/* an fd was freed */
void sconce__listener_uncount(struct sconce_sock *s);		/* destroy of a counted connection */
bool sconce__listeners_agree(struct sconce_loop *l);		/* sconce_verify(): their counts are right */
void sconce__listener_suspend(struct sconce_loop *l);		/* a nested run begins */
void sconce__listener_gone(struct sconce_listener *l);		/* close: counted sockets forget it */

/* watch.c, signal.c, child.c */
extern const struct sconce_sock_ops sconce__watch_ops;
void sconce__watch_dispatch(struct sconce_sock *s, unsigned events);
int sconce__watch_start_internal(struct sconce_watch *w, struct sconce_loop *l, int fd, unsigned events, sconce_watch_fn *fn, void *arg);
void sconce__signals_fini(struct sconce_loop *l);
int sconce__signals_fork(struct sconce_loop *l);			/* child, before be->fork(): 0 or -errno */
void sconce__children_fini(struct sconce_loop *l);
void sconce__children_fork(struct sconce_loop *l);

/* inspect.c */
void sconce__trace_state(struct sconce_loop *l, const struct sconce_sock *s, const char *name, int64_t arg);	/* only when l->trace_fn */
void sconce__inspect_fini(struct sconce_loop *l);
#define TRACE_STATE(l, s, name, arg) do { \
		if (unlikely((l)->observed)) \
			sconce__trace_state((l), (s), (name), (arg)); \
	} while (0)

/* backend_libev.c */
extern const struct sconce_backend sconce__libev;
/* Many turns like those of libev's run(), with no deadline but timer()'s, until sconce__turn_over() says no.  False: not on an
 * application's own loop. */
bool sconce__libev_turns(void *ctx);

#endif
