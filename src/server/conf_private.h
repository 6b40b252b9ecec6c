/* What the files of the configuration share.
 *
 * A key is an option of a table.  What one source says of a key is a saying: one value, or those of a list.  There are
 * three states of all sayings:
 *
 *	BEFORE <--apply-- FORCE <--apply-- DRAFT <-- set, unset, argv, file
 *	       --revert->       --failure->
 *
 * DRAFT is what the next apply looks at, FORCE what the last one stored, BEFORE what the one before that stored.  A draft
 * that fails is thrown away, but for the first: there is nothing to go back to.  The states share sayings, and these share values, so both are counted, and never changed while they are shared. */
#ifndef SCONCE_CONF_PRIVATE_H
#define SCONCE_CONF_PRIVATE_H

#include <stdint.h>
#include <sconce/conf.h>

/* One value as it was said.  Its text is what structs point to. */
struct value {
	unsigned refs;
	unsigned line, column;		/* from 1; 0: not in a file */
	double number;			/* what it comes to, for all kinds but texts; checked values only */
	const char *file;		/* behind the text; "": no file */
	const char *excerpt;		/* behind the text: the line, and a mark under the value; "": none */
	char text[];
};

struct saying {
	unsigned refs;
	size_t count, room;
	const char *texts[];		/* each is the text of a value */
};

enum state { DRAFT, FORCE, BEFORE, STATES };

/* What a member can hold. */
union member {
	bool flag;
	int integer;
	double number;
	const char *text;
	struct sconce_conf_list list;
};

struct key {
	const struct sconce_conf_option *option;
	char *base;
	struct saying *said[STATES][SCONCE_CONF_SOURCES];
	struct saying *kept;		/* of an option that is stored once: what was */
	union member own;		/* what the member held before anything was stored into it */
	bool touched;			/* `own` is set */
	enum { UNSETTLED, SETTLED_JUST_NOW, SETTLED } settled;	/* of an option that is stored once */
};

struct sconce_conf {
	struct key *keys;
	size_t key_count;
	unsigned applied;		/* how often; 2: or more */
	bool revertible;		/* BEFORE is what the last apply found */
	struct {
		char *text;		/* `len` bytes of whole errors, then one line about the rest, if any, and a NUL */
		size_t len, room;
		size_t count, told;
	} errors;
};

/* Where in a file a value, or what is wrong, stands. */
struct place {
	const char *file;
	unsigned line;
	const char *text;		/* the line */
	size_t len;
	size_t at, count;		/* the bytes of it that are meant */
};

/* conf.c */

/* The key of that name, "-" and "_" being the same; NULL: there is none. */
struct key *sconce__conf_find(const struct sconce_conf *conf, const char *name, size_t len);
/* Says a value of a key; `place` may be NULL.  0 or -ENOMEM. */
int sconce__conf_say(struct key *key, enum sconce_conf_source source, const char *text, size_t len,
	const struct place *place);
/* The saying that wins, and its source (may be NULL); NULL: nobody said anything. */
struct saying *sconce__conf_winner(const struct key *key, enum state state, enum sconce_conf_source *source_out);
/* Makes a state of all keys the same as another. */
void sconce__conf_copy(struct sconce_conf *conf, enum state to, enum state from);
/* Throws the draft away, once there is something else in force. */
void sconce__conf_forget(struct sconce_conf *conf);
struct saying *sconce__conf_share(struct saying *s);
void sconce__conf_drop(struct saying *s);

/* All that a source says, so that a call that has no memory can undo what it did: `hold` gives NULL without memory; what
 * it gives is ended by `release`, which, when `undo`, puts everything back first. */
struct saying **sconce__conf_hold(struct sconce_conf *conf, enum sconce_conf_source source);
void sconce__conf_release(struct sconce_conf *conf, enum sconce_conf_source source, struct saying **held, bool undo);

static inline struct value *
value_of(const char *text)
{
	return (struct value *)(void *)((char *)(uintptr_t)text - offsetof(struct value, text));
}

/* conf_apply.c: checks the draft, and tells what is wrong in it. */
void sconce__conf_check(struct sconce_conf *conf);

/* In names "-" and "_" are the same. */
static inline char
name_letter(char c)
{
	return c == '-' ? '_' : c;
}

static inline enum sconce_conf_kind
kind_of(const struct sconce_conf_option *o)
{
	return (enum sconce_conf_kind)(o->kind & ~(unsigned)(SCONCE_CONF_ONCE | SCONCE_CONF_NO_FILE));
}

/* conf_error.c */

enum { QUOTE_MAX = 60 };
/* For printf's "'%.*s%s'": a text of other people, cut when it is long. */
#define QUOTE(text, len) (int)((len) < QUOTE_MAX ? (len) : QUOTE_MAX), (text), (len) > QUOTE_MAX ? "..." : ""

/* Tells an error: "where: why", and the excerpt (may be ""). */
void sconce__conf_tell(struct sconce_conf *conf, const char *where, const char *excerpt, const char *format, ...)
	SCONCE_PRINTF(4, 5);
/* The same for a place in a file, and for a value of a key, told with the key's name. */
void sconce__conf_tell_place(struct sconce_conf *conf, const struct place *place, const char *format, ...)
	SCONCE_PRINTF(3, 4);
void sconce__conf_tell_value(struct sconce_conf *conf, const struct key *key, enum sconce_conf_source source,
	const struct value *value, const char *why);
/* How a source is called, where there is no file and line. */
const char *sconce__conf_source_name(enum sconce_conf_source source);
/* The name of an option that may have been meant; NULL: none is near enough. */
const char *sconce__conf_nearest(const struct sconce_conf *conf, const char *name, size_t len);

/* conf_show.c: puts a text that stays one line, whatever is in it; at most three times its bytes. */
void sconce__conf_put_clean(char **out, const char *text);

#endif
