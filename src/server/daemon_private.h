/* What the units of this directory that deal with the process share (log, daemon, pidfile, identity; process and
 * restart, too): how they say what failed, fds that are nobody's stdin, and what only they do with a pid file. */
#ifndef DAEMON_PRIVATE_H
#define DAEMON_PRIVATE_H

#include <sys/types.h>

#include <sconce/endpoint.h>
#include <sconce/export.h>

/* Room for a name that is shown to people. */
enum { SCONCE__SHOWN = 72 };

/* Sets the record, with a text for people, in which unprintable bytes are %XX; `r` is -errno.  A NULL `fail` is
 * allowed.  Returns `r`. */
int sconce__cannot(struct sconce_fail *fail, int r, const char *operation, const char *format, ...) SCONCE_PRINTF(4, 5);

/* `name`, or, if it is long, its end, so that what went wrong still fits behind it.  Returns `room` or `name`. */
const char *sconce__shown(const char *name, char room[SCONCE__SHOWN]);

/* Moves an fd that was just opened behind the standard ones (HZ-14): it must not be taken for stderr.  A negative
 * one is passed on.  Returns it, close-on-exec, or -errno: then it is closed. */
int sconce__fd_above_standard(int fd);

/* ---- pid files ---- */

struct sconce_pidfile;

/* Lets go of the directory of the file, which would lead out of a chroot: to be called right before one, after
 * sconce_pidfile_write().  The hold stays, and so does its fd; but the file's name is of no concern from now on: a write
 * goes to what is open, and sconce_pidfile_close() with `remove` empties it.  Harmless on one that is not open. */
void sconce__pidfile_leave(struct sconce_pidfile *p);

/* Whether sconce_pidfile_open() would take the file, as far as can be told without touching it: makes nothing, writes
 * nothing, takes no lock.  One that is not there is fine, if its directory is.  `ours`: the process that may hold it,
 * that is, the one which we are to replace; 0: whoever holds it is of no concern.
 * NEVER to be called in the process that holds the file: the kernel takes that lock back when the process closes any fd
 * of the file, also the one that is opened here.  A child is another process.
 * Returns 0; as sconce_pidfile_open(), with the same texts: -EEXIST when another process than `ours` holds it, -EINVAL
 * when its content is no pid or it is no regular file, -ELOOP for a symbolic link; or another -errno. */
int sconce__pidfile_look(const char *path, pid_t ours, struct sconce_fail *fail);

#endif
