/* Private to the datagram socket.
 *
 *   dgram.c           the type: init, hooks of the base, the calls that send
 *   dgram_queue.c     what waits to be sent, and how it is offered to the kernel
 *   dgram_recv.c      batches of what has come
 *   dgram_errqueue.c  errors that the network sends back */
#ifndef SCONCE_DGRAM_PRIVATE_H
#define SCONCE_DGRAM_PRIVATE_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <sconce/dgram.h>
#include <sconce/raw.h>
#include <sconce/timer.h>
#include <sconce/write.h>

enum { DGRAM_BATCH = 64 };		/* datagrams of one system call, at most */

/* A piece of the queue: records one behind the other. */
struct sconce__dgram_chunk {
	struct sconce__dgram_chunk *next;
	size_t size, used;		/* bytes of `data` */
	unsigned pins;			/* hooks that have a record of it */
	bool off_queue;			/* and is only kept for them */
	_Alignas(8) char data[];
};

struct sconce__dgram {
	struct sconce_sock_ops table;	/* the base's, with the type's name and what hooks it has */
	struct sconce_dgram_options opts;	/* none is 0 that has a default */
	int fd;				/* that what follows is about; -1: none yet */
	int family;			/* AF_...; 0: no fd yet */
	bool connected;

	/* received, and not handed on */
	struct sconce__dgram_batch *batch;	/* NULL: nothing */
	unsigned ask;			/* datagrams to ask for: how many came lately */
	bool full;			/* the last time so many came */
	bool starved;			/* there was no memory for a batch, and that was told */

	/* to be sent */
	struct sconce__dgram_chunk *head, *tail;	/* one is kept when they are empty */
	size_t head_off;		/* the first record that waits */
	size_t count, bytes, held;	/* datagrams, their bytes, bytes of their records */
	int head_errnum;		/* the first datagram has failed once: perhaps it was another's error */
	bool head_told;			/* and the error queue has told it */
	enum sconce_raw_wait wait;	/* MOVES: nothing has been refused */
	bool core_stuck;		/* and the core knows */
	bool woken;			/* what was refused has been offered again, and nothing was taken yet */
	bool waited;			/* event_drain is due when the queue is empty */
	bool high_told;			/* event_low is due */
	double retry;			/* seconds until the next try, when the fd does not tell */
	struct sconce_timer timer;

	int late_errnum;		/* met inside a call: to be told from the loop */
	uint32_t mtu;			/* of the last EMSGSIZE in the error queue */
	bool busy;			/* sconce__dgram_settle() runs, or is going to when the hook returns */
	bool armed;			/* it is going to from a deferred call */
};

static inline bool
dgram_is_inet(const struct sconce__dgram *x)
{
	return x->family == AF_INET || x->family == AF_INET6;
}

/* dgram.c */
/* Learns about the fd, if it is new.  Returns whether there is one. */
bool sconce__dgram_ready(struct sconce_dgram *d);
/* Calls event_error: an error of this operation, whose datagram is not known. */
void sconce__dgram_tell(struct sconce_dgram *d, const char *operation, int errnum);
/* Errors that were met inside a call of the application's. */
void sconce__dgram_tell_late(struct sconce_dgram *d);

/* dgram_queue.c */
/* One more at the end; `control` is a control message (control_len 0: none).  0, -ENOBUFS, -ENOMEM. */
int sconce__dgram_put(struct sconce_dgram *d, const struct sconce_addr *to, const void *control, size_t control_len,
	const void *data, size_t len);
/* Has settle() called from the loop. */
void sconce__dgram_arm(struct sconce_dgram *d);
/* Whether what waits may be offered to the kernel now. */
bool sconce__dgram_can_offer(const struct sconce_dgram *d);
/* From the loop: offers the queue and calls all hooks that follow from it. */
void sconce__dgram_settle(struct sconce_dgram *d);
/* From anywhere: offers it as far as that calls no hook. */
void sconce__dgram_offer(struct sconce_dgram *d);
/* The connection is another one, or none: what was refused says nothing about it.  settle() is to follow. */
void sconce__dgram_forget_refusal(struct sconce_dgram *d);
/* The fd (or the timer) says that what was refused may be offered again. */
void sconce__dgram_wake(struct sconce_dgram *d);
void sconce__dgram_timer(struct sconce_timer *t, void *arg);
/* At close: offers what was not refused yet, skipping what fails. */
void sconce__dgram_last_offer(struct sconce_dgram *d);
/* Drops all, counted as lost; frees it too. */
void sconce__dgram_drop(struct sconce_dgram *d);
void sconce__dgram_queue_free(struct sconce_dgram *d);

/* dgram_recv.c */
void sconce__dgram_read(struct sconce_dgram *d);	/* for event_datagram: one batch */
void sconce__dgram_batch_free(struct sconce_dgram *d);

/* dgram_errqueue.c */
/* From the loop: empties the error queue and tells what is in it.  Returns how many were told. */
unsigned sconce__dgram_errors(struct sconce_dgram *d);

#endif
