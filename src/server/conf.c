/* The configuration object: its options, and what the sources say of them.  conf_apply.c checks and stores that;
 * conf_file.c and conf_argv.c read it; conf_error.c tells what is wrong, with conf_show.c. */
#include "conf_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- values and sayings ---- */

static struct value *
value_new(const char *text, size_t len, const struct place *place)
{
	char excerpt[SCONCE_CONF_SHOWN] = "";
	const char *file = place != NULL ? place->file : "";
	size_t file_size = strlen(file) + 1, excerpt_size;
	struct value *v;
	char *behind;

	if (place != NULL)
		sconce_conf_show(place->text, place->len, place->at, place->count, excerpt, sizeof(excerpt));
	excerpt_size = strlen(excerpt) + 1;
	v = malloc(sizeof(*v) + len + 1 + file_size + excerpt_size);
	if (v == NULL)
		return NULL;
	*v = (struct value){ .refs = 1 };
	if (place != NULL) {
		v->line = place->line;
		v->column = (unsigned)place->at + 1;
	}
	memcpy(v->text, text, len);
	v->text[len] = '\0';
	behind = v->text + len + 1;
	v->file = memcpy(behind, file, file_size);
	v->excerpt = memcpy(behind + file_size, excerpt, excerpt_size);
	return v;
}

static void
value_drop(struct value *v)
{
	if (--v->refs == 0)
		free(v);
}

static struct saying *
saying_new(size_t room)
{
	struct saying *s = malloc(sizeof(*s) + room * sizeof(s->texts[0]));

	if (s != NULL)
		*s = (struct saying){ .refs = 1, .room = room };
	return s;
}

struct saying *
sconce__conf_share(struct saying *s)
{
	if (s != NULL)
		s->refs++;
	return s;
}

void
sconce__conf_drop(struct saying *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	for (size_t i = 0; i < s->count; i++)
		value_drop(value_of(s->texts[i]));
	free(s);
}

/* A copy with twice the room; the values are shared. */
static struct saying *
saying_copy(const struct saying *s)
{
	struct saying *copy = saying_new(s->count * 2);

	if (copy == NULL)
		return NULL;
	for (size_t i = 0; i < s->count; i++) {
		copy->texts[i] = s->texts[i];
		value_of(s->texts[i])->refs++;
	}
	copy->count = s->count;
	return copy;
}

/* Adds a value to a list, which is somebody else's too, or full, or not there yet: then another takes its place. */
static int
saying_add(struct saying **at, struct value *v)
{
	struct saying *s = *at;

	if (s == NULL || s->refs > 1 || s->count == s->room) {
		s = s == NULL ? saying_new(1) : saying_copy(s);
		if (s == NULL)
			return -ENOMEM;
		sconce__conf_drop(*at);
		*at = s;
	}
	s->texts[s->count++] = v->text;
	return 0;
}

/* Of what is no list the last value counts, and no other is kept. */
static int
saying_replace(struct saying **at, struct value *v)
{
	struct saying *s = saying_new(1);

	if (s == NULL)
		return -ENOMEM;
	s->texts[s->count++] = v->text;
	sconce__conf_drop(*at);
	*at = s;
	return 0;
}

int
sconce__conf_say(struct key *key, enum sconce_conf_source source, const char *text, size_t len, const struct place *place)
{
	struct saying **at = &key->said[DRAFT][source];
	struct value *v = value_new(text, len, place);
	int r;

	if (v == NULL)
		return -ENOMEM;
	r = kind_of(key->option) == SCONCE_CONF_LIST ? saying_add(at, v) : saying_replace(at, v);
	if (r < 0)
		value_drop(v);
	return r;
}

struct saying *
sconce__conf_winner(const struct key *key, enum state state, enum sconce_conf_source *source_out)
{
	for (int source = SCONCE_CONF_SOURCES - 1; source >= 0; source--) {
		if (key->said[state][source] == NULL)
			continue;
		if (source_out != NULL)
			*source_out = (enum sconce_conf_source)source;
		return key->said[state][source];
	}
	return NULL;
}

/* ---- states ---- */

void
sconce__conf_copy(struct sconce_conf *conf, enum state to, enum state from)
{
	for (size_t i = 0; i < conf->key_count; i++)
		for (int source = 0; source < SCONCE_CONF_SOURCES; source++) {
			struct saying **said = &conf->keys[i].said[to][source], *old = *said;

			*said = sconce__conf_share(conf->keys[i].said[from][source]);
			sconce__conf_drop(old);
		}
}

void
sconce__conf_forget(struct sconce_conf *conf)
{
	if (conf->applied > 0)
		sconce__conf_copy(conf, DRAFT, FORCE);
}

struct saying **
sconce__conf_hold(struct sconce_conf *conf, enum sconce_conf_source source)
{
	struct saying **held = malloc((conf->key_count + 1) * sizeof(*held));	/* never of no bytes */

	for (size_t i = 0; held != NULL && i < conf->key_count; i++)
		held[i] = sconce__conf_share(conf->keys[i].said[DRAFT][source]);
	return held;
}

void
sconce__conf_release(struct sconce_conf *conf, enum sconce_conf_source source, struct saying **held, bool undo)
{
	for (size_t i = 0; i < conf->key_count; i++) {
		struct saying **said = &conf->keys[i].said[DRAFT][source], *other = undo ? *said : held[i];

		if (undo)
			*said = held[i];
		sconce__conf_drop(other);
	}
	free(held);
}

/* ---- the object ---- */

int
sconce_conf_new(struct sconce_conf **conf_out)
{
	enum { ROOM = 512 };		/* for a first error, and for saying that there was no room for more */
	struct sconce_conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return -ENOMEM;
	conf->errors.text = malloc(ROOM);
	if (conf->errors.text == NULL) {
		free(conf);
		return -ENOMEM;
	}
	conf->errors.text[0] = '\0';
	conf->errors.room = ROOM;
	*conf_out = conf;
	return 0;
}

void
sconce_conf_free(struct sconce_conf *conf)
{
	if (conf == NULL)
		return;
	for (size_t i = 0; i < conf->key_count; i++) {
		struct key *key = &conf->keys[i];

		for (int state = 0; state < STATES; state++)
			for (int source = 0; source < SCONCE_CONF_SOURCES; source++)
				sconce__conf_drop(key->said[state][source]);
		sconce__conf_drop(key->kept);
	}
	free(conf->keys);
	free(conf->errors.text);
	free(conf);
}

static bool
same_name(const char *option, const char *name, size_t len)
{
	if (strlen(option) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name_letter(option[i]) != name_letter(name[i]))
			return false;
	return true;
}

struct key *
sconce__conf_find(const struct sconce_conf *conf, const char *name, size_t len)
{
	for (size_t i = 0; i < conf->key_count; i++)
		if (same_name(conf->keys[i].option->name, name, len))
			return &conf->keys[i];
	return NULL;
}

static struct key *
find(const struct sconce_conf *conf, const char *name)
{
	return sconce__conf_find(conf, name, strlen(name));
}

int
sconce_conf_add(struct sconce_conf *conf, const struct sconce_conf_option *options, size_t count, void *base)
{
	size_t before = conf->key_count;
	struct key *keys;

	if (count == 0)
		return 0;
	keys = realloc(conf->keys, (before + count) * sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	conf->keys = keys;
	for (size_t i = 0; i < count; i++) {
		assert(options[i].name != NULL);
		if (find(conf, options[i].name) != NULL) {
			conf->key_count = before;
			return -EEXIST;
		}
		keys[conf->key_count++] = (struct key){ .option = &options[i], .base = base };
	}
	return 0;
}

int
sconce_conf_set(struct sconce_conf *conf, enum sconce_conf_source source, const char *name, const char *value)
{
	struct key *key = find(conf, name);

	assert(source < SCONCE_CONF_SOURCES && value != NULL);
	return key == NULL ? -ENOENT : sconce__conf_say(key, source, value, strlen(value), NULL);
}

void
sconce_conf_unset(struct sconce_conf *conf, enum sconce_conf_source source, const char *name)
{
	assert(source < SCONCE_CONF_SOURCES);
	for (size_t i = 0; i < conf->key_count; i++) {
		struct key *key = &conf->keys[i];

		if (name != NULL && !same_name(key->option->name, name, strlen(name)))
			continue;
		sconce__conf_drop(key->said[DRAFT][source]);
		key->said[DRAFT][source] = NULL;
	}
}

/* ---- what won ---- */

/* Value number `index` of what won; NULL: there is none. */
static const struct value *
winning_value(const struct key *key, size_t index, enum sconce_conf_source *source_out)
{
	const struct saying *s = key != NULL ? sconce__conf_winner(key, DRAFT, source_out) : NULL;

	return s != NULL && index < s->count ? value_of(s->texts[index]) : NULL;
}

const char *
sconce_conf_get(const struct sconce_conf *conf, const char *name, size_t index)
{
	const struct value *v = winning_value(find(conf, name), index, NULL);

	return v != NULL ? v->text : NULL;
}

char *
sconce_conf_where(const struct sconce_conf *conf, const char *name, size_t index, char *buf, size_t size)
{
	enum sconce_conf_source source = SCONCE_CONF_DEFAULT;
	const struct value *v = winning_value(find(conf, name), index, &source);

	if (v == NULL)
		snprintf(buf, size, "%s", "");
	else if (v->line > 0)
		snprintf(buf, size, "%s:%u", v->file, v->line);
	else
		snprintf(buf, size, "%s", sconce__conf_source_name(source));
	return buf;
}

void
sconce_conf_error(struct sconce_conf *conf, const char *name, size_t index, const char *format, ...)
{
	enum sconce_conf_source source = SCONCE_CONF_DEFAULT;
	const struct key *key = find(conf, name);
	const struct value *v = winning_value(key, index, &source);
	char why[512];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	if (v != NULL)
		sconce__conf_tell_value(conf, key, source, v, why);
	else
		sconce__conf_tell(conf, "", "", "%s: %s", name, why);
}
