# SPDX-License-Identifier: Apache-2.0
# Hull: the entry point. Meson and ninja do the work (meson.build); the scripts are in tools/.
#
#   make            build/hull, build/hull-keeper and build/hull-init, running from this tree
#   make run        install what is missing, build, and run the example: a project with Docker in a microVM
#   make test       every check there is; ends with "N passed, N failed"
#   make bench      the figures of bench/RESULTS.md, measured on this machine
#   make install    to PREFIX (/usr/local), below DESTDIR
#   make lint       the linters alone          make fuzz  the fuzzers, FUZZ_SECONDS each
#   make setup      install what is missing from Debian's packages
#   make clean

BUILD  ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(NINJAFLAGS)

$(BUILD)/build.ninja:
	@tools/setup --check build
	@meson setup $(BUILD) >$(BUILD).log 2>&1 || { cat $(BUILD).log >&2; rm -rf $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

setup:
	@tools/setup build run

run: setup
	@$(MAKE) --no-print-directory all
	@tools/run-example $(BUILD)/hull

test:
	@tools/setup build run test
	@tools/run-tests $(STAGES)

bench:
	@tools/setup build run test bench
	@$(MAKE) --no-print-directory all
	@$(BUILD)/hull image inspect default >/dev/null 2>&1 || $(BUILD)/hull image build
	@python3 bench/bench.py $(BUILD)/hull $(BENCHES)
	@[ -n "$(BENCHES)" ] || python3 bench/start.py $(BUILD)/hull

lint:
	@tools/setup build test
	@$(MAKE) --no-print-directory all
	@tools/lint

fuzz:
	@tools/setup build test
	@tools/fuzz $(FUZZ_SECONDS)

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) $(NINJAFLAGS)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

# Goes through the tree's own test sandboxes first: a build directory must not vanish under a running machine.
clean:
	@tools/clean $(BUILD)

.PHONY: all setup run test bench lint fuzz install clean
