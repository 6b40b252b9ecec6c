/* The command line: takes options out of argv, and prints what there are. */
#include "conf_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

/* argv being read; what is no option is moved to the front. */
struct args {
	struct sconce_conf *conf;
	char **argv;
	int count, at;			/* `at`: the next argument */
	int kept;
	bool keep_unknown;
	bool only_dashes;		/* a word without them is no option */
};

/* One argument: "--" if it was there, a name, "=" and a value if they were there. */
struct arg {
	bool dashes;
	const char *name;
	size_t len;
	const char *value;		/* NULL: no "=" */
};

static bool
has_dashes(const char *text)
{
	return text[0] == '-' && text[1] == '-';
}

static struct arg
split(const char *text)
{
	struct arg arg = { .dashes = has_dashes(text) };

	arg.name = text + (arg.dashes ? 2 : 0);
	arg.len = strcspn(arg.name, "=");
	if (arg.name[arg.len] == '=')
		arg.value = arg.name + arg.len + 1;
	return arg;
}

static void
keep(struct args *a)
{
	a->argv[a->kept++] = a->argv[a->at++];
}

static int
say(struct key *key, const char *value)
{
	return sconce__conf_say(key, SCONCE_CONF_ARGV, value, strlen(value), NULL);
}

/* The flag that --no-NAME is about. */
static struct key *
find_negated(const struct sconce_conf *conf, const struct arg *arg)
{
	struct key *key;

	if (!arg->dashes || strncmp(arg->name, "no", 2) != 0 || name_letter(arg->name[2]) != '_')
		return NULL;
	key = sconce__conf_find(conf, arg->name + 3, arg->len - 3);
	return key != NULL && kind_of(key->option) == SCONCE_CONF_FLAG ? key : NULL;
}

/* What no option of ours is: an argument, or "--key", which is wrong or somebody else's, and its value with it. */
static void
take_unknown(struct args *a, const struct arg *arg)
{
	const char *near;

	if (!arg->dashes || a->keep_unknown) {
		keep(a);
		if (arg->dashes && arg->value == NULL && a->at < a->count && !has_dashes(a->argv[a->at]))
			keep(a);
		return;
	}
	near = sconce__conf_nearest(a->conf, arg->name, arg->len);
	sconce__conf_tell(a->conf, sconce__conf_source_name(SCONCE_CONF_ARGV), "",
		"there is no option '--%.*s%s'%s%s%s", QUOTE(arg->name, arg->len),
		near != NULL ? "; did you mean '--" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
	a->at++;
}

static int
take_negated(struct args *a, const struct arg *arg, struct key *key)
{
	a->at++;
	if (arg->value == NULL)
		return say(key, "0");
	sconce__conf_tell(a->conf, sconce__conf_source_name(SCONCE_CONF_ARGV), "",
		"--no-%s takes no value: say --%s=no", key->option->name, key->option->name);
	return 0;
}

/* The option at a->at, and its value, which may be the next argument. */
static int
take_option(struct args *a, const struct arg *arg, struct key *key)
{
	const char *name = key->option->name;

	a->at++;
	if (arg->value != NULL)
		return say(key, arg->value);
	if (kind_of(key->option) == SCONCE_CONF_FLAG)
		return say(key, "1");
	if (a->at < a->count && !has_dashes(a->argv[a->at]))
		return say(key, a->argv[a->at++]);
	sconce__conf_tell(a->conf, sconce__conf_source_name(SCONCE_CONF_ARGV), "", "%s%s needs a value%s%s%s",
		arg->dashes ? "--" : "", name, a->at < a->count ? "; one that begins with -- is said by --" : "",
		a->at < a->count ? name : "", a->at < a->count ? "=" : "");
	return 0;
}

static int
take_argument(struct args *a)
{
	struct arg arg = split(a->argv[a->at]);
	struct key *key;

	if (a->only_dashes && !arg.dashes) {
		keep(a);
		return 0;
	}
	key = sconce__conf_find(a->conf, arg.name, arg.len);
	if (key != NULL)
		return take_option(a, &arg, key);
	key = find_negated(a->conf, &arg);
	if (key != NULL)
		return take_negated(a, &arg, key);
	take_unknown(a, &arg);
	return 0;
}

static int
take_arguments(struct args *a)
{
	int r = 0;

	if (a->count > 0)
		keep(a);			/* the program's name */
	while (r == 0 && a->at < a->count && strcmp(a->argv[a->at], "--") != 0)
		r = take_argument(a);
	if (r < 0)
		return r;
	if (a->at < a->count && !a->keep_unknown)
		a->at++;			/* "--" has done its work; who else parses the rest needs it too */
	while (a->at < a->count)
		keep(a);
	return 0;
}

int
sconce_conf_argv(struct sconce_conf *conf, int *argc, char **argv, unsigned flags)
{
	struct args a = { .conf = conf, .count = *argc, .keep_unknown = flags & SCONCE_CONF_KEEP_UNKNOWN,
		.only_dashes = flags & SCONCE_CONF_DASHES };
	size_t before = conf->errors.count, size = ((size_t)*argc + 1) * sizeof(*argv);
	struct saying **held = sconce__conf_hold(conf, SCONCE_CONF_ARGV);
	int r = -ENOMEM;

	a.argv = malloc(size);			/* a copy: without memory argv stays as it is */
	if (held != NULL && a.argv != NULL) {
		memcpy(a.argv, argv, size - sizeof(*argv));
		r = take_arguments(&a);
	}
	if (r == 0) {
		memcpy(argv, a.argv, (size_t)a.kept * sizeof(*argv));
		argv[a.kept] = NULL;
		*argc = a.kept;
	}
	if (held != NULL)
		sconce__conf_release(conf, SCONCE_CONF_ARGV, held, r < 0);
	free(a.argv);
	return r < 0 ? r : conf->errors.count > before ? -EINVAL : 0;
}

/* ---- help ---- */

enum {
	COLUMNS = 80,
	WIDEST = 30			/* of what stands left of the explanation */
};

/* How wide "  --name=VALUE" and the blanks behind it are. */
static int
left_width(const struct sconce_conf_option *o)
{
	return (int)(6 + strlen(o->name) + (o->value != NULL ? 1 + strlen(o->value) : 0));
}

/* Prints a text from column `left` on, in lines that end between words. */
static void
print_wrapped(FILE *out, const char *text, int left)
{
	int room = COLUMNS - left;

	while ((int)strlen(text) > room) {
		int n = room;

		while (n > 0 && text[n] != ' ')
			n--;
		if (n == 0)			/* a long word */
			n = (int)strcspn(text, " ");
		if (text[n] == '\0')
			break;
		fprintf(out, "%.*s\n%*s", n, text, left, "");
		text += n;
		text += *text == ' ';
	}
	fprintf(out, "%s\n", text);
}

void
sconce_conf_help(const struct sconce_conf *conf, FILE *out)
{
	int left = 0;

	for (size_t i = 0; i < conf->key_count; i++) {
		int w = left_width(conf->keys[i].option);

		if (conf->keys[i].option->help != NULL && w <= WIDEST && w > left)
			left = w;
	}
	left = left > 0 ? left : WIDEST;
	for (size_t i = 0; i < conf->key_count; i++) {
		const struct sconce_conf_option *o = conf->keys[i].option;
		int w = left_width(o);

		if (o->help == NULL)
			continue;
		fprintf(out, "  --%s%s%s", o->name, o->value != NULL ? "=" : "", o->value != NULL ? o->value : "");
		if (w > left)
			fprintf(out, "\n%*s", left, "");
		else
			fprintf(out, "%*s", left - w + 2, "");
		print_wrapped(out, o->help, left);
	}
}
