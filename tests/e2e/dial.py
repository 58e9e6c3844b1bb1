# SPDX-License-Identifier: Apache-2.0
"""What comes from a unix socket inside a sandbox: dial.py CONTROL-SOCKET PATH. Speaks the wire (docs/internals/wire.md) by hand."""

import socket
import struct
import sys

HELLO, OPEN, ACCEPT, REFUSE, DATA, MESSAGE, CREDIT, EOF, RESET = range(1, 10)
DIAL, TAG_PATH = 3, 12


def frame(stream, kind, payload=b""):
    return struct.pack("<IBBHI", stream, kind, 0, 0, len(payload)) + payload


def exactly(connection, n):
    data = b""
    while len(data) < n:
        piece = connection.recv(n - len(data))
        if not piece:
            sys.exit("the keeper closed the connection")
        data += piece
    return data


def main():
    path = sys.argv[2].encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    connection.sendall(
        frame(0, HELLO, b"HULLWIRE" + struct.pack("<IQ", 1, 1))
        + frame(1, OPEN, struct.pack("<BHI", DIAL, TAG_PATH, len(path)) + path)
    )
    while True:
        stream, kind, _, _, n = struct.unpack("<IBBHI", exactly(connection, 12))
        payload = exactly(connection, n)
        if stream and kind == DATA:
            sys.stdout.write(payload.decode())
        elif stream and kind in (REFUSE, RESET):
            sys.exit(payload[4:].decode())
        elif stream and kind == EOF:
            return


main()
