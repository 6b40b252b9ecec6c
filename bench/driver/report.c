/* What people see: the progress line and the tables. */
#include "driver.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- progress ---- */

enum { PLAIN_SECONDS = 15 };		/* between two lines where a line cannot be rewritten */

static double planned, done;		/* weights, which are seconds as far as we know beforehand */
static double began, said;		/* on the clock; 0: not yet */
static size_t shown;			/* characters of the line that is on the terminal */

static double
clock_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

double
progress_elapsed(void)
{
	if (began == 0)
		began = clock_seconds();
	return clock_seconds() - began;
}

void
progress_plan(double weight)
{
	planned += weight;
}

void
progress_done(double weight)
{
	done += weight;
}

/* Seconds, from how long the part that is done has taken. */
static double
left(void)
{
	double rest = fmax(planned - done, 0);

	return done < 2 ? rest : rest * progress_elapsed() / done;
}

void
progress_clear(void)
{
	if (shown > 0)
		fprintf(stderr, "\r%*s\r", (int)shown, "");
	shown = 0;
}

void
progress_say(const char *format, ...)
{
	bool terminal = isatty(STDERR_FILENO);
	char text[160], line[240];
	va_list args;
	int n;

	if (!terminal && said != 0 && clock_seconds() - said < PLAIN_SECONDS)
		return;
	said = clock_seconds();
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	n = snprintf(line, sizeof(line), "%s", text);
	if (planned > 0)
		n = snprintf(line, sizeof(line), "[%3.0f %%, %d:%02d left] %s", fmin(100, 100 * done / planned),
			(int)left() / 60, (int)left() % 60, text);
	if (!terminal) {
		fprintf(stderr, "%s\n", line);
		return;
	}
	fprintf(stderr, "\r%-*s", (int)shown, line);
	shown = n > 0 ? (size_t)n : 0;
}

/* ---- tables ---- */

static double
rate(const struct sample *s)
{
	return (double)s->messages / s->seconds;
}

static double
busy(const struct sample *s)
{
	return 100 * s->server / s->seconds;
}

static void
report_server(const struct run *run, const struct server *server)
{
	const struct track *t = run_track(run, server->name);
	struct spread cpu, messages, share, ratio;

	if (t->skipped)
		return;
	printf("  %-18s", server->name);
	if (!figure_of(run, server->name, sample_micros, &cpu) || !figure_of(run, server->name, rate, &messages) ||
	    !figure_of(run, server->name, busy, &share)) {
		printf("  failed: %s\n", t->failed);
		return;
	}
	printf("%12.3f %12.0f %7.0f %%", cpu.median, messages.median, share.median);
	if (server->role == ROLE_REFERENCE)
		printf("    1\n");
	else if (ratio_of(run, server->name, run->cell->servers[0].name, &ratio))
		printf("    %.3f  (%.3f to %.3f%s)\n", ratio.median, ratio.low, ratio.high,
			ratio.count < 6 ? ", the range of a few" : "");
	else
		printf("    -\n");
}

void
report_times(void)
{
	for (int i = 0; i < run_count; i++) {
		const struct run *run = &runs[i];

		printf("%s%s: %s (%d rounds)\n", run->cell->name, run->attempt > 1 ? ", again" : "", run->cell->what,
			run->rounds);
		printf("  %-18s%12s %12s %9s    CPU / %s, its median and 95 %% interval\n", "server",
			"CPU us/msg", "msg/s", "busy", run->cell->servers[0].name);
		for (const struct server *server = run->cell->servers; server->name != NULL; server++)
			report_server(run, server);
		printf("\n");
	}
}

/* The server of a column: what is compared and its control have their own names in some cells. */
static const char *
column_server(const struct cell *cell, const char *name)
{
	enum role role = strcmp(name, "ours") == 0 ? ROLE_OURS : ROLE_CONTROL;

	if (strcmp(name, "ours") != 0 && strcmp(name, "again") != 0)
		return name;
	for (const struct server *s = cell->servers; s->name != NULL; s++)
		if (s->role == role)
			return s->name;
	return name;
}

/* The medians once more, cells and servers that most cells have, as a table for a README. */
void
report_ratios(void)
{
	static const char *const names[] = {"ours", "again", "libev", "libevent", "bufferevent", "uv_write",
		"uv_try_write"};
	struct spread s;

	printf("| CPU per message / the reference |");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf(" %s |", names[i]);
	printf("\n|---|---|---:|---:|---:|---:|---:|---:|\n");
	for (int i = 0; i < cell_count; i++) {
		const struct run *run = run_find(cells[i].name);

		if (run == NULL)
			continue;
		printf("| %s |", cells[i].what);
		for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			if (!ratio_of(run, column_server(&cells[i], names[j]), cells[i].servers[0].name, &s))
				printf(" - |");
			else if (j == 0)
				printf(" %.3f (%.3f to %.3f) |", s.median, s.low, s.high);
			else
				printf(" %.3f |", s.median);
		}
		printf("\n");
	}
	printf("\n");
}

static void
print_number(const char *format, int width, double value)
{
	char text[32] = "-";

	if (!isnan(value))
		snprintf(text, sizeof(text), format, value);
	printf(" %*s", width, text);
}

static void
report_message(const struct count *c)
{
	printf("  %-17s", c->server->name);
	print_number("%.3f", 12, c->calls);
	print_number("%.3f", 12, c->waits);
	print_number("%.3f", 12, c->ctls);
	print_number("%.3f", 12, c->accepts);
	print_number("%.1f", 14, c->instructions);
	printf("\n");
}

static void
report_memory(const struct count *c)
{
	printf("  %-17s", c->server->name);
	print_number("%.1f", 12, c->heap);
	print_number("%.1f", 12, c->rss);
	printf("\n");
}

static void
report_counts_of(const struct cell *cell)
{
	bool memory = strcmp(cell->mode, "idle") == 0, begun = false;

	for (int i = 0; i < count_total; i++) {
		if (counts[i].cell != cell)
			continue;
		if (!begun && memory)
			printf("%s: %s\n  %-18s%12s %12s\n", cell->name, cell->what, "bytes a connection", "heap",
				"resident");
		else if (!begun)
			printf("%s: %s\n  %-18s%12s %12s %12s %12s %14s\n", cell->name, cell->what,
				"per message", "system calls", "epoll_wait", "epoll_ctl", "accept4", "instructions");
		begun = true;
		if (memory)
			report_memory(&counts[i]);
		else
			report_message(&counts[i]);
	}
}

void
report_counts(void)
{
	if (count_total == 0)
		return;
	printf("system calls by %s, user instructions by callgrind\n", counts_tool());
	for (int i = 0; i < cell_count; i++)
		report_counts_of(&cells[i]);
	printf("\n");
}

/* The last line is as that of the tests. */
void
report_bars(void)
{
	static const char *const outcomes[] = {"met", "MISSED", "not measured"};
	int count[] = {0, 0, 0};

	for (int i = 0; i < verdict_count; i++) {
		const struct verdict *v = &verdicts[i];

		count[v->outcome]++;
		printf("%-28s %-12s %s: %s\n", v->name, outcomes[v->outcome], v->what, v->text);
	}
	if (count[BAR_UNKNOWN] > 0)
		printf("%d not measured\n", count[BAR_UNKNOWN]);
	if (verdict_count > 0)
		printf("%d passed, %d failed\n", count[BAR_MET], count[BAR_MISSED]);
}
