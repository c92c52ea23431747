#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=3G timeout=900
"""DIMMs of gmem come and go while pages are private.

1. a DIMM leaves with all of its pages private; a new one on a fresh backend comes to its place
   and is shared: the guest finds zeros, not what is another's
2. the same with the old backend plugged again
3. DIMMs are added and removed while the guest converts in its own RAM: nobody disturbs the other
"""
from gmemlab import (MIB, SOAK, Cgroup, GuestVm, Layout, QmpError, Tap, block,
                     compare_maps, counters_add_up, in_time)
from labdimm import plug_at_last

SIZE = 32 * MIB
LAYOUT = Layout([('ram0', 128 * MIB)])
SLOTS = ',slots=4,maxmem=1G'
TURNS = 60 if SOAK else 6


def add(qmp, memdev, dimm='dimm0'):
    qmp.command('object-add', qom_type='memory-backend-gmem', id=memdev, size=SIZE,
                conversion_timeout=30000)
    qmp.command('device_add', driver='pc-dimm', id=dimm, memdev=memdev)


def removed(qmp, dimm='dimm0'):
    """Wait for the guest to give up the DIMM."""
    while event := qmp.wait_event('DEVICE_DELETED'):
        if event['data'].get('device') == dimm:
            return True
    return False


def private(qmp, memdev):
    info = block(qmp, memdev)
    return info and info['private']


def check_replug(tap, what, group, fresh):
    with GuestVm(LAYOUT, 'test=hotplug', memory=SLOTS, cgroup=group) as vm:
        qmp = vm.qmp
        tap.ok(vm.mark('hotplug/plug'), f'{what}: the guest waits for a DIMM', vm.report)
        add(qmp, 'mem1')
        tap.equal(private(qmp, 'mem1'), 0, f'{what}: a new DIMM is shared')
        vm.go()
        tap.ok(vm.mark('hotplug/unplug'), f'{what}: the guest made it private', vm.report)
        tap.equal(private(qmp, 'mem1'), SIZE, f'{what}: all of the DIMM is private')
        held = group.guest_bytes()
        qmp.command('device_del', id='dimm0')
        vm.go()
        tap.ok(removed(qmp), f'{what}: the DIMM leaves', vm.report)
        if fresh:
            qmp.command('object-del', id='mem1')
            tap.equal(block(qmp, 'mem1'), None, f'{what}: its block is gone')
            tap.ok(in_time(lambda: group.guest_bytes() < held - SIZE + MIB),
                   f'{what}: its memory is free again', f'{group.guest_bytes()} of {held}')
        vm.mark('hotplug/replug')
        memdev = 'mem2' if fresh else 'mem1'
        if fresh:
            add(qmp, memdev)
        else:
            tap.equal(plug_at_last(vm, memdev, 'dimm0')[0], None, f'{what}: it is plugged again')
        tap.equal(private(qmp, memdev), 0, f'{what}: the next DIMM is shared')
        vm.go()
        tap.ok(vm.mark('hotplug/end'), f'{what}: the guest is done', vm.report)
        tap.equal(private(qmp, memdev), 0, f'{what}: and the DIMM shared')
        vm.go()
        vm.finish(tap)
        compare_maps(tap, vm, LAYOUT, minimum=0)
        vm.quit()


def turn(qmp, number):
    """One DIMM added, converted by the host, and taken away before the guest looks at it."""
    memdev, dimm = f'mem{number}', f'dimm{number}'
    add(qmp, memdev, dimm)
    name = block(qmp, memdev)['id']
    answer = qmp.command('gmem-convert', id=name, offset=0, size=SIZE // 2, state='private',
                         wait=True)
    good = answer['converted'] == SIZE // 2 and private(qmp, memdev) == SIZE // 2
    qmp.command('device_del', id=dimm)
    return good


def check_while_converting(tap):
    """The random test ignores hot-plug, so DIMMs stay; as many as there are slots."""
    layout = Layout(LAYOUT.blocks)
    append = f'test=random cpus=2 rounds={20000 if SOAK else 1500}'
    with GuestVm(layout, append, memory=SLOTS) as vm:
        tap.ok(vm.serial.wait_for('^# random seed='), 'meanwhile: the guest converts', vm.report)
        good = [turn(vm.qmp, number) for number in range(4)]
        tap.ok(all(good), 'meanwhile: four DIMMs are added and converted', good)
        failed = 0
        for number in range(TURNS):
            try:
                add(vm.qmp, f'more{number}', f'more{number}')
            except QmpError:
                failed += 1
                vm.qmp.command('object-del', id=f'more{number}')
        tap.equal(failed, TURNS, 'meanwhile: a fifth finds no slot, and its backend goes again')
        vm.finish(tap)
        compare_maps(tap, vm, layout, minimum=100)
        counters_add_up(tap, vm.qmp, 'ram0')
        names = [b['id'] for b in vm.qmp.command('query-gmem')['blocks']]
        tap.equal(len(names), 5, 'meanwhile: the refused ones are no blocks any more')
        tap.equal([private(vm.qmp, f'mem{n}') for n in range(4)], [SIZE // 2] * 4,
                  "meanwhile: the DIMMs' pages are as the host made them")
        vm.quit()


def main():
    tap = Tap()
    group = Cgroup('dimm')
    check_replug(tap, 'fresh backend', group, fresh=True)
    check_replug(tap, 'old backend', group, fresh=False)
    check_while_converting(tap)
    group.remove()
    tap.done()


if __name__ == '__main__':
    main()
