"""The modules that a command loads: a program that starts slowly, or fails while it loads, explains nothing."""

import subprocess
import sys


def test_command_line_loads_without_the_aws_sdk() -> None:
    """The SDK takes 0.3 s to load. aiohttp also fails while it loads, if OpenSSL is broken, with a traceback."""
    code = "import sys, forwarder.cli; print(*{'aiohttp', 'botocore', 'aiobotocore', 'httpx'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own
    assert done.stdout.split() == []
