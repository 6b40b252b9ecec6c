/* One loop that the tests of a file share as a fixture; for those that need it, with a clock that the test moves: the
 * real one plus `skew`. */
#ifndef ONE_LOOP_H
#define ONE_LOOP_H

#include "backend.h"

#include <check.h>
#include <math.h>

#include <sconce/ev.h>
#include <sconce/sconce.h>

static struct sconce_loop *loop;
static int64_t skew;			/* ns */
static struct sconce_backend skewed;

static inline void
setup(void)
{
	struct sconce_loop_options opts = { .backend = t_backend() };

	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
}

static inline int64_t
skewed_now(void *ctx)
{
	(void)ctx;
	return sconce_backend_libev()->now(NULL) + skew;
}

static inline void
setup_skewed(void)
{
	struct sconce_loop_options opts = { .backend = &skewed };

	skew = 0;
	skewed = *t_backend();
	skewed.now = skewed_now;
	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
}

static inline void
teardown(void)
{
	sconce_verify(loop);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
}

/* A backend's alloc that gives memory `allocs_left` times. */
static int allocs_left;

static inline void *
few_allocs(void *ptr, size_t size, void *ctx)
{
	if (size > 0 && allocs_left-- <= 0)
		return NULL;
	return sconce_backend_libev()->alloc(ptr, size, ctx);
}

/* Time passes, and the loop turns. */
static inline void
pass(double secs)
{
	skew += (int64_t)ceil(secs * 1e9);
	ck_assert_int_ge(sconce_loop_step(loop, 0), 0);
}

#endif
