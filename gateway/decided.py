"""What was decided about one call, as the record keeps it: where it was refused, routing, limits. Pure."""

import msgspec

from clients.limits import Reservation
from clients.types import Client, RateLimit
from providers.decision import Choice


class RateState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The sliding window as this call found it. `own`: the client's limit, not the environment's default."""

    max_requests: int
    interval_ms: int
    remaining: int
    granted: bool
    own: bool


class ConcurrencyState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    most: int
    granted: bool


class Decided(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`stage`: where it was refused. `routing`: a `providers.decision.Decision`.

    `unable`: candidates passed over, each with the field of the request that its kind cannot honour.
    `busy`: candidates that had no place free when they were to be asked.
    `trace_id`: of the W3C trace that the call belongs to, 32 hex digits. The row's own is the provider's id.
    """

    stage: str | msgspec.UnsetType = msgspec.UNSET
    routing: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    unable: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    busy: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    rate: RateState | msgspec.UnsetType = msgspec.UNSET
    concurrency: ConcurrencyState | msgspec.UnsetType = msgspec.UNSET
    trace_id: str | msgspec.UnsetType = msgspec.UNSET


def rate_state(client: Client, limit: RateLimit | None, reserved: Reservation | None) -> RateState | None:
    if limit is None or reserved is None:
        return None
    return RateState(
        max_requests=limit.max_requests,
        interval_ms=limit.interval_ms,
        remaining=reserved.remaining,
        granted=reserved.granted,
        own=client.rate_limit is not None,
    )


def routing_of(choice: Choice | None) -> msgspec.Raw | msgspec.UnsetType:
    return choice.told if choice is not None else msgspec.UNSET
