/* UDP flows other than DNS. */
#include "guest/net.h"

void hull_udp_start(void)
{
}
