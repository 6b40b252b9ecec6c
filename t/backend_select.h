/* A backend on select(2), as a program may bring its own: written from include/sconce/backend.h alone, with nothing of libev's but the
 * system calls that it passes on.  For tests, and as an example.
 *
 * select(2) knows no fd from FD_SETSIZE on (such a socket is refused with -EMFILE), and tells of no hang-up: those of sockets that are
 * not read are looked for 50 times a second while there are any to look for. */
#ifndef BACKEND_SELECT_H
#define BACKEND_SELECT_H

#include <sconce/backend.h>

/* For struct sconce_loop_options. */
const struct sconce_backend *backend_select(void);

/* How many waits it has made on this loop. */
unsigned long backend_select_waits(const struct sconce_loop *loop);

#endif
