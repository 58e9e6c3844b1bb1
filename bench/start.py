# SPDX-License-Identifier: Apache-2.0
"""How fast a sandbox starts, what a copy costs: `python3 bench/start.py build/hull [PART...]`.

Measures from the outside, with the command a user has. Prints Markdown: median, 95th percentile, runs. Parts, default all:

first      create to the first command answered, with its stages and what of that time they add up to
docker     start to `docker ps` answered, and to a first `docker run` done
verbs      fork (and how long the forked one stands still, per GiB of memory it had changed), pause, resume, snapshot
many       1, 10 and 50 clones at once: time until all answer, memory (PSS) and disk of each
cold       the same image booted by Hull
baselines  plain QEMU, a container, a full Debian VM: see baselines.py

Everything it starts it removes. Environment: BENCH_STARTS (30), BENCH_CLONES ("1 10 50"), BENCH_MEMORY (1g), BENCH_CPUS (2).
"""
import datetime
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import baselines  # noqa: E402 (beside this file, which is not to leave compiled ones in the tree)
from figures import number, percentile  # noqa: E402

STARTS = int(os.environ.get("BENCH_STARTS", "30"))
CLONES = [int(n) for n in os.environ.get("BENCH_CLONES", "1 10 50").split()]
MEMORY = os.environ.get("BENCH_MEMORY", "1g")
CPUS = os.environ.get("BENCH_CPUS", "2")
HOME = os.environ.get("HULL_HOME") or os.path.join(
    os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "hull")

rows = []
notes = []


def record(what, unit, values):
    rows.append((what, number(statistics.median(values)), number(percentile(values, 95)), unit, len(values)))
    print(f"... {what}: {rows[-1][1]} {unit}, p95 {rows[-1][2]}", file=sys.stderr)


class Hull:
    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.made = []
        self.dir = tempfile.mkdtemp(prefix="hull-bench-")
        os.environ.pop("HULL_COLD", None)

    def __call__(self, *args, check=True):
        done = subprocess.run([self.path, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.dir)
        if check and done.returncode != 0:
            raise SystemExit(f"start.py: hull {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def name(self):
        self.made.append(f"start-{os.getpid()}-{len(self.made)}")
        return self.made[-1]

    def create(self, *flags):
        name = self.name()
        self("create", "-q", *flags, "--name", name, "--cpus", CPUS, "-m", MEMORY, "shell")
        return name

    def about(self, name):
        return next(s for s in json.loads(self("ls", "--json")) if s["name"] == name)

    def remove(self, *names):
        self("rm", "-f", *names, check=False)

    def clean(self):
        left = [n for n in self("ls", "-q").split() if n.startswith(f"start-{os.getpid()}-")]
        if left:
            self.remove(*left)
        shutil.rmtree(self.dir, ignore_errors=True)


def timed(fn, *args):
    begin = time.monotonic()
    fn(*args)
    return (time.monotonic() - begin) * 1000


def keeper_began(name):
    """When the keeper wrote its first line, by the wall clock."""
    with open(os.path.join(HOME, "sandboxes", name, "keeper.log"), encoding="utf-8") as f:
        return datetime.datetime.fromisoformat(f.readline().split()[0].replace("Z", "+00:00")).timestamp()


def first(hull):
    """The stages, each measured by itself, so that what they leave out shows: create (the template looked at, the disk cloned),
    command line (until the keeper is there), spawn and map (until QEMU runs), restore (QEMU loads), wire up (the guest wakes
    and says hello), identity (until it is configured), first exec (until the keeper has the end of the command)."""
    total, share = [], []
    stages = {"create": [], "command line": [], "spawn, map": [], "restore": [], "wire up": [], "identity": [], "first exec": []}
    for _ in range(STARTS):
        name = hull.name()
        create = timed(hull, "create", "-q", "--name", name, "--cpus", CPUS, "-m", MEMORY, "shell")
        wall = time.time()
        answered = timed(hull, "exec", name, "true")
        boot = hull.about(name)["boot"]
        values = [create, max(0, (keeper_began(name) - wall) * 1000), boot["spawn_ms"], boot["load_ms"], boot["wire_ms"],
                  boot["identity_ms"], boot["first_exec_ms"]]
        for stage, value in zip(stages.values(), values):
            stage.append(value)
        total.append(create + answered)
        share.append(sum(values) / (create + answered) * 100)
        hull.remove(name)
    record("create to the first command answered", "ms", total)
    for stage, values in stages.items():
        record(f"&nbsp;&nbsp;of that: {stage}", "ms", values)
    record("&nbsp;&nbsp;the stages, of the whole", "%", share)
    whole = []
    for _ in range(STARTS):
        whole.append(timed(hull, "run", "-q", "--rm", "--cpus", CPUS, "-m", MEMORY, "shell", "--", "true"))
    record("`hull run --rm -- true` with this directory mounted, from nothing to removed", "ms", whole)


def docker(hull):
    ps, run = [], []
    for _ in range(STARTS):
        name = hull.create()
        ps.append(timed(hull, "exec", name, "docker", "ps"))
        hull.remove(name)
        name = hull.create()
        run.append(timed(hull, "exec", name, "docker", "run", "--rm", "localhost/debian:trixie", "true"))
        hull.remove(name)
    record("start to `docker ps` answered", "ms", ps)
    record("start to a first `docker run` done", "ms", run)


def dirty(hull, name, mib):
    """A process in it that holds so much memory of its own, every page different."""
    hull("exec", "-d", name, "python3", "-c",
         f"import os,time\nb=bytearray(os.urandom(4096))*({mib}*256)\nopen('/dev/shm/ok','w')\ntime.sleep(9999)")
    while hull("exec", name, "sh", "-c", "ls /dev/shm").strip() == "":
        time.sleep(0.2)


def verbs(hull):
    times = {"fork": [], "snapshot create": [], "pause": [], "resume": []}
    for _ in range(STARTS):
        name, copy = hull.create(), hull.name()
        hull("exec", name, "true")
        times["fork"].append(timed(hull, "fork", "-q", name, copy))
        times["snapshot create"].append(timed(hull, "snapshot", "create", "-q", f"{name}@b"))
        times["pause"].append(timed(hull, "pause", "-q", name))
        times["resume"].append(timed(hull, "resume", "-q", name))
        hull.remove(name, copy)
    for what, values in times.items():
        record(what, "ms", values)
    still = []
    for _ in range(3):
        name, copy = hull.create(), hull.name()
        dirty(hull, name, 512)
        hull("fork", "-q", name, copy)
        log = os.path.join(HOME, "sandboxes", name, "keeper.log")
        with open(log, encoding="utf-8") as f:
            line = [l for l in f if " stood still for " in l][-1]
        copied, ms = float(line.split("saved: ")[1].split()[0]), float(line.split("still for ")[1].split()[0])
        still.append(ms / (copied / 1024))
        hull.remove(name, copy)
    record("fork: stands still, per GiB of changed memory", "ms", still)


def many(hull):
    for n in CLONES:
        names = [hull.create() for _ in range(n)]
        at_once = timed(lambda: hull("start", "-q", *names))
        each = timed(lambda: [hull("exec", name, "true") for name in names])
        about = [s for s in json.loads(hull("ls", "--json")) if s["name"] in names]
        record(f"{n} clones at once: all up", "ms", [at_once])
        record(f"{n} clones: a command in each, one after the other, per clone", "ms", [each / n])
        record(f"{n} clones: memory of each (PSS)", "MiB", [s["memory"] / (1 << 20) for s in about])
        record(f"{n} clones: disk of each", "MiB", [s["disk_used"] / (1 << 20) for s in about])
        hull.remove(*names)


def cold(hull):
    times = []
    for _ in range(max(3, STARTS // 10)):
        name = hull.create("--cold")
        times.append(timed(hull, "exec", name, "true"))
        hull.remove(name)
    record("the same image booted by Hull (--cold): start to the first command", "ms", times)


def compare(hull):
    name = hull.create()
    hull("start", "-q", name)
    accel = hull.about(name)["engine"].rpartition("(")[2].rstrip(")")
    hull.remove(name)
    for kind, runs in ((baselines.Plain, max(3, STARTS // 6)), (baselines.Container, STARTS),
                       (baselines.Debian, max(2, STARTS // 10))):
        try:
            one = kind(accel, CPUS, MEMORY)
            record(one.name, "ms", [one() for _ in range(runs)])
            if hasattr(one, "pss"):
                record("&nbsp;&nbsp;its memory then (PSS)", "MiB", [one.pss])
        except baselines.Missing as why:
            notes.append(f"Left out: {kind.name}: {why}.")


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    parts = {"first": first, "docker": docker, "verbs": verbs, "many": many, "cold": cold, "baselines": compare}
    wanted = sys.argv[2:] or list(parts)
    if any(part not in parts for part in wanted):
        raise SystemExit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("start.py: asked to end"))  # and clean up
    hull = Hull(sys.argv[1])
    try:
        hull.remove(hull.create())  # the template is there
        for part in wanted:
            parts[part](hull)
    finally:
        hull.clean()
    print("## Starting")
    print(f"\n{CPUS} CPUs, {MEMORY}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} host CPUs at the end\n")
    print("| | p50 | p95 | | runs |\n|---|---:|---:|---|---:|")
    for what, p50, p95, unit, n in rows:
        print(f"| {what} | {p50} | {p95} | {unit} | {n} |")
    for note in notes:
        print(f"\n{note}")


main()
