"""Processes on one ledger that discover the workflows of their users."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from forwarder.demo.sample_data import execution
from tests.e2e.harness import sent
from tests.e2e.test_fleet import installed, url, wait_until_both_joined
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge

pytestmark = pytest.mark.dynamodb

__all__ = ["url"]


def fail_for_each(alloy: FakeAlloy, users: list[str]) -> set[str]:
    for user_id in users:
        failed = execution("failed-status", id=f"of-{user_id}", started=alloy.api.now())
        alloy.api.add("w", failed, user_id=user_id)
    return {f"of-{user_id}" for user_id in users}


def test_two_processes_share_the_discovery(tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str) -> None:
    one, two = (installed(tmp_path / name, alloy, bus, url) for name in ("one", "two"))
    for installation in (one, two):
        installation.change("source", workflows=[], discover=True, discover_interval="500ms")
    ids = fail_for_each(alloy, [f"first-{number}" for number in range(20)])
    with one.start() as first, two.start() as second:
        wait_until_both_joined(first, second)
        first.wait_until(lambda: set(sent(bus)) >= ids)
        alloy.requests.clear()
        ids |= fail_for_each(alloy, [f"second-{number}" for number in range(20)])
        first.wait_until(lambda: set(sent(bus)) >= ids)
        assert listings_of_a_discovery(alloy) < 30, "each lists about half of the 40 users"
        first.send(signal.SIGKILL)
        ids |= fail_for_each(alloy, [f"third-{number}" for number in range(20)])
        second.wait_until(lambda: set(sent(bus)) >= ids)
        assert second.stop() == 0
    assert set(sent(bus)) == ids
    assert Counter(sent(bus)).most_common(1)[0][1] == 1


def listings_of_a_discovery(alloy: FakeAlloy) -> float:
    """Return how many users' workflows are requested for each list of the users, over 20 such lists."""
    alloy.requests.clear()
    assert alloy.wait_until(lambda: sum(each.path.endswith("/users") for each in list(alloy.requests)) >= 20)
    requests = list(alloy.requests)
    return sum("userId" in each.query and each.path.endswith("/workflows") for each in requests) / 20
