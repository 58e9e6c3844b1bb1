/* SPDX-License-Identifier: Apache-2.0 */
/* The handle: opened from the environment, closed, and its callbacks to the caller; see handle.h. */
#include "lib/handle.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The padding after the last member must be zero: a later release may place a member there. */
#define NO_TAIL(type, last)                                                                                  \
	static_assert(sizeof(struct type) == offsetof(struct type, last) + sizeof(((struct type *)0)->last), \
		      #type " ends with padding")
NO_TAIL(hull_callbacks, child);
NO_TAIL(hull_create_spec, reserved);
NO_TAIL(hull_set_spec, swap);
NO_TAIL(hull_exec_spec, reserved);
NO_TAIL(hull_rule_spec, reserved);

int lib_spec(const void *given, void *out, size_t known, struct hull_error *err)
{
	memset(out, 0, known);
	size_t size = 0;
	if (!given)
		return 0;
	memcpy(&size, given, sizeof(size));
	if (size < sizeof(size) || size > 1 << 16)
		return hull_fail(err, -EINVAL, "a struct without its size: its first member has to be sizeof of it");
	const unsigned char *bytes = given;
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return hull_fail(err, -EINVAL, "the program was built for a newer libhull than %s",
					 HULL_VERSION);
	memcpy(out, given, size < known ? size : known);
	return 0;
}

int lib_flags(unsigned flags, unsigned known, struct hull_error *err)
{
	if (!(flags & ~known))
		return 0;
	return hull_fail(err, -EINVAL, "flags that libhull %s does not know: %#x", HULL_VERSION, flags & ~known);
}

int hull_open(struct hull **out, const struct hull_callbacks *callbacks, struct hull_error *err)
{
	LIB_CALL(err);
	struct hull *h = calloc(1, sizeof(*h));
	*out = NULL;
	if (!h)
		return hull_fail(err, -ENOMEM, "out of memory");
	h->interrupt_fd = -1;
	int r = lib_spec(callbacks, &h->callbacks, sizeof(h->callbacks), err);
	if (r >= 0)
		r = hull_paths_open(&h->paths, err);
	if (r < 0) {
		hull_close(h);
		return r;
	}
	*out = h;
	return 0;
}

void hull_close(struct hull *h)
{
	if (!h)
		return;
	hull_paths_free(&h->paths);
	free(h);
}

void hull_interrupt_by(struct hull *h, int fd)
{
	h->interrupt_fd = fd;
}

const char *hull_version(void)
{
	return HULL_VERSION;
}

enum { STAGE_MAX = 256, NOTE_MAX = 2048 };

/* What a callback is given, at most `size` - 1 bytes of it: owned, NULL when out of memory. */
__attribute__((format(printf, 2, 0))) static char *spoken(size_t size, const char *fmt, va_list ap)
{
	char text[NOTE_MAX];
	vsnprintf(text, size, fmt, ap);
	return hull_printable(text, strlen(text));
}

void lib_stage(const struct hull *h, const char *subject, const char *fmt, ...)
{
	va_list ap;
	if (!h->callbacks.stage)
		return;
	va_start(ap, fmt);
	_cleanup_free_ char *shown = spoken(STAGE_MAX, fmt, ap);
	va_end(ap);
	if (shown)
		h->callbacks.stage(h->callbacks.ctx, subject, shown);
}

void lib_stage_end(const struct hull *h, const char *subject)
{
	if (h->callbacks.stage)
		h->callbacks.stage(h->callbacks.ctx, subject, NULL);
}

void lib_note(const struct hull *h, enum hull_note kind, const char *fmt, ...)
{
	va_list ap;
	if (!h->callbacks.note)
		return;
	va_start(ap, fmt);
	_cleanup_free_ char *shown = spoken(NOTE_MAX, fmt, ap);
	va_end(ap);
	if (shown)
		h->callbacks.note(h->callbacks.ctx, kind, shown);
}

void lib_moved(const struct hull *h, const char *subject, uint64_t bytes)
{
	if (h->callbacks.moved)
		h->callbacks.moved(h->callbacks.ctx, subject, bytes);
}

void lib_child(const struct hull *h)
{
	sigset_t none;
	if (h->callbacks.child) {
		h->callbacks.child(h->callbacks.ctx);
		return;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

bool lib_interrupted(const struct hull *h)
{
	struct pollfd fd = {.fd = h->interrupt_fd, .events = POLLIN};
	if (h->callbacks.interrupted)
		return h->callbacks.interrupted(h->callbacks.ctx);
	return h->interrupt_fd >= 0 && poll(&fd, 1, 0) > 0;
}

int lib_poll(const struct hull *h, struct pollfd *fds, unsigned n, int timeout_ms, struct hull_error *err)
{
	struct pollfd all[LIB_POLL_MAX + 1];
	int own = h->callbacks.tick ? h->callbacks.tick(h->callbacks.ctx) : -1;
	memcpy(all, fds, n * sizeof(*fds));
	all[n] = (struct pollfd){.fd = h->interrupt_fd, .events = POLLIN};
	int r = poll(all, n + 1, own >= 0 && (timeout_ms < 0 || own < timeout_ms) ? own : timeout_ms);
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = r > 0 ? all[i].revents : 0;
	if (r < 0 && errno != EINTR)
		return hull_fail_errno(err, "waiting");
	if (r > 0 && all[n].revents && lib_interrupted(h))
		return hull_fail(err, -EINTR, "interrupted");
	return r > 0 ? r - (all[n].revents != 0) : 0;
}

uint64_t lib_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
