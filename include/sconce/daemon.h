/* What a daemon does to its process: the background, the pid file, users, chroot, the standard files.
 *
 * sconce/process.h puts these into order; they can be used alone.  None needs a loop.  Every function fills *fail_out
 * (may be NULL) when it fails: its text is one line for people; its operation is "fork", "open", "dup2", "pid_file",
 * "user", "group", "chroot" or "chown". */
#ifndef SCONCE_DAEMON_H
#define SCONCE_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>
#include <sconce/endpoint.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

/* ---- the background ---- */

/* Forks.  The parent waits for sconce_daemon_ready() of the child and then exits with its status, so that whoever
 * started it learns of every failure; when the child ends before, the parent exits with the child's status (with 1 if
 * that was 0, or a signal).  The parent never returns from the call; it leaves by _exit(2).  The child keeps stdin,
 * stdout and stderr (until sconce_daemon_stdio()).  `session`: setsid(2) too.
 * To be called before the loop is made, and before there are threads.
 * Returns 0 in the child, with *ready_out, which sconce_daemon_ready() closes; or -errno: nothing was forked. */
SCONCE_API int sconce_daemon_background(bool session, int *ready_out, struct sconce_fail *fail_out);
/* Lets the parent exit with `status`.  *ready is closed and set to -1; a -1 is allowed and does nothing. */
SCONCE_API void sconce_daemon_ready(int *ready, int status);

/* stdin and stdout to /dev/null, and stderr to `fd` (that stays the caller's; -1: to /dev/null).  Standard fds that
 * were closed are opened.  Returns 0 or -errno: -EBADF, with nothing changed, when `fd` is not open. */
SCONCE_API int sconce_daemon_stdio(int fd, struct sconce_fail *fail_out);
/* Opens those of fd 0 to 2 that are closed, to /dev/null, so that no socket can become one (HZ-14).  Returns 0 or
 * -errno. */
SCONCE_API int sconce_daemon_open_standard(struct sconce_fail *fail_out);

/* Tells the service manager that started us (sd_notify(3): NOTIFY_SOCKET, a path or "@name"), e.g. "READY=1".  Waits a
 * second at most for a manager that does not read.  Returns 1 when it was told, 0 when there is none; -EINVAL
 * (NOTIFY_SOCKET is no such address), -EAGAIN (it does not read) or another -errno. */
SCONCE_API int sconce_daemon_notify(const char *state);

/* ---- the pid file ---- */

/* A pid file, held by a lock (fcntl) as long as the process lives, so that a stale one is known for sure, and of
 * several that start at once exactly one goes on.  Children that are forked do not hold it.  One for each file and
 * process: the lock is lost when the process closes any other fd of the file, so it must not open it by other means. */
struct sconce_pidfile {
	/* read-only */
	bool stale;			/* it named a process that did not hold it */
	pid_t was;			/* the process it named; 0: it was empty, or not there */
	/* private */
	int _fd, _dir;
	pid_t _owner;			/* who wrote it; 0: nobody yet */
	bool _made;			/* it was not there */
	char _path[4096];
};

/* Takes the file: makes it (mode 0644), or takes over one that is empty, stale, or our own (from before an exec).
 * Before sconce_daemon_background(), to learn early that the program runs already; it then is the child's, too, which
 * is to call sconce_pidfile_write().  A symbolic link is not followed (-ELOOP).
 * Returns 0; -EEXIST when another process holds it (fail_out says which), or takes it at this moment; -EINVAL when its
 * content is no pid, or it is no regular file, and it is left alone; or -errno.  Then `p` is as if zeroed. */
SCONCE_API int sconce_pidfile_open(struct sconce_pidfile *p, const char *path, struct sconce_fail *fail_out);
/* Writes the id of the calling process into it, which holds it from now on.  One that was removed or replaced meanwhile
 * is taken anew.  Returns as above; -EBADF when `p` is not open. */
SCONCE_API int sconce_pidfile_write(struct sconce_pidfile *p, struct sconce_fail *fail_out);
/* The fd, for sconce_identity_own(); -1 when `p` is not open. */
SCONCE_API int sconce_pidfile_fd(const struct sconce_pidfile *p);
/* Whether the fd, and with it the hold, survives an exec: set just before the process executes itself, and taken
 * back if that fails.  sconce_pidfile_open() of the same path then goes on with it.  Without it the hold is lost at
 * the exec, and taken anew by the open. */
SCONCE_API void sconce_pidfile_keep(const struct sconce_pidfile *p, bool keep);
/* Gives it up.  `remove`: unlinks it, if it is still the file that we wrote and in the process that wrote it; where we
 * may not (any more), it is emptied.  One that we made, and never wrote, is removed as well.  Harmless on one that was
 * zeroed and never opened, or is closed. */
SCONCE_API void sconce_pidfile_close(struct sconce_pidfile *p, bool remove);

/* ---- who we are ---- */

enum { SCONCE_GROUPS_MAX = 64 };

/* Users and groups, looked up. */
struct sconce_identity {
	bool set_user, set_group;	/* false: stays as it is */
	uid_t uid;
	gid_t gid;			/* the first group */
	gid_t groups[SCONCE_GROUPS_MAX];	/* all of them */
	size_t group_count;
	char user[64];			/* the user's name, "" if it was a number without one */
};

/* Looks up names or numbers (digits alone are a number).  `user` NULL or "": stays.  `groups`: names or numbers with
 * blanks or commas between, the first is the process's, all are supplementary; NULL, "" or nothing but those: stays,
 * or, when a user is given, that user's.
 * May block.  Returns 0; -ENOENT: there is none of that name (fail_out says which), -EINVAL: no such number, or a
 * user that is a number without a name, whose groups are not known, and no groups; -E2BIG: more than
 * SCONCE_GROUPS_MAX; or another -errno.  *id is untouched on failure. */
SCONCE_API int sconce_identity_resolve(struct sconce_identity *id, const char *user, const char *groups,
	struct sconce_fail *fail_out);
/* Whether it is other than what the process is now: real, effective and saved ids, and all groups. */
SCONCE_API bool sconce_identity_differs(const struct sconce_identity *id);
/* Gives a file to it: one that is open, or, when fd is -1, what is at `path`.  What is not set stays: set_user false
 * leaves the owner, set_group false the group.  Nothing is done when the process is that already.
 * It is for a process that may give away any file, in directories that others may write: so it never gives away what
 * somebody else has led it to.
 *	fd	only a regular file is given; for anything else (a device, a pipe) nothing is done.  -EPERM when it has
 *		more than one link, or, where `path` is given, too, that is not its name: a symbolic link, or replaced.
 *		Give the path (else NULL), unless the fd was opened with O_NOFOLLOW: it may have come by a link.
 *	path	a file, directory, socket or fifo.  A symbolic link is not followed (-ELOOP), but those in the way to it
 *		are; a device is refused (-EPERM).
 * The fd stays the caller's.  Returns 0, or -errno, with nothing changed. */
SCONCE_API int sconce_identity_own(const struct sconce_identity *id, int fd, const char *path,
	struct sconce_fail *fail_out);
/* Becomes it: chroot (NULL or "": none) and chdir("/") there, groups, gid, uid, and sees with getresuid(2) that nothing
 * is left.  A failure in the middle leaves the process between: exit then.
 * Returns 0 or -errno (-EPERM: not root, and something would have changed). */
SCONCE_API int sconce_identity_become(const struct sconce_identity *id, const char *chroot,
	struct sconce_fail *fail_out);

SCONCE_END_DECLS

#endif
