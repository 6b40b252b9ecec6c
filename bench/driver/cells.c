/* What is measured: a list of servers for each workload, the reference first, and the workloads' sizes. */
#include "driver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFERRED "127.0.0.1:0?deferaccept=1"

/* Ours stands between the reference and its control, so that no two are far apart in time. */
static const struct server echo_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "echo", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "echo", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "echo", .listen = NULL},
	{"libev", ROLE_PEER, "libev", "echo", .listen = NULL},
	{"libevent", ROLE_PEER, "libevent", "echo", .listen = NULL},
	{"bufferevent", ROLE_PEER, "libevent", "echo-bev", .rare = true},
	{"uv_write", ROLE_PEER, "libuv", "echo", .rare = true},
	{"uv_try_write", ROLE_PEER, "libuv", "echo-try", .listen = NULL},
	{.name = NULL},
};

/* Where the size of a read shows. */
static const struct server bulk_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "echo-ours", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "echo", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "echo-ours", .listen = NULL},
	{"raw 64 KiB", ROLE_OTHER, "raw", "echo", .listen = NULL},
	{"libev", ROLE_PEER, "libev", "echo", .listen = NULL},
	{"libevent", ROLE_PEER, "libevent", "echo", .listen = NULL},
	{"bufferevent", ROLE_PEER, "libevent", "echo-bev", .rare = true},
	{"uv_write", ROLE_PEER, "libuv", "echo", .rare = true},
	{"uv_try_write", ROLE_PEER, "libuv", "echo-try", .listen = NULL},
	{.name = NULL},
};

static const struct server frames_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "frames", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "frames", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "frames", .listen = NULL},
	{"ours, write_cb", ROLE_OTHER, "ours", "frames-cb", .listen = NULL},
	{"raw, ours' way", ROLE_OTHER, "raw", "frames-ours", .listen = NULL},
	{"raw, a send each", ROLE_OTHER, "raw", "frames-each", .rare = true},
	{"bufferevent", ROLE_PEER, "libevent", "frames-bev", .rare = true},
	{"uv_write", ROLE_PEER, "libuv", "frames", .rare = true},
	{"uv_try_write", ROLE_PEER, "libuv", "frames-try", .rare = true},
	{"uv_write of 16", ROLE_PEER, "libuv", "frames-16", .listen = NULL},
	{.name = NULL},
};

static const struct server churn_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "echo", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "echo", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "echo", .listen = NULL},
	{"ours, deferred", ROLE_OTHER, "ours", "echo", .listen = DEFERRED},
	{"raw, deferred", ROLE_OTHER, "raw", "echo-ours", .listen = DEFERRED},
	{"libev", ROLE_PEER, "libev", "echo", .listen = NULL},
	{"libevent", ROLE_PEER, "libevent", "echo", .listen = NULL},
	{"bufferevent", ROLE_PEER, "libevent", "echo-bev", .rare = true},
	{"uv_write", ROLE_PEER, "libuv", "echo", .rare = true},
	{"uv_try_write", ROLE_PEER, "libuv", "echo-try", .listen = NULL},
	{.name = NULL},
};

static const struct server broadcast_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "broadcast", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "broadcast", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "broadcast", .listen = NULL},
	{"ours, write_ref", ROLE_OTHER, "ours", "broadcast-ref", .listen = NULL},
	{"libev", ROLE_PEER, "libev", "broadcast", .listen = NULL},
	{"libevent", ROLE_PEER, "libevent", "broadcast", .listen = NULL},
	{"bufferevent", ROLE_PEER, "libevent", "broadcast-bev", .rare = true},
	{"uv_write", ROLE_PEER, "libuv", "broadcast", .rare = true},
	{"uv_try_write", ROLE_PEER, "libuv", "broadcast-try", .listen = NULL},
	{.name = NULL},
};

static const struct server timeout_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "timeout", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "echo", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "timeout", .listen = NULL},
	{"raw, no timeout", ROLE_OTHER, "raw", "echo", .listen = NULL},
	{"ours, no timeout", ROLE_OTHER, "ours", "echo-untimed", .listen = NULL},
	{"libev, lazy", ROLE_PEER, "libev", "echo", .listen = NULL},
	{"ev_timer_again", ROLE_PEER, "libev", "timeout", .listen = NULL},
	{"event_add", ROLE_PEER, "libevent", "timeout", .listen = NULL},
	{"bufferevent", ROLE_PEER, "libevent", "timeout-bev", .rare = true},
	{"uv_timer_again", ROLE_PEER, "libuv", "timeout", .listen = NULL},
	{.name = NULL},
};

static const struct server relay_servers[] = {
	{"raw", ROLE_REFERENCE, "relay", "copy", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "relay", .listen = NULL},
	{"raw again", ROLE_CONTROL, "relay", "copy", .listen = NULL},
	{"raw, splice", ROLE_OTHER, "relay", "splice", .listen = NULL},
	{"libev", ROLE_OTHER, "relay-libev", "copy", .listen = NULL},
	{.name = NULL},
};

static const struct server stream_relay_servers[] = {
	{"raw, splice", ROLE_REFERENCE, "relay", "splice", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "relay", .listen = NULL},
	{"splice again", ROLE_CONTROL, "relay", "splice", .listen = NULL},
	{"raw, copy", ROLE_OTHER, "relay", "copy", .listen = NULL},
	{"libev", ROLE_OTHER, "relay-libev", "splice", .listen = NULL},
	{.name = NULL},
};

static const struct server lines_servers[] = {
	{"raw", ROLE_REFERENCE, "raw", "lines", .listen = NULL},
	{"ours", ROLE_OURS, "ours", "lines", .listen = NULL},
	{"raw again", ROLE_CONTROL, "raw", "lines", .listen = NULL},
	{"ours, any end", ROLE_OTHER, "ours", "lines-any", .listen = NULL},
	{"POE", ROLE_OTHER, "poe-lines", "lines", .rare = true, .module = "POE"},
	{.name = NULL},
};

static const struct server mux_servers[] = {
	{"push", ROLE_REFERENCE, "ours", "echo", .listen = NULL},
	{"mux", ROLE_OURS, "mux", "echo", .listen = NULL},
	{"push again", ROLE_CONTROL, "ours", "echo", .listen = NULL},
	{"raw", ROLE_OTHER, "raw", "echo", .listen = NULL},
	{.name = NULL},
};

/* Each beside itself with others that are silent. */
static const struct server beside_idle_servers[] = {
	{"push", ROLE_REFERENCE, "ours", "echo", .listen = NULL},
	{"push, 900 idle", ROLE_OURS, "ours", "echo", .idle = 900},
	{"push again", ROLE_CONTROL, "ours", "echo", .listen = NULL},
	{"mux", ROLE_OTHER, "mux", "echo", .listen = NULL},
	{"mux, 900 idle", ROLE_OTHER, "mux", "echo", .idle = 900},
	{.name = NULL},
};

struct cell cells[CELLS_MAX];
int cell_count;

/* The matrix: messages of every size on every number of connections. */
static void
make_echo(void)
{
	static const size_t sizes[] = {1, 64, 1024, 16384, 65536}, conns[] = {1, 50, 1000, 9000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(conns) / sizeof(conns[0]); j++) {
			struct cell *c = &cells[cell_count++];

			*c = (struct cell){.mode = "echo", .conns = conns[j], .size = sizes[i], .depth = 1,
				.timed = true,
				.servers = sizes[i] == 65536 ? bulk_servers : echo_servers};
			snprintf(c->name, sizeof(c->name), "echo-%zu-%zu", sizes[i], conns[j]);
			snprintf(c->what, sizeof(c->what), "%zu-byte echo, %zu connection%s", sizes[i], conns[j],
				conns[j] > 1 ? "s" : "");
			c->quick = sizes[i] == 64 && conns[j] == 50;
			if (sizes[i] == 64 && conns[j] <= 50) {
				c->few = 5000;
				c->many = 25000;
			}
		}
	}
}

static const struct cell others[] = {
	{.name = "frames", .what = "16 pipelined 64-byte messages a read, each answered by a write, 50 connections",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 16, .batch = true, .servers = frames_servers,
	 .timed = true, .quick = true, .few = 16000, .many = 96000},
	{.name = "frames-one", .what = "the same, one message a read (counted only)",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 1, .batch = true, .servers = frames_servers,
	 .few = 5000, .many = 25000},
	{.name = "frames-1", .what = "16 pipelined 64-byte messages a read, 1 connection (counted only)",
	 .mode = "echo", .conns = 1, .size = 64, .depth = 16, .batch = true, .servers = frames_servers,
	 .few = 16000, .many = 96000},
	{.name = "churn", .what = "connect, one 64-byte message, close, 20 at a time",
	 .mode = "churn", .conns = 20, .size = 64, .depth = 1, .servers = churn_servers,
	 .timed = true, .quick = true, .few = 1000, .many = 5000},
	{.name = "churn-1", .what = "connect, one 64-byte message, close, one after another (counted only)",
	 .mode = "churn", .conns = 1, .size = 64, .depth = 1, .servers = churn_servers, .few = 1000, .many = 5000},
	{.name = "broadcast-1", .what = "each 64-byte message to 1 receiver",
	 .mode = "broadcast", .conns = 1, .size = 64, .depth = 1, .servers = broadcast_servers, .timed = true},
	{.name = "broadcast-10", .what = "each 64-byte message to 10 receivers",
	 .mode = "broadcast", .conns = 10, .size = 64, .depth = 1, .servers = broadcast_servers, .timed = true},
	{.name = "broadcast-100", .what = "each 64-byte message to 100 receivers",
	 .mode = "broadcast", .conns = 100, .size = 64, .depth = 1, .servers = broadcast_servers, .timed = true},
	{.name = "broadcast-1000", .what = "each 64-byte message to 1000 receivers",
	 .mode = "broadcast", .conns = 1000, .size = 64, .depth = 1, .servers = broadcast_servers, .timed = true,
	 .few = 4000, .many = 24000},
	{.name = "stream", .what = "1 GiB through one connection, 16 x 64 KiB in flight",
	 .mode = "echo", .conns = 1, .size = 65536, .depth = 16, .messages = 16384, .servers = bulk_servers,
	.timed = true},
	{.name = "timeout", .what = "64-byte echo, 1000 connections, idle timeout re-armed by each message",
	 .mode = "echo", .conns = 1000, .size = 64, .depth = 1, .servers = timeout_servers, .timed = true},
	{.name = "timeout-50", .what = "the same, 50 connections (counted only)",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 1, .servers = timeout_servers, .few = 5000, .many = 25000},
	{.name = "relay-64", .what = "relay of 64-byte messages, 50 connections",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 1, .target = true, .servers = relay_servers, .timed = true},
	{.name = "relay-1m", .what = "relay of 1 MiB messages, 2 in flight, 1 connection",
	 .mode = "echo", .conns = 1, .size = 1 << 20, .depth = 2, .target = true, .servers = stream_relay_servers,
	 .timed = true},
	{.name = "relay-1m-10", .what = "relay of 1 MiB messages, 10 connections",
	 .mode = "echo", .conns = 10, .size = 1 << 20, .depth = 1, .target = true, .servers = stream_relay_servers,
	 .timed = true},
	{.name = "lines", .what = "16 lines of 64 bytes a write, each answered, 50 connections",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 16, .batch = true, .lines = true, .servers = lines_servers,
	 .timed = true, .quick = true, .few = 16000, .many = 96000},
	{.name = "mux", .what = "64-byte echo, 50 connections, the multiplexer / the push interface",
	 .mode = "echo", .conns = 50, .size = 64, .depth = 1, .servers = mux_servers,
	 .timed = true, .quick = true, .few = 5000, .many = 25000},
	{.name = "beside-idle", .what = "64-byte echo, 1 connection, with and without 900 that are idle",
	 .mode = "echo", .conns = 1, .size = 64, .depth = 1, .servers = beside_idle_servers, .timed = true},
	{.name = "idle", .what = "9000 connections, one message each, then nothing (memory)",
	 .mode = "idle", .conns = 9000, .size = 64, .depth = 1, .servers = timeout_servers},
};

void
cells_make(void)
{
	make_echo();
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cells[cell_count++] = others[i];
}

const struct cell *
cell_find(const char *name)
{
	for (int i = 0; i < cell_count; i++)
		if (strcmp(cells[i].name, name) == 0)
			return &cells[i];
	return NULL;
}

int
cell_servers(const struct cell *cell)
{
	int n = 0;

	while (cell->servers[n].name != NULL)
		n++;
	return n;
}

const struct server *
server_find(const struct cell *cell, const char *name)
{
	for (const struct server *s = cell->servers; s->name != NULL; s++)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

const char *
server_path(const struct server *server)
{
	return server->module != NULL ? process_script(server->program) : process_path(server->program);
}

/* Whether Perl has a module; the last answer is kept. */
static bool
has_module(const char *module)
{
	static const char *asked;
	static bool has;
	char option[64];

	if (asked == NULL || strcmp(asked, module) != 0) {
		snprintf(option, sizeof(option), "-M%s", module);
		has = process_succeeds((const char *[]){"perl", option, "-e", "1", NULL});
		asked = module;
	}
	return has;
}

bool
server_built(const struct server *server)
{
	return access(server_path(server), X_OK) == 0 && (server->module == NULL || has_module(server->module));
}
