/* sconced's process: how it stops and restarts under its clients, and takes sockets over.  What a shell can see of it is in
 * t/proxy/life.sh. */
#include "harness.h"
#include "proxy_kit.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum { BODY = 16 << 20 };

static struct kit k;

/* Sends HUP and waits until the new program runs, in the same process. */
static void
restart(void)
{
	char again[64];

	snprintf(again, sizeof(again), "sconced: started again, pid %d\n", (int)k.pid);
	ck_assert_int_eq(kill(k.pid, SIGHUP), 0);
	kit_log(&k, again);
}

/* One exchange with whatever node is asked. */
static void
exchange_new(int node)
{
	int client = kit_client(&k), backend;

	kit_send(client, GET);
	backend = kit_accept(&k, node);
	kit_head(backend);
	kit_send(backend, OK_2);
	kit_assert_begins(kit_head(client), "HTTP/1.1 200 OK\r\n");
	ck_assert_str_eq(kit_bytes(client, 2), "ok");
	close(client);
	close(backend);
}

/* ---- restart ---- */

/* PB-153: HUP in the middle of a download: it completes, as it began; those who come are served by the new configuration. */
START_TEST(test_restart_download_completes_new_config_serves)
{
	char *body = calloc(1, BODY), head[80];
	int client, backend;
	pid_t sender;

	ck_assert_ptr_nonnull(body);
	kit_start(&k, 2, "SET server_tokens = 1\n");
	client = kit_client(&k);
	kit_send(client, GET);
	ck_assert(kit_accept_pending(&k, 0, 10000));	/* equals are taken in turn */
	backend = kit_accept(&k, 0);
	kit_head(backend);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY);
	sender = kit_sender(backend, head, body, BODY);
	kit_head(client);
	kit_skip(client, BODY / 4);

	kit_configure(&k, 1, "");
	restart();
	exchange_new(1);
	exchange_new(1);			/* the first node is in the configuration no more */
	kit_skip(client, BODY - BODY / 4);
	kit_wait(sender);
	close(client);
	close(backend);
	kit_stop(&k);
	free(body);
}
END_TEST

/* A wrong configuration: the old program serves on, and says why. */
START_TEST(test_restart_wrong_config_serves_on)
{
	const char *said;
	int client;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	for (int i = 0; i < 2; i++) {
		int backend = -1;

		kit_configure(&k, 1, "SET lisen = 80\n");
		ck_assert_int_eq(kill(k.pid, SIGHUP), 0);
		said = kit_log(&k, "not restarted: sconced: there is an error; not started");
		ck_assert_msg(strstr(said, "conf:9:5: Unknown service parameter 'lisen'; did you mean 'listen'?\n") != NULL &&
		    strstr(said, "sconced: not restarted:     SET lisen = 80\n") != NULL, "%s", said);
		kit_exchange(&k, client, &backend, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", OK_2);
		kit_head(client);
		ck_assert_str_eq(kit_rest(client, NULL), "ok");
		close(client);
		close(backend);
		client = kit_client(&k);
	}
	kit_configure(&k, 1, "");
	restart();
	exchange_new(0);
	close(client);
	kit_stop(&k);
}
END_TEST

/* Reads to the end of a head, or what follows it.  False: there was none.  (Not the kit's: it is for processes that must
 * not end the test.) */
static bool
read_head(int fd, char *to, size_t size)
{
	size_t have = 0;
	ssize_t n;

	while ((n = recv(fd, to + have, size - 1 - have, 0)) > 0) {
		have += (size_t)n;
		to[have] = '\0';
		if (strstr(to, "\r\n\r\n") != NULL)
			return true;
	}
	return false;
}

/* A node that answers every request, each connection in a process of its own. */
static pid_t
serve_node(int node)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	char head[1024];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int backend = accept(k.nodes[node], NULL, NULL);

		if (fork() == 0) {
			if (read_head(backend, head, sizeof(head)))
				send(backend, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
			_exit(0);
		}
		close(backend);
	}
}

/* Connects, asks, and has an answer. */
static bool
ask(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)k.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char head[1024];
	bool good;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	good = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && send(fd, GET, strlen(GET), MSG_NOSIGNAL) > 0 &&
	    read_head(fd, head, sizeof(head)) && strncmp(head, "HTTP/1.1 200 OK\r\n", 17) == 0;
	close(fd);
	return good;
}

/* A client that asks again and again, until the pipe is closed; the status is 0 when all was answered. */
static pid_t
ask_always(const int until[2])
{
	pid_t pid = fork();
	int asked = 0;

	if (pid != 0)
		return pid;
	close(until[1]);
	while (!kit_readable(until[0], 0))
		if (++asked, !ask())
			_exit(1);
	_exit(asked > 20 ? 0 : 2);
}

/* Many restarts with clients all the time: none is refused or goes without an answer. */
START_TEST(test_restart_many_times_no_client_refused)
{
	int until[2], status;
	pid_t node, asker;

	kit_start(&k, 1, "");
	node = serve_node(0);
	ck_assert_int_eq(pipe(until), 0);
	asker = ask_always(until);
	close(until[0]);
	kit_configure(&k, 1, "");
	for (int i = 0; i < 20; i++)
		restart();
	close(until[1]);
	ck_assert_int_eq(waitpid(asker, &status, 0), asker);
	ck_assert_msg(status == 0, "a client failed: %#x", (unsigned)status);
	kill(node, SIGKILL);
	kit_wait(node);
	kit_stop(&k);
}
END_TEST

/* Answers the next request that comes to node 0. */
static void
answer_next(void)
{
	int backend = kit_accept(&k, 0);

	kit_head(backend);
	kit_send(backend, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	close(backend);
}

/* Clients that wait between two requests, have not sent the first yet, or only half of it, are answered by the old process,
 * which says that it closes. */
START_TEST(test_restart_idle_client_may_ask_once_more)
{
	int clients[3];

	kit_start(&k, 1, "");
	for (int i = 0; i < 3; i++)
		clients[i] = kit_client(&k);
	kit_send(clients[2], "GET / HT");
	kit_send(clients[0], GET);			/* answered: all three have been accepted */
	answer_next();
	kit_assert_line(kit_head(clients[0]), "Connection: keep-alive");
	kit_bytes(clients[0], 2);
	kit_configure(&k, 1, "");
	restart();
	for (int i = 0; i < 3; i++) {
		kit_send(clients[i], i < 2 ? GET : GET + strlen("GET / HT"));
		answer_next();
		kit_assert_line(kit_head(clients[i]), "Connection: close");
		ck_assert_str_eq(kit_rest(clients[i], NULL), "ok");
		close(clients[i]);
	}
	kit_stop(&k);
}
END_TEST

/* --drain=0: no process stays behind, and the clients are closed. */
START_TEST(test_restart_without_drain_closes_clients)
{
	static const char *const args[] = { "--drain=0", NULL };
	int client, backend;

	kit_start_with(&k, 1, "", args);
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_configure(&k, 1, "");
	restart();
	kit_gone(client);
	exchange_new(0);
	close(client);
	close(backend);
	kit_stop(&k);
}
END_TEST

/* --drain: who is still busy when it is over is left, after TERM as after QUIT, and in a process that a restart has left
 * behind. */
START_TEST(test_drain_over_leaves_clients)
{
	static const char *const args[] = { "--drain=0.3", "--log_level=3", NULL };
	static const int signals[] = { SIGTERM, SIGQUIT, SIGHUP };
	int client, backend, status;

	kit_start_with(&k, 1, "", args);
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_configure(&k, 1, "");
	ck_assert_int_eq(kill(k.pid, signals[_i]), 0);
	kit_log(&k, "sconced: 1 connection still busy: leaving them\n");
	kit_gone(client);
	if (signals[_i] == SIGHUP) {
		kit_stop(&k);
	} else {
		ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
		ck_assert_int_eq(status, 0);
		kit_configure(&k, 1, "");
		close(k.log);
		close(k.nodes[0]);
	}
	close(client);
	close(backend);
}
END_TEST

/* QUIT is as graceful as TERM: what has begun ends, and then the process. */
START_TEST(test_quit_is_graceful)
{
	int client, backend, status;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	ck_assert_int_eq(kill(k.pid, SIGQUIT), 0);
	kit_log(&k, "stopping: 1 connection busy, up to 30 s; again ends now");
	kit_send(backend, OK_2);
	kit_assert_line(kit_head(client), "Connection: close");
	ck_assert_str_eq(kit_rest(client, NULL), "ok");
	close(client);
	ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
	ck_assert_int_eq(status, 0);
	close(backend);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

/* A client that was told that it may stay, and whose answer was under way when the stop came, is not waited for. */
START_TEST(test_stop_closes_client_told_to_stay)
{
	int client, backend, status;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_send(client, GET);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
	kit_assert_line(kit_head(client), "Connection: keep-alive");
	kit_bytes(client, 1);
	ck_assert_int_eq(kill(k.pid, SIGTERM), 0);
	kit_log(&k, "stopping: 1 connection busy");
	kit_send(backend, "k");
	ck_assert_str_eq(kit_rest(client, NULL), "k");
	close(client);
	ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
	ck_assert_int_eq(status, 0);
	close(backend);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

/* A request that has come by the time of the stop is answered, though its connection was idle. */
START_TEST(test_stop_answers_request_that_is_there)
{
	int client, backend = -1, status;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	kit_exchange(&k, client, &backend, GET, OK_2);
	kit_head(client);
	kit_bytes(client, 2);
	close(backend);
	ck_assert_int_eq(kill(k.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(k.pid, &status, WUNTRACED), k.pid);
	kill(k.pid, SIGTERM);
	kit_send(client, GET);
	kill(k.pid, SIGCONT);
	backend = kit_accept(&k, 0);
	kit_head(backend);
	kit_send(backend, OK_2);
	kit_assert_line(kit_head(client), "Connection: close");
	ck_assert_str_eq(kit_rest(client, NULL), "ok");
	close(client);
	close(backend);
	ck_assert_int_eq(waitpid(k.pid, &status, 0), k.pid);
	ck_assert_int_eq(status, 0);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

/* ---- log ---- */

static int
count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* A node that answers nonsense again and again does not fill the log: 20 lines a second, and how many were left out. */
START_TEST(test_log_flood_is_counted)
{
	enum { REQUESTS = 200 };
	const char *said;
	double began;
	int client, seconds;

	kit_start(&k, 1, "");
	client = kit_client(&k);
	began = t_seconds();
	for (int i = 0; i < REQUESTS; i++) {
		int backend = -1;

		kit_exchange(&k, client, &backend, GET, "nonsense\r\n\r\n");
		kit_skip(client, (size_t)atoi(strstr(kit_head(client), "Content-Length: ") + 16));
		close(backend);
	}
	seconds = (int)(t_seconds() - began) + 2;
	close(client);
	ck_assert_int_eq(kill(k.pid, SIGTERM), 0);
	kit_wait(k.pid);
	said = kit_log(&k, "left out");
	ck_assert_msg(count(said, "bad answer") >= 19 && count(said, "bad answer") <= 20 * seconds, "%s", said);
	close(k.log);
	close(k.nodes[0]);
}
END_TEST

/* ---- service managers ---- */

/* The socket that a service manager has opened is served, not bound again, also after a restart. */
START_TEST(test_activated_socket_is_served)
{
	kit_start_activated(&k, 1, "");
	exchange_new(0);
	kit_configure(&k, 1, "");
	restart();
	exchange_new(0);
	kit_stop(&k);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("proxy_life");
	TCase *tc = t_case(suite, "restart");

	tcase_add_test(tc, test_restart_download_completes_new_config_serves);
	tcase_add_test(tc, test_restart_wrong_config_serves_on);
	tcase_add_test(tc, test_restart_many_times_no_client_refused);
	tcase_add_test(tc, test_restart_idle_client_may_ask_once_more);
	tcase_add_test(tc, test_restart_without_drain_closes_clients);
	tcase_add_test(tc, test_activated_socket_is_served);
	tc = t_case(suite, "stop");
	tcase_add_loop_test(tc, test_drain_over_leaves_clients, 0, 3);
	tcase_add_test(tc, test_quit_is_graceful);
	tcase_add_test(tc, test_stop_closes_client_told_to_stay);
	tcase_add_test(tc, test_stop_answers_request_that_is_there);
	tc = t_case(suite, "log");
	tcase_add_test(tc, test_log_flood_is_counted);
	return suite;
}
