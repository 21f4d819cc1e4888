"""Feeds that are watched no more: read a last time, and then never again."""

import pytest

from tests.intake.scheduled import A, B, nothing_is_due, scheduled, waited
from tests.loops import looped


@pytest.mark.parametrize("was_read", [True, False])
@looped
async def test_a_feed_that_is_watched_no_more_is_read_once_more_at_once(was_read: bool) -> None:
    schedule, clock = scheduled(A, B)
    if was_read:
        for _ in range(2):
            schedule.done(await schedule.next(), 0)
    schedule.watch([B])
    assert (schedule.feeds, len(schedule), A in schedule) == ([B], 1, False)
    last, waited_for = await waited(schedule, clock)
    if not was_read:  # which is due as well, and has been for longer
        assert (last, schedule.done(last, 0) is None) == (B, False)
        last, waited_for = await waited(schedule, clock)
    assert (last, waited_for) == (A, 0)
    assert schedule.done(A, 0) is None
    assert await schedule.next() == B
    assert await nothing_is_due(schedule)


@looped
async def test_a_feed_that_is_watched_no_more_while_it_is_read_is_read_once_more() -> None:
    schedule, clock = scheduled(A)
    schedule.done(await schedule.next(), 0)
    assert await schedule.next() == A
    schedule.watch([])
    assert schedule.done(A, 0) is not None
    assert (await waited(schedule, clock))[0] == A
    assert schedule.done(A, 0) is None
    assert await nothing_is_due(schedule)


@looped
async def test_a_last_reading_that_fails_is_tried_until_the_feed_is_not_found_again() -> None:
    schedule, _ = scheduled(A)
    schedule.done(await schedule.next(), 0)
    schedule.watch([])
    for _ in range(3):
        assert await schedule.next() == A
        assert schedule.failed(A) is not None
    schedule.watch([])
    assert await nothing_is_due(schedule)


@looped
async def test_a_last_reading_ends_with_an_answer_that_stays_the_same() -> None:
    schedule, _ = scheduled(A)
    schedule.watch([])
    assert await schedule.next() == A
    assert schedule.failed(A, lasting=True) is None
    assert await nothing_is_due(schedule)


@looped
async def test_a_feed_that_could_not_be_read_has_a_last_reading_all_the_same() -> None:
    schedule, clock = scheduled(A)
    for _ in range(6):
        schedule.failed(await schedule.next())
    schedule.watch([])
    schedule.watch([])
    assert await waited(schedule, clock) == (A, 0)


@looped
async def test_nudges_do_not_keep_a_feed_that_leaves() -> None:
    schedule, _ = scheduled(A)
    schedule.watch([])
    assert await schedule.next() == A
    assert schedule.nudge("a") == [A]
    assert schedule.done(A, 0) is None
    assert await nothing_is_due(schedule)


@looped
async def test_a_last_reading_that_has_not_had_its_turn_is_not_lost_by_another_look() -> None:
    schedule, _ = scheduled(A, B, concurrency=1)
    for _ in range(2):
        schedule.done(await schedule.next(), 0)
    first = await schedule.next()
    schedule.watch([])
    schedule.watch([])
    assert schedule.done(first, 0) is not None
    assert {first, await schedule.next()} == {A, B}


@looped
async def test_a_feed_that_comes_back_before_its_last_reading_is_watched_as_before() -> None:
    schedule, clock = scheduled(A)
    schedule.done(await schedule.next(), 0)
    schedule.watch([])
    schedule.watch([A])
    assert schedule.feeds == [A]
    assert await waited(schedule, clock) == (A, 0)
    assert schedule.done(A, 0) is not None


@looped
async def test_a_feed_that_goes_and_comes_while_it_is_read_still_has_one_reader() -> None:
    schedule, _ = scheduled(A)
    await schedule.next()
    schedule.watch([])
    schedule.watch([A])
    assert await nothing_is_due(schedule)
    schedule.done(A, 0)
    assert schedule.feeds == [A]
    assert not await nothing_is_due(schedule) or schedule.nudge("a") == [A]
