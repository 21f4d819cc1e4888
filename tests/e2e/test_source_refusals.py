"""Refusals and delays of the logs API: no failure is skipped, and polling resumes automatically."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.e2e.harness import fail, numbered, polls, sent
from tests.fakes.actions import HttpResponse
from tests.fakes.alloy import (
    API_KEY,
    FakeAlloy,
    delayed,
    forbidden,
    http_date,
    too_many_requests,
    unauthorized,
    unavailable,
    undated,
)
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import utc_now
from tests.harness.installation import Installation
from tests.harness.process import never


def test_forbidden_request_exits_77(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: forbidden())
    assert installation.run_command("once").code == 77


@pytest.mark.parametrize("refusal", [unauthorized, forbidden])
def test_source_recovers_when_a_refused_key_is_accepted(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, refusal: Callable[[], HttpResponse]
) -> None:
    alloy.always(lambda _: refusal())
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"source"', "FAILED")
        alloy.clear()
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0


def test_requests_with_a_refused_key_are_limited(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", min_interval="1s", max_interval="1s")
    alloy.always(lambda _: unauthorized())
    with installation.start() as daemon:
        daemon.wait_for_log('"source"', "FAILED")
        before = polls(alloy)
        assert never(lambda: polls(alloy) > before + 2, within=1.5)


@pytest.fixture
def plural() -> Iterator[FakeAlloy]:
    with FakeAlloy(path_segments=frozenset({"workflows"})) as alloy:
        yield alloy


def test_404_selects_the_other_path_segment_for_later(
    installation: Installation, plural: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", base_url=plural.url)
    fail(plural, *numbered(31))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31)
    assert [request.path.split("/")[2] for request in plural.requests] == ["workflow", *["workflows"] * 3]


def test_unknown_workflow_is_reported_and_others_are_read(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=["gone", "w"])
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (69, ["a"])
    assert "gone" in done.err.split("error: ", 1)[1]
    assert polls(alloy, "gone") == 2


def test_workflow_missing_for_a_while_loses_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """Other workflows are not delayed."""
    installation.change("source", workflows=["v", "w"])
    fail(alloy, "v-1", workflow="v", ago=5)
    gone = HttpResponse(404, {}, b'{"message":"Not Found"}')
    with installation.start() as daemon:
        daemon.wait_until(lambda: sent(bus) == ["v-1"])
        alloy.always(lambda request: gone if "/v/logs" in request.path else None)
        fail(alloy, "v-2", workflow="v", ago=1)
        fail(alloy, "w-1", ago=1)
        daemon.wait_until(lambda: sent(bus) == ["v-1", "w-1"])
        alloy.clear()
        daemon.wait_until(lambda: sent(bus) == ["v-1", "v-2", "w-1"], within=60)
        assert daemon.stop() == 0


@pytest.mark.parametrize("hours", [-6, 6])
def test_wrong_clock_of_the_api_loses_and_repeats_nothing(
    installation: Installation, bus: StrictEventBridge, hours: int
) -> None:
    with FakeAlloy(now=lambda: utc_now() + timedelta(hours=hours)) as off:
        off.api.add_workflow("w")
        installation.change("source", base_url=off.url, start_from="now")
        fail(off, "before")
        with installation.start() as daemon:
            daemon.wait_until(lambda: polls(off) > 1, within=60)
            for number in range(3):
                fail(off, f"x{number}", ago=-1)
                daemon.wait_until(lambda number=number: f"x{number}" in sent(bus))  # type: ignore[misc]
            assert daemon.stop() == 0
        assert sent(bus) == ["x0", "x1", "x2"]


def gap(alloy: FakeAlloy, number: int) -> float:
    """Return the seconds between a request and the one before it."""
    return (alloy.requests[number].at - alloy.requests[number - 1].at).total_seconds()


def test_retry_after_in_seconds_delays_the_next_request(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(40))
    alloy.next(too_many_requests("1"))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(40)
    assert gap(alloy, 1) >= 1


def test_retry_after_as_a_date_delays_the_next_request(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(40))
    alloy.always(
        lambda request: too_many_requests(http_date(request.at + timedelta(seconds=3))) if request.index < 1 else None
    )
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(40)
    assert gap(alloy, 1) >= 1, "a date has whole seconds: 2 to 3 of them, less what the API's clock has moved"


def test_throttled_feed_delays_all_feeds(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "v", "u"], concurrency=1)
    for workflow in "wvu":
        fail(alloy, workflow, workflow=workflow)
    alloy.next(too_many_requests("1"))
    installation.run_command("once")
    later = [request.at for request in alloy.requests[1:]]
    assert (min(later) - alloy.requests[0].at).total_seconds() >= 1


@pytest.mark.parametrize("retry_after", ["soon", "-3", None])
def test_invalid_retry_after_is_replaced_by_a_backoff(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, retry_after: str | None
) -> None:
    fail(alloy, *numbered(31))
    alloy.next(too_many_requests(retry_after), too_many_requests(retry_after))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31)


def test_long_retry_after_does_not_exceed_the_timeout_of_once(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: too_many_requests("86400"))
    began = time.monotonic()
    assert installation.run_command("once", "--timeout", "1s", timeout=30).code == 69
    assert time.monotonic() - began < 15


def test_feed_with_errors_delays_no_other_feed(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "v"])
    alloy.api.add_workflow("v")
    alloy.always(lambda request: unavailable() if "/w/" in request.path else None)
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy, "v") > 20)
    assert polls(alloy) < polls(alloy, "v")


def test_responses_without_a_date_are_read(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(lambda _: undated)
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_slow_source_is_read(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    alloy.always(lambda _: delayed(0.7))
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_redirect_does_not_send_the_key_to_another_host(installation: Installation, alloy: FakeAlloy) -> None:
    with FakeAlloy() as elsewhere:
        alloy.always(lambda request: HttpResponse(302, {"Location": elsewhere.url + request.target}))
        assert installation.run_command("once", "--timeout", "1s").code == 69
        assert not [request for request in elsewhere.requests if API_KEY in str(request.headers)]
