/* Heads, built in the caller's buffer.  What could end a line or a name too early never gets in. */
#include "chars.h"

#include <errno.h>
#include <sys/uio.h>

void
sconce_http_writer_init(struct sconce_http_writer *w, void *buf, size_t size)
{
	w->buf = buf;
	w->size = size;
	w->len = 0;
	w->error = 0;
}

static int
fail(struct sconce_http_writer *w, int error)
{
	if (w->error == 0)
		w->error = error;
	return w->error;
}

/* Makes room for `n` bytes and returns where they go, NULL if there is none. */
static char *
reserve(struct sconce_http_writer *w, size_t n)
{
	char *at;

	if (w->error != 0 || n > w->size - w->len) {
		fail(w, -ENOBUFS);
		return NULL;
	}
	at = w->buf + w->len;
	w->len += n;
	return at;
}

static char *
add(char *at, const char *text, size_t len)
{
	if (len > 0)
		memcpy(at, text, len);
	return at + len;
}

static bool
is_value(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;

	return len == 0 || http_skip_value(p, p + len) == p + len;
}

static int
request_line(struct sconce_http_writer *w, const char *method, size_t method_len, const char *front,
    const char *target, size_t target_len)
{
	size_t front_len = strlen(front);
	char *at = reserve(w, method_len + 1 + front_len + target_len + sizeof(" HTTP/1.1\r\n") - 1);

	if (at == NULL)
		return w->error;
	at = add(at, method, method_len);
	*at++ = ' ';
	at = add(at, front, front_len);
	at = add(at, target, target_len);
	memcpy(at, " HTTP/1.1\r\n", sizeof(" HTTP/1.1\r\n") - 1);
	return 0;
}

int
sconce_http_put_request(struct sconce_http_writer *w, const char *method, const char *target)
{
	size_t method_len = strlen(method), target_len = strlen(target);

	if (!sconce_http_is_token(method, method_len) || target_len == 0 ||
	    !http_all(target, target_len, HTTP_TARGET))
		return fail(w, -EINVAL);
	return request_line(w, method, method_len, "", target, target_len);
}

int
sconce_http_put_request_of(struct sconce_http_writer *w, const struct sconce_http_head *h, const void *buf)
{
	const char *path = sconce_http_at(buf, h->path), *front = "";

	if (h->path.length == 0)
		front = h->method_id == SCONCE_HTTP_OPTIONS ? "*" : "/";
	else if (path[0] == '?')
		front = "/";
	return request_line(w, sconce_http_at(buf, h->method), h->method.length, front, path, h->path.length);
}

int
sconce_http_put_status(struct sconce_http_writer *w, int status, const char *reason, size_t reason_len)
{
	char *at;

	if (reason == NULL) {
		reason = sconce_http_reason(status);
		reason_len = strlen(reason);
	}
	if (status < 100 || status > 599 || !is_value(reason, reason_len))
		return fail(w, -EINVAL);
	at = reserve(w, sizeof("HTTP/1.1 200 \r\n") - 1 + reason_len);
	if (at == NULL)
		return w->error;
	at = add(at, "HTTP/1.1 ", 9);
	*at++ = (char)('0' + status / 100);
	*at++ = (char)('0' + status / 10 % 10);
	*at++ = (char)('0' + status % 10);
	*at++ = ' ';
	at = add(at, reason, reason_len);
	add(at, "\r\n", 2);
	return 0;
}

/* `name: front glue value`: what every field line is. */
static int
field_line(struct sconce_http_writer *w, struct iovec name, struct iovec front, struct iovec value)
{
	size_t glue = front.iov_len > 0 ? 2 : 0;
	char *at;

	if (!sconce_http_is_token(name.iov_base, name.iov_len) || !is_value(front.iov_base, front.iov_len) ||
	    !is_value(value.iov_base, value.iov_len))
		return fail(w, -EINVAL);
	at = reserve(w, name.iov_len + front.iov_len + glue + value.iov_len + 4);
	if (at == NULL)
		return w->error;
	at = add(at, name.iov_base, name.iov_len);
	at = add(at, ": ", 2);
	at = add(at, front.iov_base, front.iov_len);
	at = add(at, ", ", glue);
	at = add(at, value.iov_base, value.iov_len);
	add(at, "\r\n", 2);
	return 0;
}

static struct iovec
bytes(const char *text, size_t len)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)text, .iov_len = len };
}

int
sconce_http_put_bytes(struct sconce_http_writer *w, const char *name, size_t name_len, const char *value,
    size_t value_len)
{
	return field_line(w, bytes(name, name_len), bytes(NULL, 0), bytes(value, value_len));
}

int
sconce_http_put(struct sconce_http_writer *w, const char *name, const char *value)
{
	return sconce_http_put_bytes(w, name, strlen(name), value, strlen(value));
}

int
sconce_http_put_appended(struct sconce_http_writer *w, const char *name, const char *list, size_t list_len,
    const char *item, size_t item_len)
{
	return field_line(w, bytes(name, strlen(name)), bytes(list, list_len), bytes(item, item_len));
}

int
sconce_http_put_uint(struct sconce_http_writer *w, const char *name, uint64_t number)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	return sconce_http_put_bytes(w, name, strlen(name), at, (size_t)(digits + sizeof(digits) - at));
}

int
sconce_http_put_date(struct sconce_http_writer *w, time_t t)
{
	char date[SCONCE_HTTP_DATE_BYTES];

	if (sconce_http_date(date, t) == 0)
		return fail(w, -EINVAL);
	return sconce_http_put(w, "Date", date);
}

int
sconce_http_put_fields(struct sconce_http_writer *w, const struct sconce_http_head *h, const void *buf)
{
	const struct sconce_http_field *f, *end = h->fields + h->field_count;
	size_t before = w->len;

	for (f = h->fields; f < end; f++) {
		char *at;

		if (f->drop)
			continue;
		at = reserve(w, (size_t)f->name.length + f->value.length + 4);
		if (at == NULL) {
			w->len = before;
			return w->error;
		}
		at = add(at, sconce_http_at(buf, f->name), f->name.length);
		at = add(at, ": ", 2);
		at = add(at, sconce_http_at(buf, f->value), f->value.length);
		add(at, "\r\n", 2);
	}
	return w->error;
}

int
sconce_http_put_framing(struct sconce_http_writer *w, const struct sconce_http_head *h)
{
	if (h->response && (h->status < 200 || h->status == 204))
		return w->error;
	if (h->has_length)
		return sconce_http_put_uint(w, "Content-Length", h->content_length);
	if (h->body == SCONCE_HTTP_BODY_CHUNKED)
		return sconce_http_put(w, "Transfer-Encoding", "chunked");
	return w->error;
}

ssize_t
sconce_http_end(struct sconce_http_writer *w)
{
	char *at = reserve(w, 2);

	if (at == NULL)
		return w->error;
	add(at, "\r\n", 2);
	return (ssize_t)w->len;
}
