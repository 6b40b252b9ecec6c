/* malloc() that fails when a test wants it to: for code that allocates for itself and not from a loop's backend.  To be included by one file
 * of a test program.  Where the allocator cannot be replaced (sanitizers, valgrind) STARVE_WORKS is false and nothing ever fails. */
#ifndef STARVE_H
#define STARVE_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define STARVE_WORKS (getenv("VALGRIND") == NULL || *getenv("VALGRIND") == 0)

static long starve_left;		/* so many allocations work, then one fails; 0: none fails */
static long starve_failed;		/* how many have */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);

static bool
starve_now(void)
{
	if (starve_left == 0 || --starve_left > 0)
		return false;
	starve_failed++;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t size)
{
	return starve_now() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return starve_now() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *p, size_t size)
{
	return starve_now() ? NULL : __libc_realloc(p, size);
}
#else
#define STARVE_WORKS false
static long starve_left, starve_failed;
#endif

#endif
