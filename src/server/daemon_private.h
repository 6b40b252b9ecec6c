/* What the units of this directory that deal with the process share (log, daemon, pidfile, identity; process and
 * restart, too): how they say what failed, and fds that are nobody's stdin. */
#ifndef DAEMON_PRIVATE_H
#define DAEMON_PRIVATE_H

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

#endif
