/* SPDX-License-Identifier: Apache-2.0 */
/* The server's frame: making one, checking and dispatching requests, replies, and the pool of threads. */
#include "share/server.h"

#include "share/lock.h"
#include "share/watch.h"

#include "base/debug.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum {
	MINOR_MIN = 31,
	STACK = 4 * 1024 * 1024, /* finding a deep directory again recurses */
	MAX_BACKGROUND = 64,
};

/* --- replies --- */

static int send_reply(struct share_req *r, int error, const void *p, size_t n)
{
	struct fuse_out_header h = {
		.len = (uint32_t)(sizeof h + n),
		.error = error > -512 ? error : -EIO, /* the guest's kernel takes no other */
		.unique = r->h->unique,
	};
	struct iovec iov[2] = {
		{.iov_base = &h, .iov_len = sizeof h},
		{.iov_base = (void *)(uintptr_t)p, .iov_len = n},
	};
	hull_trace(HULL_AREA_SHARE, "fuse %" PRIu64 ": answered, error %d, %zu bytes", r->h->unique, error, n);
	return r->h->unique ? r->t->send(r->t->ctx, iov, n ? 2 : 1) : 0;
}

void share_reply(struct share_req *r, int error, const void *p, size_t n)
{
	send_reply(r, error, p, error ? 0 : n);
}

static void expire_entry(struct fuse_entry_out *e)
{
	e->entry_valid = e->attr_valid = 0;
	e->entry_valid_nsec = e->attr_valid_nsec = 0;
}

/* Forbid caching what the reply says. */
static void expire(enum share_reply_kind kind, void *p, size_t n)
{
	switch (kind) {
	case SHARE_ENTRY:
	case SHARE_CREATE: /* starts with its entry */
		expire_entry(p);
		break;
	case SHARE_ATTR: {
		struct fuse_attr_out *a = p;
		a->attr_valid = 0;
		a->attr_valid_nsec = 0;
		break;
	}
	case SHARE_DIRPLUS:
		for (size_t at = 0; at < n;) {
			struct fuse_direntplus *d = (void *)((char *)p + at);
			expire_entry(&d->entry_out);
			at += FUSE_DIRENTPLUS_SIZE(d);
		}
		break;
	}
}

int share_reply_cached(struct share_req *r, enum share_reply_kind kind, void *p, size_t n)
{
	struct hull_share *sh = r->sh;
	pthread_rwlock_rdlock(&sh->order);
	if (atomic_load(&sh->changes) != r->changes)
		expire(kind, p, n);
	int e = send_reply(r, 0, p, n);
	pthread_rwlock_unlock(&sh->order);
	return e;
}

/* --- arguments --- */

const void *share_args(struct share_req *r, size_t n)
{
	return hull_cur_take(&r->in, n);
}

const char *share_name(struct share_req *r, int *error)
{
	size_t left = hull_cur_left(&r->in);
	const char *name = (const char *)r->in.p;
	const char *end = left ? memchr(name, '\0', left) : NULL;
	size_t n = end ? (size_t)(end - name) : 0;
	*error = -EINVAL;
	if (!end || n == 0 || memchr(name, '/', n) || !strcmp(name, ".") || !strcmp(name, ".."))
		return NULL;
	if (n > NAME_MAX) {
		*error = -ENAMETOOLONG;
		return NULL;
	}
	hull_cur_take(&r->in, n + 1);
	return name;
}

/* --- operations without an inode --- */

static void op_init(struct share_req *r)
{
	struct hull_share *sh = r->sh;
	/* The tail (flags2) came with 7.36; a shorter request is an older kernel's. */
	const uint8_t *head = share_args(r, 16);
	struct fuse_init_in in = {0};
	if (!head)
		return share_reply(r, -EINVAL, NULL, 0);
	memcpy(&in, head, 16);
	struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
	if (in.major > FUSE_KERNEL_VERSION)
		return share_reply(r, 0, &out, sizeof out); /* it asks again with ours */
	if (in.major < FUSE_KERNEL_VERSION || in.minor < MINOR_MIN)
		return share_reply(r, -EPROTO, NULL, 0);
	uint64_t offered = in.flags;
	if (in.flags & FUSE_INIT_EXT && hull_cur_left(&r->in) >= 4)
		offered |= (uint64_t)hull_cur_le32(&r->in) << 32;
	uint64_t want = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_FLOCK_LOCKS |
			FUSE_DO_READDIRPLUS | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
			FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT;
	/* A new size always makes the guest's kernel drop its pages: a page at the old end would read as zeros behind
	 * it. A new mtime does so only where no notification will. */
	if (!share_watching(sh))
		want |= FUSE_AUTO_INVAL_DATA;
	if (sh->config.writeback)
		want |= FUSE_WRITEBACK_CACHE;
	want &= offered;
	sh->old_setxattr = !(want & FUSE_SETXATTR_EXT);
	atomic_store(&sh->expire_only, (offered & FUSE_HAS_EXPIRE_ONLY) != 0);
	sh->no_opendir = offered & FUSE_NO_OPENDIR_SUPPORT && share_watching(sh);
	atomic_store(&sh->minor, in.minor);
	out.max_readahead = in.max_readahead;
	out.flags = (uint32_t)want;
	out.flags2 = (uint32_t)(want >> 32);
	out.max_background = MAX_BACKGROUND;
	out.congestion_threshold = MAX_BACKGROUND * 3 / 4;
	out.max_write = HULL_SHARE_MAX_WRITE;
	out.max_pages = HULL_SHARE_MAX_WRITE / 4096;
	out.time_gran = 1;
	share_reply(r, 0, &out, sizeof out);
	if (atomic_exchange(&sh->adopted, false))
		share_notify_all(sh); /* of before */
}

static void op_forget(struct share_req *r)
{
	const struct fuse_forget_in *in = share_args(r, sizeof *in);
	if (in)
		share_inode_forget(r->sh, r->h->nodeid, in->nlookup);
}

static void op_batch_forget(struct share_req *r)
{
	const struct fuse_batch_forget_in *in = share_args(r, sizeof *in);
	const struct fuse_forget_one *one;
	for (uint32_t i = 0; in && i < in->count && (one = share_args(r, sizeof *one)); i++)
		share_inode_forget(r->sh, one->nodeid, one->nlookup);
}

static void op_interrupt(struct share_req *r)
{
	const struct fuse_interrupt_in *in = share_args(r, sizeof *in);
	if (in && share_waits_interrupt(r->sh, in->unique))
		share_reply(r, -EAGAIN, NULL, 0); /* until the lock has been answered; see lock.c */
}

static void op_replayer(struct share_req *r)
{
	uint32_t pid = hull_cur_le32(&r->in);
	if (!r->in.bad)
		hull_share_set_replayer(r->sh, pid);
}

static void op_synced(struct share_req *r)
{
	uint32_t number = hull_cur_le32(&r->in);
	if (!r->in.bad)
		share_sync_heard(r->sh, number);
}

static void op_nlookup(struct share_req *r)
{
	uint64_t node = hull_cur_le64(&r->in);
	uint64_t count = hull_cur_le64(&r->in);
	if (!r->in.bad)
		share_inode_nlookup(r->sh, node, count);
}

/* --- dispatch --- */

static share_op *const ops[] = {
	[FUSE_LOOKUP] = share_op_lookup,
	[FUSE_GETATTR] = share_op_getattr,
	[FUSE_SETATTR] = share_op_setattr,
	[FUSE_READLINK] = share_op_readlink,
	[FUSE_SYMLINK] = share_op_symlink,
	[FUSE_MKNOD] = share_op_mknod,
	[FUSE_MKDIR] = share_op_mkdir,
	[FUSE_UNLINK] = share_op_unlink,
	[FUSE_RMDIR] = share_op_rmdir,
	[FUSE_RENAME] = share_op_rename,
	[FUSE_RENAME2] = share_op_rename2,
	[FUSE_LINK] = share_op_link,
	[FUSE_OPEN] = share_op_open,
	[FUSE_CREATE] = share_op_create,
	[FUSE_TMPFILE] = share_op_tmpfile,
	[FUSE_READ] = share_op_read,
	[FUSE_WRITE] = share_op_write,
	[FUSE_STATFS] = share_op_statfs,
	[FUSE_RELEASE] = share_op_release,
	[FUSE_FSYNC] = share_op_fsync,
	[FUSE_SETXATTR] = share_op_setxattr,
	[FUSE_GETXATTR] = share_op_getxattr,
	[FUSE_LISTXATTR] = share_op_listxattr,
	[FUSE_REMOVEXATTR] = share_op_removexattr,
	[FUSE_FLUSH] = share_op_flush,
	[FUSE_OPENDIR] = share_op_opendir,
	[FUSE_READDIR] = share_op_readdir,
	[FUSE_READDIRPLUS] = share_op_readdirplus,
	[FUSE_RELEASEDIR] = share_op_releasedir,
	[FUSE_FSYNCDIR] = share_op_fsyncdir,
	[FUSE_GETLK] = share_op_getlk,
	[FUSE_SETLK] = share_op_setlk,
	[FUSE_SETLKW] = share_op_setlkw,
	[FUSE_ACCESS] = share_op_access,
	[FUSE_FALLOCATE] = share_op_fallocate,
	[FUSE_LSEEK] = share_op_lseek,
	[FUSE_COPY_FILE_RANGE] = share_op_copy,
	[FUSE_SYNCFS] = share_op_syncfs,
};

/* What the replayer has no use for, and would change something: the rest look at `replayer` themselves. */
static bool refused_to_replayer(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_SYMLINK:
	case FUSE_LINK:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		return true;
	default:
		return false;
	}
}

void hull_share_handle(struct hull_share *sh, const struct hull_share_transport *t, const void *request, size_t n,
		       void *scratch)
{
	struct share_req r = {.sh = sh, .t = t, .h = request, .in = hull_cur_make(request, n), .scratch = scratch};
	const struct fuse_in_header *h = share_args(&r, sizeof *h);
	if (!h)
		return; /* not even an id to answer */
	if (h->len != n)
		return share_reply(&r, -EIO, NULL, 0);
	hull_trace(HULL_AREA_SHARE, "fuse %" PRIu64 ": came, opcode %u, node %" PRIu64 ", %zu bytes", h->unique,
		   h->opcode, h->nodeid, n);
	r.changes = atomic_load(&sh->changes);
	r.replayer = hull_share_marked(h);
	switch (h->opcode) {
	case FUSE_INIT:
		return op_init(&r);
	case FUSE_DESTROY:
		return share_reply(&r, 0, NULL, 0);
	case FUSE_FORGET:
		return op_forget(&r);
	case FUSE_BATCH_FORGET:
		return op_batch_forget(&r);
	case FUSE_INTERRUPT:
		return op_interrupt(&r);
	case HULL_SHARE_RELAY_LOST:
		return share_notify_all(sh);
	case HULL_SHARE_RELAY_GO:
		return share_notify_more(sh);
	case HULL_SHARE_RELAY_REPLAYER:
		return op_replayer(&r);
	case HULL_SHARE_RELAY_NLOOKUP:
		return op_nlookup(&r);
	case HULL_SHARE_RELAY_SYNCED:
		return op_synced(&r);
	case HULL_SHARE_RELAY_PREFETCH:
		return atomic_store(&sh->prefetch, true);
	}
	if (h->opcode == FUSE_IOCTL)
		return share_reply(&r, -ENOTTY, NULL, 0); /* none of the host's is the guest's to call */
	share_op *op = h->opcode < sizeof ops / sizeof *ops ? ops[h->opcode] : NULL;
	if (!op)
		return share_reply(&r, -ENOSYS, NULL, 0);
	if (atomic_load(&sh->minor) == 0)
		return share_reply(&r, -EIO, NULL, 0);
	if (r.replayer && refused_to_replayer(h->opcode))
		return share_reply(&r, -EPERM, NULL, 0);
	struct share_inode *ino = share_inode_get(sh, h->nodeid);
	if (!ino)
		return share_reply(&r, -ESTALE, NULL, 0);
	op(&r, ino);
	share_inode_put(sh, ino);
}

/* --- life --- */

static uint64_t raise_nofile(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return 1024;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	return rl.rlim_cur < 4 * 1024 * 1024 ? rl.rlim_cur : 4 * 1024 * 1024;
}

static int load_groups(struct hull_share *sh)
{
	int n = getgroups(0, NULL);
	sh->groups = calloc((size_t)(n < 0 ? 0 : n) + 1, sizeof *sh->groups);
	if (!sh->groups)
		return -ENOMEM;
	n = n > 0 ? getgroups(n, sh->groups) : 0;
	/* In a user namespace that does not map them, groups of ours read as the overflow id; so do strangers'. */
	for (int i = 0; i < n; i++)
		if (sh->groups[i] != SHARE_NOBODY)
			sh->groups[sh->group_count++] = sh->groups[i];
	sh->groups[sh->group_count++] = getegid();
	return 0;
}

int hull_share_new(const struct hull_share_config *config, struct hull_share **out, struct hull_error *err)
{
	struct hull_share *sh = calloc(1, sizeof *sh);
	pthread_rwlockattr_t prefer;
	*out = NULL;
	if (!sh)
		return hull_fail(err, -ENOMEM, "share: out of memory");
	sh->config = *config;
	uint64_t files = raise_nofile();
	if (!sh->config.max_inodes)
		sh->config.max_inodes = 2 * 1024 * 1024;
	if (!sh->config.max_handles)
		sh->config.max_handles = (uint32_t)(files / 2);
	if (!sh->config.max_dirs)
		sh->config.max_dirs = (uint32_t)(files / 4);
	if (!sh->config.max_waits)
		sh->config.max_waits = 256;
	if (!sh->config.max_notified)
		sh->config.max_notified = 24576;
	sh->uid = geteuid();
	sh->proc_fd = -1;
	pthread_mutex_init(&sh->lock, NULL);
	pthread_mutex_init(&sh->waits, NULL);
	pthread_mutex_init(&sh->room.lock, NULL);
	pthread_cond_init(&sh->waits_gone, NULL);
	/* Replies keep coming; the watching thread must get its turn. */
	pthread_rwlockattr_init(&prefer);
	pthread_rwlockattr_setkind_np(&prefer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&sh->order, &prefer);
	pthread_rwlockattr_destroy(&prefer);
	share_table_init(&sh->handles, sh->config.max_handles);
	share_watch_init(sh);
	sh->pendings = share_pendings_new();
	sh->absent = share_pendings_new();
	share_waits_init(sh);
	umask(0);
	int e = sh->notifier && sh->pendings && sh->absent && load_groups(sh) == 0
			? 0
			: hull_fail(err, -ENOMEM, "share: out of memory");
	if (e == 0) {
		sh->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (sh->proc_fd < 0)
			e = hull_fail_errno(err, "share: cannot open /proc/self/fd; mount /proc where it runs");
	}
	if (e == 0)
		e = share_inodes_init(sh, err);
	if (e == 0)
		e = share_guards_init(sh, err);
	if (e < 0)
		hull_share_free(sh);
	else
		*out = sh;
	return e;
}

void hull_share_free(struct hull_share *sh)
{
	if (!sh)
		return;
	hull_share_stop(sh);
	share_handles_free(sh);
	share_inodes_free(sh);
	share_guards_free(sh);
	share_watch_free(sh);
	share_pendings_free(sh->pendings);
	share_pendings_free(sh->absent);
	if (sh->proc_fd >= 0)
		close(sh->proc_fd);
	free(sh->groups);
	pthread_rwlock_destroy(&sh->order);
	pthread_cond_destroy(&sh->waits_gone);
	pthread_mutex_destroy(&sh->waits);
	pthread_mutex_destroy(&sh->room.lock);
	pthread_mutex_destroy(&sh->lock);
	free(sh);
}

void hull_share_set_replayer(struct hull_share *sh, uint32_t pid)
{
	/* What the one before has not repeated stays unsaid. */
	share_announced_clear(sh);
	atomic_store(&sh->replayer, pid);
}

void hull_share_lost(struct hull_share *sh)
{
	share_notify_all(sh);
}

int hull_share_start(struct hull_share *sh, const struct hull_share_transport *t, struct hull_error *err)
{
	pthread_mutex_lock(&sh->waits);
	sh->stopping = false;
	pthread_mutex_unlock(&sh->waits);
	return share_watch_start(sh, t, err);
}

void hull_share_stop(struct hull_share *sh)
{
	share_waits_stop(sh);
	if (sh->notifier)
		share_watch_stop(sh);
}

/* --- the pool --- */

struct pool {
	struct hull_share *sh;
	const struct hull_share_transport *t;
	atomic_int result;
};

static void *serve_thread(void *arg)
{
	struct pool *p = arg;
	void *request = aligned_alloc(4096, HULL_SHARE_REQUEST_MAX);
	void *scratch = aligned_alloc(4096, HULL_SHARE_REQUEST_MAX);
	ssize_t n = -ENOMEM;
	while (request && scratch) {
		n = p->t->receive(p->t->ctx, request, HULL_SHARE_REQUEST_MAX);
		if (n <= 0)
			break;
		hull_share_handle(p->sh, p->t, request, (size_t)n, scratch);
	}
	if (n < 0)
		atomic_store(&p->result, (int)n);
	free(request);
	free(scratch);
	return NULL;
}

int hull_share_serve(struct hull_share *sh, const struct hull_share_transport *t, unsigned threads,
		     struct hull_error *err)
{
	struct pool p = {.sh = sh, .t = t};
	pthread_t ids[64];
	unsigned n = 0;
	pthread_attr_t attr;
	if (threads == 0)
		threads = HULL_SHARE_THREADS;
	if (threads > 64)
		threads = 64;
	int e = hull_share_start(sh, t, err);
	if (e < 0)
		return e;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	while (n < threads && pthread_create(&ids[n], &attr, serve_thread, &p) == 0)
		n++;
	pthread_attr_destroy(&attr);
	for (unsigned i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	hull_share_stop(sh);
	e = n == 0 ? -EAGAIN : atomic_load(&p.result);
	if (e < 0)
		return hull_fail(err, e, "share: serving ended: %s", strerror(-e));
	return 0;
}
