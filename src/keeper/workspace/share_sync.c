/* SPDX-License-Identifier: Apache-2.0 */
/* Sync: a command sees what was changed on the host before it. Whatever enters the sandbox (a command, a job, a copy, a
 * connection to Docker; not one to a published port) waits until every share has notified the guest of the host's
 * changes so far; see share.h.
 *
 * A round asks every server over its control socket (hull-share's main.c). A server answers when it has read its events
 * and the guest's kernel has taken the notifications. A request that comes while a round is in flight waits for the
 * next one, since this one may have read too early. When nothing has changed on the host, a round is one small packet
 * each way.
 *
 * A server that has not answered after SYNC_MS (its disk hangs, it was stopped, the guest does not take notifications)
 * is no longer waited for, and not asked again until it has answered. The log says so; what waited goes on and may see
 * old content. The alternative, a failure, would leave no way into a sandbox whose workspace hangs. */
#include "keeper/workspace/share_internal.h"

#include <sys/socket.h>

enum { SYNC_MS = 10 * 1000 };

/* Those that have answered the last time: how many. */
static unsigned ask(struct keeper *k)
{
	static const uint8_t sync = 0;
	unsigned asked = 0;
	list_each(n, &k->workspace->mounts)
	{
		const struct mount *m = container_of(n, struct mount, in_list);
		struct server *sv = m->server;
		if (m->state != MOUNTED || !sv || !sv->socket || sv->syncing)
			continue;
		sv->syncing = send(sv->control->fd, &sync, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
		asked += sv->syncing;
	}
	return asked;
}

static void give_up_on(struct keeper *k)
{
	list_each(n, &k->workspace->mounts)
	{
		struct server *sv = container_of(n, struct mount, in_list)->server;
		if (sv)
			sv->late = sv->syncing;
	}
}

static void pass(struct keeper *k);

static void move(struct list_node *to, struct list_node *from)
{
	while (from->next != from) {
		struct list_node *n = from->next;
		list_del(n);
		list_add(to, n);
	}
}

static void on_late(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	keeper_log_guest(k, "a share has not passed on the host's changes for %d s: commands go on without",
			 SYNC_MS / 1000);
	give_up_on(k);
	pass(k);
}

/* False when there is nobody to ask. */
static bool begin(struct keeper *k)
{
	k->workspace->sync.asked = ask(k);
	if (k->workspace->sync.asked)
		uv_timer_start(&k->workspace->sync.timer, on_late, SYNC_MS, 0);
	return k->workspace->sync.asked > 0;
}

/* The round is over. Who passes may end others, and may wait for the next one. */
static void pass(struct keeper *k)
{
	struct list_node due;
	list_init(&due);
	uv_timer_stop(&k->workspace->sync.timer);
	k->workspace->sync.asked = 0;
	move(&due, &k->workspace->sync.now);
	move(&k->workspace->sync.now, &k->workspace->sync.next);
	if (k->workspace->sync.now.next != &k->workspace->sync.now && !begin(k))
		move(&due, &k->workspace->sync.now);
	while (due.next != &due) {
		struct sync_wait *w = container_of(due.next, struct sync_wait, in_list);
		list_del(&w->in_list);
		w->passed(w);
	}
}

bool share_sync(struct keeper *k, struct sync_wait *w, void (*passed)(struct sync_wait *w))
{
	struct list_node *list = k->workspace->sync.asked ? &k->workspace->sync.next : &k->workspace->sync.now;
	if (!k->workspace->sync.asked && !begin(k))
		return true;
	w->passed = passed;
	list_add(list, &w->in_list);
	return false;
}

void share_sync_cancel(struct sync_wait *w)
{
	if (w->passed)
		list_del(&w->in_list);
}

void share_sync_answered(struct keeper *k)
{
	if (k->workspace->sync.asked > 0 && --k->workspace->sync.asked == 0)
		pass(k);
}
