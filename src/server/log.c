/* The log of a program: which lines are written, how many, and what is told of those that were not.
 * Used by sconce/process.h, by servers, and by programs of their own. */
#include "daemon_private.h"
#include "log_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static int
clamp(int level)
{
	if (level < SCONCE_LOG_ERROR)
		return SCONCE_LOG_ERROR;
	return level > SCONCE_LOG_DEBUG ? SCONCE_LOG_DEBUG : level;
}

/* ---- writing ---- */

/* Tells how many lines have failed.  Returns whether that could be written. */
static bool
tell_lost(struct sconce_log *log)
{
	char text[120];
	int r;

	snprintf(text, sizeof(text), log->lost == 1 ? "%lu line was lost: %s" : "%lu lines were lost: %s", log->lost,
		sconce_strerror(log->lost_errnum));
	r = sconce__log_sink_put(log, SCONCE_LOG_WARNING, text);
	if (r == 0)
		log->lost = 0;
	else
		log->lost_errnum = -r;
	return r == 0;
}

/* A line that is escaped.  While lines fail, one write is tried for each. */
static void
emit(struct sconce_log *log, int level, const char *text)
{
	int r;

	if (log->kind == SCONCE__LOG_FUNCTION) {
		log->write(log->arg, level, text);
		return;
	}
	if (log->lost > 0 && !tell_lost(log)) {
		log->lost++;
		return;
	}
	r = sconce__log_sink_put(log, level, text);
	if (r < 0) {
		log->lost++;
		log->lost_errnum = -r;
	}
}

void
sconce__log_forked(struct sconce_log *log)
{
	if (log == NULL)
		return;
	log->lost = 0;
	if (log->lines > log->lines_per_second)
		log->lines = log->lines_per_second;
}

/* ---- the limit ---- */

static void
tell_left_out(struct sconce_log *log)
{
	char text[64];

	if (log->lines_per_second == 0 || log->lines <= log->lines_per_second)
		return;
	snprintf(text, sizeof(text), "%u more lines were left out", log->lines - log->lines_per_second);
	log->lines = 0;
	emit(log, SCONCE_LOG_WARNING, text);
}

/* Whether one more line may be written now. */
static bool
admitted(struct sconce_log *log)
{
	struct timespec now;

	if (log->lines_per_second == 0)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != log->second) {
		tell_left_out(log);
		log->second = now.tv_sec;
		log->lines = 0;
	}
	return ++log->lines <= log->lines_per_second;
}

/* ---- lines ---- */

bool
sconce_log_wanted(const struct sconce_log *log, int level)
{
	return log != NULL && clamp(level) <= log->level;
}

/* With room for a NUL that is not there: "%c" may write one into the text. */
static void
format_and_emit(struct sconce_log *log, int level, const char *format, va_list ap)
{
	char text[SCONCE__LOG_LINE], line[SCONCE__LOG_LINE];
	int n = vsnprintf(text, sizeof(text), format, ap);
	size_t len = n < 0 ? 0 : (size_t)n;

	if (n < 0)			/* a wide character that is none: better a poor line than none */
		len = (size_t)snprintf(text, sizeof(text), "%s", format);
	if (len > sizeof(text) - 1)
		len = sizeof(text) - 1;
	if (len > 0 && text[len - 1] == '\n')
		len--;
	emit(log, level, sconce_log_escape(text, len, line, sizeof(line)));
}

void
sconce_log_vline(struct sconce_log *log, int level, const char *format, va_list ap)
{
	int saved = errno;

	if (sconce_log_wanted(log, level) && admitted(log)) {
		errno = saved;		/* for %m */
		format_and_emit(log, clamp(level), format, ap);
	}
	errno = saved;
}

void
sconce_log_line(struct sconce_log *log, int level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	sconce_log_vline(log, level, format, ap);
	va_end(ap);
}

/* ---- the log ---- */

static enum sconce__log_kind
kind_of(const struct sconce_log_options *opts)
{
	if (opts->write != NULL)
		return SCONCE__LOG_FUNCTION;
	if (opts->file == NULL)
		return SCONCE__LOG_STDERR;
	return strcmp(opts->file, "syslog") == 0 ? SCONCE__LOG_SYSLOG : SCONCE__LOG_FILE;
}

/* Makes the struct, with its texts behind it; NULL without memory. */
static struct sconce_log *
log_new(const struct sconce_log_options *opts)
{
	enum sconce__log_kind kind = kind_of(opts);
	const char *path = kind == SCONCE__LOG_FILE ? opts->file : opts->syslog_socket, *ident = opts->ident;
	struct sconce_log *log;
	size_t path_size;

	if (path == NULL)
		path = "/dev/log";
	if (ident == NULL)
		ident = kind == SCONCE__LOG_SYSLOG ? program_invocation_short_name : "";
	path_size = strlen(path) + 1;
	log = calloc(1, sizeof(*log) + path_size + 3 * strlen(ident) + 1);
	if (log == NULL)
		return NULL;
	log->kind = kind;
	log->path = memcpy(log->texts, path, path_size);
	log->ident = sconce_log_escape(ident, strlen(ident), log->texts + path_size, 3 * strlen(ident) + 1);
	return log;
}

int
sconce_log_open(const struct sconce_log_options *opts, struct sconce_log **log_out, struct sconce_fail *fail_out)
{
	struct sconce_log *log = log_new(opts);
	int r;

	if (log == NULL)
		return sconce__cannot(fail_out, -ENOMEM, "log_file", "log: there is no memory");
	log->level = clamp(opts->level);
	log->time = opts->time;
	log->pid = opts->syslog_pid;
	log->facility = sconce__log_facility(opts->syslog_facility);
	log->lines_per_second = opts->lines_per_second;
	log->write = opts->write;
	log->arg = opts->arg;
	tzset();
	r = sconce__log_sink_open(log, fail_out);
	if (r < 0)
		free(log);
	else
		*log_out = log;
	return r;
}

void
sconce_log_close(struct sconce_log *log)
{
	if (log == NULL)
		return;
	tell_left_out(log);
	if (log->lost > 0)
		tell_lost(log);
	if (log->fd >= 0)
		close(log->fd);
	free(log);
}

int
sconce_log_reopen(struct sconce_log *log)
{
	return log == NULL ? 0 : sconce__log_sink_reopen(log);
}

void
sconce_log_set_level(struct sconce_log *log, int level)
{
	if (log != NULL)
		log->level = clamp(level);
}

int
sconce_log_level(const struct sconce_log *log)
{
	return log == NULL ? -1 : log->level;
}

int
sconce_log_fd(const struct sconce_log *log)
{
	return log != NULL && log->kind == SCONCE__LOG_FILE ? log->fd : -1;
}
