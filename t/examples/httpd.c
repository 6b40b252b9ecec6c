/* An HTTP server for the test of fetch: prints "listening on ADDRESS" and answers by path until it is killed:
 *
 *	/N	200 with N bytes	/chunked	200 with 11 bytes in chunks	/early	100, then 200 with 2 bytes
 *	/close	200 with 5 bytes, to the end	/cut	200 that ends before its length	/junk	no HTTP
 *	/silent	nothing, ever		others	404 with 5 bytes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sconce/http.h>
#include <sconce/sconce.h>

static struct sconce_filter *requests;

static const struct answer {
	const char *path, *text;
	bool ends;			/* by the end of the connection */
} answers[] = {
	{"/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n", false},
	{"/early", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
	{"/close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", true},
	{"/cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", true},
	{"/junk", "220 mail.example.com ready\r\n", true},
	{"/silent", "", false},
};

static void
guest_answer(struct sconce_stream *st, const char *path, size_t len)
{
	char body[70000];
	unsigned long n = len > 1 && path[1] >= '0' && path[1] <= '9' ? strtoul(path + 1, NULL, 10) : 0;

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (len == strlen(answers[i].path) && memcmp(path, answers[i].path, len) == 0) {
			sconce_write(&st->sock, answers[i].text, strlen(answers[i].text));
			if (answers[i].ends)
				sconce_close_flush(&st->sock, 5);
			return;
		}
	if (n > 0 && n <= sizeof(body)) {
		memset(body, 'x', n);
		sconce_printf(&st->sock, "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", n);
		sconce_write(&st->sock, body, n);
	} else {
		sconce_printf(&st->sock, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n");
	}
}

static void
guest_event_record(struct sconce_stream *st, const struct sconce_record *rec)
{
	const struct sconce_http_record *http = rec->detail;

	if (rec->flags & SCONCE_RECORD_HEAD)
		guest_answer(st, (const char *)rec->data + http->head->path.offset, http->head->path.length);
}

static void
guest_destroy(struct sconce_stream *st)
{
	free(st);
}

static const struct sconce_stream_ops guest_ops = {
	.name = "guest", .event_record = guest_event_record, .destroy = guest_destroy,
};

static int
door_accept(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct sconce_stream_options opts = {.filter = requests};
	struct sconce_stream *st = malloc(sizeof(*st));
	int result = st == NULL ? -1 : sconce_stream_init(st, l->sock.loop, &guest_ops, fd, &opts);

	(void)peer;
	if (result < 0)
		free(st);
	return result;
}

int
main(void)
{
	static const struct sconce_listener_ops door_ops = {.name = "door", .accept = door_accept};
	struct sconce_http_options http = {.mode = SCONCE_HTTP_STREAMING};
	struct sconce_listener door;
	struct sconce_loop *loop;
	char text[SCONCE_ADDR_TEXT];

	if (sconce_loop_new(NULL, &loop) < 0 || sconce_filter_http(&http, &requests) < 0 ||
	    sconce_listen(&door, loop, &door_ops, "127.0.0.1:0", NULL) < 0)
		return 1;
	printf("listening on %s\n", sconce_addr_text(&door.addr, text, sizeof(text)));
	fflush(stdout);
	return sconce_loop_run(loop) < 0;
}
