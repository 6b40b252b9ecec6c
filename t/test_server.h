/* What the tests of the server share: t/server/served.c run as a process, its log, and clients of it.  Every wait has an
 * end. */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include "harness.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIT_UNUSED __attribute__((unused))

enum { KIT_WAIT_MS = 15000, KIT_ARGS = 24 };

struct served {
	pid_t	pid;		/* 0: it has been reaped */
	int	out, err;	/* its stdout, and its stderr with the log */
	char	*log;		/* what came from there, terminated */
	size_t	len, seen;	/* bytes; those that kit_log() has passed */
	int	port;
};

static char kit_dir[64];

static KIT_UNUSED void
kit_setup(void)
{
	snprintf(kit_dir, sizeof(kit_dir), "/tmp/sconce-server-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(kit_dir));
}

static KIT_UNUSED void
kit_teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", kit_dir);
	ck_assert_int_eq(system(command), 0);
}

static KIT_UNUSED const char *
kit_path(const char *name)
{
	static char path[4][160];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", kit_dir, name);
	return p;
}

static KIT_UNUSED void
kit_write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static KIT_UNUSED const char *
kit_program(void)
{
	static char path[512];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/t/server/served", build != NULL ? build : "build");
	return path;
}

/* Starts a program with arguments up to a NULL. */
static KIT_UNUSED void
kit_exec_program(struct served *v, const char *program, const char *const *args)
{
	const char *argv[KIT_ARGS] = { program };
	int out[2], err[2], n = 1;

	while (args[n - 1] != NULL && n < KIT_ARGS - 1) {
		argv[n] = args[n - 1];
		n++;
	}
	ck_assert(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
	memset(v, 0, sizeof(*v));
	v->pid = fork();
	ck_assert_int_ge(v->pid, 0);
	if (v->pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	v->out = out[0];
	v->err = err[0];
	v->log = calloc(1, 1);
}

static KIT_UNUSED void
kit_exec(struct served *v, const char *const *args)
{
	kit_exec_program(v, kit_program(), args);
}

/* How many entries a directory has. */
static KIT_UNUSED int
kit_count(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Reads some of its log.  Returns false at its end. */
static KIT_UNUSED bool
kit_read_log(struct served *v)
{
	struct pollfd p = { .fd = v->err, .events = POLLIN };
	char buf[4096];
	ssize_t n;

	ck_assert_msg(poll(&p, 1, KIT_WAIT_MS) == 1, "it says nothing more; so far:\n%s", v->log);
	n = read(v->err, buf, sizeof(buf));
	if (n <= 0)
		return false;
	v->log = realloc(v->log, v->len + (size_t)n + 1);
	memcpy(v->log + v->len, buf, (size_t)n);
	v->len += (size_t)n;
	v->log[v->len] = '\0';
	return true;
}

/* Waits for a line of the log, behind those that were waited for before, with `text` in it; returns what follows it. */
static KIT_UNUSED const char *
kit_log(struct served *v, const char *text)
{
	const char *at;

	while ((at = strstr(v->log + v->seen, text)) == NULL || strchr(at, '\n') == NULL)
		ck_assert_msg(kit_read_log(v), "it ended without '%s'; its log:\n%s", text, v->log);
	v->seen = (size_t)(at - v->log) + strlen(text);
	return v->log + v->seen;
}

/* Whether the log so far, all of it, has `text`. */
static KIT_UNUSED bool
kit_logged(const struct served *v, const char *text)
{
	return strstr(v->log, text) != NULL;
}

/* The arguments of kit_start() go up to a NULL. */
static KIT_UNUSED void
kit_start(struct served *v, ...)
{
	const char *args[KIT_ARGS] = { "--port=127.0.0.1:0", "--log_level=4" };
	unsigned n = 2;
	va_list ap;

	va_start(ap, v);
	while (n < KIT_ARGS - 1 && (args[n] = va_arg(ap, const char *)) != NULL)
		n++;
	va_end(ap);
	kit_exec(v, args);
	v->port = atoi(kit_log(v, "listening on 127.0.0.1:"));
	kit_log(v, "started");			/* from here on it takes signals */
	ck_assert_int_gt(v->port, 0);
}

/* Waits until `text` is in the log, all of it, `count` times. */
static KIT_UNUSED void
kit_logs(struct served *v, const char *text, int count)
{
	int found;

	for (;;) {
		found = 0;
		for (const char *at = v->log; (at = strstr(at, text)) != NULL; at++)
			found++;
		if (found >= count)
			return;
		ck_assert_msg(kit_read_log(v), "it ended with '%s' %d times; its log:\n%s", text, found, v->log);
	}
}

/* Waits for its end, reads what is left of the log, and returns the exit status, or minus the signal. */
static KIT_UNUSED int
kit_wait(struct served *v)
{
	int status = 0;

	while (kit_read_log(v))
		;
	ck_assert_int_eq(waitpid(v->pid, &status, 0), v->pid);
	v->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Ends it by TERM, and well, having printed just `text` in all its life. */
static KIT_UNUSED void
kit_ends_printed(struct served *v, const char *text)
{
	char printed[256];
	ssize_t n;

	ck_assert_int_eq(kill(v->pid, SIGTERM), 0);
	ck_assert_int_eq(kit_wait(v), 0);
	n = read(v->out, printed, sizeof(printed) - 1);
	ck_assert_int_ge(n, 0);
	printed[n] = '\0';
	ck_assert_str_eq(printed, text);
}

static KIT_UNUSED void
kit_free(struct served *v)
{
	close(v->out);
	close(v->err);
	free(v->log);
}

/* TERM, and everything must be right. */
static KIT_UNUSED void
kit_stop(struct served *v)
{
	ck_assert_int_eq(kill(v->pid, SIGTERM), 0);
	ck_assert_msg(kit_wait(v) == 0, "its log:\n%s", v->log);
	kit_free(v);
}

/* ---- clients ---- */

static KIT_UNUSED void
kit_bound(int fd)
{
	struct timeval t = { .tv_sec = KIT_WAIT_MS / 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static KIT_UNUSED int
kit_connect_port(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	kit_bound(fd);
	ck_assert_msg(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "connect: %s", strerror(errno));
	return fd;
}

static KIT_UNUSED int
kit_connect(const struct served *v)
{
	return kit_connect_port(v->port);
}

static KIT_UNUSED void
kit_say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads a line, without its end; "" at the end of input, "(reset)" after a reset.  In a buffer that the next call uses. */
static KIT_UNUSED const char *
kit_line(int fd)
{
	static char line[1024];
	size_t n = 0;
	ssize_t r;

	while (n < sizeof(line) - 1) {
		r = recv(fd, line + n, 1, 0);
		if (r < 0 && errno == ECONNRESET)
			return "(reset)";
		ck_assert_msg(r >= 0, "no line, after '%.*s': %s", (int)n, line, strerror(errno));
		if (r == 0 || line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return line;
}

static KIT_UNUSED bool
kit_at_end(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

/* The steps of the log in [from, to), names of the flow alone, joined by blanks; the caller frees it. */
static KIT_UNUSED char *
kit_steps(const char *from, const char *to)
{
	static const char *const names[] = {
		"configure_hook", "configure", "post_configure", "post_configure_hook", "pre_bind", "bind", "restart_open_hook",
		"post_bind_hook", "post_bind", "pre_loop_hook", "loop", "get_client_info", "post_accept_hook", "allow_deny",
		"allow_deny_hook", "mux_connection", "mux_input", "mux_eof", "request_denied_hook", "post_process_request_hook",
		"mux_close", "sig_hup", "server_close", "pre_server_close_hook", "post_child_cleanup_hook", "restart_close_hook",
		"hup_server", "shutdown_sockets",
	};
	char *steps = calloc(1, (size_t)(to - from) + 1);

	for (const char *line = from, *end; line < to && (end = strchr(line, '\n')) != NULL; line = end + 1) {
		const char *word = end;

		while (word > line && word[-1] != ' ')
			word--;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strlen(names[i]) == (size_t)(end - word) && strncmp(names[i], word, (size_t)(end - word)) == 0)
				sprintf(steps + strlen(steps), "%s%s", steps[0] != '\0' ? " " : "", names[i]);
	}
	return steps;
}

#endif
