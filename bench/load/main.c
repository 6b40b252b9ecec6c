/* The load: one process that drives a server, checks every byte that comes back, and never sleeps while it measures.
 *
 *	load MODE [-c CONNECTIONS] [-s SIZE] [-d DEPTH] [-b] [-l] [-i IDLE] [-k] [-y] [-w WARM_UP]
 *		[-t SECONDS | -n MESSAGES] [-p PID] ADDRESS:PORT
 *
 *	echo		each connection has DEPTH messages of SIZE bytes in flight; with -b the next DEPTH go when
 *			all are back
 *	churn		CONNECTIONS at a time: connect, a message there and back, close, again; a message is a
 *			connection
 *	broadcast	one sender, CONNECTIONS receivers of each message; a message is a delivery
 *	idle		one message on each connection; then it prints "idle" and holds them until its end
 *
 * With -l messages are lines: printable letters and, as the last of SIZE bytes, LF.  With -i so many further
 * connections, which say nothing and are to be told nothing, stand before the first message.
 * With -k the connections stay open after that line, so that a server whose calls are counted does not close them.
 * After WARM_UP seconds it counts for SECONDS, or until MESSAGES have come back, and prints one line:
 *
 *	messages 215000 seconds 1.000 server 0.991 load 0.998
 *
 * `server` and `load` are seconds of CPU, user and system, that the process PID (0.000 without one) and the
 * load itself used meanwhile; the server's clock is read at the same moments as the messages are counted.  As
 * it never sleeps, waking it is never the server's expense; give it a CPU of its own, or with -y leave it to
 * others while nothing is there. */
#include "load.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LETTERS = '~' - '!' + 1 };

/* The three clocks and the count, at one moment. */
struct mark {
	double at, server, load;
	uint64_t done;
};

void
die(const char *what)
{
	fprintf(stderr, "bench/load: %s\n", what);
	exit(1);
}

void
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
mark(const struct load *l)
{
	struct mark m = {.done = l->done};
	clockid_t clock;

	if (l->opts.server != 0 && clock_getcpuclockid(l->opts.server, &clock) == 0)
		m.server = seconds_of(clock);
	m.load = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	m.at = seconds_of(CLOCK_MONOTONIC);
	return m;
}

int
load_connect(const struct load *l)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger reset = {.l_onoff = 1};

	if (fd < 0)
		die_errno("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(fd, (const struct sockaddr *)&l->opts.addr, sizeof(l->opts.addr)) < 0)
		die_errno("connect");
	return fd;
}

size_t
load_place(const struct load *l, uint64_t i)
{
	return (size_t)(i % PERIOD) * l->unit;
}

uint32_t
load_watch(struct load *l, int fd, void *arg, uint32_t was, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = arg};

	if (events != was && epoll_ctl(l->epoll, was == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) < 0)
		die_errno("epoll_ctl");
	return events;
}

void
load_send(const struct load *l, int fd, size_t *at, size_t *owed)
{
	while (*owed > 0) {
		ssize_t n = send(fd, l->pattern + *at, *owed < BUFFER ? *owed : BUFFER, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die_errno("send");
		*owed -= (size_t)n;
		*at = (*at + (size_t)n) % l->period;
	}
}

size_t
load_receive(const struct load *l, int fd, size_t *at)
{
	ssize_t n = recv(fd, l->buffer, BUFFER, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		die_errno("recv");
	if (n == 0)
		die("the server closed a connection");
	if (memcmp(l->buffer, l->pattern + *at, (size_t)n) != 0)
		die("a wrong byte came back");
	*at = (*at + (size_t)n) % l->period;
	return (size_t)n;
}

/* Turns until the time, or until `messages` (0: no such limit) have come back. */
static void
run(struct load *l, double until, uint64_t messages)
{
	while (messages == 0 ? seconds_of(CLOCK_MONOTONIC) < until : l->done < messages) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(l->epoll, events, EVENTS, 0);

		if (n < 0 && errno != EINTR)
			die_errno("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == l)
				die("the server said something to an idle connection, or closed it");
			l->event(l, events[i].data.ptr, events[i].events);
		}
		if (n == 0 && l->opts.yield)
			sched_yield();
	}
}

/* The byte at a place of lines that differ from each other. */
static char
line_byte(size_t at, size_t size)
{
	size_t line = at / size % PERIOD, column = at % size;

	return column == size - 1 ? '\n' : (char)('!' + (line + column * (1 + line / LETTERS)) % LETTERS);
}

static void
make_pattern(struct load *l)
{
	char *pattern;

	l->unit = l->opts.lines ? l->opts.size : 1;
	l->period = PERIOD * l->unit;
	pattern = malloc(l->period + BUFFER);
	if (pattern == NULL)
		die("no memory");
	for (size_t i = 0; i < l->period + BUFFER; i++)
		pattern[i] = l->opts.lines ? line_byte(i, l->opts.size) : (char)(i % PERIOD);
	l->pattern = pattern;
}

static void
prepare(struct load *l)
{
	struct rlimit files;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	l->buffer = malloc(BUFFER);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->buffer == NULL || l->epoll < 0)
		die_errno("start");
	make_pattern(l);
	for (size_t i = 0; i < l->opts.idle; i++)
		load_watch(l, load_connect(l), l, 0, EPOLLIN);
}

static const struct mode {
	const char *name;
	void (*begin)(struct load *l);
} modes[] = {
	{"echo", load_echo}, {"churn", load_churn}, {"broadcast", load_broadcast}, {"idle", load_idle},
};

static _Noreturn void
usage(void)
{
	fprintf(stderr, "usage: load echo|churn|broadcast|idle [-c CONNECTIONS] [-s SIZE] [-d DEPTH] [-b] [-l] [-i IDLE]\n"
		"\t[-k] [-y] [-w WARM_UP] [-t SECONDS | -n MESSAGES] [-p PID] ADDRESS:PORT\n");
	exit(2);
}

static const struct mode *
parse(struct options *o, int argc, char **argv)
{
	const struct mode *mode = modes, *end = modes + sizeof(modes) / sizeof(modes[0]);
	int c;

	while (argc > 1 && mode < end && strcmp(mode->name, argv[1]) != 0)
		mode++;
	if (argc < 2 || mode == end)
		usage();
	*o = (struct options){.conns = 50, .size = 64, .depth = 1, .warm_up = 0.1, .seconds = 1};
	while ((c = getopt(argc - 1, argv + 1, "c:s:d:bli:kyw:t:n:p:")) != -1) {
		switch (c) {
		case 'c': o->conns = strtoull(optarg, NULL, 10); break;
		case 's': o->size = strtoull(optarg, NULL, 10); break;
		case 'd': o->depth = strtoull(optarg, NULL, 10); break;
		case 'b': o->batch = true; break;
		case 'l': o->lines = true; break;
		case 'i': o->idle = strtoull(optarg, NULL, 10); break;
		case 'k': o->keep = true; break;
		case 'y': o->yield = true; break;
		case 'w': o->warm_up = atof(optarg); break;
		case 't': o->seconds = atof(optarg); break;
		case 'n': o->messages = strtoull(optarg, NULL, 10); break;
		case 'p': o->server = (pid_t)atoi(optarg); break;
		default: usage();
		}
	}
	if (optind + 2 != argc || o->conns == 0 || o->size == 0 || o->depth == 0 || !net_parse(argv[optind + 1],
		&o->addr))
		usage();
	return mode;
}

int
main(int argc, char **argv)
{
	struct load l = {.done = 0};
	const struct mode *mode = parse(&l.opts, argc, argv);
	struct mark before, after;

	prepare(&l);
	mode->begin(&l);
	run(&l, seconds_of(CLOCK_MONOTONIC) + l.opts.warm_up, 0);
	before = mark(&l);
	run(&l, before.at + l.opts.seconds, l.opts.messages == 0 ? 0 : before.done + l.opts.messages);
	after = mark(&l);
	printf("messages %llu seconds %.6f server %.9f load %.9f\n", (unsigned long long)(after.done - before.done),
		after.at - before.at, after.server - before.server, after.load - before.load);
	fflush(stdout);
	while (l.opts.keep)
		pause();
	return 0;
}
