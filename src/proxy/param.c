/* The parameters of Perlbal (D.4) and our own.  Called by command.c. */
#include "param.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	MAX_SECONDS = 1000000,		/* timeouts of sockets go up to 24 days */
	MAX_FEW = 1000
};

enum type { BOOL, INT, FEW, SIZE, SECONDS, ROLE, LISTEN, POOL, BALANCE, LATER };

struct param {
	const char	*name;
	enum type	type;
	const char	*initial;	/* NULL: setting the role leaves it alone */
	bool		any_role;	/* may be set before the role (PB-43 to PB-45) */
	size_t		offset;		/* in struct service_conf or pool_conf */
};

#define AT(member)	offsetof(struct service_conf, member)
#define POOL_AT(member)	offsetof(struct pool_conf, member)

/* Sorted; PB-51 to PB-97, and our own.  LATER ones are known by name only. */
static const struct param service_params[] = {
	{ "always_trusted", LATER, NULL, true, 0 },
	{ "backend_persist_cache", INT, "2", false, AT(backend_persist_cache) },
	{ "blind_proxy", LATER, NULL, false, 0 },
	{ "buffer_backend_connect", SIZE, "100k", false, AT(buffer_backend_connect) },
	{ "buffer_size", SIZE, "256k", false, AT(buffer_size) },
	{ "buffer_size_reproxy_url", LATER, NULL, false, 0 },
	{ "buffer_upload_threshold_rate", LATER, NULL, false, 0 },
	{ "buffer_upload_threshold_size", LATER, NULL, false, 0 },
	{ "buffer_upload_threshold_time", LATER, NULL, false, 0 },
	{ "buffer_uploads", LATER, NULL, false, 0 },
	{ "buffer_uploads_path", LATER, NULL, false, 0 },
	{ "client_sndbuf_size", LATER, NULL, true, 0 },
	{ "connect_ahead", FEW, "0", false, AT(connect_ahead) },
	{ "connect_timeout", SECONDS, "5", false, AT(connect_timeout) },
	{ "default_service", LATER, NULL, false, 0 },
	{ "dirindexing", LATER, NULL, false, 0 },
	{ "docroot", LATER, NULL, false, 0 },
	{ "enable_concatenate_get", LATER, NULL, false, 0 },
	{ "enable_delete", LATER, NULL, false, 0 },
	{ "enable_error_retries", LATER, NULL, false, 0 },
	{ "enable_md5", LATER, NULL, false, 0 },
	{ "enable_put", LATER, NULL, false, 0 },
	{ "enable_reproxy", LATER, NULL, false, 0 },
	{ "enable_ssl", LATER, NULL, true, 0 },
	{ "error_retry_schedule", LATER, NULL, false, 0 },
	{ "high_priority_cookie", LATER, NULL, false, 0 },
	{ "high_priority_cookie_contents", LATER, NULL, false, 0 },
	{ "idle_timeout", SECONDS, "30", true, AT(idle_timeout) },
	{ "index_files", LATER, NULL, false, 0 },
	{ "latency", LATER, NULL, false, 0 },
	{ "listen", LISTEN, NULL, true, AT(listen) },
	{ "max_backend_uses", INT, "0", false, AT(max_backend_uses) },
	{ "max_chunked_request_size", LATER, NULL, true, 0 },
	{ "max_put_size", LATER, NULL, false, 0 },
	{ "min_put_directory", LATER, NULL, false, 0 },
	{ "persist_backend", BOOL, "0", false, AT(persist_backend) },
	{ "persist_client", BOOL, "0", true, AT(persist_client) },
	{ "persist_client_idle_timeout", SECONDS, "30", true, AT(persist_client_idle_timeout) },
	{ "persist_client_timeout", LATER, NULL, true, 0 },
	{ "plugins", LATER, NULL, true, 0 },
	{ "pool", POOL, NULL, false, AT(pool) },
	{ "queue_relief_chance", LATER, NULL, false, 0 },
	{ "queue_relief_size", LATER, NULL, false, 0 },
	{ "queue_timeout", SECONDS, "30", false, AT(queue_timeout) },
	{ "reproxy_cache_maxsize", LATER, NULL, false, 0 },
	{ "role", ROLE, NULL, true, AT(role) },
	{ "server_process", LATER, NULL, false, 0 },
	{ "server_tokens", BOOL, "1", true, AT(server_tokens) },
	{ "ssl_ca_path", LATER, NULL, true, 0 },
	{ "ssl_cert_file", LATER, NULL, true, 0 },
	{ "ssl_cipher_list", LATER, NULL, true, 0 },
	{ "ssl_honor_cipher_order", LATER, NULL, true, 0 },
	{ "ssl_key_file", LATER, NULL, true, 0 },
	{ "ssl_verify_mode", LATER, NULL, true, 0 },
	{ "trusted_upstream_proxies", LATER, NULL, true, 0 },
	{ "upload_status_listeners", LATER, NULL, false, 0 },
	{ "verify_backend", LATER, NULL, false, 0 },
	{ "verify_backend_path", LATER, NULL, false, 0 },
};
static const struct param pool_params[] = {
	{ "balance_method", BALANCE, NULL, true, POOL_AT(balance_method) },
	{ "node_max_connections", INT, "64", true, POOL_AT(node_max_connections) },
	{ "nodefile", LATER, NULL, true, 0 },
};

enum {
	SERVICE_PARAMS = sizeof(service_params) / sizeof(service_params[0]),
	POOL_PARAMS = sizeof(pool_params) / sizeof(pool_params[0])
};

_Static_assert(SERVICE_PARAMS <= 64, "a bit for each in service->set and service->failed");

/* What DEFAULT said, for each service parameter. */
struct defaults {
	char		*value[SERVICE_PARAMS];
};

struct defaults *
defaults_new(void)
{
	return calloc(1, sizeof(struct defaults));
}

void
defaults_free(struct defaults *d)
{
	if (d == NULL)
		return;
	for (unsigned i = 0; i < SERVICE_PARAMS; i++)
		free(d->value[i]);
	free(d);
}

const char *
param_name(enum param_kind kind, unsigned i)
{
	if (kind == PARAM_OF_SERVICES)
		return i < SERVICE_PARAMS ? service_params[i].name : NULL;
	return i < POOL_PARAMS ? pool_params[i].name : NULL;
}

static const struct param *
find(enum param_kind kind, const char *name)
{
	const char *candidate;

	for (unsigned i = 0; (candidate = param_name(kind, i)) != NULL; i++)
		if (strcmp(candidate, name) == 0)
			return kind == PARAM_OF_SERVICES ? &service_params[i] : &pool_params[i];
	return NULL;
}

static uint64_t
bit_of(const struct param *param)
{
	return UINT64_C(1) << (param - service_params);
}

/* ---- values ---- */

static bool
parse_bool(const char *text, bool *out)
{
	static const char *const on[] = { "1", "true", "on", "yes" }, *const off[] = { "0", "false", "off", "no" };

	for (unsigned i = 0; i < 4; i++) {
		if (strcasecmp(text, on[i]) != 0 && strcasecmp(text, off[i]) != 0)
			continue;
		*out = strcasecmp(text, on[i]) == 0;
		return true;
	}
	return false;
}

/* Digits, up to `max`; `*end_out` is what follows them. */
static bool
parse_digits(const char *text, int64_t max, int64_t *out, const char **end_out)
{
	int64_t sum = 0;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		sum = sum * 10 + (*p - '0');
		if (sum > max)
			return false;
	}
	*out = sum;
	*end_out = p;
	return p > text;
}

static bool
parse_int(const char *text, int64_t max, int64_t *out)
{
	const char *end;
	int64_t n;

	if (!parse_digits(text, max, &n, &end) || *end != '\0')
		return false;
	*out = n;
	return true;
}

/* Bytes; a suffix b, k or m (D.3). */
static bool
parse_size(const char *text, int64_t *out)
{
	const char *end;
	int64_t n;

	if (!parse_digits(text, (int64_t)1 << 40, &n, &end))
		return false;
	switch (*end) {
	case 'm': case 'M':
		n *= 1024;
		/* fall through */
	case 'k': case 'K':
		n *= 1024;
		/* fall through */
	case 'b': case 'B':
		end++;
	}
	if (*end != '\0')
		return false;
	*out = n;
	return true;
}

/* ---- one parameter ---- */

/* What is being set, and where complaints go. */
struct setting {
	struct proxy	*proxy;
	const char	*name;
	const char	*value;
	char		*message;
	size_t		size;
};

static enum param_result wrong(const struct setting *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static enum param_result
wrong(const struct setting *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->message, s->size, format, ap);
	va_end(ap);
	return PARAM_VALUE;
}

/* No parameter of this kind of object. */
static enum param_result
unknown(const struct setting *s, enum param_kind kind)
{
	bool pool = kind == PARAM_OF_POOLS;

	if (find(pool ? PARAM_OF_SERVICES : PARAM_OF_POOLS, s->name) != NULL) {
		wrong(s, "'%s' is a parameter of %s", s->name, pool ? "services" : "pools");
		return PARAM_KIND;
	}
	wrong(s, "Unknown %s parameter '%s'", pool ? "pool" : "service", s->name);
	return PARAM_UNKNOWN;
}

static enum param_result
set_role(const struct setting *s, enum role *role)
{
	static const char *const later[] = { "management", "selector", "upload_tracker", "web_server" };

	if (strcmp(s->value, "reverse_proxy") == 0) {
		*role = ROLE_REVERSE_PROXY;
		return PARAM_OK;
	}
	for (unsigned i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(s->value, later[i]) == 0)
			return wrong(s, "Role '%s' is not supported yet; only 'reverse_proxy' is", s->value);
	return wrong(s, "Role '%s' is unknown; only 'reverse_proxy' is supported yet", s->value);
}

static enum param_result
set_listen(const struct setting *s, char **listen)
{
	struct sconce_addr addr;
	struct sconce_fail fail;
	char *copy;

	if (sconce_addr_parse(s->value, &addr, &fail) < 0)
		return wrong(s, "%s", endpoint_reason(&fail));
	copy = strdup(s->value);
	if (copy == NULL)
		return PARAM_NO_MEMORY;
	free(*listen);
	*listen = copy;
	return PARAM_OK;
}

static enum param_result
set_pool(const struct setting *s, struct pool **pool)
{
	struct pool *found = pool_find(s->proxy, s->value);

	if (found == NULL && service_find(s->proxy, s->value) != NULL)
		return wrong(s, "'%s' is a service, not a pool", s->value);
	if (found == NULL)
		return wrong(s, "Pool '%s' not found", s->value);
	*pool = found;
	return PARAM_OK;
}

static enum param_result
set_value(const struct setting *s, const struct param *param, char *conf)
{
	void *at = conf + param->offset;

	switch (param->type) {
	case BOOL:
		return parse_bool(s->value, at) ? PARAM_OK :
		    wrong(s, "Expecting boolean value for parameter '%s': on or off (1, 0, yes, no, true, false)", s->name);
	case INT:
		return parse_int(s->value, INT_MAX, at) ? PARAM_OK :
		    wrong(s, "Expecting integer value for parameter '%s'", s->name);
	case FEW:
		return parse_int(s->value, MAX_FEW, at) ? PARAM_OK :
		    wrong(s, "Expecting integer value for parameter '%s' (up to %d)", s->name, MAX_FEW);
	case SECONDS:
		return parse_int(s->value, MAX_SECONDS, at) ? PARAM_OK :
		    wrong(s, "Expecting integer value for parameter '%s' (seconds, up to %d)", s->name, MAX_SECONDS);
	case SIZE:
		return parse_size(s->value, at) ? PARAM_OK :
		    wrong(s, "Expecting size unit value for parameter '%s' in bytes, or suffixed with 'K' or 'M'",
		    s->name);
	case BALANCE:
		return strcmp(s->value, "random") == 0 ? PARAM_OK : wrong(s, "Value of 'balance_method' must be random");
	case ROLE:
		return set_role(s, at);
	case LISTEN:
		return set_listen(s, at);
	case POOL:
		return set_pool(s, at);
	case LATER:
		break;
	}
	wrong(s, "Parameter '%s' is not supported yet", s->name);
	return PARAM_LATER;
}

/* Setting the role gives every parameter its default (D.3), unless it has been set before: nothing that a file says
 * is lost without a word. */
static enum param_result
apply_defaults(struct setting s, struct service *sv, const struct defaults *d)
{
	enum param_result result = PARAM_OK;

	for (unsigned i = 0; i < SERVICE_PARAMS && result == PARAM_OK; i++) {
		s.name = service_params[i].name;
		s.value = d->value[i] != NULL ? d->value[i] : service_params[i].initial;
		if (s.value != NULL && !(sv->set & bit_of(&service_params[i])))
			result = set_value(&s, &service_params[i], (char *)&sv->conf);
	}
	return result;
}

enum param_result
param_set_service(struct service *sv, struct defaults *d, const char *name, const char *value, char *message,
    size_t size)
{
	struct setting s = { sv->proxy, name, value, message, size };
	const struct param *param = find(PARAM_OF_SERVICES, name);
	enum param_result result;

	if (param == NULL)
		return unknown(&s, PARAM_OF_SERVICES);
	/* Where the role was wrong the rest is still checked, as if it had been right. */
	if (param->type != LATER && !param->any_role && sv->conf.role != ROLE_REVERSE_PROXY && !param_failed(sv, "role")) {
		wrong(&s, "The '%s' option can only be set on a 'reverse_proxy' service: SET role comes first", name);
		return PARAM_ROLE;
	}
	result = set_value(&s, param, (char *)&sv->conf);
	if (result == PARAM_OK && param->type == ROLE)
		result = apply_defaults(s, sv, d);
	if (result == PARAM_OK) {
		sv->set |= bit_of(param);
		sv->failed &= ~bit_of(param);
	} else {
		sv->failed |= bit_of(param);
	}
	return result;
}

bool
param_failed(const struct service *sv, const char *name)
{
	const struct param *param = find(PARAM_OF_SERVICES, name);

	return param != NULL && (sv->failed & bit_of(param)) != 0;
}

enum param_result
param_set_pool(struct pool *pool, const char *name, const char *value, char *message, size_t size)
{
	struct setting s = { pool->proxy, name, value, message, size };
	const struct param *param = find(PARAM_OF_POOLS, name);

	if (param == NULL)
		return unknown(&s, PARAM_OF_POOLS);
	return set_value(&s, param, (char *)&pool->conf);
}

/* The value is tried on a service that nobody sees, so that a wrong one is found where it stands. */
enum param_result
param_set_default(struct defaults *d, const char *name, const char *value, char *message, size_t size)
{
	struct setting s = { NULL, name, value, message, size };
	const struct param *param = find(PARAM_OF_SERVICES, name);
	struct service_conf conf = { .listen = NULL };
	enum param_result result;
	char *copy;

	if (param == NULL)
		return unknown(&s, PARAM_OF_SERVICES);
	if (param->type == ROLE || param->type == LISTEN || param->type == POOL)
		return wrong(&s, "Parameter '%s' has no default", name);
	result = set_value(&s, param, (char *)&conf);
	if (result != PARAM_OK)
		return result;
	copy = strdup(value);
	if (copy == NULL)
		return PARAM_NO_MEMORY;
	free(d->value[param - service_params]);
	d->value[param - service_params] = copy;
	return PARAM_OK;
}

void
param_init_pool(struct pool *pool)
{
	struct setting s = { .proxy = pool->proxy };

	for (unsigned i = 0; i < POOL_PARAMS; i++) {
		s.value = pool_params[i].initial;
		if (s.value != NULL)
			set_value(&s, &pool_params[i], (char *)&pool->conf);
	}
}
