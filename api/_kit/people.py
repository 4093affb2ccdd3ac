"""What services ask of each other about people: who they are, what they may show, and what is no longer believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from api._kit.auth import Principal, Role
    from api._kit.store import Transaction


class Passwords(Protocol):
    """Slow hashing, kept off the event loop. Raises Unavailable when too many wait."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, hashed: str | None, password: str) -> bool:
        """False for a wrong password and, after the same time, for no hash at all."""
        ...

    def outdated(self, hashed: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        ...


class CannotOpen(Exception):
    """A sealed secret was sealed with a key that is gone, or elsewhere."""


class Vault(Protocol):
    """Seals secrets that are stored, and opens them again."""

    def seal(self, secret: bytes, context: str) -> str:
        """`context` names what it is and whose, such as `llm.key:org_1`; it opens with the same context only."""
        ...

    def open(self, sealed: str, context: str) -> bytes:
        """Raises CannotOpen."""
        ...


Standing = Literal["good", "exchanged", "revoked"]
"""Of a token that is genuine and has not expired. `exchanged`: it was refreshed, and its time of grace is over."""


class Revocations(Protocol):
    """Tokens that are refused before they expire."""

    async def standing(self, token_id: str, session: str, user_id: str, version: int) -> Standing: ...

    async def version(self, user_id: str) -> int:
        """The version that this user's new tokens carry."""
        ...

    async def revoke_all(self, tx: "Transaction", user_id: str) -> None:
        """With the commit, every token that this user holds dies; announced as `user.tokens_revoked`."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """A person as a member of one organisation."""

    user_id: str
    email: str
    name: str
    password_hash: str | None
    organization_id: str
    role: "Role"
    capabilities: tuple[str, ...]
    active: bool
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation into an organisation."""

    id: str
    organization_id: str
    email: str
    role: "Role"
    capabilities: tuple[str, ...]


class Accounts(Protocol):
    """People and their memberships, as signing in needs them."""

    async def create(
        self, tx: "Transaction", *, email: str, name: str, password_hash: str, organization_name: str
    ) -> Account:
        """A person who owns a new organisation, the transaction's. Raises DuplicateResource when the address is
        taken."""
        ...

    async def invitation(self, token: str) -> Invitation | None:
        """The invitation that this token opens, until it has been accepted or has expired."""
        ...

    async def join(self, tx: "Transaction", invitation: Invitation, *, name: str, password_hash: str) -> Account:
        """The person who was invited, as a member. Raises DuplicateResource when the address belongs to a member of
        any organisation, Conflict when somebody was faster."""
        ...

    async def by_email(self, email: str) -> Account | None: ...

    async def membership(self, user_id: str) -> Account | None:
        """The person in the organisation that signing in leads to."""
        ...

    async def by_id(self, user_id: str, organization_id: str) -> Account | None: ...

    async def set_password(
        self, tx: "Transaction", user_id: str, password_hash: str, *, instead_of: str | None = None
    ) -> None:
        """`instead_of` is the hash that it replaces; where another one has come meanwhile, that one stays."""
        ...

    async def set_verified(self, tx: "Transaction", user_id: str) -> None:
        """The person has shown to read this e-mail address."""
        ...


class Keys(Protocol):
    """API keys, as requests show them."""

    async def principal(self, key: str, address: str) -> "Principal":
        """Whom the key acts for. Raises Unauthenticated, and Forbidden for an address that it does not allow."""
        ...


class SecondFactors(Protocol):
    """Who signs in with a second factor."""

    async def enabled(self, user_id: str) -> bool: ...


class IdentitySecrets(Protocol):
    """What a website signs its visitors' identities with: one secret a chatbot."""

    async def secret(self, organization_id: str, chatbot_id: str) -> str:
        """Made when it is first asked for."""
        ...

    async def accepted(self, organization_id: str, chatbot_id: str) -> Sequence[str]:
        """The current secret, then the one before as long as it counts; none if nobody has asked for one."""
        ...

    async def rotate(self, organization_id: str, chatbot_id: str) -> tuple[str, int]:
        """A new secret, and until when the old one counts too (milliseconds since the epoch)."""
        ...
