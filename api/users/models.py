"""What the user service takes and gives."""

from ipaddress import ip_network
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, EmailStr, Field, SecretStr, StringConstraints

from api._kit.auth import Role
from api._kit.paging import PageQuery
from api._kit.passwords import LONGEST, SHORTEST
from api._kit.values import Commas, Input, LanguageTag, Moment, Name, Output, Timestamp

SWITCHES: Final = 40
Switch = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,39}$")]
Capability = Literal["clinician", "agent"]
SCOPED: Final = (
    "users|chatbots|selection|crawl|state-3d|state-text|state-voice|prompts|maintenance|chat-3d|chat-text|chat-voice|"
    "history|analytics|llm|homepage|physio|webhooks"
)
"""Services that keys reach: neither signing in nor billing nor the platform."""
Scope = Annotated[str, StringConstraints(pattern=rf"^(?:{SCOPED}):(?:read|write)$")]


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a name of the IANA time zone database, such as Europe/Berlin") from None
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("an IP address, or a network such as 203.0.113.0/24") from None


class Limits(Output):
    """Requests and members that the tier allows; null is unlimited."""

    requests_per_minute: int | None
    requests_per_hour: int | None
    requests_per_day: int | None
    members: int | None


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
    notification_prefs: dict[str, bool]
    organization: Organization
    created_at: Timestamp


class UserPatch(Input):
    """Fields to change. A new password needs the current one."""

    name: Name | None = None
    phone: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")] | None = Field(None, examples=["+1234567890"])
    locale: LanguageTag | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_timezone)] | None = None
    notification_prefs: Annotated[dict[Switch, bool], Field(max_length=SWITCHES)] | None = Field(
        None, description="Which mails I want", examples=[{"weekly_report": False}]
    )
    current_password: SecretStr | None = Field(None, max_length=1024)
    new_password: SecretStr | None = Field(None, min_length=SHORTEST, max_length=LONGEST)


class Leaving(Input):
    password: SecretStr = Field(min_length=1, max_length=1024)


class Left(Output):
    """Until `purge_at` an invitation brings the person back; then they are forgotten."""

    id: str
    deleted: Literal[True] = True
    purge_at: Timestamp


class Member(Output):
    """A person in the organisation."""

    id: str = Field(examples=["user_12345"])
    email: str
    name: str
    role: Role
    capabilities: list[Capability]
    status: Literal["active", "suspended", "removed"]
    email_verified: bool
    joined_at: Timestamp
    created_at: Timestamp


class MemberQuery(PageQuery):
    sort_by: Literal["created_at", "name", "email"] = "created_at"
    role: Annotated[list[Role], Commas] | None = None
    status: Annotated[list[Literal["active", "suspended"]], Commas] | None = None


class MemberPatch(Input):
    """What changes ends all of the member's sessions at once. Only owners make, change and remove owners."""

    role: Role | None = None
    capabilities: list[Capability] | None = Field(None, max_length=2)
    status: Literal["active", "suspended", "removed"] | None = None


class Invite(Input):
    email: EmailStr = Field(max_length=254, examples=["grace@example.com"])
    role: Role = Field(examples=["editor"])
    capabilities: list[Capability] = Field([], max_length=2)


class Invited(Output):
    id: str = Field(examples=["inv_01JZ8Q6F3N"])
    email: str
    role: Role
    expires_at: Timestamp


class KeyQuery(PageQuery):
    sort_by: Literal["created_at", "name"] = "created_at"


class NewKey(Input):
    """`scopes` are `service:read` and `service:write`; `write` does not include `read`."""

    name: Name = Field(examples=["Our website"])
    scopes: list[Scope] = Field(min_length=1, max_length=40, examples=[["chatbots:read", "chat-3d:write"]])
    expires_at: Moment | None = None
    allowed_ips: list[Annotated[str, Field(max_length=50), AfterValidator(_network)]] = Field([], max_length=50)


class ApiKey(Output):
    """`prefix` is the key's beginning, to tell it by."""

    id: str = Field(examples=["key_01JZ8Q6F3N"])
    name: str
    prefix: str = Field(examples=["mk_live_a1b2c3"])
    scopes: list[str]
    allowed_ips: list[str]
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    created_at: Timestamp


class ApiKeyMade(ApiKey):
    """`key` is shown this once."""

    key: str


class KeyDeleted(Output):
    id: str
    deleted: Literal[True] = True
