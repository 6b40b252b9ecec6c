/* Options of a program: from its code, the command line, a file and defaults, with one order of precedence, checked
 * together, and every error told with the place it came from.
 *
 *	struct chat_options { const char *motd; int max_line; struct sconce_conf_list ops; bool quiet; };
 *	static const struct sconce_conf_option options[] = {
 *		{ "motd", SCONCE_CONF_TEXT, offsetof(struct chat_options, motd), "TEXT", "what a guest is greeted with" },
 *		{ "max_line", SCONCE_CONF_INT, offsetof(struct chat_options, max_line), "BYTES", ..., .min = 1, .max = 65536 },
 *		...
 *	};
 *	sconce_conf_new(&conf);
 *	sconce_conf_add(conf, options, n, &opts);
 *	sconce_conf_set(conf, SCONCE_CONF_DEFAULT, "motd", "hello");
 *	sconce_conf_argv(conf, &argc, argv);
 *	sconce_conf_file(conf, "/etc/chat.conf", 0);
 *	if (sconce_conf_apply(conf) < 0)
 *		fputs(sconce_conf_errors(conf), stderr);
 *
 * What a server of sconce/server.h takes is such a table, to which a program adds its own.  This header is also for
 * programs that have no server.
 *
 * The file: one "key value" a line; between them blanks, "=" or ":"; "--" before the key is allowed.  "#" begins a
 * comment at the start of a line or after a blank; "\#" is a "#".  A value may be put in double or single quotes, in
 * which everything, "#" and "\" too, stands for itself; blanks around it are not part of it, and it is not decoded in
 * any way.  Key = "" is the empty value; a flag alone is 1.  A key of kind LIST may be said any number of times.  Lines
 * end in LF or CR LF and have at most 64 KiB, a file 16 MiB; a byte order mark is skipped.
 *
 * The command line: --key=value, --key value, key=value, key value; a flag takes a value only behind "=", and --no-key
 * is --key=0.  "-" and "_" in a key are the same.  A value that begins with "--" is said behind "=".  "--" ends the
 * options.  What is no option stays in argv, also what begins with one "-".  A program that has arguments of its
 * own, any of which could be called like an option, says SCONCE_CONF_DASHES.
 *
 * To read the file again, in a program that runs:
 *
 *	sconce_conf_clear_errors(conf);
 *	sconce_conf_unset(conf, SCONCE_CONF_FILE, NULL);
 *	sconce_conf_file(conf, path, 0);
 *	if (sconce_conf_apply(conf) < 0)
 *		... sconce_conf_errors(conf) says why; all is as it was before these calls ...
 *	else if (... the program itself finds something wrong ...)
 *		sconce_conf_revert(conf);
 *
 * One thread at a time.  Nothing here runs hooks, but for an option's `check`. */
#ifndef SCONCE_CONF_H
#define SCONCE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sconce/export.h>

SCONCE_BEGIN_DECLS

/* Where a value comes from, the weakest first.  The strongest source that says a key wins entirely: lists of different
 * sources are not joined.  Within one source values of a list accumulate; of other kinds the last one counts. */
enum sconce_conf_source {
	SCONCE_CONF_DEFAULT,		/* the program's defaults */
	SCONCE_CONF_FILE,		/* a configuration file */
	SCONCE_CONF_RUN,		/* what the program gives to its run() */
	SCONCE_CONF_ARGV,		/* the command line */
	SCONCE_CONF_CODE,		/* what the program insists on */
	SCONCE_CONF_SOURCES		/* (how many there are) */
};

/* The kinds of values, and the type of the member that gets them. */
enum sconce_conf_kind {
	SCONCE_CONF_FLAG,		/* bool: 1 0 yes no on off true false */
	SCONCE_CONF_INT,		/* int: decimal, or 0x..., or 0... (octal, as umask is written) */
	SCONCE_CONF_NUMBER,		/* double: decimal */
	SCONCE_CONF_TEXT,		/* const char *: owned by the configuration */
	SCONCE_CONF_LIST,		/* struct sconce_conf_list: texts */
	/* Added to one of them, for what cannot change while the program runs: only the first sconce_conf_apply() that
	 * succeeds stores it.  Later ones check it, and leave the member, whose text is good until sconce_conf_free(). */
	SCONCE_CONF_ONCE = 0x100,
	/* Likewise, for what makes sense on the command line, or in the program, only: in a file it is an error. */
	SCONCE_CONF_NO_FILE = 0x200
};

struct sconce_conf_list {
	size_t count;
	const char *const *values;	/* owned by the configuration */
};

struct sconce_conf_option {
	const char *name;		/* letters, digits, "_"; not NULL */
	unsigned kind;			/* enum sconce_conf_kind */
	size_t offset;			/* of the member in the struct given to sconce_conf_add() */
	const char *value;		/* what it takes, for the help: "PATH"; NULL for flags */
	const char *help;		/* one line; NULL: not listed */
	double min, max;		/* of INT and NUMBER, inclusive; both 0: any; INFINITY: no bound */
	/* Looks at one value (of LIST: each) of those that won; sconce_conf_apply() calls it.  Returns true, or false with a
	 * sentence in `why` (of `size` bytes with its NUL) that goes behind "name: ".  NULL: nothing more to check. */
	bool (*check)(const char *value, char *why, size_t size);
};

struct sconce_conf;

/* Makes an empty configuration.  Returns 0, or -ENOMEM. */
SCONCE_API int sconce_conf_new(struct sconce_conf **conf_out);
/* Frees it and every text it gave; the structs are not touched.  NULL is allowed. */
SCONCE_API void sconce_conf_free(struct sconce_conf *conf);

/* Adds options, whose values sconce_conf_apply() stores into the struct at `base`.  The table is kept by reference, and
 * so is `base`.  Any number of tables may be added, before what they hold is read.
 * Returns 0, -ENOMEM, or -EEXIST when one of the names is there already (nothing is added). */
SCONCE_API int sconce_conf_add(struct sconce_conf *conf, const struct sconce_conf_option *options, size_t count,
	void *base);

/* Says a value: `value` is copied.  Returns 0, -ENOENT (no such option) or -ENOMEM.  A value that is wrong for its
 * kind is told by sconce_conf_apply(). */
SCONCE_API int sconce_conf_set(struct sconce_conf *conf, enum sconce_conf_source source, const char *name,
	const char *value);
/* Takes back what a source said of a key (NULL: of all).  Structs keep what they have until sconce_conf_apply(). */
SCONCE_API void sconce_conf_unset(struct sconce_conf *conf, enum sconce_conf_source source, const char *name);

/* Takes the options out of a command line; argv[0] and what is no option stay, in their order, and *argc is what is
 * left.  argv[*argc] is NULL afterwards.  The texts are copied; the pointers in argv are only moved.  Not for more than
 * one command line: lists would add up.
 * An unknown "--key" is an error, unless SCONCE_CONF_KEEP_UNKNOWN leaves it where it is, with the argument behind it,
 * which may be its value (not behind "--key=value", nor when it begins with "--").  With that flag "--" stays as well.
 * With SCONCE_CONF_DASHES only words that begin with "--" are options: "key=value" and "key value" stay.
 * A key that needs a value and has none is an error.
 * Returns 0; -EINVAL (see sconce_conf_errors(); all else was taken), or -ENOMEM (nothing was taken, and argv is as
 * before). */
SCONCE_API int sconce_conf_argv(struct sconce_conf *conf, int *argc, char **argv, unsigned flags);

/* Reads a file, of which every wrong line is told.  Unknown keys are errors (with the nearest that there is), unless
 * SCONCE_CONF_KEEP_UNKNOWN says that they are somebody else's: those lines are left out.  More than one file may be
 * read: they are one source, in the order read.
 * Only regular files are read, and /dev/null; a FIFO or a terminal could make the program wait, and could not be read
 * again.  May read from a slow disk.
 * Returns 0; -EINVAL (there are errors, or it is no regular file); -errno when it cannot be read (-ENOENT, -EACCES,
 * -EISDIR, -EFBIG, -ENOMEM ...), which is an error told as well, so that sconce_conf_apply() fails.
 * After -EINVAL let sconce_conf_apply() tell what else is wrong.  Once one has succeeded, a failure here does that
 * at once, and forgets what was said and taken back since then. */
SCONCE_API int sconce_conf_file(struct sconce_conf *conf, const char *path, unsigned flags);

enum {
	SCONCE_CONF_KEEP_UNKNOWN = 1,
	SCONCE_CONF_DASHES = 2		/* of sconce_conf_argv() alone */
};

/* Checks every value, and stores those that won into the structs.  Values that did not win must be right for their kind
 * and range too, but need not please `check`.  The member of a key that nobody says is left alone, or gets back what it
 * held before a value was stored there.  May be called any number of times.
 * When there is any error, also of a file or the command line read before, nothing is stored; and when an earlier
 * sconce_conf_apply() has succeeded, all that was said and taken back since then is forgotten.
 * Texts and lists that are stored stay good until the second sconce_conf_apply() after that succeeds: what a reload has
 * replaced can still be looked at until the next one.  No memory is kept beyond that.
 * Returns 0 or -EINVAL. */
SCONCE_API int sconce_conf_apply(struct sconce_conf *conf);
/* Takes back the last sconce_conf_apply(), as if it had failed: the structs hold again what they held before.  Texts
 * that it had stored are gone.  Once; without an apply since the last revert nothing happens. */
SCONCE_API void sconce_conf_revert(struct sconce_conf *conf);

/* An error that the program itself finds in a value that won: of `name`, number `index` (0 for what is no list).  It is
 * told with the place where that value was said, if it was.  The text of `format` goes behind "name: ". */
SCONCE_API void sconce_conf_error(struct sconce_conf *conf, const char *name, size_t index, const char *format, ...)
	SCONCE_PRINTF(4, 5);

/* All errors so far, in the order found, as lines for people:
 *	chat.conf:3:1: there is no option 'usr'; did you mean 'user'?
 *	    usr nobody
 *	    ^~~
 * The column counts bytes.  Bytes that are no text are shown as %XX, and of a long line only what is near the place.
 * The first 100 are told, and how many more there are; that too when there is no memory for them.
 * "" when there is none.  Valid until the next call on `conf`. */
SCONCE_API const char *sconce_conf_errors(const struct sconce_conf *conf);
/* How many there are. */
SCONCE_API size_t sconce_conf_error_count(const struct sconce_conf *conf);
/* Forgets them. */
SCONCE_API void sconce_conf_clear_errors(struct sconce_conf *conf);

/* The value that wins at present, as it was said, whatever its kind, and also before it is applied: of a list, number
 * `index`.  NULL when nobody said it, or there are not as many, or no such option.  Valid until the next call that says
 * or takes back the key, sconce_conf_apply(), sconce_conf_file(), sconce_conf_revert() or sconce_conf_free(). */
SCONCE_API const char *sconce_conf_get(const struct sconce_conf *conf, const char *name, size_t index);
/* Where it was said: "chat.conf:3", "the command line", "the program", "the default", "" when nowhere; cut to fit.
 * Returns `buf`. */
SCONCE_API char *sconce_conf_where(const struct sconce_conf *conf, const char *name, size_t index, char *buf,
	size_t size);

/* Prints the options that have a help, in the order added, in 80 columns:
 *	  --user=NAME          become this user after binding
 */
SCONCE_API void sconce_conf_help(const struct sconce_conf *conf, FILE *out);

/* ---- for programs that read files of another form ---- */

enum { SCONCE_CONF_SHOWN = 1024 };	/* the most bytes that sconce_conf_show() writes, with the NUL */

/* Shows a place in a line, as sconce_conf_errors() does: writes two lines of text, that line, or what of a long one is
 * near the place, and a mark under `count` bytes of it from byte `at` (from 0):
 *	    usr nobody
 *	    ^~~
 * Both begin with four blanks and end in LF.  `line` has `len` bytes without its end, and needs no NUL; any byte may be
 * in it: UTF-8 stays as it is, a tab stays a tab, what is no text becomes %XX.  A place behind the end is the end;
 * there, and when `count` is 0, the mark is one "^".
 * At most `size` bytes are written to `buf`, with the NUL; what does not fit is cut.  With SCONCE_CONF_SHOWN all fits.
 * Returns `buf`. */
SCONCE_API char *sconce_conf_show(const char *line, size_t len, size_t at, size_t count, char *buf, size_t size);

/* How far a name is from another: how many letters must be changed, added, left out, or swapped with the next one to
 * make `b` of `a`; 0 when they are the same.  Letters are bytes, and large ones are not small ones.  To ask what may
 * have been meant by a name that there is not: the nearest that there is, if that is not more than, say, 1 + a_len / 4
 * away.
 * Returns UINT_MAX when one of them has more than 60 bytes. */
SCONCE_API unsigned sconce_conf_distance(const char *a, size_t a_len, const char *b, size_t b_len);

SCONCE_END_DECLS

#endif
