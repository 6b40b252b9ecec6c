/* Mass clients: a fleet of sconce's against epoll by hand.
 *
 *	fleet [-n COUNT] [-r ROUNDS]	the comparison, and what a connection costs
 *	fleet -s [-n COUNT]		a storm: 30 % refused, 30 % never answered; an exact tally
 *
 * Two processes are the servers, which accept and keep; each round every client, in a process of its own, opens COUNT connections
 * at a time (18000 unless told) and holds them.  The order of the clients is reversed from round to round.  It prints what each
 * took and used, the median and the range of the rounds' ratios to `raw`, and the heap of a connection, malloc's overhead
 * included.  `raw again` is the reference a second time: how far it is from 1 is noise.
 *
 * Exit status 1 when a connection failed, the heap is above 512 bytes, or the median ratio of times above 1.2.
 *
 * Needs RLIMIT_NOFILE of COUNT + 100 (it raises the soft limit, as root the hard one too).  What else bounds it: ports,
 * net.ipv4.ip_local_port_range, for each pair of addresses and destination port, so that the clients take two ports in turn and
 * `bind` four local addresses; the servers' backlog, net.core.somaxconn. */
#include "fleet.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MOST = 101 };

static const double time_bar = 1.2, heap_bar = 512;

static const struct client {
	const char *name;
	void (*run)(const struct work *work, struct sample *out);
	enum how how;
	int reference;			/* its number */
} clients[] = {
	{"raw", client_raw, HOW_ADDR, 0},
	{"ours, addresses", client_ours, HOW_ADDR, 0},
	{"ours, texts", client_ours, HOW_TEXT, 0},
	{"raw again", client_raw, HOW_ADDR, 0},
	{"raw, bound", client_raw, HOW_BIND, 4},
	{"ours, bound", client_ours, HOW_BIND, 4},
};
enum { CLIENTS = sizeof(clients) / sizeof(clients[0]) };

void
die(const char *what)
{
	fprintf(stderr, "bench/fleet: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
	exit(1);
}

double
heap_now(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)(info.uordblks + info.hblkhd);
}

static double
clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double
cpu_now(void)
{
	return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

double
now(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

void
local_text(unsigned i, char *buf, size_t size)
{
	snprintf(buf, size, "127.0.0.%u", 2 + i % LOCALS);
}

/* ---- servers ---- */

static int
listen_on_loopback(int backlog, struct sockaddr_in *addr_out)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, backlog) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		die("listen");
	*addr_out = addr;
	return fd;
}

static void
accept_all(int poll_fd, int listen_fd)
{
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = {.events = EPOLLRDHUP, .data.fd = fd};

		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("server: epoll_ctl");
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("server: accept");
}

/* Accepts and keeps what comes until it is killed. */
static _Noreturn void
serve(int listen_fd)
{
	struct epoll_event events[256], ev = {.events = EPOLLIN, .data.fd = listen_fd};
	int poll_fd = epoll_create1(EPOLL_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, listen_fd, &ev) < 0)
		die("server: epoll");
	for (;;) {
		int n = epoll_wait(poll_fd, events, 256, -1);

		for (int i = 0; i < n; i++)
			if (events[i].data.fd == listen_fd)
				accept_all(poll_fd, listen_fd);
			else
				close(events[i].data.fd);
	}
}

static pid_t
server_start(struct sockaddr_in *addr_out)
{
	int fd = listen_on_loopback(65535, addr_out);
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		serve(fd);
	close(fd);
	return pid;
}

static void
server_stop(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

/* ---- rounds ---- */

/* In a process of its own: neither the heap nor the ids of the one before are in it. */
static struct sample
play(const struct client *client, struct work work)
{
	struct sample s = {.connected = 0};
	int fds[2];
	pid_t pid;

	work.how = client->how;
	if (pipe(fds) < 0 || (pid = fork()) < 0)
		die("fork");
	if (pid == 0) {
		client->run(&work, &s);
		_exit(write(fds[1], &s, sizeof(s)) != sizeof(s));
	}
	close(fds[1]);
	if (read(fds[0], &s, sizeof(s)) != sizeof(s))
		die(client->name);
	close(fds[0]);
	waitpid(pid, NULL, 0);
	return s;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct range {
	double low, median, high;
};

static struct range
range_of(const double *values, int count)
{
	double sorted[ROUNDS_MOST];

	memcpy(sorted, values, (size_t)count * sizeof(*values));
	qsort(sorted, (size_t)count, sizeof(*sorted), by_value);
	return (struct range){sorted[0], (sorted[(count - 1) / 2] + sorted[count / 2]) / 2, sorted[count - 1]};
}

/* One line; whether the bars hold. */
static bool
report(int i, struct sample samples[CLIENTS][ROUNDS_MOST], int rounds, unsigned count)
{
	double seconds[ROUNDS_MOST] = {0}, cpu[ROUNDS_MOST] = {0}, ratio[ROUNDS_MOST] = {0}, cpu_ratio[ROUNDS_MOST] = {0};
	const struct sample *reference = samples[clients[i].reference];
	bool ours = clients[i].run == client_ours, good = true;
	struct range r, c;

	for (int k = 0; k < rounds; k++) {
		seconds[k] = samples[i][k].seconds;
		cpu[k] = samples[i][k].cpu * 1e6 / count;
		ratio[k] = seconds[k] / reference[k].seconds;
		cpu_ratio[k] = samples[i][k].cpu / reference[k].cpu;
		good = good && samples[i][k].connected == count;
	}
	r = range_of(ratio, rounds);
	c = range_of(cpu_ratio, rounds);
	printf("%-16s %7.3f s  %6.3f [%.3f, %.3f]   %6.2f us  %6.3f [%.3f, %.3f]   %5.0f\n", clients[i].name,
	    range_of(seconds, rounds).median, r.median, r.low, r.high, range_of(cpu, rounds).median, c.median, c.low, c.high,
	    samples[i][0].heap);
	if (!good)
		printf("%-16s not all were connected\n", "");
	return good && (!ours || (r.median <= time_bar && samples[i][0].heap <= heap_bar));
}

static int
compare(unsigned count, int rounds)
{
	static struct sample samples[CLIENTS][ROUNDS_MOST];
	struct work work = {.count = count};
	pid_t pids[SERVERS];
	bool good = true;

	for (int i = 0; i < SERVERS; i++)
		pids[i] = server_start(&work.addrs[i]);
	for (int k = 0; k < rounds; k++)
		for (int i = 0; i < CLIENTS; i++) {
			int which = k % 2 == 0 ? i : CLIENTS - 1 - i;

			samples[which][k] = play(&clients[which], work);
		}
	for (int i = 0; i < SERVERS; i++)
		server_stop(pids[i]);
	printf("%u connections at a time, %d rounds\n%-16s %9s  %-23s %10s  %-23s  %s\n", count, rounds, "", "time", "  / raw",
	    "CPU each", "  / raw", "heap each");
	for (int i = 0; i < CLIENTS; i++)
		good = report(i, samples, rounds, count) && good;
	printf("%s\n", good ? "the bars hold" : "a bar is missed");
	return good ? 0 : 1;
}

/* ---- the storm ---- */

static int
storm(unsigned count)
{
	struct sockaddr_in addrs[3];
	struct sample s = {.connected = 0};
	pid_t pid = server_start(&addrs[0]);
	int refusing = listen_on_loopback(1, &addrs[1]), full = listen_on_loopback(0, &addrs[2]);
	int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	close(refusing);
	if (connect(guest, (struct sockaddr *)&addrs[2], sizeof(addrs[2])) < 0)
		die("connect");
	client_storm(count, addrs, 2, &s);
	server_stop(pid);
	close(guest);
	close(full);
	good = s.connected == count / 10 * 4 && s.failed == count / 10 * 3 && s.timed_out == count / 10 * 3;
	printf("storm of %u: %u connected, %u refused, %u timed out, %.3f s, %.3f s of CPU: %s\n", count, s.connected, s.failed,
	    s.timed_out, s.seconds, s.cpu, good ? "exact" : "wrong");
	return good ? 0 : 1;
}

static void
raise_limit(unsigned count)
{
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_max < count + 100)
		r.rlim_max = count + 100;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		die("RLIMIT_NOFILE is too low");
}

int
main(int argc, char **argv)
{
	unsigned count = 0;
	int rounds = 5, option;
	bool is_storm = false;

	while ((option = getopt(argc, argv, "n:r:s")) != -1) {
		if (option == 'n')
			count = (unsigned)atoi(optarg);
		else if (option == 'r')
			rounds = atoi(optarg);
		else if (option == 's')
			is_storm = true;
		else
			return 2;
	}
	if (rounds < 1 || rounds > ROUNDS_MOST || optind != argc) {
		fprintf(stderr, "usage: fleet [-s] [-n COUNT] [-r ROUNDS]\n");
		return 2;
	}
	if (count == 0)
		count = is_storm ? 20000 : 18000;
	signal(SIGPIPE, SIG_IGN);
	raise_limit(is_storm ? 10000 : count);
	errno = 0;
	return is_storm ? storm(count / 10 * 10) : compare(count, rounds);
}
