/* The restart of a process: the trial, the listeners, the clients that stay or go, children, failures. */
#include "test_process.h"

#include <pthread.h>
#include <stdatomic.h>

#include <sconce/daemon.h>

static void
hup(struct served *v)
{
	ck_assert_int_eq(kill(v->pid, SIGHUP), 0);
	kit_log(v, "served: restarting");
	kit_log(v, "started again, pid ");
}

/* The same pid, the same socket, the new configuration; the pid file stays.  AC-14, NS-62. */
START_TEST(test_restart_same_pid_and_listener)
{
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), "greeting one\n");
	process_start(&v, "--conf_file", kit_path("conf"), "--pid_file", kit_path("pid"), NULL);
	c = kit_connect(&v);
	kit_write_file(kit_path("conf"), "greeting two\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "restart(closing)");
	kit_log(&v, "guest closed");			/* without `drain` clients are closed before.  AC-15 */
	ck_assert(kit_at_end(c));
	close(c);
	ck_assert_int_eq(atoi(kit_log(&v, "inherited 127.0.0.1:")), v.port);
	kit_log(&v, "started again, pid ");
	ck_assert_int_eq(pid_in_file(), v.pid);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	ck_assert_int_eq(ask_number(c, "restarted"), 1);
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "two");
	close(c);
	kit_stop(&v);
	ck_assert_int_eq(pid_in_file(), -1);
}
END_TEST

/* A configuration that is wrong, a program that fails: the old one serves on, its clients too, and the log says why.
 * AC-14, NS-62. */
START_TEST(test_restart_broken_serves_on)
{
	struct served v;
	int c;

	kit_write_file(kit_path("conf"), "greeting one\n");
	process_start(&v, "--conf_file", kit_path("conf"), NULL);
	c = kit_connect(&v);
	kit_write_file(kit_path("conf"), _i == 0 ? "greting two\n" : "fail yes\n");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, _i == 0 ? "not restarted: served: " : "not restarted: served: told to fail");
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "one");
	kit_write_file(kit_path("conf"), "greeting three\n");
	hup(&v);
	close(c);
	c = kit_connect(&v);
	kit_say(c, "greeting\n");
	ck_assert_str_eq(kit_line(c), "three");
	close(c);
	kit_stop(&v);
}
END_TEST

/* A copy of the program that the test can break. */
static void
start_copy(struct served *v, const char *option, const char *value)
{
	char command[1024], path[128];
	const char *args[] = { "--listen=127.0.0.1:0", "--log_level=4", option, value, NULL };

	snprintf(path, sizeof(path), "%s", kit_path("copy"));
	snprintf(command, sizeof(command), "cp '%s' '%s'", served_path(), path);
	ck_assert_int_eq(system(command), 0);
	kit_exec_program(v, path, args);
	v->port = atoi(kit_log(v, "bound 127.0.0.1:"));
	kit_log(v, "started, pid ");
}

/* What the new configuration asks for and cannot have: lines of it, in which %s is the test's directory and %d a port that
 * is taken; and what is said. */
static const struct {
	const char *lines, *text;
} wishes[] = {
	{ "pid_file %s/foreign\n", "its content is no process id" },
	{ "pid_file %s/link\n", "it is a symbolic link" },
	{ "pid_file %s/held\n", "has it" },
	{ "pid_file %s/directory\n", "Is a directory" },
	{ "log_file %s/directory\n", "Is a directory" },
	{ "#%s\nlisten 127.0.0.1:%d\n", "in use" },
	{ "#%s\nlisten udp://127.0.0.1:%d\n", "in use" },
	{ "listen %s/taken\n", "in use" },
};

static int
take_address(int type, const struct sockaddr *a, socklen_t len)
{
	int fd = socket(a->sa_family, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, a, len), 0);
	ck_assert(type == SOCK_DGRAM || listen(fd, 5) == 0);
	return fd;
}

/* A trial finds out what would have ended the new program: a pid file that is not ours, a log that is none, an address
 * that is another's.  The old one serves on.  AC-14, NS-62. */
START_TEST(test_restart_impossible_wish_serves_on)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	char conf[512], lines[256];
	struct sconce_pidfile held;
	int tcp, udp, taken, c;
	struct served v;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	tcp = take_address(SOCK_STREAM, (struct sockaddr *)&a, sizeof(a));
	ck_assert_int_eq(getsockname(tcp, (struct sockaddr *)&a, &len), 0);
	udp = take_address(SOCK_DGRAM, (struct sockaddr *)&a, sizeof(a));
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", kit_path("taken"));
	taken = take_address(SOCK_STREAM, (struct sockaddr *)&un, sizeof(un));
	ck_assert_int_eq(sconce_pidfile_open(&held, kit_path("held"), NULL), 0);
	ck_assert_int_eq(sconce_pidfile_write(&held, NULL), 0);
	kit_write_file(kit_path("foreign"), "garbage\n");
	ck_assert(symlink("pid", kit_path("link")) == 0 && mkdir(kit_path("directory"), 0700) == 0);
	snprintf(conf, sizeof(conf), "pid_file %s\nlisten 127.0.0.1:0\nlisten %s\n", kit_path("pid"), kit_path("sock"));
	kit_write_file(kit_path("conf"), conf);
	process_exec(&v, (const char *const[]){ "--log_level=4", "--conf_file", kit_path("conf"), NULL }, NULL);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "started, pid ");
	c = kit_connect(&v);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(lines, sizeof(lines), wishes[_i].lines, kit_dir, ntohs(a.sin_port));
#pragma GCC diagnostic pop
	snprintf(conf + strlen(conf), sizeof(conf) - strlen(conf), "%s", lines);
	if (strncmp(lines, "pid_file", 8) == 0)
		snprintf(conf, sizeof(conf), "%slisten 127.0.0.1:0\n", lines);
	kit_write_file(kit_path("conf"), conf);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "not restarted: ");
	ck_assert_msg(strstr(v.log + v.seen, wishes[_i].text) != NULL, "it said: %s", v.log + v.seen);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	ck_assert_int_eq(ask_number(c, "restarted"), 0);
	ck_assert_int_eq(pid_in_file(), v.pid);
	ck_assert_int_eq(access(kit_path("sock"), F_OK), 0);
	close(c);
	kit_stop(&v);
	sconce_pidfile_close(&held, true);
	close(tcp);
	close(udp);
	close(taken);
}
END_TEST

/* Who is not root, or no longer, cannot be in a chroot from now on. */
START_TEST(test_restart_chroot_without_root_serves_on)
{
	const char *who = geteuid() == 0 ? "user 12345\ngroup 23456\n" : "";
	char command[1024], path[128], conf[128], text[256];
	const char *args[] = { "--listen=127.0.0.1:0", "--log_level=4", "--conf_file", conf, NULL };
	struct served v;
	int c;

	snprintf(path, sizeof(path), "%s", kit_path("copy"));
	snprintf(conf, sizeof(conf), "%s", kit_path("conf"));
	snprintf(command, sizeof(command), "cp '%s' '%s' && chmod 755 '%s' '%s'", served_path(), path, path, kit_dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(chdir("/"), 0);
	kit_write_file(conf, who);
	ck_assert_int_eq(chmod(conf, 0644), 0);
	kit_exec_program(&v, path, args);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "started, pid ");
	snprintf(text, sizeof(text), "%schroot %s\n", who, kit_dir);
	kit_write_file(conf, text);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "not restarted: ");
	kit_log(&v, "chroot: only root");
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "restarted"), 0);
	close(c);
	kit_stop(&v);
}
END_TEST

/* The program's file is gone, or no program any more.  AC-14 */
START_TEST(test_restart_broken_binary_serves_on)
{
	struct served v;
	int c;

	start_copy(&v, NULL, NULL);
	c = kit_connect(&v);
	ck_assert_int_eq(unlink(kit_path("copy")), 0);
	if (_i == 1) {
		kit_write_file(kit_path("copy"), "nonsense");
		ck_assert_int_eq(chmod(kit_path("copy"), 0755), 0);
	}
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, _i == 0 ? "No such file" : "Exec format error");
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	close(c);
	kit_stop(&v);
}
END_TEST

/* The exec itself fails, though the trial has not (served removes its own file in between): a client that was to be kept
 * by a child is still here, and listeners serve on. */
START_TEST(test_restart_exec_fails_serves_on)
{
	struct served v;
	int old, new;

	start_copy(&v, "--break_exec", _i == 0 ? "--drain=0" : "--drain=20");
	old = kit_connect(&v);
	ask_number(old, "pid");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "broken");
	kit_log(&v, "not restarted: cannot execute ");
	kit_log(&v, "restart_failed");
	if (_i == 0)
		ck_assert(kit_at_end(old));
	else
		ck_assert_int_eq(ask_number(old, "pid"), v.pid);
	new = kit_connect(&v);
	ck_assert_int_eq(ask_number(new, "pid"), v.pid);
	ck_assert_int_eq(ask_number(new, "restarted"), 0);
	close(old);
	close(new);
	ck_assert(!kit_logged(&v, "drain\n"));
	kit_stop(&v);				/* and signals are not blocked */
}
END_TEST

/* With `drain` a child keeps the clients; the new program serves others at once, reaps the child, and passes TERM on.
 * AC-15, NS-62. */
START_TEST(test_restart_child_keeps_clients)
{
	struct served v;
	int old, new;
	pid_t child;

	process_start(&v, "--drain=15", "--pid_file", kit_path("pid"), NULL);
	old = kit_connect(&v);
	ask_number(old, "pid");
	hup(&v);
	new = kit_connect(&v);
	ck_assert_int_eq(ask_number(new, "pid"), v.pid);
	child = ask_number(old, "pid");
	ck_assert_int_ne(child, v.pid);
	ck_assert_int_eq(ask_number(old, "parent"), v.pid);
	ck_assert_int_eq(ask_number(old, "restarted"), 0);
	ck_assert_int_eq(ask_number(old, "restart"), -EOPNOTSUPP);
	if (_i == 0) {
		close(old);
		kit_log(&v, "empty");
		kit_log(&v, "has ended");
		ck_assert_int_eq(kill(child, 0), -1);	/* reaped */
		ck_assert_int_eq(pid_in_file(), v.pid);
		ck_assert_int_eq(ask_number(new, "pid"), v.pid);
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
		ck_assert(kit_at_end(new));
	} else {
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
		ck_assert(kit_at_end(new));
		ck_assert(kit_at_end(old));
		close(old);
	}
	close(new);
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert_int_eq(pid_in_file(), -1);
	kit_free(&v);
}
END_TEST

/* QUIT lets the clients of before a restart end, too: the process does not end before them, unless TERM cuts them off. */
START_TEST(test_restart_quit_waits_for_the_childs_clients)
{
	struct served v;
	int old;

	process_start(&v, "--drain=15", "--pid_file", kit_path("pid"), NULL);
	old = kit_connect(&v);
	ask_number(old, "pid");
	hup(&v);
	ck_assert_int_eq(kill(v.pid, SIGQUIT), 0);
	kit_log(&v, "stop(graceful)");
	kit_log(&v, "empty");				/* of its own it has none */
	if (_i == 0) {
		ck_assert_int_eq(ask_number(old, "parent"), v.pid);
		ck_assert_int_eq(pid_in_file(), v.pid);
		close(old);
		kit_log(&v, "of before the restart has ended");
	} else {
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
		ck_assert(kit_at_end(old));
		close(old);
	}
	ck_assert_int_eq(kit_wait(&v), 0);
	ck_assert_int_eq(pid_in_file(), -1);
	ck_assert(!kit_logged(&v, "ending at once"));
	kit_free(&v);
}
END_TEST

/* After `drain` seconds the child cuts its clients off. */
START_TEST(test_restart_drain_has_a_deadline)
{
	struct served v;
	int c;

	process_start(&v, "--drain=0.2", NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	hup(&v);
	ck_assert(kit_at_end(c));
	close(c);
	kit_stop(&v);
}
END_TEST

/* Several restarts, each with a client of its own that stays: every child is the last program's to reap. */
START_TEST(test_restart_children_are_passed_on)
{
	enum { ROUNDS = 4 };
	struct served v;
	int c[ROUNDS];
	pid_t pid[ROUNDS];

	process_start(&v, "--drain=15", NULL);
	for (int i = 0; i < ROUNDS; i++) {
		c[i] = kit_connect(&v);
		ask_number(c[i], "pid");
		hup(&v);
		pid[i] = ask_number(c[i], "pid");
		ck_assert_int_ne(pid[i], v.pid);
	}
	for (int i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(ask_number(c[i], "parent"), v.pid);
		close(c[i]);
		kit_log(&v, "has ended");
		ck_assert_int_eq(kill(pid[i], 0), -1);
	}
	kit_stop(&v);
}
END_TEST

/* What the program does to its directory and umask is not the new one's.  NS-2, HZ-14. */
START_TEST(test_restart_directory_of_the_start)
{
	char before[512];
	struct served v;
	int c;

	ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
	process_start(&v, NULL);
	c = kit_connect(&v);
	kit_say(c, "cwd\n");
	ck_assert_str_eq(kit_line(c), before);
	close(c);
	hup(&v);
	c = kit_connect(&v);
	kit_say(c, "cwd\n");
	ck_assert_str_eq(kit_line(c), before);
	close(c);
	kit_stop(&v);
}
END_TEST

/* Fifty restarts leave the fds as they were after the first (which closes what the shell has leaked).  HZ-14. */
START_TEST(test_restart_fds_level)
{
	struct served v;
	int c, fds = 0;

	process_start(&v, "--drain", _i == 0 ? "0" : "10", "--pid_file", kit_path("pid"), NULL);
	for (int i = 0; i < 50; i++) {
		hup(&v);
		if (_i == 1)
			kit_log(&v, "has ended");		/* the child, which had no clients */
		if (i > 0 && i < 49)
			continue;
		c = kit_connect(&v);
		if (i == 0)
			fds = ask_number(c, "fds");
		ck_assert_int_eq(ask_number(c, "fds"), fds);
		close(c);
		kit_log(&v, "guest closed");
	}
	kit_stop(&v);
}
END_TEST

static atomic_bool enough;

struct load {
	int port;
	long connected, failed;
};

static void *
connect_all_the_time(void *arg)
{
	struct load *load = arg;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)load->port) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while (!atomic_load(&enough)) {
		struct linger linger = { .l_onoff = 1 };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			load->connected++;
		else
			load->failed++;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));	/* no port is left waiting */
		close(fd);
		poll(NULL, 0, 1);
	}
	return NULL;
}

/* While somebody connects all the time, no restart lets a connection be refused; and as many HUPs as come, even in the
 * midst of a restart, do no harm.  AC-14, NS-62. */
START_TEST(test_restart_never_refuses)
{
	int rounds = getenv("SAN") != NULL && getenv("SAN")[0] != '\0' ? 20 : 100;
	struct load load = { .connected = 0 };
	pthread_t thread;
	struct served v;
	int c;

	process_start(&v, "--drain", _i == 0 ? "0" : "1", NULL);
	load.port = v.port;
	atomic_store(&enough, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, connect_all_the_time, &load), 0);
	for (int i = 0; i < rounds; i++) {
		for (int j = 0; j < 3; j++) {
			ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
			poll(NULL, 0, j % 3);
		}
		kit_log(&v, "started again, pid ");
	}
	atomic_store(&enough, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(load.failed, 0);
	ck_assert_int_gt(load.connected, rounds);
	for (int i = 0, pid = 0; pid != v.pid; i++) {		/* the last restart may be still to come, and cut it off */
		ck_assert_int_lt(i, 100);
		c = kit_connect(&v);
		pid = ask_number(c, "pid");
		close(c);
	}
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	kit_free(&v);
}
END_TEST

struct rival {
	char path[160];
	long tries, taken;
	int other;			/* an error that is not -EEXIST */
};

/* Starts, as far as the pid file goes, all the time. */
static void *
take_all_the_time(void *arg)
{
	struct rival *rival = arg;

	while (!atomic_load(&enough)) {
		struct sconce_pidfile file;
		int r = sconce_pidfile_open(&file, rival->path, NULL);

		rival->tries++;
		if (r == 0)
			rival->taken++;
		else if (r != -EEXIST)
			rival->other = r;
		sconce_pidfile_close(&file, false);
	}
	return NULL;
}

/* While it restarts no other start gets its pid file, not for a moment; and that some are tried does no harm.  NS-62. */
START_TEST(test_restart_holds_pid_file)
{
	int rounds = getenv("SAN") != NULL && getenv("SAN")[0] != '\0' ? 8 : 30;
	struct rival rival = { .tries = 0 };
	struct served v;
	pthread_t thread;

	process_start(&v, "--drain", _i == 0 ? "0" : "5", "--pid_file", kit_path("pid"), NULL);
	snprintf(rival.path, sizeof(rival.path), "%s", kit_path("pid"));
	atomic_store(&enough, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, take_all_the_time, &rival), 0);
	for (int i = 0; i < rounds; i++)
		hup(&v);
	atomic_store(&enough, true);
	pthread_join(thread, NULL);
	ck_assert_int_gt(rival.tries, rounds);
	ck_assert_int_eq(rival.taken, 0);
	ck_assert_int_eq(rival.other, 0);
	ck_assert_int_eq(pid_in_file(), v.pid);
	kit_stop(&v);
	ck_assert_int_eq(pid_in_file(), -1);
}
END_TEST

/* TERM ends it whatever moment of a restart it comes in. */
START_TEST(test_restart_and_term)
{
	for (int i = 0; i < 12; i++) {
		struct served v;

		process_start(&v, "--drain", i % 2 == 0 ? "0" : "5", NULL);
		ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
		poll(NULL, 0, i);
		ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
		ck_assert_msg(kit_wait(&v) == 0, "round %d: %s", i, v.log);
		kit_free(&v);
	}
}
END_TEST

/* A program that never says that it has closed everything is executed all the same; and one without a drain hook, or
 * without listeners, restarts too. */
START_TEST(test_restart_without_drain_hook)
{
	struct served v;
	int c;

	process_start(&v, "--drain=15", "--no_drain", NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "restart(closing)");
	ck_assert(kit_at_end(c));
	close(c);
	kit_log(&v, "started again, pid ");
	kit_stop(&v);
}
END_TEST

/* A program that closes all it has, and says no more, is restarted: it does not end for want of anything to do. */
START_TEST(test_restart_with_nothing_left)
{
	struct served v;
	int c;

	process_start(&v, "--no_go_on", NULL);
	c = kit_connect(&v);
	ask_number(c, "pid");
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	kit_log(&v, "restart(closing)");
	ck_assert(kit_at_end(c));
	close(c);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "started again, pid ");
	ck_assert(!kit_logged(&v, "not everything is closed"));
	kit_stop(&v);
}
END_TEST

/* What was printed is neither lost at a restart nor written once more by a child that drains. */
START_TEST(test_restart_printed_text_is_written_once)
{
	struct served v;

	process_start(&v, "--print", _i == 0 ? "--drain=0" : "--drain=15", NULL);
	hup(&v);
	kit_ends_printed(&v, "printed\nprinted\n");
	kit_free(&v);
}
END_TEST

/* The program asks for it itself; a second time is refused. */
START_TEST(test_restart_by_call)
{
	struct served v;
	int c;

	process_start(&v, "--drain=15", NULL);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "restart"), 0);
	kit_log(&v, "started again, pid ");
	close(c);
	kit_stop(&v);
}
END_TEST

/* What the new configuration no longer names is closed, what it names anew is bound; another spelling of the same endpoint
 * finds its socket.  NS-62. */
START_TEST(test_restart_other_endpoints)
{
	char conf[256], sock[128];
	struct served v;
	int c;

	snprintf(sock, sizeof(sock), "%s", kit_path("sock"));
	snprintf(conf, sizeof(conf), "listen tcp4://127.0.0.1:0\nlisten 127.0.0.2:0\nlisten %s\n", sock);
	kit_write_file(kit_path("conf"), conf);
	process_exec(&v, (const char *const[]){ "--log_level=4", "--conf_file", kit_path("conf"), NULL }, NULL);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "bound 127.0.0.2:");
	kit_log(&v, sock);
	kit_log(&v, "started, pid ");
	snprintf(conf, sizeof(conf), "listen unix://%s?backlog=5\nlisten 127.0.0.1:0?nodelay=0\nlisten 127.0.0.3:0\n", sock);
	kit_write_file(kit_path("conf"), conf);
	ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	snprintf(conf, sizeof(conf), "inherited %s", sock);
	kit_log(&v, conf);
	ck_assert_int_eq(atoi(kit_log(&v, "inherited 127.0.0.1:")), v.port);
	kit_log(&v, "bound 127.0.0.3:");
	kit_log(&v, "started again, pid ");
	c = kit_connect(&v);
	/* stdin, stdout, stderr; three listeners; this client; the loop's: as many as after any start */
	ck_assert_int_gt(ask_number(c, "fds"), 6);
	close(c);
	kit_stop(&v);
}
END_TEST

/* As somebody else, who may not change the directory of the pid file: restarted all the same, more than once; at the end
 * the file, which cannot be removed, is empty. */
START_TEST(test_restart_as_another_user)
{
	char command[1024], path[128];
	const char *args[] = { "--listen=127.0.0.1:0", "--log_level=4", "--user=12345", "--group=23456", "--pid_file", kit_path("pid"),
		NULL };
	struct served v;
	int c;

	if (geteuid() != 0) {
		printf("skip test_restart_as_another_user: not root\n");
		return;
	}
	snprintf(path, sizeof(path), "%s", kit_path("copy"));
	snprintf(command, sizeof(command), "cp '%s' '%s' && chmod 755 '%s' '%s'", served_path(), path, path, kit_dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(chdir("/"), 0);
	kit_exec_program(&v, path, args);
	v.port = atoi(kit_log(&v, "bound 127.0.0.1:"));
	kit_log(&v, "started, pid ");
	hup(&v);
	hup(&v);
	ck_assert_int_eq(pid_in_file(), v.pid);
	c = kit_connect(&v);
	ck_assert_int_eq(ask_number(c, "pid"), v.pid);
	close(c);
	kit_stop(&v);
	ck_assert_int_eq(pid_in_file(), 0);
}
END_TEST

/* ---- service managers ---- */

/* Starts it as a service manager would, with a listening socket as fd 3, called `name`. */
static void
start_managed(struct served *v, const char *name, const char *option)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	char command[1024];
	const char *args[] = { "-c", command, NULL };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), up;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 5) == 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	up = fcntl(fd, F_DUPFD, 200);		/* the shell makes it fd 3 */
	ck_assert_int_ge(up, 200);
	snprintf(command, sizeof(command), "exec 3<&%d %d<&-; export LISTEN_FDS=1 LISTEN_FDNAMES='%s' LISTEN_PID=$$;"
	    " exec '%s' --log_level=4 %s", up, up, name, served_path(), option);
	kit_exec_program(v, "/bin/bash", args);
	close(fd);
	close(up);
	v->port = ntohs(a.sin_port);
}

/* A service manager's socket is taken over, by name, by address or by number, or as it comes; after a restart it still is
 * one.  Nothing was bound. */
START_TEST(test_restart_of_a_managed_socket)
{
	static const char *const options[] = { "--any", "--listen=/web", "--listen=fd://3" };
	struct served v;
	int c;

	start_managed(&v, _i == 1 ? "/web" : "other", options[_i]);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(atoi(kit_log(&v, "inherited 127.0.0.1:")), v.port);
		kit_log(&v, i == 0 ? "started, pid " : "started again, pid ");
		c = kit_connect(&v);
		ck_assert_int_eq(ask_number(c, "pid"), v.pid);
		close(c);
		ck_assert_int_eq(kill(v.pid, SIGHUP), 0);
	}
	kit_log(&v, "started again, pid ");
	ck_assert(!kit_logged(&v, "bound"));
	kit_stop(&v);
}
END_TEST

/* One that nobody asks for is closed. */
START_TEST(test_managed_socket_unused_closed)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct served v;
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	start_managed(&v, "other", "--listen=127.0.0.1:0");
	kit_log(&v, "started, pid ");
	ck_assert(kit_logged(&v, "bound"));
	a.sin_port = htons((uint16_t)v.port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	kit_log(&v, "");
	for (int i = 0; i < 1000 && connect(c, (struct sockaddr *)&a, sizeof(a)) == 0; i++) {
		close(c);
		c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		poll(NULL, 0, 5);
		ck_assert_int_lt(i, 999);
	}
	ck_assert_int_eq(errno, ECONNREFUSED);
	close(c);
	kit_stop(&v);
}
END_TEST

/* The socket of a service manager, "notify", with the variable that names it. */
static int
bind_notify(char variable[160])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", kit_path("notify"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	kit_bound(fd);
	snprintf(variable, 160, "NOTIFY_SOCKET=%s", a.sun_path);
	return fd;
}

/* It tells the service manager when it runs, restarts and ends. */
START_TEST(test_run_notifies_service_manager)
{
	static const char *const expected[] = { "READY=1", "RELOADING=1", "READY=1", "STOPPING=1" };
	char variable[160], text[64];
	struct served v;
	int fd = bind_notify(variable);

	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--log_level=4", NULL }, variable);
	kit_log(&v, "started, pid ");
	hup(&v);
	kit_stop(&v);
	for (int i = 0; i < 4; i++) {
		ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

		ck_assert_int_gt(n, 0);
		text[n] = '\0';
		ck_assert_msg(strncmp(text, expected[i], strlen(expected[i])) == 0, "%d: %s", i, text);
	}
	close(fd);
}
END_TEST

/* In the background the service manager learns which process it is now. */
START_TEST(test_background_notifies_main_pid)
{
	char variable[160], text[64], expected[64], pid_file[128];
	struct served v;
	int fd = bind_notify(variable);
	ssize_t n;

	snprintf(pid_file, sizeof(pid_file), "%s", kit_path("pid"));
	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--background", "--pid_file", pid_file, NULL }, variable);
	n = recv(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	snprintf(expected, sizeof(expected), "READY=1\nMAINPID=%ld", (long)pid_in_file());
	ck_assert_str_eq(text, expected);
	ck_assert_int_eq(waitpid(v.pid, NULL, 0), v.pid);
	ck_assert_int_eq(kill(pid_in_file(), SIGTERM), 0);
	n = recv(fd, text, sizeof(text) - 1, 0);
	ck_assert(n > 0 && strncmp(text, "STOPPING=1", 10) == 0);
	while (kit_read_log(&v))
		;
	kit_free(&v);
	close(fd);
}
END_TEST

/* Lines that were left out before the workers were forked are told once, by the master. */
START_TEST(test_workers_left_out_lines_told_once)
{
	static const char key[] = " more lines were left out";
	char variable[160], text[64];
	struct served v;
	int fd = bind_notify(variable), told = 0;

	process_exec(&v, (const char *const[]){ "--listen=127.0.0.1:0", "--processes=3", "--flood=200", NULL }, variable);
	ck_assert_int_gt(recv(fd, text, sizeof(text), 0), 0);	/* all run */
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(&v), 0);
	for (const char *at = v.log; (at = strstr(at, key)) != NULL; at++) {
		const char *number = at;

		while (number > v.log && number[-1] >= '0' && number[-1] <= '9')
			number--;
		told += atoi(number) >= 100;
	}
	ck_assert_msg(told == 1, "told %d times:\n%s", told, v.log);
	kit_free(&v);
	close(fd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("process_restart");
	TCase *t;

	t = t_case(suite, "restart");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_restart_same_pid_and_listener);
	tcase_add_loop_test(t, test_restart_broken_serves_on, 0, 2);
	tcase_add_loop_test(t, test_restart_impossible_wish_serves_on, 0, (int)(sizeof(wishes) / sizeof(wishes[0])));
	tcase_add_test(t, test_restart_chroot_without_root_serves_on);
	tcase_add_loop_test(t, test_restart_broken_binary_serves_on, 0, 2);
	tcase_add_loop_test(t, test_restart_exec_fails_serves_on, 0, 2);
	tcase_add_loop_test(t, test_restart_child_keeps_clients, 0, 2);
	tcase_add_loop_test(t, test_restart_quit_waits_for_the_childs_clients, 0, 2);
	tcase_add_test(t, test_restart_drain_has_a_deadline);
	tcase_add_test(t, test_restart_children_are_passed_on);
	tcase_add_test(t, test_restart_directory_of_the_start);
	tcase_add_loop_test(t, test_restart_fds_level, 0, 2);
	tcase_add_loop_test(t, test_restart_never_refuses, 0, 2);
	tcase_add_loop_test(t, test_restart_holds_pid_file, 0, 2);
	tcase_add_test(t, test_restart_and_term);
	tcase_add_test(t, test_restart_without_drain_hook);
	tcase_add_test(t, test_restart_with_nothing_left);
	tcase_add_loop_test(t, test_restart_printed_text_is_written_once, 0, 2);
	tcase_add_test(t, test_restart_by_call);
	tcase_add_test(t, test_restart_other_endpoints);
	tcase_add_test(t, test_restart_as_another_user);

	t = t_case(suite, "managed");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_restart_of_a_managed_socket, 0, 3);
	tcase_add_test(t, test_managed_socket_unused_closed);
	tcase_add_test(t, test_run_notifies_service_manager);
	tcase_add_test(t, test_background_notifies_main_pid);
	tcase_add_test(t, test_workers_left_out_lines_told_once);
	return suite;
}
