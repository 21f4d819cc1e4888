"""Deduplication: one failed execution is one event, however often and wherever it is listed."""

from __future__ import annotations

from itertools import count

import pytest

from forwarder.demo.sample_data import BLOCK_IDS, FAILURES, VARIANTS, Failure, Variant, execution, product_page_record
from tests.e2e.harness import detail, fail, numbered, pages, polls, sent
from tests.fakes.alloy import FakeAlloy, out_of_order, repeating, shifting, short
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.long


def test_pages_that_shift_lose_and_repeat_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    numbers = count()
    fail(alloy, *numbered(70))
    newer = lambda: execution("unfinished", id=f"new{next(numbers):03}", started=alloy.api.now())  # noqa: E731
    alloy.always(shifting(alloy.api, "w", newer, times=7))
    assert installation.run_command("once").code == 0
    alloy.clear()
    assert installation.run_command("once").code == 0
    assert set(sent(bus)) == alloy.api.listed_ids
    assert len(sent(bus)) == len(alloy.api.listed_ids) > 70


def test_same_id_in_two_workflows_is_one_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", workflows=["w", "v"])
    fail(alloy, "both", "ours")
    fail(alloy, "both", "theirs", workflow="v")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["both", "ours", "theirs"]


def test_same_id_after_a_restart_is_one_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(5))
    for _ in range(2):
        polls_before = polls(alloy)
        with installation.start() as daemon:
            daemon.wait_until(lambda before=polls_before: polls(alloy) > before + 4 and len(bus.delivered) >= 5)  # type: ignore[misc]
            assert daemon.stop() == 0
    assert sent(bus) == numbered(5)


def test_same_id_twice_on_a_page_is_one_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a", "a", "b")
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a", "b"]


def test_api_that_repeats_its_first_page_ends_the_scan(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(40))
    alloy.always(repeating(alloy))
    installation.run_command("once", "--timeout", "20s")
    assert sent(bus) == numbered(40)[10:]
    assert polls(alloy) < 10


def test_short_pages_are_read_to_the_end(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(20))
    alloy.always(short(alloy, 3))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(20)


def test_page_out_of_order_loses_nothing(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(45))
    alloy.always(lambda _: out_of_order(7))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(45)


def test_pages_that_count_from_1_are_read_from_1(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.page_base = 1
    fail(alloy, *numbered(31))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(31)
    assert [query["page"] for query in pages(alloy)][:2] == ["0", "1"]


def test_identical_pages_0_and_1_lose_nothing(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(70))
    alloy.always(lambda request: alloy.answer(request, page=str(max(0, int(request.query["page"]) - 1))))
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(70)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_sign_of_failure_is_detected_in_each_variant(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, variant: Variant
) -> None:
    signs: dict[Failure, str] = {sign: f"{variant} {sign}" for sign in FAILURES}
    for sign, id_ in signs.items():
        fail(alloy, id_, outcome=sign, variant=variant)
    fail(alloy, "fine", outcome="success", variant=variant)
    fail(alloy, "at work", outcome="running", variant=variant)
    assert installation.run_command("once").code == 0
    assert sent(bus) == sorted(signs.values())


def test_sample_of_the_product_page_is_a_success(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    alloy.api.add("w", {"startedAt": "2022-10-04T01:12:40.406Z", "status": "success"}, raw=product_page_record())
    assert installation.run_command("once").code == 0
    assert (polls(alloy), sent(bus)) == (2, [])


def test_block_error_of_a_successful_workflow_is_no_failure(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    record = execution("failed-block", id="handled", started=alloy.api.now()) | {"status": "success"}
    alloy.api.add("w", record)
    assert installation.run_command("once").code == 0
    assert sent(bus) == []


@pytest.mark.parametrize(("unknown_status", "expected"), [("forward", ["odd"]), ("ignore", [])])
def test_unknown_status_is_handled_as_configured(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, unknown_status: str, expected: list[str]
) -> None:
    installation.change("source", unknown_status=unknown_status)
    moment = alloy.api.now().isoformat()
    record = {"executionId": "odd", "startedAt": moment, "stoppedAt": moment, "status": "aborted-by-gnomes"}
    alloy.api.add("w", record)
    done = installation.run_command("once")
    assert (done.code, sent(bus)) == (0, expected)
    assert "aborted-by-gnomes" in done.err


def test_configured_statuses_decide_what_is_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("source", failure_statuses=["kaputt"], success_statuses=["FAILED"])
    for id_, status in (("a", "KAPUTT"), ("b", "failed")):
        alloy.api.add("w", execution("failed-status", id=id_, started=alloy.api.now()) | {"status": status})
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]


def test_event_has_the_error_message(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, "a", outcome="failed-error-object")
    installation.run_command("once")
    error = detail(bus, "a")["error"]
    assert error["message"].startswith("Request failed with status code 422")
    assert (error["name"], error["code"]) == ("AxiosError", "ERR_BAD_REQUEST")
    assert "settle.js" in error["stack"]


@pytest.mark.parametrize("outcome", ["failed-block", "failed-error-object"])
def test_event_names_the_failed_block(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, outcome: Failure
) -> None:
    fail(alloy, "a", outcome=outcome)
    installation.run_command("once")
    assert detail(bus, "a")["error"].get("blockId") == BLOCK_IDS[1]


def test_event_time_is_when_the_execution_stopped(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    stopped = alloy.api.now()
    fail(alloy, "a", ago=90, stopped=stopped)
    installation.run_command("once")
    (event,) = bus.delivered
    assert event.entry["Time"] == int(stopped.timestamp())  # EventBridge keeps whole seconds; the detail has the rest
    assert 89_000 < event.detail["durationMs"] < 91_000
