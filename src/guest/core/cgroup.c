/* SPDX-License-Identifier: Apache-2.0 */
/* Where processes live, so that none can starve the others:
 *
 *     /init           hull-init
 *     /dockerd        dockerd, which may be frozen (docker.c)
 *     /containerd     containerd and the shims
 *     /work           everything the user starts; bounded in processes and memory, so that those above keep room
 *       sessions/N    one for each exec: an equal share of the processors for each
 *       docker        containers and builds
 *
 * A fork bomb or a memory bomb in /work meets the limits of /work: the next exec has its share of the processors and
 * can clean up. Only the cpu controller goes below sessions: a memory cgroup would outlive its session for as long as
 * a page of cache is charged to it, and thousands of them would be a leak.
 *
 * A session's cgroup goes with the session, unless something it left in the background still lives there: then it is
 * tried again when later sessions end. */
#include "guest/core/cgroup.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "guest/core/core.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

int hull_cg_dockerd = -1;

enum {
	RESERVED_PIDS_PERCENT = 20,
	RESERVED_MEMORY_MAX = 192 << 20,
	PROCESS_BYTES = 384 << 10, /* what one more small process costs: so many that they cannot use up the memory */
	PROCS_MAX = 4 << 20,
	RETRY = 4, /* left-over cgroups tried again per session that ends */
};

static int sessions_dir = -1;
static uint32_t last_number;
static uint32_t spare;     /* made already for the next session, while nobody waited for it; 0 = none */
static uint32_t *leftover; /* numbers of cgroups that were not empty yet */
static size_t leftover_count, leftover_cap, leftover_next;

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
	mkdir(HULL_CG_ROOT "/containerd", 0755);
	mkdir(HULL_CG_ROOT "/work", 0755);
	if (hull_put(HULL_CG_ROOT "/init/cgroup.procs", "0") < 0) {
		hull_say("cgroups are not available: nothing bounds what runs in the sandbox");
		return;
	}
	enable_controllers(HULL_CG_ROOT);
	enable_controllers(HULL_CG_ROOT "/work");
	mkdir(HULL_CG_ROOT "/work/sessions", 0755);
	mkdir(HULL_CG_ROOT "/work/docker", 0755);

	hull_put(HULL_CG_ROOT "/work/sessions/cgroup.subtree_control", "+cpu");

	unsigned long long pids = threads_max() / 100 * (100 - RESERVED_PIDS_PERCENT);
	if (sysinfo(&si) == 0) {
		unsigned long long total = (unsigned long long)si.totalram * si.mem_unit;
		unsigned long long reserve = total / 4 < RESERVED_MEMORY_MAX ? total / 4 : RESERVED_MEMORY_MAX;
		put_number(HULL_CG_ROOT "/work/memory.max", total - reserve);
		if (pids > (total - reserve) / PROCESS_BYTES)
			pids = (total - reserve) / PROCESS_BYTES;
	}
	put_number(HULL_CG_ROOT "/work/pids.max", pids);
	hull_put(HULL_CG_ROOT "/init/memory.swap.max", "0"); /* what answers the host does not wait for the disk */
	hull_put(HULL_CG_ROOT "/init/cpu.weight", "10000");
	hull_put(HULL_CG_ROOT "/dockerd/cpu.weight", "400");
	hull_put(HULL_CG_ROOT "/containerd/cpu.weight", "400");
	sessions_dir = open(HULL_CG_ROOT "/work/sessions", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	hull_cg_dockerd = open(HULL_CG_ROOT "/dockerd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A directory for one more session; its number, 0 = not to be had. */
static uint32_t make_one(void)
{
	char name[16];
	snprintf(name, sizeof(name), "%u", ++last_number);
	return mkdirat(sessions_dir, name, 0755) < 0 ? 0 : last_number;
}

int hull_cgroup_make(uint32_t *number)
{
	char name[16];
	*number = 0;
	if (sessions_dir < 0)
		return -1;
	for (;;) {
		uint32_t mine = spare ? spare : make_one();
		bool made_before = mine == spare;
		spare = 0;
		if (mine == 0)
			return -1;
		snprintf(name, sizeof(name), "%u", mine);
		int fd = openat(sessions_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && made_before)
			continue; /* root in here has taken it away */
		*number = mine;
		return fd;
	}
}

static bool removed(uint32_t number)
{
	char name[16];
	snprintf(name, sizeof(name), "%u", number);
	return unlinkat(sessions_dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

void hull_cgroup_drop(uint32_t number)
{
	if (number == 0)
		return;
	if (spare == 0)
		spare = make_one();
	for (int i = 0; i < RETRY && leftover_count > 0; i++) {
		leftover_next = leftover_next % leftover_count;
		if (removed(leftover[leftover_next]))
			leftover[leftover_next] = leftover[--leftover_count];
		else
			leftover_next++;
	}
	if (removed(number))
		return;
	if (leftover_count == leftover_cap) {
		size_t cap = leftover_cap ? 2 * leftover_cap : 16;
		uint32_t *more = reallocarray(leftover, cap, sizeof(*more));
		if (!more)
			return; /* an empty directory stays behind */
		leftover = more;
		leftover_cap = cap;
	}
	leftover[leftover_count++] = number;
}

/* Interactive shells do, which heed HUP instead. Whoever has a handler for TERM is to have its time. */
static bool ignores_term(pid_t pid)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (hull_read_file(AT_FDCWD, path, PROCS_MAX, &text, NULL) < 0 || text.len == 0)
		return false;
	const char *line = strstr((const char *)hull_buf_bytes(&text), "\nSigIgn:\t");
	return line && strtoull(line + 9, NULL, 16) >> (SIGTERM - 1) & 1;
}

static void end_cgroup(int dir, const char *name)
{
	_cleanup_(hull_buf_free) struct hull_buf procs = {0};
	char path[300];
	char *save = NULL;
	snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	if (hull_read_file(dir, path, PROCS_MAX, &procs, NULL) < 0 || procs.len == 0)
		return;
	for (char *l = strtok_r((char *)hull_buf_bytes(&procs), "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		pid_t pid = atoi(l);
		if (pid <= 1)
			continue;
		kill(pid, ignores_term(pid) ? SIGHUP : SIGTERM);
		kill(pid, SIGCONT); /* what is stopped must go on to hear of it */
	}
}

void hull_cgroup_signal(uint32_t number, int sig)
{
	_cleanup_(hull_buf_free) struct hull_buf procs = {0};
	char path[64];
	char *save = NULL;
	if (number == 0 || sessions_dir < 0)
		return;
	if (sig == SIGKILL) {
		snprintf(path, sizeof(path), HULL_CG_ROOT "/work/sessions/%u/cgroup.kill", number);
		hull_put(path, "1");
		return;
	}
	snprintf(path, sizeof(path), "%u/cgroup.procs", number);
	if (hull_read_file(sessions_dir, path, PROCS_MAX, &procs, NULL) < 0 || procs.len == 0)
		return;
	for (char *l = strtok_r((char *)hull_buf_bytes(&procs), "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		if (atoi(l) > 1)
			kill(atoi(l), sig);
}

void hull_cgroup_end_sessions(void)
{
	_cleanup_closedir_ DIR *d = opendir(HULL_CG_ROOT "/work/sessions");
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			end_cgroup(dirfd(d), e->d_name);
}
