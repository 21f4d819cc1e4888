"""What single settings must satisfy. Each raises ValueError with the end of a sentence that starts with the field."""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from forwarder.model import MAX_ID_BYTES, Feed, is_id

_LISTEN = re.compile(r"(?:(?P<name>localhost|[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})")

LAST_PORT = 65_535

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")
_BUS_NAME = re.compile(r"[\w./-]{1,256}", re.ASCII)
_BUS_ARN = re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus/[\w./-]{1,256}", re.ASCII)


def at_least(shortest: timedelta) -> Callable[[timedelta], timedelta]:
    def check(value: timedelta) -> timedelta:
        if value < shortest:
            raise ValueError(f"is shorter than {shortest / timedelta(milliseconds=1):g}ms")
        return value

    return check


def address(value: str) -> str:
    """An http(s) address without secrets; http only where nobody else can listen."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_a_port(parts):
        raise ValueError("is not an http or https address")
    if parts.username or parts.password:
        raise ValueError("holds a user name or password: secrets belong in the vault")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("is http: beyond this machine only https keeps the key secret")
    return value.rstrip("/")


def _has_a_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def optional_address(value: str) -> str:
    return address(value) if value else value


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def origin(value: str) -> str:
    """The address of a server, not of a page of it."""
    parts = urlsplit(value)
    if parts.path or parts.query or parts.fragment:
        raise ValueError("is longer than a server's address, e.g. https://forwarder.example.com")
    return value


def listen(value: str) -> str:
    if value:
        host_and_port(value)
    return value


def host_and_port(value: str) -> tuple[str, int]:
    """`127.0.0.1:8787`, `localhost:8787` or `[::1]:8787`: another name could mean another address tomorrow."""
    found = _LISTEN.fullmatch(value)
    host, port = (found["name"] or found["six"], int(found["port"])) if found else ("", 0)
    if port > LAST_PORT or not (host == "localhost" or _is_ip(host)):
        raise ValueError("is not an IP address and a port, e.g. 127.0.0.1:8787")
    return host, port


def is_everywhere(listens: str) -> bool:
    """Whether it means every address of this machine, so that it does not say by which one people come."""
    host = host_and_port(listens)[0] if listens else "localhost"
    return host != "localhost" and ip_address(host).is_unspecified


def is_private(listens: str) -> bool:
    """Whether nobody beyond this machine can come in."""
    return not listens or is_loopback(host_and_port(listens)[0])


def network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise ValueError("has an entry that is no IP address or network, e.g. 10.0.0.0/8") from None
    return value


def feed(value: object) -> Feed:
    if isinstance(value, Feed):
        return value
    if isinstance(value, str):
        value = {"id": value}
    if not isinstance(value, dict) or not set(value) <= {"id", "user_id"}:
        raise ValueError('is neither a workflow id nor {id = "…", user_id = "…"}')
    workflow_id, user_id = value.get("id"), value.get("user_id")
    if not is_id(workflow_id) or not (user_id is None or is_id(user_id)):
        raise ValueError(f"has an id that is not a text of 1 to {MAX_ID_BYTES} bytes")
    return Feed(str(workflow_id), None if user_id is None else str(user_id))


def event_source(value: str) -> str:
    if value.lower().startswith("aws."):
        raise ValueError("starts with aws., which AWS keeps for its own services")
    return value


def bus(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    if not (_BUS_NAME.fullmatch(value) or _BUS_ARN.fullmatch(value)):
        raise ValueError("is neither the name nor the ARN of an event bus")
    return value


def region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise ValueError("is not an AWS region such as eu-west-1")
    return value


def ledger(value: str) -> str:
    if not value.removeprefix("sqlite:///") or not value.startswith("sqlite:///"):
        raise ValueError("is not of the form sqlite:///forwarder.db")
    return value


def lower(values: object) -> object:
    return [str(value).lower() for value in values] if isinstance(values, (list, tuple)) else values
