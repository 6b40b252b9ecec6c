/* Medians, their intervals, and ratios of what was measured in the same round. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The interval assumes nothing of how the values are spread: the true median lies outside the (k+1)-th smallest and the
 * (k+1)-th largest value only if at most k of `count` fair coins show one side.  Of fewer than 6 values it is the
 * whole range: 94 % of 5, 75 % of 3; tables say so. */
struct spread
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
	s.count = count;
	return s;
}

static bool
has_figures(const struct track *t)
{
	return t != NULL && !t->skipped && t->failed[0] == '\0';
}

bool
ratio_of_figure(const struct run *run, const char *server, const char *reference,
	double (*figure)(const struct sample *s), struct spread *out)
{
	const struct track *a = run_track(run, server), *b = run_track(run, reference);
	double ratios[ROUNDS_MAX];
	int count = 0;

	if (!has_figures(a) || !has_figures(b))
		return false;
	for (int i = 0; i < run->rounds; i++)
		if (a->samples[i].messages > 0 && b->samples[i].messages > 0)
			ratios[count++] = figure(&a->samples[i]) / figure(&b->samples[i]);
	if (count == 0)
		return false;
	*out = spread_of(ratios, count);
	return true;
}

bool
ratio_of(const struct run *run, const char *server, const char *reference, struct spread *out)
{
	return ratio_of_figure(run, server, reference, sample_micros, out);
}

bool
figure_of(const struct run *run, const char *server, double (*figure)(const struct sample *s), struct spread *out)
{
	const struct track *t = run_track(run, server);
	double values[ROUNDS_MAX];
	int count = 0;

	if (!has_figures(t))
		return false;
	for (int i = 0; i < run->rounds; i++)
		if (t->samples[i].messages > 0)
			values[count++] = figure(&t->samples[i]);
	if (count == 0)
		return false;
	*out = spread_of(values, count);
	return true;
}
