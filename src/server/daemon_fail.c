/* What log.c, daemon.c, pidfile.c and identity.c share. */
#include "daemon_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sconce/log.h>

int
sconce__cannot(struct sconce_fail *fail, int r, const char *operation, const char *format, ...)
{
	char text[sizeof(fail->text)];
	va_list ap;

	if (fail == NULL)
		return r;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	*fail = (struct sconce_fail){ .operation = operation, .errnum = -r };
	sconce_log_escape(text, strlen(text), fail->text, sizeof(fail->text));
	return r;
}

const char *
sconce__shown(const char *name, char room[SCONCE__SHOWN])
{
	size_t len = strlen(name);

	if (len < SCONCE__SHOWN)
		return name;
	snprintf(room, SCONCE__SHOWN, "...%s", name + len - (SCONCE__SHOWN - 4));
	return room;
}

int
sconce__fd_above_standard(int fd)
{
	int above, r;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	r = above < 0 ? -errno : above;
	close(fd);
	return r;
}
