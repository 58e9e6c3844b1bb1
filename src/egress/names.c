/* SPDX-License-Identifier: Apache-2.0 */
/* Names: synthetic addresses, and lookups of the real ones; see names.h.
 *
 * A name gets a number, and with it one IPv4 and one IPv6 address, when it is first asked for. When the table is full,
 * the least recently used name loses its number, among those that no connection uses and whose TTL has passed. Every
 * number is sent to the keeper, which gives them to the next hull-egress when this one dies: an address that the guest
 * has cached still means the same name.
 *
 * Lookups run in libuv's threads, at most one for each name; requests that come meanwhile wait for the same answer. An
 * answer is used for LOOKUP_MS, so that resolving and then connecting asks the resolver once. */
#include "egress/internal.h"
#include "egress/names.h"

#include <netdb.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
	BUCKETS = 4096,
	FIRST = 256, /* 198.18.1.0: the numbers below are nobody's */
	GRACE_MS = 120 * 1000,
	LOOKUP_MS = 10 * 1000,
	LOOKUPS_MAX = 512,
};

struct names {
	uint64_t seed;
	struct name *buckets[BUCKETS];
	struct name *by_number[EGRESS_NAMES_MAX];
	size_t used; /* numbers ever given out are below this, but for restored ones */
	struct list_node lru;
	size_t looking;
};

struct question {
	uv_getaddrinfo_t req;
	struct egress *g;
	struct name *name;
};

int names_open(struct egress *g)
{
	g->names = calloc(1, sizeof(*g->names));
	if (!g->names)
		return -ENOMEM;
	list_init(&g->names->lru);
	return getrandom(&g->names->seed, sizeof(g->names->seed), 0) == (ssize_t)sizeof(g->names->seed) ? 0 : -EIO;
}

static size_t bucket(const struct names *t, const char *text)
{
	uint64_t h = t->seed;
	for (; *text; text++) {
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	return (size_t)(h % BUCKETS);
}

static void touch(struct names *t, struct name *n)
{
	list_del(&n->in_lru);
	list_add(&t->lru, &n->in_lru);
}

static void forget(struct names *t, struct name *n)
{
	struct name **at = &t->buckets[bucket(t, n->text)];
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->by_number[n->number - FIRST] = NULL;
	list_del(&n->in_lru);
	free(n->text);
	free(n->addrs);
	free(n);
}

/* A free number, or -1. */
static long number_for(struct egress *g)
{
	struct names *t = g->names;
	while (t->used < EGRESS_NAMES_MAX && t->by_number[t->used])
		t->used++;
	if (t->used < EGRESS_NAMES_MAX)
		return (long)t->used;
	uint64_t now = uv_now(&g->loop.uv);
	list_each(at, &t->lru)
	{
		struct name *n = container_of(at, struct name, in_lru);
		if (n->refs || n->looking)
			continue;
		/* Those behind it were used later still. */
		if (n->until_ms + GRACE_MS > now)
			return -1;
		long number = (long)n->number - FIRST;
		forget(t, n);
		return number;
	}
	return -1;
}

static struct name *find(struct egress *g, const char *text)
{
	for (struct name *n = g->names->buckets[bucket(g->names, text)]; n; n = n->next)
		if (strcmp(n->text, text) == 0)
			return n;
	return NULL;
}

static struct name *add(struct egress *g, size_t index, const char *text)
{
	struct names *t = g->names;
	struct name *n = calloc(1, sizeof(*n));
	if (!n || !(n->text = strdup(text))) {
		free(n);
		return NULL;
	}
	n->number = (uint32_t)index + FIRST;
	list_init(&n->in_lru);
	list_init(&n->waiters);
	list_add(&t->lru, &n->in_lru);
	t->by_number[index] = n;
	struct name **at = &t->buckets[bucket(t, text)];
	n->next = *at;
	*at = n;
	return n;
}

struct name *name_get(struct egress *g, const char *text)
{
	struct name *n = find(g, text);
	if (n) {
		touch(g->names, n);
		return n;
	}
	long index = number_for(g);
	return index < 0 ? NULL : add(g, (size_t)index, text);
}

void name_given(struct egress *g, struct name *n)
{
	bool first = n->until_ms == 0;
	n->until_ms = uv_now(&g->loop.uv) + NAME_TTL * 1000;
	touch(g->names, n);
	if (first)
		control_send(g, json_pack("{s:[I,s]}", "name", (json_int_t)n->number, n->text), false);
}

void name_restore(struct egress *g, uint32_t number, const char *text)
{
	char name[HULL_HOST_MAX + 1];
	if (number < FIRST || number >= FIRST + EGRESS_NAMES_MAX || g->names->by_number[number - FIRST] ||
	    !hull_host_name(text, strlen(text), name) || find(g, name))
		return;
	struct name *n = add(g, number - FIRST, name);
	if (n)
		n->until_ms = uv_now(&g->loop.uv) + NAME_TTL * 1000;
}

/* --- addresses --- */

struct hull_addr name_addr4(const struct name *n)
{
	return (struct hull_addr){AF_INET, {198, 18, (uint8_t)(n->number >> 8), (uint8_t)n->number}};
}

static const uint8_t names6[12] = {0xfd, 0x68, 0x75, 0x6c, 0x6c};

struct hull_addr name_addr6(const struct name *n)
{
	struct hull_addr a = {.family = AF_INET6};
	memcpy(a.b, names6, sizeof(names6));
	for (int i = 0; i < 4; i++)
		a.b[15 - i] = (uint8_t)(n->number >> (8 * i));
	return a;
}

struct name *name_of(struct egress *g, const struct hull_addr *a, bool *synthetic)
{
	uint32_t number;
	*synthetic = true;
	if (a->family == AF_INET && a->b[0] == 198 && a->b[1] == 18)
		number = (uint32_t)a->b[2] << 8 | a->b[3];
	else if (a->family == AF_INET6 && memcmp(a->b, names6, sizeof(names6)) == 0)
		number = (uint32_t)a->b[12] << 24 | (uint32_t)a->b[13] << 16 | (uint32_t)a->b[14] << 8 | a->b[15];
	else
		return *synthetic = false, NULL;
	if (number < FIRST || number >= FIRST + EGRESS_NAMES_MAX)
		return NULL;
	return g->names->by_number[number - FIRST];
}

void name_hold(struct name *n)
{
	n->refs++;
}

void name_release(struct name *n)
{
	if (n)
		n->refs--;
}

/* The kernel takes an address of the host's own as the source of what goes there. No packet is sent. What there is no
 * way to is none of them; when there is no socket to ask with, it may be. */
bool addr_is_local(const struct hull_addr *a)
{
	struct sockaddr_storage to, from = {0};
	socklen_t n = sizeof(from);
	_cleanup_close_ int fd = socket(a->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct hull_addr mine;
	if (fd < 0)
		return errno != EAFNOSUPPORT;
	if (connect(fd, (struct sockaddr *)&to, hull_addr_to(a, 9, &to)) < 0)
		return errno == ENOMEM || errno == ENOBUFS;
	return getsockname(fd, (struct sockaddr *)&from, &n) < 0 || !hull_addr_from((struct sockaddr *)&from, &mine) ||
	       hull_addr_equal(a, &mine);
}

/* --- looking up --- */

static void answer(struct egress *g, struct name *n, int error, const struct hull_addr *addrs, size_t count)
{
	n->looking = false;
	g->names->looking--;
	n->error = error;
	n->looked_ms = uv_now(&g->loop.uv) ? uv_now(&g->loop.uv) : 1;
	free(n->addrs);
	n->addrs = NULL;
	n->addr_count = 0;
	if (count && (n->addrs = malloc(count * sizeof(*addrs)))) {
		memcpy(n->addrs, addrs, count * sizeof(*addrs));
		n->addr_count = count;
	}
	name_hold(n);
	while (n->waiters.next != &n->waiters) {
		struct lookup *l = container_of(n->waiters.next, struct lookup, in_list);
		list_del(&l->in_list);
		l->done(l, n->error, n->addrs, n->addr_count);
	}
	name_release(n);
}

static void on_addresses(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct question *q = container_of(req, struct question, req);
	struct hull_addr addrs[ADDRS_MAX];
	size_t n = 0;
	for (struct addrinfo *a = res; a && n < ADDRS_MAX; a = a->ai_next) {
		if (!hull_addr_from(a->ai_addr, &addrs[n]))
			continue;
		bool known = false;
		for (size_t i = 0; i < n; i++)
			known = known || hull_addr_equal(&addrs[i], &addrs[n]);
		n += !known;
	}
	if (res)
		uv_freeaddrinfo(res);
	int error = status == UV_EAI_NONAME || status == UV_EAI_NODATA || (status == 0 && n == 0) ? -ENOENT
		    : status < 0                                                                  ? -EIO
												  : 0;
	answer(q->g, q->name, error, addrs, n);
	free(q);
}

void lookup_init(struct lookup *l)
{
	list_init(&l->in_list);
}

void lookup_cancel(struct lookup *l)
{
	list_del(&l->in_list);
}

/* A test's resolver wants to be asked again. */
static void on_again(void *owner)
{
	struct name *n = owner;
	struct hull_addr addrs[ADDRS_MAX];
	loop_timer_free(n->again);
	n->again = NULL;
	int r = n->g->hooks->resolve(n->text, addrs, ADDRS_MAX);
	answer(n->g, n, r < 0 ? r : r == 0 ? -ENOENT : 0, addrs, r < 0 ? 0 : (size_t)r);
}

void lookup_start(struct egress *g, struct name *n, struct lookup *l)
{
	struct names *t = g->names;
	uv_update_time(&g->loop.uv);
	unsigned good_ms = g->hooks && g->hooks->fresh_ms ? g->hooks->fresh_ms : LOOKUP_MS;
	bool fresh = n->looked_ms && n->looked_ms + good_ms > uv_now(&g->loop.uv) && n->error == 0;
	if (fresh && !n->looking) {
		l->done(l, n->error, n->addrs, n->addr_count);
		return;
	}
	if (!n->looking && t->looking >= LOOKUPS_MAX) {
		l->done(l, -EAGAIN, NULL, 0);
		return;
	}
	list_add(&n->waiters, &l->in_list);
	if (n->looking)
		return;
	n->looking = true;
	t->looking++;
	struct hull_addr addrs[ADDRS_MAX];
	if (g->hooks && g->hooks->resolve) {
		int r = g->hooks->resolve(n->text, addrs, ADDRS_MAX);
		if (r == -EINPROGRESS && (n->again = loop_timer_new(&g->loop, 0, n, on_again)))
			n->g = g;
		else
			answer(g, n, r < 0 ? r : r == 0 ? -ENOENT : 0, addrs, r < 0 ? 0 : (size_t)r);
		return;
	}
	struct question *q = calloc(1, sizeof(*q));
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	if (q) {
		q->g = g;
		q->name = n;
	}
	int r = q ? uv_getaddrinfo(&g->loop.uv, &q->req, on_addresses, n->text, NULL, &hints) : -ENOMEM;
	if (r < 0) {
		free(q);
		answer(g, n, -EIO, NULL, 0);
	}
}
