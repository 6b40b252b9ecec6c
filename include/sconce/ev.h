/* sconce on an application's own libev loop; the only public header that needs <ev.h>.
 *
 * The application runs its loop as it always did (ev_run); our sockets, timers and deferred calls take part.  Timers
 * of ours run at EV_MAXPRI, the end of the turn at EV_MINPRI.  libev itself aborts when it has no memory for its
 * tables; we ask the allocator first, see sconce_sock_init().  It also aborts when an fd that it watches is closed
 * behind its back, and it keeps a detached fd in its epoll set, unwatched, until the next event of that fd. */
#ifndef SCONCE_EV_H
#define SCONCE_EV_H

#include <ev.h>
#include <sconce/backend.h>
#include <sconce/loop.h>

SCONCE_BEGIN_DECLS

/* Makes a loop on `ev`, which stays the application's and must outlive it.  The rest as sconce_loop_new(),
 * of which this is the form with backend libev and backend_arg `ev`. */
SCONCE_API int sconce_loop_new_ev(struct ev_loop *ev, const struct sconce_loop_options *opts,
	struct sconce_loop **loop_out);

/* The libev loop underneath, or NULL when the backend is another.  It may have watchers of the application's, also when
 * the library made it; while sconce_loop_run() or _step() run such a loop, the callback of ev_set_invoke_pending_cb()
 * is the library's, and after that libev's own again. */
SCONCE_API struct ev_loop *sconce_loop_ev(const struct sconce_loop *loop);

/* The default backend's table, for those who want a copy with an entry of their own. */
SCONCE_API const struct sconce_backend *sconce_backend_libev(void);

SCONCE_END_DECLS

#endif
