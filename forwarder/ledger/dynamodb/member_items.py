"""The items of members, and of those that ended."""

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self

import msgspec

from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.values import Value
from forwarder.ledger.fleet import FleetMember
from forwarder.ledger.models import DaemonStatus

MemberItem = dict[str, Any]

_statuses = msgspec.json.Decoder(DaemonStatus)
_totals = msgspec.msgpack.Decoder(dict[str, int])


def fleet_member(name: str, item: MemberItem) -> FleetMember:
    status = saved_status(item.get("sv", b""))
    interval = timedelta(milliseconds=item.get("iv", 0))
    return FleetMember(
        name,
        item["host"],
        from_micros(item["hb"]),
        item["fe"],
        item["ru"],
        item["wu"],
        status,
        heartbeat_interval=interval,
        feed_group=item.get("fg", ""),
        cannot_read=bool(item.get("cr")),
        polled_at=from_micros(item["lp"]) if item.get("lp") else None,
    )


@lru_cache(maxsize=256)
def saved_status(body: bytes) -> DaemonStatus | None:
    """Return the status in a member's item, or None if it has saved none, or one of a version that is unknown here.

    Each heartbeat repeats it. In an update, processes of two versions read each other's items.
    """
    try:
        return _statuses.decode(zlib.decompress(body)) if body else None
    except (zlib.error, msgspec.DecodeError):
        return None


def totals_of(item: MemberItem) -> Counter[str]:
    """Return what a member had counted at its last heartbeat."""
    return unpacked(item["tt"])


def oldest_pending_of(item: MemberItem) -> datetime | None:
    return from_micros(item["op"]) if item.get("op") and "gone" not in item else None


def packed(totals: Mapping[str, int]) -> bytes:
    return msgspec.msgpack.encode(dict(totals))


def unpacked(body: bytes) -> Counter[str]:
    return Counter(_totals.decode(body))


@dataclass(frozen=True, slots=True)
class EndedMembers:
    """The members that ended and are counted in the ledger's item.

    `names` are those whose own items are not deleted yet. They count only here.
    """

    totals: Counter[str] = field(default_factory=Counter)
    names: frozenset[str] = frozenset()
    version: int = 0

    @classmethod
    def of(cls, ledger_item: Mapping[str, Any]) -> Self:
        if "ended_version" not in ledger_item:
            return cls()
        names = frozenset(ledger_item["ended_names"])
        return cls(unpacked(ledger_item["ended_totals"]), names, ledger_item["ended_version"])

    def values(self) -> dict[str, Value]:
        """Return the attributes of the ledger's item."""
        return {
            "ended_totals": packed(self.totals),
            "ended_names": sorted(self.names),
            "ended_version": self.version,
        }
