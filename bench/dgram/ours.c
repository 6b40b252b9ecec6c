/* The echo on sconce: what an honest server has is on: an idle timeout, and back pressure. */
#include "dgram.h"

#include <sconce/sconce.h>

static void
event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	if (sconce_dgram_reply(d, p, p->data, p->len) == SCONCE_QUEUED)
		sconce_watch_read(&d->sock, false);
}

static void
event_drain(struct sconce_dgram *d)
{
	sconce_watch_read(&d->sock, true);
}

static const struct sconce_dgram_ops ops = {.name = "echo", .event_datagram = event_datagram, .event_drain = event_drain};

_Noreturn void
serve_ours(int fd)
{
	struct sconce_dgram_options opts = {.max_size = ROOM};
	struct sconce_loop *loop;
	struct sconce_dgram echo;

	if (sconce_loop_new(NULL, &loop) < 0 || sconce_dgram_init(&echo, loop, &ops, fd, &opts) < 0)
		die("start");
	sconce_set_timeout(&echo.sock, SCONCE_TIMEOUT_INPUT, 3600);
	sconce_loop_run(loop);
	die("the loop has ended");
}
