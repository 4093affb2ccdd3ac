"""Tokens, sessions and passwords under attack, through the front door."""

import asyncio
import base64
import json
from collections import Counter
from typing import Any

import jwt
import pytest
from argon2 import extract_parameters
from sqlalchemy import select

from api._kit.store import PLATFORM
from api.users.store import users
from server.infra.hashing import Argon2Passwords
from tests.contract.house import KEY, PASSWORD, House, bearer

ME, LOGIN, REFRESH = "/api/v1/users/me", "/api/v1/auth/login", "/api/v1/auth/refresh"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


def taken_apart(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def forged(token: str, *, key: bytes = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims and headers, signed as we sign; a claim of None is left out."""
    head, payload = taken_apart(token)
    kept = {name: value for name, value in {**payload, **claims}.items() if value is not None}
    return jwt.encode(kept, key, "HS256", headers={**head, **(header or {})})


def unsigned(token: str, algorithm: str, signature: bytes = b"") -> str:
    head, payload = taken_apart(token)
    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in ({**head, "alg": algorithm}, payload)
    ]
    return b".".join([*parts, signature]).decode()


CORPUS = {
    "alg none": lambda t: unsigned(t, "none"),
    "alg None": lambda t: unsigned(t, "None"),
    "alg nOnE and a signature": lambda t: unsigned(t, "nOnE", b"AAAA"),
    "no signature": lambda t: unsigned(t, "HS256"),
    "RS256 without a key pair": lambda t: unsigned(t, "RS256", b"AAAA"),
    "a public key as the secret": lambda t: forged(t, key=PUBLIC.replace("-", "").encode()),
    "an empty key": lambda t: unsigned(t, "HS256", base64.urlsafe_b64encode(b"\0" * 32).rstrip(b"=")),
    "another key": lambda t: forged(t, key=b"f" * 32),
    "unknown kid": lambda t: forged(t, header={"kid": "unknown"}),
    "kid is a path": lambda t: forged(t, key=b"\n", header={"kid": "../../../../dev/null"}),
    "kid is SQL": lambda t: forged(t, header={"kid": "x' UNION SELECT 'key' --"}),
    "kid is an object": lambda t: unsigned_header(t, kid={"a": 1}),
    "kid is a list": lambda t: unsigned_header(t, kid=["a"]),
    "jku": lambda t: forged(t, key=b"f" * 32, header={"jku": "http://127.0.0.1:9/keys"}),
    "x5u": lambda t: forged(t, key=b"f" * 32, header={"x5u": "http://127.0.0.1:9/cert"}),
    "jwk": lambda t: forged(t, key=b"f" * 32, header={"jwk": {"kty": "oct", "k": "ZmZmZg"}}),
    "crit": lambda t: forged(t, header={"crit": ["b64"], "b64": False}),
    "other issuer": lambda t: forged(t, iss="https://evil.example"),
    "other audience": lambda t: forged(t, aud="another.api"),
    "no audience": lambda t: forged(t, aud=None),
    "refresh as access": lambda t: forged(t, typ="refresh"),
    "second factor as access": lambda t: forged(t, typ="mfa"),
    "typ is a list": lambda t: forged(t, typ=["access"]),
    "expired": lambda t: forged(t, exp=1_763_999_000),
    "not yet": lambda t: forged(t, nbf=1_764_003_000),
    "never ends": lambda t: forged(t, exp=None),
    "ends at infinity": lambda t: forged(t, exp=float("inf")),
    "no jti": lambda t: forged(t, jti=None),
    "no session": lambda t: forged(t, sid=None),
    "no version": lambda t: forged(t, ver=None),
    "role of nobody": lambda t: forged(t, role="root"),
    "8 KB": lambda t: forged(t, padding="x" * 5000),
    "not base64": lambda t: t.replace(".", "!."),
    "deep JSON": lambda t: base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.AAAA",
    "nothing": lambda t: ".",
}


def unsigned_header(token: str, **header: Any) -> str:
    head, payload = taken_apart(token)
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in ({**head, **header}, payload)]
    return b".".join([*parts, b"AAAA"]).decode()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("name", CORPUS)
async def test_a_forged_token_is_refused_like_any_other(house: House, name: str) -> None:
    good = (await house.owner())["Authorization"].split()[1]
    error = await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=bearer(CORPUS[name](good)))
    assert good.split(".")[1] not in json.dumps(error)


async def test_what_the_corpus_forges_would_be_taken_if_nothing_were_wrong_with_it(house: House) -> None:
    good = (await house.owner())["Authorization"].split()[1]
    await house.json("GET", ME, 200, headers=bearer(forged(good)))


# --- sessions ---


async def test_twenty_tabs_refresh_at_once_and_all_go_on_in_one_session(house: House) -> None:
    old = await house.owner()
    grants = await asyncio.gather(*(house.json("POST", REFRESH, 200, headers=old) for _ in range(20)))
    found = [await house.deps.tokens.verify(grant["access_token"]) for grant in grants]
    assert len({p.token_id for p in found}) == 20
    assert len({p.session for p in found}) == 1
    for grant in grants:
        await house.json("GET", ME, 200, headers=bearer(grant["access_token"]))


async def test_a_token_that_is_exchanged_again_after_the_grace_ends_its_session(house: House) -> None:
    old, elsewhere = await house.owner(), await house.login()
    fresh = bearer((await house.json("POST", REFRESH, 200, headers=old))["access_token"])
    await house.clock.sleep(30)
    await house.refused("POST", REFRESH, 401, "INVALID_TOKEN", headers=old)
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=fresh)
    await house.refused("POST", REFRESH, 401, "INVALID_TOKEN", headers=fresh)
    await house.json("GET", ME, 200, headers=elsewhere)
    ended = [event.data for event in house.events if event.name == "user.logout"]
    assert len(ended) == 1
    assert ended[0]["session"].startswith("ses_")


async def test_a_tab_that_slept_through_a_refresh_is_merely_refused(house: House) -> None:
    old = await house.owner()
    fresh = bearer((await house.json("POST", REFRESH, 200, headers=old))["access_token"])
    await house.clock.sleep(30)
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=old)
    await house.json("GET", ME, 200, headers=fresh)


async def test_a_forged_copy_of_an_exchanged_token_ends_no_session(house: House) -> None:
    old = await house.owner()
    fresh = bearer((await house.json("POST", REFRESH, 200, headers=old))["access_token"])
    await house.clock.sleep(30)
    copy = bearer(forged(old["Authorization"].split()[1], key=b"f" * 32))
    await house.refused("POST", REFRESH, 401, "INVALID_TOKEN", headers=copy)
    await house.json("GET", ME, 200, headers=fresh)


async def test_logging_out_ends_what_was_refreshed_from_the_same_login(house: House) -> None:
    old = await house.owner()
    fresh = bearer((await house.json("POST", REFRESH, 200, headers=old))["access_token"])
    await house.json("POST", "/api/v1/auth/logout", 200, headers=fresh)
    for headers in (old, fresh):
        await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=headers)


async def test_refreshing_ends_thirty_days_after_the_login(house: House) -> None:
    token = (await house.owner())["Authorization"].split()[1]
    late = bearer(forged(token, auth_time=int(house.clock.now()) - 30 * 24 * 3600 + 600))
    grant = await house.json("POST", REFRESH, 200, headers=late)
    assert grant["expires_in"] == 600
    await house.clock.sleep(600)
    await house.refused("POST", REFRESH, 401, "INVALID_TOKEN", headers=bearer(grant["access_token"]))


async def revoked(house: House, user_id: str, **password: str) -> None:
    """What ends every session of this person has just been committed."""
    account = await house.accounts.membership(user_id)
    assert account
    async with house.deps.database.uow(account.organization_id) as tx:
        if password:
            await house.accounts.set_password(tx, user_id, password["hashed"])
        await house.deps.revocations.revoke_all(tx, user_id)
        await tx.commit()


async def test_a_refresh_that_is_overtaken_by_a_revocation_gives_nothing_that_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, by_id = await house.owner(), house.accounts.by_id

    async def overtaken(user_id: str, organization_id: str) -> Any:
        account = await by_id(user_id, organization_id)
        await revoked(house, user_id)
        return account

    with monkeypatch.context() as patched:
        patched.setattr(house.accounts, "by_id", overtaken)
        grant = await house.json("POST", REFRESH, 200, headers=headers)
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=bearer(grant["access_token"]))


async def test_a_password_that_is_replaced_while_it_is_verified_opens_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await house.register()
    new, verify = await house.deps.passwords.hash("another long sentence"), house.deps.passwords.verify

    async def overtaken(hashed: str | None, password: str) -> bool:
        right = await verify(hashed, password)
        await revoked(house, user_id, hashed=new)
        return right

    with monkeypatch.context() as patched:
        patched.setattr(house.deps.passwords, "verify", overtaken)
        patched.setattr(house.deps.passwords, "outdated", lambda hashed: True)
        login = {"email": "user@example.com", "password": PASSWORD}
        await house.refused("POST", LOGIN, 401, "INVALID_CREDENTIALS", json=login)
    assert await stored(house) == new


async def test_renewing_a_hash_does_not_bring_an_old_password_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await house.register()
    new, renewed = await house.deps.passwords.hash("another long sentence"), house.deps.passwords.hash

    async def overtaken(password: str) -> str:
        await revoked(house, user_id, hashed=new)
        return await renewed(password)

    with monkeypatch.context() as patched:
        patched.setattr(house.deps.passwords, "hash", overtaken)
        patched.setattr(house.deps.passwords, "outdated", lambda hashed: True)
        headers = await house.login()
    assert await stored(house) == new
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=headers)


# --- passwords ---


async def stored(house: House) -> str:
    async with house.deps.database.view(PLATFORM) as tx:
        return str(await tx.scalar(select(users.c.password_hash)))


async def test_a_password_is_kept_as_argon2id_with_the_least_that_owasp_allows() -> None:
    passwords = Argon2Passwords()
    try:
        found = extract_parameters(await passwords.hash(PASSWORD))
    finally:
        passwords.close()
    assert found.type.name == "ID"
    assert found.memory_cost >= 19_456
    assert found.time_cost >= 2
    assert found.parallelism >= 1
    assert found.salt_len >= 16


async def test_a_hash_of_weaker_days_is_renewed_at_the_next_login(house: House) -> None:
    await house.register()
    before = await stored(house)
    await house.login()
    assert await stored(house) == before
    stronger = Argon2Passwords(memory_kib=128, time_cost=2)
    try:
        weaker = house.deps.passwords
        object.__setattr__(house.deps, "passwords", stronger)
        await house.login()
        renewed = await stored(house)
        assert extract_parameters(renewed).memory_cost == 128
        await house.login()
        assert await stored(house) == renewed
    finally:
        object.__setattr__(house.deps, "passwords", weaker)
        stronger.close()


@pytest.mark.parametrize("password", ["0123456789abcdef" * 4, "pässwörter sind schön 🔑🔑", "x1y2" * 64])
async def test_a_long_or_foreign_password_counts_to_its_last_character(house: House, password: str) -> None:
    person = {"email": "user@example.com", "password": password, "name": "A", "accept_terms": True}
    await house.json("POST", "/api/v1/auth/register", 201, json=person)
    login = {"email": "user@example.com", "password": password}
    await house.json("POST", LOGIN, 200, json=login)
    await house.refused("POST", LOGIN, 401, "INVALID_CREDENTIALS", json={**login, "password": password[:-1]})


# --- stuffing ---


async def test_trying_many_passwords_is_stopped_by_account_and_by_address(house: House) -> None:
    await house.register("user7@example.com")
    answers: Counter[int] = Counter()
    for n in range(40):
        body = {"email": f"user{n % 20}@example.com", "password": f"wrong {n}"}
        spoofed = {"X-Forwarded-For": f"203.0.113.{n}", "Forwarded": f"for=203.0.113.{n}"}
        async with house.client.post(LOGIN, json=body, headers=spoofed) as response:
            answers[response.status] += 1
    assert answers == {401: 10, 429: 30}
