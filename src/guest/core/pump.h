/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes between a descriptor and a stream of the wire, with back-pressure both ways.
 *
 * Out (descriptor to stream): reads only as much as the stream takes now (hull_wire_writable); without credit the
 * descriptor is not watched at all, so what writes to it blocks, and nothing is buffered here.
 * In (stream to descriptor): written at once if possible; the rest waits here, bounded by the stream's window,
 * because credit is granted only for what has been written on.
 *
 * The descriptors are non-blocking pipes, terminals or sockets and belong to the pump once it is started. */
#ifndef HULL_GUEST_PUMP_H
#define HULL_GUEST_PUMP_H

#include "base/buf.h"
#include "guest/core/loop.h"

struct hull_out {
	struct hull_watch watch;
	bool open; /* fd is ours and has not ended */
	int fd;
	uint32_t stream; /* 0 = read and throw away */
	unsigned channel;
	size_t passed;                                /* bytes so far */
	void (*ended)(struct hull_out *o, int error); /* end of file (0) or a read error; fd is closed */
};
/* Takes fd, also on failure. */
int hull_out_start(struct hull_out *o, int fd, uint32_t stream, unsigned channel,
		   void (*ended)(struct hull_out *o, int error));
/* The stream can take more. */
void hull_out_resume(struct hull_out *o);
/* Belong to another stream, or for now to none (0), and read nothing before hull_out_resume(). */
void hull_out_attach(struct hull_out *o, uint32_t stream);
/* From now on read and throw away: nobody listens, but whoever writes must not block or die of it. */
void hull_out_discard(struct hull_out *o);
/* Pass on what can be had without waiting, at most `max` bytes; true when that was all there is. False: the stream
 * takes no more at the moment. */
bool hull_out_drain(struct hull_out *o, size_t max);
void hull_out_close(struct hull_out *o);

struct hull_in {
	struct hull_watch watch;
	bool open;
	int fd;
	uint32_t stream;
	bool eof;    /* finish when what is pending has been written */
	bool failed; /* the reader has gone: take and forget */
	struct hull_buf pending;
	void (*finish)(struct hull_in *in); /* end of the stream's data, all written; default: hull_in_close() */
};
int hull_in_start(struct hull_in *in, int fd, uint32_t stream);
void hull_in_data(struct hull_in *in, const uint8_t *p, size_t n);
void hull_in_eof(struct hull_in *in);
void hull_in_close(struct hull_in *in);

#endif
