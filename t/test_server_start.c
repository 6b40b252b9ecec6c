/* How a server starts, and does not: options and their errors, pid files, the background, who it becomes. */
#include "test_server.h"

#include <grp.h>
#include <pwd.h>
#include <sched.h>

/* Runs it with arguments up to a NULL, which must end by itself; returns its status.  Its messages are in v->log. */
static int
run(struct served *v, ...)
{
	const char *args[KIT_ARGS];
	unsigned n = 0;
	va_list ap;

	va_start(ap, v);
	while (n < KIT_ARGS - 1 && (args[n] = va_arg(ap, const char *)) != NULL)
		n++;
	args[n] = NULL;
	va_end(ap);
	kit_exec(v, args);
	return kit_wait(v);
}

/* As text that lasts until the next but three. */
static const char *
option(const char *name, const char *value)
{
	static char text[4][300];
	static unsigned turn;
	char *t = text[turn++ % 4];

	snprintf(t, sizeof(text[0]), "--%s=%s", name, value);
	return t;
}

/* ---- options ---- */

/* A wrong command line is status 2, a wrong file 1; each error has its place, and all are told at once.  AC-12. */
START_TEST(test_start_wrong_options)
{
	static const struct {
		const char *arg, *says;
		int status;
	} cases[] = {
		{ "--no_such_option=1", "no_such_option", 2 },
		{ "--user", "user", 2 },
		{ "--cidr_allow=1.2.3.4/99", "cidr_allow", 1 },
		{ "--allow=(", "allow", 1 },
		{ "--port=localhost:99999", "port", 1 },
		{ "--port=localhost:443/ssl", "ssl", 1 },
		{ "--log_level=loud", "log_level", 1 },
		{ "--user=no-such-user-here", "no-such-user-here", 1 },
		{ "--group=no-such-group-here", "no-such-group-here", 1 },
		{ "--hup=perhaps", "hup", 1 },
		{ "--reverse_lookups=yes", "reverse_lookups", 1 },
		{ "--processes=-1", "processes", 1 },
		{ "--conf_file=/no/such/file", "/no/such/file", 1 },
		{ "--chroot=/no/such/directory", "/no/such/directory", 1 },
		{ "--chown_files=/no/such/file", "chown_files", 1 },
		{ "--port=no-such-service", "port: there is no service", 1 },
		{ "-port=7", "begin with --", 2 },
		{ "-h", "--help", 2 },
	};
	struct served v;

	ck_assert_int_eq(run(&v, "--port=127.0.0.1:0", cases[_i].arg, NULL), cases[_i].status);
	ck_assert_msg(kit_logged(&v, cases[_i].says), "%s: %s", cases[_i].arg, v.log);
	kit_free(&v);
}
END_TEST

/* What goes with the ports is looked at though none is said. */
START_TEST(test_start_wrong_without_port)
{
	static const char *const args[] = { "--proto=sctp", "--proto=ssl", "--ipv=5" };
	struct served v;

	ck_assert_int_eq(run(&v, args[_i], NULL), 1);
	ck_assert_msg(v.len > 0 && !kit_logged(&v, "started"), "%s", v.log);
	kit_free(&v);
}
END_TEST

/* What would end a restarted server is for the command line only. */
START_TEST(test_start_check_in_a_file)
{
	static const char *const texts[] = { "check\n", "help yes\n", "conf_file /etc/passwd\n" };
	struct served v;

	for (int i = 0; i < 3; i++) {
		kit_write_file(kit_path("conf"), texts[i]);
		ck_assert_int_eq(run(&v, "--port=127.0.0.1:0", option("conf_file", kit_path("conf")), NULL), 1);
		ck_assert_msg(kit_logged(&v, "conf:1:") && kit_logged(&v, "command line only"), "%s", v.log);
		kit_free(&v);
	}
}
END_TEST

/* In a file the line is told. */
START_TEST(test_start_wrong_file)
{
	struct served v;

	kit_write_file(kit_path("conf"), "# a comment\nport 127.0.0.1:0\n\ngreting hello\ncidr_deny 1.2.3/8\nuser no-such-user-here\n");
	ck_assert_int_eq(run(&v, option("conf_file", kit_path("conf")), NULL), 1);
	ck_assert_msg(kit_logged(&v, "conf:4:1: ") && kit_logged(&v, "'greeting'"), "%s", v.log);
	ck_assert(kit_logged(&v, "conf:5:"));
	kit_free(&v);
	kit_write_file(kit_path("conf"), "port 127.0.0.1:0\nuser no-such-user-here\n");
	ck_assert_int_eq(run(&v, option("conf_file", kit_path("conf")), NULL), 1);
	ck_assert_msg(kit_logged(&v, "conf:2:"), "%s", v.log);
	kit_free(&v);
}
END_TEST

/* Precedence, as one sees it from outside: the command line over the file.  --check looks, and does nothing else. */
/* NS-4, NS-8, NS-45. */
START_TEST(test_start_precedence_and_check)
{
	char line[64] = "";
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), "greeting from the file\nlog_level 0\n");
	ck_assert_int_eq(run(&v, option("conf_file", kit_path("conf")), "--check", option("pid_file", kit_path("pid")), NULL), 0);
	ck_assert_int_gt(read(v.out, line, sizeof(line) - 1), 0);
	ck_assert_ptr_nonnull(strstr(line, "good"));
	ck_assert_int_eq(access(kit_path("pid"), F_OK), -1);
	kit_free(&v);
	kit_start(&v, option("conf_file", kit_path("conf")), NULL);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "from the file");
	close(c);
	kit_stop(&v);
	kit_start(&v, option("conf_file", kit_path("conf")), "--greeting=from the line", NULL);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "from the line");
	close(c);
	kit_stop(&v);
}
END_TEST

/* --help lists the server's options, the process's and the program's own. */
START_TEST(test_start_help)
{
	char text[16384] = "";
	size_t len = 0;
	struct served v;
	ssize_t n;

	ck_assert_int_eq(run(&v, "--help", NULL), 0);
	while (len < sizeof(text) - 1 && (n = read(v.out, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	ck_assert(strstr(text, "--greeting=TEXT") && strstr(text, "--pid_file=") && strstr(text, "--cidr_allow="));
	ck_assert_str_eq(v.log, "");
	kit_free(&v);
}
END_TEST

/* Several ports, with hosts and protocols beside them; one that is said twice is opened once; without any it is 20203, */
/* which is told.  NS-23. */
START_TEST(test_start_ports)
{
	struct served v;

	kit_exec(&v, (const char *const[]){ "--port=0", "--port=0", "--host=127.0.0.1", "--host=127.0.0.2", "--proto=tcp",
	    "--proto=udp", NULL });
	kit_log(&v, "listening on 127.0.0.1:");
	kit_log(&v, "listening on 127.0.0.2:");
	kit_log(&v, "started");
	kit_stop(&v);
	kit_exec(&v, (const char *const[]){ "--port=127.0.0.1:0", option("port", kit_path("s")), option("port", kit_path("s")), NULL });
	kit_log(&v, "is there already");
	kit_log(&v, "started");
	kit_stop(&v);
	kit_exec(&v, (const char *const[]){ "--host=127.0.0.1", NULL });
	kit_log(&v, "20203");
	kill(v.pid, SIGTERM);			/* it may have been taken */
	kit_wait(&v);
	kit_free(&v);
}
END_TEST

/* ---- the process ---- */

static int
pid_in(const char *path)
{
	FILE *f = fopen(path, "r");
	int pid = 0;

	if (f != NULL) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	return pid;
}

/* The pid file: empty and stale ones are replaced, one that is held or no pid file is not, and ours goes at the end. */
/* AC-16, NS-51. */
START_TEST(test_start_pid_file)
{
	const char *path = kit_path("pid");
	struct served v, other;

	if (_i == 1)
		kit_write_file(path, "");
	if (_i == 2)
		kit_write_file(path, "999999\n");	/* nobody's */
	if (_i == 3) {
		kit_write_file(path, "root:x:0:0\n");
		ck_assert_int_eq(run(&v, "--port=127.0.0.1:0", option("pid_file", path), NULL), 1);
		ck_assert(kit_logged(&v, path));
		ck_assert_int_eq(access(path, F_OK), 0);
		kit_free(&v);
		return;
	}
	kit_start(&v, option("pid_file", path), NULL);
	ck_assert_int_eq(pid_in(path), v.pid);
	ck_assert_int_eq(run(&other, "--port=127.0.0.1:0", option("pid_file", path), NULL), 1);
	ck_assert(kit_logged(&other, path));
	kit_free(&other);
	ck_assert_int_eq(pid_in(path), v.pid);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);	/* it is its own afterwards */
	kit_log(&v, "hup_server");
	kit_log(&v, "started");
	ck_assert_int_eq(pid_in(path), v.pid);
	kit_stop(&v);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* In the background: whoever starts it learns whether it serves, by the exit status; a busy port is such a failure. */
/* AC-17, NS-52. */
START_TEST(test_start_background)
{
	struct served v, busy;
	char port[32];
	int c, pid, status;

	kit_exec(&v, (const char *const[]){ "--port=127.0.0.1:0", "--log_level=4", _i == 0 ? "--background" : "--setsid",
	    option("pid_file", kit_path("pid")), option("log_file", kit_path("log")), NULL });
	ck_assert_int_eq(waitpid(v.pid, &status, 0), v.pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	pid = pid_in(kit_path("pid"));
	ck_assert_int_gt(pid, 0);
	ck_assert_int_ne(pid, v.pid);
	ck_assert_int_eq(getsid(pid) == pid, _i == 1);
	close(v.err);
	v.err = open(kit_path("log"), O_RDONLY | O_CLOEXEC);
	v.port = atoi(kit_log(&v, "listening on 127.0.0.1:"));
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	snprintf(port, sizeof(port), "127.0.0.1:%d", v.port);
	ck_assert_int_eq(run(&busy, option("port", port), "--background", NULL), 1);
	ck_assert_msg(kit_logged(&busy, "in use"), "%s", busy.log);
	kit_free(&busy);
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	ck_assert(kit_at_end(c));
	close(c);
	while (access(kit_path("pid"), F_OK) == 0)
		sched_yield();
	kit_free(&v);
}
END_TEST

/* USR1: the log, which has been moved away, is begun anew.  NS-47. */
START_TEST(test_start_log_is_reopened)
{
	struct served v;
	char text[64] = "";
	int c, fd;

	kit_exec(&v, (const char *const[]){ "--port=127.0.0.1:0", "--log_level=4", option("log_file", kit_path("log")), NULL });
	while (access(kit_path("log"), F_OK) != 0)
		sched_yield();
	close(v.err);
	v.err = open(kit_path("log"), O_RDONLY | O_CLOEXEC);
	while (strstr(v.log, "started") == NULL)
		kit_read_log(&v);
	v.port = atoi(strstr(v.log, "127.0.0.1:") + 10);
	ck_assert_int_eq(rename(kit_path("log"), kit_path("log.1")), 0);
	ck_assert_int_eq(kill(v.pid, SIGUSR1), 0);
	while ((fd = open(kit_path("log"), O_RDONLY | O_CLOEXEC)) < 0)
		sched_yield();
	c = kit_connect(&v);
	kit_line(c);
	while (read(fd, text, sizeof(text) - 1) <= 0)
		sched_yield();
	close(fd);
	close(c);
	kit_stop(&v);
}
END_TEST

/* As root: it becomes another, and everything that is its own goes with it; a restart keeps the listener.  NS-53 to NS-55. */
START_TEST(test_start_drops_privileges)
{
	struct passwd *nobody = getpwnam("nobody");
	char path[64], line[256];
	long uid = -1, gid = -1, groups = -1;
	struct stat st;
	struct served v;
	FILE *f;
	int c;

	if (getuid() != 0 || nobody == NULL)
		return;				/* only root can become another */
	ck_assert_int_eq(chmod(kit_dir, 0777), 0);
	kit_start(&v, "--user=nobody", "--group=nogroup", option("pid_file", kit_path("pid")),
	    option("port", kit_path("s")), NULL);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)v.pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		sscanf(line, "Uid: %ld", &uid);
		sscanf(line, "Gid: %ld", &gid);
		if (strncmp(line, "Groups:", 7) == 0)
			groups = atol(line + 7);
	}
	fclose(f);
	ck_assert_int_eq(uid, nobody->pw_uid);
	ck_assert_int_eq(gid, nobody->pw_gid);
	ck_assert_int_eq(groups, gid);		/* none of root's */
	ck_assert(stat(kit_path("pid"), &st) == 0 && st.st_uid == 0);	/* it is root who kills by it */
	ck_assert(stat(kit_path("s"), &st) == 0 && st.st_uid == nobody->pw_uid);
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	close(c);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "hup_server");
	kit_log(&v, "started");
	c = kit_connect(&v);
	ck_assert_str_eq(kit_line(c), "hello");
	close(c);
	kit_stop(&v);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("server_start");
	TCase *t = t_case(suite, "options");

	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_start_wrong_options, 0, 18);
	tcase_add_loop_test(t, test_start_wrong_without_port, 0, 3);
	tcase_add_test(t, test_start_check_in_a_file);
	tcase_add_test(t, test_start_wrong_file);
	tcase_add_test(t, test_start_precedence_and_check);
	tcase_add_test(t, test_start_help);
	tcase_add_test(t, test_start_ports);

	t = t_case(suite, "process");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_start_pid_file, 0, 4);
	tcase_add_loop_test(t, test_start_background, 0, 2);
	tcase_add_test(t, test_start_log_is_reopened);
	tcase_add_test(t, test_start_drops_privileges);
	return suite;
}
