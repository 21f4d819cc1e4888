"""A request that fails for one entry is taken apart until that entry is alone, and its neighbours are told for good."""

from collections.abc import Callable, Sequence
from typing import cast

from forwarder.aws.answers import RequestRefused
from forwarder.aws.bus import Answer, Bus, Event
from forwarder.delivery.batch import Batch
from forwarder.delivery.publish import publish
from forwarder.delivery.refusals import Refusals
from forwarder.errors import DestinationError, EventsRefused
from forwarder.model import Accepted, Outcome, Owed, Rejected, Retry
from tests.clocks import NOON
from tests.loops import looped
from tests.samples import entry

TOO_LARGE = RequestRefused("413", "too large", of_an_entry=True)
WRONG_NAME = RequestRefused("ValidationException", "Value at 'entries.1.member.eventBusName'", of_an_entry=False)


class BrittleBus:
    """A bus that answers a request by a rule about the ids in it."""

    def __init__(self, refuses: Callable[[str], RequestRefused | None]) -> None:
        self._refuses = refuses

    async def put(self, events: Sequence[Event]) -> Answer | RequestRefused:
        ids = b"".join(event.detail for event in events).decode()
        return self._refuses(ids) or Answer([Accepted(each) for each in ids])


def failing(ids: str) -> None:
    """A fault of the forwarder's own: it cannot make a request that holds the entry `b`."""
    if "b" in ids:
        raise ZeroDivisionError


async def told(
    ids: str, refuses: Callable[[str], RequestRefused | None], refusals: Refusals
) -> tuple[dict[str, Outcome], list[DestinationError]]:
    batch = Batch(
        [Owed(number, entry(each)) for number, each in enumerate(ids)],
        [Event("source", "type", NOON, each.encode()) for each in ids],
    )
    outcomes, stops = {}, []
    async for published in publish(cast("Bus", BrittleBus(refuses)), batch, refusals):
        for owed, outcome in zip(published.batch.owed, published.answer.outcomes, strict=True):
            outcomes[owed.entry.execution_id] = outcome
        stops += [published.answer.stop] if published.answer.stop else []
    return outcomes, stops


def without(outcomes: dict[str, Outcome], ids: str) -> dict[str, Outcome]:
    return {each: outcome for each, outcome in outcomes.items() if each not in ids}


@looped
async def test_own_fault_keeps_its_entry_pending_and_sends_the_others() -> None:
    refusals = Refusals()
    for _ in range(20):
        outcomes, stops = await told("abcde", failing, refusals)
        assert without(outcomes, "b") == {each: Accepted(each) for each in "acde"}
        assert (outcomes["b"], stops) == (Retry("internal", "a request failed inside the forwarder"), [])


@looped
async def test_own_fault_in_every_request_pauses_delivery() -> None:
    outcomes, stops = await told("b", failing, Refusals())
    assert [type(outcome) for outcome in outcomes.values()] == [Retry]
    assert [stop.code for stop in stops] == ["internal"]


@looped
async def test_refused_entry_is_rejected_once_others_were_accepted() -> None:
    refusals = Refusals()

    def refuses(ids: str) -> RequestRefused | None:
        return TOO_LARGE if "b" in ids else None

    first, stops = await told("abcde", refuses, refusals)
    assert without(first, "b") == {each: Accepted(each) for each in "acde"}
    assert (first["b"], stops) == (Retry("413", "too large"), [])
    second, stops = await told("b", refuses, refusals)
    assert (second["b"], stops) == (Rejected("413", "too large"), [])


@looped
async def test_refusal_of_all_rejects_nothing_and_pauses_delivery() -> None:
    refusals = Refusals()
    for refusal in (TOO_LARGE, WRONG_NAME):
        for _ in range(20):
            outcomes, stops = await told("abcde", lambda _, refusal=refusal: refusal, refusals)  # type: ignore[misc]
            assert set(outcomes.values()) == {Retry(refusal.code, refusal.message)}
            assert [type(stop) for stop in stops] == [EventsRefused] * 5


@looped
async def test_refusal_of_all_after_success_rejects_nothing() -> None:
    refusals = Refusals()
    await told("abcde", lambda _: None, refusals)
    for ids in ("fg", "fg", "hij", "hij"):
        outcomes, stops = await told(ids, lambda _: TOO_LARGE, refusals)
        assert set(outcomes.values()) == {Retry("413", "too large")}
        assert len(stops) == len(ids)


@looped
async def test_refusal_without_entry_cause_gets_a_strike_per_proof() -> None:
    refusals = Refusals()

    def refuses(ids: str) -> RequestRefused | None:
        return WRONG_NAME if "b" in ids else None

    strikes = []
    for ids in ("b", "b", "ab", "b", "b", "a", "b"):
        outcomes, _ = await told(ids, refuses, refusals)
        if isinstance(refused := outcomes.get("b"), Retry):
            strikes.append(refused.strike)
    assert strikes == [False, False, True, False, False, True]
