/* Echo: sends back whatever comes.  Usage: echo [ENDPOINT] */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sconce/sconce.h>

struct echo {
	struct sconce_sock sock;		/* the base; never moves */
	/* ... and whatever else a connection of yours needs */
};

static void
echo_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)				/* the peer is done; what we owe it still goes out */
		sconce_close_flush(s, 30);
	else if (n > 0 && sconce_write(s, data, (size_t)n) == SCONCE_QUEUED)
		sconce_watch_read(s, false);	/* it does not read: until it does, nor do we */
}

static void
echo_event_drain(struct sconce_sock *s)
{
	sconce_watch_read(s, true);
}

static void
echo_destroy(struct sconce_sock *s)
{
	free(SCONCE_CONTAINER_OF(s, struct echo, sock));
}

static const struct sconce_sock_ops echo_ops = {
	.name = "echo", .event_read = echo_event_read, .event_drain = echo_event_drain, .destroy = echo_destroy,
};

static int
echo_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct echo *e = calloc(1, sizeof(*e));
	int result = e == NULL ? -ENOMEM : sconce_sock_init(&e->sock, l->sock.loop, &echo_ops, fd);

	(void)peer;
	if (result < 0) {
		free(e);			/* and the library closes fd */
		return result;
	}
	sconce_set_timeout(&e->sock, SCONCE_TIMEOUT_INPUT, 60);		/* a peer that is silent goes, */
	sconce_set_timeout(&e->sock, SCONCE_TIMEOUT_OUTPUT, 60);	/* and one that never reads */
	return 0;
}

static const struct sconce_listener_ops listener_ops = {.name = "listener", .accept = echo_accept};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	(void)signo, (void)arg;
	sconce_loop_stop(loop);
}

int
main(int argc, char **argv)
{
	const char *endpoint = argc > 1 ? argv[1] : "127.0.0.1:7007";
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct sconce_loop *loop = NULL;
	struct sconce_listener listener;
	char text[SCONCE_ADDR_TEXT];

	if (argc > 2 || endpoint[0] == '-') {
		fprintf(stderr, "usage: echo [ENDPOINT]\n");
		return 2;
	}
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_listen(&listener, loop, &listener_ops, endpoint, &fail) < 0) {
		fprintf(stderr, "echo: %s\n", fail.text);
		sconce_loop_free(loop);
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, NULL);
	sconce_signal(loop, SIGTERM, interrupted, NULL);
	printf("listening on %s\n", sconce_addr_text(&listener.addr, text, sizeof(text)));
	fflush(stdout);
	sconce_loop_run(loop);
	return sconce_loop_free(loop);
}
