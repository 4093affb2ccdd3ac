"""API keys: kept as digests, looked up with every request, so that a revoked one is refused at once."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Final

from api._kit.auth import KEY_PREFIX, LONGEST, Principal
from api._kit.errors import Forbidden, Unauthenticated
from api._kit.ports import Clock
from api._kit.store import PLATFORM, Database, Row, StoreUnavailable
from api._kit.values import milliseconds
from api.users import store

LIVE: Final = f"{KEY_PREFIX}live_"
NOTED_MS: Final = 60_000
"""How exact `last_used_at` is: written once in so long."""
SHOWN: Final = len(LIVE) + 6
"""Characters of a key that lists show, to tell it by."""
FOREVER: Final = 2**53


def new_key() -> str:
    """`mk_live_` and 256 random bits."""
    return LIVE + secrets.token_urlsafe(32)


class Keys:
    """API keys, as requests show them. A key lives no longer than the right of the member who made it to make one."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def principal(self, key: str, address: str) -> Principal:
        now = milliseconds(self._clock.now())
        async with self._database.view(PLATFORM) as tx:
            row = await store.find_key(tx, key) if len(key) <= LONGEST else None
        if row is None or (row["expires_at"] or FOREVER) <= now:
            raise Unauthenticated("The API key is unknown, revoked or expired.")
        if row["allowed_ips"] and not _among(address, row["allowed_ips"]):
            raise Forbidden("This API key may not be used from this address.")
        await self._note(row, now)
        return Principal(
            "key",
            row["user_id"],
            row["organization_id"],
            token_id=row["id"],
            expires_at=(row["expires_at"] or FOREVER) // 1000,
            role="admin",
            scopes=frozenset(row["scopes"]),
        )

    async def _note(self, row: Row, now: int) -> None:
        """That the key was used. A database that takes no writes at the moment is no reason to refuse a reader."""
        last = row["last_used_at"]
        if last is not None and now - last < NOTED_MS:
            return
        with suppress(StoreUnavailable):
            await self._database.write(PLATFORM, lambda tx: store.note_key(tx, row["id"], now=now))


def _among(address: str, allowed: Sequence[str]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ip_network(network) for network in allowed)
