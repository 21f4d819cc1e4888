"""The validators of the settings of [source]: the base address, the statuses and the workflows."""

import re
from typing import Literal
from urllib.parse import urlsplit

from forwarder.model import MAX_ID_BYTES, Feed, is_id

_VERSION_SEGMENT = re.compile(r"/(v?[0-9]{4}-[0-9]{2})(?:/|$)")
_LOGS_SEGMENT = re.compile(r"/workflows?(?:/|$)|/logs(?:/|$)")
_SEVERAL_IDS = re.compile(r"(?=[\w-]*\d)[\w-]{6,}(?:[\s;]+(?=[\w-]*\d)[\w-]{6,})+")
"""Several ids in one text: words that hold a digit. Other words with a space between them may be one id."""


def reject_version_in_base_url(base_url: str, version: str) -> None:
    """Raise ValueError if the base address also holds the version or the path of the logs.

    The message begins with the name of the field.
    """
    path = urlsplit(base_url).path
    if found := _VERSION_SEGMENT.search(path):
        if version or _LOGS_SEGMENT.search(path):
            hint = f'leave it out, and set version = "{found[1]}"' if found[1] != version else "leave it out"
            raise ValueError(f"base_url holds a version already: {hint}")
    elif _LOGS_SEGMENT.search(path):
        raise ValueError("base_url is the address of a workflow's logs: leave out everything after the host")


def lowercase_all(values: object) -> object:
    return [str(value).lower() for value in values] if isinstance(values, (list, tuple)) else values


def parse_feed(value: object) -> Feed:
    """Return the feed of an id, or of a table with an id and a user. Raise ValueError if it is neither."""
    if isinstance(value, Feed):
        return value
    if isinstance(value, str):
        value = {"id": value}
    if not isinstance(value, dict) or not set(value) <= {"id", "user_id"}:
        raise ValueError('is neither a workflow id nor {id = "…", user_id = "…"}')
    workflow_id, user_id = value.get("id"), value.get("user_id")
    if not is_id(workflow_id) or not (user_id is None or is_id(user_id)):
        raise ValueError(f"has an id that is not a text of 1 to {MAX_ID_BYTES} bytes")
    _require_one_id(str(workflow_id), "workflow")
    if user_id is not None:
        _require_one_id(str(user_id), "user")
    return Feed(str(workflow_id), None if user_id is None else str(user_id))


def _require_one_id(text: str, id_type: Literal["workflow", "user"]) -> None:
    if "://" in text:
        raise ValueError(f"has an address in place of a {id_type} id: give the id alone, a part of that address")
    if id_type == "workflow" and ("," in text or _SEVERAL_IDS.fullmatch(text)):
        raise ValueError('has several workflow ids in one text: write them as a list, ["a", "b"]')
    if not text.isprintable():
        raise ValueError(f"has a {id_type} id with an invisible character inside")
    if id_type == "workflow" and (text in (".", "..") or "/" in text):
        raise ValueError("has a workflow id that is part of an address, such as one with a slash: give the id alone")


def unique_feeds(feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
    """Return the feeds in their order, each once."""
    return tuple(dict.fromkeys(feeds))
