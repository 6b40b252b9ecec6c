/* Byte classes, tokens, lists and authorities: the words that every part of the layer is made of. */
#include "chars.h"

#include <arpa/inet.h>

#define ALPHA(c)	(((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z')
#define DIGIT(c)	((c) >= '0' && (c) <= '9')
#define BLANK(c)	((c) == ' ' || (c) == '\t')
#define VISIBLE(c)	((c) > 0x20 && (c) < 0x7f)
#define TOKEN(c)	(ALPHA(c) || DIGIT(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || \
	(c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' || \
	(c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define HOST(c)		(ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' || \
	(c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || \
	(c) == '*' || (c) == '+' || (c) == ';' || (c) == '=')
#define CLASS(c)	((TOKEN(c) ? HTTP_TOKEN : 0) | (VISIBLE(c) && (c) != '#' ? HTTP_TARGET : 0) | \
	(VISIBLE(c) || BLANK(c) || (c) >= 0x80 ? HTTP_VALUE : 0) | (HOST(c) ? HTTP_HOST : 0) | \
	(DIGIT(c) ? HTTP_DIGIT : 0) | \
	(DIGIT(c) || (ALPHA(c) && ((c) | 0x20) <= 'f') ? HTTP_HEX : 0) | (BLANK(c) ? HTTP_BLANK : 0))
#define FOUR(c)		CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define SIXTEEN(c)	FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const unsigned char sconce__http_class[256] = {
	SIXTEEN(0x00), SIXTEEN(0x10), SIXTEEN(0x20), SIXTEEN(0x30),
	SIXTEEN(0x40), SIXTEEN(0x50), SIXTEEN(0x60), SIXTEEN(0x70),
	SIXTEEN(0x80), SIXTEEN(0x90), SIXTEEN(0xa0), SIXTEEN(0xb0),
	SIXTEEN(0xc0), SIXTEEN(0xd0), SIXTEEN(0xe0), SIXTEEN(0xf0),
};

static unsigned char
lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? u | 0x20 : u;
}

bool
sconce_http_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return false;
	for (size_t i = 0; i < a_len; i++)
		if (a[i] != b[i] && lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool
sconce_http_is_token(const char *text, size_t len)
{
	return len > 0 && http_all(text, len, HTTP_TOKEN);
}

bool
sconce_http_list_next(const char *list, size_t len, size_t *pos, struct sconce_http_slice *item_out)
{
	size_t begin = *pos, end;

	while (begin < len && (list[begin] == ',' || HTTP_IS(list[begin], HTTP_BLANK)))
		begin++;
	end = begin;
	while (end < len && list[end] != ',')
		end++;
	*pos = end;
	if (begin == end)
		return false;
	while (HTTP_IS(list[end - 1], HTTP_BLANK))
		end--;
	item_out->offset = (uint32_t)begin;
	item_out->length = (uint32_t)(end - begin);
	return true;
}

bool
sconce_http_list_has(const char *list, size_t len, const char *token)
{
	struct sconce_http_slice item;
	size_t pos = 0, token_len = strlen(token);

	while (sconce_http_list_next(list, len, &pos, &item))
		if (sconce_http_equal(list + item.offset, item.length, token, token_len))
			return true;
	return false;
}

/* Returns the length of a host name or dotted address at the front of `text`, 0 if there is none. */
static size_t
host_name(const char *text, size_t len)
{
	const unsigned char *begin = (const unsigned char *)text, *p, *end = begin + len;

	p = http_skip(begin, end, HTTP_HOST);
	while (end - p >= 3 && *p == '%' && HTTP_IS(p[1], HTTP_HEX) && HTTP_IS(p[2], HTTP_HEX))
		p = http_skip(p + 3, end, HTTP_HOST);
	return (size_t)(p - begin);
}

/* The same for an address in brackets, IPv6 without a zone (RFC 3986 3.2.2). */
static size_t
host_literal(const char *text, size_t len)
{
	const char *close = memchr(text, ']', len);
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	size_t n;

	if (close == NULL)
		return 0;
	n = (size_t)(close - text) - 1;
	if (n >= sizeof(address))
		return 0;
	memcpy(address, text + 1, n);
	address[n] = '\0';
	/* A NUL inside would hide what follows it. */
	return strlen(address) == n && inet_pton(AF_INET6, address, &ignored) == 1 ? n + 2 : 0;
}

/* An empty port is one (RFC 3986 3.2.3). */
static bool
is_port(const char *text, size_t len)
{
	unsigned port = 0;

	for (size_t i = 0; i < len; i++) {
		if (!HTTP_IS(text[i], HTTP_DIGIT))
			return false;
		port = port * 10 + (unsigned)(text[i] - '0');
		if (port > 65535)
			return false;
	}
	return true;
}

bool
sconce_http_is_authority(const char *text, size_t len)
{
	size_t n;

	if (len == 0)
		return false;
	n = text[0] == '[' ? host_literal(text, len) : host_name(text, len);
	if (n == 0)
		return false;
	return n == len || (text[n] == ':' && is_port(text + n + 1, len - n - 1));
}
