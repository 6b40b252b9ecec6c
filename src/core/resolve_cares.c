/* Names asked of nameservers by the loop itself, with c-ares.  Called by resolve.c, and by loop.c when a loop ends or
 * goes on in a forked child.
 *
 * A loop has one channel, made at its first look-up, and anew when the system's configuration has changed.  c-ares opens
 * the sockets and the loop watches them; none of that counts as the application's.  A query cannot be taken back: one
 * that nobody waits for any more ends by itself.  What was under way when a channel goes is begun again on the next.
 *
 * getaddrinfo(3) knows more sources of names than c-ares: where the system uses others than /etc/hosts and nameservers,
 * it stays with getaddrinfo. */
#include "resolve.h"

#if HAVE_CARES

#include <ares.h>
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>

/* The files whose change means a new channel. */
static const char *const config_files[] = { "/etc/resolv.conf", "/etc/nsswitch.conf" };

enum { CONFIG_FILES = 2, SERVERS_MAX = 16 };

struct stamp {
	uint64_t dev, ino;
	int64_t size, sec, nsec;
};

/* A socket of c-ares's. */
struct ares_socket {
	struct ares_socket *next;
	struct sconce_watch watch;
	int fd;
};

struct sconce__cares {
	struct sconce_loop *loop;
	ares_channel channel;			/* NULL: the system's names are not for c-ares */
	struct sconce_timer timer;		/* what c-ares waits for next */
	struct ares_socket *sockets;
	bool no_memory;				/* the last socket could not be watched */
	struct stamp config[CONFIG_FILES];
};

static int library;				/* what ares_library_init() said */

static void
library_init(void)
{
	library = ares_library_init(ARES_LIB_INIT_ALL);
}

/* ---- its sockets and its time, on the loop ---- */

/* After every call into c-ares that may have changed when it wants to be called again. */
static void
rearm(struct sconce__cares *c)
{
	struct timeval space, *t = ares_timeout(c->channel, NULL, &space);

	if (t != NULL)
		sconce_timer_start(&c->timer, (double)t->tv_sec + (double)t->tv_usec * 1e-6);
	else
		sconce_timer_stop(&c->timer);
}

static void
timed_out(struct sconce_timer *t, void *arg)
{
	struct sconce__cares *c = arg;

	(void)t;
	ares_process_fd(c->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	rearm(c);
}

/* The socket may be gone afterwards. */
static void
ready(struct sconce_watch *w, unsigned events, void *arg)
{
	struct ares_socket *s = SCONCE_CONTAINER_OF(w, struct ares_socket, watch);
	struct sconce__cares *c = arg;
	bool read = events & (SCONCE_READ | SCONCE_HUP), write = events & SCONCE_WRITE;

	ares_process_fd(c->channel, read ? s->fd : ARES_SOCKET_BAD, write ? s->fd : ARES_SOCKET_BAD);
	rearm(c);
}

static struct ares_socket **
socket_find(struct sconce__cares *c, int fd)
{
	struct ares_socket **sp = &c->sockets;

	while (*sp != NULL && (*sp)->fd != fd)
		sp = &(*sp)->next;
	return sp;
}

static void
socket_gone(struct sconce__cares *c, struct ares_socket **sp)
{
	struct ares_socket *s = *sp;

	*sp = s->next;
	sconce_watch_stop(&s->watch);
	l_free(c->loop, s);
}

/* A new socket.  Refused, c-ares closes it and takes the server for one that cannot be reached. */
static int
socket_made(ares_socket_t fd, int type, void *arg)
{
	struct sconce__cares *c = arg;
	struct ares_socket *s = sconce__zalloc(c->loop, sizeof(*s));

	(void)type;
	c->no_memory = s == NULL || sconce__watch_start_internal(&s->watch, c->loop, fd, SCONCE_READ, ready, c) < 0;
	if (c->no_memory) {
		l_free(c->loop, s);
		return -1;
	}
	s->fd = fd;
	s->next = c->sockets;
	c->sockets = s;
	return 0;
}

/* c-ares wishes other events; none: it is about to close the socket. */
static void
socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct sconce__cares *c = arg;
	struct ares_socket **sp = socket_find(c, fd);

	if (*sp == NULL)
		return;
	if (readable || writable)
		sconce_watch_set(&(*sp)->watch, (readable ? SCONCE_READ : 0u) | (writable ? SCONCE_WRITE : 0u));
	else
		socket_gone(c, sp);
}

/* ---- the system's configuration ---- */

static void
stamps_take(struct stamp *stamps)
{
	struct stat st;

	memset(stamps, 0, CONFIG_FILES * sizeof(*stamps));
	for (int i = 0; i < CONFIG_FILES; i++)
		if (stat(config_files[i], &st) == 0)
			stamps[i] = (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
}

/* Whether a line of nsswitch.conf, of hosts or of something else, names only sources that c-ares has: both. */
static bool
sources_known(char *line)
{
	bool files = false, dns = false, others = false;
	char *rest, *word = strtok_r(line, " \t\n:", &rest);

	if (word == NULL || strcmp(word, "hosts") != 0)
		return true;
	while ((word = strtok_r(NULL, " \t\n", &rest)) != NULL && word[0] != '#') {
		if (strcmp(word, "files") == 0)
			files = true;
		else if (strcmp(word, "dns") == 0)
			dns = true;
		else
			others = true;
	}
	return files && dns && !others;
}

static bool
system_known(void)
{
	FILE *f = fopen(config_files[1], "re");
	char line[512];
	bool known = true;

	if (f == NULL)
		return errno == ENOENT;			/* then it is files and dns */
	while (known && fgets(line, sizeof(line), f) != NULL)
		known = sources_known(line);
	fclose(f);
	return known;
}

/* ---- channels ---- */

/* A channel alone.  `lookups` "f": /etc/hosts and nothing else; NULL: as the system says.  0 or an ARES_... */
static int
channel_make(struct sconce__cares *c, const char *lookups, ares_channel *channel_out)
{
	struct ares_options o = {
		.sock_state_cb = socket_state, .sock_state_cb_data = c, .lookups = (char *)lookups,	/* which it copies */
	};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int r;

	pthread_once(&once, library_init);
	if (library != ARES_SUCCESS)
		return library;
	r = ares_init_options(channel_out, &o, ARES_OPT_SOCK_STATE_CB | (lookups != NULL ? ARES_OPT_LOOKUPS : 0));
	if (r == ARES_SUCCESS)
		ares_set_socket_callback(*channel_out, socket_made, c);
	return r;
}

/* "1.2.3.4", "1.2.3.4:53", "::1" or "[::1]:53", for c-ares, whose own parser takes much for an address.  0 or -EINVAL. */
static int
server_parse(const char *text, struct ares_addr_port_node *node)
{
	struct sconce_addr a;

	if (strpbrk(text, "*/?%") != NULL)
		return -EINVAL;				/* an endpoint may have these */
	if (sconce__addr_literal(text, AF_UNSPEC, &a) < 0 && sconce_addr_parse(text, &a, NULL) < 0)
		return -EINVAL;
	memset(node, 0, sizeof(*node));
	node->family = a.any.sa_family;
	node->udp_port = node->tcp_port = sconce_addr_port(&a);	/* 0: c-ares's own, 53 */
	if (node->family == AF_INET && a.in.sin_addr.s_addr != 0)
		node->addr.addr4 = a.in.sin_addr;
	else if (node->family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr))
		memcpy(&node->addr.addr6, &a.in6.sin6_addr, sizeof(node->addr.addr6));
	else
		return -EINVAL;
	return 0;
}

/* How many there are, or -EINVAL. */
static int
servers_parse(const char *text, struct ares_addr_port_node *nodes)
{
	char one[SCONCE_ADDR_TEXT];
	int count = 0;

	for (size_t len;; text += len + 1) {
		len = strcspn(text, ",");
		if (len >= sizeof(one) || count == SERVERS_MAX)
			return -EINVAL;
		memcpy(one, text, len);
		one[len] = '\0';
		if (server_parse(one, &nodes[count]) < 0)
			return -EINVAL;
		if (count++ > 0)
			nodes[count - 2].next = &nodes[count - 1];
		if (text[len] == '\0')
			return count;
	}
}

static int
channel_set_servers(ares_channel channel, const char *text)
{
	struct ares_addr_port_node nodes[SERVERS_MAX];

	return servers_parse(text, nodes) < 0 ? ARES_EBADSTR : ares_set_servers_ports(channel, nodes);
}

static int
errno_of(int status)
{
	return status == ARES_ENOMEM ? -ENOMEM : status == ARES_EBADSTR ? -EINVAL : -EIO;
}

/* What is under way is told to resolve.c as cancelled. */
static void
cares_free(struct sconce__cares *c)
{
	struct sconce_loop *l = c->loop;

	if (c->channel != NULL)
		ares_destroy(c->channel);
	if (l->cares == c)
		l->cares = NULL;
	while (c->sockets != NULL)
		socket_gone(c, &c->sockets);
	sconce_timer_stop(&c->timer);
	l_free(l, c);
}

/* With these nameservers, or the system's (NULL).  0 or -errno. */
static int
cares_new(struct sconce_loop *l, const char *nameservers, struct sconce__cares **out)
{
	struct sconce__cares *c = sconce__zalloc(l, sizeof(*c));
	int r = ARES_SUCCESS;

	if (c == NULL)
		return -ENOMEM;
	c->loop = l;
	sconce_timer_init(&c->timer, l, timed_out, c);
	sconce__timer_quiet(&c->timer, true);
	stamps_take(c->config);
	if (nameservers != NULL || system_known())
		r = channel_make(c, nameservers != NULL ? "fb" : NULL, &c->channel);
	if (r != ARES_SUCCESS)
		c->channel = NULL;
	else if (nameservers != NULL)
		r = channel_set_servers(c->channel, nameservers);
	if (r != ARES_SUCCESS) {
		cares_free(c);
		return errno_of(r);
	}
	*out = c;
	return 0;
}

/* The loop's, as the configuration is now, or NULL. */
static struct sconce__cares *
cares_now(struct sconce_loop *l)
{
	struct stamp config[CONFIG_FILES];

	stamps_take(config);
	if (l->cares != NULL && memcmp(config, l->cares->config, sizeof(config)) != 0)
		cares_free(l->cares);
	if (l->cares == NULL && cares_new(l, l->nameservers, &l->cares) < 0)
		return NULL;
	return l->cares;
}

/* ---- queries ---- */

/* What getaddrinfo(3) would have said. */
static int
gai_of(const struct sconce__cares *c, int status)
{
	switch (status) {
	case ARES_ENODATA:
		return EAI_NODATA;
	case ARES_ENOTFOUND:
	case ARES_ENONAME:
	case ARES_EBADNAME:
		return EAI_NONAME;
	case ARES_ENOMEM:
		return EAI_MEMORY;
	case ARES_EBADFAMILY:
		return EAI_FAMILY;
	case ARES_ECONNREFUSED:
		return c->no_memory ? EAI_MEMORY : EAI_AGAIN;
	case ARES_ESERVFAIL:
	case ARES_ENOTIMP:
	case ARES_EREFUSED:
	case ARES_ETIMEOUT:
	case ARES_EOF:
		return EAI_AGAIN;
	default:
		return EAI_FAIL;
	}
}

static int
take_nodes(struct sconce__lookup *u, const struct ares_addrinfo_node *node)
{
	int count = 0;

	for (; node != NULL && count < ADDRS_MAX; node = node->ai_next) {
		struct sconce_addr *a = &u->addrs[count];

		if (node->ai_addrlen > sizeof(a->un))
			continue;
		memset(a, 0, sizeof(*a));
		memcpy(&a->any, node->ai_addr, node->ai_addrlen);
		a->len = node->ai_addrlen;
		sconce__addr_set_port(a, u->port);
		count++;
	}
	return count > 0 ? count : EAI_NONAME;
}

static void
note_answer(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	struct sconce__lookup *u = arg;

	(void)timeouts;
	u->count = status == ARES_SUCCESS ? take_nodes(u, list->nodes) : gai_of(u->loop->cares, status);
	if (list != NULL)
		ares_freeaddrinfo(list);
}

/* From c-ares. */
static void
named(void *arg, int status, int timeouts, struct hostent *host)
{
	struct sconce__lookup *u = arg;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
		sconce__query_ended(u, -ECANCELED);
		return;
	}
	u->count = status == ARES_SUCCESS ? sconce__name_take(u, host->h_name) : gai_of(u->loop->cares, status);
	sconce__query_ended(u, 0);
}

/* From c-ares. */
static void
answered(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	struct sconce__lookup *u = arg;

	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
		sconce__query_ended(u, -ECANCELED);
		return;
	}
	note_answer(u, status, timeouts, list);
	sconce__query_ended(u, 0);
}

/* No nameserver is asked for localhost and what is below it (RFC 6761, 6.3): /etc/hosts has the answer, for itself or
 * for localhost. */
static void
query_localhost(struct sconce__lookup *u, const struct ares_addrinfo_hints *hints)
{
	ares_channel files;
	int r = channel_make(u->loop->cares, "f", &files);

	if (r != ARES_SUCCESS) {
		u->count = gai_of(u->loop->cares, r);
	} else {
		ares_getaddrinfo(files, u->q.host, NULL, hints, note_answer, u);
		if (u->count < 0 && u->count != EAI_MEMORY)
			ares_getaddrinfo(files, "localhost", NULL, hints, note_answer, u);
		ares_destroy(files);
	}
	sconce__query_ended(u, 0);
}

/* The families to ask for: AI_ADDRCONFIG, which c-ares does not have. */
static int
family_of(const struct question *q)
{
	struct ifaddrs *list, *i;
	bool v4 = false, v6 = false;

	if (q->family != AF_UNSPEC || !(q->flags & SCONCE_RESOLVE_CONFIGURED) || sconce__is_loopback_name(q->host) ||
	    getifaddrs(&list) < 0)
		return q->family;
	for (i = list; i != NULL; i = i->ifa_next) {
		const struct sockaddr *a = i->ifa_addr;

		if (a != NULL && a->sa_family == AF_INET)
			v4 = v4 || ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr != htonl(INADDR_LOOPBACK);
		else if (a != NULL && a->sa_family == AF_INET6)
			v6 = v6 || !IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	}
	freeifaddrs(list);
	return v4 == v6 ? AF_UNSPEC : v4 ? AF_INET : AF_INET6;
}

/* Numeric hosts, in all the ways that getaddrinfo(3) reads, are not names. */
static bool
is_name(const char *host)
{
	struct in_addr a;

	return strcmp(host, "*") != 0 && strpbrk(host, ":%") == NULL && inet_aton(host, &a) == 0;
}

bool
sconce__cares_takes(struct sconce_loop *l, const struct question *q)
{
	const struct sconce__cares *c;

	if (!q->name && !is_name(q->host))
		return false;
	c = cares_now(l);
	return c != NULL && c->channel != NULL;
}

static void
query_name(struct sconce__lookup *u)
{
	const struct sconce_addr *a = &u->q.addr;
	struct sconce__cares *c = u->loop->cares;

	if (u->q.family == AF_INET)
		ares_gethostbyaddr(c->channel, &a->in.sin_addr, sizeof(a->in.sin_addr), AF_INET, named, u);
	else
		ares_gethostbyaddr(c->channel, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr), AF_INET6, named, u);
	rearm(c);
}

void
sconce__cares_query(struct sconce__lookup *u)
{
	struct sconce__cares *c = u->loop->cares;
	struct ares_addrinfo_hints hints = { .ai_family = family_of(&u->q), .ai_socktype = u->q.type };

	if (u->q.name) {
		query_name(u);
		return;
	}
	if (sconce__is_localhost(u->q.host)) {
		query_localhost(u, &hints);
		return;
	}
	ares_getaddrinfo(c->channel, u->q.host, NULL, &hints, answered, u);
	rearm(c);
}

int
sconce_set_nameservers(struct sconce_loop *l, const char *nameservers)
{
	struct sconce__cares *c = NULL;
	char *text = NULL;
	int r;

	if (l->freeing)
		return -EAGAIN;
	if (nameservers != NULL) {
		text = l_alloc(l, strlen(nameservers) + 1);
		if (text == NULL)
			return -ENOMEM;
		strcpy(text, nameservers);
		r = cares_new(l, text, &c);
		if (r < 0) {
			l_free(l, text);
			return r;
		}
	}
	if (l->cares != NULL)
		cares_free(l->cares);
	l_free(l, l->nameservers);
	l->nameservers = text;
	l->cares = c;
	return 0;
}

void
sconce__cares_fork(struct sconce_loop *l)
{
	if (l->cares != NULL)
		cares_free(l->cares);		/* the sockets are the parent's, and so are the answers */
}

void
sconce__cares_fini(struct sconce_loop *l)
{
	sconce__cares_fork(l);
	l_free(l, l->nameservers);
	l->nameservers = NULL;
}

#else

bool
sconce__cares_takes(struct sconce_loop *l, const struct question *q)
{
	(void)l;
	(void)q;
	return false;
}

void
sconce__cares_query(struct sconce__lookup *u)
{
	sconce__query_ended(u, -ECANCELED);
}

int
sconce_set_nameservers(struct sconce_loop *l, const char *nameservers)
{
	(void)l;
	return nameservers == NULL ? 0 : -ENOTSUP;
}

void
sconce__cares_fork(struct sconce_loop *l)
{
	(void)l;
}

void
sconce__cares_fini(struct sconce_loop *l)
{
	(void)l;
}

#endif
