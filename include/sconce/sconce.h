/* Everything of the library.  sconce/ev.h (libev) and sconce/http.h are included by who needs them. */
#ifndef SCONCE_SCONCE_H
#define SCONCE_SCONCE_H

#include <sconce/acl.h>
#include <sconce/backend.h>
#include <sconce/conf.h>
#include <sconce/daemon.h>
#include <sconce/dgram.h>
#include <sconce/endpoint.h>
#include <sconce/filter.h>
#include <sconce/fleet.h>
#include <sconce/inspect.h>
#include <sconce/log.h>
#include <sconce/loop.h>
#include <sconce/mux.h>
#include <sconce/process.h>
#include <sconce/raw.h>
#include <sconce/restart.h>
#include <sconce/server.h>
#include <sconce/sock.h>
#include <sconce/stream.h>
#include <sconce/timer.h>
#include <sconce/transport.h>
#include <sconce/version.h>
#include <sconce/watch.h>
#include <sconce/write.h>

#endif
