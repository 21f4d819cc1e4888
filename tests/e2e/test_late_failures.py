"""Late failures: the start of a feed, the depth of a scan, open runs and discovered workflows."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from forwarder.demo.sample_data import execution
from forwarder.time_format import rfc3339
from tests.e2e.harness import fail, numbered, polls, sent
from tests.fakes.alloy import FakeAlloy, other_shape
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import utc_now
from tests.harness.installation import Installation

pytestmark = pytest.mark.long

NARROW = {"overlap": "1s", "full_scan_interval": "1h", "max_lateness": "24h"}


def failed_now(alloy: FakeAlloy) -> dict[str, Any]:
    """Return the fields that change when a running execution fails now."""
    return {"status": "failed", "stoppedAt": rfc3339(alloy.api.now())}


def test_open_run_that_fails_later_is_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, "at-work", outcome="running", ago=7200)
    fail(alloy, *numbered(40), ago=60)
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == numbered(40))
        alloy.api.update("at-work", **failed_now(alloy))
        daemon.wait_until(lambda: sent(bus) == ["at-work", *numbered(40)])


def test_open_run_is_followed_after_a_restart(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, "at-work", outcome="running", ago=100_000)
    installation.run_command("once")
    alloy.api.update("at-work", **failed_now(alloy))
    installation.run_command("once")
    assert sent(bus) == ["at-work"]


def test_full_scan_finds_an_old_run_that_was_never_listed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW | {"full_scan_interval": "1s"})
    fail(alloy, *numbered(35), ago=60)
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == numbered(35))
        fail(alloy, "hidden", ago=7200, stopped=alloy.api.now())
        daemon.wait_until(lambda: "hidden" in sent(bus))


def test_normal_scan_ends_before_the_last_page(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, *numbered(90), ago=3600)
    fail(alloy, "newest", ago=10)
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(sent(bus)) == 91)
        daemon.wait_for_log("poll completed")  # the first scan reads all pages
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 8)
    polls_before = [request.query["page"] for request in alloy.requests[before:]]
    assert max(polls_before) <= "1", "the pages of an hour ago are old"


def test_once_always_does_a_full_scan(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", **NARROW)
    fail(alloy, *numbered(35), ago=60)
    installation.run_command("once")
    fail(alloy, "hidden", ago=7200, stopped=alloy.api.now())
    installation.run_command("once")
    assert "hidden" in sent(bus)


def test_open_run_that_succeeds_is_not_followed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "at-work", outcome="running", ago=7200)
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 1
    alloy.api.update("at-work", finished=True, stoppedAt=rfc3339(alloy.api.now()))
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 0
    assert sent(bus) == []


def test_open_run_above_max_run_duration_is_not_followed(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", max_run_duration="1h", max_lateness="30m", full_scan_interval="10m")
    fail(alloy, "for-ever", outcome="running", ago=7200)
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 0


def test_start_from_now_sends_runs_that_stop_later(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="now")
    fail(alloy, "before", ago=60)
    fail(alloy, "at-work", outcome="running", ago=60)
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy) > 4)
        fail(alloy, "after", ago=-1)
        alloy.api.update("at-work", status="failed", stoppedAt=rfc3339(alloy.api.now() + timedelta(seconds=1)))
        daemon.wait_until(lambda: sent(bus) == ["after", "at-work"])


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1)])
def test_start_from_now_uses_the_clock_of_the_api(
    installation: Installation, bus: StrictEventBridge, skew: timedelta
) -> None:
    with FakeAlloy(now=lambda: utc_now() + skew) as alloy:
        installation.change("source", start_from="now", base_url=alloy.url)
        fail(alloy, "before", ago=60)
        with installation.start() as daemon:
            daemon.wait_until(lambda: polls(alloy) > 4)
            fail(alloy, "after", ago=-1)
            daemon.wait_until(lambda: sent(bus) == ["after"])


def test_start_from_a_duration_sends_runs_since_then(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="10m")
    fail(alloy, "long-ago", ago=1200)
    fail(alloy, "lately", ago=300)
    fail(alloy, "long-run", ago=1200, stopped=alloy.api.now())
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["lately", "long-run"]


def test_start_from_a_time_sends_runs_since_then(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from=rfc3339(alloy.api.now() - timedelta(minutes=10)))
    fail(alloy, "long-ago", ago=1200)
    fail(alloy, "lately", ago=300)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["lately"]


def test_start_of_a_feed_is_kept_after_a_restart(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="now")
    alloy.api.add_workflow("w")
    installation.run_command("once")
    fail(alloy, "meanwhile", ago=-1)
    installation.run_command("once")
    assert sent(bus) == ["meanwhile"]


def fail_for_user(alloy: FakeAlloy, id_: str, workflow: str, user: str, **options: Any) -> None:
    alloy.api.add(workflow, execution("unfinished", id=id_, started=alloy.api.now(), **options), user_id=user)


def test_discovery_finds_every_workflow_of_every_user(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=[], discover=True)
    fail_for_user(alloy, "a", "v", "u1")
    fail_for_user(alloy, "b", "v", "u2")
    fail_for_user(alloy, "c", "x/y", "u2")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a", "b", "c"]


def test_discovery_finds_a_workflow_added_later(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", discover=True, discover_interval="300ms", start_from="now")
    fail_for_user(alloy, "old", "v", "u1")
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy, "v") > 2)
        fail_for_user(alloy, "new", "later", "u2")
        fail_for_user(alloy, "new-too", "v", "u3")
        daemon.wait_until(lambda: {"new", "new-too"} <= set(sent(bus)))


def fail_everywhere(alloy: FakeAlloy, ids: list[str]) -> None:
    for number, id_ in enumerate(ids):
        fail_for_user(alloy, id_, f"v{number}", "u1")


@pytest.mark.parametrize("meanwhile", ["nothing", "restart", "reload"])
def test_removed_workflow_is_polled_one_last_time(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, meanwhile: str
) -> None:
    rarely = {"min_interval": "1m", "max_interval": "1m", "concurrency": 1}
    installation.change("source", workflows=[], discover=True, discover_interval="500ms", **rarely)
    before, after = numbered(6, "a"), numbered(6, "b")
    fail_everywhere(alloy, before)
    with contextlib.ExitStack() as running:
        daemon = running.enter_context(installation.start())
        daemon.wait_until(lambda: sent(bus) == before)
        if meanwhile == "restart":
            assert daemon.stop() == 0
        fail_everywhere(alloy, after)
        alloy.always(lambda request: None if request.path.endswith("/logs") else other_shape({"data": []}))
        if meanwhile == "reload":
            installation.change("event", detail_type="Another")
        if meanwhile == "restart":
            daemon = running.enter_context(installation.start())
        daemon.wait_until(lambda: sent(bus) == [*before, *after])


def test_failed_discovery_does_not_stop_known_feeds(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", discover=True, discover_interval="300ms")
    alloy.always(lambda request: None if request.path.endswith("/logs") else alloy.answer(request, userId=""))
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0


def test_settings_without_workflows_are_refused(installation: Installation) -> None:
    installation.change("source", workflows=[])
    done = installation.run_command("once")
    assert "workflows" in done.output
