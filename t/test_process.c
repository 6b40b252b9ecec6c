/* The life of a process: start, signals, stop, reload, pid file, background.  (t/process/served.c is the process.  Its
 * restart is in test_process_restart.c, its workers in test_process_workers.c.) */
#include "starve.h"
#include "test_process.h"

#include <sconce/process.h>

/* ---- starting ---- */

/* It serves, TERM ends it with 0, and the pid file is there meanwhile.  NS-74. */
START_TEST(test_run_until_term)
{
	struct served v;
	int c;

	process_start(&v, "--pid_file", kit_path("pid"), NULL);
	ck_assert_int_eq(pid_in_file(), v.pid);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	ck_assert_int_eq(ask_number(c, "worker"), -1);
	ck_assert_int_eq(ask_number(c, "restarted"), 0);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert(kit_at_end(c));
	kit_log(&v, "stop(now)");
	kit_log(&v, "guest closed");
	kit_log(&v, "ended: ");
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert_int_eq(pid_in_file(), -1);
	kit_free(&v);
	close(c);
}
END_TEST

/* Each ending signal ends an idle process promptly: nothing else wakes it.  NS-16, NS-74. */
START_TEST(test_run_signal_wakes_idle_process)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT };
	struct served v;

	process_start(&v, NULL);
	ck_assert_int_eq(kill(v.pid, signals[_i]), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert(kit_logged(&v, signals[_i] == SIGQUIT ? "stop(graceful)" : "stop(now)"));
	kit_free(&v);
}
END_TEST

/* A child of the program's own is its own to reap, even one that ends while others do.  NS-76. */
START_TEST(test_run_reaps_no_unknown_child)
{
	char line[32];
	struct served v;
	int c, pid;

	process_start(&v, "--hup=ignore", NULL);
	c = kit_connect(&v);
	pid = ask_number(c, "fork");
	ck_assert_int_gt(pid, 1);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	snprintf(line, sizeof(line), "reap %d", pid);
	ck_assert_int_eq(ask_number(c, line), pid);
	ck_assert_int_eq(ask_number(c, line), -1);
	close(c);
	kit_stop(&v);
}
END_TEST

/* PIPE is ignored, CHLD and what else is the program's is left alone.  NS-77. */
START_TEST(test_run_other_signals_left_alone)
{
	char path[64], line[256], *at;
	unsigned long long caught = 0, ignored = 0;
	struct served v;
	FILE *f;

	process_start(&v, NULL);
	snprintf(path, sizeof(path), "/proc/%ld/status", (long)v.pid);
	f = fopen(path, "r");
	while (fgets(line, sizeof(line), f) != NULL) {
		at = strchr(line, '\t');
		if (strncmp(line, "SigCgt", 6) == 0)
			caught = strtoull(at, NULL, 16);
		if (strncmp(line, "SigIgn", 6) == 0)
			ignored = strtoull(at, NULL, 16);
	}
	fclose(f);
#define BIT(signo) (1ull << ((signo) - 1))
	ck_assert((ignored & BIT(SIGPIPE)) != 0);
	ck_assert(((caught | ignored) & BIT(SIGCHLD)) == 0);
	ck_assert_uint_eq(caught & (BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGHUP) | BIT(SIGUSR1) | BIT(SIGUSR2) |
	    BIT(SIGALRM) | BIT(SIGTSTP) | BIT(SIGWINCH)), BIT(SIGTERM) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGHUP) | BIT(SIGUSR1));
#undef BIT
	kit_stop(&v);
}
END_TEST

/* Started by somebody who ignores CHLD it learns all the same how its children end: a trial that went well, workers that
 * ended well. */
START_TEST(test_run_child_signal_ignored_at_start)
{
	struct served v;

	signal(SIGCHLD, SIG_IGN);
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--log_level=4", _i == 0 ? "--processes=1" : "--processes=2",
		NULL }, NULL);
	signal(SIGCHLD, SIG_DFL);
	kit_log(&v, "started, pid ");
	if (_i == 0) {
		ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
		kit_log(&v, "started again, pid ");
	}
	kit_stop(&v);
}
END_TEST

/* QUIT lets clients end, for `drain` seconds at most; then they are cut off.  NS-74. */
START_TEST(test_quit_lets_clients_end)
{
	struct served v;
	int c;

	process_start(&v, "--drain", _i == 0 ? "15" : "0.1", NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "stop(graceful)");
	if (_i == 0) {
		ck_assert_int_eq(ask_number(c, "pid"), v.pid);
		close(c);
		kit_log(&v, "guest closed");
		kit_log(&v, "empty");
	} else {
		kit_log(&v, "stop(now)");
		ck_assert(kit_at_end(c));
		close(c);
	}
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* After QUIT another signal cuts the clients off. */
START_TEST(test_second_signal_after_quit_cuts_off)
{
	struct served v;
	int c;

	process_start(&v, "--drain=1000", NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "stop(graceful)");
	ck_assert_int_eq(kill(v.pid, _i == 0 ? SIGTERM : SIGQUIT), 0);
	kit_log(&v, "stop(now)");
	kit_log(&v, "guest closed");
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
	close(c);
}
END_TEST

/* After TERM another signal ends it at once, whatever it still has. */
START_TEST(test_second_signal_ends_at_once)
{
	struct served v;
	int c;

	process_start(&v, "--stubborn", "--pid_file", kit_path("pid"), NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	kit_log(&v, "stop(now)");
	ck_assert_int_eq(kill(v.pid, _i == 0 ? SIGTERM : SIGQUIT), 0);
	ck_assert_int_eq(kit_wait(&v), 1);
	ck_assert(kit_logged(&v, "ending at once"));
	ck_assert_int_eq(pid_in_file(), -1);
	kit_free(&v);
	close(c);
}
END_TEST

/* The program ends it itself: with a status, as a signal does, by stopping the loop, or with nothing left. */
START_TEST(test_run_ends_by_the_program)
{
	static const char *const lines[] = { "exit 7\n", "stop\n", "leave\n" };
	static const int statuses[] = { 7, 0, 0 };
	struct served v;
	int c;

	process_start(&v, NULL);
	c = kit_connect(&v);
	kit_say(c, lines[_i]);
	ck_assert_int_eq(kit_wait(&v), statuses[_i]);
	kit_free(&v);
	close(c);
}
END_TEST

/* Signals alone do not keep it: without a socket it ends (NS-16); without a stop hook TERM stops the loop. */
START_TEST(test_run_ends_with_nothing_left)
{
	const char *const args[] = { _i == 0 ? "--close_early" : "--idle", "--listen=127.0.0.1:0", NULL };
	struct served v;

	process_exec(&v, args, NULL);
	kit_log(&v, "started, pid ");
	if (_i == 1)
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* ---- HUP ---- */

/* It may be ignored.  NS-75. */
START_TEST(test_hup_ignore)
{
	struct served v;
	int c;

	process_start(&v, "--hup=ignore", NULL);
	c = kit_connect(&v);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	ck_assert_int_eq(ask_number(c, "restarted"), 0);
	close(c);
	kit_stop(&v);
	ck_assert_int_eq(v.pid, 0);
}
END_TEST

/* Or read the configuration again: clients stay.  NS-75. */
START_TEST(test_hup_reload)
{
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), "greeting one\n");
	process_start(&v, "--hup=reload", "--conf_file", kit_path("conf"), NULL);
	c = kit_connect(&v);
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "one");
	kit_write_file(kit_path("conf"), "greeting two\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "reloaded: two");
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "two");
	ck_assert_int_eq(ask_number(c, "restarted"), 0);
	close(c);
	kit_stop(&v);
}
END_TEST

/* ---- the log ---- */

/* A file that was renamed is left and made again at USR1; stderr goes where the log goes, stdin nowhere.  NS-47. */
START_TEST(test_usr1_opens_log_again)
{
	char log[128], old[128], *text;
	struct served v;
	int c;

	snprintf(log, sizeof(log), "%s", kit_path("log"));
	snprintf(old, sizeof(old), "%s", kit_path("log.old"));
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--log_file", log, NULL }, NULL);
	v.port = port_in_log(log);
	ck_assert_int_eq(standard_is(v.pid, 0, "/dev/null"), 1);
	ck_assert_int_eq(standard_is(v.pid, 2, log), 1);
	ck_assert_int_eq(rename(log, old), 0);
	ck_assert_int_eq(kill(v.pid, SIGUSR1), 0);
	text = await_file(log, "reopened by");
	free(text);
	ck_assert_int_eq(standard_is(v.pid, 2, log), 1);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	text = await_file(log, "ended: ");
	free(text);
	text = await_file(old, "started, pid");
	free(text);
	kit_free(&v);
}
END_TEST

/* ---- the background ---- */

/* The caller's status says that it runs, and its child has a session of its own; or that it failed, with the reason.
 * AC-17 (at process level). */
START_TEST(test_background_tells_caller)
{
	char log[128], pid_file[128];
	struct served v;
	pid_t pid;
	int c;

	snprintf(log, sizeof(log), "%s", kit_path("log"));
	snprintf(pid_file, sizeof(pid_file), "%s", kit_path("pid"));
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--setsid", "--log_file", log, "--pid_file", pid_file, NULL }, NULL);
	ck_assert_int_eq(kit_wait(&v), 0);
	pid = pid_in_file();
	ck_assert_int_gt(pid, 1);
	v.port = port_in_log(log);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), pid);
	ck_assert_int_eq(ask_number(c, "session"), pid);
	ck_assert_int_eq(standard_is(pid, 2, log), 1);
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	ck_assert(kit_at_end(c));
	close(c);
	free(await_file(log, "ended: "));
	kit_free(&v);
}
END_TEST

/* In the background nobody has the caller's stdin, stdout or stderr any more, workers neither: a pipe gets its end. */
START_TEST(test_background_lets_go_of_callers_files)
{
	char log[128], pid_file[128], *text;
	struct pollfd end;
	struct served v;
	pid_t pid;

	snprintf(log, sizeof(log), "%s", kit_path("log"));
	snprintf(pid_file, sizeof(pid_file), "%s", kit_path("pid"));
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--background", _i == 0 ? "--processes=1" : "--processes=2",
		"--log_file", log, "--pid_file", pid_file, NULL }, NULL);
	text = await_file(log, "started, pid ");
	pid = pid_in_file();
	ck_assert_int_gt(pid, 1);
	for (int worker = -1; worker < (_i == 0 ? 0 : 2); worker++) {
		char key[32];
		pid_t of = pid;

		if (worker >= 0) {
			snprintf(key, sizeof(key), "worker %d is ", worker);
			ck_assert_ptr_nonnull(strstr(text, key));
			of = (pid_t)atol(strstr(text, key) + strlen(key));
		}
		ck_assert_int_eq(standard_is(of, 0, "/dev/null"), 1);
		ck_assert_int_eq(standard_is(of, 1, "/dev/null"), 1);
		ck_assert_int_eq(standard_is(of, 2, log), 1);
	}
	free(text);
	ck_assert_int_eq(kit_wait(&v), 0);		/* once its stderr is nobody's */
	end = (struct pollfd){ .fd = v.out, .events = POLLIN };
	ck_assert_int_eq(poll(&end, 1, KIT_WAIT_MS), 1);
	ck_assert(end.revents == POLLHUP);
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	free(await_file(log, "ended: "));
	kit_free(&v);
}
END_TEST

/* A start that fails after the fork: a port that is taken, or the program's own reason. */
START_TEST(test_background_failure_is_callers_status)
{
	struct served v, first;
	char listen[64];

	process_start(&first, NULL);
	snprintf(listen, sizeof(listen), "--listen=127.0.0.1:%d", first.port);
	process_exec(&v, (const char *const[]){ listen, "--background", "--pid_file", kit_path("pid"), _i == 0 ? "--no-fail" : "--fail",
		NULL }, NULL);
	ck_assert_int_eq(kit_wait(&v), 1);
	ck_assert(kit_logged(&v, _i == 0 ? "Address already in use" : "told to fail"));
	ck_assert_int_eq(pid_in_file(), -1);
	kit_free(&v);
	kit_stop(&first);
}
END_TEST

/* ---- refusals ---- */

static const struct refused {
	const char *args[3];
	const char *text, *blames;	/* blames NULL: the configuration's own error */
} refused[] = {
	{ { "--hup=reboot" }, "is none of restart, reload, ignore", NULL },
	{ { "--umask=22" }, "octal", NULL },
	{ { "--umask=01000" }, "octal", NULL },
	{ { "--umask=09" }, "octal", NULL },
	{ { "--processes=-1" }, "processes", NULL },
	{ { "--processes=1025" }, "processes", NULL },
	{ { "--drain=-1" }, "drain", NULL },
	{ { "--log_level=loud" }, "whole number", NULL },
	{ { "--log_level=-1" }, "is no level", NULL },
	{ { "--user=no-such-user-here" }, "no-such-user-here", "user" },
	{ { "--group=no-such-group-here" }, "no-such-group-here", "group" },
	{ { "--chroot=/no/such/directory" }, "/no/such/directory", "chroot" },
	{ { "--chroot=/dev/null" }, "Not a directory", "chroot" },
	{ { "--log_file=/tmp" }, "Is a directory", "log_file" },
	{ { "--log_file=/no/such/directory/log" }, "/no/such/directory/log", "log_file" },
	{ { "--pid_file=/no/such/directory/pid" }, "/no/such/directory/pid", "pid_file" },
};

/* What is wrong is said, with the option's name, and nothing is left behind; a trial says the same, and does nothing. */
START_TEST(test_start_wrong_options_refused)
{
	const struct refused *r = &refused[_i / 2];
	const char *args[] = { "--listen=127.0.0.1:0", r->args[0], NULL };
	char blames[64];
	struct served v;

	process_exec(&v, args, _i % 2 == 1 ? "SCONCE_TRIAL=1" : NULL);
	ck_assert_int_ne(kit_wait(&v), 0);
	ck_assert_msg(kit_logged(&v, r->text), "it said: %s", v.log);
	snprintf(blames, sizeof(blames), "blames %s\n", r->blames != NULL ? r->blames : "");
	ck_assert_msg(kit_logged(&v, blames) == (r->blames != NULL), "it said: %s", v.log);
	ck_assert(!kit_logged(&v, "bound"));
	kit_free(&v);
}
END_TEST

/* Levels above the greatest are the greatest; the pid file of a process that lives is refused. NS-9 */
START_TEST(test_start_pid_file_of_living_refused)
{
	char number[32];
	struct served v, w;

	process_start(&v, "--pid_file", kit_path("pid"), "--log_level=99", NULL);
	process_exec(&w, (const char *const[]){ "--listen=127.0.0.1:0", "--pid_file", kit_path("pid"), NULL }, NULL);
	ck_assert_int_eq(kit_wait(&w), 2);
	snprintf(number, sizeof(number), "%ld", (long)v.pid);
	ck_assert_msg(kit_logged(&w, number), "it said: %s", w.log);
	ck_assert(kit_logged(&w, "blames pid_file"));
	ck_assert_int_eq(pid_in_file(), v.pid);
	kit_free(&w);
	kit_stop(&v);
	ck_assert_int_eq(pid_in_file(), -1);
}
END_TEST

/* A trial that is well makes no log, no pid file, no process, and binds nothing; one for a pid file that somebody else than
 * who tries it holds is not well. */
START_TEST(test_start_trial_does_nothing)
{
	struct served v, w;
	char listen[64];
	int before;

	process_start(&v, "--pid_file", kit_path("pid"), NULL);
	snprintf(listen, sizeof(listen), "--listen=127.0.0.1:%d", v.port);
	before = kit_count(kit_dir);
	process_exec(&w, (const char *const[]){ listen, "--pid_file", kit_path("pid2"), "--log_file", kit_path("log"), "--background",
		"--umask=077", NULL }, "SCONCE_TRIAL=1");
	ck_assert_int_eq(kit_wait(&w), 0);
	ck_assert_str_eq(w.log, "");
	kit_free(&w);
	process_exec(&w, (const char *const[]){ listen, "--pid_file", kit_path("pid"), NULL }, "SCONCE_TRIAL=1");
	ck_assert_int_eq(kit_wait(&w), 2);
	ck_assert_int_eq(kit_count(kit_dir), before);
	ck_assert_int_eq(pid_in_file(), v.pid);
	kit_free(&w);
	kit_stop(&v);
}
END_TEST

/* Standard fds that are closed are opened, so that no socket becomes one.  HZ-14. */
START_TEST(test_start_closed_standard_fds_opened)
{
	char command[1024];
	struct served v;
	char log[128];
	const char *const args[] = { "-c", command, NULL };
	int c;

	snprintf(log, sizeof(log), "%s", kit_path("log"));
	snprintf(command, sizeof(command), "exec '%s' --listen=127.0.0.1:0 --log_file='%s' <&- >&- 2>&-", served_path(), log);
	kit_exec_program(&v, "/bin/sh", args);
	v.port = port_in_log(log);
	ck_assert_int_eq(standard_is(v.pid, 0, "/dev/null"), 1);
	ck_assert_int_eq(standard_is(v.pid, 1, "/dev/null"), 1);
	ck_assert_int_eq(standard_is(v.pid, 2, log), 1);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* The umask is set; files are given away and the user becomes another one (as root alone). */
START_TEST(test_start_user_and_umask)
{
	char option[160], log[128];
	struct stat st;
	struct served v;
	int c;

	if (geteuid() != 0) {
		printf("skip test_start_user_and_umask: not root\n");
		return;
	}
	snprintf(log, sizeof(log), "%s", kit_path("log"));
	ck_assert_int_eq(chmod(kit_dir, 0755), 0);
	kit_write_file(kit_path("data"), "");
	snprintf(option, sizeof(option), "--chown_files=%s", kit_path("data"));
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--user=12345", "--group=23456", "--log_file", log, option,
		"--pid_file", kit_path("pid"), NULL }, NULL);
	v.port = port_in_log(log);
	ck_assert_int_eq(stat(log, &st), 0);
	ck_assert_uint_eq(st.st_uid, 12345);
	ck_assert_int_eq(stat(kit_path("data"), &st), 0);
	ck_assert(st.st_uid == 12345 && st.st_gid == 23456);
	ck_assert_int_eq(stat(kit_path("pid"), &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);	/* it is root who kills by it */
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

/* ---- without memory ---- */

static int
refuse(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)l;
	(void)fd;
	(void)peer;
	return -ECONNABORTED;
}

/* Whichever allocation fails, of the beginning or of a listener that is to be kept: told, and nothing is lost.  HZ-22. */
START_TEST(test_new_and_keep_no_memory_reported)
{
	static const struct sconce_process_ops ops = { .name = "test" };
	static const struct sconce_listener_ops port_ops = { .name = "port", .accept = refuse };
	char *argv[] = { (char[]){ "/bin/true" }, NULL };
	struct sconce_process *p = NULL;
	struct sconce_listener l;
	struct sconce_loop *loop;
	struct sconce_endpoint ep;
	int r = -ENOMEM, failed = 0;

	for (long n = 1; r != 0 && n < 100; n++) {
		starve_left = STARVE_WORKS ? n : 0;
		r = sconce_process_new(&ops, NULL, 1, argv, &p);
		starve_left = 0;
		ck_assert(r == 0 || r == -ENOMEM);
		failed += r != 0;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_ptr_null(sconce_process_log(p));
	ck_assert_ptr_nonnull(sconce_process_program(p));
	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	ck_assert_int_eq(sconce_listen(&l, loop, &port_ops, "127.0.0.1:0", NULL), 0);
	ck_assert_int_eq(sconce_endpoint_parse("127.0.0.1:0", SCONCE_ENDPOINT_LISTEN, NULL, &ep, NULL), 1);
	ck_assert_int_eq(sconce_process_inherited(p, &ep), -1);
	ck_assert_int_eq(sconce_process_inherited_any(p), -1);
	r = -ENOMEM;
	for (long n = 1; r != 0 && n < 100; n++) {
		starve_left = STARVE_WORKS ? n : 0;
		r = sconce_process_keep(p, &l.sock, &ep);
		starve_left = 0;
		ck_assert(r == 0 || r == -ENOMEM);
		failed += r != 0;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(failed > 6, STARVE_WORKS);
	ck_assert_int_eq(failed, starve_failed);
	sconce_process_go_on(p);		/* there is no restart: nothing happens */
	ck_assert(!sconce_process_stopping(p));
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	sconce_process_free(p);
	sconce_process_free(NULL);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("process");
	TCase *t;

	t = t_case(suite, "run");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_run_until_term);
	tcase_add_loop_test(t, test_run_signal_wakes_idle_process, 0, 3);
	tcase_add_test(t, test_run_reaps_no_unknown_child);
	tcase_add_test(t, test_run_other_signals_left_alone);
	tcase_add_loop_test(t, test_run_child_signal_ignored_at_start, 0, 2);
	tcase_add_loop_test(t, test_quit_lets_clients_end, 0, 2);
	tcase_add_loop_test(t, test_second_signal_after_quit_cuts_off, 0, 2);
	tcase_add_loop_test(t, test_second_signal_ends_at_once, 0, 2);
	tcase_add_loop_test(t, test_run_ends_by_the_program, 0, 3);
	tcase_add_loop_test(t, test_run_ends_with_nothing_left, 0, 2);
	tcase_add_test(t, test_hup_ignore);
	tcase_add_test(t, test_hup_reload);
	tcase_add_test(t, test_usr1_opens_log_again);

	t = t_case(suite, "start");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_background_tells_caller);
	tcase_add_loop_test(t, test_background_lets_go_of_callers_files, 0, 2);
	tcase_add_loop_test(t, test_background_failure_is_callers_status, 0, 2);
	tcase_add_loop_test(t, test_start_wrong_options_refused, 0, 2 * (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, test_start_pid_file_of_living_refused);
	tcase_add_test(t, test_start_trial_does_nothing);
	tcase_add_test(t, test_start_closed_standard_fds_opened);
	tcase_add_test(t, test_start_user_and_umask);
	tcase_add_test(t, test_new_and_keep_no_memory_reported);
	return suite;
}
