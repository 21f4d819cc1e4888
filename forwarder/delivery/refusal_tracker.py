"""The distinction between a refusal that is about one entry and a refusal that is about all entries.

PutEvents can refuse a whole request (413, ValidationException, and undocumented codes). Splitting it leads to a single
entry, but does not prove that this entry is the cause: an invalid bus name, a proxy with a size limit or a new
rule of the service refuses every entry. Dead-lettering without a proof would move the whole ledger to the dead letters.

The proof has three steps: the entry was refused alone, then another request with the same settings was accepted, then
the entry was refused alone again. A proven entry is dead-lettered at once if the refusal is about a size or a detail,
since entries differ in nothing else. For other refusals it has the attempts of an unknown code. Without proof, an entry
stays pending, and no unclassified attempt is counted. Delivery is paused while no entry is accepted.
"""

from dataclasses import dataclass

from forwarder.aws.eventbridge import PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.model import ClaimedEntry, Rejected, Retry

MAX_TRACKED_ENTRIES = 10_000
"""The limit of the entries in memory. A forgotten entry is proven again by its next two refusals."""


@dataclass(frozen=True, slots=True)
class SingleEntryRefusal:
    """The refusal of a request with one entry. `is_proven` is true if the entry is the cause."""

    refusal: RequestRefusal
    is_proven: bool


class RefusalTracker:
    """The refusals and acceptances of one delivery loop.

    Requests are numbered when they begin. A request is "after" another one if it began after its response.
    """

    def __init__(self) -> None:
        self.requests = 0
        self._last_accepted = 0
        self._refused: dict[str, int] = {}

    def next_request(self) -> int:
        """Return the number of the request that begins now."""
        self.requests += 1
        return self.requests

    def record_accepted(self, number: int) -> None:
        """Record that an entry of this request was accepted."""
        self._last_accepted = max(self._last_accepted, number)

    def is_accepted_since(self, number: int) -> bool:
        return self._last_accepted > number

    def record_refused(self, claimed: ClaimedEntry, refusal: RequestRefusal) -> SingleEntryRefusal:
        """Record that this entry was refused alone, and return whether it is proven."""
        before = self._refused.pop(claimed.entry.execution_id, None)
        self._refused[claimed.entry.execution_id] = self.requests
        if len(self._refused) > MAX_TRACKED_ENTRIES:
            del self._refused[next(iter(self._refused))]
        return SingleEntryRefusal(refusal, is_proven=before is not None and self.is_accepted_since(before))

    def result_for(self, single: SingleEntryRefusal, since: int) -> PublishResult:
        """Return the outcome of an entry that was refused alone, in a batch that began after request `since`."""
        refusal = single.refusal
        if single.is_proven and refusal.is_entry_specific:
            return PublishResult([Rejected(refusal.code, refusal.message)])
        retry = Retry(refusal.code, refusal.message, unclassified_attempt=single.is_proven)
        applies_to_all = not single.is_proven and not self.is_accepted_since(since)
        return PublishResult([retry], refusal.to_error() if applies_to_all else None)
