#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers on the host's loopback that a sandbox may reach by rule.

    net_server.py DIRECTORY

Each takes a free port; when all listen, DIRECTORY/ports gets a line "NAME PORT" for each. What a server saw that a
test wants to know goes to DIRECTORY/seen, a line each. Ends with its standard input.
"""
import base64, functools, hashlib, http.server, os, resource, socket, ssl, struct, subprocess, sys, threading, time

# A thousand connections at once take more than an ordinary user has to begin with.
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
directory = sys.argv[1]
seen_lock = threading.Lock()


def seen(text):
    with seen_lock, open(os.path.join(directory, "seen"), "a") as f:
        f.write(text + "\n")


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def echo(c):
    """Echoes until the client's end, then says END: only a half-close lets that arrive."""
    while data := c.recv(65536):
        c.sendall(data)
    c.sendall(b"END")


def source(c):
    """Sends as many bytes as the first line asks for."""
    left = int(c.makefile("rb").readline())
    block = bytes(range(256)) * 1024
    while left > 0:
        n = min(left, len(block))
        c.sendall(block[:n])
        left -= n


def sink(c, pause=0.0):
    """Answers with the number and the hash of the bytes, once they have ended."""
    n, h = 0, hashlib.md5()
    while data := c.recv(65536):
        n += len(data)
        h.update(data)
        if pause:
            time.sleep(pause)
    c.sendall(b"%d %s" % (n, h.hexdigest().encode()))


def resetting(c):
    c.recv(1)
    reset(c)


def watching(c):
    """Tells how the client's end came."""
    try:
        while c.recv(4096):
            pass
        seen("fin")
    except ConnectionResetError:
        seen("rst")


def closed(c):
    """Nobody is to come here without a rule; who does is echoed."""
    seen("closed was reached")
    echo(c)


def counting(c):
    """Every connection is told."""
    seen("counted")
    echo(c)


def web(c):
    """Any request: its Host header back; or a WebSocket that echoes one short text frame."""
    f = c.makefile("rb")
    while request := f.readline():
        headers = {}
        while (line := f.readline().strip()):
            k, v = line.split(b":", 1)
            headers[k.lower()] = v.strip()
        seen("http " + headers.get(b"host", b"-").decode())
        if b"sec-websocket-key" in headers:
            key = headers[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(key).digest()) + b"\r\n\r\n")
            first, second = f.read(2)
            mask = f.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(f.read(second & 127)))
            c.sendall(bytes([first, len(text)]) + text)
            return
        if request.startswith(b"GET /redirect"):
            c.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://denied.example.net/\r\nContent-Length: 0\r\n\r\n")
            continue
        body = b"host=" + headers.get(b"host", b"-") + b"\n"
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def serve(name, handler, tls=None):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(2048)

    def one(c):
        try:
            with (tls.wrap_socket(c, server_side=True) if tls else c) as wrapped:
                handler(wrapped)
        except (OSError, ValueError):
            pass

    def loop():
        while True:
            c, _ = s.accept()
            threading.Thread(target=one, args=(c,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return name, s.getsockname()[1]


def serve_udp(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))

    def loop():
        while True:
            data, who = s.recvfrom(65535)
            s.sendto(b"udp:" + data, who)

    threading.Thread(target=loop, daemon=True).start()
    return name, s.getsockname()[1]


threading.stack_size(256 * 1024)
def serve_files(name, tls):
    """DIRECTORY/www over HTTPS."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory + "/www"))
    s.socket = tls.wrap_socket(s.socket, server_side=True)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return name, s.server_address[1]


subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout",
                directory + "/key.pem", "-out", directory + "/cert.pem", "-subj", "/CN=host.hull.internal",
                "-addext", "subjectAltName=DNS:host.hull.internal"], check=True, stderr=subprocess.DEVNULL)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
ports = [
    serve("echo", echo), serve("source", source), serve("sink", sink), serve("resetting", resetting),
    serve("watching", watching), serve("slow", lambda c: sink(c, 0.002)), serve("http", web),
    serve("https", web, context), serve("closed", closed), serve("counting", counting),
    serve_udp("udp"),
    serve_files("files", context),
]
with open(directory + "/ports.new", "w") as out:
    out.writelines("%s %d\n" % p for p in ports)
os.rename(directory + "/ports.new", directory + "/ports")
sys.stdin.read()
