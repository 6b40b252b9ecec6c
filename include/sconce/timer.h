/* Timers: embeddable, monotonic, precise to the backend's clock (libev: 1 ms), never early. */
#ifndef SCONCE_TIMER_H
#define SCONCE_TIMER_H

#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

struct sconce_timer;
typedef void sconce_timer_fn(struct sconce_timer *t, void *arg);

struct sconce_timer {
	/* private */
	struct sconce_loop *_loop;
	sconce_timer_fn *_fn;
	void *_arg;
	int64_t _due;				/* ns */
	int64_t _every;				/* ns; 0: once */
	uint64_t _order;			/* equal times fire in the order they were started */
	struct sconce_timer *_child, *_next, *_prev;	/* the loop's heap */
	struct sconce_timer *_bound_next, **_bound_prevp;	/* the socket's list */
};

/* Prepares a timer, which is not running yet.  fn(t, arg) is called in step 2 of a turn; it may start, stop or free
 * `t`.  Memory is the caller's, and must not move while the timer runs. */
SCONCE_API void sconce_timer_init(struct sconce_timer *t, struct sconce_loop *loop, sconce_timer_fn *fn, void *arg);

/* Starts the timer, or starts it again with another time: it fires once, `secs` seconds from now.  0 or less means
 * the next turn, which does not sleep.  Never fails. */
SCONCE_API void sconce_timer_start(struct sconce_timer *t, double secs);

/* The same, then again every `every` seconds (at least 1 ms) until stopped.  Beats that were missed are not made up
 * for. */
SCONCE_API void sconce_timer_start_every(struct sconce_timer *t, double secs, double every);

/* Stops it; harmless when it is not running.  Afterwards the memory may go (unless it is bound; see below). */
SCONCE_API void sconce_timer_stop(struct sconce_timer *t);

/* Whether it is going to fire. */
SCONCE_API bool sconce_timer_active(const struct sconce_timer *t);

/* Seconds until it fires, 0 when due or not running. */
SCONCE_API double sconce_timer_left(const struct sconce_timer *t);

/* Ties the timer to a socket: closing it stops the timer.  NULL unties.  Memory that holds a bound timer must live
 * until the socket is closed, or be untied.  Returns 0, -ENOMEM, or -EBADF on a closed socket. */
SCONCE_API int sconce_timer_bind(struct sconce_timer *t, struct sconce_sock *s);

SCONCE_END_DECLS

#endif
