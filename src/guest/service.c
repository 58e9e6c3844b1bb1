/* SPDX-License-Identifier: Apache-2.0 */
/* The services that the host may open streams for, and who serves them. */
#include "guest/guest.h"

#include "guest/core/core.h"
#include "guest/net/net.h"
#include "guest/session/session.h"
#include "wire/service.h"
#include "wire/wire.h"

static void service_open(uint32_t stream, uint8_t service, const uint8_t *args, size_t len)
{
	if (hull_shutting_down() && service != HULL_SVC_CONTROL) {
		hull_wire_refuse(hull_wire, stream, ESHUTDOWN, "the sandbox is stopping");
		return;
	}
	switch (service) {
	case HULL_SVC_CONTROL:
		hull_control_open(stream, args, len);
		break;
	case HULL_SVC_EXEC:
		hull_exec_open(stream, args, len);
		break;
	case HULL_SVC_DIAL:
		hull_dial_open(stream, args, len);
		break;
	case HULL_SVC_TAR_IN:
	case HULL_SVC_TAR_OUT:
		hull_tar_open(stream, service == HULL_SVC_TAR_IN, args, len);
		break;
	default:
		hull_wire_refuse(hull_wire, stream, ENOSYS, "this hull-init does not know that service");
	}
}

int hull_service_start(struct hull_error *err)
{
	static const struct hull_port_ops ops = {.open = service_open, .hello_again = hull_warmup};
	return hull_port_open(&ops, err);
}
