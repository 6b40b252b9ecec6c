/* SIGHUP: the same process executes its program again; the listener never refuses; the configuration is the new one, or,
 * when that is wrong, the old process serves on. */
#include "test_server.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define BEFORE "sig_hup server_close pre_server_close_hook post_child_cleanup_hook restart_close_hook hup_server"
#define AFTER \
	"configure_hook configure post_configure post_configure_hook pre_bind bind restart_open_hook post_bind_hook" \
	" post_bind pre_loop_hook loop"

/* Sends HUP and waits until the new program serves. */
static void
hup(struct served *v)
{
	ck_assert_int_eq(kill(v->pid, SIGHUP), 0);
	kit_log(v, "hup_server\n");
	kit_log(v, "started");
}

static int
pid_of(int c)
{
	kit_say(c, "pid\n");
	return atoi(kit_line(c));
}

/* The steps are those of the original, and its port and pid stay.  AC-14 (its first half), NS-2, NS-62, NS-63. */
START_TEST(test_restart_flow)
{
	size_t from, to;
	struct served v;
	char *steps;
	int c;

	kit_start(&v, NULL);
	from = v.seen;
	hup(&v);
	to = v.seen;
	steps = kit_steps(v.log + from, v.log + to);
	ck_assert_str_eq(steps, BEFORE " " AFTER);
	free(steps);
	c = kit_connect(&v);			/* to the port of before */
	kit_line(c);
	ck_assert_int_eq(pid_of(c), v.pid);
	close(c);
	kit_stop(&v);
}
END_TEST

/* The new configuration is in force; a wrong one leaves everything as it was, and says why. */
/* AC-14. */
START_TEST(test_restart_new_configuration)
{
	char option[128];
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), "greeting one\n");
	snprintf(option, sizeof(option), "--conf_file=%s", kit_path("conf"));
	kit_start(&v, option, NULL);
	kit_write_file(kit_path("conf"), "greeting two\n");
	hup(&v);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "two");
	kit_write_file(kit_path("conf"), _i == 0 ? "greting three\n" : _i == 1 ? "cidr_allow 1.2.3.4/99\n" : "user no-such-user-here\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "conf:1:");
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "two");	/* it has not even lost this client */
	close(c);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "two");
	close(c);
	kit_write_file(kit_path("conf"), "greeting four\n");
	hup(&v);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "four");
	close(c);
	kit_stop(&v);
}
END_TEST

/* An address that is part of what was listened to before, or contains it, can be bound; the old one is not in the way. */
START_TEST(test_restart_overlapping_address)
{
	char option[128], text[128];
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), _i & 1 ? "port 127.0.0.1:0\n" : "port 0.0.0.0:0\n");
	snprintf(option, sizeof(option), "--conf_file=%s", kit_path("conf"));
	kit_exec(&v, (const char *const[]){ "--log_level=4", _i & 2 ? "--drain=30" : "--drain=0", option, NULL });
	v.port = atoi(kit_log(&v, _i & 1 ? "listening on 127.0.0.1:" : "listening on 0.0.0.0:"));
	kit_log(&v, "started");
	c = kit_connect(&v);
	kit_line(c);
	snprintf(text, sizeof(text), _i & 1 ? "port 0.0.0.0:%d\n" : "port 127.0.0.1:%d\n", v.port);
	kit_write_file(kit_path("conf"), text);
	hup(&v);
	close(c);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	close(c);
	kit_stop(&v);
}
END_TEST

/* A unix path that was taken over is still ours: it goes at the end. */
START_TEST(test_restart_unix_path_goes_at_the_end)
{
	char option[128];
	struct served v;

	snprintf(option, sizeof(option), "--port=%s", kit_path("s"));
	kit_start(&v, option, NULL);
	hup(&v);
	hup(&v);
	ck_assert_int_eq(access(kit_path("s"), F_OK), 0);
	kit_stop(&v);
	ck_assert_int_eq(access(kit_path("s"), F_OK), -1);
}
END_TEST

/* A program that cannot be executed any more: the old one serves on. */
START_TEST(test_restart_broken_program)
{
	char copy[160], command[800];
	const char *args[] = { "--port=127.0.0.1:0", "--log_level=4", NULL };
	struct served v;
	int c;

	/* A link of its own to the program, to be replaced under it. */
	snprintf(copy, sizeof(copy), "%s", kit_path("served"));
	snprintf(command, sizeof(command), "cp %s %s", kit_program(), copy);
	ck_assert_int_eq(system(command), 0);
	kit_exec_program(&v, copy, args);
	v.port = atoi(kit_log(&v, "listening on 127.0.0.1:"));
	kit_log(&v, "started");
	if (_i == 0)
		ck_assert_int_eq(unlink(copy), 0);
	else if (_i == 1)
		ck_assert_int_eq(rename(copy, kit_path("old")), 0);
	if (_i == 1) {
		kit_write_file(copy, "this is no program\n");
		ck_assert_int_eq(chmod(copy, 0755), 0);
	}
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "not restarted");
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	ck_assert_int_eq(pid_of(c), v.pid);
	close(c);
	kit_stop(&v);
}
END_TEST

/* A new port that cannot be bound: the old one serves on, all of it. */
START_TEST(test_restart_busy_port)
{
	char option[128], text[128];
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int busy = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c;
	struct served v;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert(bind(busy, (struct sockaddr *)&a, len) == 0 && listen(busy, 1) == 0);
	ck_assert_int_eq(getsockname(busy, (struct sockaddr *)&a, &len), 0);
	kit_write_file(kit_path("conf"), "port 127.0.0.1:0\n");
	snprintf(option, sizeof(option), "--conf_file=%s", kit_path("conf"));
	kit_exec(&v, (const char *const[]){ "--log_level=4", option, NULL });
	v.port = atoi(kit_log(&v, "listening on 127.0.0.1:"));
	kit_log(&v, "started");
	snprintf(text, sizeof(text), "port 127.0.0.1:0\nport 127.0.0.1:%d\n", ntohs(a.sin_port));
	kit_write_file(kit_path("conf"), text);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "not restarted: served: ");
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	ck_assert_int_eq(pid_of(c), v.pid);
	close(c);
	close(busy);
	hup(&v);				/* now it is free */
	kit_stop(&v);
}
END_TEST

/* An end that comes while a restart is closing its clients is an end. */
START_TEST(test_restart_becomes_a_stop)
{
	struct served v;
	int c;

	kit_start(&v, "--drain=0", "--stop_in_restart", NULL);
	c = kit_connect(&v);
	kit_line(c);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert(kit_logged(&v, "shutdown_sockets"));
	kit_free(&v);
}
END_TEST

/* Without `drain` clients are closed, and each is told of to mux_close.  AC-15. */
START_TEST(test_restart_closes_clients)
{
	struct served v;
	int c[3];

	kit_start(&v, "--drain=0", NULL);
	for (int i = 0; i < 3; i++) {
		c[i] = kit_connect(&v);
		kit_line(c[i]);
	}
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	for (int i = 0; i < 3; i++)
		kit_log(&v, "mux_close");
	kit_log(&v, "hup_server");
	kit_log(&v, "started");
	for (int i = 0; i < 3; i++) {
		ck_assert(kit_at_end(c[i]));
		close(c[i]);
	}
	kit_stop(&v);
}
END_TEST

/* With it they are kept by a child, until they end; new ones are the new program's.  AC-15. */
START_TEST(test_restart_keeps_clients)
{
	struct served v;
	int a, b, keeper;

	kit_start(&v, "--drain=60", NULL);
	a = kit_connect(&v);
	kit_line(a);
	ck_assert_int_eq(pid_of(a), v.pid);
	hup(&v);
	keeper = pid_of(a);
	ck_assert_int_ne(keeper, v.pid);
	b = kit_connect(&v);
	kit_line(b);
	ck_assert_int_eq(pid_of(b), v.pid);
	kit_say(b, "number\n");
	ck_assert_str_eq(kit_line(b), "1 of 1");
	kit_say(a, "quit\n");
	ck_assert(kit_at_end(a));
	close(a);
	while (kill(keeper, 0) == 0)		/* it ends, and is reaped by the new program */
		sched_yield();
	close(b);
	kit_stop(&v);
}
END_TEST

/* TERM after a restart ends the keeper as well. */
START_TEST(test_restart_term_ends_keeper)
{
	struct served v;
	int c;

	kit_start(&v, "--drain=60", NULL);
	c = kit_connect(&v);
	kit_line(c);
	hup(&v);
	kit_stop(&v);				/* reads the log to its end: nobody holds it open */
	ck_assert(kit_at_end(c));
	close(c);
}
END_TEST

/* Starts with workers, and waits until all serve. */
static void
start_workers(struct served *v, const char *processes, int count)
{
	kit_exec(v, (const char *const[]){ "--port=127.0.0.1:0", "--log_level=4", processes, NULL });
	v->port = atoi(kit_log(v, "listening on 127.0.0.1:"));
	kit_logs(v, "loop\n", count);
	kit_logs(v, "started", 1);
}

/* ---- a client connects all the time ---- */

static atomic_bool over;
static atomic_int refused, lost, served;
static int target;

static void *
connects(void *arg)
{
	(void)arg;
	while (!over) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)target) };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		char c;

		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		kit_bound(fd);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			refused++;
		else if (recv(fd, &c, 1, 0) == 1)
			served++;
		else
			lost++;
		close(fd);
	}
	return NULL;
}

/* No connect is refused, and the process keeps its size.  HZ-14; bench/server does it a hundred times. */
START_TEST(test_restart_never_refuses)
{
	pthread_t thread;
	struct served v;
	char path[64];
	int fds;

	if (_i == 1)
		start_workers(&v, "--processes=2", 2);
	else
		kit_start(&v, "--drain=1", NULL);
	target = v.port;
	over = false;
	refused = lost = served = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)v.pid);
	hup(&v);				/* this one closes what the test has left open to its child */
	fds = kit_count(path);
	ck_assert_int_eq(pthread_create(&thread, NULL, connects, NULL), 0);
	for (int i = 0; i < 10; i++) {
		int before = served;

		hup(&v);
		while (served == before)
			sched_yield();
	}
	over = true;
	pthread_join(thread, NULL);
	ck_assert_int_eq(refused, 0);
	ck_assert_int_eq(lost, 0);
	while (kit_count(path) > fds)		/* soon: the processes of before are going */
		sched_yield();
	kit_stop(&v);
}
END_TEST

/* ---- other answers to HUP ---- */

/* reload: options and rules are read again, clients stay; a wrong file changes nothing.  ignore: nothing.  NS-75. */
START_TEST(test_hup_reload)
{
	char option[128];
	struct served v;
	int a, b;

	kit_write_file(kit_path("conf"), "greeting one\nhup reload\n");
	snprintf(option, sizeof(option), "--conf_file=%s", kit_path("conf"));
	kit_start(&v, option, NULL);
	a = kit_connect(&v);
	ck_assert_str_eq(kit_line(a), "one");
	kit_write_file(kit_path("conf"), "greeting two\nhup reload\ncidr_deny 127.0.0.1\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "reload_hook: two");
	b = kit_connect(&v);
	ck_assert_str_eq(kit_line(b), "go away");
	close(b);
	kit_write_file(kit_path("conf"), "greeting three\nhup reload\ncidr_deny 127.0.0.1/77\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "conf:3:");
	kit_say(a, "greeting\n");
	ck_assert_str_eq(kit_line(a), "two");
	kit_write_file(kit_path("conf"), "greeting four\nhup reload\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "reload_hook: four");
	b = kit_connect(&v);
	ck_assert_str_eq(kit_line(b), "four");
	close(a);
	close(b);
	kit_stop(&v);
}
END_TEST

/* A reload may change how many clients may come, at once. */
START_TEST(test_hup_reload_max_clients)
{
	char option[128];
	struct served v;
	int a, b;

	kit_write_file(kit_path("conf"), "max_clients 1\nhup reload\n");
	snprintf(option, sizeof(option), "--conf_file=%s", kit_path("conf"));
	kit_start(&v, option, NULL);
	a = kit_connect(&v);
	kit_line(a);
	b = kit_connect(&v);			/* waits */
	kit_write_file(kit_path("conf"), _i == 0 ? "max_clients 2\nhup reload\n" : "hup reload\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	ck_assert_str_eq(kit_line(b), "hello");
	close(a);
	close(b);
	kit_stop(&v);
}
END_TEST

START_TEST(test_hup_ignore)
{
	struct served v;
	int c;

	kit_start(&v, "--hup=ignore", NULL);
	c = kit_connect(&v);
	kit_line(c);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
		ck_assert_int_eq(pid_of(c), v.pid);
	}
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(!kit_logged(&v, "trying") && !kit_logged(&v, "sig_hup"));
	kit_free(&v);
}
END_TEST

/* ---- several processes ---- */

/* The pid of the worker that was made last under this number. */
static int
worker_pid(struct served *v, int number)
{
	char text[32];
	int pid = 0;

	snprintf(text, sizeof(text), "worker %d is ", number);
	for (const char *at = v->log; (at = strstr(at, text)) != NULL; at++)
		pid = atoi(at + strlen(text));
	return pid;
}

/* Each worker serves, all on one port; one that dies is replaced, and what waits for it in the meantime is served. */
START_TEST(test_workers_serve_and_are_replaced)
{
	int seen = 0, first;
	struct served v;

	start_workers(&v, "--processes=2", 2);
	for (int i = 0; i < 400 && seen != 3; i++) {
		int c = kit_connect(&v), pid;

		kit_line(c);
		pid = pid_of(c);
		ck_assert(pid == worker_pid(&v, 0) || pid == worker_pid(&v, 1));
		seen |= pid == worker_pid(&v, 0) ? 1 : 2;
		close(c);
	}
	ck_assert_int_eq(seen, 3);
	first = worker_pid(&v, _i);
	ck_assert_int_eq(kill(first, SIGKILL), 0);
	for (int i = 0; i < 20; i++) {		/* some of them wait until it is replaced */
		int c = kit_connect(&v);

		ck_assert_str_eq(kit_line(c), "hello");
		close(c);
	}
	kit_logs(&v, "child_init_hook", 3);
	kit_logs(&v, "loop\n", 3);
	ck_assert_int_ne(worker_pid(&v, _i), first);
	kit_stop(&v);
}
END_TEST

/* Workers share a unix socket, which cannot be bound twice. */
START_TEST(test_workers_share_unix_socket)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char option[128];
	struct served v;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", kit_path("s"));
	snprintf(option, sizeof(option), "--port=%s", a.sun_path);
	kit_exec(&v, (const char *const[]){ option, "--log_level=4", "--processes=2", NULL });
	kit_logs(&v, "loop\n", 2);
	kit_logs(&v, "started", 1);
	ck_assert_int_eq(kill(worker_pid(&v, 0), SIGSTOP), 0);	/* then the other serves */
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		kit_bound(fd);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		ck_assert_str_eq(kit_line(fd), "hello");
		close(fd);
	}
	ck_assert_int_eq(kill(worker_pid(&v, 0), SIGCONT), 0);
	kit_stop(&v);
}
END_TEST

/* The workers' own hooks, and the end of all by one signal. */
START_TEST(test_workers_end)
{
	struct served v;

	start_workers(&v, "--processes=3", 3);
	ck_assert_int_eq(kill(v.pid, _i == 0 ? SIGTERM : SIGQUIT), 0);
	kit_logs(&v, "child_finish_hook", 3);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("server_restart");
	TCase *t = t_case(suite, "restart");

	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_restart_flow);
	tcase_add_loop_test(t, test_restart_new_configuration, 0, 3);
	tcase_add_loop_test(t, test_restart_overlapping_address, 0, 4);
	tcase_add_test(t, test_restart_unix_path_goes_at_the_end);
	tcase_add_loop_test(t, test_restart_broken_program, 0, 2);
	tcase_add_test(t, test_restart_busy_port);
	tcase_add_test(t, test_restart_becomes_a_stop);
	tcase_add_test(t, test_restart_closes_clients);
	tcase_add_test(t, test_restart_keeps_clients);
	tcase_add_test(t, test_restart_term_ends_keeper);
	tcase_add_loop_test(t, test_restart_never_refuses, 0, 2);

	t = t_case(suite, "hup");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_hup_reload);
	tcase_add_loop_test(t, test_hup_reload_max_clients, 0, 2);
	tcase_add_test(t, test_hup_ignore);

	t = t_case(suite, "workers");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_workers_serve_and_are_replaced, 0, 2);
	tcase_add_test(t, test_workers_share_unix_socket);
	tcase_add_loop_test(t, test_workers_end, 0, 2);
	return suite;
}
