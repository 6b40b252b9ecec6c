/* Private to t/sim*.c: the simulated world. */
#ifndef SIM_PRIVATE_H
#define SIM_PRIVATE_H

#include "sim.h"

#include <netinet/in.h>

enum { SIM_BACKLOG = 64, SIM_PIPE = 64 * 1024 };

/* How a direction ends, behind its bytes. */
enum flow_end {
	FLOW_OPEN,
	FLOW_SHUT,			/* the sender's SHUT_WR, or a close of TCP */
	FLOW_CLOSED,			/* a close of AF_UNIX: the receiver cannot send either */
	FLOW_RESET			/* the receiver gets an error */
};

/* One direction: a ring.  What is not `ready` is on its way. */
struct flow {
	unsigned char *ring;
	size_t cap, head, len, ready;
	enum flow_end end;
	bool end_told;			/* the receiver knows of the end */
	int64_t due;			/* when more arrives; INT64_MAX: nothing is on its way */
	uint64_t taken, given;		/* bytes ever sent, ever received */
};

/* One end of a wire. */
struct half {
	struct flow out;		/* what it sends */
	bool open;			/* an fd stands for it */
	bool rd_shut, wr_shut;		/* sk_shutdown's two bits */
	bool was_shut;			/* rd_shut when the peer ended, not by its own shutdown */
	int err;			/* sk_err */
	unsigned edge;			/* counts what a hang-up watcher is woken by */
};

enum connect_state { CONN_DONE, CONN_GOING, CONN_FAILED };

struct wire {
	struct half half[2];		/* 0: who connected */
	bool tcp;
	enum connect_state state;	/* of half 0's connect */
	int verdict;			/* CONN_GOING: what it will be; 0 or an errno */
	int64_t due;			/* ... and when */
	int port;			/* ... where */
	struct wire *next;		/* sim->wires */
};

enum fd_kind { FD_FREE, FD_FRESH, FD_LISTEN, FD_STREAM, FD_PIPE_IN, FD_PIPE_OUT, FD_FILE };

struct pipe {
	struct flow flow;
	int ends;			/* fds open */
};

struct sim_fd {
	enum fd_kind kind;
	struct wire *wire;		/* FD_STREAM */
	int side;			/* which half */
	struct pipe *pipe;		/* FD_PIPE_* */
	const unsigned char *bytes;	/* FD_FILE */
	size_t size;
	int port;			/* FD_LISTEN, and a bound FD_FRESH */
	struct wire *backlog[SIM_BACKLOG];	/* FD_LISTEN */
	int backlog_count;
	bool hard;			/* SO_LINGER 0 */
	bool in_batch;			/* its socket was closed in the batch that is being delivered */
};

/* A socket that the core has added.  Serials make it another one when the place is used again. */
struct entry {
	struct sconce_sock *s;		/* NULL: deleted */
	int fd;
	unsigned want;			/* SCONCE_READ, SCONCE_WRITE */
	bool hup;			/* watch_hup() was called */
	unsigned edge_told;		/* the half's edge, and what held, at the last report of it */
	unsigned held;
	bool left_out;			/* of the last batch */
	uint64_t serial;
};

struct event {
	size_t place;
	uint64_t serial;
	unsigned events;
};

/* In front of every block. */
struct block {
	struct sim *sim;
	struct block *next, *prev;
	size_t size;
	uint64_t magic;
};

struct sim {
	uint64_t random;
	struct sim_options o;
	int quiet;			/* > 0: no random failures, these are the test's own calls */
	int64_t now;
	unsigned long waits, stuck, failed;
	unsigned violations;
	char violation[160];
	sim_wait_fn *on_wait;
	void *on_wait_arg;

	struct sim_fd fds[SIM_FDS];
	int open_fds;
	struct wire *wires;
	int next_port;

	struct sconce_loop *loop;
	struct entry entries[SIM_FDS];
	size_t entry_count;
	struct event batch[SIM_FDS];
	uint64_t serial;
	bool woken, in_batch;
	bool shared, fed_end, fed_turn, each_turn;	/* the application's loop */
	int64_t timer;

	struct block blocks;		/* a ring */
	size_t live_bytes, live_count;
	bool fail_next;
};

/* sim.c */
bool sim__chance(struct sim *sim, unsigned of_1000);
void sim__violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct sim_fd *sim__fd(struct sim *sim, int fd, const char *call);	/* NULL with EBADF: a violation */
int sim__fd_new(struct sim *sim, enum fd_kind kind);			/* -1 with EMFILE */
void *sim__alloc(void *ptr, size_t size, void *ctx);

/* sim_wire.c */
struct half *sim__half(const struct sim_fd *f);
struct half *sim__peer(const struct sim_fd *f);
unsigned sim__state(const struct sim_fd *f);			/* as sim_ready() */
bool sim__flow_init(struct flow *flow, size_t cap);
size_t sim__flow_put(struct flow *flow, const unsigned char *from, size_t n);
size_t sim__flow_get(struct flow *flow, unsigned char *to, size_t n);
struct wire *sim__wire_new(struct sim *sim, bool tcp);
void sim__wire_send(struct sim *sim, struct wire *w, int side);	/* something was put into the flow of that half */
void sim__wire_end(struct sim *sim, struct wire *w, int side, enum flow_end end);
void sim__wire_close(struct sim *sim, struct sim_fd *f);
int64_t sim__wires_next(const struct sim *sim);
void sim__wires_advance(struct sim *sim);			/* all that is due at sim->now */
void sim__wires_free(struct sim *sim);

/* sim_loop.c */
const struct sconce_backend *sim__shared_backend(void);

/* sim_call.c: the system calls */
void sim__calls(struct sconce_backend *table);

#endif
