#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: shared in-place=on soak=both mem=4G timeout=900
"""QMP converts memory of a sw-protected VM, and everybody agrees about it.

1. a range converted and read back; the map adds up to what query-gmem counts, page by page
2. two clients convert the same range, the same way and against each other
3. progress of a long conversion, and its cancellation, seen by another client
4. object-del of a backend while it is converted
5. device_add of a DIMM while the VM's RAM is converted; the DIMM converts too
6. what is refused, and that QEMU ends on its own
The VM stays stopped: its vCPUs have no part in this, the kernel has.
"""
from gmemlab import MIB, PAGE, QmpError, Tap, Vm, ended, in_place, map_ranges

SIZE = 512 * MIB
ROUNDS = 20
TRIES = 50
ARGS = ['-accel', 'kvm', '-machine', 'pc-q35-swp,memory-backend=ram0', '-S', '-m',
        '512M,slots=2,maxmem=2G', '-object',
        'memory-backend-gmem,id=ram0,size=512M,conversion-timeout=30000' +
        # memory that is not there is converted in place before anybody can cancel that
        (',prealloc=on' if in_place() else '')]


def block(qmp, name='ram0'):
    return next((b for b in qmp.command('query-gmem')['blocks'] if b['id'] == name), None)


def convert(qmp, state, offset=0, size=SIZE, name='ram0', wait=True):
    return qmp.command('gmem-convert', id=name, offset=offset, size=size, state=state, wait=wait)


def map_adds_up(tap, qmp, what, name='ram0'):
    """Contiguous, complete, and as much private memory as query-gmem counts."""
    end = private = 0
    for item in map_ranges(qmp, name, limit=64):
        if item['offset'] != end:
            tap.ok(False, f'{what}: the map has no gap', f'{item} follows {end:#x}')
            return
        end += item['size']
        private += item['size'] if item['state'] == 'private' else 0
    info = block(qmp, name)
    tap.equal((end, private), (info['size'], info['private']), f'{what}: the map adds up')
    tap.equal(info['shared'] + info['private'], info['size'], f'{what}: the sizes add up')
    tap.equal(info['to-private']['bytes'] - info['to-shared']['bytes'], info['private'],
              f'{what}: the counters add up')


def check_convert(tap, qmp):
    answer = convert(qmp, 'private', 5 * PAGE, 3 * PAGE)
    tap.equal((answer['converted'], answer.get('error')), (3 * PAGE, None), 'convert: all of it')
    for page in range(0, 400, 2):
        convert(qmp, 'private', 16 * MIB + page * PAGE, PAGE)
    tap.equal(len(map_ranges(qmp, 'ram0', limit=64)), 3 + 400,
              'convert: the map shows every second page')
    map_adds_up(tap, qmp, 'convert')
    tap.ok('+' in qmp.hmp('info gmem'), 'convert: info gmem draws a mixed cell')
    convert(qmp, 'shared')
    tap.equal(block(qmp)['private'], 0, 'convert: all is shared again')


def start(qmp, *args, **more):
    return convert(qmp, *args, wait=False, **more)['conversion']


def check_default(tap, qmp):
    """Unless told to wait the answer tells what began; the event tells what it came to."""
    answer = qmp.command('gmem-convert', id='ram0', offset=0, size=SIZE, state='private')
    tap.equal((answer['converted'], answer.get('error')), (0, None), 'default: begun')
    result = ended(qmp, answer['conversion'])
    tap.equal((result.get('converted'), block(qmp)['private']), (SIZE, SIZE), 'default: ended')
    convert(qmp, 'shared')


def check_two_clients(tap, vm):
    one, two = vm.monitors
    jobs = [(one, start(one, 'private')), (two, start(two, 'private'))]
    results = [ended(qmp, number) for qmp, number in jobs]
    tap.ok(all(r.get('converted') == SIZE for r in results), 'two clients: both succeed', results)
    info = block(one)
    tap.equal(info['private'], SIZE, 'two clients: all is private')
    good = True
    for _ in range(ROUNDS):
        jobs = [(one, start(one, 'shared', 0, 80 * MIB)),
                (two, start(two, 'private', 0, 80 * MIB))]
        good &= all('error' not in ended(qmp, number) for qmp, number in jobs)
    tap.ok(good, f'two clients: {ROUNDS} rounds against each other')
    map_adds_up(tap, one, 'two clients')
    convert(one, 'shared')


def seen_and_cancelled(one, two):
    """Convert all until another client has seen that in query-gmem, and then has cancelled it.

    Each may come too late: the conversion has ended when the command is executed.
    """
    seen, result = False, {}
    for _ in range(TRIES):
        convert(one, 'shared')
        number = start(one, 'private')
        if not seen:
            running = two.command('query-gmem')['conversions']
            seen = number in [c['conversion'] for c in running]
        try:
            two.command('gmem-convert-cancel', conversion=number)
        except QmpError:
            pass
        result = ended(one, number)
        if seen and result.get('error') == 'cancelled' and result['converted'] < SIZE:
            break
    return seen, result


def check_progress(tap, vm):
    one, two = vm.monitors
    seen, result = seen_and_cancelled(one, two)
    tap.ok(seen, f'cancel: another client sees the conversion, in one of {TRIES} tries')
    tap.ok(result.get('error') == 'cancelled' and result['converted'] < SIZE,
           f'cancel: another client ends it before its end, in one of {TRIES} tries', result)
    tap.equal(block(one)['private'], result.get('converted'), 'cancel: and it says how far it got')
    tap.equal(two.command('query-gmem')['conversions'], [], 'cancel: nothing runs any more')
    map_adds_up(tap, one, 'cancel')
    convert(one, 'shared')


def check_object_del(tap, vm):
    qmp = vm.qmp
    for turn in range(5):
        qmp.command('object-add', qom_type='memory-backend-gmem', id='extra', size=SIZE)
        number = start(qmp, 'private', name=extra_id(qmp))
        qmp.command('object-del', id='extra')
        result = ended(qmp, number)
        if not result or len(qmp.command('query-gmem')['blocks']) != 1:
            tap.ok(False, f'object-del: turn {turn}', f'{result} {vm.report()}')
            return
    tap.ok(vm.alive(), 'object-del: five backends deleted while they were converted')


def extra_id(qmp):
    """What the block of the backend called extra is called."""
    return next(b['id'] for b in qmp.command('query-gmem')['blocks'] if b['id'] != 'ram0')


def check_dimm(tap, vm):
    one, two = vm.monitors
    number = start(one, 'private')
    two.command('object-add', qom_type='memory-backend-gmem', id='more', size=256 * MIB)
    two.command('device_add', driver='pc-dimm', id='dimm0', memdev='more')
    result = ended(one, number)
    tap.equal(result.get('converted'), SIZE, 'dimm: the conversion is complete')
    name = extra_id(two)
    tap.equal(block(two, name)['qom-path'], '/objects/more', 'dimm: its block is listed')
    answer = convert(two, 'private', 2 * MIB, 130 * MIB, name)
    tap.equal(answer['converted'], 130 * MIB, 'dimm: it converts')
    map_adds_up(tap, two, 'dimm', name)
    map_adds_up(tap, two, 'ram beside the dimm')


def check_refused(tap, qmp):
    for what, offset, size, words in (
            ('unaligned', 512, PAGE, 'not a multiple of 4096'),
            ('empty', 0, 0, 'the range is 0'),
            ('outside', SIZE, PAGE, "reaches beyond the block's size")):
        try:
            convert(qmp, 'private', offset, size)
            tap.ok(False, f'refused: {what}')
        except QmpError as error:
            tap.ok(words in str(error), f'refused: {what}', str(error))
    result = qmp.command('query-stats', target='vm', providers=[{'provider': 'gmem'}])
    stats = {s['name']: s['value'] for r in result for s in r['stats']
             if r['qom-path'] == '/objects/ram0'}
    tap.equal(stats['private'], block(qmp)['private'], 'stats: query-stats agrees')


def main():
    tap = Tap()
    with Vm(['-machine', 'none']) as vm:
        types = {t['name'] for t in vm.qmp.command('qom-list-types')}
    if not {'memory-backend-gmem', 'pc-q35-swp-machine'} <= types:
        tap.skip_all('this QEMU has no memory-backend-gmem or no pc-q35-swp')
    with Vm(ARGS, qmp_clients=2) as vm:
        check_convert(tap, vm.qmp)
        check_default(tap, vm.qmp)
        check_two_clients(tap, vm)
        check_progress(tap, vm)
        check_object_del(tap, vm)
        check_dimm(tap, vm)
        check_refused(tap, vm.qmp)
        tap.equal(vm.quit(), 0, 'QEMU ends on its own')
    tap.done()


if __name__ == '__main__':
    main()
