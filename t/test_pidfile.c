/* The pid file: who gets it, what may be in it, and what is left of it.  Other processes are real ones. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/daemon.h>

#include "daemon_private.h"

enum { NOBODY = 65534 };

static char dir[64], path[128];
static struct sconce_pidfile file;
static struct sconce_fail fail;

/* Replaces what is at `path`, so many times, right after it was opened. */
static int replace;

int
openat(int dirfd, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;
	int fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	fd = (int)syscall(SYS_openat, dirfd, name, flags, mode);
	if (fd >= 0 && replace > 0 && strcmp(name, "pid") == 0) {
		replace--;
		unlink(path);
		close((int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	}
	return fd;
}

static void
setup(void)
{
	memset(&file, 0, sizeof(file));
	strcpy(dir, "/tmp/sconce-pid.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pid", dir);
}

static void
teardown(void)
{
	sconce_pidfile_close(&file, false);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
put(const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void
put_pid(pid_t pid)
{
	char text[32];

	put(text, (size_t)snprintf(text, sizeof(text), "%d\n", (int)pid));
}

/* What is in the file.  Not to be used by the process that holds it: it would lose it. */
static ssize_t
content(char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return n;
}

/* The same by way of the fd that holds it. */
static void
assert_holds_own_pid(void)
{
	char text[64] = "", expected[32];

	snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
	ck_assert_int_gt(pread(sconce_pidfile_fd(&file), text, sizeof(text) - 1, 0), 0);
	ck_assert_str_eq(text, expected);
}

static void
open_and_write(void)
{
	ck_assert_msg(sconce_pidfile_open(&file, path, &fail) == 0, "%s", fail.text);
	ck_assert_msg(sconce_pidfile_write(&file, &fail) == 0, "%s", fail.text);
	assert_holds_own_pid();
}

static void
assert_path_refused(const char *name, int r)
{
	memset(&fail, 0, sizeof(fail));
	ck_assert_int_eq(sconce_pidfile_open(&file, name, &fail), r);
	ck_assert_int_eq(fail.errnum, -r);
	ck_assert_str_eq(fail.operation, "pid_file");
	ck_assert_msg(strstr(fail.text, name) != NULL, "%s", fail.text);
	ck_assert_int_eq(sconce_pidfile_fd(&file), -1);
	ck_assert_int_eq(sconce_pidfile_open(&file, name, NULL), r);
}

static void
assert_refused(int r)
{
	assert_path_refused(path, r);
}

static int
await(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The errno with which another process cannot take the file; 0: it can. */
static int
other_gets(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct sconce_pidfile p;

		_exit(-sconce_pidfile_open(&p, path, NULL));
	}
	return await(pid);
}

/* A process that holds the file until it is killed. */
static pid_t
start_holder(void)
{
	int fds[2];
	char c;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (sconce_pidfile_open(&file, path, NULL) < 0 || sconce_pidfile_write(&file, NULL) < 0)
			_exit(1);
		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		for (int i = 0; i < 20; i++)
			sleep(1);
		_exit(0);
	}
	close(fds[1]);
	ck_assert_int_eq(read(fds[0], &c, 1), 1);
	close(fds[0]);
	return pid;
}

static void
stop_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	ck_assert_int_eq(await(pid), 128 + SIGKILL);
}

/* ---- what may be in it ---- */

/* NS-51: where there is none it is made, holds our pid, and goes away with us. */
START_TEST(test_open_absent_is_made_and_removed)
{
	mode_t mask = umask(022);
	struct stat st;

	open_and_write();
	umask(mask);
	ck_assert(!file.stale);
	ck_assert_int_eq(file.was, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
	ck_assert_int_eq(fcntl(sconce_pidfile_fd(&file), F_GETFD), FD_CLOEXEC);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(sconce_pidfile_fd(&file), -1);
	sconce_pidfile_close(&file, true);
}
END_TEST

/* AC-16, NS-51: an empty one is nobody's, however young it is. */
START_TEST(test_open_empty_is_taken)
{
	put("", 0);
	open_and_write();
	ck_assert(!file.stale);
	ck_assert_int_eq(file.was, 0);
}
END_TEST

/* AC-16, NS-51: one that names a process that has ended is replaced, and the caller can tell. */
START_TEST(test_open_stale_is_replaced)
{
	pid_t pid = start_holder();

	stop_holder(pid);
	open_and_write();
	ck_assert(file.stale);
	ck_assert_int_eq(file.was, pid);
}
END_TEST

/* AC-16: so is one that names a process that lives but does not hold it: the number belongs to another program now. */
START_TEST(test_open_names_process_without_lock_is_stale)
{
	put_pid(getppid());
	open_and_write();
	ck_assert(file.stale);
	ck_assert_int_eq(file.was, getppid());
}
END_TEST

/* AC-16, NS-51: one that a process holds is left to it, and it is told which. */
START_TEST(test_open_foreign_is_refused)
{
	pid_t pid = start_holder();
	char text[64], before[64];

	ck_assert_int_gt(content(before, sizeof(before)), 0);
	assert_refused(-EEXIST);
	snprintf(text, sizeof(text), "process %d has it", (int)pid);
	sconce_pidfile_open(&file, path, &fail);
	ck_assert_msg(strstr(fail.text, text) != NULL, "%s", fail.text);
	content(text, sizeof(text));
	ck_assert_str_eq(text, before);
	stop_holder(pid);
}
END_TEST

/* AC-16: our own number is fine: we have executed ourselves. */
START_TEST(test_open_own_is_taken)
{
	put_pid(getpid());
	open_and_write();
	ck_assert(!file.stale);
	ck_assert_int_eq(file.was, getpid());
}
END_TEST

/* NS-51: a file of other content is not ours to overwrite. */
START_TEST(test_open_not_a_pid_left_alone)
{
	static const struct { const char *text; size_t len; } bad[] = {
		{ "root:x:0", 8 }, { "12x", 3 }, { "0", 1 }, { "-1", 2 }, { "+1", 2 }, { "1 2", 3 }, { "2147483648", 10 },
		{ "99999999999999999999", 20 }, { "1\0", 2 }, { "\0", 1 }, { "1                               \n", 33 }, { "0x10", 4 },
		{ "\f1", 2 },
	};
	char text[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(bad[i].text, bad[i].len);
		assert_refused(-EINVAL);
		ck_assert_ptr_nonnull(strstr(fail.text, "no process id"));
		ck_assert_int_eq(content(text, sizeof(text)), (ssize_t)bad[i].len);
		ck_assert_mem_eq(text, bad[i].text, bad[i].len);
	}
}
END_TEST

/* Blanks around it, and none, are as good as a newline behind it. */
START_TEST(test_open_blanks_around_pid_allowed)
{
	static const char *const good[] = { "99999999", " 99999999 \r\n", "\t99999999\n\n", "\n", " " };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		put(good[i], strlen(good[i]));
		ck_assert_int_eq(sconce_pidfile_open(&file, path, NULL), 0);
		ck_assert_int_eq(file.was, i < 3 ? 99999999 : 0);
		sconce_pidfile_close(&file, false);
	}
}
END_TEST

/* ---- what may be in its place ---- */

/* NS-51: a directory. */
START_TEST(test_open_directory_is_refused)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	assert_refused(-EISDIR);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* NS-51: a symbolic link may lead to anything, so it is not followed, whether that is there or not. */
START_TEST(test_open_symlink_is_not_followed)
{
	char target[160];

	snprintf(target, sizeof(target), "%s.target", path);
	ck_assert_int_eq(symlink(target, path), 0);
	assert_refused(-ELOOP);
	ck_assert_int_eq(access(target, F_OK), -1);
	ck_assert_int_eq(close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	assert_refused(-ELOOP);
	unlink(target);
}
END_TEST

/* What is no file at all, and does not make us wait. */
START_TEST(test_open_fifo_is_refused)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	assert_refused(-EINVAL);
}
END_TEST

/* NS-51: the directory is not there, or is none. */
START_TEST(test_open_missing_directory_is_refused)
{
	char name[160];

	snprintf(name, sizeof(name), "%s/no/pid", dir);
	assert_path_refused(name, -ENOENT);
	ck_assert_ptr_nonnull(strstr(fail.text, "no such directory: make it"));
	put("", 0);
	snprintf(name, sizeof(name), "%s/pid", path);
	assert_path_refused(name, -ENOTDIR);
	snprintf(name, sizeof(name), "%s/", dir);
	assert_path_refused(name, -EINVAL);
}
END_TEST

/* A path that is too long for the kernel or for us. */
START_TEST(test_open_long_path_is_refused)
{
	char name[5000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(sconce_pidfile_open(&file, name, &fail), -ENAMETOOLONG);
	name[300] = '\0';
	ck_assert_int_eq(sconce_pidfile_open(&file, name, &fail), -ENAMETOOLONG);
	ck_assert_int_eq(sconce_pidfile_fd(&file), -1);
}
END_TEST

static bool
become_nobody(void)
{
	return setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

/* NS-51: no permission, for the directory or the file. */
START_TEST(test_open_without_permission_is_refused)
{
	pid_t pid;

	if (geteuid() != 0) {
		puts("skip pid file without permission: not root");
		return;
	}
	put("", 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(chmod(dir, i == 0 ? 0700 : 0755), 0);
		pid = fork();
		if (pid == 0)
			_exit(become_nobody() ? -sconce_pidfile_open(&file, path, &fail) : 1);
		ck_assert_int_eq(await(pid), EACCES);
	}
}
END_TEST

static bool
is_at_path(int fd)
{
	struct stat open, named;

	return fstat(fd, &open) == 0 && stat(path, &named) == 0 && open.st_ino == named.st_ino;
}

/* NS-51: replaced between open and lock: it is the new one that counts, which may be replaced, too, but not for ever. */
START_TEST(test_open_replaced_meanwhile_takes_new_one)
{
	put("nonsense", 8);
	replace = 3;
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	ck_assert_int_eq(replace, 0);
	ck_assert(is_at_path(sconce_pidfile_fd(&file)));
	ck_assert(!file.stale);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), 0);	/* it was there before us */
	replace = 1000;
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), -EAGAIN);
	ck_assert_int_gt(replace, 0);
	ck_assert_ptr_nonnull(strstr(fail.text, "is replaced all the time"));
	replace = 0;
}
END_TEST

/* An fd of the file that was inherited from somebody else is no sign that it is ours. */
START_TEST(test_open_inherited_fd_of_stale_file_is_not_used)
{
	int fd;

	put("99999999", 8);
	fd = open(path, O_RDWR);
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	ck_assert_int_ne(sconce_pidfile_fd(&file), fd);
	ck_assert(file.stale);
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
	close(fd);
}
END_TEST

/* A path without a directory is one in the current one. */
START_TEST(test_open_relative_path_is_in_current_directory)
{
	int here = open(".", O_PATH | O_CLOEXEC);

	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(sconce_pidfile_open(&file, "pid", &fail), 0);
	ck_assert_int_eq(fchdir(here), 0);
	close(here);
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* ---- writing ---- */

/* What was never opened cannot be written; and closing it harms no fd 0. */
START_TEST(test_write_unopened_is_refused)
{
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), -EBADF);
	ck_assert_int_eq(sconce_pidfile_fd(&file), -1);
	sconce_pidfile_keep(&file, true);
	sconce_pidfile_close(&file, true);
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
}
END_TEST

/* NS-51: it was deleted before we wrote it: there is a new one. */
START_TEST(test_write_deleted_is_made_anew)
{
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), 0);
	assert_holds_own_pid();
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(other_gets(), EEXIST);
}
END_TEST

/* It was replaced by one that another process holds: that one has it. */
START_TEST(test_write_replaced_by_foreign_is_refused)
{
	pid_t pid;

	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	ck_assert_int_eq(unlink(path), 0);
	pid = start_holder();
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), -EEXIST);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), 0);
	stop_holder(pid);
}
END_TEST

/* A full disk is an error, and leaves no file behind. */
START_TEST(test_write_no_room_fails)
{
	struct rlimit none = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
	pid_t pid = fork();

	if (pid == 0) {
		int r;

		signal(SIGXFSZ, SIG_IGN);
		if (sconce_pidfile_open(&file, path, &fail) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0)
			_exit(1);
		r = sconce_pidfile_write(&file, &fail);
		sconce_pidfile_close(&file, true);
		_exit(-r);
	}
	ck_assert_int_eq(await(pid), EFBIG);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* A shorter number leaves nothing of a longer one; and twice is as good as once. */
START_TEST(test_write_twice_over_longer_content)
{
	put("99999999\n\n\n\n", 12);
	open_and_write();
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), 0);
	assert_holds_own_pid();
	ck_assert_int_eq(other_gets(), EEXIST);
}
END_TEST

/* ---- closing ---- */

/* NS-51: kept, it is stale for the next one. */
START_TEST(test_close_without_remove_stays)
{
	char text[64], expected[32];

	open_and_write();
	sconce_pidfile_close(&file, false);
	snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
	content(text, sizeof(text));
	ck_assert_str_eq(text, expected);
	ck_assert_int_eq(other_gets(), 0);
}
END_TEST

/* NS-51: one that was replaced under us is not ours to remove. */
START_TEST(test_close_replaced_is_left_alone)
{
	char text[64];

	open_and_write();
	ck_assert_int_eq(unlink(path), 0);
	put("4711\n", 5);
	sconce_pidfile_close(&file, true);
	content(text, sizeof(text));
	ck_assert_str_eq(text, "4711\n");
}
END_TEST

/* NS-51: one that was deleted under us needs nothing. */
START_TEST(test_close_deleted_is_harmless)
{
	open_and_write();
	ck_assert_int_eq(unlink(path), 0);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* NS-51: a child does not remove what its parent wrote, nor can it write it. */
START_TEST(test_close_in_child_leaves_parents)
{
	pid_t pid;

	open_and_write();
	pid = fork();
	if (pid == 0) {
		int r = sconce_pidfile_write(&file, NULL);

		sconce_pidfile_close(&file, true);
		_exit(-r);
	}
	ck_assert_int_eq(await(pid), EEXIST);
	ck_assert_int_eq(access(path, F_OK), 0);
	assert_holds_own_pid();
	ck_assert_int_eq(other_gets(), EEXIST);
}
END_TEST

/* Never written: what we made goes, what was there before stays. */
START_TEST(test_close_unwritten_removes_only_what_was_made)
{
	char text[64];

	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), -1);
	put("99999999", 8);
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	sconce_pidfile_close(&file, true);
	content(text, sizeof(text));
	ck_assert_str_eq(text, "99999999");
	put("", 0);
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), 0);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* Where its directory is no longer ours it is emptied, so that nobody takes it for stale. */
START_TEST(test_close_may_not_remove_is_emptied)
{
	struct stat st;
	pid_t pid;

	if (geteuid() != 0) {
		puts("skip pid file that may not be removed: not root");
		return;
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (sconce_pidfile_open(&file, path, NULL) < 0 || sconce_pidfile_write(&file, NULL) < 0 || !become_nobody())
			_exit(1);
		sconce_pidfile_close(&file, true);
		_exit(0);
	}
	ck_assert_int_eq(await(pid), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}
END_TEST

/* ---- before a chroot ---- */

/* An fd by which the process could get out of a chroot. */
static bool
has_directory_open(void)
{
	struct stat st;

	for (int fd = 0; fd < 100; fd++)
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return true;
	return false;
}

/* HZ-14, NS-54: nothing of it leads out of a chroot; it is held as before, and emptied instead of removed. */
START_TEST(test_leave_directory_goes_hold_stays)
{
	bool before = has_directory_open();	/* whoever runs us may have left one */
	int fds = t_fd_count();
	struct stat st;

	open_and_write();
	ck_assert_int_eq(t_fd_count(), fds + 2);
	sconce__pidfile_leave(&file);
	ck_assert_int_eq(t_fd_count(), fds + 1);
	ck_assert(before || !has_directory_open());
	ck_assert_int_eq(other_gets(), EEXIST);
	sconce__pidfile_leave(&file);
	ck_assert_int_eq(sconce_pidfile_write(&file, &fail), 0);
	assert_holds_own_pid();
	ck_assert_int_eq(other_gets(), EEXIST);
	sconce_pidfile_close(&file, true);
	ck_assert_int_eq(t_fd_count(), fds);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	sconce_pidfile_close(&file, true);
	sconce__pidfile_leave(&file);
}
END_TEST

/* Kept, it stays; a child, and whoever was never opened, changes nothing. */
START_TEST(test_leave_close_without_remove_stays)
{
	struct sconce_pidfile none = { .stale = false };
	char text[64];
	pid_t pid;

	sconce__pidfile_leave(&none);
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
	open_and_write();
	sconce__pidfile_leave(&file);
	pid = fork();
	if (pid == 0) {
		sconce_pidfile_close(&file, true);
		_exit(0);
	}
	ck_assert_int_eq(await(pid), 0);
	assert_holds_own_pid();
	sconce_pidfile_close(&file, false);
	content(text, sizeof(text));
	ck_assert_int_eq(atoi(text), getpid());
}
END_TEST

/* ---- looking at it ---- */

/* That a look is refused as the open is, and neither changes what is there. */
static void
assert_look_as_open(const char *name, int r)
{
	char text[sizeof(fail.text)];
	int fds = t_fd_count();

	memset(&fail, 0, sizeof(fail));
	ck_assert_int_eq(sconce__pidfile_look(name, 0, &fail), r);
	ck_assert_int_eq(fail.errnum, -r);
	ck_assert_str_eq(fail.operation, "pid_file");
	strcpy(text, fail.text);
	ck_assert_int_eq(sconce__pidfile_look(name, getpid(), NULL), r);
	ck_assert_int_eq(t_fd_count(), fds);
	ck_assert_int_eq(sconce_pidfile_open(&file, name, &fail), r);
	ck_assert_str_eq(fail.text, text);
}

/* What could not be taken is told in the same words, in each place. */
START_TEST(test_look_wrong_place_is_refused_as_by_open)
{
	char name[5000];

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	assert_look_as_open(path, -EINVAL);
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	assert_look_as_open(path, -EISDIR);
	rmdir(path);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	assert_look_as_open(path, -ELOOP);
	unlink(path);
	put("", 0);
	snprintf(name, sizeof(name), "%s/pid", path);
	assert_look_as_open(name, -ENOTDIR);
	snprintf(name, sizeof(name), "%s/no/pid", dir);
	assert_look_as_open(name, -ENOENT);
	snprintf(name, sizeof(name), "%s/", dir);
	assert_look_as_open(name, -EINVAL);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_look_as_open(name, -ENAMETOOLONG);
	name[300] = '\0';
	assert_look_as_open(name, -ENAMETOOLONG);
}
END_TEST

/* Content that is no pid is refused, a stale one and none are fine; all stay as they are. */
START_TEST(test_look_content_is_judged_and_left_alone)
{
	static const struct { const char *text; int r; } cases[] = {
		{ "root:x:0", -EINVAL }, { "0", -EINVAL }, { "12x", -EINVAL }, { "", 0 }, { "\n", 0 }, { "99999999\n", 0 },
	};
	char text[64];
	struct stat before, after;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put(cases[i].text, strlen(cases[i].text));
		ck_assert_int_eq(stat(path, &before), 0);
		ck_assert_int_eq(sconce__pidfile_look(path, 0, &fail), cases[i].r);
		ck_assert_int_eq(sconce__pidfile_look(path, getppid(), &fail), cases[i].r);
		if (cases[i].r < 0)
			assert_look_as_open(path, cases[i].r);
		ck_assert_int_eq(stat(path, &after), 0);
		ck_assert_int_eq(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
		content(text, sizeof(text));
		ck_assert_str_eq(text, cases[i].text);
	}
}
END_TEST

/* Where there is none, none is made. */
START_TEST(test_look_absent_is_fine_and_not_made)
{
	int fds = t_fd_count();

	ck_assert_int_eq(sconce__pidfile_look(path, 0, &fail), 0);
	ck_assert_int_eq(sconce__pidfile_look(path, 1, NULL), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(t_fd_count(), fds);
}
END_TEST

/* Its holder is refused, unless it is the one that we are to replace, or nobody asks. */
START_TEST(test_look_holder_must_be_ours)
{
	pid_t pid = start_holder();
	char text[64];

	ck_assert_int_eq(sconce__pidfile_look(path, pid, &fail), 0);
	ck_assert_int_eq(sconce__pidfile_look(path, 0, &fail), 0);
	ck_assert_int_eq(sconce__pidfile_look(path, getpid(), &fail), -EEXIST);
	snprintf(text, sizeof(text), "process %d has it", (int)pid);
	ck_assert_msg(strstr(fail.text, text) != NULL, "%s", fail.text);
	ck_assert_int_eq(other_gets(), EEXIST);		/* the looks did not take the hold away */
	stop_holder(pid);
	ck_assert_int_eq(sconce__pidfile_look(path, getpid(), &fail), 0);
}
END_TEST

/* A child of the holder, as a trial is, may look; the hold stays its parent's, and a look leaves none behind. */
START_TEST(test_look_in_child_leaves_hold_and_takes_none)
{
	pid_t pid, parent = getpid();

	open_and_write();
	pid = fork();
	if (pid == 0)
		_exit(sconce__pidfile_look(path, parent, NULL) == 0 && sconce__pidfile_look(path, 1, NULL) == -EEXIST ? 0 : 1);
	ck_assert_int_eq(await(pid), 0);
	ck_assert_int_eq(other_gets(), EEXIST);
	assert_holds_own_pid();
	sconce_pidfile_close(&file, false);
	ck_assert_int_eq(sconce__pidfile_look(path, 1, NULL), 0);
	ck_assert_int_eq(other_gets(), 0);
}
END_TEST

/* ---- the hold ---- */

/* A process that is killed holds nothing, though a child of it lives on. */
START_TEST(test_hold_is_lost_at_death_despite_children)
{
	int fds[2], alive[2];
	char c;
	pid_t pid, child = 0;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(alive, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (sconce_pidfile_open(&file, path, NULL) < 0 || sconce_pidfile_write(&file, NULL) < 0)
			_exit(1);
		child = fork();
		if (child == 0) {
			close(alive[1]);
			_exit((int)read(alive[0], &c, 1));	/* until the test ends */
		}
		if (write(fds[1], &child, sizeof(child)) != sizeof(child))
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(read(fds[0], &child, sizeof(child)), sizeof(child));
	ck_assert_int_eq(await(pid), 128 + SIGKILL);
	ck_assert_int_eq(kill(child, 0), 0);
	open_and_write();
	ck_assert(file.stale);
	ck_assert_int_eq(file.was, pid);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(alive[i]);
	}
}
END_TEST

/* What was opened before the background is the child's without a moment in which another could take it. */
START_TEST(test_hold_passes_to_child_in_background)
{
	int go[2], done[2], end[2];
	char c = 'x';
	pid_t parent, child = 0;

	ck_assert_int_eq(pipe2(go, O_CLOEXEC) | pipe2(done, O_CLOEXEC) | pipe2(end, O_CLOEXEC), 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);	/* the child is ours to wait for, later on */
	parent = fork();
	if (parent == 0) {
		if (sconce_pidfile_open(&file, path, NULL) < 0)
			_exit(1);
		child = fork();
		if (child > 0)
			_exit(write(done[1], &child, sizeof(child)) < 0);
		close(end[1]);
		if (read(go[0], &c, 1) != 1 || sconce_pidfile_write(&file, NULL) < 0 || write(done[1], "w", 1) != 1)
			_exit(1);
		_exit((int)read(end[0], &c, 1));
	}
	ck_assert_int_eq(read(done[0], &child, sizeof(child)), sizeof(child));
	ck_assert_int_eq(await(parent), 0);
	assert_refused(-EEXIST);			/* the child has not written it yet */
	ck_assert_ptr_nonnull(strstr(fail.text, "another start of the program is under way"));
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert_int_eq(read(done[0], &c, 1), 1);
	assert_refused(-EEXIST);
	ck_assert_int_eq(sconce_pidfile_open(&file, path, &fail), -EEXIST);
	ck_assert_int_eq(atoi(strstr(fail.text, "process ") + 8), child);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(done[i]);
		close(end[i]);
	}
	ck_assert_int_eq(await(child), 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	open_and_write();
	ck_assert_int_eq(file.was, child);
}
END_TEST

/* Of many that start at once exactly one gets it: where there is none, and where there is a stale one. */
START_TEST(test_open_race_exactly_one_wins)
{
	enum { ROUNDS = 60, RACERS = 5 };

	for (int round = 0; round < ROUNDS; round++) {
		int start[2], result[2], end[2], won = 0;
		pid_t pids[RACERS];
		char c;

		if (round % 2 != 0)
			put_pid(99999999);
		ck_assert_int_eq(pipe2(start, O_CLOEXEC) | pipe2(result, O_CLOEXEC) | pipe2(end, O_CLOEXEC), 0);
		for (int i = 0; i < RACERS; i++) {
			pids[i] = fork();
			if (pids[i] != 0)
				continue;
			close(start[1]);
			close(end[1]);
			(void)!read(start[0], &c, 1);		/* until all may go */
			c = sconce_pidfile_open(&file, path, NULL) == 0 && sconce_pidfile_write(&file, NULL) == 0 ? 'w' : 'l';
			(void)!write(result[1], &c, 1);
			(void)!read(end[0], &c, 1);
			sconce_pidfile_close(&file, true);
			_exit(0);
		}
		close(start[1]);
		for (int i = 0; i < RACERS; i++) {
			ck_assert_int_eq(read(result[0], &c, 1), 1);
			won += c == 'w';
		}
		close(end[1]);
		for (int i = 0; i < RACERS; i++)
			ck_assert_int_eq(await(pids[i]), 0);
		ck_assert_msg(won == 1, "round %d: %d have it", round, won);
		ck_assert_int_eq(access(path, F_OK), -1);
		close(start[0]);
		close(end[0]);
		close(result[0]);
		close(result[1]);
	}
}
END_TEST

/* Never do two hold it, though it is made and removed all the time. */
START_TEST(test_open_while_removed_never_two_hold_it)
{
	enum { PROCESSES = 3, TIMES = 400 };
	int *inside = mmap(NULL, sizeof(*inside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];

	ck_assert_ptr_ne(inside, MAP_FAILED);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		for (int n = 0; n < TIMES; n++) {
			if (sconce_pidfile_open(&file, path, NULL) < 0)
				continue;
			if (sconce_pidfile_write(&file, NULL) < 0 || __atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST) != 1)
				_exit(1);
			__atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
			sconce_pidfile_close(&file, true);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++)
		ck_assert_int_eq(await(pids[i]), 0);
	munmap(inside, sizeof(*inside));
}
END_TEST

/* ---- an exec ---- */

#define AFTER_EXEC "SCONCE_TEST_PIDFILE"

/* The same process, after an exec of itself: the file is still its own, and there is one fd of it. */
__attribute__((constructor))
static void
after_exec(void)
{
	const char *arg = getenv(AFTER_EXEC);
	int more, tell, go, fds = t_fd_count();
	char c;

	if (arg == NULL || sscanf(arg, "%d %d %d %127s", &more, &tell, &go, path) != 4)
		return;
	if (sconce_pidfile_open(&file, path, &fail) < 0 || file.stale || file.was != getpid())
		_exit(2);
	if (fcntl(sconce_pidfile_fd(&file), F_GETFD) != FD_CLOEXEC || t_fd_count() != fds + more)
		_exit(3);
	if (sconce_pidfile_write(&file, &fail) < 0)
		_exit(4);
	if (write(tell, "x", 1) != 1 || read(go, &c, 1) != 1)
		_exit(5);
	sconce_pidfile_close(&file, true);
	_exit(access(path, F_OK) == 0 ? 6 : 0);
}

/* A child that takes the file and executes itself; `tell` gets a byte before that and another one after it, and then the
 * child waits for one from `go`. */
static pid_t
start_exec(bool keep, int tell, int go)
{
	char arg[200], program[] = "/proc/self/exe", *argv[] = { program, NULL };
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (sconce_pidfile_open(&file, path, NULL) < 0 || sconce_pidfile_write(&file, NULL) < 0)
		_exit(1);
	if (write(tell, "x", 1) != 1)
		_exit(1);
	sconce_pidfile_keep(&file, true);
	sconce_pidfile_keep(&file, keep);
	fcntl(tell, F_SETFD, 0);
	fcntl(go, F_SETFD, 0);
	/* what the open is to open: the directory, and the file itself */
	snprintf(arg, sizeof(arg), "%d %d %d %s", keep ? 1 : 2, tell, go, path);
	setenv(AFTER_EXEC, arg, 1);
	execv(argv[0], argv);
	_exit(1);
}

/* Kept over an exec it is never free, so that no other start can slip in. */
START_TEST(test_keep_exec_never_loses_it)
{
	int tell[2], go[2], r;
	char c;
	pid_t pid;

	ck_assert_int_eq(pipe2(tell, O_CLOEXEC) | pipe2(go, O_CLOEXEC), 0);
	pid = start_exec(true, tell[1], go[0]);
	ck_assert_int_eq(read(tell[0], &c, 1), 1);
	ck_assert_int_eq(fcntl(tell[0], F_SETFL, O_NONBLOCK), 0);
	do {
		r = sconce_pidfile_open(&file, path, &fail);
		ck_assert_int_eq(r, -EEXIST);
		ck_assert_int_eq(atoi(strstr(fail.text, "process ") + 8), pid);
	} while (read(tell[0], &c, 1) != 1 && waitpid(pid, NULL, WNOHANG) == 0);
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert_int_eq(await(pid), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	for (int i = 0; i < 2; i++) {
		close(tell[i]);
		close(go[i]);
	}
}
END_TEST

/* Not kept, it is taken anew. */
START_TEST(test_exec_without_keep_takes_it_anew)
{
	int tell[2], go[2];

	ck_assert_int_eq(pipe2(tell, O_CLOEXEC) | pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert_int_eq(await(start_exec(false, tell[1], go[0])), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	for (int i = 0; i < 2; i++) {
		close(tell[i]);
		close(go[i]);
	}
}
END_TEST

/* ---- the suite ---- */

static void
add_contents(Suite *s)
{
	TCase *tc = t_case(s, "content");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_open_absent_is_made_and_removed);
	tcase_add_test(tc, test_open_empty_is_taken);
	tcase_add_test(tc, test_open_stale_is_replaced);
	tcase_add_test(tc, test_open_names_process_without_lock_is_stale);
	tcase_add_test(tc, test_open_foreign_is_refused);
	tcase_add_test(tc, test_open_own_is_taken);
	tcase_add_test(tc, test_open_not_a_pid_left_alone);
	tcase_add_test(tc, test_open_blanks_around_pid_allowed);
}

static void
add_places(Suite *s)
{
	TCase *tc = t_case(s, "place");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_open_directory_is_refused);
	tcase_add_test(tc, test_open_symlink_is_not_followed);
	tcase_add_test(tc, test_open_fifo_is_refused);
	tcase_add_test(tc, test_open_missing_directory_is_refused);
	tcase_add_test(tc, test_open_long_path_is_refused);
	tcase_add_test(tc, test_open_without_permission_is_refused);
	tcase_add_test(tc, test_open_replaced_meanwhile_takes_new_one);
	tcase_add_test(tc, test_open_inherited_fd_of_stale_file_is_not_used);
	tcase_add_test(tc, test_open_relative_path_is_in_current_directory);
}

static void
add_ends(Suite *s)
{
	TCase *tc = t_case(s, "write and close");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_write_unopened_is_refused);
	tcase_add_test(tc, test_write_deleted_is_made_anew);
	tcase_add_test(tc, test_write_replaced_by_foreign_is_refused);
	tcase_add_test(tc, test_write_no_room_fails);
	tcase_add_test(tc, test_write_twice_over_longer_content);
	tcase_add_test(tc, test_close_without_remove_stays);
	tcase_add_test(tc, test_close_replaced_is_left_alone);
	tcase_add_test(tc, test_close_deleted_is_harmless);
	tcase_add_test(tc, test_close_in_child_leaves_parents);
	tcase_add_test(tc, test_close_unwritten_removes_only_what_was_made);
	tcase_add_test(tc, test_close_may_not_remove_is_emptied);
	tcase_add_test(tc, test_leave_directory_goes_hold_stays);
	tcase_add_test(tc, test_leave_close_without_remove_stays);
}

static void
add_looks(Suite *s)
{
	TCase *tc = t_case(s, "look");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_look_wrong_place_is_refused_as_by_open);
	tcase_add_test(tc, test_look_content_is_judged_and_left_alone);
	tcase_add_test(tc, test_look_absent_is_fine_and_not_made);
	tcase_add_test(tc, test_look_holder_must_be_ours);
	tcase_add_test(tc, test_look_in_child_leaves_hold_and_takes_none);
}

Suite *
t_suite(void)
{
	Suite *s = suite_create("pidfile");
	TCase *tc;

	add_contents(s);
	add_places(s);
	add_ends(s);
	add_looks(s);
	tc = t_case(s, "hold");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_hold_is_lost_at_death_despite_children);
	tcase_add_test(tc, test_hold_passes_to_child_in_background);
	tcase_add_test(tc, test_open_race_exactly_one_wins);
	tcase_add_test(tc, test_open_while_removed_never_two_hold_it);
	tcase_add_test(tc, test_keep_exec_never_loses_it);
	tcase_add_test(tc, test_exec_without_keep_takes_it_anew);
	return s;
}
