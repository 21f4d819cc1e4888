"""Processes on one ledger whose settings name different workflows, as during an update or with a forgotten machine."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.harness import fail, sent
from tests.e2e.test_fleet import WORKFLOWS, installed, url
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.process import eventually

pytestmark = pytest.mark.dynamodb

__all__ = ["url"]

NEW = [f"n-{number}" for number in range(8)]


def test_workflow_that_one_process_knows_is_polled_by_it(
    tmp_path: Path, alloy: FakeAlloy, bus: StrictEventBridge, url: str
) -> None:
    """Otherwise half of the new workflows would be assigned to the process that does not know them."""
    for workflow in [*WORKFLOWS, *NEW]:
        alloy.api.add_workflow(workflow)
    old, new = (installed(tmp_path / name, alloy, bus, url) for name in ("old", "new"))
    new.change("source", workflows=[*WORKFLOWS, *NEW])
    with old.start() as first, new.start() as second:
        first.wait_for_log("processes watch different feeds")
        second.wait_for_log("processes watch different feeds")
        ids = [f"{workflow}-a" for workflow in [*WORKFLOWS, *NEW]]
        for workflow, execution_id in zip([*WORKFLOWS, *NEW], ids, strict=True):
            fail(alloy, execution_id, workflow=workflow)
        first.wait_until(lambda: set(sent(bus)) == set(ids))
        (attention,) = old.run_command("status", "--json").json()["attention"]
        assert "the processes watch different feeds" in attention
        old.change("source", workflows=[*WORKFLOWS, *NEW])
        first.send(signal.SIGHUP)
        assert eventually(lambda: old.run_command("status", "--json").json()["attention"] == [], within=20)
        assert first.stop() == second.stop() == 0
    assert Counter(sent(bus)).most_common(1)[0][1] == 1
