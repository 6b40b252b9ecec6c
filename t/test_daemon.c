/* The background, the standard fds, and the word to the service manager, with real processes: what the caller sees is the
 * exit status of one that we fork. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/daemon.h>

enum { NOBODY = 65534 };

/* So that a manager that does not read is given up at once. */
int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct timeval soon = { .tv_usec = 20000 };

	if (level == SOL_SOCKET && name == SO_SNDTIMEO)
		value = &soon;
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

static int
await(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the background ---- */

static int told[2];			/* from the child to the test */
static int go[2];			/* from the test to the child */

static void
setup(void)
{
	ck_assert_int_eq(pipe2(told, O_CLOEXEC) | pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);	/* what runs in the background is ours to wait for */
}

static void
teardown(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	for (int i = 0; i < 2; i++) {
		close(told[i]);
		close(go[i]);
	}
}

/* A process that goes to the background, and does `child` there.  Its status, if it ended otherwise: 99. */
static pid_t
start(bool session, void (*child)(int *ready))
{
	pid_t pid = fork();

	if (pid == 0) {
		int ready = -1;

		if (sconce_daemon_background(session, &ready, NULL) < 0)
			_exit(98);
		child(&ready);
		_exit(99);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

/* Tells the test a number, and takes one from it. */
static void
tell(long n)
{
	if (write(told[1], &n, sizeof(n)) != sizeof(n))
		_exit(97);
}

static long
hear(void)
{
	long n;

	ck_assert_int_eq(read(told[0], &n, sizeof(n)), sizeof(n));
	return n;
}

static void
wait_go(void)
{
	char c;

	if (read(go[0], &c, 1) != 1)
		_exit(96);
}

static void
say_go(void)
{
	ck_assert_int_eq(write(go[1], "x", 1), 1);
}

static int ready_status;

static void
ready_then_end(int *ready)
{
	sconce_daemon_ready(ready, ready_status);
	tell(*ready);
	_exit(7);
}

/* NS-52: the caller sees what the child says, as soon as it says it. */
START_TEST(test_background_ready_caller_gets_status)
{
	static const int statuses[] = { 0, 3, 1, 255 };

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		ready_status = statuses[i];
		ck_assert_int_eq(await(start(false, ready_then_end)), statuses[i]);
		ck_assert_int_eq(hear(), -1);
	}
}
END_TEST

static void
end_with_4(int *ready)
{
	(void)ready;
	_exit(4);
}

static void
end_with_0(int *ready)
{
	(void)ready;
	_exit(0);
}

static void
be_killed(int *ready)
{
	(void)ready;
	raise(SIGKILL);
}

/* NS-52: a child that ends before it is ready has failed, whatever it says itself. */
START_TEST(test_background_child_ends_caller_fails)
{
	ck_assert_int_eq(await(start(false, end_with_4)), 4);
	ck_assert_int_eq(await(start(true, end_with_4)), 4);
	ck_assert_int_eq(await(start(false, end_with_0)), 1);
	ck_assert_int_eq(await(start(false, be_killed)), 1);
}
END_TEST

static struct sockaddr_in busy = { .sin_family = AF_INET };

static void
bind_busy(int *ready)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&busy, sizeof(busy)) < 0)
		_exit(errno == EADDRINUSE ? 17 : 18);
	sconce_daemon_ready(ready, 0);
	_exit(0);
}

/* AC-17, NS-52: a port that is taken is seen by whoever starts the program, though it is bound in the background. */
START_TEST(test_background_busy_port_caller_fails)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(busy);

	busy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&busy, len) | listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&busy, &len), 0);
	ck_assert_int_eq(await(start(true, bind_busy)), 17);
	close(fd);
	busy.sin_port = 0;		/* and one that is free */
	ck_assert_int_eq(await(start(true, bind_busy)), 0);
}
END_TEST

static void
wait_then_ready(int *ready)
{
	tell(getpid());
	wait_go();
	sconce_daemon_ready(ready, 0);
	wait_go();
	_exit(0);
}

/* The caller goes on when the child is ready, not before; and the child does not end with it. */
START_TEST(test_background_caller_waits_for_ready)
{
	pid_t pid = start(false, wait_then_ready), child = (pid_t)hear();

	ck_assert_int_ne(child, pid);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	say_go();
	ck_assert_int_eq(await(pid), 0);
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	say_go();
	ck_assert_int_eq(await(child), 0);
}
END_TEST

static void
leave_grandchild(int *ready)
{
	(void)ready;
	if (fork() == 0) {
		wait_go();		/* with the child's side of the line open */
		_exit(0);
	}
	_exit(5);
}

/* The end of the child is seen though a process that it has forked lives on. */
START_TEST(test_background_grandchild_lives_end_is_seen)
{
	ck_assert_int_eq(await(start(false, leave_grandchild)), 5);
	say_go();
}
END_TEST

static void
tell_session(int *ready)
{
	tell(getpid());
	tell(getsid(0));
	sconce_daemon_ready(ready, 0);
	_exit(0);
}

/* NS-52: a session of its own, if that is asked for. */
START_TEST(test_background_session_of_its_own_if_asked)
{
	pid_t child;

	ck_assert_int_eq(await(start(true, tell_session)), 0);
	child = (pid_t)hear();
	ck_assert_int_eq(hear(), child);
	ck_assert_int_eq(await(start(false, tell_session)), 0);
	hear();
	ck_assert_int_eq(hear(), getsid(0));
}
END_TEST

static void
tell_at_exit(void)
{
	tell(getpid());
}

/* The parent runs no handler and writes no buffer: that is the child's. */
START_TEST(test_background_parent_runs_no_handlers)
{
	pid_t pid = fork(), first;
	long n;

	if (pid == 0) {
		int ready;
		FILE *f = fdopen(dup(told[1]), "w");

		/* not the handlers that this process has from the harness, or a sanitizer: they come after it */
		if (f == NULL || atexit(tell_at_exit) != 0 || fwrite("bufferd", 1, 8, f) != 8)
			_exit(1);
		if (sconce_daemon_background(false, &ready, NULL) < 0)
			_exit(1);
		sconce_daemon_ready(&ready, 0);
		tell_at_exit();
		fclose(f);
		_exit(0);
	}
	ck_assert_int_eq(await(pid), 0);
	first = (pid_t)hear();
	ck_assert_int_ne(first, pid);
	ck_assert_int_eq(await(first), 0);
	ck_assert_int_eq(read(told[0], &n, sizeof(n)), 8);
	ck_assert_mem_eq(&n, "bufferd", 8);
	ck_assert_int_eq(fcntl(told[0], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(read(told[0], &n, sizeof(n)), -1);
}
END_TEST

static void
tell_chld(int *ready)
{
	struct sigaction sa;

	sigaction(SIGCHLD, NULL, &sa);
	tell(sa.sa_handler == SIG_IGN);
	(void)ready;
	_exit(6);
}

/* Where SIGCHLD is ignored the status is not lost; the child has it as it was. */
START_TEST(test_background_sigchld_ignored_status_is_seen)
{
	pid_t pid = fork();

	if (pid == 0) {
		int ready;

		signal(SIGCHLD, SIG_IGN);
		if (sconce_daemon_background(false, &ready, NULL) == 0)
			tell_chld(&ready);
		_exit(1);
	}
	ck_assert_int_eq(await(pid), 6);
	ck_assert_int_eq(hear(), 1);
}
END_TEST

static void
ready_too_late(int *ready)
{
	tell(getpid());
	wait_go();
	sconce_daemon_ready(ready, 0);
	_exit(11);
}

/* A parent that was killed meanwhile does not take the child with it. */
START_TEST(test_ready_parent_gone_is_harmless)
{
	pid_t pid = start(false, ready_too_late), child = (pid_t)hear();

	kill(pid, SIGKILL);
	ck_assert_int_eq(await(pid), 128 + SIGKILL);
	say_go();
	ck_assert_int_eq(await(child), 11);
}
END_TEST

/* Nothing to tell. */
START_TEST(test_ready_without_parent_does_nothing)
{
	int ready = -1;

	sconce_daemon_ready(&ready, 5);
	ck_assert_int_eq(ready, -1);
}
END_TEST

/* How many fds are not for programs that it executes. */
static int
open_fds(bool cloexec)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)) != NULL) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d))
			n += (fcntl(fd, F_GETFD) == FD_CLOEXEC) == cloexec;
	}
	closedir(d);
	return n;
}

static void
tell_fds(int *ready)
{
	tell(open_fds(true));
	tell(open_fds(false));
	sconce_daemon_ready(ready, 0);
	tell(open_fds(true));
	tell(open_fds(false));
	_exit(0);
}

/* HZ-14: the child has one fd more, until it is ready, and none more for what it executes. */
START_TEST(test_background_child_has_one_fd_more)
{
	int private = open_fds(true), public = open_fds(false);

	ck_assert_int_eq(await(start(true, tell_fds)), 0);
	ck_assert_int_eq(hear(), private + 1);
	ck_assert_int_eq(hear(), public);
	ck_assert_int_eq(hear(), private);
	ck_assert_int_eq(hear(), public);
}
END_TEST

/* HZ-14: without standard fds the line to the parent does not become one. */
START_TEST(test_background_without_standard_fds_is_above_them)
{
	pid_t pid = fork();

	if (pid == 0) {
		int ready;

		for (int fd = 0; fd < 3; fd++)
			close(fd);
		if (sconce_daemon_background(true, &ready, NULL) < 0 || ready < 3 || fcntl(ready, F_GETFD) != FD_CLOEXEC)
			_exit(2);
		for (int fd = 0; fd < 3; fd++)
			if (fcntl(fd, F_GETFD) >= 0)
				_exit(3);
		sconce_daemon_ready(&ready, 0);
		_exit(0);
	}
	ck_assert_int_eq(await(pid), 0);
}
END_TEST

/* No fd, or no process: it is told, and nothing was forked. */
START_TEST(test_background_impossible_returns_error)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { .rlim_cur = 0, .rlim_max = 100 };
		struct sconce_fail fail;
		int ready = -5, fds = t_fd_count(), r;

		setrlimit(RLIMIT_NOFILE, &none);
		if (sconce_daemon_background(true, &ready, &fail) != -EMFILE || fail.errnum != EMFILE || ready != -5)
			_exit(2);
		none.rlim_cur = 100;
		setrlimit(RLIMIT_NOFILE, &none);
		if (geteuid() != 0 || t_fd_count() != fds)
			_exit(t_fd_count() == fds ? 0 : 3);
		none = (struct rlimit){ .rlim_cur = 0, .rlim_max = 0 };
		if (setrlimit(RLIMIT_NPROC, &none) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(4);
		r = sconce_daemon_background(true, &ready, &fail);
		_exit(r == -EAGAIN && strcmp(fail.operation, "fork") == 0 && ready == -5 && t_fd_count() == fds ? 0 : 5);
	}
	ck_assert_int_eq(await(pid), 0);
}
END_TEST

/* ---- the standard fds ---- */

static bool
is_null(int fd)
{
	struct stat st, null;

	return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev && S_ISCHR(st.st_mode) &&
	    fcntl(fd, F_GETFD) == 0;
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Runs `body` in a process of its own, whose standard fds are a pipe's, those of `closed` (bits) closed. */
static int
in_child(int (*body)(int closed), int closed)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (int fd = 0; fd < 3; fd++) {
			dup2(told[1], fd);
			if (closed & 1 << fd)
				close(fd);
		}
		_exit(body(closed));
	}
	return await(pid);
}

static int
open_missing(int closed)
{
	int fds = t_fd_count();

	if (sconce_daemon_open_standard(NULL) != 0)
		return 1;
	for (int fd = 0; fd < 3; fd++) {
		if (closed & 1 << fd ? !is_null(fd) : !same_file(fd, told[1]))
			return 2 + fd;
		fds += (closed & 1 << fd) != 0;
	}
	return t_fd_count() == fds ? 0 : 5;
}

/* HZ-14: those that are closed are opened, the others left alone; any set of them. */
START_TEST(test_open_standard_any_closed_are_opened)
{
	for (int closed = 0; closed < 8; closed++)
		ck_assert_int_eq(in_child(open_missing, closed), 0);
}
END_TEST

static int
all_to_null(int closed)
{
	(void)closed;
	if (sconce_daemon_stdio(-1, NULL) != 0)
		return 1;
	return is_null(0) && is_null(1) && is_null(2) && !is_null(3) ? 0 : 2;
}

/* NS-47: everything to /dev/null, whatever was closed. */
START_TEST(test_stdio_without_log_all_null)
{
	for (int closed = 0; closed < 8; closed++)
		ck_assert_int_eq(in_child(all_to_null, closed), 0);
}
END_TEST

static int
stderr_to_log(int closed)
{
	int fds;

	(void)closed;
	sconce_daemon_open_standard(NULL);
	fds = t_fd_count();
	if (sconce_daemon_stdio(go[1], NULL) != 0)
		return 1;
	if (!is_null(0) || !is_null(1) || !same_file(2, go[1]) || fcntl(2, F_GETFD) != 0)
		return 2;
	return fcntl(go[1], F_GETFD) == FD_CLOEXEC && t_fd_count() == fds ? 0 : 3;
}

/* NS-47: stderr to the log, whose own fd stays. */
START_TEST(test_stdio_with_log_stderr_leads_there)
{
	for (int closed = 0; closed < 8; closed++)
		ck_assert_int_eq(in_child(stderr_to_log, closed), 0);
}
END_TEST

static int
stderr_to_standard(int number)
{
	for (int fd = 0; fd < 3; fd++)
		dup2(told[1], fd);
	dup2(go[1], number);
	if (sconce_daemon_stdio(number, NULL) != 0)
		return 1;
	return is_null(0) && is_null(1) && same_file(2, go[1]) ? 0 : 2;
}

/* Even one that is a standard fd itself: "stderr stays", "stderr to where stdout goes". */
START_TEST(test_stdio_with_standard_fd_is_kept_as_stderr)
{
	for (int fd = 0; fd < 3; fd++)
		ck_assert_int_eq(in_child(stderr_to_standard, fd), 0);
}
END_TEST

static int
bad_fd(int closed)
{
	struct sconce_fail fail;

	if (closed)			/* which was to be opened, but not to be stderr */
		return sconce_daemon_stdio(0, &fail) == -EBADF && fcntl(0, F_GETFD) < 0 ? 0 : 3;
	if (sconce_daemon_stdio(1000, &fail) != -EBADF || fail.errnum != EBADF || strstr(fail.text, "1000") == NULL)
		return 1;
	return same_file(0, told[1]) && same_file(1, told[1]) && same_file(2, told[1]) ? 0 : 2;
}

static int
no_fds(int closed)
{
	struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
	struct sconce_fail fail;

	(void)closed;
	setrlimit(RLIMIT_NOFILE, &none);
	if (sconce_daemon_open_standard(&fail) != -EMFILE || strstr(fail.text, "/dev/null") == NULL)
		return 1;
	return sconce_daemon_stdio(-1, &fail) == -EMFILE ? 0 : 2;
}

static int
no_fd_more(int closed)
{
	struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };

	(void)closed;
	setrlimit(RLIMIT_NOFILE, &none);
	if (sconce_daemon_open_standard(NULL) != 0 || sconce_daemon_stdio(-1, NULL) != -EMFILE)
		return 1;
	return same_file(0, told[1]) && same_file(2, told[1]) ? 0 : 2;
}

/* An fd that is not open, or no fd left: told, and what there is stays. */
START_TEST(test_stdio_impossible_returns_error)
{
	ck_assert_int_eq(in_child(bad_fd, 0), 0);
	ck_assert_int_eq(in_child(bad_fd, 1), 0);
	ck_assert_int_eq(in_child(no_fds, 7), 0);
	ck_assert_int_eq(in_child(no_fd_more, 0), 0);
}
END_TEST

/* ---- the service manager ---- */

/* A datagram socket at `name`, "@..." or a path. */
static int
manager(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, name, strlen(name));
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

/* It is told, at a path or an abstract name. */
START_TEST(test_notify_manager_is_told)
{
	char name[64], buf[64];

	for (int abstract = 0; abstract < 2; abstract++) {
		int fd;

		snprintf(name, sizeof(name), "%ssconce-notify-%d", abstract ? "@" : "/tmp/", (int)getpid());
		fd = manager(name);
		ck_assert_int_eq(sconce_daemon_notify("READY=1\nSTATUS=up"), 1);
		ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 17);
		ck_assert_mem_eq(buf, "READY=1\nSTATUS=up", 17);
		close(fd);
		if (!abstract)
			unlink(name);
	}
	unsetenv("NOTIFY_SOCKET");
}
END_TEST

/* Without one there is nobody to tell. */
START_TEST(test_notify_no_manager_is_no_error)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(sconce_daemon_notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	ck_assert_int_eq(sconce_daemon_notify("READY=1"), 0);
	unsetenv("NOTIFY_SOCKET");
}
END_TEST

/* One that cannot be told is an error, also one that does not read, which does not stop us for good. */
START_TEST(test_notify_impossible_returns_error)
{
	char name[64];
	int fd, r = 1;

	setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
	ck_assert_int_eq(sconce_daemon_notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/tmp/no/such/socket", 1);
	ck_assert_int_eq(sconce_daemon_notify("READY=1"), -ENOENT);
	snprintf(name, sizeof(name), "@sconce-notify-%d", (int)getpid());
	fd = manager(name);
	for (int i = 0; i < 10000 && r == 1; i++)
		r = sconce_daemon_notify("READY=1");
	ck_assert_int_eq(r, -EAGAIN);
	close(fd);
	ck_assert_int_eq(sconce_daemon_notify("READY=1"), -ECONNREFUSED);
	unsetenv("NOTIFY_SOCKET");
}
END_TEST

/* ---- the suite ---- */

Suite *
t_suite(void)
{
	Suite *s = suite_create("daemon");
	TCase *tc = t_case(s, "background");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_background_ready_caller_gets_status);
	tcase_add_test(tc, test_background_child_ends_caller_fails);
	tcase_add_test(tc, test_background_busy_port_caller_fails);
	tcase_add_test(tc, test_background_caller_waits_for_ready);
	tcase_add_test(tc, test_background_grandchild_lives_end_is_seen);
	tcase_add_test(tc, test_background_session_of_its_own_if_asked);
	tcase_add_test(tc, test_background_parent_runs_no_handlers);
	tcase_add_test(tc, test_background_sigchld_ignored_status_is_seen);
	tcase_add_test(tc, test_ready_parent_gone_is_harmless);
	tcase_add_test(tc, test_ready_without_parent_does_nothing);
	tcase_add_test(tc, test_background_child_has_one_fd_more);
	tcase_add_test(tc, test_background_without_standard_fds_is_above_them);
	tcase_add_test(tc, test_background_impossible_returns_error);
	tc = t_case(s, "standard fds");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_open_standard_any_closed_are_opened);
	tcase_add_test(tc, test_stdio_without_log_all_null);
	tcase_add_test(tc, test_stdio_with_log_stderr_leads_there);
	tcase_add_test(tc, test_stdio_with_standard_fd_is_kept_as_stderr);
	tcase_add_test(tc, test_stdio_impossible_returns_error);
	tc = t_case(s, "notify");
	tcase_add_test(tc, test_notify_manager_is_told);
	tcase_add_test(tc, test_notify_no_manager_is_no_error);
	tcase_add_test(tc, test_notify_impossible_returns_error);
	return s;
}
