"""What is counted where requests are: addresses as they count, counters, and how they stand. No I/O."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address


@dataclass(frozen=True, slots=True)
class Count:
    """One counter: a key in a window of so many seconds."""

    key: str
    seconds: int
    limit: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Whether all counters had room, and each one's requests and limit as they are now."""

    admitted: bool
    counts: tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """An address as it is counted: IPv4 whole, IPv6 by its first 64 bits, which one customer has to themselves."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)
