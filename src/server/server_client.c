/* Clients of a server: accepted, judged, given to the hooks, seen off.  See sconce/server.h.
 *
 *	accept -> get_client_info, POST_ACCEPT_HOOK, allow_deny ... (names are looked up) ... ALLOW_DENY_HOOK
 *	       -> let in: MUX_CONNECTION, reads begin      or turned away: REQUEST_DENIED_HOOK, flushed, closed
 *	       -> event_close: POST_PROCESS_REQUEST_HOOK, MUX_CLOSE -> destroy */
#include "server_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Seconds for a farewell to one who was turned away, and for what is queued when the server ends. */
enum { FAREWELL = 5, LAST_WORDS = 1 };

enum {
	C_SHOWN = 1,		/* post_accept_hook has seen it: it gets the farewell hooks, too */
	C_COUNTED = 2		/* for max_clients */
};

struct sconce_client *
sconce_client_of(struct sconce_stream *st)
{
	return SCONCE_CONTAINER_OF(st, struct sconce_client, stream);
}

/* ---- its log ---- */

void
sconce_client_log(struct sconce_client *c, int level, const char *format, ...)
{
	struct sconce_log *log = sconce_process_log(c->server->process);
	char text[2048], from[SCONCE_ADDR_TEXT];
	va_list ap;

	if (!sconce_log_wanted(log, level))
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	sconce_log_line(log, level, "client %llu %s: %s", (unsigned long long)c->number,
	    sconce_addr_text(&c->peer, from, sizeof(from)), text);
}

static void
step(struct sconce_client *c, const char *name)
{
	sconce_client_log(c, SCONCE_LOG_DEBUG, "%s", name);
}

/* ---- stdout, while a hook runs (NS-38) ---- */

/* Returns what stdout was. */
static FILE *
lend_stdout(struct sconce_client *c)
{
	struct sconce__server *s = c->server->_s;
	FILE *was = stdout, *file;

	if (!s->wants_stdout || c->server->options.no_client_stdout)
		return was;
	file = sconce_stream_file(&c->stream);
	if (file != NULL)
		stdout = file;
	return was;
}

/* ---- the hooks of the stream ---- */

static void
client_event_input(struct sconce_stream *st, struct sconce_input *in)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was = lend_stdout(c);

	step(c, "mux_input");
	c->server->ops->mux_input(c, in);
	stdout = was;
}

static void
client_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was = lend_stdout(c);

	step(c, "mux_record");
	c->server->ops->mux_record(c, rec);
	stdout = was;
}

/* For servers that take no input themselves. */
static void
client_event_drop(struct sconce_stream *st, struct sconce_input *in)
{
	(void)st;
	sconce_input_take(in, in->len);
}

static void
client_event_fail(struct sconce_stream *st, const struct sconce_fail *fail)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was = lend_stdout(c);

	step(c, "mux_fail");
	c->server->ops->mux_fail(c, fail);
	stdout = was;
}

static void
client_event_eof(struct sconce_stream *st, struct sconce_input *left)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was = lend_stdout(c);

	step(c, "mux_eof");
	if (c->server->ops->mux_eof != NULL)
		c->server->ops->mux_eof(c, left);
	stdout = was;
}

static void
client_event_drain(struct sconce_stream *st)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was = lend_stdout(c);

	c->server->ops->mux_outbuffer_empty(c);
	stdout = was;
}

static void
client_event_timeout(struct sconce_stream *st, enum sconce_timeout_kind kind)
{
	struct sconce_client *c = sconce_client_of(st);
	FILE *was;

	if (!c->allowed) {			/* it is still being judged: the program has not been told of it */
		if (kind != SCONCE_TIMEOUT_ALARM)
			sconce_close_error(&st->sock, SCONCE_REASON_TIMEOUT, ETIMEDOUT);
		return;
	}
	was = lend_stdout(c);
	step(c, "mux_timeout");
	c->server->ops->mux_timeout(c, kind);
	stdout = was;
}

static void
client_event_close(struct sconce_stream *st)
{
	struct sconce_client *c = sconce_client_of(st);
	const struct sconce_server_ops *ops = c->server->ops;

	sconce_acl_cancel(c->_check);
	c->_check = NULL;
	if (c->_state & C_SHOWN) {
		step(c, "post_process_request_hook");
		if (ops->post_process_request_hook != NULL)
			ops->post_process_request_hook(c);
		step(c, "mux_close");
		if (ops->mux_close != NULL)
			ops->mux_close(c);
	}
	sconce_client_log(c, SCONCE_LOG_INFO, "closed after %.3f s%s%s", sconce_now(c->server->loop) - c->since,
	    st->sock.errnum != 0 ? ": " : "", st->sock.errnum != 0 ? sconce_strerror(st->sock.errnum) : "");
}

/* Whether nothing more is to be accepted, after clients or max_clients have changed. */
void
sconce__server_judge_full(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	bool full = sv->options.max_clients > 0 && s->counted >= (size_t)sv->options.max_clients;

	if (full == s->full)
		return;
	s->full = full;
	if (full || s->phase == SERVER_SERVING)
		sconce__server_pause_accept(sv, full);
}

/* It is no longer one of those who may keep others out. */
static void
uncount(struct sconce_client *c)
{
	if (!(c->_state & C_COUNTED))
		return;
	c->_state &= (uint8_t)~C_COUNTED;
	c->server->_s->counted--;
	sconce__server_judge_full(c->server);
}

static void
free_client(struct sconce_server *sv, struct sconce_client *c)
{
	free((void *)(uintptr_t)c->host);
	if (sv->ops->free_client != NULL)
		sv->ops->free_client(c);
	else
		free(c);
}

static void
client_destroy(struct sconce_stream *st)
{
	struct sconce_client *c = sconce_client_of(st);
	struct sconce_server *sv = c->server;

	if (c->_next != NULL)
		c->_next->_prevp = c->_prevp;
	*c->_prevp = c->_next;
	sv->clients--;
	uncount(c);
	free_client(sv, c);
	if (sv->clients == 0)
		sconce__server_empty(sv);
}

void
sconce__server_client_ops(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	const struct sconce_server_ops *ops = sv->ops;

	s->stream_ops = (struct sconce_stream_ops){
		.name = ops->name,
		.event_input = ops->mux_input != NULL ? client_event_input : ops->mux_record == NULL ? client_event_drop : NULL,
		.event_record = ops->mux_record != NULL ? client_event_record : NULL,
		.event_fail = ops->mux_fail != NULL ? client_event_fail : NULL,
		.event_eof = client_event_eof,
		.event_drain = ops->mux_outbuffer_empty != NULL ? client_event_drain : NULL,
		.event_timeout = ops->mux_timeout != NULL ? client_event_timeout : NULL,
		.event_close = client_event_close,
		.destroy = client_destroy,
	};
}

/* ---- who may come in ---- */

/* Neither closed nor about to be. */
static bool
is_here(const struct sconce_client *c)
{
	return !c->stream.sock.closed && !(sconce_paused(&c->stream.sock) & SCONCE_PAUSE_ENDING);
}

static void
let_in(struct sconce_client *c)
{
	FILE *was = lend_stdout(c);

	c->allowed = true;
	sconce_resume(&c->stream.sock, SCONCE_PAUSE_APP);
	step(c, "mux_connection");
	if (c->server->ops->mux_connection != NULL)
		c->server->ops->mux_connection(c);
	stdout = was;
}

/* NS-29: whatever the hook writes is sent, and the connection ends; no byte of input reaches a hook. */
static void
turn_away(struct sconce_client *c)
{
	FILE *was = lend_stdout(c);

	c->server->denied++;
	step(c, "request_denied_hook");
	if (c->server->ops->request_denied_hook != NULL)
		c->server->ops->request_denied_hook(c);
	stdout = was;
	if (sconce_queued(&c->stream.sock) == 0)
		sconce_set_no_linger(&c->stream.sock, true);	/* there is nothing to wait for */
	sconce_close_flush(&c->stream.sock, FAREWELL);
	uncount(c);
}

/* The rules have spoken; the hook has the last word. */
static void
judge(struct sconce_client *c, const struct sconce_acl_verdict *verdict)
{
	const struct sconce_server_ops *ops = c->server->ops;
	bool allowed = verdict->allowed;
	FILE *was;

	if (verdict->host[0] != '\0') {
		c->host = strdup(verdict->host);
		sconce_client_log(c, SCONCE_LOG_INFO, "is %s", verdict->host);
	}
	if (!allowed)
		sconce_client_log(c, SCONCE_LOG_INFO, "%s", verdict->why);
	if (allowed && ops->allow_deny_hook != NULL) {
		step(c, "allow_deny_hook");
		was = lend_stdout(c);
		allowed = ops->allow_deny_hook(c);
		stdout = was;
	}
	if (!is_here(c))
		return;
	if (allowed)
		let_in(c);
	else
		turn_away(c);
}

static void
looked_up(struct sconce_loop *loop, void *arg, const struct sconce_acl_verdict *verdict)
{
	struct sconce_client *c = arg;

	(void)loop;
	c->_check = NULL;
	if (is_here(c))
		judge(c, verdict);
}

static void
ask_rules(struct sconce_client *c)
{
	struct sconce_acl_verdict verdict;
	int r;

	step(c, "allow_deny");
	r = sconce_acl_start(c->server->_s->acl, c->server->loop, &c->peer, 0, looked_up, c, &c->_check, &verdict);
	if (r == 1) {
		judge(c, &verdict);
	} else if (r < 0) {
		sconce_client_log(c, SCONCE_LOG_WARNING, "turned away: %s", sconce_strerror(r));
		turn_away(c);
	}
}

bool
sconce__server_allows(struct sconce_server *sv, const struct sconce_addr *peer)
{
	struct sconce_acl_verdict verdict;
	char from[SCONCE_ADDR_TEXT];

	if (sconce_acl_check(sv->_s->acl, peer, NULL, &verdict))
		return true;
	sv->denied++;
	sconce_server_log(sv, SCONCE_LOG_INFO, "datagram from %s: %s", sconce_addr_text(peer, from, sizeof(from)), verdict.why);
	return false;
}

/* ---- accepting ---- */

static void
link_client(struct sconce_server *sv, struct sconce_client *c)
{
	struct sconce__server *s = sv->_s;

	c->_next = s->clients;
	c->_prevp = &s->clients;
	if (s->clients != NULL)
		s->clients->_prevp = &c->_next;
	s->clients = c;
	sv->clients++;
	s->counted++;
	c->_state |= C_COUNTED;
	sconce__server_judge_full(sv);
}

static void
set_timeouts(struct sconce_client *c)
{
	const struct sconce_server_options *o = &c->server->options;
	struct sconce_sock *sock = &c->stream.sock;

	/* Without memory it lives without them. */
	sconce_set_timeout(sock, SCONCE_TIMEOUT_INPUT, o->timeout);
	sconce_set_timeout(sock, SCONCE_TIMEOUT_OUTPUT, o->write_timeout);
	sconce_set_timeout(sock, SCONCE_TIMEOUT_LIFETIME, o->lifetime);
}

static void
log_arrival(struct sconce_client *c)
{
	struct sconce_addr local;
	char text[SCONCE_ADDR_TEXT] = "?";

	if (!sconce_log_wanted(sconce_process_log(c->server->process), SCONCE_LOG_INFO))
		return;
	if (sconce_local(&c->stream.sock, &local) == 0)
		sconce_addr_text(&local, text, sizeof(text));
	sconce_client_log(c, SCONCE_LOG_INFO, "connected to %s", text);
}

int
sconce__server_accept(struct sconce_server *sv, int fd, const struct sconce_addr *peer)
{
	const struct sconce_server_ops *ops = sv->ops;
	struct sconce_stream_options opts = { .filter = sv->_s->filter };
	struct sconce_client *c = ops->new_client != NULL ? ops->new_client(sv) : calloc(1, sizeof(*c));
	FILE *was;
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = sconce_stream_init(&c->stream, sv->loop, &sv->_s->stream_ops, fd, &opts);
	if (r < 0) {
		c->server = sv;
		free_client(sv, c);
		return r;
	}
	sconce_pause(&c->stream.sock, SCONCE_PAUSE_APP);	/* until it is let in */
	c->server = sv;
	c->number = ++sv->requests;
	c->since = sconce_now(sv->loop);
	c->peer = *peer;
	c->_state = C_SHOWN;
	link_client(sv, c);
	set_timeouts(c);
	step(c, "get_client_info");
	log_arrival(c);
	step(c, "post_accept_hook");
	was = lend_stdout(c);
	if (ops->post_accept_hook != NULL)
		ops->post_accept_hook(c);
	stdout = was;
	if (is_here(c))
		ask_rules(c);
	return 0;
}

/* ---- all of them ---- */

void
sconce_server_each(struct sconce_server *sv, void (*fn)(struct sconce_client *c, void *arg), void *arg)
{
	if (sv->_s->others)
		return;
	/* None comes or goes inside: that happens in the loop. */
	for (struct sconce_client *c = sv->_s->clients; c != NULL; c = c->_next)
		if (c->allowed && is_here(c))
			fn(c, arg);
}

void
sconce__server_cut(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;

	for (struct sconce_client *c = s->clients; c != NULL; c = c->_next) {
		s->cut += is_here(c);
		sconce_set_no_linger(&c->stream.sock, true);
		sconce_close_flush(&c->stream.sock, LAST_WORDS);
	}
}
