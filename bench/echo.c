/* The echo server on sconce: what src/examples/echo.c is, with nothing but the echo.
 *
 * Features that an honest server has are on: back pressure, and an input-idle timeout on every connection. */
#include <errno.h>

#include <sconce/sconce.h>

#include "server.h"

struct echo {
	struct sconce_sock sock;
};

static void
echo_event_read(struct sconce_sock *s)
{
	const void *data;
	ssize_t n = sconce_read_shared(s, &data);

	if (n == 0)
		sconce_close(s, SCONCE_REASON_EOF);
	else if (n > 0 && sconce_write(s, data, (size_t)n) == SCONCE_QUEUED)
		sconce_watch_read(s, false);
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
	struct echo *e = malloc(sizeof(*e));
	int result = e == NULL ? -ENOMEM : sconce_sock_init(&e->sock, l->sock.loop, &echo_ops, fd);

	(void)peer;
	if (result < 0)
		free(e);
	else
		sconce_set_timeout(&e->sock, SCONCE_TIMEOUT_INPUT, 60);
	return result;
}

static const struct sconce_listener_ops listener_ops = {.name = "listener", .accept = echo_accept};

int
main(int argc, char **argv)
{
	const char *endpoint = server_endpoint(argc, argv);
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct sconce_listener listener;
	struct sconce_loop *loop;
	char text[SCONCE_ADDR_TEXT];

	if (sconce_loop_new(NULL, &loop) < 0 || sconce_listen(&listener, loop, &listener_ops, endpoint, &fail) < 0) {
		fprintf(stderr, "bench/echo: %s\n", fail.text);
		return 1;
	}
	server_ready(sconce_addr_text(&listener.addr, text, sizeof(text)));
	sconce_loop_run(loop);
	return 1;
}
