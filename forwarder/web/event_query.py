"""The filter of the list of events: the query of its URL, and the fields of its form."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self, get_args
from urllib.parse import urlencode

from aiohttp import web

from forwarder.event_search import parse_time
from forwarder.ledger import EntryFilter, EntryState
from forwarder.model import is_id
from forwarder.printable import has_control_character

FIELDS: Final = ("state", "workflow", "from", "to", "id", "text", "group")
"""The names of the fields, in the order of the form."""

MAX_TEXT_CHARACTERS: Final = 200
GROUP_BY_MESSAGE: Final = "message"

_STATES: Final[Mapping[str, EntryState]] = {state: state for state in get_args(EntryState)}


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A filter of events. `values` has the fields that are not empty, and `faults` a message for each invalid one."""

    values: Mapping[str, str]
    matching: EntryFilter
    faults: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        values = {name: text for name in FIELDS if (text := given.get(name, "").strip())}
        faults = _find_faults(values)
        valid = {name: text for name, text in values.items() if name not in faults}
        start, end = _time_of(valid.get("from")), _time_of(valid.get("to"))
        if start is not None and end is not None and start >= end:
            faults["to"] = "is not after the start"
        matching = EntryFilter(
            state=_STATES.get(valid.get("state", "")),
            workflow_id=valid.get("workflow"),
            recorded_from=start,
            recorded_to=end,
            execution_id=valid.get("id"),
        )
        return cls(values, matching, faults)

    @property
    def text(self) -> str:
        return self.values.get("text", "")

    @property
    def is_grouped(self) -> bool:
        return "group" in self.values

    @property
    def is_searched(self) -> bool:
        """Return whether the list has the newest matches only, because their text is searched or grouped."""
        return bool(self.text) or self.is_grouped

    @property
    def is_dead_only(self) -> bool:
        return self.matching.state == "dead"

    @property
    def has_criteria(self) -> bool:
        return bool(self.values.keys() - {"group"})

    @property
    def has_details(self) -> bool:
        """Return whether a field is set that the form shows on request only."""
        return bool(self.values.keys() & {"workflow", "id", "from", "to"})

    @property
    def time_inputs(self) -> Mapping[str, str]:
        """Return the values of the time fields, in UTC, as browsers expect them. An invalid time is left out."""
        times = {"from": self.matching.recorded_from, "to": self.matching.recorded_to}
        return {
            name: time.isoformat(timespec="milliseconds" if time.microsecond else "seconds").removesuffix("+00:00")
            for name, time in times.items()
            if time is not None
        }

    def url(self, **changes: str) -> str:
        """Return the URL of the list with some fields changed. An empty value removes a field."""
        values = {name: text for name, text in {**self.values, **changes}.items() if text}
        return f"/events?{urlencode(values)}" if values else "/events"


def read_query(request: web.Request) -> Mapping[str, str]:
    """Return the query of a URL. Raise HTTPBadRequest if it is no text, or has the same field twice."""
    query = request.query
    if len(query) > len(set(query)):
        raise web.HTTPBadRequest(reason="the address has the same field twice")
    for text in query.values():
        if has_control_character(text) or not _is_unicode(text):
            raise web.HTTPBadRequest(reason="the address holds bytes that are not text")
    return dict(query)


def _is_unicode(text: str) -> bool:
    """Return whether a text can be encoded. Bytes of a URL that are not UTF-8 become halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_faults(values: Mapping[str, str]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for name, text in values.items():
        match name:
            case "state" if text not in _STATES:
                faults[name] = f"is not a state: {', '.join(_STATES)}"
            case "from" | "to" if _time_of(text) is None:
                faults[name] = "is not a time such as 2026-11-20T00:00:00Z"
            case "workflow" | "id" if not is_id(text):
                faults[name] = "is too long for an ID"
            case "text" if len(text) > MAX_TEXT_CHARACTERS:
                faults[name] = f"is longer than {MAX_TEXT_CHARACTERS} characters"
            case "group" if text != GROUP_BY_MESSAGE:
                faults[name] = f"is not {GROUP_BY_MESSAGE}"
    return faults


def _time_of(text: str | None) -> datetime | None:
    """Return the time in UTC, or None if the text is no time. A time without a zone is in UTC."""
    try:
        return None if text is None else parse_time(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
