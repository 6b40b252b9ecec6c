/* Users and groups: looked up, files given to them, and becoming them, which is done by children. */
#include "starve.h"

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sconce/daemon.h>

enum { SOMEBODY = 54321, GROUP_A = 54322, GROUP_B = 54323 };	/* numbers without a name */

static struct sconce_identity id;
static struct sconce_fail fail;
static char dir[64];

static void
setup(void)
{
	memset(&id, 0xa5, sizeof(id));
	strcpy(dir, "/tmp/sconce-id.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void
teardown(void)
{
	ck_assert_int_eq(rmdir(dir), 0);
}

static bool
root(const char *what)
{
	if (geteuid() == 0)
		return true;
	printf("skip %s: not root\n", what);
	return false;
}

/* Runs `body` in a child.  Returns its status. */
static int
in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
resolve(const char *user, const char *groups)
{
	ck_assert_msg(sconce_identity_resolve(&id, user, groups, &fail) == 0, "%s", fail.text);
}

static void
assert_refused(const char *user, const char *groups, int r, const char *operation, const char *text)
{
	struct sconce_identity before;

	memset(&id, 0xa5, sizeof(id));
	before = id;
	ck_assert_int_eq(sconce_identity_resolve(&id, user, groups, &fail), r);
	ck_assert_int_eq(fail.errnum, -r);
	ck_assert_str_eq(fail.operation, operation);
	ck_assert_msg(strstr(fail.text, text) != NULL, "%s", fail.text);
	ck_assert_mem_eq(&id, &before, sizeof(id));
	ck_assert_int_eq(sconce_identity_resolve(&id, user, groups, NULL), r);
}

/* ---- looking up ---- */

/* NS-53: nothing said, nothing changes. */
START_TEST(test_resolve_nothing_stays)
{
	static const char *const nothing[] = { NULL, "" };

	for (int i = 0; i < 4; i++) {
		resolve(nothing[i & 1], nothing[i >> 1]);
		ck_assert(!id.set_user && !id.set_group);
		ck_assert_uint_eq(id.group_count, 0);
		ck_assert(!sconce_identity_differs(&id));
	}
	resolve(NULL, " ,\t");
	ck_assert(!id.set_group);
}
END_TEST

/* NS-53: a user by name, with the groups it has. */
START_TEST(test_resolve_user_name_brings_its_groups)
{
	struct passwd *pw = getpwnam("nobody");
	gid_t groups[SCONCE_GROUPS_MAX];
	int count = SCONCE_GROUPS_MAX;

	ck_assert_ptr_nonnull(pw);
	ck_assert_int_ge(getgrouplist("nobody", pw->pw_gid, groups, &count), 0);
	resolve("nobody", NULL);
	ck_assert(id.set_user && id.set_group);
	ck_assert_uint_eq(id.uid, pw->pw_uid);
	ck_assert_uint_eq(id.gid, pw->pw_gid);
	ck_assert_str_eq(id.user, "nobody");
	ck_assert_uint_eq(id.group_count, (size_t)count);
	ck_assert_mem_eq(id.groups, groups, (size_t)count * sizeof(groups[0]));
}
END_TEST

/* NS-53: a number is as good, with the name that belongs to it, or none. */
START_TEST(test_resolve_user_number_name_is_found)
{
	resolve("0", "");
	ck_assert_uint_eq(id.uid, 0);
	ck_assert_str_eq(id.user, "root");
	ck_assert(id.set_group);
	resolve("54321", "54322");
	ck_assert_uint_eq(id.uid, SOMEBODY);
	ck_assert_str_eq(id.user, "");
	ck_assert_uint_eq(id.gid, GROUP_A);
}
END_TEST

/* NS-53: groups by names and numbers, with blanks and commas: the first is the process's, all are supplementary. */
START_TEST(test_resolve_groups_list_first_is_gid)
{
	struct group *gr = getgrnam("root");
	gid_t root_gid = gr->gr_gid;

	resolve(NULL, " 54323,54322  root\t,54323 0 ");
	ck_assert(!id.set_user && id.set_group);
	ck_assert_uint_eq(id.gid, GROUP_B);
	ck_assert_uint_eq(id.group_count, 3);
	ck_assert_uint_eq(id.groups[0], GROUP_B);
	ck_assert_uint_eq(id.groups[1], GROUP_A);
	ck_assert_uint_eq(id.groups[2], root_gid);
	resolve("nobody", "54322");
	ck_assert_uint_eq(id.group_count, 1);
	ck_assert_uint_eq(id.gid, GROUP_A);
}
END_TEST

/* NS-53: an unknown name is told: which, and of what. */
START_TEST(test_resolve_unknown_name_is_refused)
{
	char name[400];

	assert_refused("no-such-user", NULL, -ENOENT, "user", "user 'no-such-user': there is none of that name");
	assert_refused("no such user", "root", -ENOENT, "user", "'no such user'");
	assert_refused(NULL, "root no-such-group", -ENOENT, "group", "group 'no-such-group': there is none of that name");
	assert_refused("nobody", "12x", -ENOENT, "group", "'12x'");
	assert_refused("-1", NULL, -ENOENT, "user", "'-1'");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_refused(name, NULL, -ENOENT, "user", "there is none of that name");
	assert_refused(NULL, name, -ENOENT, "group", "there is none of that name");
}
END_TEST

/* A number that is none; the last one means "leave it" to the kernel. */
START_TEST(test_resolve_number_too_large_is_refused)
{
	static const char *const bad[] = { "4294967295", "4294967296", "99999999999999999999999" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_refused(bad[i], NULL, -EINVAL, "user", "is not the number of one");
		assert_refused(NULL, bad[i], -EINVAL, "group", "is not the number of one");
	}
	resolve("4294967294", "4294967294");
	ck_assert_uint_eq(id.uid, 4294967294u);
}
END_TEST

/* A number without a name has no groups to go on with but those of root: that must be said. */
START_TEST(test_resolve_nameless_user_needs_groups)
{
	assert_refused("54321", NULL, -EINVAL, "user", "give a group, too");
	assert_refused("54321", " , ", -EINVAL, "user", "give a group, too");
}
END_TEST

/* 64 groups, and not one more; the same one twice counts once. */
START_TEST(test_resolve_too_many_groups_refused)
{
	char list[1000] = "1";

	for (int i = 2; i <= SCONCE_GROUPS_MAX; i++)
		sprintf(list + strlen(list), ",%d,1", i);
	resolve(NULL, list);
	ck_assert_uint_eq(id.group_count, SCONCE_GROUPS_MAX);
	strcat(list, ",65");
	assert_refused(NULL, list, -E2BIG, "group", "more than 64 groups");
}
END_TEST

/* HZ-22: without memory it fails or works, and never lies: each allocation in turn. */
START_TEST(test_resolve_without_memory_fails)
{
	int n, r = -1;

	if (!STARVE_WORKS)
		return;
	resolve("nobody", "root");		/* what the C library loads once */
	for (n = 1; n < 200; n++) {
		starve_failed = 0;
		starve_left = n;
		r = sconce_identity_resolve(&id, "nobody", "root", &fail);
		starve_left = 0;
		if (starve_failed == 0)
			break;
		ck_assert_msg(r == 0 || fail.errnum != 0, "allocation %d", n);
		ck_assert_msg(n > 1 || r == -ENOMEM, "allocation %d: %d", n, r);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_gt(n, 1);
}
END_TEST

/* ---- what the process is ---- */

static int
differs_by_each_id(void)
{
	gid_t two[] = { GROUP_A, GROUP_B }, other[] = { GROUP_B, 1, GROUP_A };

	if (setgroups(2, two) < 0 || setresgid(GROUP_A, GROUP_A, GROUP_A) < 0)
		return 1;
	if (sconce_identity_resolve(&id, NULL, "54322 54323", NULL) < 0 || sconce_identity_differs(&id))
		return 2;			/* the same */
	if (sconce_identity_resolve(&id, "root", "54322 54323", NULL) < 0 || sconce_identity_differs(&id))
		return 3;			/* of the same user, too */
	if (sconce_identity_resolve(&id, NULL, "54322", NULL) < 0 || !sconce_identity_differs(&id))
		return 4;			/* fewer */
	if (sconce_identity_resolve(&id, NULL, "54322 54323 1", NULL) < 0 || !sconce_identity_differs(&id))
		return 5;			/* more */
	if (sconce_identity_resolve(&id, NULL, "54323 54322", NULL) < 0 || !sconce_identity_differs(&id))
		return 6;			/* another first one */
	if (setgroups(3, other) < 0 || sconce_identity_resolve(&id, NULL, "54322 1 54323", NULL) < 0 ||
	    sconce_identity_differs(&id))
		return 7;			/* the order is of no concern */
	if (setresgid(GROUP_A, GROUP_A, 0) < 0 || !sconce_identity_differs(&id))
		return 8;			/* a saved one counts */
	if (setresgid(GROUP_A, GROUP_A, GROUP_A) < 0 || setresuid(-1, SOMEBODY, -1) < 0)
		return 9;
	if (sconce_identity_resolve(&id, "54321", "54322 1 54323", NULL) < 0 || !sconce_identity_differs(&id))
		return 10;			/* only the effective one is so */
	return 0;
}

/* Any id that is another, the saved one and supplementary groups as well, is a difference. */
START_TEST(test_differs_any_id_counts)
{
	if (root("what differs"))
		ck_assert_int_eq(in_child(differs_by_each_id), 0);
}
END_TEST

/* ---- giving files away ---- */

static char path[96];

static bool
owned_by(uid_t uid, gid_t gid)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_uid == uid && st.st_gid == gid;
}

/* Another place of the directory. */
static const char *
beside(const char *name)
{
	static char text[96];

	snprintf(text, sizeof(text), "%s/%s", dir, name);
	return text;
}

/* Makes `path`, a file. */
static int
make_file(void)
{
	int fd;

	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* NS-55: by fd and by path; a user or group alone leaves the other one. */
START_TEST(test_own_file_is_given)
{
	int fd;

	if (!root("giving files away"))
		return;
	fd = make_file();
	resolve("54321", "54322 54323");
	ck_assert_int_eq(sconce_identity_own(&id, fd, NULL, &fail), 0);
	ck_assert(owned_by(SOMEBODY, GROUP_A));
	resolve(NULL, "54323");
	ck_assert_int_eq(sconce_identity_own(&id, -1, path, &fail), 0);
	ck_assert(owned_by(SOMEBODY, GROUP_B));
	resolve("54322", "54321");
	id.set_group = false;
	ck_assert_int_eq(sconce_identity_own(&id, fd, NULL, &fail), 0);
	ck_assert(owned_by(GROUP_A, GROUP_B));
	close(fd);
	unlink(path);
}
END_TEST

/* NS-55: when nobody changes, files do not, even where that could not be done. */
START_TEST(test_own_nothing_changes_nothing_done)
{
	resolve(NULL, NULL);
	ck_assert_int_eq(sconce_identity_own(&id, -1, "/no/such/file", &fail), 0);
}
END_TEST

/* NS-55: what cannot be given is told. */
START_TEST(test_own_impossible_is_refused)
{
	resolve("54321", "54322");
	ck_assert_int_eq(sconce_identity_own(&id, -1, "/no/such/file", &fail), -ENOENT);
	ck_assert_str_eq(fail.operation, "chown");
	ck_assert_msg(strstr(fail.text, "'/no/such/file' cannot be given to uid 54321, gid 54322") != NULL, "%s", fail.text);
	ck_assert_int_eq(sconce_identity_own(&id, 1000, NULL, &fail), -EBADF);
	ck_assert_msg(strstr(fail.text, "fd 1000 cannot be given") != NULL, "%s", fail.text);
	ck_assert_int_eq(sconce_identity_own(&id, 1000, NULL, NULL), -EBADF);
}
END_TEST

static void
assert_not_given(int fd, const char *name, int r, const char *why)
{
	ck_assert_int_eq(sconce_identity_own(&id, fd, name, &fail), r);
	ck_assert_int_eq(fail.errnum, -r);
	ck_assert_str_eq(fail.operation, "chown");
	ck_assert_msg(strstr(fail.text, why) != NULL, "%s", fail.text);
	ck_assert_int_eq(sconce_identity_own(&id, fd, name, NULL), r);
	ck_assert(owned_by(0, 0));
}

/* NS-55: what a symbolic link leads to, which somebody may have put there, is not given away; nor is the link. */
START_TEST(test_own_symlink_is_not_followed)
{
	struct stat st;
	int fd;

	if (!root("giving symbolic links away"))
		return;
	close(make_file());
	resolve("54321", "54322");
	ck_assert_int_eq(symlink(path, beside("link")), 0);
	assert_not_given(-1, beside("link"), -ELOOP, "it is a symbolic link");
	fd = open(beside("link"), O_RDWR | O_CLOEXEC);
	assert_not_given(fd, beside("link"), -EPERM, "it is a symbolic link");
	close(fd);
	ck_assert_int_eq(lstat(beside("link"), &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);
	unlink(beside("link"));
	unlink(path);
}
END_TEST

/* NS-55: a slash behind the link does not lead into it. */
START_TEST(test_own_symlink_to_directory_is_not_entered)
{
	if (!root("giving symbolic links away"))
		return;
	snprintf(path, sizeof(path), "%s/sub", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(symlink(path, beside("link")), 0);
	resolve("54321", "54322");
	assert_not_given(-1, beside("link/"), -ELOOP, "it is a symbolic link");
	assert_not_given(-1, beside("link///"), -ELOOP, "it is a symbolic link");
	unlink(beside("link"));
	ck_assert_int_eq(sconce_identity_own(&id, -1, beside("sub//"), &fail), 0);
	ck_assert(owned_by(SOMEBODY, GROUP_A));
	rmdir(path);
}
END_TEST

/* NS-55: a file of another name, too, may be anybody's. */
START_TEST(test_own_fd_with_two_links_is_refused)
{
	int fd;

	if (!root("giving files of two names away"))
		return;
	fd = make_file();
	resolve("54321", "54322");
	ck_assert_int_eq(link(path, beside("second")), 0);
	assert_not_given(fd, NULL, -EPERM, "it has more than one link");
	assert_not_given(fd, path, -EPERM, "it has more than one link");
	unlink(beside("second"));
	ck_assert_int_eq(sconce_identity_own(&id, fd, path, &fail), 0);
	ck_assert(owned_by(SOMEBODY, GROUP_A));
	close(fd);
	unlink(path);
}
END_TEST

/* NS-55: what is open is not what the name leads to by now. */
START_TEST(test_own_fd_replaced_is_refused)
{
	int fd;

	if (!root("giving replaced files away"))
		return;
	fd = make_file();
	resolve("54321", "54322");
	ck_assert_int_eq(rename(path, beside("old")), 0);
	ck_assert_int_eq(sconce_identity_own(&id, fd, path, &fail), -ENOENT);
	close(make_file());
	assert_not_given(fd, path, -EPERM, "it was replaced");
	snprintf(path, sizeof(path), "%s", beside("old"));
	ck_assert(owned_by(0, 0));
	close(fd);
	unlink(beside("old"));
	unlink(beside("file"));
}
END_TEST

/* NS-55: a descriptor of anything but a file, as of a log that goes to a pipe or a terminal, is left as it is. */
START_TEST(test_own_fd_of_no_file_is_left_alone)
{
	struct stat st;
	int fd, fds[2];

	if (!root("giving devices away"))
		return;
	resolve("54321", "54322");
	snprintf(path, sizeof(path), "%s/null", dir);
	fd = mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0 ? open(path, O_PATH | O_CLOEXEC) : -1;
	if (fd >= 0) {
		ck_assert_int_eq(sconce_identity_own(&id, fd, path, &fail), 0);
		ck_assert(owned_by(0, 0));
		assert_not_given(-1, path, -EPERM, "it is a device");
		close(fd);
		unlink(path);
	}
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(sconce_identity_own(&id, fds[1], NULL, &fail), 0);
	ck_assert_int_eq(fstat(fds[1], &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);
	close(fds[0]);
	close(fds[1]);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(sconce_identity_own(&id, fd, dir, &fail), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);
	close(fd);
}
END_TEST

/* NS-55: by path it may be a directory, a socket or a fifo. */
START_TEST(test_own_path_of_each_type_is_given)
{
	static const mode_t types[] = { S_IFREG, S_IFSOCK, S_IFIFO };

	if (!root("giving files away"))
		return;
	resolve("54321", "54322");
	snprintf(path, sizeof(path), "%s/x", dir);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ck_assert_int_eq(mknod(path, types[i] | 0600, 0), 0);
		ck_assert_msg(sconce_identity_own(&id, -1, path, &fail) == 0, "%s", fail.text);
		ck_assert(owned_by(SOMEBODY, GROUP_A));
		unlink(path);
	}
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_msg(sconce_identity_own(&id, -1, path, &fail) == 0, "%s", fail.text);
	ck_assert(owned_by(SOMEBODY, GROUP_A));
	rmdir(path);
}
END_TEST

/* ---- becoming it ---- */

static int
become_all(void)
{
	uid_t u[3];
	gid_t g[3], groups[8];

	if (sconce_identity_resolve(&id, "nobody", "54322 54323", &fail) < 0 || sconce_identity_become(&id, NULL, &fail) < 0)
		return 1;
	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return 2;
	for (int i = 0; i < 3; i++)
		if (u[i] != id.uid || g[i] != GROUP_A)
			return 3;
	if (getgroups(8, groups) != 2 || groups[0] + groups[1] != GROUP_A + GROUP_B)
		return 4;
	if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setgroups(0, NULL) == 0)
		return 5;
	return sconce_identity_differs(&id) || sconce_identity_become(&id, NULL, &fail) < 0 ? 6 : 0;
}

/* NS-53: all three uids, all three gids, all groups; and there is no way back. */
START_TEST(test_become_user_and_groups_for_good)
{
	if (root("becoming another user"))
		ck_assert_int_eq(in_child(become_all), 0);
}
END_TEST

static int
become_group_only(void)
{
	gid_t groups[8];

	if (sconce_identity_resolve(&id, NULL, "54322", &fail) < 0 || sconce_identity_become(&id, NULL, &fail) < 0)
		return 1;
	if (getuid() != 0 || getgid() != GROUP_A || getgroups(8, groups) != 1 || groups[0] != GROUP_A)
		return 2;
	return 0;
}

/* NS-53: a group without a user leaves the user. */
START_TEST(test_become_group_alone_user_stays)
{
	if (root("becoming another group"))
		ck_assert_int_eq(in_child(become_group_only), 0);
}
END_TEST

static int
become_in_chroot(void)
{
	struct stat here, top;
	char cwd[64];

	if (sconce_identity_resolve(&id, "nobody", NULL, &fail) < 0 || sconce_identity_become(&id, dir, &fail) < 0)
		return 1;
	if (stat(".", &here) < 0 || stat("/", &top) < 0 || here.st_ino != top.st_ino || here.st_dev != top.st_dev)
		return 2;
	if (getcwd(cwd, sizeof(cwd)) == NULL || strcmp(cwd, "/") != 0)
		return 3;
	return access("/tmp", F_OK) == 0 || geteuid() != id.uid ? 4 : 0;
}

/* NS-54: into the directory, which is the current one, too; then the user. */
START_TEST(test_become_chroot_is_entered)
{
	if (!root("chroot"))
		return;
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert_int_eq(in_child(become_in_chroot), 0);
}
END_TEST

static int
chroot_missing(void)
{
	int r = sconce_identity_resolve(&id, "nobody", NULL, &fail);

	if (r < 0 || sconce_identity_become(&id, "/no/such/directory", &fail) != -ENOENT)
		return 1;
	if (strcmp(fail.operation, "chroot") != 0 || strstr(fail.text, "'/no/such/directory'") == NULL)
		return 2;
	return geteuid() == 0 ? 0 : 3;		/* before anything else */
}

/* NS-54: it must exist. */
START_TEST(test_become_missing_chroot_is_refused)
{
	if (root("chroot"))
		ck_assert_int_eq(in_child(chroot_missing), 0);
}
END_TEST

static int
become_as_user(void)
{
	gid_t gid = GROUP_A;

	if (geteuid() == 0 && (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0))
		return 1;
	if (sconce_identity_resolve(&id, "root", NULL, NULL) < 0 || sconce_identity_become(&id, NULL, &fail) != -EPERM)
		return 2;
	if (strstr(fail.text, "start as root, or leave it out") == NULL)
		return 3;
	if (sconce_identity_resolve(&id, NULL, NULL, NULL) < 0 || sconce_identity_become(&id, NULL, &fail) != 0)
		return 4;
	if (sconce_identity_become(&id, "", &fail) != 0 || sconce_identity_become(&id, "/", &fail) != -EPERM)
		return 5;
	return 0;
}

static int
become_same_as_user(void)
{
	gid_t gid = GROUP_A;

	if (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)
		return 1;
	if (sconce_identity_resolve(&id, "54321", "54322", NULL) < 0 || sconce_identity_become(&id, NULL, &fail) != 0)
		return 2;
	if (sconce_identity_resolve(&id, "54321", "54323", NULL) < 0 || sconce_identity_become(&id, NULL, &fail) != -EPERM)
		return 3;
	return strcmp(fail.operation, "group") == 0 ? 0 : 4;
}

/* NS-53: who is not root can only stay what it is. */
START_TEST(test_become_not_root_is_refused)
{
	ck_assert_int_eq(in_child(become_as_user), 0);
	if (root("staying another user"))
		ck_assert_int_eq(in_child(become_same_as_user), 0);
}
END_TEST

/* ---- the suite ---- */

Suite *
t_suite(void)
{
	Suite *s = suite_create("identity");
	TCase *tc = t_case(s, "resolve");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_resolve_nothing_stays);
	tcase_add_test(tc, test_resolve_user_name_brings_its_groups);
	tcase_add_test(tc, test_resolve_user_number_name_is_found);
	tcase_add_test(tc, test_resolve_groups_list_first_is_gid);
	tcase_add_test(tc, test_resolve_unknown_name_is_refused);
	tcase_add_test(tc, test_resolve_number_too_large_is_refused);
	tcase_add_test(tc, test_resolve_nameless_user_needs_groups);
	tcase_add_test(tc, test_resolve_too_many_groups_refused);
	tcase_add_test(tc, test_resolve_without_memory_fails);
	tc = t_case(s, "own");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_own_file_is_given);
	tcase_add_test(tc, test_own_nothing_changes_nothing_done);
	tcase_add_test(tc, test_own_impossible_is_refused);
	tcase_add_test(tc, test_own_symlink_is_not_followed);
	tcase_add_test(tc, test_own_symlink_to_directory_is_not_entered);
	tcase_add_test(tc, test_own_fd_with_two_links_is_refused);
	tcase_add_test(tc, test_own_fd_replaced_is_refused);
	tcase_add_test(tc, test_own_fd_of_no_file_is_left_alone);
	tcase_add_test(tc, test_own_path_of_each_type_is_given);
	tc = t_case(s, "become");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_differs_any_id_counts);
	tcase_add_test(tc, test_become_user_and_groups_for_good);
	tcase_add_test(tc, test_become_group_alone_user_stays);
	tcase_add_test(tc, test_become_chroot_is_entered);
	tcase_add_test(tc, test_become_missing_chroot_is_refused);
	tcase_add_test(tc, test_become_not_root_is_refused);
	return s;
}
