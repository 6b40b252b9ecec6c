/* A chat as a server: what everybody types goes to everybody.  After samplechat.pl of Net::Server.
 *
 *	samplechat [--option=value ...]		by default on 127.0.0.1:2203; join with nc, --help lists the options
 *	samplechat --conf_file=samplechat.conf
 *
 * With a file like this it runs as a service:
 *	port        *:2203			# may be said again
 *	background  yes
 *	pid_file    /run/samplechat.pid
 *	log_file    /var/log/samplechat.log
 *	user        nobody			# after binding
 *	cidr_allow  127.0.0.0/8			# everybody else is turned away
 *	cidr_allow  192.168.0.0/16
 *	hup         reload			# SIGHUP reads this file again; "restart": the program begins anew
 *	motd        Be nice to each other
 *	max_line    512
 *	max_wait    1024
 *	nudge       300
 *
 * A reload changes who may come in, what new guests are told and how much may wait for them, and the patience with all;
 * nobody has to leave.  A restart closes all guests, but no connection is refused meanwhile: it waits in the listening
 * socket, which goes over to the new program.  (Leave `drain` at 0 then: guests who stayed with the old process would
 * talk among themselves.)
 *
 * chat.c is the same without sconce/server.h, and deals with slow readers in a finer way; here they are closed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/server.h>

enum {
	LINE_MAX_BYTES = 1024,		/* the most that max_line may be */
	NICK_MAX_BYTES = 16,
	WHO_MAX = 50,			/* guests that /who lists */
	FAREWELL_SECONDS = 5
};

/* Why a guest was closed, besides the reasons that the library knows. */
enum { TOO_SLOW = SCONCE_REASON_USER };

struct chat {
	struct sconce_server server;
	/* the options of our own */
	const char *motd;
	int max_line;			/* bytes */
	int max_wait;			/* KiB that may wait for a guest who does not read */
	double nudge;			/* seconds; 0: never */
};

struct guest {
	struct sconce_client client;
	char nick[NICK_MAX_BYTES + 1];	/* "": none */
	bool nudged;			/* has been silent for `nudge` seconds */
};

static struct chat *
chat_of(struct sconce_server *sv)
{
	return SCONCE_CONTAINER_OF(sv, struct chat, server);
}

static struct guest *
guest_of(struct sconce_client *c)
{
	return SCONCE_CONTAINER_OF(c, struct guest, client);
}

/* ---- talking to guests ---- */

/* A line as it is sent.  An escaped byte takes three. */
struct message {
	size_t len;
	char text[3 * LINE_MAX_BYTES + 256];
};

static void
message_format(struct message *msg, const char *format, va_list args)
{
	const size_t room = sizeof(msg->text) - 2;
	int len = vsnprintf(msg->text, room, format, args);

	msg->len = len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1;
	memcpy(msg->text + msg->len, "\r\n", 2);
	msg->len += 2;
}

/* Everything that guests get goes through here: who does not read may not make us grow for ever. */
static void
deliver(struct sconce_client *c, void *arg)
{
	const struct message *msg = arg;

	if (sconce_write(&c->stream.sock, msg->text, msg->len) == -ENOBUFS)
		sconce_close(&c->stream.sock, TOO_SLOW);
}

static void SCONCE_PRINTF(2, 3)
tell(struct sconce_client *c, const char *format, ...)
{
	struct message msg;
	va_list args;

	va_start(args, format);
	message_format(&msg, format, args);
	va_end(args);
	deliver(c, &msg);
}

static void SCONCE_PRINTF(2, 3)
tell_all(struct sconce_server *sv, const char *format, ...)
{
	struct message msg;
	va_list args;

	va_start(args, format);
	message_format(&msg, format, args);
	va_end(args);
	sconce_server_each(sv, deliver, &msg);
}

/* The nick, or the address.  The number before it, in what others see, is nobody else's. */
static const char *
guest_name(const struct sconce_client *c, char *buf, size_t size)
{
	const struct guest *g = SCONCE_CONTAINER_OF(c, struct guest, client);

	return g->nick[0] != '\0' ? g->nick : sconce_addr_text(&c->peer, buf, size);
}

/* Silence is counted from now. */
static void
guest_awake(struct sconce_client *c)
{
	guest_of(c)->nudged = false;
	sconce_set_timeout(&c->stream.sock, SCONCE_TIMEOUT_ALARM, chat_of(c->server)->nudge);
}

/* ---- commands ---- */

struct who {
	struct sconce_client *asks;
	unsigned listed, others;
};

static void
who_one(struct sconce_client *c, void *arg)
{
	struct who *who = arg;
	char text[SCONCE_ADDR_TEXT];

	if (who->listed == WHO_MAX) {
		who->others++;
		return;
	}
	who->listed++;
	tell(who->asks, "  #%llu %s, for %.0f s%s", (unsigned long long)c->number, guest_name(c, text, sizeof(text)),
		sconce_now(c->server->loop) - c->since, c == who->asks ? " (you)" : "");
}

static void
command_who(struct sconce_client *c, const char *rest)
{
	struct who who = {.asks = c};

	(void)rest;
	sconce_server_each(c->server, who_one, &who);
	if (who.others > 0)
		tell(c, "  and %u more", who.others);
}

/* Letters, digits, "-" and "_": nothing that looks like an address, or like the end of the brackets. */
static void
command_nick(struct sconce_client *c, const char *rest)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	struct guest *g = guest_of(c);
	size_t len = strlen(rest);
	char buf[SCONCE_ADDR_TEXT], before[SCONCE_ADDR_TEXT];

	if (len == 0 || len > NICK_MAX_BYTES || strspn(rest, allowed) != len) {
		tell(c, "* a nick has 1 to %d letters, digits, - or _", NICK_MAX_BYTES);
		return;
	}
	snprintf(before, sizeof(before), "%s", guest_name(c, buf, sizeof(buf)));
	memcpy(g->nick, rest, len + 1);
	tell_all(c->server, "NICK: (#%llu) %s is %s", (unsigned long long)c->number, before, g->nick);
}

static void
command_quit(struct sconce_client *c, const char *rest)
{
	(void)rest;
	tell(c, "* good bye");
	sconce_close_flush(&c->stream.sock, FAREWELL_SECONDS);
}

static void
command_help(struct sconce_client *c, const char *rest)
{
	(void)rest;
	tell(c, "* /who, /nick NAME, /quit, /help; all else goes to everybody");
}

static void
obey(struct sconce_client *c, const char *line)
{
	static const struct {
		const char *name;
		void (*fn)(struct sconce_client *c, const char *rest);
	} commands[] = {
		{"/help", command_help}, {"/nick", command_nick}, {"/quit", command_quit}, {"/who", command_who},
	};
	size_t len = strcspn(line, " ");

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strlen(commands[i].name) == len && strncmp(commands[i].name, line, len) == 0) {
			commands[i].fn(c, line + len + strspn(line + len, " "));
			return;
		}
	tell(c, "* there is no such command; /help lists them");
}

/* ---- the hooks of guests ---- */

static struct sconce_client *
guest_new(struct sconce_server *sv)
{
	struct guest *g = calloc(1, sizeof(*g));

	(void)sv;
	return g == NULL ? NULL : &g->client;
}

static void
guest_free(struct sconce_client *c)
{
	free(guest_of(c));
}

static void
guest_request_denied_hook(struct sconce_client *c)
{
	tell(c, "* you may not join");
}

static void
guest_mux_connection(struct sconce_client *c)
{
	struct chat *chat = chat_of(c->server);
	char text[SCONCE_ADDR_TEXT];

	if (sconce_set_cap(&c->stream.sock, (uint64_t)chat->max_wait * 1024) < 0) {
		sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);	/* without the limit it may not stay */
		return;
	}
	tell(c, "%s", chat->motd);
	tell(c, "Welcome, you are number %llu, of %zu here.  /help lists the commands.", (unsigned long long)c->number,
		c->server->clients);
	tell_all(c->server, "JOIN: (#%llu) from %s", (unsigned long long)c->number,
		sconce_addr_text(&c->peer, text, sizeof(text)));
	guest_awake(c);
}

/* A line.  What others get of it is text: no byte that would mean something to their terminals, and, since every line
 * begins with who said it, nothing that looks like a line of ours or of somebody else's. */
static void
guest_mux_record(struct sconce_client *c, const struct sconce_record *rec)
{
	char line[3 * LINE_MAX_BYTES + 1], name[SCONCE_ADDR_TEXT];

	guest_awake(c);
	if (rec->len == 0)
		return;
	sconce_log_escape(rec->data, rec->len, line, sizeof(line));
	if (line[0] == '/')
		obey(c, line);
	else
		tell_all(c->server, "[%llu - %s] %s", (unsigned long long)c->number, guest_name(c, name, sizeof(name)), line);
}

/* Silent for long: first a nudge, then good bye.  The other timeouts close, as they would without this hook. */
static void
guest_mux_timeout(struct sconce_client *c, enum sconce_timeout_kind kind)
{
	if (kind != SCONCE_TIMEOUT_ALARM) {
		sconce_close(&c->stream.sock, SCONCE_REASON_TIMEOUT);
	} else if (!guest_of(c)->nudged) {
		tell(c, "* you must have a lot of patience.  Say something!");
		guest_awake(c);
		guest_of(c)->nudged = true;
	} else {
		tell(c, "* if you do not want to talk you should leave.  Good bye");
		sconce_close_flush(&c->stream.sock, FAREWELL_SECONDS);
	}
}

static void
guest_mux_close(struct sconce_client *c)
{
	int reason = c->stream.sock.reason;
	const char *why = reason == TOO_SLOW ? ", too slow to read" : reason == SCONCE_REASON_OVERFLOW ?
		", by a line that was too long" : "";
	char name[SCONCE_ADDR_TEXT];

	if (!c->allowed)
		return;			/* nobody knows that it was there */
	if (why[0] != '\0')
		sconce_client_log(c, SCONCE_LOG_NOTICE, "left%s", why);
	tell_all(c->server, "LEFT: (#%llu) %s%s", (unsigned long long)c->number, guest_name(c, name, sizeof(name)), why);
}

/* ---- the hooks of the process ---- */

#define OPTION(member, type) .name = #member, .kind = type, .offset = offsetof(struct chat, member)

static const struct sconce_conf_option options[] = {
	{OPTION(motd, SCONCE_CONF_TEXT), .value = "TEXT", .help = "what guests are greeted with"},
	{OPTION(max_line, SCONCE_CONF_INT | SCONCE_CONF_ONCE), .value = "BYTES", .help = "who sends a longer line has to go", .min = 1,
		.max = LINE_MAX_BYTES},
	{OPTION(max_wait, SCONCE_CONF_INT), .value = "KIB", .help = "so has who does not read as much", .min = 64,
		.max = 1024 * 1024},
	{OPTION(nudge, SCONCE_CONF_NUMBER), .value = "SECONDS", .help = "nudge who is silent; twice: good bye; 0: never",
		.max = 2000000},
};

static int
chat_configure_hook(struct sconce_server *sv)
{
	static const char *const defaults[][2] = {
		{"port", "127.0.0.1:2203"}, {"motd", "This is the sample chat."}, {"max_line", "512"}, {"max_wait", "1024"},
		{"nudge", "300"},
	};
	int r = sconce_conf_add(sv->conf, options, sizeof(options) / sizeof(options[0]), chat_of(sv));

	for (size_t i = 0; r == 0 && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		r = sconce_conf_set(sv->conf, SCONCE_CONF_DEFAULT, defaults[i][0], defaults[i][1]);
	return r;
}

static int
chat_post_configure_hook(struct sconce_server *sv)
{
	struct sconce_filter *lines;
	int r;

	if (sv->process_options.processes > 1) {
		sconce_server_fatal(sv, "processes=%d: guests of different processes would not hear each other; leave it out",
			sv->process_options.processes);
		return -EINVAL;
	}
	r = sconce_filter_line(NULL, &lines);
	if (r < 0)
		return r;
	sconce_filter_set_max_record(lines, (size_t)chat_of(sv)->max_line);
	sconce_server_set_filter(sv, lines);
	sconce_filter_unref(lines);
	return 0;
}

static void
chat_pre_server_close_hook(struct sconce_server *sv)
{
	tell_all(sv, sconce_process_stopping(sv->process) ? "* the chat ends" : "* the chat begins anew: come again");
}

static void
chat_reload_hook(struct sconce_server *sv)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "new guests are told: %s", chat_of(sv)->motd);
}

static const struct sconce_server_ops chat_ops = {
	.name = "samplechat",
	.configure_hook = chat_configure_hook,
	.post_configure_hook = chat_post_configure_hook,
	.pre_server_close_hook = chat_pre_server_close_hook,
	.reload_hook = chat_reload_hook,
	.new_client = guest_new,
	.free_client = guest_free,
	.request_denied_hook = guest_request_denied_hook,
	.mux_connection = guest_mux_connection,
	.mux_record = guest_mux_record,
	.mux_timeout = guest_mux_timeout,
	.mux_close = guest_mux_close,
};

int
main(int argc, char **argv)
{
	struct chat chat = {.motd = ""};
	int status;

	if (sconce_server_init(&chat.server, &chat_ops, argc, argv) < 0) {
		fprintf(stderr, "samplechat: there is no memory\n");
		return 1;
	}
	status = sconce_server_run(&chat.server);
	sconce_server_fini(&chat.server);
	return status;
}
