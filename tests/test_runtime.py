"""The interpreter is tuned for the event loop once startup is complete."""

import subprocess
import sys


def test_tune_runtime_freezes_objects_when_ready() -> None:
    program = """
import asyncio
import gc
import sys
from forwarder.clock import SystemClock
from forwarder.runtime import tune_runtime

made = []
usual = sys.getswitchinterval()
frozen = gc.get_freeze_count()  # Python 3.12 starts with some objects frozen

async def main():
    sparing = asyncio.create_task(tune_runtime(lambda: made, SystemClock()))
    await asyncio.sleep(0)
    assert sys.getswitchinterval() < usual / 5
    assert gc.get_freeze_count() == frozen
    made.append("the last client")
    await sparing
    assert gc.get_freeze_count() > frozen + 10_000

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], timeout=50, check=True)  # noqa: S603  # fixed command
