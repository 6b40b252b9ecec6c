/* The ratios of CPU time as a picture: a row for each cell, a dot for each server with its interval, on a
 * logarithmic scale.  Colours and the text's follow the reader's light or dark background. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LEFT = 210, WIDTH = 720, RIGHT = 30,	/* the cells' names; the scale; what is free */
	TOP = 92,				/* the legend and the scale's figures */
	LINE = 7, ROW_GAP = 10,			/* between two servers of a row, between two rows */
	LEGEND_COLUMN = 190
};

#define LEAST 0.5
#define MOST 20.0

/* A kind of server: the same colour in every row. */
enum kind { OURS, OURS_VARIANT, CONTROL, RAW_VARIANT, LIBEV, LIBEVENT, BUFFEREVENT, UV_WRITE, UV_OTHER, POE,
	KINDS };

static const struct {
	const char *name, *light, *dark;
} kinds[KINDS] = {
	{"sconce", "#d1242f", "#ff7b72"},
	{"sconce, a variant", "#e07b00", "#ffb457"},
	{"raw again (control)", "#57606a", "#9aa4ae"},
	{"raw, a variant", "#8c6d3f", "#c9a86a"},
	{"libev", "#0969da", "#58a6ff"},
	{"libevent", "#1a7f37", "#3fb950"},
	{"libevent bufferevent", "#7a9a01", "#a5d32c"},
	{"libuv uv_write", "#8250df", "#bc8cff"},
	{"libuv, other writes", "#bf3989", "#f778ba"},
	{"POE", "#953800", "#f0883e"},
};

static enum kind
kind_of(const struct server *server)
{
	if (server->role == ROLE_CONTROL)
		return CONTROL;
	if (strcmp(server->program, "ours") == 0 || strcmp(server->program, "mux") == 0)
		return server->role == ROLE_OURS ? OURS : OURS_VARIANT;
	if (server->module != NULL)
		return POE;
	if (strcmp(server->program, "libev") == 0)
		return LIBEV;
	if (strcmp(server->program, "libevent") == 0)
		return strstr(server->workload, "-bev") != NULL ? BUFFEREVENT : LIBEVENT;
	if (strcmp(server->program, "libuv") == 0)
		return strchr(server->workload, '-') != NULL || strcmp(server->workload,
		"timeout") == 0 ? UV_OTHER : UV_WRITE;
	return RAW_VARIANT;
}

static double
place(double ratio)
{
	double clipped = fmin(fmax(ratio, LEAST), MOST);

	return LEFT + WIDTH * log(clipped / LEAST) / log(MOST / LEAST);
}

static void
put_style(FILE *f)
{
	fprintf(f,
		"<style>\ntext { font: 12px sans-serif; fill: #1f2328; }\n"
		".grid { stroke: #8c959f; stroke-opacity: .35; }\n"
		".one { stroke: #57606a; }\n");
	for (int i = 0; i < KINDS; i++)
		fprintf(f, ".k%d { stroke: %s; fill: %s; }\n", i, kinds[i].light, kinds[i].light);
	fprintf(f, "@media (prefers-color-scheme: dark) {\ntext { fill: #e6edf3; }\n.one { stroke: #9aa4ae; }\n");
	for (int i = 0; i < KINDS; i++)
		fprintf(f, ".k%d { stroke: %s; fill: %s; }\n", i, kinds[i].dark, kinds[i].dark);
	fprintf(f, "}\n</style>\n");
}

static void
put_legend(FILE *f)
{
	fprintf(f,
		"<text x=\"10\" y=\"16\">CPU per message / the reference in the same round: median, 95 %% interval"
		"</text>\n");
	for (int i = 0; i < KINDS; i++) {
		int x = 20 + i % 5 * LEGEND_COLUMN, y = 36 + i / 5 * 18;

		fprintf(f,
			"<circle class=\"k%d\" cx=\"%d\" cy=\"%d\" r=\"3\"/>"
			"<text x=\"%d\" y=\"%d\">%s</text>\n", i, x, y - 4, x + 9, y, kinds[i].name);
	}
}

static void
put_scale(FILE *f, double bottom)
{
	static const double ticks[] = {0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 8, 13, 20};

	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++) {
		fprintf(f, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%.0f\"/>",
			ticks[i] == 1 ? "one" : "grid", place(ticks[i]), place(ticks[i]), TOP - 8, bottom);
		fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", place(ticks[i]),
			TOP - 12, ticks[i]);
	}
}

/* Returns whether there was something to draw. */
static bool
put_server(FILE *f, const struct run *run, const struct server *server, double y)
{
	struct spread s;
	enum kind kind = kind_of(server);

	if (server->role == ROLE_REFERENCE || !ratio_of(run, server->name, run->cell->servers[0].name, &s))
		return false;
	fprintf(f, "<g class=\"k%d\"><title>%s, %s: %.3f (%.3f to %.3f)</title>", kind, run->cell->name,
		server->name, s.median, s.low, s.high);
	fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke-width=\"1.5\"/>", place(s.low),
		place(s.high), y, y);
	fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/></g>\n", place(s.median), y,
		kind == OURS ? "3.5" : "2.5");
	return true;
}

/* Returns where the next row begins. */
static double
put_row(FILE *f, const struct run *run, double y)
{
	double begin = y;

	for (const struct server *server = run->cell->servers; server->name != NULL; server++)
		if (put_server(f, run, server, y + LINE / 2.0))
			y += LINE;
	y = fmax(y, begin + 14);
	fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s<title>%s</title></text>\n", LEFT - 12,
		(begin + y) / 2 + 4, run->cell->name, run->cell->what);
	fprintf(f, "<line class=\"grid\" x1=\"10\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT + WIDTH,
		y + ROW_GAP / 2.0,
		y + ROW_GAP / 2.0);
	return y + ROW_GAP;
}

static double
height(void)
{
	double y = TOP;

	for (int i = 0; i < cell_count; i++)
		if (run_find(cells[i].name) != NULL)
			y += fmax(14, LINE * (cell_servers(&cells[i]) - 1)) + ROW_GAP;
	return y;
}

/* Of a cell that was played twice the second run is drawn. */
void
plot_write(FILE *f)
{
	double y = TOP, bottom = height();

	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\">\n", LEFT + WIDTH + RIGHT,
		bottom + 10);
	put_style(f);
	put_legend(f);
	put_scale(f, bottom);
	for (int i = 0; i < cell_count; i++)
		if (run_find(cells[i].name) != NULL)
			y = put_row(f, run_find(cells[i].name), y);
	fprintf(f, "</svg>\n");
}
