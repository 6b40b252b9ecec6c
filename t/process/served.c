/* A small server for t/test_process.c, on sconce/process.h alone.  Options: those of the process, and the ones below.
 *
 * It answers lines: pid, parent, session, worker, greeting, fds, cwd, restarted; "fork" and "reap PID" make a child and reap
 * it; "exit N", "kill N", "stop", "leave" (stops the loop) and "restart" do as they say. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/ev.h>
#include <sconce/process.h>
#include <sconce/restart.h>
#include <sconce/write.h>

enum { PORTS = 8 };

struct guest {
	struct sconce_sock sock;
	struct guest *next;
};

static struct {
	const char *conf_file, *greeting;
	struct sconce_conf_list listen;
	bool any, fail, spoil, no_drain, no_go_on, close_early, bad_worker, dying_worker, break_exec, idle, stubborn, print,
	    skip;
	int flood;				/* lines, of which a few are not left out */
} own;

static const char *program_file;		/* argv[0] */
static struct sconce_process_options options;
static struct sconce_process *process;
static struct sconce_conf *conf;
static struct sconce_loop *loop;
static struct sconce_listener ports[PORTS];
static bool open_ports[PORTS];
static struct guest *guests;
static enum { SERVING, STOPPING, RESTARTING } state;
static struct sconce_backend backend;
static int64_t skew;				/* of the loop's clock, ns */

#define LOG(...) sconce_log_line(sconce_process_log(process), SCONCE_LOG_NOTICE, __VA_ARGS__)

/* ---- guests ---- */

static void
all_gone(void)
{
	if (guests != NULL)
		return;
	if (state == STOPPING) {
		LOG("empty");
		sconce_process_exit(process, 0);
	}
	if (state == RESTARTING && !own.no_go_on)
		sconce_process_go_on(process);
}

static void
guest_close(struct sconce_sock *s)
{
	struct guest **p = &guests;

	while (&(*p)->sock != s)
		p = &(*p)->next;
	*p = (*p)->next;
	LOG("guest closed, reason %d", s->reason);
	all_gone();
}

static void
guest_destroy(struct sconce_sock *s)
{
	free(SCONCE_CONTAINER_OF(s, struct guest, sock));
}

static void
say_fds(struct sconce_sock *s)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	int n = 0;

	while ((e = readdir(dir)) != NULL)
		n += e->d_name[0] != '.';
	closedir(dir);
	sconce_printf(s, "%d\n", n - 1);
}

/* A child of the program's own, which has ended when its pid is told. */
static void
fork_one(struct sconce_sock *s)
{
	pid_t pid = fork();
	siginfo_t info;

	if (pid == 0)
		_exit(5);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	sconce_printf(s, "%ld\n", (long)pid);
}

static void
do_line(struct sconce_sock *s, char *line)
{
	char cwd[512];

	line[strcspn(line, "\r\n")] = '\0';
	if (strcmp(line, "pid") == 0)
		sconce_printf(s, "%ld\n", (long)getpid());
	else if (strcmp(line, "parent") == 0)
		sconce_printf(s, "%ld\n", (long)getppid());
	else if (strcmp(line, "session") == 0)
		sconce_printf(s, "%ld\n", (long)getsid(0));
	else if (strcmp(line, "worker") == 0)
		sconce_printf(s, "%d\n", sconce_process_worker(process));
	else if (strcmp(line, "greeting") == 0)
		sconce_printf(s, "%s\n", own.greeting);
	else if (strcmp(line, "fds") == 0)
		say_fds(s);
	else if (strcmp(line, "cwd") == 0)
		sconce_printf(s, "%s\n", getcwd(cwd, sizeof(cwd)));
	else if (strcmp(line, "restarted") == 0)
		sconce_printf(s, "%d\n", sconce_process_restarted(process));
	else if (strcmp(line, "stop") == 0)
		sconce_process_stop(process, false);
	else if (strcmp(line, "restart") == 0)
		sconce_printf(s, "%d\n", sconce_process_restart(process));
	else if (strcmp(line, "leave") == 0)
		sconce_loop_stop(loop);
	else if (strcmp(line, "fork") == 0)
		fork_one(s);
	else if (strncmp(line, "reap ", 5) == 0)
		sconce_printf(s, "%d\n", waitpid((pid_t)atol(line + 5), NULL, WNOHANG));
	else if (strncmp(line, "exit ", 5) == 0)
		sconce_process_exit(process, atoi(line + 5));
	else if (strncmp(line, "kill ", 5) == 0)
		kill(getpid(), atoi(line + 5));
	else
		sconce_printf(s, "what?\n");
}

static void
guest_read(struct sconce_sock *s)
{
	char line[256];
	ssize_t n = sconce_read(s, line, sizeof(line) - 1);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		sconce_close(s, SCONCE_REASON_EOF);
		return;
	}
	line[n] = '\0';
	do_line(s, line);
}

static const struct sconce_sock_ops guest_ops = {
	.name = "guest", .event_read = guest_read, .event_close = guest_close, .destroy = guest_destroy,
};

static int
port_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct guest *g = calloc(1, sizeof(*g));
	int r;

	(void)l;
	(void)peer;
	if (g == NULL)
		return -ENOMEM;
	r = sconce_sock_init(&g->sock, loop, &guest_ops, fd);
	if (r < 0) {
		free(g);
		return r;
	}
	g->next = guests;
	guests = g;
	return 0;
}

static void
port_destroy(struct sconce_listener *l)
{
	open_ports[l - ports] = false;
}

static const struct sconce_listener_ops port_ops = { .name = "port", .accept = port_accept, .destroy = port_destroy };

/* ---- hooks ---- */

static void
close_ports(void)
{
	for (int i = 0; i < PORTS; i++)
		if (open_ports[i])
			sconce_close(&ports[i].sock, SCONCE_REASON_LOCAL);
}

static void
close_guests(void)
{
	for (struct guest *g = guests; g != NULL; g = g->next)
		sconce_close(&g->sock, SCONCE_REASON_LOCAL);
}

static void
on_stop(struct sconce_process *p, bool graceful)
{
	(void)p;
	LOG("stop(%s)", graceful ? "graceful" : "now");
	if (own.stubborn)
		return;
	state = STOPPING;
	close_ports();
	if (!graceful)
		close_guests();
	all_gone();
}

static void
on_reload(struct sconce_process *p)
{
	(void)p;
	if (sconce_conf_file(conf, own.conf_file, 0) == 0 && sconce_conf_apply(conf) == 0)
		LOG("reloaded: %s", own.greeting);
}

static void
on_reopen(struct sconce_process *p)
{
	(void)p;
	if (own.skip)
		skew += (int64_t)60 * 1000 * 1000 * 1000;
	LOG("reopened by %ld", (long)getpid());
}

static int
on_worker(struct sconce_process *p, unsigned number)
{
	if (own.bad_worker && number == 1)
		return -EOWNERDEAD;
	if (own.dying_worker && number == 1)
		sconce_process_exit(p, 1);
	for (int i = 0; i < PORTS; i++)
		if (open_ports[i])
			sconce_listener_resume(&ports[i]);
	LOG("worker %u is %ld", number, (long)getpid());
	return 0;
}

static void
on_drain(struct sconce_process *p)
{
	(void)p;
	LOG("drain");
	state = STOPPING;
	close_ports();
	all_gone();
}

static void
on_restart(struct sconce_process *p, bool draining)
{
	(void)p;
	LOG("restart(%s)", draining ? "draining" : "closing");
	if (own.break_exec && unlink(program_file) == 0)
		LOG("broken");
	if (draining)
		return;
	if (own.no_go_on)
		close_ports();
	state = RESTARTING;
	for (int i = 0; i < PORTS; i++)
		if (open_ports[i])
			sconce_listener_pause(&ports[i]);
	close_guests();
	all_gone();
}

static void
on_restart_failed(struct sconce_process *p)
{
	(void)p;
	LOG("restart_failed");
	state = SERVING;
	for (int i = 0; i < PORTS; i++)
		if (open_ports[i])
			sconce_listener_resume(&ports[i]);
}

static struct sconce_process_ops ops = {
	.name = "served", .stop = on_stop, .reload = on_reload, .reopen = on_reopen, .worker = on_worker, .drain = on_drain,
	.restart = on_restart, .restart_failed = on_restart_failed,
};

/* ---- beginning ---- */

static const struct sconce_conf_option own_options[] = {
	{ .name = "conf_file", .kind = SCONCE_CONF_TEXT, .offset = offsetof(__typeof__(own), conf_file) },
	{ .name = "greeting", .kind = SCONCE_CONF_TEXT, .offset = offsetof(__typeof__(own), greeting) },
	{ .name = "listen", .kind = SCONCE_CONF_LIST, .offset = offsetof(__typeof__(own), listen) },
	{ .name = "any", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), any) },
	{ .name = "fail", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), fail) },
	{ .name = "spoil", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), spoil) },
	{ .name = "no_drain", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), no_drain) },
	{ .name = "no_go_on", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), no_go_on) },
	{ .name = "close_early", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), close_early) },
	{ .name = "bad_worker", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), bad_worker) },
	{ .name = "dying_worker", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), dying_worker) },
	{ .name = "break_exec", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), break_exec) },
	{ .name = "stubborn", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), stubborn) },
	{ .name = "print", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), print) },
	{ .name = "skip", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), skip) },
	{ .name = "flood", .kind = SCONCE_CONF_INT, .offset = offsetof(__typeof__(own), flood), .max = 1000 },
	{ .name = "idle", .kind = SCONCE_CONF_FLAG, .offset = offsetof(__typeof__(own), idle) },
};

static int
fail(const char *text)
{
	fprintf(stderr, "served: %s\n", text);
	if (sconce_process_log(process) != NULL)
		LOG("%s", text);
	return 1;
}

static int
configure(int argc, char **argv)
{
	if (sconce_conf_new(&conf) < 0 ||
	    sconce_conf_add(conf, own_options, sizeof(own_options) / sizeof(own_options[0]), &own) < 0 ||
	    sconce_process_conf(conf, &options) < 0)
		return fail("no memory");
	if (sconce_conf_argv(conf, &argc, argv, 0) < 0 ||
	    (sconce_conf_get(conf, "conf_file", 0) != NULL && sconce_conf_file(conf, sconce_conf_get(conf, "conf_file", 0), 0) < 0) ||
	    sconce_conf_apply(conf) < 0)
		return fail(sconce_conf_errors(conf));
	return 0;
}

/* Says where it listens, and whether the socket was there before. */
static int
open_port(int i, const struct sconce_endpoint *ep, int fd)
{
	struct sconce_fail f;
	char text[SCONCE_ADDR_TEXT];
	bool was = fd >= 0;
	int r = was ? sconce_listen_fd(&ports[i], loop, &port_ops, fd, &f) :
	    sconce_listen_endpoint(&ports[i], loop, &port_ops, ep, &f);

	if (r < 0)
		return fail(f.text);
	open_ports[i] = true;
	LOG("%s %s", was ? "inherited" : "bound", sconce_addr_text(&ports[i].addr, text, sizeof(text)));
	if (options.processes > 1)
		sconce_listener_pause(&ports[i]);
	return sconce_process_keep(process, &ports[i].sock, ep) < 0;
}

static int64_t
skewed_now(void *ctx)
{
	(void)ctx;
	return sconce_backend_libev()->now(NULL) + skew;
}

/* In a trial: whether all could be had. */
static int
try_all(void)
{
	struct sconce_endpoint ep;
	struct sconce_fail f;

	for (size_t i = 0; i < own.listen.count; i++)
		if (sconce_endpoint_parse(own.listen.values[i], SCONCE_ENDPOINT_LISTEN, NULL, &ep, &f) < 0 ||
		    sconce_program_try_bind(&ep, &f) < 0)
			return fail(f.text);
	return -1;
}

static int
open_all(void)
{
	struct sconce_loop_options loop_options = { .backend = &backend };
	struct sconce_endpoint ep;
	struct sconce_fail f;
	int n = 0, fd;

	backend = *sconce_backend_libev();
	backend.now = skewed_now;
	if (sconce_loop_new(own.skip ? &loop_options : NULL, &loop) < 0)
		return fail("no loop");
	for (size_t i = 0; i < own.listen.count; i++) {
		if (sconce_endpoint_parse(own.listen.values[i], SCONCE_ENDPOINT_LISTEN, NULL, &ep, &f) < 0)
			return fail(f.text);
		if (open_port(n++, &ep, sconce_process_inherited(process, &ep)) != 0)
			return 1;
	}
	sconce_endpoint_init(&ep);
	while (own.any && (fd = sconce_process_inherited_any(process)) >= 0)
		if (open_port(n++, &ep, fd) != 0)
			return 1;
	return 0;
}

static int
start(void)
{
	struct sconce_fail f;

	if (own.flood > 0)
		options.log_lines_per_second = 5;
	if (sconce_process_start(process, &options, &f) < 0) {
		fprintf(stderr, "served: %s\n", f.text);
		fprintf(stderr, "served: blames %s\n", f.operation);
		return 2;
	}
	if (own.fail)
		return fail("told to fail");
	if (sconce_program_checking())
		return try_all();
	if (open_all() != 0)
		return 1;
	if (own.close_early)
		close_ports();
	if (sconce_process_drop(process, &f) < 0) {
		fprintf(stderr, "served: %s\nserved: blames %s\n", f.text, f.operation);
		return 2;
	}
	if (own.print)
		printf("printed\n");
	for (int i = 0; i < own.flood; i++)
		LOG("flood");
	if (own.spoil && chdir("/") == 0)
		umask(0);
	return 0;
}

int
main(int argc, char **argv)
{
	int status;

	if (sconce_process_new(&ops, &ops, argc, argv, &process) < 0 || sconce_process_arg(process) != &ops)
		return 98;
	own.greeting = "hello";
	program_file = argv[0];
	status = configure(argc, argv);
	if (own.no_drain)
		ops.drain = NULL;
	if (own.idle)
		ops.stop = NULL;
	if (status == 0)
		status = start();
	if (status == 0)
		status = sconce_process_run(process, loop);
	sconce_loop_free(loop);
	sconce_process_free(process);
	sconce_conf_free(conf);
	return status < 0 ? 0 : status;
}
