/* The backend of tests that do not care which: libev's, or the one that $T_BACKEND names (poll, select).  So the core's suites run on a
 * backend that knows nothing of libev: t/build/backends.sh. */
#ifndef T_BACKEND_H
#define T_BACKEND_H

#include <sconce/backend.h>

/* For struct sconce_loop_options, also as the base of a table with entries of one's own. */
const struct sconce_backend *t_backend(void);

#endif
