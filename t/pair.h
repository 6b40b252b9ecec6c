/* Two connected sockets in one loop, both real, that write down what happens to them; and a backend that
 * counts system calls and makes them fail.
 *
 *	static struct pair p;
 *
 *	pair_open(&p, WIRE_UNIX);			p.a and p.b are connected, hooks recorded
 *	sconce_write(&p.a.sock, "hello", 5);
 *	PAIR_UNTIL(&p, p.b.in_len == 5);		turns the loop, bounded
 *	ck_assert_mem_eq(p.b.in, "hello", 5);
 *	ck_assert_str_eq(p.log, "b.read ");
 *	pair_free(&p);					verifies, frees the loop, checks the farewells
 *
 * A hook first counts and logs itself, then does what the test put into `on`; without one event_read reads all
 * there is into `in`, and the others do nothing. */
#ifndef PAIR_H
#define PAIR_H

#include <check.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sconce/sconce.h>

enum wire { WIRE_UNIX, WIRE_TCP, WIRES };

struct pair;

/* What event_read, unless the test says otherwise, does. */
enum reading {
	READ_ALL,		/* sconce_read() until -EAGAIN or the end */
	READ_ONCE,		/* one sconce_read() */
	READ_SHARED_ONCE,	/* one sconce_read_shared() */
	READ_NOTHING
};

/* One end. */
struct end {
	struct sconce_sock sock;	/* poisoned after destroy: use the copies below */
	struct pair *pair;		/* whose log it writes to */
	char tag[8];			/* its name in the log: "a", "b" */
	bool used;			/* was initialised; pair_free() asks for its farewell */

	/* settable: what the hooks do */
	enum reading reading;
	size_t read_size;		/* of the sconce_read() calls; 0: 16 KiB */
	bool close_at_end;		/* sconce_close() when a read gives 0 or an error */
	struct {
		void (*read)(struct end *e), (*write)(struct end *e), (*hup)(struct end *e);
		void (*low)(struct end *e), (*high)(struct end *e), (*drain)(struct end *e);
		void (*close)(struct end *e), (*destroy)(struct end *e);
		void (*err)(struct end *e, int errnum), (*connect)(struct end *e, int errnum);
		void (*timeout)(struct end *e, enum sconce_timeout_kind kind);
	} on;
	void *arg;			/* the test's own */
	int n;

	/* what was read by the hooks above */
	char *in;
	size_t in_len, in_cap;
	ssize_t last;			/* result of the last read */
	bool ended;			/* a read gave 0 */

	/* how often each hook ran */
	unsigned reads, writes, errs, hups, connects, lows, highs, drains, timeouts, closes, destroys;
	int errnum;			/* of the last event_err or event_connect */

	/* as event_close saw them */
	int reason, close_errnum, close_fd;
	uint64_t unsent;
};

struct pair {
	struct sconce_loop *loop;
	struct end a, b;
	struct end others[8];		/* for end_open(); checked and freed by pair_free() */
	int other_count;
	char log[16384];		/* "a.read b.err(32) a.close " */
	size_t log_len;
};

/* The hooks, for tables of a test's own; each is that of `struct end`.  A table must have end_destroy. */
void end_event_read(struct sconce_sock *s);
void end_event_write(struct sconce_sock *s);
void end_event_err(struct sconce_sock *s, int errnum);
void end_event_hup(struct sconce_sock *s);
void end_event_connect(struct sconce_sock *s, int errnum);
void end_event_low(struct sconce_sock *s);
void end_event_high(struct sconce_sock *s);
void end_event_drain(struct sconce_sock *s);
void end_event_timeout(struct sconce_sock *s, enum sconce_timeout_kind kind);
void end_event_close(struct sconce_sock *s);
void end_destroy(struct sconce_sock *s);

/* All of them. */
extern const struct sconce_sock_ops end_ops;

/* The end that `s` is the base of. */
struct end *end_of(const struct sconce_sock *s);

/* ---- wires ---- */

/* Two connected stream sockets; blocking, close-on-exec.  The caller closes them. */
void wire_make(enum wire wire, int fds[2]);

/* Makes the buffers of both directions as small as the kernel allows. */
void wire_narrow(int fd);

/* ---- pairs ---- */

/* A loop with default options and the ends a and b on a wire. */
void pair_open(struct pair *p, enum wire wire);

/* The same with other tables (NULL: end_ops) and options (NULL: the default). */
void pair_open_with(struct pair *p, enum wire wire, const struct sconce_sock_ops *a, const struct sconce_sock_ops *b,
	const struct sconce_loop_options *opts);

/* The usual fixture: both ends with all hooks on the counting backend, settled, counts cleared.  Marks in bytes; 0: the default. */
void pair_open_counted(struct pair *p, enum wire wire, uint64_t low, uint64_t high);

/* Forgets all that was in `p`, which holds no loop. */
void pair_clear(struct pair *p);

/* A loop without ends; and one more end on `fd` (-1: none), which it then owns. */
void pair_open_loop(struct pair *p, const struct sconce_loop_options *opts);
struct end *end_open(struct pair *p, const char *tag, const struct sconce_sock_ops *ops, int fd);

/* Verifies the loop, frees it, and asserts that every end that was opened had event_close (if its table has that hook) and
 * destroy exactly once. */
void pair_free(struct pair *p);

/* Turns that do not sleep. */
void pair_turn(struct pair *p, int turns);

/* Turns until three in a row ran no hook; at most PAIR_TURNS. */
void pair_quiet(struct pair *p);

enum { PAIR_TURNS = 1500 };

/* Turns until `cond` holds; fails the test after PAIR_TURNS turns of at most 2 ms. */
#define PAIR_UNTIL(p, cond) do { \
		for (int turn_ = 0; !(cond) && turn_ < PAIR_TURNS; turn_++) \
			sconce_loop_step((p)->loop, 0.002); \
		ck_assert_msg((cond), "never: %s\nlog: %.600s", #cond, (p)->log); \
	} while (0)

/* Appends to the log (what does not fit is dropped), clears it. */
void pair_log(struct pair *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pair_log_clear(struct pair *p);

/* A completion that logs "<arg>=<status> ", arg a string: "F=0 ". */
void log_done(struct sconce_sock *s, void *arg, int status);

/* A completion that counts. */
struct counted {
	int calls;
	int status;			/* the last */
};
void count_done(struct sconce_sock *s, void *arg, int status);

/* ---- bytes whose place can be told ---- */

/* Fills `buf` with the bytes `from`, `from` + 1 ... of an endless sequence; and whether it holds them. */
void bytes_fill(void *buf, size_t len, uint64_t from);
bool bytes_are(const void *buf, size_t len, uint64_t from);

/* ---- the backend that counts and fails ---- */

/* What it does, and what it saw.  One for the process: tests with two loops share it. */
struct fault {
	/* settable; all zero: it only counts */
	bool eintr;			/* every reading and writing call fails with EINTR before it works */
	int fd;				/* what follows concerns this fd alone; 0: all */
	size_t max_send, max_recv;	/* bytes taken at most by one call; 0: no limit */
	long send_again, recv_again;	/* so many calls from now on give EAGAIN; -1: all */
	int send_errno, recv_errno;	/* the next such call fails with it, once */
	long alloc_fail;		/* so many allocations work, then one fails ...; 0: none fails, 1: the next */
	bool alloc_fail_all;		/* ... and all later ones too */
	bool no_splice;			/* EINVAL */
	bool small_pipes;		/* as where they may not be enlarged */

	/* counted, see fault_reset() */
	unsigned send, sendmsg, writev, sendfile, splice, recv, readv, pread, pipe2, arm, watch_hup, shutdown, close, setsockopt;
	unsigned getsockopt, accept4;
	size_t sent;			/* bytes, by send, sendmsg and writev */
	int flags;			/* of the last send or sendmsg */
	int iovs;			/* of the last sendmsg or writev; 1 after send */
	long allocs;			/* allocations and enlargements */
	long live;			/* allocated and not yet freed */
	long failed;			/* allocations that were made to fail */
	char order[256];		/* the fds of sends, in order: "5 7 5 " */
};
extern struct fault fault;

/* The table: libev's with all that wrapped.  Clears `fault`.  For struct sconce_loop_options. */
const struct sconce_backend *fault_backend(void);

/* Clears the counts (not `live`); what was set stays. */
void fault_reset(void);

/* All kinds of sending calls made. */
unsigned fault_sends(void);

#endif
