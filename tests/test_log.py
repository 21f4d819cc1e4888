"""The log is the last thing to fail."""

import subprocess
import sys

ENDING = """
from forwarder import log
stream = log._Unfailing()
log.contextlib = log._unfailing = None  # as the interpreter does at its end, in an order of its own
del stream
"""


def test_a_process_that_ends_leaves_no_word_of_its_own_end() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - a program of ours
    assert (done.stdout, done.stderr) == ("", "")
