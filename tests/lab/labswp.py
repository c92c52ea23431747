# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of pc-q35-swp share: commands and jobs that must be refused with a reason."""
from lablib import QmpError


def refused(tap, what, reason, call):
    """call() must fail as a QMP command, and say why."""
    try:
        answer = call()
        tap.ok(False, f'{what} is refused', f'it was not: {answer}')
    except QmpError as error:
        tap.ok(reason in str(error), f'{what} is refused', f'{error}')


def wait_job(vm, name):
    """Wait for a job's end and dismiss it; raise what it ended with, as if a command had failed."""
    while True:
        job = next(j for j in vm.qmp.command('query-jobs') if j['id'] == name)
        if job['status'] == 'concluded':
            break
        vm.qmp.wait_event('JOB_STATUS_CHANGE', 1)
    vm.qmp.command('job-dismiss', id=name)
    if 'error' in job:
        raise QmpError({'class': 'GenericError', 'desc': job['error']})
