"""A request that fails for one entry is split until that entry is alone, and the others keep their outcomes."""

from collections.abc import Callable, Sequence
from typing import cast

from forwarder.aws.eventbridge import Event, PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.delivery.batch import Batch, publish
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.errors import DestinationError, EventsRefused
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry
from tests.factories import entry
from tests.virtual_clock import NOON

TOO_LARGE = RequestRefusal("413", "too large", is_entry_specific=True)
WRONG_NAME = RequestRefusal("ValidationException", "Value at 'entries.1.member.eventBusName'", is_entry_specific=False)


class RefusingBus:
    """A bus that refuses a request by a rule about the ids in it."""

    def __init__(self, refuses: Callable[[str], RequestRefusal | None]) -> None:
        self._refuses = refuses

    async def publish(self, events: Sequence[Event], *, is_owned: Callable[[], bool]) -> PublishResult | RequestRefusal:
        assert is_owned()
        ids = b"".join(event.detail for event in events).decode()
        return self._refuses(ids) or PublishResult([Accepted(each) for each in ids])


def fail_with_b(ids: str) -> None:
    """Raise an internal error for a request with the entry `b`."""
    if "b" in ids:
        raise ZeroDivisionError


async def publish_ids(
    ids: str, refuses: Callable[[str], RequestRefusal | None], refusal_tracker: RefusalTracker
) -> tuple[dict[str, Outcome], list[DestinationError]]:
    batch = Batch(
        [ClaimedEntry(number, entry(each)) for number, each in enumerate(ids)],
        [Event("source", "type", NOON, each.encode()) for each in ids],
    )
    outcomes, stops = {}, []
    async for published in publish(cast("VerifiedBus", RefusingBus(refuses)), batch, refusal_tracker, lambda _: True):
        for claimed, outcome in zip(published.batch.entries, published.result.outcomes, strict=True):
            outcomes[claimed.entry.execution_id] = outcome
        stops += [published.result.stop_error] if published.result.stop_error else []
    return outcomes, stops


def without(outcomes: dict[str, Outcome], ids: str) -> dict[str, Outcome]:
    return {each: outcome for each, outcome in outcomes.items() if each not in ids}


async def test_internal_error_keeps_its_entry_and_sends_the_others() -> None:
    refusal_tracker = RefusalTracker()
    for _ in range(20):
        outcomes, stops = await publish_ids("abcde", fail_with_b, refusal_tracker)
        assert without(outcomes, "b") == {each: Accepted(each) for each in "acde"}
        assert (outcomes["b"], stops) == (Retry("internal", "a request failed inside the forwarder"), [])


async def test_internal_error_in_every_request_pauses_delivery() -> None:
    outcomes, stops = await publish_ids("b", fail_with_b, RefusalTracker())
    assert [type(outcome) for outcome in outcomes.values()] == [Retry]
    assert [stop_error.code for stop_error in stops] == ["internal"]


async def test_refused_entry_is_rejected_once_others_were_accepted() -> None:
    refusal_tracker = RefusalTracker()

    def refuses(ids: str) -> RequestRefusal | None:
        return TOO_LARGE if "b" in ids else None

    first, stops = await publish_ids("abcde", refuses, refusal_tracker)
    assert without(first, "b") == {each: Accepted(each) for each in "acde"}
    assert (first["b"], stops) == (Retry("413", "too large"), [])
    second, stops = await publish_ids("b", refuses, refusal_tracker)
    assert (second["b"], stops) == (Rejected("413", "too large"), [])


async def test_refusal_of_all_rejects_nothing_and_pauses_delivery() -> None:
    refusal_tracker = RefusalTracker()
    for refusal in (TOO_LARGE, WRONG_NAME):
        for _ in range(20):
            outcomes, stops = await publish_ids("abcde", lambda _, refusal=refusal: refusal, refusal_tracker)  # type: ignore[misc]
            assert set(outcomes.values()) == {Retry(refusal.code, refusal.message)}
            assert [type(stop_error) for stop_error in stops] == [EventsRefused] * 5


async def test_refusal_of_all_after_success_rejects_nothing() -> None:
    refusal_tracker = RefusalTracker()
    await publish_ids("abcde", lambda _: None, refusal_tracker)
    for ids in ("fg", "fg", "hij", "hij"):
        outcomes, stops = await publish_ids(ids, lambda _: TOO_LARGE, refusal_tracker)
        assert set(outcomes.values()) == {Retry("413", "too large")}
        assert len(stops) == len(ids)


async def test_refusal_not_about_an_entry_counts_after_each_success() -> None:
    """A refusal is an attempt only if a request was accepted after an earlier refusal of the entry."""
    refusal_tracker = RefusalTracker()

    def refuses(ids: str) -> RequestRefusal | None:
        return WRONG_NAME if "b" in ids else None

    unclassified_attempts = []
    for ids in ("b", "b", "ab", "b", "b", "a", "b"):
        outcomes, _ = await publish_ids(ids, refuses, refusal_tracker)
        if isinstance(refused := outcomes.get("b"), Retry):
            unclassified_attempts.append(refused.unclassified_attempt)
    assert unclassified_attempts == [False, False, True, False, False, True]
