"""`ledger repair` from outside: refused beside a daemon, and after it what was owed is sent."""

from __future__ import annotations

import json

from tests.fakes import bus_faults
from tests.faults.environment import Stage, numbered
from tests.faults.installation import Daemon
from tests.ledger.damaged_ledger import pages, spoil


def test_a_rescue_beside_a_running_daemon_is_refused_and_touches_nothing(stage: Stage, running: Daemon) -> None:
    stage.fail("x")
    running.until(stage.has("x"))
    done = stage.home.run_command("ledger", "repair")
    assert done.returncode == 75, done.stderr
    assert f"process {running.pid}" in done.stderr
    assert not list(stage.home.place.glob("forwarder.db.damaged-*"))
    stage.fail("y")
    running.until(stage.has("y"))


def test_without_a_ledger_a_rescue_says_so_and_makes_none(stage: Stage) -> None:
    done = stage.home.run_command("ledger", "repair")
    assert done.returncode == 1
    assert "there is no ledger" in done.stderr
    assert "Traceback" not in done.stderr
    assert not stage.home.ledger.exists()


def test_after_a_rescue_what_was_owed_is_sent_and_what_was_sent_is_not_sent_again(stage: Stage) -> None:
    owed = numbered(40)
    with stage.home.start() as daemon:
        stage.fail("sent")
        daemon.until(lambda: stage.has("sent")() and daemon.says("events sent"))
        stage.bridge.always(lambda _: bus_faults.throttled())
        stage.fail(*owed, size=3000)
        daemon.until(lambda: books(stage)["pending"] == len(owed))
        assert daemon.stop() == 0
    for page in pages(stage.home.ledger, "entries_pending", "entries_sent", "counters"):
        spoil(stage.home.ledger, page)
    assert stage.home.run_command("run").returncode == 1
    stage.bridge.clear()
    done = stage.home.run_command("ledger", "repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "entries: 41 rows rescued\n" in done.stdout
    assert "counters: 0 rows rescued, 1 gaps could not be read" in done.stdout
    with stage.home.start() as daemon:
        daemon.until(stage.has(*owed))
        assert daemon.stop() == 0
    assert stage.sent() == sorted(["sent", *owed])


def test_a_rescue_as_json_leaves_the_document_alone(stage: Stage) -> None:
    with stage.home.start() as daemon:
        stage.fail("x")
        daemon.until(stage.has("x"))
        assert daemon.stop() == 0
    done = stage.home.run_command("ledger", "repair", "--json")
    assert {step["name"] for step in json.loads(done.stdout)} >= {"settings", "counters"}
    assert "entries: 1 rows rescued" in done.stderr


def books(stage: Stage) -> dict[str, int]:
    told = stage.home.run_command("status", "--json").stdout
    return dict(json.loads(told)["counters"])
