/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, taken on the host so that they also hold against programs there.
 *
 * fcntl locks: each of the guest's lock owners has an open file description of its own per inode, and its locks are
 * "open file description" locks on that, so that the guest's owners exclude each other and die with their descriptor.
 * flock: on the handle's own descriptor.
 *
 * A lock that must wait gets a thread that blocks in the system call; INTERRUPT sends it a signal. The signal can come
 * between the thread's last look at its flag and the system call: the interrupt is then answered EAGAIN, the guest
 * sends it again, until the thread has answered. An interrupt that overtakes its request is remembered in a ring. */
#include "share/lock.h"

#include "share/attr.h"
#include "share/server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

enum { WAIT_STACK = 256 * 1024 };

struct share_owner {
	uint64_t owner;
	int fd;
	bool dropped; /* flushed while a lock was waiting; the last user closes */
	uint32_t refs;
	uint32_t pid;
	uint64_t fh; /* the handle it last locked by */
	struct share_owner *next;
};

struct share_lock_wait {
	struct hull_share *sh;
	const struct hull_share_transport *t;
	struct fuse_in_header h;
	pthread_t thread;
	bool interrupted;
	struct share_inode *inode;   /* ref'd */
	struct share_owner *owner;   /* ref'd, for fcntl */
	struct share_handle *handle; /* ref'd, for flock */
	struct flock lock;
	int op;
	struct share_lock_wait *next;
};

static int wake_signal(void)
{
	return SIGRTMIN + 7;
}

static void woken(int sig)
{
}

static void owner_free(struct share_owner *o)
{
	close(o->fd);
	free(o);
}

void share_owners_drop(struct hull_share *sh, struct share_inode *ino)
{
	for (struct share_owner *o = ino->owners, *next; o; o = next) {
		next = o->next;
		owner_free(o); /* nothing waits: a wait holds the inode */
	}
	ino->owners = NULL;
}

static void owner_put(struct hull_share *sh, struct share_owner *o)
{
	pthread_mutex_lock(&sh->lock);
	bool dead = --o->refs == 0 && o->dropped;
	pthread_mutex_unlock(&sh->lock);
	if (dead)
		owner_free(o);
}

static struct share_owner *owner_find(struct share_inode *ino, uint64_t owner)
{
	struct share_owner *o = ino->owners;
	while (o && o->owner != owner)
		o = o->next;
	return o;
}

/* Drop the owners of an inode that are `owner`, or that locked by handle `fh` (0 = none). */
static void drop_owners(struct hull_share *sh, struct share_inode *ino, const uint64_t *owner, uint64_t fh)
{
	struct share_owner *gone = NULL;
	pthread_mutex_lock(&sh->lock);
	for (struct share_owner **at = &ino->owners; *at;) {
		struct share_owner *o = *at;
		if (!(owner && o->owner == *owner) && !(fh && o->fh == fh)) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		o->refs++;
		o->dropped = true;
		o->next = gone;
		gone = o;
	}
	pthread_mutex_unlock(&sh->lock);
	for (struct share_owner *next; gone; gone = next) {
		next = gone->next;
		struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
		fcntl(gone->fd, F_OFD_SETLK, &all); /* one still waiting keeps the description open */
		owner_put(sh, gone);
	}
}

void share_owner_flush(struct hull_share *sh, struct share_inode *ino, uint64_t owner)
{
	drop_owners(sh, ino, &owner, 0);
}

void share_owner_release(struct hull_share *sh, struct share_inode *ino, uint64_t fh)
{
	drop_owners(sh, ino, NULL, fh);
}

/* The owner's description of this inode, made when there is none; ref'd. NULL with *error. */
static struct share_owner *owner_get(struct hull_share *sh, struct share_inode *ino, uint64_t owner, int *error)
{
	pthread_mutex_lock(&sh->lock);
	struct share_owner *o = owner_find(ino, owner);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&sh->lock);
	if (o)
		return o;
	int fd = share_is_ro(sh, ino) ? -EACCES : share_open_inode(sh, ino, O_RDWR, NULL);
	if (fd == -EACCES || fd == -EROFS || fd == -EPERM || fd == -ETXTBSY)
		fd = share_open_inode(sh, ino, O_RDONLY, NULL);
	*error = fd < 0 ? fd : -ENOMEM;
	struct share_owner *mine = fd < 0 ? NULL : calloc(1, sizeof *mine);
	if (!mine) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*mine = (struct share_owner){.owner = owner, .fd = fd, .refs = 1};
	pthread_mutex_lock(&sh->lock);
	uint32_t count = 0;
	for (struct share_owner *i = ino->owners; i; i = i->next)
		count++;
	o = owner_find(ino, owner);
	if (o) {
		o->refs++;
	} else if (count < SHARE_OWNERS_MAX) {
		mine->next = ino->owners;
		ino->owners = o = mine;
		mine = NULL;
	} else {
		*error = -ENOLCK;
	}
	pthread_mutex_unlock(&sh->lock);
	if (mine)
		owner_free(mine);
	return o;
}

static int to_flock(const struct fuse_file_lock *lk, struct flock *out)
{
	if (lk->start > INT64_MAX || lk->end > INT64_MAX || lk->end < lk->start || lk->type > F_UNLCK)
		return -EINVAL;
	*out = (struct flock){.l_type = (short)lk->type, .l_whence = SEEK_SET, .l_start = (off_t)lk->start};
	out->l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1);
	return 0;
}

void share_op_getlk(struct share_req *r, struct share_inode *ino)
{
	struct hull_share *sh = r->sh;
	const struct fuse_lk_in *in = share_args(r, sizeof *in);
	struct flock fl;
	int e = in ? to_flock(&in->lk, &fl) : -EINVAL;
	struct share_owner *o = e < 0 ? NULL : owner_get(sh, ino, in->owner, &e);
	if (!o)
		return share_reply(r, e, NULL, 0);
	e = fcntl(o->fd, F_OFD_GETLK, &fl) < 0 ? -errno : 0;
	struct fuse_lk_out out = {.lk = {.type = (uint32_t)fl.l_type}};
	if (fl.l_type != F_UNLCK) {
		out.lk.start = (uint64_t)fl.l_start;
		out.lk.end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1) : INT64_MAX;
		/* The host does not say which description holds it. With one other owner there is no doubt; a process
		 * of the host's has no number here. */
		pthread_mutex_lock(&sh->lock);
		uint32_t others = 0;
		for (struct share_owner *i = ino->owners; i && fl.l_pid < 0; i = i->next)
			if (i != o && i->pid && ++others == 1)
				out.lk.pid = i->pid;
		pthread_mutex_unlock(&sh->lock);
		if (others != 1)
			out.lk.pid = 0;
	}
	owner_put(sh, o);
	share_reply(r, e, &out, e ? 0 : sizeof out);
}

static int try_lock(const struct share_lock_wait *w, bool block)
{
	int e = w->owner ? fcntl(w->owner->fd, block ? F_OFD_SETLKW : F_OFD_SETLK, &w->lock)
			 /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without an owner there is a handle */
			 : flock(w->handle->fd, w->op | (block ? 0 : LOCK_NB));
	return e < 0 ? -errno : 0;
}

static void wait_free(struct share_lock_wait *w)
{
	if (w->owner)
		owner_put(w->sh, w->owner);
	share_handle_put(w->sh, w->handle);
	share_inode_put(w->sh, w->inode);
	free(w);
}

static void *wait_thread(void *arg)
{
	struct share_lock_wait *w = arg;
	struct hull_share *sh = w->sh;
	struct share_req r = {.sh = sh, .t = w->t, .h = &w->h};
	int e = -EINTR;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, wake_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		pthread_mutex_lock(&sh->waits);
		bool stop = w->interrupted;
		pthread_mutex_unlock(&sh->waits);
		if (stop)
			break;
		/* Only here: where interrupts come without a pause, it would never get past the mutex. */
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		e = try_lock(w, true);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		if (e != -EINTR)
			break;
	}
	pthread_mutex_lock(&sh->waits);
	struct share_lock_wait **at = &sh->waiting;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	pthread_mutex_unlock(&sh->waits);
	share_reply(&r, e, NULL, 0);
	wait_free(w);
	pthread_mutex_lock(&sh->waits);
	sh->wait_count--;
	pthread_cond_broadcast(&sh->waits_gone);
	pthread_mutex_unlock(&sh->waits);
	return NULL;
}

/* Let `w` wait in a thread of its own, which then owns it and answers. -errno when it cannot. */
static int wait_start(struct share_req *r, struct share_lock_wait *w)
{
	struct hull_share *sh = r->sh;
	pthread_attr_t attr;
	int e = 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WAIT_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&sh->waits);
	for (size_t i = 0; i < SHARE_LOG_WAITS; i++)
		if (sh->interrupted[i] == w->h.unique)
			e = -EINTR;
	if (sh->stopping)
		e = -EINTR;
	else if (e == 0 && sh->wait_count >= sh->config.max_waits)
		e = -ENOLCK;
	if (e == 0)
		e = -pthread_create(&w->thread, &attr, wait_thread, w);
	if (e == 0) {
		sh->wait_count++;
		w->next = sh->waiting;
		sh->waiting = w;
	}
	pthread_mutex_unlock(&sh->waits);
	pthread_attr_destroy(&attr);
	return e;
}

static void set_lock(struct share_req *r, struct share_inode *ino, bool block)
{
	struct hull_share *sh = r->sh;
	const struct fuse_lk_in *in = share_args(r, sizeof *in);
	struct share_lock_wait *w = in ? calloc(1, sizeof *w) : NULL;
	if (!w)
		return share_reply(r, in ? -ENOMEM : -EINVAL, NULL, 0);
	*w = (struct share_lock_wait){.sh = sh, .t = r->t, .h = *r->h};
	int e = to_flock(&in->lk, &w->lock);
	if (e == 0 && in->lk_flags & FUSE_LK_FLOCK) {
		w->op = w->lock.l_type == F_RDLCK ? LOCK_SH : w->lock.l_type == F_WRLCK ? LOCK_EX : LOCK_UN;
		w->handle = share_handle_get(sh, in->fh);
		if (!w->handle || w->handle->inode != ino)
			e = -EBADF;
	} else if (e == 0) {
		w->owner = owner_get(sh, ino, in->owner, &e);
		if (w->owner) {
			e = 0;
			pthread_mutex_lock(&sh->lock);
			w->owner->pid = in->lk.pid;
			w->owner->fh = in->fh;
			pthread_mutex_unlock(&sh->lock);
		}
	}
	pthread_mutex_lock(&sh->lock);
	ino->refs++;
	w->inode = ino;
	pthread_mutex_unlock(&sh->lock);
	if (e == 0)
		e = try_lock(w, false);
	if ((e == -EAGAIN || e == -EACCES) && block) {
		e = wait_start(r, w);
		if (e == 0)
			return;
	}
	wait_free(w);
	share_reply(r, e, NULL, 0);
}

void share_op_setlk(struct share_req *r, struct share_inode *ino)
{
	set_lock(r, ino, false);
}

void share_op_setlkw(struct share_req *r, struct share_inode *ino)
{
	set_lock(r, ino, true);
}

bool share_waits_interrupt(struct hull_share *sh, uint64_t unique)
{
	bool found = false;
	pthread_mutex_lock(&sh->waits);
	for (struct share_lock_wait *w = sh->waiting; w; w = w->next) {
		if (w->h.unique == unique) {
			w->interrupted = true;
			pthread_kill(w->thread, wake_signal());
			found = true;
		}
	}
	if (!found)
		sh->interrupted[sh->interrupted_at++ % SHARE_LOG_WAITS] = unique;
	pthread_mutex_unlock(&sh->waits);
	return found;
}

void share_waits_init(struct hull_share *sh)
{
	struct sigaction sa = {.sa_handler = woken};
	sigaction(wake_signal(), &sa, NULL);
}

void share_waits_stop(struct hull_share *sh)
{
	pthread_mutex_lock(&sh->waits);
	sh->stopping = true;
	while (sh->wait_count > 0) {
		struct timespec soon;
		for (struct share_lock_wait *w = sh->waiting; w; w = w->next) {
			w->interrupted = true;
			pthread_kill(w->thread, wake_signal());
		}
		/* Again after a moment, for a thread that was about to enter its system call. */
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 10 * 1000 * 1000;
		if (soon.tv_nsec >= 1000000000) {
			soon.tv_nsec -= 1000000000;
			soon.tv_sec++;
		}
		pthread_cond_timedwait(&sh->waits_gone, &sh->waits, &soon);
	}
	pthread_mutex_unlock(&sh->waits);
}
