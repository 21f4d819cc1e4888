"""The two fakes and a home between them, for tests of the daemon on the machine's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from forwarder.demo.sample_data import execution
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.faults.installation import Home

QUICK: Final = {
    "min_interval": "100ms",
    "max_interval": "300ms",
    "full_scan_interval": "500ms",
    "requests_per_second": 500,
}
NOISE: Final = Random(1)  # noqa: S311 - data that does not compress


@dataclass
class Stage:
    alloy: FakeAlloy
    bridge: StrictEventBridge
    home: Home

    def fail(self, *ids: str, size: int = 10) -> None:
        for id_ in ids:
            noise = NOISE.randbytes(size // 2).hex()
            record = execution("failed-status", id=id_, started=self.alloy.api.now(), payload={"noise": noise})
            self.alloy.api.add("w-1", record)

    def sent(self) -> list[str]:
        """Sorted, so that one sent twice shows."""
        return sorted(event.detail["executionId"] for event in list(self.bridge.delivered))

    def has(self, *ids: str) -> Callable[[], bool]:
        return lambda: set(ids) <= set(self.sent())


@contextmanager
def staged(place: Path) -> Iterator[Stage]:
    with FakeAlloy() as alloy, StrictEventBridge() as bridge:
        alloy.api.add_workflow("w-1")
        yield Stage(alloy, bridge, Home(place, alloy=alloy.url, bus=bridge.url, **QUICK))


def numbered(count: int) -> list[str]:
    return [f"x{number:03}" for number in range(count)]
