/* Where processes live, so that none can starve the others:
 *
 *     /init           hull-init
 *     /dockerd        dockerd, containerd and the shims
 *     /work           everything the user starts; bounded in processes and memory, so that the two above keep room
 *       sessions      exec
 *       docker        containers and builds
 *
 * A fork bomb or a memory bomb in /work meets the limit of /work: exec still answers and can clean up. */
#include "guest/guest.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

int hull_cg_sessions = -1;
int hull_cg_dockerd = -1;

enum { RESERVED_PIDS_PERCENT = 20, RESERVED_MEMORY_MAX = 192 << 20 };

static void enable_controllers(const char *dir)
{
	static const char *const wanted[] = {"+cpu",    "+memory",  "+pids", "+io",
					     "+cpuset", "+hugetlb", "+misc", "+rdma"};
	char path[256];
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		hull_put(path, wanted[i]); /* one this kernel lacks is no loss */
}

static void put_number(const char *path, unsigned long long v)
{
	char text[32];
	snprintf(text, sizeof(text), "%llu", v);
	hull_put(path, text);
}

static unsigned long threads_max(void)
{
	char text[32] = "";
	_cleanup_close_ int fd = open("/proc/sys/kernel/threads-max", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 4096;
	return strtoul(text, NULL, 10);
}

void hull_cgroup_setup(void)
{
	struct sysinfo si;
	mkdir(HULL_CG_ROOT "/init", 0755);
	mkdir(HULL_CG_ROOT "/dockerd", 0755);
	mkdir(HULL_CG_ROOT "/work", 0755);
	if (hull_put(HULL_CG_ROOT "/init/cgroup.procs", "0") < 0) {
		hull_say("cgroups are not available: nothing bounds what runs in the sandbox");
		return;
	}
	enable_controllers(HULL_CG_ROOT);
	enable_controllers(HULL_CG_ROOT "/work");
	mkdir(HULL_CG_ROOT "/work/sessions", 0755);
	mkdir(HULL_CG_ROOT "/work/docker", 0755);

	put_number(HULL_CG_ROOT "/work/pids.max", threads_max() / 100 * (100 - RESERVED_PIDS_PERCENT));
	if (sysinfo(&si) == 0) {
		unsigned long long total = (unsigned long long)si.totalram * si.mem_unit;
		unsigned long long reserve = total / 4 < RESERVED_MEMORY_MAX ? total / 4 : RESERVED_MEMORY_MAX;
		put_number(HULL_CG_ROOT "/work/memory.max", total - reserve);
	}
	hull_put(HULL_CG_ROOT "/init/cpu.weight", "10000");
	hull_put(HULL_CG_ROOT "/dockerd/cpu.weight", "400");
	hull_cg_sessions = open(HULL_CG_ROOT "/work/sessions", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	hull_cg_dockerd = open(HULL_CG_ROOT "/dockerd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}
