/* What the two files of the endpoint parser share: slices of the text, refusals, hosts, ports and paths.  endpoint.c has the
 * functions, and the grammar of URLs and of host and port; spec.c has that of port specs. */
#ifndef SCONCE_PARSE_H
#define SCONCE_PARSE_H

#include "core.h"

#include <strings.h>

enum { QUOTE_MAX = 40 };

struct slice {
	const char *p;
	size_t len;
};
/* For printf's "%.*s": a piece of the text, cut where the line would become too long. */
#define QUOTE(s) (int)((s).len < QUOTE_MAX ? (s).len : QUOTE_MAX), (s).p

/* IP versions, as bits: those that were said. */
enum { IPV4 = 1, IPV6 = 2, IPV_ANY = 4 };

struct parse {
	const char *text;		/* the whole */
	unsigned roles;			/* SCONCE_ENDPOINT_... */
	const struct sconce_endpoint_defaults *defaults;	/* NULL: URLs, and host and port, alone */
	unsigned ipv;			/* IPV_..., 0: not said */
	struct sconce_endpoint *ep;
	struct sconce_fail *fail;	/* or NULL */
};

/* Gives -EINVAL, and one line that says why. */
int sconce__refuse(const struct parse *p, const char *format, ...) SCONCE_PRINTF(2, 3);

/* "localhost", "1.2.3.4", "::1" (`v6`: it stood in brackets, or has colons), "*"; the family is that of the literal.  0
 * or -EINVAL. */
int sconce__parse_host(const struct parse *p, struct slice s, bool v6);
/* A number or a service's name. */
int sconce__parse_port(const struct parse *p, struct slice s);
/* "/path", "path" or "@name". */
int sconce__parse_path(const struct parse *p, struct slice s);

/* spec.c: everything before the options, for which there are defaults and no scheme. */
int sconce__parse_spec(struct parse *p, struct slice s);
/* What the defaults say of IP versions.  0 or -EINVAL. */
int sconce__parse_ipv(const struct parse *p, const char *text, unsigned *ipv_out);

/* Cuts `s` at the first `c`: what is before it stays, what is behind it is returned (p NULL: there is none). */
static inline struct slice
cut(struct slice *s, char c)
{
	const char *at = s->len > 0 ? memchr(s->p, c, s->len) : NULL;
	struct slice rest = { NULL, 0 };

	if (at != NULL) {
		rest.p = at + 1;
		rest.len = s->len - (size_t)(at + 1 - s->p);
		s->len = (size_t)(at - s->p);
	}
	return rest;
}

static inline bool
slice_is(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static inline bool
all_of(struct slice s, const char *chars)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '\0' || strchr(chars, s.p[i]) == NULL)
			return false;
	return s.len > 0;
}

/* A number from `min` to `max`, digits only, or -1. */
static inline int
slice_number(struct slice s, int base, int min, int max)
{
	long long n = 0;

	if (!all_of(s, base == 8 ? "01234567" : "0123456789"))
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		n = n * base + (s.p[i] - '0');
		if (n > max)
			return -1;
	}
	return n < min ? -1 : (int)n;
}

/* Copies a slice that fits. */
static inline void
slice_copy(struct slice s, char *to)
{
	memcpy(to, s.p, s.len);
	to[s.len] = '\0';
}

#endif
