/* See backend_poll.h.
 *
 * The fds are a table; a socket's slot holds the place of its entry.  An entry that is deleted in the middle of a batch is only emptied, so
 * that what poll() said about it meets nobody; holes are closed before the next wait. */
#include "backend_poll.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sock.h>

enum { FIRST = 1 };			/* entry 0 is the wake-up */

struct entry {
	struct sconce_sock *s;		/* NULL: deleted */
	unsigned want;			/* SCONCE_READ, SCONCE_WRITE */
	bool hup;			/* to be told of hang-ups, not told yet */
};

struct poller {
	struct sconce_loop *loop;
	struct entry *entries;
	struct pollfd *fds;
	size_t count, cap;
	unsigned long waits;
	int wake;
};

static size_t
place_get(struct sconce_sock *s)
{
	return (size_t)(uintptr_t)sconce_backend_slot_of(s)->opaque[0];
}

static void
place_set(struct sconce_sock *s, size_t place)
{
	sconce_backend_slot_of(s)->opaque[0] = (void *)(uintptr_t)place;
}

static int
grow(struct poller *p)
{
	size_t cap = p->cap > 0 ? p->cap * 2 : 16;
	void *entries, *fds;

	entries = realloc(p->entries, cap * sizeof(*p->entries));
	if (entries == NULL)
		return -ENOMEM;
	p->entries = entries;
	fds = realloc(p->fds, cap * sizeof(*p->fds));
	if (fds == NULL)
		return -ENOMEM;
	p->fds = fds;
	p->cap = cap;
	return 0;
}

static int
poll_init(struct sconce_loop *loop, void *arg, void **ctx_out)
{
	struct poller *p = calloc(1, sizeof(*p));
	int r;

	(void)arg;
	if (p == NULL)
		return -ENOMEM;
	p->loop = loop;
	p->count = FIRST;
	r = grow(p);
	if (r < 0)
		goto free_p;
	p->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->wake < 0) {
		r = -errno;
		goto free_p;
	}
	*ctx_out = p;
	return 0;
free_p:
	free(p->entries);
	free(p->fds);
	free(p);
	return r;
}

static void
poll_fini(void *ctx)
{
	struct poller *p = ctx;

	close(p->wake);
	free(p->entries);
	free(p->fds);
	free(p);
}

static int
poll_fork(void *ctx)
{
	struct poller *p = ctx;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(p->wake);
	p->wake = fd;
	return 0;
}

static int
poll_add(struct sconce_sock *s, void *ctx)
{
	struct poller *p = ctx;
	int r = p->count == p->cap ? grow(p) : 0;

	if (r < 0)
		return r;
	p->entries[p->count] = (struct entry){ .s = s };
	place_set(s, p->count++);
	return 0;
}

static void
poll_arm(struct sconce_sock *s, unsigned events, void *ctx)
{
	struct poller *p = ctx;

	p->entries[place_get(s)].want = events;
}

static void
poll_watch_hup(struct sconce_sock *s, void *ctx)
{
	struct poller *p = ctx;

	p->entries[place_get(s)].hup = true;
}

static void
poll_del(struct sconce_sock *s, bool handed_on, void *ctx)
{
	struct poller *p = ctx;

	(void)handed_on;
	p->entries[place_get(s)].s = NULL;
}

/* Closes the holes, and says what to wait for; an entry that nobody asks about is passed over. */
static void
prepare(struct poller *p)
{
	size_t to = FIRST;

	p->fds[0] = (struct pollfd){ .fd = p->wake, .events = POLLIN };
	for (size_t i = FIRST; i < p->count; i++) {
		struct entry e = p->entries[i];
		bool asked = e.want != 0 || e.hup;

		if (e.s == NULL)
			continue;
		p->fds[to] = (struct pollfd){ .fd = asked ? sconce_fd(e.s) : -1,
			.events = (short)((e.want & SCONCE_READ ? POLLIN : 0) | (e.want & SCONCE_WRITE ? POLLOUT : 0)) };
		p->entries[to] = e;
		place_set(e.s, to++);
	}
	p->count = to;
}

static void
tell(struct poller *p, size_t i, short got)
{
	struct entry *e = &p->entries[i];
	unsigned events = 0;

	if (e->s == NULL || got == 0)
		return;
	if ((e->want & SCONCE_READ) && (got & (POLLIN | POLLHUP | POLLERR)))
		events |= SCONCE_READ;
	if ((e->want & SCONCE_WRITE) && (got & (POLLOUT | POLLHUP | POLLERR)))
		events |= SCONCE_WRITE;
	if (e->hup && (got & POLLHUP))
		events |= SCONCE_HUP;
	if (e->hup && (got & POLLERR))
		events |= SCONCE_ERR;
	if (got & POLLNVAL)
		events |= SCONCE_ERR;
	if (events & (SCONCE_HUP | SCONCE_ERR))
		e->hup = false;			/* once: poll() would say it again and again */
	if (events != 0)
		sconce_backend_ready(e->s, events);
}

static int64_t
poll_now(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
poll_run(int64_t deadline, void *ctx)
{
	struct poller *p = ctx;
	int64_t wait = deadline == INT64_MAX ? 0 : deadline - poll_now(p);
	struct timespec t = { 0 };
	size_t count;
	uint64_t n;

	if (wait > 0)
		t = (struct timespec){ .tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000 };
	prepare(p);
	count = p->count;
	p->waits++;
	if (ppoll(p->fds, count, deadline == INT64_MAX ? NULL : &t, NULL) < 0) {
		if (errno != EINTR)
			return -errno;
		for (size_t i = 0; i < count; i++)
			p->fds[i].revents = 0;
	}
	sconce_backend_begin(p->loop);
	if (p->fds[0].revents != 0 && read(p->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	for (size_t i = FIRST; i < count; i++)
		tell(p, i, p->fds[i].revents);	/* the table may grow meanwhile, these entries stay in place */
	sconce_backend_end(p->loop);
	return 0;
}

static void
poll_wake(void *ctx)
{
	struct poller *p = ctx;
	uint64_t one = 1;
	ssize_t n = write(p->wake, &one, sizeof(one));

	(void)n;
}

static struct sconce_backend table;

const struct sconce_backend *
backend_poll(void)
{
	table = *sconce_backend_libev();	/* the system calls, prepare() and alloc() */
	table.name = "poll";
	table.init = poll_init;
	table.fini = poll_fini;
	table.fork = poll_fork;
	table.add = poll_add;
	table.arm = poll_arm;
	table.watch_hup = poll_watch_hup;
	table.del = poll_del;
	table.run = poll_run;
	table.wake = poll_wake;
	table.now = poll_now;
	table.timer = NULL;
	table.feed = NULL;
	table.keep = NULL;
	table.each_turn = NULL;
	return &table;
}

unsigned long
backend_poll_waits(const struct sconce_loop *loop)
{
	return ((const struct poller *)sconce_backend_ctx(loop))->waits;
}
