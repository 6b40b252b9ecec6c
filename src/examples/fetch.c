/* A mass client: fetches a list of URLs (http://), so many at a time.
 *
 *	fetch [-n AT_A_TIME] [-t SECONDS] [-f FILE] [URL ...]
 *
 * The list is the arguments; FILE, or standard input for "-" or when there is nothing else, has more, one a line (blank lines and
 * those that begin with # are left out).  For each URL a line on standard output, as they end:
 *
 *	200 1256 bytes 0.012 s http://127.0.0.1:8080/
 *	failed http://127.0.0.1:1/: connect 127.0.0.1:1: connection refused
 *
 * On standard error a progress line, when it is a terminal, and a summary; both with the times that half, 90 % and 99 % took at
 * most.  ^C ends it with the summary of what there is.
 * Exit status: 0 when every URL had an answer, 1 when one had none, 2 for a wrong command line, 130 after ^C. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sconce/fleet.h>
#include <sconce/http.h>
#include <sconce/sconce.h>

enum { AT_A_TIME = 50, AT_A_TIME_MOST = 100000, STEPS = 16, CLASSES = 400 };
static const double answer_seconds = 30, progress_seconds = 0.2;

struct fetch {
	struct sconce_fleet fleet;
	char **urls;
	size_t count, room, next;
	size_t done, failed;
	uint64_t bytes;
	size_t times[CLASSES];		/* how many took so long: STEPS classes for each doubling, from 10 us */
	double begun, seconds;		/* seconds: for each step of one */
	struct sconce_timer progress;
	bool interrupted, shows;	/* shows: there is a progress line */
};

/* One that is being fetched. */
struct page {
	struct sconce_fleet_conn conn;
	double begun;
	uint64_t bytes;			/* of the body */
	int status;			/* of the answer; 0: none yet */
	bool whole;
	bool later;			/* it could not begin: it waits once more */
	char why[sizeof(((struct sconce_fail *)0)->text)];
};

static struct fetch *
fetch_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c->fleet, struct fetch, fleet);
}

static struct page *
page_of(struct sconce_fleet_conn *c)
{
	return SCONCE_CONTAINER_OF(c, struct page, conn);
}

/* ---- URLs ---- */

/* http://HOST[:PORT][/PATH...].  Blanks and control characters would become part of the request. */
static bool
split_url(const char *url, size_t *host_len_out, const char **path_out)
{
	const char *host = url + strlen("http://");
	size_t len;

	if (strncmp(url, "http://", strlen("http://")) != 0)
		return false;
	for (const unsigned char *p = (const unsigned char *)url; *p != '\0'; p++)
		if (*p <= ' ' || *p == 0x7f)
			return false;
	len = strcspn(host, "/?#");
	if (len == 0 || len > 250 || memchr(host, '@', len) != NULL)
		return false;
	*host_len_out = len;
	*path_out = host + len;
	return true;
}

/* The endpoint of a URL: port 80 unless it says another. */
static bool
endpoint_of(const char *url, char *buf, size_t size)
{
	const char *host = url + strlen("http://"), *path;
	size_t len;
	bool has_port;

	if (!split_url(url, &len, &path))
		return false;
	has_port = host[0] == '[' ? host[len - 1] != ']' : memchr(host, ':', len) != NULL;
	snprintf(buf, size, "tcp://%.*s%s", (int)len, host, has_port ? "" : ":80");
	return true;
}

static bool
add_url(struct fetch *f, const char *text)
{
	if (f->count == f->room) {
		size_t room = f->room > 0 ? 2 * f->room : 64;
		char **urls = realloc(f->urls, room * sizeof(*urls));

		if (urls == NULL)
			return false;
		f->urls = urls;
		f->room = room;
	}
	f->urls[f->count] = strdup(text);
	return f->urls[f->count] != NULL && ++f->count > 0;
}

static bool
read_urls(struct fetch *f, FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	bool good = true;

	while (good && (len = getline(&line, &size, in)) >= 0) {
		while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
			line[--len] = '\0';
		if (len > 0 && line[0] != '#')
			good = add_url(f, line);
	}
	free(line);
	return good && !ferror(in);
}

/* ---- what is known ---- */

static void
note_time(struct fetch *f, double seconds)
{
	int class = seconds > 1e-5 ? (int)(log2(seconds / 1e-5) * STEPS) : 0;

	f->times[class < CLASSES ? class : CLASSES - 1]++;
}

/* What the share took at most, within 5 %. */
static double
percentile(const struct fetch *f, double share)
{
	size_t good = f->done - f->failed, seen = 0;

	for (int i = 0; i < CLASSES; i++) {
		seen += f->times[i];
		if (seen > 0 && (double)seen >= share * (double)good)
			return 1e-5 * exp2((i + 1.0) / STEPS);
	}
	return 0;
}

static void
show(struct sconce_timer *t, void *arg)
{
	struct fetch *f = arg;
	double seconds = sconce_now(f->fleet.loop) - f->begun, rate = seconds > 0 ? (double)f->done / seconds : 0;

	(void)t;
	fprintf(stderr, "\r%zu/%zu done, %zu failed, %.0f/s, 50 %% %.3f s, 90 %% %.3f s, 99 %% %.3f s", f->done, f->count, f->failed, rate,
	    percentile(f, 0.5), percentile(f, 0.9), percentile(f, 0.99));
	if (rate > 0)
		fprintf(stderr, ", %.0f s left", (double)(f->count - f->done) / rate);
	fprintf(stderr, "\033[K");
}

static void
summarize(const struct fetch *f)
{
	double seconds = sconce_now(f->fleet.loop) - f->begun;

	fprintf(stderr, "%s%s%zu of %zu done, %zu failed, %llu bytes, %.2f s, %.0f/s, 50 %% %.3f s, 90 %% %.3f s, 99 %% %.3f s\n",
	    f->shows ? "\r\033[K" : "", f->interrupted ? "interrupted: " : "", f->done, f->count, f->failed, (unsigned long long)f->bytes,
	    seconds, seconds > 0 ? (double)f->done / seconds : 0, percentile(f, 0.5), percentile(f, 0.9), percentile(f, 0.99));
}

/* The terminal's line is the progress line's while there is one. */
static void
clear_line(const struct fetch *f)
{
	if (f->shows && isatty(STDOUT_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* A URL that cannot do anything to a terminal. */
static const char *
clean(const char *url, char *buf, size_t size)
{
	return sconce_log_escape(url, strlen(url), buf, size);
}

static void
end_without(struct fetch *f, const char *url, const char *why)
{
	char text[1024];

	f->done++;
	f->failed++;
	clear_line(f);
	printf("failed %s: %s\n", clean(url, text, sizeof(text)), why);
}

/* ---- a page ---- */

/* What is written here leaves when the connection is open. */
static void
page_init(struct sconce_fleet_conn *c)
{
	struct page *p = page_of(c);
	const char *url = c->arg, *host = url + strlen("http://"), *path;
	size_t len;

	p->begun = sconce_now(c->fleet->loop);
	if (!split_url(url, &len, &path))
		return;				/* scanned before */
	sconce_printf(&c->stream.sock, "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: sconce-fetch\r\nAccept: */*\r\n"
	    "Connection: close\r\n\r\n", path[0] == '/' ? "" : "/", (int)strcspn(path, "#"), path, (int)len, host);
}

static void
page_record(struct sconce_fleet_conn *c, const struct sconce_record *rec)
{
	struct page *p = page_of(c);
	const struct sconce_http_record *http = rec->detail;

	if (rec->flags & SCONCE_RECORD_HEAD)
		p->status = http->head->status;
	else
		p->bytes += rec->len;
	if (p->status < 200 || !(rec->flags & SCONCE_RECORD_END))
		return;				/* 100 and its kin come before the answer */
	p->whole = true;
	sconce_close(&c->stream.sock, SCONCE_REASON_LOCAL);
}

static void
page_failed(struct sconce_fleet_conn *c, const struct sconce_fail *fail)
{
	struct page *p = page_of(c);
	bool again = fail->errnum == EMFILE || fail->errnum == ENFILE;

	memcpy(p->why, fail->text, sizeof(fail->text));
	if (again) {				/* as soon as there are descriptors again */
		struct sconce_fleet_target t = { .endpoint = sconce_fleet_endpoint(c), .arg = c->arg };

		p->later = sconce_fleet_queue(c->fleet, NULL, &t, NULL) == 0;
	}
}

static void
page_timeout(struct sconce_fleet_conn *c, enum sconce_fleet_phase phase)
{
	struct page *p = page_of(c);

	snprintf(p->why, sizeof(p->why), "no %s in %g s", phase == SCONCE_FLEET_CONNECTING ? "connection" : "answer",
	    fetch_of(c)->seconds);
}

static void
page_closed(struct sconce_fleet_conn *c)
{
	struct fetch *f = fetch_of(c);
	struct page *p = page_of(c);
	double seconds = sconce_now(c->fleet->loop) - p->begun;
	char text[1024];

	if (p->later || (f->interrupted && !p->whole))
		return;
	if (!p->whole) {
		end_without(f, c->arg, p->why[0] != '\0' ? p->why : "no whole answer");
		return;
	}
	f->done++;
	f->bytes += p->bytes;
	note_time(f, seconds);
	clear_line(f);
	printf("%d %llu bytes %.3f s %s\n", p->status, (unsigned long long)p->bytes, seconds,
	    clean(c->arg, text, sizeof(text)));
}

static const struct sconce_fleet_ops page_ops = {
	.name = "page", .size = sizeof(struct page), .offset = offsetof(struct page, conn),
	.init = page_init, .record = page_record, .failed = page_failed, .error = page_failed, .timeout = page_timeout,
	.closed = page_closed,
};

/* ---- all of them ---- */

/* Called whenever one more may be fetched. */
static bool
fetch_next(struct sconce_fleet *fleet, void *arg, struct sconce_fleet_target *target_out)
{
	static char endpoint[300];
	struct fetch *f = arg;

	(void)fleet;
	while (f->next < f->count) {
		char *url = f->urls[f->next++];

		if (endpoint_of(url, endpoint, sizeof(endpoint))) {
			target_out->endpoint = endpoint;
			target_out->arg = url;
			return true;
		}
		end_without(f, url, "this is no http:// URL");
	}
	return false;
}

static void
interrupted(struct sconce_loop *loop, int signo, void *arg)
{
	struct fetch *f = arg;

	f->interrupted = true;
	sconce_fleet_abort(&f->fleet);
	sconce_signal(loop, signo, NULL, NULL);		/* a second ^C kills */
}

static bool
is_left(struct sconce_loop *loop, void *arg)
{
	struct fetch *f = arg;

	(void)loop;
	return f->fleet.count > 0 || f->fleet.waiting > 0 || (f->next < f->count && !f->interrupted);
}

static int
run(struct fetch *f, struct sconce_loop *loop)
{
	if (f->count == 0)
		return 0;
	sconce_timer_init(&f->progress, loop, show, f);
	f->shows = isatty(STDERR_FILENO);
	if (f->shows)
		sconce_timer_start_every(&f->progress, progress_seconds, progress_seconds);
	sconce_signal(loop, SIGINT, interrupted, f);
	f->begun = sconce_now(loop);
	sconce_fleet_feed(&f->fleet, fetch_next, f);
	sconce_loop_run(loop);
	sconce_timer_stop(&f->progress);
	summarize(f);
	return f->interrupted ? 130 : f->failed > 0;
}

static int
fetch(struct fetch *f, size_t at_a_time)
{
	struct sconce_http_options http = {.mode = SCONCE_HTTP_STREAMING, .responses = true};
	struct sconce_fleet_options opts = {
		.max_in_flight = at_a_time, .connect_timeout = f->seconds, .input_timeout = f->seconds,
	};
	struct sconce_loop *loop = NULL;
	int result = sconce_loop_new(NULL, &loop), status = 1;

	if (result == 0)
		result = sconce_filter_http(&http, &opts.filter);
	if (result == 0)
		result = sconce_fleet_init(&f->fleet, loop, &page_ops, &opts);
	if (result == 0)
		result = sconce_post_loop_add(loop, is_left, f);
	if (result == 0)
		status = run(f, loop);
	else
		fprintf(stderr, "fetch: %s\n", sconce_strerror(result));
	sconce_loop_free(loop);
	sconce_fleet_fini(&f->fleet);
	sconce_filter_unref(opts.filter);
	return status;
}

static bool
collect(struct fetch *f, char **args, int count, const char *file)
{
	bool good = true;
	FILE *in = NULL;

	for (int i = 0; good && i < count; i++)
		good = add_url(f, args[i]);
	if (file == NULL && count == 0)
		file = "-";
	if (file != NULL && good) {
		in = strcmp(file, "-") == 0 ? stdin : fopen(file, "r");
		good = in != NULL && read_urls(f, in);
	}
	if (!good)
		fprintf(stderr, "fetch: %s: %s\n", file != NULL ? file : "the list", strerror(errno));
	if (in != NULL && in != stdin)
		fclose(in);
	return good;
}

static int
usage(void)
{
	fprintf(stderr, "usage: fetch [-n AT_A_TIME] [-t SECONDS] [-f FILE] [URL ...]\n"
	    "\t-n\thow many at a time (%d)\n\t-t\tseconds for the connect, and of silence (%g)\n", AT_A_TIME, answer_seconds);
	return 2;
}

int
main(int argc, char **argv)
{
	struct fetch f = {.seconds = answer_seconds};
	const char *file = NULL;
	long at_a_time = AT_A_TIME;
	int option, status;

	while ((option = getopt(argc, argv, "f:n:t:")) != -1) {
		if (option == 'f')
			file = optarg;
		else if (option == 'n')
			at_a_time = atol(optarg);
		else if (option == 't')
			f.seconds = atof(optarg);
		else
			return usage();
	}
	if (at_a_time < 1 || at_a_time > AT_A_TIME_MOST || !(f.seconds > 0 && f.seconds <= 86400)) {
		fprintf(stderr, "fetch: -n is 1 to %d, -t seconds up to a day\n", AT_A_TIME_MOST);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);	/* whoever reads it sees each line at once */
	status = collect(&f, argv + optind, argc - optind, file) ? fetch(&f, (size_t)at_a_time) : 1;
	for (size_t i = 0; i < f.count; i++)
		free(f.urls[i]);
	free(f.urls);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "fetch: cannot write what came: %s\n", strerror(errno));
		status = 1;
	}
	return status;
}
