"""Who a website says that its visitor is, checked against the chatbot's identity secret."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

import jwt

from api._kit.auth import LEEWAY
from api._kit.errors import Unauthenticated
from api.auth.models import EndUser, VisitorRequest

LONGEST_LIFE: Final = 600
"""Seconds that an identity token may still live."""
OURS: Final = ("anonymous_", "user_")
"""No website may call its visitor so: these are people whom it has not identified, and accounts."""
_NAME: Final = re.compile(next(str(c.pattern) for c in EndUser.__metadata__))  # type: ignore[attr-defined]
_REFUSED: Final = "The website's word for who you are is not valid."


def identified(body: VisitorRequest, secrets: Sequence[str], *, now: float) -> str | None:
    """The visitor's id with the website, or None if it names nobody. Raises Unauthenticated for what is not signed."""
    if body.identity_token is not None:
        found = _of_token(body.identity_token, body.chatbot_id, secrets, now)
    elif body.user_id is not None and body.user_hash is not None:
        found = _of_hash(body.user_id, body.user_hash, secrets)
    else:
        return None
    if not _NAME.fullmatch(found) or found.startswith(OURS):
        raise Unauthenticated(_REFUSED, details="sub is 1 to 64 of A-Z a-z 0-9 _ . @ + : - and not one of our own")
    return found


def _of_hash(user_id: str, user_hash: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        right = hmac.new(secret.encode(), user_id.encode(), hashlib.sha256).hexdigest()
        if hmac.compare_digest(right, user_hash.lower()):
            return user_id
    raise Unauthenticated(_REFUSED, details="user_hash is not the HMAC of user_id")


def _of_token(token: str, chatbot_id: str, secrets: Sequence[str], now: float) -> str:
    for secret in secrets:
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                options={
                    "require": ["sub", "chatbot_id", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                },
            )
            left = int(claims["exp"]) - now
            early = int(claims.get("nbf", 0)) > now + LEEWAY
        except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
            continue
        if claims["chatbot_id"] != chatbot_id:
            raise Unauthenticated(_REFUSED, details="identity_token is for another chatbot")
        if early or not -LEEWAY < left <= LONGEST_LIFE + LEEWAY:
            raise Unauthenticated(_REFUSED, details="identity_token lives ten minutes at most")
        return str(claims["sub"])
    raise Unauthenticated(_REFUSED, details="identity_token is not signed with the chatbot's identity secret")
