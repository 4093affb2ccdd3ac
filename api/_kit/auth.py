"""Who is asking: tokens are signed and verified here, for REST and for the sockets alike.

Tokens are JWTs (RFC 7519) signed with HS256. An account's token has `typ` access and lives an hour; a visitor's has
`typ` visitor and is bound to one chatbot, one end user and one origin. Who has shown the password and not yet the
second factor has `typ` mfa, which opens nothing else. `kid` names the key, so that two keys are accepted while one
replaces the other. Tokens that were refreshed from one login have one `sid`: they are one session.

Programs show an API key instead: it acts for the member who made it, within its scopes.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import jwt

from api._kit.errors import Forbidden, Unauthenticated
from api._kit.ports import Clock, Ids, Revocations, Standing

ISSUER: Final = "machineavatars"
AUDIENCE: Final = "machineavatars.api"
KEY_PREFIX: Final = "mk_"
"""Every API key begins so, and no token does."""
HALFWAY: Final = 300
"""Seconds between the password and the second factor."""
LIFETIME: Final = 3600
SESSION: Final = 30 * 24 * 3600
"""Seconds after the login until refreshing ends."""
LEEWAY: Final = 30
LONGEST: Final = 4096

Role = Literal["viewer", "editor", "admin", "owner"]
RANK: Final[Mapping[str, int]] = {"viewer": 0, "editor": 1, "admin": 2, "owner": 3}
_REQUIRED: Final = ["sub", "org", "typ", "jti", "iat", "exp", "iss", "aud"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, in which organisation. A visitor has a chatbot and an origin, a member has a role, an API key has
    scopes and is of the member who made it."""

    kind: Literal["account", "visitor", "key"]
    user_id: str
    organization_id: str
    token_id: str
    expires_at: int
    role: Role = "viewer"
    capabilities: frozenset[str] = frozenset()
    version: int = 0
    login_at: int = 0
    chatbot_id: str | None = None
    origin: str | None = None
    session: str = ""
    scopes: frozenset[str] = frozenset()

    def may(self, who: frozenset[str], scope: str = "") -> bool:
        """Whether one of the role codes in `who` is this principal's. A key needs the `scope`."""
        if self.kind == "visitor":
            return "V" in who
        if self.kind == "key":
            return "K" in who and scope in self.scopes
        rank = RANK[self.role]
        return (
            "M" in who
            or ("E" in who and rank >= RANK["editor"])
            or ("A" in who and rank >= RANK["admin"])
            or ("O" in who and rank >= RANK["owner"])
            or ("C" in who and "clinician" in self.capabilities)
            or ("G" in who and "agent" in self.capabilities)
        )


class Exchanged(Unauthenticated):
    """A token that was refreshed, shown after its time of grace."""

    def __init__(self, principal: Principal) -> None:
        super().__init__(details="the token was refreshed")
        self.principal = principal


def authorise(who: frozenset[str], principal: Principal | None, scope: str = "") -> None:
    """Raises Unauthenticated without a principal, Forbidden with the wrong one."""
    if "P" in who:
        return
    if principal is None:
        raise Unauthenticated
    if not principal.may(who, scope):
        if principal.kind == "key" and "K" in who:
            raise Forbidden("This API key may not do this.", details=f"needs the scope {scope}")
        raise Forbidden(details=f"needs one of {','.join(sorted(who))}")


class Tokens:
    """Signs and verifies tokens. The first key signs, all of them verify."""

    def __init__(self, keys: Sequence[bytes], *, clock: Clock, ids: Ids, revocations: Revocations) -> None:
        if not keys or min(map(len, keys)) < 32:
            raise ValueError("a signing key has at least 32 bytes")
        self._keys = {hashlib.sha256(b"kid" + key).hexdigest()[:16]: key for key in keys}
        self._current = next(iter(self._keys))
        self._clock, self._ids, self._revocations = clock, ids, revocations

    def account(
        self,
        user_id: str,
        organization_id: str,
        role: Role,
        *,
        version: int,
        capabilities: Sequence[str] = (),
        login_at: int | None = None,
        session: str | None = None,
    ) -> tuple[str, int]:
        """A member's access token and its seconds to live. A refreshed one goes back to the login at `login_at` and
        stays in that login's `session`.

        Raises Unauthenticated when that login is too long ago.
        """
        now = int(self._clock.now())
        login = now if login_at is None else login_at
        lifetime = min(LIFETIME, login + SESSION - now)
        if lifetime <= 0:
            raise Unauthenticated("Please sign in again.", details="the login is more than 30 days old")
        session = session or self._ids.new("ses")
        claims: dict[str, Any] = {"role": role, "ver": version, "auth_time": login, "sid": session}
        if capabilities:
            claims["cap"] = list(capabilities)
        return self._sign("access", user_id, organization_id, now + lifetime, claims), lifetime

    def visitor(
        self, user_id: str, organization_id: str, chatbot_id: str, origin: str, *, lifetime: int = LIFETIME
    ) -> str:
        """A visitor's token for one chatbot on one website."""
        expires = int(self._clock.now()) + lifetime
        return self._sign("visitor", user_id, organization_id, expires, {"bot": chatbot_id, "origin": origin})

    def halfway(self, user_id: str, organization_id: str, *, version: int) -> str:
        """For someone who has shown the password, to be shown with the second factor."""
        return self._sign("mfa", user_id, organization_id, int(self._clock.now()) + HALFWAY, {"ver": version})

    async def verify_halfway(self, token: str) -> Principal:
        """Whose second factor is missing: a principal that may do nothing. Raises Unauthenticated."""
        return await self._standing(self._read(token, self._halfway))

    def _sign(self, typ: str, user_id: str, organization_id: str, expires: int, claims: Mapping[str, Any]) -> str:
        payload = {
            "sub": user_id,
            "org": organization_id,
            "typ": typ,
            "jti": self._ids.new("tok"),
            "iat": int(self._clock.now()),
            "exp": expires,
            "iss": ISSUER,
            "aud": AUDIENCE,
            **claims,
        }
        return jwt.encode(payload, self._keys[self._current], "HS256", headers={"kid": self._current})

    async def verify(self, token: str) -> Principal:
        """The principal of a token that is genuine, current and not revoked. Raises Unauthenticated."""
        return await self._standing(self._read(token, self._principal))

    async def _standing(self, principal: Principal) -> Principal:
        match await self._stands(principal):
            case "exchanged":
                raise Exchanged(principal)
            case "revoked":
                raise Unauthenticated(details="the token was revoked")
        return principal

    async def stands(self, principal: Principal) -> bool:
        """Whether a token that was verified before has not been revoked since."""
        return await self._stands(principal) == "good"

    async def _stands(self, principal: Principal) -> Standing:
        return await self._revocations.standing(
            principal.token_id, principal.session, principal.user_id, principal.version
        )

    def _read(self, token: str, principal: Callable[[Mapping[str, Any]], Principal]) -> Principal:
        try:
            if len(token) > LONGEST:
                raise jwt.InvalidTokenError("too long")
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise jwt.InvalidTokenError("unknown key")
            claims = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            self._timely(claims)
            return principal(claims)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
            raise Unauthenticated("The token is invalid or has expired.") from None

    def _timely(self, claims: Mapping[str, Any]) -> None:
        """Times are judged by the clock that was passed in, with `LEEWAY` seconds for other people's clocks."""
        now = self._clock.now()
        if int(claims["exp"]) <= now - LEEWAY or int(claims.get("nbf", 0)) > now + LEEWAY:
            raise ValueError("expired or not yet valid")

    def _halfway(self, claims: Mapping[str, Any]) -> Principal:
        if claims["typ"] != "mfa":
            raise ValueError("not a token for the second factor")
        return Principal("account", *_common(claims), version=int(claims["ver"]))

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        common = _common(claims)
        if claims["typ"] == "visitor":
            return Principal("visitor", *common, chatbot_id=str(claims["bot"]), origin=str(claims["origin"]))
        if claims["typ"] != "access" or claims["role"] not in RANK:
            raise ValueError("not an access token")
        return Principal(
            "account",
            *common,
            role=claims["role"],
            capabilities=frozenset(map(str, claims.get("cap", ()))),
            version=int(claims["ver"]),
            login_at=int(claims["auth_time"]),
            session=str(claims["sid"]),
        )


def _common(claims: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return str(claims["sub"]), str(claims["org"]), str(claims["jti"]), int(claims["exp"])
