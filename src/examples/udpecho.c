/* UDP echo: sends each datagram back to whoever sent it, from the address it was sent to.
 *
 *	udpecho [ENDPOINT]		by default udp://127.0.0.1:7007; unix_dgram:///PATH will do as well
 *
 * On SIGINT it ends and prints how much it has done.  Exit status: 0, or 1 after a failure to start. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>

#include <sconce/sconce.h>

struct echo {
	struct sconce_dgram dgram;	/* the base */
	unsigned long errors;
};
static const struct sconce_dgram_ops echo_ops;

static struct echo *
echo_of(struct sconce_dgram *d)
{
	assert(d->ops == &echo_ops);
	return SCONCE_CONTAINER_OF(d, struct echo, dgram);
}

static void
echo_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	if (sconce_dgram_reply(d, p, p->data, p->len) == SCONCE_QUEUED)
		sconce_watch_read(&d->sock, false);	/* until event_drain */
}

static void
echo_event_drain(struct sconce_dgram *d)
{
	sconce_watch_read(&d->sock, true);
}

/* An answer that nobody wanted, or that could not be sent: the others do not mind. */
static void
echo_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	(void)e;
	echo_of(d)->errors++;
}

static const struct sconce_dgram_ops echo_ops = {
	.name = "udpecho",
	.event_datagram = echo_event_datagram,
	.event_drain = echo_event_drain,
	.event_error = echo_event_error,
};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	(void)signo, (void)arg;
	sconce_loop_stop(loop);
}

int
main(int argc, char **argv)
{
	const char *endpoint = argc > 1 ? argv[1] : "udp://127.0.0.1:7007";
	struct sconce_dgram_options opts = {.local = true};
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct sconce_loop *loop = NULL;
	struct echo echo = {.errors = 0};
	struct sconce_addr addr;
	char text[SCONCE_ADDR_TEXT];

	if (argc > 2 || endpoint[0] == '-') {
		fprintf(stderr, "usage: udpecho [ENDPOINT]\n");
		return 2;
	}
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_dgram_init(&echo.dgram, loop, &echo_ops, -1, &opts) < 0 ||
	    sconce_bind(&echo.dgram.sock, endpoint, &fail) < 0 || sconce_local(&echo.dgram.sock, &addr) < 0) {
		fprintf(stderr, "udpecho: %s\n", fail.text);
		sconce_loop_free(loop);
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, NULL);
	printf("listening on %s\n", sconce_addr_text(&addr, text, sizeof(text)));
	fflush(stdout);
	sconce_loop_run(loop);
	printf("received %llu sent %llu errors %lu\n", (unsigned long long)echo.dgram.received,
		(unsigned long long)echo.dgram.sent, echo.errors);
	return sconce_loop_free(loop);
}
