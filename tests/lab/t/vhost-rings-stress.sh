#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: kernel=debug+small in-place=on cpus=4 mem=3G timeout=200
# lab: append="ramdisk_size=65536"
#
# Everything happens at once to rings that vhost borrows pages of, under KASAN and lockdep.
#
# Half a minute of tests/lab/rings' stress, twenty in a soak. The lab reads the kernel's console: any
# report fails the test. That a report would be seen is what "checkers" is about. Swap space is there
# so that pages can be paged out.
seconds=30
case ${GMEM_SOAK:-0} in
1) seconds=1200 ;;
esac
set -e
mkswap /dev/ram0 >/dev/null
swapon /dev/ram0
exec "$GMEM_RINGS/vhost-rings" --stress=$seconds
