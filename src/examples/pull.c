/* A store of values by key, with a loop of its own that asks for one event after the other.
 *
 *	pull [ENDPOINT]			by default 127.0.0.1:7071; one command a line:
 *
 *	set KEY VALUE	get KEY		del KEY		count		quit
 *
 * All that happens is in main()'s loop, and nothing calls back.  Compare chat.c, where hooks are called. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <sconce/sconce.h>

enum { LINE_MAX_BYTES = 1024, UNREAD_MAX = 256 * 1024, ENTRIES_MAX = 10000, IDLE_SECONDS = 300 };

struct entry {
	LIST_ENTRY(entry) link;
	const char *value;
	char key[];			/* and the value behind it */
};

static LIST_HEAD(, entry) entries = LIST_HEAD_INITIALIZER(entries);
static unsigned count;

static struct entry *
find(const char *key)
{
	struct entry *e;

	LIST_FOREACH(e, &entries, link)
		if (strcmp(e->key, key) == 0)
			break;
	return e;
}

static void
drop(struct entry *e)
{
	LIST_REMOVE(e, link);
	count--;
	free(e);
}

static const char *
set(const char *key, const char *value)
{
	size_t key_size = strlen(key) + 1, size = strlen(value) + 1;
	struct entry *old = find(key), *e = count < ENTRIES_MAX ? malloc(sizeof(*e) + key_size + size) : NULL;

	if (e == NULL)
		return "no room";
	memcpy(e->key, key, key_size);
	e->value = memcpy(e->key + key_size, value, size);
	if (old != NULL)
		drop(old);
	LIST_INSERT_HEAD(&entries, e, link);
	count++;
	return "ok";
}

/* One line to a client.  Who asks and does not read has to go. */
static void
answer(struct sconce_mux_handle *h, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 16];
	struct sconce_record rec;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	rec = sconce_record_of(line, strlen(line));
	if (sconce_mux_put(h, &rec) == SCONCE_QUEUED && sconce_mux_buflen(h) > UNREAD_MAX)
		sconce_mux_kill(h, SCONCE_REASON_OVERFLOW);
}

static void
obey(struct sconce_mux_handle *h, const struct sconce_event *ev)
{
	char line[LINE_MAX_BYTES + 1], *rest = line, *command, *key;
	struct entry *e;

	memcpy(line, ev->data, ev->len);	/* the filter gives no longer ones */
	line[ev->len] = '\0';
	command = strsep(&rest, " ");
	key = strsep(&rest, " ");
	if (strcmp(command, "quit") == 0)
		sconce_mux_close(h);
	else if (strcmp(command, "count") == 0)
		answer(h, "%u", count);
	else if (strcmp(command, "set") == 0 && key != NULL && rest != NULL)
		answer(h, "%s", set(key, rest));
	else if (key == NULL || (strcmp(command, "get") != 0 && strcmp(command, "del") != 0))
		answer(h, "what?");
	else if ((e = find(key)) == NULL)
		answer(h, "none");
	else if (command[0] == 'g')
		answer(h, "= %s", e->value);
	else {
		drop(e);
		answer(h, "ok");
	}
}

static void
handle_event(const struct sconce_event *ev)
{
	switch (ev->type) {
	case SCONCE_EVENT_ACCEPTED:
		sconce_set_timeout(sconce_mux_sock(ev->handle), SCONCE_TIMEOUT_INPUT, IDLE_SECONDS);
		break;
	case SCONCE_EVENT_READ:
	case SCONCE_EVENT_READ_LAST:
		if (ev->record != NULL)		/* a line, the last one perhaps without its end; not what an error has left */
			obey(ev->handle, ev);
		break;
	case SCONCE_EVENT_ERROR:
		fprintf(stderr, "pull: %s\n", ev->fail.text);
		break;
	case SCONCE_EVENT_CLOSING:
		if (ev->reason == SCONCE_REASON_OVERFLOW)	/* it can still be told why */
			answer(ev->handle, "that line is too long");
		break;
	default:
		break;
	}
}

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	(void)signo, (void)arg;
	sconce_loop_stop(loop);			/* sconce_mux_next() returns */
}

int
main(int argc, char **argv)
{
	const char *endpoint = argc > 1 ? argv[1] : "127.0.0.1:7071";
	struct sconce_mux_options opts = { .linger = 5 };
	struct sconce_fail fail = { .text = "no memory" };
	struct sconce_mux_handle *listener;
	struct sconce_mux *mux = NULL;
	struct sconce_addr addr;
	struct sconce_event ev;
	char text[SCONCE_ADDR_TEXT];
	int r = 1;

	if (argc > 2 || endpoint[0] == '-') {
		fprintf(stderr, "usage: pull [ENDPOINT]\n");
		return 2;
	}
	if (sconce_filter_line(NULL, &opts.filter) == 0)
		sconce_filter_set_max_record(opts.filter, LINE_MAX_BYTES);
	if (opts.filter == NULL || sconce_mux_new(NULL, NULL, &mux) < 0 ||
	    sconce_mux_listen(mux, endpoint, &opts, &listener, &fail) < 0) {
		fprintf(stderr, "pull: %s\n", fail.text);
	} else {
		sconce_signal(sconce_mux_loop(mux), SIGINT, interrupted, NULL);
		sconce_signal(sconce_mux_loop(mux), SIGTERM, interrupted, NULL);
		sconce_local(sconce_mux_sock(listener), &addr);
		printf("listening on %s\n", sconce_addr_text(&addr, text, sizeof(text)));
		fflush(stdout);
		while ((r = sconce_mux_next(mux, -1, &ev)) == 1)
			handle_event(&ev);
	}
	sconce_mux_free(mux);
	sconce_filter_unref(opts.filter);
	while (!LIST_EMPTY(&entries))
		drop(LIST_FIRST(&entries));
	return r != -ECANCELED;
}
