/* Responses of our own. */
#ifndef PROXY_PAGE_H
#define PROXY_PAGE_H

#include "client.h"

/* Writes a small page that says `status` and why (static text, never the client's own words; NULL for what there is
 * to say of that status in general).  c->keep tells whether the connection goes on.  Returns what sconce_write() does. */
int page_write(struct client *c, int status, const char *why);

#endif
