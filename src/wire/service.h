/* SPDX-License-Identifier: Apache-2.0 */
/* The services on the wire and what their arguments and messages mean. Shared by both ends; docs/internals/wire.md has the
 * same in prose. Every message is a u8 kind (enum below) followed by args fields. */
#ifndef HULL_WIRE_SERVICE_H
#define HULL_WIRE_SERVICE_H

enum hull_service {
	/* opened by the host side */
	HULL_SVC_CONTROL = 1, /* one per epoch, opened by the keeper: lifecycle, clock, identity, stats, events */
	HULL_SVC_EXEC = 2,    /* one process or terminal session */
	HULL_SVC_DIAL = 3,    /* a connection to a TCP port or unix socket inside the guest */
	HULL_SVC_TAR_IN = 4,  /* unpack the tar stream sent at a path */
	HULL_SVC_TAR_OUT = 5, /* pack a path as a tar stream */
	/* opened by the guest side (egress and workspace) */
	HULL_SVC_CONNECT = 16,  /* a TCP connection out of the sandbox */
	HULL_SVC_RESOLVE = 17,  /* one DNS question */
	HULL_SVC_SHARE = 18,    /* the messages of one mounted workspace: PATH; DATA is FUSE's, both ways */
	HULL_SVC_DATAGRAM = 19, /* a UDP flow out of the sandbox: one stream per local port and destination */
	/* answered by hull-keeper itself on control.sock; never relayed to the guest */
	HULL_SVC_KEEPER = 32, /* request: JSON in HULL_TAG_JSON; the answer is JSON as DATA, then EOF */
	/* opened by hull-keeper on its wire to hull-egress, the first thing on it; see egress/egress.h */
	HULL_SVC_EGRESS = 33,
	/* answered by hull-keeper itself on control.sock: NAME, the id of a job. DATA and messages are those of an
	 * EXEC, the job's from now on; closing it leaves the job as it is. */
	HULL_SVC_ATTACH = 34,
};

/* Tags of args fields; each is used by the services named. str = UTF-8 or raw bytes without NUL. */
enum hull_tag {
	HULL_TAG_ARGV = 1,        /* exec: str, repeated */
	HULL_TAG_ENV = 2,         /* exec: str "K=V", repeated; later ones win */
	HULL_TAG_CWD = 3,         /* exec: str; default the user's home */
	HULL_TAG_USER = 4,        /* exec: str name, uid, or name:group / uid:gid; default "agent" */
	HULL_TAG_TTY = 5,         /* exec: u32 1 = on a pseudo-terminal */
	HULL_TAG_ROWS = 6,        /* exec, resize: u32 */
	HULL_TAG_COLS = 7,        /* exec, resize: u32 */
	HULL_TAG_LOGIN = 8,       /* exec: u32 1 = the user's login shell when argv is empty */
	HULL_TAG_PID = 9,         /* exec ACCEPT: u32 pid in the guest */
	HULL_TAG_STATUS = 10,     /* exit: u32 exit code; 128+n when killed by signal n */
	HULL_TAG_SIGNAL = 11,     /* signal: u32 Linux number; exit: u32 when killed by one */
	HULL_TAG_PATH = 12,       /* dial unix, tar-in, tar-out: str absolute path */
	HULL_TAG_PORT = 13,       /* dial, connect, datagram: u32 */
	HULL_TAG_ADDRESS = 14,    /* dial: str, default 127.0.0.1; connect, datagram: str literal address (a synthetic
				     one stands for its name) or name; resolve ACCEPT: str literal, repeated */
	HULL_TAG_ERRNO = 15,      /* failures: u32 positive errno */
	HULL_TAG_TEXT = 16,       /* a message for a person: str */
	HULL_TAG_TIME_NS = 17,    /* control: u64 CLOCK_REALTIME nanoseconds */
	HULL_TAG_HOSTNAME = 18,   /* control: str */
	HULL_TAG_ENTROPY = 19,    /* control: bytes */
	HULL_TAG_SERVICE = 20,    /* events: str "docker" */
	HULL_TAG_STATE = 21,      /* events: str "starting" "ready" "failed" "stopped" "absent" */
	HULL_TAG_GRACE_MS = 22,   /* shutdown: u32 */
	HULL_TAG_MEM_TOTAL = 23,  /* stats: u64 bytes */
	HULL_TAG_MEM_AVAIL = 24,  /* stats: u64 bytes */
	HULL_TAG_DISK_TOTAL = 25, /* stats: u64 bytes */
	HULL_TAG_DISK_FREE = 26,  /* stats: u64 bytes */
	HULL_TAG_SESSIONS = 27,   /* stats: u32 exec sessions open */
	HULL_TAG_UPTIME_MS = 28,  /* stats, events: u64 since the guest kernel started */
	HULL_TAG_JSON = 29,       /* keeper: str */
	HULL_TAG_KEEP = 30,       /* exec: u32 1 = a client that goes away does not hang the process up */
	HULL_TAG_NAME = 31,       /* tar-in: str, unpack the single entry under this name; resolve: str name */
	HULL_TAG_DISK_BYTES = 32, /* control configure, grow: u64, grow the file system to the disk's size */
	HULL_TAG_PROTOCOL = 33,   /* dial: u32, 6 = TCP (default), 17 = UDP: DATA is then datagrams, as in datagram */
	HULL_TAG_QTYPE = 34,      /* resolve: u32, the DNS type: 1 A, 28 AAAA, ...; the name is in NAME */
	HULL_TAG_TTL = 35,        /* resolve ACCEPT: u32 seconds */
	HULL_TAG_RENEW = 36,      /* control configure: u32 1 = this is a copy of another machine: renew identities */
	HULL_TAG_READONLY = 40,   /* mount: u32 1 = the server refuses changes */
	HULL_TAG_MODE = 41,       /* mount: u32, the type and mode bits of what is mounted (a directory or a file) */
	HULL_TAG_WORKDIR = 43,    /* exec: str; where to start when CWD is not given; the user's home if that fails */
	HULL_TAG_FORCE = 42,      /* unmount: u32 1 = also while it is in use */
	HULL_TAG_REST = 44,       /* sync: u32 1 = stop dockerd until somebody wants it */
	HULL_TAG_OFFSET_NS = 50,  /* time: u64, two's complement: so much is the guest's clock behind */
	HULL_TAG_GUEST_NS = 51,   /* clock: u64 what the guest's clock says */
	HULL_TAG_SWAP_BYTES = 66, /* configure: u64, have so much swap on the disk; 0 = none */
	HULL_TAG_GIT_NAME = 61,   /* configure: str, the host user's name for git */
	HULL_TAG_GIT_EMAIL = 62,  /* configure: str */
	HULL_TAG_LINK = 63, /* configure: str, repeated: a symlink to make where nothing is, to the TARGET behind it */
	HULL_TAG_TARGET = 64,  /* configure: str */
	HULL_TAG_LOG = 70,     /* configure: str, levels as HULL_LOG has them */
	HULL_TAG_LINKDIR = 65, /* exec: str; another name of WORKDIR, to start by */
	HULL_TAG_CA_HASH = 67, /* control OPEN: u32, the hash of the subject's name of the CA behind it */
	HULL_TAG_CA = 68,      /* control OPEN: str, repeated: the certificate of an authority to trust, PEM */
	HULL_TAG_SESSION = 60, /* exec ACCEPT, kill: u32, the number of the session's cgroup in this guest */
	HULL_TAG_ID = 52,      /* exec, session: str, 8 of 0-9a-f: the session outlives the wire under this name */
	HULL_TAG_TRACE = 69,   /* any OPEN: u32, the number by which trace lines name the stream at every end */
	HULL_TAG_ATTACH = 53,  /* exec: u32 1 = no new command, but the session ID, which lost its stream */
};

/* Messages, by first byte. */
enum hull_msg {
	/* control, host to guest */
	HULL_MSG_CONFIGURE = 1, /* TIME_NS, HOSTNAME, ENTROPY: sent once per epoch before anything else */
	HULL_MSG_SHUTDOWN = 2,  /* GRACE_MS: TERM everyone, wait, KILL, unmount, power off */
	HULL_MSG_STATS_ASK = 3,
	HULL_MSG_SYNC = 4,  /* REST: sync(2); answered with SYNCED */
	HULL_MSG_TIME = 10, /* TIME_NS, OFFSET_NS: what the clock should say; answered with CLOCK */
	/* PATH, READONLY, MODE: open a SHARE stream and mount what it serves at PATH; answered with MOUNTED */
	HULL_MSG_MOUNT = 8,
	/* PATH, FORCE: answered with UNMOUNTED. Without a PATH: whatever has no SHARE stream, without an answer. */
	HULL_MSG_UNMOUNT = 9,
	/* SESSION, SIGNAL: to every process of this session, also once its first one has ended */
	HULL_MSG_KILL = 12,
	HULL_MSG_GROW = 14, /* DISK_BYTES: the disk has this size now: grow its file system; answered with GROWN */
	/* control, guest to host */
	HULL_MSG_CONFIGURED = 16, /* the guest answers exec from now on; UPTIME_MS */
	HULL_MSG_SERVICE = 17,    /* SERVICE, STATE, UPTIME_MS, TEXT: dockerd changed state; "resting" is ready, too */
	HULL_MSG_STATS = 18,
	HULL_MSG_SYNCED = 19,
	HULL_MSG_LOG = 20,       /* TEXT: a line for the keeper's log */
	HULL_MSG_STOPPING = 21,  /* shutdown has begun (also when the guest itself asked for it) */
	HULL_MSG_MOUNTED = 24,   /* PATH, ERRNO (0 = it is there), TEXT */
	HULL_MSG_UNMOUNTED = 25, /* PATH, ERRNO, TEXT */
	HULL_MSG_CLOCK = 26,     /* TIME_NS as it came with TIME, GUEST_NS */
	HULL_MSG_GROWN = 30,     /* ERRNO (0 = done), TEXT */
	/* ID, ARGV (repeated, perhaps cut), TTY: a session that lost its stream when the epoch changed; before
	   CONFIGURED */
	HULL_MSG_SESSION = 27,
	/* exec, host to guest */
	HULL_MSG_RESIZE = 32, /* ROWS, COLS */
	HULL_MSG_SIGNAL = 33, /* SIGNAL: to the session's process group (foreground group on a terminal) */
	/* No more stdin: close it once the DATA sent before is written. Unlike the stream's EOF (which means the same
	 * for stdin) it leaves the way open for RESIZE and SIGNAL. */
	HULL_MSG_STDIN_EOF = 34,
	/* exec and tar, guest to host, the last thing before EOF */
	HULL_MSG_EXIT = 48, /* STATUS, SIGNAL; or ERRNO and TEXT */
};

/* The longest that anybody may ask a shutdown to wait for processes: a day. */
#define HULL_GRACE_MAX_MS (24 * 3600 * 1000)

/* DATA channels of exec: host to guest 0 = stdin; guest to host 0 = stdout (or the terminal), 1 = stderr. */
/* The user and group "agent" of the images, whom the files in a workspace belong to inside. */
enum { HULL_GUEST_UID = 1000, HULL_GUEST_GID = 1000 };

enum { HULL_CHANNEL_MAIN = 0, HULL_CHANNEL_STDERR = 1 };

/* Addresses of the sandbox's make-believe network (docs/internals/wire.md, services 16, 17 and 19). A name is given a number and
 * has these two addresses; everything else goes to connect as it is. The guest's own link uses the second half. */
#define HULL_NET_NAMES4   "198.18.0.0/16"       /* synthetic: 198.18.0.0 + the name's number */
#define HULL_NET_NAMES6   "fd68:756c:6c00::/64" /* synthetic: fd68:756c:6c00:: + the name's number */
#define HULL_NET_GUEST4   "198.19.0.1/16"       /* hull0, and the DNS server */
#define HULL_NET_GUEST6   "fd68:756c:6c00:1::1/64"
#define HULL_NET_DATAGRAM 65507 /* the longest datagram: u16 length, then the bytes, in DATA cut anywhere */

/* Where things are inside the guest (docs/internals/guest.md). */
#define HULL_GUEST_DOCKER_SOCKET "/run/docker.sock"
#define HULL_GUEST_LOG_DIR       "/run/hull/disk/log"
#define HULL_GUEST_DOCKER_LOG    HULL_GUEST_LOG_DIR "/dockerd.log"
#define HULL_WIRE_PORT_NAME      "org.hull.wire"

#endif
