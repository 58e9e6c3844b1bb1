/* SPDX-License-Identifier: Apache-2.0 */
/* The library without a machine: what it makes of structs of other sizes, of wrong names and of an empty home; how the
 * caller is spoken to; and what a sandbox is asked for becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/text.h"
#include "lib/sandbox/create.h"
#include "lib/sandbox/size.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[64];
static struct hull *h;
static struct hull_error err;

static int setup(void **state)
{
	char path[128];
	snprintf(home, sizeof(home), "/tmp/hull-test-lib-XXXXXX");
	if (!mkdtemp(home))
		return -1;
	setenv("HULL_HOME", home, 1);
	setenv("XDG_RUNTIME_DIR", home, 1);
	snprintf(path, sizeof(path), "%s/config", home);
	setenv("XDG_CONFIG_HOME", path, 1);
	return hull_open(&h, NULL, &err);
}

static int teardown(void **state)
{
	hull_close(h);
	return hull_remove_tree(AT_FDCWD, home, NULL);
}

/* The first release of a struct, one that has grown, and what a program of another release has of it. */
struct small {
	size_t size;
	int a, reserved;
};
struct large {
	size_t size;
	int a, reserved;
	int b;
	const char *c;
};

static void test_struct_sizes(void **state)
{
	struct large out = {.b = 7};
	const struct small old = {.size = sizeof(old), .a = 1};
	assert_int_equal(lib_spec(&old, &out, sizeof(out), &err), 0);
	assert_int_equal(out.a, 1);
	assert_int_equal(out.b, 0);
	assert_null(out.c);
	/* Of a newer program: what is not known must not be asked for. */
	struct small in;
	struct large new = {.size = sizeof(new), .a = 2};
	assert_int_equal(lib_spec(&new, &in, sizeof(in), &err), 0);
	assert_int_equal(in.a, 2);
	new.c = "asked for";
	assert_int_equal(lib_spec(&new, &in, sizeof(in), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "newer libhull"));
	new.size = 0;
	assert_int_equal(lib_spec(&new, &in, sizeof(in), &err), -EINVAL);
	assert_int_equal(lib_spec(NULL, &out, sizeof(out), &err), 0);
	assert_int_equal(out.a, 0);
}

static void test_names(void **state)
{
	struct hull_info **list = NULL, *info = NULL;
	char **names = NULL, *name = NULL;
	assert_int_equal(hull_list(h, &list, &err), 0);
	assert_null(list[0]);
	hull_list_free(list);
	assert_int_equal(hull_names(h, &names, NULL), 0);
	assert_null(names[0]);
	hull_names_free(names);
	assert_int_equal(hull_inspect(h, "none", &info, &err), -ENOENT);
	assert_null(info);
	/* err may be NULL, whatever fails. */
	assert_int_equal(hull_inspect(h, "../x", &info, NULL), -EINVAL);
	assert_int_equal(hull_start(h, "none", HULL_UNTIL_EXEC, 0, NULL), -ENOENT);
	assert_int_equal(hull_stop(h, "../x", 0, NULL), -EINVAL);
	assert_int_equal(hull_remove(h, "none", 0, &err), -ENOENT);
	assert_int_equal(hull_remove(h, "none", HULL_REMOVE_FORCE, &err), 0);
	assert_int_equal(hull_exec(h, "none", NULL, NULL), -ENOENT);
	assert_int_equal(hull_job_signal(h, "none", "not hex", 15, NULL, NULL), -EINVAL);
	assert_int_equal(hull_copy_in(h, "/etc/hostname", "none", "/tmp", NULL), -ENOENT);
	assert_int_equal(hull_archive_out(h, "none", "/tmp", 1, NULL), -ENOENT);
	assert_int_equal(hull_policy_allow(h, "none", "example.com", NULL), -ENOENT);
	assert_int_equal(hull_snapshot_restore(h, "none", NULL, NULL), -ENOENT);
	assert_int_equal(hull_start(h, "none", HULL_UNTIL_EXEC, 1 << 30, NULL), -EINVAL);
	const struct hull_exec_spec flags = {.size = sizeof(flags), .flags = 1 << 30};
	assert_int_equal(hull_exec(h, "none", &flags, &err), -EINVAL);
	assert_int_equal(hull_create(h, NULL, &name, NULL), -ENOENT); /* there is no image */
	assert_null(name);
}

static void test_create_is_checked(void **state)
{
	char *name = NULL;
	const char *const bad_env[] = {"NO_VALUE", NULL}, *const paths[] = {"/proc", NULL};
	const struct hull_create_spec all[] = {
		{.size = sizeof(*all), .agent = "nobody"},   {.size = sizeof(*all), .memory = 1},
		{.size = sizeof(*all), .cpus = 1 << 20},     {.size = sizeof(*all), .swap = 1},
		{.size = sizeof(*all), .env = bad_env},      {.size = sizeof(*all), .name = "No Name"},
		{.size = sizeof(*all), .engine = "nothing"},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_int_equal(hull_create(h, &all[i], &name, &err), -EINVAL);
	const struct hull_create_spec proc = {.size = sizeof(proc), .paths = paths};
	assert_int_equal(hull_create(h, &proc, &name, &err), -EPERM);
	assert_null(name);
}

/* --- how the caller is spoken to --- */

struct heard {
	char stages[256], notes[256];
	unsigned ticks, asked;
	bool stop;
};
static void on_stage(void *ctx, const char *subject, const char *stage)
{
	struct heard *heard = ctx;
	size_t n = strlen(heard->stages);
	snprintf(heard->stages + n, sizeof(heard->stages) - n, "%s:%s;", subject, stage ? stage : "-");
}
static void on_note(void *ctx, enum hull_note kind, const char *text)
{
	struct heard *heard = ctx;
	snprintf(heard->notes, sizeof(heard->notes), "%d %s", (int)kind, text);
}
static int on_tick(void *ctx)
{
	return ((struct heard *)ctx)->ticks++ ? -1 : 1;
}
static bool on_interrupt(void *ctx)
{
	struct heard *heard = ctx;
	heard->asked++;
	return heard->stop;
}

static void test_callbacks(void **state)
{
	struct heard heard = {0};
	const struct hull_callbacks callbacks = {.size = sizeof(callbacks),
						 .ctx = &heard,
						 .stage = on_stage,
						 .note = on_note,
						 .tick = on_tick,
						 .interrupted = on_interrupt};
	struct hull *mine = NULL;
	int fds[2];
	assert_int_equal(hull_open(&mine, &callbacks, &err), 0);
	assert_int_equal(pipe(fds), 0);
	lib_stage(mine, "box", "a %s stage\033[2J", "first");
	lib_stage_end(mine, "box");
	assert_null(strchr(heard.stages, 033)); /* printable */
	assert_non_null(strstr(heard.stages, "box:a first stage"));
	assert_non_null(strstr(heard.stages, "box:-;"));
	lib_note(mine, HULL_NOTE_WARNING, "%d things", 2);
	assert_string_equal(heard.notes, "1 2 things");

	/* The caller's own time comes first; what it does not want to be ended by does not end the wait. */
	struct pollfd none = {.fd = -1};
	assert_int_equal(lib_poll(mine, &none, 1, 60000, &err), 0);
	hull_interrupt_by(mine, fds[0]);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(lib_poll(mine, &none, 1, 60000, &err), 0);
	assert_int_equal(heard.asked, 1);
	heard.stop = true;
	assert_int_equal(lib_poll(mine, &none, 1, 60000, &err), -EINTR);
	/* Without the callback a readable descriptor is enough. */
	mine->callbacks.interrupted = NULL;
	assert_int_equal(lib_poll(mine, &none, 1, 60000, &err), -EINTR);
	assert_true(lib_interrupted(mine));
	hull_interrupt_by(mine, -1);
	assert_false(lib_interrupted(mine));
	close(fds[0]);
	close(fds[1]);
	hull_close(mine);
}

static void test_sizes(void **state)
{
	uint64_t v;
	assert_int_equal(size_disk(0, &v, &err), 0);
	assert_true(v == 64ull << 30);
	assert_int_equal(size_disk(HULL_NONE, &v, &err), 0);
	assert_true(v == 0); /* too little for whatever image */
	assert_int_equal(size_memory(HULL_NONE, 1ull << 30, &v, &err), -EINVAL);
	assert_int_equal(strncmp(err.msg, "memory ", 7), 0); /* the CLI makes a flag of it */
	assert_int_equal(size_swap((1ull << 30) + 1, 2ull << 30, &v, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_struct_sizes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_create_is_checked),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
