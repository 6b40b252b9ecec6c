/* The life of a server's process, in the order in which its steps must happen: log, pid file, background, inherited
 * sockets, users, several processes, signals, restart, end.
 *
 *	sconce_process_new(&ops, arg, argc, argv, &p);		before anything is parsed
 *	... read the configuration into a struct sconce_process_options ...
 *	sconce_process_start(p, &opts, &fail);			log, pid file, background, pid
 *	... make the loop, listen: sconce_process_inherited() first, sconce_process_keep() afterwards ...
 *	sconce_process_drop(p, &fail);				chown, chroot, group, user
 *	status = sconce_process_run(p, loop);			ready; signals; until the end
 *	sconce_process_free(p);					pid file, log
 *	return status;
 *
 * sconce/server.h does this for servers of its kind; sconced does it for itself.
 *
 * Signals (what they ask for is done from the loop):
 *	TERM, INT	stop(p, false)
 *	QUIT		stop(p, true): what has begun may end, for `drain` seconds
 *	HUP		`hup`: restart, reload or ignore
 *	USR1		the log is opened again
 * TERM, INT or QUIT after a QUIT are stop(p, false); after that, or after a TERM or INT, they end the process at once,
 * with status 1.  Signals are taken by sconce_process_run(); in a process that was restarted they wait until then.
 * HUP during a trial is for another trial when that is over, later during a restart it is what the new program reads
 * anyway: it is not done twice.
 *
 * With `processes` more than 1 the process that was started is a master, which serves nobody and keeps all listeners
 * open; it forks the workers, forks those that die again (after 0.1 s, doubling to 5 s, those that live for less than
 * 5 s), passes the signals on, and ends when they have: with the worst of their statuses (128 and the signal).  When it
 * is killed they get TERM.  At a restart the old workers serve until the new ones do.
 *
 * A restart tries the program first (sconce_program_try()): with a broken binary or configuration the old one stays and
 * logs why.  Then the same process executes it; listeners are never closed, so no client is refused.  With `drain` more
 * than 0 a forked child keeps the clients that there are until they have gone, or that many seconds have passed; with 0
 * they are closed before.  The new program reaps that child, and passes TERM on to it. */
#ifndef SCONCE_PROCESS_H
#define SCONCE_PROCESS_H

#include <stdbool.h>
#include <sconce/conf.h>
#include <sconce/daemon.h>
#include <sconce/log.h>
#include <sconce/loop.h>
#include <sconce/restart.h>

SCONCE_BEGIN_DECLS

struct sconce_process;

/* All zero: in the foreground, logging to stderr, as whoever we are.  The texts must be good until
 * sconce_process_free(). */
struct sconce_process_options {
	int log_level;			/* enum sconce_log_level; sconce_process_conf() sets 2 */
	const char *log_file;		/* a path, "syslog" (or "Sys::Syslog"); NULL: stderr */
	const char *syslog_ident, *syslog_facility, *syslog_logsock, *syslog_logopt;
	const char *pid_file;
	bool background, setsid;	/* setsid: in the background, in a session of its own */
	const char *user, *group, *chroot;
	struct sconce_conf_list chown_files;
	int umask;			/* -1: as it is; sconce_process_conf() sets that */
	int processes;			/* workers; 0 or 1: none, one process does all */
	const char *hup;		/* "restart" (also for NULL), "reload", "ignore" */
	double drain;			/* seconds for clients at QUIT and at a restart */
	/* Not options of the configuration. */
	void (*log_write)(void *arg, int level, const char *line);	/* gets the log's lines, instead of log_file */
	void *log_arg;
	unsigned log_lines_per_second;	/* of the log, see struct sconce_log_options; 0: no limit */
	bool trial;			/* sconce_process_start() only looks, as in a trial */
};

/* Adds the options' names (those of the members) to a configuration that stores into *opts, and sets its defaults.
 * Returns as sconce_conf_add(). */
SCONCE_API int sconce_process_conf(struct sconce_conf *conf, struct sconce_process_options *opts);

/* What the program does.  Each may be missing.  They run between the turns of the loop or from it, never inside a call
 * of yours but sconce_process_run(). */
struct sconce_process_ops {
	const char *name;		/* of the program, for the log and messages; not NULL */
	/* Ends: closes, at once or when all is done, what keeps the loop running, or calls sconce_process_exit().
	 * `graceful`: clients may end what they have begun; after `drain` seconds it is called again with false.  Not in a
	 * master.  Missing: the loop is stopped. */
	void (*stop)(struct sconce_process *p, bool graceful);
	/* HUP with `hup` = reload; in a master and in each worker. */
	void (*reload)(struct sconce_process *p);
	/* USR1: the process's log has been opened again. */
	void (*reopen)(struct sconce_process *p);
	/* This is worker `number` (0 ...), just forked, with the loop made its own (sconce_loop_fork()), before it runs.  It
	 * takes what is its own of the listeners and closes the others.  -errno: it exits with 1, and is tried again. */
	int (*worker)(struct sconce_process *p, unsigned number);
	/* This process, just forked, only keeps its clients, for a restart: it closes its listeners, and calls
	 * sconce_process_exit() when the clients have gone.  `stop` with false follows after `drain` seconds, or at TERM.
	 * Missing: no such process is made, as if `drain` were 0. */
	void (*drain)(struct sconce_process *p);
	/* The restart is certain; the process is about to execute its program.  `draining`: a child (or the workers) has the
	 * clients, and nothing is to be done.  Else it closes its clients, for which the loop is then turned until the
	 * program says sconce_process_go_on(), or 10 seconds have passed; missing: nothing is waited for.  What was given to
	 * sconce_process_keep() stays open: a listener may be paused, not closed. */
	void (*restart)(struct sconce_process *p, bool draining);
	/* The exec has failed all the same: serve on, with all the clients if `draining` had been said. */
	void (*restart_failed)(struct sconce_process *p);
};

/* Captures the program, takes inherited fds, opens fds 0 to 2 where they are closed.  To be called before any fd is
 * opened and argv is changed.  `ops` is kept by reference, argv copied.
 * Returns 0, -ENOMEM or another -errno. */
SCONCE_API int sconce_process_new(const struct sconce_process_ops *ops, void *arg, int argc, char *const *argv,
	struct sconce_process **process_out);
/* Removes the pid file, if this process wrote it, closes the log and inherited fds that nobody has asked for, and lets a
 * parent that waits exit with 1 if it has not been told that we are ready.  NULL is allowed. */
SCONCE_API void sconce_process_free(struct sconce_process *p);

SCONCE_API void *sconce_process_arg(const struct sconce_process *p);
/* NULL before sconce_process_start(), which writes nothing. */
SCONCE_API struct sconce_log *sconce_process_log(const struct sconce_process *p);
/* What program, and with what arguments, a restart executes. */
SCONCE_API struct sconce_program *sconce_process_program(const struct sconce_process *p);
/* The options in force. */
SCONCE_API const struct sconce_process_options *sconce_process_options(const struct sconce_process *p);

/* Looks users and groups up, sets the umask, opens the log, takes the pid file, goes to the background, writes the pid
 * file; not again what a restart has behind it (it is in the background already).  `opts` is copied, but not its texts.
 * In a trial (sconce_program_checking()) it looks only whether all that could be done.
 * Returns 0, or -errno with *fail_out set: operation "log_file", "user", "group", "chroot", "hup", "pid_file", "fork"
 * ..., which is the option's name where it is one. */
SCONCE_API int sconce_process_start(struct sconce_process *p, const struct sconce_process_options *opts,
	struct sconce_fail *fail_out);

/* The fd of a listener that the program had before its restart, or that a service manager has opened, for this endpoint;
 * of several the next one.  -1: there is none, bind one.  It is the caller's.  The path of a unix socket that was ours is
 * unlinked by sconce_process_free(), as a listener unlinks one that it has made; a service manager's is not. */
SCONCE_API int sconce_process_inherited(struct sconce_process *p, const struct sconce_endpoint *ep);
/* Any listener that a service manager has opened, for programs that were not told where to listen; -1. */
SCONCE_API int sconce_process_inherited_any(struct sconce_process *p);
/* Closes what was inherited and nobody has asked for: to be called before anything is bound anew, since one of them may
 * be in the way of another address of its port.  sconce_process_run() does it in any case. */
SCONCE_API void sconce_process_inherited_close(struct sconce_process *p);
/* The socket, which listens for this endpoint, is handed over at a restart; until it is closed.  The new program finds
 * it by what the endpoint says (protocol, host, service, path, fd), however that is written, whatever the options;
 * several in the order of these calls.  What came from a service manager stays one of its sockets.  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_process_keep(struct sconce_process *p, struct sconce_sock *s, const struct sconce_endpoint *ep);

/* After binding: gives the log, the pid file and `chown_files` away, and becomes who we are to be.  Returns 0, or -errno
 * with *fail_out set: it cannot go on then. */
SCONCE_API int sconce_process_drop(struct sconce_process *p, struct sconce_fail *fail_out);

/* Takes the signals, forks the workers, leads the standard files to /dev/null and the log (in the background, and where
 * the log is a file), tells whoever started us that we run, closes what was inherited and nobody has asked for, and runs
 * the loop until the end: sconce_process_exit(), sconce_loop_stop(), or nothing left to wait for.
 * It returns in each worker, and in a child that drains, as well: the program ends the same way there.
 * Returns the exit status. */
SCONCE_API int sconce_process_run(struct sconce_process *p, struct sconce_loop *loop);

/* Ends sconce_process_run() after this turn, with this status; of several calls the first counts. */
SCONCE_API void sconce_process_exit(struct sconce_process *p, int status);
/* As the signals do, in the next turn.  sconce_process_restart() returns 0 (the trial will begin), -EALREADY while one
 * is under way or the process ends, -EOPNOTSUPP in a worker, in a child that drains, and after a chroot (the program is
 * not in there). */
SCONCE_API void sconce_process_stop(struct sconce_process *p, bool graceful);
SCONCE_API int sconce_process_restart(struct sconce_process *p);
/* From `restart` on: everything has been closed.  At any other time it does nothing. */
SCONCE_API void sconce_process_go_on(struct sconce_process *p);

/* Whether it was restarted; is a trial; which worker it is (-1: none); is being stopped. */
SCONCE_API bool sconce_process_restarted(const struct sconce_process *p);
SCONCE_API int sconce_process_worker(const struct sconce_process *p);
SCONCE_API bool sconce_process_stopping(const struct sconce_process *p);

SCONCE_END_DECLS

#endif
