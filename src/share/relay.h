/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol between the share server and the relay in the guest, beside the kernel's own FUSE messages.
 *
 * It shares the stream with the FUSE messages (docs/internals/workspace.md). The server sends messages with `unique` 0
 * and one of the values below as `error`. The relay sends requests with opcodes of its own, which get no reply.
 * hull-init includes this and no other header of src/share. */
#ifndef HULL_SHARE_RELAY_H
#define HULL_SHARE_RELAY_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Sizes of one message. */
enum {
	HULL_SHARE_MAX_WRITE = 1024 * 1024,
	/* Room for the largest request: header, arguments, names and max_write bytes. */
	HULL_SHARE_REQUEST_MAX = HULL_SHARE_MAX_WRITE + 8192,
};

/* What happened on the host to a name that a program in the guest may watch. Changes by the guest are not reported. */
enum hull_share_event {
	HULL_SHARE_CREATED = 1, /* also: moved to here */
	HULL_SHARE_DELETED,     /* also: moved away from here */
	HULL_SHARE_MODIFIED,    /* the content */
	HULL_SHARE_ATTRIB,      /* owner, mode, times, links, xattrs */
	HULL_SHARE_OVERFLOW,    /* events were lost; anything may have changed. path is "" */
};

/* Messages of the server beside replies and FUSE notifications: `unique` is 0, and `error` is one of these. */
enum {
	/* A change on the host: {u8 hull_share_event, u8 directory, path}. */
	HULL_SHARE_CHANGED = 0x4c4c5548,
	/* The server has more notifications. It waits for HULL_SHARE_RELAY_GO, which the relay sends when the kernel
	 * has taken all that came before this. */
	HULL_SHARE_MORE,
	/* {u64 unique, records of struct hull_share_prefetch}: prefetched answers, in front of the reply to the request
	 * with this number. Only for relays that sent HULL_SHARE_RELAY_PREFETCH. */
	HULL_SHARE_PREFETCH,
	/* {u32 number}: the relay sends HULL_SHARE_RELAY_SYNCED with this number when the kernel has taken all
	 * notifications that came before this. */
	HULL_SHARE_SYNC,
};

/* Prefetched answers. The rules by which a relay may use one are in guest/workspace/prefetch/prefetch.h. In the stream,
 * `name_len` bytes follow the record (a name where nothing else is said), then zeros up to a multiple of 8. */
enum {
	/* LOOKUP of the name in node: `entry`. Counts one lookup, which the relay must pass to the kernel or FORGET. */
	HULL_SHARE_PREFETCH_ENTRY = 1,
	/* GETATTR of node, a directory or a file with one name: `attr`. */
	HULL_SHARE_PREFETCH_ATTR,
	/* READDIR or READDIRPLUS of node at `offset`: nothing. */
	HULL_SHARE_PREFETCH_END,
	/* READDIR of node from its beginning: all entries. The bytes that follow are a list of fuse_dirent. It answers
	 * READDIRPLUS, too, without attributes. */
	HULL_SHARE_PREFETCH_LIST,
	/* LOOKUP in node, a directory that the guest has just made: it holds no name but those the guest makes. */
	HULL_SHARE_PREFETCH_EMPTY,
	/* OPEN of node for reading, after the OPEN that this belongs to is released: the same handle, `offset`. Open
	 * files and cached handles together may be `open_max`. */
	HULL_SHARE_PREFETCH_HANDLE,
	/* READ of node, a file, from its beginning. The bytes that follow are the content. */
	HULL_SHARE_PREFETCH_DATA,
	/* LOOKUP of the name in node, a directory that the guest knows: `entry`. It may be used more than once. It
	 * counts no lookup: the relay reports how often it was used (HULL_SHARE_RELAY_NLOOKUP). The name holds until a
	 * name is removed or renamed, whatever else is in flight; the attributes hold as in ATTR. */
	HULL_SHARE_PREFETCH_KNOWN,
	/* FLUSH of node, while it is open and not locked: there is nothing to report. */
	HULL_SHARE_PREFETCH_FLUSH,
	/* No answer: records about node are void, whatever is in flight. Sent with each change by which a node that the
	 * request does not name gets or loses a name. */
	HULL_SHARE_PREFETCH_CHANGED,
};
enum { HULL_SHARE_PREFETCH_LIST_MAX = 6 * 1024 };
struct hull_share_prefetch {
	uint32_t type, name_len;
	uint64_t node, offset;
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		uint64_t open_max;
	};
};

/* Requests of the relay itself, which get no reply. */
enum {
	HULL_SHARE_RELAY_LOST = 0x4c4c5548, /* notifications were lost on their way to the guest's kernel */
	HULL_SHARE_RELAY_GO,                /* go on, after HULL_SHARE_MORE */
	HULL_SHARE_RELAY_REPLAYER,          /* u32: the process of the inotify replayer from now on, 0 = none */
	HULL_SHARE_RELAY_PREFETCH,          /* send HULL_SHARE_PREFETCH from now on */
	HULL_SHARE_RELAY_NLOOKUP,           /* struct hull_share_nlookup: lookups that the relay answered from KNOWN */
	HULL_SHARE_RELAY_SYNCED,            /* u32: the number of a HULL_SHARE_SYNC */
};
struct hull_share_nlookup {
	uint64_t node, count;
};
/* A request with unique 0 gets no reply: that is how the relay forwards a RELEASE that it has answered itself.
 *
 * The relay marks the requests of the inotify replayer in the last two bytes of the header, which the guest's kernel
 * leaves 0. The relay owns that process, and knows its id until no request of it can come any more. The server must not
 * decide by the process id: one server follows another, and ids are reused. A marked request changes nothing on the
 * host. */
enum { HULL_SHARE_MARK_AT = 38 };
static inline void hull_share_mark(void *request)
{
	memset((uint8_t *)request + HULL_SHARE_MARK_AT, 'A', 2);
}
static inline bool hull_share_marked(const void *request)
{
	return memcmp((const uint8_t *)request + HULL_SHARE_MARK_AT, "AA", 2) == 0;
}

#endif
