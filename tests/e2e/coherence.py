#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coherence.py SEED OPERATIONS DIRECTORY COMMAND...: one directory, edited from two machines.

COMMAND runs this same program, as `python3 - agent`, on the other machine, with the program's text and then the requests
on its standard input. Operations are drawn at random (seeded: the same again with the same seed), each by one of the two
sides; then the other side has to see the directory as a model says it is: names, types, modes, sizes and content. It may
take a moment, at most LIMIT; how long the longest took is printed.
"""
import hashlib
import json
import os
import random
import subprocess
import sys
import time

LIMIT = 20.0


def apply(op):
    kind, path = op[0], op[1]
    if kind in ("write", "append"):
        with open(path, "ab" if kind == "append" else "wb") as f:
            f.write(bytes.fromhex(op[2]))
    elif kind == "patch":
        with open(path, "r+b") as f:
            f.seek(op[3])
            f.write(bytes.fromhex(op[2]))
    elif kind == "replace":  # as editors save
        with open(path + ".tmp", "wb") as f:
            f.write(bytes.fromhex(op[2]))
        os.rename(path + ".tmp", path)
    elif kind == "truncate":
        os.truncate(path, op[2])
    elif kind == "mkdir":
        os.mkdir(path)
    elif kind == "rename":
        os.rename(path, op[2])
    elif kind == "unlink":
        os.unlink(path)
    elif kind == "rmdir":
        os.rmdir(path)
    elif kind == "chmod":
        os.chmod(path, op[2])
    elif kind == "symlink":
        os.symlink(op[2], path)


def look(top="."):
    """What is there: {path: description}."""
    seen = {}
    for base, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.normpath(os.path.join(base, name))
            st = os.lstat(path)
            kind = st.st_mode >> 12
            if kind == 0o10:
                with open(path, "rb") as f:
                    data = f.read()
                seen[path] = ["file", st.st_mode & 0o777, st.st_size, hashlib.sha1(data).hexdigest()]
            elif kind == 0o12:
                seen[path] = ["link", os.readlink(path)]
            else:
                seen[path] = ["dir"]
    return seen


def agent():
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request[0] == "cd":
                os.chdir(request[1])
                answer = None
            elif request[0] == "look":
                answer = look()
            else:
                answer = apply(request)
        except OSError as e:
            answer = {"errno": e.errno, "what": str(e)}
        print(json.dumps(answer), flush=True)


class Model:
    """The directory as it should be: {path: bytes, None for a directory, str for a link}, and modes."""

    def __init__(self, rng):
        self.rng, self.entries, self.modes = rng, {}, {}

    def of(self, kind):
        return sorted(p for p, v in self.entries.items() if isinstance(v, kind))

    def fresh(self):
        dirs = self.of(type(None))
        base = self.rng.choice(dirs + ["."])
        path = os.path.normpath(os.path.join(base, "n%d" % self.rng.randrange(40)))
        return None if path in self.entries else path

    def draw(self):
        """An operation that can be done, done to the model."""
        rng, files = self.rng, self.of(bytes)
        kind = rng.choice(["write", "append", "patch", "replace", "truncate", "mkdir", "rename", "unlink", "rmdir",
                           "chmod", "symlink", "write", "replace"])
        data = rng.randbytes(rng.choice([0, 1, 100, 4096, 5000, 70000]))
        if kind in ("mkdir", "symlink") or (kind == "write" and (not files or rng.random() < 0.5)):
            path = self.fresh()
            if not path or len(self.entries) > 60:
                return None
            self.entries[path] = {"mkdir": None, "symlink": "over/there"}.get(kind, data)
            self.modes[path] = 0o644
            return {"mkdir": ["mkdir", path], "symlink": ["symlink", path, "over/there"]}.get(
                kind, ["write", path, data.hex()])
        if kind == "rmdir":
            empty = [d for d in self.of(type(None)) if not any(p.startswith(d + "/") for p in self.entries)]
            if not empty:
                return None
            path = rng.choice(empty)
            del self.entries[path]
            return ["rmdir", path]
        if not files:
            return None
        path = rng.choice(files)
        old = self.entries[path]
        if kind == "unlink":
            del self.entries[path]
            return ["unlink", path]
        if kind == "rename":
            to = self.fresh() or rng.choice(files)
            if to == path:
                return None
            self.entries[to], self.modes[to] = self.entries.pop(path), self.modes[path]
            return ["rename", path, to]
        if kind == "chmod":
            self.modes[path] = rng.choice([0o644, 0o755, 0o600])
            return ["chmod", path, self.modes[path]]
        if kind == "truncate":
            size = rng.randrange(len(old) * 2 + 1)
            self.entries[path] = old[:size].ljust(size, b"\0")
            return ["truncate", path, size]
        if kind == "patch":
            at = rng.randrange(len(old) + 1)
            self.entries[path] = old[:at] + data + old[at + len(data):]
            return ["patch", path, data.hex(), at]
        if kind == "append":
            self.entries[path] = old + data
            return ["append", path, data.hex()]
        if kind == "replace":
            self.modes[path] = 0o644
        self.entries[path] = data
        return [kind, path, data.hex()]

    def expected(self):
        out = {}
        for path, v in self.entries.items():
            if v is None:
                out[path] = ["dir"]
            elif isinstance(v, str):
                out[path] = ["link", v]
            else:
                out[path] = ["file", self.modes[path], len(v), hashlib.sha1(v).hexdigest()]
        return out


def main():
    seed, count, top, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    print(f"# seed {seed}, {count} operations", flush=True)
    with open(__file__, encoding="utf-8") as f:
        text = f.read()
    # The program comes first on its input, as a line: what is left of it are the requests.
    starter = "import sys; exec(compile(eval(sys.stdin.readline()), 'coherence', 'exec'))"
    other = subprocess.Popen([*command, "python3", "-c", starter, "agent"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)

    def there(request):
        other.stdin.write(json.dumps(request) + "\n")
        other.stdin.flush()
        answer = json.loads(other.stdout.readline())
        if isinstance(answer, dict) and "errno" in answer:
            raise OSError(answer["errno"], answer["what"])
        return answer

    owner = os.stat(top)
    if os.geteuid() == 0 and owner.st_uid != 0:  # what is done here is done by whose files they are
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    other.stdin.write(repr(text) + "\n")
    os.chdir(top)
    os.umask(0o022)
    there(["cd", top])
    model, history, worst = Model(random.Random(seed)), [], 0.0
    sides = {"host": (apply, lambda: look()), "guest": (there, lambda: there(["look"]))}
    for step in range(count):
        actor, watcher = ("host", "guest") if model.rng.random() < 0.5 else ("guest", "host")
        op = model.draw()
        if not op:
            continue
        history.append(f"{step} {actor}: {str(op)[:100]}")
        begin = time.monotonic()
        try:
            sides[actor][0](op)
            while True:
                try:
                    seen = sides[watcher][1]()
                except OSError as e:  # something went away while it looked
                    seen = {"error": str(e)}
                late = time.monotonic() - begin
                if seen == model.expected() or late > LIMIT:
                    break
        except OSError as e:
            seen, late = {"error": f"{actor}: {e}"}, 0
        worst = max(worst, late)
        want = model.expected()
        if seen != want:
            print(f"# seed {seed}: the {watcher} does not see what the {actor} did, step {step}")
            print("\n".join(f"#   {h}" for h in history[-8:]))
            for path in sorted(set(seen) | set(want)):
                if seen.get(path) != want.get(path):
                    print(f"#   {path}: seen {seen.get(path)}, expected {want.get(path)}")
            return 1
    other.stdin.close()
    print(f"# all seen; the slowest took {worst * 1000:.0f} ms")
    return other.wait()


if __name__ == "__main__" or sys.argv[1:2] == ["agent"]:
    sys.exit(agent() if sys.argv[1:2] == ["agent"] else main())
