"""The throttle of the requests to the logs API: even spacing, and pauses."""

import asyncio

import pytest

from forwarder.alloy.http_client import MAX_PAUSE_SECONDS, RequestThrottle
from forwarder.metrics import Metrics
from tests.virtual_clock import QuickClock


async def acquired_at(throttle: RequestThrottle, clock: QuickClock, number: int) -> list[float]:
    """Return the times at which `number` tasks that wait together may send their requests."""
    started = clock.monotonic()
    times: list[float] = []

    async def wait() -> None:
        await throttle.acquire()
        times.append(clock.monotonic() - started)

    await asyncio.gather(*(wait() for _ in range(number)))
    return times


async def test_requests_are_spaced_evenly() -> None:
    clock = QuickClock()
    assert await acquired_at(RequestThrottle(clock, 20), clock, 10) == pytest.approx(
        [number / 20 for number in range(10)]
    )


async def test_part_of_a_limit_that_processes_share_spaces_requests() -> None:
    """A process joins: this one has half of the limit from then on."""
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    assert await acquired_at(throttle, clock, 3) == pytest.approx([0, 0.1, 0.2])
    throttle.limit(5)
    clock.advance(1)
    assert await acquired_at(throttle, clock, 3) == pytest.approx([0, 0.2, 0.4])


async def test_idle_time_allows_no_burst() -> None:
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    await throttle.acquire()
    clock.advance(60)
    assert await acquired_at(throttle, clock, 3) == pytest.approx([0, 0.1, 0.2])


async def test_pause_moves_requests_that_wait_already() -> None:
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    await throttle.acquire()
    waiting = asyncio.create_task(acquired_at(throttle, clock, 3))
    await asyncio.sleep(0)
    assert throttle.pause(30) == 30
    assert min(await waiting) >= 30


async def test_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    throttle.pause(30)
    throttle.pause(1)
    assert (await acquired_at(throttle, clock, 1))[0] >= 30


@pytest.mark.parametrize(
    ("requested", "applied"), [(0.5, 0.5), (3600, 3600), (86_400, MAX_PAUSE_SECONDS), (1e300, MAX_PAUSE_SECONDS)]
)
def test_pause_is_as_long_as_requested_up_to_an_hour(requested: float, applied: float) -> None:
    assert RequestThrottle(QuickClock(), 10).pause(requested) == applied


def test_pauses_without_a_time_grow_until_a_success() -> None:
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    pauses = []
    for _ in range(200):
        pauses.append(throttle.pause(0))
        clock.advance(pauses[-1] + 1)
    assert min(pauses) >= 0.5
    assert pauses[0] <= 1
    assert 30 < max(pauses) <= 60
    throttle.record_success()
    assert throttle.pause(0) <= 1


def test_refusals_of_requests_in_flight_are_one_step() -> None:
    """Eight requests that are refused together must not lead to the eighth, which may take a minute."""
    clock = QuickClock()
    throttle = RequestThrottle(clock, 10)
    for _ in range(8):
        throttle.pause(0)
    assert throttle.pause_seconds <= 1
    clock.advance(1)
    throttle.pause(0)
    assert throttle.pause_seconds <= 2


def test_overlapping_pauses_are_counted_once() -> None:
    metrics = Metrics()
    throttle = RequestThrottle(QuickClock(), 10, metrics)
    for seconds in (5, 5, 3, 7):
        throttle.pause(seconds)
    assert b"forwarder_rate_limited_seconds_total 7.0\n" in metrics.render()
