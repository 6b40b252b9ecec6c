/* The beginning and the end of a process: its options, log, pid file, background, users, and the listeners that it has
 * inherited or will hand over.  What is between is in process_run.c. */
#include "daemon_private.h"
#include "process_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- options ---- */

static bool
check_hup(const char *value, char *why, size_t size)
{
	if (strcmp(value, "restart") == 0 || strcmp(value, "reload") == 0 || strcmp(value, "ignore") == 0)
		return true;
	snprintf(why, size, "'%s' is none of restart, reload, ignore", value);
	return false;
}

static enum process_hup
hup_of(const char *word)
{
	if (word != NULL && strcmp(word, "reload") == 0)
		return HUP_RELOAD;
	return word != NULL && strcmp(word, "ignore") == 0 ? HUP_IGNORE : HUP_RESTART;
}

/* 22 would be read as a decimal number, and mean 026. */
static bool
check_umask(const char *value, char *why, size_t size)
{
	size_t digits = strspn(value, "01234567");

	if (value[0] == '0' && value[digits] == '\0' && strtol(value, NULL, 8) <= 0777)
		return true;
	snprintf(why, size, "'%s' is no umask: write an octal number from 0 to 0777 that begins with 0", value);
	return false;
}

/* Greater levels mean the greatest, as with Net::Server (NS-9). */
static bool
check_level(const char *value, char *why, size_t size)
{
	if (value[0] != '\0' && value[strspn(value, "0123456789")] == '\0')
		return true;
	snprintf(why, size, "'%s' is no level: 0 errors, 1 warnings, 2 notices, 3 connections, 4 everything", value);
	return false;
}

/* All but the level are read only once: a reload cannot change them. */
#define OPTION(member, kind) #member, kind, offsetof(struct sconce_process_options, member)
#define ONCE(member, kind, value, help, check) { OPTION(member, (kind) | SCONCE_CONF_ONCE), value, help, 0, 0, check }
#define TEXT(member, value, help) ONCE(member, SCONCE_CONF_TEXT, value, help, NULL)
#define FLAG(member, help) ONCE(member, SCONCE_CONF_FLAG, NULL, help, NULL)

static const struct sconce_conf_option process_options[] = {
	{ OPTION(log_level, SCONCE_CONF_INT), "N", "log errors (0), warnings (1), notices (2), connections (3), all (4)",
		0, 0, check_level },
	TEXT(log_file, "PATH", "log to PATH, or to syslog; without it to stderr"),
	TEXT(syslog_ident, "NAME", "the program's name in syslog"),
	TEXT(syslog_facility, "NAME", "syslog's facility: daemon, local0 ..."),
	TEXT(syslog_logsock, "PATH", "syslog's socket, if it is not /dev/log"),
	TEXT(syslog_logopt, "WORDS", "pid: with the process's id, as without this option"),
	TEXT(pid_file, "PATH", "write the process's id to PATH, and hold it"),
	FLAG(background, "go to the background once the start has succeeded"),
	FLAG(setsid, "the same, in a session of its own"),
	TEXT(user, "USER", "become USER"),
	TEXT(group, "GROUPS", "become a member of GROUPS"),
	TEXT(chroot, "PATH", "see only what is below PATH; there is no restart then"),
	ONCE(chown_files, SCONCE_CONF_LIST, "PATH", "give PATH to USER; may be said again", NULL),
	ONCE(umask, SCONCE_CONF_INT, "MASK", "what files that are made must not allow, in octal: 027", check_umask),
	{ OPTION(processes, SCONCE_CONF_INT | SCONCE_CONF_ONCE), "N", "serve with N processes", 0, 1024, NULL },
	ONCE(hup, SCONCE_CONF_TEXT, "WHAT", "what SIGHUP does: restart, reload or ignore", check_hup),
	{ OPTION(drain, SCONCE_CONF_NUMBER | SCONCE_CONF_ONCE), "SECONDS",
		"how long clients may go on at SIGQUIT and at a restart", 0, 30 * 86400, NULL },
};

int
sconce_process_conf(struct sconce_conf *conf, struct sconce_process_options *opts)
{
	int r = sconce_conf_add(conf, process_options, sizeof(process_options) / sizeof(process_options[0]), opts);

	if (r < 0)
		return r;
	*opts = (struct sconce_process_options){ .log_level = SCONCE_LOG_NOTICE, .umask = -1 };
	return 0;
}

/* ---- beginning ---- */

int
sconce_process_new(const struct sconce_process_ops *ops, void *arg, int argc, char *const *argv,
	struct sconce_process **process_out)
{
	struct sconce_process *p = calloc(1, sizeof(*p));
	struct sigaction chld;
	int r;

	if (p == NULL)
		return -ENOMEM;
	p->ops = ops;
	p->arg = arg;
	p->ready = -1;
	p->worker = -1;
	p->born = -1;
	r = sconce_program_capture(argc, argv, &p->program);
	if (r == 0)
		r = sconce_inherited_take(&p->inherited);
	if (r == 0)
		r = sconce_daemon_open_standard(NULL);
	if (r < 0) {
		sconce_process_free(p);
		return r;
	}
	if (sigaction(SIGCHLD, NULL, &chld) == 0 && chld.sa_handler == SIG_IGN)
		signal(SIGCHLD, SIG_DFL);
	p->restarted = sconce_inherited_restarted(p->inherited);
	*process_out = p;
	return 0;
}

/* Remembers a path that a listener of ours has had since before the restart; a new one unlinks its own. */
static void
own_path(struct sconce_process *p, const struct sconce_endpoint *ep)
{
	struct owned_path *o;
	struct stat st;

	if (ep->family != AF_UNIX || ep->fd >= 0 || ep->path[0] == '@' || lstat(ep->path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	o = malloc(sizeof(*o) + strlen(ep->path) + 1);
	if (o == NULL)
		return;			/* it stays behind, and the next start replaces it */
	o->dev = st.st_dev;
	o->ino = st.st_ino;
	strcpy(o->path, ep->path);
	o->next = p->paths;
	p->paths = o;
}

/* Frees what is known of the paths.  `remove`: the process ends, and so do they, unless they are others' by now. */
static void
drop_paths(struct sconce_process *p, bool remove)
{
	struct owned_path *o;
	struct stat st;

	while ((o = p->paths) != NULL) {
		p->paths = o->next;
		if (remove && lstat(o->path, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino)
			unlink(o->path);
		free(o);
	}
}

static void
free_kept(struct sconce_process *p)
{
	for (size_t i = 0; i < p->kept_count; i++)
		free(p->kept[i].key);
	for (size_t i = 0; i < p->managed_count; i++)
		free(p->managed[i].name);
	free(p->kept);
	free(p->managed);
}

void
sconce_process_free(struct sconce_process *p)
{
	if (p == NULL)
		return;
	sconce_pidfile_close(&p->pid_file, true);
	sconce_log_close(p->log);
	sconce_daemon_ready(&p->ready, 1);
	sconce_inherited_free(p->inherited);
	sconce_program_free(p->program);
	drop_paths(p, p->worker < 0 && !p->draining);
	free_kept(p);
	free(p->children);
	free(p);
}

/* ---- starting ---- */

/* The option that failed, for whoever shows its place in the configuration. */
static int
blame(struct sconce_fail *fail, const char *option, int r)
{
	if (r < 0 && fail != NULL)
		fail->operation = option;
	return r;
}

static bool
given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* Whether a file could be written, or made. */
static int
look_at_file(const char *option, const char *path, struct sconce_fail *fail)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == NULL ? strdup(".") : strndup(path, slash > path ? (size_t)(slash - path) : 1);
	int r = directory == NULL ? -ENOMEM : 0;
	char room[SCONCE__SHOWN];
	struct stat st;

	if (r == 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		r = -EISDIR;
	if (r == 0 && access(path, W_OK) < 0 && (errno != ENOENT || access(directory, W_OK | X_OK) < 0))
		r = -errno;
	free(directory);
	if (r < 0)
		sconce__cannot(fail, r, option, "%s: cannot write %s: %s", option, sconce__shown(path, room), sconce_strerror(r));
	return r;
}

/* Whether we are that user already, but for further groups, which only root could set: in a container, or after the
 * user was added to a group. */
static bool
is_almost(const struct sconce_identity *id, const struct sconce_process_options *o)
{
	return given(o->user) && !given(o->group) && id->set_user &&
	    id->uid == getuid() && id->uid == geteuid() && id->gid == getgid() && id->gid == getegid();
}

static int
look_at_chroot(const char *path, struct sconce_fail *fail)
{
	char room[SCONCE__SHOWN];
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0)
		r = -errno;
	else if (!S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r < 0)
		sconce__cannot(fail, r, "chroot", "chroot: %s: %s", sconce__shown(path, room), sconce_strerror(r));
	return r;
}

static bool
to_syslog(const struct sconce_process_options *o)
{
	return given(o->log_file) && (strcmp(o->log_file, "syslog") == 0 || strcmp(o->log_file, "Sys::Syslog") == 0);
}

static bool
to_file(const struct sconce_process_options *o)
{
	return given(o->log_file) && !to_syslog(o);
}

/* What can be known without doing anything. */
static int
look(struct sconce_process *p, struct sconce_fail *fail)
{
	const struct sconce_process_options *o = &p->opts;
	char why[160], room[SCONCE__SHOWN];
	struct stat st;
	int r;

	if (o->hup != NULL && !check_hup(o->hup, why, sizeof(why)))
		return sconce__cannot(fail, -EINVAL, "hup", "hup: %s", why);
	r = sconce_identity_resolve(&p->identity, o->user, o->group, fail);
	if (r == 0 && geteuid() != 0 && is_almost(&p->identity, o)) {
		p->identity.set_user = p->identity.set_group = false;
		p->identity.group_count = 0;
	}
	if (r == 0 && geteuid() != 0 && sconce_identity_differs(&p->identity))
		r = sconce__cannot(fail, -EPERM, given(o->user) ? "user" : "group", "%s: only root can become somebody else",
			given(o->user) ? "user" : "group");
	if (r == 0 && geteuid() != 0 && given(o->chroot))
		r = sconce__cannot(fail, -EPERM, "chroot", "chroot: only root can do that");
	if (r == 0 && given(o->chroot))
		r = look_at_chroot(o->chroot, fail);
	if (r == 0 && to_file(o))
		r = look_at_file("log_file", o->log_file, fail);
	for (size_t i = 0; r == 0 && i < o->chown_files.count; i++)
		if (lstat(o->chown_files.values[i], &st) < 0)
			r = sconce__cannot(fail, -errno, "chown_files", "%s: %s", sconce__shown(o->chown_files.values[i], room),
				sconce_strerror(-errno));
	if (r == 0 && given(o->pid_file) && (o->trial || sconce_program_checking()))
		r = blame(fail, "pid_file", sconce__pidfile_look(o->pid_file, o->trial ? 0 : getppid(), fail));
	return r;
}

static int
open_log(struct sconce_process *p, struct sconce_fail *fail)
{
	const struct sconce_process_options *o = &p->opts;
	struct sconce_log_options log = {
		.level = o->log_level,
		.file = to_syslog(o) ? "syslog" : to_file(o) ? o->log_file : NULL,
		.ident = to_syslog(o) && given(o->syslog_ident) ? o->syslog_ident : p->ops->name,
		.syslog_socket = o->syslog_logsock != NULL && o->syslog_logsock[0] == '/' ? o->syslog_logsock : NULL,
		.syslog_facility = o->syslog_facility,
		.syslog_pid = o->syslog_logopt == NULL || strstr(o->syslog_logopt, "pid") != NULL,
		.time = to_file(o),
		.lines_per_second = o->log_lines_per_second,
		.write = o->log_write,
		.arg = o->log_arg,
	};
	int r = sconce_log_open(&log, &p->log, fail);

	if (r < 0 && to_syslog(o) && p->restarted) {	/* that would end what serves */
		log.file = NULL;
		r = sconce_log_open(&log, &p->log, fail);
		if (r == 0)
			sconce_log_line(p->log, SCONCE_LOG_WARNING, "syslogd does not answer: logging to stderr");
	}
	return blame(fail, "log_file", r);
}

static int
take_pid_file(struct sconce_process *p, struct sconce_fail *fail)
{
	int r;

	if (!given(p->opts.pid_file))
		return 0;
	r = blame(fail, "pid_file", sconce_pidfile_open(&p->pid_file, p->opts.pid_file, fail));
	if (r == 0 && p->pid_file.stale)
		sconce_log_line(p->log, SCONCE_LOG_WARNING, "pid file %s named process %ld, which does not hold it",
			p->opts.pid_file, (long)p->pid_file.was);
	return r;
}

int
sconce_process_start(struct sconce_process *p, const struct sconce_process_options *opts, struct sconce_fail *fail_out)
{
	int r;

	p->opts = *opts;
	r = look(p, fail_out);
	if (r < 0 || opts->trial || sconce_program_checking())
		return r;
	p->hup = hup_of(opts->hup);
	if (opts->umask >= 0)
		umask((mode_t)opts->umask);
	r = open_log(p, fail_out);
	if (r == 0)
		r = take_pid_file(p, fail_out);
	if (r == 0 && (opts->background || opts->setsid) && !p->restarted)
		r = sconce_daemon_background(opts->setsid, &p->ready, fail_out);
	if (r == 0 && given(opts->pid_file))
		r = blame(fail_out, "pid_file", sconce_pidfile_write(&p->pid_file, fail_out));
	return r;
}

/* ---- who we are ---- */

/* Files that are to be ours after the change. */
static int
give_files(struct sconce_process *p, struct sconce_fail *fail)
{
	const struct sconce_process_options *o = &p->opts;
	int r = 0;

	if (to_file(o) && sconce_log_fd(p->log) >= 0)
		r = blame(fail, "log_file", sconce_identity_own(&p->identity, sconce_log_fd(p->log), o->log_file, fail));
	/* the pid file stays root's: what is in it is killed by root */
	for (size_t i = 0; r == 0 && i < o->chown_files.count; i++)
		r = blame(fail, "chown_files", sconce_identity_own(&p->identity, -1, o->chown_files.values[i], fail));
	return r;
}

int
sconce_process_drop(struct sconce_process *p, struct sconce_fail *fail_out)
{
	bool chroot = given(p->opts.chroot);
	int r = give_files(p, fail_out);

	if (r < 0)
		return r;
	p->chrooted = chroot;
	if (chroot && given(p->opts.pid_file))
		sconce__pidfile_leave(&p->pid_file);
	return sconce_identity_become(&p->identity, chroot ? p->opts.chroot : NULL, fail_out);
}

/* ---- listeners ---- */

/* Remembers that an fd is a service manager's, so that it still is after a restart. */
static int
manage(struct sconce_process *p, int fd, const char *name)
{
	char *copy;

	if (fd < 0)
		return fd;
	copy = strdup(name);
	if (copy == NULL || !sconce__grow(&p->managed, p->managed_count, &p->managed_cap, sizeof(*p->managed))) {
		free(copy);		/* then it is a listener like any other */
		return fd;
	}
	p->managed[p->managed_count++] = (struct managed){ .fd = fd, .name = copy };
	return fd;
}

void
sconce_process_inherited_close(struct sconce_process *p)
{
	if (p->inherited != NULL)
		sconce__inherited_close(p->inherited);
}

int
sconce_process_inherited(struct sconce_process *p, const struct sconce_endpoint *ep)
{
	char key[KEY_SIZE];
	const char *name = "";
	int fd;

	if (p->inherited == NULL)
		return -1;
	sconce__endpoint_key(ep, key);
	fd = sconce_inherited_fd(p->inherited, key);
	if (fd >= 0) {
		own_path(p, ep);
		return fd;
	}
	fd = sconce__inherited_named(p->inherited, ep, &name);
	return manage(p, fd, name);
}

int
sconce_process_inherited_any(struct sconce_process *p)
{
	const char *name = "";
	int fd = p->inherited != NULL ? sconce_inherited_any(p->inherited, &name) : -1;

	return manage(p, fd, name);
}

/* The name of an fd that is a service manager's, which is the caller's; NULL: it is not. */
static char *
take_managed(struct sconce_process *p, int fd)
{
	for (size_t i = 0; i < p->managed_count; i++) {
		char *name = p->managed[i].name;

		if (p->managed[i].fd != fd)
			continue;
		p->managed[i] = p->managed[--p->managed_count];
		return name;
	}
	return NULL;
}

/* Forgets those that are closed. */
static void
compact_kept(struct sconce_process *p)
{
	size_t to = 0;

	for (size_t i = 0; i < p->kept_count; i++) {
		if (sconce_find(p->kept[i].loop, p->kept[i].id) == NULL)
			free(p->kept[i].key);
		else
			p->kept[to++] = p->kept[i];
	}
	p->kept_count = to;
}

int
sconce_process_keep(struct sconce_process *p, struct sconce_sock *s, const struct sconce_endpoint *ep)
{
	char text[KEY_SIZE], *key;
	bool manager;

	if (p->kept_count == p->kept_cap)
		compact_kept(p);
	if (!sconce__grow(&p->kept, p->kept_count, &p->kept_cap, sizeof(*p->kept)))
		return -ENOMEM;
	key = take_managed(p, sconce_fd(s));
	manager = key != NULL;
	if (!manager) {
		sconce__endpoint_key(ep, text);
		key = strdup(text);
	}
	if (key == NULL)
		return -ENOMEM;
	p->kept[p->kept_count++] = (struct kept){ .loop = s->loop, .id = s->id, .manager = manager, .key = key };
	return 0;
}

/* ---- what is asked ---- */

void *
sconce_process_arg(const struct sconce_process *p)
{
	return p->arg;
}

struct sconce_log *
sconce_process_log(const struct sconce_process *p)
{
	return p->log;
}

struct sconce_program *
sconce_process_program(const struct sconce_process *p)
{
	return p->program;
}

const struct sconce_process_options *
sconce_process_options(const struct sconce_process *p)
{
	return &p->opts;
}

bool
sconce_process_restarted(const struct sconce_process *p)
{
	return p->restarted;
}

int
sconce_process_worker(const struct sconce_process *p)
{
	return p->worker;
}

bool
sconce_process_stopping(const struct sconce_process *p)
{
	return p->stop_wanted || p->stopping;
}
