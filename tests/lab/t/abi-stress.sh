#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: kernel=debug+small in-place=on cpus=4 timeout=200
# lab: append="null_blk.irqmode=2 null_blk.completion_nsec=3000000"
#
# Conversions, vCPUs, direct I/O, holes and processes at random, against a kernel.
#
# Two minutes of tests/lab/abi's gmem-stress on the kernel with KASAN and lockdep, thirty in a soak.
# The lab reads the kernel's console: any report fails the test. That a report would be seen is what
# "checkers" is about. The disk takes milliseconds, so that pages are pinned most of the time and
# yet change hands often.
seconds=120
case ${GMEM_SOAK:-0} in
1) seconds=1800 ;;
esac
exec "$GMEM_ABI/gmem-stress" --seconds=$seconds
