/* The soak's comparison: the plan of a seed, on the simulator and on real sockets (socketpair, loopback TCP; libev).
 *
 * Every end has its own list of steps, made from the seed before the run.  Hooks, completions, deferred calls and
 * moments outside do the next steps whenever they come along, so that timing decides when a step is made but not what
 * becomes of it: what depends on timing (aborts, closes with bytes queued, timeouts, too little memory) is not in a
 * plan.  In the end each object has a transcript, and the two worlds must agree about all of them, and with the plan
 * about the bytes. */
#include "soak.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEPS = 16, WIRES = 6, OBJECTS = WIRES * 4, FILE_SIZE = 256 * 1024, PIECE = 70000, TURNS = 20000, LINE = 400 };

enum step_kind { STEP_WRITE, STEP_WRITEV, STEP_PRINTF, STEP_REF, STEP_FILE, STEP_CB, STEP_GATHER, STEP_MARKS,
	STEP_PAUSE, STEP_KINDS };

struct step {
	enum step_kind kind;
	uint32_t at, len;		/* of the table */
};

/* What one end does. */
struct plan {
	struct step steps[STEPS];
	int count;
	int shut_at;			/* before this step SHUT_RD: the other end has nothing to send; -1: never */
	bool flush;			/* ends with sconce_close_flush, not sconce_close */
	size_t read_size;
	bool shared;			/* reads with sconce_read_shared */
};

/* PAIR: two ends.  TCP: a client and what the listener makes.  RELAY: end - middle = middle - end. */
enum wire_kind { WIRE_PAIR, WIRE_TCP, WIRE_RELAY, WIRE_KINDS };

struct object {
	struct sconce_sock sock;
	struct run *run;
	const struct plan *plan;	/* NULL: the middle of a relay */
	int at;				/* next step */
	bool finished;			/* all steps done, and SHUT_WR asked for */
	bool ended, drained, closing;
	bool used, connected, deferred;
	uint64_t bytes, hash;		/* received */
	char done[LINE];		/* statuses, in order */
	char farewell[8];		/* "cd" */
	char line[2 * LINE];		/* the transcript */
	struct object *other;		/* the other middle */
};

struct run {
	struct sim *sim;		/* NULL: real */
	struct sconce_loop *loop;
	struct sconce_listener listener;
	struct object objects[OBJECTS];
	struct object *accepting;	/* who gets the next connection */
	int file;
	int alive;
	uint64_t chance;		/* timing: may differ between the worlds */
};

/* ---- plans ---- */

static uint64_t
next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

static unsigned
below(uint64_t *x, unsigned n)
{
	return (unsigned)(next_random(x) % n);
}

static bool
carries_bytes(const struct step *s)
{
	return s->kind <= STEP_FILE;
}

static void
plan_make(struct plan *p, uint64_t *x, bool silent)
{
	static const unsigned sizes[] = { 10, 300, 5000, 40000, PIECE };

	*p = (struct plan){ .count = 3 + (int)below(x, STEPS - 3), .shut_at = -1, .flush = below(x, 3) == 0,
		.shared = below(x, 2) == 0,
		.read_size = 1 + below(x, 20000) };
	for (int i = 0; i < p->count; i++) {
		struct step *s = &p->steps[i];

		s->kind = (enum step_kind)below(x, STEP_KINDS);
		if (silent && carries_bytes(s))
			s->kind = STEP_CB;
		s->len = 1 + below(x, sizes[below(x, 5)]);
		s->at = below(x, FILE_SIZE - PIECE);
	}
}

/* Both ends.  Bytes that meet a SHUT_RD are lost or are an error, as timing has it; so nobody sends any.  For a relay
 * it may be the end of both directions. */
static void
plan_wire(struct plan *plans, enum wire_kind kind, uint64_t *x)
{
	int shuts = kind != WIRE_RELAY && below(x, 3) == 0 ? (int)below(x, 2) : -1;

	for (int i = 0; i < 2; i++)
		plan_make(&plans[i], x, shuts == 1 - i);
	if (shuts >= 0)
		plans[shuts].shut_at = (int)below(x, 3);
}

static uint64_t
hash_more(uint64_t h, const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 0x100000001b3;
	return h;
}

enum { HASH_START = 2166136261u };

static void
plan_bytes(const struct plan *p, uint64_t *bytes_out, uint64_t *hash_out)
{
	*bytes_out = 0;
	*hash_out = HASH_START;
	for (int i = 0; i < p->count; i++)
		if (carries_bytes(&p->steps[i])) {
			*bytes_out += p->steps[i].len;
			*hash_out = hash_more(*hash_out, soak_table + p->steps[i].at, p->steps[i].len);
		}
}

/* ---- objects ---- */

static const struct sconce_sock_ops ops;

static struct object *
object_of(struct sconce_sock *s)
{
	return SCONCE_CONTAINER_OF(s, struct object, sock);
}

static void close_when_over(struct object *o);

static void
note_done(struct object *o, int status)
{
	size_t n = strlen(o->done);

	snprintf(o->done + n, sizeof(o->done) - n, " %d", status);
}

static void
step_done(struct sconce_sock *s, void *arg, int status)
{
	(void)arg;
	note_done(object_of(s), status);
}

static void
last_done(struct sconce_sock *s, void *arg, int status)
{
	struct object *o = object_of(s);

	step_done(s, arg, status);
	o->drained = true;
	close_when_over(o);
}

static void
resume(struct sconce_loop *loop, void *arg, int status)
{
	struct object *o = arg;

	(void)loop;
	o->deferred = false;
	if (status == 0)
		sconce_resume(&o->sock, SCONCE_PAUSE_APP);
}

static void
write_in_two(struct object *o, const unsigned char *from, size_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)from, len / 3 }, { (void *)(uintptr_t)(from + len / 3),
		len - len / 3 } };

	sconce_writev(&o->sock, iov, 2);
}

static void
do_step(struct object *o, const struct step *p)
{
	struct sconce_sock *s = &o->sock;
	const unsigned char *from = soak_table + p->at;

	switch (p->kind) {
	case STEP_WRITE:
		sconce_write(s, from, p->len);
		break;
	case STEP_WRITEV:
		write_in_two(o, from, p->len);
		break;
	case STEP_PRINTF:
		sconce_printf(s, "%.*s", (int)p->len, (const char *)from);
		break;
	case STEP_REF:
		sconce_write_ref(s, from, p->len, step_done, NULL);
		break;
	case STEP_FILE:
		sconce_write_file(s, o->run->file, (off_t)p->at, p->len, step_done, NULL);
		break;
	case STEP_CB:
		sconce_write_cb(s, step_done, NULL);
		break;
	case STEP_GATHER:
		sconce_set_gather(s, p->len % 2);
		break;
	case STEP_MARKS:
		sconce_set_marks(s, p->len / 2, p->len);
		break;
	default:
		if (!o->deferred && sconce_defer(s->loop, s, resume, o) == 0) {
			o->deferred = true;
			sconce_pause(s, SCONCE_PAUSE_APP);
		}
		break;
	}
}

/* Some of its next steps; how many is a matter of timing. */
static void
go_on(struct object *o)
{
	if (o->plan == NULL || o->sock.closed || o->closing || !o->connected)
		return;
	for (unsigned n = below(&o->run->chance, 3); n > 0 && o->at < o->plan->count; n--) {
		if (o->at == o->plan->shut_at)
			o->ended = sconce_shutdown(&o->sock, SHUT_RD) == 0;	/* no event_read will tell */
		do_step(o, &o->plan->steps[o->at++]);
	}
	if (o->at < o->plan->count || o->finished)
		return;
	o->finished = true;
	sconce_write_cb(&o->sock, last_done, NULL);
	sconce_shutdown(&o->sock, SHUT_WR);
	close_when_over(o);
}

/* Both directions have ended: nothing can be lost any more. */
static void
close_when_over(struct object *o)
{
	if (!o->ended || !o->finished || o->sock.closed || o->closing)
		return;
	if (o->plan->flush) {
		o->closing = true;
		sconce_close_flush(&o->sock, 30);
	} else if (o->drained) {
		sconce_close(&o->sock, SCONCE_REASON_USER + o->plan->count);
	}
}

static ssize_t
read_some(struct object *o)
{
	unsigned char buf[20000];
	const void *data = buf;
	ssize_t n = o->plan->shared ? sconce_read_shared(&o->sock, &data) : sconce_read(&o->sock, buf,
		o->plan->read_size);

	if (n > 1 && below(&o->run->chance, 8) == 0) {		/* a part of it comes again */
		size_t keep = 1 + below(&o->run->chance, (unsigned)n - 1);

		if (sconce_unread(&o->sock, (const unsigned char *)data + (size_t)n - keep, keep) == 0)
			n -= (ssize_t)keep;
	}
	if (n > 0) {
		o->bytes += (uint64_t)n;
		o->hash = hash_more(o->hash, data, (size_t)n);
	}
	return n;
}

static void
event_read(struct sconce_sock *s)
{
	struct object *o = object_of(s);
	ssize_t n;

	if (o->plan == NULL)
		return;				/* the relay reads */
	while ((n = read_some(o)) > 0)
		;
	if (n == 0)
		o->ended = true;
	go_on(o);
	close_when_over(o);
}

static void
event_more(struct sconce_sock *s)
{
	go_on(object_of(s));
}

static void
event_connect(struct sconce_sock *s, int errnum)
{
	struct object *o = object_of(s);

	o->connected = errnum == 0;
	go_on(o);
}

static void
event_close(struct sconce_sock *s)
{
	struct object *o = object_of(s);

	strcat(o->farewell, "c");
	snprintf(o->line, sizeof(o->line), "bytes %llu hash %016llx end %d reason %d errnum %d unsent %llu",
		(unsigned long long)o->bytes, (unsigned long long)o->hash, o->ended, s->reason, s->errnum,
		(unsigned long long)s->unsent);
}

static void
destroy(struct sconce_sock *s)
{
	struct object *o = object_of(s);
	size_t n = strlen(o->line);

	strcat(o->farewell, "d");
	snprintf(o->line + n, sizeof(o->line) - n, " done%.300s farewell %s", o->done, o->farewell);
	o->run->alive--;
}

static const struct sconce_sock_ops ops = {
	.name = "planned", .event_read = event_read, .event_low = event_more, .event_drain = event_more,
	.event_hup = event_more, .event_connect = event_connect, .event_close = event_close, .destroy = destroy,
};

static struct object *
object_open(struct run *r, int place, const struct plan *plan, int fd)
{
	struct object *o = &r->objects[place];

	*o = (struct object){ .run = r, .plan = plan, .hash = HASH_START, .used = true, .connected = fd >= 0 };
	if (sconce_sock_init(&o->sock, r->loop, &ops, fd) < 0)
		return NULL;
	r->alive++;
	return o;
}

static int
accept_planned(struct sconce_listener *l, int fd, const struct sconce_addr *peer)
{
	struct run *r = SCONCE_CONTAINER_OF(l, struct run, listener);
	struct object *o = r->accepting;

	(void)peer;
	r->accepting = NULL;
	if (o == NULL || object_open(r, (int)(o - r->objects), o->plan, fd) == NULL)
		return -ECONNREFUSED;
	return 0;
}

static const struct sconce_listener_ops listener_ops = { .name = "planned-listener", .accept = accept_planned };

/* ---- one world ---- */

static void
relayed(struct sconce_sock *s, void *arg, int status)
{
	struct object *o = object_of(s);

	(void)arg;
	note_done(o, status);
	sconce_close(&o->other->sock, SCONCE_REASON_USER);
	sconce_close(s, SCONCE_REASON_USER);
}

static void
run_turn(struct run *r)
{
	sconce_loop_step(r->loop, r->sim != NULL ? 0.05 : 0.002);
	for (int i = 0; i < OBJECTS; i++)
		if (r->objects[i].used && r->objects[i].farewell[0] == '\0' && below(&r->chance, 2) == 0)
			go_on(&r->objects[i]);
}

static bool
make_pair(struct run *r, int fds[2])
{
	return (r->sim != NULL ? sim_pair(r->sim, fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) == 0;
}

static bool
open_tcp(struct run *r, int place, const struct plan *plans)
{
	struct object *client = object_open(r, place, &plans[0], -1);
	char endpoint[SCONCE_ADDR_TEXT];

	r->objects[place + 1].plan = &plans[1];
	r->accepting = &r->objects[place + 1];
	sconce_addr_text(&r->listener.addr, endpoint, sizeof(endpoint));
	if (client == NULL || sconce_connect(&client->sock, endpoint) < 0)
		return false;
	for (int i = 0; i < TURNS && (r->accepting != NULL || !client->connected); i++)
		run_turn(r);
	return r->accepting == NULL && client->connected;
}

static bool
open_wire(struct run *r, enum wire_kind kind, int place, const struct plan *plans)
{
	int fds[2], more[2];
	struct object *a, *b;

	if (kind == WIRE_TCP)
		return open_tcp(r, place, plans);
	if (!make_pair(r, fds))
		return false;
	if (kind == WIRE_PAIR)
		return object_open(r, place, &plans[0], fds[0]) != NULL && object_open(r, place + 1, &plans[1],
			fds[1]) != NULL;
	if (!make_pair(r, more))
		return false;
	a = object_open(r, place + 2, NULL, fds[1]);
	b = object_open(r, place + 3, NULL, more[0]);
	if (a == NULL || b == NULL || object_open(r, place, &plans[0], fds[0]) == NULL ||
	    object_open(r, place + 1, &plans[1], more[1]) == NULL)
		return false;
	a->other = b;
	return sconce_relay(&a->sock, &b->sock, relayed, NULL) == 0;
}

static bool
run_open(struct run *r, bool simulated, uint64_t seed)
{
	static const struct sim_options hostile = { .short_io = 200, .again = 50, .eintr = 50, .delay = 300,
		.spurious = 50,
		.hup_again = 200, .cut = 200, .accept_fail = 100, .connect_now = 300, .connect_slow = 300,
		.buffer = 32768 };
	struct sconce_fail fail;

	*r = (struct run){ .chance = seed + simulated };
	if (simulated) {
		r->sim = sim_new(seed, &hostile);
		r->loop = r->sim != NULL ? sim_loop(r->sim, NULL) : NULL;
		r->file = r->sim != NULL ? sim_file(r->sim, soak_table, FILE_SIZE) : -1;
	} else {
		if (sconce_loop_new(NULL, &r->loop) < 0)
			r->loop = NULL;
		r->file = memfd_create("soak", MFD_CLOEXEC);
		if (r->file >= 0 && write(r->file, soak_table, FILE_SIZE) != FILE_SIZE)
			return false;
	}
	return r->loop != NULL && r->file >= 0 &&
	    sconce_listen(&r->listener, r->loop, &listener_ops, "tcp://127.0.0.1:0", &fail) == 0;
}

/* Runs all to its end; false: it did not come to one. */
static bool
run_all(struct run *r, bool simulated, uint64_t seed, const enum wire_kind *kinds, int wires,
	const struct plan (*plans)[2])
{
	bool good = run_open(r, simulated, seed);

	for (int i = 0; i < wires && good; i++)
		good = open_wire(r, kinds[i], i * 4, plans[i]);
	for (int i = 0; i < TURNS && r->alive > 0 && good; i++)
		run_turn(r);
	good = good && r->alive == 0;
	for (int i = 0; !good && i < OBJECTS; i++)
		if (r->objects[i].used && r->objects[i].farewell[0] == '\0')
			printf("%s: object %d has not ended: step %d of %d, %llu bytes, ended %d, queued %llu\n",
				simulated ? "sim" : "real", i, r->objects[i].at,
				r->objects[i].plan != NULL ? r->objects[i].plan->count : 0,
				(unsigned long long)r->objects[i].bytes, r->objects[i].ended,
				(unsigned long long)sconce_queued(&r->objects[i].sock));
	if (r->loop != NULL)
		sconce_loop_free(r->loop);
	if (r->sim != NULL)
		good = sim_free(r->sim, stdout) && good;
	else if (r->file >= 0)
		close(r->file);
	return good;
}

/* ---- comparing ---- */

/* The bytes that the ends of a wire have received are those of each other's plans. */
static bool
plan_kept(const struct run *r, int place, const struct plan *plans)
{
	for (int i = 0; i < 2; i++) {
		const struct object *o = &r->objects[place + i];
		uint64_t bytes, hash;

		plan_bytes(&plans[1 - i], &bytes, &hash);
		if (o->bytes != bytes || o->hash != hash) {
			printf("object %d: received %llu bytes, or others, of %llu\n", place + i,
				(unsigned long long)o->bytes,
				(unsigned long long)bytes);
			return false;
		}
	}
	return true;
}

bool
soak_compare(uint64_t seed, bool trace)
{
	static struct run sim, real;
	struct plan plans[WIRES][2];
	enum wire_kind kinds[WIRES];
	uint64_t x = seed ^ 0x50a4;
	int wires = 2 + (int)below(&x, WIRES - 1);
	bool good;

	for (int i = 0; i < wires; i++) {
		kinds[i] = (enum wire_kind)below(&x, WIRE_KINDS);
		plan_wire(plans[i], kinds[i], &x);
	}
	good = run_all(&sim, true, seed, kinds, wires, (const struct plan (*)[2])plans) &&
	    run_all(&real, false, seed, kinds, wires, (const struct plan (*)[2])plans);
	for (int i = 0; good && i < wires; i++)
		good = plan_kept(&sim, i * 4, plans[i]) && plan_kept(&real, i * 4, plans[i]);
	for (int i = 0; i < OBJECTS; i++) {
		const struct object *a = &sim.objects[i], *b = &real.objects[i];

		if (good && strcmp(a->line, b->line) != 0) {
			printf("seed %llu, object %d:\n  sim:  %s\n  real: %s\n", (unsigned long long)seed, i, a->line,
				b->line);
			return false;
		}
		if (trace && a->used)
			printf("object %d\n  sim:  %s\n  real: %s\n", i, a->line, b->line);
	}
	if (!good)
		printf("seed %llu: the plan did not come to its end\n", (unsigned long long)seed);
	return good;
}
