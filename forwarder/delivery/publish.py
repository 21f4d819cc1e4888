"""Publishing a batch: one request, or several if the bus refuses it as a whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from forwarder.aws.answers import RequestRefused
from forwarder.aws.bus import Answer, Bus
from forwarder.delivery.batch import Batch
from forwarder.delivery.refusals import Refusals
from forwarder.errors import DestinationError, DestinationUnavailable
from forwarder.model import Accepted, Retry

log = structlog.get_logger("delivery")


@dataclass(frozen=True, slots=True)
class Published:
    batch: Batch
    answer: Answer


class NotMade:
    """A request that the forwarder failed to make: a fault of its own, which settles nothing."""


async def publish(bus: Bus, batch: Batch, refusals: Refusals) -> AsyncIterator[Published]:
    """Yield each part of the batch with its answer, as soon as it is there.

    A refused request is halved until the entry is alone that the refusal is about, and so is one that we fail to make
    ourselves. Entries that are refused alone come last, when it is known whether others were accepted. Raise
    DestinationError for the parts that have no answer yet.
    """
    parts, alone, not_made = [batch], [], []
    before = refusals.requests
    while parts:
        part = parts.pop()
        number = refusals.begin()
        response = await _put(bus, part)
        if isinstance(response, Answer):
            if any(isinstance(outcome, Accepted) for outcome in response.outcomes):
                refusals.accepted(number)
            yield Published(part, response)
        elif len(part.owed) > 1:
            first, second = part.halves()
            parts += second, first
        elif isinstance(response, RequestRefused):
            alone.append((part, refusals.refused(part.owed[0], response)))
        else:
            not_made.append(part)
    for part, refusal in alone:
        yield Published(part, refusals.answer_to(refusal, since=before))
    for part in not_made:
        yield Published(part, _answer_to_none(is_of_all=not refusals.is_accepted_since(before)))


async def _put(bus: Bus, part: Batch) -> Answer | RequestRefused | NotMade:
    try:
        return await bus.put(part.events)
    except DestinationError:
        raise
    except Exception as error:
        log.exception("request failed", kind=type(error).__name__)
        return NotMade()


def _answer_to_none(*, is_of_all: bool) -> Answer:
    """Return the outcome of an entry of which no request was made: it stays pending, without a strike."""
    reason = "a request failed inside the forwarder"
    stop = DestinationUnavailable(reason, code="internal") if is_of_all else None
    return Answer([Retry("internal", reason)], stop)
