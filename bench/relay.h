/* The relays written by hand: whoever connects talks to the target.
 *
 *	copy		one buffer of 64 KiB, recv and send
 *	splice		through a pipe for each direction; the bytes never come here
 *
 * The program that includes this waits for events: it defines struct watch before, and the four functions below. */
#ifndef RELAY_H
#define RELAY_H

#include <fcntl.h>
#include <sys/epoll.h>

#include "plain.h"

enum { PIPE_BYTES = 1024 * 1024 };

struct end;

static void watch_begin(struct end *e);			/* for EPOLLIN */
static void watch_change(struct end *e, uint32_t events);	/* EPOLLIN, EPOLLOUT */
static void watch_end(struct end *e);			/* its fd is about to be closed */
static _Noreturn void serve(int listener);		/* calls accepted(), end_event() and, behind a batch of them, bury() */

struct pair;

/* One of the two connections, and what goes from it to the other. */
struct end {
	struct watch watch;
	int fd;
	uint32_t watched;
	bool over;			/* it has ended, and the other was told */
	int pipe[2];			/* splice: bytes on their way, */
	size_t in_pipe;			/* so many */
	struct plain_rest rest;		/* copy: bytes on their way */
	struct end *other;
	struct pair *pair;
};

struct pair {
	struct end client, target;
	struct pair *next_dead;
	bool dead;			/* freed when the events that were fetched are done */
};

/* Moves once from an end to the other.  Returns false when the connection is broken. */
struct workload {
	const char *name;
	bool (*receive)(struct end *from);
	bool (*send)(struct end *from);
	bool pipes;
};

static const struct workload *workload;
static struct sockaddr_in target;
static char buffer[PLAIN_BUFFER];
static struct pair *dead;

static bool
waits(const struct end *from)
{
	return from->in_pipe > 0 || from->rest.data != NULL;
}

/* An end is read while nothing waits on its way, and written while something does. */
static void
end_watch(struct end *e)
{
	uint32_t events = 0;

	if (!e->over && !waits(e))
		events |= EPOLLIN;
	if (waits(e->other))
		events |= EPOLLOUT;
	if (events == e->watched)
		return;
	watch_change(e, events);
	e->watched = events;
}

static void
end_close(struct end *e)
{
	watch_end(e);
	close(e->fd);
	if (workload->pipes) {
		close(e->pipe[0]);
		close(e->pipe[1]);
	}
	plain_drop(&e->rest);
}

static void
pair_close(struct pair *p)
{
	if (p->dead)
		return;
	end_close(&p->client);
	end_close(&p->target);
	p->dead = true;
	p->next_dead = dead;
	dead = p;
}

/* What came to an end is passed on as a half-close. */
static bool
end_over(struct end *from)
{
	from->over = true;
	shutdown(from->other->fd, SHUT_WR);
	return !from->other->over;
}

static bool
copy_receive(struct end *from)
{
	ssize_t n = recv(from->fd, buffer, sizeof(buffer), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n == 0 ? end_over(from) : plain_send(from->other->fd, &from->rest, buffer, (size_t)n);
}

static bool
copy_send(struct end *from)
{
	return plain_resend(from->other->fd, &from->rest);
}

static bool
splice_send(struct end *from)
{
	while (from->in_pipe > 0) {
		ssize_t n = splice(from->pipe[0], NULL, from->other->fd, NULL, from->in_pipe,
			SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		from->in_pipe -= (size_t)n;
	}
	return true;
}

static bool
splice_receive(struct end *from)
{
	ssize_t n = splice(from->fd, NULL, from->pipe[1], NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return end_over(from);
	from->in_pipe = (size_t)n;
	return splice_send(from);
}

static void
end_event(struct end *e, uint32_t events)
{
	struct pair *p = e->pair;
	bool good = true;

	if (p->dead)
		return;
	if ((events & EPOLLOUT) && waits(e->other))
		good = workload->send(e->other);
	if (good && (events & ~(uint32_t)EPOLLOUT) && !e->over && !waits(e))
		good = workload->receive(e);
	else if (good && (events & (EPOLLERR | EPOLLHUP)))
		good = false;
	if (!good) {
		pair_close(p);
		return;
	}
	end_watch(e);
	end_watch(e->other);
}

static void
end_begin(struct end *e, struct pair *p, struct end *other, int fd)
{
	e->fd = fd;
	e->pair = p;
	e->other = other;
	e->watched = EPOLLIN;
	if (workload->pipes) {
		if (pipe2(e->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
			server_die("pipe");
		fcntl(e->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);	/* smaller will do where it is refused */
	}
	watch_begin(e);
}

/* Over loopback a connect that may block does not. */
static void
pair_new(int client_fd)
{
	struct pair *p = calloc(1, sizeof(*p));
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (p == NULL || fd < 0)
		server_die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) < 0)
		server_die("the target");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	end_begin(&p->client, p, &p->target, client_fd);
	end_begin(&p->target, p, &p->client, fd);
}

/* Accepts a connection, if there is one. */
static void
accepted(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		pair_new(fd);
}

/* Frees the pairs that are dead: no event of theirs may still come. */
static void
bury(void)
{
	struct pair *p;

	while ((p = dead) != NULL) {
		dead = p->next_dead;
		free(p);
	}
}

static const struct workload workloads[] = {
	{"copy", copy_receive, copy_send, .pipes = false},
	{"splice", splice_receive, splice_send, .pipes = true},
};

static _Noreturn void
relay_main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	int listener;

	workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]), sizeof(workloads[0]));
	if (args.target == NULL || !net_parse(args.target, &target)) {
		fprintf(stderr, "bench: a relay needs a target, ADDRESS:PORT\n");
		exit(2);
	}
	listener = plain_listen(args.endpoint);
	plain_ready(listener);
	serve(listener);
}

#endif
