/* A DNS stub client: asks a server for the addresses of a name, by UDP.
 *
 *	dns SERVER NAME [a|aaaa]	SERVER is ADDRESS:PORT, for instance 127.0.0.1:53
 *
 * Prints one address a line.  An answer must come from the server, have the question's id and repeat the question;
 * whatever else comes is ignored, and the question asked again when nothing else does.  (RFC 1035 section 4 has the
 * format.)
 * Exit status: 0, or 1 without an address, which a line on standard error explains. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <sconce/sconce.h>

enum { TRIES = 3, HEADER = 12, MESSAGE = 512, LABEL = 63, NAME = 255, TYPE_A = 1, TYPE_AAAA = 28, CLASS_IN = 1 };
static const double first_wait = 0.3;	/* seconds; doubles with each try */

struct query {
	struct sconce_dgram dgram;	/* the base; connected to the server */
	struct sconce_timer timer;	/* until the question is asked again */
	int tries;
	unsigned char question[MESSAGE];	/* the whole message */
	size_t len;
	int type;
	int status;			/* of the program */
};
static const struct sconce_dgram_ops query_ops;

/* What is left of a message to be read.  Reading past the end gives zeros and is remembered. */
struct reader {
	const unsigned char *data;
	size_t len, at;
	bool bad;
};

static struct query *
query_of(struct sconce_dgram *d)
{
	assert(d->ops == &query_ops);
	return SCONCE_CONTAINER_OF(d, struct query, dgram);
}

/* Says how it ended, and ends. */
static void
query_end(struct query *q, const char *problem)
{
	if (problem != NULL)
		fprintf(stderr, "dns: %s\n", problem);
	q->status = problem != NULL;
	sconce_close(&q->dgram.sock, SCONCE_REASON_LOCAL);
}

/* ---- the question ---- */

static void
put16(struct query *q, unsigned value)
{
	q->question[q->len++] = (unsigned char)(value >> 8);
	q->question[q->len++] = (unsigned char)value;
}

/* Appends a name as labels with their lengths.  Returns whether it is one. */
static bool
put_name(struct query *q, const char *name)
{
	size_t start = q->len;

	while (*name != '\0') {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > LABEL || q->len - start + label + 2 > NAME)
			return false;
		q->question[q->len++] = (unsigned char)label;
		memcpy(q->question + q->len, name, label);
		q->len += label;
		name += label;
		if (*name == '.')
			name++;
	}
	q->question[q->len++] = 0;
	return q->len > start + 1;
}

/* Builds the message.  Returns whether `name` can be asked for. */
static bool
query_build(struct query *q, const char *name, int type)
{
	unsigned short id;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return false;
	q->type = type;
	put16(q, id);
	put16(q, 0x0100);		/* recursion, please */
	put16(q, 1);			/* one question */
	put16(q, 0);
	put16(q, 0);
	put16(q, 0);
	if (!put_name(q, name))
		return false;
	put16(q, (unsigned)type);
	put16(q, CLASS_IN);
	return true;
}

static void
query_ask(struct query *q)
{
	double wait = first_wait * (1 << q->tries);

	if (q->tries++ == TRIES) {
		query_end(q, "no answer");
		return;
	}
	if (sconce_dgram_send(&q->dgram, q->question, q->len) < 0)
		query_end(q, "cannot send");
	else
		sconce_timer_start(&q->timer, wait);
}

static void
query_timer(struct sconce_timer *t, void *arg)
{
	(void)t;
	query_ask(arg);
}

/* ---- the answer ---- */

static unsigned
get(struct reader *r, int bytes)
{
	unsigned value = 0;

	if (r->len - r->at < (size_t)bytes) {
		r->at = r->len;
		r->bad = true;
		return 0;
	}
	while (bytes-- > 0)
		value = value << 8 | r->data[r->at++];
	return value;
}

/* A name: labels, at last an empty one or a pointer (which need not be followed). */
static void
skip_name(struct reader *r)
{
	unsigned label;

	while ((label = get(r, 1)) != 0 && !r->bad) {
		if ((label & 0xc0) == 0xc0) {
			get(r, 1);
			return;
		}
		if (label > LABEL || label > r->len - r->at) {
			r->bad = true;
			return;
		}
		r->at += label;
	}
}

/* One record of the answer.  Prints it if it is an address of the type that was asked for. */
static bool
print_record(struct reader *r, int type)
{
	char text[INET6_ADDRSTRLEN];
	unsigned its_type, its_class, len;

	skip_name(r);
	its_type = get(r, 2);
	its_class = get(r, 2);
	get(r, 4);			/* how long it may be kept */
	len = get(r, 2);
	if (r->bad || len > r->len - r->at) {
		r->bad = true;
		return false;
	}
	r->at += len;
	if (its_type != (unsigned)type || its_class != CLASS_IN || len != (type == TYPE_A ? 4 : 16))
		return false;
	puts(inet_ntop(type == TYPE_A ? AF_INET : AF_INET6, r->data + r->at - len, text, sizeof(text)));
	return true;
}

/* Whether the message answers the question: the id, the kind, and the question itself, letter case aside. */
static bool
is_answer(const struct query *q, const struct sconce_datagram *p)
{
	const unsigned char *m = p->data;
	const char *name = (const char *)q->question + HEADER;

	if (p->truncated || p->len < q->len || memcmp(m, q->question, 2) != 0 || (m[2] & 0xf8) != 0x80)
		return false;
	return m[4] == 0 && m[5] == 1 && strncasecmp((const char *)m + HEADER, name, strlen(name)) == 0 &&
	    memcmp(m + q->len - 5, q->question + q->len - 5, 5) == 0;	/* the name's end, type and class */
}

static const char *
code_text(unsigned code)
{
	static const char *const texts[] = {
		NULL, "the server did not understand the question", "the server failed", "there is no such name",
		"the server cannot do that", "the server refuses",
	};

	return code < sizeof(texts) / sizeof(texts[0]) ? texts[code] : "the server gave an unknown error";
}

static void
query_event_datagram(struct sconce_dgram *d, const struct sconce_datagram *p)
{
	struct query *q = query_of(d);
	struct reader r = {.data = p->data, .len = p->len, .at = q->len};
	unsigned records, found = 0;

	if (!is_answer(q, p))
		return;			/* forged, late, or broken: the right one may still come */
	if ((r.data[3] & 15) != 0) {
		query_end(q, code_text(r.data[3] & 15));
		return;
	}
	records = (unsigned)r.data[6] << 8 | r.data[7];
	while (records-- > 0 && !r.bad)
		found += print_record(&r, q->type);
	if (r.data[2] & 2)
		fprintf(stderr, "dns: the answer was too long for a datagram: some may be missing\n");
	query_end(q, found > 0 ? NULL : r.bad ? "the answer is broken" : "the name has no such address");
}

/* Nobody is there, for instance.  Whoever forges that cannot end it before the tries are used up. */
static void
query_event_error(struct sconce_dgram *d, const struct sconce_dgram_error *e)
{
	struct query *q = query_of(d);
	char text[SCONCE_ADDR_TEXT], problem[SCONCE_ADDR_TEXT + 64];

	if (q->tries < TRIES)
		return;
	snprintf(problem, sizeof(problem), "%s: %s", sconce_addr_text(&e->to, text, sizeof(text)), sconce_strerror(e->errnum));
	query_end(q, problem);
}

/* Without memory there is no record of a failure. */
static const char *
failure_text(const struct sconce_sock *s, int errnum)
{
	const struct sconce_fail *fail = sconce_failure(s);

	return fail != NULL ? fail->text : sconce_strerror(errnum);
}

static void
query_event_connect(struct sconce_dgram *d, int errnum)
{
	struct query *q = query_of(d);

	if (errnum != 0)
		query_end(q, failure_text(&d->sock, errnum));
	else
		query_ask(q);
}

static void
query_event_close(struct sconce_dgram *d)
{
	sconce_timer_stop(&query_of(d)->timer);
}

static const struct sconce_dgram_ops query_ops = {
	.name = "query",
	.event_datagram = query_event_datagram,
	.event_error = query_event_error,
	.event_connect = query_event_connect,
	.event_close = query_event_close,
};

/* Everything up to the connect, whose result comes from the loop.  Returns NULL or what is wrong. */
static const char *
query_start(struct query *q, struct sconce_loop *loop, const char *server)
{
	char endpoint[300];
	int r = sconce_dgram_init(&q->dgram, loop, &query_ops, -1, NULL);

	if (r < 0)
		return sconce_strerror(r);
	sconce_timer_init(&q->timer, loop, query_timer, q);
	snprintf(endpoint, sizeof(endpoint), "udp://%s", server);
	r = sconce_connect(&q->dgram.sock, endpoint);
	return r < 0 ? failure_text(&q->dgram.sock, r) : NULL;
}

int
main(int argc, char **argv)
{
	struct query q = {.status = 1};
	struct sconce_loop *loop;
	const char *problem;
	int type = TYPE_A;

	if (argc == 4 && strcasecmp(argv[3], "aaaa") == 0)
		type = TYPE_AAAA;
	else if (argc != 3 && (argc != 4 || strcasecmp(argv[3], "a") != 0))
		argc = 0;
	if (argc == 0 || argv[1][0] == '-') {
		fprintf(stderr, "usage: dns SERVER NAME [a|aaaa]\n");
		return 2;
	}
	if (!query_build(&q, argv[2], type)) {
		fprintf(stderr, "dns: %s is no name\n", argv[2]);
		return 1;
	}
	if (sconce_loop_new(NULL, &loop) < 0) {
		fprintf(stderr, "dns: cannot make a loop\n");
		return 1;
	}
	problem = query_start(&q, loop, argv[1]);
	if (problem != NULL)
		fprintf(stderr, "dns: %s\n", problem);
	else
		sconce_loop_run(loop);
	sconce_loop_free(loop);
	return q.status;
}
