"""When each feed is read next."""

import asyncio

import pytest

from forwarder.intake.schedule import NUDGE_GAP, NUDGED_SHARE, NUDGES_AT_ONCE, Schedule
from forwarder.model import Feed
from tests.clocks import QuickClock
from tests.intake.scheduled import LONGEST, SHORTEST, A, B, C, nothing_is_due, scheduled, waited
from tests.loops import looped
from tests.samples import some_settings


async def intervals(schedule: Schedule, clock: QuickClock, arrived: list[int]) -> list[float]:
    """The waits after readings in which so many were new."""
    waits = []
    for new in arrived:
        feed, wait = await waited(schedule, clock)
        waits.append(wait)
        schedule.done(feed, new)
    return waits


@looped
async def test_every_feed_is_due_at_once_and_each_has_one_reader() -> None:
    schedule, clock = scheduled(A, B, C, A)
    assert [(await waited(schedule, clock)) for _ in range(3)] == [(A, 0), (B, 0), (C, 0)]
    assert await nothing_is_due(schedule)


@looped
async def test_no_more_feeds_are_read_at_once_than_the_settings_say() -> None:
    schedule, clock = scheduled(A, B, C, concurrency=2)
    assert [await schedule.next() for _ in range(2)] == [A, B]
    assert await nothing_is_due(schedule)
    waiting = asyncio.create_task(waited(schedule, clock))
    await asyncio.sleep(0)
    schedule.done(B, 0)
    assert await waiting == (C, 0)


@looped
async def test_a_quiet_feed_is_read_ever_more_rarely() -> None:
    schedule, clock = scheduled(A)
    waits = await intervals(schedule, clock, [0] * 20)
    assert waits[1] <= 2 * SHORTEST
    assert min(waits[1:]) >= SHORTEST
    assert max(waits) <= LONGEST
    assert min(waits[-5:]) >= 0.8 * LONGEST - 1e-6


@looped
async def test_a_busy_feed_is_read_so_often_that_a_page_suffices() -> None:
    schedule, clock = scheduled(A)
    await intervals(schedule, clock, [0] * 20)
    rate = 0.5  # executions a second: a page of 30 in a minute
    arrived = rate * 100
    waits = []
    for _ in range(20):
        feed, wait = await waited(schedule, clock)
        waits.append(wait)
        schedule.done(feed, round(rate * wait) if waits[1:] else round(arrived))
    assert max(wait * rate for wait in waits[5:]) <= 30
    assert min(waits[5:]) >= SHORTEST


@looped
async def test_a_flood_is_read_no_more_often_than_the_shortest_interval() -> None:
    schedule, clock = scheduled(A)
    waits = await intervals(schedule, clock, [10_000] * 10)
    assert min(waits[1:]) >= SHORTEST - 1e-6
    assert max(waits[3:]) <= 2 * SHORTEST


@looped
async def test_feeds_that_began_together_do_not_stay_together() -> None:
    schedule, clock = scheduled(*(Feed(f"w-{number}") for number in range(20)))
    due = []
    for _ in range(200):
        feed, _ = await waited(schedule, clock)
        due.append(clock.monotonic())
        schedule.done(feed, 0)
    assert len(set(due[-20:])) == 20


@looped
async def test_a_feed_that_fails_backs_off_alone_and_recovers_at_once() -> None:
    schedule, clock = scheduled(A, B)
    times: dict[Feed, list[float]] = {A: [], B: []}
    while len(times[A]) < 8:
        feed, _ = await waited(schedule, clock)
        times[feed].append(clock.monotonic())
        if feed == A:
            schedule.failed(feed)
        else:
            schedule.done(feed, 1000)
    waits = [after - before for before, after in zip(times[A], times[A][1:], strict=False)]
    assert waits[0] <= 2 * SHORTEST
    assert max(waits) <= LONGEST
    assert min(waits[-2:]) >= LONGEST / 2
    assert len(times[B]) > 20
    while (await waited(schedule, clock))[0] != A:
        schedule.done(B, 0)
    wait = schedule.done(A, 0)
    assert wait is not None
    assert wait <= 2 * SHORTEST


@looped
async def test_a_nudge_makes_every_feed_of_the_workflow_due_now() -> None:
    schedule, clock = scheduled(A, Feed("a", "u"), B)
    for _ in range(3):
        schedule.done(await schedule.next(), 0)
    clock.advance(NUDGE_GAP)
    assert schedule.nudge("a") == [A, Feed("a", "u")]
    assert schedule.nudge("unknown") == []
    nudged = [await waited(schedule, clock) for _ in range(2)]
    assert nudged == [(A, 0), (Feed("a", "u"), 0)]
    assert await nothing_is_due(schedule)


@looped
async def test_a_nudge_while_a_feed_is_read_has_it_read_again_soon() -> None:
    schedule, clock = scheduled(A)
    await schedule.next()
    clock.advance(NUDGE_GAP)
    schedule.nudge("a")
    schedule.nudge("a")
    assert await nothing_is_due(schedule)
    assert schedule.done(A, 0) == 0
    assert await waited(schedule, clock) == (A, 0)
    assert (schedule.done(A, 0) or 0) >= SHORTEST


@looped
async def test_a_nudge_wakes_a_reader_that_waits() -> None:
    schedule, clock = scheduled(A)
    schedule.done(await schedule.next(), 0)
    waiting = asyncio.create_task(waited(schedule, clock))
    await asyncio.sleep(0)
    schedule.nudge("a")
    feed, wait = await waiting
    assert feed == A
    assert wait < SHORTEST


@looped
async def test_a_nudge_for_a_user_leaves_the_feeds_of_other_users_alone() -> None:
    schedule, _ = scheduled(A, Feed("a", "u"), Feed("a", "v"))
    assert schedule.nudge("a", "u") == [A, Feed("a", "u")]


@looped
async def test_a_feed_that_is_nudged_all_the_time_is_read_once_a_second() -> None:
    schedule, clock = scheduled(A)
    waits = []
    for _ in range(5):
        feed, wait = await waited(schedule, clock)
        waits.append(wait)
        schedule.nudge("a")
        schedule.done(feed, 0)
        schedule.nudge("a")
    assert waits == [0, *[NUDGE_GAP] * 4]


@looped
async def test_a_storm_of_nudges_takes_half_of_the_requests_at_most() -> None:
    many = [Feed("a", f"user-{number}") for number in range(100)]
    schedule, clock = scheduled(*many, concurrency=30)
    for _ in many:
        schedule.done(await schedule.next(), 0)
    clock.advance(NUDGE_GAP)
    began = clock.monotonic()
    schedule.nudge("a")
    taken: list[float] = []
    while len(taken) < 30:
        await schedule.next()
        taken.append(clock.monotonic() - began)
    gap = 1 / (some_settings().source.requests_per_second * NUDGED_SHARE)
    assert taken == pytest.approx([max(0.0, (number - NUDGES_AT_ONCE) * gap) for number in range(30)])


@looped
async def test_a_storm_of_nudges_keeps_no_other_feed_waiting() -> None:
    schedule, clock = scheduled(A, B)
    read = []
    while clock.monotonic() < 1000 + 2 * LONGEST:
        feed, _ = await waited(schedule, clock)
        read.append(feed)
        schedule.nudge("a")
        schedule.done(feed, 0)
    alone, quiet = scheduled(B)
    undisturbed = 0
    while quiet.monotonic() < 1000 + 2 * LONGEST:
        await waited(alone, quiet)
        alone.done(B, 0)
        undisturbed += 1
    assert read.count(B) >= undisturbed - 1


@looped
async def test_a_nudge_does_not_hurry_what_cannot_be_read() -> None:
    schedule, clock = scheduled(A)
    wait = schedule.failed(await schedule.next())
    schedule.nudge("a")
    assert (await waited(schedule, clock))[1] == pytest.approx(wait)
    schedule.nudge("a")
    again = schedule.failed(A)
    assert (await waited(schedule, clock))[1] == pytest.approx(again)


@looped
async def test_a_feed_that_is_found_later_is_read_at_once_and_others_keep_their_turn() -> None:
    schedule, clock = scheduled(A)
    wait = schedule.done(await schedule.next(), 0)
    schedule.watch([A, B])
    assert await waited(schedule, clock) == (B, 0)
    feed, waited_for = await waited(schedule, clock)
    assert feed == A
    assert waited_for == pytest.approx(wait)
