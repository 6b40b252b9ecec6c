/* A resolver for tests: a few names, each with addresses that the test gives as texts, in that order.  It answers at once,
 * or, held, when the test lets it go. */
#ifndef NAMES_H
#define NAMES_H

#include "test_net.h"

#include <netdb.h>
#include <pthread.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held;
	int calls, count;
	unsigned flags;			/* of the last call */
	struct {
		const char *name;
		struct sconce_addr addr;
	} entries[16];
} names = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static NET_UNUSED void
names_hold(bool held)
{
	pthread_mutex_lock(&names.lock);
	names.held = held;
	pthread_cond_broadcast(&names.changed);
	pthread_mutex_unlock(&names.lock);
}

/* One more address of a name; its port counts unless it is 0, which stands for the service's. */
static NET_UNUSED void
names_add(const char *name, const char *addr)
{
	pthread_mutex_lock(&names.lock);
	names.entries[names.count].name = name;
	ck_assert_int_eq(sconce_addr_parse(addr, &names.entries[names.count++].addr, NULL), 0);
	pthread_mutex_unlock(&names.lock);
}

/* Makes port 0 the service's number. */
static void
names_port(struct sconce_addr *a, const char *service)
{
	in_port_t *port = a->any.sa_family == AF_INET ? &a->in.sin_port : &a->in6.sin6_port;

	if (*port == 0)
		*port = htons((uint16_t)atoi(service));
}

static NET_UNUSED int
names_resolver(void *arg, const char *host, const char *service, int family, int type, unsigned flags, struct sconce_addr *addrs,
	size_t max)
{
	size_t count = 0;

	(void)arg;
	(void)type;
	pthread_mutex_lock(&names.lock);
	names.calls++;
	names.flags = flags;
	while (names.held)
		pthread_cond_wait(&names.changed, &names.lock);
	for (int i = 0; i < names.count && count < max; i++) {
		const struct sconce_addr *a = &names.entries[i].addr;

		if (strcmp(names.entries[i].name, host) != 0 || (family != AF_UNSPEC && a->any.sa_family != family))
			continue;
		addrs[count] = *a;
		names_port(&addrs[count++], service);
	}
	pthread_mutex_unlock(&names.lock);
	if (count > 0)
		return (int)count;
	return service[0] >= '0' && service[0] <= '9' ? EAI_NONAME : EAI_SERVICE;
}

static NET_UNUSED void
names_setup(void)
{
	net_setup();
	names.calls = names.count = 0;
	names.held = false;
	sconce_set_resolver(loop, names_resolver, NULL);
}

static NET_UNUSED void
names_teardown(void)
{
	names_hold(false);		/* freeing waits for who works */
	net_teardown();
}

static NET_UNUSED TCase *
names_case(Suite *suite, const char *name)
{
	TCase *tcase = t_case(suite, name);

	tcase_add_checked_fixture(tcase, names_setup, names_teardown);
	return tcase;
}

#endif
