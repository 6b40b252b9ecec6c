/* A filter of your own: netstrings ("5:hello,"), and a server that sends back every one.  Usage: filter [ENDPOINT]
 *
 * A filter is a table of functions and settings that never change.  It has none, so one that is static serves all
 * connections. What is known of one connection is its state, which the library keeps, and zeroes before. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sconce/sconce.h>

struct netstring {
	size_t need;			/* bytes of the string that comes, and its comma; 0: its length comes first */
};

/* The digits and the colon. */
static int
get_length(const struct sconce_filter *f, struct netstring *n, struct sconce_input *in)
{
	size_t size = 0, i = 0;

	for (; i < in->len && in->data[i] >= '0' && in->data[i] <= '9'; i++) {
		size = size * 10 + (size_t)(in->data[i] - '0');
		if (size > sconce_filter_max_record(f))
			return -EMSGSIZE;
	}
	if (i == in->len)
		return SCONCE_FILTER_MORE;
	if (i == 0 || in->data[i] != ':')
		return -EBADMSG;
	sconce_input_take(in, i + 1);
	n->need = size + 1;
	return SCONCE_FILTER_SKIP;
}

static int
netstring_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	struct netstring *n = state;

	if (n->need == 0)
		return get_length(f, n, in);
	if (in->len < n->need)
		return SCONCE_FILTER_MORE;
	*rec_out = sconce_record_of(in->data, n->need - 1);
	if (in->data[rec_out->len] != ',') {
		in->error = "a netstring without its comma";
		return -EBADMSG;
	}
	sconce_input_take(in, n->need);
	n->need = 0;
	return SCONCE_FILTER_RECORD;
}

static int
netstring_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	char length[24];
	struct iovec iov[3] = { { length, 0 }, { (void *)(uintptr_t)rec->data, rec->len }, { ",", 1 } };

	(void)f, (void)state;
	iov[0].iov_len = (size_t)snprintf(length, sizeof(length), "%zu:", rec->len);
	return sconce_sink_pieces(to, iov, 3);
}

static const struct sconce_filter_ops netstring_ops = {
	.name = "netstring", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct netstring),
	.get = netstring_get, .put = netstring_put,
};
static struct sconce_filter netstrings = { .ops = &netstring_ops };	/* nobody's to free: the table has no free() */

static void
guest_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	if (rec->flags & SCONCE_RECORD_LAST)
		return;					/* half a string, and then the end */
	if (sconce_stream_put(st, rec) == SCONCE_QUEUED)
		sconce_watch_read(&st->sock, false);	/* it does not read: until it does, nor do we */
}

static void
guest_event_drain(struct sconce_stream *st)
{
	sconce_watch_read(&st->sock, true);
}

static void
guest_event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	fprintf(stderr, "filter: %s\n", fail->text);
	sconce_close_flush(&st->sock, 1);
}

static void
guest_destroy(struct sconce_stream *st)
{
	free(st);
}

static const struct sconce_stream_ops guest_ops = {
	.name = "guest", .event_record = guest_event_record, .event_drain = guest_event_drain,
	.event_fail = guest_event_fail, .destroy = guest_destroy,
};

static int
guest_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct sconce_stream_options options = { .filter = &netstrings };
	struct sconce_stream *st = calloc(1, sizeof(*st));
	int result = st == NULL ? -ENOMEM : sconce_stream_init(st, l->sock.loop, &guest_ops, fd, &options);

	(void)peer;
	if (result < 0)
		free(st);
	return result;
}

static const struct sconce_listener_ops listener_ops = { .name = "listener", .accept = guest_accept };

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
	struct sconce_fail fail = { .text = "cannot make a loop" };
	struct sconce_listener listener;
	struct sconce_loop *loop = NULL;
	char text[SCONCE_ADDR_TEXT];

	if (argc > 2 || endpoint[0] == '-') {
		fprintf(stderr, "usage: filter [ENDPOINT]\n");
		return 2;
	}
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_listen(&listener, loop, &listener_ops, endpoint, &fail) < 0) {
		fprintf(stderr, "filter: %s\n", fail.text);
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
