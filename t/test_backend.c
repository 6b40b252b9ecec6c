/* The backend table is enough: a backend on poll(2), or on select(2), without feed and timer runs everything that libev's does, in
 * the same order. */
#include "harness.h"
#include "backend_poll.h"
#include "backend_select.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>

static struct pair p;

static const struct {
	const struct sconce_backend *(*table)(void);
	unsigned long (*waits)(const struct sconce_loop *loop);
} backends[] = {
	{ backend_poll, backend_poll_waits },
	{ backend_select, backend_select_waits },
};
enum { BACKENDS = sizeof(backends) / sizeof(backends[0]) };

static void
open_own(int which, enum wire wire)
{
	struct sconce_loop_options opts = { .backend = backends[which].table() };

	pair_open_with(&p, wire, NULL, NULL, &opts);
	ck_assert_ptr_null(sconce_loop_ev(p.loop));
}

static void
echo(struct end *e)
{
	const void *data;
	ssize_t n = sconce_read_shared(&e->sock, &data);

	if (n > 0)
		sconce_write(&e->sock, data, (size_t)n);
	if (n == 0)
		sconce_close_flush(&e->sock, 1);
}

/* EM-4: an echo of a megabyte, through a peer that is slower than we write, and a close on both sides. */
START_TEST(test_backend_own_echo_and_close)
{
	static char data[1 << 20];

	open_own(_i / WIRES, (enum wire)(_i % WIRES));
	p.b.on.read = echo;
	p.a.close_at_end = true;
	bytes_fill(data, sizeof(data), 7);
	ck_assert_int_ge(sconce_write(&p.a.sock, data, sizeof(data)), 0);
	sconce_shutdown(&p.a.sock, SHUT_WR);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_uint_eq(p.a.in_len, sizeof(data));
	ck_assert(bytes_are(p.a.in, p.a.in_len, 7));
	ck_assert_uint_eq(p.a.destroys + p.b.destroys, 2);
	pair_free(&p);
}
END_TEST

static int fired;

static void
tick(struct sconce_timer *t, void *arg)
{
	(void)arg;
	if (++fired == 5)
		sconce_timer_stop(t);
}

/* Timers fire, the run waits for them and for nothing else, and does not spin. */
START_TEST(test_backend_own_timers)
{
	struct sconce_loop_options opts = { .backend = backends[_i].table() };
	struct sconce_timer t;

	fired = 0;
	pair_open_loop(&p, &opts);
	sconce_timer_init(&t, p.loop, tick, NULL);
	sconce_timer_start_every(&t, 0.002, 0.002);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(fired, 5);
	ck_assert_uint_le(backends[_i].waits(p.loop), 20);
	pair_free(&p);
}
END_TEST

static void
count_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	*(int *)arg += status == 0 ? 1 : 100;
}

static void *
post_one(void *arg)
{
	ck_assert_int_eq(sconce_post(p.loop, count_call, arg), 0);
	return NULL;
}

/* Posts end its wait; deferred work is done without one. */
START_TEST(test_backend_own_posts_and_calls)
{
	pthread_t thread;
	int calls = 0;

	open_own(_i, WIRE_UNIX);
	pair_turn(&p, 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, post_one, &calls), 0);
	for (int i = 0; i < 10 && calls == 0; i++)
		sconce_loop_step(p.loop, 10);
	pthread_join(thread, NULL);
	ck_assert_int_eq(calls, 1);
	sconce_defer(p.loop, NULL, count_call, &calls);
	ck_assert_int_eq(sconce_loop_step(p.loop, 10), 1);
	ck_assert_int_eq(calls, 2);
	pair_free(&p);
}
END_TEST

/* Hang-ups and errors of paused sockets are told once, and the loop is quiet afterwards. */
START_TEST(test_backend_own_hup_while_paused)
{
	unsigned long waits;

	open_own(_i, WIRE_TCP);
	sconce_watch_read(&p.a.sock, false);
	pair_turn(&p, 3);
	sconce_abort(&p.b.sock);
	PAIR_UNTIL(&p, p.a.hups == 1);
	ck_assert_uint_eq(p.a.errs, 1);
	waits = backends[_i].waits(p.loop);
	ck_assert_int_eq(sconce_loop_step(p.loop, 0.02), 0);
	ck_assert_uint_eq(backends[_i].waits(p.loop), waits + 1);
	pair_free(&p);
}
END_TEST

/* In a child after fork() it goes on. */
START_TEST(test_backend_own_fork)
{
	int status, calls = 0;
	pid_t pid;

	open_own(_i, WIRE_UNIX);
	pair_turn(&p, 2);
	pid = fork();
	if (pid == 0) {
		if (sconce_loop_fork(p.loop) != 0)
			_exit(1);
		sconce_write(&p.a.sock, "x", 1);
		sconce_post(p.loop, count_call, &calls);
		for (int i = 0; i < 100 && (p.b.in_len == 0 || calls == 0); i++)
			sconce_loop_step(p.loop, 0.01);
		_exit(p.b.in_len == 1 && calls == 1 ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	pair_free(&p);
}
END_TEST

/* ---- the same order on both ---- */

static bool
log_post(struct sconce_loop *l, void *arg)
{
	(void)l;
	(void)arg;
	pair_log(&p, "| ");
	return true;
}

static void
log_call(struct sconce_loop *l, void *arg, int status)
{
	(void)l;
	(void)status;
	pair_log(&p, "%s ", (const char *)arg);
}

static void
log_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	pair_log(&p, "%s ", (const char *)arg);
	sconce_write(&p.a.sock, "t", 1);
}

static void
busy_read(struct end *e)
{
	char buf[4];
	ssize_t n = sconce_read(&e->sock, buf, sizeof(buf));

	if (n == sizeof(buf) && e->n++ < 3) {
		sconce_unread(&e->sock, buf, 2);
		sconce_write(&e->sock, "abc", 3);
		sconce_write_cb(&e->sock, log_done, "F");
		sconce_defer(e->sock.loop, &e->sock, log_call, "call");
	}
	if (n == 0)
		sconce_close(&e->sock, SCONCE_REASON_EOF);
}

/* A conversation with timers, calls, pushed-back input, completions and closes; every turn is marked. */
static void
converse(char *log)
{
	struct sconce_timer t;

	p.b.on.read = busy_read;
	sconce_post_loop_add(p.loop, log_post, NULL);
	sconce_timer_init(&t, p.loop, log_timer, "timer");
	sconce_timer_start(&t, 0);
	sconce_write(&p.a.sock, "0123456789", 10);
	sconce_write_cb(&p.a.sock, log_done, "A");
	pair_turn(&p, 8);
	sconce_watch_read(&p.a.sock, false);
	sconce_watch_write(&p.a.sock, true);
	pair_turn(&p, 2);
	sconce_watch_write(&p.a.sock, false);
	sconce_shutdown(&p.a.sock, SHUT_WR);
	sconce_write_cb(&p.b.sock, log_done, "B");
	sconce_defer(p.loop, NULL, log_call, "late");
	pair_turn(&p, 8);
	memcpy(log, p.log, sizeof(p.log));
	pair_free(&p);
}

/* The hooks come in the same order, turn by turn, on both backends.  (DS-12, DS-14) */
START_TEST(test_backend_own_and_libev_same_order)
{
	static char libev[sizeof(p.log)], own[sizeof(p.log)];

	pair_open(&p, WIRE_UNIX);
	converse(libev);
	open_own(_i, WIRE_UNIX);
	converse(own);
	ck_assert_str_eq(libev, own);
	ck_assert_ptr_nonnull(strstr(libev, "a.hup"));
	ck_assert_ptr_nonnull(strstr(libev, "b.destroy"));
}
END_TEST

/* EM-4: an fd that select(2) cannot know is refused, and stays the caller's. */
START_TEST(test_backend_select_high_fd_is_refused)
{
	struct sconce_loop_options opts = { .backend = backend_select() };
	struct rlimit limit;
	struct sconce_sock s;
	int fds[2], high;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max <= FD_SETSIZE)
		return;				/* there can be no such fd */
	wire_make(WIRE_UNIX, fds);
	high = fcntl(fds[0], F_DUPFD_CLOEXEC, FD_SETSIZE);
	ck_assert_int_ge(high, FD_SETSIZE);
	pair_open_loop(&p, &opts);
	ck_assert_int_eq(sconce_sock_init(&s, p.loop, &end_ops, high), -EMFILE);
	ck_assert_int_eq(close(high), 0);
	pair_free(&p);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("backend");
	TCase *c = t_case(s, "own");

	tcase_add_loop_test(c, test_backend_own_echo_and_close, 0, BACKENDS * WIRES);
	tcase_add_loop_test(c, test_backend_own_timers, 0, BACKENDS);
	tcase_add_loop_test(c, test_backend_own_posts_and_calls, 0, BACKENDS);
	tcase_add_loop_test(c, test_backend_own_hup_while_paused, 0, BACKENDS);
	tcase_add_loop_test(c, test_backend_own_fork, 0, BACKENDS);
	tcase_add_loop_test(c, test_backend_own_and_libev_same_order, 0, BACKENDS);
	c = t_case(s, "select");
	tcase_add_test(c, test_backend_select_high_fd_is_refused);
	return s;
}
