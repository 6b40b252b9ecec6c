/* Several processes: a master, which serves nobody, and workers, which it forks, tells what it is told, and forks again
 * when they die. */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/watch.h>

/* Seconds. */
static const double short_life = 5, first_pause = 0.1, longest_pause = 5;

/* ---- their ends ---- */

static int
status_of(int status)
{
	if (status < 0)
		return 1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool
any_left(const struct sconce_process *p)
{
	for (unsigned i = 0; i < p->worker_count; i++)
		if (p->workers[i].pid > 0)
			return true;
	return false;
}

static void
say_ended(const struct worker *w, pid_t pid, int status)
{
	struct sconce_log *log = w->process->log;

	if (status >= 0 && WIFSIGNALED(status))
		sconce_log_line(log, SCONCE_LOG_WARNING, "worker %u, pid %ld, was ended by signal %d%s", w->number, (long)pid,
			WTERMSIG(status), WCOREDUMP(status) ? " (core dumped)" : "");
	else
		sconce_log_line(log, SCONCE_LOG_WARNING, "worker %u, pid %ld, has ended with status %d", w->number, (long)pid,
			status_of(status));
}

/* One that does not live long is not forked again at once. */
static void
plan_next(struct worker *w)
{
	double lived = sconce_now(w->process->loop) - w->since;

	if (lived >= short_life)
		w->pause = 0;
	else
		w->pause = w->pause == 0 ? first_pause : w->pause * 2 < longest_pause ? w->pause * 2 : longest_pause;
	sconce_timer_start(&w->timer, w->pause);
}

static void
worker_ended(struct sconce_loop *loop, pid_t pid, int status, void *arg)
{
	struct worker *w = arg;
	struct sconce_process *p = w->process;

	(void)loop;
	if (status == -ECANCELED)
		return;
	w->pid = 0;
	if (!p->stopping) {
		say_ended(w, pid, status);
		plan_next(w);
		return;
	}
	if (status_of(status) > p->status)
		p->status = status_of(status);
	if (!any_left(p))
		sconce_process_exit(p, p->status);
}

void
sconce__workers_kill(struct sconce_process *p, int signo)
{
	for (unsigned i = 0; i < p->worker_count; i++)
		if (p->workers[i].pid > 0)
			kill(p->workers[i].pid, signo);
}

void
sconce__workers_stop(struct sconce_process *p)
{
	for (unsigned i = 0; i < p->worker_count; i++) {
		sconce_timer_stop(&p->workers[i].timer);
		p->workers[i].due = false;
	}
	if (!any_left(p))
		sconce_process_exit(p, p->status);
}

/* ---- forking ---- */

/* Tells the master, if this is one of the first, that it serves; or, by the end of the pipe alone, that it does not. */
static void
tell_born(struct sconce_process *p, bool serves)
{
	ssize_t n = p->born >= 0 && serves ? write(p->born, "", 1) : 0;

	(void)n;
	if (p->born >= 0)
		close(p->born);
	p->born = -1;
}

/* In the child, which has the master's stack: the master's workers are nothing to it. */
static void
become_worker(struct sconce_process *p, unsigned number, pid_t master)
{
	int r;

	/* the second line is for a master that has died before the first */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != master)
		_exit(1);
	p->worker = (int)number;
	r = sconce__process_forked(p);
	sconce__workers_fini(p);
	if (p->ready >= 0)
		close(p->ready);		/* the master tells */
	p->ready = -1;
	if (r == 0 && p->ops->worker != NULL)
		r = p->ops->worker(p, number);
	tell_born(p, r == 0);
	if (r == 0)
		return;
	sconce_log_line(p->log, SCONCE_LOG_ERROR, "worker %u cannot start: %s", number, sconce_strerror(r));
	sconce_process_exit(p, 1);
}

/* Forks one.  True in the child. */
static bool
fork_worker(struct worker *w)
{
	struct sconce_process *p = w->process;
	pid_t master = getpid(), pid;
	int r;

	w->due = false;
	w->since = sconce_now(p->loop);
	sconce__process_block(true);		/* what comes for the worker waits until it can take it */
	fflush(NULL);				/* or each worker writes what is buffered, too */
	pid = fork();
	if (pid == 0) {
		become_worker(p, w->number, master);
		return true;
	}
	r = pid < 0 ? -errno : 0;
	sconce__process_block(false);
	if (r == 0)
		r = sconce_child(p->loop, pid, worker_ended, w);
	if (r == 0) {
		w->pid = pid;
		return false;
	}
	sconce_log_line(p->log, SCONCE_LOG_WARNING, "worker %u cannot be forked: %s", w->number, sconce_strerror(r));
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	plan_next(w);
	return false;
}

void
sconce__workers_fork(struct sconce_process *p)
{
	for (unsigned i = 0; p->workers != NULL && i < p->worker_count; i++)
		if (p->workers[i].due && fork_worker(&p->workers[i]))
			return;
}

/* How many workers have said that they serve. */
static unsigned
count_born(int fd)
{
	unsigned count = 0;
	char byte;
	ssize_t n;

	while ((n = read(fd, &byte, 1)) != 0) {
		if (n > 0)
			count++;
		else if (errno != EINTR)
			break;
	}
	return count;
}

bool
sconce__workers_begin(struct sconce_process *p)
{
	int fds[2];
	unsigned born;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		sconce__workers_fork(p);
		return true;
	}
	p->born = fds[1];
	sconce__workers_fork(p);
	if (p->worker >= 0) {
		close(fds[0]);
		return true;
	}
	close(fds[1]);
	p->born = -1;
	born = count_born(fds[0]);
	close(fds[0]);
	if (born == p->worker_count || p->restarted)
		return true;		/* after a restart there is nobody to tell, and the others serve */
	sconce_log_line(p->log, SCONCE_LOG_ERROR, "cannot start: of %u workers %u serve", p->worker_count, born);
	sconce__workers_kill(p, SIGTERM);
	return false;
}

static void
worker_due(struct sconce_timer *t, void *arg)
{
	struct worker *w = arg;

	(void)t;
	w->due = true;
	sconce_loop_stop(w->process->loop);
}

/* ---- all of them ---- */

int
sconce__workers_init(struct sconce_process *p)
{
	unsigned count = (unsigned)p->opts.processes;

	p->workers = calloc(count, sizeof(*p->workers));
	if (p->workers == NULL)
		return -ENOMEM;
	p->worker_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct worker *w = &p->workers[i];

		w->process = p;
		w->number = i;
		w->due = true;
		sconce_timer_init(&w->timer, p->loop, worker_due, w);
	}
	return 0;
}

void
sconce__workers_fini(struct sconce_process *p)
{
	for (unsigned i = 0; i < p->worker_count; i++) {
		sconce_timer_stop(&p->workers[i].timer);
		if (p->workers[i].pid > 0)
			sconce_child_cancel(p->loop, p->workers[i].pid);
	}
	free(p->workers);
	p->workers = NULL;
	p->worker_count = 0;
}
