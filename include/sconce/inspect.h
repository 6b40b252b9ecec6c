/* Looking inside: who is there, what they do, what it costs. */
#ifndef SCONCE_INSPECT_H
#define SCONCE_INSPECT_H

#include <stdio.h>
#include <sconce/sock.h>

SCONCE_BEGIN_DECLS

/* Sockets of this loop that are not destroyed yet, listeners included, the library's own not. */
SCONCE_API size_t sconce_count(const struct sconce_loop *loop);

/* Calls fn for each of them, closed ones included, in the order of their slots, until it returns false.  fn may close
 * any socket and make new ones (which it may or may not meet).  Returns the number of calls. */
typedef bool sconce_each_fn(struct sconce_sock *s, void *arg);
SCONCE_API size_t sconce_each(struct sconce_loop *loop, sconce_each_fn *fn, void *arg);

/* Writes the type's describe hook's line, or the default one, as snprintf: `buf` is always terminated; returns the
 * length it wanted. */
SCONCE_API int sconce_describe(const struct sconce_sock *s, char *buf, size_t size);

/* The default line: "echo#12 fd 7 RW open 127.0.0.1:80 <- 127.0.0.1:4711 queued 0". */
SCONCE_API int sconce_describe_default(const struct sconce_sock *s, char *buf, size_t size);

/* Prints a line per object and a summary of the loop (sockets, timers, work of the next turn, marks).  Control
 * characters are shown as '?'. */
SCONCE_API void sconce_dump(struct sconce_loop *loop, FILE *out);

/* Checks the loop's own structures; costly.  Asserts with a sentence when something is broken.  For tests and debug
 * builds. */
SCONCE_API void sconce_verify(struct sconce_loop *loop);

/* One thing that happened. */
struct sconce_trace {
	const char *what;		/* "call", "hook", "state" */
	const char *name;		/* "send", "event_read", "closed" ...; static */
	const struct sconce_sock *sock;	/* whose, or NULL when not known */
	int fd;				/* -1: none */
	int64_t result;			/* of a call: as the system's, or -errno; of a hook and a state: 0 or its argument */
};
typedef void sconce_trace_fn(struct sconce_loop *loop, const struct sconce_trace *event, void *arg);

/* Reports every system call with its result, every hook and every change of state to fn, which must not call into the
 * library except to describe.  NULL turns it off; off, it costs one branch a hook and nothing a call. */
SCONCE_API void sconce_set_trace(struct sconce_loop *loop, sconce_trace_fn *fn, void *arg);

/* Accounting of hooks: how often each ran and how long, per type. */
struct sconce_account {
	const char *type;		/* the ops table's name */
	const char *hook;		/* "event_read" ... "completion" */
	uint64_t calls;
	double seconds;			/* of thread CPU time (CLOCK_THREAD_CPUTIME_ID) */
};

/* Turns accounting on (clearing what was there) or off (keeping it).  Off by default, one branch a hook.  Returns 0
 * or -ENOMEM. */
SCONCE_API int sconce_set_accounting(struct sconce_loop *loop, bool on);

/* Fills up to `max` records; returns how many there are. */
SCONCE_API size_t sconce_accounting(const struct sconce_loop *loop, struct sconce_account *out, size_t max);

SCONCE_END_DECLS

#endif
