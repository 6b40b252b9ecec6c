/* Which backend tests run on. */
#include "backend.h"
#include "backend_poll.h"
#include "backend_select.h"

#include <stdlib.h>
#include <string.h>

#include <sconce/ev.h>

const struct sconce_backend *
t_backend(void)
{
	const char *name = getenv("T_BACKEND");

	if (name != NULL && strcmp(name, "poll") == 0)
		return backend_poll();
	if (name != NULL && strcmp(name, "select") == 0)
		return backend_select();
	return sconce_backend_libev();
}
