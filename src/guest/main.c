/* SPDX-License-Identifier: Apache-2.0 */
/* hull-init: PID 1 of the sandbox. /init of the initramfs; the same process goes on after the root has been switched.
 *
 * Boot runs straight through and ends in the event loop; what fails on the way is said on the console, and the machine
 * powers off, since there is nobody to repair it from inside. Under any other name (poweroff, halt, reboot, shutdown)
 * the program asks PID 1 to end the sandbox. docs/internals/guest.md tells the whole story. */
#include "guest/guest.h"

#include "base/cleanup.h"
#include "guest/boot/boot.h"
#include "guest/core/cgroup.h"
#include "guest/core/child.h"
#include "guest/core/core.h"
#include "guest/core/loop.h"
#include "guest/docker/docker.h"
#include "guest/net/net.h"
#include "guest/session/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILES_MAX = 1024 * 1024 };

static void read_options(struct hull_options *o)
{
	char line[4096] = "";
	_cleanup_close_ int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	*o = (struct hull_options){.docker = true, .disk = true};
	char *save = NULL;
	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		if (strcmp(w, "hull.docker=0") == 0)
			o->docker = false;
		else if (strcmp(w, "hull.disk=0") == 0)
			o->disk = false;
		else if (strcmp(w, "hull.emulated=1") == 0)
			o->emulated = true;
	}
}

/* 0, 1 and 2 must not become something else's by accident. */
static void standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* Those that the kernel was told to leave (maxcpus=1, under emulation; docs/internals/engine.md). */
static void start_processors(void)
{
	char path[64];
	for (unsigned i = 1;; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", i);
		if (access(path, F_OK) < 0)
			return;
		if (hull_put(path, "1") < 0)
			hull_say("processor %u does not start", i);
	}
}

static void main_power_off(void)
{
	hull_shutdown("asked for inside the sandbox", 10000);
}

static int boot(struct hull_error *err)
{
	struct hull_options o;
	int r = hull_early_mounts(err);
	if (r < 0)
		return r;
	standard_descriptors();
	read_options(&o);
	hull_put("/proc/self/oom_score_adj", "-1000");
	struct rlimit files = {FILES_MAX, FILES_MAX};
	setrlimit(RLIMIT_NOFILE, &files);
	reboot(RB_DISABLE_CAD); /* ctrl-alt-del becomes SIGINT */

	r = hull_loop_init(err);
	if (r == 0)
		r = hull_children_init(main_power_off, err);
	if (r == 0)
		r = hull_modules_load("/modules.list", err);
	if (r == 0)
		start_processors();
	if (r == 0)
		r = hull_enter_root(&o, err);
	if (r < 0)
		return r;
	hull_cgroup_setup();
	hull_setup();
	hull_oom_start();
	if (o.emulated)
		hull_warmup_start();
	hull_net_start();
	/* Docker first: it takes seconds, the host's HELLO takes none. */
	if (o.docker)
		hull_docker_start();
	return hull_service_start(err);
}

int main(int argc, char **argv)
{
	struct hull_error err = {0};
	if (getpid() != 1)
		return hull_ask_poweroff();
	if (boot(&err) < 0)
		hull_give_up(&err);
	hull_say("ready for the host");
	for (;;)
		hull_loop_once(-1);
}
