/* What the tests of sconced share: a daemon in a process of its own, and the test as its clients and as its backends, on
 * real sockets that block for at most 10 seconds.  Whatever goes wrong here ends the test. */
#ifndef PROXY_KIT_H
#define PROXY_KIT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { KIT_NODES = 2 };

struct kit {
	pid_t	pid;			/* of sconced */
	int	port;			/* where it listens */
	int	nodes[KIT_NODES];	/* listening sockets, its backends' */
	int	node_ports[KIT_NODES];
	int	node_count;
	int	log;			/* its stderr; read it with kit_log() */
	char	dir[64];
};

/* Starts sconced with a service "web" in front of `node_count` listening sockets.  `settings` are further lines of its
 * configuration, before ENABLE; the service is implied. */
void kit_start(struct kit *k, int node_count, const char *settings);
/* The same with at most `fds` file descriptors. */
void kit_start_limited(struct kit *k, int node_count, const char *settings, int fds);
/* The same as a service manager does it, which has opened its listening socket as fd 3. */
void kit_start_activated(struct kit *k, int node_count, const char *settings);
/* The same with further arguments, up to a NULL. */
void kit_start_with(struct kit *k, int node_count, const char *settings, const char *const *args);
/* Writes its configuration again, for a restart; `nodes` of those that there are, from the last one on. */
void kit_configure(struct kit *k, int nodes, const char *settings);
/* Lets it have so many from now on, below those that it has open; 0: as many as at first. */
void kit_limit(const struct kit *k, int fds);
/* Stops it and checks that it ended well: status 0 after SIGTERM, no sanitizer's complaint. */
void kit_stop(struct kit *k);
/* What it has logged since the last call (that it has started is not part of it); waits for a line that has `wanted` in
 * it. */
const char *kit_log(struct kit *k, const char *wanted);
/* Kilobytes resident, and clock ticks used. */
long kit_rss(const struct kit *k);
long kit_cpu(const struct kit *k);
/* Whether it was built with a sanitizer, so that memory says nothing. */
bool kit_sanitized(void);

/* ---- sockets ---- */

/* A new connection to sconced. */
int kit_client(const struct kit *k);
/* Closes one of the nodes' listening sockets: connects are refused. */
void kit_node_down(struct kit *k, int node);
/* Listens there again. */
void kit_node_up(struct kit *k, int node);
/* The next connection that it makes to a node. */
int kit_accept(const struct kit *k, int node);
/* Whether it makes one within `ms`. */
bool kit_accept_pending(const struct kit *k, int node, int ms);

/* Closes with a reset. */
void kit_reset(int fd);

void kit_send(int fd, const char *text);
void kit_send_bytes(int fd, const void *data, size_t len);
/* The same of a string literal that may hold NUL. */
#define KIT_SEND(fd, literal) kit_send_bytes((fd), (literal), sizeof(literal) - 1)

/* A process of its own sends head and data, and waits for whoever does not read. */
pid_t kit_sender(int fd, const char *head, const char *data, size_t len);
void kit_wait(pid_t pid);

/* Reads up to and with the empty line.  Static memory, until the next call of any of these. */
const char *kit_head(int fd);
/* Reads exactly `len` bytes. */
const char *kit_bytes(int fd, size_t len);
/* Reads and forgets `len` bytes. */
void kit_skip(int fd, size_t len);
/* Reads to the end of input; an error counts as the end if `reset_out` is not NULL, and is told there. */
const char *kit_rest(int fd, bool *reset_out);
/* Reads a chunked body to its end and returns it without the framing. */
const char *kit_chunked(int fd);
/* The end of input, now or soon, and nothing before it.  kit_gone() also accepts a reset. */
void kit_end(int fd);
void kit_gone(int fd);
/* Whether something (or the end) can be read within `ms`. */
bool kit_readable(int fd, int ms);

/* Whether a head has this line (case matters, without CRLF). */
bool kit_has(const char *head, const char *line);
#define kit_assert_line(head, line) ck_assert_msg(kit_has(head, line), "no \"%s\" in:\n%s", line, head)
#define kit_assert_no(head, text) ck_assert_msg(strstr(head, text) == NULL, "\"%s\" in:\n%s", text, head)
#define kit_assert_begins(head, text) \
	ck_assert_msg(strncmp(head, text, strlen(text)) == 0, "not \"%s\":\n%s", text, head)

/* A whole exchange: the request reaches a backend of node 0 (a new one, or `*backend` if it is >= 0), is answered with
 * `response`.  Returns the request's head as the backend got it. */
const char *kit_exchange(const struct kit *k, int client, int *backend, const char *request, const char *response);

#endif
