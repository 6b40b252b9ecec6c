/* Sockets that are bound to an endpoint: listening ones for listen.c, datagram ones for sconce_bind(), and their unix paths.
 *
 * A path that we made is noted in the socket's side record, and unlinked when it closes. */
#include "core.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- unix paths ---- */

bool
sconce__addr_is_path(const struct sconce_addr *a)
{
	return a->any.sa_family == AF_UNIX && a->len > sizeof(sa_family_t) && a->un.sun_path[0] != '\0';
}

/* Whether nobody answers on the socket `path`: only a refused connect proves it (HZ-20). */
static bool
is_stale(struct sconce_loop *l, const struct sconce_addr *a, int type)
{
	int fd = l->be->socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->ctx), r;
	bool refused;

	if (fd < 0)
		return false;
	r = l->be->connect(fd, &a->any, a->len, l->ctx);
	refused = r < 0 && errno == ECONNREFUSED;
	l->be->close(fd, l->ctx);
	return refused;
}

/* Removes what a dead process has left there.  Never anything but a socket that refuses. */
static bool
remove_stale(struct sconce_loop *l, const struct sconce_addr *a, int type)
{
	struct stat st, again;

	if (lstat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) || !is_stale(l, a, type))
		return false;
	if (lstat(a->un.sun_path, &again) < 0 || again.st_dev != st.st_dev || again.st_ino != st.st_ino)
		return false;			/* somebody was faster */
	return unlink(a->un.sun_path) == 0;
}

static int
bind_fd(struct sconce_loop *l, int fd, const struct sconce_addr *a)
{
	return l->be->bind(fd, &a->any, a->len, l->ctx) < 0 ? -errno : 0;
}

/* A user's, or group's, number; -1: nothing was said.  Reads the system's tables. */
static int
id_of(const char *name, bool group, uint32_t *id_out)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);
	const struct passwd *pw;
	const struct group *gr;

	*id_out = UINT32_MAX;
	if (name[0] == '\0')
		return 0;
	if (name[0] >= '0' && name[0] <= '9' && *end == '\0' && n < UINT32_MAX) {
		*id_out = (uint32_t)n;
		return 0;
	}
	if (group && (gr = getgrnam(name)) != NULL)
		*id_out = gr->gr_gid;
	else if (!group && (pw = getpwnam(name)) != NULL)
		*id_out = pw->pw_uid;
	return *id_out != UINT32_MAX ? 0 : -ENOENT;
}

static int
unknown_id(const char *kind, const char *name, const struct sconce_addr *a, struct sconce_fail *fail)
{
	char what[SCONCE_ADDR_TEXT], why[64];

	snprintf(why, sizeof(why), "no %s '%s'", kind, name);
	sconce__fail_why(fail, "bind", ENOENT, sconce_addr_text(a, what, sizeof(what)), why);
	return -ENOENT;
}

/* Opens the socket that was made at `path`, and nothing that somebody who may write its directory has put there: not what
 * a symbolic link leads to, nor a socket of others under a second name.  -EPERM: it is not there any more. */
static int
open_made(const char *path, const struct stat *made)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_nlink == 1 && st.st_dev == made->st_dev &&
	    st.st_ino == made->st_ino)
		return fd;
	close(fd);
	return -EPERM;
}

/* fchmod(2), which an O_PATH fd does not know.  Only where there is no /proc it is done by name. */
static int
change_mode(int fd, const char *path, mode_t mode)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (chmod(name, mode) == 0 || (errno == ENOENT && chmod(path, mode) == 0))
		return 0;
	return -errno;
}

static int
replaced(const struct sconce_addr *a, struct sconce_fail *fail)
{
	char what[SCONCE_ADDR_TEXT];

	sconce__fail_why(fail, "bind", EPERM, sconce_addr_text(a, what, sizeof(what)), "it was replaced as soon as it was made");
	return -EPERM;
}

/* Mode and owner of a path that has just been made, as `st` says; nobody may know it yet. */
static int
dress_path(const struct sconce_addr *a, const struct stat *st, const struct sconce_socket_options *o,
	struct sconce_fail *fail)
{
	const char *path = a->un.sun_path;
	uint32_t uid, gid;
	bool own, mode = o->mode >= 0 && (st->st_mode & 0777) != (mode_t)o->mode;
	int fd, r = 0;

	if (id_of(o->owner, false, &uid) < 0)
		return unknown_id("user", o->owner, a, fail);
	if (id_of(o->group, true, &gid) < 0)
		return unknown_id("group", o->group, a, fail);
	own = uid != UINT32_MAX || gid != UINT32_MAX;
	if (!own && !mode)
		return 0;
	fd = open_made(path, st);
	if (fd < 0)
		return fd == -EPERM ? replaced(a, fail) : sconce__fail_addr(fail, "bind", fd, a);
	if (own && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		r = -errno;
	if (r == 0 && mode)
		r = change_mode(fd, path, (mode_t)o->mode);
	close(fd);
	return r < 0 ? sconce__fail_addr(fail, "bind", r, a) : 0;
}

/* The path could not be bound to. */
static int
path_failed(struct sconce_fail *fail, int r, const struct sconce_addr *a)
{
	char what[SCONCE_ADDR_TEXT];
	struct stat st;

	if (r != -EADDRINUSE || lstat(a->un.sun_path, &st) < 0 || S_ISSOCK(st.st_mode))
		return sconce__fail_addr(fail, "bind", r, a);
	sconce__fail_why(fail, "bind", -r, sconce_addr_text(a, what, sizeof(what)), "exists and is no socket");
	return r;
}

/* Binds to a path, which is never more accessible than `mode`: bind(2) gives it the mode of the fd, less the
 * umask, and nobody can connect before listen(2). */
static int
bind_path(struct sconce_loop *l, int fd, const struct sconce_addr *a, int type, const struct sconce_socket_options *o,
	struct sconce__path *path, struct sconce_fail *fail)
{
	struct stat st;
	int r;

	if (o->mode >= 0)
		fchmod(fd, (mode_t)o->mode);
	r = bind_fd(l, fd, a);
	if (r == -EADDRINUSE && remove_stale(l, a, type))
		r = bind_fd(l, fd, a);
	if (r < 0)
		return path_failed(fail, r, a);
	if (lstat(a->un.sun_path, &st) < 0)
		return sconce__fail_addr(fail, "bind", -errno, a);
	path->owner = getpid();
	path->dev = st.st_dev;
	path->ino = st.st_ino;
	memcpy(path->name, a->un.sun_path, sizeof(path->name));
	r = dress_path(a, &st, o, fail);
	if (r < 0)
		sconce__path_unlink(path);
	return r;
}

int
sconce__bind_addr(struct sconce_loop *l, int fd, const struct sconce_addr *a, int type,
	const struct sconce_socket_options *o, struct sconce__path *path, struct sconce_fail *fail)
{
	int r;

	path->owner = 0;
	if (sconce__addr_is_path(a))
		return bind_path(l, fd, a, type, o, path, fail);
	r = bind_fd(l, fd, a);
	return r < 0 ? sconce__fail_addr(fail, "bind", r, a) : 0;
}

void
sconce__path_unlink(struct sconce__path *path)
{
	struct stat st;

	if (path->owner == getpid() && lstat(path->name, &st) == 0 && (uint64_t)st.st_dev == path->dev &&
	    (uint64_t)st.st_ino == path->ino)
		unlink(path->name);
	path->owner = 0;
}

int
sconce__path_keep(struct sconce_sock *s, const struct sconce__path *path)
{
	struct sconce__side *side;

	if (path->owner == 0)
		return 0;
	side = sconce__side(s);
	if (side == NULL)
		return -ENOMEM;
	if (side->path == NULL)
		side->path = l_alloc(s->loop, sizeof(*path));
	if (side->path == NULL)
		return -ENOMEM;
	*side->path = *path;
	return 0;
}

void
sconce__path_gone(struct sconce_sock *s)
{
	struct sconce__side *side = s->_side;

	if (side->path == NULL)
		return;
	if (s->reason != SCONCE_REASON_DETACH)
		sconce__path_unlink(side->path);
	l_free(s->loop, side->path);
	side->path = NULL;
}

/* ---- addresses ---- */

bool
sconce__endpoint_any(const struct sconce_endpoint *ep)
{
	return ep->family == AF_UNSPEC && ep->fd < 0 && strcmp(ep->host, "*") == 0;
}

static bool
terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
texts_terminated(const struct sconce_endpoint *ep)
{
	const struct sconce_socket_options *o = &ep->options;

	return terminated(ep->proto, sizeof(ep->proto)) && terminated(ep->host, sizeof(ep->host)) &&
	    terminated(ep->service, sizeof(ep->service)) && terminated(ep->path, sizeof(ep->path)) &&
	    terminated(ep->bind_host, sizeof(ep->bind_host)) && terminated(ep->bind_service, sizeof(ep->bind_service)) &&
	    terminated(o->dev, sizeof(o->dev)) && terminated(o->owner, sizeof(o->owner)) &&
	    terminated(o->group, sizeof(o->group));
}

static bool
known_proto(const struct sconce_endpoint *ep)
{
	static const char *const known[] = { "", "tcp", "udp", "unix", "unix_dgram", "fd" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(ep->proto, known[i]) == 0)
			return true;
	return false;
}

/* "host:service", a path, "fd N". */
static void
place_text(const struct sconce_endpoint *ep, char *buf, size_t size)
{
	if (ep->fd >= 0)
		snprintf(buf, size, "fd %d", ep->fd);
	else if (ep->family == AF_UNIX)
		snprintf(buf, size, "%s", ep->path);
	else
		snprintf(buf, size, strchr(ep->host, ':') != NULL ? "[%.60s]:%.40s" : "%.60s:%.40s", ep->host, ep->service);
}

/* `why` NULL: what the errno says. */
static int
wrong_because(const struct sconce_endpoint *ep, const char *operation, int errnum, const char *why,
	struct sconce_fail *fail)
{
	char what[SCONCE_ADDR_TEXT] = "endpoint";

	if (texts_terminated(ep) && ep->text[0] != '\0' && terminated(ep->text, sizeof(ep->text)))
		snprintf(what, sizeof(what), "%.100s", ep->text);
	else if (texts_terminated(ep))
		place_text(ep, what, sizeof(what));
	sconce__fail_why(fail, operation, errnum, what, why != NULL ? why : sconce_strerror(errnum));
	return -errnum;
}

static int
wrong(const struct sconce_endpoint *ep, const char *operation, int errnum, struct sconce_fail *fail)
{
	return wrong_because(ep, operation, errnum, NULL, fail);
}

/* A stream endpoint where a datagram one is needed, or the other way round. */
static int
wrong_type(const struct sconce_endpoint *ep, struct sconce_fail *fail)
{
	bool stream = ep->type == SOCK_STREAM;
	char place[SCONCE_ADDR_TEXT], why[SCONCE_ADDR_TEXT + 64];

	place_text(ep, place, sizeof(place));
	snprintf(why, sizeof(why), "a %s endpoint: say %s%s://%s", stream ? "stream" : "datagram",
		ep->family != AF_UNIX ? (stream ? "udp" : "tcp") : stream ? "unix_dgram" : "unix",
		ep->family == AF_INET6 && ep->host[0] == '*' ? "6" : "", place);
	return wrong_because(ep, "socktype", EPROTOTYPE, why, fail);
}

int
sconce__endpoint_check(const struct sconce_endpoint *ep, int type, struct sconce_fail *fail)
{
	if (!texts_terminated(ep))
		return wrong(ep, "parse", EINVAL, fail);
	if (ep->fd >= 0)
		return 0;
	if (ep->family != AF_UNSPEC && ep->family != AF_INET && ep->family != AF_INET6 && ep->family != AF_UNIX)
		return wrong(ep, "domain", EAFNOSUPPORT, fail);
	if (!known_proto(ep))
		return wrong(ep, "protocol", EPROTONOSUPPORT, fail);
	if (ep->type != SOCK_STREAM && ep->type != SOCK_DGRAM)
		return wrong(ep, "socktype", ESOCKTNOSUPPORT, fail);
	if (type != 0 && ep->type != type)
		return wrong_type(ep, fail);
	if (ep->family == AF_UNIX ? ep->path[0] == '\0' : ep->host[0] == '\0' || ep->service[0] == '\0')
		return wrong(ep, "parse", EINVAL, fail);
	return 0;
}

int
sconce__endpoint_addrs(struct sconce_loop *l, const struct sconce_endpoint *ep, struct sconce_addr *addrs, size_t max,
	struct sconce_fail *fail)
{
	int r = sconce__endpoint_addr(ep, &addrs[0]);

	if (r == 0)
		return 1;
	if (r != -EAGAIN)
		return wrong(ep, "parse", -r, fail);
	return sconce__resolve_now(l, ep->host, ep->service, ep->family, ep->type, addrs, max, fail);
}

/* ---- opening ---- */

static int
open_addr(struct sconce_loop *l, struct sconce_sock *s, const struct sconce_endpoint *ep, const struct sconce_addr *a,
	struct sconce__path *path, struct sconce_fail *fail)
{
	unsigned how = HOW_PASSIVE | (ep->type == SOCK_DGRAM ? HOW_DGRAM : 0) | (sconce__endpoint_any(ep) ? HOW_ANY : 0);
	int fd = l->be->socket(a->any.sa_family, ep->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->ctx), r;

	path->owner = 0;
	if (fd < 0)
		return sconce__fail_addr(fail, "socket", -errno, a);
	r = sconce__socket_options(l, fd, a, &ep->options, how, fail);
	if (r == 0)
		r = sconce__prepare_fd(s, fd, a, fail);
	if (r == 0)
		r = sconce__bind_addr(l, fd, a, ep->type, &ep->options, path, fail);
	if (r < 0) {
		l->be->close(fd, l->ctx);
		return r;
	}
	return fd;
}

int
sconce__open_bound(struct sconce_loop *l, struct sconce_sock *s, const struct sconce_endpoint *ep, struct sconce_addr *a,
	struct sconce__path *path, struct sconce_fail *fail)
{
	int fd = open_addr(l, s, ep, a, path, fail), port = sconce_addr_port(a);

	if ((fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) || !sconce__endpoint_any(ep) || a->any.sa_family != AF_INET6)
		return fd;
	sconce__addr_literal("*", AF_INET, a);		/* no v6 here */
	sconce__addr_set_port(a, port);
	return open_addr(l, s, ep, a, path, fail);
}

/* ---- datagram sockets ---- */

/* The fd of an endpoint fd://N. */
static int
adopt(struct sconce_sock *s, const struct sconce_endpoint *ep, struct sconce_fail *fail)
{
	struct sconce_loop *l = s->loop;
	int type = 0, r;
	socklen_t len = sizeof(type);

	if (l->be->getsockopt(ep->fd, SOL_SOCKET, SO_TYPE, &type, &len, l->ctx) < 0)
		return wrong(ep, errno == EBADF ? "fcntl" : "socktype", errno, fail);
	if (type == SOCK_STREAM)
		return wrong_because(ep, "socktype", EPROTOTYPE, "a stream socket, not a datagram one", fail);
	r = sconce__prepare_fd(s, ep->fd, NULL, fail);
	return r < 0 ? r : ep->fd;
}

/* A bound datagram socket at the first address that can be had. */
static int
open_dgram(struct sconce_sock *s, const struct sconce_endpoint *ep, struct sconce__path *path, struct sconce_fail *fail)
{
	struct sconce_addr addrs[8];
	int count = sconce__endpoint_addrs(s->loop, ep, addrs, sizeof(addrs) / sizeof(addrs[0]), fail), fd = -EADDRNOTAVAIL;

	if (count < 0)
		return count;
	for (int i = 0; i < count && fd < 0; i++)
		fd = sconce__open_bound(s->loop, s, ep, &addrs[i], path, fail);
	return fd;
}

/* Gives the open fd to the socket. */
static int
give(struct sconce_sock *s, const struct sconce_endpoint *ep, int fd, const struct sconce__path *path,
	struct sconce_fail *fail)
{
	struct sconce_loop *l = s->loop;
	int r = sconce__path_keep(s, path);

	if (ep->fd < 0)
		l->fresh_fd = fd;
	if (r == 0)
		r = sconce__attach_fd(s, fd);
	l->fresh_fd = -1;
	if (r < 0) {
		if (s->_side != NULL && s->_side->path != NULL) {
			l_free(l, s->_side->path);
			s->_side->path = NULL;
		}
		return wrong(ep, "bind", -r, fail);
	}
	s->_flags &= ~(uint32_t)FL_STUCK;
	sconce__interest(s);
	return 0;
}

int
sconce_bind_endpoint(struct sconce_sock *s, const struct sconce_endpoint *ep, struct sconce_fail *fail_out)
{
	struct sconce_loop *l = s->loop;
	struct sconce__path path = { 0 };
	struct sconce_fail fail;
	int r = sconce__may_connect(s), fd = -1;

	if (r < 0)
		return wrong(ep, "bind", -r, fail_out);
	if (s->ops->stream)
		return wrong_because(ep, "socktype", EPROTOTYPE, "a stream cannot be bound to it", fail_out);
	r = sconce__endpoint_check(ep, SOCK_DGRAM, &fail);
	if (r == 0)
		r = fd = ep->fd >= 0 ? adopt(s, ep, &fail) : open_dgram(s, ep, &path, &fail);
	if (r >= 0) {
		r = give(s, ep, fd, &path, &fail);
		if (r < 0 && ep->fd < 0) {
			sconce__path_unlink(&path);
			l->be->close(fd, l->ctx);
		}
	}
	if (r < 0 && fail_out != NULL)
		*fail_out = fail;
	return r < 0 ? r : 0;
}

int
sconce_bind(struct sconce_sock *s, const char *endpoint, struct sconce_fail *fail_out)
{
	struct sconce_endpoint ep;
	int r = sconce_endpoint_parse(endpoint, SCONCE_ENDPOINT_LISTEN, NULL, &ep, fail_out);

	return r < 0 ? r : sconce_bind_endpoint(s, &ep, fail_out);
}
