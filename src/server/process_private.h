/* What the files of restart and process share.
 *
 *	restart.c		the program that was started, and its execution
 *	restart_try.c		its trial in a child
 *	restart_bind.c		what that can find out about listening
 *	inherit.c		what the program before us, or a service manager, has left for us
 *	process.c		the process's beginning and end, its options, its listeners
 *	process_run.c		its life: signals, stop, reload
 *	process_restart.c	its restart, and the child that keeps the clients
 *	process_workers.c	several processes, and their master */
#ifndef PROCESS_PRIVATE_H
#define PROCESS_PRIVATE_H

#include <sconce/process.h>
#include <sconce/restart.h>
#include <sconce/timer.h>

#include <signal.h>

/* The variables of a handover: each begins with the id of the process that they are for, as a process that merely
 * inherits them must not believe them.
 *	SCONCE_FDS=123;5=tcp,0,*,80,;6@http	fds with their keys, or ("@") a service manager's with their names
 *	SCONCE_CHILDREN=123;4711;4712		pids
 *	SCONCE_TRIAL=99;80=tcp,0,*,80,;		in a trial: who tries, and ports and keys that will be handed over */
#define FDS_VARIABLE "SCONCE_FDS"
#define CHILDREN_VARIABLE "SCONCE_CHILDREN"
#define TRIAL_VARIABLE "SCONCE_TRIAL"

struct sconce_program {
	char		*file;			/* what is executed, absolute */
	char		*directory;
	mode_t		umask;
	char		**argv, **env;		/* each one allocation, with a NULL at the end */
	sigset_t	ignored;		/* the signals that were ignored */
};

struct handed_fd {
	int		fd;
	bool		manager;		/* a service manager's */
	char		*key;			/* or its name */
};

struct sconce_handover {
	struct handed_fd *fds;
	size_t		fd_count, fd_cap;
	pid_t		*children;
	size_t		child_count, child_cap;
	int		stay;			/* one more that stays open, without a key (the pid file); -1: none */
	sigset_t	blocked;		/* what the new program finds blocked; empty */
};

/* Room for one more at the end of an array.  False: no memory, and nothing has changed. */
bool sconce__grow(void *array, size_t count, size_t *cap, size_t size);

/* As sconce_handover_add(), of an fd that is a service manager's. */
int sconce__handover_add_named(struct sconce_handover *h, int fd, const char *name);

/* The key of an endpoint: of what it says, not of how that was written. */
enum { KEY_SIZE = 512 };
void sconce__endpoint_key(const struct sconce_endpoint *ep, char key[KEY_SIZE]);

/* As sconce_inherited_endpoint(); the name is as with sconce_inherited_any(). */
int sconce__inherited_named(struct sconce_inherited *in, const struct sconce_endpoint *ep, const char **name_out);
/* A copy of a key without its %XX; NULL: no memory. */
char *sconce__key_decode(const char *from, size_t len);
/* The environment's entry for a trial; NULL: no memory. */
char *sconce__trial_variable(const struct sconce_handover *h);
/* sconce_program_try() of a program that is going to get `h` (NULL: not known). */
int sconce__program_try(struct sconce_program *p, const struct sconce_handover *h, struct sconce_loop *loop,
	double timeout, sconce_program_fn *done, void *arg);
/* Closes the fds that nobody has asked for; the children stay. */
void sconce__inherited_close(struct sconce_inherited *in);

/* ---- process ---- */

/* A socket that is handed over at a restart. */
struct kept {
	struct sconce_loop *loop;
	uint64_t	id;
	bool		manager;
	char		*key;			/* or a service manager's name for it */
};

/* What a service manager has opened and the program has taken, until sconce_process_keep(). */
struct managed {
	int		fd;
	char		*name;
};

/* A unix path that the program before us has made, to be unlinked when we end. */
struct owned_path {
	struct owned_path *next;
	dev_t		dev;
	ino_t		ino;
	char		path[];
};

struct worker {
	struct sconce_process *process;
	pid_t		pid;			/* 0: none */
	unsigned	number;
	bool		due;			/* to be forked, between runs of the loop */
	double		since;			/* sconce_now() of the fork */
	double		pause;			/* before the next one; seconds */
	struct sconce_timer timer;
};

enum process_hup { HUP_RESTART, HUP_RELOAD, HUP_IGNORE };

/* The way to a restart. */
enum process_restart {
	RESTART_NONE,
	RESTART_WANTED,		/* the trial will begin in the next turn */
	RESTART_TRYING,		/* it runs */
	RESTART_CERTAIN,	/* it went well: the loop stops, and is left */
	RESTART_CLOSING,	/* the program closes what it has */
	RESTART_READY		/* it has: the loop stops, and is left */
};

struct sconce_process {
	const struct sconce_process_ops *ops;
	void		*arg;
	struct sconce_process_options opts;
	enum process_hup hup;
	struct sconce_program *program;
	struct sconce_inherited *inherited;	/* NULL once the rest was closed */
	struct sconce_log *log;
	struct sconce_pidfile pid_file;
	struct sconce_identity identity;
	int		ready;			/* whom to tell that we run; -1: nobody */
	bool		restarted, chrooted;
	struct kept	*kept;
	size_t		kept_count, kept_cap;
	struct owned_path *paths;
	struct managed	*managed;
	size_t		managed_count, managed_cap;

	/* while it runs */
	struct sconce_loop *loop;
	int		born;			/* a worker's pipe to the master, until it serves; -1: none */
	bool		exit_waits;		/* the program is done; children that drain are not */
	int		worker;			/* which; -1: none */
	bool		draining;		/* it only keeps its clients */
	struct worker	*workers;		/* the master's; NULL in all others */
	unsigned	worker_count;
	pid_t		*children;		/* that are to be reaped, and told when we end; see sconce__process_reap() */
	size_t		child_count, child_cap;
	struct sconce_timer soon;		/* what was asked for is done in the next turn */
	struct sconce_timer deadline;		/* of a graceful end, and of RESTART_CLOSING */
	bool		stop_wanted, graceful_wanted;
	bool		stopping, graceful;
	enum process_restart restart;
	bool		again;			/* HUP came during the trial: try once more */
	struct sconce_process **trial;		/* what the trial that runs knows us by; NULL: there is none */
	bool		ended;
	int		status;
};

/* process_run.c */

/* The signals of a process, blocked or not.  While they are blocked none is lost, even over an exec. */
void sconce__process_block(bool on);
/* Has the child reaped when it ends; it does not keep the loop running. */
int sconce__process_reap(struct sconce_process *p, pid_t pid);
/* In a forked child: makes the loop its own, and forgets what is the parent's.  0 or -errno. */
int sconce__process_forked(struct sconce_process *p);
/* Sets the time after which clients are cut off. */
void sconce__process_deadline(struct sconce_process *p, double secs);
/* Everything stops at once, or gracefully. */
void sconce__process_stop_now(struct sconce_process *p, bool graceful);

/* process_restart.c */

/* Begins the trial. */
void sconce__process_try(struct sconce_process *p);
/* Between runs of the loop: the next step of a restart. */
void sconce__process_restart_step(struct sconce_process *p);

/* process_workers.c */

/* Prepares the workers; they are due.  0 or -ENOMEM. */
int sconce__workers_init(struct sconce_process *p);
void sconce__workers_fini(struct sconce_process *p);
/* Between runs of the loop: forks those that are due.  Returns in the workers, too. */
void sconce__workers_fork(struct sconce_process *p);
/* The first time: waits until each has said that it serves.  False: not all do, and the master is to end.  True in a
 * worker. */
bool sconce__workers_begin(struct sconce_process *p);
/* Sends them a signal. */
void sconce__workers_kill(struct sconce_process *p, int signo);
/* No new ones are made; the end of the last ends the process. */
void sconce__workers_stop(struct sconce_process *p);

#endif
