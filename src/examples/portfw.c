/* A port forwarder: what comes to our ports, connections and datagrams, is passed on to another host.
 *
 *	portfw --port=127.0.0.1:7008 --forward=127.0.0.1:7007
 *	portfw --port=53 --port=53/udp --forward=192.0.2.1:53 --cidr_allow=10.0.0.0/8 --background
 *
 * Each port's protocol is that of the connection to the target, too.  --help lists the options; a file can say them
 * (--conf_file).  relay.c is the same for TCP alone, made of the bare library; here sconce/server.h sees to options,
 * rules of access, log, limits, background, signals and restarts, and UDP is there.
 *
 * TCP: the end of input is passed on as a half-close, and the other direction goes on.  A broken connection, or a target
 * that cannot be reached, is a reset for the client; the log says why.  At most max_clients at a time: others wait.
 * `timeout` is for clients that say nothing, also while the target does.
 *
 * UDP: every sender has a session, a socket of our own that talks to the target, so that the target's answers find their
 * way back.  It ends when nothing has come from either side for udp_idle seconds.  There are at most udp_sessions; what
 * comes from further senders is dropped.
 *
 * A SIGHUP with hup=reload reads the file again: a new `forward` is for what begins then.  With hup=restart and `drain`
 * connections stay with the old process for as many seconds; UDP sessions begin anew. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <sconce/server.h>

enum {
	BUCKETS = 1024,			/* of the table of UDP sessions */
	UDP_CAP = 256 * 1024		/* bytes that may wait for the target, while its name is looked up for instance */
};

LIST_HEAD(session_list, session);

struct portfw {
	struct sconce_server server;
	/* the options of our own */
	const char *forward;
	double connect_timeout, udp_idle;	/* seconds */
	int udp_sessions;
	/* the rest */
	struct sconce_endpoint tcp, udp;	/* the target */
	struct session_list table[BUCKETS];
	int session_count;
	bool full;				/* no more sessions: has been told */
};

static struct portfw *
portfw_of(struct sconce_server *sv)
{
	return SCONCE_CONTAINER_OF(sv, struct portfw, server);
}

/* ---- TCP ---- */

/* A client and its connection to the target.  The memory is the client's, which is held until the target is destroyed. */
struct conn {
	struct sconce_client client;
	struct sconce_sock target;	/* held until conn_ended(), which looks at it */
};
static const struct sconce_sock_ops target_ops;

static struct conn *
conn_of(struct sconce_client *c)
{
	return SCONCE_CONTAINER_OF(c, struct conn, client);
}

static struct conn *
conn_of_target(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct conn, target);
}

static void
target_event_connect(struct sconce_sock *s, int errnum)
{
	struct conn *conn = conn_of_target(s);
	const struct sconce_fail *fail = sconce_failure(s);

	if (errnum == 0)
		return;			/* the relay waits for this, and begins by itself */
	sconce_client_log(&conn->client, SCONCE_LOG_WARNING, "%s", fail != NULL ? fail->text : sconce_strerror(errnum));
	sconce_close(s, SCONCE_REASON_CONNECT);		/* and with it the relay: conn_ended() */
}

/* Nothing to do: what has arrived is still passed on, and conn_ended() closes. */
static void
target_event_hup(struct sconce_sock *s)
{
	(void)s;
}

static void
target_destroy(struct sconce_sock *s)
{
	sconce_release(&conn_of_target(s)->client.stream.sock);
}

/* No event_read: the relay reads. */
static const struct sconce_sock_ops target_ops = {
	.name = "target",
	.event_connect = target_event_connect,
	.event_hup = target_event_hup,
	.destroy = target_destroy,
};

/* Both directions have ended, or one has failed, or either was closed: neither outlives the other. */
static void
conn_ended(struct sconce_sock *s, void *arg, int status)
{
	struct conn *conn = arg;
	struct sconce_sock *client = &conn->client.stream.sock;

	(void)s;
	sconce_client_log(&conn->client, SCONCE_LOG_INFO, "%llu bytes to the target, %llu back%s%s",
		(unsigned long long)sconce_transferred(client), (unsigned long long)sconce_transferred(&conn->target),
		status < 0 ? ": " : "", status < 0 ? sconce_strerror(status) : "");
	if (status < 0) {		/* what is cut off must not look complete */
		sconce_abort(client);
		sconce_abort(&conn->target);
	}
	sconce_close(client, SCONCE_REASON_LOCAL);
	sconce_close(&conn->target, SCONCE_REASON_LOCAL);
	sconce_release(&conn->target);
}

static struct sconce_client *
conn_new(struct sconce_server *sv)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	(void)sv;
	return conn == NULL ? NULL : &conn->client;
}

static void
conn_free(struct sconce_client *c)
{
	free(conn_of(c));
}

static void
conn_mux_connection(struct sconce_client *c)
{
	struct portfw *fw = portfw_of(c->server);
	struct conn *conn = conn_of(c);
	int r = sconce_sock_init(&conn->target, c->server->loop, &target_ops, -1);

	if (r < 0) {
		sconce_client_log(c, SCONCE_LOG_WARNING, "no socket for the target: %s", sconce_strerror(r));
		sconce_abort(&c->stream.sock);
		return;
	}
	sconce_hold(&c->stream.sock);
	sconce_hold(&conn->target);
	sconce_set_timeout(&conn->target, SCONCE_TIMEOUT_CONNECT, fw->connect_timeout);
	sconce_set_timeout(&conn->target, SCONCE_TIMEOUT_OUTPUT, c->server->options.write_timeout);
	sconce_connect_endpoint(&conn->target, &fw->tcp);
	/* Begins when the connect has ended.  If either call has failed conn_ended() is told. */
	sconce_relay(&c->stream.sock, &conn->target, conn_ended, conn);
}

/* ---- UDP ---- */

struct session {
	struct sconce_dgram dgram;	/* to and from the target */
	LIST_ENTRY(session) link;	/* those in the same bucket */
	struct portfw *fw;
	uint64_t port;			/* the id of our socket that the sender sends to, which may close before */
	struct sconce_datagram sender;	/* for sconce_dgram_reply(): addresses, no data */
	bool complained;		/* one error of a session is told */
};

static struct session *
session_of(struct sconce_dgram *d)
{
	return SCONCE_CONTAINER_OF(d, struct session, dgram);
}

static void
session_log(struct session *ss, int level, const char *text)
{
	char from[SCONCE_ADDR_TEXT];

	sconce_server_log(&ss->fw->server, level, "datagrams of %s: %s",
		sconce_addr_text(&ss->sender.from, from, sizeof(from)), text);
}

/* An answer. */
static void
session_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	struct session *ss = session_of(d);
	struct sconce_sock *port = sconce_find(d->sock.loop, ss->port);

	if (port != NULL)
		sconce_dgram_reply(sconce_dgram_of(port), &ss->sender, p->data, p->len);
}

/* Nobody is there, for instance; perhaps later there is. */
static void
session_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	struct session *ss = session_of(d);
	char text[SCONCE_ENDPOINT_TEXT + 64];

	if (ss->complained)
		return;
	ss->complained = true;
	snprintf(text, sizeof(text), "%s: %s", ss->fw->udp.text, sconce_strerror(e->errnum));
	session_log(ss, SCONCE_LOG_WARNING, text);
}

static void
session_event_connect(struct sconce_dgram *d, int errnum)
{
	const struct sconce_fail *fail = sconce_failure(&d->sock);

	if (errnum == 0)
		return;
	session_log(session_of(d), SCONCE_LOG_WARNING, fail != NULL ? fail->text : sconce_strerror(errnum));
	sconce_close_error(&d->sock, SCONCE_REASON_CONNECT, errnum);
}

static void
session_event_close(struct sconce_dgram *d)
{
	struct session *ss = session_of(d);
	char text[80];

	LIST_REMOVE(ss, link);
	ss->fw->session_count--;
	ss->fw->full = false;
	snprintf(text, sizeof(text), "%llu to the target, %llu back", (unsigned long long)d->sent,
		(unsigned long long)d->received);
	session_log(ss, SCONCE_LOG_INFO, text);
}

static void
session_destroy(struct sconce_dgram *d)
{
	free(session_of(d));
}

/* No event_timeout: it closes. */
static const struct sconce_dgram_ops session_ops = {
	.name = "session",
	.event_datagram = session_event_datagram,
	.event_error = session_event_error,
	.event_connect = session_event_connect,
	.event_close = session_event_close,
	.destroy = session_destroy,
};

static struct session_list *
bucket(struct portfw *fw, const struct sconce_addr *from)
{
	const unsigned char *bytes = (const unsigned char *)&from->any;
	uint32_t hash = 2166136261;

	for (socklen_t i = 0; i < from->len; i++)
		hash = (hash ^ bytes[i]) * 16777619;
	return &fw->table[hash % BUCKETS];
}

static bool
same_address(const struct sconce_addr *a, const struct sconce_addr *b)
{
	return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
}

/* The session of this sender with the address that it sends to; NULL: there is none yet. */
static struct session *
session_find(struct portfw *fw, const struct sconce_dgram *port, const struct sconce_datagram *p)
{
	struct session *ss;

	LIST_FOREACH(ss, bucket(fw, &p->from), link)
		if (!ss->dgram.sock.closed && ss->port == port->sock.id && same_address(&ss->sender.from, &p->from) &&
		    same_address(&ss->sender.local, &p->local))
			return ss;
	return NULL;
}

static struct session *
session_new(struct portfw *fw, struct sconce_dgram *port, const struct sconce_datagram *p)
{
	struct sconce_dgram_options opts = {.high = UDP_CAP / 2, .cap = UDP_CAP};
	struct session *ss = calloc(1, sizeof(*ss));
	int r;

	if (ss == NULL)
		return NULL;
	if (sconce_dgram_init(&ss->dgram, fw->server.loop, &session_ops, -1, &opts) < 0) {
		free(ss);
		return NULL;
	}
	ss->fw = fw;
	ss->port = port->sock.id;
	ss->sender.from = p->from;
	ss->sender.local = p->local;
	ss->sender.ifindex = p->ifindex;
	LIST_INSERT_HEAD(bucket(fw, &p->from), ss, link);
	fw->session_count++;
	sconce_set_timeout(&ss->dgram.sock, SCONCE_TIMEOUT_CONNECT, fw->connect_timeout);
	r = sconce_connect_endpoint(&ss->dgram.sock, &fw->udp);
	if (r < 0)
		sconce_close_error(&ss->dgram.sock, SCONCE_REASON_CONNECT, -r);
	return ss;
}

static void
portfw_mux_datagram(struct sconce_server *sv, struct sconce_dgram *d, const struct sconce_datagram *p)
{
	struct portfw *fw = portfw_of(sv);
	struct session *ss = session_find(fw, d, p);

	if (ss == NULL && fw->session_count >= fw->udp_sessions) {
		if (!fw->full)
			sconce_server_log(sv, SCONCE_LOG_WARNING, "there are %d sessions: datagrams of others are dropped "
				"(udp_sessions)", fw->session_count);
		fw->full = true;
		return;
	}
	if (ss == NULL)
		ss = session_new(fw, d, p);
	if (ss == NULL)
		return;				/* no memory: lost, as datagrams are */
	/* Said again it begins again, as it does by itself when an answer comes. */
	sconce_set_timeout(&ss->dgram.sock, SCONCE_TIMEOUT_INPUT, fw->udp_idle);
	sconce_dgram_send(&ss->dgram, p->data, p->len);
}

/* ---- the process ---- */

/* The target for clients of a protocol.  Returns 0, or -EINVAL with *fail_out set. */
static int
parse_forward(const char *text, const char *proto, struct sconce_endpoint *ep_out, struct sconce_fail *fail_out)
{
	struct sconce_endpoint_defaults defaults = {.proto = proto};
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	int r = sconce_endpoint_parse(text, SCONCE_ENDPOINT_CONNECT, &defaults, list, fail_out);

	if (r > 0 && strcmp(list[0].proto, proto) != 0) {
		snprintf(fail_out->text, sizeof(fail_out->text), "say HOST:PORT; the protocol is that of the client");
		r = -EINVAL;
	}
	if (r < 0)
		return r;
	*ep_out = list[0];
	return 0;
}

static bool
check_forward(const char *value, char *why, size_t size)
{
	struct sconce_endpoint ep;
	struct sconce_fail fail;

	if (parse_forward(value, "tcp", &ep, &fail) == 0 && parse_forward(value, "udp", &ep, &fail) == 0)
		return true;
	snprintf(why, size, "%s", fail.text);
	return false;
}

#define OPTION(member, type) .name = #member, .kind = type, .offset = offsetof(struct portfw, member)

static const struct sconce_conf_option options[] = {
	{OPTION(forward, SCONCE_CONF_TEXT), .value = "HOST:PORT", .help = "the target", .check = check_forward},
	{OPTION(connect_timeout, SCONCE_CONF_NUMBER), .value = "SECONDS", .help = "how long to try to reach it",
		.min = 0.001, .max = 3600},
	{OPTION(udp_idle, SCONCE_CONF_NUMBER), .value = "SECONDS", .help = "forget who sends datagrams after such a silence",
		.min = 0.001, .max = 86400},
	{OPTION(udp_sessions, SCONCE_CONF_INT), .value = "N", .help = "so many senders of datagrams at a time",
		.min = 1, .max = INFINITY},
};

static int
portfw_configure_hook(struct sconce_server *sv)
{
	static const char *const defaults[][2] = {
		{"max_clients", "1000"}, {"connect_timeout", "10"}, {"udp_idle", "30"}, {"udp_sessions", "1000"},
	};
	int r = sconce_conf_add(sv->conf, options, sizeof(options) / sizeof(options[0]), portfw_of(sv));

	for (size_t i = 0; r == 0 && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		r = sconce_conf_set(sv->conf, SCONCE_CONF_DEFAULT, defaults[i][0], defaults[i][1]);
	return r;
}

/* Uses the option `forward`, which has been checked. */
static void
portfw_set_target(struct portfw *fw)
{
	struct sconce_fail fail;

	parse_forward(fw->forward, "tcp", &fw->tcp, &fail);
	parse_forward(fw->forward, "udp", &fw->udp, &fail);
}

static int
portfw_post_configure_hook(struct sconce_server *sv)
{
	struct portfw *fw = portfw_of(sv);

	if (fw->forward == NULL) {
		sconce_server_fatal(sv, "forward is missing: say --forward=HOST:PORT");
		return -EINVAL;
	}
	portfw_set_target(fw);
	return 0;
}

static int
portfw_pre_loop_hook(struct sconce_server *sv)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "forwarding to %s", portfw_of(sv)->forward);
	return 0;
}

static void
portfw_reload_hook(struct sconce_server *sv)
{
	struct portfw *fw = portfw_of(sv);

	portfw_set_target(fw);
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "forwarding to %s from now on", fw->forward);
}

static const struct sconce_server_ops portfw_ops = {
	.name = "portfw",
	.configure_hook = portfw_configure_hook,
	.post_configure_hook = portfw_post_configure_hook,
	.pre_loop_hook = portfw_pre_loop_hook,
	.reload_hook = portfw_reload_hook,
	.new_client = conn_new,
	.free_client = conn_free,
	.mux_connection = conn_mux_connection,
	.mux_datagram = portfw_mux_datagram,
};

int
main(int argc, char **argv)
{
	struct portfw fw = {.forward = NULL};
	int status;

	for (size_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&fw.table[i]);
	if (sconce_server_init(&fw.server, &portfw_ops, argc, argv) < 0) {
		fprintf(stderr, "portfw: there is no memory\n");
		return 1;
	}
	status = sconce_server_run(&fw.server);
	sconce_server_fini(&fw.server);
	return status;
}
