/* A port scanner: which of a host's ports take connections.
 *
 *	scan [-n AT_A_TIME] [-t SECONDS] ADDRESS PORT[-PORT]	for instance 127.0.0.1 1-1024
 *
 * Open ports are printed as they are found, a summary at the end on standard error.  Scan what is yours: loopback, say.
 * Exit status: 0 when all was tried, 1 after a failure, 2 for a wrong command line, 130 after ^C. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/fleet.h>
#include <sconce/sconce.h>

enum { AT_A_TIME = 100, AT_A_TIME_MOST = 10000 };
static const double connect_seconds = 3;

struct scan {
	struct sconce_fleet fleet;
	struct sconce_addr addr;	/* of the next port */
	long from, to, next;		/* ports */
	unsigned open, closed, silent, failed;
	char why[sizeof(((struct sconce_fail *)0)->text)];	/* the first that could not be tried */
	double begun;
	bool interrupted;
};

/* A port that is being tried; its number is the connection's arg. */
struct port {
	struct sconce_fleet_conn conn;
};

static struct scan *
scan_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c->fleet, struct scan, fleet);
}

static void
set_port(struct sconce_addr *addr, long port)
{
	if (addr->any.sa_family == AF_INET6)
		addr->in6.sin6_port = htons((uint16_t)port);
	else
		addr->in.sin_port = htons((uint16_t)port);
}

/* Called whenever one more may be tried. */
static bool
scan_next(struct sconce_fleet *fleet, void *arg, struct sconce_fleet_target *target_out)
{
	struct scan *s = arg;

	(void)fleet;
	if (s->next > s->to)
		return false;
	set_port(&s->addr, s->next++);
	target_out->addr = &s->addr;
	return true;
}

/* A port that nobody listens on may be given to the very socket that tries it, which then talks to itself. */
static bool
is_itself(struct sconce_fleet_conn *c)
{
	struct sconce_addr local, peer;
	char here[SCONCE_ADDR_TEXT], there[SCONCE_ADDR_TEXT];

	return sconce_local(&c->stream.sock, &local) == 0 && sconce_fleet_peer(c, &peer) == 0 &&
	    strcmp(sconce_addr_text(&local, here, sizeof(here)), sconce_addr_text(&peer, there, sizeof(there))) == 0;
}

static void
port_connected(struct sconce_fleet_conn *c)
{
	if (is_itself(c)) {
		scan_of(c)->closed++;
		sconce_abort(&c->stream.sock);
		return;
	}
	scan_of(c)->open++;
	printf("%s open\n", sconce_fleet_endpoint(c));
	fflush(stdout);
	sconce_abort(&c->stream.sock);	/* a reset leaves nothing behind, here and there */
}

static void
port_failed(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct scan *s = scan_of(c);
	bool again = fail->errnum == EMFILE || fail->errnum == ENFILE;

	if (fail->errnum == ECONNREFUSED) {
		s->closed++;
	} else if (!again || sconce_fleet_queue(c->fleet, sconce_fleet_endpoint(c), NULL, NULL) < 0) {
		if (s->failed++ == 0)
			memcpy(s->why, fail->text, sizeof(s->why));
	}
}

static void
port_timeout(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase)
{
	(void)phase;
	scan_of(c)->silent++;
}

static const struct sconce_fleet_ops port_ops = {
	.name = "port", .size = sizeof(struct port), .offset = offsetof(struct port, conn),
	.connected = port_connected, .failed = port_failed, .timeout = port_timeout,
};

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	struct scan *s = arg;

	(void)signo;
	s->interrupted = true;
	sconce_fleet_abort(&s->fleet);
	sconce_signal(loop, SIGINT, NULL, NULL);	/* which lets the loop end; a second ^C kills */
}

/* Ends the program's wait for signals when the last has gone. */
static bool
is_over(struct sconce_loop *loop, void *arg)
{
	struct scan *s = arg;

	(void)loop;
	return s->fleet.count > 0 || s->fleet.waiting > 0 || (s->next <= s->to && !s->interrupted);
}

static int
summary(const struct scan *s, double seconds)
{
	unsigned tried = s->open + s->closed + s->silent + s->failed;

	fprintf(stderr, "%s%u of %ld ports in %.2f s: %u open, %u closed, %u without an answer\n", s->interrupted ? "interrupted: " : "",
	    tried, s->to - s->from + 1, seconds, s->open, s->closed, s->silent);
	if (s->failed > 0)
		fprintf(stderr, "scan: %u could not be tried, the first: %s\n", s->failed, s->why);
	return s->interrupted ? 130 : s->failed > 0;
}

static int
scan(struct scan *s, size_t at_a_time, double seconds)
{
	struct sconce_fleet_options opts = {.max_in_flight = at_a_time, .connect_timeout = seconds};
	struct sconce_loop *loop = NULL;
	int result = sconce_loop_new(NULL, &loop), status;

	if (result == 0)
		result = sconce_fleet_init(&s->fleet, loop, &port_ops, &opts);
	if (result == 0)
		result = sconce_post_loop_add(loop, is_over, s);
	if (result < 0) {
		fprintf(stderr, "scan: %s\n", sconce_strerror(result));
		sconce_loop_free(loop);
		sconce_fleet_fini(&s->fleet);
		return 1;
	}
	sconce_signal(loop, SIGINT, interrupted, s);
	s->begun = sconce_now(loop);
	sconce_fleet_feed(&s->fleet, scan_next, s);
	sconce_loop_run(loop);
	status = summary(s, sconce_now(loop) - s->begun);
	sconce_loop_free(loop);
	sconce_fleet_fini(&s->fleet);
	return status;
}

/* ---- the command line ---- */

static int
usage(void)
{
	fprintf(stderr, "usage: scan [-n AT_A_TIME] [-t SECONDS] ADDRESS PORT[-PORT]\n");
	return 2;
}

/* A whole number from `least` to `most`, and nothing behind it; else -1. */
static long
number(const char *text, long least, long most, char **end_out)
{
	char *end;
	long n;

	errno = 0;
	n = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : -1;
	if (n < least || n > most || errno != 0 || (end_out == NULL && *end != '\0'))
		return -1;
	if (end_out != NULL)
		*end_out = end;
	return n;
}

static bool
parse_ports(struct scan *s, const char *text)
{
	char *end;

	s->from = s->to = number(text, 1, 65535, &end);
	if (s->from > 0 && *end == '-')
		s->to = number(end + 1, 1, 65535, NULL);
	else if (s->from > 0 && *end != '\0')
		s->from = -1;
	s->next = s->from;
	if (s->from > 0 && s->to >= s->from)
		return true;
	fprintf(stderr, "scan: '%s' is no port or range of ports: say 80, or 1-1024\n", text);
	return false;
}

static bool
parse_host(struct scan *s, const char *text)
{
	char full[SCONCE_ADDR_TEXT];
	bool is_v6 = strchr(text, ':') != NULL;

	if (strpbrk(text, "/@?[]") == NULL &&
	    snprintf(full, sizeof(full), is_v6 ? "[%s]:1" : "%s:1", text) < (int)sizeof(full) &&
	    sconce_addr_parse(full, &s->addr, NULL) == 0)
		return true;
	fprintf(stderr, "scan: '%s' is no numeric address: say 127.0.0.1 or ::1\n", text);
	return false;
}

int
main(int argc, char **argv)
{
	struct scan s = {.from = 0};
	long at_a_time = AT_A_TIME;
	double seconds = connect_seconds;
	int option;

	while ((option = getopt(argc, argv, "n:t:")) != -1) {
		if (option == 'n')
			at_a_time = number(optarg, 1, AT_A_TIME_MOST, NULL);
		else if (option == 't')
			seconds = atof(optarg);
		else
			return usage();
	}
	if (argc - optind != 2)
		return usage();
	if (at_a_time < 0 || !(seconds > 0 && seconds <= 86400)) {
		fprintf(stderr, "scan: -n is 1 to %d, -t seconds up to a day\n", AT_A_TIME_MOST);
		return 2;
	}
	if (!parse_host(&s, argv[optind]) || !parse_ports(&s, argv[optind + 1]))
		return 2;
	return scan(&s, (size_t)at_a_time, seconds);
}
