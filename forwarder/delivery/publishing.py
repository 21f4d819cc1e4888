"""Publishing a batch: one request, or several if the bus refuses it as a whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.delivery.batch import Batch
from forwarder.delivery.bus_check import VerifiedBus
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.errors import DestinationError, DestinationUnavailable
from forwarder.model import Accepted, Retry

log = structlog.get_logger("delivery")


@dataclass(frozen=True, slots=True)
class PublishedBatch:
    batch: Batch
    result: PublishResult


class InternalFailure:
    """A request that the forwarder failed to make: a fault of its own, which settles nothing."""


async def publish(bus: VerifiedBus, batch: Batch, refusal_tracker: RefusalTracker) -> AsyncIterator[PublishedBatch]:
    """Yield each part of the batch with its result, as soon as it is there.

    A refused request is halved until the entry is alone that the refusal is about, and so is one that we fail to make
    ourselves. Entries that are refused alone come last, when it is known whether others were accepted. Raise
    DestinationError for the parts that have no result yet.
    """
    chunks, single_refusals, failed_chunks = [batch], [], []
    requests_before = refusal_tracker.requests
    while chunks:
        heartbeat.beat()
        chunk = chunks.pop()
        number = refusal_tracker.next_request()
        result = await _publish_chunk(bus, chunk)
        if isinstance(result, PublishResult):
            if any(isinstance(outcome, Accepted) for outcome in result.outcomes):
                refusal_tracker.record_accepted(number)
            yield PublishedBatch(chunk, result)
        elif len(chunk.entries) > 1:
            first, second = chunk.split()
            chunks += second, first
        elif isinstance(result, RequestRefusal):
            single_refusals.append((chunk, refusal_tracker.record_refused(chunk.entries[0], result)))
        else:
            failed_chunks.append(chunk)
    for chunk, refusal in single_refusals:
        yield PublishedBatch(chunk, refusal_tracker.result_for(refusal, since=requests_before))
    for chunk in failed_chunks:
        yield PublishedBatch(
            chunk, _internal_failure_result(applies_to_all=not refusal_tracker.is_accepted_since(requests_before))
        )


async def _publish_chunk(bus: VerifiedBus, chunk: Batch) -> PublishResult | RequestRefusal | InternalFailure:
    try:
        return await bus.publish(chunk.events)
    except DestinationError:
        raise
    except Exception as error:
        log.exception("request failed", exception_type=type(error).__name__)
        return InternalFailure()


def _internal_failure_result(*, applies_to_all: bool) -> PublishResult:
    """Return the outcome of an entry of which no request was made: it stays pending, and no attempt is counted."""
    reason = "a request failed inside the forwarder"
    stop_error = DestinationUnavailable(reason, code="internal") if applies_to_all else None
    return PublishResult([Retry("internal", reason)], stop_error)
