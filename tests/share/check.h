/* SPDX-License-Identifier: Apache-2.0 */
/* The few words the share's test programs are written in: each check is one line of TAP, a failed one says where and
 * why. A program makes its own directory below the one it is given and works inside it. */
#ifndef HULL_TESTS_SHARE_CHECK_H
#define HULL_TESTS_SHARE_CHECK_H

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

static int check_number, check_failed;

#define CHECK(cond, ...)                                                                         \
	do {                                                                                     \
		errno = 0;                                                                       \
		bool ok_ = (cond);                                                               \
		int saved_ = errno;                                                              \
		printf("%sok %d - ", ok_ ? "" : "not ", ++check_number);                         \
		printf(__VA_ARGS__);                                                             \
		printf("\n");                                                                    \
		if (!ok_) {                                                                      \
			check_failed++;                                                          \
			printf("# line %d: %s (errno %s)\n", __LINE__, #cond, strerror(saved_)); \
		}                                                                                \
	} while (0)
/* The call fails with this errno. */
#define FAILS(call, code, ...) CHECK((call) == -1 && errno == (code), __VA_ARGS__)

static inline int check_done(void)
{
	printf("1..%d\n", check_number);
	return check_failed ? 1 : 0;
}

static inline void check_enter(const char *dir, const char *name)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (chdir(dir) < 0 || (mkdir(name, 0755) < 0 && errno != EEXIST) || chdir(name) < 0) {
		printf("Bail out! %s/%s: %s\n", dir, name, strerror(errno));
		exit(1);
	}
}

static inline int put_file(const char *name, const char *text)
{
	_cleanup_close_ int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

static inline bool has_text(const char *name, const char *text)
{
	char buf[4096];
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, sizeof buf);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, strlen(text));
}

#endif
