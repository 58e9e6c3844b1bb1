/* SPDX-License-Identifier: Apache-2.0 */
/* The host's edits: seen by fanotify, told to the guest as invalidations.
 *
 * Every directory the guest has looked into is marked in one unprivileged fanotify group that reports (directory
 * handle, name). The kernel tells which events this process made itself; those are the guest's own operations and need
 * no notification, however they interleave with the host's. A directory that cannot be marked (limit reached, file
 * system without handles), or whose file system does not tell of every change (fstype.c), is simply not `watched`, and
 * the guest is told to revalidate after 100 ms.
 *
 * A directory's mark reports what is done to a file by a name in that directory, or by one that was there when the file
 * was opened; the event also holds the file's own handle, so it is found when the name means another file by now, or
 * none. What is done by a name that nobody watches (a hard link from elsewhere, in use also after it was removed) is
 * seen by a mark on the file itself. Files that were seen with several names get one (`loose`, `marked`).
 *
 * The thread first counts `changes` up (see server.h), then notifies: names expire, attributes and pages are dropped.
 * When events were lost, everything the guest is known to hold is.
 *
 * Sending a notification can wait for the guest's kernel, which waits for replies: so only this thread sends them, and
 * what the workers want notified goes through a queue. */
#include "share/watch.h"

#include "base/hash.h"
#include "share/server.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <time.h>

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200
#endif

enum {
	KEY_MAX = 8 + 4 + MAX_HANDLE_SZ,
	BUCKETS = 16384,
	QUEUE = 1024,
	WATCHED = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB |
		  FAN_EVENT_ON_CHILD | FAN_ONDIR,
	NAMES = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO,
	MARKED = FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB,
	MARKS_MAX = 8192,                       /* files; the host's limit for a user is to do for directories too */
	LINKED_MS = 50,                         /* a file older than that, when its name is new, was linked there */
	CONTENT = FAN_MODIFY | FAN_CLOSE_WRITE, /* a shared mapping's writes show only at the close */
};

struct share_watch {
	struct share_watch *next;
	uint64_t id; /* of the inode */
	uint32_t len;
	uint8_t key[]; /* fsid, handle type, handle */
};

struct share_notifier {
	pthread_mutex_t lock;
	pthread_t thread;
	bool running;
	atomic_bool stop;
	int fan, wake;
	const struct hull_share_transport *t;
	struct share_watch *buckets[BUCKETS];
	uint32_t marks; /* of files */
	uint64_t queue[QUEUE];
	uint32_t queued;
	bool queue_lost;
	atomic_bool all, more; /* tell of everything; go on with it */
	uint32_t all_at;       /* where; 0 = it is not being told, or begins */
	/* A sync: asked for, under way, the guest is to be asked, the number it was asked with, and has said. */
	atomic_bool sync_asked;
	bool syncing, sync_due, sync_told;
	int64_t sync_until; /* what is kept without being notified is old then */
	uint32_t sync_number;
	atomic_uint sync_heard;
	uint64_t sent, sync_sent, confirmed; /* notifications: all, before the last question, that the guest has */
};

void share_watch_init(struct hull_share *sh)
{
	struct share_notifier *n = calloc(1, sizeof *n);
	sh->notifier = n;
	if (!n)
		return;
	pthread_mutex_init(&n->lock, NULL);
	n->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	n->fan = -1;
	if (sh->config.no_watch || !share_fs_reports(sh, sh->config.root_fd))
		return;
	const unsigned flags = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME | FAN_REPORT_FID;
	/* Since Linux 5.17 a name that comes or goes is told with the file that has, or had, it. */
	n->fan = fanotify_init(flags | FAN_REPORT_TARGET_FID, O_RDONLY | O_CLOEXEC);
	if (n->fan < 0)
		n->fan = fanotify_init(flags, O_RDONLY | O_CLOEXEC);
}

void share_watch_free(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	if (!n)
		return;
	if (n->fan >= 0)
		close(n->fan);
	if (n->wake >= 0)
		close(n->wake);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

bool share_watching(const struct hull_share *sh)
{
	return sh->notifier->fan >= 0;
}

bool share_watched(const struct hull_share *sh, const struct share_inode *dir)
{
	return __atomic_load_n(&dir->watch, __ATOMIC_ACQUIRE) != NULL;
}

/* --- the watched directories, by what an event carries of them --- */

static struct share_watch **bucket(struct share_notifier *n, const uint8_t *key, uint32_t len)
{
	uint64_t h = hull_hash(HULL_HASH_START, key, len);
	return &n->buckets[(h >> 20) % BUCKETS];
}

static uint32_t watch_make_key(uint8_t *key, const void *fsid, int type, const void *handle, uint32_t len)
{
	memcpy(key, fsid, 8);
	memcpy(key + 8, &type, 4);
	memcpy(key + 12, handle, len);
	return 12 + len;
}

/* The key fanotify will give for this directory; 0 when its file system has none. */
static uint32_t watch_key_of(int fd, uint8_t *key)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} h;
	struct statfs fs;
	int mount;
	h.handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", &h.handle, &mount, AT_EMPTY_PATH) < 0) {
		h.handle.handle_bytes = MAX_HANDLE_SZ;
		if (name_to_handle_at(fd, "", &h.handle, &mount, AT_EMPTY_PATH | AT_HANDLE_FID) < 0)
			return 0;
	}
	if (fstatfs(fd, &fs) < 0 || h.handle.handle_bytes > MAX_HANDLE_SZ)
		return 0;
	return watch_make_key(key, &fs.f_fsid, h.handle.handle_type, h.handle.f_handle, h.handle.handle_bytes);
}

void share_watch_dir(struct hull_share *sh, struct share_inode *dir, int fd)
{
	struct share_notifier *n = sh->notifier;
	uint8_t key[KEY_MAX];
	if (n->fan < 0 || share_watched(sh, dir) || __atomic_load_n(&dir->watch_failed, __ATOMIC_RELAXED))
		return;
	uint32_t len = share_fs_reports(sh, fd) ? watch_key_of(fd, key) : 0;
	struct share_watch *w = len ? malloc(sizeof *w + len) : NULL;
	bool added = false;
	pthread_mutex_lock(&n->lock);
	if (w && !dir->watch) {
		w->id = dir->id;
		w->len = len;
		memcpy(w->key, key, len);
		struct share_watch **head = bucket(n, key, len);
		w->next = *head;
		*head = w;
		added = fanotify_mark(n->fan, FAN_MARK_ADD | FAN_MARK_ONLYDIR, WATCHED, fd, ".") == 0;
		if (added)
			__atomic_store_n(&dir->watch, w, __ATOMIC_RELEASE);
		else
			*head = w->next;
	}
	if (!dir->watch)
		__atomic_store_n(&dir->watch_failed, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&n->lock);
	if (!added)
		free(w);
}

void share_watch_drop(struct hull_share *sh, struct share_watch *w, int fd)
{
	struct share_notifier *n = sh->notifier;
	if (!w)
		return;
	pthread_mutex_lock(&n->lock);
	struct share_watch **at = bucket(n, w->key, w->len);
	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	/* The same directory may have been entered anew meanwhile: then the mark is that one's. */
	bool again = false;
	for (struct share_watch *i = *bucket(n, w->key, w->len); i; i = i->next)
		again |= i->len == w->len && !memcmp(i->key, w->key, w->len);
	if (fd >= 0 && !again)
		fanotify_mark(n->fan, FAN_MARK_REMOVE, WATCHED, fd, ".");
	pthread_mutex_unlock(&n->lock);
	free(w);
}

bool share_mark(struct hull_share *sh, struct share_inode *ino, int dir, const char *name, struct share_stat *now)
{
	struct share_notifier *n = sh->notifier;
	struct share_key key;
	bool marked = false;
	if (n->fan < 0 || ino->type != S_IFREG)
		return false;
	pthread_mutex_lock(&n->lock);
	__atomic_store_n(&ino->loose, true, __ATOMIC_RELAXED);
	if (!ino->marked && n->marks < MARKS_MAX && share_fs_reports(sh, dir) &&
	    fanotify_mark(n->fan, FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW, MARKED, dir, name) == 0) {
		/* Another file may have taken the name meanwhile. */
		marked = share_identify(sh, dir, name, now) == 0;
		if (marked)
			share_key_of(now, &key);
		marked = marked && share_same(&key, &ino->key);
		n->marks += marked;
		__atomic_store_n(&ino->marked, marked, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&n->lock);
	return marked;
}

void share_unmark(struct hull_share *sh, struct share_inode *ino)
{
	struct share_notifier *n = sh->notifier;
	char path[40];
	if (!ino->marked)
		return;
	pthread_mutex_lock(&n->lock);
	n->marks--;
	snprintf(path, sizeof path, "%d", ino->fd);
	if (ino->fd >= 0)
		fanotify_mark(n->fan, FAN_MARK_REMOVE, MARKED, sh->proc_fd, path);
	pthread_mutex_unlock(&n->lock);
}

/* --- notifications --- */

static void notify(struct hull_share *sh, int code, const void *p, size_t n, const char *name)
{
	struct fuse_out_header h = {.error = code};
	size_t name_len = name ? strlen(name) + 1 : 0;
	struct iovec iov[3] = {
		{.iov_base = &h, .iov_len = sizeof h},
		{.iov_base = (void *)(uintptr_t)p, .iov_len = n},
		{.iov_base = (void *)(uintptr_t)name, .iov_len = name_len},
	};
	h.len = (uint32_t)(sizeof h + n + name_len);
	/* Failing means that the guest does not have it cached, or is gone. */
	sh->notifier->t->send(sh->notifier->t->ctx, iov, name ? 3 : p ? 2 : 1);
}

static void drop_attr(struct hull_share *sh, uint64_t id, bool content)
{
	sh->notifier->sent++;
	struct fuse_notify_inval_inode_out out = {.ino = id, .off = content ? 0 : -1};
	notify(sh, FUSE_NOTIFY_INVAL_INODE, &out, sizeof out, NULL);
}

static void expire_name(struct hull_share *sh, uint64_t dir, const char *name)
{
	sh->notifier->sent++;
	struct fuse_notify_inval_entry_out out = {.parent = dir, .namelen = (uint32_t)strlen(name)};
	if (atomic_load(&sh->expire_only))
		out.flags = FUSE_EXPIRE_ONLY;
	notify(sh, FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof out, name);
}

void share_notify_content(struct hull_share *sh, uint64_t id)
{
	struct share_notifier *n = sh->notifier;
	uint64_t one = 1;
	pthread_mutex_lock(&n->lock);
	if (n->queued < QUEUE)
		n->queue[n->queued++] = id;
	else
		n->queue_lost = true;
	pthread_mutex_unlock(&n->lock);
	if (write(n->wake, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

static void watch_changed(struct hull_share *sh, enum hull_share_event event, struct share_inode *dir, const char *name,
			  bool directory)
{
	char path[PATH_MAX];
	struct hull_share_change c = {.event = event, .path = path, .directory = directory};
	if (!sh->config.changed)
		return;
	if (!dir)
		path[0] = '\0';
	else if (!share_path(sh, dir, name, path, sizeof path))
		return;
	sh->config.changed(sh->config.ctx, &c);
}

/* --- events --- */

/* Was its name given to what existed before? A new file's birth is its last change, but for what was written since. */
static bool linked(const struct share_stat *st)
{
	if (st->x.stx_nlink > 1 || !(st->x.stx_mask & STATX_BTIME))
		return true;
	int64_t ms = (st->x.stx_ctime.tv_sec - st->x.stx_btime.tv_sec) * 1000 +
		     ((int64_t)st->x.stx_ctime.tv_nsec - st->x.stx_btime.tv_nsec) / 1000000;
	return ms > LINKED_MS;
}

/* What had this name, and has it no longer: it may be kept open, by a relay that keeps handles, which is to let go, or
 * watched by somebody, who is to hear of it. The node of the file among it that the guest knows, 0 = there is none. */
static uint64_t replaced(struct hull_share *sh, const struct share_inode *dir, const char *name,
			 const struct share_inode *now)
{
	struct share_inode *known[16];
	uint64_t node = 0;
	for (size_t i = share_byname(sh, dir, name, known, sizeof known / sizeof *known); i-- > 0;) {
		if (known[i] != now && known[i]->type != S_IFDIR && known[i]->key.dev != UINT64_MAX) {
			drop_attr(sh, known[i]->id, false);
			node = known[i]->id;
		}
		share_inode_put(sh, known[i]);
	}
	return node;
}

/* The node of what has the name, 0 = the guest knows none. `subject` (may be NULL) is what the event is about, as the
 * guest knows it: by what name is not sure, when names change faster than they are told. */
static uint64_t watch_on_name(struct hull_share *sh, struct share_inode *dir, const char *name, uint64_t mask,
			      const struct share_inode *subject)
{
	struct share_stat st, again;
	bool here = !strcmp(name, ".");
	int fd = share_pin(sh, dir);
	int e = fd < 0 ? fd : share_identify(sh, fd, name, &st);
	struct share_inode *ino = e == 0 && !here ? share_inode_find(sh, &st) : NULL;
	if (ino && mask & NAMES && !ino->marked && S_ISREG(st.x.stx_mode) && linked(&st))
		share_mark(sh, ino, fd, name, &again);
	if (fd >= 0)
		share_unpin(sh, dir);
	bool directory = mask & FAN_ONDIR, kept = true;
	if (here)
		drop_attr(sh, dir->id, false);
	uint64_t old = mask & NAMES ? replaced(sh, dir, name, ino) : 0;
	if (!old && subject && subject != ino && subject->type != S_IFDIR && mask & (FAN_DELETE | FAN_MOVED_FROM)) {
		drop_attr(sh, subject->id, false);
		old = subject->id;
	}
	bool over = old && e == 0 && !(mask & (FAN_DELETE | FAN_MOVED_FROM)); /* by a rename */
	if (ino && mask & FAN_MOVED_TO)
		share_inode_moved(sh, ino, dir, name);
	if (mask & NAMES) {
		if (mask & (FAN_DELETE | FAN_MOVED_FROM) || over)
			kept &= share_announce(sh, dir->id, name, false, directory && !over, old);
		if (e == 0 && mask & (FAN_CREATE | FAN_MOVED_TO))
			kept &= share_announce(sh, dir->id, name, true, directory, 0);
		drop_attr(sh, dir->id, true);
		expire_name(sh, dir->id, name);
	}
	if (ino)
		drop_attr(sh, ino->id, mask & (CONTENT | NAMES));
	uint64_t node = ino ? ino->id : 0;
	share_inode_put(sh, ino);
	if (mask & (FAN_DELETE | FAN_MOVED_FROM) || over)
		watch_changed(sh, HULL_SHARE_DELETED, dir, name, directory && !over);
	if (mask & (FAN_CREATE | FAN_MOVED_TO) && e == 0)
		watch_changed(sh, HULL_SHARE_CREATED, dir, name, directory);
	if (mask & CONTENT && e == 0)
		watch_changed(sh, HULL_SHARE_MODIFIED, dir, name, directory);
	else if (mask & FAN_ATTRIB && e == 0)
		watch_changed(sh, HULL_SHARE_ATTRIB, dir, here ? "" : name, directory);
	if (!kept)
		watch_changed(sh, HULL_SHARE_OVERFLOW, NULL, "", true);
	return node;
}

/* Something was done to a file by a name that does not mean it any more, or is in no directory that is watched. */
static void watch_on_file(struct hull_share *sh, const struct share_inode *ino, uint64_t mask)
{
	char name[NAME_MAX + 1] = "";
	pthread_mutex_lock(&sh->lock);
	struct share_inode *parent = ino->parent;
	if (parent) {
		parent->refs++;
		strncpy(name, ino->name, NAME_MAX);
	}
	pthread_mutex_unlock(&sh->lock);
	drop_attr(sh, ino->id, mask & CONTENT);
	if (parent)
		watch_changed(sh, mask & CONTENT ? HULL_SHARE_MODIFIED : HULL_SHARE_ATTRIB, parent, name, false);
	share_inode_put(sh, parent);
}

static void forget_one(void *ctx, struct share_inode *ino)
{
	struct hull_share *sh = ctx;
	char name[NAME_MAX + 1] = "";
	uint64_t parent = 0;
	pthread_mutex_lock(&sh->lock);
	if (ino->parent) {
		parent = ino->parent->id;
		strncpy(name, ino->name, NAME_MAX);
	}
	pthread_mutex_unlock(&sh->lock);
	share_watch_again(sh, ino); /* first: nothing can change in between unseen */
	drop_attr(sh, ino->id, true);
	if (parent)
		expire_name(sh, parent, name);
}

static void count_change(struct hull_share *sh)
{
	pthread_rwlock_wrlock(&sh->order);
	atomic_fetch_add(&sh->changes, 1);
	pthread_rwlock_unlock(&sh->order);
}

/* A part of what the guest may hold. Where notifications wait in a queue of the guest's, the next part comes when it
 * has asked for it, so that the queue is never too small for them. */
static void tell_more(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	do
		n->all_at = share_each_inode(sh, n->all_at, sh->config.max_notified, forget_one, sh);
	while (n->all_at && !n->t->paced);
	if (n->all_at)
		notify(sh, HULL_SHARE_MORE, NULL, 0, NULL);
}

static void lost(struct hull_share *sh)
{
	count_change(sh);
	share_each_absent(sh, expire_name);
	sh->notifier->all_at = 0;
	sh->notifier->sync_due = sh->notifier->syncing;
	tell_more(sh);
	watch_changed(sh, HULL_SHARE_OVERFLOW, NULL, "", true);
}

static void watch_wake(struct share_notifier *n)
{
	uint64_t one = 1;
	if (write(n->wake, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

void share_notify_all(struct hull_share *sh)
{
	atomic_store(&sh->notifier->all, true);
	watch_wake(sh->notifier);
}

void share_notify_more(struct hull_share *sh)
{
	atomic_store(&sh->notifier->more, true);
	watch_wake(sh->notifier);
}

/* A record of an event. False when it is none that can be read. */
struct record {
	uint8_t type;
	const uint8_t *fsid, *handle;
	uint32_t len;
	int handle_type;
	const char *name; /* "." = the directory itself; of no account in one of a file */
};
static bool next_record(struct hull_cur *c, struct record *out)
{
	out->type = hull_cur_u8(c);
	hull_cur_u8(c);
	uint16_t len = hull_cur_le16(c);
	if (len < 4)
		return false;
	struct hull_cur i = hull_cur_make(c->p, len - 4u < hull_cur_left(c) ? len - 4u : hull_cur_left(c));
	hull_cur_take(c, len - 4u);
	out->fsid = hull_cur_take(&i, 8);
	out->len = hull_cur_le32(&i);
	out->handle_type = (int)hull_cur_le32(&i);
	out->handle = out->len <= MAX_HANDLE_SZ ? hull_cur_take(&i, out->len) : NULL;
	out->name = out->type == FAN_EVENT_INFO_TYPE_DFID_NAME ? (const char *)i.p : ".";
	return out->handle &&
	       (out->type != FAN_EVENT_INFO_TYPE_DFID_NAME || memchr(out->name, '\0', hull_cur_left(&i)) != NULL);
}

/* The directory that is watched, ref'd; NULL = none of those. */
static struct share_inode *watched_dir(struct hull_share *sh, const struct record *r)
{
	struct share_notifier *n = sh->notifier;
	uint8_t key[KEY_MAX];
	uint32_t key_len = watch_make_key(key, r->fsid, r->handle_type, r->handle, r->len);
	uint64_t id = 0;
	pthread_mutex_lock(&n->lock);
	for (struct share_watch *w = *bucket(n, key, key_len); w && !id; w = w->next)
		if (w->len == key_len && !memcmp(w->key, key, key_len))
			id = w->id;
	pthread_mutex_unlock(&n->lock);
	return id ? share_inode_get(sh, id) : NULL;
}

static void watch_on_event(struct hull_share *sh, const struct fanotify_event_metadata *m, const uint8_t *event)
{
	struct hull_cur c = hull_cur_make(event + m->metadata_len, m->event_len - m->metadata_len);
	struct record r, file = {0};
	struct share_inode *dir = NULL, *known[4];
	char name[NAME_MAX + 1] = ".";
	while (hull_cur_left(&c) > 0 && next_record(&c, &r)) {
		if (r.type == FAN_EVENT_INFO_TYPE_FID) {
			file = r;
		} else if (!dir && (r.type == FAN_EVENT_INFO_TYPE_DFID_NAME || r.type == FAN_EVENT_INFO_TYPE_DFID)) {
			dir = watched_dir(sh, &r);
			snprintf(name, sizeof name, "%s", r.name);
		}
	}
	bool of_file = file.handle && !(m->mask & FAN_ONDIR);
	size_t n = of_file ? share_inode_of_handle(sh, file.handle_type, file.handle, file.len, known,
						   sizeof known / sizeof *known)
			   : 0;
	uint64_t told = dir ? watch_on_name(sh, dir, name, m->mask, n ? known[0] : NULL) : 0;
	share_inode_put(sh, dir);
	while (n-- > 0) {
		if (m->mask & MARKED && known[n]->id != told)
			watch_on_file(sh, known[n], m->mask);
		share_inode_put(sh, known[n]);
	}
}

static void read_events(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	uint8_t buf[64 * 1024];
	struct fanotify_event_metadata m; /* events end anywhere: copied, since the next one may not be aligned */
	pid_t self = getpid();
	for (;;) {
		ssize_t got = read(n->fan, buf, sizeof buf);
		if (got <= 0)
			return;
		bool counted = false, overflow = false;
		for (size_t at = 0; at + sizeof m <= (size_t)got; at += m.event_len) {
			memcpy(&m, buf + at, sizeof m);
			if (m.event_len < m.metadata_len || m.metadata_len < sizeof m || m.event_len > (size_t)got - at)
				break;
			if (m.mask & FAN_Q_OVERFLOW) {
				overflow = true;
				continue;
			}
			if (m.pid == self && !sh->config.overlapping)
				continue;
			if (!counted)
				count_change(sh);
			counted = true;
			watch_on_event(sh, &m, buf + at);
		}
		if (overflow)
			lost(sh);
	}
}

static void send_queued(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	uint64_t ids[64], dummy;
	if (read(n->wake, &dummy, sizeof dummy) < 0 && errno != EAGAIN)
		return;
	for (;;) {
		pthread_mutex_lock(&n->lock);
		uint32_t count = n->queued < 64 ? n->queued : 64;
		n->queued -= count;
		memcpy(ids, n->queue + n->queued, count * sizeof *ids);
		bool all = n->queue_lost;
		n->queue_lost = false;
		pthread_mutex_unlock(&n->lock);
		all |= atomic_exchange(&n->all, false);
		for (uint32_t i = 0; i < count; i++)
			drop_attr(sh, ids[i], true);
		if (all)
			lost(sh);
		else if (atomic_exchange(&n->more, false) && n->all_at)
			tell_more(sh);
		if (count == 0 && !all)
			return;
	}
}

/* --- what the host has changed so far is to be seen --- */

static int64_t watch_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void share_advertised_unwatched(struct hull_share *sh, uint32_t ms)
{
	atomic_store(&sh->unwatched_until, watch_now_ms() + ms + 1);
}

void hull_share_sync(struct hull_share *sh)
{
	atomic_store(&sh->notifier->sync_asked, true);
	watch_wake(sh->notifier);
}

void share_sync_heard(struct hull_share *sh, uint32_t number)
{
	atomic_store(&sh->notifier->sync_heard, number);
	watch_wake(sh->notifier);
}

/* An event is in the queue before the system call that made it returns, so what was done before the sync was asked for
 * is read now. The guest is asked only when something was sent since it last answered, and where sending is not all.
 * How long to wait in poll. */
static int sync_step(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	if (atomic_exchange(&n->sync_asked, false)) {
		n->syncing = n->sync_due = true;
		n->sync_until = atomic_load(&sh->unwatched_until);
		if (n->fan >= 0)
			read_events(sh);
	}
	if (n->syncing && n->sync_due && !n->all_at && !atomic_load(&n->all)) {
		n->sync_due = false;
		n->sync_sent = n->sent;
		n->sync_told = !n->t->paced || n->sent == n->confirmed;
		n->sync_number++;
		if (!n->sync_told)
			notify(sh, HULL_SHARE_SYNC, &n->sync_number, sizeof n->sync_number, NULL);
	}
	if (n->syncing && !n->sync_due && atomic_load(&n->sync_heard) == n->sync_number) {
		n->confirmed = n->sync_sent;
		n->sync_told = true;
	}
	if (!n->syncing || n->sync_due || !n->sync_told)
		return -1;
	int64_t left = n->sync_until - watch_now_ms();
	if (left > 0)
		return (int)left;
	n->syncing = false;
	if (sh->config.synced)
		sh->config.synced(sh->config.ctx);
	return -1;
}

static void *watch_thread(void *arg)
{
	struct hull_share *sh = arg;
	struct share_notifier *n = sh->notifier;
	struct pollfd p[2] = {{.fd = n->wake, .events = POLLIN}, {.fd = n->fan, .events = POLLIN}};
	int wait = -1;
	while (!atomic_load(&n->stop)) {
		if (poll(p, 2, wait) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			send_queued(sh);
		if (p[1].revents)
			read_events(sh);
		wait = sync_step(sh);
	}
	return NULL;
}

int share_watch_start(struct hull_share *sh, const struct hull_share_transport *t, struct hull_error *err)
{
	struct share_notifier *n = sh->notifier;
	n->t = t;
	atomic_store(&n->stop, false);
	int e = pthread_create(&n->thread, NULL, watch_thread, sh);
	if (e)
		return hull_fail(err, -e, "share: cannot start a thread: %s", strerror(e));
	n->running = true;
	return 0;
}

void share_watch_stop(struct hull_share *sh)
{
	struct share_notifier *n = sh->notifier;
	uint64_t one = 1;
	if (!n->running)
		return;
	atomic_store(&n->stop, true);
	if (write(n->wake, &one, sizeof one) == sizeof one || errno == EAGAIN)
		pthread_join(n->thread, NULL);
	n->running = false;
}
