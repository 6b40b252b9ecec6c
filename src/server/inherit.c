/* What the program before us in this process (restart.c), or a service manager, has left for us: fds and children.
 *
 * Nothing in the environment is believed that is not for this process, nor of an fd that is not open. */
#include "process_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_LISTEN_FD = 3 };			/* sd_listen_fds(3) */

struct inherited_fd {
	int		fd;
	bool		manager;		/* a service manager's */
	bool		given;			/* it is somebody's now */
	char		*key;			/* or its name */
};

struct sconce_inherited {
	bool		restarted;
	struct inherited_fd *fds;
	size_t		count, cap;
	pid_t		*children;
	size_t		child_count, child_cap, child_next;
};

/* ---- the environment ---- */

/* A number at *text, which goes behind it; -1: there is none. */
static long
take_number(const char **text)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)**text))
		return -1;
	errno = 0;
	n = strtol(*text, &end, 10);
	*text = end;
	return errno != 0 || n > INT_MAX ? -1 : n;
}

/* The variable, behind the number of this process; NULL: it is missing, or somebody else's. */
static const char *
ours(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL || take_number(&value) != getpid() || (*value != '\0' && *value != ';'))
		return NULL;
	return value;
}

static int
hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

char *
sconce__key_decode(const char *from, size_t len)
{
	char *key = malloc(len + 1), *to = key;

	for (size_t i = 0; key != NULL && i < len; i++) {
		int high = i + 2 < len && from[i] == '%' ? hex_digit(from[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(from[i + 2]) : -1;

		*to++ = low >= 0 ? (char)(high * 16 + low) : from[i];
		if (low >= 0)
			i += 2;
	}
	if (key != NULL)
		*to = '\0';
	return key;
}

static bool
is_known(const struct sconce_inherited *in, int fd)
{
	for (size_t i = 0; i < in->count; i++)
		if (in->fds[i].fd == fd)
			return true;
	return false;
}

/* Notes an fd, if there is such a one.  Takes `key`, which is allocated, or NULL for want of memory.  0 or -ENOMEM. */
static int
note_fd(struct sconce_inherited *in, long fd, char *key, bool manager)
{
	bool wrong = fd <= STDERR_FILENO || fcntl((int)fd, F_GETFD) < 0 || is_known(in, (int)fd);

	if (key == NULL)
		return -ENOMEM;
	if (wrong || !sconce__grow(&in->fds, in->count, &in->cap, sizeof(*in->fds))) {
		free(key);
		return wrong ? 0 : -ENOMEM;
	}
	in->fds[in->count++] = (struct inherited_fd){ .fd = (int)fd, .manager = manager, .key = key };
	return 0;
}

/* ";5=key;6@name" */
static int
take_fds(struct sconce_inherited *in)
{
	const char *at = ours(FDS_VARIABLE);
	int r = 0;

	in->restarted = at != NULL;
	while (r == 0 && at != NULL && *at == ';') {
		size_t len;
		long fd;
		char kind;

		at++;
		fd = take_number(&at);
		kind = *at;
		if (kind == '=' || kind == '@')
			at++;
		else
			fd = -1;
		len = strcspn(at, ";");
		r = note_fd(in, fd, sconce__key_decode(at, len), kind == '@');
		at += len;
	}
	return r;
}

static int
take_children(struct sconce_inherited *in)
{
	const char *at = ours(CHILDREN_VARIABLE);

	while (at != NULL && *at == ';') {
		long pid;

		at++;
		pid = take_number(&at);
		at += strcspn(at, ";");
		if (pid <= 0)
			continue;
		if (!sconce__grow(&in->children, in->child_count, &in->child_cap, sizeof(*in->children)))
			return -ENOMEM;
		in->children[in->child_count++] = (pid_t)pid;
	}
	return 0;
}

static long
number_of(const char *name)
{
	const char *value = getenv(name);
	long n = value != NULL ? take_number(&value) : -1;

	return n >= 0 && *value == '\0' ? n : -1;
}

/* sd_listen_fds(3). */
static int
take_manager(struct sconce_inherited *in)
{
	const char *names = getenv("LISTEN_FDNAMES");
	long count = number_of("LISTEN_FDS"), max = sysconf(_SC_OPEN_MAX);
	int r = 0;

	if (number_of("LISTEN_PID") != getpid())
		return 0;
	for (long i = 0; r == 0 && i < count && (max < 0 || i < max); i++) {
		size_t len = names != NULL ? strcspn(names, ":") : 0;

		r = note_fd(in, FIRST_LISTEN_FD + i, strndup(names != NULL ? names : "", len), true);
		names = names != NULL && names[len] == ':' ? names + len + 1 : NULL;
	}
	return r;
}

static void
clear_environment(void)
{
	static const char *const names[] = { FDS_VARIABLE, CHILDREN_VARIABLE, "LISTEN_PID", "LISTEN_FDS",
		"LISTEN_FDNAMES", "LISTEN_PIDFDID" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
}

static void
free_record(struct sconce_inherited *in)
{
	for (size_t i = 0; i < in->count; i++)
		free(in->fds[i].key);
	free(in->fds);
	free(in->children);
	free(in);
}

int
sconce_inherited_take(struct sconce_inherited **inherited_out)
{
	struct sconce_inherited *in = calloc(1, sizeof(*in));
	int r;

	if (in == NULL)
		return -ENOMEM;
	r = take_fds(in);
	if (r == 0)
		r = take_children(in);
	if (r == 0)
		r = take_manager(in);
	if (r < 0) {
		free_record(in);
		return r;
	}
	for (size_t i = 0; i < in->count; i++) {
		int flags = fcntl(in->fds[i].fd, F_GETFD);

		fcntl(in->fds[i].fd, F_SETFD, flags | FD_CLOEXEC);
	}
	clear_environment();
	*inherited_out = in;
	return 0;
}

void
sconce__inherited_close(struct sconce_inherited *in)
{
	for (size_t i = 0; i < in->count; i++) {
		if (!in->fds[i].given)
			close(in->fds[i].fd);
		in->fds[i].given = true;
	}
}

void
sconce_inherited_free(struct sconce_inherited *in)
{
	if (in == NULL)
		return;
	sconce__inherited_close(in);
	free_record(in);
}

/* ---- giving away ---- */

bool
sconce_inherited_restarted(const struct sconce_inherited *in)
{
	return in->restarted;
}

static int
give(struct inherited_fd *f, const char **name_out)
{
	f->given = true;
	if (name_out != NULL)
		*name_out = f->key;
	return f->fd;
}

int
sconce_inherited_fd(struct sconce_inherited *in, const char *key)
{
	for (size_t i = 0; i < in->count; i++)
		if (!in->fds[i].given && !in->fds[i].manager && strcmp(in->fds[i].key, key) == 0)
			return give(&in->fds[i], NULL);
	return -1;
}

int
sconce_inherited_any(struct sconce_inherited *in, const char **name_out)
{
	for (size_t i = 0; i < in->count; i++)
		if (!in->fds[i].given && in->fds[i].manager)
			return give(&in->fds[i], name_out);
	return -1;
}

size_t
sconce_inherited_left(const struct sconce_inherited *in)
{
	size_t left = 0;

	for (size_t i = 0; i < in->count; i++)
		left += !in->fds[i].given;
	return left;
}

pid_t
sconce_inherited_child(struct sconce_inherited *in)
{
	return in->child_next < in->child_count ? in->children[in->child_next++] : 0;
}

/* ---- endpoints ---- */

/* A numeric address in its one form, every address as "*"; a name in small letters. */
static void
plain_host(const struct sconce_endpoint *ep, char *buf, size_t size)
{
	unsigned char any[16] = { 0 }, bytes[16];
	int family = ep->family;

	snprintf(buf, size, "%s", ep->host);
	for (char *p = buf; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	if (family == AF_INET && strcmp(buf, "0") == 0)
		strcpy(buf, "*");
	if ((family != AF_INET && family != AF_INET6) || inet_pton(family, buf, bytes) != 1)
		return;
	if (memcmp(bytes, any, family == AF_INET ? 4 : 16) == 0)
		strcpy(buf, "*");
	else
		inet_ntop(family, bytes, buf, (socklen_t)size);
}

void
sconce__endpoint_key(const struct sconce_endpoint *ep, char key[KEY_SIZE])
{
	char host[sizeof(ep->host)];

	plain_host(ep, host, sizeof(host));
	if (ep->fd >= 0)
		snprintf(key, KEY_SIZE, "fd,%d", ep->fd);
	else
		snprintf(key, KEY_SIZE, "%s,%d,%s,%s,%s", ep->proto, ep->family, host, ep->service, ep->path);
}

static bool
path_is(const struct sconce_addr *a, const char *path)
{
	size_t len = strlen(path), have = a->len - offsetof(struct sockaddr_un, sun_path);
	bool abstract = path[0] == '@';

	if (a->len < offsetof(struct sockaddr_un, sun_path))
		return false;
	if (!abstract)
		have = strnlen(a->un.sun_path, have);
	return have == len && len > 0 && memcmp(a->un.sun_path + abstract, path + abstract, len - abstract) == 0 &&
	    (!abstract || a->un.sun_path[0] == '\0');
}

static bool
inet_is(const struct sconce_addr *a, const struct sconce_endpoint *ep)
{
	char host[sizeof(ep->host)], have[sizeof(ep->host)], *end;
	struct sconce_endpoint same = { .family = a->any.sa_family };
	long port = strtol(ep->service, &end, 10);

	if (ep->family != AF_UNSPEC && ep->family != a->any.sa_family)
		return false;
	if (end == ep->service || *end != '\0' || port != sconce_addr_port(a))
		return false;
	sconce_addr_host(a, same.host, sizeof(same.host));
	plain_host(&same, have, sizeof(have));
	same = *ep;
	same.family = a->any.sa_family;
	plain_host(&same, host, sizeof(host));
	return strcmp(have, host) == 0;
}

/* Whether an fd is bound to the endpoint. */
static bool
is_bound_to(int fd, const struct sconce_endpoint *ep)
{
	struct sconce_fd_info info;
	struct sconce_addr a = { .len = sizeof(a.un) };

	if (ep->fd >= 0)
		return ep->fd == fd;
	if (sconce_fd_info(fd, &info) < 0 || !info.is_socket || info.type != ep->type)
		return false;
	if (info.type == SOCK_STREAM && !info.listening)
		return false;
	if (getsockname(fd, &a.any, &a.len) < 0)
		return false;
	if (a.any.sa_family == AF_UNIX)
		return ep->family == AF_UNIX && path_is(&a, ep->path);
	return (a.any.sa_family == AF_INET || a.any.sa_family == AF_INET6) && inet_is(&a, ep);
}

int
sconce__inherited_named(struct sconce_inherited *in, const struct sconce_endpoint *ep, const char **name_out)
{
	for (size_t i = 0; i < in->count; i++) {
		struct inherited_fd *f = &in->fds[i];

		if (f->given || !f->manager)
			continue;
		if ((f->key[0] != '\0' && strcmp(f->key, ep->text) == 0) || is_bound_to(f->fd, ep))
			return give(f, name_out);
	}
	return -1;
}

int
sconce_inherited_endpoint(struct sconce_inherited *in, const struct sconce_endpoint *ep)
{
	return sconce__inherited_named(in, ep, NULL);
}
