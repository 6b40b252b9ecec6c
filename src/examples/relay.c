/* A TCP relay: whoever connects here talks to the target.
 *
 *	relay LISTEN TARGET		for instance 127.0.0.1:7008 127.0.0.1:7007
 *
 * Each end of input is passed on as what it is, a half-close: the other direction goes on.  A broken
 * connection is passed on as a reset.  When a connection has ended, its byte counts are printed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <sconce/sconce.h>

enum { CONNECT_SECONDS = 10 };

struct relay {
	struct sconce_listener listener;
	const char *target;
	unsigned long long pairs, up, down;	/* served; bytes to the target, bytes back */
};

/* A client and its connection to the target; freed when both are. */
struct pair {
	struct sconce_sock client, target;
	int alive;				/* how many of the two are not destroyed yet */
	struct relay *relay;
	unsigned long long number;
};
static const struct sconce_sock_ops client_ops, target_ops;

static struct pair *
pair_of(struct sconce_sock *s)
{
	return s->ops == &client_ops ? SCONCE_CONTAINER_OF(s, struct pair, client) :
		SCONCE_CONTAINER_OF(s, struct pair, target);
}

/* Both directions have ended, or one has failed. */
static void
pair_done(struct sconce_sock *s, void *arg, int status)
{
	struct pair *p = arg;
	unsigned long long up = sconce_transferred(&p->client), down = sconce_transferred(&p->target);

	(void)s;
	p->relay->up += up;
	p->relay->down += down;
	printf("#%llu: %llu bytes to the target, %llu back%s%s\n", p->number, up, down,
		status < 0 ? ": " : "", status < 0 ? sconce_strerror(status) : "");
	fflush(stdout);
	if (status < 0) {			/* what is cut off must not look complete */
		sconce_abort(&p->client);
		sconce_abort(&p->target);
	}
	sconce_close(&p->client, SCONCE_REASON_LOCAL);
	sconce_close(&p->target, SCONCE_REASON_LOCAL);
}

static void
target_event_connect(struct sconce_sock *s, int errnum)
{
	struct pair *p = pair_of(s);
	const struct sconce_fail *fail = sconce_failure(s);

	if (errnum == 0) {
		sconce_relay(&p->client, &p->target, pair_done, p);
		return;				/* if it failed, pair_done is told */
	}
	fprintf(stderr, "relay: #%llu: %s\n", p->number, fail != NULL ? fail->text : sconce_strerror(errnum));
	sconce_abort(&p->client);
	sconce_close(s, SCONCE_REASON_CONNECT);
}

/* Nothing to do: what has arrived and is unread is still passed on, and pair_done closes. */
static void
pair_event_hup(struct sconce_sock *s)
{
	(void)s;
}

/* Neither outlives the other. */
static void
pair_event_close(struct sconce_sock *s)
{
	struct pair *p = pair_of(s);

	sconce_close(&p->client, s->reason);
	sconce_close(&p->target, s->reason);
}

static void
pair_destroy(struct sconce_sock *s)
{
	struct pair *p = pair_of(s);

	if (--p->alive == 0)
		free(p);
}

/* No event_read: the transfers read. */
static const struct sconce_sock_ops client_ops = {
	.name = "client",
	.event_hup = pair_event_hup,
	.event_close = pair_event_close,
	.destroy = pair_destroy,
};
static const struct sconce_sock_ops target_ops = {
	.name = "target",
	.event_connect = target_event_connect,
	.event_hup = pair_event_hup,
	.event_close = pair_event_close,
	.destroy = pair_destroy,
};

static int
relay_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct relay *relay = SCONCE_CONTAINER_OF(l, struct relay, listener);
	struct sconce_loop *loop = l->sock.loop;
	struct pair *p = calloc(1, sizeof(*p));
	int result;

	(void)peer;
	if (p == NULL)
		return -ENOMEM;
	p->relay = relay;
	p->number = ++relay->pairs;
	p->alive = 1;
	result = sconce_sock_init(&p->target, loop, &target_ops, -1);
	if (result < 0) {
		free(p);
		return result;
	}
	result = sconce_sock_init(&p->client, loop, &client_ops, fd);
	if (result == 0) {
		p->alive = 2;			/* and fd is the client's from here on */
		sconce_set_timeout(&p->target, SCONCE_TIMEOUT_CONNECT, CONNECT_SECONDS);
		if (sconce_connect(&p->target, relay->target) < 0)
			sconce_close(&p->target, SCONCE_REASON_CONNECT);
	} else {
		sconce_close(&p->target, SCONCE_REASON_LOCAL);
	}
	return result;
}

static const struct sconce_listener_ops relay_listener_ops = {.name = "relay", .accept = relay_accept};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	(void)signo, (void)arg;
	sconce_loop_stop(loop);
}

int
main(int argc, char **argv)
{
	struct sconce_fail fail = {.text = "cannot make a loop"};
	struct sconce_loop *loop = NULL;
	struct relay relay = {.pairs = 0};
	struct sconce_endpoint target[SCONCE_ENDPOINTS];
	char text[SCONCE_ADDR_TEXT];

	if (argc != 3 || argv[1][0] == '-') {
		fprintf(stderr, "usage: relay LISTEN TARGET\n");
		return 2;
	}
	relay.target = argv[2];
	if (sconce_endpoint_parse(relay.target, SCONCE_ENDPOINT_CONNECT, NULL, target, &fail) < 0 ||
	    sconce_loop_new(NULL, &loop) < 0 ||
	    sconce_listen(&relay.listener, loop, &relay_listener_ops, argv[1], &fail) < 0) {
		fprintf(stderr, "relay: %s\n", fail.text);
		sconce_loop_free(loop);
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, NULL);
	sconce_signal(loop, SIGTERM, interrupted, NULL);
	printf("listening on %s\n", sconce_addr_text(&relay.listener.addr, text, sizeof(text)));
	fflush(stdout);
	sconce_loop_run(loop);
	sconce_loop_free(loop);
	printf("%llu connections, %llu bytes to the target, %llu back\n", relay.pairs, relay.up, relay.down);
	return 0;
}
