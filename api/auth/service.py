"""Authentication: registering, signing in and out, and the tokens of a website's visitors."""

from typing import Final

from api._kit.auth import LIFETIME
from api._kit.endpoint import Ctx, Service
from api._kit.errors import ChatbotUnavailable, InvalidCredentials, NotFound, OriginNotAllowed, Unauthenticated
from api._kit.limits import sign_in
from api._kit.origins import admits
from api._kit.passwords import check_strength
from api._kit.ports import Account
from api.auth import store
from api.auth.models import Login, Logout, Message, Registered, Registration, TokenGrant, VisitorGrant, VisitorRequest

auth = Service("auth", 8001, "Auth Service", "authentication, JWT tokens")

GRACE_MS: Final = 30_000
"""How long a refreshed token still serves the other tabs that hold it."""


@auth.post(
    "/register",
    who="P",
    body=Registration,
    returns=Registered,
    status=201,
    errors=(409,),
    examples={
        "request": {
            "email": "user@example.com",
            "password": "a long sentence of mine",
            "name": "Ada Lovelace",
            "organization_name": "Analytical Engines",
            "accept_terms": True,
        }
    },
)
async def register(ctx: Ctx, body: Registration) -> Registered:
    """Make an account and its organisation."""
    password = body.password.get_secret_value()
    check_strength(password, "password")
    account = await ctx.deps.accounts.create(
        email=str(body.email),
        name=body.name,
        password_hash=await ctx.deps.passwords.hash(password),
        organization_name=body.organization_name or body.name,
    )
    return Registered(
        user_id=account.user_id,
        email=account.email,
        organization_id=account.organization_id,
        email_verified=False,
    )


@auth.post(
    "/login",
    who="P",
    body=Login,
    returns=TokenGrant,
    limit=lambda ctx, body: sign_in(ctx.client, body.email),
    errors=(401,),
    examples={
        "request": {"email": "user@example.com", "password": "a long sentence of mine"},
        "response": {
            "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
            "token_type": "Bearer",
            "expires_in": 3600,
            "user_id": "user_12345",
        },
    },
)
async def login(ctx: Ctx, body: Login) -> TokenGrant:
    """Sign in and get an access token for an hour."""
    deps = ctx.deps
    password = body.password.get_secret_value()
    account = await deps.accounts.by_email(body.email)
    right = await deps.passwords.verify(account.password_hash if account else None, password)
    if account is None or not right or not account.active:
        raise InvalidCredentials
    if account.password_hash is not None and deps.passwords.outdated(account.password_hash):
        await deps.accounts.set_password(account.user_id, await deps.passwords.hash(password))
    return await _grant(ctx, account)


@auth.post("/refresh", who="M", returns=TokenGrant)
async def refresh(ctx: Ctx) -> TokenGrant:
    """Exchange a token that is still valid for a new one.

    The old one serves 30 seconds more, for other tabs. Thirty days after the login, sign in again.
    """
    caller = ctx.caller
    account = await ctx.deps.accounts.by_id(caller.user_id, caller.organization_id)
    if account is None or not account.active:
        raise Unauthenticated
    grant = await _grant(ctx, account, login_at=caller.login_at)
    await _refuse(ctx, after_ms=GRACE_MS)
    return grant


@auth.post("/logout", who="M", body=Logout, returns=Message)
async def logout(ctx: Ctx, body: Logout) -> Message:
    """Sign out: the token is refused everywhere from now on."""
    await _refuse(ctx, after_ms=0)
    if body.all_sessions:
        await ctx.deps.revocations.revoke_all(ctx.caller.user_id, ctx.tenant)
    return Message(message="Logged out")


@auth.post(
    "/visitor-token",
    who="P",
    body=VisitorRequest,
    returns=VisitorGrant,
    status=201,
    errors=(403, 404),
    examples={"request": {"chatbot_id": "cb_12345", "locale": "en-US"}},
)
async def visitor_token(ctx: Ctx, body: VisitorRequest) -> VisitorGrant:
    """Get a token for a visitor of a website that the chatbot allows.

    The token is good for this chatbot, this visitor and this website alone, for an hour.
    """
    deps = ctx.deps
    bot = await deps.bots.find(body.chatbot_id)
    if bot is None:
        raise NotFound
    if not admits(bot.allowed_origins, ctx.origin, same_origin=ctx.same_origin):
        raise OriginNotAllowed(details="add the website's origin to the chatbot's allowed_origins")
    if bot.status != "active":
        raise ChatbotUnavailable
    user_id = body.visitor_id or deps.ids.new("anonymous")
    if not user_id.startswith("anonymous_"):
        user_id = f"anonymous_{user_id}"
    token = deps.tokens.visitor(user_id, bot.organization_id, bot.id, ctx.origin or deps.origin)
    async with deps.database.uow(bot.organization_id) as tx:
        tx.record(
            "visitor.started",
            {"chatbot_id": bot.id, "user_id": user_id, "locale": body.locale, "page_url": body.page_url},
        )
        await tx.commit()
    return VisitorGrant(
        access_token=token,
        expires_in=LIFETIME,
        user_id=user_id,
        verified=False,
        conversation_id=await deps.conversations.newest(bot, user_id),
    )


async def _grant(ctx: Ctx, account: Account, *, login_at: int | None = None) -> TokenGrant:
    version = await ctx.deps.revocations.version(account.user_id)
    token, lifetime = ctx.deps.tokens.account(
        account.user_id,
        account.organization_id,
        account.role,
        version=version,
        capabilities=account.capabilities,
        login_at=login_at,
    )
    return TokenGrant(access_token=token, expires_in=lifetime, user_id=account.user_id)


async def _refuse(ctx: Ctx, *, after_ms: int) -> None:
    """Refuse the caller's token from `after_ms` on."""
    caller, now = ctx.caller, ctx.deps.now()
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        await store.refuse(
            tx, caller.token_id, now=now, refused_from=now + after_ms, expires_at=caller.expires_at * 1000
        )
        if after_ms == 0:
            tx.record("user.logout", {"user_id": caller.user_id, "token_id": caller.token_id})
        await tx.commit()
