"""The search for secrets in one text: which rows of the table may match it, and their application.

A text without any marker of the table holds no secret, so the fast path searches only for markers.
"""

import re

from forwarder.redaction.patterns import TABLE
from forwarder.redaction.sensitive_names import MARKERS, SHORT_MARKERS, IsSecret, holds_short_name
from forwarder.redaction.vendors import MIN_KEY_CHARACTERS, may_hold_key, without_keys


def _fast_path() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return pairs of signs and of the markers of all rows with these signs, for `cannot_match`.

    Rows with MARKERS are omitted, because `_holds_name` decides about them.
    """
    by_signs: dict[tuple[str, ...], dict[str, None]] = {}
    for row in TABLE:
        if row.markers is not MARKERS:
            by_signs.setdefault(row.signs, {}).update(dict.fromkeys(row.markers))
    return tuple((signs, tuple(markers)) for signs, markers in by_signs.items())


_FAST = _fast_path()
_SIGNS_OF_NAMES = tuple(dict.fromkeys(sign for row in TABLE if row.markers is MARKERS for sign in row.signs))
_has_word = re.compile(r"[^\W\d_]{2}").search
_has_wordless_marker = re.compile(r"://|%(?:25)?40|8Q~|r8_|\.[\w-]{6}\.").search
"""Search for the markers without two letters in a row. The last one is the middle of Discord's keys."""


def cannot_match(text: str) -> bool:
    """Return whether no marker of the table occurs in the text, so that no row can change it."""
    # Most values are short ids, numbers and times.
    if len(text) < MIN_KEY_CHARACTERS and text.isalnum():
        return True
    if _has_word(text) is None and _has_wordless_marker(text) is None:
        return True
    folded = text.lower()
    if _has_one(_SIGNS_OF_NAMES, folded) and _holds_name(folded):
        return False
    for signs, markers in _FAST:
        if (not signs or _has_one(signs, folded)) and _has_one(markers, folded):
            return False
    return not may_hold_key(text)


def redact_full(text: str, is_secret: IsSecret, *, every_name: bool = False) -> str:
    """Apply each row whose marker occurs in the text, and return the result.

    `every_name` applies the rows for names to every text. It is needed if names were added, because `MARKERS` does not
    contain them.
    """
    folded = text.lower()
    holds_name = every_name or _holds_name(folded)
    for row in TABLE:
        if row.signs and not _has_one(row.signs, folded):
            continue
        if holds_name if row.markers is MARKERS else _has_one(row.markers, folded):
            text = row.replace(text, is_secret)
    return without_keys(text)


def _holds_name(folded: str) -> bool:
    return _has_one(MARKERS, folded) or (_has_one(SHORT_MARKERS, folded) and holds_short_name(folded) is not None)


def _has_one(pieces: tuple[str, ...], folded: str) -> bool:
    for piece in pieces:  # noqa: SIM110  # `any` with a generator takes twice as long, and this runs for every text
        if piece in folded:
            return True
    return False
