/* What the files of the soak share: the model of the world that sconce's behaviour is compared with.
 *
 *   soak_model.c    streams of known bytes, what must hold, failures
 *   soak_conn.c     the hooks
 *   soak_io.c       writing, reading, passing on
 *   soak_veil.c     a transport
 *   soak_open.c     new sockets
 *   soak_act.c      the other operations, and the choice among them
 *   soak_compare.c  plans whose outcome does not depend on timing, run on the simulator and on real sockets
 *   test_soak.c     arguments, one seed, the matrix */
#ifndef SOAK_H
#define SOAK_H

#include "sim.h"

#include <sconce/sconce.h>

enum {
	SOAK_TABLE = 2 * 1024 * 1024,	/* bytes that everybody writes from */
	SOAK_SHARE = 512 * 1024,	/* what one end may write of them */
	SOAK_ENDS = 160,		/* in one seed */
	SOAK_SEGS = 96,			/* in one direction */
	SOAK_CONNS = 20			/* at a time */
};

/* Where an operation is made. */
enum soak_place {
	AT_READ, AT_WRITE, AT_ERR, AT_HUP, AT_CONNECT, AT_LOW, AT_HIGH, AT_DRAIN, AT_TIMEOUT, AT_CLOSE, AT_DESTROY,
	AT_ACCEPT, AT_COMPLETION, AT_TIMER, AT_DEFERRED, AT_POST, AT_POST_LOOP, AT_OUTSIDE, SOAK_PLACES
};

/* What the matrix counts. */
enum soak_what {
	DO_CLOSE_SELF, DO_CLOSE_PEER, DO_CLOSE_THIRD, DO_WRITE, DO_PAUSE, DO_SHUTDOWN, DO_DETACH, DO_HOLD, DO_NO_MEMORY,
	SOAK_WHATS
};

extern const char *const soak_places[SOAK_PLACES];
extern const char *const soak_whats[SOAK_WHATS];

/* A part of a direction's bytes. */
struct soak_seg {
	const struct soak_end *from;	/* a transfer: what this end received from `at` on; NULL: the table's bytes */
	uint64_t at, len;
	bool open;			/* a transfer that has not ended: `len` is not known */
	bool unknown;			/* its bytes are not known: the source had lost its place */
};

/* One end of a wire, whoever has it: an object, the test itself (a raw fd), or nobody. */
struct soak_end {
	int index;
	struct soak_end *other;
	struct soak_conn *conn;
	int fd;				/* raw; -1 */
	bool tcp;

	/* what it sends */
	struct soak_seg segs[SOAK_SEGS];
	int seg_count;
	uint64_t own, own_end;		/* of the table: what it may still write */
	uint64_t known;			/* bytes of all segs but open ones */
	uint64_t lost;			/* accepted by connects that failed, less what was counted at a detach */
	uint64_t taken;			/* once it is gone: what the kernel took */
	uint64_t extra;			/* bytes of a handshake, which the kernel took as well */
	bool veiled;			/* its wire is for transports that shake hands */
	bool gone;			/* nobody has it any more */
	bool ended;			/* its sending was ended in some way */
	bool vague;			/* behind an open transfer whose length will never be known */
	int level;			/* transfers lead from lower to higher ones: no circles */

	/* what it has received */
	uint64_t got;
	bool got_vague;			/* a transfer has taken an unknown part */
	bool end_met;			/* the end of input was read */
	bool shut_rd;
	uint64_t given;			/* once its object is closed: what the kernel gave it */
};

/* A call with a completion. */
struct soak_pend {
	struct soak_pend *next;
	struct soak_conn *conn;
	int result;			/* of the call */
	uint64_t need;			/* bytes that must be in the kernel before it may be told 0 */
	unsigned long failed;		/* allocations by then; see check_output() */
	struct soak_seg *seg;		/* of a transfer, or a file that ends early */
	struct soak_end *src;		/* of a transfer */
	uint64_t src_id;
	uint64_t max;			/* of a transfer, or what such a file has */
	bool exact;			/* a transfer of bytes that all come from the kernel */
	bool relay;
};

struct soak_pends {
	struct soak_pend *head, **tail;
};

enum soak_connect { NOT_CONNECTING, CONNECTING, CONNECT_FAILED };

struct soak_conn {
	struct sconce_sock sock;
	struct soak_world *w;
	struct soak_end *end;
	int number;
	bool plain_table;		/* the table has few hooks */
	struct soak_pends waiting, refused;	/* calls that were accepted, calls that were not */
	enum soak_connect connect;
	bool last_connect;		/* no more wires in this seed */
	int connect_errnum;		/* of the last connect */

	/* what was asked of it */
	bool ending;			/* sconce_close_flush() */
	bool send_failed;
	uint64_t close_order;		/* our own sconce_close: its place; 0: none */
	unsigned holds, fd_holds;
	unsigned relays;		/* whose completion is to come: they hold it */
	unsigned late_fd_holds;		/* sconce_hold_fd() after event_close: of the memory */
	bool ever_held;
	bool relayed, source;		/* in a relay, a transfer's source */
	bool wish_write, transport;
	bool accepted;			/* its handshake began on an fd that was open */
	bool own_cap;			/* has a cap of its own */
	uint64_t low_set, high_set;	/* its marks */
	uint64_t low_mark;		/* the low one of the present crossing */
	unsigned paused;		/* the application's own reasons: SCONCE_PAUSE_WISH, _APP, _RATE */

	/* what it was told */
	unsigned closes;
	bool err_told, hup_told, high, owed_drain;
	bool has_read;			/* in its last event_read; or the kernel gave its transport more since */
	bool owed_unread;		/* pushed back outside of its event_read */
	unsigned ready_waits;		/* waits in which it was readable, watched and not called */
	int64_t timeout_set[SCONCE_TIMEOUT_KINDS];	/* when due; 0: not set */
	int64_t idle_from, idle_for;	/* ns: its input timeout, and since when at the latest */
	int64_t idle_since;		/* ... and since when at the earliest */
	struct sconce_timer timer;
	int64_t timer_due;		/* 0: not running */
	int64_t timer_every;
	struct soak_conn *next, *prev;	/* w->conns */
};

/* A deferred or posted call. */
struct soak_later {
	struct soak_world *w;
	uint64_t id;			/* of the socket it names, 0: none */
	uint64_t order;
	bool bound;
};

struct soak_world {
	uint64_t seed, random;
	bool trace, calm, freeing, shared;
	struct sim *sim;
	struct sconce_loop *loop;
	int file, short_file;
	uint64_t turn;
	int in_call;			/* > 0: a sconce call is on the stack */
	const struct soak_conn *reading;	/* whose event_read is */
	enum soak_place place;
	unsigned ops, sockets;
	int next_number;

	struct soak_end *ends[SOAK_ENDS];
	int end_count;
	struct soak_conn conns;		/* a ring */
	int conn_count;
	struct sconce_listener listener;
	bool listening, listener_used;
	uint64_t listener_order;
	char endpoint[64];

	uint64_t close_order, close_told;
	uint64_t defer_order, defer_told, post_order, post_told;
	uint64_t (*matrix)[SOAK_WHATS];
	uint64_t low_mark, high_mark;	/* of the loop */
	bool capped;			/* the loop has a small cap */
	int relays;
	unsigned completions;
	uint64_t hooks, sleeps;
};

/* ---- soak_model.c ---- */

extern unsigned char soak_table[SOAK_TABLE];
void soak_table_fill(void);

unsigned soak_random(struct soak_world *w, unsigned n);
bool soak_chance(struct soak_world *w, unsigned percent);

/* Says what is wrong with the seed, how to see it again, and ends the process. */
_Noreturn void soak_fail(struct soak_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define soak_must(w, cond, ...) do { if (!(cond)) soak_fail((w), __VA_ARGS__); } while (0)
void soak_trace(struct soak_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Two ends of a new wire; NULL: no more in this seed. */
struct soak_end *soak_wire(struct soak_world *w, bool tcp);
/* `len` more bytes, of the table or (open) of a transfer.  NULL: no room in the list. */
struct soak_seg *soak_sent(struct soak_end *e, const struct soak_end *from, uint64_t at, uint64_t len, bool open);
/* Whether these are the bytes at `pos` of what `e` sends. */
bool soak_is(const struct soak_end *e, uint64_t pos, const unsigned char *data, size_t len);
/* `e` has received these. */
void soak_received(struct soak_world *w, struct soak_end *e, const void *data, size_t len, const char *how);
/* The kernel has taken so much of `e`. */
uint64_t soak_taken(const struct soak_world *w, const struct soak_end *e);
/* The kernel has given it so much. */
uint64_t soak_given(const struct soak_world *w, const struct soak_end *e);
/* `e` meets the end of its input. */
void soak_end_met(struct soak_world *w, struct soak_end *e, bool error_told);

/* Before each wait: nothing is pending if it sleeps. */
void soak_on_wait(int64_t deadline, int64_t now, void *arg);
/* After the calm: everything that should have arrived has. */
void soak_all_arrived(struct soak_world *w);

/* ---- soak_conn.c ---- */

/* A new object for the end `e` on `fd` (-1: to be connected).  NULL: init failed, the fd is still open. */
struct soak_conn *soak_conn_new(struct soak_world *w, struct soak_end *e, int fd, int *error_out);
struct soak_conn *soak_conn_of(struct sconce_sock *s);
struct soak_conn *soak_find(struct soak_world *w, uint64_t id);	/* NULL: closed */
/* A call with a completion returned `r`. */
void soak_pend_add(struct soak_conn *c, struct soak_pend *p, int r);
sconce_done_fn soak_done;
extern const struct sconce_listener_ops soak_listener_ops;
sconce_timer_fn soak_timer_fired;
sconce_call_fn soak_deferred, soak_posted;
sconce_post_loop_fn soak_post_loop;
sconce_sock_post_loop_fn soak_sock_post_loop;

/* ---- soak_io.c ---- */

/* Around every call of sconce's: no hook may run before it is back.  soak_back() gives `r`. */
void soak_call(struct soak_world *w);
int soak_back(struct soak_world *w, int r);
/* -ENOMEM is an answer only when an allocation has failed: `failed` is how many had before. */
void soak_check_error(struct soak_world *w, const struct soak_conn *c, int r, unsigned long failed, const char *what);
/* Not closed, and not closing. */
bool soak_is_live(const struct soak_conn *c);
/* Writes something in some way; false: it has written enough. */
bool soak_write(struct soak_conn *c);
/* Reads in some way (all: everything there is); from a hook or outside. */
void soak_read(struct soak_conn *c, bool all);
/* If the two allow it. */
void soak_transfer(struct soak_conn *src, struct soak_conn *dst);
void soak_relay(struct soak_conn *a, struct soak_conn *b);
/* A far end without an object does something. */
void soak_raw_act(struct soak_world *w);
/* All of them read what there is.  True: some had something. */
bool soak_calm_turn(struct soak_world *w);

/* ---- soak_veil.c ---- */

/* Puts a transport between the object and its fd; false: no memory.  The other end needs one of the same kind. */
bool soak_veil(struct soak_conn *c, bool shakes);
/* Bytes that it holds, which the kernel will not tell of. */
size_t soak_veil_pending(const struct soak_conn *c);
/* Whether its reads, or its writes, wait for the other direction. */
bool soak_veil_waits(const struct soak_conn *c, bool reads);

/* ---- soak_act.c ---- */

/* Some operations, made from `place`; `self` may be NULL; `e` is its end. */
void soak_act(struct soak_world *w, enum soak_place place, struct soak_conn *self, struct soak_end *e);
/* Any object; &w->conns: none. */
struct soak_conn *soak_some_conn(struct soak_world *w);
/* sconce_close(), and what follows of it. */
void soak_close(struct soak_conn *c);
void soak_make_calm(struct soak_world *w);

/* ---- soak_open.c ---- */

/* Opens more sockets. */
void soak_open(struct soak_world *w);
void soak_listen(struct soak_world *w);
/* Connects one that has no fd, to the listener. */
void soak_connect(struct soak_conn *c);

/* ---- soak_compare.c ---- */

/* Runs the plan of a seed in both worlds and compares; false: they differ, which was printed. */
bool soak_compare(uint64_t seed, bool trace);

#endif
