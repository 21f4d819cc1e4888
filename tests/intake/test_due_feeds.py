"""The feeds are claimed in the order of their times, and urgent ones before all others."""

from forwarder.intake.due_feeds import MIN_VOID_ENTRIES, DueFeeds
from tests.intake.scheduler_harness import A, B, C


def test_feeds_are_claimed_in_order_when_due() -> None:
    due = DueFeeds()
    for feed, at in ((A, 3.0), (B, 1.0), (C, 2.0)):
        due.push(feed, at, at)
    assert (due.next_due_at(), due.claim(0.9)) == (1.0, None)
    assert [due.claim(2.0), due.claim(2.0), due.claim(2.0)] == [B, C, None]
    assert due.next_due_at() == 3.0


def test_urgent_feed_is_claimed_before_earlier_ones() -> None:
    due = DueFeeds()
    due.push(A, 1.0, 10.0)
    due.push(B, 2.0, 3.0)
    assert [due.claim(3.0), due.claim(3.0), due.claim(20.0)] == [B, A, None]


def test_newer_time_replaces_the_earlier_one() -> None:
    due = DueFeeds()
    due.push(A, 1.0, 1.0)
    due.push(A, 5.0, 5.0)
    assert (due.claim(4.0), due.next_due_at()) == (None, 5.0)
    assert [due.claim(5.0), due.claim(5.0)] == [A, None]


def test_removed_feed_is_not_claimed() -> None:
    due = DueFeeds()
    due.push(A, 1.0, 1.0)
    due.remove(A)
    due.remove(B)
    assert (due.claim(1.0), due.next_due_at()) == (None, None)


def test_heaps_of_few_feeds_stay_small() -> None:
    """A feed that fails often is polled thousands of times within the longest interval."""
    due = DueFeeds()
    due.push(A, 1e9, 1e9)
    for second in range(1000):
        due.push(B, second, 1e6 + second)
        assert due.claim(second) == B
    for second in range(1000):
        due.push(B, 1e6 + second, 1e6 + second)
    heaps = (due._due, due._urgent)  # noqa: SLF001  # memory is visible only there
    assert max(len(heap) for heap in heaps) <= MIN_VOID_ENTRIES + 4
