/* A process while it runs: signals, the stop, the children that it reaps, and the main loop.
 *
 * Signals and calls only note what is wanted; it is done in the next turn, from the loop.  Forks and execs are done
 * between runs of the loop, which is stopped for them.  What we wait for ourselves (signals, children that drain, the
 * deadline) does not keep the loop running: it ends when the program has nothing left (NS-16). */
#include "log_private.h"
#include "process_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/watch.h>

enum { LAST_SECONDS = 10 };		/* for a worker, or a child that drains, to close what is left */

/* ---- a timer that does not keep the loop ---- */

static void
quiet_start(struct sconce_process *p, struct sconce_timer *t, double secs)
{
	if (!sconce_timer_active(t)) {
		sconce_timer_start(t, secs);
		sconce_loop_unref(p->loop);
	} else {
		sconce_timer_start(t, secs);
	}
}

static void
quiet_stop(struct sconce_process *p, struct sconce_timer *t)
{
	if (sconce_timer_active(t)) {
		sconce_loop_ref(p->loop);
		sconce_timer_stop(t);
	}
}

void
sconce__process_deadline(struct sconce_process *p, double secs)
{
	quiet_start(p, &p->deadline, secs);
}

/* ---- children ---- */

static void
end_now(struct sconce_process *p, int status)
{
	if (!p->ended)
		p->status = status;
	p->ended = true;
	if (p->loop != NULL)
		sconce_loop_stop(p->loop);
}

static void
child_ended(struct sconce_loop *loop, pid_t pid, int status, void *arg)
{
	struct sconce_process *p = arg;

	(void)status;
	sconce_loop_ref(loop);
	for (size_t i = 0; i < p->child_count; i++)
		if (p->children[i] == pid)
			p->children[i--] = p->children[--p->child_count];
	sconce_log_line(p->log, SCONCE_LOG_INFO, "process %ld of before the restart has ended", (long)pid);
	if (p->exit_waits && p->child_count == 0)
		end_now(p, p->status);
}

int
sconce__process_reap(struct sconce_process *p, pid_t pid)
{
	int r;

	if (!sconce__grow(&p->children, p->child_count, &p->child_cap, sizeof(*p->children)))
		return -ENOMEM;
	r = sconce_child(p->loop, pid, child_ended, p);
	if (r < 0)
		return r;
	sconce_loop_unref(p->loop);
	p->children[p->child_count++] = pid;
	return 0;
}

static void
tell_children(struct sconce_process *p, int signo)
{
	for (size_t i = 0; i < p->child_count; i++)
		kill(p->children[i], signo);
}

static void
forget_children(struct sconce_process *p)
{
	while (p->child_count > 0) {
		sconce_loop_ref(p->loop);
		sconce_child_cancel(p->loop, p->children[--p->child_count]);
	}
}

/* Those of the program before us.  Its workers serve until now; that they end is all that they still have to be told. */
static void
take_children(struct sconce_process *p)
{
	pid_t pid;

	while ((pid = sconce_inherited_child(p->inherited)) > 0) {
		int r = sconce__process_reap(p, pid);

		if (r < 0 && r != -ECHILD)
			sconce_log_line(p->log, SCONCE_LOG_WARNING, "cannot wait for process %ld: %s", (long)pid,
				sconce_strerror(r));
		if (r != -ECHILD)
			kill(pid, SIGQUIT);
	}
}

/* Whether there are clients that children of before a restart still serve, and that may end what they have begun. */
static bool
children_drain(const struct sconce_process *p)
{
	return p->stopping && p->graceful && p->child_count > 0 && p->worker < 0 && !p->draining;
}

int
sconce__process_forked(struct sconce_process *p)
{
	int r = sconce_loop_fork(p->loop);

	forget_children(p);
	p->again = false;
	p->restart = RESTART_NONE;
	sconce__process_block(false);
	sconce__log_forked(p->log);
	return r;
}

/* ---- the end ---- */

void
sconce_process_exit(struct sconce_process *p, int status)
{
	if (!children_drain(p)) {
		end_now(p, status);
		return;
	}
	if (p->exit_waits)
		return;
	p->status = status;
	p->exit_waits = true;
	sconce_loop_ref(p->loop);		/* the program has nothing left, but we wait */
}

void
sconce__process_stop_now(struct sconce_process *p, bool graceful)
{
	if (p->stopping && (graceful || !p->graceful))
		return;
	if (!p->stopping && p->worker < 0) {
		sconce_log_line(p->log, SCONCE_LOG_NOTICE, graceful ? "ending, once clients have gone" : "ending");
		sconce_daemon_notify("STOPPING=1");
	}
	p->stopping = true;
	p->graceful = graceful;
	tell_children(p, graceful ? SIGQUIT : SIGTERM);
	if (p->workers != NULL) {
		sconce__workers_kill(p, graceful ? SIGQUIT : SIGTERM);
		sconce__workers_stop(p);
		if (!p->ended)
			sconce__process_deadline(p, (graceful ? p->opts.drain : 0) + LAST_SECONDS + 2);
		return;
	}
	if (p->exit_waits && !graceful) {
		end_now(p, p->status);
		return;
	}
	quiet_stop(p, &p->deadline);
	if (graceful)
		sconce__process_deadline(p, p->opts.drain);
	else if (p->worker >= 0 || p->draining)
		sconce__process_deadline(p, LAST_SECONDS);	/* nobody watches it: it must not stay for ever */
	if (p->ops->stop != NULL)
		p->ops->stop(p, graceful);
	else
		sconce_process_exit(p, 0);
}

/* Clients have had their time; or, with RESTART_CLOSING, the program. */
static void
deadline_passed(struct sconce_timer *t, void *arg)
{
	struct sconce_process *p = arg;

	(void)t;
	sconce_loop_ref(p->loop);
	if (p->workers != NULL && p->stopping) {
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "workers do not end: killing them");
		sconce__workers_kill(p, SIGKILL);
	} else if (p->restart == RESTART_CLOSING) {
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "restarting though not everything is closed");
		sconce_process_go_on(p);
	} else if (p->stopping && p->graceful) {
		sconce__process_stop_now(p, false);
	} else if (p->stopping) {
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "ending though not everything is closed");
		sconce_process_exit(p, 1);
	}
}

/* ---- what is wanted ---- */

static void
do_wanted(struct sconce_timer *t, void *arg)
{
	struct sconce_process *p = arg;

	(void)t;
	if (p->stop_wanted) {
		p->stop_wanted = false;
		p->restart = RESTART_NONE;
		sconce__process_stop_now(p, p->graceful_wanted);
	} else if (p->restart == RESTART_WANTED) {
		sconce__process_try(p);
	}
}

static void
want(struct sconce_process *p)
{
	if (p->loop != NULL)
		sconce_timer_start(&p->soon, 0);
}

void
sconce_process_stop(struct sconce_process *p, bool graceful)
{
	p->graceful_wanted = graceful && (!p->stop_wanted || p->graceful_wanted);
	p->stop_wanted = true;
	want(p);
}

int
sconce_process_restart(struct sconce_process *p)
{
	if (p->worker >= 0 || p->draining || p->chrooted)
		return -EOPNOTSUPP;
	if (p->restart != RESTART_NONE || p->stop_wanted || p->stopping)
		return -EALREADY;
	p->restart = RESTART_WANTED;
	want(p);
	return 0;
}

/* ---- signals ---- */

/* TERM, INT, QUIT.  Each goes a step further: clients may end, clients are cut off, the end.  A worker or a child that
 * drains does not count: what its master passes on is not a second one of what came from the terminal to all at once. */
static void
on_end(struct sconce_loop *loop, int signo, void *arg)
{
	struct sconce_process *p = arg;
	bool told = p->stop_wanted || p->stopping, gently = p->stop_wanted ? p->graceful_wanted : p->graceful;

	(void)loop;
	if (!told || gently || p->worker >= 0 || p->draining) {
		bool counts = told && p->worker < 0 && !p->draining;

		sconce_process_stop(p, signo == SIGQUIT && !counts);
		return;
	}
	sconce_log_line(p->log, SCONCE_LOG_WARNING, "told again to end: ending at once");
	if (p->workers != NULL)
		sconce__workers_kill(p, SIGKILL);
	tell_children(p, SIGTERM);
	sconce_process_exit(p, 1);
}

/* HUP during a trial may be for a configuration that the trial has not seen; later it is what the new program reads
 * anyway. */
static void
hup_restart(struct sconce_process *p)
{
	int r = sconce_process_restart(p);

	if (r == -EOPNOTSUPP && p->chrooted)
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "not restarted: the program cannot be seen from within the chroot");
	if (r == -EALREADY && p->restart == RESTART_TRYING)
		p->again = true;
}

static void
on_hup(struct sconce_loop *loop, int signo, void *arg)
{
	struct sconce_process *p = arg;

	(void)loop;
	(void)signo;
	if (p->hup == HUP_RESTART) {
		hup_restart(p);
		return;
	}
	if (p->hup == HUP_IGNORE || p->draining)
		return;
	if (p->workers != NULL)
		sconce__workers_kill(p, SIGHUP);
	if (p->ops->reload != NULL)
		p->ops->reload(p);
}

/* Leads the standard files to where they belong in the background, or when there is a log file (NS-47). */
static void
lead_standard(struct sconce_process *p)
{
	struct sconce_fail fail;
	int fd = p->log != NULL ? sconce_log_fd(p->log) : -1;

	if (fd < 0 && !p->opts.background && !p->opts.setsid)
		return;
	if (sconce_daemon_stdio(fd, &fail) < 0)
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "%s", fail.text);
}

static void
on_usr1(struct sconce_loop *loop, int signo, void *arg)
{
	struct sconce_process *p = arg;
	int r = p->log != NULL ? sconce_log_reopen(p->log) : 0;

	(void)loop;
	if (r < 0)
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "the log cannot be opened again, and goes on where it was: %s",
			sconce_strerror(r));
	else
		lead_standard(p);
	if (p->workers != NULL)
		sconce__workers_kill(p, signo);
	tell_children(p, signo);
	if (p->ops->reopen != NULL)
		p->ops->reopen(p);
}

static const struct {
	int signo;
	sconce_signal_fn *fn;
} signals[] = {
	{ SIGTERM, on_end }, { SIGINT, on_end }, { SIGQUIT, on_end }, { SIGHUP, on_hup }, { SIGUSR1, on_usr1 },
};

enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

void
sconce__process_block(bool on)
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < SIGNALS; i++)
		sigaddset(&set, signals[i].signo);
	sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static int
take_signals(struct sconce_process *p)
{
	for (int i = 0; i < SIGNALS; i++) {
		int r = sconce_signal(p->loop, signals[i].signo, signals[i].fn, p);

		if (r < 0) {
			while (i-- > 0) {
				sconce_loop_ref(p->loop);
				sconce_signal(p->loop, signals[i].signo, NULL, NULL);
			}
			return r;
		}
		sconce_loop_unref(p->loop);
	}
	return 0;
}

static void
leave_signals(struct sconce_process *p)
{
	for (int i = 0; i < SIGNALS; i++) {
		sconce_loop_ref(p->loop);
		sconce_signal(p->loop, signals[i].signo, NULL, NULL);
	}
}

/* ---- running ---- */

/* Whoever waits for us learns that we run. */
static void
tell_ready(struct sconce_process *p)
{
	char state[64];

	snprintf(state, sizeof(state), p->ready >= 0 ? "READY=1\nMAINPID=%ld" : "READY=1", (long)getpid());
	sconce_daemon_ready(&p->ready, 0);
	sconce_daemon_notify(state);
	sconce_log_line(p->log, SCONCE_LOG_NOTICE, p->restarted ? "started again, pid %ld" : "started, pid %ld",
		(long)getpid());
}

static void
run_loop(struct sconce_process *p)
{
	while (!p->ended) {
		int r;

		if (p->workers != NULL)
			sconce__workers_fork(p);
		if (p->ended)
			break;
		r = sconce_loop_run(p->loop);
		if (r < 0) {
			sconce_log_line(p->log, SCONCE_LOG_ERROR, "the loop has failed: %s", sconce_strerror(r));
			sconce_process_exit(p, 1);
		} else if (p->ended) {
			break;
		} else if (p->restart == RESTART_CERTAIN || p->restart == RESTART_READY) {
			sconce__process_restart_step(p);
		} else if (r == SCONCE_LOOP_IDLE && p->restart == RESTART_CLOSING) {
			sconce_process_go_on(p);	/* nothing is left to be closed */
			sconce__process_restart_step(p);
		} else if (r == SCONCE_LOOP_IDLE || p->workers == NULL) {
			sconce_process_exit(p, 0);	/* nothing left, or the program has stopped it */
		}
	}
}

static void
leave(struct sconce_process *p)
{
	sconce_timer_stop(&p->soon);
	if (p->exit_waits)
		sconce_loop_unref(p->loop);
	quiet_stop(p, &p->deadline);
	if (p->trial != NULL)
		*p->trial = NULL;		/* its end finds nobody any more */
	forget_children(p);
	sconce__workers_fini(p);
	if (p->worker >= 0 || p->draining)
		sconce__process_block(true);	/* one more from the master must not spoil the status of an end in order */
	leave_signals(p);
	p->loop = NULL;
	sconce_log_line(p->log, p->worker >= 0 || p->draining ? SCONCE_LOG_INFO : SCONCE_LOG_NOTICE,
		"ended: pid %ld, status %d", (long)getpid(), p->status);
}

int
sconce_process_run(struct sconce_process *p, struct sconce_loop *loop)
{
	int r;

	if (p->ended)
		return p->status;
	p->loop = loop;
	sconce_timer_init(&p->soon, loop, do_wanted, p);
	sconce_timer_init(&p->deadline, loop, deadline_passed, p);
	r = take_signals(p);
	if (r == 0 && p->opts.processes > 1) {
		r = sconce__workers_init(p);
		if (r < 0)
			leave_signals(p);
	}
	if (r < 0) {
		sconce_log_line(p->log, SCONCE_LOG_ERROR, "cannot start: %s", sconce_strerror(r));
		p->loop = NULL;
		return 1;
	}
	sconce__process_block(false);		/* they were, if this is a restart */
	lead_standard(p);			/* before the workers are forked, which are to have it, too */
	if (p->workers != NULL && !sconce__workers_begin(p))
		sconce_process_exit(p, 1);
	if (p->worker < 0 && !p->ended) {
		tell_ready(p);
		take_children(p);
	}
	sconce_inherited_free(p->inherited);
	p->inherited = NULL;
	if (p->stop_wanted || p->restart == RESTART_WANTED)
		want(p);
	run_loop(p);
	leave(p);
	return p->status;
}
