/* The loop: an object that waits for sockets, timers and threads and calls their hooks.
 *
 * One turn of a loop does, in this order:
 *   1. wait: not at all when work for 4 to 7 is left or a timer is due;
 *   2. timers that are due;
 *   3. I/O: for each ready socket event_read, event_write, event_err, event_hup; when a socket's
 *      dispatch ends, everything it wrote (to whichever socket) is sent and completions run;
 *   4. input that was pushed back;
 *   5. deferred calls, posts from other threads, idle timeouts, and what all these wrote;
 *   6. closes, in the order they were made: cancelled completions, event_close, close(2), destroy;
 *   7. post-loop callbacks.
 * Each step handles what was there when it began; what is added meanwhile waits for the next turn,
 * which then does not sleep.
 *
 * Everything hangs off a loop, so one loop per thread just works.  Of all functions only
 * sconce_post(), sconce_version() and sconce_strerror() may be called from a thread other than the
 * one that runs the loop. */
#ifndef SCONCE_LOOP_H
#define SCONCE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sconce/backend.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

struct sconce_loop;
struct sconce_sock;

/* Flags of struct sconce_loop_options. */
enum {
	/* Leave SIGPIPE alone.  Without it the first loop ignores SIGPIPE if its disposition is still the
	 * default: sendfile, splice and pipes raise it whatever the flags (HZ-11). */
	SCONCE_LOOP_KEEP_SIGPIPE = 1
};

/* How to make a loop.  All zero is a good default. */
struct sconce_loop_options {
	unsigned flags;				/* SCONCE_LOOP_... */
	unsigned backend_flags;			/* libev: EVBACKEND_... , 0 for its choice */
	const struct sconce_backend *backend;	/* NULL: libev; must outlive the loop */
	void *backend_arg;			/* for the backend's init(); libev: a struct ev_loop to use, or NULL */
	uint64_t high, low;			/* water marks of its sockets, bytes; 0: 1 MiB, and a quarter of `high` */
	uint64_t cap;				/* bytes a socket may hold as copies; 0: 64 MiB */
};

/* Makes a loop.  `opts` may be NULL; it is copied.  The first loop of a process ignores SIGPIPE (see
 * SCONCE_LOOP_KEEP_SIGPIPE).  Returns 0 with *loop_out set, which sconce_loop_free() frees; -EINVAL
 * (marks in the wrong order, an incomplete backend table), -ENOMEM, -EMFILE or another -errno. */
SCONCE_API int sconce_loop_new(const struct sconce_loop_options *opts, struct sconce_loop **loop_out);

/* Closes every socket that is left (reason SCONCE_REASON_LOOP), cancels timers, runs outstanding
 * deferred calls, posts and finished work with -ECANCELED, turns until everything is destroyed, and
 * frees the loop.  Hooks event_close and destroy and completions run.  Sockets that are held are
 * destroyed all the same when the loop goes.
 * Returns 0, or -EBUSY inside a hook of this loop (nothing happened).  NULL is allowed. */
SCONCE_API int sconce_loop_free(struct sconce_loop *loop);

/* Why sconce_loop_run() returned. */
enum sconce_loop_end {
	SCONCE_LOOP_STOPPED = 1,	/* sconce_loop_stop() */
	SCONCE_LOOP_POST = 2,		/* a post-loop callback returned false */
	SCONCE_LOOP_IDLE = 3		/* nothing left to wait for */
};

/* Turns until there is a reason to end.  Nothing to wait for means: no socket (paused and half-closed
 * ones count), timer, loop timeout, child, signal, deferred call, work, nor sconce_loop_ref().
 * May be called again; everything persists.  Returns an enum sconce_loop_end; -EDEADLK from a hook of
 * the same loop; another -errno when the wait itself failed. */
SCONCE_API int sconce_loop_run(struct sconce_loop *loop);

/* Does exactly one turn that waits at most `timeout` seconds (0: does not sleep; negative: no limit
 * but the loop's).  Returns the number of hooks and callbacks it ran, or -EDEADLK from a hook of the
 * same loop, or another -errno. */
SCONCE_API int sconce_loop_step(struct sconce_loop *loop, double timeout);

/* Ends the sconce_loop_run() in progress after its current turn; without one, the next.  On a loop that
 * shares an application's ev_loop it never breaks a run that the application started. */
SCONCE_API void sconce_loop_stop(struct sconce_loop *loop);

/* To be called in the child after fork() for a loop that goes on there: makes new kernel objects, keeps
 * the sockets.  Unix paths stay whoever's they were: the child does not unlink them.
 * Returns 0 or -errno; -EBUSY inside a hook. */
SCONCE_API int sconce_loop_fork(struct sconce_loop *loop);

/* Keeps sconce_loop_run() from ending for want of work, until as many unrefs. */
SCONCE_API void sconce_loop_ref(struct sconce_loop *loop);
SCONCE_API void sconce_loop_unref(struct sconce_loop *loop);

/* The longest a wait may last, in seconds: negative (the default) without limit, 0 does not sleep.
 * It counts as something to wait for.  For runs made by sconce_loop_run() and _step(). */
SCONCE_API void sconce_loop_set_timeout(struct sconce_loop *loop, double secs);
SCONCE_API double sconce_loop_timeout(const struct sconce_loop *loop);

/* The time, in seconds, on a clock that only moves forward (CLOCK_MONOTONIC).  Inside a hook it is the
 * time read after the last wait; elsewhere the clock is read. */
SCONCE_API double sconce_now(const struct sconce_loop *loop);

/* Called at the end of every turn.  True: go on; false: end the run.  All are called; one false is
 * enough.  May do anything but run the loop. */
typedef bool sconce_post_loop_fn(struct sconce_loop *loop, void *arg);

/* Adds a post-loop callback, called after the sockets' own (sconce_set_post_loop()) and after those
 * added before it; one that is added during step 7 is called from the next turn on.
 * Returns 0, -ENOMEM, or -EINVAL without fn. */
SCONCE_API int sconce_post_loop_add(struct sconce_loop *loop, sconce_post_loop_fn *fn, void *arg);

/* Removes the callback added with the same fn and arg.  Returns 0, or -ENOENT. */
SCONCE_API int sconce_post_loop_remove(struct sconce_loop *loop, sconce_post_loop_fn *fn, void *arg);

/* A deferred or posted call.  `status` is 0, or -ECANCELED: then only free what `arg` holds. */
typedef void sconce_call_fn(struct sconce_loop *loop, void *arg, int status);

/* Calls fn once, in step 5 of this turn, or of the next when called from step 5 or later ("later, not
 * now").  Calls made run in order.  If `s` is not NULL the call belongs to it: when `s` is closed (or
 * sconce_close_flush()ed) first, fn runs with -ECANCELED.  Returns 0, or -ENOMEM (fn will not run). */
SCONCE_API int sconce_defer(struct sconce_loop *loop, struct sconce_sock *s, sconce_call_fn *fn, void *arg);

/* The same from any thread: wakes the loop, which runs fn in its own thread, exactly once, in posting order
 * per thread, with -ECANCELED if the loop is freed first.  The caller guarantees that the loop exists
 * while it posts.  Returns 0, or -ENOMEM (fn will not run). */
SCONCE_API int sconce_post(struct sconce_loop *loop, sconce_call_fn *fn, void *arg);

/* Runs fn(arg) in one of four threads that all loops of the process share, then done(loop, arg, 0) in
 * the loop's thread.  For what blocks: name look-ups, files.  Work begins in the order given; freeing
 * the loop waits for what runs, and gives done() -ECANCELED for what has not begun.
 * Returns 0, -ENOMEM, or -EAGAIN (no thread could be made, or the loop is being freed): then
 * neither runs. */
SCONCE_API int sconce_work(struct sconce_loop *loop, void (*fn)(void *arg), sconce_call_fn *done, void *arg);

/* The text of an errno or -errno, from a table that needs no locale and is safe in any thread. */
SCONCE_API const char *sconce_strerror(int errnum);

SCONCE_END_DECLS

#endif
