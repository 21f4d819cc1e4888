"""Making an event fit by leaving out what matters least, and saying so in it.

An event is never dropped for its size: the last step leaves a bounded number of bounded strings.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from forwarder.event.block_errors import is_failed_block

LONG_STRING = 4096
"""Bytes as JSON. Longer strings are cut to this before the stack has to go."""

SHORT_STRING = 1024
"""Bytes as JSON that the last step leaves of every string."""

MAX_BLOCK_LEVELS = 8

Detail = dict[str, Any]


def fit(detail: Detail, room: int) -> bytes:
    """`detail` as JSON of at most `room` bytes; what was shed and the original size stand in `trimmed`."""
    encoded = msgspec.json.encode(detail)
    if len(encoded) <= room:
        return encoded
    before = detail.get("trimmed") or {"shed": [], "originalBytes": len(encoded)}
    shed = list(before["shed"])
    for name, step in _STEPS:
        detail = step(detail)
        if name not in shed:
            shed.append(name)
        detail["trimmed"] = {**before, "shed": shed}
        encoded = msgspec.json.encode(detail)
        if len(encoded) <= room:
            break
    return encoded


def refit(encoded: bytes, room: int) -> bytes:
    """The same for a detail that is JSON already."""
    return encoded if len(encoded) <= room else fit(msgspec.json.decode(encoded), room)


def marked_as_replay(encoded: bytes) -> bytes:
    """The same detail with `forwarder.replay`, so that whoever receives it twice knows that it was meant."""
    detail = msgspec.json.decode(encoded)
    detail["forwarder"]["replay"] = True
    return msgspec.json.encode(detail)


def cut(text: str, limit: int) -> str:
    """The start of a text, so that it takes at most `limit` bytes as JSON, and a note of how much is missing."""
    if len(text) <= limit // 6 or len(msgspec.json.encode(text)) <= limit:  # no character takes more than six
        return text
    kept = text[:limit]
    while True:
        shown = f"{kept}… [{len(text) - len(kept)} characters more]"
        over = len(msgspec.json.encode(shown)) - limit
        if over <= 0:
            return shown
        kept = kept[: -max(1, over // 6)]


def _without_data(detail: Detail, which: Callable[[object], bool]) -> Detail:
    if "results" not in detail:
        return dict(detail)
    return {**detail, "results": _blocks_without_data(detail["results"], which, MAX_BLOCK_LEVELS)}


def _blocks_without_data(value: Any, which: Callable[[object], bool], levels: int) -> Any:
    """Blocks may stand in an object, and runs of a block in a list."""
    if not levels:
        return value
    if isinstance(value, list):
        return [_blocks_without_data(item, which, levels - 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "data" in value:
        return {key: item for key, item in value.items() if key != "data"} if which(value) else value
    return {key: _blocks_without_data(item, which, levels - 1) for key, item in value.items()}


def _shed_other_data(detail: Detail) -> Detail:
    return _without_data(detail, lambda block: not is_failed_block(block))


def _shed_failed_data(detail: Detail) -> Detail:
    return _without_data(detail, is_failed_block)


def _cut_long_strings(detail: Detail) -> Detail:
    stack = (detail.get("error") or {}).get("stack")
    shorter: Detail = _cut_all(detail, LONG_STRING)
    if stack is not None:
        shorter["error"]["stack"] = stack
    return shorter


def _shed_stack(detail: Detail) -> Detail:
    return {**detail, "error": {key: value for key, value in detail["error"].items() if key != "stack"}}


def _shed_results(detail: Detail) -> Detail:
    results = detail.get("results")
    count = len(results) if isinstance(results, list) else 1
    ids = {key: detail[key] for key in ("executionId", "workflowId", "userId") if key in detail}
    return {**_cut_all(detail | {"results": None}, SHORT_STRING), **ids, "results": count}


def _cut_all(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return cut(value, limit)
    if isinstance(value, dict):
        return {cut(key, limit): _cut_all(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut_all(item, limit) for item in value]
    return value


_STEPS: tuple[tuple[str, Callable[[Detail], Detail]], ...] = (
    ("data of other blocks", _shed_other_data),
    ("data of failed blocks", _shed_failed_data),
    ("long strings", _cut_long_strings),
    ("stack", _shed_stack),
    ("results", _shed_results),
)
SHEDDABLE = tuple(name for name, _ in _STEPS)
