"""What the user service takes and gives."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

from api._kit.auth import Role
from api._kit.passwords import LONGEST, SHORTEST
from api._kit.values import Input, LanguageTag, Name, Output, Timestamp


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a name of the IANA time zone database, such as Europe/Berlin") from None
    return value


class Limits(Output):
    """Requests that the tier allows; null is unlimited."""

    requests_per_minute: int | None
    requests_per_hour: int | None
    requests_per_day: int | None


class Organization(Output):
    id: str
    name: str
    role: Role
    tier: Literal["free_trial", "starter", "professional", "business", "enterprise"]
    limits: Limits
    usage: dict[str, int]


class User(Output):
    """The person who asks, and the organisation that the token is for."""

    id: str = Field(examples=["user_12345"])
    email: str
    name: str
    phone: str | None
    locale: str
    timezone: str
    email_verified: bool
    mfa_enabled: bool
    organization: Organization
    created_at: Timestamp


class UserPatch(Input):
    """Fields to change. A new password needs the current one."""

    name: Name | None = None
    phone: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")] | None = Field(None, examples=["+1234567890"])
    locale: LanguageTag | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_timezone)] | None = None
    current_password: SecretStr | None = Field(None, max_length=1024)
    new_password: SecretStr | None = Field(None, min_length=SHORTEST, max_length=LONGEST)
