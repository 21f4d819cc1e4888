"""Taking secrets and client addresses out of what is recorded, by name and by shape.

It happens before anything is written to disk, and again nowhere: what is in the ledger is fit to be sent and shown.
"""

import base64
import binascii
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

MAX_DEPTH = 200
TOO_DEEP = "[nested too deep]"
REDACTED = "[redacted]"

# Compared in lower case without punctuation, so that X-Api-Key, apiKey and api_key are one name.
_NAMES = frozenset(
    [
        "authorization",
        "cookie",
        "cookies",
        "setcookie",
        "credentials",
        "passwd",
        "pwd",
        "pass",
        "passphrase",
        "tokens",
        "secrets",
        "passwords",
        "apikeys",
        "forwarded",
        "xforwardedfor",
        "xrealip",
        "xclientip",
        "clientip",
        "remoteip",
        "remoteaddr",
        "remoteaddress",
        "ip",
        "ipaddress",
        "cfconnectingip",
        "trueclientip",
    ]
)
_ENDINGS = (
    *("authorization", "token", "password", "passcode", "secret", "cookie"),
    *(
        "apikey",
        "accesskey",
        "accesskeyid",
        "secretkey",
        "privatekey",
        "signingkey",
        "encryptionkey",
        "masterkey",
    ),
    *("sharedkey", "subscriptionkey", "authkey", "sessionkey", "sessionid"),
)
_PUNCTUATION = re.compile(r"[\W_]+")

_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31}+://)[^/\s@\"'<>]{1,1024}@")
_BEARER = re.compile(
    r"(?i)\b(?P<scheme>bearer)(?P<gap>[\s:=]{1,8}+)(?!(?:tokens?|auth\w*|schemes?|headers?|realm)\b)[^\s\"',;<>]++"
)
_BASIC = re.compile(r"(?i)\b(?P<scheme>basic)(?P<gap>\s{1,8}+)(?P<value>[A-Za-z0-9+/_-]{4,}+={0,2}+)")
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}+"  # AWS key ids
    r"|\beyJ[\w-]{5,}+\.[\w-]{2,}+(?:\.[\w-]*+)?+"  # JSON web tokens
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*+(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?+"
)
_TITLES = ("name", "key", "header")
# Without one of these signs there is no JSON, no name with its value and no address, so only words and shapes can tell.
_telling = re.compile(r"[=:%\"{\[]").search
SHORTEST_WORDS = len("bearer x")
# name=value in queries, forms and cookies; "name": "value" in JSON and what resembles it; Name: value in header dumps.
_PAIR = re.compile(
    r"(?P<name>[A-Za-z](?:[\w.\[\]-]|%5[BDbd]){1,63}+)(?P<gap>\s?=\s?|%3[Dd])"
    r"(?P<value>\"[^\"\n]*+\"?+|'[^'\n]*+'?+|[^&\s\"'<>;]++)"
)
_NAMED = re.compile(
    # As often escaped as the JSON is quoted; never from within a row of backslashes, which would be tried n² times.
    r"(?<!\\)(?P<slashes>\\*+)(?P<quote>[\"'])(?P<name>[\w .-]{1,64}+)(?P=slashes)(?P=quote)\s{0,8}+:\s{0,8}+"
)
_BOUNDARY = re.compile(r"(?<!\\)(?P<slashes>\\*+)(?P<quote>[\"'])|[\[\]{}]")
_BARE = re.compile(r"-?\d[\d.eE+-]*+")
_HEADER = re.compile(r"(?m)^(?P<start>[ \t]{0,8}+(?P<name>[A-Za-z][\w-]{1,63}+):[ \t]*+)(?P<value>\S.*+)$")

# Longer texts are cut before they are searched: no event has room for more, so the cut never shows.
LONGEST_TEXT = 1_200_000

LONGEST_NAME = 64
MOST_NAMES = 4096

LONGEST_FOREIGN = 1024
"""Characters of a text from outside that may stand in a log line, an error or the ledger."""

INT64 = range(-(2**63), 2**63)


class _Name(NamedTuple):
    """What there is to know of a field's name. A title names the field whose value stands beside it."""

    shown: str
    is_secret: bool
    is_title: bool


class Redactor:
    """Redacts a tree of JSON. `redact` are further names, `reveal` names that are left alone."""

    def __init__(self, redact: Collection[str] = (), reveal: Collection[str] = ()) -> None:
        names = _NAMES | {_plain(name) for name in redact}
        revealed = {_plain(name) for name in reveal}

        @lru_cache(maxsize=4096)
        def is_secret(ending: str) -> bool:
            plain = _plain(ending)
            if plain in revealed:
                return False
            singular = plain.removesuffix("s")
            return plain in names or singular in names or plain.endswith(_ENDINGS) or singular.endswith(_ENDINGS)

        self._is_secret_ending = is_secret
        self._known: dict[str, _Name] = {}

    def _is_secret(self, name: str) -> bool:
        # The end of a name tells, and names from outside may be of any length: what is remembered must not be.
        return self._is_secret_ending(name[-LONGEST_NAME:])

    def tree(self, value: Any, depth: int = 0) -> Any:
        """A copy without secrets, and within what EventBridge takes: no deeper than it says, integers of 64 bits."""
        if isinstance(value, str):
            return self.text(value, depth)
        if isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                return TOO_DEEP
            return self._object(value, depth + 1) if isinstance(value, dict) else self._list(value, depth + 1)
        if isinstance(value, int) and not INT64.start <= value < INT64.stop:
            return str(value)
        return value

    def text(self, text: str, depth: int = 0) -> str:
        return text if says_nothing(text) else self.searched(text, depth)

    def searched(self, text: str, depth: int = 0) -> str:
        """The same, whatever a glance says."""
        text = text[:LONGEST_TEXT]
        if text.startswith(("{", "[", '"')) and (inner := _json(text)) is not None:
            redacted = self.tree(inner, depth + 1)
            return text if redacted == inner else msgspec.json.encode(redacted).decode()
        # A look for what a pattern cannot do without is much quicker than the pattern, and most texts have none of it.
        if "=" in text or "%3" in text:
            text = _PAIR.sub(self._pair, text)
        if ":" in text:
            if '"' in text or "'" in text:
                text = self._named(text)
            if "://" in text and "@" in text:
                text = _USER_INFO.sub(rf"\g<scheme>{REDACTED}@", text)
            text = _HEADER.sub(self._header, text)
        lower = text.lower()
        if "bearer" in lower:
            text = _BEARER.sub(rf"\g<scheme>\g<gap>{REDACTED}", text)
        if "basic" in lower:
            text = _BASIC.sub(_basic, text)
        if "eyJ" in text or "AKIA" in text or "ASIA" in text or "PRIVATE KEY" in text:
            text = _SHAPES.sub(REDACTED, text)
        return text

    def _object(self, fields: dict[str, Any], depth: int) -> dict[str, Any]:
        known, shown, hides_value = self._known, {}, False
        for name, value in fields.items():
            told = known.get(name) or self._name(name)
            if told.is_secret:
                shown[told.shown] = self._hidden(value)
            elif isinstance(value, str):  # what `tree` would do, in one call: most fields are these
                shown[told.shown] = value if says_nothing(value) else self.searched(value, depth)
            else:
                shown[told.shown] = self.tree(value, depth)
            # A list of headers names them by value: {"name": "Authorization", "value": "…"}.
            if told.is_title and isinstance(value, str) and self._is_secret(value):
                hides_value = True
        if hides_value:
            shown.update({name: self._hidden(value) for name, value in fields.items() if name.lower() == "value"})
        return shown

    def _name(self, name: str) -> _Name:
        told = _Name(self.text(name), self._is_secret(name), is_title=name.lower() in _TITLES)
        # Names come again and again, in every record of a page; those that never do must not fill the memory.
        if len(name) <= LONGEST_NAME:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            self._known[name] = told
        return told

    def _list(self, items: list[Any], depth: int) -> list[Any]:
        """Headers are told as pairs, or as one flat list of names and values: what follows a name is its value."""
        shown: list[Any] = []
        before = None
        for item in items:
            is_told = isinstance(before, str) and isinstance(item, str) and before != item and self._is_secret(before)
            shown.append(REDACTED if is_told else self.tree(item, depth))
            before = item
        return shown

    def _hidden(self, value: Any) -> Any:
        return value if value is None or isinstance(value, bool) else REDACTED

    def _pair(self, found: re.Match[str]) -> str:
        return f"{found['name']}{found['gap']}{REDACTED}" if self._is_secret(found["name"]) else found[0]

    def _header(self, found: re.Match[str]) -> str:
        return f"{found['start']}{REDACTED}" if self._is_secret(found["name"]) else found[0]

    def _named(self, text: str) -> str:
        """JSON, or what resembles it, in the middle of a text: the value after each secret name is redacted."""
        kept: list[str] = []
        done = 0
        while found := _NAMED.search(text, done):
            if not self._is_secret(found["name"]):
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


_redactor = Redactor()


def foreign(text: object) -> str:
    """A text from outside, fit for a log line, an error, a terminal and the ledger: redacted, printable, and short."""
    shown = _redactor.text(str(text)[:LONGEST_TEXT])[:LONGEST_FOREIGN]
    return "".join(character if character.isprintable() else " " for character in shown)


def says_nothing(text: str) -> bool:
    """Whether a glance tells that `text` would be left as it is: so are most, and this is much quicker than to try."""
    if _telling(text) is not None or len(text) > LONGEST_TEXT:
        return False
    if len(text) < SHORTEST_WORDS:
        return True
    if "eyJ" in text or "AKIA" in text or "ASIA" in text or "PRIVATE KEY" in text:
        return False
    lower = text.lower()
    return "bearer" not in lower and "basic" not in lower


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())


def _basic(found: re.Match[str]) -> str:
    """RFC 7617: what follows is base64 of a name, a colon and a password; anything else is an English word."""
    try:
        is_secret = b":" in base64.b64decode(found["value"] + "===", altchars=b"-_" if "_" in found["value"] else None)
    except binascii.Error:
        is_secret = False
    return f"{found['scheme']}{found['gap']}{REDACTED}" if is_secret else found[0]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
