"""The address of a client: its parsing in every spelling that proxies use, and the key of its rate limit.

RFC 7239 describes `Forwarded`. `X-Forwarded-For` has no standard: proxies write addresses with and without a port,
brackets and quotes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_TEXT_CHARACTERS = 64

IPV6_CLIENT_PREFIX = 64
"""The prefix length of the network that counts as one client, which can use any address of its network."""

MAPPED_PREFIX = 96
"""The length of `::ffff:0:0/96`, which holds all IPv4 addresses."""

_BRACKETED = re.compile(r"\[(?P<address>[^\]]*)\](?::[\w.-]+)?")
_V4_WITH_PORT = re.compile(r"(?P<address>[0-9.]+):[\w.-]+", re.ASCII)
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;"]*)', re.IGNORECASE)
_OUTSIDE_QUOTES = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a request. `text` is its address for the log. Requests with an equal `key` share a rate limit."""

    text: str
    key: str

    @classmethod
    def of(cls, address: Address) -> Self:
        if isinstance(address, IPv4Address):
            return cls(str(address), str(address))
        return cls(str(address), str(ip_network((address, IPV6_CLIENT_PREFIX), strict=False)))

    @classmethod
    def unreadable(cls, hop: str, proxy: str) -> Self:
        """Return a client whose address the proxy wrote in no known form. All such clients share one rate limit."""
        text = "".join(character if character.isascii() and character.isprintable() else "?" for character in hop)
        return cls(text[:MAX_TEXT_CHARACTERS], f"unreadable through {proxy}")


def find_client(peer: str, proxies: Iterable[Network], forwarded: Iterable[str]) -> Client:
    """Return the first address, counted from this server, that is not a trusted proxy.

    `peer` is the address at the other end of the connection. `forwarded` are the hops that `hops_of` returns.
    """
    trusted = tuple(proxies)
    address = parse_address(peer)
    for hop in forwarded:
        if address is None or not is_in(address, trusted):
            break
        next_address = parse_address(hop)
        if next_address is None:
            return Client.unreadable(hop, str(address))
        address = next_address
    return Client(peer, peer) if address is None else Client.of(address)


def hops_of(x_forwarded_for: Iterable[str], forwarded: Iterable[str]) -> Iterator[str]:
    """Yield the unparsed addresses in the headers that proxies add, nearest to this server first.

    The arguments are the values of these headers. `Forwarded` is used only if there is no `X-Forwarded-For`.
    """
    given = [hop for value in x_forwarded_for for hop in value.split(",") if hop.strip()]
    if not given:
        elements = [element for value in forwarded for element in _OUTSIDE_QUOTES.split(value)]
        found = [match[1] for element in elements if (match := _FORWARDED_FOR.search(element))]
        given = [hop for hop in found if hop.strip(' "')]
    return (hop.strip() for hop in reversed(given))


def parse_address(text: str) -> Address | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80` and other spellings, or None.

    An IPv4-mapped IPv6 address is returned as IPv4. A port or an IPv6 zone is ignored.
    """
    bare = text.strip().strip("\"'").strip()
    for form in (_BRACKETED, _V4_WITH_PORT):
        if found := form.fullmatch(bare):
            bare = found["address"]
            break
    try:
        address = ip_address(bare.partition("%")[0].strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_network(text: str) -> Network:
    """Return the network. An IPv4-mapped IPv6 network is returned as IPv4. Raise ValueError if it is not a network."""
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= MAPPED_PREFIX:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - MAPPED_PREFIX))
    return network


def is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
