/* Perlbal's configuration language (PB-43 to PB-46), and how errors are told. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static const struct sconce_process_ops process_ops = { .name = "sconced" };
static struct sconce_process *process;
static struct proxy p;
static struct config_report report;
static char *said;
static size_t said_len;

static void
setup(void)
{
	char *argv[] = { (char *)"sconced", NULL };

	ck_assert_int_eq(sconce_process_new(&process_ops, NULL, 1, argv, &process), 0);
	ck_assert_int_eq(proxy_init(&p, process), 0);
	report = (struct config_report){ .out = open_memstream(&said, &said_len) };
}

static void
teardown(void)
{
	fclose(report.out);
	free(said);
	proxy_fini(&p);
	sconce_process_free(process);
}

static int
load(const char *text)
{
	int result = config_load_text(&p, "t.conf", text, &report);

	fflush(report.out);
	return result;
}

#define assert_loads(text) do { \
		int result_ = load(text); \
		ck_assert_msg(result_ == 0, "%s", said); \
	} while (0)
#define assert_says(text, message) do { \
		ck_assert_int_eq(load(text), -EINVAL); \
		ck_assert_str_eq(said, message); \
	} while (0)

#define assert_check(result, message) do { \
		ck_assert_int_eq(config_check(&p, "t.conf", &report), (result)); \
		fflush(report.out); \
		ck_assert_str_eq(said, (message)); \
	} while (0)

#define SERVICE "CREATE SERVICE web\nSET role = reverse_proxy\n"

/* The configuration of the manual. */
START_TEST(test_load_whole_example)
{
	struct service *sv;
	struct pool *pool;

	assert_loads(
	    "# comment\n"
	    "\n"
	    "CREATE POOL my_apaches\n"
	    "  POOL my_apaches ADD 10.0.0.10:8080   # one\n"
	    "  POOL ADD my_apaches 10.0.0.11\n"
	    "  POOL my_apaches ADD [fe80::1]\n"
	    "  POOL my_apaches ADD /run/App.sock\n"
	    "\n"
	    "CREATE SERVICE balancer\n"
	    "\tSET listen          = 0.0.0.0:80\n"
	    "\tSET role            = reverse_proxy\n"
	    "\tSET pool            = my_apaches\n"
	    "\tSET persist_client  = on\n"
	    "\tSET balancer.persist_backend = TRUE\n"
	    "\tSET balancer buffer_size=64K\r\n"
	    "ENABLE balancer\n");
	pool = pool_find(&p, "my_apaches");
	ck_assert_uint_eq(pool->node_count, 4);
	ck_assert_str_eq(pool->nodes[3]->text, "/run/App.sock");
	ck_assert_str_eq(pool->nodes[0]->text, "10.0.0.10:8080");
	ck_assert_str_eq(pool->nodes[1]->text, "10.0.0.11:80");
	ck_assert_str_eq(pool->nodes[2]->text, "[fe80::1]:80");
	sv = service_find(&p, "balancer");
	ck_assert(sv->enabled);
	ck_assert_str_eq(sv->conf.listen, "0.0.0.0:80");
	ck_assert_ptr_eq(sv->conf.pool, pool);
	ck_assert(sv->conf.persist_client);
	ck_assert(sv->conf.persist_backend);
	ck_assert_int_eq(sv->conf.buffer_size, 65536);
}
END_TEST

/* D.4: what is not set. */
START_TEST(test_load_defaults)
{
	const struct service_conf *conf;

	assert_loads(SERVICE);
	conf = &service_find(&p, "web")->conf;
	ck_assert(!conf->persist_client);			/* PB-53 */
	ck_assert_int_eq(conf->persist_client_idle_timeout, 30); /* PB-54 */
	ck_assert_int_eq(conf->idle_timeout, 30);		/* PB-55 */
	ck_assert(conf->server_tokens);				/* PB-57 */
	ck_assert(!conf->persist_backend);			/* PB-67 */
	ck_assert_int_eq(conf->backend_persist_cache, 2);	/* PB-70 */
	ck_assert_int_eq(conf->connect_ahead, 0);		/* PB-71 */
	ck_assert_int_eq(conf->max_backend_uses, 0);		/* PB-72 */
	ck_assert_int_eq(conf->buffer_size, 256 * 1024);	/* PB-73 */
	ck_assert_int_eq(conf->buffer_backend_connect, 100 * 1024); /* PB-75 */
}
END_TEST

/* D.3: everything before the first '=' is lower-cased, what is behind it is not. */
START_TEST(test_case_kept_in_values_only)
{
	assert_loads("create POOL Ab\ncreate service WEB\nSet WEB.Role = reverse_proxy\nSET Web.LISTEN = /Tmp/A\n"
	    "SET pool = ab\n");
	ck_assert_ptr_nonnull(pool_find(&p, "ab"));
	ck_assert_str_eq(service_find(&p, "web")->conf.listen, "/Tmp/A");
}
END_TEST

/* PB-43: CREATE and USE set the object that SET means; pools have parameters too. */
START_TEST(test_use_implies_object)
{
	assert_loads(SERVICE "CREATE POOL a\nSET node_max_connections = 5\nUSE web\nSET pool = a\nUSE a\n"
	    "SET balance_method = random\nSET web.idle_timeout = 7\n");
	ck_assert_int_eq(pool_find(&p, "a")->conf.node_max_connections, 5);
	ck_assert_int_eq(service_find(&p, "web")->conf.idle_timeout, 7);
}
END_TEST

/* PB-45: DEFAULT counts for services whose role is set later. */
START_TEST(test_default_for_later_services)
{
	assert_loads("CREATE SERVICE early\nSET role = reverse_proxy\nDEFAULT persist_client = yes\nDEFAULT buffer_size = 1m\n"
	    "CREATE SERVICE late\nSET role = reverse_proxy\n");
	ck_assert(!service_find(&p, "early")->conf.persist_client);
	ck_assert(service_find(&p, "late")->conf.persist_client);
	ck_assert_int_eq(service_find(&p, "late")->conf.buffer_size, 1 << 20);
}
END_TEST

/* PB-46: duplicates are replaced, unknown removals are fine, the words may come in either order. */
START_TEST(test_pool_add_remove)
{
	const struct pool *pool;

	assert_loads("CREATE POOL a\nPOOL a ADD 1.2.3.4:80\nPOOL a ADD 1.2.3.4\nPOOL ADD a 1.2.3.5\nPOOL REMOVE a 9.9.9.9\n"
	    "POOL a REMOVE 1.2.3.4:80\n");
	pool = pool_find(&p, "a");
	ck_assert_uint_eq(pool->node_count, 1);
	ck_assert_str_eq(pool->nodes[0]->text, "1.2.3.5:80");
}
END_TEST

/* D.3: environment variables, and interfaces' addresses. */
START_TEST(test_variables_expanded)
{
	setenv("SCONCED_T", "10.1.2.3", 1);
	assert_loads("CREATE POOL a\nPOOL a ADD $SCONCED_T:81\nPOOL a ADD ${ip:lo}:82\n");
	ck_assert_str_eq(pool_find(&p, "a")->nodes[0]->text, "10.1.2.3:81");
	ck_assert_str_eq(pool_find(&p, "a")->nodes[1]->text, "127.0.0.1:82");
}
END_TEST

/* D.3: the spellings of a truth, of a number and of a size. */
START_TEST(test_values_spelled_in_many_ways)
{
	static const char *const on[] = { "1", "TRUE", "On", "yes" }, *const off[] = { "0", "false", "OFF", "no" };
	static const struct { const char *text; long long bytes; } sizes[] = {
		{ "17", 17 }, { "17b", 17 }, { "2K", 2048 }, { "3m", 3 << 20 }, { "0", 0 },
	};
	struct service *sv;
	char message[200];

	assert_loads(SERVICE);
	sv = service_find(&p, "web");
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(param_set_service(sv, NULL, "persist_client", on[i], message, 200), PARAM_OK);
		ck_assert(sv->conf.persist_client);
		ck_assert_int_eq(param_set_service(sv, NULL, "persist_client", off[i], message, 200), PARAM_OK);
		ck_assert(!sv->conf.persist_client);
	}
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(param_set_service(sv, NULL, "buffer_size", sizes[i].text, message, 200), PARAM_OK);
		ck_assert_int_eq(sv->conf.buffer_size, sizes[i].bytes);
	}
}
END_TEST

static const struct {
	const char	*text;
	const char	*message;
} wrong[] = {
	{ "CREAT POOL a\n",
	    "t.conf:1:1: unknown command: CREAT; did you mean 'create'?\n    CREAT POOL a\n    ^~~~~\n" },
	{ "CREATE POOL\n",
	    "t.conf:1:1: usage: CREATE {SERVICE|POOL} <name>\n    CREATE POOL\n    ^~~~~~~~~~~\n" },
	{ "CREATE POOL a-b\n",
	    "t.conf:1:13: 'a-b' is not a name: letters, digits and '_'\n    CREATE POOL a-b\n                ^~~\n" },
	{ "CREATE POOL a\nCREATE SERVICE a\n",
	    "t.conf:2:16: pool 'a' already exists (services and pools share their names)\n    CREATE SERVICE a\n                   ^\n" },
	{ SERVICE "SET web.lisen = 80\n",
	    "t.conf:3:9: Unknown service parameter 'lisen'; did you mean 'listen'?\n"
	    "    SET web.lisen = 80\n            ^~~~~\n" },
	{ SERVICE "\tSET  wbe.listen = 80\n",
	    "t.conf:3:7: service/pool 'wbe' does not exist; did you mean 'web'?\n"
	    "    \tSET  wbe.listen = 80\n    \t     ^~~\n" },
	{ SERVICE "SET persist_client = maybe\n",
	    "t.conf:3:22: Expecting boolean value for parameter 'persist_client': on or off (1, 0, yes, no, true, false)\n"
	    "    SET persist_client = maybe\n                         ^~~~~\n" },
	{ SERVICE "SET idle_timeout = 3s # seconds\n",
	    "t.conf:3:20: Expecting integer value for parameter 'idle_timeout' (seconds, up to 1000000)\n"
	    "    SET idle_timeout = 3s # seconds\n                       ^~\n" },
	{ SERVICE "SET idle_timeout = 99999999999\n",
	    "t.conf:3:20: Expecting integer value for parameter 'idle_timeout' (seconds, up to 1000000)\n"
	    "    SET idle_timeout = 99999999999\n                       ^~~~~~~~~~~\n" },
	{ SERVICE "SET buffer_size = 3g\n",
	    "t.conf:3:19: Expecting size unit value for parameter 'buffer_size' in bytes, or suffixed with 'K' or 'M'\n"
	    "    SET buffer_size = 3g\n                      ^~\n" },
	{ SERVICE "CREATE POOL apaches\nSET web.pool = apache\n",
	    "t.conf:4:16: Pool 'apache' not found; did you mean 'apaches'?\n"
	    "    SET web.pool = apache\n                   ^~~~~~\n" },
	{ SERVICE "SET enable_reproxy = 1\n",
	    "t.conf:3:5: Parameter 'enable_reproxy' is not supported yet\n"
	    "    SET enable_reproxy = 1\n        ^~~~~~~~~~~~~~\n" },
	{ "LOAD vhosts\n",
	    "t.conf:1:1: command 'LOAD' is not supported yet\n    LOAD vhosts\n    ^~~~\n" },
	{ "CREATE SERVICE web\nSET pool = x\n",
	    "t.conf:2:5: The 'pool' option can only be set on a 'reverse_proxy' service: SET role comes first\n"
	    "    SET pool = x\n        ^~~~\n" },
	{ "CREATE SERVICE web\nSET role = web_server\n",
	    "t.conf:2:12: Role 'web_server' is not supported yet; only 'reverse_proxy' is\n"
	    "    SET role = web_server\n               ^~~~~~~~~~\n" },
	{ "SET listen = 80\n",
	    "t.conf:1:5: omitted service/pool name not implied from context\n    SET listen = 80\n        ^~~~~~\n" },
	{ SERVICE "SET listen\n",
	    "t.conf:3:1: usage: SET [<service>] <param> = <value>\n    SET listen\n    ^~~~~~~~~~\n" },
	{ "CREATE SERVICE web\nENABLE web\n",
	    "t.conf:2:8: service 'web' has no role\n    ENABLE web\n           ^~~\n" },
	{ SERVICE "ENABLE web\n",
	    "t.conf:3:8: service 'web' has nothing to listen on\n    ENABLE web\n           ^~~\n" },
	{ SERVICE "SET listen = 80\nENABLE web\n",
	    "t.conf:4:8: service 'web' has no pool\n    ENABLE web\n           ^~~\n" },
	{ SERVICE "ENABLE webb\n",
	    "t.conf:3:8: service 'webb' does not exist; did you mean 'web'?\n    ENABLE webb\n           ^~~~\n" },
	{ "USE nothing\n",
	    "t.conf:1:5: Non-existent pool or service 'nothing'\n    USE nothing\n        ^~~~~~~\n" },
	{ "CREATE POOL a\nPOOL a DELETE 1.2.3.4\n",
	    "t.conf:2:8: Invalid command: must be 'add' or 'remove'\n    POOL a DELETE 1.2.3.4\n           ^~~~~~\n" },
	{ "POOL ADD a 1.2.3.4\n",
	    "t.conf:1:10: Pool 'a' not found\n    POOL ADD a 1.2.3.4\n             ^\n" },
	{ "CREATE POOL a\nSET nodefile = x\n",
	    "t.conf:2:5: Parameter 'nodefile' is not supported yet\n    SET nodefile = x\n        ^~~~~~~~\n" },
	{ "= 3\n", "t.conf:1:1: invalid command\n    = 3\n    ^~~\n" },
	{ "CREATE POOL $SCONCED_NO\n",
	    "t.conf:1:13: environment variable 'SCONCED_NO' is not set\n"
	    "    CREATE POOL $SCONCED_NO\n                ^~~~~~~~~~~\n" },
	{ "CREATE POOL ${os:x}\n",
	    "t.conf:1:13: Unknown config variable: os:x\n    CREATE POOL ${os:x}\n                ^~~~~~~\n" },
	{ "DEFAULT persist_client = perhaps\n",
	    "t.conf:1:26: Expecting boolean value for parameter 'persist_client': on or off (1, 0, yes, no, true, false)\n"
	    "    DEFAULT persist_client = perhaps\n                             ^~~~~~~\n" },
	{ "bad\x1b[1m\n",
	    "t.conf:1:1: unknown command: bad%1B[1m\n    bad%1B[1m\n    ^~~~~~~~~\n" },
	{ "\xff x\tFOO = 1\n",
	    "t.conf:1:1: unknown command: %FF\n    %FF x\tFOO = 1\n    ^~~\n" },
	/* letters outside ASCII are text in the line */
	{ SERVICE "SET \xc3\xb6 web.lisen = \xe6\xbc\xa2\n",
	    "t.conf:3:5: service/pool '%C3%B6' does not exist\n    SET \xc3\xb6 web.lisen = \xe6\xbc\xa2\n        ^\n" },
	{ SERVICE "SET listen = \xc3\xb6\xc3\xb6:1x # \xc3\xa4\n",
	    "t.conf:3:14: '%C3%B6%C3%B6' is not an address or a name\n"
	    "    SET listen = \xc3\xb6\xc3\xb6:1x # \xc3\xa4\n                 ^~~~~\n" },
	{ SERVICE "SET persist-client = 1\n",
	    "t.conf:3:5: Unknown service parameter 'persist-client'; did you mean 'persist_client'?\n"
	    "    SET persist-client = 1\n        ^~~~~~~~~~~~~~\n" },
	{ SERVICE "SET nodefile = x\n",
	    "t.conf:3:5: 'nodefile' is a parameter of pools\n    SET nodefile = x\n        ^~~~~~~~\n" },
	{ "CREATE POOL a\nSET role = x\n",
	    "t.conf:2:5: 'role' is a parameter of services\n    SET role = x\n        ^~~~\n" },
	{ "DEFAULT nodefile = x\n",
	    "t.conf:1:9: 'nodefile' is a parameter of pools\n    DEFAULT nodefile = x\n            ^~~~~~~~\n" },
	{ "CREATE POOL web\nENABLE web\n",
	    "t.conf:2:8: 'web' is a pool, not a service\n    ENABLE web\n           ^~~\n" },
	{ SERVICE "POOL web ADD 1.2.3.4\n",
	    "t.conf:3:6: 'web' is a service, not a pool\n    POOL web ADD 1.2.3.4\n         ^~~\n" },
	{ SERVICE "SET pool = web\n",
	    "t.conf:3:12: 'web' is a service, not a pool\n    SET pool = web\n               ^~~\n" },
	{ SERVICE "SET connect_ahead = 1001\n",
	    "t.conf:3:21: Expecting integer value for parameter 'connect_ahead' (up to 1000)\n"
	    "    SET connect_ahead = 1001\n                        ^~~~\n" },
	{ SERVICE "SET listen = 1.2.3.4\n",
	    "t.conf:3:14: no port\n    SET listen = 1.2.3.4\n                 ^~~~~~~\n" },
	{ "CREATE POOL a\nPOOL a ADD 1.2.3.4:0\n",
	    "t.conf:2:12: port 0 cannot be connected to\n    POOL a ADD 1.2.3.4:0\n               ^~~~~~~~~\n" },
	/* ENABLE does not repeat what SET was told; what is missing besides is. */
	{ "CREATE POOL a\nCREATE SERVICE web\nSET role = web_server\nSET listen = 80\nSET pool = a\nENABLE web\n",
	    "t.conf:3:12: Role 'web_server' is not supported yet; only 'reverse_proxy' is\n"
	    "    SET role = web_server\n               ^~~~~~~~~~\n" },
	{ "CREATE POOL a\n" SERVICE "SET listen = 99999\nSET pool = a\nENABLE web\n",
	    "t.conf:4:14: port '99999' is above 65535\n    SET listen = 99999\n                 ^~~~~\n" },
	{ SERVICE "SET listen = 80\nSET pool = a\nENABLE web\n",
	    "t.conf:4:12: Pool 'a' not found\n    SET pool = a\n               ^\n" },
};

/* Each error has its place, the line, a caret, and the nearest right word if there is one. */
START_TEST(test_error_shown_with_place)
{
	assert_says(wrong[_i].text, wrong[_i].message);
	ck_assert_uint_eq(report.errors, 1);
}
END_TEST

/* All errors of a file are told at once, and the right lines between them count. */
START_TEST(test_all_errors_told)
{
	ck_assert_int_eq(load("CREATE POOL a\nFOO\nPOOL a ADD x\nPOOL a ADD 1.2.3.4\nSET b = 1\n"), -EINVAL);
	ck_assert_uint_eq(report.errors, 3);
	ck_assert_ptr_nonnull(strstr(said, "t.conf:2:1:"));
	ck_assert_ptr_nonnull(strstr(said, "t.conf:3:12:"));
	ck_assert_ptr_nonnull(strstr(said, "t.conf:5:5:"));
	ck_assert_uint_eq(pool_find(&p, "a")->node_count, 1);
}
END_TEST

/* D.3 with a difference: what was set before the role is not lost to the defaults. */
START_TEST(test_set_before_role_kept)
{
	const struct service_conf *conf;

	assert_loads("DEFAULT idle_timeout = 9\nDEFAULT persist_client_idle_timeout = 8\nCREATE SERVICE web\n"
	    "SET persist_client = on\nSET idle_timeout = 7\nSET role = reverse_proxy\nSET connect_ahead = 2\n"
	    "SET role = reverse_proxy\n");
	conf = &service_find(&p, "web")->conf;
	ck_assert(conf->persist_client);
	ck_assert_int_eq(conf->idle_timeout, 7);
	ck_assert_int_eq(conf->persist_client_idle_timeout, 8);
	ck_assert_int_eq(conf->connect_ahead, 2);
}
END_TEST

/* Where SET role failed the other values are still looked at, and only they are complained of. */
START_TEST(test_failed_role_checks_the_rest)
{
	ck_assert_int_eq(load("CREATE SERVICE web\nSET role = x\nSET buffer_size = 1m\nSET connect_ahead = no\nSET pool = q\n"
	    "SET listen = 80\nENABLE web\n"), -EINVAL);
	ck_assert_uint_eq(report.errors, 3);
	ck_assert_ptr_nonnull(strstr(said, "t.conf:4:21:"));
	ck_assert_ptr_nonnull(strstr(said, "t.conf:5:12:"));
}
END_TEST

/* After 20 errors it is enough; exactly 20 are told without more. */
START_TEST(test_many_errors_cut_short)
{
	char text[25 * 4 + 1] = "";

	for (int i = 0; i < 20; i++)
		strcat(text, "FOO\n");
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_uint_eq(report.errors, 20);
	ck_assert_ptr_null(strstr(said, "more errors"));
	for (int i = 0; i < 5; i++)
		strcat(text, "FOO\n");
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_uint_eq(report.errors, 40);
	ck_assert_ptr_nonnull(strstr(said, "    FOO\n    ^~~\n... and more errors\n"));
	ck_assert_ptr_null(strstr(said, "t.conf:21:"));
}
END_TEST

/* A NUL byte is not taken for the end of a line. */
START_TEST(test_binary_file_shown_escaped)
{
	char path[] = "/tmp/sconced-test.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "\177EL\0F\n", 6), 6);
	close(fd);
	ck_assert_int_eq(config_load_file(&p, path, &report), -EINVAL);
	fflush(report.out);
	unlink(path);
	ck_assert_ptr_nonnull(strstr(said, ":1:4: a NUL byte: this is not a text file\n    %7FEL%00F\n         ^~~\n"));
}
END_TEST

/* Of a long line the part around the place is shown. */
START_TEST(test_long_line_shown_in_part)
{
	char text[1000];

	memset(text, ' ', sizeof(text));
	memcpy(text, "USE", 3);
	text[400] = 'z';
	text[998] = '#';
	text[999] = '\0';
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(said, "t.conf:1:401: Non-existent pool or service 'z'\n    ...   "));
	ck_assert_ptr_nonnull(strstr(said, " z "));
	ck_assert_ptr_nonnull(strstr(said, "   ...\n"));
	ck_assert_ptr_nonnull(strstr(said, "   ^\n"));
	ck_assert_uint_lt(said_len, 400);
}
END_TEST

/* A word that is too long to be compared is like no other: it has no hint. */
START_TEST(test_long_word_has_no_hint)
{
	char text[500];

	memset(text, 'a', sizeof(text));
	text[499] = '\0';
	ck_assert_int_eq(load(text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(said, "unknown command"));
	ck_assert_ptr_null(strstr(said, "did you mean"));
}
END_TEST

/* Every line of any length, with any byte in it, is an error or not: nothing worse. */
START_TEST(test_odd_lines_survived)
{
	static const char *const shapes[] = { "%s", "SET %s = %s", "CREATE POOL %s", "SET a.b = %s", "%s = %s", "$%s", "${%s}" };
	char line[20000], text[9000];

	for (size_t len = 1; len < sizeof(text); len = len * 3 + 1) {
		for (unsigned c = 1; c < 256; c += len < 10 ? 1 : 17) {
			memset(text, (int)c, len);
			text[len] = '\0';
			for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
				snprintf(line, sizeof(line), shapes[i], text, text);
				load(line);
			}
			rewind(report.out);
		}
	}
}
END_TEST

/* Nothing enabled: nothing to serve (D.1). */
START_TEST(test_check_nothing_enabled_fails)
{
	assert_loads("CREATE POOL a\n");
	assert_check(-EINVAL, "sconced: t.conf: no service is enabled, so there is nothing to listen on\n");
}
END_TEST

#define TWO(listen_a, listen_b) \
	"CREATE POOL p\nPOOL p ADD 1.2.3.4\n" \
	"CREATE SERVICE a\nSET role = reverse_proxy\nSET listen = " listen_a "\nSET pool = p\nENABLE a\n" \
	"CREATE SERVICE b\nSET role = reverse_proxy\nSET listen = " listen_b "\nSET pool = p\nENABLE b\n"

static const struct {
	const char	*text;
	const char	*message;	/* NULL: none */
} pairs[] = {
	{ TWO("1.1.1.1:80", "1.1.1.1:80"), "sconced: t.conf: service b cannot listen on 1.1.1.1:80: service a does, on 1.1.1.1:80\n" },
	{ TWO("0.0.0.0:80", "1.1.1.1:80"), "sconced: t.conf: service b cannot listen on 1.1.1.1:80: service a does, on 0.0.0.0:80\n" },
	{ TWO("[::1]:80", "80"), "sconced: t.conf: service b cannot listen on 80: service a does, on [::1]:80\n" },
	{ TWO("/tmp/x", "/tmp/x?mode=600"), "sconced: t.conf: service b cannot listen on /tmp/x?mode=600: service a does, on /tmp/x\n" },
	{ TWO("1.1.1.1:80", "1.1.1.2:80"), NULL },
	{ TWO("1.1.1.1:80", "1.1.1.1:81"), NULL },
	{ TWO("1.1.1.1:0", "1.1.1.1:0"), NULL },
	{ TWO("0.0.0.0:80", "[::]:80"), NULL },
	{ TWO("/tmp/x", "80"), NULL },
	{ TWO("1.1.1.1:80?reuseport=1", "1.1.1.1:80?reuseport=1"), NULL },
	{ TWO("1.1.1.1:80", "1.1.1.1:80") "DISABLE a\n", NULL },
};

/* Two services do not fit on one address. */
START_TEST(test_check_one_address_twice_fails)
{
	assert_loads(pairs[_i].text);
	assert_check(pairs[_i].message != NULL ? -EINVAL : 0, pairs[_i].message != NULL ? pairs[_i].message : "");
}
END_TEST

/* A pool without nodes may get them later: a warning, and only where somebody uses it. */
START_TEST(test_check_empty_pool_warns)
{
	assert_loads("CREATE POOL unused\nCREATE POOL x\n" SERVICE "SET listen = 127.0.0.1:0\nSET pool = x\nENABLE web\n");
	assert_check(0, "sconced: t.conf: warning: pool x has no nodes: clients of service web will get 503\n");
}
END_TEST

/* PB-46: DISABLE takes ENABLE back. */
START_TEST(test_disable_takes_back)
{
	assert_loads(SERVICE "SET listen = 127.0.0.1:0\nCREATE POOL a\nSET web.pool = a\nENABLE web\n");
	ck_assert_int_eq(config_open(&p, NULL), 0);
	ck_assert_uint_eq(p.listener_count, 1);
	assert_loads("DISABLE web\n");
	ck_assert(!service_find(&p, "web")->enabled);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = t_case(suite, "config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_load_whole_example);
	tcase_add_test(tc, test_load_defaults);
	tcase_add_test(tc, test_case_kept_in_values_only);
	tcase_add_test(tc, test_use_implies_object);
	tcase_add_test(tc, test_default_for_later_services);
	tcase_add_test(tc, test_pool_add_remove);
	tcase_add_test(tc, test_variables_expanded);
	tcase_add_test(tc, test_values_spelled_in_many_ways);
	tcase_add_loop_test(tc, test_error_shown_with_place, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(tc, test_all_errors_told);
	tcase_add_test(tc, test_set_before_role_kept);
	tcase_add_test(tc, test_failed_role_checks_the_rest);
	tcase_add_test(tc, test_many_errors_cut_short);
	tcase_add_test(tc, test_binary_file_shown_escaped);
	tcase_add_test(tc, test_long_line_shown_in_part);
	tcase_add_test(tc, test_long_word_has_no_hint);
	tcase_add_test(tc, test_odd_lines_survived);
	tcase_add_test(tc, test_check_nothing_enabled_fails);
	tcase_add_loop_test(tc, test_check_one_address_twice_fails, 0, (int)(sizeof(pairs) / sizeof(pairs[0])));
	tcase_add_test(tc, test_check_empty_pool_warns);
	tcase_add_test(tc, test_disable_takes_back);
	return suite;
}
