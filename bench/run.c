/* The driver of the benchmarks: every workload against every server, in alternating rounds, and a table of ratios.
 *
 *	run [--bar] [--control] [--list] [--rounds N] [--seconds S] [WORKLOAD...]
 *
 * A round starts each server afresh on one CPU, puts the load on another, and takes the server's CPU time per message.
 * Ratios are between neighbours in time, the same round's reference, so that a machine that slows down slows both.
 * Servers and load are programs beside this one; README.md says how to add one. */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 1000, ARGS_MAX = 16 };

/* A program that takes ADDRESS:PORT, and prints "listening on ADDRESS:PORT" when it does. */
struct server {
	const char *name, *program;
	bool control;			/* only with --control */
};

/* The first is the reference. */
static const struct server servers[] = {
	{.name = "raw epoll", .program = "echo_raw"},
	{.name = "sconce", .program = "echo"},
	{.name = "raw again", .program = "echo_raw", .control = true},
};
enum { SERVERS = sizeof(servers) / sizeof(servers[0]), OURS = 1 };

/* A load, and how long. */
struct workload {
	const char *name, *what;
	const char *conns, *size, *depth;	/* the load's -c, -s, -d */
	int rounds;
	double seconds;
	double busy;				/* share of its CPU that a server must have had, or the round is played again */
	double bar;				/* what our ratio must not exceed; 0: no bar */
};

static const struct workload workloads[] = {
	{"c50-s64", "64-byte echo, 50 connections", "50", "64", "1", 15, 0.8, 0.9, 1.10},
	{"c50-s16384", "16 KiB echo, 50 connections", "50", "16384", "1", 5, 0.5, 0.85, 0},
};
enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]) };

struct options {
	bool bar, control;
	int rounds;			/* 0: the workload's own */
	double seconds;			/* 0: the same */
	char dir[4096];			/* where the programs are */
	int server_cpu, load_cpu;	/* -1: anywhere */
};

/* What one server did in one round. */
struct cell {
	unsigned long long messages;
	double seconds, server, load;	/* wall clock, and CPU of the two */
};

struct process {
	pid_t pid;
	FILE *out;
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "bench/run: %s: %s\n", what, why);
	exit(1);
}

/* ---- processes ---- */

static void
pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static struct process
process_start(const struct options *o, int cpu, const char *program, const char *const *args)
{
	const char *argv[ARGS_MAX] = {program};
	char path[sizeof(o->dir) + 64];
	struct process p;
	int fds[2];

	snprintf(path, sizeof(path), "%s/%s", o->dir, program);
	for (int i = 0; args[i] != NULL && i + 2 < ARGS_MAX; i++)
		argv[i + 1] = args[i];
	if (pipe(fds) < 0)
		die("pipe", strerror(errno));
	fflush(stdout);
	p.pid = fork();
	if (p.pid < 0)
		die("fork", strerror(errno));
	if (p.pid == 0) {
		pin(cpu);
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execv(path, (char *const *)argv);
		fprintf(stderr, "bench/run: %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	p.out = fdopen(fds[0], "r");
	if (p.out == NULL)
		die("fdopen", strerror(errno));
	return p;
}

/* Waits for its end, after a signal if `signo` is not 0.  Returns waitpid's status. */
static int
process_end(struct process *p, int signo)
{
	int status = 0;

	if (signo != 0)
		kill(p->pid, signo);
	fclose(p->out);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* ---- one round of one server ---- */

static struct cell
measure(const struct options *o, const struct server *server, const struct workload *w)
{
	const char *none[] = {NULL};
	struct process target = process_start(o, o->server_cpu, server->program, none), load;
	char address[64], pid[32], seconds[32];
	struct cell cell;
	int fields, status;

	if (fscanf(target.out, "listening on %63s", address) != 1)
		die(server->program, "it does not listen");
	snprintf(pid, sizeof(pid), "%d", (int)target.pid);
	snprintf(seconds, sizeof(seconds), "%g", o->seconds > 0 ? o->seconds : w->seconds);
	load = process_start(o, o->load_cpu, "load", (const char *[]){
		"-c", w->conns, "-s", w->size, "-d", w->depth, "-t", seconds, "-p", pid, address, NULL});
	fields = fscanf(load.out, "messages %llu seconds %lf server %lf load %lf",
		&cell.messages, &cell.seconds, &cell.server, &cell.load);
	status = process_end(&load, 0);
	if (WIFSIGNALED(status))
		die("the load was killed", strsignal(WTERMSIG(status)));
	if (status != 0 || fields != 4)
		die(server->name, "the load has failed");
	if (cell.messages == 0)
		die(server->name, "not one message came back in time");
	process_end(&target, SIGTERM);
	return cell;
}

/* ---- figures ---- */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread {
	double median, low, high;
};

/* The median, and a 95 % interval of it that assumes nothing of how the values are spread: the true median lies outside
 * the (k+1)-th smallest and the (k+1)-th largest value only if at most k of `count` fair coins show one side.  Of fewer than
 * 6 values it is the whole range, which is a little less than 95 %. */
static struct spread
spread_of(double *values, int count)
{
	double tail = pow(0.5, count), term = tail;
	struct spread s;
	int k = 0;

	qsort(values, (size_t)count, sizeof(*values), compare);
	while (tail <= 0.025) {			/* tail: the chance of at most k heads */
		k++;
		term *= (double)(count - k + 1) / k;
		tail += term;
	}
	if (k > 0)
		k--;				/* the last one that was rare enough */
	s.low = values[k];
	s.high = values[count - 1 - k];
	s.median = (values[(count - 1) / 2] + values[count / 2]) / 2;
	return s;
}

static double
micros(const struct cell *c)
{
	return c->server / (double)c->messages * 1e6;
}

/* Medians of one server's rounds. */
static void
print_row(const char *workload, const struct server *server, struct cell (*cells)[SERVERS], int which, int rounds)
{
	double cpu[ROUNDS_MAX], rate[ROUNDS_MAX], busy[ROUNDS_MAX], ratio[ROUNDS_MAX];
	struct spread s;

	for (int i = 0; i < rounds; i++) {
		const struct cell *c = &cells[i][which];

		cpu[i] = micros(c);
		rate[i] = (double)c->messages / c->seconds;
		busy[i] = c->server / c->seconds;
		ratio[i] = micros(c) / micros(&cells[i][0]);
	}
	s = spread_of(ratio, rounds);
	printf("%-12s %-12s %12.3f %12.0f %7.0f %%", workload, server->name, spread_of(cpu, rounds).median,
		spread_of(rate, rounds).median, 100 * spread_of(busy, rounds).median);
	if (which == 0)
		printf("    1\n");
	else
		printf("    %.3f  (%.3f to %.3f)\n", s.median, s.low, s.high);
}

/* Whether our ratio is within the workload's bar; says so. */
static bool
judge(const struct workload *w, struct cell (*cells)[SERVERS], int rounds)
{
	double ratio[ROUNDS_MAX];
	struct spread s;

	if (w->bar == 0)
		return true;
	for (int i = 0; i < rounds; i++)
		ratio[i] = micros(&cells[i][OURS]) / micros(&cells[i][0]);
	s = spread_of(ratio, rounds);
	printf("%s: the bar is %.2f x raw: %s\n", w->name, w->bar, s.high <= w->bar ? "met" :
		s.low <= w->bar ? "met as far as the noise lets us see" : "MISSED");
	return s.low <= w->bar;
}

/* ---- a workload ---- */

static int
rounds_of(const struct options *o, const struct workload *w)
{
	return o->rounds > 0 ? o->rounds : w->rounds;
}

/* Measures every server once.  Returns the smallest share of a CPU that one of them had. */
static double
play_round(const struct options *o, const struct workload *w, struct cell *cells, bool backwards)
{
	double busy = 1;

	for (int i = 0; i < SERVERS; i++) {
		int which = backwards ? SERVERS - 1 - i : i;
		struct cell *c = &cells[which];

		if (servers[which].control && !o->control)
			continue;
		*c = measure(o, &servers[which], w);
		busy = fmin(busy, c->server / c->seconds);
		printf("  %s %.3f", servers[which].name, micros(c));
		fflush(stdout);
	}
	printf("  ratio %.3f\n", micros(&cells[OURS]) / micros(&cells[0]));
	return busy;
}

/* Others use the machine too.  A server whose CPU was taken away sleeps more and is measured doing something else, so
 * its round is played again, but there is an end to that. */
static void
play(const struct options *o, const struct workload *w, struct cell (*cells)[SERVERS])
{
	int rounds = rounds_of(o, w), spare = rounds / 2, poor = 0;

	printf("%s: %s\n", w->name, w->what);
	for (int i = 0; i < rounds; i++) {
		printf("  round %2d/%d, us per message:", i + 1, rounds);
		while (play_round(o, w, cells[i], i % 2 == 1) < w->busy) {	/* nobody is always the first */
			if (spare-- <= 0) {
				poor++;
				break;
			}
			printf("    a server lacked CPU, again: ");
		}
	}
	if (poor > 0)
		printf("  in %d of %d rounds a server had less than %.0f %% of its CPU: better ask again on an idle machine\n",
			poor, rounds, 100 * w->busy);
}

/* ---- the command line ---- */

/* The server's CPU is the first that we may use, the load's the last. */
static void
choose_cpus(struct options *o)
{
	cpu_set_t set;

	o->server_cpu = o->load_cpu = -1;
	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2) {
		printf("one CPU only: server and load share it, the figures say little\n");
		return;
	}
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (o->server_cpu < 0)
			o->server_cpu = cpu;
		o->load_cpu = cpu;
	}
}

static void
find_programs(struct options *o)
{
	ssize_t n = readlink("/proc/self/exe", o->dir, sizeof(o->dir) - 1);

	if (n < 0)
		die("/proc/self/exe", strerror(errno));
	o->dir[n] = '\0';
	*strrchr(o->dir, '/') = '\0';
}

static void
usage(void)
{
	fprintf(stderr, "usage: run [--bar] [--control] [--list] [--rounds N] [--seconds S] [WORKLOAD...]\n");
	exit(2);
}

static void
list(void)
{
	for (int i = 0; i < WORKLOADS; i++)
		printf("%-12s %s\n", workloads[i].name, workloads[i].what);
	exit(0);
}

/* Returns the index of the first argument that is a workload's name. */
static int
parse(struct options *o, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--bar") == 0) {
			o->bar = true;
		} else if (strcmp(argv[i], "--control") == 0) {
			o->control = true;
		} else if (strcmp(argv[i], "--list") == 0) {
			list();
		} else if (strcmp(argv[i], "--rounds") == 0) {
			o->rounds = atoi(value);
			if (o->rounds < 1 || o->rounds > ROUNDS_MAX)
				usage();
			i++;
		} else if (strcmp(argv[i], "--seconds") == 0) {
			o->seconds = atof(value);
			if (!(o->seconds > 0))
				usage();
			i++;
		} else {
			usage();
		}
	}
	return i;
}

static bool
wanted(const struct workload *w, char **names)
{
	if (*names == NULL)
		return true;
	for (; *names != NULL; names++)
		if (strcmp(*names, w->name) == 0)
			return true;
	return false;
}

static void
check_names(char **names)
{
	for (; *names != NULL; names++) {
		bool known = false;

		for (int i = 0; i < WORKLOADS; i++)
			known = known || strcmp(*names, workloads[i].name) == 0;
		if (!known)
			die(*names, "there is no such workload; --list names them");
	}
}

int
main(int argc, char **argv)
{
	static struct cell cells[WORKLOADS][ROUNDS_MAX][SERVERS];
	struct options o = {.rounds = 0};
	char **names = argv + parse(&o, argc, argv);
	bool good = true;

	check_names(names);
	find_programs(&o);
	choose_cpus(&o);
	for (int i = 0; i < WORKLOADS; i++)
		if (wanted(&workloads[i], names))
			play(&o, &workloads[i], cells[i]);

	printf("\n%-12s %-12s %12s %12s %9s    %s\n", "workload", "server", "CPU us/msg", "msg/s", "busy",
		"CPU / raw, median (its 95 % interval)");
	for (int i = 0; i < WORKLOADS; i++)
		for (int j = 0; wanted(&workloads[i], names) && j < SERVERS; j++)
			if (!servers[j].control || o.control)
				print_row(workloads[i].name, &servers[j], cells[i], j, rounds_of(&o, &workloads[i]));
	for (int i = 0; i < WORKLOADS; i++)
		if (wanted(&workloads[i], names) && !judge(&workloads[i], cells[i], rounds_of(&o, &workloads[i])))
			good = false;
	return o.bar && !good ? 1 : 0;
}
