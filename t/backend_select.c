/* See backend_select.h.
 *
 * The sockets are a list that runs through their slots.  Whoever walks it holds the next one in `cursor`, which a deletion moves on, so that
 * what select() said about a deleted socket meets nobody. */
#include "backend_select.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sock.h>

enum { WANT_HUP = 1 << 8 };		/* beside SCONCE_READ and SCONCE_WRITE */
static const int64_t hup_period = 20 * 1000 * 1000;

/* In the 48 bytes of a socket. */
struct place {
	struct sconce_sock *next, *prev;
	uintptr_t want;			/* SCONCE_READ, SCONCE_WRITE, WANT_HUP */
};

struct selector {
	struct sconce_loop *loop;
	struct sconce_sock *first, *last, *cursor;
	unsigned long waits;
	int wake;
};

static struct place *
place_of(struct sconce_sock *s)
{
	_Static_assert(sizeof(struct place) <= sizeof(struct sconce_backend_slot), "fits");
	return (struct place *)(void *)sconce_backend_slot_of(s);
}

static int
select_init(struct sconce_loop *loop, void *arg, void **ctx_out)
{
	struct selector *c = calloc(1, sizeof(*c));
	int r;

	(void)arg;
	if (c == NULL)
		return -ENOMEM;
	c->loop = loop;
	c->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (c->wake < 0 || c->wake >= FD_SETSIZE) {
		r = c->wake < 0 ? -errno : -EMFILE;
		if (c->wake >= 0)
			close(c->wake);
		free(c);
		return r;
	}
	*ctx_out = c;
	return 0;
}

static void
select_fini(void *ctx)
{
	struct selector *c = ctx;

	close(c->wake);
	free(c);
}

static int
select_fork(void *ctx)
{
	struct selector *c = ctx;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(c->wake);
	c->wake = fd;
	return 0;
}

static int
select_add(struct sconce_sock *s, void *ctx)
{
	struct selector *c = ctx;

	if (sconce_fd(s) >= FD_SETSIZE)
		return -EMFILE;
	*place_of(s) = (struct place){ .prev = c->last };
	if (c->last != NULL)
		place_of(c->last)->next = s;
	else
		c->first = s;
	c->last = s;
	return 0;
}

static void
select_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	struct place *p = place_of(s);

	(void)ctx;
	p->want = (p->want & WANT_HUP) | events;
}

static void
select_watch_hup(struct sconce_sock *s, void *ctx)
{
	(void)ctx;
	place_of(s)->want |= WANT_HUP;
}

static void
select_del(struct sconce_sock *s, bool handed_on, void *ctx)
{
	struct selector *c = ctx;
	struct place *p = place_of(s);

	(void)handed_on;
	if (c->cursor == s)
		c->cursor = p->next;
	if (p->next != NULL)
		place_of(p->next)->prev = p->prev;
	else
		c->last = p->prev;
	if (p->prev != NULL)
		place_of(p->prev)->next = p->next;
	else
		c->first = p->next;
}

/* What to wait for.  The highest fd; *hups_out: hang-ups have to be looked for. */
static int
prepare(struct selector *c, fd_set *reads, fd_set *writes, bool *hups_out)
{
	int top = c->wake;

	FD_ZERO(reads);
	FD_ZERO(writes);
	FD_SET(c->wake, reads);
	*hups_out = false;
	for (struct sconce_sock *s = c->first; s != NULL; s = place_of(s)->next) {
		uintptr_t want = place_of(s)->want;
		int fd = sconce_fd(s);

		if (want & SCONCE_READ)
			FD_SET(fd, reads);
		if (want & SCONCE_WRITE)
			FD_SET(fd, writes);
		*hups_out |= (want & WANT_HUP) != 0;
		if (want != 0 && fd > top)
			top = fd;
	}
	return top;
}

/* Once: it would be found again and again. */
static unsigned
look_for_hup(struct sconce_sock *s)
{
	struct pollfd p = { .fd = sconce_fd(s) };

	if (!(place_of(s)->want & WANT_HUP) || poll(&p, 1, 0) != 1)
		return 0;
	place_of(s)->want &= ~(uintptr_t)WANT_HUP;
	return (p.revents & POLLHUP ? SCONCE_HUP : 0u) | (p.revents & (POLLERR | POLLNVAL) ? SCONCE_ERR : 0u);
}

static void
tell(struct sconce_sock *s, const fd_set *reads, const fd_set *writes)
{
	uintptr_t want = place_of(s)->want;
	unsigned events = look_for_hup(s);

	if ((want & SCONCE_READ) && FD_ISSET(sconce_fd(s), reads))
		events |= SCONCE_READ;
	if ((want & SCONCE_WRITE) && FD_ISSET(sconce_fd(s), writes))
		events |= SCONCE_WRITE;
	if (events != 0)
		sconce_backend_ready(s, events);
}

static int64_t
select_now(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
select_run(int64_t deadline, void *ctx)
{
	struct selector *c = ctx;
	fd_set reads, writes;
	bool hups;
	int top = prepare(c, &reads, &writes, &hups);
	int64_t wait = deadline == INT64_MAX ? INT64_MAX : deadline - select_now(c);
	struct timespec t;
	uint64_t n;

	if (hups && wait > hup_period)
		wait = hup_period;
	if (wait < 0)
		wait = 0;
	t = (struct timespec){ .tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000 };
	c->waits++;
	if (pselect(top + 1, &reads, &writes, NULL, wait == INT64_MAX ? NULL : &t, NULL) < 0) {
		if (errno != EINTR)
			return -errno;
		FD_ZERO(&reads);
		FD_ZERO(&writes);
	}
	sconce_backend_begin(c->loop);
	if (FD_ISSET(c->wake, &reads) && read(c->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	for (struct sconce_sock *s = c->first; s != NULL; s = c->cursor) {
		c->cursor = place_of(s)->next;
		tell(s, &reads, &writes);
	}
	sconce_backend_end(c->loop);
	return 0;
}

static void
select_wake(void *ctx)
{
	struct selector *c = ctx;
	uint64_t one = 1;
	ssize_t n = write(c->wake, &one, sizeof(one));

	(void)n;
}

static struct sconce_backend table;

const struct sconce_backend *
backend_select(void)
{
	table = *sconce_backend_libev();	/* the system calls, prepare() and alloc() */
	table.name = "select";
	table.init = select_init;
	table.fini = select_fini;
	table.fork = select_fork;
	table.add = select_add;
	table.arm = select_arm;
	table.watch_hup = select_watch_hup;
	table.del = select_del;
	table.run = select_run;
	table.wake = select_wake;
	table.now = select_now;
	table.timer = NULL;
	table.feed = NULL;
	table.keep = NULL;
	table.each_turn = NULL;
	return &table;
}

unsigned long
backend_select_waits(const struct sconce_loop *loop)
{
	return ((const struct selector *)sconce_backend_ctx(loop))->waits;
}
