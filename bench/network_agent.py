# SPDX-License-Identifier: Apache-2.0
"""What bench/network.py has done inside each machine: a JSON object a line in, one out.

{"op": NAME, ...arguments} is answered with {"value": ...}; an exception with {"error": TEXT}. Runs on the standard
streams, or on the device that is its argument.
"""
import json
import os
import random
import socket
import struct
import sys
import time

if len(sys.argv) > 1:
    device = os.open(sys.argv[1], os.O_RDWR)  # a port can be opened once
    streams = (open(device, "rb", buffering=0), open(device, "wb", buffering=0, closefd=False))
else:
    streams = (sys.stdin.buffer, sys.stdout.buffer)
BLOCK = b"x" * (1 << 18)


known = {}


def connect(host, port):
    if host not in known:  # what a name costs is measured apart
        known[host] = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    s = socket.create_connection((known[host], port), 120)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def down(host, port, size):
    """MiB/s from the host; the server sends as many bytes as it is told."""
    with connect(host, port) as s:
        begun, left = time.monotonic(), size
        s.sendall(b"%d\n" % size)
        buffer = bytearray(1 << 18)
        while left:
            n = s.recv_into(buffer)
            if n == 0:
                raise OSError("the server closed the connection")
            left -= n
        return size / (1 << 20) / (time.monotonic() - begun)


def up(host, port, size):
    """MiB/s to the host; the server says a byte when it has them all."""
    with connect(host, port) as s:
        begun, left = time.monotonic(), size
        s.sendall(b"%d\n" % -size)
        while left:
            n = min(left, len(BLOCK))
            s.sendall(BLOCK[:n])
            left -= n
        s.recv(1)
        return size / (1 << 20) / (time.monotonic() - begun)


def connections(host, port, count):
    """Connections per second, one after the other, a byte there and back on each."""
    begun = time.monotonic()
    for _ in range(count):
        with connect(host, port) as s:
            s.sendall(b"x")
            s.recv(1)
    return count / (time.monotonic() - begun)


def latency(host, port, count):
    """Microseconds there and back, a byte on one connection: each of them."""
    values = []
    with connect(host, port) as s:
        for _ in range(count):
            begun = time.monotonic()
            s.sendall(b"x")
            s.recv(1)
            values.append((time.monotonic() - begun) * 1e6)
    return values


def dns(server, name, count, fresh):
    """Microseconds for an answer; `fresh`: another name each time."""
    values = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(30)
        s.connect((server, 53))
        for i in range(count):
            asked = "n%d-%d.%s" % (random.getrandbits(40), i, name) if fresh else name
            labels = b"".join(bytes([len(l)]) + l.encode() for l in asked.split("."))
            begun = time.monotonic()
            s.send(struct.pack(">6H", i & 0xffff, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1))
            s.recv(512)
            values.append((time.monotonic() - begun) * 1e6)
    return values


held = []


def hold(host, port):
    """Keep a connection open, for the host to see it cut."""
    s = connect(host, port)
    s.sendall(b"h")
    s.recv(1)
    held.append(s)
    return True


def drop():
    while held:
        held.pop().close()
    return True


OPS = {f.__name__: f for f in (down, up, connections, latency, dns, hold, drop)}
streams[1].write(b'{"value": "ready"}\n')
streams[1].flush()
pending = b""
while True:
    while b"\n" not in pending:
        data = streams[0].read(4096) if len(sys.argv) > 1 else streams[0].readline()
        if not data:
            if len(sys.argv) > 1:
                time.sleep(0.05)  # nobody has opened the other end yet
                continue
            raise SystemExit(0)
        pending += data
    line, pending = pending.split(b"\n", 1)
    request = json.loads(line)
    try:
        answer = {"value": OPS[request.pop("op")](**request)}
    except (OSError, TypeError, KeyError) as e:
        answer = {"error": repr(e)}
    streams[1].write(json.dumps(answer).encode() + b"\n")
    streams[1].flush()
