/* A log: lines with a level, to stderr, a file, the system's log, or a function.
 *
 * One line stays one line: every byte outside blank to "~" is written as %XX (HZ-18, NS-50); one newline at the end
 * of a message is left out.  A message is data, never a format.
 *
 * A log is for one thread at a time.  Several processes may write to one file.  SIGPIPE is to be ignored (the first
 * loop sees to that) where stderr or the file may be a pipe. */
#ifndef SCONCE_LOG_H
#define SCONCE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sconce/endpoint.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

/* The levels, as Net::Server's.  A line is written when its level is at most the log's. */
enum sconce_log_level {
	SCONCE_LOG_ERROR = 0,		/* syslog's err; also what is always logged */
	SCONCE_LOG_WARNING = 1,
	SCONCE_LOG_NOTICE = 2,		/* the default */
	SCONCE_LOG_INFO = 3,		/* connections */
	SCONCE_LOG_DEBUG = 4		/* every step */
};

struct sconce_log;

struct sconce_log_options {
	int level;			/* SCONCE_LOG_...; what is greater is DEBUG */
	/* A path to append to, "syslog", or NULL: stderr. */
	const char *file;
	/* Of the lines' program: before each line to stderr (NULL: none), and for syslog (NULL: the program's name). */
	const char *ident;
	const char *syslog_socket;	/* a path, or "@name"; NULL: /dev/log */
	const char *syslog_facility;	/* "daemon" (also for NULL and what is unknown), "mail", "local0" ... */
	bool syslog_pid;		/* with the process's id */
	bool time;			/* lines to files and stderr begin with yyyy/mm/dd-hh:mm:ss, local time */
	unsigned lines_per_second;	/* what is more is left out, and how many is told; 0: no limit */
	/* Instead of writing: gets each line, escaped, without newline, time and ident.  It must not log. */
	void (*write)(void *arg, int level, const char *line);
	void *arg;
};

/* Opens a log.  Files are made with mode 0640, opened for appending, close-on-exec.  `opts` is copied; the texts too.
 * Returns 0 with *log_out set; -errno when the file cannot be opened or no syslogd answers, or -ENOMEM, with *fail_out
 * (may be NULL) set: its operation is "log_file". */
SCONCE_API int sconce_log_open(const struct sconce_log_options *opts, struct sconce_log **log_out,
	struct sconce_fail *fail_out);
/* Ends it, after a last line if some were left out or lost and that was not told yet.  NULL is allowed. */
SCONCE_API void sconce_log_close(struct sconce_log *log);

/* Opens the file again by its path (after it has been renamed), under the same fd, or connects to syslogd again.
 * When that fails the old one stays in use.  After a chroot the path is one in there.  Returns 0 or -errno; 0 for a
 * log that is neither, and for NULL. */
SCONCE_API int sconce_log_reopen(struct sconce_log *log);

/* A level below ERROR is ERROR, one above DEBUG is DEBUG, of logs and lines.  The level of NULL is -1. */
SCONCE_API void sconce_log_set_level(struct sconce_log *log, int level);
SCONCE_API int sconce_log_level(const struct sconce_log *log);

/* Whether a line of this level would be written: for what is costly to put together. */
SCONCE_API bool sconce_log_wanted(const struct sconce_log *log, int level);

/* Writes a line, of at most 4096 bytes, with one write(2); never fails, never changes errno.  What is more is cut
 * off.  A NULL log writes nothing.  When a write fails the line is lost, the next one tried, and the first one that
 * works says how many were lost.  Nothing waits for syslogd or the reader of a fifo: what they do not take is lost. */
SCONCE_API void sconce_log_line(struct sconce_log *log, int level, const char *format, ...) SCONCE_PRINTF(3, 4);
SCONCE_API void sconce_log_vline(struct sconce_log *log, int level, const char *format, va_list ap);

/* The fd of a log file, for stderr to be led to; -1 when it is none. */
SCONCE_API int sconce_log_fd(const struct sconce_log *log);

/* Writes `text` to `buf`, always terminated (if `size` is not 0), with %XX for what is outside blank to "~".  What
 * has no room is left out, a %XX as a whole.  Returns `buf`. */
SCONCE_API char *sconce_log_escape(const char *text, size_t len, char *buf, size_t size);

SCONCE_END_DECLS

#endif
