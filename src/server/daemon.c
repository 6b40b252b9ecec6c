/* The background, the standard fds, and the word to the service manager.  Used by sconce/process.h and by programs alone. */
#include "daemon_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/daemon.h>

/* ---- the background: the parent ---- */

/* The status of a child that has ended, or will without a word. */
static int
status_of(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1;
}

/* Waits for the child's word, or its end.  The end is seen by a pidfd: processes that the child has forked may hold its
 * side of the socket open. */
static int
await_word(int fd, pid_t child)
{
	struct pollfd fds[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN },
	};
	uint8_t status;
	ssize_t n;

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	/* the word comes first: it may have ended right after it */
	n = recv(fd, &status, sizeof(status), MSG_DONTWAIT);
	return n == 1 ? status : status_of(child);
}

/* ---- the background: both ---- */

/* Two connected sockets, for the parent and the child.  A socket, as a write to a pipe may raise SIGPIPE. */
static int
make_line(int fds[2], struct sconce_fail *fail)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return sconce__cannot(fail, -errno, "fork", "background: no socket to the parent: %s", sconce_strerror(errno));
	fds[0] = sconce__fd_above_standard(fds[0]);
	fds[1] = sconce__fd_above_standard(fds[1]);
	if (fds[0] >= 0 && fds[1] >= 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return sconce__cannot(fail, fds[0] < 0 ? fds[0] : fds[1], "fork", "background: no fd above the standard ones");
}

int
sconce_daemon_background(bool session, int *ready_out, struct sconce_fail *fail_out)
{
	struct sigaction usual = { .sa_handler = SIG_DFL }, was;
	int fds[2], r = make_line(fds, fail_out);
	pid_t child;

	if (r < 0)
		return r;
	/* where SIGCHLD is ignored a child's status is lost */
	sigaction(SIGCHLD, &usual, &was);
	child = fork();
	if (child > 0) {
		close(fds[1]);
		_exit(await_word(fds[0], child));
	}
	r = -errno;
	sigaction(SIGCHLD, &was, NULL);
	close(fds[0]);
	if (child < 0) {
		close(fds[1]);
		return sconce__cannot(fail_out, r, "fork", "background: cannot fork: %s", sconce_strerror(r));
	}
	if (session)
		setsid();		/* fails for leaders of a process group alone, which a new child is not */
	*ready_out = fds[1];
	return 0;
}

void
sconce_daemon_ready(int *ready, int status)
{
	uint8_t word = (uint8_t)status;

	if (*ready < 0)
		return;
	/* nobody left to be told is no reason to end */
	while (send(*ready, &word, sizeof(word), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	close(*ready);
	*ready = -1;
}

/* ---- the standard fds ---- */

static int
no_null(struct sconce_fail *fail, int r)
{
	return sconce__cannot(fail, r, "open", "/dev/null cannot be opened for the standard files: %s", sconce_strerror(r));
}

int
sconce_daemon_open_standard(struct sconce_fail *fail_out)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* the lowest number that is free, which is this one */
		if (open("/dev/null", O_RDWR | O_NOCTTY) < 0)
			return no_null(fail_out, -errno);
	}
	return 0;
}

/* Leads a standard fd to another; they differ, so that it is not close-on-exec afterwards. */
static int
lead(int fd, int to, struct sconce_fail *fail)
{
	if (fd == to || dup2(fd, to) >= 0)
		return 0;
	return sconce__cannot(fail, -errno, "dup2", "fd %d cannot be led to fd %d: %s", to, fd, sconce_strerror(errno));
}

int
sconce_daemon_stdio(int fd, struct sconce_fail *fail_out)
{
	int null, r;

	if (fd >= 0 && fcntl(fd, F_GETFD) < 0)
		return sconce__cannot(fail_out, -errno, "dup2", "stderr cannot be led to fd %d, which is not open", fd);
	r = sconce_daemon_open_standard(fail_out);
	if (r < 0)
		return r;
	null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (null < 0)
		return no_null(fail_out, -errno);
	r = lead(fd < 0 ? null : fd, STDERR_FILENO, fail_out);	/* first: `fd` may be 0 or 1 */
	if (r == 0)
		r = lead(null, STDIN_FILENO, fail_out);
	if (r == 0)
		r = lead(null, STDOUT_FILENO, fail_out);
	close(null);
	return r;
}

/* ---- the service manager ---- */

static int
tell_manager(const struct sconce_addr *to, const char *state)
{
	struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	/* it must not be lost, nor stop us for long */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, &to->any, to->len) < 0)
		r = -errno;
	close(fd);
	return r < 0 ? r : 1;
}

int
sconce_daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sconce_addr to;

	if (path == NULL || path[0] == '\0')
		return 0;
	if ((path[0] != '/' && path[0] != '@') || sconce_addr_parse(path, &to, NULL) < 0)
		return -EINVAL;
	return tell_manager(&to, state);
}
