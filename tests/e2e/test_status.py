"""`status`: its report beside a running daemon and without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from forwarder.intake.poll_plan import IntervalReason
from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy, unauthorized
from tests.fakes.eventbridge import BUS, StrictEventBridge
from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import eventually

pytestmark = pytest.mark.long


def test_status_has_its_promised_keys(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    report = installation.run_command("status", "--json").json()
    promised = {"enabled", "running", "pid", "components", "counters", "oldest_pending_at", "last_poll_at", "feeds"}
    assert promised <= report.keys()
    assert report["counters"].keys() == {"recorded", "pending", "sent", "dead", "purged", "forgotten"}


def test_status_before_the_first_run_has_zero_counters(installation: Installation) -> None:
    report = installation.run_command("status", "--json").json()
    assert (report["running"], report["last_poll_at"], report["feeds"]) == (False, None, [])
    assert set(report["counters"].values()) == {0}
    assert not list(installation.directory.glob("forwarder.db*")), "status creates no ledger"


def test_status_names_the_running_daemon(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["counters"]["sent"] == 1)
        report = installation.run_command("status", "--json").json()
        assert (report["enabled"], report["running"], report["pid"]) == (True, True, daemon.pid)
        assert "HEALTHY" in str(report["components"])
        assert daemon.stop() == 0
    assert installation.run_command("status", "--json").json()["running"] is False


def test_status_has_the_age_of_the_last_poll_while_running(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["last_poll_at"])
        report = installation.run_command("status", "--json").json()
    age = datetime.now(UTC) - datetime.fromisoformat(report["last_poll_at"])
    assert age.total_seconds() < 10


def test_status_has_the_interval_of_each_feed(installation: Installation, alloy: FakeAlloy) -> None:
    def is_polled() -> bool:
        """Return False before the first poll too, when there is no feed yet."""
        return any(feed["polled_at"] for feed in installation.run_command("status", "--json").json()["feeds"])

    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(is_polled)
    (feed,) = installation.run_command("status", "--json").json()["feeds"]
    assert feed["interval_seconds"] > 0
    assert feed["interval_reason"] in [reason.value for reason in IntervalReason]
    table = installation.run_command("status", "--all").out
    assert f"{feed['interval_seconds']:.0f} s" in table
    assert feed["interval_reason"] in table


def test_status_has_the_last_poll_of_once(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["last_poll_at"] is not None


def test_status_has_the_pending_entries_and_their_age(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    bus.buses.discard(BUS)
    fail(alloy, "a", "b")
    installation.run_command("once", "--timeout", "5s")
    report = installation.run_command("status", "--json").json()
    age = datetime.now(UTC) - datetime.fromisoformat(report["oldest_pending_at"])
    assert report["counters"]["pending"] == 2
    assert 0 <= age.total_seconds() < 30
    assert "2 pending" in installation.run_command("status").out


def test_status_has_a_line_for_each_feed(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", {"id": "v", "user_id": "u1"}])
    alloy.api.add_workflow("v")
    installation.run_command("once")
    feeds = installation.run_command("status", "--json").json()["feeds"]
    assert {(feed["workflow_id"], feed["user_id"]) for feed in feeds} == {("w", None), ("v", "u1")}


def test_status_has_the_reason_of_a_failed_component(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: unauthorized())
    with installation.start() as daemon:
        daemon.wait_for_log("refuses the key")
        daemon.wait_until(lambda: "FAILED" in str(installation.run_command("status", "--json").json()["components"]))
        output = installation.run_command("status").out
    assert "401" in output
    assert "keys set alloy-api-key" in output


def test_status_of_a_killed_daemon_is_not_running(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        daemon.kill()
    report = installation.run_command("status", "--json").json()
    assert (report["running"], report["pid"]) == (False, None)


def test_status_while_disabled_is_disabled(installation: Installation, alloy: FakeAlloy) -> None:
    fail(alloy, "a")
    installation.run_command("once")
    installation.run_command("disable")
    assert installation.run_command("status", "--json").json()["enabled"] is False
    assert "switched off" in installation.run_command("status").out


def test_status_does_not_disturb_the_daemon(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with installation.start() as daemon:
        daemon.wait_for_log("started")
        for number in range(3):
            fail(alloy, f"x{number}")
            assert installation.run_command("status").code == 0
        assert eventually(lambda: len(sent(bus)) == 3)
        os.kill(daemon.pid, 0)


@contextmanager
def other_server(body: bytes) -> Iterator[int]:
    """Answer every request with a body, as another program at the address of the listener does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_status_has_newer_values_from_the_listener(installation: Installation) -> None:
    """A poll that finds nothing is not written to the ledger."""
    installation.change("web", health_listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        daemon.wait_until(lambda: any(installation.run_command("status", "--json").json()["feeds"]))
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["feeds"][0]["polled_at"])
        report = installation.run_command("status", "--json").json()
        assert report["live"] is True
        (polled_at,) = [feed["polled_at"] for feed in report["feeds"]]
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["last_poll_at"] > polled_at)
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"live": true, "ready": true, "components": [], "last_poll_at": "soon", "pid": "x"}',
        b'{"live": true, "ready": true, "components": {"bus": "FAILED"}, "last_poll_at": "2099-01-01T00:00:00Z"}',
        b'{"live": true, "ready": true}',
        b"no JSON",
    ],
)
def test_status_ignores_another_program_at_the_listener(installation: Installation, body: bytes) -> None:
    with installation.start() as daemon, other_server(body) as port:
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["last_poll_at"])
        installation.change("web", listen=f"127.0.0.1:{port}")  # takes effect at the next start
        done = installation.run_command("status", "--json")
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
        assert done.json()["components"]["bus"]["state"] != "FAILED"
        assert not done.json()["last_poll_at"].startswith("2099")
        assert daemon.stop() == 0


def test_status_names_a_listener_without_a_response(installation: Installation) -> None:
    with installation.start() as daemon:
        daemon.wait_until(lambda: installation.run_command("status", "--json").json()["last_poll_at"])
        installation.change("web", listen=f"127.0.0.1:{free_port()}")
        assert "no healthy response from its listener" in installation.run_command("status").out
        assert daemon.stop() == 0
