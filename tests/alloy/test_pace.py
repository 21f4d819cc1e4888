"""One pace for everything that is asked."""

import asyncio

import pytest

from forwarder.alloy.pace import LONGEST_PAUSE, Pace
from forwarder.metrics import Metrics
from tests.clocks import QuickClock
from tests.loops import looped


async def turns(pace: Pace, clock: QuickClock, number: int) -> list[float]:
    """When each of so many that wait at once has its turn."""
    began = clock.monotonic()
    taken: list[float] = []

    async def wait() -> None:
        await pace.turn()
        taken.append(clock.monotonic() - began)

    await asyncio.gather(*(wait() for _ in range(number)))
    return taken


@looped
async def test_turns_are_spaced_evenly_however_many_wait() -> None:
    clock = QuickClock()
    assert await turns(Pace(clock, 20), clock, 10) == pytest.approx([number / 20 for number in range(10)])


@looped
async def test_a_rest_gives_no_credit() -> None:
    clock = QuickClock()
    pace = Pace(clock, 10)
    await pace.turn()
    clock.advance(60)
    assert await turns(pace, clock, 3) == pytest.approx([0, 0.1, 0.2])


@looped
async def test_a_pause_holds_all_also_those_that_wait_already() -> None:
    clock = QuickClock()
    pace = Pace(clock, 10)
    await pace.turn()
    waiting = asyncio.create_task(turns(pace, clock, 3))
    await asyncio.sleep(0)
    assert pace.pause(30) == 30
    assert min(await waiting) >= 30


@looped
async def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = QuickClock()
    pace = Pace(clock, 10)
    pace.pause(30)
    pace.pause(1)
    assert (await turns(pace, clock, 1))[0] >= 30


@pytest.mark.parametrize(
    ("asked", "given"), [(0.5, 0.5), (3600, 3600), (86_400, LONGEST_PAUSE), (1e300, LONGEST_PAUSE)]
)
def test_a_pause_is_as_long_as_was_asked_but_for_absurd_ones(asked: float, given: float) -> None:
    assert Pace(QuickClock(), 10).pause(asked) == given


def test_without_a_time_pauses_grow_until_an_answer_comes() -> None:
    pace = Pace(QuickClock(), 10)
    pauses = [pace.pause(0) for _ in range(200)]
    assert min(pauses) >= 0.5
    assert pauses[0] <= 1
    assert 30 < max(pauses) <= 60
    pace.answered()
    assert pace.pause(0) <= 1


def test_who_are_told_to_wait_together_wait_once_in_the_figures() -> None:
    metrics = Metrics()
    pace = Pace(QuickClock(), 10, metrics)
    for seconds in (5, 5, 3, 7):
        pace.pause(seconds)
    assert b"forwarder_rate_limited_seconds_total 7.0\n" in metrics.text()
