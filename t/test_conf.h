/* What the tests of the configuration share: a table with an option of each kind, and a directory for files. */
#ifndef TEST_CONF_H
#define TEST_CONF_H

#include "harness.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/conf.h>

struct options {
	const char *user, *group, *chroot, *my_option, *conf_file;
	struct sconce_conf_list arr, allow;
	bool setsid, background, no_client_stdout;
	int log_level, port, umask, any;
	double timeout, ratio;
	const char *pid_file;
};

/* Refuses what begins with "bad". */
static inline bool
check_not_bad(const char *value, char *why, size_t size)
{
	if (strncmp(value, "bad", 3) != 0)
		return true;
	snprintf(why, size, "no such thing as '%s'", value);
	return false;
}

#define AT(member) offsetof(struct options, member)
static const struct sconce_conf_option table[] = {
	{ .name = "user", .kind = SCONCE_CONF_TEXT, .offset = AT(user), .value = "NAME",
		.help = "become this user after binding", .check = check_not_bad },
	{ .name = "group", .kind = SCONCE_CONF_TEXT, .offset = AT(group), .value = "NAME", .help = "and this group" },
	{ .name = "chroot", .kind = SCONCE_CONF_TEXT, .offset = AT(chroot), .value = "DIR" },
	{ .name = "my_option", .kind = SCONCE_CONF_TEXT, .offset = AT(my_option) },
	{ .name = "conf_file", .kind = SCONCE_CONF_TEXT, .offset = AT(conf_file) },
	{ .name = "arr", .kind = SCONCE_CONF_LIST, .offset = AT(arr) },
	{ .name = "allow", .kind = SCONCE_CONF_LIST, .offset = AT(allow), .check = check_not_bad },
	{ .name = "setsid", .kind = SCONCE_CONF_FLAG, .offset = AT(setsid) },
	{ .name = "background", .kind = SCONCE_CONF_FLAG, .offset = AT(background) },
	{ .name = "no_client_stdout", .kind = SCONCE_CONF_FLAG, .offset = AT(no_client_stdout) },
	{ .name = "log_level", .kind = SCONCE_CONF_INT, .offset = AT(log_level), .min = 0, .max = 4 },
	{ .name = "port", .kind = SCONCE_CONF_INT, .offset = AT(port), .min = 1, .max = 65535 },
	{ .name = "umask", .kind = SCONCE_CONF_INT, .offset = AT(umask), .min = -1, .max = 511 },
	{ .name = "any", .kind = SCONCE_CONF_INT, .offset = AT(any) },
	{ .name = "timeout", .kind = SCONCE_CONF_NUMBER, .offset = AT(timeout), .min = 0, .max = INFINITY },
	{ .name = "ratio", .kind = SCONCE_CONF_NUMBER, .offset = AT(ratio) },
	{ .name = "pid_file", .kind = SCONCE_CONF_TEXT | SCONCE_CONF_ONCE, .offset = AT(pid_file) },
};
enum { TABLE = sizeof(table) / sizeof(table[0]) };

static struct sconce_conf *conf;
static struct options opts;
static char dir[64];			/* the current directory during a test, so that names are short */

static inline void
conf_setup(void)
{
	memset(&opts, 0, sizeof(opts));
	snprintf(dir, sizeof(dir), "/tmp/test_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(sconce_conf_new(&conf), 0);
	ck_assert_int_eq(sconce_conf_add(conf, table, TABLE, &opts), 0);
}

static inline void
conf_teardown(void)
{
	sconce_conf_free(conf);
	unlink("c");
	unlink("fifo");
	rmdir("d");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* The file "c". */
static inline void
file_bytes(const char *bytes, size_t len)
{
	FILE *f = fopen("c", "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static inline void
file_text(const char *text)
{
	file_bytes(text, strlen(text));
}

/* Reads a text as a file, from nothing. */
static inline int
read_text(const char *text)
{
	file_text(text);
	sconce_conf_clear_errors(conf);
	sconce_conf_unset(conf, SCONCE_CONF_FILE, NULL);
	return sconce_conf_file(conf, "c", 0);
}

/* A reload, as the header shows it. */
static inline int
reload(const char *text)
{
	read_text(text);
	return sconce_conf_apply(conf);
}

#define assert_get(name, index, text) ck_assert_pstr_eq(sconce_conf_get(conf, name, index), text)
#define assert_errors(text) ck_assert_str_eq(sconce_conf_errors(conf), text)
#define assert_set(source, name, text) \
	ck_assert_int_eq(sconce_conf_set(conf, SCONCE_CONF_##source, name, text), 0)
#define assert_apply() ck_assert_msg(sconce_conf_apply(conf) == 0, "%s", sconce_conf_errors(conf))

#endif
