/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay of a workspace answers by itself, fed with whatever the fuzzer makes of requests and messages.
 *
 * Input: records of {u8 request or message, u8 length, bytes}. The length in the header is made right. */
#include "base/bytes.h"
#include "guest/workspace/prefetch/prefetch.h"

#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hull_cur c = hull_cur_make(data, size);
	struct hull_prefetch *a = hull_prefetch_new();
	static _Alignas(8) uint8_t own[HULL_PREFETCH_REQUEST_MAX];
	if (!a)
		return 0;
	while (hull_cur_left(&c) >= 2) {
		bool request = hull_cur_u8(&c) & 1;
		size_t len = hull_cur_u8(&c) * 2U;
		size_t n = len < hull_cur_left(&c) ? len : hull_cur_left(&c);
		size_t head = request ? sizeof(struct fuse_in_header) : sizeof(struct fuse_out_header);
		size_t whole = n > head ? n : head;
		uint8_t *p = calloc(1, whole); /* of its own, for the sanitizer to see its end */
		if (!p)
			break;
		memcpy(p, hull_cur_take(&c, n), n);
		uint32_t length = (uint32_t)whole;
		memcpy(p, &length, sizeof length);
		struct hull_prefetch_answer answer;
		struct hull_prefetch_store store;
		if (request)
			hull_prefetch_request(a, p, whole, &answer);
		else
			hull_prefetch_message(a, p, whole, &store);
		if (request && (answer.len > sizeof answer.bytes || (!answer.len && !answer.forward)))
			abort();
		/* What goes to the kernel lies in the message. */
		if (!request && store.len && (store.data < p || store.data + store.len > p + whole))
			abort();
		for (size_t told; (told = hull_prefetch_output(a, own)) > 0;)
			if (told > sizeof own)
				abort();
		free(p);
	}
	hull_prefetch_free(a);
	return 0;
}
