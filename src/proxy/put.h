/* Head lines that need no checking: constants of ours, and parts of a head that the parser has accepted. */
#ifndef PROXY_PUT_H
#define PROXY_PUT_H

#include <errno.h>
#include <string.h>
#include <sconce/http.h>

static inline void
put_bytes(struct sconce_http_writer *w, const char *text, size_t len)
{
	if (w->error != 0)
		return;
	if (len > w->size - w->len) {
		w->error = -ENOBUFS;
		return;
	}
	memcpy(w->buf + w->len, text, len);
	w->len += len;
}

/* Whole lines, with their CRLF. */
static inline void
put_lines(struct sconce_http_writer *w, const char *lines)
{
	put_bytes(w, lines, strlen(lines));
}

/* `name` with its colon and blank. */
static inline void
put_line(struct sconce_http_writer *w, const char *name, const char *value, size_t len)
{
	put_bytes(w, name, strlen(name));
	put_bytes(w, value, len);
	put_bytes(w, "\r\n", 2);
}

static inline void
put_length(struct sconce_http_writer *w, uint64_t length)
{
	char line[48], *end = line + sizeof(line), *at = end;

	*--at = '\n';
	*--at = '\r';
	do
		*--at = (char)('0' + length % 10);
	while ((length /= 10) > 0);
	put_bytes(w, "Content-Length: ", 16);
	put_bytes(w, at, (size_t)(end - at));
}

#endif
