/* The log: what is written and in which form, what is lost and how that is told, to a file, stderr and a function.
 * test_log_syslog.c has syslog. */
#include "starve.h"

#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sconce/log.h>

#include "log_private.h"

static char dir[64], path[96];
static char got[65536];			/* what was read last */
static struct timespec frozen;		/* what the monotonic clock shows; 0: the time */

/* What write(2) does to `fd`. */
static struct {
	int fd;				/* 0: to none */
	unsigned calls, eintr;		/* so many calls give EINTR first */
	size_t max;			/* bytes taken by one call; 0: no limit */
	int errnum;			/* of the calls after `good` */
	int good;
	bool once;			/* only one of them */
} faulty;

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	if (clock == CLOCK_MONOTONIC && frozen.tv_sec != 0) {
		*t = frozen;
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, clock, t);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
	if (faulty.fd != 0 && fd == faulty.fd) {
		faulty.calls++;
		if (faulty.eintr > 0) {
			faulty.eintr--;
			errno = EINTR;
			return -1;
		}
		if (faulty.errnum != 0 && faulty.good-- <= 0) {
			errno = faulty.errnum;
			if (faulty.once)
				faulty.errnum = 0;
			return -1;
		}
		if (faulty.max > 0 && len > faulty.max)
			len = faulty.max;
	}
	return syscall(SYS_write, fd, buf, len);
}

static void
setup(void)
{
	memset(&faulty, 0, sizeof(faulty));
	memset(&frozen, 0, sizeof(frozen));
	strcpy(dir, "/tmp/sconce-log.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
}

static void
teardown(void)
{
	char other[128];

	snprintf(other, sizeof(other), "%s.1", path);
	unlink(other);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* A log to `path`, and with other options. */
static struct sconce_log *
open_with(struct sconce_log_options opts)
{
	struct sconce_fail fail;
	struct sconce_log *log = NULL;

	if (opts.file == NULL)
		opts.file = path;
	ck_assert_msg(sconce_log_open(&opts, &log, &fail) == 0, "%s", fail.text);
	return log;
}

static struct sconce_log *
open_log(void)
{
	return open_with((struct sconce_log_options){ .level = SCONCE_LOG_DEBUG });
}

/* What is in a file. */
static const char *
content(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

	ck_assert_int_ge(n, 0);
	got[n] = '\0';
	close(fd);
	return got;
}

static int
line_count(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

/* ---- levels ---- */

/* NS-46: a line is written if its level is at most the log's; levels beyond the ends are the last ones. */
START_TEST(test_line_level_at_most_the_logs_written)
{
	for (int level = -1; level <= 6; level++) {
		struct sconce_log *log = open_with((struct sconce_log_options){ .level = level });
		int in_force = level < 0 ? 0 : level > 4 ? 4 : level, expected = 0;

		ck_assert_int_eq(truncate(path, 0), 0);
		ck_assert_int_eq(sconce_log_level(log), in_force);
		for (int line = -1; line <= 6; line++) {
			int as = line < 0 ? 0 : line > 4 ? 4 : line;

			ck_assert_int_eq(sconce_log_wanted(log, line), as <= in_force);
			expected += as <= in_force;
			sconce_log_line(log, line, "x");
		}
		ck_assert_int_eq(line_count(content(path)), expected);
		sconce_log_close(log);
	}
}
END_TEST

/* The level may change at any time. */
START_TEST(test_set_level_later_lines_follow)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .level = SCONCE_LOG_NOTICE });

	sconce_log_line(log, SCONCE_LOG_INFO, "no");
	sconce_log_set_level(log, SCONCE_LOG_INFO);
	sconce_log_line(log, SCONCE_LOG_INFO, "yes");
	sconce_log_set_level(log, 99);
	ck_assert_int_eq(sconce_log_level(log), SCONCE_LOG_DEBUG);
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "yes\n");
}
END_TEST

/* Without a log everything is harmless. */
START_TEST(test_line_null_log_writes_nothing)
{
	sconce_log_line(NULL, SCONCE_LOG_ERROR, "x");
	sconce_log_set_level(NULL, 1);
	sconce_log_close(NULL);
	ck_assert(!sconce_log_wanted(NULL, SCONCE_LOG_ERROR));
	ck_assert_int_eq(sconce_log_level(NULL), -1);
	ck_assert_int_eq(sconce_log_fd(NULL), -1);
	ck_assert_int_eq(sconce_log_reopen(NULL), 0);
}
END_TEST

/* ---- lines ---- */

/* HZ-18, NS-50: whatever byte a message has, it stays one line of visible ones; upper-case hex. */
START_TEST(test_line_each_byte_value_stays_one_line)
{
	struct sconce_log *log = open_log();
	char expected[16];

	for (int c = 0; c < 256; c++) {
		ck_assert_int_eq(truncate(path, 0), 0);
		sconce_log_line(log, SCONCE_LOG_ERROR, "a%cb", c);
		snprintf(expected, sizeof(expected), c >= ' ' && c <= '~' ? "a%cb\n" : "a%%%02Xb\n", c);
		ck_assert_str_eq(content(path), expected);
	}
	sconce_log_close(log);
}
END_TEST

/* HZ-18: the name of the program is no exception. */
START_TEST(test_open_ident_with_newline_is_escaped)
{
	struct sconce_log_options opts = { .ident = "a\nb" };
	int fds[2], saved = dup(STDERR_FILENO);
	struct sconce_log *log;
	ssize_t n;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_log_open(&opts, &log, NULL), 0);
	dup2(fds[1], STDERR_FILENO);
	sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	dup2(saved, STDERR_FILENO);
	n = read(fds[0], got, sizeof(got));
	ck_assert_int_eq(n, 9);
	ck_assert_mem_eq(got, "a%0Ab: x\n", 9);
	sconce_log_close(log);
	close(fds[0]);
	close(fds[1]);
	close(saved);
}
END_TEST

/* A newline at the end of a message is no second one. */
START_TEST(test_line_newline_at_end_left_out)
{
	struct sconce_log *log = open_log();

	sconce_log_line(log, SCONCE_LOG_ERROR, "one\n");
	sconce_log_line(log, SCONCE_LOG_ERROR, "two\n\n");
	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", "");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "one\ntwo%0A\n\n");
}
END_TEST

/* errno is as it was, and %m tells it. */
START_TEST(test_line_errno_is_kept)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .lines_per_second = 5 });

	errno = EXDEV;
	sconce_log_line(log, SCONCE_LOG_ERROR, "%m");
	ck_assert_int_eq(errno, EXDEV);
	faulty.fd = sconce_log_fd(log);
	faulty.errnum = EIO;
	sconce_log_line(log, SCONCE_LOG_ERROR, "lost");
	ck_assert_int_eq(errno, EXDEV);
	faulty.fd = 0;
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "Invalid cross-device link\n1 line was lost: Input/output error\n");
}
END_TEST

/* So it does when the limit has something to tell first, and that fails. */
START_TEST(test_line_errno_is_kept_over_the_limits_word)
{
	struct sconce_log *log;

	frozen.tv_sec = 1000;
	log = open_with((struct sconce_log_options){ .lines_per_second = 1 });
	for (int i = 0; i < 3; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	frozen.tv_sec++;
	faulty.fd = sconce_log_fd(log);
	faulty.errnum = EIO;
	faulty.once = true;
	errno = EXDEV;
	sconce_log_line(log, SCONCE_LOG_ERROR, "%m");
	faulty.fd = 0;
	sconce_log_close(log);
	frozen.tv_sec = 0;
	ck_assert_str_eq(content(path), "x\n1 line was lost: Input/output error\nInvalid cross-device link\n");
}
END_TEST

/* NS-49: data is never a format. */
START_TEST(test_line_percent_signs_are_data)
{
	struct sconce_log *log = open_log();

	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", "%n%s%x%%");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "%n%s%x%%\n");
}
END_TEST

/* A line has at most 4096 bytes, its newline included; nothing is cut inside a %XX. */
START_TEST(test_line_long_cut_at_4096)
{
	struct sconce_log *log = open_log();
	char *text = malloc(10001);

	memset(text, 'x', 10000);
	text[10000] = '\0';
	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", text);
	ck_assert_uint_eq(strlen(content(path)), 4096);
	ck_assert_int_eq(got[4095], '\n');
	ck_assert_int_eq(line_count(got), 1);
	ck_assert_int_eq(truncate(path, 0), 0);
	memset(text, 1, 10000);
	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", text);
	ck_assert_uint_eq(strlen(content(path)), 4096 / 3 * 3 + 1);
	ck_assert_str_eq(got + strlen(got) - 4, "%01\n");
	free(text);
	sconce_log_close(log);
}
END_TEST

/* NS-50: the time is local, in this form. */
START_TEST(test_line_time_is_local)
{
	char before[64], after[64];
	struct sconce_log *log;
	struct tm tm;
	time_t t;

	setenv("TZ", "XXX-05:30", 1);
	log = open_with((struct sconce_log_options){ .time = true });
	t = time(NULL) + 19800;
	strftime(before, sizeof(before), "%Y/%m/%d-%H:%M:%S x\n", gmtime_r(&t, &tm));
	sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	t = time(NULL) + 19800;
	strftime(after, sizeof(after), "%Y/%m/%d-%H:%M:%S x\n", gmtime_r(&t, &tm));
	content(path);
	ck_assert_msg(strcmp(got, before) >= 0 && strcmp(got, after) <= 0, "%s not %s", got, before);
	ck_assert_uint_eq(strlen(got), strlen(before));
	sconce_log_close(log);
	unsetenv("TZ");
	tzset();
}
END_TEST

/* Time, name and all on stderr; which has no fd to give away. */
START_TEST(test_line_stderr_has_time_and_ident)
{
	struct sconce_log_options opts = { .ident = "prog", .time = true };
	int fds[2], saved = dup(STDERR_FILENO);
	struct sconce_log *log;
	ssize_t n;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_log_open(&opts, &log, NULL), 0);
	ck_assert_int_eq(sconce_log_fd(log), -1);
	ck_assert_int_eq(sconce_log_reopen(log), 0);
	dup2(fds[1], STDERR_FILENO);
	sconce_log_line(log, SCONCE_LOG_ERROR, "hello");
	dup2(saved, STDERR_FILENO);
	n = read(fds[0], got, sizeof(got) - 1);
	ck_assert_int_eq(n, 19 + 1 + 12);
	got[n] = '\0';
	ck_assert_str_eq(got + 19, " prog: hello\n");
	ck_assert_int_eq(got[4], '/');
	sconce_log_close(log);
	close(fds[0]);
	close(fds[1]);
	close(saved);
}
END_TEST

/* ---- a function ---- */

static int written_level, written;
static char written_line[64];

static void
note_line(void *arg, int level, const char *line)
{
	ck_assert_ptr_eq(arg, &written);
	written++;
	written_level = level;
	snprintf(written_line, sizeof(written_line), "%s", line);
}

/* NS-48: a function gets each line, escaped, without what is put before it, instead of the file. */
START_TEST(test_line_function_instead_of_writing)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .level = 2, .write = note_line, .arg = &written,
		.time = true, .ident = "prog" });

	written = 0;
	sconce_log_line(log, SCONCE_LOG_WARNING, "a\tb\n");
	sconce_log_line(log, SCONCE_LOG_DEBUG, "no");
	ck_assert_int_eq(written, 1);
	ck_assert_int_eq(written_level, SCONCE_LOG_WARNING);
	ck_assert_str_eq(written_line, "a%09b");
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(sconce_log_fd(log), -1);
	sconce_log_close(log);
}
END_TEST

/* ---- the file ---- */

/* NS-47: a file is made for its owner and group, appended to, and not for programs that we execute. */
START_TEST(test_open_file_appends_with_mode_0640)
{
	mode_t mask = umask(0);
	struct sconce_log *log = open_log();
	struct stat st;

	umask(mask);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(fcntl(sconce_log_fd(log), F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(sconce_log_fd(log), F_GETFL) & O_APPEND, O_APPEND);
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	sconce_log_close(log);
	log = open_log();
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "one\ntwo\n");
}
END_TEST

/* What cannot be opened is told with its name; nothing is left open. */
START_TEST(test_open_impossible_file_fails_with_text)
{
	static const struct { const char *below; int r; } bad[] = { { "", -EISDIR }, { "/no/log", -ENOENT } };
	struct sconce_log *log = NULL;

	for (size_t i = 0; i < 2; i++) {
		struct sconce_log_options opts = { .file = path };
		struct sconce_fail fail = { .operation = NULL };

		snprintf(path, sizeof(path), "%s%s", dir, bad[i].below);
		ck_assert_int_eq(sconce_log_open(&opts, &log, &fail), bad[i].r);
		ck_assert_int_eq(sconce_log_open(&opts, &log, NULL), bad[i].r);
		ck_assert_ptr_null(log);
		ck_assert_str_eq(fail.operation, "log_file");
		ck_assert_int_eq(fail.errnum, -bad[i].r);
		ck_assert_msg(strstr(fail.text, path) != NULL, "%s", fail.text);
	}
	snprintf(path, sizeof(path), "%s/log", dir);
}
END_TEST

/* A long name is cut at its beginning: why it failed is still there. */
START_TEST(test_open_long_name_text_says_why)
{
	char name[600] = "/no";
	struct sconce_log_options opts = { .file = name };
	struct sconce_fail fail;
	struct sconce_log *log;

	for (int i = 0; i < 10; i++)
		strcat(name, "/a directory with a name that is long");
	strcat(name, "/end");
	ck_assert_int_eq(sconce_log_open(&opts, &log, &fail), -ENOENT);
	ck_assert_msg(strstr(fail.text, "/end'") != NULL && strstr(fail.text, "No such file") != NULL, "%s", fail.text);
}
END_TEST

/* After the file was renamed a new one is begun, under the same fd. */
START_TEST(test_reopen_renamed_file_begins_new_one)
{
	struct sconce_log *log = open_log();
	int fd = sconce_log_fd(log);
	char old[128];

	snprintf(old, sizeof(old), "%s.1", path);
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	ck_assert_int_eq(rename(path, old), 0);
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	ck_assert_int_eq(sconce_log_reopen(log), 0);
	ck_assert_int_eq(sconce_log_fd(log), fd);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	sconce_log_line(log, SCONCE_LOG_ERROR, "three");
	sconce_log_close(log);
	ck_assert_str_eq(content(old), "one\ntwo\n");
	ck_assert_str_eq(content(path), "three\n");
}
END_TEST

/* Where there can be no new one the old one stays. */
START_TEST(test_reopen_impossible_old_one_stays)
{
	struct sconce_log *log = open_log();
	char old[128];

	snprintf(old, sizeof(old), "%s.1", path);
	ck_assert_int_eq(rename(path, old), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(sconce_log_reopen(log), -EISDIR);
	sconce_log_line(log, SCONCE_LOG_ERROR, "still");
	sconce_log_close(log);
	ck_assert_str_eq(content(old), "still\n");
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* HZ-14: a log never becomes somebody's stderr. */
START_TEST(test_open_without_standard_fds_is_above_them)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sconce_log *log;
		struct sconce_log_options opts = { .file = path };

		for (int fd = 0; fd < 3; fd++)
			close(fd);
		if (sconce_log_open(&opts, &log, NULL) < 0 || sconce_log_fd(log) < 3 || fcntl(0, F_GETFD) >= 0 ||
		    fcntl(sconce_log_fd(log), F_GETFD) != FD_CLOEXEC)
			_exit(1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Lines of several processes do not mix. */
START_TEST(test_line_several_processes_each_line_whole)
{
	enum { PROCESSES = 4, LINES = 200, WIDTH = 60 };
	struct sconce_log *log = open_log();
	pid_t pids[PROCESSES];
	char *line, *rest;
	int lines = 0;

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		for (int n = 0; n < LINES; n++)
			sconce_log_line(log, SCONCE_LOG_ERROR, "%0*d", WIDTH, i);
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++)
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
	sconce_log_close(log);
	content(path);
	for (line = strtok_r(got, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), lines++)
		ck_assert_uint_eq(strlen(line), WIDTH);
	ck_assert_int_eq(lines, PROCESSES * LINES);
}
END_TEST

/* ---- writes ---- */

/* A line is one write. */
START_TEST(test_line_one_write_each)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .time = true });

	faulty.fd = sconce_log_fd(log);
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	ck_assert_uint_eq(faulty.calls, 1);
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	ck_assert_uint_eq(faulty.calls, 2);
	faulty.fd = 0;
	sconce_log_close(log);
}
END_TEST

/* Interrupted writes and short ones go on. */
START_TEST(test_line_eintr_and_short_writes_go_on)
{
	struct sconce_log *log = open_log();

	faulty.fd = sconce_log_fd(log);
	faulty.eintr = 3;
	faulty.max = 2;
	sconce_log_line(log, SCONCE_LOG_ERROR, "hello");
	faulty.eintr = 1;
	sconce_log_line(log, SCONCE_LOG_ERROR, "world");
	ck_assert_uint_eq(faulty.calls, 3 + 3 + 1 + 3);
	faulty.fd = 0;
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "hello\nworld\n");
}
END_TEST

/* A line that broke off is not continued by the next one. */
START_TEST(test_line_broken_off_next_is_its_own)
{
	struct sconce_log *log = open_log();

	faulty.fd = sconce_log_fd(log);
	faulty.max = 3;
	faulty.good = 1;
	faulty.errnum = ENOSPC;
	sconce_log_line(log, SCONCE_LOG_ERROR, "hello");
	sconce_log_line(log, SCONCE_LOG_ERROR, "gone");
	faulty.fd = 0;
	sconce_log_line(log, SCONCE_LOG_ERROR, "back");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "hel\n2 lines were lost: No space left on device\nback\n");
}
END_TEST

/* In a file that is begun anew there is nothing to keep it apart from. */
START_TEST(test_reopen_after_broken_off_line_begins_clean)
{
	struct sconce_log *log = open_log();

	for (int renamed = 0; renamed < 2; renamed++) {
		faulty.fd = sconce_log_fd(log);
		faulty.max = 3;
		faulty.good = 1;
		faulty.errnum = ENOSPC;
		sconce_log_line(log, SCONCE_LOG_ERROR, "hello");
		faulty.fd = 0;
		if (renamed)
			unlink(path);
		ck_assert_int_eq(sconce_log_reopen(log), 0);
		sconce_log_line(log, SCONCE_LOG_ERROR, "back");
		content(path);
		ck_assert_str_eq(got + (renamed ? 0 : 4), "1 line was lost: No space left on device\nback\n");
	}
	sconce_log_close(log);
}
END_TEST

/* A full disk loses lines; when there is room it is said how many were lost. */
START_TEST(test_line_full_disk_counts_and_tells)
{
	struct sconce_log *log;

	ck_assert_int_eq(symlink("/dev/full", path), 0);
	log = open_log();
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	sconce_log_line(log, SCONCE_LOG_ERROR, "three");
	unlink(path);
	ck_assert_int_eq(sconce_log_reopen(log), 0);
	sconce_log_line(log, SCONCE_LOG_ERROR, "four");
	sconce_log_line(log, SCONCE_LOG_ERROR, "five");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "3 lines were lost: No space left on device\nfour\nfive\n");
}
END_TEST

/* While it is full one write is tried for each line, not more. */
START_TEST(test_line_full_disk_one_write_for_each)
{
	struct sconce_log *log = open_log();

	faulty.fd = sconce_log_fd(log);
	faulty.errnum = ENOSPC;
	for (int i = 0; i < 10; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	ck_assert_uint_eq(faulty.calls, 10);
	faulty.fd = 0;
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "10 lines were lost: No space left on device\n");
}
END_TEST

/* A fifo that nobody empties loses lines, and stops nobody. */
START_TEST(test_line_full_fifo_does_not_block)
{
	struct sconce_log *log = NULL;
	struct sconce_log_options opts = { .file = path };
	int fd, lines = 0;
	ssize_t n;

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(sconce_log_open(&opts, &log, NULL), -ENXIO);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	log = open_log();
	for (int i = 0; i < 100; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "%04000d", i);
	while ((n = read(fd, got, sizeof(got) - 1)) > 0) {
		got[n] = '\0';
		lines += line_count(got);
	}
	ck_assert_int_lt(lines, 100);
	sconce_log_line(log, SCONCE_LOG_ERROR, "back");
	n = read(fd, got, sizeof(got) - 1);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	ck_assert_int_eq(atoi(got), 100 - lines);
	ck_assert_ptr_nonnull(strstr(got, "lines were lost: Resource temporarily unavailable\nback\n"));
	sconce_log_close(log);
	close(fd);
}
END_TEST

/* ---- the limit ---- */

/* So many lines a second; the first one of a later second says how many were left out. */
START_TEST(test_limit_more_lines_left_out_and_told)
{
	struct sconce_log *log;

	frozen.tv_sec = 1000;
	log = open_with((struct sconce_log_options){ .lines_per_second = 20 });
	for (int i = 0; i < 50; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "line %d", i);
	ck_assert_int_eq(line_count(content(path)), 20);
	frozen.tv_sec++;
	sconce_log_line(log, SCONCE_LOG_ERROR, "next");
	ck_assert_str_eq(strstr(content(path), "line 19\n"), "line 19\n30 more lines were left out\nnext\n");
	frozen.tv_sec++;
	sconce_log_line(log, SCONCE_LOG_ERROR, "last");
	ck_assert_str_eq(strstr(content(path), "next\n"), "next\nlast\n");
	sconce_log_close(log);
	frozen.tv_sec = 0;
}
END_TEST

/* A second in which exactly as many came leaves nothing out; what is not wanted does not count. */
START_TEST(test_limit_reached_exactly_tells_nothing)
{
	struct sconce_log *log;

	frozen.tv_sec = 1000;
	log = open_with((struct sconce_log_options){ .lines_per_second = 2 });
	for (int i = 0; i < 9; i++)
		sconce_log_line(log, SCONCE_LOG_DEBUG, "no");
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	frozen.tv_sec++;
	sconce_log_line(log, SCONCE_LOG_ERROR, "three");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "one\ntwo\nthree\n");
	frozen.tv_sec = 0;
}
END_TEST

/* What was left out in the last second is told at the end. */
START_TEST(test_close_tells_what_was_left_out)
{
	struct sconce_log *log;

	frozen.tv_sec = 1000;
	log = open_with((struct sconce_log_options){ .lines_per_second = 1 });
	for (int i = 0; i < 3; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	sconce_log_close(log);
	ck_assert_str_eq(content(path), "x\n2 more lines were left out\n");
	frozen.tv_sec = 0;
}
END_TEST

/* What was left out, or lost, before a fork is the parent's to tell: a child tells what it has left out itself. */
START_TEST(test_forked_own_lines_alone_told)
{
	struct sconce_log *log;
	int status;
	pid_t pid;

	frozen.tv_sec = 1000;
	log = open_with((struct sconce_log_options){ .lines_per_second = 1 });
	faulty.fd = _i == 1 ? sconce_log_fd(log) : 0;
	faulty.errnum = ENOSPC;
	for (int i = 0; i < (_i == 0 ? 4 : 1); i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	faulty.fd = 0;
	pid = fork();
	if (pid == 0) {
		sconce__log_forked(log);
		for (int i = 0; i < 2; i++)
			sconce_log_line(log, SCONCE_LOG_ERROR, "y");
		sconce_log_close(log);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	sconce__log_forked(NULL);
	sconce_log_close(log);
	ck_assert_str_eq(content(path), _i == 0 ? "x\n2 more lines were left out\n3 more lines were left out\n" :
	    "2 more lines were left out\n1 line was lost: No space left on device\n");
	frozen.tv_sec = 0;
}
END_TEST

/* ---- escaping ---- */

/* HZ-18: every byte value, in a buffer of every size: terminated, visible, nothing cut inside a %XX. */
START_TEST(test_escape_any_size_terminated_and_whole)
{
	char text[256], buf[800], whole[800];

	for (int c = 0; c < 256; c++)
		text[c] = (char)c;
	ck_assert_ptr_eq(sconce_log_escape(text, sizeof(text), whole, sizeof(whole)), whole);
	ck_assert_uint_eq(strlen(whole), 95 + 3 * (256 - 95));
	for (const char *p = whole; *p != '\0'; p++)
		ck_assert(*p >= ' ' && *p <= '~');
	for (size_t size = 1; size < sizeof(buf); size++) {
		size_t len;

		memset(buf, 'z', sizeof(buf));
		sconce_log_escape(text, sizeof(text), buf, size);
		len = strlen(buf);
		ck_assert_uint_lt(len, size);
		ck_assert_mem_eq(buf, whole, len);
		/* it ends before what had no room: a whole %XX, or one byte (which may be a plain %) */
		ck_assert(whole[len] == '\0' || size - len <= (whole[len] == '%' ? 3 : 1));
		ck_assert_int_eq(buf[size], 'z');
	}
	buf[0] = 'z';
	sconce_log_escape(text, 5, buf, 0);
	ck_assert_int_eq(buf[0], 'z');
}
END_TEST

/* ---- memory ---- */

/* HZ-22: without memory there is no log, and nothing is left behind. */
START_TEST(test_open_without_memory_fails)
{
	struct sconce_log_options opts = { .file = path };
	struct sconce_log *log = NULL;
	struct sconce_fail fail;
	int r;

	if (!STARVE_WORKS)
		return;
	starve_left = 1;
	r = sconce_log_open(&opts, &log, &fail);
	starve_left = 0;
	ck_assert_int_eq(r, -ENOMEM);
	ck_assert_ptr_null(log);
	ck_assert_int_eq(fail.errnum, ENOMEM);
	ck_assert_int_eq(access(path, F_OK), -1);
	starve_left = 2;		/* one is all it takes, and lines need none */
	starve_failed = 0;
	r = sconce_log_open(&opts, &log, &fail);
	sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	starve_left = 0;
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(starve_failed, 0);
	sconce_log_close(log);
}
END_TEST

/* ---- the suite ---- */

static void
add_lines(Suite *s)
{
	TCase *tc = t_case(s, "line");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_line_level_at_most_the_logs_written);
	tcase_add_test(tc, test_set_level_later_lines_follow);
	tcase_add_test(tc, test_line_null_log_writes_nothing);
	tcase_add_test(tc, test_line_each_byte_value_stays_one_line);
	tcase_add_test(tc, test_open_ident_with_newline_is_escaped);
	tcase_add_test(tc, test_line_newline_at_end_left_out);
	tcase_add_test(tc, test_line_errno_is_kept);
	tcase_add_test(tc, test_line_errno_is_kept_over_the_limits_word);
	tcase_add_test(tc, test_line_percent_signs_are_data);
	tcase_add_test(tc, test_line_long_cut_at_4096);
	tcase_add_test(tc, test_line_time_is_local);
	tcase_add_test(tc, test_line_stderr_has_time_and_ident);
	tcase_add_test(tc, test_line_function_instead_of_writing);
	tcase_add_test(tc, test_escape_any_size_terminated_and_whole);
}

static void
add_files(Suite *s)
{
	TCase *tc = t_case(s, "file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_open_file_appends_with_mode_0640);
	tcase_add_test(tc, test_open_impossible_file_fails_with_text);
	tcase_add_test(tc, test_open_long_name_text_says_why);
	tcase_add_test(tc, test_reopen_renamed_file_begins_new_one);
	tcase_add_test(tc, test_reopen_impossible_old_one_stays);
	tcase_add_test(tc, test_open_without_standard_fds_is_above_them);
	tcase_add_test(tc, test_line_several_processes_each_line_whole);
	tcase_add_test(tc, test_line_one_write_each);
	tcase_add_test(tc, test_line_eintr_and_short_writes_go_on);
	tcase_add_test(tc, test_line_broken_off_next_is_its_own);
	tcase_add_test(tc, test_reopen_after_broken_off_line_begins_clean);
	tcase_add_test(tc, test_line_full_disk_counts_and_tells);
	tcase_add_test(tc, test_line_full_disk_one_write_for_each);
	tcase_add_test(tc, test_line_full_fifo_does_not_block);
	tcase_add_test(tc, test_open_without_memory_fails);
}

Suite *
t_suite(void)
{
	Suite *s = suite_create("log");
	TCase *tc;

	add_lines(s);
	add_files(s);
	tc = t_case(s, "limit");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_limit_more_lines_left_out_and_told);
	tcase_add_test(tc, test_limit_reached_exactly_tells_nothing);
	tcase_add_test(tc, test_close_tells_what_was_left_out);
	tcase_add_loop_test(tc, test_forked_own_lines_alone_told, 0, 2);
	return s;
}
