/* The driver of the benchmarks: what its files share.
 *
 *	cells.c		what is measured: the tables of servers and workloads
 *	process.c	starting, waiting for and ending programs
 *	play.c		rounds of CPU time
 *	counts.c	system calls, instructions, memory
 *	stats.c		medians and their intervals
 *	bars.c		what must hold, and whether it does
 *	report.c	progress and tables
 *	json.c, plot.c	the files
 *	main.c		the command line */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { SERVERS_MAX = 16, ROUNDS_MAX = 1000, CELLS_MAX = 80, RUNS_MAX = 2 * CELLS_MAX, COUNTS_MAX = 256,
	VERDICTS_MAX = 128 };

/* ---- cells.c ---- */

/* What a server is in a table of ratios. */
enum role {
	ROLE_REFERENCE,			/* the first: 1 */
	ROLE_CONTROL,			/* the reference again */
	ROLE_OURS,
	ROLE_PEER,			/* libev, libevent, libuv */
	ROLE_OTHER			/* a variant of the reference or of ours, or what nobody would choose for speed */
};

/* A program beside the driver, in one of its workloads. */
struct server {
	const char *name;		/* in tables; NULL ends a list */
	enum role role;
	const char *program, *workload;
	const char *listen;		/* ADDRESS:PORT and options; NULL: 127.0.0.1:0 */
	bool rare;			/* far from the best with many connections: played in every fifth round only then */
	size_t idle;			/* so many further connections, that say nothing, are there */
	const char *module;		/* of Perl, if the program is a script beside bench/run that uses it; else NULL */
};

/* A workload in one size: what is put to several servers in the same rounds. */
struct cell {
	char name[32], what[80];
	const char *mode;		/* of the load */
	size_t conns, size, depth;
	bool batch;			/* the load waits for all `depth` */
	bool lines;			/* messages are lines */
	bool target;			/* the servers relay to an echo server beside the load */
	uint64_t messages;		/* a slice is so many; 0: a slice is a time */
	const struct server *servers;
	bool timed;			/* CPU is compared */
	bool quick;			/* also in a short run */
	unsigned few, many;		/* messages of the two runs that are counted; 0: none */
};

extern struct cell cells[CELLS_MAX];
extern int cell_count;

void cells_make(void);
const struct cell *cell_find(const char *name);
int cell_servers(const struct cell *cell);
const struct server *server_find(const struct cell *cell, const char *name);
/* Whether the server's program was built, or its script can run (a peer's library may not be here). */
bool server_built(const struct server *server);
const char *server_path(const struct server *server);

/* ---- process.c ---- */

struct process {
	pid_t pid;
	int out;			/* its standard output */
	char text[256];			/* of which so much has come and is not a line yet */
	size_t len;
};

/* A server that listens, and the target that it relays to. */
struct running {
	struct process server, target;	/* pid 0: none */
	pid_t pid;			/* of the server itself; `server` may be a tool that runs it */
	size_t idle;			/* connections that the load adds */
	char address[64];
};

/* Where the programs are, and the CPUs. */
void process_prepare(void);
const char *process_path(const char *program);
/* The same of a script, which is not built. */
const char *process_script(const char *script);
/* The server's CPU, the load's; -1: any. */
int process_server_cpu(void);
int process_load_cpu(void);

/* Starts argv on `cpu`.  False: errno. */
bool process_start(struct process *p, int cpu, const char *const *argv);
/* The next line of its output, without newline, within `seconds`; NULL when there is none. */
const char *process_line(struct process *p, double seconds);
/* Sends `signo` if it is not 0, and waits for its end, not for ever.  Returns waitpid's status. */
int process_end(struct process *p, int signo);
/* Runs argv, of which nothing is shown, and tells whether it succeeded. */
bool process_succeeds(const char *const *argv);

/* Starts a server under `tool` (a command, or NULL) and waits until it listens.  False: nothing runs, `why` is told. */
bool running_start(struct running *r, const struct cell *cell, const struct server *server, const char *const *tool,
	char *why, size_t size);
void running_end(struct running *r);
/* Puts the cell's load on it, `messages` of them or (0) for `seconds`; with `keep` its connections last until it is
 * killed.  False: `why` is told. */
bool running_load(struct running *r, const struct cell *cell, uint64_t messages, double warm_up, double seconds,
	bool keep, struct process *load);

/* ---- play.c ---- */

/* What one server did in one round. */
struct sample {
	unsigned long long messages;	/* 0: it was not played in this round */
	double seconds, server, load;	/* wall clock, and CPU of the two */
};

/* One server's rounds. */
struct track {
	struct sample *samples;		/* `rounds` of the run */
	bool skipped;			/* was not built */
	char failed[128];		/* why it has no figures; empty: it has */
};

/* One cell's rounds. */
struct run {
	const struct cell *cell;
	int rounds, attempt;		/* the attempt is 1, or 2 when a bar was missed at first */
	struct track tracks[SERVERS_MAX];
};

struct settings {
	double warm_up, seconds;	/* of a slice */
	int rounds;
	double repeat_until;		/* seconds after the start; then no cell is played again */
};

/* Plays `rounds` rounds of the cell and appends them to runs[]. */
struct run *play(const struct cell *cell, const struct settings *s);

extern struct run runs[RUNS_MAX];
extern int run_count;

/* The last run of a cell, or NULL. */
struct run *run_find(const char *cell);
const struct track *run_track(const struct run *run, const char *server);
/* CPU microseconds of a message; microseconds between two, which are what its rate is made of. */
double sample_micros(const struct sample *s);
double sample_pause(const struct sample *s);
/* Seconds that a round of one server will take, by experience. */
double play_weight(const struct cell *cell, const struct settings *s);

/* ---- counts.c ---- */

/* What a message costs in things that can be counted; NAN where it was not. */
struct count {
	const struct cell *cell;
	const struct server *server;
	double calls, waits, ctls, accepts;	/* system calls: all, epoll_wait, epoll_ctl, accept4 */
	double rest;				/* all but epoll_wait and accept4, which vary */
	double instructions;
	double heap, rss;			/* bytes of an idle connection */
	int calls_taken, instructions_taken, memory_taken;
};

extern struct count counts[COUNTS_MAX];
extern int count_total;

/* Each counts again whatever was counted before, and keeps the least, as what disturbs can only add.  False
 * when it cannot be counted here; counts_lack() says why. */
bool count_calls(struct count *c);
bool count_instructions(struct count *c);
bool count_memory(struct count *c);
/* epoll_ctl calls of a program that ends by itself; NAN when they cannot be counted. */
double count_ctls_of(const char *const *argv);
struct count *count_find(const struct cell *cell, const struct server *server);
const char *counts_lack_calls(void);
const char *counts_lack_instructions(void);
const char *counts_tool(void);

/* ---- stats.c ---- */

struct spread {
	double median, low, high;
	int count;			/* of values; fewer than 6 have no 95 % interval: low and high are the range */
};

/* The median, and a 95 % interval of it.  Sorts `values`. */
struct spread spread_of(double *values, int count);
/* The paired ratios of two servers of a run.  False when one of them has no figures. */
bool ratio_of(const struct run *run, const char *server, const char *reference, struct spread *out);
/* The same of another figure. */
bool ratio_of_figure(const struct run *run, const char *server, const char *reference,
	double (*figure)(const struct sample *s), struct spread *out);
/* The same of one figure of a server.  False when it has none. */
bool figure_of(const struct run *run, const char *server, double (*figure)(const struct sample *s), struct spread *out);

/* ---- bars.c ---- */

struct verdict {
	const char *name, *what;	/* the bar's */
	char text[160];			/* what was found */
	double value, limit;
	enum { BAR_MET, BAR_MISSED, BAR_UNKNOWN } outcome;
};

extern struct verdict verdicts[VERDICTS_MAX];
extern int verdict_count;

void bars_make(void);
void bars_list(void);
/* Whether there is a bar of this name, or a group: counts, cpu, streams, all. */
bool bars_known(const char *name);
/* Judges the bars with this name or of this group, measuring what was not measured.  What is missed is
 * measured again: a count up to five times, a cell once. */
void bars_judge(const char *name, const struct settings *s);
/* 0: all met; 1: one was missed; 2: one could not be measured. */
int bars_status(void);

/* ---- report.c, json.c, plot.c ---- */

/* Seconds since the driver began. */
double progress_elapsed(void);

void progress_plan(double weight);		/* adds work to come */
void progress_done(double weight);
void progress_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void progress_clear(void);

void report_times(void);
void report_ratios(void);
void report_counts(void);
void report_bars(void);

void json_write(FILE *f);
void plot_write(FILE *f);

#endif
