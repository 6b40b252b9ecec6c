/* The simulator: a backend in which nothing is real.  Clock, fds, wires and memory are its own; one seed is one exact
 * run.  Used by t/test_sim.c and the soak (t/soak.h).
 *
 *	struct sim *sim = sim_new(1234, &options);
 *	struct sconce_loop *loop = sim_loop(sim, NULL);
 *
 *	sim_pair(sim, fds);				two connected ends, as socketpair(2)
 *	sconce_sock_init(&s, loop, &ops, fds[0]);
 *	sim_send(sim, fds[1], "hello", 5);		the far end needs no object
 *	sconce_loop_step(loop, 1);			the clock jumps to the next event, or by a second
 *	sconce_loop_free(loop);
 *	assert(sim_free(sim, stderr));			false: leaks or violations, which it prints
 *
 * What a program could see of Linux it sees here: stream wires of both families with bounded buffers, half-closes,
 * resets, level-triggered readiness, edges for hang-ups.  t/test_sim.c compares the two call by call. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sconce/sconce.h>

struct sim;

/* The first fd number; far above real ones, so that a real one given by mistake is noticed. */
enum { SIM_FD_BASE = 1000000, SIM_FDS = 256 };

/* How hostile the world is.  All zero: everything works at once and in full.  Chances are of 1000. */
struct sim_options {
	unsigned short_io;		/* reads and writes that take a part of what there is */
	unsigned again;			/* EAGAIN although there is something */
	unsigned eintr;			/* EINTR */
	unsigned delay;			/* what is sent arrives later, in pieces */
	unsigned spurious;		/* an armed socket is called ready and is not */
	unsigned hup_again;		/* a hang-up or error is reported once more */
	unsigned cut;			/* a batch leaves a socket out, once */
	unsigned alloc_fail;		/* an allocation fails */
	unsigned accept_fail;		/* accept4: ECONNABORTED */
	unsigned connect_now;		/* a connect of TCP works at once, not EINPROGRESS */
	unsigned connect_slow;		/* ... takes some ms ... */
	unsigned connect_refuse;	/* ... is refused ... */
	unsigned connect_lost;		/* ... or never answered (ETIMEDOUT after 2 s) */
	bool no_splice;			/* splice: EINVAL */
	int fd_limit;			/* EMFILE beyond; 0: SIM_FDS */
	size_t buffer;			/* bytes per direction, at most (half of them at least); 0: 64 KiB */
};

struct sim *sim_new(uint64_t seed, const struct sim_options *options);

/* Frees it.  Prints what is left (fds, pipes among them, and memory) and the first violation; true: nothing of that.
 * `out` may be NULL. */
bool sim_free(struct sim *sim, FILE *out);

/* Changes the options of wires to come and of all calls. */
void sim_set_options(struct sim *sim, const struct sim_options *options);

/* A random number below `n`, from the sim's generator. */
unsigned sim_random(struct sim *sim, unsigned n);

/* ---- the loop ---- */

/* Makes the loop; `opts` (may be NULL) without backend.  One loop per sim.  NULL: it could not be made (errno). */
struct sconce_loop *sim_loop(struct sim *sim, const struct sconce_loop_options *opts);

/* The same, but the sim is like a loop of the application's, which sconce shares: feed(), timer(), keep() and
 * each_turn() are there, and sim_app_turn() is a turn of it; sconce_loop_step() works too. */
struct sconce_loop *sim_loop_shared(struct sim *sim, const struct sconce_loop_options *opts);
void sim_app_turn(struct sim *sim);

/* The table, for tests of its entries; its context is the sim. */
const struct sconce_backend *sim_backend(void);

/* Called before each wait with its deadline in ns (INT64_MAX: none), and the time. */
typedef void sim_wait_fn(int64_t deadline, int64_t now, void *arg);
void sim_on_wait(struct sim *sim, sim_wait_fn *fn, void *arg);

/* The virtual clock in ns, waits so far, and how many of them would never have ended. */
int64_t sim_now(const struct sim *sim);
unsigned long sim_waits(const struct sim *sim);
unsigned long sim_stuck(const struct sim *sim);

/* ---- fds ---- */

/* Two connected ends, like socketpair(AF_UNIX).  0 or -1 with errno. */
int sim_pair(struct sim *sim, int fds[2]);

/* A regular file with these bytes, which are borrowed. */
int sim_file(struct sim *sim, const void *bytes, size_t len);

/* The far end without an object: these never fail at random. */
ssize_t sim_send(struct sim *sim, int fd, const void *buf, size_t len);
ssize_t sim_recv(struct sim *sim, int fd, void *buf, size_t len);
int sim_shutdown(struct sim *sim, int fd, int how);
int sim_close(struct sim *sim, int fd);
int sim_reset(struct sim *sim, int fd);		/* closes with SO_LINGER 0 */

/* What poll(2) would say: SCONCE_READ, SCONCE_WRITE, SCONCE_HUP, SCONCE_ERR. */
unsigned sim_ready(struct sim *sim, int fd);

/* What the core watches of the fd's socket. */
unsigned sim_armed(const struct sim *sim, int fd);

/* Bytes that were ever taken from whoever writes to the fd. */
uint64_t sim_taken(const struct sim *sim, int fd);

/* Bytes that were ever given to whoever reads from the fd. */
uint64_t sim_given(const struct sim *sim, int fd);

/* Bytes that a write would be given room for. */
size_t sim_room(const struct sim *sim, int fd);

/* The fd of the wire's other end, -1 when it is closed or not accepted yet. */
int sim_other(const struct sim *sim, int fd);

/* While on, nothing fails at random. */
void sim_quiet(struct sim *sim, bool on);

/* fds that are open. */
int sim_fds(const struct sim *sim);

/* ---- memory ---- */

/* The next allocation from now fails (true), or none does that would not anyhow; how many have failed. */
void sim_fail_next(struct sim *sim, bool on);
unsigned long sim_failed(const struct sim *sim);
size_t sim_live_bytes(const struct sim *sim);

/* ---- what is not allowed ---- */

/* Uses of fds that are not open, frees of unknown memory, ...: how many, and the first. */
unsigned sim_violations(const struct sim *sim);
const char *sim_violation(const struct sim *sim);

#endif
