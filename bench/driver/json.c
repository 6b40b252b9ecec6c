/* All that was measured, every round of it, as JSON; README.md describes it. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static FILE *file;

static void
put_text(const char *text)
{
	fputc('"', file);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		if ((unsigned char)*text >= ' ')
			fputc(*text, file);
	}
	fputc('"', file);
}

static void
put_member(const char *name, const char *text)
{
	fprintf(file, "\"%s\": ", name);
	put_text(text);
}

static void
put_number(double value)
{
	if (isfinite(value))
		fprintf(file, "%.9g", value);
	else
		fprintf(file, "null");
}

static void
put_spread(const char *name, bool known, const struct spread *s)
{
	fprintf(file, "\"%s\": ", name);
	if (known)
		fprintf(file, "{\"median\": %.6f, \"low\": %.6f, \"high\": %.6f}", s->median, s->low, s->high);
	else
		fprintf(file, "null");
}

/* What the kernel calls the CPU. */
static void
cpu_name(char *text, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], *colon;

	snprintf(text, size, "unknown");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "model name", 10) != 0 || (colon = strchr(line, ':')) == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(text, size, "%.200s", colon + 2);
		break;
	}
	if (f != NULL)
		fclose(f);
}

static void
put_machine(void)
{
	struct utsname uts;
	char cpu[224], date[32];
	time_t now = time(NULL);

	cpu_name(cpu, sizeof(cpu));
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	fprintf(file, "  \"machine\": {");
	put_member("cpu", cpu);
	fprintf(file, ", \"cpus\": %ld, ", sysconf(_SC_NPROCESSORS_ONLN));
	put_member("kernel", uname(&uts) == 0 ? uts.release : "unknown");
	fprintf(file, ", ");
	put_member("compiler", __VERSION__);
	fprintf(file, ", ");
	put_member("ended", date);
	fprintf(file, "},\n");
}

static const char *
role_name(enum role role)
{
	static const char *const names[] = {"reference", "control", "ours", "peer", "variant"};

	return names[role];
}

static void
put_rounds(const struct run *run, const struct track *t)
{
	fprintf(file, "\n         \"rounds\": [");
	for (int i = 0; i < run->rounds; i++) {
		const struct sample *s = &t->samples[i];

		fprintf(file, "%s", i > 0 ? ", " : "");
		if (s->messages == 0)
			fprintf(file, "null");
		else
			fprintf(file, "{\"messages\": %llu, \"seconds\": %.6f, \"server\": %.9f, \"load\": %.9f}",
				s->messages, s->seconds, s->server, s->load);
	}
	fprintf(file, "]}");
}

static void
put_track(const struct run *run, const struct server *server, const struct track *t)
{
	struct spread cpu, ratio;
	bool known = figure_of(run, server->name, sample_micros, &cpu);

	fprintf(file, "        {");
	put_member("name", server->name);
	fprintf(file, ", ");
	put_member("role", role_name(server->role));
	fprintf(file, ", ");
	put_member("program", server->program);
	fprintf(file, ", ");
	put_member("workload", server->workload);
	fprintf(file, ", \"idle\": %zu, \"skipped\": %s, \"failed\": ", server->idle, t->skipped ? "true" : "false");
	if (t->failed[0] != '\0')
		put_text(t->failed);
	else
		fprintf(file, "null");
	fprintf(file, ",\n         ");
	put_spread("cpu_us", known, &cpu);
	fprintf(file, ", ");
	put_spread("ratio", ratio_of(run, server->name, run->cell->servers[0].name, &ratio), &ratio);
	fprintf(file, ",");
	put_rounds(run, t);
}

static void
put_run(const struct run *run)
{
	const struct cell *cell = run->cell;

	fprintf(file, "    {");
	put_member("cell", cell->name);
	fprintf(file, ", ");
	put_member("what", cell->what);
	fprintf(file,
		", \"attempt\": %d, \"mode\": \"%s\", \"conns\": %zu, \"size\": %zu, \"depth\": %zu, \"lines\": %s,\n"
		"      \"servers\": [\n",
		run->attempt, cell->mode, cell->conns, cell->size, cell->depth, cell->lines ? "true" : "false");
	for (int i = 0; cell->servers[i].name != NULL; i++) {
		fprintf(file, "%s", i > 0 ? ",\n" : "");
		put_track(run, &cell->servers[i], &run->tracks[i]);
	}
	fprintf(file, "]}");
}

static void
put_count(const struct count *c)
{
	const struct {
		const char *name;
		double value;
	} figures[] = {
		{"calls", c->calls}, {"epoll_wait", c->waits}, {"epoll_ctl", c->ctls}, {"accept4", c->accepts},
		{"instructions", c->instructions}, {"heap", c->heap}, {"rss", c->rss},
	};

	fprintf(file, "    {");
	put_member("cell", c->cell->name);
	fprintf(file, ", ");
	put_member("server", c->server->name);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		fprintf(file, ", \"%s\": ", figures[i].name);
		put_number(figures[i].value);
	}
	fprintf(file, "}");
}

static void
put_verdict(const struct verdict *v)
{
	static const char *const outcomes[] = {"met", "missed", "unknown"};

	fprintf(file, "    {");
	put_member("name", v->name);
	fprintf(file, ", ");
	put_member("what", v->what);
	fprintf(file, ", ");
	put_member("outcome", outcomes[v->outcome]);
	fprintf(file, ", \"value\": ");
	put_number(v->value);
	fprintf(file, ", \"limit\": ");
	put_number(v->limit);
	fprintf(file, ", ");
	put_member("text", v->text);
	fprintf(file, "}");
}

void
json_write(FILE *f)
{
	file = f;
	fprintf(file, "{\n  \"schema\": 1,\n");
	put_machine();
	fprintf(file, "  \"runs\": [\n");
	for (int i = 0; i < run_count; i++) {
		fprintf(file, "%s", i > 0 ? ",\n" : "");
		put_run(&runs[i]);
	}
	fprintf(file, "\n  ],\n  \"calls_by\": \"%s\",\n  \"counts\": [\n", counts_tool());
	for (int i = 0; i < count_total; i++) {
		fprintf(file, "%s", i > 0 ? ",\n" : "");
		put_count(&counts[i]);
	}
	fprintf(file, "\n  ],\n  \"bars\": [\n");
	for (int i = 0; i < verdict_count; i++) {
		fprintf(file, "%s", i > 0 ? ",\n" : "");
		put_verdict(&verdicts[i]);
	}
	fprintf(file, "\n  ]\n}\n");
}
