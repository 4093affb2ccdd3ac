"""Tokens: what is forged, foreign, old or revoked is refused, each in the same way and without a crash."""

import base64
import json
from typing import Any

import jwt
import pytest

from api._kit.auth import LEEWAY, LIFETIME, SESSION, Principal, Tokens
from api._kit.errors import Unauthenticated
from api._kit.ports import Standing
from server.infra.clock import Ids
from tests.contract.house import HandClock

OLD, NEW, FOREIGN = b"o" * 32, b"n" * 32, b"f" * 32


class Remembered:
    """Revocations in memory."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.versions: dict[str, int] = {}

    async def standing(self, token_id: str, session: str, user_id: str, version: int) -> Standing:
        if session in self.ids or version < self.versions.get(user_id, 0):
            return "revoked"
        return "exchanged" if token_id in self.ids else "good"

    async def version(self, user_id: str) -> int:
        return self.versions.get(user_id, 0)

    def revoke_all(self, user_id: str) -> None:
        self.versions[user_id] = self.versions.get(user_id, 0) + 1


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def revocations() -> Remembered:
    return Remembered()


@pytest.fixture
def tokens(clock: HandClock, revocations: Remembered) -> Tokens:
    return Tokens([NEW, OLD], clock=clock, ids=Ids(), revocations=revocations)


def member(tokens: Tokens) -> str:
    return tokens.account("user_1", "org_1", "editor", version=0)[0]


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def signed(token: str, *, key: bytes = NEW, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims and headers; a claim of None is left out."""
    head, payload = parts(token)
    changed = {name: value for name, value in {**payload, **claims}.items() if value is not None}
    return jwt.encode(changed, key, "HS256", headers={**head, **(header or {})})


def unsigned(token: str, algorithm: str) -> str:
    head, payload = parts(token)
    encoded = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in ({**head, "alg": algorithm}, payload)
    ]
    return b".".join([*encoded, b""]).decode()


async def test_a_member_is_recognised(tokens: Tokens) -> None:
    found = await tokens.verify(member(tokens))
    assert (found.kind, found.user_id, found.organization_id, found.role) == ("account", "user_1", "org_1", "editor")


async def test_a_visitor_is_bound_to_bot_and_website(tokens: Tokens) -> None:
    found = await tokens.verify(tokens.visitor("anonymous_1", "org_1", "cb_1", "https://shop.example"))
    assert (found.kind, found.chatbot_id, found.origin) == ("visitor", "cb_1", "https://shop.example")


async def test_a_token_of_the_key_before_is_still_good(
    clock: HandClock, revocations: Remembered, tokens: Tokens
) -> None:
    before = Tokens([OLD], clock=clock, ids=Ids(), revocations=revocations)
    assert (await tokens.verify(member(before))).user_id == "user_1"


@pytest.mark.parametrize(
    "forge",
    [
        lambda t: unsigned(t, "none"),
        lambda t: unsigned(t, "None"),
        lambda t: unsigned(t, "HS256"),
        lambda t: signed(t, key=FOREIGN),
        lambda t: jwt.encode(parts(t)[1], NEW, "HS512", headers={"kid": parts(t)[0]["kid"]}),
        lambda t: signed(t, header={"kid": "unknown"}),
        lambda t: signed(t, header={"kid": "../../dev/null"}),
        lambda t: signed(t, header={"kid": "' OR 1=1 --"}),
        lambda t: signed(t, key=FOREIGN, header={"jku": "http://127.0.0.1:9/keys"}),
        lambda t: signed(t, key=FOREIGN, header={"x5u": "http://127.0.0.1:9/cert"}),
        lambda t: signed(t, key=FOREIGN, header={"jwk": {"kty": "oct", "k": "Zg"}}),
        lambda t: signed(t, header={"crit": ["exp"]}),
        lambda t: signed(t, iss="someone-else"),
        lambda t: signed(t, aud="another-api"),
        lambda t: signed(t, typ="refresh"),
        lambda t: signed(t, typ="visitor"),
        lambda t: signed(t, role="emperor"),
        lambda t: signed(t, exp=None),
        lambda t: signed(t, jti=None),
        lambda t: signed(t, typ=None),
        lambda t: signed(t, org=None),
        lambda t: signed(t, exp="soon"),
        lambda t: signed(t, exp=1),
        lambda t: signed(t, nbf=9_999_999_999),
        lambda t: signed(t, ver="x"),
        lambda t: signed(t, padding="x" * 8192),
        lambda t: t[:-2],
        lambda t: t.replace(".", ""),
        lambda t: "",
        lambda t: "Bearer",
        lambda t: "ü.ü.ü",
    ],
)
async def test_a_forged_token_is_refused(tokens: Tokens, forge: Any) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.verify(forge(member(tokens)))


async def test_a_token_dies_an_hour_after_it_was_made(tokens: Tokens, clock: HandClock) -> None:
    token = member(tokens)
    await clock.sleep(LIFETIME + LEEWAY - 1)
    await tokens.verify(token)
    await clock.sleep(1)
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_a_revoked_token_is_refused(tokens: Tokens, revocations: Remembered) -> None:
    token = member(tokens)
    revocations.ids.add((await tokens.verify(token)).token_id)
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_all_of_a_persons_tokens_can_be_refused(tokens: Tokens, revocations: Remembered) -> None:
    token = member(tokens)
    revocations.revoke_all("user_1")
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_refreshing_ends_a_month_after_the_login(tokens: Tokens, clock: HandClock) -> None:
    login_at = int(clock.now())
    await clock.sleep(SESSION - 60)
    assert tokens.account("user_1", "org_1", "viewer", version=0, login_at=login_at)[1] == 60
    await clock.sleep(60)
    with pytest.raises(Unauthenticated):
        tokens.account("user_1", "org_1", "viewer", version=0, login_at=login_at)


def test_a_short_key_is_refused(clock: HandClock, revocations: Remembered) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens([b"short"], clock=clock, ids=Ids(), revocations=revocations)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("viewer", "M"), ("editor", "ME"), ("admin", "MEA"), ("owner", "MEAO")],
)
def test_a_role_may_what_lower_roles_may(role: Any, allowed: str) -> None:
    principal = Principal("account", "user_1", "org_1", "tok_1", 0, role=role)
    assert {code for code in "PVMEAOCGSK" if principal.may(frozenset(code))} == set(allowed)


def test_a_capability_opens_its_door() -> None:
    principal = Principal("account", "user_1", "org_1", "tok_1", 0, capabilities=frozenset({"agent"}))
    assert principal.may(frozenset("G"))
    assert not principal.may(frozenset("C"))
