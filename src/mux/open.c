/* Making handles: of fds, of endpoints, of accepted connections. */
#include "mux_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making one ---- */

static const size_t sizes[] = {
	[SCONCE_MUX_STREAM] = sizeof(struct stream_handle),
	[SCONCE_MUX_DGRAM] = sizeof(struct dgram_handle),
	[SCONCE_MUX_LISTENER] = sizeof(struct listener_handle),
};

static struct sconce_sock *
base_of(struct sconce_mux_handle *h)
{
	switch (h->kind) {
	case SCONCE_MUX_DGRAM:
		return &SCONCE_CONTAINER_OF(h, struct dgram_handle, h)->dgram.sock;
	case SCONCE_MUX_LISTENER:
		return &SCONCE_CONTAINER_OF(h, struct listener_handle, h)->listener.sock;
	default:
		return &SCONCE_CONTAINER_OF(h, struct stream_handle, h)->stream.sock;
	}
}

static bool
is_manual(enum sconce_mux_kind kind, const struct sconce_mux_options *o)
{
	return kind == SCONCE_MUX_LISTENER ? o->manual_accept : o->manual_read || o->manual_write;
}

/* A handle without a socket, for which the queue has room. */
static struct sconce_mux_handle *
handle_new(struct sconce_mux *m, enum sconce_mux_kind kind, const struct sconce_mux_options *o)
{
	struct sconce_mux_handle *h;

	if (sconce__mux_reserve(m, 1, 0) < 0)
		return NULL;
	h = calloc(1, sizes[kind]);
	if (h == NULL)
		return NULL;
	h->mux = m;
	h->kind = kind;
	h->sock = base_of(h);
	h->session = o->session;
	h->linger = o->linger > 0 ? o->linger : 30;
	h->meta = o->meta;
	if (kind == SCONCE_MUX_DGRAM)
		sconce__mux_prepare_retry(h);
	if (kind == SCONCE_MUX_LISTENER)
		h->flags = o->manual_accept ? H_NO_INPUT | H_MANUAL_READ : 0;
	else
		h->flags = (o->manual_read ? H_NO_INPUT | H_MANUAL_READ : 0u) | (o->manual_write ? H_MANUAL_WRITE : 0u);
	if (!is_manual(kind, o))
		return h;
	h->watch = calloc(1, sizeof(*h->watch));
	if (h->watch == NULL) {
		free(h);
		return NULL;
	}
	return h;
}

static void
handle_free(struct sconce_mux_handle *h)
{
	free(h->watch);
	free(h);
}

/* Its socket is made: it is one of the multiplexer's from now on. */
static void
enroll(struct sconce_mux_handle *h)
{
	struct sconce_mux *m = h->mux;

	TAILQ_INSERT_TAIL(&m->all, h, all);
	m->count++;
	m->objects++;
	sconce_hold(h->sock);			/* until CLOSED has been taken */
	sconce_set_gather(h->sock, false);
	if ((h->flags & H_NO_INPUT) && h->kind == SCONCE_MUX_LISTENER)
		sconce_listener_pause(&SCONCE_CONTAINER_OF(h, struct listener_handle, h)->listener);
	else if (h->flags & H_NO_INPUT)
		sconce_pause(h->sock, SCONCE_PAUSE_APP);
}

static int
init_stream(struct sconce_mux_handle *h, int fd, const struct sconce_mux_options *o)
{
	struct sconce_stream_options so = { .filter = o->filter, .out_filter = o->out_filter, .eof = SCONCE_EOF_MANUAL,
		.read_size = o->read_size, .max_buffer = o->max_buffer };

	return sconce_stream_init(&SCONCE_CONTAINER_OF(h, struct stream_handle, h)->stream, h->mux->loop,
		&sconce__mux_stream_ops, fd, &so);
}

static int
init_dgram(struct sconce_mux_handle *h, int fd, const struct sconce_mux_options *o)
{
	struct sconce_dgram_options d = { .max_size = o->read_size, .errors = o->errors };

	return sconce_dgram_init(&SCONCE_CONTAINER_OF(h, struct dgram_handle, h)->dgram, h->mux->loop,
		&sconce__mux_dgram_ops, fd, &d);
}

/* On `endpoint`, or, when that is NULL, on `fd`. */
static int
init_listener(struct sconce_mux_handle *h, const char *endpoint, int fd, const struct sconce_mux_options *o,
	struct sconce_fail *fail_out)
{
	struct listener_handle *l = SCONCE_CONTAINER_OF(h, struct listener_handle, h);
	struct sconce_loop *loop = h->mux->loop;
	int r = endpoint != NULL ? sconce_listen(&l->listener, loop, &sconce__mux_listener_ops, endpoint, fail_out) :
	    sconce_listen_fd(&l->listener, loop, &sconce__mux_listener_ops, fd, fail_out);

	if (r < 0)
		return r;
	l->children = *o;
	l->children.listen = false;
	sconce_filter_ref(o->filter);
	sconce_filter_ref(o->out_filter);
	return 0;
}

/* READY: now, when a connect that goes on has succeeded, or when the kernel takes something. */
static int
expect_ready(struct sconce_mux_handle *h)
{
	struct pollfd p = { .fd = sconce_fd(h->sock), .events = POLLIN | POLLOUT };
	struct sconce_addr peer;
	bool over;

	if (h->kind != SCONCE_MUX_STREAM || (h->flags & (H_NO_OUTPUT | H_MANUAL_WRITE)))
		return 0;
	h->flags |= H_BEGIN;
	poll(&p, 1, 0);
	over = (p.revents & (POLLIN | POLLHUP | POLLERR)) == (POLLIN | POLLHUP);	/* it has no peer either, but input */
	if (!(h->flags & H_NOTSOCK) && !over && sconce_peer(h->sock, &peer) == -ENOTCONN)
		return sconce_connecting(h->sock);
	if (p.revents & ~POLLIN)
		sconce__mux_begin(h);
	else
		h->flags |= H_LATE;
	return 0;
}

/* ---- fds ---- */

/* What is wrong with the options, alone or for this kind; NULL: nothing. */
static const char *
contradiction(const struct sconce_mux_options *o, enum sconce_mux_kind kind)
{
	if (o->stream && o->datagram)
		return "it cannot be a stream and of datagrams";
	if (o->datagram && kind != SCONCE_MUX_DGRAM)
		return "what listens is not of datagrams";
	if (kind != SCONCE_MUX_DGRAM)
		return NULL;
	if (o->stream)
		return "it is of datagrams, and no stream";
	if (o->listen)
		return "a datagram socket does not listen (the option)";
	return o->filter != NULL || o->out_filter != NULL ? "a filter needs a stream; a datagram is a record" : NULL;
}

/* What `fd` is, unless the options say so. */
static int
kind_of(int fd, const struct sconce_mux_options *o, enum sconce_mux_kind *kind_out, bool *socket_out)
{
	struct sconce_fd_info info;
	int r = sconce_fd_info(fd, &info);

	if (r < 0)
		return r;
	*socket_out = info.is_socket;
	if (o->listen || info.listening)
		*kind_out = SCONCE_MUX_LISTENER;
	else if (o->datagram || (!o->stream && (info.type == SOCK_DGRAM || info.type == SOCK_RAW)))
		*kind_out = SCONCE_MUX_DGRAM;
	else
		*kind_out = SCONCE_MUX_STREAM;
	return contradiction(o, *kind_out) == NULL ? 0 : -EINVAL;
}

/* Only what is added by hand is looked for: accepted and connected ones do not come here. */
static bool
is_managed(const struct sconce_mux *m, int fd)
{
	const struct sconce_mux_handle *h;

	TAILQ_FOREACH(h, &m->all, all)
		if (sconce_fd(h->sock) == fd)
			return true;
	return false;
}

static int
init(struct sconce_mux_handle *h, int fd, const struct sconce_mux_options *o)
{
	switch (h->kind) {
	case SCONCE_MUX_DGRAM:
		return init_dgram(h, fd, o);
	case SCONCE_MUX_LISTENER:
		return init_listener(h, NULL, fd, o, NULL);
	default:
		return init_stream(h, fd, o);
	}
}

/* It cannot begin after all.  What was given with it is still the caller's: 0 or -errno, the fd stays open. */
static int
take_back(struct sconce_mux_handle *h, int r)
{
	sconce__mux_quiet(h);
	sconce_detach(h->sock, NULL, 0, NULL);
	sconce__mux_let_go(h);
	return r;
}

/* An open fd as a handle. */
static int
adopt(struct sconce_mux *m, int fd, enum sconce_mux_kind kind, bool is_socket, const struct sconce_mux_options *o,
	struct sconce_mux_handle **out)
{
	struct sconce_mux_handle *h = handle_new(m, kind, o);
	int flags = fcntl(fd, F_GETFL), r;

	if (h == NULL)
		return -ENOMEM;
	if (!is_socket)
		h->flags |= H_NOTSOCK | ((flags & O_ACCMODE) == O_WRONLY ? H_NO_INPUT : 0u) |
		    ((flags & O_ACCMODE) == O_RDONLY ? H_NO_OUTPUT : 0u);
	r = init(h, fd, o);
	if (r < 0) {
		handle_free(h);
		return r;
	}
	enroll(h);
	if ((h->flags & H_MANUAL_READ) && (h->flags & H_MANUAL_WRITE))
		fcntl(fd, F_SETFL, flags);	/* who does both by hand may want to block */
	*out = h;
	return 0;
}

int
sconce_mux_add(struct sconce_mux *m, int fd, const struct sconce_mux_options *opts, struct sconce_mux_handle **handle_out)
{
	const struct sconce_mux_options *o = opts != NULL ? opts : &m->defaults;
	enum sconce_mux_kind kind;
	struct sconce_mux_handle *h;
	bool is_socket;
	int r = fd < 0 ? -EBADF : is_managed(m, fd) ? -EEXIST : kind_of(fd, o, &kind, &is_socket);

	if (r == 0)
		r = adopt(m, fd, kind, is_socket, o, &h);
	if (r < 0)
		return r;
	r = expect_ready(h);
	if (r == 0)
		r = sconce__mux_watch(h);
	if (r < 0)
		return take_back(h, r);
	h->free_meta = o->free_meta;
	if (handle_out != NULL)
		*handle_out = h;
	return 0;
}

int
sconce__mux_accept(struct listener_handle *l, int fd, const struct sconce_addr *peer)
{
	struct sconce_mux *m = l->h.mux;
	struct accepted_detail *d = malloc(sizeof(*d));
	struct sconce_mux_handle *h;
	int r = d != NULL ? adopt(m, fd, SCONCE_MUX_STREAM, true, &l->children, &h) : -ENOMEM;

	if (r < 0) {
		free(d);
		return r;
	}
	*d = (struct accepted_detail){ .parent = &l->h, .from = *peer };
	if (peer->any.sa_family == AF_UNIX)
		sconce_peer_cred(h->sock, &d->cred);
	r = sconce__mux_watch(h);
	if (r < 0) {
		free(d);
		sconce__mux_let_go(h);
		return 0;			/* the fd is closed with it */
	}
	sconce__mux_queue(m, SCONCE_EVENT_ACCEPTED, h, d);
	return 0;
}

/* ---- endpoints ---- */

/* Whether it is one of datagrams: 1, 0, or -errno with *fail_out set. */
static int
is_datagram(const char *endpoint, unsigned role, const struct sconce_mux_options *o, struct sconce_fail *fail_out)
{
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fd_info info;
	int r = sconce_endpoint_parse(endpoint, role, NULL, list, fail_out);

	if (r < 0)
		return r;
	if (list[0].type == 0 && sconce_fd_info(list[0].fd, &info) == 0)
		list[0].type = info.type;
	return o->datagram || list[0].type == SOCK_DGRAM || list[0].type == SOCK_RAW;
}

/* With `why` the options are wrong, otherwise something has failed. */
static int
refuse(struct sconce_fail *fail_out, const char *endpoint, int errnum, const char *why)
{
	if (fail_out == NULL)
		return -errnum;
	*fail_out = (struct sconce_fail){ .operation = why != NULL ? "parse" : "socket", .errnum = errnum };
	snprintf(fail_out->text, sizeof(fail_out->text), "%s: %s", endpoint, why != NULL ? why : sconce_strerror(errnum));
	return -errnum;
}

/* A handle whose socket has no fd yet. */
static int
handle_unopened(struct sconce_mux *m, enum sconce_mux_kind kind, const struct sconce_mux_options *o,
	struct sconce_mux_handle **out)
{
	struct sconce_mux_handle *h = handle_new(m, kind, o);
	int r;

	if (h == NULL)
		return -ENOMEM;
	r = init(h, -1, o);
	if (r < 0) {
		handle_free(h);
		return r;
	}
	enroll(h);
	*out = h;
	return 0;
}

static int
bind_endpoint(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *o, struct sconce_mux_handle **out,
	struct sconce_fail *fail_out)
{
	struct sconce_mux_handle *h;
	int r = handle_unopened(m, SCONCE_MUX_DGRAM, o, &h);

	if (r < 0)
		return refuse(fail_out, endpoint, -r, NULL);
	r = sconce_bind(h->sock, endpoint, fail_out);
	if (r < 0) {
		sconce__mux_let_go(h);
		return r;
	}
	*out = h;
	return 0;
}

static int
listen_endpoint(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *o, struct sconce_mux_handle **out,
	struct sconce_fail *fail_out)
{
	struct sconce_mux_handle *h = handle_new(m, SCONCE_MUX_LISTENER, o);
	int r;

	if (h == NULL)
		return refuse(fail_out, endpoint, ENOMEM, NULL);
	r = init_listener(h, endpoint, -1, o, fail_out);
	if (r < 0) {
		handle_free(h);
		return r;
	}
	enroll(h);
	*out = h;
	return 0;
}

int
sconce_mux_listen(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *opts,
	struct sconce_mux_handle **handle_out, struct sconce_fail *fail_out)
{
	const struct sconce_mux_options *o = opts != NULL ? opts : &m->defaults;
	int datagram = is_datagram(endpoint, SCONCE_ENDPOINT_LISTEN, o, fail_out), r;
	struct sconce_mux_handle *h = NULL;
	const char *why;

	if (datagram < 0)
		return datagram;
	why = contradiction(o, datagram ? SCONCE_MUX_DGRAM : SCONCE_MUX_LISTENER);
	if (why != NULL)
		return refuse(fail_out, endpoint, EINVAL, why);
	r = datagram ? bind_endpoint(m, endpoint, o, &h, fail_out) : listen_endpoint(m, endpoint, o, &h, fail_out);
	if (r < 0)
		return r;
	r = sconce__mux_watch(h);
	if (r < 0) {
		sconce__mux_let_go(h);
		return refuse(fail_out, endpoint, -r, NULL);
	}
	h->free_meta = o->free_meta;
	if (handle_out != NULL)
		*handle_out = h;
	return 0;
}

int
sconce_mux_connect(struct sconce_mux *m, const char *endpoint, const struct sconce_mux_options *opts,
	struct sconce_mux_handle **handle_out, struct sconce_fail *fail_out)
{
	const struct sconce_mux_options *o = opts != NULL ? opts : &m->defaults;
	int datagram = is_datagram(endpoint, SCONCE_ENDPOINT_CONNECT, o, fail_out), r;
	enum sconce_mux_kind kind = datagram ? SCONCE_MUX_DGRAM : SCONCE_MUX_STREAM;
	struct sconce_mux_handle *h;
	const char *why;

	if (datagram < 0)
		return datagram;
	why = o->listen ? "what connects does not listen" : contradiction(o, kind);
	if (why != NULL)
		return refuse(fail_out, endpoint, EINVAL, why);
	r = handle_unopened(m, kind, o, &h);
	if (r < 0)
		return refuse(fail_out, endpoint, -r, NULL);
	r = sconce_connect(h->sock, endpoint);
	if (r < 0) {
		const struct sconce_fail *fail = sconce_failure(h->sock);

		if (fail_out != NULL && fail != NULL)
			*fail_out = *fail;
		else
			refuse(fail_out, endpoint, -r, NULL);
		sconce__mux_let_go(h);
		return r;
	}
	if (kind == SCONCE_MUX_STREAM && !o->manual_write)
		h->flags |= H_BEGIN;
	h->free_meta = o->free_meta;
	if (handle_out != NULL)
		*handle_out = h;
	return 0;
}
