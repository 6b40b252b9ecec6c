/* What the operator reads: stderr, one write per line. */
#include "proxy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINES_PER_SECOND 20

void
log_escape(char *out, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	char *end = out + size - 1;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f) {
			if (out == end)
				break;
			*out++ = (char)c;
			continue;
		}
		if (end - out < 4)
			break;
		*out++ = '\\';
		*out++ = 'x';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	*out = '\0';
}

static void
put_line(const char *text)
{
	char line[1100];
	int n = snprintf(line, sizeof(line), "sconced: %s\n", text);
	ssize_t written;

	if (n >= (int)sizeof(line)) {
		n = sizeof(line);
		line[n - 1] = '\n';
	}
	written = write(STDERR_FILENO, line, (size_t)n);
	(void)written;			/* there is nobody left to tell */
}

/* Whether one more line may be printed now. */
static bool
admitted(struct proxy *p)
{
	struct timespec now;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == p->log_second)
		return ++p->log_lines <= LINES_PER_SECOND;
	if (p->log_lines > LINES_PER_SECOND) {
		snprintf(text, sizeof(text), "%u more lines were left out", p->log_lines - LINES_PER_SECOND);
		put_line(text);
	}
	p->log_second = now.tv_sec;
	p->log_lines = 1;
	return true;
}

void
log_line(struct proxy *p, const char *format, ...)
{
	char text[512], escaped[1024];
	va_list ap;

	if (!admitted(p))
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_escape(escaped, sizeof(escaped), text);
	put_line(escaped);
}
