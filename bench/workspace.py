# SPDX-License-Identifier: Apache-2.0
"""The workspace beside the guest's own disk and the host: `python3 bench/workspace.py build/hull [WORKLOAD...]`.

Every workload runs in three directories in turns: on the host, on the sandbox's disk, and in a workspace (a directory of
the host mounted in that sandbox). The clock runs where the work runs, so starting a command in the sandbox is not in it.
"cold" means that the guest's caches were dropped before (the host's were not, for none of the three). Prints Markdown: medians,
the smallest and largest value, and the workspace's ratio to the sandbox's disk.

status, clone    git status in a generated repository of BENCH_FILES files (50000), warm and cold; git clone of it
npm              npm ci of the lock file that npm makes for BENCH_NPM ("express@4 webpack@5"); packages come from npm's cache,
                 which the first, untimed run fills over the network; needs npm
build            a parallel C build of BENCH_SOURCES files (200)
find, grep       in the same tree as status, warm and cold
stream           a file of BENCH_MIB (1024) written with fsync, read cold, read again
random           BENCH_RANDOM (5000) reads, then writes, of 4 KiB in a file of a quarter of BENCH_MIB
small            BENCH_SMALL (10000) files created, then removed

Where the processor is emulated, all of these defaults are a tenth. BENCH_ROUNDS (3), BENCH_MEMORY (2g), BENCH_CPUS (2), BENCH_DIR (where the host's directories are made, default: the temporary
one). Everything it makes it removes.
"""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
NPM = os.environ.get("BENCH_NPM", "express@4 webpack@5")

# Runs where the work is done: setup untimed, then the command timed; seconds on the last line.
TIMER = """
import subprocess, sys, time
setup, command = sys.argv[1:]
def run(text):
    done = subprocess.run(["bash", "-euc", text], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit("%s: %s" % (text.strip()[:200], done.stderr.decode(errors="replace")[-600:]))
run(setup)
begun = time.monotonic()
run(command)
print(time.monotonic() - begun)
"""

TREE = """
if [ ! -e tree/.git/made ]; then rm -rf tree; mkdir tree; cd tree; python3 - <<'PY'
import os
for i in range(@FILES@):
    d = "d%d/e%d" % (i % 50, i // 50 % 40)
    os.makedirs(d, exist_ok=True)
    with open("%s/f%d.txt" % (d, i), "w") as f:
        f.write("line of file %d\\n" % i * (1 + i % 60))
PY
git init -q; git add .; git -c user.name=a -c user.email=a@a commit -qm all; git status --porcelain; touch .git/made; cd ..; fi
"""

BUILD = """
if [ ! -e src/Makefile ]; then mkdir -p src; cd src; python3 - <<'PY'
for i in range(@SOURCES@):
    with open("m%d.c" % i, "w") as f:
        f.write('#include <stdio.h>\\n#include <stdlib.h>\\n#include <string.h>\\n#include "all.h"\\n')
        for k in range(40):
            f.write("int f%d_%d(int x, char *p)\\n{\\n\\tif (x > %d)\\n\\t\\tprintf(\\"%%s\\", p);\\n\\treturn x * %d;\\n}\\n" % (i, k, k, k))
with open("all.h", "w") as f:
    for i in range(@SOURCES@):
        f.write("int f%d_0(int x, char *p);\\n" % i)
with open("main.c", "w") as f:
    f.write('#include "all.h"\\nint main(void)\\n{\\n\\treturn f0_0(0, 0);\\n}\\n')
with open("Makefile", "w") as f:
    f.write("O := $(patsubst %.c,%.o,$(wildcard *.c))\\nprog: $(O)\\n\\t$(CC) -o $@ $(O)\\n%.o: %.c all.h\\n\\t$(CC) -O1 -c -o $@ $<\\n")
PY
cd ..; fi
make -s -C src -j$(nproc); rm -f src/*.o src/prog
"""

RANDOM_IO = """
python3 -c "
import os, random
r, n = random.Random(1), @BIG@ // 4096
fd = os.open('random', os.O_RDWR)
for i in range(@RANDOM@):
    %s
%s"
"""
MAKE_RANDOM = "[ -e random ] || { dd if=/dev/urandom of=random bs=1M count=@QUARTER@ status=none; sync random; }"

MAKE_SMALL = "python3 -c \"[open('small/%d' % i, 'w').write('x') for i in range(@SMALL@)]\""

NPM_SETUP = """
if [ ! -e app/package-lock.json ]; then mkdir -p app; cd app; npm init -y; npm install --package-lock-only --no-audit --no-fund @NPM@; cd ..; fi
cd app; [ -e .primed ] || { npm ci --no-audit --no-fund --ignore-scripts; touch .primed; }; rm -rf node_modules
"""

# name, what it is called, setup, command, what is to be cold before it
WORKLOADS = [
    ("status", "git status, @FILES@ files", TREE, "git -C tree status --porcelain", False),
    ("status", "git status, @FILES@ files, cold", TREE, "git -C tree status --porcelain", True),
    ("clone", "git clone of @FILES@ files", TREE + "rm -rf copy", "git clone -q --no-local tree copy", False),
    ("find", "find, @FILES@ files", TREE, "find tree -type f -size +1k | wc -l", False),
    ("find", "find, @FILES@ files, cold", TREE, "find tree -type f -size +1k | wc -l", True),
    ("grep", "grep -r, @FILES@ files", TREE, "grep -rc --exclude-dir=.git 'file 77$' tree || true", False),
    ("grep", "grep -r, @FILES@ files, cold", TREE, "grep -rc --exclude-dir=.git 'file 77$' tree || true", True),
    ("npm", "npm ci of @NPM@", NPM_SETUP, "cd app; npm ci --prefer-offline --no-audit --no-fund --ignore-scripts", False),
    ("build", "make -j, @SOURCES@ C files", BUILD, "make -s -C src -j$(nproc)", False),
    ("stream", "write @MIB@ MiB, fsync", "rm -f big", "dd if=/dev/zero of=big bs=1M count=@MIB@ conv=fsync status=none", False),
    ("stream", "read @MIB@ MiB, cold", "[ -e big ]", "dd if=big of=/dev/null bs=1M status=none", True),
    ("stream", "read @MIB@ MiB", "[ -e big ]", "dd if=big of=/dev/null bs=1M status=none", False),
    ("random", "@RANDOM@ random reads of 4 KiB, cold", MAKE_RANDOM,
     RANDOM_IO % ("os.pread(fd, 4096, r.randrange(n) * 4096)", ""), True),
    ("random", "@RANDOM@ random writes of 4 KiB, fsync", MAKE_RANDOM,
     RANDOM_IO % ("os.pwrite(fd, bytes(4096), r.randrange(n) * 4096)", "os.fsync(fd)"), False),
    ("small", "create @SMALL@ files", "rm -rf small; mkdir small",
     MAKE_SMALL, False),
    ("small", "remove @SMALL@ files", "rm -rf small; mkdir small; " + MAKE_SMALL, "rm -r small", False),
]


def workloads(emulated):
    """name, what it is called, setup, command, is it to be cold before."""
    def setting(name, default):  # an emulated processor is 10 to 50 times slower
        return int(os.environ.get("BENCH_" + name, default // 10 if emulated else default))

    files, sources, mib = setting("FILES", 50000), setting("SOURCES", 200), setting("MIB", 1024)
    random, small = setting("RANDOM", 5000), setting("SMALL", 10000)
    names = {"FILES": files, "SOURCES": sources, "MIB": mib, "RANDOM": random, "SMALL": small, "BIG": mib // 4 << 20,
             "QUARTER": mib // 4, "NPM": NPM}
    fill = {"@" + k + "@": str(v) for k, v in names.items()}

    def filled(text):
        for key, value in fill.items():
            text = text.replace(key, value)
        return text

    return [(name, filled(what), filled(setup), filled(command), cold) for name, what, setup, command, cold in WORKLOADS]


class Failed(Exception):
    """A workload that cannot be run here: the table says why."""


class Sandbox:
    def __init__(self, hull, workspace):
        self.hull, self.name = os.path.abspath(hull), f"bench-ws-{os.getpid()}"
        self.run("create", "-q", "--cold", "--no-docker", "--name", self.name, "--cpus", os.environ.get("BENCH_CPUS", "2"), "-m",
                 os.environ.get("BENCH_MEMORY", "2g"), "shell", workspace)
        self.run("start", "-q", self.name)
        self.run("exec", self.name, "mkdir", "/home/agent/bench")
        # A machine whose network has a certificate authority of its own.
        own = os.environ.get("NODE_EXTRA_CA_CERTS") or os.environ.get("SSL_CERT_FILE")
        if own and os.path.exists(own):
            self.run("cp", own, f"{self.name}:/home/agent/ca.pem")

    def run(self, *args, check=True):
        done = subprocess.run([self.hull, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode:
            raise Failed(f"hull {args[0]}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def forget(self):
        self.run("exec", "-u", "root", self.name, "sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches")

    def timed(self, where, setup, command):
        said = self.run("exec", "-w", where, "-e", "NODE_EXTRA_CA_CERTS=/home/agent/ca.pem", self.name, "python3", "-c", TIMER,
                        setup, command)
        return float(said.split()[-1])

    def remove(self):
        self.run("rm", "-f", self.name, check=False)


def on_host(where, setup, command):
    done = subprocess.run([sys.executable, "-c", TIMER, setup, command], cwd=where, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"on the host: {done.stderr.strip()[-600:]}")
    return float(done.stdout.split()[-1])


def cell(values):
    if not values:
        return "not there"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(box, host_dir, workspace, workload):
    name, what, setup, command, cold = workload
    local = "/home/agent/bench"
    times = {"host": [], "disk": [], "workspace": []}
    native = name != "npm" or shutil.which("npm")
    for place in times:  # the first run of each prepares: untimed
        if place == "host":
            if native:
                on_host(host_dir, setup, "true")
        else:
            box.timed(local if place == "disk" else workspace, setup, "true")
    for _ in range(ROUNDS):
        for place, values in times.items():
            if place == "host":
                if native:
                    values.append(on_host(host_dir, setup, command))
                continue
            where = local if place == "disk" else workspace
            if cold:
                box.forget()
            # A setup that looks at the files would warm them: it is done already.
            values.append(box.timed(where, "true" if cold else setup, command))
        print(f"... {what}: {[round(v[-1], 2) if v else None for v in times.values()]}", file=sys.stderr)
    ratio = statistics.median(times["workspace"]) / max(statistics.median(times["disk"]), 1e-6)
    print(f"| {what} | {cell(times['host'])} | {cell(times['disk'])} | {cell(times['workspace'])} | {ratio:.2f} |", flush=True)


def main():
    names = list(dict.fromkeys(w[0] for w in WORKLOADS))
    if len(sys.argv) < 2 or any(a not in names for a in sys.argv[2:]):
        raise SystemExit(f"usage: workspace.py HULL [{'] ['.join(names)}]")
    chosen = sys.argv[2:] or names
    top = tempfile.mkdtemp(prefix="hull-bench-", dir=os.environ.get("BENCH_DIR"))
    host_dir, workspace = os.path.join(top, "host"), os.path.join(top, "workspace")
    os.mkdir(host_dir)
    os.mkdir(workspace)
    box = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with what is made here removed
    try:
        box = Sandbox(sys.argv[1], workspace)
        emulated = next(b for b in json.loads(box.run("ls", "--json")) if b["name"] == box.name)["accel"] != "kvm"
        print(f"## Workspace\n\nSeconds: the median (smallest to largest) of {ROUNDS} runs in turns; the ratio is workspace to "
              f"sandbox's disk.{' The processor is emulated: sizes are a tenth.' if emulated else ''}\n\n| what | host | sandbox's disk | workspace | ratio |\n|---|---:|---:|---:|---:|")
        for workload in workloads(emulated):
            if workload[0] not in chosen:
                continue
            try:
                measure(box, host_dir, workspace, workload)
            except Failed as why:
                print(f"| {workload[1]} | not measured: {' '.join(str(why).split())[-300:]} | | | |", flush=True)
    except Failed as why:
        raise SystemExit(f"workspace.py: {why}") from None
    finally:
        if box:
            box.remove()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
