"""Which addresses a stranger's URL may lead to: public unicast ones, by a table of our own.

`ipaddress.is_global` says yes to loopback wrapped as NAT64 or 6to4 and to the clouds' metadata services, so it is not
asked. Sources: IANA's IPv4 and IPv6 Special-Purpose Address Registries.
"""

import ipaddress
from typing import Final

_REFUSED_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, although public
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
    )
)
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
"""All global unicast space that is handed out. Outside: `::`, loopback, mapped and compatible IPv4, NAT64, discard,
unique local, link-local, site-local, multicast."""
_REFUSED_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def public(address: str) -> bool:
    """Whether this literal address is one of the public internet. Anything that is no address is not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _REFUSED_V4)
    if found.scope_id is not None:
        return False
    return found in _GLOBAL_V6 and not any(found in network for network in _REFUSED_V6)
