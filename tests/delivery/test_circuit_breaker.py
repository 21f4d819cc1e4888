"""The number of requests in flight, after successes and failures."""

import asyncio

import pytest

from forwarder.delivery.circuit_breaker import BACKOFF_SECONDS, CircuitBreaker, FailureType, Permit
from tests.virtual_clock import QuickClock


async def acquire_all(breaker: CircuitBreaker, max_permits: int = 100) -> list[Permit]:
    """Acquire all permits that need no waiting."""
    permits: list[Permit] = []
    while len(permits) < max_permits:
        waiting = asyncio.create_task(breaker.acquire())
        for _ in range(5):
            await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            break
        permits.append(waiting.result())
    return permits


async def acquire_next(breaker: CircuitBreaker, clock: QuickClock) -> tuple[Permit, float]:
    """Acquire the next permit, and return it with the time that took."""
    before = clock.monotonic()
    return await breaker.acquire(), clock.monotonic() - before


async def test_requests_in_flight_never_exceed_concurrency() -> None:
    breaker = CircuitBreaker(4, QuickClock())
    assert len(await acquire_all(breaker)) == 4
    breaker.release()
    assert len(await acquire_all(breaker)) == 1


@pytest.mark.parametrize(
    ("failure_type", "maximum"),
    [(FailureType.OUTAGE, 30), (FailureType.UNREACHABLE, 30), (FailureType.REFUSAL, 60), (FailureType.UNKNOWN, 300)],
)
async def test_failure_sends_one_request_at_a_time_with_backoff(failure_type: FailureType, maximum: float) -> None:
    clock = QuickClock()
    breaker = CircuitBreaker(8, clock)
    waits = []
    permit = await breaker.acquire()
    for _ in range(40):
        backoff = breaker.record_failure(permit, failure_type)
        breaker.release()
        assert await acquire_all(breaker) == []
        permit, waited = await acquire_next(breaker, clock)
        assert waited == pytest.approx(backoff, abs=1e-6)
        assert await acquire_all(breaker) == []
        waits.append(waited)
    assert max(waits) <= maximum
    assert waits[0] <= BACKOFF_SECONDS[failure_type][0]
    assert sum(waits[-20:]) > 20 * maximum / 5 > sum(waits[:3])


async def test_success_raises_concurrency_step_by_step() -> None:
    clock = QuickClock()
    breaker = CircuitBreaker(3, clock)
    breaker.record_failure(await breaker.acquire(), FailureType.OUTAGE)
    breaker.release()
    permit, _ = await acquire_next(breaker, clock)
    for width in (2, 3, 3):
        breaker.record_success(permit)
        breaker.release()
        permits = await acquire_all(breaker)
        assert len(permits) == width
        permit = permits[0]
        for _ in permits[1:]:
            breaker.release()


async def test_concurrent_failures_are_one_backoff_step() -> None:
    breaker = CircuitBreaker(8, QuickClock())
    first, *others = [breaker.record_failure(permit, FailureType.OUTAGE) for permit in await acquire_all(breaker)]
    assert first is not None
    assert others == [None] * 7


async def test_success_of_older_request_keeps_breaker_open() -> None:
    breaker = CircuitBreaker(8, QuickClock())
    first, second = await acquire_all(breaker, 2)
    breaker.record_failure(first, FailureType.UNKNOWN)
    breaker.record_success(second)
    assert breaker.single_entry_mode
    breaker.release()
    breaker.release()
    assert await acquire_all(breaker) == []


@pytest.mark.parametrize("failure_type", [FailureType.OUTAGE, FailureType.REFUSAL, FailureType.UNREACHABLE])
async def test_failure_of_older_request_keeps_single_entry_mode(failure_type: FailureType) -> None:
    breaker = CircuitBreaker(8, QuickClock())
    first, second = await acquire_all(breaker, 2)
    breaker.record_failure(first, FailureType.UNKNOWN)
    breaker.record_failure(second, failure_type)
    assert breaker.single_entry_mode


async def test_throttling_keeps_whole_batches() -> None:
    breaker = CircuitBreaker(8, QuickClock())
    breaker.record_failure(await breaker.acquire(), FailureType.THROTTLED)
    assert not breaker.single_entry_mode


async def test_unknown_of_older_request_sets_single_entry_mode() -> None:
    breaker = CircuitBreaker(8, QuickClock())
    first, second = await acquire_all(breaker, 2)
    breaker.record_failure(first, FailureType.OUTAGE)
    breaker.record_failure(second, FailureType.UNKNOWN)
    assert breaker.single_entry_mode


@pytest.mark.parametrize("failure_type", FailureType)
async def test_single_entry_mode_lasts_until_a_success(failure_type: FailureType) -> None:
    clock = QuickClock()
    breaker = CircuitBreaker(8, clock)
    breaker.record_failure(await breaker.acquire(), FailureType.UNKNOWN)
    breaker.release()
    breaker.record_failure((await acquire_next(breaker, clock))[0], failure_type)
    breaker.release()
    assert breaker.single_entry_mode
    breaker.record_success((await acquire_next(breaker, clock))[0])
    assert not breaker.single_entry_mode


async def test_success_resets_backoff() -> None:
    clock = QuickClock()
    breaker = CircuitBreaker(2, clock)
    for _ in range(12):
        breaker.record_failure((await acquire_next(breaker, clock))[0], FailureType.OUTAGE)
        breaker.release()
    permit, _ = await acquire_next(breaker, clock)
    breaker.record_success(permit)
    assert (breaker.record_failure(permit, FailureType.OUTAGE) or 99) <= BACKOFF_SECONDS[FailureType.OUTAGE][0]


@pytest.mark.parametrize("failure_type", list(FailureType))
async def test_retry_now_ends_a_backoff_for_one_request(failure_type: FailureType) -> None:
    clock = QuickClock()
    breaker = CircuitBreaker(8, clock)
    for _ in range(10):
        breaker.record_failure((await acquire_next(breaker, clock))[0], failure_type)
        breaker.release()
    assert breaker.wait_seconds > 0
    assert await acquire_all(breaker) == []
    breaker.retry_now()
    assert breaker.wait_seconds == 0
    assert len(await acquire_all(breaker)) == 1
