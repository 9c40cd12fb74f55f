"""Reads what the program writes with the real DuckDB and the real Spark; `tests/run` starts it.

Every dataset here is made by the real binary over real HTTP on loopback (world.py), and what the engines find in it
is compared with the contract's columns (contract.py) and with the ledger, read by a third reader (answers.py).

    tests/run                                   everything
    tests/run engines [NAME…]                   only the tests whose names contain NAME
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True

import engines  # noqa: E402
import world  # noqa: E402


# Tests that start many processes and share no dataset with the others: they run in a separate process
APART = ["test_readers.", "test_recipes.", "test_store.", "test_wheel."]


class Result(unittest.TextTestResult):
    """One line per test, with its duration."""

    def startTest(self, test):
        self._begun, self._passed = time.monotonic(), False
        unittest.TestResult.startTest(self, test)
        self.stream.write(f"test {name(test)} ... ")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self._passed = True

    def addFailure(self, test, err):
        unittest.TestResult.addFailure(self, test, err)

    def addError(self, test, err):
        unittest.TestResult.addError(self, test, err)

    def addSubTest(self, test, subtest, err):
        unittest.TestResult.addSubTest(self, test, subtest, err)

    def stopTest(self, test):
        unittest.TestResult.stopTest(self, test)
        self.stream.writeln(f"{'ok' if self._passed else 'FAILED'} ({time.monotonic() - self._begun:.1f} s)")
        self.stream.flush()


def name(test):
    return ".".join(test.id().split(".")[-3:]) if isinstance(test, unittest.TestCase) else str(test)


class Apart:
    """The tests of `APART`, whose output is printed when they have ended."""

    def __init__(self):
        self.words = tempfile.TemporaryFile("w+")
        command = [sys.executable, "-B", Path(__file__).parent, *APART]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.words, stderr=self.words)
        world.ended_by_its_id(self.process)

    def ended(self):
        """How many have passed and failed; a process that reports nothing has failed as a whole."""
        ended = self.process.wait()
        self.words.seek(0)
        words = self.words.read()
        print(words)
        found = re.search(r"^(\d+) passed, (\d+) failed$", words, re.M)
        passed, failed = map(int, found.groups()) if found else (0, 0)
        return passed, max(failed, int(ended != 0))


def those_not_apart(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from those_not_apart(test)
        elif not test.id().startswith(tuple(APART)):
            yield test


def main():
    # Exits normally, so that started processes are ended here, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{word}*" for word in sys.argv[1:]] or None
    suite, apart = loader.discover(str(Path(__file__).parent), pattern="test_*.py"), None
    if not sys.argv[1:]:
        suite, apart = unittest.TestSuite(those_not_apart(suite)), Apart()
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=0, resultclass=Result)
    more = (0, 0)
    try:
        result = runner.run(suite)
        if apart is not None:
            more = apart.ended()
    finally:
        engines.stop()
        world.stop()
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    passed = max(result.testsRun - failed, 0) + more[0]
    failed += more[1]
    if result.testsRun == 0:
        print("no test has such a name")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and passed > 0 else 1


sys.exit(main())
