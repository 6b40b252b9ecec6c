/* sconced --demo: two small backends, and a proxy in front of them from a built-in configuration. */
#ifndef PROXY_DEMO_H
#define PROXY_DEMO_H

#include "proxy.h"

struct demo;

/* Starts all of it on p's loop and prints what to try.  Returns 0 with *demo_out set, which demo_free() frees after the
 * loop; or -errno, with the reason printed. */
int demo_start(struct proxy *p, struct demo **demo_out);
void demo_free(struct demo *demo);

#endif
