/* Addresses as text, and of a socket's two ends. */
#include "test_net.h"

#include <net/if.h>

static struct sconce_addr
v4(const char *host, int port)
{
	struct sconce_addr a;

	memset(&a, 0, sizeof(a));
	a.in.sin_family = AF_INET;
	a.in.sin_port = htons((uint16_t)port);
	ck_assert_int_eq(inet_pton(AF_INET, host, &a.in.sin_addr), 1);
	a.len = sizeof(a.in);
	return a;
}

static struct sconce_addr
v6(const char *host, int port, unsigned scope)
{
	struct sconce_addr a;

	memset(&a, 0, sizeof(a));
	a.in6.sin6_family = AF_INET6;
	a.in6.sin6_port = htons((uint16_t)port);
	a.in6.sin6_scope_id = scope;
	ck_assert_int_eq(inet_pton(AF_INET6, host, &a.in6.sin6_addr), 1);
	a.len = sizeof(a.in6);
	return a;
}

static struct sconce_addr
un(const char *name, size_t len)
{
	struct sconce_addr a;

	memset(&a, 0, sizeof(a));
	a.un.sun_family = AF_UNIX;
	memcpy(a.un.sun_path, name, len);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return a;
}

static void
check_texts(struct sconce_addr a, const char *text, const char *host, int port)
{
	char buf[SCONCE_ADDR_TEXT];

	ck_assert_str_eq(sconce_addr_text(&a, buf, sizeof(buf)), text);
	ck_assert_str_eq(sconce_addr_host(&a, buf, sizeof(buf)), host);
	ck_assert_int_eq(sconce_addr_port(&a), port);
}

/* Addresses of every family have one text; DS-56. */
START_TEST(test_addr_text_every_family_prints)
{
	char lo[64], path[110];
	unsigned index = if_nametoindex("lo");

	check_texts(v4("1.2.3.4", 80), "1.2.3.4:80", "1.2.3.4", 80);
	check_texts(v4("255.255.255.255", 65535), "255.255.255.255:65535", "255.255.255.255", 65535);
	check_texts(v6("::1", 80, 0), "[::1]:80", "::1", 80);
	check_texts(v6("::ffff:1.2.3.4", 1, 0), "[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1);
	check_texts(v6("fe80::1", 80, 999999), "[fe80::1%999999]:80", "fe80::1%999999", 80);
	snprintf(lo, sizeof(lo), "[fe80::1%%%s]:7", index != 0 ? "lo" : "0");
	if (index != 0)
		check_texts(v6("fe80::1", 7, index), lo, "fe80::1%lo", 7);
	check_texts(un("/run/x", 7), "/run/x", "/run/x", 0);
	check_texts(un("/run/x", 6), "/run/x", "/run/x", 0);
	check_texts(un("\0abc", 4), "@abc", "@abc", 0);
	check_texts(un("\0a\0b", 4), "@a?b", "@a?b", 0);
	check_texts(un("", 0), "unix", "unix", 0);
	memset(path, 'p', 108);
	path[108] = '\0';
	check_texts(un(path, 108), path, path, 0);
}
END_TEST

/* A text stays one line, whatever a path holds. */
START_TEST(test_addr_text_control_characters_become_question_marks)
{
	check_texts(un("/a\nb\x7f\x1b[", 7), "/a?b??[", "/a?b??[", 0);
}
END_TEST

/* What is no address of a known family, or is cut short, is "?". */
START_TEST(test_addr_text_unknown_prints_question_mark)
{
	struct sconce_addr a = v4("1.2.3.4", 80);

	a.len = 0;
	check_texts(a, "?", "?", 0);
	a.len = 6;
	check_texts(a, "?", "?", 0);
	a.len = sizeof(a.in);
	a.any.sa_family = AF_PACKET;
	check_texts(a, "?", "?", 0);
	a = v6("::1", 80, 0);
	a.len = sizeof(a.in);
	check_texts(a, "?", "?", 0);
}
END_TEST

/* A small buffer gets the beginning, terminated; none at all is left alone. */
START_TEST(test_addr_text_small_buffer_is_terminated)
{
	struct sconce_addr all[] = { v4("1.2.3.4", 80), v6("::1", 80, 0), un("/run/x", 7), un("\0abc", 4) };
	char buf[16], whole[SCONCE_ADDR_TEXT];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		sconce_addr_text(&all[i], whole, sizeof(whole));
		for (size_t size = 0; size <= 8; size++) {
			memset(buf, '#', sizeof(buf));
			ck_assert_ptr_eq(sconce_addr_text(&all[i], buf, size), buf);
			if (size > 0) {
				ck_assert_uint_eq(strlen(buf), size - 1 < strlen(whole) ? size - 1 : strlen(whole));
				ck_assert_int_eq(strncmp(buf, whole, strlen(buf)), 0);
			}
			ck_assert_int_eq(buf[size], '#');
		}
	}
}
END_TEST

/* What is printed can be parsed. */
START_TEST(test_addr_text_parses_to_the_same)
{
	struct sconce_addr all[] = { v4("1.2.3.4", 80), v6("2001:db8::1", 80, 0), v6("fe80::1", 8, 999999),
		un("/run/x", 7), un("\0abc", 4) }, back;
	char buf[SCONCE_ADDR_TEXT];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		sconce_addr_text(&all[i], buf, sizeof(buf));
		ck_assert_msg(sconce_addr_parse(buf, &back, NULL) == 0, "%s", buf);
		ck_assert_uint_eq(back.len, all[i].len);
		ck_assert_int_eq(memcmp(&back.any, &all[i].any, back.len), 0);
	}
}
END_TEST

/* Both ends of a connection are known, as text too; DS-10, DS-55, DS-56. */
START_TEST(test_peer_and_local_connection_give_both_ends)
{
	char text[64], a_text[SCONCE_ADDR_TEXT], b_text[SCONCE_ADDR_TEXT];
	int lfd = plain_listen(1, text, sizeof(text)), fd;
	struct sconce_addr a, peer, local;
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	static struct conn c;

	ck_assert_int_eq(sconce_addr_parse(text, &a, NULL), 0);
	conn_init(&c, &conn_ops, plain_connect(&a));
	fd = accept(lfd, (struct sockaddr *)&in, &len);
	ck_assert_int_eq(sconce_peer(&c.sock, &peer), 0);
	ck_assert_int_eq(sconce_local(&c.sock, &local), 0);
	ck_assert_str_eq(sconce_addr_text(&peer, a_text, sizeof(a_text)), text);
	ck_assert_int_eq(sconce_addr_port(&local), ntohs(in.sin_port));
	ck_assert_str_eq(sconce_addr_host(&local, b_text, sizeof(b_text)), "127.0.0.1");
	/* kept: known also when the kernel has forgotten it */
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)), 0);
	close(fd);
	net_settle();
	memset(&peer, 0, sizeof(peer));
	ck_assert_int_eq(sconce_peer(&c.sock, &peer), 0);
	ck_assert_str_eq(sconce_addr_text(&peer, a_text, sizeof(a_text)), text);
	sconce_close(&c.sock, SCONCE_REASON_LOCAL);
	net_settle();
	ck_assert_str_eq(c.peer, text);		/* readable in event_close */
	ck_assert_str_eq(c.log + strlen(c.log) - 2, "XZ");
	close(lfd);
}
END_TEST

/* Without an fd there is no address, not even a known one; DS-55. */
START_TEST(test_peer_no_fd_is_ebadf)
{
	struct sconce_addr a;
	int sv[2], fd;
	static struct conn c;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	conn_init(&c, &conn_ops, sv[0]);
	ck_assert_int_eq(sconce_peer(&c.sock, &a), 0);
	ck_assert_int_eq(a.any.sa_family, AF_UNIX);
	sconce_hold(&c.sock);
	fd = sconce_detach(&c.sock, NULL, 0, NULL);
	ck_assert_int_eq(fd, sv[0]);
	ck_assert_int_eq(sconce_peer(&c.sock, &a), -EBADF);
	ck_assert_int_eq(sconce_local(&c.sock, &a), -EBADF);
	sconce_release(&c.sock);
	net_settle();
	conn_init(&c, &conn_ops, -1);
	ck_assert_int_eq(sconce_peer(&c.sock, &a), -EBADF);
	ck_assert_int_eq(sconce_local(&c.sock, &a), -EBADF);
	close(fd);
	close(sv[1]);
}
END_TEST

/* What the kernel says is passed on: nobody is there, or it is no socket. */
START_TEST(test_peer_unconnected_is_enotconn)
{
	struct sconce_addr a, untouched;
	static struct conn c, d;
	int fds[2];

	memset(&untouched, '#', sizeof(untouched));
	a = untouched;
	conn_init(&c, &conn_ops, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	ck_assert_int_eq(sconce_peer(&c.sock, &a), -ENOTCONN);
	ck_assert_int_eq(memcmp(&a, &untouched, sizeof(a)), 0);
	ck_assert_int_eq(sconce_local(&c.sock, &a), 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	conn_init(&d, &conn_ops, fds[0]);
	ck_assert_int_eq(sconce_peer(&d.sock, &a), -ENOTSOCK);
	close(fds[1]);
}
END_TEST

static void
flush_at_end(struct conn *c)
{
	char buf[16];

	if (sconce_read(&c->sock, buf, sizeof(buf)) == 0)
		sconce_close_flush(&c->sock, 60);
}

/* The usual end, the peer's first and ours after it, leaves event_close knowing who it was. */
START_TEST(test_peer_in_event_close_after_both_ends_is_known)
{
	static struct conn c;
	struct sconce_addr own = { .len = sizeof(own.in) };
	char text[SCONCE_ADDR_TEXT];
	int listener = plain_listen(1, text, sizeof(text)), fd;
	struct sconce_addr to;

	ck_assert_int_eq(sconce_addr_parse(text, &to, NULL), 0);
	fd = plain_connect(&to);
	ck_assert_int_eq(getsockname(fd, &own.any, &own.len), 0);
	conn_init(&c, &conn_ops, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	c.on_read = flush_at_end;
	close(fd);
	NET_UNTIL(strchr(c.log, 'X') != NULL);
	ck_assert_str_eq(c.peer, sconce_addr_text(&own, text, sizeof(text)));
	close(listener);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *suite = suite_create("addr");
	TCase *text = t_case(suite, "text"), *ends = net_case(suite, "ends");

	tcase_add_test(text, test_addr_text_every_family_prints);
	tcase_add_test(text, test_addr_text_control_characters_become_question_marks);
	tcase_add_test(text, test_addr_text_unknown_prints_question_mark);
	tcase_add_test(text, test_addr_text_small_buffer_is_terminated);
	tcase_add_test(text, test_addr_text_parses_to_the_same);
	tcase_add_test(ends, test_peer_and_local_connection_give_both_ends);
	tcase_add_test(ends, test_peer_no_fd_is_ebadf);
	tcase_add_test(ends, test_peer_unconnected_is_enotconn);
	tcase_add_test(ends, test_peer_in_event_close_after_both_ends_is_known);
	return suite;
}
