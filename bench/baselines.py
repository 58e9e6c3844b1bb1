# SPDX-License-Identifier: Apache-2.0
"""What Hull's starts are compared with, each on the same machine and of the same kind: used by start.py.

plain      QEMU by hand with the kernel, initramfs and disks of Hull's base image: until its init opens its port
container  runc with the base image's files as its root, read-only, no network
debian     a Debian with systemd on a disk of its own, kernel and initrd given to QEMU: until the login prompt

What they need is made once and kept in BENCH_CACHE (default ~/.cache/hull-bench): the base image's files, unpacked, and the
Debian's disk (mmdebstrap, from the mirror that this machine's apt uses). Whatever is missing here is left out, saying so.
"""
import glob
import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

CACHE = os.environ.get("BENCH_CACHE") or os.path.expanduser("~/.cache/hull-bench")
LIMIT = 180  # seconds for a boot


class Missing(Exception):
    """Cannot be compared here, and why."""


def need(*programs):
    for program in programs:
        if not shutil.which(program) and not os.access(f"/usr/sbin/{program}", os.X_OK):
            raise Missing(f"no {program} here")
    if os.geteuid() != 0:
        raise Missing("it takes root")


def run(*argv, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Missing(f"{argv[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def image_dir():
    home = os.environ.get("HULL_HOME") or os.path.join(
        os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "hull")
    return os.path.realpath(os.path.join(home, "images", "default"))


def machine(accel, cpus, memory):
    cpu = ["-accel", "kvm", "-cpu", "host"] if accel == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", "q35", *cpu,
            "-smp", cpus, "-m", memory]


def kill(process):
    process.kill()
    process.wait()


class Plain:
    """A boot of the base image, by hand."""

    name = "plain QEMU: the same image booted, until its init is there"

    def __init__(self, accel, cpus, memory):
        need("qemu-system-x86_64")
        self.dir = image_dir()
        initramfs = sorted(glob.glob(f"{self.dir}/initramfs-*"), key=os.path.getmtime)
        if not initramfs:
            raise Missing("the base image has no initramfs yet")
        self.argv = [*machine(accel, cpus, memory), "-kernel", f"{self.dir}/vmlinux", "-initrd", initramfs[-1], "-append",
                     "console=ttyS0 quiet panic=-1" + ("" if accel == "kvm" else " mitigations=off tsc=reliable")]

    def __call__(self):
        with tempfile.TemporaryDirectory(prefix="hull-bench-") as tmp:
            run("cp", "--sparse=always", f"{self.dir}/seed.img", f"{tmp}/disk")
            ours, theirs = socket.socketpair()
            wire, their_wire = socket.socketpair()
            begin = time.monotonic()
            with subprocess.Popen(
                    [*self.argv, "-drive", f"file={self.dir}/base.erofs,format=raw,readonly=on,if=none,id=base",
                     "-device", "virtio-blk-pci,drive=base,serial=base", "-drive",
                     f"file={tmp}/disk,format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk,serial=disk",
                     "-chardev", f"socket,id=wire,fd={their_wire.fileno()}", "-device", "virtio-serial-pci", "-device",
                     "virtserialport,id=port,chardev=wire,name=org.hull.wire", "-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
                     "-mon", "chardev=qmp,mode=control"], pass_fds=[theirs.fileno(), their_wire.fileno()],
                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as vm:
                theirs.close()
                their_wire.close()
                try:
                    ours.settimeout(LIMIT)
                    ours.sendall(b'{"execute": "qmp_capabilities"}\n')
                    for line in ours.makefile():
                        event = json.loads(line)
                        if event.get("event") == "VSERPORT_CHANGE" and event["data"]["open"]:
                            return (time.monotonic() - begin) * 1000
                    raise Missing("QEMU ended")
                except TimeoutError as late:
                    raise Missing(f"nothing came within {LIMIT} s") from late
                finally:
                    kill(vm)
                    ours.close()
                    wire.close()


class Container:
    """runc, with the base image's files."""

    name = "a container: runc with the same root file system, `true`"

    def __init__(self, *_):
        need("runc", "fsck.erofs")
        self.root = os.path.join(CACHE, "rootfs-" + os.path.basename(image_dir()))
        if not os.path.isdir(self.root):
            os.makedirs(CACHE, mode=0o700, exist_ok=True)
            shutil.rmtree(self.root + ".new", ignore_errors=True)
            run("fsck.erofs", f"--extract={self.root}.new", f"{image_dir()}/base.erofs")
            os.rename(self.root + ".new", self.root)
        self()

    def __call__(self):
        with tempfile.TemporaryDirectory(prefix="hull-bench-") as bundle:
            run("runc", "spec", "-b", bundle)
            with open(f"{bundle}/config.json", encoding="utf-8") as f:
                config = json.load(f)
            config["process"].update(terminal=False, args=["true"])
            config["root"] = {"path": self.root, "readonly": True}
            with open(f"{bundle}/config.json", "w", encoding="utf-8") as f:
                json.dump(config, f)
            begin = time.monotonic()
            run("runc", "run", "-b", bundle, f"hull-bench-{os.getpid()}")
            return (time.monotonic() - begin) * 1000


def mirror():
    """The suite and the mirror of this machine's own packages."""
    suite = run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
    for path in glob.glob("/etc/apt/sources.list") + glob.glob("/etc/apt/sources.list.d/*"):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for pattern in (r"(?m)^deb\s+(?:\[.*\]\s+)?(\S+/debian/?)\s+" + suite, r"(?m)^URIs:\s*(\S+/debian/?)\s*$"):
            found = re.search(pattern, text)
            if found:
                return suite, found.group(1)
    raise Missing("apt's sources name no mirror of Debian")


class Debian:
    """A full Debian, as an image for the cloud would be, but its kernel is loaded without a boot loader."""

    name = "a full VM: Debian with systemd, until the login prompt"
    packages = "linux-image-cloud-amd64,systemd-sysv,udev,dbus,initramfs-tools,openssh-server,ifupdown,isc-dhcp-client"

    def __init__(self, accel, cpus, memory):
        need("qemu-system-x86_64", "mmdebstrap", "mke2fs")
        self.dir = os.path.join(CACHE, "debian")
        if not os.path.isdir(self.dir):
            self.make()
        self.argv = [*machine(accel, cpus, memory), "-kernel", f"{self.dir}/vmlinuz", "-initrd", f"{self.dir}/initrd",
                     "-append", "root=/dev/vda rw console=ttyS0", "-serial", "stdio", "-device", "virtio-rng-pci"]

    def make(self):
        suite, url = mirror()
        os.makedirs(CACHE, mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=CACHE) as tmp:
            root, out = f"{tmp}/root", f"{tmp}/out"
            os.mkdir(out)
            run("mmdebstrap", "--variant=important", f"--include={self.packages}", "--customize-hook=echo debian >$1/etc/hostname",
                suite, root, url)
            for kind in ("vmlinuz", "initrd"):
                shutil.copy(sorted(glob.glob(f"{root}/boot/{kind}*"))[-1], f"{out}/{kind}")
            run("mke2fs", "-q", "-t", "ext4", "-d", root, f"{out}/disk", "3G")
            os.rename(out, self.dir)

    def __call__(self):
        with tempfile.TemporaryDirectory(prefix="hull-bench-") as tmp:
            run("cp", "--sparse=always", f"{self.dir}/disk", f"{tmp}/disk")
            begin = time.monotonic()
            with subprocess.Popen([*self.argv, "-drive", f"file={tmp}/disk,format=raw,if=virtio"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as vm:
                try:
                    seen = b""
                    while b" login:" not in seen:
                        if not select.select([vm.stdout], [], [], LIMIT)[0]:
                            raise Missing(f"nothing came within {LIMIT} s")
                        more = os.read(vm.stdout.fileno(), 4096)
                        if not more:
                            raise Missing("QEMU ended before the login prompt")
                        seen = (seen + more)[-8192:]
                    took = (time.monotonic() - begin) * 1000
                    with open(f"/proc/{vm.pid}/smaps_rollup", encoding="ascii") as f:
                        self.pss = int(re.search(r"\nPss:\s+(\d+)", f.read()).group(1)) / 1024
                    return took
                finally:
                    kill(vm)
