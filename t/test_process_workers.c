/* Several processes: the master and its workers. */
#include "test_process.h"


enum { WORKERS = 3 };

static pid_t
worker_pid(struct served *v, unsigned number)
{
	char key[32];

	snprintf(key, sizeof(key), "worker %u is ", number);
	return (pid_t)atol(kit_log(v, key));
}

/* Starts that many, which tell their pids in any order. */
static void
start_workers(struct served *v, pid_t pids[WORKERS], const char *option, const char *value)
{
	char processes[32];
	size_t seen;

	snprintf(processes, sizeof(processes), "--processes=%d", WORKERS);
	process_start(v, processes, option, value, NULL);
	seen = v->seen;
	for (unsigned i = 0; i < WORKERS; i++) {
		char key[32], *at;

		snprintf(key, sizeof(key), "worker %u is ", i);
		while ((at = strstr(v->log, key)) == NULL || strchr(at, '\n') == NULL)
			ck_assert(kit_read_log(v));
		pids[i] = (pid_t)atol(at + strlen(key));
	}
	v->seen = v->len > seen ? v->len : seen;
}

static bool
lives(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* All serve, on the one socket; TERM and INT end them all, with 0. */
START_TEST(test_workers_serve_and_end)
{
	struct served v;
	pid_t pids[WORKERS];
	int c;

	start_workers(&v, pids, "--pid_file", kit_path("pid"));
	c = kit_connect(&v);
	ck_assert_int_ge(ask_number(c, "worker"), 0);
	ck_assert_int_eq(ask_number(c, "parent"), v.pid);
	ck_assert_int_eq(ask_number(c, "restart"), -EOPNOTSUPP);
	ck_assert_int_eq(pid_in_file(), v.pid);
	ck_assert_int_eq(kill(v.pid, _i == 0 ? SIGTERM : SIGINT), 0);
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert_int_eq(kit_wait(&v), 0);
	for (int i = 0; i < WORKERS; i++)
		ck_assert(!lives(pids[i]));
	ck_assert_int_eq(pid_in_file(), -1);
	kit_free(&v);
}
END_TEST

/* QUIT lets the workers' clients end. */
START_TEST(test_workers_quit_lets_clients_end)
{
	struct served v;
	pid_t pids[WORKERS], mine;
	int c;

	start_workers(&v, pids, "--drain", "15");
	c = kit_connect(&v);
	mine = ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	for (int i = 0; i < WORKERS; i++)
		kit_log(&v, "stop(graceful)");
	ck_assert_int_eq(ask_number(c, "pid"), mine);
	close(c);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* One that dies is made again, and that is logged; its status says how. */
START_TEST(test_workers_dead_one_is_made_again)
{
	struct served v;
	pid_t pids[WORKERS], pid;

	start_workers(&v, pids, NULL, NULL);
	ck_assert_int_eq(kill(pids[1], SIGKILL), 0);
	kit_log(&v, "worker 1, pid ");
	kit_log(&v, "was ended by signal 9");
	pid = worker_pid(&v, 1);
	ck_assert_int_ne(pid, pids[1]);
	ck_assert(lives(pid) && lives(pids[0]) && lives(pids[2]));
	ck_assert_int_eq(kill(pid, SIGTERM), 0);		/* one alone is told to end: it is made again, too */
	kit_log(&v, "has ended with status 0");
	ck_assert_int_ne(worker_pid(&v, 1), pid);
	kit_stop(&v);
}
END_TEST

/* When one of them cannot start at the beginning nothing does, and the exit status says so, in the background too. */
START_TEST(test_workers_bad_start_is_told)
{
	struct served v;

	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--processes=2", "--bad_worker",
	    _i == 1 ? "--background" : NULL, NULL }, NULL);
	ck_assert_int_eq(kit_wait(&v), 1);
	ck_assert_msg(kit_logged(&v, "worker 1 cannot start: ") || _i == 1, "its log:\n%s", v.log);
	kit_free(&v);
}
END_TEST

/* One that does not live is made again after 0.1, 0.2, 0.4 s; the others serve meanwhile. */
START_TEST(test_workers_bad_one_is_not_made_all_the_time)
{
	struct served v;
	double began;
	int c;

	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--processes=2", "--dying_worker", NULL }, NULL);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "worker 1 is ");
	began = t_seconds();
	for (int i = 0; i < 3; i++) {
		kit_log(&v, "has ended with status 1");
		kit_log(&v, "worker 1 is ");
	}
	ck_assert(t_seconds() - began >= 0.65);
	kit_log(&v, "has ended with status 1");		/* and the next one is not due for 0.8 s */
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "worker"), 0);
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* The worst status of a worker's end is the master's. */
START_TEST(test_workers_worst_status_is_the_masters)
{
	struct served v;
	pid_t pids[WORKERS], mine;
	int c;

	start_workers(&v, pids, "--drain", "15");
	c = kit_connect(&v);
	mine = ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	for (int i = 0; i < WORKERS; i++)
		kit_log(&v, "stop(graceful)");
	if (_i == 0)
		kit_say(c, "exit 9\n");
	else
		ck_assert_int_eq(kill(mine, SIGKILL), 0);
	ck_assert_int_eq(kit_wait(&v), _i == 0 ? 9 : 128 + SIGKILL);
	kit_free(&v);
	close(c);
}
END_TEST

/* A second signal cuts all workers' clients off, a third one ends workers that will not end. */
START_TEST(test_workers_second_signal_ends_all)
{
	struct served v;
	pid_t pids[WORKERS];
	int c;

	start_workers(&v, pids, "--drain=1000", _i == 0 ? "--no-stubborn" : "--stubborn");
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "stop(graceful)");
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	if (_i == 1) {
		kit_log(&v, "stop(now)");
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	}
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert_int_eq(kit_wait(&v), _i);
	kit_free(&v);
}
END_TEST

/* A worker that takes no signal, here as it is stopped, is killed when its time is over.  (At USR1 a minute
 * passes; the second one wakes it.) */
START_TEST(test_workers_stopped_one_is_killed)
{
	struct served v;
	pid_t pids[WORKERS];

	start_workers(&v, pids, "--skip", NULL);
	ck_assert_int_eq(kill(pids[1], SIGSTOP), 0);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	kit_log(&v, "stop(now)");
	kit_log(&v, "stop(now)");
	ck_assert(lives(pids[1]));
	ck_assert_int_eq(kill(v.pid, SIGUSR1), 0);
	kit_log(&v, "reopened by");
	ck_assert_int_eq(kill(v.pid, SIGUSR1), 0);
	kit_log(&v, "workers do not end: killing them");
	ck_assert_int_eq(kit_wait(&v), 128 + SIGKILL);
	ck_assert(!lives(pids[1]));
	kit_free(&v);
}
END_TEST

/* What the program has printed before is written once, and not by each worker. */
START_TEST(test_workers_printed_text_is_written_once)
{
	struct served v;
	pid_t pids[WORKERS];

	start_workers(&v, pids, "--print", NULL);
	kit_ends_printed(&v, "printed\n");
	kit_free(&v);
}
END_TEST

/* When the master is killed its workers end: their stderr, which is ours to read, ends. */
START_TEST(test_workers_end_with_their_master)
{
	struct served v;
	pid_t pids[WORKERS];

	start_workers(&v, pids, NULL, NULL);
	ck_assert_int_eq(kill(v.pid, SIGKILL), 0);
	for (int i = 0; i < WORKERS; i++)
		kit_log(&v, "stop(now)");
	ck_assert_int_eq(kit_wait(&v), -SIGKILL);
	kit_free(&v);
}
END_TEST

/* USR1 and, with hup=reload, HUP reach them. */
START_TEST(test_workers_are_told)
{
	char expected[64];
	struct served v;
	pid_t pids[WORKERS];
	int c;

	kit_write_file(kit_path("conf"), "greeting one\nhup reload\n");
	start_workers(&v, pids, "--conf_file", kit_path("conf"));
	ck_assert_int_eq(kill(v.pid, SIGUSR1), 0);
	for (int i = 0; i < WORKERS + 1; i++)
		kit_log(&v, "reopened by");
	snprintf(expected, sizeof(expected), "reopened by %ld", (long)pids[WORKERS - 1]);
	ck_assert(kit_logged(&v, expected));
	kit_write_file(kit_path("conf"), "greeting two\nhup reload\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	for (int i = 0; i < WORKERS + 1; i++)
		kit_log(&v, "reloaded: two");
	c = kit_connect(&v);
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "two");
	close(c);
	ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
	worker_pid(&v, 0);				/* a new one knows it, too */
	kit_stop(&v);
}
END_TEST

/* A restart: new workers on the same socket, in the same master; the old ones end once their clients have gone, and are
 * reaped.  AC-14, AC-15. */
START_TEST(test_workers_restart)
{
	struct served v;
	pid_t pids[WORKERS], mine;
	int old, new;

	start_workers(&v, pids, "--drain", "15");
	old = kit_connect(&v);
	mine = ask_number(old, "pid");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "restart(draining)");
	ck_assert_int_eq(atoi(kit_log(&v, "inherited 127.0.0.1:")), v.port);
	for (int i = 0; i < WORKERS - 1; i++)
		kit_log(&v, "has ended");
	ck_assert_int_eq(ask_number(old, "pid"), mine);
	new = kit_connect(&v);
	ck_assert_int_ne(ask_number(new, "pid"), mine);
	ck_assert_int_eq(ask_number(new, "parent"), v.pid);
	ck_assert_int_eq(ask_number(old, "parent"), v.pid);
	for (int i = 0; i < WORKERS; i++)
		ck_assert_int_ne(ask_number(new, "pid"), pids[i]);
	close(old);
	kit_log(&v, "has ended");
	ck_assert(!lives(mine));
	close(new);
	kit_stop(&v);
}
END_TEST

/* One that fails leaves the workers alone. */
START_TEST(test_workers_restart_broken)
{
	struct served v;
	pid_t pids[WORKERS];
	int c;

	kit_write_file(kit_path("conf"), "");
	start_workers(&v, pids, "--conf_file", kit_path("conf"));
	kit_write_file(kit_path("conf"), "nonsense\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "not restarted: ");
	for (int i = 0; i < WORKERS; i++)
		ck_assert(lives(pids[i]));
	c = kit_connect(&v);
	ck_assert_int_ge(ask_number(c, "worker"), 0);
	close(c);
	kit_stop(&v);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("process_workers");
	TCase *t = t_case(suite, "workers");

	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_workers_serve_and_end, 0, 2);
	tcase_add_test(t, test_workers_quit_lets_clients_end);
	tcase_add_test(t, test_workers_dead_one_is_made_again);
	tcase_add_loop_test(t, test_workers_bad_start_is_told, 0, 2);
	tcase_add_test(t, test_workers_bad_one_is_not_made_all_the_time);
	tcase_add_loop_test(t, test_workers_worst_status_is_the_masters, 0, 2);
	tcase_add_loop_test(t, test_workers_second_signal_ends_all, 0, 2);
	tcase_add_test(t, test_workers_stopped_one_is_killed);
	tcase_add_test(t, test_workers_printed_text_is_written_once);
	tcase_add_test(t, test_workers_end_with_their_master);
	tcase_add_test(t, test_workers_are_told);
	tcase_add_test(t, test_workers_restart);
	tcase_add_test(t, test_workers_restart_broken);
	return suite;
}
