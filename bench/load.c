/* The load: keeps messages in flight on many connections of an echo server and checks every byte that returns.
 *
 *	load [-c CONNECTIONS] [-s SIZE] [-d DEPTH] [-w WARM_UP] [-t SECONDS | -n MESSAGES] [-p PID] ADDRESS:PORT
 *
 * Each connection has DEPTH messages of SIZE bytes in flight and sends the next when one has come back whole.
 * After WARM_UP seconds it counts for SECONDS, or until MESSAGES have come back, and prints one line:
 *
 *	messages 215000 seconds 1.000 server 0.991 load 0.998
 *
 * `server` and `load` are seconds of CPU, user and system, that the process PID (0.000 without one) and the
 * load itself used meanwhile; the server's clock is read at the same moments as the messages are counted.
 * The load never sleeps, so that waking it is never the server's expense; give it a CPU of its own. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

enum {
	EVENTS = 256,
	PERIOD = 251,			/* of the pattern: prime, so that a message sent twice or skipped shows */
	CLOCK_EVERY = 64		/* rounds of epoll between looks at the clock */
};

struct options {
	size_t conns, size, depth;
	double warm_up, seconds;
	uint64_t messages;		/* 0: as many as there are in `seconds` */
	pid_t server;
	struct sockaddr_in addr;
};

struct conn {
	int fd;
	size_t sent_at, got_at;		/* place in the pattern, of the next byte to send, to get: below PERIOD */
	size_t to_send;			/* bytes owed */
	size_t got;			/* bytes of the message that is coming */
	int watched;
};

struct load {
	struct options opts;
	int epoll;
	char *pattern;			/* PERIOD + the longest piece */
	char *buffer;
	size_t buffer_size;
	uint64_t done;			/* messages that came back */
};

/* The three clocks and the count, at one moment. */
struct mark {
	double at, server, load;
	uint64_t done;
};

static void
die(const char *what)
{
	fprintf(stderr, "bench/load: %s\n", what);
	exit(1);
}

static void
die_errno(const char *what)
{
	fprintf(stderr, "bench/load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double
seconds_of(clockid_t clock)
{
	struct timespec ts = {0};

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct mark
load_mark(const struct load *l)
{
	struct mark m = {.done = l->done};
	clockid_t clock;

	if (l->opts.server != 0 && clock_getcpuclockid(l->opts.server, &clock) == 0)
		m.server = seconds_of(clock);
	m.load = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	m.at = seconds_of(CLOCK_MONOTONIC);
	return m;
}

static void
conn_watch(struct load *l, struct conn *c, int events)
{
	struct epoll_event ev = {.events = (uint32_t)events, .data.ptr = c};

	if (events == c->watched)
		return;
	if (epoll_ctl(l->epoll, c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &ev) < 0)
		die_errno("epoll_ctl");
	c->watched = events;
}

/* Sends what is owed, as far as the kernel takes it. */
static void
conn_send(struct load *l, struct conn *c)
{
	while (c->to_send > 0) {
		size_t piece = c->to_send < l->buffer_size ? c->to_send : l->buffer_size;
		ssize_t n = send(c->fd, l->pattern + c->sent_at, piece, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die_errno("send");
		c->to_send -= (size_t)n;
		c->sent_at = (c->sent_at + (size_t)n) % PERIOD;
	}
	conn_watch(l, c, c->to_send > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void
conn_read(struct load *l, struct conn *c)
{
	ssize_t n = recv(c->fd, l->buffer, l->buffer_size, 0);
	size_t messages;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		die_errno("recv");
	if (n == 0)
		die("the server closed a connection");
	if (memcmp(l->buffer, l->pattern + c->got_at, (size_t)n) != 0)
		die("a wrong byte came back");
	c->got_at = (c->got_at + (size_t)n) % PERIOD;
	c->got += (size_t)n;
	messages = c->got / l->opts.size;
	if (messages == 0)
		return;
	c->got -= messages * l->opts.size;
	l->done += messages;
	c->to_send += messages * l->opts.size;
	conn_send(l, c);
}

static void
load_connect(struct load *l)
{
	struct conn *conns = calloc(l->opts.conns, sizeof(*conns));
	int on = 1;

	if (conns == NULL)
		die("no memory");
	for (size_t i = 0; i < l->opts.conns; i++) {
		struct conn *c = &conns[i];

		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			die_errno("socket");
		if (connect(c->fd, (struct sockaddr *)&l->opts.addr, sizeof(l->opts.addr)) < 0)
			die_errno("connect");
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	for (size_t i = 0; i < l->opts.conns; i++) {
		struct conn *c = &conns[i];

		if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
			die_errno("fcntl");
		c->sent_at = c->got_at = i % PERIOD;
		c->to_send = l->opts.depth * l->opts.size;
		conn_send(l, c);
	}
}

/* One look at all connections; never sleeps. */
static void
load_turn(struct load *l)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll, events, EVENTS, 0);

	if (n < 0 && errno != EINTR)
		die_errno("epoll_wait");
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (events[i].events & EPOLLOUT)
			conn_send(l, c);
		if (events[i].events & ~(uint32_t)EPOLLOUT)
			conn_read(l, c);
	}
}

/* Turns until the time, or until `messages` (0: no such limit) have come back. */
static void
load_run(struct load *l, double until, uint64_t messages)
{
	do {
		for (int i = 0; i < CLOCK_EVERY && (messages == 0 || l->done < messages); i++)
			load_turn(l);
	} while (messages == 0 ? seconds_of(CLOCK_MONOTONIC) < until : l->done < messages);
}

static void
parse(struct options *o, int argc, char **argv)
{
	int c;

	*o = (struct options){.conns = 50, .size = 64, .depth = 1, .warm_up = 0.2, .seconds = 1};
	while ((c = getopt(argc, argv, "c:s:d:w:t:n:p:")) != -1) {
		switch (c) {
		case 'c': o->conns = strtoull(optarg, NULL, 10); break;
		case 's': o->size = strtoull(optarg, NULL, 10); break;
		case 'd': o->depth = strtoull(optarg, NULL, 10); break;
		case 'w': o->warm_up = atof(optarg); break;
		case 't': o->seconds = atof(optarg); break;
		case 'n': o->messages = strtoull(optarg, NULL, 10); break;
		case 'p': o->server = (pid_t)atoi(optarg); break;
		default: exit(2);
		}
	}
	if (optind + 1 != argc || o->conns == 0 || o->size == 0 || o->depth == 0 ||
	    !net_parse(argv[optind], &o->addr)) {
		fprintf(stderr, "usage: load [-c CONNECTIONS] [-s SIZE] [-d DEPTH] [-w WARM_UP] "
			"[-t SECONDS | -n MESSAGES] [-p PID] ADDRESS:PORT\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct load l = {.done = 0};
	struct mark before, after;

	parse(&l.opts, argc, argv);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	l.buffer_size = 256 * 1024;
	l.buffer = malloc(l.buffer_size);
	l.pattern = malloc(PERIOD + l.buffer_size);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l.buffer == NULL || l.pattern == NULL || l.epoll < 0)
		die_errno("start");
	for (size_t i = 0; i < PERIOD + l.buffer_size; i++)
		l.pattern[i] = (char)(i % PERIOD);

	load_connect(&l);
	load_run(&l, seconds_of(CLOCK_MONOTONIC) + l.opts.warm_up, 0);
	before = load_mark(&l);
	load_run(&l, before.at + l.opts.seconds, l.opts.messages == 0 ? 0 : before.done + l.opts.messages);
	after = load_mark(&l);
	printf("messages %llu seconds %.3f server %.6f load %.6f\n", (unsigned long long)(after.done - before.done),
		after.at - before.at, after.server - before.server, after.load - before.load);
	return 0;
}
