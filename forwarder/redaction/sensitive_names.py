"""The decision whether a name is secret: whether its value is a secret or the address of a person.

A name is split into words. The words and their order decide.
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache

from forwarder.redaction.words import (
    EXACT_NAMES,
    FACT_WORDS,
    NON_PASSWORD_WORDS,
    PASSWORD_OWNERS,
    SECRET_KEY_WORDS,
    SECRET_WORDS,
    SUFFIXES,
    TOKEN_COUNT_WORDS,
)

MAX_NAME_CHARACTERS = 64
"""The length of the end of a name that is classified and cached. Names from outside may be of any length."""

STEMS_IN_PROSE = ("pass", "pwd", "secret", "token", "key", "pin", "otp", "signature", "credential", "contrase", "senha")

MARKERS = (
    *("pass", "pw", "psw", "secret", "token", "key", "auth", "credential", "cookie", "signature", "cvv", "cvc", "ssn"),
    *("otp", "bearer", "jwt", "hmac", "dsn", "salt", "assertion", "saml", "forwarded", "kennwort", "contrase", "senha"),
    *("wachtwoord", "clave", "пароль", "密码", "srf", "mnemonic", "kubeconfig", "wsse", "connection", "googleaccess"),
    *("remote", "seed", "appid", "awsid", "policy0", "privkey"),
)
SHORT_MARKERS = ("ip", "sid", "sig", "pin", "code", "sess")
"""Substrings of secret names, in lower case. A text without any of them holds no secret name.

A test compares these lists with the names.
"""

holds_short_name = re.compile(
    r"(?:ip(?:[ _.-]?addr(?:ess)?)?|sid|sig|pin|sess(?:ion)?(?:[ _.-]?id)?|code(?:[ _.-]?verifier)?)s?\d{0,3}"
    r"[\]\"'`\s\\;]{0,12}(?:[=:%>,]|\\u003d)"
).search
"""Search for a short name before a separator. Without the separator, short names also match inside ordinary words."""

_STEMS = re.compile(
    r"(passwords?|passwd|passphrase|passcodes?|passwort|secrets?(?!ar|ion|iv|e)|tokens?(?!i[zs]|e)|cookies?|"
    r"authorization|credentials?|signature|session(?=id)|csrf|xsrf|keys?$|api(?=_?key))"
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_PUNCTUATION = re.compile(r"[\W_]+")
_JOINED_KINDS = re.compile(
    r"(?:api|access|secret|private|signing|encryption|master|shared|subscription|auth|session|account)$"
)

IsSecret = Callable[[str], bool]


def secret_names(redact: Collection[str] = (), redact_except: Collection[str] = ()) -> IsSecret:
    """Return a function that decides whether a name is secret. `redact` adds names, `redact_except` removes names."""
    added = {_plain(name) for name in redact}
    excepted = {_plain(name) for name in redact_except}

    @lru_cache(maxsize=4096)
    def is_secret_ending(ending: str) -> bool:
        plain = _plain(ending)
        if plain in excepted:
            return False
        return plain in added or plain.removesuffix("s") in added or _is_secret_by_default(ending, plain)

    return lambda name: is_secret_ending(name[-MAX_NAME_CHARACTERS:])


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())


def split_words(name: str) -> list[str]:
    """Return the words of a name in lower case. The name is split at case, digits, punctuation and known stems."""
    words: list[str] = []
    for word in _WORDS.findall(name):
        words += [part for part in _STEMS.split(word.lower()) if part]
    return words


def _is_secret_by_default(name: str, plain: str) -> bool:
    """Return whether a name is secret without the settings. `plain` is the name without case and punctuation."""
    if plain in EXACT_NAMES or plain.rstrip("0123456789") in EXACT_NAMES:
        return True
    words = split_words(name)
    while len(words) > 1 and (words[-1] in SUFFIXES or words[-1].isdigit()):
        words.pop()
    if not words or FACT_WORDS.intersection(words) - {"key"}:
        return bool(words) and _ends_in_password(words)
    singular = [word if word.endswith("ss") else word.removesuffix("s") for word in words]
    if words[-1] == "tokens" and TOKEN_COUNT_WORDS.intersection(words):
        return False
    if "public" in words or "publishable" in words:
        return bool({"password", "secret"}.intersection(singular))
    return bool(SECRET_WORDS.intersection(singular)) or _is_key(singular) or _is_pass(singular) or _is_id(singular)


def _is_pass(words: list[str]) -> bool:
    last = words[-1]
    if last == "pass":
        return len(words) > 1 and words[-2] not in NON_PASSWORD_WORDS
    return last.endswith("pass") and last.removesuffix("pass") in PASSWORD_OWNERS


def _is_id(words: list[str]) -> bool:
    """Return whether a name is the id of a session or of a key."""
    return words[-1] == "id" and len(words) > 1 and (words[-2] in ("session", "sess") or _is_key(words[:-1]))


def _ends_in_password(words: list[str]) -> bool:
    """Return whether a name with one of FACT_WORDS is secret nevertheless, as `last_password` is."""
    last = words[-1].removesuffix("s")
    return last in ("password", "passwd", "passphrase", "secret", "pwd") and not {"has", "is", "forgot", "reset"} & set(
        words
    )


def _is_key(words: list[str]) -> bool:
    if words[-1] != "key" or len(words) == 1:
        return False
    return words[-2] in SECRET_KEY_WORDS or _JOINED_KINDS.search(words[-2]) is not None
