"""From exceptions to the contract's errors, in one table.

Who is to blame tells which class: `Refusal` the client, `providers.errors` the provider, the way to it or
its configuration, `telemetry.journal.JournalError` our own storage, anything else a defect here.
"""

from typing import Any

import msgspec

from providers.errors import RoutingError, UpstreamError
from telemetry.journal import JournalError

STATUS: dict[str, int] = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "PERMANENT": 422,
    "RATE_LIMIT": 429,
    "CONFIG": 500,
    "INTERNAL_ERROR": 500,
    "AUTH": 502,
    "TEMPORARY": 503,
    "OVERLOADED": 503,
    "AUDIT_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
UPSTREAM_MESSAGES: dict[str, str] = {
    "PERMANENT": "Provider rejected the request.",
    "CONFIG": "Provider configuration error.",
    "AUTH": "Provider authentication failed.",
    "TEMPORARY": "Provider encountered a temporary error.",
    "RATE_LIMIT": "Provider rate limited the request.",
    "DEADLINE_EXCEEDED": "Provider did not answer in time.",
}


class Detail(msgspec.Struct, frozen=True):
    """`path`: where in the request body, for example `messages[0].content`; "" is the whole body."""

    path: str
    message: str


class Refusal(Exception):
    """The client's request is not served, and why, in the contract's words."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reason: str | None = None,
        details: tuple[Detail, ...] = (),
        retry_after_ms: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.reason, self.details = code, message, reason, details
        self.retry_after_ms, self.headers = retry_after_ms, headers


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is answered and recorded."""

    code: str
    message: str
    reason: str | None = None
    details: tuple[Detail, ...] = ()
    retry_after_ms: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def body(self, trace_id: str) -> dict[str, Any]:
        """The JSON body, without the members that do not apply."""
        body: dict[str, Any] = {"error": self.code, "message": self.message}
        if self.reason is not None:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        if self.retry_after_ms is not None:
            body["retryAfterMs"] = self.retry_after_ms
        body["traceId"] = trace_id
        return body


INTERNAL = Problem(code="INTERNAL_ERROR", message="Internal error.")
NOT_MADE = "The call cannot be recorded, so it is not made."
WITHHELD = "A provider was asked, but the call cannot be recorded, so the answer is withheld."


def problem_for(error: BaseException, *, asked: bool = False) -> Problem:
    """What a client is told about an exception. `asked`: a provider was."""
    if isinstance(error, Refusal):
        return Problem(
            code=error.code,
            message=error.message,
            reason=error.reason,
            details=error.details,
            retry_after_ms=error.retry_after_ms,
            headers=error.headers,
        )
    if isinstance(error, RoutingError):
        details = (Detail(error.path, error.message),) if error.path else ()
        return Problem(code=error.code, message=error.message, reason=error.reason, details=details)
    if isinstance(error, UpstreamError):
        return Problem(
            code=error.classification,
            message=UPSTREAM_MESSAGES[error.classification],
            reason=error.reason,
            retry_after_ms=error.retry_after_ms,
        )
    if isinstance(error, JournalError):
        return Problem(code="AUDIT_UNAVAILABLE", message=WITHHELD if asked else NOT_MADE)
    return INTERNAL
