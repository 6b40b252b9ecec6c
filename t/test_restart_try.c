/* The trial of a program. */
#include "one_loop.h"
#include "starve.h"
#include "test_server.h"

#include <sys/resource.h>

#include <sconce/restart.h>

#include "process_private.h"

/* What was told of a trial. */
struct told {
	int count, status;
	char text[5000];
};

static struct told told;
static struct sconce_program *program;

static void
note(struct sconce_loop *l, void *arg, int status, const char *text)
{
	ck_assert_ptr_eq(l, loop);
	ck_assert_ptr_eq(arg, &told);
	told.count++;
	told.status = status;
	snprintf(told.text, sizeof(told.text), "%s", text);
}

/* A program of this shell script. */
static void
capture(const char *script)
{
	char path[160];
	char *argv[] = { path, (char[]){ "one" }, (char[]){ "two words" }, NULL };
	char text[1024];

	snprintf(path, sizeof(path), "%s", kit_path("script"));
	snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", script);
	kit_write_file(path, text);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(sconce_program_capture(3, argv, &program), 0);
	told = (struct told){ .count = 0 };
}

/* Tries it, until that is told. */
static void
try(double timeout)
{
	ck_assert_int_eq(sconce_program_try(program, loop, timeout, note, &told), 0);
	ck_assert_int_eq(told.count, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(told.count, 1);
	sconce_program_free(program);
}

/* The status is told, and what it has said on stderr alone. */
START_TEST(test_try_status_and_text_told)
{
	capture("echo not this; echo \"$# $2\" >&2; exit 3");
	try(0);
	ck_assert(WIFEXITED(told.status));
	ck_assert_int_eq(WEXITSTATUS(told.status), 3);
	ck_assert_str_eq(told.text, "2 two words\n");
	capture("exit 0");
	try(0);
	ck_assert_int_eq(told.status, 0);
	ck_assert_str_eq(told.text, "");
	capture("kill -9 $$");
	try(0);
	ck_assert(WIFSIGNALED(told.status));
}
END_TEST

/* Only the child knows that it is a trial. */
START_TEST(test_try_is_seen_by_the_child_alone)
{
	capture("test -n \"$SCONCE_TRIAL\" && echo trial >&2");
	ck_assert(!sconce_program_checking());
	try(0);
	ck_assert_str_eq(told.text, "trial\n");
	ck_assert(!sconce_program_checking());
	setenv("SCONCE_TRIAL", "1", 1);
	ck_assert(sconce_program_checking());
	capture("test -z \"$X$SCONCE_FDS$LISTEN_FDS\"");
	unsetenv("SCONCE_TRIAL");
	setenv("X", "set since the capture", 1);
	setenv("LISTEN_FDS", "1", 1);
	try(0);
	ck_assert_int_eq(told.status, 0);
}
END_TEST

/* The mask of the signals that this process ignores, as the kernel writes it. */
static void
read_ignored(char *mask, size_t size)
{
	char line[128];
	FILE *f = fopen("/proc/self/status", "r");

	ck_assert_ptr_nonnull(f);
	mask[0] = '\0';
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "SigIgn:", 7) == 0)
			snprintf(mask, size, "%.16s", line + 8);
	fclose(f);
}

/* The child has fds 0 to 2 and no other, no blocked signals, no signals ignored but those of the start; directory and
 * umask of the start.  HZ-14. */
START_TEST(test_try_child_is_clean)
{
	int leaky = open("/dev/null", O_RDONLY);
	char expected[256], ignored[32];
	sigset_t set;
	mode_t old = umask(026);

	read_ignored(ignored, sizeof(ignored));
	ck_assert_int_eq(chdir(kit_dir), 0);
	unsetenv("PWD");
	capture("ls /proc/self/fd | tr '\\n' ' ' >&2; grep -E 'Sig(Blk|Ign)' /proc/$$/status | tr -s '\\t\\n' ' ' >&2; pwd >&2; umask >&2;"
	    "readlink /proc/$$/fd/0 /proc/$$/fd/1 | cat >&2");
	umask(old);
	ck_assert_int_eq(chdir("/"), 0);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	try(0);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	close(leaky);
	/* ls has one for the directory; the loop of the fixture was there before the capture, and ignores SIGPIPE */
	snprintf(expected, sizeof(expected), "0 1 2 3 SigBlk: 0000000000000000 SigIgn: %s %s\n0026\n/dev/null\n/dev/null\n",
	    ignored, kit_dir);
	ck_assert_str_eq(told.text, expected);
}
END_TEST

/* Of much text the first 4 KiB are told, and the child is not held up by the rest. */
START_TEST(test_try_long_text_is_cut)
{
	capture("i=0; while [ $i -lt 3000 ]; do echo 'a line of sixty-four bytes, which is repeated three thousand times' >&2;"
	    "i=$((i+1)); done; exit 5");
	try(0);
	ck_assert_int_eq(WEXITSTATUS(told.status), 5);
	ck_assert_uint_eq(strlen(told.text), 4096);
	ck_assert_int_eq(strncmp(told.text, "a line", 6), 0);
}
END_TEST

/* One that does not end is ended, with what it has started. */
START_TEST(test_try_timeout_ends_it)
{
	pid_t pid;

	capture("sleep 1000 & echo $! >&2; wait");
	try(0.2);
	ck_assert_int_eq(told.status, -ETIMEDOUT);
	pid = (pid_t)atoi(told.text);
	ck_assert_int_gt(pid, 1);
	for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
		char path[64], state[256] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
		f = fopen(path, "r");
		if (f == NULL || fgets(state, sizeof(state), f) == NULL || strstr(state, ") Z ") != NULL)
			state[0] = '\0';		/* gone, or nobody's zombie */
		if (f != NULL)
			fclose(f);
		if (state[0] == '\0')
			break;
		poll(NULL, 0, 5);
		ck_assert_int_lt(i, 999);
	}
}
END_TEST

/* What a trial leaves behind holds its stderr, but nothing up. */
START_TEST(test_try_left_behind_is_ended)
{
	capture("sleep 1000 & exit 0");
	try(0);
	ck_assert_int_eq(told.status, 0);
}
END_TEST

/* A program that cannot be executed at all is told like one that fails. */
START_TEST(test_try_cannot_be_executed_told)
{
	capture("exit 0");
	kit_write_file(kit_path("script"), "#!/no/such/interpreter\n");
	try(0);
	ck_assert_int_eq(WEXITSTATUS(told.status), 127);
	ck_assert_ptr_nonnull(strstr(told.text, "script: No such file or directory\n"));
}
END_TEST

/* The loop is freed meanwhile: the child is ended and reaped, and that is told. */
START_TEST(test_try_loop_freed_cancels)
{
	struct sconce_loop *mine = loop;

	ck_assert_int_eq(sconce_loop_new(NULL, &loop), 0);
	capture("sleep 1000");
	ck_assert_int_eq(sconce_program_try(program, loop, 0, note, &told), 0);
	ck_assert_int_eq(sconce_loop_step(loop, 0.01) >= 0, 1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	ck_assert_int_eq(told.count, 1);
	ck_assert_int_eq(told.status, -ECANCELED);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
	sconce_program_free(program);
}
END_TEST

/* A forked process that goes on with the loop is told that the trial is not its own; the parent's goes on. HZ-14 */
START_TEST(test_try_fork_parent_keeps_it)
{
	pid_t pid;
	int status;

	capture("exit 4");
	ck_assert_int_eq(sconce_program_try(program, loop, 0, note, &told), 0);
	pid = fork();
	if (pid == 0) {
		if (sconce_loop_fork(loop) < 0 || sconce_loop_run(loop) != SCONCE_LOOP_IDLE)
			_exit(1);
		_exit(told.count == 1 && told.status == -ECANCELED ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(told.count, 1);
	ck_assert_int_eq(WEXITSTATUS(told.status), 4);
	sconce_program_free(program);
}
END_TEST

/* No descriptor left: nothing was begun. */
START_TEST(test_try_no_descriptors_reported)
{
	struct rlimit old, low;
	int r = 0, begun = 0;

	capture("exit 0");
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	for (low.rlim_cur = 3; low.rlim_cur < 40 && begun == 0; low.rlim_cur++) {
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = sconce_program_try(program, loop, 0, note, &told);
		begun += r == 0;
		ck_assert(r == 0 || r == -EMFILE);
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(begun, 1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(told.count, 1);
	sconce_program_free(program);
}
END_TEST

/* Whichever allocation fails, of ours or of the loop's: nothing was begun, no child is left.  HZ-22. */
START_TEST(test_try_no_memory_reported)
{
	struct sconce_backend backend = *sconce_backend_libev();
	struct sconce_loop_options opts = { .backend = &backend };
	struct sconce_loop *mine = loop;
	int r = -ENOMEM, failed = 0;

	ck_assert_int_eq(sconce_loop_new(&opts, &loop), 0);
	backend.alloc = few_allocs;
	capture("exit 6");
	for (int n = 0; r != 0; n++) {
		allocs_left = n;
		r = sconce_program_try(program, loop, 0, note, &told);
		ck_assert(r == 0 || r == -ENOMEM);
		failed += r != 0;
	}
	allocs_left = 100000;
	ck_assert_int_gt(failed, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	r = -ENOMEM;
	for (long n = 1; r != 0 && STARVE_WORKS; n++) {
		starve_left = n;
		r = sconce_program_try(program, loop, 0, note, &told);
		starve_left = 0;
		ck_assert(r == 0 || r == -ENOMEM);
	}
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ck_assert_int_eq(told.count, STARVE_WORKS ? 2 : 1);
	ck_assert_int_eq(starve_failed > 2, STARVE_WORKS);
	ck_assert_int_eq(WEXITSTATUS(told.status), 6);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	loop = mine;
	sconce_program_free(program);
}
END_TEST

/* ---- what could be bound ---- */

/* A socket that listens, or one of datagrams, at an endpoint of 127.0.0.1:0 or of the path "sock". */
static int
bind_one(struct sconce_endpoint *ep, const char *scheme, int *port_out)
{
	struct sconce_addr a = { .len = sizeof(a.in) };
	int fd;

	memset(&a.un, 0, sizeof(a.un));
	a.any.sa_family = AF_INET;
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (strcmp(scheme, "unix") == 0) {
		a.any.sa_family = AF_UNIX;
		snprintf(a.un.sun_path, sizeof(a.un.sun_path), "%s", kit_path("sock"));
		a.len = sizeof(a.un);
	}
	fd = socket(a.any.sa_family, (strcmp(scheme, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, &a.any, a.len), 0);
	if (strcmp(scheme, "udp") != 0)
		ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, &a.any, &a.len), 0);
	*port_out = sconce_addr_port(&a);
	if (a.any.sa_family == AF_UNIX)
		ck_assert_int_eq(sconce_endpoint_parse(kit_path("sock"), SCONCE_ENDPOINT_LISTEN, NULL, ep, NULL), 1);
	return fd;
}

static void
parse_at(struct sconce_endpoint *ep, const char *scheme, const char *host, int port)
{
	char text[64];

	snprintf(text, sizeof(text), "%s://%s:%d", scheme, host, port);
	ck_assert_int_eq(sconce_endpoint_parse(text, SCONCE_ENDPOINT_LISTEN, NULL, ep, NULL), 1);
}

/* As in a trial by a process that is going to hand over what `ep`, if not NULL, has got. */
static void
set_trial(const struct sconce_endpoint *ep, int fd)
{
	char key[KEY_SIZE], *variable;
	struct sconce_handover *h;

	ck_assert_int_eq(sconce_handover_new(&h), 0);
	if (ep != NULL) {
		sconce__endpoint_key(ep, key);
		ck_assert_int_eq(sconce_handover_add(h, fd, key), 0);
	}
	variable = sconce__trial_variable(h);
	ck_assert_ptr_nonnull(variable);
	variable[strlen("SCONCE_TRIAL")] = '\0';
	ck_assert_str_eq(variable, "SCONCE_TRIAL");
	setenv("SCONCE_TRIAL", variable + strlen("SCONCE_TRIAL="), 1);
	free(variable);
	sconce_handover_free(h);
}

static const char *const schemes[] = { "tcp", "udp", "unix" };

/* In a trial an endpoint that another process has is refused, with a text; one of ours is fine, and so is a free one,
 * which is free afterwards. */
START_TEST(test_try_bind_taken_is_refused)
{
	struct sconce_endpoint ep;
	struct sconce_fail fail = { .operation = NULL };
	int port, fd = bind_one(&ep, schemes[_i], &port);

	if (_i < 2)
		parse_at(&ep, schemes[_i], "127.0.0.1", port);
	set_trial(NULL, -1);
	ck_assert_int_eq(sconce_program_try_bind(&ep, &fail), -EADDRINUSE);
	ck_assert_ptr_nonnull(fail.operation);
	ck_assert_msg(strstr(fail.text, "in use") != NULL, "%s", fail.text);
	ck_assert_int_eq(sconce_program_try_bind(&ep, NULL), -EADDRINUSE);
	set_trial(&ep, fd);
	ck_assert_int_eq(sconce_program_try_bind(&ep, &fail), 0);
	close(fd);
	unlink(kit_path("sock"));
	set_trial(NULL, -1);
	for (int i = 0; i < 2; i++)
		ck_assert_msg(sconce_program_try_bind(&ep, &fail) == 0, "%s", fail.text);
	ck_assert_int_eq(access(kit_path("sock"), F_OK), -1);
	unsetenv("SCONCE_TRIAL");
}
END_TEST

/* What is in the way only as it is one of ours, on the same port, goes before the new one comes. */
START_TEST(test_try_bind_ours_in_the_way_is_fine)
{
	struct sconce_endpoint ep, other;
	int port, fd = bind_one(&ep, schemes[_i], &port);

	parse_at(&ep, schemes[_i], "127.0.0.1", port);
	parse_at(&other, schemes[_i], "0.0.0.0", port);
	set_trial(NULL, -1);
	ck_assert_int_eq(sconce_program_try_bind(&other, NULL), -EADDRINUSE);
	set_trial(&ep, fd);
	ck_assert_int_eq(sconce_program_try_bind(&other, NULL), 0);
	unsetenv("SCONCE_TRIAL");
	close(fd);
}
END_TEST

/* Where it is not known what is handed over, and outside of a trial, nothing is tried. */
START_TEST(test_try_bind_unknown_tries_nothing)
{
	struct sconce_endpoint ep;
	int port, fd = bind_one(&ep, "tcp", &port);

	parse_at(&ep, "tcp", "127.0.0.1", port);
	ck_assert_int_eq(sconce_program_try_bind(&ep, NULL), 0);
	setenv("SCONCE_TRIAL", "1", 1);
	ck_assert_int_eq(sconce_program_try_bind(&ep, NULL), 0);
	set_trial(NULL, -1);
	ck_assert_int_eq(sconce_program_try_bind(&ep, NULL), -EADDRINUSE);
	ck_assert_int_eq(sconce_endpoint_parse("fd://7", SCONCE_ENDPOINT_LISTEN, NULL, &ep, NULL), 1);
	ck_assert_int_eq(sconce_program_try_bind(&ep, NULL), 0);
	unsetenv("SCONCE_TRIAL");
	close(fd);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("restart_try");
	TCase *t = t_case(suite, "try");

	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_try_status_and_text_told);
	tcase_add_test(t, test_try_is_seen_by_the_child_alone);
	tcase_add_test(t, test_try_child_is_clean);
	tcase_add_test(t, test_try_long_text_is_cut);
	tcase_add_test(t, test_try_timeout_ends_it);
	tcase_add_test(t, test_try_left_behind_is_ended);
	tcase_add_test(t, test_try_cannot_be_executed_told);
	tcase_add_test(t, test_try_loop_freed_cancels);
	tcase_add_test(t, test_try_fork_parent_keeps_it);
	tcase_add_test(t, test_try_no_descriptors_reported);
	tcase_add_test(t, test_try_no_memory_reported);

	t = t_case(suite, "bind");
	tcase_add_checked_fixture(t, kit_setup, kit_teardown);
	tcase_add_loop_test(t, test_try_bind_taken_is_refused, 0, 3);
	tcase_add_loop_test(t, test_try_bind_ours_in_the_way_is_fine, 0, 2);
	tcase_add_test(t, test_try_bind_unknown_tries_nothing);
	return suite;
}
