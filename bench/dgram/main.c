/* UDP echo: sconce against recvmmsg and sendmmsg by hand.
 *
 *	dgram [-s SIZE] [-c SOCKETS] [-d DEPTH] [-r ROUNDS] [-t SECONDS] [-n]
 *	dgram serve raw|ours		only a server, on a port of loopback that it prints
 *
 * Each round starts both servers afresh, in turns first, on the first CPU, and drives them from the last: SOCKETS sockets that
 * have DEPTH datagrams of SIZE bytes in flight each (64 bytes, 4 and 32 unless told).  It prints what a datagram, there and back, costs
 * the server's process in CPU
 * time, user and system: the medians, and the median and the range of the rounds' ratios.  `raw again` is the reference a second
 * time: how far it is from 1 is noise.
 * -n leaves out the comparison of every byte.  Exit status 1 when the median ratio is above 1.05. */
#include "dgram.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MOST = 201, SERVERS = 3 };

static const double bar = 1.05;
static const char *const names[SERVERS] = {"raw", "ours", "raw again"};

void
die(const char *what)
{
	fprintf(stderr, "bench/dgram: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
	exit(1);
}

/* To one CPU, from the first (0) or the last (-1).  On a machine of one it changes nothing. */
static void
pin(int cpu)
{
	cpu_set_t set;
	long count = sysconf(_SC_NPROCESSORS_ONLN);

	CPU_ZERO(&set);
	CPU_SET((size_t)(cpu < 0 ? count - 1 : cpu), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int
bound(struct sockaddr_in *addr_out)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int size = RECEIVE_BUFFER, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		die("bind");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*addr_out = addr;
	return fd;
}

static _Noreturn void
serve(const char *name, int fd)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	pin(0);
	if (strncmp(name, "raw", 3) == 0)
		serve_raw(fd);
	serve_ours(fd);
}

static struct sample
play(const char *name, const struct work *work)
{
	struct sockaddr_in addr;
	struct sample s;
	int fd = bound(&addr);
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		serve(name, fd);
	close(fd);
	load_run(work, &addr, pid, &s);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return s;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(const double *values, int count)
{
	double sorted[ROUNDS_MOST];

	memcpy(sorted, values, (size_t)count * sizeof(*values));
	qsort(sorted, (size_t)count, sizeof(*sorted), compare);
	return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* Prints a line.  Returns the median ratio to the reference. */
static double
report(int server, double cost[SERVERS][ROUNDS_MOST], double rate[SERVERS][ROUNDS_MOST], double busy[SERVERS][ROUNDS_MOST],
	const uint64_t lost[SERVERS], int rounds)
{
	double ratios[ROUNDS_MOST] = {0}, low, high;

	for (int i = 0; i < rounds; i++)
		ratios[i] = cost[server][i] / cost[0][i];
	low = high = ratios[0];
	for (int i = 1; i < rounds; i++) {
		low = ratios[i] < low ? ratios[i] : low;
		high = ratios[i] > high ? ratios[i] : high;
	}
	printf("%-10s %8.3f us CPU/datagram  %9.0f datagrams/s  busy %3.0f %%  lost %llu  CPU/raw %.3f (%.3f to %.3f)\n",
		names[server], median(cost[server], rounds), median(rate[server], rounds), median(busy[server], rounds) * 100,
		(unsigned long long)lost[server], median(ratios, rounds), low, high);
	return median(ratios, rounds);
}

static double
measure(const struct work *work, int rounds)
{
	static double cost[SERVERS][ROUNDS_MOST], rate[SERVERS][ROUNDS_MOST], busy[SERVERS][ROUNDS_MOST];
	uint64_t lost[SERVERS] = {0};
	double ours;

	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < SERVERS; i++) {
			int server = (round & 1) ? SERVERS - 1 - i : i;
			struct sample s = play(names[server], work);

			if (s.datagrams == 0)
				die("nothing came back");
			cost[server][round] = s.cpu / (double)s.datagrams * 1e6;
			rate[server][round] = (double)s.datagrams / s.seconds;
			busy[server][round] = s.cpu / s.seconds;
			lost[server] += s.lost;
		}
	}
	printf("UDP echo, %zu bytes, %u sockets with %u in flight each, %d rounds of %.2f s\n", work->size, work->socks,
		work->depth, rounds, work->seconds);
	report(0, cost, rate, busy, lost, rounds);
	ours = report(1, cost, rate, busy, lost, rounds);
	report(2, cost, rate, busy, lost, rounds);
	return ours;
}

static _Noreturn void
usage(void)
{
	fprintf(stderr, "usage: dgram [-s SIZE] [-c SOCKETS] [-d DEPTH] [-r ROUNDS] [-t SECONDS] [-n]\n"
		"       dgram serve raw|ours\n");
	exit(2);
}

static _Noreturn void
serve_alone(const char *name)
{
	struct sockaddr_in addr;
	int fd;

	if (strcmp(name, "raw") != 0 && strcmp(name, "ours") != 0)
		usage();
	fd = bound(&addr);
	printf("listening on 127.0.0.1:%u\n", ntohs(addr.sin_port));
	fflush(stdout);
	serve(name, fd);
}

int
main(int argc, char **argv)
{
	struct work work = {.size = 64, .socks = 4, .depth = 32, .warm_up = 0.1, .seconds = 0.3, .check = true};
	int rounds = 15, option;

	errno = 0;
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve_alone(argv[2]);
	while ((option = getopt(argc, argv, "s:c:d:r:t:n")) != -1) {
		switch (option) {
		case 's': work.size = (size_t)atoi(optarg); break;
		case 'c': work.socks = (unsigned)atoi(optarg); break;
		case 'd': work.depth = (unsigned)atoi(optarg); break;
		case 'r': rounds = atoi(optarg); break;
		case 't': work.seconds = atof(optarg); break;
		case 'n': work.check = false; break;
		default: usage();
		}
	}
	if (optind != argc || work.size == 0 || work.size > ROOM || work.socks == 0 || work.depth == 0 || rounds < 1 ||
	    rounds > ROUNDS_MOST || !(work.seconds > 0))
		usage();
	pin(-1);
	return measure(&work, rounds) > bar;
}
