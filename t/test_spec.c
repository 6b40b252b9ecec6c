/* Port specs, and what defaults do to any text. */
#include "test_net.h"

#include "core.h"

static const struct sconce_endpoint_defaults four = { .ipv = "4" }, any = { .ipv = "*" };

static int
parse(const char *text, const struct sconce_endpoint_defaults *defaults, struct sconce_endpoint *list, struct sconce_fail *fail)
{
	memset(fail, 0, sizeof(*fail));
	memset(list, '#', SCONCE_ENDPOINTS * sizeof(*list));
	return sconce_endpoint_parse(text, SCONCE_ENDPOINT_LISTEN, defaults, list, fail);
}

/* What one endpoint is, in one line. */
static const char *
show(const struct sconce_endpoint *ep, char *buf, size_t size)
{
	int ipv = ep->family == AF_INET ? 4 : ep->family == AF_INET6 ? 6 : 0;

	if (ep->family == AF_UNIX)
		snprintf(buf, size, "%s %s %s", ep->path, ep->proto, ep->type == SOCK_DGRAM ? "dgram" : "stream");
	else if (ipv == 0)
		snprintf(buf, size, "%s %s %s *", ep->host, ep->service, ep->proto);
	else
		snprintf(buf, size, "%s %s %s %d", ep->host, ep->service, ep->proto, ipv);
	return buf;
}

/* ---- G.2 ---- */

static const struct {
	const char *text, *one, *two;
} vectors[] = {
	{ "20203", "* 20203 tcp 4", NULL },
	{ "http", "* http tcp 4", NULL },
	{ "localhost:http", "localhost http tcp 4", NULL },
	{ "localhost:20203/udp/IPv4", "localhost 20203 udp 4", NULL },
	{ "localhost, 20203, tcp, IPv4", "localhost 20203 tcp 4", NULL },
	{ "localhost | 20203 | tcp | IPv6", "localhost 20203 tcp 6", NULL },
	{ " localhost\t20203 ", "localhost 20203 tcp 4", NULL },
	{ "[::1]:80", "::1 80 tcp 6", NULL },
	{ "::1:80", "::1 80 tcp 6", NULL },
	{ "::1 80", "::1 80 tcp 6", NULL },
	{ "[::1]:80/udp", "::1 80 udp 6", NULL },
	{ "[localhost]:20203/tcp", "localhost 20203 tcp 4", NULL },
	{ "[*]:20203:IPv6", "* 20203 tcp 6", NULL },
	{ "[localhost]:IPv6:20203", "localhost 20203 tcp 6", NULL },
	{ "20203/IPv4/IPv6", "* 20203 tcp 6", "* 20203 tcp 4" },
	{ "20203 ipv6 ipv4 udp", "* 20203 udp 6", "* 20203 udp 4" },
	{ "20203/IPv4/IPv4", "* 20203 tcp 4", NULL },
	{ "localhost:20203/tcp/IPv*", "localhost 20203 tcp *", NULL },
	{ "127.0.0.1:0", "127.0.0.1 0 tcp 4", NULL },
	{ "foo/bar/unix", "foo/bar unix stream", NULL },
	{ "/foo/bar|unix", "/foo/bar unix stream", NULL },
	{ "/foo/bar|unixdgram", "/foo/bar unix_dgram dgram", NULL },
	{ "/foo/bar|sock_dgram|unix", "/foo/bar unix dgram", NULL },
	{ "/foo/udp/bar | unix", "/foo/udp/bar unix stream", NULL },
	{ "/foo/bar", "/foo/bar unix stream", NULL },
	{ "@name", "@name unix stream", NULL },
	{ "localhost:443/ssl", "localhost 443 ssl 4", NULL },
	{ ":80", "* 80 tcp 4", NULL },
	/* URLs mean what they always do, and take a version from the defaults when they do not say one */
	{ "tcp://*:80", "* 80 tcp 4", NULL },
	{ "tcp://localhost:80", "localhost 80 tcp 4", NULL },
	{ "tcp6://localhost:80", "localhost 80 tcp 6", NULL },
	{ "udp://[::1]:80?rcvbuf=1000", "::1 80 udp 6", NULL },
	{ "unix_dgram://x", "x unix_dgram dgram", NULL },
	{ "20203/udp?rcvbuf=1000", "* 20203 udp 4", NULL },
};

/* Every spelling of a port spec, with the default version 4, gives the endpoints that it means, and keeps its text;
 * NS-60, NS-65. */
START_TEST(test_spec_right_gives_endpoints)
{
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;
	char buf[512];

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		int r = parse(vectors[i].text, &four, list, &fail);

		ck_assert_msg(r == (vectors[i].two != NULL ? 2 : 1), "'%s': %d %s", vectors[i].text, r, fail.text);
		ck_assert_msg(strcmp(show(&list[0], buf, sizeof(buf)), vectors[i].one) == 0, "'%s': %s", vectors[i].text, buf);
		ck_assert_str_eq(list[0].text, vectors[i].text);
		if (r == 2) {
			ck_assert_str_eq(show(&list[1], buf, sizeof(buf)), vectors[i].two);
			ck_assert_str_eq(list[1].text, vectors[i].text);
		}
	}
}
END_TEST

static const struct {
	const char *text, *why;
} wrong[] = {
	{ "bad host!:80", "'bad host!' is not an address or a name" },
	{ "host:", "no port after 'host'" },
	{ "host:99999", "port '99999' is above 65535" },
	{ "", "nothing there" },
	{ "localhost:80/tcp/udp", "'udp' and 'tcp' contradict each other" },
	{ "localhost:80/tcp/sock_dgram", "'sock_dgram' is not for tcp" },
	{ "::1:80/IPv4", "'::1' is not an IPv4 address" },
	{ "127.0.0.1:80/IPv6", "'127.0.0.1' is not an IPv6 address" },
	{ "127.0.0.1:80/IPv4/IPv6", "'127.0.0.1' is of one IP version" },
	{ "localhost:8o", "'8o' is not a port" },
	{ "::80", "':' is not an" },
	{ "@|unix", "no name after '@'" },
	{ "foo://x", "unknown scheme 'foo'" },
	{ "20203?colour=1", "unknown option 'colour'" },
	{ "20203/udp?backlog=1", "option 'backlog' is for tcp" },
};

/* A wrong one is refused, op parse, with the part that is wrong, and nothing is written. */
START_TEST(test_spec_wrong_is_refused_by_name)
{
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_msg(parse(wrong[i].text, &four, list, &fail) == -EINVAL, "'%s'", wrong[i].text);
		ck_assert_msg(strstr(fail.text, wrong[i].why) != NULL, "'%s': %s", wrong[i].text, fail.text);
		ck_assert_str_eq(fail.operation, "parse");
		ck_assert_int_eq(list[0].host[0], '#');
	}
}
END_TEST

/* Host, port, protocol and version that are not said come from the defaults, and only then; NS-60. */
START_TEST(test_spec_defaults_fill_what_is_open)
{
	static const struct {
		struct sconce_endpoint_defaults defaults;
		const char *text, *one, *two;
	} cases[] = {
		{ { NULL, "http", NULL, NULL }, "", "* http tcp *", NULL },
		{ { "localhost", "80", "udp", "6" }, "", "localhost 80 udp 6", NULL },
		{ { "127.0.0.1", NULL, "udp", "6" }, "90", "127.0.0.1 90 udp 4", NULL },
		{ { "::1", NULL, NULL, "4" }, "90", "::1 90 tcp 6", NULL },
		{ { "localhost", NULL, "udp", "4" }, "other:90/tcp/IPv6", "other 90 tcp 6", NULL },
		{ { NULL, NULL, NULL, "v4v6" }, "90", "* 90 tcp 6", "* 90 tcp 4" },
		{ { NULL, NULL, NULL, "v4v6" }, "90/IPv4", "* 90 tcp 4", NULL },
		{ { NULL, NULL, NULL, "4, *" }, "*:90", "* 90 tcp *", NULL },
		{ { NULL, NULL, NULL, "v4v6" }, "tcp://*:90", "* 90 tcp 6", "* 90 tcp 4" },
		{ { NULL, NULL, NULL, "v4v6" }, "fd://3", " " " fd *", NULL },
		{ { NULL, NULL, "unix_dgram", "v4v6" }, "some/path", "some/path unix_dgram dgram", NULL },
		{ { NULL, NULL, NULL, NULL }, "90", "* 90 tcp *", NULL },
	};
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;
	char buf[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = parse(cases[i].text, &cases[i].defaults, list, &fail);

		ck_assert_msg(r == (cases[i].two != NULL ? 2 : 1), "%zu '%s': %d %s", i, cases[i].text, r, fail.text);
		ck_assert_str_eq(show(&list[0], buf, sizeof(buf)), cases[i].one);
		if (r == 2)
			ck_assert_str_eq(show(&list[1], buf, sizeof(buf)), cases[i].two);
	}
	ck_assert_int_eq(parse("90", &(struct sconce_endpoint_defaults){ .ipv = "7" }, list, &fail), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fail.text, "'7' is not an IP version"));
	ck_assert_int_eq(parse("90", &(struct sconce_endpoint_defaults){ .ipv = "" }, list, &fail), -EINVAL);
	ck_assert_int_eq(parse("90", &(struct sconce_endpoint_defaults){ .proto = "icmp" }, list, &fail), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fail.text, "'icmp' is not a protocol"));
	ck_assert_int_eq(parse("90", &(struct sconce_endpoint_defaults){ .host = "bad host" }, list, &fail), -EINVAL);
}
END_TEST

/* Without defaults a spec is no endpoint: sconce_listen() and sconce_connect() take URLs, and host and port. */
START_TEST(test_spec_without_defaults_is_refused)
{
	static const char *const texts[] = { "20203/udp", "localhost, 80", "::1:80", "http", "/x|unix", "[localhost]:80" };
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(texts[i], "/x|unix") != 0)	/* which is a path */
			ck_assert_int_eq(parse(texts[i], NULL, list, &fail), -EINVAL);
	ck_assert_int_eq(parse("/x|unix", NULL, list, &fail), 1);
	ck_assert_str_eq(list[0].path, "/x|unix");
}
END_TEST

/* Any bytes are parsed or refused, in one line, and pieces of right ones too. */
START_TEST(test_spec_any_bytes_are_parsed_or_refused)
{
	static const char bytes[] = "\x01 ,:|/[]*?@46u";
	struct sconce_endpoint list[SCONCE_ENDPOINTS];
	struct sconce_fail fail;
	char text[600];
	int parsed = 0;

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t len = strlen(vectors[i].text);

		for (size_t at = 0; at < len; at++) {
			for (const char *b = bytes; b < bytes + sizeof(bytes); b++) {
				memcpy(text, vectors[i].text, len + 1);
				text[at] = *b;
				parsed += parse(text, &any, list, &fail) > 0;
				for (const char *p = fail.text; *p != '\0'; p++)
					ck_assert_uint_ge((unsigned char)*p, 0x20);
			}
		}
	}
	ck_assert_int_gt(parsed, 100);
	for (size_t len = 1; len < sizeof(text); len++) {
		memset(text, len % 2 ? 'x' : '/', len);
		text[len] = '\0';
		parse(text, &any, list, &fail);
	}
}
END_TEST

/* ---- G.1 ---- */

/* EventMux's URLs: what was broken or refused there works, what is wrong is refused with op parse; EM-39. */
START_TEST(test_url_vectors_are_taken_or_refused)
{
	static const char *const right[] = { "tcp://127.0.0.1:22", "udp://127.0.0.1:9", "tcp://localhost:1", "tcp://[::1]:1",
		"tcp://127.0.0.1:http", "unix:///abs/file.sock", "unix_dgram:///abs/file.sock", "unix://path/file.sock" };
	static const char *const bad[] = { "foo://x", "tcp://127.0.0.1", "tcp://:80", "tcp://h:99999", "" };
	struct sconce_endpoint ep;
	struct sconce_fail fail;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		ck_assert_msg(sconce_endpoint_parse(right[i], SCONCE_ENDPOINT_CONNECT, NULL, &ep, &fail) == 1, "%s", fail.text);
	ck_assert_str_eq(ep.path, "path/file.sock");	/* two slashes: relative */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(sconce_endpoint_parse(bad[i], SCONCE_ENDPOINT_CONNECT, NULL, &ep, &fail), -EINVAL);
		ck_assert_str_eq(fail.operation, "parse");
	}
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("spec");
	TCase *spec = t_case(suite, "spec"), *url = t_case(suite, "url");

	tcase_add_test(spec, test_spec_right_gives_endpoints);
	tcase_add_test(spec, test_spec_wrong_is_refused_by_name);
	tcase_add_test(spec, test_spec_defaults_fill_what_is_open);
	tcase_add_test(spec, test_spec_without_defaults_is_refused);
	tcase_add_test(spec, test_spec_any_bytes_are_parsed_or_refused);
	tcase_add_test(url, test_url_vectors_are_taken_or_refused);
	return suite;
}
