/* Starting, waiting for and ending programs: servers and loads on their CPUs, and the tools that count. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 40, START_SECONDS = 20, END_SECONDS = 10 };

static char directory[4096];
static int server_cpu = -1, load_cpu = -1;

/* The server's CPU is the first that we may use, the load's the last. */
static void
choose_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2) {
		fprintf(stderr, "bench: one CPU only: server and load share it, the figures say little\n");
		return;
	}
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (server_cpu < 0)
			server_cpu = cpu;
		load_cpu = cpu;
	}
}

void
process_prepare(void)
{
	ssize_t n = readlink("/proc/self/exe", directory, sizeof(directory) - 1);

	if (n < 0) {
		perror("bench: /proc/self/exe");
		exit(2);
	}
	directory[n] = '\0';
	*strrchr(directory, '/') = '\0';
	signal(SIGPIPE, SIG_IGN);
	choose_cpus();
}

/* The answer is good until the fourth call from now. */
const char *
process_path(const char *program)
{
	static char paths[4][sizeof(directory) + 64];
	static int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, program);
	return path;
}

const char *
process_script(const char *script)
{
	static char path[sizeof(directory) + 64];
	const char *scripts = getenv("SCRIPTS");	/* bench/run knows where it is */

	snprintf(path, sizeof(path), "%s/%s", scripts != NULL ? scripts : directory, script);
	return path;
}

int
process_server_cpu(void)
{
	return server_cpu;
}

int
process_load_cpu(void)
{
	return load_cpu;
}

static void
child(int cpu, int out, const char *const *argv)
{
	cpu_set_t set;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
	dup2(out, STDOUT_FILENO);
	execvp(argv[0], (char *const *)argv);
	fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

bool
process_start(struct process *p, int cpu, const char *const *argv)
{
	int fds[2];

	*p = (struct process){.out = -1};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	fflush(stdout);
	p->pid = fork();
	if (p->pid == 0)
		child(cpu, fds[1], argv);
	close(fds[1]);
	p->out = fds[0];
	if (p->pid < 0) {
		close(fds[0]);
		p->pid = 0;
		return false;
	}
	return true;
}

static double
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Moves the first line out of the buffer. */
static const char *
take_line(struct process *p)
{
	static char line[sizeof(p->text)];
	char *end = memchr(p->text, '\n', p->len);
	size_t n;

	if (end == NULL)
		return NULL;
	n = (size_t)(end - p->text);
	memcpy(line, p->text, n);
	line[n] = '\0';
	p->len -= n + 1;
	memmove(p->text, end + 1, p->len);
	return line;
}

const char *
process_line(struct process *p, double seconds)
{
	double until = clock_now() + seconds;
	const char *line;

	while ((line = take_line(p)) == NULL) {
		struct pollfd fd = {.fd = p->out, .events = POLLIN};
		double left = until - clock_now();
		ssize_t n;

		if (left <= 0 || p->len == sizeof(p->text) || poll(&fd, 1, (int)(left * 1000) + 1) == 0)
			return NULL;
		n = read(p->out, p->text + p->len, sizeof(p->text) - p->len);
		if (n <= 0 && errno != EINTR)
			return NULL;
		if (n > 0)
			p->len += (size_t)n;
	}
	return line;
}

/* One that does not go when it is told is killed. */
int
process_end(struct process *p, int signo)
{
	double until = clock_now() + END_SECONDS;
	int status = -1;

	if (p->pid == 0)
		return -1;
	if (signo != 0)
		kill(p->pid, signo);
	while (waitpid(p->pid, &status, WNOHANG) == 0) {
		if (clock_now() > until)
			kill(p->pid, SIGKILL);
		usleep(500);
	}
	close(p->out);
	p->pid = 0;
	return status;
}

bool
process_succeeds(const char *const *argv)
{
	int status = -1, nothing;
	pid_t pid = fork();

	if (pid == 0) {
		nothing = open("/dev/null", O_RDWR);
		dup2(nothing, STDOUT_FILENO);
		dup2(nothing, STDERR_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* ---- a server and its load ---- */

/* The program that a tool runs, or the process itself. */
static pid_t
innermost(pid_t pid)
{
	char path[64];
	FILE *f;
	int inner;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return pid;
	if (fscanf(f, "%d", &inner) != 1)
		inner = (int)pid;
	fclose(f);
	return (pid_t)inner;
}

static bool
listens(struct process *p, char *address_out)
{
	const char *line = process_line(p, START_SECONDS);

	return line != NULL && sscanf(line, "listening on %63s", address_out) == 1;
}

bool
running_start(struct running *r, const struct cell *cell, const struct server *server, const char *const *tool,
	char *why, size_t size)
{
	const char *argv[ARGS_MAX];
	char target[64];
	int n = 0;

	*r = (struct running){.idle = server->idle};
	if (cell->target && (!process_start(&r->target, load_cpu, (const char *[]){process_path("raw"), "echo",
		NULL}) ||
	    !listens(&r->target, target))) {
		snprintf(why, size, "its target does not listen");
		running_end(r);
		return false;
	}
	for (; tool != NULL && tool[n] != NULL; n++)
		argv[n] = tool[n];
	argv[n++] = server_path(server);
	argv[n++] = server->workload;
	argv[n++] = server->listen != NULL ? server->listen : "127.0.0.1:0";
	argv[n] = cell->target ? target : NULL;
	argv[n + 1] = NULL;
	if (!process_start(&r->server, server_cpu, argv) || !listens(&r->server, r->address)) {
		snprintf(why, size, "it does not listen");
		running_end(r);
		return false;
	}
	r->pid = tool == NULL ? r->server.pid : innermost(r->server.pid);
	return true;
}

/* A tool ends when what it runs has ended. */
void
running_end(struct running *r)
{
	if (r->pid != 0 && r->pid != r->server.pid)
		kill(r->pid, SIGTERM);
	process_end(&r->server, r->pid == r->server.pid || r->pid == 0 ? SIGTERM : 0);
	process_end(&r->target, SIGTERM);
}

bool
running_load(struct running *r, const struct cell *cell, uint64_t messages, double warm_up, double seconds,
	bool keep, struct process *load)
{
	char conns[32], size[32], depth[32], warm[32], length[32], pid[32], idle[32];
	const char *argv[ARGS_MAX] = {process_path("load"), cell->mode, "-c", conns, "-s", size, "-d", depth,
		"-w", warm,
		messages > 0 ? "-n" : "-t", length, "-p", pid, "-i", idle};
	int n = 16;

	snprintf(conns, sizeof(conns), "%zu", cell->conns);
	snprintf(size, sizeof(size), "%zu", cell->size);
	snprintf(depth, sizeof(depth), "%zu", cell->depth);
	snprintf(warm, sizeof(warm), "%g", warm_up);
	snprintf(pid, sizeof(pid), "%d", (int)r->pid);
	snprintf(idle, sizeof(idle), "%zu", r->idle);
	if (messages > 0)
		snprintf(length, sizeof(length), "%llu", (unsigned long long)messages);
	else
		snprintf(length, sizeof(length), "%g", seconds);
	if (keep)
		argv[n++] = "-k";
	if (cell->batch)
		argv[n++] = "-b";
	if (cell->lines)
		argv[n++] = "-l";
	if (cell->target)
		argv[n++] = "-y";
	argv[n++] = r->address;
	argv[n] = NULL;
	return process_start(load, load_cpu, argv);
}
