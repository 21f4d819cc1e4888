"""The key of an event: the same for each retry of a send, and another for each deliberate replay."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from forwarder.event.idempotency import idempotency_key
from tests.e2e.harness import fail, publishing
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

EVENTS = Path(__file__).parents[2] / "docs" / "events.md"


def keys(bus: StrictEventBridge) -> list[str]:
    return [event.detail["forwarder"]["idempotencyKey"] for event in list(bus.delivered)]


def shown(installation: Installation, execution_id: str) -> str:
    """Return the key that `events show` prints."""
    detail = installation.run_command("events", "show", execution_id, "--json").json()["detail"]
    key: str = detail["forwarder"]["idempotencyKey"]
    return key


def test_retries_share_a_key_and_each_replay_has_its_own(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "ä")
    for number in (1, 2, 3):
        bus.delivered.clear()
        bus.next(bus_faults.cut_off(delivered=True))
        command = ["once"] if number == 1 else ["replay", "ä", "--yes"]
        assert installation.run_command(*command).code == 0
        assert keys(bus) == [idempotency_key("ä", number)] * 2
        assert shown(installation, "ä") == idempotency_key("ä", number)


def test_replay_pending_over_a_restart_keeps_its_key(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """A replay that was not sent yet is not counted again."""
    fail(alloy, "a")
    installation.run_command("once")
    installation.change(enabled=False)
    for _ in range(2):
        assert installation.run_command("replay", "--since", "24h", "--yes").code == 0
    installation.change(enabled=True)
    bus.always(publishing(bus_faults.throttled()))
    installation.run_command("once", "--timeout", "1s")
    assert shown(installation, "a") == idempotency_key("a", 2)
    bus.clear()
    installation.run_command("once")
    assert keys(bus) == [idempotency_key("a", 1), idempotency_key("a", 2)]


def test_retried_dead_letter_keeps_the_key(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    bus.next(bus_faults.entry_codes({0: "MalformedDetail"}))
    installation.run_command("once")
    assert installation.run_command("dead-letters", "retry", "a").code == 0
    installation.run_command("once")
    assert keys(bus) == [idempotency_key("a", 1)]


@pytest.mark.parametrize("send_number", [1, 7])
def test_documented_command_computes_the_key(send_number: int) -> None:
    (command,) = re.findall(r"^printf .+ sha256sum .+$", EVENTS.read_text(), re.MULTILINE)
    (execution_id,) = re.findall(r"' (\S+) 1 \|", command)
    command = command.replace(f"{execution_id} 1 |", f"{execution_id} {send_number} |")
    printed = subprocess.run(  # noqa: S603  # the command is our documentation
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == idempotency_key(execution_id, send_number)
    assert send_number > 1 or f'"idempotencyKey": "{printed.strip()}"' in EVENTS.read_text()
