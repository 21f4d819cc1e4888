"""The search in stored events, for the page and the commands: by text, and grouped by error message.

The ledger filters by its own criteria. Text is searched above it, in the newest matches of the filter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from forwarder.event.failure import listed_error
from forwarder.ledger import EntryFilter, Ledger, StoredEntry
from forwarder.settings.duration import parse_start

MAX_SEARCHED_ENTRIES: Final = 1000
"""The number of newest matches of a filter in which a text is searched, and which are grouped."""

MAX_FOUND_BYTES: Final = 32 * 1024 * 1024
"""The limit of the details of the entries found. The last page that is searched may exceed it."""

_PAGE_ENTRIES: Final = 50
"""Entries that are read at a time. Other operations of the ledger go on in between."""


def parse_time(text: str) -> datetime:
    """Return the time of a text: RFC 3339, or without a zone for UTC. Raise ValueError, whose text has no value."""
    time = parse_start(text if "T" in text else f"{text}T00:00:00")
    if not isinstance(time, datetime):
        raise ValueError("is not a time such as 2026-01-31T00:00:00Z")  # noqa: TRY004  # the text of a person
    return time


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The entries found, newest first.

    `is_truncated` means that older matches of the filter were not searched, since the limit was reached.
    """

    entries: Sequence[StoredEntry]
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class MessageGroup:
    """The entries with one error message, newest first."""

    message: str
    entries: Sequence[StoredEntry]


async def search(ledger: Ledger, matching: EntryFilter, text: str = "") -> SearchResult:
    """Return the entries among the newest matches of a filter that contain a text, in any case.

    The text is searched in the error message, code and block, the ids, and the result and reason of the delivery.
    """
    wanted = text.strip().casefold()
    found: list[StoredEntry] = []
    searched, found_bytes, position = 0, 0, None
    while searched < MAX_SEARCHED_ENTRIES and found_bytes < MAX_FOUND_BYTES:
        page = await ledger.entries(matching, _PAGE_ENTRIES, before=position)
        searched, position = searched + len(page.entries), page.next
        matches = [each for each in page.entries if not wanted or _contains(each, wanted)]
        found += matches
        found_bytes += sum(len(each.entry.detail) for each in matches)
        if position is None or len(page.entries) < _PAGE_ENTRIES:  # a short page has cost as much as many full ones
            break
    return SearchResult(found, is_truncated=position is not None)


def group_by_message(entries: Iterable[StoredEntry]) -> list[MessageGroup]:
    """Return the groups of entries with the same message, the largest first. Equal ones keep the order of entries."""
    groups: dict[str, list[StoredEntry]] = {}
    for entry in entries:
        groups.setdefault(listed_error(entry.entry.detail).message, []).append(entry)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [MessageGroup(message, members) for message, members in ordered]


def _contains(stored: StoredEntry, wanted: str) -> bool:
    entry, error = stored.entry, listed_error(stored.entry.detail)
    texts = (
        *(error.message, error.code, error.block_id, entry.execution_id),
        *(entry.feed.workflow_id, entry.feed.user_id or "", stored.result, stored.reason),
    )
    return any(wanted in text.casefold() for text in texts)
