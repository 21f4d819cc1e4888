"""Where a reading begins, how far down it goes, and which workflows there are."""

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


def ended(alloy: FakeAlloy) -> dict[str, Any]:
    """What a running execution becomes when it fails now."""
    return {"status": "failed", "stoppedAt": rfc3339(alloy.api.now())}


def test_a_run_that_was_listed_as_running_and_fails_later_is_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, "at-work", outcome="running", ago=7200)
    fail(alloy, *numbered(40), ago=60)
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == numbered(40))
        alloy.api.update("at-work", **ended(alloy))
        daemon.wait_until(lambda: sent(bus) == ["at-work", *numbered(40)])


def test_a_run_that_was_running_before_a_restart_is_still_followed(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, "at-work", outcome="running", ago=100_000)
    installation.run_command("once")
    alloy.api.update("at-work", **ended(alloy))
    installation.run_command("once")
    assert sent(bus) == ["at-work"]


def test_a_run_never_seen_running_that_started_long_ago_is_found_by_the_deep_reading(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW | {"full_scan_interval": "1s"})
    fail(alloy, *numbered(35), ago=60)
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == numbered(35))
        fail(alloy, "hidden", ago=7200, stopped=alloy.api.now())
        daemon.wait_until(lambda: "hidden" in sent(bus))


def test_a_normal_reading_does_not_go_all_the_way_down(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", **NARROW)
    fail(alloy, *numbered(90), ago=3600)
    fail(alloy, "newest", ago=10)
    with installation.start() as daemon:
        daemon.wait_until(lambda: len(sent(bus)) == 91)
        before = polls(alloy)
        daemon.wait_until(lambda: polls(alloy) > before + 8)
    polls_before = [request.query["page"] for request in alloy.requests[before:]]
    assert max(polls_before) <= "1", "the pages of an hour ago are old"


def test_a_once_always_looks_deep(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", **NARROW)
    fail(alloy, *numbered(35), ago=60)
    installation.run_command("once")
    fail(alloy, "hidden", ago=7200, stopped=alloy.api.now())
    installation.run_command("once")
    assert "hidden" in sent(bus)


def test_a_run_that_ends_well_is_forgotten(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "at-work", outcome="running", ago=7200)
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 1
    alloy.api.update("at-work", finished=True, stoppedAt=rfc3339(alloy.api.now()))
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 0
    assert sent(bus) == []


def test_a_run_that_never_ends_is_given_up_after_the_retention(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", max_run_duration="1h", max_lateness="30m")
    fail(alloy, "for-ever", outcome="running", ago=7200)
    installation.run_command("once")
    assert installation.run_command("status", "--json").json()["feeds"][0]["open_executions"] == 0


def test_from_now_on_means_what_stops_from_now_on(
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
def test_now_is_by_the_clock_of_the_api(installation: Installation, bus: StrictEventBridge, skew: timedelta) -> None:
    with FakeAlloy(now=lambda: utc_now() + skew) as alloy:
        installation.change("source", start_from="now", base_url=alloy.url)
        fail(alloy, "before", ago=60)
        with installation.start() as daemon:
            daemon.wait_until(lambda: polls(alloy) > 4)
            fail(alloy, "after", ago=-1)
            daemon.wait_until(lambda: sent(bus) == ["after"])


def test_a_duration_means_so_far_back(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", start_from="10m")
    fail(alloy, "long-ago", ago=1200)
    fail(alloy, "lately", ago=300)
    fail(alloy, "long-run", ago=1200, stopped=alloy.api.now())
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["lately", "long-run"]


def test_a_time_means_from_then_on(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    installation.change("source", start_from=rfc3339(alloy.api.now() - timedelta(minutes=10)))
    fail(alloy, "long-ago", ago=1200)
    fail(alloy, "lately", ago=300)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["lately"]


def test_where_a_feed_began_is_not_changed_by_a_restart(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", start_from="now")
    alloy.api.add_workflow("w")
    installation.run_command("once")
    fail(alloy, "meanwhile", ago=-1)
    installation.run_command("once")
    assert sent(bus) == ["meanwhile"]


def of_user(alloy: FakeAlloy, id_: str, workflow: str, user: str, **options: Any) -> None:
    alloy.api.add(workflow, execution("unfinished", id=id_, started=alloy.api.now(), **options), user_id=user)


def test_discovery_finds_every_workflow_of_every_user(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=[], discover=True)
    of_user(alloy, "a", "v", "u1")
    of_user(alloy, "b", "v", "u2")
    of_user(alloy, "c", "x/y", "u2")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a", "b", "c"]


def test_discovery_finds_what_is_installed_later(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", discover=True, discover_interval="300ms", start_from="now")
    of_user(alloy, "old", "v", "u1")
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy, "v") > 2)
        of_user(alloy, "new", "later", "u2")
        of_user(alloy, "new-too", "v", "u3")
        daemon.wait_until(lambda: {"new", "new-too"} <= set(sent(bus)))


def fail_everywhere(alloy: FakeAlloy, ids: list[str]) -> None:
    for number, id_ in enumerate(ids):
        of_user(alloy, id_, f"v{number}", "u1")


@pytest.mark.parametrize("meanwhile", ["nothing", "restart", "reload"])
def test_workflows_that_are_found_no_more_are_read_a_last_time(
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


def test_discovery_that_fails_does_not_stop_the_feeds_that_are_known(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", discover=True, discover_interval="300ms")
    alloy.always(lambda request: None if request.path.endswith("/logs") else alloy.answer(request, userId=""))
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0


def test_nothing_to_watch_is_a_mistake_in_the_settings(installation: Installation) -> None:
    installation.change("source", workflows=[])
    done = installation.run_command("once")
    assert "workflows" in done.output
