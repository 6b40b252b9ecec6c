/* A server in one call: Net::Server::Multiplex for C.  You fill in a table of hooks and call sconce_server_run(): it reads
 * options, goes to the background, binds, drops privileges, accepts, decides who may come in, and gives each client's
 * input to your hooks, until it is told to stop.
 *
 *	struct guest {
 *		struct sconce_client client;		the connection, a member by value
 *		char nick[32];
 *	};
 *	static const struct sconce_server_ops chat = {
 *		.name = "chat", .new_client = guest_new, .free_client = guest_free,
 *		.mux_connection = guest_connection, .mux_input = guest_input, .mux_close = guest_close,
 *	};
 *	int
 *	main(int argc, char **argv)
 *	{
 *		struct sconce_server server;
 *		int status;
 *
 *		if (sconce_server_init(&server, &chat, argc, argv) < 0)
 *			return 1;
 *		status = sconce_server_run(&server);
 *		sconce_server_fini(&server);
 *		return status;
 *	}
 *
 * The process, in this order (hooks in capitals):
 *
 *	CONFIGURE_HOOK  configure  post_configure  POST_CONFIGURE_HOOK  pre_bind  bind  [RESTART_OPEN_HOOK]
 *	POST_BIND_HOOK  post_bind  [CHILD_INIT_HOOK]  PRE_LOOP_HOOK  loop
 *	... server_close  PRE_SERVER_CLOSE_HOOK  POST_CHILD_CLEANUP_HOOK  [RESTART_CLOSE_HOOK  hup_server] or shutdown_sockets
 *
 * and each client:
 *
 *	get_client_info  POST_ACCEPT_HOOK  allow_deny  ALLOW_DENY_HOOK
 *	allowed:  MUX_CONNECTION  MUX_INPUT or MUX_RECORD ...  MUX_EOF  POST_PROCESS_REQUEST_HOOK  MUX_CLOSE
 *	denied:   REQUEST_DENIED_HOOK  (what it wrote is sent, then closed)  POST_PROCESS_REQUEST_HOOK  MUX_CLOSE
 *
 * Each step is logged by its name at level 4.  No hook may block: all clients would wait (NS-43).
 *
 * Options (sconce_server(3) describes them all) come from sconce_conf_set() with SCONCE_CONF_CODE, the command line,
 * SCONCE_CONF_RUN, the file that conf_file names, and SCONCE_CONF_DEFAULT, the first of which that says one wins.
 * A program adds its own with sconce_conf_add() before sconce_server_run(). */
#ifndef SCONCE_SERVER_H
#define SCONCE_SERVER_H

#include <stdio.h>
#include <sconce/acl.h>
#include <sconce/conf.h>
#include <sconce/dgram.h>
#include <sconce/endpoint.h>
#include <sconce/log.h>
#include <sconce/process.h>
#include <sconce/stream.h>

SCONCE_BEGIN_DECLS

struct sconce_server;
struct sconce_client;

/* The hooks.  All may be missing, but for one of mux_connection, mux_input, mux_record and mux_datagram.  Those that return int give 0 or
 * -errno: then the server does not start (the hook has said why with sconce_server_fatal()).  None runs inside a call of
 * yours but sconce_server_run(). */
struct sconce_server_ops {
	const char *name;		/* of the program, for messages; not NULL */

	/* ---- the process ---- */

	/* First of all, before anything is parsed: adds options, sets defaults. */
	int (*configure_hook)(struct sconce_server *sv);
	/* Options are known (and the program's own stored), the log is open, the process in the background: checks them.  In a
	 * trial too, and with --check: it must not do anything else. */
	int (*post_configure_hook)(struct sconce_server *sv);
	/* After a restart, before the old listeners are taken over. */
	void (*restart_open_hook)(struct sconce_server *sv);
	/* Everything is bound; still with all privileges.  There is a loop from now on. */
	int (*post_bind_hook)(struct sconce_server *sv);
	/* In a worker process, before pre_loop_hook, and when it ends (`processes` more than 1). */
	int (*child_init_hook)(struct sconce_server *sv, unsigned number);
	void (*child_finish_hook)(struct sconce_server *sv);
	/* Last of all; privileges are dropped. */
	int (*pre_loop_hook)(struct sconce_server *sv);
	/* The server ends, or restarts: before clients are closed, afterwards; and just before the exec.  At a restart with
	 * `drain` the clients are a child's by then: leave them alone (sconce_server_each() visits none). */
	void (*pre_server_close_hook)(struct sconce_server *sv);
	void (*post_child_cleanup_hook)(struct sconce_server *sv);
	void (*restart_close_hook)(struct sconce_server *sv);
	/* Something went wrong that ends the server: before it is logged. */
	void (*fatal_hook)(struct sconce_server *sv, const char *text);
	/* Gets the lines of the log, escaped, instead of its file (NS-48, NS-50). */
	void (*write_to_log_hook)(struct sconce_server *sv, int level, const char *line);
	/* Every `check_for_dequeue` seconds. */
	void (*run_dequeue)(struct sconce_server *sv);
	/* SIGHUP, with hup=reload: the configuration has been read and stored again, and the rules of access with it.  When
	 * that failed it is not called, and all is as before.  What is bound, and who we are, stays. */
	void (*reload_hook)(struct sconce_server *sv);

	/* ---- clients ---- */

	/* Makes the memory of a client, zeroed, and returns its member `client`; NULL: it is turned away.  Both this and
	 * free_client, or neither: then a client is a bare struct sconce_client. */
	struct sconce_client *(*new_client)(struct sconce_server *sv);
	void (*free_client)(struct sconce_client *c);
	/* Accepted: its addresses are known.  It may write already. */
	void (*post_accept_hook)(struct sconce_client *c);
	/* The rules have allowed it: the last word.  Missing: true. */
	bool (*allow_deny_hook)(struct sconce_client *c);
	/* Denied, by the rules or the hook: may write a farewell. */
	void (*request_denied_hook)(struct sconce_client *c);
	/* Allowed; input will follow. */
	void (*mux_connection)(struct sconce_client *c);
	/* New input: take what you can use with sconce_input_take(), the rest is offered again with more behind it. */
	void (*mux_input)(struct sconce_client *c, struct sconce_input *in);
	/* Instead: a record of the server's filter (sconce_server_set_filter()); by lines without one. */
	void (*mux_record)(struct sconce_client *c, const struct sconce_record *rec);
	/* (Without both, input is dropped: for programs that hand their clients to sconce_relay(), in mux_connection.) */
	/* The input cannot go on, see event_fail of struct sconce_stream_ops: a record is too long, more waits than may.  May
	 * write a reason, and closes.  Missing: closed. */
	void (*mux_fail)(struct sconce_client *c, const struct sconce_fail *fail);
	/* The client has stopped sending; `left` is what nobody took.  What is written here is sent, then it is closed. */
	void (*mux_eof)(struct sconce_client *c, struct sconce_input *left);
	/* All that was written has been sent, after it had to wait. */
	void (*mux_outbuffer_empty)(struct sconce_client *c);
	/* A timeout of sconce_set_timeout() or of the options.  Missing, and before mux_connection: closed, but for the
	 * alarm. */
	void (*mux_timeout)(struct sconce_client *c, enum sconce_timeout_kind kind);
	/* The farewell, once each, in this order; the fd is still open, writing gives -EPIPE; c->stream.sock.reason. */
	void (*post_process_request_hook)(struct sconce_client *c);
	void (*mux_close)(struct sconce_client *c);

	/* A datagram of an allowed sender (rules by address; names are not looked up: with double look-ups all are denied), for endpoints of udp and unix_dgram;
	 * sconce_dgram_reply() answers.  Missing: such endpoints are refused. */
	void (*mux_datagram)(struct sconce_server *sv, struct sconce_dgram *d, const struct sconce_datagram *p);
};

/* The options that are the server's own; those of the process are in sconce/process.h.  Read-only. */
struct sconce_server_options {
	const char *conf_file;
	struct sconce_conf_list port, host, proto, ipv;	/* where to listen; port: endpoints or port specs (NS-60) */
	struct sconce_conf_list listen;			/* backlogs */
	struct sconce_conf_list allow, deny, cidr_allow, cidr_deny;
	const char *reverse_lookups;			/* NS-58: "1", "double", "double-detail", "double-autofail", "double-debug" */
	bool double_reverse_lookups;
	bool no_client_stdout;				/* NS-69 */
	double check_for_dequeue;			/* seconds; 0: never */
	int max_clients;				/* at a time, those turned away not counted; 0: any */
	double timeout;					/* seconds without input; 0: none */
	double write_timeout;				/* seconds in which the client takes nothing; 60 */
	double lifetime;				/* seconds; 0: any */
	int udp_recv_len;				/* bytes of a datagram that are received; 0: any */
	bool udp_broadcast;				/* datagrams may be sent to broadcast addresses */
	bool help, check;				/* prints the options, looks at them, and exits */
};

struct sconce_server {
	/* read-only */
	const struct sconce_server_ops *ops;
	struct sconce_loop *loop;		/* from post_bind_hook on */
	struct sconce_conf *conf;
	struct sconce_process *process;		/* its log, too: sconce_process_log() */
	struct sconce_server_options options;
	struct sconce_process_options process_options;
	uint64_t requests;			/* clients accepted */
	uint64_t denied;			/* of them */
	size_t clients;				/* at present */
	int argc;				/* what is left of the command line */
	char **argv;
	/* settable, before sconce_server_run() */
	unsigned conf_flags;			/* SCONCE_CONF_KEEP_UNKNOWN: options that nobody knows are not errors */
	/* private */
	struct sconce__server *_s;
};

/* A client. */
struct sconce_client {
	struct sconce_stream stream;		/* base: sconce_write(&c->stream.sock, ...) and all else */
	/* read-only */
	struct sconce_server *server;
	uint64_t number;			/* the how manyeth, from 1 (NS-42) */
	double since;				/* sconce_now() when it was accepted */
	struct sconce_addr peer;
	const char *host;			/* its name; NULL when it was not asked for, or there is none (NS-25) */
	bool allowed;				/* it was let in */
	/* private */
	struct sconce_client *_next, **_prevp;
	struct sconce_acl_check *_check;
	uint8_t _state;
};

/* Makes a server.  `ops` is kept by reference, `sv` must stay where it is; argv is copied.
 * Returns 0; -EINVAL (hooks are missing), -ENOMEM. */
SCONCE_API int sconce_server_init(struct sconce_server *sv, const struct sconce_server_ops *ops, int argc,
	char *const *argv);
/* Runs it, once.  Returns the exit status: 0; 1 when it could not start or ended by sconce_server_fatal(), which has been
 * said on stderr or in the log; 2 for a wrong command line. */
SCONCE_API int sconce_server_run(struct sconce_server *sv);
SCONCE_API void sconce_server_fini(struct sconce_server *sv);

/* Records instead of bytes: a reference is taken.  Before sconce_server_run(), or in its hooks before bind. */
SCONCE_API void sconce_server_set_filter(struct sconce_server *sv, struct sconce_filter *filter);

/* Ends it, as SIGQUIT (graceful) or SIGTERM do; from a worker, all of it. */
SCONCE_API void sconce_server_stop(struct sconce_server *sv, bool graceful);
/* Ends it because something is wrong: fatal_hook, a line in the log, exit status 1.  From a hook; returns at once. */
SCONCE_API void sconce_server_fatal(struct sconce_server *sv, const char *format, ...) SCONCE_PRINTF(2, 3);
/* As SIGHUP with hup=restart.  Returns as sconce_process_restart(). */
SCONCE_API int sconce_server_restart(struct sconce_server *sv);

/* A line in the log; for c: with its number and address before it (NS-44). */
SCONCE_API void sconce_server_log(struct sconce_server *sv, int level, const char *format, ...) SCONCE_PRINTF(3, 4);
SCONCE_API void sconce_client_log(struct sconce_client *c, int level, const char *format, ...) SCONCE_PRINTF(3, 4);

/* The client whose stream `st` is. */
SCONCE_API struct sconce_client *sconce_client_of(struct sconce_stream *st);
/* Calls fn for every client that is let in and not closed; it may close any of them. */
SCONCE_API void sconce_server_each(struct sconce_server *sv, void (*fn)(struct sconce_client *c, void *arg), void *arg);

/* Where it listens: address number `index`.  Returns 0, or -ENOENT when there are not as many. */
SCONCE_API int sconce_server_address(const struct sconce_server *sv, size_t index, struct sconce_addr *addr_out);

/* Makes printf() and puts() go to the client while its hooks run, as Net::Server does with STDOUT (NS-38): `stdout` is
 * the FILE of sconce_stream_file() then.  Before sconce_server_run(); the option no_client_stdout overrides it.  Only for
 * programs with one thread. */
SCONCE_API void sconce_server_client_stdout(struct sconce_server *sv, bool on);

SCONCE_END_DECLS

#endif
