/* SPDX-License-Identifier: Apache-2.0 */
/* share-race [-s SEED] [-n ROUNDS] DIR: a hostile guest against the boundary of its share.
 *
 * DIR gets `shared` (the root of a share) and `outside` beside it, full of a marker. Threads on the host swap
 * directories and files of the share for symlinks that lead outside, and move directories about; threads of hostile
 * guests issue raw requests all the while, with every kind of name and id. Nothing they read may hold the marker, no
 * name of outside's may be answered, and in the end outside must be byte for byte, mode for mode, what it was. */
#include "check.h"
#include "raw.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MARKER "OUTSIDE-SECRET"

enum { GUESTS = 4, SWAPPERS = 2, NODES = 64 };

static struct hull_share *sh;
static unsigned long rounds = 20000;
static uint64_t seed = 1;
static atomic_bool over;
static atomic_int leaks, answered;
static int shared_fd, outside_fd;

struct rng {
	uint64_t s;
};

static uint32_t rnd(struct rng *r, uint32_t below)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return (uint32_t)(r->s >> 20) % below;
}

/* --- the host's side: what is a directory now is a symlink to outside in a moment --- */

/* The directory a path of ours lies in, without leaving the share ourselves; -1 when it is a symlink just now. */
static int parent_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	char dir[64];
	*name = slash ? slash + 1 : path;
	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	return (int)syscall(SYS_openat2, shared_fd, dir, &how, sizeof how);
}

static void make_dir(const char *path)
{
	const char *name;
	_cleanup_close_ int dir = parent_of(path, &name);
	if (dir >= 0)
		mkdirat(dir, name, 0755);
}

static void *swapper(void *arg)
{
	struct rng r = {.s = seed * 77 + (uintptr_t)arg + 1};
	static const char *const pairs[][2] = {
		{"d", "to-outside"}, {"d/e", "to-outside"}, {"f", "to-secret"}, {"d/f", "to-secret"}, {"d/e", "d/g"},
		{"d", "h"},          {"h/i", "d/g"},        {"up", "d"},
	};
	while (!atomic_load(&over)) {
		const char *const *p = pairs[rnd(&r, sizeof pairs / sizeof *pairs)];
		const char *x, *y;
		_cleanup_close_ int a = parent_of(p[0], &x);
		_cleanup_close_ int b = parent_of(p[1], &y);
		if (a >= 0 && b >= 0)
			renameat2(a, x, b, y, RENAME_EXCHANGE);
		if (rnd(&r, 4) > 0)
			continue;
		/* What the guests tore down. */
		make_dir("d");
		make_dir("d/e");
		make_dir("d/g");
		make_dir("h");
		make_dir("h/i");
		if (symlinkat("../outside", shared_fd, "to-outside") < 0 ||
		    symlinkat("../outside/secret", shared_fd, "to-secret") < 0 || symlinkat("..", shared_fd, "up") < 0)
			continue;
	}
	return NULL;
}

/* --- the guest's side --- */

static const char *const names[] = {
	"d",
	"e",
	"f",
	"g",
	"h",
	"i",
	"to-outside",
	"to-secret",
	"up",
	"secret",
	"../outside",
	"..",
	".",
	"d/../../outside",
	"/etc/passwd",
	"d/e/f",
	"",
	"new",
	"to-outside/secret",
};

struct guest {
	struct raw c;
	struct rng r;
	uint64_t nodes[NODES];
};

static const char *any_name(struct guest *g)
{
	return names[rnd(&g->r, sizeof names / sizeof *names)];
}

static uint64_t any_node(struct guest *g)
{
	uint64_t id = g->nodes[rnd(&g->r, NODES)];
	uint32_t luck = rnd(&g->r, 20);
	return luck == 0 ? id + 1 : luck == 1 ? id ^ 1ull << 32 : luck < 8 || id == 0 ? FUSE_ROOT_ID : id;
}

static void look(struct guest *g)
{
	if (g->c.error == 0 && memmem(g->c.reply, g->c.reply_len, MARKER, strlen(MARKER)))
		atomic_fetch_add(&leaks, 1);
	/* The names only outside has. */
	if (g->c.error == 0 && memmem(g->c.reply, g->c.reply_len, "outside-only", 12))
		atomic_fetch_add(&leaks, 1);
	if (g->c.error == 0)
		atomic_fetch_add(&answered, 1);
}

static void remember(struct guest *g)
{
	struct fuse_entry_out out;
	if (g->c.error != 0 || g->c.reply_len < sizeof out)
		return;
	memcpy(&out, g->c.reply, sizeof out);
	if (!out.nodeid)
		return;
	uint64_t *slot = &g->nodes[rnd(&g->r, NODES)];
	if (*slot && rnd(&g->r, 2)) {
		struct fuse_forget_in in = {.nlookup = 1};
		uint64_t old = *slot;
		*slot = out.nodeid;
		raw_begin(&g->c, FUSE_FORGET, old);
		raw_add(&g->c, &in, sizeof in);
		raw_go(&g->c);
	}
	*slot = out.nodeid;
}

static void attack(struct guest *g)
{
	struct raw *c = &g->c;
	uint64_t node = any_node(g), fh = 0;
	const char *name = any_name(g);
	struct fuse_create_in create = {.flags = O_RDWR | O_CREAT | (rnd(&g->r, 2) ? O_TRUNC : 0), .mode = 0100666};
	struct fuse_mkdir_in mkdir_in = {.mode = 0777};
	struct fuse_mknod_in mknod_in = {.mode = rnd(&g->r, 2) ? S_IFREG | 0666 : S_IFCHR | 0666, .rdev = 0x105};
	struct fuse_rename2_in rename_in = {.newdir = any_node(g), .flags = rnd(&g->r, 3)};
	struct fuse_link_in link_in = {.oldnodeid = any_node(g)};
	struct fuse_setattr_in set = {
		.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME, .mode = 07777, .size = rnd(&g->r, 50)};
	struct fuse_getxattr_in getx = {.size = 100};
	switch (rnd(&g->r, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		raw_named(c, FUSE_LOOKUP, node, NULL, 0, name, NULL);
		look(g);
		remember(g);
		break;
	case 4:
	case 5:
		if (raw_open(c, node, FUSE_OPEN, rnd(&g->r, 2) ? O_RDWR : O_RDONLY, &fh) == 0) {
			raw_read(c, node, FUSE_READ, fh, 0, 4096);
			look(g);
			raw_write(c, node, fh, "overwritten by the guest");
			look(g);
			raw_release(c, node, FUSE_RELEASE, fh);
		}
		break;
	case 6:
		if (raw_open(c, node, FUSE_OPENDIR, 0, &fh) == 0) {
			raw_read(c, node, rnd(&g->r, 2) ? FUSE_READDIR : FUSE_READDIRPLUS, fh, 0, 4096);
			/* A symlink's own name holds no marker, and neither does anything inside the share. */
			look(g);
			raw_release(c, node, FUSE_RELEASEDIR, fh);
		}
		break;
	case 7:
		raw_named(c, FUSE_CREATE, node, &create, sizeof create, name, NULL);
		look(g);
		if (c->error == 0) {
			struct fuse_open_out out;
			memcpy(&out, c->reply + sizeof(struct fuse_entry_out), sizeof out);
			uint64_t made;
			memcpy(&made, c->reply, sizeof made);
			raw_read(c, made, FUSE_READ, out.fh, 0, 4096);
			look(g);
			raw_write(c, made, out.fh, "created by the guest");
			raw_release(c, made, FUSE_RELEASE, out.fh);
		}
		break;
	case 8:
		raw_named(c, FUSE_MKDIR, node, &mkdir_in, sizeof mkdir_in, name, NULL);
		remember(g);
		break;
	case 9:
		raw_named(c, FUSE_MKNOD, node, &mknod_in, sizeof mknod_in, name, NULL);
		remember(g);
		break;
	case 10:
		raw_named(c, rnd(&g->r, 2) ? FUSE_UNLINK : FUSE_RMDIR, node, NULL, 0, name, NULL);
		break;
	case 11:
		raw_named(c, FUSE_RENAME2, node, &rename_in, sizeof rename_in, name, any_name(g));
		break;
	case 12:
		raw_named(c, FUSE_LINK, node, &link_in, sizeof link_in, name, NULL);
		remember(g);
		break;
	case 13:
		raw_begin(c, FUSE_SETATTR, node);
		raw_add(c, &set, sizeof set);
		raw_go(c);
		break;
	case 14:
		raw_named(c, FUSE_GETXATTR, node, &getx, sizeof getx, "user.secret", NULL);
		look(g);
		break;
	default:
		raw_named(c, FUSE_SYMLINK, node, NULL, 0, name, "../outside");
		remember(g);
		break;
	}
}

static void *guest(void *arg)
{
	struct guest *g = calloc(1, sizeof *g);
	if (!g || !raw_init(&g->c, sh))
		return NULL;
	g->r.s = seed * 1000 + (uintptr_t)arg + 1;
	for (unsigned long i = 0; i < rounds; i++)
		attack(g);
	raw_free(&g->c);
	free(g);
	return NULL;
}

/* --- */

static bool outside_is_as_it_was(void)
{
	struct stat st;
	char text[64] = "";
	_cleanup_close_ int fd = openat(outside_fd, "secret", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text) != (ssize_t)strlen(MARKER) || strcmp(text, MARKER) != 0)
		return false;
	if (fstat(fd, &st) < 0 || (st.st_mode & 07777) != 0640 || st.st_nlink != 1 || st.st_mtime != 1000000000)
		return false;
	if (fstat(outside_fd, &st) < 0 || (st.st_mode & 07777) != 0751)
		return false;
	int names_seen = 0;
	_cleanup_closedir_ DIR *d = fdopendir(dup(outside_fd));
	for (struct dirent *e; d && (e = readdir(d));)
		names_seen += e->d_name[0] != '.';
	return names_seen == 2;
}

int main(int argc, char **argv)
{
	pthread_t t[GUESTS + SWAPPERS];
	struct hull_error err = {0};
	struct hull_share_config config = {.guest_uid = 1000, .guest_gid = 1000, .max_dirs = 4};
	struct raw hello;
	for (int c; (c = getopt(argc, argv, "s:n:")) != -1;) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			rounds = strtoul(optarg, NULL, 10);
	}
	check_enter(argc > optind ? argv[optind] : ".", "race");
	mkdir("shared", 0755);
	mkdir("outside", 0755);
	CHECK(put_file("outside/secret", MARKER) == 0 && put_file("outside/outside-only", MARKER) == 0, "set up");
	struct timespec ts[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	chmod("outside/secret", 0640);
	chmod("outside", 0751);
	utimensat(AT_FDCWD, "outside/secret", ts, 0);
	shared_fd = open("shared", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	outside_fd = open("outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	config.root_fd = shared_fd;
	if (hull_share_new(&config, &sh, &err) < 0 || !raw_init(&hello, sh)) {
		printf("Bail out! %s\n", err.msg);
		return 1;
	}
	CHECK(raw_hello(&hello) == 0, "INIT");
	for (uintptr_t i = 0; i < SWAPPERS; i++)
		pthread_create(&t[GUESTS + i], NULL, swapper, (void *)i);
	for (uintptr_t i = 0; i < GUESTS; i++)
		pthread_create(&t[i], NULL, guest, (void *)i);
	for (int i = 0; i < GUESTS; i++)
		pthread_join(t[i], NULL);
	atomic_store(&over, true);
	for (int i = 0; i < SWAPPERS; i++)
		pthread_join(t[GUESTS + i], NULL);
	printf("# seed %llu, %d requests answered\n", (unsigned long long)seed, atomic_load(&answered));
	CHECK(atomic_load(&answered) > 100, "the attack was more than errors");
	CHECK(atomic_load(&leaks) == 0, "nothing from outside was read (%d)", atomic_load(&leaks));
	CHECK(outside_is_as_it_was(), "nothing outside was changed");
	raw_free(&hello);
	hull_share_free(sh);
	return check_done();
}
