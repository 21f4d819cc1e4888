"""The two fakes and an installation between them, for tests of the daemon on the machine's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from forwarder.demo.sample_data import execution
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import NO_ADDRESS, Installation

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "source": {"workflows": ["w-1"], "full_scan_interval": "500ms"},
    "run": {"shutdown_grace": "5s", "log_format": "json"},
    "ledger": {},
    "event": {},
    "destination": {"timeout": "3s", "concurrency": 4},
}
NOISE: Final = Random(1)  # noqa: S311 - data that does not compress


def create_installation(
    directory: Path, *, alloy: str = NO_ADDRESS, bus: str = NO_ADDRESS, **source: Any
) -> Installation:
    """Return an installation with a vault. `source` are settings of that section."""
    sections = SETTINGS | {"source": SETTINGS["source"] | source}
    installation = Installation(directory, alloy=alloy, bus=bus, **sections)
    installation.create_vault()
    return installation


@dataclass
class Environment:
    alloy: FakeAlloy
    bridge: StrictEventBridge
    installation: Installation

    def fail(self, *ids: str, size: int = 10) -> None:
        for id_ in ids:
            noise = NOISE.randbytes(size // 2).hex()
            record = execution("failed-status", id=id_, started=self.alloy.api.now(), payload={"noise": noise})
            self.alloy.api.add("w-1", record)

    def sent(self) -> list[str]:
        """Return the ids that were sent, sorted, so that a duplicate shows."""
        return sorted(event.detail["executionId"] for event in list(self.bridge.delivered))

    def has(self, *ids: str) -> Callable[[], bool]:
        return lambda: set(ids) <= set(self.sent())


@contextmanager
def start_environment(directory: Path) -> Iterator[Environment]:
    with FakeAlloy() as alloy, StrictEventBridge() as bridge:
        alloy.api.add_workflow("w-1")
        yield Environment(alloy, bridge, create_installation(directory, alloy=alloy.url, bus=bridge.url))


def numbered_ids(count: int) -> list[str]:
    return [f"x{number:03}" for number in range(count)]
