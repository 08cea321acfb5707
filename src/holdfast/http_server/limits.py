"""Every bound of the HTTP server, with the default that is safe; docs/reference/limits.md explains each."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True)
class Limits:
    """The bounds of one listener; `_s` are seconds. The limit per client does not hold for `proxies`."""

    connections_max: int = 12_000
    connections_per_client_max: int = 0  # no limit
    proxies: tuple[Network, ...] = LOOPBACK

    target_bytes_max: int = 8 * 1024
    head_bytes_max: int = 32 * 1024
    header_bytes_max: int = 16 * 1024
    headers_max: int = 64
    body_bytes_max: int = 1024 * 1024
    framing_bytes_max: int = 16 * 1024
    pipelined_max: int = 16

    first_byte_s: float = 10.0
    head_s: float = 10.0
    body_s: float = 15.0
    keep_alive_s: float = 75.0
    answer_s: float = 30.0
    linger_s: float = 2.0
    linger_bytes_max: int = 256 * 1024
    stop_s: float = 0.3

    def is_proxy(self, host: str) -> bool:
        """Tell whether many clients may use this address."""
        if not host:
            return True  # a socket of this machine has no address
        address = _address(host)
        return any(address.version == network.version and address in network for network in self.proxies)


def client_of(host: str) -> str:
    """Return the key of a client: its IPv4 address, or the IPv6 /64 that belongs to one client."""
    address = _address(host)
    return str(address) if address.version == 4 else str(ip_network(f"{address}/64", strict=False))


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address
