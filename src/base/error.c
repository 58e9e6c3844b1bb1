/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where error messages are formatted; see error.h for the rule. */
#include "base/error.h"
#undef hull_fail /* the analyzer's, see there */
#undef hull_fail_errno
#undef hull_wrap

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int record(struct hull_error *err, int code, const char *fmt, va_list ap)
{
	if (code >= 0)
		code = -EIO;
	if (!err)
		return code;
	err->code = code;
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	return code;
}

int hull_fail(struct hull_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	code = record(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int hull_fail_errno(struct hull_error *err, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	va_start(ap, fmt);
	int code = record(err, -saved, fmt, ap);
	va_end(ap);
	if (err) {
		size_t used = strlen(err->msg);
		snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror(saved));
	}
	errno = saved;
	return code;
}

int hull_wrap(struct hull_error *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	char old[sizeof(err->msg)];
	memcpy(old, err->msg, sizeof(old));
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	size_t used = strlen(err->msg);
	snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", old);
	return err->code < 0 ? err->code : -EIO;
}
