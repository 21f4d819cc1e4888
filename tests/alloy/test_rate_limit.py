"""One pace for everything that is asked."""

import asyncio

import pytest

from forwarder.alloy.rate_limit import MAX_PAUSE_SECONDS, RateLimiter
from forwarder.metrics import Metrics
from tests.virtual_clock import QuickClock


async def acquired_at(rate_limiter: RateLimiter, clock: QuickClock, number: int) -> list[float]:
    """When each of so many that wait at once has its turn."""
    started = clock.monotonic()
    times: list[float] = []

    async def wait() -> None:
        await rate_limiter.acquire()
        times.append(clock.monotonic() - started)

    await asyncio.gather(*(wait() for _ in range(number)))
    return times


async def test_turns_are_spaced_evenly_however_many_wait() -> None:
    clock = QuickClock()
    assert await acquired_at(RateLimiter(clock, 20), clock, 10) == pytest.approx([number / 20 for number in range(10)])


async def test_a_rest_gives_no_credit() -> None:
    clock = QuickClock()
    rate_limiter = RateLimiter(clock, 10)
    await rate_limiter.acquire()
    clock.advance(60)
    assert await acquired_at(rate_limiter, clock, 3) == pytest.approx([0, 0.1, 0.2])


async def test_a_pause_holds_all_also_those_that_wait_already() -> None:
    clock = QuickClock()
    rate_limiter = RateLimiter(clock, 10)
    await rate_limiter.acquire()
    waiting = asyncio.create_task(acquired_at(rate_limiter, clock, 3))
    await asyncio.sleep(0)
    assert rate_limiter.pause(30) == 30
    assert min(await waiting) >= 30


async def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = QuickClock()
    rate_limiter = RateLimiter(clock, 10)
    rate_limiter.pause(30)
    rate_limiter.pause(1)
    assert (await acquired_at(rate_limiter, clock, 1))[0] >= 30


@pytest.mark.parametrize(
    ("requested", "applied"), [(0.5, 0.5), (3600, 3600), (86_400, MAX_PAUSE_SECONDS), (1e300, MAX_PAUSE_SECONDS)]
)
def test_a_pause_is_as_long_as_was_asked_but_for_absurd_ones(requested: float, applied: float) -> None:
    assert RateLimiter(QuickClock(), 10).pause(requested) == applied


def test_without_a_time_pauses_grow_until_an_answer_comes() -> None:
    rate_limiter = RateLimiter(QuickClock(), 10)
    pauses = [rate_limiter.pause(0) for _ in range(200)]
    assert min(pauses) >= 0.5
    assert pauses[0] <= 1
    assert 30 < max(pauses) <= 60
    rate_limiter.record_success()
    assert rate_limiter.pause(0) <= 1


def test_who_are_told_to_wait_together_wait_once_in_the_figures() -> None:
    metrics = Metrics()
    rate_limiter = RateLimiter(QuickClock(), 10, metrics)
    for seconds in (5, 5, 3, 7):
        rate_limiter.pause(seconds)
    assert b"forwarder_rate_limited_seconds_total 7.0\n" in metrics.render()
