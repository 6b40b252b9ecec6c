/* Configuration: lines of Perlbal's grammar (D.3) carried out one by one through one table of commands. */
#ifndef PROXY_COMMAND_H
#define PROXY_COMMAND_H

#include <stdio.h>
#include "param.h"

enum { COMMAND_WORDS = 16, COMMAND_LINE = 4096, COMMAND_MESSAGE = 320 };

/* Where commands come from: a file, later a console. */
struct commands {
	struct proxy	*proxy;
	struct defaults	*defaults;	/* what DEFAULT said */
	bool		implied_failed;	/* that object could not be created: its lines are passed over */
	char		implied[128];	/* the object that SET means when it names none (PB-43); "" for none */
};

/* Part of a line. */
struct word {
	const char	*text;		/* lower case, in command->text */
	unsigned	column;		/* of the line as written; the first is 0 */
	unsigned	length;		/* there */
};

/* One line being carried out. */
struct command {
	struct commands	*from;
	const char	*line;		/* as written */
	char		text[COMMAND_LINE * 2]; /* the words, each with its NUL */
	struct word	words[COMMAND_WORDS]; /* what is left of the first '=' */
	unsigned	word_count;
	bool		has_value;
	char		value[COMMAND_LINE]; /* what is right of it, case kept */
	struct word	value_word;	/* its place */
	/* The result: */
	char		message[COMMAND_MESSAGE]; /* what is wrong; "" for nothing */
	char		hint[160];	/* the nearest right word; may be "" */
	struct word	wrong;		/* where */
};

/* Carries out one line (no newline needed).  Returns whether it succeeded; an empty line does.  If not, message,
 * hint and wrong say why, and nothing has changed. */
bool command_run(struct command *c, struct commands *from, const char *line);

/* What happened to a file. */
struct config_report {
	FILE		*out;		/* errors are written here, each with its place */
	unsigned	errors;
};

/* Carries out every line of a file, or of a text that `name` stands for.  Nothing is opened: ENABLE takes note.
 * Returns 0, -EINVAL when lines were wrong (all of them have been reported), or -errno when it cannot be read. */
int config_load_file(struct proxy *p, const char *path, struct config_report *report);
int config_load_text(struct proxy *p, const char *name, const char *text, struct config_report *report);

/* Looks at all of it, which `name` stands for, as far as that goes without opening anything.  Returns 0, with warnings
 * printed, or -EINVAL with the reason reported. */
int config_check(struct proxy *p, const char *name, struct config_report *report);

/* Opens what is enabled.  Returns 0, or -errno with fail_out->text set. */
int config_open(struct proxy *p, struct sconce_fail *fail_out);
/* In a trial of a restart: whether that would work. */
int config_try(struct proxy *p, struct sconce_fail *fail_out);

#endif
