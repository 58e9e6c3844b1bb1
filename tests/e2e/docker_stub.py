#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for a daemon that is after logins: docker_stub.py SOCKET LOG. Answers what a build needs, and writes down
every header that a docker client sends registries' logins in. Ends with its standard input."""

import http.server
import os
import socketserver
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def read_body(self):
        """A socket that is closed with something unread in it resets the connection."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(n + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        self.read_body()
        with open(sys.argv[2], "a") as log:
            log.write(f"{self.command} {self.path}\n")
            for name in ("X-Registry-Auth", "X-Registry-Config"):
                if name in self.headers:
                    log.write(f"{name}: {self.headers[name]}\n")
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("OSType", "linux")
        self.end_headers()
        self.wfile.write(b"OK" if self.path.endswith("/_ping") else b'{"stream":"built"}\n')

    do_GET = do_POST = do_HEAD = answer

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


server = Server(sys.argv[1], Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("listening", flush=True)
sys.stdin.read()
os.unlink(sys.argv[1])
