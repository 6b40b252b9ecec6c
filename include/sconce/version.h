/* The version, for the preprocessor and at run time. */
#ifndef SCONCE_VERSION_H
#define SCONCE_VERSION_H

#include <sconce/export.h>

#define SCONCE_VERSION_MAJOR 0
#define SCONCE_VERSION_MINOR 1
#define SCONCE_VERSION_PATCH 0
#define SCONCE_VERSION "0.1.0"

SCONCE_BEGIN_DECLS

/* Gives the version of the library that is running, as "major.minor.patch".
 * The text is static.  May be called from any thread at any time. */
SCONCE_API const char *sconce_version(void);

SCONCE_END_DECLS

#endif
