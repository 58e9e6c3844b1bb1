#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The arrows between the folders of src/, and the cycles among them, which are an error.

    tools/arrows.py [--list] [BUILD]      BUILD (default: build) holds the objects and compile_commands.json

An arrow leads from folder A to folder B when a file of A includes a header of B, or when code of A calls a function or
uses a variable that a file of B defines (nm tells). So a header of A's that declares what B defines hides nothing. A call
through a pointer is no arrow: that is how a lower folder calls an upper one. Where several programs define one name, the
one in the caller's own part of src/ is meant, else one whose header is included.

--list prints every arrow with its reasons. Without it, only cycles are printed; exit code 1 when there is one.
"""
import collections
import json
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Parts of src/ within which folders still form a cycle. None may be added.
KNOWN = [{"cli", "lib"}]
# Loaded into other people's programs: what it defines replaces libc's there, and nobody here calls it.
PRELOADED = {"src/engine/qemu_shim.c"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def sources():
    for folder, _, names in os.walk(os.path.join(TOP, "src")):
        for name in names:
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), TOP)


def objects(build):
    """source -> object file, for every source that was compiled."""
    found = {}
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        for entry in json.load(f):
            source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), TOP)
            if source.startswith("src/") and "output" in entry:
                found[source] = os.path.join(entry["directory"], entry["output"])
    for source in sources():  # hull-init's are made by commands of their own
        if source.startswith("src/guest/") and source.endswith(".c"):
            name = "guest-" + re.sub(r"[^A-Za-z0-9]", "_", source) + ".o"
            found[source] = os.path.join(build, "src", "guest", name)
    return {s: o for s, o in found.items() if os.path.exists(o) and s not in PRELOADED}


def symbols(path):
    """The names that an object defines for others, and those it needs."""
    defined, needed = set(), set()
    out = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            needed.add(name)
        elif kind.isupper():
            defined.add(name)
    return defined, needed


def arrows(build):
    """(from, to) -> reasons."""
    found = collections.defaultdict(list)
    includes = collections.defaultdict(set)
    for source in sources():
        with open(os.path.join(TOP, source), encoding="utf-8") as f:
            for name in INCLUDE.findall(f.read()):
                target = os.path.join("src", name)
                if not os.path.exists(os.path.join(TOP, target)):
                    continue
                a, b = os.path.dirname(source), os.path.dirname(target)
                includes[a].add(b)
                if a != b:
                    found[a, b].append(f"{source} includes {name}")
    tables = {source: symbols(o) for source, o in objects(build).items()}
    definers = collections.defaultdict(set)
    for source, (defined, _) in tables.items():
        for name in defined - {"main"}:
            definers[name].add(source)
    for source, (_, needed) in sorted(tables.items()):
        a = os.path.dirname(source)
        part = source.split("/")[1]
        for name in sorted(needed):
            where = definers.get(name, set())
            if len(where) > 1:
                where = {w for w in where if w.split("/")[1] == part} or {
                    w for w in where if os.path.dirname(w) in includes[a]}
            folders = {os.path.dirname(w) for w in where}
            if len(folders) == 1 and a not in folders:
                found[a, folders.pop()].append(f"{source} uses {name}")
    return found


def cycles(edges):
    """Sets of folders that reach each other (Tarjan)."""
    graph = collections.defaultdict(set)
    for a, b in edges:
        graph[a].add(b)
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(graph[v]):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            at = stack.index(v)
            if len(stack) - at > 1:
                found.append(set(stack[at:]))
            del stack[at:]

    for v in sorted({a for a, _ in edges}):
        if v not in index:
            visit(v)
    return found


def main():
    words = [w for w in sys.argv[1:] if w != "--list"]
    build = os.path.abspath(words[0] if words else os.path.join(TOP, "build"))
    found = arrows(build)
    if "--list" in sys.argv[1:]:
        for (a, b), why in sorted(found.items()):
            print(f"{a} -> {b}   ({len(why)}: {'; '.join(why[:3])})")
    bad, known = [], []
    for group in cycles(found):
        parts = {folder.split("/")[1] for folder in group}
        holds = [k for k in KNOWN if parts <= k]
        known += holds
        bad += [] if holds else [group]
    gone = [k for k in KNOWN if k not in known]
    for k in gone:
        print(f"no cycle in {', '.join(sorted(k))} any more: take it out of KNOWN in tools/arrows.py")
    for group in bad:
        print("folders in a cycle: " + ", ".join(sorted(group)))
        for (a, b), why in sorted(found.items()):
            if a in group and b in group:
                print(f"  {a} -> {b}: {'; '.join(why[:4])}" + (f" and {len(why) - 4} more" if len(why) > 4 else ""))
    if bad:
        print("let the lower folder own what both need, or take a callback from the upper one")
    return 1 if bad or gone else 0


if __name__ == "__main__":
    sys.exit(main())
