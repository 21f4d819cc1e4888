"""The validators of settings in several sections: durations, pasted values and addresses."""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from forwarder.printable import has_control_character
from forwarder.settings import pasted

_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?(/|$)|localhost(:|/|$)")


def at_least(minimum: timedelta) -> Callable[[timedelta], timedelta]:
    def validate(value: timedelta) -> timedelta:
        if value < minimum:
            raise ValueError(f"is shorter than {minimum / timedelta(milliseconds=1):g}ms")
        return value

    return validate


def reject_wrapped(value: Any) -> Any:
    """Return the value. Raise ValueError if `pasted.describe_wrapping` describes a wrapping of a text in it."""
    for text in value if isinstance(value, (list, tuple)) else [value]:
        for each in text.values() if isinstance(text, dict) else [text]:
            if isinstance(each, str) and (wrapping := pasted.describe_wrapping(each)):
                raise ValueError(wrapping)
    return value


def reject_control_characters(value: Any) -> Any:
    """Return the value. Raise ValueError if it is a text with a control character.

    TOML decodes the backslash and the n of "C:\\new" as a line break.
    """
    if isinstance(value, str) and has_control_character(value):
        raise ValueError("has a line break or a tab inside: for a path with backslashes write 'single quotes'")
    return value


def address(value: str) -> str:
    """Return the address without a final slash.

    Raise ValueError if it is not an HTTP address, holds a password, a query or white space, or is plain HTTP to another
    machine.
    """
    parts = _split(value)
    if "://" not in value and _HOST.match(value):
        raise ValueError("is an address without its scheme: begin it with https://")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
        raise ValueError("is not an http or https address")
    if parts.username or parts.password:
        raise ValueError("holds a user name or password: secrets belong in the vault")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("is http: beyond this machine only https keeps the key secret")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("has a query or a fragment: leave out everything from ? or # on")
    if any(character.isspace() for character in value):
        raise ValueError("has white space inside")
    return value.rstrip("/")


def optional_address(value: str) -> str:
    return address(value) if value else value


def _split(value: str) -> SplitResult:
    try:
        return urlsplit(value)
    except ValueError:  # brackets that are no IPv6 address
        raise ValueError("is not an http or https address") from None


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_ip(host) and ip_address(host).is_loopback)


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
