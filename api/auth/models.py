"""What the authentication service takes and gives."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, EmailStr, Field, RootModel, SecretStr, StringConstraints, model_validator

from api._kit.alternatives import exactly_one, together
from api._kit.passwords import LONGEST, SHORTEST
from api._kit.values import Identifier, Input, LanguageTag, Name, Output, Timestamp

MailToken = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""What a mail's link carries."""
Code = Annotated[str, StringConstraints(pattern=r"^ ?([0-9] ?){6}$", max_length=14)]
RecoveryCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z2-7 -]{16,40}$")]


class Registration(Input):
    email: EmailStr = Field(max_length=254, examples=["user@example.com"])
    password: SecretStr = Field(min_length=SHORTEST, max_length=LONGEST)
    name: Name = Field(examples=["Ada Lovelace"])
    organization_name: Name | None = None
    accept_terms: Literal[True]
    invite_token: MailToken | None = Field(None, description="Join the organisation that sent the invitation")
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


class Verification(Input):
    """The token of a mail, or an address that is to get another mail."""

    model_config = ConfigDict(json_schema_extra=exactly_one(email="string", token="string"))
    token: MailToken | None = None
    email: str | None = Field(None, min_length=1, max_length=254, examples=["user@example.com"])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.email is None):
            raise ValueError("give either token or email")
        return self


class Verified(Output):
    email_verified: Literal[True] = True


class Sent(Output):
    """Said whether or not there is such an account."""

    sent: Literal[True] = True


class VerifiedOrSent(RootModel[Verified | Sent]):
    pass


class Forgotten(Input):
    email: str = Field(min_length=1, max_length=254, examples=["user@example.com"])
    captcha_token: str | None = Field(None, max_length=4096, description="Looked at only where a captcha is set up")


class PasswordReset(Input):
    token: MailToken
    new_password: SecretStr = Field(min_length=SHORTEST, max_length=LONGEST)


class MfaSetup(Input):
    """To replace a second factor that is in use, show it once more."""

    password: SecretStr = Field(min_length=1, max_length=1024)
    code: Code | None = None
    recovery_code: RecoveryCode | None = None


class MfaSecret(Output):
    """Shown once. Each recovery code stands in for the second factor once."""

    otpauth_uri: str
    recovery_codes: list[str]


class MfaCode(Input):
    """`mfa_token` is what the login answered with; without it, the code switches the account's second factor on."""

    model_config = ConfigDict(json_schema_extra=exactly_one(code="string", recovery_code="string"))
    code: Code | None = None
    recovery_code: RecoveryCode | None = None
    mfa_token: str | None = Field(None, max_length=4096)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.code is None) == (self.recovery_code is None):
            raise ValueError("give either code or recovery_code")
        return self


class MfaEnabled(Output):
    mfa_enabled: Literal[True] = True


class GrantOrEnabled(RootModel[TokenGrant | MfaEnabled]):
    pass


class IdentityRequest(Input):
    chatbot_id: Identifier


class IdentitySecret(Output):
    """Websites sign their visitors' identities with it. The one before counts until `previous_until`."""

    chatbot_id: str
    identity_secret: str
    previous_until: Timestamp


EndUser = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@+:-]{1,64}$")]
"""Whom a website calls its visitor; `anonymous_` and `user_` are ours."""


class VisitorRequest(Input):
    """`visitor_id` is what an earlier token's `user_id` was: whoever knows it sees that visitor's conversations.

    A website that knows its visitor says so with `identity_token`, a JWT (HS256) that its server signs with the
    chatbot's identity secret: `sub`, `chatbot_id`, and an `exp` ten minutes away at most. Or with `user_id` and
    `user_hash`, the hexadecimal HMAC-SHA256 of the former under that secret.
    """

    model_config = ConfigDict(json_schema_extra=together(user_id="string", user_hash="string"))
    chatbot_id: Identifier
    visitor_id: Annotated[str, StringConstraints(pattern=r"^(anonymous_)?[A-Za-z0-9-]{16,64}$")] | None = None
    locale: LanguageTag | None = None
    page_url: str | None = Field(None, max_length=2048)
    identity_token: str | None = Field(None, max_length=4096)
    user_id: EndUser | None = None
    user_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    consent: bool | None = Field(None, description="What the visitor answered to the website's question")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.user_id is None) != (self.user_hash is None):
            raise ValueError("user_id and user_hash go together")
        return self


class VisitorGrant(Output):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    user_id: str = Field(examples=["anonymous_01JD0000000000000000000000"])
    verified: bool
    conversation_id: str | None = Field(description="The visitor's open conversation, to go on with")
