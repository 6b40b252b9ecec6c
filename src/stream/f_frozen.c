/* Objects in blocks: sconce_filter_frozen().
 *
 *	write:  record -> freeze -> deflate -> length, NUL, bytes          read:  the other way */
#include "filter_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if HAVE_ZLIB
#include <zlib.h>
#endif

struct frozen {
	struct sconce__prefix prefix;
	struct sconce_frozen_options opts;
};

struct frozen_state {
	struct sconce__prefix_state prefix;
	struct sconce__copies thawed;
	char *plain;			/* what the last block was inflated to */
};

static const struct sconce_filter_ops frozen_ops;

static const struct frozen *
frozen_of(const struct sconce_filter *f)
{
	assert(f->ops == &frozen_ops);
	return SCONCE_CONTAINER_OF(f, const struct frozen, prefix.base);
}

/* ---- compression ---- */

#if HAVE_ZLIB

enum { HAVE_COMPRESSION = 1, PLAIN_FIRST = 4096 };

/* Makes room for more of what is inflated, at most `max` bytes and one, by which too much is known. */
static int
grow(z_stream *z, char **plain, size_t max)
{
	size_t size = z->total_out, next = size == 0 ? PLAIN_FIRST : size * 2;
	char *more;

	if (size > max)
		return -EMSGSIZE;
	if (next > max + 1)
		next = max + 1;
	more = realloc(*plain, next);
	if (more == NULL)
		return -ENOMEM;
	*plain = more;
	z->next_out = (Bytef *)more + size;
	z->avail_out = next - size < UINT32_MAX ? (uInt)(next - size) : UINT32_MAX;
	return 0;
}

static int
inflate_all(z_stream *z, char **plain, size_t max)
{
	int r, status = Z_OK;

	while (status == Z_OK) {
		r = z->avail_out == 0 ? grow(z, plain, max) : 0;
		if (r < 0)
			return r;
		status = inflate(z, Z_NO_FLUSH);
	}
	if (status == Z_MEM_ERROR)
		return -ENOMEM;
	if (status != Z_STREAM_END || z->avail_in > 0)
		return -EBADMSG;		/* damaged, cut short, or with something behind it */
	return z->total_out > max ? -EMSGSIZE : 0;
}

/* The bytes of `rec` inflated, to memory that is replaced by the next. */
static int
inflate_record(struct sconce_record *rec, char **plain, size_t max)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)rec->data, .avail_in = (uInt)rec->len };
	int r;

	if (rec->len > UINT32_MAX || max == SIZE_MAX)
		return -EMSGSIZE;
	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	r = inflate_all(&z, plain, max);
	if (r == 0) {
		rec->data = *plain;
		rec->len = z.total_out;
	}
	inflateEnd(&z);
	return r;
}

/* Puts the block of a record deflated. */
static int
put_deflated(const struct frozen *z, const struct sconce_record *rec, struct sconce_sink *to)
{
	uLongf size = compressBound(rec->len);
	struct sconce_record small;
	Bytef *buf;
	int r;

	if (size < rec->len)
		return -EMSGSIZE;
	buf = malloc(size);
	if (buf == NULL)
		return -ENOMEM;
	r = compress(buf, &size, rec->data != NULL ? rec->data : (const void *)"", rec->len) == Z_OK ? 0 : -ENOMEM;
	small = sconce_record_of(buf, size);
	if (r == 0)
		r = sconce__prefix_put(&z->prefix, &small, to);
	free(buf);
	return r;
}

#else

enum { HAVE_COMPRESSION = 0 };

static int
inflate_record(struct sconce_record *rec, char **plain, size_t max)
{
	(void)rec, (void)plain, (void)max;
	return -ENOTSUP;
}

static int
put_deflated(const struct frozen *z, const struct sconce_record *rec, struct sconce_sink *to)
{
	(void)z, (void)rec, (void)to;
	return -ENOTSUP;
}

#endif

/* ---- reading ---- */

static const char *
text_of(int result)
{
	switch (result) {
	case -EMSGSIZE:
		return "block too big";
	case -ENOMEM:
		return "out of memory";
	default:
		return "malformed block";
	}
}

/* What a block holds goes to the state. */
static int
thaw(const struct frozen *z, struct frozen_state *st, struct sconce_record *rec)
{
	struct sconce__collector to = sconce__collector_of(&z->prefix.base, &st->thawed, rec);
	int r = 0;

	if (z->opts.compress)
		r = inflate_record(rec, &st->plain, sconce_filter_max_record(&z->prefix.base));
	if (r == 0)
		r = z->opts.thaw != NULL ? z->opts.thaw(rec, &to.sink, z->opts.arg) : 0;
	return r < 0 ? r : to.error;
}

static void
frozen_fini(const struct sconce_filter *f, void *state)
{
	struct frozen_state *st = state;

	(void)f;
	sconce__copies_fini(&st->thawed);
	free(st->plain);
}

static int
frozen_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	const struct frozen *z = frozen_of(f);
	struct frozen_state *st = state;
	int r;

	if (sconce__copies_give(&st->thawed, rec_out))
		return SCONCE_FILTER_RECORD;
	r = sconce__prefix_get(&z->prefix, &st->prefix, in, rec_out);
	if (r != SCONCE_FILTER_RECORD) {
		free(st->plain);		/* a connection that waits keeps nothing */
		st->plain = NULL;
		return r;
	}
	r = thaw(z, st, rec_out);
	if (r == 0)
		return z->opts.thaw != NULL ? SCONCE_FILTER_SKIP : SCONCE_FILTER_RECORD;
	sconce__copies_fini(&st->thawed);	/* half a block is none */
	if (!z->opts.no_fatals)
		return sconce__filter_fail(in, r, text_of(r));
	*rec_out = sconce_record_of(text_of(r), strlen(text_of(r)));
	rec_out->flags = SCONCE_RECORD_ERROR;
	return SCONCE_FILTER_RECORD;
}

/* ---- writing ---- */

/* What freeze() emits. */
struct icebox {
	struct sconce_sink sink;
	const struct frozen *frozen;
	struct sconce_sink *to;
};

static int
put_block(const struct frozen *z, const struct sconce_record *rec, struct sconce_sink *to)
{
	return z->opts.compress ? put_deflated(z, rec, to) : sconce__prefix_put(&z->prefix, rec, to);
}

/* Several pieces are one block. */
static int
icebox_add(struct sconce_sink *sink, const struct iovec *iov, int count, const struct sconce_record *rec)
{
	struct icebox *box = SCONCE_CONTAINER_OF(sink, struct icebox, sink);
	struct sconce__copies whole = { .first = NULL };
	struct sconce_record joined;
	int r;

	if (rec != NULL)
		return put_block(box->frozen, rec, box->to);
	r = sconce__copies_add_pieces(&whole, iov, count);
	if (r == 0 && sconce__copies_give(&whole, &joined))
		r = put_block(box->frozen, &joined, box->to);
	sconce__copies_fini(&whole);
	return r;
}

static int
frozen_put(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct frozen *z = frozen_of(f);
	struct icebox box = { { icebox_add }, z, to };

	(void)state;
	return z->opts.freeze != NULL ? z->opts.freeze(rec, &box.sink, z->opts.arg) : put_block(z, rec, to);
}

/* ---- the filter ---- */

static void
frozen_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct frozen, prefix.base));
}

static const struct sconce_filter_ops frozen_ops = {
	.name = "frozen", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct frozen_state),
	.fini = frozen_fini, .get = frozen_get, .put = frozen_put, .free = frozen_free,
};

int
sconce_filter_frozen(const struct sconce_frozen_options *opts, struct sconce_filter **filter_out)
{
	struct frozen *z;

	if (opts != NULL && opts->compress && !HAVE_COMPRESSION)
		return -ENOTSUP;
	z = calloc(1, sizeof(*z));
	if (z == NULL)
		return -ENOMEM;
	sconce_filter_init(&z->prefix.base, &frozen_ops);
	if (opts != NULL)
		z->opts = *opts;
	z->prefix.decode = sconce__decimal_decode;
	z->prefix.encode = sconce__decimal_encode;
	z->prefix.too_big = "block too big";
	*filter_out = &z->prefix.base;
	return 0;
}
