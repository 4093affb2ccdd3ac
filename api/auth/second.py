"""The second factor: time-based one-time passwords (RFC 6238, SHA-1, 6 digits, 30 s) and recovery codes.

A code is taken from the step before to the step after the current one, for clocks that are off, and each step counts
once, so that a code that was looked at over someone's shoulder is worth nothing.
"""

import base64
import hmac
import secrets
from typing import Final

import pyotp

from api._kit.auth import Principal
from api._kit.endpoint import Deps
from api._kit.errors import Conflict, InvalidCredentials
from api._kit.limits import Allowance, Charge, Window
from api._kit.ports import Account
from api._kit.store import Row, Transaction
from api.auth import store
from api.auth.models import MfaSecret

STEP: Final = 30
CODES: Final = 10
TRIES: Final = (Window("factor", 60, 5), Window("factor", 3600, 20))
"""Wrong codes for one account: with a million codes, three of them right, guessing one takes years."""
ISSUER: Final = "MachineAvatars"


async def attempt(deps: Deps, user_id: str) -> Charge:
    """Count an attempt, to be given back if it succeeds. Raises RateLimited."""
    charge = await deps.limits.charge([Allowance(f"factor:{user_id}", TRIES)])
    if charge.refused:
        raise charge.refused
    return charge


async def begin(deps: Deps, account: Account, *, code: str | None, recovery_code: str | None) -> MfaSecret:
    """A new secret, which counts once it has been shown. Raises Conflict while another is in use and is not shown."""
    user_id = account.user_id
    secret = pyotp.random_base32()
    codes = [_recovery_code() for _ in range(CODES)]
    async with deps.database.uow(account.organization_id) as tx:
        current = await store.factor(tx, user_id)
        if current is not None and current["active"]:
            if code is None and recovery_code is None:
                raise Conflict("A second factor is in use.", details="show it in code or recovery_code to replace it")
            await _spend(tx, deps, current, code, recovery_code)
        sealed = deps.vault.seal(secret.encode(), _context(user_id))
        await store.set_factor(tx, user_id, sealed, codes, now=deps.now())
        await tx.commit()
    uri = pyotp.TOTP(secret).provisioning_uri(name=account.email, issuer_name=ISSUER)
    return MfaSecret(otpauth_uri=uri, recovery_codes=codes)


async def show(
    deps: Deps, who: Principal, *, code: str | None, recovery_code: str | None, signing_in: bool = False
) -> None:
    """Spend a code. Signing in takes a factor that is in use and ends the halfway token; otherwise the factor is in use
    from now on. Raises InvalidCredentials."""
    async with deps.database.uow(who.organization_id) as tx:
        current = await store.factor(tx, who.user_id)
        if current is None or (signing_in and not current["active"]):
            raise InvalidCredentials("This code is not right.")
        await _spend(tx, deps, current, code, recovery_code)
        if signing_in:
            now = deps.now()
            await store.refuse(tx, who.token_id, now=now, refused_from=now, expires_at=who.expires_at * 1000)
        else:
            tx.record("user.mfa_enabled", {"user_id": who.user_id})
        await tx.commit()


async def _spend(tx: Transaction, deps: Deps, current: Row, code: str | None, recovery_code: str | None) -> None:
    user_id = current["user_id"]
    right = False
    if recovery_code is not None:
        right = await store.use_recovery_code(tx, user_id, recovery_code)
    elif code is not None:
        secret = deps.vault.open(current["sealed"], _context(user_id)).decode()
        step = _step(secret, code.replace(" ", ""), deps.clock.now())
        right = step is not None and await store.use_step(tx, user_id, step)
    if not right:
        raise InvalidCredentials("This code is not right.")


def _step(secret: str, code: str, now: float) -> int | None:
    """The 30-second step whose code this is, among the current one and its neighbours."""
    totp = pyotp.TOTP(secret)
    current = int(now) // STEP
    found = [step for step in range(current - 1, current + 2) if hmac.compare_digest(totp.at(step * STEP), code)]
    return found[-1] if found else None


def _recovery_code() -> str:
    """80 random bits in four groups of four."""
    letters = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def _context(user_id: str) -> str:
    return f"mfa:{user_id}"
