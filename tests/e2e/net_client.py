# SPDX-License-Identifier: Apache-2.0
"""Checks of the network from inside a sandbox; `python3 - CHECK ARGUMENTS...` with this as standard input.

Ends with status 0 when the check held; otherwise the exception says what did not.
"""
import hashlib, os, resource, socket, struct, sys, time

HOST = "host.hull.internal"
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))


def connect(port, family=socket.AF_INET):
    s = socket.socket(family)
    s.settimeout(120)
    s.connect(socket.getaddrinfo(HOST, int(port), family, socket.SOCK_STREAM)[0][4])
    return s


def rest(s):
    out = b""
    while data := s.recv(65536):
        out += data
    return out


def fails(f, *errors):
    """It fails with an error, one of these if any are given; a name without an address or silence are none."""
    try:
        got = f()
    except (socket.gaierror, TimeoutError):
        raise
    except OSError as e:
        assert not errors or e.errno in errors, e
        return
    raise AssertionError("it worked: %r" % (got,))


def half_close(port):
    for family in socket.AF_INET, socket.AF_INET6:
        s = connect(port, family)
        s.sendall(b"hello")
        s.shutdown(socket.SHUT_WR)
        assert rest(s) == b"helloEND"


def reset_by_host(port):
    s = connect(port)
    s.sendall(b"x")
    fails(lambda: rest(s), 104)


def reset_by_guest(port):
    s = connect(port)
    s.sendall(b"x")
    time.sleep(0.5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def download(port, size, pause=0):
    """To the byte; comparing costs an emulated processor less than a hash does."""
    size = int(size)
    s = connect(port)
    s.sendall(b"%d\n" % size)
    pattern, n = bytes(range(256)) * 2048, 0
    while data := s.recv(1 << 18 if not pause else 8192):
        assert data == pattern[n % 256:n % 256 + len(data)], n
        n += len(data)
        time.sleep(float(pause))
    assert n == size, n


def upload(port, size, pause=0):
    s = connect(port)
    h, left = hashlib.md5(), int(size)
    while left > 0:
        block = bytes([left & 255]) * min(left, 8192 if pause else 65536)
        s.sendall(block)
        h.update(block)
        left -= len(block)
        time.sleep(float(pause))
    s.shutdown(socket.SHUT_WR)
    assert rest(s) == b"%s %s" % (size.encode(), h.hexdigest().encode())


def many(port, count):
    address = socket.getaddrinfo(HOST, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4]
    all = []
    for _ in range(int(count)):
        s = socket.socket()
        s.settimeout(120)
        s.connect(address)
        all.append(s)
    for i, s in enumerate(all):
        s.sendall(b"%d" % i)
        s.shutdown(socket.SHUT_WR)
    for i, s in enumerate(all):
        assert rest(s) == b"%dEND" % i, i
        s.close()


def flood(port, count):
    """More connections than a sandbox may have: some are reset, and afterwards all is as before."""
    address = socket.getaddrinfo(HOST, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4]
    all, alive = [], 0
    for _ in range(int(count)):
        s = socket.socket()
        s.settimeout(120)
        try:
            s.connect(address)
            all.append(s)
        except OSError:
            pass
    for s in all:
        try:
            s.sendall(b"x")
            alive += s.recv(1) == b"x"
        except OSError:
            pass
    for s in all:
        s.close()
    assert 0 < alive < int(count), alive
    deadline = time.time() + 30
    while True:
        try:
            return half_close(port)
        except OSError:
            if time.time() > deadline:
                raise
            time.sleep(0.2)


def refused(*targets):
    """ADDRESS:PORT each: nothing can be said to any of them, and who tries is told."""
    def say(where, port):
        s = socket.create_connection((where, int(port)), timeout=30)
        s.sendall(b"x\n")
        got = s.recv(100)
        if not got:
            raise OSError("closed")
        return got
    for t in targets:
        where, port = t.rsplit(":", 1)
        fails(lambda: say(where.strip("[]"), port))


def silent(address, port):
    """Nothing comes back from there, no error either."""
    try:
        socket.create_connection((address, int(port)), timeout=3)
    except TimeoutError:
        return
    raise AssertionError("it worked")


def taken(host, *all):
    """A scan finds these ports open; who says nothing is cut off."""
    for s in [socket.create_connection((host, int(port)), timeout=30) for port in all]:
        fails(lambda: s.recv(1), 104)


def unmade(host, port, four, six):
    """connect() itself fails, at once, with this errno for each family."""
    for family, number in (socket.AF_INET, four), (socket.AF_INET6, six):
        to = socket.getaddrinfo(host, int(port), family, socket.SOCK_STREAM)[0][4]
        s = socket.socket(family)
        s.settimeout(30)
        fails(lambda: s.connect(to), int(number))


def ports(first, count):
    for port in range(int(first), int(first) + int(count)):
        refused("%s:%d" % (HOST, port))


def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    to = socket.getaddrinfo(HOST, int(port), socket.AF_INET)[0][4]
    for size in 3, 1400, 9000:
        s.sendto(b"z" * size, to)
        data, who = s.recvfrom(65535)
        assert data == b"udp:" + b"z" * size and who == to, (len(data), who)


def udp_listens(port):
    """Some socket here is bound to this port."""
    for table in "/proc/net/udp", "/proc/net/udp6":
        with open(table) as f:
            if any(line.split()[1].endswith(":%04X" % int(port)) for line in f.readlines()[1:]):
                return
    raise AssertionError("nobody listens")


def udp_denied(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect(socket.getaddrinfo(HOST, int(port), socket.AF_INET)[0][4])
    def say():
        s.send(b"x")
        return s.recv(100)
    fails(say, 13, 111, 113)


def question(name, qtype=1):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", qtype, 1)


def ask(server, q, tcp=False):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect((server, 53))
    s.send(struct.pack(">H", len(q)) + q if tcp else q)
    return s.recv(4096)[2 if tcp else 0:]


def dns():
    answer = ask("198.19.0.1", question(HOST))
    assert answer[3] & 15 == 0 and answer[7] == 1 and answer[-4:-2] == b"\xc6\x12", answer
    # Over TCP; and from a server elsewhere, which is us.
    assert ask("198.19.0.1", question(HOST), tcp=True)[-4:] == answer[-4:]
    assert ask("8.8.8.8", question(HOST))[-4:] == answer[-4:]
    # The same address for the same name; another for another.
    assert ask("198.19.0.1", question(HOST))[-4:] == answer[-4:]
    assert ask("198.19.0.1", question("other.example.net"))[-4:] != answer[-4:]
    # Nothing but addresses is known, and what is malformed is said to be.
    for qtype in 12, 15, 16, 33, 65:
        a = ask("198.19.0.1", question("data.example.net", qtype))
        assert a[3] & 15 == 0 and a[7] == 0, a
    assert ask("198.19.0.1", question(HOST)[:20])[3] & 15 == 1
    assert ask("198.19.0.1", question(HOST, 252))[3] & 15 == 5


def tunnel(name):
    """Data in the labels of questions: each has an answer, made up here, and nothing of anybody else's in it."""
    for i in range(100):
        data = "%x" % (i * 0x123456789abcdef ** 3)
        for qtype, answers in (1, 1), (28, 1), (5, 0), (16, 0), (10, 0):
            a = ask("198.19.0.1", question("%s.%s" % (data[:60], name), qtype))
            assert a[3] & 15 in (0, 3) and a[7] in (0, answers), a
            if a[7]:
                assert a[-4:-2] == b"\xc6\x12" if qtype == 1 else a[-16:-8] == b"\xfdhull\0\0\0", a


def again(address, seconds=30):
    """An echo from there, if not now then soon."""
    deadline = time.time() + seconds
    while True:
        try:
            s = socket.create_connection(address, 30)
            s.sendall(b"again")
            s.shutdown(socket.SHUT_WR)
            assert rest(s) == b"againEND"
            return
        except OSError:
            if time.time() > deadline:
                raise
            time.sleep(0.1)


def killed(port):
    """What a program sees of a gateway that dies: a reset, and then the same address works as before."""
    address = socket.getaddrinfo(HOST, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4]
    s = socket.create_connection(address, 60)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    print("connected", flush=True)
    s.settimeout(60)
    fails(lambda: s.recv(1), 104)
    again(address)


def changed(forbidden, kept):
    """Two connections; the one that a change forbids is cut, the other goes on."""
    a, b = connect(forbidden), connect(kept)
    for s in a, b:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    print("connected", flush=True)
    fails(lambda: a.recv(1), 104)
    b.sendall(b"y")
    b.shutdown(socket.SHUT_WR)
    assert rest(b) == b"yEND"


def one_echo(port):
    s = connect(port)
    s.sendall(b"one")
    s.shutdown(socket.SHUT_WR)
    assert rest(s) == b"oneEND"


def raw_frames(port):
    """Frames put on hull0 past all rules: a SYN for the host's server, and a datagram."""
    to = socket.getaddrinfo(HOST, int(port), socket.AF_INET)[0][4][0]
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
    s.bind(("hull0", 0))
    ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, socket.inet_aton("198.19.0.1"),
                               socket.inet_aton(to)))
    total = sum(struct.unpack(">10H", ip))
    struct.pack_into(">H", ip, 10, ~((total & 0xffff) + (total >> 16)) & 0xffff)
    tcp = struct.pack(">HHIIBBHHH", 40000, int(port), 1, 0, 0x50, 2, 8192, 0, 0)
    for _ in range(100):
        s.send(b"\xff" * 12 + b"\x08\x00" + bytes(ip) + tcp)
        s.send(b"\xff" * 14 + b"\0" * 46)


globals()[sys.argv[1]](*sys.argv[2:])
