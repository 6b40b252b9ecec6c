/* Configuration files: every line is tried, every error is shown with its place.
 *
 *	web.conf:4:9: Unknown service parameter 'lisen'; did you mean 'listen'?
 *	    SET web.lisen = 80
 *	            ^~~~~ */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Prints the line and marks the place.  A tab stays a tab, so that the caret stands right. */
static void
show_place(FILE *out, const char *line, struct word where)
{
	unsigned i;

	fprintf(out, "    ");
	for (i = 0; line[i] != '\0'; i++)
		fputc(line[i] == '\t' || ((unsigned char)line[i] >= ' ' && line[i] != 0x7f) ? line[i] : '?', out);
	fprintf(out, "\n    ");
	for (i = 0; i < where.column && line[i] != '\0'; i++)
		fputc(line[i] == '\t' ? '\t' : ' ', out);
	fputc('^', out);
	for (i = 1; i < where.length; i++)
		fputc('~', out);
	fputc('\n', out);
}

static void
report_error(struct config_report *report, const struct command *c, const char *name, unsigned number,
    const char *line)
{
	char message[COMMAND_MESSAGE * 4];

	log_escape(message, sizeof(message), c->message);
	fprintf(report->out, "%s:%u:%u: %s%s%s\n", name, number, c->wrong.column + 1, message,
	    c->hint[0] != '\0' ? "; " : "", c->hint);
	show_place(report->out, line, c->wrong);
	report->errors++;
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
	while (error == 0 && (len = getline(&line, &size, in)) >= 0) {
		number++;
		for (char *nul; (nul = memchr(line, '\0', (size_t)len)) != NULL; )
			*nul = '\1';	/* which no command accepts */
		line[strcspn(line, "\r\n")] = '\0';
		if (!command_run(c, &from, line) && c->message[0] != '\0')
			report_error(report, c, name, number, line);
	}
	if (error == 0 && ferror(in))
		error = -EIO;
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
	int error;

	if (in == NULL) {
		error = -errno;
		fprintf(report->out, "%s: %s\n", path, sconce_strerror(error));
		return error;
	}
	error = load(p, in, path, report);
	if (error < 0 && error != -EINVAL)
		fprintf(report->out, "%s: %s\n", path, sconce_strerror(error));
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

int
config_open(struct proxy *p, struct config_report *report)
{
	struct sconce_fail fail;

	for (struct link *l = p->services.next; l != &p->services; l = l->next) {
		struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);
		int error = sv->enabled ? service_open(sv, &fail) : 0;

		if (error == 0)
			continue;
		fprintf(report->out, "service %s: cannot listen on %s: %s (%s)\n", sv->name, sv->conf.listen,
		    sconce_strerror(error), fail.operation);
		report->errors++;
		return error;
	}
	if (p->listener_count > 0)
		return 0;
	fprintf(report->out, "no service is enabled, so there is nothing to listen on\n");
	report->errors++;
	return -EINVAL;
}
