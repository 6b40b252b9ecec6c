/* sconced: a reverse proxy that reads Perlbal's configuration (PB-37). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "command.h"
#include "demo.h"

static const char *const default_configs[] = { "/etc/sconced/sconced.conf", "/etc/perlbal/perlbal.conf" };

struct arguments {
	const char	*config;	/* NULL: the default */
	bool		demo;
	bool		check;
	int		status;		/* to exit with at once; negative: go on */
};

enum { WRONG_USAGE = 2 };		/* an exit status */

static void
print_usage(FILE *out)
{
	fprintf(out,
	    "usage: sconced [--config=FILE] [--check]\n"
	    "       sconced --demo\n"
	    "       sconced --help | --version\n");
}

static void
print_help(void)
{
	print_usage(stdout);
	printf("\n"
	    "  -c, --config=FILE   read FILE instead of %s\n"
	    "                      or %s\n"
	    "      --check         read it, say what is wrong, and exit\n"
	    "      --demo          serve a demonstration on 127.0.0.1:8080\n"
	    "  -h, --help          this\n"
	    "  -V, --version       the version\n", default_configs[0], default_configs[1]);
}

/* Says what is wrong (if getopt has not) and how it is done. */
static void
refuse(struct arguments *a, const char *what)
{
	if (what != NULL)
		fprintf(stderr, "sconced: %s\n", what);
	print_usage(stderr);
	a->status = WRONG_USAGE;
}

static void
take_config(struct arguments *a, const char *path)
{
	if (a->config != NULL)
		refuse(a, "--config is given twice");
	else if (path[0] == '\0')
		refuse(a, "--config needs the name of a file");
	a->config = path;
}

static void
take_option(struct arguments *a, int option)
{
	switch (option) {
	case 'c':
		take_config(a, optarg);
		break;
	case 'd':
		a->demo = true;
		break;
	case 'k':
		a->check = true;
		break;
	case 'h':
		print_help();
		a->status = 0;
		break;
	case 'V':
		printf("sconced %s\n", sconce_version());
		a->status = 0;
		break;
	default:
		refuse(a, NULL);
	}
}

static struct arguments
parse_arguments(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "demo", no_argument, NULL, 'd' },
		{ "check", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	static char name[] = "sconced";
	struct arguments a = { .status = -1 };
	int option;

	if (argc > 0)
		argv[0] = name;			/* for getopt's messages */
	while (a.status < 0 && (option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1)
		take_option(&a, option);
	if (a.status >= 0)
		return a;
	if (optind < argc) {
		fprintf(stderr, "sconced: unexpected argument '%s'\n", argv[optind]);
		refuse(&a, NULL);
	} else if (a.demo && a.check) {
		refuse(&a, "--demo has no configuration to --check");
	} else if (a.demo && a.config != NULL) {
		refuse(&a, "--demo brings its own configuration: no --config with it");
	}
	return a;
}

/* The file to read; NULL, after saying so, if there is none. */
static const char *
find_config(const struct arguments *a)
{
	if (a->config != NULL)
		return a->config;
	for (unsigned i = 0; i < sizeof(default_configs) / sizeof(default_configs[0]); i++)
		if (access(default_configs[i], F_OK) == 0)
			return default_configs[i];
	fprintf(stderr, "sconced: there is no configuration: neither %s nor %s exists.\n"
	    "Name one with --config=FILE, or see what sconced does with\n\n    sconced --demo\n",
	    default_configs[0], default_configs[1]);
	return NULL;
}

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

static void
on_stop(struct sconce_loop *loop, int signo, void *arg)
{
	(void)loop;
	(void)signo;
	proxy_stop(arg);
}

static void
on_hangup(struct sconce_loop *loop, int signo, void *arg)
{
	(void)loop;
	(void)signo;
	log_line(arg, "SIGHUP: reloading is not supported yet; restart to read the configuration");
}

/* Before it is said that we run: who is told may send a signal at once.  The demonstration has nothing to reload, and
 * ends with its terminal. */
static int
catch_signals(struct proxy *p, bool demo)
{
	int error = sconce_signal(p->loop, SIGTERM, on_stop, p);

	if (error == 0)
		error = sconce_signal(p->loop, SIGINT, on_stop, p);
	if (error == 0 && !demo)
		error = sconce_signal(p->loop, SIGHUP, on_hangup, p);
	return error;
}

static int
serve(struct proxy *p)
{
	int error = sconce_loop_run(p->loop);

	if (error >= 0)
		return 0;
	fprintf(stderr, "sconced: %s\n", sconce_strerror(error));
	return 1;
}

static void
print_services(const struct proxy *p)
{
	char address[SCONCE_ADDR_TEXT];

	for (struct link *l = p->services.next; l != &p->services; l = l->next) {
		const struct service *sv = SCONCE_CONTAINER_OF(l, struct service, link);
		unsigned nodes;

		if (!sv->listening)
			continue;
		nodes = sv->conf.pool->node_count;
		printf("service %s: listening on %s, pool %s (%u node%s)\n", sv->name,
		    sconce_addr_text(&sv->listener.addr, address, sizeof(address)), sv->conf.pool->name, nodes,
		    nodes == 1 ? "" : "s");
	}
}

/* Returns whether the configuration is read and, unless it is only checked, listened to. */
static bool
configure(struct proxy *p, const char *path, bool check)
{
	struct config_report report = { .out = stderr };
	int error = config_load_file(p, path, &report);

	if (error == 0)
		error = config_check(p, path, &report);
	if (error == 0 && check)
		printf("%s: ok\n", path);
	else if (error == 0)
		error = config_open(p, &report);
	if (error < 0 && report.errors > 0)
		fprintf(stderr, "sconced: %s%s\n", report.errors > 1 ? "there are errors" : "there is an error",
		    check ? "" : "; not started");
	return error == 0;
}

static int
run_config(struct proxy *p, const struct arguments *a)
{
	const char *path = find_config(a);

	if (path == NULL || !configure(p, path, a->check))
		return 1;
	if (a->check)
		return 0;
	print_services(p);
	printf("Running.\n");
	fflush(stdout);
	return serve(p);
}

static int
run_demo(struct proxy *p, struct demo **demo)
{
	if (demo_start(p, demo) < 0)
		return 1;
	fflush(stdout);
	return serve(p);
}

int
main(int argc, char **argv)
{
	struct arguments a = parse_arguments(argc, argv);
	struct demo *demo = NULL;
	struct proxy p;
	int status;

	if (a.status >= 0)
		return a.status;
	raise_limits();
	status = proxy_init(&p);
	if (status == 0) {
		status = catch_signals(&p, a.demo);
		if (status < 0)
			proxy_fini(&p);
	}
	if (status < 0) {
		fprintf(stderr, "sconced: %s\n", sconce_strerror(status));
		return 1;
	}
	status = a.demo ? run_demo(&p, &demo) : run_config(&p, &a);
	proxy_fini(&p);
	demo_free(demo);
	return status;
}
