/* Starting the program anew in the same process: capture, exec and handover.  (t/process/image.c is what is executed; the
 * trial is in test_restart_try.c.) */
#include "starve.h"
#include "test_server.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sconce/restart.h>

/* What an image says: its stdout, whole. */
static char said[65536];

static const char *
image_path(void)
{
	static char path[512];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/t/process/image", build != NULL ? build : "build");
	return path;
}

static void
read_all(int fd)
{
	size_t n = 0;
	ssize_t r;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	do {
		ck_assert_int_eq(poll(&p, 1, KIT_WAIT_MS), 1);
		r = read(fd, said + n, sizeof(said) - 1 - n);
		ck_assert_int_ge(r, 0);
		n += (size_t)r;
	} while (r > 0);
	said[n] = '\0';
}

/* Runs a program to its end, with `prepare` called in the child, where only fds 0 to 2 are open. */
static void
run(const char *file, char *const *argv, void (*prepare)(void))
{
	int fds[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		syscall(SYS_close_range, 3u, ~0u, 0u);
		setenv("PROOF", "of the start", 1);
		if (prepare != NULL)
			prepare();
		execvp(file, argv);
		_exit(127);
	}
	close(fds[1]);
	read_all(fds[0]);
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "status %d, having said:\n%s", status, said);
}

/* The last line that begins with `key`, without it; or, with `first`, the first. */
static const char *
value(const char *key, bool first)
{
	static char values[8][512];
	static unsigned turn;
	char *v = values[turn++ % 8];

	snprintf(v, sizeof(values[0]), "(no %s)", key);
	for (const char *line = said; *line != '\0'; line += strcspn(line, "\n") + 1) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		snprintf(v, sizeof(values[0]), "%.*s", (int)(strcspn(line, "\n") - strlen(key)), line + strlen(key));
		if (first)
			break;
	}
	return v;
}

/* ---- what is executed ---- */

/* Whatever the program has done to its arguments, directory, umask, environment, signals and fds, the new one finds what
 * the old one had found; and its sockets and its child.  NS-2, NS-62, HZ-14. */
START_TEST(test_exec_finds_what_was_captured)
{
	static const char *const same[] = { "argv: ", "cwd: ", "umask: ", "pid: ", "proof: ", "blocked: ", "ignored: ", "environment: " };
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "again" }, (char[]){ "--with an option" }, NULL };
	char expected[128];
	int a, b, c;

	run(argv[0], argv, NULL);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		ck_assert_str_eq(value(same[i], true), value(same[i], false));
	ck_assert_str_eq(value("proof: ", false), "of the start");
	ck_assert_str_eq(value("ours:", false), "");
	ck_assert_int_eq(sscanf(value("handed: ", false), "%d %d %d", &a, &b, &c), 3);
	snprintf(expected, sizeof(expected), "%d %d %d -1, left 2", a, b, c);
	ck_assert_str_eq(value("inherited: ", false), expected);
	ck_assert_str_eq(value("listening: ", false), "1, cloexec 1");
	snprintf(expected, sizeof(expected), "%s 7, then 0", value("child: ", false));
	ck_assert_str_eq(value("reaped: ", false), expected);
	snprintf(expected, sizeof(expected), " 0 1 2 %d %d %d", a, b, c);
	ck_assert_str_eq(value("fds:", false), expected);
}
END_TEST

static void
prepare_ignored(void)
{
	signal(SIGHUP, SIG_IGN);
	umask(027);
}

/* What was ignored from the start (nohup) stays ignored; the umask is not the usual one. */
START_TEST(test_exec_keeps_what_was_ignored)
{
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "again" }, NULL };

	run(argv[0], argv, prepare_ignored);
	ck_assert_str_eq(value("ignored: ", true), "1");
	ck_assert_str_eq(value("ignored: ", false), "1");
	ck_assert_str_eq(value("umask: ", false), "027");
}
END_TEST

static void
shell(const char *format, ...)
{
	char command[2048];
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, command, NULL };
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	run("sh", argv, NULL);
}

static const char *
image_directory(void)
{
	static char path[512], real[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s", (int)(strrchr(image_path(), '/') - image_path()), image_path());
	ck_assert_ptr_nonnull(realpath(path, real));
	return real;
}

/* The program is found again by a relative name, by PATH, by a relative entry of it (which is not used), and whatever
 * its argv[0] claims.  NS-2. */
START_TEST(test_exec_program_is_found)
{
	static const char *const starts[] = {
		"cd '%s' && exec ./image again",
		"PATH='%s':$PATH && exec image again",
		"cd '%s' && PATH=.:$PATH && exec ./image again",
		"cd '%s' && exec -a 'no such name' ./image again",
		"cd '%s' && exec -a ./no/such/name ./image again",
		"cd '%s' && exec -a true ./image again",		/* PATH has another one */
	};
	char *argv[] = { (char[]){ "bash" }, (char[]){ "-c" }, NULL, NULL };
	char command[1024];

	snprintf(command, sizeof(command), starts[_i], image_directory());
	argv[2] = command;
	run("bash", argv, NULL);
	ck_assert_str_eq(value("argv: ", true), value("argv: ", false));
	ck_assert_str_eq(value("cwd: ", true), value("cwd: ", false));
	ck_assert_ptr_nonnull(strstr(said, "\nreaped: "));
}
END_TEST

/* A directory that was reached by a symbolic link is gone to by that link again: it may lead to another release now. */
START_TEST(test_exec_directory_by_its_link)
{
	const char *one = kit_path("one"), *two = kit_path("two"), *link = kit_path("link");

	ck_assert(mkdir(one, 0755) == 0 && mkdir(two, 0755) == 0 && symlink(one, link) == 0);
	shell("ln -s '%s/image' '%s' && ln -s '%s/image' '%s' && cd '%s' && exec ./image switch '%s' '%s'", image_directory(), one,
	    image_directory(), two, link, link, two);
	ck_assert_str_eq(value("cwd: ", true), one);
	ck_assert_str_eq(value("cwd: ", false), two);
}
END_TEST

/* After a thousand restarts (a hundred, where they are slow) fds and environment are what they were at the start.  HZ-14. */
START_TEST(test_exec_a_thousand_times_level)
{
	bool slow = getenv("SAN") != NULL && getenv("SAN")[0] != '\0';
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "count" }, slow ? (char[]){ "100" } : (char[]){ "1000" }, NULL };

	run(argv[0], argv, NULL);
	ck_assert_ptr_nonnull(strstr(value("argv: ", false), "count 0"));
	ck_assert_str_eq(value("fds:", true), " 0 1 2");
	ck_assert_str_eq(value("fds:", false), " 0 1 2 3");	/* and the socket */
	ck_assert_str_eq(value("environment: ", true), value("environment: ", false));
	ck_assert_str_eq(value("pid: ", true), value("pid: ", false));
}
END_TEST

/* ---- when it cannot be executed ---- */

static struct sconce_program *program;

/* A program of this text. */
static void
capture_script(const char *text)
{
	const char *path = kit_path("script");
	char *argv[] = { (char *)(uintptr_t)path, (char[]){ "one" }, NULL };

	kit_write_file(path, text);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(sconce_program_capture(2, argv, &program), 0);
}

/* The process is as it was: fds, signals, directory, umask.  NS-62, HZ-14. */
START_TEST(test_exec_failure_changes_nothing)
{
	int stay = open("/dev/null", O_RDONLY), go = open("/dev/null", O_RDONLY | O_CLOEXEC), r;
	struct sconce_handover *h;
	struct sconce_fail fail;
	struct sigaction action;
	char before[PATH_MAX], after[PATH_MAX];
	sigset_t mask, now;
	mode_t old;

	capture_script("#!/no/such/interpreter\n");
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	old = umask(031);
	ck_assert_int_eq(chdir("/tmp"), 0);
	ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
	ck_assert_int_eq(sconce_handover_new(&h), 0);
	ck_assert_int_eq(sconce_handover_add(h, go, "k"), 0);
	r = sconce_program_exec(program, h, &fail);
	ck_assert_int_eq(r, -ENOENT);
	ck_assert_int_eq(fail.errnum, ENOENT);
	ck_assert_str_eq(fail.operation, "exec");
	ck_assert_ptr_nonnull(strstr(fail.text, "script: No such file"));
	ck_assert_int_eq(fcntl(stay, F_GETFD), 0);
	ck_assert_int_eq(fcntl(go, F_GETFD), FD_CLOEXEC);
	sigaction(SIGPIPE, NULL, &action);
	ck_assert(action.sa_handler == SIG_IGN);
	sigprocmask(SIG_SETMASK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGUSR2), 1);
	ck_assert_int_eq(umask(old), 031);
	ck_assert_ptr_nonnull(getcwd(after, sizeof(after)));
	ck_assert_str_eq(before, after);
	ck_assert_int_eq(sconce_program_exec(program, NULL, NULL), -ENOENT);
	sconce_handover_free(h);
	sconce_program_free(program);
	close(stay);
	close(go);
}
END_TEST

/* The directory is gone; an fd was closed after it was added. */
START_TEST(test_exec_without_directory_or_fd_refused)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct sconce_handover *h;
	struct sconce_fail fail;

	ck_assert_int_eq(mkdir(kit_path("gone"), 0755), 0);
	ck_assert_int_eq(chdir(kit_path("gone")), 0);
	unsetenv("PWD");
	capture_script("#!/bin/sh\n");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(kit_path("gone")), 0);
	ck_assert_int_eq(sconce_program_exec(program, NULL, &fail), -ENOENT);
	ck_assert_str_eq(fail.operation, "chdir");
	ck_assert_int_eq(sconce_handover_new(&h), 0);
	ck_assert_int_eq(sconce_handover_add(h, fd, "k"), 0);
	close(fd);
	ck_assert_int_eq(sconce_program_exec(program, h, &fail), -EBADF);
	sconce_handover_free(h);
	sconce_program_free(program);
}
END_TEST

/* What cannot be handed over. */
START_TEST(test_handover_wrong_entries_refused)
{
	struct sconce_handover *h;

	ck_assert_int_eq(sconce_handover_new(&h), 0);
	ck_assert_int_eq(sconce_handover_add(h, 1, "k"), -EINVAL);
	ck_assert_int_eq(sconce_handover_add(h, -1, "k"), -EBADF);
	ck_assert_int_eq(sconce_handover_add(h, 999, "k"), -EBADF);
	ck_assert_int_eq(sconce_handover_child(h, 0), -EINVAL);
	ck_assert_int_eq(sconce_handover_child(h, -1), -EINVAL);
	sconce_handover_free(h);
	sconce_handover_free(NULL);
	sconce_inherited_free(NULL);
	sconce_program_free(NULL);
}
END_TEST

/* Another command line, of a program that is there. */
START_TEST(test_set_argv_unknown_program_refused)
{
	char *none[] = { (char[]){ "/no/such/program" }, NULL }, *nowhere[] = { (char[]){ "no-such-program" }, NULL };

	capture_script("#!/bin/sh\n");
	ck_assert_int_eq(sconce_program_set_argv(program, 0, none), -EINVAL);
	ck_assert_int_eq(sconce_program_set_argv(program, 1, none), -ENOENT);
	ck_assert_int_eq(sconce_program_set_argv(program, 1, nowhere), -ENOENT);
	sconce_program_free(program);
}
END_TEST

/* Whichever allocation fails: capture, another command line, handover, exec; nothing is lost, nothing has changed.  HZ-22. */
START_TEST(test_restart_no_memory_reported)
{
	char *argv[] = { (char[]){ "/bin/true" }, (char[]){ "x" }, NULL }, *other[] = { (char[]){ "/bin/false" }, NULL };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), leaky = open("/dev/null", O_RDONLY), r = -ENOMEM;
	struct sconce_handover *h = NULL;
	struct sconce_fail fail;

	if (!STARVE_WORKS) {
		close(fd);
		close(leaky);
		return;
	}
	for (long n = 1; r != 0; n++) {
		starve_left = n;
		r = sconce_program_capture(2, argv, &program);
		starve_left = 0;
		ck_assert(r == 0 || r == -ENOMEM);
	}
	for (long n = 1, s = -1; s != 0; n++) {
		starve_left = n;
		s = sconce_program_set_argv(program, 1, other);
		starve_left = 0;
		ck_assert(s == 0 || s == -ENOMEM);
	}
	sconce_program_free(program);
	for (long n = 1, s = -1; s != 0; n++) {
		starve_left = n;
		s = sconce_handover_new(&h);
		if (s == 0)
			s = sconce_handover_add(h, fd, "k");
		if (s == 0)
			s = sconce_handover_child(h, 1);
		starve_left = 0;
		ck_assert(s == 0 || s == -ENOMEM);
		if (s != 0)
			sconce_handover_free(h);
		h = s == 0 ? h : NULL;
	}
	capture_script("#!/no/such/interpreter\n");
	r = -ENOMEM;
	for (long n = 1; r == -ENOMEM; n++) {
		starve_left = n;
		r = sconce_program_exec(program, h, &fail);
		starve_left = 0;
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fcntl(leaky, F_GETFD), 0);
	}
	ck_assert_int_eq(r, -ENOENT);
	sconce_handover_free(h);
	sconce_program_free(program);
	close(fd);
	close(leaky);
}
END_TEST

/* ---- what is inherited ---- */

static int
listen_at(int family, const char *path)
{
	struct sconce_addr a = { .len = sizeof(a.in) };
	int fd = socket(family, SOCK_STREAM, 0);

	memset(&a.un, 0, sizeof(a.un));
	a.any.sa_family = (sa_family_t)family;
	if (family == AF_UNIX) {
		snprintf(a.un.sun_path, sizeof(a.un.sun_path), "%s", path);
		a.len = sizeof(a.un);
	} else {
		a.in.sin_addr.s_addr = htonl(path[0] == '*' ? INADDR_ANY : INADDR_LOOPBACK);
	}
	if (fd < 0 || bind(fd, &a.any, a.len) < 0 || listen(fd, 5) < 0)
		_exit(98);
	return fd;
}

/* As systemd starts it: 3 on 127.0.0.1, 4 a unix path called "web", 5 every IPv4 address, 6 no socket. */
static void
prepare_managed(void)
{
	char number[16];

	listen_at(AF_INET, "127.0.0.1");
	listen_at(AF_UNIX, kit_path("sock"));
	listen_at(AF_INET, "*");
	open("/dev/null", O_RDONLY);
	open("/dev/null", O_RDONLY);		/* 7: not the manager's */
	snprintf(number, sizeof(number), "%ld", (long)getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDS", "4", 1);
	setenv("LISTEN_FDNAMES", "one:web::last", 1);
}

/* A service manager's sockets are found by path, by name, by address, by number; the others are taken as they come, or
 * closed; the variables are gone.  Whether an inherited socket is a unix one is its own affair. */
START_TEST(test_inherited_of_a_service_manager)
{
	char path[128], expected[256];
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "managed" }, (char[]){ "127.0.0.1:9" }, path, (char[]){ "name:last" },
		(char[]){ "fd://7" }, (char[]){ "fd://3" }, (char[]){ "fd://3" }, NULL };

	snprintf(path, sizeof(path), "%s", kit_path("sock"));
	run(argv[0], argv, prepare_managed);
	snprintf(expected, sizeof(expected), "\n127.0.0.1:9: -1\n%s: 4\nname:last: 6\nfd://7: -1\nfd://3: 3\nfd://3: -1\nany: 5 \n"
	    "left: 0, restarted 0\n", path);
	ck_assert_msg(strstr(said, expected) != NULL, "it said:\n%s\nexpected:\n%s", said, expected);
	ck_assert_str_eq(value("ours:", true), "");
}
END_TEST

static int managed_port;

/* Sockets on given ports: 3 every address of IPv4, 4 of IPv6, 5 datagrams. */
static void
prepare_addresses(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)managed_port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)managed_port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), fd6 = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	char number[16];

	setsockopt(fd6, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	a6.sin6_addr = in6addr_loopback;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 5) < 0 ||
	    bind(fd6, (struct sockaddr *)&a6, sizeof(a6)) < 0 || listen(fd6, 5) < 0)
		_exit(97);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(udp, (struct sockaddr *)&a, sizeof(a)) < 0)
		_exit(96);
	snprintf(number, sizeof(number), "%ld", (long)getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDS", "3", 1);
}

/* The type, the family, and every spelling of an address count. */
START_TEST(test_inherited_endpoint_by_address)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(a6);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	char eps[8][64], expected[512] = "";
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "managed" }, eps[0], eps[1], eps[2], eps[3], eps[4], eps[5], NULL };
	static const char *const formats[] = { "127.0.0.1:%d", "[::]:%d", "udp://127.0.0.1:%d", "[0:0::0:1]:%d", "tcp://0:%d", "*:%d" };
	static const int found[] = { -1, -1, 5, 4, 3, -1 };
	int len_out = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a6, sizeof(a6)) < 0) {
		printf("skip test_inherited_endpoint_by_address: no IPv6\n");
		return;
	}
	getsockname(fd, (struct sockaddr *)&a6, &len);
	managed_port = ntohs(a6.sin6_port);
	close(fd);
	for (int i = 0; i < 6; i++) {
		snprintf(eps[i], sizeof(eps[i]), formats[i], managed_port);
		len_out += snprintf(expected + len_out, sizeof(expected) - (size_t)len_out, "%.63s: %d\n", eps[i], found[i]);
	}
	run(argv[0], argv, prepare_addresses);
	ck_assert_msg(strstr(said, expected) != NULL, "it said:\n%s\nexpected:\n%s", said, expected);
}
END_TEST

static const struct wrong {
	const char *fds, *children, *listen_pid, *listen_fds;	/* "%ld" is the process's id */
	bool restarted;
	int fd;				/* with the key "k" */
} wrong[] = {
	{ "%ld;5=k", NULL, NULL, NULL, true, 5 },
	{ "1;5=k", NULL, NULL, NULL, false, -1 },
	{ "", NULL, NULL, NULL, false, -1 },
	{ "x;5=k", NULL, NULL, NULL, false, -1 },
	{ "%ldx;5=k", NULL, NULL, NULL, false, -1 },
	{ "%ld", NULL, NULL, NULL, true, -1 },
	{ "%ld;", NULL, NULL, NULL, true, -1 },
	{ "%ld;;;=;@;x;5;5k;-5=k;99999999999999999999=k;44=k;2=k;5=k", NULL, NULL, NULL, true, 5 },
	{ "%ld;5=%%6", NULL, NULL, NULL, true, -1 },
	{ "%ld;5=%%6b", NULL, NULL, NULL, true, 5 },
	{ "%ld;5=%%zz;6=k", NULL, NULL, NULL, true, 6 },
	{ "%ld;5=k;5=k;6=k", NULL, NULL, NULL, true, 5 },
	{ "%ld;5@k;6=k", NULL, NULL, NULL, true, 6 },
	{ NULL, NULL, "1", "3", false, -1 },
	{ NULL, NULL, "%ld", "x", false, -1 },
	{ NULL, NULL, "%ld", "-1", false, -1 },
	{ NULL, NULL, "%ld", "2000000000", false, -1 },
};

static const struct wrong *now;

static void
prepare_wrong(void)
{
	const char *names[] = { "SCONCE_FDS", "SCONCE_CHILDREN", "LISTEN_PID", "LISTEN_FDS" };
	const char *formats[] = { now->fds, now->children, now->listen_pid, now->listen_fds };
	char text[256];

	for (int i = 0; i < 4; i++) {
		if (formats[i] == NULL)
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), formats[i], (long)getpid());
#pragma GCC diagnostic pop
		setenv(names[i], text, 1);
	}
	fcntl(0, F_DUPFD, 5);
	fcntl(0, F_DUPFD, 6);
}

/* Nothing is believed that is for somebody else, and what is wrong is left out. */
START_TEST(test_inherited_wrong_variables_left_out)
{
	char *argv[] = { (char *)(uintptr_t)image_path(), (char[]){ "fd" }, NULL };
	char expected[64];

	now = &wrong[_i];
	run(argv[0], argv, prepare_wrong);
	snprintf(expected, sizeof(expected), "%d, restarted %d", now->fd, now->restarted);
	ck_assert_str_eq(value("inherited: ", false), expected);
	ck_assert_str_eq(value("ours:", false), "");
}
END_TEST

/* Whichever allocation fails, the variables are there for another try.  HZ-22. */
START_TEST(test_inherited_no_memory_reported)
{
	struct sconce_inherited *in = NULL;
	char text[64];
	int fd = open("/dev/null", O_RDONLY), r = -ENOMEM;

	if (!STARVE_WORKS) {
		close(fd);
		return;
	}
	snprintf(text, sizeof(text), "%ld;%d=k", (long)getpid(), fd);
	setenv("SCONCE_FDS", text, 1);
	snprintf(text, sizeof(text), "%ld;4711", (long)getpid());
	setenv("SCONCE_CHILDREN", text, 1);
	for (long n = 1; r != 0; n++) {
		starve_left = n;
		r = sconce_inherited_take(&in);
		starve_left = 0;
		ck_assert(r == 0 || r == -ENOMEM);
	}
	ck_assert_int_gt(starve_failed, 3);
	ck_assert_int_eq(sconce_inherited_fd(in, "k"), fd);
	ck_assert_int_eq(sconce_inherited_child(in), 4711);
	sconce_inherited_free(in);
	close(fd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("restart");
	TCase *t;

	t = t_case(suite, "exec");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_exec_finds_what_was_captured);
	tcase_add_test(t, test_exec_keeps_what_was_ignored);
	tcase_add_loop_test(t, test_exec_program_is_found, 0, 6);
	tcase_add_test(t, test_exec_directory_by_its_link);
	tcase_add_test(t, test_exec_a_thousand_times_level);
	tcase_add_test(t, test_exec_failure_changes_nothing);
	tcase_add_test(t, test_exec_without_directory_or_fd_refused);
	tcase_add_test(t, test_handover_wrong_entries_refused);
	tcase_add_test(t, test_set_argv_unknown_program_refused);
	tcase_add_test(t, test_restart_no_memory_reported);

	t = t_case(suite, "inherited");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_test(t, test_inherited_of_a_service_manager);
	tcase_add_test(t, test_inherited_endpoint_by_address);
	tcase_add_loop_test(t, test_inherited_wrong_variables_left_out, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(t, test_inherited_no_memory_reported);
	return suite;
}
