/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's names: its hostname, with the line of /etc/hosts for it, and /etc/machine-id. */
#include "guest/identity/identity.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/own.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOSTS_MAX = 256 * 1024, HOSTNAME_MAX = 63 };

static bool hostname_ok(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n <= HOSTNAME_MAX && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == n;
}

/* /etc/hosts with the line for our own name (tagged 127.0.1.1, as Debian has it) replaced. */
static int write_hosts(const char *name, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf in = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	int r = hull_own_read("/etc/hosts", HOSTS_MAX, &in);
	if (r == -ENOENT)
		hull_buf_addstr(&out, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	else if (r < 0)
		return hull_fail(err, r, "cannot read /etc/hosts");
	char *save = NULL;
	for (char *l = in.len ? strtok_r((char *)hull_buf_bytes(&in), "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save))
		if (strncmp(l, "127.0.1.1", 9) != 0)
			hull_buf_addf(&out, "%s\n", l);
	r = hull_buf_addf(&out, "127.0.1.1\t%s\n", name);
	if (r < 0)
		return hull_fail(err, r, "cannot write /etc/hosts");
	return hull_own_replace("/etc/hosts", hull_buf_bytes(&out), out.len, 0644, err);
}

int hull_set_hostname(const char *name, struct hull_error *err)
{
	char now[HOSTNAME_MAX + 2] = "";
	char line[HOSTNAME_MAX + 2];
	if (!hostname_ok(name))
		return hull_fail(err, -EINVAL, "the host gave a hostname that is none");
	if (sethostname(name, strlen(name)) < 0)
		return hull_fail_errno(err, "cannot set the hostname %s", name);
	/* The files are on the disk: written only when they change. */
	_cleanup_(hull_buf_free) struct hull_buf old = {0};
	snprintf(line, sizeof(line), "%s\n", name);
	if (hull_own_read("/etc/hostname", 4096, &old) == 0 && old.len < sizeof(now)) {
		memcpy(now, hull_buf_bytes(&old), old.len);
		if (strcmp(now, line) == 0)
			return 0;
	}
	int r = write_hosts(name, err);
	return r < 0 ? r : hull_own_replace("/etc/hostname", line, strlen(line), 0644, err);
}

bool hull_random_uuid(uint8_t id[16])
{
	_cleanup_close_ int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || hull_read_full(fd, id, 16) != 16)
		return false;
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	return true;
}

void hull_machine_id(bool anew)
{
	struct stat st;
	uint8_t id[16];
	char text[34];
	_cleanup_close_ int old = hull_own_open("/etc/machine-id", O_RDONLY | O_NONBLOCK, 0);
	if (!anew && old >= 0 && fstat(old, &st) == 0 && st.st_size >= 32)
		return;
	if (!hull_random_uuid(id)) /* as machine-id(5) asks */
		return;
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
	text[32] = '\n';
	hull_own_replace("/etc/machine-id", text, 33, 0444, NULL);
}
