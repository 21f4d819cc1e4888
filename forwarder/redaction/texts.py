"""Secrets in a text that is not JSON, or not as a whole: as the value of a name, or by their own shape."""

import base64
import binascii
import re

from forwarder.redaction.names import LONGEST_NAME, IsSecret

REDACTED = "[redacted]"

_USER_INFO = re.compile(r"://[^/\s@\"'<>]{1,1024}@")
_BEARER = re.compile(
    r"(?i)\b(?P<scheme>bearer)(?P<gap>[\s:=]{1,8}+)(?!(?:tokens?|auth\w*|schemes?|headers?|realm)\b)[^\s\"',;<>]++"
)
_BASIC = re.compile(r"(?i)\b(?P<scheme>basic)(?P<gap>\s{1,8}+)(?P<value>[A-Za-z0-9+/_-]{4,}+={0,2}+)")
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}+"  # AWS key ids
    r"|\beyJ[\w-]{5,}+\.[\w-]{2,}+(?:\.[\w-]*+)?+"  # JSON web tokens
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?+"
)
# name=value in queries, forms and cookies; "name": "value" in JSON and what resembles it; Name: value in header dumps.
_EQUALS = re.compile(r"=|%3[Dd]")
_PAIRED = re.compile(r"\s?+(?P<value>\"[^\"\n]*+\"?+|'[^'\n]*+'?+|[^&\s\"'<>;]++)")
_OF_NAMES = frozenset("_.-[]")
_BRACKETS = re.compile(r"%5[BDbd]")
_NAMED = re.compile(
    # As often escaped as the JSON is quoted; never from within a row of backslashes, which would be tried n² times.
    r"(?<!\\)(?P<slashes>\\*+)(?P<quote>[\"'])(?P<name>[\w .-]{1,64}+)(?P=slashes)(?P=quote)\s{0,8}+:\s{0,8}+"
)
_BOUNDARY = re.compile(r"(?<!\\)(?P<slashes>\\*+)(?P<quote>[\"'])|[\[\]{}]")
_BARE = re.compile(r"-?\d[\d.eE+-]*+")
_HEADER = re.compile(r"(?m)^(?P<start>[ \t]{0,8}+(?P<name>[A-Za-z][\w-]{1,63}+):[ \t]*+)(?P<value>\S.*+)$")

# Without one of these signs there is no JSON, and no name with its value but after a colon: most texts have none.
_telling = re.compile(r"[=%\"{\[]").search
_starts_header = re.compile(r"(?m)^[ \t]{0,8}+[A-Za-z][\w-]{1,63}+:").search
SHORTEST_WORDS = len("bearer x")


def says_nothing(text: str) -> bool:
    """Whether a glance tells that `text` would be left as it is: so are most, and this is much quicker than to try."""
    if _telling(text) is not None:
        return False
    if ":" in text and ("'" in text or "@" in text or _starts_header(text) is not None):
        return False
    if len(text) < SHORTEST_WORDS:
        return True
    if _may_hold_a_shape(text):
        return False
    lower = text.lower()
    return "bearer" not in lower and "basic" not in lower


def without_secrets(text: str, is_secret: IsSecret) -> str:
    # A look for what a pattern cannot do without is much quicker than the pattern, and most texts have none of it.
    if "=" in text or "%3" in text:
        text = _without_paired(text, is_secret)
    if ":" in text:
        if '"' in text or "'" in text:
            text = _without_named(text, is_secret)
        if "://" in text and "@" in text:
            text = _USER_INFO.sub(f"://{REDACTED}@", text)
        text = _HEADER.sub(lambda found: found["start"] + REDACTED if is_secret(found["name"]) else found[0], text)
    lower = text.lower()
    if "bearer" in lower:
        text = _BEARER.sub(rf"\g<scheme>\g<gap>{REDACTED}", text)
    if "basic" in lower:
        text = _BASIC.sub(_basic, text)
    return _SHAPES.sub(REDACTED, text) if _may_hold_a_shape(text) else text


def _may_hold_a_shape(text: str) -> bool:
    return "eyJ" in text or "AKIA" in text or "ASIA" in text or "PRIVATE KEY" in text


def _without_paired(text: str, is_secret: IsSecret) -> str:
    """The value of a name that tells nothing may hold further pairs, as an address in a query does."""
    kept: list[str] = []
    done = 0
    for equals in _EQUALS.finditer(text):
        if equals.start() < done or not is_secret(_name_before(text, equals.start())):
            continue
        if paired := _PAIRED.match(text, equals.end()):
            kept += text[done : paired.start("value")], REDACTED
            done = paired.end()
    kept.append(text[done:])
    return "".join(kept)


def _name_before(text: str, end: int) -> str:
    """The end of the name that ends here, or before one space. It begins after what is escaped as in a query, but for
    brackets."""
    told = text[max(0, end - LONGEST_NAME) : end]
    if told[-1:].isspace():
        told = told[:-1]
    if "%5" in told:
        told = _BRACKETS.sub("_", told)
    start = len(told)
    while start > 0 and (told[start - 1].isalnum() or told[start - 1] in _OF_NAMES):
        start -= 1
    is_escaped = told[start - 1 : start] == "%"
    return told[start + 2 :] if is_escaped else told[start:]


def _without_named(text: str, is_secret: IsSecret) -> str:
    """JSON, or what resembles it, in the middle of a text: the value after each secret name is redacted."""
    kept: list[str] = []
    done = 0
    while found := _NAMED.search(text, done):
        if not is_secret(found["name"]):
            kept.append(text[done : found.end("name")])
            done = found.end("name")
            continue
        end = _end_of_value(text, found.end(), found["slashes"])
        hides = end > found.end()
        mark = f"{found['slashes']}{found['quote']}"
        kept += text[done : found.end()], f"{mark}{REDACTED}{mark}" if hides else ""
        done = max(end, found.end())
    kept.append(text[done:])
    return "".join(kept)


def _end_of_value(text: str, start: int, slashes: str) -> int:
    """Where a value ends whose quotes are escaped by `slashes`: to the end of the text where it is not closed."""
    depth = 0
    open_quote = ""
    for boundary in _BOUNDARY.finditer(text, start):
        if boundary["quote"]:
            if depth == 0 and not open_quote and boundary.start() > start:
                break
            if boundary["slashes"] == slashes and open_quote in ("", boundary["quote"]):
                open_quote = "" if open_quote else boundary["quote"]
        elif not open_quote:
            if depth == 0 and boundary.start() > start:
                break
            depth += 1 if boundary[0] in "[{" else -1
        if depth <= 0 and not open_quote:
            return boundary.end()
    if depth > 0 or open_quote:
        return len(text)
    bare = _BARE.match(text, start)
    return bare.end() if bare else start


def _basic(found: re.Match[str]) -> str:
    """RFC 7617: what follows is base64 of a name, a colon and a password; anything else is an English word."""
    try:
        is_secret = b":" in base64.b64decode(found["value"] + "===", altchars=b"-_" if "_" in found["value"] else None)
    except binascii.Error:
        is_secret = False
    return f"{found['scheme']}{found['gap']}{REDACTED}" if is_secret else found[0]
