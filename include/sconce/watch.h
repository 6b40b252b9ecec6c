/* The rest of what a loop can wait for: foreign fds, signals, children. */
#ifndef SCONCE_WATCH_H
#define SCONCE_WATCH_H

#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

/* An fd that belongs to somebody else (another library's socket): the loop tells when it is ready and never reads,
 * writes or closes it. */
struct sconce_watch;

/* `events` are those of SCONCE_READ, SCONCE_WRITE and SCONCE_HUP that hold; the last means that an error or hang-up
 * is pending. */
typedef void sconce_watch_fn(struct sconce_watch *w, unsigned events, void *arg);

struct sconce_watch {
	struct sconce_sock sock;		/* private */
	sconce_watch_fn *_fn;
	void *_arg;
	unsigned _events;
};

/* Watches `fd` for `events` (SCONCE_READ, SCONCE_WRITE; 0 for none yet; hang-ups are always told) until
 * sconce_watch_stop().  The fd keeps its flags, and must stay open until then.  It may be done at any time, also
 * while the loop runs.  It keeps the loop running.  One watch (or socket) per fd and loop: of a second one hang-ups
 * would not be told.  `w` must not be running already. `w` is the caller's memory, unmoved until sconce_watch_stop()
 * returns.  Returns 0, -EINVAL, -EBADF, -EPERM (a regular file), -ENOMEM. */
SCONCE_API int sconce_watch_start(struct sconce_watch *w, struct sconce_loop *loop, int fd, unsigned events,
	sconce_watch_fn *fn, void *arg);

/* Changes what is watched. */
SCONCE_API void sconce_watch_set(struct sconce_watch *w, unsigned events);

/* Ends it: fn is not called again, the fd stays open, the memory is the caller's at once.  Harmless on one that is
 * stopped or was zeroed and never started. */
SCONCE_API void sconce_watch_stop(struct sconce_watch *w);

/* A signal arrived, perhaps several times since the last call.  Runs in the loop's thread, from the loop. */
typedef void sconce_signal_fn(struct sconce_loop *loop, int signo, void *arg);

/* Calls fn whenever the process gets `signo`, until fn NULL is set.  A signal belongs to one loop of the process:
 * -EBUSY for another.  The previous disposition is restored at the end.  It keeps the loop running.
 * Returns 0, -EINVAL (not a signal that can be caught), -EBUSY, -ENOMEM or -EMFILE. */
SCONCE_API int sconce_signal(struct sconce_loop *loop, int signo, sconce_signal_fn *fn, void *arg);

/* A child has ended and been reaped; `status` is waitpid(2)'s; -ECHILD when somebody else had reaped it; -ECANCELED
 * when the loop is freed first or goes on in a forked process, whose children they are not. */
typedef void sconce_child_fn(struct sconce_loop *loop, pid_t pid, int status, void *arg);

/* Calls fn once when the child `pid` ends; reaps only that pid.  SIGCHLD is not used.  Any loop of the process may do
 * it.
 * Returns 0; -ECHILD (no child of ours), -EEXIST (this loop watches it already), -ENOSYS (a kernel without pidfd),
 * -ENOMEM or -EMFILE. */
SCONCE_API int sconce_child(struct sconce_loop *loop, pid_t pid, sconce_child_fn *fn, void *arg);

/* Forgets the child: fn is not called, nobody reaps it.  Returns 0 or -ENOENT. */
SCONCE_API int sconce_child_cancel(struct sconce_loop *loop, pid_t pid);

SCONCE_END_DECLS

#endif
