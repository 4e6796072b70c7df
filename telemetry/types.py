"""The record of one call, as it travels from the request path through the journal to the database."""

import msgspec

UNKNOWN = "UNKNOWN"
"""The outcome of a call whose process died before it ended."""


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Written before a provider is called, so that a call cannot vanish. `started_at`: epoch seconds."""

    call_id: str
    request_id: str
    tool_id: str
    token_id: str
    method: str
    peer: str
    started_at: float
    config_version: int
    claimed_tool: str = ""
    bytes_in: int = 0
    request_digest: str = ""
    prompt_digest: str = ""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of `RequestLog` (contract §7). Durations in ms, sizes in bytes. Never content, never a token.

    `attempts`: provider calls in order, each as `providers.attempt.Attempt` encodes itself.
    `decision`: why the call went where it went or was refused, as `gateway.decided.Decided` encodes itself.
    `*_digest`: as `telemetry.digests` writes them, of the request, its prompt and the answer's text; "" of none.
    `outcome`: `ok`, an error code of the contract, `CLIENT_CLOSED`, `DRAINED` or `UNKNOWN`.
    """

    call_id: str
    tool_id: str
    token_id: str
    method: str
    peer: str
    started_at: float
    config_version: int
    outcome: str
    status: int
    duration_ms: int
    request_id: str = ""
    trace_id: str = ""
    claimed_tool: str = ""
    provider: str = ""
    model: str = ""
    strategy: str = ""
    reason: str = ""
    attempts: tuple[msgspec.Raw, ...] = ()
    first_event_ms: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    sanitised: dict[str, int] = {}
    decision: msgspec.Raw = msgspec.Raw(b"{}")
    request_digest: str = ""
    prompt_digest: str = ""
    answer_digest: str = ""


class Announced(msgspec.Struct, frozen=True):
    """The end of a call whose client waits for the disk; it is the call's outcome unless another one follows."""

    record: CallRecord


def unknown_outcome(begun: Intent | CallRecord) -> CallRecord:
    """What is recorded for a call whose process died between intent and outcome: what it had announced, if it had."""
    if isinstance(begun, CallRecord):
        return begun
    return CallRecord(
        **msgspec.structs.asdict(begun),
        outcome=UNKNOWN,
        status=0,
        duration_ms=0,
    )
