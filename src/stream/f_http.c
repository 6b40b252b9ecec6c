/* HTTP/1 messages as records: sconce_filter_http().  What is a message, and what is wrong with one, sconce/http.h
 * knows; here is only when a record is whole.
 *
 *	HEAD --(the head is whole)--> HEAD                   there is no body
 *	                              WHOLE   --> HEAD       collected; one record
 *	                              PIECES  --> HEAD       a record for each piece that arrives
 *	                              ASKED   --> HEAD       want() says how much of it is the next record
 *	FOLDED: a folded line was found, and is joined when the head is whole.     REFUSED: no way on.
 *
 * RFC 9112.  A connection between two messages keeps no memory. */
#include "filter_private.h"

#include <sconce/http.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct http {
	struct sconce_filter base;
	struct sconce_http_options opts;
};

/* The message that is read, or that of the last record. */
struct message {
	struct sconce_http_head head;
	struct sconce_http_body body;
	struct sconce_http_record record;
	size_t wire;			/* bytes of the input that the head has */
	size_t parsed;			/* bytes of the input that were looked at, from its first */
	uint64_t payload;		/* of the body, so far */
	struct sconce__scan scan;	/* for the end of a head that is folded */
	char *joined;			/* that head, its lines joined */
	char answer[512];		/* to one that is refused */
	struct sconce_http_field fields[SCONCE_HTTP_FIELDS];
};

enum phase { HEAD, FOLDED, WHOLE, PIECES, ASKED, REFUSED };

struct http_state {
	struct message *message;	/* NULL between two */
	enum phase phase;
	bool begun;			/* the message has been looked at */
	unsigned empty_lines;		/* in front of it */
	bool wanted;			/* want() has been called, */
	size_t want;			/* for that many bytes */
	uint64_t rest;			/* of the body, that may be asked for; UINT64_MAX: who knows */
	int error;			/* of a REFUSED input */
	const char *why;
};

/* What the functions below work on. */
struct work {
	const struct http *http;
	struct http_state *st;
	struct message *m;		/* st->message */
	struct sconce_input *in;
	struct sconce_record *rec_out;
};

static const size_t no_borders[] = { 0, 0, 1, 2 };
static const struct sconce__needle head_end = { "\r\n\r\n", 4, no_borders };

static const struct sconce_filter_ops http_ops;

static const struct http *
http_of(const struct sconce_filter *f)
{
	assert(f->ops == &http_ops);
	return SCONCE_CONTAINER_OF(f, const struct http, base);
}

/* ---- messages ---- */

static size_t
head_max(const struct http *h)
{
	size_t max = sconce_filter_max_record(&h->base);

	return max < SCONCE_HTTP_HEAD_BYTES ? max : SCONCE_HTTP_HEAD_BYTES;
}

/* Payload; UINT64_MAX: any number. */
static uint64_t
body_max(const struct http *h)
{
	if (h->opts.max_body > 0)
		return h->opts.max_body;
	return h->opts.mode == SCONCE_HTTP_WHOLE ? sconce_filter_max_record(&h->base) : UINT64_MAX;
}

static void
message_free(struct http_state *st)
{
	if (st->message != NULL)
		free(st->message->joined);
	free(st->message);
	st->message = NULL;
}

static void
head_init(const struct http *h, struct message *m)
{
	if (h->opts.responses)
		sconce_http_response_init(&m->head, m->fields, SCONCE_HTTP_FIELDS, head_max(h),
			h->opts.answers_head ? SCONCE_HTTP_HEAD : SCONCE_HTTP_GET);
	else
		sconce_http_request_init(&m->head, m->fields, SCONCE_HTTP_FIELDS, head_max(h));
}

/* Makes the message ready for the next head. */
static int
message_begin(struct work *w)
{
	struct message *m = w->st->message;

	if (m == NULL) {
		w->st->message = m = malloc(sizeof(*m));
		if (m == NULL)
			return -ENOMEM;
		m->joined = NULL;
	}
	free(m->joined);
	m->joined = NULL;
	m->parsed = 0;
	m->scan = (struct sconce__scan){ 0, 0 };
	m->record = (struct sconce_http_record){ .head = &m->head };
	m->payload = 0;
	head_init(w->http, m);
	w->m = m;
	w->st->begun = true;
	return 0;
}

/* ---- refusing ---- */

/* The whole of what a client is to get; its connection is to be closed. */
static size_t
write_answer(char *buf, size_t size, int status, const char *why)
{
	struct sconce_http_writer w;
	size_t len = strlen(why);
	ssize_t n;

	sconce_http_writer_init(&w, buf, size - len - 1);
	sconce_http_put_status(&w, status, NULL, 0);
	sconce_http_put_date(&w, time(NULL));
	sconce_http_put(&w, "Content-Type", "text/plain");
	sconce_http_put_uint(&w, "Content-Length", len + 1);
	sconce_http_put(&w, "Connection", "close");
	n = sconce_http_end(&w);
	assert(n > 0 && "there is room for an answer");
	memcpy(buf + n, why, len);
	buf[(size_t)n + len] = '\n';
	return (size_t)n + len + 1;
}

static int
refuse(struct work *w, int status, const char *why)
{
	struct http_state *st = w->st;
	size_t len;

	st->phase = REFUSED;
	st->error = status == 413 || status == 414 || status == 431 ? -EMSGSIZE : -EBADMSG;
	st->why = why;
	if (!w->http->opts.error_records)
		return sconce__filter_fail(w->in, st->error, why);
	len = write_answer(w->m->answer, sizeof(w->m->answer), status, why);
	w->m->record = (struct sconce_http_record){ .status = status };
	*w->rec_out = sconce_record_of(w->m->answer, len);
	w->rec_out->flags = SCONCE_RECORD_ERROR;
	w->rec_out->detail = &w->m->record;
	return SCONCE_FILTER_RECORD;
}

static int
refuse_error(struct work *w, enum sconce_http_error error)
{
	return refuse(w, sconce_http_error_status(error), sconce_http_error_text(error));
}

static int
refuse_too_large(struct work *w)
{
	return refuse(w, 413, "content too large");
}

/* ---- records ---- */

/* `len` bytes at `data`, for which `taken` bytes of the input go. */
static int
give(struct work *w, const void *data, size_t len, size_t taken, unsigned flags)
{
	*w->rec_out = sconce_record_of(data, len);
	w->rec_out->flags = flags;
	if (flags & SCONCE_RECORD_HEAD)
		w->rec_out->detail = &w->m->record;
	sconce_input_take(w->in, taken);
	if (flags & SCONCE_RECORD_END) {
		w->st->phase = HEAD;
		w->st->begun = false;
		w->st->empty_lines = 0;
	}
	return SCONCE_FILTER_RECORD;
}

static int
give_head(struct work *w, enum phase next)
{
	struct message *m = w->m;
	bool end = m->head.body == SCONCE_HTTP_BODY_NONE;

	w->st->phase = next;
	w->st->rest = m->head.body == SCONCE_HTTP_BODY_LENGTH ? m->head.content_length : UINT64_MAX;
	return give(w, m->joined != NULL ? m->joined : w->in->data, m->record.head_len, m->wire,
		SCONCE_RECORD_HEAD | (end ? SCONCE_RECORD_END : 0));
}

/* A head and its body, `n` bytes of the input.  Behind lines that were joined the body must be copied too. */
static int
give_whole(struct work *w, size_t n)
{
	struct message *m = w->m;
	size_t head = m->record.head_len, body = n - m->wire;
	unsigned flags = SCONCE_RECORD_HEAD | SCONCE_RECORD_END;
	char *p;

	if (m->joined == NULL)
		return give(w, w->in->data, n, n, flags);
	p = realloc(m->joined, head + body);
	if (p == NULL)
		return -ENOMEM;
	m->joined = p;
	memcpy(p + head, w->in->data + m->wire, body);
	return give(w, p, head + body, n, flags);
}

/* ---- bodies ---- */

/* Looks how much of a chunked body has arrived, at one byte too much at the most, so that what it finds does not
 * depend on how it arrives.  The framing counts: it is in the record. */
static int
pass_chunks(struct work *w)
{
	struct message *m = w->m;
	struct sconce_input *in = w->in;
	uint64_t max = body_max(w->http);

	while (!m->body.done && m->parsed < in->len) {
		size_t len = in->len - m->parsed, payload;
		uint64_t room = max - (m->parsed - m->wire);
		ssize_t n;

		if (len > room)
			len = (size_t)room + 1;
		n = sconce_http_body_parse(&m->body, in->data + m->parsed, len, &payload);
		if (n < 0)
			return refuse_error(w, m->body.error);
		m->parsed += (size_t)n + payload;
		if (m->parsed - m->wire > max)
			return refuse_too_large(w);
	}
	return SCONCE_FILTER_MORE;
}

/* Somebody else has taken bytes of a message that is not whole, at the end of input for instance: what is left begins
 * another. */
static int
begin_again(struct work *w)
{
	w->st->phase = HEAD;
	w->st->begun = false;
	return SCONCE_FILTER_SKIP;
}

static int
get_whole(struct work *w)
{
	struct message *m = w->m;
	size_t body = w->in->len - m->wire;	/* with what may stand behind it */
	int r;

	if (w->in->len < m->parsed)
		return begin_again(w);
	switch (m->head.body) {
	case SCONCE_HTTP_BODY_NONE:
		return give_whole(w, m->wire);
	case SCONCE_HTTP_BODY_LENGTH:
		if (body < m->head.content_length)
			return SCONCE_FILTER_MORE;
		return give_whole(w, m->wire + (size_t)m->head.content_length);
	case SCONCE_HTTP_BODY_CHUNKED:
		r = pass_chunks(w);
		return r == SCONCE_FILTER_MORE && m->body.done ? give_whole(w, m->parsed) : r;
	case SCONCE_HTTP_BODY_UNTIL_CLOSE:
		if (body > body_max(w->http))
			return refuse_too_large(w);
		return w->in->ended ? give_whole(w, w->in->len) : SCONCE_FILTER_MORE;
	}
	return -EBADMSG;
}

/* The input has ended inside a body: that is the body's end, or it is not whole. */
static int
get_end(struct work *w)
{
	if (sconce_http_body_eof(&w->m->body) < 0)
		return refuse_error(w, w->m->body.error);
	return give(w, "", 0, 0, SCONCE_RECORD_BODY | SCONCE_RECORD_END);
}

static int
get_piece(struct work *w)
{
	struct message *m = w->m;
	struct sconce_input *in = w->in;
	size_t max = sconce_filter_max_record(&w->http->base), payload = 0;
	uint64_t allowed = body_max(w->http) - m->payload;
	const char *data = in->data;
	ssize_t n;

	if (in->len == 0)
		return in->ended ? get_end(w) : SCONCE_FILTER_MORE;
	if (allowed > 0 && allowed < max)
		max = (size_t)allowed;		/* what is within the limit is given, however it arrived */
	n = sconce_http_body_parse(&m->body, data, in->len < max ? in->len : max, &payload);
	if (n < 0)
		return refuse_error(w, m->body.error);
	m->payload += payload;
	if (m->payload > body_max(w->http))
		return refuse_too_large(w);
	if (payload > 0 || m->body.done)
		return give(w, data + n, payload, (size_t)n + payload,
			SCONCE_RECORD_BODY | (m->body.done ? SCONCE_RECORD_END : 0));
	sconce_input_take(in, (size_t)n);
	return SCONCE_FILTER_SKIP;
}

static int
get_asked(struct work *w)
{
	struct http_state *st = w->st;

	if (!st->wanted || w->in->len < st->want)
		return SCONCE_FILTER_MORE;
	st->wanted = false;
	if (st->rest != UINT64_MAX)
		st->rest -= st->want < st->rest ? st->want : st->rest;
	return give(w, w->in->data, st->want, st->want, SCONCE_RECORD_BODY | (st->rest == 0 ? SCONCE_RECORD_END : 0));
}

/* ---- heads ---- */

/* The sender has coded a content, and does not say how long it is (RFC 9110 15.5.12). */
static bool
lacks_length(const struct message *m, const char *data)
{
	return !m->head.response && m->head.minor > 0 && m->head.body == SCONCE_HTTP_BODY_NONE && !m->head.has_length &&
		sconce_http_find(&m->head, data, "Content-Encoding", 0) >= 0;
}

/* A head has been parsed, which `wire` bytes of the input are. */
static int
head_done(struct work *w, size_t wire, const char *data, size_t len)
{
	struct message *m = w->m;

	m->wire = m->parsed = wire;
	m->record.head_len = len;
	if (lacks_length(m, data))
		return refuse(w, 411, "content without a length");
	if (m->head.body == SCONCE_HTTP_BODY_LENGTH && m->head.content_length > body_max(w->http))
		return refuse_too_large(w);
	sconce_http_body_init(&m->body, m->head.body, m->head.content_length);
	switch (w->http->opts.mode) {
	case SCONCE_HTTP_HEAD_ONLY:
		return give_head(w, ASKED);
	case SCONCE_HTTP_STREAMING:
		return give_head(w, PIECES);
	default:
		w->st->phase = WHOLE;
		return SCONCE_FILTER_SKIP;
	}
}

/* "GET /path" alone, the only request of HTTP/0.9.  It is parsed as the same of HTTP/1.0, whose beginning it is. */
static int
get_http09(struct work *w)
{
	static const char rest[] = " HTTP/1.0\r\n\r\n";
	struct message *m = w->m;
	const char *data = w->in->data, *cr = memchr(data, '\r', w->in->len);
	size_t len = cr != NULL ? (size_t)(cr - data) : 0;
	ssize_t n;
	char *text;

	if (cr != NULL && len + 1 == w->in->len)
		return SCONCE_FILTER_MORE;
	if (cr == NULL || cr[1] != '\n' || len < 5 || memcmp(data, "GET /", 5) != 0)
		return refuse_error(w, SCONCE_HTTP_E_TARGET);
	text = malloc(len + sizeof(rest));
	if (text == NULL)
		return -ENOMEM;
	memcpy(text, data, len);
	memcpy(text + len, rest, sizeof(rest));
	head_init(w->http, m);
	n = sconce_http_parse(&m->head, text, len + sizeof(rest) - 1);
	free(text);
	if (n <= 0)
		return refuse_error(w, n < 0 ? m->head.error : SCONCE_HTTP_E_TARGET);
	m->record.http09 = true;
	return head_done(w, len + 2, data, len + 2);
}

/* RFC 9112 5.2: the end of a line and the white space around it become one space, where the next line begins with
 * white space.  The first line is no field, and what follows it is refused (2.2).  Returns the new length, 0 then. */
static size_t
join_lines(char *out, const char *data, size_t len)
{
	size_t n = 0;
	bool first = true;

	for (size_t i = 0; i < len; i++) {
		bool end = data[i] == '\n' && i > 0 && data[i - 1] == '\r';

		out[n++] = data[i];
		if (!end || i + 1 == len || (data[i + 1] != ' ' && data[i + 1] != '\t')) {
			first = first && !end;
			continue;
		}
		if (first)
			return 0;
		for (n -= 2; n > 0 && (out[n - 1] == ' ' || out[n - 1] == '\t'); n--)
			;
		while (data[i + 1] == ' ' || data[i + 1] == '\t')
			i++;
		out[n++] = ' ';
	}
	return n;
}

static int
get_folded(struct work *w)
{
	struct message *m = w->m;
	size_t wire, len;
	ssize_t n;

	if (!sconce__needle_find(&head_end, &m->scan, w->in, &wire)) {
		if (m->scan.at < head_max(w->http))
			return SCONCE_FILTER_MORE;
		return refuse_error(w, SCONCE_HTTP_E_HEAD_TOO_LARGE);
	}
	wire += head_end.len;
	if (wire > head_max(w->http))
		return refuse_error(w, SCONCE_HTTP_E_HEAD_TOO_LARGE);
	m->joined = malloc(wire);
	if (m->joined == NULL)
		return -ENOMEM;
	len = join_lines(m->joined, w->in->data, wire);
	head_init(w->http, m);
	n = len > 0 ? sconce_http_parse(&m->head, m->joined, len) : 0;
	if (n <= 0)
		return refuse_error(w, n < 0 ? m->head.error : SCONCE_HTTP_E_FOLD);
	return head_done(w, wire, m->joined, len);
}

/* Empty lines before a request do not belong to it (RFC 9112 2.2).  False: there are too many. */
static bool
skip_empty_lines(struct work *w)
{
	while (w->in->len >= 2 && memcmp(w->in->data, "\r\n", 2) == 0) {
		if (++w->st->empty_lines > SCONCE_HTTP_EMPTY_LINES)
			return false;
		sconce_input_take(w->in, 2);
	}
	return true;
}

static int
head_refused(struct work *w)
{
	const struct sconce_http_options *o = &w->http->opts;

	if (w->m->head.error == SCONCE_HTTP_E_FOLD && o->unfold) {
		w->st->phase = FOLDED;
		return SCONCE_FILTER_SKIP;
	}
	if (w->m->head.error == SCONCE_HTTP_E_TARGET && o->http09)
		return get_http09(w);
	return refuse_error(w, w->m->head.error);
}

static int
get_head(struct work *w)
{
	struct http_state *st = w->st;
	bool good = st->begun || w->http->opts.responses || skip_empty_lines(w);
	ssize_t n;

	if (st->begun && w->in->len < w->m->parsed)
		return begin_again(w);
	if (w->in->len == 0)
		message_free(st);
	if (w->in->len == 0 || (!st->begun && w->in->len == 1 && w->in->data[0] == '\r'))
		return SCONCE_FILTER_MORE;
	if (!st->begun && message_begin(w) < 0)
		return -ENOMEM;
	if (!good)
		return refuse_error(w, SCONCE_HTTP_E_EMPTY_LINES);
	n = sconce_http_parse(&w->m->head, w->in->data, w->in->len);
	w->m->parsed = w->in->len;
	if (n < 0)
		return head_refused(w);
	return n == 0 ? SCONCE_FILTER_MORE : head_done(w, (size_t)n, w->in->data, (size_t)n);
}

/* ---- the filter ---- */

static int
http_get(const struct sconce_filter *f, void *state, struct sconce_input *in, struct sconce_record *rec_out)
{
	struct http_state *st = state;
	struct work w = { http_of(f), st, st->message, in, rec_out };

	switch (st->phase) {
	case HEAD:
		return get_head(&w);
	case FOLDED:
		return get_folded(&w);
	case WHOLE:
		return get_whole(&w);
	case PIECES:
		return get_piece(&w);
	case ASKED:
		return get_asked(&w);
	case REFUSED:
		break;
	}
	return sconce__filter_fail(in, st->error, st->why);
}

static int
http_want(const struct sconce_filter *f, void *state, uint64_t n)
{
	struct http_state *st = state;

	if (http_of(f)->opts.mode != SCONCE_HTTP_HEAD_ONLY)
		return -EINVAL;
	if (st->wanted || (st->phase != ASKED && (st->phase != HEAD || st->begun)))
		return -EBUSY;
	if (n > sconce_filter_max_record(f))
		return -EMSGSIZE;
	if (st->phase == HEAD)
		st->rest = 0;
	st->wanted = n > 0;
	st->want = (size_t)n;
	st->phase = n > 0 ? ASKED : HEAD;
	st->begun = false;
	return 0;
}

static void
http_fini(const struct sconce_filter *f, void *state)
{
	(void)f;
	message_free(state);
}

static void
http_free(struct sconce_filter *f)
{
	free(SCONCE_CONTAINER_OF(f, struct http, base));
}

static const struct sconce_filter_ops http_ops = {
	.name = "http", .flags = SCONCE_FILTER_RETURNS_LAST, .state_size = sizeof(struct http_state),
	.fini = http_fini, .get = http_get, .want = http_want, .free = http_free,
};

int
sconce_filter_http(const struct sconce_http_options *opts, struct sconce_filter **filter_out)
{
	struct http *h;

	if (opts != NULL && ((unsigned)opts->mode > SCONCE_HTTP_STREAMING ||
	    (opts->responses ? opts->http09 || opts->error_records : opts->answers_head)))
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	sconce_filter_init(&h->base, &http_ops);
	if (opts != NULL)
		h->opts = *opts;
	*filter_out = &h->base;
	return 0;
}
