/* Who the process is: users and groups looked up, files given away, chroot, and becoming another.  Used by
 * sconce/process.h and by programs alone. */
#include "daemon_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sconce/daemon.h>

enum { NAME_MAX_BYTES = 256, ENTRY_MAX_BYTES = 1 << 20 };

/* ---- looking up ---- */

/* A decimal id; the greatest, (uid_t)-1, means "none".  1: it is one; 0: it is no number; -EINVAL: too large. */
static int
number(const char *text, unsigned long *out)
{
	char *end;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return 0;
	errno = 0;
	*out = strtoul(text, &end, 10);
	return errno != 0 || *out >= (uid_t)-1 ? -EINVAL : 1;
}

/* An entry of the user or group database, and the memory of its texts. */
struct entry {
	union {
		struct passwd pw;
		struct group gr;
	};
	char *room;
};

typedef int look_fn(struct entry *e, const char *name, unsigned long id, size_t size, bool *found);

static int
look_user(struct entry *e, const char *name, unsigned long id, size_t size, bool *found)
{
	struct passwd *pw = NULL;
	int errnum = name != NULL ? getpwnam_r(name, &e->pw, e->room, size, &pw) :
	    getpwuid_r((uid_t)id, &e->pw, e->room, size, &pw);

	*found = pw != NULL;
	return errnum;
}

static int
look_group(struct entry *e, const char *name, unsigned long id, size_t size, bool *found)
{
	struct group *gr = NULL;
	int errnum = getgrnam_r(name, &e->gr, e->room, size, &gr);

	(void)id;
	*found = gr != NULL;
	return errnum;
}

/* Looks for a name, or for an id when that is NULL.  0: e->room is to be freed; -ENOENT, or another -errno: it is not. */
static int
look_up(look_fn *look, const char *name, unsigned long id, struct entry *e)
{
	bool found = false;
	int errnum = ERANGE;

	e->room = NULL;
	for (size_t size = 1024; errnum == ERANGE && size <= ENTRY_MAX_BYTES; size *= 4) {
		char *room = realloc(e->room, size);

		errnum = ENOMEM;
		if (room == NULL)
			break;
		e->room = room;
		errnum = look(e, name, id, size, &found);
	}
	if (found)
		return 0;
	free(e->room);
	/* databases tell in several ways that there is none */
	return errnum == 0 || errnum == ESRCH || errnum == EBADF || errnum == EPERM ? -ENOENT : -errnum;
}

static int
no_such(struct sconce_fail *fail, int r, const char *kind, const char *name)
{
	char shown[SCONCE__SHOWN];

	if (r == -ENOENT)
		return sconce__cannot(fail, r, kind, "%s '%s': there is none of that name", kind, sconce__shown(name, shown));
	return sconce__cannot(fail, r, kind, "%s '%s': %s", kind, sconce__shown(name, shown), sconce_strerror(r));
}

/* ---- groups ---- */

static int
too_many(struct sconce_fail *fail, const char *kind, const char *name)
{
	char shown[SCONCE__SHOWN];

	return sconce__cannot(fail, -E2BIG, kind, "%s '%s': more than %d groups", kind, sconce__shown(name, shown),
		SCONCE_GROUPS_MAX);
}

static bool
has_group(const gid_t *groups, size_t count, gid_t gid)
{
	for (size_t i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* One group of the list, into *out. */
static int
one_group(const char *name, gid_t *out, struct sconce_fail *fail)
{
	unsigned long n;
	struct entry e;
	int r = number(name, &n);

	if (r < 0)
		return sconce__cannot(fail, r, "group", "group '%s' is not the number of one", name);
	if (r > 0) {
		*out = (gid_t)n;
		return 0;
	}
	r = look_up(look_group, name, 0, &e);
	if (r < 0)
		return no_such(fail, r, "group", name);
	*out = e.gr.gr_gid;
	free(e.room);
	return 0;
}

static int
resolve_groups(struct sconce_identity *id, const char *list, struct sconce_fail *fail)
{
	static const char between[] = " \t,";
	char name[NAME_MAX_BYTES];

	for (const char *p = list + strspn(list, between); *p != '\0'; p += strspn(p, between)) {
		size_t len = strcspn(p, between);
		gid_t gid = 0;
		int r;

		if (len >= sizeof(name))
			return no_such(fail, -ENOENT, "group", p);
		memcpy(name, p, len);
		name[len] = '\0';
		p += len;
		r = one_group(name, &gid, fail);
		if (r < 0)
			return r;
		if (has_group(id->groups, id->group_count, gid))
			continue;
		if (id->group_count == SCONCE_GROUPS_MAX)
			return too_many(fail, "group", list);
		id->groups[id->group_count++] = gid;
	}
	id->set_group = id->group_count > 0;
	if (id->set_group)
		id->gid = id->groups[0];
	return 0;
}

/* The groups that the user has of itself. */
static int
user_groups(struct sconce_identity *id, const struct passwd *pw, struct sconce_fail *fail)
{
	int count = SCONCE_GROUPS_MAX;

	if (getgrouplist(pw->pw_name, pw->pw_gid, id->groups, &count) < 0)
		return too_many(fail, "user", pw->pw_name);
	id->gid = pw->pw_gid;
	id->group_count = (size_t)count;
	id->set_group = true;
	return 0;
}

/* ---- users ---- */

static bool
is_blank(const char *text)
{
	return text == NULL || text[strspn(text, " \t,")] == '\0';
}

/* A user in the database. */
static int
known_user(struct sconce_identity *id, const struct passwd *pw, bool own_groups, struct sconce_fail *fail)
{
	id->uid = pw->pw_uid;
	snprintf(id->user, sizeof(id->user), "%s", pw->pw_name);
	return own_groups ? user_groups(id, pw, fail) : 0;
}

static int
resolve_user(struct sconce_identity *id, const char *user, bool own_groups, struct sconce_fail *fail)
{
	unsigned long n = 0;
	struct entry e;
	int is_number = number(user, &n), r;

	if (is_number < 0)
		return sconce__cannot(fail, -EINVAL, "user", "user '%.20s' is not the number of one", user);
	id->set_user = true;
	id->uid = (uid_t)n;
	r = look_up(look_user, is_number > 0 ? NULL : user, n, &e);
	if (r == 0) {
		r = known_user(id, &e.pw, own_groups, fail);
		free(e.room);
		return r;
	}
	if (r != -ENOENT || !is_number)
		return no_such(fail, r, "user", user);
	if (own_groups)			/* it would go on in the groups of root */
		return sconce__cannot(fail, -EINVAL, "user", "user %lu is not known and has no group: give a group, too", n);
	return 0;
}

int
sconce_identity_resolve(struct sconce_identity *id, const char *user, const char *groups, struct sconce_fail *fail_out)
{
	struct sconce_identity found = { .set_user = false };
	int r = 0;

	if (user != NULL && user[0] != '\0')
		r = resolve_user(&found, user, is_blank(groups), fail_out);
	if (r == 0 && !is_blank(groups))
		r = resolve_groups(&found, groups, fail_out);
	if (r == 0)
		*id = found;
	return r;
}

/* ---- what the process is ---- */

/* Whether the process's groups are these, in any order. */
static bool
has_these_groups(const struct sconce_identity *id)
{
	gid_t now[SCONCE_GROUPS_MAX + 1];
	int count = getgroups(SCONCE_GROUPS_MAX, now);

	if (count < 0)			/* more than we could have asked for */
		return false;
	now[count++] = getegid();	/* the kernel need not list it */
	for (int i = 0; i < count; i++)
		if (!has_group(id->groups, id->group_count, now[i]))
			return false;
	for (size_t i = 0; i < id->group_count; i++)
		if (!has_group(now, (size_t)count, id->groups[i]))
			return false;
	return true;
}

bool
sconce_identity_differs(const struct sconce_identity *id)
{
	uid_t uid[3];
	gid_t gid[3];

	if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0)
		return true;
	for (int i = 0; i < 3; i++)
		if ((id->set_user && uid[i] != id->uid) || (id->set_group && gid[i] != id->gid))
			return true;
	return id->set_group && !has_these_groups(id);
}

/* ---- giving files away ---- */

static uid_t
uid_of(const struct sconce_identity *id)
{
	return id->set_user ? id->uid : (uid_t)-1;
}

static gid_t
gid_of(const struct sconce_identity *id)
{
	return id->set_group ? id->gid : (gid_t)-1;
}

static int
not_given(const struct sconce_identity *id, int fd, const char *path, int r, const char *why, struct sconce_fail *fail)
{
	char shown[SCONCE__SHOWN], what[SCONCE__SHOWN + 2];

	if (path != NULL)
		snprintf(what, sizeof(what), "'%s'", sconce__shown(path, shown));
	else
		snprintf(what, sizeof(what), "fd %d", fd);
	return sconce__cannot(fail, r, "chown", "%s cannot be given to uid %ld, gid %ld: %s", what, (long)(int)uid_of(id),
		(long)(int)gid_of(id), why);
}

/* An open file, which came from `path` if that is not NULL.  It may be another's, where others may write its directory:
 * opened by way of a link that they have put there.  With -EPERM, *why says it. */
static int
own_fd(const struct sconce_identity *id, int fd, const char *path, const char **why)
{
	struct stat st, named;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (path != NULL && lstat(path, &named) < 0)
		return -errno;
	if (path != NULL && (named.st_dev != st.st_dev || named.st_ino != st.st_ino)) {
		*why = S_ISLNK(named.st_mode) ? "it is a symbolic link" : "it was replaced";
		return -EPERM;
	}
	/* The count of the moment at which the name led to it: that this is its only one is then for sure. */
	if ((path != NULL ? named.st_nlink : st.st_nlink) > 1) {
		*why = "it has more than one link";
		return -EPERM;
	}
	return fchown(fd, uid_of(id), gid_of(id)) < 0 ? -errno : 0;
}

/* What was opened with O_PATH. */
static int
own_place(const struct sconce_identity *id, int fd, const char **why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode)) {
		*why = "it is a symbolic link";
		return -ELOOP;
	}
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		*why = "it is a device";
		return -EPERM;
	}
	return fchownat(fd, "", uid_of(id), gid_of(id), AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int
own_path(const struct sconce_identity *id, const char *path, const char **why)
{
	size_t len = strlen(path);
	char name[PATH_MAX];
	int fd, r;

	while (len > 1 && path[len - 1] == '/')		/* "link/" would be followed */
		len--;
	if (len >= sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, path, len);
	name[len] = '\0';
	fd = open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = own_place(id, fd, why);
	close(fd);
	return r;
}

int
sconce_identity_own(const struct sconce_identity *id, int fd, const char *path, struct sconce_fail *fail_out)
{
	const char *why = NULL;
	int r;

	if (!sconce_identity_differs(id))
		return 0;
	r = fd >= 0 ? own_fd(id, fd, path, &why) : own_path(id, path, &why);
	if (r == 0)
		return 0;
	return not_given(id, fd, path, r, why != NULL ? why : sconce_strerror(r), fail_out);
}

/* ---- becoming it ---- */

static int
enter(const char *dir, struct sconce_fail *fail)
{
	char shown[SCONCE__SHOWN];
	const char *what = "chroot";
	int r = chroot(dir);

	if (r == 0) {
		what = "chdir into the chroot";
		r = chdir("/");
	}
	if (r == 0)
		return 0;
	return sconce__cannot(fail, -errno, "chroot", "%s '%s': %s", what, sconce__shown(dir, shown), sconce_strerror(errno));
}

static int
not_become(struct sconce_fail *fail, const char *kind, long n, int r)
{
	return sconce__cannot(fail, r, kind, "%s %ld: %s%s", kind, n, sconce_strerror(r),
		r == -EPERM ? ": start as root, or leave it out" : "");
}

int
sconce_identity_become(const struct sconce_identity *id, const char *chroot, struct sconce_fail *fail_out)
{
	int r = chroot != NULL && chroot[0] != '\0' ? enter(chroot, fail_out) : 0;

	if (r < 0 || !sconce_identity_differs(id))
		return r;
	if (id->set_group && setgroups(id->group_count, id->groups) < 0)
		return not_become(fail_out, "group", (long)id->gid, -errno);
	if (id->set_group && setresgid(id->gid, id->gid, id->gid) < 0)
		return not_become(fail_out, "group", (long)id->gid, -errno);
	if (id->set_user && setresuid(id->uid, id->uid, id->uid) < 0)
		return not_become(fail_out, "user", (long)id->uid, -errno);
	if (sconce_identity_differs(id))
		return sconce__cannot(fail_out, -EPERM, id->set_user ? "user" : "group", "the process has kept ids of before");
	return 0;
}
