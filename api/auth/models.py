"""What the authentication service takes and gives."""

from typing import Annotated, Literal

from pydantic import EmailStr, Field, SecretStr, StringConstraints

from api._kit.passwords import LONGEST, SHORTEST
from api._kit.values import Identifier, Input, LanguageTag, Name, Output


class Registration(Input):
    email: EmailStr = Field(max_length=254, examples=["user@example.com"])
    password: SecretStr = Field(min_length=SHORTEST, max_length=LONGEST)
    name: Name = Field(examples=["Ada Lovelace"])
    organization_name: Name | None = None
    accept_terms: Literal[True]
    captcha_token: str | None = Field(None, max_length=4096, description="Looked at only where a captcha is set up")


class Registered(Output):
    user_id: str
    email: str
    organization_id: str
    email_verified: bool


class Login(Input):
    email: str = Field(min_length=1, max_length=254, examples=["user@example.com"])
    password: SecretStr = Field(min_length=1, max_length=1024)


class TokenGrant(Output):
    """Send `access_token` as `Authorization: Bearer ...`."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(examples=[3600])
    user_id: str = Field(examples=["user_12345"])


class Logout(Input):
    all_sessions: bool = Field(False, description="End every session of this person, not this one alone")


class Message(Output):
    message: str


class VisitorRequest(Input):
    """`visitor_id` is what an earlier token's `user_id` was: whoever knows it sees that visitor's conversations."""

    chatbot_id: Identifier
    visitor_id: Annotated[str, StringConstraints(pattern=r"^(anonymous_)?[A-Za-z0-9-]{16,64}$")] | None = None
    locale: LanguageTag | None = None
    page_url: str | None = Field(None, max_length=2048)


class VisitorGrant(Output):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    user_id: str = Field(examples=["anonymous_01JD0000000000000000000000"])
    verified: bool
    conversation_id: str | None = Field(description="The visitor's open conversation, to go on with")
