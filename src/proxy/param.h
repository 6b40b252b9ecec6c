/* Parameters of services and pools: their names, types and defaults, in one table each. */
#ifndef PROXY_PARAM_H
#define PROXY_PARAM_H

#include "service.h"

/* What has parameters. */
enum param_kind { PARAM_OF_SERVICES, PARAM_OF_POOLS };

/* The name of parameter number `i` of that kind, or NULL at the end; for hints.  Includes those that are not done
 * yet. */
const char *param_name(enum param_kind kind, unsigned i);

/* DEFAULT: remembered for services whose role is set later (PB-45). */
struct defaults;
struct defaults *defaults_new(void);
void defaults_free(struct defaults *d);

/* What param_... return. */
enum param_result {
	PARAM_OK,
	PARAM_UNKNOWN,		/* no such parameter */
	PARAM_KIND,		/* one of the other kind of object */
	PARAM_LATER,		/* one of Perlbal's that is not done yet */
	PARAM_ROLE,		/* not one of this service's role */
	PARAM_VALUE,		/* the value is wrong */
	PARAM_NO_MEMORY
};

/* Each sets one parameter.  On failure `message` says what is wrong, and nothing has changed.  Setting the role of a
 * service gives the others their defaults, but for those that have been set before. */
enum param_result param_set_service(struct service *sv, struct defaults *d, const char *name,
	const char *value, char *message, size_t size);
enum param_result param_set_pool(struct pool *pool, const char *name, const char *value, char *message,
	size_t size);
enum param_result param_set_default(struct defaults *d, const char *name, const char *value, char *message,
	size_t size);
/* Whether the last value that SET had for it was wrong, which has been said. */
bool param_failed(const struct service *sv, const char *name);
/* Gives a new pool its defaults. */
void param_init_pool(struct pool *pool);

#endif
