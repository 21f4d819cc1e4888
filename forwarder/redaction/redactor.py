"""Redacting a tree of JSON, and the texts that stand in it, which may be JSON again."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from forwarder.redaction.patterns import cannot_match, redact_full
from forwarder.redaction.sensitive_names import LONGEST_NAME, secret_names
from forwarder.redaction.values import REDACTED, is_message, may_be_count

MAX_DEPTH = 200
TOO_DEEP = "[nested too deep]"

LEAST_INT64, MOST_INT64 = -(2**63), 2**63 - 1

JSON_STARTS = ("{", "[", '"')

_TITLES = ("name", "key", "header", "field", "param")
_VALUES = ("value", "val", "values")
_SCHEMA = frozenset(
    ["type", "required", "minlength", "maxlength", "message", "rule", "label", "format", "path", "kind", "ref"]
)

# Longer texts are cut before they are searched: no event has room for more, so the cut never shows.
LONGEST_TEXT = 1_200_000

LONGEST_KNOWN = 256
MOST_KNOWN = 4096
"""Names and texts come again and again, in every record of a page, and those that never do must not fill the memory: so
many are remembered, and none that is longer."""

LONGEST_FOREIGN = 1024
"""Characters of a text from outside that may stand in a log line, an error or the ledger."""


class _Name(NamedTuple):
    """What there is to know of a field's name. A title names the field whose value stands beside it."""

    shown: str
    is_secret: bool
    is_title: bool


class Redactor:
    """Redacts a tree of JSON. `redact` are further names, `reveal` names that are left alone."""

    def __init__(self, redact: Collection[str] = (), reveal: Collection[str] = ()) -> None:
        self._is_secret = secret_names(redact, reveal)
        self._has_added = bool(redact)
        self._names: dict[str, _Name] = {}
        self._harmless_names: set[str] = set()
        self._harmless_texts: set[str] = set()
        self._redacted_texts: dict[str, str] = {}

    def tree(self, value: Any, depth: int = 0) -> Any:
        """A copy without secrets, and within what EventBridge takes: no deeper than it says, integers of 64 bits."""
        kind = type(value)
        if kind is str:
            return value if value in self._harmless_texts else self.text(value, depth)
        if kind is dict or kind is list:
            if depth > MAX_DEPTH:
                return TOO_DEEP
            return self._object(value, depth + 1) if kind is dict else self._list(value, depth + 1)
        if kind is int and not LEAST_INT64 <= value <= MOST_INT64:
            return str(value)
        return value

    def text(self, text: str, depth: int = 0) -> str:
        if (known := self._redacted_texts.get(text)) is not None:
            return known
        is_harmless = len(text) <= LONGEST_TEXT and not self._has_added and cannot_match(text)
        told = text if is_harmless and not text.startswith(JSON_STARTS) else self.redact_full(text, depth)
        # How JSON is told depends on how deep it stands.
        if not text.startswith(JSON_STARTS) and len(text) <= LONGEST_KNOWN:
            if told == text:
                _remember(self._harmless_texts, text)
            else:
                if len(self._redacted_texts) >= MOST_KNOWN:
                    self._redacted_texts.clear()
                self._redacted_texts[text] = told  # the same header or address comes with every execution
        return told

    def redact_full(self, text: str, depth: int = 0) -> str:
        """Return the same, without the fast path."""
        text = text[:LONGEST_TEXT]
        if text.startswith(JSON_STARTS) and (inner := _json(text)) is not None:
            redacted = self.tree(inner, depth + 1)
            return text if redacted == inner else msgspec.json.encode(redacted).decode()
        return redact_full(text, self._is_secret, every_name=self._has_added)

    def _object(self, fields: dict[str, Any], depth: int) -> dict[str, Any]:
        harmless_names, harmless_texts = self._harmless_names, self._harmless_texts
        shown: dict[str, Any] = {}
        hides_value = False
        for name, value in fields.items():
            if name in harmless_names:  # as most are, and most of their values are known, too
                shown[name] = value if type(value) is str and value in harmless_texts else self.tree(value, depth)
                continue
            told = self._names.get(name) or self._name(name)
            shown[told.shown] = self._secret(name, value, depth) if told.is_secret else self.tree(value, depth)
            # A list of headers names them by value: {"name": "Authorization", "value": "…"}.
            if told.is_title and isinstance(value, str) and self._is_secret(value):
                hides_value = True
        if hides_value:
            shown.update({name: _hidden(value) for name, value in fields.items() if name.lower() in _VALUES})
        return shown

    def _secret(self, name: str, value: Any, depth: int) -> Any:
        """Hide a value under a secret name, unless it is a count, a sentence of validation or a schema."""
        if isinstance(value, int | float) and may_be_count(name):
            return self.tree(value, depth)
        items = value if isinstance(value, list) else [value]
        if items and all(isinstance(item, str) and is_message(item) for item in items):
            return self.tree(value, depth)
        if isinstance(value, dict) and value and _SCHEMA.issuperset(map(str.lower, value)):
            return self.tree(value, depth)
        return _hidden(value)

    def _name(self, name: str) -> _Name:
        told = _Name(self.text(name), self._is_secret(name), is_title=name.lower() in _TITLES)
        if told == (name, False, False):
            _remember(self._harmless_names, name)
        elif len(name) <= LONGEST_NAME:
            if len(self._names) >= MOST_KNOWN:
                self._names.clear()
            self._names[name] = told
        return told

    def _list(self, items: list[Any], depth: int) -> list[Any]:
        """Headers are told as pairs, or as one flat list of names and values: what follows a name is its value."""
        shown: list[Any] = []
        before = None
        for item in items:
            is_told = (
                isinstance(before, str)
                and isinstance(item, str)
                and before != item
                and not is_field_name(item)
                and before.count(" ") <= 1
                and self._is_secret(before)
            )
            shown.append(REDACTED if is_told else self.tree(item, depth))
            before = item
        return shown


_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z_-]{1,23}")


def is_field_name(text: str) -> bool:
    """Return whether a text is a word of letters: in a list it is another name rather than a value."""
    return _FIELD_NAME.fullmatch(text) is not None


def _hidden(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else REDACTED


def _remember(known: set[str], text: str) -> None:
    if len(text) <= LONGEST_KNOWN:
        if len(known) >= MOST_KNOWN:
            known.clear()
        known.add(text)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


_redactor = Redactor()


def foreign(text: object) -> str:
    """A text from outside, fit for a log line, an error, a terminal and the ledger: redacted, printable, and short."""
    shown = _redactor.text(str(text)[:LONGEST_TEXT])[:LONGEST_FOREIGN]
    return "".join(character if character.isprintable() else " " for character in shown)
