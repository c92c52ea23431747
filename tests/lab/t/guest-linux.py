#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""A Linux guest converts pages of its own while it runs: the module of tests/guest-linux.

1. the module is loaded; an unknown content rule is refused
2. commands that make no sense are refused, each with its errno, and change nothing
3. ranges become private and shared, over chunks of the allocator, and keep to the content rule
4. a range that memmap= set aside is taken, what the kernel uses or is no RAM is not
5. all CPUs convert at random, while commands are refused; the host has the module's map in the end
6. unloading during a random run makes all of it shared; the module can be loaded again
7. a page that does not become shared again is kept from the allocator, and that is said
"""
from gmemlab import MIB, MODE, SOAK, Layout, Tap, block, host_private, in_time
from lablinux import FILES, LinuxVm, check_log, compare, module, no_mismatch

LAYOUT = Layout([('ram0', 256 * MIB)])
ASIDE, ASIDE_SIZE = 192 * MIB, 8 * MIB
PAGES = 2048
SECONDS = 120 if SOAK else 6
INVALID, RANGE = 'Invalid argument', 'Numerical result out of range'
BUSY, BUSY_HOST = 'Device or resource busy', 'Resource temporarily unavailable'
NO_AREA, TOO_BIG = 'No such file or directory', 'Argument list too long'
REMOTE = 'Remote I/O error'


def check_load(tap, vm):
    tap.ok(vm.load('content=none')[0], 'an unknown content rule is refused', vm.report)
    tap.equal(vm.load(), (0, ''), 'the module is loaded')


def check_refusals(tap, vm):
    before = vm.stats()
    for command, wanted in (
            ('private 0 1', NO_AREA), ('check', NO_AREA), ('free', NO_AREA),
            ('random 1 1', NO_AREA), ('', INVALID), ('explode', INVALID), ('alloc', INVALID),
            ('alloc 1 2', INVALID), ('alloc 0', INVALID), ('alloc 1x', INVALID),
            ('alloc -1', INVALID), ('alloc 0x10000000000000000', RANGE), ('alloc 16385', TOO_BIG),
            ('alloc 0xffffffffffffffff', TOO_BIG), ('x' * 200, INVALID)):
        tap.equal(vm.convert(command), wanted, f'"{command[:40]}" is refused')
    tap.equal(vm.stats(), before, 'nothing has changed')
    # What check_log counts in the end
    vm.run(f'for i in $(seq 300); do echo explode >{FILES}/command; done 2>/dev/null')


def check_ranges(tap, vm):
    for command, wanted in (
            (f'alloc {PAGES}', None), ('alloc 1', BUSY), ('memmap 0 4096', BUSY),
            ('private 0 0', RANGE), (f'private {PAGES} 1', RANGE), (f'private 1 {PAGES}', RANGE),
            ('private 1 0xffffffffffffffff', RANGE), ('shared 0xffffffffffffffff 2', RANGE),
            ('random 0 1', INVALID), ('random 86401 1', INVALID), ('private 3 1', None),
            (f'private 100 {PAGES - 200}', None), ('shared 700 1', None), ('shared 701 512', None),
            ('shared 90 20', None), ('private 0 20', None), ('check', None)):
        tap.equal(vm.convert(command), wanted, f'"{command}"')
    compare(tap, vm, LAYOUT, 'ranges')
    stats = vm.stats()
    tap.equal((stats['pages'], stats['private']), (PAGES, PAGES - 200 - 513 - 10 + 20),
              'the statistics count the pages')
    tap.equal(vm.convert('free'), None, 'the pages are given back')
    tap.equal(host_private(vm.qmp, LAYOUT), {'ram0': []}, 'after which all memory is shared')


def check_set_aside(tap, vm):
    for what, command, wanted in (
            ('memory that the kernel uses', f'memmap {ASIDE - 4096} 8192', BUSY),
            ('part of a page', f'memmap {ASIDE + 1} 4096', INVALID),
            ('a range that wraps', 'memmap 0xfffffffffffff000 8192', INVALID),
            ('an empty range', f'memmap {ASIDE} 0', INVALID),
            ('what is no RAM', 'memmap 0x100000000 4096', REMOTE),
            ('what was set aside', f'memmap {ASIDE} {ASIDE_SIZE}', None)):
        tap.equal(vm.convert(command), wanted, f'memmap: {what}')
    tap.equal(vm.convert('private 1 1000'), None, 'some of it becomes private')
    tap.equal(host_private(vm.qmp, LAYOUT), {'ram0': [(ASIDE + 4096, ASIDE + 1001 * 4096)]},
              'and is where the command line says')
    tap.equal(vm.convert('free'), None, 'it is given back')


def conversions(stats):
    return stats['to-private-conversions'] + stats['to-shared-conversions']


def check_random(tap, vm):
    vm.convert('clear')
    tap.equal(vm.convert(f'alloc {PAGES}'), None, 'pages for a random run')
    tap.equal(vm.convert('random 3600 42'), None, 'a random run starts')
    for command in ('private 0 1', 'free', 'check', 'random 1 1'):
        tap.equal(vm.convert(command), BUSY, f'"{command}" is refused meanwhile')
    tap.ok(vm.run('cat /sys/kernel/debug/gmem-convert/map')[0], 'so is the map')
    tap.equal(vm.stats()['state'], 'random', 'the run goes on')
    vm.run(f'sleep {SECONDS}')
    tap.ok(in_time(lambda: conversions(vm.stats()) > 50), 'conversions are counted', vm.report)
    tap.equal(vm.convert('stop'), None, 'until it is stopped')
    tap.equal((vm.convert('random 1 43'), vm.convert('wait')), (None, None),
              'a short one ends by itself')
    stats = vm.stats()
    tap.equal(stats['state'], 'idle', 'which the statistics say')
    tap.equal(vm.convert('check'), None, 'every word of every page is as it should be')
    no_mismatch(tap, stats, 'random')
    tap.note(f'{conversions(stats)} conversions of {stats["to-private-pages"] + stats["to-shared-pages"]} pages')
    compare(tap, vm, LAYOUT, 'random', minimum=5)


def check_unload(tap, vm):
    tap.equal(vm.convert('random 600 7'), None, 'a long run starts')
    tap.equal(vm.unload(), (0, ''), 'the module is unloaded meanwhile')
    tap.equal(host_private(vm.qmp, LAYOUT), {'ram0': []}, 'and all memory is shared')
    tap.equal(vm.load('content=auto'), (0, ''), 'it is loaded again')
    tap.equal(vm.convert('alloc 64'), None, 'and takes pages')
    tap.equal(vm.stats()['rule'], MODE, 'it finds the content rule by itself')


def check_leak(tap, vm):
    vm.convert('private 3 5')
    tap.equal(vm.convert('refuse 1'), None, 'the next request is to fail')
    tap.equal((vm.convert('shared 3 5'), vm.stats()['retries']), (None, 1),
              'one that is busy once is repeated')
    vm.convert('private 3 5')
    vm.convert('refuse 1000000')
    tap.equal(vm.convert('shared 4 1'), BUSY_HOST, 'busy for long is said')
    stats = vm.stats()
    tap.equal((stats['failures'], stats['failures-errno-11'], stats['unsure']), (1, 1, 1),
              'and counted by its errno')
    tap.equal(vm.unload()[0], 0, 'the module is unloaded')
    private = sum(end - start for start, end in host_private(vm.qmp, LAYOUT)['ram0'])
    tap.equal(private, 5 * 4096, 'what did not become shared is private')
    tap.ok('5 pages stay private' in vm.run('dmesg | tail -n 5')[1], 'and the log says so')


def check_guest(tap, vm):
    check_load(tap, vm)
    tap.equal(vm.stats()['rule'], MODE, 'it has the content rule that it was told')
    check_refusals(tap, vm)
    check_ranges(tap, vm)
    check_set_aside(tap, vm)
    check_random(tap, vm)
    check_unload(tap, vm)
    check_leak(tap, vm)
    ours = check_log(tap, vm)
    tap.ok(0 < len(ours) < 150, 'the messages are limited', str(len(ours)))
    tap.equal(vm.qmp.command('query-status')['status'], 'running', 'the VM runs')
    info = block(vm.qmp, 'ram0')
    tap.equal((info['broken'], info['discard-failures'], info['failures']), (False, 0, 0),
              'nor has the host')
    tap.equal(vm.quit(), 0, 'QEMU ends on its own')


def main():
    tap = Tap()
    if not module():
        tap.skip_all("the lab's kernel has no headers to build the module against")
    with LinuxVm(LAYOUT, append=f'memmap={ASIDE_SIZE}${ASIDE:#x}') as vm:
        if vm.boot(tap):
            check_guest(tap, vm)
    tap.done()


if __name__ == '__main__':
    main()
