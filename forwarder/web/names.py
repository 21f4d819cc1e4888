"""By which names the page may be called, and who calls it."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from aiohttp import web

from forwarder.settings.checks import host_and_port, is_loopback
from forwarder.settings.fields import WebSettings

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Names:
    """`hosts` and `origins` are as browsers write them; any other name was made to lead here by a stranger.

    `first` is the address by which it can be opened on this machine.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    first: str
    public_url: str
    proxies: Sequence[IPv4Network | IPv6Network]
    has_tls: bool

    @classmethod
    def of(cls, settings: WebSettings, port: int) -> Self:
        """`port` is the one that was bound, which the settings may leave open."""
        host, _ = host_and_port(settings.listen)
        scheme = "https" if settings.tls_cert else "http"
        local = ("127.0.0.1", "localhost", "[::1]") if is_loopback(host) or ip_address(host).is_unspecified else ()
        own = bracketed(host)
        origins = [f"{scheme}://{name}:{port}" for name in dict.fromkeys([own, *local])]
        public = [settings.public_url] if settings.public_url else []
        all_of_them = frozenset(_as_browsers_write(each) for each in [*origins, *public])
        return cls(
            hosts=frozenset(urlsplit(each).netloc for each in all_of_them),
            origins=all_of_them,
            first=origins[0],
            public_url=settings.public_url,
            proxies=tuple(ip_network(each) for each in settings.trusted_proxies),
            has_tls=bool(settings.tls_cert),
        )

    def may_come(self, request: web.Request) -> bool:
        """Whether the other end may speak to us at all: without TLS of our own, who is not the proxy is a stranger."""
        return self.has_tls or not self.proxies or is_loopback(_peer(request)) or self._is_proxy(_peer(request))

    def caller(self, request: web.Request) -> str:
        """The address of whoever calls; as the last trusted proxy saw it, where it came through one."""
        peer = _peer(request)
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            if not self._is_proxy(peer) or not hop.strip():
                break
            peer = hop.strip()
        return peer[:64]

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser speaks TLS: with us, or with a trusted proxy."""
        return self.has_tls or self._is_proxy(_peer(request))

    def called(self, request: web.Request) -> str:
        """The whole address that was called, as the caller knows it."""
        return f"{self.public_url or f'{request.scheme}://{request.host}'}{request.raw_path}"

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)


NAMES = web.AppKey("names", Names)


def _peer(request: web.Request) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if peer else ""


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _as_browsers_write(origin: str) -> str:
    """In lower case, and without the port that its scheme implies."""
    parts = urlsplit(origin.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(f':{_PORTS[parts.scheme]}')}"
