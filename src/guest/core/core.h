/* SPDX-License-Identifier: Apache-2.0 */
/* What every room of hull-init stands on: the console, the streams of the wire, and what is reported to the host.
 *
 * One process, one thread, PID 1 of the guest. After the boot everything is an event on one loop. This folder holds what
 * the rooms share and knows none of them; a room that must be called from here registers a callback.
 *
 *     core.h     this file: console.c, port.c, report.c
 *     loop.h     descriptors and timers          child.h    processes
 *     cgroup.h   where processes live            own.h      files of the guest's own root
 *     pump.h     bytes between a descriptor and a stream
 *     uevent.h   waiting for a device
 *
 * docs/internals/guest.md has the map of the rooms. */
#ifndef HULL_GUEST_CORE_H
#define HULL_GUEST_CORE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- console.c: what a person reads on the serial console; also reported to the keeper's log --- */
__attribute__((format(printf, 1, 2))) void hull_say(const char *fmt, ...);
/* Milliseconds since the guest kernel started. */
uint64_t hull_uptime_ms(void);
/* Write a string to a file of /proc, /sys or the like; 0 or -errno. */
int hull_put(const char *path, const char *text);

/* --- port.c: the wire and the streams on it --- */
struct hull_wire;
extern struct hull_wire *hull_wire; /* never NULL once the port is open */

struct hull_stream_ops {
	void (*accepted)(void *user, const uint8_t *args, size_t len); /* of streams that we open */
	void (*data)(void *user, unsigned channel, const uint8_t *p, size_t n);
	void (*message)(void *user, const uint8_t *p, size_t n);
	void (*writable)(void *user);
	void (*eof)(void *user);
	void (*closed)(void *user, int code, const char *message);
};
/* The first member of whatever a service attaches to its stream. */
struct hull_stream {
	const struct hull_stream_ops *ops;
	uint32_t id; /* 0 once the stream is gone */
};

struct hull_port_ops {
	/* The host opens a stream: accept or refuse it. */
	void (*open)(uint32_t stream, uint8_t service, const uint8_t *args, size_t len);
	/* The host said HELLO once more: this machine may just have been restored. */
	void (*hello_again)(void);
};
/* Wait for the port and serve it from the loop. `ops` is borrowed for good. */
int hull_port_open(const struct hull_port_ops *ops, struct hull_error *err);
/* Send what is queued, for at most `ms`, at the very end. */
void hull_port_flush(int ms);
/* Open a stream of this service at the host, unless the sandbox is stopping; `args` get the number of a trace. `user`
 * begins with a struct hull_stream, whose id is *stream. 0 or -errno. */
struct hull_buf;
int hull_port_ask(uint8_t service, struct hull_buf *args, void *user, uint32_t *stream);

/* --- report.c: messages to the host on the stream control --- */
/* Control is open from now on, and closed. What is reported while it is closed is dropped. */
void hull_report_open(uint32_t stream);
void hull_report_closed(void);
/* The host has configured the guest: SERVICE and LOG are sent from now on, and dropped before. */
void hull_report_configured(void);

void hull_report(uint8_t kind, const struct hull_buf *fields); /* fields may be NULL */
void hull_report_uptime(uint8_t kind);                         /* with UPTIME_MS alone */
void hull_report_service(const char *service, const char *state, const char *text);
void hull_report_log(const char *text);
/* A line of base/debug.h. It may be about a frame and is one itself, about which nothing is reported; a host that does not
 * read gets no more of them. */
void hull_report_debug(const char *line);
/* GROWN; error is a positive errno or 0, text may be empty. */
void hull_report_grown(int error, const char *text);
/* MOUNTED or UNMOUNTED; error is a positive errno or 0, text may be NULL. */
void hull_report_mounted(bool mounted, const char *path, int error, const char *text);

/* STOPPING. From now on hull_shutting_down() is true: no new work is taken on. */
void hull_report_stopping(void);
bool hull_shutting_down(void);

#endif
