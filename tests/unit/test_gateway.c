/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's side of hull-egress, against a fake one: what it is told of policy and proxies, and what it may say. */
#include "keeper_rig.h"

#include "keeper/network/gateway_child.h"
#include "policy/digest.h"

#include <sys/syscall.h>

enum { EGRESS = PEERS - 1 }; /* its place among the clients */

static struct world *world;

/* A process to be the child, and this process on the wire in its place. */
static int fake_start(struct keeper *k, int fd, pid_t *pid, int *pidfd, struct hull_error *err)
{
	struct peer *p = &world->clients[EGRESS];
	struct hull_wire_config config = {.side = HULL_WIRE_GUEST, .max_inbound = 4096};
	peer_close(p);
	*pid = fork();
	if (*pid == 0) {
		pause();
		_exit(0);
	}
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	assert_true(*pid > 0 && *pidfd >= 0);
	p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	p->world = world;
	hull_set_nonblock(p->fd, true);
	p->wire = hull_wire_new(&config, &PEER_OPS, p);
	return 0;
}

static struct end *line_stream(void)
{
	return world->clients[EGRESS].count ? &world->clients[EGRESS].ends[0] : NULL;
}

/* What the child has been told so far, as text. */
static bool told(const char *text)
{
	struct end *e = line_stream();
	const uint8_t *p = e ? hull_buf_bytes(&e->in) : NULL;
	return p && memmem(p, e->in.len, text, strlen(text)) != NULL;
}
static void forget(void)
{
	hull_buf_drain(&line_stream()->in, SIZE_MAX);
}
static void child_says(const char *line)
{
	hull_buf_addstr(&line_stream()->out, line);
	hull_buf_addstr(&line_stream()->out, "\n");
}

/* Is this why a file does not count (NULL = it counts)? */
static bool said_error(const char *which, const char *error)
{
	json_t *j = gateway_policy(world->k, false);
	const char *s = json_string_value(json_object_get(json_object_get(j, which), "error"));
	bool is = error ? s && strstr(s, error) : !s;
	json_decref(j);
	return is;
}
/* Answer to the last policy that the child was told. */
static void acknowledge(const char *words)
{
	json_int_t number = 0;
	struct end *e = line_stream();
	settle(world);
	const char *p = (const char *)hull_buf_bytes(&e->in), *end = p + e->in.len, *at;
	while ((at = memmem(p, (size_t)(end - p), "{\"policy\":{\"number\":", 20))) {
		number = atoll(at + 20);
		p = at + 20;
	}
	_cleanup_free_ char *line = hull_fmt("{\"policy\":{\"number\":%lld,%s}}", (long long)number, words);
	child_says(line);
	until(world, line_stream()->out.len == 0);
	settle(world);
}

static char *path_in(const char *name)
{
	return hull_fmt("%s/%s", world->k->paths.config, name);
}

/* As an editor does that writes in place: the file is emptied and open. */
static int begin_in_place(const char *path, const char *first)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, first, strlen(first)), (ssize_t)strlen(first));
	return fd;
}
static void put(const char *path, const char *text)
{
	struct hull_error err = {0};
	assert_int_equal(hull_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600, &err), 0);
}

static int gateway_setup(void **state)
{
	static const char *const names[] = {"http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY",
					    "all_proxy",  "NO_PROXY",    "no_proxy"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	if (setup(state) < 0)
		return -1;
	world = *state;
	world->k->network->start = fake_start;
	/* Not the host's own. */
	static char *sources[2];
	for (int i = 0; i < 2; i++) {
		free(sources[i]);
		sources[i] = hull_fmt("%s/etc-%s", world->dir, i ? "hosts" : "resolv.conf");
	}
	world->k->network->host_files = (const char *const *)sources;
	return hull_mkdir_all(world->k->paths.config, 0700, NULL);
}
/* A gateway's memory goes with its process, as handles of the loop lie in it: it is kept here, not lost. */
static struct gateway *closed[32];
static int gateway_teardown(void **state)
{
	static size_t n;
	gateway_close(world->k);
	closed[n++ % 32] = world->k->network->gateway;
	return teardown(state);
}
static void open_gateway(void)
{
	struct hull_error err = {0};
	if (gateway_open(world->k, &err) < 0)
		fail_msg("%s", err.msg);
	until(world, told("{\"start\":") && (told("{\"policy\":")));
}

static void test_policy_in_place(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *global = path_in("policy.yaml");
	_cleanup_free_ char *old = path_in("policy.yaml~");
	_cleanup_free_ char *own = hull_sandbox_path(&w->k->paths, "box", "policy.yaml");
	put(global, "preset: locked\nallow: [a.test]\n");
	open_gateway();
	assert_true(told("a.test"));
	forget();
	/* A file that is emptied and not yet written is not read, also not because the other one has changed. */
	_cleanup_close_ int fd = begin_in_place(global, "");
	put(own, "allow: [s.test]\n");
	until(w, told("s.test"));
	assert_true(told("a.test"));
	assert_int_equal(write(fd, "preset: locked\n", 15), 15);
	forget();
	put(own, "allow: [t.test]\n");
	until(w, told("t.test"));
	assert_true(told("a.test"));
	assert_int_equal(write(fd, "allow: [b.test]\n", 16), 16);
	forget();
	close(hull_steal_fd(&fd));
	until(w, told("{\"policy\":"));
	assert_true(told("preset: locked\\nallow: [b.test]\\n"));
	/* The old text is moved away first, and the new file is made: at no time is there none. */
	forget();
	assert_int_equal(rename(global, old), 0);
	fd = begin_in_place(global, "preset: locked\n");
	put(own, "allow: [u.test]\n");
	until(w, told("u.test"));
	assert_true(told("b.test"));
	forget();
	assert_int_equal(write(fd, "allow: [c.test]\n", 16), 16);
	close(hull_steal_fd(&fd));
	assert_int_equal(unlink(old), 0);
	until(w, told("{\"policy\":"));
	assert_true(told("preset: locked\\nallow: [c.test]\\n"));
	/* Moved away for good: what was read stays in force, and the other file is followed. */
	forget();
	assert_int_equal(rename(global, old), 0);
	put(own, "allow: [v.test]\n");
	until(w, told("v.test"));
	assert_true(told("preset: locked\\nallow: [c.test]"));
	assert_true(said_error("global", "is gone"));
	forget();
	put(old, "preset: locked\nallow: [d.test]\n");
	assert_int_equal(rename(old, global), 0);
	until(w, told("d.test"));
	assert_true(said_error("global", NULL));
}

/* Whatever becomes of a file, the text that was good stays in force until another good one is there. */
static void test_policy_failures(void **state)
{
	static const char *const texts[] = {"",
					    "\n\n",
					    "# preset: locked\n",
					    "---\n",
					    "--- # x\n...\n",
					    "preset: loc",
					    "preset: locked\nallow: [a",
					    "\xff\xfe",
					    "allow:\n  - [1\n"};
	struct world *w = *state;
	_cleanup_free_ char *global = path_in("policy.yaml");
	_cleanup_free_ char *elsewhere = path_in("elsewhere");
	_cleanup_free_ char *own = hull_sandbox_path(&w->k->paths, "box", "policy.yaml");
	int turn_of = 0;
	put(global, "preset: locked\nallow: [a.test]\n");
	open_gateway();
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		forget();
		if (i % 2)
			put(global, texts[i]);
		else
			close(begin_in_place(global, texts[i]));
		until(w, !said_error("global", NULL));
		assert_false(told("{\"policy\":"));
		/* A change of the other file counts all the same, beside what was good of this one. */
		_cleanup_free_ char *rule = hull_fmt("allow: [t%d.test]\n", ++turn_of);
		put(own, rule);
		until(w, told("{\"policy\":"));
		assert_true(told("preset: locked\\nallow: [a.test]"));
		put(global, "preset: locked\nallow: [a.test]\n");
		until(w, said_error("global", NULL));
	}
	forget();
	put(elsewhere, "preset: open\n");
	assert_int_equal(unlink(global), 0);
	assert_int_equal(symlink(elsewhere, global), 0);
	until(w, said_error("global", "symbolic link"));
	assert_int_equal(unlink(global), 0);
	assert_int_equal(mkdir(global, 0700), 0);
	until(w, said_error("global", "not a regular file"));
	assert_int_equal(rmdir(global), 0);
	until(w, said_error("global", "is gone"));
	put(elsewhere, "preset: open\n");
	assert_int_equal(chmod(elsewhere, 0666), 0);
	assert_int_equal(rename(elsewhere, global), 0);
	until(w, said_error("global", "others may write"));
	assert_false(told("{\"policy\":"));
	assert_int_equal(chmod(global, 0600), 0);
	until(w, told("preset: open"));
	/* What is asked for is read also where nothing told of it. */
	assert_int_equal(chmod(global, 0620), 0);
	settle(w);
	assert_true(said_error("global", NULL));
	gateway_policy_read(w->k, "global");
	assert_true(said_error("global", "others may write"));
	assert_int_equal(unlink(global), 0);
}

/* The directory is replaced, in each way that people do it. */
static void test_policy_directory(void **state)
{
	struct world *w = *state;
	const char *dir = w->k->paths.config;
	_cleanup_free_ char *global = path_in("policy.yaml");
	_cleanup_free_ char *aside = hull_fmt("%s.old", dir);
	_cleanup_free_ char *dotfiles = hull_fmt("%s/dotfiles", w->dir);
	_cleanup_free_ char *in_dotfiles = hull_fmt("%s/policy.yaml", dotfiles);
	_cleanup_free_ char *in_aside = hull_fmt("%s/policy.yaml", aside);
	put(global, "preset: locked\nallow: [a.test]\n");
	open_gateway();
	for (int i = 0; i < 2; i++) {
		forget();
		assert_int_equal(rename(dir, aside), 0);
		until(w, said_error("global", "is gone"));
		assert_false(told("{\"policy\":"));
		assert_int_equal(mkdir(dir, 0700), 0);
		settle(w);
		assert_false(told("{\"policy\":"));
		_cleanup_free_ char *text = hull_fmt("preset: locked\nallow: [b%d.test]\n", i);
		put(global, text);
		until(w, told("b0.test") || told("b1.test"));
		put(global, "preset: locked\nallow: [c.test]\n");
		until(w, told("c.test"));
		assert_int_equal(unlink(in_aside), 0);
		assert_int_equal(rmdir(aside), 0);
	}
	/* Replaced at once, by a link to elsewhere, and that by another. */
	forget();
	assert_int_equal(hull_mkdir_all(dotfiles, 0700, NULL), 0);
	put(in_dotfiles, "preset: locked\nallow: [d.test]\n");
	assert_int_equal(rename(dir, aside), 0);
	assert_int_equal(symlink(dotfiles, dir), 0);
	until(w, told("d.test"));
	put(in_dotfiles, "preset: locked\nallow: [e.test]\n");
	until(w, told("e.test"));
	put(in_aside, "preset: locked\nallow: [f.test]\n");
	settle(w);
	assert_false(told("f.test"));
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(rename(aside, dir), 0);
	until(w, told("f.test"));
	put(in_dotfiles, "preset: open\n");
	settle(w);
	assert_false(told("preset: open"));
	assert_int_equal(unlink(in_dotfiles), 0);
	assert_int_equal(rmdir(dotfiles), 0);
}

/* A file that is there and says nothing when the sandbox starts: closed, until it says something. */
static void test_policy_empty_at_start(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *global = path_in("policy.yaml");
	put(global, "# nothing\n");
	open_gateway();
	assert_true(told("\"closed\":\"policy.yaml says nothing"));
	json_t *j = gateway_policy(w->k, false);
	assert_true(json_is_true(json_object_get(j, "closed")));
	json_decref(j);
	forget();
	put(global, "preset: locked\n");
	until(w, told("preset: locked"));
}

/* A sandbox's own file that was in force once is missing at the next start: closed, until it is made again. */
static void test_policy_lost(void **state)
{
	struct world *w = *state;
	_cleanup_(hull_sandbox_free) struct hull_sandbox sb = {0};
	struct hull_error err;
	_cleanup_free_ char *own = hull_sandbox_path(&w->k->paths, "box", "policy.yaml");
	put(own, "preset: locked\n");
	open_gateway();
	assert_true(w->k->sb.has_policy);
	assert_int_equal(hull_sandbox_load(&w->k->paths, "box", &sb, &err), 0);
	assert_true(sb.has_policy);
}

static void test_policy_lost_at_start(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *own = hull_sandbox_path(&w->k->paths, "box", "policy.yaml");
	w->k->sb.has_policy = true;
	open_gateway();
	assert_true(told("\"closed\":"));
	assert_true(told("policy reset --sandbox"));
	forget();
	put(own, "preset: locked\n");
	until(w, told("preset: locked"));
}

/* A request is answered when the child has taken the policy, by digest; or with what it says against it. */
static void test_policy_acknowledged(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *global = path_in("policy.yaml");
	char hex[HULL_POLICY_DIGEST + 1];
	put(global, "preset: locked\n");
	open_gateway();
	assert_false(gateway_policy_settled(w->k));
	acknowledge("\"ok\":true,\"cut\":0");
	assert_true(gateway_policy_settled(w->k));
	put(global, "preset: open\n");
	gateway_policy_read(w->k, "global");
	json_t *j = gateway_policy(w->k, false);
	assert_false(json_is_true(json_object_get(j, "taken")));
	json_decref(j);
	assert_false(gateway_policy_settled(w->k));
	/* An answer to an older one is none. */
	child_says("{\"policy\":{\"number\":1,\"ok\":true}}");
	until(w, line_stream()->out.len == 0);
	settle(w);
	assert_false(gateway_policy_settled(w->k));
	acknowledge("\"ok\":true,\"cut\":0");
	j = gateway_policy(w->k, true);
	assert_true(json_is_true(json_object_get(j, "taken")));
	assert_int_equal(hull_policy_digest("preset: open\n", hex), 0);
	json_t *file = json_object_get(j, "global");
	assert_string_equal(json_string_value(json_object_get(file, "digest")), hex);
	assert_string_equal(json_string_value(json_object_get(file, "text")), "preset: open\n");
	assert_null(json_object_get(json_object_get(j, "sandbox"), "digest"));
	json_decref(j);
	put(global, "preset: locked\n");
	gateway_policy_read(w->k, "global");
	acknowledge("\"error\":\"no room\"");
	assert_true(gateway_policy_settled(w->k));
	j = gateway_policy(w->k, false);
	assert_string_equal(json_string_value(json_object_get(j, "why")), "no room");
	json_decref(j);
}

/* Whatever the child says of a port, the keeper's own words of it stay as they are. */
static void test_child_lies(void **state)
{
	static const char *const lies[] = {
		"{\"port\":{\"id\":1,\"spec\":5,\"bound\":[\"127.0.0.1:80\"],\"host\":80}}",
		"{\"port\":{\"id\":1,\"spec\":null,\"error\":[1],\"pending\":true}}",
		"{\"port\":{\"id\":1,\"spec\":\"1:2\",\"bound\":{\"a\":1},\"host\":\"x\",\"note\":{}}}",
		"{\"port\":{\"id\":1,\"bound\":[1,null,{}],\"host\":-4}}",
		"{\"port\":{\"id\":1,\"bound\":[\"a\",\"b\",\"c\",\"d\"],\"host\":1e9}}",
		"{\"port\":{\"id\":\"1\"}}",
		"{\"port\":[]}",
		"{\"port\":1}",
		"{\"listens\":{\"id\":1,\"yes\":3}}",
		"{\"listens\":{\"id\":99}}",
		"{\"name\":{\"a\":1}}",
		"{\"name\":[70000,\"x\"]}",
		"{\"name\":[5,6]}",
		"{\"policy\":{\"error\":[]}}",
		"{\"log\":7}",
		"[]",
		"nonsense",
	};
	struct world *w = *state;
	struct hull_error err = {0};
	hull_strv_add(&w->k->sb.ports, "8080:80/tcp");
	open_gateway();
	until(w, told("{\"publish\":{\"id\":1,"));
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		child_says(lies[i]);
		/* The answer to a name is none; the port's is seen in the list. */
		until(w, line_stream()->out.len == 0);
		settle(w);
		json_t *ports = gateway_ports(w->k);
		json_t *p = json_array_get(ports, 0);
		assert_string_equal(json_string_value(json_object_get(p, "spec")), "8080:80/tcp");
		const char *key;
		json_t *v;
		json_object_foreach(p, key, v)
		{
			bool text = !strcmp(key, "spec") || !strcmp(key, "error") || !strcmp(key, "note");
			bool list = !strcmp(key, "bound"), number = !strcmp(key, "host");
			if (!(text && json_is_string(v)) && !(list && json_is_array(v) && json_array_size(v) <= 2) &&
			    !(number && json_integer_value(v) > 0 && json_integer_value(v) < 65536))
				fail_msg("%s: %s", lies[i], key);
			for (size_t n = 0; n < json_array_size(v); n++)
				assert_true(json_is_string(json_array_get(v, n)));
		}
		json_decref(ports);
	}
	assert_int_equal(gateway_unpublish(w->k, "8080:80/tcp", &err), 0);
	until(w, told("{\"unpublish\":{\"id\":1}}"));
}

/* However much is logged, egress.log and the one before it are all that is kept. */
static void test_log_is_bounded(void **state)
{
	enum { CAP = 8 << 20, TOTAL = 3 * CAP };
	struct world *w = *state;
	_cleanup_free_ char *log = hull_sandbox_path(&w->k->paths, "box", "egress.log");
	_cleanup_free_ char *before = hull_fmt("%s.1", log);
	_cleanup_free_ char *line = hull_fmt("{\"log\":{\"name\":\"%0*d\"}}\n", 60000, 0);
	struct end *e;
	open_gateway();
	e = line_stream();
	for (size_t sent = 0; sent < TOTAL; sent += strlen(line)) {
		hull_buf_addstr(&e->out, line);
		until(w, e->out.len < 1 << 20);
	}
	child_says("{\"log\":{\"name\":\"last\"}}");
	_cleanup_(hull_buf_free) struct hull_buf all = {0};
	until(w, (hull_buf_drain(&all, SIZE_MAX), hull_read_file(AT_FDCWD, log, 2 * CAP, &all, NULL) == 0) &&
			 all.len > 20 && memmem(hull_buf_bytes(&all), all.len, "\"last\"", 6));
	struct stat st, st1;
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(stat(before, &st1), 0);
	assert_true(st.st_size <= CAP + 70000 && st1.st_size <= CAP + 70000);
	_cleanup_free_ char *older = hull_fmt("%s.2", log);
	assert_int_equal(access(older, F_OK), -1);
}

static bool copy_is(const char *name, const char *text)
{
	_cleanup_(hull_buf_free) struct hull_buf b = {0};
	return hull_read_file(world->k->runtime_fd, name, 1 << 20, &b, NULL) == 0 && b.len == strlen(text) &&
	       memcmp(hull_buf_bytes(&b), text, b.len) == 0;
}

/* The resolver's file is replaced, written in place, and pointed elsewhere: what the jail has follows, in one inode. */
static void test_resolver(void **state)
{
	struct world *w = *state;
	const char *resolver = w->k->network->host_files[0], *hosts = w->k->network->host_files[1];
	_cleanup_free_ char *run = hull_fmt("%s/etc-run", w->dir);
	_cleanup_free_ char *stub = hull_fmt("%s/etc-run/stub.conf", w->dir);
	_cleanup_free_ char *link = hull_fmt("%s/etc-link", w->dir);
	_cleanup_free_ char *next = hull_fmt("%s/next", w->dir);
	struct stat before, after;
	put(resolver, "nameserver 192.0.2.1\n");
	put(hosts, "192.0.2.9 a\n");
	open_gateway();
	assert_true(copy_is("resolv.conf", "nameserver 192.0.2.1\n") && copy_is("hosts", "192.0.2.9 a\n"));
	assert_int_equal(fstatat(w->k->runtime_fd, "resolv.conf", &before, 0), 0);
	put(resolver, "nameserver 192.0.2.2\nsearch x\n");
	until(w, copy_is("resolv.conf", "nameserver 192.0.2.2\nsearch x\n"));
	close(begin_in_place(resolver, "nameserver 192.0.2.3\n"));
	until(w, copy_is("resolv.conf", "nameserver 192.0.2.3\n"));
	/* As systemd-resolved has it: a link into a directory of its own, by way of another. */
	assert_int_equal(mkdir(run, 0700), 0);
	put(stub, "nameserver 127.0.0.53\n");
	assert_int_equal(symlink("etc-run", link), 0);
	assert_int_equal(symlink("etc-link/stub.conf", next), 0);
	assert_int_equal(rename(next, resolver), 0);
	until(w, copy_is("resolv.conf", "nameserver 127.0.0.53\n"));
	put(stub, "nameserver 127.0.0.54\n");
	until(w, copy_is("resolv.conf", "nameserver 127.0.0.54\n"));
	/* Gone for a while: the last one counts. */
	_cleanup_free_ char *away = hull_fmt("%s.away", run);
	assert_int_equal(rename(run, away), 0);
	settle(w);
	assert_true(copy_is("resolv.conf", "nameserver 127.0.0.54\n"));
	assert_int_equal(mkdir(run, 0700), 0);
	put(stub, "nameserver 192.0.2.4\n");
	until(w, copy_is("resolv.conf", "nameserver 192.0.2.4\n"));
	put(hosts, "192.0.2.9 b\n");
	until(w, copy_is("hosts", "192.0.2.9 b\n"));
	assert_int_equal(fstatat(w->k->runtime_fd, "resolv.conf", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	/* Where the child could not be given a copy, another child has the new file. */
	w->k->network->host_files_fixed = true;
	forget();
	put(stub, "nameserver 192.0.2.5\n");
	until(w, told("{\"start\":"));
}

/* The runtime directory is taken away and made again: the copies are there again, for the next child, and nothing is
 * written by the number that the descriptor of the old one had. */
static void test_resolver_after_a_cleaning(void **state)
{
	struct world *w = *state;
	const char *resolver = w->k->network->host_files[0];
	_cleanup_free_ char *other = hull_fmt("%s/other", w->dir);
	_cleanup_free_ char *stray = hull_fmt("%s/other/resolv.conf", w->dir);
	put(resolver, "nameserver 192.0.2.1\n");
	open_gateway();
	int before = w->k->runtime_fd;
	_cleanup_close_ int childs = openat(before, "resolv.conf", O_RDONLY | O_CLOEXEC);
	assert_true(childs >= 0);
	assert_int_equal(hull_remove_tree(AT_FDCWD, w->k->paths.runtime, NULL), 0);
	until(w, copy_is("resolv.conf", "nameserver 192.0.2.1\n"));
	_cleanup_free_ char *path = hull_fmt("%s/resolv.conf", w->k->runtime_dir);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(mkdir(other, 0700), 0);
	_cleanup_close_ int dir = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int taken = w->k->runtime_fd == before ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, before);
	(void)taken;
	put(resolver, "nameserver 192.0.2.2\n");
	until(w, copy_is("resolv.conf", "nameserver 192.0.2.2\n"));
	assert_int_equal(access(stray, F_OK), -1);
	/* The child that runs has the old file, and what is in there follows as well. */
	char text[64] = "";
	assert_true(pread(childs, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, "nameserver 192.0.2.2\n");
	/* One that is missing is made before a child is started. */
	assert_int_equal(unlink(path), 0);
	forget();
	w->k->network->host_files_fixed = true;
	put(resolver, "nameserver 192.0.2.3\n");
	until(w, told("{\"start\":"));
	assert_true(copy_is("resolv.conf", "nameserver 192.0.2.3\n"));
}

static void test_proxy_environment(void **state)
{
	setenv("http_proxy", "http://h.test:1", 1);
	setenv("HTTPS_PROXY", "http://s.test:2", 1);
	setenv("ALL_PROXY", "socks5://a.test:3", 1);
	setenv("NO_PROXY", "n.test", 1);
	open_gateway();
	assert_true(told("\"proxy\":{\"http\":\"http://h.test:1\",\"https\":\"http://s.test:2\","
			 "\"all\":\"socks5://a.test:3\",\"no\":\"n.test\"}"));
}

static void test_proxy_config(void **state)
{
	_cleanup_free_ char *config = path_in("config.yaml");
	setenv("HTTPS_PROXY", "http://s.test:2", 1);
	setenv("NO_PROXY", "n.test", 1);
	put(config, "# mine\nproxy: http://c.test:4\nother: [1]\n");
	open_gateway();
	assert_true(told("\"proxy\":{\"all\":\"http://c.test:4\",\"config\":true,\"no\":\"n.test\"}"));
}

static void test_proxy_config_empty(void **state)
{
	_cleanup_free_ char *config = path_in("config.yaml");
	setenv("HTTPS_PROXY", "http://s.test:2", 1);
	put(config, "# nothing yet\n\n");
	open_gateway();
	assert_true(told("\"proxy\":{\"https\":\"http://s.test:2\"}"));
}

static void test_proxy_config_bad(void **state)
{
	static const char *const t[] = {"proxy: [a\n",
					"proxy http://c.test:4\n",
					"proxy: [http://c.test:4]\n",
					"- proxy: http://c.test:4\n",
					"\tproxy: {\n",
					"%YAML 9\n---\n...\n...\n{",
					"proxy: \"http://\xa4.test:4\"\n"};
	struct world *w = *state;
	_cleanup_free_ char *config = path_in("config.yaml");
	setenv("HTTPS_PROXY", "http://s.test:2", 1);
	put(config, t[0]);
	open_gateway();
	assert_true(told("\"proxy\":{\"bad\":\""));
	assert_true(told("config.yaml"));
	assert_false(told("s.test"));
	json_t *names = json_pack("[[i,s]]", 300, "n.test");
	for (size_t i = 1; i < sizeof(t) / sizeof(*t); i++) {
		forget();
		put(config, t[i]);
		gateway_restore_names(w->k, names); /* says it all again */
		until(w, told("{\"start\":"));
		if (!told("\"proxy\":{\"bad\":\""))
			fail_msg("%s", t[i]);
	}
	json_decref(names);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, gateway_setup, gateway_teardown)
	const struct CMUnitTest tests[] = {
		T(test_policy_in_place),
		T(test_policy_failures),
		T(test_policy_directory),
		T(test_policy_empty_at_start),
		T(test_policy_lost),
		T(test_policy_lost_at_start),
		T(test_policy_acknowledged),
		T(test_child_lies),
		T(test_log_is_bounded),
		T(test_resolver),
		T(test_proxy_environment),
		T(test_proxy_config),
		T(test_proxy_config_empty),
		T(test_proxy_config_bad),
		T(test_resolver_after_a_cleaning),
	};
	return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
