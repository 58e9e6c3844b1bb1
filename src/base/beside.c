/* See beside.h. The path is asked of the kernel each time: argv[0] is whatever the caller wrote there. */
#include "base/beside.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <limits.h>
#include <string.h>

char *hull_self(struct hull_error *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0) {
		hull_fail_errno(err, "cannot tell where this program lies: reading /proc/self/exe");
		return NULL;
	}
	self[n] = '\0';
	char *copy = strdup(self);
	if (!copy)
		hull_fail(err, -ENOMEM, "out of memory");
	return copy;
}

char *hull_beside(const char *name, int mode, struct hull_error *err)
{
	static const char *const places[] = {"", "../libexec/hull/"};
	_cleanup_free_ char *dir = hull_self(err);
	if (!dir)
		return NULL;
	char *slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	int why = ENOENT;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		_cleanup_free_ char *path = hull_fmt("%s/%s%s", dir, places[i], name);
		if (!path) {
			hull_fail(err, -ENOMEM, "out of memory");
			return NULL;
		}
		if (access(path, mode) == 0)
			return hull_steal_ptr(path);
		if (errno != ENOENT)
			why = errno;
	}
	hull_fail(err, -why, "cannot use %s in %s or %s/../libexec/hull: %s; build or install Hull again", name, dir,
		  dir, strerror(why));
	return NULL;
}
