"""How many connections are open: of all together, and of each address. No socket inside."""

from ipaddress import ip_address

from api._kit.counting import network


class Crowd:
    """At most `total` at once, and `each` of one address; an `each` of 0 does not ask for the address."""

    def __init__(self, total: int, each: int) -> None:
        self._total, self._each = total, each
        self._of: dict[str, int] = {}
        self.count = 0

    def enter(self, address: str) -> bool:
        """Whether there is room for one more from `address`. Whoever was let in has to `leave`."""
        place = _place(address)
        here = self._of.get(place, 0)
        if self.count >= self._total or (place and self._each and here >= self._each):
            return False
        self._of[place] = here + 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """One of those who were let in from `address` has gone."""
        place = _place(address)
        self.count -= 1
        self._of[place] -= 1
        if not self._of[place]:
            del self._of[place]


def _place(address: str) -> str:
    """What counts as one address. Empty for this machine, which is not limited."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    unwrapped = getattr(known, "ipv4_mapped", None) or known
    return "" if unwrapped.is_loopback else network(str(unwrapped))
