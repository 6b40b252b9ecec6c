/* What errors in a file need besides a sentence: the line with a mark under what is wrong, and how near a name is to
 * another.  They know nothing of options: the other files of the configuration call them, and programs that read files
 * of another form. */
#include "conf_private.h"

#include <limits.h>
#include <string.h>

enum {
	SHOWN_BYTES = 160,		/* of a long line, SHOWN_BEFORE of them before the place */
	SHOWN_BEFORE = 60,
	LONGEST = 60			/* names that are compared */
};

/* Dots and blanks before the line, dots behind it; the same for the mark; every byte as %XX: */
_Static_assert(SCONCE_CONF_SHOWN >= 2 * (7 + SHOWN_BYTES * 3 + 1) + 3 + 1 + 1, "the two lines fit");

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

void
sconce__conf_put_clean(char **out, const char *text)
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
boundary(const char *line, size_t len, size_t at)
{
	for (int i = 0; i < 3 && at > 0 && at < len && ((unsigned char)line[at] & 0xc0) == 0x80; i++)
		at--;
	return at;
}

/* Puts the two lines of sconce_conf_show() into a text of SCONCE_CONF_SHOWN; `at` is at most `len`. */
static void
put_place(char *out, const char *line, size_t len, size_t at, size_t count)
{
	bool late = len > SHOWN_BYTES && at > SHOWN_BEFORE;
	size_t begin = late ? boundary(line, len, at - SHOWN_BEFORE) : 0;
	size_t end = len - begin > SHOWN_BYTES ? boundary(line, len, begin + SHOWN_BYTES) : len;
	char blanks[SHOWN_BYTES * 3 + 1], *blank = blanks;
	unsigned marked = 0, columns;

	out += sprintf(out, "%s", begin > 0 ? "    ..." : "    ");
	for (size_t i = begin, n; i < end; i += n) {
		bool tab = line[i] == '\t';

		n = 1;
		columns = 1;
		if (tab)			/* stays a tab in both lines, so that the mark stands right */
			*out++ = '\t';
		else
			n = put_shown(&out, line + i, end - i, &columns);
		if (i + n <= at)
			put_times(&blank, tab ? '\t' : ' ', columns);
		else if (count > 0 && (i < at || i - at < count))
			marked += columns;
	}
	out += sprintf(out, "%s\n%s", end < len ? "..." : "", begin > 0 ? "       " : "    ");
	memcpy(out, blanks, (size_t)(blank - blanks));
	out += blank - blanks;
	*out++ = '^';
	put_times(&out, '~', marked > 0 ? marked - 1 : 0);
	strcpy(out, "\n");
}

char *
sconce_conf_show(const char *line, size_t len, size_t at, size_t count, char *buf, size_t size)
{
	char text[SCONCE_CONF_SHOWN];

	put_place(text, line, len, at < len ? at : len, count);
	snprintf(buf, size, "%s", text);
	return buf;
}

/* ---- what was meant ---- */

static unsigned
least_of(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned
sconce_conf_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][LONGEST + 1], *two = rows[0], *one = rows[1], *now = rows[2], *spare;

	if (a_len > LONGEST || b_len > LONGEST)
		return UINT_MAX;
	for (size_t j = 0; j <= b_len; j++)
		one[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least_of(least_of(now[j - 1], one[j]) + 1, one[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least_of(now[j], two[j - 2] + 1);
		}
		spare = two, two = one, one = now, now = spare;
	}
	return one[b_len];
}
