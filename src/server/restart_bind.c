/* What a trial can find out about listening: whether the program is going to have its endpoints, without taking them. */
#include "process_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/dgram.h>

/* ---- what will be handed over ---- */

/* The list in the environment, from its first ";"; NULL: it is not known. */
static const char *
list_of_trial(void)
{
	const char *value = getenv(TRIAL_VARIABLE);

	return value != NULL ? strchr(value, ';') : NULL;
}

/* One of the list. */
struct ours {
	char	*key;			/* allocated */
	long	port;			/* 0: none */
	bool	manager;		/* the key is a service manager's name */
};

/* The next one; false at the end, or without memory.  *at is moved on. */
static bool
next_of(const char **at, struct ours *o)
{
	char *kind;
	size_t len;

	if (**at != ';' || (*at)[1] == '\0')
		return false;
	o->port = strtol(*at + 1, &kind, 10);
	o->manager = *kind == '@';
	kind += *kind == '@' || *kind == '=';
	len = strcspn(kind, ";");
	*at = kind + len;
	o->key = sconce__key_decode(kind, len);
	return o->key != NULL;
}

/* Whether a key is that of such an endpoint: tcp and udp have ports of their own. */
static bool
is_proto(const char *key, const char *proto)
{
	size_t len = strlen(proto);

	return strncmp(key, proto, len) == 0 && key[len] == ',';
}

enum known { NOT_OURS, IN_THE_WAY, OURS };

/* What the list knows of an endpoint: it is there; or something is that has its port, and that the new program closes. */
static enum known
known_of(const char *list, const struct sconce_endpoint *ep)
{
	long port = strtol(ep->service, NULL, 10);
	enum known known = NOT_OURS;
	char mine[KEY_SIZE];
	struct ours o;

	sconce__endpoint_key(ep, mine);
	while (known != OURS && next_of(&list, &o)) {
		if (!o.manager && strcmp(o.key, mine) == 0)
			known = OURS;
		else if (o.port != 0 && o.port == port && ep->family != AF_UNIX && (o.manager || is_proto(o.key, ep->proto)))
			known = IN_THE_WAY;
		free(o.key);
	}
	return known;
}

/* ---- trying ---- */

static int
nobody_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	(void)l, (void)fd, (void)peer;
	return -ECONNABORTED;
}

static void
nobody_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	(void)d, (void)p;
}

static const struct sconce_listener_ops listener_ops = { .name = "trial", .accept = nobody_accept };
static const struct sconce_dgram_ops dgram_ops = { .name = "trial", .event_datagram = nobody_event_datagram };

/* Binds the endpoint, and lets go of it. */
static int
try_bind(const struct sconce_endpoint *ep, struct sconce_fail *fail)
{
	struct sconce_loop *loop;
	struct sconce_listener listener;
	struct sconce_dgram dgram;
	int r = sconce_loop_new(NULL, &loop);

	if (r < 0)
		return r;
	if (ep->type == SOCK_DGRAM) {
		r = sconce_dgram_init(&dgram, loop, &dgram_ops, -1, NULL);
		if (r == 0)
			r = sconce_bind_endpoint(&dgram.sock, ep, fail);
	} else {
		r = sconce_listen_endpoint(&listener, loop, &listener_ops, ep, fail);
	}
	sconce_loop_free(loop);
	return r;
}

int
sconce_program_try_bind(const struct sconce_endpoint *ep, struct sconce_fail *fail_out)
{
	struct sconce_fail fail = { .operation = "bind", .text = "cannot bind" };
	const char *list = list_of_trial();
	enum known known;
	int r;

	if (list == NULL || ep->fd >= 0)
		return 0;
	known = known_of(list, ep);
	if (known == OURS)
		return 0;
	r = try_bind(ep, &fail);
	if (r == 0 || (r == -EADDRINUSE && known == IN_THE_WAY))
		return 0;
	if (fail_out != NULL)
		*fail_out = fail;
	return r;
}
