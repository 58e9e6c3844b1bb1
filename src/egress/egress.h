/* SPDX-License-Identifier: Apache-2.0 */
/* hull-egress: the only process of a sandbox that has the host's network. The contract with hull-keeper.
 *
 * It is started with the number of its end of a socketpair as argument, and speaks the wire on it as the guest side.
 * The keeper opens the service EGRESS, once, before all else, and relays what the guest opens (CONNECT, RESOLVE,
 * DATAGRAM; docs/internals/wire.md). For published ports hull-egress opens DIAL, which the keeper relays to the guest.
 *
 * On the EGRESS stream both sides send JSON objects as DATA on channel 0, a line each, at most EGRESS_LINE_MAX long.
 * The keeper sends:
 *   {"start": {"sandbox": NAME, "proxy": {"http": URL, "https": URL, "all": URL, "no": LIST,
 *             "config": BOOL ("all" is config.yaml's), "bad": TEXT (what to mend: nothing goes out before)},
 *              "names": [[number, "name"], ...]}}     first; names: those an earlier child gave out
 *   {"policy": {"number": n, "global": TEXT | null, "sandbox": TEXT | null}}  the files; deny everything until the
 *                                                     first comes
 *   {"policy": {"number": n, "closed": WHY}}          no policy can be had: deny everything
 *   {"publish": {"id": n, "ip": "" | ADDRESS, "host": PORT | 0, "guest": PORT, "proto": "tcp" | "udp"}}
 *   {"unpublish": {"id": n}}
 * hull-egress sends:
 *   {"policy": {"number": n, "ok": true, "cut": n}}: it is in force; or {"policy": {"number": n, "error": TEXT}}: the
 *   old one stays in force
 *   {"name": [number, "name"]}                        given out
 *   {"port": {"id": n, "bound": ["127.0.0.1:8080", ...], "host": PORT}} or {"port": {"id": n, "error": TEXT}}
 *   {"listens": {"id": n, "yes": BOOL}}               in the sandbox, behind a port that was connected to
 *   {"log": {...}}                                    a line for egress.log (docs/network.md)
 *
 * When the socketpair closes hull-egress exits. It keeps nothing on disk and takes no signals. */
#ifndef HULL_EGRESS_EGRESS_H
#define HULL_EGRESS_EGRESS_H

#include "base/error.h"
#include "policy/addr.h"

#include <stddef.h>

enum {
	EGRESS_LINE_MAX = 8 << 20,
	EGRESS_CONNECTIONS_MAX = 1024, /* of a sandbox, at once */
	EGRESS_FLOWS_MAX = 256,        /* UDP */
	EGRESS_QUESTIONS_MAX = 512,    /* RESOLVE streams open at once */
	EGRESS_NAMES_MAX = 16384,      /* synthetic addresses given out */
	EGRESS_PORTS_MAX = 256,        /* published */
};

/* For tests: what stands in the way of the real world. */
struct egress_hooks {
	/* Instead of getaddrinfo(3): the number of addresses, or -errno. Called in the loop; -EINPROGRESS: to be asked
	 * again in its next round. */
	int (*resolve)(const char *name, struct hull_addr *out, size_t max);
	unsigned fresh_ms; /* for how long its answer is used; 0 = as long as usual */
};
/* Serve fd until it closes; the exit code. hooks may be NULL. */
int egress_main(int fd, const struct egress_hooks *hooks);
/* The allow-list of system calls, for everything from here on. */
int egress_confine(struct hull_error *err);

#endif
