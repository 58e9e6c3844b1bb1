/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing up the network that is not there: the link hull0, its routes, the rules, and who answers behind them.
 *
 *     hull0 (dummy)  198.19.0.1/16, fd68:756c:6c00:1::1/64; default routes of both families
 *
 * The addresses are those of wire/service.h: of the range for benchmarks (RFC 2544) and of a ULA prefix, so they clash
 * neither with Docker's pools nor with what people have at home. Our own sockets are bound first (IP_FREEBIND); the
 * rest happens in a child, beside the boot: link and routes by netlink, then the child becomes `nft`. The kernel loads
 * the modules it needs by itself through modprobe; loading them by one call before saves it a process for each. The
 * host hears that the sandbox is ready (CONFIGURED) once the child has ended, so the first command finds a network.
 *
 * /etc/resolv.conf names hull0's address, for containers too (Docker hands it on, it is an address that they reach);
 * one that somebody wrote is left alone. Without nft in the image there is no network, and the console says so. */
#include "guest/net/net.h"

#include "base/cleanup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/core/own.h"
#include "guest/net/link.h"
#include "guest/net/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

enum { MTU = 65535, IFF_UP_FLAG = 1, IFF_NOARP_FLAG = 0x80, RESOLV_MAX = 4096 };

static struct hull_child child;
static int complaints = -1; /* what the child and nft had to say */
/* NONE and DONE: nothing to wait for. FORWARDED goes on behind the first commands' back. */
static enum step { NONE, LOCAL, FORWARDED, DONE } step;
static void (*when_ready)(void);

/* --- netlink, in the child --- */

static const uint16_t MAKE = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;

static int net_make_link(int fd)
{
	struct ifinfomsg info = {.ifi_flags = IFF_UP_FLAG, .ifi_change = IFF_UP_FLAG};
	union hull_netlink m;
	uint32_t mtu = MTU; /* no packet of it ever travels; large segments cost less */
	hull_netlink_begin(&m, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	hull_netlink_add(&m, IFLA_IFNAME, HULL_LINK, sizeof(HULL_LINK));
	hull_netlink_add(&m, IFLA_MTU, &mtu, sizeof(mtu));
	size_t kind = hull_netlink_add(&m, IFLA_LINKINFO, NULL, 0);
	hull_netlink_add(&m, IFLA_INFO_KIND, "dummy", sizeof("dummy"));
	hull_netlink_end(&m, kind);
	return hull_netlink_ask(fd, &m, 0);
}

static int link_index(int fd)
{
	struct ifinfomsg info = {0};
	union hull_netlink m;
	union {
		struct nlmsghdr h;
		uint8_t bytes[16384];
	} answer;
	hull_netlink_begin(&m, RTM_GETLINK, 0, &info, sizeof(info));
	hull_netlink_add(&m, IFLA_IFNAME, HULL_LINK, sizeof(HULL_LINK));
	int r = hull_netlink_send(fd, &m, 0);
	if (r < 0)
		return r;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)(NLMSG_HDRLEN + sizeof(info)) || answer.h.nlmsg_type != RTM_NEWLINK)
		return n < 0 ? -errno : -ENODEV;
	memcpy(&info, answer.bytes + NLMSG_HDRLEN, sizeof(info));
	return info.ifi_index;
}

static int make_address(int fd, int family, unsigned char prefix, int index)
{
	union hull_sockaddr a;
	hull_link_address(family, 0, &a);
	bool six = family == AF_INET6;
	const void *p = six ? (const void *)&a.six.sin6_addr : &a.four.sin_addr;
	size_t n = six ? 16 : 4;
	struct ifaddrmsg info = {.ifa_family = (uint8_t)family,
				 .ifa_prefixlen = prefix,
				 .ifa_flags = six ? IFA_F_NODAD : 0,
				 .ifa_index = (uint32_t)index};
	union hull_netlink m;
	hull_netlink_begin(&m, RTM_NEWADDR, MAKE, &info, sizeof(info));
	hull_netlink_add(&m, IFA_LOCAL, p, n);
	hull_netlink_add(&m, IFA_ADDRESS, p, n);
	return hull_netlink_ask(fd, &m, 0);
}

static int make_route(int fd, int family, int index)
{
	struct rtmsg info = {.rtm_family = (uint8_t)family,
			     .rtm_table = RT_TABLE_MAIN,
			     .rtm_protocol = RTPROT_BOOT,
			     .rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
			     .rtm_type = RTN_UNICAST};
	union hull_netlink m;
	hull_netlink_begin(&m, RTM_NEWROUTE, MAKE, &info, sizeof(info));
	hull_netlink_add(&m, RTA_OIF, &index, sizeof(index));
	return hull_netlink_ask(fd, &m, 0);
}

static void complain(const char *what, int error)
{
	dprintf(2, "%s: %s\n", what, strerror(error));
}

/* IPv6 may be off in the kernel; that is no reason to do without IPv4. */
static int make_network(void)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int index = -ENODEV;
	int r = fd < 0 ? -errno : net_make_link(fd);
	if (r == 0 || r == -EEXIST)
		index = link_index(fd);
	if (index < 0) {
		complain("cannot make the link " HULL_LINK " (the kernel's module dummy)", r < 0 ? -r : -index);
		return -1;
	}
	r = make_address(fd, AF_INET, 16, index);
	if (r == 0)
		r = make_route(fd, AF_INET, index);
	if (r < 0)
		complain("cannot give " HULL_LINK " its IPv4 address and route", -r);
	int six = make_address(fd, AF_INET6, 64, index);
	if (six == 0)
		six = make_route(fd, AF_INET6, index);
	if (six < 0)
		complain("cannot give " HULL_LINK " its IPv6 address and route", -six);
	return r;
}

/* By one call, because each that the kernel asks for by itself is a process of its own. */
static void load_modules(char *const *argv)
{
	static char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	pid_t pid = fork();
	if (pid == 0) {
		execve("/sbin/modprobe", argv, env);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* In the child. */
static void net_run(void *ctx, int status_fd)
{
	static char *const local[] = {"modprobe", "-aq",       "dummy",           "nft_chain_nat",
				      "nft_nat",  "nft_queue", "nfnetlink_queue", "nft_reject_inet",
				      NULL};
	static char *const forwarded[] = {"modprobe", "-aq", "nft_fib_ipv4", "nft_fib_ipv6", "nft_fib_inet", NULL};
	static char *const argv[] = {"nft", "-f", "-", NULL};
	static char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	const int *err_fd = ctx;
	const char *text = step == LOCAL ? hull_nft_local : hull_nft_forwarded;
	size_t n = strlen(text);
	int rules[2];
	dup2(*err_fd, 2);
	load_modules(step == LOCAL ? local : forwarded);
	if (step == LOCAL && make_network() < 0)
		_exit(1);
	/* The rules fit in the pipe as a whole, so nobody is needed to feed it. */
	if (pipe2(rules, O_CLOEXEC) < 0 || write(rules[1], text, n) != (ssize_t)n || dup2(rules[0], 0) < 0) {
		complain("cannot hand the rules to nft", errno);
		_exit(1);
	}
	close(rules[1]);
	execve("/usr/sbin/nft", argv, env);
	complain("cannot execute /usr/sbin/nft", errno);
	_exit(127);
}

/* --- in hull-init --- */

/* A symlink that leads nowhere is as good as none. */
static void write_resolv_conf(void)
{
	static const char text[] = "nameserver " HULL_LINK_ADDRESS4 "\n";
	struct hull_error err = {0};
	struct stat st;
	if (access("/etc/resolv.conf", F_OK) == 0 && lstat("/etc/resolv.conf", &st) == 0 &&
	    (!S_ISREG(st.st_mode) || st.st_size > 0))
		return;
	if (hull_own_replace("/etc/resolv.conf", text, strlen(text), 0644, &err) < 0)
		hull_say("%s", err.msg);
}

static void net_begin(enum step s);

/* The sandbox's own programs have their network, or never will. */
static void up_or_failed(void)
{
	void (*ready)(void) = when_ready;
	step = DONE;
	when_ready = NULL;
	if (ready)
		ready();
}

static void net_ended(struct hull_child *c, int status)
{
	char text[512];
	ssize_t n = read(complaints, text, sizeof(text) - 1);
	close(hull_steal_fd(&complaints));
	text[n > 0 ? n : 0] = '\0';
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = p[1] ? '|' : '\0';
	if (status != 0)
		hull_say("there is no network%s: %s", step == LOCAL ? "" : " for containers",
			 text[0] ? text : "setting it up failed");
	else if (text[0])
		hull_say("network: %s", text);
	if (step == LOCAL) {
		if (status == 0)
			hull_relay_hold();
		up_or_failed();
		if (status == 0)
			net_begin(FORWARDED);
	}
}

static void net_begin(enum step s)
{
	struct hull_error err = {0};
	int fds[2];
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		hull_say("there is no network: pipe: %s", strerror(errno));
		return;
	}
	step = s;
	complaints = fds[0];
	int r = hull_spawn(&child, -1, net_run, &fds[1], NULL, net_ended, &err);
	close(fds[1]);
	if (r < 0) {
		close(hull_steal_fd(&complaints));
		step = DONE;
		hull_say("there is no network: %s", err.msg);
	}
}

void hull_net_start(void)
{
	write_resolv_conf();
	hull_relay_start();
	hull_dns_start();
	hull_udp_start();
	net_begin(LOCAL);
}

void hull_net_when_ready(void (*ready)(void))
{
	if (step != LOCAL)
		ready();
	else
		when_ready = ready;
}
