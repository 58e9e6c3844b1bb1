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
 *   handle   what the reply to this OPEN has may be given out again once it is released (share_open.h)
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
#include "guest/share_ahead.h"

#include "guest/share_hash.h"
#include "guest/share_made.h"
#include "guest/share_open.h"
#include "share/share.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { RECORDS_MAX = 8192, BUCKETS = 8192, FORGETS = 4096, FORGETS_AT = 32, BATCH = 250 };
enum { ABSENT_SEC = 1 }; /* a name of which no notification would come, were they lost */

struct record {
	uint32_t type; /* HULL_SHARE_AHEAD_* */
	uint64_t node; /* of an entry: its own */
	uint64_t parent, offset;
	struct record *by_node, *by_name; /* next in the bucket */
	struct record *older, *newer;     /* by age */
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
	};
	uint32_t name_len;
	char name[];
};

/* A request on its way that matters here. */
struct flight {
	uint64_t unique, seq;
	uint64_t read_seq;
	uint64_t node;
	uint32_t opcode;
	bool clean;   /* no change was on its way when it went out */
	bool unread;  /* and no READ */
	bool spoiled; /* a change of the same node was, or is since */
	bool change, read;
};

struct hull_ahead {
	struct record *nodes[BUCKETS], *names[BUCKETS];
	/* By age: entries, and all the others, which are few. */
	struct ages {
		struct record *oldest, *newest;
	} entries, others;
	uint32_t count;
	struct flight *flights;
	size_t flight_count, flight_cap;
	uint32_t changes, reads; /* on their way */
	uint64_t seq, read_seq;  /* of the latest */
	bool blind;              /* out of memory once, in which a request got lost: take no more records */
	uint32_t announcer;
	uint64_t forgets[FORGETS];
	uint32_t forget_count;
	struct hull_opens *opens;
	struct hull_made made;
};

struct hull_ahead *hull_ahead_new(void)
{
	struct hull_ahead *a = calloc(1, sizeof(*a));
	if (a && !(a->opens = hull_opens_new())) {
		free(a);
		a = NULL;
	}
	return a;
}

/* --- records --- */

static struct record **node_bucket(struct hull_ahead *a, uint64_t node)
{
	return &a->nodes[hull_hash_node(node) % BUCKETS];
}

static struct record **name_bucket(struct hull_ahead *a, uint64_t parent, const char *name, size_t n)
{
	return &a->names[hull_hash_name(parent, name, n) % BUCKETS];
}

static struct ages *ages_of(struct hull_ahead *a, const struct record *r)
{
	return r->type == HULL_SHARE_AHEAD_ENTRY ? &a->entries : &a->others;
}

/* Out of the tables. The caller frees it. */
static void unlink_record(struct hull_ahead *a, struct record *r)
{
	struct record **at = node_bucket(a, r->node);
	while (*at != r)
		at = &(*at)->by_node;
	*at = r->by_node;
	if (r->type == HULL_SHARE_AHEAD_ENTRY) {
		at = name_bucket(a, r->parent, r->name, r->name_len);
		while (*at != r)
			at = &(*at)->by_name;
		*at = r->by_name;
	}
	struct ages *g = ages_of(a, r);
	*(r->older ? &r->older->newer : &g->oldest) = r->newer;
	*(r->newer ? &r->newer->older : &g->newest) = r->older;
	a->count--;
}

static void give_back(struct hull_ahead *a, uint64_t node)
{
	if (a->forget_count < FORGETS) /* else the server keeps it until it ends */
		a->forgets[a->forget_count++] = node;
}

static void drop(struct hull_ahead *a, struct record *r)
{
	unlink_record(a, r);
	if (r->type == HULL_SHARE_AHEAD_ENTRY)
		give_back(a, r->node);
	free(r);
}

static struct record *find_name(struct hull_ahead *a, uint64_t parent, const char *name, size_t n)
{
	struct record *r = *name_bucket(a, parent, name, n);
	while (r && (r->parent != parent || r->name_len != n || memcmp(r->name, name, n) != 0))
		r = r->by_name;
	return r;
}

static struct record *find_node(struct hull_ahead *a, uint64_t node, uint32_t type)
{
	struct record *r = *node_bucket(a, node);
	while (r && (r->node != node || r->type != type))
		r = r->by_node;
	return r;
}

static void drop_node(struct hull_ahead *a, uint64_t node)
{
	for (struct record *r = *node_bucket(a, node), *next; r; r = next) {
		next = r->by_node;
		if (r->node == node)
			drop(a, r);
	}
}

static void drop_name(struct hull_ahead *a, uint64_t parent, const char *name, size_t n)
{
	struct record *r = find_name(a, parent, name, n);
	if (r)
		drop(a, r);
}

static void drop_attr(struct hull_ahead *a, uint64_t node)
{
	struct record *r = find_node(a, node, HULL_SHARE_AHEAD_ATTR);
	if (r)
		drop(a, r);
}

static void add(struct hull_ahead *a, const struct hull_share_ahead *from, const char *name)
{
	struct record *r = from->type == HULL_SHARE_AHEAD_ENTRY ? find_name(a, from->node, name, from->name_len)
								: find_node(a, from->node, from->type);
	if (r)
		drop(a, r);
	/* Both have something behind them: a name, the entries. */
	bool entry = from->type == HULL_SHARE_AHEAD_ENTRY;
	size_t more = entry || from->type == HULL_SHARE_AHEAD_LIST ? from->name_len : 0;
	r = calloc(1, sizeof(*r) + more);
	if (!r) {
		if (entry)
			give_back(a, from->entry.nodeid);
		return;
	}
	r->name_len = (uint32_t)more;
	if (more)
		memcpy(r->name, name, more);
	r->type = from->type;
	r->node = from->node;
	r->offset = from->offset;
	if (entry) {
		r->parent = from->node;
		r->entry = from->entry;
		r->node = from->entry.nodeid;
		struct record **head = name_bucket(a, r->parent, r->name, r->name_len);
		r->by_name = *head;
		*head = r;
	} else {
		r->attr = from->attr;
	}
	struct record **head = node_bucket(a, r->node);
	r->by_node = *head;
	*head = r;
	struct ages *g = ages_of(a, r);
	r->older = g->newest;
	*(g->newest ? &g->newest->newer : &g->oldest) = r;
	g->newest = r;
	if (++a->count > RECORDS_MAX)
		drop(a, a->entries.oldest ? a->entries.oldest : a->others.oldest);
}

void hull_ahead_reset(struct hull_ahead *a)
{
	for (struct record *r; (r = a->entries.oldest ? a->entries.oldest : a->others.oldest);) {
		unlink_record(a, r);
		free(r);
	}
	hull_made_reset(&a->made);
	a->flight_count = 0;
	a->changes = a->reads = a->forget_count = 0;
	a->blind = false;
	hull_opens_reset(a->opens);
}

void hull_ahead_free(struct hull_ahead *a)
{
	if (!a)
		return;
	hull_ahead_reset(a);
	hull_opens_free(a->opens);
	free(a->flights);
	free(a);
}

void hull_ahead_announcer(struct hull_ahead *a, uint32_t pid)
{
	a->announcer = pid;
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

/* What the change concerns is not as it was. */
static void drop_changed(struct hull_ahead *a, const struct fuse_in_header *h, const uint8_t *p, size_t n)
{
	const char *name = NULL, *second;
	size_t len = 0, more = 0;
	drop_node(a, h->nodeid);
	switch (h->opcode) {
	case FUSE_SETATTR:
		hull_opens_drop(a->opens, h->nodeid);
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
		len = name_at(p, n, 0, &name);
		break;
	case FUSE_LINK:
		len = name_at(p, n, sizeof(struct fuse_link_in), &name);
		if (args(p, n, 8))
			drop_node(a, ((const struct fuse_link_in *)args(p, n, 8))->oldnodeid);
		break;
	case FUSE_COPY_FILE_RANGE:
		if (args(p, n, sizeof(struct fuse_copy_file_range_in)))
			drop_node(a, ((const struct fuse_copy_file_range_in *)args(p, n, 8))->nodeid_out);
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		more = h->opcode == FUSE_RENAME ? sizeof(struct fuse_rename_in) : sizeof(struct fuse_rename2_in);
		len = name_at(p, n, more, &name);
		more = len ? name_at(p, n, more + len + 1, &second) : 0;
		if (more) {
			uint64_t to = ((const struct fuse_rename_in *)args(p, n, 8))->newdir;
			drop_node(a, to);
			drop_name(a, to, second, more);
			hull_made_name(&a->made, to, second, more);
		}
		break;
	default:
		break;
	}
	if (len) {
		drop_name(a, h->nodeid, name, len);
		hull_made_name(&a->made, h->nodeid, name, len);
	}
}

static void fly(struct hull_ahead *a, const struct fuse_in_header *h, bool change)
{
	bool read = h->opcode == FUSE_READ;
	if (a->flight_count == a->flight_cap) {
		size_t cap = a->flight_cap ? 2 * a->flight_cap : 64;
		struct flight *more = reallocarray(a->flights, cap, sizeof(*more));
		if (!more) {
			a->blind = true;
			return;
		}
		a->flights = more;
		a->flight_cap = cap;
	}
	struct flight *f = &a->flights[a->flight_count++];
	*f = (struct flight){
		.unique = h->unique,
		.node = h->nodeid,
		.opcode = h->opcode,
		.clean = a->changes == 0,
		.unread = a->reads == 0,
		.change = change,
		.read = read,
	};
	for (size_t i = 0; i + 1 < a->flight_count; i++) {
		struct flight *other = &a->flights[i];
		if (other->node == f->node) {
			f->spoiled = f->spoiled || other->change;
			other->spoiled = other->spoiled || change;
		}
	}
	a->changes += change;
	a->seq += change;
	f->seq = a->seq;
	a->reads += read;
	a->read_seq += read;
	f->read_seq = a->read_seq;
}

static void answer(struct hull_ahead_answer *out, const struct fuse_in_header *h, int error, const void *p, size_t n)
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

/* The whole directory. Without its entries' attributes, for which there are records, or the kernel asks. False when
 * there is not enough room. */
static bool answer_list(struct hull_ahead_answer *out, const struct fuse_in_header *h, const struct record *r,
			const struct fuse_read_in *in)
{
	static _Alignas(8) uint8_t all[HULL_AHEAD_REPLY_MAX];
	const struct fuse_entry_out none = {0};
	size_t room = sizeof(all) - sizeof(struct fuse_out_header), n = 0;
	struct fuse_dirent d;
	if (in->size < room)
		room = in->size;
	for (size_t at = 0; at + FUSE_NAME_OFFSET <= r->name_len; at += FUSE_DIRENT_SIZE(&d)) {
		memcpy(&d, r->name + at, FUSE_NAME_OFFSET);
		size_t head = h->opcode == FUSE_READDIRPLUS ? sizeof(none) : 0, size = FUSE_DIRENT_SIZE(&d);
		if (d.namelen > NAME_MAX || size > r->name_len - at || head + size > room - n)
			return false;
		memcpy(all + n, &none, head);
		memcpy(all + n + head, r->name + at, size);
		n += head + size;
	}
	answer(out, h, 0, all, n);
	return true;
}

static bool answer_held(struct hull_ahead *a, const struct fuse_in_header *h, const uint8_t *p, size_t n,
			struct hull_ahead_answer *out)
{
	const struct fuse_read_in *read_in;
	const char *name;
	size_t len;
	struct record *r;
	switch (h->opcode) {
	case FUSE_LOOKUP:
		len = name_at(p, n, 0, &name);
		if (len && hull_made_absent(&a->made, h->nodeid, name, len)) {
			const struct fuse_entry_out none = {.entry_valid = ABSENT_SEC};
			answer(out, h, 0, &none, sizeof(none));
			return true;
		}
		r = len ? find_name(a, h->nodeid, name, len) : NULL;
		if (r)
			answer(out, h, 0, &r->entry, sizeof(r->entry));
		break;
	case FUSE_GETATTR:
		r = find_node(a, h->nodeid, HULL_SHARE_AHEAD_ATTR);
		if (r)
			answer(out, h, 0, &r->attr, sizeof(r->attr));
		break;
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		read_in = args(p, n, sizeof(*read_in));
		r = read_in && read_in->offset == 0 ? find_node(a, h->nodeid, HULL_SHARE_AHEAD_LIST) : NULL;
		if (r && answer_list(out, h, r, read_in))
			break;
		r = read_in ? find_node(a, h->nodeid, HULL_SHARE_AHEAD_END) : NULL;
		if (r && read_in->offset != r->offset)
			r = NULL;
		if (r)
			answer(out, h, 0, NULL, 0);
		break;
	default:
		return false;
	}
	if (!r)
		return false;
	unlink_record(a, r); /* with an entry, its lookup passes to the kernel */
	free(r);
	return true;
}

/* What is not a change and concerns open files. True when it is answered. */
static bool opens_request(struct hull_ahead *a, const struct fuse_in_header *h, const uint8_t *p, size_t n,
			  struct hull_ahead_answer *out)
{
	const struct fuse_open_in *open_in;
	const struct fuse_batch_forget_in *batch;
	struct fuse_open_out opened = {0};
	switch (h->opcode) {
	case FUSE_OPEN:
		open_in = args(p, n, sizeof(*open_in));
		if (open_in->flags & (O_ACCMODE | O_DIRECT) ||
		    !hull_opens_take(a->opens, h->nodeid, &opened.fh, &opened.open_flags))
			return false;
		answer(out, h, 0, &opened, sizeof(opened));
		return true;
	case FUSE_FLUSH:
		if (!hull_opens_flush(a->opens, h->nodeid))
			return false;
		answer(out, h, 0, NULL, 0);
		return true;
	case FUSE_SETLK:
	case FUSE_SETLKW:
		hull_opens_locked(a->opens, h->nodeid);
		return false;
	case FUSE_FORGET:
		hull_opens_drop(a->opens, h->nodeid);
		return false;
	case FUSE_BATCH_FORGET:
		batch = args(p, n, sizeof(*batch));
		for (uint32_t i = 0; batch && i < batch->count &&
				     args(p, n, sizeof(*batch) + (i + 1ull) * sizeof(struct fuse_forget_one));
		     i++)
			hull_opens_drop(a->opens, ((const struct fuse_forget_one *)(batch + 1))[i].nodeid);
		return false;
	default:
		return false;
	}
}

/* Nobody waits for what closing does. The server is not told either where the handle is kept. */
static void release(struct hull_ahead *a, struct fuse_in_header *h, uint8_t *p, size_t n, struct hull_ahead_answer *out)
{
	const struct fuse_release_in *in = args(p, n, sizeof(*in));
	answer(out, h, 0, NULL, 0);
	out->forward = true;
	if (h->opcode == FUSE_RELEASE && in) {
		if (in->release_flags) /* there was a lock */
			hull_opens_drop(a->opens, h->nodeid);
		out->forward = !hull_opens_closed(a->opens, h->nodeid, in->fh);
	}
	h->unique = 0;
	memcpy(p, h, sizeof(*h));
}

void hull_ahead_request(struct hull_ahead *a, uint8_t *p, size_t n, struct hull_ahead_answer *out)
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
	bool change = changes(&h, p, n);
	if (change)
		drop_changed(a, &h, p, n);
	else if (!(a->announcer && h.pid == a->announcer) &&
		 (answer_held(a, &h, p, n, out) || opens_request(a, &h, p, n, out)))
		return;
	if (h.opcode == FUSE_READ)
		drop_attr(a, h.nodeid);
	if (change || h.opcode == FUSE_LOOKUP || h.opcode == FUSE_READDIR || h.opcode == FUSE_READDIRPLUS ||
	    h.opcode == FUSE_READ || h.opcode == FUSE_OPEN)
		fly(a, &h, change);
}

/* --- messages --- */

static struct flight *flight_of(struct hull_ahead *a, uint64_t unique)
{
	for (size_t i = a->flight_count; i-- > 0;)
		if (a->flights[i].unique == unique)
			return &a->flights[i];
	return NULL;
}

static void take_data(struct hull_ahead *a, uint64_t node, const uint8_t *p, size_t n, struct hull_ahead_store *store)
{
	const struct fuse_notify_store_out out = {.nodeid = node, .size = (uint32_t)n};
	const struct fuse_out_header h = {.len = (uint32_t)(HULL_AHEAD_STORE_HEAD + n), .error = FUSE_NOTIFY_STORE};
	_Static_assert(sizeof(h) + sizeof(out) == HULL_AHEAD_STORE_HEAD, "the head of a store");
	if (hull_opens_any(a->opens, node))
		return;
	memcpy(store->head, &h, sizeof(h));
	memcpy(store->head + sizeof(h), &out, sizeof(out));
	store->data = p;
	store->len = n;
}

static void take_records(struct hull_ahead *a, const uint8_t *p, size_t n, struct hull_ahead_store *store)
{
	uint64_t unique;
	struct hull_share_ahead from;
	if (n < sizeof(unique))
		return;
	memcpy(&unique, p, sizeof(unique));
	p += sizeof(unique);
	n -= sizeof(unique);
	const struct flight *f = flight_of(a, unique);
	bool good = f && f->clean && f->seq == a->seq && !a->blind;
	bool unread = f && f->unread && f->read_seq == a->read_seq;
	while (n >= sizeof(from)) {
		memcpy(&from, p, sizeof(from));
		size_t size = (sizeof(from) + (size_t)from.name_len + 7) & ~(size_t)7;
		if (size > n || (from.name_len > NAME_MAX && from.type != HULL_SHARE_AHEAD_DATA &&
				 (from.type != HULL_SHARE_AHEAD_LIST || from.name_len > HULL_SHARE_AHEAD_LIST_MAX)))
			return;
		bool entry = from.type == HULL_SHARE_AHEAD_ENTRY;
		bool attr = from.type == HULL_SHARE_AHEAD_ATTR && (S_ISDIR(from.attr.attr.mode) || unread);
		bool read = from.type == HULL_SHARE_AHEAD_LIST || from.type == HULL_SHARE_AHEAD_END;
		if (from.type == HULL_SHARE_AHEAD_CHANGED)
			drop_node(a, from.node);
		else if (good && (entry || attr || read))
			add(a, &from, (const char *)p + sizeof(from));
		else if (from.type == HULL_SHARE_AHEAD_EMPTY && from.node != 0 && !a->blind)
			hull_made_empty(&a->made, from.node);
		else if (from.type == HULL_SHARE_AHEAD_HANDLE && f && f->node == from.node)
			hull_opens_offer(a->opens, from.node, from.offset, from.open_max);
		else if (from.type == HULL_SHARE_AHEAD_FLUSH)
			hull_opens_quiet(a->opens, from.node);
		else if (from.type == HULL_SHARE_AHEAD_DATA && f && f->node == from.node && !f->spoiled && !a->blind)
			take_data(a, from.node, p + sizeof(from), from.name_len, store);
		else if (entry)
			give_back(a, from.entry.nodeid);
		p += size;
		n -= size;
	}
}

static void drop_notified(struct hull_ahead *a, int code, const uint8_t *p, size_t n)
{
	struct fuse_notify_inval_inode_out inode;
	struct fuse_notify_inval_entry_out entry;
	if (code == FUSE_NOTIFY_INVAL_INODE && n >= sizeof(inode)) {
		memcpy(&inode, p, sizeof(inode));
		drop_node(a, inode.ino);
		hull_made_unknown(&a->made, inode.ino);
		hull_opens_drop(a->opens, inode.ino);
	} else if (code == FUSE_NOTIFY_INVAL_ENTRY && n >= sizeof(entry)) {
		memcpy(&entry, p, sizeof(entry));
		if (entry.namelen <= n - sizeof(entry))
			drop_name(a, entry.parent, (const char *)p + sizeof(entry), entry.namelen);
		drop_node(a, entry.parent);
		hull_made_unknown(&a->made, entry.parent);
	}
}

/* A file was opened, perhaps. */
static void opened(struct hull_ahead *a, const struct flight *f, int error, const uint8_t *p, size_t n)
{
	struct fuse_entry_out entry = {.nodeid = f->node};
	struct fuse_open_out out;
	bool made = f->opcode == FUSE_CREATE || f->opcode == FUSE_TMPFILE;
	size_t at = made ? sizeof(entry) : 0;
	if (error || (!made && f->opcode != FUSE_OPEN) || n < at + sizeof(out))
		return;
	memcpy(&entry, p, at);
	memcpy(&out, p + at, sizeof(out));
	if (!hull_opens_opened(a->opens, entry.nodeid, out.fh, out.open_flags))
		a->blind = true;
}

bool hull_ahead_message(struct hull_ahead *a, const uint8_t *p, size_t n, struct hull_ahead_store *store)
{
	struct fuse_out_header h;
	memcpy(&h, p, sizeof(h));
	store->len = 0;
	if (h.unique != 0) {
		struct flight *f = flight_of(a, h.unique);
		if (f) {
			opened(a, f, h.error, p + sizeof(h), n - sizeof(h));
			a->changes -= f->change;
			a->reads -= f->read;
			*f = a->flights[--a->flight_count];
		}
		return false;
	}
	if (h.error == HULL_SHARE_AHEAD) {
		take_records(a, p + sizeof(h), n - sizeof(h), store);
		return true;
	}
	drop_notified(a, h.error, p + sizeof(h), n - sizeof(h));
	return false;
}

static size_t tell_release(struct hull_ahead *a, uint8_t *out)
{
	struct fuse_in_header h = {.len = sizeof(h) + sizeof(struct fuse_release_in), .opcode = FUSE_RELEASE};
	struct fuse_release_in in = {0};
	if (!hull_opens_release(a->opens, &h.nodeid, &in.fh))
		return 0;
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &in, sizeof(in));
	return h.len;
}

size_t hull_ahead_tell(struct hull_ahead *a, uint8_t out[HULL_AHEAD_REQUEST_MAX])
{
	if (a->forget_count < FORGETS_AT)
		return tell_release(a, out);
	uint32_t count = a->forget_count < BATCH ? a->forget_count : BATCH;
	const struct fuse_batch_forget_in in = {.count = count};
	struct fuse_in_header h = {.opcode = FUSE_BATCH_FORGET};
	size_t n = sizeof(h) + sizeof(in);
	for (uint32_t i = 0; i < count; i++, n += sizeof(struct fuse_forget_one)) {
		const struct fuse_forget_one one = {.nodeid = a->forgets[--a->forget_count], .nlookup = 1};
		memcpy(out + n, &one, sizeof(one));
	}
	h.len = (uint32_t)n;
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &in, sizeof(in));
	return n;
}
