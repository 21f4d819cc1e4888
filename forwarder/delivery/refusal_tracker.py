"""Telling a refusal that is about one entry from one that is about all of them.

PutEvents may refuse a request as such (413, ValidationException, and codes that nobody has documented). Halving the
request leads to a single entry, but does not prove that the entry is to blame: a bus name that AWS does not accept, a
proxy with a limit, a new rule of the service refuse every entry one by one. Dead-lettering on that would empty the
whole ledger into the dead letters.

So an entry is only blamed on proof: it was refused alone, then another request with the same settings was accepted,
then it was refused alone again. A proven entry is dead-lettered at once if the refusal is about a size or a detail, the
only things in which entries differ, and otherwise after the attempts that an unknown code gets. Without proof an entry
stays pending, without an unclassified attempt. While nothing is accepted at all, delivery is paused with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forwarder.aws.eventbridge import PublishResult
from forwarder.aws.responses import RequestRefusal
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry

MAX_TRACKED_ENTRIES = 10_000
"""Entries. A forgotten one is proven again by its next two refusals."""

MAX_CONSECUTIVE_REFUSALS = 5
"""Entries. After so many, and none that was accepted, a person should know, and a single pass gives up."""


@dataclass(frozen=True, slots=True)
class SingleEntryRefusal:
    """The refusal of a request with one entry. `is_proven` is whether the entry is to blame."""

    refusal: RequestRefusal
    is_proven: bool


class RefusalTracker:
    """The evidence of one delivery. Requests are numbered as they begin, so "after" means begun after a response."""

    def __init__(self) -> None:
        self.requests = 0
        self._last_accepted = 0
        self._refused: dict[str, int] = {}
        self._consecutive = 0

    def next_request(self) -> int:
        """Return the number of a request that begins now."""
        self.requests += 1
        return self.requests

    def record_accepted(self, number: int) -> None:
        """Save that an entry of this request was accepted."""
        self._last_accepted = max(self._last_accepted, number)

    def is_accepted_since(self, number: int) -> bool:
        return self._last_accepted > number

    def record_refused(self, claimed: ClaimedEntry, refusal: RequestRefusal) -> SingleEntryRefusal:
        """Save that this entry was refused alone."""
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

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Count the entries that the bus refused since it accepted one: unknown codes, malformed ones, all of them."""
        if any(isinstance(outcome, Accepted) for outcome in outcomes):
            self._consecutive = 0
        else:
            self._consecutive += len(outcomes)

    @property
    def is_over_limit(self) -> bool:
        return self._consecutive >= MAX_CONSECUTIVE_REFUSALS
