/* The simulator's world: seeds, fds, memory, violations.  See sim.h; wires are in sim_wire.c, system calls in
 * sim_call.c, the loop in sim_loop.c. */
#include "sim_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SPACE = 16 };			/* keeps the alignment of malloc() behind a block's header */

static const uint64_t magic = 0x5c0a1ce5b10c5afe;

static_assert(sizeof(struct block) <= 3 * SPACE, "a block's header fits in front of it");

/* ---- chance ---- */

/* splitmix64 */
static uint64_t
next_random(struct sim *sim)
{
	uint64_t z = sim->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

unsigned
sim_random(struct sim *sim, unsigned n)
{
	return (unsigned)((next_random(sim) >> 32) % n);
}

bool
sim__chance(struct sim *sim, unsigned of_1000)
{
	return of_1000 > 0 && sim->quiet == 0 && sim_random(sim, 1000) < of_1000;
}

/* ---- violations ---- */

void
sim__violate(struct sim *sim, const char *format, ...)
{
	va_list ap;

	if (sim->violations++ > 0)
		return;
	va_start(ap, format);
	vsnprintf(sim->violation, sizeof(sim->violation), format, ap);
	va_end(ap);
}

unsigned
sim_violations(const struct sim *sim)
{
	return sim->violations;
}

const char *
sim_violation(const struct sim *sim)
{
	return sim->violation;
}

/* ---- memory ---- */

static void *
block_payload(struct block *b)
{
	return (char *)b + 3 * SPACE;
}

static struct block *
block_of(void *ptr)
{
	return (struct block *)(void *)((char *)ptr - 3 * SPACE);
}

static void
block_link(struct sim *sim, struct block *b, size_t size)
{
	*b = (struct block){ .sim = sim, .next = sim->blocks.next, .prev = &sim->blocks, .size = size, .magic = magic };
	b->next->prev = b;
	sim->blocks.next = b;
	sim->live_bytes += size;
	sim->live_count++;
}

static void
block_unlink(struct block *b)
{
	b->next->prev = b->prev;
	b->prev->next = b->next;
	b->magic = 0;
	b->sim->live_bytes -= b->size;
	b->sim->live_count--;
}

static bool
must_fail(struct sim *sim)
{
	bool fail = sim->fail_next || sim__chance(sim, sim->o.alloc_fail);

	sim->fail_next = false;
	sim->failed += fail;
	return fail;
}

/* The sim whose loop is being made: only then is memory asked for without a context. */
static struct sim *making;

static void *
block_new(struct sim *sim, size_t size)
{
	struct block *b = must_fail(sim) ? NULL : malloc(3 * SPACE + size);

	if (b == NULL)
		return NULL;
	block_link(sim, b, size);
	memset(block_payload(b), 0xa5, size < 256 ? size : 256);	/* nobody may count on zeroes */
	return block_payload(b);
}

static void
block_free(struct block *b)
{
	block_unlink(b);
	memset(block_payload(b), 0xdd, b->size < 256 ? b->size : 256);
	free(b);
}

/* realloc's shape; a block always moves. */
void *
sim__alloc(void *ptr, size_t size, void *ctx)
{
	struct block *b = ptr != NULL ? block_of(ptr) : NULL;
	struct sim *sim = b == NULL ? (ctx != NULL ? ctx : making) : NULL;
	void *fresh;

	if (b != NULL) {
		if (b->magic != magic || (ctx != NULL && b->sim != ctx)) {
			if (ctx != NULL)
				sim__violate(ctx, "free of memory that is not allocated");
			return NULL;
		}
		sim = b->sim;
	}
	if (size == 0) {
		if (b != NULL)
			block_free(b);
		return NULL;
	}
	fresh = block_new(sim, size);
	if (fresh != NULL && b != NULL) {
		memcpy(fresh, ptr, b->size < size ? b->size : size);
		block_free(b);
	}
	return fresh;
}

void
sim_fail_next(struct sim *sim, bool on)
{
	sim->fail_next = on;
}

unsigned long
sim_failed(const struct sim *sim)
{
	return sim->failed;
}

size_t
sim_live_bytes(const struct sim *sim)
{
	return sim->live_bytes;
}

/* ---- fds ---- */

static bool
is_open(const struct sim *sim, int fd)
{
	return fd >= SIM_FD_BASE && fd < SIM_FD_BASE + SIM_FDS && sim->fds[fd - SIM_FD_BASE].kind != FD_FREE;
}

struct sim_fd *
sim__fd(struct sim *sim, int fd, const char *call)
{
	if (is_open(sim, fd))
		return &sim->fds[fd - SIM_FD_BASE];
	if (fd >= 0)				/* -1 is nobody's, and harmless */
		sim__violate(sim, "%s on fd %d, which is not open", call, fd);
	errno = EBADF;
	return NULL;
}

int
sim__fd_new(struct sim *sim, enum fd_kind kind)
{
	int limit = sim->o.fd_limit > 0 && sim->quiet == 0 ? sim->o.fd_limit : SIM_FDS;

	for (int i = 0; sim->open_fds < limit && i < SIM_FDS; i++) {
		if (sim->fds[i].kind != FD_FREE)
			continue;
		sim->fds[i] = (struct sim_fd){ .kind = kind };
		sim->open_fds++;
		return SIM_FD_BASE + i;
	}
	errno = EMFILE;
	return -1;
}

int
sim_file(struct sim *sim, const void *bytes, size_t len)
{
	int fd = sim__fd_new(sim, FD_FILE);

	if (fd < 0)
		return -1;
	sim->fds[fd - SIM_FD_BASE].bytes = bytes;
	sim->fds[fd - SIM_FD_BASE].size = len;
	return fd;
}

int
sim_pair(struct sim *sim, int fds[2])
{
	struct wire *w;

	fds[0] = sim__fd_new(sim, FD_STREAM);
	if (fds[0] < 0)
		return -1;
	fds[1] = sim__fd_new(sim, FD_STREAM);
	w = fds[1] >= 0 ? sim__wire_new(sim, false) : NULL;
	for (int i = 0; i < 2 && w != NULL; i++) {
		sim->fds[fds[i] - SIM_FD_BASE].wire = w;
		sim->fds[fds[i] - SIM_FD_BASE].side = i;
		w->half[i].open = true;
	}
	if (w != NULL)
		return 0;
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0) {
			sim->fds[fds[i] - SIM_FD_BASE].kind = FD_FREE;
			sim->open_fds--;
		}
	return -1;
}

int
sim_fds(const struct sim *sim)
{
	return sim->open_fds;
}

/* ---- the far end ---- */

ssize_t
sim_send(struct sim *sim, int fd, const void *buf, size_t len)
{
	ssize_t n;

	sim->quiet++;
	n = sim_backend()->send(fd, buf, len, MSG_NOSIGNAL, sim);
	sim->quiet--;
	return n;
}

ssize_t
sim_recv(struct sim *sim, int fd, void *buf, size_t len)
{
	ssize_t n;

	sim->quiet++;
	n = sim_backend()->recv(fd, buf, len, 0, sim);
	sim->quiet--;
	return n;
}

int
sim_shutdown(struct sim *sim, int fd, int how)
{
	return sim_backend()->shutdown(fd, how, sim);
}

int
sim_close(struct sim *sim, int fd)
{
	return sim_backend()->close(fd, sim);
}

int
sim_reset(struct sim *sim, int fd)
{
	struct linger hard = { .l_onoff = 1 };

	sim_backend()->setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard), sim);
	return sim_close(sim, fd);
}

unsigned
sim_ready(struct sim *sim, int fd)
{
	struct sim_fd *f = sim__fd(sim, fd, "poll");

	return f != NULL ? sim__state(f) : 0;
}

unsigned
sim_armed(const struct sim *sim, int fd)
{
	for (size_t i = 0; i < sim->entry_count; i++)
		if (sim->entries[i].s != NULL && sim->entries[i].fd == fd)
			return sim->entries[i].want;
	return 0;
}

uint64_t
sim_taken(const struct sim *sim, int fd)
{
	const struct sim_fd *f = &sim->fds[fd - SIM_FD_BASE];

	return is_open(sim, fd) && f->kind == FD_STREAM ? sim__half(f)->out.taken : 0;
}

uint64_t
sim_given(const struct sim *sim, int fd)
{
	const struct sim_fd *f = &sim->fds[fd - SIM_FD_BASE];

	return is_open(sim, fd) && f->kind == FD_STREAM ? sim__peer(f)->out.given : 0;
}

size_t
sim_room(const struct sim *sim, int fd)
{
	const struct sim_fd *f = &sim->fds[fd - SIM_FD_BASE];
	const struct half *h = is_open(sim, fd) && f->kind == FD_STREAM ? sim__half(f) : NULL;

	return h == NULL || h->wr_shut || h->err != 0 ? 0 : h->out.cap - h->out.len;
}

int
sim_other(const struct sim *sim, int fd)
{
	const struct sim_fd *f = &sim->fds[fd - SIM_FD_BASE];

	for (int i = 0; f->kind == FD_STREAM && i < SIM_FDS; i++)
		if (sim->fds[i].kind == FD_STREAM && sim->fds[i].wire == f->wire && sim->fds[i].side != f->side)
			return SIM_FD_BASE + i;
	return -1;
}

void
sim_quiet(struct sim *sim, bool on)
{
	sim->quiet += on ? 1 : -1;
}

/* ---- life ---- */

void
sim_set_options(struct sim *sim, const struct sim_options *options)
{
	sim->o = *options;
	if (sim->o.buffer == 0)
		sim->o.buffer = 64 * 1024;
}

struct sim *
sim_new(uint64_t seed, const struct sim_options *options)
{
	static const struct sim_options none;
	struct sim *sim = calloc(1, sizeof(*sim));

	if (sim == NULL)
		return NULL;
	sim->random = seed;
	sim_set_options(sim, options != NULL ? options : &none);
	sim->now = 1000000000;
	sim->next_port = 40000;
	sim->timer = INT64_MAX;
	sim->blocks.next = sim->blocks.prev = &sim->blocks;
	return sim;
}

static struct sconce_loop *
make_loop(struct sim *sim, const struct sconce_backend *table, const struct sconce_loop_options *opts)
{
	struct sconce_loop_options o = { 0 };
	struct sconce_loop *loop;
	int r;

	if (opts != NULL)
		o = *opts;
	o.backend = table;
	o.backend_arg = sim;
	making = sim;
	r = sconce_loop_new(&o, &loop);
	making = NULL;
	if (r == 0)
		return loop;
	errno = -r;
	return NULL;
}

struct sconce_loop *
sim_loop(struct sim *sim, const struct sconce_loop_options *opts)
{
	return make_loop(sim, sim_backend(), opts);
}

struct sconce_loop *
sim_loop_shared(struct sim *sim, const struct sconce_loop_options *opts)
{
	return make_loop(sim, sim__shared_backend(), opts);
}

static void
free_blocks(struct sim *sim)
{
	while (sim->blocks.next != &sim->blocks)
		block_free(sim->blocks.next);
}

static void
free_fds(struct sim *sim)
{
	for (int i = 0; i < SIM_FDS; i++)
		if (sim->fds[i].kind != FD_FREE)
			sim_close(sim, SIM_FD_BASE + i);
}

bool
sim_free(struct sim *sim, FILE *out)
{
	int files = 0;
	bool clean;

	for (int i = 0; i < SIM_FDS; i++)
		files += sim->fds[i].kind == FD_FILE;	/* the test's own */
	clean = sim->open_fds == files && sim->live_count == 0 && sim->violations == 0;
	if (!clean && out != NULL)
		fprintf(out, "left: %d fds, %zu allocations with %zu bytes; %u violations%s%s\n", sim->open_fds - files,
			sim->live_count, sim->live_bytes, sim->violations, sim->violations > 0 ? ": " : "",
			sim->violation);
	free_fds(sim);
	sim__wires_free(sim);
	free_blocks(sim);
	free(sim);
	return clean;
}

int64_t
sim_now(const struct sim *sim)
{
	return sim->now;
}

unsigned long
sim_waits(const struct sim *sim)
{
	return sim->waits;
}

unsigned long
sim_stuck(const struct sim *sim)
{
	return sim->stuck;
}

void
sim_on_wait(struct sim *sim, sim_wait_fn *fn, void *arg)
{
	sim->on_wait = fn;
	sim->on_wait_arg = arg;
}
