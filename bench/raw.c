/* The servers written by hand on level-triggered epoll: what a careful programmer would do without a library,
 * and nothing more.  The reference of every ratio.  (The relays by hand are in relay.c.)
 *
 * A workload's common form has one buffer of 64 KiB and watches a connection before it reads; `-ours` has the
 * techniques that sconce uses: a buffer of 256 KiB and, if the listener defers, a read right after accept. */
#include <sys/epoll.h>
#include <time.h>

#include "plain.h"

enum { EVENTS = 256, LARGE_BUFFER = 256 * 1024 };

struct conn {
	int fd;
	uint32_t watched;		/* events epoll was asked for */
	struct plain_rest rest;
	char *part;			/* frames, lines: the beginning of a message, */
	size_t part_len;		/* and its length */
	size_t index;			/* broadcast: place in `all` */
	struct conn *prev, *next;	/* timeout: the list of all, the longest idle first */
	double last;			/* timeout: when it last said something */
};

struct workload {
	const char *name;
	bool (*read)(struct conn *c);	/* input is there; false: the connection was closed */
	size_t buffer;			/* bytes of one read */
	bool eager;			/* reads right after accept, if the listener defers */
	bool timed;			/* closes idle connections */
	bool broadcasts;		/* keeps `all` */
};

static const struct workload *workload;
static int epoll;
static bool deferred;			/* a connection has data when it is accepted */
static char buffer[PLAIN_BUFFER + LARGE_BUFFER], answers[PLAIN_BUFFER + LARGE_BUFFER];
static struct conn **all;		/* broadcast: every connection, `all_count` of them */
static size_t all_count;
static struct conn *sender;		/* broadcast: who spoke last; not read while `stuck` is not 0 */
static size_t stuck;			/* broadcast: connections with a rest */
static struct conn idle = {.prev = &idle, .next = &idle};
static double now;			/* timeout: after the last wait */

/* ---- connections ---- */

static void
idle_unlink(struct conn *c)
{
	c->prev->next = c->next;
	c->next->prev = c->prev;
}

static void
idle_append(struct conn *c)
{
	c->last = now;
	c->next = &idle;
	c->prev = idle.prev;
	c->prev->next = idle.prev = c;
}

static void
conn_close(struct conn *c)
{
	if (workload->timed)
		idle_unlink(c);
	if (workload->broadcasts) {
		all[c->index] = all[--all_count];
		all[c->index]->index = c->index;
		stuck -= c->rest.data != NULL;
		if (sender == c)
			sender = NULL;
	}
	close(c->fd);
	plain_drop(&c->rest);
	free(c->part);
	free(c);
}

static void
conn_watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (c->watched == events)
		return;
	if (epoll_ctl(epoll, c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &ev) < 0)
		server_die("epoll_ctl");
	c->watched = events;
}

/* Sends, or keeps and reads no more until it has gone. */
static bool
conn_send(struct conn *c, const char *data, size_t len)
{
	if (!plain_send(c->fd, &c->rest, data, len)) {
		conn_close(c);
		return false;
	}
	if (c->rest.data != NULL)
		conn_watch(c, EPOLLOUT);
	return true;
}

/* Reads behind the first `skip` bytes of the buffer.  Returns bytes; 0: nothing now; -1: it was closed. */
static ssize_t
conn_receive(struct conn *c, size_t skip)
{
	ssize_t n = recv(c->fd, buffer + skip, workload->buffer, 0);

	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	conn_close(c);
	return -1;
}

/* ---- echo ---- */

static bool
echo_read(struct conn *c)
{
	ssize_t n = conn_receive(c, 0);

	if (n <= 0)
		return n == 0;
	return conn_send(c, buffer, (size_t)n);
}

static bool
timed_read(struct conn *c)
{
	idle_unlink(c);
	idle_append(c);
	return echo_read(c);
}

/* ---- beginnings of messages ---- */

/* Reads, and puts what is left of the last read in front.  Returns all bytes of the buffer; 0: nothing now;
 * -1: closed. */
static ssize_t
part_receive(struct conn *c)
{
	ssize_t n = conn_receive(c, c->part_len);

	if (n > 0 && c->part_len > 0) {
		memcpy(buffer, c->part, c->part_len);
		n += (ssize_t)c->part_len;
	}
	return n;
}

/* Keeps what is no whole message. */
static void
part_keep(struct conn *c, const char *data, size_t len)
{
	c->part_len = len;
	if (len == 0)
		return;
	c->part = realloc(c->part, len);
	if (c->part == NULL)
		server_die("realloc");
	memcpy(c->part, data, len);
}

/* ---- frames: messages of 64 bytes, each answered ---- */

/* Returns the bytes of whole messages; 0: nothing now; -1: closed. */
static ssize_t
frames_receive(struct conn *c)
{
	ssize_t n = part_receive(c), rest = n % PLAIN_FRAME;

	if (n <= 0)
		return n;
	part_keep(c, buffer + n - rest, (size_t)rest);
	return n - rest;
}

/* All answers of one read in one send. */
static bool
frames_read(struct conn *c)
{
	ssize_t n = frames_receive(c);
	size_t len = 0;

	for (ssize_t at = 0; at < n; at += PLAIN_FRAME) {
		memcpy(answers + len, buffer + at, PLAIN_FRAME);
		len += PLAIN_FRAME;
	}
	return n < 0 ? false : len == 0 || conn_send(c, answers, len);
}

/* Each answer in a send of its own. */
static bool
frames_each_read(struct conn *c)
{
	ssize_t n = frames_receive(c);

	for (ssize_t at = 0; at < n; at += PLAIN_FRAME)
		if (!conn_send(c, buffer + at, PLAIN_FRAME))
			return false;
	return n >= 0;
}

/* ---- lines, each answered ---- */

/* All answers of one read in one send.  What is no line yet may have as many bytes as a read; who sends more is
 * closed. */
static bool
lines_read(struct conn *c)
{
	ssize_t n = part_receive(c);
	const char *at = buffer, *lf;
	size_t len = 0;

	if (n <= 0)
		return n == 0;
	while ((lf = memchr(at, '\n', (size_t)(buffer + n - at))) != NULL) {
		memcpy(answers + len, at, (size_t)(lf - at));
		len += (size_t)(lf - at);
		answers[len++] = '\n';
		at = lf + 1;
	}
	if (buffer + n - at > PLAIN_BUFFER) {
		conn_close(c);
		return false;
	}
	part_keep(c, at, (size_t)(buffer + n - at));
	return len == 0 || conn_send(c, answers, len);
}

/* ---- broadcast: what one says goes to all others ---- */

static void
broadcast_watch(struct conn *c)
{
	conn_watch(c, (c == sender && stuck > 0 ? 0 : EPOLLIN) | (c->rest.data != NULL ? EPOLLOUT : 0) | EPOLLRDHUP);
}

static bool
broadcast_read(struct conn *c)
{
	ssize_t n = conn_receive(c, 0);

	if (n <= 0)
		return n == 0;
	sender = c;
	for (size_t i = 0; i < all_count; i++) {
		struct conn *to = all[i];
		bool was_stuck = to->rest.data != NULL;

		if (to == c)
			continue;
		if (!plain_send(to->fd, &to->rest, buffer, (size_t)n))
			shutdown(to->fd, SHUT_RDWR);	/* its own event closes it */
		if (to->rest.data != NULL && !was_stuck) {
			stuck++;
			broadcast_watch(to);
		}
	}
	if (stuck > 0)
		broadcast_watch(c);
	return true;
}

static void
broadcast_join(struct conn *c)
{
	if (all_count % 1024 == 0 && (all = realloc(all, (all_count + 1024) * sizeof(*all))) == NULL)
		server_die("realloc");
	c->index = all_count;
	all[all_count++] = c;
}

/* ---- events ---- */

/* Returns false when the connection was closed. */
static bool
conn_write(struct conn *c)
{
	if (c->rest.data == NULL)
		return true;
	if (!plain_resend(c->fd, &c->rest)) {
		conn_close(c);
		return false;
	}
	if (c->rest.data != NULL)
		return true;
	if (!workload->broadcasts) {
		conn_watch(c, EPOLLIN);
		return true;
	}
	stuck--;
	broadcast_watch(c);
	if (stuck == 0 && sender != NULL)
		broadcast_watch(sender);
	return true;
}

static void
accept_some(int listener)
{
	int fd;

	for (int i = 0; i < PLAIN_ACCEPTS && (fd = accept4(listener, NULL, NULL,
		SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; i++) {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL)
			server_die("calloc");
		c->fd = fd;
		if (workload->timed)
			idle_append(c);
		if (workload->broadcasts)
			broadcast_join(c);
		if (workload->eager && deferred && !workload->read(c))
			continue;
		if (c->watched == 0)
			conn_watch(c, EPOLLIN);
	}
}

/* Closes those that were idle for too long.  Returns milliseconds until the next will have been. */
static int
expire(void)
{
	double due;

	while (idle.next != &idle && idle.next->last + PLAIN_IDLE_SECONDS <= now)
		conn_close(idle.next);
	if (idle.next == &idle)
		return -1;
	due = idle.next->last + PLAIN_IDLE_SECONDS - now;
	return (int)(due * 1000) + 1;
}

static void
read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void
serve(int listener)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, workload->timed ? expire() : -1);

		if (workload->timed)
			read_clock();
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == NULL)
				accept_some(listener);
			else if ((events[i].events & EPOLLOUT) && !conn_write(c))
				continue;
			else if (events[i].events & ~(uint32_t)EPOLLOUT)
				workload->read(c);
		}
	}
}

static const struct workload workloads[] = {
	{"echo", echo_read, PLAIN_BUFFER, .eager = false},
	{"echo-ours", echo_read, LARGE_BUFFER, .eager = true},
	{"frames", frames_read, PLAIN_BUFFER, .eager = false},
	{"frames-ours", frames_read, LARGE_BUFFER, .eager = true},
	{"frames-each", frames_each_read, PLAIN_BUFFER, .eager = false},
	{"lines", lines_read, PLAIN_BUFFER, .eager = false},
	{"broadcast", broadcast_read, PLAIN_BUFFER, .broadcasts = true},
	{"timeout", timed_read, PLAIN_BUFFER, .timed = true},
};

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	struct epoll_event ev = {.events = EPOLLIN};
	int listener;

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	deferred = plain_deferred(args.endpoint);
	listener = plain_listen(args.endpoint);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0)
		server_die("epoll");
	read_clock();
	plain_ready(listener);
	serve(listener);
}
