# SPDX-License-Identifier: Apache-2.0
"""Hull's network beside QEMU's own (slirp) and passt: `bench.py HULL network`, or `network.py HULL`.

Three machines run at once, of one kernel, base image, QEMU, machine type, CPUs and memory: a sandbox, whose network is
Hull's gateway, and two with a virtio network card, one behind `-netdev user`, one behind passt. Their agents
(network_agent.py) do the same against the same servers on this host's loopback, in turns, so that all meet the same
machine. Memory is that of the process that is the network (Pss): hull-egress, passt; slirp is a part of QEMU, so it is
what QEMU has beyond the guest's RAM, less what the QEMU behind passt has.

Prints Markdown: medians, and the 5th to 95th percentile. Left out, saying so, is what this machine has no program for.
Environment: BENCH_NET_ROUNDS (10), BENCH_NET_MIB (64, of a transfer), BENCH_NET_CONNECTIONS (200), BENCH_NET_PINGS (500).
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from figures import children, number, percentile, pss_mib  # noqa: E402 (beside this file; no compiled ones in the tree)

ROUNDS = int(os.environ.get("BENCH_NET_ROUNDS", "10"))
SIZE = int(os.environ.get("BENCH_NET_MIB", "64")) << 20
CONNECTIONS = int(os.environ.get("BENCH_NET_CONNECTIONS", "200"))
PINGS = int(os.environ.get("BENCH_NET_PINGS", "500"))
CHANGES = 20
HERE = os.path.dirname(os.path.abspath(__file__))
GUEST, GATEWAY, NETWORK_DNS = "10.0.2.15", "10.0.2.2", "198.19.0.1"


def spread(values):
    return f"{number(statistics.median(values))} ({number(percentile(values, 5))} to {number(percentile(values, 95))})"


# --- servers on this host ---

class Servers:
    """bulk: sends or takes as many bytes as asked; echo: byte for byte; held: tells when its client is gone."""

    def __init__(self):
        self.gone = threading.Event()
        self.gone_at = 0.0
        self.bulk, self.echo, self.held = (self.listen(h) for h in (self.do_bulk, self.do_echo, self.do_held))

    def listen(self, handler):
        s = socket.create_server(("127.0.0.1", 0), backlog=512)

        def one(c):
            try:
                with c:
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    handler(c)
            except OSError:
                pass

        def loop():
            while True:
                c, _ = s.accept()
                threading.Thread(target=one, args=(c,), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
        return s.getsockname()[1]

    @staticmethod
    def do_bulk(c):
        size = b""
        while not size.endswith(b"\n"):
            size += c.recv(1)
        left = int(size)
        block, buffer = b"x" * (1 << 18), bytearray(1 << 18)
        while left > 0:
            n = min(left, len(block))
            c.sendall(block[:n])
            left -= n
        if left < 0:
            while left < 0:
                n = c.recv_into(buffer)
                if n == 0:
                    return
                left += n
            c.sendall(b"x")

    @staticmethod
    def do_echo(c):
        while data := c.recv(4096):
            c.sendall(data)

    def do_held(self, c):
        held = False
        try:
            while data := c.recv(4096):
                held = held or data == b"h"
                c.sendall(data)
        finally:
            if held:
                self.gone_at = time.monotonic()
                self.gone.set()


# --- machines ---

class Agent:
    def __init__(self, what, reader, writer, host):
        self.what, self.reader, self.writer, self.host = what, reader, writer, host

    def answer(self):
        line = self.reader.readline()
        if not line:
            raise SystemExit(f"network.py: the machine with {self.what} ended")
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"network.py: {self.what}: {answer['error']}")
        return answer["value"]

    def __call__(self, op, **arguments):
        self.writer.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        self.writer.flush()
        return self.answer()


class Sandbox:
    """A sandbox whose policy allows the servers."""

    def __init__(self, hull, servers):
        self.hull = os.path.abspath(hull)
        self.name = f"bench-net-{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="hull-bench-ws-")
        self.run("create", "-q", "--cold", "--no-docker", "--name", self.name, "--cpus", "2", "-m", "1g", "shell", self.dir)
        self.allow(servers.bulk, servers.echo, servers.held)
        self.run("start", "-q", self.name)
        self.process = subprocess.Popen([self.hull, "exec", "-i", self.name, "python3", "-u", "-c", agent_text()],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.agent = Agent("Hull's gateway", self.process.stdout, self.process.stdin, "host.hull.internal")
        self.agent.answer()
        self.about = next(s for s in json.loads(self.run("ls", "--json")) if s["name"] == self.name)

    def run(self, *args, check=True):
        done = subprocess.run([self.hull, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"network.py: hull {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def allow(self, *ports):
        """Put in place by rename, as editors do; returns when that was."""
        home = os.environ.get("HULL_HOME") or os.path.join(
            os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "hull")
        path = os.path.join(home, "sandboxes", self.name, "policy.yaml")
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write("preset: locked\nallow:\n" + "".join(f"  - localhost:{p}\n" for p in ports))
        os.chmod(path + ".new", 0o600)
        at = time.monotonic()
        os.rename(path + ".new", path)
        return at

    def family(self):
        found = {}
        for pid in [self.about["pid"], *children(self.about["pid"])]:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                found[f.read().strip()] = pid
        return found

    def engine_argv(self):
        for pid in children(self.about["pid"]):
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                argv = f.read().split("\0")
            if "-accel" in argv:
                return argv, os.readlink(f"/proc/{pid}/exe")
        raise SystemExit("network.py: the sandbox's engine is not QEMU, so it cannot be compared")

    def close(self):
        if getattr(self, "process", None):
            self.process.stdin.close()
            self.process.wait()
        self.run("rm", "-f", self.name, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class Machine:
    """The same machine with a network card, behind `netdev`."""

    def __init__(self, what, netdev, mtu, like, image, work):
        argv, program = like
        kept = [x for flag in ("-M", "-accel", "-cpu", "-smp", "-m") for x in (flag, argv[argv.index(flag) + 1])]
        append = argv[argv.index("-append") + 1]
        ram = next(a for a in argv if a.startswith("memory-backend-ram"))
        initrd = os.path.join(work, f"initrd-{what}")
        pack_initrd(initrd, image, mtu)
        ours, theirs = socket.socketpair()
        self.log = open(os.path.join(work, f"{what}.log"), "wb+")
        self.process = subprocess.Popen(
            [program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", *kept, "-object", ram,
             "-kernel", f"{image}/vmlinux", "-initrd", initrd, "-append", append,
             "-drive", f"if=none,id=base,format=raw,readonly=on,file={image}/base.erofs",
             "-device", "virtio-blk-pci,drive=base,disable-legacy=on", "-serial", "stdio",
             "-device", "virtio-serial-pci,disable-legacy=on", "-chardev", f"socket,id=agent,fd={theirs.fileno()}",
             "-device", "virtserialport,chardev=agent,name=bench", "-netdev", netdev,
             "-device", "virtio-net-pci,netdev=net,disable-legacy=on,romfile="],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        theirs.close()
        ours.settimeout(300)
        self.socket = ours
        self.agent = Agent(what, ours.makefile("rb"), ours.makefile("wb"), GATEWAY)
        try:
            self.agent.answer()
        except (SystemExit, OSError) as e:
            self.log.seek(0)
            self.process.kill()
            raise SystemExit(f"network.py: {what} did not start: {e}\n{self.log.read().decode(errors='replace')[-2000:]}")

    def beyond_ram(self):
        """MiB that QEMU has besides the guest's memory, which is its largest mapping."""
        sizes, rss = [], []
        with open(f"/proc/{self.process.pid}/smaps", encoding="utf-8") as f:
            for line in f:
                if line.startswith("Size:"):
                    sizes.append(int(line.split()[1]))
                elif line.startswith("Pss:"):
                    rss.append(int(line.split()[1]))
        largest = sizes.index(max(sizes))
        return (sum(rss) - rss[largest]) / 1024

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Passt:
    def __init__(self, work):
        program = shutil.which("passt")
        if not program:
            raise LookupError("no passt on this machine")
        self.path = os.path.join(work, "passt.sock")
        os.chmod(work, 0o755)
        self.log = open(os.path.join(work, "passt.log"), "wb+")
        self.process = subprocess.Popen(
            [program, "-f", "-q", "-s", self.path, "-a", GUEST, "-n", "24", "-g", GATEWAY, "--no-dhcp",
             *(["--runas", "0:0"] if os.getuid() == 0 else [])], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(100):
            if os.path.exists(self.path):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.log.seek(0)
        raise LookupError(f"passt did not start: {self.log.read().decode(errors='replace').strip()[-300:]}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def agent_text():
    with open(f"{HERE}/network_agent.py", encoding="utf-8") as f:
        return f.read()


def pack_initrd(path, image, mtu):
    """The image's modules, and behind them an archive of our own."""
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(f"{d}/bench")
        compiler = shutil.which("musl-gcc") or "cc"
        subprocess.run([compiler, "-O2", "-static", "-o", f"{d}/init", f"{HERE}/network_init.c"], check=True)
        shutil.copy(f"{HERE}/network_agent.py", f"{d}/bench/agent.py")
        with open(f"{d}/bench/run.sh", "w", encoding="ascii") as f:
            f.write(f"""export PATH=/usr/sbin:/usr/bin:/sbin:/bin
modprobe virtio_net
ip link set lo up
card=$(ls /sys/class/net | grep -v '^lo$' | grep -v '^dummy' | head -n 1)
ip link set "$card" mtu {mtu} up
ip address add {GUEST}/24 dev "$card"
ip route add default via {GATEWAY}
for p in /sys/class/virtio-ports/*; do [ "$(cat "$p/name")" = bench ] && port=/dev/${{p##*/}}; done
exec python3 -u /bench/agent.py "$port"
""")
        files = subprocess.run(["find", ".", "-mindepth", "1"], cwd=d, capture_output=True, check=True).stdout
        ours = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=d, input=files, capture_output=True, check=True).stdout
    with open(path, "wb") as out, open(f"{image}/modules.cpio", "rb") as modules:
        data = modules.read()
        out.write(data + b"\0" * (-len(data) % 512) + ours)


# --- measuring ---

def measure(machines, servers):
    """{machine: {what: [values]}}, in turns."""
    found = {m: {} for m in machines}
    for i in range(-1, ROUNDS):
        for m in machines:
            for what, op, arguments in (
                    ("down", "down", {"port": servers.bulk, "size": SIZE if i >= 0 else SIZE // 8}),
                    ("up", "up", {"port": servers.bulk, "size": SIZE if i >= 0 else SIZE // 8}),
                    ("connections", "connections", {"port": servers.echo, "count": CONNECTIONS if i >= 0 else 10}),
                    ("latency", "latency", {"port": servers.echo, "count": PINGS if i >= 0 else 10})):
                value = m(op, host=m.host, **arguments)
                if i < 0:
                    continue  # warm
                found[m].setdefault(what, []).extend(value if isinstance(value, list) else [value])
        print(f"... round {i + 1} of {ROUNDS}", file=sys.stderr)
    return found


def policy_effect(sandbox, servers):
    """Milliseconds from a policy file's rename to the end of a connection that it forbids, as its server sees it."""
    values = []
    for _ in range(CHANGES):
        servers.gone.clear()
        sandbox.agent("hold", host=sandbox.agent.host, port=servers.held)
        at = sandbox.allow(servers.bulk, servers.echo)
        if not servers.gone.wait(30):
            raise SystemExit("network.py: a connection outlived its rule")
        values.append((servers.gone_at - at) * 1000)
        sandbox.agent("drop")
        sandbox.allow(servers.bulk, servers.echo, servers.held)
        while True:  # until the rule is back
            try:
                sandbox.agent.writer.write(json.dumps({"op": "latency", "host": sandbox.agent.host, "port": servers.held,
                                                       "count": 1}).encode() + b"\n")
                sandbox.agent.writer.flush()
                if "value" in json.loads(sandbox.agent.reader.readline()):
                    break
            except json.JSONDecodeError:
                break
    return values


def main(hull):
    servers = Servers()
    opened, notes = [], []
    work = tempfile.mkdtemp(prefix="hull-bench-net-")
    try:
        sandbox = Sandbox(hull, servers)
        opened.append(sandbox)
        like = sandbox.engine_argv()
        image = json.loads(sandbox.run("image", "inspect", "default", "--json"))
        image = image[0] if isinstance(image, list) else image
        machines = {"Hull": sandbox.agent}
        base = image.get("path") or image.get("dir")
        slirp = Machine("slirp", "user,id=net,ipv6=off", 1500, like, base, work)
        opened.append(slirp)
        machines["QEMU's slirp"] = slirp.agent
        passt = behind = None
        try:
            passt = Passt(work)
            opened.append(passt)
            behind = Machine("passt", f"stream,id=net,server=off,addr.type=unix,addr.path={passt.path}", 65520, like, base, work)
            opened.append(behind)
            machines["passt"] = behind.agent
        except LookupError as why:
            notes.append(f"passt is not compared: {why}")
        found = measure(list(machines.values()), servers)
        memory = {"Hull": pss_mib(sandbox.family()["hull-egress"])}
        if passt:
            workers = [passt.process.pid, *children(passt.process.pid)]
            memory["passt"] = pss_mib(*workers)
            memory["QEMU's slirp"] = max(0.0, slirp.beyond_ram() - behind.beyond_ram())
        keeper = pss_mib(sandbox.about["pid"])
        effect = policy_effect(sandbox, servers)
        known = sandbox.agent("dns", server=NETWORK_DNS, name="host.hull.internal", count=PINGS, fresh=False)
        fresh = sandbox.agent("dns", server=NETWORK_DNS, name="example.net", count=PINGS, fresh=True)
        print(f"## Network\n\n{ROUNDS} rounds in turns, {SIZE >> 20} MiB each way, {CONNECTIONS} connections and {PINGS} "
              f"round trips a round; {sandbox.about['engine']}.\n")
        for note in notes:
            print(f"- {note}\n")
        names = list(machines)
        print("| median (5 % to 95 %) | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
        for what, unit in (("down", "download, MiB/s"), ("up", "upload, MiB/s"), ("connections", "connections per second"),
                           ("latency", "round trip of a byte, µs")):
            print(f"| {unit} | " + " | ".join(spread(found[machines[n]][what]) for n in names) + " |")
        print("| memory of the network's process, MiB | " + " | ".join(number(memory[n]) if n in memory else "" for n in names) + " |")
        print(f"\nHull's keeper, through which the bytes pass, too: {number(keeper)} MiB.\n")
        print("| Hull alone | median | 5 % to 95 % | n |\n|---|---:|---:|---:|")
        for what, values in (("a changed policy file to the end of a connection it forbids, ms", effect),
                             ("DNS answer, a name asked before, µs", known), ("DNS answer, a new name, µs", fresh)):
            print(f"| {what} | {number(statistics.median(values))} | {number(percentile(values, 5))} to {number(percentile(values, 95))} | {len(values)} |")
    finally:
        for o in reversed(opened):
            o.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: network.py HULL")
    main(sys.argv[1])
