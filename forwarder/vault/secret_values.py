"""The names of the secrets, and what a pasted value looks like that can be no such secret.

No message holds any part of a value.
"""

import re

from forwarder.errors import VaultError
from forwarder.settings import pasted

MAX_SECRET_CHARACTERS = 8192

ALLOY_API_KEY = "alloy-api-key"
AWS_ACCESS_KEY_ID = "aws-access-key-id"
AWS_SECRET_ACCESS_KEY = "aws-secret-access-key"  # noqa: S105  # the name of a secret
AWS_SESSION_TOKEN = "aws-session-token"  # noqa: S105  # the name of a secret
NAMES = (ALLOY_API_KEY, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)

WEB_TOKEN = "web-token-sha256"  # noqa: S105  # as above
HOOK_TOKEN = "hook-token-sha256"  # noqa: S105  # as above
DIGESTS = (WEB_TOKEN, HOOK_TOKEN)
"""Digests of tokens that we make ourselves. They are sealed like secrets, so that only who has the master key can set
one; a program that does not know these names opens, keeps and rotates them all the same."""

PASTE_ALONE = "paste the key alone, on one line"

_SCHEME = re.compile(r"(bearer|basic|token|apikey|api-key|key)[\s:]+\S", re.IGNORECASE)

_WRAPPINGS = (
    (re.compile(r"(?:\$ ?)?(?:curl|wget|https?|aws|forwarder|echo|printf)\s", re.IGNORECASE), "is a whole command"),
    (re.compile(r".*[\r\n]", re.DOTALL), "has several lines"),
    (re.compile(r"(?:\[|\{(?!\{)).*[\]}]$", re.DOTALL), "is JSON: take one value out of it"),
    (re.compile(r".*://"), "is an address"),
    (re.compile(r"(?:-H|--header)\s"), "is a header: leave its name out"),
)
"""What a person copies along with a key, and what the message calls it."""

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, "Understanding unique ID prefixes"
_ACCESS_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,124}$")
_OTHER_ID = re.compile(r"(?:ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA|ASCA)[A-Z0-9]{12,124}$")
_SECRET_ACCESS_KEY = re.compile(r"(?=.*[a-z])[A-Za-z0-9/+]{40}$")
# Emulators accept shorter ones, so the length only tells a token from the two parts of a key.
_SESSION_TOKEN = re.compile(r"(?!A[KS]IA).{129,}$")
_ARN = re.compile(r"arn:")

_OTHERS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    ALLOY_API_KEY: ((_ARN, "is an ARN"), (_ACCESS_KEY_ID, "looks like an access key id of AWS")),
    AWS_ACCESS_KEY_ID: (
        (_ARN, "is an ARN"),
        (_SECRET_ACCESS_KEY, "looks like a secret access key"),
        (_OTHER_ID, "is the id of a user, a role or another part of IAM, not of an access key"),
        (_SESSION_TOKEN, "looks like a session token"),
    ),
    AWS_SECRET_ACCESS_KEY: (
        (_ARN, "is an ARN"),
        (_ACCESS_KEY_ID, "looks like an access key id"),
        (_SESSION_TOKEN, "looks like a session token"),
    ),
    AWS_SESSION_TOKEN: (
        (_ARN, "is an ARN"),
        (_ACCESS_KEY_ID, "looks like an access key id"),
        (_SECRET_ACCESS_KEY, "looks like a secret access key"),
    ),
}
"""By the name of a secret, the patterns of others that stand in its place. Only what AWS documents is recognised."""


def check(name: str, value: str) -> None:
    """Raise VaultError for a value that could be no such secret. White space at its ends is taken off before."""
    if name not in NAMES + DIGESTS:
        raise VaultError(f"there is no secret of that name; there are {', '.join(NAMES)}")
    if not value:
        raise VaultError(f"{name} is empty", hint="an empty input changes nothing; `forwarder keys remove` removes it")
    if wrapping := _wrapping(value):
        raise VaultError(f"{name} {wrapping}", hint=PASTE_ALONE)
    if len(value) > MAX_SECRET_CHARACTERS or not value.isascii() or not value.isprintable() or " " in value:
        raise VaultError(f"{name} holds characters that no such key has", hint=PASTE_ALONE)
    if other := next((what for pattern, what in _OTHERS.get(name, ()) if pattern.match(value)), ""):
        raise VaultError(f"{name} {other}", hint="set each under its own name; they may have been swapped")


def advice(name: str, value: str, *, has_token: bool) -> str:
    """Return what else has to be set for a secret to work, or nothing."""
    if name == AWS_ACCESS_KEY_ID and value.startswith("ASIA") and not has_token:
        return f"this access key is temporary: set {AWS_SESSION_TOKEN}, too, and all three again before they expire"
    return ""


def _wrapping(value: str) -> str:
    for pattern, what in _WRAPPINGS:
        if pattern.match(value):
            return what
    if wrapping := pasted.wrapping(value):
        return wrapping
    if found := _SCHEME.match(value):
        return f"begins with {found[1].capitalize()}: leave that word out"
    return ""
