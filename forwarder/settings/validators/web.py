"""The validators of the web UI's addresses."""

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from forwarder.settings.validators.common import is_ip, is_loopback

MAX_PORT = 65_535
_LISTEN = re.compile(r"(?:(?P<name>localhost|[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})")


def origin(value: str) -> str:
    """Return the address. Raise ValueError if it has a path, a query or a fragment."""
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
    """Return the host and port of `127.0.0.1:8787`, `localhost:8787` or `[::1]:8787`.

    Raise ValueError for anything else. Another host name could resolve to a different address later.
    """
    if "://" in value:
        raise ValueError("is a web address: give an IP address and a port, e.g. 127.0.0.1:8787")
    if re.fullmatch(r":?[0-9]{1,5}", value):
        raise ValueError("is a port alone: give an IP address before it, e.g. 127.0.0.1:8787")
    found = _LISTEN.fullmatch(value)
    host, port = (found["name"] or found["six"], int(found["port"])) if found else ("", 0)
    if port > MAX_PORT or not (host == "localhost" or is_ip(host)):
        raise ValueError("is not an IP address and a port, e.g. 127.0.0.1:8787")
    return host, port


def is_wildcard(listen_address: str) -> bool:
    """Return whether the address is unspecified, so that a server listens at every address of this machine."""
    host = parse_host_and_port(listen_address)[0] if listen_address else "localhost"
    return host != "localhost" and ip_address(host).is_unspecified


def is_loopback_only(listen_address: str) -> bool:
    """Return whether only this machine can connect to the address."""
    return not listen_address or is_loopback(parse_host_and_port(listen_address)[0])


def network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise ValueError("has an entry that is no IP address or network, e.g. 10.0.0.0/8") from None
    return value
