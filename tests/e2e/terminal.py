# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal, for the tests: runs `hull exec -it NAME` on a pseudo-terminal and looks at what happens.

usage: terminal.py HULL NAME; exit code 0 when everything was as it should be.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time


class Terminal:
    """A child on a pseudo-terminal of a given size."""

    def __init__(self, argv, rows, columns):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(argv[0], argv)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read_some(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            got = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += got
        return bool(got)

    def expect(self, pattern, seconds=60):
        """Wait until the pattern has been seen; what came up to its end is used up."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern.encode(), self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            if time.monotonic() > end or not self.read_some(max(0.0, end - time.monotonic())):
                raise SystemExit(f"did not see /{pattern}/ in {self.seen[-2000:]!r}")

    def exit_code(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read_some(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise SystemExit(f"it did not end; last seen: {self.seen[-2000:]!r}")


def check(good, what):
    if not good:
        raise SystemExit(f"not so: {what}")
    print(f"fine: {what}")


def main():
    hull, name = sys.argv[1:]

    t = Terminal([hull, "exec", "-it", name, "stty", "size"], 31, 97)
    t.expect(r"31 97")
    check(t.exit_code() == 0, "the terminal has the size of the caller's from the start")

    t = Terminal([hull, "exec", "-it", name, "sh", "-c",
                  "trap 'echo size-now-$(stty size)' WINCH; echo go; while :; do sleep 0.1; done"], 24, 80)
    t.expect("go")
    t.resize(50, 132)
    t.expect(r"size-now-50 132")
    t.type("\x03")
    check(t.exit_code() == 130, "a change of size arrives, with SIGWINCH; ^C ends a command")

    t = Terminal([hull, "exec", "-it", name, "bash", "--norc"], 24, 80)
    t.expect(r"\$ ")
    t.type("PS1=ready-; test -t 0 && test -t 1 && test -t 2 && echo all-$((40+2))\n")
    t.expect(r"all-42")
    check(True, "all three descriptors are the terminal")
    t.type("sleep 1000\n")
    t.expect(r"sleep 1000\r\n")
    time.sleep(0.5)
    t.type("\x03")
    t.type("echo code-$?\n")
    t.expect(r"code-130")
    check(True, "^C interrupts what runs, not the session")
    t.type("cat\n")
    t.expect(r"cat\r\n")
    time.sleep(0.5)
    t.type("typed\n")
    t.expect(r"typed\r\n.*typed\r\n")
    t.type("\x04")
    t.type("echo after-$((1+1))\n")
    t.expect(r"after-2")
    check(True, "^D ends the input of what runs")
    t.type("exit 9\n")
    check(t.exit_code() == 9, "the exit code comes through")

    before = os.popen("stty -a 2>/dev/null").read()
    t = Terminal([hull, "exec", "-it", name, "sh", "-c", "kill -KILL $$"], 24, 80)
    check(t.exit_code() == 137, "a killed session gives 137")
    check(os.popen("stty -a 2>/dev/null").read() == before, "the caller's terminal is as it was")

    t = Terminal([hull, "exec", "-it", name, "sh", "-c", "echo started; exec sleep 1000"], 24, 80)
    t.expect("started")
    os.kill(t.pid, signal.SIGHUP)
    check(t.exit_code() != 0, "a terminal that is closed ends the session")


main()
