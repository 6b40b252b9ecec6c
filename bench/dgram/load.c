/* The load: sockets, each with some datagrams in flight, that never sleeps while it measures.  A datagram carries its number;
 * what does not come back within a while is counted as lost and sent again. */
#include "dgram.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const double patience = 0.2;	/* seconds without an answer after which what is in flight is lost */

struct sock {
	int fd;
	unsigned owed;			/* to be sent */
	double last;			/* when something came */
};

static char out[ROOM], in[BATCH][ROOM];
static struct mmsghdr sends[BATCH], receives[BATCH];
static struct iovec send_iov, receive_iovs[BATCH];

static double
seconds_of(clockid_t clock)
{
	struct timespec ts = {0};

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
prepare(size_t size)
{
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 131 + (i >> 8));
	send_iov = (struct iovec){.iov_base = out, .iov_len = size};
	for (int i = 0; i < BATCH; i++) {
		receive_iovs[i] = (struct iovec){.iov_base = in[i], .iov_len = ROOM};
		sends[i].msg_hdr = (struct msghdr){.msg_iov = &send_iov, .msg_iovlen = 1};
		receives[i].msg_hdr = (struct msghdr){.msg_iov = &receive_iovs[i], .msg_iovlen = 1};
	}
}

static void
sock_send(struct sock *s)
{
	while (s->owed > 0) {
		int n = sendmmsg(s->fd, sends, s->owed < BATCH ? s->owed : BATCH, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("the load's sendmmsg");
		if (n <= 0)
			return;
		s->owed -= (unsigned)n;
	}
}

static void
check(const struct work *work, int count)
{
	for (int i = 0; i < count; i++) {
		if (receives[i].msg_len != work->size)
			die("an answer of another size came back");
		if (work->check && memcmp(in[i], out, work->size) != 0)
			die("a wrong byte came back");
	}
}

/* Takes what is there.  Returns how many. */
static unsigned
sock_receive(struct sock *s, const struct work *work)
{
	int n = recvmmsg(s->fd, receives, BATCH, MSG_DONTWAIT, NULL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die("the load's recvmmsg");
	if (n <= 0)
		return 0;
	check(work, n);
	s->owed += (unsigned)n;
	return (unsigned)n;
}

static void
turn(struct sock *socks, const struct work *work, struct sample *sum)
{
	double now = seconds_of(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < work->socks; i++) {
		struct sock *s = &socks[i];
		unsigned n = sock_receive(s, work);

		sum->datagrams += n;
		if (n > 0) {
			s->last = now;
		} else if (now - s->last > patience) {
			sum->lost += work->depth - s->owed;
			s->owed = work->depth;
			s->last = now;
		}
		sock_send(s);
	}
}

static void
run_until(struct sock *socks, const struct work *work, double seconds, struct sample *sum)
{
	double start = seconds_of(CLOCK_MONOTONIC);

	while (seconds_of(CLOCK_MONOTONIC) - start < seconds)
		turn(socks, work, sum);
}

static void
open_all(struct sock *socks, const struct work *work, const struct sockaddr_in *addr)
{
	int size = RECEIVE_BUFFER;

	for (unsigned i = 0; i < work->socks; i++) {
		socks[i] = (struct sock){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .owed = work->depth,
			.last = seconds_of(CLOCK_MONOTONIC)};
		if (socks[i].fd < 0 || connect(socks[i].fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
			die("the load's socket");
		setsockopt(socks[i].fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
}

void
load_run(const struct work *work, const struct sockaddr_in *addr, pid_t server, struct sample *sample_out)
{
	struct sock *socks = calloc(work->socks, sizeof(*socks));
	struct sample warm = {0}, sum = {0};
	clockid_t clock;

	if (socks == NULL || clock_getcpuclockid(server, &clock) != 0)
		die("the load cannot start");
	prepare(work->size);
	open_all(socks, work, addr);
	run_until(socks, work, work->warm_up, &warm);
	if (warm.datagrams == 0)
		die("the server does not answer");
	sum.seconds = -seconds_of(CLOCK_MONOTONIC);
	sum.cpu = -seconds_of(clock);
	run_until(socks, work, work->seconds, &sum);
	sum.cpu += seconds_of(clock);
	sum.seconds += seconds_of(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < work->socks; i++)
		close(socks[i].fd);
	free(socks);
	*sample_out = sum;
}
