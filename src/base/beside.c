/* SPDX-License-Identifier: Apache-2.0 */
/* See beside.h. The kernel provides the program's path: argv[0] can be anything. */
#include "base/beside.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

char *hull_self(struct hull_error *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0) {
		hull_fail_errno(err, "cannot find this program's directory: reading /proc/self/exe");
		return NULL;
	}
	self[n] = '\0';
	char *copy = strdup(self);
	if (!copy)
		hull_fail(err, -ENOMEM, "out of memory");
	return copy;
}

/* The file that this code was loaded from: the program, or libhull.so in another program. /proc/self/maps is used
 * because the linker knows the program only by argv[0]. Owned; NULL when it cannot be determined. */
static char *code_file(void)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	char line[PATH_MAX + 128];
	uintptr_t here = (uintptr_t)hull_beside;
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long long from, to;
		int at = 0;
		if (sscanf(line, "%llx-%llx %*s %*s %*s %*s %n", &from, &to, &at) < 2 || !at || here < from ||
		    here >= to)
			continue;
		line[strcspn(line, "\n")] = '\0';
		return line[at] == '/' ? strdup(line + at) : NULL;
	}
	return NULL;
}

static char *directory(char *path)
{
	char *slash = path ? strrchr(path, '/') : NULL;
	if (slash)
		*slash = '\0';
	return path;
}

char *hull_beside(const char *name, int mode, struct hull_error *err)
{
	_cleanup_free_ char *self = directory(hull_self(err));
	if (!self)
		return NULL;
	_cleanup_free_ char *code = directory(code_file());
	/* A library's directory may be one level deeper: lib/x86_64-linux-gnu. */
	const char *const places[][2] = {{code, ""}, {code, "/../libexec/hull"}, {code, "/../../libexec/hull"},
					 {self, ""}, {self, "/../libexec/hull"}, {HULL_LIBEXECDIR, ""}};
	int why = ENOENT;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		/* Two levels up: for libraries only. */
		if (!places[i][0] || (i == 2 && hull_streq(code, self)))
			continue;
		_cleanup_free_ char *path = hull_fmt("%s%s/%s", places[i][0], places[i][1], name);
		if (!path) {
			hull_fail(err, -ENOMEM, "out of memory");
			return NULL;
		}
		if (access(path, mode) == 0)
			return hull_steal_ptr(path);
		if (errno != ENOENT)
			why = errno;
	}
	hull_fail(err, -why, "cannot use %s in %s or %s/../libexec/hull: %s; build or install Hull again", name, self,
		  self, strerror(why));
	return NULL;
}
