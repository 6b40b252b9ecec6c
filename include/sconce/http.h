/* sconce/http.h: reading and writing HTTP/1.x messages (RFC 9110, RFC 9112).
 *
 * Knows bytes, not sockets: nothing here reads, writes, waits or allocates.  Used by sconced on both
 * its sides, and by any program that speaks HTTP over a sconce socket.
 *
 * The rule of this layer is *refuse, never repair*: where two implementations might read a message
 * in two ways, it is an error, and sconce_http_error_status() says how to answer.
 *
 *	struct sconce_http_field fields[SCONCE_HTTP_FIELDS];
 *	struct sconce_http_head head;
 *	ssize_t n;
 *
 *	sconce_http_request_init(&head, fields, SCONCE_HTTP_FIELDS, 0);
 *	n = sconce_http_parse(&head, buf, len);		// len: all bytes so far, from the first
 *	if (n < 0)
 *		answer(sconce_http_error_status(head.error));	// and close
 *	else if (n == 0)
 *		keep(buf, len);				// incomplete: call again when there is more
 *	else
 *		serve(&head, buf), buf += n;		// the body, if head.body says so, begins at buf + n
 *
 * Every object is plain memory of the caller's, needs no fini, and may be copied.  Different objects may be
 * used in different threads at once.  No call blocks, runs a hook, or keeps `buf` beyond its return. */
#ifndef SCONCE_HTTP_H
#define SCONCE_HTTP_H

#include <sconce/export.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

SCONCE_BEGIN_DECLS

/* Limits.  The first two are defaults and can be chosen per head; the others are fixed. */
#define SCONCE_HTTP_HEAD_BYTES		65536u		/* start line and fields, with the final CRLF */
#define SCONCE_HTTP_FIELDS		128u		/* fields of a head */
#define SCONCE_HTTP_HEAD_BYTES_MAX	(16u << 20)	/* the most that max_bytes may ask for */
#define SCONCE_HTTP_METHOD_BYTES	32u		/* a longer method gets 501 (RFC 9112 3) */
#define SCONCE_HTTP_EMPTY_LINES		4u		/* tolerated before a request (RFC 9112 2.2) */
#define SCONCE_HTTP_CONNECTION_OPTIONS 32u		/* connection options of one message */
#define SCONCE_HTTP_EXTENSION_BYTES	1024u		/* chunk extensions of one chunk */
#define SCONCE_HTTP_TRAILER_BYTES	8192u		/* trailer section of one body */
#define SCONCE_HTTP_LENGTH_MAX		((uint64_t)INT64_MAX) /* of a content or a chunk: fits an off_t anywhere */

/* Why a message was refused.  New values are added before the last. */
enum sconce_http_error {
	SCONCE_HTTP_OK,
	/* heads: syntax */
	SCONCE_HTTP_E_HEAD_TOO_LARGE,	/* more than max_bytes without an end */
	SCONCE_HTTP_E_TARGET_TOO_LONG,	/* the same, still inside the request target */
	SCONCE_HTTP_E_TOO_MANY_FIELDS,	/* more than max_fields */
	SCONCE_HTTP_E_EMPTY_LINES,	/* more than SCONCE_HTTP_EMPTY_LINES before a request */
	SCONCE_HTTP_E_BARE_CR,		/* CR without LF */
	SCONCE_HTTP_E_BARE_LF,		/* LF without CR */
	SCONCE_HTTP_E_METHOD,		/* not a token followed by one space */
	SCONCE_HTTP_E_METHOD_TOO_LONG,	/* longer than SCONCE_HTTP_METHOD_BYTES */
	SCONCE_HTTP_E_TARGET,		/* a form or a byte that is not allowed */
	SCONCE_HTTP_E_CONNECT,		/* a well-formed CONNECT: not done here */
	SCONCE_HTTP_E_VERSION_SYNTAX,	/* not HTTP/digit.digit and the line's end */
	SCONCE_HTTP_E_VERSION,		/* neither 1.0 nor 1.1 */
	SCONCE_HTTP_E_STATUS_LINE,	/* not HTTP/x.y SP 100..599 SP reason */
	SCONCE_HTTP_E_NAME,		/* a field name that is not a token and a colon */
	SCONCE_HTTP_E_SPACE_BEFORE_COLON,
	SCONCE_HTTP_E_FOLD,		/* a line that begins with white space */
	SCONCE_HTTP_E_VALUE,		/* a control character in a value or reason */
	/* heads: meaning */
	SCONCE_HTTP_E_NO_HOST,		/* a 1.1 request without Host */
	SCONCE_HTTP_E_TWO_HOSTS,
	SCONCE_HTTP_E_HOST,		/* not host[:port], or empty */
	SCONCE_HTTP_E_LENGTH,		/* Content-Length that is not digits alone */
	SCONCE_HTTP_E_TWO_LENGTHS,	/* two Content-Length fields, equal or not */
	SCONCE_HTTP_E_LENGTH_TOO_LARGE,	/* over SCONCE_HTTP_LENGTH_MAX */
	SCONCE_HTTP_E_CODING,		/* Transfer-Encoding that does not end the body clearly */
	SCONCE_HTTP_E_CODING_UNKNOWN,	/* codings before a final chunked: well-formed, not done here */
	SCONCE_HTTP_E_CODING_VERSION,	/* Transfer-Encoding in HTTP/1.0 */
	SCONCE_HTTP_E_LENGTH_AND_CODING,/* both Content-Length and Transfer-Encoding */
	SCONCE_HTTP_E_CONNECTION,	/* not a list of tokens, too many, or one that names Host or Content-Length */
	SCONCE_HTTP_E_EXPECT,		/* anything but one 100-continue */
	SCONCE_HTTP_E_BODY_FORBIDDEN,	/* 1xx or 204 that announces a body */
	/* bodies */
	SCONCE_HTTP_E_CHUNK_SIZE,	/* not 1 to 16 hex digits followed by ; or CRLF */
	SCONCE_HTTP_E_CHUNK_TOO_LARGE,	/* over SCONCE_HTTP_LENGTH_MAX */
	SCONCE_HTTP_E_CHUNK_EXTENSION,	/* empty, too long, or with a control character */
	SCONCE_HTTP_E_CHUNK_END,	/* no CRLF after the data */
	SCONCE_HTTP_E_TRAILER,		/* a malformed trailer field */
	SCONCE_HTTP_E_TRAILER_TOO_LARGE,/* over SCONCE_HTTP_TRAILER_BYTES */
	SCONCE_HTTP_E_TRUNCATED,	/* the connection ended inside the body */
	SCONCE_HTTP_E_COUNT
};

/* Methods with a meaning of their own here; the rest is OTHER, valid, and known by its text. */
enum sconce_http_method {
	SCONCE_HTTP_OTHER,
	SCONCE_HTTP_GET,
	SCONCE_HTTP_HEAD,
	SCONCE_HTTP_POST,
	SCONCE_HTTP_PUT,
	SCONCE_HTTP_DELETE,
	SCONCE_HTTP_OPTIONS,
	SCONCE_HTTP_TRACE,
	SCONCE_HTTP_PATCH,
	SCONCE_HTTP_CONNECT
};

/* Fields that the parser understands. */
enum sconce_http_id {
	SCONCE_HTTP_ID_OTHER,
	SCONCE_HTTP_ID_HOST,
	SCONCE_HTTP_ID_CONTENT_LENGTH,
	SCONCE_HTTP_ID_EXPECT,
	/* from here on hop-by-hop (RFC 9110 7.6.1) */
	SCONCE_HTTP_ID_CONNECTION,
	SCONCE_HTTP_ID_KEEP_ALIVE,
	SCONCE_HTTP_ID_PROXY_AUTHENTICATE,
	SCONCE_HTTP_ID_PROXY_AUTHORIZATION,
	SCONCE_HTTP_ID_PROXY_CONNECTION,
	SCONCE_HTTP_ID_TE,
	SCONCE_HTTP_ID_TRAILER,
	SCONCE_HTTP_ID_TRANSFER_ENCODING,
	SCONCE_HTTP_ID_UPGRADE
};

/* How the end of a body is found (RFC 9112 6.3). */
enum sconce_http_body_kind {
	SCONCE_HTTP_BODY_NONE,		/* nothing follows the head */
	SCONCE_HTTP_BODY_LENGTH,	/* content_length bytes, at least 1 */
	SCONCE_HTTP_BODY_CHUNKED,
	SCONCE_HTTP_BODY_UNTIL_CLOSE	/* responses only: all until the end of the connection */
};

/* A part of the buffer given to sconce_http_parse, counted from its first byte: it stays right when the
 * buffer moves.  length 0 means absent or empty. */
struct sconce_http_slice {
	uint32_t	offset;
	uint32_t	length;
};

/* Where a slice of `buf` begins. */
static inline const char *
sconce_http_at(const void *buf, struct sconce_http_slice slice)
{
	return (const char *)buf + slice.offset;
}

/* One field line, in the order received, case kept. */
struct sconce_http_field {
	struct sconce_http_slice name;	/* a token, never empty */
	struct sconce_http_slice value;	/* without the white space around it; may be empty */
	uint8_t		id;		/* enum sconce_http_id */
	bool		drop;		/* not to be forwarded as it is: hop-by-hop, named by Connection,
					 * Content-Length, a request's Host, and Expect in HTTP/1.0.
					 * The caller may change it; sconce_http_put_fields obeys it. */
};

/* The head of one message: parser and result. */
struct sconce_http_head {
	/* Read-only, always valid. */
	enum sconce_http_error error;	/* why sconce_http_parse gave -EBADMSG, else OK */
	bool		begun;		/* the start line has begun.  While false all bytes so far were empty
					 * lines, which may be thrown away and the head initialised again. */

	/* Read-only, valid after sconce_http_parse has returned > 0. */
	bool		response;	/* which of the two inits was used */
	uint8_t		minor;		/* HTTP/1.minor: 0 or 1 */
	bool		keep_alive;	/* the sender is ready for another message after this one (RFC 9112 9.3) */
	bool		has_length;	/* content_length was sent; also where it frames nothing (HEAD, 304) */
	bool		expect_continue;/* the client waits for a 100 before its body (RFC 9110 10.1.1) */
	bool		upgrade;	/* request: Upgrade offered; response: 101 that switches (RFC 9110 7.8) */
	uint16_t	status;		/* responses: 100 to 599 */
	uint16_t	field_count;
	enum sconce_http_method method_id; /* of the request; for a response: of the request it answers */
	enum sconce_http_body_kind body;
	uint64_t	content_length;	/* bytes; 0 if !has_length */
	struct sconce_http_field *fields; /* the caller's array */
	struct sconce_http_slice method;
	struct sconce_http_slice target;/* as sent */
	struct sconce_http_slice path;	/* the target without scheme and authority; may be empty or begin
					 * with '?' in the absolute form: sconce_http_put_request_of knows */
	struct sconce_http_slice authority; /* host[:port]: the target's in absolute form, else Host's
					 * (RFC 9112 3.2.2); empty if HTTP/1.0 sent neither */
	struct sconce_http_slice reason;/* responses; may be empty */

	/* Private. */
	uint32_t	_at;		/* where to go on */
	uint32_t	_mark;		/* where the piece being read began */
	uint32_t	_max_bytes;
	uint16_t	_max_fields;
	uint16_t	_seen;		/* bit n: a field with id n was there */
	uint8_t		_phase;
	uint8_t		_empty_lines;
	uint8_t		_option_count;
	uint8_t		_options;	/* close, keep-alive, upgrade, others */
};

/* ---- Reading heads --------------------------------------------------------------------------- */

/* Makes `head` ready to read one request.  `fields` is an array of `max_fields` elements (1 to 65535),
 * borrowed until the caller is done with the head's results; only the elements below field_count are
 * ever touched or meaningful.  `max_bytes` bounds the head, leading empty lines included: 0 means
 * SCONCE_HTTP_HEAD_BYTES, values over SCONCE_HTTP_HEAD_BYTES_MAX mean that.  Cannot fail.  Call it
 * again for the next message. */
SCONCE_API void sconce_http_request_init(struct sconce_http_head *head,
    struct sconce_http_field *fields, size_t max_fields, size_t max_bytes);

/* The same for one response.  `answers` is the method of the request that it answers: the answer to
 * HEAD has no body whatever its fields say (RFC 9112 6.3).  A 1xx response ends at its head:
 * initialise again and read on. */
SCONCE_API void sconce_http_response_init(struct sconce_http_head *head,
    struct sconce_http_field *fields, size_t max_fields, size_t max_bytes,
    enum sconce_http_method answers);

/* Reads a head.  `buf` holds all `len` bytes received so far, from the message's first; on the next
 * call the same bytes, at any address, and more.  What was examined before is not examined again, so
 * any slicing of the input costs linear time in all.  Errors are found at the first byte that makes
 * them certain, wherever the input was cut.  `buf` is only read, and only during the call.
 * Returns the length of the head in bytes (what follows belongs to the body or the next message; calling again
 * returns the same), 0 if more input is needed, or -EBADMSG: refused, head->error says why.  A refused
 * request is answered with sconce_http_error_status() and a refused response makes a 502; either
 * connection must then be closed, for where the next message begins is unknown. */
SCONCE_API ssize_t sconce_http_parse(struct sconce_http_head *head, const void *buf, size_t len);

/* Finds a field by name, case-insensitively.  `from` is the index to begin at: 0, or one more than the
 * last result to go through repeated fields.  `buf` is the buffer the head was read from, at its
 * present address. Returns the index in head->fields, or -1. */
SCONCE_API int sconce_http_find(const struct sconce_http_head *head, const void *buf,
    const char *name, int from);

/* Finds the first field that the parser knows by `id` (not OTHER); costs nothing when there is none.
 * Returns its index, or -1. */
SCONCE_API int sconce_http_find_id(const struct sconce_http_head *head, enum sconce_http_id id);

/* Whether a field of this name concerns one connection only and must not be forwarded: the names that
 * RFC 9110 7.6.1 lists, the Proxy- fields and Trailer, and what a Connection field of `head` names
 * (`buf` as for sconce_http_find).  With `head` NULL only the former.  The parser has set `drop` by
 * this rule already. */
SCONCE_API bool sconce_http_is_hop_by_hop(const struct sconce_http_head *head, const void *buf,
    const char *name, size_t name_len);

/* Whether repeating a request does no more than making it once (RFC 9110 9.2.2).  OTHER is not. */
SCONCE_API bool sconce_http_is_idempotent(enum sconce_http_method method);

/* The status that answers a refused request: 400, 413, 414, 417, 431, 501, 505; 502 where only a response can
 * err so; 200 for OK. */
SCONCE_API int sconce_http_error_status(enum sconce_http_error error);

/* One English sentence part for a log, such as "bare LF"; static, never NULL. */
SCONCE_API const char *sconce_http_error_text(enum sconce_http_error error);

/* ---- Reading bodies -------------------------------------------------------------------------- */

/* What tells a body's payload from its framing; the same for all kinds of framing. */
struct sconce_http_body {
	/* Read-only. */
	enum sconce_http_error error;	/* why -EBADMSG was returned, else OK */
	enum sconce_http_body_kind kind;
	bool		done;		/* the body is complete; what follows is not part of it */
	uint64_t	left;		/* payload bytes that certainly come next without framing between them:
					 * of this chunk, of the length; UINT64_MAX until close */
	/* Private. */
	uint16_t	_spent;		/* bytes of this extension or trailer section */
	uint8_t		_phase;
	uint8_t		_digits;	/* of the chunk size */
};

/* Makes `body` ready; pass head.body and head.content_length.  `length` matters for BODY_LENGTH only.
 * A body of no bytes is done at once. */
SCONCE_API void sconce_http_body_init(struct sconce_http_body *body,
    enum sconce_http_body_kind kind, uint64_t length);

/* Takes the next `len` bytes of the connection (not those taken before).  Passes over framing, then finds the payload
 * that stands there: `*payload_out` bytes at `buf` + the result.  Both are taken then; with input left and
 * body->done false, call again:
 *
 *	while (len > 0 && !body.done) {
 *		n = sconce_http_body_parse(&body, buf, len, &data);
 *		if (n < 0) ...
 *		pass_on(buf + n, data);
 *		buf += n + data, len -= n + data;
 *	}
 *
 * Every call with len > 0 takes at least one byte until the body is done, and none after.  Chunk extensions
 * and trailer fields are checked, bounded and dropped (RFC 9112 7.1.1, 7.1.2).
 * Returns the number of framing bytes, or -EBADMSG (payload_out untouched; body->error says why; close). */
SCONCE_API ssize_t sconce_http_body_parse(struct sconce_http_body *body, const void *buf, size_t len,
    size_t *payload_out);

/* Says that `n` payload bytes went elsewhere (by splice, say) and will not be given to
 * sconce_http_body_parse. At most body->left: more is misuse and asserts. */
SCONCE_API void sconce_http_body_skip(struct sconce_http_body *body, uint64_t n);

/* The connection has ended.  Returns 0 if the body is complete, which it becomes here if it lasts
 * until close, or -EBADMSG (E_TRUNCATED, or an earlier error): what was passed on must not look
 * complete. */
SCONCE_API int sconce_http_body_eof(struct sconce_http_body *body);

/* ---- Writing --------------------------------------------------------------------------------- */

#define SCONCE_HTTP_CHUNK_HEAD_BYTES	18		/* the longest size line */
#define SCONCE_HTTP_CHUNK_END		"\r\n"		/* stands after the data of a chunk */
#define SCONCE_HTTP_LAST_CHUNK		"0\r\n\r\n"	/* ends the body, with no trailers */
#define SCONCE_HTTP_DATE_BYTES		30		/* with its NUL */

/* Writes the size line of a chunk of `size` bytes to `out` (SCONCE_HTTP_CHUNK_HEAD_BYTES of room, no
 * NUL): send it, the data, and SCONCE_HTTP_CHUNK_END.  A size of 0 would end the body: misuse,
 * asserts.  Returns the length. */
SCONCE_API size_t sconce_http_chunk_head(char *out, uint64_t size);

/* Builds a head in the caller's buffer.  Calls return 0 or the first error of all, which stays:
 * one look at sconce_http_end() is enough. */
struct sconce_http_writer {
	char		*buf;		/* borrowed from init to end */
	size_t		size;		/* bytes of buf */
	size_t		len;		/* bytes written; a failed call adds none */
	int		error;		/* 0, -ENOBUFS or -EINVAL */
};

/* Begins a head in `buf`, which is borrowed until the caller is done with `w`. */
SCONCE_API void sconce_http_writer_init(struct sconce_http_writer *w, void *buf, size_t size);

/* Each of these adds one line (put_fields several) and returns 0, -ENOBUFS (no room) or -EINVAL: a
 * byte that is not allowed there.  CR, LF and NUL never get out: methods and names must be tokens,
 * targets visible ASCII without '#', reasons and values free of control characters but HTAB.
 * Arguments are copied. put_request: `METHOD target HTTP/1.1`. */
SCONCE_API int sconce_http_put_request(struct sconce_http_writer *w, const char *method,
    const char *target);

/* The request line of a parsed request, as HTTP/1.1 and in origin form, whatever form it came in (RFC
 * 9112 3.2.1, 3.2.4). Put Host with head->authority after it. */
SCONCE_API int sconce_http_put_request_of(struct sconce_http_writer *w,
    const struct sconce_http_head *head, const void *buf);

/* `HTTP/1.1 status reason`.  status is 100 to 599.  `reason` NULL means the usual text. */
SCONCE_API int sconce_http_put_status(struct sconce_http_writer *w, int status,
    const char *reason, size_t reason_len);

/* `name: value`, of two strings. */
SCONCE_API int sconce_http_put(struct sconce_http_writer *w, const char *name, const char *value);

/* The same of bytes, with no NUL needed (and none allowed). */
SCONCE_API int sconce_http_put_bytes(struct sconce_http_writer *w, const char *name, size_t name_len,
    const char *value, size_t value_len);

/* `name: list, item`, or `name: item` if the list is empty: for X-Forwarded-For and Via. */
SCONCE_API int sconce_http_put_appended(struct sconce_http_writer *w, const char *name,
    const char *list, size_t list_len, const char *item, size_t item_len);

/* `name: number`, decimal. */
SCONCE_API int sconce_http_put_uint(struct sconce_http_writer *w, const char *name, uint64_t number);

/* `Date: ...` for the time `t`; -EINVAL outside the years 0 to 9999. */
SCONCE_API int sconce_http_put_date(struct sconce_http_writer *w, time_t t);

/* Copies every field of a parsed head that has not `drop` set, in order, as `name: value`.  All or, if
 * they do not fit, none. */
SCONCE_API int sconce_http_put_fields(struct sconce_http_writer *w,
    const struct sconce_http_head *head, const void *buf);

/* The framing of a parsed message in its one normal form: Content-Length if it was sent, else
 * `Transfer-Encoding: chunked` if the body is chunked, else nothing; nothing for 1xx and 204, which
 * may have neither (RFC 9110 8.6).  A sender that turns until-close into chunked writes that itself. */
SCONCE_API int sconce_http_put_framing(struct sconce_http_writer *w,
    const struct sconce_http_head *head);

/* Adds the empty line.  Returns the length of the head in bytes, or the first error of all calls: then
 * send nothing of it. */
SCONCE_API ssize_t sconce_http_end(struct sconce_http_writer *w);

/* The usual reason phrase of a status (RFC 9110 15), "" if it has none.  Static. */
SCONCE_API const char *sconce_http_reason(int status);

/* Writes `t` as an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), and a NUL to `out`
 * (SCONCE_HTTP_DATE_BYTES of room).  Needs no locale or time zone.  Returns 29, or 0 with `out` untouched
 * outside the years 0 to 9999. */
SCONCE_API size_t sconce_http_date(char *out, time_t t);

/* ---- Tokens and lists ------------------------------------------------------------------------ */

/* Whether two texts are equal without regard to the case of ASCII letters. */
SCONCE_API bool sconce_http_equal(const char *a, size_t a_len, const char *b, size_t b_len);

/* Whether `text` is a token: not empty, and of the characters that names and methods may have (RFC
 * 9110 5.6.2). */
SCONCE_API bool sconce_http_is_token(const char *text, size_t len);

/* Walks a comma-separated list of tokens (RFC 9110 5.6.1), passing over empty elements and white
 * space. `*pos` is 0 at first and the caller's otherwise.  Knows no quoted strings. Returns true with
 * the next element (an offset in `list`, never empty, not checked to be a token), false at the end. */
SCONCE_API bool sconce_http_list_next(const char *list, size_t len, size_t *pos,
    struct sconce_http_slice *item_out);

/* Whether a list has an element equal to `token`, without regard to case. */
SCONCE_API bool sconce_http_list_has(const char *list, size_t len, const char *token);

/* Whether `text` is host[:port] as Host and a target's authority may have it (RFC 3986 3.2.2, RFC 9110
 * 7.2): a name without commas, a dotted address, or [IPv6]; a port up to 65535 or none.  No user name,
 * not empty. */
SCONCE_API bool sconce_http_is_authority(const char *text, size_t len);

SCONCE_END_DECLS

#endif
