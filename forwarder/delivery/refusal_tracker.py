"""The distinction between refusals that one entry causes and refusals that apply to all entries.

PutEvents can refuse a whole request (413, ValidationException, and undocumented codes). Splitting the request leads to
a single entry, but does not prove that this entry is the cause: an invalid bus name, a proxy with a size limit or a new
rule of the service refuses every entry. Dead-lettering without a proof would move the whole ledger to the dead letters.

The proof has three steps: the entry was refused alone, then another request with the same settings was accepted, then
the entry was refused alone again. A proven entry is dead-lettered at once if the message of the refusal is about a size
or a detail. After any other refusal, a proven entry is retried up to the limit of unclassified attempts. An entry
without a proof stays pending, and no unclassified attempt is counted. Delivery is paused while no entry is accepted.

A request can also fail without a refusal of AWS, for example if a filter in front of it refuses the content of one
entry. An entry that is proven to be the cause waits longer after each attempt, and its failures stop no other request.
It stays pending: a bus that fails now and then would otherwise make dead letters of entries without a fault.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from forwarder.aws.eventbridge import PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.model import ClaimedEntry, Rejected, Retry

MAX_TRACKED_ENTRIES = 10_000
"""The limit of the remembered entries. A forgotten entry needs two more refusals for a proof."""


@dataclass(frozen=True, slots=True)
class SingleEntryRefusal:
    """The refusal of a request with one entry. `is_proven` is true if the entry is proven to be the cause."""

    refusal: RequestRefusal
    is_proven: bool


@dataclass(frozen=True, slots=True)
class SingleEntryFailure:
    """The last failed request with one entry. `number` is that of the last request that had begun by then.

    `was_proven` is true if this failure or an earlier one proved that the entry is the cause.
    """

    number: int
    is_proven: bool
    was_proven: bool


class RefusalTracker:
    """The refusals and acceptances of one delivery loop.

    Requests are numbered when they begin. Request B is "after" request A if B began after the response to A.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._last_accepted = 0
        self._failures: dict[str, SingleEntryFailure] = {}

    def next_request(self) -> int:
        """Return the number of the request that begins now."""
        self.requests += 1
        return self.requests

    def record_accepted(self, number: int, accepted: Iterable[ClaimedEntry]) -> None:
        """Record that these entries of a request were accepted."""
        self._last_accepted = max(self._last_accepted, number)
        for claimed in accepted:
            self._failures.pop(claimed.entry.execution_id, None)

    def is_accepted_since(self, number: int) -> bool:
        return self._last_accepted > number

    def has_failed_alone(self, claimed: ClaimedEntry) -> bool:
        """Return whether a request with this entry alone has failed. It may be the cause, so it has no neighbours."""
        return claimed.entry.execution_id in self._failures

    def record_refused(self, claimed: ClaimedEntry, refusal: RequestRefusal) -> SingleEntryRefusal:
        """Record that this entry was refused alone.

        Return the refusal, with whether this entry is now proven to be its cause.
        """
        return SingleEntryRefusal(refusal, is_proven=self._record(claimed).is_proven)

    def record_failed(self, claimed: ClaimedEntry) -> bool:
        """Record that a request with this entry alone failed. Return whether the entry is the cause.

        It remains the cause until it is accepted: a further failure of it does not show a fault of the bus.
        """
        return self._record(claimed).was_proven

    def _record(self, claimed: ClaimedEntry) -> SingleEntryFailure:
        before = self._failures.pop(claimed.entry.execution_id, None)
        is_proven = before is not None and self.is_accepted_since(before.number)
        was_proven = is_proven or (before is not None and before.was_proven)
        failure = SingleEntryFailure(self.requests, is_proven=is_proven, was_proven=was_proven)
        self._failures[claimed.entry.execution_id] = failure
        if len(self._failures) > MAX_TRACKED_ENTRIES:
            del self._failures[next(iter(self._failures))]
        return failure

    def result_for(self, single: SingleEntryRefusal, since: int) -> PublishResult:
        """Return the outcome of an entry that was refused alone, in a batch that began after request `since`."""
        refusal = single.refusal
        if single.is_proven and refusal.is_entry_specific:
            return PublishResult([Rejected(refusal.code, refusal.message)])
        retry = Retry(refusal.code, refusal.message, unclassified_attempt=single.is_proven)
        applies_to_all = not single.is_proven and not self.is_accepted_since(since)
        return PublishResult([retry], refusal.to_error() if applies_to_all else None)
