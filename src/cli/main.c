/* SPDX-License-Identifier: Apache-2.0 */
/* hull: the command. The code is in a library next to this file, so that tests can call it. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
