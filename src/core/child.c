/* Children: each is a pidfd that becomes readable when it ends.  SIGCHLD is left alone, and only the pid asked for is reaped. */
#include "core.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct sconce__child {
	struct sconce__child *next, **prevp;
	struct sconce_loop *loop;
	pid_t pid;
	int fd;
	sconce_child_fn *fn;
	void *arg;
	struct sconce_watch watch;
	struct sconce_timer not_ours;		/* after fork(): says so in the next turn */
};

static int
pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);	/* close-on-exec */
}

static bool
is_child(pid_t pid)
{
	siginfo_t info;
	int r;

	do {
		r = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	} while (r < 0 && errno == EINTR);
	return r == 0;
}

static struct sconce__child *
find(struct sconce_loop *l, pid_t pid)
{
	struct sconce__child *c = l->children;

	while (c != NULL && c->pid != pid)
		c = c->next;
	return c;
}

/* Forgets the child: the record is gone. */
static void
child_free(struct sconce__child *c)
{
	struct sconce_loop *l = c->loop;

	*c->prevp = c->next;
	if (c->next != NULL)
		c->next->prevp = c->prevp;
	sconce_timer_stop(&c->not_ours);
	sconce_watch_stop(&c->watch);
	close(c->fd);
	l_free(l, c);
}

static void
child_tell(struct sconce__child *c, int status)
{
	struct sconce_loop *l = c->loop;
	sconce_child_fn *fn = c->fn;
	void *arg = c->arg;
	pid_t pid = c->pid;

	child_free(c);
	sconce__enter(l, NULL);
	CALL_HOOK(l, NULL, "child", pid, fn(l, pid, status, arg));
	sconce__leave(l);
	sconce__keep(l, -1);
}

static void
child_look(struct sconce_watch *w, unsigned events, void *arg)
{
	struct sconce__child *c = arg;
	int status;
	pid_t r;

	(void)w;
	(void)events;
	do {
		r = waitpid(c->pid, &status, WNOHANG);
	} while (r < 0 && errno == EINTR);
	if (r == c->pid)
		child_tell(c, status);
	else if (r < 0)
		child_tell(c, -ECHILD);		/* somebody else has reaped it */
}

static void
child_not_ours(struct sconce_timer *t, void *arg)
{
	(void)t;
	child_tell(arg, -ECANCELED);
}

static int
child_watch(struct sconce__child *c)
{
	int r;

	c->fd = pidfd_open(c->pid);
	if (c->fd < 0)
		return errno == ESRCH || errno == EINVAL ? -ECHILD : -errno;
	r = sconce__watch_start_internal(&c->watch, c->loop, c->fd, SCONCE_READ, child_look, c);
	if (r < 0)
		close(c->fd);
	return r;
}

int
sconce_child(struct sconce_loop *l, pid_t pid, sconce_child_fn *fn, void *arg)
{
	struct sconce__child *c;
	int r;

	if (pid <= 0 || !is_child(pid))
		return -ECHILD;
	if (find(l, pid) != NULL)
		return -EEXIST;
	c = sconce__zalloc(l, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->loop = l;
	c->pid = pid;
	c->fn = fn;
	c->arg = arg;
	sconce_timer_init(&c->not_ours, l, child_not_ours, c);
	sconce__timer_quiet(&c->not_ours, true);
	r = child_watch(c);
	if (r < 0) {
		l_free(l, c);
		return r;
	}
	c->next = l->children;
	c->prevp = &l->children;
	if (c->next != NULL)
		c->next->prevp = &c->next;
	l->children = c;
	sconce__keep(l, 1);
	return 0;
}

int
sconce_child_cancel(struct sconce_loop *l, pid_t pid)
{
	struct sconce__child *c = find(l, pid);

	if (c == NULL)
		return -ENOENT;
	child_free(c);
	sconce__keep(l, -1);
	return 0;
}

void
sconce__children_fini(struct sconce_loop *l)
{
	while (l->children != NULL)
		child_tell(l->children, -ECANCELED);
}

/* They are the parent's.  Not told here, where no hook may run, but in the next turn. */
void
sconce__children_fork(struct sconce_loop *l)
{
	for (struct sconce__child *c = l->children; c != NULL; c = c->next)
		sconce_timer_start(&c->not_ours, 0);
}
