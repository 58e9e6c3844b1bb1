# SPDX-License-Identifier: Apache-2.0
"""The figures of Hull, measured on the machine it runs on: `make bench`.

usage: bench.py HULL [boot] [exec] [idle] [network] [workspace]

Measures from the outside, with the command a user has: wall-clock time of whole processes, processor time and memory
from /proc. Prints Markdown: the machine and the versions first, then a table with the median, the 5th to 95th
percentile and the number of runs. What is measured side by side (ssh to localhost, docker exec) runs in turns with
Hull's own, so that both meet the same machine, and is left out, saying so, where the machine has no such program.

Everything it starts it removes: its sandboxes, and its own sshd (on the loopback only, with keys of its own).
Environment: BENCH_BOOTS (5), BENCH_EXECS (100), BENCH_IDLE_SECONDS (20); for the network, network.py says.
"""
import getpass
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from figures import children, number, percentile, pss_mib  # noqa: E402 (beside this file; no compiled ones in the tree)

BOOTS = int(os.environ.get("BENCH_BOOTS", "5"))
EXECS = int(os.environ.get("BENCH_EXECS", "100"))
IDLE_SECONDS = float(os.environ.get("BENCH_IDLE_SECONDS", "20"))
MEMORY, CPUS = "2g", "2"

rows = []
notes = []
sections = []  # further Markdown, behind the table


def record(what, unit, values):
    rows.append((what, number(statistics.median(values)), f"{number(percentile(values, 5))} to {number(percentile(values, 95))}",
                 unit, len(values)))
    print(f"... {what}: {rows[-1][1]} {unit}", file=sys.stderr)


class Hull:
    """The command, and the sandboxes that this run made."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.made = []
        self.workspace = tempfile.mkdtemp(prefix="hull-bench-ws-")

    def __call__(self, *args, check=True):
        done = subprocess.run([self.path, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"bench: hull {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def create(self):
        name = f"bench-{os.getpid()}-{len(self.made)}"
        self.made.append(name)
        self("create", "-q", "--cold", "--name", name, "--cpus", CPUS, "-m", MEMORY, "shell", self.workspace)
        return name

    def about(self, name):
        return next(s for s in json.loads(self("ls", "--json")) if s["name"] == name)

    def remove(self, name):
        self("rm", "-f", name, check=False)

    def docker_ready(self, name):
        """Answers once dockerd does: a connection to its socket waits until then."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(runtime_dir(), name, "docker.sock"))
            s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if not s.recv(64).startswith(b"HTTP/1.0 200"):
                raise SystemExit(f"bench: Docker in {name} does not answer as it should")


def runtime_dir():
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return os.path.join(base, "hull")
    own = f"/run/user/{os.getuid()}"
    return os.path.join(own, "hull") if os.path.isdir(own) else f"/tmp/hull-{os.getuid()}"


def timed(argv):
    begun = time.monotonic()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic() - begun) * 1000


# --- boot ---

def bench_boot(hull):
    to_exec, to_docker, to_end = [], [], []
    for _ in range(BOOTS):
        name = hull.create()
        begun = time.monotonic()
        hull("start", name)
        hull("exec", name, "true")
        to_exec.append(time.monotonic() - begun)
        hull.docker_ready(name)
        to_docker.append(time.monotonic() - begun)
        begun = time.monotonic()
        hull("stop", name)
        to_end.append(time.monotonic() - begun)
        hull.remove(name)
    record("cold boot: `hull start` to the first `hull exec` answered", "s", to_exec)
    record("cold boot: `hull start` to Docker answering", "s", to_docker)
    record("`hull stop`: everything shut down and unmounted", "s", to_end)


# --- exec ---

class Sshd:
    """An sshd of our own on a free port of the loopback, and the command to run `true` through it."""

    def __init__(self, home):
        self.process = None
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not os.access(program, os.X_OK) or not shutil.which("ssh"):
            raise LookupError("no openssh-server on this machine")
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{home}/{key}"], check=True)
        shutil.copy(f"{home}/user.pub", f"{home}/authorized")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with open(f"{home}/config", "w", encoding="utf-8") as f:
            f.write(f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n"
                    f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.process = subprocess.Popen([program, "-D", "-e", "-f", f"{home}/config"], stderr=open(f"{home}/log", "w"))
        self.argv = ["ssh", "-F", "none", "-i", f"{home}/user", "-p", str(port), "-o", "StrictHostKeyChecking=no",
                     "-o", f"UserKnownHostsFile={home}/known", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
                     f"{getpass.getuser()}@127.0.0.1"]
        self.kept = [*self.argv[:-1], "-o", "ControlMaster=auto", "-o", f"ControlPath={home}/c", "-o", "ControlPersist=60",
                     self.argv[-1]]
        for _ in range(50):  # until it listens
            if subprocess.run([*self.argv, "true"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        with open(f"{home}/log", encoding="utf-8") as f:
            words = f.read().strip().splitlines()
        self.close()
        raise LookupError(f"sshd did not start: {words[-1] if words else 'no reason given'}")

    def close(self):
        if self.process:
            subprocess.run([*self.kept[:-1], "-O", "exit", self.kept[-1]], capture_output=True, stdin=subprocess.DEVNULL)
            self.process.terminate()
            self.process.wait()


def docker_container():
    """The id of a container to exec into on this machine's own Docker daemon, with an image that is there already."""
    if not shutil.which("docker"):
        raise LookupError("no docker client on this machine")
    images = subprocess.run(["docker", "images", "-q"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if images.returncode != 0:
        raise LookupError("no Docker daemon on this machine")
    for image in images.stdout.split():
        run = subprocess.run(["docker", "run", "-d", "--rm", "--network", "none", "--entrypoint", "sleep", image, "600"],
                             capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if run.returncode == 0:
            return run.stdout.strip()
    raise LookupError("no image in this machine's Docker that can sleep")


def bench_exec(hull):
    name = hull.create()
    hull("start", name)
    hull.docker_ready(name)
    time.sleep(5)  # what booting stirred up has settled
    ours = [hull.path, "exec", name, "true"]
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as home:
        others, sshd, container = {}, None, None
        try:
            sshd = Sshd(home)
            others["`ssh localhost true`, a connection each, own sshd, no VM"] = [*sshd.argv, "true"]
            others["`ssh localhost true` over a connection kept open, own sshd, no VM"] = [*sshd.kept, "true"]
        except LookupError as why:
            notes.append(f"ssh is not compared: {why}.")
        try:
            container = docker_container()
            others["`docker exec C true`, this machine's Docker, no VM"] = ["docker", "exec", container, "true"]
        except LookupError as why:
            notes.append(f"docker exec is not compared: {why}.")
        try:
            for argv in (ours, *others.values()):
                timed(argv)
            values, other_values = [], {what: [] for what in others}
            for _ in range(EXECS):
                values.append(timed(ours))
                for what, argv in others.items():
                    other_values[what].append(timed(argv))
            record("exec round trip: `hull exec NAME true`", "ms", values)
            for what, measured in other_values.items():
                record(f"exec round trip: {what}", "ms", measured)
        finally:
            if sshd:
                sshd.close()
            if container:
                subprocess.run(["docker", "kill", container], capture_output=True, stdin=subprocess.DEVNULL)
    hull.remove(name)


# --- idle ---

def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def bench_idle(hull):
    keeper_cpu, all_cpu, keeper_memory, vm_memory = [], [], [], []
    for _ in range(3):
        name = hull.create()
        hull("start", name)
        hull.docker_ready(name)
        time.sleep(20)  # the boot's last services, Docker's first housekeeping
        keeper = hull.about(name)["pid"]
        machine = children(keeper)
        before = cpu_seconds([keeper]), cpu_seconds(machine)
        begun = time.monotonic()
        time.sleep(IDLE_SECONDS)
        passed = time.monotonic() - begun
        own, vm = cpu_seconds([keeper]) - before[0], cpu_seconds(machine) - before[1]
        keeper_cpu.append(100 * own / passed)
        all_cpu.append(100 * (own + vm) / passed)
        keeper_memory.append(pss_mib(keeper))
        vm_memory.append(pss_mib(*machine))
        hull.remove(name)
    what = f"idle for {IDLE_SECONDS:.0f} s, Docker running"
    record(f"{what}: processor time of the whole sandbox", "% of one CPU", all_cpu)
    record(f"{what}: of which the keeper", "% of one CPU", keeper_cpu)
    record(f"{what}: memory of the keeper (Pss)", "MiB", keeper_memory)
    record(f"{what}: memory of the VM (Pss, limit {MEMORY})", "MiB", vm_memory)


# --- network, workspace: scripts of their own ---

def section(hull, script, what):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), script)
    done = subprocess.run([sys.executable, path, hull.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: the {what} could not be measured (see above)")
    sections.append(done.stdout)


def bench_network(hull):
    """Beside QEMU's slirp and passt, in machines of its own."""
    section(hull, "network.py", "network")


def bench_workspace(hull):
    """Beside the host and the sandbox's own disk."""
    section(hull, "workspace.py", "workspace")


# --- report ---

def first_line(argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "not there"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def engine(hull):
    """As the sandbox itself reports it: what ran, not what might."""
    name = hull.create()
    hull("start", name)
    about = hull.about(name)
    hull.remove(name)
    return about["engine"]


def report(hull, seconds):
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    with open("/etc/os-release", encoding="utf-8") as f:
        release = next((line.split("=", 1)[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME=")), "Linux")
    print(f"# Benchmarks\n\nPrinted by `make bench` on {time.strftime('%Y-%m-%d', time.gmtime())}.\n")
    print(f"- machine: {processor()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, {release}, Linux {platform.release()}")
    print(f"- engine: {engine(hull)}")
    print(f"- versions: {first_line([hull.path, 'version'])}; {first_line(['qemu-system-x86_64', '--version'])}")
    print(f"- sandboxes: {CPUS} CPUs, {MEMORY}")
    for note in notes:
        print(f"- {note}")
    print(f"- took {seconds:.0f} s\n\n| what | median | 5 % to 95 % | unit | n |\n|---|---:|---:|---|---:|")
    for row in rows:
        print("| {} | {} | {} | {} | {} |".format(*row))
    for section in sections:
        print(f"\n{section.rstrip()}")


def main():
    benches = {"boot": bench_boot, "exec": bench_exec, "idle": bench_idle, "network": bench_network,
               "workspace": bench_workspace}
    if len(sys.argv) < 2 or any(b not in benches for b in sys.argv[2:]):
        raise SystemExit(f"usage: bench.py HULL [{'] ['.join(benches)}]")
    hull = Hull(sys.argv[1])
    begun = time.monotonic()
    if not json.loads(hull("image", "ls", "--json")):
        raise SystemExit("bench: there is no base image yet: run `hull image build` first")
    try:
        for name in sys.argv[2:] or benches:
            benches[name](hull)
        report(hull, time.monotonic() - begun)
    finally:
        for name in hull.made:
            hull.remove(name)
        os.rmdir(hull.workspace)


main()
