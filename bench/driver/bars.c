/* What must hold.  A bar on CPU time holds when the lower end of the interval of the median ratio is under it;
 * where the machine's own noise is as large as what is left, also when it is under the control's median +
 * 0.02.  A bar on a rate is one on the time between two messages, and judged the same way.  A bar on a count holds
 * when the count does.  What disturbs a run can only add, so of both its long and its short run the least of two to
 * five takes is judged. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BARS_MAX = 128, TAKES_MIN = 2, TAKES = 5, ATTEMPTS = 2, WATCH_FEW = 100, WATCH_MANY = 300 };

#define PEER_CPU 1.08
#define PEER_CALLS 0.05
#define CONTROL_SLACK 0.02

struct bar {
	char name[48], what[96];
	double limit;
	const char *cell, *server;		/* of what it speaks */
	const char *against;			/* NULL: all peers in the cell, or nobody */
	double (*count)(const struct bar *b);	/* NULL: CPU */
	bool control;				/* the control + CONTROL_SLACK will do */
	double (*figure)(const struct sample *s);	/* NULL: CPU */
	const char *group;			/* that it can be asked for by; NULL: none of its own */
};

static struct bar bars[BARS_MAX];
static int bar_count;
static int takes;				/* how often what is counted must have been */
static const char *lacking;			/* a peer that a verdict would need and that has no figures; NULL: none */

struct verdict verdicts[VERDICTS_MAX];
int verdict_count;

/* ---- counts ---- */

static const struct count *
counted(const char *cell_name, const char *server_name, bool (*count)(struct count *c),
	int (*taken)(const struct count *c))
{
	const struct cell *cell = cell_find(cell_name);
	struct count *c = count_find(cell, server_find(cell, server_name));

	while (taken(c) < takes && count(c))
		;
	return c;
}

static int
calls_taken(const struct count *c)
{
	return c->calls_taken;
}

static int
instructions_taken(const struct count *c)
{
	return c->instructions_taken;
}

static int
memory_taken(const struct count *c)
{
	return c->memory_taken;
}

static const struct count *
calls_of(const char *cell, const char *server)
{
	return counted(cell, server, count_calls, calls_taken);
}

static double
instructions_of(const char *cell, const char *server)
{
	return counted(cell, server, count_instructions, instructions_taken)->instructions;
}

static double
rest(const struct bar *b)
{
	return calls_of(b->cell, b->server)->rest;
}

static double
ctls(const struct bar *b)
{
	return calls_of(b->cell, b->server)->ctls;
}

/* How many more than the other's. */
static double
calls_beside(const struct bar *b)
{
	return calls_of(b->cell, b->server)->calls - calls_of(b->cell, b->against)->calls;
}

/* How many more than the best peer's.  With one connection nothing depends on how events batch, and all calls
 * are compared; else epoll_wait and accept4 are left out. */
static double
calls_beside_peers(const struct bar *b)
{
	const struct cell *cell = cell_find(b->cell);
	bool all = cell->conns == 1 || strcmp(cell->mode, "broadcast") == 0;
	const struct count *ours = calls_of(b->cell, b->server);
	double best = NAN;

	for (const struct server *s = cell->servers; s->name != NULL; s++) {
		const struct count *c;

		if (s->role != ROLE_PEER)
			continue;
		c = calls_of(b->cell, s->name);
		best = fmin(best, all ? c->calls : c->rest);	/* fmin: NAN is no number yet */
		if (isnan(c->calls))
			lacking = s->name;
	}
	return (all ? ours->calls : ours->rest) - best;
}

static double
instructions(const struct bar *b)
{
	return instructions_of(b->cell, b->server);
}

static double
instructions_beside(const struct bar *b)
{
	return instructions_of(b->cell, b->server) - instructions_of(b->cell, b->against);
}

/* Of 16 messages in a read the first costs what one alone costs. */
static double
instructions_further(const struct bar *b)
{
	return (16 * instructions_of(b->cell, b->server) - instructions_of("frames-one", b->server)) / 15;
}

static double
heap(const struct bar *b)
{
	return counted(b->cell, b->server, count_memory, memory_taken)->heap;
}

/* The part by which the pages grew more, or less, than the heap. */
static double
rss_beside_heap(const struct bar *b)
{
	const struct count *c = counted(b->cell, b->server, count_memory, memory_taken);

	return fabs(c->rss / c->heap - 1);
}

/* epoll_ctl calls of each further cycle of bench/watch. */
static double
watch_ctls(const struct bar *b)
{
	char few[16], many[16];
	double less, more;

	snprintf(few, sizeof(few), "%d", WATCH_FEW);
	snprintf(many, sizeof(many), "%d", WATCH_MANY);
	less = count_ctls_of((const char *[]){process_path("watch"), b->server, few, NULL});
	more = count_ctls_of((const char *[]){process_path("watch"), b->server, many, NULL});
	return (more - less) / (WATCH_MANY - WATCH_FEW);
}

/* The slowest of several resets would measure the machine: the program prints the median. */
static double
watch_milliseconds(const struct bar *b)
{
	const char *argv[] = {process_path("watch"), b->server, "50", NULL};
	struct process p;
	const char *line;
	double ms = NAN;

	if (!process_start(&p, process_server_cpu(), argv))
		return NAN;
	line = process_line(&p, 30);
	if (line == NULL || sscanf(line, "hup after %lf ms", &ms) != 1)
		ms = INFINITY;
	return process_end(&p, 0) == 0 ? ms : INFINITY;
}

/* ---- the bars ---- */

static const struct bar fixed[] = {
	{"echo-calls", "system calls of a 64-byte echo besides epoll_wait, 50 connections", 2.02, "echo-64-50", "ours",
	 .count = rest},
	{"echo-calls-1", "the same, 1 connection", 2.02, "echo-64-1", "ours", .count = rest},
	{"echo-ctls", "epoll_ctl calls of a 64-byte echo", 0.0005, "echo-64-50", "ours", .count = ctls},
	{"echo-instructions", "user instructions of a 64-byte echo, idle timeout on", 285, "echo-64-50", "ours",
	 .count = instructions},
	{"timeout-instructions", "user instructions of re-arming the idle timeout", 15, "timeout-50", "ours",
	 "ours, no timeout", .count = instructions_beside},
	{"frames-instructions", "user instructions of each further write of 16", 50, "frames", "ours",
	 .count = instructions_further},
	{"churn-calls", "system calls of a connection besides epoll_wait and accept4", 5.1, "churn", "ours, deferred",
	 .count = rest},
	{"churn-calls-raw", "all system calls of a connection, more than raw's, one after another", -0.8, "churn-1",
	 "ours, deferred", "raw", .count = calls_beside},
	{"churn-instructions", "user instructions of a connection", 1500, "churn", "ours, deferred",
	 .count = instructions},
	{"idle-heap", "bytes of heap of an idle connection", 200, "idle", "ours", .count = heap},
	{"idle-rss", "growth of resident memory, beside heap's", 0.05, "idle", "ours", .count = rss_beside_heap},
	{"watch-writable", "epoll_ctl calls per write of a socket that stays writable", 0, NULL, "writable",
	 .count = watch_ctls},
	{"watch-cycle", "epoll_ctl calls per cycle of a socket that fills and drains", 2, NULL, "cycle",
	 .count = watch_ctls},
	{"watch-paused", "epoll_ctl calls in the life of a paused socket, for HUP", 1, NULL, "paused",
	 .count = watch_ctls},
	{"watch-hup", "milliseconds from the reset of a paused socket to its hook, its input untouched", 1, NULL, "hup",
	 .count = watch_milliseconds},
	{"echo-cpu", "CPU of a 64-byte echo, 50 connections / raw", 1.03, "echo-64-50", "ours",
	 .against = "raw", .control = true},
	{"echo-cpu-1000", "CPU of a 64-byte echo, 1000 connections / raw", 1.05, "echo-64-1000", "ours",
	 .against = "raw", .control = true},
	{"frames-cpu", "CPU of 16 writes / raw's one gathered send", 1.06, "frames", "ours", .against = "raw"},
	{"frames-cb-cpu", "CPU of 16 writes with a completion each / raw's one gathered send", 1.25, "frames",
	 "ours, write_cb", .against = "raw"},
	{"bulk-cpu", "CPU of a 64 KiB echo / raw with the same buffer", 1.05, "echo-65536-50", "ours",
	 .against = "raw"},
	{"stream-cpu", "CPU of 1 GiB through one connection / raw with the same buffer", 1.05, "stream", "ours",
	 .against = "raw"},
	{"stream-cpu-64k", "CPU of 1 GiB through one connection / raw with 64 KiB", 0.95, "stream", "ours",
	 .against = "raw 64 KiB"},
	{"churn-cpu", "CPU of a connection / raw", 1.04, "churn", "ours", .against = "raw"},
	{"churn-cpu-deferred", "CPU of a connection with deferred accept / raw", 0.97, "churn",
	 "ours, deferred", .against = "raw"},
	{"broadcast-cpu", "CPU of a delivery to one of 1000 / raw", 1.05, "broadcast-1000", "ours", .against = "raw"},
	{"relay-cpu", "CPU of relaying 64 bytes / a raw copy", 1.06, "relay-64", "ours", .against = "raw"},
	{"relay-stream-cpu", "CPU of relaying 1 MiB, 1 connection / a raw splice", 1.06, "relay-1m", "ours",
	 .against = "raw, splice"},
	{"relay-stream-10-cpu", "CPU of relaying 1 MiB, 10 connections / a raw splice", 1.06, "relay-1m-10", "ours",
	 .against = "raw, splice"},
	{"lines-cpu", "CPU of a line / raw's memchr and one send", 1.5, "lines", "ours", .against = "raw",
	 .group = "streams"},
	/* AC-27 */
	{"lines-poe", "CPU of a line / POE's", 0.1, "lines", "ours", .against = "POE", .group = "streams"},
	{"mux-cpu", "CPU of a 64-byte echo, 50 connections, pulled / pushed", 1.3, "mux", "mux", .against = "push",
	 .group = "streams"},
	/* AC-26 */
	{"idle-push-cpu", "CPU of a 64-byte echo, pushed, beside 900 idle connections / alone", 1.2, "beside-idle",
	 "push, 900 idle", .against = "push", .group = "streams"},
	{"idle-push-rate", "time of a 64-byte echo, pushed, beside 900 idle connections / alone", 1.25, "beside-idle",
	 "push, 900 idle", .against = "push", .figure = sample_pause, .group = "streams"},
	{"idle-mux-cpu", "CPU of a 64-byte echo, pulled, beside 900 idle connections / alone", 1.2, "beside-idle",
	 "mux, 900 idle", .against = "mux", .group = "streams"},
	{"idle-mux-rate", "time of a 64-byte echo, pulled, beside 900 idle connections / alone", 1.25, "beside-idle",
	 "mux, 900 idle", .against = "mux", .figure = sample_pause, .group = "streams"},
};

static bool
has_peers(const struct cell *cell)
{
	for (const struct server *s = cell->servers; s->name != NULL; s++)
		if (s->role == ROLE_PEER)
			return true;
	return false;
}

static void
make_peer_bars(const struct cell *cell)
{
	struct bar *b;

	if (cell->many > 0) {
		b = &bars[bar_count++];
		*b = (struct bar){.cell = cell->name, .server = "ours", .limit = PEER_CALLS,
			.count = calls_beside_peers};
		snprintf(b->name, sizeof(b->name), "%.31s-peers-calls", cell->name);
		snprintf(b->what, sizeof(b->what), "system calls of %.31s, more than the best peer's", cell->name);
	}
	if (cell->timed) {
		b = &bars[bar_count++];
		*b = (struct bar){.cell = cell->name, .server = "ours", .limit = PEER_CPU};
		snprintf(b->name, sizeof(b->name), "%.31s-peers", cell->name);
		snprintf(b->what, sizeof(b->what), "CPU of %.31s / the best peer", cell->name);
	}
}

void
bars_make(void)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		bars[bar_count++] = fixed[i];
	for (int i = 0; i < cell_count; i++)
		if (has_peers(&cells[i]))
			make_peer_bars(&cells[i]);
}

static bool
selected(const struct bar *b, const char *name)
{
	return strcmp(b->name, name) == 0 || strcmp(name, "all") == 0 ||
	    (b->group != NULL && strcmp(b->group, name) == 0) || strcmp(name, b->count != NULL ? "counts" : "cpu") == 0;
}

bool
bars_known(const char *name)
{
	for (int i = 0; i < bar_count; i++)
		if (selected(&bars[i], name))
			return true;
	return false;
}

void
bars_list(void)
{
	for (int i = 0; i < bar_count; i++)
		printf("%-28s %-6s %-8s <= %-7g %s\n", bars[i].name, bars[i].count != NULL ? "counts" : "cpu",
			bars[i].group != NULL ? bars[i].group : "", bars[i].limit, bars[i].what);
}

/* ---- judging ---- */

static const char *
lack(const struct bar *b)
{
	if (b->count == instructions || b->count == instructions_beside || b->count == instructions_further)
		return counts_lack_instructions();
	if (b->count == heap || b->count == rss_beside_heap || b->count == watch_milliseconds)
		return NULL;
	return counts_lack_calls();
}

/* Better than the peers that are here is not better than all. */
static void
judge_lacking(struct verdict *v)
{
	size_t len = strlen(v->text);

	if (lacking == NULL || v->outcome == BAR_UNKNOWN)
		return;
	snprintf(v->text + len, sizeof(v->text) - len, "; %s has no figures", lacking);
	if (v->outcome == BAR_MET)
		v->outcome = BAR_UNKNOWN;
}

/* Met, unless a peer that might be better has no figures.  What cannot be counted although the tool is here has failed. */
static void
judge_count(const struct bar *b, struct verdict *v)
{
	const char *why = lack(b);

	lacking = NULL;
	for (takes = TAKES_MIN; takes <= TAKES && why == NULL; takes++) {
		v->value = b->count(b);
		v->outcome = v->value <= b->limit + 1e-9 ? BAR_MET : BAR_MISSED;
		if (v->outcome == BAR_MET)
			break;
	}
	if (why != NULL)
		snprintf(v->text, sizeof(v->text), "%s", why);
	else if (isnan(v->value))
		snprintf(v->text, sizeof(v->text), "a server has failed");
	else
		snprintf(v->text, sizeof(v->text), "%.3f, at most %g", v->value, b->limit);
	judge_lacking(v);
}

/* The ratio that the bar is about; for peers that to the one whose interval lies highest: to the best. */
static bool
ratio_for(const struct bar *b, const struct run *run, struct spread *out, const char **whom)
{
	struct spread s;
	bool found = false;

	*whom = b->against;
	if (b->against != NULL)
		return ratio_of_figure(run, b->server, b->against, b->figure != NULL ? b->figure : sample_micros,
			out);
	for (const struct server *peer = run->cell->servers; peer->name != NULL; peer++) {
		if (peer->role != ROLE_PEER)
			continue;
		if (!ratio_of(run, b->server, peer->name, &s)) {
			lacking = peer->name;
			continue;
		}
		if (found && s.low <= out->low)
			continue;
		*out = s;
		*whom = peer->name;
		found = true;
	}
	return found;
}

static void
judge_run(const struct bar *b, const struct run *run, struct verdict *v)
{
	struct spread s, control;
	const char *whom;
	double limit = b->limit;

	lacking = NULL;
	if (b->against != NULL && run_track(run, b->against)->skipped) {
		v->outcome = BAR_UNKNOWN;
		snprintf(v->text, sizeof(v->text), "%s is not here", b->against);
		return;
	}
	if (!ratio_for(b, run, &s, &whom)) {
		v->outcome = BAR_MISSED;
		snprintf(v->text, sizeof(v->text), "a server has failed");
		return;
	}
	if (b->control && ratio_of(run, "raw again", "raw", &control))
		limit = fmax(limit, control.median + CONTROL_SLACK);
	v->value = s.median;
	v->limit = limit;
	v->outcome = s.low <= limit ? BAR_MET : BAR_MISSED;
	snprintf(v->text, sizeof(v->text), "%.3f (%.3f to %.3f) of %s, at most %.3f", s.median, s.low, s.high,
		whom, limit);
	judge_lacking(v);
}

static void
judge_cpu(const struct bar *b, const struct settings *s, struct verdict *v)
{
	const struct cell *cell = cell_find(b->cell);
	const struct run *run = run_find(b->cell);

	if (run == NULL)
		run = play(cell, s);
	judge_run(b, run, v);
	if (v->outcome != BAR_MISSED || run->attempt >= ATTEMPTS || progress_elapsed() > s->repeat_until)
		return;
	progress_plan(play_weight(cell, s));
	judge_run(b, play(cell, s), v);
}

/* The weights of cells that will be played. */
static void
plan(const char *name, const struct settings *s)
{
	for (int i = 0; i < cell_count; i++) {
		bool needed = false;

		for (int j = 0; j < bar_count && run_find(cells[i].name) == NULL; j++)
			needed |= bars[j].count == NULL && selected(&bars[j], name) && strcmp(bars[j].cell,
			cells[i].name) == 0;
		if (needed)
			progress_plan(play_weight(&cells[i], s));
	}
}

void
bars_judge(const char *name, const struct settings *s)
{
	plan(name, s);
	for (int i = 0; i < bar_count; i++) {
		const struct bar *b = &bars[i];
		struct verdict *v = &verdicts[verdict_count];

		if (!selected(b, name) || verdict_count == VERDICTS_MAX)
			continue;
		*v = (struct verdict){.name = b->name, .what = b->what, .limit = b->limit, .value = NAN,
			.outcome = BAR_UNKNOWN};
		verdict_count++;
		if (b->count != NULL)
			judge_count(b, v);
		else
			judge_cpu(b, s, v);
	}
}

int
bars_status(void)
{
	int status = 0;

	for (int i = 0; i < verdict_count; i++) {
		if (verdicts[i].outcome == BAR_MISSED)
			return 1;
		if (verdicts[i].outcome == BAR_UNKNOWN)
			status = 2;
	}
	return status;
}
