/* The demonstration: two web servers of a few pages, each a small program on the library, and the proxy in front of
 * them.  They run on the proxy's loop and know nothing of it. */
#include "demo.h"
#include "command.h"
#include "partial.h"
#include "recode.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SITES = 2, FIRST_PORT = 8080, PORTS = 20, SLOW_LINES = 6, DOWN_SECONDS = 10 };
#define SLOW_SECONDS 0.5
#define BIG_BYTES (100u << 20)

static const char config_format[] =
	"CREATE POOL demo_pool\n"
	"POOL demo_pool ADD %s\n"
	"POOL demo_pool ADD %s\n"
	"\n"
	"CREATE SERVICE demo\n"
	"  SET role            = reverse_proxy\n"
	"  SET listen          = 127.0.0.1:%d\n"
	"  SET pool            = demo_pool\n"
	"  SET persist_client  = on\n"
	"  SET persist_backend = on\n"
	"  SET connect_ahead   = 1\n"
	"ENABLE demo\n";

/* One of the two servers. */
struct site {
	struct sconce_listener listener;
	struct demo	*demo;
	const char	*name;
	char		address[SCONCE_ADDR_TEXT];
	bool		listening;
	uint64_t	answered;
	struct sconce_timer down;	/* until it listens again */
};

struct demo {
	struct proxy	*proxy;
	struct site	sites[SITES];
	char		*block;		/* 64 KiB of text, for /big */
};

enum { BLOCK_BYTES = 64 * 1024 };

/* What a connection is busy with. */
enum work { READ_HEAD, ECHO, SLOW, BIG };

struct visit {
	struct sconce_sock sock;
	struct site	*site;
	struct partial	*partial;
	struct sconce_http_body body;	/* of the request */
	struct sconce_timer timer;	/* for SLOW */
	enum work	work;
	unsigned	lines;		/* SLOW: to come */
	uint64_t	left;		/* BIG: bytes to come */
	bool		keep;
	bool		head;		/* the method is HEAD: no body */
};

static const struct sconce_sock_ops visit_ops;

static struct visit *
visit_of(struct sconce_sock *s)
{
	assert(s->ops == &visit_ops);
	return SCONCE_CONTAINER_OF(s, struct visit, sock);
}

/* ---- answers ---- */

static int
put_head(struct visit *v, int status, const char *type, const char *framing, const char *value)
{
	char buf[512];
	struct sconce_http_writer w;

	sconce_http_writer_init(&w, buf, sizeof(buf));
	sconce_http_put_status(&w, status, NULL, 0);
	sconce_http_put(&w, "Date", proxy_date(v->site->demo->proxy));
	sconce_http_put(&w, "Content-Type", type);
	sconce_http_put(&w, framing, value);
	sconce_http_put(&w, "X-Backend", v->site->name);
	if (sconce_http_end(&w) < 0)
		return -EINVAL;
	return sconce_write(&v->sock, buf, w.len);
}

static void
put_page(struct visit *v, int status, const char *type, const char *text)
{
	char length[24];

	snprintf(length, sizeof(length), "%zu", strlen(text));
	put_head(v, status, type, "Content-Length", length);
	if (!v->head)
		sconce_write(&v->sock, text, strlen(text));
}

static void
escape_html(char *out, size_t size, const char *text, size_t len)
{
	char *end = out + size - 8;

	for (; len > 0 && out < end; text++, len--) {
		if (*text == '<')
			out = stpcpy(out, "&lt;");
		else if (*text == '&')
			out = stpcpy(out, "&amp;");
		else if (*text != '\r')
			*out++ = *text;
	}
	*out = '\0';
}

static void
front_page(struct visit *v, const char *head, size_t head_len)
{
	char escaped[8192], page[10240];

	escape_html(escaped, sizeof(escaped), head, head_len);
	snprintf(page, sizeof(page),
	    "<!doctype html><title>sconced</title>\n"
	    "<h1>Backend %s at %s answered</h1>\n"
	    "<p>It has answered %llu requests.  Reload, and the other one takes its turn.</p>\n"
	    "<p><a href=/slow>/slow</a> a page in pieces &middot; <a href=/big>/big</a> 100 MiB &middot;\n"
	    "<a href=/down>/down</a> this backend goes away for %d s &middot; <a href=/cut>/cut</a> it dies halfway</p>\n"
	    "<p>The request as it came here:</p>\n<pre>%s</pre>\n",
	    v->site->name, v->site->address, (unsigned long long)v->site->answered, DOWN_SECONDS, escaped);
	put_page(v, 200, "text/html; charset=utf-8", page);
}

/* Returns what sconce_writev() does. */
static int
put_chunk(struct visit *v, const char *text, size_t len, bool last)
{
	struct pieces pieces = { .count = 0 };

	if (!v->head)
		pieces_add_chunk(&pieces, text, len, last);
	return sconce_writev(&v->sock, pieces.iov, pieces.count);
}

static void
finish(struct visit *v)
{
	v->work = READ_HEAD;
	if (v->keep)
		sconce_resume(&v->sock, SCONCE_PAUSE_APP);
	else
		sconce_close_flush(&v->sock, LINGER_SECONDS);
}

static void
slow_line(struct sconce_timer *t, void *arg)
{
	struct visit *v = arg;
	char line[80];
	int n = snprintf(line, sizeof(line), "%u: backend %s is thinking\n", SLOW_LINES - v->lines + 1, v->site->name);

	put_chunk(v, line, (size_t)n, --v->lines == 0);
	if (v->lines > 0)
		sconce_timer_start(t, SLOW_SECONDS);
	else
		finish(v);
}

/* As much as the kernel takes; event_drain asks for more. */
static void
more_of_big(struct visit *v)
{
	int result = SCONCE_SENT;

	for (unsigned i = 0; v->left > 0 && result != SCONCE_QUEUED && result >= 0 && i < 16; i++) {
		size_t n = v->left < BLOCK_BYTES ? (size_t)v->left : BLOCK_BYTES;

		result = sconce_write_ref(&v->sock, v->site->demo->block, n, NULL, NULL);
		v->left -= n;
	}
	sconce_watch_write(&v->sock, v->left > 0);
	if (v->left == 0)
		finish(v);
}

static void
begin_big(struct visit *v)
{
	char length[24];

	snprintf(length, sizeof(length), "%u", BIG_BYTES);
	put_head(v, 200, "text/plain", "Content-Length", length);
	if (v->head) {
		finish(v);
		return;
	}
	v->work = BIG;
	v->left = BIG_BYTES;
	more_of_big(v);
}

static void
begin_slow(struct visit *v)
{
	put_head(v, 200, "text/plain", "Transfer-Encoding", "chunked");
	if (v->head) {
		finish(v);
		return;
	}
	v->work = SLOW;
	v->lines = SLOW_LINES;
	slow_line(&v->timer, v);
}

/* ---- going away ---- */

static bool
close_visit(struct sconce_sock *s, void *site)
{
	if (s->ops == &visit_ops && visit_of(s)->site == site)
		sconce_close_flush(s, LINGER_SECONDS);
	return true;
}

static void
go_down(struct visit *v)
{
	struct site *site = v->site;

	put_page(v, 200, "text/plain", "I am gone for a while.\n");
	sconce_close(&site->listener.sock, SCONCE_REASON_LOCAL);
	site->listening = false;
	sconce_each(v->sock.loop, close_visit, site);
	sconce_timer_start(&site->down, DOWN_SECONDS);
	printf("demo: backend %s is down for %d s\n", site->name, DOWN_SECONDS);
	fflush(stdout);
}

static int site_listen(struct site *site, const char *address);

static void
come_up(struct sconce_timer *t, void *arg)
{
	struct site *site = arg;

	if (site_listen(site, site->address) < 0) {
		sconce_timer_start(t, 1);
		return;
	}
	printf("demo: backend %s is up again\n", site->name);
	fflush(stdout);
}

/* ---- requests ---- */

static bool
path_is(const struct sconce_http_head *head, const char *buf, const char *path)
{
	size_t len = strlen(path);

	return head->path.length >= len && memcmp(sconce_http_at(buf, head->path), path, len) == 0 &&
	    (head->path.length == len || sconce_http_at(buf, head->path)[len] == '?');
}

/* The request's body, back again in chunks. */
static void
echo(struct visit *v, char *buf, size_t len)
{
	char *payload;
	size_t payload_len;
	ssize_t taken = recode_payload(&v->body, buf, len, &payload, &payload_len);
	int result = taken < 0 ? -EBADMSG : put_chunk(v, payload, payload_len, v->body.done);

	if (result < 0) {
		sconce_close(&v->sock, SCONCE_REASON_LOCAL);
		return;
	}
	if ((size_t)taken < len)
		sconce_unread(&v->sock, buf + taken, len - (size_t)taken);
	if (v->body.done)
		finish(v);
	else if (result == SCONCE_QUEUED)
		sconce_pause(&v->sock, SCONCE_PAUSE_APP); /* until event_drain; what is only gathered brings none */
}

static void
begin_echo(struct visit *v, const struct sconce_http_head *head, char *buf, size_t len)
{
	if (head->expect_continue)
		sconce_printf(&v->sock, "HTTP/1.1 100 Continue\r\n\r\n");
	put_head(v, 200, "application/octet-stream", "Transfer-Encoding", "chunked");
	v->work = ECHO;
	sconce_http_body_init(&v->body, head->body, head->content_length);
	echo(v, buf, len);
}

static void
begin(struct visit *v, const struct sconce_http_head *head, char *buf, size_t head_len, size_t len)
{
	v->keep = head->keep_alive;
	v->head = head->method_id == SCONCE_HTTP_HEAD;
	v->site->answered++;
	if (head->body != SCONCE_HTTP_BODY_NONE) {
		begin_echo(v, head, buf + head_len, len - head_len);
		return;
	}
	sconce_pause(&v->sock, SCONCE_PAUSE_APP);
	if (len > head_len)
		sconce_unread(&v->sock, buf + head_len, len - head_len);
	if (path_is(head, buf, "/slow")) {
		begin_slow(v);
		return;
	}
	if (path_is(head, buf, "/big")) {
		begin_big(v);
		return;
	}
	if (path_is(head, buf, "/down")) {
		go_down(v);
		return;
	}
	if (path_is(head, buf, "/cut")) {
		put_head(v, 200, "text/plain", "Content-Length", "1000");
		if (!v->head)
			sconce_printf(&v->sock, "Half of a thousand bytes");
		v->keep = false;
	} else if (path_is(head, buf, "/")) {
		front_page(v, buf, head_len);
	} else {
		put_page(v, 404, "text/plain", "There is no such page here.\n");
	}
	finish(v);
}

static void
read_head(struct visit *v)
{
	struct proxy *p = v->site->demo->proxy;
	struct sconce_http_head head;
	char *buf;
	size_t len;
	ssize_t n;

	sconce_http_request_init(&head, p->fields, SCONCE_HTTP_FIELDS, 0);
	n = partial_read(&v->partial, p, &v->sock, &head, FIRST_READ, &buf, &len);
	if (n == -EAGAIN || n == PARTIAL_MORE)
		return;
	if (n < 0) {
		sconce_close(&v->sock, SCONCE_REASON_EOF);
		return;
	}
	begin(v, &head, buf, (size_t)n, len);
	partial_free(&v->partial);
}

/* ---- hooks ---- */

static void
visit_event_read(struct sconce_sock *s)
{
	struct visit *v = visit_of(s);
	char *io = v->site->demo->proxy->io;
	ssize_t n;

	if (v->work == READ_HEAD) {
		read_head(v);
		return;
	}
	n = sconce_read(s, io, BLOCK_BYTES);
	if (n > 0 && v->work == ECHO)
		echo(v, io, (size_t)n);
	else if (n != -EAGAIN)
		sconce_close(s, SCONCE_REASON_EOF);
}

static void
visit_event_write(struct sconce_sock *s)
{
	more_of_big(visit_of(s));
}

static void
visit_event_drain(struct sconce_sock *s)
{
	if (visit_of(s)->work == ECHO)
		sconce_resume(s, SCONCE_PAUSE_APP);
}

static void
visit_event_close(struct sconce_sock *s)
{
	sconce_timer_stop(&visit_of(s)->timer);
}

static void
visit_event_hup(struct sconce_sock *s)
{
	sconce_close(s, SCONCE_REASON_HUP);
}

static void
visit_destroy(struct sconce_sock *s)
{
	struct visit *v = visit_of(s);

	partial_free(&v->partial);
	free(v);
}

static const struct sconce_sock_ops visit_ops = {
	.name = "demo",
	.event_read = visit_event_read,
	.event_write = visit_event_write,
	.event_drain = visit_event_drain,
	.event_hup = visit_event_hup,
	.event_close = visit_event_close,
	.destroy = visit_destroy,
};

static int
site_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct site *site = SCONCE_CONTAINER_OF(l, struct site, listener);
	struct visit *v = calloc(1, sizeof(*v));
	int error;

	(void)peer;
	if (v == NULL)
		return -ENOMEM;
	error = sconce_sock_init(&v->sock, site->demo->proxy->loop, &visit_ops, fd);
	if (error < 0) {
		free(v);
		return error;
	}
	v->site = site;
	sconce_timer_init(&v->timer, site->demo->proxy->loop, slow_line, v);
	return 0;
}

static const struct sconce_listener_ops site_ops = { .name = "demo site", .accept = site_accept };

static int
site_listen(struct site *site, const char *address)
{
	struct sconce_fail fail;
	int error = sconce_listen(&site->listener, site->demo->proxy->loop, &site_ops, address, &fail);

	if (error < 0) {
		fprintf(stderr, "sconced: demo backend %s: %s\n", site->name, fail.text);
		return error;
	}
	site->listening = true;
	sconce_addr_text(&site->listener.addr, site->address, sizeof(site->address));
	return 0;
}

/* ---- start ---- */

/* The built-in configuration, with the first port that is free. */
static int
open_service(struct demo *demo, char *config, size_t size, int *port_out)
{
	struct config_report report = { .out = stderr };
	struct service *sv;
	int port = FIRST_PORT, error;

	snprintf(config, size, config_format, demo->sites[0].address, demo->sites[1].address, port);
	error = config_load_text(demo->proxy, "(demo)", config, &report);
	if (error < 0)
		return error;
	sv = service_find(demo->proxy, "demo");
	for (;;) {
		char listen[32], message[128];

		error = service_open(sv);
		if (error == 0 || error != -EADDRINUSE || port == FIRST_PORT + PORTS)
			break;
		port++;
		snprintf(listen, sizeof(listen), "127.0.0.1:%d", port);
		param_set_service(sv, NULL, "listen", listen, message, sizeof(message));
	}
	if (error < 0)
		fprintf(stderr, "sconced: cannot listen on %s: %s\n", sv->conf.listen, sconce_strerror(error));
	snprintf(config, size, config_format, demo->sites[0].address, demo->sites[1].address, port);
	*port_out = port;
	return error;
}

/* One line of what to try: a command, or none, and what it shows. */
static void
print_try(const char *option, const char *page, int port, const char *shows)
{
	char command[80] = "";

	if (page != NULL)
		snprintf(command, sizeof(command), "curl %shttp://127.0.0.1:%d/%s", option, port, page);
	printf("    %-46s %s\n", command, shows);
}

static void
print_guide(const struct demo *demo, const char *config, int port)
{
	printf("sconced %s: a demonstration.  The configuration:\n\n%s\n", sconce_version(), config);
	printf("Backends %s and %s serve behind it.  Open\n\n    http://127.0.0.1:%d/\n\nor try\n\n",
	    demo->sites[0].name, demo->sites[1].name, port);
	print_try("", "", port, "who answered, and what it was asked");
	print_try("-N ", "slow", port, "a chunked answer, as it comes");
	print_try("-d hello ", "echo", port, "a POST, echoed");
	print_try("-o /dev/null ", "big", port, "100 MiB; with --limit-rate 1M, a slow reader");
	print_try("", "down", port, "a backend goes away for a while, the other goes on;");
	print_try(NULL, NULL, port, "twice: 503, until they are back");
	print_try("", "cut", port, "a backend that dies halfway is noticed");
	printf("\nIt serves until ^C.\n");
}

static int
start(struct demo *demo)
{
	static const char *const names[SITES] = { "A", "B" };
	char config[1024];
	int error, port;

	demo->block = malloc(BLOCK_BYTES);
	if (demo->block == NULL)
		return -ENOMEM;
	memset(demo->block, 'x', BLOCK_BYTES);
	for (unsigned i = 63; i < BLOCK_BYTES; i += 64)
		demo->block[i] = '\n';
	for (unsigned i = 0; i < SITES; i++) {
		demo->sites[i].demo = demo;
		demo->sites[i].name = names[i];
		sconce_timer_init(&demo->sites[i].down, demo->proxy->loop, come_up, &demo->sites[i]);
		error = site_listen(&demo->sites[i], "127.0.0.1:0");
		if (error < 0)
			return error;
	}
	error = open_service(demo, config, sizeof(config), &port);
	if (error == 0)
		print_guide(demo, config, port);
	return error;
}

int
demo_start(struct proxy *p, struct demo **demo_out)
{
	struct demo *demo = calloc(1, sizeof(*demo));

	if (demo == NULL)
		return -ENOMEM;
	demo->proxy = p;
	*demo_out = demo;			/* the loop has parts of it, also when this fails */
	return start(demo);
}

void
demo_free(struct demo *demo)
{
	if (demo == NULL)
		return;
	free(demo->block);
	free(demo);
}
