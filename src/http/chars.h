/* Classes of bytes, one bit each, and what the files of this layer share. */
#ifndef SCONCE_HTTP_CHARS_H
#define SCONCE_HTTP_CHARS_H

#include <sconce/http.h>

#include <string.h>

enum {
	HTTP_TOKEN	= 1,		/* tchar (RFC 9110 5.6.2) */
	HTTP_TARGET	= 2,		/* visible ASCII but '#', which no target may have (RFC 9112 3.2) */
	HTTP_VALUE	= 4,		/* HTAB, SP, visible ASCII, obs-text (RFC 9110 5.5) */
	HTTP_HOST	= 8,		/* unreserved and sub-delims but ',' (RFC 3986 2) */
	HTTP_DIGIT	= 16,
	HTTP_HEX	= 32,
	HTTP_BLANK	= 64,		/* SP and HTAB */
};

#pragma GCC visibility push(hidden)		/* spares position-independent code a detour */

extern const unsigned char sconce__http_class[256];

#define HTTP_IS(c, class) ((sconce__http_class[(unsigned char)(c)] & (class)) != 0)

/* A 0x20 in every byte of a word, say, is HTTP_BYTES(0x20). */
#define HTTP_BYTES(c) ((uint64_t)(c) * UINT64_C(0x0101010101010101))

/* The value of a hex digit. */
static inline unsigned
http_hex(unsigned char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (c | 0x20u) - 'a' + 10u;
}

/* Eight bytes as a number with the first in its lowest bits. */
static inline uint64_t
http_load(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

/* Returns the first byte of [p, end) that is not of `class`, or `end`. */
static inline const unsigned char *
http_skip(const unsigned char *p, const unsigned char *end, int class)
{
	for (; end - p >= 4; p += 4) {
		if (!HTTP_IS(p[0], class))
			return p;
		if (!HTTP_IS(p[1], class))
			return p + 1;
		if (!HTTP_IS(p[2], class))
			return p + 2;
		if (!HTTP_IS(p[3], class))
			return p + 3;
	}
	while (p < end && HTTP_IS(*p, class))
		p++;
	return p;
}

/* Whether two words differ in more than the case of letters.  In tokens 0x20 tells the case of a letter, and tells
 * apart nothing that a name known here could be taken for. */
static inline bool
http_differ(const char *a, const char *b, size_t size)
{
	uint64_t x = 0, y = 0;

	memcpy(&x, a, size);
	memcpy(&y, b, size);
	return ((x ^ y) & ~HTTP_BYTES(0x20)) != 0;
}

/* Whether the token at `p` is `known`, of at least 4 letters and hyphens.  The last word may overlap the one before. */
static inline bool
http_same_token(const char *p, const char *known, size_t len)
{
	if (len < 8)
		return !http_differ(p, known, 4) && !http_differ(p + len - 4, known + len - 4, 4);
	for (size_t i = 0; i + 8 < len; i += 8)
		if (http_differ(p + i, known + i, 8))
			return false;
	return !http_differ(p + len - 8, known + len - 8, 8);
}

/* Returns the first byte of [p, end) that no value may have, or `end`.  Eight bytes at a time: the high bit of a byte of
 * `odd` tells that it is below 0x20, 0x7f or above.  Carries run upwards, so the lowest such byte is
 * exact, and the table has the last word on it. */
static inline const unsigned char *
http_skip_value(const unsigned char *p, const unsigned char *end)
{
	while (end - p >= 8) {
		uint64_t x = http_load(p);
		uint64_t odd = (x | (x - HTTP_BYTES(0x20)) | (x + HTTP_BYTES(1))) & HTTP_BYTES(0x80);

		if (odd == 0) {
			p += 8;
			continue;
		}
		p += __builtin_ctzll(odd) / 8;
		if (!HTTP_IS(*p, HTTP_VALUE))
			return p;
		p++;
	}
	return http_skip(p, end, HTTP_VALUE);
}

/* Whether all bytes are of a class; true for none. */
static inline bool
http_all(const char *text, size_t len, int class)
{
	for (size_t i = 0; i < len; i++)
		if (!HTTP_IS(text[i], class))
			return false;
	return true;
}

/* The id of a field name, OTHER if it has none (fields.c). */
enum sconce_http_id sconce__http_id(const char *name, size_t len);

/* Judge the request line, one field, the whole head (frame.c).  `base` is the buffer that slices count
 * from.  Each returns OK or why the message must be refused. */
enum sconce_http_error sconce__http_request_line(struct sconce_http_head *head, const char *base);
enum sconce_http_error sconce__http_field(struct sconce_http_head *head, const char *base,
    struct sconce_http_field *field);
enum sconce_http_error sconce__http_finish(struct sconce_http_head *head, const char *base);

#pragma GCC visibility pop

#endif
