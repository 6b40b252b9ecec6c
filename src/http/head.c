/* The syntax of a message head (RFC 9112 2 to 5), one pass, resumable at any byte.  What the fields mean is judged in
 * frame.c, called from here as each becomes complete.
 *
 *	request:   START* METHOD TARGET VERSION ( LINE [ NAME BLANK VALUE ] )* END
 *	response:              STATUS REASON    ( LINE ... )*                  END
 *
 * A phase that runs out of input notes where it stands (_at) and where its piece began (_mark).  CR waits
 * for its LF in the phase that found it, so no phase ends between the two. */
#include "chars.h"

#include <assert.h>
#include <errno.h>

enum { START, METHOD, TARGET, VERSION, STATUS, REASON, LINE, NAME, BLANK, VALUE, END };

/* What a piece of the parser tells its caller. */
enum step { MORE, NEXT, REFUSED };

struct scan {
	const unsigned char *base;	/* the buffer */
	const unsigned char *end;	/* of what may be looked at */
	const unsigned char *at;	/* where the last piece ended */
	bool		full;		/* `end` is the limit of the head, not of the input */
};

static void
init(struct sconce_http_head *h, struct sconce_http_field *fields, size_t max_fields, size_t max_bytes)
{
	assert(max_fields > 0 && max_fields <= UINT16_MAX);
	memset(h, 0, sizeof(*h));
	if (max_bytes == 0)
		max_bytes = SCONCE_HTTP_HEAD_BYTES;
	if (max_bytes > SCONCE_HTTP_HEAD_BYTES_MAX)
		max_bytes = SCONCE_HTTP_HEAD_BYTES_MAX;
	h->fields = fields;
	h->_max_fields = (uint16_t)max_fields;
	h->_max_bytes = (uint32_t)max_bytes;
}

void
sconce_http_request_init(struct sconce_http_head *h, struct sconce_http_field *fields, size_t max_fields,
    size_t max_bytes)
{
	init(h, fields, max_fields, max_bytes);
	h->_phase = START;
}

void
sconce_http_response_init(struct sconce_http_head *h, struct sconce_http_field *fields, size_t max_fields,
    size_t max_bytes, enum sconce_http_method answers)
{
	init(h, fields, max_fields, max_bytes);
	h->_phase = STATUS;
	h->response = true;
	h->method_id = answers;
}

static enum step
refuse(struct sconce_http_head *h, enum sconce_http_error error)
{
	h->error = error;
	return REFUSED;
}

/* The input ends at `p`: go on from there, in this phase, when there is more. */
static enum step
wait_at(struct sconce_http_head *h, const struct scan *s, int phase, const unsigned char *mark,
    const unsigned char *p)
{
	h->_phase = (uint8_t)phase;
	h->_at = (uint32_t)(p - s->base);
	h->_mark = (uint32_t)(mark - s->base);
	if (s->full)
		return refuse(h, phase == METHOD || phase == TARGET ?
		    SCONCE_HTTP_E_TARGET_TOO_LONG : SCONCE_HTTP_E_HEAD_TOO_LARGE);
	return MORE;
}

static struct sconce_http_slice
slice(const struct scan *s, const unsigned char *begin, const unsigned char *end)
{
	return (struct sconce_http_slice){ (uint32_t)(begin - s->base), (uint32_t)(end - begin) };
}

/* Up to SCONCE_HTTP_EMPTY_LINES before a request are passed over (RFC 9112 2.2). */
static enum step
scan_empty_lines(struct sconce_http_head *h, struct scan *s)
{
	const unsigned char *p = s->at;

	for (; p < s->end && *p == '\r'; p += 2) {
		if (s->end - p < 2)
			return wait_at(h, s, START, p, p);
		if (p[1] != '\n')
			return refuse(h, SCONCE_HTTP_E_BARE_CR);
		if (++h->_empty_lines > SCONCE_HTTP_EMPTY_LINES)
			return refuse(h, SCONCE_HTTP_E_EMPTY_LINES);
	}
	if (p == s->end)
		return wait_at(h, s, START, p, p);
	if (*p == '\n')
		return refuse(h, SCONCE_HTTP_E_BARE_LF);
	h->begun = true;
	s->at = p;
	return NEXT;
}

static enum step
scan_method(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	const unsigned char *p = http_skip(s->at, s->end, HTTP_TOKEN);

	if (p - mark > (ptrdiff_t)SCONCE_HTTP_METHOD_BYTES)
		return refuse(h, SCONCE_HTTP_E_METHOD_TOO_LONG);
	if (p == s->end)
		return wait_at(h, s, METHOD, mark, p);
	if (*p != ' ' || p == mark)
		return refuse(h, SCONCE_HTTP_E_METHOD);
	h->method = slice(s, mark, p);
	s->at = p + 1;
	return NEXT;
}

static enum step
scan_target(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	const unsigned char *p = http_skip(s->at, s->end, HTTP_TARGET);

	if (p == s->end)
		return wait_at(h, s, TARGET, mark, p);
	if (*p != ' ' || p == mark)
		return refuse(h, SCONCE_HTTP_E_TARGET);
	h->target = slice(s, mark, p);
	s->at = p + 1;
	return NEXT;
}

/* How many of `n` bytes fit `shape`, in which '0' stands for any digit. */
static size_t
fit(const unsigned char *p, size_t n, const char *shape)
{
	size_t i = 0;

	while (i < n && shape[i] != '\0' &&
	    (shape[i] == '0' ? HTTP_IS(p[i], HTTP_DIGIT) : p[i] == (unsigned char)shape[i]))
		i++;
	return i;
}

static bool
version_known(const unsigned char *p)
{
	return p[5] == '1' && p[7] <= '1';
}

static enum step
scan_version(struct sconce_http_head *h, struct scan *s)
{
	static const char shape[] = "HTTP/0.0\r\n";
	const unsigned char *p = s->at;
	size_t n = (size_t)(s->end - p), good;

	if (n < 10 || memcmp(p, "HTTP/1.1\r\n", 10) != 0) {
		good = fit(p, n, shape);
		if (good >= 8 && !version_known(p))
			return refuse(h, SCONCE_HTTP_E_VERSION);
		if (good == n && good < 10)
			return wait_at(h, s, VERSION, p, p);
		if (good == 9)
			return refuse(h, SCONCE_HTTP_E_BARE_CR);
		if (good < 10)
			return refuse(h, p[good] == '\n' ?
			    SCONCE_HTTP_E_BARE_LF : SCONCE_HTTP_E_VERSION_SYNTAX);
	}
	h->minor = (uint8_t)(p[7] - '0');
	s->at = p + 10;
	return NEXT;
}

static enum step
scan_status(struct sconce_http_head *h, struct scan *s)
{
	static const char shape[] = "HTTP/0.0 000 ";
	const unsigned char *p = s->at;
	size_t n = (size_t)(s->end - p), good = fit(p, n, shape);

	h->begun = n > 0;
	if (good >= 8 && !version_known(p))
		return refuse(h, SCONCE_HTTP_E_VERSION);
	if (good >= 10 && (p[9] < '1' || p[9] > '5'))
		return refuse(h, SCONCE_HTTP_E_STATUS_LINE);
	if (good < 13)
		return good == n ? wait_at(h, s, STATUS, p, p) : refuse(h, SCONCE_HTTP_E_STATUS_LINE);
	h->minor = (uint8_t)(p[7] - '0');
	h->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	s->at = p + 13;
	return NEXT;
}

/* A value up to its CRLF; phase is VALUE or REASON. */
static inline __attribute__((always_inline)) enum step
scan_text(struct sconce_http_head *h, struct scan *s, int phase, const unsigned char *mark,
    struct sconce_http_slice *text_out)
{
	const unsigned char *p = http_skip_value(s->at, s->end);

	if (p == s->end)
		return wait_at(h, s, phase, mark, p);
	if (*p != '\r')
		return refuse(h, *p == '\n' ? SCONCE_HTTP_E_BARE_LF : SCONCE_HTTP_E_VALUE);
	if (s->end - p < 2)
		return wait_at(h, s, phase, mark, p);
	if (p[1] != '\n')
		return refuse(h, SCONCE_HTTP_E_BARE_CR);
	s->at = p + 2;
	while (p > mark && HTTP_IS(p[-1], HTTP_BLANK))
		p--;
	*text_out = slice(s, mark, p);
	return NEXT;
}

static enum step
scan_request_line(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	enum sconce_http_error error;
	enum step step;

	switch (h->_phase) {
	case START:
		if ((step = scan_empty_lines(h, s)) != NEXT)
			return step;
		mark = s->at;
		/* fall through */
	case METHOD:
		if ((step = scan_method(h, s, mark)) != NEXT)
			return step;
		mark = s->at;
		/* fall through */
	case TARGET:
		if ((step = scan_target(h, s, mark)) != NEXT)
			return step;
		/* fall through */
	default:
		if ((step = scan_version(h, s)) != NEXT)
			return step;
	}
	error = sconce__http_request_line(h, (const char *)s->base);
	return error == SCONCE_HTTP_OK ? NEXT : refuse(h, error);
}

static enum step
scan_status_line(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	enum step step;

	if (h->_phase == STATUS) {
		if ((step = scan_status(h, s)) != NEXT)
			return step;
		mark = s->at;
	}
	return scan_text(h, s, REASON, mark, &h->reason);
}

/* The byte that ended a name was not a colon. */
static enum sconce_http_error
name_error(unsigned char c, bool empty)
{
	if (HTTP_IS(c, HTTP_BLANK))
		return empty ? SCONCE_HTTP_E_FOLD : SCONCE_HTTP_E_SPACE_BEFORE_COLON;
	return c == '\n' ? SCONCE_HTTP_E_BARE_LF : SCONCE_HTTP_E_NAME;
}

/* A name and its colon (RFC 9112 5.1), into the next free field. */
static enum step
scan_name(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	const unsigned char *p = http_skip(s->at, s->end, HTTP_TOKEN);

	if (p == s->end)
		return wait_at(h, s, NAME, mark, p);
	if (*p != ':' || p == mark)
		return refuse(h, name_error(*p, p == mark));
	if (h->field_count == h->_max_fields)
		return refuse(h, SCONCE_HTTP_E_TOO_MANY_FIELDS);
	h->fields[h->field_count].name = slice(s, mark, p);
	s->at = p + 1;
	return NEXT;
}

static enum step
scan_blank(struct sconce_http_head *h, struct scan *s)
{
	const unsigned char *p = s->at;

	if (s->end - p >= 2 && *p == ' ' && !HTTP_IS(p[1], HTTP_BLANK)) {
		s->at = p + 1;		/* as nearly everybody writes it */
		return NEXT;
	}
	p = http_skip(p, s->end, HTTP_BLANK);
	if (p == s->end)
		return wait_at(h, s, BLANK, p, p);
	s->at = p;
	return NEXT;
}

/* Whether the empty line that ends the head stands here: NEXT if it does not, MORE also at its end (phase END). */
static enum step
scan_end(struct sconce_http_head *h, struct scan *s)
{
	const unsigned char *p = s->at;
	enum sconce_http_error error;

	if (p == s->end)
		return wait_at(h, s, LINE, p, p);
	if (*p != '\r')
		return NEXT;
	if (s->end - p < 2)
		return wait_at(h, s, LINE, p, p);
	if (p[1] != '\n')
		return refuse(h, SCONCE_HTTP_E_BARE_CR);
	error = sconce__http_finish(h, (const char *)s->base);
	if (error != SCONCE_HTTP_OK)
		return refuse(h, error);
	h->_at = (uint32_t)(p + 2 - s->base);
	h->_phase = END;
	return MORE;
}

static enum step
scan_fields(struct sconce_http_head *h, struct scan *s, const unsigned char *mark)
{
	struct sconce_http_field *field;
	enum sconce_http_error error;
	enum step step;
	int phase = h->_phase;

	for (;; phase = LINE) {
		switch (phase) {
		default:
			if ((step = scan_end(h, s)) != NEXT)
				return step;
			mark = s->at;
			/* fall through */
		case NAME:
			if ((step = scan_name(h, s, mark)) != NEXT)
				return step;
			/* fall through */
		case BLANK:
			if ((step = scan_blank(h, s)) != NEXT)
				return step;
			mark = s->at;
			/* fall through */
		case VALUE:
			field = &h->fields[h->field_count];
			if ((step = scan_text(h, s, VALUE, mark, &field->value)) != NEXT)
				return step;
		}
		error = sconce__http_field(h, (const char *)s->base, field);
		if (error != SCONCE_HTTP_OK)
			return refuse(h, error);
		h->field_count++;
	}
}

ssize_t
sconce_http_parse(struct sconce_http_head *h, const void *buf, size_t len)
{
	const unsigned char *base = buf, *mark = base + h->_mark;
	struct scan s = { base, base + len, base + h->_at, false };
	enum step step = NEXT;

	if (h->error != SCONCE_HTTP_OK)
		return -EBADMSG;
	if (h->_phase == END)
		return (ssize_t)h->_at;
	assert(len >= h->_at && "the bytes of the last call come again");
	if (len >= h->_max_bytes) {
		s.full = true;
		s.end = base + h->_max_bytes;
	}
	if (h->_phase < STATUS)
		step = scan_request_line(h, &s, mark);
	else if (h->_phase < LINE)
		step = scan_status_line(h, &s, mark);
	if (step == NEXT) {
		if (h->_phase < LINE)
			h->_phase = LINE;
		step = scan_fields(h, &s, mark);
	}
	if (step == REFUSED)
		return -EBADMSG;
	return h->_phase == END ? (ssize_t)h->_at : 0;
}
