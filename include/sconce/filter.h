/* Filters: how a stream of bytes is cut into records, and records are made into bytes.
 *
 * A filter is a set of immutable settings that any number of connections, loops and threads share; what it knows of
 * one connection (how far it has scanned, half a block) is a state of that connection's own, so that no byte of one
 * can turn up in another.  A framer is one connection's use of a filter: the state, and the input that has not been
 * taken yet.
 *
 *	struct sconce_filter *lines;
 *	struct sconce_framer framer;
 *	struct sconce_record rec;
 *
 *	sconce_filter_line(NULL, &lines);
 *	sconce_framer_init(&framer, lines);
 *	sconce_framer_feed(&framer, "one\ntwo\nthr", 11);
 *	while (sconce_framer_next(&framer, &rec) == 1)
 *		printf("%.*s\n", (int)rec.len, (const char *)rec.data);		one, two
 *
 * Streams (sconce/stream.h) and the multiplexer (sconce/mux.h) have a framer for each connection; this header is for
 * choosing a filter, for writing one, and for using one without a socket.
 *
 * Records are parsed one at a time, when they are asked for: between two of them the filter may be changed, and the
 * bytes behind belong to the new one.  A record borrows from the input: it is valid until the next call on the framer
 * (or the end of the hook that was given it).  The cost of parsing is linear in the bytes, however they arrive. */
#ifndef SCONCE_FILTER_H
#define SCONCE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

/* ---- records ---- */

/* What a filter says of a record, in `flags`. */
enum {
	SCONCE_RECORD_LAST = 1,		/* what was left at the end of input, and did not make a whole record */
	SCONCE_RECORD_ERROR = 2,	/* in place of a record that could not be read: why, as text, or HTTP's answer */
	SCONCE_RECORD_HEAD = 4,		/* HTTP: the head of a message (`detail`: a struct sconce_http_record) */
	SCONCE_RECORD_BODY = 8,		/* HTTP: a piece of a body, or what sconce_framer_want() asked for */
	SCONCE_RECORD_END = 16		/* HTTP: the message ends with this record */
};

struct sconce_record {
	const void *data;		/* borrowed; not terminated by a NUL */
	size_t len;			/* bytes; 0 is a record too */
	unsigned flags;			/* SCONCE_RECORD_... */
	size_t count;			/* of a group (sconce_filter_group()): how many records it holds */
	const struct sconce_record *items;	/* those; NULL when it is no group */
	const void *detail;		/* what the filter has made of it (a parsed head, a thawed object); NULL for most */
};

/* A record of plain bytes. */
static inline struct sconce_record
sconce_record_of(const void *data, size_t len)
{
	struct sconce_record rec = { data, len, 0, 0, NULL, NULL };

	return rec;
}

/* ---- filters that are there ---- */

struct sconce_filter;

/* Takes and drops a reference.  Whoever makes a filter has one; every framer has one.  The last one frees it.  Safe in
 * any thread.  NULL is allowed. */
SCONCE_API struct sconce_filter *sconce_filter_ref(struct sconce_filter *f);
SCONCE_API void sconce_filter_unref(struct sconce_filter *f);

/* The most bytes a record may have, terminators and length prefixes not counted: what would become longer is -EMSGSIZE.
 * To be set before the first framer uses the filter.  0 and the default: 1 MiB. */
SCONCE_API void sconce_filter_set_max_record(struct sconce_filter *f, size_t bytes);
SCONCE_API size_t sconce_filter_max_record(const struct sconce_filter *f);

/* Every sconce_filter_<name>() below copies what it is given, sets *filter_out, of which the caller has one
 * reference, and returns 0; -EINVAL for settings that mean nothing, -ENOMEM; *filter_out is then untouched. */

/* Lines.  With `in_end` NULL, and neither `detect` nor `compat`, a line ends at CR LF, LF, or CR: a CR that comes
 * last in what has arrived is not an end until the next byte tells whether an LF belongs to it (or the input ends),
 * so a CR LF cut in two is one end.  Terminators are removed; empty lines are records.  `opts` may be NULL. */
struct sconce_line_options {
	const char *in_end;		/* a literal terminator of input; NULL: see above */
	size_t in_end_len;		/* its bytes; 0: strlen(in_end) */
	const char *out_end;		/* what is written behind each record; NULL: CR LF, or in_end if that is given */
	size_t out_end_len;
	bool detect;			/* the first line's end (CR LF, LF CR, LF or CR) is that of all; excludes in_end.
					 * An LF that comes last ends it at once, and a CR that follows belongs to it */
	bool compat;			/* as POE::Filter::Line: LF CR is one end too, and a CR or LF that comes last in
					 * what has arrived ends a line at once, so that a pair cut in two gives an empty
					 * line (PF-1) */
};
SCONCE_API int sconce_filter_line(const struct sconce_line_options *opts, struct sconce_filter **filter_out);

/* Records between literal delimiters, which are removed; empty records are records.  Writing appends the delimiter.
 * What is left at the end comes as an ordinary record, without SCONCE_RECORD_LAST. */
SCONCE_API int sconce_filter_split(const void *delimiter, size_t len, struct sconce_filter **filter_out);

/* Records that end where a regular expression matches.  With a group (...) in it the record is what the first group
 * matched (nothing, where that had no part in the match), and what stood before the match is dropped with it; without
 * one it is what stands before the match.  POSIX extended syntax, or Perl's where the library was built with PCRE2
 * and `flags` says so; of bytes, whatever the locale.  "^" matches at the beginning of what has not been taken. A
 * match of nothing is skipped.  A match that ends where the input ends is not final, since more bytes might make it
 * longer: it waits for them, or for the end.  Perl's expressions wait only where more could change the match indeed;
 * POSIX's do not know, so a peer that waits for the answer to "\n" waits for ever: say SCONCE_REGEX_EAGER there. A
 * match must end within max_record bytes.  Every new input searches all that waits, up to those, once more (Perl's:
 * from where a match might begin): from peers that are not trusted allow few, or use another filter.  "." of POSIX
 * does not match a NUL. Writing adds nothing. */
enum {
	SCONCE_REGEX_PERL = 1,		/* PCRE2; -ENOTSUP without it */
	SCONCE_REGEX_ICASE = 2,		/* letters match in either case */
	SCONCE_REGEX_EAGER = 4		/* a match that ends where the input ends is final: as IO::Buffered (IB-4) */
};
SCONCE_API int sconce_filter_regex(const char *pattern, unsigned flags, struct sconce_filter **filter_out);

/* Records of exactly `size` bytes, at least 1.  A size above the default of max_record is also that.  Writing adds
 * nothing. */
SCONCE_API int sconce_filter_fixed(size_t size, struct sconce_filter **filter_out);

/* Records behind their length.  `format` is one of Perl's pack(): "C" (1 byte), "n" "N" "Q>" (big-endian, 2, 4, 8
 * bytes), "v" "V" "Q<" (little-endian), "w" (BER, variable).  The length that is sent is that of the record minus
 * `offset` (a negative offset: the length includes as much of a header).  A length below zero, or a BER one with
 * leading zeros, is -EBADMSG. Writing a record whose length cannot be sent is -EMSGSIZE (too much for the format)
 * or -EINVAL (less than nothing). */
SCONCE_API int sconce_filter_size(const char *format, int offset, struct sconce_filter **filter_out);

/* Length blocks of POE: the length in decimal digits, a NUL, the bytes.  Or another codec: `decode` looks at the
 * `len` bytes at `data` and returns how many of them are the prefix, with *size_out set; 0 when it needs more; -errno
 * when that is none. `encode` writes the prefix of a record of `size` bytes to `buf` (32 bytes) and returns its
 * length.  Both or neither.  A prefix has 1 to 32 bytes.  `opts` may be NULL. */
struct sconce_block_options {
	ssize_t (*decode)(const void *data, size_t len, uint64_t *size_out);
	ssize_t (*encode)(uint64_t size, void *buf);
	bool strict;			/* what is no digit before a length is an error; otherwise it is skipped (PF-5).
					 * Not for other codecs */
};
SCONCE_API int sconce_filter_block(const struct sconce_block_options *opts, struct sconce_filter **filter_out);

/* Whatever has arrived, as one record; at most max_record of it. */
SCONCE_API int sconce_filter_stream(struct sconce_filter **filter_out);

/* Everything, as one record, when the input has ended. */
SCONCE_API int sconce_filter_last(struct sconce_filter **filter_out);

/* Groups of `size` records; writing takes a group apart.  It works on records: put it behind another filter in a
 * stack.  A group's `data` is the bytes of its items, one behind the other, which together may be max_record.  With
 * `check_put` writing holds back what does not make a whole group (sconce_framer_held()).  The rest at the end of
 * input is a smaller group, with SCONCE_RECORD_LAST.  What is held back is lost when the framer ends or changes its
 * filter. */
SCONCE_API int sconce_filter_group(size_t size, bool check_put, struct sconce_filter **filter_out);

/* Changes each record by a function: map_in those that are read, map_out those that are written; NULL leaves them as
 * they are. It gives what it makes to `to`, any number of records, with sconce_sink_...(); bytes and items need only
 * live until that returns, a `detail` until the next call on the framer.  A negative result fails the input with it,
 * or is that of the write. */
struct sconce_sink;
typedef int sconce_map_fn(const struct sconce_record *rec, struct sconce_sink *to, void *arg);
SCONCE_API int sconce_filter_map(sconce_map_fn *map_in, sconce_map_fn *map_out, void *arg,
	struct sconce_filter **filter_out);

/* Keeps the records for which a function is true: keep_in of those that are read, keep_out of those that are written;
 * NULL keeps all. */
typedef bool sconce_grep_fn(const struct sconce_record *rec, void *arg);
SCONCE_API int sconce_filter_grep(sconce_grep_fn *keep_in, sconce_grep_fn *keep_out, void *arg,
	struct sconce_filter **filter_out);

/* One behind the other: input goes through from the first to the last, output from the last to the first.  One behind
 * the first gets the records of the one before it; if it parses bytes (a line, a block), they are a stream of bytes
 * to it, in which its records need not end where those do.  A stack may be one of them.  Takes a reference of each.
 * At least one; the same may appear twice.  Each keeps its own max_record. */
SCONCE_API int sconce_filter_stack(struct sconce_filter *const *filters, size_t count, struct sconce_filter **filter_out);

/* Objects: a block (as sconce_filter_block(), strict) whose bytes a serializer makes and reads.  freeze() is given
 * the record that is written (its `detail` may be your object) and gives the bytes to its sink; thaw() is given the
 * bytes of a block and gives the record that is read, whose `detail` may be your object; it must live until the next
 * call on the framer. With `compress` the bytes are deflated (zlib's format; -ENOTSUP without zlib); what would
 * inflate to more than max_record is -EMSGSIZE.  With `no_fatals` a block whose bytes cannot be read becomes a record
 * with SCONCE_RECORD_ERROR, and the next block follows (PF-11); a length that is none, or too large, still ends the
 * input.  `opts` may be NULL. */
struct sconce_frozen_options {
	sconce_map_fn *freeze, *thaw;	/* NULL: the bytes as they are */
	void *arg;
	bool compress, no_fatals;
};
SCONCE_API int sconce_filter_frozen(const struct sconce_frozen_options *opts, struct sconce_filter **filter_out);

/* HTTP/1 messages (RFC 9112), parsed by sconce/http.h: what that refuses fails the input with -EBADMSG, or -EMSGSIZE
 * for what is too large; sconce_framer_error() says why.  A head may have SCONCE_HTTP_HEAD_BYTES, or max_record where
 * that is less.  Writing gives on the bytes as they are: sconce/http.h writes heads.  A client that expects
 * 100-continue is told nothing: use another mode than SCONCE_HTTP_WHOLE for it.  A hook that sees a head that ends
 * the HTTP of a connection (an Upgrade) sets another filter. `opts` may be NULL. */
enum sconce_http_filter_mode {
	SCONCE_HTTP_WHOLE,		/* a record is a head and its body, as they stood on the wire */
	SCONCE_HTTP_HEAD_ONLY,		/* heads.  Where a body follows, sconce_framer_want() asks for its bytes as they
					 * stand on the wire, as often as need be; until then nothing is parsed (IB-9).
					 * When all of a Content-Length was asked for, or with want(0), the next head
					 * follows */
	SCONCE_HTTP_STREAMING		/* a head, then pieces of the body (chunk framing removed), the last, which may be
					 * empty, with SCONCE_RECORD_END; a body that is cut off is -EBADMSG */
};
struct sconce_http_options {
	enum sconce_http_filter_mode mode;
	bool responses;			/* the input is answers, not requests */
	bool answers_head;		/* and they answer HEAD requests: no body follows.  Where they answer others too,
					 * change the filter before each */
	bool http09;			/* "GET /path" without a version is a request (PF-12) */
	bool unfold;			/* folded lines of a field are joined by a space (RFC 9112 5.2), and the head of the
					 * record is a copy with that; otherwise they are refused */
	uint64_t max_body;		/* bytes of a body, in SCONCE_HTTP_WHOLE with the framing of chunks; more is an
					 * error 413.  0: no limit, in SCONCE_HTTP_WHOLE max_record */
	bool error_records;		/* a request that is refused becomes a record with SCONCE_RECORD_ERROR that holds
					 * a ready-made answer (400, 411, 413 ...), and the input then fails; otherwise it
					 * only fails */
};

/* What `detail` of a record with SCONCE_RECORD_HEAD or SCONCE_RECORD_ERROR points to; valid as long as the record. */
struct sconce_http_head;		/* sconce/http.h */
struct sconce_http_record {
	const struct sconce_http_head *head;	/* parsed; slices count from the record's first byte.  NULL in an error's */
	size_t head_len;		/* bytes of the head: a body begins behind it */
	bool http09;			/* it has no version; `head` reads as if it were HTTP/1.0 */
	int status;			/* of an error: 400 ... */
};
SCONCE_API int sconce_filter_http(const struct sconce_http_options *opts, struct sconce_filter **filter_out);

/* Whether what is left at the end is told apart from whole records (IB-10): IO::EventMux's read_last. */
SCONCE_API bool sconce_filter_returns_last(const struct sconce_filter *f);

/* ---- a connection's use of one ---- */

/* Input that has arrived and was not taken yet; it is consumed from the left. */
struct sconce_input {
	/* read-only */
	const char *data;		/* the bytes; valid until the next call */
	size_t len;			/* how many */
	bool ended;			/* no more will come */
	/* of filters that work on records (SCONCE_FILTER_RECORDS): the record to work on, or NULL when there is none;
	 * see sconce_input_record() */
	const struct sconce_record *record;
	const char *error;		/* settable by get(): a static text that says what is wrong, for a negative result */
	/* private */
	char *_own;			/* memory, when the bytes are not borrowed */
	size_t _cap;
};

/* Consumes `n` bytes, at most in->len.  They stay readable until the next call on the framer or stream. */
static inline void
sconce_input_take(struct sconce_input *in, size_t n)
{
	in->data += n;
	in->len -= n;
}

/* Appends a copy.  Returns 0 or -ENOMEM (nothing was appended). */
SCONCE_API int sconce_input_append(struct sconce_input *in, const void *data, size_t len);

/* Frees the memory; what is left is lost. */
SCONCE_API void sconce_input_fini(struct sconce_input *in);

struct sconce_framer {
	struct sconce_input in;		/* what was not taken yet; read-only, except sconce_input_take() between two records */
	/* read-only */
	struct sconce_filter *filter;	/* one reference; NULL: none, the bytes are only kept */
	/* settable */
	size_t max_buffer;		/* bytes that may wait; asked before parsing (IB-2); 0: no limit */
	/* private */
	void *_state;
	struct sconce_filter *_before;	/* the filter and state before the last change: the record last given may be theirs */
	void *_state_before;
	int _error;			/* the input has failed */
};

/* Begins with a filter, of which it takes a reference of its own.  Returns 0 or -ENOMEM. */
SCONCE_API int sconce_framer_init(struct sconce_framer *fr, struct sconce_filter *filter);
SCONCE_API void sconce_framer_fini(struct sconce_framer *fr);

/* Adds input, as a copy.  Returns 0; -ENOBUFS when more than max_buffer would wait: none of it was added; -ENOMEM. */
SCONCE_API int sconce_framer_feed(struct sconce_framer *fr, const void *data, size_t len);

/* Adds input that is borrowed until sconce_framer_settle(), which copies what has not been taken by then; both as
 * sconce_framer_feed().  Between the two anything but another feed may be called. */
SCONCE_API int sconce_framer_lend(struct sconce_framer *fr, const void *data, size_t len);
SCONCE_API int sconce_framer_settle(struct sconce_framer *fr);

/* The input has ended: what does not make a whole record comes as a last one, unless it is empty. */
SCONCE_API void sconce_framer_end(struct sconce_framer *fr);

/* The next record.  Returns 1 with *rec_out set; 0 when there is none yet (or, after the end, none any more);
 * -EMSGSIZE (longer than max_record), -EBADMSG (not what the filter reads), -ENOMEM or another -errno: then and from
 * then on; sconce_framer_error() says more; what could not be parsed is left in fr->in. */
SCONCE_API int sconce_framer_next(struct sconce_framer *fr, struct sconce_record *rec_out);

/* One line on why the input failed; "" when it did not. */
SCONCE_API const char *sconce_framer_error(const struct sconce_framer *fr);

/* Changes the filter: what was not taken yet belongs to the new one (NULL: to nobody, it is kept).  Returns 0 or
 * -ENOMEM (nothing changed). */
SCONCE_API int sconce_framer_set_filter(struct sconce_framer *fr, struct sconce_filter *filter);

/* Puts a copy of bytes in front of what was not taken yet; the record that was given last is not valid any more.  Where
 * bytes wait, the filter begins anew: what it had found out about them is forgotten, and so are records that it has
 * made of bytes before and not given yet (map, stack).
 * Returns 0; -EBUSY when it would forget records that writing holds back; -ENOMEM: then nothing changed. */
SCONCE_API int sconce_framer_unread(struct sconce_framer *fr, const void *data, size_t len);

/* The next record is to be the next `n` bytes, whatever they are; then the filter goes on.  With 0 it goes on without
 * them (SCONCE_HTTP_HEAD_ONLY).  Returns 0, -EINVAL (the filter has no use for it), -EBUSY (it is in the middle of a
 * record, or was asked already) or -EMSGSIZE (more than max_record). */
SCONCE_API int sconce_framer_want(struct sconce_framer *fr, uint64_t n);

/* Makes bytes of a record and gives them to `to`.  Returns what that returns, or -errno of the filter. */
SCONCE_API int sconce_framer_put(struct sconce_framer *fr, const struct sconce_record *rec, struct sconce_sink *to);

/* Records that writing holds back (sconce_filter_group()). */
SCONCE_API size_t sconce_framer_held(const struct sconce_framer *fr);

/* ---- writing a filter ---- */

/* Where a filter's output goes: records that it has made, in pieces or whole. */
struct sconce_sink {
	int (*add)(struct sconce_sink *to, const struct iovec *iov, int count, const struct sconce_record *rec);
};

/* Gives on one record: as it is; as bytes; as the bytes of several pieces joined.  All is borrowed until it returns.
 * Returns 0 or more, or -errno: give that back. */
SCONCE_API int sconce_sink_record(struct sconce_sink *to, const struct sconce_record *rec);
SCONCE_API int sconce_sink_bytes(struct sconce_sink *to, const void *data, size_t len);
SCONCE_API int sconce_sink_pieces(struct sconce_sink *to, const struct iovec *iov, int count);

/* What get() returns, besides -errno. */
enum sconce_filter_result {
	SCONCE_FILTER_MORE = 0,		/* needs more input, and has taken nothing that it cannot do without */
	SCONCE_FILTER_RECORD = 1,	/* *rec_out is one */
	SCONCE_FILTER_SKIP = 2		/* it got on, but there is no record: ask again */
};

enum {
	SCONCE_FILTER_RETURNS_LAST = 1,	/* sconce_filter_returns_last() */
	SCONCE_FILTER_RECORDS = 2	/* works on whole records, one after the other: in->record */
};

struct sconce_filter_ops {
	const char *name;		/* for people */
	unsigned flags;			/* SCONCE_FILTER_... */
	size_t state_size;		/* bytes of a connection's state, which begin as zeros */

	/* Prepares and ends a state.  init returns 0 or -errno.  Both may be NULL. */
	int (*init)(const struct sconce_filter *f, void *state);
	void (*fini)(const struct sconce_filter *f, void *state);

	/* Looks at the input and takes at most one record from its left.  *rec_out is zeroed before; it may point
	 * into the input or the state.  A filter that has scanned in vain remembers in its state how far, so that it
	 * does not do so again: in->data may have moved when it is called again, but the bytes not taken are the
	 * same, with more behind them.  With in->ended: the last chance.  Bytes that are left when it then says
	 * SCONCE_FILTER_MORE become the last record. */
	int (*get)(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out);

	/* Makes output of a record: any number of sconce_sink_...() calls.  NULL: the bytes as they are. */
	int (*put)(const struct sconce_filter *f, void *state, const struct sconce_record *rec, struct sconce_sink *to);

	/* sconce_framer_want(); NULL: -EINVAL. */
	int (*want)(const struct sconce_filter *f, void *state, uint64_t n);

	/* Records held back by put(); NULL: none. */
	size_t (*held)(const struct sconce_filter *f, const void *state);

	/* Frees the filter itself; NULL: it is static. */
	void (*free)(struct sconce_filter *f);
};

/* The base of a filter's settings: a member by value of your struct. */
struct sconce_filter {
	const struct sconce_filter_ops *ops;
	size_t _max_record;
	int _refs;
};

/* Prepares the base; the caller has the one reference. */
SCONCE_API void sconce_filter_init(struct sconce_filter *f, const struct sconce_filter_ops *ops);

/* For get() of a filter that works on records: takes the record to work on, or, where the filter stands alone, all
 * bytes that are there as one.  False when there is none. */
SCONCE_API bool sconce_input_record(struct sconce_input *in, struct sconce_record *rec_out);

SCONCE_END_DECLS

#endif
