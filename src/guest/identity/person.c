/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a sandbox the person's own: git's name and email, and the names by which they know their directories.
 *
 * Both are comforts: one that fails is said on the console, and everything else goes on. Nothing of the guest's is
 * replaced but Hull's own lines in /etc/gitconfig, and no mount is entered (own.c). */
#include "guest/identity/identity.h"

#include "base/cleanup.h"
#include "guest/core/core.h"
#include "guest/core/own.h"
#include "guest/identity/gitconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GITCONFIG "/etc/gitconfig"
enum { GITCONFIG_MAX = 256 * 1024 };

void hull_person_git(const char *name, const char *email)
{
	_cleanup_(hull_buf_free) struct hull_buf had = {0};
	_cleanup_(hull_buf_free) struct hull_buf out = {0};
	struct hull_error err = {0};
	int r = hull_own_read(GITCONFIG, GITCONFIG_MAX, &had);
	if (r == 0 || r == -ENOENT)
		r = hull_gitconfig(hull_buf_bytes(&had), had.len, name, email, &out);
	if (r == 0 && (out.len != had.len || memcmp(hull_buf_bytes(&out), hull_buf_bytes(&had), out.len) != 0))
		r = hull_own_replace(GITCONFIG, hull_buf_bytes(&out), out.len, 0644, &err);
	if (r < 0)
		hull_say("git has no name and email of the host's: %s", err.msg[0] ? err.msg : strerror(-r));
}

void hull_person_link(const char *link, const char *target)
{
	_cleanup_free_ char *path = strdup(link);
	char *slash = path ? strrchr(path, '/') : NULL;
	if (!slash || path[0] != '/' || !slash[1] || target[0] != '/')
		return;
	*slash = '\0';
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int dir = hull_own_make_dir(root, path);
	/* EEXIST: the guest has something of its own there, or the link from the last start. */
	if (dir < 0 || (symlinkat(target, dir, slash + 1) < 0 && errno != EEXIST))
		hull_say("%s is not to be had by this name: %s", link, strerror(dir < 0 ? -dir : errno));
}
