# SPDX-License-Identifier: Apache-2.0
"""Watch the directory that is given by inotify; say what is heard."""
import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init()
MODIFY, CLOSE_WRITE = 2, 8
if libc.inotify_add_watch(fd, os.fsencode(sys.argv[1]), MODIFY | CLOSE_WRITE) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))


def say(text):
    # A file that is emptied meanwhile is written from its beginning.
    os.lseek(1, 0, os.SEEK_END)
    os.write(1, text.encode() + b"\n")


say("watching")
while True:
    data = os.read(fd, 65536)
    at = 0
    while at < len(data):
        _, mask, _, length = struct.unpack_from("iIII", data, at)
        at += 16 + length
        say(f"modified {mask:#x}")
