/* ADDRESS:PORT to a socket address, for the programs that know nothing of sconce: the load, and the servers of
 * the peers. */
#ifndef NET_H
#define NET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What follows a `?` is not part of it. */
static inline bool
net_parse(const char *text, struct sockaddr_in *addr_out)
{
	const char *colon = strchr(text, ':');
	char host[INET_ADDRSTRLEN];

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	*addr_out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	return inet_pton(AF_INET, host, &addr_out->sin_addr) == 1;
}

#endif
