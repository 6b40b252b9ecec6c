/* A line client: sends standard input to a server and prints what comes back.
 *
 *	client ENDPOINT			for instance 127.0.0.1:7007 or /run/some.sock
 *
 * At the end of its input it closes the sending half and goes on printing until the server ends too.
 * Exit status: 0, or 1 after a failure, which a line on standard error explains. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sconce/sconce.h>

enum { CONNECT_SECONDS = 10, PIECE = 16 * 1024 };

struct client {
	struct sconce_sock sock;	/* the connection */
	struct sconce_watch input;	/* standard input: ours to read, but not to own or to change */
	bool full;			/* the connection takes no more for now */
	int status;			/* of the program */
};
static const struct sconce_sock_ops client_ops;

static struct client *
client_of(struct sconce_sock *s)
{
	assert(s->ops == &client_ops);
	return SCONCE_CONTAINER_OF(s, struct client, sock);
}

/* Says what went wrong, and ends. */
static void
client_fail(struct client *c, const char *what)
{
	fprintf(stderr, "client: %s\n", what);
	c->status = 1;
	sconce_close(&c->sock, SCONCE_REASON_LOCAL);
}

/* The same for a connect; without memory there is no record of it. */
static void
client_fail_connect(struct client *c, int errnum)
{
	const struct sconce_fail *fail = sconce_failure(&c->sock);

	client_fail(c, fail != NULL ? fail->text : sconce_strerror(errnum));
}

/* Input is over: the server is told so, and may go on talking. */
static void
client_end_input(struct client *c)
{
	sconce_watch_stop(&c->input);
	sconce_watch_write(&c->sock, false);
	sconce_shutdown(&c->sock, SHUT_WR);
}

/* Sends one piece of standard input. */
static void
client_send(struct client *c)
{
	char piece[PIECE];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));

	if (n > 0) {
		c->full = sconce_write(&c->sock, piece, (size_t)n) == SCONCE_QUEUED;
		if (c->full)
			sconce_watch_set(&c->input, 0);
	} else if (n == 0) {
		client_end_input(c);
	} else if (errno != EINTR && errno != EAGAIN) {
		client_fail(c, strerror(errno));
	}
}

static void
client_input_ready(struct sconce_watch *w, unsigned events, void *arg)
{
	struct client *c = arg;

	(void)w, (void)events;
	if (!c->full)			/* a hang-up is told even then */
		client_send(c);
}

static void
client_event_drain(struct sconce_sock *s)
{
	struct client *c = client_of(s);

	if (c->full)
		sconce_watch_set(&c->input, SCONCE_READ);
	c->full = false;
}

/* Only files need this: they are always ready, so the connection sets the pace. */
static void
client_event_write(struct sconce_sock *s)
{
	client_send(client_of(s));
}

static void
client_event_connect(struct sconce_sock *s, int errnum)
{
	struct client *c = client_of(s);
	int result;

	if (errnum != 0) {
		client_fail_connect(c, errnum);
		return;
	}
	result = sconce_watch_start(&c->input, s->loop, STDIN_FILENO, SCONCE_READ, client_input_ready, c);
	if (result == -EPERM)		/* it is a file: nothing to wait for */
		result = sconce_watch_write(s, true);
	if (result < 0)
		client_fail(c, sconce_strerror(result));
}

static void
client_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	if (n > 0 && (fwrite(data, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0))
		client_fail(client_of(s), "cannot write to standard output");
}

static void
client_event_err(struct sconce_sock *s, int errnum)
{
	client_fail(client_of(s), sconce_strerror(errnum));
}

static void
client_event_close(struct sconce_sock *s)
{
	sconce_watch_stop(&client_of(s)->input);
	if (s->unsent > 0) {
		fprintf(stderr, "client: %llu bytes were not sent\n", (unsigned long long)s->unsent);
		client_of(s)->status = 1;
	}
	sconce_loop_stop(s->loop);
}

static const struct sconce_sock_ops client_ops = {
	.name = "client",
	.event_read = client_event_read,
	.event_write = client_event_write,
	.event_err = client_event_err,
	.event_connect = client_event_connect,
	.event_drain = client_event_drain,
	.event_close = client_event_close,
};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	struct client *c = arg;

	(void)loop;
	c->status = 128 + signo;	/* as the shell would have it */
	sconce_close(&c->sock, SCONCE_REASON_LOCAL);
}

int
main(int argc, char **argv)
{
	struct client c = {.status = 0};
	struct sconce_loop *loop;
	int result;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: client ENDPOINT\n");
		return 2;
	}
	result = sconce_loop_new(NULL, &loop);
	if (result < 0) {
		fprintf(stderr, "client: %s\n", sconce_strerror(result));
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, &c);
	result = sconce_sock_init(&c.sock, loop, &client_ops, -1);
	if (result < 0) {
		fprintf(stderr, "client: %s\n", sconce_strerror(result));
		sconce_loop_free(loop);
		return 1;
	}
	sconce_set_timeout(&c.sock, SCONCE_TIMEOUT_CONNECT, CONNECT_SECONDS);
	result = sconce_connect(&c.sock, argv[1]);
	if (result < 0)
		client_fail_connect(&c, result);
	sconce_loop_run(loop);
	sconce_loop_free(loop);
	return c.status;
}
