/* A ClientHello. What needs more bytes must go on needing them only, or become something; a prefix never has a name
 * that the whole has not. */
#include "egress/sni.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char whole[HULL_HOST_MAX + 1] = "", part[HULL_HOST_MAX + 1] = "";
	enum sni_result a = sni_parse(data, size, whole), b = sni_parse(data, size / 2, part);
	if (b == SNI_NAME && (a != SNI_NAME || strcmp(whole, part) != 0))
		abort();
	if (a == SNI_NAME && strlen(whole) > HULL_HOST_MAX)
		abort();
	return 0;
}
