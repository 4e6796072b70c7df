"""What a caller may do, and from where. Pure."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from clients.types import Client

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_PORT = re.compile(r"^\[(.+)\](?::\d+)?$|^([^:]+):\d+$")


def parse_address(text: str) -> Address | None:
    """A numeric address; an IPv4-mapped IPv6 address counts as the IPv4 address it carries."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def peer_address(peer: str, forwarded_for: Sequence[str], trusted_proxies: Sequence[Network]) -> str:
    """Who really called: the last hop that is not a trusted proxy (RFC 7239 §7.4 on trusting lists).

    `forwarded_for`: the values of all X-Forwarded-For headers in order. They count only when the
    connection itself comes from a trusted proxy; an unreadable hop ends the walk.
    """
    current = peer
    if not trusted_proxies or not within(parse_address(peer), trusted_proxies):
        return current
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",") if hop.strip()]
    for hop in reversed(hops):
        match = _PORT.match(hop)
        hop = (match[1] or match[2]) if match else hop
        if parse_address(hop) is None:
            return current
        current = hop
        if not within(parse_address(hop), trusted_proxies):
            return current
    return current


def may_call(client: Client, method: str) -> bool:
    return method in client.methods


def may_come_from(client: Client, address: str) -> bool:
    return not client.networks or within(parse_address(address), client.networks)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises `ValueError` naming the text that is no network."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16") from None
    return tuple(networks)
