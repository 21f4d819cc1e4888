"""`ledger repair` from outside: refused beside a daemon, and after it what was owed is sent."""

from __future__ import annotations

import json

from tests.fakes import bus_faults
from tests.faults.environment import Environment, numbered
from tests.harness.process import ForwarderProcess
from tests.ledger.damaged_ledger import damage_page, pages


def test_a_rescue_beside_a_running_daemon_is_refused_and_touches_nothing(
    environment: Environment, running: ForwarderProcess
) -> None:
    environment.fail("x")
    running.wait_until(environment.has("x"))
    done = environment.installation.run_command("ledger", "repair")
    assert done.code == 75, done.err
    assert f"process {running.pid}" in done.err
    assert not list(environment.installation.directory.glob("forwarder.db.damaged-*"))
    environment.fail("y")
    running.wait_until(environment.has("y"))


def test_without_a_ledger_a_rescue_says_so_and_makes_none(environment: Environment) -> None:
    done = environment.installation.run_command("ledger", "repair")
    assert done.code == 1
    assert "there is no ledger" in done.err
    assert "Traceback" not in done.err
    assert not environment.installation.ledger_file.exists()


def test_after_a_rescue_what_was_owed_is_sent_and_what_was_sent_is_not_sent_again(environment: Environment) -> None:
    owed = numbered(40)
    with environment.installation.start() as daemon:
        environment.fail("sent")
        daemon.wait_until(lambda: environment.has("sent")() and daemon.has_logged("events sent"))
        environment.bridge.always(lambda _: bus_faults.throttled())
        environment.fail(*owed, size=3000)
        daemon.wait_until(lambda: books(environment)["pending"] == len(owed))
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
        daemon.wait_until(environment.has(*owed))
        assert daemon.stop() == 0
    assert environment.sent() == sorted(["sent", *owed])


def test_a_rescue_as_json_leaves_the_document_alone(environment: Environment) -> None:
    with environment.installation.start() as daemon:
        environment.fail("x")
        daemon.wait_until(environment.has("x"))
        assert daemon.stop() == 0
    done = environment.installation.run_command("ledger", "repair", "--json")
    assert {step["name"] for step in json.loads(done.out)} >= {"settings", "counters"}
    assert "entries: 1 rows rescued" in done.err


def books(environment: Environment) -> dict[str, int]:
    told = environment.installation.run_command("status", "--json").out
    return dict(json.loads(told)["counters"])
