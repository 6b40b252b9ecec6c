/* The server on sconce's pull-style multiplexer: it asks for the next event of any connection.
 *
 * As the others it closes a connection that is idle for long.  Who does not read is not read from. */
#include <sconce/sconce.h>

#include "server.h"

enum { IDLE_SECONDS = 60 };

struct workload {
	const char *name;
	void (*read)(const struct sconce_event *ev);	/* there is input */
};

static void
echo_read(const struct sconce_event *ev)
{
	int result = sconce_mux_send(ev->handle, ev->data, ev->len);

	if (result < 0)
		sconce_mux_close(ev->handle);
	else if (result == SCONCE_QUEUED)
		sconce_mux_pause(ev->handle);
}

static const struct workload workloads[] = {
	{"echo", echo_read},
};

static void
serve(struct sconce_mux *mux, const struct workload *workload)
{
	struct sconce_event ev;

	while (sconce_mux_next(mux, -1, &ev) == 1) {
		if (ev.type == SCONCE_EVENT_READ)
			workload->read(&ev);
		else if (ev.type == SCONCE_EVENT_SENT)
			sconce_mux_resume(ev.handle);
		else if (ev.type == SCONCE_EVENT_ACCEPTED)
			sconce_set_timeout(sconce_mux_sock(ev.handle), SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
	}
}

int
main(int argc, char **argv)
{
	struct server_args args = server_begin(argc, argv);
	const struct workload *workload = server_workload(&args, workloads, sizeof(workloads) / sizeof(workloads[0]),
		sizeof(workloads[0]));
	struct sconce_fail fail = {.text = "cannot make a multiplexer"};
	struct sconce_mux_handle *listener;
	struct sconce_addr addr;
	struct sconce_mux *mux;
	char text[SCONCE_ADDR_TEXT];

	if (sconce_mux_new(NULL, NULL, &mux) < 0 ||
	    sconce_mux_listen(mux, args.endpoint, NULL, &listener, &fail) < 0 ||
	    sconce_local(sconce_mux_sock(listener), &addr) < 0) {
		fprintf(stderr, "bench/mux: %s\n", fail.text);
		return 1;
	}
	server_ready(sconce_addr_text(&addr, text, sizeof(text)));
	serve(mux, workload);
	return 1;
}
