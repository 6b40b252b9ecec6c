/* Configuration files: every line is tried, every error is shown with its place.
 *
 *	web.conf:4:9: Unknown service parameter 'lisen'; did you mean 'listen'?
 *	    SET web.lisen = 80
 *	            ^~~~~ */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/conf.h>

enum { MOST_ERRORS = 20 };		/* of one file */

static void
report_error(struct config_report *report, const struct command *c, const char *name, unsigned number,
    const char *line, size_t len)
{
	char message[COMMAND_MESSAGE * 3], shown[SCONCE_CONF_SHOWN];

	sconce_log_escape(c->message, strlen(c->message), message, sizeof(message));
	fprintf(report->out, "%s:%u:%u: %s%s%s\n%s", name, number, c->wrong.column + 1, message,
	    c->hint[0] != '\0' ? "; " : "", c->hint,
	    sconce_conf_show(line, len, c->wrong.column, c->wrong.length, shown, sizeof(shown)));
	report->errors++;
}

/* Carries out a line; false if there is something to be told about it. */
static bool
run_line(struct command *c, struct commands *from, const char *line, size_t len)
{
	const char *nul = memchr(line, '\0', len);

	if (nul == NULL)
		return command_run(c, from, line) || c->message[0] == '\0';
	snprintf(c->message, sizeof(c->message), "a NUL byte: this is not a text file");
	c->hint[0] = '\0';
	c->wrong = (struct word){ "", (unsigned)(nul - line), 1 };
	return false;
}

static int
load(struct proxy *p, FILE *in, const char *name, struct config_report *report)
{
	struct commands from = { .proxy = p, .defaults = defaults_new() };
	struct command *c = malloc(sizeof(*c));
	unsigned number = 0, before = report->errors;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int error = 0;

	if (c == NULL || from.defaults == NULL)
		error = -ENOMEM;
	while (error == 0) {
		errno = 0;
		len = getline(&line, &size, in);
		if (len < 0) {
			error = feof(in) ? 0 : errno > 0 ? -errno : -EIO;
			break;
		}
		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		number++;
		if (run_line(c, &from, line, (size_t)len))
			continue;
		if (report->errors - before == MOST_ERRORS) {
			fprintf(report->out, "... and more errors\n");
			break;
		}
		report_error(report, c, name, number, line, (size_t)len);
	}
	free(line);
	free(c);
	defaults_free(from.defaults);
	if (error == 0 && report->errors > before)
		error = -EINVAL;
	return error;
}

int
config_load_file(struct proxy *p, const char *path, struct config_report *report)
{
	FILE *in = fopen(path, "re");
	int error = in != NULL ? load(p, in, path, report) : -errno;

	if (error < 0 && error != -EINVAL)
		fprintf(report->out, "sconced: %s: %s\n", path, sconce_strerror(error));
	if (in != NULL)
		fclose(in);
	return error;
}

int
config_load_text(struct proxy *p, const char *name, const char *text, struct config_report *report)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int error;

	if (in == NULL)
		return -errno;
	error = load(p, in, name, report);
	fclose(in);
	return error;
}

/* ---- the whole ---- */

/* Whether it says a port alone, or *: every address there is. */
static bool
everywhere(const char *listen)
{
	size_t len = strcspn(listen, "?");

	return listen[0] == '*' || memchr(listen, ':', len) == NULL;
}

static bool
any_address(const struct sconce_addr *a)
{
	if (a->any.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* Whether a listener on `a` leaves none to one on `b`.  Not told are the cases where only the kernel knows. */
static bool
takes(const char *a_text, const struct sconce_addr *a, const struct sconce_addr *b)
{
	bool path = a->any.sa_family == AF_UNIX;

	if (path != (b->any.sa_family == AF_UNIX))
		return false;
	if (path)
		return a->len == b->len && memcmp(&a->un, &b->un, a->len) == 0;
	if (sconce_addr_port(a) == 0 || sconce_addr_port(a) != sconce_addr_port(b))
		return false;
	if (everywhere(a_text))
		return true;
	if (a->any.sa_family != b->any.sa_family)
		return false;
	return any_address(a) || (a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0);
}

static bool
same_place(const struct service *a, const struct service *b)
{
	struct sconce_addr x, y;

	if (sconce_addr_parse(a->conf.listen, &x, NULL) < 0 || sconce_addr_parse(b->conf.listen, &y, NULL) < 0)
		return false;
	if (strstr(a->conf.listen, "reuseport=1") != NULL && strstr(b->conf.listen, "reuseport=1") != NULL)
		return false;
	return takes(a->conf.listen, &x, &y) || takes(b->conf.listen, &y, &x);
}

/* The enabled service from `l` on; NULL for none. */
static struct service *
next_enabled(struct proxy *p, struct link *l)
{
	for (; l != &p->services; l = l->next) {
		struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);

		if (sv->enabled)
			return sv;
	}
	return NULL;
}

static void
check_service(struct proxy *p, struct service *sv, const char *name, struct config_report *report)
{
	const struct pool *pool = sv->conf.pool;

	for (struct service *b = next_enabled(p, sv->link.next); b != NULL; b = next_enabled(p, b->link.next)) {
		if (!same_place(sv, b))
			continue;
		fprintf(report->out, "sconced: %s: service %s cannot listen on %s: service %s does, on %s\n", name, b->name,
		    b->conf.listen, sv->name, sv->conf.listen);
		report->errors++;
	}
	if (pool->node_count == 0)
		fprintf(report->out, "sconced: %s: warning: pool %s has no nodes: clients of service %s will get 503\n", name,
		    pool->name, sv->name);
}

int
config_check(struct proxy *p, const char *name, struct config_report *report)
{
	struct service *sv = next_enabled(p, p->services.next);
	unsigned before = report->errors;

	if (sv == NULL) {
		fprintf(report->out, "sconced: %s: no service is enabled, so there is nothing to listen on\n", name);
		report->errors++;
	}
	for (; sv != NULL; sv = next_enabled(p, sv->link.next))
		check_service(p, sv, name, report);
	return report->errors > before ? -EINVAL : 0;
}

static int
open_services(struct proxy *p, int (*open)(struct service *sv), struct sconce_fail *fail_out)
{
	for (struct service *sv = next_enabled(p, p->services.next); sv != NULL; sv = next_enabled(p, sv->link.next)) {
		int error = open(sv);

		if (error == 0)
			continue;
		snprintf(fail_out->text, sizeof(fail_out->text), "service %s: cannot listen on %s: %s", sv->name,
		    sv->conf.listen, sconce_strerror(error));
		return error;
	}
	return 0;
}

int
config_try(struct proxy *p, struct sconce_fail *fail_out)
{
	return open_services(p, service_try, fail_out);
}

int
config_open(struct proxy *p, struct sconce_fail *fail_out)
{
	int error = open_services(p, service_take_over, fail_out);

	sconce_process_inherited_close(p->process);	/* they could be in the way of what is bound now */
	return error == 0 ? open_services(p, service_open, fail_out) : error;
}
