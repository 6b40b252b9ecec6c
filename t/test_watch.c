/* Foreign fds. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

static struct sconce_backend backend;
static struct sconce_loop *loop;
static int fds[2];			/* a connected pair; the test watches the first */

static void
setup(void)
{
	struct sconce_loop_options opts = { .backend = &backend };

	backend = *sconce_backend_libev();
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static void
teardown(void)
{
	sconce_verify(loop);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	close(fds[0]);
	close(fds[1]);
}

static void
turn(void)
{
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
}

/* A watch that notes what it is told, and does what it is told. */
struct probe {
	struct sconce_watch watch;
	int fd, calls, bytes;
	unsigned events;		/* of the last call */
	unsigned all;			/* of all */
	bool keep;			/* do not read */
	struct probe *victim;		/* stopped, its memory poisoned, by the callback */
	bool free_self;			/* the callback stops the watch and frees this */
};

static void
probe_ready(struct sconce_watch *w, unsigned events, void *arg)
{
	struct probe *p = arg;
	char byte;

	ck_assert_ptr_eq(w, &p->watch);
	p->calls++;
	p->events = events;
	p->all |= events;
	if ((events & SCONCE_READ) && !p->keep && read(p->fd, &byte, 1) == 1)
		p->bytes++;
	if (p->victim != NULL) {
		sconce_watch_stop(&p->victim->watch);
		memset(&p->victim->watch, 0xff, sizeof(p->victim->watch));
		p->victim = NULL;
	}
	if (p->free_self) {
		sconce_watch_stop(w);
		free(p);
	}
}

static void
probe_start(struct probe *p, int fd, unsigned events)
{
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	ck_assert_int_eq(sconce_watch_start(&p->watch, loop, fd, events, probe_ready, p), 0);
}

/* Input is told while it waits, level-triggered, and keeps a run going. */
START_TEST(test_watch_start_read_told_while_it_waits)
{
	struct probe p;

	probe_start(&p, fds[0], SCONCE_READ);
	turn();
	ck_assert_int_eq(p.calls, 0);
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	for (int i = 1; i <= 3; i++) {
		ck_assert_int_eq(sconce_loop_step(loop, 10), 1);
		ck_assert_int_eq(p.bytes, i);
		ck_assert_uint_eq(p.events, SCONCE_READ);
	}
	turn();
	ck_assert_int_eq(p.calls, 3);
	sconce_watch_stop(&p.watch);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

static struct probe late;

static void
start_late(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	probe_start(&late, fds[0], SCONCE_READ);
}

static void
stop_soon(struct sconce_timer *t, void *arg)
{
	(void)t;
	sconce_watch_stop(arg);
}

/* Added while the loop runs, it works at once; the run may be entered again and again. DS-35 DS-92 */
START_TEST(test_watch_start_while_running_works)
{
	for (int round = 0; round < 3; round++) {
		struct sconce_timer begin, end;

		sconce_timer_init(&begin, loop, start_late, NULL);
		sconce_timer_init(&end, loop, stop_soon, &late.watch);
		sconce_timer_start(&begin, 0);
		sconce_timer_start(&end, 0.02);
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
		ck_assert_int_eq(late.bytes, 1);
		ck_assert_int_eq(late.calls, 1);
	}
}
END_TEST

/* One watch leaves the others, and fds that nobody watches, alone. DS-34 DS-92 */
START_TEST(test_watch_start_another_changes_nothing)
{
	struct probe p, q;
	int more[2];

	ck_assert_int_eq(pipe(more), 0);
	probe_start(&p, fds[0], SCONCE_READ);
	probe_start(&q, more[0], SCONCE_READ);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ck_assert_int_eq(write(more[1], "x", 1), 1);
	turn();
	ck_assert_int_eq(p.bytes, 1);
	ck_assert_int_eq(q.bytes, 1);
	sconce_watch_stop(&q.watch);
	ck_assert_int_eq(write(more[1], "x", 1), 1);
	turn();
	turn();
	ck_assert_int_eq(q.calls, 1);
	ck_assert_int_eq(fcntl(more[0], F_GETFD), 0);	/* still open */
	sconce_watch_stop(&p.watch);
	close(more[0]);
	close(more[1]);
}
END_TEST

/* The fd keeps its flags, and stays open and usable. */
START_TEST(test_watch_fd_is_left_as_it_was)
{
	struct probe p;
	char byte;

	probe_start(&p, fds[0], SCONCE_READ | SCONCE_WRITE);
	turn();
	ck_assert_int_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), 0);
	sconce_watch_stop(&p.watch);
	turn();
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
}
END_TEST

/* Only what is watched is told, and that can be changed at any time. */
START_TEST(test_watch_set_changes_what_is_told)
{
	struct probe p;

	probe_start(&p, fds[0], 0);
	p.keep = true;
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	for (int i = 0; i < 5; i++)
		turn();
	ck_assert_int_eq(p.calls, 0);
	sconce_watch_set(&p.watch, SCONCE_WRITE);
	turn();
	turn();
	ck_assert_int_ge(p.calls, 1);
	ck_assert_uint_eq(p.all, SCONCE_WRITE);
	sconce_watch_set(&p.watch, SCONCE_READ | SCONCE_WRITE);
	turn();
	turn();
	ck_assert_uint_eq(p.events, SCONCE_READ | SCONCE_WRITE);
	sconce_watch_set(&p.watch, 0);
	turn();
	p.calls = 0;
	turn();
	turn();
	ck_assert_int_eq(p.calls, 0);
	sconce_watch_stop(&p.watch);
	sconce_watch_set(&p.watch, SCONCE_READ);
	turn();
}
END_TEST

/* A hang-up is told also when nothing is watched, and costs no CPU afterwards. HZ-10 */
START_TEST(test_watch_hang_up_told_when_nothing_watched)
{
	struct probe p;
	double begin;

	probe_start(&p, fds[0], 0);
	turn();
	turn();
	shutdown(fds[1], SHUT_RDWR);
	ck_assert_int_ge(sconce_loop_step(loop, 10), 1);
	ck_assert_int_eq(p.calls, 1);
	ck_assert_uint_eq(p.events, SCONCE_HUP);
	begin = t_cpu_seconds();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(sconce_loop_step(loop, 0.02), 0);
	ck_assert_double_lt(t_cpu_seconds() - begin, 0.05);
	sconce_watch_stop(&p.watch);
}
END_TEST

/* A hang-up that is there already is told too. */
START_TEST(test_watch_start_after_hang_up_told)
{
	struct probe p;

	shutdown(fds[1], SHUT_RDWR);
	probe_start(&p, fds[0], 0);
	for (int i = 0; i < 3 && p.calls == 0; i++)
		ck_assert_int_ge(sconce_loop_step(loop, 10), 0);
	ck_assert_uint_eq(p.events, SCONCE_HUP);
	sconce_watch_stop(&p.watch);
}
END_TEST

/* The reader's end of a pipe goes while its writer watches nothing. */
START_TEST(test_watch_error_told_as_hang_up)
{
	struct probe p;
	int more[2];

	ck_assert_int_eq(pipe(more), 0);
	probe_start(&p, more[1], 0);
	turn();
	turn();
	close(more[0]);
	ck_assert_int_ge(sconce_loop_step(loop, 10), 1);
	ck_assert_uint_eq(p.events, SCONCE_HUP);
	sconce_watch_stop(&p.watch);
	close(more[1]);
}
END_TEST

/* ---- stop ---- */

/* The callback may stop its watch and free it. HZ-1 */
START_TEST(test_watch_stop_in_callback_and_free)
{
	struct probe *p = malloc(sizeof(*p));

	probe_start(p, fds[0], SCONCE_READ | SCONCE_WRITE);
	p->free_self = true;
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	turn();
	turn();
}
END_TEST

/* One that is ready may be stopped, and freed, by another one of the same batch. HZ-1 HZ-2 */
START_TEST(test_watch_stop_other_of_batch)
{
	for (int round = 0; round < 2; round++) {
		struct probe p[2];
		int dups[2] = { dup(fds[0]), dup(fds[0]) };

		for (int i = 0; i < 2; i++)
			probe_start(&p[i], dups[i], SCONCE_READ);
		p[0].victim = &p[1];
		p[1].victim = &p[0];
		p[0].keep = p[1].keep = true;
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		turn();
		turn();
		ck_assert_int_eq((p[0].calls > 0) + (p[1].calls > 0), 1);
		sconce_watch_stop(&p[p[0].calls > 0 ? 0 : 1].watch);
		close(dups[0]);
		close(dups[1]);
	}
}
END_TEST

static struct probe *target;

static void
stop_and_poison(struct sconce_timer *t, void *arg)
{
	(void)t;
	(void)arg;
	sconce_watch_stop(&target->watch);
	memset(target, 0xff, sizeof(*target));
}

/* A timer of the same turn may stop one that is ready. HZ-1 HZ-2 */
START_TEST(test_watch_stop_by_timer_while_ready)
{
	struct sconce_timer t;
	struct probe p;

	probe_start(&p, fds[0], SCONCE_READ);
	turn();
	target = &p;
	sconce_timer_init(&t, loop, stop_and_poison, NULL);
	sconce_timer_start(&t, 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	turn();
	turn();
}
END_TEST

/* Stopping is harmless on what is stopped, failed to start, or never was. */
START_TEST(test_watch_stop_any_number_of_times)
{
	static struct sconce_watch zero;
	struct probe p;

	sconce_watch_stop(&zero);
	probe_start(&p, fds[0], SCONCE_READ);
	sconce_watch_stop(&p.watch);
	sconce_watch_stop(&p.watch);
	memset(&p, 0xff, sizeof(p));
	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, -1, SCONCE_READ, probe_ready, NULL), -EBADF);
	sconce_watch_stop(&p.watch);
	turn();
}
END_TEST

/* The same fd may be watched again, by an object of the library too. */
START_TEST(test_watch_stop_and_start_again)
{
	struct probe p;

	for (int i = 0; i < 5; i++) {
		probe_start(&p, fds[0], SCONCE_READ);
		ck_assert_int_eq(write(fds[1], "x", 1), 1);
		turn();
		ck_assert_int_eq(p.bytes, 1);
		sconce_watch_stop(&p.watch);
		if (i % 2 == 0)
			turn();
	}
}
END_TEST

/* Freeing the loop ends the watches; stopping them afterwards is harmless. */
START_TEST(test_watch_loop_free_stops)
{
	struct sconce_loop *mine = loop;
	struct probe p;

	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	probe_start(&p, fds[0], SCONCE_READ);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	sconce_watch_stop(&p.watch);
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), 0);
}
END_TEST

/* ---- refusals ---- */

static int allocs_left;

static void *
few_allocs(void *ptr, size_t size, void *ctx)
{
	if (size > 0 && allocs_left-- <= 0)
		return NULL;
	return sconce_backend_libev()->alloc(ptr, size, ctx);
}

/* What cannot be watched is refused, with nothing left behind. HZ-22 */
START_TEST(test_watch_start_refusals)
{
	struct probe p = { .fd = -1 };
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), r, n = 0;

	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, file, SCONCE_READ, probe_ready, &p), -EPERM);
	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, -1, SCONCE_READ, probe_ready, &p), -EBADF);
	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, 987654, SCONCE_READ, probe_ready, &p), -EBADF);
	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, fds[0], SCONCE_HUP, probe_ready, &p), -EINVAL);
	ck_assert_int_eq(sconce_watch_start(&p.watch, loop, fds[0], SCONCE_READ, NULL, &p), -EINVAL);
	backend.alloc = few_allocs;
	do {
		allocs_left = n;
		r = sconce_watch_start(&p.watch, loop, fds[0], SCONCE_READ, probe_ready, &p);
		ck_assert(r == 0 || r == -ENOMEM);
	} while (r != 0 && n++ < 20);
	allocs_left = 1000;
	ck_assert_int_eq(r, 0);
	ck_assert_int_ge(n, 1);
	sconce_watch_stop(&p.watch);
	turn();
	backend.alloc = sconce_backend_libev()->alloc;
	close(file);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("watch");
	TCase *t;

	t = t_case(suite, "start");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_watch_start_read_told_while_it_waits);
	tcase_add_test(t, test_watch_start_while_running_works);
	tcase_add_test(t, test_watch_start_another_changes_nothing);
	tcase_add_test(t, test_watch_fd_is_left_as_it_was);
	tcase_add_test(t, test_watch_set_changes_what_is_told);
	tcase_add_test(t, test_watch_hang_up_told_when_nothing_watched);
	tcase_add_test(t, test_watch_start_after_hang_up_told);
	tcase_add_test(t, test_watch_error_told_as_hang_up);
	tcase_add_test(t, test_watch_start_refusals);

	t = t_case(suite, "stop");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_watch_stop_in_callback_and_free);
	tcase_add_test(t, test_watch_stop_other_of_batch);
	tcase_add_test(t, test_watch_stop_by_timer_while_ready);
	tcase_add_test(t, test_watch_stop_any_number_of_times);
	tcase_add_test(t, test_watch_stop_and_start_again);
	tcase_add_test(t, test_watch_loop_free_stops);
	return suite;
}
