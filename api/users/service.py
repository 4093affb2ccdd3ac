"""User management: one's own profile."""

from api._kit.endpoint import Ctx, Service
from api._kit.errors import InvalidCredentials, MissingField, Problem, Unauthenticated
from api._kit.http import etag_of
from api._kit.passwords import check_strength
from api.users import store
from api.users.models import Limits, Organization, User, UserPatch

users = Service("users", 8002, "User Service", "user management, profiles")


@users.get("/me", who="M,K", returns=User, etag=True)
async def me(ctx: Ctx) -> User:
    """Who am I."""
    return await _me(ctx)


@users.patch("/me", who="M", body=UserPatch, returns=User, etag=True)
async def change_me(ctx: Ctx, body: UserPatch) -> User:
    """Change my profile or my password.

    A new password ends every session of this person, this one included.
    """
    ctx.expect(etag_of(await _me(ctx)))
    values = body.model_dump(exclude_unset=True, exclude={"current_password", "new_password"})
    values = {name: value for name, value in values.items() if value is not None or name == "phone"}
    user_id, deps = ctx.caller.user_id, ctx.deps
    if body.new_password is not None:
        account = await deps.accounts.by_id(user_id, ctx.tenant)
        if body.current_password is None:
            name = "current_password"
            raise MissingField(f"{name} is required.", fields=[Problem(name, "MISSING_FIELD", f"{name} is required.")])
        current = body.current_password.get_secret_value()
        if account is None or not await deps.passwords.verify(account.password_hash, current):
            raise InvalidCredentials("The current password is wrong.")
        new = body.new_password.get_secret_value()
        check_strength(new, "new_password")
        values["password_hash"] = await deps.passwords.hash(new)
    if values:
        async with deps.database.uow(ctx.tenant) as tx:
            await store.change(tx, user_id, deps.now(), values)
            await tx.commit()
    changed = await _me(ctx)
    if body.new_password is not None:
        await deps.revocations.revoke_all(user_id, ctx.tenant)
    return changed


async def _me(ctx: Ctx) -> User:
    async with ctx.deps.database.view(ctx.tenant) as tx:
        row = await store.profile(tx, ctx.caller.user_id)
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
        mfa_enabled=False,
        organization=Organization(
            id=row["organization_id"],
            name=row["organization_name"],
            role=row["role"],
            tier=row["tier"],
            limits=Limits(
                requests_per_minute=plan.requests_per_minute,
                requests_per_hour=plan.requests_per_hour,
                requests_per_day=plan.requests_per_day,
            ),
            usage={"chatbots": await ctx.deps.bots.count(ctx.tenant)},
        ),
        created_at=row["created_at"],
    )
