/* SPDX-License-Identifier: Apache-2.0 */
/* Is this compiled with AddressSanitizer? Its shadow is private writable memory, terabytes of it, which RLIMIT_DATA and
 * RLIMIT_AS count: a limit that is set before an exec has to leave room for it. */
#ifndef HULL_BASE_SANITIZER_H
#define HULL_BASE_SANITIZER_H

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define HULL_ASAN 1
#else
#define HULL_ASAN 0
#endif

#endif
