/* Answers of a workspace that are in the guest already.
 *
 * Known without asking: an extended attribute that is not `user.*` (the server keeps no other; the kernel asks for
 * security.capability at the first write to each file); that no file takes an ioctl (Python asks each whether it is a
 * terminal); and that a RELEASE is done (nobody waits; the server is told, and sends no reply to a request whose number
 * is 0).
 *
 * Sent ahead by the server, each to be given out once:
 *   entry    (parent, name) -> what LOOKUP answers. The server has counted one lookup for it, which passes to the
 *            kernel with the answer, or is given back (FORGET) when the record is dropped.
 *   attr     node -> what GETATTR answers.
 *   list     node -> what READDIR at its beginning gives: all of it.
 *   end      (node, offset) -> READDIR there gives nothing.
 *   handle   what the reply to this OPEN has may be given out again once it is released (handles.h)
 *   data     the beginning of a file, for the kernel's page cache, when nobody else has the file open
 *   flush    FLUSH of the node has nothing to report, while it is open and nobody has locked it
 *   changed  nothing more is known of the node
 * And for as long as it holds:
 *   empty    node -> LOOKUP of a name finds nothing there, but for the names made in it since, which all pass here.
 *
 * When is that as good as asking? The server sends a record before the notification of any change on the host that it
 * does not show, and notifications drop what they concern as they pass. A change by the guest itself passes as a
 * request: what it concerns is dropped as it goes out; and since the server works on several requests at once, records
 * are only taken from a reply to a request beside which no change was on its way; attributes of a file only when no
 * READ was either, since that changes the time of access. Files that are sent have one name, so a change by another is
 * not overlooked; which node lost or got a name by a change the server says (changed). A directory that the guest has
 * made is known to nobody in the guest before that request's reply, so that it is empty holds beside any change. Data
 * are spoiled by a change of that very file alone.
 *
 * Memory: RECORDS_MAX records, the oldest dropped first. */
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

enum { ABSENT_SEC = 1 }; /* a name of which no notification would come, were they lost */

/* --- in flight: requests on their way to the server, and what else was on its way beside each ---
 *
 * The server works on several at once, so what its reply says of a node may be from before a change of that node or
 * after. There are as many as the kernel has questions, a few dozen: they stand in an array, and each that begins is
 * compared with all others. Nodes and `unique` are the kernel's numbers. */

/* What a request may change: the names in these nodes, their attributes, their content; 0 = none. */
struct change {
	uint64_t nodes[2];
	bool any;  /* of other nodes as well: whose name it is that goes can not be told from here */
	bool read; /* the time of access of nodes[0], and nothing else */
};

struct in_flight {
	uint64_t unique, node;
	uint32_t opcode;
	struct change change;
	/* Beside it, since it went out: what others changed, and read. */
	struct concurrent {
		uint64_t nodes[12];
		uint8_t count;
		bool all; /* more than that, or any */
	} changed, read;
};

struct in_flight_set {
	struct in_flight *all;
	size_t count, cap;
	bool blind; /* one was lost: what was beside which is not known any more */
};

static struct in_flight_set *in_flight_new(void)
{
	return calloc(1, sizeof(struct in_flight_set));
}

static void in_flight_free(struct in_flight_set *f)
{
	if (!f)
		return;
	free(f->all);
	free(f);
}

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

/* `by` is, or was, on its way beside f. */
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
	struct in_flight_set *in_flight;
	struct hull_handles *handles;
	bool blind; /* out of memory once, in which an open file got lost: put nothing into the page cache any more */
	struct hull_negative negative;
};

void hull_prefetch_free(struct hull_prefetch *a)
{
	if (!a)
		return;
	hull_records_free(a->records);
	in_flight_free(a->in_flight);
	hull_handles_free(a->handles);
	free(a);
}

struct hull_prefetch *hull_prefetch_new(void)
{
	struct hull_prefetch *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->records = hull_records_new();
	a->in_flight = in_flight_new();
	a->handles = hull_handles_new();
	if (a->records && a->in_flight && a->handles)
		return a;
	hull_prefetch_free(a);
	return NULL;
}

void hull_prefetch_reset(struct hull_prefetch *a)
{
	hull_records_reset(a->records);
	in_flight_reset(a->in_flight);
	hull_handles_reset(a->handles);
	hull_negative_reset(&a->negative);
	a->blind = false;
}

/* --- requests --- */

static const void *args(const uint8_t *p, size_t n, size_t want)
{
	return n >= sizeof(struct fuse_in_header) + want ? p + sizeof(struct fuse_in_header) : NULL;
}

/* The name at `at` behind the header, and the one behind it; 0 when there is none. */
static size_t name_at(const uint8_t *p, size_t n, size_t at, const char **name)
{
	at += sizeof(struct fuse_in_header);
	if (at >= n)
		return 0;
	*name = (const char *)p + at;
	return strnlen(*name, n - at);
}

/* Does it change something, names or attributes? What is not known here does. */
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

/* What the change concerns is not as it was. */
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

static void answer(struct hull_prefetch_answer *out, const struct fuse_in_header *h, int error, const void *p, size_t n)
{
	struct fuse_out_header o = {.len = (uint32_t)(sizeof(o) + n), .error = error, .unique = h->unique};
	memcpy(out->bytes, &o, sizeof(o));
	if (n)
		memcpy(out->bytes + sizeof(o), p, n);
	out->len = o.len;
	out->forward = false;
}

/* One that is not user.*, which no file has. */
static bool foreign_xattr(const uint8_t *p, size_t n)
{
	const char *name;
	size_t len = name_at(p, n, sizeof(struct fuse_getxattr_in), &name);
	return len > 0 && strncmp(name, "user.", 5) != 0;
}

/* As much of the directory as there is room for, with what else is known of its entries. False when that is none. */
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
		answer(out, h, 0, all, n);
	return n > 0;
}

static bool answer_lookup(struct hull_prefetch *a, const struct fuse_in_header *h, const char *name, size_t n,
			  struct hull_prefetch_answer *out)
{
	const struct fuse_entry_out none = {.entry_valid = ABSENT_SEC};
	if (n && hull_negative_has(&a->negative, h->nodeid, name, n)) {
		answer(out, h, 0, &none, sizeof(none));
		return true;
	}
	struct hull_record *r = n ? hull_records_named(a->records, h->nodeid, name, n) : NULL;
	if (!r)
		return false;
	answer(out, h, 0, &r->entry, sizeof(r->entry));
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
			answer(out, h, 0, &r->attr, sizeof(r->attr));
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
			answer(out, h, 0, NULL, 0);
		break;
	default:
		return false;
	}
	if (!r)
		return false;
	hull_records_used(a->records, r);
	return true;
}

/* The kernel forgets a node, which it was told of `*count` times: what the server has counted of that. */
static void forget(struct hull_prefetch *a, uint64_t node, uint64_t *count)
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
		forget(a, h->nodeid, &all.nlookup);
		memcpy(p + at, &all, sizeof(all));
	}
	if (h->opcode == FUSE_FORGET || n - at < sizeof(batch))
		return;
	memcpy(&batch, p + at, sizeof(batch));
	at += sizeof(batch);
	for (uint32_t i = 0; i < batch.count && n - at >= sizeof(one); i++, at += sizeof(one)) {
		memcpy(&one, p + at, sizeof(one));
		forget(a, one.nodeid, &one.nlookup);
		memcpy(p + at, &one, sizeof(one));
	}
}

/* What is not a change and concerns open files. True when it is answered. */
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
		answer(out, h, 0, &opened, sizeof(opened));
		return true;
	case FUSE_FLUSH:
		if (!hull_handles_flush(a->handles, h->nodeid))
			return false;
		answer(out, h, 0, NULL, 0);
		return true;
	case FUSE_SETLK:
	case FUSE_SETLKW:
		hull_handles_locked(a->handles, h->nodeid);
		return false;
	default:
		return false;
	}
}

/* Nobody waits for what closing does. The server is not told either where the handle is kept. */
static void release(struct hull_prefetch *a, struct fuse_in_header *h, uint8_t *p, size_t n,
		    struct hull_prefetch_answer *out)
{
	const struct fuse_release_in *in = args(p, n, sizeof(*in));
	answer(out, h, 0, NULL, 0);
	out->forward = true;
	if (h->opcode == FUSE_RELEASE && in) {
		if (in->release_flags) /* there was a lock */
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
		release(a, &h, p, n, out);
		return;
	}
	if (h.opcode == FUSE_GETXATTR && foreign_xattr(p, n)) {
		answer(out, &h, -EOPNOTSUPP, NULL, 0);
		return;
	}
	if (h.opcode == FUSE_IOCTL) {
		answer(out, &h, -ENOTTY, NULL, 0);
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
		in_flight_begin(a->in_flight, h.unique, h.nodeid, h.opcode, &what);
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

/* Does what the record says hold, whatever else was on its way? */
static bool holds(const struct in_flight *f, const struct hull_share_prefetch *r)
{
	if (f && r->type == HULL_SHARE_PREFETCH_KNOWN)
		return no_concurrent_change(f, 0); /* only what takes names away concerns it */
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
		if (holds(f, r))
			hull_records_add(a->records, r, more);
		else
			hull_records_refuse(a->records, r);
		if (f && r->type == HULL_SHARE_PREFETCH_KNOWN && !no_concurrent_change(f, r->entry.nodeid))
			hull_records_changed(a->records, r->entry.nodeid); /* its attributes do not */
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
	const struct in_flight *f = in_flight_find(a->in_flight, unique);
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

/* A file was opened, perhaps. */
static void opened(struct hull_prefetch *a, const struct in_flight *f, int error, const uint8_t *p, size_t n)
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
		const struct in_flight *f = in_flight_find(a->in_flight, h.unique);
		if (f)
			opened(a, f, h.error, p + sizeof(h), n - sizeof(h));
		in_flight_end(a->in_flight, h.unique);
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
	size_t n = hull_records_tell(a->records, out);
	return n ? n : tell_release(a, out);
}
