#include "proxy_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, TEXT_BYTES = 4 << 20 };

static char text[TEXT_BYTES + 1];	/* what the reading functions return */

bool
kit_sanitized(void)
{
	const char *san = getenv("SAN");

	return san != NULL && san[0] != '\0';
}

/* ---- sockets ---- */

static void
patience(int fd)
{
	struct timeval t = { .tv_sec = PATIENCE_MS / 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static struct sockaddr_in
loopback(int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return in;
}

/* Listens on a port, any free one if it is 0. */
static int
listen_socket(int *port_out)
{
	struct sockaddr_in in = loopback(*port_out);
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fd, 128), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port_out = ntohs(in.sin_port);
	return fd;
}

int
kit_client(const struct kit *k)
{
	struct sockaddr_in in = loopback(k->port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	patience(fd);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

void
kit_node_down(struct kit *k, int node)
{
	close(k->nodes[node]);
	k->nodes[node] = -1;
}

void
kit_node_up(struct kit *k, int node)
{
	k->nodes[node] = listen_socket(&k->node_ports[node]);
}

bool
kit_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

bool
kit_accept_pending(const struct kit *k, int node, int ms)
{
	return kit_readable(k->nodes[node], ms);
}

int
kit_accept(const struct kit *k, int node)
{
	int fd;

	ck_assert_msg(kit_accept_pending(k, node, PATIENCE_MS), "no connection to node %d", node);
	fd = accept4(k->nodes[node], NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	patience(fd);
	return fd;
}

void
kit_reset(int fd)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

void
kit_send_bytes(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	ck_assert_msg(n == (ssize_t)len, "send: %zd of %zu: %s", n, len, strerror(errno));
}

void
kit_send(int fd, const char *s)
{
	kit_send_bytes(fd, s, strlen(s));
}

pid_t
kit_sender(int fd, const char *head, const char *data, size_t len)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	send(fd, head, strlen(head), MSG_NOSIGNAL);
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		data += n;
		len -= (size_t)n;
	}
	_exit(0);
}

void
kit_wait(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

/* ---- reading ---- */

const char *
kit_bytes(int fd, size_t len)
{
	size_t have = 0;

	ck_assert_uint_le(len, TEXT_BYTES);
	while (have < len) {
		ssize_t n = recv(fd, text + have, len - have, 0);

		ck_assert_msg(n > 0, "%s after %zu of %zu bytes", n == 0 ? "end" : strerror(errno), have, len);
		have += (size_t)n;
	}
	text[len] = '\0';
	return text;
}

void
kit_skip(int fd, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(fd, text, len < TEXT_BYTES ? len : TEXT_BYTES, 0);

		ck_assert_msg(n > 0, "%s, %zu bytes to go", n == 0 ? "end" : strerror(errno), len);
		len -= (size_t)n;
	}
}

/* One byte at a time, so that nothing behind it is taken. */
static size_t
read_until(int fd, const char *mark, char *to, size_t size)
{
	size_t have = 0, len = strlen(mark);

	while (have < len || memcmp(to + have - len, mark, len) != 0) {
		ssize_t n = have < size ? recv(fd, to + have, 1, 0) : 0;

		if (n <= 0)
			to[have] = '\0';
		ck_assert_msg(n > 0, "%s within a head: %.300s", n == 0 ? "end" : strerror(errno), to);
		have++;
	}
	to[have] = '\0';
	return have;
}

const char *
kit_head(int fd)
{
	read_until(fd, "\r\n\r\n", text, TEXT_BYTES);
	return text;
}

const char *
kit_rest(int fd, bool *reset_out)
{
	size_t have = 0;
	ssize_t n;

	while ((n = recv(fd, text + have, TEXT_BYTES - have, 0)) > 0)
		have += (size_t)n;
	ck_assert_msg(n == 0 || (reset_out != NULL && errno == ECONNRESET), "%s", strerror(errno));
	if (reset_out != NULL)
		*reset_out = n < 0;
	text[have] = '\0';
	return text;
}

const char *
kit_chunked(int fd)
{
	char line[64];
	size_t have = 0, size;

	do {
		read_until(fd, "\r\n", line, sizeof(line) - 1);
		size = strtoul(line, NULL, 16);
		ck_assert_uint_le(have + size, TEXT_BYTES);
		for (size_t got = 0; got < size; ) {
			ssize_t n = recv(fd, text + have, size - got, 0);

			ck_assert_int_gt(n, 0);
			got += (size_t)n;
			have += (size_t)n;
		}
		read_until(fd, "\r\n", line, sizeof(line) - 1);
	} while (size > 0);
	text[have] = '\0';
	return text;
}

void
kit_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0, "not the end: %s", n > 0 ? "a byte" : strerror(errno));
}

void
kit_gone(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "not gone: %s", n > 0 ? "a byte" : strerror(errno));
}

bool
kit_has(const char *head, const char *line)
{
	size_t len = strlen(line);

	for (const char *p = head; (p = strstr(p, line)) != NULL; p++)
		if ((p == head || p[-1] == '\n') && p[len] == '\r')
			return true;
	return false;
}

const char *
kit_exchange(const struct kit *k, int client, int *backend, const char *request, const char *response)
{
	static char head[64 * 1024];

	kit_send(client, request);
	if (*backend < 0)
		*backend = kit_accept(k, 0);
	kit_head(*backend);
	ck_assert_uint_lt(strlen(text), sizeof(head));
	memcpy(head, text, strlen(text) + 1);
	kit_send(*backend, response);
	return head;
}

/* ---- the daemon ---- */

static void
write_config(const struct kit *k, int nodes, const char *settings)
{
	char path[80];
	FILE *out;

	snprintf(path, sizeof(path), "%s/conf", k->dir);
	out = fopen(path, "we");
	ck_assert_ptr_nonnull(out);
	fprintf(out, "CREATE POOL nodes\n");
	for (int i = k->node_count - nodes; i < k->node_count; i++)
		fprintf(out, "POOL nodes ADD 127.0.0.1:%d\n", k->node_ports[i]);
	fprintf(out, "CREATE SERVICE web\nSET role = reverse_proxy\nSET listen = 127.0.0.1:%d\nSET pool = nodes\n", k->port);
	fprintf(out, "SET persist_client = 1\nSET persist_backend = 1\n%sENABLE web\n", settings);
	ck_assert_int_eq(fclose(out), 0);
}

static void
remove_config(const struct kit *k)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/conf", k->dir);
	unlink(path);
	rmdir(k->dir);
}

void
kit_configure(struct kit *k, int nodes, const char *settings)
{
	mkdir(k->dir, 0700);
	write_config(k, nodes, settings);
}

/* How it is started. */
struct start {
	int	fds;			/* at most so many; 0: any number */
	int	listener;		/* becomes fd 3; -1: none */
	const char *const *args;	/* more arguments; NULL: none */
};

/* As sd_listen_fds(3) wants it. */
static void
hand_over(int listener)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	if (listener == 3)
		fcntl(3, F_SETFD, 0);
	else
		dup2(listener, 3);
}

static void
run_daemon(const struct kit *k, const struct start *how, int out, int err)
{
	struct rlimit limit = { (rlim_t)how->fds, (rlim_t)how->fds };
	const char *build = getenv("BUILD");
	char path[512], config[80];
	const char *argv[16] = { "sconced", "--config", config };

	for (int i = 0; how->args != NULL && how->args[i] != NULL && i < 12; i++)
		argv[3 + i] = how->args[i];
	snprintf(path, sizeof(path), "%s/sconced", build != NULL ? build : "build");
	snprintf(config, sizeof(config), "%s/conf", k->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* it goes with a test that fails */
	if (how->fds > 0)
		setrlimit(RLIMIT_NOFILE, &limit);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (how->listener >= 0)
		hand_over(how->listener);
	execv(path, (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

static void
await_running(int out, int err)
{
	char said[4096];
	size_t have = 0;
	ssize_t n;

	while ((n = read(out, said + have, sizeof(said) - 1 - have)) > 0) {
		have += (size_t)n;
		said[have] = '\0';
		if (strstr(said, "Running.") != NULL)
			return;
	}
	n = read(err, said, sizeof(said) - 1);
	ck_abort_msg("sconced did not start: %.*s", (int)(n > 0 ? n : 0), said);
}

/* In a directory of its own, with k->port chosen. */
static void
launch(struct kit *k, const char *settings, const struct start *how)
{
	int out[2], err[2];

	snprintf(k->dir, sizeof(k->dir), "/tmp/sconced-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(k->dir));
	write_config(k, k->node_count, settings);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
	k->pid = fork();
	if (k->pid == 0)
		run_daemon(k, how, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	k->log = err[0];
	await_running(out[0], err[0]);
	kit_log(k, "started, pid ");
	close(out[0]);
	remove_config(k);
}

static void
open_nodes(struct kit *k, int node_count)
{
	memset(k, 0, sizeof(*k));
	k->node_count = node_count;
	for (int i = 0; i < node_count; i++)
		k->nodes[i] = listen_socket(&k->node_ports[i]);
}

static void
start(struct kit *k, int node_count, const char *settings, const struct start *how)
{
	open_nodes(k, node_count);
	close(listen_socket(&k->port));		/* a port that is free */
	launch(k, settings, how);
}

void
kit_start(struct kit *k, int node_count, const char *settings)
{
	start(k, node_count, settings, &(struct start){ .listener = -1 });
}

void
kit_start_limited(struct kit *k, int node_count, const char *settings, int fds)
{
	start(k, node_count, settings, &(struct start){ .fds = fds, .listener = -1 });
}

void
kit_start_with(struct kit *k, int node_count, const char *settings, const char *const *args)
{
	start(k, node_count, settings, &(struct start){ .listener = -1, .args = args });
}

void
kit_start_activated(struct kit *k, int node_count, const char *settings)
{
	struct start how = { .fds = 0 };

	open_nodes(k, node_count);
	how.listener = listen_socket(&k->port);
	launch(k, settings, &how);
	close(how.listener);
}

void
kit_limit(const struct kit *k, int fds)
{
	struct rlimit limit;

	ck_assert_int_eq(prlimit(k->pid, RLIMIT_NOFILE, NULL, &limit), 0);
	limit.rlim_cur = fds > 0 ? (rlim_t)fds : limit.rlim_max;
	ck_assert_int_eq(prlimit(k->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

void
kit_stop(struct kit *k)
{
	char said[8192];
	size_t have = 0;
	ssize_t n;
	int status;

	kill(k->pid, SIGTERM);
	while (have < sizeof(said) - 1 && (n = read(k->log, said + have, sizeof(said) - 1 - have)) > 0)
		have += (size_t)n;
	said[have] = '\0';
	close(k->log);
	ck_assert_int_eq(waitpid(k->pid, &status, 0), k->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sconced ended with %#x: %s", (unsigned)status, said);
	for (int i = 0; i < k->node_count; i++)
		if (k->nodes[i] >= 0)
			close(k->nodes[i]);
	remove_config(k);			/* of kit_configure() */
}

const char *
kit_log(struct kit *k, const char *wanted)
{
	static char said[65536];
	size_t have = 0;
	ssize_t n;

	do {
		ck_assert_msg(kit_readable(k->log, PATIENCE_MS), "never logged: %s", wanted);
		n = read(k->log, said + have, sizeof(said) - 1 - have);
		ck_assert_int_gt(n, 0);
		have += (size_t)n;
		said[have] = '\0';
	} while (strstr(said, wanted) == NULL);
	return said;
}

long
kit_rss(const struct kit *k)
{
	char path[64], line[256];
	long kilobytes = -1;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)k->pid);
	in = fopen(path, "re");
	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in) != NULL)
		if (sscanf(line, "VmRSS: %ld", &kilobytes) == 1)
			break;
	fclose(in);
	return kilobytes;
}

long
kit_cpu(const struct kit *k)
{
	unsigned long user = 0, system = 0;
	char path[64];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)k->pid);
	in = fopen(path, "re");
	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(fscanf(in, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
	fclose(in);
	return (long)(user + system);
}
