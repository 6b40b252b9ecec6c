/* What a server listens on: bound anew, or taken over from the program before it or a service manager, and, with several
 * workers, a set of sockets for each.
 *
 * The sets share their ports by SO_REUSEPORT; where that cannot be (unix sockets, sockets that came without it) the
 * workers share the socket itself.  The process that forks the workers keeps all sets open, so that what waits in
 * one to be accepted is not lost when its worker dies. */
#include "server_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ADDRESSES = 32 };		/* that an endpoint may have */

static unsigned
worker_count(const struct sconce_server *sv)
{
	return sv->process_options.processes > 1 ? (unsigned)sv->process_options.processes : 1;
}

static struct sconce_sock *
sock_of(struct server_port *p)
{
	return p->datagrams ? &p->dgram.sock : &p->listener.sock;
}

/* ---- hooks ---- */

static void
forget(struct server_port *port)
{
	struct server_port **p = &port->server->_s->ports;

	while (*p != port)
		p = &(*p)->next;
	*p = port->next;
	free(port);
}

static int
port_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	return sconce__server_accept(SCONCE_CONTAINER_OF(l, struct server_port, listener)->server, fd, peer);
}

static void
port_event_fail(struct sconce_listener *l, const struct sconce_fail *fail)
{
	bool lasts = fail->errnum == EMFILE || fail->errnum == ENFILE || fail->errnum == ENOBUFS || fail->errnum == ENOMEM;

	sconce_server_log(SCONCE_CONTAINER_OF(l, struct server_port, listener)->server, SCONCE_LOG_WARNING, "%s%s", fail->text,
	    lasts ? "; it goes on as soon as it can" : "");
}

static void
port_destroy(struct sconce_listener *l)
{
	forget(SCONCE_CONTAINER_OF(l, struct server_port, listener));
}

static const struct sconce_listener_ops listener_ops = {
	.name = "server", .accept = port_accept, .event_fail = port_event_fail, .destroy = port_destroy,
};

static void
port_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	struct sconce_server *sv = SCONCE_CONTAINER_OF(d, struct server_port, dgram)->server;

	if (sconce__server_allows(sv, &p->from))
		sv->ops->mux_datagram(sv, d, p);
}

static void
port_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	char to[SCONCE_ADDR_TEXT];

	sconce_server_log(SCONCE_CONTAINER_OF(d, struct server_port, dgram)->server, SCONCE_LOG_INFO, "datagram to %s: %s: %s",
	    sconce_addr_text(&e->to, to, sizeof(to)), e->operation, sconce_strerror(e->errnum));
}

static void
port_dgram_destroy(struct sconce_dgram *d)
{
	forget(SCONCE_CONTAINER_OF(d, struct server_port, dgram));
}

static const struct sconce_dgram_ops dgram_ops = {
	.name = "server", .event_datagram = port_event_datagram, .event_error = port_event_error, .destroy = port_dgram_destroy,
};

/* ---- ports ---- */

static struct server_port *
new_port(struct sconce_server *sv, const struct sconce_endpoint *ep, unsigned worker)
{
	struct server_port *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->server = sv;
	p->ep = ep;
	p->worker = worker;
	return p;
}

/* Makes a port that has been opened one of the server's. */
static int
keep(struct server_port *port)
{
	struct sconce_server *sv = port->server;
	struct server_port **p = &sv->_s->ports;

	while (*p != NULL)
		p = &(*p)->next;
	*p = port;
	return sconce_process_keep(sv->process, sock_of(port), port->ep);
}

static int
open_dgram(struct server_port *p, const struct sconce_endpoint *ep, int fd, struct sconce_fail *fail)
{
	const struct sconce_server_options *o = &p->server->options;
	struct sconce_dgram_options opts = {
		.local = true, .max_size = (size_t)o->udp_recv_len, .broadcast = o->udp_broadcast,
	};
	int r;

	p->datagrams = true;
	r = sconce_dgram_init(&p->dgram, p->server->loop, &dgram_ops, fd, &opts);
	if (r < 0) {
		fail->operation = "socket";
		fail->errnum = -r;
		snprintf(fail->text, sizeof(fail->text), "%.100s: %s", p->ep->text, sconce_strerror(r));
		return r;
	}
	return fd >= 0 ? 0 : sconce_bind_endpoint(&p->dgram.sock, ep, fail);
}

/* How many there are already for the same address of the same endpoint. */
static unsigned
equals(struct server_port *port)
{
	struct sconce_addr mine, other;
	unsigned count = 0;

	if (sconce_local(sock_of(port), &mine) < 0)
		return 0;
	for (struct server_port *p = port->server->_s->ports; p != NULL; p = p->next)
		count += p->ep == port->ep && p != port && sconce_local(sock_of(p), &other) == 0 && other.len == mine.len &&
		    memcmp(&other.un, &mine.un, mine.len) == 0;
	return count;
}

/* Takes an fd that is open; it is closed on failure. */
static int
adopt(struct sconce_server *sv, const struct sconce_endpoint *ep, int fd, int worker, struct sconce_fail *fail)
{
	struct server_port *p = new_port(sv, ep, 0);
	struct sconce_fd_info info = { .type = 0 };
	int r = p == NULL ? -ENOMEM : sconce_fd_info(fd, &info);

	if (r == 0 && info.type == SOCK_DGRAM)
		r = sv->ops->mux_datagram != NULL ? open_dgram(p, ep, fd, fail) : -EPROTOTYPE;
	else if (r == 0)
		r = sconce_listen_fd(&p->listener, sv->loop, &listener_ops, fd, fail);
	if (r < 0) {
		if (fail->errnum == 0)
			snprintf(fail->text, sizeof(fail->text), "%.100s, inherited: %s", ep->text, sconce_strerror(r));
		close(fd);
		free(p);
		return r;
	}
	p->inherited = true;
	r = keep(p);
	p->worker = worker >= 0 ? (unsigned)worker : equals(p) % worker_count(sv);
	return r;
}

/* ---- new ones ---- */

/* Which of the `count` endpoints of one text it is: there are two where both versions of IP were asked for. */
static const struct sconce_endpoint *
whose(const struct sconce_endpoint *eps, size_t count, const struct sconce_addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (eps[i].family == addr->any.sa_family)
			return &eps[i];
	return eps;
}

static int
listen_all(struct sconce_server *sv, const struct sconce_endpoint *key, const struct sconce_endpoint *eps, size_t count,
    unsigned worker, struct sconce_fail *fail)
{
	struct sconce_listener *listeners[ADDRESSES];
	struct server_port *ports[ADDRESSES];
	int n = 0, opened, r;

	while (n < ADDRESSES && (ports[n] = new_port(sv, key, worker)) != NULL) {
		listeners[n] = &ports[n]->listener;
		n++;
	}
	opened = sconce_listen_all(listeners, (size_t)n, sv->loop, &listener_ops, eps, count, fail);
	r = opened < 0 ? opened : 0;
	for (int i = 0; i < n; i++) {
		if (i >= opened) {
			free(ports[i]);
			continue;
		}
		ports[i]->ep = &key[whose(eps, count, &ports[i]->listener.addr) - eps];
		if (ports[i]->listener.v4_only)
			sconce_server_log(sv, SCONCE_LOG_NOTICE, "%s: there is no IPv6 here: IPv4 only", key->text);
		if (keep(ports[i]) < 0)
			r = -ENOMEM;
	}
	return r;
}

static int
bind_dgram(struct sconce_server *sv, const struct sconce_endpoint *key, const struct sconce_endpoint *ep, unsigned worker,
    struct sconce_fail *fail)
{
	struct server_port *p = new_port(sv, key, worker);
	int r;

	if (p == NULL)
		return -ENOMEM;
	r = open_dgram(p, ep, -1, fail);
	if (r == 0)
		return keep(p);
	if (p->dgram.sock.ops == NULL) {
		free(p);
		return r;
	}
	p->next = sv->_s->ports;		/* destroy takes it out again */
	sv->_s->ports = p;
	sconce_close(&p->dgram.sock, SCONCE_REASON_ERROR);
	return r;
}

/* Port 0, once bound, is the same number for all workers. */
static void
settle_port(struct sconce_server *sv, const struct sconce_endpoint *key, struct sconce_endpoint *ep)
{
	struct sconce_addr addr;

	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next)
		if (p->ep == key && sconce_local(sock_of(p), &addr) == 0 && sconce_addr_port(&addr) > 0)
			snprintf(ep->service, sizeof(ep->service), "%d", sconce_addr_port(&addr));
}

/* Binds the endpoints of one text, for a worker. */
static int
open_new(struct sconce_server *sv, const struct sconce_endpoint *key, size_t count, unsigned worker,
    struct sconce_fail *fail)
{
	struct sconce_endpoint *eps = malloc(count * sizeof(*eps));
	int r = eps == NULL ? -ENOMEM : 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		eps[i] = key[i];
		if (worker_count(sv) > 1 && eps[i].family != AF_UNIX && eps[i].fd < 0)
			eps[i].options.reuseport = 1;
		if (worker > 0)
			settle_port(sv, &key[i], &eps[i]);
	}
	if (r == 0 && key->type != SOCK_DGRAM)
		r = listen_all(sv, key, eps, count, worker, fail);
	else
		for (size_t i = 0; r == 0 && i < count; i++)
			r = bind_dgram(sv, &key[i], &eps[i], worker, fail);
	free(eps);
	return r;
}

/* The worker uses the sockets of the first one. */
static int
share(struct sconce_server *sv, const struct sconce_endpoint *key, size_t count, unsigned worker, struct sconce_fail *fail)
{
	int r = 0;

	for (struct server_port *p = sv->_s->ports; r == 0 && p != NULL; p = p->next) {
		int fd;

		if (p->worker != 0 || p->ep < key || p->ep >= key + count)
			continue;
		fd = fcntl(sconce_fd(sock_of(p)), F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? -errno : adopt(sv, p->ep, fd, (int)worker, fail);
	}
	return r;
}

static bool
has_port(const struct sconce_server *sv, const struct sconce_endpoint *key, size_t count, unsigned worker)
{
	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next)
		if (p->worker == worker && p->ep >= key && p->ep < key + count)
			return true;
	return false;
}

/* Takes what was opened before us, for all endpoints; and closes what nobody wants any more, since it may be in the way of
 * what does. */
static int
take_inherited(struct sconce_server *sv, struct sconce_fail *fail)
{
	struct sconce__server *s = sv->_s;
	int r = 0, fd;

	for (size_t i = 0; i < s->ep_count; i++)
		while (r == 0 && (fd = sconce_process_inherited(sv->process, &s->eps[i])) >= 0)
			r = adopt(sv, &s->eps[i], fd, -1, fail);
	sconce_process_inherited_close(sv->process);
	return r;
}

/* Opens what one text means, for all workers, as far as it is not open. */
static int
open_group(struct sconce_server *sv, const struct sconce_endpoint *key, size_t count, struct sconce_fail *fail)
{
	int r = 0;

	if (!has_port(sv, key, count, 0))
		r = open_new(sv, key, count, 0, fail);
	for (unsigned w = 1; r == 0 && w < worker_count(sv); w++) {
		if (has_port(sv, key, count, w))
			continue;
		if (key->family == AF_UNIX || key->fd >= 0 || open_new(sv, key, count, w, fail) < 0)
			r = share(sv, key, count, w, fail);
	}
	return r;
}

/* ---- all of them ---- */

/* No port was said: takes what a service manager has opened, for all workers. */
static int
open_managers(struct sconce_server *sv, struct sconce_fail *fail)
{
	struct sconce__server *s = sv->_s;
	int fd, r = 0;

	s->eps = malloc(sizeof(*s->eps));
	if (s->eps == NULL)
		return -ENOMEM;
	s->ep_count = 1;
	sconce_endpoint_init(s->eps);
	snprintf(s->eps->proto, sizeof(s->eps->proto), "fd");
	snprintf(s->eps->text, sizeof(s->eps->text), "a socket of the service manager's");
	while (r == 0 && (fd = sconce_process_inherited_any(sv->process)) >= 0)
		r = adopt(sv, s->eps, fd, -1, fail);
	for (unsigned w = 1; r == 0 && s->ports != NULL && w < worker_count(sv); w++)
		if (!has_port(sv, s->eps, 1, w))
			r = share(sv, s->eps, 1, w, fail);
	return r;
}

/* There is nothing of a service manager's either: 20203 (NS-23). */
static int
take_standard(struct sconce_server *sv)
{
	static const char *const standard[] = { "20203" };

	sconce_server_log(sv, SCONCE_LOG_NOTICE, "no port was given: %s", standard[0]);
	sv->options.port = (struct sconce_conf_list){ 1, standard };
	return sconce__server_eps(sv);		/* which has been tried */
}

/* Both versions of IP of one text: they are one port.  (The same text twice is two.) */
static bool
is_same_text(const struct sconce_endpoint *a, const struct sconce_endpoint *b)
{
	return strcmp(a->text, b->text) == 0 && a->family != b->family;
}

/* The same port of the same host twice is one (NS-60); of port 0 each is another. */
static bool
is_there_already(struct sconce_server *sv, size_t at)
{
	const struct sconce_endpoint *ep = &sv->_s->eps[at];

	for (const struct sconce_endpoint *o = sv->_s->eps; o < ep; o++) {
		if (o->family != ep->family || o->type != ep->type || o->fd != ep->fd || strcmp(o->host, ep->host) != 0 ||
		    strcmp(o->service, ep->service) != 0 || strcmp(o->path, ep->path) != 0 || strcmp(ep->service, "0") == 0)
			continue;
		sconce_server_log(sv, SCONCE_LOG_NOTICE, "%s is there already: once is enough", ep->text);
		return true;
	}
	return false;
}

/* Opens the endpoints of the options. */
static int
open_all(struct sconce_server *sv, struct sconce_fail *fail)
{
	struct sconce__server *s = sv->_s;
	int r = take_inherited(sv, fail);
	size_t count;

	for (size_t i = 0; r == 0 && i < s->ep_count; i += count) {
		for (count = 1; i + count < s->ep_count && is_same_text(&s->eps[i + count], &s->eps[i]); count++)
			;
		if (!is_there_already(sv, i))
			r = open_group(sv, &s->eps[i], count, fail);
	}
	return r;
}

/* Opens everything, or says what failed. */
int
sconce__server_bind(struct sconce_server *sv, struct sconce_fail *fail)
{
	struct sconce__server *s = sv->_s;
	int r = 0;

	memset(fail, 0, sizeof(*fail));
	if (s->ep_count == 0)
		r = open_managers(sv, fail);
	if (r == 0 && s->ports == NULL && sv->options.port.count == 0)
		r = take_standard(sv);
	if (r == 0 && sv->options.port.count > 0)
		r = open_all(sv, fail);
	if (r == 0 && s->ports == NULL)
		r = -EDESTADDRREQ;
	if (r < 0 && fail->text[0] == '\0')
		snprintf(fail->text, sizeof(fail->text), "cannot listen: %s", sconce_strerror(r));
	if (r == 0 && worker_count(sv) > 1)
		sconce__server_pause(sv, true);
	return r;
}

void
sconce__server_pause_accept(struct sconce_server *sv, bool on)
{
	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next) {
		if (!p->datagrams && on)
			sconce_listener_pause(&p->listener);
		else if (!p->datagrams)
			sconce_listener_resume(&p->listener);
	}
}

void
sconce__server_pause(struct sconce_server *sv, bool on)
{
	sconce__server_pause_accept(sv, on);
	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next)
		if (p->datagrams)
			sconce_watch_read(&p->dgram.sock, !on);
}

/* Unix sockets that this process has made, to whom it is going to be (NS-55), as far as their endpoints do not say. */
static int
own_path(const struct server_port *p, const struct sconce_identity *id, struct sconce_fail *fail)
{
	struct sconce_identity mine = *id;

	mine.set_user = id->set_user && p->ep->options.owner[0] == '\0';
	mine.set_group = id->set_group && p->ep->options.group[0] == '\0';
	return sconce_identity_own(&mine, -1, p->ep->path, fail);
}

int
sconce__server_own_paths(struct sconce_server *sv, struct sconce_fail *fail)
{
	struct sconce_identity id;
	int r = sconce_identity_resolve(&id, sv->process_options.user, sv->process_options.group, fail);

	for (struct server_port *p = sv->_s->ports; r == 0 && p != NULL; p = p->next)
		if (p->worker == 0 && !p->inherited && p->ep->family == AF_UNIX && p->ep->path[0] != '@' && p->ep->fd < 0)
			r = own_path(p, &id, fail);
	return r;
}

void
sconce__server_close_ports(struct sconce_server *sv, int but_worker)
{
	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next) {
		if (but_worker >= 0 && p->worker == (unsigned)but_worker)
			continue;
		sconce_close(sock_of(p), SCONCE_REASON_LOCAL);
	}
}

void
sconce__server_announce(struct sconce_server *sv)
{
	char text[SCONCE_ADDR_TEXT];
	struct sconce_addr addr;

	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next)
		if (p->worker == 0 && sconce_local(sock_of(p), &addr) == 0)
			sconce_server_log(sv, SCONCE_LOG_NOTICE, "listening on %s%s", sconce_addr_text(&addr, text, sizeof(text)),
			    p->datagrams ? " (datagrams)" : "");
}

int
sconce_server_address(const struct sconce_server *sv, size_t index, struct sconce_addr *addr_out)
{
	int worker = sconce_process_worker(sv->process);

	for (struct server_port *p = sv->_s->ports; p != NULL; p = p->next)
		if (p->worker == (worker > 0 ? (unsigned)worker : 0) && index-- == 0)
			return sconce_local(sock_of(p), addr_out);
	return -ENOENT;
}
