"""Triggers: a feed is polled at once, within a share of the requests."""

import asyncio

import pytest

from forwarder.intake.trigger_limit import MAX_TRIGGER_BURST, MIN_TRIGGER_INTERVAL_SECONDS, TRIGGERED_REQUEST_SHARE
from forwarder.model import Feed
from tests.factories import some_settings
from tests.intake.scheduler_harness import (
    MAX_INTERVAL_SECONDS,
    MIN_INTERVAL_SECONDS,
    QUIET,
    A,
    B,
    create_scheduler,
    is_nothing_due,
    wait_for_next,
)


async def test_trigger_makes_every_feed_of_the_workflow_due() -> None:
    scheduler, clock = create_scheduler(A, Feed("a", "u"), B)
    for _ in range(3):
        scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    clock.advance(MIN_TRIGGER_INTERVAL_SECONDS)
    assert scheduler.trigger("a") == [A, Feed("a", "u")]
    assert scheduler.trigger("unknown") == []
    triggered = [await wait_for_next(scheduler, clock) for _ in range(2)]
    assert triggered == [(A, 0), (Feed("a", "u"), 0)]
    assert await is_nothing_due(scheduler)


async def test_trigger_during_a_poll_causes_another_poll() -> None:
    scheduler, clock = create_scheduler(A)
    await scheduler.claim_next()
    clock.advance(MIN_TRIGGER_INTERVAL_SECONDS)
    scheduler.trigger("a")
    scheduler.trigger("a")
    assert await is_nothing_due(scheduler)
    assert scheduler.record_success(A, QUIET, 1) == 0
    assert await wait_for_next(scheduler, clock) == (A, 0)
    assert (scheduler.record_success(A, QUIET, 1) or 0) >= MIN_INTERVAL_SECONDS


async def test_trigger_wakes_a_waiting_reader() -> None:
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    waiting = asyncio.create_task(wait_for_next(scheduler, clock))
    await asyncio.sleep(0)
    scheduler.trigger("a")
    feed, wait = await waiting
    assert feed == A
    assert wait < MIN_INTERVAL_SECONDS


async def test_trigger_polls_a_feed_of_another_process_once() -> None:
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([A], elsewhere=[B])
    assert scheduler.trigger("b") == [B]
    assert await wait_for_next(scheduler, clock) == (B, 0)
    assert scheduler.record_success(B, QUIET, 1) is None
    assert (scheduler.has_removed(B), scheduler.feeds) == (True, [A])
    assert scheduler.trigger("b") == [B]
    assert (await wait_for_next(scheduler, clock))[0] == B


async def test_trigger_for_a_user_skips_feeds_of_other_users() -> None:
    scheduler, _ = create_scheduler(A, Feed("a", "u"), Feed("a", "v"))
    assert scheduler.trigger("a", "u") == [A, Feed("a", "u")]


async def test_constantly_triggered_feed_is_polled_once_a_second() -> None:
    scheduler, clock = create_scheduler(A)
    waits = []
    for _ in range(5):
        feed, wait = await wait_for_next(scheduler, clock)
        waits.append(wait)
        scheduler.trigger("a")
        scheduler.record_success(feed, QUIET, 1)
        scheduler.trigger("a")
    assert waits == [0, *[MIN_TRIGGER_INTERVAL_SECONDS] * 4]


async def test_triggers_take_at_most_half_of_the_requests() -> None:
    many = [Feed("a", f"user-{number}") for number in range(100)]
    scheduler, clock = create_scheduler(*many, concurrency=30)
    for _ in many:
        scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    clock.advance(MIN_TRIGGER_INTERVAL_SECONDS)
    started = clock.monotonic()
    scheduler.trigger("a")
    claimed_at: list[float] = []
    while len(claimed_at) < 30:
        await scheduler.claim_next()
        claimed_at.append(clock.monotonic() - started)
    gap = 1 / (some_settings().source.requests_per_second * TRIGGERED_REQUEST_SHARE)
    assert claimed_at == pytest.approx([max(0.0, (number - MAX_TRIGGER_BURST + 1) * gap) for number in range(30)])


async def test_triggers_delay_no_other_feed() -> None:
    scheduler, clock = create_scheduler(A, B)
    polled: list[Feed] = []
    while clock.monotonic() < 1000 + 2 * MAX_INTERVAL_SECONDS:
        feed, _ = await wait_for_next(scheduler, clock)
        polled.append(feed)
        scheduler.trigger("a")
        scheduler.record_success(feed, QUIET, 1)
    alone, quiet = create_scheduler(B)
    undisturbed = 0
    while quiet.monotonic() < 1000 + 2 * MAX_INTERVAL_SECONDS:
        await wait_for_next(alone, quiet)
        alone.record_success(B, QUIET, 1)
        undisturbed += 1
    assert polled.count(B) >= undisturbed - 1


async def test_trigger_does_not_shorten_the_backoff_of_a_feed() -> None:
    scheduler, clock = create_scheduler(A)
    wait = scheduler.record_failure(await scheduler.claim_next())
    scheduler.trigger("a")
    assert (await wait_for_next(scheduler, clock))[1] == pytest.approx(wait)
    scheduler.trigger("a")
    second_wait = scheduler.record_failure(A)
    assert (await wait_for_next(scheduler, clock))[1] == pytest.approx(second_wait)
