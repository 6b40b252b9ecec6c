/* The echo by hand: level-triggered epoll, recvmmsg(2), sendmmsg(2).  What the kernel does not take of a batch waits for EPOLLOUT, and
 * nothing is read until it has gone. */
#include "dgram.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct {
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH];
	struct sockaddr_in names[BATCH];
	char data[BATCH][ROOM + 64];	/* not a power of two apart */
	int at, count;			/* what is still to be sent */
} batch;

static void
receive(int fd)
{
	for (int i = 0; i < BATCH; i++) {
		batch.msgs[i].msg_hdr.msg_namelen = sizeof(batch.names[i]);
		batch.iovs[i].iov_len = ROOM;
	}
	batch.at = 0;
	batch.count = recvmmsg(fd, batch.msgs, BATCH, 0, NULL);
	if (batch.count < 0 && errno != EAGAIN && errno != EINTR)
		die("recvmmsg");
	for (int i = 0; i < batch.count; i++)
		batch.iovs[i].iov_len = batch.msgs[i].msg_len;
}

static void
answer(int fd)
{
	while (batch.at < batch.count) {
		int n = sendmmsg(fd, batch.msgs + batch.at, (unsigned)(batch.count - batch.at), 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			die("sendmmsg");
		batch.at += n > 0 ? n : 0;
	}
}

_Noreturn void
serve_raw(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN}, ready;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < BATCH; i++) {
		batch.iovs[i].iov_base = batch.data[i];
		batch.msgs[i].msg_hdr = (struct msghdr){.msg_name = &batch.names[i], .msg_iov = &batch.iovs[i], .msg_iovlen = 1};
	}
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll");
	for (;;) {
		bool waits = batch.at < batch.count;

		if (epoll_wait(epoll, &ready, 1, -1) < 0)
			continue;
		if (!waits)
			receive(fd);
		answer(fd);
		if ((batch.at < batch.count) != waits) {
			ev.events = waits ? EPOLLIN : EPOLLOUT;
			epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &ev);
		}
	}
}
