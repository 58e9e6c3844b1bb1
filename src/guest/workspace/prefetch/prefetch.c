/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and messages of a workspace, answered from what was prefetched. The invariants: prefetch.h.
 *
 * Answered without any record:
 *   GETXATTR of what is not `user.*`   the server keeps no other; the kernel asks for security.capability at the first
 *                                      write to each file
 *   IOCTL                              no file takes one; Python asks each file whether it is a terminal
 *   RELEASE, RELEASEDIR                nobody waits for it; it is forwarded with unique 0, which gets no reply
 *
 * Answered from records:
 *   | record  | key            | request that it answers                                   | kept until            |
 *   |---------|----------------|-----------------------------------------------------------|-----------------------|
 *   | ENTRY   | (parent, name) | LOOKUP, or an entry of READDIRPLUS                        | used or dropped       |
 *   | KNOWN   | (parent, name) | LOOKUP                                                    | dropped               |
 *   | ATTR    | node           | GETATTR                                                   | used or dropped       |
 *   | LIST    | node           | READDIR or READDIRPLUS from the beginning                 | used or dropped       |
 *   | END     | (node, offset) | READDIR or READDIRPLUS at this offset: nothing            | used or dropped       |
 *   | HANDLE  | node           | OPEN for reading, after the handle was released           | evicted or dropped    |
 *   | FLUSH   | node           | FLUSH, while it is open and not locked                    | the node is closed    |
 *   | EMPTY   | node           | LOOKUP of a name that was not made in it                  | dropped               |
 *   | DATA    | node           | none: stored in the kernel's page cache                   | stored at once        |
 *   | CHANGED | node           | none: drops what is kept of the node                      | -                     | */
#include "guest/workspace/prefetch/prefetch.h"

#include "guest/workspace/prefetch/hash.h"
#include "guest/workspace/prefetch/handles.h"
#include "guest/workspace/prefetch/cache.h"
#include "share/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ABSENT_SEC = 1 }; /* validity of a negative entry, in case that notifications are lost */

/* --- requests in flight (invariants 3 and 4) ---
 *
 * The server works on several requests at once, so what its reply says of a node may be from before a concurrent change
 * of that node or from after it. There are as many requests in flight as the kernel has questions, a few dozen: they
 * stand in an array, and each new one is compared with all others. Nodes and `unique` are the kernel's numbers. */

/* What a request may change: names in these nodes, their attributes, their content; 0 = none. */
struct change {
	uint64_t nodes[2];
	bool any;  /* other nodes as well, unknown here: those that get or lose a name */
	bool read; /* the atime of nodes[0], and nothing else */
};

struct in_flight {
	uint64_t unique, node;
	uint32_t opcode;
	struct change change;
	/* What concurrent requests changed, and read, since this one went out. */
	struct concurrent {
		uint64_t nodes[12];
		uint8_t count;
		bool all; /* more than fit, or unknown ones */
	} changed, read;
};

struct in_flight_set {
	struct in_flight *all;
	size_t count, cap;
	bool blind; /* out of memory once: what was concurrent is not known any more (invariant 12) */
};

static void in_flight_reset(struct in_flight_set *f)
{
	f->count = 0;
	f->blind = false;
}

static void note(struct concurrent *b, uint64_t node)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->nodes[i] == node)
			return;
	if (node == 0)
		return;
	if (b->count == sizeof(b->nodes) / sizeof(*b->nodes))
		b->all = true;
	else
		b->nodes[b->count++] = node;
}

/* `by` is, or was, in flight together with f. */
static void note_concurrent(struct in_flight *f, const struct change *by)
{
	struct concurrent *b = by->read ? &f->read : &f->changed;
	note(b, by->nodes[0]);
	note(b, by->nodes[1]);
	b->all = b->all || by->any;
}

static void in_flight_begin(struct in_flight_set *f, uint64_t unique, uint64_t node, uint32_t opcode,
			    const struct change *change)
{
	if (f->blind)
		return;
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct in_flight *more = reallocarray(f->all, cap, sizeof(*more));
		if (!more) {
			f->blind = true;
			f->count = 0;
			return;
		}
		f->all = more;
		f->cap = cap;
	}
	struct in_flight *one = &f->all[f->count];
	*one = (struct in_flight){.unique = unique, .node = node, .opcode = opcode, .change = *change};
	for (size_t i = 0; i < f->count; i++) {
		note_concurrent(one, &f->all[i].change);
		note_concurrent(&f->all[i], change);
	}
	f->count++;
}

static struct in_flight *in_flight_find(struct in_flight_set *f, uint64_t unique)
{
	for (size_t i = f->count; i-- > 0;)
		if (f->all[i].unique == unique)
			return &f->all[i];
	return NULL;
}

static void in_flight_end(struct in_flight_set *f, uint64_t unique)
{
	struct in_flight *one = in_flight_find(f, unique);
	if (one)
		*one = f->all[--f->count];
}

static bool without(const struct concurrent *b, uint64_t node)
{
	if (b->all)
		return false;
	for (unsigned i = 0; i < b->count; i++)
		if (b->nodes[i] == node)
			return false;
	return true;
}

static bool no_concurrent_change(const struct in_flight *f, uint64_t node)
{
	return without(&f->changed, node);
}

static bool no_concurrent_read(const struct in_flight *f, uint64_t node)
{
	return without(&f->read, node);
}

/* --- the whole --- */

struct hull_prefetch {
	struct hull_records *records;
	struct in_flight_set in_flight;
	struct hull_handles *handles;
	bool blind; /* out of memory once, so an open file may be missing: store nothing in the page cache (invariant 9) */
	struct hull_negative negative;
};

void hull_prefetch_free(struct hull_prefetch *a)
{
	if (!a)
		return;
	hull_records_free(a->records);
	free(a->in_flight.all);
	hull_handles_free(a->handles);
	free(a);
}

struct hull_prefetch *hull_prefetch_new(void)
{
	struct hull_prefetch *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->records = hull_records_new();
	a->handles = hull_handles_new();
	if (a->records && a->handles)
		return a;
	hull_prefetch_free(a);
	return NULL;
}

void hull_prefetch_reset(struct hull_prefetch *a)
{
	hull_records_reset(a->records);
	in_flight_reset(&a->in_flight);
	hull_handles_reset(a->handles);
	hull_negative_reset(&a->negative);
	a->blind = false;
}

/* --- requests --- */

static const void *args(const uint8_t *p, size_t n, size_t want)
{
	return n >= sizeof(struct fuse_in_header) + want ? p + sizeof(struct fuse_in_header) : NULL;
}

/* The name at offset `at` behind the header: its length, 0 when there is none. */
static size_t name_at(const uint8_t *p, size_t n, size_t at, const char **name)
{
	at += sizeof(struct fuse_in_header);
	if (at >= n)
		return 0;
	*name = (const char *)p + at;
	return strnlen(*name, n - at);
}

/* Does the request change names or attributes? An unknown opcode does. */
static bool changes(const struct fuse_in_header *h, const uint8_t *p, size_t n)
{
	const struct fuse_open_in *open_in;
	switch (h->opcode) {
	case FUSE_LOOKUP:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_GETATTR:
	case FUSE_READLINK:
	case FUSE_READ:
	case FUSE_STATFS:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_SYNCFS:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_OPENDIR:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_ACCESS:
	case FUSE_INTERRUPT:
	case FUSE_GETLK:
	case FUSE_SETLK:
	case FUSE_SETLKW:
	case FUSE_LSEEK:
	case FUSE_INIT:
	case FUSE_DESTROY:
		return false;
	case FUSE_OPEN:
		open_in = args(p, n, sizeof(*open_in));
		return !open_in || open_in->flags & O_TRUNC || open_in->open_flags;
	default:
		return true;
	}
}

static void drop_name(struct hull_prefetch *a, uint64_t parent, const char *name, size_t n)
{
	hull_records_drop(a->records, hull_records_named(a->records, parent, name, n));
}

static void drop_known(struct hull_prefetch *a, uint64_t node)
{
	hull_records_drop(a->records, hull_records_of(a->records, node, HULL_SHARE_PREFETCH_KNOWN));
}

/* Drop what the change concerns, and note which nodes those are. */
static void drop_changed(struct hull_prefetch *a, const struct fuse_in_header *h, const uint8_t *p, size_t n,
			 struct change *c)
{
	const char *name = NULL, *second;
	size_t len = 0, more = 0;
	c->nodes[0] = h->nodeid;
	switch (h->opcode) {
	case FUSE_SETATTR:
		hull_handles_drop(a->handles, h->nodeid);
		break;
	case FUSE_OPEN:
	case FUSE_TMPFILE:
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		break;
	case FUSE_MKNOD:
		len = name_at(p, n, sizeof(struct fuse_mknod_in), &name);
		break;
	case FUSE_MKDIR:
		len = name_at(p, n, sizeof(struct fuse_mkdir_in), &name);
		break;
	case FUSE_CREATE:
		len = name_at(p, n, sizeof(struct fuse_create_in), &name);
		break;
	case FUSE_SYMLINK:
		len = name_at(p, n, 0, &name);
		break;
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		c->any = true;
		len = name_at(p, n, 0, &name);
		break;
	case FUSE_LINK:
		len = name_at(p, n, sizeof(struct fuse_link_in), &name);
		if (args(p, n, 8))
			c->nodes[1] = ((const struct fuse_link_in *)args(p, n, 8))->oldnodeid;
		break;
	case FUSE_COPY_FILE_RANGE:
		if (args(p, n, sizeof(struct fuse_copy_file_range_in)))
			c->nodes[1] = ((const struct fuse_copy_file_range_in *)args(p, n, 8))->nodeid_out;
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		c->any = true;
		more = h->opcode == FUSE_RENAME ? sizeof(struct fuse_rename_in) : sizeof(struct fuse_rename2_in);
		len = name_at(p, n, more, &name);
		more = len ? name_at(p, n, more + len + 1, &second) : 0;
		if (more) {
			c->nodes[1] = ((const struct fuse_rename_in *)args(p, n, 8))->newdir;
			drop_name(a, c->nodes[1], second, more);
			hull_negative_name(&a->negative, c->nodes[1], second, more);
		}
		break;
	default:
		c->any = true;
		break;
	}
	hull_records_changed(a->records, c->nodes[0]);
	if (c->nodes[1])
		hull_records_changed(a->records, c->nodes[1]);
	if (len) {
		drop_name(a, h->nodeid, name, len);
		hull_negative_name(&a->negative, h->nodeid, name, len);
	}
}

static void prefetch_answer(struct hull_prefetch_answer *out, const struct fuse_in_header *h, int error, const void *p,
			    size_t n)
{
	struct fuse_out_header o = {.len = (uint32_t)(sizeof(o) + n), .error = error, .unique = h->unique};
	memcpy(out->bytes, &o, sizeof(o));
	if (n)
		memcpy(out->bytes + sizeof(o), p, n);
	out->len = o.len;
	out->forward = false;
}

/* Is it an attribute that no file of a workspace has? */
static bool foreign_xattr(const uint8_t *p, size_t n)
{
	const char *name;
	size_t len = name_at(p, n, sizeof(struct fuse_getxattr_in), &name);
	return len > 0 && strncmp(name, "user.", 5) != 0;
}

/* As many entries of a LIST as there is room for, joined with their ENTRY records. False when there is room for none.
 *  */
static bool answer_list(struct hull_prefetch *a, struct hull_prefetch_answer *out, const struct fuse_in_header *h,
			struct hull_record *r, const struct fuse_read_in *in)
{
	static _Alignas(8) uint8_t all[HULL_PREFETCH_REPLY_MAX];
	size_t room = sizeof(all) - sizeof(struct fuse_out_header), n = 0;
	size_t head = h->opcode == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
	struct fuse_dirent d;
	if (in->size < room)
		room = in->size;
	while (r->at + FUSE_NAME_OFFSET <= r->len) {
		memcpy(&d, r->more + r->at, FUSE_NAME_OFFSET);
		size_t size = FUSE_DIRENT_SIZE(&d);
		if (d.namelen > NAME_MAX || size > r->len - r->at || head + size > room - n)
			break;
		const char *name = r->more + r->at + FUSE_NAME_OFFSET;
		struct hull_record *entry = head ? hull_records_named(a->records, r->node, name, d.namelen) : NULL;
		memset(all + n, 0, head);
		if (entry && entry->type == HULL_SHARE_PREFETCH_ENTRY) {
			memcpy(all + n, &entry->entry, head);
			hull_records_used(a->records, entry);
		}
		memcpy(all + n + head, r->more + r->at, size);
		n += head + size;
		r->at += (uint32_t)size;
		r->offset = d.off;
	}
	if (r->at == r->len)
		hull_records_used(a->records, r);
	if (n)
		prefetch_answer(out, h, 0, all, n);
	return n > 0;
}

static bool answer_lookup(struct hull_prefetch *a, const struct fuse_in_header *h, const char *name, size_t n,
			  struct hull_prefetch_answer *out)
{
	const struct fuse_entry_out none = {.entry_valid = ABSENT_SEC};
	if (n && hull_negative_has(&a->negative, h->nodeid, name, n)) {
		prefetch_answer(out, h, 0, &none, sizeof(none));
		return true;
	}
	struct hull_record *r = n ? hull_records_named(a->records, h->nodeid, name, n) : NULL;
	if (!r)
		return false;
	prefetch_answer(out, h, 0, &r->entry, sizeof(r->entry));
	if (r->type == HULL_SHARE_PREFETCH_KNOWN)
		r->given++;
	else
		hull_records_used(a->records, r);
	return true;
}

static bool answer_held(struct hull_prefetch *a, const struct fuse_in_header *h, const uint8_t *p, size_t n,
			struct hull_prefetch_answer *out)
{
	const struct fuse_read_in *in;
	const char *name = NULL;
	struct hull_record *r;
	switch (h->opcode) {
	case FUSE_LOOKUP:
		n = name_at(p, n, 0, &name);
		return answer_lookup(a, h, name, n, out);
	case FUSE_GETATTR:
		r = hull_records_of(a->records, h->nodeid, HULL_SHARE_PREFETCH_ATTR);
		if (r)
			prefetch_answer(out, h, 0, &r->attr, sizeof(r->attr));
		break;
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		in = args(p, n, sizeof(*in));
		r = in ? hull_records_of(a->records, h->nodeid, HULL_SHARE_PREFETCH_LIST) : NULL;
		if (r && r->offset == in->offset && answer_list(a, out, h, r, in))
			return true;
		r = in ? hull_records_of(a->records, h->nodeid, HULL_SHARE_PREFETCH_END) : NULL;
		if (r && in->offset != r->offset)
			r = NULL;
		if (r)
			prefetch_answer(out, h, 0, NULL, 0);
		break;
	default:
		return false;
	}
	if (!r)
		return false;
	hull_records_used(a->records, r);
	return true;
}

/* The kernel forgets `*count` lookups of a node. Reduce them to those that the server has counted (invariant 7). */
static void prefetch_forget(struct hull_prefetch *a, uint64_t node, uint64_t *count)
{
	struct hull_record *r = hull_records_of(a->records, node, HULL_SHARE_PREFETCH_KNOWN);
	if (r) {
		uint64_t own = r->given < *count ? r->given : *count;
		*count -= own;
		r->given -= (uint32_t)own;
		hull_records_drop(a->records, r);
	}
	hull_records_changed(a->records, node);
	hull_handles_drop(a->handles, node);
}

static void forgotten(struct hull_prefetch *a, const struct fuse_in_header *h, uint8_t *p, size_t n)
{
	struct fuse_batch_forget_in batch;
	struct fuse_forget_one one;
	struct fuse_forget_in all;
	size_t at = sizeof(*h);
	if (h->opcode == FUSE_FORGET && n - at >= sizeof(all)) {
		memcpy(&all, p + at, sizeof(all));
		prefetch_forget(a, h->nodeid, &all.nlookup);
		memcpy(p + at, &all, sizeof(all));
	}
	if (h->opcode == FUSE_FORGET || n - at < sizeof(batch))
		return;
	memcpy(&batch, p + at, sizeof(batch));
	at += sizeof(batch);
	for (uint32_t i = 0; i < batch.count && n - at >= sizeof(one); i++, at += sizeof(one)) {
		memcpy(&one, p + at, sizeof(one));
		prefetch_forget(a, one.nodeid, &one.nlookup);
		memcpy(p + at, &one, sizeof(one));
	}
}

/* Requests about open files that change nothing. True when answered. */
static bool opens_request(struct hull_prefetch *a, const struct fuse_in_header *h, const uint8_t *p, size_t n,
			  struct hull_prefetch_answer *out)
{
	const struct fuse_open_in *open_in;
	struct fuse_open_out opened = {0};
	switch (h->opcode) {
	case FUSE_OPEN:
		open_in = args(p, n, sizeof(*open_in));
		if (open_in->flags & (O_ACCMODE | O_DIRECT) ||
		    !hull_handles_take(a->handles, h->nodeid, &opened.fh, &opened.open_flags))
			return false;
		prefetch_answer(out, h, 0, &opened, sizeof(opened));
		return true;
	case FUSE_FLUSH:
		if (!hull_handles_flush(a->handles, h->nodeid))
			return false;
		prefetch_answer(out, h, 0, NULL, 0);
		return true;
	case FUSE_SETLK:
	case FUSE_SETLKW:
		hull_handles_locked(a->handles, h->nodeid);
		return false;
	default:
		return false;
	}
}

/* Nobody waits for a RELEASE. The server does not get it when the handle stays cached. */
static void prefetch_release(struct hull_prefetch *a, struct fuse_in_header *h, uint8_t *p, size_t n,
			     struct hull_prefetch_answer *out)
{
	const struct fuse_release_in *in = args(p, n, sizeof(*in));
	prefetch_answer(out, h, 0, NULL, 0);
	out->forward = true;
	if (h->opcode == FUSE_RELEASE && in) {
		if (in->release_flags) /* it had a lock */
			hull_handles_drop(a->handles, h->nodeid);
		out->forward = !hull_handles_closed(a->handles, h->nodeid, in->fh);
	}
	h->unique = 0;
	memcpy(p, h, sizeof(*h));
}

void hull_prefetch_request(struct hull_prefetch *a, uint8_t *p, size_t n, struct hull_prefetch_answer *out)
{
	struct fuse_in_header h;
	memcpy(&h, p, sizeof(h));
	out->len = 0;
	out->forward = true;
	if (h.opcode == FUSE_RELEASE || h.opcode == FUSE_RELEASEDIR) {
		prefetch_release(a, &h, p, n, out);
		return;
	}
	if (h.opcode == FUSE_GETXATTR && foreign_xattr(p, n)) {
		prefetch_answer(out, &h, -EOPNOTSUPP, NULL, 0);
		return;
	}
	if (h.opcode == FUSE_IOCTL) {
		prefetch_answer(out, &h, -ENOTTY, NULL, 0);
		return;
	}
	struct change what = {0};
	bool change = changes(&h, p, n);
	if (h.opcode == FUSE_FORGET || h.opcode == FUSE_BATCH_FORGET)
		forgotten(a, &h, p, n);
	else if (change)
		drop_changed(a, &h, p, n, &what);
	else if (!hull_share_marked(&h) && (answer_held(a, &h, p, n, out) || opens_request(a, &h, p, n, out)))
		return;
	if (h.opcode == FUSE_READ) {
		hull_records_drop(a->records, hull_records_of(a->records, h.nodeid, HULL_SHARE_PREFETCH_ATTR));
		what = (struct change){.nodes = {h.nodeid}, .read = true};
	}
	if (change || h.opcode == FUSE_LOOKUP || h.opcode == FUSE_READDIR || h.opcode == FUSE_READDIRPLUS ||
	    h.opcode == FUSE_READ || h.opcode == FUSE_OPEN)
		in_flight_begin(&a->in_flight, h.unique, h.nodeid, h.opcode, &what);
}

/* --- messages --- */

static void take_data(struct hull_prefetch *a, uint64_t node, const uint8_t *p, size_t n,
		      struct hull_prefetch_store *store)
{
	const struct fuse_notify_store_out out = {.nodeid = node, .size = (uint32_t)n};
	const struct fuse_out_header h = {.len = (uint32_t)(HULL_PREFETCH_STORE_HEAD + n), .error = FUSE_NOTIFY_STORE};
	_Static_assert(sizeof(h) + sizeof(out) == HULL_PREFETCH_STORE_HEAD, "the head of a store");
	if (hull_handles_open(a->handles, node))
		return;
	memcpy(store->head, &h, sizeof(h));
	memcpy(store->head + sizeof(h), &out, sizeof(out));
	store->data = p;
	store->len = n;
}

/* May the record be kept (invariants 3 and 4)? */
static bool prefetch_holds(const struct in_flight *f, const struct hull_share_prefetch *r)
{
	if (f && r->type == HULL_SHARE_PREFETCH_KNOWN)
		return no_concurrent_change(f, 0); /* only the loss of a name voids it */
	if (!f || !no_concurrent_change(f, r->node))
		return false;
	if (r->type == HULL_SHARE_PREFETCH_ENTRY)
		return no_concurrent_change(f, r->entry.nodeid);
	if (r->type == HULL_SHARE_PREFETCH_ATTR)
		return S_ISDIR(r->attr.attr.mode) || no_concurrent_read(f, r->node);
	return true;
}

static void take_record(struct hull_prefetch *a, const struct in_flight *f, const struct hull_share_prefetch *r,
			const uint8_t *more, struct hull_prefetch_store *store)
{
	switch (r->type) {
	case HULL_SHARE_PREFETCH_ENTRY:
	case HULL_SHARE_PREFETCH_KNOWN:
	case HULL_SHARE_PREFETCH_ATTR:
	case HULL_SHARE_PREFETCH_LIST:
	case HULL_SHARE_PREFETCH_END:
		if (prefetch_holds(f, r))
			hull_records_add(a->records, r, more);
		else
			hull_records_refuse(a->records, r);
		if (f && r->type == HULL_SHARE_PREFETCH_KNOWN && !no_concurrent_change(f, r->entry.nodeid))
			hull_records_changed(a->records, r->entry.nodeid); /* the name holds, its attributes do not */
		break;
	case HULL_SHARE_PREFETCH_EMPTY:
		if (r->node != 0 && f)
			hull_negative_add(&a->negative, r->node);
		break;
	case HULL_SHARE_PREFETCH_HANDLE:
		if (f && f->node == r->node)
			hull_handles_offer(a->handles, r->node, r->offset, r->open_max);
		break;
	case HULL_SHARE_PREFETCH_DATA:
		if (f && f->node == r->node && no_concurrent_change(f, r->node) && !a->blind)
			take_data(a, r->node, more, r->name_len, store);
		break;
	case HULL_SHARE_PREFETCH_FLUSH:
		hull_handles_no_flush(a->handles, r->node);
		break;
	case HULL_SHARE_PREFETCH_CHANGED:
		hull_records_changed(a->records, r->node);
		drop_known(a, r->node);
		break;
	default:
		break;
	}
}

static void take_records(struct hull_prefetch *a, const uint8_t *p, size_t n, struct hull_prefetch_store *store)
{
	uint64_t unique;
	struct hull_share_prefetch from;
	if (n < sizeof(unique))
		return;
	memcpy(&unique, p, sizeof(unique));
	p += sizeof(unique);
	n -= sizeof(unique);
	const struct in_flight *f = in_flight_find(&a->in_flight, unique);
	while (n >= sizeof(from)) {
		memcpy(&from, p, sizeof(from));
		size_t size = (sizeof(from) + (size_t)from.name_len + 7) & ~(size_t)7;
		if (size > n ||
		    (from.name_len > NAME_MAX && from.type != HULL_SHARE_PREFETCH_DATA &&
		     (from.type != HULL_SHARE_PREFETCH_LIST || from.name_len > HULL_SHARE_PREFETCH_LIST_MAX)))
			return;
		take_record(a, f, &from, p + sizeof(from), store);
		p += size;
		n -= size;
	}
}

static void drop_notified(struct hull_prefetch *a, int code, const uint8_t *p, size_t n)
{
	struct fuse_notify_inval_inode_out inode;
	struct fuse_notify_inval_entry_out entry;
	if (code == FUSE_NOTIFY_INVAL_INODE && n >= sizeof(inode)) {
		memcpy(&inode, p, sizeof(inode));
		hull_records_changed(a->records, inode.ino);
		hull_negative_drop(&a->negative, inode.ino);
		hull_handles_drop(a->handles, inode.ino);
	} else if (code == FUSE_NOTIFY_INVAL_ENTRY && n >= sizeof(entry)) {
		memcpy(&entry, p, sizeof(entry));
		if (entry.namelen <= n - sizeof(entry))
			drop_name(a, entry.parent, (const char *)p + sizeof(entry), entry.namelen);
		hull_records_changed(a->records, entry.parent);
		hull_negative_drop(&a->negative, entry.parent);
	}
}

/* The reply to a request that may have opened a file. */
static void prefetch_opened(struct hull_prefetch *a, const struct in_flight *f, int error, const uint8_t *p, size_t n)
{
	struct fuse_entry_out entry = {.nodeid = f->node};
	struct fuse_open_out out;
	bool made = f->opcode == FUSE_CREATE || f->opcode == FUSE_TMPFILE;
	size_t at = made ? sizeof(entry) : 0;
	if (error || (!made && f->opcode != FUSE_OPEN) || n < at + sizeof(out))
		return;
	memcpy(&entry, p, at);
	memcpy(&out, p + at, sizeof(out));
	if (!hull_handles_opened(a->handles, entry.nodeid, out.fh, out.open_flags))
		a->blind = true;
}

bool hull_prefetch_message(struct hull_prefetch *a, const uint8_t *p, size_t n, struct hull_prefetch_store *store)
{
	struct fuse_out_header h;
	memcpy(&h, p, sizeof(h));
	store->len = 0;
	if (h.unique != 0) {
		const struct in_flight *f = in_flight_find(&a->in_flight, h.unique);
		if (f)
			prefetch_opened(a, f, h.error, p + sizeof(h), n - sizeof(h));
		in_flight_end(&a->in_flight, h.unique);
		return false;
	}
	if (h.error == HULL_SHARE_PREFETCH) {
		take_records(a, p + sizeof(h), n - sizeof(h), store);
		return true;
	}
	drop_notified(a, h.error, p + sizeof(h), n - sizeof(h));
	return false;
}

static size_t tell_release(struct hull_prefetch *a, uint8_t *out)
{
	struct fuse_in_header h = {.len = sizeof(h) + sizeof(struct fuse_release_in), .opcode = FUSE_RELEASE};
	struct fuse_release_in in = {0};
	if (!hull_handles_release(a->handles, &h.nodeid, &in.fh))
		return 0;
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &in, sizeof(in));
	return h.len;
}

size_t hull_prefetch_output(struct hull_prefetch *a, uint8_t out[HULL_PREFETCH_REQUEST_MAX])
{
	size_t n = hull_records_output(a->records, out);
	return n ? n : tell_release(a, out);
}
