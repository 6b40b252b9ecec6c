/* Where a log's lines go: stderr, a file, or the datagram socket of syslogd.  Called by log.c.
 *
 * syslog(3) is not used: it blocks when syslogd is slow, and it is one for the whole process. */
#include "daemon_private.h"
#include "log_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* ---- the file ---- */

/* Appending, so that several processes may share it.  Non-blocking is for a fifo: it must not stop the loop. */
static int
open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

	return fd < 0 ? -errno : sconce__fd_above_standard(fd);
}

static int
file_open(struct sconce_log *log, struct sconce_fail *fail)
{
	char shown[SCONCE__SHOWN];
	int fd = open_file(log->path);

	if (fd < 0)
		return sconce__cannot(fail, fd, "log_file", "log file '%s' cannot be opened: %s", sconce__shown(log->path, shown),
			sconce_strerror(fd));
	log->fd = fd;
	return 0;
}

/* The fd keeps its number: stderr may have been led to it, or its owner given by it. */
static int
file_reopen(struct sconce_log *log)
{
	int fd = open_file(log->path), r = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	if (dup3(fd, log->fd, O_CLOEXEC) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && fstat(log->fd, &st) == 0 && st.st_size == 0)
		log->torn = false;
	return r;
}

/* One write for the whole line, and more only if the kernel takes a part. */
static int
file_put(struct sconce_log *log, int fd, const char *line, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, line + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (done > 0)
				log->torn = line[done - 1] != '\n';
			return n < 0 ? -errno : -EIO;
		}
		done += (size_t)n;
	}
	log->torn = false;
	return 0;
}

static int
stream_put(struct sconce_log *log, const char *text)
{
	char line[SCONCE__LOG_LINE], when[SCONCE__LOG_TIME];
	bool tagged = log->kind == SCONCE__LOG_STDERR && log->ident[0] != '\0';
	int n;

	when[log->time ? sconce__log_time(when) : 0] = '\0';
	/* what is left of a line that broke off stays a line of its own */
	n = snprintf(line, sizeof(line), "%s%s%s%s%s%s\n", log->torn ? "\n" : "", when, log->time ? " " : "",
		tagged ? log->ident : "", tagged ? ": " : "", text);
	if (n >= (int)sizeof(line)) {
		n = sizeof(line);
		line[n - 1] = '\n';
	}
	return file_put(log, log->kind == SCONCE__LOG_FILE ? log->fd : STDERR_FILENO, line, (size_t)n);
}

/* ---- syslog ---- */

static int
syslog_connect(struct sconce_log *log)
{
	return connect(log->fd, &log->to.any, log->to.len) < 0 ? -errno : 0;
}

static int
syslog_address(struct sconce_log *log, struct sconce_fail *fail)
{
	char shown[SCONCE__SHOWN];

	if ((log->path[0] == '/' || log->path[0] == '@') && sconce_addr_parse(log->path, &log->to, NULL) == 0)
		return 0;
	return sconce__cannot(fail, -EINVAL, "log_file", "syslog socket '%s' is not the path of a unix socket: give one as /dev/log",
		sconce__shown(log->path, shown));
}

static int
syslog_open(struct sconce_log *log, struct sconce_fail *fail)
{
	char shown[SCONCE__SHOWN];
	int r = syslog_address(log, fail);

	if (r < 0)
		return r;
	log->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = log->fd = log->fd < 0 ? -errno : sconce__fd_above_standard(log->fd);
	if (r >= 0)
		r = syslog_connect(log);
	if (r == 0)
		return 0;
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
	return sconce__cannot(fail, r, "log_file", "syslog '%s' does not answer: %s: start syslogd, or log to a file",
		sconce__shown(log->path, shown), sconce_strerror(r));
}

/* The errors that tell that this syslogd has gone; there may be another one at its path. */
static bool
has_gone(int errnum)
{
	return errnum == ECONNREFUSED || errnum == ENOTCONN || errnum == ECONNRESET || errnum == EPIPE ||
	    errnum == EDESTADDRREQ;
}

static int
syslog_send(struct sconce_log *log, const char *line, size_t len)
{
	int r;

	if (send(log->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (!has_gone(errno))
		return -errno;
	r = syslog_connect(log);
	if (r == 0 && send(log->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r = -errno;
	return r;
}

/* RFC 3164 4.1. */
static int
syslog_put(struct sconce_log *log, int level, const char *text)
{
	static const int severities[] = { LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };
	char line[SCONCE__LOG_LINE], when[SCONCE__LOG_TIME], pid[24] = "";
	int n;

	sconce__log_syslog_time(when);
	if (log->pid)
		snprintf(pid, sizeof(pid), "[%ld]", (long)getpid());
	n = snprintf(line, sizeof(line), "<%d>%s %s%s: %s", log->facility | severities[level], when, log->ident, pid, text);
	return syslog_send(log, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* ---- any of them ---- */

int
sconce__log_sink_open(struct sconce_log *log, struct sconce_fail *fail)
{
	log->fd = -1;
	if (log->kind == SCONCE__LOG_FILE)
		return file_open(log, fail);
	return log->kind == SCONCE__LOG_SYSLOG ? syslog_open(log, fail) : 0;
}

int
sconce__log_sink_reopen(struct sconce_log *log)
{
	if (log->kind == SCONCE__LOG_FILE)
		return file_reopen(log);
	return log->kind == SCONCE__LOG_SYSLOG ? syslog_connect(log) : 0;
}

int
sconce__log_sink_put(struct sconce_log *log, int level, const char *text)
{
	return log->kind == SCONCE__LOG_SYSLOG ? syslog_put(log, level, text) : stream_put(log, text);
}
