/* One socket's input as an item of another's queue, and the relay made of two of them.
 *
 * A transfer copies through the loop's read buffer until a read fills a step, then splices through a pipe of the loop's;
 * short pieces bring it back to copying, which is cheaper below some 32 KiB.  What the destination refuses of a copy becomes
 * a bytes item in front of the transfer; what it refuses of a splice stays in the pipe. */
#include "core.h"

#include <fcntl.h>

enum {
	SPLICE_STEP = 1024 * 1024,
	SPLICE_AGAIN = 96 * 1024,	/* after a splice of this size there may be more at once: it was several packets of TCP's 64 KiB; */
	PIPE_USUAL = 64 * 1024,		/* or it filled a pipe that could not be enlarged */
	SMALL_TIMES = 4			/* short splices in a row, before copying */
};

struct sconce__transfer {
	struct sconce_sock *src, *dst;	/* src NULL: it was closed */
	const struct sconce__item *item;	/* its place in the destination's queue */
	uint64_t left;			/* SCONCE_TO_END: no limit */
	uint64_t max;
	uint64_t in_pipe;
	int pipe[2];			/* pipe[0] is -1: none */
	int status;
	bool ended;			/* no more input will come */
	bool splice, no_splice;		/* the next step may be spliced; none may */
	uint8_t small;
};

/* ---- pipes ---- */

static COLD bool
new_pipe(struct sconce_loop *l, struct sconce__transfer *t)
{
	if (l->be->pipe2(t->pipe, O_NONBLOCK | O_CLOEXEC, l->ctx) < 0) {
		t->pipe[0] = -1;
		return false;
	}
	return true;
}

static inline bool
get_pipe(struct sconce_loop *l, struct sconce__transfer *t)
{
	if (t->pipe[0] >= 0)
		return true;
	if (unlikely(l->pipe_count == 0))
		return new_pipe(l, t);
	l->pipe_count--;
	t->pipe[0] = l->pipes[l->pipe_count][0];
	t->pipe[1] = l->pipes[l->pipe_count][1];
	return true;
}

static COLD void
close_pipe(struct sconce_loop *l, struct sconce__transfer *t)
{
	l->be->close(t->pipe[0], l->ctx);
	l->be->close(t->pipe[1], l->ctx);
	t->pipe[0] = -1;
}

static inline void
put_pipe(struct sconce_loop *l, struct sconce__transfer *t)
{
	if (t->pipe[0] < 0)
		return;
	if (unlikely(t->in_pipe > 0 || l->pipe_count == PIPES_KEPT)) {
		close_pipe(l, t);
		return;
	}
	l->pipes[l->pipe_count][0] = t->pipe[0];
	l->pipes[l->pipe_count][1] = t->pipe[1];
	l->pipe_count++;
	t->pipe[0] = -1;
}

void
sconce__transfer_fini(struct sconce_loop *l)
{
	while (l->pipe_count > 0) {
		l->pipe_count--;
		l->be->close(l->pipes[l->pipe_count][0], l->ctx);
		l->be->close(l->pipes[l->pipe_count][1], l->ctx);
	}
}

/* ---- the source's side ---- */

static bool
plain(const struct sconce_sock *s)
{
	return !has_transport(s);
}

static void
source_wanted(struct sconce_sock *src, bool wanted)
{
	uint32_t old = src->_flags;

	src->_flags = wanted ? old | FL_SOURCE : old & ~(uint32_t)FL_SOURCE;
	if (src->_flags != old)
		sconce__interest(src);
}

static void
moved(struct sconce__transfer *t, size_t n)
{
	if (t->max != SCONCE_TO_END)
		t->left -= n;
}

static void
count_out(struct sconce__transfer *t, size_t n)
{
	if (t->src != NULL)
		t->src->_side->transferred += n;
}

/* The end of input, or -errno.  A reset that was told before the rest of the input was read shows as a plain end. */
static void
input_over(struct sconce__transfer *t, int status)
{
	if (status == 0 && t->src->errnum != 0 && t->src->errnum != EPIPE)
		status = -(int)t->src->errnum;
	t->ended = true;
	t->status = status != 0 ? status : t->max == SCONCE_TO_END ? 0 : -ENODATA;
}

void
sconce__transfer_source_ready(struct sconce_sock *src)
{
	struct sconce__transfer *t = src->_side != NULL ? src->_side->transfer : NULL;

	if (t != NULL)
		sconce__sock_dirty(t->dst);
}

void
sconce__transfer_source_closed(struct sconce_sock *src)
{
	struct sconce__transfer *t = src->_side->transfer;

	if (t == NULL)
		return;
	src->_side->transfer = NULL;
	src->_flags &= ~(uint32_t)FL_SOURCE;
	t->src = NULL;
	t->ended = true;
	t->status = -ECANCELED;
	sconce__sock_dirty(t->dst);
}

uint64_t
sconce__transfer_end(struct sconce__transfer *t)
{
	struct sconce_loop *l = t->dst->loop;
	struct sconce_sock *src = t->src;

	put_pipe(l, t);
	l_free(l, t);
	if (src == NULL)
		return 0;
	src->_side->transfer = NULL;
	sconce__side_hot(src);
	source_wanted(src, false);
	return src->id;
}

void
sconce__transfer_told(struct sconce_loop *l, uint64_t src_id)
{
	struct sconce_sock *src = sconce__table_get(l, src_id);

	if (src != NULL && !src->closed && (src->_side == NULL || src->_side->transfer == NULL))	/* it may be in the next one already */
		sconce__pause_set(src, SCONCE_PAUSE_FLOW, false);
}

uint64_t
sconce__transfer_stuck_bytes(const struct sconce__transfer *t)
{
	return t->in_pipe;
}

/* ---- moving ---- */

/* What one step of input brought: its bytes, 0 when over, or -EAGAIN. */
static ssize_t
take_copy(struct sconce__transfer *t, size_t step)
{
	struct sconce_sock *src = t->src;
	struct sconce_loop *l = src->loop;
	const struct sconce__side *side = src->_side;
	ssize_t n;

	if (side->unread_len > 0)
		return (ssize_t)sconce__unread_take(src, l->read_buf, step);
	if (src->_flags & SCONCE_PAUSE_END) {
		input_over(t, 0);
		return 0;
	}
	n = sconce__kernel_read(src, l->read_buf, step);
	if (n == 0 || (n < 0 && n != -EAGAIN))
		input_over(t, (int)n);
	return n;
}

static enum pump
copy_step(struct sconce_sock *dst, struct sconce__transfer *t, size_t *budget)
{
	struct sconce_loop *l = dst->loop;
	size_t step = t->left < COPY_STEP ? (size_t)t->left : COPY_STEP;
	bool pushed_back = t->src->_side->unread_len > 0;
	struct iovec iov;
	ssize_t n, sent;

	if (l->read_buf == NULL)
		l->read_buf = l_alloc(l, SCONCE_READ_SHARED);
	if (l->read_buf == NULL || !sconce__reserve_spare(l, COPY_STEP)) {
		sconce__sock_later(dst);		/* no memory: tried again in the next turn */
		return PUMP_BUDGET;
	}
	n = take_copy(t, step);
	if (n == -EAGAIN)
		return PUMP_SOURCE;
	if (n <= 0)
		return PUMP_DONE;
	moved(t, (size_t)n);
	iov = (struct iovec){ .iov_base = l->read_buf, .iov_len = (size_t)n };
	sent = sconce__kernel_send(dst, &iov, 1, false);
	if (sent < 0 && sent != -EAGAIN) {
		sconce__send_failed(dst, (int)-sent);
		return PUMP_FAILED;
	}
	if (sent == -EAGAIN || (sent < n && plain(dst)))
		sconce__set_stuck(dst);
	if (sent < 0)
		sent = 0;
	count_out(t, (size_t)n);
	spend(budget, (size_t)n);
	if (sent > 0)
		took_some(dst);
	if (sent < n) {
		sconce__keep_bytes(dst, l->read_buf + sent, (size_t)(n - sent), true);
		return PUMP_STUCK;
	}
	if ((size_t)n == COPY_STEP)
		t->splice = !t->no_splice;
	return (size_t)n < step && !pushed_back && plain(t->src) ? PUMP_SOURCE : PUMP_DONE;
}

/* One of the two does not take splices. */
static void
copy_only(struct sconce__transfer *t)
{
	t->no_splice = true;
	t->splice = false;
}

/* A splice from the source brought nothing. */
static COLD enum pump
no_input(struct sconce__transfer *t, ssize_t n)
{
	int errnum = n < 0 ? errno : 0;

	if (errnum == EAGAIN)
		return PUMP_SOURCE;
	if (errnum == EINVAL || errnum == ENOSYS) {
		copy_only(t);
		return PUMP_DONE;
	}
	sconce__input_end(t->src, errnum);
	input_over(t, -errnum);
	return PUMP_DONE;
}

/* Pieces so short are cheaper to copy. */
static void
count_small(struct sconce__transfer *t)
{
	if (++t->small < SMALL_TIMES)
		return;
	t->small = 0;
	t->splice = false;
}

static inline enum pump
fill_pipe(struct sconce__transfer *t)
{
	struct sconce_sock *src = t->src;
	struct sconce_loop *l = src->loop;
	size_t step = t->left < SPLICE_STEP ? (size_t)t->left : SPLICE_STEP;
	ssize_t n;

	do
		n = l->be->splice(src->fd, t->pipe[1], step, SPLICE_F_MOVE | SPLICE_F_NONBLOCK, l->ctx);
	while (n < 0 && errno == EINTR);
	if (unlikely(n <= 0))
		return no_input(t, n);
	t->in_pipe = (uint64_t)n;
	moved(t, (size_t)n);
	src->_clock[0] = (uint32_t)l->now_ms;
	if (unlikely(src->_flags & FL_IDLE_OFF))
		sconce__idle_resume(src);
	if ((size_t)n < SPLICE_MIN / 2)
		count_small(t);
	else
		t->small = 0;
	return (size_t)n < step && (size_t)n < SPLICE_AGAIN && n != PIPE_USUAL ? PUMP_SOURCE : PUMP_DONE;
}

/* The destination turns out not to take splices: what is in the pipe becomes an item in front of the transfer. */
static enum pump
unpipe(struct sconce_sock *dst, struct sconce__transfer *t)
{
	struct sconce_loop *l = dst->loop;
	struct iovec iov = { .iov_len = (size_t)t->in_pipe };
	ssize_t n;

	copy_only(t);
	if (!sconce__reserve_spare(l, iov.iov_len)) {
		sconce__sock_later(dst);		/* the bytes are safe in the pipe: tried again in the next turn */
		return PUMP_BUDGET;
	}
	iov.iov_base = sconce__keep_room(dst, iov.iov_len, true);
	count_out(t, iov.iov_len);
	while (t->in_pipe > 0) {
		n = l->be->readv(t->pipe[0], &iov, 1, l->ctx);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			sconce__send_failed(dst, n < 0 ? errno : EPIPE);
			return PUMP_FAILED;
		}
		t->in_pipe -= (uint64_t)n;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
	}
	return PUMP_STUCK;		/* the item goes first */
}

/* A splice to the destination took nothing. */
static COLD enum pump
not_taken(struct sconce_sock *dst, struct sconce__transfer *t, ssize_t n)
{
	int errnum = n < 0 ? errno : EPIPE;

	if (errnum == EAGAIN) {
		sconce__set_stuck(dst);
		return PUMP_STUCK;
	}
	if (errnum == EINVAL || errnum == ENOSYS)
		return unpipe(dst, t);
	sconce__send_failed(dst, errnum);
	return PUMP_FAILED;
}

static inline enum pump
empty_pipe(struct sconce_sock *dst, struct sconce__transfer *t, size_t *budget)
{
	struct sconce_loop *l = dst->loop;
	ssize_t n;

	while (t->in_pipe > 0) {
		n = l->be->splice(t->pipe[0], dst->fd, (size_t)t->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK, l->ctx);
		if (unlikely(n <= 0)) {
			if (n < 0 && errno == EINTR)
				continue;
			return not_taken(dst, t, n);
		}
		t->in_pipe -= (uint64_t)n;
		count_out(t, (size_t)n);
		spend(budget, (size_t)n);
		took_some(dst);
	}
	return PUMP_DONE;
}

/* Whether the next step may be spliced. */
static inline bool
spliceable(const struct sconce_sock *dst, const struct sconce__transfer *t)
{
	return t->splice && plain(t->src) && plain(dst) && t->src->_side->unread_len == 0 &&
	    !(t->src->_flags & (SCONCE_PAUSE_END | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT));
}

static HOT enum pump
splice_step(struct sconce_sock *dst, struct sconce__transfer *t, size_t *budget)
{
	enum pump in, out;

	if (!get_pipe(dst->loop, t)) {
		t->splice = false;
		return PUMP_DONE;
	}
	in = fill_pipe(t);
	out = empty_pipe(dst, t, budget);
	return out != PUMP_DONE ? out : in;
}

/* The transfer at the head is over: with an error, what is behind it waits for the completion. */
static enum pump
finish(struct sconce_sock *dst, int status)
{
	if (status < 0 && dst->_queue->head->done == NULL) {
		sconce__send_failed(dst, -status);	/* nobody would notice the hole */
		return PUMP_FAILED;
	}
	if (status < 0)
		dst->_queue->wait_done = 1;
	sconce__finish_head(dst, status);
	return PUMP_DONE;
}

/* Whether the transfer goes on behind a step that came to `r`: it is still there and waits for nothing. */
static bool
goes_on(struct sconce_sock *dst, struct sconce__transfer *t, enum pump r)
{
	if (r == PUMP_FAILED)
		return false;			/* `t` is gone */
	if (r == PUMP_SOURCE && t->left > 0) {
		put_pipe(dst->loop, t);		/* it is empty: others may use it while we wait */
		source_wanted(t->src, true);
		return false;
	}
	if (r == PUMP_STUCK && t->src != NULL)
		source_wanted(t->src, false);
	return r != PUMP_STUCK && r != PUMP_BUDGET;
}

enum pump
sconce__pump(struct sconce_sock *dst, struct sconce__transfer *t, size_t *budget)
{
	enum pump r;

	do {
		r = t->in_pipe > 0 ? empty_pipe(dst, t, budget) : PUMP_DONE;
		if (r != PUMP_DONE)
			continue;
		if (t->left == 0)
			return finish(dst, 0);
		if (t->ended)
			return finish(dst, t->status);
		if (t->src->fd < 0 || (t->src->_flags & (SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT)))
			return PUMP_SOURCE;	/* succeed() comes back */
		if (*budget == 0)
			return PUMP_BUDGET;
		r = spliceable(dst, t) ? splice_step(dst, t, budget) : copy_step(dst, t, budget);
	} while (goes_on(dst, t, r));
	return r;
}

/* ---- the calls ---- */

/* Whether the transfer's turn has come, and nothing keeps its destination from sending. */
static inline bool
flows(const struct sconce_sock *dst, const struct sconce__transfer *t)
{
	const struct sconce__queue *q = dst->_queue;

	return q->head == t->item && q->done == NULL && dst->fd >= 0 &&
	    !(dst->_flags & (FL_STUCK | FL_WR_END | FL_DIRTY | SCONCE_PAUSE_CONNECTING | SCONCE_PAUSE_TRANSPORT));
}

/* What a step left to do; it came to `r`.  (Out of line, but not rare.) */
static __attribute__((noinline)) void
flow_on(struct sconce_sock *dst, struct sconce__transfer *t, enum pump r, size_t budget)
{
	if (goes_on(dst, t, r))
		r = sconce__pump(dst, t, &budget);
	if (r == PUMP_BUDGET)
		sconce__sock_later(dst);
	else if (r != PUMP_SOURCE)
		sconce__sock_dirty(dst);
}

HOT bool
sconce__transfer_flow(struct sconce_sock *src)
{
	struct sconce_loop *l = src->loop;
	struct sconce__transfer *t = src->_side != NULL ? src->_side->transfer : NULL;
	size_t budget = FLUSH_BYTES;
	enum pump r = PUMP_DONE;
	struct sconce_sock *dst;

	if (unlikely(t == NULL || !flows(t->dst, t) || src->_side->transport != NULL))
		return false;
	dst = t->dst;
	l->depth = 1;				/* the turn's time is the time */
	if (likely(t->in_pipe == 0 && t->left > 0 && spliceable(dst, t)))
		r = splice_step(dst, t, &budget);	/* all that most events come to */
	if (unlikely(r != PUMP_SOURCE || t->left == 0))
		flow_on(dst, t, r, budget);
	else
		put_pipe(l, t);			/* it waits for input again: nothing else has changed */
	if (unlikely(l->dirty.head != NULL))
		sconce__flush_dirty(l);
	leave_quiet(l);
	return true;
}

static int
check(struct sconce_sock *src, struct sconce_sock *dst)
{
	if (src == dst || src->loop != dst->loop)
		return -EINVAL;
	if (src->ops->records || dst->ops->records)
		return -EOPNOTSUPP;
	if (src->closed || (src->_flags & SCONCE_PAUSE_ENDING))
		return -EBADF;
	if (src->fd < 0 && !(src->_flags & SCONCE_PAUSE_CONNECTING))	/* to a name it connects without an fd */
		return -EBADF;
	if (sconce__side(src) == NULL)
		return -ENOMEM;
	return src->_side->transfer != NULL ? -EBUSY : 0;
}

static bool
sendable(const struct sconce_sock *s)
{
	return !(s->_flags & (FL_WR_END | FL_WR_SHUT | SCONCE_PAUSE_ENDING));
}

static struct sconce__transfer *
new_transfer(struct sconce_sock *src, struct sconce_sock *dst, uint64_t max)
{
	struct sconce__transfer *t = sconce__zalloc(src->loop, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->src = src;
	t->dst = dst;
	t->left = t->max = max;
	t->pipe[0] = -1;
	t->no_splice = (src->_flags | dst->_flags) & FL_NOTSOCK;
	t->splice = !t->no_splice && max != SCONCE_TO_END && max >= SPLICE_MIN;
	return t;
}

int
sconce_transfer(struct sconce_sock *src, struct sconce_sock *dst, uint64_t max_bytes, sconce_done_fn *done, void *arg)
{
	struct sconce_loop *l = dst->loop;
	struct sconce__transfer *t;
	struct sconce__item *it;
	int r = check(src, dst);

	if (r < 0)
		goto fail;
	if (max_bytes == 0)
		return done != NULL ? sconce_write_cb(dst, done, arg) : sconce_write(dst, "", 0);
	t = new_transfer(src, dst, max_bytes);
	r = -ENOMEM;
	if (t == NULL)
		goto fail;
	it = sconce__transfer_item(dst, &r);
	if (it == NULL) {
		l_free(l, t);
		goto fail;
	}
	it->transfer = t;
	t->item = it;
	it->done = done;
	it->arg = arg;
	src->_side->transfer = t;
	src->_side->transferred = 0;
	sconce__side_hot(src);
	sconce__pause_set(src, SCONCE_PAUSE_FLOW, true);
	return sconce__transfer_put(dst, it);
fail:
	sconce__fail_call(dst, done, arg, r);
	return r;
}

uint64_t
sconce_transferred(const struct sconce_sock *src)
{
	return src->_side != NULL ? src->_side->transferred : 0;
}

struct relay {
	struct sconce_sock *a;		/* held until done() has run */
	sconce_done_fn *done;
	void *arg;
	int halves;			/* transfers not over */
	bool told;
};

static void
relay_half(struct sconce_sock *dst, void *arg, int status)
{
	struct relay *r = arg;
	struct sconce_loop *l = dst->loop;

	r->halves--;
	if (status == 0)
		sconce_shutdown(dst, SHUT_WR);
	if (!r->told && (status < 0 || r->halves == 0)) {
		r->told = true;
		if (r->done != NULL)
			r->done(r->a, r->arg, status);
		sconce_release(r->a);
	}
	if (r->halves == 0)
		l_free(l, r);
}

int
sconce_relay(struct sconce_sock *a, struct sconce_sock *b, sconce_done_fn *done, void *arg)
{
	struct relay *r = NULL;
	int first;

	first = check(a, b);
	if (first == 0)
		first = check(b, a);
	if (first == 0 && !(sendable(a) && sendable(b)))
		first = -EPIPE;
	if (first == 0 && (r = sconce__zalloc(a->loop, sizeof(*r))) == NULL)
		first = -ENOMEM;
	if (first < 0) {
		sconce__fail_call(a, done, arg, first);
		return first;
	}
	r->a = a;
	r->done = done;
	r->arg = arg;
	r->halves = 2;
	sconce_hold(a);
	first = sconce_transfer(a, b, SCONCE_TO_END, relay_half, r);
	if (first < 0) {
		r->halves = 1;			/* whose end is told from the loop */
		return first;
	}
	sconce_transfer(b, a, SCONCE_TO_END, relay_half, r);	/* should it fail, done() tells: the other half has begun */
	return 0;
}
