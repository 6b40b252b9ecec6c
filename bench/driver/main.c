/* The driver of the benchmarks: the command line. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The long run ends within 35 minutes: nothing is repeated after so many seconds. */
enum { FULL_REPEAT_SECONDS = 32 * 60, NAMED_REPEAT_SECONDS = 3600 };

struct options {
	bool full, bar;
	const char *json, *plot;	/* files to write; NULL: none */
	struct settings settings;	/* 0: as the kind of run wants it */
	char **names;			/* cells, or bars; ends with NULL */
};

static _Noreturn void
usage(void)
{
	fprintf(stderr, "usage: run [--rounds N] [--seconds S] [--warm-up S] [--json FILE] [--plot FILE] [CELL...]\n"
		"       run [OPTIONS] --full          every cell, every count, every bar\n"
		"       run [OPTIONS] --bar NAME...   bars, or groups of them: counts, cpu, streams, all\n"
		"       run --cells                   lists the cells\n"
		"       run --bars                    lists the bars and their limits\n");
	exit(2);
}

static void
list_cells(void)
{
	for (int i = 0; i < cell_count; i++)
		printf("%-16s %s\n", cells[i].name, cells[i].what);
	exit(0);
}

static double
positive(const char *text, double most)
{
	char *end;
	double value;

	if (text == NULL)
		usage();
	value = strtod(text, &end);
	if (*end != '\0' || !(value > 0) || value > most) {
		fprintf(stderr, "bench: \"%s\" is not a number above 0 and up to %g\n", text, most);
		exit(2);
	}
	return value;
}

/* Returns whether the option took a value. */
static bool
parse_option(struct options *o, const char *option, const char *value)
{
	if (strcmp(option, "--full") == 0)
		return (o->full = true, false);
	if (strcmp(option, "--bar") == 0)
		return (o->bar = true, false);
	if (strcmp(option, "--cells") == 0)
		list_cells();
	if (strcmp(option, "--bars") == 0) {
		bars_list();
		exit(0);
	}
	if (strcmp(option, "--rounds") == 0)
		o->settings.rounds = (int)positive(value, ROUNDS_MAX);
	else if (strcmp(option, "--seconds") == 0)
		o->settings.seconds = positive(value, 60);
	else if (strcmp(option, "--warm-up") == 0)
		o->settings.warm_up = positive(value, 60);
	else if (strcmp(option, "--json") == 0 && value != NULL)
		o->json = value;
	else if (strcmp(option, "--plot") == 0 && value != NULL)
		o->plot = value;
	else
		usage();
	return true;
}

static void
check_names(const struct options *o)
{
	for (char **name = o->names; *name != NULL; name++) {
		if (o->bar ? bars_known(*name) : cell_find(*name) != NULL)
			continue;
		fprintf(stderr, "bench: there is no %s \"%s\"; --%ss lists them\n", o->bar ? "bar" : "cell", *name,
			o->bar ? "bar" : "cell");
		exit(2);
	}
	if ((o->bar && (*o->names == NULL || o->full)) || (o->full && *o->names != NULL))
		usage();
}

/* Options may stand anywhere; the names are moved to the front. */
static void
parse(struct options *o, char **argv)
{
	char **to = argv + 1;

	*o = (struct options){.names = argv + 1};
	for (char **at = argv + 1; *at != NULL; at++) {
		if (**at != '-')
			*to++ = *at;
		else if (parse_option(o, at[0], at[1]))
			at++;
	}
	*to = NULL;
	check_names(o);
}

static void
default_setting(double *value, double usual)
{
	if (*value == 0)
		*value = usual;
}

static void
complete(struct options *o)
{
	bool quick = !o->full && !o->bar && *o->names == NULL;
	struct settings *s = &o->settings;

	default_setting(&s->warm_up, quick ? 0.05 : o->full ? 0.06 : 0.1);
	default_setting(&s->seconds, quick ? 0.15 : 0.25);
	default_setting(&s->repeat_until, o->full ? FULL_REPEAT_SECONDS : NAMED_REPEAT_SECONDS);
	if (s->rounds == 0)
		s->rounds = quick ? 4 : 15;
	if (o->full && o->json == NULL)
		o->json = strdup(process_path("results.json"));
	if (o->full && o->plot == NULL)
		o->plot = strdup(process_path("plot.svg"));
}

/* ---- kinds of runs ---- */

static bool
wanted(const struct options *o, const struct cell *cell)
{
	if (o->full)
		return true;
	if (*o->names == NULL)
		return cell->quick;
	for (char **name = o->names; *name != NULL; name++)
		if (strcmp(*name, cell->name) == 0)
			return true;
	return false;
}

static bool
counts_instructions(const struct options *o, const struct cell *cell)
{
	return (o->full || *o->names != NULL) && cell->many > 0 && cell->conns > 1;
}

/* Seconds, roughly, that counting takes for one server. */
static double
count_weight(const struct options *o, const struct cell *cell)
{
	if (strcmp(cell->mode, "idle") == 0)
		return 2;
	return (cell->many > 0 ? 1 : 0) + (counts_instructions(o, cell) ? 3 : 0);
}

/* System calls; instructions in longer runs, and where events come in batches, as one connection's say little;
 * memory.  An interpreter's would be counted for long, and tell nothing. */
static void
count_server(const struct options *o, const struct cell *cell, const struct server *s)
{
	if (s->role != ROLE_CONTROL && s->module == NULL && server_built(s)) {
		if (strcmp(cell->mode, "idle") == 0)
			count_memory(count_find(cell, s));
		if (cell->many > 0)
			count_calls(count_find(cell, s));
		if (counts_instructions(o, cell))
			count_instructions(count_find(cell, s));
	}
	progress_done(count_weight(o, cell));
}

static void
plan_cell(const struct options *o, const struct cell *cell)
{
	if (cell->timed)
		progress_plan(play_weight(cell, &o->settings));
	progress_plan(cell_servers(cell) * count_weight(o, cell));
}

/* Writes a file that is whole or as it was.  False: errno was told. */
static bool
file_write(const char *path, void (*write)(FILE *f))
{
	char part[4096];
	bool good;
	FILE *f;

	snprintf(part, sizeof(part), "%s.part", path);
	f = fopen(part, "w");
	if (f == NULL) {
		perror(part);
		return false;
	}
	write(f);
	good = !ferror(f);
	good = fclose(f) == 0 && good && rename(part, path) == 0;
	if (!good)
		perror(path);
	return good;
}

/* After each cell, so that a run which is interrupted leaves what it has. */
static bool
write_files(const struct options *o)
{
	bool good = o->json == NULL || file_write(o->json, json_write);

	return (o->plot == NULL || file_write(o->plot, plot_write)) && good;
}

static void
run_cells(const struct options *o)
{
	for (int i = 0; i < cell_count; i++)
		if (wanted(o, &cells[i]))
			plan_cell(o, &cells[i]);
	for (int i = 0; i < cell_count; i++) {
		if (!wanted(o, &cells[i]) || !cells[i].timed)
			continue;
		play(&cells[i], &o->settings);
		write_files(o);
	}
	for (int i = 0; i < cell_count; i++)
		for (const struct server *s = cells[i].servers; s->name != NULL && wanted(o, &cells[i]); s++)
			count_server(o, &cells[i], s);
}

/* Whether every server that was started did its work. */
static bool
all_well(void)
{
	for (int i = 0; i < run_count; i++)
		for (int j = 0; j < cell_servers(runs[i].cell); j++)
			if (runs[i].tracks[j].failed[0] != '\0')
				return false;
	return true;
}

int
main(int argc, char **argv)
{
	struct options o;
	bool written;

	(void)argc;
	process_prepare();
	cells_make();
	bars_make();
	parse(&o, argv);
	complete(&o);
	progress_elapsed();
	if (!write_files(&o))			/* better now than after half an hour */
		return 2;
	if (!o.bar)
		run_cells(&o);
	if (o.full)
		bars_judge("all", &o.settings);
	for (char **name = o.names; o.bar && *name != NULL; name++)
		bars_judge(*name, &o.settings);
	progress_clear();
	report_times();
	if (o.full)
		report_ratios();
	report_counts();
	report_bars();
	written = write_files(&o);
	if (bars_status() != 0)
		return bars_status();
	return written && all_well() ? 0 : 2;
}
