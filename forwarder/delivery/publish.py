"""Publishing a batch: one request, or several where the bus refuses it as a whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from forwarder.aws.bus import Answer, Bus
from forwarder.delivery.batch import Batch
from forwarder.errors import RequestRefused
from forwarder.model import Outcome, Rejected, Retry


@dataclass(frozen=True, slots=True)
class Published:
    batch: Batch
    answer: Answer


async def publish(bus: Bus, batch: Batch) -> AsyncIterator[Published]:
    """Each part of the batch with its answer, as soon as it is there, so that nothing answered waits for the rest.

    A refused request is halved until the entry is alone that the refusal is about. Raises DestinationError for the
    parts that were not told yet.
    """
    parts = [batch]
    while parts:
        part = parts.pop()
        try:
            answer = await bus.put(part.events)
        except RequestRefused as refused:
            if len(part.owed) > 1:
                first, second = part.halves()
                parts += second, first
                continue
            answer = Answer([_outcome_of(refused)])
        yield Published(part, answer)


def _outcome_of(refused: RequestRefused) -> Outcome:
    if refused.final:
        return Rejected(refused.code, refused.message)
    return Retry(refused.code, refused.message, strike=True)
