/* SPDX-License-Identifier: Apache-2.0 */
/* See uevent.h. */
#include "guest/core/uevent.h"

#include "base/cleanup.h"
#include "guest/core/core.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/netlink.h>

bool hull_wait_device(bool (*found)(void *ctx), void *ctx, int ms)
{
	/* Subscribed before looking, so that nothing is missed in between. */
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1};
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return found(ctx);
	uint64_t deadline = hull_uptime_ms() + (uint64_t)ms;
	for (;;) {
		if (found(ctx))
			return true;
		uint64_t now = hull_uptime_ms();
		if (now >= deadline)
			return false;
		char event[4096];
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, (int)(deadline - now)) > 0)
			while (recv(fd, event, sizeof(event), MSG_DONTWAIT) > 0)
				;
	}
}

/* The entry of `dir` starting with `prefix` whose file `attribute` reads `value`. */
static bool uevent_find(const char *dir, const char *prefix, const char *attribute, const char *value, char *dev,
			int cap)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		char path[512], text[64];
		snprintf(path, sizeof(path), "%s/%s/%s", dir, e->d_name, attribute);
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		if (n < 0)
			continue;
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text, value) == 0)
			return snprintf(dev, (size_t)cap, "/dev/%s", e->d_name) < cap && access(dev, F_OK) == 0;
	}
	return false;
}

bool hull_find_disk(const char *serial, char *dev, int cap)
{
	return uevent_find("/sys/block", "vd", "serial", serial, dev, cap);
}

bool hull_find_port(const char *name, char *dev, int cap)
{
	return uevent_find("/sys/class/virtio-ports", "vport", "name", name, dev, cap);
}
