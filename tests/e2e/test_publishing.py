"""Delivery: each entry is settled by its own outcome, and sent again with a log line if the outcome is unknown."""

from __future__ import annotations

import pytest

from tests.e2e.harness import fail, numbered, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.bus_faults import (
    Fault,
    both,
    closed_after,
    cut_off,
    empty,
    entry_codes,
    half_json,
    hang,
    html,
    neither,
    refused,
    reset_after,
    reset_before,
    throttled,
    too_few,
    too_large,
    too_many,
)
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation

pytestmark = pytest.mark.usefixtures("either_client")


def sizes(bus: StrictEventBridge) -> list[int]:
    """Return the number of delivered entries of each request that had a response."""
    return [served.delivered for served in bus.served if served.operation == "PutEvents"]


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "InternalException"])
def test_throttled_entry_is_retried_alone(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, code: str
) -> None:
    fail(alloy, *numbered(10))
    bus.next(entry_codes({3: code}))
    assert installation.run_command("once").code == 0
    assert sizes(bus) == [9, 1]
    assert sent(bus) == numbered(10)


def test_throttled_entry_is_retried_until_it_is_accepted(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    bus.next(*[entry_codes({0: "ThrottlingException"})] * 4)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]
    assert installation.dead_letters() == []


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument", "RedactionFailure"])
def test_permanently_rejected_entry_is_dead_at_once(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, code: str
) -> None:
    """The other entries of the request are sent."""
    fail(alloy, *numbered(10))
    bus.next(entry_codes({4: code}))
    assert installation.run_command("once").code == 1
    (letter,) = installation.dead_letters()
    assert (letter["code"], letter["attempt_count"]) == (code, 1)
    assert sorted([*sent(bus), letter["execution_id"]]) == numbered(10)
    assert sizes(bus) == [9]


def test_unknown_code_is_retried_before_it_is_dead(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """All ten attempts take minutes. This test checks that the first ones do not end the retries."""
    fail(alloy, *numbered(3))
    bus.next(*[entry_codes({0: "BrandNewException"})] * 4)
    assert installation.run_command("once").code == 0
    assert sizes(bus) == [2, 0, 0, 0, 1]
    assert sent(bus) == numbered(3)


@pytest.mark.parametrize("fault", [throttled(), refused(500, "InternalFailure"), refused(503, "ServiceUnavailable")])
def test_temporarily_rejected_request_is_sent_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(10))
    bus.next(fault, fault)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(10)


@pytest.mark.parametrize("fault", [too_large(), refused(400, "ValidationException", "Total size is over the limit")])
def test_too_large_request_is_split(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(10))
    bus.next(fault)
    assert installation.run_command("once").code == 0
    assert sorted(sizes(bus)) == [0, 5, 5]
    assert sent(bus) == numbered(10)


def test_too_large_entry_is_a_dead_letter_and_others_are_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(4))
    fail(alloy, "poison", payload={"text": "x" * 50_000})
    bus.always(lambda request: too_large() if int(request.headers["content-length"]) > 50_000 else None)
    assert installation.run_command("once").code == 1
    assert sent(bus) == numbered(4)
    assert [letter["execution_id"] for letter in installation.dead_letters()] == ["poison"]


def test_requests_are_within_the_limit_in_bytes(installation: Installation, alloy: FakeAlloy) -> None:
    with StrictEventBridge(max_request_bytes=100_000) as small:
        installation.change("destination", endpoint_url=small.url, max_request_bytes=100_000, max_entry_bytes=60_000)
        fail(alloy, *numbered(10), payload={"text": "x" * 30_000})
        assert installation.run_command("once").code == 0
        assert sent(small) == numbered(10)
        assert {served.status for served in small.served} == {200}


LOST: list[Fault] = [
    reset_after(delivered=True),
    closed_after(delivered=True),
    hang(5, delivered=True),
    empty(delivered=True),
    half_json(delivered=True),
    cut_off(delivered=True),
    cut_off(delivered=True, reset=True),
    html(200, delivered=True),
    too_few(delivered=True),
    too_many(delivered=True),
    both(delivered=True),
    neither(delivered=True),
]


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_lost_response_repeats_only_entries_in_flight(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    installation.change("destination", concurrency=1)
    fail(alloy, *numbered(13))
    bus.next(fault)
    done = installation.run_command("once", "--json")
    assert (done.code, done.json()["counters"]["sent"]) == (0, 13)
    assert set(sent(bus)) == set(numbered(13))
    assert len(sent(bus)) <= 13 + 10


def test_lost_response_makes_requests_of_one_entry(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """The next understood response ends this."""
    installation.change("destination", concurrency=4)
    fail(alloy, *numbered(20))
    bus.next(*[empty(delivered=True)] * 2)
    installation.change("destination", concurrency=1)
    assert installation.run_command("once").code == 0
    assert sizes(bus)[1:3] == [1, 1]


@pytest.mark.parametrize(
    "fault", [reset_before(), reset_after(delivered=False), empty(delivered=False), html(504, delivered=False)], ids=str
)
def test_request_that_was_not_delivered_is_sent_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(5))
    bus.next(fault)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(5)


def test_all_faults_together_lose_no_event(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(60))
    bus.next(throttled(), entry_codes({0: "InternalFailure", 9: "MalformedDetail"}), too_large(), empty(delivered=True))
    done = installation.run_command("once", "--json")
    assert done.code == 1, "one entry is a dead letter"
    dead = [letter["execution_id"] for letter in installation.dead_letters()]
    assert {*sent(bus), *dead} == set(numbered(60))
    counters = done.json()["counters"]
    assert counters["recorded"] == counters["sent"] + counters["dead"] == 60


def test_delivery_without_faults_sends_nothing_twice(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with installation.start() as daemon:
        for round_ in range(5):
            fail(alloy, *numbered(20, f"r{round_}-"))
            daemon.wait_until(lambda seen=round_: len(set(sent(bus))) == 20 * (seen + 1))  # type: ignore[misc]
        assert daemon.stop() == 0
    assert len(sent(bus)) == 100
