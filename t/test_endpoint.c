/* The endpoint parser: every form and every option, right and wrong, as tables; then the options on real sockets. */
#include "test_net.h"

#include <sys/mman.h>

#include "core.h"

enum role { LISTEN = 1, CONNECT = 2, ADDR = 4, ALL = 7 };

/* Parses in one role, from a text that ends where memory does. */
static char *page_end;

static void
page_setup(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(mprotect(p + page, page, PROT_NONE), 0);
	page_end = p + page;
}

static int
parse_as(enum role role, const char *text, struct sconce_endpoint *ep, struct sconce_addr *addr, struct sconce_fail *fail)
{
	char *copy = page_end - strlen(text) - 1;
	int r;

	memset(ep, 0, sizeof(*ep));
	memset(addr, 0, sizeof(*addr));
	memset(fail, 0, sizeof(*fail));
	strcpy(copy, text);
	if (role == ADDR)
		return sconce_addr_parse(copy, addr, fail);
	r = sconce_endpoint_parse(copy, role == LISTEN ? SCONCE_ENDPOINT_LISTEN : SCONCE_ENDPOINT_CONNECT, NULL, ep, fail);
	if (r == 1 && ep->fd < 0)
		sconce__endpoint_addr(ep, addr);
	return r == 1 ? 0 : r;
}

static const enum role roles[] = { LISTEN, CONNECT, ADDR };

/* ---- right ones ---- */

static const struct {
	const char *text, *addr;
	unsigned roles;
} right[] = {
	{ "tcp://1.2.3.4:80", "1.2.3.4:80", ALL },
	{ "tcp4://1.2.3.4:80", "1.2.3.4:80", ALL },
	{ "TCP://1.2.3.4:80", "1.2.3.4:80", ALL },
	{ "1.2.3.4:80", "1.2.3.4:80", ALL },
	{ "127.0.0.1:65535", "127.0.0.1:65535", ALL },
	{ "127.0.0.1:00080", "127.0.0.1:80", ALL },
	{ "tcp://127.0.0.1:0", "127.0.0.1:0", LISTEN | ADDR },
	{ "tcp://0:80", "0.0.0.0:80", ALL },
	{ "0:80", "0.0.0.0:80", ALL },
	{ "tcp://*:80", "0.0.0.0:80", LISTEN | ADDR },
	{ "*:80", "0.0.0.0:80", LISTEN | ADDR },
	{ "tcp4://*:80", "0.0.0.0:80", LISTEN | ADDR },
	{ "tcp6://*:80", "[::]:80", LISTEN | ADDR },
	{ "80", "[::]:80", LISTEN | ADDR },
	{ "0", "[::]:0", LISTEN | ADDR },
	{ "tcp://[::1]:80", "[::1]:80", ALL },
	{ "tcp6://[::1]:80", "[::1]:80", ALL },
	{ "[::1]:80", "[::1]:80", ALL },
	{ "[::]:80", "[::]:80", ALL },
	{ "[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80", ALL },
	{ "tcp://[fe80::1%999999]:80", "[fe80::1%999999]:80", ALL },
	{ "[2001:DB8:0:0:0:0:0:1]:80", "[2001:db8::1]:80", ALL },
	{ "unix:///run/x", "/run/x", ALL },
	{ "/run/x", "/run/x", ALL },
	{ "/run/a://b", "/run/a://b", ALL },
	{ "unix:///@abc", "@abc", ALL },
	{ "unix://@abc", "@abc", ALL },
	{ "@abc", "@abc", ALL },
	{ "unix:///@a/b", "@a/b", ALL },
	{ "1.2.3.4:80?nodelay=0", "1.2.3.4:80", ALL },
	{ "80?backlog=5&reuse=0&reuseport=1&v6only=1&deferaccept=3", "[::]:80", LISTEN | ADDR },
	{ "1.2.3.4:80?rcvbuf=1000&sndbuf=2000&keepalive=1&nodelay=1", "1.2.3.4:80", ALL },
	{ "/run/x?mode=660&backlog=1", "/run/x", LISTEN | ADDR },
	{ "1.2.3.4:80?bind=127.0.0.1&bindport=77", "1.2.3.4:80", CONNECT | ADDR },
	{ "1.2.3.4:80?BIND=127.0.0.1", "1.2.3.4:80", CONNECT | ADDR },
};

/* Every form gives the address that it means, in every role that it is for. */
START_TEST(test_endpoint_parse_right_gives_address)
{
	char buf[SCONCE_ADDR_TEXT];
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		for (size_t j = 0; j < 3; j++) {
			int r = parse_as(roles[j], right[i].text, &ep, &addr, &fail);

			if (right[i].roles & roles[j]) {
				ck_assert_msg(r == 0, "%s: %s", right[i].text, fail.text);
				ck_assert_str_eq(sconce_addr_text(&addr, buf, sizeof(buf)), right[i].addr);
			} else {
				ck_assert_msg(r == -EINVAL, "%s in role %d", right[i].text, roles[j]);
				ck_assert_msg(fail.text[0] != '\0', "%s: no reason", right[i].text);
			}
		}
	}
}
END_TEST

/* Names and services are kept as they are; the family is what the scheme says; EM-39, SF-3. */
START_TEST(test_endpoint_parse_names_are_kept)
{
	static const struct {
		const char *text, *host, *service;
		int family, type;
	} cases[] = {
		{ "tcp://localhost:80", "localhost", "80", AF_UNSPEC, SOCK_STREAM },
		{ "tcp6://www.example.com.:http", "www.example.com.", "http", AF_INET6, SOCK_STREAM },
		{ "tcp4://8o:80", "8o", "80", AF_INET, SOCK_STREAM },
		{ "localhost:x-y.z_1", "localhost", "x-y.z_1", AF_UNSPEC, SOCK_STREAM },
		{ "udp://_a-b:53", "_a-b", "53", AF_UNSPEC, SOCK_DGRAM },
		{ "udp4://127.0.0.1:domain", "127.0.0.1", "domain", AF_INET, SOCK_DGRAM },
		{ "[::1]:http", "::1", "http", AF_INET6, SOCK_STREAM },
	};
	struct sconce_endpoint ep;
	struct sconce_addr addr;
	struct sconce_fail fail;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t j = 0; j < 2; j++) {
			ck_assert_msg(parse_as(roles[j], cases[i].text, &ep, &addr, &fail) == 0, "%s", fail.text);
			ck_assert_str_eq(ep.host, cases[i].host);
			ck_assert_str_eq(ep.service, cases[i].service);
			ck_assert_int_eq(ep.family, cases[i].family);
			ck_assert_int_eq(ep.type, cases[i].type);
			ck_assert_int_eq(ep.fd, -1);
			ck_assert_str_eq(ep.text, cases[i].text);
		}
	}
}
END_TEST

/* An fd, and paths that are relative. */
START_TEST(test_endpoint_parse_fds_and_paths)
{
	struct sconce_endpoint ep;
	struct sconce_addr addr;
	struct sconce_fail fail;

	ck_assert_int_eq(parse_as(LISTEN, "fd://3", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.fd, 3);
	ck_assert_int_eq(ep.type, 0);
	ck_assert_str_eq(ep.proto, "fd");
	ck_assert_int_eq(parse_as(CONNECT, "unix://run/x", &ep, &addr, &fail), 0);
	ck_assert_str_eq(ep.path, "run/x");
	ck_assert_int_eq(ep.family, AF_UNIX);
	ck_assert_int_eq(parse_as(LISTEN, "unix_dgram:///@x", &ep, &addr, &fail), 0);
	ck_assert_str_eq(ep.path, "@x");
	ck_assert_int_eq(ep.type, SOCK_DGRAM);
	ck_assert_int_eq(parse_as(CONNECT, "unix_dgram:///x?bind=@&timeout=0.25", &ep, &addr, &fail), 0);
	ck_assert_str_eq(ep.bind_host, "@");
	ck_assert_int_eq(ep.options.timeout_ms, 250);
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:5?timeout=2.0019&bindport=ftp", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.timeout_ms, 2002);	/* rounded up: a short time is not none */
	ck_assert_str_eq(ep.bind_service, "ftp");
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:5?timeout=0.0004", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.timeout_ms, 1);
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:5?timeout=2.0010000", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.timeout_ms, 2001);
}
END_TEST

/* ---- wrong ones ---- */

#define LONG_NAME "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

#define LABEL "a-label-of-forty-bytes-xxxxxxxxxxxxxxxxx"	/* a name's label has at most 63 */

static const struct {
	const char *text, *why;		/* `why` is part of the report */
	unsigned roles;
} wrong[] = {
	{ "", "nothing there", ALL },
	{ "?", "no address", ALL },
	{ ":", "no port", ALL },
	{ ":80", "no address", ALL },
	{ "80", "a port alone", CONNECT },
	{ "*:80", "'*' is every address", CONNECT },
	{ "1.2.3.4:0", "port 0 cannot be connected to", CONNECT },
	{ "1.2.3.4", "no port", ALL },
	{ "1.2.3.4:", "no port", ALL },
	{ "tcp://1.2.3.4", "no port", ALL },
	{ "tcp://80", "no host: say tcp://*:80 or 80", LISTEN | ADDR },
	{ "tcp://80", "no host: say tcp://HOST:80", CONNECT },
	{ "tcp6://80", "no host: say tcp6://*:80", LISTEN },
	{ "udp://7123", "no host: say udp://*:7123", LISTEN },
	{ "tcp://", "no address", ALL },
	{ "[::1]", "no port", ALL },
	{ "[::1]:", "no port", ALL },
	{ "65536", "port '65536' is above 65535", LISTEN | ADDR },
	{ "1.2.3.4:65536", "port '65536' is above 65535", ALL },
	{ "1.2.3.4:99999999999999999999", "is above 65535", ALL },
	{ "1.2.3.4:http", "a name, which would have to be looked up", ADDR },
	{ "1.2.3.4:8o", "'8o' is not a port", ALL },
	{ "1.2.3.4:+80", "'+80' is not a port", ALL },
	{ "1.2.3.4:-1", "'-1' is not a port", ALL },
	{ "1.2.3.4: 80", "' 80' is not a port", ALL },
	{ "1.2.3.4:80/", "'80/' is not a port", ALL },
	{ "tcp://1.2.3.4:80/x", "'80/x' is not a port", ALL },
	{ "localhost:80", "a name, which would have to be looked up: give a numeric address", ADDR },
	{ "tcp://www.example.com:80", "a name, which would have to be looked up", ADDR },
	{ "tcp6://localhost:80", "a name, which would have to be looked up", ADDR },
	{ "localhost", "'localhost': no port", ALL },
	{ "run/x", "'run/x' is neither address and port nor a path", ALL },
	{ " 1.2.3.4:80", "' 1.2.3.4' is not an address or a name", ALL },
	{ "1.2.3:80", "'1.2.3' is not an IPv4 address", ALL },
	{ "1.2.3.4.5:80", "'1.2.3.4.5' is not an IPv4 address", ALL },
	{ "256.1.1.1:80", "'256.1.1.1' is not an IPv4 address", ALL },
	{ "01.2.3.4:80", "'01.2.3.4' is not an IPv4 address", ALL },
	{ "1:80", "'1' is not an IPv4 address", ALL },
	{ "tcp4://[::1]:80", "'::1' is not an IPv4 address", ALL },
	{ "tcp6://1.2.3.4:80", "'1.2.3.4' is not an IPv6 address", ALL },
	{ "[1.2.3.4]:80", "'1.2.3.4' is not an IPv6 address", ALL },
	{ "[]:80", "no address", ALL },
	{ "[:80", "'[' without ']'", ALL },
	{ "[::1]x:80", "'x:80' after ']' is not a port", ALL },
	{ "[::1]80", "'80' after ']' is not a port", ALL },
	{ "[:::1]:80", "':::1' is not an IPv6 address", ALL },
	{ "[1:2:3:4:5:6:7:8:9]:80", "is not an IPv6 address", ALL },
	{ "[" LONG_NAME "]:80", "is not an IPv6 address", ALL },
	{ "[fe80::1%]:80", "no interface ''", ALL },
	{ "[fe80::1%no-such-if]:80", "no interface 'no-such-if'", ALL },
	{ "[fe80::1%0]:80", "no interface '0'", ALL },
	{ "[fe80::1%99999999999]:80", "no interface '99999999999'", ALL },
	{ "::1:80", "an IPv6 address stands in brackets", ALL },
	{ "tcp://::1:80", "an IPv6 address stands in brackets", ALL },
	{ "http://1.2.3.4:80", "unknown scheme 'http'", ALL },
	{ "://1.2.3.4:80", "unknown scheme ''", ALL },
	{ "udp6://1.2.3.4:80", "'1.2.3.4' is not an IPv6 address", ALL },
	{ "udp://1.2.3.4", "no port", ALL },
	{ "fd://", "'' is not the number of an fd", ALL },
	{ "fd://x", "'x' is not the number of an fd", ALL },
	{ "fd://-1", "'-1' is not the number of an fd", ALL },
	{ "fd://3", "an fd is not an address", ADDR },
	{ "udp://1.2.3.4:80", "an address of a datagram socket is written without 'udp://'", ADDR },
	{ "unix_dgram:///x", "an address of a datagram socket is written without 'unix_dgram://'", ADDR },
	{ "fd://3?nodelay=1", "option 'nodelay' is for tcp", LISTEN | CONNECT },
	{ "unix://", "no path", ALL },
	{ "unix_dgram://", "no path", ALL },
	{ "unix:///", "'/' is not a socket's path", ALL },
	{ "/", "'/' is not a socket's path", ALL },
	{ "@", "no name after '@'", ALL },
	{ "unix:///@", "no name after '@'", ALL },
	{ "/" LONG_NAME, "a path of 109 bytes: at most 107", ALL },
	{ "1.2.3.4:80?", "unknown option ''", ALL },
	{ "1.2.3.4:80?nodelay=1&", "unknown option ''", ALL },
	{ "1.2.3.4:80?colour=blue", "unknown option 'colour'", ALL },
	{ "1.2.3.4:80?nodelay", "option 'nodelay' has no value", ALL },
	{ "1.2.3.4:80?nodelay=", "option 'nodelay' has no value", ALL },
	{ "1.2.3.4:80?nodelay=2", "option 'nodelay' takes a number from 0 to 1, not '2'", ALL },
	{ "1.2.3.4:80?nodelay=yes", "not 'yes'", ALL },
	{ "1.2.3.4:80?nodelay=1&nodelay=1", "option 'nodelay' is given twice", ALL },
	{ "1.2.3.4:80?rcvbuf=0", "option 'rcvbuf' takes a number from 1 to", ALL },
	{ "1.2.3.4:80?rcvbuf=99999999999999999999", "option 'rcvbuf' takes a number from 1 to", ALL },
	{ "1.2.3.4:80?rcvbuf=-1", "not '-1'", ALL },
	{ "1.2.3.4:80?v6only=1", "option 'v6only' is for IPv6", LISTEN },
	{ "1.2.3.4:80?mode=600", "option 'mode' is for unix paths", LISTEN },
	{ "@abc?mode=600", "option 'mode' is for unix paths", LISTEN },
	{ "1.2.3.4:80?timeout=1.x", "option 'timeout' takes a number from 0 to 2000000, not '1.x'", CONNECT },
	{ "1.2.3.4:80?timeout=-1", "not '-1'", CONNECT },
	{ "1.2.3.4:80?timeout=1", "option 'timeout' is for connecting", LISTEN },
	{ "1.2.3.4:80?happy=60001", "option 'happy' takes a number from 0 to 60000", CONNECT },
	{ "/x?happy=1", "option 'happy' is for tcp", CONNECT },
	{ "udp://1.2.3.4:80?happy=1", "option 'happy' is for tcp", CONNECT },
	{ "udp://1.2.3.4:80?backlog=1", "option 'backlog' is for tcp", LISTEN },
	{ "udp://1.2.3.4:80?nodelay=1", "option 'nodelay' is for tcp", ALL },
	{ "1.2.3.4:80?dev=a-name-of-sixteen", "option 'dev' takes at most 15 bytes", ALL },
	{ "1.2.3.4:80?dev=lo&dev=lo", "option 'dev' is given twice", ALL },
	{ "1.2.3.4:80?tos=256", "option 'tos' takes a number from 0 to 255", ALL },
	{ "1.2.3.4:80?owner=root", "option 'owner' is for unix paths", LISTEN },
	{ "/x?owner=root", "option 'owner' is for listening", CONNECT },
	{ "1.2.3.4:80?bindport=8o", "'8o' is not a port", CONNECT },
	{ "unix_dgram:///x?bind=/", "'/' is not a socket's path", CONNECT },
	{ "unix_dgram:///x?bindport=1", "option 'bindport' is for tcp", CONNECT },
	{ LABEL LABEL "." LABEL ":80", "is not an address or a name", ALL },
	{ LABEL "." LABEL "." LABEL "." LABEL "." LABEL "." LABEL "." LABEL ":80", "is not an address or a name", ALL },
	{ "a..b:80", "'a..b' is not an address or a name", ALL },
	{ ".a:80", "'.a' is not an address or a name", ALL },
	{ "caf\xc3\xa9:80", "is not an address or a name", ALL },
	{ "/x?mode=888", "option 'mode' takes an octal number up to 777, not '888'", LISTEN },
	{ "/x?mode=1777", "not '1777'", LISTEN },
	{ "/x?nodelay=1", "option 'nodelay' is for tcp", ALL },
	{ "/x?reuse=1", "option 'reuse' is for tcp", LISTEN },
	{ "/x?bind=1.2.3.4", "option 'bind' is for tcp", CONNECT },
	{ "1.2.3.4:80?bind=1.2.3.4", "option 'bind' is for connecting", LISTEN },
	{ "1.2.3.4:80?bindport=1", "option 'bindport' is for connecting", LISTEN },
	{ "1.2.3.4:80?backlog=1", "option 'backlog' is for listening", CONNECT },
	{ "1.2.3.4:80?backlog=0", "option 'backlog' takes a number from 1", LISTEN },
	{ "1.2.3.4:80?bind=local host", "'local host' is not an address or a name", CONNECT },
	{ "1.2.3.4:80?bind=::1", "'::1' is not an IPv4 address", CONNECT },
	{ "[::1]:80?bind=1.2.3.4", "'1.2.3.4' is not an IPv6 address", CONNECT },
	{ "1.2.3.4:80?bind=", "option 'bind' has no value", CONNECT },
	{ "1.2.3.4:80?bind=1.1.1.1&bind=1.1.1.1", "option 'bind' is given twice", CONNECT },
	{ "1.2.3.4:80?bindport=0", "option 'bindport' takes a number from 1 to 65535", CONNECT },
	{ "1.2.3.4:80?bindport=1&bindport=2", "option 'bindport' is given twice", CONNECT },
	{ "\x01\n:80", "is not an address or a name", ALL },
};

/* Every wrong one is refused, and the report names the part that is wrong. */
START_TEST(test_endpoint_parse_wrong_is_refused_by_name)
{
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (size_t j = 0; j < 3; j++) {
			if (!(wrong[i].roles & roles[j]))
				continue;
			ck_assert_msg(parse_as(roles[j], wrong[i].text, &ep, &addr, &fail) == -EINVAL, "'%s' in role %d",
				wrong[i].text, roles[j]);
			ck_assert_msg(strstr(fail.text, wrong[i].why) != NULL, "'%s': %s", wrong[i].text, fail.text);
			ck_assert_str_eq(fail.operation, "parse");
			ck_assert_int_eq(fail.errnum, EINVAL);
			ck_assert_int_eq(fail.gai, 0);
		}
	}
}
END_TEST

/* A record is one line of text whatever was parsed, nothing of the address is touched, and the record may be left out. */
START_TEST(test_endpoint_parse_any_bytes_report_is_one_line)
{
	struct sconce_addr before, a;
	struct sconce_fail fail;
	char text[1300];

	memset(&before, '#', sizeof(before));
	for (int c = 1; c < 256; c++) {
		snprintf(text, sizeof(text), "tcp://%c%c", c, c);
		a = before;
		ck_assert_int_eq(sconce_addr_parse(text, &a, &fail), -EINVAL);
		ck_assert_int_eq(memcmp(&a, &before, sizeof(a)), 0);
		for (const char *p = fail.text; *p != '\0'; p++)
			ck_assert_uint_ge((unsigned char)*p, 0x20);
		ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), -EINVAL);
	}
	for (size_t len = 1; len < sizeof(text); len++) {
		memset(text, 'x', len);
		text[len] = '\0';
		ck_assert_int_eq(sconce_addr_parse(text, &a, &fail), -EINVAL);
		ck_assert_uint_lt(strlen(fail.text), sizeof(fail.text));
	}
	ck_assert_ptr_nonnull(strstr(fail.text, "at most 1024"));
}
END_TEST

/* Every piece of a right text, and every one with a byte changed, is parsed or refused without reading past its end. */
START_TEST(test_endpoint_parse_mutations_stay_in_bounds)
{
	static const char bytes[] = "\x01 :/[]%?&=*@0a.";
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;
	char text[128];
	int parsed = 0;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		size_t len = strlen(right[i].text);

		for (size_t at = 0; at < len; at++) {
			memcpy(text, right[i].text, len + 1);
			text[at] = '\0';
			parsed += parse_as(LISTEN, text, &ep, &addr, &fail) == 0;
			for (const char *b = bytes; *b != '\0'; b++) {
				memcpy(text, right[i].text, len + 1);
				text[at] = *b;
				for (size_t j = 0; j < 3; j++)
					parsed += parse_as(roles[j], text, &ep, &addr, &fail) == 0;
			}
		}
	}
	ck_assert_int_gt(parsed, 100);
}
END_TEST

/* ---- options ---- */

#define CK_BIND(host, service) do { \
		ck_assert_str_eq(ep.bind_host, (host)); \
		ck_assert_str_eq(ep.bind_service, (service)); \
	} while (0)

/* What is said is known, what is not is -1. */
START_TEST(test_endpoint_parse_options_give_values)
{
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;

	ck_assert_int_eq(parse_as(LISTEN, "[::1]:80", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.backlog, -1);
	ck_assert_int_eq(ep.options.reuse, -1);
	ck_assert_int_eq(ep.options.nodelay, -1);
	ck_assert_int_eq(ep.options.mode, -1);
	ck_assert(!sconce__endpoint_any(&ep));
	ck_assert_str_eq(ep.bind_host, "");
	ck_assert_str_eq(ep.bind_service, "");
	ck_assert_int_eq(parse_as(LISTEN, "80?backlog=7&reuse=0&reuseport=1&v6only=0&deferaccept=3&nodelay=0&rcvbuf=10&"
		"sndbuf=20&keepalive=1", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.backlog, 7);
	ck_assert_int_eq(ep.options.reuse, 0);
	ck_assert_int_eq(ep.options.reuseport, 1);
	ck_assert_int_eq(ep.options.v6only, 0);
	ck_assert_int_eq(ep.options.deferaccept, 3);
	ck_assert_int_eq(ep.options.nodelay, 0);
	ck_assert_int_eq(ep.options.rcvbuf, 10);
	ck_assert_int_eq(ep.options.sndbuf, 20);
	ck_assert_int_eq(ep.options.keepalive, 1);
	ck_assert(sconce__endpoint_any(&ep));
	ck_assert_int_eq(parse_as(LISTEN, "/x?mode=0640", &ep, &addr, &fail), 0);
	ck_assert_int_eq(ep.options.mode, 0640);
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:80?bindport=77&bind=127.0.0.2", &ep, &addr, &fail), 0);
	CK_BIND("127.0.0.2", "77");
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:80?bindport=77", &ep, &addr, &fail), 0);
	CK_BIND("", "77");
	ck_assert_int_eq(parse_as(CONNECT, "[::1]:80?bind=[::2]", &ep, &addr, &fail), 0);
	CK_BIND("::2", "");
	ck_assert_int_eq(parse_as(CONNECT, "[::1]:80?bind=::2", &ep, &addr, &fail), 0);
	CK_BIND("::2", "");
	ck_assert_int_eq(parse_as(CONNECT, "[::1]:80?bindport=9", &ep, &addr, &fail), 0);
	CK_BIND("", "9");
	ck_assert_int_eq(parse_as(CONNECT, "1.2.3.4:80?bind=*", &ep, &addr, &fail), 0);
	CK_BIND("*", "");
}
END_TEST

static int
option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static int
options_set(int fd, const struct sconce_endpoint *ep, const struct sconce_addr *addr, bool listening, struct sconce_fail *fail)
{
	unsigned how = (listening ? HOW_PASSIVE : 0) | (sconce__endpoint_any(ep) ? HOW_ANY : 0);

	return sconce__socket_options(loop, fd, addr, &ep->options, how, fail);
}

static int
socket_with(const char *text, bool listening)
{
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;
	int fd;

	ck_assert_int_eq(parse_as(listening ? LISTEN : CONNECT, text, &ep, &addr, &fail), 0);
	fd = socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 && errno == EAFNOSUPPORT)
		return -1;
	ck_assert_int_ge(fd, 0);
	ck_assert_msg(options_set(fd, &ep, &addr, listening, &fail) == 0, "%s", fail.text);
	return fd;
}

/* A listening socket gets what was said, and by default reuse, no delay and one family. */
START_TEST(test_endpoint_options_listening_are_set)
{
	int fd = socket_with("127.0.0.1:0", true);

	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 0);
	ck_assert_int_ne(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	close(fd);
	fd = socket_with("127.0.0.1:0?reuse=0&reuseport=1&nodelay=0&keepalive=1&deferaccept=4&rcvbuf=30000", true);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 1);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_gt(option_of(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_RCVBUF), 60000);	/* Linux doubles it */
	close(fd);
	fd = socket_with("[::1]:0", true);
	if (fd < 0)
		return;
	ck_assert_int_eq(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	close(fd);
	fd = socket_with("[::1]:0?v6only=0", true);
	ck_assert_int_eq(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	close(fd);
	fd = socket_with("8099", true);		/* a port alone is both families */
	ck_assert_int_eq(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	close(fd);
}
END_TEST

/* A connecting socket gets what was said, and by default no delay. */
START_TEST(test_endpoint_options_connecting_are_set)
{
	int fd = socket_with("127.0.0.1:1", false);

	ck_assert_int_ne(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	close(fd);
	fd = socket_with("127.0.0.1:1?nodelay=0&sndbuf=40000&keepalive=1", false);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_SNDBUF), 80000);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	close(fd);
	fd = socket_with("/x?rcvbuf=20000", false);
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_RCVBUF), 40000);
	close(fd);
}
END_TEST

/* An option that the kernel refuses is named. */
START_TEST(test_endpoint_options_refused_is_named)
{
	struct sconce_fail fail;
	struct sconce_endpoint ep;
	struct sconce_addr addr;
	int fds[2];

	ck_assert_int_eq(parse_as(LISTEN, "127.0.0.1:80?reuse=0", &ep, &addr, &fail), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(options_set(fds[0], &ep, &addr, true, &fail), -ENOTSOCK);
	ck_assert_str_eq(fail.operation, "setsockopt");
	ck_assert_str_eq(fail.text, "setsockopt TCP_NODELAY for 127.0.0.1:80: Socket operation on non-socket");
	ck_assert_int_eq(options_set(fds[0], &ep, &addr, true, NULL), -ENOTSOCK);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("endpoint");
	TCase *parse = t_case(suite, "parse"), *options = net_case(suite, "options");

	tcase_add_checked_fixture(parse, page_setup, NULL);
	tcase_add_checked_fixture(options, page_setup, NULL);
	tcase_add_test(parse, test_endpoint_parse_right_gives_address);
	tcase_add_test(parse, test_endpoint_parse_names_are_kept);
	tcase_add_test(parse, test_endpoint_parse_fds_and_paths);
	tcase_add_test(parse, test_endpoint_parse_wrong_is_refused_by_name);
	tcase_add_test(parse, test_endpoint_parse_any_bytes_report_is_one_line);
	tcase_add_test(parse, test_endpoint_parse_mutations_stay_in_bounds);
	tcase_add_test(options, test_endpoint_parse_options_give_values);
	tcase_add_test(options, test_endpoint_options_listening_are_set);
	tcase_add_test(options, test_endpoint_options_connecting_are_set);
	tcase_add_test(options, test_endpoint_options_refused_is_named);
	return suite;
}
