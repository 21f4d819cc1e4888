"""The command `ledger repair`: it is refused beside a daemon, and pending entries are sent after it."""

from __future__ import annotations

import json

from tests.fakes import bus_faults
from tests.faults.environment import Environment, numbered_ids
from tests.harness.process import ForwarderProcess
from tests.ledger.damaged_ledger import damage_page, pages


def test_repair_beside_running_daemon_is_refused(environment: Environment, running: ForwarderProcess) -> None:
    """The refusal names the process, and leaves the ledger and the daemon unchanged."""
    environment.fail("x")
    running.wait_until(environment.has("x"))
    done = environment.installation.run_command("ledger", "repair")
    assert done.code == 75, done.err
    assert f"process {running.pid}" in done.err
    assert not list(environment.installation.directory.glob("forwarder.db.damaged-*"))
    environment.fail("y")
    running.wait_until(environment.has("y"))


def test_repair_without_ledger_is_refused_and_creates_none(environment: Environment) -> None:
    done = environment.installation.run_command("ledger", "repair")
    assert done.code == 1
    assert "there is no ledger" in done.err
    assert "Traceback" not in done.err
    assert not environment.installation.ledger_file.exists()


def test_repaired_ledger_sends_pending_and_repeats_none(environment: Environment) -> None:
    """After the repair of a damaged ledger, pending entries are sent, and sent entries are not sent again."""
    pending = numbered_ids(40)
    with environment.installation.start() as daemon:
        environment.fail("sent")
        daemon.wait_until(lambda: environment.has("sent")() and daemon.has_logged("events sent"))
        environment.bridge.always(lambda _: bus_faults.throttled())
        environment.fail(*pending, size=3000)
        daemon.wait_until(lambda: counters(environment)["pending"] == len(pending))
        assert daemon.stop() == 0
    for page in pages(environment.installation.ledger_file, "entries_pending", "entries_sent", "counters"):
        damage_page(environment.installation.ledger_file, page)
    assert environment.installation.run_command("run").code == 1
    environment.bridge.clear()
    done = environment.installation.run_command("ledger", "repair")
    assert done.code == 0, done.out + done.err
    assert "entries: 41 rows rescued\n" in done.out
    assert "counters: 0 rows rescued, 1 gaps could not be read" in done.out
    with environment.installation.start() as daemon:
        daemon.wait_until(environment.has(*pending))
        assert daemon.stop() == 0
    assert environment.sent() == sorted(["sent", *pending])


def test_repair_with_json_prints_only_json_to_stdout(environment: Environment) -> None:
    with environment.installation.start() as daemon:
        environment.fail("x")
        daemon.wait_until(environment.has("x"))
        assert daemon.stop() == 0
    done = environment.installation.run_command("ledger", "repair", "--json")
    assert {step["name"] for step in json.loads(done.out)} >= {"settings", "counters"}
    assert "entries: 1 rows rescued" in done.err


def counters(environment: Environment) -> dict[str, int]:
    return dict(json.loads(environment.installation.run_command("status", "--json").out)["counters"])
