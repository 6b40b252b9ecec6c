/* A program for t/test_restart.c: says on stdout what it finds itself to be, executes itself again, and says it again.
 *
 *	image report			what it is
 *	image again			spoils all that can be spoilt, and hands over sockets and a child
 *	image switch LINK TO		makes the link that it was started by lead elsewhere before it executes itself
 *	image count N			N times
 *	image managed ENDPOINT...	what a service manager has left
 *	image fd				what is inherited with the key "k" */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/restart.h>

extern char **environ;

static struct sconce_inherited *in;
static FILE *out;

static void
die(const char *what, int r)
{
	fprintf(stderr, "%s: %s\n", what, sconce_strerror(r));
	exit(99);
}

static void
say_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	int fds[256], count = 0;

	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(dir) && count < 256)
			fds[count++] = atoi(e->d_name);
	closedir(dir);
	fprintf(out, "fds:");
	for (int fd = 0; fd < 1024; fd++)
		for (int i = 0; i < count; i++)
			if (fds[i] == fd)
				fprintf(out, " %d", fd);
	fprintf(out, "\n");
}

static void
say_signals(void)
{
	struct sigaction action;
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	fprintf(out, "blocked:");
	for (int i = 1; i < 32; i++)
		if (sigismember(&mask, i) == 1)
			fprintf(out, " %d", i);
	fprintf(out, "\nignored:");
	for (int i = 1; i < 32; i++)
		if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			fprintf(out, " %d", i);
	fprintf(out, "\n");
}

static void
report(int argc, char **argv)
{
	char *cwd = getcwd(NULL, 0);
	mode_t mask = umask(0);
	int count = 0;

	umask(mask);
	fprintf(out, "argv:");
	for (int i = 0; i < argc; i++)
		fprintf(out, " %s", argv[i]);
	fprintf(out, "\ncwd: %s\numask: %03o\npid: %ld\n", cwd, (unsigned)mask, (long)getpid());
	free(cwd);
	say_fds();
	say_signals();
	fprintf(out, "proof: %s\nours:", getenv("PROOF") != NULL ? getenv("PROOF") : "none");
	for (char **e = environ; *e != NULL; e++, count++)
		if (strncmp(*e, "SCONCE_", 7) == 0 || strncmp(*e, "LISTEN_", 7) == 0)
			fprintf(out, " %.*s", (int)strcspn(*e, "="), *e);
	fprintf(out, "\nenvironment: %d\nchecking: %d\n", count, sconce_program_checking());
	fflush(out);
}

static int
listener(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 5) < 0)
		die("listen", -errno);
	return fd;
}

static void
on_signal(int signo)
{
	(void)signo;
}

static const char weird[] = "k;1=2%25@ \n\x80";

/* All that a program may do to itself. */
static void
spoil(char **argv)
{
	sigset_t set;

	strcpy(argv[1], "AGAI");
	setenv("PROOF", "changed", 1);
	umask(0);
	if (chdir("/") < 0 || fcntl(0, F_DUPFD, 50) < 0 || fcntl(0, F_DUPFD, 60) < 0 || fcntl(0, F_DUPFD_CLOEXEC, 70) < 0)
		die("spoil", -errno);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void
again(struct sconce_program *program, char **argv)
{
	struct sconce_handover *h;
	struct sconce_fail fail;
	pid_t pid;
	int fds[3];

	spoil(argv);
	if (sconce_handover_new(&h) < 0)
		die("handover", -ENOMEM);
	for (int i = 0; i < 3; i++) {
		fds[i] = listener();
		sconce_handover_add(h, fds[i], i < 2 ? "k" : weird);
	}
	pid = fork();
	if (pid == 0)
		_exit(7);
	sconce_handover_child(h, pid);
	fprintf(out, "handed: %d %d %d\nchild: %ld\n", fds[0], fds[1], fds[2], (long)pid);
	fflush(out);
	die(fail.text, sconce_program_exec(program, h, &fail));
}

static void
after(void)
{
	int status = 0, a = sconce_inherited_fd(in, "k"), left = (int)sconce_inherited_left(in), b = sconce_inherited_fd(in, "k");
	int none = sconce_inherited_fd(in, "k"), other = sconce_inherited_fd(in, weird);
	struct sconce_fd_info info;
	pid_t pid = sconce_inherited_child(in), last = sconce_inherited_child(in);

	waitpid(pid, &status, 0);
	sconce_fd_info(a, &info);
	fprintf(out, "inherited: %d %d %d %d, left %d\n", a, b, other, none, left);
	fprintf(out, "listening: %d, cloexec %d\n", info.listening, fcntl(a, F_GETFD) & FD_CLOEXEC);
	fprintf(out, "reaped: %ld %d, then %ld\n", (long)pid, WEXITSTATUS(status), (long)last);
	fflush(out);
}

static void
switch_link(struct sconce_program *program, char **argv)
{
	struct sconce_fail fail;

	if (unlink(argv[2]) < 0 || symlink(argv[3], argv[2]) < 0)
		die("switch", -errno);
	die(fail.text, sconce_program_exec(program, NULL, &fail));
}

/* Every program hands a socket over to the next. */
static void
count(struct sconce_program *program, int argc, char **argv)
{
	char number[16];
	char *next[] = { argv[0], argv[1], number, NULL };
	struct sconce_handover *h;
	struct sconce_fail fail;
	int n = atoi(argv[2]), fd = sconce_inherited_fd(in, "k");

	if (n == 0 || !sconce_inherited_restarted(in))
		report(argc, argv);
	if (n == 0)
		return;
	if (sconce_handover_new(&h) < 0 || sconce_handover_add(h, fd >= 0 ? fd : listener(), "k") < 0)
		die("handover", -ENOMEM);
	snprintf(number, sizeof(number), "%d", n - 1);
	sconce_program_set_argv(program, 3, next);
	die(fail.text, sconce_program_exec(program, h, &fail));
}

static void
managed(int argc, char **argv)
{
	const char *name = "none";
	struct sconce_endpoint ep;
	int fd;

	for (int i = 2; i < argc; i++) {
		sconce_endpoint_init(&ep);
		if (strncmp(argv[i], "name:", 5) == 0)
			snprintf(ep.text, sizeof(ep.text), "%s", argv[i] + 5);
		else if (sconce_endpoint_parse(argv[i], SCONCE_ENDPOINT_LISTEN, NULL, &ep, NULL) != 1)
			die(argv[i], -EINVAL);
		fprintf(out, "%s: %d\n", argv[i], sconce_inherited_endpoint(in, &ep));
	}
	while ((fd = sconce_inherited_any(in, &name)) >= 0)
		fprintf(out, "any: %d %s\n", fd, name);
	fprintf(out, "left: %zu, restarted %d\n", sconce_inherited_left(in), sconce_inherited_restarted(in));
	fflush(out);
}

int
main(int argc, char **argv)
{
	struct sconce_program *program;
	const char *mode = argc > 1 ? argv[1] : "";
	int r = sconce_program_capture(argc, argv, &program);

	out = sconce_program_checking() ? stderr : stdout;
	if (r == 0)
		r = sconce_inherited_take(&in);
	if (r < 0)
		die("start", r);
	if (strcmp(mode, "count") == 0) {
		count(program, argc, argv);
	} else {
		report(argc, argv);
		if (strcmp(mode, "managed") == 0)
			managed(argc, argv);
		else if (strcmp(mode, "fd") == 0)
			fprintf(out, "inherited: %d, restarted %d\n", sconce_inherited_fd(in, "k"), sconce_inherited_restarted(in));
		else if (sconce_inherited_restarted(in))
			after();
		else if (strcmp(mode, "again") == 0)
			again(program, argv);
		else if (strcmp(mode, "switch") == 0)
			switch_link(program, argv);
	}
	sconce_inherited_free(in);
	say_fds();
	sconce_program_free(program);
	return 0;
}
