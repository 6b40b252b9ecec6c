/* The texts of a log: bytes made visible, times, the names of syslog's facilities. */
#include "log_private.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

char *
sconce_log_escape(const char *text, size_t len, char *buf, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = buf, *end = buf + size - 1;

	if (size == 0)
		return buf;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		bool plain = c >= ' ' && c <= '~';

		if (end - out < (plain ? 1 : 3))
			break;
		if (plain) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '%';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	*out = '\0';
	return buf;
}

/* ---- times ---- */

/* Local time.  The zone was read when the log was opened: a chroot may have no zone files. */
static struct tm
local_now(void)
{
	time_t now = time(NULL);
	struct tm tm = { .tm_mday = 1 };

	localtime_r(&now, &tm);
	return tm;
}

size_t
sconce__log_time(char buf[SCONCE__LOG_TIME])
{
	struct tm tm = local_now();

	return strftime(buf, SCONCE__LOG_TIME, "%Y/%m/%d-%H:%M:%S", &tm);
}

/* RFC 3164 4.1.2: English names whatever the locale, and a blank before a day of one digit. */
size_t
sconce__log_syslog_time(char buf[SCONCE__LOG_TIME])
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
		"Dec" };
	struct tm tm = local_now();

	memcpy(buf, months[tm.tm_mon], 3);
	return 3 + strftime(buf + 3, SCONCE__LOG_TIME - 3, " %e %H:%M:%S", &tm);
}

/* ---- facilities ---- */

int
sconce__log_facility(const char *name)
{
	static const struct { const char *name; int facility; } all[] = {
		{ "auth", LOG_AUTH }, { "authpriv", LOG_AUTHPRIV }, { "cron", LOG_CRON }, { "daemon", LOG_DAEMON },
		{ "ftp", LOG_FTP }, { "kern", LOG_KERN }, { "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },
		{ "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 }, { "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 },
		{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 }, { "lpr", LOG_LPR }, { "mail", LOG_MAIL },
		{ "news", LOG_NEWS }, { "syslog", LOG_SYSLOG }, { "user", LOG_USER }, { "uucp", LOG_UUCP },
	};

	if (name != NULL && strncasecmp(name, "LOG_", 4) == 0)
		name += 4;
	for (size_t i = 0; name != NULL && i < sizeof(all) / sizeof(all[0]); i++)
		if (strcasecmp(name, all[i].name) == 0)
			return all[i].facility;
	return LOG_DAEMON;
}
