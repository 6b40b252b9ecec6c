/* The restart of a process: the trial; then either a child that keeps the clients, or their end; then the exec.
 *
 *	NONE -> WANTED -> TRYING -> CERTAIN -+-> exec, and a child that drains (or the workers, which go on until the
 *	  ^                  |               |   new program tells them)
 *	  +--- it failed ----+               +-> CLOSING -> READY -> exec
 *
 * An exec that fails leaves a process that serves on with all it had. */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHOWN_LINES = 40 };			/* of what a trial says */

static const double closing_time = 10;		/* seconds that a program has for closing its clients */

/* ---- what is handed over ---- */

/* The listeners, and all children that the new program has to reap. */
static int
make_handover(struct sconce_process *p, struct sconce_handover **handover_out)
{
	struct sconce_handover *h;
	int r = sconce_handover_new(&h);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < p->kept_count; i++) {
		struct sconce_sock *s = sconce_find(p->kept[i].loop, p->kept[i].id);

		if (s == NULL || sconce_fd(s) <= STDERR_FILENO)
			continue;		/* closed; or one that is not closed anyway */
		r = p->kept[i].manager ? sconce__handover_add_named(h, sconce_fd(s), p->kept[i].key) :
		    sconce_handover_add(h, sconce_fd(s), p->kept[i].key);
	}
	for (size_t i = 0; r == 0 && i < p->child_count; i++)
		r = sconce_handover_child(h, p->children[i]);
	for (unsigned i = 0; r == 0 && p->workers != NULL && i < p->worker_count; i++)
		if (p->workers[i].pid > 0)
			r = sconce_handover_child(h, p->workers[i].pid);
	if (r < 0) {
		sconce_handover_free(h);
		return r;
	}
	h->stay = sconce_pidfile_fd(&p->pid_file);
	sigprocmask(SIG_SETMASK, NULL, &h->blocked);
	*handover_out = h;
	return 0;
}

/* ---- the trial ---- */

static void
not_restarted(struct sconce_process *p, const char *why)
{
	sconce_log_line(p->log, SCONCE_LOG_ERROR, "not restarted: %s", why);
}

/* How the trial ended, where it has not said why. */
static void
say_status(struct sconce_process *p, int status)
{
	char why[100];

	if (status == -ETIMEDOUT)
		snprintf(why, sizeof(why), "the trial of the program took too long");
	else if (status < 0)
		snprintf(why, sizeof(why), "the trial of the program: %s", sconce_strerror(status));
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "the trial of the program was ended by signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "the trial of the program ended with status %d", WEXITSTATUS(status));
	not_restarted(p, why);
}

static void
say_text(struct sconce_process *p, const char *text)
{
	for (int i = 0; i < SHOWN_LINES && *text != '\0'; i++) {
		size_t len = strcspn(text, "\n");

		sconce_log_line(p->log, SCONCE_LOG_ERROR, "not restarted: %.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
	if (*text != '\0')
		not_restarted(p, "and more");
}

static void
tried(struct sconce_loop *loop, void *arg, int status, const char *text)
{
	struct sconce_process **trial = arg, *p = *trial;
	bool again;

	free(trial);
	if (p == NULL)
		return;				/* it has ended meanwhile */
	p->trial = NULL;
	again = p->again;
	p->again = false;
	if (p->restart != RESTART_TRYING)
		return;				/* it is about to end */
	if (again) {
		sconce__process_try(p);
		return;
	}
	if (status == 0) {
		p->restart = RESTART_CERTAIN;
		sconce_loop_stop(loop);
		return;
	}
	p->restart = RESTART_NONE;
	if (text[0] != '\0')
		say_text(p, text);
	if (text[0] == '\0' || status < 0)
		say_status(p, status);
}

void
sconce__process_try(struct sconce_process *p)
{
	struct sconce_process **trial = malloc(sizeof(*trial));
	struct sconce_handover *h;
	int r = -ENOMEM;

	if (trial != NULL) {
		*trial = p;
		r = make_handover(p, &h);
	}
	if (r == 0) {
		r = sconce__program_try(p->program, h, p->loop, 0, tried, trial);
		sconce_handover_free(h);
	}
	p->restart = r < 0 ? RESTART_NONE : RESTART_TRYING;
	if (r < 0) {
		free(trial);
		not_restarted(p, sconce_strerror(r));
		return;
	}
	p->trial = trial;
	sconce_log_line(p->log, SCONCE_LOG_INFO, "trying whether the program would start");
}

/* ---- the exec ---- */

/* Signals are noted by the kernel from here on, and what came before is looked at.  False: the process is to end. */
static bool
hold_signals(struct sconce_process *p)
{
	enum process_restart step = p->restart;

	sconce__process_block(true);
	sconce_loop_step(p->loop, 0);
	if (!p->stop_wanted && !p->stopping && !p->ended) {
		p->restart = step;
		return true;
	}
	p->restart = RESTART_NONE;
	sconce__process_block(false);
	return false;
}

/* Serves on.  `told`: the program had been told of the restart. */
static void
failed(struct sconce_process *p, const char *why, bool told)
{
	p->restart = RESTART_NONE;
	not_restarted(p, why);
	sconce__process_block(false);
	sconce_daemon_notify("READY=1");
	if (told && p->ops->restart_failed != NULL)
		p->ops->restart_failed(p);
}

/* Returns only on failure. */
static void
execute(struct sconce_process *p, struct sconce_handover *h, struct sconce_fail *fail)
{
	char state[80];

	sconce_log_line(p->log, SCONCE_LOG_NOTICE, "restarting");
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%.0f", sconce_now(p->loop) * 1e6);
	sconce_daemon_notify(state);
	if (p->opts.pid_file != NULL)
		sconce_pidfile_keep(&p->pid_file, true);
	fflush(NULL);
	sconce_program_exec(p->program, h, fail);
	if (p->opts.pid_file != NULL)
		sconce_pidfile_keep(&p->pid_file, false);
}

/* ---- with a child that drains ---- */

/* The child's part in the listening sockets ends before the exec, so that the new program may bind what overlaps with
 * them.  Their fds stay open, for the loop, as sockets of nobody's; `drain` closes them. */
static void
leave_listeners(struct sconce_process *p)
{
	for (size_t i = 0; i < p->kept_count; i++) {
		struct sconce_sock *s = sconce_find(p->kept[i].loop, p->kept[i].id);
		int spare = s != NULL && sconce_fd(s) >= 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;

		if (spare < 0)
			continue;		/* then it is closed a little later */
		dup3(spare, sconce_fd(s), O_CLOEXEC);
		close(spare);
	}
}

/* The child: says that it is ready, and goes on once the exec has been done (the other end is gone by it).  If it was not,
 * the child was made in vain. */
static void
drain_child(struct sconce_process *p, int parent)
{
	char byte = 0;
	ssize_t n;

	leave_listeners(p);
	if (write(parent, &byte, 1) < 0)
		_exit(1);
	do {
		n = read(parent, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 0)
		_exit(0);
	close(parent);
	p->draining = true;
	if (sconce__process_forked(p) < 0)
		_exit(1);
	p->stopping = p->graceful = true;
	sconce__process_deadline(p, p->opts.drain);
	sconce_log_line(p->log, SCONCE_LOG_INFO, "process %ld keeps the clients that there are", (long)getpid());
	p->ops->drain(p);
}

static void
await_child(int child)
{
	char byte;

	while (read(child, &byte, 1) < 0 && errno == EINTR)
		;
}

/* The parent, when the exec has failed. */
static void
take_back(pid_t pid, int child)
{
	ssize_t n = send(child, "", 1, MSG_NOSIGNAL);

	(void)n;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void
restart_draining(struct sconce_process *p, struct sconce_handover *h)
{
	struct sconce_fail fail;
	int fds[2], r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
	pid_t pid;

	if (r < 0) {
		failed(p, sconce_strerror(r), false);
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fds[1]);
		drain_child(p, fds[0]);
		return;
	}
	r = pid < 0 ? -errno : sconce_handover_child(h, pid);
	snprintf(fail.text, sizeof(fail.text), "%s", sconce_strerror(r));
	close(fds[0]);
	if (r == 0) {
		await_child(fds[1]);
		if (p->ops->restart != NULL)
			p->ops->restart(p, true);
		execute(p, h, &fail);
	}
	if (pid > 0)
		take_back(pid, fds[1]);
	close(fds[1]);
	failed(p, fail.text, r == 0);
}

/* ---- without ---- */

static void
restart_closing(struct sconce_process *p)
{
	p->restart = RESTART_CLOSING;
	sconce__process_deadline(p, closing_time);
	if (p->ops->restart != NULL)
		p->ops->restart(p, false);
	else
		sconce_process_go_on(p);
}

void
sconce_process_go_on(struct sconce_process *p)
{
	if (p->restart != RESTART_CLOSING)
		return;
	p->restart = RESTART_READY;
	sconce_loop_stop(p->loop);
}

/* Clients have gone, or have workers of their own that go on. */
static void
restart_at_once(struct sconce_process *p, struct sconce_handover *h)
{
	struct sconce_fail fail;

	if (p->workers != NULL && p->ops->restart != NULL)
		p->ops->restart(p, true);
	execute(p, h, &fail);
	failed(p, fail.text, true);
}

void
sconce__process_restart_step(struct sconce_process *p)
{
	bool certain = p->restart == RESTART_CERTAIN;
	bool draining = p->opts.drain > 0 && p->ops->drain != NULL;
	struct sconce_handover *h;
	int r;

	if (certain && p->workers == NULL && !draining) {
		restart_closing(p);
		return;
	}
	if (!hold_signals(p))
		return;
	r = make_handover(p, &h);
	if (r < 0) {
		failed(p, sconce_strerror(r), !certain);
		return;
	}
	if (certain && p->workers == NULL)
		restart_draining(p, h);
	else
		restart_at_once(p, h);
	sconce_handover_free(h);
}
