/* A DNS server for dns.sh, which is as wrong as it is told to be.  Usage: dnsd WAY
 *
 * It knows one.test (two IPv4 addresses and one of IPv6, behind an alias) and nothing else.  Before its right answer it does
 *	good	nothing else
 *	deaf	nothing, and answers the second question only
 *	silent	nothing, ever
 *	forged	answers with another id, from another port, for another name, and one that is a question
 *	broken	every prefix of the question, then every answer with another id and a byte changed
 *	mangled	its first answer has one byte of its records changed, or is cut in them: another one for each question
 *	cut	(the right answer has the truncation bit, and ends in the midst of a record)
 *	loop	(the answer's record begins with a pointer to itself) */
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const unsigned char alias[] = { 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 6, 3, 't', 'w', 'o', 0xc0, 16 };
static const unsigned char ipv4[] = {
	0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1,
	0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 2,
};
static const unsigned char ipv6[] = {
	0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
};
static const unsigned char known[] = { 3, 'o', 'n', 'e', 4, 't', 'e', 's', 't', 0 };

static int fd, other;
static struct sockaddr_in client;

static void
answer(int from, const unsigned char *message, size_t len)
{
	sendto(from, message, len, 0, (struct sockaddr *)&client, sizeof(client));
}

/* The right answer, in place of the question of `len` bytes.  Returns its length. */
static size_t
make(unsigned char *m, size_t len)
{
	bool six = len > 4 && m[len - 3] == 28;

	m[2] = 0x81;
	m[3] = 0x80;
	if (len != 12 + sizeof(known) + 4 || strncasecmp((char *)m + 12, (const char *)known, sizeof(known)) != 0) {
		m[3] |= 3;
		return len;
	}
	m[7] = six ? 2 : 3;
	memcpy(m + len, alias, sizeof(alias));
	len += sizeof(alias);
	memcpy(m + len, six ? ipv6 : ipv4, six ? sizeof(ipv6) : sizeof(ipv4));
	return len + (six ? sizeof(ipv6) : sizeof(ipv4));
}

static void
forge(const unsigned char *m, size_t len)
{
	unsigned char copy[1024];

	memcpy(copy, m, len);
	copy[len - 1] = 66;
	answer(other, copy, len);		/* from elsewhere */
	copy[0] ^= 1;
	answer(fd, copy, len);			/* another id */
	copy[0] ^= 1;
	copy[13] ^= 1;
	answer(fd, copy, len);			/* another name */
	copy[13] ^= 1;
	copy[2] &= 0x7f;
	answer(fd, copy, len);			/* a question */
	answer(fd, copy, 0);
}

/* The id stays wrong in what might otherwise be taken for an answer. */
static void
mangle(const unsigned char *m, size_t len)
{
	unsigned char copy[1024];

	for (size_t n = 0; n < 12 + sizeof(known) + 4; n++)
		answer(fd, m, n);
	memcpy(copy, m, len);
	copy[1] ^= 0x55;
	for (size_t n = 2; n < len; n++) {
		copy[n] ^= 0xff;
		answer(fd, copy, len);
		copy[n] ^= 0xff;
	}
}

static void
mangle_records(const unsigned char *m, size_t question, size_t len, size_t turn)
{
	unsigned char copy[1024];
	size_t at = question + turn / 2 % (len - question);

	memcpy(copy, m, len);
	copy[at] ^= 0xff;
	answer(fd, copy, turn % 2 == 0 ? len : at);
}

static int
open_socket(struct sockaddr_in *in)
{
	socklen_t len = sizeof(*in);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (s < 0 || bind(s, (struct sockaddr *)in, len) < 0 || getsockname(s, (struct sockaddr *)in, &len) < 0)
		exit(1);
	return s;
}

static void
end(int signo)
{
	(void)signo;
	_exit(0);
}

int
main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "good";
	unsigned char m[1024];
	struct sockaddr_in in, in2;
	size_t asked = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, end);
	fd = open_socket(&in);
	other = open_socket(&in2);
	printf("listening on 127.0.0.1:%u\n", ntohs(in.sin_port));
	fflush(stdout);
	for (;;) {
		socklen_t from_len = sizeof(client);
		ssize_t n = recvfrom(fd, m, 512, 0, (struct sockaddr *)&client, &from_len);
		size_t len;

		if (n < 17 || strcmp(way, "silent") == 0 || (strcmp(way, "deaf") == 0 && asked++ == 0))
			continue;
		len = make(m, (size_t)n);
		if (strcmp(way, "forged") == 0)
			forge(m, len);
		if (strcmp(way, "broken") == 0)
			mangle(m, len);
		if (strcmp(way, "mangled") == 0)
			mangle_records(m, (size_t)n, len, asked++);
		if (strcmp(way, "cut") == 0) {
			m[2] |= 2;
			len -= 3;
		}
		if (strcmp(way, "loop") == 0) {
			m[n] = 0xc0;
			m[n + 1] = (unsigned char)n;
		}
		answer(fd, m, len);
	}
}
