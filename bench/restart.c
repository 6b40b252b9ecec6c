/* A server (sconce/server.h) that is restarted all the time, and one that has no descriptors left.
 *
 *	restart [HUPS [SECONDS]]	100 and 2 by default
 *
 * 1. A client connects, is greeted and closes, without a pause, while the server gets HUP after HUP, each as soon as the
 *    program of the one before serves.  No connect may be refused, none reset.
 * 2. With RLIMIT_NOFILE 64, 200 clients come.  The server may use 5 % of a CPU at the most, says once what is wrong, and
 *    serves again when clients have gone.
 *
 * Exits non-zero when one of these is missed.  The server is this program, too ("restart serve"). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sconce/server.h>

enum { FEW = 64, MANY = 200, WAIT_MS = 20000 };

/* ---- the server ---- */

static void
guest_mux_connection(struct sconce_client *c)
{
	sconce_write(&c->stream.sock, "hello\n", 6);
}

static void
guest_mux_input(struct sconce_client *c, struct sconce_input *in)
{
	(void)c;
	sconce_input_take(in, in->len);
}

static const struct sconce_server_ops serve_ops = {
	.name = "serve", .mux_connection = guest_mux_connection, .mux_input = guest_mux_input,
};

static int
serve(int argc, char **argv)
{
	struct sconce_server server;
	int status;

	if (sconce_server_init(&server, &serve_ops, argc, argv) < 0)
		return 1;
	status = sconce_server_run(&server);
	sconce_server_fini(&server);
	return status;
}

/* ---- the server, seen from here ---- */

struct served {
	pid_t	pid;
	int	log;
	int	port;
	char	buf[65536];		/* the log's end */
	size_t	len;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
fail(const char *what)
{
	fprintf(stderr, "restart: %s\n", what);
	exit(2);
}

/* Reads some of the log.  Returns false after `ms` without any. */
static bool
read_log(struct served *v, int ms)
{
	struct pollfd p = { .fd = v->log, .events = POLLIN };
	ssize_t n;

	if (v->len > sizeof(v->buf) / 2) {	/* the older half is not asked for any more */
		memmove(v->buf, v->buf + v->len / 2, v->len - v->len / 2);
		v->len -= v->len / 2;
	}
	if (poll(&p, 1, ms) != 1)
		return false;
	n = read(v->log, v->buf + v->len, sizeof(v->buf) - 1 - v->len);
	if (n <= 0)
		fail("the server has ended");
	v->len += (size_t)n;
	v->buf[v->len] = '\0';
	return true;
}

/* Waits for `text` in the log, and forgets all until then. */
static const char *
wait_log(struct served *v, const char *text)
{
	char *at;

	while ((at = strstr(v->buf, text)) == NULL || strchr(at, '\n') == NULL)
		if (!read_log(v, WAIT_MS))
			fail(v->buf);
	at += strlen(text);
	v->len -= (size_t)(at - v->buf);
	memmove(v->buf, at, v->len + 1);
	return v->buf;
}

static void
start(struct served *v, const char *self, const char *option, rlim_t files)
{
	struct rlimit limit = { files, files };
	int fds[2];

	memset(v, 0, sizeof(*v));
	if (pipe2(fds, O_CLOEXEC) < 0 || (v->pid = fork()) < 0)
		fail(strerror(errno));
	if (v->pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		if (files != 0)
			setrlimit(RLIMIT_NOFILE, &limit);
		execl(self, self, "serve", "--port=127.0.0.1:0", option, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	v->log = fds[0];
	v->port = atoi(wait_log(v, "listening on 127.0.0.1:"));
	wait_log(v, "started");
}

static void
stop(struct served *v)
{
	int status;

	kill(v->pid, SIGTERM);
	while (waitpid(v->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(v->log);
}

/* Returns a connected fd, or -1. */
static int
dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval t = { .tv_sec = WAIT_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* ---- 1: restarts ---- */

static atomic_bool over;
static atomic_int refused, lost, greeted;

static void *
dials(void *arg)
{
	int port = *(int *)arg;

	while (!over) {
		char c;
		int fd = dial(port);

		if (fd < 0)
			refused++;
		else if (recv(fd, &c, 1, 0) == 1)
			greeted++;
		else
			lost++;
		close(fd);
	}
	return NULL;
}

static bool
restarts(const char *self, const char *option, int hups)
{
	static struct served v;
	pthread_t thread;
	double begun;

	start(&v, self, option, 0);
	over = false;
	refused = lost = greeted = 0;
	if (pthread_create(&thread, NULL, dials, &v.port) != 0)
		fail("no thread");
	begun = now();
	for (int i = 0; i < hups; i++) {
		kill(v.pid, SIGHUP);
		wait_log(&v, "started");
	}
	begun = now() - begun;
	over = true;
	pthread_join(thread, NULL);
	stop(&v);
	printf("%d restarts, %-14s %6.1f ms each; of %d connects %d refused, %d closed without an answer\n", hups, option,
	    begun / hups * 1e3, greeted + refused + lost, (int)refused, (int)lost);
	return refused == 0 && greeted > hups;
}

/* ---- 2: no descriptors ---- */

static double
cpu_of(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		fail("no CPU clock of the server's");
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What the log says in `seconds`; counts the reports. */
static int
count_reports(struct served *v, double seconds)
{
	double end = now() + seconds;
	int count = 0;

	while (now() < end) {
		if (!read_log(v, (int)((end - now()) * 1e3) + 1))
			continue;
		for (char *at = v->buf; (at = strstr(at, "accept")) != NULL; at++)
			count++;
		v->len = 0;
		v->buf[0] = '\0';
	}
	return count;
}

static bool
shortage(const char *self, double seconds)
{
	static struct served v;
	int fd[MANY], reports, after;
	double cpu;
	char c;

	start(&v, self, "--log_level=2", FEW);
	for (int i = 0; i < MANY; i++)
		fd[i] = dial(v.port);
	reports = count_reports(&v, 0.2);
	cpu = cpu_of(v.pid);
	reports += count_reports(&v, seconds);
	cpu = (cpu_of(v.pid) - cpu) / seconds;
	for (int i = 0; i < MANY; i++)
		close(fd[i]);
	after = dial(v.port);
	after = after >= 0 && recv(after, &c, 1, 0) == 1;
	stop(&v);
	printf("%d clients, %d descriptors      %6.2f %% CPU, %d report%s, %s afterwards\n", MANY, FEW, cpu * 100, reports,
	    reports == 1 ? "" : "s", after ? "serves" : "does not serve");
	return cpu < 0.05 && reports == 1 && after;
}

int
main(int argc, char **argv)
{
	int hups = argc > 1 ? atoi(argv[1]) : 100;
	double seconds = argc > 2 ? atof(argv[2]) : 2;
	bool good;

	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve(argc, argv);
	if (hups < 1 || seconds <= 0) {
		fprintf(stderr, "usage: restart [HUPS [SECONDS]]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	good = restarts(argv[0], "--drain=1", hups);
	good &= restarts(argv[0], "--drain=0", hups);
	good &= restarts(argv[0], "--processes=2", hups);
	good &= shortage(argv[0], seconds);
	return !good;
}
