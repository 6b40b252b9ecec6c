/* Connections that have said one thing and say no more. */
#include "load.h"

#include <stdio.h>
#include <unistd.h>

static void
answered(const struct load *l, int fd, size_t at)
{
	for (size_t got = 0, n; got < l->opts.size; got += n)
		n = load_receive(l, fd, &at);
}

void
load_idle(struct load *l)
{
	for (size_t i = 0; i < l->opts.conns; i++) {
		size_t at = load_place(l, i), owed = l->opts.size;
		int fd = load_connect(l);

		load_send(l, fd, &at, &owed);
		answered(l, fd, load_place(l, i));
	}
	printf("idle\n");
	fflush(stdout);
	for (;;)
		pause();
}
