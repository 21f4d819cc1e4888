"""The fakes of the logs API and the bus in one process, which `nsenter` starts inside a machine's network.

It reads one command a line from standard input, and writes one line of JSON for each to standard output.
"""

from __future__ import annotations

import json
import sys

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge


def main() -> None:
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        alloy.api.add_workflow("w")
        answer({"alloy": alloy.url, "bus": bus.url})
        for line in sys.stdin:
            match line.split():
                case ["fail", *ids]:
                    fail(alloy, *ids, ago=1)
                    answer(len(ids))
                case ["sent"]:
                    answer(sent(bus))
                case _:
                    answer("unknown command")


def answer(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
