"""Everything that a request can be refused for, and the one envelope that says so.

    ApiError
      BadRequest 400            InvalidFormat, MissingField, EmptyContent, UrlNotAllowed
      Unauthenticated 401       InvalidCredentials, MfaRequired
      Forbidden 403             OriginNotAllowed, QuotaExceeded, ConsentRequired, EmailNotVerified
      NotFound 404
      MethodNotAllowed 405      PreconditionFailed 412    PayloadTooLarge 413    UnsupportedMediaType 415
      Conflict 409              DuplicateResource, IdempotencyConflict, SafetyHold
      RateLimited 429
      InternalError 500
      Unavailable 503           ChatbotUnavailable, UpstreamError

`message` is for people and may be shown to anyone; `details` is for developers and never holds a stack, a query or
another company's words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field; `field` is a dotted path."""

    field: str
    code: str
    message: str


class ApiError(Exception):
    """A refusal with its HTTP status. `extra` joins the envelope, `headers` the response."""

    status = 500
    code = "INTERNAL_ERROR"
    message = "Something went wrong on our side."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: str = "",
        fields: Sequence[Problem] = (),
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or type(self).message
        self.code = code or type(self).code
        self.details = details
        self.fields = tuple(fields)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(self.message)


class BadRequest(ApiError):
    status, code, message = 400, "INVALID_REQUEST", "The request is not valid."


class InvalidFormat(BadRequest):
    code, message = "INVALID_FORMAT", "A value has the wrong format."


class MissingField(BadRequest):
    code, message = "MISSING_FIELD", "A required field is missing."


class EmptyContent(BadRequest):
    code, message = "EMPTY_CONTENT", "Nothing was said."


class UrlNotAllowed(BadRequest):
    code, message = "URL_NOT_ALLOWED", "This address may not be used."


class Unauthenticated(ApiError):
    status, code, message = 401, "INVALID_TOKEN", "A valid bearer token is required."

    def __init__(self, message: str | None = None, *, details: str = "") -> None:
        super().__init__(message, details=details, headers={"WWW-Authenticate": "Bearer"})


class InvalidCredentials(ApiError):
    status, code, message = 401, "INVALID_CREDENTIALS", "The e-mail address or the password is wrong."


class MfaRequired(ApiError):
    """The password was right; `mfa_token` goes with the second factor to `/auth/mfa/verify`."""

    status, code, message = 401, "MFA_REQUIRED", "A second factor is needed."

    def __init__(self, mfa_token: str) -> None:
        super().__init__(extra={"mfa_token": mfa_token})


class Forbidden(ApiError):
    status, code, message = 403, "FORBIDDEN", "You may not do this."


class OriginNotAllowed(Forbidden):
    code, message = "ORIGIN_NOT_ALLOWED", "This website may not use this chatbot."


class QuotaExceeded(Forbidden):
    """The plan allows `limit` of something, and `used` are in use; `upgrade_url` leads to a larger plan."""

    code, message = "QUOTA_EXCEEDED", "Your plan does not allow more of this."

    def __init__(
        self, message: str | None = None, *, limit: int, used: int, upgrade_url: str, details: str = ""
    ) -> None:
        super().__init__(message, details=details, extra={"limit": limit, "used": used, "upgrade_url": upgrade_url})


class ConsentRequired(Forbidden):
    code, message = "CONSENT_REQUIRED", "This needs the user's consent first."


class EmailNotVerified(Forbidden):
    code, message = "EMAIL_NOT_VERIFIED", "Please verify your e-mail address first."


class NotFound(ApiError):
    status, code, message = 404, "RESOURCE_NOT_FOUND", "There is no such resource."


class MethodNotAllowed(ApiError):
    status, code, message = 405, "METHOD_NOT_ALLOWED", "This resource does not support that method."


class Conflict(ApiError):
    status, code, message = 409, "STATE_CONFLICT", "The resource is in a state that does not allow this."


class DuplicateResource(Conflict):
    code, message = "DUPLICATE_RESOURCE", "This already exists."


class IdempotencyConflict(Conflict):
    code, message = "IDEMPOTENCY_CONFLICT", "This Idempotency-Key was used for another request."


class SafetyHold(Conflict):
    code, message = "SAFETY_HOLD", "This is on hold until a person has looked at it."


class PreconditionFailed(ApiError):
    status, code, message = 412, "PRECONDITION_FAILED", "Someone changed this in the meantime: read it again."


class PayloadTooLarge(ApiError):
    status, code, message = 413, "PAYLOAD_TOO_LARGE", "The request is too large."


class UnsupportedMediaType(ApiError):
    status, code, message = 415, "UNSUPPORTED_MEDIA_TYPE", "This content type is not supported here."


class RateLimited(ApiError):
    """Too many requests in a window of `limit`; `reset_at` (RFC 3339) is in `retry_after` seconds."""

    status, code, message = 429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded."

    def __init__(self, *, retry_after: int, limit: int, reset_at: str, window: str) -> None:
        plural = "s" * (retry_after != 1)
        super().__init__(
            f"Rate limit exceeded. Please retry after {retry_after} second{plural}.",
            details=f"window={window}",
            extra={"retry_after": retry_after, "limit": limit, "reset_at": reset_at},
            headers={"Retry-After": str(retry_after)},
        )


class InternalError(ApiError):
    pass


class Unavailable(ApiError):
    status, code, message = 503, "SERVICE_UNAVAILABLE", "The service is not available right now. Please try again."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: str = "",
        retry_after: int = 1,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, details=details, code=code, extra=extra, headers={"Retry-After": str(retry_after)})


class ChatbotUnavailable(Unavailable):
    code, message = "CHATBOT_UNAVAILABLE", "This chatbot is not available right now."


class UpstreamError(Unavailable):
    code, message = "UPSTREAM_ERROR", "A service that we depend on did not answer."


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    code: str
    message: str


class ErrorBody(BaseModel):
    """The standard error. Some codes carry more keys of their own."""

    model_config = {"extra": "allow"}
    code: str = Field(examples=["INVALID_REQUEST"])
    message: str = Field(examples=["User-friendly error message"])
    details: str = Field(examples=["Technical details for debugging"])
    timestamp: str = Field(examples=["2025-12-29T10:30:00Z"], json_schema_extra={"format": "date-time"})
    request_id: str = Field(examples=["req_abc123"])
    fields: list[FieldProblem] | None = None


class ErrorEnvelope(BaseModel):
    """Every refusal has this body."""

    error: ErrorBody


def envelope(error: ApiError, request_id: str, timestamp: str) -> dict[str, Any]:
    """The body of a refusal."""
    body: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        **error.extra,
        "details": error.details,
        "timestamp": timestamp,
        "request_id": request_id,
    }
    if error.fields:
        body["fields"] = [{"field": p.field, "code": p.code, "message": p.message} for p in error.fields]
    return {"error": body}
