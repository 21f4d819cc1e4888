"""Publishing a batch: one request, or several where the bus refuses it as a whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from forwarder.aws.bus import Answer, Bus
from forwarder.delivery.batch import Batch
from forwarder.errors import DestinationError, RequestRefused
from forwarder.model import Outcome, Rejected, Retry

log = structlog.get_logger("delivery")


@dataclass(frozen=True, slots=True)
class Published:
    batch: Batch
    answer: Answer


async def publish(bus: Bus, batch: Batch) -> AsyncIterator[Published]:
    """Each part of the batch with its answer, as soon as it is there, so that nothing answered waits for the rest.

    A refused request is halved until the entry is alone that the refusal is about, and so is one that we fail to make
    ourselves. Raises DestinationError for the parts that were not told yet.
    """
    parts = [batch]
    while parts:
        part = parts.pop()
        try:
            answer = await bus.put(part.events)
        except DestinationError as error:
            if not isinstance(error, RequestRefused):
                raise
            refused = error
        except Exception as error:
            log.exception("request failed", kind=type(error).__name__)
            refused = RequestRefused("a request failed inside the forwarder", code="internal", final=False)
        else:
            yield Published(part, answer)
            continue
        if len(part.owed) > 1:
            first, second = part.halves()
            parts += second, first
        else:
            yield Published(part, Answer([_outcome_of(refused)]))


def _outcome_of(refused: RequestRefused) -> Outcome:
    if refused.final:
        return Rejected(refused.code, refused.message)
    return Retry(refused.code, refused.message, strike=True)
