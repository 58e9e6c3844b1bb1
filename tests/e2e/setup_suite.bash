# SPDX-License-Identifier: Apache-2.0
# Before and after all end-to-end tests: nothing is started here that a run of a few tests would not need.
# shellcheck shell=bash

setup_suite() {
	: "${HULL:?}" "${HULL_HOME:?}" "${XDG_RUNTIME_DIR:?}"
}

teardown_suite() {
	if [ -e "$HULL_HOME/sandboxes/shared" ]; then timeout 120 "$HULL" rm -f shared; fi
}
