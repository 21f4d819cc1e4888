"""A daemon that was down for longer than the logs API keeps executions names the period, and keeps it displayed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.e2e.harness import fail, sent, watermark
from tests.fakes.alloy import FakeAlloy, unauthorized
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation
from tests.ledger.ledger_files import execute_sql

DAY = timedelta(days=1)


def age_last_reads(installation: Installation, by: timedelta) -> None:
    """Move the last reads of the stopped forwarder into the past, as if the machine had been down since."""
    micros = by // timedelta(microseconds=1)
    execute_sql(
        installation.ledger_file,
        f"UPDATE feeds SET full_scan_at = full_scan_at - {micros}, polled_at = polled_at - {micros}",  # noqa: S608  # a number
    )


def retention(installation: Installation) -> Any:
    return installation.run_command("status", "--json").json()["retention_gap"]


def run_until_sent(installation: Installation, bus: StrictEventBridge, ids: list[str]) -> None:
    with installation.start() as daemon:
        daemon.wait_until(daemon.has_started)
        daemon.wait_until(lambda: sent(bus) == ids)
        daemon.wait_until(lambda: watermark(installation))  # an event is sent before its scan is complete
        assert daemon.stop() == 0


def test_long_downtime_is_named_and_survives_a_crash(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    run_until_sent(installation, bus, ["a"])
    assert retention(installation) is None
    age_last_reads(installation, 8 * DAY)
    fail(alloy, "b")
    with installation.start() as daemon:
        daemon.wait_for_log("executions may have been purged unread", "w")
        daemon.wait_until(lambda: sent(bus) == ["a", "b"])
        daemon.kill()
    gap = retention(installation)
    assert (gap["feeds"], gap["feed_count"]) == (["w"], 1)
    assert "may be missing from w" in installation.run_command("status").out
    run_until_sent(installation, bus, ["a", "b"])
    assert retention(installation) is not None


def test_once_names_a_long_time_without_a_pass(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    age_last_reads(installation, 8 * DAY)
    result = installation.run_command("once")
    assert result.code == 0
    assert any(line["event"] == "executions may have been purged unread" for line in result.log)
    gap = retention(installation)
    assert gap["read_at"] > gap["end"] > gap["start"]
    assert installation.run_command("once").err.count("purged unread") == 0
    assert sent(bus) == ["a"]


def test_short_downtime_is_not_reported(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a")
    run_until_sent(installation, bus, ["a"])
    age_last_reads(installation, 5 * DAY)
    fail(alloy, "b")
    run_until_sent(installation, bus, ["a", "b"])
    assert retention(installation) is None
    assert not any("purged" in file.read_text() for file in installation.log_files())


def test_refused_source_warns_a_day_before(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("event", health=True)
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: installation.counters()["sent"] == 1)
        daemon.wait_until(lambda: watermark(installation))
        assert daemon.stop() == 0
    age_last_reads(installation, 6 * DAY + timedelta(hours=1))
    alloy.always(lambda _: unauthorized())
    with installation.start() as daemon:
        daemon.wait_for_log("component state changed", '"retention"', "DEGRADED", "w not read since")
        daemon.wait_until(
            lambda: (
                ("retention", "DEGRADED")
                in [(each.detail.get("component"), each.detail.get("state")) for each in list(bus.delivered)]
            )
        )
        assert daemon.stop() == 0
    assert retention(installation) is None
