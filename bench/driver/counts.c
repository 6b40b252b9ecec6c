/* What hardly depends on the machine's mood: system calls (perf's tracepoints, else strace), user instructions
 * (callgrind), memory (the server's malloc and the kernel's accounts).
 *
 * Calls and instructions are those of two runs of different length, so that the difference is free of the
 * start. */
#include "driver.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LOAD_SECONDS = 120,
	IDLE_WARM = 16,
	REST_MICROSECONDS = 20000,
	PERF_FACTOR = 4			/* perf hardly slows the server: so many times the messages */
};

/* System calls of one run. */
struct calls {
	double all, waits, ctls, accepts, rest;
};

struct count counts[COUNTS_MAX];
int count_total;
/* The best runs of each so far. */
static struct {
	struct calls few, many;
	double few_instructions, many_instructions;
} taken[COUNTS_MAX];

struct count *
count_find(const struct cell *cell, const struct server *server)
{
	for (int i = 0; i < count_total; i++)
		if (counts[i].cell == cell && counts[i].server == server)
			return &counts[i];
	if (count_total == COUNTS_MAX) {
		fprintf(stderr, "bench: too many counts\n");
		exit(2);
	}
	counts[count_total] = (struct count){.cell = cell, .server = server, .calls = NAN, .waits = NAN, .ctls = NAN,
		.accepts = NAN, .rest = NAN, .instructions = NAN, .heap = NAN, .rss = NAN};
	return &counts[count_total++];
}

/* ---- which tools there are; asked once ---- */

#define EVENTS "raw_syscalls:sys_enter,syscalls:sys_enter_epoll_wait,syscalls:sys_enter_epoll_pwait," \
	"syscalls:sys_enter_epoll_ctl,syscalls:sys_enter_accept4"

enum tool { TOOL_UNKNOWN, TOOL_NONE, TOOL_PERF, TOOL_STRACE };

static enum tool
calls_tool(void)
{
	static enum tool tool;

	if (tool != TOOL_UNKNOWN)
		return tool;
	if (process_succeeds((const char *[]){"perf", "stat", "-e", EVENTS, "true", NULL}))
		tool = TOOL_PERF;
	else if (process_succeeds((const char *[]){"strace", "-c", "-f", "-o", "/dev/null", "true", NULL}))
		tool = TOOL_STRACE;
	else
		tool = TOOL_NONE;
	return tool;
}

const char *
counts_tool(void)
{
	switch (calls_tool()) {
	case TOOL_PERF: return "perf";
	case TOOL_STRACE: return "strace";
	default: return "none";
	}
}

const char *
counts_lack_calls(void)
{
	return calls_tool() == TOOL_NONE ? "neither perf's tracepoints nor strace work here: install strace" : NULL;
}

const char *
counts_lack_instructions(void)
{
	static int works = -1;

	if (works < 0)
		works = process_succeeds((const char *[]){"valgrind", "--tool=none", "-q", "true", NULL});
	return works ? NULL : "no valgrind: install valgrind";
}

/* ---- what the tools write ---- */

static FILE *
open_result(const char *path)
{
	FILE *f = fopen(path, "r");

	unlink(path);
	return f;
}

/* Lines as "4012,,raw_syscalls:sys_enter,...". */
static bool
read_perf(const char *path, struct calls *out)
{
	FILE *f = open_result(path);
	char line[256], event[128];
	double n;

	*out = (struct calls){.all = NAN};
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lf,,%127[^,]", &n, event) != 2)
			continue;
		if (strcmp(event, "raw_syscalls:sys_enter") == 0)
			out->all = n;
		else if (strstr(event, "epoll_wait") != NULL || strstr(event, "epoll_pwait") != NULL)
			out->waits += n;
		else if (strstr(event, "epoll_ctl") != NULL)
			out->ctls += n;
		else if (strstr(event, "accept4") != NULL)
			out->accepts += n;
	}
	if (f != NULL)
		fclose(f);
	return !isnan(out->all);
}

/* Lines as "  0.12    0.000005           1         4         2 epoll_ctl", the errors perhaps missing. */
static bool
read_strace(const char *path, struct calls *out)
{
	FILE *f = open_result(path);
	char line[256], errors[64], name[64];
	double n;

	*out = (struct calls){.all = 0};
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		int fields = sscanf(line, "%*f %*f %*f %lf %63s %63s", &n, errors, name);

		if (fields == 2)
			snprintf(name, sizeof(name), "%s", errors);
		if (fields < 2 || strcmp(name, "total") == 0)
			continue;
		out->all += n;
		if (strcmp(name, "epoll_wait") == 0 || strcmp(name, "epoll_pwait") == 0)
			out->waits += n;
		else if (strcmp(name, "epoll_ctl") == 0)
			out->ctls += n;
		else if (strcmp(name, "accept4") == 0)
			out->accepts += n;
	}
	if (f != NULL)
		fclose(f);
	return out->all > 0;
}

static bool
read_callgrind(const char *path, double *out)
{
	FILE *f = open_result(path);
	char line[256];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "summary: %lf", out) == 1 || sscanf(line, "totals: %lf", out) == 1;
	if (f != NULL)
		fclose(f);
	return found;
}

/* ---- runs ---- */

static const char *
result_path(void)
{
	static char path[64];

	if (path[0] == '\0')
		snprintf(path, sizeof(path), "/tmp/sconce-bench-%d", (int)getpid());
	return path;
}

/* The tool that counts calls, in front of a command; `room` of `argv` is enough for it. */
static void
calls_command(const char **argv)
{
	const char *const perf[] = {"perf", "stat", "-x,", "-o", result_path(), "-e", EVENTS, "--", NULL};
	const char *const strace[] = {"strace", "-c", "-f", "-o", result_path(), NULL};
	const char *const *from = calls_tool() == TOOL_PERF ? perf : strace;

	do
		*argv++ = *from;
	while (*from++ != NULL);
}

static bool
read_calls(struct calls *out)
{
	return calls_tool() == TOOL_PERF ? read_perf(result_path(), out) : read_strace(result_path(), out);
}

/* Has the server answer so many messages, under a tool. */
static bool
run_counted(const struct count *c, const char *const *tool, unsigned messages)
{
	char why[128];
	struct running r;
	struct process load;
	unsigned long long done = 0;
	const char *line;
	bool good = false;

	progress_say("counting %s, %s", c->cell->name, c->server->name);
	unlink(result_path());
	if (!running_start(&r, c->cell, c->server, tool, why, sizeof(why)))
		return false;
	if (running_load(&r, c->cell, messages, 0, 0, true, &load)) {
		line = process_line(&load, LOAD_SECONDS);
		good = line != NULL && sscanf(line, "messages %llu", &done) == 1 && done >= messages;
		usleep(REST_MICROSECONDS);		/* what is in flight is answered */
		running_end(&r);			/* first, or it would close so many connections, or not yet */
		process_end(&load, SIGKILL);
		return good;
	}
	running_end(&r);
	return good;
}

/* The least that was counted so far. */
static void
least(double *so_far, double now)
{
	*so_far = isnan(*so_far) ? now : fmin(*so_far, now);
}

/* One run of both; a run that was disturbed has more calls, so of each length the one with the least is kept. */
static bool
take_calls(const struct count *c, unsigned messages, struct calls *best)
{
	const char *tool[16];
	struct calls now;

	calls_command(tool);
	if (!run_counted(c, tool, messages) || !read_calls(&now))
		return false;
	now.rest = now.all - now.waits - now.accepts;
	if (best->all == 0 || now.all < best->all)
		*best = now;
	return true;
}

bool
count_calls(struct count *c)
{
	unsigned factor = calls_tool() == TOOL_PERF ? PERF_FACTOR : 1;
	double messages = (double)factor * (c->cell->many - c->cell->few);
	struct calls *few, *many;

	c->calls_taken++;
	if (counts_lack_calls() != NULL || c->cell->many == 0 || !server_built(c->server))
		return false;
	few = &taken[c - counts].few;
	many = &taken[c - counts].many;
	if (!take_calls(c, factor * c->cell->few, few) || !take_calls(c, factor * c->cell->many, many))
		return false;
	c->calls = (many->all - few->all) / messages;
	c->waits = (many->waits - few->waits) / messages;
	c->ctls = (many->ctls - few->ctls) / messages;
	c->accepts = (many->accepts - few->accepts) / messages;
	c->rest = (many->rest - few->rest) / messages;
	return true;
}

/* The same of instructions: small batches of events, which is what disturbance makes of them, cost more of them. */
static bool
take_instructions(const struct count *c, unsigned messages, double *best)
{
	char out[96];
	const char *const tool[] = {"valgrind", "--tool=callgrind", "-q", "--log-file=/dev/null", out, NULL};
	double now;

	snprintf(out, sizeof(out), "--callgrind-out-file=%s", result_path());
	if (!run_counted(c, tool, messages) || !read_callgrind(result_path(), &now))
		return false;
	if (*best == 0 || now < *best)
		*best = now;
	return true;
}

bool
count_instructions(struct count *c)
{
	double *few = &taken[c - counts].few_instructions, *many = &taken[c - counts].many_instructions;

	c->instructions_taken++;
	if (counts_lack_instructions() != NULL || c->cell->many == 0 || !server_built(c->server) ||
	    !take_instructions(c, c->cell->few, few) || !take_instructions(c, c->cell->many, many))
		return false;
	c->instructions = (*many - *few) / (c->cell->many - c->cell->few);
	return true;
}

double
count_ctls_of(const char *const *argv)
{
	const char *command[32];
	struct process p;
	struct calls calls;
	int n = 0, status;

	if (counts_lack_calls() != NULL)
		return NAN;
	calls_command(command);
	while (command[n] != NULL)
		n++;
	do
		command[n++] = *argv;
	while (*argv++ != NULL);
	unlink(result_path());
	if (!process_start(&p, process_server_cpu(), command))
		return NAN;
	while (process_line(&p, LOAD_SECONDS) != NULL)
		;
	status = process_end(&p, 0);
	return read_calls(&calls) && status == 0 ? calls.ctls : NAN;
}

/* ---- memory ---- */

/* Resident bytes; exact, which statm is not: that lags by dozens of pages. */
static double
resident(pid_t pid)
{
	char path[64], line[128];
	double kib = NAN;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && isnan(kib) && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Rss: %lf kB", &kib) != 1)
			kib = NAN;
	if (f != NULL)
		fclose(f);
	return kib * 1024;
}

/* What the server's heap and its pages come to while `conns` connections are idle. */
static bool
idle_memory(struct running *r, const struct cell *cell, size_t conns, double *heap, double *rss)
{
	struct cell part = *cell;
	struct process load;
	const char *line;
	bool good;

	part.conns = conns;
	if (!running_load(r, &part, 0, 0, 0, false, &load))
		return false;
	line = process_line(&load, LOAD_SECONDS);
	good = line != NULL && strcmp(line, "idle") == 0;
	usleep(REST_MICROSECONDS);		/* until the server waits again */
	good = good && kill(r->pid, SIGUSR1) == 0;
	line = good ? process_line(&r->server, LOAD_SECONDS) : NULL;
	good = line != NULL && sscanf(line, "heap %lf", heap) == 1;
	*rss = resident(r->pid);
	process_end(&load, SIGKILL);
	return good;
}

/* The difference of a few connections and all: what the first ones bring along is not counted. */
bool
count_memory(struct count *c)
{
	double heap, rss, heap_all, rss_all;
	char why[128];
	struct running r;
	bool good;

	c->memory_taken++;
	if (!server_built(c->server))
		return false;
	progress_say("memory of %s", c->server->name);
	if (!running_start(&r, c->cell, c->server, NULL, why, sizeof(why)))
		return false;
	good = idle_memory(&r, c->cell, IDLE_WARM, &heap, &rss) &&
	    idle_memory(&r, c->cell, c->cell->conns, &heap_all, &rss_all);
	running_end(&r);
	if (!good)
		return false;
	least(&c->heap, (heap_all - heap) / (double)(c->cell->conns - IDLE_WARM));
	least(&c->rss, (rss_all - rss) / (double)(c->cell->conns - IDLE_WARM));
	return true;
}
