/* The log as a client of syslogd: the form of its datagrams, and a syslogd that is slow, gone, or another one. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sconce/log.h>

static char dir[64], path[96];
static int server;			/* our syslogd; -1: none */
static char got[8192];			/* its last datagram */

static void
start_syslogd(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	unlink(path);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void
stop_syslogd(void)
{
	close(server);
	server = -1;
}

static void
setup(void)
{
	strcpy(dir, "/tmp/sconce-syslog.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	start_syslogd();
}

static void
teardown(void)
{
	if (server >= 0)
		stop_syslogd();
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct sconce_log *
open_with(struct sconce_log_options opts)
{
	struct sconce_fail fail;
	struct sconce_log *log = NULL;

	opts.file = "syslog";
	opts.level = SCONCE_LOG_DEBUG;
	if (opts.syslog_socket == NULL)
		opts.syslog_socket = path;
	ck_assert_msg(sconce_log_open(&opts, &log, &fail) == 0, "%s", fail.text);
	return log;
}

/* The next datagram; NULL: there is none. */
static const char *
receive(void)
{
	ssize_t n = recv(server, got, sizeof(got) - 1, 0);

	if (n < 0)
		return NULL;
	got[n] = '\0';
	return got;
}

/* The text behind the time. */
static const char *
receive_text(void)
{
	ck_assert_ptr_nonnull(receive());
	ck_assert_uint_gt(strlen(got), 20);
	return strchr(got, '>') + 17;
}

/* ---- the form ---- */

/* RFC 3164: <PRI>Mmm dd hh:mm:ss ident[pid]: text. */
START_TEST(test_line_form_is_rfc_3164)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "prog", .syslog_pid = true });
	char expected[64], pattern[32];
	const char *months = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t before = time(NULL), after;
	struct tm tm;

	sconce_log_line(log, SCONCE_LOG_NOTICE, "hello %d", 1);
	after = time(NULL);
	snprintf(expected, sizeof(expected), "prog[%d]: hello 1", (int)getpid());
	ck_assert_str_eq(receive_text(), expected);
	ck_assert_mem_eq(got, "<29>", 4);
	for (time_t t = before; t <= after; t++) {
		localtime_r(&t, &tm);
		snprintf(pattern, sizeof(pattern), "%.3s %2d %02d:%02d:%02d ", months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour,
			tm.tm_min, tm.tm_sec);
		if (memcmp(got + 4, pattern, 16) == 0)
			break;
		ck_assert_msg(t < after, "%s does not begin with %s", got + 4, pattern);
	}
	ck_assert_ptr_null(receive());
	sconce_log_close(log);
}
END_TEST

/* NS-46: the levels are err, warning, notice, info, debug. */
START_TEST(test_line_levels_map_to_severities)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .syslog_facility = "user" });

	for (int level = 0; level <= 4; level++) {
		sconce_log_line(log, level, "x");
		ck_assert_ptr_nonnull(receive());
		ck_assert_int_eq(atoi(got + 1), 8 + 3 + level);
	}
	sconce_log_close(log);
}
END_TEST

/* NS-49: the facility by its name; what is none is "daemon". */
START_TEST(test_open_facility_by_name_or_daemon)
{
	static const struct { const char *name; int number; } all[] = {
		{ NULL, 3 }, { "", 3 }, { "nonsense", 3 }, { "daemon", 3 }, { "kern", 0 }, { "user", 1 }, { "mail", 2 },
		{ "auth", 4 }, { "syslog", 5 }, { "lpr", 6 }, { "news", 7 }, { "uucp", 8 }, { "cron", 9 }, { "authpriv", 10 },
		{ "ftp", 11 }, { "local0", 16 }, { "local1", 17 }, { "local2", 18 }, { "local3", 19 }, { "local4", 20 },
		{ "local5", 21 }, { "local6", 22 }, { "local7", 23 }, { "LOG_LOCAL3", 19 }, { "Mail", 2 }, { "local8", 3 },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct sconce_log *log = open_with((struct sconce_log_options){ .syslog_facility = all[i].name });

		sconce_log_line(log, SCONCE_LOG_ERROR, "x");
		ck_assert_ptr_nonnull(receive());
		ck_assert_msg(atoi(got + 1) == all[i].number * 8 + 3, "%s: %s", all[i].name, got);
		sconce_log_close(log);
	}
}
END_TEST

/* NS-49: without a name the program's stands there, and no id unless it is asked for. */
START_TEST(test_line_ident_is_programs_name)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .time = true });
	char expected[64];

	sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	snprintf(expected, sizeof(expected), "%s: x", program_invocation_short_name);
	ck_assert_str_eq(receive_text(), expected);
	ck_assert_int_eq(sconce_log_fd(log), -1);
	sconce_log_close(log);
}
END_TEST

/* HZ-18: every byte value: one datagram, all of it visible. */
START_TEST(test_line_each_byte_value_one_datagram)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });

	for (int c = 0; c < 256; c++) {
		sconce_log_line(log, SCONCE_LOG_ERROR, "a%cb", c);
		ck_assert_ptr_nonnull(receive());
		for (const char *p = got; *p != '\0'; p++)
			ck_assert(*p >= ' ' && *p <= '~');
		ck_assert_ptr_null(receive());
	}
	sconce_log_close(log);
}
END_TEST

/* NS-49: data is never a format. */
START_TEST(test_line_percent_signs_are_data)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });

	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", "%n%s%m");
	ck_assert_str_eq(receive_text(), "p: %n%s%m");
	sconce_log_close(log);
}
END_TEST

/* A long line is cut, not refused. */
START_TEST(test_line_long_is_cut)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });

	sconce_log_line(log, SCONCE_LOG_ERROR, "%09999d", 1);
	ck_assert_ptr_nonnull(receive());
	ck_assert_uint_eq(strlen(got), 4095);
	sconce_log_close(log);
}
END_TEST

/* ---- syslogd comes and goes ---- */

/* syslogd is started anew: nothing is lost. */
START_TEST(test_line_syslogd_restarted_nothing_lost)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });

	for (int i = 0; i < 3; i++) {
		stop_syslogd();
		start_syslogd();
		sconce_log_line(log, SCONCE_LOG_ERROR, "line %d", i);
		ck_assert_int_eq(receive_text()[8], '0' + i);
		ck_assert_ptr_null(receive());
	}
	sconce_log_close(log);
}
END_TEST

/* While there is none lines are lost, and then it is told how many. */
START_TEST(test_line_syslogd_gone_counts_and_tells)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });

	stop_syslogd();
	errno = EXDEV;
	sconce_log_line(log, SCONCE_LOG_ERROR, "one");
	unlink(path);
	sconce_log_line(log, SCONCE_LOG_ERROR, "two");
	ck_assert_int_eq(errno, EXDEV);
	start_syslogd();
	sconce_log_line(log, SCONCE_LOG_ERROR, "three");
	ck_assert_str_eq(receive_text(), "p: 2 lines were lost: No such file or directory");
	ck_assert_int_eq(atoi(got + 1), 24 + 4);
	ck_assert_str_eq(receive_text(), "p: three");
	ck_assert_ptr_null(receive());
	sconce_log_close(log);
}
END_TEST

/* One that does not read never stops us. */
START_TEST(test_line_syslogd_stuck_does_not_block)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });
	int there = 0;

	for (int i = 0; i < 2000; i++)
		sconce_log_line(log, SCONCE_LOG_ERROR, "%01000d", i);
	while (receive() != NULL)
		there++;
	ck_assert_int_gt(there, 0);
	ck_assert_int_lt(there, 2000);
	sconce_log_line(log, SCONCE_LOG_ERROR, "back");
	ck_assert_int_eq(atoi(receive_text() + 3), 2000 - there);
	ck_assert_ptr_nonnull(strstr(got, "lines were lost"));
	ck_assert_str_eq(receive_text(), "p: back");
	sconce_log_close(log);
}
END_TEST

/* Opening again finds another syslogd at the path, and keeps the old one where there is none. */
START_TEST(test_reopen_other_syslogd_or_old_one)
{
	struct sconce_log *log = open_with((struct sconce_log_options){ .ident = "p" });
	int old = server;

	unlink(path);
	ck_assert_int_eq(sconce_log_reopen(log), -ENOENT);
	sconce_log_line(log, SCONCE_LOG_ERROR, "old");
	ck_assert_str_eq(receive_text(), "p: old");
	start_syslogd();
	ck_assert_int_eq(sconce_log_reopen(log), 0);
	sconce_log_line(log, SCONCE_LOG_ERROR, "new");
	ck_assert_str_eq(receive_text(), "p: new");
	close(old);
	sconce_log_close(log);
}
END_TEST

/* ---- opening ---- */

/* A log that cannot work is told at once, with what to do. */
START_TEST(test_open_no_syslogd_fails_with_text)
{
	static const char *const bad[] = { "relative/path", "", "127.0.0.1:514" };
	struct sconce_log_options opts = { .file = "syslog", .syslog_socket = path };
	struct sconce_log *log = NULL;
	struct sconce_fail fail;

	stop_syslogd();
	ck_assert_int_eq(sconce_log_open(&opts, &log, &fail), -ECONNREFUSED);
	ck_assert_str_eq(fail.operation, "log_file");
	ck_assert_ptr_nonnull(strstr(fail.text, path));
	ck_assert_ptr_nonnull(strstr(fail.text, "start syslogd, or log to a file"));
	unlink(path);
	ck_assert_int_eq(sconce_log_open(&opts, &log, &fail), -ENOENT);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		opts.syslog_socket = bad[i];
		ck_assert_int_eq(sconce_log_open(&opts, &log, &fail), -EINVAL);
		ck_assert_ptr_nonnull(strstr(fail.text, "is not the path of a unix socket"));
	}
	ck_assert_ptr_null(log);
}
END_TEST

/* An abstract name will do as well. */
START_TEST(test_open_abstract_name_is_found)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char name[64];
	struct sconce_log *log;

	stop_syslogd();
	snprintf(name, sizeof(name), "@sconce-syslog-%d", (int)getpid());
	memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	log = open_with((struct sconce_log_options){ .ident = "p", .syslog_socket = name });
	sconce_log_line(log, SCONCE_LOG_ERROR, "x");
	ck_assert_str_eq(receive_text(), "p: x");
	sconce_log_close(log);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("log_syslog");
	TCase *tc = t_case(s, "form");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_line_form_is_rfc_3164);
	tcase_add_test(tc, test_line_levels_map_to_severities);
	tcase_add_test(tc, test_open_facility_by_name_or_daemon);
	tcase_add_test(tc, test_line_ident_is_programs_name);
	tcase_add_test(tc, test_line_each_byte_value_one_datagram);
	tcase_add_test(tc, test_line_percent_signs_are_data);
	tcase_add_test(tc, test_line_long_is_cut);
	tc = t_case(s, "syslogd");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_line_syslogd_restarted_nothing_lost);
	tcase_add_test(tc, test_line_syslogd_gone_counts_and_tells);
	tcase_add_test(tc, test_line_syslogd_stuck_does_not_block);
	tcase_add_test(tc, test_reopen_other_syslogd_or_old_one);
	tcase_add_test(tc, test_open_no_syslogd_fails_with_text);
	tcase_add_test(tc, test_open_abstract_name_is_found);
	return s;
}
