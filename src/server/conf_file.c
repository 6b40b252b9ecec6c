/* Configuration files: one "key value" a line.  Every line is tried, so that all errors are told at once. */
#include "conf_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <sconce/loop.h>

enum {
	LONGEST_LINE = 64 * 1024,
	LARGEST_FILE = 16 * 1024 * 1024
};

/* ---- reading ---- */

/* Nothing that would block or never end; /dev/null stands for a file with nothing in it. */
static const char *
refusal(const struct stat *st)
{
	if (S_ISREG(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3)))
		return NULL;
	return S_ISDIR(st->st_mode) ? "it is a directory" : "it is not a regular file";
}

/* All bytes of an fd.  0 or -errno. */
static int
read_all(int fd, char **bytes_out, size_t *len_out)
{
	size_t len = 0, room = 0;
	char *bytes = NULL, *more;
	ssize_t n;

	for (;;) {
		if (len == room) {
			room = room == 0 ? 8192 : room * 2;
			more = realloc(bytes, room);
			if (more == NULL) {
				n = -ENOMEM;
				break;
			}
			bytes = more;
		}
		n = read(fd, bytes + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		n = n < 0 ? -errno : n;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > LARGEST_FILE) {
			n = -EFBIG;
			break;
		}
	}
	if (n < 0) {
		free(bytes);
		return (int)n;
	}
	*bytes_out = bytes;
	*len_out = len;
	return 0;
}

static void
tell_unread(struct sconce_conf *conf, const char *path, const char *why)
{
	sconce__conf_tell(conf, path, "", "cannot be read: %s", why);
}

/* Gives what is in a file, or tells why it cannot be had. */
static int
load(struct sconce_conf *conf, const char *path, char **bytes_out, size_t *len_out)
{
	/* a FIFO must not keep us waiting, nor a terminal become ours */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), r = fd < 0 ? -errno : 0;
	const char *why = NULL;
	struct stat st;

	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0) {
		why = refusal(&st);
		r = why == NULL ? read_all(fd, bytes_out, len_out) : S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	if (fd >= 0)
		close(fd);
	if (r == -EFBIG)
		why = "it has more than 16 MiB";
	if (r < 0)
		tell_unread(conf, path, why != NULL ? why : sconce_strerror(r));
	return r;
}

/* ---- lines ---- */

/* A line being read: what is before `at` is done. */
struct line {
	struct sconce_conf *conf;
	struct place place;		/* the whole line; at, count: what is looked at */
	const char *text;
	size_t len, at;
	char *scratch;			/* room for a value */
	bool keep_unknown;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void
skip_blanks(struct line *l)
{
	while (l->at < l->len && is_blank(l->text[l->at]))
		l->at++;
}

/* Whether nothing but a comment follows: "#" at the start, or after a blank. */
static bool
at_end(const struct line *l)
{
	return l->at == l->len || (l->text[l->at] == '#' && (l->at == 0 || is_blank(l->text[l->at - 1])));
}

static void
mark(struct line *l, size_t at, size_t count)
{
	l->place.at = at;
	l->place.count = count;
}

static void
tell_unknown(struct line *l, const char *name, size_t len)
{
	const char *near = sconce__conf_nearest(l->conf, name, len);

	sconce__conf_tell_place(l->conf, &l->place, "there is no option '%.*s%s'%s%s%s", QUOTE(name, len),
		near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* The key at the beginning; NULL: it is none of ours, which has been told when it is an error. */
static struct key *
take_key(struct line *l)
{
	size_t begin;
	struct key *key;

	if (l->len - l->at > 2 && memcmp(l->text + l->at, "--", 2) == 0)
		l->at += 2;
	begin = l->at;
	while (l->at < l->len && !is_blank(l->text[l->at]) && l->text[l->at] != '=' && l->text[l->at] != ':')
		l->at++;
	key = sconce__conf_find(l->conf, l->text + begin, l->at - begin);
	mark(l, begin, l->at - begin);
	if (key == NULL && !l->keep_unknown)
		tell_unknown(l, l->text + begin, l->at - begin);
	if (key == NULL || !(key->option->kind & SCONCE_CONF_NO_FILE))
		return key;
	sconce__conf_tell_place(l->conf, &l->place, "%s: this is for the command line only", key->option->name);
	return NULL;
}

/* What is between quotes, as it stands there.  False: it was wrong, and has been told. */
static bool
take_quoted(struct line *l, const char **value, size_t *len)
{
	size_t begin = l->at++;
	const char *end = memchr(l->text + l->at, l->text[begin], l->len - l->at);

	mark(l, begin, 1);
	if (end == NULL) {
		sconce__conf_tell_place(l->conf, &l->place, "the value begins with %c and does not end with it",
			l->text[begin]);
		return false;
	}
	*value = l->text + l->at;
	*len = (size_t)(end - *value);
	l->at += *len + 1;
	mark(l, begin, l->at - begin);
	skip_blanks(l);
	if (at_end(l))
		return true;
	mark(l, l->at, l->len - l->at);
	sconce__conf_tell_place(l->conf, &l->place, "there is text behind the quotes: put them around the whole value");
	return false;
}

/* Up to the comment or the end, without the blanks before it; "\#" is "#". */
static void
take_plain(struct line *l, const char **value, size_t *len)
{
	size_t begin = l->at, raw = 0, to = 0;

	while (!at_end(l)) {
		if (l->text[l->at] == '\\' && l->at + 1 < l->len && l->text[l->at + 1] == '#')
			l->at++;
		l->scratch[to++] = l->text[l->at++];
		if (!is_blank(l->text[l->at - 1])) {
			*len = to;
			raw = l->at - begin;
		}
	}
	*value = l->scratch;
	mark(l, begin, raw);
}

/* Finds the value behind a key.  False: it was wrong, and has been told. */
static bool
take_value(struct line *l, const struct key *key, const char **value, size_t *len)
{
	bool said = false, apart = l->at < l->len && is_blank(l->text[l->at]);

	skip_blanks(l);
	/* "host ::1" has no separator but the blank: ':' behind one is a separator only before another */
	if (l->at < l->len && (l->text[l->at] == '=' || (l->text[l->at] == ':' &&
	    (!apart || l->at + 1 == l->len || is_blank(l->text[l->at + 1]))))) {
		l->at++;
		said = true;
		skip_blanks(l);
	}
	if (at_end(l) && (said || kind_of(key->option) != SCONCE_CONF_FLAG)) {
		sconce__conf_tell_place(l->conf, &l->place, "%s needs a value; an empty one is \"\"", key->option->name);
		return false;
	}
	if (at_end(l)) {			/* a flag alone */
		*value = "1";
		*len = 1;
		return true;
	}
	if (l->text[l->at] == '"' || l->text[l->at] == '\'')
		return take_quoted(l, value, len);
	take_plain(l, value, len);
	return true;
}

/* Takes one line, without its end.  0 or -ENOMEM; what is wrong is told. */
static int
take_line(struct line *l)
{
	const char *value = "", *nul;
	size_t len = 0;
	struct key *key;

	if (l->len > LONGEST_LINE) {
		sconce__conf_tell_place(l->conf, &l->place, "a line of %zu bytes: at most %d", l->len, LONGEST_LINE);
		return 0;
	}
	nul = memchr(l->text, '\0', l->len);
	if (nul != NULL) {
		mark(l, (size_t)(nul - l->text), 1);
		sconce__conf_tell_place(l->conf, &l->place, "a NUL byte: this is not a text file");
		return 0;
	}
	skip_blanks(l);
	if (at_end(l))
		return 0;
	key = take_key(l);
	if (key == NULL || !take_value(l, key, &value, &len))
		return 0;
	return sconce__conf_say(key, SCONCE_CONF_FILE, value, len, &l->place);
}

/* All lines; they end in LF, CR LF, or with the file. */
static int
take_lines(struct line *l, const char *bytes, size_t len)
{
	const char *end = bytes + len, *next;
	int r = 0;

	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		bytes += 3;			/* a byte order mark */
	for (; r == 0 && bytes < end; bytes = next + 1) {
		next = memchr(bytes, '\n', (size_t)(end - bytes));
		if (next == NULL)
			next = end;
		l->text = bytes;
		l->at = 0;
		l->len = (size_t)(next - bytes);
		if (l->len > 0 && bytes[l->len - 1] == '\r')
			l->len--;
		l->place.line++;
		l->place.text = l->text;
		l->place.len = l->len;
		mark(l, 0, 0);
		r = take_line(l);
	}
	return r;
}

/* What was loaded.  0, -EINVAL (errors were told) or -ENOMEM (nothing was said). */
static int
take_file(struct sconce_conf *conf, const char *path, unsigned flags, const char *bytes, size_t len)
{
	struct line l = { .conf = conf, .place.file = path, .keep_unknown = flags & SCONCE_CONF_KEEP_UNKNOWN };
	size_t before = conf->errors.count;
	struct saying **held = sconce__conf_hold(conf, SCONCE_CONF_FILE);
	int r = -ENOMEM;

	l.scratch = malloc(LONGEST_LINE);
	if (held != NULL && l.scratch != NULL)
		r = take_lines(&l, bytes, len);
	if (held != NULL)
		sconce__conf_release(conf, SCONCE_CONF_FILE, held, r < 0);
	free(l.scratch);
	if (r < 0)				/* an error too: else an apply would go on without the file */
		tell_unread(conf, path, sconce_strerror(r));
	return r < 0 ? r : conf->errors.count > before ? -EINVAL : 0;
}

int
sconce_conf_file(struct sconce_conf *conf, const char *path, unsigned flags)
{
	char *bytes = NULL;
	size_t len = 0;
	int r = load(conf, path, &bytes, &len);

	if (r == 0) {
		r = take_file(conf, path, flags, bytes, len);
		if (r == -EINVAL && conf->applied > 0)
			sconce__conf_check(conf);	/* tells what else is wrong, before it is forgotten */
	}
	if (r < 0)
		sconce__conf_forget(conf);
	free(bytes);
	return r;
}
