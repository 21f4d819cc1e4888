"""The hosts and origins of the web UI, and the client of a request."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from aiohttp import web
from yarl import URL

from forwarder.settings.local_sections import WebSettings
from forwarder.settings.validators.web import MAX_PORT, parse_host_and_port
from forwarder.web.client_address import Client, Network, find_client, hops_of, is_in, parse_address, parse_network
from forwarder.web.connection import peer_address
from forwarder.web.listen_address import reachable_address

_PORTS = {"http": 80, "https": 443}

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[^\s\[\]:/?#@\\%]+)(?::(?P<port>[0-9]{0,5}))?")


_LOCAL_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A path that begins with one slash, without a backslash, which browsers read as a slash, and without white space."""


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts and origins that requests may name, as browsers write them. Another host may be DNS rebinding.

    A listener on loopback may be the end of a tunnel, so `tunnel_names`, those of loopback, may come with any port. DNS
    rebinding has to forge a name, which it cannot for these. An origin has to be equal to such a host: what listens at
    another port of the browser's machine is another page.

    `local_url` is the URL of the web UI on this machine. `proxies` are the trusted networks. `has_tls` is whether the
    listener itself uses TLS.
    """

    origins: frozenset[str]
    tunnel_names: frozenset[str]
    local_url: str
    public_url: str
    proxies: Sequence[Network]
    has_tls: bool

    @classmethod
    def of(cls, settings: WebSettings, port: int) -> Self:
        """Return the hosts that follow from the settings. `port` is the bound port, which is never 0."""
        host, _ = parse_host_and_port(settings.listen)
        scheme = "https" if settings.tls_cert else "http"
        address = parse_address(host)
        is_local = address is None or address.is_loopback or address.is_unspecified
        local = ("127.0.0.1", "localhost", "[::1]") if is_local else ()
        bound_host = bracket(host)
        origins = [f"{scheme}://{name}:{port}" for name in dict.fromkeys([bound_host, *local])]
        public = [settings.public_url] if settings.public_url else []
        return cls(
            origins=frozenset(canonical_origin(each) for each in [*origins, *public]),
            tunnel_names=frozenset([bound_host, *local] if address is None or address.is_loopback else ()),
            local_url=f"{scheme}://{bracket(reachable_address(host))}:{port}",
            public_url=settings.public_url,
            proxies=tuple(parse_network(each) for each in settings.trusted_proxies),
            has_tls=bool(settings.tls_cert),
        )

    def is_peer_allowed(self, request: web.Request) -> bool:
        """Return whether the peer may connect.

        With trusted proxies and without TLS of our own, only a proxy and this machine may. Without proxies, any peer
        may: the settings then allow loopback addresses only.
        """
        address = parse_address(peer_address(request.transport))
        # A connection from the very address that it goes to comes from this machine: the container's health check.
        is_trusted = address is not None and (
            address.is_loopback or is_in(address, self.proxies) or address == parse_address(_local_address(request))
        )
        return self.has_tls or not self.proxies or is_trusted

    def is_host(self, host: str) -> bool:
        """Return whether a Host header names the web UI. Case, a default port and a final dot make no difference."""
        return self._is_known(host) or self._is_tunnel(host)

    def _is_known(self, host: str) -> bool:
        return any(canonical_origin(f"{scheme}://{host}") in self.origins for scheme in _PORTS)

    def _is_tunnel(self, host: str) -> bool:
        found = _ORIGIN.fullmatch(self._tunnel_origin(host))
        return found is not None and found["host"] in self.tunnel_names

    def _tunnel_origin(self, host: str) -> str:
        return canonical_origin(f"{'https' if self.has_tls else 'http'}://{host}")

    def is_origin(self, origin: str, host: str) -> bool:
        """Return whether an origin may send changes to an allowed host."""
        expected = self.origins if self._is_known(host) else {self._tunnel_origin(host)}
        return canonical_origin(origin) in expected

    def port_of_url(self, request: web.Request) -> str:
        """Return the port in the URL that the browser shows, or an empty text if its scheme implies it."""
        scheme = "https" if self.is_secure(request) else "http"
        found = _ORIGIN.fullmatch(canonical_origin(f"{scheme}://{request.host}"))
        return (found["port"] if found else None) or ""

    def client(self, request: web.Request) -> Client:
        """Return the client: the other end of the connection, or the address that trusted proxies name."""
        headers = request.headers
        hops = hops_of(headers.getall("X-Forwarded-For", []), headers.getall("Forwarded", []))
        return find_client(peer_address(request.transport), self.proxies, hops)

    def caller(self, request: web.Request) -> str:
        """Return the client's address for the log."""
        return self.client(request).text

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the browser uses TLS, either to this server or to a trusted proxy."""
        address = parse_address(peer_address(request.transport))
        return self.has_tls or (address is not None and is_in(address, self.proxies))

    def requested_url(self, request: web.Request) -> str:
        """Return the URL of the request, as the client knows it."""
        return f"{self.public_url or f'{request.scheme}://{request.host}'}{request.raw_path}"


ALLOWED_HOSTS = web.AppKey("allowed_hosts", AllowedHosts)


def _local_address(request: web.Request) -> str:
    bound_host = request.transport.get_extra_info("sockname") if request.transport else None
    return str(bound_host[0]) if bound_host else ""


def bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def local_path(path: str) -> str:
    """Return a path of this host, with its query, or an empty text if a browser could read it as another host."""
    return path if _LOCAL_PATH.fullmatch(path) else ""


def canonical_origin(origin: str) -> str:
    """Return an origin as browsers write it; empty if it is not an origin.

    It is in lower case and in ASCII, without the port that its scheme implies and without a dot at the end of the name.
    An IPv6 address has its short form.
    """
    found = _ORIGIN.fullmatch(origin.strip().lower())
    if found is None or int(found["port"] or 1) > MAX_PORT:
        return ""
    scheme, port = found["scheme"], int(found["port"] or _PORTS[found["scheme"]])
    host = _canonical_host(found["host"])
    return f"{scheme}://{host}{'' if port == _PORTS[scheme] else f':{port}'}" if host else ""


def _canonical_host(host: str) -> str:
    if host.startswith("["):
        address = parse_address(host)
        return "" if address is None else bracket(str(address))
    name = host.removesuffix(".")
    if not name or name.isascii():
        return name
    try:
        return URL.build(scheme="https", host=name).raw_host or ""
    except ValueError:  # no international name either
        return ""
