"""The items that a copy writes: the executions, and the two members that hold them."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.executions import DEAD_STATE, PURGED_STATE, SENT_STATE
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member_items import packed
from forwarder.ledger.dynamodb.schema import Place, digest, feed_text
from forwarder.ledger.dynamodb.values import Value
from forwarder.ledger.dynamodb.window import DEAD, PURGED, RECORDED, SENT
from forwarder.ledger.sqlite.export import ExportedEntry
from forwarder.model import Feed


class CopyMarker(msgspec.Struct, frozen=True):
    """The part of the ledger's item about a copy: what is copied, and the two members that hold it."""

    source: str
    pending: str
    settled: str


copy_markers = msgspec.json.Decoder(CopyMarker)


@dataclass(slots=True)
class Holder:
    """A member that holds copied executions, and the number of its last journal item."""

    id: str
    number: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    replays: int = 0
    oldest: int | None = None
    """When the oldest pending entry was recorded, in microseconds."""

    def count(self, state: str) -> None:
        self.totals["recorded"] += 1
        self.totals[state] += 1

    def count_entry(self, entry: ExportedEntry) -> None:
        self.count(entry.state)
        if entry.state == "pending":
            self.replays += entry.send_number > 1
            self.oldest = min(self.oldest or entry.recorded_at, entry.recorded_at)

    def item(self, now: datetime, **others: Value) -> dict[str, Value]:
        """Return the member's item. `others` are its mark, the totals below it, and `lf` or `gone`."""
        return {
            "be": 0,
            "host": "ledger copy",
            "nx": self.number + 1,
            "tt": packed(self.totals),
            "op": self.oldest or 0,
            "rp": self.replays,
            "sv": b"",
            "hb": to_micros(now),
            "fe": 0,
            "ru": 0,
            "wu": 0,
            "lf": 1,
            "cm": 1,
            **others,
        }


def journal_entry(entry: ExportedEntry, now: datetime) -> JournalEntry:
    return JournalEntry(
        RECORDED,
        digest(entry.execution_id),
        entry.execution_id,
        entry.feed.workflow_id,
        entry.feed.user_id or "",
        entry.time,
        entry.recorded_at,
        entry.send_number,
        detail=entry.detail,
        stored_at=to_micros(now),
    )


def execution_item(feed: Feed, place: Place, state: int, time: int, recorded_at: int) -> dict[str, Value]:
    settled = {SENT_STATE: SENT, DEAD_STATE: DEAD, PURGED_STATE: PURGED}.get(state)
    return {
        "st": state,
        "o": str(place),
        "pl": str(place),
        "f": feed_text(feed),
        "tm": time,
        "ra": recorded_at,
        "lg": [f"{place} {RECORDED}", *([f"{place} {settled}"] if settled else [])],
    }
