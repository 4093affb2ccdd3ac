"""Members, invitations and API keys."""

import pytest
from sqlalchemy import select

from api._kit.store import PLATFORM, jobs
from api.users import mails
from api.users.store import api_keys, users
from tests.contract.house import PASSWORD, DueJob, House, bearer

ME, LIST, INVITE, KEYS = (f"/api/v1/users{path}" for path in ("/me", "", "/invite", "/me/api-keys"))


async def identifier(house: House, headers: dict[str, str]) -> str:
    return str((await house.json("GET", ME, 200, headers=headers))["id"])


def joining(email: str, token: str) -> dict[str, object]:
    return {"email": email, "password": PASSWORD, "name": "Grace", "accept_terms": True, "invite_token": token}


# --- invitations ---


async def test_who_was_invited_joins_with_role_and_confirmed_address(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "Grace@example.com", "editor", capabilities=["agent"])
    mine, theirs = [await house.json("GET", ME, 200, headers=h) for h in (owner, grace)]
    assert theirs["organization"]["id"] == mine["organization"]["id"]
    assert (theirs["organization"]["role"], theirs["email_verified"]) == ("editor", True)
    assert mine["organization"]["usage"]["members"] == 2
    assert "member.invited" in [event.name for event in house.events]


async def test_an_invitation_says_who_invites_and_is_good_for_one_address_once(house: House) -> None:
    owner = await house.verified()
    await house.mails()
    await house.json("POST", INVITE, 201, headers=owner, json={"email": "g@example.com", "role": "viewer"})
    (mail,) = await house.mails()
    assert (mail.to, mail.subject) == ("g@example.com", "Ada invites you to join Ada")
    token = mail.link.rpartition("=")[2]
    path = "/api/v1/auth/register"
    await house.refused("POST", path, 400, "INVALID_FORMAT", json=joining("other@example.com", token))
    await house.json("POST", path, 201, json=joining("g@example.com", token))
    await house.refused("POST", path, 400, "INVALID_FORMAT", json=joining("g@example.com", token))


async def test_an_invitation_is_open_for_a_week(house: House) -> None:
    owner = await house.verified()
    await house.mails()
    body = {"email": "g@example.com", "role": "viewer"}
    await house.json("POST", INVITE, 201, headers=owner, json=body)
    token = await house.token("invite")
    await house.refused("POST", INVITE, 409, "DUPLICATE_RESOURCE", headers=owner, json=body)
    await house.clock.sleep(7 * 24 * 3600)
    await house.refused("POST", "/api/v1/auth/register", 400, "INVALID_FORMAT", json=joining("g@example.com", token))
    await house.json("POST", INVITE, 201, headers=await house.login(), json=body)


async def test_an_invitation_that_is_sent_again_has_the_same_link(house: House) -> None:
    owner = await house.verified()
    await house.mails()
    await house.json("POST", INVITE, 201, headers=owner, json={"email": "g@example.com", "role": "viewer"})
    async with house.deps.database.view(PLATFORM) as tx:
        row = await tx.one(select(jobs).where(jobs.c.type == mails.JOB))
    assert row
    (first,) = await house.mails()
    await house.handlers[mails.JOB](DueJob(row))
    (second,) = house.mailbox.mails
    token = first.link.rpartition("=")[2]
    assert first.link == second.link
    assert token not in await house.kept()
    await house.json("POST", "/api/v1/auth/register", 201, json=joining("g@example.com", token))


async def test_only_a_confirmed_address_invites(house: House) -> None:
    body = {"email": "g@example.com", "role": "viewer"}
    await house.refused("POST", INVITE, 403, "EMAIL_NOT_VERIFIED", headers=await house.owner(), json=body)


async def test_a_plan_has_so_many_seats_open_invitations_among_them(house: House) -> None:
    owner = await house.verified(tier="free_trial")
    for name in ("b", "c"):
        await house.json("POST", INVITE, 201, headers=owner, json={"email": f"{name}@example.com", "role": "viewer"})
    body = {"email": "d@example.com", "role": "viewer"}
    error = await house.refused("POST", INVITE, 403, "QUOTA_EXCEEDED", headers=owner, json=body)
    assert (error["limit"], error["used"]) == (3, 3)


async def test_a_member_is_not_invited_again(house: House) -> None:
    owner = await house.verified()
    await house.joined(owner, "g@example.com")
    body = {"email": "G@example.com", "role": "viewer"}
    await house.refused("POST", INVITE, 409, "DUPLICATE_RESOURCE", headers=owner, json=body)


async def test_an_admin_neither_invites_nor_makes_owners(house: House) -> None:
    owner = await house.verified()
    admin = await house.joined(owner, "g@example.com", "admin")
    body = {"email": "h@example.com", "role": "owner"}
    await house.refused("POST", INVITE, 403, "FORBIDDEN", headers=admin, json=body)
    for user_id, change in (
        (await identifier(house, admin), {"role": "owner"}),
        (await identifier(house, owner), {"role": "viewer"}),
        (await identifier(house, owner), {"status": "suspended"}),
    ):
        await house.refused("PATCH", f"{LIST}/{user_id}", 403, "FORBIDDEN", headers=admin, json=change)


async def test_an_account_of_another_organisation_is_not_taken_over_by_an_invitation(house: House) -> None:
    await house.register("g@example.com")
    owner = await house.verified("owner@example.com")
    await house.mails()
    await house.json("POST", INVITE, 201, headers=owner, json={"email": "g@example.com", "role": "viewer"})
    token = await house.token("invite")
    body = {**joining("g@example.com", token), "password": "another long sentence"}
    await house.refused("POST", "/api/v1/auth/register", 409, "DUPLICATE_RESOURCE", json=body)
    await house.login("g@example.com")


# --- members ---


async def test_members_are_listed_filtered_and_found(house: House) -> None:
    owner = await house.verified()
    await house.joined(owner, "grace@example.com", "editor")
    await house.owner("stranger@example.com")

    async def listed(query: str) -> list[str]:
        page = await house.json("GET", f"{LIST}?{query}", 200, headers=owner)
        return [member["email"] for member in page["data"]]

    assert await listed("order=asc&sort_by=email") == ["grace@example.com", "user@example.com"]
    assert await listed("role=editor,viewer") == ["grace@example.com"]
    assert await listed("search=ADA") == ["user@example.com"]
    assert await listed("status=suspended") == []


@pytest.mark.parametrize("change", [{"role": "admin"}, {"status": "suspended"}, {"capabilities": ["clinician"]}])
async def test_a_members_tokens_die_with_the_change(house: House, change: dict[str, object]) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com", "viewer")
    path = f"{LIST}/{await identifier(house, grace)}"
    changed = await house.json("PATCH", path, 200, headers=owner, json=change)
    assert changed.items() >= change.items()
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=grace)
    assert {"member.updated", "user.tokens_revoked"} <= {event.name for event in house.events}


async def test_a_new_role_counts_at_the_next_login(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com", "viewer")
    await house.refused("GET", KEYS, 403, "FORBIDDEN", headers=grace)
    path = f"{LIST}/{await identifier(house, grace)}"
    await house.json("PATCH", path, 200, headers=owner, json={"role": "admin"})
    await house.json("GET", KEYS, 200, headers=await house.login("g@example.com"))


async def test_a_change_that_changes_nothing_ends_no_session(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com", "viewer")
    path = f"{LIST}/{await identifier(house, grace)}"
    await house.json("PATCH", path, 200, headers=owner, json={"role": "viewer"})
    await house.json("GET", ME, 200, headers=grace)


async def test_a_suspended_member_comes_back_and_a_removed_one_is_gone(house: House) -> None:
    owner = await house.verified()
    path = f"{LIST}/{await identifier(house, await house.joined(owner, 'g@example.com'))}"
    login = {"email": "g@example.com", "password": PASSWORD}
    await house.json("PATCH", path, 200, headers=owner, json={"status": "suspended"})
    await house.refused("POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json=login)
    await house.json("PATCH", path, 200, headers=owner, json={"status": "active"})
    await house.json("POST", "/api/v1/auth/login", 200, json=login)
    await house.json("PATCH", path, 200, headers=owner, json={"status": "removed"})
    await house.refused("POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json=login)
    await house.refused("PATCH", path, 404, "RESOURCE_NOT_FOUND", headers=owner, json={"status": "active"})


async def test_a_removed_member_is_brought_back_by_an_invitation(house: House) -> None:
    owner = await house.verified()
    first = await house.joined(owner, "g@example.com")
    user_id = await identifier(house, first)
    await house.json("PATCH", f"{LIST}/{user_id}", 200, headers=owner, json={"status": "removed"})
    again = await house.joined(owner, "g@example.com", "editor")
    assert await identifier(house, again) == user_id
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=first)


@pytest.mark.parametrize("change", [{"role": "admin"}, {"status": "suspended"}, {"status": "removed"}])
async def test_the_last_owner_stays_one(house: House, change: dict[str, str]) -> None:
    owner = await house.verified()
    path = f"{LIST}/{await identifier(house, owner)}"
    await house.refused("PATCH", path, 409, "STATE_CONFLICT", headers=owner, json=change)
    await house.joined(owner, "g@example.com", "owner")
    await house.json("PATCH", path, 200, headers=owner, json=change)


# --- leaving ---


async def test_who_leaves_is_out_at_once_and_forgotten_after_a_month(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com", "admin")
    key = await house.key(grace, "users:read")
    user_id = await identifier(house, grace)
    left = await house.json("DELETE", ME, 200, headers=grace, json={"password": PASSWORD})
    assert (left["id"], left["deleted"], left["purge_at"]) == (user_id, True, "2025-12-24T16:00:00Z")
    for headers in (grace, bearer(key["key"])):
        await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=headers)
    login = {"email": "g@example.com", "password": PASSWORD}
    await house.refused("POST", "/api/v1/auth/login", 401, "INVALID_CREDENTIALS", json=login)
    await house.clock.sleep(30 * 24 * 3600)
    await house.mails()
    async with house.deps.database.view(PLATFORM) as tx:
        assert await tx.one(select(users.c.id).where(users.c.id == user_id)) is None


async def test_who_comes_back_in_time_is_not_forgotten(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com")
    await house.json("DELETE", ME, 200, headers=grace, json={"password": PASSWORD})
    await house.joined(owner, "g@example.com")
    await house.clock.sleep(30 * 24 * 3600)
    await house.mails()
    await house.login("g@example.com")


async def test_who_leaves_again_is_kept_for_a_month_from_then(house: House) -> None:
    owner = await house.verified()
    grace = await house.joined(owner, "g@example.com")
    await house.json("DELETE", ME, 200, headers=grace, json={"password": PASSWORD})
    await house.joined(owner, "g@example.com")
    await house.clock.sleep(20 * 24 * 3600)
    grace = await house.login("g@example.com")
    user_id = await identifier(house, grace)
    await house.json("DELETE", ME, 200, headers=grace, json={"password": PASSWORD})
    await house.clock.sleep(10 * 24 * 3600)
    back = await house.joined(await house.login(), "g@example.com")
    assert await identifier(house, back) == user_id


async def test_the_last_owner_cannot_leave(house: House) -> None:
    body = {"password": PASSWORD}
    await house.refused("DELETE", ME, 409, "STATE_CONFLICT", headers=await house.owner(), json=body)


async def test_leaving_needs_the_password(house: House) -> None:
    body = {"password": "wrong"}
    await house.refused("DELETE", ME, 401, "INVALID_CREDENTIALS", headers=await house.owner(), json=body)


# --- API keys ---


async def test_a_key_is_shown_once_and_kept_as_a_digest(house: House) -> None:
    owner = await house.owner()
    made = await house.key(owner, "users:read")
    assert made["key"].startswith("mk_live_")
    assert made["key"].startswith(made["prefix"])
    (listed,) = (await house.json("GET", KEYS, 200, headers=owner))["data"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    async with house.deps.database.view(PLATFORM) as tx:
        row = await tx.one(select(api_keys))
    assert row is not None
    assert made["key"] not in str(row)
    assert len(row["digest"]) == 64


async def test_a_key_acts_within_its_scopes(house: House) -> None:
    owner = await house.owner()
    key = bearer((await house.key(owner, "users:read", "chatbots:write"))["key"])
    assert (await house.json("GET", ME, 200, headers=key))["email"] == "user@example.com"
    await house.chatbot(key)
    error = await house.refused("GET", "/api/v1/chatbots", 403, "FORBIDDEN", headers=key)
    assert error["details"] == "needs the scope chatbots:read"


@pytest.mark.parametrize(("method", "path"), [("GET", LIST), ("GET", KEYS), ("PATCH", ME), ("POST", INVITE)])
async def test_no_key_reaches_members_or_keys(house: House, method: str, path: str) -> None:
    key = bearer((await house.key(await house.owner(), "users:read", "users:write"))["key"])
    await house.refused(method, path, 403, "FORBIDDEN", headers=key)


@pytest.mark.parametrize("scope", ["payment:read", "auth:write", "admin:read", "users", "users:delete", "*"])
async def test_there_are_no_scopes_for_billing_and_signing_in(house: House, scope: str) -> None:
    body = {"name": "A key", "scopes": [scope]}
    await house.refused("POST", KEYS, 400, "INVALID_FORMAT", headers=await house.owner(), json=body)


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    owner = await house.owner()
    made = await house.key(owner, "users:read")
    path = f"{KEYS}/{made['id']}"
    assert await house.json("DELETE", path, 200, headers=owner) == {"id": made["id"], "deleted": True}
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=bearer(made["key"]))
    await house.refused("DELETE", path, 404, "RESOURCE_NOT_FOUND", headers=owner)


async def test_a_key_expires(house: House) -> None:
    owner = await house.owner()
    key = bearer((await house.key(owner, "users:read", expires_at="2025-11-24T17:00:00Z"))["key"])
    await house.json("GET", ME, 200, headers=key)
    await house.clock.sleep(3600)
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=key)
    body = {"name": "A key", "scopes": ["users:read"], "expires_at": "2025-11-24T17:00:00Z"}
    await house.refused("POST", KEYS, 400, "INVALID_FORMAT", headers=owner, json=body)


async def test_a_key_is_bound_to_its_addresses(house: House) -> None:
    owner = await house.owner()
    elsewhere = bearer((await house.key(owner, "users:read", allowed_ips=["203.0.113.0/24"]))["key"])
    here = bearer((await house.key(owner, "users:read", allowed_ips=["203.0.113.7", "127.0.0.0/8"]))["key"])
    await house.refused("GET", ME, 403, "FORBIDDEN", headers=elsewhere)
    await house.json("GET", ME, 200, headers=here)


async def test_a_key_dies_with_the_rights_of_whoever_made_it(house: House) -> None:
    owner = await house.verified()
    admin = await house.joined(owner, "g@example.com", "admin")
    key = bearer((await house.key(admin, "users:read"))["key"])
    path = f"{LIST}/{await identifier(house, admin)}"
    await house.json("GET", ME, 200, headers=key)
    for change in ({"role": "viewer"}, {"role": "admin", "status": "suspended"}):
        await house.json("PATCH", path, 200, headers=owner, json=change)
        await house.refused("GET", ME, 401, "INVALID_TOKEN", headers=key)


async def test_when_a_key_was_used_is_written_once_a_minute(house: House) -> None:
    owner = await house.owner()
    key = bearer((await house.key(owner, "users:read"))["key"])

    async def used() -> str | None:
        return str((await house.json("GET", KEYS, 200, headers=owner))["data"][0]["last_used_at"])

    times = []
    for pause in (0, 59, 1):
        await house.clock.sleep(pause)
        await house.json("GET", ME, 200, headers=key)
        times.append(await used())
    assert times == ["2025-11-24T16:00:00Z", "2025-11-24T16:00:00Z", "2025-11-24T16:01:00Z"]


@pytest.mark.parametrize("key", ["mk_", "mk_live_", "mk_live_" + "x" * 43, "mk_live_" + "x" * 8000, "mk_live_ü"])
async def test_a_key_that_is_none_is_refused(house: House, key: str) -> None:
    await house.refused("GET", ME, 401, "INVALID_TOKEN", headers={"Authorization": f"Bearer {key}"})


async def test_what_may_be_mailed_is_remembered(house: House) -> None:
    headers = await house.owner()
    body = {"notification_prefs": {"weekly_report": False}}
    changed = await house.json("PATCH", ME, 200, headers=headers, json=body)
    assert changed["notification_prefs"] == {"weekly_report": False}
    wrong = {"notification_prefs": {"Weekly report": False}}
    await house.refused("PATCH", ME, 400, "INVALID_FORMAT", headers=headers, json=wrong)
