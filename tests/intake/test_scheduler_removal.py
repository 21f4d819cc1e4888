"""A feed that is no longer watched is polled a last time, and then never again."""

import asyncio

import pytest

from tests.intake.scheduler_harness import QUIET, A, B, create_scheduler, is_nothing_due, wait_for_next


@pytest.mark.parametrize("was_read", [True, False])
async def test_removed_feed_is_polled_once_more_at_once(was_read: bool) -> None:
    scheduler, clock = create_scheduler(A, B)
    if was_read:
        for _ in range(2):
            scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([B])
    assert (scheduler.feeds, len(scheduler), A in scheduler) == ([B], 1, False)
    last, waited_seconds = await wait_for_next(scheduler, clock)
    if not was_read:  # B is due as well, and was due earlier
        assert (last, scheduler.record_success(last, QUIET, 1) is None) == (B, False)
        last, waited_seconds = await wait_for_next(scheduler, clock)
    assert (last, waited_seconds) == (A, 0)
    assert scheduler.record_success(A, QUIET, 1) is None
    assert await scheduler.claim_next() == B
    assert await is_nothing_due(scheduler)


async def test_feed_removed_during_a_poll_is_polled_once_more() -> None:
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    assert await scheduler.claim_next() == A
    scheduler.watch([])
    assert scheduler.record_success(A, QUIET, 1) is not None
    assert (await wait_for_next(scheduler, clock))[0] == A
    assert scheduler.record_success(A, QUIET, 1) is None
    assert await is_nothing_due(scheduler)


async def test_failing_last_poll_is_retried_until_next_discovery() -> None:
    scheduler, _ = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([])
    for _ in range(3):
        assert await scheduler.claim_next() == A
        assert scheduler.record_failure(A) is not None
    scheduler.watch([])
    assert await is_nothing_due(scheduler)


async def test_permanent_error_ends_the_last_poll() -> None:
    scheduler, _ = create_scheduler(A)
    scheduler.watch([])
    assert await scheduler.claim_next() == A
    assert scheduler.record_failure(A, is_permanent=True) is None
    assert await is_nothing_due(scheduler)


async def test_removed_feed_that_always_failed_has_a_last_poll() -> None:
    scheduler, clock = create_scheduler(A)
    for _ in range(6):
        scheduler.record_failure(await scheduler.claim_next())
    scheduler.watch([])
    scheduler.watch([])
    assert await wait_for_next(scheduler, clock) == (A, 0)


async def test_trigger_does_not_keep_a_removed_feed() -> None:
    scheduler, _ = create_scheduler(A)
    scheduler.watch([])
    assert await scheduler.claim_next() == A
    assert scheduler.trigger("a") == [A]
    assert scheduler.record_success(A, QUIET, 1) is None
    assert await is_nothing_due(scheduler)


async def test_waiting_last_poll_survives_another_discovery() -> None:
    scheduler, _ = create_scheduler(A, B, concurrency=1)
    for _ in range(2):
        scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    first = await scheduler.claim_next()
    scheduler.watch([])
    scheduler.watch([])
    assert scheduler.record_success(first, QUIET, 1) is not None
    assert {first, await scheduler.claim_next()} == {A, B}


async def test_feed_added_back_before_its_last_poll_is_kept() -> None:
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([])
    scheduler.watch([A])
    assert scheduler.feeds == [A]
    assert await wait_for_next(scheduler, clock) == (A, 0)
    assert scheduler.record_success(A, QUIET, 1) is not None


async def test_feed_removed_and_added_during_a_poll_has_one_reader() -> None:
    scheduler, _ = create_scheduler(A)
    await scheduler.claim_next()
    scheduler.watch([])
    scheduler.watch([A])
    assert await is_nothing_due(scheduler)
    scheduler.record_success(A, QUIET, 1)
    assert scheduler.feeds == [A]
    assert not await is_nothing_due(scheduler) or scheduler.trigger("a") == [A]


async def test_end_of_last_poll_at_full_concurrency_wakes_next_feed() -> None:
    scheduler, clock = create_scheduler(A, concurrency=1)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([B])
    assert await scheduler.claim_next() == A
    waiting = asyncio.create_task(scheduler.claim_next())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    before = clock.monotonic()
    assert scheduler.record_success(A, QUIET, 1) is None
    assert await waiting == B
    assert clock.monotonic() == before
