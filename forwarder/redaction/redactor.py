"""The redactor of JSON trees and of the texts in them. A text may itself be JSON."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from forwarder.printable import printable
from forwarder.redaction.matching import cannot_match, redact_full
from forwarder.redaction.sensitive_names import MAX_NAME_CHARACTERS, secret_names
from forwarder.redaction.values import REDACTED, is_message, may_be_count
from forwarder.untrusted_json import decode_or_none

MAX_DEPTH = 200
TOO_DEEP = "[nested too deep]"

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1

JSON_STARTS = ("{", "[", '"')

_TITLES = ("name", "key", "header", "field", "param")
_VALUES = ("value", "val", "values")
_SCHEMA = frozenset(
    ["type", "required", "minlength", "maxlength", "message", "rule", "label", "format", "path", "kind", "ref"]
)

_SCHEMA_MARKS = frozenset(["type", "required", "rule", "kind"])
"""The fields of which a schema or the report of a validation has one."""

MAX_TEXT_CHARACTERS = 1_200_000
"""The length to which a text is cut before it is searched. Only a payload that is stored in S3 has longer texts."""

CUT_MARK = f" [cut after {MAX_TEXT_CHARACTERS} characters]"

MAX_CACHED_CHARACTERS = 256
MAX_CACHED_TEXTS = 4096
"""The number of names or texts in each cache. Most names and texts occur in every record of a page.

Texts above MAX_CACHED_CHARACTERS are not cached, because they rarely repeat and would fill the memory.
"""

MAX_SANITIZED_CHARACTERS = 1024
"""The length to which a text from outside is cut before it is logged, raised in an error or saved in the ledger."""


class _FieldName(NamedTuple):
    """A classified field name. `redacted` is the name without secrets in it.

    `is_title` is whether the value of the field may be the name of another value, as in a list of headers.
    """

    redacted: str
    is_secret: bool
    is_title: bool


class Redactor:
    """A redactor of JSON trees. `redact` adds secret names. `redact_except` lists names that are never redacted."""

    def __init__(self, redact: Collection[str] = (), redact_except: Collection[str] = ()) -> None:
        self._is_secret = secret_names(redact, redact_except)
        self._has_added = bool(redact)
        self._names: dict[str, _FieldName] = {}
        self._harmless_names: set[str] = set()
        self._harmless_texts: set[str] = set()
        self._redacted_texts: dict[str, str] = {}

    def tree(self, value: Any, depth: int = 0) -> Any:
        """Return a copy without secrets, within limits that EventBridge accepts.

        Objects and lists deeper than MAX_DEPTH become TOO_DEEP. Integers that exceed 64 bits become texts. `depth`
        counts the levels around the value.
        """
        kind = type(value)
        if kind is str:
            return value if value in self._harmless_texts else self.text(value, depth)
        if kind is dict or kind is list:
            if depth > MAX_DEPTH:
                return TOO_DEEP
            return self._object(value, depth + 1) if kind is dict else self._list(value, depth + 1)
        if kind is int and not MIN_INT64 <= value <= MAX_INT64:
            return str(value)
        return value

    def text(self, text: str, depth: int = 0) -> str:
        """Return the text without secrets. A text that is JSON is redacted as a tree.

        `depth` counts the levels of JSON around it.
        """
        if (known := self._redacted_texts.get(text)) is not None:
            return known
        is_harmless = len(text) <= MAX_TEXT_CHARACTERS and not self._has_added and cannot_match(text)
        result = text if is_harmless and not text.startswith(JSON_STARTS) else self.redact_full(text, depth)
        # The result of JSON depends on its depth, so it is not cached.
        if not text.startswith(JSON_STARTS) and len(text) <= MAX_CACHED_CHARACTERS:
            if result == text:
                _cache(self._harmless_texts, text)
            else:
                if len(self._redacted_texts) >= MAX_CACHED_TEXTS:
                    self._redacted_texts.clear()
                self._redacted_texts[text] = result  # every execution has the same headers and addresses
        return result

    def redact_full(self, text: str, depth: int = 0) -> str:
        """Return the same as `text`, without the fast path and the caches."""
        if len(text) > MAX_TEXT_CHARACTERS:
            return redact_full(text[:MAX_TEXT_CHARACTERS], self._is_secret, every_name=self._has_added) + CUT_MARK
        if text.startswith(JSON_STARTS) and (inner := decode_or_none(text)) is not None:
            redacted = self.tree(inner, depth + 1)
            return text if redacted == inner else msgspec.json.encode(redacted).decode()
        return redact_full(text, self._is_secret, every_name=self._has_added)

    def _object(self, fields: dict[str, Any], depth: int) -> dict[str, Any]:
        harmless_names, harmless_texts = self._harmless_names, self._harmless_texts
        redacted: dict[str, Any] = {}
        redacts_value = False
        for name, value in fields.items():
            if name in harmless_names:  # the common case: a known name with a known value
                redacted[name] = value if type(value) is str and value in harmless_texts else self.tree(value, depth)
                continue
            result = self._names.get(name) or self._name(name)
            redacted[result.redacted] = (
                self._secret_value(name, value, depth) if result.is_secret else self.tree(value, depth)
            )
            # A list of headers names them by value: {"name": "Authorization", "value": "…"}.
            if result.is_title and isinstance(value, str) and self._is_secret(value):
                redacts_value = True
        if redacts_value:
            redacted.update({name: _redacted_value(value) for name, value in fields.items() if name.lower() in _VALUES})
        return redacted

    def _secret_value(self, name: str, value: Any, depth: int) -> Any:
        """Return the value of a secret name redacted, unless it is a count, a validation message or a schema."""
        if isinstance(value, int | float) and may_be_count(name, str(value)):
            return self.tree(value, depth)
        items = value if isinstance(value, list) else [value]
        if items and all(isinstance(item, str) and is_message(item) for item in items):
            return self.tree(value, depth)
        if isinstance(value, dict) and value and _SCHEMA.issuperset(map(str.lower, value)):
            if not _SCHEMA_MARKS.isdisjoint(map(str.lower, value)):
                return self.tree(value, depth)
            # A report about the field has sentences. Other texts may be the secret itself.
            return {each: self._secret_value(name, inner, depth + 1) for each, inner in value.items()}
        return _redacted_value(value)

    def _name(self, name: str) -> _FieldName:
        result = _FieldName(self.text(name), self._is_secret(name), is_title=name.lower() in _TITLES)
        if result == (name, False, False):
            _cache(self._harmless_names, name)
        elif len(name) <= MAX_NAME_CHARACTERS:
            if len(self._names) >= MAX_CACHED_TEXTS:
                self._names.clear()
            self._names[name] = result
        return result

    def _list(self, items: list[Any], depth: int) -> list[Any]:
        """Redact the items of a list, also the item after a secret name: headers may be a flat list of pairs."""
        return [
            REDACTED if type(item) is str and index and self._is_value_of_pair(items, index) else self.tree(item, depth)
            for index, item in enumerate(items)
        ]

    def _is_value_of_pair(self, items: list[Any], index: int) -> bool:
        name, value = items[index - 1], items[index]
        if type(name) is not str or name == value or name.count(" ") > 1:
            return False
        # A word without digits is another name, as in a list of required fields, unless it follows that of a header.
        is_pair = index % 2 == 1 and len(items) % 2 == 0 and is_header_name(name)
        return (is_pair or not is_field_name(value)) and self._is_secret(name)


def is_header_name(text: str) -> bool:
    """Return whether a text is the name of a header, such as `X-Api-Key` or `authorization`."""
    return "-" in text or text in ("Authorization", "authorization", "Cookie", "cookie")


_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z_-]{1,23}")


def is_field_name(text: str) -> bool:
    """Return whether a text is one word without digits. In a list, such a word is a name rather than a value."""
    return _FIELD_NAME.fullmatch(text) is not None


def _redacted_value(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else REDACTED


def _cache(known: set[str], text: str) -> None:
    if len(text) <= MAX_CACHED_CHARACTERS:
        if len(known) >= MAX_CACHED_TEXTS:
            known.clear()
        known.add(text)


_redactor = Redactor()


def sanitize(text: object) -> str:
    """Return a text from outside redacted, on one printable line, and cut to MAX_SANITIZED_CHARACTERS.

    The result is safe for logs, errors, terminals and the ledger.
    """
    redacted = _redactor.text(str(text)[:MAX_TEXT_CHARACTERS])[:MAX_SANITIZED_CHARACTERS]
    return printable(redacted)
