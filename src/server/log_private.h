/* A log: log.c decides what is written, log_sink.c writes it, log_text.c knows its texts. */
#ifndef LOG_PRIVATE_H
#define LOG_PRIVATE_H

#include <time.h>

#include <sconce/log.h>

/* A line, with its newline: what a pipe takes whole (PIPE_BUF). */
enum { SCONCE__LOG_LINE = 4096, SCONCE__LOG_TIME = 32 };

enum sconce__log_kind { SCONCE__LOG_STDERR, SCONCE__LOG_FILE, SCONCE__LOG_SYSLOG, SCONCE__LOG_FUNCTION };

struct sconce_log {
	enum sconce__log_kind kind;
	int level;
	bool time, pid;
	void (*write)(void *arg, int level, const char *line);
	void *arg;
	const char *ident;		/* "": none */
	/* FILE, SYSLOG */
	const char *path;
	int fd;				/* else -1 */
	bool torn;			/* a part of the last line is in the file */
	struct sconce_addr to;		/* syslogd's */
	int facility;			/* LOG_... */
	/* the limit */
	unsigned lines_per_second;	/* 0: none */
	unsigned lines;			/* in this second, with those that were left out */
	time_t second;
	/* what failed since something worked */
	unsigned long lost;		/* lines */
	int lost_errnum;		/* of the last one */
	char texts[];			/* path, ident */
};

/* log_text.c */
int sconce__log_facility(const char *name);
/* "2026/11/21-08:45:04", and "Nov 21 08:45:04".  Each returns its length. */
size_t sconce__log_time(char buf[SCONCE__LOG_TIME]);
size_t sconce__log_syslog_time(char buf[SCONCE__LOG_TIME]);

/* log_sink.c: each 0 or -errno. */
int sconce__log_sink_open(struct sconce_log *log, struct sconce_fail *fail);
int sconce__log_sink_reopen(struct sconce_log *log);
/* Writes a line; `text` is escaped and has no newline. */
int sconce__log_sink_put(struct sconce_log *log, int level, const char *text);

/* log.c: in a forked process: what was lost or left out is its parent's to tell.  NULL is allowed. */
void sconce__log_forked(struct sconce_log *log);

#endif
