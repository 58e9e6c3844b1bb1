/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line. docs/internals/engine.md gives the reason for each option. In short: no unnecessary device,
 * every file and socket by descriptor, QEMU's own seccomp filter on. Only accel_args() depends on emulation or hardware
 * virtualization. */
#include "engine/qemu_internal.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdarg.h>
#include <string.h>

enum { ARGS_MAX = 96 };

/* The vector under construction; `failed` once out of memory (or slots), so that callers check only at the end. */
struct vec {
	char **v;
	size_t n;
	bool failed;
};

void hull_argv_free(char ***v)
{
	for (char **p = *v; p && *p; p++)
		free(*p);
	free(*v);
	*v = NULL;
}

__attribute__((format(printf, 2, 3))) static void add(struct vec *a, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;
	if (a->failed || a->n + 1 >= ARGS_MAX) {
		a->failed = true;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	a->failed = !s;
	if (s)
		a->v[a->n++] = s;
}

/* Text inside an option: a comma is doubled, since it would start the next key. */
static char *escaped(const char *s)
{
	size_t n = strlen(s);
	char *out = malloc(2 * n + 1);
	char *p = out;
	while (out && *s) {
		if (*s == ',')
			*p++ = ',';
		*p++ = *s++;
	}
	if (out)
		*p = '\0';
	return out;
}

static void machine_args(struct vec *a, const struct hull_engine_config *config)
{
	add(a, "-M");
	add(a, "q35,usb=off,sata=off,smbus=off,vmport=off,graphics=off,hpet=off,i8042=off,smm=off,suppress-vmdesc=on,"
	       "memory-backend=ram");
	/* The device state is saved and loaded without the section that describes the machine, which would require
	 * memory in the stream. */
	add(a, "-global");
	add(a, "migration.send-configuration=off");
	add(a, "-object");
	if (config->restore)
		add(a,
		    "memory-backend-file,id=ram,size=%llu,mem-path=" HULL_QEMU_MEMORY_PATH
		    ",share=off,merge=off,dump=off",
		    (unsigned long long)config->memory);
	else
		add(a, "memory-backend-ram,id=ram,size=%llu,merge=off,dump=off", (unsigned long long)config->memory);
	add(a, "-m");
	add(a, "size=%lluM", (unsigned long long)(config->memory >> 20));
	add(a, "-smp");
	add(a, "%u", config->cpus);
}

/* Everything that differs between emulation and hardware. */
static void accel_args(struct vec *a, bool kvm)
{
	add(a, "-accel");
	add(a, kvm ? "kvm" : "tcg,thread=multi,tb-size=512");
	add(a, "-cpu");
	add(a, kvm ? "host" : "Nehalem");
}

static void kernel_args(struct vec *a, const struct hull_engine_config *config, bool kvm)
{
	add(a, "-kernel");
	add(a, "%s", config->kernel);
	add(a, "-initrd");
	add(a, "%s", config->initrd);
	add(a, "-append");
	/* panic=-1 makes a guest panic a reset, and -no-reboot makes a reset the end of the machine. An emulated CPU
	 * speculates nothing, and the page table switch at every system call costs it 18 times the call. Its clock is
	 * one for all CPUs; on a busy host the kernel's check against slower clocks would reject it wrongly. While the
	 * kernel moves PCI devices about, a second emulated CPU may use the memory map that QEMU has just freed (QEMU
	 * before 10.0.4, its issue 3040): hull-init starts the others when the drivers are there. */
	add(a, "console=ttyS0 panic=-1%s%s%s",
	    kvm ? "" : " mitigations=off tsc=reliable maxcpus=1 noreplace-smp hull.emulated=1",
	    config->cmdline[0] ? " " : "", config->cmdline);
}

static void disk_args(struct vec *a, const struct hull_disk *disk, size_t i, int fd)
{
	_cleanup_free_ char *serial = escaped(disk->serial);
	const char *ro = disk->readonly ? "on" : "off";
	add(a, "-add-fd");
	add(a, "fd=%d,set=%zu", fd, i + 1);
	add(a, "-blockdev");
	add(a,
	    "driver=file,node-name=file%zu,filename=/dev/fdset/%zu,aio=threads,cache.direct=off,cache.no-flush=off,"
	    "drop-cache=off,read-only=%s,auto-read-only=off,discard=unmap,locking=off",
	    i, i + 1, ro);
	add(a, "-blockdev");
	add(a, "driver=raw,node-name=disk%zu,file=file%zu,read-only=%s,auto-read-only=off,discard=unmap%s", i, i, ro,
	    disk->readonly ? "" : ",detect-zeroes=unmap");
	add(a, "-device");
	add(a, "virtio-blk-pci,id=blk%zu,drive=disk%zu,serial=%s,disable-legacy=on,werror=%s,rerror=report", i, i,
	    serial ? serial : "", disk->readonly ? "report" : "enospc");
	if (!serial)
		a->failed = true;
}

static void device_args(struct vec *a, const struct hull_qemu_fds *fds)
{
	add(a, "-chardev");
	add(a, "socket,id=qmp,fd=%d", fds->qmp);
	add(a, "-mon");
	add(a, "chardev=qmp,mode=control");
	add(a, "-chardev");
	add(a, "socket,id=serial,fd=%d", fds->serial);
	add(a, "-device");
	add(a, "isa-serial,chardev=serial");
	add(a, "-chardev");
	add(a, "socket,id=wire,fd=%d", fds->wire);
	add(a, "-device");
	add(a, "virtio-serial-pci,id=vser,max_ports=2,disable-legacy=on");
	add(a, "-device");
	add(a, "virtserialport,bus=vser.0,nr=1,chardev=wire,name=org.hull.wire");
	add(a, "-object");
	add(a, "rng-builtin,id=rng");
	add(a, "-device");
	add(a, "virtio-rng-pci,rng=rng,disable-legacy=on");
	/* A new generation id at every start: a restored guest's kernel detects that it is a copy and reseeds its
	 * generator. */
	add(a, "-device");
	add(a, "vmgenid,guid=auto");
	add(a, "-device");
	add(a, "virtio-balloon-pci,id=balloon,free-page-reporting=on,disable-legacy=on");
}

char **hull_qemu_args(const char *qemu, const struct hull_engine_config *config, bool kvm,
		      const struct hull_qemu_fds *fds)
{
	struct vec a = {.v = calloc(ARGS_MAX, sizeof(char *))};
	_cleanup_free_ char *name = escaped(config->name);
	a.failed = !a.v || !name;
	add(&a, "%s", qemu);
	add(&a, "-name");
	add(&a, "guest=%s,process=hull-vm", name ? name : "");
	add(&a, "-nodefaults");
	add(&a, "-no-user-config");
	add(&a, "-no-reboot");
	add(&a, "-display");
	add(&a, "none");
	add(&a, "-sandbox");
	add(&a, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	accel_args(&a, kvm);
	machine_args(&a, config);
	if (config->restore) {
		/* After loading it stays paused and reports that. */
		add(&a, "-S");
		add(&a, "-global");
		add(&a, "migration.x-events=on");
		add(&a, "-incoming");
		add(&a, "fd:%d", fds->device);
	} else {
		kernel_args(&a, config, kvm);
	}
	for (size_t i = 0; i < config->disk_count; i++)
		disk_args(&a, &config->disks[i], i, fds->disks[i]);
	device_args(&a, fds);
	if (a.failed)
		hull_argv_free(&a.v);
	return a.v;
}

char *hull_engine_arguments(const struct hull_engine_config *config, bool kvm)
{
	struct hull_engine_config any = *config;
	const struct hull_qemu_fds fds = {0};
	any.name = any.kernel = any.initrd = "";
	if (!any.cmdline)
		any.cmdline = "";
	_cleanup_(hull_argv_free) char **argv = hull_qemu_args("", &any, kvm, &fds);
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	if (!argv)
		return NULL;
	for (char **arg = argv; *arg; arg++)
		if (hull_buf_addf(&text, "%s\n", *arg) < 0)
			return NULL;
	return strndup((const char *)hull_buf_bytes(&text), text.len);
}
