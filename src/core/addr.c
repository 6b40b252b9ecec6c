/* Addresses: as text, from text, and of a socket's two ends; what an fd is.  Called by applications, the endpoint files and
 * inspect.c. */
#include "core.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- text ---- */

/* Bytes of a unix address's name; *name_out points to it, behind the NUL of an abstract one. */
static size_t
unix_name(const struct sconce_addr *a, const char **name_out)
{
	size_t head = offsetof(struct sockaddr_un, sun_path), len;

	*name_out = a->un.sun_path;
	if (a->len <= head)
		return 0;
	len = a->len - head;
	if (len > sizeof(a->un.sun_path))
		len = sizeof(a->un.sun_path);
	if (a->un.sun_path[0] == '\0') {
		++*name_out;
		return len - 1;
	}
	return strnlen(a->un.sun_path, len);
}

/* "path", "@abstract" or "unix".  A listing's line stays one line whatever the name holds. */
static void
unix_text(const struct sconce_addr *a, char *buf, size_t size)
{
	const char *name;
	size_t len = unix_name(a, &name), at = 0;

	if (len == 0) {
		snprintf(buf, size, "unix");
		return;
	}
	if (name != a->un.sun_path && size > 1)
		buf[at++] = '@';
	for (size_t i = 0; i < len && at + 1 < size; i++) {
		unsigned char c = (unsigned char)name[i];

		buf[at++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	buf[at] = '\0';
}

/* The address without port and brackets, as inet_ntop has it, with the zone of a link-local one. */
static void
in6_text(const struct sockaddr_in6 *in6, char *buf, size_t size)
{
	char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];

	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	if (in6->sin6_scope_id == 0)
		snprintf(buf, size, "%s", host);
	else if (if_indextoname(in6->sin6_scope_id, zone) != NULL)
		snprintf(buf, size, "%s%%%s", host, zone);
	else
		snprintf(buf, size, "%s%%%u", host, (unsigned)in6->sin6_scope_id);
}

char *
sconce_addr_host(const struct sconce_addr *a, char *buf, size_t size)
{
	char host[INET_ADDRSTRLEN];

	if (size == 0)
		return buf;
	if (a->len < sizeof(sa_family_t)) {
		snprintf(buf, size, "?");
	} else if (a->any.sa_family == AF_UNIX) {
		unix_text(a, buf, size);
	} else if (a->any.sa_family == AF_INET6 && a->len >= sizeof(a->in6)) {
		in6_text(&a->in6, buf, size);
	} else if (a->any.sa_family == AF_INET && a->len >= sizeof(a->in)) {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(buf, size, "%s", host);
	} else {
		snprintf(buf, size, "?");
	}
	return buf;
}

/* Whether it is an internet address and all there. */
static bool
has_port(const struct sconce_addr *a)
{
	if (a->len < sizeof(sa_family_t))
		return false;
	return (a->any.sa_family == AF_INET && a->len >= sizeof(a->in)) ||
	    (a->any.sa_family == AF_INET6 && a->len >= sizeof(a->in6));
}

int
sconce_addr_port(const struct sconce_addr *a)
{
	if (!has_port(a))
		return 0;
	return ntohs(a->any.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

char *
sconce_addr_text(const struct sconce_addr *a, char *buf, size_t size)
{
	char host[SCONCE_ADDR_TEXT];

	if (!has_port(a))
		return sconce_addr_host(a, buf, size);
	sconce_addr_host(a, host, sizeof(host));
	if (size > 0)
		snprintf(buf, size, a->any.sa_family == AF_INET6 ? "[%s]:%d" : "%s:%d", host, sconce_addr_port(a));
	return buf;
}

/* ---- from text ---- */

/* "%eth0" or "%2" behind a link-local address. */
static int
zone_index(const char *text, uint32_t *scope_out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && *end == '\0')
		*scope_out = n <= INT_MAX ? (uint32_t)n : 0;
	else
		*scope_out = if_nametoindex(text);
	return *scope_out != 0 ? 0 : -ENODEV;
}

static int
literal_v6(const char *host, struct sockaddr_in6 *in6)
{
	const char *zone = strchr(host, '%');
	size_t len = zone != NULL ? (size_t)(zone - host) : strlen(host);
	char text[INET6_ADDRSTRLEN];

	in6->sin6_family = AF_INET6;
	if (strcmp(host, "*") == 0)
		return 0;
	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, host, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
		return -EINVAL;
	return zone != NULL ? zone_index(zone + 1, &in6->sin6_scope_id) : 0;
}

static int
literal_v4(const char *host, struct sockaddr_in *in)
{
	in->sin_family = AF_INET;
	if (strcmp(host, "*") == 0 || strcmp(host, "0") == 0)
		return 0;
	return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

int
sconce__addr_literal(const char *host, int family, struct sconce_addr *out)
{
	bool v6 = family == AF_INET6 || (family == AF_UNSPEC && (strchr(host, ':') != NULL || strcmp(host, "*") == 0));
	struct sconce_addr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.len = v6 ? sizeof(a.in6) : sizeof(a.in);
	r = v6 ? literal_v6(host, &a.in6) : literal_v4(host, &a.in);
	if (r == 0)
		*out = a;
	return r;
}

void
sconce__addr_set_port(struct sconce_addr *a, int port)
{
	if (a->any.sa_family == AF_INET6)
		a->in6.sin6_port = htons((uint16_t)port);
	else
		a->in.sin_port = htons((uint16_t)port);
}

int
sconce__addr_unix(const char *path, struct sconce_addr *out)
{
	struct sconce_addr a;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(a.un.sun_path))
		return -EINVAL;
	memset(&a, 0, sizeof(a));
	a.un.sun_family = AF_UNIX;
	memcpy(a.un.sun_path, path, len);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (path[0] == '@')
		a.un.sun_path[0] = '\0';	/* abstract: the length ends it */
	else
		a.len++;			/* a path's NUL counts */
	*out = a;
	return 0;
}

/* ---- the ends of a socket ---- */

void
sconce_addr_unmap(struct sconce_addr *a)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (a->len < sizeof(a->in6) || a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return;
	in.sin_port = a->in6.sin6_port;
	memcpy(&in.sin_addr, &a->in6.sin6_addr.s6_addr[12], 4);
	memset(a, 0, sizeof(*a));
	a->in = in;
	a->len = sizeof(in);
}

int
sconce__addr_ask(const struct sconce_sock *s, bool peer, struct sconce_addr *out)
{
	const struct sconce_loop *l = s->loop;
	struct sconce_addr a;
	socklen_t room = sizeof(struct sockaddr_un);	/* the largest member */
	int r;

	if (s->fd < 0)
		return -EBADF;
	memset(&a, 0, sizeof(a));
	a.len = room;
	if (peer)
		r = l->be->getpeername(s->fd, &a.any, &a.len, l->ctx);
	else
		r = l->be->getsockname(s->fd, &a.any, &a.len, l->ctx);
	if (r < 0)
		return -errno;
	if (a.len > room)
		a.len = room;
	sconce_addr_unmap(&a);
	*out = a;
	return 0;
}

int
sconce_peer(struct sconce_sock *s, struct sconce_addr *addr_out)
{
	struct sconce__side *side;
	int r;

	if (s->fd < 0)
		return -EBADF;			/* DS-55: also when it is known from before */
	if (s->_side != NULL && s->_side->peer != NULL) {
		*addr_out = *s->_side->peer;
		return 0;
	}
	r = sconce__addr_ask(s, true, addr_out);
	if (r < 0)
		return r;
	side = sconce__side(s);
	if (side != NULL)			/* else it is asked again */
		side->peer = l_alloc(s->loop, sizeof(*side->peer));
	if (side != NULL && side->peer != NULL)
		*side->peer = *addr_out;
	return 0;
}

int
sconce_local(struct sconce_sock *s, struct sconce_addr *addr_out)
{
	return sconce__addr_ask(s, false, addr_out);
}

int
sconce_peer_cred(const struct sconce_sock *s, struct sconce_cred *cred_out)
{
	const struct sconce_loop *l = s->loop;
	struct ucred cred;
	int domain = AF_UNSPEC;
	socklen_t len = sizeof(domain);

	if (s->fd < 0)
		return -EBADF;
	/* SO_PEERCRED answers for any family, with nonsense */
	if (l->be->getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len, l->ctx) < 0 || domain != AF_UNIX)
		return -EOPNOTSUPP;
	len = sizeof(cred);
	if (l->be->getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len, l->ctx) < 0)
		return -errno;
	if (cred.pid == 0)
		return -ENOTCONN;
	*cred_out = (struct sconce_cred){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	return 0;
}

/* ---- fds ---- */

static int
fd_option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -errno;
}

int
sconce_fd_info(int fd, struct sconce_fd_info *info_out)
{
	struct sconce_fd_info info = { .type = fd_option(fd, SO_TYPE) };

	if (info.type == -EBADF)
		return -EBADF;
	info.is_socket = info.type > 0;
	if (!info.is_socket) {
		*info_out = (struct sconce_fd_info){ 0 };
		return 0;
	}
	info.family = fd_option(fd, SO_DOMAIN);
	info.protocol = fd_option(fd, SO_PROTOCOL);
	info.listening = fd_option(fd, SO_ACCEPTCONN) == 1;
	*info_out = info;
	return 0;
}
