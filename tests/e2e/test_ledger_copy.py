"""`ledger copy`: a forwarder goes on with the table where it ended with the file."""

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.dynalite import new_table_name, table_url
from tests.harness.installation import Installation

pytestmark = pytest.mark.dynamodb


def test_forwarder_continues_on_the_copy(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    """Nothing is sent twice, and the pending event is sent."""
    fail(alloy, *numbered(5))
    assert installation.run_command("once").code == 0
    bus.buses.discard(BUS)
    fail(alloy, "pending", ago=1)
    installation.run_command("once", "--timeout", "5s")
    bus.buses.add(BUS)
    url = table_url(new_table_name())
    installation.change("ledger", url=url)
    assert installation.run_command("ledger", "create").code == 0
    done = installation.run_command("ledger", "copy", "sqlite:///forwarder.db", url)
    assert done.code == 0, done.output
    assert done.out == (
        "copied and counted: 1 pending, 5 sent, 0 dead, 0 purged\n"
        f"now set ledger.url to {url}, and run no forwarder on sqlite:///forwarder.db any more\n"
    )
    assert "6/6" in done.err
    fail(alloy, "later", ago=0)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["later", "pending", *numbered(5)]
    again = installation.run_command("ledger", "copy", "sqlite:///forwarder.db", url)
    assert (again.code, again.out) == (0, "it is copied already\n")
    assert installation.run_command("status", "--json").json()["counters"]["sent"] == 7


def test_copy_names_a_missing_file(installation: Installation) -> None:
    done = installation.run_command("ledger", "copy", "sqlite:///none.db", table_url("some"))
    assert done.code == 1
    assert "there is no ledger" in done.err
    assert not list(installation.directory.glob("none*"))


def test_copy_names_a_missing_table(installation: Installation) -> None:
    installation.run_command("once")
    done = installation.run_command("ledger", "copy", "sqlite:///forwarder.db", table_url("missing"))
    assert done.code == 75
    assert "does not exist" in done.err
    assert "`forwarder ledger create`" in done.err
