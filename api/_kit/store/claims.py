"""Requests that may be sent again: each writes a row of its own in the first transaction that it commits.

So the row is there if and only if the request has had an effect. Whoever finds another's row in the way has had none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Insert, LargeBinary, String, Table, delete, insert, select, update

from api._kit.errors import Conflict
from api._kit.store.tables import metadata

if TYPE_CHECKING:
    from api._kit.store.transactions import Transaction, Write

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", LargeBinary),
    Column("created_at", BigInteger, nullable=False, index=True),
)
"""`id` is a digest of whose key for which request, `fingerprint` one of the rest of it; `answer` is null until there is
one, and sealed, for it may hold a secret that is shown only once."""


@dataclass(slots=True)
class Claim:
    """The row of the request that is being answered, and whether it has been written with a change."""

    id: str
    fingerprint: str
    created_at: int
    staked: bool = False

    def row(self, answer: bytes | None = None) -> Insert:
        values = {"id": self.id, "fingerprint": self.fingerprint, "answer": answer, "created_at": self.created_at}
        return insert(idempotency_keys).values(values)


class ClaimLost(Conflict):
    """The same request had its effect elsewhere at the same time; nothing of this one was kept."""


CLAIM: Final[ContextVar[Claim | None]] = ContextVar("claim", default=None)
"""Of the request that is being answered, if it may be sent again."""


@contextmanager
def staking() -> Iterator[Insert | None]:
    """The row that the transaction within has to write too, unless one before it has. Nothing is staked if it fails."""
    claim = CLAIM.get()
    if claim is None or claim.staked:
        yield None
        return
    claim.staked = True
    try:
        yield claim.row()
    except BaseException:
        claim.staked = False
        raise


async def find_claim(tx: "Transaction", id: str) -> dict[str, Any] | None:
    return await tx.one(select(idempotency_keys).where(idempotency_keys.c.id == id))


def keep_answer(write: "Write", claim: Claim, answer: bytes) -> bool:
    """Write the answer to the claim's row, which is made if no change has made it. False if the row is another's."""
    if claim.staked:
        return write.run(update(idempotency_keys).where(idempotency_keys.c.id == claim.id).values(answer=answer)) == 1
    return write.try_insert(claim.row(answer))


def drop_claim(write: "Write", id: str) -> None:
    write.run(delete(idempotency_keys).where(idempotency_keys.c.id == id))
