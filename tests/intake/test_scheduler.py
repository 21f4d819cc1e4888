"""The time at which each feed is polled next."""

import asyncio

import pytest

from forwarder.intake.scheduler import (
    MAX_TRIGGER_BURST,
    MIN_TRIGGER_INTERVAL_SECONDS,
    TRIGGERED_REQUEST_SHARE,
    Scheduler,
)
from forwarder.model import Feed
from tests.factories import some_settings
from tests.intake.scheduler_harness import (
    MAX_INTERVAL_SECONDS,
    MIN_INTERVAL_SECONDS,
    A,
    B,
    C,
    create_scheduler,
    is_nothing_due,
    wait_for_next,
)
from tests.virtual_clock import QuickClock


async def intervals(scheduler: Scheduler, clock: QuickClock, arrivals: list[int]) -> list[float]:
    """Return the wait before each poll. The polls find these numbers of new executions."""
    waits = []
    for new in arrivals:
        feed, wait = await wait_for_next(scheduler, clock)
        waits.append(wait)
        scheduler.record_success(feed, new)
    return waits


async def test_new_feeds_are_due_at_once_and_claimed_once() -> None:
    scheduler, clock = create_scheduler(A, B, C, A)
    assert [(await wait_for_next(scheduler, clock)) for _ in range(3)] == [(A, 0), (B, 0), (C, 0)]
    assert await is_nothing_due(scheduler)


async def test_concurrent_polls_are_limited_by_concurrency_setting() -> None:
    scheduler, clock = create_scheduler(A, B, C, concurrency=2)
    assert [await scheduler.claim_next() for _ in range(2)] == [A, B]
    assert await is_nothing_due(scheduler)
    waiting = asyncio.create_task(wait_for_next(scheduler, clock))
    await asyncio.sleep(0)
    scheduler.record_success(B, 0)
    assert await waiting == (C, 0)


async def test_quiet_feed_is_polled_at_growing_intervals() -> None:
    scheduler, clock = create_scheduler(A)
    waits = await intervals(scheduler, clock, [0] * 20)
    assert waits[1] <= 2 * MIN_INTERVAL_SECONDS
    assert min(waits[1:]) >= MIN_INTERVAL_SECONDS
    assert max(waits) <= MAX_INTERVAL_SECONDS
    assert min(waits[-5:]) >= 0.8 * MAX_INTERVAL_SECONDS - 1e-6


async def test_busy_feed_is_polled_so_often_that_one_page_suffices() -> None:
    scheduler, clock = create_scheduler(A)
    await intervals(scheduler, clock, [0] * 20)
    rate = 0.5  # executions a second: a page of 30 in a minute
    arrivals = rate * 100
    waits = []
    for _ in range(20):
        feed, wait = await wait_for_next(scheduler, clock)
        waits.append(wait)
        scheduler.record_success(feed, round(rate * wait) if waits[1:] else round(arrivals))
    assert max(wait * rate for wait in waits[5:]) <= 30
    assert min(waits[5:]) >= MIN_INTERVAL_SECONDS


async def test_busiest_feed_is_polled_at_the_minimum_interval() -> None:
    scheduler, clock = create_scheduler(A)
    waits = await intervals(scheduler, clock, [10_000] * 10)
    assert min(waits[1:]) >= MIN_INTERVAL_SECONDS - 1e-6
    assert max(waits[3:]) <= 2 * MIN_INTERVAL_SECONDS


async def test_polls_of_feeds_started_together_spread() -> None:
    scheduler, clock = create_scheduler(*(Feed(f"w-{number}") for number in range(20)))
    due = []
    for _ in range(200):
        feed, _ = await wait_for_next(scheduler, clock)
        due.append(clock.monotonic())
        scheduler.record_success(feed, 0)
    assert len(set(due[-20:])) == 20


async def test_failing_feed_backs_off_alone_and_recovers_at_once() -> None:
    scheduler, clock = create_scheduler(A, B)
    times: dict[Feed, list[float]] = {A: [], B: []}
    while len(times[A]) < 8:
        feed, _ = await wait_for_next(scheduler, clock)
        times[feed].append(clock.monotonic())
        if feed == A:
            scheduler.record_failure(feed)
        else:
            scheduler.record_success(feed, 1000)
    waits = [after - before for before, after in zip(times[A], times[A][1:], strict=False)]
    assert waits[0] <= 2 * MIN_INTERVAL_SECONDS
    assert max(waits) <= MAX_INTERVAL_SECONDS
    assert min(waits[-2:]) >= MAX_INTERVAL_SECONDS / 2
    assert len(times[B]) > 20
    while (await wait_for_next(scheduler, clock))[0] != A:
        scheduler.record_success(B, 0)
    wait = scheduler.record_success(A, 0)
    assert wait is not None
    assert wait <= 2 * MIN_INTERVAL_SECONDS


async def test_trigger_makes_every_feed_of_the_workflow_due() -> None:
    scheduler, clock = create_scheduler(A, Feed("a", "u"), B)
    for _ in range(3):
        scheduler.record_success(await scheduler.claim_next(), 0)
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
    assert scheduler.record_success(A, 0) == 0
    assert await wait_for_next(scheduler, clock) == (A, 0)
    assert (scheduler.record_success(A, 0) or 0) >= MIN_INTERVAL_SECONDS


async def test_trigger_wakes_a_waiting_reader() -> None:
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), 0)
    waiting = asyncio.create_task(wait_for_next(scheduler, clock))
    await asyncio.sleep(0)
    scheduler.trigger("a")
    feed, wait = await waiting
    assert feed == A
    assert wait < MIN_INTERVAL_SECONDS


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
        scheduler.record_success(feed, 0)
        scheduler.trigger("a")
    assert waits == [0, *[MIN_TRIGGER_INTERVAL_SECONDS] * 4]


async def test_triggers_take_at_most_half_of_the_requests() -> None:
    many = [Feed("a", f"user-{number}") for number in range(100)]
    scheduler, clock = create_scheduler(*many, concurrency=30)
    for _ in many:
        scheduler.record_success(await scheduler.claim_next(), 0)
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
    polled = []
    while clock.monotonic() < 1000 + 2 * MAX_INTERVAL_SECONDS:
        feed, _ = await wait_for_next(scheduler, clock)
        polled.append(feed)
        scheduler.trigger("a")
        scheduler.record_success(feed, 0)
    alone, quiet = create_scheduler(B)
    undisturbed = 0
    while quiet.monotonic() < 1000 + 2 * MAX_INTERVAL_SECONDS:
        await wait_for_next(alone, quiet)
        alone.record_success(B, 0)
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


async def test_feed_added_later_is_due_and_others_keep_their_time() -> None:
    scheduler, clock = create_scheduler(A)
    wait = scheduler.record_success(await scheduler.claim_next(), 0)
    scheduler.watch([A, B])
    assert await wait_for_next(scheduler, clock) == (B, 0)
    feed, waited_seconds = await wait_for_next(scheduler, clock)
    assert feed == A
    assert waited_seconds == pytest.approx(wait)
