/* SPDX-License-Identifier: Apache-2.0 */
/* Measures whether /dev/kvm is usable. Opening it is not enough: some KVMs (nested ones without hardware support below)
 * emulate the guest's kernel mode one instruction at a time and cannot boot Linux. So a guest of one page runs a short
 * ring-0 loop, which is timed.
 *
 * It runs in a child process, so that its timer signal does not disturb the caller. If a broken KVM hangs or crashes
 * the child, the parent gives up after ten seconds (an overloaded host may need two for a millisecond of work). In the
 * child a timer stops the loop after 20 ms (immediate_exit closes the race between the signal and KVM_RUN), and the
 * counter register gives the time per instruction. Time is the thread's CPU time, so that load on the host does not
 * count. On a host that is itself a guest, stolen time appears as CPU time; therefore the best of several runs counts.
 *
 * The result is cached for one boot of the host and one /dev/kvm node. Whether this user may open it is checked each
 * time, so that joining the group kvm has an immediate effect. */
#include "engine/engine.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

enum {
	LOOPS = 100 * 1000, /* of two instructions each: under 0.1 ms on hardware */
	CUT_OFF_US = 20 * 1000,
	GIVE_UP_MS = 10 * 1000,
	TRIES = 5,
	CODE_AT = 0x1000,
	PAGE = 4096,
};
static const double hardware_ns = 5;
static const double usable_ns =
	200; /* hardware: below 1, an emulated AMD-V: 40 to 80; one instruction at a time: 600 */

/* What the child found. */
struct measured {
	double ns;
	char error[128]; /* what failed; empty when measured */
};

static struct kvm_run *running; /* for the signal handler of the child */

static void cut_off(int sig)
{
	(void)sig;
	running->immediate_exit = 1;
}

static void flat_segment(struct kvm_segment *s, unsigned type)
{
	*s = (struct kvm_segment){.limit = 0xffffffff,
				  .selector = type == 11 ? 8 : 16,
				  .type = type,
				  .present = 1,
				  .db = 1,
				  .s = 1,
				  .g = 1};
}

/* 32-bit protected mode, flat, no paging, ring 0. */
static int set_registers(int vcpu)
{
	struct kvm_sregs s;
	if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
		return -1;
	flat_segment(&s.cs, 11);
	flat_segment(&s.ds, 3);
	s.es = s.fs = s.gs = s.ss = s.ds;
	s.cr0 |= 1;
	struct kvm_regs r = {.rip = CODE_AT, .rflags = 2};
	return ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0 ? -1 : 0;
}

static double cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Run the loop once. 0 = measured (m->ns), 1 = too little CPU time to measure, -1 = failed (m->error). */
static int run_loop(int vcpu, struct measured *m)
{
	struct kvm_regs r;
	if (set_registers(vcpu) < 0) {
		snprintf(m->error, sizeof(m->error), "setting registers failed: %s", strerror(errno));
		return -1;
	}
	struct itimerval timer = {.it_value = {.tv_usec = CUT_OFF_US}}, off = {0};
	running->immediate_exit = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
	double start = cpu_ns();
	int rc = ioctl(vcpu, KVM_RUN, 0);
	int saved = errno;
	double spent = cpu_ns() - start;
	setitimer(ITIMER_REAL, &off, NULL);
	if (rc < 0 && saved != EINTR) {
		snprintf(m->error, sizeof(m->error), "running it failed: %s", strerror(saved));
		return -1;
	}
	if (rc == 0 && running->exit_reason != KVM_EXIT_HLT) {
		snprintf(m->error, sizeof(m->error), "it ended with exit reason %u", running->exit_reason);
		return -1;
	}
	if (ioctl(vcpu, KVM_GET_REGS, &r) < 0) {
		snprintf(m->error, sizeof(m->error), "reading registers failed: %s", strerror(errno));
		return -1;
	}
	uint64_t left = r.rcx & 0xffffffff;
	if (rc < 0 && spent < CUT_OFF_US * 1000.0 / 4)
		return 1;
	double instructions = left <= LOOPS ? (double)(LOOPS - left) * 2 + 1 : 1;
	double ns = spent / instructions;
	m->ns = m->ns == 0 || ns < m->ns ? ns : m->ns;
	return 0;
}

/* In the child. */
static void measure(struct measured *m)
{
	/* mov ecx, LOOPS; again: dec ecx; jnz again; hlt */
	static const uint8_t code[] = {0xb9, LOOPS & 0xff, (LOOPS >> 8) & 0xff, (LOOPS >> 16) & 0xff, 0, 0x49, 0x75,
				       0xfd, 0xf4};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) {
		snprintf(m->error, sizeof(m->error), "creating a VM failed: %s", strerror(errno));
		return;
	}
	/* Intel CPUs before "unrestricted guest" need an address for it; others ignore it. */
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);
	uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = CODE_AT, .memory_size = PAGE, .userspace_addr = (uintptr_t)page};
	if (page == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
		snprintf(m->error, sizeof(m->error), "giving it memory failed: %s", strerror(errno));
		return;
	}
	memcpy(page, code, sizeof(code));
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	running = vcpu < 0 || size <= 0 ? MAP_FAILED
					: mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (running == MAP_FAILED) {
		snprintf(m->error, sizeof(m->error), "creating a CPU failed: %s", strerror(errno));
		return;
	}
	struct sigaction act = {.sa_handler = cut_off}; /* no SA_RESTART: KVM_RUN must return */
	sigaction(SIGALRM, &act, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < TRIES && (m->ns == 0 || m->ns >= hardware_ns); i++)
		if (run_loop(vcpu, m) < 0)
			return;
	if (m->ns == 0)
		snprintf(m->error, sizeof(m->error), "the host was too busy to measure it");
}

static int measure_in_child(struct measured *m)
{
	int ends[2], status;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0) {
		struct measured mine = {0};
		measure(&mine);
		_exit(hull_write_full(out, &mine, sizeof(mine)) < 0);
	}
	int saved = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -saved;
	close(hull_steal_fd(&out));
	struct pollfd p = {.fd = in, .events = POLLIN};
	int ready;
	while ((ready = poll(&p, 1, GIVE_UP_MS)) < 0 && errno == EINTR)
		;
	ssize_t n = ready > 0 ? hull_read_full(in, m, sizeof(*m)) : -ETIMEDOUT;
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	m->error[sizeof(m->error) - 1] = '\0';
	return n == (ssize_t)sizeof(*m) ? 0 : n < 0 ? (int)n : -EIO;
}

/* --- what it means --- */

/* The uncached part: 0 = it opens; -1 = it does not, and out says why. */
static int try_open(struct hull_probe *out, struct stat *st)
{
	*out = (struct hull_probe){0};
	if (stat("/dev/kvm", st) < 0) {
		snprintf(out->reason, sizeof(out->reason),
			 "no /dev/kvm: hardware virtualization is off in the firmware, or not given to this (virtual) "
			 "machine; running under emulation");
		return -1;
	}
	out->kvm_present = true;
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			snprintf(out->reason, sizeof(out->reason),
				 "/dev/kvm is closed to this user: add yourself to the group kvm (sudo usermod -aG kvm "
				 "$USER) and log in again; running under emulation");
		else
			snprintf(
				out->reason, sizeof(out->reason),
				"/dev/kvm does not open (%s): is the kvm_intel or kvm_amd module loaded? Running under "
				"emulation",
				strerror(errno));
		return -1;
	}
	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		snprintf(out->reason, sizeof(out->reason), "/dev/kvm speaks another version; running under emulation");
		return -1;
	}
	out->kvm_opens = true;
	return 0;
}

static void judge(struct hull_probe *out)
{
	struct measured m = {0};
	int r = measure_in_child(&m);
	if (r < 0 || m.error[0]) {
		snprintf(out->reason, sizeof(out->reason),
			 "/dev/kvm opens but a test guest did not run (%s); running under emulation",
			 m.error[0]        ? m.error
			 : r == -ETIMEDOUT ? "it hung"
					   : strerror(-r));
		return;
	}
	out->ns_per_instr = m.ns;
	out->kvm_usable = m.ns < usable_ns;
	if (out->kvm_usable)
		snprintf(out->reason, sizeof(out->reason), "/dev/kvm runs at %s speed (%.2f ns per instruction)",
			 m.ns < hardware_ns ? "hardware" : "a usable", m.ns);
	else
		snprintf(out->reason, sizeof(out->reason),
			 "/dev/kvm emulates the guest's kernel mode (%.0f ns per instruction, hardware takes under 1): "
			 "no "
			 "hardware virtualization below it; running under emulation",
			 m.ns);
}

void hull_engine_probe(struct hull_probe *out)
{
	struct stat st;
	if (try_open(out, &st) == 0)
		judge(out);
}

/* --- remembered --- */

/* The key of a cached measurement: this boot, this device node. */
static char *cache_key(const struct stat *st)
{
	_cleanup_(hull_buf_free) struct hull_buf boot = {0};
	if (hull_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0 || boot.len < 36)
		return NULL;
	return hull_fmt("%.36s %lld %lld", (const char *)hull_buf_bytes(&boot), (long long)st->st_ino,
			(long long)st->st_ctime);
}

static bool load(const char *path, const char *key, struct hull_probe *out)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	if (hull_read_file(AT_FDCWD, path, 4096, &b, NULL) < 0)
		return false;
	json_t *root = json_loadb((const char *)hull_buf_bytes(&b), b.len, 0, NULL);
	const char *for_key, *reason;
	int usable;
	double ns;
	bool ok = json_unpack(root, "{s:s, s:b, s:F, s:s}", "for", &for_key, "usable", &usable, "ns", &ns, "reason",
			      &reason) == 0 &&
		  strcmp(for_key, key) == 0 && isfinite(ns) && ns >= 0 && (usable != 0) == (ns > 0 && ns < usable_ns);
	if (ok) {
		out->kvm_usable = usable;
		out->ns_per_instr = ns;
		snprintf(out->reason, sizeof(out->reason), "%s", reason);
	}
	json_decref(root);
	return ok;
}

static void save(const char *path, const char *key, const struct hull_probe *p)
{
	json_t *root = json_pack("{s:s, s:b, s:f, s:s}", "for", key, "usable", p->kvm_usable, "ns", p->ns_per_instr,
				 "reason", p->reason);
	_cleanup_free_ char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	/* Without the cache the next probe takes a few milliseconds; nothing else. */
	if (text)
		hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, NULL);
}

void hull_engine_probe_cached(const char *runtime_dir, struct hull_probe *out)
{
	struct stat st;
	if (try_open(out, &st) < 0)
		return;
	_cleanup_free_ char *path = hull_fmt("%s/probe", runtime_dir);
	_cleanup_free_ char *key = cache_key(&st);
	if (!path || !key) {
		judge(out);
		return;
	}
	if (load(path, key, out))
		return;
	judge(out);
	if (out->ns_per_instr > 0)
		save(path, key, out);
}
