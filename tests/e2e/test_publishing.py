"""Each entry is settled by its own outcome; what is not known is sent again, and said to be so."""

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
    """How many entries each request that was answered delivered."""
    return [served.delivered for served in bus.served if served.operation == "PutEvents"]


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "InternalException"])
def test_a_throttled_entry_is_retried_without_its_neighbours(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, code: str
) -> None:
    fail(alloy, *numbered(10))
    bus.next(entry_codes({3: code}))
    assert installation.run_command("once").code == 0
    assert sizes(bus) == [9, 1]
    assert sent(bus) == numbered(10)


def test_a_throttled_entry_is_retried_for_as_long_as_it_takes(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, "a")
    bus.next(*[entry_codes({0: "ThrottlingException"})] * 4)
    assert installation.run_command("once").code == 0
    assert sent(bus) == ["a"]
    assert installation.dead_letters() == []


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument", "RedactionFailure"])
def test_an_entry_refused_for_good_is_dead_at_once_with_its_neighbours_unaffected(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, code: str
) -> None:
    fail(alloy, *numbered(10))
    bus.next(entry_codes({4: code}))
    assert installation.run_command("once").code == 0
    (letter,) = installation.dead_letters()
    assert (letter["code"], letter["attempt_count"]) == (code, 1)
    assert sorted([*sent(bus), letter["execution_id"]]) == numbered(10)
    assert sizes(bus) == [9]


def test_an_unknown_code_is_tried_again_and_again_before_it_is_given_up(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    """All of its ten attempts take minutes: here it only must not be given up early."""
    fail(alloy, *numbered(3))
    bus.next(*[entry_codes({0: "BrandNewException"})] * 4)
    assert installation.run_command("once").code == 0
    assert sizes(bus) == [2, 0, 0, 0, 1]
    assert sent(bus) == numbered(3)


@pytest.mark.parametrize("fault", [throttled(), refused(500, "InternalFailure"), refused(503, "ServiceUnavailable")])
def test_a_request_refused_whole_for_a_while_is_sent_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(10))
    bus.next(fault, fault)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(10)


@pytest.mark.parametrize("fault", [too_large(), refused(400, "ValidationException", "Total size is over the limit")])
def test_a_request_that_is_too_large_is_halved(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(10))
    bus.next(fault)
    assert installation.run_command("once").code == 0
    assert sorted(sizes(bus)) == [0, 5, 5]
    assert sent(bus) == numbered(10)


def test_an_entry_that_is_too_large_alone_is_a_dead_letter_and_the_others_are_sent(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    fail(alloy, *numbered(4))
    fail(alloy, "poison", payload={"text": "x" * 50_000})
    bus.always(lambda request: too_large() if int(request.headers["content-length"]) > 50_000 else None)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(4)
    assert [letter["execution_id"] for letter in installation.dead_letters()] == ["poison"]


def test_requests_keep_to_the_limit_in_bytes(installation: Installation, alloy: FakeAlloy) -> None:
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
def test_after_a_lost_reply_no_more_than_the_entries_in_flight_are_sent_twice(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    installation.change("destination", concurrency=1, timeout="500ms")
    fail(alloy, *numbered(13))
    bus.next(fault)
    done = installation.run_command("once", "--json")
    assert (done.code, done.json()["counters"]["sent"]) == (0, 13)
    assert set(sent(bus)) == set(numbered(13))
    assert len(sent(bus)) <= 13 + 10


def test_after_a_lost_reply_entries_go_one_at_a_time_until_an_answer_is_understood(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.change("destination", concurrency=4)
    fail(alloy, *numbered(20))
    bus.next(*[empty(delivered=True)] * 2)
    installation.change("destination", concurrency=1)
    assert installation.run_command("once").code == 0
    assert sizes(bus)[1:3] == [1, 1]


@pytest.mark.parametrize(
    "fault", [reset_before(), reset_after(delivered=False), empty(delivered=False), html(504, delivered=False)], ids=str
)
def test_a_request_that_never_arrived_is_sent_again(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, fault: Fault
) -> None:
    fail(alloy, *numbered(5))
    bus.next(fault)
    assert installation.run_command("once").code == 0
    assert sent(bus) == numbered(5)


def test_all_at_once_nothing_is_lost(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fail(alloy, *numbered(60))
    bus.next(throttled(), entry_codes({0: "InternalFailure", 9: "MalformedDetail"}), too_large(), empty(delivered=True))
    done = installation.run_command("once", "--json")
    assert done.code == 0
    dead = [letter["execution_id"] for letter in installation.dead_letters()]
    assert {*sent(bus), *dead} == set(numbered(60))
    books = done.json()["counters"]
    assert books["recorded"] == books["sent"] + books["dead"] == 60


def test_normal_running_sends_nothing_twice(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    with installation.start() as daemon:
        for round_ in range(5):
            fail(alloy, *numbered(20, f"r{round_}-"))
            daemon.wait_until(lambda seen=round_: len(set(sent(bus))) == 20 * (seen + 1))  # type: ignore[misc]
        assert daemon.stop() == 0
    assert len(sent(bus)) == 100
