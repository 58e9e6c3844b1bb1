/* Between the share server and the relay in the guest: what they say to each other beside the kernel's FUSE messages.
 *
 * Both ride on the stream of FUSE messages (docs/workspace.md). From the server: messages whose `unique` is 0 and whose
 * `error` is one of the values below. From the relay: requests with opcodes of their own, which get no reply. hull-init
 * includes this and nothing else of src/share. */
#ifndef HULL_SHARE_RELAY_H
#define HULL_SHARE_RELAY_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Of one message. */
enum {
	HULL_SHARE_MAX_WRITE = 1024 * 1024,
	/* Room for the largest request: header, arguments, names and max_write bytes. */
	HULL_SHARE_REQUEST_MAX = HULL_SHARE_MAX_WRITE + 8192,
};

/* What happened on the host to a name the guest may be watching. Made by others only: what the guest did itself is
 * not reported. */
enum hull_share_event {
	HULL_SHARE_CREATED = 1, /* also: moved to here */
	HULL_SHARE_DELETED,     /* also: moved away from here */
	HULL_SHARE_MODIFIED,    /* the content */
	HULL_SHARE_ATTRIB,      /* owner, mode, times, links, xattrs */
	HULL_SHARE_OVERFLOW,    /* events were lost; anything may have changed. path is "" */
};

/* hull-share tells its guest of changes in the same stream: a message with unique 0, this in place of an error, and
 * {u8 event, u8 directory, path}. */
enum {
	HULL_SHARE_CHANGED = 0x4c4c5548,
	/* There are more notifications to come, once the relay has passed on those it has (transport, `paced`). */
	HULL_SHARE_MORE,
	/* u64: number of the request that gave the occasion, then hull_share_prefetch records. To relays that asked. */
	HULL_SHARE_PREFETCH,
	/* u32, a number: the relay says it (HULL_SHARE_RELAY_SYNCED) when the guest's kernel has taken all the
	 * notifications that came before this. */
	HULL_SHARE_SYNC,
};
/* An answer that has not been asked for yet, sent in front of the reply to another request. It holds until a
 * notification says otherwise, or the guest changes something; a relay may take it only if no request that changes
 * anything was on its way beside the one that gave the occasion. The name follows, then zeros up to a multiple of 8. */
enum {
	HULL_SHARE_PREFETCH_ENTRY =
		1,                /* LOOKUP of the name in node: `entry`, a lookup that the relay must use or FORGET */
	HULL_SHARE_PREFETCH_ATTR, /* GETATTR of node, a directory or a file with one name: `attr` */
	HULL_SHARE_PREFETCH_END,  /* READDIR, or READDIRPLUS, of node at `offset`: nothing */
	HULL_SHARE_PREFETCH_LIST, /* READDIR of node from its beginning: all its entries, `name_len` bytes of fuse_dirent
				  * where a name would be; for READDIRPLUS without attributes */
	HULL_SHARE_PREFETCH_EMPTY, /* LOOKUP of any name in node, a directory: there is none but those the guest makes */
	HULL_SHARE_PREFETCH_HANDLE, /* OPEN of node for reading, once this one is done with: the handle `offset`, that of
				  * the reply to the OPEN which gave the occasion. `open_max` files may be kept
				  * so, with those that are open */
	HULL_SHARE_PREFETCH_DATA, /* READ of node, a file, from its beginning: `name_len` bytes where a name would be */
	HULL_SHARE_PREFETCH_KNOWN, /* LOOKUP of the name in node, which the guest knows already, a directory: `entry`, as
				  * often as it is asked for; each counts (HULL_SHARE_RELAY_NLOOKUP). The name holds
				  * beside  all changes but of names that go, the attributes like those of ATTR */
	HULL_SHARE_PREFETCH_FLUSH, /* FLUSH of node, while it is open and has no locks: there is nothing to report */
	HULL_SHARE_PREFETCH_CHANGED, /* what was sent ahead of node is not true any more. Holds whatever is on its way, and
				   * comes with every change by which a node that is not named in it gets or loses a
				   * name */
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

/* What the relay has to say to the server by itself: requests with these opcodes, which get no reply. */
enum {
	HULL_SHARE_RELAY_LOST = 0x4c4c5548, /* notifications were lost on their way to the guest's kernel */
	HULL_SHARE_RELAY_GO,                /* after HULL_SHARE_MORE: go on */
	HULL_SHARE_RELAY_REPLAYER,          /* u32: the replayer's process from now on, 0 = there is none */
	HULL_SHARE_RELAY_PREFETCH,          /* it keeps HULL_SHARE_PREFETCH */
	HULL_SHARE_RELAY_NLOOKUP,           /* struct hull_share_nlookup: answers to LOOKUP that it gave by itself */
	HULL_SHARE_RELAY_SYNCED,            /* u32: that of HULL_SHARE_SYNC */
};
struct hull_share_nlookup {
	uint64_t node, count;
};
/* A request whose number (`unique`) is 0 gets no reply: a relay may answer RELEASE itself.
 *
 * The relay marks the replayer's requests in the last two bytes of the header, which the guest's kernel leaves 0. It
 * owns that process and knows its id for as long as anything can come of it; here, where one server follows another, a
 * process id says nothing. What is marked never changes anything on the host, whoever's replayer it was. */
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
