/* A server of sconce/server.h for t/test_server*.c: it has every hook, and does what its clients say.
 *
 * Lines it knows, besides those that it echoes:
 *	alarm SECONDS	sets a timeout, whose hook answers "alarm"
 *	all TEXT	to every client
 *	big N		N bytes of "x"
 *	fatal TEXT	sconce_server_fatal()
 *	greeting	what the option `greeting` is
 *	number		which client it is
 *	pid		of the process
 *	print TEXT	by printf(), to wherever stdout leads
 *	quit		closes, with what was written
 *	restart, stop	as the signals do
 *	work		which worker it is
 * Options of its own: greeting=TEXT, busy (closes in post_accept_hook), stop_in_restart (restart_close_hook), veto (allow_deny_hook says no), records (lines by a filter), mute (no input), lend (stdout is the
 * client's), refuse=HOOK (that hook of the start fails). */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/server.h>

struct guest {
	char note[8];			/* so that the client is not first */
	struct sconce_client client;
};

static struct {
	const char *greeting, *refuse;
	bool veto, records, lend, busy, stop_in_restart;
} options = { .greeting = "hello" };

static const struct sconce_conf_option option_table[] = {
	{ "greeting", SCONCE_CONF_TEXT, 0, "TEXT", "what is said first", 0, 0, NULL },
	{ "refuse", SCONCE_CONF_TEXT, sizeof(char *), "HOOK", "fail there", 0, 0, NULL },
	{ "veto", SCONCE_CONF_FLAG, 2 * sizeof(char *), NULL, "let nobody in", 0, 0, NULL },
	{ "busy", SCONCE_CONF_FLAG, 2 * sizeof(char *) + 3, NULL, "send everybody away", 0, 0, NULL },
	{ "stop_in_restart", SCONCE_CONF_FLAG, 2 * sizeof(char *) + 4, NULL, "end just before the exec", 0, 0, NULL },
	{ "lend", SCONCE_CONF_FLAG, 2 * sizeof(char *) + 2, NULL, "lend stdout", 0, 0, NULL },
};

static int
refused(struct sconce_server *sv, const char *hook)
{
	if (options.refuse == NULL || strcmp(options.refuse, hook) != 0)
		return 0;
	sconce_server_fatal(sv, "%s refuses", hook);
	return -ECANCELED;
}

static int
served_configure_hook(struct sconce_server *sv)
{
	return sconce_conf_add(sv->conf, option_table, sizeof(option_table) / sizeof(option_table[0]), &options);
}

static int
served_post_configure_hook(struct sconce_server *sv)
{
	return refused(sv, "post_configure_hook");
}

static int
served_post_bind_hook(struct sconce_server *sv)
{
	return refused(sv, "post_bind_hook");
}

static int
served_pre_loop_hook(struct sconce_server *sv)
{
	return refused(sv, "pre_loop_hook");
}

static int
served_child_init_hook(struct sconce_server *sv, unsigned number)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "worker %u is %d", number, (int)getpid());
	return 0;
}

static void
served_fatal_hook(struct sconce_server *sv, const char *text)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "fatal_hook: %s", text);
}

static void
served_run_dequeue(struct sconce_server *sv)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "dequeue with %zu clients", sv->clients);
}

static void
served_reload_hook(struct sconce_server *sv)
{
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "reload_hook: %s", options.greeting);
}

static void
served_restart_close_hook(struct sconce_server *sv)
{
	if (options.stop_in_restart)
		sconce_server_stop(sv, false);
}

static void
guest_post_accept_hook(struct sconce_client *c)
{
	if (!options.busy)
		return;
	sconce_printf(&c->stream.sock, "later\n");
	sconce_close_flush(&c->stream.sock, 5);
}

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
	free(SCONCE_CONTAINER_OF(c, struct guest, client));
}

static bool
guest_allow_deny_hook(struct sconce_client *c)
{
	(void)c;
	return !options.veto;
}

static void
guest_request_denied_hook(struct sconce_client *c)
{
	if (options.lend)
		printf("go away\n");
	else
		sconce_printf(&c->stream.sock, "go away\n");
}

static void
guest_mux_connection(struct sconce_client *c)
{
	sconce_printf(&c->stream.sock, "%s\n", options.greeting);
}

static void
tell(struct sconce_client *c, void *text)
{
	sconce_printf(&c->stream.sock, "%s\n", (char *)text);
}

static void
write_big(struct sconce_client *c, size_t n)
{
	char *x = malloc(n);

	memset(x, 'x', n);
	sconce_write(&c->stream.sock, x, n);
	free(x);
}

static void
obey(struct sconce_client *c, char *line)
{
	struct sconce_sock *s = &c->stream.sock;
	char *rest = strchr(line, ' ');

	rest = rest == NULL ? line + strlen(line) : rest + 1;
	if (strncmp(line, "alarm ", 6) == 0)
		sconce_set_timeout(s, SCONCE_TIMEOUT_ALARM, strtod(rest, NULL));
	else if (strncmp(line, "all ", 4) == 0)
		sconce_server_each(c->server, tell, rest);
	else if (strncmp(line, "big ", 4) == 0)
		write_big(c, strtoul(rest, NULL, 10));
	else if (strncmp(line, "fatal ", 6) == 0)
		sconce_server_fatal(c->server, "%s", rest);
	else if (strcmp(line, "greeting") == 0)
		sconce_printf(s, "%s\n", options.greeting);
	else if (strcmp(line, "number") == 0)
		sconce_printf(s, "%llu of %zu\n", (unsigned long long)c->number, c->server->clients);
	else if (strcmp(line, "pid") == 0)
		sconce_printf(s, "%d\n", (int)getpid());
	else if (strncmp(line, "print ", 6) == 0)
		printf("%s\n", rest);
	else if (strcmp(line, "quit") == 0)
		sconce_close_flush(s, 5);
	else if (strcmp(line, "restart") == 0)
		sconce_printf(s, "%d\n", sconce_server_restart(c->server));
	else if (strcmp(line, "stop") == 0)
		sconce_server_stop(c->server, false);
	else if (strcmp(line, "work") == 0)
		sconce_printf(s, "%d\n", sconce_process_worker(c->server->process));
	else
		sconce_printf(s, "%s\n", line);
}

static void
guest_mux_input(struct sconce_client *c, struct sconce_input *in)
{
	const char *end;
	char line[256];

	while ((end = memchr(in->data, '\n', in->len)) != NULL) {
		snprintf(line, sizeof(line), "%.*s", (int)(end - in->data), in->data);
		sconce_input_take(in, (size_t)(end - in->data) + 1);
		obey(c, line);
	}
}

static void
guest_mux_record(struct sconce_client *c, const struct sconce_record *rec)
{
	char line[256];

	snprintf(line, sizeof(line), "%.*s", (int)rec->len, (const char *)rec->data);
	obey(c, line);
}

static void
guest_mux_fail(struct sconce_client *c, const struct sconce_fail *fail)
{
	sconce_printf(&c->stream.sock, "failed: %s\n", fail->operation);
	sconce_close_flush(&c->stream.sock, 5);
}

static void
guest_mux_eof(struct sconce_client *c, struct sconce_input *left)
{
	sconce_printf(&c->stream.sock, "eof %zu\n", left->len);
}

static void
guest_mux_outbuffer_empty(struct sconce_client *c)
{
	sconce_client_log(c, SCONCE_LOG_NOTICE, "mux_outbuffer_empty");
}

static void
guest_mux_timeout(struct sconce_client *c, enum sconce_timeout_kind kind)
{
	if (kind == SCONCE_TIMEOUT_ALARM) {
		sconce_printf(&c->stream.sock, "alarm\n");
		return;
	}
	sconce_printf(&c->stream.sock, "too slow\n");
	sconce_close_flush(&c->stream.sock, 5);
}

static void
guest_mux_close(struct sconce_client *c)
{
	sconce_client_log(c, SCONCE_LOG_NOTICE, "gone for reason %d", c->stream.sock.reason);
}

static void
served_mux_datagram(struct sconce_server *sv, struct sconce_dgram *d, const struct sconce_datagram *p)
{
	(void)sv;
	sconce_dgram_reply(d, p, p->data, p->len);
}

static struct sconce_server_ops ops = {
	.name = "served",
	.configure_hook = served_configure_hook, .post_configure_hook = served_post_configure_hook,
	.post_bind_hook = served_post_bind_hook, .child_init_hook = served_child_init_hook,
	.pre_loop_hook = served_pre_loop_hook, .fatal_hook = served_fatal_hook, .run_dequeue = served_run_dequeue,
	.reload_hook = served_reload_hook, .restart_close_hook = served_restart_close_hook,
	.post_accept_hook = guest_post_accept_hook,
	.new_client = guest_new, .free_client = guest_free, .allow_deny_hook = guest_allow_deny_hook,
	.request_denied_hook = guest_request_denied_hook, .mux_connection = guest_mux_connection,
	.mux_input = guest_mux_input, .mux_fail = guest_mux_fail, .mux_eof = guest_mux_eof, .mux_outbuffer_empty = guest_mux_outbuffer_empty,
	.mux_timeout = guest_mux_timeout, .mux_close = guest_mux_close, .mux_datagram = served_mux_datagram,
};

int
main(int argc, char **argv)
{
	struct sconce_server server;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "records") == 0) {
			ops.mux_input = NULL;
			ops.mux_record = guest_mux_record;
		}
		if (strcmp(argv[i], "mute") == 0)
			ops.mux_input = NULL;
		if (strcmp(argv[i], "--lend") == 0)
			options.lend = true;
	}
	if (sconce_server_init(&server, &ops, argc, argv) < 0)
		return 3;
	sconce_server_client_stdout(&server, options.lend);
	status = sconce_server_run(&server);
	sconce_server_fini(&server);
	return status;
}
