/* What the filters of this directory share: literal ends (f_needle.c), copies of records (f_copies.c), records behind
 * their length (f_prefix.c).  Nobody else includes it. */
#ifndef FILTER_PRIVATE_H
#define FILTER_PRIVATE_H

#include <sconce/filter.h>
#include <sconce/sock.h>

/* What get() gives when the input cannot go on: `result`, and a text that says why. */
static inline int
sconce__filter_fail(struct sconce_input *in, int result, const char *text)
{
	in->error = text;
	return result;
}

/* Gives the first `len` bytes of the input as a record, and takes `end` more that belong to it. */
static inline int
sconce__filter_give(struct sconce_input *in, size_t len, size_t end, struct sconce_record *rec_out)
{
	*rec_out = sconce_record_of(in->data, len);
	sconce_input_take(in, len + end);
	return SCONCE_FILTER_RECORD;
}

/* ---- literal ends ---- */

/* Bytes that are looked for. */
struct sconce__needle {
	const char *bytes;
	size_t len;			/* at least 1 */
	const size_t *borders;		/* [i]: how long a beginning of `bytes` is also an end of its first i + 1 */
};

/* How far a connection has looked.  All zero: nowhere yet. */
struct sconce__scan {
	size_t at;			/* bytes of the input that were looked at */
	size_t matched;			/* the last of them that may be the beginning of the needle */
};

/* Copies the bytes.  Returns 0, -EINVAL for none, or -ENOMEM. */
int sconce__needle_init(struct sconce__needle *n, const void *bytes, size_t len);
void sconce__needle_fini(struct sconce__needle *n);

/* Whether the needle stands in the input: *before_out is what stands before it, and `scan` is ready for the bytes
 * behind.  If not, looks only at what is new the next time. */
bool sconce__needle_find(const struct sconce__needle *n, struct sconce__scan *scan, const struct sconce_input *in,
	size_t *before_out);

/* ---- copies of records ---- */

struct sconce__copy;

/* Records in order, each with the bytes and items it borrowed; its detail is only passed on.  All zero: empty. */
struct sconce__copies {
	struct sconce__copy *first, *last;
	size_t count;
	size_t bytes;			/* of all that wait */
	struct sconce__copy *given;	/* what was given last, kept until the next is asked for */
};

/* Adds a copy of a record, or of the bytes of pieces.  Returns 0 or -ENOMEM: nothing was added. */
int sconce__copies_add(struct sconce__copies *q, const struct sconce_record *rec);
int sconce__copies_add_pieces(struct sconce__copies *q, const struct iovec *iov, int count);

/* Takes the first; what it borrows is valid until the next call of give, group or fini.  False: there is none. */
bool sconce__copies_give(struct sconce__copies *q, struct sconce_record *rec_out);

/* Takes the first `n`, which there must be, as one record whose items they are.  Returns 0 or -ENOMEM: all are still
 * there. */
int sconce__copies_group(struct sconce__copies *q, size_t n, struct sconce_record *rec_out);

void sconce__copies_fini(struct sconce__copies *q);

/* A sink that keeps what it gets. */
struct sconce__collector {
	struct sconce_sink sink;
	struct sconce__copies *copies;
	size_t max_record;
	unsigned flags;			/* given to every record, besides its own */
	int error;			/* the first that the sink gave: whoever emits may have overlooked it */
};

/* Collects what functions make of `rec`, within the limits of `f`. */
struct sconce__collector sconce__collector_of(const struct sconce_filter *f, struct sconce__copies *q,
	const struct sconce_record *rec);

/* ---- records behind their length ---- */

enum { SCONCE__PREFIX_MAX = 32 };

/* The base of such a filter: block, size and frozen. */
struct sconce__prefix {
	struct sconce_filter base;
	/* As those of struct sconce_block_options. */
	ssize_t (*decode)(const struct sconce__prefix *p, const void *data, size_t len, uint64_t *size_out);
	ssize_t (*encode)(const struct sconce__prefix *p, uint64_t size, void *buf);
	bool skip_junk;			/* what is no digit before a length is passed over */
	const char *too_big;		/* the text for -EMSGSIZE */
};

/* The state of a connection, or the beginning of it. */
struct sconce__prefix_state {
	uint64_t size;			/* of the record that comes next */
	bool known;			/* its prefix has been taken */
};

/* The bodies of get() and put(). */
int sconce__prefix_get(const struct sconce__prefix *p, struct sconce__prefix_state *st, struct sconce_input *in,
	struct sconce_record *rec_out);
int sconce__prefix_put(const struct sconce__prefix *p, const struct sconce_record *rec, struct sconce_sink *to);

/* The prefix of POE's blocks: decimal digits and a NUL. */
ssize_t sconce__decimal_decode(const struct sconce__prefix *p, const void *data, size_t len, uint64_t *size_out);
ssize_t sconce__decimal_encode(const struct sconce__prefix *p, uint64_t size, void *buf);

#endif
