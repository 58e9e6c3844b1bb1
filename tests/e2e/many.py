# SPDX-License-Identifier: Apache-2.0
"""Runs `true` COUNT times in a sandbox, AT-ONCE at a time, on one connection: many.py CONTROL-SOCKET COUNT AT-ONCE.
Speaks the wire (docs/internals/wire.md) by hand. Prints how many succeeded; what else came, on stderr."""

import socket
import struct
import sys

HELLO, OPEN, ACCEPT, REFUSE, DATA, MESSAGE, CREDIT, EOF, RESET = range(1, 10)
EXEC, TAG_ARGV, TAG_STATUS, EXIT = 2, 1, 10, 48


def frame(stream, kind, payload=b""):
    return struct.pack("<IBBHI", stream, kind, 0, 0, len(payload)) + payload


def fields(payload):
    at = 0
    while at + 6 <= len(payload):
        tag, n = struct.unpack_from("<HI", payload, at)
        yield tag, payload[at + 6 : at + 6 + n]
        at += 6 + n


class Frames:
    """What comes in, frame by frame."""

    def __init__(self, connection):
        self.connection, self.data = connection, b""

    def __iter__(self):
        while True:
            while len(self.data) >= 12:
                stream, kind, _, _, n = struct.unpack_from("<IBBHI", self.data)
                if len(self.data) < 12 + n:
                    break
                payload, self.data = self.data[12 : 12 + n], self.data[12 + n :]
                yield stream, kind, payload
            piece = self.connection.recv(65536)
            if not piece:
                sys.exit("the keeper closed the connection")
            self.data += piece


def main():
    count, at_once = int(sys.argv[2]), int(sys.argv[3])
    command = frame(0, OPEN, struct.pack("<BHI", EXEC, TAG_ARGV, 4) + b"true")[4:]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    connection.sendall(frame(0, HELLO, b"HULLWIRE" + struct.pack("<IQ", 1, 1)))
    begun = 0

    def begin():
        nonlocal begun
        stream = struct.pack("<I", 2 * begun + 1)
        begun += 1
        connection.sendall(stream + command + stream + frame(0, EOF)[4:])

    status, ended, succeeded = {}, 0, 0
    while begun < min(count, at_once):
        begin()
    for stream, kind, payload in Frames(connection):
        if not stream:
            continue
        if kind == MESSAGE and payload[0] == EXIT:
            status[stream] = dict(fields(payload[1:])).get(TAG_STATUS)
        elif kind in (EOF, REFUSE, RESET):
            ended += 1
            if kind == EOF and status.pop(stream, None) == struct.pack("<I", 0):
                succeeded += 1
            else:
                print(f"session {stream // 2}: frame {kind}: {payload!r}", file=sys.stderr)
            if begun < count:
                begin()
            if ended == count:
                break
    print(succeeded)


main()
