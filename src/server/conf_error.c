/* Errors of a configuration as texts for people: the place, what is wrong, the line with a mark under the wrong word,
 * and the option that may have been meant.  Called by the other files of the configuration. */
#include "conf_private.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_TOLD = 100,		/* errors in words; the others are counted */
	TAIL = 80,			/* room for the line about the others */
	SHOWN_BYTES = 160,		/* of a long line, SHOWN_BEFORE of them before the place */
	SHOWN_BEFORE = 60
};

/* ---- texts that are not ours ---- */

/* The character at `p`; returns its bytes, or 0 when it is none that can be shown. */
static size_t
decode(const char *p, size_t len, unsigned *code_out)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc0 && c < 0xe0 ? 2 : 0;
	unsigned code = n < 2 ? c : c & (0xffu >> (n + 1));

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | ((unsigned char)p[i] & 0x3f);
	}
	if (code < ' ' || (code >= 0x7f && code < 0xa0) || code < least[n] || (code >= 0xd800 && code < 0xe000) ||
	    code > 0x10ffff)
		return 0;
	*code_out = code;
	return n;
}

/* How many columns a character takes: letters of East Asia and pictures two, marks that join the letter before none. */
static unsigned
width(unsigned code)
{
	static const struct { unsigned from, to; } wide[] = {
		{ 0x1100, 0x115f }, { 0x2e80, 0xa4cf }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe30, 0xfe6f },
		{ 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1faff }, { 0x20000, 0x3fffd },
	};

	if (code >= 0x300 && code < 0x370)
		return 0;
	for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
		if (code >= wide[i].from && code <= wide[i].to)
			return 2;
	return 1;
}

/* Puts what is at `p` to `*out`: a character, or a byte as %XX.  Returns how many bytes were taken. */
static size_t
put_shown(char **out, const char *p, size_t len, unsigned *width_out)
{
	unsigned code = 0;
	size_t n = decode(p, len, &code);

	if (n == 0) {
		*out += sprintf(*out, "%%%02X", (unsigned char)*p);
		*width_out = 3;
		return 1;
	}
	memcpy(*out, p, n);
	*out += n;
	*width_out = width(code);
	return n;
}

/* Puts a text that stays one line, whatever is in it; at most three times its bytes. */
static void
put_clean(char **out, const char *text)
{
	size_t len = strlen(text);
	unsigned columns;

	for (size_t i = 0; i < len; )
		i += put_shown(out, text + i, len - i, &columns);
}

static void
put_times(char **out, char byte, unsigned count)
{
	memset(*out, byte, count);
	*out += count;
}

/* The bytes that are shown of a long line begin and end with whole characters. */
static size_t
boundary(const struct place *p, size_t at)
{
	for (int i = 0; i < 3 && at > 0 && at < p->len && ((unsigned char)p->text[at] & 0xc0) == 0x80; i++)
		at--;
	return at;
}

void
sconce__conf_excerpt(char *out, const struct place *p)
{
	bool late = p->len > SHOWN_BYTES && p->at > SHOWN_BEFORE;
	size_t begin = late ? boundary(p, p->at - SHOWN_BEFORE) : 0;
	size_t end = p->len - begin > SHOWN_BYTES ? boundary(p, begin + SHOWN_BYTES) : p->len;
	char blanks[SHOWN_BYTES * 3 + 1], *blank = blanks;
	unsigned marked = 0, columns;

	out += sprintf(out, "%s", begin > 0 ? "    ..." : "    ");
	for (size_t i = begin, n; i < end; i += n) {
		bool tab = p->text[i] == '\t';

		n = 1;
		columns = 1;
		if (tab)			/* stays a tab in both lines, so that the mark stands right */
			*out++ = '\t';
		else
			n = put_shown(&out, p->text + i, end - i, &columns);
		if (i < p->at)
			put_times(&blank, tab ? '\t' : ' ', columns);
		else if (i < p->at + p->count)
			marked += columns;
	}
	out += sprintf(out, "%s\n%s", end < p->len ? "..." : "", begin > 0 ? "       " : "    ");
	memcpy(out, blanks, (size_t)(blank - blanks));
	out += blank - blanks;
	*out++ = '^';
	put_times(&out, '~', marked > 0 ? marked - 1 : 0);
	strcpy(out, "\n");
}

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
		put_clean(&out, where);
		out += sprintf(out, "%s", where[0] != '\0' ? ": " : "");
		put_clean(&out, why);
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
	char where[600], excerpt[EXCERPT_MAX], why[512];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	sconce__conf_excerpt(excerpt, place);
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

enum { LONGEST = 60 };			/* names that are compared */

static unsigned
least_of(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* How many letters must be changed, added, left out or swapped.  Neither is longer than LONGEST. */
static unsigned
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][LONGEST + 1], *two = rows[0], *one = rows[1], *now = rows[2], *spare;

	for (size_t j = 0; j <= b_len; j++)
		one[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			bool other = name_letter(a[i - 1]) != name_letter(b[j - 1]);

			now[j] = least_of(least_of(now[j - 1], one[j]) + 1, one[j - 1] + other);
			if (i > 1 && j > 1 && name_letter(a[i - 1]) == name_letter(b[j - 2]) && name_letter(a[i - 2]) == name_letter(b[j - 1]))
				now[j] = least_of(now[j], two[j - 2] + 1);
		}
		spare = two, two = one, one = now, now = spare;
	}
	return one[b_len];
}

const char *
sconce__conf_nearest(const struct sconce_conf *conf, const char *name, size_t len)
{
	const char *best = NULL;
	unsigned nearest = 1 + (unsigned)len / 4, d;		/* further away it would be guessing */

	if (len > LONGEST)
		return NULL;
	for (size_t i = 0; i < conf->key_count; i++) {
		const char *option = conf->keys[i].option->name;

		if (strlen(option) > LONGEST)
			continue;
		d = distance(name, len, option, strlen(option));
		if (best == NULL ? d <= nearest : d < nearest) {
			best = option;
			nearest = d;
		}
	}
	return best;
}
