/* The texts: of errors, and of the version. */
#include "core.h"

#include <limits.h>

const char *
sconce_strerror(int errnum)
{
	const char *text = NULL;

	if (errnum < 0 && errnum != INT_MIN)
		errnum = -errnum;
#if defined(__GLIBC__) && !__GLIBC_PREREQ(2, 32)
	text = errnum >= 0 && errnum < sys_nerr ? sys_errlist[errnum] : NULL;
#elif defined(__GLIBC__)
	text = strerrordesc_np(errnum);
#else
	text = strerror(errnum);	/* elsewhere from a table, too, in the C locale */
#endif
	return text != NULL ? text : "unknown error";
}

const char *
sconce_version(void)
{
	return SCONCE_VERSION;
}
