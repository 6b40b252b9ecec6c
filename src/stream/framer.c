/* What all filters share: references, input that is consumed from the left, and the framer, one connection's use of a filter.
 * Called by streams, by filters that have others within (f_stack.c), and by applications.
 *
 * Input lies in one piece, either in memory of its own or lent by whoever read it:
 *
 *	_own                                      lent
 *	+-------+-----------------+------+        +-------+--------------+
 *	| taken | data ... len    | free |   or   | taken | data ... len |
 *	+-------+-----------------+------+        +-------+--------------+
 *
 * What is left of a loan is copied when the loan ends.  Bytes move only when they make room for as many as they are, or
 * when the memory doubles, so that each byte is moved a bounded number of times. */
#include <sconce/filter.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_DEFAULT = 1 << 20, INPUT_FIRST = 256 };

/* ---- filters ---- */

void
sconce_filter_init(struct sconce_filter *f, const struct sconce_filter_ops *ops)
{
	assert(ops != NULL && ops->name != NULL && ops->get != NULL && "a filter has a name, and reads");
	f->ops = ops;
	f->_max_record = RECORD_DEFAULT;
	f->_refs = 1;
}

struct sconce_filter *
sconce_filter_ref(struct sconce_filter *f)
{
	if (f != NULL)
		__atomic_fetch_add(&f->_refs, 1, __ATOMIC_RELAXED);
	return f;
}

void
sconce_filter_unref(struct sconce_filter *f)
{
	if (f != NULL && __atomic_fetch_sub(&f->_refs, 1, __ATOMIC_ACQ_REL) == 1 && f->ops->free != NULL)
		f->ops->free(f);
}

void
sconce_filter_set_max_record(struct sconce_filter *f, size_t bytes)
{
	f->_max_record = bytes > 0 ? bytes : RECORD_DEFAULT;
}

size_t
sconce_filter_max_record(const struct sconce_filter *f)
{
	return f->_max_record > 0 ? f->_max_record : RECORD_DEFAULT;	/* 0: one that is initialised statically */
}

bool
sconce_filter_returns_last(const struct sconce_filter *f)
{
	return f != NULL && (f->ops->flags & SCONCE_FILTER_RETURNS_LAST);
}

/* ---- input ---- */

static bool
is_lent(const struct sconce_input *in)
{
	uintptr_t data = (uintptr_t)in->data, own = (uintptr_t)in->_own;

	return in->data != NULL && (in->_own == NULL || data < own || data + in->len > own + in->_cap);
}

/* The bytes in new memory of `cap` bytes. */
static int
move_to(struct sconce_input *in, size_t cap)
{
	char *p = malloc(cap);

	if (p == NULL)
		return -ENOMEM;
	if (in->len > 0)
		memcpy(p, in->data, in->len);
	free(in->_own);
	in->_own = p;
	in->_cap = cap;
	in->data = p;
	return 0;
}

static size_t
capacity(const struct sconce_input *in, size_t need)
{
	size_t cap = in->_cap > 0 ? in->_cap : INPUT_FIRST;

	while (cap < need)
		cap += cap;
	return cap;
}

/* The same, in the memory there is if it is enough: nothing that counts is in it while the bytes are lent. */
static int
keep(struct sconce_input *in)
{
	if (in->_cap < in->len)
		return move_to(in, capacity(in, in->len));
	memcpy(in->_own, in->data, in->len);
	in->data = in->_own;
	return 0;
}

/* Room for `len` more bytes behind those there are, in memory of its own. */
static int
reserve(struct sconce_input *in, size_t len)
{
	size_t need = in->len + len, taken;

	if (need < len || need > SIZE_MAX / 4)
		return -ENOMEM;
	if (in->len == 0)
		in->data = in->_own;
	if (in->_own == NULL || is_lent(in))
		return move_to(in, capacity(in, need));
	taken = (size_t)(in->data - in->_own);
	if (taken + need <= in->_cap)
		return 0;
	if (taken < in->len || need > in->_cap)
		return move_to(in, capacity(in, need));
	memcpy(in->_own, in->data, in->len);
	in->data = in->_own;
	return 0;
}

int
sconce_input_append(struct sconce_input *in, const void *data, size_t len)
{
	size_t at;
	int r = len > 0 ? reserve(in, len) : 0;

	if (r < 0 || len == 0)
		return r;
	at = (size_t)(in->data - in->_own) + in->len;
	memcpy(in->_own + at, data, len);
	in->len += len;
	return 0;
}

/* Puts a copy in front of what there is.  The bytes may be those that were taken last.  0 or -ENOMEM: nothing changed. */
static int
prepend(struct sconce_input *in, const void *data, size_t len)
{
	size_t room = in->_cap > len ? in->_cap : len;	/* to be used up before it is made again */
	char *p;

	if (in->_own != NULL && !is_lent(in) && (size_t)(in->data - in->_own) >= len) {
		in->data -= len;
		in->len += len;
		memmove(in->_own + (in->data - in->_own), data, len);
		return 0;
	}
	if (room > SIZE_MAX / 4 || in->len > SIZE_MAX / 4)
		return -ENOMEM;
	p = malloc(room + in->len);
	if (p == NULL)
		return -ENOMEM;
	if (in->len > 0)
		memcpy(p + room, in->data, in->len);
	memcpy(p + room - len, data, len);
	free(in->_own);
	in->_own = p;
	in->_cap = room + in->len;
	in->data = p + room - len;
	in->len += len;
	return 0;
}

void
sconce_input_fini(struct sconce_input *in)
{
	free(in->_own);
	in->_own = NULL;
	in->data = NULL;
	in->len = in->_cap = 0;
}

bool
sconce_input_record(struct sconce_input *in, struct sconce_record *rec_out)
{
	if (in->record != NULL) {
		*rec_out = *in->record;
		in->record = NULL;
		return true;
	}
	if (in->len == 0)
		return false;
	*rec_out = sconce_record_of(in->data, in->len);
	sconce_input_take(in, in->len);
	return true;
}

/* ---- framers ---- */

/* A state of `filter`; NULL where it has none. */
static int
state_new(const struct sconce_filter *filter, void **state_out)
{
	void *state = NULL;
	int r;

	if (filter != NULL && filter->ops->state_size > 0) {
		state = calloc(1, filter->ops->state_size);
		if (state == NULL)
			return -ENOMEM;
	}
	r = filter != NULL && filter->ops->init != NULL ? filter->ops->init(filter, state) : 0;
	if (r < 0)
		free(state);
	else
		*state_out = state;
	return r;
}

static void
state_free(struct sconce_filter *filter, void *state)
{
	if (filter != NULL && filter->ops->fini != NULL)
		filter->ops->fini(filter, state);
	free(state);
	sconce_filter_unref(filter);
}

static void
forget_before(struct sconce_framer *fr)
{
	if (fr->_before == NULL)
		return;
	state_free(fr->_before, fr->_state_before);
	fr->_before = NULL;
	fr->_state_before = NULL;
}

int
sconce_framer_init(struct sconce_framer *fr, struct sconce_filter *filter)
{
	void *state = NULL;
	int r = state_new(filter, &state);

	if (r < 0)
		return r;
	memset(fr, 0, sizeof(*fr));
	fr->filter = sconce_filter_ref(filter);
	fr->_state = state;
	return 0;
}

void
sconce_framer_fini(struct sconce_framer *fr)
{
	forget_before(fr);
	state_free(fr->filter, fr->_state);
	fr->filter = NULL;
	fr->_state = NULL;
	sconce_input_fini(&fr->in);
}

int
sconce_framer_set_filter(struct sconce_framer *fr, struct sconce_filter *filter)
{
	void *state = NULL;
	int r = state_new(filter, &state);

	if (r < 0)
		return r;
	sconce_filter_ref(filter);			/* first: it may be the one that goes */
	if (fr->_before == NULL) {
		fr->_before = fr->filter;
		fr->_state_before = fr->_state;
	} else {
		state_free(fr->filter, fr->_state);	/* it has given no record */
	}
	fr->filter = filter;
	fr->_state = state;
	fr->_error = 0;
	fr->in.error = NULL;
	return 0;
}

int
sconce_framer_unread(struct sconce_framer *fr, const void *data, size_t len)
{
	bool scanned = fr->filter != NULL && fr->in.len > 0;
	int r = 0;

	if (len == 0)
		return 0;
	if (scanned && sconce_framer_held(fr) > 0)
		return -EBUSY;
	r = prepend(&fr->in, data, len);
	if (r == 0 && scanned)
		r = sconce_framer_set_filter(fr, fr->filter);
	if (r < 0 && scanned && fr->in.len > len)
		sconce_input_take(&fr->in, len);
	return r;
}

static bool
overflows(const struct sconce_framer *fr, size_t len)
{
	return fr->max_buffer > 0 && (len > fr->max_buffer || fr->in.len > fr->max_buffer - len);
}

int
sconce_framer_feed(struct sconce_framer *fr, const void *data, size_t len)
{
	return overflows(fr, len) ? -ENOBUFS : sconce_input_append(&fr->in, data, len);
}

int
sconce_framer_lend(struct sconce_framer *fr, const void *data, size_t len)
{
	if (fr->in.len > 0)
		return sconce_framer_feed(fr, data, len);
	if (overflows(fr, len))
		return -ENOBUFS;
	fr->in.data = data;
	fr->in.len = len;
	return 0;
}

int
sconce_framer_settle(struct sconce_framer *fr)
{
	if (fr->in.len == 0)
		sconce_input_fini(&fr->in);
	return is_lent(&fr->in) ? keep(&fr->in) : 0;
}

void
sconce_framer_end(struct sconce_framer *fr)
{
	fr->in.ended = true;
}

/* What is left when no more can come. */
static int
last(struct sconce_framer *fr, struct sconce_record *rec_out)
{
	if (!fr->in.ended || fr->in.len == 0 || (fr->filter->ops->flags & SCONCE_FILTER_RECORDS))
		return 0;
	*rec_out = sconce_record_of(fr->in.data, fr->in.len);
	rec_out->flags = SCONCE_RECORD_LAST;
	sconce_input_take(&fr->in, fr->in.len);
	return 1;
}

int
sconce_framer_next(struct sconce_framer *fr, struct sconce_record *rec_out)
{
	const struct sconce_filter *f = fr->filter;
	int r;

	forget_before(fr);
	if (fr->_error != 0 || f == NULL)
		return fr->_error;
	do {
		memset(rec_out, 0, sizeof(*rec_out));
		r = f->ops->get(f, fr->_state, &fr->in, rec_out);
	} while (r == SCONCE_FILTER_SKIP);
	if (r == SCONCE_FILTER_RECORD)
		return 1;
	if (r == SCONCE_FILTER_MORE)
		return last(fr, rec_out);
	fr->_error = r;
	return r;
}

const char *
sconce_framer_error(const struct sconce_framer *fr)
{
	if (fr->_error == 0)
		return "";
	if (fr->in.error != NULL)
		return fr->in.error;
	switch (-fr->_error) {
	case EMSGSIZE:
		return "record too long";
	case EBADMSG:
		return "malformed input";
	case ENOMEM:
		return "out of memory";
	default:
		return "the filter failed";
	}
}

int
sconce_framer_want(struct sconce_framer *fr, uint64_t n)
{
	const struct sconce_filter *f = fr->filter;

	return f == NULL || f->ops->want == NULL ? -EINVAL : f->ops->want(f, fr->_state, n);
}

int
sconce_framer_put(struct sconce_framer *fr, const struct sconce_record *rec, struct sconce_sink *to)
{
	const struct sconce_filter *f = fr->filter;

	return f == NULL || f->ops->put == NULL ? sconce_sink_record(to, rec) : f->ops->put(f, fr->_state, rec, to);
}

size_t
sconce_framer_held(const struct sconce_framer *fr)
{
	const struct sconce_filter *f = fr->filter;

	return f == NULL || f->ops->held == NULL ? 0 : f->ops->held(f, fr->_state);
}

/* ---- sinks ---- */

int
sconce_sink_record(struct sconce_sink *to, const struct sconce_record *rec)
{
	struct iovec iov = { (void *)(uintptr_t)rec->data, rec->len };

	return to->add(to, &iov, 1, rec);
}

int
sconce_sink_bytes(struct sconce_sink *to, const void *data, size_t len)
{
	struct sconce_record rec = sconce_record_of(data, len);

	return sconce_sink_record(to, &rec);
}

int
sconce_sink_pieces(struct sconce_sink *to, const struct iovec *iov, int count)
{
	return to->add(to, iov, count, NULL);
}
