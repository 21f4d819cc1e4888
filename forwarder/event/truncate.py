"""The size of an event as EventBridge counts it, and the steps that make an event fit.

The steps remove the least important parts first, and `trimmed` names the parts that were removed. An event is never
dropped for its size: the last step leaves a bounded number of bounded strings.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from forwarder.event.block_errors import is_failed_block

TIME_BYTES = 14
"""The size of an entry's time. Source: "Calculating Amazon EventBridge PutEvents event entry size"."""

LONG_STRING_BYTES = 4096
"""The size, as JSON, to which each string except the stack is cut, before the stack itself is removed."""

SHORT_STRING_BYTES = 1024
"""The size, as JSON, to which the last step cuts every string."""

MAX_BLOCK_LEVELS = 8

Detail = dict[str, Any]


def entry_bytes(source: str, detail_type: str, detail: bytes) -> int:
    """Return the size of an entry in bytes, as EventBridge counts it: 14 for its time, and its texts in UTF-8.

    The entry has a time and no resources.
    """
    return TIME_BYTES + len(source.encode()) + len(detail_type.encode()) + len(detail)


def max_detail_bytes(source: str, detail_type: str, max_entry_bytes: int) -> int:
    """Return the largest size of the detail of an entry, in bytes."""
    return max_entry_bytes - entry_bytes(source, detail_type, b"")


def fit(detail: Detail, max_bytes: int) -> bytes:
    """Return `detail` as JSON of at most `max_bytes`.

    If it is larger, parts are removed, and its field `trimmed` has their names and the original size.
    """
    encoded = msgspec.json.encode(detail)
    if len(encoded) <= max_bytes:
        return encoded
    earlier = detail.get("trimmed") or {"shed": [], "originalBytes": len(encoded)}
    shed = list(earlier["shed"])
    for name, step in _STEPS:
        detail = step(detail)
        if name not in shed:
            shed.append(name)
        detail["trimmed"] = {**earlier, "shed": shed}
        encoded = msgspec.json.encode(detail)
        if len(encoded) <= max_bytes:
            break
    return encoded


def fit_encoded(encoded: bytes, max_bytes: int) -> bytes:
    """Return a detail that is already encoded, as JSON of at most `max_bytes`. Remove parts like `fit`."""
    return encoded if len(encoded) <= max_bytes else fit(msgspec.json.decode(encoded), max_bytes)


def truncate_text(text: str, limit: int) -> str:
    """Return the start of a text and a note of the missing length. Together they take at most `limit` bytes as JSON."""
    if len(text) <= limit // 6 or len(msgspec.json.encode(text)) <= limit:  # no character takes more than six
        return text
    kept = text[:limit]
    while True:
        truncated = f"{kept}… [{len(text) - len(kept)} characters more]"
        excess = len(msgspec.json.encode(truncated)) - limit
        if excess <= 0:
            return truncated
        kept = kept[: -max(1, excess // 6)]


def _without_data(detail: Detail, is_selected: Callable[[object], bool]) -> Detail:
    if "results" not in detail:
        return dict(detail)
    return {**detail, "results": _blocks_without_data(detail["results"], is_selected, MAX_BLOCK_LEVELS)}


def _blocks_without_data(value: Any, is_selected: Callable[[object], bool], levels: int) -> Any:
    """Return results without the `data` of selected blocks. Blocks are searched at most `levels` levels deep."""
    if not levels:
        return value
    if isinstance(value, list):
        return [_blocks_without_data(item, is_selected, levels - 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "data" in value:
        return {key: item for key, item in value.items() if key != "data"} if is_selected(value) else value
    return {key: _blocks_without_data(item, is_selected, levels - 1) for key, item in value.items()}


def _shed_other_data(detail: Detail) -> Detail:
    return _without_data(detail, lambda block: not is_failed_block(block))


def _shed_failed_data(detail: Detail) -> Detail:
    return _without_data(detail, is_failed_block)


def _truncate_long_strings(detail: Detail) -> Detail:
    stack = (detail.get("error") or {}).get("stack")
    shorter: Detail = _truncate_all(detail, LONG_STRING_BYTES)
    if stack is not None:
        shorter["error"]["stack"] = stack
    return shorter


def _shed_stack(detail: Detail) -> Detail:
    return {**detail, "error": {key: value for key, value in detail["error"].items() if key != "stack"}}


def _shed_results(detail: Detail) -> Detail:
    results = detail.get("results")
    count = len(results) if isinstance(results, list) else 1
    ids = {key: detail[key] for key in ("executionId", "workflowId", "userId") if key in detail}
    return {**_truncate_all(detail | {"results": None}, SHORT_STRING_BYTES), **ids, "results": count}


def _truncate_all(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return truncate_text(value, limit)
    if isinstance(value, dict):
        return {truncate_text(key, limit): _truncate_all(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [_truncate_all(item, limit) for item in value]
    return value


_STEPS: tuple[tuple[str, Callable[[Detail], Detail]], ...] = (
    ("data of other blocks", _shed_other_data),
    ("data of failed blocks", _shed_failed_data),
    ("long strings", _truncate_long_strings),
    ("stack", _shed_stack),
    ("results", _shed_results),
)
SHEDDABLE = tuple(name for name, _ in _STEPS)
