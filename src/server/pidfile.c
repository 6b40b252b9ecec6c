/* The pid file: one process at a time has it, and it tells which.  Used by sconce/process.h and by programs alone.
 *
 * Two bytes of the file are locked, which lie far behind what is written:
 *
 *	START	from open to write.  A lock of the open file (F_OFD_SETLK), so that the child that goes on in the
 *		background has it as its parent had, without a moment in which nobody has it.
 *	LIFE	from write to the end.  A lock of the process (F_SETLK): children do not have it, the kernel takes it back
 *		however the process ends, and it survives an exec as long as the fd does.
 *
 * Whoever starts takes START, and then sees by LIFE whether another one lives.  A process that closes any fd of the file
 * loses LIFE: so an fd that came through an exec is found and used, never opened a second time. */
#include "daemon_private.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sconce/daemon.h>

enum { START = 1 << 20, LIFE, PID_BYTES = 32, TRIES = 100 };

static int
cannot(struct sconce_fail *fail, int r, const char *name, const char *why)
{
	char shown[SCONCE__SHOWN];

	return sconce__cannot(fail, r, "pid_file", "pid file '%s': %s", sconce__shown(name, shown), why);
}

/* ---- locks ---- */

static struct flock
byte_lock(short type, off_t byte)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
}

/* 0; -EEXIST when it is another's, or -errno. */
static int
take(int fd, int command, off_t byte)
{
	struct flock lock = byte_lock(F_WRLCK, byte);

	if (fcntl(fd, command, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EEXIST : -errno;
}

/* The process that has LIFE; 0: none, or it is us; -1: one that cannot be told (of another pid namespace). */
static pid_t
holder(int fd)
{
	struct flock lock = byte_lock(F_WRLCK, LIFE);

	if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid > 0 ? lock.l_pid : -1;
}

static int
held(struct sconce_fail *fail, const char *name, pid_t pid)
{
	char why[100] = "another start of the program is under way: wait for it";

	if (pid > 0)
		snprintf(why, sizeof(why), "process %ld has it: stop that one first, or use another file", (long)pid);
	else if (pid < 0)
		snprintf(why, sizeof(why), "a process out of sight has it: stop that one first, or use another file");
	return cannot(fail, -EEXIST, name, why);
}

/* ---- the file ---- */

/* The process that the file names; 0: it is empty; -EINVAL: what is there is no pid; or -errno. */
static long
content(int fd)
{
	char text[PID_BYTES + 2], *end;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (n > PID_BYTES || strlen(text) != (size_t)n)
		return -EINVAL;
	if (text[strspn(text, " \t\r\n")] == '\0')
		return 0;
	if (!isdigit((unsigned char)text[strspn(text, " \t\r\n")]))
		return -EINVAL;
	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno != 0 || pid <= 0 || pid > INT_MAX || end[strspn(end, " \t\r\n")] != '\0')
		return -EINVAL;
	return pid;
}

static const char *
name_of(const struct sconce_pidfile *p)
{
	const char *slash = strrchr(p->_path, '/');

	return slash != NULL ? slash + 1 : p->_path;
}

/* Whether the name still leads to what is open: another process may have removed or replaced it. */
static bool
is_there(const struct sconce_pidfile *p)
{
	struct stat open, named;

	return fstat(p->_fd, &open) == 0 && fstatat(p->_dir, name_of(p), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

/* Opens the directory: a chroot, or a chdir, does not take the file away. */
static int
open_dir(struct sconce_pidfile *p, struct sconce_fail *fail)
{
	size_t len = (size_t)(name_of(p) - p->_path);
	char dir[sizeof(p->_path)] = ".";
	int fd;

	if (len > 0) {
		memcpy(dir, p->_path, len);
		dir[len] = '\0';
	}
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	p->_dir = fd < 0 ? -errno : sconce__fd_above_standard(fd);
	if (p->_dir >= 0)
		return 0;
	return cannot(fail, p->_dir, p->_path, p->_dir == -ENOENT ? "there is no such directory: make it" :
		sconce_strerror(p->_dir));
}

enum { OPEN_FLAGS = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY };

static int
not_opened(struct sconce_fail *fail, const char *name, int r)
{
	return cannot(fail, r, name, r == -ELOOP ? "it is a symbolic link: give the file itself" : sconce_strerror(r));
}

static int
not_regular(struct sconce_fail *fail, const char *name)
{
	return cannot(fail, -EINVAL, name, "it is no regular file: give another one");
}

static int
open_file(struct sconce_pidfile *p, struct sconce_fail *fail)
{
	int flags = OPEN_FLAGS | O_RDWR;
	struct stat st;

	p->_made = false;
	p->_fd = openat(p->_dir, name_of(p), flags);
	if (p->_fd < 0 && errno == ENOENT) {
		p->_fd = openat(p->_dir, name_of(p), flags | O_CREAT | O_EXCL, 0644);
		p->_made = p->_fd >= 0;
	}
	p->_fd = p->_fd < 0 ? -errno : sconce__fd_above_standard(p->_fd);
	if (p->_fd == -EEXIST)			/* somebody was quicker */
		return -EAGAIN;
	if (p->_fd < 0)
		return not_opened(fail, p->_path, p->_fd);
	if (fstat(p->_fd, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	close(p->_fd);
	return not_regular(fail, p->_path);
}

/* ---- an fd that came through an exec ---- */

/* Whether `fd` is the file, open as we opened it; all that we have opened in this life is close-on-exec. */
static bool
is_ours(int fd, const struct stat *named)
{
	struct stat st;

	return fd > STDERR_FILENO && fcntl(fd, F_GETFD) == 0 && fstat(fd, &st) == 0 && st.st_dev == named->st_dev &&
	    st.st_ino == named->st_ino && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && content(fd) == (long)getpid();
}

/* Finds it.  -1: there is none, which is also so where there is no /proc. */
static int
find_inherited(const struct sconce_pidfile *p)
{
	struct stat named;
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	if (fstatat(p->_dir, name_of(p), &named, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(named.st_mode))
		return -1;
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return -1;
	while (fd < 0 && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) && is_ours(atoi(entry->d_name), &named))
			fd = atoi(entry->d_name);
	closedir(dir);
	return fd;
}

/* ---- taking it ---- */

/* `r`: what content() says. */
static int
no_pid(struct sconce_fail *fail, const char *name, int r)
{
	return cannot(fail, r, name, r == -EINVAL ? "its content is no process id: remove it, or use another file" :
		sconce_strerror(r));
}

/* What is in the file, which is locked for us. */
static int
examine(struct sconce_pidfile *p, struct sconce_fail *fail)
{
	pid_t other = holder(p->_fd);
	long pid = content(p->_fd);

	if (other != 0)
		return held(fail, p->_path, other < 0 && pid > 0 ? (pid_t)pid : other);
	if (pid < 0)
		return no_pid(fail, p->_path, (int)pid);
	p->was = (pid_t)pid;
	p->stale = pid != 0 && pid != (long)getpid();
	return 0;
}

/* Opens and locks what the name leads to.  -EAGAIN: it leads elsewhere by now, and what we have found means nothing.  That
 * is asked last: who gives the file up removes it first, and is seen as its holder until then. */
static int
try_take(struct sconce_pidfile *p, struct sconce_fail *fail)
{
	int r = open_file(p, fail);

	if (r < 0)
		return r;
	r = take(p->_fd, F_OFD_SETLK, START);
	if (r == 0)
		r = examine(p, fail);
	else if (r == -EEXIST)
		held(fail, p->_path, holder(p->_fd));
	else
		cannot(fail, r, p->_path, sconce_strerror(r));
	if (!is_there(p))
		r = -EAGAIN;
	if (r < 0)
		close(p->_fd);
	return r;
}

static int
take_file(struct sconce_pidfile *p, struct sconce_fail *fail)
{
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++)
		r = try_take(p, fail);
	if (r == -EAGAIN)
		cannot(fail, r, p->_path, "it is replaced all the time");
	if (r < 0)
		p->_fd = -1;
	return r;
}

/* Starts with what the path says, and the open directory. */
static int
open_place(struct sconce_pidfile *p, const char *path, struct sconce_fail *fail)
{
	int r;

	memset(p, 0, sizeof(*p));
	if (strlen(path) >= sizeof(p->_path))
		return cannot(fail, -ENAMETOOLONG, path, sconce_strerror(ENAMETOOLONG));
	strcpy(p->_path, path);
	if (*name_of(p) == '\0')
		r = cannot(fail, -EINVAL, path, "no name of a file: give its path");
	else
		r = open_dir(p, fail);
	if (r < 0)
		p->_path[0] = '\0';
	return r;
}

int
sconce_pidfile_open(struct sconce_pidfile *p, const char *path, struct sconce_fail *fail_out)
{
	int r = open_place(p, path, fail_out);

	if (r < 0)
		return r;
	p->_fd = find_inherited(p);
	if (p->_fd >= 0) {
		fcntl(p->_fd, F_SETFD, FD_CLOEXEC);
		r = examine(p, fail_out);
	} else {
		r = take_file(p, fail_out);
	}
	if (r < 0)
		sconce_pidfile_close(p, false);
	return r;
}

/* ---- looking at it, without taking it ---- */

/* What is in the file, which is not locked: it may be another's. */
static int
examine_foreign(int fd, const char *path, pid_t ours, struct sconce_fail *fail)
{
	pid_t other = ours != 0 ? holder(fd) : 0;
	struct stat st;
	long pid;

	if (fstat(fd, &st) < 0)
		return not_opened(fail, path, -errno);
	if (S_ISDIR(st.st_mode))		/* what the open says that wants to write */
		return not_opened(fail, path, -EISDIR);
	if (!S_ISREG(st.st_mode))
		return not_regular(fail, path);
	pid = content(fd);
	if (other != 0 && other != ours)
		return held(fail, path, other < 0 && pid > 0 ? (pid_t)pid : other);
	return pid < 0 ? no_pid(fail, path, (int)pid) : 0;
}

int
sconce__pidfile_look(const char *path, pid_t ours, struct sconce_fail *fail)
{
	struct sconce_pidfile p;
	int r = open_place(&p, path, fail), fd;

	if (r < 0)
		return r;
	fd = openat(p._dir, name_of(&p), OPEN_FLAGS | O_RDONLY);
	if (fd >= 0) {
		r = examine_foreign(fd, path, ours, fail);
		close(fd);
	} else if (errno != ENOENT) {
		r = not_opened(fail, path, -errno);
	}
	close(p._dir);
	return r;
}

/* ---- writing it ---- */

/* Never empty in between, unless the disk is full. */
static int
put_pid(int fd)
{
	char text[PID_BYTES];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	ssize_t n = pwrite(fd, text, (size_t)len, 0);

	if (n != len)
		return n < 0 ? -errno : -ENOSPC;
	return ftruncate(fd, len) < 0 ? -errno : 0;
}

int
sconce_pidfile_write(struct sconce_pidfile *p, struct sconce_fail *fail_out)
{
	struct flock start = byte_lock(F_UNLCK, START);
	int r = 0;

	if (p->_path[0] == '\0')
		return sconce__cannot(fail_out, -EBADF, "pid_file", "pid file: it is not open");
	if (p->_dir >= 0 && !is_there(p)) {
		close(p->_fd);
		r = take_file(p, fail_out);
	}
	if (r < 0)
		return r;
	r = take(p->_fd, F_SETLK, LIFE);
	if (r == -EEXIST)
		return held(fail_out, p->_path, holder(p->_fd));
	if (r == 0)
		r = put_pid(p->_fd);
	if (r < 0)
		return cannot(fail_out, r, p->_path, sconce_strerror(r));
	p->_owner = getpid();
	fcntl(p->_fd, F_OFD_SETLK, &start);
	return 0;
}

/* ---- and after ---- */

int
sconce_pidfile_fd(const struct sconce_pidfile *p)
{
	return p->_path[0] != '\0' ? p->_fd : -1;
}

void
sconce_pidfile_keep(const struct sconce_pidfile *p, bool keep)
{
	if (sconce_pidfile_fd(p) >= 0)
		fcntl(p->_fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

/* Whether to remove it is ours to decide: we wrote it, or made it and never came to that. */
static bool
may_remove(const struct sconce_pidfile *p)
{
	struct stat st;

	if (p->_owner != 0)
		return p->_owner == getpid();
	return p->_made && fstat(p->_fd, &st) == 0 && st.st_size == 0;
}

void
sconce__pidfile_leave(struct sconce_pidfile *p)
{
	if (p->_path[0] == '\0' || p->_dir < 0)
		return;
	close(p->_dir);
	p->_dir = -1;
}

/* Unlinks it, if it is there still, or, where that cannot be done, empties it. */
static void
remove_file(const struct sconce_pidfile *p)
{
	if (p->_dir >= 0 && (!is_there(p) || unlinkat(p->_dir, name_of(p), 0) == 0))
		return;
	if (ftruncate(p->_fd, 0) < 0)
		(void)0;		/* it stays, and is stale */
}

void
sconce_pidfile_close(struct sconce_pidfile *p, bool remove)
{
	if (p->_path[0] == '\0')
		return;
	if (p->_fd >= 0 && remove && may_remove(p))
		remove_file(p);
	if (p->_fd >= 0)
		close(p->_fd);
	sconce__pidfile_leave(p);
	p->_fd = p->_dir = -1;
	p->_owner = 0;
	p->_path[0] = '\0';
}
