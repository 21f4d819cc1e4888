"""A request that fails for one entry is taken apart until that entry is alone, and its neighbours are told for good."""

from collections.abc import Sequence
from typing import cast

from forwarder.aws.bus import Answer, Bus, Event
from forwarder.delivery.batch import Batch
from forwarder.delivery.publish import publish
from forwarder.model import Accepted, Owed, Retry
from tests.clocks import NOON
from tests.loops import looped
from tests.samples import entry


class BrittleBus:
    """A fault of the forwarder's own: it cannot make a request that holds the entry `b`."""

    async def put(self, events: Sequence[Event]) -> Answer:
        if any(event.detail == b"b" for event in events):
            raise ZeroDivisionError
        return Answer([Accepted(event.detail.decode()) for event in events])


@looped
async def test_a_fault_of_our_own_is_counted_against_the_one_entry_it_is_about() -> None:
    ids = "abcde"
    batch = Batch(
        [Owed(number, entry(each)) for number, each in enumerate(ids)],
        [Event("source", "type", NOON, each.encode()) for each in ids],
    )
    told = {
        owed.entry.execution_id: outcome
        async for published in publish(cast("Bus", BrittleBus()), batch)
        for owed, outcome in zip(published.batch.owed, published.answer.outcomes, strict=True)
    }
    assert {each: outcome for each, outcome in told.items() if each != "b"} == {each: Accepted(each) for each in "acde"}
    assert isinstance(told["b"], Retry)
    assert (told["b"].code, told["b"].strike) == ("internal", True)
