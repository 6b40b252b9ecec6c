/* The trial of a program: a child that executes it, and is watched until it has ended.
 *
 * Between fork and exec the child calls nothing that could wait for a lock of another thread: all it needs is made
 * before. */
#include "process_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/watch.h>

enum { TEXT_MAX = 4096 };

static const double default_timeout = 10;

struct trial {
	struct sconce_loop *loop;
	pid_t		pid;
	pid_t		owner;			/* who forked it */
	int		fd;			/* its stderr; -1: ended */
	struct sconce_watch watch;
	struct sconce_timer timer;
	bool		late;			/* it took too long, and was killed */
	sconce_program_fn *done;
	void		*arg;
	size_t		len;
	char		text[TEXT_MAX + 1];
};

/* ---- in the child ---- */

static void
say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n;
}

static void
say_failed(const char *operation, const char *path)
{
	int errnum = errno;

	say(operation);
	say(" ");
	say(path);
	say(": ");
	say(sconce_strerror(errnum));
	say("\n");
}

/* Closes all fds above 2.  Those of the service manager and of the loop are not the trial's. */
static void
close_rest(void)
{
	long max = sysconf(_SC_OPEN_MAX);

	if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
		return;
	for (int fd = 3; fd < (max > 0 ? max : 1024); fd++)
		close(fd);
}

static void
default_signals(const struct sconce_program *p)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		if (signo != SIGKILL && signo != SIGSTOP)
			signal(signo, sigismember(&p->ignored, signo) == 1 ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void
trial_child(const struct sconce_program *p, char **env, int null, int err)
{
	setpgid(0, 0);				/* so that what it starts can be ended with it */
	default_signals(p);
	null = fcntl(null, F_DUPFD, 3);		/* they may be what they are to become */
	err = fcntl(err, F_DUPFD, 3);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	close_rest();
	umask(p->umask);
	if (chdir(p->directory) < 0) {
		say_failed("chdir", p->directory);
		_exit(127);
	}
	execve(p->file, p->argv, env);
	say_failed("exec", p->file);
	_exit(127);
}

/* ---- in us ---- */

/* Takes what there is; what is beyond the room is read too, as the child must not be held up. */
static void
trial_read(struct trial *t)
{
	char rest[1024];
	ssize_t n;

	for (int i = 0; i < 64 && t->fd >= 0; i++) {
		bool room = t->len < TEXT_MAX;

		do {
			n = room ? read(t->fd, t->text + t->len, TEXT_MAX - t->len) : read(t->fd, rest, sizeof(rest));
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			return;
		if (n == 0) {
			sconce_watch_stop(&t->watch);
			close(t->fd);
			t->fd = -1;
		}
		if (room)
			t->len += (size_t)n;
	}
}

static void
trial_readable(struct sconce_watch *w, unsigned events, void *arg)
{
	(void)w;
	(void)events;
	if (((struct trial *)arg)->owner == getpid())
		trial_read(arg);
}

static void
trial_free(struct trial *t)
{
	sconce_timer_stop(&t->timer);
	if (t->fd >= 0) {
		sconce_watch_stop(&t->watch);
		close(t->fd);
	}
	free(t);
}

/* Nobody waits for it any more. */
static void
trial_abandon(struct trial *t)
{
	if (t->owner != getpid())
		return;				/* a forked process's: it goes on there */
	kill(-t->pid, SIGKILL);
	kill(t->pid, SIGKILL);
	while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void
trial_ended(struct sconce_loop *loop, pid_t pid, int status, void *arg)
{
	struct trial *t = arg;

	if (status == -ECANCELED)
		trial_abandon(t);
	else
		kill(-pid, SIGKILL);		/* what it has left behind */
	if (t->owner == getpid())
		trial_read(t);
	t->text[t->len] = '\0';
	t->done(loop, t->arg, t->late && status >= 0 ? -ETIMEDOUT : status, t->text);
	trial_free(t);
}

static void
trial_late(struct sconce_timer *timer, void *arg)
{
	struct trial *t = arg;

	(void)timer;
	t->late = true;
	kill(-t->pid, SIGKILL);
	kill(t->pid, SIGKILL);			/* it may not have a group yet */
}

/* The captured environment, and the word that it is a trial. */
static char **
trial_environment(const struct sconce_program *p, char *variable)
{
	size_t count = 0;
	char **env;

	while (p->env[count] != NULL)
		count++;
	env = malloc((count + 2) * sizeof(*env));
	if (env == NULL)
		return NULL;
	memcpy(env, p->env, count * sizeof(*env));
	env[count] = variable;
	env[count + 1] = NULL;
	return env;
}

static int
open_pipe(int fds[2])
{
	int flags;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	flags = fcntl(fds[0], F_GETFL);
	fcntl(fds[0], F_SETFL, flags | O_NONBLOCK);	/* ours alone: the child must not lose lines */
	return 0;
}

/* Forks the child, with its stderr to *fd_out.  All signals are blocked meanwhile: none may run our handlers in it. */
static pid_t
trial_fork(const struct sconce_program *p, const struct sconce_handover *h, int *fd_out)
{
	char *variable = sconce__trial_variable(h);
	char **env = variable != NULL ? trial_environment(p, variable) : NULL;
	int fds[2], null, r;
	sigset_t all, mask;
	pid_t pid;

	if (env == NULL) {
		free(variable);
		return -ENOMEM;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0) {
		r = -errno;
		goto free_env;
	}
	r = open_pipe(fds);
	if (r < 0)
		goto close_null;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	pid = fork();
	if (pid == 0)
		trial_child(p, env, null, fds[1]);
	r = -errno;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(fds[1]);
	if (pid > 0) {
		*fd_out = fds[0];
		r = pid;
	} else {
		close(fds[0]);
	}
close_null:
	close(null);
free_env:
	free(env);
	free(variable);
	return r;
}

int
sconce__program_try(struct sconce_program *p, const struct sconce_handover *h, struct sconce_loop *loop, double timeout,
    sconce_program_fn *done, void *arg)
{
	struct trial *t = calloc(1, sizeof(*t));
	int r;

	if (t == NULL)
		return -ENOMEM;
	*t = (struct trial){ .loop = loop, .owner = getpid(), .fd = -1, .done = done, .arg = arg };
	sconce_timer_init(&t->timer, loop, trial_late, t);
	t->pid = trial_fork(p, h, &t->fd);
	if (t->pid < 0) {
		r = t->pid;
		free(t);
		return r;
	}
	r = sconce_watch_start(&t->watch, loop, t->fd, SCONCE_READ, trial_readable, t);
	if (r == 0)
		r = sconce_child(loop, t->pid, trial_ended, t);
	if (r < 0) {
		trial_abandon(t);
		trial_free(t);
		return r;
	}
	sconce_timer_start(&t->timer, timeout > 0 ? timeout : default_timeout);
	return 0;
}

int
sconce_program_try(struct sconce_program *p, struct sconce_loop *loop, double timeout, sconce_program_fn *done, void *arg)
{
	return sconce__program_try(p, NULL, loop, timeout, done, arg);
}
