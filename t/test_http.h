/* What the tests of src/http share: inputs that end where the memory ends, and parsing in pieces. */
#ifndef TEST_HTTP_H
#define TEST_HTTP_H

#include "harness.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sconce/http.h>

/* Some pages with an unmapped one behind them: whoever reads past the end dies. */
struct guarded {
	char		*pages;
	size_t		size;		/* bytes, without the guard */
};

static inline struct guarded
guarded_new(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct guarded g = { NULL, (size + page - 1) / page * page };

	g.pages = mmap(NULL, g.size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(g.pages, MAP_FAILED);
	ck_assert_int_eq(mprotect(g.pages + g.size, page, PROT_NONE), 0);
	return g;
}

static inline void
guarded_free(struct guarded *g)
{
	munmap(g->pages, g->size + (size_t)sysconf(_SC_PAGESIZE));
}

/* Copies `len` bytes to the end of the pages. */
static inline char *
guarded_put(struct guarded *g, const void *bytes, size_t len)
{
	ck_assert_uint_le(len, g->size);
	return len == 0 ? g->pages + g->size : memcpy(g->pages + g->size - len, bytes, len);
}

/* Random numbers, the same for the same seed (xorshift64*). */
static inline uint64_t
rnd(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

#endif
