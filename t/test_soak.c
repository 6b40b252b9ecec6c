/* The soak: many seeds of random operations on the simulator, each an exact run.  See t/soak.h.
 *
 *	test_soak				what `make check` runs
 *	test_soak --seed 17 --trace		one seed, everything that happens in it
 *	test_soak --real --seed 17		the plan of a seed, on the simulator and on real sockets */
#include "soak.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEEDS = 10000, COMPARED = 300, MIN_OPS = 300, MIN_TURNS = 140, MIN_SOCKETS = 8, MAX_TURNS = 3000,
	CALM_TURNS = 4000, CELL = 100 };

static uint64_t matrix[SOAK_PLACES][SOAK_WHATS];

/* ---- one seed ---- */

static struct sim_options
hostility(struct soak_world *w)
{
	struct sim_options o = { 0 };
	unsigned rough = soak_random(w, 4);

	o.buffer = 512u << soak_random(w, 8);
	o.connect_now = 300;
	if (rough == 0)
		return o;
	o.short_io = 50 * soak_random(w, 10);
	o.again = 30 * soak_random(w, 8);
	o.eintr = 20 * soak_random(w, 8);
	o.delay = 100 * soak_random(w, 9);
	o.spurious = 20 * soak_random(w, 6);
	o.hup_again = 100 * soak_random(w, 5);
	o.cut = 100 * soak_random(w, 5);
	o.alloc_fail = soak_chance(w, 50) ? 1 + soak_random(w, 60) : 0;
	o.accept_fail = 50 * soak_random(w, 4);
	o.connect_slow = 100 * soak_random(w, 9);
	o.connect_refuse = 50 * soak_random(w, 5);
	o.connect_lost = 10 * soak_random(w, 5);
	o.no_splice = soak_chance(w, 20);
	o.fd_limit = soak_chance(w, 30) ? 14 + (int)soak_random(w, 20) : 0;
	return o;
}

static void
world_open(struct soak_world *w, uint64_t seed, bool trace)
{
	struct sconce_loop_options opts = { 0 };
	static const struct sim_options none;
	struct sim_options o;

	*w = (struct soak_world){ .seed = seed, .random = seed * 0x9e3779b97f4a7c15 + 1, .trace = trace,
		.place = AT_OUTSIDE, .matrix = matrix };
	w->conns.next = w->conns.prev = &w->conns;
	w->sim = sim_new(seed, &none);
	soak_must(w, w->sim != NULL, "no memory for the simulator");
	opts.high = soak_chance(w, 85) ? 1000 + soak_random(w, 30000) : 0;
	w->high_mark = opts.high != 0 ? opts.high : 1024 * 1024;
	w->low_mark = w->high_mark / 4;
	opts.cap = soak_chance(w, 90) ? 0 : 100000;
	w->capped = opts.cap != 0;
	w->shared = soak_chance(w, 25);
	w->loop = w->shared ? sim_loop_shared(w->sim, &opts) : sim_loop(w->sim, &opts);
	soak_must(w, w->loop != NULL, "no loop: %s", strerror(errno));
	w->file = sim_file(w->sim, soak_table, SOAK_TABLE);
	w->short_file = sim_file(w->sim, soak_table, 10000);
	o = hostility(w);
	sim_set_options(w->sim, &o);
	sim_on_wait(w->sim, soak_on_wait, w);
	if (soak_chance(w, 40))
		sconce_post_loop_add(w->loop, soak_post_loop, w);
}

static void
turn(struct soak_world *w)
{
	int r;

	if (w->shared && soak_chance(w, 70)) {
		sim_app_turn(w->sim);
		return;
	}
	if (soak_chance(w, 10)) {
		w->in_call++;
		sconce_loop_stop(w->loop);
		w->in_call--;
		r = sconce_loop_run(w->loop);
		soak_must(w, r == SCONCE_LOOP_STOPPED, "a stopped loop's run gives %d", r);
	}
	r = sconce_loop_step(w->loop, soak_chance(w, 60) ? 0.05 : 0);
	soak_must(w, r >= 0, "sconce_loop_step: %d", r);
}

static void
storm(struct soak_world *w)
{
	for (int i = 0; i < 4; i++)
		soak_open(w);
	for (int i = 0; i < MAX_TURNS && (w->ops < MIN_OPS || w->sockets < MIN_SOCKETS || i < MIN_TURNS); i++) {
		if (w->conn_count < 9 || soak_chance(w, 5))
			soak_open(w);
		for (unsigned n = soak_random(w, 3); n > 0; n--) {
			struct soak_conn *c = soak_some_conn(w);

			if (c != &w->conns)
				soak_act(w, AT_OUTSIDE, c->sock.closed || c->ending ? NULL : c, c->end);
		}
		turn(w);
		if (i % 64 == 63)
			sconce_verify(w->loop);
	}
	soak_must(w, w->ops >= MIN_OPS && w->sockets >= MIN_SOCKETS,
		"only %u operations on %u sockets", w->ops, w->sockets);
}

static void
calm(struct soak_world *w)
{
	int quiet = 0, i;

	soak_make_calm(w);
	sconce_post_loop_remove(w->loop, soak_post_loop, w);
	for (i = 0; i < CALM_TURNS && quiet < 2; i++) {
		bool moved = soak_calm_turn(w);
		int64_t before = sim_now(w->sim);
		int r = sconce_loop_step(w->loop, 1);

		soak_must(w, r >= 0, "sconce_loop_step: %d", r);
		/* A whole second in which nothing happened: nothing is on its way either. */
		quiet = r == 0 && !moved && sim_now(w->sim) - before >= 1000000000 ? quiet + 1 : 0;
	}
	soak_must(w, i < CALM_TURNS, "no rest after %d turns without a new operation", i);
	sconce_verify(w->loop);
	soak_all_arrived(w);
}

static void
world_close(struct soak_world *w)
{
	w->freeing = true;
	soak_trace(w, "sconce_loop_free");
	soak_must(w, sconce_loop_free(w->loop) == 0, "sconce_loop_free failed");
	soak_must(w, w->conn_count == 0, "%d sockets were not destroyed", w->conn_count);
	soak_must(w, !w->listener_used, "the listener was not destroyed");
	soak_must(w, w->relays == 0, "%d completions of relays did not come", w->relays);
	soak_must(w, w->defer_order == w->defer_told && w->post_order == w->post_told, "a call was lost");
	for (int i = 0; i < w->end_count; i++) {
		if (w->ends[i]->fd >= 0)
			sim_close(w->sim, w->ends[i]->fd);
		free(w->ends[i]);
	}
	if (sim_violations(w->sim) > 0)
		soak_fail(w, "%s", sim_violation(w->sim));
	soak_must(w, sim_free(w->sim, stdout), "something is left");
}

static struct soak_world w;

static uint64_t compared;		/* the seed whose plan is being compared, while `comparing` */
static bool comparing;

/* Where it was, and how to see it again. */
static int
tell_replay(char *text, size_t size)
{
	int n;

	if (comparing)
		n = snprintf(text, size, "comparing seed %llu\nreplay: %s --real --seed %llu --trace\n", (unsigned long long)compared,
			program_invocation_name, (unsigned long long)compared);
	else
		n = snprintf(text, size, "seed %llu, turn %llu, in %s\nreplay: %s --seed %llu --trace\n", (unsigned long long)w.seed,
			(unsigned long long)w.turn, soak_places[w.place], program_invocation_name, (unsigned long long)w.seed);
	return n < (int)size ? n : (int)size - 1;
}

/* An assertion of the library's, or worse, or an end that came from outside since it never ends: the seed is told here too. */
static void
crashed(int signo)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "signal %d, ", signo);

	n += tell_replay(text + n, sizeof(text) - (size_t)n);
	n = (int)write(STDOUT_FILENO, text, (size_t)n);
	(void)n;
	signal(signo, SIG_DFL);
	raise(signo);
}

/* AddressSanitizer calls it before it ends the process. */
void __asan_on_error(void);
void
__asan_on_error(void)
{
	char text[512];

	tell_replay(text, sizeof(text));
	printf("%s", text);
	fflush(stdout);
}

static void
run_seed(uint64_t seed, bool trace)
{
	world_open(&w, seed, trace);
	storm(&w);
	if (!soak_chance(&w, 25))
		calm(&w);
	world_close(&w);
}

/* ---- the matrix ---- */

/* What the documentation does not allow: in destroy `s` may not be used in any call any more. */
static bool
is_legal(int place, int what)
{
	return !(place == AT_DESTROY && what == DO_CLOSE_SELF);
}

/* Prints it; false: a cell is below what is asked for. */
static bool
print_matrix(void)
{
	bool enough = true;

	printf("%-14s", "");
	for (int what = 0; what < SOAK_WHATS; what++)
		printf(" %11s", soak_whats[what]);
	putchar('\n');
	for (int place = 0; place < SOAK_PLACES; place++) {
		printf("%-14s", soak_places[place]);
		for (int what = 0; what < SOAK_WHATS; what++) {
			unsigned long long n = matrix[place][what];

			if (!is_legal(place, what)) {
				printf(" %11s", "-");
				continue;
			}
			printf(" %10llu%s", n, n < CELL ? "!" : " ");
			enough = enough && n >= CELL;
		}
		putchar('\n');
	}
	return enough;
}

/* ---- arguments ---- */

static _Noreturn void
usage(const char *wrong)
{
	if (wrong != NULL)
		fprintf(stderr, "test_soak: %s\n", wrong);
	fprintf(stderr, "usage: test_soak [--seed N] [--seeds N] [--from N] [--real] [--trace] [--matrix]\n"
		"  --seed N    this seed alone\n"
		"  --seeds N   so many seeds (default %d)\n"
		"  --from N    the first of them (default 1)\n"
		"  --real      compare the plans of the seeds on the simulator and on real sockets, nothing else\n"
		"  --trace     print every operation and hook\n"
		"  --matrix    print the matrix of hooks and actions in any case\n", SEEDS);
	exit(wrong != NULL ? 2 : 0);
}

static uint64_t
number(const char *text)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-') {
		char wrong[100];

		snprintf(wrong, sizeof(wrong), "not a number: %.60s", text);
		usage(wrong);
	}
	return n;
}

struct arguments {
	uint64_t from, seeds;
	bool real, trace, matrix, some;
};

static struct arguments
parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "seeds", required_argument, NULL, 'n' },
		{ "from", required_argument, NULL, 'f' }, { "real", no_argument, NULL, 'r' },
		{ "trace", no_argument, NULL, 't' }, { "matrix", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
	};
	struct arguments a = { .from = 1, .seeds = SEEDS };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			a.from = number(optarg);
			a.seeds = 1;
			a.some = true;
			break;
		case 'n':
			a.seeds = number(optarg);
			a.some = true;
			break;
		case 'f':
			a.from = number(optarg);
			a.some = true;
			break;
		case 'r':
			a.real = true;
			break;
		case 't':
			a.trace = true;
			break;
		case 'm':
			a.matrix = true;
			break;
		default:
			usage(c == 'h' ? NULL : "an option that is not known, or lacks its number");
		}
	}
	if (optind < argc)
		usage("no arguments but options");
	return a;
}

static int
run_compare(const struct arguments *a, uint64_t seeds)
{
	char text[512];

	comparing = true;
	for (uint64_t i = 0; i < seeds; i++) {
		compared = a->from + i;
		if (!soak_compare(compared, a->trace)) {
			tell_replay(text, sizeof(text));
			printf("%ssoak: 0 passed, 1 failed\n", text);
			return 1;
		}
	}
	comparing = false;
	return 0;
}

int
main(int argc, char **argv)
{
	struct arguments a = parse(argc, argv);
	int cases = 0, failed = 0;

	soak_table_fill();
	signal(SIGABRT, crashed);
	signal(SIGSEGV, crashed);
	signal(SIGBUS, crashed);
	signal(SIGTERM, crashed);
	if (!a.real) {
		for (uint64_t i = 0; i < a.seeds; i++)
			run_seed(a.from + i, a.trace);
		cases = (int)((a.seeds + 999) / 1000);
	}
	if (a.real || !a.some) {
		if (run_compare(&a, a.real && a.some ? a.seeds : COMPARED) != 0)
			return 1;
		cases++;
	}
	if (!a.some && !a.real) {		/* only the default run promises enough of everything */
		failed = !print_matrix();
		cases += !failed;
	} else if (a.matrix) {
		print_matrix();
	}
	if (failed)
		printf("a cell of the matrix is below %d\n", CELL);
	printf("soak: %d passed, %d failed\n", cases, failed);
	return failed;
}
