/* Look-ups by c-ares: what nameservers say, time, cancelling, other nameservers, a loop that ends or goes on in a child.
 *
 * The nameserver is the test's own: a UDP socket and a TCP listener on one port of 127.0.0.1, served between two turns of
 * the loop.  Names end in a dot so that no domain of the host's is put behind them. */
#include "test_net.h"

#if HAVE_CARES

#include <ares.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <netdb.h>

/* ---- a nameserver ---- */

enum { A = 1, PTR = 12, AAAA = 28, PACKET = 512, HELD = 8 };

struct query {
	unsigned char data[PACKET];
	size_t len;
	struct sockaddr_in from;
};

struct nameserver {
	int udp, tcp, conn;
	char text[32];			/* its address, for sconce_set_nameservers() */
	int queries;			/* by UDP */
	int tcp_queries;
	bool hold;			/* queries wait in `held` until it is false */
	struct query held[HELD];
	int held_count;
};

static struct nameserver server, other;

static int
bound(int type, int port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port),
	};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	ck_assert_int_ge(fd, 0);
	if (type == SOCK_STREAM)		/* else ports of which old connections are left would not do */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
server_open(struct nameserver *s)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	memset(s, 0, sizeof(*s));
	s->udp = s->conn = -1;
	for (int i = 0; i < 50 && s->udp < 0; i++) {
		if (i > 0)
			close(s->tcp);
		s->tcp = bound(SOCK_STREAM, 0);
		ck_assert_int_eq(getsockname(s->tcp, (struct sockaddr *)&in, &len), 0);
		if (listen(s->tcp, 4) == 0)
			s->udp = bound(SOCK_DGRAM, ntohs(in.sin_port));
	}
	ck_assert_int_ge(s->udp, 0);
	snprintf(s->text, sizeof(s->text), "127.0.0.1:%d", ntohs(in.sin_port));
}

static void
server_close(struct nameserver *s)
{
	close(s->udp);
	close(s->tcp);
	if (s->conn >= 0)
		close(s->conn);
	s->udp = s->tcp = s->conn = -1;
}

/* The name of a query's question as "a.b."; gives the question's type, and its end in the packet. */
static int
question(const struct query *q, char *name, size_t *end_out)
{
	size_t at = 12;

	*name = '\0';
	while (q->data[at] != 0) {
		size_t n = q->data[at];

		ck_assert_uint_le(at + n + 6, q->len);
		strncat(name, (const char *)q->data + at + 1, n);
		strcat(name, ".");
		at += n + 1;
	}
	*end_out = at + 5;
	return q->data[at + 1] << 8 | q->data[at + 2];
}

static size_t
put_record(unsigned char *p, int type, bool here, int last)
{
	const unsigned char head[] = { 0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0, 60, 0, type == A ? 4 : 16 };
	unsigned char data[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	memcpy(p, head, sizeof(head));
	if (type == A)
		memcpy(data, here ? "\x7f\x00\x00" : "\xc0\x00\x02", 3);
	data[type == A ? 3 : 15] = (unsigned char)last;
	memcpy(p + sizeof(head), data, head[11]);
	return sizeof(head) + head[11];
}

/* The name of an address; NULL: it has none. */
static const char *
name_of(const char *question_name)
{
	static const struct { const char *reversed, *name; } names[] = {
		{ "1.2.0.192.in-addr.arpa.", "\3one\4test" },
		{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "\3six\4test" },
		{ "3.2.0.192.in-addr.arpa.", "\3a b\4test" },
		{ "4.2.0.192.in-addr.arpa.", "\00210\0010\0010\0011" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].reversed, question_name) == 0)
			return names[i].name;
	return NULL;
}

static size_t
put_name(unsigned char *p, const char *name)
{
	size_t len = strlen(name) + 1;
	const unsigned char head[] = { 0xc0, 12, 0, PTR, 0, 1, 0, 0, 0, 60, 0, (unsigned char)len };

	memcpy(p, head, sizeof(head));
	memcpy(p + sizeof(head), name, len);
	return sizeof(head) + len;
}

/* The answer, of which the name decides; 0: there is none. */
static size_t
answer(const struct query *q, bool udp, unsigned char *out)
{
	char name[256];
	size_t len;
	int type = question(q, name, &len), count = 0, code = 0;
	bool cut = udp && strcmp(name, "cut.test.") == 0, here = strcmp(name, "here.test.") == 0;

	if (strcmp(name, "silent.test.") == 0)
		return 0;
	memcpy(out, q->data, len);
	if (strcmp(name, "broken.test.") == 0)
		code = 2;
	else if (strcmp(name, "denied.test.") == 0)
		code = 5;
	else if (strcmp(name, "both.test.") == 0 || (strcmp(name, "cut.test.") == 0 && !cut))
		count = type == A ? 2 : 1;
	else if (strcmp(name, "many.test.") == 0 && type == A)
		count = 25;
	else if (here && type == A)
		count = 1;
	else if (type == PTR && name_of(name) != NULL)
		count = 1;
	else if (strcmp(name, "empty.test.") != 0 && !cut && !here)
		code = 3;
	out[2] = (unsigned char)(0x81 | (cut ? 2 : 0));
	out[3] = (unsigned char)(0x80 | code);
	memset(out + 6, 0, 6);
	out[7] = (unsigned char)count;
	for (int i = 1; i <= count; i++)
		len += type == PTR ? put_name(out + len, name_of(name)) : put_record(out + len, type, here, i);
	return len;
}

static void
reply(struct nameserver *s, const struct query *q)
{
	unsigned char out[2 * PACKET];
	size_t len = answer(q, true, out);

	if (len > 0)
		sendto(s->udp, out, len, 0, (const struct sockaddr *)&q->from, sizeof(q->from));
}

static void
serve_udp(struct nameserver *s)
{
	struct query q;
	socklen_t from_len = sizeof(q.from);
	ssize_t n;

	while ((n = recvfrom(s->udp, q.data, sizeof(q.data), 0, (struct sockaddr *)&q.from, &from_len)) > 12) {
		q.len = (size_t)n;
		s->queries++;
		if (!s->hold)
			reply(s, &q);
		else if (s->held_count < HELD)
			s->held[s->held_count++] = q;
	}
	while (!s->hold && s->held_count > 0)
		reply(s, &s->held[--s->held_count]);
}

/* A query a connection, or several; each with its length before it. */
static void
serve_tcp(struct nameserver *s)
{
	struct query q;
	unsigned char out[2 * PACKET], size[2];

	if (s->conn < 0)
		s->conn = accept4(s->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (s->conn >= 0 && recv(s->conn, size, 2, MSG_PEEK) == 2) {
		size_t len = (size_t)(size[0] << 8 | size[1]);

		ck_assert_uint_le(len, sizeof(q.data));
		if (recv(s->conn, out, len + 2, MSG_PEEK) != (ssize_t)len + 2)
			return;
		ck_assert_int_eq(recv(s->conn, out, len + 2, 0), (ssize_t)len + 2);
		memcpy(q.data, out + 2, len);
		q.len = len;
		s->tcp_queries++;
		len = answer(&q, false, out + 2);
		out[0] = (unsigned char)(len >> 8);
		out[1] = (unsigned char)len;
		ck_assert_int_eq(send(s->conn, out, len + 2, MSG_NOSIGNAL), (ssize_t)len + 2);
	}
}

static void
serve(struct nameserver *s)
{
	if (s->udp < 0)
		return;
	serve_udp(s);
	serve_tcp(s);
}

/* Turns the loop, and serves, until `cond` holds. */
#define SERVE_UNTIL(cond) do { \
		for (int turn_ = 0; turn_ < 2000 && !(cond); turn_++) { \
			serve(&server); \
			serve(&other); \
			ck_assert_int_ge(sconce_loop_step(loop, 0.002), 0); \
		} \
		ck_assert_msg(cond, "still not so: %s", #cond); \
	} while (0)

/* Until nothing more happens. */
static void
serve_settle(void)
{
	for (int i = 0; i < 10; i++) {
		serve(&server);
		serve(&other);
		ck_assert_int_ge(sconce_loop_step(loop, 0.001), 0);
	}
	sconce_verify(loop);
}

/* ---- the addresses of this host ---- */

static bool host_has_v4, host_has_v6;

/* In the place of the C library's: loopback, and what the test says. */
int
getifaddrs(struct ifaddrs **out)
{
	static struct sockaddr_in v4[2];
	static struct sockaddr_in6 v6[2];
	static struct ifaddrs list[5];		/* the last has no address at all */

	v4[0].sin_family = v4[1].sin_family = AF_INET;
	v6[0].sin6_family = v6[1].sin6_family = AF_INET6;
	v4[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v4[1].sin_addr.s_addr = htonl(host_has_v4 ? 0xc0000209 : INADDR_LOOPBACK);
	v6[0].sin6_addr = v6[1].sin6_addr = in6addr_loopback;
	if (host_has_v6)
		v6[1].sin6_addr.s6_addr[0] = 0x20;
	for (int i = 0; i < 4; i++) {
		list[i].ifa_next = &list[i + 1];
		list[i].ifa_addr = i < 2 ? (struct sockaddr *)&v4[i] : (struct sockaddr *)&v6[i - 2];
	}
	*out = list;
	return 0;
}

void
freeifaddrs(struct ifaddrs *list)
{
	(void)list;
}

/* ---- one who asks ---- */

struct asker {
	int calls, errnum, gai;
	size_t count;
	struct sconce_addr addrs[32];
	char operation[32], text[160];
	struct sconce_resolve *handle;
	void (*then)(void);		/* done() does that, once */
};

static struct asker a, b, c;

static void
asked(struct sconce_loop *l, void *arg, const struct sconce_addr *addrs, size_t count, const struct sconce_fail *fail)
{
	struct asker *who = arg;
	void (*then)(void) = who->then;

	ck_assert_ptr_eq(l, loop);
	ck_assert_int_eq(count == 0, fail != NULL);
	ck_assert_uint_le(count, 32);
	who->calls++;
	who->count = count;
	for (size_t i = 0; i < count; i++)
		who->addrs[i] = addrs[i];
	if (fail != NULL) {
		who->errnum = fail->errnum;
		who->gai = fail->gai;
		snprintf(who->operation, sizeof(who->operation), "%s", fail->operation);
		snprintf(who->text, sizeof(who->text), "%s", fail->text);
	}
	who->then = NULL;
	if (then != NULL)
		then();
}

static int
ask_for(struct asker *who, const char *host, const char *service, int family, double timeout)
{
	return sconce_resolve(loop, host, service, family, SOCK_STREAM, 0, timeout, asked, who, &who->handle);
}

static void
ask(struct asker *who, const char *host)
{
	ck_assert_int_eq(ask_for(who, host, "80", AF_INET, 0), 0);
	ck_assert_int_eq(who->calls, 0);
}

/* ---- and one who asks for names ---- */

struct name_asker {
	int calls, gai, errnum;
	char name[256], text[160];
	struct sconce_resolve *handle;
};

static struct name_asker na, nb;

static void
name_asked(struct sconce_loop *l, void *arg, const char *name, const struct sconce_fail *fail)
{
	struct name_asker *who = arg;

	ck_assert_ptr_eq(l, loop);
	ck_assert_int_eq(name == NULL, fail != NULL);
	who->calls++;
	snprintf(who->name, sizeof(who->name), "%s", name != NULL ? name : "");
	if (fail != NULL) {
		who->gai = fail->gai;
		who->errnum = fail->errnum;
		snprintf(who->text, sizeof(who->text), "%s", fail->text);
	}
}

static int
ask_name(struct name_asker *who, const char *endpoint, double timeout)
{
	struct sconce_addr addr;

	memset(who, 0, sizeof(*who));
	ck_assert_int_eq(sconce_addr_parse(endpoint, &addr, NULL), 0);
	return sconce_resolve_addr(loop, &addr, timeout, name_asked, who, &who->handle);
}

/* Whether the asker was given this address. */
static bool
has(const struct asker *who, const char *wanted)
{
	char text[SCONCE_ADDR_TEXT];

	for (size_t i = 0; i < who->count; i++)
		if (strcmp(sconce_addr_text(&who->addrs[i], text, sizeof(text)), wanted) == 0)
			return true;
	return false;
}

static void
askers_clear(void)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&c, 0, sizeof(c));
}

static int
threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
		count += e->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void
cares_setup(void)
{
	askers_clear();
	server_open(&server);
	server_open(&other);
	net_setup();
	ck_assert_int_eq(sconce_set_nameservers(loop, server.text), 0);
}

static void
cares_teardown(void)
{
	net_teardown();
	server_close(&server);
	server_close(&other);
}

/* The server, with little patience: 20 ms, two tries. */
static void
quick_servers(void)
{
	setenv("RES_OPTIONS", "retrans:20 retry:2", 1);
	ck_assert_int_eq(sconce_set_nameservers(loop, server.text), 0);
	unsetenv("RES_OPTIONS");
}

/* ---- answers ---- */

/* Addresses of the families that were asked for come with the port, without a thread, and never inside the call. */
START_TEST(test_cares_name_is_asked_of_the_nameserver)
{
	int before = threads();

	ck_assert_int_eq(ask_for(&a, "both.test.", "80", AF_UNSPEC, 0), 0);
	ck_assert_int_eq(ask_for(&b, "both.test.", "8080", AF_INET, 0), 0);
	ck_assert_int_eq(ask_for(&c, "both.test.", "0", AF_INET6, 0), 0);
	ck_assert_int_eq(a.calls + b.calls + c.calls, 0);
	SERVE_UNTIL(a.calls == 1 && b.calls == 1 && c.calls == 1);
	ck_assert_uint_eq(a.count, 3);
	ck_assert(has(&a, "192.0.2.1:80") && has(&a, "192.0.2.2:80") && has(&a, "[2001:db8::1]:80"));
	ck_assert_uint_eq(b.count, 2);
	ck_assert(has(&b, "192.0.2.1:8080") && has(&b, "192.0.2.2:8080"));
	ck_assert_uint_eq(c.count, 1);
	ck_assert(has(&c, "[2001:db8::1]:0"));
	ck_assert_int_eq(server.queries, 4);
	ck_assert_int_eq(threads(), before);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* Failures are those of getaddrinfo(3): operation, errno, number and text; SF-13. */
START_TEST(test_cares_failures_are_those_of_getaddrinfo)
{
	static const struct { const char *host; int gai; } cases[] = {
		{ "nobody.test.", EAI_NONAME }, { "empty.test.", EAI_NODATA }, { "broken.test.", EAI_AGAIN },
		{ "denied.test.", EAI_AGAIN }, { "double..dot.", EAI_NONAME },
	};
	char text[160];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		askers_clear();
		ask(&a, cases[i].host);
		SERVE_UNTIL(a.calls == 1);
		ck_assert_int_eq(a.errnum, EADDRNOTAVAIL);
		ck_assert_msg(a.gai == cases[i].gai, "%s: %s", cases[i].host, a.text);
		ck_assert_str_eq(a.operation, "getaddrinfo");
		snprintf(text, sizeof(text), "getaddrinfo %s:80: %s", cases[i].host, gai_strerror(cases[i].gai));
		ck_assert_str_eq(a.text, text);
	}
}
END_TEST

/* An answer too long for a datagram is fetched by TCP. */
START_TEST(test_cares_truncated_answer_comes_by_tcp)
{
	ask(&a, "cut.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 2);
	ck_assert(has(&a, "192.0.2.2:80"));
	ck_assert_int_eq(server.tcp_queries, 1);
}
END_TEST

/* Many addresses are all told, up to the 32 there may be. */
START_TEST(test_cares_many_addresses_are_told)
{
	ask(&a, "many.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 25);
	ck_assert(has(&a, "192.0.2.1:80") && has(&a, "192.0.2.25:80"));
}
END_TEST

/* Families that the host has no address of, loopback apart, are not asked for where that is wished. */
START_TEST(test_cares_configured_families_are_asked_for)
{
	static const struct { bool v4, v6, asks_v4, asks_v6; } cases[] = {
		{ true, true, true, true }, { true, false, true, false }, { false, true, false, true }, { false, false, true, true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		askers_clear();
		server.queries = 0;
		host_has_v4 = cases[i].v4;
		host_has_v6 = cases[i].v6;
		ck_assert_int_eq(sconce_resolve(loop, "both.test.", "80", AF_UNSPEC, SOCK_STREAM, SCONCE_RESOLVE_CONFIGURED, 0, asked,
			&a, NULL), 0);
		SERVE_UNTIL(a.calls == 1);
		ck_assert_int_eq(has(&a, "192.0.2.1:80"), cases[i].asks_v4);
		ck_assert_int_eq(has(&a, "[2001:db8::1]:80"), cases[i].asks_v6);
		ck_assert_int_eq(server.queries, cases[i].asks_v4 + cases[i].asks_v6);
		ck_assert_int_eq(ask_for(&b, "both.test.", "80", AF_UNSPEC, 0), 0);
		SERVE_UNTIL(b.calls == 1);		/* and all where it is not */
		ck_assert_uint_eq(b.count, 3);
	}
}
END_TEST

/* A connect by name: look-up and connect, in the loop's thread alone. */
START_TEST(test_cares_connect_finds_the_host)
{
	char there[32], endpoint[64];
	int before = threads(), fd = plain_listen(4, there, sizeof(there));
	struct conn conn;

	snprintf(endpoint, sizeof(endpoint), "tcp://here.test.:%s", strchr(there, ':') + 1);
	conn_init(&conn, &conn_ops, -1);
	conn.connect_errnum = -1;
	ck_assert_int_eq(sconce_connect(&conn.sock, endpoint), 0);
	SERVE_UNTIL(conn.connect_errnum != -1);
	ck_assert_int_eq(conn.connect_errnum, 0);
	ck_assert_int_eq(threads(), before);
	sconce_close(&conn.sock, SCONCE_REASON_LOCAL);
	serve_settle();
	ck_assert_str_eq(conn.peer, there);
	close(fd);
}
END_TEST

/* A service's name is looked up too; one that there is not is getservbyname's failure, and nobody is asked for the host. */
START_TEST(test_cares_service_has_its_port)
{
	ck_assert_int_eq(ask_for(&b, "both.test.", "no-such-service", AF_INET, 0), 0);
	SERVE_UNTIL(b.calls == 1);
	ck_assert_int_eq(b.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(b.gai, EAI_SERVICE);
	ck_assert_str_eq(b.operation, "getservbyname");
	ck_assert_int_eq(server.queries, 0);
	if (access("/etc/services", R_OK) != 0)
		return;
	ck_assert_int_eq(ask_for(&a, "both.test.", "http", AF_INET, 0), 0);
	ck_assert_int_eq(ask_for(&c, "both.test.", "https", AF_INET, 0), 0);
	sconce_resolve_cancel(c.handle);
	SERVE_UNTIL(a.calls == 1);
	ck_assert(has(&a, "192.0.2.1:80"));
	SERVE_UNTIL(sconce_loop_run(loop) == SCONCE_LOOP_IDLE);
	ck_assert_int_eq(server.queries, 1);
	ck_assert_int_eq(c.calls, 0);
}
END_TEST

/* Names of addresses are asked for in the same way, of both families. */
START_TEST(test_cares_address_has_its_name)
{
	int before = threads();

	ck_assert_int_eq(ask_name(&na, "192.0.2.1:80", 0), 0);
	ck_assert_int_eq(ask_name(&nb, "[2001:db8::1]:80", 0), 0);
	SERVE_UNTIL(na.calls == 1 && nb.calls == 1);
	ck_assert_str_eq(na.name, "one.test");
	ck_assert_str_eq(nb.name, "six.test");
	ck_assert_int_eq(server.queries, 2);
	ck_assert_int_eq(threads(), before);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* An address that has no name fails as with getnameinfo(3), and so does one with a name that no host can have; HZ-18. */
START_TEST(test_cares_address_without_name_is_a_failure)
{
	static const char *const addrs[] = { "192.0.2.2:80", "192.0.2.3:80", "192.0.2.4:80" };

	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		ck_assert_int_eq(ask_name(&na, addrs[i], 0), 0);
		SERVE_UNTIL(na.calls == 1);
		ck_assert_str_eq(na.name, "");
		if (i != 1)			/* of that c-ares may say that it is broken */
			ck_assert_msg(na.gai == EAI_NONAME, "%s: %s", addrs[i], na.text);
		ck_assert_int_eq(na.errnum, EADDRNOTAVAIL);
		ck_assert_int_eq(server.queries, (int)i + 1);
	}
	ck_assert_str_eq(na.text, "getnameinfo 192.0.2.4: Name or service not known");
}
END_TEST

/* Under way, they are joined, have deadlines, and begin again with other nameservers. */
START_TEST(test_cares_address_is_a_look_up_like_others)
{
	server.hold = true;
	ck_assert_int_eq(ask_name(&na, "192.0.2.1:80", 2), 0);
	ck_assert_int_eq(ask_name(&nb, "192.0.2.1:81", 0), 0);
	SERVE_UNTIL(server.held_count == 1);
	serve_settle();
	ck_assert_int_eq(server.queries, 1);
	net_pass(3);
	ck_assert_int_eq(na.errnum, ETIMEDOUT);
	ck_assert_int_eq(sconce_set_nameservers(loop, other.text), 0);
	SERVE_UNTIL(nb.calls == 1);
	ck_assert_str_eq(nb.name, "one.test");
	ck_assert_int_eq(na.calls, 1);
	ck_assert_int_eq(other.queries, 1);
	server.held_count = 0;
	ck_assert_int_eq(ask_name(&na, "192.0.2.1:80", 0), 0);
	other.hold = true;
	SERVE_UNTIL(other.held_count == 1);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert_int_eq(na.errnum, ECANCELED);
	loop = NULL;
}
END_TEST

/* ---- who is not asked ---- */

/* localhost and what is below it is this host, and no nameserver hears of it. */
START_TEST(test_cares_localhost_is_never_asked_for)
{
	static const char *const names[] = { "localhost", "LocalHost", "localhost.", "some.where.localhost", "x.LOCALHOST." };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		askers_clear();
		ask(&a, names[i]);
		SERVE_UNTIL(a.calls == 1);
		ck_assert_msg(has(&a, "127.0.0.1:80"), "%s: %s", names[i], a.text);
	}
	ck_assert_int_eq(server.queries, 0);
	askers_clear();
	ask(&a, "notlocalhost.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.gai, EAI_NONAME);
	ck_assert_int_eq(server.queries, 1);
}
END_TEST

/* Numbers in any form are no names. */
START_TEST(test_cares_numeric_hosts_are_no_names)
{
	ask(&a, "127.1");
	ask(&b, "0x7f000001");
	SERVE_UNTIL(a.calls == 1 && b.calls == 1);
	ck_assert(has(&a, "127.0.0.1:80"));
	ck_assert(has(&b, "127.0.0.1:80"));
	ck_assert_int_eq(server.queries, 0);
}
END_TEST

static int
own_resolver(void *arg, const char *host, const char *service, int family, int type, unsigned flags,
	struct sconce_addr *addrs, size_t max)
{
	(void)host;
	return sconce_resolver_default(arg, "127.0.0.9", service, family, type, flags, addrs, max);
}

/* An application's resolver comes before nameservers, its own too. */
START_TEST(test_cares_own_resolver_comes_first)
{
	sconce_set_resolver(loop, own_resolver, NULL);
	ask(&a, "both.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert(has(&a, "127.0.0.9:80"));
	ck_assert_int_eq(server.queries, 0);
	sconce_set_resolver(loop, NULL, NULL);
	ask(&b, "both.test.");
	SERVE_UNTIL(b.calls == 1);
	ck_assert(has(&b, "192.0.2.1:80"));
}
END_TEST

/* ---- time, cancelling ---- */

/* Equal names under way are one query. */
START_TEST(test_cares_equal_names_are_one_query)
{
	server.hold = true;
	ask(&a, "both.test.");
	SERVE_UNTIL(server.held_count == 1);
	ask(&b, "BOTH.test.");
	serve_settle();
	ck_assert_int_eq(a.calls + b.calls, 0);
	server.hold = false;
	SERVE_UNTIL(a.calls == 1 && b.calls == 1);
	ck_assert_uint_eq(b.count, 2);
	ck_assert_int_eq(server.queries, 1);
}
END_TEST

/* A deadline that passes is ETIMEDOUT; the late answer is dropped. */
START_TEST(test_cares_deadline_is_etimedout)
{
	server.hold = true;
	ck_assert_int_eq(ask_for(&a, "both.test.", "80", AF_INET, 2), 0);
	SERVE_UNTIL(server.held_count == 1);
	net_pass(3);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ETIMEDOUT);
	ck_assert_int_eq(a.gai, 0);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	server.hold = false;
	serve_settle();
	ck_assert_int_eq(a.calls, 1);
}
END_TEST

/* A nameserver that says nothing is asked again, and given up when c-ares has waited long enough. */
START_TEST(test_cares_silence_is_a_temporary_failure)
{
	quick_servers();
	ask(&a, "silent.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(a.gai, EAI_AGAIN);
	ck_assert_int_eq(server.queries, 2);
}
END_TEST

/* A nameserver that is not there is a temporary failure, and with another one none. */
START_TEST(test_cares_nameserver_gone_is_a_temporary_failure)
{
	char both[80];

	snprintf(both, sizeof(both), "%s,%s", server.text, other.text);
	close(server.udp);
	server.udp = -1;
	ask(&a, "both.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_int_eq(a.errnum, EADDRNOTAVAIL);
	ck_assert_int_eq(a.gai, EAI_AGAIN);
	ck_assert_int_eq(sconce_set_nameservers(loop, both), 0);
	ask(&b, "both.test.");
	SERVE_UNTIL(b.calls == 1);
	ck_assert_uint_eq(b.count, 2);
	ck_assert_int_eq(other.queries, 1);
}
END_TEST

/* The library's sockets are not among the application's; an abandoned query does not keep the loop, and can be joined. */
START_TEST(test_cares_cancel_is_silent)
{
	size_t count = sconce_count(loop);

	server.hold = true;
	ask(&a, "both.test.");
	ask(&b, "both.test.");
	SERVE_UNTIL(server.held_count == 1);
	ck_assert_uint_eq(sconce_count(loop), count);
	sconce_resolve_cancel(a.handle);
	sconce_resolve_cancel(b.handle);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
	ask(&c, "both.test.");
	server.hold = false;
	SERVE_UNTIL(c.calls == 1);
	ck_assert_int_eq(a.calls + b.calls, 0);
	ck_assert_int_eq(server.queries, 1);
	ck_assert_int_eq(sconce_loop_run(loop), SCONCE_LOOP_IDLE);
}
END_TEST

/* An answer that nobody waits for any more ends without a trace, with its socket. */
START_TEST(test_cares_cancelled_answer_is_dropped)
{
	int fds;

	ask(&b, "nobody.test.");
	SERVE_UNTIL(b.calls == 1);
	fds = t_fd_count();
	server.hold = true;
	ask(&a, "both.test.");
	SERVE_UNTIL(server.held_count == 1);
	ck_assert_int_gt(t_fd_count(), fds);
	sconce_resolve_cancel(a.handle);
	server.hold = false;
	SERVE_UNTIL(t_fd_count() == fds);
	serve_settle();
	ck_assert_int_eq(a.calls, 0);
}
END_TEST

static void
ask_other(void)
{
	ck_assert_int_eq(sconce_set_nameservers(loop, other.text), 0);
	sconce_resolve_cancel(c.handle);
	ck_assert_int_eq(ask_for(&b, "both.test.", "81", AF_INET, 0), 0);
}

/* done() may ask, cancel, and name other nameservers. */
START_TEST(test_cares_done_may_do_anything)
{
	a.then = ask_other;
	ask(&a, "both.test.");
	ask(&c, "both.test.");
	SERVE_UNTIL(b.calls == 1);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(c.calls, 0);
	ck_assert(has(&b, "192.0.2.1:81"));
	ck_assert_int_eq(server.queries, 1);
	ck_assert_int_eq(other.queries, 1);
}
END_TEST

/* ---- nameservers ---- */

/* What is under way begins again with new nameservers; those that nobody waits for do not. */
START_TEST(test_set_nameservers_begins_again)
{
	server.hold = true;
	ask(&a, "both.test.");
	ask(&b, "nobody.test.");
	ask(&c, "empty.test.");
	SERVE_UNTIL(server.held_count == 3);
	sconce_resolve_cancel(c.handle);
	ck_assert_int_eq(sconce_set_nameservers(loop, other.text), 0);
	SERVE_UNTIL(a.calls == 1 && b.calls == 1);
	serve_settle();
	ck_assert_uint_eq(a.count, 2);
	ck_assert_int_eq(b.gai, EAI_NONAME);
	ck_assert_int_eq(c.calls, 0);
	ck_assert_int_eq(other.queries, 2);
	ck_assert_int_eq(server.queries, 3);
}
END_TEST

/* Nonsense is refused, and those that are stay. */
START_TEST(test_set_nameservers_wrong_text_is_einval)
{
	static const char *const wrong[] = {
		"", ",", "name.test", "1.2", "1.2.3.4.5", "127.0.0.1:99999", "127.0.0.1:5353,x", "1.2.3.4,", "*", "*:53", "53",
		"/etc/hosts", "@name", "tcp://1.2.3.4:53", "::1,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,"
		"1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4,1.2.3.4",
	};
	static const char *const right[] = { "1.2.3.4", "::1", "[::1]:53", "1.2.3.4:1,::1,127.0.0.1:65535" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(sconce_set_nameservers(loop, wrong[i]) == -EINVAL, "%s", wrong[i]);
	ask(&a, "both.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 2);
	ck_assert_int_eq(server.queries, 1);
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		ck_assert_msg(sconce_set_nameservers(loop, right[i]) == 0, "%s", right[i]);
}
END_TEST

/* NULL is the system's again: the names of this host are known, and ours is no longer asked. */
START_TEST(test_set_nameservers_null_is_the_system)
{
	ck_assert_int_eq(sconce_set_nameservers(loop, NULL), 0);
	ck_assert_int_eq(sconce_set_nameservers(loop, NULL), 0);
	ask(&a, "localhost");
	SERVE_UNTIL(a.calls == 1);
	ck_assert(has(&a, "127.0.0.1:80"));
	ck_assert_int_eq(server.queries, 0);
}
END_TEST

/* ---- the end, a fork, no memory ---- */

static void
name_while_freeing(void)
{
	ck_assert_int_eq(sconce_set_nameservers(loop, other.text), -EAGAIN);
}

/* Freed with queries under way, the loop tells who waits, and leaves nothing. */
START_TEST(test_cares_loop_freed_is_ecanceled)
{
	server.hold = true;
	a.then = name_while_freeing;
	ck_assert_int_eq(ask_for(&a, "both.test.", "80", AF_UNSPEC, 10), 0);
	ck_assert_int_eq(ask_for(&b, "cut.test.", "http", AF_UNSPEC, 10), 0);
	ask(&c, "empty.test.");
	sconce_resolve_cancel(c.handle);
	SERVE_UNTIL(server.held_count > 0);
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ECANCELED);
	ck_assert_int_eq(b.calls, 1);
	if (getservbyname("http", "tcp") != NULL)	/* without /etc/services it may have ended before */
		ck_assert_int_eq(b.errnum, ECANCELED);
	ck_assert_int_eq(c.calls, 0);
	loop = NULL;
}
END_TEST

/* An answer that has come, but is not told yet, is still the look-up's when the loop is freed. */
START_TEST(test_cares_loop_freed_before_done_is_ecanceled)
{
	ask(&a, "localhost");
	ck_assert_int_eq(sconce_loop_free(loop), 0);
	ck_assert_int_eq(a.calls, 1);
	ck_assert_int_eq(a.errnum, ECANCELED);
	loop = NULL;
}
END_TEST

/* A forked child asks again, by sockets of its own; the parent gets its own answer. */
START_TEST(test_cares_forked_child_asks_again)
{
	int status;
	pid_t pid;

	server.hold = true;
	ask(&a, "both.test.");
	SERVE_UNTIL(server.held_count == 1);
	pid = fork();
	if (pid == 0) {
		if (sconce_loop_fork(loop) != 0)
			_exit(2);
		for (int i = 0; i < 1000 && a.calls == 0; i++)
			sconce_loop_step(loop, 0.01);
		_exit(a.calls == 1 && a.count == 2 ? 0 : 3);
	}
	for (int i = 0; i < 1000 && server.held_count < 2; i++) {
		struct pollfd p = { .fd = server.udp, .events = POLLIN };

		poll(&p, 1, 10);
		serve(&server);
	}
	ck_assert_int_eq(server.held_count, 2);
	ck_assert(server.held[0].from.sin_port != server.held[1].from.sin_port);
	server.hold = false;
	SERVE_UNTIL(a.calls == 1);
	ck_assert_uint_eq(a.count, 2);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static int allocs_left = -1;		/* until one fails; -1: none does */

static bool
alloc_fails(void)
{
	if (allocs_left < 0)
		return false;
	return allocs_left-- == 0;
}

static void *
backend_alloc(void *ptr, size_t size, void *ctx)
{
	return size > 0 && alloc_fails() ? NULL : sconce_backend_libev()->alloc(ptr, size, ctx);
}

static void *
ares_alloc(size_t size)
{
	return alloc_fails() ? NULL : malloc(size);
}

static void *
ares_realloc_fn(void *ptr, size_t size)
{
	return alloc_fails() ? NULL : realloc(ptr, size);
}

/* Without memory, the library's or c-ares's, a name of an address is refused, or fails, and leaves nothing; HZ-22. */
START_TEST(test_cares_address_no_memory_is_a_failure)
{
	int failures = 0, n;

	quick_servers();
	backend.alloc = backend_alloc;
	for (n = 0; n < 300; n++) {
		struct sconce_addr addr;
		int r;

		memset(&na, 0, sizeof(na));
		ck_assert_int_eq(sconce_addr_parse("192.0.2.1:80", &addr, NULL), 0);
		allocs_left = n;
		r = sconce_resolve_addr(loop, &addr, 0, name_asked, &na, NULL);
		if (r == 0)
			SERVE_UNTIL(na.calls == 1);
		else
			ck_assert_int_eq(r, -ENOMEM);
		if (allocs_left >= 0)
			break;			/* no allocation failed */
		failures += r < 0 || na.name[0] == '\0';
		allocs_left = -1;
		serve_settle();
	}
	allocs_left = -1;
	ck_assert_int_lt(n, 300);
	ck_assert_int_gt(failures, 3);
	ck_assert_str_eq(na.name, "one.test");
}
END_TEST

/* Without memory, the library's or c-ares's, it is refused, or told to fail, or done in another way; HZ-22. */
START_TEST(test_cares_no_memory_is_a_failure)
{
	int failures = 0, n;

	quick_servers();			/* c-ares drops some answers that it has no memory for */
	backend.alloc = backend_alloc;
	for (n = 0; n < 300; n++) {
		int r;

		askers_clear();
		server.queries = 0;
		allocs_left = n;
		r = ask_for(&a, "both.test.", "80", AF_INET, 0);
		if (r == 0)
			SERVE_UNTIL(a.calls == 1);
		else
			ck_assert_int_eq(r, -ENOMEM);
		if (allocs_left >= 0)
			break;			/* no allocation failed */
		failures += r < 0 || a.count == 0;
		if (r == 0 && a.count == 0 && server.queries > 0)
			ck_assert_msg(a.errnum == ENOMEM || a.errnum == EADDRNOTAVAIL, "%d: %s", n, a.text);
		allocs_left = -1;
		serve_settle();
	}
	allocs_left = -1;
	ck_assert_int_lt(n, 300);
	ck_assert_int_gt(failures, 5);
	ck_assert_uint_eq(a.count, 2);
}
END_TEST

static int allocs_given;		/* by this, which gives no more then */

static void *
no_alloc(void *ptr, size_t size, void *ctx)
{
	if (size > 0 && allocs_given == 0)
		return NULL;
	if (size > 0)
		allocs_given--;
	return sconce_backend_libev()->alloc(ptr, size, ctx);
}

/* Where there is none for long, not even for a socket's watch, it is told as ENOMEM. */
START_TEST(test_cares_no_memory_for_sockets_is_enomem)
{
	int told = 0;

	for (int n = 0; a.count == 0; n++) {
		int r;

		ck_assert_int_lt(n, 20);
		askers_clear();
		server.queries = 0;
		allocs_given = n;
		backend.alloc = no_alloc;
		r = ask_for(&a, "both.test.", "80", AF_INET, 0);
		if (r == 0)
			SERVE_UNTIL(a.calls == 1);
		backend.alloc = sconce_backend_libev()->alloc;
		ck_assert(r == 0 || r == -ENOMEM);
		if (r == 0 && a.count == 0) {
			ck_assert_int_eq(a.errnum, ENOMEM);
			ck_assert_int_eq(server.queries, 0);
			told++;
		}
	}
	ck_assert_int_gt(told, 0);
}
END_TEST

/* Other nameservers without memory are refused: those that are stay. */
START_TEST(test_set_nameservers_no_memory_changes_nothing)
{
	int n, r = -ENOMEM;

	backend.alloc = backend_alloc;
	for (n = 0; n < 300 && r < 0; n++) {
		allocs_left = n;
		r = sconce_set_nameservers(loop, other.text);
		if (r == 0 && allocs_left < 0)
			r = -ENOMEM;		/* c-ares can do without what was refused */
		allocs_left = -1;
		ck_assert(r == 0 || r == -ENOMEM);
	}
	ck_assert_int_gt(n, 3);
	ck_assert_int_eq(r, 0);
	ask(&a, "both.test.");
	SERVE_UNTIL(a.calls == 1);
	ck_assert_int_eq(other.queries, 1);
}
END_TEST

static TCase *
cares_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, cares_setup, cares_teardown);
	return tcase;
}

Suite *
t_suite(void)
{
	Suite *suite = suite_create("resolve_cares");
	TCase *answers = cares_case(suite, "answers"), *others = cares_case(suite, "others");
	TCase *under_way = cares_case(suite, "under way");
	TCase *servers = cares_case(suite, "nameservers"), *ends = cares_case(suite, "ends");

	ares_library_init_mem(ARES_LIB_INIT_ALL, ares_alloc, free, ares_realloc_fn);	/* before the library does without */
	tcase_add_test(answers, test_cares_name_is_asked_of_the_nameserver);
	tcase_add_test(answers, test_cares_failures_are_those_of_getaddrinfo);
	tcase_add_test(answers, test_cares_truncated_answer_comes_by_tcp);
	tcase_add_test(answers, test_cares_many_addresses_are_told);
	tcase_add_test(answers, test_cares_configured_families_are_asked_for);
	tcase_add_test(answers, test_cares_connect_finds_the_host);
	tcase_add_test(answers, test_cares_service_has_its_port);
	tcase_add_test(answers, test_cares_address_has_its_name);
	tcase_add_test(answers, test_cares_address_without_name_is_a_failure);
	tcase_add_test(under_way, test_cares_address_is_a_look_up_like_others);
	tcase_add_test(others, test_cares_localhost_is_never_asked_for);
	tcase_add_test(others, test_cares_numeric_hosts_are_no_names);
	tcase_add_test(others, test_cares_own_resolver_comes_first);
	tcase_add_test(under_way, test_cares_equal_names_are_one_query);
	tcase_add_test(under_way, test_cares_deadline_is_etimedout);
	tcase_add_test(under_way, test_cares_silence_is_a_temporary_failure);
	tcase_add_test(under_way, test_cares_nameserver_gone_is_a_temporary_failure);
	tcase_add_test(under_way, test_cares_cancel_is_silent);
	tcase_add_test(under_way, test_cares_cancelled_answer_is_dropped);
	tcase_add_test(under_way, test_cares_done_may_do_anything);
	tcase_add_test(servers, test_set_nameservers_begins_again);
	tcase_add_test(servers, test_set_nameservers_wrong_text_is_einval);
	tcase_add_test(servers, test_set_nameservers_null_is_the_system);
	tcase_add_test(servers, test_set_nameservers_no_memory_changes_nothing);
	tcase_add_test(ends, test_cares_loop_freed_is_ecanceled);
	tcase_add_test(ends, test_cares_loop_freed_before_done_is_ecanceled);
	tcase_add_test(ends, test_cares_forked_child_asks_again);
	tcase_add_test(ends, test_cares_no_memory_is_a_failure);
	tcase_add_test(ends, test_cares_address_no_memory_is_a_failure);
	tcase_add_test(ends, test_cares_no_memory_for_sockets_is_enomem);
	return suite;
}

#else

/* Built without c-ares there are no nameservers to be named, and the system's are what there is. */
START_TEST(test_set_nameservers_without_cares_is_enotsup)
{
	ck_assert_int_eq(sconce_set_nameservers(loop, "127.0.0.1"), -ENOTSUP);
	ck_assert_int_eq(sconce_set_nameservers(loop, NULL), 0);
	net_settle();
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("resolve_cares");

	puts("skip c-ares: built without it");
	tcase_add_test(net_case(suite, "nameservers"), test_set_nameservers_without_cares_is_enotsup);
	return suite;
}

#endif
