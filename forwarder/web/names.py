"""The names by which the page may be called, and the client that calls it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web
from yarl import URL

from forwarder.settings.checks import LAST_PORT, host_and_port
from forwarder.settings.fields import WebSettings
from forwarder.web.client_address import Client, Network, find_client, hops_of, is_in, parse_address, parse_network
from forwarder.web.connection import peer_address

_PORTS = {"http": 80, "https": 443}

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[^\s\[\]:/?#@\\%]+)(?::(?P<port>[0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Names:
    """`hosts` and `origins` are as browsers write them; any other name was made to lead here by a stranger.

    `first` is the address by which it can be opened on this machine.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    first: str
    public_url: str
    proxies: Sequence[Network]
    has_tls: bool

    @classmethod
    def of(cls, settings: WebSettings, port: int) -> Self:
        """`port` is the one that was bound, which the settings may leave open."""
        host, _ = host_and_port(settings.listen)
        scheme = "https" if settings.tls_cert else "http"
        address = parse_address(host)
        is_local = address is None or address.is_loopback or address.is_unspecified
        local = ("127.0.0.1", "localhost", "[::1]") if is_local else ()
        own = bracketed(host)
        origins = [f"{scheme}://{name}:{port}" for name in dict.fromkeys([own, *local])]
        public = [settings.public_url] if settings.public_url else []
        all_of_them = frozenset(canonical_origin(each) for each in [*origins, *public])
        return cls(
            hosts=frozenset(urlsplit(each).netloc for each in all_of_them),
            origins=all_of_them,
            first=f"{scheme}://{bracketed(reachable(host))}:{port}",
            public_url=settings.public_url,
            proxies=tuple(parse_network(each) for each in settings.trusted_proxies),
            has_tls=bool(settings.tls_cert),
        )

    def may_come(self, request: web.Request) -> bool:
        """Return whether the other end may speak to us. Without TLS of our own, only a proxy and this machine may."""
        address = parse_address(peer_address(request.transport))
        # A connection from the very address that it goes to comes from this machine: the container's health check.
        is_near = address is not None and (
            address.is_loopback or is_in(address, self.proxies) or address == parse_address(_own_address(request))
        )
        return self.has_tls or not self.proxies or is_near

    def is_host(self, host: str) -> bool:
        """Return whether a Host header names the page: in any case, with a default port or a dot at the end."""
        return any(canonical_origin(f"{scheme}://{host}") in self.origins for scheme in _PORTS)

    def is_origin(self, origin: str) -> bool:
        return canonical_origin(origin) in self.origins

    def client(self, request: web.Request) -> Client:
        """Return the client, as the last trusted proxy saw it if it came through one."""
        headers = request.headers
        hops = hops_of(headers.getall("X-Forwarded-For", []), headers.getall("Forwarded", []))
        return find_client(peer_address(request.transport), self.proxies, hops)

    def caller(self, request: web.Request) -> str:
        """Return the client's address for the log."""
        return self.client(request).text

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the browser speaks TLS: with us, or with a trusted proxy."""
        address = parse_address(peer_address(request.transport))
        return self.has_tls or (address is not None and is_in(address, self.proxies))

    def called(self, request: web.Request) -> str:
        """The whole address that was called, as the caller knows it."""
        return f"{self.public_url or f'{request.scheme}://{request.host}'}{request.raw_path}"


NAMES = web.AppKey("names", Names)


def _own_address(request: web.Request) -> str:
    own = request.transport.get_extra_info("sockname") if request.transport else None
    return str(own[0]) if own else ""


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def reachable(host: str) -> str:
    """Return an address by which this machine reaches a listener: a loopback address if it listens on every address."""
    if host == "localhost" or not ip_address(host).is_unspecified:
        return host
    return "::1" if ":" in host else "127.0.0.1"


def canonical_origin(origin: str) -> str:
    """Return an origin as browsers write it; empty if it is none.

    It is in lower case and in ASCII, without the port that its scheme implies and without a dot at the end of the name.
    An IPv6 address has its short form.
    """
    found = _ORIGIN.fullmatch(origin.strip().lower())
    if found is None or int(found["port"] or 1) > LAST_PORT:
        return ""
    scheme, port = found["scheme"], int(found["port"] or _PORTS[found["scheme"]])
    host = _canonical_host(found["host"])
    return f"{scheme}://{host}{'' if port == _PORTS[scheme] else f':{port}'}" if host else ""


def _canonical_host(host: str) -> str:
    if host.startswith("["):
        address = parse_address(host)
        return "" if address is None else bracketed(str(address))
    name = host.removesuffix(".")
    if not name or name.isascii():
        return name
    try:
        return URL.build(scheme="https", host=name).raw_host or ""
    except ValueError:  # no international name either
        return ""
