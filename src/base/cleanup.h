/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership by scope: a variable marked with one of these gives its resource back when it goes out of scope.
 * Hand ownership on with hull_steal_ptr()/hull_steal_fd(). */
#ifndef HULL_BASE_CLEANUP_H
#define HULL_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void hull_freep(void *p)
{
	free(*(void **)p);
}
/* Closing must not disturb the errno that a failing function is about to report. */
static inline void hull_closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}
static inline void hull_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}
static inline void hull_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_     _cleanup_(hull_freep)
#define _cleanup_close_    _cleanup_(hull_closep)
#define _cleanup_fclose_   _cleanup_(hull_fclosep)
#define _cleanup_closedir_ _cleanup_(hull_closedirp)

#define hull_steal_ptr(p)                         \
	({                                        \
		__typeof__(p) hull_stolen_ = (p); \
		(p) = NULL;                       \
		hull_stolen_;                     \
	})
static inline int hull_steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -1;
	return stolen;
}

#endif
