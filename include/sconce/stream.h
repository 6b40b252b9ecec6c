/* Streams: sockets that do the reading, and give you records, or bytes to consume from the left.
 *
 *	struct guest {
 *		struct sconce_stream stream;		a member by value, as a socket object is
 *		...
 *	};
 *	static const struct sconce_stream_ops guest_ops = {
 *		.name = "guest", .event_record = guest_event_record, .destroy = guest_destroy,
 *	};
 *
 *	static void
 *	guest_event_record(struct sconce_stream *st, const struct sconce_record *rec)
 *	{
 *		sconce_stream_put(st, rec);		a line comes back
 *	}
 *
 * The stream's base is a socket object: everything in sconce/sock.h, write.h and endpoint.h may be done to &st->sock
 * (write, close, timeouts, marks, transports, connect, transfer).  Only its reads are the stream's. */
#ifndef SCONCE_STREAM_H
#define SCONCE_STREAM_H

#include <stdio.h>
#include <sconce/endpoint.h>
#include <sconce/filter.h>
#include <sconce/sock.h>
#include <sconce/write.h>

SCONCE_BEGIN_DECLS

struct sconce_stream;

/* What happens after the end of input has been told (event_eof). */
enum sconce_eof {
	SCONCE_EOF_FLUSH_CLOSE = 0,	/* sconce_close_flush(): what was written, in event_eof too, is sent before.
					 * The reason is then SCONCE_REASON_LOCAL */
	SCONCE_EOF_CLOSE,		/* sconce_close(), SCONCE_REASON_EOF */
	SCONCE_EOF_MANUAL		/* nothing: writing goes on until you close */
};

/* The hooks.  As for sockets: none runs inside a call of yours, and after a hook has closed the stream only
 * event_close and destroy follow. */
struct sconce_stream_ops {
	/* The type's name for listings; not NULL. */
	const char *name;

	/* One of these three says how input is taken. */

	/* A record (filter, see the options).  It is valid during the call.  The next one is parsed only afterwards,
	 * so the filter may be changed here, and sconce_watch_read(&st->sock, false) here keeps the rest until it is
	 * turned on again. */
	void (*event_record)(struct sconce_stream *st, const struct sconce_record *rec);
	/* There is new input: consume what you can use with sconce_input_take(); the rest stays and is offered again,
	 * with more behind it, when more has come, or when sconce_stream_rescan() asks for it.  Only without a
	 * filter. */
	void (*event_input)(struct sconce_stream *st, struct sconce_input *in);
	/* There may be something to take with sconce_stream_next(), which also tells of the end and of errors:
	 * event_eof, event_fail, event_err and the policy of the options are not for such types. */
	void (*event_ready)(struct sconce_stream *st);

	/* The input has ended (not by sconce_shutdown() of it); `left` is what nobody has consumed (with a filter:
	 * nothing, it came as a record with SCONCE_RECORD_LAST).  Once; no input follows.  Then the policy of the
	 * options is carried out.  Missing: only that. */
	void (*event_eof)(struct sconce_stream *st, struct sconce_input *left);
	/* The input cannot go on: a record is longer than it may (EMSGSIZE), is none (EBADMSG), more waits than may
	 * (ENOBUFS), or there is no memory; `fail->operation` is "filter".  What was not parsed is in
	 * sconce_stream_input().  Once; no input follows.  Missing: close with the errno, and SCONCE_REASON_OVERFLOW
	 * for EMSGSIZE and ENOBUFS, else SCONCE_REASON_ERROR. */
	void (*event_fail)(struct sconce_stream *st, const struct sconce_fail *fail);

	/* As the hooks of the same names of a socket; see sconce/sock.h.  Missing: as there. */
	void (*event_connect)(struct sconce_stream *st, int errnum);
	void (*event_err)(struct sconce_stream *st, int errnum);
	void (*event_hup)(struct sconce_stream *st);
	void (*event_low)(struct sconce_stream *st);
	void (*event_high)(struct sconce_stream *st);
	void (*event_drain)(struct sconce_stream *st);
	void (*event_timeout)(struct sconce_stream *st, enum sconce_timeout_kind kind);
	void (*event_close)(struct sconce_stream *st);
	void (*destroy)(struct sconce_stream *st);
	int (*describe)(const struct sconce_stream *st, char *buf, size_t size);
};

/* How to make a stream.  All zero is a good default for raw input. */
struct sconce_stream_options {
	/* Of the input, and of the output unless out_filter is given; NULL: raw.  A reference of each is taken. */
	struct sconce_filter *filter;
	struct sconce_filter *out_filter;
	enum sconce_eof eof;
	double linger;			/* seconds, for SCONCE_EOF_FLUSH_CLOSE; 0: 30 */
	/* Most bytes of one read; 0: 256 KiB.  The memory is the loop's, or, where fewer are pulled, the stream's
	 * own. */
	size_t read_size;
	/* Bytes of input that may wait, asked when they arrive, before parsing.  0: no limit with a filter, which has
	 * one for records; 1 MiB without. */
	size_t max_buffer;
	/* Reads for one record with sconce_stream_next(); 0: 10.  (Other types read once for each readiness, up to 4
	 * times while the reads are full.) */
	unsigned max_reads;
	/* Records for one readiness; 0: 256.  What is left comes in the next turn, after the others have had theirs. */
	unsigned max_records;
};

struct sconce_stream {
	struct sconce_sock sock;	/* base */
	/* read-only */
	const struct sconce_stream_ops *ops;
	/* private */
	struct sconce_framer _framer;	/* input, and its filter */
	struct sconce_framer *_out;	/* output's, where it is another; else &_framer */
	struct sconce__stream_out *_other;	/* writes to another fd */
	FILE *_file;
	char *_room;			/* what a pulled read of _read_size goes to */
	double _linger;
	uint32_t _read_size;
	uint32_t _max_records;
	uint16_t _max_reads;
	uint16_t _errnum;		/* an error that waits until the input before it has been taken */
	uint8_t _eof;			/* enum sconce_eof */
	uint8_t _state;
};

/* Attaches a stream to a loop and an fd, as sconce_sock_init() does, with the same ownership; `fd` may be -1 for one
 * that sconce_connect(&st->sock, ...) will open (a datagram socket is refused: -EPROTOTYPE).  `opts` may be NULL; it is
 * copied, `ops` is kept by reference.
 * Returns as sconce_sock_init(), and -EINVAL when the ops and the options do not agree: not exactly one of
 * event_record, event_input and event_ready; event_record without a filter; event_input with one. */
SCONCE_API int sconce_stream_init(struct sconce_stream *st, struct sconce_loop *loop,
	const struct sconce_stream_ops *ops, int fd, const struct sconce_stream_options *opts);

/* The stream whose base `s` is; asserts that it is one.  sconce_stream_is() asks. */
SCONCE_API struct sconce_stream *sconce_stream_of(struct sconce_sock *s);
SCONCE_API bool sconce_stream_is(const struct sconce_sock *s);

/* ---- output ---- */

/* Writes a record, through the output filter (without one: its bytes).  The record is the caller's again on return.
 * Returns as sconce_write(), SCONCE_GATHERED when the filter had nothing to write, or the filter's -errno.  A filter
 * that writes several pieces may have written some of them when one is refused. */
SCONCE_API int sconce_stream_put(struct sconce_stream *st, const struct sconce_record *rec);
/* The same for bytes. */
SCONCE_API int sconce_stream_put_bytes(struct sconce_stream *st, const void *data, size_t len);

/* Where output goes: &st->sock, or the socket object of the other fd.  Bytes may be written there past the filter. */
SCONCE_API struct sconce_sock *sconce_stream_out(struct sconce_stream *st);

/* From now on output goes to `fd`, input still comes from the first (a pair of pipes, stdin and stdout).  The stream
 * owns `fd` and closes it with itself; it has the marks and caps of the loop, and its event_low, event_high,
 * event_drain, event_err are the stream's.  What is queued on the first stays there.  To send all before the end,
 * sconce_close_flush() what sconce_stream_out() gives: the stream closes when that has.
 * Returns as sconce_sock_init(); -EALREADY when there is one. */
SCONCE_API int sconce_stream_set_out_fd(struct sconce_stream *st, int fd);

/* A FILE to write to the stream with stdio.  Unbuffered: each call is one sconce_write() past the filter, which
 * gathers.  fclose() of it is sconce_close_flush() of the stream.  The FILE is the stream's: it is closed when the
 * stream is destroyed, and may not be used then.  Every call returns the same one.  NULL with errno ENOMEM. */
SCONCE_API FILE *sconce_stream_file(struct sconce_stream *st);

/* ---- input ---- */

/* Changes the filters: at once, also from event_record; input that was not parsed yet is given to the new one in this
 * turn or the next, without waiting for more.  Output that is queued stays as it is.  A NULL `filter` (only with
 * event_ready or event_input) takes it away: input is raw; a NULL `out_filter` means `filter` for both.
 * Returns 0, -EINVAL, -EBADF or -ENOMEM (nothing changed). */
SCONCE_API int sconce_stream_set_filter(struct sconce_stream *st, struct sconce_filter *filter,
	struct sconce_filter *out_filter);
SCONCE_API struct sconce_filter *sconce_stream_filter(const struct sconce_stream *st);

/* What has been read and not been taken.  May be consumed, in hooks and outside. */
SCONCE_API struct sconce_input *sconce_stream_input(struct sconce_stream *st);

/* Puts bytes back in front of it; they are copied, and may be those of the record that was just given, which is not
 * valid any more then.  They come with what is offered next (sconce_stream_rescan()), as in sconce_framer_unread().
 * Returns as that, or -EBADF. */
SCONCE_API int sconce_stream_unread(struct sconce_stream *st, const void *data, size_t len);

/* Offers what waits again though nothing new has come: in this turn or the next.  Returns 0, -EBADF or -ENOMEM. */
SCONCE_API int sconce_stream_rescan(struct sconce_stream *st);

/* sconce_framer_want() of the input's filter, and a rescan.  Returns as that, and -EBADF or -ENOMEM (nothing
 * changed). */
SCONCE_API int sconce_stream_want(struct sconce_stream *st, uint64_t n);

/* For types with event_ready, which say when they read: takes the next record (without a filter: all bytes that
 * wait), reading from the kernel, up to max_reads times, until there is one.  To be called until it does not return
 * 1; whoever stops before must call again, from anywhere, event_ready is not a promise to come back for what has been
 * read already (sconce_stream_rescan() is).  The record is valid until the next call on the stream, or
 * until another socket of the loop is read, by whomever.
 * Returns 1; 0 when there is nothing now (event_ready comes when there may be); -ENODATA when the input has ended and
 * all was taken; -EMSGSIZE, -EBADMSG, -ENOBUFS: the input cannot go on, see sconce_failure(&st->sock); another -errno
 * when reading failed. */
SCONCE_API int sconce_stream_next(struct sconce_stream *st, struct sconce_record *rec_out);

SCONCE_END_DECLS

#endif
