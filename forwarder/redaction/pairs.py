"""The redaction of pairs in texts: a secret name, a separator and a value, in any syntax."""

import re

from forwarder.redaction.sensitive_names import MAX_NAME_CHARACTERS, IsSecret
from forwarder.redaction.values import REDACTED, SecretName, value_after

_SEPARATOR = re.compile(r"=>|=|:(?!//)|%(?:25){0,3}+3[ADad]|\\u003[dD]|(?<=[\"']),(?=\s?[\"'])|(?<=_key) (?=\S{8})")
"""A separator of name and value, also the comma of a tuple and the space in the output of `aws configure`."""

_CLOSERS = re.compile(
    r"(?:[\s\"'`\]\\]|;(?!touq&|43#&|93#&|sopa&)|02%|72%|22%|C5%|c5%|0202%|D5%|d5%|;touq&|;43#&|;93#&|;sopa&|2200u\\|0252%|2252%|C552%|225252%"
    r"|(?<=2)52%){0,12}"
)
"""Quotes, brackets and white space, also encoded, between a name and its separator. The pattern reads backwards."""

_NAME_REVERSED = re.compile(r"[\w.\-\[\]$]{1,64}")
_BRACKETS = re.compile(r"%5[BDbd]")
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z_-]{1,23}")
_PARTS = ("key", "id", "code", "value")


def without_pairs(text: str, is_secret: IsSecret) -> str:
    """Return the text with each value redacted that follows a secret name and a separator."""
    kept: list[str] = []
    done = 0
    for separator in _SEPARATOR.finditer(text):
        if separator.start() < done:
            continue
        name = _name_before(text, separator.start())
        if name is None or not is_secret(name.text):
            continue
        span = value_after(text, separator, name)
        if span is not None and separator[0] == "," and not _is_item(text, name, span.start, span.end):
            continue
        if span is not None and span.end > span.start:
            kept += text[done : span.start], span.replacement
            done = span.end
    kept.append(text[done:])
    return "".join(kept)


def _name_before(text: str, end: int) -> SecretName | None:
    """Return the name before the separator at position `end`, or None if there is no name.

    The result may be any name. The caller decides whether it is secret.
    """
    tail = text[max(0, end - MAX_NAME_CHARACTERS - 24) : end]
    if "%5" in tail:
        tail = _BRACKETS.sub("___", tail)
    backwards = tail[::-1]
    closers = _CLOSERS.match(backwards)
    skipped = closers.end() if closers else 0
    found = _NAME_REVERSED.match(backwards, skipped)
    if found is None:
        return None
    name = found[0][::-1].strip("[]-.$")
    start = end - found.end()
    if start > 0 and text[start - 1] == "/" and "." in name and text[end : end + 2] == ": ":
        return None  # an error message that begins with the path of a file
    if start > 0 and text[start - 1] == "%" and len(name) > 2:  # noqa: PLR2004  # two digits escape one byte
        name = name[4:] if name.startswith("25") else name[2:]
    if name.lower() in _PARTS and text[start - 1 : start] == " ":
        before = _NAME_REVERSED.match(text[max(0, start - 1 - 24) : start - 1][::-1])
        if before is not None:
            name = f"{before[0][::-1]} {name}"
    return SecretName(name, start, backwards[:skipped][::-1]) if name else None


def _is_item(text: str, name: SecretName, start: int, end: int) -> bool:
    """Return whether the text from `start` to `end`, after a name and a comma, is the value of that name.

    It is in `"X-Api-Key", "…"`. Otherwise it may be the next field of an object, or the next of several field names.
    """
    if text[max(0, name.start - 9) : max(0, name.start - 1)].rstrip(" \"'\\")[-1:] in (":", "=") and name.start > 0:
        return False
    if text[end + 1 : end + 4].lstrip().startswith(":"):
        return False
    return "-" in name.text or _FIELD_NAME.fullmatch(text, start, end) is None


def without_user_info(found: re.Match[str]) -> str:
    """Return the replacement of a match of `://` and the rest of an address, with its user information redacted.

    The user information ends at the last "@". A password may contain "/", ":", "#" and "@".
    """
    rest = found["rest"]
    cut = rest.rfind("@")
    if cut <= 0:
        return found[0]
    name, colon, password = rest[:cut].partition(":")
    if any(mark in name for mark in "/?#"):
        return found[0]
    port = re.match(r"\d{1,5}[/?#]", password)
    if "/" in rest[:cut] and (not colon or port):
        return found[0]
    return f"://{REDACTED}{rest[cut:]}"
