/* What was said becomes values: each is checked, and only when all are right are those that won stored into the structs
 * of the program, which can be taken back once. */
#include "conf_private.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the kinds ---- */

enum verdict { RIGHT, WRONG, TOO_MUCH, NO_MEMORY };

static enum verdict
flag_of(const char *text, double *out)
{
	static const struct { const char *word; bool flag; } words[] = {
		{ "1", true }, { "0", false }, { "yes", true }, { "no", false }, { "on", true }, { "off", false },
		{ "true", true }, { "false", false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(text, words[i].word) == 0) {
			*out = words[i].flag;
			return RIGHT;
		}
	return WRONG;
}

static int
digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Not strtol(): it takes more than is promised (blanks, and "0b1" in newer C libraries). */
static enum verdict
integer_of(const char *text, double *out)
{
	bool minus = text[0] == '-', more = false;
	long long n = 0;
	int base = 10;

	text += text[0] == '-' || text[0] == '+';
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	} else if (text[0] == '0' && text[1] != '\0') {
		base = 8;
		text++;
	}
	if (*text == '\0')
		return WRONG;
	for (; *text != '\0'; text++) {
		if (digit_of(*text) >= base)
			return WRONG;
		if (n <= INT_MAX)
			n = n * base + digit_of(*text);
		more |= n > (long long)INT_MAX + minus;
	}
	*out = (double)(minus ? -n : n);
	return more ? TOO_MUCH : RIGHT;
}

/* Digits, with a point and a sign perhaps; nothing else that strtod() would take. */
static enum verdict
number_of(const char *text, double *out)
{
	const char *digits = text + (text[0] == '-' || text[0] == '+');
	size_t whole = strspn(digits, "0123456789"), fraction = 0;
	bool point = digits[whole] == '.';
	locale_t c_locale;

	if (point)
		fraction = strspn(digits + whole + 1, "0123456789");
	if (whole + fraction == 0 || digits[whole + point + fraction] != '\0')
		return WRONG;
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);	/* else the point could be a comma */
	if (c_locale == (locale_t)0)
		return NO_MEMORY;
	*out = strtod_l(text, NULL, c_locale);
	freelocale(c_locale);
	return isfinite(*out) ? RIGHT : TOO_MUCH;
}

/* ---- checking ---- */

enum { WHY = 400 };

/* The range, as a sentence about `text`. */
static void
say_range(char *why, const struct sconce_conf_option *o, const char *text)
{
	double min = o->min, max = o->max;
	size_t len = strlen(text);

	if (min == 0 && max == 0) {
		min = kind_of(o) == SCONCE_CONF_INT ? INT_MIN : -HUGE_VAL;
		max = kind_of(o) == SCONCE_CONF_INT ? INT_MAX : HUGE_VAL;
	}
	if (isinf(min) && isinf(max))
		snprintf(why, WHY, "'%.*s%s' is too large a number", QUOTE(text, len));
	else if (isinf(max))
		snprintf(why, WHY, "%.*s%s is less than %.15g", QUOTE(text, len), min);
	else if (isinf(min))
		snprintf(why, WHY, "%.*s%s is more than %.15g", QUOTE(text, len), max);
	else
		snprintf(why, WHY, "%.*s%s is not between %.15g and %.15g", QUOTE(text, len), min, max);
}

/* Why the text is no value of its kind. */
static void
say_kind(char *why, const struct sconce_conf_option *o, const char *text)
{
	size_t len = strlen(text);

	if (kind_of(o) == SCONCE_CONF_FLAG)
		snprintf(why, WHY, "'%.*s%s' is neither yes nor no", QUOTE(text, len));
	else if (kind_of(o) == SCONCE_CONF_NUMBER)
		snprintf(why, WHY, "'%.*s%s' is not a number", QUOTE(text, len));
	else if (len > 1 && text[0] == '0' && strspn(text, "0123456789") == len)
		snprintf(why, WHY, "'%.*s%s' is not an octal number, which is what begins with 0", QUOTE(text, len));
	else
		snprintf(why, WHY, "'%.*s%s' is not a whole number", QUOTE(text, len));
}

/* Finds what a value comes to; when it is wrong, false and why. */
static bool
convert(const struct sconce_conf_option *o, struct value *v, char *why)
{
	enum verdict verdict = RIGHT;

	if (kind_of(o) == SCONCE_CONF_FLAG)
		verdict = flag_of(v->text, &v->number);
	else if (kind_of(o) == SCONCE_CONF_INT)
		verdict = integer_of(v->text, &v->number);
	else if (kind_of(o) == SCONCE_CONF_NUMBER)
		verdict = number_of(v->text, &v->number);
	else
		return true;
	if (verdict == RIGHT && kind_of(o) != SCONCE_CONF_FLAG && (o->min != 0 || o->max != 0) &&
	    !(v->number >= o->min && v->number <= o->max))
		verdict = TOO_MUCH;
	if (verdict == WRONG)
		say_kind(why, o, v->text);
	else if (verdict == TOO_MUCH)
		say_range(why, o, v->text);
	else if (verdict == NO_MEMORY)
		snprintf(why, WHY, "there is no memory to read it");
	return verdict == RIGHT;
}

/* All that one source says of a key.  What did not win need not suit this machine: it has to be of its kind only. */
static void
check_saying(struct sconce_conf *conf, const struct key *key, enum sconce_conf_source source, bool won)
{
	const struct saying *s = key->said[DRAFT][source];
	const struct sconce_conf_option *o = key->option;

	for (size_t i = 0; s != NULL && i < s->count; i++) {
		struct value *v = value_of(s->texts[i]);
		char why[WHY] = "it is refused";
		bool right = convert(o, v, why);

		if (right && won && o->check != NULL)
			right = o->check(v->text, why, sizeof(why));
		if (!right)
			sconce__conf_tell_value(conf, key, source, v, why);
	}
}

void
sconce__conf_check(struct sconce_conf *conf)
{
	for (size_t i = 0; i < conf->key_count; i++) {
		const struct key *key = &conf->keys[i];
		const struct saying *winner = sconce__conf_winner(key, DRAFT, NULL);

		for (int source = 0; source < SCONCE_CONF_SOURCES; source++)
			check_saying(conf, key, (enum sconce_conf_source)source, key->said[DRAFT][source] == winner);
	}
}

/* ---- storing ---- */

static size_t
member_size(enum sconce_conf_kind kind)
{
	static const size_t sizes[] = {
		[SCONCE_CONF_FLAG] = sizeof(bool), [SCONCE_CONF_INT] = sizeof(int), [SCONCE_CONF_NUMBER] = sizeof(double),
		[SCONCE_CONF_TEXT] = sizeof(const char *), [SCONCE_CONF_LIST] = sizeof(struct sconce_conf_list),
	};

	return sizes[kind];
}

static void
store(const struct key *key, const union member *m)
{
	memcpy(key->base + key->option->offset, m, member_size(kind_of(key->option)));
}

/* What a saying, checked before, is as a member. */
static union member
member_of(enum sconce_conf_kind kind, const struct saying *s)
{
	const char *last = s->texts[s->count - 1];
	double number = value_of(last)->number;

	switch (kind) {
	case SCONCE_CONF_FLAG:
		return (union member){ .flag = number != 0 };
	case SCONCE_CONF_INT:
		return (union member){ .integer = (int)number };
	case SCONCE_CONF_NUMBER:
		return (union member){ .number = number };
	case SCONCE_CONF_TEXT:
		return (union member){ .text = last };
	case SCONCE_CONF_LIST:
	case SCONCE_CONF_ONCE:			/* these are no kinds */
	case SCONCE_CONF_NO_FILE:
		break;
	}
	return (union member){ .list = { s->count, s->texts } };
}

/* Stores what won in FORCE; when nobody says it, what the member held at first, if that is not there any more. */
static void
store_key(struct key *key)
{
	struct saying *s = sconce__conf_winner(key, FORCE, NULL);
	union member m = key->own;

	if (s == NULL && !key->touched)
		return;
	if (s != NULL) {
		if (!key->touched)
			memcpy(&key->own, key->base + key->option->offset, member_size(kind_of(key->option)));
		m = member_of(kind_of(key->option), s);
	}
	key->touched = s != NULL;
	store(key, &m);
}

static bool
is_once(const struct key *key)
{
	return key->option->kind & SCONCE_CONF_ONCE;
}

/* The first apply that sees an option that is stored once settles it, and its texts are kept with it. */
static void
apply_key(struct key *key)
{
	if (is_once(key) && key->settled != UNSETTLED) {
		key->settled = SETTLED;
		return;
	}
	store_key(key);
	if (is_once(key)) {
		key->settled = SETTLED_JUST_NOW;
		key->kept = sconce__conf_share(sconce__conf_winner(key, FORCE, NULL));
	}
}

static void
revert_key(struct key *key)
{
	if (key->settled == SETTLED)
		return;
	store_key(key);
	sconce__conf_drop(key->kept);
	key->kept = NULL;
	key->settled = UNSETTLED;
}

int
sconce_conf_apply(struct sconce_conf *conf)
{
	sconce__conf_check(conf);
	if (conf->errors.count > 0) {
		sconce__conf_forget(conf);
		return -EINVAL;
	}
	sconce__conf_copy(conf, BEFORE, FORCE);
	sconce__conf_copy(conf, FORCE, DRAFT);
	for (size_t i = 0; i < conf->key_count; i++)
		apply_key(&conf->keys[i]);
	conf->applied = conf->applied == 0 ? 1 : 2;
	conf->revertible = true;
	return 0;
}

void
sconce_conf_revert(struct sconce_conf *conf)
{
	if (!conf->revertible)
		return;
	sconce__conf_copy(conf, FORCE, BEFORE);
	for (size_t i = 0; i < conf->key_count; i++)
		revert_key(&conf->keys[i]);
	conf->applied--;
	sconce__conf_forget(conf);
	conf->revertible = false;
}
