/* A server's life: the steps of its process in their order, and its end.  See sconce/server.h.
 *
 * Starting is a list of steps, each of which may refuse; the loop is sconce_process_run()'s, which says by the hooks below
 * when to stop, to reload and to restart.  The end is the same for all: server_close, then the clients, and when the
 * last has gone, what the end is for. */
#include "server_private.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exit statuses. */
enum { OK = 0, FAILED = 1, WRONG_USAGE = 2 };

/* ---- messages ---- */

void
sconce_server_log(struct sconce_server *sv, int level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	sconce_log_vline(sconce_process_log(sv->process), level, format, ap);
	va_end(ap);
}

void
sconce__server_step(struct sconce_server *sv, const char *name)
{
	struct sconce__server *s = sv->_s;
	struct sconce_log *log = sconce_process_log(sv->process);

	if (log != NULL)
		sconce_log_line(log, SCONCE_LOG_DEBUG, "%s", name);
	else if (s->early_count < SERVER_STEPS)
		s->early[s->early_count++] = name;
}

/* There is a log now. */
static void
log_early_steps(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;

	for (unsigned i = 0; i < s->early_count; i++)
		sconce_log_line(sconce_process_log(sv->process), SCONCE_LOG_DEBUG, "%s", s->early[i]);
	s->early_count = 0;
}

/* Whether whoever starts us does not see the log. */
static bool
is_unseen(const struct sconce_server *sv)
{
	return sv->_s->phase == SERVER_STARTING && !sconce_process_restarted(sv->process) &&
	    (sv->process_options.log_file != NULL || sv->ops->write_to_log_hook != NULL);
}

/* To the log, and before there is one, or where the log is not what whoever starts us sees, to stderr. */
static void
say_error(struct sconce_server *sv, const char *text)
{
	struct sconce_log *log = sconce_process_log(sv->process);

	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", text);
	if (log == NULL || is_unseen(sv))
		fprintf(stderr, "%s: %s\n", sv->ops->name, text);
}

void
sconce_server_fatal(struct sconce_server *sv, const char *format, ...)
{
	struct sconce__server *s = sv->_s;
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (sv->ops->fatal_hook != NULL)
		sv->ops->fatal_hook(sv, text);
	say_error(sv, text);
	s->fatal = true;
	s->status = FAILED;
	if (s->phase != SERVER_STARTING)
		sconce_process_stop(sv->process, false);
}

/* The configuration's errors, all of them, each line a line of the log. */
static void
say_conf_errors(struct sconce_server *sv)
{
	struct sconce_log *log = sconce_process_log(sv->process);
	const char *line = sconce_conf_errors(sv->conf);

	if (log == NULL || is_unseen(sv))
		fputs(line, stderr);
	for (const char *end; *line != '\0'; line = end + (*end == '\n')) {
		end = strchrnul(line, '\n');
		sconce_log_line(log, SCONCE_LOG_ERROR, "%.*s", (int)(end - line), line);
	}
	sconce_conf_clear_errors(sv->conf);
}

/* Whether clients are this process's: it is not the one that only keeps workers. */
static bool
has_clients(const struct sconce_server *sv)
{
	return sv->process_options.processes <= 1 || sconce_process_worker(sv->process) >= 0;
}

/* ---- the end ---- */

/* Nobody is left: what the end was for. */
static void
ended(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	const struct sconce_server_ops *ops = sv->ops;
	bool first = !s->ended;

	if (!first && s->ended_for == s->end)
		return;
	s->ended = true;
	s->ended_for = s->end;
	if (first && s->end != SERVER_DRAIN && sconce_process_worker(sv->process) < 0) {
		sconce__server_step(sv, "post_child_cleanup_hook");
		if (ops->post_child_cleanup_hook != NULL)
			ops->post_child_cleanup_hook(sv);
	}
	if (s->end == SERVER_RESTART) {
		sconce__server_step(sv, "restart_close_hook");
		if (ops->restart_close_hook != NULL)
			ops->restart_close_hook(sv);
		sconce__server_step(sv, "hup_server");
		sconce_process_go_on(sv->process);
		return;
	}
	if (s->end == SERVER_STOP)
		sconce__server_step(sv, "shutdown_sockets");
	sconce__server_close_ports(sv, -1);
	if (has_clients(sv))
		sconce_server_log(sv, SCONCE_LOG_NOTICE,
		    "served %llu client%s in %.0f s, of which %llu were turned away and %llu cut off at the end",
		    (unsigned long long)sv->requests, sv->requests == 1 ? "" : "s", sconce_now(sv->loop) - s->began,
		    (unsigned long long)sv->denied, (unsigned long long)s->cut);
	sconce_process_exit(sv->process, s->status);
}

void
sconce__server_empty(struct sconce_server *sv)
{
	if (sv->_s->phase == SERVER_ENDING)
		ended(sv);
}

/* Begins the end, once.  What it is for may change later. */
static void
server_close(struct sconce_server *sv, enum server_end end)
{
	struct sconce__server *s = sv->_s;
	bool first = s->phase != SERVER_ENDING;

	s->phase = SERVER_ENDING;
	s->end = end;
	if (!first)
		return;
	sconce_timer_stop(&s->dequeue);
	sconce__server_pause(sv, true);
	if (end == SERVER_DRAIN)
		return;
	sconce__server_step(sv, "server_close");
	if (sconce_process_worker(sv->process) >= 0) {
		sconce__server_step(sv, "child_finish_hook");
		if (sv->ops->child_finish_hook != NULL)
			sv->ops->child_finish_hook(sv);
		return;
	}
	sconce__server_step(sv, "pre_server_close_hook");
	if (sv->ops->pre_server_close_hook != NULL)
		sv->ops->pre_server_close_hook(sv);
}

/* ---- the queue ---- */

static void
on_dequeue(struct sconce_timer *t, void *arg)
{
	struct sconce_server *sv = arg;

	(void)t;
	sconce__server_step(sv, "run_dequeue");
	sv->ops->run_dequeue(sv);
}

/* Again and again, from now on; or not at all. */
static void
start_dequeue(struct sconce_server *sv)
{
	double secs = sv->options.check_for_dequeue;

	sconce_timer_stop(&sv->_s->dequeue);
	if (secs > 0 && sv->ops->run_dequeue != NULL && has_clients(sv))
		sconce_timer_start_every(&sv->_s->dequeue, secs, secs);
}

/* ---- steps ---- */

/* A step that a hook of the program's takes.  0, or -errno after saying why. */
static int
take(struct sconce_server *sv, const char *name, int (*hook)(struct sconce_server *))
{
	int r = 0;

	sconce__server_step(sv, name);
	if (hook != NULL)
		r = hook(sv);
	if (r < 0 && !sv->_s->fatal)
		sconce_server_fatal(sv, "%s: %s", name, sconce_strerror(r));
	return r >= 0 && sv->_s->fatal ? -ECANCELED : r;
}

/* ---- the process's hooks ---- */

static void
process_stop(struct sconce_process *p, bool graceful)
{
	struct sconce_server *sv = sconce_process_arg(p);

	server_close(sv, sv->_s->end == SERVER_DRAIN ? SERVER_DRAIN : SERVER_STOP);
	if (!graceful)
		sconce__server_cut(sv);
	if (sv->clients == 0)
		ended(sv);
}

/* Reads the file again.  Everything is checked before anything is changed. */
static void
process_reload(struct sconce_process *p)
{
	struct sconce_server *sv = sconce_process_arg(p);
	struct sconce__server *s = sv->_s;
	struct sconce_acl *acl = NULL;
	int r;

	sconce__server_step(sv, "sig_hup");
	sconce_conf_clear_errors(sv->conf);
	sconce_conf_unset(sv->conf, SCONCE_CONF_FILE, NULL);
	r = sv->options.conf_file != NULL ? sconce_conf_file(sv->conf, sv->options.conf_file, sv->conf_flags) : 0;
	if (r == 0)
		r = sconce_conf_apply(sv->conf);
	if (r == 0) {
		r = sconce__server_acl(sv, &acl);
		if (r < 0)
			sconce_conf_revert(sv->conf);
	}
	if (r < 0) {
		say_error(sv, "the configuration stays as it was:");
		say_conf_errors(sv);
		return;
	}
	sconce_acl_unref(s->acl);
	s->acl = acl;
	sconce_log_set_level(sconce_process_log(p), sv->process_options.log_level);
	if (s->phase == SERVER_SERVING)
		start_dequeue(sv);
	if (has_clients(sv))
		sconce__server_judge_full(sv);
	sconce_server_log(sv, SCONCE_LOG_NOTICE, "the configuration was read again");
	if (sv->ops->reload_hook != NULL)
		sv->ops->reload_hook(sv);
}

static int
pre_loop(struct sconce_server *sv)
{
	int r = take(sv, "pre_loop_hook", sv->ops->pre_loop_hook);

	if (r < 0)
		return r;
	sconce__server_step(sv, "loop");
	sv->_s->phase = SERVER_SERVING;
	start_dequeue(sv);
	return 0;
}

static int
process_worker(struct sconce_process *p, unsigned number)
{
	struct sconce_server *sv = sconce_process_arg(p);
	int r = 0;

	sconce__server_close_ports(sv, (int)number);
	sconce__server_step(sv, "child_init_hook");
	if (sv->ops->child_init_hook != NULL)
		r = sv->ops->child_init_hook(sv, number);
	if (r == 0)
		r = pre_loop(sv);
	if (r == 0)
		sconce__server_pause(sv, false);
	return r;
}

static void
process_drain(struct sconce_process *p)
{
	struct sconce_server *sv = sconce_process_arg(p);

	server_close(sv, SERVER_DRAIN);
	sconce__server_close_ports(sv, -1);
	if (sv->clients == 0)
		ended(sv);
}

static void
process_restart(struct sconce_process *p, bool draining)
{
	struct sconce_server *sv = sconce_process_arg(p);

	sconce__server_step(sv, "sig_hup");
	sv->_s->others = draining;
	server_close(sv, SERVER_RESTART);
	if (!draining)
		sconce__server_cut(sv);
	if (draining || sv->clients == 0)
		ended(sv);
}

/* Serves on. */
static void
process_restart_failed(struct sconce_process *p)
{
	struct sconce_server *sv = sconce_process_arg(p);
	struct sconce__server *s = sv->_s;

	s->phase = SERVER_SERVING;
	s->end = SERVER_STOP;
	s->ended = s->others = false;
	if (sv->process_options.processes <= 1) {
		sconce__server_pause(sv, false);
		sconce__server_pause_accept(sv, s->full);
	}
	start_dequeue(sv);
}

static struct sconce_process_ops
process_ops_of(const struct sconce_server_ops *ops)
{
	return (struct sconce_process_ops){
		.name = ops->name,
		.stop = process_stop,
		.reload = process_reload,
		.worker = process_worker,
		.drain = process_drain,
		.restart = process_restart,
		.restart_failed = process_restart_failed,
	};
}

/* ---- the beginning ---- */

/* Prints the options if they are asked for, whatever is wrong with the file. */
static bool
wants_help(struct sconce_server *sv)
{
	static const char *const noes[] = { "0", "no", "off", "false" };
	const char *value = sconce_conf_get(sv->conf, "help", 0);

	for (size_t i = 0; value != NULL && i < sizeof(noes) / sizeof(noes[0]); i++)
		if (strcasecmp(value, noes[i]) == 0)
			value = NULL;
	if (value == NULL)
		return false;
	printf("usage: %s [--option=value ...]\n\n", sv->ops->name);
	sconce_conf_help(sv->conf, stdout);
	return true;
}

/* What looks like an option and is none: a typing error should not open a port. */
static bool
has_stray(struct sconce_server *sv)
{
	for (int i = 1; i < sv->argc && !(sv->conf_flags & SCONCE_CONF_KEEP_UNKNOWN); i++) {
		if (sv->argv[i][0] != '-' || sv->argv[i][1] == '\0')
			continue;
		fprintf(stderr, "%s: '%s' is no option: they begin with --\n%s --help lists them\n", sv->ops->name, sv->argv[i],
		    sv->ops->name);
		return true;
	}
	return false;
}

/* Reads the options.  Returns the exit status, negative to go on. */
static int
configure(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	int r;

	sconce__server_step(sv, "configure");
	r = sconce_conf_argv(sv->conf, &sv->argc, sv->argv, sv->conf_flags);
	if (r == -EINVAL) {
		fprintf(stderr, "%s%s --help lists the options\n", sconce_conf_errors(sv->conf), sv->ops->name);
		return WRONG_USAGE;
	}
	if (r == 0 && wants_help(sv))
		return OK;
	if (r == 0 && has_stray(sv))
		return WRONG_USAGE;
	if (r == 0 && sconce_conf_get(sv->conf, "conf_file", 0) != NULL)
		r = sconce_conf_file(sv->conf, sconce_conf_get(sv->conf, "conf_file", 0), sv->conf_flags);
	if (r != -ENOMEM)
		r = sconce_conf_apply(sv->conf);	/* of a file with errors too: all are told at once */
	if (r == 0)
		r = sconce__server_eps(sv);
	if (r == 0)
		r = sconce__server_acl(sv, &s->acl);
	if (r == -ENOMEM)
		say_error(sv, sconce_strerror(r));
	else if (sconce_conf_error_count(sv->conf) > 0)
		say_conf_errors(sv);
	else
		return -1;
	return FAILED;
}

/* A start that failed: at the option that is to blame, where that is known. */
static void
blame(struct sconce_server *sv, const struct sconce_fail *fail)
{
	if (fail->operation != NULL && sconce_conf_get(sv->conf, fail->operation, 0) != NULL) {
		sconce_conf_error(sv->conf, fail->operation, 0, "%s", fail->text);
		say_conf_errors(sv);
	} else {
		say_error(sv, fail->text);
	}
}

static void
write_to_log(void *arg, int level, const char *line)
{
	struct sconce_server *sv = arg;

	sv->ops->write_to_log_hook(sv, level, line);
}

/* Log, pid file, background.  Returns whether to go on. */
static bool
post_configure(struct sconce_server *sv)
{
	struct sconce_fail fail = { .text = "cannot start" };
	int r;

	sconce__server_step(sv, "post_configure");
	if (sv->ops->write_to_log_hook != NULL) {
		sv->process_options.log_write = write_to_log;
		sv->process_options.log_arg = sv;
	}
	r = sconce_process_start(sv->process, &sv->process_options, &fail);
	if (r < 0)
		blame(sv, &fail);
	else
		log_early_steps(sv);
	return r == 0;
}

/* In a trial: whether all could be bound. */
static bool
try_ports(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	struct sconce_fail fail;

	for (size_t i = 0; i < s->ep_count; i++) {
		if (sconce_program_try_bind(&s->eps[i], &fail) < 0) {
			say_error(sv, fail.text);
			return false;
		}
	}
	return true;
}

static bool
bind_all(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;
	struct sconce_fail fail = { .text = "cannot make a loop" };

	sconce__server_step(sv, "pre_bind");
	sconce__server_step(sv, "bind");
	if (sconce_process_restarted(sv->process)) {
		sconce__server_step(sv, "restart_open_hook");
		if (sv->ops->restart_open_hook != NULL)
			sv->ops->restart_open_hook(sv);
	}
	if (sconce_loop_new(NULL, &sv->loop) < 0 || sconce__server_bind(sv, &fail) < 0) {
		sconce_server_fatal(sv, "%s", fail.text);
		return false;
	}
	sconce_timer_init(&s->dequeue, sv->loop, on_dequeue, sv);
	s->began = sconce_now(sv->loop);
	return true;
}

static bool
post_bind(struct sconce_server *sv)
{
	struct sconce_fail fail = { .text = "cannot drop privileges" };

	sconce__server_step(sv, "post_bind");
	if (sconce__server_own_paths(sv, &fail) < 0 || sconce_process_drop(sv->process, &fail) < 0) {
		sconce_server_fatal(sv, "%s", fail.text);
		return false;
	}
	return true;
}

/* All steps until the loop.  Returns the exit status, negative to go on. */
static int
start(struct sconce_server *sv)
{
	const struct sconce_server_ops *ops = sv->ops;
	int status;

	if (take(sv, "configure_hook", ops->configure_hook) < 0)
		return FAILED;
	status = configure(sv);
	if (status >= 0)
		return status;
	sv->process_options.trial = sv->options.check;
	if (!post_configure(sv))
		return FAILED;
	if (take(sv, "post_configure_hook", ops->post_configure_hook) < 0)
		return FAILED;
	if (sconce_program_checking() && !try_ports(sv))
		return FAILED;
	if (sv->options.check || sconce_program_checking()) {
		if (sv->options.check)
			printf("%s: the configuration is good\n", ops->name);
		return OK;
	}
	if (!bind_all(sv) || take(sv, "post_bind_hook", ops->post_bind_hook) < 0 || !post_bind(sv))
		return FAILED;
	sconce__server_announce(sv);
	if (sv->process_options.processes > 1) {
		sv->_s->phase = SERVER_SERVING;		/* the workers serve */
		return -1;
	}
	return pre_loop(sv) == 0 ? -1 : FAILED;
}

int
sconce_server_run(struct sconce_server *sv)
{
	int status = start(sv);

	if (status < 0) {
		status = sconce_process_run(sv->process, sv->loop);
		/* The process that keeps the workers is not told to stop: they have gone by now. */
		if (sv->_s->phase == SERVER_SERVING && sconce_process_worker(sv->process) < 0) {
			server_close(sv, SERVER_STOP);
			ended(sv);
		}
	}
	sv->_s->ended_for = sv->_s->end;
	sv->_s->ended = true;			/* what is still there goes without hooks of the process */
	sconce__server_cut(sv);
	sconce_loop_free(sv->loop);
	sv->loop = NULL;
	return status;
}

/* ---- made and unmade ---- */

static int
copy_argv(struct sconce_server *sv, int argc, char *const *argv)
{
	struct sconce__server *s = sv->_s;

	s->argv = malloc(((size_t)argc + 1) * sizeof(*s->argv));
	if (s->argv == NULL)
		return -ENOMEM;
	memcpy(s->argv, argv, (size_t)argc * sizeof(*argv));
	s->argv[argc] = NULL;
	sv->argc = argc;
	sv->argv = s->argv;
	return 0;
}

int
sconce_server_init(struct sconce_server *sv, const struct sconce_server_ops *ops, int argc, char *const *argv)
{
	bool bytes = ops != NULL && ops->mux_input != NULL, records = ops != NULL && ops->mux_record != NULL;
	int r;

	memset(sv, 0, sizeof(*sv));
	if (ops == NULL || ops->name == NULL || (bytes && records) ||
	    (!bytes && !records && ops->mux_connection == NULL && ops->mux_datagram == NULL) ||
	    (ops->new_client == NULL) != (ops->free_client == NULL))
		return -EINVAL;
	sv->ops = ops;
	sv->_s = calloc(1, sizeof(*sv->_s));
	if (sv->_s == NULL)
		return -ENOMEM;
	sv->_s->process_ops = process_ops_of(ops);
	r = copy_argv(sv, argc, argv);
	if (r == 0)
		r = sconce_process_new(&sv->_s->process_ops, sv, argc, argv, &sv->process);
	if (r == 0)
		r = sconce_conf_new(&sv->conf);
	if (r == 0)
		r = sconce__server_conf(sv);
	if (r == 0 && records)
		r = sconce_filter_line(NULL, &sv->_s->filter);
	if (r < 0) {
		sconce_server_fini(sv);
		return r;
	}
	sconce__server_client_ops(sv);
	return 0;
}

void
sconce_server_fini(struct sconce_server *sv)
{
	struct sconce__server *s = sv->_s;

	if (s == NULL)
		return;
	sconce_loop_free(sv->loop);
	sconce_process_free(sv->process);
	sconce_conf_free(sv->conf);
	sconce_acl_unref(s->acl);
	sconce_filter_unref(s->filter);
	free(s->eps);
	free(s->argv);
	free(s);
	sv->_s = NULL;
}

void
sconce_server_set_filter(struct sconce_server *sv, struct sconce_filter *filter)
{
	struct sconce_filter *before = sv->_s->filter;

	sv->_s->filter = sconce_filter_ref(filter);
	sconce_filter_unref(before);
}

void
sconce_server_client_stdout(struct sconce_server *sv, bool on)
{
	sv->_s->wants_stdout = on;
}

/* ---- what else a program may do ---- */

void
sconce_server_stop(struct sconce_server *sv, bool graceful)
{
	if (sconce_process_worker(sv->process) >= 0)
		kill(getppid(), graceful ? SIGQUIT : SIGTERM);	/* who tells all workers */
	else
		sconce_process_stop(sv->process, graceful);
}

int
sconce_server_restart(struct sconce_server *sv)
{
	return sconce_process_restart(sv->process);
}
