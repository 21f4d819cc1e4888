"""The list of workflows as text: one workflow a line, and whatever a person pastes in its place."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from forwarder.model import Feed

USER_SEPARATOR = " user="
"""The text between the id of a workflow and the id of a user."""

_ITEM = re.compile(
    r"(?P<url>https?://[^\s,;?#]*(?:[?#](?:(?![,;]https?://)\S)*)?)|user=(?P<user>[^,;]*)|(?P<id>[^\s,;]+)"
)
"""An address, a user, or an id. A comma or semicolon separates addresses too, unless it is in a query."""

_WORKFLOW_PATH = re.compile(r"/workflows?/([^/]+)")


def format_feed(feed: object) -> str:
    """Return a feed, or an item of the settings file that is not valid, as a line."""
    match feed:
        case Feed(workflow_id, None):
            return workflow_id
        case Feed(workflow_id, user_id):
            return f"{workflow_id}{USER_SEPARATOR}{user_id}"
        case {"id": workflow_id, "user_id": user_id}:
            return f"{workflow_id}{USER_SEPARATOR}{user_id}"
        case {"id": workflow_id}:
            return str(workflow_id)
        case _:
            return str(feed)


def parse_workflows(text: str, known_lines: Iterable[str]) -> list[str | Mapping[str, str]]:
    """Return the items of the setting `source.workflows`, each once, in their order.

    Ids are separated by line ends, white space, commas or semicolons, and may be addresses that contain them. A line
    that was in the list before is not split, because an id in the settings file may contain any character.
    """
    known = frozenset(known_lines)
    found: dict[tuple[str, str | None], None] = {}
    for line in text.splitlines():
        items = [_parse_known_line(line)] if line in known else _parse_line(line)
        found |= dict.fromkeys(items)
    return [
        workflow_id if user_id is None else {"id": workflow_id, "user_id": user_id} for workflow_id, user_id in found
    ]


def _parse_known_line(line: str) -> tuple[str, str | None]:
    workflow_id, is_of_user, user_id = line.rpartition(USER_SEPARATOR)
    return (workflow_id.strip(), user_id.strip()) if is_of_user else (line, None)


def _parse_line(line: str) -> list[tuple[str, str | None]]:
    items: list[tuple[str, str | None]] = []
    for match in _ITEM.finditer(line):
        if (user := match["user"]) is not None:
            workflow_id = items.pop()[0] if items else ""
            items.append((workflow_id, user.strip()))
        else:
            items.append(_parse_address(match[0]))
    return items


def _parse_address(text: str) -> tuple[str, str | None]:
    """Return the ids in an address. Another text, or an address without a workflow, is returned unchanged."""
    try:
        address = urlsplit(text)
    except ValueError:  # such as brackets that are no IPv6 address
        return text, None
    if not (found := _WORKFLOW_PATH.search(address.path)):
        return text, None
    users: list[Any] = parse_qs(address.query).get("userId", [])
    return unquote(found[1]), users[0] if users else None
