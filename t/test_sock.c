/* What a socket object is: its size, its beginnings, any pollable fd, hooks that are missing, per-object callbacks. */
#include "harness.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pair p;

static void
setup(void)
{
	struct sconce_loop_options opts = { .backend = fault_backend() };

	pair_open_with(&p, WIRE_UNIX, NULL, NULL, &opts);
	pair_quiet(&p);
	fault_reset();
}

static void
teardown(void)
{
	pair_free(&p);
}

/* DS-102: the promise of sconce/sock.h; and an idle connection owns nothing else. */
START_TEST(test_size_is_at_most_160)
{
	long before = 0;
	int fds[2];

	ck_assert_uint_le(sizeof(struct sconce_sock), 160);
	for (int i = 0; i < 4; i++) {
		wire_make(WIRE_UNIX, fds);
		end_open(&p, "x", NULL, fds[0]);
		end_open(&p, "y", NULL, fds[1]);
	}
	pair_quiet(&p);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 8; i++) {
			sconce_write(&p.others[i].sock, "hello", 5);
			sconce_set_timeout(&p.others[i].sock, SCONCE_TIMEOUT_INPUT, 60);
		}
		pair_quiet(&p);
		if (round == 0)
			before = fault.live;		/* what the loop keeps for the next time */
	}
	for (int i = 0; i < 8; i++) {
		ck_assert_uint_eq(p.others[i].in_len, 10);
		ck_assert_ptr_null(p.others[i].sock._queue);
		ck_assert_ptr_null(p.others[i].sock._side);
	}
	ck_assert_int_eq(fault.live, before);
}
END_TEST

/* ---- init ---- */

static const struct sconce_sock_ops unnamed_ops = { .destroy = end_destroy };

/* What cannot be an object: an error, the fd still the caller's and open, no hook, nothing counted. */
START_TEST(test_init_refusals)
{
	static struct end e;
	int file = memfd_create("t", MFD_CLOEXEC), dir = open("/", O_RDONLY | O_CLOEXEC), fds[2];

	e.pair = &p;
	wire_make(WIRE_UNIX, fds);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, &end_ops, file), -EPERM);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, &end_ops, dir), -EPERM);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, &end_ops, 9999), -EBADF);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, &end_ops, -2), -EBADF);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, NULL, fds[0]), -EINVAL);
	ck_assert_int_eq(sconce_sock_init(&e.sock, p.loop, &unnamed_ops, fds[0]), -EINVAL);
	ck_assert_int_eq(sconce_sock_init_sized(&e.sock, p.loop, &end_ops, fds[0], sizeof(e.sock) + 8,
		sizeof(end_ops)), -EINVAL);
	ck_assert_int_eq(sconce_sock_init_sized(&e.sock, p.loop, &end_ops, fds[0], sizeof(e.sock),
		sizeof(end_ops) + sizeof(void *)), -EINVAL);
	ck_assert_uint_eq(sconce_count(p.loop), 2);
	pair_quiet(&p);
	ck_assert_uint_eq(e.destroys + e.closes + e.reads, 0);
	ck_assert_int_eq(close(file) | close(dir) | close(fds[0]) | close(fds[1]), 0);
}
END_TEST

/* DS-44, IM-3: O_NONBLOCK and FD_CLOEXEC are set, the object is found, nothing is called before there is a reason. */
START_TEST(test_init_prepares_the_fd)
{
	int fds[2];
	struct end *e;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	e = end_open(&p, "e", NULL, fds[0]);
	ck_assert(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(sconce_fd(&e->sock), fds[0]);
	ck_assert_ptr_eq(e->sock.loop, p.loop);
	ck_assert_ptr_eq(e->sock.ops, &end_ops);
	ck_assert_uint_eq(sconce_count(p.loop), 3);
	ck_assert_uint_eq(sconce_watching(&e->sock), SCONCE_READ);
	pair_turn(&p, 5);
	ck_assert_str_eq(p.log, "");
	close(fds[1]);
}
END_TEST

/* DS-10, DS-55, DS-56, IM-18: addresses of both ends, also at the farewell. */
static char at_farewell[64];

static void
keep_peer(struct end *e)
{
	struct sconce_addr addr;

	ck_assert_int_eq(sconce_peer(&e->sock, &addr), 0);
	sconce_addr_text(&addr, at_farewell, sizeof(at_farewell));
}

START_TEST(test_addresses_until_the_farewell)
{
	int fds[2];
	struct end *c, *d;
	struct sconce_addr addr;
	char peer[64], local[64];

	wire_make(WIRE_TCP, fds);
	c = end_open(&p, "c", NULL, fds[0]);
	d = end_open(&p, "d", NULL, fds[1]);
	ck_assert_int_eq(sconce_peer(&c->sock, &addr), 0);
	sconce_addr_text(&addr, peer, sizeof(peer));
	ck_assert_int_eq(sconce_local(&d->sock, &addr), 0);
	sconce_addr_text(&addr, local, sizeof(local));
	ck_assert_str_eq(peer, local);
	ck_assert_int_eq(strncmp(peer, "127.0.0.1:", 10), 0);
	c->on.close = keep_peer;
	sconce_close(&c->sock, 0);
	pair_turn(&p, 1);
	ck_assert_str_eq(at_farewell, peer);
}
END_TEST

/* DS-57: a line with name, fd and state; a closed one says so. */
START_TEST(test_describe)
{
	char line[256], again[16];
	int n = sconce_describe(&p.a.sock, line, sizeof(line));

	ck_assert_int_eq(n, (int)strlen(line));
	ck_assert_ptr_nonnull(strstr(line, "end#"));
	ck_assert_ptr_nonnull(strstr(line, "open"));
	ck_assert_int_eq(sconce_describe(&p.a.sock, again, sizeof(again)), n);
	ck_assert_mem_eq(line, again, sizeof(again) - 1);
	sconce_close(&p.a.sock, 0);
	sconce_describe(&p.a.sock, line, sizeof(line));
	ck_assert_ptr_nonnull(strstr(line, "closed"));
}
END_TEST

/* ---- any pollable fd ---- */

/* Pipes: each end an object; bytes, the end, nothing twice. */
START_TEST(test_fd_pipe)
{
	int fds[2];
	struct end *r, *w;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	r = end_open(&p, "r", NULL, fds[0]);
	w = end_open(&p, "w", NULL, fds[1]);
	sconce_watch_read(&w->sock, false);
	sconce_write(&w->sock, "through", 7);
	PAIR_UNTIL(&p, r->in_len == 7);
	sconce_write(&w->sock, " it", 3);
	PAIR_UNTIL(&p, r->in_len == 10);
	ck_assert_mem_eq(r->in, "through it", 10);
	sconce_close(&w->sock, 0);
	PAIR_UNTIL(&p, r->ended);
	pair_turn(&p, 5);
	ck_assert_uint_eq(r->errs, 0);
}
END_TEST

/* A pipe nobody reads any more: told, whether or not anything is written; SIGPIPE kills nobody (HZ-11). */
START_TEST(test_fd_pipe_without_reader)
{
	int fds[2];
	struct end *w;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	w = end_open(&p, "w", NULL, fds[1]);
	sconce_watch_read(&w->sock, false);
	pair_quiet(&p);
	close(fds[0]);
	if (_i == 1)
		sconce_write(&w->sock, "x", 1);
	PAIR_UNTIL(&p, w->errs == 1);
	ck_assert_int_eq(w->errnum, EPIPE);
	pair_turn(&p, 10);
	ck_assert_uint_eq(w->errs, 1);
}
END_TEST

/* Terminals. */
START_TEST(test_fd_tty)
{
	int master, slave;
	struct end *m;

	if (openpty(&master, &slave, NULL, NULL, NULL) < 0) {
		ck_assert(access("/dev/ptmx", R_OK | W_OK) < 0 || access("/dev/pts/ptmx", F_OK) < 0);
		printf("skip test_fd_tty: there are no terminals here\n");
		return;
	}
	m = end_open(&p, "m", NULL, master);
	ck_assert_int_eq(write(slave, "from tty", 8), 8);
	PAIR_UNTIL(&p, m->in_len == 8);
	sconce_write(&m->sock, "line\n", 5);
	PAIR_UNTIL(&p, m->in_len >= 13);		/* the echo */
	close(slave);
	PAIR_UNTIL(&p, m->ended);
	ck_assert_uint_eq(m->errs, 0);
}
END_TEST

static void
reap(struct end *e)
{
	sconce_close(&e->sock, 0);
}

/* A pidfd is readable when its process ends. */
START_TEST(test_fd_pidfd)
{
	pid_t pid = fork();
	struct end *e;

	if (pid == 0)
		_exit(7);
	e = end_open(&p, "pid", NULL, (int)syscall(SYS_pidfd_open, pid, 0));
	e->on.read = reap;
	PAIR_UNTIL(&p, e->destroys == 1);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* DS-94: fd 0 is an fd like any other, in a child that has nothing else there. */
START_TEST(test_fd_zero)
{
	int fds[2], status;
	pid_t pid;

	wire_make(WIRE_UNIX, fds);
	pid = fork();
	if (pid == 0) {
		static struct pair q;
		struct end *e;

		pair_open_loop(&q, NULL);
		if (dup2(fds[0], 0) != 0)
			_exit(1);
		close(fds[0]);
		e = end_open(&q, "zero", NULL, 0);
		sconce_write(&e->sock, "from zero", 9);
		for (int i = 0; i < 1000 && e->in_len < 4; i++)
			sconce_loop_step(q.loop, 0.01);
		sconce_close(&e->sock, 0);
		sconce_loop_step(q.loop, 0);
		_exit(e->in_len == 4 && e->destroys == 1 && fcntl(0, F_GETFD) < 0 ? 42 : 2);
	}
	close(fds[0]);
	ck_assert_int_eq(send(fds[1], "ping", 4, 0), 4);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WEXITSTATUS(status), 42);
	close(fds[1]);
}
END_TEST

/* ---- callbacks of one object ---- */

struct asked {
	int calls;
	struct sconce_sock *s;
	int until;
};

static bool
ask(struct sconce_sock *s, void *arg)
{
	struct asked *a = arg;

	a->s = s;
	return ++a->calls < a->until;
}

/* DS-97, DS-59: a per-object callback gets its object; all run, in the order set; false ends the run. */
START_TEST(test_post_loop_of_an_object)
{
	struct asked a = { .until = 3 }, b = { .until = 5 };

	ck_assert_int_eq(sconce_set_post_loop(&p.a.sock, ask, &a), 0);
	ck_assert_int_eq(sconce_set_post_loop(&p.b.sock, ask, &b), 0);
	sconce_loop_set_timeout(p.loop, 0);
	ck_assert_int_eq(sconce_loop_run(p.loop), SCONCE_LOOP_POST);
	ck_assert_int_eq(a.calls, 3);
	ck_assert_int_eq(b.calls, 3);			/* not cut short by the false before it */
	ck_assert_ptr_eq(a.s, &p.a.sock);
	ck_assert_ptr_eq(b.s, &p.b.sock);
	ck_assert_int_eq(sconce_set_post_loop(&p.a.sock, NULL, NULL), 0);
	pair_turn(&p, 1);
	ck_assert_int_eq(a.calls, 3);
	ck_assert_int_eq(b.calls, 4);
	sconce_close(&p.b.sock, 0);			/* closing removes it */
	pair_turn(&p, 3);
	ck_assert_int_eq(b.calls, 4);

}
END_TEST

static bool
close_me(struct sconce_sock *s, void *arg)
{
	++*(int *)arg;
	sconce_close(s, 0);
	return true;
}

/* A callback may close its own object: destroyed in the next turn. HZ-1 */
START_TEST(test_post_loop_closes_its_object)
{
	int calls = 0;

	sconce_set_post_loop(&p.a.sock, close_me, &calls);
	pair_turn(&p, 1);
	ck_assert_uint_eq(p.a.destroys, 0);
	pair_turn(&p, 2);
	ck_assert_int_eq(calls, 1);
	ck_assert_uint_eq(p.a.destroys, 1);
}
END_TEST

/* ---- turns ---- */

static void
count_write(struct end *e)
{
	e->n++;
	sconce_write(&e->sock, "", 0);
}

/* A hook runs once a readiness; a turn returns how many it ran. */
START_TEST(test_step_returns_hooks_run)
{
	ck_assert_int_eq(sconce_loop_step(p.loop, 0), 0);
	p.a.on.write = count_write;
	sconce_watch_write(&p.a.sock, true);
	pair_turn(&p, 1);
	ck_assert_int_eq(sconce_loop_step(p.loop, 0), 1);
	sconce_watch_write(&p.a.sock, false);
	sconce_write(&p.a.sock, "x", 1);
	sconce_write_cb(&p.a.sock, log_done, (void *)(uintptr_t)"C");
	ck_assert_int_ge(sconce_loop_step(p.loop, 0), 1);
}
END_TEST

/* DS-8, DS-11, DS-47: no cork and no writer function: MSG_MORE and transports stand in (test_write, test_transport);
 * and what was write(undef) is sconce_flush().  DS-49: a hook that is missing has the default that the header names. */
static const struct sconce_sock_ops read_only_ops = {
	.name = "read only", .event_read = end_event_read, .event_close = end_event_close, .destroy = end_destroy,
};

START_TEST(test_missing_err_closes_with_errno)
{
	int fds[2];
	struct end *c;

	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", &read_only_ops, fds[0]);
	fault.fd = fds[0];
	fault.send_errno = ENOBUFS;
	sconce_write(&c->sock, "x", 1);
	PAIR_UNTIL(&p, c->destroys == 1);
	ck_assert_int_eq(c->reason, SCONCE_REASON_ERROR);
	ck_assert_int_eq(c->close_errnum, ENOBUFS);
	ck_assert_uint_eq(c->unsent, 1);
	close(fds[1]);
}
END_TEST

/* A missing event_hup does nothing where event_read finds the end itself. */
START_TEST(test_missing_hup_with_event_read_does_nothing)
{
	int fds[2];
	struct end *c;

	wire_make(WIRE_UNIX, fds);
	c = end_open(&p, "c", &read_only_ops, fds[0]);
	close(fds[1]);
	PAIR_UNTIL(&p, c->ended);
	pair_turn(&p, 10);
	ck_assert_uint_eq(c->closes, 0);
	ck_assert_uint_eq(c->reads, 1);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("sock");
	TCase *c;

	c = t_case(s, "init");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_size_is_at_most_160);
	tcase_add_test(c, test_init_refusals);
	tcase_add_test(c, test_init_prepares_the_fd);
	tcase_add_test(c, test_addresses_until_the_farewell);
	tcase_add_test(c, test_describe);

	c = t_case(s, "fd");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_fd_pipe);
	tcase_add_loop_test(c, test_fd_pipe_without_reader, 0, 2);
	tcase_add_test(c, test_fd_tty);
	tcase_add_test(c, test_fd_pidfd);
	tcase_add_test(c, test_fd_zero);

	c = t_case(s, "post_loop");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_post_loop_of_an_object);
	tcase_add_test(c, test_post_loop_closes_its_object);
	tcase_add_test(c, test_step_returns_hooks_run);

	c = t_case(s, "missing");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_missing_err_closes_with_errno);
	tcase_add_test(c, test_missing_hup_with_event_read_does_nothing);
	return s;
}
