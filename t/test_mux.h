/* What the tests of the multiplexer share: one of them on a loop of its own, a log of its events by handle, and plain sockets for the
 * other ends.  Every event goes through mux_event(), which asserts the order that sconce/mux.h promises (EM-21). */
#ifndef TEST_MUX_H
#define TEST_MUX_H

#include "harness.h"
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/sconce.h>

#define MUX_UNUSED __attribute__((unused))

static struct sconce_mux *m;

/* What has been told of a handle. */
struct track {
	struct sconce_mux_handle *h;	/* NULL once CLOSED was given */
	char log[1024];			/* "accepted read sent closing closed " */
	char data[65536];		/* all that READ and READ_LAST brought, a '|' behind each */
	size_t len;
	int reads, errors, closing, closed, reason;
	uint64_t missing, missing_closing;
	struct sconce_fail fail;
	struct sconce_mux_handle *parent;
};

enum { TRACKS = 80 };
static struct track tracks[TRACKS];
static int track_count;
static char order[4096];		/* of all: the first letter of the meta, or '?', and the event: "a.read b.read " */

static const char *const event_names[] = {
	"timeout", "error", "accepted", "ready", "accepting", "read", "read_last", "sent", "closing", "closed", "can_read", "can_write",
};

static MUX_UNUSED struct track *
track_of(struct sconce_mux_handle *h)
{
	for (int i = 0; i < track_count; i++)
		if (tracks[i].h == h)
			return &tracks[i];
	ck_assert_int_lt(track_count, TRACKS);
	memset(&tracks[track_count], 0, sizeof(tracks[0]));
	tracks[track_count].h = h;
	return &tracks[track_count++];
}

static inline void
track_append(struct track *t, const struct sconce_event *ev)
{
	size_t room = sizeof(t->data) - t->len - 2, n = ev->len < room ? ev->len : room;

	if (n > 0)
		memcpy(t->data + t->len, ev->data, n);
	t->len += n;
	t->data[t->len++] = '|';
	t->data[t->len] = '\0';
}

static inline void
track_add(char *log, size_t size, const char *text)
{
	size_t at = strlen(log);

	snprintf(log + at, size - at, "%s ", text);
}

/* What may come after what. */
static inline void
track_check(const struct track *t, const struct sconce_event *ev)
{
	bool begin = ev->type == SCONCE_EVENT_ACCEPTED || ev->type == SCONCE_EVENT_READY;
	bool input = ev->type == SCONCE_EVENT_READ || ev->type == SCONCE_EVENT_READ_LAST;

	ck_assert_msg(!t->closed, "something after closed: %s", t->log);
	if (begin)
		ck_assert_msg(t->log[0] == '\0' || (ev->type == SCONCE_EVENT_READY && strstr(t->log, "sent") == NULL), "late: %s", t->log);
	if (input)
		ck_assert_msg(!t->closing && strstr(t->log, "read_last") == NULL, "input after its end: %s", t->log);
	if (ev->type == SCONCE_EVENT_CLOSING)
		ck_assert_int_eq(t->closing, 0);
	if (ev->type == SCONCE_EVENT_ERROR && sconce_mux_kind(ev->handle) == SCONCE_MUX_STREAM)
		ck_assert_msg(t->errors == 0 && !t->closing, "one error, before the end: %s", t->log);
}

static MUX_UNUSED struct track *
mux_event(const struct sconce_event *ev)
{
	const char *name = ev->type < SCONCE_EVENT_USER ? event_names[ev->type] : "user";
	const char *tag = ev->handle != NULL && sconce_mux_meta(ev->handle) != NULL ? sconce_mux_meta(ev->handle) : "?";
	struct track *t;
	char text[64];

	snprintf(text, sizeof(text), "%.1s.%s", tag, name);
	track_add(order, sizeof(order), text);
	if (ev->handle == NULL || ev->type >= SCONCE_EVENT_USER)
		return NULL;
	t = track_of(ev->handle);
	track_check(t, ev);
	track_add(t->log, sizeof(t->log), name);
	t->reads += ev->type == SCONCE_EVENT_READ;
	t->errors += ev->type == SCONCE_EVENT_ERROR;
	t->closing += ev->type == SCONCE_EVENT_CLOSING;
	t->closed += ev->type == SCONCE_EVENT_CLOSED;
	if (ev->type == SCONCE_EVENT_READ || ev->type == SCONCE_EVENT_READ_LAST)
		track_append(t, ev);
	if (ev->type == SCONCE_EVENT_ERROR)
		t->fail = ev->fail;
	if (ev->type == SCONCE_EVENT_ACCEPTED)
		t->parent = ev->parent;
	if (ev->type == SCONCE_EVENT_CLOSING)
		t->missing_closing = ev->missing;
	if (ev->type == SCONCE_EVENT_CLOSED) {
		t->missing = ev->missing;
		t->reason = ev->reason;
		t->h = NULL;
	}
	return t;
}

/* The next event, which must come soon; noted. */
static MUX_UNUSED struct sconce_event
mux_get(void)
{
	struct sconce_event ev;

	ck_assert_msg(sconce_mux_next(m, 5, &ev) == 1, "no event after: %s", order);
	mux_event(&ev);
	return ev;
}

/* That event next. */
static MUX_UNUSED struct sconce_event
mux_expect(int type)
{
	struct sconce_event ev = mux_get();

	ck_assert_msg(ev.type == type, "%s instead of %s; %s", ev.type < SCONCE_EVENT_USER ? event_names[ev.type] : "user",
		type < SCONCE_EVENT_USER ? event_names[type] : "user", order);
	return ev;
}

/* Takes events until `cond` holds, and then all that is left. */
#define MUX_UNTIL(cond) do { \
		for (int turn_ = 0; turn_ < 100000 && !(cond); turn_++) \
			mux_get(); \
	} while (0)

/* Takes all that comes without waiting long. */
static MUX_UNUSED void
mux_settle(void)
{
	struct sconce_event ev;

	for (int quiet = 0, r; quiet < 3;) {
		r = sconce_mux_next(m, 0.002, &ev);
		ck_assert_int_ge(r, 0);
		if (r == 1)
			mux_event(&ev);
		else
			quiet++;
	}
}

static MUX_UNUSED void
mux_forget(void)
{
	track_count = 0;
	order[0] = '\0';
}

static MUX_UNUSED void
mux_setup(void)
{
	mux_forget();
	ck_assert_int_eq(sconce_mux_new(NULL, NULL, &m), 0);
}

static MUX_UNUSED void
mux_teardown(void)
{
	if (m == NULL)
		return;
	sconce_verify(sconce_mux_loop(m));
	ck_assert_int_eq(sconce_mux_free(m), 0);
	m = NULL;
}

static MUX_UNUSED TCase *
mux_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, mux_setup, mux_teardown);
	return tcase;
}

/* ---- the other ends ---- */

/* One side of a wire as a handle; *peer_out is the other side, a plain blocking fd. */
static MUX_UNUSED struct sconce_mux_handle *
mux_pair(enum wire wire, const struct sconce_mux_options *opts, int *peer_out)
{
	struct sconce_mux_handle *h;
	int fds[2];

	wire_make(wire, fds);
	ck_assert_int_eq(sconce_mux_add(m, fds[0], opts, &h), 0);
	*peer_out = fds[1];
	return h;
}

static MUX_UNUSED struct sconce_mux_handle *
mux_listening(const char *endpoint, const struct sconce_mux_options *opts)
{
	struct sconce_mux_handle *h;
	struct sconce_fail fail;

	ck_assert_msg(sconce_mux_listen(m, endpoint, opts, &h, &fail) == 0, "%s", fail.text);
	return h;
}

/* A plain connection to a listener. */
static MUX_UNUSED int
plain_connect(struct sconce_mux_handle *listener)
{
	struct sconce_addr a;
	int fd;

	ck_assert_int_eq(sconce_local(sconce_mux_sock(listener), &a), 0);
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, &a.any, a.len), 0);
	return fd;
}

static MUX_UNUSED void
say(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* All that comes until the end (or a reset), at most `size`. */
static MUX_UNUSED size_t
hear_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, buf + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

static MUX_UNUSED struct sconce_filter *
lines(void)
{
	struct sconce_filter *f;

	ck_assert_int_eq(sconce_filter_line(&(struct sconce_line_options){ .in_end = "\n" }, &f), 0);
	return f;
}

static MUX_UNUSED struct sconce_filter *
fixed(size_t size)
{
	struct sconce_filter *f;

	ck_assert_int_eq(sconce_filter_fixed(size, &f), 0);
	return f;
}

static MUX_UNUSED struct sconce_filter *
split(const char *delimiter)
{
	struct sconce_filter *f;

	ck_assert_int_eq(sconce_filter_split(delimiter, strlen(delimiter), &f), 0);
	return f;
}

#endif
