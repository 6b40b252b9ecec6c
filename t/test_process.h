/* What the tests of the process share, on top of the server's kit: t/process/served.c. */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include "test_server.h"

static KIT_UNUSED const char *
served_path(void)
{
	static char path[512];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/t/process/served", build != NULL ? build : "build");
	return path;
}

/* Starts it with arguments up to a NULL, and one more variable ("NAME=value"), or NULL. */
static KIT_UNUSED void
process_exec(struct served *v, const char *const *args, const char *variable)
{
	char name[32] = "";

	if (variable != NULL) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(variable, "="), variable);
		setenv(name, variable + strlen(name) + 1, 1);
	}
	kit_exec_program(v, served_path(), args);
	if (variable != NULL)
		unsetenv(name);
}

/* Starts it, on a port of 127.0.0.1 unless `listen=` is among the arguments, and waits until it runs. */
static KIT_UNUSED void
process_start(struct served *v, ...)
{
	const char *args[KIT_ARGS] = { "--listen=127.0.0.1:0", "--log_level=4" };
	unsigned n = 2;
	va_list ap;

	va_start(ap, v);
	while (n < KIT_ARGS - 1 && (args[n] = va_arg(ap, const char *)) != NULL)
		n++;
	va_end(ap);
	process_exec(v, args, NULL);
	v->port = atoi(kit_log(v, "bound 127.0.0.1:"));
	ck_assert_int_gt(v->port, 0);
	kit_log(v, "started, pid ");
}

static KIT_UNUSED int
ask_number(int c, const char *what)
{
	char line[64];

	snprintf(line, sizeof(line), "%s\n", what);
	kit_say(c, line);
	return atoi(kit_line(c));
}

/* The number in the pid file "pid"; -1: there is no file. */
static KIT_UNUSED pid_t
pid_in_file(void)
{
	FILE *f = fopen(kit_path("pid"), "r");
	int pid = 0;

	if (f == NULL)
		return -1;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

/* The content of a file, once it has `text` in it; the caller frees it. */
static KIT_UNUSED char *
await_file(const char *path, const char *text)
{
	char *content = calloc(1, 65536);

	for (int i = 0; i < KIT_WAIT_MS / 5; i++) {
		FILE *f = fopen(path, "r");
		size_t n = f != NULL ? fread(content, 1, 65535, f) : 0;

		if (f != NULL)
			fclose(f);
		content[n] = '\0';
		if (strstr(content, text) != NULL)
			return content;
		poll(NULL, 0, 5);
	}
	ck_abort_msg("no '%s' in %s:\n%s", text, path, content);
	return NULL;
}

/* The port in a log file, once it runs. */
static KIT_UNUSED int
port_in_log(const char *path)
{
	static const char key[] = "bound 127.0.0.1:";
	char *text = await_file(path, "started, pid ");
	int port;

	ck_assert_ptr_nonnull(strstr(text, key));
	port = atoi(strstr(text, key) + strlen(key));
	free(text);
	return port;
}

/* Whether a standard fd of a process is this file. */
static KIT_UNUSED int
standard_is(pid_t pid, int fd, const char *file)
{
	char path[64], is[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)pid, fd);
	n = readlink(path, is, sizeof(is) - 1);
	if (n < 0)
		return -1;
	is[n] = '\0';
	return strcmp(is, file) == 0;
}

#endif
