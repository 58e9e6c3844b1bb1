/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.json with anything in it: loaded or refused, and what was loaded can be saved and loaded again. */
#include "store/store.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static struct hull_paths paths;
static char *file;

static void clean_up(void)
{
	hull_remove_tree(AT_FDCWD, dir, NULL);
}

static void set_up(void)
{
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/hull-fuzz.XXXXXX" : "/tmp/hull-fuzz.XXXXXX");
	if (!mkdtemp(dir))
		abort();
	atexit(clean_up);
	paths = (struct hull_paths){.home = dir, .runtime = dir, .config = dir};
	_cleanup_free_ char *box = hull_sandbox_path(&paths, "one", NULL);
	file = hull_sandbox_path(&paths, "one", "sandbox.json");
	if (hull_mkdir_all(box, 0700, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!dir[0])
		set_up();
	_cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || hull_write_full(fd, data, size) < 0)
		abort();
	_cleanup_(hull_sandbox_free) struct hull_sandbox s = {0};
	_cleanup_(hull_sandbox_free) struct hull_sandbox again = {0};
	struct hull_error err = {0};
	int r = hull_sandbox_load(&paths, "one", &s, &err);
	if (r < 0 && (r != -EBADMSG || !strstr(err.msg, "hull rm one")))
		abort();
	if (r < 0)
		return 0;
	if (hull_sandbox_save(&paths, &s, &err) < 0 || hull_sandbox_load(&paths, "one", &again, &err) < 0)
		abort();
	if (!hull_streq(s.state, again.state) || s.memory != again.memory ||
	    hull_strv_count(s.env) != hull_strv_count(again.env))
		abort();
	return 0;
}
