"""User management: one's own profile, the members of an organisation, invitations and API keys."""

import secrets
from typing import Any, Final

from api._kit.auth import RANK, Principal
from api._kit.endpoint import Ctx, Service
from api._kit.errors import (
    Conflict,
    EmailNotVerified,
    Forbidden,
    InvalidCredentials,
    InvalidFormat,
    MissingField,
    NotFound,
    Problem,
    QuotaExceeded,
    Unauthenticated,
)
from api._kit.http import etag_of
from api._kit.mail import post
from api._kit.paging import Page, pagination
from api._kit.passwords import check_strength
from api._kit.store import Transaction
from api._kit.values import milliseconds
from api.users import keys, mails, store
from api.users.models import (
    ApiKey,
    ApiKeyMade,
    Invite,
    Invited,
    KeyDeleted,
    KeyQuery,
    Leaving,
    Left,
    Limits,
    Member,
    MemberPatch,
    MemberQuery,
    NewKey,
    Organization,
    User,
    UserPatch,
)

users = Service("users", 8002, "User Service", "user management, profiles")

INVITED_MS: Final = 7 * 24 * 3_600_000
"""How long an invitation is open."""
_LAST_OWNER: Final = "An organisation needs an owner: make somebody else one first."


@users.get("/me", who="M,K", returns=User, etag=True)
async def me(ctx: Ctx) -> User:
    """Who am I."""
    return await _me(ctx)


@users.patch("/me", who="M", body=UserPatch, returns=User, etag=True, errors=(401,))
async def change_me(ctx: Ctx, body: UserPatch) -> User:
    """Change my profile or my password.

    A new password ends every session of this person, this one included.
    """
    ctx.expect(etag_of(await _me(ctx)))
    values = body.model_dump(exclude_unset=True, exclude={"current_password", "new_password"})
    values = {name: value for name, value in values.items() if value is not None or name == "phone"}
    user_id, deps = ctx.caller.user_id, ctx.deps
    if body.new_password is not None:
        if body.current_password is None:
            name = "current_password"
            raise MissingField(f"{name} is required.", fields=[Problem(name, "MISSING_FIELD", f"{name} is required.")])
        await _proven(ctx, body.current_password.get_secret_value())
        new = body.new_password.get_secret_value()
        check_strength(new, "new_password")
        values["password_hash"] = await deps.passwords.hash(new)
    if values:
        async with deps.database.uow(ctx.tenant) as tx:
            await store.change(tx, user_id, deps.now(), values)
            if body.new_password is not None:
                await deps.revocations.revoke_all(tx, user_id)
                tx.record("user.password_changed", {"user_id": user_id})
                await post(tx, mails.JOB, {"kind": "changed", "user_id": user_id})
            await tx.commit()
    return await _me(ctx)


@users.delete("/me", who="M", body=Leaving, returns=Left, errors=(401, 409))
async def leave(ctx: Ctx, body: Leaving) -> Left:
    """Delete my account: every organisation loses me at once, and after 30 days nothing is known of me."""
    deps, user_id = ctx.deps, ctx.caller.user_id
    await _proven(ctx, body.password.get_secret_value())
    now = deps.now()
    purge_at = now + store.KEPT_MS
    async with deps.database.uow(ctx.tenant) as tx:
        if await store.owns_alone(tx, user_id):
            raise Conflict(_LAST_OWNER)
        await store.leave_all(tx, user_id, now=now)
        await deps.revocations.revoke_all(tx, user_id)
        tx.record("user.deleted", {"user_id": user_id})
        await tx.enqueue(mails.PURGE, {"user_id": user_id}, run_at=purge_at)
        await tx.commit()
    return Left(id=user_id, purge_at=purge_at)


@users.get("", who="M", query=MemberQuery, returns=Page[Member], name="list")
async def members(ctx: Ctx, query: MemberQuery) -> Page[Member]:
    """The members of the organisation."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.page(tx, query)
    return Page(data=[Member(**_shown(row, Member)) for row in rows], pagination=pagination(query, total))


@users.post("/invite", who="A", body=Invite, returns=Invited, status=201, errors=(409,))
async def invite(ctx: Ctx, body: Invite) -> Invited:
    """Invite a person by mail; the link in it is good for 7 days.

    They join with `invite_token` at `/auth/register`. Only owners invite owners.
    """
    deps, caller, now = ctx.deps, ctx.caller, ctx.deps.now()
    _may_set(caller, body.role)
    invitation_id, expires_at, email = deps.ids.new("inv"), now + INVITED_MS, str(body.email).lower()
    plan, token = await deps.plans.of(ctx.tenant), secrets.token_urlsafe(32)
    async with deps.database.uow(ctx.tenant) as tx:
        taken = await store.seats(tx, now=now)
        inviter = await store.member(tx, caller.user_id)
        if inviter is None or not inviter["email_verified"]:
            raise EmailNotVerified
        row = {
            "id": invitation_id,
            "email": email,
            "role": body.role,
            "capabilities": sorted(set(body.capabilities)),
            "invited_by": caller.user_id,
            "created_at": now,
            "expires_at": expires_at,
        }
        await store.invite(tx, row, token)
        if plan.members is not None and taken >= plan.members:
            raise QuotaExceeded(limit=plan.members, used=taken, upgrade_url=f"{deps.origin}/api/v1/payment/plans")
        tx.record("member.invited", {"invitation_id": invitation_id, "by": caller.user_id, "role": body.role})
        sealed = deps.vault.seal(token.encode(), mails.context(invitation_id))
        await post(tx, mails.JOB, {"kind": "invitation", "invitation_id": invitation_id, "sealed": sealed})
        await tx.commit()
    return Invited(id=invitation_id, email=email, role=body.role, expires_at=expires_at)


@users.patch("/{user_id}", who="A", body=MemberPatch, returns=Member, errors=(409,))
async def change_member(ctx: Ctx, body: MemberPatch) -> Member:
    """Change a member's role, capabilities or status. All of the member's sessions end at once."""
    deps, user_id = ctx.deps, ctx.path["user_id"]
    values = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    async with deps.database.uow(ctx.tenant) as tx:
        row = await store.member(tx, user_id)
        if row is None:
            raise NotFound
        changed = {**row, **values}
        if changed == row:
            return Member(**_shown(row, Member))
        _may_set(ctx.caller, row["role"])
        _may_set(ctx.caller, changed["role"])
        await _keep_an_owner(tx, row, changed)
        await store.change_member(tx, user_id, values)
        await deps.revocations.revoke_all(tx, user_id)
        tx.record("member.updated", {"user_id": user_id, "by": ctx.caller.user_id, "changed": sorted(values)})
        await tx.commit()
    return Member(**_shown(changed, Member))


@users.get("/me/api-keys", who="A", query=KeyQuery, returns=Page[ApiKey])
async def api_keys(ctx: Ctx, query: KeyQuery) -> Page[ApiKey]:
    """The organisation's API keys."""
    async with ctx.deps.database.view(ctx.tenant) as tx:
        rows, total = await store.key_page(tx, query)
    return Page(data=[ApiKey(**_shown(row, ApiKey)) for row in rows], pagination=pagination(query, total))


@users.post("/me/api-keys", who="A", body=NewKey, returns=ApiKeyMade, status=201)
async def make_api_key(ctx: Ctx, body: NewKey) -> ApiKeyMade:
    """Make an API key for a program of yours. It is shown this once.

    It acts for you, within its scopes, as long as you are an admin or owner; it never reaches members or billing. Send
    it as `Authorization: Bearer mk_live_...`.
    """
    deps, key = ctx.deps, keys.new_key()
    expires_at = milliseconds(body.expires_at.timestamp()) if body.expires_at else None
    if expires_at is not None and expires_at <= deps.now():
        problem = "expires_at is in the past."
        raise InvalidFormat(problem, fields=[Problem("expires_at", "INVALID_FORMAT", problem)])
    row = {
        "id": deps.ids.new("key"),
        "user_id": ctx.caller.user_id,
        "name": body.name,
        "prefix": key[: keys.SHOWN],
        "scopes": sorted(set(body.scopes)),
        "allowed_ips": list(dict.fromkeys(body.allowed_ips)),
        "created_at": deps.now(),
        "expires_at": expires_at,
        "last_used_at": None,
    }
    async with deps.database.uow(ctx.tenant) as tx:
        await store.keep_key(tx, key, row)
        tx.record("key.created", {"key_id": row["id"], "by": ctx.caller.user_id, "scopes": row["scopes"]})
        await tx.commit()
    return ApiKeyMade(key=key, **_shown(row, ApiKey))


@users.delete("/me/api-keys/{key_id}", who="A", returns=KeyDeleted)
async def revoke_api_key(ctx: Ctx) -> KeyDeleted:
    """Revoke an API key: it is refused from now on."""
    key_id = ctx.path["key_id"]
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        if not await store.revoke_key(tx, key_id):
            raise NotFound
        tx.record("key.revoked", {"key_id": key_id, "by": ctx.caller.user_id})
        await tx.commit()
    return KeyDeleted(id=key_id)


def _may_set(caller: Principal, role: str) -> None:
    """Raises Forbidden for a role above the caller's own."""
    if RANK[role] > RANK[caller.role]:
        raise Forbidden("Only owners make, change and remove owners.")


async def _keep_an_owner(tx: Transaction, before: dict[str, Any], after: dict[str, Any]) -> None:
    owner = ("owner", "active")
    was, stays = ((row["role"], row["status"]) == owner for row in (before, after))
    if was and not stays and not await store.other_owners(tx, before["id"]):
        raise Conflict(_LAST_OWNER)


async def _proven(ctx: Ctx, password: str) -> None:
    account = await ctx.deps.accounts.by_id(ctx.caller.user_id, ctx.tenant)
    if account is None or not await ctx.deps.passwords.verify(account.password_hash, password):
        raise InvalidCredentials("The password is wrong.")


def _shown(row: dict[str, Any], model: type[Member] | type[ApiKey]) -> dict[str, Any]:
    return {name: row[name] for name in model.model_fields}


async def _me(ctx: Ctx) -> User:
    async with ctx.deps.database.view(ctx.tenant) as tx:
        row = await store.profile(tx, ctx.caller.user_id)
        members = await store.seats_taken(tx, now=ctx.deps.now())
    if row is None:
        raise Unauthenticated
    plan = await ctx.deps.plans.plan(row["tier"])
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        phone=row["phone"],
        locale=row["locale"],
        timezone=row["timezone"],
        email_verified=row["email_verified"],
        mfa_enabled=await ctx.deps.factors.enabled(row["id"]),
        notification_prefs=row["notification_prefs"],
        organization=Organization(
            id=row["organization_id"],
            name=row["organization_name"],
            role=row["role"],
            tier=row["tier"],
            limits=Limits(
                requests_per_minute=plan.requests_per_minute,
                requests_per_hour=plan.requests_per_hour,
                requests_per_day=plan.requests_per_day,
                members=plan.members,
            ),
            usage={"chatbots": await ctx.deps.bots.count(ctx.tenant), "members": members},
        ),
        created_at=row["created_at"],
    )
