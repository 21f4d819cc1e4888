"""The addresses at which the daemon listens, and those at which its own machine reaches it.

`forwarder health` uses them too, and starts fast because this module does not import the web server.
"""

import errno
import os
import socket
from ipaddress import IPv6Address, ip_address

from forwarder.errors import AddressUnavailable, SettingsError
from forwarder.settings.validators.web import parse_host_and_port
from forwarder.web.client_address import parse_address

TRANSIENT_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
"""The errors of an address that another process uses, or that this machine does not have yet, such as at its start."""


def bind(key: str, listen: str) -> socket.socket:
    """Return a socket that listens at an address. Raise, with the setting `key`, if that fails.

    This is AddressUnavailable if a later attempt may succeed, and otherwise SettingsError. `[::]` accepts IPv4
    connections too, if the machine supports it. On a kernel without IPv6 it accepts these alone.
    """
    host, port = parse_host_and_port(listen)
    address = parse_address(host)  # one that is written as `::ffff:127.0.0.1` is an IPv4 address
    try:
        if not isinstance(address, IPv6Address):
            return socket.create_server((str(address or host), port))
        if not address.is_unspecified:
            return socket.create_server((host, port), family=socket.AF_INET6)
        return _bind_all(port)
    except OSError as error:
        kind = AddressUnavailable if error.errno in TRANSIENT_ERRORS else SettingsError
        reason = os.strerror(error.errno) if error.errno else str(error)  # `strerror` here repeats the address
        raise kind(
            f"web.{key} {listen} cannot be bound: {reason}",
            hint=f"end what listens there, or set another {key} in [web]; an empty one serves nothing",
        ) from None


def _bind_all(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=dual)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.create_server(("0.0.0.0", port))  # noqa: S104  # the setting asks for all addresses


def reachable_address(host: str) -> str:
    """Return the address at which this machine reaches a listener: loopback if `host` is the unspecified address.

    The loopback address of `::` is an IPv4 one if the machine has no `::1`.
    """
    if host == "localhost" or not ip_address(host).is_unspecified:
        return host
    return "::1" if ":" in host and _has_ipv6_loopback() else "127.0.0.1"


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as unconnected:
            unconnected.bind(("::1", 0))
    except OSError:
        return False
    return True
