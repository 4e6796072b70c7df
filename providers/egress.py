"""Which addresses a provider may be reached at. Pure; the transport asks before each connection is made.

Public addresses and loopback are open, others only when the operator names their network. Link-local
and cloud metadata addresses stay closed whatever is named (OWASP SSRF prevention; the fixed addresses
are those of AWS, Google, Azure, Alibaba and Oracle).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA: frozenset[Address] = frozenset(
    map(ip_address, ("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"))
)
_NAT64 = ip_network("64:ff9b::/96")
_UNROUTABLE = (IPv4Address(0), IPv6Address(0))


class EgressPolicy:
    """`permits(address)`: may a connection be opened to this numeric address?"""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self.allowed = tuple(allowed)

    def permits(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if _closed(address) or any(_closed(inner) for inner in _embedded(address)):
            return False
        effective = next(iter(_embedded(address)), address)
        if effective.is_loopback or (effective.is_global and not effective.is_multicast):
            return True
        return any(candidate in network for network in self.allowed for candidate in (address, effective))


def way_in(host: str) -> str:
    """What an operator can do so that this refused address is permitted."""
    try:
        network = ip_network(host.partition("%")[0])
    except ValueError:
        return "Write the address in full."
    if EgressPolicy((network,)).permits(host):
        return f"If that is a machine of yours, add {network} to LLM_CALLER_EGRESS_ALLOW in .env and restart the gateway."
    return "No setting opens it."


def _closed(address: Address) -> bool:
    return address in METADATA or address.is_link_local or address in _UNROUTABLE or address.is_multicast


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for (mapped, 6to4, Teredo, NAT64)."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address] = [a for a in (address.ipv4_mapped, address.sixtofour) if a is not None]
    if address.teredo is not None:
        found += address.teredo
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises `ValueError` naming the text that is no network."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16") from None
    return tuple(networks)
