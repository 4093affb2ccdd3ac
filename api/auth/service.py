"""Authentication: registering, signing in and out, proving an address, and the tokens of a website's visitors."""

from typing import Final

from api._kit.auth import LIFETIME, Principal
from api._kit.counting import network
from api._kit.endpoint import Ctx, Deps, Service
from api._kit.errors import (
    BadRequest,
    InvalidCredentials,
    InvalidFormat,
    MfaRequired,
    NotFound,
    Problem,
    Unauthenticated,
)
from api._kit.limits import Allowance, Charge, Window, sign_in
from api._kit.passwords import check_strength, fingerprint
from api._kit.ports import Account
from api._kit.store import PLATFORM, Transaction
from api.auth import mails, second, store
from api.auth.models import (
    Forgotten,
    GrantOrEnabled,
    IdentityRequest,
    IdentitySecret,
    Login,
    Logout,
    Message,
    MfaCode,
    MfaEnabled,
    MfaSecret,
    MfaSetup,
    PasswordReset,
    Registered,
    Registration,
    Sent,
    TokenGrant,
    Verification,
    Verified,
    VerifiedOrSent,
    VisitorGrant,
    VisitorRequest,
)
from api.auth.visitors import greet

auth = Service("auth", 8001, "Auth Service", "authentication, JWT tokens")

GRACE_MS: Final = 30_000
"""How long a refreshed token still serves the other tabs that hold it."""
MAILS: Final = 5
"""Mails an hour that strangers may have sent to one address."""
MAILS_OF_ADDRESS: Final = 30
"""Mails an hour that one network address may have sent."""


def _mailing(ctx: Ctx, email: str | None) -> tuple[Allowance, ...]:
    """For what makes us write to an e-mail address that anybody may name."""
    if email is None:
        return ()
    place = Allowance(f"mail:{network(ctx.client)}", (Window("mails", 3600, MAILS_OF_ADDRESS),))
    person = Allowance(f"mail:{fingerprint(email.strip().lower())}", (Window("mails", 3600, MAILS),))
    return (person, place)


@auth.post(
    "/register",
    who="P",
    body=Registration,
    returns=Registered,
    status=201,
    errors=(409,),
    limit=lambda ctx, body: _mailing(ctx, None if body.invite_token else body.email),
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
    """Make an account, and its organisation unless an invitation names one.

    A mail asks to confirm the address; whoever was invited has done so by reading that mail.
    """
    deps = ctx.deps
    password = body.password.get_secret_value()
    check_strength(password, "password")
    invitation = None
    if body.invite_token is not None:
        invitation = await deps.accounts.invitation(body.invite_token)
        if invitation is None or invitation.email != str(body.email).lower():
            raise _spent("invite_token", "This invitation has been used, has expired, or is for another address.")
    hashed = await deps.passwords.hash(password)
    async with deps.database.uow(invitation.organization_id if invitation else deps.ids.new("org")) as tx:
        if invitation:
            account = await deps.accounts.join(tx, invitation, name=body.name, password_hash=hashed)
            await deps.revocations.revoke_all(tx, account.user_id)
        else:
            account = await deps.accounts.create(
                tx,
                email=str(body.email),
                name=body.name,
                password_hash=hashed,
                organization_name=body.organization_name or body.name,
            )
            await mails.ask(tx, "verify", account)
        await tx.commit()
    return Registered(
        user_id=account.user_id,
        email=account.email,
        organization_id=account.organization_id,
        email_verified=account.email_verified,
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
    """Sign in and get an access token for an hour.

    An account with a second factor gets 401 MFA_REQUIRED and an `mfa_token`, for five minutes at `/auth/mfa/verify`.
    """
    deps = ctx.deps
    tried = Charge(sign_in(ctx.client, body.email), deps.clock.now(), ())
    password = body.password.get_secret_value()
    seen = await deps.accounts.by_email(body.email)
    right = await deps.passwords.verify(seen.password_hash if seen else None, password)
    if seen is None or seen.password_hash is None or not right:
        raise InvalidCredentials
    version = await deps.revocations.version(seen.user_id)
    account = await deps.accounts.by_id(seen.user_id, seen.organization_id)
    if account is None or not account.active or account.password_hash != seen.password_hash:
        raise InvalidCredentials
    if deps.passwords.outdated(seen.password_hash):
        rehashed = await deps.passwords.hash(password)
        async with deps.database.uow(account.organization_id) as tx:
            await deps.accounts.set_password(tx, account.user_id, rehashed, instead_of=seen.password_hash)
            await tx.commit()
    if await deps.factors.enabled(account.user_id):
        await deps.limits.give_back(tried, failures=True)
        raise MfaRequired(deps.tokens.halfway(account.user_id, account.organization_id, version=version))
    return await _signed_in(ctx, account, version)


async def _copied(deps: Deps, holder: Principal) -> None:
    """Two hold what one should: neither is believed any more."""
    async with deps.database.uow(holder.organization_id) as tx:
        await _end(tx, deps, holder)
        await tx.commit()


@auth.post("/refresh", who="M", returns=TokenGrant, reused=_copied)
async def refresh(ctx: Ctx) -> TokenGrant:
    """Exchange a token that is still valid for a new one.

    The old one serves 30 seconds more, for other tabs. Exchanging it again after that ends the whole session, for then
    somebody has a copy. Thirty days after the login, sign in again.
    """
    caller = ctx.caller
    account = await ctx.deps.accounts.by_id(caller.user_id, caller.organization_id)
    if account is None or not account.active:
        raise Unauthenticated
    grant = _grant(ctx, account, caller.version, login_at=caller.login_at, session=caller.session)
    now = ctx.deps.now()
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        expires_at = caller.expires_at * 1000
        await store.refuse(tx, caller.token_id, now=now, refused_from=now + GRACE_MS, expires_at=expires_at)
        await tx.commit()
    return grant


@auth.post("/logout", who="M", body=Logout, returns=Message)
async def logout(ctx: Ctx, body: Logout) -> Message:
    """Sign out: this session's tokens are refused everywhere from now on, and its sockets are closed."""
    async with ctx.deps.database.uow(ctx.tenant) as tx:
        await _end(tx, ctx.deps, ctx.caller)
        if body.all_sessions:
            await ctx.deps.revocations.revoke_all(tx, ctx.caller.user_id)
        await tx.commit()
    return Message(message="Logged out")


@auth.post(
    "/verify-email",
    who="P",
    body=Verification,
    returns=VerifiedOrSent,
    limit=lambda ctx, body: _mailing(ctx, body.email),
    examples={"request": {"email": "user@example.com"}},
)
async def verify_email(ctx: Ctx, body: Verification) -> VerifiedOrSent:
    """Confirm an e-mail address with the token that was sent there, or have another one sent.

    A token works once, for 24 hours. That it was sent is always said, whether or not there is such an account.
    """
    deps = ctx.deps
    if body.email is not None:
        account = await deps.accounts.by_email(body.email)
        await _write_to(deps, "verify", account if account and not account.email_verified else None)
        return VerifiedOrSent(Sent())
    token = body.token or ""
    async with deps.database.uow(PLATFORM) as tx:
        user_id = await store.owner_of(tx, token, "verify", now=deps.now())
        if user_id is None or not await store.use_token(tx, token, user_id, "verify"):
            raise _spent("token", "This link has been used or has expired.")
        await deps.accounts.set_verified(tx, user_id)
        await tx.commit()
    return VerifiedOrSent(Verified())


@auth.post(
    "/forgot-password",
    who="P",
    body=Forgotten,
    returns=Sent,
    limit=lambda ctx, body: _mailing(ctx, body.email),
    examples={"request": {"email": "user@example.com"}},
)
async def forgot_password(ctx: Ctx, body: Forgotten) -> Sent:
    """Have a link sent with which a new password can be chosen.

    That it was sent is always said, whether or not there is such an account.
    """
    await _write_to(ctx.deps, "reset", await ctx.deps.accounts.by_email(body.email))
    return Sent()


@auth.post("/reset-password", who="P", body=PasswordReset, returns=Message)
async def reset_password(ctx: Ctx, body: PasswordReset) -> Message:
    """Choose a new password with the token that was sent: it works once, for 30 minutes. Every session ends."""
    deps = ctx.deps
    password = body.new_password.get_secret_value()
    check_strength(password, "new_password")
    async with deps.database.view(PLATFORM) as reader:
        user_id = await store.owner_of(reader, body.token, "reset", now=deps.now())
    account = await deps.accounts.membership(user_id) if user_id else None
    if account is None or not account.active:
        raise _spent("token", "This link has been used or has expired.")
    hashed = await deps.passwords.hash(password)
    async with deps.database.uow(account.organization_id) as tx:
        if not await store.use_token(tx, body.token, account.user_id, "reset"):
            raise _spent("token", "This link has been used or has expired.")
        await deps.accounts.set_password(tx, account.user_id, hashed)
        await deps.accounts.set_verified(tx, account.user_id)
        await deps.revocations.revoke_all(tx, account.user_id)
        tx.record("user.password_changed", {"user_id": account.user_id})
        await mails.ask(tx, "changed", account)
        await tx.commit()
    return Message(message="Your password was changed. Please sign in.")


@auth.post("/mfa/setup", who="M", body=MfaSetup, returns=MfaSecret, status=201, errors=(401, 409))
async def mfa_setup(ctx: Ctx, body: MfaSetup) -> MfaSecret:
    """Begin with a second factor: a secret for an authenticator app, and ten recovery codes, all shown once.

    It is asked for from the first code on that is shown at `/auth/mfa/verify`.
    """
    deps = ctx.deps
    account = await deps.accounts.by_id(ctx.caller.user_id, ctx.tenant)
    await second.attempt(deps, ctx.caller.user_id)
    if account is None or not await deps.passwords.verify(account.password_hash, body.password.get_secret_value()):
        raise InvalidCredentials("The password is wrong.")
    return await second.begin(deps, account, code=body.code, recovery_code=body.recovery_code)


@auth.post("/mfa/verify", who="P,M", body=MfaCode, returns=GrantOrEnabled, errors=(401,))
async def mfa_verify(ctx: Ctx, body: MfaCode) -> GrantOrEnabled:
    """Show the second factor: to sign in, with the login's `mfa_token`; or to switch it on, with one's own token.

    A code counts once, a recovery code too.
    """
    deps = ctx.deps
    if body.mfa_token is None:
        if ctx.principal is None or ctx.principal.kind != "account":
            raise Unauthenticated
        charge = await second.attempt(deps, ctx.principal.user_id)
        await second.show(deps, ctx.principal, code=body.code, recovery_code=None)
        await deps.limits.give_back(charge)
        return GrantOrEnabled(MfaEnabled())
    halfway = await deps.tokens.verify_halfway(body.mfa_token)
    charge = await second.attempt(deps, halfway.user_id)
    account = await deps.accounts.by_id(halfway.user_id, halfway.organization_id)
    if account is None or not account.active:
        raise Unauthenticated
    await second.show(deps, halfway, code=body.code, recovery_code=body.recovery_code, signing_in=True)
    await deps.limits.give_back(charge)
    return GrantOrEnabled(await _signed_in(ctx, account, halfway.version))


@auth.post("/identity-secret", who="A", body=IdentityRequest, returns=IdentitySecret, status=201, errors=(404,))
async def rotate_identity_secret(ctx: Ctx, body: IdentityRequest) -> IdentitySecret:
    """Make a new identity secret for a chatbot's websites. The one before counts for a day more."""
    bot = await ctx.deps.bots.find(body.chatbot_id, draft=True)
    if bot is None or bot.organization_id != ctx.tenant:
        raise NotFound
    secret, until = await ctx.deps.identities.rotate(ctx.tenant, bot.id)
    return IdentitySecret(chatbot_id=bot.id, identity_secret=secret, previous_until=until)


@auth.post(
    "/visitor-token",
    who="P",
    body=VisitorRequest,
    returns=VisitorGrant,
    status=201,
    errors=(401, 403, 404),
    examples={"request": {"chatbot_id": "cb_12345", "locale": "en-US"}},
)
async def visitor_token(ctx: Ctx, body: VisitorRequest) -> VisitorGrant:
    """Get a token for a visitor of a website that the chatbot allows.

    The token is good for this chatbot, this visitor and this website alone, for an hour. Where the chatbot's
    `identity_mode` is `required`, the website must say who the visitor is; where it is `off`, that is not looked at.
    """
    return await greet(ctx, body)


async def _signed_in(ctx: Ctx, account: Account, version: int) -> TokenGrant:
    grant = _grant(ctx, account, version)
    async with ctx.deps.database.uow(account.organization_id) as tx:
        tx.record("user.login", {"user_id": account.user_id})
        await tx.commit()
    return grant


def _grant(
    ctx: Ctx, account: Account, version: int, *, login_at: int | None = None, session: str | None = None
) -> TokenGrant:
    """A token for the account. `version` was read before the account was: what is revoked meanwhile refuses it."""
    token, lifetime = ctx.deps.tokens.account(
        account.user_id,
        account.organization_id,
        account.role,
        version=version,
        capabilities=account.capabilities,
        login_at=login_at,
        session=session,
    )
    return TokenGrant(access_token=token, expires_in=lifetime, user_id=account.user_id)


async def _end(tx: Transaction, deps: Deps, holder: Principal) -> None:
    """Refuse every token of the holder's session, for as long as any of them could live."""
    now = deps.now()
    await store.refuse(tx, holder.session, now=now, refused_from=now, expires_at=now + 1000 * LIFETIME)
    tx.record("user.logout", {"user_id": holder.user_id, "session": holder.session})


async def _write_to(deps: Deps, kind: str, account: Account | None) -> None:
    async with deps.database.uow(PLATFORM) as tx:
        await mails.ask(tx, kind, account)
        await tx.commit()


def _spent(field: str, message: str) -> BadRequest:
    return InvalidFormat(message, fields=[Problem(field, "INVALID_FORMAT", message)])
