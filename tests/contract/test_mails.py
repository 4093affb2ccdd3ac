"""What comes by mail: proof of an address, a new password, an invitation."""

import pytest

from tests.contract.house import PASSWORD, House

VERIFY, FORGOT, RESET = (f"/api/v1/auth/{name}" for name in ("verify-email", "forgot-password", "reset-password"))
NEW = "another long sentence"


async def asked(house: House, email: str = "user@example.com") -> str:
    """A token with which this person can choose a new password."""
    await house.mails()
    assert await house.json("POST", FORGOT, 200, json={"email": email}) == {"sent": True}
    return await house.token("reset")


async def test_an_address_is_confirmed_by_the_link_that_was_sent_there(house: House) -> None:
    headers = await house.owner()
    assert not (await house.json("GET", "/api/v1/users/me", 200, headers=headers))["email_verified"]
    (mail,) = await house.mails()
    assert mail.to == "user@example.com"
    assert mail.link.startswith("http://localhost:8000/account/#verify=")
    body = {"token": mail.link.rpartition("=")[2]}
    assert await house.json("POST", VERIFY, 200, json=body) == {"email_verified": True}
    assert (await house.json("GET", "/api/v1/users/me", 200, headers=headers))["email_verified"]


async def test_a_link_works_once_and_takes_the_others_with_it(house: House) -> None:
    await house.register()
    first = await house.token("verify")
    assert await house.json("POST", VERIFY, 200, json={"email": "user@example.com"}) == {"sent": True}
    second = await house.token("verify")
    await house.json("POST", VERIFY, 200, json={"token": second})
    for spent in (first, second):
        await house.refused("POST", VERIFY, 400, "INVALID_FORMAT", json={"token": spent})


async def test_a_link_to_confirm_an_address_lives_a_day(house: House) -> None:
    await house.register()
    token = await house.token("verify")
    await house.clock.sleep(24 * 3600)
    await house.refused("POST", VERIFY, 400, "INVALID_FORMAT", json={"token": token})


async def test_a_token_for_one_purpose_is_none_for_another(house: House) -> None:
    await house.register()
    verify = await house.token("verify")
    reset = await asked(house)
    await house.refused("POST", VERIFY, 400, "INVALID_FORMAT", json={"token": reset})
    await house.refused("POST", RESET, 400, "INVALID_FORMAT", json={"token": verify, "new_password": NEW})


@pytest.mark.parametrize("path", [VERIFY, FORGOT])
async def test_an_unknown_address_is_told_the_same_and_gets_nothing(house: House, path: str) -> None:
    assert await house.json("POST", path, 200, json={"email": "nobody@example.com"}) == {"sent": True}
    assert await house.mails() == []


async def test_a_confirmed_address_gets_no_other_mail(house: House) -> None:
    await house.verified()
    await house.mails()
    await house.json("POST", VERIFY, 200, json={"email": "user@example.com"})
    assert await house.mails() == []


@pytest.mark.parametrize("body", [{}, {"token": "a", "email": "user@example.com"}])
async def test_a_token_or_an_address_is_given_not_both(house: House, body: dict[str, str]) -> None:
    await house.refused("POST", VERIFY, 400, "INVALID_FORMAT", json=body)


async def test_nobody_can_fill_somebodys_mailbox(house: House) -> None:
    for _ in range(5):
        await house.json("POST", FORGOT, 200, json={"email": "user@example.com"})
    await house.refused("POST", FORGOT, 429, "RATE_LIMIT_EXCEEDED", json={"email": "User@example.com"})
    await house.json("POST", FORGOT, 200, json={"email": "other@example.com"})


async def test_a_forgotten_password_is_replaced_and_every_session_ends(house: House) -> None:
    headers = await house.owner()
    body = {"token": await asked(house), "new_password": NEW}
    await house.json("POST", RESET, 200, json=body)
    await house.refused("GET", "/api/v1/users/me", 401, "INVALID_TOKEN", headers=headers)
    login = {"email": "user@example.com", "password": NEW}
    await house.json("POST", "/api/v1/auth/login", 200, json=login)
    await house.refused("POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json={**login, "password": PASSWORD})
    assert [mail.subject for mail in await house.mails()] == ["Your password was changed"]
    assert {"user.password_changed", "user.tokens_revoked"} <= {event.name for event in house.events}


async def test_a_link_to_a_new_password_works_once_for_half_an_hour(house: House) -> None:
    await house.register()
    used, late = await asked(house), await asked(house)
    await house.clock.sleep(30 * 60)
    await house.refused("POST", RESET, 400, "INVALID_FORMAT", json={"token": late, "new_password": NEW})
    used = await asked(house)
    await house.json("POST", RESET, 200, json={"token": used, "new_password": NEW})
    await house.refused("POST", RESET, 400, "INVALID_FORMAT", json={"token": used, "new_password": NEW})


async def test_a_weak_new_password_does_not_spend_the_link(house: House) -> None:
    await house.register()
    token = await asked(house)
    await house.refused("POST", RESET, 400, "INVALID_FORMAT", json={"token": token, "new_password": "password123"})
    await house.json("POST", RESET, 200, json={"token": token, "new_password": NEW})


async def test_a_registration_that_fails_sends_nothing(house: House) -> None:
    await house.register()
    await house.mails()
    body = {"email": "user@example.com", "password": PASSWORD, "name": "B", "accept_terms": True}
    await house.refused("POST", "/api/v1/auth/register", 409, "DUPLICATE_RESOURCE", json=body)
    assert await house.mails() == []


async def test_no_link_is_kept_in_the_database(house: House) -> None:
    await house.register()
    token = await house.token("verify")
    dump = await house.kept()
    assert "mail_tokens" in dump
    assert token not in dump


async def test_registering_counts_as_the_mail_that_it_sends(house: House) -> None:
    for _ in range(5):
        await house.json("POST", FORGOT, 200, json={"email": "user@example.com"})
    person = {"email": "user@example.com", "password": PASSWORD, "name": "Ada", "accept_terms": True}
    await house.refused("POST", "/api/v1/auth/register", 429, "RATE_LIMIT_EXCEEDED", json=person)
    assert await house.mails() == []
