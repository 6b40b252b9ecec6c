/* What the files of the multiplexer share.
 *
 *	open.c		makes handles: options, what an fd is, accepted connections
 *	handle.c	their hooks and ends
 *	ready.c		what they have ready
 *	queue.c		the events that wait
 *	mux.c		hands them out, and turns the loop when there is none
 *	call.c		what else may be done to a handle
 *
 * It uses nothing but the public headers. */
#ifndef MUX_PRIVATE_H
#define MUX_PRIVATE_H

#include <sconce/mux.h>
#include <sconce/timer.h>
#include <sconce/watch.h>

#include <sys/queue.h>

enum {
	H_READY = 1 << 0,		/* on mux->ready */
	H_WORK = 1 << 1,		/* on mux->work */
	H_FLUSH = 1 << 2,		/* work: datagrams are gathered */
	H_FINISH = 1 << 3,		/* work: CLOSING has been given, the real close follows */
	H_CAN_READ = 1 << 4,		/* ready: CAN_READ or ACCEPTING */
	H_CAN_WRITE = 1 << 5,		/* ready: CAN_WRITE */
	H_MANUAL_READ = 1 << 6,
	H_MANUAL_WRITE = 1 << 7,
	H_NO_INPUT = 1 << 8,		/* its reads are not watched: manual, or a pipe to write to */
	H_NO_OUTPUT = 1 << 9,		/* a pipe to read from */
	H_BEGIN = 1 << 10,		/* READY is due */
	H_CLOSING = 1 << 11,		/* CLOSING is queued or was given: no more input */
	H_SHUT = 1 << 12,		/* the socket was closed before CLOSING */
	H_ANSWERED = 1 << 13,		/* something was written after input had failed */
	H_CLOSED = 1 << 14,		/* CLOSED is queued */
	H_KILLED = 1 << 15,		/* no CLOSING */
	H_GONE = 1 << 16,		/* removed, or never there: no events */
	H_NOTSOCK = 1 << 17,
	H_HELD = 1 << 18,		/* its fd is held */
	H_PAUSED = 1 << 19,		/* sconce_mux_pause() */
	H_WATCHED = 1 << 20,		/* its watch runs */
	H_LATE = 1 << 21,		/* the watch says when READY is due */
	H_RESTS = 1 << 22,		/* not watched until somebody asks */
	H_UNSENT = 1 << 23,		/* of datagrams: SENT is due when the queue has gone */
	H_STARVED = 1 << 24		/* of datagrams: that there is no memory was told */
};

struct sconce_mux_handle {
	struct sconce_mux *mux;
	struct sconce_sock *sock;	/* the base of what embeds it */
	enum sconce_mux_kind kind;
	unsigned flags;			/* H_... */
	TAILQ_ENTRY(sconce_mux_handle) all, ready, work;
	struct sconce_watch *watch;	/* for manual handles, and until READY where that has to wait; else NULL */
	uint64_t (*session)(struct sconce_mux_handle *h, const struct sconce_datagram *p);
	void *meta;
	void (*free_meta)(void *meta);
	uint64_t missing;		/* for CLOSING and CLOSED */
	double linger;
	size_t queued;			/* its events in the queue */
	unsigned told;			/* how often, since somebody has asked */
	int reason;			/* for CLOSING and CLOSED */
};

TAILQ_HEAD(mux_list, sconce_mux_handle);

struct stream_handle {
	struct sconce_mux_handle h;
	struct sconce_stream stream;
};

struct dgram_handle {
	struct sconce_mux_handle h;
	struct sconce_dgram dgram;
	struct sconce_timer retry;	/* after a lack of memory */
	uint64_t told;			/* of `lost`: those that an ERROR has told of */
};

struct listener_handle {
	struct sconce_mux_handle h;
	struct sconce_listener listener;
	struct sconce_mux_options children;	/* of what it accepts */
};

/* What an event brings along. */
struct accepted_detail {
	struct sconce_mux_handle *parent;	/* NULL: removed meanwhile */
	struct sconce_addr from;
	struct sconce_cred cred;
};

struct error_detail {
	struct sconce_fail fail;
	struct sconce_dgram_error error;	/* of datagram sockets */
	char data[];
};

struct queued {
	int type;
	bool dropped;			/* purged: the rest means nothing */
	struct sconce_mux_handle *handle;
	void *detail;			/* struct accepted_detail, error_detail, sconce_event (yours); or NULL */
};

struct sconce_mux {
	struct sconce_loop *loop;
	bool own_loop;
	bool running;			/* in the loop, from sconce_mux_next() */
	bool freeing;
	struct sconce_mux_options defaults;
	struct mux_list all, ready, work;
	size_t count;			/* handles in `all` */
	size_t objects;			/* those that are not destroyed */
	unsigned given;			/* events of ready handles since the loop has turned */

	struct queued *ring;		/* cap (a power of two), from head, len of them; dropped ones included */
	size_t cap, head, len, dropped;

	/* what the last event has borrowed */
	struct sconce_mux_handle *last;	/* CLOSED */
	void *detail;
	struct sconce_record record;
	struct sconce_datagram datagram;
};

/* ---- queue.c ---- */

/* Makes room for `events` more, besides what each handle may still come to queue, and for all of that of `handles` new
 * ones.  0 or -ENOMEM. */
int sconce__mux_reserve(struct sconce_mux *m, size_t handles, size_t events);
/* Queues an event for which there is room.  `detail` is the queue's. */
void sconce__mux_queue(struct sconce_mux *m, int type, struct sconce_mux_handle *h, void *detail);
/* Takes the first one.  False: there is none. */
bool sconce__mux_take(struct sconce_mux *m, struct queued *out);
/* Drops the events of a handle; with `keep_ends` not ACCEPTED, READY and CLOSED.  The application's own stay. */
void sconce__mux_purge(struct sconce_mux_handle *h, bool keep_ends);
/* The connections of a listener that is removed lose their parent. */
void sconce__mux_orphan(const struct sconce_mux_handle *parent);

/* ---- handle.c ---- */

extern const struct sconce_stream_ops sconce__mux_stream_ops;
extern const struct sconce_dgram_ops sconce__mux_dgram_ops;
extern const struct sconce_listener_ops sconce__mux_listener_ops;

struct sconce_stream *sconce__mux_stream(struct sconce_mux_handle *h);
struct sconce_dgram *sconce__mux_dgram(struct sconce_mux_handle *h);

/* Queues SENT, and READY before it where that is due.  There is room. */
void sconce__mux_sent(struct sconce_mux_handle *h);
/* Queues READY where it is due. */
void sconce__mux_begin(struct sconce_mux_handle *h);
/* What sconce_stream_next() has returned when it was no record. */
void sconce__mux_no_more(struct sconce_mux_handle *h, int r);
/* Queues, once, that there is no memory for a datagram. */
void sconce__mux_starved(struct sconce_mux_handle *h);
/* The work. */
void sconce__mux_flush(struct sconce_mux_handle *h);
void sconce__mux_finish(struct sconce_mux_handle *h);
/* No more input; queues CLOSING, and stays open for output until that has been taken. */
void sconce__mux_end(struct sconce_mux_handle *h, int reason);
/* Closes it at once and queues CLOSING.  The fd stays open until that has been taken. */
void sconce__mux_shut(struct sconce_mux_handle *h, int reason);
/* Its fd need not stay open any more. */
void sconce__mux_unhold(struct sconce_mux_handle *h);
/* It is over, without events; forgets it, and frees it when its socket is gone. */
void sconce__mux_let_go(struct sconce_mux_handle *h);

/* ---- ready.c ---- */

/* Puts it on the list of those that may have something, or that are to be worked on before the loop turns. */
void sconce__mux_ready(struct sconce_mux_handle *h);
void sconce__mux_work(struct sconce_mux_handle *h, unsigned why);
/* Off the first; off both, as it was before it was managed. */
void sconce__mux_unready(struct sconce_mux_handle *h);
void sconce__mux_quiet(struct sconce_mux_handle *h);
/* A hook has found that it may have something. */
void sconce__mux_told(struct sconce_mux_handle *h);
/* It is asked for, and watched again. */
void sconce__mux_wake(struct sconce_mux_handle *h);
/* Starts its watch, if it needs one and is connected (0 or -errno); changes it to what the flags say; ends it. */
int sconce__mux_watch(struct sconce_mux_handle *h);
void sconce__mux_rewatch(struct sconce_mux_handle *h);
void sconce__mux_unwatch(struct sconce_mux_handle *h);
/* Readies the timer of a datagram socket that there is no memory for. */
void sconce__mux_prepare_retry(struct sconce_mux_handle *h);
/* One event of what it has ready.  False: none, or it is queued now. */
bool sconce__mux_pull(struct sconce_mux_handle *h, struct sconce_event *ev);

/* ---- open.c ---- */

/* The listener's accept hook: makes a handle of a connection. */
int sconce__mux_accept(struct listener_handle *l, int fd, const struct sconce_addr *peer);

/* ---- mux.c ---- */

void sconce__mux_destroyed(struct sconce_mux *m);

#endif
