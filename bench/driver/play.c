/* Rounds: each server of a cell afresh, one after the other, under the same load, and the CPU that it used. */
#include "driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_SECONDS_MAX = 60, RARE = 5, MANY_CONNS = 5000, LARGE_SIZE = 65536 };

struct run runs[RUNS_MAX];
int run_count;

struct run *
run_find(const char *cell)
{
	for (int i = run_count - 1; i >= 0; i--)
		if (strcmp(runs[i].cell->name, cell) == 0)
			return &runs[i];
	return NULL;
}

const struct track *
run_track(const struct run *run, const char *server)
{
	for (int i = 0; run->cell->servers[i].name != NULL; i++)
		if (strcmp(run->cell->servers[i].name, server) == 0)
			return &run->tracks[i];
	return NULL;
}

double
sample_micros(const struct sample *s)
{
	return s->server / (double)s->messages * 1e6;
}

double
sample_pause(const struct sample *s)
{
	return s->seconds / (double)s->messages * 1e6;
}

/* A slice must see each of many connections several times. */
static double
slice_factor(const struct cell *cell)
{
	if (cell->conns < MANY_CONNS)
		return 1;
	return cell->size < LARGE_SIZE ? 2 : 4;
}

static bool
rests(const struct cell *cell, const struct server *server, int round)
{
	return server->rare && cell->conns > 1 && round % RARE != 0;
}

double
play_weight(const struct cell *cell, const struct settings *s)
{
	double slice = (s->warm_up + s->seconds) * slice_factor(cell) + 0.01 + 3e-5 * (double)cell->conns, sum = 0;

	for (int round = 0; round < s->rounds; round++)
		for (const struct server *server = cell->servers; server->name != NULL; server++)
			if (server_built(server) && !rests(cell, server, round))
				sum += slice;
	return sum;
}

static bool
read_sample(struct process *load, struct sample *out)
{
	const char *line = process_line(load, SLICE_SECONDS_MAX);
	bool good = line != NULL && sscanf(line, "messages %llu seconds %lf server %lf load %lf", &out->messages,
		&out->seconds, &out->server, &out->load) == 4;

	return process_end(load, good ? 0 : SIGKILL) == 0 && good;
}

/* Returns false when there is no figure; `why` is told. */
static bool
measure(const struct cell *cell, const struct server *server, const struct settings *s, struct sample *out, char *why,
	size_t size)
{
	double factor = slice_factor(cell);
	struct running r;
	struct process load;
	bool good;

	*out = (struct sample){.messages = 0};
	if (!running_start(&r, cell, server, NULL, why, size))
		return false;
	good = running_load(&r, cell, cell->messages, s->warm_up * factor, s->seconds * factor, false, &load) &&
	    read_sample(&load, out);
	running_end(&r);
	if (!good)
		snprintf(why, size, "the load has failed");
	else if (out->messages == 0 || out->server <= 0)
		snprintf(why, size, "not one message came back in time");
	return good && out->messages > 0 && out->server > 0;
}

/* A server that failed once has failed: it is left out from then on, and the others go on. */
static void
play_round(struct run *run, const struct settings *s, int round)
{
	int n = cell_servers(run->cell);

	for (int i = 0; i < n; i++) {
		int which = round % 2 == 0 ? i : n - 1 - i;	/* nobody is always the first */
		const struct server *server = &run->cell->servers[which];
		struct track *t = &run->tracks[which];

		if (t->skipped || t->failed[0] != '\0' || rests(run->cell, server, round))
			continue;
		progress_say("%s, round %d of %d, %s", run->cell->name, round + 1, s->rounds, server->name);
		if (!measure(run->cell, server, s, &t->samples[round], t->failed, sizeof(t->failed)))
			t->samples[round] = (struct sample){.messages = 0};
	}
}

static struct run *
run_new(const struct cell *cell, const struct settings *s)
{
	const struct run *before = run_find(cell->name);
	struct run *run = &runs[run_count];

	if (run_count == RUNS_MAX) {
		fprintf(stderr, "bench: too many runs\n");
		exit(2);
	}
	*run = (struct run){.cell = cell, .rounds = s->rounds, .attempt = before == NULL ? 1 : before->attempt + 1};
	for (int i = 0; cell->servers[i].name != NULL; i++) {
		run->tracks[i].samples = calloc((size_t)s->rounds, sizeof(struct sample));
		if (run->tracks[i].samples == NULL) {
			fprintf(stderr, "bench: no memory\n");
			exit(2);
		}
		run->tracks[i].skipped = !server_built(&cell->servers[i]);
	}
	run_count++;
	return run;
}

struct run *
play(const struct cell *cell, const struct settings *s)
{
	struct run *run = run_new(cell, s);
	double weight = play_weight(cell, s);

	for (int round = 0; round < s->rounds; round++) {
		play_round(run, s, round);
		progress_done(weight / s->rounds);
	}
	return run;
}
