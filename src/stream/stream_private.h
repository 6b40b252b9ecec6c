/* What the files of the stream share. */
#ifndef STREAM_PRIVATE_H
#define STREAM_PRIVATE_H

#include <sconce/stream.h>

/* stream_out.c: when the stream closes; when it is destroyed. */
void sconce__stream_out_close(struct sconce_stream *st);
void sconce__stream_out_forget(struct sconce_stream *st);

#endif
