"""The names of the secrets, and the checks that reject a pasted value which cannot be the named secret.

No message holds any part of a value.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable

from forwarder.errors import SecretMissing, VaultError
from forwarder.settings import pasted

MAX_SECRET_CHARACTERS = 8192

MIN_DECODED_CHARACTERS = 10
"""The least length of a text that counts as the content of base64.

Random base64 decodes to so many printable characters in less than one case in ten thousand.
"""

ALLOY_API_KEY = "alloy-api-key"
AWS_ACCESS_KEY_ID = "aws-access-key-id"
AWS_SECRET_ACCESS_KEY = "aws-secret-access-key"  # noqa: S105  # the name of a secret
AWS_SESSION_TOKEN = "aws-session-token"  # noqa: S105  # the name of a secret
AWS_NAMES = (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)
NAMES = (ALLOY_API_KEY, *AWS_NAMES)

WEB_TOKEN = "web-token-sha256"  # noqa: S105  # as above
WEBHOOK_TOKEN = "hook-token-sha256"  # noqa: S105  # as above
DIGESTS = (WEB_TOKEN, WEBHOOK_TOKEN)
"""The digests of the tokens that the forwarder creates. They are sealed like secrets, because a person who can write
the vault, but does not have the master key, must not be able to set a token."""

PASTE_HINT = "paste the key alone, on one line"

_SCHEME = re.compile(r"(bearer|basic|token|apikey|api-key|key)[\s:]+\S", re.IGNORECASE)

_WRAPPING_PATTERNS = (
    (re.compile(r"(?:\$ ?)?(?:curl|wget|https?|aws|forwarder|echo|printf)\s", re.IGNORECASE), "is a whole command"),
    (re.compile(r".*[\r\n]", re.DOTALL), "has several lines"),
    (re.compile(r"(?:\[|\{(?!\{)).*[\]}]$", re.DOTALL), "is JSON: take one value out of it"),
    (re.compile(r".*://"), "is an address"),
    (re.compile(r"(?:-H|--header)\s"), "is a header: leave its name out"),
)
"""Forms of a text that is copied together with a key, and the end of the message about each."""

_REFERENCE = re.compile(
    r"(?:vault|ssm|secretsmanager|awssm|gcpsm|akv|bws|doppler|env|file|ref\+\w+):[\w/{.-].*|ENC\[.*\]|@\S+|"
    r"(?:~|\.{1,2}|/(?:run|etc|var|home|root|tmp|opt|mnt|srv|secrets|Users))/\S+|[A-Za-z]:\\\S+"
)
"""A reference that another program would replace by a secret: a path in a secret store, an encrypted value, a file."""

_LAST_CHARACTER = re.compile(r".*[,;%\\]", re.DOTALL)
"""A text that ends with punctuation of a list, of JSON or of a shell. zsh prints % after a text without a newline."""

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, "Understanding unique ID prefixes"
_ACCESS_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,124}$")
_OTHER_ID = re.compile(r"(?:ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA|ASCA)[A-Z0-9]{12,124}$")
_SECRET_ACCESS_KEY = re.compile(r"(?=.*[a-z])[A-Za-z0-9/+]{40}$")
# Emulators accept shorter ones, so the length only tells a token from the two parts of a key.
_SESSION_TOKEN = re.compile(r"(?!A[KS]IA).{129,}$")
_ARN = re.compile(r"arn:")
_ID_AND_MORE = re.compile(r"(?:A[KS]IA[A-Z0-9]{12,124})[^A-Z0-9].+|.+[,:;|]A[KS]IA[A-Z0-9]{12,124}$")
_SMALL_ID = re.compile(r"a[ks]ia[a-z0-9]{16}$")
_ENCODED = re.compile(r".*%[0-9A-Fa-f]{2}|.*\\")

_PAIR = (_ID_AND_MORE, "holds an access key id and more: give each part under its own name")
_IN_ESCAPES = (_ENCODED, "is encoded for an address or for JSON: give it as AWS shows it")

_CONFUSED_WITH: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    ALLOY_API_KEY: ((_ARN, "is an ARN"), (_ACCESS_KEY_ID, "looks like an access key id of AWS")),
    AWS_ACCESS_KEY_ID: (
        (_ARN, "is an ARN"),
        _PAIR,
        (_SMALL_ID, "is in small letters: AWS writes it in capitals"),
        (_SECRET_ACCESS_KEY, "looks like a secret access key"),
        (_OTHER_ID, "is the id of a user, a role or another part of IAM, not of an access key"),
        (_SESSION_TOKEN, "looks like a session token"),
    ),
    AWS_SECRET_ACCESS_KEY: (
        (_ARN, "is an ARN"),
        _PAIR,
        _IN_ESCAPES,
        (_ACCESS_KEY_ID, "looks like an access key id"),
        (_SESSION_TOKEN, "looks like a session token"),
    ),
    AWS_SESSION_TOKEN: (
        (_ARN, "is an ARN"),
        _PAIR,
        _IN_ESCAPES,
        (_ACCESS_KEY_ID, "looks like an access key id"),
        (_SECRET_ACCESS_KEY, "looks like a secret access key"),
    ),
}
"""The forms of other values that may be pasted in place of each secret. AWS documents all of these forms."""


def validate_secret(name: str, value: str) -> None:
    """Raise VaultError if the name is unknown, or if the value cannot be this secret.

    The caller has removed white space at the ends of the value. The message holds no part of it.
    """
    if name not in NAMES + DIGESTS:
        raise VaultError(f"there is no secret of that name; there are {', '.join(NAMES)}")
    if not value:
        raise VaultError(f"{name} is empty", hint="an empty input changes nothing; `forwarder keys remove` removes it")
    if wrapping := _describe_wrapping(value):
        raise VaultError(f"{name} {wrapping}", hint=PASTE_HINT)
    if len(value) > MAX_SECRET_CHARACTERS or not value.isascii() or not value.isprintable() or " " in value:
        raise VaultError(f"{name} holds characters that no such key has", hint=PASTE_HINT)
    if name in AWS_NAMES:
        _require_aws_form(name, value)
    if other := next((what for pattern, what in _CONFUSED_WITH.get(name, ()) if pattern.match(value)), ""):
        raise VaultError(f"{name} {other}", hint="set each under its own name; they may have been swapped")


def reject_own_token(name: str, value: str, digests: Iterable[str]) -> None:
    """Raise VaultError if the value is a token of this forwarder. Browsers fill the admin token into other fields.

    `digests` are the digests in the vault.
    """
    digest = hashlib.sha256(value.encode(errors="replace")).hexdigest()
    if any(hmac.compare_digest(digest, each) for each in digests):
        raise VaultError(
            f"{name} is a token of this forwarder: the browser or a password manager may have filled it in",
            hint="leave the field empty to keep what is stored",
        )


def secret_hint(name: str, value: str, *, has_token: bool) -> str:
    """Return a hint if a valid secret may not work as it is, or an empty text. `has_token` is of AWS_SESSION_TOKEN."""
    if name == AWS_ACCESS_KEY_ID and value.startswith("ASIA") and not has_token:
        return f"this access key is temporary: set {AWS_SESSION_TOKEN}, too, and all three again before they expire"
    if name == ALLOY_API_KEY and _decoded(value):
        return "this key may be in base64, as Kubernetes shows secrets: if it is refused, decode it and set it again"
    return ""


def missing_secret_error(name: str) -> SecretMissing:
    """Return the error for a required secret that is not in the vault."""
    return SecretMissing(f"the vault holds no {name}", hint=f"`forwarder keys set {name}`")


def _require_aws_form(name: str, value: str) -> None:
    inner = _decoded(value)
    if _ACCESS_KEY_ID.fullmatch(inner) or _SECRET_ACCESS_KEY.fullmatch(inner):
        raise VaultError(f"{name} is in base64, as Kubernetes shows secrets", hint="decode it: pipe it to `base64 -d`")


def _decoded(value: str) -> str:
    """Return the text that a base64 value encodes, trimmed. Return an empty text if it is not base64 of a text."""
    try:
        text = base64.b64decode(value, validate=True).decode("ascii").strip()
    except (binascii.Error, ValueError):
        return ""
    return text if len(text) >= MIN_DECODED_CHARACTERS and text.isprintable() else ""


def _describe_wrapping(value: str) -> str:
    for pattern, what in _WRAPPING_PATTERNS:
        if pattern.match(value):
            return what
    if wrapping := pasted.describe_wrapping(value):
        return wrapping
    if found := _SCHEME.match(value):
        return f"begins with {found[1].capitalize()}: leave that word out"
    if _REFERENCE.fullmatch(value) and not _SECRET_ACCESS_KEY.match(value):
        return "is a reference, which is not followed here: give the secret itself"
    if _LAST_CHARACTER.fullmatch(value):
        return "ends with a punctuation mark that is no part of it: leave it out"
    return ""
