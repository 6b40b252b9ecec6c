/* The clients on a fleet, with what an honest one has: a connect timeout and an input timeout on each connection. */
#include "fleet.h"

#include <stdio.h>
#include <string.h>

#include <sconce/fleet.h>
#include <sconce/sconce.h>

struct probe {
	struct sconce_fleet_conn conn;
};

struct client {
	const struct work *work;
	struct sconce_addr addrs[SERVERS];
	char texts[SERVERS][64];
	unsigned given;
};

static const struct sconce_fleet_ops probe_ops = {
	.name = "probe", .size = sizeof(struct probe), .offset = offsetof(struct probe, conn),
};

static void
addr_of(const struct sockaddr_in *in, struct sconce_addr *addr_out)
{
	*addr_out = (struct sconce_addr){.len = sizeof(*in)};
	addr_out->in = *in;
}

static bool
next(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	struct client *c = arg;
	unsigned i = c->given % SERVERS;

	(void)f;
	if (c->given == c->work->count)
		return false;
	c->given++;
	if (c->work->how == HOW_ADDR)
		target_out->addr = &c->addrs[i];
	else
		target_out->endpoint = c->texts[i];
	return true;
}

static void
take_sample(const struct sconce_fleet *f, struct sample *out)
{
	out->connected = (unsigned)f->connected;
	out->failed = (unsigned)f->failed;
	out->timed_out = (unsigned)f->timed_out;
}

void
client_ours(const struct work *work, struct sample *out)
{
	char locals[LOCALS][32];
	const char *bind[LOCALS];
	struct client c = {.work = work};
	struct sconce_fleet_options opts = {.max_in_flight = work->count, .bind = bind};
	struct sconce_fleet fleet;
	struct sconce_loop *loop;
	double heap, begun, cpu;

	for (unsigned i = 0; i < SERVERS; i++) {
		addr_of(&work->addrs[i], &c.addrs[i]);
		sconce_addr_text(&c.addrs[i], c.texts[i], sizeof(c.texts[i]));
	}
	for (unsigned i = 0; i < LOCALS; i++) {
		local_text(i, locals[i], sizeof(locals[i]));
		bind[i] = locals[i];
	}
	opts.bind_count = work->how == HOW_BIND ? LOCALS : 0;
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_fleet_init(&fleet, loop, &probe_ops, &opts) < 0)
		die("sconce_fleet_init");
	heap = heap_now();
	cpu = cpu_now();
	begun = now();
	sconce_fleet_feed(&fleet, next, &c);
	while (fleet.connected + fleet.closed < work->count)
		sconce_loop_step(loop, 1);
	out->seconds = now() - begun;
	out->cpu = cpu_now() - cpu;
	out->heap = (heap_now() - heap) / work->count;
	take_sample(&fleet, out);
	sconce_fleet_abort(&fleet);
	while (fleet.count > 0)
		sconce_loop_step(loop, 1);
	sconce_fleet_fini(&fleet);
	sconce_loop_free(loop);
}

/* ---- the storm ---- */

enum { STORM_ROOM = 10000 };		/* at a time: few systems allow 20 000 descriptors */

static void
end_at_once(struct sconce_fleet_conn *c)
{
	sconce_abort(&c->stream.sock);
}

static const struct sconce_fleet_ops storm_ops = {
	.name = "storm", .size = sizeof(struct probe), .offset = offsetof(struct probe, conn), .connected = end_at_once,
};

struct storm {
	struct sconce_addr addrs[3];
	unsigned count, given;
};

static bool
next_of_storm(struct sconce_fleet *f, void *arg, struct sconce_fleet_target *target_out)
{
	struct storm *s = arg;
	unsigned i = s->given % 10;

	(void)f;
	if (s->given == s->count)
		return false;
	s->given++;
	target_out->addr = &s->addrs[i < 4 ? 0 : i < 7 ? 1 : 2];
	return true;
}

void
client_storm(unsigned count, const struct sockaddr_in addrs[3], double timeout, struct sample *out)
{
	struct storm s = {.count = count};
	struct sconce_fleet_options opts = {.max_in_flight = STORM_ROOM, .connect_timeout = timeout};
	struct sconce_fleet fleet;
	struct sconce_loop *loop;
	double begun = now(), cpu = cpu_now();

	for (int i = 0; i < 3; i++)
		addr_of(&addrs[i], &s.addrs[i]);
	if (sconce_loop_new(NULL, &loop) < 0 || sconce_fleet_init(&fleet, loop, &storm_ops, &opts) < 0)
		die("sconce_fleet_init");
	sconce_fleet_feed(&fleet, next_of_storm, &s);
	while (fleet.closed < count)
		sconce_loop_step(loop, 1);
	out->seconds = now() - begun;
	out->cpu = cpu_now() - cpu;
	take_sample(&fleet, out);
	if (fleet.count > 0 || fleet.started != fleet.closed)
		die("a connection was not told its end");
	sconce_fleet_fini(&fleet);
	sconce_loop_free(loop);
}
