"""The logs API refuses, stalls or breaks off: nothing is skipped, and it goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.e2e.harness import fail, numbered, pages, polls, sent, watermark
from tests.fakes.actions import Hang, HttpResponse, ResetAfter
from tests.fakes.alloy import (
    API_KEY,
    FakeAlloy,
    Fault,
    broken_gzip,
    cut,
    cut_gzip,
    delayed,
    forbidden,
    http_date,
    too_many_requests,
    unauthorized,
    unavailable,
    undated,
    wrong_length,
)
from tests.fakes.eventbridge import StrictEventBridge
from tests.fakes.wire import Request, utc_now
from tests.harness.installation import Installation
from tests.harness.process import never


def test_a_forbidden_request_exits_77_too(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: forbidden())
    assert installation.run_command("once").code == 77


@pytest.mark.parametrize("refusal", [unauthorized, forbidden])
def test_a_refused_key_fails_the_intake_and_mends_by_itself(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, refusal: Callable[[], HttpResponse]
) -> None:
    alloy.always(lambda _: refusal())
    fail(alloy, "a")
    with installation.start() as daemon:
        daemon.wait_for_log('"source"', "FAILED")
        alloy.clear()
        daemon.wait_until(lambda: sent(bus) == ["a"])
        assert daemon.stop() == 0


def test_a_refused_key_is_not_asked_with_again_and_again(installation: Installation, alloy: FakeAlloy) -> None:
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


def test_a_404_on_one_noun_tries_the_other_and_remembers(
    installation: Installation, plural: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", base_url=plural.url)
    fail(plural, *numbered(31))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31)
    assert [request.path.split("/")[2] for request in plural.requests] == ["workflow", *["workflows"] * 3]


def test_a_workflow_that_neither_noun_knows_is_reported_and_the_rest_go_on(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=["gone", "w"])
    fail(alloy, "a")
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (69, ["a"])
    assert "gone" in done.err.split("error: ", 1)[1]
    assert polls(alloy, "gone") == 2


def test_a_workflow_that_vanishes_and_comes_back_loses_nothing_and_holds_up_nobody(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
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
def test_a_clock_of_the_api_that_is_hours_off_loses_and_doubles_nothing(
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
    """Seconds between a request and the one before it."""
    return (alloy.requests[number].at - alloy.requests[number - 1].at).total_seconds()


def test_retry_after_in_seconds_is_waited(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(40))
    alloy.next(too_many_requests("1"))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(40)
    assert gap(alloy, 1) >= 1


def test_retry_after_as_a_date_is_waited(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(40))
    alloy.always(
        lambda request: too_many_requests(http_date(request.at + timedelta(seconds=3))) if request.index < 1 else None
    )
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(40)
    assert gap(alloy, 1) >= 1, "a date has whole seconds: 2 to 3 of them, less what the API's clock has moved"


def test_a_throttled_feed_slows_the_whole_client(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "v", "u"], concurrency=1)
    for workflow in "wvu":
        fail(alloy, workflow, workflow=workflow)
    alloy.next(too_many_requests("1"))
    installation.run_command("once")
    later = [request.at for request in alloy.requests[1:]]
    assert (min(later) - alloy.requests[0].at).total_seconds() >= 1


@pytest.mark.parametrize("told", ["soon", "-3", None])
def test_a_retry_after_that_says_nothing_is_backed_off_from(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, told: str | None
) -> None:
    fail(alloy, *numbered(31))
    alloy.next(too_many_requests(told), too_many_requests(told))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31)


def test_a_very_long_retry_after_does_not_hold_a_once_for_ever(installation: Installation, alloy: FakeAlloy) -> None:
    alloy.always(lambda _: too_many_requests("86400"))
    began = time.monotonic()
    assert installation.run_command("once", "--timeout", "1s", timeout=30).code == 69
    assert time.monotonic() - began < 15


BROKEN: dict[str, Fault] = {
    "500": unavailable(500),
    "502": unavailable(502),
    "503 with Retry-After": unavailable(503, "0"),
    "504": unavailable(504),
    "reset": ResetAfter(),
    "closed": Hang(0),
    "timeout": Hang(30),
    "reset mid-body": cut(200, reset=True),
    "closed mid-body": cut(200),
    "too long a Content-Length": wrong_length(10),
    "broken gzip": broken_gzip,
    "half a gzip": cut_gzip,
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeAlloy, list[str]]]:
    """One pass over a workflow for each fault, which strikes its second page, once; and what was sent."""
    with FakeAlloy() as alloy, StrictEventBridge() as bus:
        installation = Installation(tmp_path_factory.mktemp("broken"), alloy=alloy.url, bus=bus.url)
        installation.create_vault()
        workflows = {fault.replace(" ", "-"): fault for fault in BROKEN}
        installation.change("source", workflows=[*workflows], timeout="1s", concurrency=20)
        installation.change("event", payload="none")
        for workflow in workflows:
            fail(alloy, *numbered(61, f"{workflow} "), workflow=workflow)

        def once_on_page_1(request: Request) -> Fault | None:
            workflow = request.path.split("/")[-2]
            first = request.query["page"] == "1" and len(pages(alloy, workflow)) == 2
            return BROKEN[workflows[workflow]] if first else None

        alloy.always(once_on_page_1)
        done = installation.run_command("once")
        assert done.code == 0, done.err
        yield alloy, sent(bus)


@pytest.mark.parametrize("fault", BROKEN)
def test_a_page_that_breaks_once_is_asked_for_again_and_nothing_is_skipped(
    broken: tuple[FakeAlloy, list[str]], fault: str
) -> None:
    alloy, ids = broken
    workflow = fault.replace(" ", "-")
    assert [query["page"] for query in pages(alloy, workflow)] == ["0", "1", "1", "2", "3"]
    assert [id_ for id_ in ids if id_.startswith(f"{workflow} ")] == numbered(61, f"{workflow} ")


def test_a_page_that_stays_broken_leaves_the_watermark_and_keeps_what_was_recorded(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(70))
    alloy.always(lambda request: unavailable() if request.query.get("page") == "1" else None)
    assert installation.run_command("once", "--timeout", "1s").code == 69
    assert sent(bus) == numbered(70)[40:]
    assert watermark(installation) is None
    alloy.clear()
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(70)
    assert watermark(installation) is not None


def test_a_feed_with_errors_slows_only_itself(installation: Installation, alloy: FakeAlloy) -> None:
    installation.change("source", workflows=["w", "v"])
    alloy.api.add_workflow("v")
    alloy.always(lambda request: unavailable() if "/w/" in request.path else None)
    with installation.start() as daemon:
        daemon.wait_until(lambda: polls(alloy, "v") > 20)
    assert polls(alloy) < polls(alloy, "v")


def test_answers_without_a_date_are_read_all_the_same(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(lambda _: undated)
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_a_source_that_is_slow_but_alive_is_waited_for(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.always(lambda _: delayed(0.7))
    fail(alloy, "a")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_a_redirect_does_not_carry_the_key_elsewhere(installation: Installation, alloy: FakeAlloy) -> None:
    with FakeAlloy() as elsewhere:
        alloy.always(lambda request: HttpResponse(302, {"Location": elsewhere.url + request.target}))
        assert installation.run_command("once", "--timeout", "1s").code == 69
        assert not [request for request in elsewhere.requests if API_KEY in str(request.headers)]
