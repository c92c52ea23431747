# SPDX-License-Identifier: GPL-2.0-or-later
"""What test files say in TAP, and what is wrong with a file itself: for the lab's runner.

A Run gathers one file run once, Shared several that share a lab; a Report joins Runs into one stream.
"""
import re
import threading
import time

# Comments that are repeated after the failure of a file: more than the console's end, which has 30 lines
TAIL = 60
# Lines of labfiles.py: a file, by its number, begins; it ends with a status
BEGIN, END = '#file-begins', '#file-ends'
MARK = re.compile(rf'({BEGIN}|{END}) (\d+)(?: (-?\d+))?')
# What "lab run" ends with then
TIMED_OUT = 124
RESULT = re.compile(r'(not )?ok\b(?: +\d+)?(?: +-)? *(.*)')
SKIP = re.compile(r'# *SKIP\b *(.*)', re.IGNORECASE)
PLAN = re.compile(r'1\.\.(\d+)(?: *# *SKIP\b *(.*))?$', re.IGNORECASE)


class Report:
    """The combined stream: numbers results and counts them, a file at a time."""

    def __init__(self):
        self.number = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def add(self, run):
        """What a Run has gathered, and what is wrong with the file itself."""
        with self.lock:
            for result in run.lines:
                self.show(*result)
            print(f'# {run.name}: {run.seconds:.0f} s', flush=True)
            if run.wrong:
                self.show(False, f'{run.name}: {run.wrong}')
                for comment in run.comments[-TAIL:]:
                    self.show(None, comment)

    def show(self, good, text, skip=None):
        if good is None:
            print('# ' + text, flush=True)
            return
        if skip is not None:
            self.skipped += 1
            text += f' # SKIP {skip}'
        self.number += 1
        self.failed += not good
        print(('ok' if good else 'not ok') + f' {self.number} - {text}', flush=True)

    def end(self):
        passed = self.number - self.failed - self.skipped
        print(f'1..{self.number}')
        print(f'# lab: {passed} passed, {self.failed} failed, {self.skipped} skipped')


def what_is_wrong(plan, seen, failed, skipped, status):
    """Why a test file failed on its own account, whatever its results; None if it did not.

    Status 1 is what a file ends with whose result was `not ok`. Without one it means that
    something went wrong which no result tells, as an exception after the last of them does.
    """
    if plan is None:
        return f'ended without a plan (status {status})'
    if plan != seen:
        return f'planned {plan} results and gave {seen}'
    if status not in (0, 1) or (status == 1 and not failed):
        return f'ended with status {status}' + ('' if failed else ' though no result failed')
    if not plan and not skipped:
        return 'planned no result, and did not say why'
    return None


class Run:
    """One file run once: .lines are (good, text, skip) of its results, good=None for comments."""

    def __init__(self, name):
        self.name, self.lines, self.wrong, self.seconds = name, [], None, 0
        self.seen, self.plan, self.skipped, self.failed = 0, None, False, False
        self.started = time.monotonic()

    @property
    def comments(self):
        return [line[1] for line in self.lines if line[0] is None]

    def take(self, text):
        """One line of its output."""
        if match := PLAN.fullmatch(text):
            self.plan = int(match[1])
            if match[2]:
                self.skipped = True
                self.lines.append((True, self.name, match[2]))
        elif match := RESULT.fullmatch(text):
            self.seen += 1
            self.failed |= bool(match[1])
            skip = SKIP.search(match[2])
            self.lines.append((not match[1], f'{self.name}: {SKIP.sub("", match[2]).rstrip()}',
                               skip[1] if skip else None))
        else:
            self.lines.append((None, text.removeprefix('# ')))

    def end(self, status):
        """The file has ended with that status, after the last of its lines."""
        self.seconds = time.monotonic() - self.started
        self.wrong = what_is_wrong(self.plan, self.seen, self.failed, self.skipped, status)


class Shared:
    """What files say that run one after the other in one lab (labfiles.py): whose each line is.

    A Run goes to the report as soon as it has ended. What stands between two, or after the
    last, is about the lab.
    """

    def __init__(self, names, report):
        self.report, self.lab = report, Run(' + '.join(names))
        self.current = self.number = None
        self.waiting, self.ended = {str(n): Run(name) for n, name in enumerate(names)}, []

    def take(self, text):
        mark = MARK.fullmatch(text)
        if not mark:
            if text:
                (self.current or self.lab).take(text)
        elif mark[1] == BEGIN:
            self.leave('its end was not seen')
            self.number, self.current = mark[2], self.waiting.pop(mark[2], None)
            if self.current:
                self.current.started = time.monotonic()
        elif self.current and mark[2] == self.number and mark[3]:
            self.current.end(int(mark[3]))
            self.leave(self.current.wrong)

    def leave(self, wrong):
        """The file that runs is over; what is wrong with it, None for nothing."""
        if self.current:
            self.current.wrong = wrong
            self.current.seconds = time.monotonic() - self.current.started
            self.report.add(self.current)
            self.ended.append(self.current.name)
        self.current = None

    def end(self, status):
        """The lab has ended. Who runs then need not be who is to blame."""
        how = f'with status {status}' if status != TIMED_OUT else 'because time ran out'
        how = f'lab ended {how}, after {", ".join(self.ended) or "no file"}'
        if not self.current and (status or self.waiting or self.lab.seen):
            self.lab.wrong = 'the ' + how
            self.report.add(self.lab)
        self.leave('its ' + how)
        for run in self.waiting.values():
            run.wrong = 'did not run: the lab that it shares had ended'
            self.report.add(run)
