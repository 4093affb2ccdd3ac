"""The second factor: switched on with a code, asked for at every login, each code once."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp

from tests.contract.house import PASSWORD, House, bearer

SETUP, VERIFY, LOGIN = "/api/v1/auth/mfa/setup", "/api/v1/auth/mfa/verify", "/api/v1/auth/login"
CREDENTIALS = {"email": "user@example.com", "password": PASSWORD}


async def begun(house: House, headers: dict[str, str], **more: str) -> tuple[pyotp.TOTP, list[str]]:
    made = await house.json("POST", SETUP, 201, headers=headers, json={"password": PASSWORD, **more})
    uri = urlsplit(made["otpauth_uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    return pyotp.TOTP(parse_qs(uri.query)["secret"][0]), made["recovery_codes"]


async def enabled(house: House, headers: dict[str, str]) -> tuple[pyotp.TOTP, list[str]]:
    """An account's factor, switched on; its last code was shown a minute ago."""
    totp, codes = await begun(house, headers)
    answer = await house.json("POST", VERIFY, 200, headers=headers, json={"code": totp.at(int(house.clock.now()))})
    assert answer == {"mfa_enabled": True}
    await house.clock.sleep(60)
    return totp, codes


async def halfway(house: House) -> str:
    return str((await house.refused("POST", LOGIN, 401, "MFA_REQUIRED", json=CREDENTIALS))["mfa_token"])


def shown(house: House, totp: pyotp.TOTP, token: str, *, later: int = 0) -> dict[str, Any]:
    return {"mfa_token": token, "code": totp.at(int(house.clock.now()) + later)}


async def test_a_login_needs_the_code_once_it_is_switched_on(house: House) -> None:
    headers = await house.owner()
    totp, _ = await enabled(house, headers)
    assert (await house.json("GET", "/api/v1/users/me", 200, headers=headers))["mfa_enabled"]
    grant = await house.json("POST", VERIFY, 200, json=shown(house, totp, await halfway(house)))
    assert list(grant) == ["access_token", "token_type", "expires_in", "user_id"]
    await house.json("GET", "/api/v1/users/me", 200, headers=bearer(grant["access_token"]))


async def test_a_factor_that_was_never_shown_is_not_asked_for(house: House) -> None:
    await begun(house, await house.owner())
    await house.json("POST", LOGIN, 200, json=CREDENTIALS)


async def test_a_code_counts_once(house: House) -> None:
    totp, _ = await enabled(house, await house.owner())
    await house.json("POST", VERIFY, 200, json=shown(house, totp, await halfway(house)))
    again = shown(house, totp, await halfway(house))
    await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=again)


async def test_a_code_of_the_step_before_the_last_one_shown_is_refused(house: House) -> None:
    totp, _ = await enabled(house, await house.owner())
    await house.json("POST", VERIFY, 200, json=shown(house, totp, await halfway(house)))
    earlier = shown(house, totp, await halfway(house), later=-30)
    await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=earlier)


async def test_a_clock_may_be_half_a_minute_off_and_not_more(house: House) -> None:
    totp, _ = await enabled(house, await house.owner())
    late = shown(house, totp, await halfway(house), later=60)
    await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=late)
    await house.json("POST", VERIFY, 200, json=shown(house, totp, await halfway(house), later=30))


async def test_a_recovery_code_stands_in_once_however_it_is_typed(house: House) -> None:
    _, codes = await enabled(house, await house.owner())
    assert len(set(codes)) == 10
    typed = codes[3].upper().replace("-", " ")
    await house.json("POST", VERIFY, 200, json={"mfa_token": await halfway(house), "recovery_code": typed})
    again = {"mfa_token": await halfway(house), "recovery_code": codes[3]}
    await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=again)
    await house.json("POST", VERIFY, 200, json={"mfa_token": await halfway(house), "recovery_code": codes[4]})


async def test_a_login_is_finished_once_and_within_five_minutes(house: House) -> None:
    totp, codes = await enabled(house, await house.owner())
    used = await halfway(house)
    await house.json("POST", VERIFY, 200, json=shown(house, totp, used))
    again = {"mfa_token": used, "recovery_code": codes[0]}
    await house.refused("POST", VERIFY, 401, "INVALID_TOKEN", json=again)
    late = await halfway(house)
    await house.clock.sleep(331)
    await house.refused("POST", VERIFY, 401, "INVALID_TOKEN", json=shown(house, totp, late))


async def test_a_password_alone_opens_nothing(house: House) -> None:
    totp, _ = await enabled(house, await house.owner())
    token = await halfway(house)
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=bearer(token))
    await house.refused("POST", "/api/v1/auth/refresh", 401, "INVALID_TOKEN", headers=bearer(token))
    access = (await house.json("POST", VERIFY, 200, json=shown(house, totp, token)))["access_token"]
    await house.refused("POST", VERIFY, 401, "INVALID_TOKEN", json={"mfa_token": access, "code": "000000"})


async def test_codes_cannot_be_guessed(house: House) -> None:
    totp, _ = await enabled(house, await house.owner())
    token = await halfway(house)
    wrong = {"mfa_token": token, "code": f"{(int(totp.at(int(house.clock.now()))) + 500_000) % 1_000_000:06}"}
    for _ in range(5):
        await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=wrong)
    await house.refused("POST", VERIFY, 429, "RATE_LIMIT_EXCEEDED", json=shown(house, totp, token))
    await house.clock.sleep(60)
    await house.json("POST", VERIFY, 200, json=shown(house, totp, token))


async def test_setting_up_needs_the_password(house: House) -> None:
    headers = await house.owner()
    await house.refused("POST", SETUP, 401, "INVALID_CREDENTIALS", headers=headers, json={"password": "wrong"})


async def test_a_factor_in_use_is_replaced_by_whoever_can_show_it(house: House) -> None:
    headers = await house.owner()
    old, codes = await enabled(house, headers)
    await house.refused("POST", SETUP, 409, "STATE_CONFLICT", headers=headers, json={"password": PASSWORD})
    new, _ = await begun(house, headers, recovery_code=codes[0])
    await house.json("POST", VERIFY, 200, headers=headers, json={"code": new.at(int(house.clock.now()))})
    await house.clock.sleep(60)
    token = await halfway(house)
    await house.refused("POST", VERIFY, 401, "INVALID_CREDENTIALS", json=shown(house, old, token))
    await house.json("POST", VERIFY, 200, json=shown(house, new, token))


async def test_a_new_password_ends_a_login_that_was_half_done(house: House) -> None:
    headers = await house.owner()
    totp, _ = await enabled(house, headers)
    token = await halfway(house)
    body = {"current_password": PASSWORD, "new_password": "another long sentence"}
    await house.json("PATCH", "/api/v1/users/me", 200, headers=headers, json=body)
    await house.refused("POST", VERIFY, 401, "INVALID_TOKEN", json=shown(house, totp, token))


async def test_secrets_and_recovery_codes_are_not_kept_in_the_clear(house: House) -> None:
    totp, codes = await enabled(house, await house.owner())
    dump = await house.kept()
    assert "second_factors" in dump
    assert totp.secret not in dump
    assert not any(code in dump or code.replace("-", "") in dump for code in codes)


async def test_right_passwords_of_a_whole_office_that_need_a_code_do_not_lock_it(house: House) -> None:
    people = [f"user{n}@example.com" for n in range(3)]
    for email in people:
        await enabled(house, await house.owner(email))
    for email in people * 4:
        await house.refused("POST", LOGIN, 401, "MFA_REQUIRED", json={"email": email, "password": PASSWORD})
