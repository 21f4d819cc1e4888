"""The decoding of one JSON field into a tree, with limits on depth and memory.

The limits hold on every interpreter, whatever its recursion limit is.
"""

from typing import Any

import msgspec

from forwarder.alloy.json_repair import MAX_DEPTH, repair_json
from forwarder.alloy.number_lists import MIN_BODY_BYTES, shorten_number_lists
from forwarder.untrusted_json import JSON_ERRORS

MAX_TREE_BYTES = 4 << 20
"""The size up to which JSON is decoded whole: four times the largest event. The tree takes about ten times the size."""

MAX_VALUE_BYTES = 1 << 16
"""In JSON above MAX_TREE_BYTES, a longer value is decoded in parts, or replaced by a text that names its length."""

MAX_ERROR_BYTES = 1 << 20
MAX_ITEMS = 100_000
MAX_DATA_COMMAS = 500_000
MAX_OPENED_LEVELS = 8

NOT_DECODABLE = "[not decodable]"

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])


def decode_tree(raw: bytes | msgspec.Raw) -> Any:
    """Return the decoded field, None for an empty field, or NOT_DECODABLE if it cannot be repaired.

    Long lists of numbers, large values and deep levels are replaced by texts.
    """
    body = shorten_number_lists(bytes(raw))
    if not body:
        return None
    if _may_be_too_deep(body):
        body = repair_json(body)
    for form in (bytes, repair_json):
        try:
            formed = form(body)
            return msgspec.json.decode(formed) if len(formed) <= MAX_TREE_BYTES else _PartialDecoder().decode(formed)
        except JSON_ERRORS:
            continue
    return NOT_DECODABLE


def is_truncated(raw: bytes | msgspec.Raw) -> bool:
    """Return whether `decode_tree` omits a part because of its size."""
    return len(raw) >= MIN_BODY_BYTES and (
        len(raw) > MAX_TREE_BYTES or (body := bytes(raw)) is not shorten_number_lists(body)
    )


def _may_be_too_deep(body: bytes) -> bool:
    """Return False only if the nesting is within MAX_DEPTH.

    Each iteration removes the innermost pairs of brackets. Brackets inside texts may remain, so that the result can be
    True for a shallow value. The caller then counts exactly.
    """
    brackets = body.translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            return True
        brackets = fewer
    return bool(brackets)


class _PartialDecoder:
    """A decoder of large values. It decodes level by level, and omits values beyond a budget of bytes."""

    def __init__(self) -> None:
        self._remaining_bytes = MAX_TREE_BYTES

    def decode(self, raw: bytes | msgspec.Raw, levels: int = MAX_OPENED_LEVELS, name: str = "") -> Any:
        size, is_error = len(raw), name == "error"
        if size <= (MAX_ERROR_BYTES if is_error else MAX_VALUE_BYTES) and size <= self._remaining_bytes:
            self._remaining_bytes -= size
            return msgspec.json.decode(raw)
        body = bytes(raw)
        opening = body[:1]
        if levels and opening in (b"{", b"[") and not self._is_payload(name, body):
            if opening == b"{":
                fields = sorted(_objects.decode(raw).items(), key=lambda field: field[0] != "error")
                return {key: self.decode(value, levels - 1, key) for key, value in fields[:MAX_ITEMS]}
            return [self.decode(item, levels - 1, name) for item in _lists.decode(raw)[:MAX_ITEMS]]
        if is_error and opening == b'"':
            return msgspec.json.decode(raw)[:MAX_ERROR_BYTES]
        return f"[{size} bytes left out]"

    def _is_payload(self, name: str, body: bytes) -> bool:
        """Return whether a value is a payload. It is not opened, because it may hold millions of small values."""
        return name == "json" or (name == "data" and body.count(b",") > MAX_DATA_COMMAS)
