/* Starting the program anew in the same process, without letting go of its listening sockets; and taking over those
 * that a service manager has opened.
 *
 * The program as it was started (its command line, directory, umask and environment) is captured before anything is
 * parsed.  Later it can be tried in a child, to learn whether it would start at all with the configuration as it is
 * now, and then executed in this process.  The fds are named in the environment, each with a key by which the new
 * program finds it again.
 *
 * sconce/process.h does all of this; the pieces are here for programs that have a life of their own. */
#ifndef SCONCE_RESTART_H
#define SCONCE_RESTART_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sconce/endpoint.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

/* ---- what was started ---- */

struct sconce_program;

/* Captures the program: copies argv, finds its file (argv[0], looked for in PATH where it has no slash; what is running,
 * if that is not to be found), the working directory, the umask and the environment, without what a restart puts there.
 * Returns 0, -ENOMEM or another -errno. */
SCONCE_API int sconce_program_capture(int argc, char *const *argv, struct sconce_program **program_out);
SCONCE_API void sconce_program_free(struct sconce_program *program);

/* Changes the command line that is executed: argv, which is copied, and with another argv[0] the file, which is looked
 * for as at the capture.  Returns 0; -EINVAL (no argv[0]), -ENOENT (there is no such program) or -ENOMEM: nothing has
 * changed. */
SCONCE_API int sconce_program_set_argv(struct sconce_program *program, int argc, char *const *argv);

/* Whether this process is only to find out if the program would start: then it reads its configuration, says on stderr
 * what is wrong, and exits with 0 or not, before it opens, binds, writes or kills anything. */
SCONCE_API bool sconce_program_checking(void);

/* In a trial that sconce/process.h has begun: whether the program is going to have this endpoint, because its listener is
 * handed over or because it can be bound: what is new is bound for a moment.  What is in the way is not, if it is a
 * listener of the program's own on the same port, which goes.  A name is looked up, which may block.
 * Returns 0, also where it cannot be known (in no such trial, fd://N); or -errno with *fail_out (may be NULL) set. */
SCONCE_API int sconce_program_try_bind(const struct sconce_endpoint *ep, struct sconce_fail *fail_out);

/* The end of a trial, from the loop: `status` is waitpid(2)'s, or -ETIMEDOUT, -ECANCELED or another -errno; `text` the
 * first lines, at most 4 KiB, that it printed to stderr. */
typedef void sconce_program_fn(struct sconce_loop *loop, void *arg, int status, const char *text);

/* Tries the program in a child, which finds sconce_program_checking().  The child has no fds but 0 to 2, with stderr
 * going to us and the others to /dev/null; directory, umask, environment and ignored signals as captured, the others at
 * their defaults and unblocked; and a process group of its own.  After `timeout` seconds (0: 10) it is killed, and when
 * it has ended whatever is left of its group.
 * `done` is called once, from the loop.  Returns 0 or -errno: nothing was begun. */
SCONCE_API int sconce_program_try(struct sconce_program *program, struct sconce_loop *loop, double timeout,
	sconce_program_fn *done, void *arg);

/* ---- fds that are handed over ---- */

struct sconce_handover;

SCONCE_API int sconce_handover_new(struct sconce_handover **handover_out);
SCONCE_API void sconce_handover_free(struct sconce_handover *h);
/* Adds an fd above 2, which stays the caller's, under a key: any text without NUL; several may have the same.  Returns
 * 0, -EINVAL (fd 0 to 2, which stay open anyway; no key), -EBADF or -ENOMEM. */
SCONCE_API int sconce_handover_add(struct sconce_handover *h, int fd, const char *key);
/* Adds a child that the new program is to reap (sconce_inherited_child()). */
SCONCE_API int sconce_handover_child(struct sconce_handover *h, pid_t pid);

/* Executes the program in this process, with the fds of `h` (NULL: none), whose close-on-exec is put off for it, and
 * all others but 0 to 2 closed.  Signals that are caught get their defaults, and so do those that are ignored and were
 * not at the capture; the signal mask is emptied; working directory, umask and environment are those of the capture.
 * Not for a process with other threads that open fds or change the directory meanwhile.
 * Returns only on failure: -errno with *fail_out (may be NULL) set; all is as before, and the process may go on. */
SCONCE_API int sconce_program_exec(struct sconce_program *program, struct sconce_handover *h,
	struct sconce_fail *fail_out);

/* ---- fds that were inherited ---- */

struct sconce_inherited;

/* Takes what the environment names: of a restart, and of a service manager (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES;
 * sd_listen_fds(3)).  The variables are removed, the fds made close-on-exec.  To be called once, before any fd is
 * opened.  Entries that are wrong are left out.  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_inherited_take(struct sconce_inherited **inherited_out);
/* Frees the record, and closes the fds that nobody has asked for. */
SCONCE_API void sconce_inherited_free(struct sconce_inherited *in);

/* Whether this process was restarted by sconce_program_exec(). */
SCONCE_API bool sconce_inherited_restarted(const struct sconce_inherited *in);
/* An fd with this key, which is the caller's from now on; of several the first.  -1: there is none. */
SCONCE_API int sconce_inherited_fd(struct sconce_inherited *in, const char *key);
/* An fd of a service manager that is bound to this endpoint (type, address and port; of a host "*" any address of
 * the family; names are not looked up), or has its text for a name.  -1: there is none. */
SCONCE_API int sconce_inherited_endpoint(struct sconce_inherited *in, const struct sconce_endpoint *ep);
/* Any fd of a service manager; its name, valid until sconce_inherited_free(), in *name_out (may be NULL).  -1: there
 * is none left. */
SCONCE_API int sconce_inherited_any(struct sconce_inherited *in, const char **name_out);
/* How many fds nobody has asked for. */
SCONCE_API size_t sconce_inherited_left(const struct sconce_inherited *in);
/* A child of the program before us, to be reaped; 0: there is none left. */
SCONCE_API pid_t sconce_inherited_child(struct sconce_inherited *in);

SCONCE_END_DECLS

#endif
