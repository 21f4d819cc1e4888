"""Which names tell that what stands beside them is a secret, or leads to a person."""

import re
from collections.abc import Callable, Collection
from functools import lru_cache

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

LONGEST_NAME = 64
"""Characters. The end of a name tells, and names from outside may be of any length: what is remembered must not be."""

IsSecret = Callable[[str], bool]


def secret_names(redact: Collection[str] = (), reveal: Collection[str] = ()) -> IsSecret:
    """`redact` are further names, `reveal` names that are none."""
    names = _NAMES | {_plain(name) for name in redact}
    revealed = {_plain(name) for name in reveal}

    @lru_cache(maxsize=4096)
    def is_secret_ending(ending: str) -> bool:
        plain = _plain(ending)
        if plain in revealed:
            return False
        singular = plain.removesuffix("s")
        return plain in names or singular in names or plain.endswith(_ENDINGS) or singular.endswith(_ENDINGS)

    return lambda name: is_secret_ending(name[-LONGEST_NAME:])


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())
