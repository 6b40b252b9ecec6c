/* Errors of a configuration as texts for people: the place, what is wrong, the line as conf_show.c shows it, and the
 * option that may have been meant.  Called by the other files of the configuration. */
#include "conf_private.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_TOLD = 100,		/* errors in words; the others are counted */
	TAIL = 80			/* room for the line about the others */
};

/* ---- telling ---- */

/* Makes room for `size` bytes, and always for the last line. */
static bool
reserve(struct sconce_conf *conf, size_t size)
{
	size_t need = conf->errors.len + size + TAIL, room = conf->errors.room;
	char *text;

	if (need <= room)
		return true;
	while (room < need)
		room *= 2;
	text = realloc(conf->errors.text, room);
	if (text == NULL)
		return false;
	conf->errors.text = text;
	conf->errors.room = room;
	return true;
}

/* Ends the text with a line about the errors that are not told in words. */
static void
put_tail(struct sconce_conf *conf)
{
	size_t more = conf->errors.count - conf->errors.told;
	char *tail = conf->errors.text + conf->errors.len;

	*tail = '\0';
	if (more > 0)
		snprintf(tail, TAIL, conf->errors.told == MOST_TOLD ? "and %zu more\n" :
			"and %zu more: there is no memory to tell them\n", more);
}

static void
tell(struct sconce_conf *conf, const char *where, const char *excerpt, const char *why)
{
	/* once an error has found no room the next ones are not told either: the line about them stands at the end */
	bool all = conf->errors.told == conf->errors.count && conf->errors.told < MOST_TOLD;
	char *out;

	conf->errors.count++;
	if (all && reserve(conf, strlen(where) * 3 + strlen(why) * 3 + strlen(excerpt) + 8)) {
		out = conf->errors.text + conf->errors.len;
		sconce__conf_put_clean(&out, where);
		out += sprintf(out, "%s", where[0] != '\0' ? ": " : "");
		sconce__conf_put_clean(&out, why);
		out += sprintf(out, "\n%s", excerpt);
		conf->errors.len = (size_t)(out - conf->errors.text);
		conf->errors.told++;
	}
	put_tail(conf);
}

void
sconce__conf_tell(struct sconce_conf *conf, const char *where, const char *excerpt, const char *format, ...)
{
	char why[768];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	tell(conf, where, excerpt, why);
}

/* "file:line:column"; a name that is too long keeps its end, which says more. */
static const char *
file_place(char *buf, size_t size, const char *file, unsigned line, unsigned column)
{
	size_t len = strlen(file), most = size - 32;

	snprintf(buf, size, "%s%s:%u:%u", len > most ? "..." : "", len > most ? file + len - most : file, line, column);
	return buf;
}

void
sconce__conf_tell_place(struct sconce_conf *conf, const struct place *place, const char *format, ...)
{
	char where[600], excerpt[SCONCE_CONF_SHOWN], why[512];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	sconce_conf_show(place->text, place->len, place->at, place->count, excerpt, sizeof(excerpt));
	tell(conf, file_place(where, sizeof(where), place->file, place->line, (unsigned)place->at + 1), excerpt, why);
}

void
sconce__conf_tell_value(struct sconce_conf *conf, const struct key *key, enum sconce_conf_source source,
	const struct value *value, const char *why)
{
	char buf[600];
	const char *where = sconce__conf_source_name(source);

	if (value->line > 0)
		where = file_place(buf, sizeof(buf), value->file, value->line, value->column);
	sconce__conf_tell(conf, where, value->excerpt, "%s: %s", key->option->name, why);
}

const char *
sconce__conf_source_name(enum sconce_conf_source source)
{
	static const char *const names[SCONCE_CONF_SOURCES] = {
		[SCONCE_CONF_DEFAULT] = "the default", [SCONCE_CONF_FILE] = "the configuration file",
		[SCONCE_CONF_RUN] = "the program", [SCONCE_CONF_ARGV] = "the command line",
		[SCONCE_CONF_CODE] = "the program",
	};

	return names[source];
}

const char *
sconce_conf_errors(const struct sconce_conf *conf)
{
	return conf->errors.text;
}

size_t
sconce_conf_error_count(const struct sconce_conf *conf)
{
	return conf->errors.count;
}

void
sconce_conf_clear_errors(struct sconce_conf *conf)
{
	conf->errors.len = conf->errors.count = conf->errors.told = 0;
	conf->errors.text[0] = '\0';
}

/* ---- what was meant ---- */

const char *
sconce__conf_nearest(const struct sconce_conf *conf, const char *name, size_t len)
{
	const char *best = NULL;
	unsigned nearest = 1 + (unsigned)len / 4, d;		/* further away it would be guessing */
	char plain[QUOTE_MAX];

	if (len > sizeof(plain))
		return NULL;
	for (size_t i = 0; i < len; i++)
		plain[i] = name_letter(name[i]);
	for (size_t i = 0; i < conf->key_count; i++) {
		const char *option = conf->keys[i].option->name;

		d = sconce_conf_distance(plain, len, option, strlen(option));
		if (best == NULL ? d <= nearest : d < nearest) {
			best = option;
			nearest = d;
		}
	}
	return best;
}
