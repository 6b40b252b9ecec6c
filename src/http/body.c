/* Message bodies: where payload stands between the framing (RFC 9112 6.3, 7.1).
 *
 *	SIZE [ ;EXT ] SIZE_LF DATA DATA_CR DATA_LF SIZE ...      "0" [ ;EXT ] SIZE_LF
 *	   TRAILER [ NAME VALUE VALUE_LF TRAILER ]* END_LF
 *
 * Every phase takes single bytes, so any byte may be the last of a call; only DATA takes many. */
#include "chars.h"

#include <assert.h>
#include <errno.h>

enum { DATA, SIZE, EXT_FIRST, EXT, SIZE_LF, DATA_CR, DATA_LF, TRAILER, NAME, VALUE, VALUE_LF, END_LF };

void
sconce_http_body_init(struct sconce_http_body *b, enum sconce_http_body_kind kind, uint64_t length)
{
	memset(b, 0, sizeof(*b));
	b->kind = kind;
	switch (kind) {
	case SCONCE_HTTP_BODY_NONE:
		b->done = true;
		break;
	case SCONCE_HTTP_BODY_LENGTH:
		b->left = length;
		b->done = length == 0;
		break;
	case SCONCE_HTTP_BODY_CHUNKED:
		b->_phase = SIZE;
		break;
	case SCONCE_HTTP_BODY_UNTIL_CLOSE:
		b->left = UINT64_MAX;
		break;
	}
}

static bool
refuse(struct sconce_http_body *b, enum sconce_http_error error)
{
	b->error = error;
	return false;
}

/* To the next phase if `c` is the one byte that leads there. */
static bool
only(struct sconce_http_body *b, unsigned char c, unsigned char wanted, int next, enum sconce_http_error error)
{
	if (c != wanted)
		return refuse(b, error);
	b->_phase = (uint8_t)next;
	return true;
}

/* One more byte of a section that has a limit. */
static bool
spend(struct sconce_http_body *b, unsigned limit, enum sconce_http_error error)
{
	return ++b->_spent <= limit || refuse(b, error);
}

/* 1 to 16 hex digits, no sign, no 0x, no white space (RFC 9112 7.1). */
static bool
size_byte(struct sconce_http_body *b, unsigned char c)
{
	if (HTTP_IS(c, HTTP_HEX)) {
		if (++b->_digits > 16)
			return refuse(b, SCONCE_HTTP_E_CHUNK_SIZE);
		b->left = b->left << 4 | http_hex(c);
		return b->left <= SCONCE_HTTP_LENGTH_MAX || refuse(b, SCONCE_HTTP_E_CHUNK_TOO_LARGE);
	}
	if (b->_digits == 0)
		return refuse(b, SCONCE_HTTP_E_CHUNK_SIZE);
	if (c == '\r')
		b->_phase = SIZE_LF;
	else if (c == ';')
		b->_phase = EXT_FIRST;
	else
		return refuse(b, c == '\n' ? SCONCE_HTTP_E_BARE_LF : SCONCE_HTTP_E_CHUNK_SIZE);
	return true;
}

/* What an extension says is nobody's business here; where it ends is (RFC 9112 7.1.1). */
static bool
extension_byte(struct sconce_http_body *b, unsigned char c)
{
	if (c == '\n')
		return refuse(b, SCONCE_HTTP_E_BARE_LF);
	if (c == '\r' && b->_phase == EXT) {
		b->_phase = SIZE_LF;
		return true;
	}
	if (!HTTP_IS(c, HTTP_VALUE))
		return refuse(b, SCONCE_HTTP_E_CHUNK_EXTENSION);
	b->_phase = EXT;
	return spend(b, SCONCE_HTTP_EXTENSION_BYTES, SCONCE_HTTP_E_CHUNK_EXTENSION);
}

static bool
size_end(struct sconce_http_body *b, unsigned char c)
{
	b->_spent = 0;
	b->_digits = 0;
	return only(b, c, '\n', b->left > 0 ? DATA : TRAILER, SCONCE_HTTP_E_BARE_CR);
}

/* A trailer field, checked as a header field would be and dropped (RFC 9112 7.1.2). */
static bool
trailer_byte(struct sconce_http_body *b, unsigned char c)
{
	if (!spend(b, SCONCE_HTTP_TRAILER_BYTES, SCONCE_HTTP_E_TRAILER_TOO_LARGE))
		return false;
	if (c == '\n')
		return refuse(b, SCONCE_HTTP_E_BARE_LF);
	switch (b->_phase) {
	case TRAILER:
		if (c == '\r') {
			b->_phase = END_LF;
			return true;
		}
		if (!HTTP_IS(c, HTTP_TOKEN))
			return refuse(b, SCONCE_HTTP_E_TRAILER);
		b->_phase = NAME;
		return true;
	case NAME:
		return HTTP_IS(c, HTTP_TOKEN) || only(b, c, ':', VALUE, SCONCE_HTTP_E_TRAILER);
	default:
		return HTTP_IS(c, HTTP_VALUE) || only(b, c, '\r', VALUE_LF, SCONCE_HTTP_E_TRAILER);
	}
}

/* One byte of framing.  False if it is refused. */
static bool
framing_byte(struct sconce_http_body *b, unsigned char c)
{
	switch (b->_phase) {
	case SIZE:
		return size_byte(b, c);
	case EXT_FIRST:
	case EXT:
		return extension_byte(b, c);
	case SIZE_LF:
		return size_end(b, c);
	case DATA_CR:
		return only(b, c, '\r', DATA_LF, SCONCE_HTTP_E_CHUNK_END);
	case DATA_LF:
		return only(b, c, '\n', SIZE, SCONCE_HTTP_E_BARE_CR);
	case VALUE_LF:
		return only(b, c, '\n', TRAILER, SCONCE_HTTP_E_BARE_CR);
	case END_LF:
		b->done = c == '\n';
		return b->done || refuse(b, SCONCE_HTTP_E_BARE_CR);
	default:
		return trailer_byte(b, c);
	}
}

void
sconce_http_body_skip(struct sconce_http_body *b, uint64_t n)
{
	assert(n <= b->left && "only payload can be skipped");
	if (n == 0 || b->kind == SCONCE_HTTP_BODY_UNTIL_CLOSE)
		return;
	b->left -= n;
	if (b->left > 0)
		return;
	if (b->kind == SCONCE_HTTP_BODY_CHUNKED)
		b->_phase = DATA_CR;
	else
		b->done = true;
}

ssize_t
sconce_http_body_parse(struct sconce_http_body *b, const void *buf, size_t len, size_t *payload_out)
{
	const unsigned char *p = buf;
	size_t i = 0, payload = 0;

	if (b->error != SCONCE_HTTP_OK)
		return -EBADMSG;
	while (i < len && b->_phase != DATA && !b->done)
		if (!framing_byte(b, p[i++]))
			return -EBADMSG;
	if (i < len && !b->done) {
		payload = len - i < b->left ? len - i : (size_t)b->left;
		sconce_http_body_skip(b, payload);
	}
	*payload_out = payload;
	return (ssize_t)i;
}

int
sconce_http_body_eof(struct sconce_http_body *b)
{
	if (b->error == SCONCE_HTTP_OK && b->kind == SCONCE_HTTP_BODY_UNTIL_CLOSE) {
		b->left = 0;
		b->done = true;
	}
	if (b->done)
		return 0;
	if (b->error == SCONCE_HTTP_OK)
		b->error = SCONCE_HTTP_E_TRUNCATED;
	return -EBADMSG;
}

size_t
sconce_http_chunk_head(char *out, uint64_t size)
{
	size_t n = 1, i;

	assert(size > 0 && "a chunk of no bytes ends the body");
	while (n < 16 && size >> (4 * n) != 0)
		n++;
	for (i = n; i > 0; i--, size >>= 4)
		out[i - 1] = "0123456789abcdef"[size & 15];
	out[n] = '\r';
	out[n + 1] = '\n';
	return n + 2;
}
