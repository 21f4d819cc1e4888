"""What single settings must satisfy. Each raises ValueError with the end of a sentence that starts with the field."""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from forwarder.model import MAX_ID_BYTES, Feed, is_id
from forwarder.printable import has_control_character
from forwarder.settings import pasted

_LISTEN = re.compile(r"(?:(?P<name>localhost|[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})")

MAX_PORT = 65_535

_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?(/|$)|localhost(:|/|$)")
_VERSION_SEGMENT = re.compile(r"/(v?[0-9]{4}-[0-9]{2})(?:/|$)")
_LOGS_SEGMENT = re.compile(r"/workflows?(?:/|$)|/logs(?:/|$)")

_AVAILABILITY_ZONE = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+[a-z]")
_ARN = re.compile(r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<resource>.*)")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")
_AWS_HOST = re.compile(
    r"(?:[\w-]+\.)?(?P<service>[a-z0-9-]+?)(?:-fips)?\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-[0-9]+)\."
    r"(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)"
)
"""A regional endpoint of AWS: public, FIPS, dual-stack, or of a VPC."""

_GLOBAL_ENDPOINT = re.compile(r"[\w.-]+\.endpoint\.events\.(?:amazonaws\.com|api\.aws)")
_BUS_NAME = re.compile(r"[\w./-]{1,256}", re.ASCII)
_BUS_ARN = re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus/[\w./-]{1,256}", re.ASCII)


def at_least(minimum: timedelta) -> Callable[[timedelta], timedelta]:
    def validate(value: timedelta) -> timedelta:
        if value < minimum:
            raise ValueError(f"is shorter than {minimum / timedelta(milliseconds=1):g}ms")
        return value

    return validate


def reject_wrapped(value: Any) -> Any:
    """Refuse a pasted value that is wrapped in something: quotation marks, a name, a placeholder."""
    for text in value if isinstance(value, (list, tuple)) else [value]:
        for each in text.values() if isinstance(text, dict) else [text]:
            if isinstance(each, str) and (wrapping := pasted.describe_wrapping(each)):
                raise ValueError(wrapping)
    return value


def reject_control_characters(value: Any) -> Any:
    """Refuse control characters in a text: in "C:\\new" the backslash and the n are a line break."""
    if isinstance(value, str) and has_control_character(value):
        raise ValueError("has a line break or a tab inside: for a path with backslashes write 'single quotes'")
    return value


def address(value: str) -> str:
    """An http(s) address without secrets; http only where nobody else can listen."""
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
    if parts.path:
        raise ValueError("has a path: the page needs a host name of its own, e.g. https://forwarder.example.com")
    if parts.query or parts.fragment:
        raise ValueError("is longer than a server's address, e.g. https://forwarder.example.com")
    return value


def listen(value: str) -> str:
    if value:
        parse_host_and_port(value)
    return value


def parse_host_and_port(value: str) -> tuple[str, int]:
    """`127.0.0.1:8787`, `localhost:8787` or `[::1]:8787`: another name could mean another address tomorrow."""
    if "://" in value:
        raise ValueError("is a web address: give an IP address and a port, e.g. 127.0.0.1:8787")
    if re.fullmatch(r":?[0-9]{1,5}", value):
        raise ValueError("is a port alone: give an IP address before it, e.g. 127.0.0.1:8787")
    found = _LISTEN.fullmatch(value)
    host, port = (found["name"] or found["six"], int(found["port"])) if found else ("", 0)
    if port > MAX_PORT or not (host == "localhost" or _is_ip(host)):
        raise ValueError("is not an IP address and a port, e.g. 127.0.0.1:8787")
    return host, port


def is_wildcard(listen_address: str) -> bool:
    """Whether it means every address of this machine, so that it does not say by which one people come."""
    host = parse_host_and_port(listen_address)[0] if listen_address else "localhost"
    return host != "localhost" and ip_address(host).is_unspecified


def is_loopback_only(listen_address: str) -> bool:
    """Whether nobody beyond this machine can come in."""
    return not listen_address or is_loopback(parse_host_and_port(listen_address)[0])


def network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise ValueError("has an entry that is no IP address or network, e.g. 10.0.0.0/8") from None
    return value


def reject_version_in_base_url(base_url: str, version: str) -> None:
    """Raise ValueError, whose first word is the field, if the base address is the address of the logs."""
    path = urlsplit(base_url).path
    if found := _VERSION_SEGMENT.search(path):
        if version or _LOGS_SEGMENT.search(path):
            hint = f'leave it out, and set version = "{found[1]}"' if found[1] != version else "leave it out"
            raise ValueError(f"base_url holds a version already: {hint}")
    elif _LOGS_SEGMENT.search(path):
        raise ValueError("base_url is the address of a workflow's logs: leave out everything after the host")


_SEVERAL_IDS = re.compile(r"(?=[\w-]*\d)[\w-]{6,}(?:[\s;]+(?=[\w-]*\d)[\w-]{6,})+")
"""Ids that were pasted together. Words with a space between them may be one id."""


def parse_feed(value: object) -> Feed:
    if isinstance(value, Feed):
        return value
    if isinstance(value, str):
        value = {"id": value}
    if not isinstance(value, dict) or not set(value) <= {"id", "user_id"}:
        raise ValueError('is neither a workflow id nor {id = "…", user_id = "…"}')
    workflow_id, user_id = value.get("id"), value.get("user_id")
    if not is_id(workflow_id) or not (user_id is None or is_id(user_id)):
        raise ValueError(f"has an id that is not a text of 1 to {MAX_ID_BYTES} bytes")
    _require_one_id(str(workflow_id), "workflow")
    if user_id is not None:
        _require_one_id(str(user_id), "user")
    return Feed(str(workflow_id), None if user_id is None else str(user_id))


def _require_one_id(text: str, id_type: Literal["workflow", "user"]) -> None:
    if "://" in text:
        raise ValueError(f"has an address in place of a {id_type} id: give the id alone, a part of that address")
    if id_type == "workflow" and ("," in text or _SEVERAL_IDS.fullmatch(text)):
        raise ValueError('has several workflow ids in one text: write them as a list, ["a", "b"]')
    if not text.isprintable():
        raise ValueError(f"has a {id_type} id with an invisible character inside")
    if id_type == "workflow" and (text in (".", "..") or "/" in text):
        raise ValueError("has a workflow id that is part of an address, such as one with a slash: give the id alone")


def unique_feeds(feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
    """Return the feeds in their order, each once."""
    return tuple(dict.fromkeys(feeds))


def event_source(value: str) -> str:
    if value.lower().startswith("aws."):
        raise ValueError("starts with aws., which AWS keeps for its own services")
    return value


def bus(value: str) -> str:
    if not value:
        raise ValueError("is empty")
    if "://" in value:
        raise ValueError("is a web address, not the name or the ARN of an event bus")
    if found := _ARN.fullmatch(value):
        if not _BUS_ARN.fullmatch(value):
            raise ValueError(f"is {_resource(found)}, not the ARN of an event bus")
    elif not _BUS_NAME.fullmatch(value):
        raise ValueError("is neither the name nor the ARN of an event bus")
    return value


def _resource(arn: re.Match[str]) -> str:
    """Return what an ARN names, without repeating it."""
    match arn["service"], re.split("[/:]", arn["resource"])[0]:
        case "events", "rule":
            return "the ARN of a rule"
        case "events", "event-source":
            return "the ARN of a partner event source"
        case "events", "event-bus":
            return "an ARN of an event bus that is not complete"
        case "events" | "pipes" | "scheduler" | "schemas", _:
            return "the ARN of another part of EventBridge"
        case "iam", _:
            return "an ARN of IAM"
        case _:
            return "the ARN of another service"


def require_bus_region(event_bus: str, region: str) -> None:
    """Raise ValueError, whose first word is the field, if the bus is in another region."""
    found = _ARN.fullmatch(event_bus)
    if found and found["region"] != region:
        other = found["region"]
        raise ValueError(
            f'event_bus is an ARN of {other}, and region is {region}: set region = "{other}", or the ARN of a bus in'
            f" {region}"
        )


def require_endpoint_region(endpoint_url: str, region: str) -> None:
    """Raise ValueError, whose first word is the field, if an endpoint of AWS is not EventBridge's in this region.

    AWS refuses the signature of another region, so nothing would ever be accepted there.
    """
    host = (urlsplit(endpoint_url).hostname or "").lower()
    if _GLOBAL_ENDPOINT.fullmatch(host):
        raise ValueError("endpoint_url is a global endpoint, which is not supported: leave it out, or name a region's")
    if not (found := _AWS_HOST.fullmatch(host)):
        return
    if found["service"] != "events":
        raise ValueError(
            "endpoint_url is an endpoint of another service of AWS: that of EventBridge begins with events"
        )
    if found["region"] != region:
        other = found["region"]
        raise ValueError(
            f'endpoint_url is an endpoint in {other}, and region is {region}: set region = "{other}", or the endpoint'
            f" in {region}"
        )


def role(value: str) -> str:
    if not value or _ROLE.fullmatch(value):
        return value
    found = _ARN.fullmatch(value)
    match found and (found["service"], re.split("[/:]", found["resource"])[0]):
        case "iam", "user":
            raise ValueError("is the ARN of a user: only a role can be assumed")
        case "sts", "assumed-role":
            raise ValueError("is the ARN of a role's session: give that of the role, arn:aws:iam::…:role/NAME")
        case "iam", "instance-profile":
            raise ValueError("is the ARN of an instance profile: give that of its role, arn:aws:iam::…:role/NAME")
        case _:
            raise ValueError("is not the ARN of a role such as arn:aws:iam::123456789012:role/NAME")


def region(value: str) -> str:
    if _AVAILABILITY_ZONE.fullmatch(value):
        raise ValueError("is an availability zone: leave out the letter at its end")
    if _REGION.fullmatch(value.lower().replace("_", "-")) and not _REGION.fullmatch(value):
        raise ValueError("is written another way than AWS does: in small letters with hyphens, such as eu-west-1")
    if not _REGION.fullmatch(value):
        raise ValueError("is not an AWS region such as eu-west-1")
    return value


def ledger(value: str) -> str:
    if not value.removeprefix("sqlite:///") or not value.startswith("sqlite:///"):
        raise ValueError("is not of the form sqlite:///forwarder.db")
    return value


def lowercase_all(values: object) -> object:
    return [str(value).lower() for value in values] if isinstance(values, (list, tuple)) else values
