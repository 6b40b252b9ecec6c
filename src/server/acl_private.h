/* What the files of access rules share: acl.c has the rules and decides, acl_check.c looks names up for it, acl_regex.c
 * matches. */
#ifndef SCONCE_ACL_PRIVATE_H
#define SCONCE_ACL_PRIVATE_H

#include <sconce/acl.h>

/* acl_regex.c */
enum acl_match {
	ACL_NO,
	ACL_YES,
	ACL_UNKNOWN			/* it takes too long, or there is no memory */
};

struct acl_regex;

/* Compiles a pattern, which is for whole texts, in either case.  Returns 0; -EINVAL with `why` set, or -ENOMEM. */
int sconce__acl_regex_new(const char *pattern, struct acl_regex **re_out, char *why, size_t size);
void sconce__acl_regex_free(struct acl_regex *re);	/* NULL is allowed */
/* Any thread may ask. */
enum acl_match sconce__acl_regex_match(const struct acl_regex *re, const char *text);

/* acl.c */
/* Whether the peer is denied whatever name it has: *verdict_out is set if so. */
bool sconce__acl_denies(const struct sconce_acl *acl, const struct sconce_addr *peer,
	struct sconce_acl_verdict *verdict_out);
/* "denied: " and this, which stays one line whatever it holds. */
void sconce__acl_deny(struct sconce_acl_verdict *verdict_out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
