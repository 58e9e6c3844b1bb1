/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel modules that must be there before the root is: listed in the initramfs, one path per line, each after
 * those it needs. They are loaded as they are (uncompressed); later modules come from the root's /lib/modules, fetched
 * by the kernel itself through /sbin/modprobe. */
#include "guest/boot/boot.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

enum { LIST_MAX = 64 * 1024 };

static int modules_load(const char *path, struct hull_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hull_fail_errno(err, "cannot open the kernel module %s", path);
	if (syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST)
		return 0;
	/* ENODEV: the hardware this one drives (a CPU feature, say) is not there. Not needed, then. */
	if (errno == ENODEV)
		return 0;
	return hull_fail_errno(err, "cannot load the kernel module %s; does it belong to this kernel", path);
}

int hull_modules_load(const char *list, struct hull_error *err)
{
	_cleanup_(hull_buf_free) struct hull_buf text = {0};
	int r = hull_read_file(AT_FDCWD, list, LIST_MAX, &text, err);
	if (r == -ENOENT)
		return 0; /* a kernel with everything built in */
	if (r < 0)
		return r;
	char *save = NULL;
	for (char *line = strtok_r((char *)hull_buf_bytes(&text), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		r = modules_load(line, err);
		if (r < 0)
			return r;
	}
	return 0;
}
