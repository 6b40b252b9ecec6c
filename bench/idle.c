/* What a loop costs while nothing happens, in situations that have made other loops spin.
 *
 *	idle [SECONDS]		2 by default, for each situation
 *
 * Prints the CPU used as a share of the time, and exits non-zero when one is above 1 %. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/sconce.h>

struct peer {
	struct sconce_sock sock;
	int other;			/* the other end, a plain fd */
	bool half_record;		/* pushes back what it reads */
	bool answers;			/* has written more than its peer takes */
};

static struct peer *
peer_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct peer, sock);
}

static void
peer_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n > 0 && peer_of(s)->half_record)
		sconce_unread(s, data, (size_t)n);
}

static void
peer_event_err(struct sconce_sock *s, int errnum)
{
	(void)s;
	(void)errnum;			/* and goes on, as a careless program would */
}

static void
peer_event_hup(struct sconce_sock *s)
{
	(void)s;
}

static const struct sconce_sock_ops peer_ops = {
	.name = "peer", .event_read = peer_event_read, .event_err = peer_event_err, .event_hup = peer_event_hup,
};

static void
half_record(struct peer *p)
{
	p->half_record = true;
	if (write(p->other, "half a rec", 10) != 10)
		abort();
}

static void
half_closed(struct peer *p)
{
	shutdown(p->other, SHUT_WR);
}

static void
paused(struct peer *p)
{
	sconce_watch_read(&p->sock, false);
	if (write(p->other, "unread", 6) != 6)
		abort();
}

static void
paused_reset(struct peer *p)
{
	paused(p);
	close(p->other);
	p->other = -1;
}

static void
gone(struct peer *p)
{
	close(p->other);
	p->other = -1;
}

static void
stuck(struct peer *p)
{
	static char much[4 << 20];

	sconce_write(&p->sock, much, sizeof(much));
	shutdown(p->other, SHUT_WR);
}

static const struct situation {
	const char *name;
	void (*begin)(struct peer *p);
} situations[] = {
	{ "half a record pushed back", half_record },
	{ "a half-closed peer", half_closed },
	{ "a paused socket with input", paused },
	{ "a paused socket, its peer gone", paused_reset },
	{ "a peer that is gone, ignored", gone },
	{ "end of input, output stuck", stuck },
};

static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double
measure(const struct situation *situation, double seconds)
{
	struct sconce_loop *loop;
	struct peer p = { .other = -1 };
	int fds[2];
	double end, before;

	if (sconce_loop_new(NULL, &loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
	    sconce_sock_init(&p.sock, loop, &peer_ops, fds[0]) < 0)
		exit(2);
	p.other = fds[1];
	situation->begin(&p);
	before = cpu_seconds();
	end = sconce_now(loop) + seconds;
	while (sconce_now(loop) < end)
		sconce_loop_step(loop, end - sconce_now(loop));
	before = cpu_seconds() - before;
	sconce_loop_free(loop);
	if (p.other >= 0)
		close(p.other);
	return before / seconds;
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	int failed = 0;

	for (size_t i = 0; i < sizeof(situations) / sizeof(situations[0]); i++) {
		double share = measure(&situations[i], seconds > 0 ? seconds : 2);

		printf("%-34s %6.2f %% CPU\n", situations[i].name, share * 100);
		fflush(stdout);
		failed |= share > 0.01;
	}
	return failed;
}
