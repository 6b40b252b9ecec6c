/* Signals: the handler notes the signal in a process-wide table and writes a byte into the pipe of the loop that it belongs to.
 *
 * However often a signal comes, at most one byte of it is on its way.  A note is the pid of the process that got the
 * signal, so that a child knows its own from those that its parent had got before the fork. */
#include "core.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

static struct {
	_Atomic(struct sconce_loop *) owner;
	atomic_int fd;				/* where its byte goes */
	atomic_int noted;			/* a pid, or 0 */
} table[NSIG];

static atomic_int handlers;			/* on some thread's stack */

struct entry {
	sconce_signal_fn *fn;
	void *arg;
	struct sigaction old;
};

struct sconce__signals {
	struct sconce_watch watch;
	int pipe[2];
	struct entry *entry[NSIG];
};

static void
on_signal(int signo)
{
	int saved = errno;

	atomic_fetch_add(&handlers, 1);
	if (atomic_exchange(&table[signo].noted, getpid()) == 0) {
		ssize_t n = write(atomic_load(&table[signo].fd), "", 1);

		(void)n;			/* full: the loop is going to look */
	}
	atomic_fetch_sub(&handlers, 1);
	errno = saved;
}

/* Runs in the loop.  fn may change any registration, this one too. */
static void
signals_look(struct sconce_watch *w, unsigned events, void *arg)
{
	struct sconce_loop *l = arg;
	struct sconce__signals *signals = l->signals;
	char bytes[NSIG];
	ssize_t n;

	(void)w;
	(void)events;
	do {
		n = read(signals->pipe[0], bytes, sizeof(bytes));
	} while (n < 0 && errno == EINTR);
	for (int signo = 1; signo < NSIG; signo++) {
		const struct entry *e = signals->entry[signo];

		if (e != NULL && atomic_exchange(&table[signo].noted, 0) != 0)
			CALL_HOOK(l, NULL, "signal", signo, e->fn(l, signo, e->arg));
	}
}

static int
open_pipe(int fds[2])
{
	return pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}

/* The pipe of the loop, made for its first signal. */
static int
signals_make(struct sconce_loop *l)
{
	struct sconce__signals *signals;
	int r;

	if (l->signals != NULL)
		return 0;
	signals = sconce__zalloc(l, sizeof(*signals));
	if (signals == NULL)
		return -ENOMEM;
	r = open_pipe(signals->pipe);
	if (r < 0)
		goto free_signals;
	r = sconce__watch_start_internal(&signals->watch, l, signals->pipe[0], SCONCE_READ, signals_look, l);
	if (r < 0)
		goto close_pipe;
	l->signals = signals;
	return 0;
close_pipe:
	close(signals->pipe[0]);
	close(signals->pipe[1]);
free_signals:
	l_free(l, signals);
	return r;
}

/* Nothing of the signal reaches the loop any more. */
static void
entry_remove(struct sconce_loop *l, int signo)
{
	struct entry *e = l->signals->entry[signo];

	if (e == NULL)
		return;
	sigaction(signo, &e->old, NULL);
	atomic_store(&table[signo].fd, -1);
	atomic_store(&table[signo].noted, 0);
	atomic_store(&table[signo].owner, NULL);
	l->signals->entry[signo] = NULL;
	l_free(l, e);
	sconce__keep(l, -1);
}

static int
entry_add(struct sconce_loop *l, int signo, sconce_signal_fn *fn, void *arg)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct entry *e = sconce__zalloc(l, sizeof(*e));
	int r;

	if (e == NULL)
		return -ENOMEM;
	e->fn = fn;
	e->arg = arg;
	atomic_store(&table[signo].noted, 0);
	atomic_store(&table[signo].fd, l->signals->pipe[1]);
	l->signals->entry[signo] = e;
	if (sigaction(signo, &action, &e->old) < 0) {
		r = -errno;
		l->signals->entry[signo] = NULL;
		l_free(l, e);
		return r;
	}
	sconce__keep(l, 1);
	return 0;
}

int
sconce_signal(struct sconce_loop *l, int signo, sconce_signal_fn *fn, void *arg)
{
	struct sconce_loop *owner = NULL;
	int r;

	if (signo < 1 || signo >= NSIG || signo == SIGKILL || signo == SIGSTOP)
		return -EINVAL;
	if (fn == NULL && atomic_load(&table[signo].owner) == NULL)
		return 0;
	if (!atomic_compare_exchange_strong(&table[signo].owner, &owner, l) && owner != l)
		return -EBUSY;
	if (fn == NULL) {
		entry_remove(l, signo);
		return 0;
	}
	r = signals_make(l);
	if (r == 0 && l->signals->entry[signo] != NULL) {
		l->signals->entry[signo]->fn = fn;
		l->signals->entry[signo]->arg = arg;
		return 0;
	}
	if (r == 0)
		r = entry_add(l, signo, fn, arg);
	if (r < 0)
		atomic_store(&table[signo].owner, NULL);
	return r;
}

void
sconce__signals_fini(struct sconce_loop *l)
{
	struct sconce__signals *signals = l->signals;

	if (signals == NULL)
		return;
	for (int signo = 1; signo < NSIG; signo++)
		entry_remove(l, signo);
	while (atomic_load(&handlers) > 0)
		sched_yield();			/* another thread's handler still has the pipe */
	sconce_watch_stop(&signals->watch);
	close(signals->pipe[0]);
	close(signals->pipe[1]);
	l_free(l, signals);
	l->signals = NULL;
}

/* The new pipe gets the old one's numbers, so table and watch stay as they are. */
static int
pipe_renew(struct sconce__signals *signals)
{
	int fresh[2], r = open_pipe(fresh);

	if (r < 0)
		return r;
	if (dup3(fresh[0], signals->pipe[0], O_CLOEXEC) < 0 || dup3(fresh[1], signals->pipe[1], O_CLOEXEC) < 0)
		r = -errno;
	close(fresh[0]);
	close(fresh[1]);
	return r;
}

int
sconce__signals_fork(struct sconce_loop *l)
{
	struct sconce__signals *signals = l->signals;
	int r;

	if (signals == NULL)
		return 0;
	atomic_store(&handlers, 0);		/* those threads are not here */
	r = pipe_renew(signals);
	if (r < 0)
		return r;
	for (int signo = 1; signo < NSIG; signo++)
		if (signals->entry[signo] != NULL && atomic_exchange(&table[signo].noted, 0) == getpid())
			on_signal(signo);	/* it came since the fork, and its byte went to the parent */
	return 0;
}
