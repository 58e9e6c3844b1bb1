/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the network that is not there. Loaded at boot by the image's `nft -f -`, in two
 * steps: each kernel module takes its time to load, and most of them are only for the second.
 *
 * The VM has no network card; hull0 is a dummy link that holds the default routes and throws away what reaches it.
 * Before anything does, these rules turn it around: a packet that would leave by hull0, made here or forwarded for a
 * container (docker0, compose bridges), goes to hull-init's own sockets on hull0's address, and conntrack remembers
 * where it was going (relay.c asks it). What stays inside, container to container or to a published port, never
 * matches: the route decides, so bridges that are made later need no rule.
 *
 * Before that, a packet that begins a TCP connection is held until the host has made it (hold.c): the chain behind that
 * rejects those that the host refused. For containers the tcp flags are looked at first, since `fib` asks the routing
 * table.
 *
 * Our chains come just before Docker's (dstnat is -100). Port 53 of hull0's address is answered on a port of ours, so
 * that a sandbox may have a DNS server of its own; questions to servers elsewhere are answered by us as well.
 *
 * What is left (ICMP, SCTP, multicast) is rejected, so that programs hear of it at once. The reject in `out` must let
 * pass what `local` has turned around: that hook still sees the old route's link, but the new address. */
#include "guest/net/link.h"

#define STR(x)   STR_(x)
#define STR_(x)  #x
#define SELF4    HULL_LINK_ADDRESS4
#define SELF6    HULL_LINK_ADDRESS6
#define DNS      STR(HULL_PORT_DNS)
#define RELAY    STR(HULL_PORT_RELAY)
#define DATAGRAM STR(HULL_PORT_UDP)

#define FIRST "tcp flags & (fin | syn | rst | ack) == syn "
#define QUEUE "queue flags bypass to " STR(HULL_QUEUE) "\n"
#define ANSWERS                                                             \
	"meta mark vmap { " STR(HULL_MARK_REFUSED) " : goto refused, " STR( \
		HULL_MARK_PROHIBITED) " : goto prohibited, " STR(HULL_MARK_NO_WAY) " : goto no_way }\n"

/* What the sandbox's own programs need. */
const char hull_nft_local[] =
	"table inet hull {\n"
	"	chain turn {\n"
	"		ip daddr " SELF4 " return\n"
	"		ip6 daddr " SELF6 " return\n"
	"		meta nfproto ipv4 udp dport 53 dnat ip to " SELF4 ":" DNS "\n"
	"		meta nfproto ipv6 udp dport 53 dnat ip6 to [" SELF6 "]:" DNS "\n"
	"		meta nfproto ipv4 meta l4proto tcp dnat ip to " SELF4 ":" RELAY "\n"
	"		meta nfproto ipv6 meta l4proto tcp dnat ip6 to [" SELF6 "]:" RELAY "\n"
	"		meta nfproto ipv4 ip daddr != 224.0.0.0/3 meta l4proto udp dnat ip to " SELF4 ":" DATAGRAM "\n"
	"		meta nfproto ipv6 ip6 daddr != ff00::/8 meta l4proto udp dnat ip6 to [" SELF6 "]:" DATAGRAM "\n"
	"	}\n"
	"	chain self {\n"
	"		ip daddr " SELF4 " meta l4proto { tcp, udp } th dport 53 dnat ip to " SELF4 ":" DNS "\n"
	"		ip6 daddr " SELF6 " meta l4proto { tcp, udp } th dport 53 dnat ip6 to [" SELF6 "]:" DNS "\n"
	"	}\n"
	"	chain refused {\n"
	"		reject with tcp reset\n"
	"	}\n"
	"	chain prohibited {\n"
	"		reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain no_way {\n"
	"		reject with icmpx host-unreachable\n"
	"	}\n"
	"	chain hold_local {\n"
	"		type filter hook output priority -150;\n"
	"		oifname \"" HULL_LINK "\" " FIRST QUEUE "	}\n"
	"	chain answer_local {\n"
	"		type filter hook output priority -149;\n"
	"		oifname \"" HULL_LINK "\" " ANSWERS "	}\n"
	"	chain local {\n"
	"		type nat hook output priority dstnat - 10;\n"
	"		jump self\n"
	"		oifname \"" HULL_LINK "\" jump turn\n"
	"	}\n"
	"}\n";

/* What containers need, and the word to whoever tries what there is not. */
const char hull_nft_forwarded[] = "table inet hull {\n"
				  "	chain hold_pre {\n"
				  "		type filter hook prerouting priority -150;\n"
				  "		" FIRST "fib daddr oifname \"" HULL_LINK "\" " QUEUE "	}\n"
				  "	chain answer_pre {\n"
				  "		type filter hook prerouting priority -149;\n"
				  "		" ANSWERS "	}\n"
				  "	chain pre {\n"
				  "		type nat hook prerouting priority dstnat - 10;\n"
				  "		jump self\n"
				  "		fib daddr oifname \"" HULL_LINK "\" jump turn\n"
				  "	}\n"
				  "	chain through {\n"
				  "		type filter hook forward priority filter - 10;\n"
				  "		oifname \"" HULL_LINK "\" reject with icmpx admin-prohibited\n"
				  "	}\n"
				  "	chain out {\n"
				  "		type filter hook output priority filter - 10;\n"
				  "		oifname \"" HULL_LINK "\" ip daddr != " SELF4
				  " reject with icmpx admin-prohibited\n"
				  "		oifname \"" HULL_LINK "\" ip6 daddr != " SELF6
				  " ip6 daddr != ff00::/8 reject with icmpx admin-prohibited\n"
				  "	}\n"
				  "}\n";
