"""The recording of failed executions as pending entries, once per execution id in the whole fleet."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.executions import is_expired
from forwarder.ledger.dynamodb.feeds import FeedStore
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.schema import digest, feed_of
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.model import Checkpoint, Entry, Feed

MAX_CACHED_IDS = 200_000
"""The digests of known ids in memory. Each poll lists those of the overlap again, and a known id stays known."""


class EntryStore(FeedStore):
    """The operations that record executions and find them again."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._known: OrderedDict[str, None] = OrderedDict()

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        digests = {each: digest(each) for each in execution_ids}
        unknown = {each: key for each, key in digests.items() if key not in self._known}
        now = self._now()
        # A read that is a little out of date costs a failed condition at most.
        items = await self._executions.load(unknown.values(), consistent=self._member is None) if unknown else {}
        self._remember(key for key, item in items.items() if not is_expired(item, now))
        return {each for each, key in digests.items() if key in self._known}

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        member = await self._joined()
        await self.require_feed(feed)
        floor = self._floor
        new = {
            key: JournalEntry(
                RECORDED,
                key,
                entry.execution_id,
                feed.workflow_id,
                feed.user_id or "",
                to_micros(entry.time),
                to_micros(now),
                detail=entry.detail,
                stored_at=to_micros(now),
            )
            for entry in entries
            if (key := digest(entry.execution_id)) not in self._known and (floor is None or entry.time > floor)
        }
        # An earlier call has journaled these. At each attempt once more, they would outgrow a throttled table.
        journaled = {each.digest for each in member.unresolved.values() if each.kind == RECORDED} & new.keys()
        recorded = await self._make_journaled(member, journaled, now)
        recorded += await self._make_transitions(
            member, [entry for key, entry in new.items() if key not in journaled], now
        )
        self._remember(new)
        self._traffic.count_recorded(len(recorded), now)
        if checkpoint is not None:
            self._polled_at = now
            self.keep_checkpoint(feed, checkpoint)
        return len(recorded)

    async def find_feed(self, execution_id: str) -> Feed | None:
        items = await self._executions.load([digest(execution_id)])
        return next((feed_of(item["f"]) for item in items.values() if not is_expired(item, self._now())), None)

    def _drop(self, member: Member) -> None:
        """Forget the known ids, too: if the table was restored or created again, they are unknown in it."""
        super()._drop(member)
        self._known.clear()

    def _remember(self, digests: Iterable[str]) -> None:
        for each in digests:
            self._known[each] = None
            self._known.move_to_end(each)
        while len(self._known) > MAX_CACHED_IDS:
            self._known.popitem(last=False)
