# SPDX-License-Identifier: GPL-2.0-or-later
#
# The commands of the house. Everything is built in $(BUILD) and $(COMPARE); what
# is downloaded or unpacked stays in the cache (see docs/devel/wiring.md).

BUILD ?= build
COMPARE ?= $(BUILD)-base
CONFIGURE_ARGS ?=
DESTDIR ?=
export GMEM_BUILD = $(abspath $(BUILD))
export GMEM_QEMU = $(GMEM_BUILD)/qemu/qemu-system-x86_64
export GMEM_COMPARE = $(abspath $(COMPARE))/qemu/qemu-system-x86_64

.PHONY: help setup configure build compare check demo lab soak bench install \
	clean clean-cache
.DEFAULT_GOAL := help

help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

## make setup        install the packages that building and testing need
setup:
	@scripts/setup

## make build        configure when needed, weave, build (BUILD=dir, CONFIGURE_ARGS=)
$(BUILD)/layer.json:
	@./configure --build-dir=$(BUILD) $(CONFIGURE_ARGS)

build: $(BUILD)/layer.json
	@scripts/build $(BUILD)

## make compare      the comparison binary: the base's own conversion code
$(COMPARE)/layer.json:
	@./configure --build-dir=$(COMPARE) --gmem-engine=base $(CONFIGURE_ARGS)

compare: $(COMPARE)/layer.json
	@scripts/build $(COMPARE) qemu-system-x86_64

## make check        set up, build, run a bounded slice of every rig
check: setup
# Downloads first: two package clients at once would get into each other's way
	@test -e $(BUILD)/layer.json || \
		./configure --build-dir=$(BUILD) --fetch-only $(CONFIGURE_ARGS)
# Weaving and configuring leave a processor idle
	@tests/lab/run --ahead
	@$(MAKE) --no-print-directory build compare
	@scripts/run-tests

## make soak         the long lengths of every rig, and what benchmarks promise
soak: setup
	@$(MAKE) --no-print-directory build compare
	@tests/bench/run --check; kept=$$?; GMEM_SOAK=1 scripts/run-tests && exit $$kept

## make demo         set up, build, show guests on gmem in the lab
demo: setup
	@$(MAKE) --no-print-directory build
	@tests/lab/demo

## make lab          a shell in the lab, with our QEMU on PATH (KERNEL=debug)
lab: setup
	@$(MAKE) --no-print-directory build
	@$(if $(KERNEL),LAB_KERNEL=$(KERNEL)) tests/lab/lab shell

## make bench        figures beside the base
bench: setup
	@$(MAKE) --no-print-directory build compare
	@tests/bench/run

## make install      into DESTDIR, beside a distribution's QEMU (/opt/qemu-gmem)
install: $(BUILD)/layer.json
	@scripts/build $(BUILD) all
	@DESTDIR=$(DESTDIR) scripts/install $(BUILD)

## make clean        remove the build directories
clean:
	rm -rf $(BUILD) $(COMPARE)

## make clean-cache  empty the cache of downloads and unpacked sources
clean-cache:
	@scripts/clean-cache
