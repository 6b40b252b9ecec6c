/* What interest costs: a program that does one thing so many times and ends, for a tool to count its system
 * calls.
 *
 *	watch writable N	writes that the kernel takes at once
 *	watch cycle N		a socket fills, waits for its reader, and drains
 *	watch paused N		the life of a socket that is never read, whose peer says something and goes
 *	watch hup N		the same over TCP, with a reset; prints "hup after 0.020 ms", the median
 *
 * The exit status is not 0 when something else happens than should. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sconce/sconce.h>

enum { SAMPLES_MAX = 1000, STEPS_MAX = 1000, BLOCK = 64 * 1024 };

#define UNREAD "unread"

struct end {
	struct sconce_sock sock;
	int other;			/* the other end, a plain fd */
	double hup_at;			/* when its hook ran; 0: not yet */
};

static struct sconce_loop *loop;
static char block[BLOCK];

static _Noreturn void
wrong(const char *what)
{
	fprintf(stderr, "bench/watch: %s\n", what);
	exit(1);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void
end_event_read(struct sconce_sock *s)
{
	(void)s;
	wrong("a hook to read ran, and there is nothing to read or it was not wished");
}

static void
end_event_hup(struct sconce_sock *s)
{
	SCONCE_CONTAINER_OF(s, struct end, sock)->hup_at = seconds();
}

static void
end_event_err(struct sconce_sock *s, int errnum)
{
	(void)s, (void)errnum;
}

static const struct sconce_sock_ops end_ops = {
	.name = "end", .event_read = end_event_read, .event_hup = end_event_hup, .event_err = end_event_err,
};

static void
begin(struct end *e, const int *fds)
{
	*e = (struct end){.other = fds[1]};
	if (sconce_sock_init(&e->sock, loop, &end_ops, fds[0]) < 0)
		wrong("cannot attach a socket");
}

static void
begin_local(struct end *e)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		wrong("no socketpair");
	begin(e, fds);
}

static void
turn(void)
{
	sconce_loop_step(loop, 0);
}

static void
finish(struct end *e)
{
	if (e->other >= 0)
		close(e->other);
	sconce_close(&e->sock, SCONCE_REASON_LOCAL);
	turn();
}

static void
writable(int times)
{
	struct end e;

	begin_local(&e);
	for (int i = 0; i < times; i++) {
		if (sconce_write(&e.sock, block, 64) < 0)
			wrong("a write failed");
		turn();
		if (recv(e.other, block, sizeof(block), MSG_DONTWAIT) != 64)
			wrong("what was written did not arrive in the same turn");
	}
	finish(&e);
}

static void
drain(struct end *e)
{
	for (int i = 0; sconce_queued(&e->sock) > 0; i++) {
		if (i == STEPS_MAX)
			wrong("the queue does not drain");
		while (recv(e->other, block, sizeof(block), MSG_DONTWAIT) > 0)
			;
		turn();
	}
}

static void
cycle(int times)
{
	struct end e;

	begin_local(&e);
	for (int i = 0; i < times; i++) {
		for (int j = 0; sconce_write(&e.sock, block, sizeof(block)) != SCONCE_QUEUED; j++) {
			if (j == STEPS_MAX)
				wrong("the socket does not fill");
			turn();
		}
		turn();
		drain(&e);
		turn();
	}
	finish(&e);
}

static void
paused(int times)
{
	for (int i = 0; i < times; i++) {
		struct end e;

		begin_local(&e);
		sconce_watch_read(&e.sock, false);
		turn();
		if (send(e.other, UNREAD, strlen(UNREAD), 0) < 0)
			wrong("a send failed");
		turn();
		close(e.other);
		e.other = -1;
		turn();
		if (e.hup_at == 0)
			wrong("a paused socket was not told that its peer is gone");
		finish(&e);
	}
}

/* ---- hup ---- */

static int
listen_somewhere(struct sockaddr_in *addr_out)
{
	socklen_t len = sizeof(*addr_out);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr_out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)addr_out, len) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)addr_out, &len) < 0)
		wrong("cannot listen");
	return fd;
}

static void
begin_tcp(struct end *e)
{
	struct linger reset = {.l_onoff = 1};
	struct sockaddr_in addr;
	int listener = listen_somewhere(&addr), fds[2];

	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fds[1] < 0 || connect(fds[1], (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    (fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		wrong("cannot connect");
	close(listener);
	setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	begin(e, fds);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Returns seconds from the reset to the hook. */
static double
reset_once(void)
{
	struct end e;
	double at;

	begin_tcp(&e);
	sconce_watch_read(&e.sock, false);
	if (send(e.other, UNREAD, strlen(UNREAD), 0) < 0)
		wrong("a send failed");
	turn();
	at = seconds();
	close(e.other);
	e.other = -1;
	for (int i = 0; e.hup_at == 0 && i < STEPS_MAX; i++)
		sconce_loop_step(loop, 0.01);
	if (e.hup_at == 0)
		wrong("a paused socket was not told of the reset");
	if (sconce_read(&e.sock, block, sizeof(block)) != (ssize_t)strlen(UNREAD) ||
	    memcmp(block, UNREAD, strlen(UNREAD)) != 0)
		wrong("unread data was lost");
	finish(&e);
	return e.hup_at - at;
}

static void
hup(int times)
{
	static double samples[SAMPLES_MAX];

	if (times > SAMPLES_MAX)
		times = SAMPLES_MAX;
	for (int i = 0; i < times; i++)
		samples[i] = reset_once();
	qsort(samples, (size_t)times, sizeof(*samples), compare);
	printf("hup after %.3f ms\n", samples[times / 2] * 1000);
}

static const struct mode {
	const char *name;
	void (*run)(int times);
} modes[] = {
	{"writable", writable}, {"cycle", cycle}, {"paused", paused}, {"hup", hup},
};

int
main(int argc, char **argv)
{
	int times = argc == 3 ? atoi(argv[2]) : 0;

	for (size_t i = 0; times > 0 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		if (sconce_loop_new(NULL, &loop) < 0)
			wrong("cannot make a loop");
		modes[i].run(times);
		sconce_loop_free(loop);
		return 0;
	}
	fprintf(stderr, "usage: watch writable|cycle|paused|hup N\n");
	return 2;
}
