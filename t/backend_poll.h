/* A backend on poll(2), written from include/sconce/backend.h alone: no feed, no timer, nothing of libev's but the system calls
 * that it passes on.  For tests, and as an example of how little a backend needs. */
#ifndef BACKEND_POLL_H
#define BACKEND_POLL_H

#include <sconce/backend.h>

/* For struct sconce_loop_options. */
const struct sconce_backend *backend_poll(void);

/* How many waits it has made on this loop. */
unsigned long backend_poll_waits(const struct sconce_loop *loop);

#endif
