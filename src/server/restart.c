/* The program as it was started, and its execution in this process.
 *
 * Whatever can fail is done before execve(2) and undone behind it, so that a process whose program cannot be executed
 * goes on as it was. */
#include "daemon_private.h"
#include "process_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

bool
sconce__grow(void *array, size_t count, size_t *cap, size_t size)
{
	void **at = array, *p;
	size_t more = *cap > 0 ? *cap * 2 : 4;

	if (count < *cap)
		return true;
	p = realloc(*at, more * size);
	if (p == NULL)
		return false;
	*at = p;
	*cap = more;
	return true;
}

/* "cannot execute /usr/bin/x: No such file or directory".  Returns `r`. */
static int
cannot(struct sconce_fail *fail, const char *operation, int r, const char *what, const char *path)
{
	char room[SCONCE__SHOWN];

	return sconce__cannot(fail, r, operation, "cannot %s%s: %s", what, sconce__shown(path, room), sconce_strerror(r));
}

/* ---- capture ---- */

/* Copies texts, and their array, into one allocation. */
static char **
copy_texts(size_t count, char *const *texts)
{
	size_t bytes = (count + 1) * sizeof(char *);
	char **copy, *to;

	for (size_t i = 0; i < count; i++)
		bytes += strlen(texts[i]) + 1;
	copy = malloc(bytes);
	if (copy == NULL)
		return NULL;
	to = (char *)(copy + count + 1);
	for (size_t i = 0; i < count; i++) {
		copy[i] = to;
		to = stpcpy(to, texts[i]) + 1;
	}
	copy[count] = NULL;
	return copy;
}

/* What only concerns one process, or one start. */
static bool
is_passing(const char *variable)
{
	static const char *const names[] = { FDS_VARIABLE, CHILDREN_VARIABLE, TRIAL_VARIABLE, "LISTEN_PID", "LISTEN_FDS",
		"LISTEN_FDNAMES", "LISTEN_PIDFDID" };
	size_t len = strcspn(variable, "=");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(variable, names[i], len) == 0)
			return true;
	return false;
}

static char **
copy_environment(void)
{
	size_t count = 0, kept = 0;
	char **list, **copy;

	while (environ != NULL && environ[count] != NULL)
		count++;
	list = malloc((count + 1) * sizeof(*list));
	if (list == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (!is_passing(environ[i]))
			list[kept++] = environ[i];
	copy = copy_texts(kept, list);
	free(list);
	return copy;
}

/* The directory by the name that the user knows it by ($PWD), which may lead over a symbolic link that will point
 * elsewhere tomorrow; else by its own. */
static char *
working_directory(void)
{
	const char *name = getenv("PWD");
	struct stat said, is;

	if (name != NULL && name[0] == '/' && stat(name, &said) == 0 && stat(".", &is) == 0 &&
	    said.st_dev == is.st_dev && said.st_ino == is.st_ino)
		return strdup(name);
	return getcwd(NULL, 0);
}

static char *
join(const char *directory, size_t len, const char *name)
{
	char *path = malloc(len + strlen(name) + 2);

	if (path == NULL)
		return NULL;
	memcpy(path, directory, len);
	path[len] = '/';
	strcpy(path + len + 1, name);
	return path;
}

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Whether it is what this process executes. */
static bool
is_running(const char *path)
{
	struct stat named, is;

	return stat("/proc/self/exe", &is) < 0 || (stat(path, &named) == 0 && named.st_dev == is.st_dev && named.st_ino == is.st_ino);
}

/* The file itself, wherever it is.  0, -ENOENT, -ENOMEM. */
static int
find_running(char **file_out)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	size_t tail = sizeof(deleted) - 1;

	if (n <= 0)
		return -ENOENT;
	path[n] = '\0';
	if ((size_t)n > tail && strcmp(path + n - tail, deleted) == 0)
		path[(size_t)n - tail] = '\0';	/* where the next version will be */
	*file_out = strdup(path);
	return *file_out != NULL ? 0 : -ENOMEM;
}

/* Looks for a name without slash in PATH. */
static int
find_in_path(const char *name, const char *directory, bool running, char **file_out)
{
	const char *list = getenv("PATH");

	if (list == NULL)
		return -ENOENT;
	for (;;) {
		size_t len = strcspn(list, ":");
		char *path = len > 0 && list[0] == '/' ? join(list, len, name) : join(directory, strlen(directory), name);

		if (path == NULL)
			return -ENOMEM;
		if ((len == 0 || list[0] == '/') && is_program(path) && (!running || is_running(path))) {
			*file_out = path;
			return 0;
		}
		free(path);
		if (list[len] == '\0')
			return -ENOENT;
		list += len + 1;
	}
}

/* 0; -ENOENT, -ENOMEM. */
static int
find_file(const char *name, const char *directory, bool running, char **file_out)
{
	char *path;

	if (name == NULL || name[0] == '\0')
		return -ENOENT;
	if (strchr(name, '/') == NULL)
		return find_in_path(name, directory, running, file_out);
	path = name[0] == '/' ? strdup(name) : join(directory, strlen(directory), name);
	if (path == NULL)
		return -ENOMEM;
	if (!is_program(path)) {
		free(path);
		return -ENOENT;
	}
	*file_out = path;
	return 0;
}

static void
note_ignored(sigset_t *set)
{
	struct sigaction action;

	sigemptyset(set);
	for (int signo = 1; signo < NSIG; signo++)
		if (sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			sigaddset(set, signo);
}

int
sconce_program_capture(int argc, char *const *argv, struct sconce_program **program_out)
{
	struct sconce_program *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (p == NULL)
		return -ENOMEM;
	note_ignored(&p->ignored);
	p->umask = umask(077);
	umask(p->umask);
	p->directory = working_directory();
	if (p->directory == NULL)
		r = -errno;
	p->argv = copy_texts(argc > 0 ? (size_t)argc : 0, argv);
	p->env = copy_environment();
	if (p->directory != NULL && p->argv != NULL && p->env != NULL)
		r = find_file(p->argv[0], p->directory, true, &p->file);
	if (r == -ENOENT)
		r = find_running(&p->file);
	if (r < 0) {
		sconce_program_free(p);
		return r;
	}
	*program_out = p;
	return 0;
}

void
sconce_program_free(struct sconce_program *p)
{
	if (p == NULL)
		return;
	free(p->file);
	free(p->directory);
	free(p->argv);
	free(p->env);
	free(p);
}

int
sconce_program_set_argv(struct sconce_program *p, int argc, char *const *argv)
{
	bool same = argc > 0 && p->argv[0] != NULL && strcmp(p->argv[0], argv[0]) == 0;
	char **copy, *file = NULL;
	int r = 0;

	if (argc < 1)
		return -EINVAL;
	copy = copy_texts((size_t)argc, argv);
	if (copy == NULL)
		return -ENOMEM;
	if (!same)
		r = find_file(argv[0], p->directory, false, &file);
	if (r < 0) {
		free(copy);
		return r;
	}
	if (!same) {
		free(p->file);
		p->file = file;
	}
	free(p->argv);
	p->argv = copy;
	return 0;
}

bool
sconce_program_checking(void)
{
	const char *value = getenv(TRIAL_VARIABLE);

	return value != NULL && value[0] != '\0';
}

/* ---- what is handed over ---- */

int
sconce_handover_new(struct sconce_handover **handover_out)
{
	struct sconce_handover *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->stay = -1;
	sigemptyset(&h->blocked);
	*handover_out = h;
	return 0;
}

void
sconce_handover_free(struct sconce_handover *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->fd_count; i++)
		free(h->fds[i].key);
	free(h->fds);
	free(h->children);
	free(h);
}

static int
add_fd(struct sconce_handover *h, int fd, const char *key, bool manager)
{
	char *copy;

	if (key == NULL || (fd >= 0 && fd <= 2))
		return -EINVAL;
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	if (!sconce__grow(&h->fds, h->fd_count, &h->fd_cap, sizeof(*h->fds)))
		return -ENOMEM;
	copy = strdup(key);
	if (copy == NULL)
		return -ENOMEM;
	h->fds[h->fd_count++] = (struct handed_fd){ .fd = fd, .manager = manager, .key = copy };
	return 0;
}

int
sconce_handover_add(struct sconce_handover *h, int fd, const char *key)
{
	return add_fd(h, fd, key, false);
}

int
sconce__handover_add_named(struct sconce_handover *h, int fd, const char *name)
{
	return add_fd(h, fd, name, true);
}

int
sconce_handover_child(struct sconce_handover *h, pid_t pid)
{
	if (pid <= 0)
		return -EINVAL;
	if (!sconce__grow(&h->children, h->child_count, &h->child_cap, sizeof(*h->children)))
		return -ENOMEM;
	h->children[h->child_count++] = pid;
	return 0;
}

/* ---- the environment ---- */

/* Writes a key: what could end it, and all that is not plain text, as %XX. */
static void
put_key(FILE *out, const char *key)
{
	for (; *key != '\0'; key++) {
		unsigned char c = (unsigned char)*key;

		if (c <= ' ' || c >= 0x7f || c == '%' || c == ';')
			fprintf(out, "%%%02X", c);
		else
			putc(c, out);
	}
}

/* The port that an fd is bound to; 0: none. */
static int
port_of(int fd)
{
	struct sconce_addr a = { .len = sizeof(a.un) };

	return getsockname(fd, &a.any, &a.len) < 0 ? 0 : sconce_addr_port(&a);
}

static void
put_list(FILE *out, const char *variable, const struct sconce_handover *h, bool ports)
{
	fprintf(out, "%s=%ld", variable, (long)getpid());
	for (size_t i = 0; h != NULL && i < h->fd_count; i++) {
		fprintf(out, ";%d%c", ports ? port_of(h->fds[i].fd) : h->fds[i].fd, h->fds[i].manager ? '@' : '=');
		put_key(out, h->fds[i].key);
	}
}

static void
put_fds(FILE *out, const struct sconce_handover *h)
{
	put_list(out, FDS_VARIABLE, h, false);
}

/* What is going to be handed over, for who only asks: ports instead of fds; with a ";" in any case, which says that it is known. */
static void
put_trial(FILE *out, const struct sconce_handover *h)
{
	put_list(out, TRIAL_VARIABLE, h, true);
	if (h != NULL)
		putc(';', out);
}

static void
put_children(FILE *out, const struct sconce_handover *h)
{
	fprintf(out, "%s=%ld", CHILDREN_VARIABLE, (long)getpid());
	for (size_t i = 0; h != NULL && i < h->child_count; i++)
		fprintf(out, ";%ld", (long)h->children[i]);
}

/* The text that `put` writes; NULL: no memory. */
static char *
text_of(void (*put)(FILE *, const struct sconce_handover *), const struct sconce_handover *h)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool failed;

	if (out == NULL)
		return NULL;
	put(out, h);
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

char *
sconce__trial_variable(const struct sconce_handover *h)
{
	return text_of(put_trial, h);
}

/* The captured environment and those of the handover. */
static char **
environment_for(const struct sconce_program *p, const struct sconce_handover *h)
{
	char *fds = text_of(put_fds, h), *children = text_of(put_children, h), **list, **copy = NULL;
	size_t count = 0;

	while (p->env[count] != NULL)
		count++;
	list = malloc((count + 2) * sizeof(*list));
	if (fds != NULL && children != NULL && list != NULL) {
		memcpy(list, p->env, count * sizeof(*list));
		list[count] = fds;
		list[count + 1] = children;
		copy = copy_texts(count + 2, list);
	}
	free(list);
	free(fds);
	free(children);
	return copy;
}

/* ---- what execve(2) leaves to us, and how it was ---- */

struct before {
	struct { int fd, flags; } *fds;		/* whose close-on-exec was changed */
	size_t fd_count, fd_cap;
	sigset_t mask, ignored;			/* `ignored`: signals that have their default now */
	mode_t umask;
	int directory;				/* an fd of it; -1: unchanged */
};

static bool
is_handed(const struct sconce_handover *h, int fd)
{
	for (size_t i = 0; h != NULL && i < h->fd_count; i++)
		if (h->fds[i].fd == fd)
			return true;
	return h != NULL && h->stay == fd;
}

/* Makes an fd stay or go. */
static int
set_stay(struct before *b, int fd, bool stay)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return stay ? -errno : 0;	/* gone meanwhile */
	if (!(flags & FD_CLOEXEC) == stay)
		return 0;
	if (!sconce__grow(&b->fds, b->fd_count, &b->fd_cap, sizeof(*b->fds)))
		return -ENOMEM;
	b->fds[b->fd_count].fd = fd;
	b->fds[b->fd_count++].flags = flags;
	return fcntl(fd, F_SETFD, flags ^ FD_CLOEXEC) < 0 ? -errno : 0;
}

/* Every open fd above 2 stays if it is handed over, else goes: also those whose owner forgot close-on-exec. */
static int
set_fds(struct before *b, const struct sconce_handover *h)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int r = 0;

	if (dir == NULL)
		return -errno;
	while (r == 0 && (entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);	/* 0 for "." and ".." */

		if (fd > 2 && fd != dirfd(dir))
			r = set_stay(b, fd, is_handed(h, fd));
	}
	closedir(dir);
	for (size_t i = 0; r == 0 && h != NULL && i < h->fd_count; i++)
		r = set_stay(b, h->fds[i].fd, true);	/* -EBADF: closed since it was added */
	return r;
}

static int
set_directory(struct before *b, const struct sconce_program *p)
{
	b->directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return b->directory < 0 || chdir(p->directory) < 0 ? -errno : 0;
}

/* What was made to be ignored since the capture (SIGPIPE, by the first loop) gets its default; what is caught does so
 * by itself. */
static void
set_signals(struct before *b, const struct sconce_program *p, const struct sconce_handover *h)
{
	struct sigaction action;
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++) {
		if (sigaction(signo, NULL, &action) < 0 || action.sa_handler != SIG_IGN ||
		    sigismember(&p->ignored, signo) == 1)
			continue;
		signal(signo, SIG_DFL);
		sigaddset(&b->ignored, signo);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, h != NULL ? &h->blocked : &none, NULL);
}

static void
restore(struct before *b)
{
	for (int signo = 1; signo < NSIG; signo++)
		if (sigismember(&b->ignored, signo) == 1)
			signal(signo, SIG_IGN);
	sigprocmask(SIG_SETMASK, &b->mask, NULL);
	umask(b->umask);
	if (b->directory >= 0) {
		if (fchdir(b->directory) < 0)
			(void)errno;		/* it was ours a moment ago */
		close(b->directory);
	}
	for (size_t i = 0; i < b->fd_count; i++)
		fcntl(b->fds[i].fd, F_SETFD, b->fds[i].flags);
	free(b->fds);
}

static int
execute(struct sconce_program *p, const struct sconce_handover *h, char **env, struct sconce_fail *fail)
{
	struct before b = { .directory = -1, .umask = umask(p->umask) };
	int r;

	sigemptyset(&b.ignored);
	sigprocmask(SIG_SETMASK, NULL, &b.mask);
	r = set_fds(&b, h);
	if (r < 0) {
		cannot(fail, "fcntl", r, "hand over the fds", "");
		goto undo;
	}
	r = set_directory(&b, p);
	if (r < 0) {
		cannot(fail, "chdir", r, "go to ", p->directory);
		goto undo;
	}
	set_signals(&b, p, h);
	execve(p->file, p->argv, env);
	r = cannot(fail, "exec", -errno, "execute ", p->file);
undo:
	restore(&b);
	return r;
}

int
sconce_program_exec(struct sconce_program *p, struct sconce_handover *h, struct sconce_fail *fail_out)
{
	char **env = environment_for(p, h);
	int r;

	if (env == NULL)
		return cannot(fail_out, "exec", -ENOMEM, "execute ", p->file);
	r = execute(p, h, env, fail_out);
	free(env);
	return r;
}
