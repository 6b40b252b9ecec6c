/* sconced: a reverse proxy that reads Perlbal's configuration (PB-37).
 *
 * The life of the process is sconce/process.h's: log, pid file, background, users, signals, restart.  Here are the
 * command line, and the order in which a start does its steps. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sconce/restart.h>
#include "command.h"
#include "demo.h"

static const char *const default_configs[] = { "/etc/sconced/sconced.conf", "/etc/perlbal/perlbal.conf" };

struct sconced {
	struct sconce_process *process;
	struct sconce_conf *conf;	/* the options of the process */
	struct sconce_process_options options;
	const char	*config;	/* NULL: the default */
	bool		demo;
	bool		check;
	int		status;		/* to exit with at once; negative: go on */
	struct proxy	proxy;
};

enum { FAILED = 1, WRONG_USAGE = 2 };	/* exit statuses */

/* ---- options ---- */

static void
print_usage(FILE *out)
{
	fprintf(out,
	    "usage: sconced [--config=FILE] [--daemon] [--OPTION=VALUE ...]\n"
	    "       sconced [--config=FILE] --check\n"
	    "       sconced --demo\n"
	    "       sconced --help | --version\n");
}

/* The options of the process, but for one that we refuse. */
static void
print_process_options(const struct sconce_conf *conf)
{
	char *text = NULL, *rest, *line;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return;
	sconce_conf_help(conf, out);
	fclose(out);
	for (rest = text; (line = strsep(&rest, "\n")) != NULL && rest != NULL; )
		if (strstr(line, "--processes") == NULL)
			printf("%s\n", line);
	free(text);
}

static void
print_help(const struct sconced *d)
{
	print_usage(stdout);
	printf("\n"
	    "  -c, --config=FILE   read FILE instead of %s\n"
	    "                      or %s\n"
	    "      --check         read it, say what is wrong, and exit\n"
	    "      --daemon        the same as --background\n"
	    "      --demo          serve a demonstration on 127.0.0.1:8080\n"
	    "  -h, --help          this\n"
	    "  -V, --version       the version\n"
	    "\n", default_configs[0], default_configs[1]);
	print_process_options(d->conf);
}

/* Says what is wrong (if getopt has not) and how it is done. */
static void
refuse(struct sconced *d, const char *what)
{
	if (what != NULL)
		fprintf(stderr, "sconced: %s\n", what);
	print_usage(stderr);
	d->status = WRONG_USAGE;
}

/* What is wrong with the options of the process; each line is an error. */
static void
refuse_options(struct sconced *d)
{
	const char *line = sconce_conf_errors(d->conf);

	for (int len; *line != '\0'; line += len + (line[len] == '\n')) {
		len = (int)strcspn(line, "\n");
		fprintf(stderr, "sconced: %.*s\n", len, line);
	}
	refuse(d, NULL);
}

static void
take_config(struct sconced *d, const char *path)
{
	if (d->config != NULL)
		refuse(d, "--config is given twice");
	else if (path[0] == '\0')
		refuse(d, "--config needs the name of a file");
	d->config = path;
}

static void
take_option(struct sconced *d, int option)
{
	switch (option) {
	case 'c':
		take_config(d, optarg);
		break;
	case 'b':
		if (sconce_conf_set(d->conf, SCONCE_CONF_ARGV, "background", "1") < 0)
			refuse(d, sconce_strerror(-ENOMEM));
		break;
	case 'd':
		d->demo = true;
		break;
	case 'k':
		d->check = true;
		break;
	case 'h':
		print_help(d);
		d->status = 0;
		break;
	case 'V':
		printf("sconced %s\n", sconce_version());
		d->status = 0;
		break;
	default:
		refuse(d, NULL);
	}
}

/* Our own options, which may be shortened. */
static void
take_own(struct sconced *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "daemon", no_argument, NULL, 'b' },
		{ "demo", no_argument, NULL, 'd' },
		{ "check", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	static char name[] = "sconced";
	int option;

	if (argc > 0)
		argv[0] = name;			/* for getopt's messages */
	while (d->status < 0 && (option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1)
		take_option(d, option);
	if (d->status < 0 && optind < argc) {
		fprintf(stderr, "sconced: unexpected argument '%s'\n", argv[optind]);
		refuse(d, NULL);
	}
}

/* The demonstration has nothing to restart, and ends with its terminal: SIGHUP is its end, by process_reload(). */
static void
check_demo(struct sconced *d, bool others)
{
	if (d->check)
		refuse(d, "--demo has no configuration to --check");
	else if (d->config != NULL)
		refuse(d, "--demo brings its own configuration: no --config with it");
	else if (others || d->options.background)
		refuse(d, "--demo goes with no other option");
	d->options.hup = "reload";
	d->options.log_level = SCONCE_LOG_WARNING;	/* that it has started, and ends, is seen */
}

static void
parse_arguments(struct sconced *d, int argc, char **argv)
{
	int count = argc, error;

	error = sconce_conf_argv(d->conf, &count, argv, SCONCE_CONF_KEEP_UNKNOWN | SCONCE_CONF_DASHES);
	if (error == -ENOMEM)
		refuse(d, sconce_strerror(error));
	else if (error < 0)
		refuse_options(d);
	if (d->status < 0)
		take_own(d, count, argv);
	if (d->status >= 0)
		return;
	if (sconce_conf_apply(d->conf) < 0)
		refuse_options(d);
	else if (d->options.processes > 1)
		refuse(d, "--processes is not possible yet: sconced is one process");
	else if (d->demo)
		check_demo(d, count < argc);
}

/* ---- messages ---- */

/* A start that fails is told where whoever starts us looks, and in the log.  After a restart that is one place. */
static void
say_error(struct sconced *d, const char *text)
{
	struct sconce_log *log = sconce_process_log(d->process);

	sconce_log_line(log, SCONCE_LOG_ERROR, "%s", text);
	if (log == NULL || (d->options.log_file != NULL && !sconce_process_restarted(d->process)))
		fprintf(stderr, "sconced: %s\n", text);
}

/* To stdout, and to the log if that is somewhere else. */
static void
say_service(struct sconced *d, const struct service *sv)
{
	unsigned nodes = sv->conf.pool->node_count;
	char address[SCONCE_ADDR_TEXT], text[2 * SCONCE_ADDR_TEXT + 512];

	snprintf(text, sizeof(text), "service %s: listening on %s, pool %s (%u node%s)", sv->name,
	    sconce_addr_text(&sv->listener.addr, address, sizeof(address)), sv->conf.pool->name, nodes,
	    nodes == 1 ? "" : "s");
	printf("%s\n", text);
	if (d->options.log_file != NULL)
		sconce_log_line(sconce_process_log(d->process), SCONCE_LOG_NOTICE, "%s", text);
}

static void
say_running(struct sconced *d)
{
	for (struct link *l = d->proxy.services.next; l != &d->proxy.services; l = l->next) {
		const struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);

		if (sv->listening)
			say_service(d, sv);
	}
	printf("Running.\n");
}

/* ---- the configuration ---- */

/* The file to read; NULL, after saying so, if there is none. */
static const char *
find_config(const struct sconced *d)
{
	if (d->config != NULL)
		return d->config;
	for (unsigned i = 0; i < sizeof(default_configs) / sizeof(default_configs[0]); i++)
		if (access(default_configs[i], F_OK) == 0)
			return default_configs[i];
	fprintf(stderr, "sconced: there is no configuration: neither %s nor %s exists.\n"
	    "Name one with --config=FILE, or see what sconced does with\n\n    sconced --demo\n",
	    default_configs[0], default_configs[1]);
	return NULL;
}

/* Returns whether the configuration is read and good. */
static bool
configure(struct sconced *d)
{
	struct config_report report = { .out = stderr };
	const char *path = find_config(d);
	int error;

	if (path == NULL)
		return false;
	error = config_load_file(&d->proxy, path, &report);
	if (error == 0)
		error = config_check(&d->proxy, path, &report);
	if (error == 0 && d->check)
		printf("%s: ok\n", path);
	else if (error < 0 && report.errors > 0 && d->check)
		fprintf(stderr, "sconced: %s\n", report.errors > 1 ? "there are errors" : "there is an error");
	else if (error < 0)
		say_error(d, report.errors > 1 ? "there are errors; not started" : "there is an error; not started");
	return error == 0;
}

/* ---- what the process asks for ---- */

/* Clients that are busy have the same time whatever signal it was. */
static void
process_stop(struct sconce_process *process, bool graceful)
{
	struct sconced *d = sconce_process_arg(process);

	if (d->proxy.stopping)
		proxy_leave(&d->proxy);
	else
		proxy_stop(&d->proxy, !graceful);
}

static void
process_reload(struct sconce_process *process)
{
	struct sconced *d = sconce_process_arg(process);

	if (d->demo)
		sconce_process_stop(process, false);
	else
		sconce_process_restart(process);	/* which is how it is read again */
}

static void
process_drain(struct sconce_process *process)
{
	struct sconced *d = sconce_process_arg(process);

	proxy_drain(&d->proxy);
}

static const struct sconce_process_ops process_ops = {
	.name = "sconced", .stop = process_stop, .reload = process_reload, .drain = process_drain,
};

/* ---- running ---- */

/* Clients and backends take a descriptor each: as many as the administrator allows. */
static void
raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Who reads that we run may send a signal at once: it waits for sconce_process_run(). */
static void
hold_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 };
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Listens, and becomes who we are to be. */
static bool
open_all(struct sconced *d)
{
	struct sconce_fail fail = { .text = "cannot start" };

	if (config_open(&d->proxy, &fail) == 0 && sconce_process_drop(d->process, &fail) == 0)
		return true;
	say_error(d, fail.text);
	return false;
}

/* In a trial of a restart. */
static bool
try_all(struct sconced *d)
{
	struct sconce_fail fail;

	if (config_try(&d->proxy, &fail) == 0)
		return true;
	say_error(d, fail.text);
	return false;
}

static int
run_config(struct sconced *d)
{
	if (!configure(d))
		return FAILED;
	if (d->check)
		return 0;
	if (sconce_program_checking())
		return try_all(d) ? 0 : FAILED;
	if (!open_all(d))
		return FAILED;
	hold_signals();
	say_running(d);
	fflush(stdout);
	return sconce_process_run(d->process, d->proxy.loop);
}

static int
run_demo(struct sconced *d, struct demo **demo)
{
	hold_signals();
	if (demo_start(&d->proxy, demo) < 0)
		return FAILED;
	fflush(stdout);
	return sconce_process_run(d->process, d->proxy.loop);
}

/* The log, the pid file, the background, and then the loop. */
static int
run(struct sconced *d)
{
	struct sconce_fail fail = { .text = "cannot start" };
	struct demo *demo = NULL;
	int status;

	d->options.log_lines_per_second = LOG_LINES;
	d->options.trial = d->check;
	if (sconce_process_start(d->process, &d->options, &fail) < 0) {
		say_error(d, fail.text);
		return FAILED;
	}
	raise_limits();
	status = proxy_init(&d->proxy, d->process);
	if (status < 0) {
		say_error(d, sconce_strerror(status));
		return FAILED;
	}
	status = d->demo ? run_demo(d, &demo) : run_config(d);
	proxy_fini(&d->proxy);
	demo_free(demo);
	return status;
}

/* Before anything is parsed. */
static int
begin(struct sconced *d, int argc, char **argv)
{
	char drain[16];
	int error = sconce_process_new(&process_ops, d, argc, argv, &d->process);

	if (error == 0)
		error = sconce_conf_new(&d->conf);
	if (error == 0)
		error = sconce_process_conf(d->conf, &d->options);
	snprintf(drain, sizeof(drain), "%d", DRAIN_SECONDS);
	if (error == 0)
		error = sconce_conf_set(d->conf, SCONCE_CONF_DEFAULT, "drain", drain);
	return error;
}

int
main(int argc, char **argv)
{
	struct sconced d = { .status = -1 };
	int error = begin(&d, argc, argv);

	if (error < 0) {
		fprintf(stderr, "sconced: %s\n", sconce_strerror(error));
		d.status = FAILED;
	} else {
		parse_arguments(&d, argc, argv);
	}
	if (d.status < 0)
		d.status = run(&d);
	sconce_process_free(d.process);
	sconce_conf_free(d.conf);
	return d.status;
}
