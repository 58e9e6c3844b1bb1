/* SPDX-License-Identifier: Apache-2.0 */
/* The wire's guest side against any bytes and any owner: see wire_fuzz.h. */
#include "wire_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_wire(HULL_WIRE_GUEST, data, size);
}
