#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the system call filter of a live process of Hull's with the list in the source.

    filters.py KIND PID      KIND: share, egress, engine

As root: the filters are read out of the kernel (PTRACE_SECCOMP_GET_FILTER), and each is run here, as the kernel runs
it, on every system call. The strictest answer counts. Prints what differs, and fails. Exit code 77: not to be had here.
"""

import ctypes
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SEIZE, INTERRUPT, DETACH, GET_FILTER = 0x4206, 0x4207, 17, 0x420C
ARCH_X86_64, ALLOW, ERRNO, KILL = 0xC000003E, 0x7FFF0000, 0x00050000, 0x80000000
CALLS = 470  # numbers that are looked at
THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
resolver = ctypes.CDLL("libseccomp.so.2")


def number(name):
    return resolver.seccomp_syscall_resolve_name(name.encode())


def call_name(call):
    resolver.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    name = resolver.seccomp_syscall_resolve_num_arch(ARCH_X86_64, call)
    return f"{name.decode()}()" if name else f"call {call}"


def read_filters(pid):
    """The process's filters, each a list of instructions."""
    if libc.ptrace(SEIZE, pid, None, None) < 0:
        sys.exit(77)
    try:
        libc.ptrace(INTERRUPT, pid, None, None)
        os.waitpid(pid, 0x40000000)
        filters = []
        while (n := libc.ptrace(GET_FILTER, pid, len(filters), None)) > 0:
            raw = ctypes.create_string_buffer(8 * n)
            libc.ptrace(GET_FILTER, pid, len(filters), ctypes.cast(raw, ctypes.c_void_p))
            filters.append(list(struct.iter_unpack("<HBBI", raw.raw)))
        if not filters:
            sys.exit(77)
        return filters
    finally:
        libc.ptrace(DETACH, pid, None, None)


def run(program, data):
    """Classic BPF, as much of it as a seccomp filter may have."""
    a = x = pc = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[pc]
        pc += 1
        kind, operand = code & 7, x if code & 8 else k
        if kind == 0:
            a = k if code & 0xE0 == 0 else memory[k] if code & 0xE0 == 0x60 else struct.unpack_from("<I", data, k)[0]
        elif kind == 1:
            x = k if code & 0xE0 == 0 else memory[k]
        elif kind == 2:
            memory[k] = a
        elif kind == 3:
            memory[k] = x
        elif kind == 4:
            op = code & 0xF0
            a = {0x00: a + operand, 0x10: a - operand, 0x40: a | operand, 0x50: a & operand, 0x60: a << operand,
                 0x70: a >> operand, 0x80: -a, 0xA0: a ^ operand}[op] & 0xFFFFFFFF  # fmt: skip
        elif kind == 5:
            op = code & 0xF0
            if op == 0:
                pc += k
            else:
                hit = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[op]
                pc += jt if hit else jf
        elif kind == 6:
            return a if code & 0x18 == 0x10 else k
        else:
            x, a = (a, a) if code & 0xF8 == 0 else (x, x)


def allowed(filters, call, *args, arch=ARCH_X86_64):
    data = struct.pack("<iIQ6Q", call, arch, 0, *(list(args) + [0] * 6)[:6])
    return all(run(f, data) & 0xFFFF0000 == ALLOW for f in filters)


def listed(path, table):
    """The numbers in a table of the source, and those that are there only when the kernel's headers know them."""
    with open(f"{HERE}/../../{path}") as f:
        text = re.search(rf"\b{table}\[\] = {{(.*?)\n}};", f.read(), re.S).group(1)
    find = lambda part: {n for n in map(number, re.findall(r"SCMP_SYS\((\w+)\)", part)) if n >= 0}
    perhaps = find("".join(re.findall(r"#ifdef.*?#endif", text, re.S)))
    return find(text) - perhaps, perhaps


def main():
    kind, pid = sys.argv[1], int(sys.argv[2])
    filters = read_filters(pid)
    wrong = []

    def expect(what, got, wanted):
        if got != wanted:
            wrong.append(f"{kind}: {what} is {'allowed' if got else 'refused'}")

    # What depends on arguments, whoever it is: none of these.
    clone, socket, mmap = number("clone"), number("socket"), number("mmap")
    for flags, what in ((17, "a process"), (THREAD | 0x10000000, "a user namespace"), (THREAD | 0x20000, "a mount namespace")):
        expect(f"clone() of {what}", allowed(filters, clone, flags), False)
    expect("clone() of a thread", allowed(filters, clone, THREAD | 0x3D0F00 & ~0x20000), True)
    families = {AF_INET, AF_INET6, AF_NETLINK} if kind == "egress" else set()
    for family in range(64):
        expect(f"socket({family})", allowed(filters, socket, family, 1), family in families)
        expect(f"socket({family} in the lower half)", allowed(filters, socket, 1 << 32 | family, 1), False)
    expect("a call of 32-bit x86", allowed(filters, 1, arch=0x40000003), False)
    if kind == "share":
        expect("memory that is executable", allowed(filters, mmap, 0, 4096, 5), False)

    special = {clone, socket}
    refused, _ = listed("src/jail/jail_seccomp.c", "refused")
    if kind == "engine":
        # QEMU's own filter stands over the base filter.
        for call in sorted(refused | {number("fork"), number("vfork"), number("execve")}):
            expect(call_name(call), allowed(filters, call), False)
    else:
        ours, perhaps = listed(f"src/{kind}/syscalls.c", "allowed")
        ours |= {mmap, number("mprotect")}
        for call in set(range(CALLS)) - special - perhaps:
            expect(call_name(call), allowed(filters, call), call in ours - refused)
    print("\n".join(wrong) or f"{kind}: as listed, in {len(filters)} filters")
    sys.exit(1 if wrong else 0)


main()
