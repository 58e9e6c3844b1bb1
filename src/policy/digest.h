/* SPDX-License-Identifier: Apache-2.0 */
/* The SHA-256 of a policy file's text: by it the keeper says which one is in force. */
#ifndef HULL_POLICY_DIGEST_H
#define HULL_POLICY_DIGEST_H

enum { HULL_POLICY_DIGEST = 64 };

/* hex has HULL_POLICY_DIGEST + 1 bytes. */
int hull_policy_digest(const char *text, char *hex);

#endif
