"""What can go wrong on the way to a provider.

    ProviderError
     ├─ RoutingError      the plan cannot be made: the caller's or the operator's mistake
     └─ UpstreamError     the provider, or the way to it, failed
         ├─ DeadlineError a deadline of ours passed
         └─ BusyError     no place came free at a provider, which was not asked

Classifications are those of the contract's error table; the gateway turns them into HTTP in one place.
Messages are ours: text that a provider sent never enters an exception.
"""

from typing import Literal

Classification = Literal["PERMANENT", "CONFIG", "AUTH", "TEMPORARY", "RATE_LIMIT", "DEADLINE_EXCEEDED"]
RETRYABLE: frozenset[Classification] = frozenset({"TEMPORARY", "RATE_LIMIT", "DEADLINE_EXCEEDED"})


class ProviderError(Exception):
    """Base class. `str()` is safe to log: names and reasons, never payloads or secrets."""


class RoutingError(ProviderError):
    """No provider can be chosen. `code` is an error code of the contract; `path` the field to blame."""

    def __init__(self, code: str, reason: str, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.path = code, reason, message, path


class UpstreamError(ProviderError):
    """A provider call failed.

    `retry_after_ms`: the provider's hint, clamped to 0…60,000 ms. `status`: the provider's HTTP status.
    `reason`: a machine-readable word for clients and the record, for example `UPSTREAM_UNREACHABLE`.
    """

    def __init__(
        self,
        classification: Classification,
        *,
        reason: str | None = None,
        status: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{classification} {reason or ''} {status or ''}".strip())
        self.classification, self.reason = classification, reason
        self.status, self.retry_after_ms = status, retry_after_ms

    @property
    def retryable(self) -> bool:
        return self.classification in RETRYABLE


TIMEOUT_REASONS = {
    "connect": "CONNECT_TIMEOUT",
    "firstEvent": "FIRST_EVENT_TIMEOUT",
    "idle": "IDLE_TIMEOUT",
    "total": "TOTAL_TIMEOUT",
}


class DeadlineError(UpstreamError):
    """`which`: a key of `TIMEOUT_REASONS`. After `total` the same provider is not asked again."""

    def __init__(self, which: str) -> None:
        super().__init__("DEADLINE_EXCEEDED", reason=TIMEOUT_REASONS[which])
        self.which = which


class BusyError(UpstreamError):
    """All of a provider's places (`maxConcurrency`) are taken. It is no attempt: the provider was not called.

    `elsewhere`: none was waited for, because another candidate had room.
    """

    def __init__(self, *, elsewhere: bool = False) -> None:
        super().__init__("TEMPORARY", reason="PROVIDER_BUSY")
        self.elsewhere = elsewhere
