/* What a head means: where its body ends, whether the connection goes on, what must not be forwarded
 * (RFC 9112 3.2, 6.3, 9.3; RFC 9110 7.6.1).  Called by head.c as the pieces become complete. */
#include "chars.h"

enum { CLOSE = 1, KEEP_ALIVE = 2, UPGRADE = 4, OTHERS = 8 };	/* head->_options */

#define HOP_BY_HOP(id)	((id) >= SCONCE_HTTP_ID_CONNECTION)
#define SEEN(h, id)	(((h)->_seen & (1u << (id))) != 0)

/* ---- The request line ---- */

static enum sconce_http_method
method_of(const char *text, size_t len)
{
	static const struct { const char *name; enum sconce_http_method id; } methods[] = {
		{ "GET", SCONCE_HTTP_GET }, { "POST", SCONCE_HTTP_POST },
		{ "HEAD", SCONCE_HTTP_HEAD }, { "PUT", SCONCE_HTTP_PUT },
		{ "DELETE", SCONCE_HTTP_DELETE }, { "OPTIONS", SCONCE_HTTP_OPTIONS },
		{ "PATCH", SCONCE_HTTP_PATCH }, { "TRACE", SCONCE_HTTP_TRACE },
		{ "CONNECT", SCONCE_HTTP_CONNECT },
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (methods[i].name[0] == text[0] && strncmp(methods[i].name, text, len) == 0 &&
		    methods[i].name[len] == '\0')
			return methods[i].id;
	return SCONCE_HTTP_OTHER;
}

/* http://authority[/path][?query]: the authority replaces Host (RFC 9112 3.2.2). */
static enum sconce_http_error
absolute_form(struct sconce_http_head *h, const char *text, size_t len)
{
	size_t begin, end;

	if (len >= 7 && sconce_http_equal(text, 7, "http://", 7))
		begin = 7;
	else if (len >= 8 && sconce_http_equal(text, 8, "https://", 8))
		begin = 8;
	else
		return SCONCE_HTTP_E_TARGET;
	for (end = begin; end < len && text[end] != '/' && text[end] != '?'; end++)
		;
	if (!sconce_http_is_authority(text + begin, end - begin))
		return SCONCE_HTTP_E_TARGET;
	h->authority.offset = h->target.offset + (uint32_t)begin;
	h->authority.length = (uint32_t)(end - begin);
	h->path.offset = h->target.offset + (uint32_t)end;
	h->path.length = (uint32_t)(len - end);
	return SCONCE_HTTP_OK;
}

enum sconce_http_error
sconce__http_request_line(struct sconce_http_head *h, const char *base)
{
	const char *text = base + h->target.offset;
	size_t len = h->target.length;

	h->method_id = method_of(base + h->method.offset, h->method.length);
	if (h->method_id == SCONCE_HTTP_CONNECT)
		return sconce_http_is_authority(text, len) ? SCONCE_HTTP_E_CONNECT : SCONCE_HTTP_E_TARGET;
	h->path = h->target;
	if (text[0] == '/')
		return SCONCE_HTTP_OK;
	if (text[0] == '*' && len == 1)
		return h->method_id == SCONCE_HTTP_OPTIONS ? SCONCE_HTTP_OK : SCONCE_HTTP_E_TARGET;
	return absolute_form(h, text, len);
}

/* ---- One field ---- */

/* Digits alone; lists and signs are not (RFC 9112 6.3, rule 5). */
static enum sconce_http_error
content_length(struct sconce_http_head *h, const char *text, size_t len)
{
	uint64_t sum = 0;

	if (SEEN(h, SCONCE_HTTP_ID_CONTENT_LENGTH))
		return SCONCE_HTTP_E_TWO_LENGTHS;
	if (len == 0 || !http_all(text, len, HTTP_DIGIT))
		return SCONCE_HTTP_E_LENGTH;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)(text[i] - '0');

		if (sum > (SCONCE_HTTP_LENGTH_MAX - digit) / 10)
			return SCONCE_HTTP_E_LENGTH_TOO_LARGE;
		sum = sum * 10 + digit;
	}
	h->has_length = true;
	h->content_length = sum;
	return SCONCE_HTTP_OK;
}

/* One `chunked` is the only coding done here.  Others before it are well-formed and unknown; anything else
 * leaves the end of the body open (RFC 9112 6.1, 6.3 rule 4). */
static enum sconce_http_error
transfer_encoding(const struct sconce_http_head *h, const char *text, size_t len)
{
	struct sconce_http_slice item;
	size_t pos = 0, chunked = 0;
	bool last = false;

	if (SEEN(h, SCONCE_HTTP_ID_TRANSFER_ENCODING))
		return SCONCE_HTTP_E_CODING;
	if (sconce_http_equal(text, len, "chunked", 7))
		return SCONCE_HTTP_OK;
	while (sconce_http_list_next(text, len, &pos, &item)) {
		if (!sconce_http_is_token(text + item.offset, item.length))
			return SCONCE_HTTP_E_CODING;
		last = sconce_http_equal(text + item.offset, item.length, "chunked", 7);
		chunked += last;
	}
	/* ",chunked" has but one element, and not everybody agrees how many. */
	if (!last || chunked != 1 || text[0] == ',' || text[len - 1] == ',')
		return SCONCE_HTTP_E_CODING;
	return SCONCE_HTTP_E_CODING_UNKNOWN;
}

/* Connection options (RFC 9110 7.6.1).  Nobody may have Host or Content-Length dropped on the way: the next hop would
 * read another message than we did. */
static enum sconce_http_error
connection(struct sconce_http_head *h, const char *text, size_t len)
{
	struct sconce_http_slice item;
	size_t pos = 0;

	while (sconce_http_list_next(text, len, &pos, &item)) {
		const char *option = text + item.offset;
		enum sconce_http_id id = sconce__http_id(option, item.length);

		if (++h->_option_count > SCONCE_HTTP_CONNECTION_OPTIONS ||
		    id == SCONCE_HTTP_ID_HOST || id == SCONCE_HTTP_ID_CONTENT_LENGTH)
			return SCONCE_HTTP_E_CONNECTION;
		if (id == SCONCE_HTTP_ID_KEEP_ALIVE)
			h->_options |= KEEP_ALIVE;
		else if (id == SCONCE_HTTP_ID_UPGRADE)
			h->_options |= UPGRADE;
		else if (item.length == 5 && http_same_token(option, "close", 5))
			h->_options |= CLOSE;
		else if (!sconce_http_is_token(option, item.length))
			return SCONCE_HTTP_E_CONNECTION;
		else if (!HOP_BY_HOP(id))
			h->_options |= OTHERS;
	}
	return SCONCE_HTTP_OK;
}

/* A request's Host (RFC 9112 3.2). */
static enum sconce_http_error
host(struct sconce_http_head *h, const char *base, struct sconce_http_field *f)
{
	if (h->response)
		return SCONCE_HTTP_OK;
	if (SEEN(h, SCONCE_HTTP_ID_HOST))
		return SCONCE_HTTP_E_TWO_HOSTS;
	if (!sconce_http_is_authority(base + f->value.offset, f->value.length))
		return SCONCE_HTTP_E_HOST;
	f->drop = true;
	if (h->authority.length == 0)
		h->authority = f->value;
	return SCONCE_HTTP_OK;
}

/* In HTTP/1.0 it means nothing, and must not begin to mean something at the next hop (RFC 9110 10.1.1). */
static enum sconce_http_error
expect(struct sconce_http_head *h, const char *text, struct sconce_http_field *f)
{
	if (h->response)
		return SCONCE_HTTP_OK;
	if (h->minor == 0) {
		f->drop = true;
		return SCONCE_HTTP_OK;
	}
	if (SEEN(h, SCONCE_HTTP_ID_EXPECT) ||
	    !sconce_http_equal(text, f->value.length, "100-continue", 12))
		return SCONCE_HTTP_E_EXPECT;
	return SCONCE_HTTP_OK;
}

static enum sconce_http_error
known_field(struct sconce_http_head *h, const char *base, struct sconce_http_field *f)
{
	const char *text = base + f->value.offset;
	size_t len = f->value.length;

	f->drop = HOP_BY_HOP(f->id);
	switch (f->id) {
	case SCONCE_HTTP_ID_HOST:
		return host(h, base, f);
	case SCONCE_HTTP_ID_CONTENT_LENGTH:
		f->drop = true;
		return content_length(h, text, len);
	case SCONCE_HTTP_ID_TRANSFER_ENCODING:
		return transfer_encoding(h, text, len);
	case SCONCE_HTTP_ID_CONNECTION:
		return connection(h, text, len);
	case SCONCE_HTTP_ID_EXPECT:
		return expect(h, text, f);
	default:
		return SCONCE_HTTP_OK;
	}
}

/* Content_Length and Transfer_Encoding are fields of their own to us, and the framing to a backend that turns names
 * into variables as CGI does (RFC 3875 4.1.18): two readings. */
static bool
looks_like_framing(const char *name, size_t len)
{
	static const char coding[] = "transfer-encoding", length[] = "content-length";
	const char *look = len == sizeof(coding) - 1 ? coding : length;

	if (len != sizeof(coding) - 1 && len != sizeof(length) - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] == '_' ? look[i] != '-' : !sconce_http_equal(&name[i], 1, &look[i], 1))
			return false;
	return true;
}

enum sconce_http_error
sconce__http_field(struct sconce_http_head *h, const char *base, struct sconce_http_field *f)
{
	const char *name = base + f->name.offset;
	enum sconce_http_error error;

	f->drop = false;
	f->id = (uint8_t)sconce__http_id(name, f->name.length);
	if (f->id == SCONCE_HTTP_ID_OTHER)
		return looks_like_framing(name, f->name.length) ? SCONCE_HTTP_E_NAME : SCONCE_HTTP_OK;
	error = known_field(h, base, f);
	h->_seen |= (uint16_t)(1u << f->id);
	return error;
}

/* ---- The whole head ---- */

static void
drop_name(struct sconce_http_head *h, const char *base, const char *name, size_t len)
{
	for (unsigned i = 0; i < h->field_count; i++) {
		struct sconce_http_field *f = &h->fields[i];

		if (sconce_http_equal(base + f->name.offset, f->name.length, name, len))
			f->drop = true;
	}
}

/* Drops the fields that Connection names.  SCONCE_HTTP_CONNECTION_OPTIONS bounds the work. */
static void
drop_named(struct sconce_http_head *h, const char *base)
{
	struct sconce_http_slice item;

	for (unsigned i = 0; i < h->field_count; i++) {
		const char *list = base + h->fields[i].value.offset;
		size_t len = h->fields[i].value.length, pos = 0;

		if (h->fields[i].id != SCONCE_HTTP_ID_CONNECTION)
			continue;
		while (sconce_http_list_next(list, len, &pos, &item))
			drop_name(h, base, list + item.offset, item.length);
	}
}

static bool
wants_keep_alive(const struct sconce_http_head *h)
{
	if (h->_options & CLOSE)
		return false;
	return h->minor == 1 || (h->_options & KEEP_ALIVE);
}

/* RFC 9112 6.3, as far as it is the same for both directions. */
static enum sconce_http_error
frame(struct sconce_http_head *h)
{
	if (SEEN(h, SCONCE_HTTP_ID_TRANSFER_ENCODING)) {
		if (h->has_length)
			return SCONCE_HTTP_E_LENGTH_AND_CODING;
		if (h->minor == 0)
			return SCONCE_HTTP_E_CODING_VERSION;
		h->body = SCONCE_HTTP_BODY_CHUNKED;
	} else if (h->content_length > 0) {
		h->body = SCONCE_HTTP_BODY_LENGTH;
	} else {
		h->body = SCONCE_HTTP_BODY_NONE;
	}
	return SCONCE_HTTP_OK;
}

static enum sconce_http_error
finish_request(struct sconce_http_head *h)
{
	if (h->minor == 1 && !SEEN(h, SCONCE_HTTP_ID_HOST))
		return SCONCE_HTTP_E_NO_HOST;
	h->expect_continue = SEEN(h, SCONCE_HTTP_ID_EXPECT) && h->minor == 1 &&
	    h->body != SCONCE_HTTP_BODY_NONE;
	h->upgrade = SEEN(h, SCONCE_HTTP_ID_UPGRADE) && (h->_options & UPGRADE) && h->minor == 1;
	return SCONCE_HTTP_OK;
}

static enum sconce_http_error
finish_response(struct sconce_http_head *h)
{
	bool bodyless = h->status < 200 || h->status == 204;

	if (bodyless && h->body != SCONCE_HTTP_BODY_NONE)
		return SCONCE_HTTP_E_BODY_FORBIDDEN;
	if (bodyless || h->status == 304 || h->method_id == SCONCE_HTTP_HEAD)
		h->body = SCONCE_HTTP_BODY_NONE;
	else if (h->body == SCONCE_HTTP_BODY_NONE && !h->has_length)
		h->body = SCONCE_HTTP_BODY_UNTIL_CLOSE;
	if (h->body == SCONCE_HTTP_BODY_UNTIL_CLOSE || h->status == 101)
		h->keep_alive = false;
	h->upgrade = h->status == 101 && SEEN(h, SCONCE_HTTP_ID_UPGRADE) && (h->_options & UPGRADE) &&
	    h->minor == 1;
	return SCONCE_HTTP_OK;
}

enum sconce_http_error
sconce__http_finish(struct sconce_http_head *h, const char *base)
{
	enum sconce_http_error error = frame(h);

	if (error != SCONCE_HTTP_OK)
		return error;
	h->keep_alive = wants_keep_alive(h);
	if (h->_options & OTHERS)
		drop_named(h, base);
	return h->response ? finish_response(h) : finish_request(h);
}
