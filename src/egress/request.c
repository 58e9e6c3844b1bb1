/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest asks for when it opens a stream: the arguments of an OPEN; see internal.h. */
#include "egress/internal.h"

#include "wire/args.h"
#include "wire/service.h"

bool request_read(const uint8_t *args, size_t len, struct request *out)
{
	struct hull_cur cur = hull_cur_make(args, len);
	struct hull_arg a;
	*out = (struct request){0};
	bool ok = true;
	while (hull_args_next(&cur, &a)) {
		char **text = a.tag == HULL_TAG_ADDRESS ? &out->address : a.tag == HULL_TAG_NAME ? &out->name : NULL;
		if (text && (*text || a.n > 1024 || !(*text = hull_arg_str(&a))))
			ok = false;
		if (a.tag == HULL_TAG_PORT)
			out->port = hull_arg_u32(&a);
		if (a.tag == HULL_TAG_QTYPE)
			out->qtype = hull_arg_u32(&a);
	}
	if (ok && !cur.bad)
		return true;
	request_free(out);
	return false;
}

void request_free(struct request *r)
{
	free(r->address);
	free(r->name);
	*r = (struct request){0};
}
