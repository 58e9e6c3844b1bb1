/* SPDX-License-Identifier: Apache-2.0 */
/* See capped_log.h. The descriptor may be write-only: to rotate, the file is opened again for reading through /proc. If
 * that fails, the old content is dropped. */
#include "engine/capped_log.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void hull_capped_log_open(struct hull_capped_log *l, int fd)
{
	struct stat st;
	*l = (struct hull_capped_log){.fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3)};
	if (l->fd >= 0 && fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode))
		l->size = (uint64_t)st.st_size;
}

void hull_capped_log_close(struct hull_capped_log *l)
{
	hull_closep(&l->fd);
	l->fd = -1;
}

static void rotate(struct hull_capped_log *l)
{
	static const char note[] = "\n[older lines dropped: the log reached its limit]\n";
	_cleanup_free_ char *kept = NULL;
	ssize_t n = 0;
	struct stat st;
	if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		l->size = 0; /* a terminal or pipe needs no limit */
		return;
	}
	_cleanup_free_ char *path = hull_fmt("/proc/self/fd/%d", l->fd);
	_cleanup_close_ int in = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (in >= 0 && (kept = malloc(HULL_LOG_KEEP)))
		n = pread(in, kept, HULL_LOG_KEEP, st.st_size > HULL_LOG_KEEP ? st.st_size - HULL_LOG_KEEP : 0);
	if (ftruncate(l->fd, 0) < 0)
		return;
	lseek(l->fd, 0, SEEK_SET);
	hull_write_full(l->fd, note, sizeof(note) - 1);
	if (n > 0)
		hull_write_full(l->fd, kept, (size_t)n);
	l->size = sizeof(note) - 1 + (n > 0 ? (size_t)n : 0);
}

static void remember(struct hull_capped_log *l, const char *p, size_t n)
{
	if (n > HULL_LOG_TAIL) {
		p += n - HULL_LOG_TAIL;
		n = HULL_LOG_TAIL;
	}
	size_t first = n < HULL_LOG_TAIL - l->tail_at ? n : HULL_LOG_TAIL - l->tail_at;
	memcpy(l->tail + l->tail_at, p, first);
	memcpy(l->tail, p + first, n - first);
	l->tail_at = (l->tail_at + n) % HULL_LOG_TAIL;
	l->tail_len = l->tail_len + n < HULL_LOG_TAIL ? l->tail_len + n : HULL_LOG_TAIL;
}

void hull_capped_log_write(struct hull_capped_log *l, const void *p, size_t n)
{
	remember(l, p, n);
	if (l->fd < 0)
		return;
	if (l->size + n > HULL_LOG_LIMIT)
		rotate(l);
	/* A full host disk must not stop the machine: output that does not fit is lost. */
	if (hull_write_full(l->fd, p, n) == 0)
		l->size += n;
}

void hull_capped_log_last_words(const struct hull_capped_log *l, char *out, size_t cap)
{
	char flat[HULL_LOG_TAIL + 1];
	size_t n = l->tail_len;
	size_t start = (l->tail_at + HULL_LOG_TAIL - n) % HULL_LOG_TAIL;
	for (size_t i = 0; i < n; i++)
		flat[i] = l->tail[(start + i) % HULL_LOG_TAIL];
	while (n > 0 && (flat[n - 1] == '\n' || flat[n - 1] == '\r'))
		n--;
	const char *p = flat;
	const char *stop = flat + n;
	if (cap == 0)
		return;
	out[0] = '\0';
	if (n >= cap) {
		/* Start at the beginning of a line if there is one. */
		p = stop - (cap - 1);
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		if (nl)
			p = nl + 1;
	}
	size_t used = 0;
	while (p < stop && used + 1 < cap) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		size_t len = (size_t)((nl ? nl : stop) - p);
		while (len > 0 && p[len - 1] == '\r')
			len--;
		_cleanup_free_ char *line = hull_printable(p, len);
		if (line && len > 0) {
			int w = snprintf(out + used, cap - used, "%s%s", used ? " | " : "", line);
			used = w < 0 ? used : used + (size_t)w < cap ? used + (size_t)w : cap - 1;
		}
		p = nl ? nl + 1 : stop;
	}
}
