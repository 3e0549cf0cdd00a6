# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Run tox environments one after the other and count what passed.

    python tools/run_tests.py pep8 cover functional

Everything they print is passed on as it comes.  Of the environments that run
tests the counts are those that stestr closes with; any other environment
counts as one check.  What the tests that failed said is printed once more at
the end.  The last line is ``N passed, N failed``; the exit status is 1 if
anything failed, 0 otherwise.
"""

import dataclasses
import re
import subprocess
import sys
import time

#: The lines of stestr's summary that count, and on which side.
_PASSED = re.compile(r' - (?:Passed|Expected Fail): (\d+)')
_FAILED = re.compile(r' - (?:Failed|Unexpected Success): (\d+)')
#: A test's own line while stestr runs, and what ends the words after it.
_FAILURE = re.compile(r'(?:\{\d+\} )?(.+?) (?:\[.*\] )?\.\.\. FAILED')
_NEXT = re.compile(r'\{\d+\} |={5,}')
#: Lines of each test that failed, from the end, and tests.
_LINES, _TESTS = 30, 5


@dataclasses.dataclass
class Outcome:
    """What one environment came to; ``status`` is its exit status.

    ``tests`` tells that it ran tests, not only a check.
    """

    name: str
    tests: bool = False
    passed: int = 0
    failed: int = 0
    status: int = 0
    seconds: float = 0.0
    failures: list[list[str]] = dataclasses.field(default_factory=list)
    _in_failure: bool = False

    def count(self, line: str) -> None:
        """Add what a line of output says, if it is of a summary."""
        line = line.rstrip()
        self.tests = self.tests or line.startswith('Ran: ')
        if found := _PASSED.fullmatch(line):
            self.passed += int(found[1])
        elif found := _FAILED.fullmatch(line):
            self.failed += int(found[1])
        elif found := _FAILURE.fullmatch(line):
            self.failures.append([found[1]])
            self._in_failure = True
        elif _NEXT.match(line):
            self._in_failure = False
        elif self._in_failure and line:
            self.failures[-1].append(line)

    def close(self, status: int) -> None:
        """Take the exit status into the count.

        An environment without tests is one check; one that failed though all
        of its tests passed (coverage, a set-up) has failed once, and so has
        a test run that found no test.
        """
        self.status = status
        if self.failed:
            return
        if status or (self.tests and not self.passed):
            self.failed = 1
        elif not self.tests:
            self.passed = 1

    @property
    def ok(self) -> bool:
        return not self.status and not self.failed


def run(name: str) -> Outcome:
    """Run one tox environment."""
    outcome, start = Outcome(name), time.monotonic()
    print(f'\n===== {name} =====', flush=True)
    with subprocess.Popen(
        [sys.executable, '-m', 'tox', 'run', '-q', '-e', name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            outcome.count(line)
    outcome.close(process.returncode)
    outcome.seconds = time.monotonic() - start
    return outcome


def main(names: list[str]) -> int:
    if not names:
        print('usage: run_tests.py <tox environment> ...', file=sys.stderr)
        return 2
    outcomes = [run(name) for name in names]
    for outcome in outcomes:
        for name, *words in outcome.failures[:_TESTS]:
            print(f'\n===== {outcome.name}: {name} =====')
            print(*words[-_LINES:], sep='\n')
    print('\n===== all =====')
    for outcome in outcomes:
        print(
            f'{"ok" if outcome.ok else "FAILED":8}'
            f'{outcome.name:20}{outcome.seconds:7.0f} s'
            f'{outcome.passed:7} passed{outcome.failed:6} failed'
        )
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f'\n{passed} passed, {failed} failed', flush=True)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
