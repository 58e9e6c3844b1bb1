/* The service dial with PROTOCOL 17; dial.c reads the request, dial_udp.c has the rest. */
#ifndef HULL_GUEST_DIAL_H
#define HULL_GUEST_DIAL_H

#include "guest/net/net.h"

/* Accept the stream with a socket connected to `to`, or refuse it. try_v6: ::1 when nobody listens on `to`. */
void hull_dial_udp_open(uint32_t stream, const union hull_sockaddr *to, bool try_v6);

#endif
