/* Finding fields by name and by id. */
#include "chars.h"

enum sconce_http_id
sconce__http_id(const char *name, size_t len)
{
#define IS(known) http_same_token(name, known, sizeof(known) - 1)
	switch (len) {
	case 2:		/* too short for http_same_token */
		return sconce_http_equal(name, 2, "te", 2) ? SCONCE_HTTP_ID_TE : SCONCE_HTTP_ID_OTHER;
	case 4:
		return IS("host") ? SCONCE_HTTP_ID_HOST : SCONCE_HTTP_ID_OTHER;
	case 6:
		return IS("expect") ? SCONCE_HTTP_ID_EXPECT : SCONCE_HTTP_ID_OTHER;
	case 7:
		return IS("upgrade") ? SCONCE_HTTP_ID_UPGRADE :
		    IS("trailer") ? SCONCE_HTTP_ID_TRAILER : SCONCE_HTTP_ID_OTHER;
	case 10:
		return IS("connection") ? SCONCE_HTTP_ID_CONNECTION :
		    IS("keep-alive") ? SCONCE_HTTP_ID_KEEP_ALIVE : SCONCE_HTTP_ID_OTHER;
	case 14:
		return IS("content-length") ? SCONCE_HTTP_ID_CONTENT_LENGTH : SCONCE_HTTP_ID_OTHER;
	case 16:
		return IS("proxy-connection") ? SCONCE_HTTP_ID_PROXY_CONNECTION : SCONCE_HTTP_ID_OTHER;
	case 17:
		return IS("transfer-encoding") ? SCONCE_HTTP_ID_TRANSFER_ENCODING : SCONCE_HTTP_ID_OTHER;
	case 18:
		return IS("proxy-authenticate") ? SCONCE_HTTP_ID_PROXY_AUTHENTICATE : SCONCE_HTTP_ID_OTHER;
	case 19:
		return IS("proxy-authorization") ? SCONCE_HTTP_ID_PROXY_AUTHORIZATION : SCONCE_HTTP_ID_OTHER;
	default:
		return SCONCE_HTTP_ID_OTHER;
	}
#undef IS
}

int
sconce_http_find(const struct sconce_http_head *h, const void *buf, const char *name, int from)
{
	size_t len = strlen(name);

	for (int i = from; i < h->field_count; i++) {
		struct sconce_http_slice s = h->fields[i].name;

		if (sconce_http_equal(sconce_http_at(buf, s), s.length, name, len))
			return i;
	}
	return -1;
}

int
sconce_http_find_id(const struct sconce_http_head *h, enum sconce_http_id id)
{
	int i = 0;

	if ((h->_seen & (1u << id)) == 0)
		return -1;
	while (h->fields[i].id != id)
		i++;
	return i;
}

/* Whether an option of a Connection field is `name`. */
static bool
named(const char *list, size_t list_len, const char *name, size_t name_len)
{
	struct sconce_http_slice item;
	size_t pos = 0;

	while (sconce_http_list_next(list, list_len, &pos, &item))
		if (sconce_http_equal(list + item.offset, item.length, name, name_len))
			return true;
	return false;
}

bool
sconce_http_is_hop_by_hop(const struct sconce_http_head *h, const void *buf, const char *name, size_t len)
{
	if (sconce__http_id(name, len) >= SCONCE_HTTP_ID_CONNECTION)
		return true;
	if (h == NULL || (h->_seen & (1u << SCONCE_HTTP_ID_CONNECTION)) == 0)
		return false;
	for (unsigned i = 0; i < h->field_count; i++) {
		const struct sconce_http_field *f = &h->fields[i];

		if (f->id == SCONCE_HTTP_ID_CONNECTION &&
		    named(sconce_http_at(buf, f->value), f->value.length, name, len))
			return true;
	}
	return false;
}
